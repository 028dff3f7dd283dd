"""``fx.experimental.ode``: solutions against closed forms, SciPy and JAX; the adjoint against closed forms and JAX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import fx
import fx.numpy as fnp
from fx.errors import DTypeError, ShapeError, TreeError
from fx.experimental.ode import odeint

TIMES = np.linspace(0.0, 3.0, 5)


def decay(y: Any, t: Any, k: Any) -> Any:
    return -k * y


def pendulum(np_: Any) -> Any:
    """A damped and driven pendulum, as a pytree."""

    def slope(y: Any, t: Any, a: Any, p: Any) -> Any:
        return {"q": y["p"] * a, "p": -p["k"] * np_.sin(y["q"]) - 0.1 * y["p"] + np_.cos(p["n"] * t)}

    return slope


START, PARAMS = {"q": np.float64(0.5), "p": np.array(0.0)}, {"k": np.float64(2), "n": 3}


def test_solutions_in_closed_form() -> None:
    y = odeint(decay, np.array([1.0, 2.0]), TIMES, 0.7)
    np.testing.assert_allclose(y, np.exp(-0.7 * TIMES)[:, None] * [1.0, 2.0], rtol=1e-7)
    z = odeint(lambda z, t: 1j * z, np.complex128(1), TIMES)
    np.testing.assert_allclose(z, np.exp(1j * TIMES), rtol=1e-6)
    single = odeint(decay, np.float32(1), np.float32([0, 1]), 1.0, rtol=1e-5, atol=1e-6)
    assert single.dtype == np.float32 and abs(float(single[1]) - np.exp(-1)) < 1e-5
    np.testing.assert_allclose(odeint(lambda y, t: t, np.float64(0), TIMES), TIMES**2 / 2, rtol=1e-7, atol=1e-12)
    assert odeint(decay, np.float64(3), TIMES[:1], 1.0).tolist() == [3]


def test_scipy_agrees() -> None:
    def lorenz(y: Any, t: Any) -> Any:
        a, b, c = y
        return fnp.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c])

    times = np.linspace(0, 1, 4)
    with fx.config.using(backend="reference"):
        found = odeint(lorenz, np.ones(3), times, rtol=1e-9, atol=1e-9)
    want = solve_ivp(
        lambda t, y: np.asarray(lorenz(fnp.asarray(y), t)), (0, 1), np.ones(3), t_eval=times, rtol=1e-10, atol=1e-10
    )
    np.testing.assert_allclose(found, want.y.T, rtol=1e-6)


def test_steps_are_limited() -> None:
    calls = odeint(decay, np.float64(1), TIMES, 1.0, mxstep=2)
    assert np.isfinite(np.asarray(calls)).all()
    np.testing.assert_allclose(odeint(decay, np.float64(1), TIMES, 1.0, hmax=0.05), np.exp(-TIMES), rtol=1e-7)


def test_the_adjoint_in_closed_form() -> None:
    """For y' = -k y the solution is y0 exp(-k (t - t0))."""

    def last(y0: Any, ts: Any, k: Any) -> Any:
        return odeint(decay, y0, ts, k)[-1]

    y0, ts, k = np.float64(2), np.array([0.5, 1.0, 1.5]), np.float64(0.8)
    value, want = (
        2 * np.exp(-0.8),
        [np.exp(-0.8), [0.8 * 2 * np.exp(-0.8), 0, -0.8 * 2 * np.exp(-0.8)], -2 * np.exp(-0.8)],
    )
    np.testing.assert_allclose(last(y0, ts, k), value, rtol=1e-7)
    for got, truth in zip(fx.grad(last, (0, 1, 2))(y0, ts, k), want):
        np.testing.assert_allclose(got, truth, rtol=1e-6, atol=1e-7)


def test_jax_agrees_on_a_tree_with_integers_among_the_arguments() -> None:
    jax = pytest.importorskip("jax")
    from jax.experimental.ode import odeint as theirs

    def loss(solve: Any, np_: Any) -> Any:
        return lambda y0, ts, a, k, n: (solve(pendulum(np_), y0, ts, a, {"k": k, "n": n})["q"] ** 2).sum()

    point = (START, TIMES, np.float64(1.2), PARAMS["k"])
    got = fx.value_and_grad(loss(odeint, fnp), (0, 1, 2, 3))(*point, PARAMS["n"])
    with jax.enable_x64(True):
        own = [jax.tree.map(jax.numpy.asarray, x) for x in point]
        want = jax.jit(jax.value_and_grad(loss(theirs, jax.numpy), (0, 1, 2, 3)))(*own, 3.0)
    for a, b in zip(fx.tree.leaves(got), jax.tree.leaves(want)):
        np.testing.assert_allclose(a, np.asarray(b), rtol=1e-6, atol=1e-6)


def test_what_the_function_closes_over_has_a_gradient_and_transforms_compose() -> None:
    def energy(k: Any) -> Any:
        return (odeint(lambda y, t: -k * y, np.float64(1), TIMES) ** 2).sum()

    k = np.float64(0.5)
    want = (-2 * TIMES * np.exp(-2 * 0.5 * TIMES)).sum()
    with fx.config.using(backend="reference"):
        np.testing.assert_allclose(fx.grad(energy)(k), want, rtol=1e-6)
        np.testing.assert_allclose(fx.jit(fx.grad(energy))(k), want, rtol=1e-6)
        both = fx.vmap(energy)(np.array([0.5, 1.5]))
    np.testing.assert_allclose(both, [energy(np.float64(v)) for v in (0.5, 1.5)], rtol=1e-7)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: odeint(decay, 1.0, np.ones((2, 2)), 1.0), ShapeError, "vector"),
        (lambda: odeint(decay, 1.0, np.arange(3), 1.0), DTypeError, "astype"),
        (lambda: odeint(decay, (), TIMES, 1.0), TreeError, "at least one"),
    ],
)
def test_errors_say_what_to_do(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)
