"""Short rows: nests whose rows, or whose columns, are few enough to be written out one by one.

Then the long loop is the vectorised one, and values of a row stay in registers from stage to stage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..cost import chunk_for
from ..loop_ir import Const, Expr, i64, maximum, minimum
from ..lower.context import Builder
from ..lower.reductions import COMBINE, carry_position, is_arg, widen
from ..lower.registry import Value
from ..lower.types import ty_of
from .emitter import Scope
from .nodes import ROW, Nest, NestReduction, Point, walk
from .rows import Reducing, Split

__all__ = ["NarrowColumns", "NarrowRows", "narrow_size"]

NARROW = 16  # rows of at most so many elements are written out ...
NARROW_BODY = 160  # ... if that gives no more operations than this


def narrow_size(nest: Nest) -> int:
    """The length of rows that are short enough to be written out, else 0.

    This one size stands in the kernel's text: it is a fact of the model (classes, channels), not of the batch.
    """
    last = len(nest.sizes) - 1
    if last < 1 or (nest.kind == "columns" and any(is_arg(r.op) for r in nest.reductions)):
        return 0
    if nest.n_kept != {"columns": 1, "rows": last, "map": last + 1}[nest.kind]:
        return 0
    loop = 0 if nest.kind == "columns" else last
    n, rows = nest.sizes[loop], nest.row_size if loop == 0 else nest.sizes[last - 1]
    body = sum(  # what does not change along the row stands there once
        (n if loop in nest.loops(x) else 1) * (1 + (x.flops if isinstance(x, Point) else 0))
        for x in walk(list(nest.targets()))
    )
    return n if n <= NARROW and rows >= 8 and body <= NARROW_BODY else 0


class _Narrow(Reducing):
    """Cells: one scope for each iteration of the short loop, all in the open block."""

    def cells(self, loop: int) -> list[tuple[int, int, Scope]]:
        """One scope for each iteration of a short loop, all in the open block."""
        loops = self.scopes[-1].loops | {loop}
        return [(loop, j, Scope(self.b.stack[-1], loops)) for j in range(self.nest.sizes[loop])]

    def in_cell(self, base: list[Scope], cell: tuple[int, int, Scope], body: Callable[[], Any]) -> Any:
        loop, j, scope = cell
        self.counters[loop] = Const(j, i64)
        self.scopes = [*base, scope]
        try:
            return body()
        finally:
            self.scopes = base


class NarrowRows(_Narrow):
    """A map or a reduction over short rows."""

    def __init__(
        self, ctx: Builder, nest: Nest, name: str, split: Split | None, stands_for: dict[NestReduction, NestReduction]
    ) -> None:
        super().__init__(ctx, nest, name, split, stands_for)
        self.narrow = nest.sizes[-1]

    def write(self) -> tuple[int, int]:
        """Each row is written out; rows that follow one another are vectorised, and the loops around them run as one."""
        b, nest, long = self.b, self.nest, len(self.nest.sizes) - 2
        total = math.prod(nest.sizes[:-1])
        if long == 0:
            with self.loop(0, b.lo, b.hi, vectorize=True), self.scope(frozenset([ROW])):
                self.row()
        else:
            size = self.size(long)
            first, end = b.let("first", b.lo // size), b.let("end", (b.hi + size - 1) // size)
            with b.for_("outer", first, end) as outer, self.rows_of(outer, list(range(long))):
                base = b.let("base", outer * size)
                start, stop = b.let("start", maximum(b.lo - base, 0)), b.let("stop", minimum(b.hi - base, size))
                with self.loop(long, start, stop, vectorize=True), self.scope(frozenset([ROW])):
                    self.row()
        return total, chunk_for(total, self.work.per(total), 64)

    def row(self) -> None:
        """Its reductions and stores, stage by stage."""
        b, nest = self.b, self.nest
        base, cells = self.scopes, self.cells(len(nest.sizes) - 1)
        for stage in range(nest.stages):
            for r in [r for r in nest.reductions if r.stage == stage]:
                rows = [self.in_cell(base, cell, lambda: [self.value(v) for v in r.values]) for cell in cells]
                acc = self.extreme_position(r.op, rows) if is_arg(r.op) else self.accumulated(r, rows)
                self.results(r, acc if isinstance(acc, tuple) else b.let(r.op, acc.cast(ty_of(r.dtype))))
            for cell in cells:
                stores = [s for s in nest.stores if s.full and s.node.stage == stage]
                self.in_cell(base, cell, lambda: self.store_all(stores))
        self.store_all([s for s in nest.stores if not s.full])

    def accumulated(self, r: NestReduction, rows: list[list[Value]]) -> Value:
        acc = widen(rows[0][0], r.acc)
        for (v,) in rows[1:]:
            acc = self.named(r.op, COMBINE[r.op](self.b, acc, widen(v, r.acc)))
        return acc

    def extreme_position(self, op: str, rows: list[list[Value]]) -> Value:
        best, at = rows[0]
        for x, position in rows[1:]:
            best, at = (self.named(op, v) for v in carry_position(self.b, op, best, at, x, position))
        return at


class NarrowColumns(_Narrow):
    """A reduction to a few columns, whose accumulators are registers."""

    def write(self) -> tuple[int, int]:
        """A reduction to a few columns: their accumulators are registers, and rows are vectorised."""
        b, nest = self.b, self.nest
        count = self.split.count if self.split else 1
        with b.for_("piece", b.lo, b.hi) as piece, self.scope(frozenset([ROW])):
            bounds = self.piece(piece)[0] if self.split else None
            columns = range(nest.sizes[0])
            accs = {r: [self.accumulators(r) for _ in columns] for r in nest.reductions}
            self.nested(list(range(1, len(nest.sizes))), bounds, lambda: self.visit_columns(accs), None)
            base = self.scopes
            for cell, j in zip(self.cells(0), columns):
                self.in_cell(base, cell, lambda: self.finish_column(j, piece, accs))
        return count, chunk_for(count, self.work.per(count))

    def visit_columns(self, accs: dict[NestReduction, list[list[Expr]]]) -> None:
        """One row: every column is added to its accumulators."""
        base = self.scopes
        for cell in self.cells(0):
            for r in self.nest.reductions:
                self.in_cell(base, cell, lambda: self.combine(r, accs[r][cell[1]], self.value(r.values[0])))
            self.in_cell(base, cell, lambda: self.store_all([s for s in self.nest.stores if s.full]))

    def finish_column(self, j: int, piece: Expr, accs: dict[NestReduction, list[list[Expr]]]) -> None:
        for r, columns in accs.items():
            value: Value = tuple(columns[j]) if len(columns[j]) > 1 else columns[j][0]
            if self.split:
                self.store(self.pointer(self.split.partials[r][0], 0, "part"), piece * self.nest.sizes[0] + j, value)
            else:
                self.results(r, value if isinstance(value, tuple) else self.b.let(r.op, value.cast(ty_of(r.dtype))))
        if not self.split:
            self.store_all([s for s in self.nest.stores if not s.full])
