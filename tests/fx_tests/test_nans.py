"""Planted NaNs and infinities are found where they were born, and leaked tracers where the trace ends."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import lax
from fx.errors import LeakedTracerError, NaNError

X = np.array([1.0, 4.0, -1.0])


def here(offset: int = 0) -> str:
    """This file and the line of the caller."""
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return f"test_nans.py:{frame.f_back.f_lineno + offset}"


def caught(f: Any, *args: Any, kind: str = "NaN") -> str:
    with pytest.raises(NaNError, match=f"^{kind} appeared") as e, fx.debug_nans(), fx.debug_infs(kind == "inf"):
        f(*args)
    assert isinstance(e.value, FloatingPointError)
    return str(e.value)


def planted(x: Any) -> Any:
    y = np.sqrt(x)
    return np.sum(y * 2.0) + np.sum(x)


SQRT = f"test_nans.py:{inspect.getsourcelines(planted)[1] + 1}"


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_a_compiled_program(backend: str) -> None:
    text = caught(fx.jit(planted, backend=backend), X)
    assert "compiled program of 'planted'" in text and "'sqrt' gave nan at index (2,) of f64[3]" in text
    assert "operand 0: f64[3], -1.0 there: [ 1.,  4., -1.]" in text and SQRT in text


def test_programs_without_nans_are_left_alone() -> None:
    f = fx.jit(planted)
    with fx.debug_nans(), fx.debug_infs():
        assert float(f(X**2)) == float(f(X**2)) == 30.0
        assert float(fx.grad(f)(X**2)[0]) == 2.0
        masked = fx.jit(lambda x: np.sum(np.where(x > 0, np.log(np.where(x > 0, x, 1.0)), 0.0)))
        assert float(masked(X)) == pytest.approx(np.log(4))
        # a NaN that the result does not depend on is nobody's business in a compiled program
        assert float(fx.jit(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0)))(X)) == 3.0
        # nor one that came in with the arguments, or was written down
        assert np.isnan(fx.jit(lambda x: x + 1)(np.array([np.nan]))).all()
        assert (
            np.isnan(np.asarray(fnp.full(2, np.nan) * 2)).all() and np.isinf(np.asarray(fnp.array([np.inf]) + 1)).all()
        )
    assert np.isnan(np.asarray(f(X)))


def test_the_way_back_goes_through_the_operand_that_matters() -> None:
    def f(x: Any) -> Any:
        unused = np.where(x > 5, np.log(-(x**2)), 1.0)
        return np.where(x > 0, x * unused, np.arcsin(np.minimum(x * 3, 1.0)))

    text = caught(fx.jit(f), X)
    assert "'asin'" in text and here(-3) in text and "-3.0 there" in text


def test_values_that_run_at_once() -> None:
    x = fnp.array(X)
    text = caught(lambda: fnp.log(x) + 1)
    assert "'log' gave nan at index (2,)" in text and here(-1) in text
    assert "'div' gave nan" in caught(lambda: fnp.zeros(2) / fnp.zeros(2))
    assert "'div' gave inf" in caught(lambda: x / 0.0, kind="inf")
    with fx.debug_nans():
        _ = x / 0.0  # an infinity is no NaN
        assert fx.numpy.sum(x) == 4
    assert np.isnan(np.asarray(fnp.log(x))).any()


@pytest.mark.parametrize(
    "transform",
    [fx.grad, lambda f: fx.jit(fx.grad(f)), lambda f: fx.grad(fx.jit(f))],
    ids=["grad", "jit of grad", "grad of jit"],
)
def test_forward_under_grad(transform: Any) -> None:
    text = caught(transform(planted), X)
    assert "'sqrt' gave nan" in text and SQRT in text and "-1.0 there" in text


def norm(x: Any) -> Any:
    return np.sqrt(np.sum(x**2)) * 0.0


@pytest.mark.parametrize(
    "transform",
    [fx.grad, lambda f: fx.jit(fx.grad(f)), lambda f: fx.grad(fx.jit(f))],
    ids=["grad", "jit of grad", "grad of jit"],
)
def test_backward(transform: Any) -> None:
    """The value is 0; the derivative of the square root at 0 times 0 is not a number."""
    assert float(norm(np.zeros(2))) == 0.0
    text = caught(transform(norm), np.zeros(2))
    assert f"test_nans.py:{inspect.getsourcelines(norm)[1] + 1}" in text
    assert "'mul' gave nan at index () of f64[]" in text
    assert "operand 0: f64[]: 0." in text and "operand 1: f64[]: inf" in text


def test_in_vmap() -> None:
    text = caught(fx.vmap(planted), np.stack([X**2, X]))
    assert "'sqrt' gave nan at index (1, 2) of f64[2,3]" in text and SQRT in text
    text = caught(fx.jit(fx.vmap(planted)), np.stack([X**2, X]))
    assert "(1, 2)" in text and SQRT in text
    text = caught(fx.vmap(fx.jit(fx.grad(planted))), np.stack([X**2, X]))
    assert "(1, 2)" in text and SQRT in text


def test_in_nested_programs() -> None:
    inner = fx.jit(planted)
    text = caught(fx.jit(lambda x: fx.checkpoint(lambda v: inner(v) * 2)(x) + 1), X)
    assert "compiled program" in text and "'sqrt'" in text and SQRT in text

    def body(c: Any, x: Any) -> Any:
        return c + np.sqrt(x), c

    text = caught(fx.jit(lambda x: lax.scan(body, x[0], x)[0]), X)
    assert "'sqrt'" in text and here(-3) in text
    text = caught(lambda x: lax.scan(body, x[0], x)[0], fnp.array(X))
    assert "'sqrt'" in text and here(-5) in text


def test_donated_arguments_are_kept_for_the_search() -> None:
    f = fx.jit(lambda x: np.sqrt(x) * 2.0, donate_argnums=0)
    x = fnp.array(X)
    assert "-1.0 there" in caught(f, x) and x[0] == X[0]  # what it was called with is not lost
    with fx.debug_nans():
        f(fine := fnp.abs(x))
    with pytest.raises(fx.errors.DeletedArrayError, match="donated"):
        fine + 1


def test_infinities() -> None:
    assert "'exp' gave inf" in caught(fx.jit(lambda x: np.exp(x * 1e3).sum()), X, kind="inf")
    with fx.debug_nans():
        assert np.isinf(np.asarray(fx.jit(lambda x: np.exp(x * 1e3).sum())(X)))


def test_options_of_the_process() -> None:
    f = fx.jit(lambda x: np.log(x))
    f(X), f(X)  # the short way is taken
    try:
        fx.config.update("jax_debug_nans", True)
        for _ in range(2):
            with pytest.raises(NaNError):
                f(X)
        with fx.debug_nans(False):
            f(X)
    finally:
        fx.config.update("debug_nans", False)
    f(X)
    with pytest.raises(AttributeError, match="no option 'jax_nonsense'"):
        fx.config.update("jax_nonsense", 1)


# ------------------------------------------------------------------------------------------- leaks


@pytest.mark.parametrize(
    "transform", [fx.jit, fx.vmap, lambda f: fx.grad(lambda x: np.sum(f(x)))], ids=["jit", "vmap", "grad"]
)
def test_leaks_are_found_when_the_trace_ends(transform: Any) -> None:
    kept: list[Any] = []

    def leaks(x: Any) -> Any:
        y = np.sin(x)
        kept.append(y)
        return y * 2

    def sound(x: Any) -> Any:
        rows = [x * 2, x[:1]]
        view = rows[0][...]
        view += 1
        return rows[0]

    transform(leaks)(X[:, None])
    kept.clear()
    with fx.check_tracer_leaks():
        transform(sound)(X[:, None])
        with pytest.raises(LeakedTracerError, match="outlived the trace.*'sin'.*Held by: list"):
            transform(leaks)(X[:, None] + np.zeros(1))
    with fx.checking_leaks():
        value, aux = fx.value_and_grad(lambda x: (np.sum(x**2), {"twice": x * 2}), has_aux=True)(X)[0]
    assert float(value) == 18.0 and aux["twice"].tolist() == [2, 8, -2]


def test_an_exponential_without_squarings_has_no_infinities_on_its_way() -> None:
    with fx.config.using(debug_infs=True):
        for a in (np.zeros((2, 2)), np.eye(2), np.diag([40.0, -3.0])):
            np.testing.assert_allclose(fx.scipy.linalg.expm(a), np.diag(np.exp(np.diag(a))) + 0 * a, rtol=1e-12)
