"""The short way into a compiled program takes what it was written for, and nothing else."""

from __future__ import annotations

import collections
import dataclasses
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
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


@fx.tree_util.register_pytree_node_class
class Counted:
    """Its children come from an iterator."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def tree_flatten(self) -> Any:
        return iter(self.parts), len(self.parts)

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> Any:
        return cls(*children)


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
    "iterators": ((Counted(A, X), Counted(A), Counted(), Counted(Counted(A, A), X)), {}),
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
    f = fx.jit(lambda *args, **kwargs: double(*args, **kwargs))
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


def test_a_signature_that_comes_again_and_again_is_tried_first() -> None:
    """A smaller batch at the end of an epoch does not stay in front of the others; signatures that take turns do."""
    f = fx.jit(lambda x: x * 2)
    batch, last = np.arange(5.0), np.arange(3.0)
    for x in (batch, batch, last, last):
        f(x)
    of_last, of_batch = ways = f._programs.short
    for x in (batch, last, batch, last):
        np.testing.assert_array_equal(f(x), x * 2)
        assert f._programs.short == ways
    for _ in range(2):
        np.testing.assert_array_equal(f(batch), batch * 2)
    assert f._programs.short == (of_batch, of_last)
    np.testing.assert_array_equal(f(last), last * 2)
    assert f.cache_info().misses == 2 and f.cache_info().hits == 9


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


def test_a_copy_is_donated_as_it_is() -> None:
    """``array(x)`` has memory of its own, which is written in place unless a view of it was handed out."""
    f, x = fx.jit(lambda x: x + 1, donate_argnums=0), np.ones((50, 70), np.float32)
    for seen in (False, True):
        copy = fnp.array(x)
        view = np.asarray(copy) if seen else None
        place = copy._data.ctypes.data  # asking the array itself would hand out its memory
        result = f(copy)
        assert (np.asarray(result) == 2).all() and (x == 1).all()
        assert (result._data.ctypes.data == place) is not seen
        assert view is None or (view == 1).all()


@pytest.mark.parametrize("how", ["donated", "deleted", "assigned"])
@pytest.mark.parametrize("made", ["result", "copy", "wrapped"])
def test_memory_that_was_handed_out_stays(how: str, made: str) -> None:
    """NumPy's view holds the array object: when that gives its memory up, the view goes on."""
    x = {"result": lambda: fnp.zeros(3000) + 1, "copy": lambda: fnp.array(np.ones(3000)),
         "wrapped": lambda: fnp.asarray(np.ones(3000))}[made]()  # fmt: skip
    view, memory = np.asarray(x), weakref.ref(x._data)
    if how == "donated":
        fx.jit(lambda x: x + 1, donate_argnums=0)(x)
    elif how == "deleted":
        x.delete()
    else:
        with fx.config.using(array_api=True):
            x[:5] = 7.0
    others = [np.full(3000, 2, view.dtype) for _ in range(20)]
    assert (view == 1).all() and len(others) == 20
    del view, x
    assert memory() is None


@pytest.mark.parametrize("where", ["callback", "print", "loop", "sizes"])
def test_what_python_raises_on_the_way_does_not_lose_what_was_donated(where: str) -> None:
    """Donated memory may be written to before the callback is called: a program that calls Python is given none."""

    def check(x: Any) -> Any:
        if x.sum() > 50:
            raise OSError("no more data")
        return x

    call = lambda x: fx.pure_callback(check, fx.ShapeDtypeStruct(x.shape, x.dtype), x)

    def step(s: Any, x: Any) -> Any:
        s = s * 2 + 1
        if where == "print":
            fx.debug.callback(check, s)
        elif where == "loop":
            return fx.lax.fori_loop(0, 2, lambda i, c: call(c + 1), s), x
        return s + call(s)[:1] * 0, x

    f = fx.jit(step, donate_argnums=0)
    for n in (5, 5, 5, 6) if where == "sizes" else (5, 5, 5):
        s, _ = f(fnp.ones(n), fnp.zeros(n))
    for again in (f, f.lower(s, fnp.zeros(len(s))).compile()):
        kept = fnp.full(len(s), 99.0)
        with pytest.raises(OSError, match="no more data"):
            again(kept, fnp.zeros(len(s)))
        assert kept.tolist() == [99.0] * len(s)


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


