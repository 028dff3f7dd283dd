"""NumPy's indexing language taken apart: one entry for each axis, and where the result's axes come from."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..errors import ConcretizationError, DTypeError, OutOfBoundsIndexError
from ..sizes import as_size, slice_indices
from ..trace import Tracer, aval_of, concrete_value, state
from .core import Value, as_value

__all__ = ["Index", "numpy_index", "parse", "slice_bounds", "static_position"]

_slice = builtins.slice
_KEPT, _NEW, _INT, _ARRAY, _GAP = "kept", "new", "int", "array", "gap"


@dataclass
class Index:
    """An index for an array of a given shape.

    entries: for each axis an int, a slice with static bounds, or an integer index array.
    layout: what each item of the index gives the result, in order: "kept" (a sliced axis), "new" (None), "int" (an
        axis that goes), "array" (one or more index arrays), "gap" (an Ellipsis for no axis).
    extra: axes of size 1 that are put into the array first, for the 0-d booleans; ``entries`` counts them.
    """

    entries: list[Any]
    layout: list[str]
    extra: tuple[int, ...]

    @property
    def is_static(self) -> bool:
        return _ARRAY not in self.layout

    def new_axes(self) -> tuple[int, ...]:
        """Positions of the None axes among the result's axes, for a static index."""
        kept = [k for k in self.layout if k in (_KEPT, _NEW)]
        return tuple([i for i, k in enumerate(kept) if k == _NEW])

    def around_arrays(self) -> tuple[list[str], list[str]]:
        """The kept and new axes before and after those of the broadcast index arrays.

        These stand where the arrays stand if the arrays (and ints) are neighbours, else in front.
        """
        places = [i for i, k in enumerate(self.layout) if k in (_INT, _ARRAY)]
        adjacent = places[-1] - places[0] + 1 == len(places)
        first = places[0] if adjacent else 0
        before, after = self.layout[:first], self.layout[first:]
        return [k for k in before if k in (_KEPT, _NEW)], [k for k in after if k in (_KEPT, _NEW)]


def parse(index: Any, shape: tuple[int, ...]) -> Index:
    """Takes an index apart.

    Raises:
        OutOfBoundsIndexError: too many indices, or a boolean mask of a wrong shape.
        DTypeError: something that is no index.
        ConcretizationError: a boolean mask whose values are not known while tracing.
    """
    items = [_as_item(it) for it in (index if isinstance(index, tuple) else (index,))]
    if sum(it is Ellipsis for it in items) > 1:
        raise OutOfBoundsIndexError("an index can have only one Ellipsis (...)")
    used = sum(map(_width, items))
    if used > len(shape):
        raise OutOfBoundsIndexError(
            f"too many indices: {used} for an array with {len(shape)} dimensions (shape {shape})"
        )
    if not any(it is Ellipsis for it in items):
        items.append(Ellipsis)
    entries: list[Any] = []
    layout: list[str] = []
    extra: list[int] = []
    for it in items:
        axis = len(entries)
        if it is Ellipsis:
            entries += [_slice(None)] * (len(shape) - used)
            layout += [_KEPT] * (len(shape) - used) or [_GAP]
        elif it is None:
            layout.append(_NEW)
        elif isinstance(it, _slice):
            entries.append(it)
            layout.append(_KEPT)
        elif isinstance(it, int):
            entries.append(it)
            layout.append(_INT)
        elif it.dtype == dtypes.bool_ and it.ndim == 0:
            extra.append(axis)
            entries.append(Array(np.zeros(int(_known_mask(it)[()]), np.int32)))
            layout.append(_ARRAY)
        elif it.dtype == dtypes.bool_:
            start = axis - len(extra)
            entries += _nonzero_of(it, shape[start : start + it.ndim])
            layout.append(_ARRAY)
        else:
            entries.append(it)
            layout.append(_ARRAY)
    if layout[-1] == _GAP:  # the Ellipsis that was added, or one at the end: it separates nothing
        layout.pop()
    return Index(entries, layout, tuple(extra))


