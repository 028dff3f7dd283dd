"""Complex numbers in the loop language, and the transforms of as many of them as a radix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Ty, fma

__all__ = ["Complex", "butterfly"]


@dataclass(frozen=True)
class Complex:
    re: Expr
    im: Expr

    def __add__(self, o: Complex) -> Complex:
        return Complex(self.re + o.re, self.im + o.im)

    def __sub__(self, o: Complex) -> Complex:
        return Complex(self.re - o.re, self.im - o.im)

    def __mul__(self, o: Complex) -> Complex:
        return Complex(fma(self.re, o.re, -(self.im * o.im)), fma(self.re, o.im, self.im * o.re))

    def scaled(self, c: float, plus: Complex | None = None) -> Complex:
        """This times a number, and something added."""
        c_ = Const(c, self.re.ty)
        if plus is None:
            return Complex(self.re * c_, self.im * c_)
        return Complex(fma(self.re, c_, plus.re), fma(self.im, c_, plus.im))

    def turned(self) -> Complex:
        """Times -i."""
        return Complex(self.im, -self.re)

    def cast(self, ty: Ty) -> Complex:
        ty = ty.vector(self.re.ty.lanes)
        return Complex(self.re.cast(ty), self.im.cast(ty))

    def splat(self, lanes: int) -> Complex:
        return Complex(self.re.splat(lanes), self.im.splat(lanes))

    def named(self, b: KernelBuilder) -> Complex:
        return Complex(b.let("re", self.re), b.let("im", self.im))


def butterfly(b: KernelBuilder, x: Sequence[Complex]) -> list[Complex]:
    """The transform of as many numbers as a radix."""

    def name(*values: Complex) -> list[Complex]:
        return [v.named(b) for v in values]

    if len(x) == 2:
        return [x[0] + x[1], x[0] - x[1]]
    if len(x) == 3:
        s, d = name(x[1] + x[2], (x[1] - x[2]).scaled(math.sin(2 * math.pi / 3)))
        (m,) = name(s.scaled(-0.5, x[0]))
        return [x[0] + s, m + d.turned(), m - d.turned()]
    if len(x) == 4:
        a, c, e, f = name(x[0] + x[2], x[0] - x[2], x[1] + x[3], x[1] - x[3])
        return [a + e, c + f.turned(), a - e, c - f.turned()]
    c1, c2, s1, s2 = (f(2 * math.pi * k / 5) for f in (math.cos, math.sin) for k in (1, 2))
    a, c, d, e = name(x[1] + x[4], x[2] + x[3], x[1] - x[4], x[2] - x[3])
    even = name(c.scaled(c2, a.scaled(c1, x[0])), c.scaled(c1, a.scaled(c2, x[0])))
    odd = name(e.scaled(s2, d.scaled(s1)), e.scaled(-s1, d.scaled(s2)))
    return [
        x[0] + a + c, even[0] + odd[0].turned(), even[1] + odd[1].turned(), even[1] - odd[1].turned(), even[0] - odd[0].turned(),
    ]  # fmt: skip
