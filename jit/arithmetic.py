"""What formulas know of a machine."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Arithmetic"]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What a machine does in one instruction, and formulas may choose by.

    fused: ``fma``, rounded once.
    scale: the operation of that name.
    tables: ``lookup``.
    compress: the operation of that name, on vectors of elements of 32 and 64 bits that fill a register; in a few instructions.
    """

    fused: bool = False
    scale: bool = False
    tables: bool = False
    compress: bool = False
