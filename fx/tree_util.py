"""``fx.tree_util``: pytrees under the names of ``jax.tree_util``; ``fx.tree`` has the same functions under short ones."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from . import tree
from .tree import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    Partial,
    SequenceKey,
    all_leaves,
    keystr,
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_static,
)
from .tree import TreeDef as PyTreeDef
from .tree import all as tree_all
from .tree import flatten as tree_flatten
from .tree import flatten_with_path as tree_flatten_with_path
from .tree import leaves as tree_leaves
from .tree import leaves_with_path as tree_leaves_with_path
from .tree import map as tree_map
from .tree import map_with_path as tree_map_with_path
from .tree import reduce as tree_reduce
from .tree import structure as tree_structure
from .tree import transpose as tree_transpose
from .tree import unflatten as tree_unflatten

__all__ = [
    "DictKey", "FlattenedIndexKey", "GetAttrKey", "KeyEntry", "KeyPath", "Partial", "PyTreeDef", "SequenceKey", "all_leaves",
    "keystr", "register_dataclass", "register_pytree_node", "register_pytree_node_class", "register_pytree_with_keys",
    "register_pytree_with_keys_class", "register_static", "tree_all", "tree_broadcast", "tree_flatten", "tree_flatten_with_path",
    "tree_leaves", "tree_leaves_with_path", "tree_map", "tree_map_with_path", "tree_reduce", "tree_reduce_associative",
    "tree_structure", "tree_transpose", "tree_unflatten", "treedef_children", "treedef_is_leaf", "treedef_tuple",
]  # fmt: skip

KeyEntry = Hashable
KeyPath = tuple[KeyEntry, ...]


def register_pytree_with_keys_class(cls: Any) -> Any:
    """Class decorator: ``cls.tree_flatten_with_keys()`` and ``cls.tree_unflatten(aux, children)`` make it a node."""
    register_pytree_with_keys(cls, lambda x: x.tree_flatten_with_keys(), cls.tree_unflatten)
    return cls


def tree_broadcast(prefix_tree: Any, full_tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """A tree of the structure of ``full_tree`` whose leaves are those of a tree prefix, repeated.

    >>> tree_broadcast((1, 2), ([0, 0], {"a": 0}))
    ([1, 1], {'a': 2})
    """
    return tree.unflatten(tree.structure(full_tree), tree.broadcast_prefix(prefix_tree, full_tree, is_leaf))


def tree_reduce_associative(
    operation: Callable[[Any, Any], Any],
    tree: Any,
    *,
    identity: Any = ...,
    is_leaf: Callable[[Any], bool] | None = None,
) -> Any:
    """The leaves combined in pairs, pairs of pairs ...: the depth is the logarithm of their number.

    Raises:
        TypeError: there is no leaf and no ``identity``.
    """
    level = tree_leaves(tree, is_leaf)
    if not level:
        if identity is ...:
            raise TypeError("tree_reduce_associative of a tree without leaves has no value; pass identity=")
        return identity
    while len(level) > 1:
        pairs = [operation(a, b) for a, b in zip(level[::2], level[1::2])]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


def treedef_children(treedef: PyTreeDef) -> list[PyTreeDef]:
    """The structures of a node's children."""
    return list(treedef.children)


def treedef_is_leaf(treedef: PyTreeDef) -> bool:
    """True for the structure of a single leaf."""
    return treedef == tree_structure(0)


def treedef_tuple(treedefs: Iterable[PyTreeDef]) -> PyTreeDef:
    """The structure of a tuple of trees of the given structures."""
    return tree_structure(tuple([tree_unflatten(d, [0] * d.num_leaves) for d in treedefs]))
