"""Sorting, positions of extremes, and searching in sorted arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..config import config
from ..errors import (
    ArgumentError,
    DTypeError,
    ShapeError,
)
from ..plans import planned
from ..primitive import Primitive
from ..primitives import elementwise as p
from ..primitives import reductions as r
from ..primitives import shaping, sorting
from . import binary
from .axes import canonical_axis, plain_ints
from .core import (
    Value,
    apply,
    as_beside,
    as_type,
    as_typed,
    as_value,
    filled,
    inexact,
    operand,
    position_dtype,
    promote_dtype,
)
from .indexing import getitem
from .manipulation import concatenate, ravel
from .reductions import all as all_
from .selection import where
from .unary import constant, isnan

__all__ = [
    "argmax", "argmin", "argpartition", "argsort", "digitize", "interp", "lexsort", "nanargmax", "nanargmin", "partition", "searchsorted",
    "sort", "sort_complex", "top_k",
]  # fmt: skip


def _along(a: Any, axis: Any) -> tuple[Value, int]:
    """An array and an axis; flattened, if the axis is None."""
    x = as_value(a)
    return (ravel(x), 0) if axis is None else (x, canonical_axis(axis, x.ndim))


# ----------------------------------------------------------------------------------------- sorting


def _check_kind(name: str, kind: Any, order: Any, kinds: tuple[str, ...]) -> None:
    """Refuses what NumPy refuses: here one algorithm does for all, stable and on arrays without fields."""
    if kind is not None and kind not in kinds:
        raise ArgumentError(f"{name}: kind must be {', '.join(map(repr, kinds))} or None; found {kind!r}")
    if order is not None:
        raise ArgumentError(f"{name}: order={order!r} names fields, which the arrays of fx do not have. Leave it out.")


_SORTS, _PARTITIONS = ("quicksort", "mergesort", "heapsort", "stable"), ("introselect",)


@planned
def sort(
    a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: bool = True, descending: bool = False
) -> Value:
    """Sorted along ``axis`` (flattened, if None); NaN last.  Always stable: ``kind`` may be any of NumPy's."""
    _check_kind("sort", kind, order, _SORTS)
    x, i = _along(a, axis)
    y = sorting.sort(x, i)
    return shaping.rev(y, (i,)) if descending else y


@planned
def argsort(
    a: Any,
    axis: Any = -1,
    kind: Any = None,
    order: Any = None,
    *,
    stable: bool = True,
    descending: bool = False,
    dtype: Any = None,
) -> Value:
    """The indices that sort; equal elements keep their order."""
    _check_kind("argsort", kind, order, _SORTS)
    x, i = _along(a, axis)
    d = position_dtype(x.shape[i]) if dtype is None else dtypes.canonical(dtype)
    if not descending:
        return sorting.argsort(x, i, index_dtype=d)
    y = shaping.rev(sorting.argsort(shaping.rev(x, (i,)), i, index_dtype=d), (i,))
    return p.sub(constant(y, x.shape[i] - 1), y)


def sort_complex(a: Any) -> Value:
    """Sorted by real, then imaginary part; complex."""
    x = sort(as_value(a), -1)
    return x if dtypes.is_complex(x.dtype) else as_type(x, dtypes.complex_dtype(x.dtype))


@planned
def lexsort(keys: Any, axis: int = -1, *, batch_size: int | None = None) -> Value:
    """The indices that sort by the last key, then the one before it, ... (``batch_size``: accepted, as all keys are compared at once)."""
    ks = [as_value(k) for k in (keys if isinstance(keys, (tuple, list)) else list(as_value(keys)))]
    if not ks:
        raise ShapeError("lexsort needs at least one key")
    i = canonical_axis(axis, ks[0].ndim)
    places = shaping.broadcasted_iota(position_dtype(ks[0].shape[i]), ks[0].shape, i)
    return sorting.sort((*ks[::-1], places), i, num_keys=len(ks))[-1]


def _check_kth(kth: Any, n: int, axis: int) -> None:
    for k in plain_ints(kth, "kth"):
        if not -n <= k < n:
            raise ArgumentError(f"kth={k} is out of bounds for axis {axis} with size {n}")


