"""Tracing of a fused nest: the equations of a group, walked backwards from its roots, as nodes over loop counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fx.errors import GraphError
from fx.ir import Atom, Eqn, Literal, Var

from ..cost import flops_per_element
from ..lower.copies import filling
from ..lower.reductions import REDUCTIONS, reduced_axes
from ..lower.registry import POINTWISE, Operand
from ..lower.shaping import SHAPING
from .arrange import arrange
from .index_map import ZERO, Affine, Cond, Opaque, SplitAtom, dense_strides, linearize
from .nodes import (
    ROW,
    Axis,
    Choose,
    Fetch,
    Index,
    Leaf,
    Lit,
    Nest,
    NestReduction,
    NestStore,
    Node,
    Pick,
    Point,
    Reduced,
    Root,
)

__all__ = ["Reader", "Sources", "trace_nest"]

MAX_NODES = 256


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
        if name == "gather":
            return self._fetch(eqn, index, conds)
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

    def _fetch(self, eqn: Eqn, index: tuple[Affine, ...], conds: tuple[Cond, ...]) -> Node:
        """An element of a gather: where the slices start, as nodes; where in the slice, as an index map."""
        offset_dims, collapsed, index_map, x_batch, index_batch = eqn.params["dimension_numbers"]
        indices, out = eqn.inputs[1], eqn.outputs[0].aval
        owner, x = self._in_memory(eqn.inputs[0])
        inner = [i for d, i in enumerate(index) if d in offset_dims]
        which = tuple(i for d, i in enumerate(index) if d not in offset_dims)
        slices = [d for d in range(len(x.shape)) if d not in collapsed and d not in x_batch]
        along = [which[d] for d in index_batch]
        strides = [x.strides[d] for d in (*slices, *x_batch)]
        at = linearize([*inner, *along], strides, x.offset)
        limits = [x.shape[d] - eqn.params["slice_sizes"][d] for d in index_map]
        fills = eqn.params["mode"] == "fill"
        axes, parts = [], []
        for j, (d, limit) in enumerate(zip(index_map, limits)):
            if limit or fills:  # else there is one place to start at
                axes.append(Axis(limit, x.strides[d]))
                parts.append(self.read(indices, (*which, Affine(j)), conds))
        lo, hi = at.bounds(self.sizes)
        reach = [a.limit * a.stride for a in axes]
        lo, hi = lo + sum(n for n in reach if n < 0), hi + sum(n for n in reach if n > 0)
        if at.den == 1 and lo >= 0 and hi < owner.aval.size:
            conds = ()
        atoms = frozenset(a for m in (at, *(c.at for c in conds)) for a, _ in m.terms).union(*(p.atoms for p in parts))
        fill = filling(eqn.params["fill_value"], out.dtype) if fills and axes else None
        stage = max((p.stage for p in parts), default=0)
        cost = flops_per_element(eqn)
        return Fetch(
            owner, at, conds, tuple(parts), tuple(axes), "wraps" in eqn.params, fill, cost, out.dtype, atoms, stage
        )

    def _in_memory(self, atom: Atom) -> tuple[Var, Operand]:
        """What an atom is a strided view of, and the view."""
        if not isinstance(atom, Var) or self.sources.buffers.get(atom) in self.own:
            raise Opaque("a gather from where its operand is computed")
        owner = self.sources.buffers.get(atom)
        if owner is not None:
            shape = atom.aval.shape
            return owner, Operand(0, shape, dense_strides(shape), 0, atom.aval.dtype)
        eqn, k = self.sources.producers[atom]
        owner, x = self._in_memory(eqn.inputs[k])
        view = SHAPING[eqn.prim.name].view(eqn, k, x) if eqn.prim.name in SHAPING else None
        if view is None:
            raise GraphError(f"{eqn.prim.name} is no strided view of its operand")
        return owner, view

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
