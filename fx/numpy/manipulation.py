"""Shapes: reshape, transpose, broadcast, join, split."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..errors import (
    ArgumentError,
    AxisError,
    DTypeError,
    ShapeError,
)
from ..plans import planned, replayed
from ..primitives import helpers, joining, shaping
from ..trace import aval_of
from . import core
from .axes import axis_tuple, canonical_axes, canonical_axis, plain_ints, static_shape
from .core import Value, as_type, as_value, at_once, broadcast_value, buffers_of, is_eager, operand, promote_dtype

__all__ = [
    "append", "array_split", "atleast_1d", "atleast_2d", "atleast_3d", "block", "broadcast_arrays", "broadcast_shapes", "broadcast_to",
    "column_stack", "concat", "concatenate", "dsplit", "dstack", "expand_dims", "hsplit", "hstack", "matrix_transpose", "moveaxis", "ndim",
    "permute_dims", "ravel", "reshape", "rollaxis", "row_stack", "shape", "size", "split", "squeeze", "stack", "swapaxes", "transpose", "unstack",
    "vsplit", "vstack",
]  # fmt: skip


def shape(a: Any) -> tuple[int, ...]:
    """The sizes of the axes (none for None, as in NumPy)."""
    if isinstance(getattr(a, "dtype", None), dtypes.KeyDType):
        return tuple(a.shape)
    return () if a is None else aval_of(as_value(a)).shape


def ndim(a: Any) -> int:
    """The number of axes."""
    return len(shape(a))


def size(a: Any, axis: Any = None) -> int:
    """The number of elements (along ``axis``)."""
    s = shape(a)
    return math.prod(s) if axis is None else math.prod(s[i] for i in canonical_axes(axis, len(s)))


def reshape(a: Any, shape: Any = None, order: str = "C", *, copy: Any = None, out_sharding: Any = None) -> Value:
    """The same elements in another shape; one size may be -1.

    Args:
        copy: of a known array.  True: memory of its own; False: the memory of ``a``.

    Raises:
        ArgumentError: ``copy=False``, and the elements do not lie in the order of the result.
    """
    if order == "C" and copy is None and (type(shape) is tuple or type(shape) is int):
        y = at_once(a, np.ndarray.reshape, shape)
        if y is not None:
            return y
    x = as_value(a)
    if order not in ("C", "F", "A", "K"):
        raise ArgumentError(f"order must be 'C' or 'F'; found {order!r}")
    sizes = _infer(plain_ints(shape), x)
    if order == "F":
        out = shaping.reshape(shaping.transpose(x, range(x.ndim)[::-1]), sizes[::-1])
        out = shaping.transpose(out, range(len(sizes))[::-1])
    else:
        out = shaping.reshape(x, sizes)
    return out if copy is None or not is_eager(x) else _copied(out, x, copy)


def _copied(out: Array, x: Array, copy: bool) -> Array:
    """``out``, a reshape of ``x``, in memory of its own or of ``x``, as ``copy`` asks."""
    shared = np.may_share_memory(out._data, x._data)
    if copy and shared:
        return Array(out._data.copy(), out.weak_type)
    if not copy and not shared and x.size:
        raise ArgumentError(
            f"an array of shape {x.shape} and strides {x._data.strides} cannot become shape {out.shape} without a copy;"
            " drop copy=False"
        )
    return out


def _infer(sizes: tuple[int, ...], x: Value) -> tuple[int, ...]:
    """The shape with its -1 filled in.

    Raises:
        ShapeError: the number of elements does not fit.
    """
    rest = math.prod(s for s in sizes if s != -1)
    found = sizes
    if sizes.count(-1) == 1 and rest:
        found = tuple([x.size // rest if s == -1 else s for s in sizes])
    if any(s < 0 for s in found) or math.prod(found) != x.size:
        raise ShapeError(f"cannot reshape array of shape {x.shape}, which has {x.size} elements, to {sizes}")
    return found


def ravel(a: Any, order: str = "C", *, out_sharding: Any = None) -> Value:
    """The elements as a vector."""
    y = at_once(a, np.ndarray.reshape, -1) if order == "C" else None
    if y is not None:
        return y
    x = as_value(a)
    return reshape(x, (x.size,), order)


def transpose(a: Any, axes: Any = None) -> Value:
    """The axes permuted; reversed by default."""
    if axes is None or type(axes) is tuple:
        y = at_once(a, np.ndarray.transpose, axes)
        if y is not None:
            return y
    x = as_value(a)
    if axes is None:
        return shaping.transpose(x, range(x.ndim)[::-1])
    perm = tuple([canonical_axis(i, x.ndim) for i in axis_tuple(axes)])
    if len(perm) != x.ndim or len(set(perm)) != x.ndim:
        raise AxisError(
            f"transpose: axes {tuple(axis_tuple(axes))} must name each of the {x.ndim} axes of shape {x.shape} once"
        )
    return shaping.transpose(x, perm)


permute_dims = transpose


def matrix_transpose(x: Any, /) -> Value:
    """The last two axes swapped."""
    v = as_value(x)
    if v.ndim < 2:
        raise ShapeError(f"matrix_transpose needs at least 2 dimensions; found shape {v.shape}")
    return swapaxes(v, -1, -2)


def swapaxes(a: Any, axis1: int, axis2: int) -> Value:
    """Two axes swapped."""
    y = at_once(a, np.ndarray.swapaxes, axis1, axis2)
    if y is not None:
        return y
    x = as_value(a)
    i, j = canonical_axis(axis1, x.ndim, "axis1"), canonical_axis(axis2, x.ndim, "axis2")
    perm = list(range(x.ndim))
    perm[i], perm[j] = perm[j], perm[i]
    return shaping.transpose(x, perm)


@planned
def moveaxis(a: Any, source: Any, destination: Any) -> Value:
    """Axes moved to new places; the others keep their order."""
    x = as_value(a)
    src = [canonical_axis(i, x.ndim, "source") for i in axis_tuple(source)]
    dst = [canonical_axis(i, x.ndim, "destination") for i in axis_tuple(destination)]
    if len(src) != len(dst) or len(set(src)) != len(src) or len(set(dst)) != len(dst):
        raise AxisError(f"moveaxis: source {source} and destination {destination} must name as many different axes")
    perm = [i for i in range(x.ndim) if i not in src]
    for d, s in sorted(zip(dst, src)):
        perm.insert(d, s)
    return shaping.transpose(x, perm)


def rollaxis(a: Any, axis: int, start: int = 0) -> Value:
    """An axis moved to stand before ``start``."""
    x = as_value(a)
    i = canonical_axis(axis, x.ndim)
    start = canonical_axis(start, x.ndim + 1, "start") if start >= 0 else canonical_axis(start, x.ndim, "start")
    return moveaxis(x, i, start - (i < start))


def expand_dims(a: Any, axis: Any = 0) -> Value:
    """New axes of size 1 at the given positions of the result."""
    if type(a) is Array and type(axis) is int and 0 <= axis <= a.ndim:
        y = at_once(a, np.ndarray.reshape, (*a.shape[:axis], 1, *a.shape[axis:]))
        if y is not None:
            return y
    x = as_value(a)
    axes = axis_tuple(axis)
    return shaping.expand_dims(x, canonical_axes(axes, x.ndim + len(axes)))


def squeeze(a: Any, axis: Any = None) -> Value:
    """Axes of size 1 removed."""
    y = at_once(a, np.ndarray.squeeze) if axis is None else None
    if y is not None:
        return y
    x = as_value(a)
    axes = tuple([i for i, n in enumerate(x.shape) if n == 1]) if axis is None else canonical_axes(axis, x.ndim)
    for i in axes:
        if x.shape[i] != 1:
            raise ShapeError(f"squeeze: axis {i} of shape {x.shape} has size {x.shape[i]}, not 1")
    return shaping.squeeze(x, axes)


def broadcast_to(array: Any, shape: Any, *, out_sharding: Any = None) -> Value:
    """The array broadcast to a shape."""
    return helpers.unchanged(broadcast_value(as_value(array), static_shape(shape)))


def broadcast_arrays(*args: Any) -> list[Value]:
    """All arrays broadcast to their common shape."""
    xs = [as_value(a) for a in args]
    s = core.broadcast_shapes(*[x.shape for x in xs])
    return [broadcast_value(x, s) for x in xs]


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that arrays of these shapes broadcast to."""
    return core.broadcast_shapes(*map(static_shape, shapes))


