"""NumPy references of erf, erfc, erf_inv, lgamma and digamma, accurate to about 1e-15.

Each is computed in float64 whatever the float dtype, and rounded once at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["digamma", "erf", "erf_inv", "erfc", "lgamma"]


def _in_float64(f: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    def g(x: np.ndarray) -> np.ndarray:
        return np.asarray(f(np.asarray(x, np.float64))).astype(x.dtype)

    g.__doc__ = f.__doc__
    return g


def _poly(x: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """Horner's rule, highest power first."""
    y = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        y = y * x + c
    return y


# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969): erf on
# [0, 0.46875] in x^2, exp(x^2) erfc(x) on [0.46875, 4] in x, and its tail on [4, inf) in 1/x^2.
_ERF_P = (
    1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
    3.20937758913846947e3,
)  # fmt: skip
_ERF_Q = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_MID_P = (
    2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1, 2.98635138197400131e2,
    8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3,
)  # fmt: skip
_MID_Q = (
    1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
    3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
)  # fmt: skip
_TAIL_P = (
    1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
    1.60837851487422766e-2, 6.58749161529837803e-4,
)  # fmt: skip
_TAIL_Q = (
    1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
    2.33520497626869185e-3,
)  # fmt: skip
_SMALL = 0.46875


def _erf_small(x: np.ndarray) -> np.ndarray:
    z = x * x
    return x * (_poly(z, _ERF_P) / _poly(z, _ERF_Q))


def _erfc_large(a: np.ndarray) -> np.ndarray:
    """erfc(a) for a >= 0.46875.  exp(-a^2) is split at a multiple of 1/16, whose square is exact."""
    b = np.minimum(a, 30.0)  # erfc(27.3) underflows already
    mid = _poly(b, _MID_P) / _poly(b, _MID_Q)
    w = 1.0 / np.square(np.maximum(b, 4.0))
    tail = (1.0 / np.sqrt(np.pi) - w * (_poly(w, _TAIL_P) / _poly(w, _TAIL_Q))) / np.maximum(b, 4.0)
    head = np.trunc(b * 16.0) / 16.0
    return np.exp(-head * head) * np.exp(-(b - head) * (b + head)) * np.where(b <= 4.0, mid, tail)


@_in_float64
def erf(x: np.ndarray) -> np.ndarray:
    r"""2/sqrt(pi) int_0^x exp(-t^2) dt."""
    a = np.abs(x)
    return np.where(a <= _SMALL, _erf_small(x), np.copysign(1.0 - _erfc_large(a), x))


@_in_float64
def erfc(x: np.ndarray) -> np.ndarray:
    """1 - erf(x) without cancellation for large x."""
    a = np.abs(x)
    large = _erfc_large(a)
    return np.where(a <= _SMALL, 1.0 - _erf_small(x), np.where(x < 0, 2.0 - large, large))


# M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Appl. Stat. 37 (1988), PPND16.
_CENTRE_P = (
    2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
    1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0,
)  # fmt: skip
_CENTRE_Q = (
    5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
    5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0,
)  # fmt: skip
_NEAR_P = (
    7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
    3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0,
)  # fmt: skip
_NEAR_Q = (
    1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
    6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0,
)  # fmt: skip
_FAR_P = (
    2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
    2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0,
)  # fmt: skip
_FAR_Q = (
    2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
    1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0,
)  # fmt: skip


@_in_float64
def erf_inv(x: np.ndarray) -> np.ndarray:
    """The y with erf(y) = x: the normal quantile of (1 + x)/2, divided by sqrt(2).  inf at +-1, NaN outside."""
    a = np.abs(x)
    u = 0.180625 - 0.25 * x * x
    y = x * (0.5 * _poly(u, _CENTRE_P) / _poly(u, _CENTRE_Q))
    if not np.all(a <= 0.85):
        y = np.where(a <= 0.85, y, np.copysign(_erf_inv_tail(a), x))
    y = y * np.sqrt(0.5)
    return np.where(a < 1.0, y, np.where(a == 1.0, np.copysign(np.inf, x), np.nan))


def _erf_inv_tail(a: np.ndarray) -> np.ndarray:
    """The quantile for a > 0.85; the rarest numbers are looked for before anything is computed for them."""
    r = np.sqrt(-np.log(np.maximum((1.0 - a) * 0.5, 1e-300)))
    near = r - 1.6
    tail: np.ndarray = _poly(near, _NEAR_P) / _poly(near, _NEAR_Q)
    if not np.all(r <= 5.0):
        far = r - 5.0
        tail = np.where(r <= 5.0, tail, _poly(far, _FAR_P) / _poly(far, _FAR_Q))
    return tail


