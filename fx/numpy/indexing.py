"""Reading and writing by index: ``x[...]`` and ``x.at[...]``, with NumPy's whole indexing language.

An index is first taken apart into one entry per axis.  If it has only ints, slices, None and Ellipsis it is
*static*: slices, reversals and reshapes.  Otherwise it becomes one gather (or scatter): slices are applied
first, the index arrays are broadcast together and stacked into index vectors.

Out of range: a static int raises; an index array is clamped when reading and dropped when writing, eagerly and
under jit alike (``.at[...]`` has ``mode=`` for other wishes).  Negative indices count from the end.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..errors import ConcretizationError, DTypeError, OutOfBoundsIndexError, ShapeError
from ..primitives import elementwise as p
from ..primitives import gather_scatter as gs
from ..primitives import helpers, shaping
from ..primitives.indexing import dynamic_update_slice
from ..trace import Tracer, aval_of, concrete_value
from .core import as_type, as_value, broadcast_value, promote, result_dtype

__all__ = ["At", "getitem", "setitem", "static_update"]

Value = Any
_slice = builtins.slice


# ------------------------------------------------------------------------------------ taking apart


@dataclass
class _Index:
    """One entry for each axis of the array, and where None and the index arrays stand in the result.

    entries: an int, a slice with static bounds, or an index array (Value), per axis.
    result: the layout of the result: ("new",), ("axis", i), or ("array",) once, where the broadcast arrays go.
    """

    entries: list[Any]
    result: list[tuple[Any, ...]]
    arrays: list[int]


def _nonzero_of(mask: Any, axis: int, shape: tuple[int, ...]) -> list[Value]:
    m = concrete_value(mask)
    if m is None:
        raise ConcretizationError(
            f"a traced boolean mask of shape {mask.shape} was used as an index: the result's shape would depend on its values."
            " Use fx.numpy.where(mask, x, other), or x.at[...] with where, or compute the mask outside the jitted function."
        )
    have = shape[axis : axis + m.ndim]
    if m.shape != have:
        raise OutOfBoundsIndexError(f"a boolean index of shape {m.shape} does not fit the dimensions {have} it indexes")
    return [Array(i.astype(np.int32) if max(m.shape, default=0) < 2**31 else i) for i in np.nonzero(m)]


def _parse(index: Any, shape: tuple[int, ...]) -> _Index:
    items = list(index) if isinstance(index, tuple) else [index]
    flat: list[Any] = []
    for it in items:
        if isinstance(it, (list, tuple)):
            it = as_value(np.asarray(it, np.int32) if len(it) == 0 else list(it), "index")
        elif isinstance(it, np.ndarray) or (isinstance(it, np.generic) and not isinstance(it, np.integer)):
            it = as_value(it, "index")
        flat.append(it)
    if sum(it is Ellipsis for it in flat) > 1:
        raise OutOfBoundsIndexError("an index can have only one Ellipsis (...)")

    def width(it: Any) -> int:
        if it is None or it is Ellipsis or isinstance(it, bool):
            return 0
        if isinstance(it, (Tracer, Array)) and it.dtype == dtypes.bool_:
            return it.ndim
        return 1

    used = sum(map(width, flat))
    if used > len(shape):
        raise OutOfBoundsIndexError(f"too many indices: {used} for an array with {len(shape)} dimensions (shape {shape})")
    if not any(it is Ellipsis for it in flat):
        flat.append(Ellipsis)
    entries: list[Any] = []
    result: list[tuple[Any, ...]] = []
    arrays: list[int] = []
    extra: list[Value] = []
    for it in flat:
        axis = len(entries)
        if it is Ellipsis:
            for _ in range(len(shape) - used):
                result.append(("axis", len(entries)))
                entries.append(_slice(None))
        elif it is None:
            result.append(("new",))
        elif isinstance(it, bool) or (isinstance(it, (Tracer, Array)) and it.dtype == dtypes.bool_ and it.ndim == 0):
            known = it if isinstance(it, bool) else concrete_value(it)
            if known is None:
                _nonzero_of(it, 0, ())
            extra.append(Array(np.zeros(1 if known else 0, np.int32)))
            result.append(("array",))
        elif isinstance(it, _slice):
            result.append(("axis", axis))
            entries.append(it)
        elif isinstance(it, (Tracer, Array)):
            if it.dtype == dtypes.bool_:
                for part in _nonzero_of(it, axis, shape):
                    arrays.append(len(entries))
                    entries.append(part)
            else:
                if not dtypes.is_integer(it.dtype):
                    raise DTypeError(f"an index array must be integer or boolean; found {aval_of(it)}")
                arrays.append(axis)
                entries.append(it)
            result.append(("array",))
        else:
            try:
                entries.append(int(it.__index__()))
            except AttributeError:
                raise DTypeError(
                    f"an index must be an int, a slice, None, Ellipsis or an integer or boolean array; found {type(it).__name__} ({it!r})"
                ) from None
            result.append(("int", axis))
    if extra:
        entries.append(extra[0])
        arrays.append(len(entries) - 1)
    return _Index(entries, result, arrays)


def _check_int(i: int, n: int, axis: int) -> int:
    if not -n <= i < n:
        raise OutOfBoundsIndexError(f"index {i} is out of bounds for axis {axis} with size {n}")
    return i % n


def _bounds(s: _slice, n: int, axis: int) -> tuple[int, int, int]:
    try:
        return s.indices(n)
    except ConcretizationError:
        raise
    except TypeError as e:
        raise DTypeError(f"slice bounds of axis {axis} must be ints or None; found {s}") from e


# ------------------------------------------------------------------------------------ static reading


def _slice_static(x: Value, slices: dict[int, _slice]) -> Value:
    """Applies static slices to some axes: one slice equation, and one reversal for negative steps."""
    shape = x.shape
    start, stop, step, reverse = [0] * len(shape), list(shape), [1] * len(shape), []
    for axis, s in slices.items():
        a, b, c = _bounds(s, shape[axis], axis)
        count = len(range(a, b, c))
        if c < 0:
            reverse.append(axis)
            a, c = a + (count - 1) * c, -c
        a = min(max(a, 0), shape[axis]) if count else 0
        start[axis], step[axis] = a, c
        stop[axis] = a + (count - 1) * c + 1 if count else a
    if start != [0] * len(shape) or stop != list(shape) or step != [1] * len(shape):
        x = shaping.slice(x, tuple(start), tuple(stop), tuple(step))
    return shaping.rev(x, tuple(reverse)) if reverse else x


def _get_static(x: Value, index: _Index) -> Value:
    slices: dict[int, _slice] = {}
    drop = []
    for axis, e in enumerate(index.entries):
        if isinstance(e, int):
            i = _check_int(e, x.shape[axis], axis)
            slices[axis] = _slice(i, i + 1)
            drop.append(axis)
        else:
            slices[axis] = e
    x = _slice_static(x, slices)
    x = shaping.squeeze(x, tuple(drop)) if drop else x
    new = _new_axes(index)
    return shaping.expand_dims(x, new) if new else x


def _new_axes(index: _Index) -> tuple[int, ...]:
    """Positions of the None axes among the result's axes, for a static index."""
    kept = [r for r in index.result if r[0] != "int"]
    return tuple(i for i, r in enumerate(kept) if r[0] == "new")


