"""The tape: a whole compiled graph as one native call.

A ``Program`` is a list of steps in native memory.  A step calls a kernel, ``kernel(frame, lo, hi, worker)``,
over a range that the pool may cut into pieces; steps of other kinds steer: loops, branches, callbacks.  Calling the program from Python writes the addresses of the
arrays it is given into the frames (the *patches*) and runs the steps one after another::

    program = Program([TapeStep(axpy, frame.ctypes.data, total=n, chunk=4096)], [Patch(slot, 0), ...], n_pointers=2)
    program.run(x, y)

``run`` is a built-in function made of native code: CPython calls it like one written in C, and it reads the
arrays' addresses itself.  So a call costs about as much as ``len(x)``, and a serial step a few nanoseconds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from fx.errors import BackendError, GraphError

from .calls.builtins import bind, define
from .runtime_ir import MOST_SHARES, SHARES, STEP_WORDS, Field, StepKind, Word
from .threads import num_threads, runtime

__all__ = ["Patch", "Program", "ProgramBusyError", "SteerStep", "TapeStep", "call_words"]


class ProgramBusyError(BackendError):
    """A program was called while another thread runs it; nothing was done."""


class TapeStep(NamedTuple):
    """Runs the kernel at address ``kernel`` over ``range(total)``.

    Attributes:
        kernel: address of ``void kernel(i64 *frame, i64 lo, i64 hi, i64 worker)``.
        frame: address of its frame.
        total: length of the range; a step of length 0 does nothing.
        chunk: length of the pieces (the last may be shorter); ``SHARES`` for one equal piece a thread, of at most
            ``MOST_SHARES``, whose work must give the same bits however it is cut.
        serial: run on the calling thread, because the work is too small to be worth a hand-over.
        nanoseconds: about how long the whole range takes one thread, or 0 if unknown.  A short step makes use
            of workers that are awake and lets sleeping ones sleep.
    """

    kernel: int
    frame: int
    total: int
    chunk: int
    serial: bool = False
    nanoseconds: int = 0


class SteerStep(NamedTuple):
    """A step of another kind than CALL: up to seven words, as ``StepKind`` says.  ``targets``: which of them are step
    numbers (they are checked); those of a SWITCH's table are the caller's affair."""

    kind: StepKind
    words: tuple[int, ...]
    targets: tuple[int, ...] = ()


class Patch(NamedTuple):
    """Before the steps run, the word at address ``slot`` becomes ``pointers[pointer] + offset``."""

    slot: int
    pointer: int
    offset: int = 0


class Program:
    """Steps in native memory, and ``run``, which runs them.

    ``run(*arrays)`` takes ``n_pointers`` NumPy arrays (or ints: addresses) and returns None.  It looks at
    nothing but the arrays' addresses: dtype, shape and strides are the caller's affair.  A program runs in
    one thread at a time, since its frames are its state; another thread gets ``ProgramBusyError``.

    Args:
        steps: run in this order.
        patches: written before the first step.
        n_pointers: how many arrays ``run`` takes.
        workers: scratch memory exists for so many workers, so no step uses more (default: ``num_threads()``).
        release_gil: let other Python threads run meanwhile.  Costs about 0.1 microseconds, so a program that takes
            less than some microseconds is better off without.
        keep: objects that must live as long as the program can run (frames, arena).

    Raises:
        GraphError: a step or patch is malformed.
    """

    __slots__ = ("__weakref__", "n_steps", "record", "run")

    run: Callable[..., None]
    record: np.ndarray  # what ``run`` is bound to

    def __init__(
        self,
        steps: Sequence[TapeStep | SteerStep],
        patches: Sequence[Patch],
        n_pointers: int,
        *,
        workers: int | None = None,
        release_gil: bool = True,
        keep: Sequence[Any] = (),
    ) -> None:
        workers = num_threads() if workers is None else workers
        self._bind(_step_words(steps, workers), _patch_words(patches, n_pointers), n_pointers, release_gil, keep)

    @classmethod
    def of(
        cls, steps: np.ndarray, patches: np.ndarray, n_pointers: int, *, release_gil: bool = True, keep: Sequence[Any] = ()
    ) -> Program:  # fmt: skip
        """A program of what the runtime reads, int64: rows of ``STEP_WORDS`` (see ``call_words`` and ``StepKind``), and for
        each patch (slot, pointer, offset)."""
        program = cls.__new__(cls)
        program._bind(steps, patches, n_pointers, release_gil, keep)
        return program

    def _bind(
        self, steps: np.ndarray, patches: np.ndarray, n_pointers: int, release_gil: bool, keep: Sequence[Any]
    ) -> None:
        self.n_steps = len(steps)
        self.record = _record(steps, patches, n_pointers, release_gil)
        self.run = _native_function(self.record, tuple(keep))

    def profile(self, *arrays: Any) -> np.ndarray:
        """Runs the program as ``run`` does; returns the nanoseconds of each step, as uint64."""
        times = self.record[len(self.record) - self.n_steps :]
        times[:] = 0
        self.record[Field.TIMES] = times.ctypes.data
        try:
            self.run(*arrays)
        finally:
            self.record[Field.TIMES] = 0
        return times.astype(np.uint64)


def _table(rows: Sequence[tuple[int, ...]], width: int) -> np.ndarray:
    """int64 (rows, width); faster than ``np.array`` of tuples, and every new shape builds a program."""
    return np.fromiter(chain.from_iterable(rows), np.int64, len(rows) * width).reshape(len(rows), width)


def _step_words(steps: Sequence[TapeStep | SteerStep], workers: int) -> np.ndarray:
    """int64 (n, STEP_WORDS): the steps as the runtime reads them."""
    if workers < 1:
        raise GraphError(f"a program needs at least one worker, not {workers}")
    words = np.zeros((len(steps), STEP_WORDS), np.int64)
    calls = [k for k, s in enumerate(steps) if type(s) is TapeStep]
    if len(calls) == len(steps):
        words[:] = _call_rows(steps, calls, workers)  # type: ignore[arg-type]
        return words
    words[calls] = _call_rows([steps[k] for k in calls], calls, workers)  # type: ignore[misc]
    for k, s in enumerate(steps):
        if isinstance(s, SteerStep):
            if not all(0 <= s.words[t] <= len(steps) for t in s.targets):
                raise GraphError(f"step {k} is {s}; it jumps out of the program of {len(steps)} steps")
            words[k, 0] = s.kind
            words[k, 1 : 1 + len(s.words)] = s.words
    return words


def _call_rows(steps: Sequence[TapeStep], numbers: Sequence[int], workers: int) -> np.ndarray:
    kernel, frame, total, chunk, serial, nanoseconds = _table(steps, len(TapeStep._fields)).T
    for k in np.flatnonzero((total < 0) | ((chunk < 1) & (chunk != SHARES)) | ((kernel == 0) & (total > 0))):
        raise GraphError(
            f"step {numbers[int(k)]} is {steps[int(k)]}; it needs total >= 0, chunk >= 1 (or SHARES) and the address of a kernel"
        )
    return call_words(kernel, frame, total, chunk, serial != 0, nanoseconds, workers)


def call_words(
    kernel: np.ndarray, frame: np.ndarray, total: np.ndarray, chunk: np.ndarray, serial: np.ndarray,
    nanoseconds: np.ndarray | int, workers: int,
) -> np.ndarray:  # fmt: skip
    """The rows of steps that call kernels; the columns are those of ``TapeStep``."""
    pieces = np.where(chunk == SHARES, np.minimum(total, MOST_SHARES), -(-total // np.maximum(chunk, 1)))
    rows = np.empty((len(kernel), STEP_WORDS), np.int64)
    rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3] = int(StepKind.CALL), kernel, frame, total
    rows[:, 4], rows[:, 5], rows[:, 7] = np.minimum(chunk, total), pieces, nanoseconds
    rows[:, 6] = np.where(serial, 1, np.minimum(pieces, workers))
    return rows


def _patch_words(patches: Sequence[Patch], n_pointers: int) -> np.ndarray:
    """int64 (n, 3): slot address, pointer number, byte offset."""
    triples = _table(patches, len(Patch._fields))
    for k in np.flatnonzero((triples[:, 1] < 0) | (triples[:, 1] >= n_pointers) | (triples[:, 0] == 0)):
        raise GraphError(
            f"patch {k} is {patches[int(k)]}; pointers run from 0 to {n_pointers - 1}, and a slot is an address"
        )
    return triples


def _record(steps: np.ndarray, patches: np.ndarray, n_pointers: int, release_gil: bool) -> np.ndarray:
    """The program record in one block: header, steps (on cache lines), patches, pointers, times of the steps."""
    at_steps = -(-len(Field) // STEP_WORDS) * STEP_WORDS
    at_patches = at_steps + steps.size
    at_pointers = at_patches + patches.size
    size = at_pointers + n_pointers + len(steps)
    block = np.zeros(size + STEP_WORDS - 1, np.int64)
    skip = -block.ctypes.data % (8 * STEP_WORDS) // 8
    record = block[skip : skip + size]
    base = record.ctypes.data
    record[at_steps:at_patches] = steps.ravel()
    record[at_patches:at_pointers] = patches.ravel()
    record[Field.STEPS], record[Field.N_STEPS] = base + 8 * at_steps, len(steps)
    record[Field.PATCHES], record[Field.N_PATCHES] = base + 8 * at_patches, len(patches)
    record[Field.POINTERS], record[Field.N_POINTERS] = base + 8 * at_pointers, n_pointers
    shared = (steps[:, 0] == int(StepKind.CALL)) | (steps[:, 0] == int(StepKind.BLOCKS))
    record[Field.WORKERS] = steps[shared, 6].max(initial=1)
    record[Field.RELEASE_GIL] = release_gil
    return record


def _native_function(record: np.ndarray, keep: tuple[Any, ...]) -> Callable[..., None]:
    """A built-in function around the runtime's ``fx_run``; it keeps ``record`` and ``keep`` alive."""
    return bind(_method(), record, keep)


@functools.cache
def _method() -> int:
    """The method definition that all programs share."""
    runtime().words[Word.BUSY_ERROR] = id(ProgramBusyError)
    return define(
        "run", runtime().run_address, "run($self, /, *arrays)\n--\n\nRuns the program on arrays, or on addresses."
    )
