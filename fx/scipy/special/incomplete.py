"""Incomplete gamma and beta functions, and the generalised exponential integral, which is one of the former.

Each is a prefactor (the integrand at the end of the range) times a slowly varying factor, for which every region of
the arguments has its own expansion with a fixed number of terms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import numpy as fnp
from ...api import jvp, stop_gradient
from ...errors import MissingRuleError
from ...lax.control_flow import scan
from ...numpy.series import chebyshev, horner
from ...primitives import elementwise as p
from .core import Value, gauss, if_any, log1p_excess, log1p_less, repeat, special, steps
from .gamma_functions import LARGE, gamma_small, gamma_star, log_beta
from .tables import LGAMMA_1, TEMME

__all__ = ["betainc", "expn", "gammainc", "gammaincc"]

# ---------------------------------------------------------------------------------------- incomplete gamma

_TEMME_FROM, _TEMME_WIDTH = 20.0, 0.4


_VANISHING = 1e3  # exp(-x) is 0, and x**LARGE a float32: larger x would give infinity times 0


def _times_exp(y: Value, x: Value) -> Value:
    """y exp(-x), in two steps: the exponential alone may be subnormal."""
    half = fnp.exp(-0.5 * x)
    return y * half * half


def _power(a: Value, x: Value) -> Value:
    """x**a exp(-x) / Gamma(a + 1)."""
    small, v = fnp.minimum(a, LARGE), fnp.minimum(x, _VANISHING)
    near = _times_exp(p.pow(v, small), v) / (small * gamma_small(small))
    large = fnp.maximum(a, LARGE)
    far = fnp.exp(large * log1p_less((x - large) / large, x / large)) / (
        fnp.sqrt(2 * math.pi * large) * gamma_star(large)
    )
    return fnp.where(a < LARGE, near, far)


def _lower_series(a: Value, x: Value) -> Value:
    """P(a, x) / _power for x <= a (x < 0.6 a for large a) or x <= 1.1: sum_n x**n / ((a + 1) ... (a + n))."""
    one = fnp.ones_like(x)

    def body(k: Value, term: Value, total: Value) -> tuple[Value, Value]:
        term = term * (x / (a + k))
        return term, total + term

    return repeat(steps(x, 35, 72), body, one, one)[1]


def _upper_fraction(a: Value, x: Value) -> Value:
    """Gamma(a, x) exp(x) / x**a for x >= 1 beyond a, by Legendre's continued fraction from its end (DLMF 8.9.2)."""
    n = steps(x, 30, 90)
    last = x + (2 * n + 1) - a
    return 1 / repeat(n, lambda k, f: ((x + (2 * k - 1) - a) + k * (a - k) / f,), last, down=True)[0]


def _upper_series(a: Value, x: Value) -> Value:
    """Q(a, x) for small a and x <= 1.1, where 1 - P would cancel."""
    log = fnp.log(x)
    small = fnp.minimum(a, 0.5)
    lgamma1p = fnp.where(a <= 0.5, small * chebyshev(LGAMMA_1, 2 * small - 1), p.lgamma(1 + a))
    total, term = fnp.zeros_like(x), fnp.ones_like(x)
    for k in range(1, steps(x, 11, 20)):
        term = term * (x * (-1 / k))
        total = total + term / (a + k)
    return -fnp.expm1(a * log - lgamma1p) - a * fnp.exp(a * log - lgamma1p) * total


def _temme(a: Value, x: Value) -> tuple[Value, Value]:
    """P and Q for a >= 20 and |x - a| < 0.4 a: an error function and an expansion in 1/a, uniform around x = a (DLMF 8.12).

    Source: Temme, "The asymptotic expansion of the incomplete gamma functions", SIAM J. Math. Anal. 10 (1979).
    """
    u = (x - a) / a
    excess = -2 * log1p_excess(u)
    eta = u * fnp.sqrt(excess)
    inverse = 1 / a
    least = float(np.finfo(x.dtype).eps) / 16
    total = fnp.zeros_like(x)
    for k, row in reversed(list(enumerate(TEMME))):
        count = sum(abs(c) * 0.48**n * _TEMME_FROM**-k > least for n, c in enumerate(row))
        if count:
            total = total * inverse + horner(row[: max(count, 2)][::-1], eta)
    density = fnp.exp(-0.5 * a * (u * u * excess)) / fnp.sqrt(2 * math.pi * a) * total
    deviation = eta * fnp.sqrt(0.5 * a)
    return 0.5 * p.erfc(-deviation) - density, 0.5 * p.erfc(deviation) + density


