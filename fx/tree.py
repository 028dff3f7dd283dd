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

import collections
import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from .errors import RegistryError, TreeError
from .traceback import shorten

__all__ = [
    "DictKey", "FlattenedIndexKey", "GetAttrKey", "Partial", "SequenceKey", "TreeDef", "all_leaves", "flatten",
    "flatten_with_path", "keystr", "leaves", "leaves_with_path", "map", "map_with_path", "reduce",
    "register_dataclass", "register_pytree_node", "register_pytree_node_class", "register_pytree_with_keys",
    "register_static", "structure", "transpose", "unflatten", "all", "broadcast", "broadcast_prefix", "flatten_up_to",
    "reduce_associative", "static",
]  # fmt: skip

_all = all


# ------------------------------------------------------------------------------------- key paths


@dataclasses.dataclass(frozen=True)
class SequenceKey:
    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"


@dataclasses.dataclass(frozen=True)
class DictKey:
    key: Hashable

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclasses.dataclass(frozen=True)
class GetAttrKey:
    name: str

    def __str__(self) -> str:
        return f".{self.name}"


@dataclasses.dataclass(frozen=True)
class FlattenedIndexKey:
    key: int

    def __str__(self) -> str:
        return f"[<flat index {self.key}>]"


KeyPath = tuple[Any, ...]


def keystr(path: KeyPath, *, simple: bool = False, separator: str = "") -> str:
    """A key path as Python would write it: ``['layers'][0].w``; ``simple``: the bare keys joined by ``separator``."""
    if simple:
        return separator.join(str(next(iter(dataclasses.asdict(k).values()), k)) for k in path)
    return separator.join(str(k) for k in path)


# -------------------------------------------------------------------------------------- registry


class _Node(NamedTuple):
    """How a container type comes apart: ``flatten(x) -> (children, aux)``, ``unflatten(aux, children) -> x``,
    ``keys(x) -> key of each child``."""

    flatten: Callable[[Any], tuple[Iterable[Any], Hashable]]
    unflatten: Callable[[Any, Any], Any]
    keys: Callable[[Any], Iterable[Any]]


def _sorted_keys(d: dict[Any, Any]) -> tuple[Any, ...]:
    try:
        return tuple(sorted(d))
    except TypeError:
        raise TreeError(f"the keys of a dict in a pytree must be sortable; found {list(d)!r}") from None


def _flatten_dict(d: dict[Any, Any]) -> tuple[list[Any], Hashable]:
    keys = _sorted_keys(d)
    return [d[k] for k in keys], keys


_registry: dict[type, _Node] = {
    tuple: _Node(lambda x: (x, None), lambda _, c: tuple(c), lambda x: [SequenceKey(i) for i in range(len(x))]),
    list: _Node(lambda x: (x, None), lambda _, c: list(c), lambda x: [SequenceKey(i) for i in range(len(x))]),
    dict: _Node(
        _flatten_dict, lambda keys, c: dict(zip(keys, c, strict=True)), lambda x: [DictKey(k) for k in _sorted_keys(x)]
    ),
    collections.OrderedDict: _Node(
        lambda x: (list(x.values()), tuple(x)),
        lambda keys, c: collections.OrderedDict(zip(keys, c, strict=True)),
        lambda x: [DictKey(k) for k in x],
    ),
    collections.defaultdict: _Node(
        lambda x: ([x[k] for k in _sorted_keys(x)], (x.default_factory, _sorted_keys(x))),
        lambda aux, c: collections.defaultdict(aux[0], zip(aux[1], c, strict=True)),
        lambda x: [DictKey(k) for k in _sorted_keys(x)],
    ),
    type(None): _Node(lambda x: ((), None), lambda _, c: None, lambda x: ()),
}


@functools.cache
def _namedtuple_node(cls: type) -> _Node:
    fields = cls._fields  # type: ignore[attr-defined]
    return _Node(lambda x: (x, None), lambda _, c: cls(*c), lambda x: [GetAttrKey(f) for f in fields])


_nodes: dict[type, _Node | None] = {}  # what was found for a type, until another type is registered


def _node_of(x: Any) -> _Node | None:
    cls = type(x)
    try:
        return _nodes[cls]
    except KeyError:
        node = _registry.get(cls)
        node = _namedtuple_node(cls) if node is None and is_namedtuple(cls) else node  # type: ignore[arg-type]
        if len(_nodes) > 1000:
            _nodes.clear()
        _nodes[cls] = node
        return node


