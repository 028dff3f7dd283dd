"""lgamma and digamma, branch-free but for negative numbers, for float64; those of float32 are computed so too.

Both are sums that cancel: their terms are sums of two numbers, of which the first is exact (but for what a rounding of its
terms has taken), and all the second ones are added to the sum of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, f64, fma, lift, select
from .vector_math_base import copysign, fabs, fast_two_sum, less_product, polynomial, rint, two_sum, unless
from .vector_math_exp import INF, NAN, log_parts

Function = Callable[[KernelBuilder, Expr], Expr]
Sum = tuple[Expr, Expr]
Rational = tuple[Expr, Sequence[float], Sequence[float]]

# log Gamma(1 + v) = v (v - 1)(1/2 + P(v)/Q(v)), 0 <= v <= 1: relative error 2^-55.8
_LGAMMA_P = (
    0.07721566490153285, -0.02117092994068031, -0.31028080477161696, -0.3182825531442719, -0.11927827130731435,
    -0.01668597704767639, -0.0006204921292072961,
)  # fmt: skip
_LGAMMA_Q = (
    1.0, 2.902007498966043, 3.185962851741728, 1.6467427159368269, 0.4053187666420405, 0.04210597287602608,
    0.0012754862502000978,
)  # fmt: skip
# log Gamma(y) = (y - 1/2)(log(y) - 1) + log(2 pi)/2 - 1/2 + P(w)/Q(w)/y, w = 1/y^2, y >= 3: absolute error 2^-59
_STIRLING_P = (
    0.08333333333333333, 0.9322382496662476, 2.7827503912766107, 2.384550087642299, 0.39666770554749703,
    -0.004309997148016442,
)  # fmt: skip
_STIRLING_Q = (
    1.0, 11.220192329328228, 33.75748729679814, 29.640134507395487, 5.496560547773185,
)  # fmt: skip
_STIRLING_CONSTANT = 0.4189385332046727  # log(2 pi)/2 - 1/2
# sin(pi r) = pi r (1 + r^2 P(r^2)), |r| <= 1/2: relative error 2^-56.2
_SIN_PI = (
    -1.6449340668482264, 0.8117424252833519, -0.19075182412194153, 0.026147847813084678, -0.0023460809635595025,
    0.00014842817856056364, -6.97296170056132e-06, 2.459193469535897e-07,
)  # fmt: skip
# psi(1 + v) = (1 + v - root)(1 + P(v)/Q(v)), 0 <= v <= 1: relative error 2^-56.1
_DIGAMMA_P = (
    0.2503801375034054, -0.33443709695717744, -0.6571986811311603, -0.2918118756592391, -0.045735863480910216,
    -0.0021067283915701222, -5.539410733380507e-07,
)  # fmt: skip
_DIGAMMA_Q = (
    1.0, 2.0778655560788457, 1.462859415426675, 0.4373236710560114, 0.05448716798013272, 0.0021573269342555217,
)  # fmt: skip
# psi(y) = log(y) - 1/(2 y) - w P(w)/Q(w), w = 1/y^2, y >= 2: absolute error 2^-57.6
_ASYMPTOTIC_P = (
    0.08333333333333331, 1.8165006274337954, 13.081713890575333, 38.515075859189004, 46.372953995152336,
    19.613784626769384, 1.7177635513821106, -0.025797314545785387,
)  # fmt: skip
_ASYMPTOTIC_Q = (
    1.0, 21.898007529205348, 159.12274839225694, 477.1004228798218, 597.612208246043, 278.6260690843371,
    33.95084726830833,
)  # fmt: skip
_ROOT_LESS_ONE, _ROOT_LOW = 0.46163214496836225, 9.549995429965697e-17  # of psi
# pi cot(pi r) = 1/r - r (pi^2/3 + s P(s)/Q(s)), s = r^2 <= 1/4: absolute error 2^-56
_COT_P = (
    2.1646464674222763, -0.8879180175306371, 0.07321609977743354, -0.00013203816775356414, -2.9069119958206776e-06,
)  # fmt: skip
_COT_Q = (
    1.0, -1.3501531014345594, 0.3752110011164068, -0.025057899144849106,
)  # fmt: skip
_THIRD_PI_SQUARE = 3.289868133696453, 6.081344700796952e-17


def _in_double(function: Callable[[KernelBuilder, Expr, bool], Expr]) -> Callable[[KernelBuilder, Expr], Expr]:
    """``function`` of float64, for float32 too: the flag says whether its last digits matter."""

    def f(b: KernelBuilder, x: Expr) -> Expr:
        if x.ty.bits == 64:
            return function(b, x, True)
        return function(b, b.let("wide", x.cast(f64.vector(x.ty.lanes))), False).cast(x.ty)

    return f


@_in_double
def lgamma(b: KernelBuilder, x: Expr, exact: bool) -> Expr:
    """log |Gamma(x)|.  Infinite at the poles and at -inf."""
    y = b.let("gamma_y", fabs(x))
    hi, lo = _lgamma_right(b, y)
    reflected = x < -(2.0**-60)  # between, Gamma(-y) is -Gamma(y) to all digits
    value = unless(b, reflected, hi + lo, lambda: _lgamma_left(b, y, hi, lo, exact))
    return select(hi.eq(INF) | y.eq(0.0), Const(INF, y.ty), value)


def _lgamma_right(b: KernelBuilder, y: Expr) -> Sum:
    """log Gamma(y), y >= 0: Stirling's formula, or a step up from [0, 1) or down from [2, 3) to [1, 2]."""
    large, low, high = (
        b.let(n, c) for n, c in (("gamma_large", y >= 3.0), ("gamma_low", y < 1.0), ("gamma_high", y >= 2.0))
    )
    y_less = b.let("gamma_less", y - 1.0)
    log, log_lo = log_parts(b, b.let("gamma_argument", select(low | large, y, y_less)))
    inverse = b.let("gamma_inverse", 1.0 / y)
    square = b.let("gamma_inverse2", inverse * inverse)
    v = b.let("gamma_v", select(low, y, select(high, y_less - 1.0, y_less)))
    ratio = b.let("gamma_ratio", _ratio(b, large, (square, _STIRLING_P, _STIRLING_Q), (v, _LGAMMA_P, _LGAMMA_Q)))
    v_less = b.let("gamma_v_less", v - 1.0)
    w = b.let("gamma_w", v * v_less)
    step, step_lo = (select(low, -part, select(high, part, 0.0)) for part in (log, log_lo))
    near, near_lo = fast_two_sum(b, "gamma_near", b.let("gamma_step", step), b.let("gamma_half", 0.5 * w))
    near_lo = (near_lo + step_lo) + fma(w, ratio, -0.5 * less_product(b, w, v, v_less))
    factor, less = b.let("gamma_factor", y - 0.5), b.let("gamma_log_less", log - 1.0)
    main = b.let("gamma_main", factor * less)
    main_lo = fma(factor, log_lo, fma(inverse, ratio, _STIRLING_CONSTANT)) - less_product(b, main, factor, less)
    return b.let("lgamma_hi", select(large, main, near)), b.let("lgamma_lo", select(large, main_lo, near_lo))


