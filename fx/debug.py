"""``fx.debug``: looking at values inside traced and compiled functions."""

from __future__ import annotations

from .primitives.callbacks import debug_callback as callback
from .primitives.callbacks import debug_print as print

__all__ = ["callback", "print"]
