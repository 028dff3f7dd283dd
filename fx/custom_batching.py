"""``fx.custom_batching``: functions with batching rules of the user's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from . import tree
from .lax.control_flow import map as lax_map
from .transforms.custom_vmap import custom_vmap

__all__ = ["custom_vmap", "sequential_vmap"]


def sequential_vmap(f: Callable[..., Any]) -> custom_vmap:
    """A function that vmap calls on one example after the other, in a loop (``fx.lax.map``).

    For what cannot take a batch, or would take too much memory for one: vmap turns a ``cond`` whose condition is batched
    into both of its branches, the loop runs the branch that each example needs.

    >>> import fx, fx.numpy as fnp
    >>> @fx.custom_batching.sequential_vmap
    ... def f(x):
    ...     fx.debug.print("{x}", x=x)
    ...     return x + 1
    >>> fx.vmap(f)(fnp.arange(3))
    0
    1
    2
    Array([1, 2, 3], dtype=int32)
    """
    sequential = custom_vmap(f)

    @sequential.def_vmap
    @functools.wraps(f)
    def rule(axis_size: int, in_batched: list[Any], *args: Any) -> tuple[Any, Any]:
        leaves, structure = tree.flatten(args)
        on = tree.leaves(in_batched)

        def one(mapped: list[Any]) -> Any:
            own = iter(mapped)
            return sequential(*tree.unflatten(structure, [next(own) if b else x for x, b in zip(leaves, on)]))

        out = lax_map(one, [x for x, b in zip(leaves, on) if b])
        return out, tree.map(lambda _: True, out)

    return sequential
