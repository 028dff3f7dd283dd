"""Pytrees: nested containers of arrays.

Tuples, lists, dicts, OrderedDicts, defaultdicts, namedtuples, ``None``, dataclasses registered with
``register_dataclass`` and any type given to ``register_pytree_node`` are *nodes*; everything else is a leaf.

>>> leaves, treedef = flatten({"b": [1, 2], "a": (3, None)})
>>> leaves
[3, 1, 2]
>>> unflatten(treedef, [30, 10, 20])
{'a': (30, None), 'b': [10, 20]}
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .errors import TreeError, TreeTypeError
from .key_paths import DictKey, FlattenedIndexKey, GetAttrKey, KeyPath, SequenceKey, keystr
from .partial import Partial
from .traceback import shorten
from .tree_nodes import (
    Node,
    check_finite,
    flatten_one_level,
    flatten_one_level_with_keys,
    is_namedtuple,
    is_tree_node,
    name_children,
    namedtuple_node,
    node_of_value,
    nodes,
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_static,
    register_whole,
    registry,
    whole_types,
)
from .tree_static import can_change, hash_of_static, keys_of_static, same_aux
from .tree_text import node_text

__all__ = [
    "DictKey", "FlattenedIndexKey", "GetAttrKey", "Partial", "SequenceKey", "TreeDef", "all_leaves", "can_change", "flatten", "flatten_one_level",
    "flatten_one_level_with_keys", "flatten_with_path", "is_namedtuple", "is_tree_node", "keys_of_static", "keystr", "leaves", "leaves_with_path", "map", "map_with_path", "name_children", "reduce",
    "register_dataclass", "register_pytree_node", "register_pytree_node_class", "register_pytree_with_keys",
    "register_static", "register_whole", "structure", "transpose", "unflatten", "all", "broadcast", "broadcast_prefix", "flatten_up_to",
    "reduce_associative", "same_aux", "static",
]  # fmt: skip

_all = all


# --------------------------------------------------------------------------------------- treedef


class TreeDef:
    """The structure of a pytree without its leaves.  Hashable; equal structures compare equal."""

    __slots__ = ("_hash", "aux", "kind", "num_leaves", "subtrees")

    def __init__(self, kind: type | None, aux: Any, subtrees: tuple[TreeDef, ...], num_leaves: int = -1) -> None:
        self.kind = kind
        self.aux = aux
        self.subtrees = subtrees
        if num_leaves < 0:  # nobody has counted them
            num_leaves = 1 if kind is None else sum([c.num_leaves for c in subtrees])
        self.num_leaves: int = num_leaves
        self._hash: int | None = None

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self.kind, hash_of_static(self.aux), self.subtrees))
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, TreeDef):
            return NotImplemented
        if self.kind is not other.kind:
            return False
        a, b = self.aux, other.aux
        same = a is b or bool(a == b if self.kind is dict else same_aux(a, b))
        return same and self.subtrees == other.subtrees

    def __str__(self) -> str:
        return "*" if self.kind is None else node_text(self.kind, self.aux, [str(d) for d in self.subtrees])

    def __repr__(self) -> str:
        return f"TreeDef({self})"

    @property
    def num_nodes(self) -> int:
        """Nodes and leaves together."""
        return 1 + sum([d.num_nodes for d in self.subtrees])

    def children(self) -> list[TreeDef]:
        """The structures of the outermost node's children."""
        return list(self.subtrees)

    def node_data(self) -> tuple[type, Any] | None:
        """(type, static data) of the outermost node; None for a leaf."""
        if self.kind is None:
            return None
        return self.kind, list(self.aux) if self.kind is dict else self.aux

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The tree of this structure with the given leaves."""
        return unflatten(self, leaves)

    def flatten_up_to(self, xs: Any) -> list[Any]:
        """The subtrees of ``xs`` that stand where this structure has leaves."""
        return flatten_up_to(self, xs)

    def compose(self, inner: TreeDef) -> TreeDef:
        """This structure with ``inner`` in the place of every leaf."""
        if self.kind is None:
            return inner
        return TreeDef(self.kind, self.aux, tuple([d.compose(inner) for d in self.subtrees]))


LEAF = TreeDef(None, None, ())
_NONE = TreeDef(type(None), None, ())
_ONE = TreeDef(tuple, None, (LEAF,))
_NO_KEYWORDS = TreeDef(dict, (), ())
ONE_ARGUMENT = TreeDef(tuple, None, (_ONE, _NO_KEYWORDS))  # of ``((leaf,), {})``
IsLeaf = Callable[[Any], bool]


def _flatten(x: Any, out: list[Any], is_leaf: IsLeaf | None) -> TreeDef:
    if x is None and is_leaf is None:
        return _NONE
    kind = type(x)
    try:
        node = nodes[kind]
    except KeyError:
        node = node_of_value(x)
    if node is None or (is_leaf is not None and is_leaf(x)):
        out.append(x)
        return LEAF
    children, aux = (x, None) if kind is tuple or kind is list else node.flatten(x)
    below, before = [], len(out)
    for c in children:
        if nodes.get(type(c), _NONE) is None:  # the common case, without a call: a type that is known to be a leaf's
            out.append(c)
            below.append(LEAF)
        else:
            below.append(_flatten(c, out, is_leaf))
    if kind is tuple and len(below) == 1 and below[0] is LEAF:
        return _ONE
    return TreeDef(kind, aux, tuple(below), len(out) - before)


def flatten_arguments(args: tuple[Any, ...]) -> tuple[list[Any], TreeDef]:
    """``flatten((args, {}))``, for a tuple of arguments."""
    if len(args) == 1 and args[0] is not None and nodes.get(type(args[0]), LEAF) is None:  # the common case: one array
        return list(args), ONE_ARGUMENT
    leaves, positional = flatten(args)
    return leaves, TreeDef(tuple, None, (positional, _NO_KEYWORDS))


def flatten(tree: Any, is_leaf: IsLeaf | None = None) -> tuple[list[Any], TreeDef]:
    """The leaves of ``tree``, left to right, and its structure.

    >>> from fx import tree
    >>> leaves, structure = tree.flatten({"w": [1, 2], "b": 3})
    >>> leaves, structure
    ([3, 1, 2], TreeDef({'b': *, 'w': [*, *]}))
    """
    out: list[Any] = []
    try:
        return out, _flatten(tree, out, is_leaf)
    except RecursionError:
        check_finite(tree, is_leaf)
        raise


def _unflatten(d: TreeDef, it: Iterator[Any]) -> Any:
    if d.kind is None:
        return next(it)
    if d.kind is type(None):
        return None
    if d is _ONE:
        return (next(it),)
    children = [next(it) if c is LEAF else _unflatten(c, it) for c in d.subtrees]
    if d.kind is tuple or d.kind is list:
        return tuple(children) if d.kind is tuple else children
    return node_of(d).unflatten(d.aux, children)


def node_of(d: TreeDef) -> Node:
    """How the outermost container of a structure comes apart and together."""
    assert d.kind is not None
    return registry.get(d.kind) or namedtuple_node(d.kind)


def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Any:
    """The inverse of ``flatten``.

    Raises:
        TreeError: if the number of leaves is not that of the structure.

    >>> from fx import tree
    >>> leaves, structure = tree.flatten({"w": [1, 2], "b": 3})
    >>> tree.unflatten(structure, [10 * x for x in leaves])
    {'b': 30, 'w': [10, 20]}
    """
    leaves = list(leaves)
    if len(leaves) == 1 and treedef is LEAF:
        return leaves[0]
    if len(leaves) != treedef.num_leaves:
        raise TreeError(f"the structure {treedef} has {treedef.num_leaves} leaves; {len(leaves)} were given")
    return _unflatten(treedef, iter(leaves))


def leaves(tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of ``tree``, left to right.

    >>> from fx import tree
    >>> tree.leaves({"w": [1, 2], "b": 3, "none": None})
    [3, 1, 2]
    """
    out: list[Any] = []
    try:
        _collect(tree, out, is_leaf)
    except RecursionError:
        check_finite(tree, is_leaf)
        raise
    return out


