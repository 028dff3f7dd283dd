"""exp, log and the logistic function, branch-free, for float32 and float64.

Arguments are split as ``x = n*log(2) + r`` or ``x = 2**k * (1 + f)``; polynomials are minimax fits (Remez, in 200
bits, the coefficients rounded one after the other and the rest fitted again).
"""

from __future__ import annotations

import math

import numpy as np

from ..loop_builder import KernelBuilder
from ..loop_ir import Expr, Ty, fma, lift, op_, select
from . import vector_math_tables as tables
from .vector_math_base import (
    bits,
    fabs,
    fast_two_sum,
    format_of,
    from_bits,
    head,
    horner,
    lower,
    named,
    one_of,
    polynomial,
    unless,
    upper,
)

INF, NAN = float("inf"), float("nan")
LOG2_E = 1.4426950408889634
LN2 = 0.6931471805599453
# log(2) = LN2_HI + LN2_LO; LN2_HI * n is exact for the n that occur.
LN2_HI = {32: 0.693145751953125, 64: 0.6931471803691238}
LN2_LO = {32: 1.4286068203094173e-06, 64: 1.9082149292705877e-10}

# ------------------------------------------------------------------------------------------- exp

# exp(r) = 1 + r + r^2 P(r), |r| <= log(2)/2: relative error 2^-28.2, 2^-57.8
_EXP = {
    32: (0.4999999403953552, 0.16666516661643982, 0.041668105870485306, 0.00836913287639618, 0.001383648137561977),
    64: (0.5000000000000011, 0.1666666666666643, 0.04166666666652566, 0.008333333333479695, 0.0013888888944925924,
         0.000198412695464644, 2.4801491651574123e-05, 2.7557543751387666e-06, 2.7630798740760794e-07,
         2.501576210544782e-08),
}  # fmt: skip
# 2^r = 1 + r P(r), |r| <= 1/2: relative error 2^-27.5, 2^-57.3
EXP2 = {
    32: (0.6931472420692444, 0.24022655189037323, 0.05550272762775421, 0.009617061354219913, 0.0013417747104540467,
         0.00015826472372282296),
    64: (0.6931471805599453, 0.2402265069591013, 0.05550410866482223, 0.009618129107594395, 0.0013333558146391856,
         0.0001540353045680135, 1.5252733793494714e-05, 1.3215435424019315e-06, 1.0178092038229758e-07,
         7.0737606864327416e-09, 4.449142931745019e-10),
}  # fmt: skip
# exp(r) - 1 = r + r^2 P(r), |r| <= log(2)/2: relative error 2^-31, 2^-57.5
_EXPM1 = {
    32: (0.5, 0.1666666567325592, 0.04166646674275398, 0.008333643898367882, 0.001393505372107029,
         0.0001966421987162903),
    64: (0.5000000000000001, 0.1666666666666667, 0.04166666666664947, 0.00833333333332858, 0.0013888888897238122,
         0.00019841269865325891, 2.480157068072937e-05, 2.7557266730045107e-06, 2.757166244803889e-07,
         2.5100927883158086e-08, 1.6428192863765124e-09),
}  # fmt: skip


def power_of_two(shifted: Expr, half: bool = False) -> Expr:
    """``2**n`` (or half of it), where ``shifted = n + magic``: the integer n stands in its low bits."""
    f = format_of(shifted)
    return from_bits((bits(shifted) << f.mantissa) + (f.one - (half << f.mantissa)))


def _two_powers(b: KernelBuilder, shifted: Expr, n: Expr) -> tuple[Expr, Expr]:
    """Two powers of two of about equal size with product ``2**n``.

    Multiplied in one after the other, they leave overflow and gradual underflow to the last product.
    """
    f = format_of(shifted)
    half = b.let("exp_half", fma(n, 0.5, f.magic))
    rest = from_bits(((bits(shifted) - bits(half)) << f.mantissa) + f.one)
    return power_of_two(half), rest