def _ratio(b: KernelBuilder, first: Expr, of_first: Rational, of_others: Rational) -> Expr:
    """One of two rational functions; one division is for both."""
    (x, p, q), (y, others_p, others_q) = of_first, of_others
    numerator = select(first, polynomial(b, x, p), polynomial(b, y, others_p))
    return numerator / select(first, polynomial(b, x, q), polynomial(b, y, others_q))


def _lgamma_left(b: KernelBuilder, y: Expr, hi: Expr, lo: Expr, exact: bool) -> Expr:
    """log |Gamma(-y)| = -log(y |sin(pi y)|/pi) - log Gamma(y)."""
    r = b.let("gamma_r", fabs(y - rint(y)))
    s = b.let("gamma_s", r * r)
    g = b.let("gamma_g", s * polynomial(b, s, _SIN_PI))
    m = b.let("gamma_m", y * r)
    a, lost = fast_two_sum(b, "gamma_a", m, b.let("gamma_part", m * g))
    log, log_lo = log_parts(b, a, subnormal=False)
    correction = (lost - less_product(b, m, y, r) * (g + 1.0)) / a if exact else 0.0
    total, total_lo = two_sum(b, "gamma_total", hi, log)
    return select(r.eq(0.0), lift(INF, y.ty), -(total + (total_lo + (correction + (log_lo + lo)))))


