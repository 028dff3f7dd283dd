"""``fx.image``: the values and derivatives of ``jax.image``, laws of resampling, and what wrong arguments say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from recorded import answers

import fx
import fx.numpy as fnp
from fx import image
from fx.errors import ShapeError

RNG = np.random.default_rng(0)
PICTURE = RNG.normal(size=(7, 5, 2)).astype(np.float32)
METHODS = ["nearest", "linear", "cubic", "cubic-pytorch", "lanczos3", "lanczos5", "area"]
SHAPES = [(3, 9, 2), (14, 2, 2), (7, 5, 2), (0, 4, 2)]
MOVE = np.float32([0.7, 1.8]), np.float32([0.3, -1.2])


def resized(of: Any, shape: tuple[int, ...], method: str, antialias: bool) -> Any:
    return lambda: of.resize(PICTURE, shape, method, antialias)


def moved(of: Any, shape: tuple[int, ...], method: str, antialias: bool) -> Any:
    return lambda: of.scale_and_translate(PICTURE, shape, (0, 1), *MOVE, method, antialias)


def gradient(space: Any, of: Any) -> Any:
    def loss(x: Any, s: Any, t: Any) -> Any:
        return (of.scale_and_translate(x, (4, 4, 2), (0, 1), s, t, "cubic") ** 2).sum()

    return lambda: space.grad(loss, (0, 1, 2))(PICTURE, *MOVE)


@pytest.fixture(scope="module")
def jax_image(update_golden: bool) -> dict[str, np.ndarray]:
    """What ``jax.image`` 0.10.2 gives."""

    def compute() -> dict[str, Any]:
        jax = pytest.importorskip("jax")
        with jax.enable_x64(False):
            found = {
                f"{make.__name__} {shape} {method} {antialias}": jax.jit(make(jax.image, shape, method, antialias))()
                for make, methods, shapes in ((resized, METHODS, SHAPES), (moved, METHODS[1:], SHAPES[:2]))
                for method in methods
                for shape in shapes
                for antialias in (True, False)
            }
            found.update(zip(("of picture", "of scale", "of translation"), jax.jit(gradient(jax, jax.image))()))
        return found

    return answers("jax_image", update_golden, compute)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_resize_is_jax_s(jax_image: dict[str, np.ndarray], method: str, antialias: bool) -> None:
    for shape in SHAPES:
        got = np.asarray(resized(image, shape, method, antialias)())
        want = jax_image[f"resized {shape} {method} {antialias}"]
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("method", METHODS[1:])
def test_scale_and_translate_is_jax_s(jax_image: dict[str, np.ndarray], method: str, antialias: bool) -> None:
    for shape in SHAPES[:2]:
        want = jax_image[f"moved {shape} {method} {antialias}"]
        np.testing.assert_allclose(moved(image, shape, method, antialias)(), want, rtol=3e-5, atol=3e-6)


def test_scale_and_translate_is_differentiable_in_all_it_depends_on(jax_image: dict[str, np.ndarray]) -> None:
    for name, got in zip(("of picture", "of scale", "of translation"), gradient(fx, image)()):
        np.testing.assert_allclose(got, jax_image[name], rtol=2e-4, atol=1e-4)


def test_a_constant_stays_a_constant_and_an_integer_becomes_a_float() -> None:
    for method in METHODS:
        np.testing.assert_allclose(image.resize(np.full((6, 4), 3.0), (9, 3), method), np.full((9, 3), 3.0), rtol=1e-6)
    assert image.resize(np.arange(4), (2,), "linear").dtype == np.float64
    assert image.resize(np.arange(4), (2,), "nearest").dtype == np.int64
    assert image.resize(PICTURE.astype(np.float16), (3, 3, 2), "cubic").dtype == np.float16
    assert image.resize(PICTURE.astype(np.complex64), (3, 3, 2), "cubic").dtype == np.complex64
    assert image.resize(np.ones((1, 4)), (3, 2), "cubic-pytorch", antialias=False).shape == (3, 2)
    np.testing.assert_array_equal(image.resize(np.arange(3), (7,), image.ResizeMethod.NEAREST), [0, 0, 1, 1, 1, 2, 2])


def test_compiled_and_batched() -> None:
    batch = RNG.normal(size=(3, 6, 5)).astype(np.float32)

    def shrink(x: Any) -> Any:
        return image.resize(x, (4, 3), "lanczos3")

    want = np.stack([np.asarray(shrink(x)) for x in batch])
    np.testing.assert_allclose(fx.vmap(shrink)(batch), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fx.jit(shrink)(batch[0]), want[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: image.resize(PICTURE, (3, 3), "linear"), "each axis"),
        (lambda: image.resize(PICTURE, (3, 3, 2), "sinc"), "bicubic"),
        (lambda: image.scale_and_translate(PICTURE, (7, 5, 2), (0,), fnp.ones(1), fnp.ones(1), "nearest"), "linear"),
        (lambda: image.scale_and_translate(PICTURE, (7, 5, 2), (0,), fnp.ones(2), fnp.ones(1), "cubic"), "one number"),
        (lambda: image.scale_and_translate(PICTURE, (7, 6, 2), (0,), fnp.ones(1), fnp.ones(1), "cubic"), "axis 1"),
    ],
)
def test_errors_say_what_to_do(call: Any, says: str) -> None:
    with pytest.raises(ShapeError) as caught:
        call()
    assert says in str(caught.value)
