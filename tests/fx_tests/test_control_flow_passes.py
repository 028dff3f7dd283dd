"""The passes inside loops and conditionals: what they take away, and that they change no bit."""

from __future__ import annotations

import cProfile
import pstats
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from control_programs import PROGRAMS, ROWS, W, X

import fx
import fx.numpy as fnp
from fx import lax
from fx.interning import interned
from fx.interpret import run_graph
from fx.ir import Eqn, Graph, subgraphs
from fx.passes import optimize, sink
from fx.trace import trace_flat
from fx.verify import verify_graph


@pytest.fixture(autouse=True)
def reference() -> Iterator[None]:
    with fx.config.using(backend="reference", verify=True):
        yield


def graph_of(f: Callable[..., Any], *args: np.ndarray) -> tuple[Graph, list[np.ndarray]]:
    """The graph of ``f`` and its arguments, with what it closes over."""
    avals = [fx.ir.Aval(a.shape, a.dtype) for a in args]
    graph, captures = trace_flat(lambda *xs: fx.tree.leaves(f(*xs)), avals, kind="jit")
    return graph, [*args, *(np.asarray(c) for c in captures)]


def optimised(f: Callable[..., Any], *args: np.ndarray) -> Graph:
    return optimize(graph_of(f, *args)[0])


def all_eqns(graph: Graph) -> Iterator[Eqn]:
    for e in graph.eqns:
        yield e
        for _, g in subgraphs(e.params):
            yield from all_eqns(g)


def the(name: str, graph: Graph) -> Eqn:
    (found,) = [e for e in all_eqns(graph) if e.prim.name == name]
    return found


def names(graph: Graph) -> list[str]:
    return [e.prim.name for e in graph.eqns]


