"""The error function and its relatives, and the normal distribution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import dtypes
from ... import numpy as fnp
from ...numpy.series import chebyshev, horner
from ...primitives import elementwise as p
from ...trace import aval_of
from .core import Value, floats, gauss, special
from .tables import DAWSON_FAR, DAWSON_MIDDLE, DAWSON_NEAR, ERFCX

__all__ = ["dawsn", "erf", "erfc", "erfcx", "erfinv", "log_ndtr", "ndtr", "ndtri", "owens_t", "wofz"]

_SQRT_PI = math.sqrt(math.pi)
_SQRT_2PI = math.sqrt(2 * math.pi)


@special()
def erf(x: Any) -> Value:
    """Error function: 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x."""
    return p.erf(x)


@special()
def erfc(x: Any) -> Value:
    """1 - erf(x), accurate where erf(x) is close to 1."""
    return p.erfc(x)


@special()
def erfinv(x: Any) -> Value:
    """Inverse of erf, for -1 <= x <= 1."""
    return p.erf_inv(x)


def _erfcx_right(x: Value) -> Value:
    """erfcx for x >= 0: (1 + 2 x) erfcx(x) is smooth in (x - k) / (x + k) up to infinity.

    Source: Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc(x)", Math. Comp. 36 (1981).
    """
    t = 1 - 7.5 / (x + 3.75)
    return chebyshev(ERFCX, t) / (1 + 2 * x)


@special(lambda out, x: 2 * (x * out) - 2 / _SQRT_PI)
def erfcx(x: Any) -> Value:
    """exp(x**2) erfc(x), which falls like 1 / x where erfc underflows.

    >>> import fx.numpy as fnp
    >>> erfcx(fnp.array(100.0)).round(6)
    Array(0.005642, dtype=float32)
    """
    right = _erfcx_right(fnp.abs(x))
    return fnp.where(x < 0, 2 * fnp.exp(x * x) - right, right)


@special(lambda out, x: 1 - 2 * (x * out))
def dawsn(x: Any) -> Value:
    """Dawson's integral: exp(-x**2) times the integral of exp(t**2) from 0 to x."""
    size = fnp.abs(x)
    near, middle, large = fnp.minimum(size, 2), fnp.clip(size, 2, 5), fnp.maximum(size, 5)
    inner = x * chebyshev(DAWSON_NEAR, near * near / 2 - 1)
    between = chebyshev(DAWSON_MIDDLE, (2 * middle - 7) / 3) / x
    outer = chebyshev(DAWSON_FAR, 50 / (large * large) - 1) / x
    return fnp.where(size <= 2, inner, fnp.where(size <= 5, between, outer))


# ------------------------------------------------------------------------------------------- complex plane

_NODES = 11
_STEP = math.sqrt(math.pi / (_NODES + 1))


def _faddeeva_quadrant(z: Value) -> Value:
    """w(z) for Re z, Im z >= 0: the trapezoidal rule for (i z / pi) times the integral of exp(-t^2) / (z^2 - t^2), with
    the residue at t = z where that is near the real line.

    The nodes are kh, or (k + 1/2) h where z is near a multiple of h.  The relative error is below 2e-15.

    Source: Al Azah and Chandler-Wilde, "Computation of the complex error function using modified trapezoidal rules",
    SIAM J. Numer. Anal. 59 (2021).
    """
    x, y = z.real, z.imag
    position = x / _STEP
    fraction = position - fnp.floor(position)
    high = y >= fnp.maximum(x, math.pi / _STEP)
    between = ~high & (fraction >= 0.25) & (fraction <= 0.75)
    square = z * z
    total = fnp.where(between, 0.5 / square, 0)
    real = aval_of(x).dtype.type
    for k in range(_NODES + 1):
        node, middle = ((k + 1) * _STEP) ** 2, ((k + 0.5) * _STEP) ** 2
        weight = fnp.where(between, real(math.exp(-node)), real(math.exp(-middle)))
        total = total + weight / (square - fnp.where(between, real(node), real(middle)))
    turn = fnp.exp(-2j * math.pi * position + 2 * math.pi / _STEP * fnp.minimum(y, 40))
    residue = 2 * fnp.exp(-square) / fnp.where(between, 1 - turn, 1 + turn)
    return (2j * _STEP / math.pi) * z * total + fnp.where(high, 0, residue)