@_in_double
def digamma(b: KernelBuilder, x: Expr, exact: bool) -> Expr:
    """The derivative of lgamma.  NaN at the poles and at -inf, but the limit from its side at a zero that has a sign."""
    y = b.let("gamma_y", fabs(x))
    low = b.let("gamma_low", y < 1.0)
    inverse = b.let("gamma_inverse", 1.0 / y)
    hi, lo = _digamma_of_next(b, y, low, inverse)
    lost = select(y > 2.0**-60, less_product(b, lift(1.0, y.ty), y, inverse) * inverse, 0.0)
    right = select(low, (hi + (lo - lost)) - inverse, hi + lo)
    value = unless(b, x < 0.0, right, lambda: _digamma_left(b, y, hi, lo + select(low, 0.0, inverse), exact))
    return select(x.eq(0.0), copysign(inverse, -x), select(x.eq(INF), x, value))


def _digamma_of_next(b: KernelBuilder, y: Expr, low: Expr, inverse: Expr) -> Sum:
    """psi(y), y >= 1, and psi(1 + y) for smaller ones: the asymptotic series, or a polynomial about its root."""
    large = b.let("gamma_large", y >= 2.0)
    log, log_lo = log_parts(b, y, subnormal=False)
    w = b.let("gamma_w", inverse * inverse)
    v = b.let("gamma_v", select(low, y, y - 1.0))
    ratio = b.let("gamma_ratio", _ratio(b, large, (w, _ASYMPTOTIC_P, _ASYMPTOTIC_Q), (v, _DIGAMMA_P, _DIGAMMA_Q)))
    near = b.let("gamma_near", v - _ROOT_LESS_ONE)
    near_lo = fma(ratio, near - _ROOT_LOW, -_ROOT_LOW)
    far_lo = log_lo - fma(w, ratio, 0.5 * inverse)
    return b.let("digamma_hi", select(large, log, near)), b.let("digamma_lo", select(large, far_lo, near_lo))


def _digamma_left(b: KernelBuilder, y: Expr, hi: Expr, lo: Expr, exact: bool) -> Expr:
    """psi(-y) = psi(y) + 1/y + pi cot(pi y)."""
    r = b.let("gamma_r", y - rint(y))
    s = b.let("gamma_s", r * r)
    inverse = b.let("cot_inverse", 1.0 / r)
    rest = r * s * (polynomial(b, s, _COT_P) / polynomial(b, s, _COT_Q))
    first, second = _THIRD_PI_SQUARE
    m = b.let("cot_m", r * first)
    if exact:
        m_lost = less_product(b, m, r, lift(first, r.ty)) - r * second
        rest = rest - fma(less_product(b, lift(1.0, r.ty), r, inverse), inverse, m_lost)
        cot, cot_lo = fast_two_sum(b, "gamma_cot", inverse, -m)
        total, total_lo = two_sum(b, "gamma_total", cot, hi)
        value = total + (total_lo + (cot_lo + (lo - rest)))
    else:
        value = (inverse + (hi - m)) + (lo - rest)
    return select(fabs(r) > 2.0**-60, value, select(r.eq(0.0), Const(NAN, r.ty), inverse))