def _inside(condition: Value, a: Value, x: Value, at: tuple[float, float]) -> tuple[Value, Value]:
    """The arguments where the condition holds, harmless ones elsewhere."""
    return fnp.where(condition, a, at[0]), fnp.where(condition, x, at[1])


def _incomplete_gamma(a: Value, x: Value, upper: bool) -> Value:
    """P(a, x), or Q(a, x), for finite a, x > 0."""
    near = (a >= _TEMME_FROM) & (fnp.abs(x - a) < _TEMME_WIDTH * a)
    uniform = if_any(near, lambda a, x: _temme(a, x)[upper], *_inside(near, a, x, (_TEMME_FROM, _TEMME_FROM)))
    if upper:
        log = fnp.log(fnp.minimum(x, 0.5))
        small = fnp.where(x <= 0.5, a <= -0.4 / log, a <= 1.1 * x) & (x <= 1.1)
        rising = ((x <= 1.1) & ~small) | (x <= a)
    else:
        rising = (x <= 1) | (x <= a)
    power = _power(a, x)
    rises, falls = rising & ~near, ~rising & ~near & (x > 1)
    lower = power * if_any(rises, _lower_series, *_inside(rises, a, x, (1.0, 1.0)))
    falling = _inside(falls, a, x, (1.0, 2.0))
    beyond = power * falling[0] * if_any(falls, _upper_fraction, *falling)
    if not upper:
        return fnp.where(near, uniform, fnp.where(rising, lower, 1 - beyond))
    first = _upper_series(*_inside(small, a, x, (0.5, 0.5)))
    return fnp.where(near, uniform, fnp.where(small, first, fnp.where(rising, 1 - lower, beyond)))


def _gamma_limits(a: Value, x: Value, upper: bool) -> Value:
    """``_incomplete_gamma``, and its limits at 0 and inf; NaN for negative arguments, and where both are 0 or inf."""
    ordinary = (a > 0) & (x > 0) & fnp.isfinite(a) & fnp.isfinite(x)
    value = _incomplete_gamma(*_inside(ordinary, a, x, (1.0, 1.0)), upper)
    one = ((a == 0) & (x > 0)) | ((x == np.inf) & (a >= 0) & (a < np.inf))
    zero = ((x == 0) & (a > 0)) | ((a == np.inf) & (x >= 0) & (x < np.inf))
    limit = fnp.where(one, 0.0 if upper else 1.0, fnp.where(zero, 1.0 if upper else 0.0, np.nan)).astype(x.dtype)
    return fnp.where(ordinary, value, limit)


def gamma_density(a: Value, x: Value) -> Value:
    """x**(a - 1) exp(-x) / Gamma(a), the derivative of P(a, x) with respect to x."""
    small, v = fnp.minimum(a, LARGE), fnp.minimum(x, _VANISHING)
    near = _times_exp(p.pow(v, small - 1), v) / gamma_small(small)
    at = fnp.where(x > 0, x, 1)
    far = fnp.where(x > 0, a / at * _power(fnp.maximum(a, LARGE), at), 0)
    return fnp.where(a < LARGE, near, far)


@special()
def gammainc_grad_a(a: Any, x: Any) -> Value:
    """Derivative of ``gammainc`` with respect to a."""
    return jvp(lambda v: _gamma_limits(v, x, upper=False), (a,), (fnp.ones_like(a),))[1]


@special(lambda out, a, x: gammainc_grad_a(a, x), lambda out, a, x: gamma_density(a, x))
def gammainc(a: Any, x: Any) -> Value:
    """Regularised lower incomplete gamma function P(a, x): the integral of t**(a - 1) exp(-t) from 0 to x over gamma(a).

    Args:
        a: positive array.
        x: non-negative array.
    """
    return _gamma_limits(a, x, upper=False)


@special(lambda out, a, x: -gammainc_grad_a(a, x), lambda out, a, x: -gamma_density(a, x))
def gammaincc(a: Any, x: Any) -> Value:
    """Regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x), accurate where it is small.

    Args:
        a: positive array.
        x: non-negative array.
    """
    return _gamma_limits(a, x, upper=True)


@special()
def random_gamma_grad(a: Any, x: Any) -> Value:
    """Derivative of a gamma-distributed sample x with respect to its parameter a, at fixed probability P(a, x).

    -(dP / da) / (dP / dx); for x close to 0, where P = x**a / gamma(a + 1), it is x (digamma(a + 1) - log(x)) / a.
    """
    density = gamma_density(a, x)
    low = (x < 1e-8) | (density == 0)
    slope = gammainc_grad_a(a, fnp.where(low, 1, x)) / fnp.where(low, 1, density)
    start = x / a * (p.digamma(a + 1) - fnp.log(fnp.where(x > 0, x, 1)))
    return fnp.where(low, start, -slope)


