"""erf, erfc, erf_inv, lgamma and digamma, branch-free, for float32 and float64.

float32 erfc, lgamma and digamma are computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, f64, fma, lift, select
from .vector_math_base import copysign, fabs, fast_two_sum, head, horner, named, one_of, polynomial, rint, sqrt, upper
from .vector_math_exp import INF, NAN, exp_normal, exp_sum, log, log_normal, untabled_log

Function = Callable[[KernelBuilder, Expr], Expr]


def _in_double(function: Function) -> Function:
    """``function`` of float64, for float32 too."""

    def f(b: KernelBuilder, x: Expr) -> Expr:
        wide = b.let("wide", x.cast(f64.vector(x.ty.lanes))) if x.ty.bits == 32 else x
        return function(b, wide).cast(x.ty)

    return f


# -------------------------------------------------------------------------------- the error function

# erf(x) = x + x P(x^2): relative error 2^-30.1 for |x| <= 0.9, 2^-56 for |x| <= 1
_ERF = {
    32: (0.12837916612625122, -0.37612634897232056, 0.11283715069293976, -0.026860510930418968, 0.005203861743211746,
         -0.0008175654802471399, 8.513115608366206e-05),
    64: (0.12837916709551256, -0.37612638903183343, 0.1128379167093695, -0.026866170641959067, 0.005223977596732917,
         -0.0008548325484594384, 0.00012055280470289775, -1.4924464706516093e-05, 1.6444131505809675e-06,
         -1.6183768226373086e-07, 1.3615316374735442e-08, -7.604292362145773e-10),
}  # fmt: skip
# log erfc(x) = P(x), 0.9 <= x <= 3.95, and P(x - 3/2), 1 <= x <= 5.95: erf(x) to 2^-29, 2^-55
_LOG_ERFC = {
    32: (-0.000166494442964904, -1.12779700756073, -0.6369765400886536, -0.10411322861909866, 0.022314971312880516,
         -0.0030654221773147583, 0.00019821176829282194),
    64: (-3.3844920895515527, -3.5088008017795245, -0.892640330615005, -0.025824140633804532, 0.006006746385273554,
         -0.0012572166840736608, 0.00021596331886799335, -2.2473714768383888e-05, -2.646901099972231e-06, 2.370992023278599e-06,
         -8.18676129152369e-07, 1.9217462134781363e-07, -2.7609434984278293e-08, -7.768648245907829e-10, 1.8048242336675497e-09,
         -5.344902019064882e-10, 7.881182182631044e-11, -4.928195247046301e-12),
}  # fmt: skip
# exp(x^2) erfc(x) = P((x - 3)/(x + 3))/(x + 3), x <= 10.1: relative error 2^-28.9
_ERFCX_SINGLE = (
    1.074006907710243, -0.883394485182007, 0.5902283042826498, -0.31046604562143143, 0.11952896988249284,
    -0.026839590391786627, -0.0012258334811673717, 0.0030800634030064052, -0.00048435132459263516,
    -0.000325939121559036,
)  # fmt: skip
# exp(x^2) erfc(x) = P((x - 4)/(x + 4))/(x + 3/4), 1/2 <= x <= 27.3: relative error 2^-55.9; a P that is flat where (x - 4)/(x + 4)
# has the greatest error, next to 1/2
_ERFCX_DOUBLE = (
    0.6507474237190416, -0.13457757061032408, 0.06236974578087892, -0.007015927046993558, -0.023278738668620638,
    0.031089463589765592, -0.025340418771192065, 0.01537277125095525, -0.007083801195506413, 0.0023162033887611654,
    -0.0003843264875459715, -7.988319447695487e-05, 6.96688641540867e-05, -1.2672895614644205e-05,
    -4.865247147684567e-06, 2.746421230683555e-06, 5.5752296031310543e-08, -3.789157937247856e-07,
    6.982203406605958e-08, 4.2303150277400895e-08, -2.8801578454823106e-08, -2.4775808090005054e-09,
    7.102640785996342e-09,
)  # fmt: skip


def erf(b: KernelBuilder, x: Expr) -> Expr:
    """Beyond 1 what is missing from one is small: of its logarithm, an error hardly shows."""
    x = named(b, "erf_x", x)
    a = b.let("erf_abs", fabs(x))
    z = b.let("erf_z", x * x)
    near = fma(x, polynomial(b, z, _ERF[x.ty.bits]), x)
    t = b.let("erf_far", upper(a, 3.95) if x.ty.bits == 32 else upper(a, 5.95) - 1.5)
    far = 1.0 - exp_normal(b, polynomial(b, t, _LOG_ERFC[x.ty.bits]))
    return select(a < one_of(x, 0.9, 1.0), near, copysign(far, x))


def erfc(b: KernelBuilder, x: Expr) -> Expr:
    x = named(b, "erfc_x", x)
    if x.ty.bits == 32:
        return _erfc_single(b, b.let("erfc_wide", x.cast(f64.vector(x.ty.lanes)))).cast(x.ty)
    a = b.let("erfc_abs", fabs(x))
    far = b.let("erfc_far", _erfc_double(b, b.let("erfc_limited", upper(a, 28.0))))
    z = b.let("erfc_z", x * x)
    near = 1.0 - fma(x, polynomial(b, z, _ERF[64]), x)
    return select(a < 0.5, near, select(x < 0.0, 2.0 - far, far))


def _erfc_single(b: KernelBuilder, x: Expr) -> Expr:
    """To float32's accuracy."""
    a = b.let("erfc_abs", upper(fabs(x), 10.1))
    inverse = b.let("erfc_inverse", 1.0 / (a + 3.0))
    q = b.let("erfc_q", (a - 3.0) * inverse)
    far: Expr = b.let("erfc_far", polynomial(b, q, _ERFCX_SINGLE) * inverse * exp_normal(b, -(a * a)))
    far = select(fabs(x) > 10.1, Const(0.0, x.ty), far)
    return select(x < 0.0, 2.0 - far, far)


