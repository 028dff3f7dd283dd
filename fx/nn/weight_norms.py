"""Layers whose weight is made of their parameters at every call."""

from __future__ import annotations

from typing import Any

from .. import numpy as fnp
from .. import random
from ..api import stop_gradient
from ..errors import ArgumentError, ModuleFieldError
from ..numpy.axes import canonical_axis
from .distances import normalize, root
from .module import Module, replace, static_field
from .state import need_state, stateful

__all__ = ["SpectralNorm", "WeightNorm"]

Value = Any


def _weight(wrapper: Module, layer: Any, name: str) -> Value:
    """The field of a layer that a wrapper computes.

    Raises:
        ModuleFieldError: the layer has no such array, or keeps state.
    """
    who, weight = type(wrapper).__name__, getattr(layer, name, None)
    if not isinstance(layer, Module) or not hasattr(weight, "shape"):
        raise ModuleFieldError(f"{who} takes a layer with an array named {name!r}; found {layer!r:.80}")
    if stateful(layer):
        raise ModuleFieldError(f"{who} takes a layer without state; found {layer!r:.80}")
    return weight


class WeightNorm(Module):
    """A layer whose weight is g v / |v|: direction and length of each output's weights are parameters of their own.

    Args:
        layer: a ``Linear``, a convolution, or another with an array that is multiplied by.
        name: of that array; the layer keeps v in its place.
        axis: |v| is taken over all other axes (None: over all). The last are the outputs; PyTorch's ``dim=0`` of a transposed
            convolution are the inputs, ``axis=-2``.

    Called as the layer is. ``normalized()`` is the layer itself, with the weight as it is now (PyTorch's ``remove_weight_norm``).

    >>> from fx import nn, random
    >>> layer = nn.Linear(3, 2, key=random.key(0))
    >>> normed, x = nn.WeightNorm(layer), fnp.ones((1, 3))
    >>> normed.scale.shape, bool(fnp.allclose(normed(x), layer(x)))
    ((2,), True)

    Source: Salimans, Kingma, "Weight normalization", 2016.
    """

    layer: Any
    scale: Value
    name: str = static_field(default="weight")
    axis: int | None = static_field(default=-1)

    def __init__(self, layer: Any, *, name: str = "weight", axis: int | None = -1) -> None:
        weight = _weight(self, layer, name)
        self.layer, self.name = layer, name
        self.axis = None if axis is None else canonical_axis(axis, weight.ndim) - weight.ndim
        self.scale = fnp.squeeze(self._length(weight), self._others(weight.ndim))

    def _others(self, ndim: int) -> tuple[int, ...]:
        return tuple([i for i in range(ndim) if self.axis is None or i != ndim + self.axis])

    def _length(self, weight: Value) -> Value:
        return root(fnp.sum(fnp.square(weight), self._others(weight.ndim), keepdims=True), 2)

    def normalized(self) -> Any:
        """The layer with the weight that it is called with."""
        direction = getattr(self.layer, self.name)
        scale = fnp.expand_dims(self.scale, self._others(direction.ndim))
        return replace(self.layer, **{self.name: direction * (scale / self._length(direction))})

    def __call__(self, *args: Any) -> Any:
        return self.normalized()(*args)


class SpectralNorm(Module):
    """A layer whose weight is divided by its greatest singular value: it moves no two inputs further apart (|W x| <= |x|).

    The singular value is u W v, with vectors that are state: every call in training brings them nearer by power iteration;
    no derivative passes through them.

    Args:
        layer, name, axis: as for ``WeightNorm``; the weight is a matrix of ``axis`` by all others.
        iterations: of each call.
        epsilon: the least length that is divided by.

    Called ``y, state = layer(x, state)``, where at first ``state = nn.init_state(layer)``; under ``nn.inference`` the state stays.
    ``normalized(state)`` is the layer itself, with the weight as it is now.

    >>> from fx import nn, random
    >>> layer = nn.SpectralNorm(nn.Linear(3, 2, key=random.key(0)))
    >>> y, state = layer(fnp.ones((1, 3)), nn.init_state(layer))
    >>> float(fnp.linalg.norm(layer.normalized(state).weight, 2).round(4))
    1.0

    Source: Miyato et al., "Spectral normalization for generative adversarial networks", 2018.
    """

    layer: Any
    name: str = static_field(default="weight")
    axis: int = static_field(default=-1)
    iterations: int = static_field(default=1)
    epsilon: float = static_field(default=1e-12)
    inference: bool = static_field(default=False)

    def __init__(
        self, layer: Any, *, name: str = "weight", axis: int = -1, iterations: int = 1, epsilon: float = 1e-12
    ) -> None:
        weight = _weight(self, layer, name)
        if iterations < 1:
            raise ArgumentError(f"SpectralNorm takes at least one iteration a call; found {iterations}")
        self.layer, self.name, self.axis = layer, name, canonical_axis(axis, weight.ndim) - weight.ndim
        self.iterations, self.epsilon = iterations, epsilon

    def _matrix(self) -> Value:
        """The weight as a matrix, the outputs first."""
        weight = fnp.moveaxis(getattr(self.layer, self.name), self.axis, 0)
        return fnp.reshape(weight, (weight.shape[0], -1))

    def _nearer(self, v: Value, times: int) -> dict[str, Value]:
        matrix = stop_gradient(self._matrix())
        for _ in range(times):
            u = normalize(matrix @ v, epsilon=self.epsilon)
            v = normalize(u @ matrix, epsilon=self.epsilon)
        return {"u": u, "v": v}

    def init_state(self) -> dict[str, Value]:
        """The vectors after 15 iterations from numbers that are always the same."""
        row = self._matrix()[0]
        return self._nearer(random.normal(random.key(0), row.shape, row.dtype), 15)

    def normalized(self, state: Any) -> Any:
        """The layer with the weight that it is called with, given its state."""
        u, v = (stop_gradient(state[n]) for n in "uv")
        return replace(self.layer, **{self.name: getattr(self.layer, self.name) / (u @ (self._matrix() @ v))})

    def __call__(self, x: Value, state: Any = None) -> tuple[Value, Any]:
        state = need_state(state, self, "u", "v")
        if not self.inference:
            state = self._nearer(stop_gradient(state["v"]), self.iterations)
        return self.normalized(state)(x), state
