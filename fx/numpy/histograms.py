"""Counting: bincount and histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..config import config
from ..errors import (
    ArgumentError,
    DTypeError,
    ShapeError,
)
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives import shaping
from ..trace import aval_of
from . import binary
from .core import Value, as_beside, as_type, as_typed, as_value, filled, inexact, is_eager, promote_dtype
from .creation import linspace
from .indexing import getitem, setitem
from .manipulation import ravel, stack
from .positions import known_value
from .reductions import max as max_
from .reductions import min as min_
from .reductions import sum as sum_
from .scans import diff
from .selection import where
from .sorting import searchsorted

__all__ = ["bincount", "histogram", "histogram2d", "histogram_bin_edges", "histogramdd"]


def bincount(
    x: Any, weights: Any = None, minlength: int = 0, *, length: int | None = None, out_sharding: Any = None
) -> Value:
    """How often each non-negative integer occurs, or the sum of its weights.

    Args:
        length: the size of the result, needed under jit and vmap; greater integers are left out, negative ones count
            as 0 (without it they are an error, as in NumPy).

    >>> import fx.numpy as fnp
    >>> fnp.bincount(fnp.array([0, 1, 1, 3]), length=5)
    Array([1, 2, 0, 1, 0], dtype=int32)
    """
    v = as_value(x)
    if not dtypes.is_integer(v.dtype) and v.dtype != dtypes.bool_:
        raise DTypeError(f"bincount needs integers; found {aval_of(v)}")
    if v.ndim != 1:
        raise ShapeError(f"bincount needs a vector; found shape {v.shape}")
    if length is None:
        known = known_value(v, "bincount", "Pass length= to fx.numpy.bincount to fix it, or call")
        if known.size and known.min() < 0:
            raise ArgumentError(f"bincount needs non-negative integers; found {known.min()}")
        length = max(int(known.max()) + 1 if known.size else 0, int(minlength))
        if weights is None and is_eager(v):
            return Array(np.bincount(known.astype(np.int64), minlength=length).astype(config.default_int))
    w = filled(v.shape, 1, config.default_int) if weights is None else as_value(weights)
    if w.shape != v.shape:
        raise ShapeError(f"bincount: the weights have shape {w.shape}, the integers {v.shape}; they must be equal")
    v = as_type(v, np.uint8) if v.dtype == dtypes.bool_ else binary.maximum(v, 0)
    return setitem(filled((length,), False, w.dtype), v, w, "add", mode="fill", from_end=False)


def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Value:
    """The edges of the bins: ``bins`` itself, or that many bins of equal width between the extremes (or in ``range``)."""
    x = ravel(as_value(a))
    if isinstance(bins, str):
        raise ArgumentError(f"bins={bins!r}: the number of bins must be given; rules by name depend on the data")
    if getattr(bins, "ndim", np.ndim(bins)) == 1:
        edges = as_beside(bins, inexact(x.dtype))
        return as_type(edges, inexact(edges.dtype))
    if range is None:
        range = (min_(x), max_(x)) if x.size else (0, 1)
    lo, hi = (as_typed(v, inexact(x.dtype)) for v in range)
    flat = p.eq(lo, hi)
    if int(bins) < 1:
        raise ArgumentError(f"the number of bins must be positive; found {bins}")
    lo, hi = (where(flat, binary.add(v, shift), v) for v, shift in ((lo, -0.5), (hi, 0.5)))
    return linspace(lo, hi, int(bins) + 1)


def _bins(x: Value, edges: Value) -> Value:
    """The bin of each element; the number of bins for what lies outside."""
    edges, x = promote_dtype(edges, x)
    n = edges.shape[0] - 1
    at = binary.subtract(searchsorted(edges, x, "right"), 1)
    at = where(binary.equal(x, getitem(edges, -1)), n - 1, at)
    return where(binary.less(at, 0), n, at)


@planned
def histogram(
    a: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool | None = None
) -> tuple[Value, Value]:
    """Counts of the elements in each bin, and the edges of the bins.

    Args:
        bins: their number (of equal width), or the edges.      range: the outer edges; by default the extremes.
        weights: what each element counts; of the shape of ``a``.      density: divide by the total and the widths.

    >>> import fx.numpy as fnp
    >>> fnp.histogram(fnp.array([0.0, 1.0, 1.5, 4.0]), bins=2)
    (Array([3., 1.], dtype=float32), Array([0., 2., 4.], dtype=float32))
    """
    x = as_value(a)
    edges = histogram_bin_edges(x, bins, range, weights)
    w = filled(x.shape, 1, inexact(x.dtype)) if weights is None else as_value(weights)
    if w.shape != x.shape:
        raise ShapeError(f"histogram: the weights have shape {w.shape}, the array {x.shape}; they must be equal")
    n = edges.shape[0] - 1
    counts = setitem(filled((n,), False, w.dtype), _bins(ravel(x), edges), ravel(w), "add", mode="fill")
    if density:
        counts = binary.divide(binary.divide(counts, diff(edges)), sum_(counts))
    return counts, edges


def histogramdd(
    sample: Any, bins: Any = 10, range: Sequence[Any] | None = None, weights: Any = None, density: bool | None = None
) -> tuple[Value, list[Value]]:
    """The histogram of points (the rows of ``sample``, or one array for each coordinate), and the edges along each axis."""
    columns = [as_value(c) for c in sample] if isinstance(sample, (list, tuple)) else None
    points = stack(columns, axis=-1) if columns is not None else as_value(sample)
    points = shaping.expand_dims(points, (1,)) if points.ndim == 1 else points
    if points.ndim != 2:
        raise ShapeError(f"histogramdd takes points as rows; found shape {points.shape}")
    count, d = points.shape
    each = list(bins) if isinstance(bins, (list, tuple)) else [bins] * d
    if len(each) != d or (range is not None and len(range) != d):
        raise ShapeError(f"histogramdd of {d} coordinates needs {d} bins, and {d} ranges if any")
    axes = [getitem(points, (slice(None), k)) for k in np.arange(d).tolist()]
    edges = [histogram_bin_edges(x, b, None if range is None else range[k]) for k, (x, b) in enumerate(zip(axes, each))]
    sizes = [e.shape[0] - 1 for e in edges]
    flat: Any = 0
    inside: Any = True
    for x, e, n in zip(axes, edges, sizes):
        at = _bins(x, e)
        inside = binary.logical_and(inside, binary.less(at, n))
        flat = binary.add(binary.multiply(flat, n), at)
    total = math.prod(sizes)
    unit = inexact(points.dtype) if density else config.default_int
    w = filled((count,), 1, unit) if weights is None else as_value(weights)
    counts = setitem(filled((total,), False, w.dtype), where(inside, flat, total), w, "add", mode="fill")
    counts = shaping.reshape(counts, tuple(sizes))
    if density:
        counts = binary.divide(counts, sum_(counts))
        for k, e in enumerate(edges):
            widths = diff(e)
            counts = binary.divide(
                counts, shaping.reshape(widths, tuple([n if j == k else 1 for j, n in enumerate(sizes)]))
            )
    return counts, edges


def histogram2d(
    x: Any, y: Any, bins: Any = 10, range: Sequence[Any] | None = None, weights: Any = None, density: bool | None = None
) -> tuple[Value, Value, Value]:
    """The histogram of the points ``(x, y)``, and the edges along both axes."""
    two = bins if isinstance(bins, (list, tuple)) and len(bins) == 2 else [bins, bins]
    counts, (ex, ey) = histogramdd([x, y], list(two), range, weights, density)
    return counts, ex, ey