# log Gamma(2 + v) = (1 - gamma) v + sum_{k >= 2} (-1)^k (zeta(k) - 1) v^k / k, highest power first; |v| <= 1/2.
_LGAMMA_AT_2 = (
    2.4836745438024783172e-9, -5.1834750419700466551e-9, 1.0838659214896954091e-8, -2.271109460894316491e-8,
    4.7698101693639805658e-8, -1.0043224823968099609e-7, 2.1207184805554665869e-7, -4.4924691987645660433e-7,
    9.5514121304074198329e-7, -2.0392157538013662368e-6, 4.3748667899074878042e-6, -9.439488275268395904e-6,
    2.0507212775670691553e-5, -4.49262367381331417e-5, 9.9457512781808533715e-5, -2.2315475845357937976e-4,
    5.0966952474304242234e-4, -1.1927539117032609771e-3, 2.8905103307415232858e-3, -7.3855510286739852663e-3,
    2.0580808427784547879e-2, -6.7352301053198095133e-2, 3.2246703342411321824e-1, 4.2278433509846713939e-1,
)  # fmt: skip
# S. L. Moshier, Cephes: the Stirling correction for x >= 13.
_STIRLING = (
    8.11614167470508450300e-4, -5.95061904284301438324e-4, 7.93650340457716943945e-4, -2.77777777730099687205e-3,
    8.33333333333331927722e-2,
)  # fmt: skip
_LARGE = 13.0
_TINY = 1e-20  # below it log |Gamma(x)| is -log |x|


def _lgamma_right(x: np.ndarray) -> np.ndarray:
    """log Gamma(x) for x >= 0.5: its Taylor series at 2, reached by Gamma(x + 1) = x Gamma(x), or Stirling's series.

    The zeros at 1 and 2 keep their relative accuracy: near 1 the step is a log1p.
    """
    low = x < 1.5
    u = np.where(low, x + 1.0, np.minimum(x, _LARGE))
    product = np.ones_like(x)
    for _ in range(int(_LARGE) - 2):
        high = u >= 2.5
        u = np.where(high, u - 1.0, u)
        product = np.where(high, product * u, product)
    v = np.where(low, x - 1.0, u - 2.0)
    small = np.where(low, -np.log1p(v), np.log(product)) + v * _poly(v, _LGAMMA_AT_2)
    y = np.maximum(x, _LARGE)
    stirling = (y - 0.5) * (np.log(y) - 1.0) + (0.5 * np.log(2.0 * np.pi) - 0.5) + _poly(1.0 / (y * y), _STIRLING) / y
    return np.where(x < _LARGE, small, stirling)


def _is_pole(x: np.ndarray) -> np.ndarray:
    """True at 0, -1, -2 ..."""
    return (x <= 0.0) & (x == np.floor(x))


def _from_integer(x: np.ndarray) -> np.ndarray:
    """x minus the nearest integer, so that sin(pi x) and tan(pi x) keep their accuracy for large |x|."""
    return x - np.rint(x)


@_in_float64
def lgamma(x: np.ndarray) -> np.ndarray:
    """log |Gamma(x)|; inf at the poles 0, -1, -2 ... and at +-inf."""
    left = x < 0.5
    right = _lgamma_right(np.where(left, 1.0 - x, x))
    sine = np.abs(np.sin(np.pi * _from_integer(np.where(left, x, 0.25))))
    a = np.abs(x)
    tiny = a < _TINY  # there pi / sine may overflow
    value = np.where(left, np.log(np.pi / np.where(tiny, 1.0, sine)) - right, right)
    value = np.where(tiny, -np.log(np.where(tiny, a, 1.0)), value)
    return np.where(np.isinf(x) | _is_pole(x), np.inf, value)


_DIGAMMA_ASYMPTOTIC = (
    # -B_2k / 2k for k = 8 ... 1
    3617.0 / 8160.0, -1.0 / 12.0, 691.0 / 32760.0, -1.0 / 132.0, 1.0 / 240.0, -1.0 / 252.0, 1.0 / 120.0, -1.0 / 12.0,
)  # fmt: skip


@_in_float64
def digamma(x: np.ndarray) -> np.ndarray:
    """d/dx log Gamma(x); NaN at the poles -1, -2 ...; -inf at 0.0 and inf at -0.0, the limits, as SciPy."""
    left = x < 0.5
    y = np.where(left, 1.0 - x, x)
    shift = np.zeros_like(y)
    for _ in range(10):
        low = y < 10.0
        shift = np.where(low, shift - 1.0 / y, shift)
        y = np.where(low, y + 1.0, y)
    w = 1.0 / (y * y)
    right = shift + np.log(y) - 0.5 / y + w * _poly(w, _DIGAMMA_ASYMPTOTIC)
    value = np.where(left, right - np.pi / np.tan(np.pi * _from_integer(np.where(left, x, 0.25))), right)
    return np.where(x == 0, np.copysign(np.inf, -x), np.where(_is_pole(x), np.nan, value))
