"""Reductions of windows by any function: a chain of it over whole arrays, one link for each tap of the window."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from .. import dtypes
from ..trace import aval_of
from .elementwise import select
from .helpers import Value, full
from .joining import pad
from .joining import slice as static_slice
from .shaping import broadcast_in_dim
from .window_geometry import Dims, Pads, dilated_size, window_counts

__all__ = ["Values", "reduce_taps"]

Values = tuple[Value, ...]


def reduce_taps(
    operands: Values, inits: Values, computation: Callable[[Values, Values], Sequence[Value]], *, window_dimensions: Dims,
    window_strides: Dims, padding: Pads, base_dilation: Dims, window_dilation: Dims,
) -> Values:  # fmt: skip
    """The reduction as a chain of ``computation`` over strided slices, one for each tap; holes are passed over."""
    shape = aval_of(operands[0]).shape
    counts = window_counts(shape, window_dimensions, window_strides, padding, base_dilation, window_dilation)
    totals = tuple(broadcast_in_dim(init, counts, ()) for init in inits)
    if 0 in counts:
        return totals
    config = tuple((lo, hi, d - 1) for (lo, hi), d in zip(padding, base_dilation))
    padded = tuple(pad(x, init, config) for x, init in zip(operands, inits))
    real = pad(full(shape, True, dtypes.bool_), np.False_, config)
    for tap in itertools.product(*map(range, window_dimensions)):
        starts = tuple(t * d for t, d in zip(tap, window_dilation))
        limits = tuple(b + dilated_size(n, s) for b, n, s in zip(starts, counts, window_strides))
        *seen, taken = (static_slice(x, starts, limits, window_strides) for x in (*padded, real))
        merged = computation(totals, tuple(seen))
        totals = tuple(select(taken, new, old) for new, old in zip(merged, totals, strict=True))
    return totals
