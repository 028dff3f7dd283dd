"""Hyperbolic functions and their inverses, branch-free, for float32 and float64."""

from __future__ import annotations

from ..loop_builder import KernelBuilder
from ..loop_ir import Expr, fma, lift, select
from . import vector_math_tables as tables
from .vector_math_base import (
    bits,
    copysign,
    fabs,
    fast_two_sum,
    format_of,
    from_bits,
    horner,
    named,
    odd_horner,
    one_of,
    sqrt,
    upper,
)
from .vector_math_exp import LN2, LOG2_E, NAN, half_exp, log1p

__all__ = ["acosh", "asinh", "atanh", "cosh", "sinh", "tanh"]

# r coth(r) = P(r^2), |r| <= 0.304: relative error 2^-32, 2^-59
_COTH = {
    32: (1.0, 0.3333333134651184, -0.022220561280846596, 0.0020816249307245016),
    64: (1.0, 0.33333333333333226, -0.022222222221995463, 0.0021164021004452726, -0.00021163969510871935, 2.1369335257252998e-05,
         -2.0959593922517314e-06),
}  # fmt: skip
# sinh(x) = x + x^3 P(x^2), |x| <= 1: relative error 2^-31, 2^-61.8
_SINH = {
    32: (0.1666666716337204, 0.00833331048488617, 0.00019842895562760532, 2.7823166419693734e-06),
    64: (0.16666666666666669, 0.008333333333332912, 0.00019841269841593408, 2.7557319106757752e-06,
         2.5052130998651246e-08, 1.605665915042622e-10, 7.776601797948609e-13),
}  # fmt: skip


def tanh(b: KernelBuilder, x: Expr) -> Expr:
    x = named(b, "tanh_arg", x)
    if b.arithmetic.tables:
        value = (tables.tanh_single if x.ty.bits == 32 else tables.tanh_double)(b, x)
    else:
        value = _tanh(b, x)
    return b.ranges.state(value, -1.0, 1.0)


def _tanh(b: KernelBuilder, x: Expr) -> Expr:
    """The quotient of ``s (c + r) - (c - r)`` and ``s (c + r) + (c - r)``, where ``|x| = n log(2)/2 + r``, ``s = 2**n`` and ``c = r coth(r)``.

    For n = 0 it is ``r/c``.  From where it passes 1/2 on it is one less twice the quotient of ``c - r``, which loses no digits next
    to one.  All is taken by half.  Where products are rounded, the one in c is added last, and from log(2)/2 on it is a third, which
    is the tanh of that, and the quotient of ``4/3 r``.
    """
    f = format_of(x)
    a = b.let("tanh_abs", upper(fabs(x), one_of(x, 9.1, 19.1)))
    quarters = bits(fma(a, 2.0 * LOG2_E, f.magic / 4))
    shifted = b.let("tanh_shifted", from_bits(quarters & -4))
    n = b.let("tanh_n", shifted - f.magic / 4)
    r = b.let("tanh_r", fma(n, -0.5 * LN2, a))
    z = b.let("tanh_z", r * r)
    fused = b.arithmetic.fused
    c = b.let("tanh_c", horner(z, _COTH[f.width]) if fused else z * horner(z, _COTH[f.width][1:]))  # or c less one
    half = b.let("tanh_half", from_bits((bits(shifted) << f.mantissa - 2) + (f.bias - 1 << f.mantissa)))
    less, more = b.let("tanh_less", half - 0.5), b.let("tanh_more", half + 0.5)
    near = b.let("tanh_near", a < 0.5493)
    if fused:
        q = b.let("tanh_q", select(near, fma(more, r, less * c), c - r) / fma(more, c, less * r))
        value = select(near, q, 1.0 - q)
    else:
        one = b.let("tanh_one", n.eq(1.0))
        above = select(near, r * select(one, lift(4.0 / 3.0, x.ty), 1.0), 1.0 + (c - r))
        q = b.let("tanh_q", above / (more + (more * c + less * r)))
        value = select(near, select(one, q + 1.0 / 3.0, q), 1.0 - q)
    return from_bits(bits(value) | (bits(x) & f.sign_bit))


def sinh(b: KernelBuilder, x: Expr) -> Expr:
    x = named(b, "sinh_x", x)
    a = b.let("sinh_abs", fabs(x))
    z = b.let("sinh_z", x * x)
    e = b.let("sinh_e", half_exp(b, a))
    return select(a < 1.0, odd_horner(b, x, z, _SINH[x.ty.bits]), copysign(e - 0.25 / e, x))


def cosh(b: KernelBuilder, x: Expr) -> Expr:
    e = b.let("cosh_e", half_exp(b, fabs(x)))
    return e + 0.25 / e


def _huge(x: Expr) -> float:
    """Beyond this, 1 + x^2 and x^2 - 1 are x^2, and the inverse hyperbolics are log(2 |x|)."""
    return one_of(x, 2.0**30, 2.0**60)


def asinh(b: KernelBuilder, x: Expr) -> Expr:
    """log1p(a + a^2/(1 + sqrt(1 + a^2)))."""
    x = named(b, "asinh_x", x)
    a = b.let("asinh_abs", fabs(x))
    big = b.let("asinh_big", a > _huge(x))
    z = b.let("asinh_z", a * a)
    u = select(big, a, a + z / (sqrt(z + 1.0) + 1.0))
    return copysign(log1p(b, u) + select(big, lift(LN2, x.ty), 0.0), x)


def acosh(b: KernelBuilder, x: Expr) -> Expr:
    """log1p(t + sqrt(t^2 + 2 t)) with t = x - 1; what the sum loses is added to the first order."""
    x = named(b, "acosh_x", x)
    big = b.let("acosh_big", x > _huge(x))
    t = b.let("acosh_t", x - 1.0)
    root = b.let("acosh_root", sqrt(fma(t, t, t + t)))
    u, lost = fast_two_sum(b, "acosh_u", root, t)
    value = log1p(b, select(big, x, u)) + select(big, lift(LN2, x.ty), lost / (u + 1.0))
    return select(x < 1.0, lift(NAN, x.ty), value)


def atanh(b: KernelBuilder, x: Expr) -> Expr:
    """log1p(2 a + 2 a^2/(1 - a)) / 2."""
    x = named(b, "atanh_x", x)
    a = b.let("atanh_abs", fabs(x))
    twice = b.let("atanh_twice", a + a)
    value = 0.5 * log1p(b, fma(twice, a / (1.0 - a), twice))
    return copysign(select(a > 1.0, lift(NAN, x.ty), value), x)
