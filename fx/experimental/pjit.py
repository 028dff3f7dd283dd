"""``fx.experimental.pjit``: the older name of ``fx.jit``."""

from __future__ import annotations

from ..staging import jit as pjit

__all__ = ["pjit"]
