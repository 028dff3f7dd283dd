"""``fx.interpreters``: where a program gives the rules of its own primitives, under JAX's names.

``ad``: derivatives. ``batching``: vmap. ``mlir``: what is compiled. The primitive is ``fx.extend.core.Primitive(name)``.
"""

from __future__ import annotations

from . import ad, batching, mlir, partial_eval, xla

__all__ = ["ad", "batching", "mlir", "partial_eval", "xla"]
