"""Programs -> assemblies: their numbers, laid out by ``wiring``, which says what stands where."""

from __future__ import annotations

from typing import Any

import numpy as np

from .assembly import Assembly
from .cost import nanoseconds_of
from .memory import POOLED_FROM
from .program import LoopProgram
from .runtime_ir import STEP_WORDS, StepKind
from .tape import call_words
from .wiring import Wiring

__all__ = ["assemble", "assembled", "wired"]

RELEASE_GIL_NS = 20_000.0  # shorter programs keep the interpreter lock: handing it over costs more than it gives
RARELY = 15  # mask: loops of short iterations look at the clock every 16th time
SHORT_NS = 2000.0


def wired(program: LoopProgram) -> Wiring:
    """The layout of the program's instances."""
    return Wiring(program.steps, program.buffers.buffers, len(program.takes), {}, program.workers)


def assemble(program: LoopProgram) -> Assembly:
    """The program as numbers."""
    buffers, wiring = program.buffers.buffers, wired(program)
    ends = program.takes, program.makes, program.outputs, program.overwritten
    offsets = np.array([b.offset for b in buffers], np.int64)
    return assembled(
        wiring, wiring.cells.filled(), ends, offsets, program.buffers.arena_bytes, program.consts, program.workers
    )


def assembled(
    wiring: Wiring, cells: np.ndarray, ends: Any, offsets: np.ndarray, arena_bytes: int, consts: bytes, workers: int
) -> Assembly:
    """A wiring with its numbers.

    Args:
        cells: the wiring's.
        ends: takes, makes, outputs, overwritten.
        offsets: of each buffer in the arena.
        workers: the most that a step may use.
    """
    takes, makes, outputs, overwritten = ends
    words = cells[wiring.words]
    words[wiring.in_consts.words] = cells[wiring.in_consts.offsets]
    in_arrays, in_arena = wiring.in_arrays, wiring.in_arena
    patches = [(in_arrays.words, in_arrays.of, cells[in_arrays.offsets])]
    places = offsets[in_arena.of] + cells[in_arena.offsets]
    if arena_bytes < POOLED_FROM:
        words[in_arena.words], own = places, in_arena.words
    else:
        patches.append((in_arena.words, np.full(len(places), len(takes) + len(makes)), places))
        own = in_arena.words[:0]
    work = nanoseconds_of(cells[wiring.flops], cells[wiring.nbytes])
    return Assembly(
        takes, makes, outputs, overwritten, arena_bytes, consts, words, wiring.relative, own, wiring.in_consts.words, wiring.in_code,
        np.concatenate([np.stack(columns, axis=1) for columns in patches]), _steps(wiring, cells, work, workers), wiring.addressed,
        wiring.endless or bool(work @ cells[wiring.times] > RELEASE_GIL_NS), wiring.callbacks, wiring.portable,
    )  # fmt: skip


def _steps(wiring: Wiring, cells: np.ndarray, work: np.ndarray, workers: int) -> np.ndarray:
    """The rows of the tape.  ``work``: about how many nanoseconds each takes."""
    rows = cells[wiring.rows].reshape(-1, STEP_WORDS)
    for loop in wiring.loops:
        rows[loop.end, STEP_WORDS - 1] = RARELY if work[loop.begin : loop.end].sum() < SHORT_NS else 0
    for which, kind in ((wiring.calls, StepKind.CALL), (wiring.blocks, StepKind.BLOCKS)):
        _, kernels, frames, totals, chunks, *_ = rows[which].T
        rows[which] = call_words(kernels, frames, totals, chunks, chunks >= totals, 0, workers)
        rows[which, 0] = kind
    return rows