def _collect(x: Any, out: list[Any], is_leaf: IsLeaf | None) -> None:
    """``_flatten`` without the structure."""
    if x is None and is_leaf is None:
        return
    kind = type(x)
    try:
        node = nodes[kind]
    except KeyError:
        node = node_of_value(x)
    if node is None or (is_leaf is not None and is_leaf(x)):
        out.append(x)
        return
    for c in x if kind is tuple or kind is list else node.flatten(x)[0]:
        if nodes.get(type(c), _NONE) is None:
            out.append(c)
        else:
            _collect(c, out, is_leaf)


def structure(tree: Any, is_leaf: IsLeaf | None = None) -> TreeDef:
    """The structure of ``tree``."""
    return flatten(tree, is_leaf)[1]


def all_leaves(iterable: Iterable[Any], is_leaf: IsLeaf | None = None) -> bool:
    """True if no element is a container."""
    return _all(node_of_value(x) is None or (is_leaf is not None and is_leaf(x)) for x in iterable)


def flatten_up_to(treedef: TreeDef, tree: Any, what: str = "tree") -> list[Any]:
    """The subtrees of ``tree`` that stand where ``treedef`` has leaves.

    Raises:
        TreeError: naming the place where the two structures part.
    """
    out: list[Any] = []
    return out if _taken_up_to(treedef, tree, out) else list(_flatten_up_to(treedef, tree, what, ()))


