"""Graph -> FusionPlan.

Three passes, each recording its reasons:

1. ``Storage`` decides which values lie in memory; everything else is computed where it is read.
2. One group for each stored value: the nest that computes it, with all the inlined equations behind it.
3. Groups over the same space become one kernel, if one reads the other's result at the place where it is computed, or
   if they read the same array.  What only the merged kernel reads is then not stored at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fx.errors import GraphError
from fx.ir import Atom, Eqn, Graph, Literal, Var
from fx.sizes import plain

from .cost import FEW_ROWS, SPLIT_NS, flops_per_element, nanoseconds
from .fuse_epilogue import Worth, join_epilogues
from .gathers import moves_in_place, wait_for_each_other, why_apart
from .lower.reductions import reduced_axes
from .lower.shaping import ALIASES, SHAPING
from .nest.index_map import Opaque, dense_strides
from .nest.nodes import Fetch, Leaf, Nest, Point, Root, walk
from .nest.trace import Sources, trace_nest
from .plan import FusionPlan, Group
from .storage import SMALL, Storage, in_parts, is_reduction, live_equations, significant

__all__ = ["fuse"]

MAX_ROOTS = 24
MAX_FLOPS = 600  # an element: beyond, a larger kernel saves little and compiles long
SURE_EQUATIONS = 120  # larger kernels are traced before they are merged, because a trace has its limits
LOOK_BACK = 48  # how many groups back the merger looks for a sibling


# ------------------------------------------------------------------------------- groups


@dataclass
class _Draft:
    """A group while it may still grow.  ``needs``: owners that it reads; ``makes``: owners that it writes."""

    kind: str
    order: int
    eqns: tuple[Eqn, ...]
    needs: frozenset[Var]
    makes: tuple[Var, ...]
    roots: tuple[Root, ...] = ()
    domain: tuple[int, ...] = ()
    reduced: frozenset[int] = frozenset()
    nest: Nest | None = None
    reasons: tuple[str, ...] = ()

    @property
    def row_domain(self) -> tuple[int, ...]:
        return tuple(n for p, n in enumerate(self.domain) if p not in self.reduced)


class _Grouper:
    """Makes a group for each stored value and merges groups."""

    def __init__(self, storage: Storage, outputs: Sequence[tuple[Atom, Var]], fuse: bool) -> None:
        self.storage = storage
        self.sources = Sources(storage.owners, storage.producers)
        self.position = {id(e): n for n, e in enumerate(storage.eqns)}
        self.fuse = fuse
        self.forced: dict[Var, str] = {}
        self.makers: dict[Var, list[_Draft]] = {}  # of each owner, the placed groups that write it
        self.placed: list[_Draft] = []
        drafts = self._drafts() + self._output_copies(outputs)
        for d in sorted(drafts, key=lambda d: d.order):
            self._place(d)

    # ------------------------------------------------------------------ one group for each value

    def _drafts(self) -> list[_Draft]:
        drafts: list[_Draft] = []
        for n, eqn in enumerate(self.storage.eqns):
            kind = self.storage.kinds[id(eqn)]
            if kind in ("library", "callback"):
                drafts.append(self._whole(kind, n, eqn))
                continue
            roots = [v for v in eqn.outputs if v in self.storage.stored and v.aval.size]
            if not roots:
                continue
            if in_parts(eqn):
                drafts += self._parts(n, eqn)
            elif is_reduction(eqn):
                shape, axes = eqn.inputs[0].aval.shape, reduced_axes(eqn)
                real = [a for a in range(len(shape)) if shape[a] != 1]
                reduced = frozenset(p for p, a in enumerate(real) if a in axes)
                drafts.append(self._nest(n, [Root.dense(roots[0])], significant(shape), reduced))
            else:
                for same in _by_shape(roots):
                    drafts.append(
                        self._nest(n, [Root.dense(v) for v in same], significant(same[0].aval.shape), frozenset())
                    )
        return drafts

    def _whole(self, kind: str, n: int, eqn: Eqn) -> _Draft:
        bases = [self.storage.view_base(a) for a in eqn.inputs if isinstance(a, Var)]
        needs = frozenset(self.storage.owners[b] for b in bases if b.aval.size)
        reasons = [f"{eqn.prim.name} has a loop structure of its own"]
        if eqn.prim.name == "gather" and self.fuse:
            reasons.append(why_apart(eqn))
        if "permutation" in eqn.params:
            reasons.append(f"its rows are stored where transpose {eqn.params['permutation']} of the result has them")
        return _Draft(kind, n, (eqn,), needs, eqn.outputs, reasons=tuple(reasons))

    def _parts(self, n: int, eqn: Eqn) -> list[_Draft]:
        """A concatenation: each operand is computed straight into its part of the result."""
        out, d = eqn.outputs[0], eqn.params["dimension"]
        strides = dense_strides(out.aval.shape)
        drafts, start = [], 0
        for x in eqn.inputs:
            if isinstance(x, Var) and x.aval.size:
                part = Root(x, out, strides, start * strides[d])
                drafts.append(self._nest(n, [part], significant(x.aval.shape), frozenset()))
            start += x.aval.shape[d]
        return drafts

    def _output_copies(self, outputs: Sequence[tuple[Atom, Var]]) -> list[_Draft]:
        end = len(self.storage.eqns)
        return [
            self._nest(end, [Root(a, dest, dense_strides(a.aval.shape))], significant(a.aval.shape), frozenset())
            for a, dest in outputs
            if isinstance(a, Var) and a.aval.size
        ]

    def _nest(self, n: int, roots: list[Root], domain: tuple[int, ...], reduced: frozenset[int]) -> _Draft:
        """The group of one value; it is traced when its shape is final."""
        eqns, needs = self._cone(roots)
        makes = tuple(dict.fromkeys(r.dest for r in roots if r.dest is not None))
        return _Draft("nest", n, eqns, needs, makes, tuple(roots), domain, reduced)

    def _trace(self, roots: tuple[Root, ...], domain: tuple[int, ...], reduced: frozenset[int]) -> Nest:
        return trace_nest(self.sources, roots, domain, reduced)

    def _cone(self, roots: Iterable[Root]) -> tuple[tuple[Eqn, ...], frozenset[Var]]:
        """The equations that a nest evaluates, in graph order, and the owners that it reads."""
        owners, producers = self.storage.owners, self.storage.producers
        own = {r.var for r in roots if r.computes(owners)}
        eqns: dict[int, Eqn] = {}
        needs: set[Var] = set()
        stack: list[Atom] = [r.var for r in roots]
        seen: set[Atom] = set()
        while stack:
            a = stack.pop()
            if isinstance(a, Literal) or a in seen:
                continue
            seen.add(a)
            owner = owners.get(a)
            if owner is not None and owner not in own:
                if owner.aval.size:  # what has no elements is never written, and no one waits for it
                    needs.add(owner)
                continue
            eqn, k = producers[a]
            eqns[self.position[id(eqn)]] = eqn
            stack += (eqn.inputs[k],) if eqn.prim.name in ALIASES else eqn.inputs
        return tuple(eqns[k] for k in sorted(eqns)), frozenset(needs)

    # ------------------------------------------------------------------ merging

    def _place(self, new: _Draft) -> None:
        """Appends a group, or joins it to a placed one; then takes in groups that only it reads."""
        k = self._join(new) if self.fuse and new.kind == "nest" else None
        if k is None:
            k = len(self.placed)
            self.placed.append(new)
            self._announce(new)
        if self.fuse and new.kind == "nest":
            self._absorb(k)

    def _announce(self, g: _Draft) -> None:
        for v in g.makes:
            self.makers.setdefault(v, []).append(g)

    def _makers(self, g: _Draft, before: int) -> list[int]:
        """Positions, below ``before``, of the groups that make what ``g`` reads."""
        ids = {id(m) for v in g.needs for m in self.makers.get(v, ())}
        return [k for k, h in enumerate(self.placed[:before]) if id(h) in ids] if ids else []

    def _join(self, new: _Draft) -> int | None:
        """Merges ``new`` into a placed group behind which nothing stands that ``new`` needs; returns its position."""
        makers = self._makers(new, len(self.placed))
        first = max(makers, default=-1)
        if makers and self._merge(first, new, "it reads the result where it is computed"):
            return first
        for k in range(len(self.placed) - 1, max(first, len(self.placed) - LOOK_BACK, -1), -1):
            g = self.placed[k]
            if (
                g.kind == "nest"
                and self._worth_joining(g, new)
                and self._merge(k, new, "both read the same array", True)
            ):
                return k
        return None

    def _absorb(self, k: int) -> None:
        """Merges into group ``k`` the groups that it reads, unless another group before it reads them too."""
        tried: set[int] = set()
        while True:
            me = self.placed[k]
            open_ = [j for j in self._makers(me, k) if id(self.placed[j]) not in tried]
            if not open_:
                return
            j = open_[-1]
            g = self.placed[j]
            tried.add(id(g))
            if any(not h.needs.isdisjoint(g.makes) for h in self.placed[j + 1 : k]):
                continue
            if g.kind == "nest" and self._merge(k, g, "only it is read there"):
                del self.placed[j]
                k -= 1

    @staticmethod
    def _worth_joining(g: _Draft, new: _Draft) -> bool:
        shared = g.needs & new.needs
        biggest = max((v.aval.size for v in g.needs | new.needs), default=0)
        return any(v.aval.size * 2 >= biggest for v in shared) or (bool(shared) and biggest <= SMALL)

    def _merge(self, k: int, new: _Draft, why: str, quiet: bool = False) -> bool:
        """Replaces group ``k`` by the merger of it and ``new`` if they can be one kernel."""
        g = self.placed[k]
        try:
            if g.kind != "nest":
                raise Opaque(f"a {g.kind} operation")
            self.placed[k] = self._merged(g, new, why)
            self._announce(self.placed[k])
        except Opaque as e:
            if not quiet:
                note = f"cut from {_names(g)}: {e}"
                new.reasons += () if note in new.reasons else (note,)
            return False
        return True

    def _merged(self, g: _Draft, new: _Draft, why: str) -> _Draft:
        """The group of both.

        Raises:
            Opaque: with the reason why they cannot be one kernel.
        """
        domain, reduced = _joint_space(g, new)
        roots = tuple(sorted(g.roots + new.roots, key=self._when))
        if len(roots) > MAX_ROOTS:
            raise Opaque(f"a kernel of more than {MAX_ROOTS} results")
        if sum(flops_per_element(e) for e in dict.fromkeys(g.eqns + new.eqns)) > MAX_FLOPS:
            raise Opaque(f"a kernel of more than {MAX_FLOPS} flops an element")
        eqns, needs = self._cone(roots)
        if wait_for_each_other(eqns):
            raise Opaque("a gather that waits for another one")
        makes = tuple(dict.fromkeys(g.makes + new.makes))
        if not needs.isdisjoint(makes):
            raise Opaque("a concatenation must be whole before it is read")
        nest = None
        if reduced or len(eqns) > SURE_EQUATIONS or not self._reads_in_place(roots):
            nest = self._trace(roots, domain, reduced)  # it may still turn out to be impossible
            self._check_stages(nest)
        reason = f"{_names(new)} joins {_names(g)}: {why}"
        return _Draft(
            "nest",
            max(g.order, new.order),
            eqns,
            needs,
            makes,
            roots,
            domain,
            reduced,
            nest,
            (*g.reasons, *new.reasons, reason),
        )

    def _reads_in_place(self, roots: tuple[Root, ...]) -> bool:
        """Whether every result that the kernel reads is read through elementwise equations alone, which makes the
        merger of maps over one space certain.  (False: only the trace can tell.)"""
        owners, producers = self.storage.owners, self.storage.producers
        own = {r.var for r in roots if r.computes(owners)}
        stack: list[tuple[Var, bool]] = [(r.var, False) for r in roots]
        seen: set[tuple[Var, bool]] = set()
        while stack:
            var, moved = stack.pop()
            if moved and owners.get(var) in own:
                return False
            if (var, moved) in seen or (var in owners and owners[var] not in own):
                continue
            seen.add((var, moved))
            eqn, _ = producers[var]
            if eqn.prim.name == "gather":
                operand, index = eqn.inputs
                stack += [(a, True) for a in (operand,) if isinstance(a, Var)]
                stack += [(a, moved or not moves_in_place(eqn)) for a in (index,) if isinstance(a, Var)]
                continue
            moved = moved or (eqn.prim.name in SHAPING and not _keeps_place(eqn))
            stack += [(a, moved) for a in eqn.inputs if isinstance(a, Var)]
        return True

    def _when(self, root: Root) -> int:
        """Where the root's equation stands, so that each root is traced after those that it reads."""
        return self.position[id(self.storage.producers[root.var][0])] if root.var in self.storage.producers else -1

    @staticmethod
    def _check_stages(nest: Nest) -> None:
        if nest.stages > 1 and splits(nest):
            raise Opaque("few long rows: the reduction is cut into partial results that all must be there first")

    # ------------------------------------------------------------------ the result

    def groups(self, outputs: frozenset[Var]) -> tuple[Group, ...]:
        """The final groups: a root is stored only if another group or the caller reads it.

        Where a value cannot be read by affine indices, ``self.forced`` says afterwards what must be stored first.
        """
        result = []
        readers: dict[Var, int] = {}
        for g in self.placed:
            for v in g.needs:
                readers[v] = readers.get(v, 0) + 1
        rank = {v: n for n, v in enumerate([*self.storage.graph.inputs, *(v for g in self.placed for v in g.makes)])}
        for g in self.placed:
            needs = tuple(sorted(g.needs, key=rank.__getitem__))
            if g.kind != "nest":
                result.append(Group(g.kind, g.eqns, needs, g.makes, g.reasons))
                continue
            read = {v for v in g.makes if v in outputs or readers.get(v, 0)}
            roots = tuple(r if r.dest in read else dataclasses.replace(r, dest=None) for r in g.roots)
            for r in roots:
                if r.dest is None:
                    self.storage.decisions[r.var] = "kept in registers: only this kernel reads it"
            nest = self._final_nest(g)
            if nest is not None:
                nest = dataclasses.replace(nest, stores=tuple(s for s in nest.stores if s.var in read))
                writes = tuple(dict.fromkeys(r.dest for r in roots if r.dest is not None))
                result.append(Group("nest", g.eqns, needs, writes, g.reasons, roots, g.domain, g.reduced, nest))
        return tuple(result)

    def _final_nest(self, g: _Draft) -> Nest | None:
        if g.nest is not None:
            return g.nest
        try:
            return self._trace(g.roots, g.domain, g.reduced)
        except Opaque as e:
            if not isinstance(e.culprit, Var):
                raise GraphError(f"{_names(g)} has no loop nest: {e}") from e
            self.forced[e.culprit] = str(e)
            return None