def _reduce(b: KernelBuilder, x: Expr, dx: Expr | None = None, magic: float | None = None) -> tuple[Expr, Expr, Expr]:
    """``(shifted, n, r)`` with ``x + dx = n log(2) + r`` and ``shifted = n + magic``; ``dx`` is small.

    magic: a smaller one than for whole numbers n; fractions then stand in the last bits of ``shifted``.
    """
    f = format_of(x)
    magic = f.magic if magic is None else magic
    shifted = b.let("exp_shifted", fma(x, LOG2_E, magic))
    n = b.let("exp_n", shifted - magic)
    main = fma(n, -LN2_HI[f.width], x)
    r = fma(n, -LN2_LO[f.width], main) if dx is None else main + fma(n, -LN2_LO[f.width], dx)
    return shifted, n, b.let("exp_r", r)


def _least_power(x: Expr, scaled: bool) -> float:
    """The exponent of two that stands for all smaller ones.

    What is just below the smallest subnormal number takes some cores a hundred cycles to round to zero, and where a mask
    has put -inf, every exponential is so small.  It is zero without rounding where the exponent is beyond all numbers
    (``scaled``: for the instruction that takes it), and where each of the two powers that it is cut into is zero.
    """
    return -1e5 if scaled else one_of(x, -254.0, -2046.0)


def _exp_rest(b: KernelBuilder, x: Expr, dx: Expr | None = None, scaled: bool = False) -> tuple[Expr, Expr, Expr]:
    """``(m, shifted, n)`` with ``exp(x + dx) = (1 + m) * 2**n`` and ``shifted = n + magic``, -0.3 < m < 0.42.

    ``scaled``: the power is multiplied by the instruction that takes n.
    """
    shifted, n, r = _reduce(b, _exp_clamped(b, x, scaled), dx)
    square = r * r
    return fma(polynomial(b, r, _EXP[x.ty.bits], square), square, r), shifted, n


def _exp_clamped(b: KernelBuilder, x: Expr, scaled: bool) -> Expr:
    """``x``, or what has the same exponential and an exponent of two that is a number."""
    least = _least_power(x, scaled) * math.log(2)
    largest = one_of(x, 90.0, 711.0)
    return b.let("exp_x", lower(x if b.ranges.of(x).high <= largest else upper(x, largest), least))


def exp_parts(b: KernelBuilder, x: Expr) -> tuple[Expr, Expr, Expr]:
    """``(m, s, t)`` with ``exp(x) = (1 + m) * s * t``: s and t are powers of two."""
    m, shifted, n = _exp_rest(b, x)
    return m, *_two_powers(b, shifted, n)


def _scaled(b: KernelBuilder, x: Expr, shifted: Expr, n: Expr, half: bool = False) -> Expr:
    """``x * 2**n``, or half of that, rounded once where it is subnormal or infinite."""
    if b.arithmetic.scale:
        return op_("scale", x, n - 1.0 if half else n)
    s, t = _two_powers(b, shifted, n)
    return x * s * (t * 0.5 if half else t)


def exp(b: KernelBuilder, x: Expr) -> Expr:
    if b.arithmetic.tables and b.arithmetic.scale:
        shifted, n, r = _reduce(b, _exp_clamped(b, x, scaled=True), magic=tables.sixteenth_magic(x))
        value = op_("scale", tables.exp_mantissa(b, shifted, r), n)
    else:
        value = untabled_exp(b, x)
    return b.ranges.state(value, 0.0, 1.0 if b.ranges.of(x).high <= 0.0 else INF)


def untabled_exp(b: KernelBuilder, x: Expr) -> Expr:
    """``exp(x)`` without the rounding of a table's numbers, for what loses a digit afterwards."""
    if b.ranges.of(x).high <= 0.0 and not b.arithmetic.scale:
        return _exp_falling(b, x)
    m, shifted, n = _exp_rest(b, x, scaled=b.arithmetic.scale)
    if b.arithmetic.scale:
        return op_("scale", m + 1.0, n)
    s, t = _two_powers(b, shifted, n)
    s = b.let("exp_power", s)
    return fma(m, s, s) * t


