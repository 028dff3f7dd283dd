"""Operations on booleans: the ones JAX has, with its results; the others are refused, eagerly, traced and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
from fx import errors, lax
from fx.primitive import primitive
from fx.trace import bind

B = np.array([True, True, False])
NUMBERS = ((), (0,), (0,))


def scatter(name: str) -> Callable[[Any, Any], Any]:
    def f(m: Any, x: Any) -> Any:
        numbers = m.lax.ScatterDimensionNumbers(*NUMBERS)
        return getattr(m.lax, name)(x, np.array([[0], [0]]), np.array([True, False]), numbers)

    return f


def named(name: str, *operands: Any, **kwargs: Any) -> Callable[[Any, Any], Any]:
    return lambda m, x: getattr(m.lax, name)(x, *operands, **kwargs)


SAME_AS_JAX: dict[str, Callable[[Any, Any], Any]] = {
    "dot": lambda m, x: m.lax.dot(x, x),
    "dot_general": lambda m, x: m.lax.dot_general(x, x, (((), ()), ((), ()))),
    "max": lambda m, x: m.lax.max(x, x[::-1]),
    "min": lambda m, x: m.lax.min(x, x[::-1]),
    "clamp": lambda m, x: m.lax.clamp(np.bool_(False), x, np.bool_(True)),
    "argmax": named("argmax", 0, np.int32),
    "sort": named("sort"),
    "scatter": scatter("scatter"),
    "scatter_min": scatter("scatter_min"),
    "scatter_max": scatter("scatter_max"),
    "psum": lambda m, x: m.vmap(lambda v: m.lax.psum(v, "i"), axis_name="i")(x),
    "pmax": lambda m, x: m.vmap(lambda v: m.lax.pmax(v, "i"), axis_name="i")(x),
    "reduce_max": lambda m, x: m.numpy.max(x),
}
REFUSED: dict[str, Callable[[Any], Any]] = {
    **{n: lambda x, n=n: getattr(lax, n)(x, x) for n in ("add", "sub", "mul", "div", "rem")},
    **{n: lambda x, n=n: getattr(lax, n)(x) for n in ("neg", "sign", "cumsum", "cumprod", "cummax", "cumlogsumexp")},
    **{n: lambda x, n=n: bind(primitive(n), x, axes=(0,)) for n in ("reduce_sum", "reduce_prod")},
    **{n: lambda x, n=n: scatter(n)(fx, x) for n in ("scatter_add", "scatter_mul")},
    "integer_pow": lambda x: lax.integer_pow(x, 2),
}


@pytest.mark.parametrize("name", SAME_AS_JAX)
def test_booleans_where_they_have_a_meaning(name: str) -> None:
    jax = pytest.importorskip("jax")
    f = SAME_AS_JAX[name]
    want = np.asarray(f(jax, jax.numpy.asarray(B)))
    for got in (f(fx, fx.numpy.asarray(B)), fx.jit(lambda x: f(fx, x))(B)):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", REFUSED)
def test_booleans_where_they_have_none(name: str) -> None:
    for f in (REFUSED[name], fx.jit(REFUSED[name])):
        with pytest.raises(errors.DTypeError, match="bool"):
            f(fx.numpy.asarray(B))