def total(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: sum(y.real.sum() for y in fx.tree.leaves(f(*args)) if y.dtype.kind in "fc")


@pytest.mark.parametrize("name", PROGRAMS)
def test_passes_change_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the products that hoist and sink make larger, whose additions have another order."""
    p = PROGRAMS[name]
    f = p.make(lax, fnp)
    exact = tuple(step for step in fx.passes.LOOPS if step is not sink)
    for g in [f, fx.grad(total(f), tuple(range(len(p.args))))] if p.reverse else [f]:
        graph, args = graph_of(g, *p.args)
        want = run_graph(verify_graph(graph), args)
        for got, w in zip(run_graph(optimize(graph), args, check=True), want, strict=True):
            np.testing.assert_allclose(got, w, rtol=1e-13, atol=1e-14)
        if name == "products_of_slices":
            continue
        with monkeypatch.context() as m:
            m.setattr(fx.passes, "LOOPS", exact)
            for got, w in zip(run_graph(optimize(graph), args), want):
                assert got.tobytes() == w.tobytes()


# ------------------------------------------------------------------------------------------- prune


def test_unused_ys_carries_and_operands_disappear() -> None:
    def f(x: Any, w: Any) -> Any:
        def body(c: Any, v: Any) -> Any:
            a, b, d, e = c
            return (a + v, b * d, np.sin(d), e @ w), (a * v, b, np.exp(e))

        return lax.scan(body, (x, x, x, x), (ROWS))[1][0]

    scan = the("scan", optimised(f, X, W))
    assert scan.params["n_carry"] == 1 and scan.params["n_consts"] == 0 and len(scan.outputs) == 2


def test_carries_needed_through_others_stay() -> None:
    f = lambda x: lax.fori_loop(0, 5, lambda i, c: (c[1], c[2] * 2, c[0], c[3]), (x, x, x, x))[0]  # noqa: E731
    assert the("scan", optimised(f, X)).params["n_carry"] == 3
    f = lambda x: lax.while_loop(lambda c: c[0] < 9, lambda c: (c[0] + c[1], c[1] * 2, c[2] * 2), (x, x, x))[1]  # noqa: E731
    assert len(the("while", optimised(f, X[0])).outputs) == 2


def test_a_carry_that_stays_is_a_constant() -> None:
    def f(x: Any) -> Any:
        return lax.while_loop(lambda c: c[0] < c[1], lambda c: (c[0] + c[1], c[1], c[2]), (x, x * 3, x))

    graph = optimised(f, X[0])
    loop = the("while", graph)
    assert len(loop.outputs) == 1 and loop.params["n_cond_consts"] == loop.params["n_body_consts"] == 1
    assert graph.outputs[1:] == (graph.eqns[0].outputs[0], graph.inputs[0])


def test_a_loop_for_what_was_known_before_is_gone() -> None:
    graph = optimised(lambda x: lax.while_loop(lambda c: c[0] < 9, lambda c: (c[0] + 1, c[1]), (x, x))[1], X[0])
    assert not graph.eqns and graph.outputs == graph.inputs[:1]


def test_ys_that_are_there_are_not_stacked() -> None:
    f = lambda c, xs: lax.scan(lambda s, x: (s * x, (x, c, s, s, 1.0)), c, xs)[1]  # noqa: E731
    graph = optimised(f, X, ROWS)
    assert len(the("scan", graph).outputs) == 2 and graph.outputs[0] is graph.inputs[1]
    assert graph.outputs[2] is graph.outputs[3]


def test_branches_lose_what_nobody_reads() -> None:
    def f(x: Any, w: Any) -> Any:
        return lax.cond(x[0] > 0, lambda a, b: (a, a * 2, b @ b, w), lambda a, b: (a, a, b + 1, w), x, w)

    graph = optimised(lambda x, w: f(x, w)[:2], X, W)
    cond = the("cond", graph)
    assert len(cond.inputs) == 2 and len(cond.outputs) == 1 and graph.outputs[0] is graph.inputs[0]
    assert "cond" not in names(optimised(lambda x, w: f(x, w)[::3], X, W))


def test_a_decided_branch_is_taken() -> None:
    graph = optimised(
        lambda x: lax.scan(lambda c, v: (lax.switch(5, [np.sin, np.cos, np.exp], c) * v, None), x, ROWS)[0], X
    )
    assert names(the("scan", graph).params["graph"]) == ["exp", "mul"]


def test_a_loop_without_iterations_is_gone() -> None:
    assert "scan" not in names(optimised(lambda c: lax.scan(lambda c, x: (c * x, c), c, ROWS[:0]), X))


def test_effects_keep_their_loop() -> None:
    def f(x: Any) -> Any:
        lax.fori_loop(0, 3, lambda i, c: fx.debug.print("{}", c) or c + 1, x)
        lax.cond(x > 0, lambda: fx.debug.print("positive"), lambda: None)
        return x

    assert [e.effect for e in optimised(f, X[0]).eqns if e.effect] == ["debug", "debug"]


# ------------------------------------------------------------------------------------------- hoist


def test_products_of_slices_become_one_product() -> None:
    def f(w: Any, u: Any, c: Any, xs: Any) -> Any:
        return lax.scan(lambda c, x: (np.tanh((np.sin(x) * 2) @ w + c @ u), c), c, xs)

    wide, rows = np.ones((16, 8)), np.ones((5, 2, 16))
    graph = optimised(f, wide, np.ones((8, 8)), np.ones((2, 8)), rows)
    assert names(the("scan", graph).params["graph"]) == ["dot_general", "add", "tanh"]
    product = next(e for e in graph.eqns if e.prim.name == "dot_general")
    assert product.outputs[0].aval.shape == (5, 2, 8)


def test_small_and_growing_products_stay() -> None:
    outer = lambda w, xs: lax.scan(lambda c, x: (np.sin(c) + x[:, None] @ w[None], None), np.ones((16, 16)), xs)  # noqa: E731
    assert names(optimised(outer, np.ones(16), np.ones((5, 16)))).count("dot_general") == 0


def test_what_is_the_same_in_every_iteration_moves_if_it_is_worth_it() -> None:
    def f(w: Any, x: Any, xs: Any) -> Any:
        def body(c: Any, v: Any) -> Any:
            return np.tanh(c + np.exp(w) @ x + (x + 1)) * v + np.sum(w), None

        return lax.scan(body, x, xs)[0]

    inside = names(the("scan", optimised(f, W, X, ROWS)).params["graph"])
    assert not {"exp", "dot_general", "reduce_sum"} & set(inside) and "tanh" in inside
    cheap = names(
        the("scan", optimised(lambda x, xs: lax.scan(lambda c, v: (c * v + (x + 1), None), x, xs), X, ROWS)).params[
            "graph"
        ]
    )
    assert cheap.count("add") == 2


def test_while_bodies_keep_what_may_fail() -> None:
    def called(x: Any) -> Any:
        return fx.pure_callback(lambda v: 1 / 0, fx.ShapeDtypeStruct((3,), np.float64), x)

    def endless(x: Any) -> Any:
        return lax.while_loop(lambda c: c[0] > 0, lambda c: c, x)

    for fails in (called, endless):
        f = lambda x, fails=fails: lax.while_loop(lambda c: c.sum() < -99, lambda c: c + fails(x) + np.exp(x), x)  # noqa: E731
        graph = optimised(f, np.abs(X))
        assert names(graph) == ["exp", "while"]
        assert fx.jit(f)(np.abs(X)).shape == (3,)


def test_inner_loops_hand_on_what_they_need_not_repeat() -> None:
    def f(w: Any, xs: Any) -> Any:
        inner = lambda c: lax.fori_loop(0, 3, lambda i, c: c * np.exp(w).sum(), c)  # noqa: E731
        return lax.scan(lambda c, x: (inner(c) + x, None), xs[0], xs)[0]

    graph = optimised(f, W, ROWS)
    assert {"exp", "reduce_sum"} <= set(names(graph)) and not {"exp", "reduce_sum"} & {
        e.prim.name for e in all_eqns(the_first("scan", graph).params["graph"])
    }


def the_first(name: str, graph: Graph) -> Eqn:
    return next(e for e in graph.eqns if e.prim.name == name)


def attending(keys: Any, recurrent: Any, start: Any, memory: Any, xs: Any) -> Any:
    """A recurrent step that looks at a memory, and projects it in every iteration."""

    def step(h: Any, x: Any) -> Any:
        scores = np.tanh(memory @ np.exp(keys) + (h @ recurrent)[:, None])
        h = np.tanh(h + (scores * memory).sum(1) + x)
        return h, h.sum()

    h, sums = lax.scan(step, start, xs)
    return (h**2).sum() + (sums**2).sum()


def attended(keys: Any, recurrent: Any, start: Any, memory: Any, xs: Any) -> Any:
    """The same as a Python loop."""
    total, h = 0.0, start
    for x in xs:
        scores = np.tanh(memory @ np.exp(keys) + (h @ recurrent)[:, None])
        h = np.tanh(h + (scores * memory).sum(1) + x)
        total = total + h.sum() ** 2
    return total + (h**2).sum()


def attention_arguments() -> tuple[Any, ...]:
    rng = np.random.default_rng(1)
    normal = lambda *shape: rng.normal(size=shape) / 2  # noqa: E731
    return normal(4, 4), normal(4, 4), normal(3, 4), normal(3, 5, 4), normal(6, 3, 4)


def test_what_a_loop_need_not_repeat_is_transposed_behind_it() -> None:
    """The cotangents of what is the same in every iteration add up in the loop; its transpose is applied to the sum."""
    args = attention_arguments()
    graph = optimised(fx.grad(attending, (0, 1, 3)), *args)
    outside = names(graph)
    forward, backward = [e for e in graph.eqns if e.prim.name == "scan"]
    inside = names(backward.params["graph"])
    assert names(forward.params["graph"]).count("dot_general") == inside.count("dot_general") == 1
    assert "exp" not in inside
    assert (
        outside.count("exp") == 1
        and outside[outside.index("scan", outside.index("scan") + 1) :].count("dot_general") >= 3
    )


@pytest.mark.parametrize("length", [0, 1, 6])
@pytest.mark.parametrize("transform", ["grad", "second", "jvp", "vmap", "checkpoint"])
def test_gradients_through_what_moves_in_front_of_a_loop(transform: str, length: int) -> None:
    keys, recurrent, start, memory, xs = attention_arguments()
    args: tuple[Any, ...] = (keys, recurrent, start, memory, xs[:length])
    derive: dict[str, Callable[..., Any]] = {
        "grad": lambda f: fx.grad(f, (0, 1, 2, 3, 4)),
        "second": lambda f: fx.grad(lambda *a: np.sum(fx.grad(f)(*a) ** 2)),
        "jvp": lambda f: lambda *a: fx.jvp(f, a, a)[1],
        "vmap": lambda f: fx.vmap(fx.grad(f, (0, 3)), (None, None, 0, 0, 1)),
        "checkpoint": lambda f: fx.grad(fx.checkpoint(f), (0, 3)),
    }
    if transform == "vmap":
        args = (keys, recurrent, start[:, None], memory[:, None], args[4][:, :, None])
    want = fx.tree.leaves(derive[transform](attended)(*args))
    found = derive[transform](attending)
    for how in (found, fx.jit(found)):
        for a, b in zip(fx.tree.leaves(how(*args)), want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


# --------------------------------------------------------------------------- residuals, memory, time


def test_residuals_are_stacked_once_or_not_at_all() -> None:
    """grad of a recurrent network keeps of every iteration: the carry, and the slope of tanh."""

    def f(w: Any, c: Any, xs: Any) -> Any:
        return lax.scan(lambda c, x: (np.tanh(c @ np.exp(w) + x * w[0]), None), c, xs)[0].sum()

    graph = optimised(fx.grad(f, (0, 1, 2)), W, X, ROWS)
    forward, backward = [e for e in graph.eqns if e.prim.name == "scan"]
    assert not forward.params["reverse"] and backward.params["reverse"]
    assert [v.aval.shape for v in forward.outputs] == [(3,), (4, 3), (4, 3)]


def peak(f: Callable[..., Any], x: np.ndarray) -> float:
    """Memory of a call, in arrays like ``x``."""
    run = fx.jit(f)
    run(x)
    tracemalloc.start()
    run(x)
    found = tracemalloc.get_traced_memory()[1] / x.nbytes
    tracemalloc.stop()
    return found


def test_checkpoint_in_a_loop_bounds_memory() -> None:
    def step(c: Any, _: Any) -> Any:
        return np.sin(c) * c + c, None

    def nested(n: int) -> Callable[..., Any]:
        inner = fx.checkpoint(lambda c: lax.scan(step, c, None, length=n)[0])
        return lambda x: lax.scan(lambda c, _: (inner(c), None), x, None, length=n)[0].sum()

    def bounded(n: int) -> Callable[..., Any]:
        body = lambda s: (s[0] + 1, step(s[1], None)[0])  # noqa: E731
        return lambda x: lax.while_loop(lambda s: s[0] < n * n, body, (0, x), max_steps=n * n)[1].sum()

    x = np.full(4096, 0.1)
    for f in (nested, bounded):
        small, large = peak(fx.grad(f(6)), x), peak(fx.grad(f(12)), x)
        assert large < 2.2 * small and large < 70, (small, large)  # 144 iterations would keep 432 arrays
        np.testing.assert_allclose(fx.grad(f(4))(x), fx.grad(lambda x: lax.scan(step, x, None, length=16)[0].sum())(x))


def test_tracing_and_passes_take_time_in_proportion_to_the_equations() -> None:
    def long(n: int) -> Callable[..., Any]:
        def f(x: Any) -> Any:
            for _ in range(n):
                x = np.sin(x) * 0.5 + x * x
            return x.sum()

        return f

    def calls(n: int) -> int:
        profile = cProfile.Profile()
        profile.enable()
        optimised(fx.grad(long(n)), X)
        optimised(fx.grad(lambda x: lax.scan(lambda c, v: (long(n)(c) * v, None), x, ROWS)[0].sum()), X)
        profile.disable()
        return pstats.Stats(profile).total_calls  # type: ignore[attr-defined,no-any-return]

    with fx.config.using(verify=False):
        calls(5)
        assert calls(96) < 4.4 * calls(24)


def test_equal_graphs_are_one() -> None:
    def traced(k: float) -> Graph:
        return graph_of(lambda x: lax.scan(lambda c, v: (c * v + k, None), x, ROWS)[0], X)[0]

    a, b, c = traced(2.0), traced(2.0), traced(-0.0)
    assert interned(a) is a and interned(b) is a and interned(c) is c and interned(traced(0.0)) is not c
    called = [graph_of(lambda x: fx.debug.callback(print, x) or x, X)[0] for _ in range(2)]
    assert interned(called[0]) is called[0] and interned(called[1]) is called[1]
