"""Updates of arrays by a product that is never in memory: equal to the reference, in place, with the same bits on any threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graph_harness import agree, graph_of

import fx
import fx.numpy as fnp
import jit
from fx import lax
from fx.interpret import run_graph
from jit.lower.registry import Step
from jit.target import host

SMALL_CACHE = dataclasses.replace(host(), l3_bytes=4)  # no result is too small to be worth it
JOINS = "so that it takes no memory"


def product(x: Any, dy: Any) -> Any:
    return fnp.matmul(x.T, dy)


def adam(w: Any, m: Any, v: Any, x: Any, dy: Any) -> Any:
    g = product(x, dy)
    m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
    return w - 0.1 * m / (fnp.sqrt(v * v) + 1), m, v


def momentum(w: Any, m: Any, v: Any, x: Any, dy: Any) -> Any:
    m = 0.9 * m + product(x, dy)
    return w - 0.1 * m, m


def scaled(w: Any, m: Any, v: Any, x: Any, dy: Any) -> Any:
    return (w - product(x, dy) * v,)  # v stays what it was


def read_twice(w: Any, m: Any, v: Any, x: Any, dy: Any) -> Any:
    g = product(x, dy)
    return (w - 0.1 * g * fnp.abs(g) + g,)


def by_rows_and_columns(w: Any, m: Any, v: Any, x: Any, dy: Any) -> Any:
    return (w * dy[:1] - product(x, dy) * x[:1].T,)


UPDATES: dict[str, tuple[Callable[..., Any], int]] = {  # and how many results lie in the first arguments
    "sgd": (lambda w, m, v, x, dy: (w - 0.1 * product(x, dy),), 1),
    "momentum": (momentum, 2),
    "adam": (adam, 3),
    "scaled": (scaled, 1),
    "read twice": (read_twice, 1),
    "rows and columns": (by_rows_and_columns, 1),
}
# rows of the result, columns, values of k: odd sizes, one panel and shifted ones, many slices of k
SHAPES = [(7, 5, 3), (13, 40, 20), (97, 33, 40), (130, 130, 33), (24, 70, 5000), (784, 128, 32), (1, 9, 4), (9, 1, 4)]


def arrays(m: int, n: int, k: int, dtype: Any = "float32") -> list[np.ndarray]:
    rng = np.random.default_rng([m, n, k])
    whole = [rng.normal(size=(m, n)) for _ in range(3)]
    return [a.astype(dtype) for a in (*whole, rng.normal(size=(k, m)) / k, rng.normal(size=(k, n)))]


def copies(given: list[np.ndarray]) -> list[np.ndarray]:
    return [a.copy() for a in given]


def run(
    graph: Any, given: list[np.ndarray], **options: Any
) -> tuple[jit.Executable, list[np.ndarray], list[np.ndarray]]:
    """The executable, its own arguments, and what it returned."""
    e = jit.compile(graph, jit.Options(**{"target": SMALL_CACHE, "num_threads": 2, "verify": True, **options}))
    mine = copies(given)
    return e, mine, e(*mine)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_updates_in_place(update: str, dtype: str) -> None:
    f, results = UPDATES[update]
    for shape in SHAPES:
        given = arrays(*shape, dtype)
        graph = graph_of(f, *given)
        wanted = run_graph(graph, given)
        donated, mine, found = run(graph, given, donate=tuple(range(results)))
        _, untouched, others = run(graph, given)
        for k, (a, b, w) in enumerate(zip(found, others, wanted, strict=True)):
            agree(a, w, f"{shape}, result {k}", 4)
            agree(b, w, f"{shape}, result {k}, nothing donated", 4)
            assert any(a is x for x in mine[:results])
        for a, b in zip(given, untouched):
            np.testing.assert_array_equal(a, b)
        if min(shape) > 1:
            assert JOINS in donated.explain()
            if shape[2] < 1000:  # there, k is cut, and the sums of its parts are in memory
                assert donated.arena_bytes < given[0].nbytes + 2 * sum(_own_bytes(donated))


def _own_bytes(e: jit.Executable) -> list[int]:
    """Memory of the workers."""
    return [b.nbytes for b in e.program.buffers.buffers if b.kind == "arena" and b.aval is None]


def test_only_what_saves_memory_is_joined() -> None:
    """Where the result is an array of its own, the product lies in its memory: nothing is gained."""
    for shape, donate, joins in [
        ((300, 200, 32), (0,), True),
        ((300, 200, 32), (), False),
        ((30, 20, 32), (0,), False),
    ]:
        given = arrays(*shape)
        e, *_ = run(graph_of(UPDATES["sgd"][0], *given), given, donate=donate, target=host())
        assert (JOINS in e.explain()) is joins


@pytest.mark.parametrize("update", ["sgd", "adam"])
def test_the_bits_do_not_depend_on_threads(update: str) -> None:
    f, results = UPDATES[update]
    for shape in [(130, 130, 33), (784, 128, 32), (200, 300, 700)]:
        given = arrays(*shape)
        graph = graph_of(f, *given)
        first, *others = [run(graph, given, donate=tuple(range(results)), num_threads=n)[2] for n in (1, 2, 3, 7)]
        for found in others:
            for a, b in zip(first, found):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("engine", ["quick", "numba"])
def test_other_engines(engine: str) -> None:
    given = arrays(33, 40, 20)
    graph = graph_of(adam, *given)
    for a, w in zip(run(graph, given, donate=(0, 1, 2), engine=engine)[2], run_graph(graph, given)):
        agree(a, w, engine, 4)


@pytest.mark.parametrize("level", ["avx2", "sse4", "scalar"])
def test_other_machines(level: str) -> None:
    target = dataclasses.replace(host().restricted(level), l3_bytes=4)
    for shape in [(13, 40, 20), (97, 33, 40), (9, 5, 7)]:
        given = arrays(*shape)
        graph = graph_of(adam, *given)
        e, _, found = run(graph, given, donate=(0, 1, 2), target=target)
        assert JOINS in e.explain()
        for a, w in zip(found, run_graph(graph, given)):
            agree(a, w, f"{shape} {level}", 4)


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex64"])
def test_other_types_stay_right(dtype: str) -> None:
    rng = np.random.default_rng(0)
    w, x, dy = (rng.integers(-3, 4, s).astype(dtype) for s in [(33, 20), (16, 33), (16, 20)])
    graph = graph_of(lambda w, x, dy: (w - product(x, dy),), w, x, dy)
    (wanted,) = run_graph(graph, [w, x, dy])
    e, mine, (found,) = run(graph, [w, x, dy], donate=(0,))
    agree(found, wanted)
    assert found is mine[0] and JOINS not in e.explain()


def test_what_the_product_reads_is_not_written_over() -> None:
    w, x = np.random.default_rng(0).normal(size=(2, 200, 200)).astype("float32")  # several panels and blocks
    for f in (
        lambda w, x: (w - 0.1 * (w @ x),),
        lambda w, x: (w - 0.1 * (x @ w.T),),
        lambda w, x: (w - 0.1 * (w.T @ w),),
        lambda w, x: (x - w @ x, w - x @ w),
    ):
        graph = graph_of(f, w, x)
        for a, wanted in zip(run(graph, [w, x], donate=(0, 1))[2], run_graph(graph, [w, x])):
            agree(a, wanted, scale=4)


def test_arguments_that_share_memory() -> None:
    given = arrays(33, 40, 20)
    graph = graph_of(adam, *given)
    e = jit.compile(graph, jit.Options(target=SMALL_CACHE, donate=(0, 1, 2)))
    same = [given[0], given[0], given[0], *given[3:]]
    wanted = run_graph(graph, copies(same))
    for a, w in zip(e(*same), wanted):
        agree(a, w, scale=4)


def test_what_else_reads_a_gradient_or_a_weight() -> None:
    """Returned gradients, clipping by the norm of all, and weights that the backward pass still needs."""

    def clipped(w1: Any, w2: Any, x: Any, y: Any) -> Any:
        def loss(w1: Any, w2: Any) -> Any:
            return fnp.sum((fnp.tanh(x @ w1) @ w2 - y) ** 2)

        g1, g2 = fx.grad(loss, (0, 1))(w1, w2)
        norm = fnp.sqrt(fnp.sum(g1 * g1) + fnp.sum(g2 * g2))
        return w1 - 0.1 * g1 / norm, w2 - 0.1 * g2 / norm

    def returned(w1: Any, w2: Any, x: Any, y: Any) -> Any:
        def loss(w1: Any, w2: Any) -> Any:
            return fnp.sum((fnp.tanh(x @ w1) @ w2 - y) ** 2)

        g1, g2 = fx.grad(loss, (0, 1))(w1, w2)
        return w1 - 1e-3 * g1, w2 - 1e-3 * g2, g1

    rng = np.random.default_rng(0)
    given = [rng.normal(size=s).astype("float32") for s in [(200, 300), (300, 150), (16, 200), (16, 150)]]
    for f, joins in ((clipped, (False, False)), (returned, (False, True, False))):
        graph = fx.make_graph(f)(*given).graph
        e, mine, found = run(graph, given, donate=(0, 1), target=host())
        makers = [next(g for g in e.plan.groups if o in g.writes) for o in e.plan.outputs]
        assert tuple(g.kind == "library" and g.nest is not None for g in makers) == joins
        for k, (a, w) in enumerate(zip(found, run_graph(graph, given), strict=True)):
            agree(a, w, f"{f.__name__} {k}", 4)
            assert k > 1 or a is mine[k]


def test_a_loop_updates_what_it_carries() -> None:
    def train(w: Any, xs: Any, ys: Any) -> Any:
        def step(w: Any, batch: Any) -> Any:
            x, y = batch
            return w - 0.1 * (x.T @ (x @ w - y)), fnp.sum(w)

        return lax.scan(step, w, (xs, ys))

    rng = np.random.default_rng(0)
    given = [rng.normal(size=s).astype("float32") / 4 for s in [(20, 24), (5, 8, 20), (5, 8, 24)]]
    graph = fx.make_graph(train)(*given).graph
    e, _, found = run(graph, given)
    assert JOINS in e.explain()
    for a, w in zip(found, run_graph(graph, given), strict=True):
        agree(a, w, scale=16)


def test_new_sizes_are_filled_in() -> None:
    step = fx.jit(lambda w, x, y: w - 0.1 * (x.T @ (x @ w - y)), donate_argnums=0)
    rng = np.random.default_rng(0)
    for batch in (32, 40, 25, 64, 33):
        w, x, y = (rng.normal(size=s).astype("float32") / 8 for s in [(200, 150), (batch, 200), (batch, 150)])
        agree(np.asarray(step(w.copy(), x, y)), w - np.float32(0.1) * (x.T @ (x @ w - y)), f"batch {batch}", 16)


def test_sizes_that_vary_have_the_epilogues_of_the_first_one() -> None:
    """Of results that no usual change makes small: another size needs no other kernels."""

    @fx.jit
    def masked(x: Any, y: Any, v: Any, w: Any) -> Any:
        return fnp.where(x @ v > 0, y @ w, 0) @ v.T  # over one product, as the epilogue of the other

    rng = np.random.default_rng(0)
    v, w = (rng.normal(size=(20, 1024)).astype("float32") for _ in range(2))
    for batch in (64, 96, 70):
        x, y = (rng.normal(size=(batch, 20)).astype("float32") for _ in range(2))
        agree(np.asarray(masked(x, y, v, w)), np.where(x @ v > 0, y @ w, 0) @ v.T, f"batch {batch}", 64)
    first, *_, filled = masked._programs.entries.values()
    assert filled.family is not None
    assert len(filled.run.assembly.steps) == len(first.run.assembly.steps)


def test_one_kernel_of_a_product_serves_all_epilogues() -> None:
    given = arrays(97, 33, 40)
    names = set()
    for f, results in UPDATES.values():
        e, *_ = run(graph_of(f, *given), given, donate=tuple(range(results)))
        steps = [s for s in e.program.steps if isinstance(s, Step) and s.calls]
        assert len(steps) == 1
        names |= {s.kernel.key for s in steps}
    assert len(names) == 1


def test_empty_updates() -> None:
    for m, n, k in [(0, 5, 3), (5, 0, 3), (5, 7, 0)]:
        given = [np.ones(s, "float32") for s in [(m, n), (m, n), (m, n), (k, m), (k, n)]]
        graph = graph_of(adam, *given)
        for a, w in zip(run(graph, given, donate=(0, 1, 2))[2], run_graph(graph, given)):
            agree(a, w)


@pytest.mark.parametrize("times, joins", [(1, False), (3, True)])
def test_what_the_third_level_cache_holds_has_no_epilogue(times: int, joins: bool) -> None:
    """The map writes over the result there; a larger one joins the product."""
    x, w = arrays(64, 32, 128, "float32")[3:]
    target = dataclasses.replace(host(), l3_bytes=64 * 32 * 4 // times)
    graph = graph_of(lambda x, w: (fnp.maximum(product(x, w), 0),), x, w)
    e = jit.compile(graph, jit.Options(target=target, verify=True))
    assert (JOINS in e.explain()) == joins
    agree(e(x, w)[0], run_graph(graph, (x, w))[0], "", 4)
