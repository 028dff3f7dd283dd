"""``fx.scipy.sparse``."""

from __future__ import annotations

from . import linalg

__all__ = ["linalg"]