@special(lambda out, z: 2j / _SQRT_PI - 2 * z * out, complex_too=True)
def _wofz(z: Value) -> Value:
    x, y = fnp.abs(z.real), fnp.abs(z.imag)
    distance = fnp.maximum(x, y)
    inside = (distance < 1e7) & (distance != 0)
    first = p.complex(x, y)
    w = _faddeeva_quadrant(fnp.where(inside, first, 1))
    far = (1j / _SQRT_PI) / fnp.where(distance == 0, 1, first)
    w = fnp.where(inside, w, fnp.where(distance == 0, 1, far))
    below = 2 * fnp.exp(-first * first) - w
    w = fnp.where(z.imag < 0, fnp.conj(below), w)
    return fnp.where(z.real < 0, fnp.conj(w), w)


def wofz(z: Any) -> Value:
    """Faddeeva function exp(-z**2) erfc(-i z), for real or complex z; always complex.

    Args:
        z: real or complex array.
    """
    (z,) = floats("wofz", z, complex_too=True)
    return _wofz(z if dtypes.is_complex(z.dtype) else z.astype(dtypes.complex_dtype(z.dtype)))


# -------------------------------------------------------------------------------------- normal distribution


@special(lambda out, x: fnp.exp(-0.5 * x * x) / _SQRT_2PI)
def ndtr(x: Any) -> Value:
    """Distribution function of the standard normal distribution: the probability of a value below x.

    >>> import fx.numpy as fnp
    >>> ndtr(fnp.array([-1000.0, 0.0]))
    Array([0. , 0.5], dtype=float32)
    """
    return 0.5 * p.erfc(-x * math.sqrt(0.5))


def _mills(out: Value, x: Value) -> Value:
    """exp(-x**2 / 2 - log_ndtr(x)) / sqrt(2 pi); far left the exponent would have lost its digits."""
    left, right = fnp.where(x < -1, x, -1), fnp.where(x < -1, -1, x)
    body = fnp.exp(-0.5 * right * right - fnp.where(x < -1, 0, out)) / _SQRT_2PI
    return fnp.where(x < -1, 2 / _SQRT_2PI / _erfcx_right(-left * math.sqrt(0.5)), body)


@special(_mills)
def _log_ndtr(x: Any) -> Value:
    left = fnp.minimum(x, -1)
    tail = fnp.log(0.5 * _erfcx_right(-left * math.sqrt(0.5))) - 0.5 * left * left
    return fnp.where(x < -1, tail, fnp.log1p(-0.5 * p.erfc(fnp.maximum(x, -1) * math.sqrt(0.5))))


def log_ndtr(x: Any, series_order: int = 3) -> Value:
    """log(ndtr(x)), accurate in both tails.

    Args:
        x: float array.
        series_order: taken as JAX takes it; the tail does not need it here.
    """
    return _log_ndtr(x)


# Stephen Moshier, Cephes Mathematical Library, ndtri.c: rational approximations on three ranges of p, highest power first
_CENTRE = (
    (-5.99633501014107895267e1, 9.80010754185999661536e1, -5.66762857469070293439e1, 1.39312609387279679503e1,
     -1.23916583867381258016e0),
    (1.0, 1.95448858338141759834e0, 4.67627912898881538453e0, 8.63602421390890590575e1, -2.25462687854119370527e2,
     2.00260212380060660359e2, -8.20372256168333339912e1, 1.59056225126211695515e1, -1.18331621121330003142e0),
)  # fmt: skip
_TAIL = (
    (4.05544892305962419923e0, 3.15251094599893866154e1, 5.71628192246421288162e1, 4.40805073893200834700e1,
     1.46849561928858024014e1, 2.18663306850790267539e0, -1.40256079171354495875e-1, -3.50424626827848203418e-2,
     -8.57456785154685413611e-4),
    (1.0, 1.57799883256466749731e1, 4.53907635128879210584e1, 4.13172038254672030440e1, 1.50425385692907503408e1,
     2.50464946208309415979e0, -1.42182922854787788574e-1, -3.80806407691578277194e-2, -9.33259480895457427372e-4),
)  # fmt: skip
_FAR_TAIL = (
    (3.23774891776946035970e0, 6.91522889068984211695e0, 3.93881025292474443415e0, 1.33303460815807542389e0,
     2.01485389549179081538e-1, 1.23716634817820021358e-2, 3.01581553508235416007e-4, 2.65806974686737550832e-6,
     6.23974539184983293730e-9),
    (1.0, 6.02427039364742014255e0, 3.67983563856160859403e0, 1.37702099489081330271e0, 2.16236993594496635890e-1,
     1.34204006088543189037e-2, 3.28014464682127739104e-4, 2.89247864745380683936e-6, 6.79019408009981274425e-9),
)  # fmt: skip


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Value) -> Value:
    above, below = (horner(c, x) for c in coefficients)
    return above / below


