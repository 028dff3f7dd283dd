"""Batches of arrays, and the augmentation of images."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import random
from ..api import vmap
from ..errors import ShapeError
from ..primitives.indexing import dynamic_slice
from ..primitives.joining import pad
from .sources import positive

__all__ = ["batches", "random_shift"]


class Batches(Sequence[tuple[np.ndarray, ...]]):
    """The batches of one pass; see ``batches``."""

    def __init__(self, arrays: tuple[np.ndarray, ...], order: np.ndarray, batch_size: int, count: int) -> None:
        self._arrays, self._order, self._batch_size, self._count = arrays, order, batch_size, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[n] for n in range(*i.indices(self._count))]
        i = operator.index(i)
        if not -self._count <= i < self._count:
            raise IndexError(f"batch {i} of {self._count}")
        start = i % self._count * self._batch_size
        chosen = self._order[start : start + self._batch_size]
        return tuple(a[chosen] for a in self._arrays)

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        return (self[i] for i in range(self._count))


def batches(arrays: Sequence[Any], batch_size: int, *, key: Any = None, drop_last: bool = False) -> Batches:
    """One pass over the examples, in batches.

    Args:
        arrays: arrays of equal length, such as ``(images, labels)``.
        batch_size: examples in a batch.
        key: a key (``fx.random``) that gives the order; None keeps the order of the arrays. For another order in every
            epoch: ``key=random.fold_in(key, epoch)``.
        drop_last: leave out the last batch if it is smaller. By default it is kept: every example is seen once.

    Returns:
        A sequence of tuples of NumPy arrays; ``len`` is the number of batches.

    Raises:
        ShapeError: the lengths differ, or the batch size is not positive.

    >>> [x.tolist() for (x,) in batches([np.arange(5)], 2)]
    [[0, 1], [2, 3], [4]]
    """
    if hasattr(arrays, "shape") or not isinstance(arrays, Sequence):
        found = f"one of shape {tuple(arrays.shape)}" if hasattr(arrays, "shape") else f"a {type(arrays).__name__}"
        raise ShapeError(
            f"batches takes several arrays, (images, labels), or (x,) for one; found {found}. For dicts and other trees:"
            " data.from_arrays(tree).batch(32)."
        )
    arrays = tuple(np.asarray(a) for a in arrays)
    shapes = [a.shape for a in arrays]
    if len({s[:1] for s in shapes}) != 1 or () in shapes:
        raise ShapeError(f"batches takes arrays of equal length, at least one; found shapes {shapes}")
    batch_size, lengths = positive("batches", "a positive batch size", batch_size), {len(arrays[0])}
    (n,) = lengths
    order = np.arange(n) if key is None else np.asarray(random.permutation(key, n))
    return Batches(arrays, order, batch_size, n // batch_size if drop_last else -(-n // batch_size))


def random_shift(key: Any, images: Any, pixels: int = 2) -> Any:
    """Images, each shifted by its own random number of rows and columns; what moves in is 0.

    Args:
        key: a key (``fx.random``), used up by the call.
        images: (batch, height, width, channels).
        pixels: greatest shift in each direction; every shift from ``-pixels`` to ``pixels`` is equally likely.

    >>> random_shift(random.key(0), np.ones((3, 8, 8, 1), np.float32)).shape
    (3, 8, 8, 1)
    """
    images = fnp.asarray(images)
    if images.ndim != 4:
        raise ShapeError(f"random_shift takes images of shape (batch, height, width, channels); found {images.shape}")
    padded = pad(images, images.dtype.type(0), ((0, 0, 0), (pixels, pixels, 0), (pixels, pixels, 0), (0, 0, 0)))
    starts = random.randint(key, (images.shape[0], 2), 0, 2 * pixels + 1)
    return vmap(lambda image, start: dynamic_slice(image, (start[0], start[1], 0), images.shape[1:]))(padded, starts)
