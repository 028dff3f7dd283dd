"""Instances: the mutable state of an executable's calls, and its steps as a native program.

An instance is one block of words, an arena if that is small, the constants, and the ``tape.Program`` over them: an ``Assembly``
whose addresses are filled in.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fx.errors import ShapeError

from .assembly import Assembly
from .memory import aligned
from .runtime_ir import StepKind
from .tape import Program

if TYPE_CHECKING:
    from .lower.context import CallbackStep
    from .lower.registry import Operand

__all__ = ["Instance"]

KIND, FIRST = 0, 1  # words of a step: its kind, and the first of its own


class Instance:
    """What one call at a time needs.

    ``run(*arrays)`` takes the inputs, then the arrays for the results, and, if ``shared_arena``, the arena.

    Args:
        addresses: of the kernels, in the order of their numbers.
    """

    def __init__(self, assembly: Assembly, addresses: Sequence[int]) -> None:
        self.shared_arena = assembly.shared_arena
        arena = None if self.shared_arena else aligned(assembly.arena_bytes)
        consts = np.frombuffer(assembly.consts or bytes(16), np.uint8).copy()
        memory = assembly.words.copy()
        base = memory.ctypes.data
        memory[assembly.relative] += base
        memory[assembly.in_consts] += consts.ctypes.data
        memory[assembly.in_code] = np.array(addresses, np.int64)[memory[assembly.in_code] - 1]
        if arena is not None:
            memory[assembly.in_arena] += arena.ctypes.data
        callables = [_callable(step, memory[first : first + count]) for step, first, count in assembly.callbacks]
        patches = assembly.patches.copy()
        patches[:, 0] = base + 8 * patches[:, 0]
        self.program = Program.of(
            _steps(assembly, addresses, base, callables), patches, assembly.n_arrays,
            release_gil=assembly.release_gil, keep=(memory, arena, consts, callables),
        )  # fmt: skip
        self.run = self.program.run


def _steps(
    assembly: Assembly, addresses: Sequence[int], base: int, callables: Sequence[Callable[[], None]]
) -> np.ndarray:
    """The steps with their addresses; ``base`` is that of the block of words."""
    steps = assembly.steps.copy()
    steps.reshape(-1)[assembly.addressed] += base
    calls = (steps[:, KIND] == int(StepKind.CALL)) | (steps[:, KIND] == int(StepKind.PART))
    steps[calls, FIRST] = np.array(addresses, np.int64)[steps[calls, FIRST] - 1]
    for k in np.flatnonzero(steps[:, KIND] == int(StepKind.CALLBACK)) if callables else ():
        steps[k, FIRST] = id(callables[steps[k, FIRST]])
    return steps


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
    memory: Any = (ctypes.c_char * (x.size * x.dtype.itemsize)).from_address(address)
    return np.frombuffer(memory, x.dtype).reshape(x.shape)