def is_namedtuple(cls: type) -> bool:
    """Whether instances come apart as named tuples do."""
    return cls not in _registry and issubclass(cls, tuple) and hasattr(cls, "_fields")


def register_pytree_node(
    nodetype: type,
    flatten_func: Callable[[Any], tuple[Iterable[Any], Hashable]],
    unflatten_func: Callable[[Any, Any], Any],
    flatten_with_keys_func: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Hashable]] | None = None,
) -> None:
    """Makes ``nodetype`` a pytree node.

    Args:
        flatten_func: ``x -> (children, aux)``; ``aux`` is hashable and comparable.
        unflatten_func: ``(aux, children) -> x``.
        flatten_with_keys_func: ``x -> ([(key, child)...], aux)``, for key paths.

    Raises:
        RegistryError: if the type is registered already.
    """
    if nodetype in _registry:
        raise RegistryError(f"{nodetype.__name__} is registered as a pytree node already")

    def keys(x: Any) -> Iterable[Any]:
        if flatten_with_keys_func is not None:
            return [k for k, _ in flatten_with_keys_func(x)[0]]
        return [FlattenedIndexKey(i) for i, _ in enumerate(flatten_func(x)[0])]

    _registry[nodetype] = _Node(flatten_func, unflatten_func, keys)
    _nodes.clear()


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


def register_pytree_node_class(cls: Any) -> Any:
    """Class decorator: the class has ``tree_flatten(self)`` and the classmethod ``tree_unflatten(aux, children)``."""
    register_pytree_node(cls, lambda x: x.tree_flatten(), lambda aux, c: cls.tree_unflatten(aux, c))
    return cls


_whole: set[type] = set()


def register_whole(cls: type) -> None:
    """Makes ``map`` and ``map_with_path`` hand nodes of a type over whole, as leaves (arrays of keys are such nodes)."""
    _whole.add(cls)


def _with_whole(is_leaf: IsLeaf | None) -> IsLeaf | None:
    if not _whole:
        return is_leaf
    if is_leaf is None:
        return lambda x: type(x) in _whole
    return lambda x: type(x) in _whole or is_leaf(x)


def register_dataclass(
    nodetype: Any, data_fields: Sequence[str] | None = None, meta_fields: Sequence[str] | None = None
) -> Any:
    """Makes a dataclass a pytree node (also as a decorator).

    Args:
        data_fields: names of the fields that hold arrays or pytrees; default: all but those whose
            ``dataclasses.field(metadata={"static": True})``.
        meta_fields: names of the static, hashable fields.
    """
    cls: Any = nodetype
    if not hasattr(cls, "__dataclass_fields__"):
        raise TreeError(f"register_dataclass needs a dataclass; {cls!r} is none. Write @dataclass below it.")
    init = [f for f in dataclasses.fields(cls) if f.init]
    meta = tuple(meta_fields) if meta_fields is not None else tuple(f.name for f in init if f.metadata.get("static"))
    data = tuple(data_fields) if data_fields is not None else tuple(f.name for f in init if f.name not in meta)
    if {*data, *meta} != {f.name for f in init}:
        raise TreeError(
            f"data_fields {data} and meta_fields {meta} must together be the fields of {nodetype.__name__}:"
            f" {tuple(f.name for f in init)}"
        )

    def flat(x: Any) -> tuple[list[Any], Hashable]:
        return [getattr(x, n) for n in data], tuple(getattr(x, n) for n in meta)

    def unflat(aux: Any, children: Iterable[Any]) -> Any:
        return cls(**dict(zip(data, children, strict=True)), **dict(zip(meta, aux, strict=True)))

    register_pytree_with_keys(cls, lambda x: ([(GetAttrKey(n), getattr(x, n)) for n in data], flat(x)[1]), unflat, flat)
    return cls


def register_static(cls: Any) -> Any:
    """Class decorator: instances are nodes without children; they must be hashable."""
    register_pytree_node(cls, lambda x: ((), x), lambda aux, _: aux)
    return cls


# --------------------------------------------------------------------------------------- treedef


_NUMBERS = (bool, int, float, complex)


def same_aux(a: Any, b: Any) -> bool:
    """Equality that tells apart the numbers that Python calls equal (1, 1.0, True; 0.0, -0.0): static data is part of
    the programs that jit keeps."""
    if type(a) is tuple and type(b) is tuple:
        return len(a) == len(b) and _all(same_aux(x, y) for x, y in zip(a, b))
    if type(a) in _NUMBERS and type(b) in _NUMBERS:
        return type(a) is type(b) and (a is b or repr(a) == repr(b))
    return bool(a == b)