def _as_item(it: Any) -> Any:
    """None, Ellipsis, a slice, an int, or an Array or Tracer of integers or booleans."""
    if it is None or it is Ellipsis or isinstance(it, _slice):
        return it
    if isinstance(it, (bool, np.bool_)):
        return Array(np.asarray(it))
    if isinstance(it, (int, np.integer)) or (isinstance(it, np.ndarray) and it.ndim == 0 and it.dtype.kind in "iu"):
        return as_size(it)
    if type(it) is Tracer and state.constants and it.value is not None and it.dtype.kind in "iu":
        return Array(it.value) if it.shape else int(it.value)
    if not isinstance(it, (list, tuple, Tracer, Array, np.ndarray, np.generic)) and hasattr(it, "__index__"):
        return int(it.__index__())
    try:
        v = as_value(it, "index")
    except ValueError:
        v = None
    if isinstance(it, (list, tuple)) and v is not None and v.size == 0:
        v = Array(np.zeros(v.shape, np.int32))  # an empty list is one of indices
    if v is None or not (dtypes.is_integer(v.dtype) or v.dtype == dtypes.bool_):
        what = f"{type(it).__name__} ({it!r})" if v is None or not v.ndim else aval_of(v)
        raise DTypeError(
            f"an index must be an int, a slice, None, Ellipsis or an integer or boolean array; found {what}"
        )
    return v


def _width(it: Any) -> int:
    """How many axes an item stands for."""
    if it is None or it is Ellipsis:
        return 0
    return it.ndim if isinstance(it, (Tracer, Array)) and it.dtype == dtypes.bool_ else 1


def _known_mask(mask: Value) -> np.ndarray:
    m = concrete_value(mask)
    if m is None:
        raise ConcretizationError(
            f"a traced boolean mask of shape {mask.shape} was used as an index: the result's shape would depend on its values."
            " Use fx.numpy.where(mask, x, other), x.at[mask].set(number), or compute the mask outside the traced function."
        )
    return m


def _nonzero_of(mask: Value, have: tuple[int, ...]) -> list[Array]:
    """A boolean mask as index arrays, one for each axis."""
    m = _known_mask(mask)
    if m.shape != have:
        raise OutOfBoundsIndexError(f"a boolean index of shape {m.shape} does not fit the dimensions {have} it indexes")
    return [Array(i.astype(np.int32) if max(m.shape) < 2**31 else i) for i in np.nonzero(m)]


def static_position(i: int, n: int, axis: int) -> int:
    """A static index counted from the front.

    Raises:
        OutOfBoundsIndexError: it lies outside.
    """
    if not -n <= i < n:
        raise OutOfBoundsIndexError(f"index {i} is out of bounds for axis {axis} with size {n}")
    return i + n if i < 0 else i


def slice_bounds(s: builtins.slice, n: int, axis: int) -> tuple[int, int, int]:
    """``s.indices(n)``, with an error that names the axis.

    Raises:
        DTypeError: bounds that are not ints; ConcretizationError: traced ones.
    """
    try:
        return slice_indices(s, n)
    except (ConcretizationError, ValueError):
        raise
    except TypeError:
        raise DTypeError(f"slice bounds of axis {axis} must be ints or None; found {s}") from None


def numpy_index(index: Any) -> Any:
    """An index that NumPy takes, with arrays in place of ours; None if it holds something else (a traced value, a list) or
    uint64 arrays, of whose large numbers NumPy makes negative ones."""
    if isinstance(index, tuple):
        items = tuple([_numpy_item(it) for it in index])
        return None if any(it is NotImplemented for it in items) else items
    item = _numpy_item(index)
    return None if item is NotImplemented else (item,)


def _numpy_item(it: Any) -> Any:
    t = type(it)
    if t is int or t is _slice or it is None or it is Ellipsis or t is bool:
        return it
    if t is Array or t is np.ndarray:
        data = it._data if t is Array else it
        return data if data.dtype != np.uint64 else NotImplemented
    return it if isinstance(it, np.generic) or (t is list and all(type(v) is int for v in it)) else NotImplemented
