"""Programs belong to functions: whichever ``jit`` object a function is called through, it is traced once for a signature, and
what a new object computes is what the function computes now."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx.ir import Aval
from fx.staging import sharing
from fx.staging.programs import Programs
from fx.staging.sharing import _MOST_SHARED

X = np.arange(1.0, 5.0)
SCALE = 2.0
traces: list[str] = []


@pytest.fixture(autouse=True)
def no_traces() -> None:
    traces.clear()


def cubed(x: Any, k: Any = 1.0) -> Any:
    traces.append("cubed")
    return (k * x**3).sum()


def with_aux(x: Any) -> Any:
    return cubed(x), {"twice": x * 2}


@fx.custom_jvp
def noted(x: Any) -> Any:
    fx.debug.callback(lambda x: None, x)
    return x


noted.defjvp(lambda p, t: (p[0], t[0]))


class Model:
    def __init__(self, scale: Any) -> None:
        self.scale = scale

    def apply(self, x: Any) -> Any:
        traces.append("apply")
        return x * self.scale

    def __call__(self, x: Any) -> Any:
        return self.apply(x) + 1

    def normal(self, x: Any) -> Any:
        """With a rule of the library's own in its graph."""
        traces.append("normal")
        return noted(fx.nn.relu(x - 2) * self.scale)

    @classmethod
    def of_class(cls, x: Any) -> Any:
        traces.append("of_class")
        return x * 4


