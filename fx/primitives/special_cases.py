"""References for special cases: of some operands and parameters a primitive's NumPy reference is one function of NumPy's.

``@for_types(rule)`` marks a reference.  ``rule(operands, **params)`` gets for each operand its type, its dtype alone, or the
literal that it is, and gives the function of the arrays alone that does the same, to the bit; or None for the reference
itself.  ``trace.reference_of`` asks; what it finds is kept with the types, so a rule may look at all it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

__all__ = ["as_ufunc", "dtype_of", "for_types", "is_narrow_float"]

F = TypeVar("F", bound=Callable[..., Any])
Rule = Callable[..., Any]


def for_types(rule: Rule) -> Callable[[F], F]:
    """Decorator of a reference: see the module."""

    def mark(reference: F) -> F:
        reference.special = rule  # type: ignore[attr-defined]
        return reference

    return mark


def as_ufunc(f: np.ufunc, kinds: str) -> Callable[[F], F]:
    """Decorator: for dtypes of these kinds the reference is this one function of NumPy."""

    def rule(operands: Sequence[Any]) -> Any:
        return f if all(dtype_of(a).kind in kinds for a in operands) else None

    return for_types(rule)


def dtype_of(operand: Any) -> np.dtype:
    """Of what a rule gets for an operand."""
    dtype: np.dtype = getattr(operand, "dtype", operand)
    return dtype


def is_narrow_float(d: np.dtype) -> bool:
    """float16 and bfloat16, with which formulas of several steps are computed in float32."""
    return d.itemsize == 2 and d.kind in "fV"
