"""Where every value lies: in-place reuse before lowering, arena offsets after it.

The arena is one block for each concurrent call.  Offsets are given by best fit over the steps at which buffers are
alive, so the order of steps and their sizes decide everything and the plan is the same on every run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fx.ir import Aval, Eqn, Var
from fx.sizes import alike

from .lower.context import AnyStep, LogicalBuffer, touched
from .lower.reductions import is_arg
from .lower.steering import BlocksBegin, BlocksEnd, LoopBegin, LoopEnd
from .nest.nodes import Fetch, Leaf, Nest, NestStore, Node, walk
from .plan import Buffer, BufferPlan, FusionPlan, Group
from .threads import runtime

__all__ = [
    "ALIGN",
    "Lifetimes",
    "Sharing",
    "in_arena",
    "lifetimes",
    "place",
    "plan_buffers",
    "rounded",
    "share_in_place",
    "without_copies_in_place",
]

ALIGN = 64
# library operations that can write their result over their first operand
OVERWRITES_FIRST = frozenset({
    "dynamic_update_slice", "scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max",
})  # fmt: skip


Lifetimes = dict[int, tuple[int, int]]  # buffer -> its first step, its last


@dataclass(frozen=True)
class Sharing:
    """``memory[w] = v``: owner ``w`` is written over owner ``v``, whose last reader computes ``w``.  ``reasons`` for explain."""

    memory: dict[Var, Var]
    reasons: dict[Var, str]

    def root(self, var: Var) -> Var:
        while var in self.memory:
            var = self.memory[var]
        return var


def share_in_place(
    plan: FusionPlan, donated: Sequence[int], enabled: bool = True, carried: Mapping[int, int] | None = None
) -> Sharing:
    """Finds results that may overwrite an operand that is never read again.

    An element must be read only where and before its new value is stored, so the index maps must be identical.

    Args:
        donated: inputs whose memory any result may take over.
        carried: output -> the input of the same type whose memory this output alone may take over.
    """
    sharing = Sharing({}, {})
    if not enabled:
        return sharing
    last_read = {v: k for k, g in enumerate(plan.groups) for v in g.reads}
    outputs: dict[
        Var, list[Aval]
    ] = {}  # what is returned in the memory of each: a reshape has another shape than its operand
    for a, o in zip(plan.graph.outputs, plan.outputs, strict=True):
        if isinstance(o, Var):
            outputs.setdefault(o, []).append(a.aval)
    parts = _written_in_parts(plan)
    gift = {plan.graph.inputs[i] for i in donated}
    heirs = {plan.graph.inputs[i]: plan.outputs[o] for o, i in (carried or {}).items()}
    untouchable = (set(plan.graph.inputs) - gift - heirs.keys()) | outputs.keys() | parts
    for k, g in enumerate(plan.groups):
        may_overwrite = _Overwrites(plan, g)
        free = [v for v in g.reads if last_read[v] == k and v not in untouchable] if may_overwrite.anything else []
        for w in g.writes:
            if w in parts:
                continue
            itself = may_overwrite.copied(w)
            match = next(
                (
                    v
                    for v in sorted(free, key=lambda v: v is not itself)
                    if may_overwrite(v, w)
                    and _output_fits(sharing, v, w, outputs, gift)
                    and heirs.get(sharing.root(v), w) is w
                ),
                None,
            )
            if match is not None:
                free.remove(match)
                sharing.memory[w] = match
                sharing.reasons[w] = _SAME if match is itself else "overwrites an operand that is not read again"
    return sharing


_SAME = "is the operand itself, which is not read again: nothing is copied"


def without_copies_in_place(nest: Nest, sharing: Sharing) -> Nest:
    """The nest without the stores that would write an operand over itself, such as weights that a step of training leaves as they
    are, whose memory is donated."""
    stores = tuple([s for s in nest.stores if s.var not in sharing.memory or sharing.memory[s.var] is not _copied(s)])
    return nest if len(stores) == len(nest.stores) else dataclasses.replace(nest, stores=stores)


def _copied(store: NestStore) -> Var | None:
    """The value that a store copies element by element, if it does nothing else."""
    node = store.node
    if not isinstance(node, Leaf) or node.at != store.at or node.conds or node.dtype != store.var.aval.dtype:
        return None
    return node.var


def _written_in_parts(plan: FusionPlan) -> set[Var]:
    """Results of concatenations, which several groups or several roots write.  (No equation makes the copy of an input, or of another
    output, that is an output; its one root is all of it.)"""
    return {r.dest for g in plan.groups for r in g.roots if r.dest is not r.var and r.dest in plan.producers}


def _output_fits(sharing: Sharing, v: Var, w: Var, outputs: Mapping[Var, Sequence[Aval]], gift: set[Var]) -> bool:
    """An output of the graph may take over a donated input only if nothing but its shape and dtype is needed."""
    root = sharing.root(v)
    return root not in gift or all(root.aval.same_type(a) for a in outputs.get(w, ()))


class _Overwrites:
    """Whether a group may write a result over an operand.  What it reads is gathered once: groups that hold whole loops
    have hundreds of both."""

    def __init__(self, plan: FusionPlan, g: Group) -> None:
        nest = g.nest
        self.first = _first_operand(plan, g.eqns[0]) if nest is None and g.kind == "library" else None
        self.stores: dict[Var, NestStore] = {}
        if nest is None:
            return
        self.last_stage = nest.stages - 1
        for store in nest.stores:
            self.stores.setdefault(store.var, store)
        self.reads: dict[Var, list[Leaf]] = {}
        for leaf in _leaves(list(nest.targets())):
            self.reads.setdefault(leaf.var, []).append(leaf)
        # what an argmax or argmin reads once more, after what is stored
        self.searched = {leaf.var for leaf in _leaves([x for r in nest.reductions if is_arg(r.op) for x in r.values])}
        # what a product, of which the nest is the epilogue, goes on reading
        product = g.eqns[0].inputs if g.kind == "library" else ()
        self.kept = {plan.memory_of(a) for a in product if isinstance(a, Var)}
        # what is read at places that are not known
        self.kept |= {n.var for n in walk(list(nest.targets())) if isinstance(n, Fetch)}

    @property
    def anything(self) -> bool:
        return bool(self.stores) or self.first is not None

    def copied(self, w: Var) -> Var | None:
        """The operand that ``w`` is a copy of."""
        store = self.stores.get(w)
        return None if store is None else _copied(store)

    def __call__(self, v: Var, w: Var) -> bool:
        if not alike(v.aval.size, w.aval.size) or v.aval.dtype != w.aval.dtype:
            return False
        store = self.stores.get(w)
        return self.first is v if store is None else v not in self.kept and self._reads_only_at(v, store)

    def _reads_only_at(self, v: Var, store: NestStore) -> bool:
        """Whether ``v`` is read only at the element that ``store`` writes, and not after it."""
        if store.full and (store.node.stage != self.last_stage or v in self.searched):
            return False
        return all(leaf.at == store.at and not leaf.conds for leaf in self.reads.get(v, ()))


def _first_operand(plan: FusionPlan, eqn: Eqn) -> Var | None:
    """The operand that a library operation can write its result over."""
    if eqn.prim.name not in OVERWRITES_FIRST:
        return None
    operand, *rest = eqn.inputs
    first = plan.owners.get(operand) if isinstance(operand, Var) else None
    others = [plan.owners.get(a) for a in rest if isinstance(a, Var)]  # None: a strided view
    return None if None in others or first in others else first


def _leaves(targets: Sequence[Node]) -> Iterator[Leaf]:
    return (n for n in walk(targets) if isinstance(n, Leaf))


# ------------------------------------------------------------------------------------------ arena

LARGEST = 250  # buffers that are placed by size


def plan_buffers(
    buffers: Sequence[LogicalBuffer], steps: Sequence[AnyStep], workers: int, reasons: dict[int, str] | None = None
) -> BufferPlan:
    """Gives each buffer its place."""
    reasons = reasons or {}
    lives = lifetimes(buffers, steps)
    arena = in_arena(buffers, lives)
    sizes = [rounded(buffers[i].nbytes) * (workers if buffers[i].per_worker else 1) for i in arena]
    blocks = [(nbytes, *lives[i]) for i, nbytes in zip(arena, sizes)]
    offsets, end = place(np.array(blocks, np.int64).reshape(-1, 3))
    result: dict[int, Buffer] = {}
    for i, nbytes, offset in zip(arena, sizes, offsets.tolist()):
        result[i] = Buffer(
            "arena", nbytes, 0, offset, *lives[i], buffers[i].aval, reasons.get(i, ""), apart=buffers[i].apart
        )  # fmt: skip
    for i, b in enumerate(buffers):
        if i not in result:  # an arena buffer that no step touches takes no memory
            nbytes = b.nbytes if b.kind != "arena" else 0
            result[i] = Buffer(b.kind, nbytes, b.index, aval=b.aval, reason=reasons.get(i, ""), view=b.view)
    return BufferPlan(tuple(result[i] for i in range(len(buffers))), end)


def in_arena(buffers: Sequence[LogicalBuffer], lives: Lifetimes) -> list[int]:
    """The buffers that take memory of the arena."""
    return sorted(i for i in lives if buffers[i].kind == "arena")


def rounded(nbytes: Any) -> Any:
    """The bytes, a number or an array of some, that so many take in the arena."""
    return -(-nbytes // ALIGN) * ALIGN


def place(blocks: np.ndarray) -> tuple[np.ndarray, int]:
    """Offsets for blocks, rows of (bytes, first step, last step), and where the last one ends.

    Each lies in the tightest hole, between those whose lives meet its own, that holds it.  The largest come first, which leaves
    few holes; those beyond the ``LARGEST`` follow as they come alive, so that the time does not grow with the square of a long
    program.
    """
    n = len(blocks)
    blocks = np.ascontiguousarray(blocks, np.int64)
    nbytes, begins, _ = blocks.T
    order = np.lexsort((begins, -nbytes))
    if n > LARGEST:
        small = order[LARGEST:]
        order[LARGEST:] = small[np.lexsort((-nbytes[small], begins[small]))]
    found = np.empty((2, n), np.int64)
    offsets, placed = found
    end = runtime().place(blocks.ctypes.data, order.ctypes.data, n, LARGEST, offsets.ctypes.data, placed.ctypes.data)
    return offsets, end


def lifetimes(buffers: Sequence[LogicalBuffer], steps: Sequence[AnyStep]) -> Lifetimes:
    """The first and the last step between which each buffer holds a value, whatever the sizes are.

    What a loop finds from outside, or keeps from one iteration to the next, lives as long as the loop; in blocks of rows, of which
    threads are at different steps, everything lives as long as they do.
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    loops: list[tuple[int, int, frozenset[int]]] = []
    begun: dict[int, tuple[int, frozenset[int]]] = {}
    for k, step in enumerate(steps):
        here = {b for t in touched(step) for b in memory_of(buffers, t)}
        for b in here:
            first.setdefault(b, k)
            last[b] = k
        if isinstance(step, (LoopBegin, BlocksBegin)):
            begun[step.number] = k, frozenset(here)
        elif isinstance(step, LoopEnd):
            begin, keeps = begun[step.number]
            loops.append((begin, k, keeps))
        elif isinstance(step, BlocksEnd):
            begin, _ = begun[step.number]
            loops.append((begin, k, frozenset(b for b in first if last[b] >= begin)))
    for begin, end, keeps in loops:  # the inner loops stand first
        for b in first:
            outside = first[b] < begin <= last[b] or first[b] <= end < last[b]
            if outside or b in keeps:
                first[b], last[b] = min(first[b], begin), max(last[b], end)
    return {b: (first[b], last[b]) for b in first}


def memory_of(buffers: Sequence[LogicalBuffer], b: int) -> set[int]:
    """The buffers, other than views, that a buffer may lie in."""
    view = buffers[b].view
    if view is None:
        return {b}
    return memory_of(buffers, view.base) | (set() if view.other is None else memory_of(buffers, view.other))