# --------------------------------------------------------------------------------- exponential integral E_n


def _expn_series(n: Value, x: Value) -> Value:
    """E_n(x) for n >= 1, x <= 1 (Abramowitz and Stegun 5.1.12)."""
    total, term = fnp.zeros_like(x), fnp.ones_like(x)
    for k in range(steps(x, 12, 21)):
        gap = k + 1 - n
        total = total - fnp.where(gap == 0, 0, term / fnp.where(gap == 0, 1, gap))
        term = term * (x * (-1 / (k + 1)))
    sign = 1 - 2 * fnp.remainder(n - 1, 2)
    first = sign * fnp.exp((n - 1) * fnp.log(x) - p.lgamma(n))
    return first * (p.digamma(n) - fnp.log(x)) + total


def _expn_no_slope(out: Value, n: Value, x: Value) -> Value:
    raise MissingRuleError("expn has no derivative with respect to its order n; pass n as an integer array")


def _expn_slope(out: Value, n: Value, x: Value) -> Value:
    return -fnp.where(n >= 1, expn(fnp.maximum(n - 1, 0), x), fnp.exp(-x) * (1 / x + 1 / (x * x)))


@special(_expn_no_slope, _expn_slope)
def expn(n: Any, x: Any) -> Value:
    """Generalised exponential integral E_n(x): the integral of exp(-x t) / t**n from 1 to inf.

    Args:
        n: order, a whole number >= 0.
        x: non-negative array.
    """
    right = x > 0
    small, large = fnp.where(right, fnp.minimum(x, 1), 1), fnp.maximum(x, 1)
    whole = fnp.maximum(n, 1)
    near = _expn_series(whole, small)
    far = fnp.exp(-large) * _upper_fraction(1 - whole, fnp.minimum(large, 1e4))
    out = fnp.where(n == 0, fnp.exp(-x) / fnp.where(right, x, 1), fnp.where(x <= 1, near, far))
    at_zero = fnp.where(n <= 1, np.inf, 1 / fnp.where(n <= 1, 1, n - 1))
    return fnp.where((x < 0) | (n < 0) | (n != fnp.floor(n)), np.nan, fnp.where(x == 0, at_zero, out))


# ----------------------------------------------------------------------------------------- incomplete beta

_BOTH_LARGE = 30.0
_GAUSS_POINTS = 48


def _beta_power(a: Value, b: Value, x: Value, y: Value) -> Value:
    """x**a y**b / B(a, b) with y = 1 - x."""
    plain = fnp.exp(a * _log_of(x, y) + b * _log_of(y, x) - log_beta(a, b))
    c, d = fnp.maximum(a, LARGE), fnp.maximum(b, LARGE)
    off = fnp.where(x <= y, (c + d) * x - c, d - (c + d) * y)
    stars = gamma_star(c + d) / (gamma_star(c) * gamma_star(d))
    total = c + d
    exponent = c * log1p_less(off / c, total * x / c) + d * log1p_less(-off / d, total * y / d)
    far = fnp.exp(exponent) * stars * fnp.sqrt(c / (c + d) * d / (2 * math.pi))
    return fnp.where((a >= LARGE) & (b >= LARGE), far, plain)


def _log_of(x: Value, y: Value) -> Value:
    """log(x) with y = 1 - x the more accurate of the two where it is small."""
    return fnp.where(y < 0.5, fnp.log1p(-fnp.minimum(y, 0.5)), fnp.log(x))


def _beta_fraction(a: Value, b: Value, x: Value) -> Value:
    """a I_x(a, b) / _beta_power for x up to the mean, from the end of the continued fraction (DLMF 8.17.22)."""

    def body(k: Value, f: Value) -> tuple[Value]:
        j = k - 1
        even = k * (b - k) * x / ((a + (k + j)) * (a + 2 * k))
        odd = (a + j) * (a + b + j) * x / ((a + 2 * j) * (a + (k + j)))
        return (1 - odd / (1 + even / f),)

    return 1 / repeat(steps(x, 30, 110), body, fnp.ones_like(x), down=True)[0]


