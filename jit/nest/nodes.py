"""Fused loop nests: what one kernel of the fuser computes, as a small graph of nodes over loop counters.

``trace_nest`` (``nest/trace.py``) walks the equations of a group backwards from its roots, reading every value *at an index*.  Shaping
equations only rewrite the index, so they leave no node behind; what remains is

    Leaf    an element of a buffer              Point    a pointwise equation at one index
    Lit     a number                            Pick     one result of a Point with several
    Index   an index itself (iota, argmax)      Choose   one of two values (padding, concatenation)
    Fetch   an element of a buffer, at a place  Reduced  the result of one of the nest's own reductions
            that other nodes compute (gather)

A nest has a *domain* (the full iteration space) of which some dimensions may be reduced.  Values over the whole domain
are *full*; values over the kept dimensions are *rows*.  Values that need the result of a reduction over the same row
belong to a later *stage*: softmax has three (maximum; sum of exponentials; quotient).

``arrange`` (``nest/arrange.py``) then orders the loops, merges those that every access walks through as one, and picks the kind of kernel:

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

from fx.ir import Eqn, Var

from .index_map import Affine, Cond, dense_strides

__all__ = [
    "ROW", "Axis", "Choose", "Fetch", "Index", "Leaf", "Lit", "Nest", "NestReduction", "NestStore", "Node", "Pick", "Point", "Reduced", "Root",
    "children", "walk",
]  # fmt: skip

ROW = -1  # a pseudo atom: the value exists only once a row has been entered


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


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis along which a ``Fetch`` moves: the greatest index, and how far apart elements lie."""

    limit: int
    stride: int


@dataclass(frozen=True, slots=True, eq=False)
class Fetch(_Node):
    """``var[at + sum(clip(index, 0, limit) * stride)]``: an index for each of the axes.

    at: what the loop counters alone say of the place; in bounds, whatever the indices are, where ``conds`` hold.
    wraps: negative indices count from the end.  fill: the value where an index had to be clipped, or None: no such value.
    """

    var: Var
    at: Affine
    conds: tuple[Cond, ...]
    index: tuple[Node, ...]
    axes: tuple[Axis, ...]
    wraps: bool
    fill: Any
    flops: int
    dtype: np.dtype
    atoms: frozenset[int]
    stage: int


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


Node = Union[Leaf, Fetch, Lit, Index, Point, Pick, Choose, Reduced]


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
    if isinstance(node, Fetch):
        return node.index
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
