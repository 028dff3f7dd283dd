"""Models taken apart and put together: what is trained, what is frozen, and changes to a copy."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes, tree
from ..errors import TreeError
from .module import Module, close, replace

__all__ = [
    "combine", "freeze", "inference", "is_array", "is_inexact_array", "partition", "path_mask", "trainable", "tree_at", "unfreeze",
]  # fmt: skip

Filter = Any


# ----------------------------------------------------------------------------------------- filters


def is_array(x: Any) -> bool:
    """Whether a leaf is an array (or stands for one)."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def is_inexact_array(x: Any) -> bool:
    """Whether a leaf is an array of floats or complex numbers: what has a derivative."""
    return is_array(x) and isinstance(x.dtype, np.dtype) and dtypes.is_inexact(x.dtype)


def _path(path: Any) -> str:
    return tree.keystr(path, simple=True, separator="/")


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a path, or a part that it begins with, fits a pattern: naming a module names all in it."""
    parts = path.split("/")
    starts = ["/".join(parts[:i]) for i in range(1, len(parts) + 1)]
    return any(fnmatch.fnmatchcase(start, p) for p in patterns for start in starts)


def path_mask(model: Any, *patterns: str) -> Any:
    """True for the leaves whose path fits one of the patterns.

    Args:
        patterns: paths such as ``layers/0/weight``, with the wildcards ``*``, ``?``, ``[seq]`` of ``fnmatch``; the path of
            a module stands for everything in it.

    Returns:
        The tree of ``model`` with bools as leaves.

    Raises:
        TreeError: a pattern fits nothing; lists the paths there are.

    >>> from fx import nn, random
    >>> nn.path_mask(nn.Linear(2, 3, key=random.key(0)), "w*")
    Linear(weight=True, bias=False)
    """
    paths = [_path(p) for p, _ in tree.leaves_with_path(model)]
    for pattern in patterns:
        if not any(_matches(p, (pattern,)) for p in paths):
            raise TreeError(f"no path fits {pattern!r}; the paths are {', '.join(paths) or 'none'}")
    return tree.map_with_path(lambda p, _: _matches(_path(p), patterns), model)


# ---------------------------------------------------------------------------------- frozen, trained


def _key(key: Any) -> str:
    return tree.keystr((key,), simple=True)


def _children(x: Any) -> list[tuple[str, Any]]:
    """The children of a node, with their names."""
    return [(_key(k), v) for k, v in tree.flatten_one_level_with_keys(x)[0]]


def _with_children(x: Any, children: list[Any]) -> Any:
    """The node ``x`` with other children."""
    return tree.unflatten(tree.structure(x, is_leaf=lambda v: v is not x), children)


def _is_node(x: Any) -> bool:
    return x is not None and tree.is_tree_node(type(x))


def _own_leaves(x: Any, path: str) -> list[str]:
    """The paths of the arrays in ``x`` that belong to no module inside of it."""
    if isinstance(x, Module):
        return []
    return [p for n, v in _children(x) for p in _own_leaves(v, f"{path}/{n}")] if _is_node(x) else [path]


def _map_modules(f: Callable[[Module, str], Module], x: Any, path: str = "") -> Any:
    """``x`` with every module in it, inner ones first, put through ``f(module, path)``."""
    if not _is_node(x):
        return x
    old = _children(x)
    new = [_map_modules(f, v, f"{path}{n}/") for n, v in old]
    if any(a is not b for a, (_, b) in zip(new, old)):
        x = _with_children(x, new)
    return f(x, path) if isinstance(x, Module) else x


def _marked(model: Any, patterns: tuple[str, ...], freezing: bool) -> Any:
    path_mask(model, *patterns)  # raises for a pattern that fits nothing

    def mark(module: Module, path: str) -> Module:
        own = [p for n, v in _children(module) for p in _own_leaves(v, n)]
        chosen = {p for p in own if _matches(path + p, patterns)}
        frozen = module._frozen | chosen if freezing else module._frozen - chosen
        if frozen == module._frozen:
            return module
        copy = _with_children(module, [v for _, v in _children(module)])
        close(copy, frozenset(frozen))
        return copy

    return _map_modules(mark, model)


def freeze(model: Any, *patterns: str) -> Any:
    """The model with the arrays at some paths marked as not to be trained: ``nn.trainable`` is False for them.

    The mark is part of the model's structure: it stays through every transform and ``tree.map``.  It does not change
    derivatives; take them with respect to ``nn.partition(model, nn.trainable(model))[0]``.

    Args:
        patterns: as for ``nn.path_mask``; ``"*"`` is everything.

    >>> from fx import nn, random
    >>> a, b = random.split(random.key(0))
    >>> model = nn.Sequential(nn.Linear(2, 3, key=a), nn.Linear(3, 1, key=b))
    >>> nn.trainable(nn.freeze(model, "layers/0"))[0]
    Linear(weight=False, bias=False)
    """
    return _marked(model, patterns, True)


def unfreeze(model: Any, *patterns: str) -> Any:
    """The model without the marks of ``nn.freeze`` at some paths; without patterns: without any."""
    return _marked(model, patterns or ("*",), False)


def trainable(model: Any) -> Any:
    """True for the arrays of floats (or complex numbers) of a model that are not frozen: the mask for ``nn.partition``.

    Any pytree of modules and arrays is a model here.
    """
    frozen: set[str] = set()

    def note(module: Module, path: str) -> Module:
        frozen.update(path + p for p in module._frozen)
        return module

    _map_modules(note, model)
    return tree.map_with_path(lambda p, x: is_inexact_array(x) and _path(p) not in frozen, model)


# ------------------------------------------------------------------------------------ two and one


def _mask(model: Any, chosen: Filter) -> list[bool]:
    if callable(chosen) and not isinstance(chosen, Module):
        return [bool(chosen(x)) for x in tree.leaves(model)]
    if isinstance(chosen, str):
        return tree.leaves(path_mask(model, chosen))
    return [bool(b) for b in tree.broadcast_prefix(chosen, model, what="the filter of nn.partition")]


def partition(model: Any, filter: Filter) -> tuple[Any, Any]:
    """Two trees of the shape of ``model``: the leaves that the filter takes, and the others; ``None`` at the rest.

    Args:
        filter: a function ``leaf -> bool``, a path with wildcards (``nn.path_mask``), or a tree of bools, of which a leaf
            stands for all below it.

    >>> import fx
    >>> from fx import nn, random
    >>> model = nn.Linear(2, 3, key=random.key(0))
    >>> params, rest = nn.partition(model, nn.trainable(model))
    >>> loss = lambda params, x: fx.numpy.sum(nn.combine(params, rest)(x) ** 2)
    >>> fx.grad(loss)(params, fx.numpy.ones((1, 2))).weight.shape
    (2, 3)
    """
    leaves, structure = tree.flatten(model)
    mask = _mask(model, filter)
    take = lambda wanted: tree.unflatten(structure, [x if b is wanted else None for x, b in zip(leaves, mask)])
    return take(True), take(False)


def combine(*trees: Any) -> Any:
    """One tree of trees of equal shape: at each place the first that is not ``None``.  The inverse of ``nn.partition``.

    >>> from fx import nn
    >>> nn.combine({"w": 1.0, "b": None}, {"w": None, "b": 2.0})
    {'b': 2.0, 'w': 1.0}
    """
    none = lambda x: x is None
    return tree.map(lambda *xs: next((x for x in xs if x is not None), None), *trees, is_leaf=none)


# ---------------------------------------------------------------------------------------- changes


class _Slot:
    """Stands for a leaf of the tree that ``tree_at`` shows to ``where``."""

    __slots__ = ("leaf",)

    def __init__(self, leaf: Any) -> None:
        self.leaf = leaf

    def __getattr__(self, name: str) -> Any:
        raise TreeError(
            f"tree_at: where selects parts of the tree; it asked for .{name} of the leaf {self.leaf!r}, which stands in"
            " for an array. Compute with the values in replace_fn."
        )


def tree_at(where: Callable[[Any], Any], model: Any, value: Any = ..., *, replace_fn: Any = None) -> Any:
    """A copy of a tree with another value at one place or several.

    Args:
        where: ``model -> part``, or a tuple or list of parts: arrays, modules, containers, or fields that are ``None``.
        value: takes the place of the part; with several parts, a sequence of as many.
        replace_fn: ``part -> value``, instead of ``value``.

    Raises:
        TreeError: ``where`` gives what is no part of the tree (a static field; for those ``nn.replace``), or the number
            of values is not that of parts.

    >>> import fx.numpy as fnp
    >>> from fx import nn, random
    >>> model = nn.Linear(2, 3, key=random.key(0))
    >>> nn.tree_at(lambda m: m.bias, model, fnp.ones(3)).bias
    Array([1., 1., 1.], dtype=float32)
    >>> nn.tree_at(lambda m: (m.weight, m.bias), model, replace_fn=lambda x: 0 * x).weight.sum()
    Array(0., dtype=float32)
    """
    if (value is ...) == (replace_fn is None):
        raise TreeError("tree_at takes a value or a replace_fn, one of the two")
    leaves, structure = tree.flatten(model, is_leaf=lambda x: x is None)
    shown = tree.unflatten(structure, [_Slot(x) for x in leaves])
    chosen = where(shown)
    several = type(chosen) in (tuple, list) and not _is_part(shown, chosen)
    parts = list(chosen) if several else [chosen]
    if value is not ...:
        values = list(value) if several else [value]
        if len(values) != len(parts):
            raise TreeError(f"tree_at: where gives {len(parts)} parts; {len(values)} values were given")
        new = iter(values)
        replace_fn = lambda _: next(new)
    found = {}
    for part in parts:
        if not _is_part(shown, part):
            raise TreeError(
                f"tree_at: where gives {part!r}, which is no part of the tree: no array, module or container of them."
                " A static field is changed by nn.replace(module, field=value)."
            )
        found[id(part)] = replace_fn(_unshown(part))
    return _replaced(shown, found)


def _is_part(shown: Any, part: Any) -> bool:
    return shown is part or (_is_node(shown) and any(_is_part(v, part) for _, v in _children(shown)))


def _unshown(x: Any) -> Any:
    return tree.map(lambda slot: slot.leaf, x)


def _replaced(x: Any, found: dict[int, Any]) -> Any:
    if id(x) in found:
        return found[id(x)]
    if type(x) is _Slot:
        return x.leaf
    return _with_children(x, [_replaced(v, found) for _, v in _children(x)]) if _is_node(x) else x


def inference(model: Any, value: bool = True) -> Any:
    """The model as it is used after training: dropout lets everything pass, ``BatchNorm`` uses its running statistics.

    Sets the static field ``inference`` of every module that has one; ``value=False`` goes back to training.

    >>> from fx import nn
    >>> nn.inference(nn.Sequential(nn.Dropout(0.5)))[0]
    Dropout(rate=0.5, inference=True)
    """

    def switched(module: Module, _: str) -> Module:
        has = "inference" in type(module)._static_names
        return replace(module, inference=value) if has and module.inference is not value else module

    return _map_modules(switched, model)
