"""``fx.scipy.spatial``."""

from __future__ import annotations

from . import transform

__all__ = ["transform"]