@planned
def partition(a: Any, kth: Any, axis: Any = -1, kind: Any = None, order: Any = None) -> Value:
    """An array in which the kth element is where sorting would put it (here: sorted altogether)."""
    _check_kind("partition", kind, order, _PARTITIONS)
    x, i = _along(a, axis)
    _check_kth(kth, x.shape[i], i)
    return sort(x, i)


@planned
def argpartition(a: Any, kth: Any, axis: Any = -1, kind: Any = None, order: Any = None) -> Value:
    """The indices of ``partition``."""
    _check_kind("argpartition", kind, order, _PARTITIONS)
    x, i = _along(a, axis)
    _check_kth(kth, x.shape[i], i)
    return argsort(x, i)


@planned
def top_k(a: Any, k: int, /, *, axis: int = -1, mode: str = "largest", sorted: bool = True) -> tuple[Value, Value]:
    """The ``k`` largest or smallest elements along ``axis``, sorted, and their positions (int32).

    NaN counts as largest, and comes first, whatever the mode.

    Args:
        mode: "largest" or "smallest".
        sorted: accepted; they always are.

    >>> import fx.numpy as np
    >>> np.top_k(np.array([1.0, 4.0, 2.0, 3.0]), 2, mode="smallest")
    (Array([1., 2.], dtype=float32), Array([0, 2], dtype=int32))
    """
    if mode not in ("largest", "smallest"):
        raise ArgumentError(f"top_k: mode is 'largest' or 'smallest'; found {mode!r}")
    x = as_value(a)
    if mode == "largest":
        return sorting.top_k(x, k, axis=axis)
    turn = p.neg if dtypes.is_inexact(x.dtype) else p.bitwise_not  # which turns the order of all whole numbers round
    values, positions = sorting.top_k(turn(x), k, axis=axis)
    return turn(values), positions


# --------------------------------------------------------------------------------------- extremes


