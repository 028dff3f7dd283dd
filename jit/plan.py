"""Plans: frozen records of what the fuser and the buffer planner decided, each with its reason.

``FusionPlan`` says which equations become one kernel and why; ``BufferPlan`` where every value lies in memory.
Both verify themselves and print everything that they hold.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from fx.errors import GraphError
from fx.ir import Aval, Eqn, Graph, Literal, Var

from .nest.nodes import Nest, Root

__all__ = ["Buffer", "BufferPlan", "FusionPlan", "Group", "Names", "View"]


class Names:
    """Names for variables in the order in which they are first asked for: a, b, .. z, ba, bb .."""

    def __init__(self) -> None:
        self._names: dict[Var, str] = {}

    def __call__(self, var: Var) -> str:
        if var not in self._names:
            n, text = len(self._names), ""
            while True:
                n, r = divmod(n, 26)
                text = chr(97 + r) + text
                if not n:
                    break
            self._names[var] = text
        return self._names[var]


@dataclass(frozen=True)
class Group:
    """Equations that run as one: a fused nest, one library operation (with a nest as its epilogue), or one Python callback.

    kind: 'nest', 'library' or 'callback'.
    eqns: what it computes, in graph order; an equation that was cheap to repeat may stand in several groups.
    roots, domain, reduced, nest: for nests (see ``jit/nest/nodes.py``).
    reads, writes: owners of memory.
    """

    kind: str
    eqns: tuple[Eqn, ...]
    reads: tuple[Var, ...]
    writes: tuple[Var, ...]
    reasons: tuple[str, ...] = ()
    roots: tuple[Root, ...] = ()
    domain: tuple[int, ...] = ()
    reduced: frozenset[int] = frozenset()
    nest: Nest | None = None

    def title(self) -> str:
        names = [e.prim.name for e in self.eqns]
        text = " ".join(names) if len(names) <= 12 else " ".join(names[:10]) + f" ... ({len(names)} equations)"
        if self.nest is None or self.kind != "nest":
            return f"{self.kind} {text}"
        space = "x".join(map(str, self.domain)) or "scalar"
        over = f", reduced over {sorted(self.reduced)}" if self.reduced else ""
        return f"{self.nest.kind} over {space}{over}: {text or 'copy'}"


@dataclass(frozen=True)
class FusionPlan:
    """groups: in execution order.  owners: the variable whose memory each variable in memory uses.
    outputs: for each graph output its owner, or the literal.  decisions: why each variable is stored or inlined."""

    graph: Graph
    groups: tuple[Group, ...]
    owners: dict[Var, Var]
    outputs: tuple[Var | Literal, ...]
    decisions: dict[Var, str] = field(default_factory=dict)

    @cached_property
    def producers(self) -> dict[Var, tuple[Eqn, int]]:
        """For each variable that an equation makes, that equation and the number of the result."""
        return {v: (e, k) for e in self.graph.eqns for k, v in enumerate(e.outputs)}

    def memory_of(self, var: Var) -> Var:
        """The owner of the memory in which ``var``, or what it is a strided view of, lies."""
        while var not in self.owners:
            eqn, k = self.producers[var]
            var = eqn.inputs[k]  # type: ignore[assignment]
        return self.owners[var]

    def verify(self) -> FusionPlan:
        """Every read comes after the write, every output is written, effects stay in order.

        Raises:
            GraphError: naming the group that breaks the rule.
        """
        inputs = set(self.graph.inputs)
        ready: set[Var] = set(inputs)
        pending = Counter([w for g in self.groups for w in g.writes])
        for k, g in enumerate(self.groups):
            late = [v for v in g.reads if v not in ready]
            if late:
                raise GraphError(f"group {k} ({g.title()}) reads {late[0]} before it is written")
            if not set(g.reads).isdisjoint(g.writes):
                raise GraphError(f"group {k} ({g.title()}) reads from memory what it writes itself")
            for w in g.writes:
                if w in inputs:
                    raise GraphError(f"group {k} ({g.title()}) writes an input of the graph")
                pending[w] -= 1
                if pending[w] == 0:
                    ready.add(w)
        for o in self.outputs:
            if isinstance(o, Var) and o not in ready and o.aval.size:
                raise GraphError(f"output {o} is never written")
        effects = [e for e in self.graph.eqns if e.effect]
        if [e for g in self.groups for e in g.eqns if e.effect] != effects:
            raise GraphError("equations with effects were dropped, doubled or reordered")
        return self

    def __str__(self) -> str:
        name = Names()
        for v in self.graph.inputs:
            name(v)
        lines = [f"plan of {self.graph.name}: {len(self.graph.eqns)} equations in {len(self.groups)} groups"]
        for k, g in enumerate(self.groups):
            lines.append(f"{k:3d} {g.title()}")
            writes = ", ".join(f"{name(v)}:{v.aval}" for v in g.writes)
            lines.append(f"      {', '.join(name(v) for v in g.reads) or '-'} -> {writes or '-'}")
            lines += [f"      * {r}" for r in g.reasons]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class View:
    """A buffer that lies in another one, at ``byte_offset`` of buffer ``base``.

    loop: None, or the loop in each iteration of which it moves: by ``step`` bytes, or, if ``other`` is a buffer, from
    ``base`` to ``other`` and back.  by_blocks: ``loop`` is one over blocks of rows.
    """

    base: int
    byte_offset: int = 0
    loop: int | None = None
    step: int = 0
    other: int | None = None
    by_blocks: bool = False


@dataclass(frozen=True, slots=True)
class Buffer:
    """A logical buffer.  kind: 'input', 'output' (``index`` says which), 'const', 'arena' (at ``offset``) or 'view'.

    first, last: the steps between which an arena buffer holds a value.  reason: why its memory is what it is.
    apart: as in ``LogicalBuffer``.
    """

    kind: str
    nbytes: int
    index: int = 0
    offset: int = 0
    first: int = 0
    last: int = 0
    aval: Aval | None = None
    reason: str = ""
    view: View | None = None
    apart: int = 0

    def place(self) -> str:
        """Where it lies, in words."""
        if self.kind == "arena":
            return f"arena+{self.offset} steps {self.first}..{self.last}"
        if self.view is None:
            return f"{self.kind} {self.index}"
        v = self.view
        moves = f" alternating with {v.other}" if v.other is not None else f" moving by {v.step} bytes"
        return f"in {v.base} at {v.byte_offset}" + ("" if v.loop is None else f"{moves} in loop {v.loop}")


@dataclass(frozen=True)
class BufferPlan:
    """Where every logical buffer lies.  arena_bytes: size of the one block that all arena buffers share.
    donated: output index -> index of the input whose memory it takes over."""

    buffers: tuple[Buffer, ...]
    arena_bytes: int
    donated: dict[int, int] = field(default_factory=dict)

    def verify(self, in_place: frozenset[tuple[int, int]] = frozenset()) -> BufferPlan:
        """No two arena buffers that live at the same time overlap, but for the pairs (old, new) ``in_place``."""
        arena = [(k, b) for k, b in enumerate(self.buffers) if b.kind == "arena" and b.nbytes]
        for n, (i, a) in enumerate(arena):
            if a.offset % 64 or a.offset + a.nbytes > self.arena_bytes:
                raise GraphError(f"buffer {i} lies badly in the arena: offset {a.offset}, {a.nbytes} bytes")
            for j, b in arena[n + 1 :]:
                together = a.first <= b.last and b.first <= a.last
                overlap = a.offset < b.offset + b.nbytes and b.offset < a.offset + a.nbytes
                if together and overlap and (i, j) not in in_place and (j, i) not in in_place:
                    raise GraphError(f"buffers {i} and {j} overlap in the arena while both are alive")
        return self

    def __str__(self) -> str:
        lines = [f"arena of {self.arena_bytes} bytes"]
        for k, b in enumerate(self.buffers):
            lines.append(
                f"{k:3d} {b.nbytes:>12} bytes  {b.place()}  {b.aval or ''}{'  * ' + b.reason if b.reason else ''}"
            )
        return "\n".join(lines)