def _at_least(f: Any, arys: Sequence[Any]) -> Any:
    out = [f(x) for x in map(as_value, arys)]
    return out[0] if len(out) == 1 else out


def atleast_1d(*arys: Any) -> Any:
    """Scalars as vectors."""
    return _at_least(lambda x: x if x.ndim else shaping.reshape(x, (1,)), arys)


def atleast_2d(*arys: Any) -> Any:
    """At least two dimensions: new axes in front."""
    return _at_least(lambda x: shaping.expand_dims(x, tuple(range(2 - x.ndim))), arys)


def atleast_3d(*arys: Any) -> Any:
    """At least three dimensions, as NumPy places them: (n,) becomes (1, n, 1), (m, n) becomes (m, n, 1)."""
    return _at_least(lambda x: shaping.expand_dims(x, ((0, 1, 2), (0, 2), (2,))[x.ndim]) if x.ndim < 3 else x, arys)


# -------------------------------------------------------------------------------- joining


def _common(arrays: Sequence[Any], dtype: Any = None, casting: Any = None) -> list[Value]:
    """The arrays of one dtype; what ``casting`` does not allow is an error, None allows every ``dtype`` that is given."""
    xs = [operand(a) for a in arrays]
    if not xs:
        raise ShapeError("at least one array is needed to join")
    ys = promote_dtype(*xs) if dtype is None else [as_type(x, dtype) for x in xs]
    if casting is not None:
        for k, (x, y) in enumerate(zip(map(aval_of, xs), ys)):
            if not np.can_cast(x.dtype, y.dtype, casting):
                raise DTypeError(f"array {k} of dtype {x.dtype} cannot become {y.dtype} with casting={casting!r}")
    return ys


