"""``fx.tree`` and ``fx.tree_util`` beside JAX's: every function on the same trees, and the mistakes that they name."""

from __future__ import annotations

import collections
import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from surface import NAMESPACES

import fx
import fx.numpy as fnp
from fx import tree, tree_util
from fx.errors import NonHashableStaticError, RegistryError, TreeError


class Point(NamedTuple):
    x: Any
    y: Any


TREES: list[Any] = [
    1, None, (), [], {}, (1, 2), [1, [2, (3,)]], {"b": 1, "a": [2, None]}, Point(1, [2, 3]), {"p": Point({"q": 0}, None)},
    collections.OrderedDict([("z", 1), ("a", 2)]), (1, (2, {"k": (3, None, [4])})),
]  # fmt: skip


@pytest.mark.parametrize("t", TREES, ids=str)
def test_structure_is_jax_s(t: Any) -> None:
    jax = pytest.importorskip("jax")
    leaves, d = tree.flatten(t)
    assert leaves == jax.tree.leaves(t) == tree.leaves(t)
    assert tree.unflatten(d, leaves) == t == d.unflatten(leaves)
    assert tree.map(lambda x: x + 1, t) == jax.tree.map(lambda x: x + 1, t)
    assert tree.map(lambda x, y: (x, y), t, t) == jax.tree.map(lambda x, y: (x, y), t, t)
    pairs, _ = tree.flatten_with_path(t)
    want, _ = jax.tree_util.tree_flatten_with_path(t)
    assert [(tree.keystr(p), x) for p, x in pairs] == [(jax.tree_util.keystr(p), x) for p, x in want]
    for separator in ("/", "."):
        ours = [tree.keystr(p, simple=True, separator=separator) for p, _ in pairs]
        assert ours == [jax.tree_util.keystr(p, simple=True, separator=separator) for p, _ in want]
    with_path = lambda m: m(lambda p, x, y: (len(p), x, y), t, t)  # noqa: E731
    assert with_path(tree.map_with_path) == with_path(jax.tree.map_with_path)
    assert tree.all(t) == jax.tree.all(t)
    assert tree.reduce(lambda a, b: a + b, t, 10) == jax.tree.reduce(lambda a, b: a + b, t, 10)
    assert tree_util.all_leaves([t]) == jax.tree_util.all_leaves([t])
    assert d == tree.structure(t) and hash(d) == hash(tree.structure(t)) and d != 3
    assert repr(d).startswith("TreeDef(")


class Refusing:
    """A node that cannot be made of anything but arrays, cannot be shown, and is equal to all."""

    def __init__(self, x: Any) -> None:
        self.x = x.astype(np.float32)

    def __repr__(self) -> str:
        raise KeyError(self.x.shape)

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Held(NamedTuple):
    x: Any
    static: Any


