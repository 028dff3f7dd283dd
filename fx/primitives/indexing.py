"""Slices whose position is computed: ``dynamic_slice``, ``dynamic_update_slice`` and what is built on them.

The start of a slice is one scalar integer for each dimension, moved so that the slice lies in the array.  Both are
linear in their arrays and each other's transposes.  With a start for each example, ``vmap`` turns them into a
``gather`` and a ``scatter``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..config import config
from ..errors import DTypeError, OutOfBoundsIndexError, ShapeError
from ..ir import Aval, Literal
from ..primitive import Linear, Primitive
from ..sizes import as_size, is_sized
from ..trace import aval_of, bind, is_python_scalar
from .checks import INTEGER, canonical_axis, check_dtype, check_length, check_same_dtypes
from .elementwise import add, convert_element_type, lt, rem, select
from .elementwise import min as minimum
from .gather_scatter import GatherDimensionNumbers, gather, gather_batch, scatter_batch
from .helpers import Value, align_batch, full_like, instantiate, zeros_like
from .joining import concatenate
from .joining import slice as static_slice
from .shaping import expand_dims, reshape, squeeze

__all__ = [
    "dynamic_index_in_dim",
    "dynamic_slice",
    "dynamic_slice_in_dim",
    "dynamic_slice_p",
    "dynamic_update_index_in_dim",
    "dynamic_update_slice",
    "dynamic_update_slice_in_dim",
    "dynamic_update_slice_p",
    "index_take",
]

Dims = tuple[int, ...]

dynamic_slice_p = Primitive("dynamic_slice", typed_by=(0,))
dynamic_update_slice_p = Primitive("dynamic_update_slice", typed_by=(0,))

# ------------------------------------------------------------------------------- shapes and values


def _check_starts(what: str, operand: Aval, starts: Sequence[Aval], sizes: Dims) -> None:
    if len(starts) != operand.ndim:
        raise ShapeError(
            f"{what}: {len(starts)} start indices for operand {operand}; there must be one for each of its"
            f" {operand.ndim} dimensions"
        )
    for s in starts:
        check_dtype(what, s, INTEGER)
        if s.shape:
            raise ShapeError(
                f"{what}: a start index is {s}; each must be a scalar. For many starts at once use vmap or gather."
            )
    check_same_dtypes(f"{what} (start indices)", starts)
    for d, (n, size) in enumerate(zip(operand.shape, sizes)):
        if not 0 <= size <= n:
            raise ShapeError(
                f"{what}: a slice of {size} elements along dimension {d} of operand {operand}, which has {n}"
            )


@dynamic_slice_p.def_abstract
def _dynamic_slice_abstract(operand: Aval, *starts: Aval, slice_sizes: Dims) -> Aval:
    check_length("dynamic_slice", "slice_sizes", slice_sizes, operand.ndim)
    _check_starts("dynamic_slice", operand, starts, slice_sizes)
    return Aval(slice_sizes, operand.dtype)


@dynamic_update_slice_p.def_abstract
def _dynamic_update_slice_abstract(operand: Aval, update: Aval, *starts: Aval) -> Aval:
    what = "dynamic_update_slice"
    if update.ndim != operand.ndim:
        raise ShapeError(f"{what}: update {update} must have as many dimensions as operand {operand}")
    check_same_dtypes(what, (operand, update))
    _check_starts(what, operand, starts, update.shape)
    return operand


def _region(shape: Dims, starts: Sequence[np.ndarray], sizes: Dims) -> tuple[slice, ...]:
    """The slice, moved inside."""
    begins = [min(max(int(s), 0), n - size) for s, n, size in zip(starts, shape, sizes)]
    return tuple([slice(b, b + size) for b, size in zip(begins, sizes)])


@dynamic_slice_p.def_impl
def _dynamic_slice_impl(operand: np.ndarray, *starts: np.ndarray, slice_sizes: Dims) -> np.ndarray:
    return operand[_region(operand.shape, starts, slice_sizes)].copy()


@dynamic_update_slice_p.def_impl
def _dynamic_update_slice_impl(operand: np.ndarray, update: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    out = operand.copy()
    out[_region(operand.shape, starts, update.shape)] = update
    return out


# ------------------------------------------------------------------------------------ derivatives

dynamic_slice_p.def_jvp(
    lambda primals, tangents, out, *, slice_sizes: bind(
        dynamic_slice_p, tangents[0], *primals[1:], slice_sizes=slice_sizes
    )
)


@dynamic_slice_p.def_transpose
def _dynamic_slice_transpose(ct: Value, inputs: Sequence[Any], *, slice_sizes: Dims) -> tuple[Value | None, ...]:
    operand, *starts = inputs
    return bind(dynamic_update_slice_p, zeros_like(operand.aval), ct, *starts), *(None for _ in starts)


@dynamic_update_slice_p.def_jvp
def _dynamic_update_slice_jvp(primals: Sequence[Value], tangents: Sequence[Value | None], out: Value) -> Value:
    operand, update, *starts = primals
    t_operand, t_update = (instantiate(t, aval_of(x)) for t, x in zip(tangents, (operand, update)))
    return bind(dynamic_update_slice_p, t_operand, t_update, *starts)


@dynamic_update_slice_p.def_transpose
def _dynamic_update_slice_transpose(ct: Value, inputs: Sequence[Any]) -> tuple[Value | None, ...]:
    operand, update, *starts = inputs
    window = update.aval if isinstance(update, Linear) else aval_of(update)
    to_operand = to_update = None
    if isinstance(operand, Linear):
        to_operand = bind(dynamic_update_slice_p, ct, zeros_like(window), *starts)
    if isinstance(update, Linear):
        to_update = bind(dynamic_slice_p, ct, *starts, slice_sizes=window.shape)
    return to_operand, to_update, *(None for _ in starts)


# -------------------------------------------------------------------------------------------- vmap


def _index_vectors(size: int, starts: Sequence[Value], dims: Sequence[int | None]) -> Value:
    """Starts of every example as index vectors: (size, number of dimensions)."""
    columns = align_batch(size, starts, dims)
    return concatenate([reshape(c, (size, 1)) for c in columns], 1)


def _none_batched(dims: Sequence[int | None]) -> bool:
    return all(d is None for d in dims)


def _zero_start(starts: Sequence[Value]) -> list[Value]:
    """A start of 0 along the batch dimension, in the dtype of the others (int32 if there are none)."""
    return [np.zeros((), aval_of(starts[0]).dtype if starts else dtypes.int32)[()]]


@dynamic_slice_p.def_batch
def _dynamic_slice_batch(
    size: int, args: Sequence[Value], dims: Sequence[int | None], *, slice_sizes: Dims
) -> tuple[Value, int]:
    (operand, *starts), (at, *start_dims) = args, dims
    if _none_batched(start_dims):
        assert at is not None
        starts = starts[:at] + _zero_start(starts) + starts[at:]
        sizes = (*slice_sizes[:at], size, *slice_sizes[at:])
        return bind(dynamic_slice_p, operand, *starts, slice_sizes=sizes), at
    every = tuple(range(len(slice_sizes)))
    numbers = (every, (), every, (), ())
    indices = _index_vectors(size, starts, start_dims)
    params = {"dimension_numbers": numbers, "slice_sizes": slice_sizes, "mode": "clip", "fill_value": None}
    return gather_batch(size, (operand, indices), (at, 0), **params)


@dynamic_update_slice_p.def_batch
def _dynamic_update_slice_batch(size: int, args: Sequence[Value], dims: Sequence[int | None]) -> tuple[Value, int]:
    (operand, update, *starts), (operand_dim, update_dim, *start_dims) = args, dims
    if _none_batched(start_dims):
        operand, update = align_batch(size, (operand, update), (operand_dim, update_dim))
        return bind(dynamic_update_slice_p, operand, update, *_zero_start(starts), *starts), 0
    every = tuple(range(len(starts)))
    params = {
        "dimension_numbers": (every, (), every, (), ()),
        "mode": "clip",
        "indices_are_sorted": True,  # there is one index vector for each example
        "unique_indices": True,
    }
    indices = _index_vectors(size, starts, start_dims)
    return scatter_batch(size, (operand, indices, update), (operand_dim, 0, update_dim), **params)


# -------------------------------------------------------------------------------- public functions


def _start_scalars(what: str, operand: Aval, start_indices: Any, allow_negative: bool | Sequence[bool]) -> list[Value]:
    """The starts as scalars of one dtype; negative ones count from the end, where that is allowed."""
    if not isinstance(start_indices, (tuple, list)):
        vector = aval_of(start_indices)
        if vector.ndim != 1:
            raise ShapeError(f"{what}: start_indices are {vector}; give a sequence of scalars or one vector")
        n = vector.shape[0]
        start_indices = [squeeze(static_slice(start_indices, (i,), (i + 1,), (1,)), (0,)) for i in range(n)]
    if len(start_indices) != operand.ndim:
        raise ShapeError(
            f"{what}: {len(start_indices)} start indices for operand {operand}; there must be one for each of its"
            f" {operand.ndim} dimensions"
        )
    allowed = [allow_negative] * operand.ndim if isinstance(allow_negative, bool) else allow_negative
    known = [aval_of(s).dtype for s in start_indices if not (is_python_scalar(s) or is_sized(s))]
    for d in known:
        if not dtypes.is_integer(d):
            raise DTypeError(f"{what}: a start index has dtype {d}; it must be an integer. Convert it, e.g. to int32.")
    dtype = dtypes.promote(*[(d, False) for d in known])[0] if known else config.default_int
    if not dtypes.is_integer(dtype) or dtype.itemsize < 4:  # the type must hold positions along every axis
        dtype = dtypes.int32 if dtypes.is_integer(dtype) else dtypes.int64
    return [_start(what, s, n, dtype, a) for s, n, a in zip(start_indices, operand.shape, allowed)]


def _start(what: str, s: Value, n: int, dtype: np.dtype, allow_negative: bool) -> Value:
    if is_python_scalar(s) or isinstance(s, (int, np.integer)):
        i = as_size(s)
        if i < 0 and not allow_negative:
            raise OutOfBoundsIndexError(f"{what}: start index {i} is negative, and allow_negative_indices is False")
        limits = np.iinfo(dtype)
        i = min(max(i + n if i < 0 else i, limits.min), limits.max)
        return Literal(i, Aval((), dtype)) if is_sized(i) else dtype.type(i)
    if aval_of(s).dtype != dtype:
        if not np.can_cast(aval_of(s).dtype, dtype):
            s = minimum(s, full_like(s, n))
        s = convert_element_type(s, dtype)
    if dtype.kind == "u" or not allow_negative:
        return s
    return select(lt(s, full_like(s, 0)), add(s, full_like(s, n)), s)


def dynamic_slice(
    operand: Value,
    start_indices: Any,
    slice_sizes: Sequence[int],
    *,
    allow_negative_indices: bool | Sequence[bool] = True,
) -> Value:
    """The slice of ``slice_sizes`` that begins at ``start_indices``, moved so that it lies in ``operand``.

    Args:
        start_indices: one integer scalar for each dimension (numbers or traced values), or one vector of them.
        allow_negative_indices: negative starts count from the end; otherwise they are moved to 0.

    Raises:
        ShapeError: a slice is longer than its dimension, or the numbers of starts, sizes and dimensions differ.

    >>> import fx, numpy as np
    >>> fx.jit(lambda x, i: fx.lax.dynamic_slice(x, (i,), (2,)))(np.arange(5), 3)
    Array([3, 4], dtype=int64)
    >>> fx.jit(lambda x, i: fx.lax.dynamic_slice(x, (i,), (2,)))(np.arange(5), 100)
    Array([3, 4], dtype=int64)
    """
    aval = aval_of(operand)
    sizes = tuple(as_size(s) for s in slice_sizes)
    starts = _start_scalars("dynamic_slice", aval, start_indices, allow_negative_indices)
    return bind(dynamic_slice_p, operand, *starts, slice_sizes=sizes)


def dynamic_update_slice(
    operand: Value, update: Value, start_indices: Any, *, allow_negative_indices: bool | Sequence[bool] = True
) -> Value:
    """``operand`` with ``update`` written over the slice that begins at ``start_indices``, moved inside.

    >>> import fx, numpy as np
    >>> fx.lax.dynamic_update_slice(np.zeros(5), np.ones(2), (3,))
    Array([0., 0., 0., 1., 1.], dtype=float64)
    """
    aval = aval_of(operand)
    if is_python_scalar(update):
        update = full_like(Aval((), aval.dtype), update)
    starts = _start_scalars("dynamic_update_slice", aval, start_indices, allow_negative_indices)
    return bind(dynamic_update_slice_p, operand, update, *starts)


def _along(axis: int, ndim: int, start: Value) -> list[Value]:
    return [start if d == axis else 0 for d in range(ndim)]


def dynamic_slice_in_dim(
    operand: Value, start_index: Value, slice_size: int, axis: int = 0, *, allow_negative_indices: bool = True
) -> Value:
    """``dynamic_slice`` along one axis, all of the others."""
    shape = aval_of(operand).shape
    axis = canonical_axis("dynamic_slice_in_dim", axis, len(shape))
    sizes = [slice_size if d == axis else n for d, n in enumerate(shape)]
    starts = _along(axis, len(shape), start_index)
    return dynamic_slice(operand, starts, sizes, allow_negative_indices=allow_negative_indices)


def dynamic_index_in_dim(
    operand: Value, index: Value, axis: int = 0, keepdims: bool = True, *, allow_negative_indices: bool = True
) -> Value:
    """The element ``index`` along ``axis``; the axis stays with size 1 unless ``keepdims`` is False."""
    axis = canonical_axis("dynamic_index_in_dim", axis, aval_of(operand).ndim)
    out = dynamic_slice_in_dim(operand, index, 1, axis, allow_negative_indices=allow_negative_indices)
    return out if keepdims else squeeze(out, (axis,))


def dynamic_update_slice_in_dim(
    operand: Value, update: Value, start_index: Value, axis: int, *, allow_negative_indices: bool = True
) -> Value:
    """``dynamic_update_slice`` along one axis, all of the others."""
    ndim = aval_of(operand).ndim
    axis = canonical_axis("dynamic_update_slice_in_dim", axis, ndim)
    starts = _along(axis, ndim, start_index)
    return dynamic_update_slice(operand, update, starts, allow_negative_indices=allow_negative_indices)


def dynamic_update_index_in_dim(
    operand: Value, update: Value, index: Value, axis: int, *, allow_negative_indices: bool = True
) -> Value:
    """``operand`` with ``update`` (with or without the axis) written at ``index`` along ``axis``."""
    aval = aval_of(operand)
    axis = canonical_axis("dynamic_update_index_in_dim", axis, aval.ndim)
    if is_python_scalar(update):
        update = full_like(Aval((), aval.dtype), update)
    if aval_of(update).ndim != aval.ndim:
        update = expand_dims(update, (axis,))
    return dynamic_update_slice_in_dim(operand, update, index, axis, allow_negative_indices=allow_negative_indices)


def index_take(src: Value, idxs: Sequence[Value], axes: Sequence[int]) -> Value:
    """``src[:, idxs[0], :, idxs[1], ...]`` with index vectors for ``axes``, which move to the front.

    An index counts modulo the size of its axis, so every one lies inside.
    """
    shape = aval_of(src).shape
    axes = tuple(canonical_axis("index_take", a, len(shape)) for a in axes)
    columns = []
    for i, a in zip(idxs, axes, strict=True):
        rest = rem(i, full_like(i, shape[a]))
        inside = select(lt(rest, full_like(i, 0)), add(rest, full_like(i, shape[a])), rest)
        columns.append(expand_dims(inside, (aval_of(i).ndim,)))
    indices = concatenate(columns, aval_of(columns[0]).ndim - 1)
    outer = aval_of(indices).ndim - 1
    numbers = GatherDimensionNumbers(
        offset_dims=tuple(range(outer, outer + len(shape) - len(axes))),
        collapsed_slice_dims=tuple(sorted(axes)),
        start_index_map=axes,
    )
    return gather(src, indices, numbers, [1 if d in axes else n for d, n in enumerate(shape)])
