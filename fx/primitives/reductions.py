"""Reductions over axes: sum, product, extremes, logic, and the positions of the extremes.

``axes`` is a sorted tuple of axes counted from the front; the public functions accept them in any order and negative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Aval
from ..primitive import Primitive
from ..trace import aval_of, bind
from .checks import (
    ANY,
    BITS,
    INTEGER,
    NUMBER,
    ORDERED,
    DTypeClass,
    canonical_axes,
    canonical_axis,
    check_axes,
    check_dtype,
)
from .elementwise import add, convert_element_type, div, eq, mul
from .elementwise_tables import NOT_LINEAR, PIECEWISE_CONSTANT
from .helpers import (
    Value,
    axes_after_batch,
    batch_dim_after_reduction,
    def_jvp_each,
    def_linear,
    full,
    quiet,
)
from .joining import concatenate, slice_in_dim
from .shaping import broadcast_in_dim, reshape, transpose
from .special_cases import dtype_of, for_types, is_narrow_float

__all__ = [
    "argmax",
    "argmax_p",
    "argmin",
    "argmin_p",
    "extreme_identity",
    "reduce_and",
    "reduce_and_p",
    "reduce_max",
    "reduce_max_p",
    "reduce_min",
    "reduce_min_p",
    "reduce_or",
    "reduce_or_p",
    "reduce_prod",
    "reduce_prod_p",
    "reduce_sum",
    "reduce_sum_p",
]

Axes = tuple[int, ...]


def _rest(ndim: int, axes: Axes) -> Axes:
    return tuple([i for i in range(ndim) if i not in axes])


def _reduction(name: str, allowed: DTypeClass, impl: Callable[..., np.ndarray]) -> Primitive:
    """A primitive that removes ``axes`` and keeps the dtype."""
    prim = Primitive(name, typed_by=())

    def abstract(x: Aval, *, axes: Axes) -> Aval:
        check_axes(name, "axes", axes, x.ndim)
        check_dtype(name, x, allowed)
        return Aval(tuple([x.shape[i] for i in _rest(x.ndim, axes)]), x.dtype)

    def batch(size: int, args: Sequence[Value], dims: Sequence[int], *, axes: Axes) -> tuple[Value, int]:
        out = bind(prim, args[0], axes=axes_after_batch(axes, dims[0]))
        return out, batch_dim_after_reduction(axes, dims[0])

    prim.def_abstract(abstract)
    prim.def_impl(quiet(impl))
    prim.def_batch(batch)
    return prim


def _reducer(prim: Primitive, doc: str) -> Callable[..., Value]:
    """The public function of a reduction."""

    def f(operand: Value, axes: Sequence[int], *, out_sharding: Any = None) -> Value:
        return bind(prim, operand, axes=canonical_axes(prim.name, axes, len(aval_of(operand).shape)))

    f.__name__ = f.__qualname__ = prim.name
    f.__doc__ = doc
    return f


def _back(ct_or_out: Value, shape: tuple[int, ...], axes: Axes) -> Value:
    """The result of a reduction, repeated along the reduced axes again."""
    return broadcast_in_dim(ct_or_out, shape, _rest(len(shape), axes))


# ------------------------------------------------------------------------------------ sum, product


def _accumulating(ufunc: np.ufunc) -> Callable[..., np.ndarray]:
    """Reduces in the operand's dtype, but 16-bit floats in float32, rounded once at the end."""

    def special(operands: Sequence[Any], *, axes: Axes) -> Any:
        d = dtype_of(operands[0])
        return None if is_narrow_float(d) else partial(ufunc.reduce, axis=axes, dtype=d)

    @for_types(special)
    def impl(x: np.ndarray, *, axes: Axes) -> np.ndarray:
        d = x.dtype
        if d.itemsize == 2 and dtypes.is_float(d):
            return np.asarray(ufunc.reduce(x, axes, dtypes.float32)).astype(d)
        return ufunc.reduce(x, axes, d)

    return impl


reduce_sum_p = _reduction("reduce_sum", NUMBER, _accumulating(np.add))
reduce_prod_p = _reduction("reduce_prod", NUMBER, _accumulating(np.multiply))
reduce_sum = _reducer(reduce_sum_p, "The sum over the axes, in the operand's dtype (16-bit floats add up in float32).")
reduce_prod = _reducer(reduce_prod_p, "The product over the axes, in the operand's dtype.")

def_linear(reduce_sum_p, lambda ct, aval, *, axes: _back(ct, aval.shape, axes))


def _halves(x: Value, half: int) -> tuple[Value, Value]:
    return slice_in_dim(x, 0, half), slice_in_dim(x, half, 2 * half)


def _prod_jvp(t: Value, out: Value, x: Value, *, axes: Axes) -> Value:
    """sum_i t_i prod_{j != i} x_j without dividing by x, so that zeros are safe, in O(n) multiplications.

    (p, s), a product and its tangent, are multiplied pairwise, half with half, until one pair is left:
    (p, s)(q, r) = (p q, s q + p r).
    """
    aval = aval_of(x)
    rest = _rest(aval.ndim, axes)
    kept = tuple([aval.shape[i] for i in rest])
    n = aval.size // max(1, int(np.prod(kept))) if aval.size else 0
    if n == 0:
        return full(kept, 0, aval.dtype)
    p, s = (reshape(transpose(v, (*axes, *rest)), (n, *kept)) for v in (x, t))
    while n > 1:
        half = n // 2
        (p1, p2), (s1, s2) = _halves(p, half), _halves(s, half)
        odd = [(slice_in_dim(p, n - 1, n), slice_in_dim(s, n - 1, n))] if n % 2 else []
        p = concatenate([mul(p1, p2), *[o[0] for o in odd]], 0)
        s = concatenate([add(mul(s1, p2), mul(p1, s2)), *[o[1] for o in odd]], 0)
        n = half + len(odd)
    return reshape(s, kept)


