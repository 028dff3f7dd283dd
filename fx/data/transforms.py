"""Random changes of images: pure functions of a source of randomness and a batch.

Each takes a key of ``fx.random`` (then it is traced, compiled and differentiated like any function: in the step) or a
NumPy ``Generator`` (then it is NumPy's work: in ``Dataset.map(f, seed=...)``, in the threads of ``prefetch``). Images have
the shape (batch, height, width, channels). What moves or cuts pixels keeps the dtype; what computes with them gives float32
for images of integers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import random
from ..errors import DataError, DTypeError, ShapeError
from .sources import height_and_width, positive

__all__ = ["add_noise", "cutout", "mixup", "normalise", "random_crop", "random_flip", "random_rotation"]


class _Draws:
    """Random numbers from a generator of NumPy's or a key, and the arrays that go with them."""

    def __init__(self, source: Any, parts: int = 1) -> None:
        self._rng = source if isinstance(source, np.random.Generator) else None
        try:
            self._keys = iter(()) if self._rng is not None else iter(random.split(source, parts))
        except DTypeError:
            raise DataError(
                "random changes of images take a key of fx.random, or a Generator of NumPy's (np.random.default_rng(0)); found"
                f" {source!r}"
            ) from None
        self.np = np if self._rng is not None else fnp

    def array(self, x: Any) -> Any:
        return self.np.asarray(x)

    def uniform(self, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Any:
        if self._rng is not None:
            return self._rng.random(shape, np.float32) * np.float32(high - low) + np.float32(low)
        return random.uniform(next(self._keys), shape, minval=low, maxval=high)

    def integers(self, shape: tuple[int, ...], low: int, high: int) -> Any:
        """From ``low`` to ``high - 1``."""
        if self._rng is not None:
            return self._rng.integers(low, high, shape, np.int32)
        return random.randint(next(self._keys), shape, low, high)

    def normal(self, shape: tuple[int, ...]) -> Any:
        if self._rng is not None:
            return self._rng.standard_normal(shape, np.float32)
        return random.normal(next(self._keys), shape)

    def beta(self, a: float, shape: tuple[int, ...]) -> Any:
        if self._rng is not None:
            return self._rng.beta(a, a, shape).astype(np.float32)
        return random.beta(next(self._keys), a, a, shape)

    def order(self, n: int) -> Any:
        return self._rng.permutation(n) if self._rng is not None else random.permutation(next(self._keys), n)


def _images(draws: _Draws, images: Any, who: str) -> Any:
    images = draws.array(images)
    if images.ndim != 4:
        raise ShapeError(f"{who} takes images of shape (batch, height, width, channels); found {images.shape}")
    return images


def _blendable(images: Any) -> Any:
    """Images as floats: integers become float32, of which parts and sums can be had."""
    return images if images.dtype.kind not in "iub" else images.astype("float32")


def _number(who: str, name: str, value: Any, least: float, most: float = math.inf) -> Any:
    """``value``, a number within bounds; what is traced is taken as it is.

    Raises:
        DataError: it is none.
    """
    if hasattr(value, "aval"):
        return value
    try:
        fits = np.ndim(value) == 0 and least <= value <= most
    except TypeError:
        fits = False
    if not fits:
        bounds = f"from {least:g} to {most:g}" if most < math.inf else f"of at least {least:g}"
        raise DataError(f"{who}: {name} is a number {bounds}; found {value!r}")
    return value


def _per_image(x: Any) -> Any:
    return x[:, None, None, None]


def normalise(images: Any, mean: Any, std: Any) -> Any:
    """``(images - mean) / std``, of numbers or one for each channel.

    >>> normalise(np.ones((1, 2, 2, 1), np.float32), 0.5, 0.25)[0, 0, 0, 0]
    np.float32(2.0)
    """
    images = images if hasattr(images, "dtype") else np.asarray(images)
    images = _blendable(images)
    kind = images.dtype
    mean, std = np.asarray(mean, kind), np.asarray(std, kind)
    for name, numbers in (("mean", mean), ("std", std)):
        if numbers.ndim and images.shape[-1:] != numbers.shape[-1:] and numbers.shape[-1] != 1:
            raise ShapeError(
                f"normalise takes a {name} for all, or one for each channel, of images of shape (..., channels); found"
                f" {numbers.shape} beside images of shape {tuple(images.shape)}"
            )
    if (std == 0).any():
        raise DataError("normalise: std is 0, of a channel that is the same everywhere; put 1 there, or leave it out")
    return (images - mean) / std


def random_crop(source: Any, images: Any, size: tuple[int, int] | int, padding: int = 0) -> Any:
    """A piece of each image, from anywhere in it.

    Args:
        source: a key of ``fx.random``, or a NumPy ``Generator``.
        size: (height, width) of the pieces, or one number for both.
        padding: zeros put around the images first.

    >>> random_crop(np.random.default_rng(0), np.ones((3, 8, 8, 1)), (6, 5)).shape
    (3, 6, 5, 1)
    """
    draws, size = _Draws(source, 2), height_and_width("random_crop", size)
    images = _images(draws, images, "random_crop")
    border = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = draws.np.pad(images, border) if padding else images
    n, height, width, _ = padded.shape
    if not (0 < size[0] <= height and 0 < size[1] <= width):
        raise ShapeError(f"random_crop: pieces of {size} from images of {(height, width)}; give them padding")
    top, left = draws.integers((n,), 0, height - size[0] + 1), draws.integers((n,), 0, width - size[1] + 1)
    rows, columns = top[:, None] + np.arange(size[0]), left[:, None] + np.arange(size[1])
    return padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def random_flip(source: Any, images: Any, probability: float = 0.5, axis: int = 2) -> Any:
    """Each image turned round along an axis with a probability.

    Args:
        source: a key of ``fx.random``, or a NumPy ``Generator``.
        images: (batch, height, width, channels).
        probability: of each image.
        axis: 2 exchanges left and right, 1 top and bottom.

    >>> import numpy as np
    >>> from fx import data, random
    >>> data.random_flip(random.key(0), np.arange(3.0).reshape(1, 1, 3, 1), probability=1.0)[0, 0, :, 0]
    Array([2., 1., 0.], dtype=float64)
    """
    draws = _Draws(source)
    images = _images(draws, images, "random_flip")
    turn = _per_image(draws.uniform((images.shape[0],)) < _number("random_flip", "probability", probability, 0, 1))
    return draws.np.where(turn, draws.np.flip(images, axis), images)


def random_rotation(source: Any, images: Any, degrees: float = 15.0) -> Any:
    """Each image turned about its middle by up to ``degrees`` either way; what comes in from outside is 0.

    Pixels are interpolated between their four neighbours.

    Args:
        source: a key of ``fx.random``, or a NumPy ``Generator``.
        images: (batch, height, width, channels); integers become float32.

    >>> import numpy as np
    >>> from fx import data
    >>> data.random_rotation(np.random.default_rng(0), np.ones((5, 28, 28, 1), np.float32), degrees=10.0).shape
    (5, 28, 28, 1)
    """
    draws = _Draws(source)
    images, xp = _blendable(_images(draws, images, "random_rotation")), draws.np
    n, height, width, _ = images.shape
    degrees = _number("random_rotation", "degrees", degrees, 0)
    angle = draws.uniform((n, 1, 1), -math.radians(degrees), math.radians(degrees))
    y, x = np.meshgrid(
        np.arange(height, dtype=np.float32) - np.float32((height - 1) / 2),
        np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2),
        indexing="ij",
    )
    row = xp.cos(angle) * y - xp.sin(angle) * x + np.float32((height - 1) / 2)
    column = xp.sin(angle) * y + xp.cos(angle) * x + np.float32((width - 1) / 2)
    top, left = xp.floor(row), xp.floor(column)
    below, right = row - top, column - left
    weights = {
        (0, 0): (1 - below) * (1 - right),
        (0, 1): (1 - below) * right,
        (1, 0): below * (1 - right),
        (1, 1): below * right,
    }
    turned = 0
    for (down, across), weight in weights.items():
        r, c = top.astype("int32") + down, left.astype("int32") + across
        inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
        pixels = images[np.arange(n)[:, None, None], xp.clip(r, 0, height - 1), xp.clip(c, 0, width - 1)]
        turned = turned + xp.where(inside, weight, np.float32(0))[..., None].astype(images.dtype) * pixels
    return turned


