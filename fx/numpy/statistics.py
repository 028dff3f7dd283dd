"""Moments: mean, average, var, std, cov, and the same ignoring NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives import joining, shaping
from ..sizes import Real, as_float
from . import binary
from .axes import canonical_axes
from .contraction import matmul
from .core import Value, as_type, as_value, broadcast_value, filled, inexact, operand, promote_dtype
from .matrices import diag
from .reductions import nan_as
from .reductions import sum as sum_
from .rounding import clip
from .unary import absolute, conjugate, constant, isnan, logical_not, real

__all__ = ["average", "corrcoef", "cov", "mean", "nanmean", "nanstd", "nanvar", "std", "var"]  # fmt: skip


# ------------------------------------------------------------------------------------------ moments


def _wide(d: np.dtype) -> np.dtype:
    """Half-precision moments are computed in float32."""
    return dtypes.float32 if dtypes.is_float(d) and d.itemsize == 2 else d


def _count(x: Value, axes: tuple[int, ...], keepdims: bool, where: Any, d: np.dtype) -> Value:
    """How many elements are averaged, as a number or (with ``where``) an array of dtype ``d``."""
    if where is None or where is True:
        return as_float(math.prod(x.shape[i] for i in axes))
    w = broadcast_value(as_type(as_value(where), np.bool_), x.shape)
    return sum_(as_type(w, d), axes, keepdims=keepdims)


@planned
def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = None
) -> Value:
    """The arithmetic mean along ``axis``; integers give floats."""
    x = as_value(a)
    d = dtypes.canonical(dtype) if dtype is not None else inexact(x.dtype)
    x = as_type(x, _wide(inexact(d)))
    axes = canonical_axes(axis, x.ndim)
    total = sum_(x, axes, keepdims=keepdims, where=where)
    return as_type(binary.divide(total, _count(x, axes, keepdims, where, x.dtype)), d)


@planned
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
            raise ShapeError(
                f"weights of shape {w.shape} do not fit an array of shape {x.shape} averaged along axis {axis}"
            )
        w = shaping.broadcast_in_dim(w, x.shape, axes)
    total = sum_(w, axis, keepdims=keepdims)
    avg = p.div(sum_(p.mul(x, w), axis, keepdims=keepdims), total)
    return (avg, total) if returned else avg


@planned
def var(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False, *, where: Any = None,
    mean: Any = None, correction: float | None = None,
) -> Value:  # fmt: skip
    """The variance along ``axis``: the mean squared distance from the mean, with ``ddof`` taken off the count.

    NaN where the count is no more than ``ddof``.
    """
    x = as_value(a)
    ddof = ddof if correction is None else correction
    d = dtypes.canonical(dtype) if dtype is not None else dtypes.real_dtype(inexact(x.dtype))
    if dtypes.is_complex(x.dtype) and dtypes.is_complex(d):
        d = dtypes.real_dtype(d)
    x = as_type(x, _wide(inexact(x.dtype)))
    axes = canonical_axes(axis, x.ndim)
    centre = _mean(x, axes, keepdims=True, where=where) if mean is None else as_value(mean)
    centred = binary.subtract(x, centre)
    square = (
        p.add(p.square(p.real(centred)), p.square(p.imag(centred)))
        if dtypes.is_complex(centred.dtype)
        else p.square(centred)
    )
    total = sum_(square, axes, keepdims=keepdims, where=where)
    n = _count(x, axes, keepdims, where, total.dtype)
    if isinstance(n, (float, Real)):
        return as_type(binary.divide(total, n - ddof if n > ddof else math.nan), d)
    left = binary.subtract(n, float(ddof))
    left = p.select(p.gt(left, constant(left, 0)), left, constant(left, math.nan))
    return as_type(binary.divide(total, left), d)


_mean = mean


@planned
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


@planned
def cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None, fweights: Any = None, aweights: Any = None,
    dtype: Any = None,
) -> Value:  # fmt: skip
    """The covariance matrix of variables (rows) over observations (columns).

    fweights: how often each observation was made.      aweights: its relative weight.
    """
    x = _observations(m, rowvar)
    x = x if dtype is None else as_type(x, dtype)
    if y is not None:
        other = _observations(y, rowvar)
        x = joining.concatenate(promote_dtype(x, other) if dtype is None else [x, as_type(other, x.dtype)], 0)
    n = x.shape[1]
    ddof = ddof if ddof is not None else 0 if bias else 1
    weights = [
        None if w is None else _weights(w, n, name) for w, name in ((fweights, "fweights"), (aweights, "aweights"))
    ]
    given = [as_type(w, x.dtype) for w in weights if w is not None]
    if not given:
        w, count = None, n - ddof
        centre = mean(x, 1, keepdims=True)
        scale: Any = as_float(max(count, 0))
    else:
        w = given[0] if len(given) == 1 else p.mul(*given)
        centre, sums = average(x, 1, w, returned=True, keepdims=True)
        total = real(shaping.reshape(joining.slice_in_dim(sums, 0, 1), ()))
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


@planned
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, dtype: Any = None) -> Value:
    """The matrix of correlation coefficients."""
    m = cov(x, y, rowvar, dtype=dtype)
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


@planned
def nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, where: Any = None
) -> Value:
    """``mean`` ignoring NaN."""
    x = as_value(a)
    return mean(nan_as(x, 0), axis, dtype, None, keepdims, where=_valid(x, where))


@planned
def nanvar(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
) -> Value:
    """``var`` ignoring NaN (NaN where no more than ``ddof`` numbers are left)."""
    x = as_value(a)
    return var(nan_as(x, 0), axis, dtype, None, ddof, keepdims, where=_valid(x, where), mean=mean)


@planned
def nanstd(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
) -> Value:
    """``std`` ignoring NaN."""
    return p.sqrt(nanvar(a, axis, dtype, None, ddof, keepdims, where, mean))