def _native_alone(f: Any) -> None:
    """From now on the latest signature's way in Python, behind the native one, fails."""
    scope = f._programs.short[0].__globals__

    def run(*arrays: np.ndarray) -> None:
        raise AssertionError("the native function did nothing")

    scope["run"] = run


def _address(x: fx.Array) -> int:
    return int(x._data.__array_interface__["data"][0])


_DATA = np.random.default_rng(2).normal(size=(6, 6))
_PACKED = np.zeros(6, np.dtype([("flag", np.int8), ("value", np.float64)]))  # whose values lie at odd addresses
_PACKED["value"] = _DATA[0]

# arrays that a function closes over, laid out otherwise than kernels take them
LAYOUTS: dict[str, Callable[[], Any]] = {
    "a column": lambda: _DATA[:, 1],
    "backwards": lambda: _DATA[0, ::-1],
    "every other": lambda: np.arange(12.0)[::2],
    "transposed": lambda: _DATA.T,
    "columns first": lambda: np.asfortranarray(_DATA),
    "repeated": lambda: np.broadcast_to(_DATA[0], (6, 6)),
    "one number": lambda: np.broadcast_to(np.float64(3.0), (6,)),
    "unaligned": lambda: _PACKED["value"],
    "a row of one column": lambda: _DATA[:, 2:3],
    "single precision": lambda: _DATA.astype(np.float32).T,
    "integers": lambda: np.arange(12)[::-2],
    "without axes": lambda: _DATA[1:2, 3][0],
    "without elements": lambda: _DATA[::2, 3:3].T,
    "a column of ours": lambda: fnp.asarray(_DATA)[:, 1],
    "ours, transposed": lambda: fnp.asarray(_DATA).T,
}


