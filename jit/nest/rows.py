"""Reductions over the innermost loops, several stages to a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from fx import dtypes
from fx.ir import Var

from ..cost import chunk_for
from ..loop_ir import Const, Expr, Ref, b1, i64, lift, minimum, select
from ..lower.context import Builder
from ..lower.reductions import COMBINE, ahead, identity_of, is_arg, is_hit, nowhere, short_of, widen
from ..lower.registry import Items, Value
from ..lower.types import ty_of
from .bypass import innermost
from .emitter import Emitter, literal
from .index_map import Affine, dense_strides
from .items import touched_by_rows
from .nodes import ROW, Choose, Fetch, Nest, NestReduction, NestStore, Node, Point, Reduced, children, walk

__all__ = ["BLOCK", "DEAR", "Kept", "Reducing", "RowsKernel", "Split", "is_full", "several", "starting_values"]

SEARCH = 128  # elements that are searched at a time for an extreme value which is among them
BLOCK = 4096  # elements whose float sum is taken before it is added to the sum of the row: bounds the rounding error
DEAR = 8  # flops from which a value of an earlier stage is kept for the row instead of computed again


@dataclass(frozen=True)
class Split:
    """A reduction cut in blocks of ``size`` iterations of its first reduced loop; results go to ``partials``."""

    count: int
    size: int
    partials: dict[NestReduction, tuple[Var, ...]]


def starting_values(r: NestReduction) -> list[Expr]:
    """The accumulators of a reduction over nothing: one, the parts of a complex number, or a value and its position."""
    start = literal(identity_of(r.op[3:] if is_arg(r.op) else r.op, r.acc), r.acc)
    parts = list(start) if isinstance(start, tuple) else [start]
    return [*parts, lift(nowhere(ty_of(r.dtype)), ty_of(r.dtype))] if is_arg(r.op) else parts


class Reducing(Emitter):
    """What kernels with reductions share.

    split: given where the first reduced loop is cut; the kernel then stores partial results.
    stands_for: the reductions whose results those of this nest are (it combines partial results).
    """

    def __init__(
        self, ctx: Builder, nest: Nest, name: str, split: Split | None, stands_for: dict[NestReduction, NestReduction]
    ) -> None:
        super().__init__(ctx, nest, name)
        self.split = split
        self.stands_for = stands_for
        self.readers: dict[NestReduction, list[Reduced]] = {}
        for node in walk(list(nest.targets())):
            if isinstance(node, Reduced):
                self.readers.setdefault(node.reduction, []).append(node)

    def piece(self, piece: Expr) -> tuple[tuple[Expr, Expr], Expr]:
        """The bounds of the first reduced loop in a piece, and what is left of its number."""
        assert self.split is not None
        b, count = self.b, self.integer("pieces", self.split.count)
        size = self.integer("piece_size", self.split.size)
        start = b.let("start", (piece % count) * size)
        stop = b.let("stop", minimum(start + size, self.size(self.nest.n_kept)))
        return (start, stop), b.let("row", piece // count)

    def results(self, r: NestReduction, result: Value) -> None:
        """Makes the result of a reduction known to the nodes that read it."""
        for node in self.readers.get(self.stands_for.get(r, r), ()):
            self.scope_of(self.nest.loops(node)).values[node] = result

    def accumulators(self, r: NestReduction) -> list[Expr]:
        return [self.b.var(r.op, v) for v in starting_values(r)]

    def nested(
        self, loops: list[int], bounds: tuple[Expr, Expr] | None, body: Callable[[], None],
        blocked: dict[NestReduction, list[Expr]] | None, stores: Sequence[NestStore] = (),
    ) -> None:  # fmt: skip
        """The loops of a row around ``body``, which has ``stores``; the last one vectorised, in blocks if it adds up many numbers."""
        k = loops[0]
        start, stop = bounds or (lift(0, i64), self.size(k))
        if len(loops) > 1:
            with self.loop(k, start, stop):
                self.nested(loops[1:], None, body, blocked, stores)
        elif blocked is None:
            innermost(self, start, stop, stores, body)
        else:
            with self.b.for_("block", start, stop, BLOCK) as first:
                end = self.b.let("block_end", minimum(first + BLOCK, stop if isinstance(stop, Ref) else self.size(k)))
                totals = {r: list(acc) for r, acc in blocked.items()}
                for r, acc in blocked.items():
                    acc[:] = self.accumulators(r)
                with self.loop(k, first, end, vectorize=True):
                    body()
                for r, acc in blocked.items():
                    self.combine(r, totals[r], tuple(acc) if len(acc) > 1 else acc[0])
                    acc[:] = totals[r]

    def combine(self, r: NestReduction, acc: list[Any], value: Value) -> None:
        old: Value = tuple(acc) if len(acc) > 1 else acc[0]
        new = COMBINE[r.op](self.b, old, widen(value, r.acc))
        parts = list(new) if isinstance(new, tuple) else [new]
        if len(parts) > 1 and r.op != "sum":  # each part is made of both
            parts = [self.b.let("next", p) for p in parts]
        for a, p in zip(acc, parts):
            self.b.assign(a, p)


class RowsKernel(Reducing):
    """Parallel over rows; the stages of a row run one after another over its elements.

    rows_together: whose values are kept at the same time.
    """

    rows_together = 1

    def __init__(
        self, ctx: Builder, nest: Nest, name: str, split: Split | None, stands_for: dict[NestReduction, NestReduction]
    ) -> None:
        super().__init__(ctx, nest, name, split, stands_for)
        self.kept: dict[Node, Kept] = {}
        self.stage_now = 0

    def write(self) -> tuple[int, int]:
        b, nest = self.b, self.nest
        kept = list(range(nest.n_kept))
        self.plan_kept()
        pieces = self.split.count if self.split else 1
        with b.for_("piece" if self.split else "row", b.lo, b.hi) as piece, self.scope(frozenset([ROW])):
            bounds, row = None, cast(Expr, piece)
            if self.split:
                bounds, row = self.piece(piece)
            with self.rows_of(row, kept):
                for stage in range(nest.stages):
                    self.stage(stage, bounds)
                if self.split:
                    for r, parts in self.split.partials.items():
                        acc = self.scopes[-1].values[("acc", r)]
                        for var, v in zip(parts, acc if is_arg(r.op) else (acc,)):
                            self.store(self.pointer(var, 0, "part"), piece, v)
                else:
                    self.store_all([s for s in nest.stores if not s.full])
        total = nest.rows * pieces
        return total, chunk_for(total, self.work.per(total))

    def items(self, total: int) -> Items | None:
        return None if self.split else touched_by_rows(self.ctx, self.nest, self.nest.n_kept)

    def stage(self, stage: int, bounds: tuple[Expr, Expr] | None) -> None:
        """One pass over the row: its reductions, its stores, and what later stages want kept."""
        nest, b = self.nest, self.b
        reductions = [r for r in nest.reductions if r.stage == stage]
        stores = [s for s in nest.stores if s.full and s.node.stage == stage]
        if not reductions and not stores:
            return
        keep = [n for n, k in self.kept.items() if k.stage == stage]
        self.stage_now = stage
        accs = {r: self.accumulators(r) for r in reductions}
        loops = list(range(nest.n_kept, len(nest.sizes)))
        blocked = nest.sizes[-1] > BLOCK and any(
            r.op in ("sum", "prod") and dtypes.is_inexact(r.acc) for r in reductions
        )
        sought = [r for r in reductions if is_arg(r.op)]
        plain = {r: acc for r, acc in accs.items() if r not in sought}
        if plain or stores or keep:
            self.nested(
                loops, bounds, lambda: self.visit(list(plain), plain, stores, keep), plain if blocked else None, stores
            )
        for r in sought:
            self.seek(r, accs[r], loops, bounds)
        row = self.scopes[-1]
        for r, acc in accs.items():
            value = tuple(acc) if len(acc) > 1 else acc[0]
            row.values[("acc", r)] = value
            result = acc[1] if is_arg(r.op) else value
            self.results(r, result if isinstance(result, tuple) else b.let(r.op, result.cast(ty_of(r.dtype))))

    def seek(self, r: NestReduction, acc: list[Any], loops: list[int], bounds: tuple[Expr, Expr] | None) -> None:
        """argmax and argmin: the extreme value of each block; only where that is the greatest so far, its first position."""
        b, k = self.b, loops[0]
        start, stop = bounds or (lift(0, i64), self.size(k))
        if len(loops) > 1:
            with self.loop(k, start, stop):
                self.seek(r, acc, loops[1:], None)
            return
        best, at = acc
        (identity, behind), extreme = starting_values(r), COMBINE[r.op[3:]]
        with b.for_("block", start, stop, BLOCK) as first:
            end = b.let("block_end", minimum(first + BLOCK, stop))
            running = b.var("extreme", identity)
            with self.loop(k, first, end, vectorize=True):
                b.assign(running, extreme(b, running, widen(self.value(r.values[0]), r.acc)))
            found = b.let("found", running)
            with b.if_(ahead(r.op, found, best) | at.eq(behind)):
                b.assign(best, found)
                self.find(r, found, at, behind, first, end)

    def find(self, r: NestReduction, found: Expr, at: Ref, behind: Expr, first: Expr, end: Expr) -> None:
        """Sets ``at`` to the first position in a block that has the value ``found``."""
        b, k = self.b, len(self.nest.sizes) - 1
        short = b.let("short", short_of(r.op, found))
        here, seen = b.var("here", first), b.var("seen", Const(False, b1))
        with b.while_(~seen):
            stop = b.let("stop", minimum(here + SEARCH, end))
            with b.if_(stop < end), self.loop(k, here, stop, vectorize=True):
                b.assign(seen, seen | is_hit(r.op, self.value(r.values[0]), short))
            b.assign(seen, seen | (stop >= end))  # it is in what is left
            with b.if_(seen):
                place = b.var("place", behind)
                with self.loop(k, here, stop, vectorize=True):
                    x, position = (self.value(v) for v in r.values)
                    b.assign(place, minimum(place, select(is_hit(r.op, x, short), position, behind)))
                b.assign(at, place)
            b.assign(here, stop)

    def visit(
        self, reductions: Sequence[NestReduction], accs: dict[NestReduction, list[Expr]], stores: Sequence[NestStore],
        keep: Sequence[Node],
    ) -> None:  # fmt: skip
        """The innermost body of a stage."""
        for r in reductions:
            self.combine(r, accs[r], self.value(r.values[0]))
        for node in keep:
            value = self.value(node)
            with self.inside(self.scope_of(self.nest.loops(node))):
                self.store(self.kept[node].buf, self.kept_index(self.kept[node]), value)
        self.store_all(stores)

    # ------------------------------------------------------------------ values kept between stages

    def below(self, node: Node) -> tuple[Node, ...]:
        return () if self.is_ready(node) else children(node)

    def compute(self, node: Node, args: list[Value]) -> Value:
        if self.is_ready(node):
            kept = self.kept[node]
            return self.named("v", self.load(kept.buf, self.kept_index(kept), node.dtype))
        return super().compute(node, args)

    def is_ready(self, node: Node) -> bool:
        """Whether an earlier stage kept the value."""
        return node in self.kept and self.kept[node].stage < self.stage_now

    def stage_targets(self, stage: int) -> list[Node]:
        found = [v for r in self.nest.reductions if r.stage == stage for v in r.values]
        return found + [s.node for s in self.nest.stores if s.full and s.node.stage == stage]

    def visited(self, stage: int, stop: set[Node]) -> list[Node]:
        """The full values that a stage computes, if it finds those in ``stop`` ready."""
        seen: dict[Node, None] = {}
        stack = self.stage_targets(stage)
        while stack:
            node = stack.pop()
            if node in seen or not is_full(self.nest, node):
                continue
            seen[node] = None
            if node not in stop:
                stack += children(node)
        return list(seen)

    def plan_kept(self) -> None:
        """Decides which dear values are kept from the stage that first needs them, in the worker's scratch memory."""
        first: dict[Node, int] = {}
        plan: dict[Node, int] = {}
        if self.nest.stages == 1 or 8 * self.nest.row_size > self.ctx.host.l2_bytes:
            return
        for stage in range(self.nest.stages):
            for node in self.visited(stage, set(plan)):
                if first.setdefault(node, stage) < stage and self.worth_keeping(node):
                    plan.setdefault(node, first[node])
            plan = {n: s for n, s in plan.items() if self.wanted_later(n, s, set(plan))}
        for node, stage in plan.items():
            self.kept[node] = self.make_room(node, stage)

    def worth_keeping(self, node: Node) -> bool:
        if not isinstance(node, (Point, Fetch, Choose)) or several(node):
            return False
        return sum(n.flops for n in walk([node]) if isinstance(n, (Point, Fetch)) and is_full(self.nest, n)) >= DEAR

    def wanted_later(self, node: Node, stage: int, stop: set[Node]) -> bool:
        """Whether a later stage reads the kept value itself, not only inside another kept one."""
        return any(node in self.visited(s, stop) for s in range(stage + 1, self.nest.stages))

    def make_room(self, node: Node, stage: int) -> Kept:
        """Scratch memory of the rows of each worker, indexed by those of the reduced counters on which the value depends."""
        loops = [k for k in range(self.nest.n_kept, len(self.nest.sizes)) if k in self.nest.loops(node)]
        sizes = [self.nest.sizes[k] for k in loops]
        nbytes = math.ceil(math.prod(sizes) * node.dtype.itemsize / 64) * 64
        buf = self.b.pointer("kept", ty_of(node.dtype))
        self.args.append(self.ctx.scratch(nbytes * self.rows_together, per_worker=True))
        stride = self.integer("kept_row", nbytes // node.dtype.itemsize)
        mine = self.b.let("mine", self.b.worker * (stride if self.rows_together == 1 else stride * self.rows_together))
        return Kept(buf, mine, stride, Affine(0, tuple(zip(loops, dense_strides(sizes)))), stage)

    def kept_index(self, kept: Kept) -> Expr:
        return kept.base + self.affine(kept.at, False)


@dataclass(frozen=True)
class Kept:
    """A value kept for later stages: element ``base + at`` of ``buf``, ``size`` of them a row; ``stage`` computes it first."""

    buf: str
    base: Expr
    size: Ref
    at: Affine
    stage: int


def is_full(nest: Nest, node: Node) -> bool:
    return any(k >= nest.n_kept for k in nest.loops(node))


def several(node: Node) -> bool:
    return isinstance(node, Point) and node.eqn is not None and len(node.eqn.outputs) > 1
