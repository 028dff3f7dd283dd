"""Steps that go through a batch item by item, one after another: in blocks of items, each of which they all take in turn.

The scores of attention are such a batch: a head's are the result of a product, go through the softmax, and are multiplied by the
values.  Step by step over all heads, they go to memory and come back each time.  Where a block of heads runs through all steps, they
are still in the second-level cache; and blocks run on any thread, with nothing to wait for between two steps.

The kernels are the same, and so are the bits of the results: only the order changes in which the parts of the steps' ranges run, and
what the chain alone touches takes memory for a block instead of for all.  ``Items`` says what an item's part touches.  What steps of
a chain write must be the item's own in all of them that touch it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from fx.sizes import alike, smallest

from .buffers import memory_of, rounded
from .cost import chunk_for, nanoseconds
from .hoist import written
from .lower.context import AnyStep, LogicalBuffer, touched
from .lower.registry import Step
from .lower.steering import BlocksBegin, BlocksEnd
from .plan import View

__all__ = ["in_blocks"]

# Of the second-level cache, for what lies item by item; the rest is for what does not, as operands whose rows lie among those of other items.
HELD = 3 / 4


def in_blocks(
    steps: Sequence[AnyStep], groups: Sequence[int], buffers: list[LogicalBuffer], l2_bytes: int, number: Callable[[], int]
) -> tuple[list[AnyStep], list[int]]:  # fmt: skip
    """The steps, and the group of each, with such chains in blocks."""
    out: list[AnyStep] = []
    out_groups: list[int] = []
    k, within = 0, False
    while k < len(steps):
        step = steps[k]
        within = isinstance(step, BlocksBegin) or (within and not isinstance(step, BlocksEnd))
        chain = None if within else _chain_from(steps, k, buffers, l2_bytes)
        if chain is None:
            out.append(step)
            out_groups.append(groups[k])
            k += 1
            continue
        end, n, block = k + len(chain.steps), number(), chain.block(l2_bytes)
        _in_place_of_whole(buffers, chain, steps, n, block)
        out += chain.marked(n, block)
        out_groups += [groups[k], *groups[k:end], groups[end - 1]]
        k = end
    return out, out_groups


@dataclass(frozen=True)
class _Chain:
    """Steps over the same items.

    count: of items.  times: how many of each step's own items are one of them.  nbytes: of an item, in each buffer that lies item by item.
    """

    steps: tuple[Step, ...]
    count: Any
    times: tuple[int, ...]
    nbytes: dict[int, int]

    @classmethod
    def of(cls, step: AnyStep) -> _Chain | None:
        """A chain of one step, if that has items."""
        if not isinstance(step, Step) or step.items is None or not step.items.nbytes:
            return None
        return cls((step,), step.items.count, (1,), dict(step.items.nbytes))

    def block(self, l2_bytes: int) -> Any:
        """How many items are worth handing to a thread, of which the caches hold all."""
        ns = sum(nanoseconds(s.flops, s.nbytes) for s in self.steps) / self.count
        return smallest(chunk_for(self.count, ns), max(1, int(HELD * l2_bytes) // sum(self.nbytes.values())))

    def marked(self, number: int, block: Any) -> list[AnyStep]:
        """Its steps between the markers of blocks."""
        lengths = tuple([n * s.items.each * block for n, s in zip(self.times, self.steps) if s.items is not None])
        cut = [replace(s, chunk=length) for s, length in zip(self.steps, lengths)]
        return [BlocksBegin(number, self.count, block, lengths), *cut, BlocksEnd(number, -(-self.count // block))]

    def with_step(self, step: AnyStep) -> _Chain | None:
        """The chain with another step, if that goes through the same items."""
        if not isinstance(step, Step) or step.items is None:
            return None
        count, other = step.items.count, dict(step.items.nbytes)
        ratios = {Fraction(self.nbytes[b], n) for b, n in other.items() if b in self.nbytes}
        if len(ratios) != 1:
            return None
        (ratio,) = ratios
        times, own = (
            ratio.numerator,
            ratio.denominator,
        )  # of the step's items, and of the chain's so far, in an item from now on
        if min(times, own) > 1 or not alike(count * own, self.count * times):
            return None
        nbytes = {b: n * own for b, n in self.nbytes.items()} | {b: n * times for b, n in other.items()}
        return _Chain(
            (*self.steps, step), self.count if own == 1 else count, (*[n * own for n in self.times], times), nbytes
        )

    def handed_on(self, buffers: Sequence[LogicalBuffer]) -> int | None:
        """The bytes of an item that several of the steps touch; None if some of what they write is not the item's own, or none is handed on."""
        users: dict[int, list[Step]] = {}
        for s in self.steps:
            for b in {m for t in touched(s) for m in memory_of(buffers, t)}:
                users.setdefault(b, []).append(s)
        shared = {b for b, found in users.items() if len(found) > 1}
        changed = {m for s in self.steps for t in written(s) for m in memory_of(buffers, t)} & shared
        if not changed or not all(_is_own(s, b, buffers) for b in changed for s in users[b]):
            return None
        return sum(n for b, n in self.nbytes.items() if b in shared)


def _in_place_of_whole(
    buffers: list[LogicalBuffer], chain: _Chain, steps: Sequence[AnyStep], number: int, block: Any
) -> None:
    """What the steps of a chain alone touch takes memory for one block, of each thread its own: it stays in the cache.

    The steps find an item where it would lie in the whole, so the memory moves back by a block with each.
    """
    inside = set(map(id, chain.steps))
    outside = {m for s in steps if id(s) not in inside for t in touched(s) for m in memory_of(buffers, t)}
    for b, nbytes in chain.nbytes.items():
        buffer = buffers[b]
        users = [s for s in chain.steps if any(b in memory_of(buffers, t) for t in touched(s))]
        if (
            b in outside
            or buffer.kind != "arena"
            or buffer.per_worker
            or not all(_is_own(s, b, buffers) for s in users)
        ):
            continue
        held = rounded(block * nbytes)
        base = len(buffers)
        buffers.append(replace(buffer, nbytes=held, per_worker=True, apart=held))
        buffers[b] = replace(buffer, kind="view", view=View(base, loop=number, step=-block * nbytes, by_blocks=True))


def _is_own(step: Step, buffer: int, buffers: Sequence[LogicalBuffer]) -> bool:
    """Whether each item touches its own bytes of the buffer alone."""
    named = step.items is not None and any(b == buffer for b, _ in step.items.nbytes)
    return named and not any(t != buffer and buffer in memory_of(buffers, t) for t in touched(step))


def _chain_from(steps: Sequence[AnyStep], k: int, buffers: Sequence[LogicalBuffer], l2_bytes: int) -> _Chain | None:
    """The longest chain that begins with a step, whose items fit the second-level cache, and all of which together do not."""
    chain, found = _Chain.of(steps[k]), None
    for step in steps[k + 1 :] if chain is not None else ():
        chain = chain.with_step(step) if chain is not None else None
        if chain is None or sum(chain.nbytes.values()) > HELD * l2_bytes:
            break
        handed = chain.handed_on(buffers)
        if handed is not None and handed * chain.count > l2_bytes:
            found = chain
    return found
