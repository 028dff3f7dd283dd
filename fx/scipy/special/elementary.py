"""Functions of ``scipy.special`` that follow from others by a formula without cancellation, and distribution functions made of
the incomplete gamma and beta functions."""

from __future__ import annotations

import math
from typing import Any

from ... import numpy as fnp
from ...numpy.series import horner
from ...primitives.elementwise import digamma
from .core import Value, special
from .error_functions import ndtri
from .gamma_functions import gamma
from .incomplete import betainc, gammainc, gammaincc

__all__ = [
    "bdtr", "bdtrc", "chdtr", "chdtrc", "cosm1", "erfcinv", "exp10", "exprel", "fdtr", "fdtrc", "gdtr", "gdtrc", "huber", "inv_boxcox",
    "inv_boxcox1p", "log_expit", "pdtr", "pdtrc", "pseudo_huber", "rgamma", "stdtr",
]  # fmt: skip


# ------------------------------------------------------------------------------------ exponentials


@special(lambda out, x: math.log(10) * out)
def exp10(x: Any) -> Value:
    """10**x"""
    return fnp.power(10.0, x)


@special(lambda out, x: -fnp.sin(x))
def cosm1(x: Any) -> Value:
    """cos(x) - 1 = -2 sin(x/2)**2"""
    half = fnp.sin(0.5 * x)
    return -2 * half * half


def _exprel_slope(out: Value, x: Value) -> Value:
    """(exp(x) - exprel(x)) / x, near 0 by its series sum_k x**k / (k! (k + 2))."""
    near = fnp.abs(x) < 1
    series = horner([1 / (math.factorial(k) * (k + 2)) for k in range(18)][::-1], fnp.where(near, x, 0))
    return fnp.where(near, series, (fnp.exp(x) - out) / fnp.where(near, 1, x))


@special(_exprel_slope)
def exprel(x: Any) -> Value:
    """(exp(x) - 1) / x, 1 at 0."""
    zero, infinite = x == 0, x == fnp.inf
    return fnp.where(zero, 1, fnp.where(infinite, x, fnp.expm1(x) / fnp.where(zero | infinite, 1, x)))


@special(lambda out, x: 1 / (1 + fnp.exp(x)))
def log_expit(x: Any) -> Value:
    """log(expit(x)) = min(x, 0) - log(1 + exp(-|x|))"""
    return fnp.minimum(x, 0) - fnp.log1p(fnp.exp(-fnp.abs(x)))


@special(lambda out, x: -0.5 * math.sqrt(math.pi) * fnp.exp(out * out))
def erfcinv(y: Any) -> Value:
    """The x with erfc(x) = y, 0 <= y <= 2: accurate for small y, where erfinv(1 - y) is not."""
    return -ndtri(0.5 * y) * math.sqrt(0.5)


def _rgamma_slope(out: Value, x: Value) -> Value:
    """-digamma(x) / gamma(x); at the pole -n of gamma (-1)**n n!."""
    pole = (x <= 0) & (x == fnp.floor(x))
    inside = fnp.where(pole, 1, x)
    sign = 1 - 2 * fnp.remainder(x, 2)
    return fnp.where(pole, sign * gamma(fnp.where(pole, 1 - x, 1)), -fnp.where(pole, 0, out) * digamma(inside))


@special(_rgamma_slope)
def rgamma(x: Any) -> Value:
    """1 / gamma(x), 0 at the poles of gamma."""
    pole = (x <= 0) & (x == fnp.floor(x))
    return fnp.where(pole, 0, 1 / gamma(fnp.where(pole, 1, x)))


# ------------------------------------------------------------------------------- losses, transforms


@special()
def huber(delta: Any, r: Any) -> Value:
    """r**2 / 2 for |r| <= delta, delta (|r| - delta / 2) beyond; infinite for delta < 0."""
    size = fnp.abs(r)
    return fnp.where(delta < 0, fnp.inf, fnp.where(size <= delta, 0.5 * r * r, delta * (size - 0.5 * delta)))


