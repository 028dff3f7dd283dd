"""Reductions of arrays that the caches do not hold: several places of memory are read side by side.

A core asks ahead of the reads it sees, but no further than to the end of a page, and starts again at the next.  From eight places, of
which each goes on through pages that lie side by side, it gets up to a third more than from one, by how busy the memory is (40 MB on
Zen 4: 0.55 of the time for sums and maxima of columns, whose rows lie far apart; 0.84 to 1.0 for those of all and of rows).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from fx import dtypes

from ..cost import chunk_for
from ..loop_ir import Const, Expr, i64, minimum
from ..lower.context import Builder
from ..lower.reductions import is_arg
from ..lower.registry import Value
from ..lower.types import ty_of
from .emitter import Scope, Work
from .nodes import ROW, Fetch, Leaf, Nest, NestReduction, Point, walk
from .rows import BLOCK, Reducing, Split

__all__ = ["STREAMS", "StreamedRows", "is_light", "is_streamed"]

STREAMS = 8  # places of memory that are read side by side; each of a long row adds to the same accumulators ...
ROWS = 4  # ... rows have accumulators of their own, for which there are so many registers
LINE = 64  # elements; the places are multiples of so many apart
LONG_ROW = (
    1 << 18
)  # bytes of a row, or of a piece of one, inside of which the places lie; of shorter rows, several are read
LIGHT = 8  # operations on an element, at most: more take longer than to read it


def is_light(ctx: Builder, nest: Nest) -> bool:
    """Whether a nest only adds up what memory holds, without gaps, and the caches do not."""
    k = len(nest.sizes) - 1 if nest.kind == "rows" else nest.n_kept - 1  # the innermost loop
    if nest.stages > 1 or any(s.full for s in nest.stores) or any(is_arg(r.op) for r in nest.reductions):
        return False
    whole = frozenset(range(len(nest.sizes)))
    full = [n for n in walk(list(nest.targets())) if whole <= nest.loops(n)]
    if sum(n.flops for n in full if isinstance(n, (Point, Fetch))) + len(nest.reductions) > LIGHT:
        return False
    leaves = [n for n in full if isinstance(n, Leaf)]
    if not leaves or any(n.conds or nest.at(n.at).coef(k) != 1 or nest.at(n.at).den != 1 for n in leaves):
        return False
    return bool(Work(nest).nbytes > ctx.host.l3_bytes)


def is_streamed(ctx: Builder, nest: Nest, split: Split | None) -> bool:
    """Whether ``StreamedRows`` runs a nest."""
    if nest.kind != "rows" or len(nest.sizes) != nest.n_kept + 1 or not is_light(ctx, nest):
        return False
    return _inside_rows(nest, split) or (split is None and bool(nest.rows >= 64 * ROWS))


def _inside_rows(nest: Nest, split: Split | None) -> bool:
    length = nest.sizes[nest.n_kept] if split is None else split.size
    widest = max(n.dtype.itemsize for n in walk(list(nest.targets())) if isinstance(n, Leaf))
    return bool(length * widest >= LONG_ROW)


@dataclass(frozen=True)
class _Row:
    """A row: its counters, the scope of what it alone has, and what it adds to."""

    counters: dict[int, Expr]
    scope: Scope
    accs: dict[NestReduction, list[Expr]]


class StreamedRows(Reducing):
    """Parallel over rows, or pieces of one; reads a long row at several places, or several short ones."""

    def write(self) -> tuple[int, int]:
        b, nest, split = self.b, self.nest, self.split
        if _inside_rows(nest, split):
            with b.for_("piece" if split else "row", b.lo, b.hi) as piece, self.scope(frozenset([ROW])):
                bounds, row = self.piece(piece) if split else ((Const(0, i64), self.size(nest.n_kept)), piece)
                with self.rows_of(row, list(range(nest.n_kept))):
                    self.long_row(piece, *bounds)
        else:
            each = b.let("each", (b.hi - b.lo) // ROWS)
            rest = b.let("rest", b.lo + each * ROWS)
            with b.for_("row", b.lo, b.lo + each) as row:
                self.short_rows([row, *(row + each * s for s in range(1, ROWS))])
            with b.for_(
                "row", rest, b.hi, step=ROWS
            ) as row:  # at most once: the same loop gives the same bits wherever pieces end
                more = [row + s for s in range(1, ROWS)]
                self.short_rows([row, *(minimum(n, b.hi - 1) for n in more)], [None, *(n < b.hi for n in more)])
        total = nest.rows * (split.count if split else 1)
        return total, chunk_for(total, self.work.per(total))

    def row(self) -> _Row:
        """The row whose counters are known here."""
        counters = {k: self.counters[k] for k in range(self.nest.n_kept)}
        scope = Scope(self.b.stack[-1], self.scopes[-1].loops)
        return _Row(counters, scope, {r: self.accumulators(r) for r in self.nest.reductions})

    def long_row(self, piece: Expr, start: Expr, stop: Expr) -> None:
        b, row = self.b, self.row()
        each = b.let("each", (stop - start) // (STREAMS * LINE) * LINE)
        self.add([row], [start, *(b.let("begin", start + each * s) for s in range(1, STREAMS))], Const(0, i64), each)
        self.add([row], [Const(0, i64)], b.let("after", start + each * STREAMS), stop)
        if self.split is None:
            self.finish(row)
            return
        for r, (var,) in self.split.partials.items():
            self.store(self.pointer(var, 0, "part"), piece, _value(row.accs[r]))

    def short_rows(self, numbers: list[Expr], kept: Sequence[Expr | None] = (None,) * ROWS) -> None:
        """``kept``: whether a row is written; those that are not stand in for rows that there are none of."""
        rows = []
        for number in numbers:
            with self.scope(frozenset([ROW])), self.rows_of(self.b.let("row", number), list(range(self.nest.n_kept))):
                rows.append(self.row())
        self.add(rows, [Const(0, i64)], Const(0, i64), self.size(self.nest.n_kept))
        base = self.scopes
        for row, condition in zip(rows, kept, strict=True):
            self.enter(base, row)
            with self.b.if_(condition) if condition is not None else nullcontext():
                self.finish(row)
        self.scopes = base

    def enter(self, base: list[Scope], row: _Row) -> None:
        self.counters.update(row.counters)
        self.scopes = [*base, row.scope]

    def add(self, rows: list[_Row], begins: list[Expr], start: Expr, stop: Expr) -> None:
        """Adds to each row what it has from ``start`` to ``stop`` behind each of ``begins``; many numbers in blocks."""
        b, nest = self.b, self.nest
        accs = [row.accs for row in rows]
        if nest.sizes[-1] <= BLOCK or not any(
            r.op in ("sum", "prod") and dtypes.is_inexact(r.acc) for r in nest.reductions
        ):
            self.read(rows, accs, begins, start, stop)
            return
        with b.for_("block", start, stop, BLOCK // 4) as first:
            parts = [{r: self.accumulators(r) for r in acc} for acc in accs]
            self.read(rows, parts, begins, first, b.let("block_end", minimum(first + BLOCK // 4, stop)))
            for acc, part in zip(accs, parts):
                for r, total in acc.items():
                    self.combine(r, total, _value(part[r]))

    def read(
        self, rows: list[_Row], accs: list[dict[NestReduction, list[Expr]]], begins: list[Expr], start: Expr, stop: Expr
    ) -> None:  # fmt: skip
        """The innermost loop: one element of each place at a time."""
        base, k = self.scopes, self.nest.n_kept
        with self.b.for_(f"i{k}", start, stop, vectorize=True) as i:
            for begin in begins:
                shared = Scope(self.b.stack[-1], base[-1].loops | {k})  # what all rows have in common
                for row, acc in zip(rows, accs):
                    self.enter(base, row)
                    self.counters[k] = i + begin
                    self.scopes = [*self.scopes, shared, Scope(self.b.stack[-1], row.scope.loops | {k})]
                    for r, parts in acc.items():
                        self.combine(r, parts, self.value(r.values[0]))
        self.scopes = base

    def finish(self, row: _Row) -> None:
        """Makes the results of a row known and stores what is made of them."""
        for r, acc in row.accs.items():
            result = _value(acc)
            self.results(r, result if isinstance(result, tuple) else self.b.let(r.op, result.cast(ty_of(r.dtype))))
        self.store_all(list(self.nest.stores))


def _value(acc: list[Expr]) -> Value:
    return tuple(acc) if len(acc) > 1 else acc[0]
