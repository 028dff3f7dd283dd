"""Fused loop nests: what one kernel of the fuser computes, as a small graph of nodes over loop counters.

``trace_nest`` walks the equations of a group backwards from its roots, reading every value *at an index*.  Shaping
equations only rewrite the index, so they leave no node behind; what remains is

    Leaf    an element of a buffer              Point    a pointwise equation at one index
    Lit     a number                            Pick     one result of a Point with several
    Index   an index itself (iota, argmax)      Choose   one of two values (padding, concatenation)
    Reduced the result of one of the nest's own reductions

A nest has a *domain* (the full iteration space) of which some dimensions may be reduced.  Values over the whole domain
are *full*; values over the kept dimensions are *rows*.  Values that need the result of a reduction over the same row
belong to a later *stage*: softmax has three (maximum; sum of exponentials; quotient).

``arrange`` then orders the loops, merges those that every access walks through as one, and picks the kind of kernel:

    map      no reduction; parallel over all elements
    rows     the innermost loop is reduced; parallel over rows, the stages of one row one after another
    columns  the innermost loop is kept; parallel over blocks of columns, rows accumulated into a block
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np

from fx.errors import GraphError
from fx.ir import Atom, Eqn, Literal, Var

from .cost import flops_per_element
from .index_map import ZERO, Affine, Cond, Opaque, SplitAtom, dense_strides, linearize
from .lower.reductions import REDUCTIONS, is_arg, reduced_axes
from .lower.registry import POINTWISE
from .lower.shaping import SHAPING

__all__ = [
    "ROW", "Choose", "Index", "Leaf", "Lit", "Nest", "NestReduction", "NestStore", "Node", "Pick", "Point", "Reader",
    "Reduced", "Root", "arrange", "children", "trace_nest", "walk",
]  # fmt: skip

ROW = -1  # a pseudo atom: the value exists only once a row has been entered
MAX_NODES = 256

# ------------------------------------------------------------------------------------------ nodes


class _Node:
    """``atoms``: the loop counters that the value depends on; ``stage``: the first stage at which it is known."""

    __slots__ = ()
    dtype: np.dtype
    atoms: frozenset[int]
    stage: int


@dataclass(frozen=True, slots=True, eq=False)
class Leaf(_Node):
    var: Var
    at: Affine
    conds: tuple[Cond, ...]
    dtype: np.dtype
    atoms: frozenset[int]
    stage: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Lit(_Node):
    value: Any
    dtype: np.dtype
    atoms: frozenset[int] = frozenset()
    stage: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Index(_Node):
    at: Affine
    dtype: np.dtype
    atoms: frozenset[int]
    stage: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Point(_Node):
    """``rule(b, eqn, *args)``; ``flops`` is the cost of one evaluation without its arguments."""

    rule: Callable[..., Any]
    eqn: Eqn | None
    args: tuple[Node, ...]
    name: str
    flops: int
    dtype: np.dtype
    atoms: frozenset[int]
    stage: int


@dataclass(frozen=True, slots=True, eq=False)
class Pick(_Node):
    point: Point
    k: int
    dtype: np.dtype
    atoms: frozenset[int]
    stage: int


@dataclass(frozen=True, slots=True, eq=False)
class Choose(_Node):
    """``yes`` where all conditions hold, else ``no``."""

    conds: tuple[Cond, ...]
    yes: Node
    no: Node
    dtype: np.dtype
    atoms: frozenset[int]
    stage: int


@dataclass(frozen=True, slots=True, eq=False)
class Reduced(_Node):
    reduction: NestReduction
    dtype: np.dtype
    atoms: frozenset[int]
    stage: int


Node = Union[Leaf, Lit, Index, Point, Pick, Choose, Reduced]


@dataclass(frozen=True, slots=True, eq=False)
class NestReduction:
    """``op`` over the reduced loops of ``values`` (argmax and argmin take the value and its position).

    ``acc`` is the dtype that accumulates, ``dtype`` that of the result.
    """

    op: str
    values: tuple[Node, ...]
    acc: np.dtype
    dtype: np.dtype
    stage: int


@dataclass(frozen=True, slots=True, eq=False)
class NestStore:
    """``var[at] = node``; ``full`` if the store lies inside the reduced loops."""

    var: Var
    at: Affine
    node: Node
    full: bool


@dataclass(frozen=True, slots=True)
class Root:
    """A variable that a nest computes.  It is written to ``dest`` (itself, or a concatenation that it is a part of)
    at ``offset + index . strides``; ``dest`` is None where no one outside the nest reads it."""

    var: Var
    dest: Var | None
    strides: tuple[int, ...]
    offset: int = 0

    @staticmethod
    def dense(var: Var) -> Root:
        return Root(var, var, dense_strides(var.aval.shape))

    def computes(self, buffers: dict[Var, Var]) -> bool:
        """False for a root that only copies a value which another group puts in memory."""
        return self.dest is None or self.dest is self.var or self.var not in buffers


@dataclass(frozen=True)
class Nest:
    """A traced and arranged nest.

    sizes: loop sizes in loop order; the first ``n_kept`` are kept, the others reduced (the ``columns`` kernel runs
        the last kept loop innermost).
    number: the loop of each traced atom; last: the traced atoms whose coefficient is that of their loop.
    """

    kind: str
    sizes: tuple[int, ...]
    n_kept: int
    stores: tuple[NestStore, ...]
    reductions: tuple[NestReduction, ...]
    number: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)
    _loops: dict[frozenset[int], frozenset[int]] = field(default_factory=dict, repr=False)

    @property
    def stages(self) -> int:
        return 1 + max([s.node.stage for s in self.stores if s.full] + [r.stage for r in self.reductions], default=0)

    @property
    def rows(self) -> int:
        return math.prod(self.sizes[: self.n_kept])

    @property
    def row_size(self) -> int:
        return math.prod(self.sizes[self.n_kept :])

    def at(self, a: Affine) -> Affine:
        """``a`` over the nest's loops instead of the traced atoms."""
        return a.renumber(self.last)

    def loops(self, node: Node) -> frozenset[int]:
        """The loops that a node depends on (``ROW`` stays)."""
        found = self._loops.get(node.atoms)
        if found is None:
            found = self._loops[node.atoms] = frozenset(ROW if a == ROW else self.number[a] for a in node.atoms)
        return found

    def targets(self) -> Iterator[Node]:
        for r in self.reductions:
            yield from r.values
        for s in self.stores:
            yield s.node


