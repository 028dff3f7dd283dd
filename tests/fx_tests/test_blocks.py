"""Cotangents of slices: joined where they lie side by side, added where they overlap; and loops that keep little."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import lax

X = np.random.default_rng(0).standard_normal((6, 10))


def _primitives(graph: Any) -> list[str]:
    return [e.prim.name for e in graph.eqns]


SIDE_BY_SIDE = {
    "halves": lambda x: (x[:, :5], x[:, 5:]),
    "gates, in another order": lambda x: (x[:, 7:], x[:, :3], x[:, 3:7]),
    "with gaps": lambda x: (x[1:2], x[4:5]),
    "split": lambda x: tuple(fnp.split(x, 5, axis=1)),
    "and the whole": lambda x: (x[:, :5], x, x[:, 5:]),
    "rows by number": lambda x: tuple(x[i] for i in range(6)),
}
OVERLAPPING = {
    "differences": lambda x: (x[1:], x[:-1]),
    "one slice": lambda x: (x[2:4],),
    "quarters": lambda x: (x[:3, :5], x[3:, 5:]),
    "strided": lambda x: (x[:, ::2], x[:, 1::2]),
    "the same twice": lambda x: (x[:2], x[:2], x[2:]),
    "nothing of it": lambda x: (x[:0], x[3:]),
}


@pytest.mark.parametrize("name", [*SIDE_BY_SIDE, *OVERLAPPING])
def test_the_gradient_of_slices(name: str) -> None:
    parts = (SIDE_BY_SIDE | OVERLAPPING)[name]

    def f(x: Any) -> Any:
        return sum(fnp.sum(fnp.sin((k + 1.0) * p) * p) for k, p in enumerate(parts(x)))

    wanted = np.zeros_like(X)
    for k, at in enumerate(parts(np.arange(X.size).reshape(X.shape))):  # NumPy adds each part where it was taken from
        y = X.ravel()[at]
        np.add.at(wanted.reshape(-1), at, np.sin((k + 1.0) * y) + (k + 1.0) * y * np.cos((k + 1.0) * y))
    np.testing.assert_allclose(fx.grad(f)(X), wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(fx.jit(fx.grad(f))(X), wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(fx.vmap(fx.grad(f))(np.stack([X, X]))[1], wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        fx.hessian(f)(X[:, :10])[..., 0, 0], fx.jacfwd(fx.jacfwd(f))(X)[..., 0, 0], rtol=1e-12, atol=1e-12
    )
    found = _primitives(fx.make_graph(fx.grad(f))(X))
    assert ("pad" in found) == (name in OVERLAPPING and name != "nothing of it")


def test_slices_side_by_side_are_computed_where_they_are_read() -> None:
    """The sum is not stored first to be cut in four; its gradient is written by one kernel, each part in its place."""

    def cell(x: Any, y: Any, s: Any) -> Any:
        z = fnp.tanh(x) * y + x
        i, f, g, o = (z[:, k * 128 : (k + 1) * 128] for k in range(4))
        return fnp.tanh(fx.nn.sigmoid(f) * s + fx.nn.sigmoid(i) * fnp.tanh(g)) * fx.nn.sigmoid(o)

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 16, 512), np.float32)
    s = rng.standard_normal((16, 128), np.float32)
    lowered = fx.jit(cell).lower(x, y, s)
    assert len(lowered.executable.plan.groups) == 1, lowered.explain()
    np.testing.assert_allclose(fx.jit(cell)(x, y, s), cell(fnp.asarray(x), y, s), rtol=2e-6, atol=2e-6)
    gradient = fx.grad(lambda x, y, s: fnp.sum(cell(x, y, s)))
    np.testing.assert_allclose(fx.jit(gradient)(x, y, s), gradient(x, y, s), rtol=2e-5, atol=2e-5)


def test_a_loop_stacks_what_cannot_be_made_of_other_residuals() -> None:
    """sigmoid(x) (1 - sigmoid(x)) and 1 - tanh(x)**2 are computed again from what is kept."""

    def f(c: Any, xs: Any) -> Any:
        def body(c: Any, x: Any) -> Any:
            g, t = fx.nn.sigmoid(c + x), fnp.tanh(c * x)
            return g * t + c, None

        return fnp.sum(lax.scan(body, c, xs)[0])

    c, xs = np.linspace(-1, 1, 4), np.random.default_rng(0).standard_normal((7, 4))
    graph = fx.make_graph(fx.grad(f, argnums=(0, 1)))(c, xs)
    forward = next(e for e in graph.eqns if e.prim.name == "scan")
    stacked = [v for v in forward.outputs if v.aval.shape == (7, 4)]
    assert len(stacked) == 3, graph  # the carry that x is multiplied by, and the two functions' values

    def unrolled(c: Any, xs: Any) -> Any:
        for x in xs:
            c = fx.nn.sigmoid(c + x) * fnp.tanh(c * x) + c
        return fnp.sum(c)

    for found, wanted in zip(fx.grad(f, argnums=(0, 1))(c, xs), fx.grad(unrolled, argnums=(0, 1))(c, xs)):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    np.testing.assert_allclose(fx.jit(fx.grad(f, 1))(c, xs), fx.grad(unrolled, 1)(c, xs), rtol=1e-12)
