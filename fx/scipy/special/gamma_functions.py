"""The gamma function and what is made of it: factorials, binomial coefficients, beta functions.

From 10 on, Gamma(x) = sqrt(2 pi / x) (x / e)**x Gamma*(x) with Gamma* close to 1.  Ratios of gamma functions of large
arguments are taken of these factors, so they do not lose the digits that their logarithms would.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import dtypes
from ... import numpy as fnp
from ...errors import UnsupportedArgumentError
from ...numpy.series import chebyshev, horner
from ...primitives import elementwise as p
from .core import Value, floats, special
from .core import steps as by_dtype
from .tables import GAMMA_2, GAMMA_STAR

__all__ = [
    "beta", "betaln", "comb", "digamma", "factorial", "gamma", "gammaln", "gammasgn", "loggamma", "multigammaln",
    "poch",
]  # fmt: skip

LARGE = 10.0


def gamma_star(x: Value) -> Value:
    """Gamma(x) sqrt(x / (2 pi)) (e / x)**x, for x >= 10."""
    return chebyshev(GAMMA_STAR, 2 * LARGE / x - 1)


def log_gamma_ratio(x: Value, m: Value) -> Value:
    """log(Gamma(x + m) / Gamma(x)) for x, x + m >= 10."""
    stars = fnp.log(gamma_star(x + m) / gamma_star(x))
    return (x - 0.5) * fnp.log1p(m / x) + m * (fnp.log(x + m) - 1) + stars


# ------------------------------------------------------------------------------------------ gamma function


def gamma_small(x: Value) -> Value:
    """Gamma(x) for 0 < x < 10: led to [2, 3) by Gamma(x + 1) = x Gamma(x)."""
    product, below = fnp.ones_like(x), fnp.ones_like(x)
    z = x
    for _ in range(2):
        low = z < 2
        below = fnp.where(low, below * z, below)
        z = fnp.where(low, z + 1, z)
    for _ in range(int(LARGE) - 3):
        high = z >= 3
        z = fnp.where(high, z - 1, z)
        product = fnp.where(high, product * z, product)
    return product * chebyshev(GAMMA_2, 2 * z - 5) / below


def gamma_right(x: Value) -> Value:
    """Gamma(x) for x > 0; the power is in two halves because it overflows before Gamma does."""
    large = fnp.clip(
        x, LARGE, by_dtype(x, 40, 200)
    )  # it overflows at 35 and 172; beyond, so would the power and exp(-x)
    half = p.pow(large, 0.5 * large - 0.25)
    far = _SQRT_2PI * half * fnp.exp(-large) * half * gamma_star(large)
    return fnp.where(x < LARGE, gamma_small(fnp.minimum(x, LARGE)), far)


_SQRT_2PI = math.sqrt(2 * math.pi)


@special(lambda out, x: out * p.digamma(x))
def gamma(x: Any) -> Value:
    """Gamma function: (n - 1)! at the positive integers n; NaN at the negative ones, inf at 0."""
    size = fnp.abs(x)
    right = gamma_right(fnp.where(size == 0, 1, size))
    whole = p.round(size)
    parity = 1 - 2 * fnp.abs(whole - 2 * fnp.floor(0.5 * whole))
    sine = parity * fnp.sin(math.pi * (size - whole))
    left = -math.pi / sine / (size * right)
    out = fnp.where(x < 0, fnp.where((size == whole), np.nan, left), right)
    return fnp.where(x == 0, fnp.copysign(np.inf, x), out)


@special()
def gammaln(x: Any) -> Value:
    """log(|gamma(x)|)."""
    return p.lgamma(x)


@special()
def gammasgn(x: Any) -> Value:
    """Sign of gamma(x): NaN at the negative integers, where it has none."""
    below = fnp.floor(x)
    odd = (x < 0) & (fnp.remainder(below, 2) != 0)
    minus = odd | ((x == 0) & fnp.signbit(x))
    none = fnp.isnan(x) | ((x < 0) & (x == below))
    return fnp.where(none, np.nan, fnp.where(minus, -1.0, 1.0)).astype(x.dtype)


# B_2k / (2k (2k - 1)), highest power of 1/z^2 first (Abramowitz and Stegun 6.1.41)
_STIRLING = (-3617 / 122400, 1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)


def _loggamma_right(z: Value) -> Value:
    """log Gamma(z) for Re z >= 1/2: Stirling's series at z + 8, less the logarithms of the steps."""
    steps = fnp.log(z)
    for k in range(1, _STEPS):
        steps = steps + fnp.log(z + k)
    w = z + _STEPS
    inverse = 1 / w
    return (
        (w - 0.5) * fnp.log(w)
        - w
        + 0.5 * math.log(2 * math.pi)
        + inverse * horner(_STIRLING, inverse * inverse)
        - steps
    )


