"""Hypergeometric functions 1F1 and 2F1 of real arguments, as their power series after a transformation of the argument.

The series are summed to convergence; where they alternate (parameters of different signs) large terms may cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import numpy as fnp
from ...api import jvp
from ...primitives import elementwise as p
from .core import Value, special, sum_terms
from .gamma_functions import gamma

__all__ = ["hyp1f1", "hyp2f1"]


def _slope(kernel: Callable[..., Value], which: int) -> Callable[..., Value]:
    """The derivative with respect to one parameter, pushed forward through the series."""

    def slope(out: Value, *xs: Value) -> Value:
        f = lambda v: kernel(*xs[:which], v, *xs[which + 1 :])
        return jvp(f, (xs[which],), (fnp.ones_like(xs[which]),))[1]

    return slope


# -------------------------------------------------------------------------------------------------- 1F1


def _confluent(a: Value, b: Value, x: Value) -> Value:
    """By Kummer's transformation exp(x) 1F1(b - a, b, -x) for x < 0."""
    left = x < 0
    upper, at = fnp.where(left, b - a, a), fnp.abs(x)
    total = sum_terms(lambda k: (upper + (k - 1)) / (b + (k - 1)) * (at / k), x, 5000)
    return fnp.where((a == 0) & (b == 0), 1, fnp.where(left, fnp.exp(x) * total, total))


@special(_slope(_confluent, 0), _slope(_confluent, 1), lambda out, a, b, x: a / b * hyp1f1(a + 1, b + 1, x))
def hyp1f1(a: Any, b: Any, x: Any) -> Value:
    """Kummer's confluent hypergeometric function, sum_k (a)_k x**k / ((b)_k k!).

    It is 1 for a = b = 0.

    Args:
        a, b, x: real arrays.
    """
    return _confluent(a, b, x)


# -------------------------------------------------------------------------------------------------- 2F1

_NEAR_ONE, _NEAR_INTEGER = 0.9, 0.02


def _series(a: Value, b: Value, c: Value, x: Value) -> Value:
    return sum_terms(lambda k: (a + (k - 1)) * (b + (k - 1)) / (c + (k - 1)) * (x / k), x, 20000)


def _around_one(a: Value, b: Value, c: Value, y: Value) -> Value:
    """2F1 at 1 - y, of two series in y (Abramowitz and Stegun 15.3.6); c - a - b is no integer."""
    d = c - a - b
    g = gamma(fnp.stack([c, d, c - a, c - b, -d, a, b]))
    first = g[0] * g[1] / (g[2] * g[3])
    second = g[0] * g[4] / (g[5] * g[6])
    lower = _series(fnp.stack([a, c - a]), fnp.stack([b, c - b]), fnp.stack([1 - d, 1 + d]), fnp.stack([y, y]))
    return fnp.nan_to_num(first) * lower[0] + p.pow(y, d) * fnp.nan_to_num(second) * lower[1]


def _gauss(a: Value, b: Value, c: Value, x: Value) -> Value:
    """By Pfaff's transformation (1 - x)**-a 2F1(a, c - b; c; x / (x - 1)) for x < 0."""
    left = x < 0
    second = fnp.where(left, c - b, b)
    y = fnp.where(left, 1 / (1 - x), 1 - x)
    z = fnp.where(left, x / (x - 1), x)
    d = c - a - second
    inside = (x < 1) & fnp.isfinite(x)
    around = inside & (z > _NEAR_ONE) & (fnp.abs(d - p.round(d)) > _NEAR_INTEGER)
    plain = _series(a, second, c, fnp.where(inside & ~around, z, 0))
    near = _around_one(
        fnp.where(around, a, 0.25), fnp.where(around, second, 0.25), fnp.where(around, c, 1), fnp.where(around, y, 0.1)
    )
    value = fnp.where(around, near, plain) * fnp.where(left, p.pow(1 - fnp.where(left, x, 0), -a), 1)
    at_one = gamma(fnp.stack([c, c - a - b, c - a, c - b]))
    limit = fnp.where(c > a + b, at_one[0] * at_one[1] / (at_one[2] * at_one[3]), np.inf)
    return fnp.where(x == 1, limit, fnp.where(inside, value, np.nan))


@special(
    _slope(_gauss, 0),
    _slope(_gauss, 1),
    _slope(_gauss, 2),
    lambda out, a, b, c, x: a * b / c * hyp2f1(a + 1, b + 1, c + 1, x),
)
def hyp2f1(a: Any, b: Any, c: Any, x: Any) -> Value:
    """Gauss's hypergeometric function, sum_k (a)_k (b)_k x**k / ((c)_k k!), continued to x < -1; NaN for x > 1.

    Close to 1 it may not converge (NaN) if c - a - b is an integer.

    Args:
        a, b, c, x: real arrays.
    """
    return _gauss(a, b, c, x)
