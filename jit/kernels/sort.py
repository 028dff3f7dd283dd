"""Sorting kernels for whole rows, all of them stable.

* ``lanes_kernel`` sorts short rows side by side in the lanes of vectors, by a sorting network.
* ``rows_kernel`` sorts each row by least-significant-digit radix sort (Knuth, TAOCP vol. 3, 5.2.5), ping-pong between
  two halves of scratch memory; digits in which all keys agree cost nothing.  A sort by several keys runs once for
  each, the last key first.
* ``select_kernel`` keeps the few first elements of each row.

Long rows are sorted by blocks: ``sort_blocks.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..loop_ir import Const, Expr, Kernel, KernelBuilder, Ref, Ty, i64, maximum, minimum, select, u32, u64
from .sort_records import (
    ONE,
    ZERO,
    Operands,
    Records,
    SortSpec,
    Source,
    build_record,
    count_special,
    element_bits,
    order_key,
    restore_row,
    write_results,
)  # fmt: skip

__all__ = ["SELECT_MOST", "lanes_kernel", "rows_kernel", "select_kernel"]

INSERTION = 40  # rows up to this length are sorted by insertion
SELECT_MOST = 64  # elements that select_kernel can keep
SELECT_BLOCK = 64  # elements that select_kernel looks at at once

# ------------------------------------------------------------------------------------ whole rows


def rows_kernel(spec: SortSpec) -> Kernel:
    """Sorts row ``p`` of ``n`` elements for each p of the range; writes its first ``take`` results.

    Scratch: ``2 * n`` records from ``worker * worker_step + p * row_step`` on.
    """
    b = KernelBuilder("top_k_rows" if spec.top else "sort_rows")
    operands, records = Operands(b, spec), Records(b, spec)
    n, take = b.integer("n"), b.integer("take")
    worker_step, row_step = b.integer("worker_step"), b.integer("row_step")
    size = 1 << spec.digit
    counts = b.alloc("counts", u32, max(spec.passes(s) for s in spec.sources) * size)
    with b.for_("p", b.lo, b.hi) as p:
        row = b.let("row", p * n)
        base = b.let("base", b.worker * worker_step + p * row_step)
        sorter = _RowSorter(b, spec, operands, records, n, row, counts, b.var("src", base), b.var("dst", base + n))
        for k, s in enumerate(reversed(spec.sources)):
            sorter.sort_by(s, first=k == 0)
        write_results(operands, records, sorter.src, row, p * take, ZERO, take)
        if spec.restore:
            found = b.var("found", ZERO)
            with b.for_("i", 0, n, vectorize=True) as i:
                b.assign(found, found + count_special(spec.sources[0], b.load(operands.x[0], row + i)))
            with b.if_(found > 0):
                restore_row(operands, row, n)
    return b.build()


@dataclass
class _RowSorter:
    b: KernelBuilder
    spec: SortSpec
    operands: Operands
    records: Records
    n: Expr
    row: Expr
    counts: str
    src: Ref  # where in scratch memory the records are
    dst: Ref

    def sort_by(self, s: Source, first: bool) -> None:
        b = self.b
        size, passes = 1 << self.spec.digit, self.spec.passes(s)
        with b.if_(self.n <= INSERTION):
            with b.for_("i", 0, self.n) as i:
                self.records.store(self.src + i, self._record(s, i, first))
            self._insert()
        with b.else_():
            with b.for_("c", 0, passes * size, vectorize=True) as c:
                b.store(self.counts, c, Const(0, u32))
            with b.for_("i", 0, self.n) as i:
                record = self._record(s, i, first)
                self.records.store(self.src + i, record)
                for q in range(passes):
                    d = b.let("d", self.records.digit(record, self._shift(q)) + q * size)
                    b.store(self.counts, d, b.load(self.counts, d) + 1)
            for q in range(passes):
                self._pass(q)

    def _shift(self, q: int) -> int:
        return self.spec.field + q * self.spec.digit

    def _record(self, s: Source, i: Expr, first: bool) -> tuple[Expr, ...]:
        if first:
            return build_record(self.operands, self.records, s, self.row, i)
        position = self.b.let("position", self.records.passenger(self.records.load(self.src + i)))
        key = self.operands.key(s, self.row + position.cast(i64))
        return tuple(self.b.let("record", v) for v in self.records.make(key, position))

    def _pass(self, q: int) -> None:
        """Moves all records to where their digit ``q`` belongs."""
        b, base = self.b, q << self.spec.digit
        digit = self.records.digit(self.records.load(self.src), self._shift(q))
        with b.if_(b.load(self.counts, digit + base).cast(i64).ne(self.n)):
            total = b.var("total", Const(0, u32))
            with b.for_("c", base, base + (1 << self.spec.digit)) as c:
                count = b.let("count", b.load(self.counts, c))
                b.store(self.counts, c, total)
                b.assign(total, total + count)
            with b.for_("i", 0, self.n) as i:
                record = self.records.load(self.src + i)
                d = b.let("d", self.records.digit(record, self._shift(q)) + base)
                place = b.let("place", b.load(self.counts, d))
                b.store(self.counts, d, place + 1)
                self.records.store(self.dst + place.cast(i64), record)
            old = b.let("old", self.src + 0)
            b.assign(self.src, self.dst)
            b.assign(self.dst, old)

    def _insert(self) -> None:
        """Insertion sort of the records."""
        b, records = self.b, self.records
        with b.for_("i", 1, self.n) as i:
            record = records.load(self.src + i)
            key = b.let("key", records.key(record))
            hole = b.var("hole", i + 0)
            before = self.src + maximum(hole - 1, 0)
            larger = records.key((b.load(records.main, before),)) > key
            with b.while_((hole > 0) & larger):
                records.store(self.src + hole, records.load(self.src + hole - 1))
                b.assign(hole, hole - 1)
            records.store(self.src + hole, record)


# ------------------------------------------------------------------------------------ short rows, side by side


def lanes_kernel(spec: SortSpec, lanes: int, longest: int) -> Kernel:
    """Sorts ``lanes`` rows of up to ``longest`` elements at once, one in each lane, by merge exchange.

    The comparisons do not depend on the data (Knuth, TAOCP vol. 3, 5.2.2, Algorithm M), so every one of them is a
    minimum and a maximum of whole vectors.  Index p of the range is a group of rows; the last group repeats the last
    row.  Positions break ties, which makes the sort stable.
    """
    b = KernelBuilder("sort_lanes")
    operands = Operands(b, spec)
    n, take, rows = b.integer("n"), b.integer("take"), b.integer("rows")
    s = spec.sources[0]
    raw = b.alloc("raw", Ty("u", s.bits), longest * lanes)
    records = raw if spec.carry == "none" else b.alloc("records", spec.record, longest * lanes)
    with b.for_("p", b.lo, b.hi) as p:
        with b.for_("lane", 0, lanes) as lane:
            row = b.let("row", minimum(p * lanes + lane, rows - 1) * n)
            with b.for_("i", 0, n) as i:
                b.store(raw, i * lanes + lane, b.load(operands.x[0], row + i))
        found = b.var("found", ZERO)
        with b.for_("j", 0, n * lanes, vectorize=True) as j:
            v = b.let("v", b.load(raw, j))
            key = order_key(s, v)
            if spec.restore:
                b.assign(found, found + count_special(s, v))
            if spec.carry == "none":
                b.store(raw, j, key)
            else:
                b.store(records, j, (key.cast(u64) << 32) | (j // lanes).cast(u64))
        _merge_exchange(b, records, n, lanes)
        with b.for_("lane", 0, lanes) as lane:
            r = b.let("r", minimum(p * lanes + lane, rows - 1))
            with b.for_("i", 0, take) as i:
                record = b.let("record", b.load(records, i * lanes + lane))
                if spec.carry == "none":
                    b.store(operands.out[0], r * take + i, element_bits(s, record))
                else:
                    position = b.let("position", record.cast(u32))
                    operands.gather(r * take + i, r * n + position.cast(i64))
                    if spec.top:
                        b.store(operands.out[1], r * take + i, position)
            if spec.restore:
                with b.if_(found > 0):
                    restore_row(operands, b.let("row", r * n), n)
    return b.build()


def _merge_exchange(b: KernelBuilder, buf: str, n: Expr, lanes: int) -> None:
    """Sorts the ``n`` vectors in ``buf`` lane by lane."""
    first = b.var("first_p", ONE)
    with b.while_(first * 2 < n):
        b.assign(first, first * 2)
    p = b.var("p", first + 0)
    with b.while_(p > 0):
        q, r, d = b.var("q", first + 0), b.var("r", ZERO), b.var("d", p + 0)
        running = b.var("running", ONE)
        with b.while_(running > 0):
            stop = b.let("stop", n - d)
            base = b.var("base", r + 0)
            with b.while_(base < stop):
                with b.for_("i", base, minimum(base + p, stop)) as i:
                    low = b.let("low", b.load(buf, i * lanes, lanes))
                    high = b.let("high", b.load(buf, (i + d) * lanes, lanes))
                    b.store(buf, i * lanes, minimum(low, high))
                    b.store(buf, (i + d) * lanes, maximum(low, high))
                b.assign(base, base + p * 2)
            b.assign(running, select(q > p, ONE, ZERO))
            b.assign(d, q - p)
            b.assign(q, q >> 1)
            b.assign(r, p)
        b.assign(p, p >> 1)


# ------------------------------------------------------------------------------------ a few largest


def select_kernel(spec: SortSpec) -> Kernel:
    """The first ``take`` of each row in key order, ``take <= SELECT_MOST``: values and positions.

    Keeps a sorted list.  A block of elements of which none comes before the list's end costs one comparison.
    """
    b = KernelBuilder("top_k_select")
    operands = Operands(b, spec)
    n, take = b.integer("n"), b.integer("take")
    s = spec.sources[0]
    ty = Ty("u", s.bits)
    keys, positions = b.alloc("keys", ty, SELECT_MOST), b.alloc("positions", u32, SELECT_MOST)
    with b.for_("p", b.lo, b.hi) as p:
        row = b.let("row", p * n)

        def insert(i: Expr, key: Expr, last: Expr) -> None:
            hole = b.var("hole", last + 0)
            before = maximum(hole - 1, 0)
            with b.while_((hole > 0) & (b.load(keys, before) > key)):
                b.store(keys, hole, b.load(keys, hole - 1))
                b.store(positions, hole, b.load(positions, hole - 1))
                b.assign(hole, hole - 1)
            b.store(keys, hole, key)
            b.store(positions, hole, i.cast(u32))

        with b.for_("i", 0, take) as i:
            insert(i, b.let("key", operands.key(s, row + i)), i)
        worst = b.var("worst", b.load(keys, take - 1))
        with b.for_("block", take, n, SELECT_BLOCK) as block:
            end = b.let("end", minimum(block + SELECT_BLOCK, n))
            least = b.var("least", Const((1 << s.bits) - 1, ty))
            with b.for_("i", block, end, vectorize=True) as i:
                b.assign(least, minimum(least, operands.key(s, row + i)))
            with b.if_(least < worst), b.for_("i", block, end) as i:
                key = b.let("key", operands.key(s, row + i))
                with b.if_(key < worst):
                    insert(i, key, take - 1)
                    b.assign(worst, b.load(keys, take - 1))
        with b.for_("i", 0, take) as i:
            position = b.let("position", b.load(positions, i))
            operands.gather(p * take + i, row + position.cast(i64))
            b.store(operands.out[1], p * take + i, position)
    return b.build()