@special(lambda out, p: _SQRT_2PI * fnp.exp(0.5 * out * out))
def ndtri(p: Any) -> Value:
    """Inverse of ``ndtr``: the value below which a standard normal number falls with probability p.

    Source: Cephes, ``ndtri.c``.
    """
    lower = p <= 0.5
    tail = fnp.where(lower, p, 1 - p)
    safe = fnp.where((tail > 0) & (tail < 1), tail, 0.25)
    w = safe - 0.5
    ww = w * w
    centre = -_SQRT_2PI * (w + w * ww * _ratio(_CENTRE, ww))
    z = fnp.sqrt(-2 * fnp.log(fnp.minimum(safe, math.exp(-2))))
    rational = fnp.where(z >= 8, _ratio(_FAR_TAIL, 1 / z), _ratio(_TAIL, 1 / z))
    outer = z - fnp.log(z) / z - rational / z
    x = fnp.where(safe > math.exp(-2), centre, outer)
    x = fnp.where(lower, -x, x)
    limits = fnp.where(p == 0, -np.inf, fnp.where(p == 1, np.inf, np.nan))
    return fnp.where((p > 0) & (p < 1), x, limits.astype(x.dtype))


# ------------------------------------------------------------------------------------------------ Owen's T

_GAUSS_POINTS = 32
_GAUSS_REACH = 8.5


def _owens_integral(h: Value, a: Value) -> Value:
    """T(h, a) for h >= 0 and 0 <= a <= 1 by a Gauss rule up to where exp(-h^2 x^2 / 2) no longer counts."""
    half = 0.5 * fnp.minimum(a, _GAUSS_REACH / fnp.maximum(h, 1e-3))
    quarter = 0.5 * h * h
    total = fnp.zeros_like(h)
    for node, weight in zip(*[a.tolist() for a in gauss(_GAUSS_POINTS)]):
        x = half * (1 + node)
        total = total + weight * fnp.exp(-quarter * x * x) / (1 + x * x)
    return fnp.exp(-quarter) * half * total / (2 * math.pi)


def _owens_slope_h(out: Value, h: Value, a: Value) -> Value:
    return -fnp.exp(-0.5 * h * h) * p.erf(a * h * math.sqrt(0.5)) / (2 * _SQRT_2PI)


def _owens_slope_a(out: Value, h: Value, a: Value) -> Value:
    return fnp.exp(-0.5 * h * h * (1 + a * a)) / (2 * math.pi * (1 + a * a))


@special(_owens_slope_h, _owens_slope_a)
def owens_t(h: Any, a: Any) -> Value:
    """Owen's T function: the integral of exp(-h**2 (1 + x**2) / 2) / (1 + x**2) from 0 to a, divided by 2 pi.

    Even in h and odd in a; |a| > 1 is led back to 1 / |a|.

    Source: Owen, "Tables for computing bivariate normal probabilities", Ann. Math. Statist. 27 (1956), eq. 2.3.
    """
    h, size = fnp.minimum(fnp.abs(h), 1e3), fnp.abs(a)
    steep = size > 1
    ah = fnp.minimum(fnp.where(h == 0, 0, size * h), 1e3)
    part = _owens_integral(fnp.where(steep, ah, h), fnp.where(steep, 1 / fnp.maximum(size, 1), size))
    above, beyond = 0.5 * p.erfc(h * math.sqrt(0.5)), 0.5 * p.erfc(ah * math.sqrt(0.5))
    t = fnp.where(steep, 0.5 * (above + beyond) - above * beyond - part, part)
    return fnp.where(a < 0, -t, t)