def children(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Point):
        return node.args
    if isinstance(node, Pick):
        return (node.point,)
    if isinstance(node, Choose):
        return (node.yes, node.no)
    return ()


def walk(targets: Iterator[Node] | Sequence[Node]) -> Iterator[Node]:
    """Every node below the targets once, arguments first."""
    seen: set[Node] = set()
    for target in targets:
        stack = [target]
        while stack:
            node = stack[-1]
            if node in seen:
                stack.pop()
                continue
            rest = [c for c in children(node) if c not in seen]
            if rest:
                stack += rest
            else:
                seen.add(node)
                stack.pop()
                yield node


# ---------------------------------------------------------------------------------------- tracing


@dataclass(frozen=True)
class Sources:
    """What a nest may read: ``buffers`` are the variables that lie in memory (or alias one that does), with the
    variable that owns the memory; ``producers`` say which equation makes every other one."""

    buffers: dict[Var, Var]
    producers: dict[Var, tuple[Eqn, int]]


class Reader:
    """Reads values at indices; given to the rules of ``lower/shaping.py``."""

    def __init__(
        self, sources: Sources, roots: tuple[Root, ...], domain: tuple[int, ...], reduced: frozenset[int],
        atoms: list[tuple[int, int]],
    ) -> None:  # fmt: skip
        self.sources = sources
        self.domain = domain
        self.reduced = reduced
        self.sizes = [n for _, n in atoms]
        self.dims = [self._dimension(p, atoms) for p in range(len(domain))]
        self.kept = [p for p in range(len(domain)) if p not in reduced]
        self.own = {r.var for r in roots if r.computes(sources.buffers)}
        self.row_atoms = frozenset(a for a, (p, _) in enumerate(atoms) if p not in reduced) | {ROW}
        self.reductions: list[NestReduction] = []
        self.identities: dict[tuple[int, ...], tuple[Affine, ...]] = {}
        self.memo: dict[Any, Node] = {}
        self.points: dict[Any, Point] = {}

    @staticmethod
    def _dimension(pos: int, atoms: list[tuple[int, int]]) -> Affine:
        terms, stride = [], 1
        for a in reversed(range(len(atoms))):
            if atoms[a][0] == pos:
                terms.append((a, stride))
                stride *= atoms[a][1]
        return Affine(0, tuple(sorted(terms)))

    def identity(self, shape: Sequence[int]) -> tuple[Affine, ...]:
        """The index at which a root of that shape is computed: the loop counters themselves."""
        shape = tuple(shape)
        if shape in self.identities:
            return self.identities[shape]
        sizes = tuple(s for s in shape if s != 1)
        if sizes == self.domain:
            positions = list(range(len(self.domain)))
        elif sizes == tuple(self.domain[p] for p in self.kept):
            positions = self.kept
        else:
            raise GraphError(f"a value of shape {shape} in a nest over {self.domain}, reduced {self.reduced}")
        it = iter(positions)
        self.identities[shape] = tuple(ZERO if s == 1 else self.dims[next(it)] for s in shape)
        return self.identities[shape]

    def is_full(self, shape: Sequence[int]) -> bool:
        return tuple(s for s in shape if s != 1) == self.domain

    # ------------------------------------------------------------------ used by the shaping rules

    def read(self, atom: Atom, index: tuple[Affine, ...], conds: tuple[Cond, ...] = ()) -> Node:
        """The element of ``atom`` at ``index``, which is in bounds wherever ``conds`` hold."""
        if isinstance(atom, Literal):
            return Lit(atom.value, atom.aval.dtype)
        key = (atom, index, conds)
        node = self.memo.get(key)
        if node is None:
            if len(self.memo) > MAX_NODES:
                raise Opaque(f"a kernel of more than {MAX_NODES} values")
            node = self.memo[key] = self._read(atom, index, conds)
        return node

    def index(self, at: Affine, dtype: np.dtype) -> Node:
        if not at.terms and at.den == 1:
            return Lit(np.asarray(at.const).astype(dtype)[()], dtype)
        return Index(at, dtype, frozenset(a for a, _ in at.terms))

    def holds(self, cond: Cond) -> bool | None:
        """True or False if the condition is the same for every iteration, else None."""
        lo, hi = cond.at.bounds(self.sizes)
        if hi < 0 or lo >= cond.limit:
            return False
        return True if lo >= 0 and hi < cond.limit and cond.modulus == 1 else None

    def choose(self, conds: Sequence[Cond], yes: Callable[[tuple[Cond, ...]], Node], no: Callable[[], Node]) -> Node:
        """``yes(open conditions)`` where the conditions hold, else ``no()``; decided here if it can be."""
        known = [self.holds(c) for c in conds]
        if any(k is False for k in known):
            return no()
        left = tuple(c for c, k in zip(conds, known) if k is None)
        if not left:
            return yes(())
        a, b = yes(left), no()
        atoms = a.atoms | b.atoms | frozenset(i for c in left for i, _ in c.at.terms)
        return Choose(left, a, b, a.dtype, atoms, max(a.stage, b.stage))

    # ------------------------------------------------------------------ reading equations

    def _read(self, var: Var, index: tuple[Affine, ...], conds: tuple[Cond, ...]) -> Node:
        owner = self.sources.buffers.get(var)
        if owner is not None and owner not in self.own:
            at = linearize(index, dense_strides(var.aval.shape))
            lo, hi = at.bounds(self.sizes)
            if at.den == 1 and lo >= 0 and hi < owner.aval.size:
                conds = ()  # it may be read even where it is not wanted
            atoms = frozenset(a for a, _ in at.terms) | frozenset(a for c in conds for a, _ in c.at.terms)
            return Leaf(owner, at, conds, var.aval.dtype, atoms)
        if var in self.own and index != self.identity(var.aval.shape):
            raise Opaque("a value of the kernel would be read at another place than it is computed")
        eqn, k = self.sources.producers[var]
        name = eqn.prim.name
        if name in SHAPING:
            try:
                return SHAPING[name].read(self, eqn, k, index, conds)
            except Opaque as e:
                e.culprit = e.culprit or eqn.inputs[min(k, len(eqn.inputs) - 1)]
                raise
        if name in REDUCTIONS:
            return self._reduction(eqn, index, conds)
        return self._point(eqn, k, index, conds)

    def _point(self, eqn: Eqn, k: int, index: tuple[Affine, ...], conds: tuple[Cond, ...]) -> Node:
        key = (id(eqn), index, conds)
        point = self.points.get(key)
        if point is None:
            args = tuple(self.read(x, index if x.aval.shape else (), conds) for x in eqn.inputs)
            point = self.points[key] = self.point(
                POINTWISE[eqn.prim.name], eqn, args, eqn.prim.name, flops_per_element(eqn), eqn.outputs[0].aval.dtype
            )
        if len(eqn.outputs) == 1:
            return point
        return Pick(point, k, eqn.outputs[k].aval.dtype, point.atoms, point.stage)

    @staticmethod
    def point(rule: Any, eqn: Eqn | None, args: tuple[Node, ...], name: str, flops: int, dtype: np.dtype) -> Point:
        atoms = frozenset().union(*(a.atoms for a in args)) if args else frozenset()
        return Point(rule, eqn, args, name, flops, dtype, atoms, max((a.stage for a in args), default=0))

    def _reduction(self, eqn: Eqn, index: tuple[Affine, ...], conds: tuple[Cond, ...]) -> Node:
        operand, out = eqn.inputs[0], eqn.outputs[0]
        axes = reduced_axes(eqn)
        shape = operand.aval.shape
        if operand.aval.size == 0:
            return Lit(REDUCTIONS[eqn.prim.name].identity(out.aval.dtype), out.aval.dtype)
        if all(shape[a] == 1 for a in axes):
            it = iter(index)
            return REDUCTIONS[eqn.prim.name].of_one(
                self, eqn, tuple(ZERO if a in axes else next(it) for a in range(len(shape))), conds
            )
        if out not in self.own or conds or index != self.identity(out.aval.shape):
            raise Opaque("the result of a reduction, read at another place than it is computed")
        full = self.identity(shape)
        return REDUCTIONS[eqn.prim.name].read(self, eqn, full)

    def reduce(self, op: str, values: tuple[Node, ...], acc: np.dtype, dtype: np.dtype) -> Reduced:
        """Adds a reduction over the reduced dimensions of the domain."""
        stage = max(v.stage for v in values)
        r = NestReduction(op, values, acc, dtype, stage)
        self.reductions.append(r)
        return Reduced(r, dtype, self.row_atoms, stage + 1)


