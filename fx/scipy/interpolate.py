"""``fx.scipy.interpolate``: interpolation of samples on a grid."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import numpy as fnp
from ..errors import (
    ArgumentError,
    DTypeError,
    ShapeError,
    UnsupportedArgumentError,
)
from ..numpy.core import as_value, promote_inexact
from ..trace import concrete_value
from .special.core import Value

__all__ = ["RegularGridInterpolator"]

_METHODS = ("linear", "nearest")


def _rising(points: Value, values: Value, axis: int) -> tuple[Value, Value]:
    """The grid along one axis in rising order; where it is traced it must be so."""
    known = concrete_value(points)
    if known is None:
        return points, values
    steps = np.diff(known)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise ArgumentError(
            f"RegularGridInterpolator: the points of axis {axis} must strictly rise or fall; found {known}"
        )
    return (points, values) if (steps > 0).all() else (fnp.flip(points, 0), fnp.flip(values, axis))


class RegularGridInterpolator:
    """Interpolates values on a grid whose lines need not be evenly spaced.

    Args:
        points: for each of n dimensions the positions of the grid lines, shape (m_i,); strictly rising, or falling
            unless traced.
        values: shape (m_1, ..., m_n, ...); what follows the grid are the components of a value.
        method: 'linear' or 'nearest'.
        bounds_error: must be False: traced positions cannot raise.
        fill_value: result outside of the grid; None continues the outer cells.

    Raises:
        ShapeError: the shapes do not fit.
        ValueError: an unknown method, or points out of order.
        NotImplementedError: ``bounds_error`` is True.

    >>> f = RegularGridInterpolator((fnp.array([1.0, 2.0]), fnp.array([4.0, 6.0])), fnp.array([[10.0, 20.0], [40.0, 50.0]]))
    >>> f(fnp.array([1.5, 5.0]))
    Array([30.], dtype=float32)
    """

    def __init__(
        self, points: Sequence[Any], values: Any, method: str = "linear", bounds_error: bool = False, fill_value: Any = np.nan
    ) -> None:  # fmt: skip
        if bounds_error:
            raise UnsupportedArgumentError(
                "RegularGridInterpolator: bounds_error must be False; mark what is outside by fill_value"
            )
        grid = [as_value(line, "points of RegularGridInterpolator") for line in points]
        (table,) = promote_inexact(as_value(values, "values of RegularGridInterpolator"))
        if len(grid) > table.ndim or any(g.ndim != 1 or g.shape[0] != n for g, n in zip(grid, table.shape)):
            raise ShapeError(
                f"RegularGridInterpolator: points of shapes {', '.join(str(g.shape) for g in grid)} do not fit values of shape"
                f" {table.shape}: there must be one position for each entry along an axis"
            )
        for axis, line in enumerate(grid):
            grid[axis], table = _rising(line, table, axis)
        self.method, self.fill_value = self._known(method), fill_value
        self.grid, self.values = tuple(grid), table

    @staticmethod
    def _known(method: str) -> str:
        if method not in _METHODS:
            raise ArgumentError(f"RegularGridInterpolator: method {method!r} is not one of {', '.join(_METHODS)}")
        return method

    def __call__(self, xi: Any, method: str | None = None) -> Value:
        """The values at points of shape (..., n), or at n arrays of coordinates; the result has shape (..., components).

        Args:
            xi: positions.
            method: instead of that given before.
        """
        method = self.method if method is None else self._known(method)
        n = len(self.grid)
        at = fnp.stack(fnp.broadcast_arrays(*xi), -1) if isinstance(xi, tuple) else as_value(xi, "xi")
        if at.ndim == 1 and n > 1:
            at = at[None]
        elif at.ndim == 1:
            at = at[:, None]
        if at.shape[-1] != n:
            raise ShapeError(
                f"RegularGridInterpolator: points of {n} dimensions have shape (..., {n}); found {at.shape}"
            )
        places = [promote_inexact(at[..., i], line[:1])[0] for i, line in enumerate(self.grid)]
        if not np.issubdtype(self.values.dtype, np.inexact):
            raise DTypeError(f"RegularGridInterpolator: values must be numbers; found {self.values.dtype}")
        out = self._at(places, method)
        if self.fill_value is None:
            return out
        outside = [(x < line[0]) | (x > line[-1]) for x, line in zip(places, self.grid)]
        anywhere = functools.reduce(operator.or_, outside)
        missing = anywhere.reshape(*anywhere.shape, *(1,) * (out.ndim - anywhere.ndim))
        return fnp.where(missing, fnp.asarray(self.fill_value, out.dtype), out)

    def _at(self, places: list[Value], method: str) -> Value:
        corners = []
        for x, line in zip(places, self.grid):
            size = line.shape[0]
            low = fnp.clip(fnp.searchsorted(line, x, side="right").astype("int32") - 1, 0, max(size - 2, 0))
            high = fnp.minimum(low + 1, size - 1)
            width = line[high] - line[low]
            share = (x - line[low]) / fnp.where(width == 0, 1, width)
            corners.append(
                [(fnp.where(share <= 0.5, low, high), None)]
                if method == "nearest"
                else [(low, 1 - share), (high, share)]
            )
        trailing = (1,) * (self.values.ndim - len(places))
        total = None
        for corner in itertools.product(*corners):
            value = self.values[tuple(i for i, _ in corner)]
            for _, weight in corner:
                value = (
                    value if weight is None else value * weight.reshape(*weight.shape, *trailing).astype(value.dtype)
                )
            total = value if total is None else total + value
        return total
