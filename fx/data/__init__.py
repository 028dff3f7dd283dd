"""``fx.data``: the embedded digits, batches, and random shifts.

>>> from fx import data
>>> train, test = data.mnist()
>>> train.images.shape, test.images.shape
((8000, 28, 28, 1), (2000, 28, 28, 1))
"""

from __future__ import annotations

from .batches import batches, random_shift
from .mnist import MNIST, Split, mnist

__all__ = ["MNIST", "Split", "batches", "mnist", "random_shift"]
