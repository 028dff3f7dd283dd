"""``fx.api_util``: functions of pytrees as functions of their leaves, under JAX's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import tree
from .extend.linear_util import WrappedFun

__all__ = ["debug_info", "flatten_fun", "flatten_fun_nokwargs", "safe_map", "safe_zip"]


def debug_info(*_: Any, **__: Any) -> None:
    """What JAX's messages name a function by; those of fx look for themselves."""


def safe_zip(*lists: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Tuples of what stands at one place; the lists must be equally long."""
    return list(zip(*lists, strict=True))


def safe_map(f: Callable[..., Any], *lists: Iterable[Any]) -> list[Any]:
    """``f`` of what stands at one place; the lists must be equally long."""
    return [f(*xs) for xs in zip(*lists, strict=True)]


def flatten_fun_nokwargs(f: WrappedFun, in_tree: tree.TreeDef) -> tuple[WrappedFun, Callable[[], tree.TreeDef]]:
    """A function of leaves to leaves, and a function that gives the structure of the results after a call."""
    return _flat(lambda args: f.call_wrapped(*args), in_tree)


def flatten_fun(f: WrappedFun, in_tree: tree.TreeDef) -> tuple[WrappedFun, Callable[[], tree.TreeDef]]:
    """``flatten_fun_nokwargs`` where ``in_tree`` is that of ``(args, kwargs)``."""
    return _flat(lambda both: f.call_wrapped(*both[0], **both[1]), in_tree)


def _flat(call: Callable[[Any], Any], in_tree: tree.TreeDef) -> tuple[WrappedFun, Callable[[], tree.TreeDef]]:
    found: list[tree.TreeDef] = []

    def flat(*leaves: Any) -> list[Any]:
        out, structure = tree.flatten(call(tree.unflatten(in_tree, leaves)))
        found[:] = [structure]
        return out

    return WrappedFun(flat), lambda: found[0]