def _erfc_double(b: KernelBuilder, a: Expr) -> Expr:
    """erfc(a) for 1/2 <= a <= 28; what rounding a^2, a + 3/4, P and their quotient loses is made good.  One division is for both."""
    square = b.let("erfc_square", a * a)
    a_hi = b.let("erfc_hi", head(a))
    lost = (a_hi * a_hi - square) + (a - a_hi) * (a + a_hi)
    d, d_lo = fast_two_sum(b, "erfc_d", a, lift(0.75, a.ty))
    inverse = b.let("erfc_inverse", 1.0 / ((a + 4.0) * d))
    q = b.let("erfc_q", (a - 4.0) * (d * inverse))
    first, second, *others = _ERFCX_DOUBLE
    rest = b.let("erfc_rest", fma(polynomial(b, q, others), q, second) * q)
    p, p_lo = fast_two_sum(b, "erfc_p", lift(first, a.ty), rest)
    inverse_d = b.let("erfc_inverse_d", (a + 4.0) * inverse)
    f = b.let("erfc_f", p * inverse_d)
    f_lo = (_less_product(b, p, f, d) + fma(-f, d_lo, p_lo)) * inverse_d
    return exp_sum(b, -square, -lost, f, f_lo)


def _less_product(b: KernelBuilder, p: Expr, x: Expr, y: Expr) -> Expr:
    """``p - x y``, where that is far smaller than p."""
    if b.arithmetic.fused:
        return fma(-x, y, p)
    x_hi, y_hi = b.let("product_x", head(x)), b.let("product_y", head(y))
    return ((p - x_hi * y_hi) - x_hi * (y - y_hi)) - (x - x_hi) * y


# ------------------------------------------------------------------------------- its inverse function

# erf_inv(x) = x + x P(w), w = -log(1 - x^2) <= 4: relative error 2^-25.8
_INVERSE_NEAR_32 = (
    -0.11377308517694473, 0.23201419413089752, 0.011545669287443161, -0.0023256908170878887, -0.00013958079216536134,
    5.3955802286509424e-05, -2.440455375563033e-07, -8.781416909187101e-07, 6.832822663227489e-08,
)  # fmt: skip
# erf_inv(x) = t + P(t - 2.5), t = sqrt(w) in [2, 4]: relative error 2^-26.8
_INVERSE_FAR_32 = (
    -0.16631044447422028, -0.007391074672341347, 0.013919699005782604, -0.006025354843586683, 0.001215249067172408,
    0.0003132013662252575, -0.0003422248119022697, 0.00011289957910776138, -1.4222623576642945e-05,
)  # fmt: skip
# erf_inv(x) = x + x P(z)/Q(z), z = 0.7265625 - x^2, |x| <= 0.85: relative error 2^-56.5
_INVERSE_NEAR_P = (
    0.20121494811605464, 1.376057658272576, 1.4632961718888855, -8.567376395479739, -25.369598740576873,
    -24.72974824663573, -9.060554313531126, -0.9358136170379052,
)  # fmt: skip
_INVERSE_NEAR_Q = (
    1.0, 11.377835304810162, 50.47117982166055, 110.64556201793938, 125.56646980730297, 70.6311780478923,
    17.06322122168613, 1.2075261976216414, -0.003975669125478831,
)  # fmt: skip
# erf_inv(x) = r + P(r - 1.5)/Q(r - 1.5), r = sqrt(-log((1 - x)/2)), 0.85 <= x < 1: relative error 2^-56.8
_INVERSE_FAR_P = (
    -0.6151457160704937, -1.0940168064641516, -0.7517514576085972, -0.25590361368033143, -0.045654150069041284,
    -0.003993591857554307, -0.0001381048753501043, -1.1181092981350333e-06,
)  # fmt: skip
_INVERSE_FAR_Q = (
    1.0, 2.1462340806571123, 1.8486584075043726, 0.824773671758115, 0.2048519724528825, 0.028015903149734782,
    0.0019061706983876485, 5.073213190875095e-05, 2.9214881605240204e-07,
)  # fmt: skip


