"""Reading and writing by index: ``x[...]`` and what ``x.at[...]`` stands on, with NumPy's whole indexing language.

An index of ints, slices, None and Ellipsis is *static*: slices, reversals and reshapes.  Any other becomes one
gather (or scatter): slices are applied first, the index arrays are broadcast together and stacked into vectors.

Out of range: a static int raises; an index array is clamped when reading and dropped when writing, eagerly and
under jit alike (``.at[...]`` has ``mode=`` for other wishes).  Negative indices count from the end.
"""

from __future__ import annotations

import builtins
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..errors import DTypeError, ShapeError
from ..primitives import elementwise as p
from ..primitives import gather_scatter as gs
from ..primitives import joining, shaping
from ..primitives.index_numbers import default_fill_value
from ..primitives.indexing import dynamic_update_slice
from ..primitives.linalg import accumulation_dtype
from ..sizes import Size, slice_length
from ..trace import Tracer, bind, concrete_value
from .core import (
    Value,
    as_type,
    as_value,
    aval_of,
    broadcast_shapes,
    broadcast_value,
    filled,
    is_eager,
    operand,
    shape_of,
    zero_of,
)
from .index_parse import Index, numpy_index, parse, slice_bounds, static_position
from .ufunc_quick import scalar_operand
from .unary import constant

__all__ = ["fit_dtype", "fit_update", "getitem", "index_positions", "index_repeats", "setitem", "whole_mask"]

_slice = builtins.slice


# ------------------------------------------------------------------------------------ static reading


def _slice_static(x: Value, slices: dict[int, _slice]) -> Value:
    """Applies static slices to some axes: one slice equation, and one reversal for negative steps."""
    shape = x.shape
    start, stop, step, reverse = [0] * len(shape), list(shape), [1] * len(shape), []
    for axis, s in slices.items():
        a, b, c = slice_bounds(s, shape[axis], axis)
        count = slice_length(a, b, c)
        if c < 0:
            reverse.append(axis)
            a, c = a + (count - 1) * c, -c
        a = min(max(a, 0), shape[axis]) if count else 0
        start[axis], step[axis] = a, c
        stop[axis] = a + (count - 1) * c + 1 if count else a
    x = joining.slice(x, start, stop, step)
    return shaping.rev(x, tuple(reverse)) if reverse else x


def _get_static(x: Value, index: Index) -> Value:
    slices: dict[int, _slice] = {}
    drop = []
    for axis, e in enumerate(index.entries):
        if isinstance(e, int):
            i = static_position(e, x.shape[axis], axis)
            slices[axis] = _slice(i, i + 1)
            drop.append(axis)
        else:
            slices[axis] = e
    x = _slice_static(x, slices)
    x = shaping.squeeze(x, tuple(drop)) if drop else x
    new = index.new_axes()
    return shaping.expand_dims(x, new) if new else x


def _get_row(x: Tracer, i: int) -> Value:
    """``_get_static`` for one int, the most common index of all."""
    n, *rest = x.shape
    i = static_position(i, n, 0)
    if n > 1:
        starts, stops = (i, *[0] * len(rest)), (i + 1, *rest)
        x = bind(joining.slice_p, x, start_indices=starts, limit_indices=stops, strides=(1,) * len(starts))
    return bind(shaping.squeeze_p, x, dimensions=(0,))


def _static_shape(shape: tuple[int, ...], index: Index) -> tuple[int, ...]:
    """The shape of what a static index selects."""
    out = []
    for axis, e in enumerate(index.entries):
        if isinstance(e, int):
            static_position(e, shape[axis], axis)
        else:
            out.append(slice_length(*slice_bounds(e, shape[axis], axis)))
    for i in index.new_axes():
        out.insert(i, 1)
    return tuple(out)


# ------------------------------------------------------------------------------------- index arrays


@dataclass
class _Windows:
    """An index with arrays, ready for gather or scatter on the array after its static slices.

    slices: the static slices, by axis.      axes: the axes that are indexed by arrays.
    vectors: the index vectors, on the last axis.      batch_shape: the shape of the broadcast index arrays.
    at: how many kept axes of the result stand before those.      new: positions of the None axes in the result.
    """

    slices: dict[int, _slice]
    axes: tuple[int, ...]
    vectors: Value
    batch_shape: tuple[int, ...]
    at: int
    new: tuple[int, ...]

    def offset(self, ndim: int) -> tuple[int, ...]:
        """The axes of the result (None axes aside) that are kept axes of the array."""
        n = len(self.batch_shape)
        return tuple([i if i < self.at else i + n for i in range(ndim - len(self.axes))])


