"""What all vector functions stand on: number formats, bit views, polynomials and exact products.

Every function of the vector library is *branch-free* (decisions are selects; see ``unless`` for the one kind of
branch) and reads no memory, so that the loop around it vectorises; it takes the ``KernelBuilder`` to name shared values
(an expression tree used twice would be computed twice) and works for any number of lanes.

None of them needs ``fma`` to be exact, as an emitter may turn it into a product and a sum, unless ``b.arithmetic`` says
that the machine has it; such forms stand beside those for any machine.  Exact products use factors with masked mantissas
(``head``), exact sums are Dekker's and Knuth's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Ref, Ty, fma, lift, op_, select

__all__ = [
    "Format",
    "bits",
    "copysign",
    "fabs",
    "fast_two_sum",
    "format_of",
    "from_bits",
    "head",
    "horner",
    "less_product",
    "lower",
    "named",
    "odd_horner",
    "one_of",
    "polynomial",
    "rint",
    "sqrt",
    "trunc",
    "two_sum",
    "unless",
    "upper",
]


@dataclass(frozen=True, slots=True)
class Format:
    """An IEEE binary format.

    Attributes:
        width: bits in all.
        mantissa: explicit bits of the significand.
        bias: exponent bias.
        magic: 1.5 * 2**mantissa; adding it rounds to an integer, which then stands in the low bits.
        tiny: smallest normal number.
    """

    width: int
    mantissa: int
    bias: int
    magic: float
    tiny: float

    @property
    def one(self) -> int:
        """The bits of 1.0."""
        return self.bias << self.mantissa

    @property
    def eps(self) -> float:
        """Distance of 1.0 from the next number."""
        return 2.0**-self.mantissa

    @property
    def mantissa_mask(self) -> int:
        return (1 << self.mantissa) - 1

    @property
    def sign_bit(self) -> int:
        return 1 << (self.width - 1)


_SPLIT = 6  # coefficients from which a polynomial is evaluated in two halves (measured on Zen 3)

FORMATS = {
    32: Format(32, 23, 127, 1.5 * 2.0**23, 2.0**-126),
    64: Format(64, 52, 1023, 1.5 * 2.0**52, 2.0**-1022),
}


def format_of(x: Expr) -> Format:
    return FORMATS[x.ty.bits]


def one_of(x: Expr, single: Any, double: Any) -> Any:
    """``single`` for float32 operands, ``double`` for float64."""
    return single if x.ty.bits == 32 else double


def named(b: KernelBuilder, name: str, x: Expr) -> Expr:
    """``x`` under a name, so that reading it again costs nothing."""
    return x if isinstance(x, (Const, Ref)) else b.let(name, x)


def unless(b: KernelBuilder, rare: Expr, usual: Expr, otherwise: Callable[[], Expr]) -> Expr:
    """``usual``, but ``otherwise()`` in the lanes that are ``rare``; computed only if there are any.

    The result in a lane does not depend on the other lanes.
    """
    rare = named(b, "rare", rare)
    result = b.var("result", usual)
    with b.if_(op_("any", rare)):
        b.assign(result, select(rare, otherwise(), result))
    return b.let("result", result)


def bits(x: Expr, kind: str = "u") -> Expr:
    """The bit pattern of a float as an integer of the same width."""
    return x.bitcast(Ty(kind, x.ty.bits, x.ty.lanes))


def from_bits(i: Expr) -> Expr:
    """The float with that bit pattern."""
    return i.bitcast(Ty("f", i.ty.bits, i.ty.lanes))


def horner(x: Expr, coefficients: Sequence[float]) -> Expr:
    """``c[0] + c[1]*x + c[2]*x**2 + ...``; ``x`` must be a name or a constant.  Each step waits for the one before."""
    p = lift(coefficients[-1], x.ty)
    for c in reversed(coefficients[:-1]):
        p = fma(p, x, c)
    return p


def polynomial(b: KernelBuilder, x: Expr, coefficients: Sequence[float], square: Expr | None = None) -> Expr:
    """The same, a long one by its ``square`` (a product more, unless it is there already): half as many steps in a row.

    As ``even(x**2) + x odd(x**2)``, or by Horner's rule over pairs ``c[i] + c[i + 1]*x``, which wait for nothing.  Pairs copy a
    number more each; where a few vectors side by side do not keep the units busy, as those of float64 with 16 registers, they
    take less time nevertheless.  Either loses a fraction of an ulp of its own value, which shows where little is added to it afterwards.
    """
    if len(coefficients) < _SPLIT:
        return horner(x, coefficients)
    square = b.let("square", x * x) if square is None else square
    if x.ty.bits == 32 or b.arithmetic.tables:
        return fma(horner(square, coefficients[1::2]), x, horner(square, coefficients[::2]))
    pairs = [horner(x, coefficients[i : i + 2]) for i in range(0, len(coefficients), 2)]
    p = pairs[-1]
    for pair in reversed(pairs[:-1]):
        p = fma(p, square, pair)
    return p


def odd_horner(b: KernelBuilder, x: Expr, square: Expr, coefficients: Sequence[float]) -> Expr:
    """``x + x * square * polynomial(square)``: an odd function with slope one."""
    return fma(polynomial(b, square, coefficients) * square, x, x)


def fabs(x: Expr) -> Expr:
    return op_("abs", x)


def sqrt(x: Expr) -> Expr:
    return op_("sqrt", x)


def rint(x: Expr) -> Expr:
    return op_("rint", x)


def trunc(x: Expr) -> Expr:
    return op_("trunc", x)


def copysign(magnitude: Expr, sign: Expr) -> Expr:
    return op_("copysign", magnitude, sign)


def upper(x: Expr, limit: float) -> Expr:
    """``min(x, limit)``, NaN where ``x`` is NaN: one machine instruction."""
    return op_("minnum", lift(limit, x.ty), x)


def lower(x: Expr, limit: float) -> Expr:
    """``max(x, limit)``, NaN where ``x`` is NaN: one machine instruction."""
    return op_("maxnum", lift(limit, x.ty), x)


def head(x: Expr) -> Expr:
    """``x`` with the lower half of its significand cleared: products of two heads are exact."""
    keep = {32: 0xFFFFF000, 64: 0xFFFFFFFFF8000000}[x.ty.bits]
    return from_bits(bits(x) & keep)


def fast_two_sum(b: KernelBuilder, name: str, x: Expr, y: Expr) -> tuple[Expr, Expr]:
    """``(s, e)`` with ``s + e = x + y`` exactly and ``s`` the rounded sum; needs ``|x| >= |y|`` or ``x = 0``.

    ``x`` and ``y`` must be names or constants.
    """
    s = b.let(name, x + y)
    return s, b.let(name + "_lo", y - (s - x))


def two_sum(b: KernelBuilder, name: str, x: Expr, y: Expr) -> tuple[Expr, Expr]:
    """The same for numbers of any size."""
    s = b.let(name, x + y)
    of_y = b.let(name + "_y", s - x)
    return s, b.let(name + "_lo", (x - (s - of_y)) + (y - of_y))


def less_product(b: KernelBuilder, p: Expr, x: Expr, y: Expr) -> Expr:
    """``p - x y``, where that is far smaller than p."""
    if b.arithmetic.fused:
        return fma(-x, y, p)
    x_hi, y_hi = b.let("product_x", head(x)), b.let("product_y", head(y))
    return ((p - x_hi * y_hi) - x_hi * (y - y_hi)) - (x - x_hi) * y
