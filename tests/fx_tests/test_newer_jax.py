"""What JAX has gained since 0.10, of which answers are recorded (``surface.NEWER``): beside NumPy and SciPy, and JAX where it is new."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import lax, random
from fx.errors import ArgumentError

RNG = np.random.default_rng(0)
FLOATS = RNG.normal(size=(4, 5, 6)).astype(np.float32)
ARRAYS = {
    "floats": FLOATS, "strided": FLOATS.transpose(2, 0, 1)[::-1, :, ::2], "int8": RNG.integers(-128, 128, (3, 40)).astype(np.int8),
    "uint8": RNG.integers(0, 256, (3, 40)).astype(np.uint8), "bool": RNG.random((2, 7)) < 0.5, "one": np.float64([[2.0]]),
    "nan": np.where(RNG.random((3, 8)) < 0.2, np.nan, RNG.normal(size=(3, 8))),
}  # fmt: skip


def theirs(module: str, name: str) -> Callable[..., Any] | None:
    """The installed JAX's function, if it has it."""
    try:
        return getattr(importlib.import_module(f"jax.{module}"), name, None)
    except ImportError:
        return None


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("name", ARRAYS)
def test_minmax(name: str, jitted: bool) -> None:
    x = ARRAYS[name]
    for axis in (None, 0, -1, tuple(range(x.ndim))):
        for keepdims in (False, True):
            f = lambda x, axis=axis, keepdims=keepdims: fnp.minmax(x, axis, keepdims=keepdims)
            least, greatest = (fx.jit(f) if jitted else f)(x)
            np.testing.assert_array_equal(least, x.min(axis, keepdims=keepdims))
            np.testing.assert_array_equal(greatest, x.max(axis, keepdims=keepdims))


def test_minmax_of_some() -> None:
    mask = FLOATS > 0
    least, greatest = fnp.minmax(FLOATS, 1, initial=(9.0, -9.0), where=mask)
    np.testing.assert_array_equal(least, FLOATS.min(1, initial=9.0, where=mask))
    np.testing.assert_array_equal(greatest, FLOATS.max(1, initial=-9.0, where=mask))
    both = fnp.minmax(np.zeros((0, 2)), 0, initial=3.0)
    np.testing.assert_array_equal(both, np.full((2, 2), 3.0))


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("name", [n for n in ARRAYS if n != "nan"])
def test_top_k(name: str, jitted: bool) -> None:
    x = ARRAYS[name]
    for axis in range(-1, x.ndim):
        k = x.shape[axis] // 2 + 1
        for mode in ("largest", "smallest"):
            f = lambda x, axis=axis, mode=mode, k=k: fnp.top_k(x, k, axis=axis, mode=mode)
            values, places = (fx.jit(f) if jitted else f)(x)
            wide = x.astype(np.float64)
            order = np.argsort(-wide if mode == "largest" else wide, axis, kind="stable")
            order = np.take(order, np.arange(k), axis)
            np.testing.assert_array_equal(places, order)
            np.testing.assert_array_equal(values, np.take_along_axis(x, order, axis))
            assert values.dtype == x.dtype and places.dtype == np.int32
            if g := theirs("numpy", "top_k"):
                want = g(np.ascontiguousarray(x), k, axis=axis, mode=mode)
                np.testing.assert_array_equal(values, want[0])
                np.testing.assert_array_equal(places, want[1])


def test_top_k_of_nan_and_wrong_modes() -> None:
    x = np.float32([1.0, np.nan, -3.0, 2.0])
    np.testing.assert_array_equal(fnp.top_k(x, 2)[1], [1, 3])
    np.testing.assert_array_equal(fnp.top_k(x, 2, mode="smallest")[1], [1, 2])
    with pytest.raises(ArgumentError, match="'largest' or 'smallest'; found 'low'"):
        fnp.top_k(x, 2, mode="low")


