"""Integrals of elementary functions: exponential, sine and cosine, Fresnel integrals, the dilogarithm.

Near the origin each is its logarithm (if any) and a Chebyshev series; beyond it is the exponential, or sine and
cosine, times smooth factors that are series in a power of 1/x up to infinity.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import numpy as fnp
from ...numpy.series import chebyshev, horner
from ...primitives import elementwise as p
from . import tables
from .core import Value, special
from .zeta_functions import bernoulli_numbers

__all__ = ["exp1", "expi", "fresnel", "sici", "spence"]


def between(coefficients: tuple[float, ...], x: Value, low: float, high: float) -> Value:
    """The series of a factor over [low, high]."""
    return chebyshev(coefficients, (2 * x - (low + high)) / (high - low))


# ------------------------------------------------------------------------------------- exponential integrals


def _exp1_right(x: Value) -> Value:
    """E1(x) for x > 0."""
    small, large = fnp.minimum(x, 1), 1 / fnp.maximum(x, 1)
    near = small * between(tables.EIN, small, 0, 1) - fnp.log(small) - np.euler_gamma
    middle = between(tables.E1_MIDDLE, fnp.maximum(large, 0.25), 0.25, 1)
    far = between(tables.E1_FAR, fnp.minimum(large, 0.25), 0, 0.25)
    return fnp.where(x <= 1, near, fnp.exp(-x) * large * fnp.where(x <= 4, middle, far))


_EI_ROOT = (0.3725074107813666, 1.3140183414386028e-17)  # the positive zero of Ei, and what float64 leaves out


def _expi_right(x: Value) -> Value:
    """Ei(x) for x > 0: log(x / root) + (x - root) g(x) up to 6, which keeps the zero exact."""
    small, large = fnp.minimum(x, 6), fnp.clip(x, 6, 2e3)
    from_root = (small - _EI_ROOT[0]) - _EI_ROOT[1]
    log = fnp.where(x < 0.2, fnp.log(x / _EI_ROOT[0]), fnp.log1p(fnp.maximum(from_root, -0.2) / _EI_ROOT[0]))
    near = log + from_root * between(tables.EI_NEAR, small, 0, 6)
    u = 1 / large
    a, b, c = 1 / 40, 1 / 14, 1 / 6
    middle = between(tables.EI_MIDDLE, fnp.maximum(u, b), b, c)
    outer = between(tables.EI_OUTER, fnp.clip(u, a, b), a, b)
    far = between(tables.EI_FAR, fnp.minimum(u, a), 0, a)
    factor = fnp.where(large <= 14, middle, fnp.where(large <= 40, outer, far))
    half = fnp.exp(0.5 * large)
    return fnp.where(x <= 6, near, half * (half * (u * factor)))


@special(lambda out, x: fnp.exp(x) / x)
def expi(x: Any) -> Value:
    """Exponential integral Ei(x): the principal value of the integral of exp(t) / t from -inf to x.

    Source: Cody and Thacher, "Chebyshev approximations for the exponential integral Ei(x)", Math. Comp. 23 (1969).
    """
    size = fnp.where(x == 0, 1, fnp.abs(x))
    out = fnp.where(x < 0, -_exp1_right(size), _expi_right(size))
    return fnp.where(x == 0, -np.inf, out)


@special(lambda out, x: -fnp.exp(-x) / x)
def exp1(x: Any) -> Value:
    """Exponential integral E1(x): the integral of exp(-t) / t from x to inf; NaN for x < 0."""
    out = _exp1_right(fnp.where(x > 0, x, 1))
    return fnp.where(x > 0, out, fnp.where(x == 0, np.inf, np.nan))


# --------------------------------------------------------------------------------- sine and cosine integrals


def _auxiliary(x: Value) -> tuple[Value, Value]:
    """f and g with Si = pi/2 - f cos - g sin and Ci = f sin - g cos, for x >= 4 (Abramowitz and Stegun 5.2.8)."""
    u = 1 / (x * x)
    edge = 1 / 64
    middle, far, split = fnp.maximum(u, edge), fnp.minimum(u, edge), x < 8
    f = fnp.where(split, between(tables.SICI_F_MIDDLE, middle, edge, 1 / 16), between(tables.SICI_F_FAR, far, 0, edge))
    g = fnp.where(split, between(tables.SICI_G_MIDDLE, middle, edge, 1 / 16), between(tables.SICI_G_FAR, far, 0, edge))
    return f / x, g * u


@special(lambda out, x: (fnp.sinc(x / math.pi), fnp.cos(x) / x))
def sici(x: Any) -> tuple[Value, Value]:
    """Sine integral and cosine integral.

    Si(x) is the integral of sin(t) / t from 0 to x; Ci(x) is Euler's gamma + log|x| + the integral of (cos(t) - 1) / t.

    Returns:
        ``(Si(x), Ci(x))``; for x < 0 the real part of Ci.
    """
    size = fnp.abs(x)
    small, large = fnp.minimum(size, 4), fnp.maximum(size, 4)
    w = small * small
    si_near = small * between(tables.SI_NEAR, w, 0, 16)
    ci_near = np.euler_gamma + fnp.log(small) + w * between(tables.CI_NEAR, w, 0, 16)
    f, g = _auxiliary(large)
    finite = fnp.where(fnp.isinf(large), 0, large)
    sine, cosine = fnp.sin(finite), fnp.cos(finite)
    near = size <= 4
    si = fnp.where(near, si_near, 0.5 * math.pi - f * cosine - g * sine)
    ci = fnp.where(near, ci_near, f * sine - g * cosine)
    return fnp.where(x < 0, -si, si), ci


# --------------------------------------------------------------------------------------- Fresnel integrals


def _quarter_turns(x: Value) -> Value:
    """pi x**2 / 2, less whole turns."""
    square = x * x
    return 0.5 * math.pi * (square - 4 * p.round(0.25 * square))


@special(lambda out, x: (fnp.sin(_quarter_turns(x)), fnp.cos(_quarter_turns(x))))
def fresnel(x: Any) -> tuple[Value, Value]:
    """Fresnel integrals: the integrals of sin(pi t**2 / 2) and cos(pi t**2 / 2) from 0 to x.

    Returns:
        ``(S(x), C(x))``.
    """
    size = fnp.abs(x)
    small, large = fnp.minimum(size, 1.6), fnp.maximum(size, 1.6)
    square = small * small
    w, near_end = square * square, 1.6**4
    s_near = small * square * between(tables.FRESNEL_S_NEAR, w, 0, near_end)
    c_near = small * between(tables.FRESNEL_C_NEAR, w, 0, near_end)
    v = 1 / (large * large)
    u, edge, split = v * v, 2.5**-4, large < 2.5
    middle, far = fnp.maximum(u, edge), fnp.minimum(u, edge)
    f = fnp.where(
        split, between(tables.FRESNEL_F_MIDDLE, middle, edge, 1 / near_end), between(tables.FRESNEL_F_FAR, far, 0, edge)
    ) / (math.pi * large)
    g = fnp.where(
        split, between(tables.FRESNEL_G_MIDDLE, middle, edge, 1 / near_end), between(tables.FRESNEL_G_FAR, far, 0, edge)
    ) * (v / (math.pi**2 * large))
    angle = _quarter_turns(fnp.minimum(large, 1e9))
    sine, cosine = fnp.sin(angle), fnp.cos(angle)
    near = size <= 1.6
    s = fnp.where(near, s_near, 0.5 - f * cosine - g * sine)
    c = fnp.where(near, c_near, 0.5 + f * sine - g * cosine)
    return fnp.where(x < 0, -s, s), fnp.where(x < 0, -c, c)


# -------------------------------------------------------------------------------------------- dilogarithm

_DEBYE = [b / math.factorial(2 * k + 1) for k, b in enumerate(bernoulli_numbers(20)[2::2], start=1)][::-1]


def _spence_slope(out: Value, x: Value) -> Value:
    """log(x) / (1 - x), close to 1 by its series, which has derivatives there."""
    y = x - 1
    near = fnp.abs(y) < 1e-3
    small = fnp.where(near, y, 0)
    series = horner((1 / 7, -1 / 6, 1 / 5, -1 / 4, 1 / 3, -1 / 2, 1.0), small)
    return -fnp.where(near, series, fnp.log1p(y) / fnp.where(near, 1, y))


@special(_spence_slope)
def spence(x: Any) -> Value:
    """Spence's function, the dilogarithm of 1 - x: the integral of log(t) / (1 - t) from 1 to x; NaN for x < 0.

    For x in [1/2, 1] it is Debye's series in u = -log(x), u - u**2 / 4 + sum_k B_2k u**(2k + 1) / (2k + 1)!; the rest of the line
    is led there by 1 - x and 1 / x (Lewin, "Polylogarithms and associated functions", 1981).
    """
    high = x > 1
    v = fnp.where(high, 1 / x, x)
    low = v < 0.5
    log = fnp.where((x < 0.5) | (x > 2), fnp.log(fnp.where(v > 0, x, 1)), fnp.log1p(fnp.clip(x, 0.5, 2) - 1))
    log_v = fnp.where(high, -log, log)
    u = -fnp.where(low, fnp.log1p(-v), log_v)
    square = u * u
    base = u - 0.25 * square + u * square * horner(_DEBYE, square)
    out = fnp.where(low, math.pi**2 / 6 + log_v * u - base, base)
    out = fnp.where(high, -0.5 * log * log - out, out)
    return fnp.where(x == np.inf, -np.inf, fnp.where(x < 0, np.nan, out))
