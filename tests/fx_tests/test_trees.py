"""fx.tree against jax.tree, and the mistakes that it names."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import fx
from fx import tree, tree_util
from fx.errors import RegistryError, TreeError


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


def test_the_other_functions_are_jax_s() -> None:
    jax = pytest.importorskip("jax")
    t, theirs = {"a": [1, (2, 3)], "b": 4}, jax.tree_util
    paths = [[tuple(map(str, p)) for p, _ in lib.leaves_with_path(t)] for lib in (tree, jax.tree)]
    assert paths[0] == paths[1]
    assert tree.broadcast({"a": 5, "b": 6}, t) == jax.tree.broadcast({"a": 5, "b": 6}, t)
    for values in ([True, 1], [True, [0]], []):
        assert tree_util.tree_all(values) == theirs.tree_all(values)
    assert tree_util.tree_reduce(max, t) == theirs.tree_reduce(max, t) == 4
    for x in (t, 3, None, [], "a"):
        assert tree_util.is_tree_node(type(x)) == theirs.is_tree_node(type(x))
    children = [u.flatten_one_level_with_keys(t)[0] for u in (tree_util, theirs)]
    assert [[(str(k), v) for k, v in c] for c in children][0] == [(str(k), v) for k, v in children[1]]
    outer, inner = {"a": 0, "b": 0}, (0, 0)
    swapped = [
        u.tree_transpose(u.tree_structure(outer), u.tree_structure(inner), {"a": (1, 2), "b": (3, 4)})
        for u in (tree_util, theirs)
    ]
    assert swapped[0] == swapped[1] == ({"a": 1, "b": 3}, {"a": 2, "b": 4})
    for u in (tree_util, theirs):
        f = u.Partial(lambda x, y, z: (x, y, z), 1, z=3)
        assert u.tree_leaves(f) == [1, 3] and f(2) == (1, 2, 3)
        assert isinstance(u.tree_structure(t), u.PyTreeDef)
    for name, key in (("DictKey", "a"), ("SequenceKey", 1), ("FlattenedIndexKey", 2), ("GetAttrKey", "x")):
        ours, other = getattr(tree_util, name)(key), getattr(theirs, name)(key)
        assert str(ours) == str(other) and ours == getattr(tree_util, name)(key)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name: str) -> None:
    action, message = MISTAKES[name]
    with pytest.raises(TreeError, match=message):
        action()


def test_a_type_is_registered_once() -> None:
    with pytest.raises(RegistryError, match="Keyed is registered as a pytree node already"):
        tree_util.register_pytree_node(Keyed, lambda x: ((), None), lambda a, c: None)