def erf_inv(b: KernelBuilder, x: Expr) -> Expr:
    """Infinite at -1 and 1, NaN beyond."""
    x = named(b, "erf_inv_x", x)
    a = b.let("erf_inv_abs", fabs(x))
    inside = (_erf_inv_single if x.ty.bits == 32 else _erf_inv_double)(b, a)
    edge = select(a.eq(1.0), lift(INF, x.ty), NAN)
    return copysign(select(a < 1.0, inside, edge), x)


def _erf_inv_single(b: KernelBuilder, a: Expr) -> Expr:
    w = b.let("erf_inv_w", -untabled_log(b, b.let("erf_inv_u", (1.0 - a) * (1.0 + a))))
    t = b.let("erf_inv_t", sqrt(w))
    near = fma(a, horner(w, _INVERSE_NEAR_32), a)
    far = t + polynomial(b, b.let("erf_inv_v", t - 2.5), _INVERSE_FAR_32)
    return select(w < 4.0, near, far)


def _erf_inv_double(b: KernelBuilder, a: Expr) -> Expr:
    near = b.let("erf_inv_near", a < 0.85)
    z = b.let("erf_inv_z", 0.7265625 - a * a)
    r = b.let("erf_inv_r", sqrt(-log_normal(b, b.let("erf_inv_u", 0.5 - 0.5 * a))))
    v = b.let("erf_inv_v", r - 1.5)
    numerator = select(near, a * horner(z, _INVERSE_NEAR_P), horner(v, _INVERSE_FAR_P))
    denominator = select(near, horner(z, _INVERSE_NEAR_Q), horner(v, _INVERSE_FAR_Q))
    return select(near, a, r) + numerator / denominator


# -------------------------------------------------------------------------------- the Gamma function

# log Gamma(2 + v) = v P(v)/Q(v), |v| <= 1/2: relative error 2^-60
_LGAMMA_P = (
    0.42278433509846713, 0.9513832489767355, 0.7656400658363831, 0.28264153866888164, 0.04907274701755271,
    0.003542003906584585, 6.964361777352649e-05,
)  # fmt: skip
_LGAMMA_Q = (
    1.0, 1.487557989598046, 0.8356599940139134, 0.21944612623385837, 0.0268757218886566, 0.0013080854070188,
    1.5028768837945812e-05,
)  # fmt: skip
# log Gamma(y) = (y - 1/2)(log(y) - 1) + log(2 pi)/2 - 1/2 + P(1/y^2)/y, y >= 8: absolute error 2^-63
_STIRLING = (
    0.0833333333333333, -0.0027777777776146493, 0.0007936506684840407, -0.0005952031574811514, 0.0008373210180110237,
    -0.0016534907781638897,
)  # fmt: skip
_STIRLING_CONSTANT = 0.4189385332046727  # log(2 pi)/2 - 1/2
# sin(pi r) = r P(r^2), |r| <= 1/2: relative error 2^-54.5
_SIN_PI = (
    3.141592653589793, -5.167712780049969, 2.550164039877294, -0.599264529318739, 0.0821458865699021,
    -0.007370430478829088, 0.00046629968903609266, -2.1903185966399974e-05, 7.694731949606306e-07,
)  # fmt: skip
# psi(z) = log(z) - 1/(2 z) - P(1/z^2)/z^2, z >= 8: absolute error 2^-64
_DIGAMMA = (
    0.08333333333333316, -0.008333333333046464, 0.00396825380636258, -0.00416662330202362, 0.007569507474234702,
    -0.02059032452306274, 0.06156054274844817,
)  # fmt: skip
# pi r cot(pi r) = (1 - 4 s) P(s)/Q(s), s = r^2 <= 1/4: relative error 2^-66
_COT_PI_P = (1.0, -0.6761225884412928, 0.11504289181904541, -0.005449810112096013, 3.7012023456768955e-05)
_COT_PI_Q = (1.0, -1.3862544547448399, 0.423585357146692, -0.03814609345383203, 0.0008151912284052064)
_LARGE = 8