class TreeDef:
    """The structure of a pytree without its leaves.  Hashable; equal structures compare equal."""

    __slots__ = ("_hash", "aux", "children", "kind", "num_leaves")

    def __init__(self, kind: type | None, aux: Any, children: tuple[TreeDef, ...]) -> None:
        self.kind = kind
        self.aux = aux
        self.children = children
        self.num_leaves = 1 if kind is None else 0
        for c in children:
            self.num_leaves += c.num_leaves
        self._hash: int | None = None

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self.kind, self.aux, self.children))
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, TreeDef):
            return NotImplemented
        if self.kind is not other.kind:
            return False
        if self.aux is not None and self.kind is not dict and not same_aux(self.aux, other.aux):
            return False
        return bool(self.aux == other.aux) and self.children == other.children

    def __str__(self) -> str:
        text = str(unflatten(self, ["*"] * self.num_leaves)) if self.kind is not None else "*"
        return text.replace("'*'", "*")

    def __repr__(self) -> str:
        return f"TreeDef({self})"

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        return unflatten(self, leaves)


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
        node = _nodes[kind]
    except KeyError:
        node = _node_of(x)
    if node is None or (is_leaf is not None and is_leaf(x)):
        out.append(x)
        return LEAF
    children, aux = (x, None) if kind is tuple or kind is list else node.flatten(x)
    below = [_flatten(c, out, is_leaf) for c in children]
    return _ONE if kind is tuple and len(below) == 1 and below[0] is LEAF else TreeDef(kind, aux, tuple(below))


def flatten_arguments(args: tuple[Any, ...]) -> tuple[list[Any], TreeDef]:
    """``flatten((args, {}))``, for a tuple of arguments."""
    if len(args) == 1 and args[0] is not None and _nodes.get(type(args[0]), LEAF) is None:  # the common case: one array
        return list(args), ONE_ARGUMENT
    leaves: list[Any] = []
    positional = _flatten(args, leaves, None)
    return leaves, TreeDef(tuple, None, (positional, _NO_KEYWORDS))


def flatten(tree: Any, is_leaf: IsLeaf | None = None) -> tuple[list[Any], TreeDef]:
    """The leaves of ``tree``, left to right, and its structure."""
    out: list[Any] = []
    return out, _flatten(tree, out, is_leaf)


def _unflatten(d: TreeDef, it: Iterator[Any]) -> Any:
    if d.kind is None:
        return next(it)
    if d.kind is type(None):
        return None
    if d is _ONE:
        return (next(it),)
    children = [_unflatten(c, it) for c in d.children]
    return tuple(children) if d.kind is tuple else node_of(d).unflatten(d.aux, children)


def node_of(d: TreeDef) -> _Node:
    """How the outermost container of a structure comes apart and together."""
    assert d.kind is not None
    return _registry.get(d.kind) or _namedtuple_node(d.kind)


def unflatten(treedef: TreeDef, leaves: Iterable[Any]) -> Any:
    """The inverse of ``flatten``.

    Raises:
        TreeError: if the number of leaves is not that of the structure.
    """
    leaves = list(leaves)
    if len(leaves) == 1 and treedef is LEAF:
        return leaves[0]
    if len(leaves) != treedef.num_leaves:
        raise TreeError(f"the structure {treedef} has {treedef.num_leaves} leaves; {len(leaves)} were given")
    return _unflatten(treedef, iter(leaves))


