"""Modules made of other modules and functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .. import numpy as fnp
from ..errors import FxError, ModuleFieldError, ShapeError
from .module import Module, static_field
from .state import apply, layer_keys, need_state, stateful

__all__ = ["Identity", "Lambda", "Residual", "Sequential"]

Value = Any


class Lambda(Module):
    """A function as a layer, with the keyword arguments that it is always given.

    Args:
        function: ``x -> y``. Two ``Lambda`` of the same function and arguments have the same structure; of two lambdas
            written apart they do not, and a compiled function is traced again.
        kwargs: hashable.

    >>> import fx.numpy as fnp
    >>> from fx import nn
    >>> nn.Lambda(nn.leaky_relu, negative_slope=0.5)(fnp.array([-2.0, 2.0]))
    Array([-1.,  2.], dtype=float32)
    """

    function: Callable[..., Any] = static_field()
    kwargs: tuple[tuple[str, Any], ...] = static_field(default=())

    def __init__(self, function: Callable[..., Any], **kwargs: Any) -> None:
        self.function, self.kwargs = function, tuple(sorted(kwargs.items()))

    def __call__(self, *args: Any) -> Any:
        return self.function(*args, **dict(self.kwargs))


class Identity(Module):
    """x itself: takes the place of a layer that is left out.

    >>> import fx, numpy as np
    >>> from fx import nn
    >>> model = nn.Sequential(nn.Linear(3, 2, key=fx.random.key(0)), nn.relu)
    >>> features = nn.tree_at(lambda m: m.layers[1], model, nn.Identity())
    >>> features(np.ones((4, 3), np.float32)).shape
    (4, 2)
    """

    def __call__(self, x: Value) -> Value:
        return x


def as_layer(x: Any) -> Any:
    """A module, or a function made one.

    Raises:
        ModuleFieldError: it is neither.
    """
    if isinstance(x, type) and issubclass(x, Module):
        raise ModuleFieldError(f"{x.__name__} is a class, no layer; make one: {x.__name__}(...)")
    if isinstance(x, (list, tuple)):
        raise ModuleFieldError(
            f"layers are given one by one, nn.Sequential(*layers); found a {type(x).__name__} of {len(x)}"
        )
    if not callable(x):
        raise ModuleFieldError(f"a layer is a module or a function; found {x!r}")
    return x if isinstance(x, Module) else Lambda(x)


class Sequential(Module):
    """Layers, and functions, one after the other.

    Called ``y = model(x, key=key)``; if a layer keeps state, ``y, state = model(x, state, key=key)``.  The key is split
    among the layers that take one.

    >>> import fx.numpy as fnp
    >>> from fx import nn, random
    >>> a, b = random.split(random.key(0))
    >>> model = nn.Sequential(nn.Linear(4, 8, key=a), nn.relu, nn.Linear(8, 2, key=b))
    >>> model(fnp.ones((3, 4))).shape, len(model), model[1]
    ((3, 2), 3, Lambda(function=relu))
    """

    layers: tuple[Any, ...]

    def __init__(self, *layers: Any) -> None:
        self.layers = tuple(map(as_layer, layers))

    def __call__(self, x: Value, state: Any = None, *, key: Any = None) -> Any:
        keeps = stateful(self)
        states = need_state(state, self, "layers")["layers"] if keeps else [None] * len(self.layers)
        keys, new = layer_keys(key, self.layers, "Sequential"), []
        for i, (layer, old, k) in enumerate(zip(self.layers, states, keys, strict=True)):
            try:
                x, after = apply(layer, x, state=old, key=k)
            except FxError as error:
                error.add_note(f"in layer {i} of a Sequential: {layer!r}")
                raise
            new.append(after)
        return (x, {"layers": tuple(new)}) if keeps else x

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    def __getitem__(self, i: int | slice) -> Any:
        return Sequential(*self.layers[i]) if isinstance(i, slice) else self.layers[i]


class Residual(Module):
    """shortcut(x) + layer(x).

    Args:
        layer: module or function.
        shortcut: what x passes on its way around, such as a convolution of size 1; default: nothing.

    Source: He et al., "Deep residual learning for image recognition", 2016.

    >>> import fx.numpy as fnp
    >>> from fx import nn
    >>> nn.Residual(nn.relu)(fnp.array([-1.0, 2.0]))
    Array([-1.,  4.], dtype=float32)
    """

    layer: Any
    shortcut: Any

    def __init__(self, layer: Any, shortcut: Any = None) -> None:
        self.layer, self.shortcut = as_layer(layer), Identity() if shortcut is None else as_layer(shortcut)

    def __call__(self, x: Value, state: Any = None, *, key: Any = None) -> Any:
        states = need_state(state, self) if stateful(self) else {}
        first, second = layer_keys(key, (self.layer, self.shortcut), "Residual")
        y, inner = apply(self.layer, x, state=states.get("layer"), key=first)
        around, outer = apply(self.shortcut, x, state=states.get("shortcut"), key=second)
        if fnp.shape(y) != fnp.shape(around):
            raise ShapeError(
                f"Residual adds what its layer makes of x to x, of one shape; found {fnp.shape(y)} beside {fnp.shape(around)}."
                " Residual(layer, shortcut) takes what x passes on its way around: a Linear, a convolution of size 1."
            )
        new = {n: s for n, s in (("layer", inner), ("shortcut", outer)) if s is not None}
        return (around + y, new) if states else around + y
