"""Sorting: ``sort`` of several arrays by the first few of them, ``top_k``, and ``order_statistic``.

The order puts NaN last (``top_k``: NaN is the largest) and holds -0.0 and 0.0 equal; complex numbers compare as in
NumPy, by real and then imaginary part.  Sorting moves elements: its derivative moves the tangents the same way,
by a gather with the permutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import AxisError, ShapeError
from ..ir import Aval
from ..primitive import Primitive
from ..sizes import as_int
from ..trace import aval_of, bind
from .checks import INTEGER, ORDERED, canonical_axis, check_axes, check_dtype
from .gather_scatter import take_along
from .helpers import Value, align_batch, move_batch
from .linalg import accumulation_dtype
from .shaping import broadcasted_iota, reshape, transpose

__all__ = ["argsort", "order_statistic", "order_statistic_p", "sort", "sort_key_val", "sort_p", "top_k", "top_k_p"]

sort_p = Primitive("sort", multiple_results=True)
top_k_p = Primitive("top_k", multiple_results=True)
order_statistic_p = Primitive("order_statistic", typed_by=(0,))

# ------------------------------------------------------------------------------------------- sort


@sort_p.def_abstract
def _sort_abstract(*operands: Aval, dimension: int, is_stable: bool, num_keys: int) -> tuple[Aval, ...]:
    if any(x.shape != operands[0].shape for x in operands):
        raise ShapeError(
            f"sort: operands {', '.join(map(str, operands))} must have one shape; they are permuted together"
        )
    check_axes("sort", "dimension", (dimension,), operands[0].ndim)
    if not 1 <= num_keys <= len(operands):
        raise ShapeError(f"sort: num_keys={num_keys} must lie between 1 and the number of operands, {len(operands)}")
    return operands


def _comparable(x: np.ndarray) -> np.ndarray:
    """``x`` in a dtype that NumPy sorts natively: the 16-bit floats as float32."""
    return x.astype(accumulation_dtype(x.dtype), copy=False)


@sort_p.def_impl
def _sort_impl(*operands: np.ndarray, dimension: int, is_stable: bool, num_keys: int) -> list[np.ndarray]:
    """Always stable: an unstable sort of several arrays could differ between the reference and compiled code."""
    keys = [_comparable(x) for x in operands[:num_keys]]
    if len(operands) == 1:
        # equal integers are the same, but -0.0 and 0.0 are not
        kind: Any = "stable" if dtypes.is_inexact(keys[0].dtype) else "quicksort"
        return [np.sort(keys[0], axis=dimension, kind=kind).astype(operands[0].dtype, copy=False)]
    if num_keys == 1:
        order = np.argsort(keys[0], axis=dimension, kind="stable")
    else:
        order = np.lexsort(keys[::-1], axis=dimension)
    return [np.take_along_axis(x, order, dimension) for x in operands]


def _position_dtype(size: int) -> np.dtype:
    return dtypes.int32 if size < 2**31 else dtypes.int64


@sort_p.def_jvp
def _sort_jvp(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Sequence[Value], *, dimension: int,
    is_stable: bool, num_keys: int,
) -> list[Value | None]:  # fmt: skip
    """Sorts once more with each element's position as a passenger, and gathers the tangents from there."""
    shape = aval_of(primals[0]).shape
    position = broadcasted_iota(_position_dtype(shape[dimension]), shape, dimension)
    keys = primals[:num_keys]
    *_, order = bind(sort_p, *keys, position, dimension=dimension, is_stable=True, num_keys=num_keys)
    return [None if t is None else take_along(t, order, dimension, mode="promise_in_bounds") for t in tangents]


sort_p.no_transpose("it is not linear; its jvp is a gather, which has a transpose")


@sort_p.def_batch
def _sort_batch(
    size: int, args: Sequence[Value], dims: Sequence[int | None], *, dimension: int, **params: Any
) -> tuple[list[Value], list[int]]:
    outs = bind(sort_p, *align_batch(size, args, dims), dimension=dimension + 1, **params)
    return outs, [0] * len(outs)


