"""Reductions over outer loops: blocks of columns, to whose accumulators rows are added."""

from __future__ import annotations

import math

from fx import dtypes
from fx.sizes import smallest

from ..cost import chunk_for
from ..loop_ir import Const, Expr, i64, maximum, minimum
from ..lower.reductions import COMBINE, carry_position, is_arg, widen
from ..lower.registry import Value
from ..lower.types import ty_of
from .emitter import Scope
from .index_map import Affine, dense_strides
from .nodes import ROW, Nest, NestReduction, walk
from .rows import Reducing, Split, starting_values
from .streams import STREAMS, is_light

__all__ = ["ColumnsKernel", "block_width", "strips"]

COLUMN_BYTES = 4096  # bytes of accumulators in a block of columns
STRIP_BYTES = 512  # ... at least, in one that a piece begins or ends in: 256 took up to twice the time
ROWS_AT_ONCE = 4  # rows added to a block of columns in one pass ...
SMALL_BODY = 12  # ... if a nest has no more values than this


def block_width(nest: Nest) -> int:
    """Columns, at most, in a block of the ``columns`` kernel; a power of two, fixed by the dtypes alone."""
    return COLUMN_BYTES // max(r.acc.itemsize * (2 if is_arg(r.op) else 1) for r in nest.reductions)