tree.register_pytree_node(Held, lambda h: ((h.x,), (h.static, None)), lambda aux, c: Held(c[0], aux[0]))
tree.register_pytree_node(Refusing, lambda r: ((r.x,), {"limits": (1, 2)}), lambda _, c: Refusing(*c))
SHOWN = {
    "*": 1,
    "None": None,
    "()": (),
    "[*, (*,), (*, *)]": [1, (2,), (3, 4)],
    "{'*': *, 'b': {}}": {"b": {}, "*": 1},
    "OrderedDict({'z': *, 'a': *})": collections.OrderedDict(z=1, a=2),
    "defaultdict(<class 'list'>, {'a': *})": collections.defaultdict(list, a=1),
    "Point(x=*, y=[*])": Point(1, [2]),
    "Refusing[{'limits': (1, 2)}](*)": Refusing(np.ones(2)),
    "(KeyArray(*), Linear[in_features=2, out_features=1](weight=*, bias=*))": (
        fx.random.key(0), fx.nn.Linear(2, 1, key=fx.random.key(0)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", SHOWN)
def test_structures_are_shown_whatever_their_classes_do(text: str) -> None:
    d = tree.structure(SHOWN[text])
    assert str(d) == text and repr(d) == f"TreeDef({text})"


def test_a_structure_that_cannot_be_made_is_named_in_reasons() -> None:
    f = fx.jit(lambda t: fx.tree.leaves(t)[0] * 2)
    f(np.ones(2)), f(Refusing(np.ones(2)))
    assert "* -> ((Refusing[{'limits': (1, 2)}](*),), {})" in f.explain_misses().replace("((*,), {})", "*")


def test_arrays_may_be_static() -> None:
    """They never change; programs are told apart by their numbers, dtype and weakness.  Those of NumPy's can change."""
    seen = []

    @fx.jit
    def f(r: Any) -> Any:
        seen.append(r.static)
        return r.x * r.static

    statics = [
        fnp.float32(2),
        fnp.float32(2),
        fnp.float32(-0.0),
        fnp.float32(0.0),
        fnp.asarray(2.0),
        fnp.arange(2),
        fnp.arange(2),
    ]
    for s in [*statics, *statics]:
        found, want = f(Held(fnp.ones(2), s)), fnp.ones(2) * s
        assert (found.dtype, found.weak_type) == (want.dtype, want.weak_type)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(want))
        np.testing.assert_array_equal(found, want)
    assert len(seen) == 5 and tree.structure(Held(1, statics[5])) == tree.structure(Held(1, statics[6]))
    assert tree.structure(Held(1, statics[5])) != tree.structure(Held(1, 3))
    with pytest.raises(NonHashableStaticError, match="static data that is not hashable"):
        f(Held(fnp.ones(2), np.ones(2)))


class Limits:
    """Static data that can be compared and has no hash."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, *numbers: float) -> None:
        self.numbers = list(numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Limits) and self.numbers == other.numbers


@dataclasses.dataclass(frozen=True)
class Listed:
    """Static data that holds a list."""

    numbers: list[float]


def test_static_data_without_a_hash_is_told_apart_by_its_equality() -> None:
    seen = []

    @fx.jit
    def f(r: Any) -> Any:
        seen.append(1)
        return r.x * (r.static["limits"] if isinstance(r.static, dict) else r.static[0]).numbers[0]

    for k in (1, 2, 1, 2):
        for wrapped in (lambda s: (s, 5), lambda s: {"limits": s}):
            np.testing.assert_array_equal(f(Held(np.ones(2), wrapped(Limits(k, 3)))), np.full(2, k))
    assert len(seen) == 4
    listed = Listed([2.0])
    np.testing.assert_array_equal(f(Held(np.ones(2), (listed, 5))), [2, 2])
    listed.numbers[0] = 3.0  # seen: what it holds is asked for with every call
    for _ in range(3):
        np.testing.assert_array_equal(f(Held(np.ones(2), (listed, 5))), [3, 3])
    a, b, c = (tree.structure(Held(1, [Limits(k)])) for k in (1, 1, 2))
    assert a == b != c and hash(a) == hash(b) and len({a, b, c}) == 2


def test_transpose_turns_rows_into_columns() -> None:
    outer, inner = tree.structure([0, 0]), tree.structure({"a": 0, "b": 0})
    assert tree.transpose(outer, inner, [{"a": 1, "b": 2}, {"a": 3, "b": 4}]) == {"a": [1, 3], "b": [2, 4]}


def test_static_nodes_and_dataclasses() -> None:
    @tree_util.register_static
    class Mode(str):
        pass

    @tree_util.register_dataclass
    @dataclasses.dataclass
    class Layer:
        w: Any
        name: str = dataclasses.field(metadata={"static": True}, default="dense")

    layer = Layer(2.0, "first")
    assert tree.leaves([Mode("train"), layer]) == [2.0]
    assert tree.map(lambda x: x * 2, layer) == Layer(4.0, "first")
    assert fx.jit(lambda p, mode: p.w + (1 if mode == "train" else 0))(layer, Mode("train")) == 3
    assert fx.grad(lambda p: p.w**2)(layer).w == 4
    assert fx.grad(lambda p: p.w**2)(layer).name == "first"


class Keyed:
    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b


tree_util.register_pytree_with_keys(
    Keyed,
    lambda k: (((tree_util.GetAttrKey("a"), k.a), (tree_util.GetAttrKey("b"), k.b)), None),
    lambda _, children: Keyed(*children),
)


def test_nodes_that_name_their_children() -> None:
    pairs, _ = tree.flatten_with_path({"k": Keyed(1, [2])})
    assert [(tree.keystr(p), x) for p, x in pairs] == [("['k'].a", 1), ("['k'].b[0]", 2)]
    assert tree.map(lambda x: -x, Keyed(1, 2)).b == -2


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "keys": (lambda: tree.flatten({1: 0, "a": 0}), "keys of a dict .* sortable"),
    "not a dataclass": (lambda: tree_util.register_dataclass(int), "needs a dataclass"),
    "fields": (
        lambda: tree_util.register_dataclass(
            dataclasses.make_dataclass("D", ["a", "b"]), data_fields=["a"], meta_fields=[]
        ),
        r"must together be the fields of D",
    ),
    "structures": (
        lambda: tree.map(lambda a, b: a, {"a": [1, 2]}, {"a": (1, 2)}),
        r"\['a'\] should be a list, found tuple",
    ),
    "lengths": (lambda: tree.map(lambda a, b: a, [1, 2], [1, 2, 3]), "2.*3"),
    "names": (lambda: tree.map(lambda a, b: a, {"a": 1}, {"b": 1}), "'a'"),
    "too few leaves": (lambda: tree.unflatten(tree.structure((1, 2)), [1]), "1.*2|2.*1"),
    "a leaf is no node": (lambda: tree.flatten_one_level(3), "a int is a leaf; it has no children"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name: str) -> None:
    action, message = MISTAKES[name]
    with pytest.raises(TreeError, match=message):
        action()


def test_a_type_is_registered_once() -> None:
    with pytest.raises(RegistryError, match="Keyed is registered as a pytree node already"):
        tree_util.register_pytree_node(Keyed, lambda x: ((), None), lambda a, c: None)


def test_a_tree_that_contains_itself() -> None:
    """Tried where it is flattened, with key paths and without, alone and as an argument."""
    inside: list[Any] = [1, 2]
    inside.append({"up": inside})
    for f in (tree.leaves, tree.leaves_with_path, fx.jit(lambda t: 1), fx.grad(lambda t: 1.0), tree.structure):
        with pytest.raises(TreeError, match=r"contains itself: at .*\[2\]\['up'\] stands a list"):
            f(inside)
    twice = [3]
    assert tree.leaves([twice, (twice, twice)]) == [3, 3, 3]
    deep: Any = 1
    for _ in range(20_000):
        deep = [deep, deep]
    with pytest.raises(RecursionError):
        tree.leaves(deep)


# -------------------------------------------------------------------------- every function beside JAX's

T: dict[str, Any] = {"b": [1, (2, None)], "a": (3, {"d": 4, "c": 5})}
ZEROS: dict[str, Any] = {"b": [0, (0, None)], "a": (0, {"d": 0, "c": 0})}
ORDERED = collections.OrderedDict([("z", 1), ("y", [2])])
DEFAULT = collections.defaultdict(list, {"q": 1, "p": [2, 3]})
LISTS: Callable[[Any], bool] = lambda x: isinstance(x, list)  # noqa: E731
NONES: Callable[[Any], bool] = lambda x: x is None  # noqa: E731
SHORT: Callable[..., bool] = lambda path, x: len(path) == 1  # noqa: E731
ADD = operator.add

# name -> calls f(function, jax.tree_util or ours); the functions of ``tree`` stand in ``tree_util`` as ``tree_...`` too
TREE: dict[str, list[Callable[..., Any]]] = {
    "all": [lambda f, u, t=t: f(t) for t in ([True, 1], [True, [0]], [], None, {"a": ""})] + [lambda f, u: f([[], [0]], is_leaf=LISTS), lambda f, u: f([1], LISTS)],
    "broadcast": [lambda f, u: f({"a": 5, "b": 6}, T), lambda f, u: f(7, T), lambda f, u: f((1, None), ([0, 0], None)), lambda f, u: f((1, 2, 3), (1, 2)), lambda f, u: f([1, 2], (1, 2)), lambda f, u: f({"a": 1}, {"b": 1}), lambda f, u: f((None, 2), (3, [4, 5]), is_leaf=NONES)],
    "flatten": [lambda f, u, t=t: f(t) for t in (T, ORDERED, DEFAULT, 3, None, (), [[]], {1: 0, "a": 0}, {2: 0, 1: 9})] + [lambda f, u: f(T, LISTS), lambda f, u: f([1, None], is_leaf=NONES)],
    "flatten_with_path": [lambda f, u, t=t: f(t) for t in (T, ORDERED, DEFAULT, 3, None, (1,))] + [lambda f, u: f(T, LISTS), lambda f, u: f(T, is_leaf=SHORT, is_leaf_takes_path=True)],
    "leaves": [lambda f, u, t=t: f(t) for t in (T, ORDERED, DEFAULT, 3, None, "text")] + [lambda f, u: f(T, is_leaf=LISTS)],
    "leaves_with_path": [lambda f, u, t=t: f(t) for t in (T, ORDERED, DEFAULT, 3, None)] + [lambda f, u: f(T, LISTS), lambda f, u: f(T, is_leaf=SHORT, is_leaf_takes_path=True)],
    "map": [
        lambda f, u: f(lambda x: x + 1, T), lambda f, u: f(ADD, T, T), lambda f, u: f(lambda x, y: (x, y), (1, 2), ([3], {"a": 4})), lambda f, u: f(str, ORDERED),
        lambda f, u: f(str, DEFAULT), lambda f, u: f(len, [[1], (2,)], is_leaf=LISTS), lambda f, u: f(lambda x: x is None, [None, 1], is_leaf=NONES),
        lambda f, u: f(ADD, [1, 2], [1, 2, 3]), lambda f, u: f(ADD, (1, 2), [1, 2]), lambda f, u: f(ADD, {"a": 1}, {"b": 1}), lambda f, u: f(ADD, [1], 2),
        lambda f, u: f(ADD, 1, [1]), lambda f, u: f(ADD, None, 1), lambda f, u: f(ADD, ORDERED, dict(ORDERED)), lambda f, u: f(3, [1]), lambda f, u: f(ADD, [1]),
    ],
    "map_with_path": [
        lambda f, u: f(lambda p, x: (u.keystr(p), x), T), lambda f, u: f(lambda p, x, y: x + y, T, T), lambda f, u: f(lambda p, x: len(p), T, is_leaf=LISTS),
        lambda f, u: f(lambda p, x: x, T, is_leaf=SHORT, is_leaf_takes_path=True), lambda f, u: f(lambda p, x, y: x, [1], (1,)),
    ],
    "reduce": [lambda f, u: f(max, T), lambda f, u: f(function=ADD, tree=T, initializer=10), lambda f, u: f(ADD, []), lambda f, u: f(ADD, [], 1), lambda f, u: f(ADD, [[1], [2]], is_leaf=LISTS)],
    "reduce_associative": [lambda f, u: f(lambda a, b: f"({a}{b})", list("abcde")), lambda f, u: f(ADD, [], identity=7), lambda f, u: f(ADD, []), lambda f, u: f(ADD, [3]), lambda f, u: f(ADD, [[1], [2]], is_leaf=LISTS)],
    "structure": [lambda f, u, t=t: f(t) for t in (T, 3, None, (), [1, None])] + [lambda f, u: f(T, LISTS), lambda f, u: f(T) == f(ZEROS), lambda f, u: f(T) == f([1]), lambda f, u: hash(f(T)) == hash(f(ZEROS))],
    "transpose": [
        lambda f, u: f(u.tree_structure([0, 0]), u.tree_structure({"a": 0, "b": (0, 0)}), [{"a": 1, "b": (2, 3)}, {"a": 4, "b": (5, 6)}]),
        lambda f, u: f(outer_treedef=u.tree_structure([0, 0]), inner_treedef=None, pytree_to_transpose=[(1, 2), (3, 4)]),
        lambda f, u: f(u.tree_structure([0, 0]), u.tree_structure((0, 0)), [1, 2]), lambda f, u: f(u.tree_structure([0, 0]), None, [(1, 2), (3, 4, 5)]),
    ],
    "unflatten": [lambda f, u: f(u.tree_structure(T), iter(range(5))), lambda f, u: f(u.tree_structure(T), range(4)), lambda f, u: f(u.tree_structure(T), range(6)), lambda f, u: f(u.tree_structure(ORDERED), [[7], 8]), lambda f, u: f(u.tree_structure(DEFAULT), "abc")],
}  # fmt: skip
STRUCTURES = [3, None, (), T, [1, (2, None)], ORDERED, DEFAULT]


def _nodes(u: Any) -> Any:
    """Types registered in each of the ways, and values of them."""

    @dataclasses.dataclass
    class Data:
        a: Any
        b: Any
        c: Any = 9

    class Node:
        def __init__(self, *parts: Any) -> None:
            self.parts = parts

        def tree_flatten(self) -> Any:
            return self.parts, len(self.parts)

        def tree_flatten_with_keys(self) -> Any:
            return [(u.GetAttrKey(f"p{i}"), p) for i, p in enumerate(self.parts)], len(self.parts)

        @classmethod
        def tree_unflatten(cls, aux: Any, children: Any) -> Any:
            return cls(*children)

    class Named(Node):
        pass

    class Plain(Node):
        pass

    class Keyed(Node):
        pass

    class Fixed(str):
        __slots__ = ()

    @dataclasses.dataclass
    class Other:
        a: Any
        b: Any = dataclasses.field(metadata={"static": True}, default=1)

    return Data, Node, Named, Plain, Keyed, Fixed, Other


def _looked_at(u: Any, x: Any) -> Any:
    doubled = u.tree_map(lambda v: 2 * v, x)
    return (
        u.tree_leaves(x),
        u.tree_leaves_with_path(x),
        getattr(doubled, "parts", None) or vars(doubled),
        u.is_tree_node(type(x)),
    )


def _registered(name: str) -> Callable[..., Any]:
    def program(f: Any, u: Any) -> Any:
        Data, Node, Named, Plain, Keyed, Fixed, Other = _nodes(u)  # noqa: N806
        if name == "register_dataclass":
            f(Data, data_fields=["b"], meta_fields=["a"], drop_fields=["c"])
            f(Other)
            return _looked_at(u, Data(1, [2, 3], 4)), _looked_at(u, Other(5))
        if name == "register_pytree_node_class":
            return f(Node) is Node, _looked_at(u, Node(1, (2,)))
        if name == "register_pytree_with_keys_class":
            return f(Named) is Named, _looked_at(u, Named(1, (2,)))
        if name == "register_pytree_node":
            f(Plain, lambda x: x.tree_flatten(), lambda aux, c: Plain(*c))
            return _looked_at(u, Plain([1], 2))
        if name == "register_pytree_with_keys":
            f(Keyed, lambda x: x.tree_flatten_with_keys(), lambda aux, c: Keyed(*c))
            return _looked_at(u, Keyed([1], 2))
        return (
            f(Fixed) is Fixed,
            u.tree_leaves([Fixed("a"), 1]),
            u.tree_structure(Fixed("a")) == u.tree_structure(Fixed("b")),
        )

    return program


PARTIAL: Callable[..., Any] = lambda *a, **k: (a, sorted(k.items()))  # noqa: E731
TREE_UTIL: dict[str, list[Callable[..., Any]]] = {
    **{n: [lambda f, u: (str(f("a")), f("a"), f("a") == f("a"), f("a") == f("b"), hash(f("a")) == hash(f("a")))] for n in ("DictKey", "GetAttrKey")},
    **{n: [lambda f, u: (str(f(1)), f(1), f(1) == f(1), f(1) == f(2))] for n in ("SequenceKey", "FlattenedIndexKey")},
    "Partial": [
        lambda f, u: (u.tree_leaves(f(PARTIAL, 1, z=3)), u.tree_leaves_with_path(f(PARTIAL, 1, z=3)), f(PARTIAL, 1, z=3)(2), u.tree_map(lambda x: -x, f(PARTIAL, 1))(2)),
        lambda f, u: (u.tree_leaves(f(functools.partial(PARTIAL, 1), 2)), f(functools.partial(PARTIAL, 1), 2)(3), f(functools.partial(PARTIAL, k=1), k=2)()),
        lambda f, u: (u.tree_leaves(f(f(PARTIAL, 1), 2)), f(f(PARTIAL, 1), 2)(3)), lambda f, u: u.tree_structure(f(PARTIAL, 1)) == u.tree_structure(f(PARTIAL, 2)),
    ],
    "all_leaves": [lambda f, u, t=t: f(t) for t in ([1, 2], [1, [2]], [None], [], [(), 1])] + [lambda f, u: f([1, None], is_leaf=NONES), lambda f, u: f([(1,), 2], lambda x: isinstance(x, tuple)), lambda f, u: f([(1,), {}], lambda x: isinstance(x, tuple))],
    "flatten_one_level": [lambda f, u, t=t: (lambda children, data: (list(children), data))(*f(t)) for t in (T, [1, [2]], (), None, ORDERED, 3)],
    "flatten_one_level_with_keys": [lambda f, u, t=t: (lambda children, data: (list(children), data))(*f(t)) for t in (T, [1, [2]], (), ORDERED, 3)],
    "is_tree_node": [lambda f, u, t=t: f(t) for t in (dict, list, tuple, type(None), Point, int, str, collections.OrderedDict, collections.defaultdict)],
    "keystr": [lambda f, u: [f(p) for p, _ in u.tree_leaves_with_path(T)], lambda f, u: [f(keys=p, simple=True, separator="/") for p, _ in u.tree_leaves_with_path([T, Point(1, 2)])], lambda f, u: f(()), lambda f, u: f((u.FlattenedIndexKey(3),), simple=True)],
    **{n: [_registered(n)] for n in ("register_dataclass", "register_pytree_node", "register_pytree_node_class", "register_pytree_with_keys", "register_pytree_with_keys_class", "register_static")},
    "treedef_children": [lambda f, u, t=t: f(u.tree_structure(t)) for t in STRUCTURES],
    "treedef_is_leaf": [lambda f, u, t=t: f(u.tree_structure(t)) for t in STRUCTURES],
    "treedef_tuple": [lambda f, u: f([u.tree_structure(t) for t in (3, None, [1, 2])]), lambda f, u: f([]), lambda f, u: f([u.tree_structure(3)]) == u.tree_structure((3,))],
}  # fmt: skip
TREE_UTIL["PyTreeDef"] = [
    lambda f, u, t=t: (lambda d: (isinstance(d, f), d.num_leaves, d.num_nodes, d.node_data(), d.children(), u.treedef_children(d), d.unflatten(range(d.num_leaves)), d.compose(u.tree_structure((0, 0))), d.flatten_up_to(t)))(u.tree_structure(t))
    for t in STRUCTURES
] + [lambda f, u: u.tree_structure([0, 0]).flatten_up_to([(1, 2), None]), lambda f, u: u.tree_structure([0, 0]).flatten_up_to((1, 2))]  # fmt: skip
REGISTRATIONS: dict[str, Callable[..., Any]] = {
    "a list": lambda u: u.register_pytree_node(list, lambda x: (x, None), lambda a, c: list(c)),
    "no dataclass": lambda u: u.register_dataclass(int),
    "another field": lambda u: u.register_dataclass(dataclasses.make_dataclass("D", ["a", "b"]), data_fields=["a"], meta_fields=["c"]),
    "a field too few": lambda u: u.register_dataclass(dataclasses.make_dataclass("D", ["a", "b"]), data_fields=["a"], meta_fields=[]),
}  # fmt: skip
DECORATORS = {"static": "a field of a dataclass: test_the_dataclass_decorators"}
TYPES = {"KeyEntry": "for annotations", "KeyPath": "for annotations", "default_registry": "in test_jax_programs"}
PROGRAMS = [
    *[("tree", n, n) for n in TREE],
    *[("tree_util", f"tree_{n}", n) for n in TREE],
    *[("tree_util", n, n) for n in TREE_UTIL],
]


def normal_form(x: Any) -> Any:
    """What two libraries can be compared by: structures by a tree of them, keys by their kind and text, dicts in their order."""
    kind = type(x).__name__
    if "TreeDef" in kind:
        return "structure", x.num_nodes, normal_form(x.unflatten(["*"] * x.num_leaves))
    if kind.endswith("Key"):
        return kind, str(x)
    if isinstance(x, dict):
        return kind, [(k, normal_form(v)) for k, v in x.items()]
    if isinstance(x, (list, tuple)):
        return kind, [normal_form(v) for v in x]
    return x


def outcome(f: Callable[[], Any]) -> Any:
    try:
        return normal_form(f())
    except Exception as e:
        return e


def assert_same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), f"JAX raises {theirs!r}, ours is {ours!r}"
    else:
        assert ours == theirs


@pytest.mark.parametrize(("space", "name", "key"), PROGRAMS, ids=[f"{s}.{n}" for s, n, _ in PROGRAMS])
def test_every_function_is_jax_s(space: str, name: str, key: str) -> None:
    jax = pytest.importorskip("jax")
    for program in TREE_UTIL.get(key) or TREE[key]:
        ours, theirs = (outcome(lambda lib=lib: program(getattr(getattr(lib, space), name), lib.tree_util)) for lib in (fx, jax))  # fmt: skip
        assert_same(ours, theirs)


@pytest.mark.parametrize("name", REGISTRATIONS)
def test_registrations_that_are_refused(name: str) -> None:
    jax = pytest.importorskip("jax")
    found = [outcome(lambda u=lib.tree_util: REGISTRATIONS[name](u)) for lib in (fx, jax)]
    assert isinstance(found[1], Exception)
    assert_same(*found)


def test_no_function_is_left_out() -> None:
    pytest.importorskip("jax")
    for space, more in (("tree", DECORATORS), ("tree_util", TYPES)):
        assert {n for s, n, _ in PROGRAMS if s == space} | set(more) == set(NAMESPACES[space].present())


def test_the_dataclass_decorators() -> None:
    jax = pytest.importorskip("jax")
    for lib in (fx, jax):

        @lib.tree_util.register_dataclass
        @dataclasses.dataclass
        class Layer:
            weights: Any
            name: str = lib.tree.static(default="layer")  # noqa: RUF009

        assert lib.tree.leaves(Layer([1, 2])) == [1, 2] and Layer(0).name == "layer"
        assert lib.tree.map(str, Layer(3, "x")) == Layer("3", "x")