def_jvp_each(reduce_prod_p, _prod_jvp)
reduce_prod_p.no_transpose(NOT_LINEAR)

# ---------------------------------------------------------------------------------------- extremes


def extreme_identity(dtype: np.dtype, *, largest: bool) -> Any:
    """The greatest (or smallest) value of a dtype: what the min (max) of nothing is."""
    if dtypes.is_bool(dtype):
        return largest
    if dtypes.is_integer(dtype):
        return np.iinfo(dtype).max if largest else np.iinfo(dtype).min
    infinity = np.inf if largest else -np.inf
    return complex(infinity, infinity) if dtypes.is_complex(dtype) else infinity


def _extreme_impl(ufunc: np.ufunc, *, largest_identity: bool) -> Callable[..., np.ndarray]:
    def special(operands: Sequence[Any], *, axes: Axes) -> Any:
        d = dtype_of(operands[0])
        identity = np.asarray(extreme_identity(d, largest=largest_identity), d)[()]
        return partial(ufunc.reduce, axis=axes, initial=identity)

    @for_types(special)
    def impl(x: np.ndarray, *, axes: Axes) -> np.ndarray:
        return special((x.dtype,), axes=axes)(x)  # type: ignore[no-any-return]

    return impl


def _extreme_jvp(t: Value, out: Value, x: Value, *, axes: Axes) -> Value:
    """The mean of the tangents at the extreme elements: ties share."""
    at_extreme = convert_element_type(eq(x, _back(out, aval_of(x).shape, axes)), aval_of(x).dtype)
    return div(reduce_sum(mul(t, at_extreme), axes), reduce_sum(at_extreme, axes))


reduce_max_p = _reduction("reduce_max", ANY, _extreme_impl(np.maximum, largest_identity=False))
reduce_min_p = _reduction("reduce_min", ANY, _extreme_impl(np.minimum, largest_identity=True))
reduce_max = _reducer(reduce_max_p, "The greatest element; NaN if there is one; -inf or the least integer of none.")
reduce_min = _reducer(reduce_min_p, "The least element; NaN if there is one; inf or the greatest integer of none.")
for _prim in (reduce_max_p, reduce_min_p):
    def_jvp_each(_prim, _extreme_jvp)
    _prim.no_transpose(NOT_LINEAR)

# ------------------------------------------------------------------------------------------- logic

_BITS_REASON = "it takes bools and integers, which carry no derivative"
reduce_and_p = _reduction("reduce_and", BITS, lambda x, *, axes: np.bitwise_and.reduce(x, axis=axes))
reduce_or_p = _reduction("reduce_or", BITS, lambda x, *, axes: np.bitwise_or.reduce(x, axis=axes))
reduce_and_p.no_gradient(_BITS_REASON)
reduce_or_p.no_gradient(_BITS_REASON)
reduce_and = _reducer(reduce_and_p, "Bitwise and over the axes: for bool, whether all are true.")
reduce_or = _reducer(reduce_or_p, "Bitwise or over the axes: for bool, whether any is true.")

# ---------------------------------------------------------------------------------------- positions


def _position_primitive(name: str, reference: Callable[..., np.ndarray]) -> Primitive:
    prim = Primitive(name, typed_by=())

    def abstract(x: Aval, *, axis: int, index_dtype: np.dtype) -> Aval:
        check_axes(name, "axis", (axis,), x.ndim)
        check_dtype(name, x, ORDERED)
        if index_dtype not in INTEGER.members:
            raise DTypeError(f"{name}: index_dtype must be an integer dtype, not {index_dtype}.")
        if x.shape[axis] == 0:
            raise ShapeError(f"{name}: axis {axis} of {x.shape} is empty, so it has no extreme element.")
        return Aval((*x.shape[:axis], *x.shape[axis + 1 :]), index_dtype)

    def batch(
        size: int, args: Sequence[Value], dims: Sequence[int], *, axis: int, index_dtype: np.dtype
    ) -> tuple[Value, int]:
        (after,) = axes_after_batch((axis,), dims[0])
        out = bind(prim, args[0], axis=after, index_dtype=index_dtype)
        return out, batch_dim_after_reduction((axis,), dims[0])

    prim.def_abstract(abstract)
    prim.def_impl(quiet(lambda x, *, axis, index_dtype: np.asarray(reference(x, axis)).astype(index_dtype)))
    prim.no_gradient(PIECEWISE_CONSTANT)
    prim.def_batch(batch)
    return prim


argmax_p = _position_primitive("argmax", np.argmax)
argmin_p = _position_primitive("argmin", np.argmin)


def argmax(operand: Value, axis: int, index_dtype: Any = dtypes.int32) -> Value:
    """Where the first greatest element along the axis is; a NaN counts as greatest."""
    axis = canonical_axis("argmax", axis, len(aval_of(operand).shape))
    return bind(argmax_p, operand, axis=axis, index_dtype=dtypes.canonical(index_dtype))


def argmin(operand: Value, axis: int, index_dtype: Any = dtypes.int32) -> Value:
    """Where the first least element along the axis is; a NaN counts as least."""
    axis = canonical_axis("argmin", axis, len(aval_of(operand).shape))
    return bind(argmin_p, operand, axis=axis, index_dtype=dtypes.canonical(index_dtype))
