"""``io_callback``: called once each time the program reaches it, in order, and its results are values like any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx.errors import DTypeError, MissingRuleError, ShapeError
from fx.experimental import io_callback

F32 = fx.ShapeDtypeStruct((), "float32")


@pytest.fixture
def told() -> tuple[list[float], Any]:
    seen: list[float] = []

    def twice(x: Any) -> Any:
        seen.append(float(x))
        return np.float32(x * 2)

    return seen, lambda x, **options: io_callback(twice, F32, x, **options)


@pytest.mark.parametrize("compiled", [False, True])
def test_it_is_called_once_for_each_time_and_in_order(told: Any, compiled: bool) -> None:
    seen, f = told
    run = fx.jit if compiled else lambda g: g
    assert run(f)(1.0) == 2.0 and seen == [1.0]
    seen.clear()
    assert run(lambda x: (f(x), f(x + 1), x)[2])(1.0) == 1.0 and seen == [1.0, 2.0]  # nobody reads the results
    seen.clear()
    total = run(lambda x: fx.lax.fori_loop(0, 3, lambda i, c: c + f(i * 1.0), x))(np.float32(1))
    assert total == 7.0 and seen == [0.0, 1.0, 2.0]
    seen.clear()
    chosen = run(lambda x: fx.lax.cond(x > 0, f, lambda v: v, x))
    assert chosen(np.float32(3)) == 6.0 and chosen(np.float32(-3)) == -3.0 and seen == [3.0]
    seen.clear()
    np.testing.assert_array_equal(run(fx.vmap(f))(np.arange(3.0)), [0.0, 2.0, 4.0])
    assert seen == [0.0, 1.0, 2.0]


def test_nothing_and_trees_are_results() -> None:
    seen: list[Any] = []
    assert fx.jit(lambda x: io_callback(lambda v: seen.append(float(v)), None, x))(3.0) is None and seen == [3.0]
    out = fx.jit(lambda x: io_callback(lambda a, b: {"s": a + b}, {"s": F32}, x, b=x))(np.float32(2))
    assert out["s"] == 4.0


def test_derivatives_take_its_results_as_constants(told: Any) -> None:
    seen, f = told

    def g(x: Any) -> Any:
        return x * f(fx.lax.stop_gradient(x))

    for grad in (fx.grad(g), fx.grad(fx.jit(g)), fx.jit(fx.grad(g)), fx.jit(fx.grad(fx.grad(lambda x: x * g(x))))):
        seen.clear()
        assert grad(3.0) in (6.0, 12.0) and seen == [3.0]
    with pytest.raises(MissingRuleError, match="stop_gradient"):
        fx.grad(f)(1.0)
    with pytest.raises(MissingRuleError, match="outside of the checkpoint"):
        fx.grad(fx.checkpoint(g))(1.0)


def test_what_cannot_be_is_named(told: Any) -> None:
    _, f = told
    with pytest.raises(MissingRuleError, match="ordered=False"):
        fx.vmap(lambda x: f(x, ordered=True))(np.ones(2))
    with pytest.raises(ShapeError, match="announces"):
        io_callback(lambda x: np.ones(2, np.float32), F32, 1.0)
    with pytest.raises(DTypeError, match="announces"):
        io_callback(lambda x: np.int32(1), F32, 1.0)


def test_what_a_callback_computes_belongs_to_no_trace() -> None:
    """... of the function around it, which a checkpoint evaluates as it traces it."""
    f = fx.checkpoint(lambda x: x * fx.pure_callback(lambda v: np.float32(fnp.sin(v)), F32, fx.lax.stop_gradient(x)))
    np.testing.assert_allclose(fx.grad(f)(3.0), np.sin(3.0), rtol=1e-6)
