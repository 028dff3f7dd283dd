"""How many vectors of a loop's body are computed together, and in which order."""

from __future__ import annotations

from collections.abc import Callable

from ..loop_ir import Assign, For, Kernel, Stmt
from ..loop_walk import declared, loops
from ..target import Target
from .interleave import interleaved, pipelined
from .steps import Body

__all__ = ["arranged", "carries_vectors", "side_by_side"]

# What a core waits for is results, more than units and registers: four copies take 5 to 30 percent less time than two (measured on
# Zen 3; with 512 bits on Zen 5 up to 12 percent), for a third more time to compile.
_LONGEST_BODY = 160  # operations
# Where a vector takes as long as its parts, four of a body with branches, or of a long one, want too many registers ...
_LONG_BODY = 40
# ... unless it is one chain, such as exp inside of log1p, of which two copies leave a core too few operations that are ready: four
# take a fifth less time, for longer code (measured on Zen 4).
_SERIAL_BODY = 80
# A body with so many operations ready at a time keeps such a core busy alone: of two, such as of tanh(x)*exp(-x*x)+sin(x), the
# constants no longer fit the registers, which takes a tenth more time (measured on Zen 4).
_WIDE_BODY = 3
# With few registers, rounds overlap of what is nearly one chain, and what is broad is listed in another order: 0.75 to 1.05 of the
# time.  What lies between, such as erf and x**y, takes up to 1.15 of it either way (measured with AVX2 on Zen 5).
_CHAIN, _BROAD = 2.15, 2.5
_MASKS = 8


def side_by_side(body: Body, target: Target, rows: bool) -> int:
    """How many vectors of a long body without a reduction are computed together.  ``rows``: see ``arranged``."""
    if target.unit_bits == target.vector_bits:
        if body.size > _LONG_BODY and _overlaps(target) and not rows:
            return 2 if _is_wide(body) else 4
        return 4 if body.size <= _LONGEST_BODY or _keeps_order(target) else 2
    if body.size <= _LONG_BODY:
        return 2 if body.branches else 4
    if _is_wide(body):
        return 1
    serial = body.size <= 2 * body.depth()
    return 4 if serial and body.size <= _SERIAL_BODY else 2


def arranged(loop: For, body: Body, target: Target, vectors: int, names: Callable[[str], str], rows: bool) -> Stmt:
    """The loop of several vectors a round, each of whose values takes so many registers, with its operations in another order.

    rows: it is inside another loop and may have few rounds, which do not overlap: one more would take long (LSTMs have rows of 128).
    """
    if vectors == 1 or body.size <= _LONG_BODY:
        return loop
    if _overlaps(target) and not rows:
        return pipelined(loop, vectors, names, _MASKS if target.vector_bits == 512 else None)
    if target.vector_registers >= 32:
        return interleaved(loop, vectors, names)
    if not _keeps_order(target):
        return loop
    broad = body.size / body.depth()
    if broad < _CHAIN and not rows:
        return pipelined(loop, vectors, names)
    return interleaved(loop, vectors, names) if broad > _BROAD else loop


def carries_vectors(kernel: Kernel, target: Target) -> bool:
    """Whether rounds of a loop pass on values that take several registers each, as ``pipelined`` ones do."""
    for loop in loops(kernel.body):
        wide = [
            s for s in loop.body if isinstance(s, Assign) and s.value.ty.lanes * s.value.ty.bits > target.vector_bits
        ]
        if wide and not {s.name for s in wide} <= set(declared(loop.body)):
            return True
    return False


def _is_wide(body: Body) -> bool:
    return body.size >= _WIDE_BODY * body.depth()


def _overlaps(target: Target) -> bool:
    """Measured on Zen 5, of 512 bits: with two vectors of a wide body and four of others, 0.65 to 1 of the time."""
    return target.vector_registers >= 32 and target.unit_bits == target.vector_bits > 128


def _keeps_order(target: Target) -> bool:
    """Whether LLVM emits what is listed in that order where registers are few (``native``)."""
    return target.vector_registers <= 16 and target.vector_bits > 128
