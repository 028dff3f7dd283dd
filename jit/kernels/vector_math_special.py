"""erf, erfc and erf_inv, branch-free, for float32 and float64.

float32 erfc is computed in float64.
"""

from __future__ import annotations

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, f64, fma, lift, select
from .vector_math_base import (
    bits,
    copysign,
    fabs,
    fast_two_sum,
    from_bits,
    horner,
    less_product,
    named,
    one_of,
    polynomial,
    sqrt,
    upper,
)
from .vector_math_exp import INF, NAN, exp_normal, exp_sum, log_terms, untabled_log

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
    lost = less_product(b, square, a, a)
    d, d_lo = fast_two_sum(b, "erfc_d", a, lift(0.75, a.ty))
    inverse = b.let("erfc_inverse", 1.0 / ((a + 4.0) * d))
    q = b.let("erfc_q", (a - 4.0) * (d * inverse))
    first, second, *others = _ERFCX_DOUBLE
    rest = b.let("erfc_rest", fma(polynomial(b, q, others), q, second) * q)
    p, p_lo = fast_two_sum(b, "erfc_p", lift(first, a.ty), rest)
    inverse_d = b.let("erfc_inverse_d", (a + 4.0) * inverse)
    f = b.let("erfc_f", p * inverse_d)
    f_lo = (less_product(b, p, f, d) + fma(-f, d_lo, p_lo)) * inverse_d
    return exp_sum(b, -square, lost, f, f_lo)


# ------------------------------------------------------------------------------- its inverse function

# erf_inv(x) = x + x P(w), w = -log(1 - x^2) <= 4.7, from where on erf_inv(x) > 2 has a last place as large as that of sqrt(w):
# relative error 2^-28.1
_INVERSE_NEAR_32 = (
    -0.11377307772636414, 0.23201368749141693, 0.011549501679837704, -0.002336301142349839, -0.0001251501525985077,
    4.3057414586655796e-05, 4.552096470433753e-06, -2.100873189192498e-06, 2.3563846696106339e-07, -9.502980624631618e-09,
)  # fmt: skip
# erf_inv(x) = t + P(t - 2.5), t = sqrt(w) in [2.16, 4]: relative error 2^-25.3
_INVERSE_FAR_32 = (
    -0.1663104146718979, -0.007391495630145073, 0.013918064534664154, -0.006014424376189709, 0.001217677490785718,
    0.000246928830165416, -0.0002366764092585072, 4.803057527169585e-05,
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
    first, second, *others = _INVERSE_NEAR_32
    if b.arithmetic.fused:
        p = horner(w, _INVERSE_NEAR_32)
    else:  # the greatest term by itself, whose product is exact
        p = 0.25 * w + horner(w, (first, second - 0.25, *others))
    far = t + polynomial(b, b.let("erf_inv_v", t - 2.5), _INVERSE_FAR_32)
    return select(w < 4.7, fma(a, p, a), far)


def _erf_inv_double(b: KernelBuilder, a: Expr) -> Expr:
    """What the root and the logarithm have lost is made good, beyond 0.85, to the first order."""
    near = b.let("erf_inv_near", a < 0.85)
    z = b.let("erf_inv_z", fma(-a, a, 0.7265625))
    whole, rest = log_terms(b, b.let("erf_inv_u", fma(a, -0.5, 0.5)))
    r = b.let("erf_inv_r", sqrt(-(whole + rest)))
    v = b.let("erf_inv_v", r - 1.5)
    half_inverse = from_bits(0x7FCE623822FC16E6 - bits(r))  # 1/(2 r), to a tenth
    missing = (less_product(b, -whole, r, r) - rest) * half_inverse
    far_q = b.let("erf_inv_q", polynomial(b, v, _INVERSE_FAR_Q))
    far_p = fma(missing, far_q, polynomial(b, v, _INVERSE_FAR_P))
    numerator = select(near, a * polynomial(b, z, _INVERSE_NEAR_P), far_p)
    return select(near, a, r) + numerator / select(near, polynomial(b, z, _INVERSE_NEAR_Q), far_q)
