"""pow and cbrt, branch-free, for float32 and float64."""

from __future__ import annotations

from collections.abc import Callable

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, f64, fma, lift, select
from .vector_math_base import (
    bits,
    copysign,
    fabs,
    fast_two_sum,
    from_bits,
    head,
    less_product,
    lower,
    named,
    one_of,
    polynomial,
    rint,
    sqrt,
    trunc,
    upper,
)
from .vector_math_exp import EXP2, INF, NAN, exp2, power_of_two, split

# log2((1 + s)/(1 - s)) = s P(s^2), |s| <= 0.1716: relative error 2^-37.8
_LOG2_SINGLE = (2.8853900817901366, 0.9617966732731763, 0.5770835941405936, 0.4116721872229239, 0.3407408751474739)
# 2^r, |r| <= 1/2: relative error 2^-31.9
_EXP2_SINGLE = (
    0.9999999999616879, 0.6931471820665237, 0.24022651202684053, 0.055504093866354506, 0.009618013824328829,
    0.0013333081685100014, 0.0001547538463384891, 1.5641832863786355e-05,
)  # fmt: skip
# 3 atanh(s)/s = 3 + z + z^2 P(z), z = s^2, |s| <= 0.1716: relative error 2^-73
_LOG_DOUBLE = (
    0.5999999999999996, 0.428571428571688, 0.33333333326029424, 0.27272728339211055, 0.230768330073824,
    0.2000456447821214, 0.175104363899146, 0.1799842207838663,
)  # fmt: skip
_TWO_THIRDS_LOG2_E = 0.9617966939259756  # 2/(3 log 2), and as a sum of a number of 26 bits and the rest
_TWO_THIRDS_LOG2_E_HI = 0.9617966860532761
_TWO_THIRDS_LOG2_E_LO = 7.872699542894897e-09


# Powers that are a few products, roots and quotients, and within 2 ulp so (1.95 at the most, over all float32 from 1 to 4); none
# of them overflows or underflows on the way where the power itself does not.
_OF_WHOLE: dict[float, Callable[[Expr], Expr]] = {
    -2.0: lambda x: (1.0 / x) * (1.0 / x),
    -1.0: lambda x: 1.0 / x,
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
    4.0: lambda x: (x * x) * (x * x),
}
_OF_ROOT: dict[float, Callable[[Expr, Expr], Expr]] = {
    -1.5: lambda x, root: (1.0 / root) / x,
    -0.5: lambda x, root: 1.0 / root,
    0.5: lambda x, root: root,
    1.5: lambda x, root: x * root,
    2.5: lambda x, root: x * x * root,
}


def pow(b: KernelBuilder, x: Expr, y: Expr) -> Expr:
    """``x**y`` with the special cases of C99 (annex F.10.4.4)."""
    x, y = named(b, "pow_x", x), named(b, "pow_y", y)
    if isinstance(y, Const) and (of_whole := _OF_WHOLE.get(float(y.value))):
        return of_whole(x)
    if isinstance(y, Const) and (of_root := _OF_ROOT.get(float(y.value))):
        # what a root makes of -0.0 and -inf (-0.0 and NaN) is not what powers make of them
        x = b.let("pow_base", select(x.eq(-INF), lift(INF, x.ty), x) + 0.0)
        return of_root(x, b.let("pow_root", sqrt(x)))
    if isinstance(x, Const) and float(x.value) == 2.0:
        return exp2(b, y)
    a = b.let("pow_abs", fabs(x))
    value = _pow_single(b, a, y) if x.ty.bits == 32 else _pow_double(b, a, y)
    whole = b.let("pow_whole", trunc(y).eq(y))
    half = b.let("pow_half", 0.5 * y)
    odd = whole & trunc(half).ne(half)
    edge = a.eq(0.0) | a.eq(INF)
    limit = select((y > 0.0) ^ (a < 1.0), lift(INF, x.ty), 0.0)
    value = copysign(select(edge, limit, value), select(odd, x, 1.0))
    undefined = ((x < 0.0) & (x > -INF) & ~whole) | x.ne(x) | y.ne(y)
    return select(x.eq(1.0) | y.eq(0.0), lift(1.0, x.ty), select(undefined, lift(NAN, x.ty), value))


