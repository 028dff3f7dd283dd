"""Searching, sorting, selecting, sets, histograms, polynomials."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..api import vmap
from ..array import Array
from ..config import config
from ..errors import ConcretizationError, ShapeError
from ..primitives import elementwise as p
from ..primitives import gather_scatter as gs
from ..primitives import helpers, shaping, sorting
from ..primitives import reductions as r
from ..primitives.cumulative import cumsum as _cumsum
from ..trace import aval_of, concrete_value
from .core import as_type, as_value, broadcast_value, canonical_axis, inexact, promote, promote_inexact
from .indexing import getitem
from .manipulation import concatenate, moveaxis, ravel
from .reductions import any as any_
from .reductions import sum as sum_
from .ufuncs import registered as u

Value = Any

__all__ = [
    "allclose", "apply_along_axis", "argmax", "argmin", "argpartition", "argsort", "argwhere", "array_equal", "array_equiv", "bincount",
    "choose", "compress", "convolve", "correlate", "digitize", "extract", "flatnonzero", "histogram", "interp", "intersect1d", "isclose",
    "iscomplex", "iscomplexobj", "isin", "isneginf", "isposinf", "isreal", "isrealobj", "isscalar", "lexsort", "nanargmax", "nanargmin",
    "nonzero", "partition", "piecewise", "place", "poly", "polyadd", "polyder", "polyint", "polymul", "polysub", "polyval", "put",
    "put_along_axis", "searchsorted", "select", "setdiff1d", "setxor1d", "sort", "sort_complex", "take", "take_along_axis", "trim_zeros",
    "union1d", "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values", "unravel_index", "ravel_multi_index",
    "vectorize", "where", "angle", "unwrap", "i0",
]  # fmt: skip


# ---------------------------------------------------------------------------------- where and friends


def where(condition: Any, x: Any = None, y: Any = None, /, *, size: int | None = None, fill_value: Any = None) -> Any:
    """``x`` where the condition holds, else ``y``; with the condition alone, ``nonzero``.

    Both branches are evaluated; a NaN or infinity in the one not chosen can reach the derivative (0 * inf): make
    the operand safe first, ``where(ok, f(where(ok, x, 1)), 0)``.
    """
    if (x is None) != (y is None):
        raise TypeError("where takes the condition alone, or the condition and both branches")
    if x is None:
        return nonzero(condition, size=size, fill_value=fill_value)
    c = as_value(condition, "the condition of where")
    c = c if c.dtype == dtypes.bool_ else p.ne(c, helpers.zeros_like(c))
    a, b = promote(as_value(x), as_value(y))
    shape = np.broadcast_shapes(c.shape, a.shape) if c.shape != a.shape else c.shape
    return p.select(broadcast_value(c, shape), broadcast_value(a, shape), broadcast_value(b, shape))


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Value:
    """The choice whose condition is the first to hold, else ``default``."""
    if len(condlist) != len(choicelist) or not condlist:
        raise ValueError(f"select needs as many conditions as choices; found {len(condlist)} and {len(choicelist)}")
    out = default
    for c, v in zip(reversed(condlist), reversed(choicelist)):
        out = where(c, v, out)
    return as_value(out)


def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Value:
    """``choices[a[i]][i]``; out-of-range values are clipped unless mode is "wrap"."""
    i = as_value(a)
    xs = [as_value(c) for c in choices]
    shape = np.broadcast_shapes(i.shape, *[x.shape for x in xs])
    d = dtypes.promote(*[(x.dtype, x.weak_type) for x in xs])[0]
    table = shaping.concatenate([shaping.expand_dims(broadcast_value(as_type(x, d), shape), (0,)) for x in xs], 0)
    i = broadcast_value(u["remainder"](i, len(xs)) if mode == "wrap" else i, shape)
    return shaping.squeeze(gs.take_along(table, shaping.expand_dims(as_type(i, np.int32), (0,)), 0, mode="clip"), (0,))


def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kwargs: Any) -> Value:
    """A function given by cases: ``funclist[i]`` (a function or a constant) where ``condlist[i]`` holds; an extra
    last entry is the default.  Every function is evaluated everywhere."""
    v = as_value(x)
    conds = list(condlist) if isinstance(condlist, (list, tuple)) else [condlist]
    n, m = len(conds), len(funclist)
    if m not in (n, n + 1):
        raise ValueError(f"piecewise with {n} conditions needs {n} or {n + 1} functions; found {m}")
    values = [f(v, *args, **kwargs) if callable(f) else f for f in funclist]
    out = as_type(broadcast_value(as_value(values[n] if m > n else 0), v.shape), v.dtype)
    for c, y in zip(conds, values):
        out = where(c, as_type(broadcast_value(as_value(y), v.shape), v.dtype), out)
    return out


# --------------------------------------------------------------------------------------- extremes


def _arg(f: Any, name: str) -> Any:
    def arg(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Value:
        x = as_value(a)
        nd = x.ndim
        if axis is None:
            x, i = ravel(x), 0
        else:
            i = canonical_axis(axis, x.ndim)
        if x.shape[i] == 0:
            raise ShapeError(f"{name} of an empty axis has no value (shape {x.shape}, axis {axis})")
        if x.dtype == dtypes.bool_:
            x = as_type(x, np.uint8)
        y = f(x, i, config.default_int)
        if not keepdims:
            return y
        return shaping.reshape(y, (1,) * nd) if axis is None else shaping.expand_dims(y, (i,))

    arg.__doc__ = f"The position of the {'largest' if name == 'argmax' else 'smallest'} element (the first of equals; NaN wins)."
    return arg


argmax = _arg(r.argmax, "argmax")
argmin = _arg(r.argmin, "argmin")


def _nanarg(f: Any, fill: float) -> Any:
    def arg(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Value:
        x = as_value(a)
        if not dtypes.is_inexact(x.dtype):
            return f(x, axis, None, keepdims)
        bad = u["isnan"](x)
        y = f(p.select(bad, helpers.full_like(x, fill), x), axis, None, keepdims)
        every = u["logical_not"](any_(u["logical_not"](bad), axis, keepdims=keepdims))
        return p.select(every, helpers.full_like(y, -1), y)

    arg.__doc__ = "The position of the extreme element, ignoring NaN (-1 if there is nothing else)."
    return arg


nanargmax = _nanarg(argmax, -np.inf)
nanargmin = _nanarg(argmin, np.inf)


# ----------------------------------------------------------------------------------------- sorting


def sort(a: Any, axis: Any = -1, *, kind: Any = None, order: Any = None, stable: bool = True, descending: bool = False) -> Value:
    """Sorted along ``axis`` (flattened, if None); NaN last."""
    x = as_value(a)
    x, i = (ravel(x), 0) if axis is None else (x, canonical_axis(axis, x.ndim))
    y = sorting.sort(x, i)
    return shaping.rev(y, (i,)) if descending else y


def argsort(a: Any, axis: Any = -1, *, kind: Any = None, order: Any = None, stable: bool = True, descending: bool = False) -> Value:
    """The indices that sort; equal elements keep their order."""
    x = as_value(a)
    x, i = (ravel(x), 0) if axis is None else (x, canonical_axis(axis, x.ndim))
    if not descending:
        return sorting.argsort(x, i, index_dtype=config.default_int)
    n = x.shape[i]
    y = shaping.rev(sorting.argsort(shaping.rev(x, (i,)), i, index_dtype=config.default_int), (i,))
    return p.sub(helpers.full_like(y, n - 1), y)


def sort_complex(a: Any) -> Value:
    """Sorted by real, then imaginary part; complex."""
    x = sort(as_value(a), -1)
    return as_type(x, dtypes.complex_dtype(x.dtype)) if not dtypes.is_complex(x.dtype) else x


def lexsort(keys: Any, axis: int = -1) -> Value:
    """The indices that sort by the last key, then the one before it, ..."""
    ks = [as_value(k) for k in keys]
    ks = ks if isinstance(keys, (tuple, list)) else [getitem(keys, i) for i in range(len(keys))]
    i = canonical_axis(axis, ks[0].ndim)
    d = config.default_int
    iota = shaping.broadcasted_iota(d, ks[0].shape, i)
    return sorting.sort((*ks[::-1], iota), i, num_keys=len(ks))[-1]


def partition(a: Any, kth: int, axis: int = -1) -> Value:
    """An array in which the kth element is where sorting would put it (here: fully sorted)."""
    return sort(a, axis)


def argpartition(a: Any, kth: int, axis: int = -1) -> Value:
    """Indices of ``partition``."""
    return argsort(a, axis)


def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None, *, method: str = "scan") -> Value:
    """Where ``v`` would be inserted into the sorted vector ``a`` to keep it sorted."""
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right'; found {side!r}")
    x, q = promote_dtype(as_value(a), as_value(v))
    if x.ndim != 1:
        raise ShapeError(f"searchsorted needs a sorted vector; found shape {x.shape}")
    x = x if sorter is None else getitem(x, sorter)
    n = x.shape[0]
    d = config.default_int
    low, high = helpers.full(q.shape, 0, d), helpers.full(q.shape, n, d)
    go_right = _not_after if side == "right" else _before
    for _ in range(max(n, 1).bit_length()):  # bisection: log2(n) + 1 rounds, all queries at once
        mid = p.div(p.add(low, high), helpers.full_like(aval_of(low), 2))
        probe = getitem(x, p.min(mid, helpers.full_like(aval_of(mid), max(n - 1, 0)))) if n else q
        right = p.bitwise_and(go_right(probe, q), p.lt(low, high))
        low, high = p.select(right, p.add(mid, helpers.full_like(aval_of(mid), 1)), low), p.select(right, high, mid)
    return as_value(low)


def _is_nan(x: Value) -> Value:
    return u["isnan"](x)


def _before(a: Value, b: Value) -> Value:
    """a < b in sorting order: NaN last."""
    return p.bitwise_or(u["less"](a, b), p.bitwise_and(_is_nan(b), p.bitwise_not(_is_nan(a))))


def _not_after(a: Value, b: Value) -> Value:
    return p.bitwise_not(_before(b, a))


def promote_dtype(*xs: Value) -> list[Value]:
    """Operands of one dtype, shapes untouched."""
    d = dtypes.promote(*[(x.dtype, x.weak_type) for x in xs])[0]
    return [as_type(x, d) for x in xs]


def digitize(x: Any, bins: Any, right: bool = False, *, method: Any = None) -> Value:
    """The bin that each element falls into; ``bins`` increase or decrease."""
    b = as_value(bins)
    side = "right" if not right else "left"
    if b.shape[0] == 0:
        return helpers.full(as_value(x).shape, 0, config.default_int)
    rising = u["less_equal"](getitem(b, 0), getitem(b, -1))
    up = searchsorted(b, x, side)
    down = u["subtract"](b.shape[0], searchsorted(shaping.rev(b, (0,)), x, "left" if side == "right" else "right"))
    return where(rising, up, down)


# ---------------------------------------------------------------------------------------- take and put


def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str | None = None, unique_indices: bool = False, indices_are_sorted: bool = False, fill_value: Any = None) -> Value:
    """Elements (or slices along ``axis``) at the given indices.

    mode: "fill" (default: out of range reads NaN), "clip", "wrap".
    """
    x = as_value(a)
    x, i = (ravel(x), 0) if axis is None else (x, canonical_axis(axis, x.ndim))
    idx = as_value(indices)
    if mode == "wrap" and x.shape[i]:
        idx = u["remainder"](idx, x.shape[i])
    if mode == "clip" or mode == "raise":
        idx = u["maximum"](idx, 0) if aval_of(idx).dtype.kind == "i" else idx
    gather_mode = {None: "fill", "fill": "fill", "clip": "clip", "raise": "clip", "wrap": "clip"}.get(mode, mode)
    return getitem(x, (slice(None),) * i + (idx,), gather_mode, fill_value)


def take_along_axis(arr: Any, indices: Any, axis: Any = -1, mode: Any = None, fill_value: Any = None) -> Value:
    """``arr[..., indices[..., j, ...], ...]``: indices along one axis, the others running along (and broadcasting)."""
    x, idx = as_value(arr), as_value(indices)
    if axis is None:
        x, i = ravel(x), 0
        idx = ravel(idx) if idx.ndim != 1 else idx
    else:
        i = canonical_axis(axis, x.ndim)
    if x.ndim != idx.ndim:
        raise ShapeError(f"take_along_axis: the array has shape {x.shape}, the indices {idx.shape}; they need as many dimensions")
    if not dtypes.is_integer(aval_of(idx).dtype):
        raise TypeError(f"take_along_axis: indices must be integers; found {aval_of(idx).dtype}")
    idx = where(u["less"](idx, 0), u["add"](idx, x.shape[i]), idx)
    shape = np.broadcast_shapes(*[tuple(1 if j == i else n for j, n in enumerate(v.shape)) for v in (x, idx)])
    x = broadcast_value(x, tuple(x.shape[j] if j == i else n for j, n in enumerate(shape)))
    idx = broadcast_value(idx, tuple(idx.shape[j] if j == i else n for j, n in enumerate(shape)))
    return gs.take_along(x, idx, i, mode=mode or "fill")


def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any, inplace: bool = False, *, mode: Any = None) -> Value:
    """A copy of ``arr`` with values written where ``take_along_axis`` would read."""
    x, idx = as_value(arr), as_value(indices)
    if axis is None:
        return shaping.reshape(x.reshape(-1).at[idx].set(values), x.shape)
    i = canonical_axis(axis, x.ndim)
    grid = [shaping.broadcasted_iota(dtypes.int32, tuple(idx.shape), j) for j in range(x.ndim)]
    full = tuple(idx if j == i else grid[j] for j in range(x.ndim))
    return x.at[full].set(values)


def put(a: Any, ind: Any, v: Any, mode: Any = None, *, inplace: bool = False) -> Value:
    """A copy with values written at flat positions."""
    x = as_value(a)
    idx, w = ravel(as_value(ind)), ravel(as_value(v))
    if w.shape[0] < idx.shape[0]:
        w = getitem(w, np.arange(idx.shape[0]) % max(w.shape[0], 1))
    if mode == "wrap":
        idx = u["remainder"](idx, x.size)
    if mode == "clip":
        idx = p.clamp(0, idx, x.size - 1)
    return shaping.reshape(ravel(x).at[idx].set(getitem(w, slice(0, idx.shape[0]))), x.shape)


def place(arr: Any, mask: Any, vals: Any, *, inplace: bool = False) -> Value:
    """A copy with ``vals`` written, in order and repeated, where the mask holds."""
    x, m, v = as_value(arr), as_value(mask), ravel(as_value(vals))
    rank = p.sub(_cumsum(as_type(ravel(m), np.int32), 0), helpers.full((m.size,), 1, dtypes.int32))
    source = getitem(v, u["remainder"](rank, max(v.shape[0], 1)))
    return where(m, as_type(shaping.reshape(source, x.shape), x.dtype), x)


# -------------------------------------------------------------- results whose shape depends on the data


def _known(x: Any, what: str) -> np.ndarray:
    v = concrete_value(as_value(x))
    if v is None:
        raise ConcretizationError(
            f"{what} of a traced array: the result's shape would depend on its values. Pass size= (and fill_value=) to fix"
            " it, or call it outside the jitted function."
        )
    return v


def nonzero(a: Any, *, size: int | None = None, fill_value: Any = None) -> tuple[Value, ...]:
    """The indices of the elements that are not zero, one array per axis.

    Args:
        size: the length of the result, needed under jit; fewer are padded with ``fill_value`` (default 0).
    """
    x = as_value(a)
    if x.ndim == 0:
        x = shaping.reshape(x, (1,))
    d = config.default_int
    if size is None:
        return tuple(Array(i.astype(d)) for i in np.nonzero(_known(x, "nonzero")))
    mask = ravel(x) if x.dtype == dtypes.bool_ else p.ne(ravel(x), helpers.zeros_like(ravel(x)))
    rank = _cumsum(as_type(mask, d), 0)
    total = sum_(as_type(mask, d))
    n = mask.shape[0]
    slot = p.select(mask, p.sub(rank, helpers.full_like(rank, 1)), helpers.full_like(rank, size))
    flat = helpers.full((size,), 0, d)
    flat = as_value(flat).at[slot].set(shaping.iota(d, n), mode="drop") if n else as_value(flat)
    coords = unravel_index(flat, x.shape) if n else (flat,) * x.ndim
    fills = fill_value if isinstance(fill_value, (tuple, list)) else (0 if fill_value is None else fill_value,) * x.ndim
    inside = p.lt(shaping.iota(d, size), broadcast_value(total, (size,)))
    return tuple(where(inside, c, as_type(as_value(f), d)) for c, f in zip(coords, fills))


def flatnonzero(a: Any, *, size: int | None = None, fill_value: Any = None) -> Value:
    """``nonzero`` of the flattened array."""
    return nonzero(ravel(a), size=size, fill_value=fill_value)[0]


def argwhere(a: Any, *, size: int | None = None, fill_value: Any = None) -> Value:
    """The index vectors of the elements that are not zero, as rows."""
    x = as_value(a)
    if x.ndim == 0:
        return helpers.full((int(bool(_known(x, "argwhere"))), 0), 0, config.default_int)
    parts = nonzero(x, size=size, fill_value=fill_value)
    return shaping.concatenate([shaping.expand_dims(c, (1,)) for c in parts], 1)


def compress(condition: Any, a: Any, axis: Any = None, *, size: int | None = None, fill_value: Any = 0, out: Any = None) -> Value:
    """The slices along ``axis`` where the condition holds."""
    x = as_value(a)
    x, i = (ravel(x), 0) if axis is None else (x, canonical_axis(axis, x.ndim))
    idx = flatnonzero(getitem(as_value(condition), slice(0, x.shape[i])), size=size, fill_value=x.shape[i])
    return getitem(x, (slice(None),) * i + (idx,), "fill", fill_value)


def extract(condition: Any, arr: Any, *, size: int | None = None, fill_value: Any = 0) -> Value:
    """The elements where the condition holds."""
    return compress(ravel(condition), ravel(arr), size=size, fill_value=fill_value)


def unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False, axis: Any = None, *,
    equal_nan: bool = True, size: int | None = None, fill_value: Any = None, sorted: bool = True,
) -> Any:  # fmt: skip
    """The distinct elements, sorted; under jit ``size`` fixes how many (padded with the smallest or ``fill_value``)."""
    x = as_value(ar)
    if size is None:
        out = np.unique(_known(x, "unique"), return_index, return_inverse, return_counts, axis, equal_nan=equal_nan)
        if not isinstance(out, tuple):
            return Array(out)
        return tuple([Array(out[0]), *(Array(o.astype(config.default_int)) for o in out[1:])])
    if axis is not None and x.ndim != 1:
        raise ShapeError("unique with size= works on the flattened array; axis must be None")
    return _unique_sized(ravel(x), x.shape, size, fill_value, (return_index, return_inverse, return_counts))


def _unique_sized(x: Value, shape: tuple[int, ...], size: int, fill_value: Any, wanted: tuple[bool, bool, bool]) -> Any:
    d, n = config.default_int, x.shape[0]
    iota = shaping.iota(d, n)
    values, order = sorting.sort((x, iota), 0, num_keys=1)
    same = u["equal"](getitem(values, slice(1, None)), getitem(values, slice(0, n - 1)))
    if dtypes.is_inexact(x.dtype):
        nan = u["isnan"](values)
        same = p.bitwise_or(same, p.bitwise_and(getitem(nan, slice(1, None)), getitem(nan, slice(0, n - 1))))
    first = shaping.concatenate([helpers.full((min(n, 1),), True, dtypes.bool_), p.bitwise_not(same)], 0)
    group = p.sub(_cumsum(as_type(first, d), 0), helpers.full_like(iota, 1))
    slot = p.select(first, group, helpers.full_like(group, size))
    pad_value = getitem(values, 0) if fill_value is None and n else as_type(as_value(0 if fill_value is None else fill_value), x.dtype)
    out: list[Value] = [broadcast_value(pad_value, (size,)).at[slot].set(values, mode="drop")]
    if wanted[0]:
        base = broadcast_value(getitem(order, 0), (size,)) if n else helpers.full((size,), 0, d)
        out.append(as_value(base).at[slot].set(order, mode="drop"))
    if wanted[1]:
        out.append(shaping.reshape(as_value(helpers.full((n,), 0, d)).at[order].set(group), shape))
    if wanted[2]:
        out.append(as_value(helpers.full((size,), 0, d)).at[group].add(helpers.full((n,), 1, d), mode="drop"))
    return out[0] if len(out) == 1 else tuple(out)


def unique_values(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> Value:
    """Distinct elements."""
    return unique(x, size=size, fill_value=fill_value, equal_nan=False)


def unique_counts(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> Any:
    """Distinct elements and how often each occurs."""
    return _UniqueCounts(*unique(x, return_counts=True, size=size, fill_value=fill_value, equal_nan=False))


def unique_inverse(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> Any:
    """Distinct elements and, for each element, which of them it is."""
    return _UniqueInverse(*unique(x, return_inverse=True, size=size, fill_value=fill_value, equal_nan=False))


def unique_all(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> Any:
    """Distinct elements, first positions, inverse and counts."""
    return _UniqueAll(*unique(x, True, True, True, size=size, fill_value=fill_value, equal_nan=False))


class _UniqueCounts(tuple):
    """(values, counts)."""

    def __new__(cls, values: Any, counts: Any) -> _UniqueCounts:
        return super().__new__(cls, (values, counts))

    values = property(lambda self: self[0])
    counts = property(lambda self: self[1])


class _UniqueInverse(tuple):
    """(values, inverse_indices)."""

    def __new__(cls, values: Any, inverse: Any) -> _UniqueInverse:
        return super().__new__(cls, (values, inverse))

    values = property(lambda self: self[0])
    inverse_indices = property(lambda self: self[1])


class _UniqueAll(tuple):
    """(values, indices, inverse_indices, counts)."""

    def __new__(cls, values: Any, index: Any, inverse: Any, counts: Any) -> _UniqueAll:
        return super().__new__(cls, (values, index, inverse, counts))

    values = property(lambda self: self[0])
    indices = property(lambda self: self[1])
    inverse_indices = property(lambda self: self[2])
    counts = property(lambda self: self[3])


def isin(element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, method: Any = None) -> Value:
    """Which elements occur in ``test_elements``."""
    x, t = promote_dtype(as_value(element), ravel(as_value(test_elements)))
    if t.shape[0] == 0:
        found = helpers.full(x.shape, False, dtypes.bool_)
    else:
        s = sorting.sort(t, 0)
        at = searchsorted(s, x)
        found = u["equal"](getitem(s, at), x)
        found = p.bitwise_and(found, p.lt(at, helpers.full_like(at, t.shape[0])))
    return u["logical_not"](found) if invert else as_value(found)


def _set_result(values: np.ndarray, size: int | None, fill_value: Any) -> Value:
    if size is None or values.shape[0] == size:
        return Array(values)
    if values.shape[0] > size:
        return Array(values[:size])
    fill = (values[0] if values.size else 0) if fill_value is None else fill_value
    return Array(np.concatenate([values, np.full(size - values.shape[0], fill, values.dtype)]))


def _set_operation(name: str, f: Any) -> Any:
    def op(ar1: Any, ar2: Any, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None) -> Value:
        a, b = promote_dtype(as_value(ar1), as_value(ar2))
        return _set_result(f(_known(a, name), _known(b, name)), size, fill_value)

    op.__doc__ = f"``numpy.{name}`` of concrete arrays."
    return op


intersect1d = _set_operation("intersect1d", np.intersect1d)
setdiff1d = _set_operation("setdiff1d", np.setdiff1d)
setxor1d = _set_operation("setxor1d", np.setxor1d)


def union1d(ar1: Any, ar2: Any, *, size: int | None = None, fill_value: Any = None) -> Value:
    """Distinct elements of both arrays."""
    return unique(concatenate([ravel(ar1), ravel(ar2)]), size=size, fill_value=fill_value)


def trim_zeros(filt: Any, trim: str = "fb") -> Value:
    """A vector without leading ("f") and trailing ("b") zeros; concrete only."""
    return Array(np.trim_zeros(_known(filt, "trim_zeros"), trim))


# ----------------------------------------------------------------------------------------- positions


def unravel_index(indices: Any, shape: Any) -> tuple[Value, ...]:
    """Flat positions as index arrays."""
    x = as_value(indices)
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    out = []
    for n in reversed(sizes):
        out.append(u["remainder"](x, max(int(n), 1)))
        x = u["floor_divide"](x, max(int(n), 1))
    return tuple(reversed(out))


def ravel_multi_index(multi_index: Any, dims: Any, mode: str = "raise", order: str = "C") -> Value:
    """Index arrays as flat positions; out-of-range indices are clipped unless mode is "wrap"."""
    idx = [as_value(i) for i in multi_index]
    sizes = list(dims)
    if order == "F":
        idx, sizes = idx[::-1], sizes[::-1]
    out: Any = 0
    for i, n in zip(idx, sizes):
        i = u["remainder"](i, n) if mode == "wrap" else u["minimum"](u["maximum"](i, 0), n - 1)
        out = u["add"](u["multiply"](out, n), i)
    return as_value(out)


def bincount(x: Any, weights: Any = None, minlength: int = 0, *, length: int | None = None) -> Value:
    """How often each non-negative integer occurs; under jit ``length`` fixes the result's size."""
    v = ravel(as_value(x))
    if not dtypes.is_integer(v.dtype) and v.dtype != dtypes.bool_:
        raise TypeError(f"bincount needs integers; found {v.dtype}")
    if length is None:
        known = _known(v, "bincount")
        length = max(int(known.max()) + 1 if known.size else 0, int(minlength))
    w = helpers.full(v.shape, 1, config.default_int) if weights is None else ravel(as_value(weights))
    v = as_type(v, np.int32)
    v = p.select(p.lt(v, helpers.zeros_like(v)), helpers.full_like(v, length), v)
    return as_value(helpers.full((length,), 0, aval_of(w).dtype)).at[v].add(w, mode="drop")