def _keeps_place(eqn: Eqn) -> bool:
    """Whether a shaping equation only adds or drops dimensions of size 1."""
    if eqn.prim.name not in ALIASES and eqn.prim.name != "broadcast_in_dim":
        return False
    return significant(eqn.inputs[0].aval.shape) == significant(eqn.outputs[0].aval.shape)


def _by_shape(vars_: Sequence[Var]) -> list[list[Var]]:
    same: dict[tuple[int, ...], list[Var]] = {}
    for v in vars_:
        same.setdefault(significant(v.aval.shape), []).append(v)
    return list(same.values())


def _names(g: _Draft) -> str:
    """A few of the equations of a group, the last ones."""
    names = [e.prim.name for e in g.eqns if e.prim.name not in SHAPING] or [e.prim.name for e in g.eqns] or ["copy"]
    return "+".join(names[-3:])


def _joint_space(a: _Draft, b: _Draft) -> tuple[tuple[int, ...], frozenset[int]]:
    """The domain and reduced dimensions of two groups as one kernel."""
    if a.reduced and b.reduced:
        if (a.domain, a.reduced) != (b.domain, b.reduced):
            raise Opaque("they reduce different spaces")
        return a.domain, a.reduced
    big, other = (a, b) if a.reduced or not b.reduced else (b, a)
    if other.domain not in (big.domain, big.row_domain):
        raise Opaque(f"their spaces differ: {_space(other.domain)} and {_space(big.domain)}")
    return big.domain, big.reduced


