"""Floating-point numbers that follow from sizes, and the arithmetic that makes them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .formula import UNKNOWN
from .number import Number, is_number, operands, plain, text

__all__ = ["ARITHMETIC", "Real", "arithmetic", "power"]

ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}


class Real(Number):
    """A floating-point number that follows from sizes: the formula that Python's arithmetic followed."""

    __slots__ = ("formula",)
    __class__ = float  # type: ignore[assignment]  # to isinstance()
    __hash__ = Number.__hash__  # a class that defines equality has none of its own

    def __init__(self, sizes: Any, formula: str, value: float) -> None:
        self.sizes, self.formula, self.value = sizes, formula, value

    @property
    def text(self) -> str:
        return self.formula

    @property
    def symbol(self) -> int:
        return hash((id(self.sizes), self.formula))

    def __add__(self, other: Any) -> Any:
        return arithmetic("+", self, other)

    def __radd__(self, other: Any) -> Any:
        return arithmetic("+", other, self)

    def __sub__(self, other: Any) -> Any:
        return arithmetic("-", self, other)

    def __rsub__(self, other: Any) -> Any:
        return arithmetic("-", other, self)

    def __mul__(self, other: Any) -> Any:
        return arithmetic("*", self, other)

    def __rmul__(self, other: Any) -> Any:
        return arithmetic("*", other, self)

    def __truediv__(self, other: Any) -> Any:
        return arithmetic("/", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return arithmetic("/", other, self)

    def __floordiv__(self, other: Any) -> Any:
        return arithmetic("//", self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return arithmetic("//", other, self)

    def __mod__(self, other: Any) -> Any:
        return arithmetic("%", self, other)

    def __rmod__(self, other: Any) -> Any:
        return arithmetic("%", other, self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        if modulo is not None:
            self.number("a power modulo something")
        return power(self, other)

    def __rpow__(self, other: Any) -> Any:
        return power(other, self)

    def __ceil__(self) -> Any:
        return self._rounded("ceil", math.ceil(self.value))

    def __floor__(self) -> Any:
        return self._rounded("lower", math.floor(self.value))

    def __trunc__(self) -> Any:
        return self.__floor__() if self >= 0 else self.__ceil__()

    def __round__(self, digits: Any = None) -> Any:
        if digits is not None:
            return self.number("a rounded number").__round__(digits)
        return self._rounded("round", round(self.value))

    def _rounded(self, rounding: str, value: int) -> Any:
        return self.sizes.opaque(f"{rounding}({self.formula})", value, 0 if self >= 0 else UNKNOWN)

    def __neg__(self) -> Real:
        return self.sizes.real(f"(-{self.formula})", -self.value)

    def __abs__(self) -> Real:
        return self.sizes.real(f"abs({self.formula})", abs(self.value))

    def __eq__(self, other: Any) -> Any:
        return self.compared(other, "==")

    def __ne__(self, other: Any) -> Any:
        found = self == other
        return found if found is NotImplemented else not found

    def __lt__(self, other: Any) -> Any:
        return self.compared(other, "<")

    def __le__(self, other: Any) -> Any:
        return self.compared(other, "<=")

    def __gt__(self, other: Any) -> Any:
        return self.compared(other, ">")

    def __ge__(self, other: Any) -> Any:
        return self.compared(other, ">=")


def arithmetic(op: str, a: Any, b: Any) -> Any:
    """``a op b`` in floating point, one of which is sized."""
    if not (is_number(a) and is_number(b)):
        return _with_a_stranger(op, a, b)
    sizes, a, b = operands(ARITHMETIC, op, a, b)
    if sizes is None:
        return a
    if op in ("/", "//", "%") and not (b != 0):
        raise ZeroDivisionError("division by zero")
    return sizes.real(f"({text(a)} {op} {text(b)})", ARITHMETIC[op](plain(a), plain(b)))


def power(a: Any, b: Any) -> Any:
    """``a ** b``, one of which is sized."""
    if not (is_number(a) and is_number(b)):
        return _with_a_stranger("**", a, b)
    sizes, a, b = operands(ARITHMETIC, "**", a, b)
    if sizes is None:
        return a
    if not a > 0 or not -1024 <= b <= 1024:
        sizes.fix("a power")
    formula, value = f"({text(a)} ** {text(b)})", plain(a) ** plain(b)
    whole = not any(isinstance(x, float) for x in (a, b)) and b >= 0
    return sizes.opaque(formula, value, 0) if whole else sizes.real(formula, value)


def _with_a_stranger(op: str, a: Any, b: Any) -> Any:
    """NumPy's numbers and arrays, and complex numbers, ask a plain number; others (traced arrays) may know what to do."""
    if any(isinstance(x, (complex, np.generic, np.ndarray)) for x in (a, b)):
        what = "arithmetic with a number of another kind"
        return ARITHMETIC[op](*[x.number(what) if isinstance(x, Number) else x for x in (a, b)])
    return NotImplemented
