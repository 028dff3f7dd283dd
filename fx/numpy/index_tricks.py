"""Arrays written as indices: ``mgrid[0:3, 0:2]``, ``ogrid``, ``r_[0:3, 5]``, ``c_``."""

from __future__ import annotations

import builtins
from typing import Any

from ..errors import ArgumentError
from .core import Value, operand, promote_dtype, shape_of
from .creation import arange, array, linspace
from .manipulation import concatenate, stack, swapaxes, transpose
from .matrices import meshgrid

__all__ = ["c_", "mgrid", "ogrid", "r_"]


def _range_of(s: builtins.slice) -> Value:
    """``start:stop:step`` as ``arange``; with an imaginary step as ``linspace`` with that many points."""
    start, step = s.start or 0, 1 if s.step is None else s.step
    if s.stop is None:
        raise ArgumentError(f"a range written as an index needs an end; found {s}")
    return linspace(start, s.stop, int(abs(step))) if isinstance(step, complex) else arange(start, s.stop, step)


class _Grid:
    """The index grids of ``meshgrid(..., indexing="ij")``, written as slices: stacked, or thin (``sparse``)."""

    def __init__(self, sparse: bool) -> None:
        self.sparse = sparse

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, tuple):
            return _range_of(key)
        axes = promote_dtype(*map(_range_of, key))
        grids = meshgrid(*axes, sparse=self.sparse, indexing="ij")
        return grids if self.sparse else stack(grids)


class _Joiner:
    """``concatenate`` of what stands between the brackets: arrays, numbers and ranges.

    A string in front changes how: "axis", "axis,ndim" or "axis,ndim,place", as in NumPy; "r" and "c" make a row and a
    column of a vector.
    """

    def __init__(self, axis: int, ndmin: int, place: int) -> None:
        self.defaults = axis, ndmin, place

    def __getitem__(self, key: Any) -> Value:
        items = list(key) if isinstance(key, tuple) else [key]
        axis, ndmin, place = self.defaults
        directive = items.pop(0) if items and isinstance(items[0], str) else None
        if directive in ("r", "c"):
            whole = array(self[tuple(items)], ndmin=2)
            return transpose(whole) if directive == "c" and whole.shape[0] == 1 and self.defaults[1] == 1 else whole
        if directive is not None:
            try:
                numbers = [int(n) for n in directive.split(",")]
            except ValueError:
                raise ArgumentError(
                    f"the directive {directive!r} must be one to three integers, 'axis,ndim,place'"
                ) from None
            axis, ndmin, place = (*numbers, *(axis, ndmin, place)[len(numbers) :])
        parts = promote_dtype(*[_range_of(it) if isinstance(it, builtins.slice) else operand(it) for it in items])
        return concatenate(
            [self._widened(x, ndmin, place, isinstance(it, builtins.slice)) for x, it in zip(parts, items)], axis
        )

    def _widened(self, x: Value, ndmin: int, place: int, is_range: bool) -> Value:
        """At least ``ndmin`` dimensions; the axes it had stand at ``place`` among them (-1: at the end)."""
        have = len(shape_of(x))
        wide = array(x, ndmin=max(ndmin, 1))
        if place == -1 or have >= ndmin:
            return wide
        if is_range:
            return swapaxes(wide, -1, place)
        new = ndmin - have
        first = place if place >= 0 else place + new + 1
        axes = list(range(ndmin))
        return transpose(wide, axes[:first] + axes[new:] + axes[first:new])


mgrid, ogrid = _Grid(sparse=False), _Grid(sparse=True)
r_, c_ = _Joiner(0, 1, -1), _Joiner(-1, 2, 0)
