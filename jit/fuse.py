"""Graph -> FusionPlan.

Three passes, each recording its reasons:

1. ``_Storage``: which values lie in memory.  Graph outputs, operands and results of library operations and results of
   reductions do; an elementwise value only if it is used in several places and is dear to recompute.  Everything else
   is *inlined*: computed where it is read.
2. One group for each stored value: the nest that computes it, with all the inlined equations behind it.
3. ``_Merger``: groups over the same space become one kernel, if one reads the other's result at the place where it is
   computed, or if they read the same array.  What only the merged kernel reads is then not stored at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fx.errors import GraphError, LoweringError
from fx.ir import Atom, Eqn, Graph, Literal, Var

from .cost import CHEAP, FEW_ROWS, SPLIT_NS, flops_per_element, nanoseconds
from .index_map import Opaque, dense_strides
from .lower.reductions import REDUCTIONS, reduced_axes
from .lower.registry import LOWERINGS, POINTWISE, Operand
from .lower.shaping import ALIASES, SHAPING
from .nest import Leaf, Nest, Point, Root, Sources, trace_nest, walk
from .plan import FusionPlan, Group

__all__ = ["CALLBACKS", "fuse", "live_equations", "view_of"]

CALLBACKS = frozenset({"pure_callback", "debug_callback"})
SMALL = 4096  # elements: below, a kernel costs as much to start as to run
SHORT_ROW = 64
MAX_LEAVES = 10
MAX_INLINED = 120
MAX_ROOTS = 24
LOOK_BACK = 48  # how many groups back the merger looks for a sibling


def kind_of(eqn: Eqn) -> str:
    """'pointwise', 'shaping', 'reduction', 'library' or 'callback'.

    Raises:
        LoweringError: for a primitive that has no lowering.
    """
    name = eqn.prim.name
    for kind, table in (("shaping", SHAPING), ("reduction", REDUCTIONS), ("pointwise", POINTWISE), ("library", LOWERINGS)):
        if name in table:
            return kind
    if name in CALLBACKS:
        return "callback"
    where = f" at {eqn.source}" if eqn.source else ""
    raise LoweringError(
        f"primitive {name!r}{where} has no native lowering: found neither a @pointwise nor a @lowers rule for it in"
        " jit/lower. Give it one, or evaluate the function without jit."
    )


def is_reduction(eqn: Eqn) -> bool:
    """A reduction that has something to reduce (over axes of size 1, or of no elements, it is elementwise)."""
    if eqn.prim.name not in REDUCTIONS or eqn.inputs[0].aval.size == 0:
        return False
    return any(eqn.inputs[0].aval.shape[a] != 1 for a in reduced_axes(eqn))


def live_equations(graph: Graph) -> tuple[Eqn, ...]:
    """The equations that an output or an effect needs."""
    needed = {a for a in graph.outputs if isinstance(a, Var)}
    keep: list[Eqn] = []
    for eqn in reversed(graph.eqns):
        if eqn.effect or eqn.prim.name == "debug_callback" or any(v in needed for v in eqn.outputs):
            keep.append(eqn)
            needed.update(a for a in eqn.inputs if isinstance(a, Var))
    return tuple(reversed(keep))


def significant(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(s for s in shape if s != 1)


# ------------------------------------------------------------------------------- what is stored


class _Storage:
    """Decides which variables lie in memory; ``owners`` maps each of those to the one that owns the memory."""

    def __init__(self, graph: Graph, eqns: tuple[Eqn, ...], fuse: bool, forced: dict[Var, str]) -> None:
        self.graph = graph
        self.eqns = eqns
        self.producers = {v: (e, k) for e in eqns for k, v in enumerate(e.outputs)}
        self.kinds = {id(e): kind_of(e) for e in eqns}
        self.stored: set[Var] = set()
        self.decisions: dict[Var, str] = {}
        self.owners: dict[Var, Var] = {v: v for v in graph.inputs}
        for v, why in forced.items():
            self.store(v, why)
        self._decide(fuse)
        for v in self.producers:
            self._own(v)

    def store(self, var: Var, reason: str) -> None:
        """Puts ``var`` in memory; the result of a reshape lends that of its operand."""
        while var in self.producers:
            eqn, k = self.producers[var]
            if eqn.prim.name not in ALIASES or isinstance(eqn.inputs[k], Literal):
                break
            var = eqn.inputs[k]  # type: ignore[assignment]
        if var in self.producers and var not in self.stored:
            self.stored.add(var)
            self.decisions[var] = f"stored: {reason}"

    def _own(self, var: Var) -> None:
        """In equation order: the owner of a stored variable, or of an alias of one."""
        eqn, k = self.producers[var]
        if var in self.stored:
            self.owners[var] = var
        elif eqn.prim.name in ALIASES and eqn.inputs[k] in self.owners:
            self.owners[var] = self.owners[eqn.inputs[k]]  # type: ignore[index]
            self.decisions[var] = "a reshape: the same memory"

    def _decide(self, fuse: bool) -> None:
        for a in self.graph.outputs:
            if isinstance(a, Var):
                self.store(a, "an output of the graph")
        for eqn in self.eqns:
            name, kind = eqn.prim.name, self.kinds[id(eqn)]
            if kind in ("library", "callback"):
                for v in eqn.outputs:
                    self.store(v, f"the result of {name}")
                for a in eqn.inputs:
                    if isinstance(a, Var):
                        self.store(self.view_base(a), f"{name} reads it from memory")
            elif is_reduction(eqn):
                self.store(eqn.outputs[0], f"the result of {name}")
            elif name == "concatenate" and eqn.outputs[0].aval.size > SMALL:
                self.store(eqn.outputs[0], "each part is written into its place")
            elif not fuse:
                for v in eqn.outputs:
                    self.store(v, "fusion is off")
        if fuse:
            self._share()

    def view_base(self, var: Var) -> Var:
        """The variable whose memory a library operation reads for ``var``, through strided views."""
        chain: list[tuple[Eqn, int, Var]] = []
        base = var
        while base in self.producers and base not in self.stored:
            eqn, k = self.producers[base]
            if eqn.prim.name not in SHAPING or not eqn.inputs or not isinstance(eqn.inputs[min(k, len(eqn.inputs) - 1)], Var):
                break
            chain.append((eqn, k, base))
            base = eqn.inputs[k]  # type: ignore[assignment]
        while chain:  # the longest suffix of the chain that strides can express
            x: Operand | None = Operand(0, base.aval.shape, dense_strides(base.aval.shape), 0, base.aval.dtype)
            for eqn, k, _ in reversed(chain):
                x = SHAPING[eqn.prim.name].view(eqn, k, x)
                if x is None:
                    break
            if x is not None:
                return base
            base = chain.pop()[2]
        return base

    # ------------------------------------------------------------------ values of several uses

    def _share(self) -> None:
        """Stores elementwise values that are dear and used by several stored values; from the outputs backwards."""
        users: dict[Var, list[Eqn]] = {}
        for eqn in self.eqns:
            for a in dict.fromkeys(eqn.inputs):
                if isinstance(a, Var):
                    users.setdefault(a, []).append(eqn)
        cost, leaves = self._cones()
        readers: dict[Var, set[object]] = {}
        for eqn in reversed(self.eqns):
            for var in eqn.outputs:
                found: set[object] = set()
                for user in users.get(var, ()):
                    found |= self._readers_through(user, readers)
                readers[var] = found
                if var in self.stored or self.kinds[id(eqn)] not in ("pointwise", "shaping"):
                    continue
                if why := self._worth_storing(var, len(found), users.get(var, ()), cost[var], len(leaves[var])):
                    self.store(var, why)
                else:
                    self.decisions[var] = f"inlined: {self._why_inlined(len(found), cost[var])}"

    def _readers_through(self, user: Eqn, readers: dict[Var, set[object]]) -> set[object]:
        """Where a value is read through one of its users: stored values, told apart by the index maps on the way."""
        found: set[object] = set()
        for w in user.outputs:
            found |= {w} if w in self.stored or w not in readers else readers[w]
        if user.prim.name in SHAPING and user.prim.name not in ALIASES and user.prim.name != "broadcast_in_dim":
            return {(id(user), r) for r in found}
        return found or {user}

    @staticmethod
    def _why_inlined(readers: int, cost: int) -> str:
        return "read once" if readers <= 1 else f"cheap to repeat ({cost} flops) in {readers} places"

    @staticmethod
    def _worth_storing(var: Var, readers: int, users: Iterable[Eqn], cost: int, leaves: int) -> str | None:
        if var.aval.size == 0:
            return None
        if readers > 1 and (cost > CHEAP or leaves > 2 or (leaves == 2 and readers > 2)):
            return f"read in {readers} places and dear to repeat ({cost} flops, {leaves} arrays)"
        if cost <= CHEAP or var.aval.size == 1:
            return None
        for user in users:
            if user.prim.name == "broadcast_in_dim" and (times := user.outputs[0].aval.size // var.aval.size) > 1:
                if not _along_rows(user):
                    return f"broadcasting would compute it {times} times ({cost} flops)"
                if times < SHORT_ROW:
                    return f"dear ({cost} flops) and broadcast over short rows"
        return None

    def _cones(self) -> tuple[dict[Var, int], dict[Var, frozenset[Var]]]:
        """For each variable: the flops of computing one element from what is stored, and the arrays that it reads.

        What would become too large an expression is stored on the way.
        """
        cost: dict[Var, int] = {}
        leaves: dict[Var, frozenset[Var]] = {}
        depth: dict[Var, int] = {}
        for eqn in self.eqns:
            total, below = flops_per_element(eqn) if self.kinds[id(eqn)] == "pointwise" else 0, frozenset[Var]()
            n = 1
            for a in dict.fromkeys(eqn.inputs):
                if isinstance(a, Var):
                    inlined = a in cost and a not in self.stored
                    n += depth[a] if inlined else 0
                    total += cost[a] if inlined else 0
                    below |= leaves[a] if inlined else frozenset([a] if a.aval.size > 1 else [])
            for v in eqn.outputs:
                cost[v], leaves[v], depth[v] = min(total, 10_000), below, n
                if self.kinds[id(eqn)] == "pointwise" and v.aval.size and (n > MAX_INLINED or len(below) > MAX_LEAVES):
                    self.store(v, f"an expression of {n} equations on {len(below)} arrays is cut here")
        return cost, leaves


def _along_rows(broadcast: Eqn) -> bool:
    """Whether a broadcast repeats each value along innermost dimensions only: then it is computed once a row."""
    out, x = broadcast.outputs[0].aval, broadcast.inputs[0].aval
    mapped = {d for n, d in zip(x.shape, broadcast.params["broadcast_dimensions"]) if n != 1}
    real = [d for d, n in enumerate(out.shape) if n != 1]
    return mapped == set(real[: len(mapped)])


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

    def __init__(self, storage: _Storage, outputs: Sequence[tuple[Atom, Var]], fuse: bool) -> None:
        self.storage = storage
        self.sources = Sources(storage.owners, storage.producers)
        self.position = {id(e): n for n, e in enumerate(storage.eqns)}
        self.fuse = fuse
        self.forced: dict[Var, str] = {}
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
            if eqn.prim.name == "concatenate" and eqn.outputs[0].aval.size > SMALL:
                drafts += self._parts(n, eqn)
            elif is_reduction(eqn):
                shape, axes = eqn.inputs[0].aval.shape, reduced_axes(eqn)
                real = [a for a in range(len(shape)) if shape[a] != 1]
                reduced = frozenset(p for p, a in enumerate(real) if a in axes)
                drafts.append(self._nest(n, [Root.dense(roots[0])], significant(shape), reduced))
            else:
                for same in _by_shape(roots):
                    drafts.append(self._nest(n, [Root.dense(v) for v in same], significant(same[0].aval.shape), frozenset()))
        return drafts

    def _whole(self, kind: str, n: int, eqn: Eqn) -> _Draft:
        bases = [self.storage.view_base(a) for a in eqn.inputs if isinstance(a, Var)]
        needs = frozenset(self.storage.owners[b] for b in bases)
        return _Draft(kind, n, (eqn,), needs, eqn.outputs, reasons=(f"{eqn.prim.name} has a loop structure of its own",))

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
                needs.add(owner)
                continue
            eqn, _ = producers[a]
            eqns[self.position[id(eqn)]] = eqn
            stack += eqn.inputs
        return tuple(eqns[k] for k in sorted(eqns)), frozenset(needs)

    # ------------------------------------------------------------------ merging

    def _place(self, new: _Draft) -> None:
        """Appends a group, or joins it to a placed one; then takes in groups that only it reads."""
        k = self._join(new) if self.fuse and new.kind == "nest" else None
        if k is None:
            k = len(self.placed)
            self.placed.append(new)
        if self.fuse and new.kind == "nest":
            self._absorb(k)

    def _makers(self, g: _Draft, before: int) -> list[int]:
        return [k for k in range(before) if not g.needs.isdisjoint(self.placed[k].makes)]

    def _join(self, new: _Draft) -> int | None:
        """Merges ``new`` into a placed group behind which nothing stands that ``new`` needs; returns its position."""
        makers = self._makers(new, len(self.placed))
        first = max(makers, default=-1)
        if makers and self._merge(first, new, "it reads the result where it is computed"):
            return first
        for k in range(len(self.placed) - 1, max(first, len(self.placed) - LOOK_BACK, -1), -1):
            g = self.placed[k]
            if g.kind == "nest" and self._worth_joining(g, new) and self._merge(k, new, "both read the same array", True):
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
        roots = g.roots + new.roots
        if len(roots) > MAX_ROOTS:
            raise Opaque(f"a kernel of more than {MAX_ROOTS} results")
        nest = self._trace(roots, domain, reduced)
        self._check_stages(nest)
        eqns, needs = self._cone(roots)
        makes = tuple(dict.fromkeys(g.makes + new.makes))
        reason = f"{_names(new)} joins {_names(g)}: {why}"
        return _Draft("nest", max(g.order, new.order), eqns, needs, makes, roots, domain, reduced, nest, (*g.reasons, *new.reasons, reason))

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
    return "x".join(map(str, domain)) or "scalar"


def splits(nest: Nest) -> bool:
    """Whether a reduction has too few rows for its work, so that it is cut into partial results."""
    return nest.kind == "rows" and nest.rows < FEW_ROWS and work(nest) > SPLIT_NS


def work(nest: Nest) -> float:
    """Nanoseconds, guessed, of one pass over the domain on one core."""
    flops = nbytes = 0
    for node in walk(list(nest.targets())):
        if isinstance(node, Point):
            flops += node.flops
        elif isinstance(node, Leaf):
            nbytes += node.dtype.itemsize
    return nest.rows * nest.row_size * nanoseconds(flops + len(nest.reductions), nbytes)


def view_of(storage_owners: dict[Var, Var], producers: dict[Var, tuple[Eqn, int]], var: Var, buffer: dict[Var, int]) -> Operand:
    """``var`` as strides over the memory of the variable that it is a view of."""
    owner = storage_owners.get(var)
    if owner is not None:
        return Operand(buffer[owner], var.aval.shape, dense_strides(var.aval.shape), 0, var.aval.dtype)
    eqn, k = producers[var]
    x = view_of(storage_owners, producers, eqn.inputs[k], buffer)  # type: ignore[arg-type]
    view = SHAPING[eqn.prim.name].view(eqn, k, x)
    if view is None:
        raise GraphError(f"{eqn.prim.name} is no strided view of its operand")
    return view


# ------------------------------------------------------------------------------- the whole


def fuse(graph: Graph, enabled: bool = True) -> FusionPlan:
    """Plans the kernels of a graph.

    Args:
        enabled: False gives one kernel for each equation (for tests).

    Raises:
        LoweringError: for a primitive without a lowering; the message names it and the user's line.
    """
    forced: dict[Var, str] = {}
    eqns = live_equations(graph)
    while True:
        storage = _Storage(graph, eqns, enabled, forced)
        outputs, copies = _output_owners(graph, storage)
        grouper = _Grouper(storage, copies, enabled)
        groups = grouper.groups(frozenset(o for o in outputs if isinstance(o, Var)))
        if not grouper.forced:
            return FusionPlan(graph, groups, storage.owners, outputs, storage.decisions).verify()
        if not grouper.forced.keys().isdisjoint(forced):
            raise GraphError(f"these must be stored to be read, and are: {list(grouper.forced.values())}")
        forced |= grouper.forced


def _output_owners(graph: Graph, storage: _Storage) -> tuple[tuple[Var | Literal, ...], list[tuple[Atom, Var]]]:
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
