"""Reductions of arrays that the caches do not hold: several places of memory are read side by side.

A core asks ahead of the reads it sees, but no further than to the end of a page, and starts again at the next.  From one place it gets
two thirds of what memory gives; from eight, of which each goes on through pages that lie side by side, nearly all
(40 MB on Zen 4: a sum takes 0.75 of the time; from two, 0.95; sixteen want more registers than there are).
"""

from __future__ import annotations

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

STREAMS = 8  # places of memory that are read side by side
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
    return _inside_rows(nest, split) or (split is None and bool(nest.rows >= 64 * STREAMS))


def _inside_rows(nest: Nest, split: Split | None) -> bool:
    length = nest.sizes[nest.n_kept] if split is None else split.size
    widest = max(n.dtype.itemsize for n in walk(list(nest.targets())) if isinstance(n, Leaf))
    return bool(length * widest >= LONG_ROW)


@dataclass(frozen=True)
class _Cell:
    """One of the places: the counters of its row, from where the reduced loop goes on (None: all from the same), and what it
    adds to."""

    counters: dict[int, Expr]
    begin: Expr | None
    scope: Scope | None
    accs: dict[NestReduction, list[Expr]]


class StreamedRows(Reducing):
    """Parallel over rows, or pieces of one; reads a long row at several places, or several short ones."""

    def write(self) -> tuple[int, int]:
        b, nest, split = self.b, self.nest, self.split
        inside = _inside_rows(nest, split)
        pieces = split.count if split else 1
        total = nest.rows * pieces
        if inside:
            with b.for_("piece" if split else "row", b.lo, b.hi) as piece, self.scope(frozenset([ROW])):
                bounds, row = self.piece(piece) if split else ((Const(0, i64), self.size(nest.n_kept)), piece)
                with self.rows_of(row, list(range(nest.n_kept))):
                    self.long_row(piece, *bounds)
        else:
            each = b.let("each", (b.hi - b.lo) // STREAMS)
            rest = b.let("rest", b.lo + each * STREAMS)
            with b.for_("row", b.lo, b.lo + each) as row:
                self.short_rows([row, *(row + each * s for s in range(1, STREAMS))])
            with b.for_("row", rest, b.hi) as row:
                self.short_rows([row])
        return total, chunk_for(total, self.work.per(total))

    def fresh(self) -> dict[NestReduction, list[Expr]]:
        return {r: self.accumulators(r) for r in self.nest.reductions}

    # ------------------------------------------------------------------ one long row

    def long_row(self, piece: Expr, start: Expr, stop: Expr) -> None:
        b = self.b
        each = b.let("each", (stop - start) // (STREAMS * LINE) * LINE)
        begins = [start, *(b.let("begin", start + each * s) for s in range(1, STREAMS))]
        cells = [_Cell({}, begin, None, self.fresh()) for begin in begins]
        self.add(cells, Const(0, i64), each)
        first = cells[0]
        for cell in cells[1:]:
            self.join(first.accs, cell.accs)
        self.add([_Cell({}, None, None, first.accs)], b.let("rest", start + each * STREAMS), stop)
        if self.split is None:
            self.finish(first.accs)
            return
        for r, (var,) in self.split.partials.items():
            self.store(self.pointer(var, 0, "part"), piece, _value(first.accs[r]))

    # ------------------------------------------------------------------ several short rows

    def short_rows(self, rows: list[Expr]) -> None:
        base, kept = self.scopes, list(range(self.nest.n_kept))
        cells = []
        for row in rows:
            with self.scope(frozenset([ROW])), self.rows_of(self.b.let("row", row), kept):
                scope = Scope(self.b.stack[-1], self.scopes[-1].loops)
                cells.append(_Cell({k: self.counters[k] for k in kept}, None, scope, self.fresh()))
        self.add(cells, Const(0, i64), self.size(self.nest.n_kept))
        for cell in cells:
            self.enter(base, cell)
            self.finish(cell.accs)
        self.scopes = base

    def enter(self, base: list[Scope], cell: _Cell) -> None:
        self.counters.update(cell.counters)
        self.scopes = base if cell.scope is None else [*base, cell.scope]

    # ------------------------------------------------------------------ loops

    def add(self, cells: list[_Cell], start: Expr, stop: Expr) -> None:
        """Adds what each cell reads from ``start`` to ``stop`` to its accumulators; many numbers in blocks."""
        b, nest = self.b, self.nest
        blocked = nest.sizes[-1] > BLOCK and any(
            r.op in ("sum", "prod") and dtypes.is_inexact(r.acc) for r in nest.reductions
        )
        if not blocked:
            self.read(cells, [cell.accs for cell in cells], start, stop)
            return
        with b.for_("block", start, stop, BLOCK) as first:
            end = b.let("block_end", minimum(first + BLOCK, stop))
            parts = [self.fresh() for _ in cells]
            self.read(cells, parts, first, end)
            for cell, part in zip(cells, parts):
                self.join(cell.accs, part)

    def read(
        self, cells: list[_Cell], accs: list[dict[NestReduction, list[Expr]]], start: Expr, stop: Expr
    ) -> None:  # fmt: skip
        """The innermost loop: one element of each cell at a time."""
        base, k = self.scopes, self.nest.n_kept
        with self.b.for_(f"i{k}", start, stop, vectorize=True) as i:
            shared = Scope(self.b.stack[-1], base[-1].loops | {k})  # what all rows have in common
            for cell, acc in zip(cells, accs):
                self.enter(base, cell)
                self.counters[k] = i if cell.begin is None else i + cell.begin
                known = self.scopes[-1].loops | {k}
                inner = Scope(self.b.stack[-1], known)
                self.scopes = [*self.scopes, inner] if cell.scope is None else [*self.scopes, shared, inner]
                for r, parts in acc.items():
                    self.combine(r, parts, self.value(r.values[0]))
        self.scopes = base

    def join(self, accs: dict[NestReduction, list[Expr]], parts: dict[NestReduction, list[Expr]]) -> None:
        for r, acc in accs.items():
            self.combine(r, acc, _value(parts[r]))

    def finish(self, accs: dict[NestReduction, list[Expr]]) -> None:
        """Makes the results of a row known and stores what is made of them."""
        for r, acc in accs.items():
            result = _value(acc)
            self.results(r, result if isinstance(result, tuple) else self.b.let(r.op, result.cast(ty_of(r.dtype))))
        self.store_all(list(self.nest.stores))


def _value(acc: list[Expr]) -> Value:
    return tuple(acc) if len(acc) > 1 else acc[0]