def _joined(f: Any, arrays: Any, axis: Any) -> Value | None:
    """Known arrays of one common dtype joined by NumPy; None where the long way is needed."""
    if not isinstance(arrays, (list, tuple)) or not arrays or type(axis) is not int:
        return None
    buffers = buffers_of(*arrays)
    try:
        return None if buffers is None else Array(f(buffers, axis))
    except (ValueError, TypeError):
        return None


def _rows(arrays: Any) -> list[Any]:
    """The arrays of a sequence, or the rows of an array."""
    return list(arrays) if isinstance(arrays, (list, tuple)) else list(unstack(arrays))


@replayed
def concatenate(arrays: Any, axis: int | None = 0, dtype: Any = None, *, out: Any = None, casting: Any = None) -> Value:
    """Arrays joined along an existing axis (flattened first, if ``axis`` is None)."""
    y = _joined(np.concatenate, arrays, axis) if dtype is casting is None else None
    if y is not None:
        return y
    join = _join_of(arrays)
    if join is not None:
        return join(concatenate, arrays, axis, 0)
    xs = _common(_rows(arrays), dtype, casting)
    if axis is None:
        return joining.concatenate([ravel(x) for x in xs], 0)
    if any(x.ndim == 0 for x in xs):
        raise ShapeError("scalars cannot be concatenated; use stack, or hstack")
    i = canonical_axis(axis, xs[0].ndim)
    first = xs[0].shape
    for k, x in enumerate(xs):
        if x.ndim != len(first) or any(a != b for j, (a, b) in enumerate(zip(x.shape, first)) if j != i):
            raise ShapeError(
                f"concatenate along axis {i}: array {k} has shape {x.shape}, array 0 has {first}; all other axes must be equal"
            )
    return joining.concatenate(xs, i)


concat = concatenate


def _join_of(arrays: Any) -> Any:
    """How arrays of a kind of their own (of keys) are joined; None of numbers."""
    return getattr(type(arrays[0]), "joined", None) if isinstance(arrays, (list, tuple)) and arrays else None


@replayed
def stack(arrays: Any, axis: int = 0, out: Any = None, dtype: Any = None, *, casting: Any = None) -> Value:
    """Arrays of one shape joined along a new axis."""
    y = _joined(np.stack, arrays, axis) if dtype is casting is None else None
    if y is not None:
        return y
    join = _join_of(arrays)
    if join is not None:
        return join(stack, arrays, axis, 1)
    xs = _common(_rows(arrays), dtype, casting)
    if len({x.shape for x in xs}) > 1:
        raise ShapeError(f"stack needs arrays of one shape; found {', '.join(str(x.shape) for x in xs)}")
    i = canonical_axis(axis, xs[0].ndim + 1)
    return joining.concatenate([shaping.expand_dims(x, (i,)) for x in xs], i)


@planned
def vstack(tup: Any, dtype: Any = None, *, casting: Any = None) -> Value:
    """Rows below each other."""
    return concatenate([atleast_2d(x) for x in _common(_rows(tup), dtype, casting)], 0)


row_stack = vstack


@replayed
def hstack(tup: Any, dtype: Any = None, *, casting: Any = None) -> Value:
    """Side by side: along axis 1, or 0 for vectors."""
    xs = [atleast_1d(x) for x in _common(_rows(tup), dtype, casting)]
    return concatenate(xs, 0 if xs[0].ndim == 1 else 1)


