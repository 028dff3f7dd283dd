"""Taylor mode: held against nested forward mode and JAX's jet, over elementary functions, products and control flow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import lax, nn
from fx.errors import DTypeError, ShapeError, TreeError
from fx.experimental.jet import LINEAR, jet, jet2
from fx.primitive import all_primitives
from fx.scipy import special

RNG = np.random.default_rng(0)
X = fnp.asarray(RNG.uniform(0.2, 0.9, size=3))
TERMS = [RNG.normal(size=3) * 0.5 for _ in range(3)]


@pytest.fixture(scope="module", autouse=True)
def numpy_runs_the_graphs():
    with fx.config.using(backend="reference"):
        yield


@fx.custom_vjp
def twice(x: Any) -> Any:
    return 2 * x * x


twice.defvjp(lambda x: (2 * x * x, x), lambda x, ct: (4 * x * ct,))


def newton(x: Any) -> Any:
    """A loop of as many steps as a value needs."""
    return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * c[1] + x), (0, x))[1]


ELEMENTARY = (
    "sin cos tan exp log sqrt tanh sinh cosh arctan arcsin arccos arcsinh arctanh cbrt exp2 expm1 log1p log2 square reciprocal abs"
    " cumprod prod sort max"
)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{n: getattr(fnp, n) for n in ELEMENTARY.split()},
    **{n: getattr(nn, n) for n in "sigmoid softplus gelu silu relu softmax log_softmax logsumexp".split()},
    **{n: getattr(special, n) for n in ("erf", "erfinv", "gammaln")},
    "float power": lambda x: x**2.5, "integer power": lambda x: x**3, "negative power": lambda x: x**-2, "x to the x": lambda x: x**x,
    "product": lambda x: fnp.outer(x, x) @ x, "convolution": lambda x: fnp.convolve(x, x), "quotient": lambda x: x[::-1] / x,
    "constant over x": lambda x: 2 / x, "atan2": lambda x: fnp.arctan2(x, x * x + 1), "where": lambda x: fnp.where(x > 0.4, x * x, fnp.sin(x)),
    "clip": lambda x: fnp.clip(x * x, 0.1, 0.3), "norm": fnp.linalg.norm, "index": lambda x: x[::-1][np.array([0, 0, 1])] * 2,
    "scatter": lambda x: x.at[1].set(x[0] ** 2), "jit": fx.jit(lambda x: fnp.sin(x) / x), "checkpoint": fx.checkpoint(lambda x: fnp.sin(x) / x),
    "integers": lambda x: x * fnp.floor(3 * x),
    "several": lambda x: {"a": fnp.sin(x), "b": (x[0], np.float64(1))},
    "scan": lambda x: lax.scan(lambda c, v: (fnp.sin(c) * v, (c * v, 1.0)), x[0], x), "cond": lambda x: lax.cond(x[0] > 0.0, lambda y: y**3, lambda y: y, x),
    "switch": lambda x: lax.switch(1, [fnp.cos, lambda y: fnp.sin(y) * X], x), "while": newton,
}  # fmt: skip


def derivatives(f: Callable[..., Any], x: Any, terms: Any) -> list[Any]:
    """The derivatives of f(x(t)) at 0 by nested forward mode."""

    def along(t: Any) -> Any:
        return f(x + sum(d * (t ** (k + 1) / math.factorial(k + 1)) for k, d in enumerate(terms)))

    found, g = [], along
    for _ in terms:
        g = (lambda g: lambda t: fx.jvp(g, (t,), (np.float64(1),))[1])(g)
        found.append(g(np.float64(0)))
    return found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_series_are_the_nested_derivatives(name: str) -> None:
    f = FUNCTIONS[name]
    value, series = jet(f, (X,), (TERMS,))
    want = f(X)
    fx.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), value, want)
    structure = fx.tree.structure(want)
    for k, slopes in enumerate(derivatives(f, X, TERMS)):
        found = [s[k] for s in fx.tree.flatten_up_to(structure, series)]
        for a, b in zip(found, fx.tree.leaves(slopes), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_a_function_with_a_vjp_rule_alone_counts_as_the_function() -> None:
    value, series = jet(twice, (X,), (TERMS,))
    for a, b in zip(series, jet(lambda x: 2 * x * x, (X,), (TERMS,))[1]):
        np.testing.assert_allclose(a, b)


def test_high_orders_several_arguments_and_both_scalings() -> None:
    unit = [1.0] + [0.0] * 9
    sines = [float(s) for s in jet(fnp.sin, (np.float64(0.5),), (unit,))[1]]
    cycle = [math.cos(0.5), -math.sin(0.5), -math.cos(0.5), math.sin(0.5)]
    np.testing.assert_allclose(sines, (cycle * 3)[:10], rtol=1e-12)
    coefficients = [float(s) for s in jet2(fnp.exp, (np.float64(0),), (unit,))[1]]
    np.testing.assert_allclose(coefficients, [1 / math.factorial(k) for k in range(1, 11)], rtol=1e-12)
    value, (first, second) = jet(lambda x, y: x * y, (2.0, 3.0), ([1.0, 0.0], [1.0, 0.0]))
    assert (float(value), float(first), float(second)) == (6.0, 5.0, 2.0)
    assert jet(lambda x: 3.0, (1.0,), ([1.0, 1.0],))[1] == [0.0, 0.0]


def test_jax_agrees() -> None:
    jax = pytest.importorskip("jax")
    from jax.experimental.jet import jet as their_jet

    def f(np_: Any) -> Any:
        return lambda x, y: np_.tanh(x @ y) * np_.exp(-y) / (1 + x.sum())

    x, y = RNG.normal(size=(3, 3)), RNG.normal(size=3)
    terms = [[RNG.normal(size=v.shape) for _ in range(3)] for v in (x, y)]
    with jax.enable_x64(True):
        want = their_jet(f(jax.numpy), (x, y), terms)
    got = jet(f(fnp), (x, y), terms)
    for a, b in zip(fx.tree.leaves(got), jax.tree.leaves(want)):
        np.testing.assert_allclose(a, np.asarray(b), rtol=1e-10, atol=1e-12)


def test_transforms_compose() -> None:
    def second(x: Any) -> Any:
        return jet(lambda y: fnp.tanh(y) ** 2, (x,), ([fnp.ones_like(x), fnp.zeros_like(x)],))[1][1]

    def by_grad(x: Any) -> Any:
        return fx.grad(fx.grad(lambda y: fnp.tanh(y) ** 2))(x)

    want = fx.vmap(by_grad)(X)
    for f in (second, fx.jit(second), fx.vmap(second)):
        np.testing.assert_allclose(f(X), want, rtol=1e-10)
    np.testing.assert_allclose(
        fx.grad(lambda x: second(x).sum())(X), fx.grad(lambda x: fx.vmap(by_grad)(x).sum())(X), rtol=1e-10
    )


def test_what_counts_as_linear_has_a_transpose() -> None:
    assert all(all_primitives()[n].has("transpose") for n in LINEAR)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: jet(fnp.sin, (1.0,), ([1.0], [1.0])), TreeError, "each primal"),
        (lambda: jet(fnp.add, (1.0, 2.0), ([1.0], [1.0, 2.0])), ShapeError, "one length"),
        (lambda: jet(fnp.sin, (1,), ([1.0],)), DTypeError, "floats"),
        (lambda: jet(fnp.sin, (X,), ([1.0],)), ShapeError, "(3,)"),
    ],
)
def test_errors_say_what_to_do(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)