def trace_nest(sources: Sources, roots: tuple[Root, ...], domain: tuple[int, ...], reduced: frozenset[int]) -> Nest:
    """Traces and arranges the nest that computes ``roots`` (in an order in which each depends on earlier ones only).

    Args:
        domain: sizes of the iteration space, without dimensions of size 1.
        reduced: positions in ``domain`` that the nest's reductions reduce.

    Raises:
        Opaque: some value cannot be read by an affine index; the message says which.
    """
    atoms = list(enumerate(domain))
    while True:
        reader = Reader(sources, roots, domain, reduced, atoms)
        try:
            stores = tuple(s for r in roots for s in [_store(reader, r)] if s is not None)
        except SplitAtom as split:
            pos, n = atoms[split.atom]
            atoms[split.atom : split.atom + 1] = [(pos, n // split.inner), (pos, split.inner)]
            continue
        return arrange(atoms, reduced, stores, tuple(reader.reductions))


def _store(reader: Reader, root: Root) -> NestStore | None:
    index = reader.identity(root.var.aval.shape)
    node = reader.read(root.var, index)
    if root.dest is None:
        return None
    return NestStore(root.dest, linearize(index, root.strides, root.offset), node, reader.is_full(root.var.aval.shape))


# ------------------------------------------------------------------------------------ arrangement


def arrange(
    atoms: list[tuple[int, int]], reduced: frozenset[int], stores: tuple[NestStore, ...],
    reductions: tuple[NestReduction, ...],
) -> Nest:  # fmt: skip
    """Orders and merges the loops of a traced nest and chooses the kind of kernel."""
    sizes = [n for _, n in atoms]
    kept = [a for a, (p, _) in enumerate(atoms) if p not in reduced]
    gone = [a for a, (p, _) in enumerate(atoms) if p in reduced]
    draft = Nest("", (), 0, stores, reductions)
    nodes = list(walk(draft.targets()))
    kind = "map" if not reductions else "rows" if gone[-1] > max(kept, default=-1) else "columns"
    in_order = len(gone) > 1 and any(is_arg(r.op) for r in reductions)  # the first of equals is wanted
    if reductions and draft.stages == 1 and not in_order:
        kind = _order_by_memory(nodes, sizes, kept, gone) or kind
    if kind == "columns" and (draft.stages > 1 or any(s.full and s.node.stage for s in stores)):
        raise Opaque("several stages over columns")
    maps = [x.at for x in nodes if isinstance(x, (Leaf, Index))] + [s.at for s in stores]
    maps += [c.at for x in nodes if isinstance(x, (Leaf, Choose)) for c in x.conds]
    number: dict[int, int] = {}
    last: dict[int, int] = {}
    final: list[int] = []
    n_kept = 0
    for group in (kept, gone):
        for run in _mergeable_runs(group, maps, sizes):
            last[run[-1]] = len(final)
            number.update({a: len(final) for a in run})
            final.append(math.prod(sizes[a] for a in run))
        if group is kept:
            n_kept = len(final)
    return Nest(kind, tuple(final), n_kept, stores, reductions, number, last)


def _order_by_memory(nodes: list[Node], sizes: list[int], kept: list[int], gone: list[int]) -> str | None:
    """Sorts the loops so that the largest array that is read is walked in the order of its memory; returns the kind."""

    def extent(leaf: Leaf) -> int:
        return math.prod(sizes[a] for a, _ in leaf.at.terms)

    leaves = [n for n in nodes if isinstance(n, Leaf) and n.at.terms]
    if not leaves:
        return None
    main = max(leaves, key=extent)
    stride = {a: abs(c) for a, c in main.at.terms}
    gone.sort(key=lambda a: -stride.get(a, 0))
    fastest = min(stride, key=lambda a: stride[a])
    if fastest in gone:
        return "rows"
    kept.remove(fastest)
    kept.append(fastest)
    return "columns"


def _mergeable_runs(group: list[int], maps: list[Affine], sizes: list[int]) -> list[list[int]]:
    """Neighbouring loops that every map walks as one."""
    runs: list[list[int]] = []
    for a in group:
        if runs and all(m.coef(runs[-1][-1]) == m.coef(a) * sizes[a] for m in maps):
            runs[-1].append(a)
        else:
            runs.append([a])
    return runs
