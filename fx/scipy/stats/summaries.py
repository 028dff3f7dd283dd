"""Statistics of samples: mode, rankdata, sem."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ... import numpy as fnp
from ...errors import ArgumentError, UnsupportedArgumentError
from ...numpy.core import as_value, promote_inexact
from ..special.core import Value

__all__ = ["ModeResult", "mode", "rankdata", "sem"]


class ModeResult(NamedTuple):
    """mode: the most common values.      count: how often they occur."""

    mode: Value
    count: Value


def _policy(name: str, nan_policy: str, known: tuple[str, ...]) -> None:
    if nan_policy not in known:
        raise UnsupportedArgumentError(
            f"{name}: nan_policy={nan_policy!r} is not one of {', '.join(map(repr, known))}; a traced NaN cannot raise"
        )


def _runs(a: Value) -> tuple[Value, Value]:
    """Of sorted rows: whether an element begins a run of equal ones, and where its run begins (along the last axis)."""
    n = a.shape[-1]
    before = fnp.concatenate([a[..., :1], a[..., :-1]], axis=-1)
    position = fnp.broadcast_to(fnp.arange(n, dtype="int32"), a.shape)
    begins = (a != before) | (position == 0)
    return begins, fnp.maximum.accumulate(fnp.where(begins, position, 0), axis=-1)


def mode(a: Any, axis: int | None = 0, nan_policy: str = "propagate", keepdims: bool = False) -> ModeResult:
    """The most common value along an axis, the least of several.

    Args:
        a: real array.
        axis: int, or None for the whole array.
        nan_policy: 'propagate': the mode of numbers with a NaN among them is NaN.
        keepdims: keep the axis with size 1.

    >>> import fx.numpy as fnp
    >>> mode(fnp.array([2, 4, 1, 1, 3, 4, 4]))
    ModeResult(mode=Array(4, dtype=int32), count=Array(3, dtype=int32))
    """
    _policy("mode", nan_policy, ("propagate",))
    x = as_value(a, "a of mode")
    shape = x.shape
    x = x.reshape(1, -1) if axis is None else fnp.moveaxis(x, axis, -1)
    ordered = fnp.sort(x, axis=-1)
    _, start = _runs(ordered)
    length = fnp.arange(ordered.shape[-1], dtype="int32") - start + 1
    at = fnp.argmax(length, axis=-1, keepdims=True)
    value, count = fnp.take_along_axis(ordered, at, -1), fnp.take_along_axis(length, at, -1)
    if np.issubdtype(x.dtype, np.inexact):
        missing = fnp.isnan(x)
        some = fnp.any(missing, axis=-1, keepdims=True)
        value = fnp.where(some, np.nan, value)
        count = fnp.where(some, fnp.sum(missing, axis=-1, keepdims=True, dtype="int32"), count)
    if axis is None:
        kept = (1,) * len(shape)
        return ModeResult(*[v.reshape(kept if keepdims else ()) for v in (value, count)])
    parts = [fnp.moveaxis(v, -1, axis) if keepdims else v[..., 0] for v in (value, count)]
    return ModeResult(*parts)


_RANKS = ("average", "min", "max", "dense", "ordinal")


def rankdata(a: Any, method: str = "average", *, axis: int | None = None, nan_policy: str = "propagate") -> Value:
    """The ranks of the elements along an axis, from 1.

    Args:
        a: real array.
        method: what equal elements get: the 'average', 'min' or 'max' of their ranks, 'dense' (as min, without gaps)
            or 'ordinal' (each its own, in the order in which they stand).
        axis: int, or None for the flattened array.
        nan_policy: 'propagate': all ranks of a row with a NaN are NaN.

    Returns:
        Floats with 'average', else integers (floats where there may be a NaN).

    Raises:
        ValueError: there is no such method.

    >>> import fx.numpy as fnp
    >>> rankdata(fnp.array([1, 3, 2, 3]))
    Array([1. , 3.5, 2. , 3.5], dtype=float32)
    """
    _policy("rankdata", nan_policy, ("propagate",))
    if method not in _RANKS:
        raise ArgumentError(f"rankdata: method {method!r} is not one of {', '.join(_RANKS)}")
    x = as_value(a, "a of rankdata")
    x = x.reshape(-1) if axis is None else fnp.moveaxis(x, axis, -1)
    n = x.shape[-1]
    order = fnp.argsort(x, axis=-1, stable=True)
    begins, start = _runs(fnp.take_along_axis(x, order, -1))
    (real,) = promote_inexact(fnp.zeros((), x.dtype))
    if method == "ordinal":
        ranks = fnp.broadcast_to(fnp.arange(1, n + 1, dtype="int32"), x.shape)
    elif method == "dense":
        ranks = fnp.cumsum(begins, axis=-1, dtype="int32")
    else:
        ends = fnp.concatenate([begins[..., 1:], fnp.ones((*x.shape[:-1], min(n, 1)), bool)], axis=-1)
        last = fnp.where(ends, fnp.arange(n, dtype="int32"), n)
        stop = fnp.flip(fnp.minimum.accumulate(fnp.flip(last, -1), axis=-1), -1)
        ranks = {"min": start + 1, "max": stop + 1, "average": 0.5 * (start + stop).astype(real.dtype) + 1}[method]
    out = fnp.take_along_axis(ranks, fnp.argsort(order, axis=-1), -1)
    if np.issubdtype(x.dtype, np.inexact):
        out = fnp.where(fnp.any(fnp.isnan(x), axis=-1, keepdims=True), np.nan, out.astype(x.dtype))
    return out if axis is None else fnp.moveaxis(out, -1, axis)


def sem(a: Any, axis: int | None = 0, ddof: int = 1, nan_policy: str = "propagate", *, keepdims: bool = False) -> Value:
    """Standard error of the mean: the standard deviation over the square root of the number of elements.

    Args:
        a: array.
        axis: int, or None for the whole array.
        ddof: what the variance is divided by is n - ddof.
        nan_policy: 'propagate', or 'omit' to leave NaNs out.
        keepdims: keep the axis with size 1.
    """
    _policy("sem", nan_policy, ("propagate", "omit"))
    (x,) = promote_inexact(as_value(a, "a of sem"))
    if nan_policy == "omit":
        count = fnp.sum(~fnp.isnan(x), axis=axis, keepdims=keepdims).astype(x.dtype)
        return fnp.nanstd(x, axis, ddof=ddof, keepdims=keepdims) / fnp.sqrt(count)
    count = x.size if axis is None else x.shape[axis]
    return fnp.std(x, axis, ddof=ddof, keepdims=keepdims) / float(np.sqrt(count))