class Equal(Model):
    """Instances that are equal, and have no hash."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


MODEL, EQUAL = Model(3.0), Equal(5.0)

# made anew each time, and what it computes at X
MADE: dict[str, tuple[Callable[[], Any], Any]] = {
    "a function": (lambda: cubed, (X**3).sum()),
    "a partial": (lambda: partial(cubed, k=2.0), 2 * (X**3).sum()),
    "a partial of a partial": (lambda: partial(partial(cubed, k=2.0), k=3.0), 3 * (X**3).sum()),
    "a bound method": (lambda: MODEL.apply, X * 3),
    "a method of one without a hash": (lambda: EQUAL.apply, X * 5),
    "a method with a rule": (lambda: MODEL.normal, np.maximum(X - 2, 0) * 3),
    "a class method": (lambda: MODEL.of_class, X * 4),
    "a callable object": (lambda: MODEL, X * 3 + 1),
    "a gradient": (lambda: fx.grad(cubed), 3 * X**2),
    "a gradient of a partial": (lambda: fx.grad(partial(cubed, k=2.0)), 6 * X**2),
    "a value and a gradient": (lambda: fx.value_and_grad(cubed), ((X**3).sum(), 3 * X**2)),
    "with more": (lambda: fx.grad(with_aux, has_aux=True), (3 * X**2, {"twice": X * 2})),
    "a mapped gradient": (lambda: fx.vmap(fx.grad(cubed)), 3 * X**2),
    "a mapped method": (lambda: fx.vmap(MODEL.apply), X * 3),
    "a Hessian": (lambda: fx.hessian(cubed), np.diag(6 * X)),
    "a Jacobian": (lambda: fx.jacfwd(MODEL.apply), np.eye(4) * 3),
    "a checkpoint": (lambda: fx.grad(fx.checkpoint(cubed)), 3 * X**2),
}


def close(found: Any, wanted: Any) -> None:
    assert fx.tree.structure(found) == fx.tree.structure(wanted)
    for a, b in zip(fx.tree.leaves(found), fx.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-13)


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_anew_is_traced_once(name: str) -> None:
    make, wanted = MADE[name]
    fx.clear_caches()
    known = 0
    for _ in range(4):
        close(fx.jit(make())(X), wanted)
        known = known or len(traces)
    assert 0 < len(traces) == known


def test_signatures_of_one_are_those_of_all() -> None:
    f = lambda x: x * 2
    one, other = fx.jit(f), fx.jit(f)
    one(X), other(X), other(X[:2]), one(X[:2]), one(X)
    assert one.cache_info() == other.cache_info() and one.cache_info()[:3] == (3, 2, 2)
    assert one.explain_misses() == other.explain_misses()
    assert "f64[4] -> f64[2]" in one.explain_misses()
    fx.jit(f).clear_cache()
    assert one.cache_info().size == 0
    np.testing.assert_array_equal(one(X), X * 2)


def each(*functions: Callable[..., Any]) -> list[Any]:
    return [np.asarray(fx.jit(f)(X)).tolist() for f in functions for _ in range(2)]


def test_others_are_told_apart() -> None:
    """Numbers that Python calls equal, options, instances, and closures of one code."""

    def over(x: Any, k: Any) -> Any:
        return x / k if type(k) is float else x + 10 * k if k is not True else x - 1

    close(fx.jit(partial(over, k=1))(X), X + 10)
    close(fx.jit(partial(over, k=True))(X), X - 1)
    with np.errstate(divide="ignore"):
        close(fx.jit(partial(over, k=0.0))(X), np.full(4, np.inf))
        close(fx.jit(partial(over, k=-0.0))(X), np.full(4, -np.inf))
    pair = lambda x, y: (x * x * y).sum()
    close(fx.jit(fx.grad(pair, 0))(X, X), 2 * X * X)
    close(fx.jit(fx.grad(pair, 1))(X, X), X * X)
    close(fx.jit(fx.grad(pair, (0, 1)))(X, X), (2 * X * X, X * X))
    close(fx.jit(Model(2.0).apply)(X), X * 2)
    close([fx.jit(Equal(k).apply)(X) for k in (2.0, 7.0)], [X * 2, X * 7])
    written = [lambda x, k=k: x * k for k in (2, 3)] + [(lambda k: lambda x: x * k)(k) for k in (4, 5)]
    close([fx.jit(f)(X) for f in written], [X * k for k in (2, 3, 4, 5)])


def test_options_are_told_apart() -> None:
    seen = []

    def f(x: Any, n: Any) -> Any:
        seen.append(type(n))
        return x * n

    for options in ({}, {"static_argnums": 1}, {"static_argnames": "n"}, {"backend": "reference"}):
        close(fx.jit(f, **options)(X, 2), X * 2)  # type: ignore[call-overload]
    assert [t is int for t in seen] == [False, True, False]  # by number and by name it is one
    given = fnp.asarray(X)
    close(fx.jit(f, donate_argnums=0)(given, 2), X * 2)
    with pytest.raises(Exception, match="donated"):
        given + 1
    kept = fnp.asarray(X)
    close(fx.jit(f)(kept, 2), X * 2)
    close(kept + 1, X + 1)
    with fx.config.using(default_float="float64"):
        assert fx.jit(lambda: fnp.ones(2))().dtype == np.float64
        assert fx.jit(f)(fnp.ones(2), 2).dtype == np.float64


def closing(k: Any) -> tuple[Callable[[Any], Any], Callable[[Any], None]]:
    def f(x: Any) -> Any:
        return x * (k[0] if isinstance(k, list) else k)

    def change(new: Any) -> None:
        nonlocal k
        k = new

    return f, change


def of_global(x: Any) -> Any:
    return (lambda y: y * SCALE)(x)


def _changes() -> dict[str, tuple[Callable[..., Any], Callable[[], Any]]]:
    """A function that triples its argument after the change, and doubles it before."""
    of_cell, change = closing(2.0)
    many = [2.0]
    array, zero = np.full(1, 2.0), np.array(2.0)
    model = Model(2.0)
    inner, change_inner = closing(2.0)

    def of_default(x: Any, k: Any = 2.0, *, more: Any = 0.0) -> Any:
        return x * (k + more)

    def of_code(x: Any) -> Any:
        return x * 2.0

    def named(x: Any, *, k: Any = 2.0) -> Any:
        return x * k

    return {
        "a variable": (of_cell, lambda: change(3.0)),
        "a list": (closing(many)[0], lambda: many.__setitem__(0, 3.0)),
        "an array": (closing(array)[0], lambda: array.fill(3.0)),
        "a number of NumPy's": (closing(zero)[0], lambda: zero.fill(3.0)),
        "a global": (of_global, lambda: globals().__setitem__("SCALE", 3.0)),
        "a default": (of_default, lambda: setattr(of_default, "__defaults__", (3.0,))),
        "a default by name": (named, lambda: setattr(named, "__kwdefaults__", {"k": 3.0})),
        "the code": (of_code, lambda: setattr(of_code, "__code__", (lambda x: x * 3.0).__code__)),
        "an attribute": (model.apply, lambda: setattr(model, "scale", 3.0)),
        "within a transformation": (fx.vmap(inner), lambda: change_inner(3.0)),
        "within a partial": (partial(inner), lambda: change_inner(3.0)),
    }


@pytest.mark.parametrize("name", _changes())
def test_a_change_is_seen_by_what_is_made_after_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    f, change = _changes()[name]
    before = fx.jit(f)
    close(before(X), X * 2)
    change()
    close(fx.jit(f)(X), X * 3)
    close(before(X), X * (3 if name == "an array" else 2))  # an object goes by its programs, whose argument an array is
    close(before(X[:2]), f(X[:2]))  # and traces what it does not know
    close(fx.jit(f)(X), X * 3)


def test_a_program_traced_after_a_change_is_the_objects_own() -> None:
    """The variable has its first value again: what was traced in between must not come back."""
    f, change = closing(2.0)
    first = fx.jit(f)
    close(first(X), X * 2)
    change(3.0)
    close(first(X[:3]), X[:3] * 3)
    change(2.0)
    close(fx.jit(f)(X[:3]), X[:3] * 2)
    close(first(X[:3]), X[:3] * 3)
    close(fx.jit(f)(X), X * 2)


def test_what_a_function_leaves_behind_is_no_change() -> None:
    count, held = 0, []

    def f(x: Any) -> Any:
        nonlocal count
        count += 1
        held.append(count)
        return x + 1

    for n in (4, 4, 3, 4, 3):
        close(fx.jit(f)(X[:n]), X[:n] + 1)
    assert held == [1, 2]


def test_what_is_copied_with_a_function_is_not_taken_for_its_own() -> None:
    def f(x: Any) -> Any:
        return x * 2

    close(fx.jit(f)(X), X * 2)

    @functools.wraps(f)
    def g(x: Any) -> Any:
        return f(x) + 1

    close([fx.jit(h)(X) for h in (g, f, g)], [X * 2 + 1, X * 2, X * 2 + 1])
    home = f.__dict__["__fx_programs__"]
    assert g.__dict__["__fx_programs__"] is not home
    for again in (copy.deepcopy(home), pickle.loads(pickle.dumps(home))):
        assert not again.programs and again.owner() is None


def alive() -> int:
    return len(Programs.everywhere)


def test_nothing_is_left_of_functions_that_are_gone() -> None:
    gc.collect()
    before, arrays = alive(), []
    gc.disable()
    try:
        for k in range(200):
            w = np.full(2000, float(k))
            arrays.append(weakref.ref(w))
            f = lambda x, w=w: x + w
            fx.jit(f)(w), fx.jit(f)(w)
            fx.jit(fx.grad(lambda x, f=f: f(x).sum()))(w)
            model = Model(w)
            fx.jit(model.apply)(w), fx.jit(partial(cubed, k=float(k)))(2.0)
            if k % 50 == 49:
                gc.collect()
        del f, w, model
        gc.collect()
    finally:
        gc.enable()
    assert not any(ref() is not None for ref in arrays)
    assert alive() - before <= _MOST_SHARED  # of the partials, whose function is there


def test_a_function_and_its_arrays_go_at_once() -> None:
    """By counting references, without a search for cycles."""
    gc.collect()
    gc.disable()
    try:
        before = alive()
        model = Model(np.ones(2000))
        f, w = (lambda x, w=model.scale: x * w), weakref.ref(model.scale)
        for _ in range(2):
            fx.jit(model.apply)(X[:1]), fx.jit(fx.vmap(model.apply))(model.scale)
        fx.jit(f)(X[:1])
        refs = weakref.ref(f), weakref.ref(model), w
        del f, model
        gone = [r() is None for r in refs]
        left = alive() - before
    finally:
        gc.enable()
    assert all(gone) and left == 0


def test_programs_that_hold_their_function_go_with_it() -> None:
    """A rule and a callback, which the graph holds, close over the function."""

    def make() -> weakref.ref[Any]:
        @fx.custom_jvp
        def g(x: Any) -> Any:
            return x * 2

        def f(x: Any) -> Any:
            fx.debug.callback(lambda _: str(f), x)
            return g(x)

        g.defjvp(lambda p, t: (f(p[0]), t[0] * len(str(f))))
        close(fx.jit(f)(X), X * 2)
        return weakref.ref(f)

    ref = make()
    gc.collect()
    assert ref() is None


class WithRule(Model):
    """Methods whose graphs hold functions that close over the instance."""

    def apply(self, x: Any) -> Any:
        @fx.custom_jvp
        def g(x: Any) -> Any:
            return x * self.scale

        g.defjvp(lambda p, t: (g(p[0]), t[0] * self.scale))
        return fx.nn.relu(g(x))

    def __call__(self, x: Any) -> Any:
        fx.debug.callback(self.noted, x)
        return x * self.scale

    def noted(self, x: Any) -> None:
        self.latest = x


def _with_rule(w: Any) -> Any:
    g = fx.custom_jvp(lambda x: x * w)
    g.defjvp(lambda p, t: (g(p[0]), t[0] * w))
    return g


def test_programs_that_hold_their_instance_are_not_kept() -> None:
    """An object that the graph reaches would otherwise live as long as its class."""
    makes = [_with_rule, lambda w: WithRule(w).apply, lambda w: fx.vmap(WithRule(w).apply), WithRule]
    makes.append(lambda w: partial(lambda model, x: model(x), WithRule(w)))
    makes.append(lambda w: partial(cubed, k=float(w[0])))
    for make in makes:
        w = np.ones(2000)
        ref = weakref.ref(w)
        f = make(w)
        for _ in range(2):
            fx.jit(f)(w), fx.jit(f)(w[:1])
        del w, f
        gc.collect()
        assert ref() is None, make


def test_partials_of_one_function_are_bounded() -> None:
    def f(x: Any, k: int) -> Any:
        return x + k

    for k in range(_MOST_SHARED + 20):
        fx.jit(partial(f, k=k))(1.0)
    assert len(f.__dict__["__fx_programs__"].programs) == _MOST_SHARED


def test_stages_outlive_the_instance() -> None:
    compiled = fx.jit(Model(2.0).apply).lower(X).compile()
    gc.collect()
    close(compiled(X), X * 2)
    with pytest.raises(fx.errors.StaticArgumentError, match="f64\\[4\\] as x"):
        compiled(X[:2])


def test_errors_name_the_arguments_of_shared_programs() -> None:
    model = Model(2.0)
    for _ in range(2):
        with pytest.raises(fx.errors.TreeError, match="^x of the jitted function apply"):
            fx.jit(model.apply)("text")
        close(fx.jit(model.apply)(X), X * 2)
    assert "x: f64[4] -> f32[4]" in _misses(model.apply)


def _misses(f: Any) -> str:
    jitted = fx.jit(f)
    jitted(X.astype(np.float32))
    return str(jitted.explain_misses())


def test_threads_make_objects_of_one_function() -> None:
    def f(x: Any, k: Any = 1) -> Any:
        return (x * k).sum()

    start, wrong = threading.Barrier(6), []

    def work(seed: int) -> None:
        start.wait()
        for i in range(60):
            n = 1 + (seed + i) % 7
            found = [fx.jit(f)(X[: n % 5]), fx.jit(partial(f, k=n))(X), fx.jit(fx.grad(f))(X)]
            wanted = [X[: n % 5].sum(), n * X.sum(), np.ones(4)]
            wrong.extend(1 for a, b in zip(found, wanted) if not np.array_equal(a, b))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_what_is_remembered_of_types_hides_no_sharing() -> None:
    aval = Aval((4,), np.dtype(np.float64))
    aval.memo().update({k: [k] for k in range(5000)})
    assert not sharing._reach([(aval,)], {id(MODEL)})
    assert sharing._reach([(aval, [MODEL])], {id(MODEL)})
