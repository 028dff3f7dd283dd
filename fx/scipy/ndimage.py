"""``fx.scipy.ndimage``: interpolation of images."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes
from .. import numpy as fnp
from ..errors import (
    ShapeError,
    UnsupportedArgumentError,
)
from ..numpy.core import as_value, promote_inexact
from ..primitives import elementwise as p
from ..traceback import hide_frames
from .special.core import Value

__all__ = ["map_coordinates"]


def _mirrored(index: Value, size: int) -> Value:
    """Reflected at the centres of the outer elements: 2 1 0 1 2 3 2 1."""
    last = size - 1
    return fnp.zeros_like(index) if last == 0 else fnp.abs(fnp.remainder(index + last, 2 * last) - last)


def _reflected(index: Value, size: int) -> Value:
    """Reflected at the outer edges: 1 0 0 1 2 2 1 0."""
    turn = fnp.remainder(index, 2 * size)
    return fnp.minimum(turn, 2 * size - 1 - turn)


_INSIDE: dict[str, Callable[[Value, int], Value]] = {
    "constant": lambda index, size: fnp.clip(index, 0, size - 1),
    "nearest": lambda index, size: fnp.clip(index, 0, size - 1),
    "wrap": lambda index, size: fnp.remainder(index, size),
    "mirror": _mirrored,
    "reflect": _reflected,
}


def _neighbours(position: Value, order: int) -> list[tuple[Value, Value | float]]:
    """Pairs of an index (a float) and its weight."""
    if order == 0:
        return [(fnp.floor(position + 0.5), 1.0)]
    below = fnp.floor(position)
    upper = position - below
    return [(below, 1 - upper), (below + 1, upper)]


def map_coordinates(
    input: Any, coordinates: Sequence[Any], order: int, mode: str = "constant", cval: Any = 0.0
) -> Value:
    """The values of an array at positions between its elements.

    Args:
        input: array of n dimensions.
        coordinates: n arrays of one shape, or an array whose first axis has size n: the positions along each dimension.
        order: 0 for the nearest element, 1 for linear interpolation.
        mode: what lies outside: 'constant' (``cval``; it is mixed with the outer elements next to them), 'nearest',
            'wrap' (the array again), 'mirror' (reflected at the centres of the outer elements) or 'reflect' (at their outer
            edges).
        cval: value outside with mode 'constant'.

    Returns:
        Array of the shape of the coordinates and the dtype of ``input``; integers are rounded.

    Raises:
        ShapeError: there is not one array of coordinates for each dimension.
        NotImplementedError: another order or mode.

    >>> map_coordinates(fnp.arange(12.0).reshape(3, 4), [fnp.array([0.5, 1.5]), fnp.array([1.5, 2.5])], order=1)
    Array([3.5, 8.5], dtype=float32)
    """
    x = as_value(input, "input of map_coordinates")
    places = promote_inexact(*coordinates) if len(coordinates) else []
    if len(places) != x.ndim:
        raise ShapeError(
            f"map_coordinates: an array of {x.ndim} dimensions takes as many coordinates; found {len(places)}"
        )
    if order not in (0, 1) or mode not in _INSIDE:
        raise UnsupportedArgumentError(
            f"map_coordinates has order 0 and 1 and the modes {', '.join(_INSIDE)}; found order={order!r}, mode={mode!r}"
        )
    exact = not dtypes.is_inexact(x.dtype)
    outside = fnp.asarray(cval, x.dtype)
    total: Any = None
    for corner in itertools.product(*[_neighbours(c, order) for c in places]):
        at = [_INSIDE[mode](index, n) for (index, _), n in zip(corner, x.shape)]
        value = x[tuple(p.convert_element_type(i, "int32") for i in at)]
        if mode == "constant":
            inside = [(index >= 0) & (index < n) for (index, _), n in zip(corner, x.shape)]
            value = fnp.where(functools.reduce(operator.and_, inside, fnp.array(True)), value, outside)
        term = functools.reduce(operator.mul, [w for _, w in corner if not isinstance(w, float)], value)
        total = term if total is None else total + term
    return (p.round(total) if exact and order else total).astype(x.dtype)


hide_frames(globals())