def _pow_single(b: KernelBuilder, a: Expr, y: Expr) -> Expr:
    """In float64, whose 53 bits make up for y log2(a) up to 150."""
    double = f64.vector(a.ty.lanes)
    k, f = split(b, b.let("pow_wide", a.cast(double)), "pow", subnormal=False)
    s = b.let("pow_s", f / (f + 2.0))
    z = b.let("pow_z", s * s)
    log2 = fma(polynomial(b, z, _LOG2_SINGLE), s, k)
    limited = b.let("pow_y_wide", lower(upper(y.cast(double), 2.0**40), -(2.0**40)))
    e = b.let("pow_e", lower(upper(limited * log2, 200.0), -200.0))
    shifted = b.let("pow_shifted", e + 1.5 * 2.0**52)
    r = b.let("pow_r", e - (shifted - 1.5 * 2.0**52))
    return (polynomial(b, r, _EXP2_SINGLE) * power_of_two(shifted)).cast(a.ty)


def _pow_double(b: KernelBuilder, a: Expr, y: Expr) -> Expr:
    """``2**(y log2 a)`` with the logarithm as a sum of two numbers, after fdlibm's e_pow.c.

    All products that must be exact have factors of 26 bits.
    """
    k, f = split(b, a, "pow")
    log_hi, log_lo = _log2_double(b, k, f)
    y = b.let("pow_limited", lower(upper(y, 2.0**66), -(2.0**66)))  # log2(a) is 0 or at least 2**-53
    y_hi = b.let("pow_y_hi", head(y))
    e_lo = b.let("pow_e_lo", fma(y - y_hi, log_hi, y * log_lo))
    e_hi = b.let("pow_e_hi", y_hi * log_hi)
    e = b.let("pow_e", lower(upper(e_hi + e_lo, 1100.0), -1100.0))
    n = b.let("pow_n", rint(e))
    inside, near = b.let("pow_inside", fabs(e) < 1100.0), b.let("pow_near", e_hi - n)
    r = b.let("pow_r", select(inside, near + e_lo, 0.0))
    magic = 1.5 * 2.0**52
    half = b.let("pow_half_n", fma(n, 0.5, magic))
    rest = power_of_two((n - (half - magic)) + magic)
    p = polynomial(b, r, EXP2[64])
    if b.arithmetic.fused:
        mantissa = fma(p, r, 1.0)
    else:  # what rounding r and its product loses is made good
        p = b.let("pow_p", p)
        product = b.let("pow_product", p * r)
        lost = select(inside, e_lo - (r - near), 0.0) * p - less_product(b, product, p, r)
        total, low = fast_two_sum(b, "pow_total", lift(1.0, r.ty), product)
        mantissa = total + (low + lost)
    return mantissa * power_of_two(half) * rest


