"""Where the values of a kernel lie, found while it is written: an interval for every float expression.

A formula may leave out what cannot happen: ``exp(-x*x)`` does not overflow, ``log(x*x + 1)`` sees nothing negative or
subnormal, and ``log1p(exp(-|x|))`` needs one polynomial and no exponent.

An interval holds every *number* that the expression may be, infinities included; any expression may be NaN besides, so a
formula that has fewer cases still has that of NaN.  Bounds are computed in the expression's own type: rounding is
monotone, so the rounded result of an operation on numbers between bounds lies between the rounded results on the bounds.
Nothing is assumed of what comes from memory or from a mutable local.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .loop_ir import Const, Expr, Op, Ref

__all__ = ["Range", "Ranges"]

INF = math.inf
_DEPTH = 12  # operations between a value and those that it is told by, at most


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers from ``low`` to ``high``."""

    low: float = -INF
    high: float = INF

    def within(self, low: float, high: float) -> bool:
        return low <= self.low and self.high <= high

    def __or__(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))

    def __neg__(self) -> Range:
        return Range(-self.high, -self.low)


ANY = Range()
_TYPES: dict[int, type[np.floating]] = {32: np.float32, 64: np.float64}


class Ranges:
    """What is known of the values of one kernel."""

    def __init__(self) -> None:
        self._definitions: dict[str, Expr] = {}
        self._known: dict[str, Range] = {}
        self._changing: set[str] = set()
        self._stated: dict[
            int, tuple[Expr, Range]
        ] = {}  # by identity; holds the expression, so that no other gets its id

    def define(self, name: str, value: Expr) -> None:
        """``name`` is a local that keeps this value."""
        self._definitions[name] = value

    def change(self, name: str) -> None:
        """``name`` is a local that changes: what was read of it earlier is another value."""
        self._changing.add(name)

    def state(self, e: Expr, low: float, high: float) -> Expr:
        """``e``, of which whoever wrote it knows more than its operations tell."""
        if not isinstance(e, (Const, Ref)):
            self._stated[id(e)] = e, Range(low, high)
        elif isinstance(e, Ref):
            self._known[e.name] = Range(low, high)
        return e

    def of(self, e: Expr, depth: int = _DEPTH) -> Range:
        """The interval of a float expression."""
        if e.ty.kind != "f" or e.ty.bits not in _TYPES:
            return ANY
        if isinstance(e, Const):
            value = float(_TYPES[e.ty.bits](e.value))
            return ANY if math.isnan(value) else Range(value, value)
        if isinstance(e, Ref):
            if e.name not in self._known:
                value_of = self._definitions.get(e.name)
                self._known[e.name] = ANY if value_of is None or not depth else self.of(value_of, depth - 1)
            return self._known[e.name]
        if id(e) in self._stated:
            return self._stated[id(e)][1]
        return self._operation(e, depth - 1) if isinstance(e, Op) and depth else ANY

    def _operation(self, e: Op, depth: int) -> Range:
        def part(k: int) -> Range:
            return self.of(e.args[k], depth)

        match e.name:
            case "neg":
                return -part(0)
            case "abs":
                r = part(0)
                return r if r.low >= 0 else -r if r.high <= 0 else Range(0.0, max(-r.low, r.high))
            case "sqrt":
                r = part(0)
                return _rounded(e, np.sqrt, Range(max(r.low, 0.0), max(r.high, 0.0)))
            case "select":
                return part(1) | part(2)
            case "min":
                return Range(min(part(0).low, part(1).low), min(part(0).high, part(1).high))
            case "max":
                return Range(max(part(0).low, part(1).low), max(part(0).high, part(1).high))
            case "minnum" | "maxnum" if isinstance(e.args[0], Const):  # a NaN stands second, and stays
                extreme = min if e.name == "minnum" else max
                return Range(extreme(part(0).low, part(1).low), extreme(part(0).high, part(1).high))
            case "add":
                return _sum(e, part(0), part(1))
            case "sub":
                return _sum(e, part(0), -part(1))
            case "mul":
                sign = self._square(*e.args)
                found = _rounded(e, np.multiply, part(0), part(1))
                if sign > 0:
                    return Range(max(found.low, 0.0), max(found.high, 0.0))
                return Range(min(found.low, 0.0), min(found.high, 0.0)) if sign else found
            case "div" if part(1).low > 0:
                return _rounded(e, np.divide, part(0), part(1))
        return ANY

    def _square(self, x: Expr, y: Expr) -> int:
        """1 for ``x * x``, -1 for ``-x * x``, else 0."""
        (x, first), (y, second) = self._unsigned(x), self._unsigned(y)
        same = x is y or (isinstance(x, Ref) and isinstance(y, Ref) and x.name == y.name)
        return first * second if same else 0

    def _unsigned(self, e: Expr) -> tuple[Expr, int]:
        """``(x, s)`` with ``e = s x``: through negations and names, as far as these keep their values."""
        sign = 1
        while True:
            inner = self._definitions.get(e.name) if isinstance(e, Ref) else e
            factor = 1
            if isinstance(inner, Op) and inner.name == "neg":
                inner, factor = inner.args[0], -1
            elif not isinstance(inner, Ref):
                return e, sign
            if isinstance(inner, Ref) and inner.name in self._changing:
                return e, sign
            e, sign = inner, factor * sign


def _rounded(e: Op, f: Callable[..., np.floating], *parts: Range) -> Range:
    """``f``, which is monotone in each operand, on all combinations of bounds, in the type of ``e``.

    Where bounds give NaN (0 times an infinity, a quotient of infinities), what lies next to them gives anything between zero
    and the others.
    """
    ty = _TYPES[e.ty.bits]
    with np.errstate(all="ignore"):
        ends = [(ty(p.low), ty(p.high)) for p in parts]
        corners = [f(x) for x in ends[0]] if len(ends) == 1 else [f(x, y) for x in ends[0] for y in ends[1]]
    found = [0.0 if math.isnan(c) else float(c) for c in corners]
    return Range(min(found), max(found))


def _sum(e: Op, x: Range, y: Range) -> Range:
    """Each end is the sum of two ends, and open where these are infinities of different signs."""
    ty = _TYPES[e.ty.bits]
    with np.errstate(all="ignore"):
        low, high = float(ty(x.low) + ty(y.low)), float(ty(x.high) + ty(y.high))
    return Range(-INF if math.isnan(low) else low, INF if math.isnan(high) else high)
