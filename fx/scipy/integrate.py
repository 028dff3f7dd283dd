"""``fx.scipy.integrate``: integration of samples."""

from __future__ import annotations

from ..numpy import trapezoid

__all__ = ["trapezoid"]