def index_positions(q: Value, n: int, d: np.dtype, mode: str | None, from_end: bool) -> Value:
    """Indices along an axis of size ``n`` in dtype ``d``; negative ones counted from the end, or with "wrap" modulo n."""
    unsigned = aval_of(q).dtype.kind == "u"
    known = None if type(q) is Tracer else concrete_value(q)
    if known is not None:  # no equations for what is known
        if mode == "wrap":
            known = known if known.dtype.itemsize == 8 else known.astype(np.int64)
            return Array((known % max(n, 1)).astype(d))
        info = np.iinfo(d)
        i = np.clip(
            known, max(info.min, np.iinfo(known.dtype).min), min(info.max - n, np.iinfo(known.dtype).max)
        ).astype(d)
        return Array(np.where(i < 0, i + d.type(n), i) if from_end and not unsigned else i)
    if not np.can_cast(aval_of(q).dtype, d) and mode != "wrap":  # what d does not hold lies outside of the axis
        q = p.min(q, constant(q, n))
        q = q if unsigned else p.max(q, constant(q, -n - 1))
    q = as_type(q, d) if mode != "wrap" or np.can_cast(aval_of(q).dtype, d) else q
    if mode == "wrap":
        q = as_type(p.rem(q, constant(q, max(n, 1))), d)
    if (from_end and not unsigned) or mode == "wrap":
        q = p.select(p.lt(q, constant(q, 0)), p.add(q, constant(q, n)), q)
    return q


def _windows(shape: tuple[int, ...], index: Index, mode: str | None, from_end: bool) -> _Windows:
    slices, axes, parts = {}, [], []
    for axis, e in enumerate(index.entries):
        if isinstance(e, _slice):
            slices[axis] = e
            continue
        if isinstance(e, int):
            e = Array(np.asarray(e if mode is not None else static_position(e, shape[axis], axis), np.int64))
        axes.append(axis)
        parts.append(e)
    needs = [
        n >= 2**31 or (type(q) is Tracer and aval_of(q).dtype.name in ("int64", "uint64", "uint32"))
        for n, q in zip(shape, parts)
    ]
    d = dtypes.canonical(dtypes.int64) if any(needs) or max(shape, default=0) >= 2**31 else dtypes.int32
    try:
        batch_shape = broadcast_shapes(*[q.shape for q in parts])
    except ShapeError:
        raise ShapeError(
            f"index arrays of shapes {', '.join(str(q.shape) for q in parts)} cannot be broadcast together"
        ) from None
    vectors = [
        broadcast_value(index_positions(q, shape[a], d, mode, from_end), batch_shape) for a, q in zip(axes, parts)
    ]
    before, after = index.around_arrays()
    order = [*before, *["array"] * len(batch_shape), *after]
    new = tuple([i for i, k in enumerate(order) if k == "new"])
    return _Windows(slices, tuple(axes), _as_vectors(vectors), batch_shape, before.count("kept"), new)


def _as_vectors(parts: list[Value]) -> Value:
    if all(type(q) is Array for q in parts):
        return Array(np.stack([q._data for q in parts], -1))
    columns = [shaping.expand_dims(q, (q.ndim,)) for q in parts]
    return columns[0] if len(columns) == 1 else joining.concatenate(columns, columns[0].ndim - 1)


def _plain(mode: str | None) -> str | None:
    return "clip" if mode == "wrap" else mode


def _expanded(x: Value, index: Index) -> Value:
    return shaping.expand_dims(x, index.extra) if index.extra else x


