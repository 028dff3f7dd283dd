"""Choosing between arrays and elements: where, select, choose, take, put."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..errors import (
    ArgumentError,
    DTypeError,
    OutOfBoundsIndexError,
    ShapeError,
)
from ..plans import planned, replayed
from ..primitives import elementwise as p
from ..primitives import gather_scatter as gs
from ..primitives import joining, shaping
from ..primitives.cumulative import cumsum
from ..primitives.index_numbers import default_fill_value
from ..trace import aval_of, concrete_value
from . import binary
from .axes import canonical_axis, static_shape
from .broadcasting import check_ranks
from .core import (
    Numbers,
    Value,
    as_type,
    as_typed,
    as_value,
    astype_result,
    broadcast_shapes,
    broadcast_value,
    buffers_of,
    filled,
    is_eager,
    not_in_place,
    operand,
    position_dtype,
    promote_dtype,
    promote_operands,
    shape_of,
)
from .indexing import getitem, index_positions, setitem
from .manipulation import ravel
from .positions import places
from .rearranging import resize
from .types import can_cast
from .ufunc_quick import scalar_operand
from .unary import truth

__all__ = [
    "choose", "copyto", "piecewise", "place", "put", "put_along_axis", "putmask", "ravel_multi_index", "select", "take", "take_along_axis", "unravel_index", "where",
]  # fmt: skip


@replayed
def where(condition: Any, x: Any = None, y: Any = None, /, *, size: int | None = None, fill_value: Any = None) -> Any:
    """``x`` where the condition holds, else ``y``; with the condition alone, ``nonzero``.

    Both branches are evaluated; a NaN or infinity in the one not chosen can reach the derivative (0 * inf): make
    the operand safe first, ``where(ok, f(where(ok, x, 1)), 0)``.

    >>> import fx
    >>> import fx.numpy as fnp
    >>> safe_sqrt = lambda x: fnp.where(x > 0, fnp.sqrt(fnp.where(x > 0, x, 1.0)), 0.0)
    >>> fx.vmap(fx.grad(safe_sqrt))(fnp.array([0.0, 4.0]))
    Array([0.  , 0.25], dtype=float32)
    """
    if (x is None) != (y is None):
        raise TypeError("where takes the condition alone, or the condition and both branches")
    if x is None:
        return places(as_value(condition), size, fill_value, "where with the condition alone")
    found = _where_at_once(condition, x, y)
    if found is not None:
        return found
    choose = getattr(type(x), "chosen", None)  # arrays of keys
    if choose is not None:
        return choose(x, condition, y)
    c = truth(as_value(condition, "the condition of where"))
    a, b = promote_dtype(operand(x), operand(y)) if is_eager(c) else promote_operands(operand(x), operand(y))
    if is_eager(c, a, b):
        broadcast_shapes(c.shape, a.shape, b.shape)
        return Array(np.where(c._data, a._data, b._data), a.weak_type and b.weak_type)
    check_ranks(c.shape, shape_of(a), shape_of(b))
    shape = broadcast_shapes(c.shape, shape_of(a), shape_of(b))
    return p.select(broadcast_value(c, shape), broadcast_value(a, shape), broadcast_value(b, shape))


def _where_at_once(c: Any, x: Any, y: Any) -> Value | None:
    """Known arrays of one dtype, or one and a Python number, by NumPy; None where the long way is needed."""
    if type(c) is not Array or c._buffer is None or c._buffer.dtype is not dtypes.bool_:
        return None
    if type(x) is Array:
        buffers = buffers_of(x, y) if type(y) is Array else buffers_of(x)
    else:
        buffers = buffers_of(y) if type(y) is Array else None
    if buffers is None:
        return None
    if len(buffers) == 1:
        number = scalar_operand(y if type(x) is Array else x, buffers[0].dtype)
        if number is None:
            return None
        buffers.insert(1 if type(x) is Array else 0, number)
    try:
        return Array(np.where(c._buffer, *buffers))
    except ValueError:
        return None


@planned
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Value:
    """The choice whose condition is the first to hold, else ``default``."""
    condlist, choicelist = list(condlist), list(choicelist)
    if len(condlist) != len(choicelist) or not condlist:
        raise ArgumentError(f"select needs as many conditions as choices; found {len(condlist)} and {len(choicelist)}")
    for k, c in enumerate(condlist):
        if as_value(c).dtype != dtypes.bool_:
            raise DTypeError(f"select: condition {k} is {aval_of(as_value(c))}; conditions must be boolean arrays")
    *choices, out = promote_dtype(*[operand(v) for v in (*choicelist, default)])
    for c, v in zip(reversed(condlist), reversed(choices)):
        out = where(c, v, out)
    return out


def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Value:
    """``choices[a[i]][i]``.

    mode: "raise" (an index that is known and out of range raises, a traced one is clipped), "wrap", "clip".
    """
    i = as_value(a)
    i = as_type(i, np.int32) if i.dtype == dtypes.bool_ else i
    if not dtypes.is_integer(i.dtype):
        raise DTypeError(f"choose: the index array must be integer; found {aval_of(i)}")
    xs = promote_dtype(
        *[operand(c) for c in (choices if isinstance(choices, (list, tuple)) else list(as_value(choices)))]
    )
    known = concrete_value(i)
    if mode == "raise" and known is not None and known.size and not (0 <= known.min() and known.max() < len(xs)):
        raise OutOfBoundsIndexError(
            f"choose: the indices reach from {known.min()} to {known.max()}, but there are {len(xs)} choices"
        )
    shape = broadcast_shapes(i.shape, *[x.shape for x in xs])
    table = joining.concatenate([shaping.expand_dims(broadcast_value(x, shape), (0,)) for x in xs], 0)
    i = index_positions(i, len(xs), dtypes.int32, "wrap" if mode == "wrap" else None, False)
    i = shaping.expand_dims(broadcast_value(i, shape), (0,))
    return shaping.squeeze(gs.take_along(table, i, 0, mode="clip"), (0,))


def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Value:
    """A function given by cases: ``funclist[i]`` (a function or a constant) where ``condlist[i]`` holds.

    An extra last entry is the default, else 0.  Where several hold, the last one counts.  Every function is evaluated
    everywhere, but differentiated only where it counts: one that is infinitely steep elsewhere leaves no NaN.

    >>> import fx.numpy as fnp
    >>> x = fnp.array([-2.0, 3.0])
    >>> fnp.piecewise(x, [x < 0, x >= 0], [lambda x: -x, lambda x: 10 * x])
    Array([ 2., 30.], dtype=float32)
    """
    v = as_value(x)
    several = isinstance(condlist, (list, tuple)) and not (condlist and isinstance(condlist[0], (bool, np.bool_)))
    conds = list(condlist) if several or getattr(condlist, "ndim", 0) > v.ndim else [condlist]
    n, m = len(conds), len(funclist)
    if m not in (n, n + 1):
        raise ArgumentError(f"piecewise with {n} conditions needs {n} or {n + 1} functions; found {m}")
    conds = [as_typed(c, dtypes.bool_) for c in conds]
    after: Value = False  # whether a later condition holds
    counts: list[Value] = []  # from the last function to the first
    for c in reversed(conds):
        counts.append(c & ~after if counts else c)
        after = after | c
    default = [~after] if m > n else []

    def piece(f: Any, here: Value) -> Value:
        y = f(where(here, v, p.stop_gradient(v)), *args, **kw) if callable(f) else f
        return broadcast_value(as_typed(y, v.dtype), v.shape)

    pieces = [piece(f, here) for f, here in zip(funclist, [*reversed(counts), *default])]
    out = pieces[n] if m > n else filled(v.shape, False, v.dtype)
    for c, y in zip(conds, pieces):
        out = where(c, y, out)
    return out


# ------------------------------------------------------------------------------------------ reading


@replayed
def take(
    a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str | None = None, unique_indices: bool = False,
    indices_are_sorted: bool = False, fill_value: Any = None,
) -> Value:  # fmt: skip
    """Elements (or slices along ``axis``) at the given indices; of the flattened array by default.

    mode: "fill" (the default: out of range reads ``fill_value``, or NaN), "clip" (negative indices read the first
    element), "wrap".

    >>> import fx.numpy as fnp
    >>> fnp.take(fnp.array([10.0, 20.0, 30.0]), fnp.array([2, 0, 7]))
    Array([30., 10., nan], dtype=float32)
    >>> fnp.take(fnp.array([10.0, 20.0, 30.0]), fnp.array([2, 0, 7]), mode="clip")
    Array([30., 10., 30.], dtype=float32)
    """
    x = as_value(a)
    x, i = (ravel(x), 0) if axis is None else (x, canonical_axis(axis, x.ndim))
    if mode not in (None, "fill", "clip", "wrap", "raise"):
        raise ArgumentError(f"take: mode must be 'fill', 'clip' or 'wrap'; found {mode!r}")
    return getitem(
        x,
        (*(slice(None),) * i, as_value(indices)),
        {None: "fill", "raise": None}.get(mode, mode),
        fill_value,
        mode != "clip",
    )


def take_along_axis(
    arr: Any, indices: Any, axis: Any = -1, mode: str | None = None, fill_value: Any = None, *, wrap_negative_indices: bool | None = None
) -> Value:  # fmt: skip
    """``arr[..., indices[..., j, ...], ...]``: indices along one axis, the others running along (and broadcasting).

    mode: "fill" (the default: out of range reads ``fill_value``, or NaN), "clip".
    wrap_negative_indices: False: negative indices are out of range, and do not count from the end.

    >>> import fx.numpy as fnp
    >>> scores, labels = fnp.array([[0.1, 0.9], [0.6, 0.4]]), fnp.array([1, 0])
    >>> fnp.take_along_axis(scores, labels[:, None], axis=1)
    Array([[0.9],
           [0.6]], dtype=float32)
    """
    x, idx = as_value(arr), as_value(indices)
    plain = mode in (None, "fill") and wrap_negative_indices is not False and idx.dtype != dtypes.uint64
    if plain and type(axis) is int and is_eager(x, idx):
        try:
            return Array(np.take_along_axis(x._data, idx._data, axis), x.weak_type)
        except (IndexError, ValueError):
            pass  # out of range: the long way fills, or says what is wrong
    if not dtypes.is_integer(idx.dtype):
        raise DTypeError(f"take_along_axis: indices must be integers; found {aval_of(idx)}")
    if axis is None:
        x, axis = ravel(x), 0
    if x.ndim != idx.ndim:
        raise ShapeError(
            f"take_along_axis: the array has shape {x.shape}, the indices {idx.shape}; they need as many dimensions"
        )
    i = canonical_axis(axis, x.ndim)
    n = x.shape[i]
    from_end = mode != "clip" and wrap_negative_indices is not False
    idx = index_positions(idx, n, dtypes.int32 if n < 2**31 else dtypes.int64, None, from_end)
    others = broadcast_shapes(*[v.shape[:i] + (1,) + v.shape[i + 1 :] for v in (x, idx)])
    x, idx = (broadcast_value(v, others[:i] + (v.shape[i],) + others[i + 1 :]) for v in (x, idx))
    if n == 0:
        return filled(idx.shape, default_fill_value(x.dtype) if fill_value is None else fill_value, x.dtype)
    out = gs.take_along(x, idx, i, mode=mode or "fill")
    if fill_value is None:
        return out
    inside = binary.logical_and(binary.greater_equal(idx, 0), binary.less(idx, n))
    return p.select(inside, out, broadcast_value(as_typed(fill_value, x.dtype), out.shape))


# ------------------------------------------------------------------------------------------ writing


def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any, inplace: bool = False, *, mode: Any = None) -> Value:
    """A copy of ``arr`` with values written where ``take_along_axis`` would read."""
    not_in_place("put_along_axis", inplace)
    x, idx = as_value(arr), as_value(indices)
    if axis is None:
        return shaping.reshape(setitem(ravel(x), idx, values, mode=mode), x.shape)
    i = canonical_axis(axis, x.ndim)
    if x.ndim != idx.ndim:
        raise ShapeError(
            f"put_along_axis: the array has shape {x.shape}, the indices {idx.shape}; they need as many dimensions"
        )
    others = broadcast_shapes(x.shape[:i] + (1,) + x.shape[i + 1 :], idx.shape[:i] + (1,) + idx.shape[i + 1 :])
    idx = broadcast_value(idx, others[:i] + (idx.shape[i],) + others[i + 1 :])
    grid = [idx if j == i else shaping.broadcasted_iota(dtypes.int32, idx.shape, j) for j in range(x.ndim)]
    return setitem(x, tuple(grid), values, mode=mode)


def put(a: Any, ind: Any, v: Any, mode: str | None = None, *, inplace: bool = False) -> Value:
    """A copy with values (repeated, if they are too few) written at flat positions.

    mode: None: negative ones count from the end, and what lies outside goes to the nearest element; "clip": negative ones are 0;
    "wrap".
    """
    not_in_place("put", inplace)
    x, idx = as_value(a), ravel(ind)
    w = ravel(as_typed(v, x.dtype))
    if idx.size == 0 or w.size == 0:
        return x
    if mode is None:
        idx = index_positions(idx, x.size, dtypes.int32 if x.size < 2**31 else dtypes.int64, None, True)
    if mode in (None, "clip"):
        idx = binary.minimum(binary.maximum(idx, 0), x.size - 1)
    w = getitem(w, np.arange(idx.size, dtype=np.int32) % w.size)
    return shaping.reshape(setitem(ravel(x), idx, w, mode="wrap" if mode == "wrap" else None), x.shape)


def place(arr: Any, mask: Any, vals: Any, *, inplace: bool = False) -> Value:
    """A copy with ``vals`` written, in order and repeated, where the mask holds."""
    not_in_place("place", inplace)
    x, m = as_value(arr), truth(as_value(mask))
    v = ravel(as_typed(vals, x.dtype))
    if m.size != x.size:
        raise ShapeError(f"place: the mask has shape {m.shape}, the array {x.shape}; they need as many elements")
    if v.size == 0:
        raise ArgumentError("place: there is no value to write")
    rank = binary.subtract(cumsum(as_type(ravel(m), np.int32), 0), 1)
    source = getitem(v, binary.remainder(rank, v.size))
    return where(shaping.reshape(m, x.shape), shaping.reshape(source, x.shape), x)


def putmask(a: Any, mask: Any, values: Any) -> Value:
    """A copy with values written where the mask holds: element i of ``values``, repeated, at place i."""
    x = as_value(a)
    v = as_typed(values, x.dtype)
    return where(mask, resize(v, x.shape) if v.ndim else v, x)


def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> Value:
    """A copy of ``src``, in the shape and dtype of ``dst``; of ``dst`` where ``where`` does not hold.

    Raises:
        DTypeError: the casting rule forbids the conversion of an array.
    """
    x, new = as_value(dst), operand(src)
    if not isinstance(new, Numbers) and not can_cast(new.dtype, x.dtype, casting):
        raise DTypeError(f"copyto: {new.dtype} cannot be cast to {x.dtype} with casting={casting!r}")
    new = broadcast_value(as_type(new, x.dtype), x.shape)
    return new if where is True else _where(where, new, x)


_where = where

# ---------------------------------------------------------------------------------------- positions


def _holding(i: Value, n: int) -> Value:
    """Indices in an integer type that holds ``n``: their own, if it does."""
    d = aval_of(i).dtype
    if not dtypes.is_integer(d) or np.iinfo(d).max >= n:
        return i
    return as_type(i, position_dtype(n))


@planned
def unravel_index(indices: Any, shape: Any) -> tuple[Value, ...]:
    """Flat positions as one index array for each axis; those out of range are clipped."""
    sizes = static_shape(shape)
    total = int(np.prod(sizes))
    x = _holding(as_value(indices), total)
    x = binary.minimum(binary.maximum(where(binary.less(x, 0), binary.add(x, total), x), 0), max(total - 1, 0))
    out = []
    for n in reversed(sizes):
        out.append(binary.remainder(x, max(n, 1)))
        x = binary.floor_divide(x, max(n, 1))
    return tuple(reversed(out))


def ravel_multi_index(
    multi_index: Any, dims: Any, mode: str = "raise", order: str = "C", *, dtype: Any = None
) -> Value:
    """Index arrays as flat positions.

    mode: "raise" (an index that is known and out of range raises, a traced one is clipped), "wrap", "clip".
    """
    idx, sizes = [as_value(i) for i in multi_index], list(static_shape(dims))
    idx = [_holding(i, int(np.prod(sizes))) for i in idx]
    if len(idx) != len(sizes):
        raise ShapeError(f"ravel_multi_index: {len(idx)} index arrays for {len(sizes)} dimensions")
    if order == "F":
        idx, sizes = idx[::-1], sizes[::-1]
    out: Any = 0
    for i, n in zip(idx, sizes):
        known = concrete_value(i)
        if mode == "raise" and known is not None and known.size and not (0 <= known.min() and known.max() < n):
            raise OutOfBoundsIndexError(
                f"ravel_multi_index: the indices {known.min()} .. {known.max()} leave the size {n}"
            )
        i = binary.remainder(i, n) if mode == "wrap" else binary.minimum(binary.maximum(i, 0), n - 1)
        out = binary.add(binary.multiply(out, n), i)
    return astype_result(as_value(out), dtype)