@special()
def pseudo_huber(delta: Any, r: Any) -> Value:
    """delta**2 (sqrt(1 + (r / delta)**2) - 1), 0 for delta = 0; infinite for delta < 0."""
    none = (delta == 0) | (r == 0)
    u = r / fnp.where(delta == 0, 1, delta)
    value = fnp.where(none, 0, r * r / (1 + fnp.sqrt(1 + u * u)))
    return fnp.where(delta < 0, fnp.inf, value)


@special()
def inv_boxcox(y: Any, lmbda: Any) -> Value:
    """(1 + lmbda y)**(1 / lmbda), exp(y) for lmbda = 0: the inverse of ``boxcox``."""
    zero = lmbda == 0
    return fnp.exp(fnp.where(zero, y, fnp.log1p(lmbda * y) / fnp.where(zero, 1, lmbda)))


@special()
def inv_boxcox1p(y: Any, lmbda: Any) -> Value:
    """``inv_boxcox(y, lmbda) - 1``, the inverse of ``boxcox1p``."""
    zero = lmbda == 0
    return fnp.expm1(fnp.where(zero, y, fnp.log1p(lmbda * y) / fnp.where(zero, 1, lmbda)))


# --------------------------------------------------------------------------- distribution functions


@special()
def chdtr(v: Any, x: Any) -> Value:
    """P(X <= x) for the chi-squared distribution with v degrees of freedom."""
    return gammainc(0.5 * v, 0.5 * x)


@special()
def chdtrc(v: Any, x: Any) -> Value:
    """1 - chdtr(v, x)"""
    return gammaincc(0.5 * v, 0.5 * x)


@special()
def gdtr(a: Any, b: Any, x: Any) -> Value:
    """P(X <= x) for the gamma distribution with rate a and shape b."""
    return gammainc(b, a * x)


@special()
def gdtrc(a: Any, b: Any, x: Any) -> Value:
    """1 - gdtr(a, b, x)"""
    return gammaincc(b, a * x)


@special()
def pdtr(k: Any, m: Any) -> Value:
    """P(X <= k) for the Poisson distribution with mean m."""
    return gammaincc(fnp.floor(k) + 1, m)


@special()
def pdtrc(k: Any, m: Any) -> Value:
    """1 - pdtr(k, m)"""
    return gammainc(fnp.floor(k) + 1, m)


@special()
def bdtr(k: Any, n: Any, p: Any) -> Value:
    """P(X <= k) for n trials of probability p, 0 <= k <= n."""
    k = fnp.floor(k)
    all_of_them = k == n
    return fnp.where(all_of_them, 1, betainc(fnp.where(all_of_them, 1, n - k), k + 1, 1 - p))


@special()
def bdtrc(k: Any, n: Any, p: Any) -> Value:
    """1 - bdtr(k, n, p)"""
    k = fnp.floor(k)
    all_of_them = k == n
    return fnp.where(all_of_them, 0, betainc(k + 1, fnp.where(all_of_them, 1, n - k), p))


@special()
def fdtr(dfn: Any, dfd: Any, x: Any) -> Value:
    """P(X <= x) for the F distribution with dfn and dfd degrees of freedom."""
    return betainc(0.5 * dfn, 0.5 * dfd, dfn * x / (dfd + dfn * x))


@special()
def fdtrc(dfn: Any, dfd: Any, x: Any) -> Value:
    """1 - fdtr(dfn, dfd, x)"""
    return betainc(0.5 * dfd, 0.5 * dfn, dfd / (dfd + dfn * x))


@special()
def stdtr(df: Any, t: Any) -> Value:
    """P(X <= t) for Student's t distribution with df degrees of freedom.

    By the shorter of the two arguments of the incomplete beta function, df / (df + t**2) or t**2 / (df + t**2), so that
    neither tail nor centre loses accuracy.
    """
    square = t * t
    wide = square > df
    tail = betainc(0.5 * df, 0.5, fnp.where(wide, df / (df + square), 0.5))
    centre = betainc(0.5, 0.5 * df, fnp.where(wide, 0.5, square / (df + square)))
    half = 0.5 * fnp.where(wide, tail, 1 - centre)
    return fnp.where(t < 0, half, 1 - half)
