"""Axes and shapes as a user writes them: ints and sequences of ints, checked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

import numpy as np

from ..array import Array
from ..errors import AxisError, DTypeError, ShapeError
from ..sizes import Size
from ..trace import Tracer

__all__ = ["axis_tuple", "canonical_axes", "canonical_axis", "plain_ints", "static_shape"]


def plain_ints(values: Any, what: str = "a shape") -> tuple[int, ...]:
    """An int or a sequence of ints as a tuple.

    Raises:
        ShapeError: it is neither.
        ConcretizationError: one is a traced value that is not known.
    """
    several = isinstance(values, (tuple, list, range)) or (
        (type(values) is Array or isinstance(values, np.ndarray)) and values.ndim
    )
    parts = list(values) if several else [values]
    try:
        return tuple([cast(int, s) if type(s) is Size else int(s.__index__()) for s in parts])
    except (AttributeError, TypeError):
        if any(type(s) is Tracer for s in parts):
            raise
        if not several and isinstance(values, Iterable) and not isinstance(values, (Array, np.ndarray, str, dict)):
            return plain_ints(tuple(values), what)  # of a class of the program's own
        raise ShapeError(f"{what} must be an int or a sequence of ints; found {values!r}") from None


def static_shape(shape: Any) -> tuple[int, ...]:
    """A shape given as an int or a sequence of ints.

    Raises:
        ShapeError: it is neither, or a size is negative.
    """
    sizes = plain_ints(shape)
    if any(s < 0 for s in sizes):
        raise ShapeError(f"a shape cannot have negative sizes; found {sizes}")
    if Size not in map(type, sizes) and math.prod(sizes) >= 2**63:
        raise ShapeError(f"no array can have the shape {sizes}: that many elements have no addresses")
    return sizes


def canonical_axis(axis: Any, ndim: int, name: str = "axis") -> int:
    """A non-negative axis.

    Raises:
        AxisError: if it is out of range; DTypeError if it is not an integer.
    """
    try:
        i = int(axis.__index__())
    except (AttributeError, TypeError):
        if type(axis) is Tracer:
            raise
        raise DTypeError(f"{name} must be an int; found {axis!r}") from None
    if not -ndim <= i < ndim:
        between = f"{-ndim} and {ndim - 1}" if ndim else ""
        raise AxisError(
            f"{name} {i} is out of range for an array with {ndim} dimension{'s' * (ndim != 1)}"
            + (f"; it lies between {between}" if between else ", which has no axes")
        )
    return i % ndim


def axis_tuple(axis: Any) -> tuple[Any, ...]:
    """One axis or several, in a sequence or an array, as a tuple."""
    return tuple(axis) if isinstance(axis, (tuple, list, range)) or getattr(axis, "ndim", 0) == 1 else (axis,)


def canonical_axes(axis: Any, ndim: int, name: str = "axis") -> tuple[int, ...]:
    """Sorted non-negative axes; None means all.

    Raises:
        AxisError: out of range, or given twice.
    """
    if axis is None:
        return tuple(range(ndim))
    axes = tuple([canonical_axis(a, ndim, name) for a in axis_tuple(axis)])
    if len(set(axes)) != len(axes):
        raise AxisError(f"{name}={axis!r} names an axis twice (the array has {ndim} dimensions)")
    return tuple(sorted(axes))
