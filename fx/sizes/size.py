"""Integers that follow from the sizes of a trace: polynomials with integer coefficients in its atoms."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .formula import MOST_TERMS, ONE, UNKNOWN, Terms
from .number import COMPARE, Number, operands, plain, text, within
from .real import arithmetic, power

__all__ = ["Size", "least_of"]


class Size(Number):
    """An integer that follows from the sizes of a trace."""

    __slots__ = ("_hash", "terms")
    __class__ = int  # type: ignore[assignment]  # to isinstance()
    __hash__ = Number.__hash__  # a class that defines equality has none of its own

    def __init__(self, sizes: Any, terms: Terms, value: int) -> None:
        self.sizes = sizes
        self.terms = terms
        self.value = value
        self._hash = 0

    @property
    def text(self) -> str:
        return f"({self.sizes.text_of(self.terms)})"

    def __index__(self) -> int:
        now = self.sizes.now(self.terms)
        return int(self.number("an index")) if now is None else now

    __int__ = __index__

    @property
    def symbol(self) -> int:
        if not self._hash:
            self._hash = hash((id(self.sizes), self.terms))
        return self._hash

    def _of(self, terms: Mapping[tuple[int, ...], int], value: int) -> Any:
        """The polynomial: a plain int if it is constant."""
        kept = [item for item in terms.items() if item[1]]
        if len(kept) > MOST_TERMS:
            self.sizes.fix("a polynomial of many terms")
        if not kept:
            return 0
        if len(kept) == 1:
            return kept[0][1] if kept[0][0] == ONE else Size(self.sizes, (kept[0],), value)
        kept.sort()
        return Size(self.sizes, tuple(kept), value)

    # ------------------------------------------------------------------ arithmetic

    def __add__(self, other: Any) -> Any:
        whole: Any = other if type(other) is int else _whole(self.sizes, other)
        if whole is None:
            return arithmetic("+", self, other)
        if type(whole) is int:
            if not whole:
                return self
            value, extra = whole, ((ONE, whole),)
        else:
            value, extra = whole.value, whole.terms
        total = dict(self.terms)
        for atoms, c in extra:
            total[atoms] = total.get(atoms, 0) + c
        return self._of(total, self.value + value)

    __radd__ = __add__

    def __neg__(self) -> Any:
        return Size(self.sizes, tuple([(atoms, -c) for atoms, c in self.terms]), -self.value)

    def __sub__(self, other: Any) -> Any:
        whole: Any = other if type(other) is int else _whole(self.sizes, other)
        return arithmetic("-", self, other) if whole is None else self + (-whole)

    def __rsub__(self, other: Any) -> Any:
        whole = _whole(self.sizes, other)
        return arithmetic("-", other, self) if whole is None else -self + whole

    def __mul__(self, other: Any) -> Any:
        k: Any = other if type(other) is int else _whole(self.sizes, other)
        if k is None:
            return arithmetic("*", self, other)
        if type(k) is int:
            if k == 1 or not k:
                return self if k else 0
            return Size(self.sizes, tuple([(a, c * k) for a, c in self.terms]), self.value * k)
        total: dict[tuple[int, ...], int] = {}
        for a, c in self.terms:
            for b, d in k.terms:
                atoms = tuple(sorted(a + b))
                total[atoms] = total.get(atoms, 0) + c * d
        return self._of(total, self.value * k.value)

    def __rmul__(self, other: Any) -> Any:
        return arithmetic("*", other, self) if _whole(self.sizes, other) is None else self * other

    def __truediv__(self, other: Any) -> Any:
        return arithmetic("/", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return arithmetic("/", other, self)

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        if modulo is not None:
            self.number("a power modulo something")
        small = type(other) is int and 0 <= other <= 4 and not self.sizes.closed
        return math.prod([self] * other) if small else power(self, other)

    def __rpow__(self, other: Any) -> Any:
        return power(other, self)

    def __invert__(self) -> Any:
        return -self - 1

    def __lshift__(self, other: Any) -> Any:
        return self * (1 << other) if type(other) is int and 0 <= other < 64 else _bits(self, other, "<<")

    def __rshift__(self, other: Any) -> Any:
        return self // (1 << other) if type(other) is int and 0 <= other < 64 else _bits(self, other, ">>")

    def __rlshift__(self, other: Any) -> Any:
        return _bits(other, self, "<<")

    def __rrshift__(self, other: Any) -> Any:
        return _bits(other, self, ">>")

    def __and__(self, other: Any) -> Any:
        return _bits(self, other, "&")

    def __or__(self, other: Any) -> Any:
        return _bits(self, other, "|")

    def __xor__(self, other: Any) -> Any:
        return _bits(self, other, "^")

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __ceil__(self) -> Any:
        return self

    __floor__ = __trunc__ = __ceil__

    def __round__(self, digits: Any = None) -> Any:
        return self if digits is None else self.number("a rounded number").__round__(digits)

    def _divided(self, by: Any) -> tuple[Any, Any] | None:
        """Quotient and rest, where both are polynomials whatever the sizes are."""
        if type(by) is Size:
            if len(by.terms) != 1:
                return (1, 0) if by.terms == self.terms else None
            (atoms, k), parts = by.terms[0], {}
            for a, c in self.terms:
                left = list(a)
                for x in atoms:
                    if x not in left:
                        return None
                    left.remove(x)
                if c % k:
                    return None
                parts[tuple(left)] = c // k
            return self._of(parts, self.value // by.value), 0
        parts, rest = {}, 0
        for a, c in self.terms:
            if c % by == 0:
                parts[a] = c // by
            elif a == ONE:
                parts[a], rest = divmod(c, by)
            else:
                return None
        return self._of(parts, self.value // by), rest

    def _quotient(self, other: Any, op: str) -> Any:
        by = _whole(self.sizes, other)
        if by is None:
            return arithmetic(op, self, other)
        if not by:
            raise ZeroDivisionError("integer division or modulo by zero")
        exact = self._divided(by)
        if exact is not None:
            return exact[op == "%"]
        return _opaque_whole(self, by, op)

    def __floordiv__(self, other: Any) -> Any:
        return self._quotient(other, "//")

    def __mod__(self, other: Any) -> Any:
        return self._quotient(other, "%")

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rfloordiv__(self, other: Any) -> Any:
        whole = _whole(self.sizes, other)
        return arithmetic("//", other, self) if whole is None else _opaque_whole(whole, self, "//")

    def __rmod__(self, other: Any) -> Any:
        whole = _whole(self.sizes, other)
        return arithmetic("%", other, self) if whole is None else _opaque_whole(whole, self, "%")

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __abs__(self) -> Any:
        return self if self >= 0 else -self

    def bit_length(self) -> int:
        """A plain number: sizes between the same powers of two have it in common."""
        now = self.sizes.now(self.terms)
        if now is not None or self.sizes.closed:
            return int(self.value if now is None else now).bit_length()
        bits = int(abs(self.value).bit_length())
        size = abs(self)
        return bits if size < 1 << bits and 2 * size >= 1 << bits else 0

    # ------------------------------------------------------------------ comparisons

    def _sign(self, other: Any, op: str) -> Any:
        """``self op other``: without a guard where it is so whatever the sizes are."""
        sizes = self.sizes
        now = sizes.now(self.terms)
        if now is not None or sizes.closed:
            return COMPARE[op](self.value if now is None else now, other)
        whole: Any = other if type(other) is int else _whole(sizes, other)
        if whole is None:
            return self.compared(other, op)
        key = self.terms, whole if type(whole) is int else whole.terms, op
        found = sizes.compared.get(key)
        if found is None:
            found = sizes.compared[key] = self._decided(whole, op)
        return found

    def _decided(self, other: Any, op: str) -> bool:
        difference = self - other
        if type(difference) is not Size:
            return COMPARE[op](difference, 0)
        least, most = self.sizes.range_of(difference.terms)
        if (least is not None and least > 0) or (most is not None and most < 0):
            return COMPARE[op](1 if least is not None else -1, 0)
        if (op == ">=" and least == 0) or (op == "<=" and most == 0):
            return True
        if (op == "<" and least == 0) or (op == ">" and most == 0):
            return False
        outcome = COMPARE[op](difference.value, 0)
        if op == "==" and outcome and self.sizes.names_a_value(difference.terms):
            self.sizes.fix(f"equal to {plain(other)}", by_chance=True)
        return self.sizes.decide_sign(difference.terms, op, outcome)

    def __eq__(self, other: Any) -> Any:
        return self._sign(other, "==")

    def __ne__(self, other: Any) -> Any:
        found = self._sign(other, "==")
        return found if found is NotImplemented else not found

    def __lt__(self, other: Any) -> Any:
        return self._sign(other, "<")

    def __le__(self, other: Any) -> Any:
        return self._sign(other, "<=")

    def __gt__(self, other: Any) -> Any:
        return self._sign(other, ">")

    def __ge__(self, other: Any) -> Any:
        return self._sign(other, ">=")


def _whole(sizes: Any, x: Any) -> Any:
    """A whole number as an int or a size of a trace that is under way; None for others."""
    if sizes.closed:
        return None
    if type(x) is int:
        return x
    if type(x) is Size:
        return x if x.sizes is sizes else within(sizes, x)
    return int(x) if isinstance(x, (int, np.integer)) else None


def least_of(x: Any) -> int:
    """What is known of the least value of a whole number."""
    if type(x) is not Size:
        return int(x)
    found = x.sizes.range_of(x.terms)[0]
    return UNKNOWN if found is None else found


def _most_of(x: Any) -> int:
    """What is known of the largest value; 1 where that is nothing."""
    if type(x) is not Size:
        return int(x)
    found = x.sizes.range_of(x.terms)[1]
    return 1 if found is None else found


def _opaque_whole(a: Any, b: Any, op: str) -> Any:
    sizes = a.sizes if type(a) is Size else b.sizes
    if not b > 0:
        sizes.fix("a divisor that is not positive")
    if op == "//" and _most_of(a) <= 0:
        return -((-a + (b - 1)) // b)  # rounded up, of a number whose range is known
    value = plain(a) // plain(b) if op == "//" else plain(a) % plain(b)
    if type(b) is not Size:
        formula = f"({text(a)} {op} {text(b)})"
    elif op == "//":
        formula = f"floor({text(a)}, {text(b)})"
    else:
        formula = f"({text(a)} - {text(b)} * floor({text(a)}, {text(b)}))"
    least = 0 if op == "%" else least_of(a) // b if type(b) is not Size else 0 if least_of(a) >= 0 else UNKNOWN
    return sizes.opaque(formula, value, least)


_BITS: dict[str, Callable[[Any, Any], Any]] = {
    "<<": operator.lshift,
    ">>": operator.rshift,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
}


def _bits(a: Any, b: Any, op: str) -> Any:
    if not all(isinstance(x, (int, np.integer)) for x in (a, b)):
        return NotImplemented
    sizes, a, b = operands(_BITS, op, a, b)
    if sizes is None:
        return a
    if op in ("<<", ">>") and not 0 <= b < 4096:
        sizes.fix("a shift by many places")
    least = 0 if a >= 0 and b >= 0 else UNKNOWN
    return sizes.opaque(f"({text(a)} {op} {text(b)})", _BITS[op](plain(a), plain(b)), least)