def leaves(tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of ``tree``, left to right."""
    return flatten(tree, is_leaf)[0]


def structure(tree: Any, is_leaf: IsLeaf | None = None) -> TreeDef:
    """The structure of ``tree``."""
    return flatten(tree, is_leaf)[1]


def all_leaves(iterable: Iterable[Any], is_leaf: IsLeaf | None = None) -> bool:
    """True if no element is a container."""
    return _all(_node_of(x) is None or (is_leaf is not None and is_leaf(x)) for x in iterable)


def flatten_up_to(treedef: TreeDef, tree: Any, what: str = "tree") -> list[Any]:
    """The subtrees of ``tree`` that stand where ``treedef`` has leaves.

    Raises:
        TreeError: naming the place where the two structures part.
    """
    return list(_flatten_up_to(treedef, tree, what, ()))


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
    node = _node_of(x)
    assert node is not None
    children, aux = node.flatten(x)
    children = list(children)
    if aux != d.aux or len(children) != len(d.children):
        found = aux if aux is not None else f"{len(children)} children"
        want = d.aux if d.aux is not None else f"{len(d.children)} children"
        raise TreeError(f"{what}{where}: a {d.kind.__name__} with {want} expected, found {found}")
    for c, child, key in zip(d.children, children, node.keys(x)):
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


_map = map


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


def reduce(f: Callable[[Any, Any], Any], tree: Any, initializer: Any = ..., is_leaf: IsLeaf | None = None) -> Any:
    """``functools.reduce`` over the leaves."""
    xs = leaves(tree, is_leaf)
    return functools.reduce(f, xs) if initializer is ... else functools.reduce(f, xs, initializer)


def reduce_associative(
    operation: Callable[[Any, Any], Any], tree: Any, *, identity: Any = ..., is_leaf: IsLeaf | None = None
) -> Any:
    """The leaves combined in pairs, pairs of pairs ...: the depth is the logarithm of their number.

    Raises:
        TypeError: there is no leaf and no ``identity``.
    """
    level = leaves(tree, is_leaf)
    if not level:
        if identity is ...:
            raise TypeError("reduce_associative of a tree without leaves has no value; pass identity=")
        return identity
    while len(level) > 1:
        pairs = [operation(a, b) for a, b in zip(level[::2], level[1::2])]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]


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


def flatten_one_level(tree: Any) -> tuple[list[Any], Hashable]:
    """The children of a node, and its static data.

    Raises:
        TreeError: it is a leaf.
    """
    node = _node_of(tree)
    if node is None:
        raise TreeError(f"a {type(tree).__name__} is a leaf; it has no children")
    children, aux = node.flatten(tree)
    return list(children), aux


def flatten_one_level_with_keys(tree: Any) -> tuple[list[tuple[Any, Any]], Hashable]:
    """The children of a node with the key of each, and its static data."""
    children, aux = flatten_one_level(tree)
    node = _node_of(tree)
    assert node is not None, "flatten_one_level has raised for a leaf"
    return list(zip(node.keys(tree), children)), aux


def is_tree_node(typ: type) -> bool:
    """True if values of the type are nodes."""
    return typ in _registry or (isinstance(typ, type) and issubclass(typ, tuple) and hasattr(typ, "_fields"))


def all(tree: Any, is_leaf: IsLeaf | None = None) -> bool:
    """True if every leaf is true."""
    return _all(leaves(tree, is_leaf))


def transpose(outer: TreeDef, inner: TreeDef, tree: Any) -> Any:
    """Turns a tree of structure outer(inner) inside out.

    >>> transpose(structure([0, 0]), structure({"a": 0, "b": 0}), [{"a": 1, "b": 2}, {"a": 3, "b": 4}])
    {'a': [1, 3], 'b': [2, 4]}
    """
    rows = [flatten_up_to(inner, sub, "tree.transpose") for sub in flatten_up_to(outer, tree, "tree.transpose")]
    return unflatten(inner, [unflatten(outer, column) for column in zip(*rows)])


def leaves_with_path(tree: Any, is_leaf: IsLeaf | None = None) -> list[tuple[KeyPath, Any]]:
    """``(key path, leaf)`` for every leaf."""
    return list(_leaves_with_path(tree, is_leaf, ()))


def _leaves_with_path(x: Any, is_leaf: IsLeaf | None, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    node = _node_of(x)
    if node is None or (is_leaf is not None and is_leaf(x)):
        yield path, x
        return
    for key, child in zip(node.keys(x), node.flatten(x)[0]):
        yield from _leaves_with_path(child, is_leaf, (*path, key))


def flatten_with_path(tree: Any, is_leaf: IsLeaf | None = None) -> tuple[list[tuple[KeyPath, Any]], TreeDef]:
    """``flatten`` with the key path of every leaf."""
    return leaves_with_path(tree, is_leaf), structure(tree, is_leaf)


def map_with_path(f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None) -> Any:
    """``map`` whose function gets the key path first."""
    pairs, d = flatten_with_path(tree, _with_whole(is_leaf))
    others = [flatten_up_to(d, r, f"argument {i + 2} of tree.map_with_path") for i, r in enumerate(rest)]
    return unflatten(d, [f(p, x, *more) for (p, x), *more in zip(pairs, *others)])


# --------------------------------------------------------------------------------------- Partial


class Partial(functools.partial):
    """``functools.partial`` as a pytree: the bound arguments are children, the function is static."""


register_pytree_node(
    Partial,
    lambda p: ((p.args, p.keywords), p.func),
    lambda func, children: Partial(func, *children[0], **children[1]),
)
