"""Memory of steps in blocks of rows: each thread needs its own, and what blocks find ready-made is made once.

Runs when ``hoist`` has taken out of the blocks what is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .buffers import memory_of, rounded
from .lower.context import AnyStep, LogicalBuffer, touched
from .lower.registry import Address, Operand, Step
from .lower.steering import BlocksBegin, BlocksEnd
from .plan import View

__all__ = ["made_once", "own_memory"]


def own_memory(steps: Sequence[AnyStep], buffers: list[LogicalBuffer]) -> None:
    """Gives each thread its own of the buffers that blocks of rows alone use."""
    uses: dict[int, set[int]] = {}  # buffer -> the blocks that use it; 0: what is in none
    within = 0
    for s in steps:
        if isinstance(s, BlocksBegin):
            within = s.number + 1
        for b in {m for t in touched(s) for m in memory_of(buffers, t)}:
            uses.setdefault(b, set()).add(within)
        if isinstance(s, BlocksEnd):
            within = 0
    for b, found in uses.items():
        buffer = buffers[b]
        if len(found) == 1 and 0 not in found and buffer.kind == "arena" and not buffer.per_worker:
            nbytes = rounded(buffer.nbytes)
            buffers[b] = replace(buffer, nbytes=nbytes, per_worker=True, apart=nbytes)


def made_once(
    steps: Sequence[AnyStep], groups: Sequence[int], buffers: list[LogicalBuffer]
) -> tuple[list[AnyStep], list[int]]:
    """Without the steps in front of blocks that compute what another one there has computed, as the packing of a matrix for whole
    blocks and for the last one: what they would write is in the memory of the other."""
    out: list[tuple[AnyStep, int]] = []
    k = 0
    while k < len(steps):
        if not isinstance(steps[k], BlocksBegin):
            out.append((steps[k], groups[k]))
            k += 1
            continue
        out = _without_twins(out, groups[k], buffers)
        while not isinstance(steps[k], BlocksEnd):
            out.append((steps[k], groups[k]))
            k += 1
    return [s for s, _ in out], [g for _, g in out]


def _without_twins(
    lines: list[tuple[AnyStep, int]], loop: int, buffers: list[LogicalBuffer]
) -> list[tuple[AnyStep, int]]:
    """Looks at the steps that were taken out of the blocks: they belong to groups behind that of the loop."""
    first = len(lines)
    while first and lines[first - 1][1] > loop:
        first -= 1
    found: dict[object, int] = {}
    kept = lines[:first]
    for s, group in lines[first:]:
        if not isinstance(s, Step) or len(s.writes) != 1:
            kept.append((s, group))
            continue
        (written,) = s.writes
        args = tuple(
            [replace(a, buffer=-1) if isinstance(a, (Address, Operand)) and a.buffer == written else a for a in s.args]
        )
        key = s.kernel.key, args, s.total, s.chunk, s.reads
        twin = found.get(key)
        if twin is None or buffers[written].nbytes != buffers[twin].nbytes or buffers[written].kind != "arena":
            found[key] = written
            kept.append((s, group))
        else:
            buffers[written] = replace(buffers[written], kind="view", view=View(twin))
    return kept
