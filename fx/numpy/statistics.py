"""Moments and order statistics: mean, var, cov, median, quantile, and the same ignoring NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..primitives import elementwise as p
from ..primitives import reductions as r
from ..primitives import shaping, sorting
from ..primitives.gather_scatter import take_along
from . import binary
from .contraction import matmul
from .core import (
    Numbers,
    Value,
    as_type,
    as_typed,
    as_value,
    broadcast_value,
    canonical_axes,
    filled,
    inexact,
    operand,
    promote_dtype,
)
from .matrices import diag
from .reductions import nan_as
from .reductions import sum as sum_
from .rounding import clip
from .unary import absolute, conjugate, constant, isnan, logical_not, real

__all__ = [
    "average", "corrcoef", "cov", "mean", "median", "nanmean", "nanmedian", "nanpercentile", "nanquantile", "nanstd", "nanvar", "percentile",
    "quantile", "std", "var",
]  # fmt: skip


# ------------------------------------------------------------------------------------------ moments


def _wide(d: np.dtype) -> np.dtype:
    """Half-precision moments are computed in float32."""
    return dtypes.float32 if dtypes.is_float(d) and d.itemsize == 2 else d


def _count(x: Value, axes: tuple[int, ...], keepdims: bool, where: Any, d: np.dtype) -> Value:
    """How many elements are averaged, as a number or (with ``where``) an array of dtype ``d``."""
    if where is None or where is True:
        return float(math.prod(x.shape[i] for i in axes))
    w = broadcast_value(as_type(as_value(where), np.bool_), x.shape)
    return sum_(as_type(w, d), axes, keepdims=keepdims)


def mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = None) -> Value:
    """The arithmetic mean along ``axis``; integers give floats."""
    x = as_value(a)
    d = dtypes.canonical(dtype) if dtype is not None else inexact(x.dtype)
    x = as_type(x, _wide(inexact(d)))
    axes = canonical_axes(axis, x.ndim)
    total = sum_(x, axes, keepdims=keepdims, where=where)
    return as_type(binary.divide(total, _count(x, axes, keepdims, where, x.dtype)), d)


def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: bool = False) -> Any:
    """The weighted mean (with the sum of weights, if ``returned``)."""
    x = as_value(a)
    if weights is None:
        avg = mean(x, axis, keepdims=keepdims)
        total = filled(avg.shape, math.prod(x.shape[i] for i in canonical_axes(axis, x.ndim)), avg.dtype)
        return (avg, total) if returned else avg
    x, w = promote_dtype(x, operand(weights), to_float=True)
    if w.shape != x.shape:
        axes = canonical_axes(axis, x.ndim)
        if axis is None or w.shape != tuple([x.shape[i] for i in axes]):
            raise ShapeError(f"weights of shape {w.shape} do not fit an array of shape {x.shape} averaged along axis {axis}")
        w = shaping.broadcast_in_dim(w, x.shape, axes)
    total = sum_(w, axis, keepdims=keepdims)
    avg = p.div(sum_(p.mul(x, w), axis, keepdims=keepdims), total)
    return (avg, total) if returned else avg


def var(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False, *, where: Any = None,
    mean: Any = None, correction: float | None = None,
) -> Value:  # fmt: skip
    """The variance along ``axis``: the mean squared distance from the mean, with ``ddof`` taken off the count."""
    x = as_value(a)
    ddof = ddof if correction is None else correction
    d = dtypes.canonical(dtype) if dtype is not None else dtypes.real_dtype(inexact(x.dtype))
    if dtypes.is_complex(x.dtype) and dtypes.is_complex(d):
        d = dtypes.real_dtype(d)
    x = as_type(x, _wide(inexact(x.dtype)))
    axes = canonical_axes(axis, x.ndim)
    centre = _mean(x, axes, keepdims=True, where=where) if mean is None else as_value(mean)
    centred = binary.subtract(x, centre)
    square = p.add(p.square(p.real(centred)), p.square(p.imag(centred))) if dtypes.is_complex(centred.dtype) else p.square(centred)
    total = sum_(square, axes, keepdims=keepdims, where=where)
    n = _count(x, axes, keepdims, where, total.dtype)
    return as_type(binary.divide(total, binary.subtract(n, float(ddof))), d)


_mean = mean


def std(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False, *, where: Any = None,
    mean: Any = None, correction: float | None = None,
) -> Value:  # fmt: skip
    """The standard deviation: the square root of ``var``."""
    return p.sqrt(var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean, correction=correction))


def _observations(m: Any, rowvar: bool) -> Value:
    """Variables as rows, observations as columns."""
    x = as_value(m)
    if x.ndim > 2:
        raise ShapeError(f"cov takes arrays with at most 2 dimensions; found shape {x.shape}")
    x = as_type(x, inexact(x.dtype))
    if x.ndim < 2:
        return shaping.reshape(x, (1, x.size))
    return x if rowvar or x.shape[0] == 1 else shaping.transpose(x, (1, 0))


def cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None, fweights: Any = None, aweights: Any = None
) -> Value:
    """The covariance matrix of variables (rows) over observations (columns).

    fweights: how often each observation was made.      aweights: its relative weight.
    """
    x = _observations(m, rowvar)
    if y is not None:
        x = shaping.concatenate(promote_dtype(x, _observations(y, rowvar)), 0)
    n = x.shape[1]
    ddof = ddof if ddof is not None else 0 if bias else 1
    weights = [None if w is None else _weights(w, n, name) for w, name in ((fweights, "fweights"), (aweights, "aweights"))]
    given = [as_type(w, x.dtype) for w in weights if w is not None]
    if not given:
        w, count = None, n - ddof
        centre = mean(x, 1, keepdims=True)
        scale: Any = float(max(count, 0))
    else:
        w = given[0] if len(given) == 1 else p.mul(*given)
        centre, sums = average(x, 1, w, returned=True, keepdims=True)
        total = real(shaping.reshape(shaping.slice_in_dim(sums, 0, 1), ()))
        if ddof == 0:
            scale = total
        elif aweights is None:
            scale = binary.subtract(total, ddof)
        else:
            scale = binary.subtract(total, binary.divide(binary.multiply(ddof, real(sum_(p.mul(w, given[-1])))), total))
    centred = binary.subtract(x, centre)
    other = conjugate(centred if w is None else binary.multiply(centred, w))
    out = binary.divide(matmul(centred, shaping.transpose(other, (1, 0))), scale)
    return shaping.reshape(out, ()) if out.shape == (1, 1) else out


def _weights(w: Any, n: int, name: str) -> Value:
    v = as_value(w)
    if v.shape != (n,):
        raise ShapeError(f"cov: {name} have shape {v.shape}; there are {n} observations")
    if name == "fweights" and not dtypes.is_integer(v.dtype):
        raise DTypeError(f"cov: fweights count observations and must be integers; found {v.dtype}")
    return absolute(v)


def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Value:
    """The matrix of correlation coefficients."""
    m = cov(x, y, rowvar)
    if m.ndim == 0:
        return p.div(m, m)
    d = p.sqrt(real(diag(m)))
    out = binary.divide(binary.divide(m, shaping.reshape(d, (d.size, 1))), d)
    if dtypes.is_complex(out.dtype):
        return p.complex(clip(p.real(out), -1.0, 1.0), clip(p.imag(out), -1.0, 1.0))
    return clip(out, -1.0, 1.0)


# ------------------------------------------------------------------------------------- ignoring NaN


def _valid(x: Value, where: Any) -> Value:
    ok = logical_not(isnan(x))
    return ok if where is None or where is True else binary.logical_and(ok, where)


def nanmean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, where: Any = None) -> Value:
    """``mean`` ignoring NaN."""
    x = as_value(a)
    return mean(nan_as(x, 0), axis, dtype, None, keepdims, where=_valid(x, where))


def nanvar(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False, where: Any = None, mean: Any = None
) -> Value:
    """``var`` ignoring NaN (NaN where no more than ``ddof`` numbers are left)."""
    x = as_value(a)
    valid = _valid(x, where)
    out = var(nan_as(x, 0), axis, dtype, None, ddof, keepdims, where=valid, mean=mean)
    enough = binary.greater(sum_(valid, axis, keepdims=keepdims), ddof)
    return p.select(enough, out, filled(out.shape, np.nan, out.dtype))


def nanstd(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False, where: Any = None, mean: Any = None
) -> Value:
    """``std`` ignoring NaN."""
    return p.sqrt(nanvar(a, axis, dtype, None, ddof, keepdims, where, mean))


# ------------------------------------------------------------------------------------- order statistics


def _nearest(low: Value, w: Value, a: Value, b: Value) -> Value:
    """The nearer of two neighbours; halfway between them, the one with the even position."""
    half, two = constant(w, 0.5), constant(low, 2)
    even = p.eq(p.rem(low, two), constant(low, 0))
    return p.select(p.bitwise_or(p.gt(w, half), p.bitwise_and(p.eq(w, half), p.bitwise_not(even))), b, a)


# how two neighbours a, b and the weight w of the second become a quantile; ``low`` is the position of the first
_METHODS: dict[str, Callable[[Value, Value, Value, Value], Value]] = {
    "linear": lambda low, w, a, b: p.add(p.mul(a, p.sub(constant(w, 1), w)), p.mul(b, w)),
    "lower": lambda low, w, a, b: a,
    "higher": lambda low, w, a, b: b,
    "midpoint": lambda low, w, a, b: p.mul(p.add(a, b), constant(a, 0.5)),
    "nearest": _nearest,
}


def _quantile(a: Any, q: Any, axis: Any, method: str, keepdims: bool, ignore_nan: bool) -> Value:
    if method not in _METHODS:
        raise ValueError(f"method must be {', '.join(_METHODS)}; found {method!r}")
    x = as_value(a)
    if dtypes.is_complex(x.dtype):
        raise DTypeError("quantiles of complex arrays are not defined")
    d = inexact(x.dtype)
    wide = _wide(d)
    x, q = as_type(x, wide), as_typed(q, wide)
    axes = canonical_axes(axis, x.ndim)
    kept = tuple([i for i in range(x.ndim) if i not in axes])
    lead = tuple([x.shape[i] for i in kept])
    n = math.prod(x.shape[i] for i in axes)
    if n == 0:
        raise ShapeError(f"a quantile of an empty axis has no value (shape {x.shape}, axis {axis})")
    x = sorting.sort(shaping.reshape(shaping.transpose(x, (*kept, *axes)), (*lead, n)), -1)
    k, nans = len(lead), isnan(x)
    qs = shaping.broadcast_in_dim(shaping.reshape(q, (q.size,)), (*lead, q.size), (k,))
    if ignore_nan:
        last = sum_(as_type(p.bitwise_not(nans), wide), -1, keepdims=True)
        last = broadcast_value(p.max(p.sub(last, constant(last, 1)), constant(last, 0)), qs.shape)
        position = p.mul(qs, last)
    else:
        position = p.mul(qs, constant(qs, n - 1))
    low, high = p.floor(position), p.ceil(position)
    first, second = (take_along(x, as_type(i, np.int32), k, mode="clip") for i in (low, high))
    w = p.sub(position, low)
    # without the exact case, an infinity would meet the weight 0
    out = p.select(p.eq(w, constant(w, 0)), first, _METHODS[method](low, w, first, second))
    bad = r.reduce_and(nans, (k,)) if ignore_nan else r.reduce_or(nans, (k,))
    out = p.select(broadcast_value(shaping.expand_dims(bad, (k,)), out.shape), constant(out, np.nan), out)
    out = shaping.reshape(shaping.transpose(out, (k, *range(k))), (*q.shape, *lead))
    out = shaping.expand_dims(out, tuple([q.ndim + i for i in axes])) if keepdims else out
    return as_type(out, d)


def quantile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False) -> Value:
    """The q-th quantile (0 <= q <= 1) along ``axis``; NaN if there is one."""
    return _quantile(a, q, axis, method, keepdims, False)


def _part_of(q: Any) -> Any:
    """Percents as parts of 1."""
    n = operand(q)
    return (n.data / 100).tolist() if type(n) is Numbers else binary.divide(n, 100.0)


def percentile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False) -> Value:
    """The q-th percentile (0 <= q <= 100) along ``axis``; NaN if there is one."""
    return _quantile(a, _part_of(q), axis, method, keepdims, False)


def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Value:
    """The middle value along ``axis`` (the mean of the two middle ones)."""
    return _quantile(a, 0.5, axis, "midpoint", keepdims, False)


def nanquantile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False) -> Value:
    """``quantile`` ignoring NaN."""
    return _quantile(a, q, axis, method, keepdims, True)


def nanpercentile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False) -> Value:
    """``percentile`` ignoring NaN."""
    return _quantile(a, _part_of(q), axis, method, keepdims, True)


def nanmedian(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Value:
    """``median`` ignoring NaN."""
    return _quantile(a, 0.5, axis, "midpoint", keepdims, True)
