"""The loop of the random bits: one block of Threefry."""

from __future__ import annotations

from fx.ir import Eqn

from ..loop_builder import KernelBuilder
from ..loop_ir import Expr
from .registry import pointwise

__all__ = ["threefry2x32"]

# J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): Threefry-2x32, 20 rounds.
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


@pointwise("threefry2x32")
def threefry2x32(b: KernelBuilder, eqn: Eqn, k0: Expr, k1: Expr, x0: Expr, x1: Expr) -> tuple[Expr, Expr]:
    """Encrypts the counter (x0, x1) with the key (k0, k1)."""
    keys = [b.let("key", k) for k in (k0, k1, k0 ^ k1 ^ _PARITY)]
    x0, x1 = b.let("word", x0 + keys[0]), b.let("word", x1 + keys[1])
    for i in range(5):
        for r in _ROTATIONS[i % 2]:
            x0 = b.let("word", x0 + x1)
            x1 = b.let("word", ((x1 << r) | (x1 >> (32 - r))) ^ x0)
        x0 = b.let("word", x0 + keys[(i + 1) % 3])
        x1 = b.let("word", x1 + keys[(i + 2) % 3] + (i + 1))
    return x0, x1
