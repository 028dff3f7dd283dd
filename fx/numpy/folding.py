"""Folding of arrays by an operation of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..primitives import joining
from .core import Value, shape_of

__all__ = ["fold_halves"]


def fold_halves(rows: Sequence[Value], combine: Callable[[list[Value], list[Value]], list[Value]]) -> list[Value]:
    """Combines the entries along axis 0 of several arrays together, half with half, log2(n) times; axis 0 is kept, with size 1.

    ``combine`` must be associative and elementwise; there must be at least one entry.
    """
    rows = list(rows)
    n = shape_of(rows[0])[0]
    while n > 1:
        half = n // 2
        first, second = ([joining.slice_in_dim(x, i, i + half) for x in rows] for i in (0, half))
        rest = [joining.slice_in_dim(x, 2 * half, n) for x in rows]
        done = combine(first, second)
        rows = [joining.concatenate(pair, 0) for pair in zip(done, rest)] if n % 2 else list(done)
        n -= half
    return rows
