"""The passes ``narrow`` and ``zeros``: less is computed, of numbers that are whole to the same bits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
from fx import lax, nn
from fx.interpret import run_graph
from fx.passes import optimize

NHWC = ("NHWC", "HWIO", "NHWC")


def drawn(seed: int, *shape: int) -> np.ndarray:
    """Whole numbers: every sum of their products is exact, in any order."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float64)


def narrowed(f: Callable[..., Any], *args: np.ndarray) -> Any:
    """The graph behind all passes; evaluated and compiled, it gives what the traced one gives."""
    graph = fx.make_graph(f)(*args).graph
    after = optimize(graph)
    wanted = run_graph(graph, args, check=True)
    compiled = fx.tree.leaves(fx.jit(f)(*args))
    for w, a, c in zip(wanted, run_graph(after, args, check=True), compiled, strict=True):
        np.testing.assert_array_equal(a, w)
        np.testing.assert_array_equal(np.asarray(c), w)
    return after


def made(graph: Any, name: str) -> list[tuple[int, ...]]:
    """The shapes that equations of this name make."""
    return [e.outputs[0].aval.shape for e in graph.eqns if e.prim.name == name]


# ------------------------------------------------------------------------------------ what is read


@pytest.mark.parametrize(
    ("read", "shape"),
    [
        (lambda y, a, b: y[-1], (1, 40)),
        (lambda y, a, b: y[2:7:2, 3:5], (5, 2)),
        (lambda y, a, b: y.T[5], (20, 1)),
        (lambda y, a, b: y[:, None, :8].sum(2), (20, 8)),
        (lambda y, a, b: (np.maximum(y, 0) + 1)[4:6], (2, 40)),
        (lambda y, a, b: (y[3] + y[6]) * y[4], (4, 40)),
        (lambda y, a, b: (y * b[0])[:, 7:9], (20, 2)),
        (lambda y, a, b: (y * a[:, :1])[7:9], (2, 40)),
        (lambda y, a, b: y[1:], (20, 40)),  # hardly less
        (lambda y, a, b: (y[1], y.sum()), (20, 40)),
        (lambda y, a, b: (y, y[1]), (20, 40)),
        (lambda y, a, b: np.where(y > 0, y, 0.0)[0], (1, 40)),
    ],
)
def test_a_product_is_made_of_the_rows_and_columns_that_are_read(read: Any, shape: tuple[int, ...]) -> None:
    after = narrowed(lambda a, b: read(a @ b, a, b), drawn(0, 20, 30), drawn(1, 30, 40))
    assert made(after, "dot_general") == [shape]


def test_batches_of_products() -> None:
    after = narrowed(lambda a, b: (a @ b)[2:4, :, 1], drawn(0, 5, 6, 7), drawn(1, 5, 7, 3))
    assert made(after, "dot_general") == [(2, 6, 1)]


def test_a_chain_of_products_is_narrowed_to_its_beginning() -> None:
    after = narrowed(lambda a, b: (np.maximum(a @ b, 0) @ b)[3], drawn(0, 8, 8), drawn(1, 8, 8))
    assert made(after, "dot_general") == [(1, 8), (1, 8)]


