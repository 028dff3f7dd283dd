"""Optimizers: chains of gradient transformations under their usual names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .transformations import (
    GradientTransformation,
    Schedule,
    add_decayed_weights,
    chain,
    identity,
    scale_by_adam,
    scale_by_learning_rate,
    trace,
)

__all__ = ["adam", "adamw", "sgd"]


def sgd(
    learning_rate: float | Schedule, momentum: float | None = None, nesterov: bool = False
) -> GradientTransformation:
    """Gradient descent: p <- p - learning_rate g, with momentum m in place of g (m <- g + momentum m) if given.

    Args:
        learning_rate: a number, or a function of the number of steps taken.
        momentum: decay of past gradients; None for none.
        nesterov: look one step ahead: g + momentum m (Sutskever et al., 2013).
    """
    return chain(identity() if momentum is None else trace(momentum, nesterov), scale_by_learning_rate(learning_rate))


def adam(
    learning_rate: float | Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, eps_root: float = 0.0, *,
    nesterov: bool = False,
) -> GradientTransformation:  # fmt: skip
    """Adam: steps of about ``learning_rate`` in every coordinate; see ``scale_by_adam`` for the formula.

    Args:
        learning_rate: a number, or a function of the number of steps taken.
        b1, b2: decay of the running means of the gradient and of its square.
        eps, eps_root: added outside and inside of the square root.
    """
    return chain(scale_by_adam(b1, b2, eps, eps_root, nesterov=nesterov), scale_by_learning_rate(learning_rate))


def adamw(
    learning_rate: float | Schedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, eps_root: float = 0.0,
    weight_decay: float = 1e-4, mask: Any | Callable[[Any], Any] | None = None, *, nesterov: bool = False,
) -> GradientTransformation:  # fmt: skip
    """Adam with weight decay beside the gradient, not through it (Loshchilov, Hutter, 2019).

    Args:
        weight_decay: p <- p - learning_rate * weight_decay * p at every step.
        mask: which parameters decay: a tree of bools, or a function from the parameters to one.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
