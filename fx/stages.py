"""``fx.stages``: the types of the stages of a compilation: a jitted function, ``.lower(...)``, ``.compile()``."""

from __future__ import annotations

from .staging import Compiled, Lowered
from .staging import JitFunction as Wrapped

__all__ = ["Compiled", "Lowered", "Wrapped"]
