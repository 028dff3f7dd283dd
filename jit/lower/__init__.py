"""The lowerings: importing this package fills the tables of ``registry``."""

from __future__ import annotations

from . import (
    control_flow,
    conv,
    cumulative,
    decompositions,
    elementwise,
    fft,
    indexing,
    linalg,
    positions,
    random,
    sorting,
    spectral,
    windows,
)
from .given import given_from_outside

__all__ = [
    "control_flow", "conv", "cumulative", "decompositions", "elementwise", "fft", "given_from_outside", "indexing", "linalg", "positions", "random",
    "sorting", "spectral", "windows",
]  # fmt: skip
