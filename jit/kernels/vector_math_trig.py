"""Trigonometric functions and their inverses, for float32 and float64.

sin, cos and tan reduce their argument correctly in the whole range.  Usually, ``|x| < 2^16``, by Cody and Waite: a
multiple of pi/2 is subtracted in pieces, exactly.  Beyond, and for a float64 that lies closer to the multiple than the
pieces reach, the fraction of ``x/(2 pi)`` is the sum of the fractions of ``x`` times pieces of ``1/(2 pi)``, and whole
turns vanish piece by piece:

* float32: six exact products in float64, the integer part taken off after each.
* float64: Payne and Hanek's window of 192 bits of ``1/(2 pi)`` that begins where ``x`` times the bits before it is
  whole turns, picked by selects and multiplied in 32-bit limbs.
"""

from __future__ import annotations

from collections.abc import Callable

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Ty, f32, f64, fma, lift, select
from .vector_math_base import (
    bits,
    copysign,
    fabs,
    fast_two_sum,
    format_of,
    from_bits,
    head,
    horner,
    named,
    odd_horner,
    polynomial,
    rint,
    sqrt,
    unless,
    upper,
)
from .vector_math_exp import INF, NAN

QUARTER_PI = 0.7853981633974483
HALF_PI = {32: (1.5707963705062866, -4.371138828673793e-08), 64: (1.5707963267948966, 6.123233995736766e-17)}
PI = {w: (2.0 * hi, 2.0 * lo) for w, (hi, lo) in HALF_PI.items()}
_MAGIC = 1.5 * 2.0**52

# ------------------------------------------------------------------------------- argument reduction

# The sum of the pieces is 1/(2 pi) to 200 bits; those but the last have 29 bits, so products with a float32 are exact.
_TURN_PIECES = (
    0.15915494319051504, -9.861970528407538e-11, -2.98359219573521e-19, -1.452834461901058e-28, -4.225483628960024e-37,
    9.458140970740169e-46,
)  # fmt: skip
# 1/(2 pi) in binary, after 64 zeros
_TURN_WORDS = (
    0x0000000000000000,
    0x28BE60DB9391054A, 0x7F09D5F47D4D3770, 0x36D8A5664F10E410, 0x7F9458EAF7AEF158, 0x6DC91B8E909374B8,
    0x01924BBA82746487, 0x3F877AC72C4A69CF, 0xBA208D7D4BAED121, 0x3A671C09AD17DF90, 0x4E64758E60D4CE7D,
    0x272117E2EF7E4A0E, 0xC7FE25FFF7816603, 0xFBCBC462D6829B47, 0xDB4D9FB3C9F2C26D, 0xD3D18FD9A797FA8B,
    0x5D49EEB1FAF97C5E, 0xCF41CE7DE294A4BA, 0x9AFED7EC47E35742, 0x1580CC11BF1EDAEA,
)  # fmt: skip
_LOW_WORD = 0xFFFFFFFF


# pi/2 as a sum: the first two have 33 bits, so their products with a quarter count below 2^20 are exact.
_QUARTER_PIECES = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)
_QUARTER_PIECES_DOUBLE = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)  # float64 each
_NEAR_PART = 2.0**-30  # of the multiple: far more than its second piece
_FAR = 2.0**16
_NEAR = 2.0**15
# pi as a sum of positive numbers, which leaves -0.0 what it is: float32 and float64 each; and 33 bits each, so that products
# with a number of half turns are exact
_PI_PIECES = {
    32: (3.141592502593994, 1.5099578831723193e-07, 1.078060505991553e-14),
    64: (3.141592653589793, 1.224646799147353e-16, 2.1657133478438278e-32),
}
_BELOW_HALF_TURNS = {32: 7, 64: 20}
_PI_PIECES_EXACT = (3.1415926534682512, 1.2154201012607932e-10, 4.044532497422333e-21, 1.69568553207378e-31)
_NEAR_MULTIPLE = 2.0**-15  # more than the second piece of any multiple below _FAR