def _beta_tail(a: Value, b: Value, x: Value, y: Value) -> Value:
    """I_x(a, b) x y / _beta_power... for a, b >= 30 and x up to the mean: the integral of the density below x over that at x.

    Its logarithm falls from 0 like -slope s - curvature s**2 / 2 at least; a Gauss rule covers what is above exp(-38).
    """
    slope = ((a - 1) * y - (b - 1) * x) / (x * y)
    curvature = (a - 1) / (x * x) + (b - 1) / (y * y)
    wide = 76 / y
    reach = (wide + fnp.sqrt(wide * wide + 304 * curvature)) / (2 * curvature)
    reach = fnp.minimum(x, fnp.minimum(reach, 38 / fnp.maximum(slope, 38 / x)))
    half = 0.5 * stop_gradient(reach)

    def step(total: Value, at: tuple[Value, Value]) -> tuple[Value, None]:
        s = half * (1 + at[0])
        below, above = s / x, s / y
        log = (a - 1) * log1p_less(-below, 1 - below) + (b - 1) * log1p_less(above, 1 + above) - slope * s
        return total + at[1] * fnp.exp(log), None

    rule: Sequence[np.ndarray] = tuple([a.astype(x.dtype) for a in gauss(_GAUSS_POINTS)])
    return half * scan(step, fnp.zeros_like(x), rule)[0]


def _beta_lower(a: Value, b: Value, x: Value, y: Value) -> Value:
    """I_x(a, b) for x up to the mean."""
    power = _beta_power(a, b, x, y)
    both = (a >= _BOTH_LARGE) & (b >= _BOTH_LARGE)
    c, d = fnp.where(both, 1, a), fnp.where(both, 1, b)
    fraction = if_any(~both, _beta_fraction, c, d, x) / c
    e, g = fnp.where(both, a, _BOTH_LARGE), fnp.where(both, b, _BOTH_LARGE)
    at = fnp.where(both, x, 0.5)
    beyond = fnp.where(both, y, 0.5)
    tail = if_any(both, _beta_tail, e, g, at, beyond) / (at * beyond)
    return power * fnp.where(both, tail, fraction)


def _incomplete_beta(a: Value, b: Value, x: Value) -> Value:
    ordinary = (a > 0) & (b > 0) & (x > 0) & (x < 1) & fnp.isfinite(a) & fnp.isfinite(b)
    c, d, t = fnp.where(ordinary, a, 1), fnp.where(ordinary, b, 1), fnp.where(ordinary, x, 0.5)
    turned = t * (c + d + 2) > c + 1
    s = 1 - t
    part = _beta_lower(
        fnp.where(turned, d, c), fnp.where(turned, c, d), fnp.where(turned, s, t), fnp.where(turned, t, s)
    )
    one = (x == 1) | ((a == 0) & (b > 0)) | ((b == np.inf) & (a < np.inf) & (x > 0))
    zero = (x == 0) | ((b == 0) & (a > 0)) | ((a == np.inf) & (b < np.inf) & (x < 1))
    valid = (a >= 0) & (b >= 0) & (x >= 0) & (x <= 1) & (a + b > 0) & ((a < np.inf) | (b < np.inf))
    limit = fnp.where(valid & zero & ~(x == 1), 0.0, fnp.where(valid & one, 1.0, np.nan)).astype(x.dtype)
    return fnp.where(ordinary, fnp.where(turned, 1 - part, part), limit)


def _beta_slope(which: int) -> Any:
    """The derivative with respect to a or b, pushed forward through the expansions."""

    def slope(out: Value, a: Value, b: Value, x: Value) -> Value:
        f = (lambda v: _incomplete_beta(v, b, x)) if which == 0 else (lambda v: _incomplete_beta(a, v, x))
        at = (a, b)[which]
        return jvp(f, (at,), (fnp.ones_like(at),))[1]

    return slope


def _beta_density(out: Value, a: Value, b: Value, x: Value) -> Value:
    inside = (x > 0) & (x < 1)
    t = fnp.where(inside, x, 0.5)
    edge = fnp.exp((a - 1) * fnp.log(x) + (b - 1) * fnp.log1p(-x) - log_beta(a, b))
    return fnp.where(inside, _beta_power(a, b, t, 1 - t) / (t * (1 - t)), edge)


@special(_beta_slope(0), _beta_slope(1), _beta_density)
def betainc(a: Any, b: Any, x: Any) -> Value:
    """Regularised incomplete beta function: the integral of t**(a - 1) (1 - t)**(b - 1) from 0 to x over beta(a, b).

    Args:
        a, b: positive arrays.
        x: array in [0, 1].
    """
    return _incomplete_beta(a, b, x)