@planned
def dstack(tup: Any, dtype: Any = None) -> Value:
    """Along the third axis."""
    return concatenate([atleast_3d(x) for x in _common(_rows(tup), dtype)], 2)


@planned
def column_stack(tup: Any) -> Value:
    """Vectors as the columns of a matrix."""
    xs = _common(_rows(tup))
    return concatenate([x if x.ndim >= 2 else shaping.reshape(x, (x.size, 1)) for x in xs], 1)


@planned
def block(arrays: Any) -> Value:
    """A matrix assembled from nested lists of blocks: the innermost lists are joined along the last axis."""

    def leaves(x: Any, depth: int) -> list[tuple[int, Value]]:
        if not isinstance(x, list):
            return [(depth, as_value(x))]
        if not x:
            raise ShapeError("block: a list of blocks cannot be empty")
        return [leaf for q in x for leaf in leaves(q, depth + 1)]

    found = leaves(arrays, 0)
    depths = {depth for depth, _ in found}
    if len(depths) > 1:
        raise ShapeError(f"block: all blocks must be nested equally deep; found depths {sorted(depths)}")
    depth = depths.pop()
    n = max(depth, *[v.ndim for _, v in found])

    def build(x: Any, level: int) -> Value:
        if level == depth:
            v = as_value(x)
            return shaping.expand_dims(v, tuple(range(n - v.ndim)))
        return concatenate([build(q, level + 1) for q in x], level - depth)

    return build(arrays, 0) if depth else helpers.unchanged(found[0][1])


@planned
def append(arr: Any, values: Any, axis: int | None = None) -> Value:
    """``values`` joined behind ``arr`` (both flattened, if ``axis`` is None)."""
    return concatenate([arr, values], axis)


# ------------------------------------------------------------------------------------ splitting


@planned
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Value]:
    """Cut into equal sections, or at the given positions."""
    x = as_value(ary)
    check_equal_sections(x.shape, indices_or_sections, axis)
    return array_split(x, indices_or_sections, axis)


def _is_one(indices_or_sections: Any) -> bool:
    """Whether it is a number of sections."""
    one = not isinstance(indices_or_sections, (list, tuple))
    return one and (isinstance(indices_or_sections, int) or np.ndim(indices_or_sections) == 0)


def check_equal_sections(shape: tuple[int, ...], indices_or_sections: Any, axis: int) -> None:
    """Refuses a number of sections that does not divide the size of the axis."""
    i = canonical_axis(axis, len(shape))
    if _is_one(indices_or_sections):
        (k,) = plain_ints(indices_or_sections, "the number of sections")
        if k > 0 and shape[i] % k:
            raise ShapeError(f"axis {i} of size {shape[i]} cannot be split into {k} equal sections; use array_split")


def split_bounds(n: int, indices_or_sections: Any) -> list[tuple[int, int]]:
    """Where the sections of an axis of size ``n`` begin and end."""
    if _is_one(indices_or_sections):
        (k,) = plain_ints(indices_or_sections, "the number of sections")
        if k <= 0:
            raise ArgumentError(f"the number of sections must be positive; found {k}")
        cuts = list(itertools.accumulate([n // k + (j < n % k) for j in range(k)], initial=0))
    else:
        inner = plain_ints(indices_or_sections, "the positions to split at")
        cuts = [0, *[min(max(c if c >= 0 else c + n, 0), n) for c in inner], n]
    return [(a, max(a, b)) for a, b in itertools.pairwise(cuts)]


@planned
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Value]:
    """``split`` whose sections may differ by one."""
    x = as_value(ary)
    i = canonical_axis(axis, x.ndim)
    return [joining.slice_in_dim(x, a, b, axis=i) for a, b in split_bounds(x.shape[i], indices_or_sections)]


def vsplit(ary: Any, indices_or_sections: Any) -> list[Value]:
    """``split`` along axis 0."""
    return split(ary, indices_or_sections, 0)


def hsplit(ary: Any, indices_or_sections: Any) -> list[Value]:
    """``split`` along axis 1 (0 for vectors)."""
    return split(ary, indices_or_sections, 1 if ndim(ary) > 1 else 0)


def dsplit(ary: Any, indices_or_sections: Any) -> list[Value]:
    """``split`` along axis 2."""
    return split(ary, indices_or_sections, 2)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Value, ...]:
    """The slices along an axis, as a tuple."""
    v = as_value(x)
    i = canonical_axis(axis, v.ndim)
    return tuple([shaping.squeeze(joining.slice_in_dim(v, j, j + 1, axis=i), (i,)) for j in range(v.shape[i])])
