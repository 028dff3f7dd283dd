"""The activation functions that PyTorch has beyond ``jax.nn``'s, under its names."""

from __future__ import annotations

from typing import Any

from .. import numpy as fnp
from .. import random
from ..api import stop_gradient
from ..errors import ShapeError
from ..numpy.core import as_value
from .activations import hard_sigmoid, hard_silu, log_sigmoid, soft_sign
from .key_use import need_key
from .linear import parameter_dtype
from .module import Module, static_field
from .normalization import one_hot, softmax

__all__ = [
    "PReLU", "RReLU", "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "logsigmoid", "prelu", "rrelu", "softmin",
    "softshrink", "softsign", "tanhshrink", "threshold",
]  # fmt: skip

Value = Any

hardsigmoid = hard_sigmoid
hardswish = hard_silu
logsigmoid = log_sigmoid
softsign = soft_sign


def _value(x: Any) -> Value:
    return as_value(x, "the argument of an activation function")


def threshold(x: Any, threshold: float, value: float) -> Value:
    """x where it is above ``threshold``, else ``value``; NaN stays.

    >>> threshold(fnp.array([0.0, 2.0]), 1.0, -1.0)
    Array([-1.,  2.], dtype=float32)
    """
    x = _value(x)
    return fnp.where(x <= threshold, value, x)


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Value:
    """x clipped to [min_val, max_val]; derivative 0 at both ends."""
    x = _value(x)
    return fnp.where(x <= min_val, min_val, fnp.where(x >= max_val, max_val, x))


def hardshrink(x: Any, lambd: float = 0.5) -> Value:
    """x where |x| > lambd, else 0; NaN stays."""
    x = _value(x)
    return fnp.where(fnp.abs(x) <= lambd, 0, x)


def softshrink(x: Any, lambd: float = 0.5) -> Value:
    """x moved by lambd towards 0, and 0 where it would pass it; NaN stays."""
    x = _value(x)
    return fnp.where(fnp.abs(x) <= lambd, 0, fnp.where(x > 0, x - lambd, x + lambd))


def tanhshrink(x: Any) -> Value:
    """x - tanh(x)."""
    x = _value(x)
    return x - fnp.tanh(x)


def softmin(x: Any, axis: Any = -1) -> Value:
    """softmax(-x)."""
    return softmax(-_value(x), axis=axis)


def prelu(x: Any, weight: Any) -> Value:
    """x where it is positive, else weight * x: ``leaky_relu`` with a slope that is learned.

    Args:
        weight: a number, or one for each channel (last axis).

    Source: He et al., "Delving deep into rectifiers", 2015.
    """
    x = _value(x)
    return fnp.where(x > 0, x, weight * x)


def rrelu(x: Any, lower: float = 1 / 8, upper: float = 1 / 3, *, key: Any = None) -> Value:
    """x where it is positive, else x times a slope drawn uniformly from [lower, upper) for each element.

    Args:
        key: a key (``fx.random``); None takes the slope in the middle (outside of training).

    Source: Xu et al., "Empirical evaluation of rectified activations", 2015.
    """
    x = _value(x)
    slope = (lower + upper) / 2 if key is None else random.uniform(key, x.shape, x.dtype, lower, upper)
    return fnp.where(x >= 0, x, slope * x)


def gumbel_softmax(logits: Any, temperature: float = 1.0, hard: bool = False, axis: int = -1, *, key: Any) -> Value:
    """A sample of a relaxed categorical distribution: softmax((logits + Gumbel noise) / temperature).

    Args:
        hard: one-hot values, with the derivative of the soft ones.
        key: a key (``fx.random``).

    Source: Jang, Gu, Poole, "Categorical reparameterization with Gumbel-softmax", 2017.

    >>> import fx, numpy as np
    >>> from fx import nn
    >>> y = nn.gumbel_softmax(np.log([0.2, 0.8]), hard=True, key=fx.random.key(0))
    >>> float(y.sum()), float(y.max())
    (1.0, 1.0)
    """
    logits = _value(logits)
    soft = softmax((logits + random.gumbel(key, logits.shape, logits.dtype)) / temperature, axis=axis)
    if not hard:
        return soft
    hot = one_hot(fnp.argmax(soft, axis), soft.shape[axis], dtype=soft.dtype, axis=axis)
    return hot + (soft - stop_gradient(soft))


class PReLU(Module):
    """``prelu`` with its weight as a parameter.

    Args:
        channels: 1 for one slope, or the size of the last axis for one each.
        init: what they start from.
        dtype: of the parameters.

    >>> from fx import nn
    >>> nn.PReLU()(fnp.array([-2.0, 2.0]))
    Array([-0.5,  2. ], dtype=float32)
    """

    weight: Value

    def __init__(self, channels: int = 1, *, init: float = 0.25, dtype: Any = None) -> None:
        self.weight = fnp.full((channels,), init, parameter_dtype(dtype))

    def __call__(self, x: Value) -> Value:
        x = _value(x)
        if self.weight.shape[0] not in (1, *x.shape[-1:]):
            raise ShapeError(
                f"PReLU({self.weight.shape[0]}) takes as many channels in the last axis; found {tuple(x.shape)}"
            )
        return prelu(x, self.weight)


class RReLU(Module):
    """``rrelu``: takes a key; under ``nn.inference`` the slope is the middle one.

    Args:
        lower, upper: bounds of the slopes.

    >>> from fx import nn
    >>> nn.inference(nn.RReLU(0.0, 0.5))(fnp.array([-2.0, 2.0]))
    Array([-0.5,  2. ], dtype=float32)
    """

    lower: float = static_field(default=1 / 8)
    upper: float = static_field(default=1 / 3)
    inference: bool = static_field(default=False)

    def __call__(self, x: Value, *, key: Any = None) -> Value:
        return rrelu(x, self.lower, self.upper, key=None if self.inference else need_key(key, self))
