"""A program as numbers: what its calls need of it, without the plan that it comes from.

The steps, and one block of words (frames, homes, counters, tables of the runtime) that they point into, hold no address yet:
lists say which words take the address of the block, of the arena, of the constants, and of which kernel.  An ``Instance``
fills them in; ``images`` keeps assemblies for the next process.

A word that holds the address of a buffer is filled where the buffer lies: once for the arena and the constants, by a *patch* at
every call for inputs, outputs and a large arena (which calls share), and by the loop for a view that moves in it: from a *home*,
which holds the address of the first iteration, when the loop begins, and on by a step when it repeats.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cost import nanoseconds
from .lower.context import CallbackStep
from .lower.registry import Foreign, Operand, Step
from .lower.steering import Case, LoopBegin, LoopEnd, LoopExit, Switch, SwitchEnd
from .memory import POOLED_FROM
from .plan import Buffer
from .program import ArrayType, LoopProgram
from .runtime_ir import STEP_WORDS, StepKind
from .tape import Patch, SteerStep, TapeStep, step_words, table

__all__ = ["Assembly", "assemble", "step_names"]

RELEASE_GIL_NS = 20_000.0  # shorter programs keep the interpreter lock: handing it over costs more than it gives
ENDLESS = 2**62  # iterations of a loop that ends by itself
RARELY = 15  # mask: loops of short iterations look at the clock every 16th time
SHORT_NS = 2000.0


@dataclass(frozen=True, eq=False)
class Assembly:
    """A program without addresses.

    takes, makes, outputs, overwritten: as in ``LoopProgram``.
    arena_bytes: working memory of a call; ``shared_arena``: calls share it, and it is the last of the arrays that they pass.
    consts: the bytes of the constant buffer.
    words: the block; ``relative``, ``in_arena``, ``in_consts``: the numbers of those words to which the address of the block,
        of the arena, of the constants is added.
    patches: rows of (word, number of the array, byte offset).
    steps: as the tape has them, with kernels by their number, from 1; ``addressed``: places in it (row by row) to which the
        address of the block is added.
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


def assemble(program: LoopProgram) -> Assembly:
    """The program as numbers; its kernels are numbered in the order of ``program.kernels``."""
    words = _Words(program)
    lines = _Lines(program, words)
    rows, addressed = lines.steps()
    return Assembly(
        program.takes, program.makes, program.outputs, program.overwritten, program.buffers.arena_bytes, program.consts,
        np.array(words.values or [0], np.int64), *(np.array(k, np.int64) for k in (words.relative, words.arena, words.consts)),
        table(words.patches, len(Patch._fields)),
        step_words(rows, program.workers), np.array(addressed, np.int64), _long(program), tuple(lines.callbacks), not words.foreign
        and not lines.callbacks,
    )  # fmt: skip


def step_names(program: LoopProgram) -> list[str]:
    """The name of every step of the assembly."""
    names = []
    for s in program.steps:
        if isinstance(s, Case):
            names += [f"end of case {s.case - 1}"] if s.case else []
        elif not isinstance(s, SwitchEnd):
            names.append(s.name)
    return names


def _long(program: LoopProgram) -> bool:
    """Whether the program runs long enough to let other Python threads run meanwhile."""
    if any(isinstance(s, LoopEnd) and s.trip is None for s in program.steps):
        return True
    work = (nanoseconds(s.flops, s.nbytes) * n for s, n in zip(program.steps, program.times()) if isinstance(s, Step))
    return sum(work) > RELEASE_GIL_NS


class _Words:
    """The words of an instance, by number."""

    def __init__(self, program: LoopProgram) -> None:
        self.buffers: tuple[Buffer, ...] = program.buffers.buffers
        self.shared_arena = program.buffers.arena_bytes >= POOLED_FROM
        self.n_inputs, self.n_arrays = len(program.takes), len(program.takes) + len(program.makes)
        self.values: list[int] = []
        self.relative: list[int] = []  # words that hold the place of a word
        self.arena: list[int] = []
        self.consts: list[int] = []
        self.patches: list[Patch] = []
        self.homes: dict[tuple[int, int], int] = {}
        self.enter: dict[int, list[tuple[int, int]]] = {}  # by loop: the rows of its tables, see runtime_ir.StepKind
        self.add: dict[int, list[tuple[int, int]]] = {}
        self.swap: dict[int, list[tuple[int, int, int]]] = {}
        self.foreign = False  # some word holds an address of this process

    def reserve(self, n: int) -> int:
        """The first of ``n`` new words."""
        self.values += [0] * n
        return len(self.values) - n

    def arguments(self, args: Sequence[Any]) -> int:
        """The first of new words that hold frame arguments."""
        first = self.reserve(len(args))
        for word, a in enumerate(args, first):
            if isinstance(a, int):
                self.values[word] = a
                self.foreign |= isinstance(a, Foreign)
            else:
                self.place(word, a.buffer, a.offset * a.dtype.itemsize if isinstance(a, Operand) else a.byte_offset)
        return first

    def place(self, word: int, buffer: int, offset: int) -> None:
        """Makes ``word`` hold the address of a byte of a buffer."""
        b = self.buffers[buffer]
        if b.view is not None and b.view.loop is None:
            self.place(word, b.view.base, b.view.byte_offset + offset)
        elif b.view is not None:
            v, loop = b.view, b.view.loop
            home = self._home(v.base, v.byte_offset + offset)
            self.enter.setdefault(loop, []).append((word, home))
            if v.other is not None:
                self.swap.setdefault(loop, []).append((word, home, self._home(v.other, v.byte_offset + offset)))
            elif v.step:
                self.add.setdefault(loop, []).append((word, v.step))
        elif b.kind == "arena" and self.shared_arena:
            self.patches.append(Patch(word, self.n_arrays, b.offset + offset))
        elif b.kind == "arena":
            self.values[word] = b.offset + offset
            self.arena.append(word)
        elif b.kind == "const":
            self.values[word] = offset
            self.consts.append(word)
        else:
            self.patches.append(Patch(word, b.index if b.kind == "input" else self.n_inputs + b.index, offset))

    def _home(self, buffer: int, offset: int) -> int:
        key = buffer, offset
        if key not in self.homes:
            self.homes[key] = self.reserve(1)
            self.place(self.homes[key], buffer, offset)
        return self.homes[key]

    def table(self, rows: Sequence[Sequence[int]], addresses: int) -> int:
        """Rows one after another; the first ``addresses`` entries of each are numbers of words.  The first word."""
        first = len(self.values)
        for row in rows:
            self.relative += range(len(self.values), len(self.values) + addresses)
            self.values += [8 * n for n in row[:addresses]]
            self.values += row[addresses:]
        return first


