"""``fx.typing``: types for the annotations of functions on arrays."""

from __future__ import annotations

from typing import Union

import numpy as np
from numpy.typing import DTypeLike

from .array import Array

__all__ = ["Array", "ArrayLike", "DTypeLike"]

ArrayLike = Union[Array, np.ndarray, np.bool_, np.number, bool, int, float, complex]
"""What stands for an array where one is taken: arrays, NumPy's arrays and scalars, Python's numbers."""
