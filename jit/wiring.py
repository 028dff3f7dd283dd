"""The words of an instance and the rows of its tape, laid out before all their numbers are known.

A program's steps say which kernel runs over which range, with which arguments.  As native memory that is one block of *words*
(frames, homes, counters, tables of the runtime) and one row of the tape for each step.  ``Wiring`` lays both out once.  Their
integers stand in one vector, the *cells*; where the program's graph has sizes that vary, some are formulas, and ``Cells.filled``
puts their values in, so that a new batch size costs a copy of the vector and not another layout.

A word that holds the address of a buffer is a *place*.  It is filled where the buffer lies: once for the arena and the
constants, by a *patch* at every call for inputs, outputs and a large arena (which calls share), and by the loop for a view that
moves in it: from a *home*, which holds the address of the first iteration, when the loop begins, and on by a step when it
repeats.

Steps in blocks of rows stand on the tape once for each thread that may run them, with words of their own.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from fx.sizes import is_sized

from .lower.context import AnyStep, CallbackStep, LogicalBuffer
from .lower.registry import Called, Foreign, Operand, Step
from .lower.steering import (
    BlocksBegin,
    BlocksEnd,
    Case,
    LastBlock,
    LoopBegin,
    LoopEnd,
    LoopExit,
    Switch,
    repetitions,
)
from .plan import Buffer
from .runtime_ir import STEP_WORDS, Blocks, StepKind

__all__ = ["Cells", "Loop", "Places", "Wiring"]

ENDLESS = 2**62  # iterations of a loop that ends by itself
_Which = tuple[int, int]  # a loop or a branch by its number, and in blocks of rows the thread whose copy it is


class Cells:
    """A vector of integers, some of which are formulas.

    Args:
        numbers: the formulas so far, with their positions in the table that ``filled`` takes; new ones are added.
    """

    def __init__(self, values: Sequence[Any], numbers: dict[Any, int]) -> None:
        sized = [k for k, x in enumerate(values) if type(x) is not int and is_sized(x)]
        self._which = np.array([numbers.setdefault(values[k], len(numbers)) for k in sized], np.int64)
        self._at = np.array(sized, np.int64)
        plain = list(values)
        for k in sized:
            plain[k] = 0
        self._plain = np.array(plain, np.int64)

    def filled(self, table: np.ndarray | None = None) -> np.ndarray:
        """The integers, for these values of the formulas."""
        cells = self._plain.copy()
        if table is not None:
            cells[self._at] = table[self._which]
        return cells


@dataclass(frozen=True)
class Places:
    """Words that hold addresses: ``words[k]`` that of byte ``cells[offsets][k]`` of what ``of[k]`` names: a pointer that a call
    is given, or a buffer."""

    words: np.ndarray
    of: np.ndarray
    offsets: slice


@dataclass(frozen=True)
class Loop:
    """The first row inside a loop, and that of its REPEAT."""

    begin: int
    end: int


class Wiring:
    """The layout of a program's instances.

    Args:
        steps: with numbers or formulas.
        buffers: where operands lie, as far as that is the same whatever the sizes are.
        n_inputs: the inputs are the first arrays of a call, those for results the next ones.
        numbers: as ``Cells`` takes it.
        workers: the most that a step may use.

    Attributes:
        cells: everything; the slices ``words``, ``rows``, ``flops``, ``nbytes`` and ``times`` say what stands where.
        relative, addressed: words, and cells of ``rows``, to which the address of the block is added.
        in_code: words that hold the number of a kernel, for its address.
        calls: the rows that call kernels; blocks: those that run blocks of rows.
        in_arena, in_consts, in_arrays: the places, by what they lie in.
        callbacks: (step, its first word, how many) of the steps that call Python.
        endless: whether a loop runs until it leaves itself.
        portable: whether it says the same in another process.
    """

    def __init__(
        self,
        steps: Sequence[AnyStep],
        buffers: Sequence[LogicalBuffer | Buffer],
        n_inputs: int,
        numbers: dict[Any, int],
        workers: int,
    ) -> None:
        words = _Words(buffers, n_inputs)
        tape = _Tape(steps, words, workers)
        cells: list[Any] = []

        def section(values: Sequence[Any]) -> slice:
            cells.extend(values)
            return slice(len(cells) - len(values), len(cells))

        def places(found: Sequence[tuple[int, int, Any]]) -> Places:
            offsets = section([offset for *_, offset in found])
            return Places(_integers([word for word, *_ in found]), _integers([of for _, of, _ in found]), offsets)

        self.words = section(words.values or [0])
        self.rows = section([x for row in tape.rows for x in row])
        self.flops, self.nbytes, self.times = section(tape.flops), section(tape.nbytes), section(tape.times)
        self.in_arena, self.in_consts, self.in_arrays = map(places, (words.in_arena, words.in_consts, words.in_arrays))
        self.cells = Cells(cells, numbers)
        self.relative, self.addressed = _integers(words.relative), _integers(tape.addressed)
        self.in_code = _integers(words.in_code)
        self.calls, self.blocks = _integers(tape.calls), _integers(tape.blocks)
        self._rows_of = tape.rows_of
        self.callbacks, self.loops, self.endless = tuple(tape.callbacks), tape.loops, tape.endless
        self.portable = not words.foreign and not tape.callbacks

    @property
    def names(self) -> list[str]:
        """What each row of the tape is called."""
        return [f"end of case {s.case - 1}" if isinstance(s, Case) else s.name for s in self._rows_of]


def _integers(values: Sequence[int]) -> np.ndarray:
    return np.array(values, np.int64)


class _Words:
    """The words, by number."""

    def __init__(self, buffers: Sequence[LogicalBuffer | Buffer], n_inputs: int) -> None:
        self.buffers = buffers
        self.n_inputs = n_inputs
        self.values: list[Any] = []
        self.relative: list[int] = []  # words that hold the place of a word
        self.in_arena: list[tuple[int, int, Any]] = []  # (word, buffer, byte)
        self.in_consts: list[tuple[int, int, Any]] = []
        self.in_arrays: list[tuple[int, int, Any]] = []  # (word, pointer, byte)
        self.in_code: list[int] = []
        self.kernels: dict[Hashable, int] = {}  # their numbers, from 1, by key
        self.copy = 0  # of steps in blocks, which thread's
        self.inside: set[int] = set()  # the loops that each thread runs by itself, and the blocks
        self.homes: dict[tuple[int, Any, int], int] = {}
        self.enter: dict[_Which, list[tuple[int, int]]] = {}  # by loop: the rows of its tables, see runtime_ir.StepKind
        self.add: dict[_Which, list[tuple[int, Any]]] = {}
        self.swap: dict[_Which, list[tuple[int, int, int]]] = {}
        self.move: dict[_Which, list[tuple[int, int, Any]]] = {}
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
            elif isinstance(a, Called):
                code = self.reserve(1)
                self.values[code] = self.number(a.kernel.key)
                self.in_code.append(code)
                self.arguments(a.args)  # the next words
                self.values[word] = 8 * code
                self.relative.append(word)
            else:
                self.place(word, a.buffer, a.offset * a.dtype.itemsize if isinstance(a, Operand) else a.byte_offset)
        return first

    def number(self, kernel: Hashable) -> int:
        """That of a kernel by its key, given in the order in which kernels are first named."""
        return self.kernels.setdefault(kernel, len(self.kernels) + 1)

    def place(self, word: int, buffer: int, offset: Any) -> None:
        """Makes ``word`` hold the address of a byte of a buffer."""
        b = self.buffers[buffer]
        if b.view is not None and b.view.loop is None:
            self.place(word, b.view.base, b.view.byte_offset + offset)
        elif b.view is not None:
            v, loop = b.view, (cast(int, b.view.loop), self.copy if b.view.loop in self.inside else 0)
            home = self._home(v.base, v.byte_offset + offset)
            if v.by_blocks:
                self.move.setdefault(loop, []).append((word, home, v.step))
                return
            self.enter.setdefault(loop, []).append((word, home))
            if v.other is not None:
                self.swap.setdefault(loop, []).append((word, home, self._home(v.other, v.byte_offset + offset)))
            elif v.step:
                self.add.setdefault(loop, []).append((word, v.step))
        elif b.kind == "arena":
            self.in_arena.append((word, buffer, offset + self.copy * b.apart))
        elif b.kind == "const":
            self.in_consts.append((word, buffer, offset))
        else:
            self.in_arrays.append((word, b.index if b.kind == "input" else self.n_inputs + b.index, offset))

    def _home(self, buffer: int, offset: Any) -> int:
        key = buffer, offset, self.copy
        if key not in self.homes:
            self.homes[key] = self.reserve(1)
            self.place(self.homes[key], buffer, offset)
        return self.homes[key]

    def table(self, rows: Sequence[Sequence[Any]], addresses: int) -> int:
        """Rows one after another; the first ``addresses`` entries of each are numbers of words.  The first word."""
        first = len(self.values)
        for row in rows:
            self.relative += range(len(self.values), len(self.values) + addresses)
            self.values += [8 * n for n in row[:addresses]]
            self.values += row[addresses:]
        return first


class _Tape:
    """The rows of the tape, as ``runtime_ir.StepKind`` says; those of a CALL: number of the kernel, frame, total, chunk."""

    def __init__(self, steps: Sequence[AnyStep], words: _Words, workers: int) -> None:
        self.words = words
        self.workers = workers
        self.rows: list[list[Any]] = []
        self.rows_of: list[AnyStep] = []  # of each row, the step
        self.blocks: list[int] = []
        self.addressed: list[int] = []
        self.calls: list[int] = []
        self.callbacks: list[tuple[CallbackStep, int, int]] = []
        self.loops: list[Loop] = []
        self.flops: list[Any] = []
        self.nbytes: list[Any] = []
        self.times: list[Any] = []
        self.endless = any(isinstance(s, LoopEnd) and s.trip is None for s in steps)
        self._begin: dict[_Which, int] = {}  # loop -> the row of its LoopBegin
        self._end: dict[_Which, int] = {}  # loop or switch -> the row behind it
        self._cases: dict[_Which, list[int]] = {}
        self._steering: list[tuple[int, Any, int, _Which]] = []  # rows whose words are known when all the others are
        lines = iter(list(zip(steps, repetitions(steps))))
        for s, times in lines:
            if isinstance(s, BlocksBegin):
                self._append_blocks(s, lines)
            else:
                self._append(s, times)
        self._steer()

    def _append_blocks(self, begin: BlocksBegin, lines: Iterator[tuple[AnyStep, Any]]) -> None:
        """The steps up to the end of blocks of rows, once for each thread."""
        parts: list[list[tuple[AnyStep, Any]]] = [[]]
        for s, times in lines:
            if isinstance(s, BlocksEnd):
                break
            if isinstance(s, LastBlock):
                parts.append([])
            else:
                parts[-1].append((s, times))
        assert isinstance(s, BlocksEnd)
        self.words.inside = {begin.number, *[s.number for part in parts for s, _ in part if isinstance(s, LoopBegin)]}
        frame, row, n_last = self.words.reserve(len(Blocks)), len(self.rows), len(parts) - 1
        self.blocks.append(row)
        self._row(StepKind.BLOCKS, (0, 8 * frame, s.count, 1), (2,), begin)
        ends: list[int] = []
        copies = self.workers if is_sized(s.count) else min(self.workers, s.count)
        for copy in range(copies):
            self.words.copy = copy
            for part in parts:
                ends.append(len(self.rows))
                if part is parts[0]:
                    self._later(begin)
                for k, (step, times) in enumerate(part):
                    self._append(step, times)
                    if begin.lengths:
                        self._cut(begin.lengths[k])
                ends.append(len(self.rows))
        self.words.copy = 0
        values = {
            Blocks.COPY: ends[2 * len(parts) - 1] - row - 1, Blocks.BEGIN: ends[0], Blocks.END: ends[1], Blocks.LAST_BEGIN: ends[2 * n_last],
            Blocks.LAST_END: ends[2 * n_last + 1], Blocks.WHOLE: s.count - n_last, Blocks.BEHIND: len(self.rows),
        }  # fmt: skip
        for word, value in values.items():
            self.words.values[frame + word] = value

    def _append(self, s: Any, times: Any) -> None:
        row = len(self.rows)
        if isinstance(s, Step):
            kernel = self.words.number(s.kernel.key)
            self.calls.append(row)
            self._row(StepKind.CALL, (kernel, 8 * self.words.arguments(s.args), s.total, s.chunk), (2,), s)
            if not self.words.copy:  # what the threads do between them counts once
                self.flops[row], self.nbytes[row], self.times[row] = s.flops, s.nbytes, times
        elif isinstance(s, CallbackStep):
            operands = (*s.ins, *s.outs)
            self._row(StepKind.CALLBACK, (len(self.callbacks),), (), s)
            self.callbacks.append((s, self.words.arguments(operands), len(operands)))
        elif isinstance(s, LoopBegin):
            self._begin[s.number, self.words.copy] = row
            self._later(s)
        elif isinstance(s, LoopExit):
            self._later(s, self.words.arguments((s.flag,)))
        elif isinstance(s, LoopEnd):
            self._later(s)
            self._end[s.number, self.words.copy] = row + 1
        elif isinstance(s, Switch):
            self._later(s, self.words.arguments((s.index,)))
        elif isinstance(s, Case):
            if s.case:
                self._later(s)
            self._cases.setdefault((s.number, self.words.copy), []).append(len(self.rows))
        else:
            self._end[s.number, self.words.copy] = row

    def _cut(self, length: Any) -> None:
        """Makes the last row one that runs so much of its range in a block."""
        row = self.rows[self.calls.pop()]
        row[0], row[4] = int(StepKind.PART), length

    def _row(self, kind: StepKind, words: Sequence[Any], addressed: Sequence[int], step: AnyStep) -> None:
        """A row; ``addressed``: which of it are places of words."""
        self.rows.append([])
        self.rows_of.append(step)
        self._set(len(self.rows) - 1, kind, words, addressed)
        self.flops.append(0)
        self.nbytes.append(0)
        self.times.append(1)

    def _set(self, row: int, kind: StepKind, words: Sequence[Any], addressed: Sequence[int] = ()) -> None:
        self.rows[row] = [int(kind), *words, *[0] * (STEP_WORDS - 1 - len(words))]
        self.addressed += [row * STEP_WORDS + k for k in addressed]

    def _later(self, s: Any, word: int = 0) -> None:
        self._steering.append((len(self.rows), s, word, (s.number, self.words.copy)))
        self._row(StepKind.JUMP, (), (), s)

    def _steer(self) -> None:
        """The words that a loop moves are known only now."""
        words = self.words
        counters = {n: words.reserve(1) for n in self._begin}
        enter = {n: words.table(words.enter.get(n, ()), 2) for n in self._begin}
        repeat: dict[_Which, int] = {}
        for n in self._begin:
            repeat[n] = words.table(words.add.get(n, ()), 1)
            words.table(words.swap.get(n, ()), 3)
        targets = {n: words.table([(k,) for k in cases], 0) for n, cases in self._cases.items()}
        for row, s, word, n in self._steering:
            if isinstance(s, BlocksBegin):
                moves = words.move.get(n, ())
                self._set(row, StepKind.MOVE, (8 * words.table(moves, 2), len(moves)), (1,))
            elif isinstance(s, LoopBegin):
                self._set(row, StepKind.ENTER, (8 * enter[n], len(words.enter.get(n, ())), 8 * counters[n]), (1, 3))
            elif isinstance(s, LoopExit):
                self._set(row, StepKind.EXIT, (8 * word, self._end[n]), (1,))
            elif isinstance(s, LoopEnd):
                first, limit = self._begin[n] + 1, ENDLESS if s.trip is None else s.trip
                adds, swaps = len(words.add.get(n, ())), len(words.swap.get(n, ()))
                self._set(row, StepKind.REPEAT, (8 * repeat[n], adds, swaps, 8 * counters[n], limit, first), (1, 4))
                self.loops.append(Loop(first, row))
            elif isinstance(s, Switch):
                self._set(row, StepKind.SWITCH, (8 * word, len(self._cases[n]), 8 * targets[n]), (1, 3))
            else:
                self._set(row, StepKind.JUMP, (self._end[n],))
