"""Shapes: reshape, transpose, stack, split, pad, roll and their kin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..errors import AxisError, ShapeError, UnsupportedFunctionError
from ..primitives import elementwise as p
from ..primitives import helpers, shaping
from ..trace import Tracer, aval_of
from .core import as_type, as_value, broadcast_value, canonical_axes, canonical_axis, promote

Value = Any

__all__ = [
    "append", "array_split", "atleast_1d", "atleast_2d", "atleast_3d", "block", "broadcast_arrays", "broadcast_shapes", "broadcast_to",
    "column_stack", "concat", "concatenate", "copy", "delete", "diagonal", "dsplit", "dstack", "expand_dims", "flip", "fliplr", "flipud",
    "hsplit", "hstack", "insert", "matrix_transpose", "moveaxis", "ndim", "pad", "permute_dims", "ravel", "repeat", "reshape", "resize",
    "roll", "rollaxis", "rot90", "shape", "size", "split", "squeeze", "stack", "swapaxes", "tile", "transpose", "unstack", "view",
    "vsplit", "vstack", "fill_diagonal",
]  # fmt: skip


def shape(a: Any) -> tuple[int, ...]:
    """The sizes of the axes."""
    return aval_of(as_value(a)).shape


def ndim(a: Any) -> int:
    """The number of axes."""
    return len(shape(a))


def size(a: Any, axis: Any = None) -> int:
    """The number of elements (along ``axis``)."""
    s = shape(a)
    return math.prod(s) if axis is None else math.prod(s[i] for i in canonical_axes(axis, len(s)))


def copy(a: Any, order: Any = None) -> Value:
    """A copy."""
    x = as_value(a)
    return p.copy(x) if type(x) is Tracer else Array(np.array(x._data), x.weak_type)


def reshape(a: Any, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None) -> Value:
    """The same elements in another shape; one size may be -1."""
    x = as_value(a)
    shape = newshape if shape is None else shape
    sizes = tuple(s.__index__() for s in shape) if isinstance(shape, (tuple, list)) else (shape.__index__(),)
    sizes = _infer(sizes, x)
    if order not in ("C", "F", "A", "K"):
        raise ValueError(f"order must be 'C' or 'F'; found {order!r}")
    if order == "F":
        out = shaping.reshape(shaping.transpose(x, tuple(range(x.ndim))[::-1]), sizes[::-1])
        return shaping.transpose(out, tuple(range(len(sizes)))[::-1])
    return x if sizes == x.shape else shaping.reshape(x, sizes)


def _infer(sizes: tuple[int, ...], x: Value) -> tuple[int, ...]:
    holes = sizes.count(-1)
    rest = math.prod(s for s in sizes if s != -1)
    bad = holes > 1 or any(s < -1 for s in sizes)
    if holes == 1 and not bad:
        bad = rest == 0 or x.size % rest != 0
        sizes = tuple(s if s != -1 else (x.size // rest if rest else 0) for s in sizes)
    elif not bad:
        bad = rest != x.size
    if bad:
        raise ShapeError(f"an array of shape {x.shape} ({x.size} elements) cannot be reshaped to {sizes}")
    return sizes


def ravel(a: Any, order: str = "C", *, out_sharding: Any = None) -> Value:
    """The elements as a vector."""
    return reshape(a, (-1,) if size(a) else (0,), order)


def transpose(a: Any, axes: Any = None) -> Value:
    """The axes permuted; reversed by default."""
    x = as_value(a)
    if axes is None:
        perm = tuple(range(x.ndim))[::-1]
    else:
        perm = tuple(canonical_axis(i, x.ndim) for i in axes)
        if len(perm) != x.ndim or len(set(perm)) != x.ndim:
            raise AxisError(f"transpose: axes {tuple(axes)} must name each of the {x.ndim} axes of shape {x.shape} once")
    return x if perm == tuple(range(x.ndim)) else shaping.transpose(x, perm)


permute_dims = transpose


def matrix_transpose(x: Any, /) -> Value:
    """The last two axes swapped."""
    v = as_value(x)
    if v.ndim < 2:
        raise ShapeError(f"matrix_transpose needs at least 2 dimensions; found shape {v.shape}")
    return swapaxes(v, -1, -2)


def swapaxes(a: Any, axis1: int, axis2: int) -> Value:
    """Two axes swapped."""
    x = as_value(a)
    i, j = canonical_axis(axis1, x.ndim, "axis1"), canonical_axis(axis2, x.ndim, "axis2")
    perm = list(range(x.ndim))
    perm[i], perm[j] = perm[j], perm[i]
    return transpose(x, perm)


def moveaxis(a: Any, source: Any, destination: Any) -> Value:
    """Axes moved to new places; the others keep their order."""
    x = as_value(a)
    src = [canonical_axis(i, x.ndim, "source") for i in (source if isinstance(source, (tuple, list)) else (source,))]
    dst = [canonical_axis(i, x.ndim, "destination") for i in (destination if isinstance(destination, (tuple, list)) else (destination,))]
    if len(src) != len(dst) or len(set(src)) != len(src) or len(set(dst)) != len(dst):
        raise AxisError(f"moveaxis: source {source} and destination {destination} must name as many different axes")
    perm = [i for i in range(x.ndim) if i not in src]
    for d, s in sorted(zip(dst, src)):
        perm.insert(d, s)
    return transpose(x, perm)


def rollaxis(a: Any, axis: int, start: int = 0) -> Value:
    """An axis moved to stand before ``start``."""
    x = as_value(a)
    i = canonical_axis(axis, x.ndim)
    start = start + x.ndim if start < 0 else start
    return moveaxis(x, i, start - (i < start))


def expand_dims(a: Any, axis: Any) -> Value:
    """New axes of size 1 at the given positions of the result."""
    x = as_value(a)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    n = x.ndim + len(axes)
    places = canonical_axes(tuple(axes), n)
    return shaping.expand_dims(x, places) if places else x


def squeeze(a: Any, axis: Any = None) -> Value:
    """Axes of size 1 removed."""
    x = as_value(a)
    axes = tuple(i for i, n in enumerate(x.shape) if n == 1) if axis is None else canonical_axes(axis, x.ndim)
    for i in axes:
        if x.shape[i] != 1:
            raise ShapeError(f"squeeze: axis {i} of shape {x.shape} has size {x.shape[i]}, not 1")
    return shaping.squeeze(x, axes) if axes else x


def broadcast_to(array: Any, shape: Any) -> Value:
    """The array broadcast to a shape."""
    sizes = tuple(int(s) for s in shape) if isinstance(shape, (tuple, list)) else (int(shape),)
    return broadcast_value(as_value(array), sizes)


def broadcast_arrays(*args: Any) -> list[Value]:
    """All arrays broadcast to their common shape."""
    xs = [as_value(a) for a in args]
    s = broadcast_shapes(*[x.shape for x in xs])
    return [broadcast_value(x, s) for x in xs]


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that arrays of these shapes broadcast to."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(f"shapes {', '.join(map(str, shapes))} cannot be broadcast together") from None


def atleast_1d(*arys: Any) -> Any:
    """Scalars as vectors."""
    out = [x if x.ndim else shaping.reshape(x, (1,)) for x in map(as_value, arys)]
    return out[0] if len(out) == 1 else out


def atleast_2d(*arys: Any) -> Any:
    """At least two dimensions: new axes in front."""
    out = [x if x.ndim >= 2 else shaping.reshape(x, (1,) * (2 - x.ndim) + x.shape) for x in map(as_value, arys)]
    return out[0] if len(out) == 1 else out


def atleast_3d(*arys: Any) -> Any:
    """At least three dimensions, as NumPy places them."""

    def grow(x: Value) -> Value:
        new = {0: (1, 1, 1), 1: (1, x.size, 1), 2: (*x.shape, 1)}
        return shaping.reshape(x, new[x.ndim]) if x.ndim < 3 else x

    out = [grow(x) for x in map(as_value, arys)]
    return out[0] if len(out) == 1 else out


# -------------------------------------------------------------------------------- joining and splitting


def _common(arrays: Sequence[Any], dtype: Any = None) -> list[Value]:
    xs = [as_value(a) for a in arrays]
    if not xs:
        raise ShapeError("at least one array is needed to join")
    d = dtypes.promote(*[(x.dtype, x.weak_type) for x in xs])[0] if dtype is None else dtypes.canonical(dtype)
    return [as_type(x, d) for x in xs]


def _rows(arrays: Any) -> list[Any]:
    return list(arrays) if isinstance(arrays, (list, tuple)) else [arrays[i] for i in range(len(arrays))]


def concatenate(arrays: Any, axis: int | None = 0, dtype: Any = None) -> Value:
    """Arrays joined along an existing axis (flattened first, if ``axis`` is None)."""
    xs = _common(_rows(arrays), dtype)
    if axis is None:
        return shaping.concatenate([ravel(x) for x in xs], 0)
    if any(x.ndim == 0 for x in xs):
        raise ShapeError("scalars cannot be concatenated; use stack, or hstack")
    i = canonical_axis(axis, xs[0].ndim)
    first = xs[0].shape
    for k, x in enumerate(xs):
        if x.ndim != len(first) or any(a != b for j, (a, b) in enumerate(zip(x.shape, first)) if j != i):
            raise ShapeError(
                f"concatenate along axis {i}: array {k} has shape {x.shape}, array 0 has {first}; all other axes must be equal"
            )
    return shaping.concatenate(xs, i)


concat = concatenate


def stack(arrays: Any, axis: int = 0, out: Any = None, dtype: Any = None) -> Value:
    """Arrays of one shape joined along a new axis."""
    xs = _common(_rows(arrays), dtype)
    if len({x.shape for x in xs}) > 1:
        raise ShapeError(f"stack needs arrays of one shape; found {', '.join(str(x.shape) for x in xs)}")
    i = canonical_axis(axis, xs[0].ndim + 1)
    return shaping.concatenate([shaping.expand_dims(x, (i,)) for x in xs], i)


def vstack(tup: Any, dtype: Any = None) -> Value:
    """Rows below each other."""
    return concatenate([atleast_2d(x) for x in _rows(tup)], 0, dtype)


def hstack(tup: Any, dtype: Any = None) -> Value:
    """Side by side: along axis 1, or 0 for vectors."""
    xs = [atleast_1d(x) for x in _rows(tup)]
    return concatenate(xs, 0 if xs[0].ndim == 1 else 1, dtype)


def dstack(tup: Any, dtype: Any = None) -> Value:
    """Along the third axis."""
    return concatenate([atleast_3d(x) for x in _rows(tup)], 2, dtype)


def column_stack(tup: Any) -> Value:
    """Vectors as the columns of a matrix."""
    xs = [as_value(x) for x in _rows(tup)]
    return concatenate([x if x.ndim >= 2 else shaping.reshape(x, (x.size, 1)) for x in xs], 1)


def block(arrays: Any) -> Value:
    """A matrix assembled from nested lists of blocks."""

    def depth(x: Any) -> int:
        return 1 + max(map(depth, x)) if isinstance(x, list) else 0

    total = depth(arrays)

    def build(x: Any, level: int) -> Value:
        if not isinstance(x, list):
            v = as_value(x)
            return shaping.reshape(v, (1,) * max(total - v.ndim, 0) + v.shape)
        parts = [build(q, level + 1) for q in x]
        return concatenate(parts, level - total)

    return build(arrays, 0) if total else as_value(arrays)


def append(arr: Any, values: Any, axis: int | None = None) -> Value:
    """``values`` joined behind ``arr``."""
    if axis is None:
        return concatenate([ravel(arr), ravel(values)], 0)
    return concatenate([arr, values], axis)


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Value]:
    """Cut into equal sections, or at the given positions."""
    x = as_value(ary)
    i = canonical_axis(axis, x.ndim)
    if isinstance(indices_or_sections, (int, np.integer)) and x.shape[i] % int(indices_or_sections):
        raise ShapeError(
            f"axis {i} of size {x.shape[i]} cannot be split into {indices_or_sections} equal sections; use array_split"
        )
    return array_split(x, indices_or_sections, i)


def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Value]:
    """``split`` whose sections may differ by one."""
    x = as_value(ary)
    i = canonical_axis(axis, x.ndim)
    n = x.shape[i]
    if isinstance(indices_or_sections, (int, np.integer)):
        k = int(indices_or_sections)
        if k <= 0:
            raise ValueError(f"the number of sections must be positive; found {k}")
        cuts = [0]
        for j in range(k):
            cuts.append(cuts[-1] + n // k + (j < n % k))
    else:
        cuts = [0, *(min(max(int(c) if int(c) >= 0 else int(c) + n, 0), n) for c in np.asarray(indices_or_sections)), n]
    return [shaping.slice_in_dim(x, a, max(a, b), axis=i) for a, b in zip(cuts, cuts[1:])]


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
    return tuple(shaping.squeeze(shaping.slice_in_dim(v, j, j + 1, axis=i), (i,)) for j in range(v.shape[i]))


# --------------------------------------------------------------------------------- rearranging


def flip(m: Any, axis: Any = None) -> Value:
    """The order of elements along axes reversed."""
    x = as_value(m)
    axes = canonical_axes(axis, x.ndim)
    return shaping.rev(x, axes) if axes else x


def flipud(m: Any) -> Value:
    """``flip`` along axis 0."""
    return flip(m, 0)


def fliplr(m: Any) -> Value:
    """``flip`` along axis 1."""
    return flip(m, 1)


def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Value:
    """Rotated by k quarter turns in the plane of two axes."""
    x = as_value(m)
    a, b = canonical_axis(axes[0], x.ndim), canonical_axis(axes[1], x.ndim)
    if a == b:
        raise AxisError(f"rot90 needs two different axes; found {axes}")
    k %= 4
    if k == 0:
        return x
    if k == 2:
        return flip(x, (a, b))
    return flip(swapaxes(x, a, b), a) if k == 1 else swapaxes(flip(x, a), a, b)


def roll(a: Any, shift: Any, axis: Any = None) -> Value:
    """Elements moved along axes, those that leave coming in at the other end."""
    x = as_value(a)
    if axis is None:
        return shaping.reshape(roll(ravel(x), shift, 0), x.shape)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,) * len(axes)
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    for s, i in zip(shifts, axes):
        i = canonical_axis(i, x.ndim)
        n = x.shape[i]
        if n == 0:
            continue
        if type(s) is Tracer:
            x = _roll_traced(x, s, i)
            continue
        k = int(s) % n
        if k:
            x = shaping.concatenate([shaping.slice_in_dim(x, n - k, n, axis=i), shaping.slice_in_dim(x, 0, n - k, axis=i)], i)
    return x


def _roll_traced(x: Value, s: Value, i: int) -> Value:
    from ..primitives.indexing import dynamic_slice_in_dim
    from .ufuncs import registered

    n = x.shape[i]
    start = registered["remainder"](registered["subtract"](n, registered["remainder"](s, n)), n)
    return dynamic_slice_in_dim(shaping.concatenate([x, x], i), start, n, i)


def repeat(a: Any, repeats: Any, axis: Any = None, *, total_repeat_length: int | None = None) -> Value:
    """Each element repeated; ``repeats`` is a number, or one per element (known while tracing)."""
    from .indexing import getitem

    x = as_value(a)
    if axis is None:
        x, axis = ravel(x), 0
    i = canonical_axis(axis, x.ndim)
    if isinstance(repeats, (int, np.integer)):
        r = int(repeats)
        wide = shaping.broadcast_in_dim(x, (*x.shape[: i + 1], r, *x.shape[i + 1 :]), tuple(j + (j > i) for j in range(x.ndim)))
        return shaping.reshape(wide, (*x.shape[:i], x.shape[i] * r, *x.shape[i + 1 :]))
    counts = np.asarray(repeats._data if type(repeats) is Array else repeats)
    index = np.repeat(np.arange(x.shape[i], dtype=np.int32), counts)
    if total_repeat_length is not None:
        index = np.concatenate([index, np.full(max(total_repeat_length - index.size, 0), x.shape[i] - 1, np.int32)])[:total_repeat_length]
    return getitem(x, (slice(None),) * i + (index,))


def tile(A: Any, reps: Any) -> Value:
    """The array repeated as a whole, ``reps`` times along each axis."""
    x = as_value(A)
    r = tuple(int(k) for k in reps) if isinstance(reps, (tuple, list)) else (int(reps),)
    n = max(len(r), x.ndim)
    r, s = (1,) * (n - len(r)) + r, (1,) * (n - x.ndim) + x.shape
    x = shaping.reshape(x, s)
    wide = shaping.broadcast_in_dim(x, tuple(v for k, m in zip(r, s) for v in (k, m)), tuple(range(1, 2 * n, 2)))
    return shaping.reshape(wide, tuple(k * m for k, m in zip(r, s)))


def resize(a: Any, new_shape: Any) -> Value:
    """The elements repeated to fill a new shape."""
    x = ravel(a)
    s = tuple(new_shape) if isinstance(new_shape, (tuple, list)) else (int(new_shape),)
    n = math.prod(s)
    if x.size == 0:
        return helpers.full(s, 0, x.dtype)
    return shaping.reshape(shaping.slice_in_dim(tile(x, -(-n // x.size)) if n else x, 0, n), s)


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Value:
    """The diagonal of the plane of two axes, as the last axis."""
    from .indexing import getitem

    x = as_value(a)
    if x.ndim < 2:
        raise ShapeError(f"diagonal needs at least 2 dimensions; found shape {x.shape}")
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    n = max(0, min(x.shape[-2] + min(offset, 0), x.shape[-1] - max(offset, 0)))
    i = np.arange(n, dtype=np.int32)
    return getitem(x, (Ellipsis, i - min(offset, 0), i + max(offset, 0)))


def fill_diagonal(a: Any, val: Any, wrap: bool = False, *, inplace: bool = False) -> Value:
    """A copy with ``val`` on the diagonal."""
    x = as_value(a)
    n = min(x.shape)
    i = np.arange(n, dtype=np.int32)
    return x.at[(i,) * x.ndim].set(val)


def delete(arr: Any, obj: Any, axis: Any = None) -> Value:
    """The array without the elements at ``obj`` (known while tracing)."""
    from .indexing import getitem

    x = as_value(arr)
    if axis is None:
        x, axis = ravel(x), 0
    i = canonical_axis(axis, x.ndim)
    keep = np.delete(np.arange(x.shape[i], dtype=np.int32), obj._data if type(obj) is Array else obj)
    return getitem(x, (slice(None),) * i + (keep,))


def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Value:
    """The array with values put in before the positions ``obj`` (known while tracing)."""
    from .indexing import getitem

    x = as_value(arr)
    if axis is None:
        x, axis = ravel(x), 0
    i = canonical_axis(axis, x.ndim)
    n = x.shape[i]
    where = np.asarray(obj._data if type(obj) is Array else np.arange(n)[obj] if isinstance(obj, slice) else obj)
    v = as_type(as_value(values), x.dtype)
    if where.ndim == 0:
        v = shaping.expand_dims(v, (0,)) if v.ndim == 0 else v
        v = moveaxis(v, 0, i) if v.ndim == x.ndim and isinstance(obj, (int, np.integer)) and v.ndim > 1 else v
        count = v.shape[i] if v.ndim == x.ndim else 1
        where = np.full(count, where)
    where = np.where(where < 0, where + n, where)
    lead = tuple(where.size if j == i else s for j, s in enumerate(x.shape))
    v = broadcast_value(v, lead)
    order = np.argsort(where, kind="stable")
    places = where[order] + np.arange(where.size)
    source = np.empty(n + where.size, np.int32)
    rest = np.ones(n + where.size, bool)
    rest[places] = False
    source[rest] = np.arange(n)
    source[places] = n + order
    return getitem(shaping.concatenate([x, v], i), (slice(None),) * i + (source,))


def view(x: Value, dtype: Any) -> Value:
    """The same memory read as another dtype."""
    d = dtypes.canonical(dtype)
    if d.itemsize == x.dtype.itemsize:
        return p.bitcast_convert_type(x, d)
    if type(x) is Array:
        return Array(np.ascontiguousarray(x._data).view(d))
    raise UnsupportedFunctionError(f"view of a traced {aval_of(x)} as {d}: only dtypes of the same size can be viewed while tracing")


# ------------------------------------------------------------------------------------------------ pad


def _pairs(value: Any, n: int, what: str) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return [_pairs(value.get(i, value.get(i - n, 0)), 1, what)[0] for i in range(n)]
    v = np.asarray(value._data if type(value) is Array else value, dtype=object) if type(value) is not Tracer else value
    if v.ndim == 0:
        return [(v.item() if v is not value else v,) * 2] * n
    if v.ndim == 1 and v.shape[0] == 1:
        return [(v[0], v[0])] * n
    if v.ndim == 1 and v.shape[0] == 2:
        return [(v[0], v[1])] * n
    if v.ndim == 2 and v.shape == (1, 2):
        return [(v[0][0], v[0][1])] * n
    if v.ndim == 2 and v.shape == (n, 2):
        return [(a, b) for a, b in v]
    if v.ndim == 2 and v.shape == (n, 1):
        return [(a[0], a[0]) for a in v]
    raise ShapeError(f"{what} of shape {v.shape} does not fit an array with {n} dimensions; give (before, after) for each")


def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Value:
    """The array with a border: mode "constant", "edge", "reflect", "symmetric", "wrap", "linear_ramp", "maximum",
    "minimum", "mean", "empty", or a function as NumPy takes it."""
    x = as_value(array)
    widths = [(int(a), int(b)) for a, b in _pairs(pad_width, x.ndim, "pad_width")]
    if any(a < 0 or b < 0 for a, b in widths):
        raise ShapeError(f"pad widths cannot be negative; found {widths}")
    if mode in ("constant", "empty"):
        values = _pairs(kwargs.get("constant_values", 0), x.ndim, "constant_values")
        for i, ((a, b), (u, v)) in enumerate(zip(widths, values)):
            for lo, hi, c in ((a, 0, u), (0, b, v)):
                if lo or hi:
                    fill = as_type(as_value(c), x.dtype)
                    x = shaping.pad(x, fill, tuple((lo, hi, 0) if j == i else (0, 0, 0) for j in range(x.ndim)))
        return x
    if callable(mode):
        raise UnsupportedFunctionError("pad with a function as mode is not there; use one of the named modes")
    for i, (a, b) in enumerate(widths):
        if a or b:
            x = _pad_axis(x, a, b, i, mode, kwargs)
    return x


def _pad_axis(x: Value, a: int, b: int, i: int, mode: str, kwargs: dict[str, Any]) -> Value:
    from .indexing import getitem
    from .reductions import max as max_
    from .reductions import mean as mean_
    from .reductions import min as min_

    n = x.shape[i]
    if n == 0:
        raise ShapeError(f"pad with mode {mode!r} cannot extend the empty axis {i}")
    position = np.arange(-a, n + b)
    if mode == "edge":
        index = np.clip(position, 0, n - 1)
    elif mode == "wrap":
        index = position % n
    elif mode == "symmetric":
        q = position % (2 * n)
        index = np.where(q < n, q, 2 * n - 1 - q)
    elif mode == "reflect":
        if kwargs.get("reflect_type", "even") != "even":
            raise UnsupportedFunctionError("pad with reflect_type='odd' is not there")
        period = max(2 * (n - 1), 1)
        q = position % period
        index = np.where(q < n, q, period - q) if n > 1 else np.zeros_like(position)
    elif mode in ("maximum", "minimum", "mean"):
        f: Callable[..., Value] = {"maximum": max_, "minimum": min_, "mean": mean_}[mode]
        stat = as_type(f(x, axis=i, keepdims=True), x.dtype)
        parts = [broadcast_value(stat, tuple(w if j == i else s for j, s in enumerate(x.shape))) for w in (a, b)]
        return shaping.concatenate([parts[0], x, parts[1]], i)
    elif mode == "linear_ramp":
        return _ramp(x, a, b, i, _pairs(kwargs.get("end_values", 0), x.ndim, "end_values")[i])
    else:
        raise ValueError(f"pad has no mode {mode!r}")
    return getitem(x, (slice(None),) * i + (index.astype(np.int32),))


def _ramp(x: Value, a: int, b: int, i: int, ends: tuple[Any, Any]) -> Value:
    from .creation import linspace

    first, last = shaping.slice_in_dim(x, 0, 1, axis=i), shaping.slice_in_dim(x, x.shape[i] - 1, x.shape[i], axis=i)

    def side(end: Any, edge: Value, w: int) -> Value:
        line = linspace(*promote(as_value(end), shaping.squeeze(edge, (i,))), w, endpoint=False, axis=i)
        return as_type(line, x.dtype)

    return shaping.concatenate([side(ends[0], first, a), x, shaping.rev(side(ends[1], last, b), (i,))], i)
