"""``fx.ops``: reductions over segments, the parts of an array that carry the same number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import dtypes
from . import numpy as fnp
from .errors import DTypeError, ShapeError
from .numpy.core import as_value, filled
from .primitives.reductions import extreme_identity

__all__ = ["segment_max", "segment_min", "segment_prod", "segment_sum"]

Value = Any
Flags = tuple[Any, bool, bool]  # mode, indices_are_sorted, unique_indices


def _segment_reduce(
    name: str,
    method: str,
    identity: Callable[[Any], Any],
    data: Any,
    segment_ids: Any,
    num_segments: int | None,
    flags: Flags,
) -> Value:
    data, ids = as_value(data, f"data of {name}"), as_value(segment_ids, f"segment_ids of {name}")
    if not dtypes.is_integer(ids.dtype):
        raise DTypeError(f"segment_ids of {name} must be integers; found {ids.dtype}")
    lead, rest = data.shape[: ids.ndim], data.shape[ids.ndim :]
    if lead != ids.shape:  # one number, or row, for all
        if any(n not in (1, m) for n, m in zip(lead[::-1], ids.shape[::-1])):
            raise ShapeError(
                f"{name}: segment_ids of shape {ids.shape} must be a leading part of data's shape {data.shape}"
            )
        data = fnp.broadcast_to(data, (*ids.shape, *rest))
    if num_segments is None:
        num_segments = int(fnp.max(ids)) + 1 if ids.size else 0
    if num_segments < 0:
        raise ShapeError(f"{name}: num_segments cannot be negative; found {num_segments}")
    out = filled((num_segments, *rest), identity(data.dtype), data.dtype)
    mode, is_sorted, unique = flags
    return getattr(out.at[ids], method)(
        data, mode=mode or "drop", indices_are_sorted=is_sorted, unique_indices=unique, wrap_negative_indices=False
    )


def segment_sum(
    data: Any, segment_ids: Any, num_segments: int | None = None, indices_are_sorted: bool = False,
    unique_indices: bool = False, bucket_size: int | None = None, mode: Any = None,
) -> Value:  # fmt: skip
    """The sum of the elements of every segment; 0 where there is none.

    Args:
        data: its leading axes are those of ``segment_ids``; sums go over these.
        segment_ids: integers, the segment of each element; negative ones do not count from the end.
        num_segments: how many there are; None means the greatest id + 1, which must be known while tracing.
        indices_are_sorted, unique_indices: as for ``.at``.
        bucket_size: accepted.
        mode: what happens to ids out of range, as for ``.at``; None means "drop".

    >>> segment_sum(fnp.arange(5), fnp.array([0, 0, 1, 1, 2]))
    Array([1, 5, 4], dtype=int32)
    """
    return _segment_reduce(
        "segment_sum", "add", lambda d: 0, data, segment_ids, num_segments, (mode, indices_are_sorted, unique_indices)
    )


def segment_prod(
    data: Any, segment_ids: Any, num_segments: int | None = None, indices_are_sorted: bool = False,
    unique_indices: bool = False, bucket_size: int | None = None, mode: Any = None,
) -> Value:  # fmt: skip
    """The product of the elements of every segment; 1 where there is none.  Arguments as for ``segment_sum``."""
    return _segment_reduce(
        "segment_prod",
        "multiply",
        lambda d: 1,
        data,
        segment_ids,
        num_segments,
        (mode, indices_are_sorted, unique_indices),
    )


def segment_max(
    data: Any, segment_ids: Any, num_segments: int | None = None, indices_are_sorted: bool = False,
    unique_indices: bool = False, bucket_size: int | None = None, mode: Any = None,
) -> Value:  # fmt: skip
    """The greatest element of every segment; -inf or the least integer where there is none.  See ``segment_sum``."""
    return _segment_reduce(
        "segment_max",
        "max",
        lambda d: extreme_identity(d, largest=False),
        data,
        segment_ids,
        num_segments,
        (mode, indices_are_sorted, unique_indices),
    )


def segment_min(
    data: Any, segment_ids: Any, num_segments: int | None = None, indices_are_sorted: bool = False,
    unique_indices: bool = False, bucket_size: int | None = None, mode: Any = None,
) -> Value:  # fmt: skip
    """The least element of every segment; inf or the greatest integer where there is none.  See ``segment_sum``."""
    return _segment_reduce(
        "segment_min",
        "min",
        lambda d: extreme_identity(d, largest=True),
        data,
        segment_ids,
        num_segments,
        (mode, indices_are_sorted, unique_indices),
    )
