"""Loops and branches of the tape: compiled scan, while and cond against the reference evaluator."""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from graph_harness import agree, check, graph_of

import fx
import fx.numpy as fnp
import jit
from fx import lax
from fx.errors import GraphError, ShapeError
from fx.interpret import run_graph
from jit.buffers import plan_buffers
from jit.lower.context import LogicalBuffer
from jit.lower.registry import Operand
from jit.lower.steering import LoopBegin, LoopEnd, LoopExit
from jit.plan import View

RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 4))
X = RNG.normal(size=4)
ROWS = RNG.normal(size=(5, 4))


def tanh_cell(c: Any, x: Any) -> tuple[Any, Any]:
    c = fnp.tanh(fnp.matmul(c, W) + x)
    return c, c.sum()


def leaves(f: Callable[..., Any]) -> Callable[..., list[Any]]:
    return lambda *args: fx.tree.leaves(f(*args))


def run(
    f: Callable[..., Any], *arrays: np.ndarray, fuses: Sequence[bool] = (True, False), **options: Any
) -> jit.Executable:
    """``check``, with what ``f`` closes over as further inputs."""
    graph, captures = fx.trace.trace_flat(leaves(f), [fx.ir.Aval(a.shape, a.dtype) for a in arrays], kind="jit")
    args = [*arrays, *(np.asarray(c) for c in captures)]
    graph = fx.passes.optimize(graph)
    wanted = run_graph(graph, args)
    found = [jit.compile(graph, jit.Options(fuse=fuse, verify=True, **options)) for fuse in fuses]
    for e in found:
        for _ in range(2):  # a second call finds the words of the first
            for k, (o, w) in enumerate(zip(e(*args), wanted, strict=True)):
                agree(o, w, f"output {k}\n{e.explain()}")
    return found[0]