def histogram(a: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool | None = None) -> tuple[Value, Value]:
    """Counts per bin and the bins' edges; ``bins`` is a number or the edges."""
    from .creation import linspace

    x = ravel(as_value(a))
    x = as_type(x, inexact(x.dtype))
    if isinstance(bins, (int, np.integer)):
        lo, hi = (r.reduce_min(x, (0,)), r.reduce_max(x, (0,))) if range is None else (as_value(range[0]), as_value(range[1]))
        lo, hi = promote_inexact(lo, hi)
        flat = p.eq(lo, hi)
        half = helpers.full_like(lo, 0.5)
        lo, hi = p.select(flat, p.sub(lo, half), lo), p.select(flat, p.add(hi, half), hi)
        edges = linspace(lo, hi, int(bins) + 1)
    else:
        edges = as_value(bins)
    edges, x = promote_dtype(edges, x)
    n = edges.shape[0] - 1
    at = p.sub(searchsorted(edges, x, "right"), helpers.full(x.shape, 1, config.default_int))
    at = p.select(u["equal"](x, getitem(edges, -1)), helpers.full_like(at, n - 1), at)
    w = helpers.full(x.shape, 1, x.dtype) if weights is None else ravel(as_value(weights))
    at = p.select(p.lt(at, helpers.zeros_like(at)), helpers.full_like(at, n), at)
    counts = as_value(helpers.full((n,), 0, aval_of(w).dtype)).at[at].add(w, mode="drop")
    if density:
        widths = p.sub(getitem(edges, slice(1, None)), getitem(edges, slice(0, n)))
        counts = u["divide"](u["divide"](counts, widths), sum_(counts))
    return counts, edges


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Value:
    """Linear interpolation through the points ``(xp, fp)``, xp increasing."""
    if period is not None:
        xp0 = u["remainder"](as_value(xp), period)
        order = argsort(xp0)
        xp0, fp0 = getitem(xp0, order), getitem(as_value(fp), order)
        xp = concatenate([u["subtract"](getitem(xp0, slice(-1, None)), period), xp0, u["add"](getitem(xp0, slice(0, 1)), period)])
        fp = concatenate([getitem(fp0, slice(-1, None)), fp0, getitem(fp0, slice(0, 1))])
        x = u["remainder"](as_value(x), period)
    x, xp, fp = promote_dtype(*[as_type(as_value(v), inexact(as_value(v).dtype)) for v in (x, xp, fp)])
    if xp.ndim != 1 or xp.shape != fp.shape:
        raise ShapeError(f"interp needs vectors xp and fp of one size; found shapes {xp.shape} and {fp.shape}")
    n = xp.shape[0]
    i = p.clamp(1, searchsorted(xp, x, "right"), max(n - 1, 1)) if n > 1 else helpers.full(x.shape, 0, config.default_int)
    i0 = p.sub(i, helpers.full_like(i, 1)) if n > 1 else i
    x0, x1, y0, y1 = getitem(xp, i0), getitem(xp, i), getitem(fp, i0), getitem(fp, i)
    dx = p.sub(x1, x0)
    flat = p.eq(dx, helpers.zeros_like(dx))
    t = p.div(p.sub(x, x0), p.select(flat, helpers.ones_like(dx), dx))
    y = p.select(flat, y0, p.add(y0, p.mul(t, p.sub(y1, y0))))
    lo = as_type(as_value(left), y.dtype) if left is not None else getitem(fp, 0)
    hi = as_type(as_value(right), y.dtype) if right is not None else getitem(fp, -1)
    y = where(u["less"](x, getitem(xp, 0)), lo, y)
    return where(u["greater"](x, getitem(xp, -1)), hi, y)