def getitem(x: Value, index: Any, mode: str | None = None, fill_value: Any = None, from_end: bool = True) -> Value:
    """``x[index]``.

    Args:
        mode: None: ints must lie inside, index arrays are clamped; "clip", "fill", "wrap", "promise_in_bounds": for both.
        from_end: negative indices count from the end.
    """
    if mode in (None, "fill", "promise_in_bounds") and fill_value is None and from_end and is_eager(x):
        plain = numpy_index(index)
        if plain is not None:
            try:
                return Array(np.asarray(x._data[plain]), x.weak_type)
            except (IndexError, TypeError):
                pass  # out of range: the long way clamps or fills, or says what is wrong
    if type(index) is int and type(x) is Tracer and mode is None and x.shape and Size not in map(type, x.shape):
        return _get_row(x, index)
    parsed = parse(index, x.shape)
    if parsed.is_static and (mode is None or not any(isinstance(e, int) for e in parsed.entries)):
        return _get_static(x, parsed)
    if parsed.is_static:
        parsed = _ints_as_arrays(parsed)
    x = _expanded(x, parsed)
    w = _windows(x.shape, parsed, mode, from_end)
    x = _slice_static(x, w.slices)
    numbers = gs.GatherDimensionNumbers(w.offset(x.ndim), w.axes, w.axes)
    sizes = tuple([1 if i in w.axes else n for i, n in enumerate(x.shape)])
    if any(x.shape[i] == 0 for i in w.axes):
        return _from_empty(x, w, mode, fill_value)
    out = gs.gather(x, w.vectors, numbers, sizes, mode=_plain(mode) or "clip", fill_value=fill_value)
    return shaping.expand_dims(out, w.new) if w.new else out


def _ints_as_arrays(index: Index) -> Index:
    return Index(index.entries, ["array" if k == "int" else k for k in index.layout], index.extra)


def _from_empty(x: Value, w: _Windows, mode: str | None, fill_value: Any) -> Value:
    """Reading from an axis of size 0: nothing, or the fill value.

    Raises:
        OutOfBoundsIndexError: something is to be read, and there is no element near it.
    """
    kept = [n for i, n in enumerate(x.shape) if i not in w.axes]
    kept[w.at : w.at] = w.batch_shape
    if 0 not in kept and mode != "fill":
        axis = next(i for i in w.axes if x.shape[i] == 0)
        static_position(0, 0, axis)
    fill = default_fill_value(x.dtype) if fill_value is None else fill_value
    out = filled(tuple(kept), fill, x.dtype)
    return shaping.expand_dims(out, w.new) if w.new else out


# ---------------------------------------------------------------------------------------- writing


def _static_update(x: Value, index: Index, combine: Callable[[Value, Value], Value] | None, value: Value) -> Value:
    """``x`` with ``x[index] = combine(x[index], value)`` for a static index: a slice written back."""
    value = fit_update(value, _static_shape(x.shape, index), x)
    value = combine(_get_static(x, index), value) if combine is not None else value
    new = index.new_axes()
    value = shaping.squeeze(value, new) if new else value
    drop = tuple([i for i, e in enumerate(index.entries) if isinstance(e, int)])
    value = shaping.expand_dims(value, drop) if drop else value
    starts, config, reverse, strided = [], [], [], False
    for axis, e in enumerate(index.entries):
        n = x.shape[axis]
        a, b, c = (e % n, e % n + 1, 1) if isinstance(e, int) else slice_bounds(e, n, axis)
        count = slice_length(a, b, c)
        if count == 0:
            return x
        if c < 0:
            reverse.append(axis)
            a, c = a + (count - 1) * c, -c
        c = 1 if count == 1 else c
        strided = strided or c != 1
        starts.append(a)
        config.append((a, n - (a + (count - 1) * c + 1), c - 1))
    value = shaping.rev(value, tuple(reverse)) if reverse else value
    if not strided:
        if value.shape == x.shape:
            return value
        return dynamic_update_slice(x, value, [np.int32(s) if max(starts) < 2**31 else np.int64(s) for s in starts])
    mask = joining.pad(filled(value.shape, True, dtypes.bool_), np.bool_(False), tuple(config))
    return p.select(mask, joining.pad(value, zero_of(x), tuple(config)), x)


_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2, "V": 2, "c": 3}


def fit_dtype(value: Any, x: Value) -> Value:
    """An update in the dtype of ``x``.

    Raises:
        DTypeError: that would turn complex into real numbers, floats into integers, or numbers into booleans.
    """
    value = operand(value, "the value to be written")
    a = aval_of(value)
    if a.dtype == x.dtype:
        return as_type(value, x.dtype)
    if _KINDS[a.dtype.kind] > _KINDS[x.dtype.kind] and not (
        a.weak and x.dtype == dtypes.bool_ and not dtypes.is_inexact(a.dtype)
    ):
        raise DTypeError(
            f"writing {a} into an array of dtype {x.dtype} would lose information. Convert one of them:"
            f" x.astype({a.dtype}) or value.astype({x.dtype})."
        )
    return as_type(value, x.dtype)