def _taken_up_to(d: TreeDef, x: Any, out: list[Any]) -> bool:
    """``_flatten_up_to`` into a list; False where the structures part."""
    kind = d.kind
    if kind is None:
        out.append(x)
        return True
    if type(x) is not kind:
        return False
    if kind is type(None):
        return True
    aux: Any = None
    children: Any = x
    if kind is not tuple and kind is not list:
        children, aux = node_of(d).flatten(x)
        children = list(children)
    if len(children) != len(d.subtrees) or aux != d.aux:
        return False
    for c, child in zip(d.subtrees, children):
        if c is LEAF:
            out.append(child)
        elif not _taken_up_to(c, child, out):
            return False
    return True


# recursion by module-level functions: a closure that calls itself is a reference cycle, which would keep the leaves


def _flatten_up_to(d: TreeDef, x: Any, what: str, path: KeyPath) -> Iterator[Any]:
    if d.kind is None:
        yield x
        return
    where = f" at {keystr(path)}" if path else ""
    if type(x) is not d.kind:
        raise TreeError(f"{what}{where} should be a {d.kind.__name__}, found {type(x).__name__}: {x!r}")
    if d.kind is type(None):
        return
    node = node_of_value(x)
    assert node is not None
    children, aux = node.flatten(x)
    children = list(children)
    if aux != d.aux or len(children) != len(d.subtrees):
        found = aux if aux is not None else f"{len(children)} children"
        want = d.aux if d.aux is not None else f"{len(d.subtrees)} children"
        mismatch = "Dict key mismatch: " if d.kind is dict else ""
        raise TreeError(f"{mismatch}{what}{where}: a {d.kind.__name__} with {want} expected, found {found}")
    for c, child, key in zip(d.subtrees, children, node.keys(x)):
        yield from _flatten_up_to(c, child, what, (*path, key))


def broadcast_prefix(prefix: Any, tree: Any, is_leaf: IsLeaf | None = None, what: str = "prefix") -> list[Any]:
    """One value of ``prefix`` for every leaf of ``tree``; a leaf of ``prefix`` stands for a whole subtree.

    >>> broadcast_prefix((0, None), ([1, 2], {"a": 3}), is_leaf=lambda x: x is None)
    [0, 0, None]
    """
    values, d = flatten(prefix, is_leaf)
    out: list[Any] = []
    for v, sub in zip(values, flatten_up_to(d, tree, what)):
        out += [v] * len(leaves(sub))
    return out


def broadcast(prefix_tree: Any, full_tree: Any, is_leaf: IsLeaf | None = None) -> Any:
    """A tree of the structure of ``full_tree`` whose leaves are those of a tree prefix, repeated.

    >>> broadcast((1, 2), ([0, 0], {"a": 0}))
    ([1, 1], {'a': 2})
    """
    return unflatten(structure(full_tree), broadcast_prefix(prefix_tree, full_tree, is_leaf))


def _with_whole(is_leaf: IsLeaf | None) -> IsLeaf | None:
    if not whole_types:
        return is_leaf
    if is_leaf is None:
        return lambda x: type(x) in whole_types
    return lambda x: type(x) in whole_types or is_leaf(x)


def map(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None) -> Any:
    """Applies ``f`` to the leaves of ``tree`` (and to what stands at the same places of ``rest``).

    >>> map(lambda x, y: x + y, (1, {"a": 2}), (10, {"a": 20}))
    (11, {'a': 22})
    """
    try:
        first, d = flatten(tree, _with_whole(is_leaf))
        others = [flatten_up_to(d, r, f"argument {i + 2} of tree.map") for i, r in enumerate(rest)]
        return _unflatten(d, iter([f(*xs) for xs in zip(first, *others)]))
    except BaseException as e:
        shorten(e)
        raise


def reduce(
    function: Callable[[Any, Any], Any], tree: Any, initializer: Any = ..., is_leaf: IsLeaf | None = None
) -> Any:
    """``functools.reduce`` over the leaves.

    >>> from fx import tree
    >>> tree.reduce(lambda total, x: total + x, {"w": [1, 2], "b": 3})
    6
    """
    xs = leaves(tree, is_leaf)
    return functools.reduce(function, xs) if initializer is ... else functools.reduce(function, xs, initializer)


def reduce_associative(
    operation: Callable[[Any, Any], Any], tree: Any, *, identity: Any = ..., is_leaf: IsLeaf | None = None
) -> Any:
    """One half of the leaves combined with the other, each made in the same way: the depth is the logarithm of their number.

    Raises:
        TypeError: there is no leaf and no ``identity``.
    """
    xs = leaves(tree, is_leaf)
    if not xs:
        if identity is ...:
            raise TypeError("reduce_associative of a tree without leaves has no value; pass identity=")
        return identity
    return _reduce_halves(operation, xs)


