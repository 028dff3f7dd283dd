"""``fx.stages``: the types of the stages of a compilation: a jitted function, ``.lower(...)``, ``.compile()``."""

from __future__ import annotations

from .staging import ArgInfo, Compiled, Lowered, Traced
from .staging import JitFunction as Wrapped

__all__ = ["ArgInfo", "Compiled", "Lowered", "Traced", "Wrapped"]
