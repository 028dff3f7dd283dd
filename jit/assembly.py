"""A program as numbers: what its calls need of it, without the plan that it comes from.

The steps, and the one block of words that they point into, hold no address yet: lists say which words take the address of the
block, of the arena, of the constants, and of which kernel.  An ``Instance`` fills them in; ``images`` keeps assemblies for the
next process, and ``assembling`` makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fx.ir import Graph

from .memory import POOLED_FROM

if TYPE_CHECKING:
    from .lower.context import CallbackStep

__all__ = ["ArrayType", "Assembly", "made"]

ArrayType = tuple[tuple[int, ...], np.dtype]


@dataclass(frozen=True, eq=False)
class Assembly:
    """A program without addresses.

    takes, makes, outputs, overwritten: as in ``LoopProgram``.
    arena_bytes: working memory of a call; ``shared_arena``: calls share it, and it is the last of the arrays that they pass.
    consts: the bytes of the constant buffer.
    words: the block; ``relative``, ``in_arena``, ``in_consts``: the numbers of those words to which the address of the block,
        of the arena, of the constants is added; ``in_code``: of those that hold the number of a kernel, for its address.
    patches: rows of (word, number of the array, byte offset).
    steps: as the tape has them, with kernels by their number, from 1, in the order of ``LoopProgram.kernels``; ``addressed``:
        places in it (row by row) to which the address of the block is added.
    release_gil: other Python threads may run meanwhile.
    callbacks: (step, its first word, how many); a CALLBACK step names one by its number.
    portable: whether it says the same in another process.
    """

    takes: tuple[ArrayType, ...]
    makes: tuple[ArrayType, ...]
    outputs: tuple[tuple[str, object], ...]
    overwritten: tuple[int, ...]
    arena_bytes: int
    consts: bytes
    words: np.ndarray
    relative: np.ndarray
    in_arena: np.ndarray
    in_consts: np.ndarray
    in_code: np.ndarray
    patches: np.ndarray
    steps: np.ndarray
    addressed: np.ndarray
    release_gil: bool
    callbacks: tuple[tuple[CallbackStep, int, int], ...] = ()
    portable: bool = True

    @property
    def shared_arena(self) -> bool:
        return self.arena_bytes >= POOLED_FROM

    @property
    def n_arrays(self) -> int:
        """How many arrays a call passes: the inputs, those for the results, and a shared arena."""
        return len(self.takes) + len(self.makes) + self.shared_arena


def made(graph: Graph, outputs: tuple[tuple[str, object], ...]) -> tuple[ArrayType, ...]:
    """``LoopProgram.makes`` of a graph with these ``LoopProgram.outputs``."""
    return tuple([(a.aval.shape, a.aval.dtype) for a, (kind, _) in zip(graph.outputs, outputs) if kind == "buffer"])