def fit_update(value: Any, shape: tuple[int, ...], x: Value) -> Value:
    """An update in the dtype of ``x``, broadcast to the indexed shape.

    Raises:
        DTypeError: the dtype of ``x`` cannot hold it; ShapeError: it does not broadcast.
    """
    value = fit_dtype(value, x)
    lead = value.ndim - len(shape)
    if lead > 0 and all(n == 1 for n in value.shape[:lead]):
        value = shaping.squeeze(value, tuple(range(lead)))
    try:
        return broadcast_value(value, shape)
    except ShapeError:
        raise ShapeError(
            f"a value of shape {value.shape} cannot be written where the index selects shape {shape}"
        ) from None


_SCATTERS = {
    "set": gs.scatter,
    "add": gs.scatter_add,
    "multiply": gs.scatter_mul,
    "min": gs.scatter_min,
    "max": gs.scatter_max,
}
_SCATTERS_OF_BOOL = {**_SCATTERS, "add": gs.scatter_max, "multiply": gs.scatter_min}  # or is max, and is min

_COMBINE: dict[str, tuple[Callable[..., Value], Callable[..., Value]]] = {
    "add": (p.add, p.bitwise_or), "multiply": (p.mul, p.bitwise_and), "min": (p.min, p.bitwise_and), "max": (p.max, p.bitwise_or),
}  # fmt: skip


def _combine(kind: str, x: Value) -> Callable[[Value, Value], Value] | None:
    """How a new value joins the old one; None: it replaces it."""
    return None if kind == "set" else _COMBINE[kind][x.dtype == dtypes.bool_]


def setitem(
    x: Value, index: Any, value: Any, kind: str = "set", mode: str | None = None, from_end: bool = True, **flags: Any
) -> Value:
    """``x`` with ``x[index]`` replaced by ``value``, or combined with it (``kind``: add, multiply, min, max)."""
    if mode is None and from_end and not flags and is_eager(x):
        done = _set_eager(x, index, value) if kind == "set" else _combined_eagerly(x, index, value, kind)
        if done is not None:
            return done
    masked = _masked_update(x, index, value, kind)
    if masked is not None:
        return masked
    parsed = parse(index, x.shape)
    if parsed.is_static and (mode is None or not any(isinstance(e, int) for e in parsed.entries)):
        return _static_update(x, parsed, _combine(kind, x), value)
    if parsed.is_static:
        parsed = _ints_as_arrays(parsed)
    wide = _expanded(x, parsed)
    w = _windows(wide.shape, parsed, mode, from_end)
    if all(slice_bounds(s, wide.shape[a], a) == (0, wide.shape[a], 1) for a, s in w.slices.items()):
        out = _scatter(wide, w, value, kind, mode, flags)
    else:
        whole = Index([w.slices.get(a, _slice(None)) for a in range(wide.ndim)], ["kept"] * wide.ndim, ())
        part = _scatter(_slice_static(wide, w.slices), w, value, kind, mode, flags)
        out = _static_update(wide, whole, None, part)
    return shaping.squeeze(out, parsed.extra) if parsed.extra else out


def _set_eager(x: Array, index: Any, value: Any) -> Array | None:
    """A changed copy by NumPy itself; None for an index that is out of range or holds a list."""
    plain = numpy_index(index)
    if plain is None:
        return None
    number = scalar_operand(value, x.dtype)
    v = operand(value, "the value to be written") if number is None else None
    if type(v) is Tracer:
        return None
    out = np.array(x._data)
    try:
        out[plain] = fit_update(v, out[plain].shape, x)._data if number is None else number
    except (IndexError, TypeError):
        return None
    return Array(out, x.weak_type)


_MOST_NUMBERED = 1 << 16  # elements of an array whose numbers are kept

_UFUNCS = {"add": np.add, "multiply": np.multiply, "min": np.minimum, "max": np.maximum}
_UFUNCS_OF_BOOL = {**_UFUNCS, "add": np.maximum, "multiply": np.minimum}


@functools.lru_cache(maxsize=16)
def _numbered(shape: tuple[int, ...]) -> np.ndarray:
    """The number of each element of an array."""
    return np.arange(math.prod(shape), dtype=np.int64).reshape(shape)


