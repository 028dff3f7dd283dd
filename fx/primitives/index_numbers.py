"""Which dimension is what in a gather or a scatter, and the NumPy index arithmetic that both references share.

In the primitives' parameters ``dimension_numbers`` is a plain tuple of five tuples; the classes here are the
spelling that the public functions take.  The index vector is always the last dimension of the indices.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..errors import AxisError, DTypeError, ShapeError, TreeError
from ..ir import Aval
from .checks import INTEGER, check_axes, check_dtype, check_length

__all__ = [
    "GatherDimensionNumbers",
    "GatherScatterMode",
    "Numbers",
    "ScatterDimensionNumbers",
    "check_gather",
    "check_scatter",
    "default_fill_value",
    "flat_indices",
    "plain_mode",
    "plain_numbers",
    "window_sizes",
]

Dims = tuple[int, ...]
Numbers = tuple[Dims, Dims, Dims, Dims, Dims]


class GatherDimensionNumbers(NamedTuple):
    """How gather reads: for each index vector, one window of the operand.

    Attributes:
        offset_dims: dimensions of the result that run inside a window; the others are those of the indices.
        collapsed_slice_dims: dimensions of the operand whose window has size 1 and is left out of the result.
        start_index_map: the dimension of the operand that each entry of an index vector counts along.
        operand_batching_dims: dimensions of the operand that run along with ...
        start_indices_batching_dims: ... these dimensions of the indices.
    """

    offset_dims: Dims
    collapsed_slice_dims: Dims
    start_index_map: Dims
    operand_batching_dims: Dims = ()
    start_indices_batching_dims: Dims = ()


class ScatterDimensionNumbers(NamedTuple):
    """How scatter writes: the mirror image of ``GatherDimensionNumbers``, with the updates in the place of the result.

    Attributes:
        update_window_dims: dimensions of the updates that run inside a window.
        inserted_window_dims: dimensions of the operand whose window has size 1 and is left out of the updates.
        scatter_dims_to_operand_dims: the dimension of the operand that each entry of an index vector counts along.
        operand_batching_dims: dimensions of the operand that run along with ...
        scatter_indices_batching_dims: ... these dimensions of the indices.
    """

    update_window_dims: Dims
    inserted_window_dims: Dims
    scatter_dims_to_operand_dims: Dims
    operand_batching_dims: Dims = ()
    scatter_indices_batching_dims: Dims = ()


class GatherScatterMode(enum.Enum):
    """What happens to a window that does not lie in the operand.

    ``CLIP``: it is moved inside.  ``FILL_OR_DROP``: all of it reads as the fill value, or is not written.
    ``PROMISE_IN_BOUNDS``: the caller promises that there is none; what one reads or writes is not defined.
    """

    CLIP = "clip"
    FILL_OR_DROP = "fill"
    PROMISE_IN_BOUNDS = "promise_in_bounds"

    @staticmethod
    def from_any(mode: str | GatherScatterMode | None) -> GatherScatterMode:
        """From a mode, its name (``'drop'`` is ``'fill'``), or None, which means ``FILL_OR_DROP``.

        Raises:
            ShapeError: the name is not known.
        """
        if isinstance(mode, GatherScatterMode):
            return mode
        try:
            return GatherScatterMode("fill" if mode in (None, "drop") else mode)
        except ValueError:
            raise ShapeError(
                f"mode={mode!r} of a gather or scatter is not known. Use 'fill', 'drop', 'clip' or 'promise_in_bounds'."
            ) from None


def plain_mode(mode: str | GatherScatterMode | None) -> str:
    """The mode as it stands in the parameters: "fill", "clip" or "promise_in_bounds"."""
    return GatherScatterMode.from_any(mode).value


def plain_numbers(numbers: Sequence[Sequence[int]]) -> Numbers:
    """Dimension numbers as they stand in the parameters: five tuples of ints."""
    if not isinstance(numbers, tuple):
        raise TreeError(
            f"dimension_numbers must be GatherDimensionNumbers or ScatterDimensionNumbers; found {numbers!r}"
        )
    found = tuple(tuple(int(d) for d in dims) for dims in numbers)
    return (*found, *((),) * (5 - len(found)))  # type: ignore[return-value]


def default_fill_value(dtype: np.dtype) -> Any:
    """What a gather outside the operand reads: NaN, the least signed or the greatest unsigned integer, or True."""
    if dtypes.is_inexact(dtype):
        return np.nan
    if dtypes.is_bool(dtype):
        return True
    return np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max


# -------------------------------------------------------------------------------------- the checks


def _check_sorted(what: str, name: str, dims: Dims, ndim: int) -> None:
    check_axes(what, name, dims, ndim)
    if list(dims) != sorted(dims):
        raise AxisError(f"{what}: {name}={dims} must be in rising order")


def _check_index_side(
    what: str, names: Sequence[str], operand: Aval, indices: Aval, collapsed: Dims, index_map: Dims, batching: Dims,
    indices_batching: Dims,
) -> None:  # fmt: skip
    """What gather and scatter ask of the operand and the indices; ``names`` are those of the last four arguments."""
    check_dtype(what, indices, INTEGER)
    if indices.ndim == 0:
        raise ShapeError(f"{what}: indices {indices} must have a last dimension that holds the index vectors")
    if len(index_map) != indices.shape[-1]:
        raise ShapeError(
            f"{what}: index vectors, the last dimension of indices {indices}, have {indices.shape[-1]} entries, but"
            f" {names[1]}={index_map} has {len(index_map)}. Give an index for each dimension that it names."
        )
    _check_sorted(what, names[0], collapsed, operand.ndim)
    check_axes(what, names[1], index_map, operand.ndim)
    _check_sorted(what, names[2], batching, operand.ndim)
    check_axes(what, names[3], indices_batching, indices.ndim - 1)
    for name, dims in ((names[0], collapsed), (names[1], index_map)):
        if set(dims) & set(batching):
            raise AxisError(f"{what}: {name}={dims} and {names[2]}={batching} must have no dimension in common")
    sizes = tuple(operand.shape[d] for d in batching), tuple(indices.shape[d] for d in indices_batching)
    if sizes[0] != sizes[1]:
        raise ShapeError(
            f"{what}: {names[2]}={batching} of operand {operand} have sizes {sizes[0]}, but {names[3]}="
            f"{indices_batching} of indices {indices} have sizes {sizes[1]}. They run along with each other."
        )


def check_gather(operand: Aval, indices: Aval, numbers: Numbers, slice_sizes: Dims) -> Dims:
    """Checks a gather; returns the shape of its result."""
    what = "gather"
    offset, collapsed, index_map, batching, indices_batching = numbers
    names = GatherDimensionNumbers._fields[1:]
    _check_index_side(what, names, operand, indices, collapsed, index_map, batching, indices_batching)
    check_length(what, "slice_sizes", slice_sizes, operand.ndim)
    for d, (n, size) in enumerate(zip(operand.shape, slice_sizes)):
        if not 0 <= size <= n:
            raise ShapeError(
                f"{what}: slice_sizes={slice_sizes} asks for {size} of the {n} elements along dimension {d}"
            )
        if size > 1 and (d in collapsed or d in batching):
            raise ShapeError(
                f"{what}: slice_sizes={slice_sizes} must be 0 or 1 along dimension {d}, which is collapsed or batched"
            )
    window = [s for d, s in enumerate(slice_sizes) if d not in collapsed and d not in batching]
    ndim = len(offset) + indices.ndim - 1
    _check_sorted(what, "offset_dims", offset, ndim)
    if len(window) != len(offset):
        raise ShapeError(
            f"{what}: {len(window)} dimensions of operand {operand} are neither collapsed nor batching, but"
            f" offset_dims={offset} gives {len(offset)} of them a place in the result"
        )
    inside, outside = iter(window), iter(indices.shape[:-1])
    return tuple(next(inside) if d in offset else next(outside) for d in range(ndim))


def window_sizes(operand_shape: Dims, updates_shape: Dims, numbers: Numbers) -> Dims:
    """The window that a scatter writes: its size along each dimension of the operand."""
    window, inserted, _, batching, _ = numbers
    sizes = iter([updates_shape[d] for d in window])
    return tuple(min(1, n) if d in inserted or d in batching else next(sizes) for d, n in enumerate(operand_shape))


def check_scatter(what: str, operand: Aval, indices: Aval, updates: Aval, numbers: Numbers) -> None:
    """Checks a scatter, whose result has the operand's type."""
    window, inserted, index_map, batching, indices_batching = numbers
    names = ScatterDimensionNumbers._fields[1:]
    _check_index_side(what, names, operand, indices, inserted, index_map, batching, indices_batching)
    if operand.dtype != updates.dtype:
        raise DTypeError(f"{what}: operand {operand} and updates {updates} differ in dtype. Convert the updates.")
    _check_sorted(what, "update_window_dims", window, updates.ndim)
    if len(window) + len(inserted) + len(batching) != operand.ndim:
        raise ShapeError(
            f"{what}: update_window_dims={window}, inserted_window_dims={inserted} and operand_batching_dims={batching}"
            f" must together have one entry for each of the {operand.ndim} dimensions of operand {operand}"
        )
    outside = tuple(s for d, s in enumerate(updates.shape) if d not in window)
    if outside != indices.shape[:-1]:
        raise ShapeError(
            f"{what}: updates {updates} have the dimensions {outside} outside their windows, but indices {indices} hold"
            f" index vectors for {indices.shape[:-1]}. There must be one window for each index vector."
        )
    for d, (n, size) in enumerate(zip(operand.shape, window_sizes(operand.shape, updates.shape, numbers))):
        if size > n:
            raise ShapeError(
                f"{what}: windows of updates {updates} have {size} elements along dimension {d} of operand {operand}"
            )


