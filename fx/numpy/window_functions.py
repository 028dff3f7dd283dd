"""Window functions of signal processing: fixed vectors of ``default_float``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import Array
from ..config import config

__all__ = ["bartlett", "blackman", "hamming", "hanning", "kaiser"]


def _window(values: np.ndarray) -> Array:
    return Array(values.astype(config.default_float))


def bartlett(M: int) -> Array:
    """A triangle that is 0 at both ends."""
    return _window(np.bartlett(M))


def blackman(M: int) -> Array:
    """0.42 - 0.5 cos(2 pi n / (M - 1)) + 0.08 cos(4 pi n / (M - 1))."""
    return _window(np.blackman(M))


def hamming(M: int) -> Array:
    """0.54 - 0.46 cos(2 pi n / (M - 1))."""
    return _window(np.hamming(M))


def hanning(M: int) -> Array:
    """0.5 - 0.5 cos(2 pi n / (M - 1))."""
    return _window(np.hanning(M))


def kaiser(M: int, beta: Any) -> Array:
    """I0(beta sqrt(1 - (2 n / (M - 1) - 1)**2)) / I0(beta)."""
    return _window(np.kaiser(M, float(beta)))