@pytest.mark.parametrize("pool", ["max", "min", "add", "arg"])
def test_a_pool_leaves_the_rest_of_an_image_out(pool: str) -> None:
    def f(x: Any, w: Any, b: Any) -> Any:
        y = np.maximum(nn.conv(x, w) + b, 0)
        if pool == "arg":
            return fx.grad(lambda y: (nn.max_pool(y, 2) ** 2).sum())(y)[:, :10, :10]
        start = {"max": -np.inf, "min": np.inf, "add": 0.0}[pool]
        return lax.reduce_window(y, start, getattr(lax, pool), (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    after = narrowed(f, drawn(0, 2, 13, 13, 3), drawn(1, 3, 3, 3, 4), drawn(2, 4))
    assert made(after, "conv_general_dilated") == [(2, 10, 10, 4)]


def test_a_training_step_computes_neither_the_rest_nor_its_gradient() -> None:
    def loss(w: Any, x: Any) -> Any:
        y = nn.max_pool(nn.relu(nn.conv(nn.max_pool(nn.relu(nn.conv(x, w[0])), 2), w[1])), 2)
        return (y * y).sum()

    x, w = drawn(0, 2, 16, 16, 1), (drawn(1, 3, 3, 1, 2), drawn(2, 3, 3, 2, 4))
    after = narrowed(lambda u, v, x: fx.grad(loss)((u, v), x), *w, x)
    assert made(after, "window_scatter_add") == [(2, 4, 4, 4), (2, 14, 14, 2)]  # of 5 x 5 and 14 x 14
    assert (2, 4, 4, 4) in made(after, "conv_general_dilated")


def draws() -> list[Any]:
    rng = np.random.default_rng(7)
    pick = lambda *xs: xs[rng.integers(len(xs))]
    return [
        {
            "strides": (pick(1, 2), pick(1, 2, 3)),
            "padding": tuple((pick(0, 1, 3), pick(-1, 0, 2)) for _ in range(2)),
            "lhs_dilation": (pick(1, 1, 2), pick(1, 1, 3)),
            "rhs_dilation": (pick(1, 2), 1),
            "feature_group_count": pick(1, 1, 2),
            "window": (1, pick(1, 2, 3), pick(2, 3), pick(1, 1, 2)),
            "window_strides": (pick(1, 1, 2), pick(1, 2, 3), pick(2, 3), pick(1, 2)),
            "window_padding": ((0, 0), (pick(0, 1), pick(0, 2)), (pick(0, 0, 1), 0), (0, 0)),
            "cut": tuple(slice(pick(None, 0, 1), pick(None, 3, 2, -1), pick(None, 1, 2)) for _ in range(4)),
        }
        for _ in range(40)
    ]


@pytest.mark.parametrize("p", draws())
def test_windows_over_convolutions_of_every_geometry(p: Any) -> None:
    def f(x: Any, w: Any) -> Any:
        y = lax.conv_general_dilated(
            x, w, p["strides"], p["padding"], p["lhs_dilation"], p["rhs_dilation"], NHWC, p["feature_group_count"]
        )
        return lax.reduce_window(lax.neg(y), -np.inf, lax.max, p["window"], p["window_strides"], p["window_padding"])[
            p["cut"]
        ]

    narrowed(f, drawn(0, 3, 9, 8, 4), drawn(1, 3, 2, 4 // p["feature_group_count"], 6))


def test_sizes_that_vary_are_read_whole_and_narrowed_beside() -> None:
    f = fx.jit(lambda a, b: np.tanh(a @ b)[:, 2:4])
    for n in (3, 5, 9, 17):
        a, b = drawn(n, n, 6), drawn(1, 6, 8)
        np.testing.assert_allclose(np.asarray(f(a, b)), np.tanh(a @ b)[:, 2:4], rtol=1e-15)


def test_what_is_read_as_a_whole_stays_the_same_graph() -> None:
    from fx.passes import narrow, zeros

    graph = fx.make_graph(lambda x, w: nn.max_pool(nn.conv(x, w), 2)[::1])(
        drawn(0, 1, 8, 8, 2), drawn(1, 3, 3, 2, 2)
    ).graph
    assert narrow(graph) is graph and zeros(graph) is graph


# --------------------------------------------------------------------------------- zeros around


@pytest.mark.parametrize("pads", list(itertools.product([(0, 0), (1, 2)], [(3, 0), (0, 1)], ["image", "kernel"])))
@pytest.mark.parametrize("dilation", [1, 2])
def test_zeros_around_the_operands_of_a_convolution_are_its_padding(pads: Any, dilation: int) -> None:
    *around, which = pads
    config = ((0, 0), *around, (0, 0)) if which == "image" else (*around, (0, 0), (0, 0))

    def f(x: Any, w: Any) -> Any:
        x, w = (np.pad(x, config), w) if which == "image" else (x, np.pad(w, config))
        return lax.conv_general_dilated(x, w, (1, 2), ((4, 5), (6, 7)), (dilation, 1), (1, dilation), NHWC)

    after = narrowed(f, drawn(0, 2, 6, 7, 3), drawn(1, 2, 3, 3, 4))
    assert not made(after, "pad")


@pytest.mark.parametrize(
    "f",
    [
        lambda x, w: nn.conv(np.pad(x, ((1, 0), (0, 0), (0, 0), (0, 0))), w),  # of examples
        lambda x, w: nn.conv(np.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)), constant_values=1), w),
        lambda x, w: (lambda y: (nn.conv(y, w), y))(np.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))),
        lambda x, w: nn.conv(lax.pad(x, 0.0, ((0, 0, 0), (1, 0, 1), (0, 0, 0), (0, 0, 0))), w),
    ],
)
def test_other_pads_stay(f: Any) -> None:
    after = narrowed(f, drawn(0, 2, 6, 7, 3), drawn(1, 2, 3, 3, 4))
    assert len(made(after, "pad")) == 1


def test_zeros_behind_the_last_window_are_left_out_of_both_gradients() -> None:
    def f(x: Any, w: Any, g: Any) -> Any:
        return fx.grad(lambda w, x: (nn.max_pool(nn.conv(x, w), 3) * g).sum(), (0, 1))(w, x)

    after = narrowed(f, drawn(0, 2, 10, 13, 3), drawn(1, 3, 3, 3, 4), drawn(2, 2, 2, 3, 4))
    (scattered,) = made(after, "window_scatter_add")
    assert scattered == (2, 6, 9, 4) and math.prod(scattered) < 2 * 8 * 11 * 4