# ------------------------------------------------------------------------------- index arithmetic


def _starts(indices: np.ndarray, k: int) -> np.ndarray:
    """Entry ``k`` of the index vectors as int64; what is beyond int64 stays out of bounds."""
    entry = indices[..., k]
    return (
        np.minimum(entry, np.iinfo(np.int64).max).astype(np.int64)
        if entry.dtype == np.uint64
        else entry.astype(np.int64)
    )


def flat_indices(
    shape: Dims, indices: np.ndarray, window: Dims, numbers: Numbers, clip: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """The flat index into an operand of ``shape`` of each element of the result (gather) or the updates (scatter).

    Args:
        window: size of the window along each dimension of the operand.
        numbers: of the gather; for a scatter they mean the same.
        clip: move windows inside.

    Returns:
        The indices, all of them valid, and a mask (broadcastable to them) of those whose window lies in the operand.
        With ``clip`` all do, and the mask is None.
    """
    offset, collapsed, index_map, batching, indices_batching = numbers
    outer = indices.shape[:-1]
    ndim = len(offset) + len(outer)
    strides = [math.prod(shape[d + 1 :]) for d in range(len(shape))]
    base, inside = np.zeros(outer, np.int64), np.ones(outer, np.bool_)
    for k, d in enumerate(index_map):
        start, top = _starts(indices, k), shape[d] - window[d]
        if clip:
            start = np.clip(start, 0, top)
        else:
            inside &= (start >= 0) & (start <= top)
        base += start * strides[d]
    base = np.where(inside, base, 0)
    for d, axis in zip(batching, indices_batching):
        base += np.arange(outer[axis], dtype=np.int64).reshape(-1, *(1,) * (len(outer) - axis - 1)) * strides[d]
    place = [d for d in range(ndim) if d not in offset]
    expanded = [1] * ndim
    for d, n in zip(place, outer):
        expanded[d] = n
    flat = base.reshape(expanded)
    kept = (d for d in range(len(shape)) if d not in collapsed and d not in batching)
    for axis, d in zip(offset, kept):
        steps = np.arange(window[d], dtype=np.int64) * strides[d]
        flat = flat + steps.reshape(-1, *(1,) * (ndim - axis - 1))
    return flat, None if clip else inside.reshape(expanded)
