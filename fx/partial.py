"""Functions with bound arguments, as pytrees."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .tree_nodes import register_pytree_node

__all__ = ["Partial"]


class Partial(functools.partial):
    """``functools.partial`` as a pytree: the bound arguments are children, the function is static.

    Of a ``functools.partial`` the arguments that it has bound stay with it: they are static.

    >>> import fx
    >>> scale = fx.tree.Partial(lambda factor, x: factor * x, 3.0)
    >>> fx.jit(lambda f, x: f(x))(scale, 2.0)
    Array(6., dtype=float32, weak_type=True)
    """

    def __new__(cls, func: Callable[..., Any], /, *args: Any, **keywords: Any) -> Partial:
        # functools.partial would take a partial apart, and with it what is static
        return super().__new__(cls, _Bound(func) if isinstance(func, functools.partial) else func, *args, **keywords)


class _Bound:
    """A ``functools.partial`` that is called like any function."""

    __slots__ = ("partial",)

    def __init__(self, partial: functools.partial[Any]) -> None:
        self.partial = partial

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self.partial(*args, **keywords)

    def __eq__(self, other: object) -> bool:
        return self.partial == (other.partial if isinstance(other, _Bound) else other)

    def __hash__(self) -> int:
        return hash(self.partial)

    def __repr__(self) -> str:
        return repr(self.partial)


register_pytree_node(
    Partial,
    lambda p: ((p.args, p.keywords), p.func),
    lambda func, children: Partial(func, *children[0], **children[1]),
)
