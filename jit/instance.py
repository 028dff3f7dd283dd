"""Instances: the mutable state of an executable's calls, and its steps as a native program.

An instance is one block of words (frames, homes, counters, tables of the runtime), an arena if that is small, and the ``tape.Program``
over them.  A word that holds the address of a buffer is filled where the buffer lies: once for the arena and the
constants, by a *patch* at every call for inputs, outputs and a large arena (which calls share), and by the loop for a view that moves in it: from a
*home*, which holds the address of the first iteration, when the loop begins, and on by a step when it repeats.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fx.errors import ShapeError

from .cost import nanoseconds
from .lower.context import CallbackStep
from .lower.registry import Operand, Step
from .lower.steering import Case, LoopBegin, LoopEnd, LoopExit, Switch
from .memory import POOLED_FROM, aligned
from .program import LoopProgram
from .runtime_ir import StepKind
from .tape import Patch, Program, SteerStep, TapeStep

__all__ = ["Instance"]

RELEASE_GIL_NS = 20_000.0  # shorter programs keep the interpreter lock: handing it over costs more than it gives
ENDLESS = 2**62  # iterations of a loop that ends by itself
RARELY = 15  # mask: loops of short iterations look at the clock every 16th time
SHORT_NS = 2000.0


class Instance:
    """What one call at a time needs.

    ``run(*arrays)`` takes the inputs, then the arrays for the results, and, if ``shared_arena``, the arena.
    """

    def __init__(self, program: LoopProgram, addresses: dict[Any, int], n_inputs: int, n_results: int) -> None:
        self.shared_arena = program.buffers.arena_bytes >= POOLED_FROM
        arena = None if self.shared_arena else aligned(program.buffers.arena_bytes)
        consts = np.frombuffer(program.consts or bytes(16), np.uint8).copy()
        place = None if arena is None else arena.ctypes.data
        words = _Words(program, place, consts.ctypes.data, n_inputs, n_inputs + n_results)
        assembler = _Assembler(program, words, addresses)
        memory = words.memory()
        base = memory.ctypes.data
        callables = [_callable(step, memory[first : first + count]) for step, first, count in assembler.callbacks]
        self.names = [name for name, _, _ in assembler.lines]
        self.program = Program(
            assembler.steps(base, callables),
            [Patch(base + 8 * word, pointer, offset) for word, pointer, offset in words.patches],
            n_inputs + n_results + self.shared_arena,
            workers=program.workers,
            release_gil=_long(program),
            keep=(memory, arena, consts, callables),
        )
        self.run = self.program.run

    def profile(self, *arrays: np.ndarray) -> list[tuple[str, int]]:
        """Runs once; name and nanoseconds of every step, those of all its iterations together."""
        return list(zip(self.names, map(int, self.program.profile(*arrays))))


def _long(program: LoopProgram) -> bool:
    """Whether the program runs long enough to let other Python threads run meanwhile."""
    if any(isinstance(s, LoopEnd) and s.trip is None for s in program.steps):
        return True
    work = (nanoseconds(s.flops, s.nbytes) * n for s, n in zip(program.steps, program.times()) if isinstance(s, Step))
    return sum(work) > RELEASE_GIL_NS


class _Words:
    """The words of an instance, by number; their addresses are known when the block is allocated."""

    def __init__(self, program: LoopProgram, arena: int | None, consts: int, n_inputs: int, n_pointers: int) -> None:
        self.buffers = program.buffers.buffers
        self.arena, self.consts, self.n_inputs, self.n_pointers = arena, consts, n_inputs, n_pointers
        self.values: list[int] = []
        self.relative: list[int] = []  # words that hold the number of a word, in the end its address
        self.patches: list[tuple[int, int, int]] = []
        self.homes: dict[tuple[int, int], int] = {}
        self.enter: dict[int, list[tuple[int, int]]] = {}  # by loop: the rows of its tables, see runtime_ir.StepKind
        self.add: dict[int, list[tuple[int, int]]] = {}
        self.swap: dict[int, list[tuple[int, int, int]]] = {}

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
        elif b.kind == "arena" and self.arena is None:
            self.patches.append((word, self.n_pointers, b.offset + offset))
        elif b.kind == "arena":
            self.values[word] = self.arena + b.offset + offset
        elif b.kind == "const":
            self.values[word] = self.consts + offset
        else:
            self.patches.append((word, b.index if b.kind == "input" else self.n_inputs + b.index, offset))

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
            self.values += row
        return first

    def memory(self) -> np.ndarray:
        """The block; from now on the words have addresses."""
        block = np.array(self.values or [0], np.int64)
        block[self.relative] = block.ctypes.data + 8 * block[self.relative]
        return block


class _Assembler:
    """A program as steps of a tape.  ``lines``: for each of those its name, what it comes from, and its first word."""

    def __init__(self, program: LoopProgram, words: _Words, addresses: dict[Any, int]) -> None:
        self.words = words
        self.addresses = addresses
        self.lines: list[tuple[str, Any, int]] = []
        self.callbacks: list[tuple[CallbackStep, int, int]] = []
        self.begin: dict[int, int] = {}  # loop -> position of its LoopBegin
        self.end: dict[int, int] = {}  # loop or switch -> the position behind it
        self.cases: dict[int, list[int]] = {}
        self.trips = {s.number: s.trip for s in program.steps if isinstance(s, LoopEnd)}
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
            self.lines.append((s.name, s, self.words.arguments(s.args)))
        elif isinstance(s, CallbackStep):
            operands = (*s.ins, *s.outs)
            self.callbacks.append((s, self.words.arguments(operands), len(operands)))
            self.lines.append((s.name, s, len(self.callbacks) - 1))
        elif isinstance(s, LoopBegin):
            self.begin[s.number] = len(self.lines)
            self.lines.append((s.name, s, 0))
        elif isinstance(s, LoopExit):
            self.lines.append((s.name, s, self.words.arguments((s.flag,))))
        elif isinstance(s, LoopEnd):
            self.lines.append((s.name, s, 0))
            self.end[s.number] = len(self.lines)
        elif isinstance(s, Switch):
            self.lines.append((s.name, s, self.words.arguments((s.index,))))
        elif isinstance(s, Case):
            if s.case:
                self.lines.append((f"end of case {s.case - 1}", s, 0))
            self.cases.setdefault(s.number, []).append(len(self.lines))
        else:
            self.end[s.number] = len(self.lines)

    def steps(self, base: int, callables: Sequence[Any]) -> list[TapeStep | SteerStep]:
        """The tape's steps; ``base`` is the address of the block of words."""
        work = [nanoseconds(s.flops, s.nbytes) if isinstance(s, Step) else 0.0 for _, s, _ in self.lines]
        return [self._step(k, s, base + 8 * word, base, callables, work) for k, (_, s, word) in enumerate(self.lines)]

    def _step(
        self, k: int, s: Any, here: int, base: int, callables: Sequence[Any], work: list[float]
    ) -> TapeStep | SteerStep:
        if isinstance(s, Step):
            return TapeStep(self.addresses[s.kernel.key], here, s.total, s.chunk, s.chunk >= s.total)
        if isinstance(s, CallbackStep):
            return SteerStep(StepKind.CALLBACK, (id(callables[self.lines[k][2]]),))
        n = s.number
        if isinstance(s, LoopBegin):
            rows = len(self.words.enter.get(n, ()))
            return SteerStep(StepKind.ENTER, (base + 8 * self.enter[n], rows, base + 8 * self.counters[n]))
        if isinstance(s, LoopExit):
            return SteerStep(StepKind.EXIT, (here, self.end[n]), (1,))
        if isinstance(s, LoopEnd):
            first = self.begin[n] + 1
            adds, swaps = len(self.words.add.get(n, ())), len(self.words.swap.get(n, ()))
            mask = RARELY if sum(work[first:k]) < SHORT_NS else 0
            limit = ENDLESS if s.trip is None else s.trip
            words = (base + 8 * self.repeat[n], adds, swaps, base + 8 * self.counters[n], limit, first, mask)
            return SteerStep(StepKind.REPEAT, words, (5,))
        if isinstance(s, Switch):
            return SteerStep(StepKind.SWITCH, (here, len(self.cases[n]), base + 8 * self.targets[n]))
        return SteerStep(StepKind.JUMP, (self.end[n],), (0,))


def _callable(step: CallbackStep, addresses: np.ndarray) -> Callable[[], None]:
    """Hands copies of the operands to Python and stores its answer: it may keep what it was given."""

    def call() -> None:
        arrays = [_array_at(int(p), x) for p, x in zip(addresses, (*step.ins, *step.outs))]
        results = step.eqn.params["callback"](*(a.copy() for a in arrays[: len(step.ins)]))
        results = list(results) if step.outs else []
        if len(results) != len(step.outs):
            raise ShapeError(f"{step.name} returned {len(results)} arrays; {len(step.outs)} were announced")
        for a, r in zip(arrays[len(step.ins) :], results):
            r = np.asarray(r)
            if r.shape != a.shape:
                raise ShapeError(f"{step.name} returned shape {r.shape}; {a.shape} was announced")
            a[...] = r

    return call


def _array_at(address: int, x: Operand) -> np.ndarray:
    """A dense operand as an array over the memory it lies in."""
    if x.size == 0:
        return np.empty(x.shape, x.dtype)
    memory = (ctypes.c_char * (x.size * x.dtype.itemsize)).from_address(address)
    return np.frombuffer(memory, x.dtype).reshape(x.shape)
