"""Order statistics: median, quantile, percentile, and the same ignoring NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import (
    ArgumentError,
    DTypeError,
    ShapeError,
)
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives import joining, shaping, sorting
from ..primitives import reductions as r
from ..primitives.cumulative import cumsum
from ..primitives.gather_scatter import take_along
from . import binary
from .axes import canonical_axes
from .core import Numbers, Value, as_type, as_typed, as_value, broadcast_value, filled, inexact, operand
from .reductions import sum as sum_
from .unary import constant, isnan

__all__ = ["median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile"]


def _linear(low: Value, w: Value, a: Value, b: Value) -> Value:
    return p.add(p.mul(a, p.sub(constant(w, 1), w)), p.mul(b, w))


def _nearest(low: Value, w: Value, a: Value, b: Value) -> Value:
    """The nearer of two neighbours; halfway between them, the one with the even position."""
    half, two = constant(w, 0.5), constant(low, 2)
    odd = p.ne(p.rem(low, two), constant(low, 0))
    return p.select(p.bitwise_or(p.gt(w, half), p.bitwise_and(p.eq(w, half), odd)), b, a)


# how two neighbours a, b and the weight w of the second become a quantile; ``low`` is the position of the first
_BETWEEN: dict[str, Callable[[Value, Value, Value, Value], Value]] = {
    "linear": _linear,
    "lower": lambda low, w, a, b: a,
    "higher": lambda low, w, a, b: b,
    "midpoint": lambda low, w, a, b: p.mul(p.add(a, b), constant(a, 0.5)),
    "nearest": _nearest,
}
# alpha and beta of the position n q + alpha + q (1 - alpha - beta) among n sorted numbers (Hyndman and Fan, 1996)
_POSITIONS = {
    "interpolated_inverted_cdf": (0, 1),
    "hazen": (1 / 2, 1 / 2),
    "weibull": (0, 0),
    "median_unbiased": (1 / 3, 1 / 3),
    "normal_unbiased": (3 / 8, 3 / 8),
}
_METHODS = (*_BETWEEN, *_POSITIONS, "inverted_cdf")


def _quantile(a: Any, q: Any, axis: Any, method: str, keepdims: bool, ignore_nan: bool, weights: Any = None) -> Value:
    if method not in _METHODS:
        raise ArgumentError(f"method must be {', '.join(_METHODS)}; found {method!r}")
    if weights is not None and method != "inverted_cdf":
        raise ArgumentError(f"weights go with method='inverted_cdf', not {method!r}")
    x = as_value(a)
    if dtypes.is_complex(x.dtype):
        raise DTypeError("quantiles of complex arrays are not defined")
    d = inexact(x.dtype)
    wide = dtypes.float32 if d.itemsize == 2 else d
    x, q = as_type(x, wide), as_typed(q, wide)
    axes = canonical_axes(axis, x.ndim)
    if weights is not None:
        weights = _fitted(as_typed(weights, wide), x.shape, axes)
    n = math.prod(x.shape[i] for i in axes)
    if n == 0:
        raise ShapeError(f"a quantile of an empty axis has no value (shape {x.shape}, axis {axis})")
    x = _together(x, axes, n)
    lead, k = x.shape[:-1], x.ndim - 1
    w = filled(x.shape, 1, wide) if weights is None else _together(weights, axes, n)
    if method == "inverted_cdf":
        x, w = sorting.sort((x, w), -1) if weights is not None else (sorting.sort(x, -1), w)
    nan = isnan(x)
    qs = shaping.broadcast_in_dim(shaping.reshape(q, (q.size,)), (*lead, q.size), (k,))
    if method == "inverted_cdf":
        out = _by_weight(x, p.select(nan, constant(w, 0), w), qs)
    else:
        out = _between(
            x, qs, sum_(as_type(p.bitwise_not(nan), wide), -1, keepdims=True) if ignore_nan else None, method
        )
    bad = r.reduce_and(nan, (k,)) if ignore_nan else r.reduce_or(nan, (k,))
    out = p.select(broadcast_value(shaping.expand_dims(bad, (k,)), out.shape), constant(out, np.nan), out)
    out = shaping.reshape(shaping.transpose(out, (k, *range(k))), (*q.shape, *lead))
    out = shaping.expand_dims(out, tuple([q.ndim + i for i in axes])) if keepdims else out
    return as_type(out, d)


def _together(x: Value, axes: tuple[int, ...], n: int) -> Value:
    """The axes as one, the last."""
    kept = tuple([i for i in range(x.ndim) if i not in axes])
    return shaping.reshape(shaping.transpose(x, (*kept, *axes)), (*[x.shape[i] for i in kept], n))


def _fitted(w: Value, shape: tuple[int, ...], axes: tuple[int, ...]) -> Value:
    """Weights of the shape of the array, or of the axes, in the shape of the array."""
    if w.shape == shape:
        return w
    if w.shape != tuple([shape[i] for i in axes]):
        raise ShapeError(f"weights of shape {w.shape} do not fit an array of shape {shape} along the axes {axes}")
    return shaping.broadcast_in_dim(w, shape, axes)


def _between(x: Value, q: Value, count: Value | None, method: str) -> Value:
    """Interpolates between neighbours of lines, were they sorted; ``count``: how many of each line are numbers."""
    k, n, m = x.ndim - 1, x.shape[-1], q.shape[-1]
    total = constant(q, n) if count is None else broadcast_value(count, q.shape)
    last = p.max(p.sub(total, constant(q, 1)), constant(q, 0))
    if method in _POSITIONS:
        alpha, beta = _POSITIONS[method]
        place = p.add(p.mul(total, q), p.add(p.mul(q, constant(q, 1 - alpha - beta)), constant(q, alpha - 1)))
        place = p.min(p.max(place, constant(q, 0)), last)
    else:
        place = p.mul(q, last)
    low = p.floor(place)
    both = joining.concatenate([as_type(i, np.int32) for i in (low, p.ceil(place))], k)
    found = sorting.order_statistic(x, both)
    first, second = (joining.slice_in_dim(found, i * m, (i + 1) * m, axis=k) for i in range(2))
    w = p.sub(place, low)
    # without the exact case, an infinity would meet the weight 0
    return p.select(p.eq(w, constant(w, 0)), first, _BETWEEN.get(method, _linear)(low, w, first, second))


def _by_weight(x: Value, w: Value, q: Value) -> Value:
    """The first of the sorted elements at which the weights so far reach the part q of all."""
    k, n = x.ndim - 1, x.shape[-1]
    so_far = cumsum(w, k)
    target = p.mul(q, broadcast_value(joining.slice_in_dim(so_far, n - 1, n, axis=k), q.shape))
    shape = (*q.shape, n)
    below = p.lt(
        broadcast_value(shaping.expand_dims(so_far, (k,)), shape),
        broadcast_value(shaping.expand_dims(target, (k + 1,)), shape),
    )
    return take_along(x, sum_(below, k + 1, dtype=np.int32), k, mode="clip")


@planned
def quantile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False, *,
    weights: Any = None,
) -> Value:  # fmt: skip
    """The q-th quantile (0 <= q <= 1) along ``axis``; NaN if there is one.

    A q outside of [0, 1] counts as the nearest of the two, as in JAX, since a traced q cannot be refused; NumPy raises.

    Args:
        method: what to do between two elements: "linear", "lower", "higher", "midpoint", "nearest"; or one of the
            other positions of Hyndman and Fan, "inverted_cdf" among them, which takes ``weights``.
    """
    return _quantile(a, q, axis, method, keepdims, False, weights)


def _part_of(q: Any) -> Any:
    """Percents as parts of 1."""
    n = operand(q)
    return (n.data / 100).tolist() if type(n) is Numbers else binary.divide(n, 100.0)


@planned
def percentile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False, *,
    weights: Any = None, out_sharding: Any = None,
) -> Value:  # fmt: skip
    """The q-th percentile (0 <= q <= 100) along ``axis``, as ``quantile``."""
    return _quantile(a, _part_of(q), axis, method, keepdims, False, weights)


@planned
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Value:
    """The middle value along ``axis`` (the mean of the two middle ones)."""
    return _quantile(a, 0.5, axis, "midpoint", keepdims, False)


@planned
def nanquantile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False, *,
    weights: Any = None,
) -> Value:  # fmt: skip
    """``quantile`` ignoring NaN (NaN if there is nothing else)."""
    return _quantile(a, q, axis, method, keepdims, True, weights)


@planned
def nanpercentile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False, *,
    weights: Any = None,
) -> Value:  # fmt: skip
    """``percentile`` ignoring NaN (NaN if there is nothing else)."""
    return _quantile(a, _part_of(q), axis, method, keepdims, True, weights)


@planned
def nanmedian(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False
) -> Value:
    """``median`` ignoring NaN (NaN if there is nothing else)."""
    return _quantile(a, 0.5, axis, "midpoint", keepdims, True)