def _exp_falling(b: KernelBuilder, x: Expr) -> Expr:
    """``exp(x)``, x <= 0, with one power of two.

    That is ``2**(n - e)`` for the least exponent e of normal numbers, which is one wherever n is, and zero at n = 2 e - 1; the
    product with ``2**e`` rounds what is subnormal.
    """
    f = format_of(x)
    exponent = 1 - f.bias
    y = b.let("exp_x", lower(x, (2 * exponent - 1) * math.log(2)))
    shifted, _, r = _reduce(b, y)
    square = r * r
    m = fma(polynomial(b, r, _EXP[f.width], square), square, r)
    power = b.let("exp_power", from_bits((bits(shifted) << f.mantissa) + ((f.bias - exponent) << f.mantissa)))
    return fma(m, power, power) * f.tiny


def half_exp(b: KernelBuilder, x: Expr) -> Expr:
    """``exp(x) / 2``, finite wherever that is."""
    m, shifted, n = _exp_rest(b, x, scaled=b.arithmetic.scale)
    return _scaled(b, m + 1.0, shifted, n, half=True)


def exp_sum(b: KernelBuilder, x: Expr, dx: Expr, factor: Expr, low: Expr) -> Expr:
    """``exp(x + dx) * (factor + low)`` for a small ``dx``, a factor of moderate size and what is missing from it."""
    factor, low = b.let("exp_factor", factor), b.let("exp_factor_lo", low)
    m, shifted, n = _exp_rest(b, x, dx, b.arithmetic.scale)
    m = b.let("exp_m", m)
    return _scaled(b, factor + fma(factor, m, fma(low, m, low)), shifted, n)


def exp_normal(b: KernelBuilder, x: Expr) -> Expr:
    """``exp(x)`` where neither ``x`` nor the result is anywhere near the ends of the range."""
    x = named(b, "exp_x", x)
    if b.arithmetic.tables:
        shifted, _, r = _reduce(b, x, magic=tables.sixteenth_magic(x))
        return tables.exp_moderate(b, shifted, r)
    shifted, n, r = _reduce(b, x)
    square = r * r
    value = fma(polynomial(b, r, _EXP[x.ty.bits], square), square, r) + 1.0
    return op_("scale", value, n) if b.arithmetic.scale else value * power_of_two(shifted)


def exp2(b: KernelBuilder, x: Expr) -> Expr:
    """Exact where x is an integer."""
    f = format_of(x)
    x = b.let("exp2_x", lower(upper(x, one_of(x, 130.0, 1026.0)), _least_power(x, b.arithmetic.scale)))
    shifted = b.let("exp2_shifted", x + f.magic)
    n = b.let("exp2_n", shifted - f.magic)
    r = b.let("exp2_r", x - n)
    return _scaled(b, fma(horner(r, EXP2[f.width]), r, 1.0), shifted, n)


def expm1(b: KernelBuilder, x: Expr) -> Expr:
    """``2**n (exp(r) - 1) + (2**n - 1)``, where r is added first: half of it may cancel, and ``exp(r) - 1`` has been rounded."""
    x = named(b, "expm1_arg", x)
    y = b.let("expm1_x", lower(upper(x, one_of(x, 89.0, 710.0)), one_of(x, -20.0, -40.0)))
    shifted, _, r = _reduce(b, y)
    square = b.let("expm1_r2", r * r)
    s = b.let("expm1_scale", power_of_two(shifted, half=True))  # 2**(n-1): 2**n may not be finite
    half = fma(square * polynomial(b, r, _EXPM1[x.ty.bits], square), s, fma(r, s, s - 0.5))
    return select(fabs(x) < 0.5 * format_of(x).eps, x, 2.0 * half)


