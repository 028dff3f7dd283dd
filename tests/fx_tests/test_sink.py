"""Sums of products that a loop only collects become one product behind it, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import lax
from fx.interpret import run_graph
from fx.ir import Graph
from fx.passes import PIPELINE, optimize, sink
from fx.passes import hoist as hoist_pass
from fx.verify import verify_graph

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(5, 3, 4)), RNG.normal(size=(5, 3, 6))
W, V = RNG.normal(size=(4, 4)), RNG.normal(size=4)


def scans(g: Graph) -> list[Any]:
    return [e for e in g.eqns if e.prim.name == "scan"]


def check(f: Callable[..., Any], *args: Any) -> tuple[int, int]:
    """The result is that of the graph as it was; returns the carries before and after."""
    lowered = fx.jit(f).lower(*args)
    graph = lowered.graph
    arrays = [np.asarray(a) for a in (*fx.tree.leaves(args), *lowered.captures)]
    for p in PIPELINE:
        graph = p(graph)
    graph = hoist_pass(graph)
    before = run_graph(graph, arrays)
    sunk = sink(graph)
    verify_graph(sunk)
    for a, b in zip(run_graph(sunk, arrays, check=True), before, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    verify_graph(optimize(sunk))
    return sum(e.params["n_carry"] for e in scans(graph)), sum(e.params["n_carry"] for e in scans(sunk))


def collected(term: Callable[..., Any], shape: tuple[int, ...], **how: Any) -> Callable[..., Any]:
    def f(a: Any, b: Any) -> Any:
        start = fnp.ones(shape)
        return lax.scan(lambda c, ab: (c + term(*ab), None), start.astype(a.dtype), (a, b), **how)[0]

    return f


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "term,shape",
    [
        (lambda a, b: a.T @ b, (4, 6)),
        (lambda a, b: b.T @ a, (6, 4)),
        (lambda a, b: (b.T @ a).T, (4, 6)),
        (lambda a, b: fnp.einsum("ni,nj->ij", a, b)[None], (1, 4, 6)),
        (lambda a, b: lax.dot_general(a, b, (((), ()), ((0,), (0,)))), (3, 4, 6)),
        (lambda a, b: a.sum(0), (4,)),
    ],
    ids=["product", "exchanged", "transposed", "expanded", "batch", "sum"],
)
def test_what_is_collected_moves_behind_the_loop(term: Any, shape: tuple[int, ...], reverse: bool) -> None:
    assert check(collected(term, shape, reverse=reverse), A, B) == (1, 0)


def test_integers_wrap_as_before() -> None:
    a, b = (RNG.integers(-(2**30), 2**30, x.shape).astype(np.int32) for x in (A, B))
    assert check(collected(lambda a, b: a.T @ b, (4, 6)), a, b) == (1, 0)


def recurrent(w: Any, bias: Any, x: Any) -> Any:
    def cell(h: Any, t: Any) -> Any:
        h = fnp.tanh(h @ w + t + bias)
        return h, h.sum()

    h, sums = lax.scan(cell, fnp.zeros((3, 4)).astype(x.dtype), x)
    return (h**2).sum() + (sums**2).sum()


def test_the_gradients_of_weights_and_biases() -> None:
    before, after = check(fx.grad(recurrent, (0, 1)), W, V, A)
    assert (before, after) == (4, 2)  # forward: h; backward: its cotangent, and until now those of w and bias
    wanted = fx.grad(recurrent, (0, 1))(W, V, A)
    found = fx.jit(fx.grad(recurrent, (0, 1)))(W, V, A)
    for f, w in zip(found, wanted):
        np.testing.assert_allclose(f, w, rtol=1e-10)


def test_second_order_and_batches() -> None:
    for f in (
        fx.grad(lambda w: fx.grad(recurrent)(w, V, A).sum()),
        lambda w: fx.vmap(fx.grad(recurrent), (None, None, 0))(w, V, np.stack([A, 2 * A])),
    ):
        check(f, W)
        np.testing.assert_allclose(fx.jit(f)(W), f(W), rtol=1e-9)


def keeps(f: Callable[..., Any]) -> bool:
    before, after = check(f, A, B)
    return before == after


def test_what_must_stay_stays() -> None:
    def scan(body: Any, *init: Any) -> Callable[..., Any]:
        return lambda a, b: lax.scan(body, [i.astype(a.dtype) for i in init], (a, b))

    c, d = np.ones((4, 6)), np.ones((4, 4))
    step = lambda a, b: a.T @ b
    assert keeps(scan(lambda c, t: ([c[0] + step(*t)], c[0].sum()), c)), "the sum so far is read"
    assert keeps(scan(lambda c, t: ([c[0] + step(*t)], c[0] + step(*t)), c)), "every sum is a result"
    assert keeps(scan(lambda c, t: ([c[0] * 2 + step(*t)], None), c)), "it is scaled"
    assert keeps(scan(lambda c, t: ([c[0] - step(*t)], None), c)), "it is subtracted"
    assert keeps(scan(lambda c, t: ([c[0] + 2 * t[0]], None), np.ones((3, 4)))), "nothing is summed"
    assert keeps(scan(lambda c, t: ([c[0] + fnp.asarray(W) @ d], None), d)), "it is always the same"
    assert keeps(scan(lambda c, t: ([c[0] + (fnp.tanh(t[0]).sum(0))], None), np.ones(4))), "it would have to be stacked"


def test_large_operands_are_not_stacked() -> None:
    """A product of large operands that is small: stacking them would take more than the carry."""

    def f(a: Any, b: Any) -> Any:
        return lax.scan(lambda c, t: (c + fnp.tanh(t[0]).T @ fnp.sin(t[0]), None), fnp.zeros((1, 1)), (a[:, :, :1], b))[
            0
        ]

    assert check(f, np.ones((4, 50, 1), np.float32), np.ones((4, 1), np.float32)) == (1, 1)