def _log2_double(b: KernelBuilder, k: Expr, f: Expr) -> tuple[Expr, Expr]:
    """``(hi, lo)`` with ``hi + lo = k + log2(1 + f)`` to about 2^-65, ``hi`` of 26 bits.

    log2(1 + f) = 2/(3 log 2) s (3 + s^2 + ...) with s = f/(2 + f).
    """
    inverse = b.let("pow_inverse", 1.0 / (f + 2.0))
    s = b.let("pow_s", f * inverse)
    s_hi = b.let("pow_s_hi", head(s))
    d_hi = b.let("pow_d_hi", head(f + 2.0))  # the denominator, hi + lo
    d_lo = f - (d_hi - 2.0)
    s_lo = b.let("pow_s_lo", inverse * ((f - s_hi * d_hi) - s_hi * d_lo))
    z = b.let("pow_z", s * s)
    r = b.let("pow_r3", fma(s_lo, s_hi + s, z * z * polynomial(b, z, _LOG_DOUBLE)))
    z_hi = b.let("pow_z_hi", s_hi * s_hi)
    t_hi = b.let("pow_t_hi", head(z_hi + 3.0 + r))
    t_lo = r - ((t_hi - 3.0) - z_hi)
    u = b.let("pow_u", s_hi * t_hi)
    v = b.let("pow_v", fma(s_lo, t_hi, t_lo * s))
    p_hi = b.let("pow_p_hi", head(u + v))
    p_lo = v - (p_hi - u)
    m_hi = b.let("pow_m_hi", p_hi * _TWO_THIRDS_LOG2_E_HI)
    m_lo = b.let("pow_m_lo", fma(p_hi, _TWO_THIRDS_LOG2_E_LO, p_lo * _TWO_THIRDS_LOG2_E))
    hi = b.let("pow_log_hi", head(m_hi + m_lo + k))
    return hi, b.let("pow_log_lo", m_lo - ((hi - k) - m_hi))


def cbrt(b: KernelBuilder, x: Expr) -> Expr:
    """A third of the exponent (W. Kahan), then Halley's t (t^3 + 2 x)/(2 t^3 + x), the last step on a ``head``."""
    x = named(b, "cbrt_x", x)
    a = fabs(x)
    single = x.ty.bits == 32
    up, down, tiny = (2.0**24, 2.0**-8, 2.0**-126) if single else (2.0**54, 2.0**-18, 2.0**-1022)
    small = b.let("cbrt_small", a < tiny)
    a = b.let("cbrt_abs", select(small, a * up, a))
    t = b.let("cbrt_t", from_bits(_third(b, bits(a))))
    for step in range(one_of(x, 2, 3)):
        last = step == one_of(x, 1, 2)
        t = b.let("cbrt_t", head(t)) if last else t
        q = b.let("cbrt_q", a / (t * t))
        t = b.let("cbrt_t", fma(t, (q - t) / (t + t + q), t))
    value = select(small, t * down, t)
    return select((x.eq(0.0)) | ~(fabs(x) < INF), x, copysign(value, x))


def _third(b: KernelBuilder, u: Expr) -> Expr:
    """``bits / 3`` plus the offset that makes it the bits of the cube root, to 5 %.

    4/3 = (1 + 1/4)(1 + 1/16)(1 + 1/256)...: vectors have no integer division.
    """
    for shift in (2, 4, 8, 16):
        u = b.let("cbrt_u", u + (u >> shift))
    return (u >> 2) + one_of(u, 709958130, 715094163 << 32)


def hypot(b: KernelBuilder, x: Expr, y: Expr) -> Expr:
    """``sqrt(x^2 + y^2)`` without overflow; infinite if either is, whatever the other."""
    x, y = b.let("hypot_x", fabs(x)), b.let("hypot_y", fabs(y))
    infinite = x.eq(INF) | y.eq(INF)
    if x.ty.bits == 32:
        double = f64.vector(x.ty.lanes)
        wide_x, wide_y = b.let("hypot_wide", x.cast(double)), b.let("hypot_wide", y.cast(double))
        return select(infinite, lift(INF, x.ty), sqrt(wide_x * wide_x + wide_y * wide_y).cast(x.ty))
    larger = b.let("hypot_larger", select(x > y, x, y))
    big, small = b.let("hypot_big", larger > 2.0**500), b.let("hypot_small", larger < 2.0**-480)
    scale = b.let("hypot_scale", select(big, lift(2.0**-540, x.ty), select(small, lift(2.0**540, x.ty), 1.0)))
    back = select(big, lift(2.0**540, x.ty), select(small, lift(2.0**-540, x.ty), 1.0))
    x, y = b.let("hypot_x", x * scale), b.let("hypot_y", y * scale)
    return select(infinite, lift(INF, x.ty), sqrt(fma(x, x, y * y)) * back)
