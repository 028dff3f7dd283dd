"""Which rules of lowering this package gives: those that its families have put into the tables
when the last of them is imported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .reductions import REDUCTIONS
from .registry import LOWERINGS, POINTWISE, PRODUCTS
from .shaping import SHAPING

__all__ = ["given_from_outside"]

_TABLES: tuple[dict[str, Any], ...] = (POINTWISE, LOWERINGS, PRODUCTS, SHAPING, REDUCTIONS)
_OURS = tuple([dict(t) for t in _TABLES])


def given_from_outside(names: Iterable[str]) -> list[str]:
    """Those of the primitives ``names`` that have another rule by now."""
    return [name for name in names if any(t.get(name) is not ours.get(name) for t, ours in zip(_TABLES, _OURS))]
