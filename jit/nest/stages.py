"""Reductions over short rows, several stages to a row: stage after stage, each over the rows of a block.

A row whose stages follow one another waits for each: for the end of a sum, for the logarithm of it, for what is subtracted then.  The
rows of a block do not wait for one another, and what is computed once a row is computed for vectors of rows.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from fx import dtypes

from ..cost import chunk_for
from ..loop_ir import Expr, i64, lift, minimum
from ..lower.context import Builder
from ..lower.registry import Value
from ..lower.types import ty_of
from .nodes import ROW, Fetch, Leaf, Lit, Nest, NestReduction, Node, Point, Reduced, children, walk
from .rows import DEAR, Kept, RowsKernel, Split, is_full, several

__all__ = ["StagedRows", "is_staged"]

ROWS = 16  # of a block


def is_staged(ctx: Builder, nest: Nest, split: Split | None) -> bool:
    """Whether ``StagedRows`` runs a nest: the nearest cache holds what the rows of a block read and write."""
    if nest.kind != "rows" or split is not None or nest.stages == 1:
        return False
    if any(dtypes.is_complex(r.dtype) for r in nest.reductions):
        return False
    full = {n.var for n in walk(list(nest.targets())) if isinstance(n, (Leaf, Fetch)) and is_full(nest, n)}
    full |= {s.var for s in nest.stores if s.full}
    return bool(ROWS * nest.row_size * sum(v.aval.dtype.itemsize for v in full) <= ctx.host.l1_bytes)


class StagedRows(RowsKernel):
    """Parallel over rows; each stage goes over a block of rows, whose results it leaves to the next ones in memory."""

    rows_together = ROWS

    def __init__(
        self, ctx: Builder, nest: Nest, name: str, split: Split | None, stands_for: dict[NestReduction, NestReduction]
    ) -> None:
        super().__init__(ctx, nest, name, split, stands_for)
        self.of_rows: dict[Node | NestReduction, str] = {}  # what the rows of a block have, in memory
        self.in_block: Expr = lift(0, i64)  # the place of a row in its block
        self.ready: set[Node] = set()  # what has been prepared

    def write(self) -> tuple[int, int]:
        b, nest = self.b, self.nest
        kept = list(range(nest.n_kept))
        self.plan_kept()
        prepared = _prepared(nest)
        parts: list[NestReduction | Point] = [*nest.reductions, *prepared]
        for what in parts:
            self.of_rows[what] = b.alloc("of_rows", ty_of(what.dtype), ROWS)
        with b.for_("block", b.lo, b.hi, ROWS) as first:
            stop = b.let("block_stop", minimum(first + ROWS, b.hi))
            for stage in range(nest.stages):
                if found := [n for n in prepared if n.stage == stage]:
                    with b.for_("place", 0, stop - first, vectorize=True) as place:
                        self.in_block = place
                        with self.scope(frozenset([ROW, *kept])):
                            values = [(n, cast(Expr, self.value(n))) for n in found]
                            for n, value in values:
                                b.store(self.of_rows[n], place, value)
                    self.ready.update(found)
                with b.for_("row", first, stop) as row:
                    self.in_block = row - first
                    with self.scope(frozenset([ROW])), self.rows_of(row, kept):
                        self.stage(stage, None)
            if left := [s for s in nest.stores if not s.full]:
                self.stage_now = nest.stages
                with b.for_("row", first, stop, vectorize=True) as row:
                    self.in_block = row - first
                    with self.scope(frozenset([ROW])), self.rows_of(row, kept):
                        self.store_all(left)
        return nest.rows, chunk_for(nest.rows, self.work.per(nest.rows), ROWS)

    def results(self, r: NestReduction, result: Value) -> None:
        self.b.store(self.of_rows[r], self.in_block, cast(Expr, result))

    def below(self, node: Node) -> tuple[Node, ...]:
        return () if node in self.ready else super().below(node)

    def compute(self, node: Node, args: list[Value]) -> Value:
        if isinstance(node, Reduced) or node in self.ready:
            room = self.of_rows[node.reduction if isinstance(node, Reduced) else node]
            return self.named("of_row", self.b.load(room, self.in_block))
        return super().compute(node, args)

    def kept_index(self, kept: Kept) -> Expr:
        scope = self.scope_of(frozenset([ROW]))
        if ("kept", kept.buf) not in scope.values:
            with self.inside(scope):
                scope.values["kept", kept.buf] = self.b.let("kept_at", kept.base + self.in_block * kept.size)
        return scope.values["kept", kept.buf] + self.affine(kept.at, False)


def _prepared(nest: Nest) -> list[Point]:
    """What takes long to compute of a row's results alone, and is read at its elements or with other things of the row."""
    whole, readers = set(nest.targets()) - {s.node for s in nest.stores if not s.full}, set[Node]()
    alone: dict[Node, int] = {}  # flops of what only results and numbers are needed for
    for node in walk(list(nest.targets())):
        parts = children(node)
        if isinstance(node, (Reduced, Lit)):
            alone[node] = 0
        elif isinstance(node, Point) and all(p in alone for p in parts) and not several(node):
            alone[node] = node.flops + sum(alone[p] for p in parts)
        else:
            readers.update(parts)
    return [
        n for n, flops in alone.items()
        if isinstance(n, Point) and flops >= DEAR and n.stage and (n in readers or n in whole) and n.dtype in (np.float32, np.float64)
    ]  # fmt: skip
