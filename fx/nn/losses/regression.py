"""Losses of real numbers."""

from __future__ import annotations

import math
from typing import Any

from ... import numpy as fnp
from ...api import stop_gradient
from ...errors import ShapeError
from ..activations import softplus
from .reducing import counted, floats, range_checked, reduced, same_shape

__all__ = ["gaussian_nll", "huber", "log_cosh", "mae", "mse", "poisson_nll"]

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


def gaussian_nll(
    predictions: Any, targets: Any, variances: Any, *, full: bool = False, epsilon: float = 1e-6, weights: Any = None,
    reduction: str = "mean",
) -> Value:  # fmt: skip
    """The mean of (log v + (prediction - target)**2 / v) / 2: what a normal distribution of variance v says of the targets.

    Args:
        predictions, targets: of equal shape.
        variances: v, positive, of their shape; or of one that broadcasts to it (one variance for the last axis: ``v[:, None]``).
        full: add log(2 pi) / 2, so that it is -log of the density.
        epsilon: the least variance; where v is less, the gradient goes through as if it were not (as in PyTorch).
        weights, reduction: see ``fx.nn.losses``.

    Source: Nix, Weigend, "Estimating the mean and variance of the target probability distribution", 1994.

    >>> gaussian_nll(fnp.array([1.0]), fnp.array([3.0]), fnp.array([4.0])).round(4)
    Array(1.1931, dtype=float32)
    """
    x, t = floats(predictions, "predictions of gaussian_nll"), floats(targets, "targets of gaussian_nll")
    same_shape("gaussian_nll", predictions=x, targets=t)
    v = floats(variances, "variances of gaussian_nll")
    if v.ndim != x.ndim or any(m not in (1, n) for m, n in zip(v.shape, x.shape)):
        raise ShapeError(
            f"gaussian_nll: variances have the shape of the predictions, {tuple(x.shape)}, with 1 for an axis that shares them; found"
            f" {tuple(v.shape)}"
        )
    range_checked("gaussian_nll", "variances", v, "positive, or 0", lambda v: v < 0)
    e, v = counted("gaussian_nll", weights, x - t, fnp.broadcast_to(v, x.shape))
    v = v + stop_gradient(fnp.maximum(v, epsilon) - v)
    constant = math.log(2 * math.pi) / 2 if full else 0.0
    return reduced((fnp.log(v) + fnp.square(e) / v) / 2 + constant, weights, reduction)


def poisson_nll(
    predictions: Any, targets: Any, *, log_input: bool = True, full: bool = False, epsilon: float = 1e-8, weights: Any = None,
    reduction: str = "mean",
) -> Value:  # fmt: skip
    """The mean of exp(x) - t x: what a Poisson distribution of rate exp(x) says of the counts t.

    Args:
        predictions, targets: x and t, of equal shape.
        log_input: False if x is the rate itself; the loss is then x - t log(x + epsilon).
        full: add Stirling's approximation of log t! where t > 1.
        weights, reduction: see ``fx.nn.losses``.

    >>> poisson_nll(fnp.array([0.0]), fnp.array([2.0]))
    Array(1., dtype=float32)
    """
    x, t = floats(predictions, "predictions of poisson_nll"), floats(targets, "targets of poisson_nll")
    same_shape("poisson_nll", predictions=x, targets=t)
    x, t = counted("poisson_nll", weights, x, t)
    losses = fnp.exp(x) - t * x if log_input else x - t * fnp.log(x + epsilon)
    if full:
        many = fnp.maximum(t, 1)
        losses = losses + fnp.where(t > 1, many * fnp.log(many) - many + fnp.log(2 * math.pi * many) / 2, 0)
    return reduced(losses, weights, reduction)
