"""``fx.data``: the embedded digits, batches, and random shifts.

>>> from fx import data
>>> train, test = data.mnist()
>>> train.images.shape, test.images.shape
((8000, 28, 28, 1), (2000, 28, 28, 1))
"""

from __future__ import annotations

from .batches import batches, random_shift
from .mnist import MNIST, Split, mnist
from .tables import Table, breast_cancer, diabetes

__all__ = ["MNIST", "Split", "Table", "batches", "breast_cancer", "diabetes", "mnist", "random_shift"]