# ----------------------------------------------------------------------------------- index arrays


@dataclass
class _Gather:
    """An index with arrays, ready for gather or scatter on the array after its static slices."""

    slices: dict[int, _slice]
    axes: tuple[int, ...]
    vectors: Value
    batch_shape: tuple[int, ...]
    at: int
    new: tuple[int, ...]


def _index_vectors(x_shape: tuple[int, ...], axes: tuple[int, ...], parts: list[Value], wrap: bool) -> tuple[Value, tuple[int, ...]]:
    """Index arrays, wrapped (negative from the end), broadcast and stacked on a new last axis."""
    wide = any(n >= 2**31 for n in x_shape) or any(aval_of(q).dtype.itemsize == 8 for q in parts)
    d = dtypes.int64 if wide else dtypes.int32
    try:
        shape = np.broadcast_shapes(*[q.shape for q in parts])
    except ValueError:
        raise ShapeError(f"index arrays of shapes {', '.join(str(q.shape) for q in parts)} cannot be broadcast together") from None
    out = []
    for axis, q in zip(axes, parts):
        if aval_of(q).dtype != d:
            q = p.convert_element_type(q, d)
        if wrap:
            q = p.select(p.lt(q, helpers.zeros_like(q)), p.add(q, helpers.full_like(q, x_shape[axis])), q)
        out.append(shaping.expand_dims(broadcast_value(q, shape), (len(shape),)))
    return (out[0] if len(out) == 1 else shaping.concatenate(out, len(shape))), shape