def _arg(name: str, prim: Primitive, extreme: Primitive) -> Callable[..., Value]:
    @planned
    def arg(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Value:
        x, i = _along(a, axis)
        if x.shape[i] == 0:
            raise ShapeError(f"{name} of an empty axis has no value (shape {x.shape}, axis {axis})")
        d = position_dtype(x.shape[i])
        if dtypes.is_complex(x.dtype):  # the first element that is the extreme one, or NaN
            best = shaping.expand_dims(apply(extreme, x, axes=(i,)), (i,))
            hit = binary.logical_or(binary.equal(x, best), isnan(x))
            y = apply(r.argmax_p, hit, axis=i, index_dtype=d)
        else:
            y = apply(prim, x, axis=i, index_dtype=d)
        if not keepdims:
            return y
        return shaping.reshape(y, (1,) * as_value(a).ndim) if axis is None else shaping.expand_dims(y, (i,))

    arg.__doc__ = (
        f"The position of the {'greatest' if name == 'argmax' else 'least'} element (the first of equals; NaN wins)."
    )
    return arg


argmax = _arg("argmax", r.argmax_p, r.reduce_max_p)
argmin = _arg("argmin", r.argmin_p, r.reduce_min_p)


def _nanarg(f: Callable[..., Value], largest: bool) -> Callable[..., Value]:
    def arg(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Value:
        x = as_value(a)
        if not dtypes.is_inexact(x.dtype):
            return f(x, axis, None, keepdims)
        nan = isnan(x)
        last = filled(x.shape, r.extreme_identity(x.dtype, largest=not largest), x.dtype)
        y = f(p.select(nan, last, x), axis, None, keepdims)
        return p.select(all_(nan, axis, keepdims=keepdims), constant(y, -1), y)

    arg.__doc__ = "The position of the extreme element, ignoring NaN (-1 if there is nothing else)."
    return arg


nanargmax = _nanarg(argmax, True)
nanargmin = _nanarg(argmin, False)


# -------------------------------------------------------------------------------- in sorted arrays


def _before(a: Value, b: Value) -> Value:
    """a < b in the order of sorting: NaN last."""
    return binary.logical_or(binary.less(a, b), p.bitwise_and(isnan(b), p.bitwise_not(isnan(a))))


@planned
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None, *, method: str = "scan") -> Value:
    """Where ``v`` would be inserted into the sorted vector ``a`` to keep it sorted.

    side: "left": before equal elements; "right": behind them.

    >>> import fx.numpy as fnp
    >>> fnp.searchsorted(fnp.array([1.0, 2.0, 3.0]), fnp.array([0.5, 2.0, 9.0]))
    Array([0, 1, 3], dtype=int32)
    """
    if side not in ("left", "right"):
        raise ArgumentError(f"side must be 'left' or 'right'; found {side!r}")
    x, q = promote_dtype(operand(a), operand(v))
    if x.ndim != 1:
        raise ShapeError(f"searchsorted needs a sorted vector; found shape {x.shape}")
    x = x if sorter is None else getitem(x, as_value(sorter))
    n, d = x.shape[0], position_dtype(x.shape[0])
    low, high = filled(q.shape, 0, d), filled(q.shape, n, d)
    for _ in range(n.bit_length()):  # bisection: log2(n) + 1 rounds, all queries at once
        mid = p.add(low, p.div(p.sub(high, low), constant(low, 2)))  # low + high may be no int32
        probe = getitem(x, p.min(mid, constant(mid, n - 1)), "promise_in_bounds")
        further = _before(probe, q) if side == "left" else p.bitwise_not(_before(q, probe))
        right = p.bitwise_and(further, p.lt(low, high))
        low, high = p.select(right, p.add(mid, constant(mid, 1)), low), p.select(right, high, mid)
    return low


@planned
def digitize(x: Any, bins: Any, right: bool = False, *, method: Any = None) -> Value:
    """The bin that each element falls into; ``bins`` rise or fall."""
    b, v = promote_dtype(operand(bins), operand(x))
    if b.ndim != 1:
        raise ShapeError(f"digitize needs a vector of bins; found shape {b.shape}")
    n = b.shape[0]
    if n == 0:
        return filled(v.shape, 0, config.default_int)
    side = "left" if right else "right"
    falling = binary.subtract(n, searchsorted(shaping.rev(b, (0,)), v, side))
    return where(binary.less_equal(getitem(b, 0), getitem(b, -1)), searchsorted(b, v, side), falling)


@planned
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Value:
    """Linear interpolation through the points ``(xp, fp)``, xp rising.

    Args:
        left, right: the values beyond the ends of ``xp``, by default the first and last of ``fp``; "extrapolate" goes
            on with the first and last lines.
    """
    x, xp = promote_dtype(operand(x), operand(xp), to_float=True)
    fp = as_beside(fp, x.dtype)
    fp = as_type(fp, inexact(fp.dtype))
    if xp.ndim != 1 or xp.shape != fp.shape or not xp.size:
        raise ShapeError(
            f"interp needs non-empty vectors xp and fp of one size; found shapes {xp.shape} and {fp.shape}"
        )
    if dtypes.is_complex(x.dtype) or dtypes.is_complex(xp.dtype):
        raise DTypeError("interp: x and xp must be real")
    if period is not None:
        x, xp = binary.remainder(x, period), binary.remainder(xp, period)
        order = argsort(xp)
        xp, fp = getitem(xp, order), getitem(fp, order)
        ends = slice(-1, None), slice(0, 1)
        xp = concatenate([binary.subtract(getitem(xp, ends[0]), period), xp, binary.add(getitem(xp, ends[1]), period)])
        fp = concatenate([getitem(fp, ends[0]), fp, getitem(fp, ends[1])])
    n = xp.shape[0]
    i = binary.minimum(binary.maximum(searchsorted(xp, x, "right"), 1), max(n - 1, 1))
    x0, x1, y0, y1 = (getitem(v, k) for v in (xp, fp) for k in (binary.subtract(i, 1), binary.minimum(i, n - 1)))
    dx = p.sub(x1, x0)
    flat = p.eq(dx, constant(dx, 0))
    t = p.div(p.sub(x, x0), p.select(flat, constant(dx, 1), dx))
    y = where(flat, y0, binary.add(y0, binary.multiply(t, p.sub(y1, y0))))
    for value, beyond, end in ((left, binary.less, 0), (right, binary.greater, -1)):
        if not isinstance(value, str):
            outside = getitem(fp, end) if value is None else as_typed(value, y.dtype)
            y = where(beyond(x, getitem(xp, end)), outside, y)
        elif value != "extrapolate":
            raise ArgumentError(f"interp: left and right are numbers or 'extrapolate'; found {value!r}")
    return where(isnan(x), np.nan, y)