@pytest.fixture(params=["in steps", "written out"], autouse=True)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test runs with loops as steps of the tape, and with small ones written out in a kernel."""
    if request.param == "in steps":
        monkeypatch.setattr(jit.lower.control_flow, "is_small", lambda graph: False)
    return str(request.param)


# ------------------------------------------------------------------------------------------- scan

SCANS: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "alternates, odd": (lambda x, t: lax.scan(tanh_cell, x, t), (X, ROWS)),
    "alternates, even": (lambda x, t: lax.scan(tanh_cell, x, t), (X, ROWS[:4])),
    "one iteration": (lambda x, t: lax.scan(tanh_cell, x, t), (X, ROWS[:1])),
    "no iteration": (lambda x, t: lax.scan(tanh_cell, x, t), (X, ROWS[:0])),
    "reverse": (lambda x, t: lax.scan(tanh_cell, x, t, reverse=True), (X, ROWS)),
    "in place": (lambda x, t: lax.scan(lambda c, r: (c * r + 1, None), x, t), (X, ROWS)),
    "unchanged": (lambda x, t: lax.scan(lambda c, r: (c, c + r), x, t), (X, ROWS)),
    "exchanged": (lambda x, t: lax.scan(lambda c, r: ((c[1], c[0] + r), c[0]), (x, 2 * x), t), (X, ROWS)),
    "rotated": (lambda x, t: lax.scan(lambda c, r: ((c[1], c[2], c[0]), c), (x, x + 1, x + 2), t), (X, ROWS)),
    "literal carry": (lambda x, t: lax.scan(lambda c, r: (fnp.float64(3.0), c), fnp.float64(1.0), t), (X, ROWS)),
    "slices of a transpose": (lambda x, t: lax.scan(tanh_cell, x, t.T), (X, ROWS.T.copy())),
    "slices from the end": (lambda x, t: lax.scan(tanh_cell, x, t[::-1]), (X, ROWS)),
    "every other slice": (lambda x, t: lax.scan(tanh_cell, x, t[::2]), (X, ROWS)),
    "the same slice": (lambda x, t: lax.scan(tanh_cell, x, fnp.broadcast_to(x, (3, 4))), (X, ROWS)),
    "strided init": (lambda x, t: lax.scan(tanh_cell, t[:4, 2], t), (X, ROWS)),
    "scalars": (lambda x, t: lax.scan(lambda c, s: (c * s + 1, c), x[0], x), (X, ROWS)),
    "no elements": (lambda x, t: lax.scan(lambda c, r: (c * r, c), x[:0], t[:, :0]), (X, ROWS)),
    "no slices": (lambda x, t: lax.scan(lambda c, _: (c / 2, c.max()), x, None, length=6), (X, ROWS)),
    "no carry": (lambda x, t: lax.scan(lambda _, r: (None, fnp.sort(r)), None, t), (X, ROWS)),
    "slice put out": (lambda x, t: lax.scan(lambda c, r: (c + r, (r, r, x)), x, t), (X, ROWS)),
    "buffer filled in place": (
        lambda x, t: lax.scan(lambda c, i: (c.at[i].set(c[i - 1] + 1), None), x, fnp.arange(4)),
        (X, ROWS),
    ),
    "reads after writing": (
        lambda x, t: lax.scan(lambda c, r: (c + 1, (fnp.cumsum(c), c @ W, fnp.cumsum(c + 1))), x, t),
        (X, ROWS),
    ),
    "branch in it": (
        lambda x, t: lax.scan(
            lambda c, r: lax.cond(r[0] > 0, lambda: (c * 2, r.sum()), lambda: (c - r, c.sum())), x, t
        ),
        (X, ROWS),
    ),
}


@pytest.mark.parametrize("name", SCANS)
def test_scan_equals_the_reference(name: str) -> None:
    f, arrays = SCANS[name]
    run(f, *arrays)


def nested(x: Any, t: Any) -> Any:
    """The outer slice is constant, slices and carry of inner loops; the inner one runs backwards."""

    def outer(c: Any, row: Any) -> Any:
        d, ys = lax.scan(lambda d, y: (d + y * c.sum() * row[1], d * y), c[0], row, reverse=True)
        e = lax.fori_loop(0, 3, lambda i, v: fnp.tanh(v @ W) + row, row)
        n, _ = lax.while_loop(lambda s: s[1] < 10, lambda s: (s[0] + 1, s[1] + 3 + c[0] ** 2), (0, d))
        return c + d + e, (ys, n)

    return lax.scan(outer, x, t)


def test_loops_in_loops(form: str) -> None:
    e = run(nested, X, ROWS)
    text = e.explain()
    assert "(5 times)" in text
    if form == "in steps":
        assert text.count("repeat loop") == 4 and "moving by -8 bytes" in text
    else:
        assert text.count("repeat loop") == 2 and text.count("of_small_values") == 3


def test_what_a_loop_multiplies_by_is_packed_before_the_loop() -> None:
    rng = np.random.default_rng(0)
    c, w = rng.standard_normal((9, 130)), rng.standard_normal((130, 130)) / 11
    e = run(lambda c, w: lax.fori_loop(0, 4, lambda i, c: fnp.tanh(c @ w.T), c), c, w)
    packs = [k for k, s in enumerate(e.program.steps) if s.name.endswith("(pack)")]
    (begin,) = [k for k, s in enumerate(e.program.steps) if isinstance(s, LoopBegin)]
    assert packs and max(packs) < begin


@pytest.mark.parametrize("length", [1, 5])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_carry_whose_old_values_are_stacked_lies_in_its_stack(reverse: bool, length: int, form: str) -> None:
    """Nothing is copied in the loop: the new value is written behind the old one; with all other things that read either."""

    def body(state: Any, x: Any) -> Any:
        h, s = state
        new = fnp.tanh(fnp.matmul(h, W) + x)
        return (new, s * 2 + h), (h, s.sum(), s, new)

    def inside(c: Any, xs: Any) -> Any:
        (h, s), (hs, sums, ss, news) = lax.scan(body, (c, c * 2), xs, reverse=reverse)
        return h, s * s, (hs * 3).sum(0), sums, fnp.cumsum(ss, 0), hs - news, ss[0]

    def outside(c: Any, xs: Any) -> Any:  # here the stacks are results of the program
        return lax.scan(body, (c, c * 2), xs, reverse=reverse)

    def within(c: Any, xs: Any) -> Any:
        def outer(c: Any, x: Any) -> Any:
            h, _, total, _, sums, *_ = inside(c + x, xs)
            return h, (c, total, sums)

        return lax.scan(outer, c, xs, reverse=not reverse)[1][2].sum(0)

    def branches(c: Any, xs: Any) -> Any:
        stack = lambda xs: lax.scan(body, (c, c), xs, reverse=reverse)[1][0]
        return lax.cond(c[0] > 0, stack, lambda xs: stack(xs + 1) * 2, xs).sum(0)

    e = run(inside, X, ROWS[:length])
    if form == "in steps":
        steps = e.program.steps
        begin, end = (next(k for k, s in enumerate(steps) if isinstance(s, kind)) for kind in (LoopBegin, LoopEnd))
        assert "map_copy" not in [s.name for s in steps[begin:end]]
    for f in (outside, within, branches):
        run(f, X, ROWS[:length])
    run(branches, -X, ROWS[:length])


def test_the_same_body_twice_in_a_program() -> None:
    graph = graph_of(lambda c, x: list(tanh_cell_with(c, x)), X, X)
    scan = fx.primitive.primitive("scan")

    def both(x: Any, t: Any) -> list[Any]:
        p = {"graph": graph, "n_consts": 0, "n_carry": 1, "length": 5, "reverse": False, "unroll": 1}
        first = fx.trace.bind(scan, x, t, **p)
        return [*first, *fx.trace.bind(scan, first[0], t, **p)]

    run(both, X, ROWS)


def tanh_cell_with(c: Any, x: Any) -> tuple[Any, Any]:
    c = fnp.tanh(fnp.cumsum(c) + x)
    return c, c * 2


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "bfloat16", "float32", "complex64"])
def test_dtypes_of_carries_and_slices(dtype: str) -> None:
    d = fx.dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    xs = (RNG.normal(size=(5, 3)) * 3).astype(d)

    def body(c: Any, x: Any) -> Any:
        new = fnp.logical_xor(c, x) if dtype == "bool" else (c + x)
        return fnp.flip(new), new

    run(lambda t: lax.scan(body, t[0], t), xs)


def test_numba_engine_and_threads_agree() -> None:
    run(nested, X, ROWS, fuses=(True,), engine="numba")
    big = RNG.normal(size=(3, 600, 500)).astype(np.float32)

    def f(x: Any) -> list[Any]:
        return list(lax.scan(lambda c, r: (fnp.tanh(c * r + c.mean(0)), c.sum()), x[0], x))

    graph = fx.passes.optimize(graph_of(f, big))
    results = [jit.compile(graph, jit.Options(num_threads=n))(big) for n in (1, 2, 3, 7)]
    for other in results[1:]:
        for a, b in zip(results[0], other):
            assert a.tobytes() == b.tobytes()


def test_calls_at_the_same_time() -> None:
    e = run(nested, X, ROWS)
    args = [X, ROWS] + [np.asarray(c) for c in [W] * (len(e.graph.inputs) - 2)]
    wanted = e(*args)
    wrong: list[int] = []

    def work() -> None:
        for _ in range(50):
            if any(a.tobytes() != b.tobytes() for a, b in zip(e(*args), wanted)):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


# ------------------------------------------------------------------------------------ while and cond


@pytest.mark.parametrize("start", [0, 1, 4, 5, 9])
def test_while(start: int) -> None:
    def f(n: Any, x: Any) -> Any:
        def body(s: Any) -> Any:
            return s[0] + 1, fnp.tanh(s[1] @ W), s[1], s[2].sum() + s[3]

        return lax.while_loop(lambda s: s[0] < 5, body, (n, x, x * 2, x[0]))

    run(f, np.int32(start), X)


def test_while_with_a_predicate_that_is_carried() -> None:
    run(lambda x: lax.while_loop(lambda s: s[0], lambda s: (s[1].sum() < 20, s[1] + 1), (fnp.bool_(True), x)), X)


@pytest.mark.parametrize("index", [-3, 0, 1, 2, 3, 2**31 - 1])
def test_switch_clamps(index: int) -> None:
    branches = [lambda x: (x * 2, x[0]), lambda x: (fnp.sort(x), 1.5), lambda x: (x @ W, x.sum())]
    run(lambda i, x: lax.switch(i, branches, x), np.int32(index), X)


def test_branches_run_alone() -> None:
    """A branch that does not run leaves its memory alone, and its callback is not called."""
    seen: list[str] = []

    def f(i: Any, x: Any) -> Any:
        def say(name: str, y: Any) -> Any:
            fx.debug.callback(lambda _: seen.append(name), y)
            return y

        return lax.switch(i, [lambda: say("a", x), lambda: say("b", x + 1), lambda: say("c", x * 2)])

    j = fx.jit(f)
    for i, name in enumerate("abc"):
        j(i, X)
        assert seen == [name]
        seen.clear()


def test_a_batch_with_one_predicate_runs_one_branch() -> None:
    """``vmap`` of cond, switch and while_loop: what is the same for all examples is decided once; else each example has its own."""
    seen: list[str] = []

    def say(name: str, y: Any) -> Any:
        fx.debug.callback(lambda _: seen.append(name), y)
        return y

    def f(i: Any, x: Any) -> Any:
        return lax.switch(i, [lambda: say("a", x), lambda: say("b", x + 1), lambda: say("c", x * 2)])

    one, each = [fx.jit(fx.vmap(f, in_axes=(axis, 0))) for axis in (None, 0)]
    for i, name in enumerate("abc"):
        agree(one(i, X), np.stack([X, X + 1, X * 2])[i], name)
        assert seen == [name] * len(X)
        seen.clear()
    agree(each(np.array([2, 0, 1, 2]), X), np.array([X[0] * 2, X[1], X[2] + 1, X[3] * 2]), "each")
    assert sorted(seen) == list("abcc")


# ------------------------------------------------------------------------------------ what is planned


def test_the_projection_of_the_inputs_is_one_product_before_the_loop() -> None:
    def f(w: Any, u: Any, c: Any, xs: Any) -> Any:
        return lax.scan(lambda c, x: (fnp.tanh(x @ w + c @ u), c), c, xs)

    args = np.ones((16, 8)), np.ones((8, 8)), np.ones((2, 8)), np.ones((5, 2, 16))
    text = fx.jit(f).lower(*args).explain()
    before, inside = text.split("library scan")
    assert before.count("library dot_general") == inside.count("library dot_general") == 1
    assert "f64[5,2,8] = dot_general" in before and "f64[2,8] = dot_general" in inside


def test_checkpoint_in_a_scan_bounds_the_arena() -> None:
    """Four times the iterations take twice the memory; without it, four times."""
    x = np.full(512, 0.1)

    def step(c: Any, _: Any) -> Any:
        return np.sin(c) * c + c, None

    def arena(inner: int, outer: int) -> float:
        block = fx.checkpoint(lambda c: lax.scan(step, c, None, length=inner)[0])
        f = lambda x: lax.scan(lambda c, _: (block(c), None), x, None, length=outer)[0].sum()  # noqa: E731
        return float(fx.jit(fx.grad(f)).lower(x).cost_analysis()["arena_bytes"]) / x.nbytes

    assert arena(12, 12) < 2.2 * arena(6, 6) < 70
    assert arena(1, 144) > 140


# ----------------------------------------------------------------------------- callbacks and signals


def test_callbacks_in_loops_see_each_iteration() -> None:
    seen: list[float] = []

    def body(c: Any, x: Any) -> Any:
        fx.debug.callback(lambda v: seen.append(float(v)), c.sum())
        return fx.pure_callback(lambda v: np.cumsum(v), fx.ShapeDtypeStruct(c.shape, c.dtype), c + x), None

    f = fx.jit(lambda x, t: lax.scan(body, x, t)[0])
    found = np.asarray(f(X, ROWS))
    c, wanted = X, []
    for row in ROWS:
        wanted.append(c.sum())
        c = np.cumsum(c + row)
    np.testing.assert_allclose(found, c)
    np.testing.assert_allclose(seen, wanted)


@pytest.mark.parametrize("bad", [lambda v: 1 / 0, lambda v: v[:2]], ids=["raises", "wrong shape"])
def test_an_exception_ends_the_loop(bad: Callable[[Any], Any]) -> None:
    calls: list[int] = []

    def callback(v: Any) -> Any:
        calls.append(1)
        return bad(v) if len(calls) == 3 else v

    def body(c: Any, x: Any) -> Any:
        return fx.pure_callback(callback, fx.ShapeDtypeStruct(c.shape, c.dtype), c + x), None

    f = fx.jit(lambda x, t: lax.scan(body, x, t)[0])
    with pytest.raises((ZeroDivisionError, ShapeError)):
        f(X, ROWS)
    assert len(calls) == 3
    np.testing.assert_allclose(np.asarray(f(X, ROWS)), X + ROWS.sum(0))  # and the program can be called again


def test_a_signal_ends_an_endless_loop() -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    f = fx.jit(lambda x: lax.while_loop(lambda c: c > -1, lambda c: c * 0.5, x))
    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            f(np.float64(1.0))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


# ------------------------------------------------------------------------------------------ buffers


def test_what_a_loop_finds_or_keeps_lives_as_long_as_the_loop() -> None:
    flag = Operand(3, (), (), 0, np.dtype(bool))
    buffers = [
        LogicalBuffer("arena", 64),  # 0: found from outside, read early in the loop
        LogicalBuffer("arena", 64),  # 1: kept
        LogicalBuffer("arena", 64),  # 2: the other half of a pair with 1
        LogicalBuffer("arena", 1),  # 3: inside an iteration
        LogicalBuffer("view", 64, view=View(1, loop=0, other=2)),
    ]

    outside = LoopExit(9, Operand(0, (), (), 0, np.dtype(bool)))
    kept = LoopExit(9, Operand(4, (), (), 0, np.dtype(bool)))
    steps = [outside, LoopBegin(0, frozenset({4})), outside, LoopExit(0, flag), kept, LoopEnd(0, None)]
    plan = plan_buffers(buffers, steps, 1)
    assert [(b.first, b.last) for b in plan.buffers[:4]] == [(0, 5), (1, 5), (1, 5), (3, 3)]
    plan.verify()
    broken = [
        b if k != 1 else dataclasses.replace(b, offset=plan.buffers[0].offset) for k, b in enumerate(plan.buffers)
    ]
    with pytest.raises(GraphError, match="overlap"):
        type(plan)(tuple(broken), plan.arena_bytes).verify()


def test_the_reference_agrees_without_fusion() -> None:
    check(lambda x: list(lax.scan(lambda c, r: (c + r, c), x[0], x)), ROWS)


def test_what_can_be_written_out() -> None:
    """Everything that moves, reduces or multiplies a few elements."""

    def body(c: Any, x: Any) -> Any:
        m = fnp.reshape(x, (2, 2))
        p = lax.pad(m, 1.5, ((1, 0, 1), (-1, 2, 0)))
        q = fnp.concatenate([m.T, m[::-1], fnp.broadcast_to(c[:2], (1, 2))])
        r = lax.dot_general(q.reshape(1, 5, 2), p.reshape(2, 2, 3)[:1, :, :2], (((2,), (1,)), ((0,), (0,))))
        n = fnp.argmax(x) + fnp.argmin(r.ravel()).astype(int)
        z = lax.complex(x, c) * (1 + 2j)
        d = lax.cond(n > 3, lambda: (c * 2, n), lambda: (fnp.where(c > x, c, x), n + 1))
        e = lax.switch(
            n,
            [lambda: x, lambda: -x, lambda: x * 0],
        )
        return fnp.tanh(d[0] + e), (p.sum(0), r, n, z, z.prod(), fnp.any(x > c), x.max() - fnp.arange(3.0), d[1])

    types = [fx.ir.Aval(X.shape, X.dtype)] * 2
    assert jit.lower.unrolled.is_small(fx.trace.trace_flat(leaves(body), types, kind="jit")[0])
    run(lambda x, t: lax.scan(body, x, t), X, ROWS)


def test_what_is_too_large_or_unknown_is_not_written_out() -> None:
    big, small = np.ones(17), np.ones(3)
    assert not jit.lower.unrolled.is_small(graph_of(lambda x: [x + 1], big))
    assert not jit.lower.unrolled.is_small(graph_of(lambda x: [fnp.sort(x)], small))
    assert not jit.lower.unrolled.is_small(graph_of(lambda x: [fnp.cumsum(x)], small))


def test_maps_of_long_functions_are_kernels_of_their_own() -> None:
    is_small, x = jit.lower.unrolled.is_small, np.ones(8)
    assert not is_small(graph_of(lambda x: [fnp.sin(x * 2) + x], x))
    assert is_small(graph_of(lambda x: [fnp.sin(x * 2) + x], x[:2]))
    assert is_small(graph_of(lambda x: [fnp.sin(x * 2) + x.sum()], x))  # would be two kernels
    assert is_small(graph_of(lambda x: [x * x + x], x))


@pytest.mark.parametrize("loop", ["scan", "while", "cond"])
def test_loops_that_differ_by_numbers_share_a_kernel(loop: str) -> None:
    def program(a: float, b: float) -> Any:
        def body(c: Any) -> Any:
            if loop == "cond":
                return lax.cond(c[0] > a, lambda: c * b, lambda: c + a)
            return c * a + b

        if loop == "while":
            return lambda x: lax.while_loop(lambda s: s[0] < 5, lambda s: (s[0] + 1, body(s[1])), (0, x))[1]
        return lambda x: lax.scan(lambda c, _: (body(c), None), x, None, length=5)[0]

    found = set()
    for a, b in ((0.3, 7.0), (-0.7, 0.1), (1e30, -1e-30), (0.7, 0.7)):
        e = run(program(a, b), X[:3])
        found |= {h.kernel for h in e.program.kernels if "small_values" in h.kernel.name}
    assert len(found) <= (2 if jit.lower.control_flow.is_small is jit.lower.unrolled.is_small else 0)