def _advanced(x_shape: tuple[int, ...], index: _Index) -> _Gather:
    n_axes = len(x_shape)
    axes, parts, slices = [], [], {}
    result = index.result
    for axis, e in enumerate(index.entries[:n_axes]):
        if isinstance(e, _slice):
            slices[axis] = e
        elif isinstance(e, int):
            axes.append(axis)
            parts.append(Array(np.asarray(_check_int(e, x_shape[axis], axis), np.int32)))
        else:
            axes.append(axis)
            parts.append(e)
    for e in index.entries[n_axes:]:  # a 0-d boolean adds an axis of length 0 or 1
        broadcast_shape = np.broadcast_shapes(*[q.shape for q in parts], e.shape) if parts else e.shape
        if not parts:
            raise DTypeError("a 0-d boolean index alone is not supported; use where(mask, x, other)")
        parts = [broadcast_value(q, broadcast_shape) for q in parts]
    # where the arrays' dimensions go: at the place of the first if they are adjacent, else in front
    kinds = ["array" if r[0] in ("array", "int") else r[0] for r in result]
    places = [i for i, k in enumerate(kinds) if k == "array"]
    adjacent = places[-1] - places[0] + 1 == len(places)
    before = kinds[: places[0]] if adjacent else []
    rest = [k for k in kinds if k != "array"]
    vectors, batch_shape = _index_vectors(x_shape, tuple(axes), parts, wrap=True)
    at = sum(k == "axis" for k in before)
    n_before = len(before)
    order = rest[:n_before] + ["array"] * len(batch_shape) + rest[n_before:]
    new = tuple(i for i, k in enumerate(order) if k == "new")
    return _Gather(slices, tuple(axes), vectors, batch_shape, at, new)


