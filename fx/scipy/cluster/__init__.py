"""``fx.scipy.cluster``."""

from __future__ import annotations

from . import vq

__all__ = ["vq"]
