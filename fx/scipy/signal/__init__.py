"""``fx.scipy.signal``: convolution, trends and spectra, under the names of ``jax.scipy.signal``."""

from __future__ import annotations

from ...traceback import hide_frames as _hide_frames
from .convolution import convolve, convolve2d, correlate, correlate2d, fftconvolve
from .detrending import detrend
from .spectral import csd, istft, stft, welch

__all__ = [
    "convolve", "convolve2d", "correlate", "correlate2d", "csd", "detrend", "fftconvolve", "istft", "stft", "welch",
]  # fmt: skip

_hide_frames(globals())