# ------------------------------------------------------------------------------------ convolution, polynomials


def _convolve(a: Value, v: Value, mode: str, flip: bool, name: str) -> Value:
    from ..primitives.conv import conv_general_dilated

    if a.ndim != 1 or v.ndim != 1 or 0 in (a.shape[0], v.shape[0]):
        raise ShapeError(f"{name} takes non-empty vectors; found shapes {a.shape} and {v.shape}")
    swapped = a.shape[0] < v.shape[0]
    if swapped:
        a, v = v, a
    n = v.shape[0]
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"mode must be full, same or valid; found {mode!r}")
    if flip:
        v = shaping.rev(v, (0,))
    lo_hi = {"full": (n - 1, n - 1), "same": (n // 2, n - 1 - n // 2) if flip or not swapped else (n - 1 - n // 2, n // 2), "valid": (0, 0)}[mode]
    out = conv_general_dilated(shaping.reshape(a, (1, 1, a.shape[0])), shaping.reshape(v, (1, 1, n)), (1,), [lo_hi])
    out = shaping.reshape(out, (out.shape[-1],))
    return shaping.rev(out, (0,)) if swapped and not flip else out


def convolve(a: Any, v: Any, mode: str = "full", *, precision: Any = None, preferred_element_type: Any = None) -> Value:
    """The discrete convolution of two vectors."""
    x, y = promote_dtype(as_value(a), as_value(v))
    return _convolve(x, y, mode, True, "convolve")


def correlate(a: Any, v: Any, mode: str = "valid", *, precision: Any = None, preferred_element_type: Any = None) -> Value:
    """The cross-correlation of two vectors, the second conjugated."""
    x, y = promote_dtype(as_value(a), as_value(v))
    return _convolve(x, shaping.rev(u["conjugate"](y), (0,)), mode, True, "correlate")


def polyval(p: Any, x: Any, *, unroll: int = 16) -> Value:
    """A polynomial (highest power first) at ``x``, by Horner's rule."""
    coefficients, v = as_value(p), as_value(x)
    out = u["multiply"](v, 0)
    for k in range(coefficients.shape[0]):
        out = u["add"](u["multiply"](out, v), getitem(coefficients, k))
    return out


def polyadd(a1: Any, a2: Any) -> Value:
    """The sum of two polynomials."""
    a, b = promote_dtype(as_value(a1), as_value(a2))
    n = max(a.shape[0], b.shape[0])
    a, b = (shaping.pad(v, np.zeros((), v.dtype)[()], ((n - v.shape[0], 0, 0),)) for v in (a, b))
    return u["add"](a, b)


def polysub(a1: Any, a2: Any) -> Value:
    """The difference of two polynomials."""
    return polyadd(a1, u["negative"](a2))


def polymul(a1: Any, a2: Any, *, trim_leading_zeros: bool = False) -> Value:
    """The product of two polynomials."""
    a, b = promote_inexact(as_value(a1), as_value(a1))[0], as_value(a2)
    return convolve(a, as_type(b, inexact(b.dtype)))


def polyder(p: Any, m: int = 1) -> Value:
    """The m-th derivative of a polynomial."""
    v = as_value(p)
    for _ in range(m):
        n = v.shape[0]
        v = u["multiply"](getitem(v, slice(0, n - 1)), Array(np.arange(n - 1, 0, -1).astype(v.dtype)))
    return v


def polyint(p: Any, m: int = 1, k: Any = None) -> Value:
    """The m-th antiderivative of a polynomial."""
    v = as_value(p)
    v = as_type(v, inexact(v.dtype))
    ks = [0] * m if k is None else list(k) if isinstance(k, (tuple, list)) else [k] * m
    for c in ks:
        n = v.shape[0]
        v = concatenate([u["divide"](v, Array(np.arange(n, 0, -1).astype(v.dtype))), shaping.reshape(as_type(as_value(c), v.dtype), (1,))])
    return v


def poly(seq_of_zeros: Any) -> Value:
    """The polynomial with the given roots."""
    z = as_value(seq_of_zeros)
    z = as_type(z, inexact(z.dtype))
    out = helpers.full((1,), 1, z.dtype)
    for i in range(z.shape[0]):
        root = shaping.reshape(getitem(z, i), (1,))
        out = convolve(out, concatenate([helpers.full((1,), 1, z.dtype), u["negative"](root)]))
    return as_value(out)


# -------------------------------------------------------------------------------------- comparing


def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Value:
    """``|a - b| <= atol + rtol |b|``, and equal infinities."""
    x, y = promote(as_value(a), as_value(b))
    if not dtypes.is_inexact(x.dtype):
        x, y = promote_inexact(x, y)
    near = u["less_equal"](u["absolute"](u["subtract"](x, y)), u["add"](atol, u["multiply"](rtol, u["absolute"](y))))
    finite = p.bitwise_and(u["isfinite"](x), u["isfinite"](y))
    out = p.select(finite, near, p.eq(x, y))
    return p.bitwise_or(out, p.bitwise_and(u["isnan"](x), u["isnan"](y))) if equal_nan else out


def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Value:
    """Whether ``isclose`` holds everywhere."""
    out = isclose(a, b, rtol, atol, equal_nan)
    return r.reduce_and(out, tuple(range(out.ndim)))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Value:
    """Whether shapes and all elements are equal."""
    a, b = as_value(a1), as_value(a2)
    if a.shape != b.shape:
        return Array(np.asarray(False))
    same = u["equal"](a, b)
    if equal_nan:
        same = p.bitwise_or(same, p.bitwise_and(u["isnan"](a), u["isnan"](b)))
    return as_value(r.reduce_and(same, tuple(range(same.ndim))))


def array_equiv(a1: Any, a2: Any) -> Value:
    """Whether the arrays are equal once broadcast."""
    a, b = as_value(a1), as_value(a2)
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return Array(np.asarray(False))
    return array_equal(broadcast_value(a, shape), broadcast_value(b, shape))


def isneginf(x: Any, /, out: Any = None) -> Value:
    """Is -inf."""
    v = as_value(x)
    return u["equal"](v, -np.inf) if dtypes.is_float(v.dtype) else as_value(helpers.full(v.shape, False, dtypes.bool_))


def isposinf(x: Any, /, out: Any = None) -> Value:
    """Is +inf."""
    v = as_value(x)
    return u["equal"](v, np.inf) if dtypes.is_float(v.dtype) else as_value(helpers.full(v.shape, False, dtypes.bool_))


def isreal(x: Any) -> Value:
    """The imaginary part is zero."""
    return u["equal"](u["imag"](x), 0)


def iscomplex(x: Any) -> Value:
    """The imaginary part is not zero."""
    return u["not_equal"](u["imag"](x), 0)


def iscomplexobj(x: Any) -> bool:
    """The dtype is complex."""
    return dtypes.is_complex(aval_of(as_value(x)).dtype)


def isrealobj(x: Any) -> bool:
    """The dtype is not complex."""
    return not iscomplexobj(x)


def isscalar(element: Any) -> bool:
    """A Python or NumPy number, or a 0-d array."""
    return np.isscalar(element) or (hasattr(element, "ndim") and element.ndim == 0)


def angle(z: Any, deg: bool = False) -> Value:
    """The argument of complex numbers."""
    v = as_value(z)
    v = as_type(v, inexact(v.dtype))
    out = u["arctan2"](u["imag"](v), u["real"](v))
    return u["rad2deg"](out) if deg else out


def unwrap(p: Any, discont: Any = None, axis: int = -1, period: Any = 2 * np.pi) -> Value:
    """Jumps larger than half a period taken out of a sequence of angles."""
    from .reductions import diff

    x = as_value(p)
    x = as_type(x, inexact(x.dtype))
    i = canonical_axis(axis, x.ndim)
    d = diff(x, axis=i)
    half = period / 2
    wrapped = u["subtract"](u["remainder"](u["add"](d, half), period), half)
    edge = u["logical_and"](u["equal"](wrapped, -half), u["greater"](d, 0))
    wrapped = where(edge, half, wrapped)
    jump = u["subtract"](wrapped, d)
    limit = half if discont is None else discont
    jump = where(u["less"](u["absolute"](d), limit), 0.0, jump)
    total = _cumsum(as_type(jump, x.dtype), i)
    first = shaping.slice_in_dim(x, 0, 1, axis=i)
    return shaping.concatenate([first, u["add"](shaping.slice_in_dim(x, 1, x.shape[i], axis=i), total)], i)


def i0(x: Any) -> Value:
    """The modified Bessel function of order 0, by its power series and asymptotic form."""
    v = as_value(x)
    v = u["absolute"](as_type(v, inexact(v.dtype)))
    small = u["minimum"](v, 20.0)
    q = u["square"](u["divide"](small, 2.0))
    term = total = u["add"](u["multiply"](q, 0), 1.0)
    for k in range(1, 50):
        term = u["divide"](u["multiply"](term, q), float(k * k))
        total = u["add"](total, term)
    large = u["maximum"](v, 20.0)
    series = a = u["add"](u["multiply"](large, 0), 1.0)
    for k in range(1, 14):
        a = u["divide"](u["multiply"](a, float((2 * k - 1) ** 2)), u["multiply"](8.0 * k, large))
        series = u["add"](series, a)
    asymptotic = u["multiply"](u["divide"](u["exp"](large), u["sqrt"](u["multiply"](2 * np.pi, large))), series)
    return where(u["less"](v, 20.0), total, asymptotic)


# ---------------------------------------------------------------------------------------- over functions


def apply_along_axis(func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Value:
    """A function of a vector applied to every line along ``axis``."""
    x = as_value(arr)
    i = canonical_axis(axis, x.ndim)
    f = lambda v: as_value(func1d(v, *args, **kwargs))  # noqa: E731
    for _ in range(x.ndim - 1):
        f = vmap(f)
    out = f(moveaxis(x, i, -1))
    added = out.ndim - (x.ndim - 1)
    return moveaxis(out, tuple(range(x.ndim - 1, out.ndim)), tuple(range(i, i + added))) if added else out


def vectorize(pyfunc: Any, *, excluded: Any = frozenset(), signature: str | None = None) -> Any:
    """A function of scalars (or of the core dimensions of ``signature``) that broadcasts over arrays, by vmap."""
    cores = None
    if signature is not None:
        left, _, right = signature.replace(" ", "").partition("->")
        cores = [[d for d in part.split(",") if d] for part in left.strip("()").split("),(")]
        n_out = len(right.strip("()").split("),("))
        if not left or not right or n_out < 1:
            raise ValueError(f"signature must look like '(n),(m,n)->(m)'; found {signature!r}")

    @functools.wraps(pyfunc)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        dynamic = [i for i in range(len(args)) if i not in excluded]
        xs = [as_value(args[i]) for i in dynamic]
        core_ndims = [len(c) for c in cores] if cores is not None else [0] * len(xs)
        if len(core_ndims) != len(xs):
            raise ValueError(f"the signature {signature!r} has {len(core_ndims)} inputs; {len(xs)} were given")
        leads = [x.shape[: x.ndim - k] for x, k in zip(xs, core_ndims)]
        lead = np.broadcast_shapes(*leads)
        xs = [broadcast_value(x, (*lead, *x.shape[x.ndim - k :])) for x, k in zip(xs, core_ndims)]

        def call(*values: Any) -> Any:
            full = list(args)
            for i, v in zip(dynamic, values):
                full[i] = v
            return pyfunc(*full, **kwargs)

        f = call
        for _ in lead:
            f = vmap(f)
        return f(*xs)

    return wrapper