def logistic(b: KernelBuilder, x: Expr) -> Expr:
    """``1/(1 + e)`` or ``e/(1 + e)`` with ``e = exp(-|x|)``; what ``1 + e`` loses is made good in the quotient."""
    x = named(b, "logistic_x", x)
    if b.arithmetic.scale:
        return b.ranges.state(_logistic_scaled(b, x), 0.0, 1.0)
    e = b.let("logistic_e", untabled_exp(b, -fabs(x)))
    d, lost = fast_two_sum(b, "logistic_d", lift(1.0, x.ty), e)
    q = b.let("logistic_q", select(x < 0.0, e, 1.0) / d)
    inverse = select(x < 0.0, 1.0 - q, q)  # of d
    return b.ranges.state(fma(-(q * lost), inverse, q), 0.0, 1.0)


def _logistic_scaled(b: KernelBuilder, x: Expr) -> Expr:
    """``2**n/(2**n + exp(r))`` for ``x = n log(2) - r``: the sum is rounded once (all but), and the quotient once.

    Beyond 20, or 40, it is 1.
    """
    f = format_of(x)
    y = b.let("logistic_y", lower(upper(x, one_of(x, 20.0, 40.0)), _least_power(x, scaled=True) * math.log(2)))
    n = b.let("logistic_n", fma(y, LOG2_E, f.magic) - f.magic)
    r = b.let("logistic_r", fma(n, LN2_LO[f.width], fma(n, LN2_HI[f.width], -y)))
    square = r * r
    m = b.let("logistic_m", fma(polynomial(b, r, _EXP[f.width], square), square, r))  # exp(r) - 1
    power = b.let("logistic_power", op_("scale", lift(1.0, x.ty), n))
    d = select(power < f.eps, m + power, m) + (power + 1.0)  # of which the second is 1 where the power is so small
    return op_("scale", 1.0 / d, n)


# ------------------------------------------------------------------------------------------- log

# log(1 + f) = f - f^2/2 + f^3 P(f), sqrt(1/2) <= 1 + f < sqrt(2): relative error 2^-27.3
_LOG_32 = (
    0.3333333134651184, -0.250008225440979, 0.20001260936260223, -0.16623327136039734, 0.14200927317142487,
    -0.13159652054309845, 0.12767530977725983, -0.07643626630306244,
)  # fmt: skip
# log((1 + s)/(1 - s)) = 2 s + s^3 P(s^2), s = f/(2 + f): relative error 2^-58.4
_LOG_64 = (
    0.6666666666666735, 0.39999999999409297, 0.28571428743714306, 0.2222219842399038, 0.18183572758313835,
    0.1531381770344342, 0.1479844447910284,
)  # fmt: skip
# log(1 + x) = x + x^2 P(x), 0 <= x <= 1: relative error 2^-27.5
_LOG1P_FRACTION = (
    -0.4999993145465851, 0.33330467343330383, -0.24958088994026184, 0.19692681729793549, -0.1534721851348877,
    0.1066625788807869, -0.057519733905792236, 0.020125966519117355, -0.003300735494121909,
)  # fmt: skip
# log2(1 + f) = f + f P(f): relative error 2^-26.3
_LOG2_32 = (
    0.4426950514316559, -0.7213472127914429, 0.48089438676834106, -0.36070701479911804, 0.2887890636920929,
    -0.23955443501472473, 0.2005012482404709, -0.18746502697467804, 0.20996740460395813, -0.14730677008628845,
)  # fmt: skip


def split(b: KernelBuilder, x: Expr, name: str, subnormal: bool = True) -> tuple[Expr, Expr]:
    """``(k, f)`` with ``x = 2**k * (1 + f)`` and ``sqrt(1/2) <= 1 + f < sqrt(2)``, for finite x > 0.

    subnormal: False if x is never so small.
    """
    f = format_of(x)
    integer = 2.0**f.mantissa  # the number whose last bit is one
    lost: Expr | float = 0.0  # of the exponent
    if subnormal:
        small = b.let(f"{name}_small", x < f.tiny)
        x = b.let(f"{name}_large", select(small, x * (2.0 * integer), x))
        lost = select(small, lift(f.mantissa + 1.0, x.ty), 0.0)
    power = b.let(f"{name}_power", _power_below(x))
    k = _exponent(power)
    m = from_bits(bits(x) - power)
    return b.let(f"{name}_k", k - lost if subnormal else k), b.let(f"{name}_f", m - 1.0)