@pytest.mark.parametrize("leaf", ["ndarray", "array", "number", "donated", "none"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_of_the_closure_of_any_layout(layout: str, leaf: str) -> None:
    """Every call reads them as they lie: the first, those that find the program, and those of the short way."""
    closed = LAYOUTS[layout]()
    f = fx.jit(lambda *x: fnp.exp(closed * 0.5) * (sum(x) + 1.0), donate_argnums=(0,) if leaf == "donated" else ())
    for k in range(5):
        number = k / 4
        x = {"ndarray": np.array(number), "number": number, "none": None}.get(leaf, fnp.asarray(np.float64(number)))
        want = np.exp(np.asarray(closed) * 0.5) * (1.0 if x is None else number + 1.0)
        np.testing.assert_allclose(np.asarray(f() if x is None else f(x)), want, rtol=1e-6)


def test_hundreds_of_leaves_are_donated() -> None:
    """The state of a network of some depth; Python has no more than 256 names in front of a starred one."""
    f = fx.jit(lambda xs, y: ([x + y for x in xs], y.sum()), donate_argnums=0)
    xs, y = [fnp.full(3, float(i)) for i in range(260)], np.ones((3, 2), np.float32)[:, 0]
    for _ in range(3):
        xs, _ = f(xs, y)
    np.testing.assert_array_equal(np.asarray(xs)[:, 0], np.arange(260) + 3)


@pytest.mark.parametrize("width", [20, 300])
def test_donated_memory_is_overwritten_natively(width: int) -> None:
    """Also where calls share their working memory, which the wide one does."""

    def step(state: Any, x: Any) -> Any:
        h = fnp.tanh(x @ state["w"])
        g = x.T @ h
        return {"w": state["w"] - 0.5 * g, "n": state["n"] + 1}, h.sum() + (g * g).sum()

    f = fx.jit(step, donate_argnums=0)
    x = np.linspace(-1, 1, 6 * width, dtype=np.float32).reshape(6, width)
    state = {"w": fnp.ones((width, width)) * 0.01, "n": fnp.int32(0)}
    expect = fx.tree.map(lambda a: np.asarray(a).copy(), state)
    wanted: list[np.ndarray] = []
    for _ in range(5):
        expect, total = fx.jit(step)(expect, x)
        wanted.append(np.asarray(total))
    for n in range(5):
        old, place = state["w"], _address(state["w"])
        state, total = f(state, x)
        assert np.asarray(total).tobytes() == wanted[n].tobytes()
        if n == 1:
            _native_alone(f)
        if n > 1:
            assert _address(state["w"]) == place
        with pytest.raises(fx.errors.DeletedArrayError, match="donated"):
            old + 1
    (entry,) = f._programs.entries.values()
    assert entry.run.assembly.shared_arena == (width == 300)
    same(state["w"], fnp.asarray(expect["w"]))
    assert int(state["n"]) == 5


def test_donated_memory_that_others_see_is_not_overwritten_natively() -> None:
    f = fx.jit(lambda s, x: (s + x, s * 2 - x), donate_argnums=0)
    x, fresh = fnp.asarray(X), lambda: fx.jit(lambda x: x * 4)(A)
    for _ in range(3):
        f(fresh(), x)
    _native_alone(f)
    f(fresh(), x)
    seen: list[Callable[[fx.Array], tuple[Any, fx.Array]]] = [
        lambda s: (np.asarray(s), x),  # a view
        lambda s: (s._data, x),  # the buffer itself
        lambda s: (fx.Array(s._data), x),  # another array of the same buffer
        lambda s: (memoryview(s._data), x),
        lambda s: (None, s),  # another argument
        lambda s: (None, fx.Array(s._data[:])),
        lambda s: (setattr(s, "_owned", False), x),  # type: ignore[func-returns-value]
        lambda s: (s._data.setflags(write=False), x),  # type: ignore[func-returns-value]
    ]
    for see in seen:
        s = fresh()
        kept, other = see(s)
        with pytest.raises(AssertionError, match="did nothing"):
            f(s, other)
        if kept is not None:
            np.testing.assert_array_equal(np.asarray(kept), X * 4)
    weak = fx.Array(fresh()._data, True)
    weak._owned = True
    np.testing.assert_array_equal(np.asarray(f(weak, x)[0]), X * 5)  # another program
    with pytest.raises(fx.errors.DeletedArrayError, match="donated"):
        s = fresh()
        s._give_up()
        f(s, x)


def test_donated_arrays_are_let_go() -> None:
    """Neither arrays nor None leak where memory is handed on, copied, or refused."""
    f = fx.jit(lambda s, t, x: (s + x, x * 2), donate_argnums=(0, 1))  # the second is given for nothing
    make = fx.jit(lambda x: x * 4)
    f(make(A), make(A), A), f(make(A), make(A), A)
    _native_alone(f)
    before = [sys.getrefcount(x) for x in (None, A, A._data)]
    for _ in range(200):
        s, t = make(A), make(A)
        gone, reused = weakref.ref(t._data), weakref.ref(s._data)
        out, other = f(s, t, A)
        assert gone() is None and reused() is out._data
        del out, other, s, t
        assert reused() is None
        kept = make(A)
        held, alone = kept._data, object()
        with pytest.raises(AssertionError, match="did nothing"):
            f(kept, make(A), A)
        assert sys.getrefcount(held) == sys.getrefcount(alone)
        del kept, held
    after = [sys.getrefcount(x) for x in (None, A, A._data)]
    assert all(abs(a - b) < 100 for a, b in zip(after, before))  # the latest errors hold a few


@pytest.mark.parametrize("donate", [(), 0])
def test_arrays_of_one_number_are_made_dense_once(donate: Any) -> None:
    f = fx.jit(lambda s, x: (s + x, x.sum()), donate_argnums=donate)
    ones = fx.Array(np.broadcast_to(np.ones((), np.float32), (4, 3)))  # as large arrays of one number are made
    rows = fnp.broadcast_to(A, (4, 3))
    view = np.asarray(ones)
    for x, total in ((ones, 12), (rows, 4 * X.sum())):
        state = fnp.zeros((4, 3)) + 1
        for n in range(1, 5):
            state, found = f(state, x)
            assert float(found) == total
            np.testing.assert_array_equal(np.asarray(state).copy(), 1 + n * np.asarray(x))
    assert ones._data.flags.c_contiguous and not any(view.strides)
    np.testing.assert_array_equal(view, np.ones((4, 3)))
    assert rows._data.strides == (0, 4)  # its memory may be somebody's
    state, _ = f(state, ones)  # memory that no view was handed out of
    scope = f._programs.short[0].__globals__
    scope["launch_dense"] = scope["run"] = None
    assert float(f(state, ones)[1]) == 12