def _gather_numbers(g: _Gather, ndim: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(offset dims of the result, window dims of the operand)."""
    window = tuple(i for i in range(ndim) if i not in g.axes)
    n = len(g.batch_shape)
    offset = tuple(i if i < g.at else i + n for i in range(len(window)))
    return offset, window


def _get_advanced(x: Value, index: _Index, mode: Any, fill_value: Any) -> Value:
    g = _advanced(x.shape, index)
    x = _slice_static(x, g.slices)
    offset, _ = _gather_numbers(g, x.ndim)
    numbers = gs.GatherDimensionNumbers(offset, g.axes, g.axes)
    sizes = tuple(1 if i in g.axes else n for i, n in enumerate(x.shape))
    out = gs.gather(x, g.vectors, numbers, sizes, mode=mode or "clip", fill_value=fill_value)
    return shaping.expand_dims(out, g.new) if g.new else out


def getitem(x: Value, index: Any, mode: Any = None, fill_value: Any = None) -> Value:
    """``x[index]``."""
    parsed = _parse(index, x.shape)
    if not parsed.arrays:
        return _get_static(x, parsed)
    return _get_advanced(x, parsed, mode, fill_value)


# ---------------------------------------------------------------------------------------- writing


def static_update(x: Value, index: _Index, combine: Callable[[Value, Value], Value] | None, value: Value) -> Value:
    """``x`` with ``x[index] = combine(x[index], value)`` for a static index: a slice written back."""
    old = _get_static(x, index)
    value = _fit(value, old.shape, x)
    value = combine(old, value) if combine is not None else value
    # undo: None axes, dropped axes, reversals
    new = _new_axes(index)
    value = shaping.squeeze(value, new) if new else value
    drop = tuple(i for i, e in enumerate(index.entries) if isinstance(e, int))
    value = shaping.expand_dims(value, drop) if drop else value
    starts, config, reverse, strided = [], [], [], False
    for axis, e in enumerate(index.entries):
        n = x.shape[axis]
        a, b, c = (e % n, e % n + 1, 1) if isinstance(e, int) else _bounds(e, n, axis)
        count = len(range(a, b, c))
        if c < 0:
            reverse.append(axis)
            a, c = a + (count - 1) * c, -c
        if count == 0:
            return x
        strided = strided or c != 1
        starts.append(a)
        config.append((a, n - (a + (count - 1) * c + 1), c - 1))
    value = shaping.rev(value, tuple(reverse)) if reverse else value
    if not strided:
        if value.shape == x.shape:
            return value
        return dynamic_update_slice(x, value, [np.int32(s) if s < 2**31 else np.int64(s) for s in starts])
    zero = np.zeros((), x.dtype)[()]
    mask = shaping.pad(helpers.full(value.shape, True, dtypes.bool_), np.bool_(False), tuple(config))
    return p.select(mask, shaping.pad(value, zero, tuple(config)), x)


def _fit(value: Value, shape: tuple[int, ...], x: Value) -> Value:
    """An update in the dtype of ``x``, broadcast to the indexed shape."""
    value = as_value(value, "the value to be written")
    a = aval_of(value)
    if a.dtype != x.dtype:
        if not a.weak and result_dtype(x, value) != x.dtype:
            kinds = {"b": 0, "u": 1, "i": 1, "f": 2, "V": 2, "c": 3}
            if kinds[a.dtype.kind] > kinds[x.dtype.kind]:
                raise DTypeError(
                    f"writing {a} into an array of dtype {x.dtype} would lose information. Convert one of them:"
                    f" x.astype({a.dtype}) or value.astype({x.dtype})."
                )
        elif a.weak and dtypes.is_inexact(a.dtype) and not dtypes.is_inexact(x.dtype):
            raise DTypeError(f"writing a {a.dtype.name} number into an array of dtype {x.dtype}: convert the array with x.astype(...) first")
        value = p.convert_element_type(value, x.dtype)
    lead = value.ndim - len(shape)
    if lead > 0 and all(n == 1 for n in value.shape[:lead]):
        value = shaping.squeeze(value, tuple(range(lead)))
    try:
        return broadcast_value(value, shape)
    except ShapeError:
        raise ShapeError(f"a value of shape {value.shape} cannot be written where the index selects shape {shape}") from None


_SCATTERS = {
    "set": gs.scatter, "add": gs.scatter_add, "multiply": gs.scatter_mul, "min": gs.scatter_min, "max": gs.scatter_max,
}  # fmt: skip


def _combine(kind: str) -> Callable[[Value, Value], Value] | None:
    def logical(f: Callable[..., Value], g: Callable[..., Value]) -> Callable[[Value, Value], Value]:
        return lambda a, b: g(a, b) if aval_of(a).dtype == dtypes.bool_ else f(a, b)

    return {
        "set": None,
        "add": logical(p.add, p.bitwise_or),
        "multiply": logical(p.mul, p.bitwise_and),
        "min": logical(p.min, p.bitwise_and),
        "max": logical(p.max, p.bitwise_or),
    }[kind]


def setitem(x: Value, index: Any, value: Any, kind: str = "set", mode: Any = None, **flags: Any) -> Value:
    """``x`` with ``x[index]`` replaced by, or combined with, ``value``."""
    masked = _masked_update(x, index, value, kind)
    if masked is not None:
        return masked
    parsed = _parse(index, x.shape)
    if not parsed.arrays:
        return static_update(x, parsed, _combine(kind), value)
    g = _advanced(x.shape, parsed)
    full = all(_bounds(s, x.shape[a], a) == (0, x.shape[a], 1) for a, s in g.slices.items())
    if full:
        return _scatter(x, g, value, kind, mode, flags)
    whole = _Index([e if isinstance(e, _slice) else _slice(None) for e in parsed.entries], [("axis", i) for i in range(x.ndim)], [])
    part = _slice_static(x, g.slices)
    return static_update(x, whole, None, _scatter(part, g, value, kind, mode, flags))


def _scatter(x: Value, g: _Gather, value: Any, kind: str, mode: Any, flags: dict[str, Any]) -> Value:
    offset, window = _gather_numbers(g, x.ndim)
    shape: list[int] = [x.shape[i] for i in window]
    shape[g.at : g.at] = g.batch_shape
    with_new = list(shape)
    for i in g.new:
        with_new.insert(i, 1)
    updates = _fit(value, tuple(with_new), x)
    updates = shaping.squeeze(updates, g.new) if g.new else updates
    numbers = gs.ScatterDimensionNumbers(offset, g.axes, g.axes)
    if x.dtype == dtypes.bool_ and kind in ("add", "multiply", "min", "max"):
        out = _scatter_numbers(kind)(as_type(x, np.uint8), g.vectors, as_type(updates, np.uint8), numbers, mode=mode or "fill")
        return p.ne(out, helpers.zeros_like(out))
    return _SCATTERS[kind](x, g.vectors, updates, numbers, mode=mode or "fill", **flags)


def _scatter_numbers(kind: str) -> Callable[..., Value]:
    """Booleans as bytes: or is max, and is min."""
    return {"add": gs.scatter_max, "max": gs.scatter_max, "multiply": gs.scatter_min, "min": gs.scatter_min}[kind]


def _masked_update(x: Value, index: Any, value: Any, kind: str) -> Value | None:
    """``x.at[mask].set(scalar)`` with a boolean mask is a select, also where the mask is traced."""
    if isinstance(index, tuple) and len(index) == 1:
        index = index[0]
    if not isinstance(index, (Tracer, Array, np.ndarray)) or index.dtype != dtypes.bool_:
        return None
    mask, v = as_value(index), as_value(value, "the value to be written")
    if v.ndim or mask.ndim == 0 or mask.shape != x.shape[: mask.ndim]:
        return None
    v = _fit(v, x.shape, x)
    combine = _combine(kind)
    new = combine(x, v) if combine is not None else v
    mask = shaping.broadcast_in_dim(mask, x.shape, tuple(range(mask.ndim)))
    return p.select(mask, new, x)


class At:
    """``x.at[index]``: changed copies of ``x``.

    Methods ``get set add subtract multiply divide power min max apply``; with repeated indices, ``add`` and its
    kin apply every update, in row-major order.  mode: "drop" or "fill" (out-of-range updates are dropped, the
    default), "clip", "promise_in_bounds".
    """

    __slots__ = ("_x", "_index")

    def __init__(self, x: Value, index: Any = None, ready: bool = False) -> None:
        self._x = x
        self._index = (index,) if ready else None

    def __getitem__(self, index: Any) -> At:
        return At(self._x, index, ready=True)

    def _given(self) -> Any:
        if self._index is None:
            raise TypeError("x.at needs an index: write x.at[index].set(value)")
        return self._index[0]

    def _update(self, kind: str, value: Any, mode: Any, indices_are_sorted: bool, unique_indices: bool) -> Value:
        flags = {"indices_are_sorted": indices_are_sorted, "unique_indices": unique_indices}
        mode = "fill" if mode == "drop" else mode
        return setitem(self._x, self._given(), value, kind, mode, **flags)

    def get(self, *, mode: Any = None, fill_value: Any = None, indices_are_sorted: bool = False, unique_indices: bool = False) -> Value:
        """``x[index]``; mode "fill" reads ``fill_value`` (default NaN) outside, the default "clip" the nearest element."""
        return getitem(self._x, self._given(), mode or ("fill" if fill_value is not None else None), fill_value)

    def set(self, value: Any, *, mode: Any = None, indices_are_sorted: bool = False, unique_indices: bool = False) -> Value:
        """``x[index] = value``."""
        return self._update("set", value, mode, indices_are_sorted, unique_indices)

    def add(self, value: Any, *, mode: Any = None, indices_are_sorted: bool = False, unique_indices: bool = False) -> Value:
        """``x[index] += value``."""
        return self._update("add", value, mode, indices_are_sorted, unique_indices)

    def subtract(self, value: Any, *, mode: Any = None, indices_are_sorted: bool = False, unique_indices: bool = False) -> Value:
        """``x[index] -= value``."""
        return self._update("add", p.neg(as_value(value)), mode, indices_are_sorted, unique_indices)

    def multiply(self, value: Any, *, mode: Any = None, indices_are_sorted: bool = False, unique_indices: bool = False) -> Value:
        """``x[index] *= value``."""
        return self._update("multiply", value, mode, indices_are_sorted, unique_indices)

    mul = multiply

    def divide(self, value: Any, *, mode: Any = None, indices_are_sorted: bool = False, unique_indices: bool = False) -> Value:
        """``x[index] /= value``."""
        ones = helpers.ones_like(self._x)
        factor = setitem(ones, self._given(), value, "multiply", "fill" if mode == "drop" else mode)
        return p.div(*promote(self._x, factor))

    def power(self, value: Any, *, mode: Any = None, indices_are_sorted: bool = False, unique_indices: bool = False) -> Value:
        """``x[index] **= value`` (indices should not repeat)."""
        ones = helpers.ones_like(self._x)
        exponent = setitem(ones, self._given(), value, "multiply", "fill" if mode == "drop" else mode)
        return self._x**exponent

    def min(self, value: Any, *, mode: Any = None, indices_are_sorted: bool = False, unique_indices: bool = False) -> Value:
        """``x[index] = minimum(x[index], value)``."""
        return self._update("min", value, mode, indices_are_sorted, unique_indices)

    def max(self, value: Any, *, mode: Any = None, indices_are_sorted: bool = False, unique_indices: bool = False) -> Value:
        """``x[index] = maximum(x[index], value)``."""
        return self._update("max", value, mode, indices_are_sorted, unique_indices)

    def apply(self, f: Callable[[Value], Value], *, mode: Any = None, indices_are_sorted: bool = False, unique_indices: bool = False) -> Value:
        """``x[index] = f(x[index])``."""
        return self.set(f(self.get()), mode=mode)

    def __repr__(self) -> str:
        return f"At({self._x!r}, {self._index[0]!r})" if self._index is not None else f"At({self._x!r})"