_STEPS = 8


@special(complex_too=True)
def loggamma(x: Any) -> Value:
    """Logarithm of the gamma function, continued from the positive numbers with a cut along the negative ones.

    Of real numbers it is real, and NaN for x < 0.  For Re z < 1/2 it is the reflection formula, with
    log sin(pi z) = -i pi (z - 1/2) + log(1 - exp(2 pi i z)) - log 2 for Im z >= 0, which has no branches there.
    """
    if not dtypes.is_complex(x.dtype):
        return fnp.where(x < 0, np.nan, p.lgamma(x))
    down = fnp.signbit(x.imag)
    z = fnp.where(down, fnp.conj(x), x)
    left = z.real < 0.5
    right = _loggamma_right(fnp.where(left, 1 - z, z))
    safe = fnp.where(left, z, 0.5)
    near = safe.real - p.round(safe.real)
    turn = fnp.exp(-2 * math.pi * safe.imag)
    circle = p.complex(1 - turn * fnp.cos(2 * math.pi * near), -turn * fnp.sin(2 * math.pi * near))
    sine = p.complex(math.pi * safe.imag, math.pi * (0.5 - safe.real)) + fnp.log(circle) - math.log(2)
    out = fnp.where(left, math.log(math.pi) - sine - right, right)
    return fnp.where(down, fnp.conj(out), out)


@special()
def digamma(x: Any) -> Value:
    """Derivative of gammaln."""
    return p.digamma(x)


@special(lambda out, n: out * p.digamma(n + 1))
def _factorial(n: Any) -> Value:
    return fnp.where(n < 0, 0, gamma_right(fnp.maximum(n, 0) + 1))


def factorial(n: Any, exact: bool = False) -> Value:
    """n!, as a float; 0 for negative n.

    Args:
        n: array.
        exact: must be False: integers of any size are not array elements.

    Raises:
        NotImplementedError: exact is True.
    """
    if exact:
        raise UnsupportedArgumentError("factorial computes floats; use math.factorial for exact integers (exact=True)")
    return _factorial(n)


def multigammaln(a: Any, d: int) -> Value:
    """log of the multivariate gamma function of dimension d, a Python integer."""
    (a,) = floats("multigammaln", a)
    halves = fnp.arange(d, dtype=a.dtype) / 2
    return fnp.sum(p.lgamma(a[..., None] - halves), axis=-1) + 0.25 * d * (d - 1) * math.log(math.pi)


# ----------------------------------------------------------------------------- beta, binomial coefficients


def _betaln_large(small: Value, large: Value) -> Value:
    """betaln for 10 <= small <= large, without the difference of large logarithms."""
    stars = gamma_star(small) * gamma_star(large) / gamma_star(small + large)
    ratio = small / large
    power = (small - 0.5) * fnp.log(ratio / (1 + ratio)) - large * fnp.log1p(ratio)
    return power + fnp.log(_SQRT_2PI * stars) - 0.5 * fnp.log(large)


def log_beta(a: Value, b: Value) -> Value:
    small, large = fnp.minimum(a, b), fnp.maximum(a, b)
    plain = p.lgamma(small) + p.lgamma(large) - p.lgamma(small + large)
    top = fnp.maximum(large, LARGE)
    uneven = p.lgamma(small) - log_gamma_ratio(top, fnp.maximum(small, LARGE - top))
    both = _betaln_large(fnp.maximum(small, LARGE), top)
    far = (large >= LARGE) & (small + large >= LARGE)
    return fnp.where(small >= LARGE, both, fnp.where(far, uneven, plain))


def _digamma_step(a: Value, b: Value) -> Value:
    return p.digamma(a) - p.digamma(a + b)


@special(lambda out, a, b: _digamma_step(a, b), lambda out, a, b: _digamma_step(b, a))
def betaln(a: Any, b: Any) -> Value:
    """log(|beta(a, b)|).

    Source: DiDonato and Morris, "Algorithm 708", ACM TOMS 18 (1992), for large arguments.
    """
    return log_beta(a, b)


