"""How long vectors are, and how far apart."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from .. import numpy as fnp
from ..errors import ArgumentError
from ..numpy.core import as_type, as_value, promote_inexact

__all__ = ["cosine_similarity", "normalize", "pairwise_distance"]

Value = Any


def root(total: Value, p: float) -> Value:
    """The p-th root of sums of powers: where they are 0 the root has no derivative, and that of the norm is taken for 0."""
    none = total == 0
    some = fnp.where(none, 1, total)
    return fnp.where(none, 0, fnp.sqrt(some) if p == 2 else some ** (1 / p))


def _length(x: Value, p: float, axis: Any, who: str) -> Value:
    """The p-norm along an axis, which is kept."""
    if not p > 0:
        raise ArgumentError(f"{who}: p is positive, or infinity; found {p}")
    if p == math.inf:
        return fnp.max(fnp.abs(x), axis, keepdims=True, initial=0)
    return root(fnp.sum(fnp.square(x) if p == 2 else fnp.abs(x) ** p, axis, keepdims=True), p)


def _wide(*xs: Any) -> tuple[list[Value], Any]:
    """Floats of at least 32 bits, and the dtype of the result."""
    values = promote_inexact(*[as_value(x) for x in xs])
    dtype = values[0].dtype
    return [as_type(x, dtypes.promote_types(dtype, dtypes.float32)) for x in values], dtype


def normalize(x: Any, p: float = 2.0, axis: Any = -1, epsilon: float = 1e-12) -> Value:
    """Vectors of length 1: x / max(epsilon, (sum |x|**p)**(1 / p)).

    Args:
        x: vectors along ``axis`` (or several axes).
        p: of the norm; infinity for the greatest element.
        epsilon: the least length that is divided by: a vector of zeros stays, with a derivative.

    >>> from fx import nn
    >>> nn.normalize(fnp.array([[3.0, 4.0], [0.0, 0.0]]))
    Array([[0.6, 0.8],
           [0. , 0. ]], dtype=float32)
    """
    (wide,), dtype = _wide(x)
    return as_type(wide / fnp.maximum(_length(wide, p, axis, "normalize"), epsilon), dtype)


def cosine_similarity(x: Any, y: Any, axis: int = -1, epsilon: float = 1e-8) -> Value:
    """The cosine of the angle between vectors: x . y / (|x| |y|).

    Args:
        x, y: vectors along ``axis``; their shapes broadcast.
        epsilon: the least length that is divided by.

    >>> from fx import nn
    >>> nn.cosine_similarity(fnp.array([[1.0, 0.0], [1.0, 0.0]]), fnp.array([3.0, 4.0]))
    Array([0.6, 0.6], dtype=float32)
    """
    (a, b), dtype = _wide(x, y)
    length = lambda v: fnp.squeeze(fnp.maximum(_length(v, 2, axis, "cosine_similarity"), epsilon), axis)
    return as_type(fnp.sum(a * b, axis) / (length(a) * length(b)), dtype)


def pairwise_distance(x: Any, y: Any, p: float = 2.0, epsilon: float = 1e-6, keepdims: bool = False) -> Value:
    """The p-norm of x - y + epsilon along the last axis, as in PyTorch: the epsilon gives equal vectors a derivative.

    Args:
        x, y: vectors along the last axis; their shapes broadcast. ``pairwise_distance(x[:, None], y)`` are all pairs.
        p: positive; infinity for the greatest element.
        keepdims: keep the axis, of size 1.

    >>> from fx import nn
    >>> nn.pairwise_distance(fnp.array([[3.0, 4.0]]), fnp.zeros((1, 2)), epsilon=0)
    Array([5.], dtype=float32)
    """
    (a, b), dtype = _wide(x, y)
    apart = _length(a - b + epsilon, p, -1, "pairwise_distance")
    return as_type(apart if keepdims else fnp.squeeze(apart, -1), dtype)