def _combined_eagerly(x: Array, index: Any, value: Any, kind: str) -> Array | None:
    """``_set_eager`` for values that join the old ones: the calls of NumPy that a scatter's reference makes, in its order.
    What the index selects NumPy says too, of an array that holds the number of each element; so x must not be large."""
    plain, d = numpy_index(index), x.dtype
    if plain is None or x.size > _MOST_NUMBERED or x.weak_type or (kind in ("min", "max") and dtypes.is_complex(d)):
        return None
    number = scalar_operand(value, d)
    v: Any = operand(value, "the value to be written") if number is None else None
    if type(v) is Tracer:
        return None
    try:
        at = _numbered(x.shape)[plain]
        fits = type(v) is Array and v.dtype == d and v.shape == at.shape
        given: np.ndarray = number if number is not None else (v if fits else fit_update(v, at.shape, x))._data
    except (IndexError, TypeError):
        return None
    wide = accumulation_dtype(d)
    out = np.array(x._data, wide, order="C")
    ufunc = (_UFUNCS_OF_BOOL if d == dtypes.bool_ else _UFUNCS)[kind]
    with np.errstate(all="ignore"):
        ufunc.at(out.reshape(-1), at.reshape(-1), given.reshape(-1).astype(wide, copy=False))
        return Array(out.astype(d, copy=False))


def _scatter(x: Value, w: _Windows, value: Any, kind: str, mode: str | None, flags: dict[str, Any]) -> Value:
    shape = [n for i, n in enumerate(x.shape) if i not in w.axes]
    shape[w.at : w.at] = w.batch_shape
    with_new = list(shape)
    for i in w.new:
        with_new.insert(i, 1)
    updates = fit_update(value, tuple(with_new), x)
    updates = shaping.squeeze(updates, w.new) if w.new else updates
    if x.size == 0 or 0 in updates.shape:
        return x
    numbers = gs.ScatterDimensionNumbers(w.offset(x.ndim), w.axes, w.axes)
    flags = {"mode": _plain(mode) or "fill", **flags}
    flags["unique_indices"] = flags.get("unique_indices") or (
        kind in ("set", "multiply") and mode != "clip" and _known_to_differ(w.vectors)
    )
    scatters = _SCATTERS_OF_BOOL if x.dtype == dtypes.bool_ else _SCATTERS
    return scatters[kind](x, w.vectors, updates, numbers, **flags)


def index_repeats(index: Any, shape: tuple[int, ...]) -> int:
    """How often, at most, an index names the same element: 1 for slices and masks, the number of index vectors for arrays."""
    if whole_mask(index, shape) is not None:
        return 1
    entries = [e for e in parse(index, shape).entries if not isinstance(e, (int, _slice))]
    return max(math.prod(broadcast_shapes(*[e.shape for e in entries])), 1) if entries else 1


def whole_mask(index: Any, shape: tuple[int, ...]) -> Value | None:
    """The index if it is one boolean mask of the leading axes, traced or not."""
    if isinstance(index, tuple) and len(index) == 1:
        index = index[0]
    if not isinstance(index, (Tracer, Array, np.ndarray)) or index.dtype != dtypes.bool_:
        return None
    return as_value(index) if index.ndim and index.shape == shape[: index.ndim] else None


def _known_to_differ(vectors: Value) -> bool:
    """True if the index vectors are known (and not so many that comparing them takes long), and no two are equal."""
    if type(vectors) is not Array or vectors.size > 1_000_000:
        return False
    rows = vectors._data.reshape(-1, vectors.shape[-1])
    return len(np.unique(rows, axis=0)) == len(rows)


def _masked_update(x: Value, index: Any, value: Any, kind: str) -> Value | None:
    """``x.at[mask].set(scalar)`` with a boolean mask is a select, also where the mask is traced; None for other indices."""
    mask = whole_mask(index, x.shape)
    if mask is None:
        return None
    v = operand(value, "the value to be written")
    if shape_of(v) and (concrete_value(mask) is not None or len(shape_of(v)) > x.ndim - mask.ndim):
        return None  # as many values as the mask has elements; where that is not known, a row for each of them fits too
    v = fit_update(v, x.shape, x)
    combine = _combine(kind, x)
    new = combine(x, v) if combine is not None else v
    return p.select(shaping.broadcast_in_dim(mask, x.shape, tuple(range(mask.ndim))), new, x)
