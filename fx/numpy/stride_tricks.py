"""``np.lib.stride_tricks`` on traced arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from .axes import axis_tuple, canonical_axis, plain_ints
from .core import Value, as_value
from .indexing import getitem
from .manipulation import moveaxis

__all__ = ["sliding_window_view"]


def sliding_window_view(x: Any, window_shape: Any, axis: Any = None, *, writeable: bool = False) -> Value:
    """All windows of a shape: ``out[i, k] = x[i + k]``, the axes of the windows last.

    Args:
        window_shape: the sizes of a window along ``axis`` (along all axes, if that is None).
        writeable: accepted where NumPy's function is called; the result is a new array.

    Raises:
        ShapeError: a window is larger than the axis, or there are not as many sizes as axes.
    """
    a = as_value(x)
    sizes = plain_ints(window_shape, "the shape of a window")
    axes = range(a.ndim) if axis is None else [canonical_axis(i, a.ndim) for i in axis_tuple(axis)]
    if len(sizes) != len(axes):
        raise ShapeError(f"sliding_window_view: windows of shape {sizes} do not fit {len(axes)} axes")
    for i, w in zip(axes, sizes):
        n = a.shape[i]
        if not 0 <= w <= n:
            raise ShapeError(f"sliding_window_view: a window of size {w} does not fit axis {i} of size {n}")
        starts = np.arange(n - w + 1, dtype=np.int32)[:, None] + np.arange(w, dtype=np.int32)
        a = moveaxis(getitem(a, (slice(None),) * i + (starts,)), i + 1, -1)
    return a