def _quarters(b: KernelBuilder, x: Expr) -> tuple[Expr, Expr]:
    """``(q, n)`` for a float64 x: the integer n next to x/(pi/2), whose lowest bits stand in q."""
    shifted = b.let("turn_shifted", fma(x, 1.0 / HALF_PI[64][0], _MAGIC))
    return bits(shifted), b.let("turn_n", shifted - _MAGIC)


def _subtract_single(b: KernelBuilder, x: Expr) -> tuple[Expr, Expr]:
    """``_reduce_single`` for |x| < _FAR: what is left is exact to 2^-71."""
    wide = b.let("turn_x", x.cast(f64.vector(x.ty.lanes)))
    q, n = _quarters(b, wide)
    first, second, third = _QUARTER_PIECES
    return q, fma(n, -(second + third), fma(n, -first, wide))


def _subtract_double(b: KernelBuilder, x: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    """``(rare, q, r, r_lo)``: ``_reduce_double``, where not rare; exact to 2^-100."""
    q, n = _quarters(b, x)
    first, second, third = _QUARTER_PIECES
    near = b.let("turn_near", fma(n, -first, x))
    part = b.let("turn_part", n * second)
    main = b.let("turn_main", near - part)
    tail = b.let("turn_tail", fma(n, -third, (near - main) - part))
    r, low = fast_two_sum(b, "sin_r", main, tail)
    usual = (x < QUARTER_PI) | ((x < _FAR) & (fabs(near) > _NEAR_MULTIPLE))
    return ~usual, q, r, low


def _subtract_double_fused(b: KernelBuilder, x: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    """The same with a fused multiply-add: the first difference is exact, and what the second loses is found by another."""
    q, n = _quarters(b, x)
    first, second, third = _QUARTER_PIECES_DOUBLE
    near = b.let("turn_near", fma(n, -first, x))
    r = b.let("sin_r", fma(n, -second, near))
    low = fma(n, -third, fma(n, -second, near - r))
    usual = (fabs(near) >= n * _NEAR_PART) & (x < _FAR)
    return ~usual, q, r, b.let("sin_r_lo", low)


def _reduce_single(b: KernelBuilder, x: Expr) -> tuple[Expr, Expr]:
    """``(q, r)`` for a float32 x: ``x = q pi/2 + r`` up to whole turns, |r| <= pi/4, r in float64.

    The lowest bits of the integer q (uint64) say the quadrant.
    """
    *whole, fifth, sixth = _TURN_PIECES
    wide = b.let("turn_x", x.cast(f64.vector(x.ty.lanes)))
    turns: Expr = Const(0.0, wide.ty)
    for i, piece in enumerate(whole):
        t = b.let("turn", fma(wide, piece, turns) if i else wide * piece)
        turns = b.let("turn_fraction", t - rint(t))
    quarters = b.let("turn_quarters", 4.0 * fma(wide, fifth, turns))  # |x * fifth| < 2^8
    shifted = b.let("turn_shifted", quarters + _MAGIC)
    return bits(shifted), fma(wide, 4.0 * sixth, quarters - (shifted - _MAGIC)) * HALF_PI[64][0]


def _reduce_double(b: KernelBuilder, x: Expr) -> tuple[Expr, Expr, Expr]:
    """``(q, r, r_lo)`` for a float64 x >= 0: ``x = q pi/2 + r + r_lo`` up to whole turns, |r| <= pi/4."""
    small = b.let("turn_small", x < QUARTER_PI)
    hi, lo = _turn_fraction(b, bits(x))
    rounded = b.let("turn_rounded", hi + (1 << 61))  # rounds to quarters of a turn
    r, r_lo = _quarter_to_radians(b, rounded, lo)
    q = select(small, Const(0, hi.ty), rounded >> 62)
    return q, b.let("sin_r", select(small, x, r)), b.let("sin_r_lo", select(small, Const(0.0, x.ty), r_lo))


def _turn_fraction(b: KernelBuilder, u: Expr) -> tuple[Expr, Expr]:
    """The first 128 bits of the fraction of x/(2 pi), x >= 2^-12 given by its bits."""
    significand = (u & ((1 << 52) - 1)) | (1 << 52)
    place = b.let("turn_place", (u >> 52) - (1075 - 64))
    w = _window(b, place)
    m_lo = b.let("turn_m_lo", significand & _LOW_WORD)
    m_hi = b.let("turn_m_hi", significand >> 32)
    limbs = [p for word in reversed(w) for p in (word & _LOW_WORD, word >> 32)]  # least significant first
    limbs = [b.let(f"turn_w{i}", p) for i, p in enumerate(limbs)]
    carry = ((m_lo * limbs[1]) >> 32) + ((m_hi * limbs[0]) >> 32)
    product = []
    for i in range(2, 6):  # limb i of significand * window; what lies below has been cut off but for its carry
        first = b.let("turn_t", m_lo * limbs[i] + carry)
        second = b.let("turn_t", m_hi * limbs[i - 1] + (first & _LOW_WORD))
        carry = (first >> 32) + (second >> 32)
        product.append(second)
    lo = (product[0] & _LOW_WORD) | (product[1] << 32)
    hi = (product[2] & _LOW_WORD) | (product[3] << 32)
    return b.let("turn_hi", hi), b.let("turn_lo", lo)


def _window(b: KernelBuilder, place: Expr) -> list[Expr]:
    """Three words of ``_TURN_WORDS`` from bit ``place`` (0 to 1035) on."""
    words: list[Expr] = [Const(w, place.ty) for w in _TURN_WORDS]
    for level in (16, 8, 4, 2, 1):  # steps over ``level`` words where that bit of the word's number is set
        skip = b.let("turn_skip", (place & (level << 6)).ne(0))
        pairs = list(zip(words, words[level:]))[: level + 3]
        kept = words[len(pairs) :] if level == 16 else []
        words = [b.let("turn_word", select(skip, further, w)) for w, further in pairs] + kept
    left = b.let("turn_left", place & 63)
    right = b.let("turn_right", 63 - left)
    return [b.let("turn_window", (words[i] << left) | ((words[i + 1] >> 1) >> right)) for i in range(3)]


def _quarter_to_radians(b: KernelBuilder, hi: Expr, lo: Expr) -> tuple[Expr, Expr]:
    """pi/2 times a fraction of a quarter turn, in [-1/2, 1/2): 62 bits of ``hi``, biased by 1/2, and those of ``lo``."""

    def exactly(word: Expr, bias: float = 0.0) -> Expr:
        """A 32-bit integer as a float, less ``bias``."""
        return from_bits(word | (0x433 << 52)) - (2.0**52 + bias)

    top = b.let("turn_top", exactly((hi >> 32) & ((1 << 30) - 1), 2.0**29) * 2.0**32)
    middle = b.let("turn_middle", exactly(hi & _LOW_WORD))
    s, e = fast_two_sum(b, "turn_sum", top, middle)
    tail = fma(exactly(lo & _LOW_WORD), 2.0**-64, exactly(lo >> 32) * 2.0**-32) + e
    g, g_lo = fast_two_sum(b, "turn_g", s, b.let("turn_tail", tail))
    unit_hi, unit_lo = 3.406121545623552e-19, 3.446300270664977e-27  # pi/2 / 2^62, the first of 26 bits
    g_hi = b.let("turn_g_hi", head(g))
    exact = b.let("turn_exact", g_hi * unit_hi)
    rest = b.let("turn_rest", fma(g - g_hi, unit_hi, fma(g, unit_lo, g_lo * unit_hi)))
    return fast_two_sum(b, "turn_r", exact, rest)


# ----------------------------------------------------------------------------------- sin, cos, tan

# sin(r) = r + r^3 P(r^2), |r| <= pi/4: relative error 2^-27.9, 2^-57.9
_SIN = {
    32: (-0.16666655242443085, 0.008332189172506332, -0.0001951828453456983),
    64: (-0.1666666666666663, 0.008333333333321839, -0.0001984126982935536, 2.7557313536855904e-06,
         -2.505073407834884e-08, 1.5895414233033817e-10),
}  # fmt: skip
# cos(r) = 1 - r^2/2 + r^4 P(r^2), |r| <= pi/4: relative error 2^-33, 2^-63.9
_COS = {
    32: (0.04166664555668831, -0.0013887309469282627, 2.4432305508526042e-05),
    64: (0.041666666666666595, -0.001388888888887334, 2.4801587288999284e-05, -2.7557314215814506e-07,
         2.08757051748105e-09, -1.1358735086767269e-11),
}  # fmt: skip
# sin(r) = r (1 + r^2 P(r^2)), |r| <= pi/2 and a little more: relative error 2^-26.3, 2^-61.6.  The first is fitted to a sine that
# ends at 1 - 2^-27, so that no sum is rounded to more than 1 (all numbers next to pi/2 were tried); for the second no fit does
# that and leaves cos(0) at 1.
_SINE = {
    32: (-0.1666666567325592, 0.008333100005984306, -0.0001980852393899113, 2.5997264856414404e-06),
    64: (-0.16666666666666666, 0.008333333333333207, -0.0001984126984121248, 2.7557319211569465e-06,
         -2.5052106904418432e-08, 1.6058941001713393e-10, -7.643019337526466e-13, 2.7214188797898243e-15),
}  # fmt: skip
# tan(r) = r + r^3 P(r^2)/Q(r^2), |r| <= pi/4: relative error 2^-35
_TAN_P = (0.33333333214216765, -0.014896172133264919)
_TAN_Q = (1.0, -0.44468856856849287, 0.015970896495563876)


Parts = tuple[Expr, Expr, Expr]
Sum = tuple[Expr, Expr]


def _near_sine(b: KernelBuilder, x: Expr, ahead: bool) -> Expr:
    """``sin(x)`` (ahead: ``cos(x)``, the sine of a quarter turn more) for |x| < _FAR, from one polynomial for half a turn.

    Of ``x = n pi + r``, the first difference is exact, the second is rounded once (without a fused multiply-add: products are
    exact), and the third matters where little is left.  The cosine has ``n = m + 1/2``, and -r instead of r.  All pieces of pi
    are positive and all factors are products: -0.0 stays what it is.
    """
    single = x.ty.bits == 32 and not b.arithmetic.fused
    wide = b.let("turn_x", x.cast(f64.vector(x.ty.lanes))) if single else x
    f = format_of(wide)
    pieces = _PI_PIECES[f.width] if b.arithmetic.fused else _PI_PIECES_EXACT
    below = _BELOW_HALF_TURNS[f.width] if ahead else 0  # bits of the half turns behind the binary point
    magic = f.magic * 2.0**-below
    turns = bits(fma(wide, 1.0 / PI[64][0], magic))
    if ahead:
        turns = (turns & -(1 << below)) | (1 << (below - 1))  # rounded down, and a half more
    turns = b.let("turn_halves", turns)
    n = b.let("turn_n", from_bits(turns) - magic)
    r = -wide if ahead else wide
    for piece in pieces:
        r = fma(n, piece if ahead else -piece, r)
    sign = bits(turns) << (f.width - 1 - below)
    if ahead:
        sign = sign & f.sign_bit
    if single:
        r = r.cast(x.ty)
        sign = (sign >> 32).cast(Ty("u", 32, x.ty.lanes))
    r = b.let("sin_r", from_bits(bits(r) ^ sign))
    z = b.let("sin_z", r * r)
    by_parts = x.ty.bits == 64 and not b.arithmetic.fused
    value = _sine_by_parts(b, r, z) if by_parts else fma(r * z, horner(z, _SINE[x.ty.bits]), r)
    if x.ty.bits == 64:
        value = upper(fabs(value), 1.0)
    elif ahead:
        return value
    return from_bits(bits(value) | (bits(r) & format_of(x).sign_bit))  # -0.0 has become 0.0


def _sine_by_parts(b: KernelBuilder, r: Expr, z: Expr) -> Expr:
    """``r + r^3 P(z)``, z = r^2, for products that are rounded: of the cube, the greater part is exact."""
    high = b.let("sin_high", from_bits(bits(r) & 0xFFFFFFF000000000))  # 17 bits
    low = b.let("sin_low", (r - high) * (z + high * (r + high)))
    p = b.let("sin_p", horner(z, _SINE[64]))
    return r + (high * high * high * p + low * p)


def _single(b: KernelBuilder, x: Expr, value: Callable[[Expr, Expr], Expr]) -> Expr:
    """``value(q, r)`` of the reduced argument, with r in float64."""
    return unless(b, ~(fabs(x) < _FAR), value(*_subtract_single(b, x)), lambda: value(*_reduce_single(b, x)))


def _double(b: KernelBuilder, x: Expr, value: Callable[[Expr, Sum, Sum], Expr]) -> Expr:
    """``value(q, sin r, cos r)`` of the reduced argument, x >= 0; sine and cosine are sums that are still to be taken.
    NaN where x is not finite."""
    subtract = _subtract_double_fused if b.arithmetic.fused else _subtract_double
    rare, *usual = subtract(b, x)
    return unless(b, rare, value(*_sin_cos_double(b, *usual)), lambda: _far_double(b, x, value))


def _far_double(b: KernelBuilder, x: Expr, value: Callable[[Expr, Sum, Sum], Expr]) -> Expr:
    """The same for numbers of any size."""
    return select(x < INF, value(*_sin_cos_double(b, *_reduce_double(b, x))), lift(NAN, x.ty))


def _sin_cos_single(b: KernelBuilder, q: Expr, r: Expr) -> Parts:
    """``(q, sin r, cos r)``, in float32."""
    ty = f32.vector(r.ty.lanes)
    r = b.let("sin_r", r.cast(ty))
    z = b.let("sin_z", r * r)
    cosine = fma(z, fma(polynomial(b, z, _COS[32]), z, -0.5), 1.0)
    return b.let("sin_q", q.cast(Ty("u", 32, ty.lanes))), odd_horner(b, r, z, _SIN[32]), cosine


def _sin_cos_double(b: KernelBuilder, q: Expr, r: Expr, low: Expr) -> tuple[Expr, Sum, Sum]:
    """``(q, sin, cos)`` of ``r + low``; of the two terms of a sum the first is the larger."""
    z = b.let("sin_z", r * r)
    sine = r, b.let("sin_rest", fma(r * z, polynomial(b, z, _SIN[64]), fma(-0.5 * z, low, low)))
    near = b.let("cos_near", fma(z, -0.5, 1.0))
    lost = fma(z, -0.5, 1.0 - near)
    cosine = near, b.let("cos_rest", fma(z * z, polynomial(b, z, _COS[64]), fma(-r, low, lost)))
    return b.let("sin_q", q), sine, cosine


def _in_quadrant(q: Expr, sine: Expr, cosine: Expr) -> Expr:
    """The sine of ``q pi/2 + r`` from those of r."""
    value = select((q & 1).eq(0), sine, cosine)
    return from_bits(bits(value) ^ ((q << (q.ty.bits - 2)) & (1 << (q.ty.bits - 1))))


def sin(b: KernelBuilder, x: Expr) -> Expr:
    return _sine(b, named(b, "sin_x", x), ahead=False)


def cos(b: KernelBuilder, x: Expr) -> Expr:
    return _sine(b, named(b, "cos_x", x), ahead=True)


def _sine(b: KernelBuilder, x: Expr, ahead: bool) -> Expr:
    """``sin(x)``, or of a quarter turn more."""

    def of_quarter(q: Expr, sine: Expr, cosine: Expr) -> Expr:
        return _in_quadrant(b.let("cos_q", q + 1) if ahead else q, sine, cosine)

    def far() -> Expr:
        if x.ty.bits == 32:
            return of_quarter(*_sin_cos_single(b, *_reduce_single(b, x)))
        value = _far_double(b, b.let("sin_abs", fabs(x)), lambda q, s, c: of_quarter(q, s[0] + s[1], c[0] + c[1]))
        return value if ahead else _odd(x, value)

    near = _near_sine(b, x, ahead)
    if b.ranges.of(x).within(-_NEAR, _NEAR):
        return b.ranges.state(near, -1.0, 1.0)
    return b.ranges.state(unless(b, ~(fabs(x) < _FAR), near, far), -1.0, 1.0)


def _odd(x: Expr, of_abs: Expr) -> Expr:
    """``of_abs``, computed from |x|, with the sign of an odd function."""
    return from_bits(bits(of_abs) ^ (bits(x) & (1 << 63)))


def tan(b: KernelBuilder, x: Expr) -> Expr:
    x = named(b, "tan_x", x)
    if x.ty.bits == 32:
        return _single(b, x, lambda q, r: _tan_single(b, q, r))
    return _odd(x, _double(b, b.let("tan_abs", fabs(x)), lambda q, s, c: _tan_double(b, q, s, c)))


def _tan_double(b: KernelBuilder, q: Expr, sine: Sum, cosine: Sum) -> Expr:
    """``s/c`` or ``-c/s``; what the sums lose that these are is made good in the quotient."""
    (s, s_lo), (c, c_lo) = fast_two_sum(b, "tan_sin", *sine), fast_two_sum(b, "tan_cos", *cosine)
    even = b.let("tan_even", (q & 1).eq(0))
    above, above_lo = b.let("tan_above", select(even, s, -c)), select(even, s_lo, -c_lo)
    below, below_lo = b.let("tan_below", select(even, c, s)), select(even, c_lo, s_lo)
    value = b.let("tan_value", above / below)
    return value + fma(-value, below_lo, above_lo) / below


def _tan_single(b: KernelBuilder, q: Expr, r: Expr) -> Expr:
    """In float64: ``(r Q + r^3 P)/Q`` or minus its inverse."""
    r = b.let("tan_r", r)
    z = b.let("tan_z", r * r)
    denominator = b.let("tan_q", polynomial(b, z, _TAN_Q))
    numerator = b.let("tan_p", r * fma(z, polynomial(b, z, _TAN_P), denominator))
    even = b.let("tan_even", (q & 1).eq(0))
    value = select(even, numerator, -denominator) / select(even, denominator, numerator)
    return value.cast(f32.vector(r.ty.lanes))


# --------------------------------------------------------------------------------------- inverses

# asin(x) = x + x^3 P(x^2), |x| <= 1/2: relative error 2^-27.6, 2^-59.3
_ASIN = {
    32: (0.16666752099990845, 0.07495306432247162, 0.045469846576452255, 0.02417971007525921, 0.04216985031962395),
    64: (0.1666666666666676, 0.07499999999970812, 0.044642857174686384, 0.03038194270062795, 0.02237221527442872,
         0.01735160555711523, 0.013980911518894178, 0.011398069962962307, 0.010785464771725891, 0.0036850415001967868,
         0.021763176377054626, -0.021082814480368035, 0.032683842049340356),
}  # fmt: skip
# atan(x) = x + x^3 P(x^2), |x| <= 1: relative error 2^-28.5, 2^-59
_ATAN = {
    32: (-0.33333298563957214, 0.1999852955341339, -0.1426401436328888, 0.10950853675603867, -0.08399155735969543,
         0.057877492159605026, -0.031091822311282158, 0.010865285061299801, -0.0017819392960518599),
    64: (-0.33333333333333287, 0.1999999999999062, -0.14285714285044981, 0.1111111108666374, -0.09090908550787617,
         0.0769229975224824, -0.06666584073258097, 0.05881718545325043, -0.052594468203722385, 0.04744982680112717,
         -0.04286585057780001, 0.03821530109749981, -0.032796481339159037, 0.026169825193417047, -0.018637250516854484,
         0.01133998544469334, -0.005628573336923586, 0.0021600726652624878, -0.0005959296451632396,
         0.0001045353535190496, -8.720956484447866e-06),
}  # fmt: skip


def _asin_parts(b: KernelBuilder, x: Expr) -> tuple[Expr, Expr, Expr, Expr, Expr]:
    """``(large, s, s_hi, s_lo, w)``: asin(s) = s + w for ``s = |x|``, or ``sqrt((1 - |x|)/2)`` where |x| > 1/2.

    There, ``s_hi + s_lo`` is the square root with more bits.
    """
    a = b.let("asin_abs", fabs(x))
    large = b.let("asin_large", a > 0.5)
    z = b.let("asin_z", select(large, fma(a, -0.5, 0.5), a * a))
    root = b.let("asin_root", sqrt(z))
    s = b.let("asin_s", select(large, root, a))
    s_hi = b.let("asin_s_hi", head(s))
    s_lo = b.let("asin_s_lo", (z - s_hi * s_hi) / ((s + 1e-30) + s_hi))  # 1e-30: no 0/0 at the ends
    return large, s, s_hi, s_lo, b.let("asin_w", s * z * polynomial(b, z, _ASIN[x.ty.bits]))


def asin(b: KernelBuilder, x: Expr) -> Expr:
    """Beyond 1/2: pi/2 - 2 asin(sqrt((1 - x)/2))."""
    x = named(b, "asin_x", x)
    large, s, s_hi, s_lo, w = _asin_parts(b, x)
    hi, lo = HALF_PI[x.ty.bits]
    beyond = 0.5 * hi - ((2.0 * w - (lo - 2.0 * s_lo)) - (0.5 * hi - 2.0 * s_hi))
    return copysign(select(large, beyond, s + w), x)


def acos(b: KernelBuilder, x: Expr) -> Expr:
    """pi/2 - asin(x), but 2 asin(sqrt((1 - x)/2)) beyond 1/2, and pi less that below -1/2."""
    x = named(b, "acos_x", x)
    large, s, s_hi, s_lo, w = _asin_parts(b, x)
    hi, lo = HALF_PI[x.ty.bits]
    right = 2.0 * (s_hi + (w + s_lo))
    left = 2.0 * (hi - (s + (w - lo)))
    middle = hi - (copysign(s, x) - (lo - copysign(w, x)))
    return select(large, select(x < 0.0, left, right), middle)


def atan(b: KernelBuilder, x: Expr) -> Expr:
    """pi/2 - atan(1/x) beyond 1."""
    x = named(b, "atan_x", x)
    a = b.let("atan_abs", fabs(x))
    steep = b.let("atan_steep", a > 1.0)
    t = b.let("atan_t", select(steep, 1.0 / a, a))
    return copysign(_atan_of_ratio(b, t, steep), x)


def _atan_of_ratio(b: KernelBuilder, t: Expr, steep: Expr) -> Expr:
    """atan(t) for t in [0, 1], or pi/2 less that where ``steep``."""
    z = b.let("atan_z", t * t)
    w = b.let("atan_w", t * z * horner(z, _ATAN[t.ty.bits]))
    hi, lo = HALF_PI[t.ty.bits]
    return select(steep, hi - ((t - lo) + w), t + w)


def atan2(b: KernelBuilder, y: Expr, x: Expr) -> Expr:
    y, x = named(b, "atan2_y", y), named(b, "atan2_x", x)
    ay, ax = b.let("atan2_ay", fabs(y)), b.let("atan2_ax", fabs(x))
    steep = b.let("atan2_steep", ay > ax)
    high = b.let("atan2_high", select(steep, ay, ax))
    low = b.let("atan2_low", select(steep, ax, ay))
    ratio = select(high.eq(0.0), low, select(low.eq(high), lift(1.0, x.ty), low / high))
    angle = b.let("atan2_angle", _atan_of_ratio(b, b.let("atan2_t", ratio), steep))
    pi_hi, pi_lo = PI[x.ty.bits]
    left = copysign(lift(1.0, x.ty), x) < 0.0
    return copysign(select(left, pi_hi - (angle - pi_lo), angle), y)
