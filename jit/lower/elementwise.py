"""Loops of the elementwise primitives: what each computes at one index.

A rule takes the operands' values (a pair (re, im) for complex dtypes) and returns the result's.  It names with
``b.let`` what it reads more than once, and works for any number of lanes.  16-bit floats are widened to float32,
computed, and rounded back: every primitive rounds once, fused or not.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from fx import dtypes
from fx.errors import LoweringError
from fx.ir import Eqn

from ..kernels import vector_math as vm
from ..kernels.vector_math_base import bits, copysign, fabs, named
from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Ty, lift, op_, select
from . import complex_math as cm
from .registry import Value, pointwise
from .types import compute_type, ty_of

__all__: list[str] = []  # the rules are found through registry.POINTWISE

Real = Callable[..., Expr]  # f(b, *operands)
Complex = Callable[..., Value]  # f(b, *pairs)


def _is_complex(value: Value) -> bool:
    return isinstance(value, tuple)


def _wide(b: KernelBuilder, x: Expr) -> Expr:
    """An operand in the type that arithmetic runs in."""
    ty = compute_type(x.ty)
    return x if ty == x.ty else b.let("wide", x.cast(ty))


def _register(name: str, real: Real | None, complex_: Complex | None = None, result: str = "same") -> None:
    """A rule from functions of real and complex operands.

    Args:
        result: "same", the operands' type; "own", whatever the function returns (comparisons, |z|).
    """

    @pointwise(name)
    def rule(b: KernelBuilder, eqn: Eqn, *operands: Value) -> Value:
        if _is_complex(operands[0]):
            if complex_ is None:
                raise LoweringError(f"{name} has no loop for complex numbers")
            return complex_(b, *operands)
        if real is None:
            raise LoweringError(f"{name} has no loop for {operands[0].ty}")
        value = real(b, *[_wide(b, x) for x in operands])
        return value if result == "own" else value.cast(operands[0].ty)


def _op(name: str) -> Real:
    """One operation of the loop language."""
    return lambda b, *operands: op_(name, *operands)


# -------------------------------------------------------------------------------------- arithmetic


def _div(b: KernelBuilder, x: Expr, y: Expr) -> Expr:
    """Integers: x / 0 has all bits set; the smallest integer by -1 wraps."""
    if x.ty.is_float:
        return x / y
    x, y, safe, by_zero, by_minus_one = _divisor(b, x, y)
    quotient = x // safe
    if by_minus_one is not None:
        quotient = select(by_minus_one, -x, quotient)
    return select(by_zero, ~Const(0, x.ty), quotient)


def _rem(b: KernelBuilder, x: Expr, y: Expr) -> Expr:
    """Sign of the dividend; integers: x rem 0 is x."""
    if x.ty.is_float:
        return x % y
    x, y, safe, by_zero, _ = _divisor(b, x, y)
    return select(by_zero, x, x % safe)


def _divisor(b: KernelBuilder, x: Expr, y: Expr) -> tuple[Expr, Expr, Expr, Expr, Expr | None]:
    """``(x, y, y without 0 and -1, y == 0, y == -1)``: processors trap on the first and on min / -1."""
    x, y = named(b, "dividend", x), named(b, "divisor", y)
    zero = b.let("by_zero", y.eq(0))
    if x.ty.kind == "u":
        return x, y, b.let("safe", select(zero, Const(1, y.ty), y)), zero, None
    minus_one = b.let("by_minus_one", y.eq(-1))
    return x, y, b.let("safe", select(zero | minus_one, Const(1, y.ty), y)), zero, minus_one


def _square(b: KernelBuilder, x: Expr) -> Expr:
    x = named(b, "squared", x)
    return x * x


def _abs(b: KernelBuilder, x: Expr) -> Expr:
    return x if x.ty.kind == "u" else op_("abs", x)


def _sign(b: KernelBuilder, x: Expr) -> Expr:
    """NaN stays; of either zero it is +0."""
    x = named(b, "signed", x)
    if x.ty.kind == "u":
        return select(x > 0, Const(1, x.ty), x)
    rest = x + 0.0 if x.ty.kind == "f" else x
    return select(x > 0, Const(1, x.ty), select(x < 0, Const(-1, x.ty), rest))


def _rsqrt(b: KernelBuilder, x: Expr) -> Expr:
    return 1.0 / op_("sqrt", x)


for _name, _real, _complex in (
    ("neg", _op("neg"), cm.negative),
    ("add", _op("add"), cm.add),
    ("sub", _op("sub"), cm.subtract),
    ("mul", _op("mul"), cm.multiply),
    ("div", _div, cm.divide),
    ("rem", _rem, None),
    ("square", _square, cm.square),
    ("sign", _sign, cm.sign),
    ("max", _op("max"), cm.greatest),
    ("min", _op("min"), cm.least),
    ("floor", _op("floor"), None),
    ("ceil", _op("ceil"), None),
    ("sqrt", _op("sqrt"), cm.sqrt),
    ("rsqrt", _rsqrt, cm.rsqrt),
):
    _register(_name, _real, _complex)

_register("abs", _abs, cm.absolute)


@pointwise("integer_pow")
def _integer_pow(b: KernelBuilder, eqn: Eqn, x: Value) -> Value:
    """Repeated squaring."""
    y = eqn.params["y"]
    if _is_complex(x):
        return cm.integer_pow(b, x, y)
    power, n = named(b, "power", _wide(b, x)), abs(y)
    result: Expr | None = None
    while n:
        if n & 1:
            result = power if result is None else b.let("product", result * power)
        n >>= 1
        power = b.let("power", power * power) if n else power
    if result is None:
        result = Const(1, power.ty)
    return (1.0 / result if y < 0 else result).cast(x.ty)


@pointwise("round")
def _round(b: KernelBuilder, eqn: Eqn, x: Expr) -> Expr:
    wide = _wide(b, x)
    if eqn.params["rounding_method"] == "to_even":
        return op_("rint", wide).cast(x.ty)
    wide = named(b, "rounded", wide)
    whole = b.let("whole", op_("trunc", wide))
    step = select(fabs(wide - whole) >= 0.5, lift(1.0, wide.ty), 0.0)
    return (whole + copysign(step, wide)).cast(x.ty)


# ----------------------------------------------------------------------- transcendental functions


def _pow(b: KernelBuilder, x: Expr, y: Expr) -> Expr:
    """Of integers, x**y wraps; where y is negative, 1 and -1 have powers, and all others have 0."""
    if x.ty.is_float:
        return vm.pow(b, x, y)
    if x.ty.kind == "i":
        x, y = named(b, "base", x), named(b, "exponent", y)
        inverse = b.let("inverse", y < 0)
        x = select(inverse & x.ne(1) & x.ne(-1), Const(0, x.ty), x)
        y = select(inverse, 2 - (y & 1), y)
    return op_("ipow", x, y)


def _gcd(b: KernelBuilder, x: Expr, y: Expr) -> Expr:
    return op_("gcd", _unsigned(_abs(b, x)), _unsigned(_abs(b, y))).bitcast(x.ty)


for _name, _real, _complex in (("pow", _pow, cm.pow), ("gcd", _gcd, None)):
    _register(_name, _real, _complex)
for _name in ("cbrt", "erf", "erfc", "erf_inv", "lgamma", "digamma", "atan2"):
    _register(_name, getattr(vm, _name))
for _name in (
    "exp", "exp2", "expm1", "log", "log1p", "log2", "logistic", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "asinh", "acosh", "atanh",
):  # fmt: skip
    _register(_name, getattr(vm, _name), getattr(cm, _name))

# ------------------------------------------------------------------------------------- comparisons


def _differ(b: KernelBuilder, z: cm.Pair, w: cm.Pair) -> Expr:
    return z[0].ne(w[0]) | z[1].ne(w[1])


_register("eq", _op("eq"), cm.equal, result="own")
_register("ne", _op("ne"), _differ, result="own")
for _name in ("lt", "le", "gt", "ge"):
    _register(_name, _op(_name), result="own")
_register("is_finite", lambda b, x: fabs(x) < float("inf"), result="own")

# -------------------------------------------------------------------------------------------- bits


def _unsigned(x: Expr) -> Expr:
    return x.bitcast(Ty("u", x.ty.bits, x.ty.lanes))


def _shift(b: KernelBuilder, shifted: Expr, amount: Expr, beyond: Callable[[Ty], int], shift: Any) -> Expr:
    """``shift(shifted, amount)``; from the width on (a negative amount counts as huge) it shifts zeros by ``beyond``."""
    width = shifted.ty.bits
    amount = b.let("amount", _unsigned(amount))
    far = b.let("far", amount >= width)
    by = select(far, Const(beyond(shifted.ty), amount.ty), amount).bitcast(shifted.ty)
    value = shift(shifted, by)
    return value if beyond(shifted.ty) else select(far, Const(0, shifted.ty), value)


def _shift_left(b: KernelBuilder, x: Expr, y: Expr) -> Expr:
    return _shift(b, x, y, lambda ty: 0, operator.lshift)


def _shift_right_logical(b: KernelBuilder, x: Expr, y: Expr) -> Expr:
    return _shift(b, _unsigned(x), y, lambda ty: 0, operator.rshift).bitcast(x.ty)


def _shift_right_arithmetic(b: KernelBuilder, x: Expr, y: Expr) -> Expr:
    signed = x.bitcast(Ty("i", x.ty.bits, x.ty.lanes))
    return _shift(b, signed, y, lambda ty: ty.bits - 1, operator.rshift).bitcast(x.ty)


for _name, _real in (
    ("not", _op("not")),
    ("and", _op("and")),
    ("or", _op("or")),
    ("xor", _op("xor")),
    ("shift_left", _shift_left),
    ("shift_right_logical", _shift_right_logical),
    ("shift_right_arithmetic", _shift_right_arithmetic),
    ("population_count", lambda b, x: op_("popcount", _unsigned(x)).bitcast(x.ty)),
    ("clz", lambda b, x: op_("clz", _unsigned(x)).bitcast(x.ty)),
):
    _register(_name, _real)


@pointwise("nextafter")
def _nextafter(b: KernelBuilder, eqn: Eqn, x: Expr, y: Expr) -> Expr:
    """Neighbours have neighbouring bit patterns; away from zero is one more."""
    x, y = named(b, "x", x), named(b, "y", y)
    wide_x, wide_y = named(b, "wide", _wide(b, x)), named(b, "wide", _wide(b, y))
    u = b.let("pattern", bits(x))
    away = (wide_x < wide_y).eq(wide_x > 0.0)
    stepped = u + select(away, Const(1, u.ty), Const(-1, u.ty))
    least = (bits(y) & (1 << (u.ty.bits - 1))) | 1  # the smallest subnormal towards y
    moved = select(wide_x.eq(0.0), least, stepped).bitcast(x.ty)
    value = select(wide_x.eq(wide_y), y, moved)
    nan = wide_x.ne(wide_x) | wide_y.ne(wide_y)
    return select(nan, (wide_x + wide_y).cast(x.ty), value)


# ------------------------------------------------------------------------- selection, conversion


def _choose(condition: Expr, yes: Value, no: Value) -> Value:
    return cm.choose(condition, yes, no) if _is_complex(yes) else select(condition, yes, no)


@pointwise("select_n")
def _select_n(b: KernelBuilder, eqn: Eqn, which: Expr, *cases: Value) -> Value:
    """A boolean or an integer picks the case; an integer outside is clamped."""
    which = named(b, "which", which)
    if which.ty.kind == "b":
        return _choose(which, cases[1], cases[0])
    value = cases[0]
    for i, case in enumerate(cases[1:], 1):
        value = _choose(which >= i, case, value)
    return value


@pointwise("clamp")
def _clamp(b: KernelBuilder, eqn: Eqn, low: Expr, x: Expr, high: Expr) -> Expr:
    raised = op_("max", _wide(b, low), _wide(b, x))
    return op_("min", b.let("raised", raised), _wide(b, high)).cast(x.ty)


@pointwise("convert_element_type")
def _convert(b: KernelBuilder, eqn: Eqn, x: Value) -> Value:
    """Floats to integers saturate, NaN becomes 0; to bool is ``x != 0``; complex to real drops the imaginary part."""
    new: np.dtype = eqn.params["new_dtype"]
    re, im = x if _is_complex(x) else (x, None)
    ty = ty_of(new, re.ty.lanes)
    if dtypes.is_complex(new):
        return re.cast(ty), Const(0.0, ty) if im is None else im.cast(ty)
    if dtypes.is_bool(new) and im is not None:
        return re.cast(ty) | im.cast(ty)
    return re.cast(ty)


@pointwise("bitcast_convert_type")
def _bitcast(b: KernelBuilder, eqn: Eqn, x: Expr) -> Expr:
    return x.bitcast(ty_of(eqn.params["new_dtype"], x.ty.lanes))


# ------------------------------------------------------------------------- parts and identities


@pointwise("real")
def _real_part(b: KernelBuilder, eqn: Eqn, z: Value) -> Expr:
    return z[0]


@pointwise("imag")
def _imaginary_part(b: KernelBuilder, eqn: Eqn, z: Value) -> Expr:
    return z[1]


@pointwise("conj")
def _conjugate(b: KernelBuilder, eqn: Eqn, z: Value) -> Value:
    return z[0], -z[1]


@pointwise("complex")
def _pair(b: KernelBuilder, eqn: Eqn, re: Expr, im: Expr) -> Value:
    return re, im
