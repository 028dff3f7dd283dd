"""What steers a program: loops and branches, as markers in the flat list of its steps.

A loop is ``LoopBegin .. LoopEnd``, with a ``LoopExit`` in it where it runs while a flag is set; a branch is ``Switch Case .. Case ..
SwitchEnd``.  ``BlocksBegin .. LastBlock .. BlocksEnd`` are blocks of rows, which run in any order and on any thread: the steps up to
``LastBlock``, if it stands there, are those of each whole block, the others those of the last one.  Inside a loop, operands may lie in *views* (``LogicalBuffer``), which lie elsewhere in each iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Union

from .registry import Operand

__all__ = [
    "BlocksBegin",
    "BlocksEnd",
    "Case",
    "LastBlock",
    "LoopBegin",
    "LoopEnd",
    "LoopExit",
    "Steering",
    "Switch",
    "SwitchEnd",
    "repetitions",
]


@dataclass(frozen=True, slots=True)
class LoopBegin:
    """keeps: buffers that hold a value from one iteration to the next."""

    number: int
    keeps: frozenset[int]

    @property
    def name(self) -> str:
        return f"loop {self.number}"


@dataclass(frozen=True, slots=True)
class BlocksBegin:
    """rows: of all blocks; block: of one.

    lengths: if given, the steps inside are not written for a block, but for all rows: of its range, each runs so much in a block.
    """

    number: int
    rows: int
    block: int
    lengths: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        if self.lengths:
            return f"blocks {self.number}: {self.rows} items, in blocks of {self.block}, each of which {len(self.lengths)} steps take while the caches hold it"
        return f"blocks {self.number}: {self.rows} rows, each computed by itself, in blocks of {self.block}; no thread waits inside"


@dataclass(frozen=True, slots=True)
class LastBlock:
    """rows: of the last block, which has fewer."""

    number: int
    rows: int

    @property
    def name(self) -> str:
        return f"last block of blocks {self.number}: {self.rows} rows"


@dataclass(frozen=True, slots=True)
class BlocksEnd:
    """count: of blocks."""

    number: int
    count: int

    @property
    def name(self) -> str:
        return f"end of blocks {self.number} ({self.count} blocks)"


@dataclass(frozen=True, slots=True)
class LoopExit:
    """Leaves the loop if ``flag`` (one bool) is False."""

    number: int
    flag: Operand

    @property
    def name(self) -> str:
        return f"leave loop {self.number} unless b{self.flag.buffer}"


@dataclass(frozen=True, slots=True)
class LoopEnd:
    """Back to the beginning; ``trip``: how many times the loop runs, or None: until a LoopExit."""

    number: int
    trip: int | None

    @property
    def name(self) -> str:
        return f"repeat loop {self.number}" + ("" if self.trip is None else f" ({self.trip} times)")


@dataclass(frozen=True, slots=True)
class Switch:
    """On to the case whose number ``index`` (one int32, clamped) holds."""

    number: int
    index: Operand
    n_cases: int

    @property
    def name(self) -> str:
        return f"switch {self.number} on b{self.index.buffer}"


@dataclass(frozen=True, slots=True)
class Case:
    number: int
    case: int

    @property
    def name(self) -> str:
        return f"case {self.case} of switch {self.number}"


@dataclass(frozen=True, slots=True)
class SwitchEnd:
    number: int

    @property
    def name(self) -> str:
        return f"end of switch {self.number}"


def repetitions(steps: Sequence[Any]) -> list[int]:
    """How often each step runs, as far as that is known: what stands in a loop as often as the loop says."""
    found, factors = [], [1]
    trips: dict[int, Any] = {s.number: s.trip for s in steps if isinstance(s, LoopEnd)}
    trips |= {s.number: s.count for s in steps if isinstance(s, BlocksEnd)}
    for s in steps:
        if isinstance(s, LastBlock):
            trips[s.number] -= 1
    for s in steps:
        found.append(factors[-1])
        if isinstance(s, (LoopBegin, BlocksBegin)):
            factors.append(factors[-1] * (1 if isinstance(s, BlocksBegin) and s.lengths else trips[s.number] or 1))
        elif isinstance(s, LastBlock):
            factors[-1] = factors[-2]
        elif isinstance(s, (LoopEnd, BlocksEnd)):
            factors.pop()
    return found


Steering = Union[BlocksBegin, LastBlock, BlocksEnd, LoopBegin, LoopExit, LoopEnd, Switch, Case, SwitchEnd]
