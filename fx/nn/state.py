"""What layers remember from one call to the next (running statistics), as an explicit pytree; and calling any layer."""

from __future__ import annotations

import functools
from typing import Any

from ..errors import MissingStateError, ModuleFieldError
from ..signatures import signature_of
from .key_use import split_key
from .module import Module

__all__ = ["apply", "init_state", "stateful"]


def init_state(model: Any) -> Any:
    """The state of a model before its first call.

    A layer that keeps something (``BatchNorm``) has a method ``init_state()``.  The state of a module that holds such
    layers mirrors it: a dict of the states of its fields, tuples, lists and dicts as they are in the model, ``None``
    where there is nothing to keep.

    Returns:
        A pytree of arrays; ``None`` for a model without state.

    >>> from fx import nn, random
    >>> nn.init_state(nn.Linear(2, 3, key=random.key(0)))
    >>> sorted(nn.init_state(nn.BatchNorm(3)))
    ['mean', 'variance']
    """
    if isinstance(model, Module):
        if hasattr(type(model), "init_state"):
            return model.init_state()  # type: ignore[attr-defined]
        states = {n: init_state(model.__dict__[n]) for n in type(model)._data_names}
        return {n: s for n, s in states.items() if s is not None} or None
    if isinstance(model, dict):
        states = {k: init_state(v) for k, v in model.items()}
        return {k: s for k, s in states.items() if s is not None} or None
    if isinstance(model, (tuple, list)):
        parts = [init_state(v) for v in model]
        return None if all(p is None for p in parts) else tuple(parts) if isinstance(model, tuple) else parts
    return None


def stateful(model: Any) -> bool:
    """Whether the model, or a layer in it, keeps state: it is then called ``y, state = model(x, state)``."""
    if isinstance(model, Module):
        return hasattr(type(model), "init_state") or any(stateful(model.__dict__[n]) for n in type(model)._data_names)
    if isinstance(model, dict):
        return any(map(stateful, model.values()))
    return isinstance(model, (tuple, list)) and any(map(stateful, model))


@functools.cache
def takes_key(cls: type) -> bool:
    """Whether ``__call__`` of a module class has a parameter ``key``."""
    call: Any = cls.__call__
    return "key" in signature_of(call).parameters


def need_state(state: Any, layer: Module, *names: str) -> Any:
    """``state``, which must be a dict with the given entries.

    Raises:
        MissingStateError: it is not.
    """
    if isinstance(state, dict) and all(n in state for n in names):
        return state
    found = "none" if state is None else f"{sorted(state)}" if isinstance(state, dict) else type(state).__name__
    raise MissingStateError(
        f"{type(layer).__name__} holds state with {', '.join(names)}; found {found}. Call y, state = model(x, state, ...),"
        " where at first state = nn.init_state(model)."
    )


def apply(layer: Any, *args: Any, state: Any = None, key: Any = None, **kwargs: Any) -> tuple[Any, Any]:
    """Calls a layer, or any function, with the state and the key if it takes them; always returns ``(output, state)``.

    >>> import fx.numpy as fnp
    >>> from fx import nn
    >>> nn.apply(nn.relu, fnp.array([-1.0, 1.0]))
    (Array([0., 1.], dtype=float32), None)
    """
    if not callable(layer):
        raise ModuleFieldError(f"apply calls a module or a function; found {layer!r:.60}")
    if isinstance(layer, Module) and takes_key(type(layer)):
        kwargs["key"] = key
    if stateful(layer):
        return layer(*args, state, **kwargs)
    return layer(*args, **kwargs), state


def layer_keys(key: Any, layers: Any, who: str) -> list[Any]:
    """A key for each of the layers that takes one, ``None`` for the others; all ``None`` without a key."""
    wanting = [i for i, layer in enumerate(layers) if isinstance(layer, Module) and takes_key(type(layer))]
    keys: list[Any] = [None] * len(layers)
    if key is not None and wanting:
        for i, k in zip(wanting, split_key(key, len(wanting), who)):
            keys[i] = k
    return keys