# ------------------------------------------------------------------------------------------ top_k


@top_k_p.def_abstract
def _top_k_abstract(operand: Aval, *, k: int) -> tuple[Aval, Aval]:
    check_dtype("top_k", operand, ORDERED)
    if operand.ndim == 0:
        raise AxisError(f"top_k: operand {operand} has no last dimension to choose from")
    n = operand.shape[-1]
    if not 0 <= k <= n:
        raise ShapeError(
            f"top_k: k={k} must lie between 0 and the size of the last dimension of operand {operand}, {n}"
        )
    shape = (*operand.shape[:-1], k)
    return Aval(shape, operand.dtype, operand.weak), Aval(shape, dtypes.int32)


@top_k_p.def_impl
def _top_k_impl(operand: np.ndarray, *, k: int) -> list[np.ndarray]:
    """The reversed array sorted stably, then read backwards: descending, ties by the lowest index; 0.0 comes before -0.0."""
    n, rising = operand.shape[-1], _comparable(operand)[..., ::-1]
    zero = rising == 0
    if rising.dtype.kind == "f" and np.any(np.signbit(rising) & zero):
        order = n - 1 - np.lexsort((~np.signbit(rising) & zero, rising), axis=-1)
    else:
        order = n - 1 - np.argsort(rising, axis=-1, kind="stable")
    indices = np.ascontiguousarray(order[..., ::-1][..., :k])
    return [np.take_along_axis(operand, indices, -1), indices.astype(np.int32)]


@top_k_p.def_jvp
def _top_k_jvp(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Sequence[Value], *, k: int
) -> list[Value | None]:
    (tangent,), indices = tangents, out[1]
    return [take_along(tangent, indices, aval_of(indices).ndim - 1, mode="promise_in_bounds"), None]


top_k_p.no_transpose("it is not linear; its jvp is a gather, which has a transpose")


@top_k_p.def_batch
def _top_k_batch(size: int, args: Sequence[Value], dims: Sequence[int], *, k: int) -> tuple[list[Value], list[int]]:
    return bind(top_k_p, move_batch(args[0], dims[0], 0), k=k), [0, 0]


# ------------------------------------------------------------------------------- order statistics


@order_statistic_p.def_abstract
def _order_statistic_abstract(operand: Aval, k: Aval) -> Aval:
    check_dtype("order_statistic", operand, ORDERED)
    check_dtype("order_statistic (k)", k, INTEGER)
    if operand.ndim == 0 or operand.shape[-1] == 0:
        raise ShapeError(f"order_statistic: the last dimension of operand {operand} has no elements to choose from")
    if k.shape[:-1] != operand.shape[:-1] or k.ndim != operand.ndim:
        raise ShapeError(f"order_statistic: operand {operand} and k {k} may differ in the last dimension alone")
    return Aval(k.shape, operand.dtype)


@order_statistic_p.def_impl
def _order_statistic_impl(operand: np.ndarray, k: np.ndarray) -> np.ndarray:
    x, at = _comparable(operand), np.clip(k, 0, operand.shape[-1] - 1)
    out = np.take_along_axis(np.partition(x, np.unique(at), -1) if at.size else x, at, -1)
    if dtypes.is_inexact(x.dtype) and not out.all():  # zeros of both signs are equal, and stay in order
        out = np.take_along_axis(np.sort(x, -1, kind="stable"), at, -1)
    return out.astype(operand.dtype, copy=False)


@order_statistic_p.def_jvp
def _order_statistic_jvp(primals: Sequence[Value], tangents: Sequence[Value | None], out: Value) -> Value:
    """The tangents of the elements that are there, found by a sort of the positions."""
    (x, k), last = primals, aval_of(out).ndim - 1
    shape = aval_of(x).shape
    position = broadcasted_iota(_position_dtype(shape[last]), shape, last)
    _, order = bind(sort_p, x, position, dimension=last, is_stable=True, num_keys=1)
    return take_along(tangents[0], take_along(order, k, last, mode="clip"), last, mode="promise_in_bounds")


