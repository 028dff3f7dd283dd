"""Which types are nodes of pytrees, and how they come apart and together: the registry of ``fx.tree``."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from .errors import TreeError, TreeRegistryError, TreeTypeError
from .key_paths import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey, keystr
from .traceback import user_frames

__all__ = [
    "Node", "check_finite", "flatten_one_level", "flatten_one_level_with_keys", "is_namedtuple", "is_tree_node", "name_children", "namedtuple_node", "node_of_value", "nodes", "register_dataclass", "register_pytree_node",
    "register_pytree_node_class", "register_pytree_with_keys", "register_static", "register_whole", "registry", "whole_types",
]  # fmt: skip


class Node(NamedTuple):
    """How a container type comes apart: ``flatten(x) -> (children, aux)``, ``unflatten(aux, children) -> x``,
    ``keys(x) -> key of each child``.  ``names()`` says what its children are called, for texts, where they have names."""

    flatten: Callable[[Any], tuple[Iterable[Any], Hashable]]
    unflatten: Callable[[Any, Any], Any]
    keys: Callable[[Any], Iterable[Any]]
    names: Callable[[], Sequence[str]] | None = None


def _sorted_keys(d: dict[Any, Any]) -> tuple[Any, ...]:
    try:
        return tuple(sorted(d))
    except TypeError:
        raise TreeError(f"the keys of a dict in a pytree must be sortable; found {list(d)!r}") from None


def _flatten_dict(d: dict[Any, Any]) -> tuple[list[Any], Hashable]:
    keys = _sorted_keys(d)
    return [d[k] for k in keys], keys


registry: dict[type, Node] = {
    tuple: Node(lambda x: (x, None), lambda _, c: tuple(c), lambda x: [SequenceKey(i) for i in range(len(x))]),
    list: Node(lambda x: (x, None), lambda _, c: list(c), lambda x: [SequenceKey(i) for i in range(len(x))]),
    dict: Node(
        _flatten_dict, lambda keys, c: dict(zip(keys, c, strict=True)), lambda x: [DictKey(k) for k in _sorted_keys(x)]
    ),
    collections.OrderedDict: Node(
        lambda x: (list(x.values()), tuple(x)),
        lambda keys, c: collections.OrderedDict(zip(keys, c, strict=True)),
        lambda x: [DictKey(k) for k in x],
    ),
    collections.defaultdict: Node(
        lambda x: ([x[k] for k in _sorted_keys(x)], (x.default_factory, _sorted_keys(x))),
        lambda aux, c: collections.defaultdict(aux[0], zip(aux[1], c, strict=True)),
        lambda x: [DictKey(k) for k in _sorted_keys(x)],
    ),
    type(None): Node(lambda x: ((), None), lambda _, c: None, lambda x: ()),
}


@functools.cache
def namedtuple_node(cls: type) -> Node:
    fields = cls._fields  # type: ignore[attr-defined]
    return Node(lambda x: (x, None), lambda _, c: cls(*c), lambda x: [GetAttrKey(f) for f in fields])


nodes: dict[type, Node | None] = {}  # what was found for a type, until another type is registered


def node_of_value(x: Any) -> Node | None:
    cls = type(x)
    try:
        return nodes[cls]
    except KeyError:
        node = registry.get(cls)
        node = namedtuple_node(cls) if node is None and is_namedtuple(cls) else node  # type: ignore[arg-type]
        if len(nodes) > 1000:
            nodes.clear()
        nodes[cls] = node
        return node


def is_namedtuple(cls: type) -> bool:
    """Whether instances come apart as named tuples do."""
    return cls not in registry and issubclass(cls, tuple) and hasattr(cls, "_fields")


@user_frames
def register_pytree_node(
    nodetype: type,
    flatten_func: Callable[[Any], tuple[Iterable[Any], Hashable]],
    unflatten_func: Callable[[Any, Any], Any],
    flatten_with_keys_func: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Hashable]] | None = None,
) -> None:
    """Makes ``nodetype`` a pytree node.

    Args:
        flatten_func: ``x -> (children, aux)``; ``aux`` is comparable, and hashable or a dict, list or set of such data.
        unflatten_func: ``(aux, children) -> x``.
        flatten_with_keys_func: ``x -> ([(key, child)...], aux)``, for key paths.

    Raises:
        TreeRegistryError: if the type is registered already.

    >>> import fx
    >>> class Pair:
    ...     def __init__(self, a, b):
    ...         self.a, self.b = a, b
    >>> fx.tree.register_pytree_node(Pair, lambda p: ((p.a, p.b), None), lambda _, children: Pair(*children))
    >>> fx.tree.leaves(fx.tree.map(lambda x: 2 * x, Pair(1, [2, 3])))
    [2, 4, 6]
    """
    if nodetype in registry:
        raise TreeRegistryError(
            f"{nodetype.__name__} is registered as a pytree node already. Define the class anew in the same cell or call, or"
            " register it once."
        )

    def keys(x: Any) -> Iterable[Any]:
        if flatten_with_keys_func is not None:
            return [k for k, _ in flatten_with_keys_func(x)[0]]
        return [FlattenedIndexKey(i) for i, _ in enumerate(flatten_func(x)[0])]

    registry[nodetype] = Node(flatten_func, unflatten_func, keys)
    nodes.clear()


@user_frames
def register_pytree_with_keys(
    nodetype: type,
    flatten_with_keys: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Hashable]],
    unflatten_func: Callable[[Any, Any], Any],
    flatten_func: Callable[[Any], tuple[Iterable[Any], Hashable]] | None = None,
) -> None:
    """``register_pytree_node`` for a type that names its children."""

    def flat(x: Any) -> tuple[Iterable[Any], Hashable]:
        pairs, aux = flatten_with_keys(x)
        return [v for _, v in pairs], aux

    register_pytree_node(nodetype, flatten_func or flat, unflatten_func, flatten_with_keys)


@user_frames
def register_pytree_node_class(cls: Any) -> Any:
    """Class decorator: the class has ``tree_flatten(self)`` and the classmethod ``tree_unflatten(aux, children)``."""
    register_pytree_node(cls, lambda x: x.tree_flatten(), lambda aux, c: cls.tree_unflatten(aux, c))
    return cls


def name_children(cls: type, names: Callable[[], Sequence[str]]) -> None:
    """Says what the children of a registered type are called where a structure is shown."""
    registry[cls] = registry[cls]._replace(names=names)
    nodes.clear()


whole_types: set[type] = set()


def register_whole(cls: type) -> None:
    """Makes ``map`` and ``map_with_path`` hand nodes of a type over whole, as leaves (arrays of keys are such nodes)."""
    whole_types.add(cls)


@user_frames
def register_dataclass(
    nodetype: Any, data_fields: Sequence[str] | None = None, meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> Any:  # fmt: skip
    """Makes a dataclass a pytree node (also as a decorator), or a class that is made and read like one, whose fields are given.

    Args:
        data_fields: names of the fields that hold arrays or pytrees; default: all but those whose
            ``dataclasses.field(metadata={"static": True})``.
        meta_fields: names of the static, hashable fields.
        drop_fields: names of fields that are not kept: a tree that is put together again has their defaults.

    >>> import dataclasses
    >>> import fx
    >>> @fx.tree.register_dataclass
    ... @dataclasses.dataclass
    ... class Line:
    ...     slope: float
    ...     shift: float
    ...     name: str = dataclasses.field(default="line", metadata={"static": True})
    >>> fx.grad(lambda line: line.slope * 3.0 + line.shift)(Line(2.0, 1.0)).slope
    Array(3., dtype=float32, weak_type=True)
    """
    cls: Any = nodetype
    if not hasattr(cls, "__dataclass_fields__") and (data_fields is None or meta_fields is None):
        raise TreeTypeError(
            f"register_dataclass needs a dataclass, or data_fields and meta_fields; {cls!r} is no dataclass. Write @dataclass below it."
        )
    own = dataclasses.fields(cls) if hasattr(cls, "__dataclass_fields__") else ()
    init = [f for f in own if f.init and f.name not in drop_fields]
    meta = tuple(meta_fields) if meta_fields is not None else tuple(f.name for f in init if f.metadata.get("static"))
    data = tuple(data_fields) if data_fields is not None else tuple(f.name for f in init if f.name not in meta)
    if own and {*data, *meta} != {f.name for f in init}:
        raise TreeError(
            f"data_fields {data} and meta_fields {meta} must together be the fields of {nodetype.__name__}:"
            f" {tuple(f.name for f in init)}"
        )

    def flat(x: Any) -> tuple[list[Any], Hashable]:
        return [getattr(x, n) for n in data], tuple(getattr(x, n) for n in meta)

    def unflat(aux: Any, children: Iterable[Any]) -> Any:
        return cls(**dict(zip(data, children, strict=True)), **dict(zip(meta, aux, strict=True)))

    register_pytree_with_keys(cls, lambda x: ([(GetAttrKey(n), getattr(x, n)) for n in data], flat(x)[1]), unflat, flat)
    name_children(cls, lambda: data)
    return cls


@user_frames
def register_static(cls: Any) -> Any:
    """Class decorator: instances are nodes without children; they must be hashable."""
    register_pytree_node(cls, lambda x: ((), x), lambda aux, _: aux)
    return cls


def flatten_one_level(tree: Any) -> tuple[list[Any], Hashable]:
    """The children of a node, and its static data.

    Raises:
        TreeError: it is a leaf.
    """
    node = node_of_value(tree)
    if node is None:
        raise TreeError(f"a {type(tree).__name__} is a leaf; it has no children")
    children, aux = node.flatten(tree)
    return list(children), aux


def flatten_one_level_with_keys(tree: Any) -> tuple[list[tuple[Any, Any]], Hashable]:
    """The children of a node with the key of each, and its static data."""
    children, aux = flatten_one_level(tree)
    node = node_of_value(tree)
    assert node is not None, "flatten_one_level has raised for a leaf"
    return list(zip(node.keys(tree), children)), aux


def is_tree_node(typ: type) -> bool:
    """True if values of the type are nodes."""
    return typ in registry or (isinstance(typ, type) and issubclass(typ, tuple) and hasattr(typ, "_fields"))


def check_finite(tree: Any, is_leaf: Callable[[Any], bool] | None) -> None:
    """Looks for the cause of a RecursionError.

    Raises:
        TreeError: ``tree`` contains itself, naming where.
    """
    above: dict[int, bool] = {}  # the nodes met so far: whether they are on the way from the root to this one
    met: list[Any] = []  # ... kept, so that no other node gets the identity of one
    todo: list[tuple[Any, Any, bool]] = [(tree, None, False)]  # (node, (way to the parent, key), is finished)
    while todo:
        x, way, done = todo.pop()
        node = node_of_value(x)
        if done:
            above[id(x)] = False
        elif node is not None and not (is_leaf is not None and is_leaf(x)):
            if above.get(id(x)):
                path: list[Any] = []
                while way is not None:
                    way, key = way
                    path.insert(0, key)
                raise TreeError(
                    f"a pytree contains itself: at {keystr(tuple(path))} stands a {type(x).__name__} in which it stands itself."
                    " Take the reference out, or keep it as static data (register_static, a static field of a dataclass)."
                )
            if id(x) not in above:
                above[id(x)] = True
                met.append(x)
                todo.append((x, None, True))
                todo += [(c, (way, k), False) for k, c in zip(node.keys(x), node.flatten(x)[0])]
