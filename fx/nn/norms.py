"""Normalising layers.  Channels are the last axis.  Means and variances are computed at least in float32."""

from __future__ import annotations

import functools
import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

from .. import dtypes
from .. import numpy as fnp
from ..errors import ArgumentError, ShapeError
from ..lax import pmean, rsqrt
from ..numpy.core import as_type, as_value
from ..primitives.windows import reduce_window_sum
from ..trace import find_axis
from ..transforms.custom_jvp import custom_jvp
from .linear import check_features, check_sizes, describe, parameter_dtype
from .module import Module, static_field
from .state import need_state

__all__ = ["BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]

Value = Any


def _shape(layer: Module, shape: Any) -> tuple[int, ...]:
    """The last axes that a layer takes: a size, or several."""
    sizes = tuple(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else (shape,)
    for n in sizes:
        check_sizes(layer, shape=n)
    return tuple(map(operator.index, sizes))


def _wide(x: Value) -> Value:
    """x in a dtype that its sums can be taken in."""
    return as_type(x, dtypes.promote_types(x.dtype, dtypes.float32))


@functools.partial(custom_jvp, nondiff_argnums=(2, 3))
def _spread(x: Value, mean: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    """The mean of (x - mean)**2, where ``mean`` is that of x; with ``axis_name``, of all x that are averaged next.

    It does not change with the mean: sum(x - mean) is 0.  Left to itself, the gradient would go over x once more for that sum.
    """
    return fnp.mean(fnp.square(x - mean), axes, keepdims=keepdims)


@_spread.defjvp
def _spread_jvp(axes: tuple[int, ...], keepdims: bool, primals: Any, tangents: Any) -> tuple[Value, Value]:
    (x, mean), (dx, _) = primals, tangents
    return _spread(x, mean, axes, keepdims), 2 * fnp.mean((x - mean) * dx, axes, keepdims=keepdims)


def _moments(x: Value, axes: tuple[int, ...]) -> tuple[Value, Value]:
    """Mean and (biased) variance, with axes of size 1 kept; in two passes, so that nothing cancels."""
    mean = fnp.mean(x, axes, keepdims=True)
    return mean, _spread(x, mean, axes, True)


def _affine(y: Value, weight: Value | None, bias: Value | None, dtype: Any) -> Value:
    """y * weight + bias in y's wide dtype; the result is of the dtype that x and the parameters promote to."""
    for p in (weight, bias):
        dtype = dtype if p is None else dtypes.promote_types(dtype, p.dtype)
    y = y if weight is None else y * weight
    return as_type(y if bias is None else y + bias, dtype)


class BatchNorm(Module):
    """Each channel shifted and scaled to mean 0 and variance 1 over the batch, then by learned numbers.

    Training: y = (x - mean) / sqrt(variance + epsilon) * weight + bias with the moments of x over all axes but the last; the
    running moments move by ``momentum`` of the way to them (to the unbiased variance).  Under ``nn.inference`` the
    running moments are used, and stay.

    Args:
        channels: size of the last axis.
        momentum: share of the new moments, as in PyTorch (Keras' momentum is 1 - this).
        epsilon: added to the variance.
        affine: whether there are weight and bias.
        axis_name: of surrounding vmaps whose examples belong to the batch too; None for none.
        dtype: of the parameters and of the running moments, which are float32 at least.

    Called ``y, state = layer(x, state)`` with x of shape (..., channels), where at first ``state = nn.init_state(layer)``.

    Raises:
        ShapeError: in training, when there is one value of each channel, or none: its variance says nothing.

    Source: Ioffe, Szegedy, "Batch normalization", 2015.

    >>> from fx import nn
    >>> layer = nn.BatchNorm(2)
    >>> y, state = layer(fnp.array([[0.0, 1.0], [2.0, 1.0]]), nn.init_state(layer))
    >>> y[:, 1], state["mean"]
    (Array([0., 0.], dtype=float32), Array([0.1, 0.1], dtype=float32))
    """

    weight: Value
    bias: Value
    channels: int = static_field(repr=False)
    momentum: float = static_field(default=0.1)
    epsilon: float = static_field(default=1e-5)
    axis_name: Any = static_field(default=None)
    dtype: Any = static_field(default=None, repr=False)
    inference: bool = static_field(default=False)

    def __init__(
        self, channels: int, *, momentum: float = 0.1, epsilon: float = 1e-5, affine: bool = True, axis_name: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        check_sizes(self, channels=channels)
        if not (isinstance(momentum, numbers.Real) and 0 <= momentum <= 1):
            raise ArgumentError(f"BatchNorm: momentum is the share of the new moments, from 0 to 1; found {momentum!r}")
        self.channels, self.momentum, self.epsilon, self.axis_name = channels, momentum, epsilon, axis_name
        d = self.dtype = parameter_dtype(dtype)
        self.weight, self.bias = (fnp.ones(channels, d), fnp.zeros(channels, d)) if affine else (None, None)

    def init_state(self) -> dict[str, Value]:
        """Running moments: mean 0, variance 1."""
        d = dtypes.promote_types(self.dtype if self.weight is None else self.weight.dtype, dtypes.float32)
        return {"mean": fnp.zeros(self.channels, d), "variance": fnp.ones(self.channels, d)}

    def __call__(self, x: Value, state: Any = None) -> tuple[Value, dict[str, Value]]:
        name = describe(self, self.channels)
        x = check_features(x, self.channels, name)
        state = need_state(state, self, "mean", "variance")
        if fnp.shape(state["mean"]) != (self.channels,):
            raise ShapeError(
                f"{name} is given the running moments of another layer: of shape {fnp.shape(state['mean'])}"
            )
        wide = _wide(x)
        if self.inference:
            mean, variance = state["mean"], state["variance"]
        else:
            mean, variance, state = self._batch_moments(wide, state, name)
        y = (wide - mean) * rsqrt(variance + self.epsilon)
        return _affine(y, self.weight, self.bias, x.dtype), state

    def _batch_moments(self, x: Value, state: dict[str, Value], name: str) -> tuple[Value, Value, dict[str, Value]]:
        count = math.prod(x.shape[:-1])
        axes = tuple(range(x.ndim - 1))
        over = lambda v: v
        if self.axis_name is not None:
            over, count = lambda v: pmean(v, self.axis_name), count * find_axis(self.axis_name).size
        if count < 2:
            raise ShapeError(
                f"{name} in training takes the variance of each channel over the batch, of two values or more; x of shape {x.shape}"
                f" has {count} of each. Use larger batches (drop the last, small one), nn.inference(model), or GroupNorm."
            )
        mean = over(fnp.mean(x, axes))
        variance = over(_spread(x, mean, axes, False))
        moved = lambda old, new: as_type((1 - self.momentum) * old + self.momentum * new, old.dtype)
        unbiased = variance * (count / (count - 1))
        return mean, variance, {"mean": moved(state["mean"], mean), "variance": moved(state["variance"], unbiased)}


class LayerNorm(Module):
    """The last axes of each example shifted and scaled to mean 0 and variance 1, then by learned numbers.

    Args:
        shape: of the last axes, or the size of the last.
        epsilon: added to the variance.
        affine, use_bias: whether there are a weight and a bias.

    Source: Ba, Kiros, Hinton, "Layer normalization", 2016.

    >>> import numpy as np
    >>> from fx import nn
    >>> nn.LayerNorm(3)(np.array([[1.0, 2.0, 3.0]], np.float32)).round(2)
    Array([[-1.22,  0.  ,  1.22]], dtype=float32)
    """

    weight: Value
    bias: Value
    shape: tuple[int, ...] = static_field(repr=False)
    epsilon: float = static_field(default=1e-5)

    def __init__(
        self,
        shape: int | Sequence[int],
        *,
        epsilon: float = 1e-5,
        affine: bool = True,
        use_bias: bool = True,
        dtype: Any = None,
    ) -> None:
        self.shape = _shape(self, shape)
        self.epsilon = epsilon
        self.weight = fnp.ones(self.shape, parameter_dtype(dtype)) if affine else None
        self.bias = fnp.zeros(self.shape, parameter_dtype(dtype)) if affine and use_bias else None

    def __call__(self, x: Value) -> Value:
        x = _check_last(self, x)
        wide = _wide(x)
        mean, variance = _moments(wide, tuple(range(-len(self.shape), 0)))
        return _affine((wide - mean) * rsqrt(variance + self.epsilon), self.weight, self.bias, x.dtype)


def _check_last(layer: Any, x: Value) -> Value:
    x = as_value(x, f"x of {type(layer).__name__}")
    if x.ndim < len(layer.shape) or tuple(x.shape[x.ndim - len(layer.shape) :]) != layer.shape:
        raise ShapeError(f"{describe(layer, layer.shape)} takes x whose last axes are {layer.shape}; found {x.shape}")
    return x


class RMSNorm(Module):
    """x / sqrt(mean(x**2) + epsilon) * weight, over the last axes.

    Args:
        shape, epsilon, affine: as for ``LayerNorm``; the default epsilon is 1e-6.

    Source: Zhang, Sennrich, "Root mean square layer normalization", 2019.

    >>> import numpy as np
    >>> from fx import nn
    >>> nn.RMSNorm(2)(np.array([3.0, 4.0], np.float32)).round(2)
    Array([0.85, 1.13], dtype=float32)
    """

    weight: Value
    shape: tuple[int, ...] = static_field(repr=False)
    epsilon: float = static_field(default=1e-6)

    def __init__(
        self, shape: int | Sequence[int], *, epsilon: float = 1e-6, affine: bool = True, dtype: Any = None
    ) -> None:
        self.shape = _shape(self, shape)
        self.epsilon = epsilon
        self.weight = fnp.ones(self.shape, parameter_dtype(dtype)) if affine else None

    def __call__(self, x: Value) -> Value:
        x = _check_last(self, x)
        wide = _wide(x)
        square = fnp.mean(fnp.square(wide), tuple(range(-len(self.shape), 0)), keepdims=True)
        return _affine(wide * rsqrt(square + self.epsilon), self.weight, None, x.dtype)


class GroupNorm(Module):
    """Groups of channels of each example shifted and scaled to mean 0 and variance 1, then by learned numbers.

    Args:
        groups: how many groups of equal size the channels are cut into.
        channels: size of the last axis.
        epsilon, affine, dtype: as for ``LayerNorm``.

    Called with x of shape (batch, *spatial, channels).

    Source: Wu, He, "Group normalization", 2018.

    >>> import numpy as np
    >>> from fx import nn
    >>> y = nn.GroupNorm(2, 4)(np.arange(24, dtype=np.float32).reshape(1, 6, 4))
    >>> y.shape, abs(float(y.mean())) < 1e-6
    ((1, 6, 4), True)
    """

    weight: Value
    bias: Value
    groups: int = static_field()
    channels: int = static_field(repr=False)
    epsilon: float = static_field(default=1e-5)

    def __init__(
        self, groups: int, channels: int, *, epsilon: float = 1e-5, affine: bool = True, dtype: Any = None
    ) -> None:
        check_sizes(self, channels=channels)
        check_sizes(self, 1, groups=groups)
        if channels % groups:
            raise ShapeError(
                f"GroupNorm cuts the channels into equal groups; found {channels} channels, {groups} groups"
            )
        self.groups, self.channels, self.epsilon = groups, channels, epsilon
        d = parameter_dtype(dtype)
        self.weight, self.bias = (fnp.ones(channels, d), fnp.zeros(channels, d)) if affine else (None, None)

    def __call__(self, x: Value) -> Value:
        x = check_features(x, self.channels, describe(self, self.groups, self.channels))
        if x.ndim < 2:
            raise ShapeError(f"{type(self).__name__} takes x of shape (batch, *spatial, channels); found {x.shape}")
        wide = fnp.reshape(_wide(x), (*x.shape[:-1], self.groups, self.channels // self.groups))
        mean, variance = _moments(wide, (*range(1, x.ndim - 1), x.ndim))
        y = fnp.reshape((wide - mean) * rsqrt(variance + self.epsilon), x.shape)
        return _affine(y, self.weight, self.bias, x.dtype)


class InstanceNorm(GroupNorm):
    """Each channel of each example shifted and scaled to mean 0 and variance 1 over its spatial axes.

    Args:
        channels: size of the last axis.
        epsilon, dtype: as for ``GroupNorm``.
        affine: whether there are weight and bias; as in PyTorch, not by default.

    >>> import numpy as np
    >>> from fx import nn
    >>> nn.InstanceNorm(1)(np.array([[[1.0], [3.0]]], np.float32)).ravel()  # two places of one channel
    Array([-0.999995,  0.999995], dtype=float32)

    Source: Ulyanov, Vedaldi, Lempitsky, "Instance normalization", 2016.
    """

    def __init__(self, channels: int, *, epsilon: float = 1e-5, affine: bool = False, dtype: Any = None) -> None:
        super().__init__(channels, channels, epsilon=epsilon, affine=affine, dtype=dtype)


class LocalResponseNorm(Module):
    """x / (k + alpha * mean of x**2 over ``size`` channels around)**beta: a channel that is strong quietens its neighbours.

    Args:
        size: how many channels; of an even number one more before than after. Beyond the ends they are 0, and count.
        alpha, beta, k: as above.

    Called with x of shape (..., channels).

    Source: Krizhevsky et al., "ImageNet classification with deep convolutional neural networks", 2012.

    >>> from fx import nn
    >>> nn.LocalResponseNorm(3, alpha=3.0, beta=1.0)(fnp.array([1.0, 0.0, 2.0]))
    Array([0.5, 0. , 0.4], dtype=float32)
    """

    size: int = static_field()
    alpha: float = static_field(default=1e-4)
    beta: float = static_field(default=0.75)
    k: float = static_field(default=1.0)

    def __init__(self, size: int, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        check_sizes(self, 1, size=size)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def __call__(self, x: Value) -> Value:
        x = as_value(x, "x of LocalResponseNorm")
        if not x.ndim:
            raise ShapeError("LocalResponseNorm takes x of shape (..., channels); found ()")
        wide, ones = _wide(x), (1,) * (x.ndim - 1)
        around = [(0, 0)] * (x.ndim - 1) + [(self.size // 2, (self.size - 1) // 2)]
        total = reduce_window_sum(fnp.square(wide), (*ones, self.size), None, around)
        return as_type(wide / (self.k + self.alpha / self.size * total) ** self.beta, x.dtype)
