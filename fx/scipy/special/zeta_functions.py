"""Zeta functions and what belongs to them: Bernoulli numbers, derivatives of digamma."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import numpy as fnp
from ...api import jvp
from ...config import config
from ...errors import (
    ArgumentError,
    MissingRuleError,
)
from ...primitives import elementwise as p
from .core import Value, if_any, repeat, special
from .gamma_functions import gamma, gamma_right

__all__ = ["bernoulli", "polygamma", "zeta"]

_SHIFT, _CORRECTIONS = 10, 12


def bernoulli_numbers(n: int) -> list[float]:
    """B_0 ... B_n, exactly rounded, from the integer tangent numbers.

    Source: Brent and Harvey, "Fast computation of Bernoulli, tangent and secant numbers" (2011).
    """
    half = n // 2
    tangent = [0, 1] + [0] * max(half - 1, 0)
    for k in range(2, half + 1):
        tangent[k] = (k - 1) * tangent[k - 1]
    for k in range(2, half + 1):
        for j in range(k, half + 1):
            tangent[j] = (j - k) * tangent[j - 1] + (j - k + 2) * tangent[j]
    numbers = [1.0, -0.5] + [0.0] * max(n - 1, 0)
    for k in range(1, half + 1):
        four = 4**k
        try:
            numbers[2 * k] = (-1) ** (k - 1) * (2 * k * tangent[k]) / (four * (four - 1))
        except OverflowError:
            numbers[2 * k] = (-1) ** (k - 1) * math.inf
    return numbers[: n + 1]


def bernoulli(n: int) -> Value:
    """The Bernoulli numbers B_0 ... B_n, with B_1 = -1/2.

    Args:
        n: Python integer.

    >>> bernoulli(4)
    Array([ 1.        , -0.5       ,  0.16666667,  0.        , -0.03333334], dtype=float32)
    """
    if n < 0:
        raise ArgumentError(f"bernoulli: n={n} must not be negative")
    with np.errstate(over="ignore"):
        return fnp.asarray(np.array(bernoulli_numbers(n)).astype(config.default_float))


_BERNOULLI_RATIOS = [
    b / math.factorial(2 * k) for k, b in enumerate(bernoulli_numbers(2 * _CORRECTIONS)[2::2], start=1)
]


def hurwitz(s: Value, q: Value, unit: Value | None = None) -> Value:
    """sum_{n >= 0} (n + q)**-s for q > 0 by Euler and Maclaurin's formula, which continues it to 0 <= s < 1.

    With a ``unit``, unit**s times that, where the sum itself would underflow.
    """

    def power(v: Value) -> Value:
        return fnp.power(v, -s) if unit is None else fnp.power(unit / v, s)

    s, q = fnp.broadcast_arrays(s, q)
    (total,) = repeat(_SHIFT - 1, lambda k, total: (total + power(q + k),), power(q))
    a = q + _SHIFT
    last, inverse = power(a), 1 / a
    total = total + last * (a / (s - 1) + 0.5)
    term, square = last * s * inverse, inverse * inverse
    for k, ratio in enumerate(_BERNOULLI_RATIOS, start=1):
        total = total + ratio * term
        term = term * (s + (2 * k - 1)) * (s + 2 * k) * square
    return total


def _zeta_slope_s(out: Value, s: Value, q: Value) -> Value:
    return jvp(lambda v: _zeta_values(v, q), (s,), (fnp.ones_like(s),))[1]


def _zeta_values(s: Value, q: Value) -> Value:
    """A negative q is led to (0, 1]: the terms before it are those of two more zeta functions."""
    s = fnp.minimum(s, 1e17)
    below = fnp.maximum(fnp.ceil(-q), 0)
    inside = q + below
    right = hurwitz(s, fnp.where(q > 0, q, inside))
    negative = q <= 0
    before = if_any(negative, _before_zero, s, fnp.where(negative, inside, 0.5), fnp.where(negative, below, 0))
    return right + fnp.where(negative, before, 0)


def _before_zero(s: Value, inside: Value, below: Value) -> Value:
    """The sum of the terms (inside - 1)**-s ... (inside - below)**-s, for whole s."""
    rest = 1 - inside
    first, last = hurwitz(s, fnp.stack([rest, rest + below]))
    return (1 - 2 * fnp.remainder(s, 2)) * (first - last)


@special(_zeta_slope_s, lambda out, s, q: -s * _hurwitz_zeta(s + 1, q))
def _hurwitz_zeta(s: Any, q: Any) -> Value:
    pole = (q <= 0) & (q == fnp.floor(q))
    real = (q > 0) | (s == fnp.floor(s))
    value = _zeta_values(fnp.where(s > 1, s, 2), fnp.where(pole, 1, q))
    value = fnp.where(pole, np.inf, fnp.where(real, value, np.nan))
    return fnp.where(s > 1, value, fnp.where(s == 1, np.inf, np.nan))


@special()
def _riemann_zeta(s: Any) -> Value:
    """For s < 0 by its reflection formula."""
    left = s < 0
    right = fnp.where(left, 1 - s, s)
    value = hurwitz(fnp.where(right == 1, 2, fnp.minimum(right, 1e17)), fnp.ones_like(s))
    half = 0.5 * s
    mirrored = p.pow(fnp.full_like(s, 2 * math.pi), s) / math.pi * fnp.sin(math.pi * (half - 2 * p.round(0.5 * half)))
    mirrored = mirrored * gamma(right) * value
    return fnp.where(s == 1, np.inf, fnp.where(left, mirrored, value))


def zeta(x: Any, q: Any = None) -> Value:
    """Hurwitz's zeta function, sum_{n >= 0} (n + q)**-x for x > 1; without q Riemann's, for every x.

    Args:
        x: exponent; NaN for x < 1 if there is a q.
        q: where the sum begins; inf at 0, -1, -2 ..., and at other negative numbers NaN unless x is an integer.
    """
    return _riemann_zeta(x) if q is None else _hurwitz_zeta(x, q)


def _no_slope(out: Value, n: Value, x: Value) -> Value:
    raise MissingRuleError("polygamma has no derivative with respect to its order n; pass n as an integer array")


@special(_no_slope, lambda out, n, x: polygamma(n + 1, x))
def polygamma(n: Any, x: Any) -> Value:
    """n-th derivative of digamma: (-1)**(n + 1) n! zeta(n + 1, x), and digamma for n = 0.

    Args:
        n: order, a whole number >= 0.
        x: array.
    """
    positive = n > 0
    sign = 2 * fnp.remainder(n, 2) - 1
    order = fnp.where(positive, n, 1)
    factor, value = gamma_right(order + 1), _hurwitz_zeta(order + 1, x)
    product = factor * value
    safe = (x <= 0) | ((value > float(np.finfo(x.dtype).tiny)) & (factor < np.inf))
    unit = fnp.where(safe, 1, x)
    scaled = if_any(~safe, lambda s, x: hurwitz(s, x, x), order + 1, unit)
    apart = fnp.exp(p.lgamma(order + 1) - (order + 1) * fnp.log(unit)) * scaled
    return fnp.where(positive, sign * fnp.where(safe, product, apart), p.digamma(x))
