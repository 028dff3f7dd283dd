"""The ``masks`` pass: masks of gradients are read where less is read, and no value changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
from fx import lax
from fx.interpret import run_graph
from fx.passes import PIPELINE, masks, optimize

SPECIAL = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40, -1e-40, 2.0, -3.0, 5.0], np.float32)
COMPARISONS = {"le": lax.le, "lt": lax.lt, "ge": lax.ge, "gt": lax.gt, "eq": lax.eq, "ne": lax.ne}


def drawn(seed: int, *shape: int) -> np.ndarray:
    """Numbers with ties, and special ones among them."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, shape).astype(np.float32)
    return np.where(rng.random(shape) < 0.2, rng.choice(SPECIAL, shape), x).astype(np.float32)


def before_and_after(f: Callable[..., Any], *args: np.ndarray) -> tuple[Any, Any]:
    """The graph in front of the pass and behind all; their results are the same bits."""
    graph = fx.make_graph(f)(*args).graph
    for p in PIPELINE:
        if p.__name__ == "masks":
            break
        graph = p(graph)
    after = optimize(graph)
    with np.errstate(all="ignore"):
        for a, b in zip(run_graph(graph, args, check=True), run_graph(after, args, check=True), strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(np.signbit(a) & (a == a), np.signbit(b) & (b == b))
    return graph, after


def reads(graph: Any, prim: str) -> list[str]:
    """What makes the first operands of the equations of this name."""
    makers = {v: e.prim.name for e in graph.eqns for v in e.outputs}
    return [makers.get(e.inputs[0], "input") for e in graph.eqns if e.prim.name == prim]


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize("number", [0.0, -0.0, 2.0])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_mask_is_read_off_its_choice_where_it_says_the_same(name: str, number: float, swapped: bool) -> None:
    compare = COMPARISONS[name]

    def f(y: Any, w: Any, g: Any) -> Any:
        mask = compare(y, lax.full_like(y, 0.0))
        cases = (lax.full_like(y, number), y) if swapped else (y, lax.full_like(y, number))
        s = lax.select_n(mask, *cases)
        return s @ w, lax.select_n(mask, g, lax.full_like(g, 0.0))

    y, w, g = SPECIAL.reshape(2, 5), np.ones((5, 2), np.float32), drawn(0, 2, 5)
    graph, after = before_and_after(f, y, w, g)
    holds = bool(
        getattr(np, {"le": "less_equal", "lt": "less", "ge": "greater_equal", "gt": "greater"}.get(name, "equal"))(
            number, 0
        )
    )
    holds = holds if name != "ne" else not holds
    found = reads(after, name)
    assert found == (["input", "select_n"] if holds == (not swapped) else ["input"])


def test_what_no_product_reads_keeps_its_mask() -> None:
    def f(y: Any) -> Any:
        return fx.value_and_grad(lambda y: fx.numpy.sum(fx.nn.relu(y * 2.0) ** 2))(y)

    _, after = before_and_after(f, SPECIAL[3:])
    assert len(reads(after, "le")) == 1


def pooled(x: Any, window: tuple[int, ...], strides: tuple[int, ...], padding: Any, least: bool) -> Any:
    op, start = (lax.min, np.inf) if least else (lax.max, -np.inf)
    return lax.reduce_window(x, np.float32(start), op, window, strides, padding)


WINDOWS = [
    ((1, 2, 2, 1), (1, 2, 2, 1), "VALID", True),
    ((1, 3, 3, 1), (1, 2, 2, 1), "VALID", True),
    ((1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (2, 1), (0, 0)), False),
    ((1, 2, 2, 2), (1, 2, 2, 2), "VALID", False),
]


@pytest.mark.parametrize("case", WINDOWS, ids=str)
@pytest.mark.parametrize("least", [False, True])
def test_the_mask_behind_a_pool_is_one_of_its_cotangents(case: Any, least: bool) -> None:
    window, strides, padding, sums = case

    def f(y: Any, b: Any, ct: Any) -> Any:
        def g(y: Any, b: Any) -> Any:
            return pooled(fx.nn.relu(y + b), window, strides, padding, least)

        value, back = fx.vjp(g, y, b)
        return value, *back(ct)

    y, b = drawn(1, 3, 7, 9, 4), np.zeros(4, np.float32)
    shape = fx.eval_shape(lambda y: pooled(y, window, strides, padding, least), y).shape
    ct = np.random.default_rng(2).integers(-4, 5, shape).astype(np.float32)  # their sums are exact in any order
    graph, after = before_and_after(f, y, b, ct)
    assert reads(graph, "window_scatter_add") == ["input"] and reads(after, "window_scatter_add") == ["select_n"]
    assert reads(graph, "reduce_sum") == ["select_n"]
    assert reads(after, "reduce_sum") == ["select_n" if sums else "window_scatter_add"]
    for want, found in zip(run_graph(graph, [y, b, ct]), fx.jit(f)(y, b, ct)):
        np.testing.assert_array_equal(np.asarray(found), want)


def test_a_mask_of_something_else_stays() -> None:
    def f(y: Any, z: Any, ct: Any) -> Any:
        value, back = fx.vjp(lambda y: pooled(y, (2, 2), (2, 2), "VALID", False), y)
        (g,) = back(ct)
        return value, lax.select_n(lax.le(z, lax.full_like(z, 0.0)), g, lax.full_like(g, 0.0))

    _, after = before_and_after(f, drawn(3, 4, 6), drawn(4, 4, 6), drawn(5, 2, 3))
    assert reads(after, "window_scatter_add") == ["input"]
    assert [e.prim.name for e in masks(after).eqns] == [e.prim.name for e in after.eqns]


def test_array_makes_copies_that_begin_at_a_cache_line() -> None:
    for x in (
        np.arange(5000.0),
        np.asfortranarray(np.arange(9000.0).reshape(90, 100)),
        np.arange(9000.0).reshape(90, 100)[:, ::2],
    ):
        y = fx.numpy.array(x)
        np.testing.assert_array_equal(np.asarray(y), x)
        assert np.asarray(y).strides == np.array(x).strides
        assert np.asarray(y).ctypes.data % 64 == 0 or not (x.flags.c_contiguous or x.flags.f_contiguous)
