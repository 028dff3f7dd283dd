"""Elements in other places: flip, roll, repeat, tile, insert, delete, diagonals."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..errors import (
    AxisError,
    ConcretizationError,
    DTypeError,
    OutOfBoundsIndexError,
    ShapeError,
    UnsupportedFunctionError,
)
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives import joining, shaping, sorting
from ..primitives.bit_casts import bitcast_convert_type
from ..primitives.cumulative import cumsum
from ..primitives.helpers import unchanged
from ..primitives.indexing import dynamic_slice_in_dim
from ..sizes import as_size
from ..trace import Tracer, aval_of, concrete_value
from .axes import axis_tuple, canonical_axes, canonical_axis, plain_ints, static_shape
from .binary import remainder, subtract
from .core import Value, as_type, as_typed, as_value, at_once, broadcast_value, filled, not_in_place
from .indexing import getitem, setitem
from .manipulation import moveaxis, ravel, swapaxes, unstack

__all__ = [
    "delete", "diagonal", "fill_diagonal", "flip", "fliplr", "flipud", "insert", "repeat", "resize", "roll", "rot90", "tile", "view",
]  # fmt: skip

_FEW_PIECES = 8  # of an array are copied, more of them gathered


def flip(m: Any, axis: Any = None) -> Value:
    """The order of elements along axes reversed."""
    y = at_once(m, np.flip, axis) if axis is None or type(axis) is int else None
    if y is not None:
        return y
    x = as_value(m)
    return shaping.rev(x, canonical_axes(axis, x.ndim))


def flipud(m: Any) -> Value:
    """``flip`` along axis 0."""
    return flip(m, 0)


def fliplr(m: Any) -> Value:
    """``flip`` along axis 1."""
    return flip(m, 1)


@planned
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Value:
    """Rotated by k quarter turns in the plane of two axes."""
    x = as_value(m)
    a, b = canonical_axis(axes[0], x.ndim), canonical_axis(axes[1], x.ndim)
    if a == b:
        raise AxisError(f"rot90 needs two different axes; found {axes}")
    k %= 4
    if k == 0:
        return unchanged(x)
    if k == 2:
        return flip(x, (a, b))
    return flip(swapaxes(x, a, b), a) if k == 1 else swapaxes(flip(x, a), a, b)


@planned
def roll(a: Any, shift: Any, axis: Any = None) -> Value:
    """Elements moved along axes, those that leave coming in at the other end; the shifts may be traced."""
    y = at_once(a, np.roll, shift, axis) if type(shift) is int and (axis is None or type(axis) is int) else None
    if y is not None:
        return y
    x = as_value(a)
    shift = unstack(as_value(shift)) if getattr(shift, "ndim", 0) else shift
    if axis is None:
        shifts = axis_tuple(shift)
        flat = ravel(x)
        for s in shifts:
            flat = roll(flat, s, 0)
        return shaping.reshape(flat, x.shape)
    axes = axis_tuple(axis)
    shifts = axis_tuple(shift) * (1 if isinstance(shift, (tuple, list)) and len(shift) > 1 else len(axes))
    if len(axes) == 1 and len(shifts) > 1:
        axes = axes * len(shifts)
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    for s, i in zip(shifts, [canonical_axis(i, x.ndim) for i in axes]):
        n = x.shape[i]
        if n == 0:
            continue
        if type(s) is Tracer:
            x = dynamic_slice_in_dim(joining.concatenate([x, x], i), subtract(n, _modulo(s, n)), n, i)
        elif k := as_size(s) % n:
            x = joining.concatenate(
                [joining.slice_in_dim(x, n - k, n, axis=i), joining.slice_in_dim(x, 0, n - k, axis=i)], i
            )
    return x


def _modulo(shift: Tracer, n: int) -> Value:
    """A traced shift modulo ``n``, as an integer that holds both."""
    d = aval_of(shift).dtype
    if not dtypes.is_integer(d):
        raise DTypeError(f"roll: a shift must be an integer; found {aval_of(shift)}")
    if d in (dtypes.uint32, dtypes.uint64):
        return as_type(remainder(shift, n), dtypes.int64)
    return remainder(shift if d == dtypes.int32 else as_type(shift, dtypes.int64), n)


def _along(i: int, index: Any) -> tuple[Any, ...]:
    """An index along axis i."""
    return (*(slice(None),) * i, index)


def repeat(
    a: Any, repeats: Any, axis: Any = None, *, total_repeat_length: int | None = None, out_sharding: Any = None
) -> Value:
    """Each element repeated.

    Args:
        repeats: a number, or one for each element; traced numbers need ``total_repeat_length``.
        total_repeat_length: the size of the result: what is too much is cut off, what is missing is the last element.

    >>> import fx
    >>> import fx.numpy as fnp
    >>> fx.jit(lambda x, n: fnp.repeat(x, n, total_repeat_length=5))(fnp.array([1, 2]), fnp.array([3, 2]))
    Array([1, 1, 1, 2, 2], dtype=int32)
    """
    plain = type(repeats) is int and total_repeat_length is None and (axis is None or type(axis) is int)
    y = at_once(a, np.ndarray.repeat, repeats, axis) if plain else None
    if y is not None:
        return y
    x = as_value(a)
    x = ravel(x) if x.ndim == 0 else x  # as NumPy: a scalar is repeated along an axis of its own
    x, i = (ravel(x), 0) if axis is None else (x, canonical_axis(axis, x.ndim))
    n = x.shape[i]
    counts = concrete_value(as_value(repeats))
    if counts is None:
        if total_repeat_length is None:
            raise ConcretizationError(
                "repeat by traced numbers: the result's shape would depend on them; pass total_repeat_length="
            )
        return getitem(x, _along(i, _traced_repeats(as_value(repeats), n, total_repeat_length)))
    if counts.size == 1 and total_repeat_length is None:
        r = int(counts.reshape(()))
        wide = shaping.broadcast_in_dim(
            x, (*x.shape[: i + 1], r, *x.shape[i + 1 :]), [j + (j > i) for j in range(x.ndim)]
        )
        return shaping.reshape(wide, (*x.shape[:i], n * r, *x.shape[i + 1 :]))
    if counts.size not in (1, n):
        raise ShapeError(f"repeat: {counts.size} numbers for axis {i} of size {n}; give one, or one for each element")
    index = np.repeat(np.arange(n, dtype=np.int32), counts)
    if total_repeat_length is not None:
        missing = max(total_repeat_length - index.size, 0)
        index = np.concatenate([index, np.full(missing, n - 1, np.int32)])[:total_repeat_length]
    return getitem(x, _along(i, index))


def _traced_repeats(repeats: Value, n: int, total: int) -> Value:
    """For each place of the result the element that stands there: a 1 is put where the next element begins, and summed up."""
    starts = cumsum(as_type(broadcast_value(repeats, (n,)), np.int32), 0)
    steps = setitem(filled((total,), 0, dtypes.int32), joining.slice_in_dim(starts, 0, max(n - 1, 0)), 1, "add")
    return cumsum(steps, 0)


@planned
def tile(A: Any, reps: Any) -> Value:
    """The array repeated as a whole, ``reps`` times along each axis."""
    x = as_value(A)
    r = plain_ints(reps, "the repetitions of tile")
    n = max(len(r), x.ndim)
    r, s = (1,) * (n - len(r)) + r, (1,) * (n - x.ndim) + x.shape
    wide = shaping.broadcast_in_dim(
        shaping.reshape(x, s), [v for k, m in zip(r, s) for v in (k, m)], range(1, 2 * n, 2)
    )
    return shaping.reshape(wide, [k * m for k, m in zip(r, s)])


def resize(a: Any, new_shape: Any) -> Value:
    """The elements repeated to fill a new shape."""
    x, s = ravel(a), static_shape(new_shape)
    n = math.prod(s)
    if x.size == 0:
        return filled(s, False, x.dtype)
    return shaping.reshape(joining.slice_in_dim(tile(x, -(-n // x.size)), 0, n), s)


def diagonal_number(k: Any) -> int:
    """``k``, or one as far outside of every matrix that adding positions to it stays within int32."""
    return max(-(2**30), min(operator.index(k), 2**30))


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Value:
    """The diagonal of the plane of two axes, as the last axis."""
    x = as_value(a)
    if x.ndim < 2:
        raise ShapeError(f"diagonal needs at least 2 dimensions; found shape {x.shape}")
    offset = diagonal_number(offset)
    canonical_axes((axis1, axis2), x.ndim)  # which tells of one that is named twice
    i, j = (canonical_axis(axis, x.ndim) for axis in (axis1, axis2))
    if i > j:
        i, j, offset = j, i, -offset
    if j > i + 1:
        x, i = moveaxis(x, (i, j), (-2, -1)), x.ndim - 2
    rows, columns = x.shape[i : i + 2]
    n = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    # of the elements of the plane in a row, every (columns + 1)-th
    flat = shaping.reshape(x, (*x.shape[:i], rows * columns, *x.shape[i + 2 :]))
    start = columns * max(-offset, 0) + max(offset, 0) if n else 0
    stop = start + (n - 1) * (columns + 1) + 1 if n else 0
    return moveaxis(joining.slice_in_dim(flat, start, stop, columns + 1, axis=i), i, -1)


@planned
def fill_diagonal(a: Any, val: Any, wrap: bool = False, *, inplace: bool = False) -> Value:
    """A copy with ``val`` on the diagonal (an array is written in order, and repeated); ``wrap`` goes on in tall matrices."""
    not_in_place("fill_diagonal", inplace)
    x = as_value(a)
    v = ravel(as_typed(val, x.dtype))
    if x.ndim < 2 or (x.ndim > 2 and len(set(x.shape)) > 1):
        raise ShapeError(f"fill_diagonal needs a matrix, or more dimensions of one size; found shape {x.shape}")
    step = 1 + int(np.cumprod(x.shape[:0:-1]).sum())
    stop = x.shape[1] ** 2 if x.ndim == 2 and not wrap else None
    places = range(x.size)[:stop:step]
    if v.size > 1:
        v = getitem(v, np.arange(len(places), dtype=np.int32) % v.size)
    return shaping.reshape(setitem(ravel(x), slice(None, stop, step), v), x.shape)


def _known_index(obj: Any, n: int, what: str) -> Any:
    """Positions along an axis as NumPy takes them."""
    if isinstance(obj, slice):
        return np.arange(n)[obj]
    index = concrete_value(as_value(np.asarray(obj, np.int32) if np.size(obj) == 0 else obj))
    if index is None:
        raise ConcretizationError(
            f"{what} at traced positions: the result's shape would depend on them; compute them outside the traced function"
        )
    return index


def delete(arr: Any, obj: Any, axis: Any = None, *, assume_unique_indices: bool = False) -> Value:
    """The array without the elements at ``obj``.

    Args:
        assume_unique_indices: no position stands in ``obj`` twice.  Traced positions need it: it fixes the result's size.
    """
    x = as_value(arr)
    x, i = (ravel(x), 0) if axis is None else (x, canonical_axis(axis, x.ndim))
    n = x.shape[i]
    if assume_unique_indices and type(obj) is Tracer and dtypes.is_integer(obj.dtype):
        gone = ravel(obj)
        mark = setitem(filled((n,), 0, dtypes.int32), gone, 1)
        keep = joining.slice_in_dim(sorting.argsort(mark, 0), 0, n - gone.shape[0])
    else:
        return _pieces([x], i, np.delete(np.arange(n, dtype=np.int32), _known_index(obj, n, "delete")))
    return getitem(x, _along(i, keep))


def _pieces(parts: Sequence[Value], i: int, source: np.ndarray) -> Value:
    """The elements ``source`` of the parts joined along axis i: a few runs of them are copied as they are."""
    ends = np.cumsum([x.shape[i] for x in parts])
    part = np.searchsorted(ends, source, "right")
    cuts = np.flatnonzero((np.diff(source) != 1) | (np.diff(part) != 0)) + 1
    if cuts.size >= _FEW_PIECES:
        return getitem(joining.concatenate(parts, i), _along(i, source))
    pieces = []
    for run, k in zip(np.split(source, cuts), part[[0, *cuts]] if source.size else [0]):
        start = int(run[0] - (ends[k] - parts[k].shape[i])) if run.size else 0
        pieces.append(joining.slice_in_dim(parts[k], start, start + run.size, axis=i))
    return joining.concatenate(pieces, i)


def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Value:
    """The array with values put in before the positions ``obj``; traced positions out of range are moved inside."""
    x = as_value(arr)
    x, i = (ravel(x), 0) if axis is None else (x, canonical_axis(axis, x.ndim))
    n = x.shape[i]
    traced = type(obj) is Tracer and dtypes.is_integer(obj.dtype) and concrete_value(obj) is None
    where = obj if traced else _insert_positions(obj, n, i)
    v = as_typed(values, x.dtype)
    if where.size == 1:
        v = shaping.expand_dims(v, tuple(range(x.ndim - v.ndim)))
        v = moveaxis(v, 0, i) if where.ndim == 0 else v
    count = v.shape[i] if where.size == 1 else where.size
    v = broadcast_value(v, tuple([count if j == i else s for j, s in enumerate(x.shape)]))
    if not traced:
        return _pieces([x, v], i, _merge_known(where, n, count))
    return getitem(joining.concatenate([x, v], i), _along(i, _merge_traced(where, n, count)))


def _insert_positions(obj: Any, n: int, i: int) -> np.ndarray:
    """The known positions of ``insert``, from 0 to n."""
    where = _known_index(obj, n, "insert")
    where = np.flatnonzero(where) if where.dtype == np.bool_ else where
    if (bad := where[(where < -n) | (where > n)]).size:
        raise OutOfBoundsIndexError(f"insert: position {bad.flat[0]} is out of bounds for axis {i} with size {n}")
    return np.where(where < 0, where + n, where)


def _merge_known(where: np.ndarray, n: int, count: int) -> np.ndarray:
    """For each place of the result of ``insert`` where it stands in the old elements followed by the new ones."""
    where = np.broadcast_to(where.ravel(), (count,))
    order = np.argsort(where, kind="stable")
    places = where[order] + np.arange(count)
    source = np.empty(n + count, np.int32)
    rest = np.ones(n + count, bool)
    rest[places] = False
    source[rest], source[places] = np.arange(n), n + order
    return source


def _merge_traced(where: Value, n: int, count: int) -> Value:
    """``_merge_known`` of positions that are not known."""
    where = broadcast_value(ravel(as_type(where, dtypes.int32)), (count,))
    where = p.select(p.lt(where, 0), p.add(where, n), where)
    where = p.clamp(np.int32(0), where, np.int32(n))
    order = sorting.argsort(where, 0)
    places = p.add(getitem(where, order), shaping.iota(dtypes.int32, count))
    rest = setitem(filled((n + count,), 1, dtypes.int32), places, 0)
    return setitem(p.sub(cumsum(rest, 0), 1), places, p.add(order, n))


def view(x: Value, dtype: Any) -> Value:
    """The same memory read as another dtype; the last axis grows or shrinks where the size of an element changes."""
    if isinstance(dtype, (int, tuple)):
        raise DTypeError(
            f"x.view reads the memory as another dtype; found {dtype!r}. Another shape is x.reshape({dtype!r})."
        )
    d = dtypes.canonical(dtype)
    if d == x.dtype:
        return x
    if type(x) is Array:
        return Array(np.asarray(x._data, order="C").view(d))
    if dtypes.is_complex(x.dtype) and d == dtypes.real_dtype(x.dtype) and x.ndim:
        parts = joining.concatenate([shaping.expand_dims(q, (x.ndim,)) for q in (p.real(x), p.imag(x))], x.ndim)
        return shaping.reshape(parts, (*x.shape[:-1], 2 * x.shape[-1]))
    if dtypes.is_complex(d) and x.dtype == dtypes.real_dtype(d) and x.ndim and x.shape[-1] % 2 == 0:
        pairs = shaping.reshape(x, (*x.shape[:-1], x.shape[-1] // 2, 2))
        return p.complex(getitem(pairs, (Ellipsis, 0)), getitem(pairs, (Ellipsis, 1)))
    if dtypes.is_complex(d) or dtypes.is_complex(x.dtype) or d == dtypes.bool_:
        raise UnsupportedFunctionError(
            f"view of a traced {aval_of(x)} as {d}: while tracing, integers and floats are viewed as one another; use astype"
        )
    x = as_type(x, np.uint8) if x.dtype == dtypes.bool_ else x
    if d == x.dtype:
        return x
    if d.itemsize == x.dtype.itemsize:
        return p.bitcast_convert_type(x, d)
    count = d.itemsize // x.dtype.itemsize
    if not x.ndim or (count and x.shape[-1] % count):
        raise ShapeError(f"view of a traced {aval_of(x)} as {d}: its last axis is not a whole number of elements")
    if not count:
        return _last_two_joined(bitcast_convert_type(x, d))
    return bitcast_convert_type(shaping.reshape(x, (*x.shape[:-1], x.shape[-1] // count, count)), d)


def _last_two_joined(x: Value) -> Value:
    *lead, n, k = x.shape
    return shaping.reshape(x, (*lead, n * k))