def _power_below(x: Expr) -> Expr:
    """k times the last bit of the exponent, as an integer that may wrap: ``2**k <= x/sqrt(1/2) < 2**(k+1)``."""
    sqrt_half = one_of(x, 0x3F3504F3, 0x3FE6A09E667F3BCD)
    return (bits(x) - sqrt_half) & (format_of(x).mantissa_mask ^ ((1 << x.ty.bits) - 1))


def _exponent(power: Expr) -> Expr:
    """The k of ``_power_below`` as a float."""
    f = format_of(power)
    if f.width == 32:
        return (power.bitcast(Ty("i", 32, power.ty.lanes)) >> f.mantissa).cast(Ty("f", 32, power.ty.lanes))
    biased = (power + f.one) >> f.mantissa  # conversions of wide integers are rare
    return from_bits(biased | (f.bias + f.mantissa << f.mantissa)) - (2.0**f.mantissa + f.bias)


def _log_rest(b: KernelBuilder, f: Expr, correction: Expr) -> Expr:
    """``log(1 + f) - f + correction``."""
    square = b.let("log_f2", f * f)
    if f.ty.bits == 32:
        return fma(square, fma(polynomial(b, f, _LOG_32, square), f, -0.5), correction)
    s = b.let("log_s", f / (f + 2.0))
    z = b.let("log_z", s * s)
    half_square = b.let("log_hfsq", 0.5 * square)
    return fma(s, fma(polynomial(b, z, _LOG_64), z, half_square), correction) - half_square


def _log_domain(x: Expr, zero: float, value: Expr) -> Expr:
    """``value``, but -inf at ``x = zero``, NaN below, and ``x`` itself where it is infinite or NaN."""
    inside = select(x > zero, value, select(x.eq(zero), lift(-INF, x.ty), NAN))
    return select(x < INF, inside, x)


def _outside(x: Expr, low: float, high: float) -> Expr:
    """``~(low <= x < high)``, for bounds that are not negative: one comparison."""
    first, last = (int(np.asarray(v, f"f{x.ty.bits // 8}").view(f"u{x.ty.bits // 8}")) for v in (low, high))
    return bits(x) - first >= last - first


def log(b: KernelBuilder, x: Expr) -> Expr:
    x = named(b, "log_x", x)
    if b.ranges.of(x).low >= format_of(x).tiny:
        return select(x < INF, log_normal(b, x), x)
    return unless(
        b, _outside(x, format_of(x).tiny, INF), log_normal(b, x), lambda: _log_domain(x, 0.0, _log_positive(b, x))
    )


def log_normal(b: KernelBuilder, x: Expr) -> Expr:
    """``log(x)`` of a finite x that is positive and not subnormal."""
    if b.arithmetic.tables and x.ty.bits == 32:
        return tables.log_single(b, named(b, "log_x", x))
    return untabled_log(b, x)


def untabled_log(b: KernelBuilder, x: Expr) -> Expr:
    """The same without the rounding of a table's numbers, for what loses a digit afterwards."""
    return _log_positive(b, x, subnormal=False)


def _log_positive(b: KernelBuilder, x: Expr, subnormal: bool = True) -> Expr:
    k, f = split(b, x, "log", subnormal)
    return fma(k, LN2_HI[x.ty.bits], f + _log_rest(b, f, k * LN2_LO[x.ty.bits]))


def log_parts(b: KernelBuilder, x: Expr, subnormal: bool = True) -> tuple[Expr, Expr]:
    """``log(x)`` of a positive finite float64 to 2^-56 or 2^-65 of itself, as the sum of a number and a far smaller one."""
    k, f = split(b, x, "log", subnormal)
    total, lost = fast_two_sum(b, "log_sum", b.let("log_whole", k * LN2_HI[64]), f)
    return total, b.let("log_low", lost + _log_rest(b, f, k * LN2_LO[64]))