def test_gradients_of_minmax_and_top_k() -> None:
    x = FLOATS[0]
    g = fx.grad(lambda x: fnp.sum(fnp.minmax(x, 1)[1] * 2 + fnp.top_k(x, 1, mode="smallest")[0][:, 0]))(x)
    want = 2.0 * (x == x.max(1, keepdims=True)) + (x == x.min(1, keepdims=True))
    np.testing.assert_array_equal(g, want)


@pytest.mark.parametrize("jitted", [False, True])
def test_polynomial(jitted: bool) -> None:
    wrap = fx.jit if jitted else lambda f: f
    x, cs = FLOATS[0].astype(np.float64), [1.5, -2.0, 0.25, 3.0]
    got = wrap(lambda x: lax.polynomial(x, cs))(x)
    np.testing.assert_allclose(got, np.polynomial.polynomial.polyval(x, cs), rtol=1e-14)
    slope = wrap(fx.grad(lambda x: fnp.sum(lax.polynomial(x, cs))))(x)
    np.testing.assert_allclose(slope, np.polynomial.polynomial.polyval(x, [-2.0, 0.5, 9.0]), rtol=1e-13)
    arrays = [RNG.normal(size=(1, 6)), 2.0, RNG.normal(size=(5, 1))]
    np.testing.assert_allclose(
        wrap(lambda x: lax.polynomial(x, arrays))(x), arrays[0] + x * (2.0 + x * arrays[2]), rtol=1e-13
    )
    assert lax.polynomial(np.float32(2.0), [1, 2.0]).dtype == np.float32
    for few in ([], [3.0]):
        np.testing.assert_array_equal(lax.polynomial(x, few), np.full_like(x, sum(few)))
    if g := theirs("lax", "polynomial"):
        np.testing.assert_allclose(lax.polynomial(FLOATS, cs), g(FLOATS, cs), rtol=1e-5)


def test_one_minus_square() -> None:
    x = np.float32([1e-9, 0.5, 0.99999994, -1.0, 3.0, np.inf, np.nan])
    exact = 1 - x.astype(np.float64) ** 2
    np.testing.assert_allclose(lax.one_minus_square(x), exact.astype(np.float32), rtol=2e-7)
    slopes = fx.vmap(fx.grad(lax.one_minus_square))(x)
    np.testing.assert_array_equal(slopes, -2 * x)
    np.testing.assert_array_equal(fx.vmap(fx.grad(fx.grad(lax.one_minus_square)))(x[:5]), np.full(5, -2.0, np.float32))
    assert lax.one_minus_square(np.int32(3)) == -8


def test_keys_and_methods() -> None:
    key: random.Key = random.key(0)
    assert isinstance(key, random.Key)
    for f in (random.gamma, random.loggamma, random.poisson, random.chisquare):
        np.testing.assert_array_equal(f(key, 2.0, (3,), method="approximate"), f(key, 2.0, (3,)))
        with pytest.raises(ArgumentError, match="method is 'exact' or 'approximate'; found 'fast'"):
            f(key, 2.0, method="fast")
    np.testing.assert_array_equal(random.beta(key, 2.0, 1.0, (3,), method="exact"), random.beta(key, 2.0, 1.0, (3,)))


def test_parameters_that_are_accepted() -> None:
    x = np.float32([2.0, 1.0])
    np.testing.assert_array_equal(lax.top_k(x, 1, is_stable=False)[1], [0])
    np.testing.assert_array_equal(fnp.lexsort((x,), batch_size=1), [1, 0])
    assert fx.grad(fx.custom_gradient()(lambda x: (x, lambda ct: (2 * ct,))))(3.0) == 2.0
    assert fx.new_ref(1.0, pin=True)[...] == 1.0
    assert (
        fx.get_abstract_mesh() is fx.sharding.get_abstract_mesh()
        or fx.get_abstract_mesh() == fx.sharding.get_abstract_mesh()
    )