class _Lines:
    """A program as steps of a tape.  ``lines``: for each of those what it comes from, and its first word."""

    def __init__(self, program: LoopProgram, words: _Words) -> None:
        self.words = words
        self.numbers: dict[Hashable, int] = {h.key: n for n, h in enumerate(program.kernels, 1)}
        self.lines: list[tuple[Any, int]] = []
        self.callbacks: list[tuple[CallbackStep, int, int]] = []
        self.begin: dict[int, int] = {}  # loop -> position of its LoopBegin
        self.end: dict[int, int] = {}  # loop or switch -> the position behind it
        self.cases: dict[int, list[int]] = {}
        for s in program.steps:
            self._append(s)
        # the words that a loop moves are known only now
        self.counters = {n: words.reserve(1) for n in self.begin}
        self.enter = {n: words.table(words.enter.get(n, ()), 2) for n in self.begin}
        self.repeat: dict[int, int] = {}
        for n in self.begin:
            self.repeat[n] = words.table(words.add.get(n, ()), 1)
            words.table(words.swap.get(n, ()), 3)
        self.targets = {n: words.table([(k,) for k in cases], 0) for n, cases in self.cases.items()}

    def _append(self, s: Any) -> None:
        if isinstance(s, Step):
            self.lines.append((s, self.words.arguments(s.args)))
        elif isinstance(s, CallbackStep):
            operands = (*s.ins, *s.outs)
            self.callbacks.append((s, self.words.arguments(operands), len(operands)))
            self.lines.append((s, len(self.callbacks) - 1))
        elif isinstance(s, LoopBegin):
            self.begin[s.number] = len(self.lines)
            self.lines.append((s, 0))
        elif isinstance(s, LoopExit):
            self.lines.append((s, self.words.arguments((s.flag,))))
        elif isinstance(s, LoopEnd):
            self.lines.append((s, 0))
            self.end[s.number] = len(self.lines)
        elif isinstance(s, Switch):
            self.lines.append((s, self.words.arguments((s.index,))))
        elif isinstance(s, Case):
            if s.case:
                self.lines.append((s, 0))
            self.cases.setdefault(s.number, []).append(len(self.lines))
        else:
            self.end[s.number] = len(self.lines)

    def steps(self) -> tuple[list[TapeStep | SteerStep], list[int]]:
        """The tape's steps, and the places in them of what lies in the block."""
        work = [nanoseconds(s.flops, s.nbytes) if isinstance(s, Step) else 0.0 for s, _ in self.lines]
        rows: list[TapeStep | SteerStep] = []
        addressed: list[int] = []
        for k, (s, word) in enumerate(self.lines):
            row, places = self._step(k, s, 8 * word, work)
            rows.append(row)
            addressed += [k * STEP_WORDS + p for p in places]
        return rows, addressed

    def _step(self, k: int, s: Any, here: int, work: list[float]) -> tuple[TapeStep | SteerStep, tuple[int, ...]]:
        """A step, and which words of its row are places in the block."""
        if isinstance(s, Step):
            return TapeStep(self.numbers[s.kernel.key], here, s.total, s.chunk, s.chunk >= s.total), (2,)
        if isinstance(s, CallbackStep):
            return SteerStep(StepKind.CALLBACK, (here // 8,)), ()
        n = s.number
        if isinstance(s, LoopBegin):
            rows = len(self.words.enter.get(n, ()))
            return SteerStep(StepKind.ENTER, (8 * self.enter[n], rows, 8 * self.counters[n])), (1, 3)
        if isinstance(s, LoopExit):
            return SteerStep(StepKind.EXIT, (here, self.end[n]), (1,)), (1,)
        if isinstance(s, LoopEnd):
            first = self.begin[n] + 1
            adds, swaps = len(self.words.add.get(n, ())), len(self.words.swap.get(n, ()))
            mask = RARELY if sum(work[first:k]) < SHORT_NS else 0
            limit = ENDLESS if s.trip is None else s.trip
            words = (8 * self.repeat[n], adds, swaps, 8 * self.counters[n], limit, first, mask)
            return SteerStep(StepKind.REPEAT, words, (5,)), (1, 4)
        if isinstance(s, Switch):
            return SteerStep(StepKind.SWITCH, (here, len(self.cases[n]), 8 * self.targets[n])), (1, 3)
        return SteerStep(StepKind.JUMP, (self.end[n],), (0,)), ()
