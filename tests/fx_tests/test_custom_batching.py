"""``custom_vmap`` and ``sequential_vmap``: batching rules of the user's, beside JAX's and the derivatives of the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx.custom_batching import custom_vmap, sequential_vmap
from fx.errors import CustomRuleError

try:
    import jax
    import jax.numpy as jnp
except ImportError:
    jax = jnp = None

X, Y = np.linspace(0.5, 2.0, 3), np.linspace(-1.0, 1.5, 3)
AXES = [(0, 0), (0, None), (None, 0)]


def wave(lib: Any, x: Any, y: Any) -> Any:
    """Two results, of which the second does not depend on x."""
    return {"a": lib.sin(x) * y["y"] ** 2, "b": lib.cos(y["y"])}


def with_rule(lib: Any, decorate: Any, seen: list[Any]) -> Any:
    """The function with a rule that says truly what is batched."""

    @decorate
    def f(x: Any, y: Any) -> Any:
        return wave(lib, x, y)

    @f.def_vmap
    def rule(axis_size: int, in_batched: list[Any], x: Any, y: Any) -> Any:
        seen.append((axis_size, in_batched))
        assert type(in_batched) is list
        for batched, v in ((in_batched[0], x), (in_batched[1]["y"], y["y"])):
            assert not batched or v.shape[0] == axis_size
        out = wave(lib, x, y)
        return out, {"a": in_batched[0] or in_batched[1]["y"], "b": in_batched[1]["y"]}

    return f


def arguments(axes: tuple[Any, Any]) -> tuple[Any, Any]:
    return X if axes[0] == 0 else X[0], Y if axes[1] == 0 else Y[0]


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_the_rule_is_called_as_jax_calls_it(axes: Any) -> None:
    x, y = arguments(axes)
    ours: list[Any] = []
    f = with_rule(fnp, custom_vmap, ours)
    dims = (axes[0], {"y": axes[1]})
    out = fx.vmap(f, dims)(x, {"y": y})
    assert ours == [(3, [axes[0] == 0, {"y": axes[1] == 0}])]
    want = fx.vmap(lambda x, y: wave(fnp, x, y), dims)(x, {"y": y})
    for name in want:
        np.testing.assert_allclose(out[name], want[name], rtol=1e-15)
    assert not ours[1:], "outside of vmap the function itself is called"
    np.testing.assert_allclose(f(1.0, {"y": 2.0})["a"], np.sin(1.0) * 4, rtol=1e-6)
    if jax is not None:
        theirs: list[Any] = []
        jax.vmap(with_rule(jnp, jax.custom_batching.custom_vmap, theirs), dims)(x, {"y": y})
        assert theirs == ours


def test_a_rule_may_compute_something_else_as_in_jax() -> None:
    def made(lib: Any, decorate: Any) -> Any:
        f = decorate(lambda x, y: x + y)
        f.def_vmap(lambda n, batched, x, y: (x * y, True))
        return f

    f = made(fnp, custom_vmap)
    np.testing.assert_array_equal(fx.vmap(f)(X, Y), X * Y)
    np.testing.assert_array_equal(fx.jit(fx.vmap(f))(X, Y), X * Y)
    np.testing.assert_array_equal(fx.vmap(fx.jit(f))(X, Y), X * Y)
    np.testing.assert_array_equal(f(X, y=Y), X + Y)
    np.testing.assert_array_equal(fx.vmap(fx.vmap(f, (None, 0)), (0, None))(X, Y), np.outer(X, Y))
    _, t = fx.vmap(lambda x, y: fx.jvp(f, (x, y), (1.0, 0.0)))(X, Y)
    np.testing.assert_array_equal(t, Y)
    np.testing.assert_array_equal(fx.vmap(fx.grad(f))(X, Y), Y)
    np.testing.assert_array_equal(fx.jit(fx.vmap(fx.grad(f)))(X, Y), Y)
    np.testing.assert_array_equal(fx.vmap(fx.vmap(fx.grad(f), (None, 0)), (0, None))(X, Y), np.tile(Y, (3, 1)))
    if jax is not None:
        theirs = made(jnp, jax.custom_batching.custom_vmap)
        with jax.enable_x64(True):
            np.testing.assert_array_equal(jax.vmap(theirs)(X, Y), X * Y)
            _, t = jax.vmap(lambda x, y: jax.jvp(theirs, (x, y), (1.0, 0.0)))(X, Y)
            np.testing.assert_array_equal(t, Y)


LOSSES = {
    "value": lambda f, x, y: f(x, {"y": y})["a"],
    "both": lambda f, x, y: f(x, {"y": y})["a"] * f(x, {"y": y})["b"],
    "twice": lambda f, x, y: f(f(x, {"y": y})["a"], {"y": y})["a"],
    "closed over": lambda f, x, y: fx.checkpoint(lambda v: f(v, {"y": y})["a"])(x),
}


@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_derivatives_are_those_without_a_rule(loss: str, axes: Any) -> None:
    """... in every order, also of a batch that is differentiated and of a gradient that is batched."""
    ruled, plain = with_rule(fnp, custom_vmap, []), lambda x, y: wave(fnp, x, y)
    args = arguments(axes)
    both = [lambda x, y, f=f: LOSSES[loss](f, x, y) for f in (ruled, plain)]
    orders = {
        "vmap grad": lambda f: fx.vmap(fx.grad(f, (0, 1)), axes),
        "grad vmap": lambda f: fx.grad(lambda x, y: fnp.sum(fx.vmap(f, axes)(x, y)), (0, 1)),
        "vmap jacfwd": lambda f: fx.vmap(fx.jacfwd(f, (0, 1)), axes),
        "vmap hessian": lambda f: fx.vmap(fx.hessian(f, (0, 1)), axes),
        "vmap grad grad": lambda f: fx.vmap(fx.grad(fx.grad(f)), axes),
        "grad grad vmap": lambda f: fx.vmap(fx.grad(fx.grad(f, 1)), axes),
    }
    for name, order in orders.items():
        got, want = (order(f)(*args) for f in both)
        for a, b in zip(fx.tree.leaves(got), fx.tree.leaves(want), strict=True):
            assert a.dtype == b.dtype, name
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12, err_msg=name)


def test_a_rule_that_returns_what_is_not_batched() -> None:
    f = custom_vmap(lambda x: (x * 2, fnp.float64(3.0)))
    f.def_vmap(lambda n, batched, x: ((x * 2, fnp.float64(3.0)), (True, False)))
    a, b = fx.vmap(f)(X)
    np.testing.assert_array_equal(a, X * 2)
    np.testing.assert_array_equal(b, [3.0] * 3)
    a, b = fx.vmap(f, out_axes=(0, None))(X)
    assert b.shape == ()


def test_sequential_vmap_runs_the_branch_that_each_example_needs() -> None:
    seen: list[float] = []

    @sequential_vmap
    def f(x: Any, w: Any) -> Any:
        def told(v: Any) -> Any:
            fx.debug.callback(lambda u: seen.append(float(u)), v)
            return v * w["w"]

        return fx.lax.cond(x > 1, told, lambda v: -v, x)

    out = fx.jit(fx.vmap(f, (0, None)))(X, {"w": 10.0})
    np.testing.assert_allclose(out, np.where(X > 1, 10 * X, -X))
    assert seen == [x for x in X if x > 1]
    slopes = fx.vmap(fx.grad(f), (0, None))(X, {"w": 10.0})
    np.testing.assert_allclose(slopes, np.where(X > 1, 10.0, -1.0))
    assert fx.vmap(f, (None, 0))(2.0, {"w": X}).shape == (3,)
    assert fx.vmap(f, (0, None))(X[:0], {"w": 1.0}).shape == (0,)


def test_what_is_wrong_is_named() -> None:
    f = custom_vmap(lambda x: x * 2)
    with pytest.raises(CustomRuleError, match="def_vmap"):
        f(1.0)
    f.def_vmap(lambda n, batched, x: x * 2)
    with pytest.raises(CustomRuleError, match=r"\(out, out_batched\)"):
        fx.vmap(f)(X)
    f.def_vmap(lambda n, batched, x: ((x, x), True))
    with pytest.raises(CustomRuleError, match="structure"):
        fx.vmap(f)(X)
    f.def_vmap(lambda n, batched, x: (x, [True]))
    with pytest.raises(CustomRuleError, match="out_batched"):
        fx.vmap(f)(X)

    def closing(x: Any) -> Any:
        g = custom_vmap(lambda y: x * y)
        g.def_vmap(lambda n, batched, y: (y, True))
        return g(2.0)

    with pytest.raises(CustomRuleError, match="closes over"):
        fx.vmap(closing)(X)
    assert fx.grad(closing)(3.0) == 2.0


def test_custom_vjp_around_custom_vmap_as_jax_documents_it() -> None:
    @fx.custom_vjp
    @custom_vmap
    def f(x: Any, y: Any) -> Any:
        return fnp.sin(x) * y

    f.fun.def_vmap(lambda n, batched, xs, ys: (fnp.cos(xs) * ys, True))
    f.defvjp(lambda x, y: (f(x, y), (fnp.cos(x), fnp.sin(x), y)), lambda res, g: (res[0] * g * res[2], res[1] * g))
    np.testing.assert_array_equal(fx.vmap(f)(np.zeros(3), np.ones(3)), np.ones(3))
    assert fx.grad(f)(0.0, 1.0) == 1.0