@_in_double
def lgamma(b: KernelBuilder, x: Expr) -> Expr:
    """log |Gamma(x)|; log Gamma(-y) = log(pi/(y |sin(pi y)|)) - log Gamma(y).  Infinite at the poles and at -inf."""
    y = b.let("gamma_y", fabs(x))
    right = b.let("lgamma_right", _lgamma_right(b, y))
    r = b.let("gamma_r", y - rint(y))
    s = b.let("gamma_s", r * r)
    sine = fabs(r * polynomial(b, s, _SIN_PI))
    left = log(b, 3.141592653589793 / (y * sine)) - right
    value = select((x < 0.0) & (y > 2.0**-60), left, right)  # below, Gamma(-y) is -Gamma(y) to all digits
    pole = (x < 0.0) & r.eq(0.0)  # log Gamma(y) may be infinite as well, and the difference NaN
    return select(y.eq(INF) | pole, Const(INF, y.ty), value)


def _lgamma_right(b: KernelBuilder, y: Expr) -> Expr:
    """log Gamma(y), y >= 0: Stirling's series, or a step from or products up to the interval [1.5, 2.5]."""
    u, product = y, cast(Expr, Const(1.0, y.ty))
    for _ in range(_LARGE - 2):
        high = b.let("gamma_high", u >= 2.5)
        u = b.let("gamma_u", select(high, u - 1.0, u))
        product = b.let("gamma_product", select(high, product * u, product))
    large, low, lowest = (b.let(n, c) for n, c in (
        ("gamma_large", y >= float(_LARGE)), ("gamma_low", y < 1.5), ("gamma_lowest", y < 0.5)
    ))  # fmt: skip
    v = b.let("gamma_v", select(lowest, y, select(low, y - 1.0, u - 2.0)))
    argument = select(large, y, select(lowest, y * (y + 1.0), select(low, y, product)))
    logarithm = b.let("gamma_log", log(b, argument))
    inner = fma(v, polynomial(b, v, _LGAMMA_P) / polynomial(b, v, _LGAMMA_Q), select(low, -logarithm, logarithm))
    inverse = b.let("gamma_inverse", 1.0 / y)
    w = b.let("gamma_w", inverse * inverse)
    tail = fma(inverse, polynomial(b, w, _STIRLING), _STIRLING_CONSTANT)
    return select(large, fma(y - 0.5, logarithm - 1.0, tail), inner)


@_in_double
def digamma(b: KernelBuilder, x: Expr) -> Expr:
    """The derivative of lgamma: psi(y) = psi(1 + y) - 1/y, psi(-y) = psi(1 + y) + pi cot(pi y).

    NaN at the poles and at -inf.
    """
    y = b.let("gamma_y", fabs(x))
    r = b.let("gamma_r", y - rint(y))
    s = b.let("gamma_s", r * r)
    left = b.let("gamma_left", x < 0.0)
    cotangent = fma(s, -4.0, 1.0) * polynomial(b, s, _COT_PI_P) / (polynomial(b, s, _COT_PI_Q) * r)
    value = _digamma_of_next(b, y) + select(left, cotangent, -1.0 / y)
    return select((x <= 0.0) & (r.eq(0.0) | y.eq(INF)), Const(NAN, y.ty), value)


def _digamma_of_next(b: KernelBuilder, y: Expr) -> Expr:
    """psi(1 + y), y >= 0: the asymptotic series; for y < 8 that at y + 9, less the sum of 1/(y + i) for 1 <= i <= 8."""
    low = b.let("gamma_low", y < float(_LARGE))
    numerator: Expr = Const(1.0, y.ty)
    denominator: Expr = b.let("gamma_q", y + 1.0)
    for i in range(2, _LARGE + 1):
        t = b.let("gamma_t", y + float(i))
        numerator = b.let("gamma_p", fma(numerator, t, denominator))
        denominator = b.let("gamma_q", denominator * t)
    z = b.let("gamma_z", y + select(low, lift(_LARGE + 1.0, y.ty), 1.0))
    inverse = b.let("gamma_inverse", 1.0 / z)
    w = b.let("gamma_w", inverse * inverse)
    series = log_normal(b, z) - fma(w, polynomial(b, w, _DIGAMMA), 0.5 * inverse)
    shifted = series - select(low, numerator / denominator, Const(0.0, y.ty))
    return select(y.eq(INF), y, shifted)
