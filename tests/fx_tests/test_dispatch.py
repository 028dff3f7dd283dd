"""The short way into a compiled program takes what it was written for, and nothing else."""

from __future__ import annotations

import collections
import dataclasses
import threading
import traceback
from typing import Any, NamedTuple

import numpy as np
import pytest

import fx
import fx.numpy as fnp


class Pair(NamedTuple):
    a: Any
    b: Any


@fx.tree_util.register_dataclass
@dataclasses.dataclass
class Layer:
    w: Any
    b: Any
    name: str = dataclasses.field(default="x", metadata={"static": True})


@fx.tree_util.register_pytree_node_class
class Listed(tuple):
    """A tuple that comes apart in its own way."""

    def tree_flatten(self) -> Any:
        return (self[1],), self[0]

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> Any:
        return cls((aux, *children))


X = np.arange(3.0, dtype=np.float32)
A = fnp.asarray(X)
TREES: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "one": ((A,), {}),
    "numpy": ((X,), {}),
    "both": ((A, X), {}),
    "nothing": ((), {}),
    "empty containers": (({}, (), [], None, A), {}),
    "dict": (({"b": A, "a": (X, [A])},), {}),
    "dict of other keys": (({2: A, 1: X},), {}),
    "ordered dict": ((collections.OrderedDict(z=A, a=X),), {}),
    "default dict": ((collections.defaultdict(list, z=A, a=X),), {}),
    "named tuple": ((Pair(A, Pair(X, None)),), {}),
    "dataclass": ((Layer(A, {"k": X}),), {}),
    "own node": ((Listed((7, A)),), {}),
    "keywords": ((A,), {"y": A, "k": {"z": X}}),
    "float": ((A, 2.5), {}),
    "int": ((A, 3), {}),
    "bool": ((A, True), {}),
    "numpy scalar": ((A, np.float64(2.5), np.int8(3)), {}),
    "weak": ((A, fnp.asarray(1.5)), {}),
    "no elements": ((fnp.zeros((0, 3)),), {}),
}


def double(*args: Any, **kwargs: Any) -> Any:
    return fx.tree.map(lambda x: x * 2, (args, kwargs))


def same(found: Any, wanted: Any) -> None:
    assert fx.tree.structure(found) == fx.tree.structure(wanted)
    for a, b in zip(fx.tree.leaves(found), fx.tree.leaves(wanted)):
        assert (a.dtype, a.shape, a.weak_type) == (b.dtype, b.shape, b.weak_type)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("name", TREES)
def test_every_structure_and_kind_of_leaf(name: str) -> None:
    args, kwargs = TREES[name]
    f = fx.jit(double)
    first = f(*args, **kwargs)
    assert not f.dispatch_source()
    same(f(*args, **kwargs), first)
    assert f.dispatch_source()
    same(f(*args, **kwargs), first)
    assert (f.cache_info().hits, f.cache_info().misses) == (2, 1)
    assert f._programs.short[0](args, kwargs) is not fx.dispatch.MISS


@pytest.mark.parametrize("name", TREES)
def test_every_other_call_is_missed(name: str) -> None:
    """A function written for one signature answers all others with MISS, and their results are right."""
    f = fx.jit(double)
    for other in TREES:
        args, kwargs = TREES[other]
        f(*args, **kwargs), f(*args, **kwargs)
    f._programs.short = ()
    args, kwargs = TREES[name]
    f(*args, **kwargs)
    (call,) = f._programs.short
    for other in TREES:
        taken = call(*TREES[other]) is not fx.dispatch.MISS
        assert taken == (other == name), (name, other)
    wrong = [
        ((A, A, A, A), {}),
        ((A,), {"z": A}),
        (("text",), {}),
        (({"b": A, "c": (X, [A])},), {}),
        ((Layer(A, {"k": X}, "y"),), {}),
    ]
    wrong += [
        ((fnp.asarray(X.astype(np.float64)),), {}),
        ((fnp.ones(4),), {}),
        ((A, 2**40), {}),
    ]
    for a, k in wrong:
        assert call(a, k) is fx.dispatch.MISS


def test_strided_arguments_are_copied_on_the_way() -> None:
    f = fx.jit(lambda s, x, y: (s + x.sum(), x * y), donate_argnums=0)
    wide = np.arange(24, dtype=np.float32).reshape(4, 6)
    layouts = [
        wide[:, ::2],
        wide[:3, :4].T,
        np.asfortranarray(wide[:, :3]),
        wide[::-1, 2::-1],
        np.ascontiguousarray(wide[:, :3]),
    ]
    total = fnp.zeros(())
    f(total, layouts[0], layouts[1]), f(fnp.zeros(()), layouts[0], layouts[1])
    missed = f.cache_info().hits
    general, f._call = f._call, None  # type: ignore[method-assign]
    for x in layouts:
        for y in layouts:
            total, out = f(fnp.zeros(()), x, y)
            same(out, fnp.asarray(x * y))
            assert float(total) == x.sum()
    assert f.cache_info().hits == missed + len(layouts) ** 2
    f._call = general  # type: ignore[method-assign]
    hits = f.cache_info().hits
    for other in (wide[:2, ::2], wide.astype(np.float64)[:, ::2]):
        same(f(fnp.zeros(()), other, other)[1], fnp.asarray(other * other))
    assert f.cache_info().hits == hits