def _signed_exp(log: Value, *signs: Value) -> Value:
    """exp(log) with the sign of the product of gamma functions of these."""
    out = fnp.exp(log)
    for x in signs:
        out = out * gammasgn(x)
    return out


_DIRECT = 15.0  # up to there the product of gamma functions is finite in float32 too


@special(lambda out, a, b: out * _digamma_step(a, b), lambda out, a, b: out * _digamma_step(b, a))
def beta(a: Any, b: Any) -> Value:
    """Beta function gamma(a) gamma(b) / gamma(a + b)."""
    direct = (fnp.abs(a) < _DIRECT) & (fnp.abs(b) < _DIRECT)
    gamma_a, gamma_b, gamma_sum = gamma(fnp.stack([a, b, a + b]))
    near = gamma_a * (gamma_b / gamma_sum)
    return fnp.where(direct, near, _signed_exp(log_beta(a, b), a, b, a + b))


def _poch_right(z: Value, m: Value) -> Value:
    """Gamma(z + m) / Gamma(z)."""
    direct = (fnp.abs(z) < _DIRECT) & (fnp.abs(z + m) < _DIRECT)
    above, below = gamma(fnp.stack([z + m, z]))
    near = above / below
    large = (z >= LARGE) & (z + m >= LARGE)
    y, n = fnp.where(large, z, LARGE), fnp.where(large, m, 0)
    half = p.pow(y + n, 0.5 * n)
    rest = fnp.exp((y - 0.5) * fnp.log1p(n / y) - n) * (gamma_star(y + n) / gamma_star(y))
    far = fnp.where(half == np.inf, np.inf, half * rest * half)
    other = _signed_exp(p.lgamma(z + m) - p.lgamma(z), z + m, z)
    return fnp.where(direct, near, fnp.where(large, far, other))


@special(
    lambda out, z, m: out * (p.digamma(z + m) - p.digamma(z)),
    lambda out, z, m: out * p.digamma(z + m),
)
def poch(z: Any, m: Any) -> Value:
    """Pochhammer symbol gamma(z + m) / gamma(z), the rising factorial z (z + 1) ... (z + m - 1) for integer m >= 0.

    Where both gamma functions have poles (z and m integers, z <= 0), it is the limit: that product.
    """
    pole = (z <= 0) & (z == fnp.floor(z))
    through = pole & ((z + m > 0) | (m != fnp.floor(m)))
    sign = 1 - 2 * fnp.remainder(m, 2)
    factor = _poch_right(fnp.where(pole, fnp.where(through, 1, 1 - z - m), z), fnp.where(through, 0, m))
    return fnp.where(m == 0, 1, fnp.where(through, 0, fnp.where(pole, sign * factor, factor)))


def _inside_triangle(N: Value, k: Value) -> tuple[Value, Value, Value]:
    inside = (N >= 0) & (k >= 0) & (k <= N)
    return inside, fnp.where(inside, N, 1), fnp.where(inside, k, 0)


def _comb_slope_n(out: Value, N: Value, k: Value) -> Value:
    _, n, m = _inside_triangle(N, k)
    return out * (p.digamma(n + 1) - p.digamma(n - m + 1))


def _comb_slope_k(out: Value, N: Value, k: Value) -> Value:
    _, n, m = _inside_triangle(N, k)
    return out * (p.digamma(n - m + 1) - p.digamma(m + 1))


@special(_comb_slope_n, _comb_slope_k)
def _comb(N: Any, k: Any) -> Value:
    """1 / ((N + 1) B(N - k + 1, k + 1)), of whole numbers rounded to one."""
    inside, n, m = _inside_triangle(N, k)
    value = fnp.where(inside, 1 / ((n + 1) * beta(n - m + 1, m + 1)), 0)
    return fnp.where((N == fnp.floor(N)) & (k == fnp.floor(k)), p.round(value), value)


def comb(N: Any, k: Any, *, repetition: bool = False) -> Value:
    """Binomial coefficient: in how many ways k of N things are chosen, as a float; 0 for k < 0 and k > N.

    Args:
        N: array, the number of things.
        k: array, how many are taken.
        repetition: a thing may be taken again: comb(N + k - 1, k).

    >>> comb(5, 2)
    Array(10., dtype=float32)
    """
    return _comb(fnp.asarray(N) + k - 1, k) if repetition else _comb(N, k)