def _reduce_halves(operation: Callable[[Any, Any], Any], xs: list[Any]) -> Any:
    if len(xs) == 1:
        return xs[0]
    half = len(xs) // 2
    return operation(_reduce_halves(operation, xs[:half]), _reduce_halves(operation, xs[half:]))


def static(**kwargs: Any) -> Any:
    """``dataclasses.field`` for a static field of a dataclass given to ``register_dataclass``.

    >>> @register_dataclass
    ... @dataclasses.dataclass
    ... class Layer:
    ...     weights: list
    ...     name: str = static(default="layer")
    >>> leaves(Layer([1.0, 2.0]))
    [1.0, 2.0]
    """
    return dataclasses.field(metadata={**(kwargs.pop("metadata", None) or {}), "static": True}, **kwargs)


def all(tree: Any, *, is_leaf: IsLeaf | None = None) -> bool:
    """True if every leaf is true."""
    return _all(leaves(tree, is_leaf))


def transpose(outer_treedef: TreeDef, inner_treedef: TreeDef | None, pytree_to_transpose: Any) -> Any:
    """Turns a tree of structure outer(inner) inside out; ``inner_treedef=None`` takes that of the first subtree.

    Raises:
        TreeTypeError: the tree has another structure.

    >>> transpose(structure([0, 0]), structure({"a": 0, "b": 0}), [{"a": 1, "b": 2}, {"a": 3, "b": 4}])
    {'a': [1, 3], 'b': [2, 4]}
    """
    xs, found = flatten(pytree_to_transpose)
    if inner_treedef is None:
        inner_treedef = structure(flatten_up_to(outer_treedef, pytree_to_transpose, "tree.transpose")[0])
    wanted = outer_treedef.compose(inner_treedef)
    if found != wanted:
        raise TreeTypeError(f"tree.transpose takes a tree of the structure outer(inner), {wanted}; found {found}")
    n = inner_treedef.num_leaves
    return unflatten(inner_treedef, [unflatten(outer_treedef, xs[i::n]) for i in range(n)])


def leaves_with_path(
    tree: Any, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False
) -> list[tuple[KeyPath, Any]]:
    """``(key path, leaf)`` for every leaf; ``is_leaf(x)``, or with ``is_leaf_takes_path``, ``is_leaf(path, x)``.

    >>> from fx import tree
    >>> [(tree.keystr(path), x) for path, x in tree.leaves_with_path({"w": [1, 2], "b": 3})]
    [("['b']", 3), ("['w'][0]", 1), ("['w'][1]", 2)]
    """
    return flatten_with_path(tree, is_leaf, is_leaf_takes_path)[0]


def flatten_with_path(
    tree: Any, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False
) -> tuple[list[tuple[KeyPath, Any]], TreeDef]:
    """``flatten`` with the key path of every leaf; ``is_leaf`` as for ``leaves_with_path``."""
    by_path = None if is_leaf is None else is_leaf if is_leaf_takes_path else lambda _, x: is_leaf(x)
    out: list[tuple[KeyPath, Any]] = []
    try:
        return out, _flatten_with_path(tree, out, by_path, ())
    except RecursionError:
        check_finite(tree, None)
        raise


def _flatten_with_path(
    x: Any, out: list[tuple[KeyPath, Any]], is_leaf: Callable[[KeyPath, Any], bool] | None, path: KeyPath
) -> TreeDef:
    node = node_of_value(x)
    if node is None or (is_leaf is not None and is_leaf(path, x)):
        out.append((path, x))
        return LEAF
    children, aux = node.flatten(x)
    below = [_flatten_with_path(c, out, is_leaf, (*path, k)) for k, c in zip(node.keys(x), children)]
    return TreeDef(type(x), aux, tuple(below))


def map_with_path(
    f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: Callable[..., bool] | None = None,
    is_leaf_takes_path: bool = False,
) -> Any:  # fmt: skip
    """``map`` whose function gets the key path first; ``is_leaf`` as for ``leaves_with_path``.

    >>> from fx import tree
    >>> tree.map_with_path(lambda path, x: 0 if path[0].key == "b" else x, {"w": [1, 2], "b": 3})
    {'b': 0, 'w': [1, 2]}
    """
    by_path = is_leaf if is_leaf_takes_path or is_leaf is None else lambda _, x: is_leaf(x)
    pairs, d = flatten_with_path(
        tree, lambda p, x: type(x) in whole_types or (by_path is not None and by_path(p, x)), True
    )
    others = [flatten_up_to(d, r, f"argument {i + 2} of tree.map_with_path") for i, r in enumerate(rest)]
    return unflatten(d, [f(p, x, *more) for (p, x), *more in zip(pairs, *others)])