def cutout(source: Any, images: Any, size: int) -> Any:
    """A square of each image, its middle anywhere, becomes 0 (DeVries, Taylor, 2017).

    Args:
        source: a key of ``fx.random``, or a NumPy ``Generator``.
        images: (batch, height, width, channels).
        size: of its sides; what lies outside of the image is lost.

    >>> import numpy as np
    >>> from fx import data
    >>> int(data.cutout(np.random.default_rng(0), np.ones((1, 28, 28, 1)), 8).sum())  # of 784
    720
    """
    draws, size = _Draws(source, 2), positive("cutout", "a positive size", size)
    images = _images(draws, images, "cutout")
    n, height, width, _ = images.shape
    top = draws.integers((n, 1), 0, height) - size // 2
    left = draws.integers((n, 1), 0, width) - size // 2
    rows = (np.arange(height) >= top) & (np.arange(height) < top + size)
    columns = (np.arange(width) >= left) & (np.arange(width) < left + size)
    hole = (rows[:, :, None] & columns[:, None, :])[..., None]
    return draws.np.where(hole, draws.np.zeros_like(images), images)


def mixup(source: Any, images: Any, targets: Any, alpha: float = 0.2) -> tuple[Any, Any]:
    """Each image blended with another of the batch, and so its target (Zhang et al., 2018).

    Args:
        source: a key of ``fx.random``, or a NumPy ``Generator``.
        images: (batch, height, width, channels); integers become float32.
        targets: (batch, ...) of floats, such as one-hot labels.
        alpha: the share is drawn from Beta(alpha, alpha).

    Returns:
        (images, targets).

    >>> import numpy as np
    >>> from fx import data
    >>> images, targets = data.mixup(np.random.default_rng(0), np.ones((4, 8, 8, 1)), np.eye(4))
    >>> images.shape, targets.sum(axis=1)
    ((4, 8, 8, 1), array([1., 1., 1., 1.]))
    """
    draws = _Draws(source, 2)
    images, targets = _blendable(_images(draws, images, "mixup")), draws.array(targets)
    if targets.dtype.kind not in "f" or targets.shape[0] != images.shape[0]:
        raise DataError(
            f"mixup blends targets: floats, one for each of {images.shape[0]} images; found {targets.dtype}{list(targets.shape)}."
            " Make labels one-hot first"
        )
    n = images.shape[0]
    if not hasattr(alpha, "aval") and not (np.ndim(alpha) == 0 and alpha > 0):
        raise DataError(f"mixup: alpha is a positive number; found {alpha!r}. Without mixup there is nothing to call.")
    share, other = draws.beta(alpha, (n,)), draws.order(n)

    def blend(x: Any) -> Any:
        part = share.reshape((n,) + (1,) * (x.ndim - 1)).astype(x.dtype)
        return part * x + (1 - part) * x[other]

    return blend(images), blend(targets)


def add_noise(source: Any, images: Any, std: float) -> Any:
    """Images and normal noise.

    Args:
        source: a key of ``fx.random``, or a NumPy ``Generator``.
        images: of any shape; integers become float32.
        std: the standard deviation of the noise, in the units of the pixels.

    >>> import numpy as np
    >>> from fx import data
    >>> noisy = data.add_noise(np.random.default_rng(0), np.zeros((4, 28, 28, 1), np.float32), 0.1)
    >>> round(float(noisy.std()), 2)
    0.1
    """
    draws = _Draws(source)
    images, std = _blendable(draws.array(images)), _number("add_noise", "std", std, 0)
    return images + (np.float32(std) * draws.normal(tuple(images.shape))).astype(images.dtype)
