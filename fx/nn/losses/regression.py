"""Losses of real numbers."""

from __future__ import annotations

import math
from typing import Any

from ... import numpy as fnp
from ...errors import ShapeError
from ..activations import softplus
from .reducing import counted, floats, reduced, same_shape

__all__ = ["huber", "log_cosh", "mae", "mse"]

Value = Any


def _error(loss: str, predictions: Any, targets: Any, weights: Any) -> Value:
    predictions, targets = floats(predictions, f"predictions of {loss}"), floats(targets, f"targets of {loss}")
    same_shape(loss, predictions=predictions, targets=targets)
    return counted(loss, weights, predictions - targets)[0]


def mse(predictions: Any, targets: Any, *, weights: Any = None, reduction: str = "mean") -> Value:
    """The mean of (prediction - target)**2.

    Args:
        predictions, targets: of equal shape.
        weights, reduction: see ``fx.nn.losses``.

    >>> mse(fnp.array([1.0, 3.0]), fnp.array([1.0, 1.0]))
    Array(2., dtype=float32)
    """
    return reduced(fnp.square(_error("mse", predictions, targets, weights)), weights, reduction)


def mae(predictions: Any, targets: Any, *, weights: Any = None, reduction: str = "mean") -> Value:
    """The mean of |prediction - target|; arguments as for ``mse``.

    >>> mae(fnp.array([1.0, 3.0]), fnp.array([1.0, 1.0]))
    Array(1., dtype=float32)
    """
    return reduced(fnp.abs(_error("mae", predictions, targets, weights)), weights, reduction)


def huber(predictions: Any, targets: Any, *, delta: float = 1.0, weights: Any = None, reduction: str = "mean") -> Value:
    """The mean of e**2 / 2 where e = |prediction - target| is at most delta, and of delta * (e - delta / 2) beyond.

    Args:
        predictions, targets, weights, reduction: as for ``mse``.
        delta: where the square turns into a line; divided by it, the loss is PyTorch's ``smooth_l1_loss``.

    Source: Huber, "Robust estimation of a location parameter", 1964.

    >>> huber(fnp.array([0.5, 3.0]), fnp.zeros(2), reduction="none")
    Array([0.125, 2.5  ], dtype=float32)
    """
    if not delta > 0:
        raise ShapeError(f"huber takes a positive delta; found {delta}")
    e = fnp.abs(_error("huber", predictions, targets, weights))
    near = fnp.minimum(e, delta)
    return reduced(near * (e - 0.5 * near), weights, reduction)


def log_cosh(predictions: Any, targets: Any, *, weights: Any = None, reduction: str = "mean") -> Value:
    """The mean of log(cosh(prediction - target)), without overflow; arguments as for ``mse``.

    >>> log_cosh(fnp.array([1000.0]), fnp.zeros(1)).round()
    Array(999., dtype=float32)
    """
    e = _error("log_cosh", predictions, targets, weights)
    return reduced(e + softplus(-2 * e) - math.log(2), weights, reduction)