def _space(domain: tuple[int, ...]) -> str:
    return "x".join(str(plain(n)) for n in domain) or "scalar"


def splits(nest: Nest) -> bool:
    """Whether a reduction has too few rows for its work, so that it is cut into partial results."""
    return nest.kind == "rows" and nest.rows < FEW_ROWS and work(nest) > SPLIT_NS


def work(nest: Nest) -> float:
    """Nanoseconds, guessed, of one pass over the domain on one core."""
    flops = nbytes = 0
    for node in walk(list(nest.targets())):
        if isinstance(node, (Point, Fetch)):
            flops += node.flops
        if isinstance(node, (Leaf, Fetch)):
            nbytes += node.dtype.itemsize
    return nest.rows * nest.row_size * nanoseconds(flops + len(nest.reductions), nbytes)


# ------------------------------------------------------------------------------- the whole


def fuse(graph: Graph, enabled: bool = True, epilogues: Worth | None = None) -> FusionPlan:
    """Plans the kernels of a graph.

    Args:
        enabled: False gives one kernel for each equation (for tests).
        epilogues: from which size of their result on products take the map that reads it into their kernel.

    Raises:
        LoweringError: for a primitive without a lowering; the message names it and the user's line.
    """
    forced: dict[Var, str] = {}
    eqns = live_equations(graph)
    while True:
        storage = Storage(graph, eqns, enabled, forced)
        outputs, copies = _output_owners(graph, storage)
        grouper = _Grouper(storage, copies, enabled)
        groups = grouper.groups(frozenset(o for o in outputs if isinstance(o, Var)))
        if not grouper.forced:
            if enabled and epilogues is not None:
                known = frozenset(o for o in outputs if isinstance(o, Var))
                groups = join_epilogues(groups, graph.inputs, known, storage.decisions, epilogues)
            return FusionPlan(graph, groups, storage.owners, outputs, storage.decisions).verify()
        if not grouper.forced.keys().isdisjoint(forced):
            raise GraphError(f"these must be stored to be read, and are: {list(grouper.forced.values())}")
        forced |= grouper.forced


def _output_owners(graph: Graph, storage: Storage) -> tuple[tuple[Var | Literal, ...], list[tuple[Atom, Var]]]:
    """The owner of each output, with copies for those that are inputs or stand twice."""
    taken: set[Var] = set(graph.inputs)
    outputs: list[Var | Literal] = []
    copies: list[tuple[Atom, Var]] = []
    for a in graph.outputs:
        if isinstance(a, Literal):
            outputs.append(a)
            continue
        owner = storage.owners.get(a, a)
        if owner in taken:
            owner = Var(a.aval)
            copies.append((a, owner))
        taken.add(owner)
        outputs.append(owner)
    return tuple(outputs), copies
