"""detrend: signals without their mean or their linear trend."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import numpy as fnp
from ...errors import ArgumentError, UnsupportedArgumentError
from ...numpy.axes import canonical_axis
from ...numpy.core import as_value, promote_inexact
from ..special.core import Value

__all__ = ["detrend"]


def _without_line(x: Value) -> Value:
    """The rows less their least-squares lines, by the two orthogonal polynomials 1 and t."""
    n = x.shape[-1]
    x = x - fnp.mean(x, axis=-1, keepdims=True)
    t = (np.arange(n) - 0.5 * (n - 1)).astype(np.dtype(x.real.dtype))
    square = float(np.sum(t.astype(float) ** 2))
    return x if not square else x - fnp.sum(x * t, axis=-1, keepdims=True) * (t / t.dtype.type(square))


def detrend(
    data: Any,
    axis: int = -1,
    type: str = "linear",
    bp: int | Sequence[int] | np.ndarray = 0,
    overwrite_data: None = None,
) -> Value:
    """A signal less its trend along an axis.

    Args:
        data: array.
        axis: along which.
        type: 'linear': less the straight line that fits best; 'constant': less the mean.
        bp: with 'linear', where a new line begins.
        overwrite_data: must be None.

    Raises:
        ValueError: another type, or a ``bp`` outside of the data.

    >>> import fx.numpy as fnp
    >>> detrend(fnp.array([1.0, 4.0, 8.0, 8.0, 9.0]), type="constant")
    Array([-5., -2.,  2.,  2.,  3.], dtype=float32)
    """
    if overwrite_data is not None:
        raise UnsupportedArgumentError("detrend: overwrite_data must be None; arrays do not change")
    (x,) = promote_inexact(as_value(data, "data of detrend"))
    axis = canonical_axis(axis, x.ndim)
    if type not in ("constant", "c", "linear", "l"):
        raise ArgumentError(f"detrend: type {type!r} is not 'linear' or 'constant'")
    if type in ("constant", "c"):
        return x - fnp.mean(x, axis=axis, keepdims=True)
    n = x.shape[axis]
    breaks = np.unique([0, *np.atleast_1d(np.asarray(bp, int)).tolist(), n]).tolist()
    if breaks[0] < 0 or breaks[-1] > n:
        raise ArgumentError(f"detrend: the breakpoints {bp} must lie within the {n} elements along axis {axis}")
    rows = fnp.moveaxis(x, axis, -1)
    parts = [_without_line(rows[..., start:stop]) for start, stop in itertools.pairwise(breaks)]
    return fnp.moveaxis(fnp.concatenate(parts, axis=-1), -1, axis)
