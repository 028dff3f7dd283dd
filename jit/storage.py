"""Which values of a graph lie in memory.

Graph outputs, operands and results of library operations and results of reductions do.  An elementwise value does only
if it is used in several places and is dear to compute again; every other one is *inlined*: computed where it is read.
The result of a reshape lies in the memory of its operand.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from fx.errors import GraphError, LoweringError
from fx.ir import Eqn, Graph, Literal, Var
from fx.sizes import plain

from .cost import CHEAP, flops_per_element
from .gathers import fetched, only_indices
from .lower.reductions import REDUCTIONS, reduced_axes
from .lower.registry import LOWERINGS, POINTWISE, Operand
from .lower.shaping import ALIASES, SHAPING
from .nest.index_map import dense_strides

__all__ = [
    "CALLBACKS",
    "SMALL",
    "Storage",
    "in_parts",
    "is_reduction",
    "kind_of",
    "live_equations",
    "significant",
    "view_of",
]

CALLBACKS = frozenset({"pure_callback", "io_callback", "debug_callback"})
SMALL = 4096  # elements: below, a kernel costs as much to start as to run
SHORT_ROW = 64  # elements: what is computed once a row is worth storing for shorter rows
MAX_CHOICES = 8  # operands of a concatenation that is a choice of values
MAX_LEAVES = 10  # arrays that one expression reads
FEWER = 16  # times: arrays of so many fewer elements than a value come from the caches when it is computed again
MAX_INLINED = 48  # equations in one expression
_INLINED = ("pointwise", "shaping", "fetch")  # the kinds of equations that are computed where they are read


def kind_of(eqn: Eqn) -> str:
    """'pointwise', 'shaping', 'reduction', 'library' or 'callback'.

    Raises:
        LoweringError: for a primitive that has no lowering.
    """
    name = eqn.prim.name
    for kind, table in (
        ("shaping", SHAPING),
        ("reduction", REDUCTIONS),
        ("pointwise", POINTWISE),
        ("library", LOWERINGS),
    ):
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


def in_parts(eqn: Eqn) -> bool:
    """A concatenation each of whose operands is computed straight into its place; a small one is a choice of values."""
    return eqn.prim.name == "concatenate" and (eqn.outputs[0].aval.size > SMALL or len(eqn.inputs) > MAX_CHOICES)


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


class Storage:
    """Decides which variables lie in memory; ``owners`` maps each of those to the one that owns the memory."""

    def __init__(self, graph: Graph, eqns: tuple[Eqn, ...], fuse: bool, forced: dict[Var, str]) -> None:
        self.graph = graph
        self.eqns = eqns
        self.producers = {v: (e, k) for e in eqns for k, v in enumerate(e.outputs)}
        self.users: dict[Var, list[Eqn]] = {}
        for eqn in eqns:
            for a in dict.fromkeys(eqn.inputs):
                if isinstance(a, Var):
                    self.users.setdefault(a, []).append(eqn)
        self.fetched = fetched(eqns, self.users, self.producers) if fuse else {}
        self.kinds = {id(e): "fetch" if id(e) in self.fetched else kind_of(e) for e in eqns}
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
            elif kind == "fetch":
                self.store(self.view_base(eqn.inputs[0]), f"{name} reads it at computed places")  # type: ignore[arg-type]
            elif in_parts(eqn) and not self._is_taken_apart(eqn):
                self.store(eqn.outputs[0], "each part is written into its place")
            elif not fuse:
                for v in eqn.outputs:
                    self.store(v, "fusion is off")
        if fuse:
            self._share()

    def _is_taken_apart(self, concatenation: Eqn) -> bool:
        """Whether each of those who read a concatenation reads one of its parts alone."""
        users = self.users.get(concatenation.outputs[0], ())
        if only_indices(concatenation, users, self.fetched):
            return True
        if not users or any(u.prim.name != "slice" for u in users):
            return False
        d, bounds = concatenation.params["dimension"], [0]
        for x in concatenation.inputs:
            bounds.append(bounds[-1] + x.aval.shape[d])
        slices = [(u.params["start_indices"][d], u.params["limit_indices"][d]) for u in users]
        return all(any(a <= lo and hi <= b for a, b in itertools.pairwise(bounds)) for lo, hi in slices)

    def view_base(self, var: Var) -> Var:
        """The variable whose memory a library operation reads for ``var``, through strided views."""
        chain: list[tuple[Eqn, int, Var]] = []
        base = var
        while base in self.producers and base not in self.stored:
            eqn, k = self.producers[base]
            if (
                eqn.prim.name not in SHAPING
                or not eqn.inputs
                or not isinstance(eqn.inputs[min(k, len(eqn.inputs) - 1)], Var)
            ):
                break
            chain.append((eqn, k, base))
            base = eqn.inputs[k]  # type: ignore[assignment]
        while chain:  # the longest suffix of the chain that strides can express
            x: Operand | None = Operand(0, base.aval.shape, dense_strides(base.aval.shape), 0, base.aval.dtype)
            for eqn, k, _ in reversed(chain):
                if x is None:
                    break
                x = SHAPING[eqn.prim.name].view(eqn, k, x)
            if x is not None:
                return base
            base = chain.pop()[2]
        return base

    # ------------------------------------------------------------------ values of several uses

    def _share(self) -> None:
        """Stores elementwise values that are dear and used by several stored values; from the outputs backwards.

        Backwards, it is not known yet what else will be stored: a second look, forwards, takes back what is cheap to compute from that.
        """
        users = self.users
        before = set(self.stored)
        cost, leaves = self._cones({})
        cut = self.stored - before
        readers: dict[Var, set[object]] = {}
        chosen: dict[Var, int] = {}
        for eqn in reversed(self.eqns):
            for var in eqn.outputs:
                through = [self._readers_through(user, readers) for user in users.get(var, ())]
                if apart := _in_slices_apart(users.get(var, ())):  # no element is computed for two of them
                    through = [max(through, key=len)]
                readers[var] = found = set().union(*through)
                if var in cut:
                    chosen[var] = len(found)
                if var in self.stored or self.kinds[id(eqn)] not in _INLINED:
                    continue
                if why := self._worth_storing(var, len(found), users.get(var, ()), cost[var], leaves[var]):
                    self.store(var, why)
                    if eqn.prim.name not in ALIASES:
                        chosen[var] = len(found)
                else:
                    where = " by each of the slices side by side" if apart else ""
                    self.decisions[var] = f"inlined: {self._why_inlined(len(found), cost[var])}{where}"
                    if id(eqn) in self.fetched:
                        self.decisions[var] += f"; {self.fetched[id(eqn)]}"
        if chosen:
            self._cones(chosen)

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

    def _worth_storing(
        self, var: Var, readers: int, users: Iterable[Eqn], cost: int, leaves: frozenset[Var]
    ) -> str | None:
        """Why ``var`` is stored, or None.

        What is computed from one array, and from vectors that are broadcast over it, is read as fast as it would be if it were
        stored: a normalised image is not kept beside the image.
        """
        if var.aval.size == 0:
            return None
        if readers > 1:
            n = len(leaves)
            if n > 1 and cost <= CHEAP:
                n = sum(a.aval.size * FEWER >= var.aval.size for a in leaves)
            if cost > CHEAP or n > 2 or (n == 2 and readers > 2):
                return f"read in {readers} places and dear to repeat ({cost} flops, {n} arrays)"
        if cost <= CHEAP or var.aval.size == 1:
            return None
        for user in users:
            if user.prim.name == "gather" and self.kinds[id(user)] == "fetch" and user.inputs[1] is var:
                k = var.aval.shape[-1]
                if (times := user.outputs[0].aval.size * k // var.aval.size) > 1 and not _leads_rows(user):
                    return f"a gather of slices would compute it {plain(times)} times ({cost} flops)"
            if user.prim.name == "broadcast_in_dim" and (times := user.outputs[0].aval.size // var.aval.size) > 1:
                if not _along_rows(user):
                    return f"broadcasting would compute it {plain(times)} times ({cost} flops)"
                if times < SHORT_ROW:
                    return f"dear ({cost} flops) and broadcast over short rows"
        return None

    def _cones(self, chosen: Mapping[Var, int]) -> tuple[dict[Var, int], dict[Var, frozenset[Var]]]:
        """For each variable: the flops of computing one element from what is stored, and the arrays that it reads.

        What would become too large an expression is stored on the way.

        chosen: what is stored because it is read in so many places and is dear.  What it is computed from may be stored as well by now,
        and it is cheap: then it is not stored.
        """
        cost: dict[Var, int] = {}
        leaves: dict[Var, frozenset[Var]] = {}
        depth: dict[Var, int] = {}
        users = self.users
        reads: set[Var] = set()  # what is computed from a gather that is not in memory
        for eqn in self.eqns:
            fetch = self.kinds[id(eqn)] == "fetch"
            index = eqn.inputs[1] if fetch else None
            if isinstance(index, Var) and index in reads:
                self.store(index, "a gather by it would wait for another one")
                cost[index], leaves[index], depth[index] = 0, frozenset([index]), 0
            costs = self.kinds[id(eqn)] in ("pointwise", "fetch")
            total, below = flops_per_element(eqn) if costs else 0, frozenset[Var]()
            n, late = 1, fetch
            for a in dict.fromkeys(eqn.inputs):
                if isinstance(a, Var):
                    if a in cost and (why := self._worth_storing(a, 1, [eqn], cost[a], leaves[a])):
                        self.store(a, why)  # whoever reads it, so that what is computed from it costs no more than that
                    inlined = a in cost and a not in self.stored
                    n += depth[a] if inlined else 0
                    total += cost[a] if inlined else 0
                    late |= inlined and a in reads
                    below |= leaves[a] if inlined else frozenset([a] if a.aval.size > 1 else [])
            for v in eqn.outputs:
                cost[v], leaves[v], depth[v] = min(total, 10_000), below, n
                if late:
                    reads.add(v)
                long = n > MAX_INLINED or len(below) > MAX_LEAVES
                if v in chosen and not long and not self._worth_storing(v, chosen[v], users.get(v, ()), cost[v], below):
                    self.stored.discard(v)
                    self.decisions[v] = f"inlined: {self._why_inlined(chosen[v], cost[v])}, from what is stored"
                if long and self.kinds[id(eqn)] in _INLINED:
                    self.store(v, f"an expression of {n} equations on {len(below)} arrays is cut here")
        return cost, leaves


def _in_slices_apart(users: Sequence[Eqn]) -> bool:
    """Whether a value is read in two or more slices that have no element in common."""
    if len(users) < 2 or any(u.prim.name != "slice" for u in users):
        return False
    boxes = [tuple(zip(u.params["start_indices"], u.params["limit_indices"])) for u in users]
    return all(
        any(b <= c or d <= a for (a, b), (c, d) in zip(one, other)) for one, other in itertools.combinations(boxes, 2)
    )


def _leads_rows(gather: Eqn) -> bool:
    """Whether each index of a gather serves innermost dimensions only: then it is computed once a row."""
    offset_dims = gather.params["dimension_numbers"][0]
    real = [d for d, n in enumerate(gather.outputs[0].aval.shape) if n != 1]
    which = [d for d in real if d not in offset_dims]
    return which == real[: len(which)]


def _along_rows(broadcast: Eqn) -> bool:
    """Whether a broadcast repeats each value along innermost dimensions only: then it is computed once a row."""
    out, x = broadcast.outputs[0].aval, broadcast.inputs[0].aval
    mapped = {d for n, d in zip(x.shape, broadcast.params["broadcast_dimensions"]) if n != 1}
    real = [d for d, n in enumerate(out.shape) if n != 1]
    return mapped == set(real[: len(mapped)])


def view_of(
    storage_owners: dict[Var, Var], producers: dict[Var, tuple[Eqn, int]], var: Var, buffer: dict[Var, int]
) -> Operand:
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
