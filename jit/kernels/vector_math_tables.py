"""Functions whose coefficients come from tables of 16, for machines that look them up in one instruction.

A table is a register of AVX-512, or two of float64: so one number for each of sixteen intervals costs what a constant does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Ty, fma, op_, select
from .vector_math_base import bits, copysign, fabs, format_of, from_bits, horner, upper

# tanh(x) = c0 + t (c1 + t (c2 + ...)), t = x - centre, in 15 intervals with ends at 0, 1/8, 1/4, 1/2, 3/4, 1, 5/4, 7/4, 9/4,
# 11/4, 13/4, 17/4, 21/4, 25/4, 29/4, 9.1: relative error 2^-27.6.  Their numbers are the first bits of x + 3/4, and begin
# with that of [5/4, 7/4); one is not in use.  The centres are numbers whose tanh is nearly a float32.
_TANH_CENTRES = (
    1.498078465461731, 1.9981036186218262, 2.4952099323272705, 3.0098865032196045, 3.7502474784851074, 4.733437538146973,
    5.769354820251465, 6.772244453430176, 8.128750801086426, 0.0, 0.0, 0.18747158348560333, 0.3802177906036377,
    0.6251066327095032, 0.8692405223846436, 1.1193737983703613,
)  # fmt: skip
_TANH = (
    (0.9048004150390625, 0.9638933539390564, 0.9864863157272339, 0.9951513409614563, 0.998894989490509, 0.9998452663421631,
     0.9999805092811584, 0.9999973773956299, 0.9999998211860657, 0.0, 0.0, 0.18530575931072235, 0.362896591424942,
     0.5546735525131226, 0.7009880542755127, 0.8073509931564331),
    (0.18133610486984253, 0.07090958207845688, 0.026844751089811325, 0.009673810563981533, 0.0022088433615863323,
     0.00030944973696023226, 3.898178692907095e-05, 5.245292868494289e-06, 3.4794780390257074e-07, 0.0, 1.0,
     0.9656617641448975, 0.868306040763855, 0.6923372745513916, 0.5086157321929932, 0.34818437695503235),
    (-0.16407303512096405, -0.06834929436445236, -0.026481976732611656, -0.009626911021769047, -0.0022063900250941515,
     -0.0003093917912337929, -3.898214708897285e-05, -5.245442480372731e-06, -2.5604961706449103e-07, 0.0,
     -3.897866918123327e-08, -0.1789427399635315, -0.3151053786277771, -0.384021133184433, -0.35653355717658997,
     -0.28110700845718384),
    (0.0880214273929596, 0.042247384786605835, 0.01717560365796089, 0.006355349440127611, 0.0014662272296845913,
     0.0002059905236819759, 2.5960329367080703e-05, 3.493427357170731e-06, 2.3121741321574518e-07, 0.0,
     -0.33332890272140503, -0.2887161672115326, -0.1750803291797638, -0.01778264530003071, 0.08038967102766037,
     0.11089004576206207),
    (-0.02494216524064541, -0.01793702132999897, -0.008116645738482475, -0.0031153541058301926, -0.000729988852981478,
     -0.0001030739804264158, -1.2960375897819176e-05, -1.7438234181099688e-06, -3.767112559671659e-07, 0.0,
     -0.00016386287461500615, 0.11320581287145615, 0.16859398782253265, 0.13785786926746368, 0.06248949095606804,
     0.00417791772633791),
    (-0.003174296347424388, 0.004706643056124449, 0.002886175410822034, 0.0012063031317666173, 0.0003011442022398114,
     4.286158946342766e-05, 5.408342531154631e-06, 7.275996267708251e-07, 5.068589814527513e-08, 0.0, 0.1359831690788269,
     0.09415136277675629, 0.01647515408694744, -0.05414522439241409, -0.05923644080758095, -0.03261033073067665),
    (0.007250155322253704, -0.00011711678234860301, -0.0007159399101510644, -0.00037404868635348976,
     -9.821675485000014e-05, -1.3785401279164944e-05, -1.867540845523763e-06, -2.526731748275779e-07,
     1.6891671350549586e-07, 0.0, -0.019520379602909088, -0.07103727012872696, -0.07019556313753128, -0.023597780615091324,
     0.0130967041477561, 0.018417304381728172),
)  # fmt: skip


def lookup(i: Expr, table: Sequence[float]) -> Expr:
    """The number of ``table`` whose place stands in the last bits of an unsigned integer."""
    return op_("lookup", i, *(Const(c, Ty("f", i.ty.bits, i.ty.lanes)) for c in table))


def tanh_single(b: KernelBuilder, x: Expr) -> Expr:
    """Of a float32, without a division."""
    a = b.let("tanh_abs", upper(fabs(x), 9.1))
    i = b.let("tanh_interval", bits(a + 0.75) >> 21)
    t = b.let("tanh_t", a - lookup(i, _TANH_CENTRES))
    value = lookup(i, _TANH[-1])
    for table in reversed(_TANH[:-1]):
        value = fma(value, t, lookup(i, table))
    return copysign(value, x)


# 2^(j/16)
_SIXTEENTHS = (
    1.0, 1.0442737824274138, 1.0905077326652577, 1.1387886347566916, 1.189207115002721,
    1.241857812073484, 1.2968395546510096, 1.3542555469368927, 1.4142135623730951, 1.4768261459394993,
    1.5422108254079407, 1.6104903319492543, 1.681792830507429, 1.7562521603732995, 1.8340080864093424,
    1.9152065613971474,
)  # fmt: skip
# The same less ``j << (mantissa - 4)`` in their bits: j added at that place, and n above it, make 2^(n + j/16)
_SIXTEENTHS_BELOW = {
    ty: tuple(
        float(v)
        for v in (np.array(_SIXTEENTHS, f"f{w}").view(f"u{w}") - (np.arange(16, dtype=f"u{w}") << place)).view(f"f{w}")
    )
    for ty, w, place in ((32, 4, 19), (64, 8, 48))
}
# exp(r) = 1 + r + r^2 P(r), |r| <= log(2)/32: relative error 2^-29.2, 2^-56.1
_EXP = {
    32: (0.5000162124633789, 0.16667024791240692),
    64: (0.5000000000000159, 0.16666666664321425, 0.041666666505855696, 0.008333474834026237, 0.0013892145069184993),
}


def sixteenth_magic(x: Expr) -> float:
    """Adding it rounds to sixteenths, whose number then stands in the low bits."""
    return format_of(x).magic / 16.0


def exp_mantissa(b: KernelBuilder, shifted: Expr, r: Expr) -> Expr:
    """``2^(j/16) exp(r)``, |r| <= log(2)/32, where j stands in the last four bits of ``shifted``."""
    return _times_exp(b.let("exp_sixteenth", lookup(bits(shifted), _SIXTEENTHS)), r)


def _power(shifted: Expr) -> Expr:
    """``2^(n/16)``, where the integer n stands in the last bits of ``shifted``, and the power is a normal number."""
    i, place = bits(shifted), format_of(shifted).mantissa - 4
    return from_bits((i << place) + bits(lookup(i, _SIXTEENTHS_BELOW[i.ty.bits])))


def exp_moderate(b: KernelBuilder, shifted: Expr, r: Expr) -> Expr:
    """``2^(n/16) exp(r)``, neither large nor small, where the integer n stands in the last bits of ``shifted``."""
    return _times_exp(b.let("exp_sixteenth", _power(shifted)), r)


def _times_exp(power: Expr, r: Expr) -> Expr:
    return fma(power * r, fma(horner(r, _EXP[r.ty.bits]), r, 1.0), power)


# exp(r) - 1 = r + r^2 P(r), |r| <= log(2)/32: relative error 2^-59.7
_EXPM1 = (
    0.5000000000000003, 0.16666666666666669, 0.04166666666130787, 0.008333333332975054, 0.0013889104485923578,
    0.00019841458401679646,
)  # fmt: skip
_LN2 = 0.6931471805599453
# 2^(j/16) exp(-j (log(2) - _LN2)/16) relative to what stands in _SIXTEENTHS, less 1
_SIXTEENTHS_LOST = (
    0.0, 8.044377212330121e-17, -3.083792337682361e-17, 7.391751981039895e-17, 2.7687006301635774e-17,
    3.0261520719761585e-17, 1.0876159741188413e-17, 4.6718979768539844e-17, -7.995332064585072e-17,
    -3.6635733098735486e-17, 3.7054258584247415e-17, -6.020367915895855e-19, 3.135875415842337e-17,
    -1.9873824562114524e-18, -2.390390545109989e-18, -7.719172006620333e-17,
)  # fmt: skip


def tanh_double(b: KernelBuilder, x: Expr) -> Expr:
    """Of a float64: ``E/D`` with ``E = exp(2 |x|) - 1`` and ``D = E + 2``.

    Where E is large, ``D - 2`` serves as E: it is exact, and what D has lost changes both.  Where it is small, what E and D
    have lost is made good in the quotient, for which it is enough that ``1/D`` lies between 0.3 and 0.5.  The whole powers of
    two in ``exp(2 |x|)`` are taken with the first 53 bits of log(2): where that shows, tanh no longer does.
    """
    y = b.let("tanh_2x", upper(2.0 * fabs(x), 38.2))
    magic = sixteenth_magic(x)
    shifted = b.let("tanh_shifted", fma(y, 1.0 / _LN2, magic))
    r = b.let("tanh_r", fma(shifted - magic, -_LN2, y))
    power = b.let("tanh_power", _power(shifted))
    lost = lookup(bits(shifted), _SIXTEENTHS_LOST)
    rest = b.let("tanh_rest", fma(r * r, horner(r, _EXPM1), lost))  # exp(2 |x|) = power (1 + r + rest)
    below = b.let("tanh_below", power - 1.0)
    e = b.let("tanh_e", fma(power, r + rest, below))
    d = b.let("tanh_d", e + 2.0)
    exact = b.let("tanh_exact", d - 2.0)
    small = b.let("tanh_small", e < 1.25)
    q = b.let("tanh_q", select(small, e, exact) / d)
    missing = fma(q, exact - e, fma(power, rest, fma(power, r, below - e)))
    return copysign(select(small, fma(missing, 0.44, q), q), x)


# log(1 + f) = f + f^2 P(f), -0.0334 <= f <= 0.0651: relative error 2^-28
_LOG = (-0.5, 0.3333461582660675, -0.2500969171524048, 0.1883806735277176)
# An inverse of the m in [3/4, 3/2) whose first four bits behind the point make the place, so that |m inverse - 1| is small; next to
# 1 it is 1.  They have 12 bits, and their logarithms, with the other sign, are nearly float32.
_INVERSES = (
    1.0, 0.91357421875, 0.8662109375, 0.820556640625, 0.780029296875, 0.74267578125, 0.7109375, 0.681396484375, 1.3056640625,
    1.251953125, 1.209716796875, 1.1640625, 1.12548828125, 1.086669921875, 1.049560546875, 1.0,
)  # fmt: skip
_LOG_INVERSES = (
    -0.0, 0.0903906598687172, 0.14362682402133942, 0.1977723389863968, 0.24842379987239838, 0.29749569296836853,
    0.3411707580089569, 0.38361093401908875, -0.2667117714881897, -0.2247048318386078, -0.19038628041744232,
    -0.151916041970253, -0.11821696907281876, -0.08311790227890015, -0.04837154969573021, -0.0,
)  # fmt: skip
_LN2_LAST = 0.6931471805599453 * 2.0**-23


def _power_below(x: Expr) -> Expr:
    """``k << 23``, as an integer that may wrap: ``2**k <= x/(3/4) < 2**(k + 1)``, for a float32."""
    return (bits(x) - 0x3F400000) & 0xFF800000


def log_single(b: KernelBuilder, x: Expr) -> Expr:
    """Of a float32 that is positive, finite and not subnormal."""
    power = b.let("log_power", _power_below(x))
    i = b.let("log_interval", bits(x) >> 19)
    f = b.let("log_f", fma(from_bits(bits(x) - power), lookup(i, _INVERSES), -1.0))
    return _log_sum(power, _LN2_LAST, i, f)


def log1p_single(b: KernelBuilder, x: Expr, u: Expr) -> Expr:
    """``log(1 + x)`` of a float32, where ``u = 1 + x`` is what ``log_single`` takes, below 2^126.

    f is rounded only once, and the exponent taken with the other sign, so that zeros keep theirs.
    """
    power = b.let("log1p_power", _power_below(u))
    i = b.let("log1p_interval", bits(u) >> 19)
    inverse = b.let("log1p_inverse", from_bits(bits(lookup(i, _INVERSES)) - power))
    f = b.let("log1p_f", fma(x, inverse, -(1.0 - inverse)))
    return _log_sum(-power, -_LN2_LAST, i, f)


def _log_sum(power: Expr, unit: float, i: Expr, f: Expr) -> Expr:
    """The logarithm of ``1 + f``, of an inverse, and of a power of two whose exponent stands in an integer."""
    exponent = power.bitcast(Ty("i", 32, power.ty.lanes)).cast(f.ty)
    return fma(exponent, unit, lookup(i, _LOG_INVERSES)) + fma(f * f, horner(f, _LOG), f)
