"""Logistic functions, products with logarithms, entropies and the Box-Cox transformation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import numpy as fnp
from ...primitives import elementwise as p
from .core import Value, log1p_less, special

__all__ = ["boxcox", "boxcox1p", "entr", "expit", "kl_div", "logit", "rel_entr", "xlog1py", "xlogy"]


@special(complex_too=True)
def expit(x: Any) -> Value:
    """Logistic function 1 / (1 + exp(-x))."""
    return p.logistic(x)


@special()
def logit(x: Any) -> Value:
    """log(x / (1 - x)), the inverse of ``expit``."""
    return fnp.log(x) - fnp.log1p(-x)


def _product(x: Value, log: Value, y: Value) -> Value:
    """x * log, and 0 where x is 0 (unless y is NaN)."""
    zero = (x == 0) & ~fnp.isnan(y)
    return fnp.where(zero, 0, x * fnp.where(zero, 1, log))


@special(lambda out, x, y: fnp.log(y), lambda out, x, y: x / y, complex_too=True)
def xlogy(x: Any, y: Any) -> Value:
    """x log(y), and 0 for x = 0."""
    return _product(x, fnp.log(y), y)


@special(lambda out, x, y: fnp.log1p(y), lambda out, x, y: x / (1 + y), complex_too=True)
def xlog1py(x: Any, y: Any) -> Value:
    """x log(1 + y), and 0 for x = 0."""
    return _product(x, fnp.log1p(y), y)


@special()
def entr(x: Any) -> Value:
    """-x log(x); 0 for x = 0 and -inf for x < 0."""
    return fnp.where(x < 0, -np.inf, -xlogy(x, fnp.where(x < 0, 1, x)))


def _positive(p: Value, q: Value) -> tuple[Value, Value, Value, Value]:
    """Where both are positive, them there (1 elsewhere), and what a divergence is elsewhere without its linear terms."""
    inside = (p > 0) & (q > 0)
    outside = fnp.where((p == 0) & (q >= 0), 0.0, np.inf).astype(p.dtype)
    return inside, fnp.where(inside, p, 1), fnp.where(inside, q, 1), outside


def _log_ratio(p: Value, q: Value) -> Value:
    """log(p / q), accurate where they are close."""
    ratio = p / q
    near = (ratio > 0.5) & (ratio < 2)
    return fnp.where(near, fnp.log1p(fnp.where(near, (p - q) / q, 0)), fnp.log(p) - fnp.log(q))


@special(lambda out, p, q: _log_ratio(p, q) + 1, lambda out, p, q: -p / q)
def rel_entr(p: Any, q: Any) -> Value:
    """p log(p / q); 0 for p = 0 and q >= 0, and inf outside."""
    inside, p, q, outside = _positive(p, q)
    return fnp.where(inside, p * _log_ratio(p, q), outside)


@special(lambda out, p, q: _log_ratio(p, q), lambda out, p, q: 1 - p / q)
def kl_div(p: Any, q: Any) -> Value:
    """p log(p / q) - p + q; q for p = 0 and q >= 0, and inf outside.

    It is p (u - log(1 + u)) with u = (q - p) / p, which does not cancel where p and q are close.
    """
    inside, x, y, outside = _positive(p, q)
    return fnp.where(inside, -x * log1p_less((y - x) / x, y / x), fnp.where(p == 0, outside + q, outside))


def _power_transform(log: Value, lmbda: Value) -> Value:
    """(exp(lmbda log) - 1) / lmbda, and its limit for lmbda = 0."""
    flat = lmbda == 0
    power = fnp.where(flat, 1, lmbda)
    return fnp.where(flat, log, fnp.expm1(power * log) / power)


def _power_slope(log: Value, lmbda: Value) -> Value:
    """The derivative of ``_power_transform`` with respect to lmbda, with u = lmbda log: log**2 ((u - 1) e**u + 1) / u**2.

    Its Taylor series sum_k (k + 1) u**k / (k + 2)! where the difference would cancel.
    """
    u = lmbda * log
    near = fnp.abs(u) < 0.5
    small, safe = fnp.where(near, u, 0), fnp.where(near, 1, u)
    series, factor = 0.5, 0.5
    term = fnp.ones_like(u)
    for k in range(1, 16):
        factor /= k + 2
        term = term * small
        series = series + (k + 1) * factor * term
    return log * log * fnp.where(near, series, ((safe - 1) * fnp.exp(safe) + 1) / (safe * safe))


@special(
    lambda out, x, lmbda: p.pow(x, lmbda - 1),
    lambda out, x, lmbda: _power_slope(fnp.log(x), lmbda),
)
def boxcox(x: Any, lmbda: Any) -> Value:
    """Box-Cox transformation (x**lmbda - 1) / lmbda, log(x) for lmbda = 0; NaN for x < 0."""
    return _power_transform(fnp.log(x), lmbda)


@special(
    lambda out, x, lmbda: fnp.exp((lmbda - 1) * fnp.log1p(x)),
    lambda out, x, lmbda: _power_slope(fnp.log1p(x), lmbda),
)
def boxcox1p(x: Any, lmbda: Any) -> Value:
    """Box-Cox transformation of 1 + x, accurate for small x."""
    return _power_transform(fnp.log1p(x), lmbda)
