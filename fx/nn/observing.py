"""Watching the layers of a model while it runs: what ``nn.summary`` and a search for the first NaN are made of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .. import tree
from ..trace import named_scope

__all__ = ["LayerCall", "observe"]


@dataclass(frozen=True)
class LayerCall:
    """One call of a module.

    Args:
        index: of the call, counted from the start of the observation in the order in which calls begin.
        path: of the module in the model, such as ``layers/0``; empty for the model itself.
        depth: how many calls it stands inside of.
        module, args, output: what was called, with what, and what came back.
    """

    index: int
    path: str
    depth: int
    module: Any
    args: tuple[Any, ...]
    output: Any

    @property
    def scope(self) -> str:
        """The name that the equations of this call carry in their scope."""
        return _scope(self.module, self.path, self.index)


def _scope(module: Any, path: str, index: int) -> str:
    return f"{path or type(module).__name__}#{index}"


@dataclass
class _Observer:
    """The callback, the number of calls so far, the modules that are being called, and the paths of those seen."""

    callback: Callable[[LayerCall], None]
    count: int = 0
    running: list[tuple[Any, str]] = field(default_factory=list)
    paths: dict[int, str] = field(default_factory=dict)


class _Local(threading.local):
    observer: _Observer | None = None


_local = _Local()


def observer() -> _Observer | None:
    """Who watches in this thread."""
    return _local.observer


@contextmanager
def observe(callback: Callable[[LayerCall], None]) -> Iterator[None]:
    """Calls ``callback`` with a ``LayerCall`` at the end of every call of a module in this thread.

    Under ``jit`` the outputs are traced values; without it they are numbers.

    >>> import fx.numpy as fnp
    >>> from fx import nn, random
    >>> model = nn.Sequential(nn.Linear(2, 3, key=random.key(0)), nn.relu)
    >>> with nn.observe(lambda call: print(call.path or "model", call.output.shape)):
    ...     y = model(fnp.ones((1, 2)))
    layers/0 (1, 3)
    layers/1 (1, 3)
    model (1, 3)
    """
    old, _local.observer = _local.observer, _Observer(callback)
    try:
        yield
    finally:
        _local.observer = old


def _submodules(x: Any, path: str) -> Iterator[tuple[Any, str]]:
    """The modules in ``x``, with their paths."""
    if tree.is_tree_node(type(x)) and x is not None:
        for key, child in tree.flatten_one_level_with_keys(x)[0]:
            below = f"{path}/{tree.keystr((key,), simple=True)}" if path else tree.keystr((key,), simple=True)
            yield child, below
            yield from _submodules(child, below)


def observe_call(call: Callable[..., Any], module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs ``call(module, *args, **kwargs)`` and tells the observer."""
    watcher = _local.observer
    assert watcher is not None
    if watcher.running and watcher.running[-1][0] is module:  # super().__call__
        return call(module, *args, **kwargs)
    if watcher.running:
        parent = watcher.running[-1][1]
        unknown = f"{parent}/{type(module).__name__}" if parent else type(module).__name__
        path = watcher.paths.get(id(module), unknown)
    else:
        path = ""
        watcher.paths = {id(m): p for m, p in reversed(list(_submodules(module, "")))}
    index, depth = watcher.count, len(watcher.running)
    watcher.count += 1
    watcher.running.append((module, path))
    try:
        with named_scope(_scope(module, path, index)):
            output = call(module, *args, **kwargs)
    finally:
        watcher.running.pop()
    watcher.callback(LayerCall(index, path, depth, module, args, output))
    return output
