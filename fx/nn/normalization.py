"""Functions that normalise along axes: softmax and its kin, standardisation; and one-hot encoding."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from .. import numpy as fnp
from ..config import config
from ..errors import DTypeError, ShapeError
from ..numpy.axes import canonical_axis
from ..numpy.core import as_type, as_value
from ..plans import planned
from ..primitives.collectives import axis_index
from ..primitives.elementwise import rsqrt
from ..primitives.shaping import broadcasted_iota, expand_dims
from ..scipy import special
from ..trace import find_axis

__all__ = ["log_softmax", "logmeanexp", "one_hot", "softmax", "standardize"]

Value = Any


@planned
def softmax(x: Any, axis: Any = -1, where: Any = None) -> Value:
    """exp(x) divided by its sum along ``axis``: positive numbers that sum to 1, without overflow.

    Args:
        axis: int, tuple of ints, or None for all.
        where: which elements take part; the others become 0. Broadcast against ``x``.

    >>> softmax(fnp.array([0.0, 0.0, 1000.0]))
    Array([0., 0., 1.], dtype=float32)
    """
    return special.softmax(x, axis=axis, where=where)


@planned
def log_softmax(x: Any, axis: Any = -1, where: Any = None) -> Value:
    """log(softmax(x)), accurate where the softmax underflows; elements not in ``where`` become -inf.

    >>> import numpy as np
    >>> from fx import nn
    >>> nn.log_softmax(np.array([0.0, 1000.0]))
    Array([-1000.,     0.], dtype=float64)
    """
    return special.log_softmax(x, axis=axis, where=where)


@planned
def logmeanexp(x: Any, axis: Any = None, where: Any = None, keepdims: bool = False) -> Value:
    """log(mean(exp(x))), without overflow."""
    total = special.logsumexp(x, axis=axis, where=where, keepdims=keepdims)
    counted = fnp.ones(as_value(x).shape, total.dtype)
    return total - fnp.log(fnp.sum(counted, axis=axis, where=where, keepdims=keepdims))


@planned
def standardize(
    x: Any, axis: Any = -1, mean: Any = None, variance: Any = None, epsilon: Any = 1e-5, where: Any = None, *,
    algorithm: str = "fast",
) -> Value:  # fmt: skip
    """(x - mean) / sqrt(variance + epsilon), with mean and variance taken along ``axis`` where they are not given.

    Args:
        where: which elements mean and variance are taken over.
        algorithm: "fast": the variance as mean(x**2) - mean(x)**2, in one pass over the data; "stable":
            as mean((x - mean)**2), which does not cancel.
    """
    x = as_value(x, "x of standardize")
    if algorithm not in ("fast", "stable"):
        raise ShapeError(f"standardize has the algorithms 'fast' and 'stable'; found {algorithm!r}")
    mean = fnp.mean(x, axis, keepdims=True, where=where) if mean is None else as_value(mean)
    if variance is None and algorithm == "stable":
        variance = fnp.mean(fnp.square(x - mean), axis, keepdims=True, where=where)
    elif variance is None:
        variance = fnp.maximum(fnp.mean(fnp.square(x), axis, keepdims=True, where=where) - fnp.square(mean), 0)
    return (x - mean) * rsqrt(as_value(variance) + epsilon)


@planned
def one_hot(x: Any, num_classes: int, *, dtype: Any = None, axis: Any = -1) -> Value:
    """Integers as vectors of 0 with a 1 at their position; a number that is none of 0, 1, ... num_classes - 1 gives zeros.

    Args:
        x: array of integers, or of floats that hold them.
        num_classes: length of the vectors.
        dtype: of the result; None means ``fx.config.default_float``.
        axis: position of the new axis in the result; or the name of an axis of a surrounding vmap, of size
            ``num_classes``, which then is the new axis.

    >>> one_hot(fnp.array([0, 2]), 3)
    Array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    x = as_value(x, "x of one_hot")
    if not (dtypes.is_integer(x.dtype) or dtypes.is_float(x.dtype)):
        raise DTypeError(f"one_hot takes integers; found {x.dtype}. Convert them: x.astype('int32').")
    d = config.default_float if dtype is None else dtype
    if not hasattr(axis, "__index__"):
        if find_axis(axis).size != num_classes:
            raise ShapeError(f"one_hot: axis {axis!r} has size {find_axis(axis).size}; num_classes is {num_classes}")
        return as_type(x == axis_index(axis), d)
    position = canonical_axis(axis, x.ndim + 1)
    shape = (*x.shape[:position], num_classes, *x.shape[position:])
    if (
        dtypes.is_integer(x.dtype) and num_classes - 1 > dtypes.iinfo(x.dtype).max
    ):  # the classes of the narrow dtype would begin anew: 256 as 0
        x = as_type(x, dtypes.int64)
    hot = expand_dims(x, (position,)) == broadcasted_iota(x.dtype, shape, position)
    return as_type(hot, d)