def strips(nest: Nest) -> int:
    """Into how many parts the columns can be cut."""
    return -(-nest.sizes[nest.n_kept - 1] // (block_width(nest) * STRIP_BYTES // COLUMN_BYTES))


class ColumnsKernel(Reducing):
    """Parallel over the columns, or over blocks of rows and wide ones of columns if there are few columns for the work."""

    def write(self) -> tuple[int, int]:
        return self.write_parts(self.split) if self.split else self.write_columns()

    def write_columns(self) -> tuple[int, int]:
        """Columns that follow one another in a piece are computed in blocks that are as wide as can be; how they are cut changes no bit."""
        b, nest = self.b, self.nest
        k, most = nest.n_kept - 1, block_width(nest)
        columns, around = nest.sizes[k], math.prod(nest.sizes[:k])
        room = {r: self.column_room(r, most) for r in nest.reductions}
        size = self.size(k)
        with b.for_("outer", b.lo // size, (b.hi + size - 1) // size) as outer, self.scope(frozenset([ROW])):
            base = b.let("base", outer * size)
            start, stop = b.let("start", maximum(b.lo - base, 0)), b.let("stop", minimum(b.hi - base, size))
            with self.rows_of(outer, list(range(k))), b.for_("first", start, stop, most) as first:
                self.column_block(room, first, b.let("end", minimum(first + most, stop)), None, None)
        total = around * columns
        return total, chunk_for(total, self.work.per(total), smallest(columns, most * STRIP_BYTES // COLUMN_BYTES))

    def write_parts(self, split: Split) -> tuple[int, int]:
        """Partial results of blocks of rows."""
        b, nest = self.b, self.nest
        k, width = nest.n_kept - 1, block_width(nest)
        blocks = math.ceil(nest.sizes[k] / width)
        room = {r: self.column_room(r, width) for r in nest.reductions}
        with b.for_("piece", b.lo, b.hi) as piece, self.scope(frozenset([ROW])):
            part = b.let("part", piece % self.integer("pieces", split.count))
            bounds, row = self.piece(piece)
            n_blocks = self.integer("blocks", blocks)
            first = b.let("first", (row % n_blocks) * width)
            end = b.let("end", minimum(first + width, self.size(k)))
            with self.rows_of(b.let("row", row // n_blocks), list(range(k))):
                self.column_block(room, first, end, bounds, part)
        total = math.prod(nest.sizes[:k]) * blocks * split.count
        return total, chunk_for(total, self.work.per(total))

    def column_room(self, r: NestReduction, width: int) -> list[str]:
        """Stack arrays for the accumulators of a block of columns."""
        names = [self.b.alloc(r.op, ty_of(r.acc), width) for _ in range(2 if dtypes.is_complex(r.acc) else 1)]
        return names + ([self.b.alloc("position", ty_of(r.dtype), width)] if is_arg(r.op) else [])

    def column_block(
        self, room: dict[NestReduction, list[str]], first: Expr, end: Expr, bounds: tuple[Expr, Expr] | None,
        part: Expr | None,
    ) -> None:  # fmt: skip
        """Initialises the accumulators of a block, adds all its rows, stores the results."""
        nest, k = self.nest, self.nest.n_kept - 1
        with self.loop(k, first, end, vectorize=True) as i:
            for r, names in room.items():
                starts = [*starting_values(r)[:-1], 0] if is_arg(r.op) else starting_values(r)
                for name, v in zip(names, starts):
                    self.b.store(name, i - first, v)
        self.column_rows(room, list(range(nest.n_kept, len(nest.sizes))), first, end, bounds)
        with self.loop(k, first, end, vectorize=True) as i:
            for r, names in room.items():
                self.column_result(r, names, i - first, part)
            if part is None:
                self.store_all([s for s in nest.stores if not s.full])

    def column_rows(
        self, room: dict[NestReduction, list[str]], loops: list[int], first: Expr, end: Expr,
        bounds: tuple[Expr, Expr] | None,
    ) -> None:  # fmt: skip
        """All rows of a block, several at a time so that the accumulators are loaded and stored less often."""
        start, stop = bounds or (Const(0, i64), self.size(loops[0]))
        if len(loops) > 1:
            with self.loop(loops[0], start, stop):
                self.column_rows(room, loops[1:], first, end, None)
            return
        if is_light(self.ctx, self.nest):  # rows far apart: each goes on through memory by itself
            each = self.b.let("each", (stop - start) // STREAMS)
            with self.b.for_(f"i{loops[0]}", start, start + each) as i:
                self.some_rows(room, loops[0], [i + each * u if u else i for u in range(STREAMS)], first, end)
            start = self.b.let("rest", start + each * STREAMS)
        many = ROWS_AT_ONCE if sum(1 for _ in walk(list(self.nest.targets()))) <= SMALL_BODY else 1
        if many > 1:
            rest = self.b.let("rest", start + (stop - start) // many * many)
            with self.b.for_(f"i{loops[0]}", start, rest, many) as i:
                self.some_rows(room, loops[0], [i + u if u else i for u in range(many)], first, end)
            start = rest
        with self.b.for_(f"i{loops[0]}", start, stop) as i:
            self.some_rows(room, loops[0], [i], first, end)

    def some_rows(
        self, room: dict[NestReduction, list[str]], loop: int, rows: list[Expr], first: Expr, end: Expr
    ) -> None:
        """Adds some rows to the accumulators of a block.  What does not depend on the row is computed once for all."""
        k, base = self.nest.n_kept - 1, self.scopes
        known = base[-1].loops
        outer = [Scope(self.b.stack[-1], known | {loop}) for _ in rows]
        counters = [self.b.let("r", r) if len(rows) > 1 else r for r in rows]
        with self.b.for_(f"i{k}", first, end, vectorize=True) as i:
            self.counters[k] = i
            shared = Scope(self.b.stack[-1], known | {k})
            accs: dict[NestReduction, tuple[Expr, ...]] = {
                r: tuple(self.b.let("old", self.b.load(name, i - first)) for name in names) for r, names in room.items()
            }
            for counter, scope in zip(counters, outer):
                self.counters[loop] = counter
                self.scopes = [*base, scope, shared, Scope(self.b.stack[-1], known | {k, loop})]
                accs = {r: self.column_step(r, acc) for r, acc in accs.items()}
                self.store_all([s for s in self.nest.stores if s.full])
            for r, names in room.items():
                for name, v in zip(names, accs[r]):
                    self.b.store(name, i - first, v)
            self.scopes = base

    def column_step(self, r: NestReduction, old: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """The accumulators of one column after one more row."""
        values = [self.value(v) for v in r.values]
        if is_arg(r.op):
            new: Value = carry_position(self.b, r.op, old[0], old[1], widen(values[0], r.acc), values[1])
        else:
            new = COMBINE[r.op](self.b, old if len(old) > 1 else old[0], widen(values[0], r.acc))
        return tuple(self.b.let("new", v) for v in (new if isinstance(new, tuple) else (new,)))

    def column_result(self, r: NestReduction, names: list[str], at: Expr, part: Expr | None) -> None:
        """Stores a partial result, or makes the result known to the row stores."""
        nest = self.nest
        loaded = [self.b.load(name, at) for name in names]
        value: Value = loaded[-1] if is_arg(r.op) or len(loaded) == 1 else tuple(loaded)
        if part is None:
            self.results(r, value if isinstance(value, tuple) else self.b.let(r.op, value.cast(ty_of(r.dtype))))
            return
        assert self.split is not None
        kept = nest.sizes[: nest.n_kept]
        dense = Affine(0, tuple(zip(range(nest.n_kept), dense_strides(kept))))
        place = self.b.let("place", part * self.integer("part_size", math.prod(kept)) + self.affine(dense, False))
        for var, v in zip(self.split.partials[r], loaded if is_arg(r.op) else [value]):
            self.store(self.pointer(var, 0, "part"), place, v)
