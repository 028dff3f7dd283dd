"""``fx.tree_util``: pytrees under the names of ``jax.tree_util``; ``fx.tree`` has the same functions under short ones."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

from .tree import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    Partial,
    SequenceKey,
    all_leaves,
    flatten_one_level,
    flatten_one_level_with_keys,
    is_tree_node,
    keystr,
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_static,
)
from .tree import (
    TreeDef as PyTreeDef,
)
from .tree import (
    all as tree_all,
)
from .tree import (
    broadcast as tree_broadcast,
)
from .tree import (
    flatten as tree_flatten,
)
from .tree import (
    flatten_with_path as tree_flatten_with_path,
)
from .tree import (
    leaves as tree_leaves,
)
from .tree import (
    leaves_with_path as tree_leaves_with_path,
)
from .tree import (
    map as tree_map,
)
from .tree import (
    map_with_path as tree_map_with_path,
)
from .tree import (
    reduce as tree_reduce,
)
from .tree import (
    reduce_associative as tree_reduce_associative,
)
from .tree import (
    structure as tree_structure,
)
from .tree import (
    transpose as tree_transpose,
)
from .tree import (
    unflatten as tree_unflatten,
)

__all__ = [
    "DictKey", "FlattenedIndexKey", "GetAttrKey", "KeyEntry", "KeyPath", "Partial", "PyTreeDef", "PyTreeRegistry", "SequenceKey", "all_leaves",
    "default_registry", "flatten_one_level", "flatten_one_level_with_keys", "is_tree_node",
    "keystr", "register_dataclass", "register_pytree_node", "register_pytree_node_class", "register_pytree_with_keys",
    "register_pytree_with_keys_class", "register_static", "tree_all", "tree_broadcast", "tree_flatten", "tree_flatten_with_path",
    "tree_leaves", "tree_leaves_with_path", "tree_map", "tree_map_with_path", "tree_reduce", "tree_reduce_associative",
    "tree_structure", "tree_transpose", "tree_unflatten", "treedef_children", "treedef_is_leaf", "treedef_tuple",
]  # fmt: skip


class PyTreeRegistry:
    """The known kinds of nodes, as ``default_registry``: there is one."""

    flatten = staticmethod(tree_flatten)
    register_node = staticmethod(register_pytree_node)

    def flatten_one_level(self, x: Any) -> tuple[list[Any], Hashable] | None:
        """The children of a node, and its static data; None for a leaf."""
        return None if all_leaves([x]) else flatten_one_level(x)


default_registry = PyTreeRegistry()
KeyEntry = Hashable
KeyPath = tuple[KeyEntry, ...]


def register_pytree_with_keys_class(cls: Any) -> Any:
    """Class decorator: ``cls.tree_flatten_with_keys()`` and ``cls.tree_unflatten(aux, children)`` make it a node."""
    register_pytree_with_keys(cls, lambda x: x.tree_flatten_with_keys(), cls.tree_unflatten)
    return cls


def treedef_children(treedef: PyTreeDef) -> list[PyTreeDef]:
    """The structures of a node's children."""
    return treedef.children()


def treedef_is_leaf(treedef: PyTreeDef) -> bool:
    """True for the structure of a single leaf, or of a node without children, as in JAX."""
    return treedef.num_nodes == 1


def treedef_tuple(treedefs: Iterable[PyTreeDef]) -> PyTreeDef:
    """The structure of a tuple of trees of the given structures."""
    return PyTreeDef(tuple, None, tuple(treedefs))