def log_terms(b: KernelBuilder, x: Expr) -> tuple[Expr, Expr]:
    """The two terms of ``log(x)`` of a normal number: a multiple of log(2), which is exact, and the rest, at most 0.35 in size."""
    k, f = split(b, x, "log", subnormal=False)
    return b.let("log_whole", k * LN2_HI[x.ty.bits]), b.let("log_terms", f + _log_rest(b, f, k * LN2_LO[x.ty.bits]))


def _log1p_usual(b: KernelBuilder, x: Expr, u: Expr) -> Expr:
    """``log(1 + x)``, where ``u = 1 + x`` is positive and neither subnormal nor huge.

    ``log(2**k (1 + f))``, where f is rounded only once: ``2**-k x - (1 - 2**-k)``.  The exponent is taken with the other sign,
    so that zeros keep theirs.
    """
    fmt = format_of(x)
    power = b.let("log1p_power", _power_below(u))
    s = b.let("log1p_scale", from_bits(fmt.one - power))
    minus_k = b.let("log1p_k", _exponent(-power))
    f = b.let("log1p_f", fma(x, s, -(1.0 - s)))
    rest = _log_rest(b, f, minus_k * -LN2_LO[fmt.width])
    return fma(minus_k, -LN2_HI[fmt.width], f + rest)


def log1p(b: KernelBuilder, x: Expr) -> Expr:
    x = named(b, "log1p_x", x)
    fmt = format_of(x)
    if b.ranges.of(x).within(0.0, 1.0):
        return _log1p_of_fraction(b, x)
    u = b.let("log1p_u", x + 1.0)
    usual = tables.log1p_single(b, x, u) if b.arithmetic.tables and x.ty.bits == 32 else _log1p_usual(b, x, u)
    outside = _outside(u, fmt.tiny, one_of(x, 2.0**126, 2.0**1022))
    return unless(b, outside, usual, lambda: _log_domain(x, -1.0, log_normal(b, x)))


def _log1p_of_fraction(b: KernelBuilder, x: Expr) -> Expr:
    """``log(1 + x)``, 0 <= x <= 1 or NaN: of a float32 one polynomial, without an exponent.

    Its terms have alternating signs; in two halves, or rounded twice each, they would lose an ulp.
    """
    if x.ty.bits == 64 or not b.arithmetic.fused:
        return _log1p_usual(b, x, b.let("log1p_u", x + 1.0))
    return fma(horner(x, _LOG1P_FRACTION), x * x, x)


def log2(b: KernelBuilder, x: Expr) -> Expr:
    """Exact where x is a power of two."""
    x = named(b, "log2_x", x)
    if b.ranges.of(x).low >= format_of(x).tiny:
        return select(x < INF, _log2_positive(b, x, subnormal=False), x)
    return unless(
        b, _outside(x, format_of(x).tiny, INF), _log2_positive(b, x, subnormal=False), lambda: _log_domain(x, 0.0, _log2_positive(b, x))
    )  # fmt: skip


def _log2_positive(b: KernelBuilder, x: Expr, subnormal: bool = True) -> Expr:
    k, f = split(b, x, "log2", subnormal)
    if x.ty.bits == 32:
        return k + fma(polynomial(b, f, _LOG2_32), f, f)
    high = b.let("log2_hi", head(f))  # f = high + low; high * inverse_hi is exact
    rest = b.let("log2_rest", _log_rest(b, f, f - high))
    inverse_hi, inverse_lo = 1.4426950216293335, 1.9259629911266175e-08
    low = fma(rest, inverse_hi, (rest + high) * inverse_lo)
    exact = b.let("log2_exact", high * inverse_hi)
    total, lost = fast_two_sum(b, "log2_sum", select(k.eq(0.0), exact, k), select(k.eq(0.0), k, exact))
    return total + (lost + low)
