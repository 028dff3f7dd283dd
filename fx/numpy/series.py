"""Sums of polynomials with known coefficients, for the functions that are approximated by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..primitives import elementwise as p
from ..trace import aval_of
from .types import finfo

__all__ = ["chebyshev", "horner"]

Value = Any


def horner(coefficients: Sequence[float], x: Value) -> Value:
    """The polynomial with these coefficients, highest power first."""
    total = p.add(p.mul(x, coefficients[0]), coefficients[1])
    for c in coefficients[2:]:
        total = p.add(p.mul(total, x), c)
    return total


def chebyshev(coefficients: Sequence[float], t: Value) -> Value:
    """sum_k c_k T_k(t) for -1 <= t <= 1, by Clenshaw's recurrence; at least four coefficients.

    Terms that are below the last place of the dtype are left out, so float32 takes half as many as float64.
    """
    least = float(finfo(aval_of(t).dtype).eps) / 16 * max(map(abs, coefficients))
    count = max(4, 1 + max(k for k, c in enumerate(coefficients) if abs(c) > least))
    first, *rest, older = coefficients[:count]
    twice = p.add(t, t)
    newer = p.add(p.mul(twice, older), rest.pop())
    for c in reversed(rest):
        newer, older = p.sub(p.add(p.mul(twice, newer), c), older), newer
    return p.sub(p.add(p.mul(t, newer), first), older)