def test_donated_memory_is_kept_where_it_is_shared() -> None:
    """A donated array that overlaps another argument, in every arrangement, is copied first."""
    f = fx.jit(lambda x, y, z: (x + y, z * 2 + y), donate_argnums=(0, 2))
    memory = np.arange(12, dtype=np.float32)
    for i in range(9):
        for j in range(9):
            for k in range(9):
                parts = [
                    memory[n : n + 4].copy() if alone else memory[n : n + 4] for n, alone in ((i, 0), (j, 0), (k, 1))
                ]
                arrays = [fx.Array(p) for p in parts]
                arrays[0]._owned = arrays[2]._owned = True
                wanted = parts[0] + parts[1], parts[2] * 2 + parts[1]
                kept = parts[1].copy()
                found = f(*arrays)
                np.testing.assert_array_equal(np.asarray(found[0]), wanted[0])
                np.testing.assert_array_equal(np.asarray(found[1]), wanted[1])
                np.testing.assert_array_equal(parts[1], kept)
    np.testing.assert_array_equal(memory, np.arange(12))


def test_options_are_part_of_it() -> None:
    f = fx.jit(lambda x: x + fnp.ones(3))
    assert f(A).dtype == f(A).dtype == np.float32
    with fx.config.using(default_float="float64"):
        assert f(A).dtype == f(A).dtype == np.float64
        assert len(f._programs.short) == 1
    assert f(A).dtype == np.float32
    old = fx.config.default_float
    try:
        fx.config.default_float = "float64"
        assert [f(A).dtype for _ in range(3)] == [np.float64] * 3
    finally:
        fx.config.default_float = old
    with fx.config.using(disable_jit=True):
        calls: list[int] = []
        g = fx.jit(lambda x: (calls.append(1), x)[1])
        g(A), g(A), g(A)
        assert len(calls) == 3


def test_a_using_block_of_another_thread_does_not_leak() -> None:
    f = fx.jit(lambda x: x + fnp.ones(3))
    f(A), f(A)
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with fx.config.using(default_float="float64"):
            inside.set()
            leave.wait(10)

    t = threading.Thread(target=other)
    t.start()
    inside.wait(10)
    assert f(A).dtype == np.float32
    leave.set()
    t.join()
    assert f(A).dtype == np.float32


def test_transforms_see_through_it() -> None:
    f = fx.jit(lambda x, y: (x * y).sum())
    f(A, A), f(A, A)
    np.testing.assert_array_equal(np.asarray(fx.grad(f)(A, A)), X)
    np.testing.assert_array_equal(np.asarray(fx.vmap(f, (0, None))(A, A)), X * X.sum())
    same(fx.jit(lambda x: f(x, x))(A), f(A, A))
    k = np.float32(3)
    same(fx.jit(lambda x: f(A, A) + x)(k), f(A, A) + fnp.asarray(k))
    np.testing.assert_array_equal(np.asarray(fx.vmap(lambda x: f(A, A) * x)(A)), X * 5)


def test_donation() -> None:
    f = fx.jit(lambda s, x: ({"s": s["s"] + x}, x.sum()), donate_argnums=0)
    state = {"s": fnp.zeros(3)}
    for n in range(1, 6):
        old = state["s"]
        state, _ = f(state, A)
        np.testing.assert_array_equal(np.asarray(state["s"]), X * n)
        with pytest.raises(fx.errors.DeletedArrayError, match="donated"):
            old + 1
    kept = np.asarray(state["s"])
    f(state, A)
    np.testing.assert_array_equal(kept, X * 5)  # a view was handed out: the memory was not reused


def test_donated_numpy_arrays_are_not_touched() -> None:
    f = fx.jit(lambda x: x + 1, donate_argnums=0)
    x = X.copy()
    for _ in range(3):
        same(f(x), fnp.asarray(X + 1))
    np.testing.assert_array_equal(x, X)


def test_errors_show_the_users_frames_alone() -> None:
    def bad(v: Any) -> Any:
        raise ZeroDivisionError("from the callback")

    f = fx.jit(
        lambda x, n: fx.pure_callback(lambda v, n: bad(v) if n else v, fx.ShapeDtypeStruct((3,), np.float32), x, n)
    )
    f(A, 0), f(A, 0)
    with pytest.raises(ZeroDivisionError) as e:
        f(A, 1)
    files = [frame.filename for frame in traceback.extract_tb(e.value.__traceback__)]
    assert all(file == __file__ for file in files), files


def test_constants_of_the_closure_follow() -> None:
    big = fnp.arange(5000.0)
    f = fx.jit(lambda i: big[i] + 1)
    for i in (3, 4, 5):
        assert float(f(np.int32(i))) == i + 1