order_statistic_p.no_transpose("it is not linear; its jvp is a gather, which has a transpose")


@order_statistic_p.def_batch
def _order_statistic_batch(size: int, args: Sequence[Value], dims: Sequence[int | None]) -> tuple[Value, int]:
    dim = dims[1]
    if dims[0] is not None or dim is None:
        return bind(order_statistic_p, *align_batch(size, args, dims)), 0
    x, k = args  # more positions in the same rows
    last = len(k.shape) - 1
    k = move_batch(k, dim, last)
    out = bind(order_statistic_p, x, reshape(k, (*k.shape[:-2], k.shape[-2] * size)))
    return reshape(out, k.shape), last


# -------------------------------------------------------------------------------- public functions


def sort(operand: Value | Sequence[Value], dimension: int = -1, is_stable: bool = True, num_keys: int = 1) -> Any:
    """Sorts along ``dimension``, rising, NaN last.

    Args:
        operand: one array; or several of one shape, which the first ``num_keys`` of them order, all permuted alike.
        is_stable: equal elements keep their order.  This holds in any case.

    Returns:
        An array, or a tuple of them.

    >>> import fx, numpy as np
    >>> fx.lax.sort((np.array([3, 1, 2]), np.array([30, 10, 20])))
    (Array([1, 2, 3], dtype=int64), Array([10, 20, 30], dtype=int64))
    """
    several = isinstance(operand, (tuple, list))
    operands = list(operand) if several else [operand]
    if not operands:
        raise ShapeError("sort: there is nothing to sort; give at least one array")
    dimension = canonical_axis("sort", dimension, aval_of(operands[0]).ndim)
    outs = bind(sort_p, *operands, dimension=dimension, is_stable=bool(is_stable), num_keys=int(num_keys))
    return tuple(outs) if several else outs[0]


def sort_key_val(keys: Value, values: Value, dimension: int = -1, is_stable: bool = True) -> tuple[Value, Value]:
    """Sorts ``keys`` and permutes ``values`` alike."""
    return sort((keys, values), dimension, is_stable)


def argsort(operand: Value, dimension: int = -1, is_stable: bool = True, index_dtype: Any = dtypes.int32) -> Value:
    """The positions that sort ``operand`` along ``dimension``: stable, NaN last."""
    shape = aval_of(operand).shape
    dimension = canonical_axis("argsort", dimension, len(shape))
    position = broadcasted_iota(dtypes.canonical(index_dtype), shape, dimension)
    return sort((operand, position), dimension, is_stable)[1]


def top_k(operand: Value, k: int, *, axis: int = -1, is_stable: bool = True) -> tuple[Value, Value]:
    """The ``k`` largest elements along ``axis``, falling, and their int32 positions.

    NaN counts as largest, and 0.0 as larger than -0.0; of equal elements the one with the lowest position comes first, whatever
    ``is_stable`` says.

    Raises:
        ShapeError: ``k`` is negative or larger than the axis.
        DTypeError: complex numbers have no order here.

    >>> import fx, numpy as np
    >>> fx.lax.top_k(np.array([1.0, 4.0, 2.0, 3.0]), 2)
    (Array([4., 3.], dtype=float64), Array([1, 3], dtype=int32))
    """
    ndim = aval_of(operand).ndim
    axis = canonical_axis("top_k", axis, ndim)
    last = [d for d in range(ndim) if d != axis] + [axis]
    back = tuple(last.index(d) for d in range(ndim))
    values, indices = bind(top_k_p, transpose(operand, last), k=as_int(k))
    return transpose(values, back), transpose(indices, back)


def order_statistic(operand: Value, k: Value) -> Value:
    """The elements at the positions ``k`` of each sorted row (the last dimension); positions outside are clamped.

    NaN comes last; there is no telling which of several.
    """
    return bind(order_statistic_p, operand, k)
