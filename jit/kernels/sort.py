"""Sorting kernels for whole rows, all of them stable.

* ``lanes_kernel`` sorts rows side by side in the lanes of vectors, by a sorting network; ``across_kernel`` a row by itself.
* ``rows_kernel`` sorts each row by least-significant-digit radix sort (Knuth, TAOCP vol. 3, 5.2.5), ping-pong between
  two halves of scratch memory; digits in which all keys agree cost nothing.  A sort by several keys runs once for
  each, the last key first.
* ``select_kernel`` keeps the few first elements of each row.

Long rows are sorted by blocks: ``sort_blocks.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Ref, Ty, i64, maximum, minimum, op_, select, u32
from .sort_network import merge_lanes, sort_vectors, transposed
from .sort_records import (
    ZERO,
    Operands,
    Records,
    SortSpec,
    Source,
    build_record,
    count_special,
    element_bits,
    flipped,
    is_special,
    order_key,
    several,
    with_position,
    write_results,
)  # fmt: skip
from .sort_restore import restore_row

__all__ = ["SELECT_MOST", "RowSorter", "across_kernel", "lanes_kernel", "places_for", "rows_kernel", "select_kernel"]

INSERTION = 40  # rows up to this length are sorted by insertion
SELECT_PLACES = (4, 16, 64)  # in the lists of select_kernel; those of the shortest move one after the other
SELECT_MOST = SELECT_PLACES[-1]
SELECT_BLOCK = 64  # elements that select_kernel looks at at once
_LEAST_WIDTH = 32  # of the lines that are looked at before
_SELECT_PART = 16  # of these, once one of them is wanted
_LOOKED_AT = 1 << 12  # the first elements of a row, at most

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
        sorter = RowSorter(b, spec, operands, records, n, row, counts, b.var("src", base), b.var("dst", base + n))
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
class RowSorter:
    """Sorts the ``n`` records of a row, with room for as many more."""

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
        """Makes the records of a source and sorts them."""

        def made(i: Expr) -> Sequence[Expr]:
            record = self._record(s, i, first)
            self.records.store(self.src + i, record)
            return record

        self._sort(s, made, make=True)

    def sort(self, s: Source) -> None:
        """Sorts records that have been made."""
        self._sort(s, lambda i: self.records.load(self.src + i), make=False)

    def _sort(self, s: Source, record_at: Callable[[Expr], Sequence[Expr]], make: bool) -> None:
        b, size, passes = self.b, 1 << self.spec.digit, self.spec.passes(s)
        with b.if_(self.n <= INSERTION):
            if make:
                with b.for_("i", 0, self.n) as i:
                    record_at(i)
            self._insert()
        with b.else_():
            with b.for_("c", 0, passes * size, vectorize=True) as c:
                b.store(self.counts, c, Const(0, u32))

            def count(i: Expr) -> None:
                record = record_at(i)
                for q in range(passes):
                    d = b.let("d", self.records.digit(record, self._shift(q)) + q * size)
                    b.store(self.counts, d, b.load(self.counts, d) + 1)

            several(b, ZERO, self.n, count)
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

            def move(i: Expr) -> None:
                record = self.records.load(self.src + i)
                d = b.let("d", self.records.digit(record, self._shift(q)) + base)
                place = b.let("place", b.load(self.counts, d))
                b.store(self.counts, d, place + 1)
                self.records.store(self.dst + place.cast(i64), record)

            several(b, ZERO, self.n, move)
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


# ------------------------------------------------------------------------------------ by a network of vectors


def lanes_kernel(spec: SortSpec, lanes: int) -> Kernel:
    """Sorts ``lanes`` rows at once, one in each lane, by the network of ``sort_network.py``.

    Index p of the range is a group of rows; the last group repeats the last row.  Positions break ties, which makes the
    sort stable; beside keys of 64 bits they are vectors of their own.  Scratch: ``size = padded(n)`` vectors for each worker.
    """
    b = KernelBuilder("sort_lanes")
    group = _LaneGroup(b, spec, lanes)
    with b.for_("p", b.lo, b.hi) as p:
        special = group.read(p)
        sort_vectors(b, group.records, group.at, group.n, group.size, lanes, group.positions)
        group.write(p)
        if spec.restore:
            with b.if_(special), group.each(p) as (_, row):
                restore_row(group.operands, b.let("start", row * group.n), group.n)
    return b.build()


def across_kernel(spec: SortSpec, lanes: int) -> Kernel:
    """Sorts row ``p`` for each p of the range in all lanes at once: a part of it in each, and then their merges.

    Scratch: twice ``size`` vectors for each worker, ``size`` being a power of two and no less than ``lanes``.
    """
    b = KernelBuilder("sort_across")
    v = _Vectors(b, spec, lanes, 2)
    n, records, size = v.n, v.records, v.size
    merged = b.let("merged", v.base + size * lanes)
    with b.for_("p", b.lo, b.hi) as p:
        row, special = b.let("row", p * n), v.nothing_special()
        whole = b.let("whole", n & -lanes)
        with b.for_("i", 0, whole, lanes) as i:
            b.store(records, v.base + i, v.record(row, i, lanes, special))
        with b.for_("i", whole, n) as i:
            b.store(records, v.base + i, v.record(row, i, 1, special))
        v.pad(n)
        sort_vectors(b, records, v.at, b.let("vectors", (n + lanes - 1) >> lanes.bit_length() - 1), size, lanes)
        merge_lanes(b, records, v.at, size, lanes)
        with b.for_("i", 0, size, lanes) as i:
            parts = transposed([b.load(records, v.base + (i + k) * lanes, lanes) for k in range(lanes)])
            for lane, part in enumerate(parts):
                b.store(records, merged + size * lane + i, part)
        with b.for_("i", 0, v.take, vectorize=True) as i:
            v.result(p * v.take + i, row, b.load(records, merged + i))
        if spec.restore:
            with b.if_(v.any_special(special)):
                restore_row(v.operands, row, n)
    return b.build()


class _Vectors:
    """Records in scratch memory, as vectors.

    They are signed: more machines have the minimum and maximum of signed numbers.
    """

    def __init__(self, b: KernelBuilder, spec: SortSpec, lanes: int, rooms: int = 1) -> None:
        self.b, self.spec, self.lanes = b, spec, lanes
        self.source = spec.sources[0]
        self.operands = Operands(b, spec)
        self.type = Ty("i", spec.record.bits)
        self.records = b.pointer("records", self.type)
        self.positions = b.pointer("positions", i64) if spec.split else None
        self.n, self.take, self.size = (b.integer(name) for name in ("n", "take", "size"))
        self.at = b.let("at", b.worker * self.size * rooms)
        self.base = b.let("base", self.at * lanes)

    def nothing_special(self) -> Ref:
        return self.b.var("special", Const(0, Ty("u", self.source.bits, self.lanes)))

    def any_special(self, special: Ref) -> Expr:
        return op_("any", special.ne(0))

    def record(self, start: Expr, i: Expr, width: int, special: Ref) -> Expr:
        """The records of ``width`` elements of the row at ``start``; ``special`` notes whether one has to be restored."""
        v = self.b.let("v", self.b.load(self.operands.x[0], start + i, width))
        if self.spec.restore:
            one = select(is_special(self.source, v), Const(1, v.ty), 0)
            self.b.assign(special, special | (one if width == self.lanes else one.splat(self.lanes)))
        key = order_key(self.source, v)
        return flipped(key if self.spec.carry == "none" or self.spec.split else with_position(key, i))

    def pad(self, elements: Expr) -> None:
        """The largest record behind so many ones."""
        largest = Const((1 << self.type.bits - 1) - 1, self.type)
        with self.b.for_("i", self.base + elements, self.base + self.size * self.lanes, vectorize=True) as i:
            self.b.store(self.records, i, largest)
            if self.positions is not None:
                self.b.store(self.positions, i, largest)

    def result(self, to: Expr, start: Expr, record: Expr) -> None:
        """Writes what a record, or a position, of the row at ``start`` stands for."""
        if self.spec.split:
            self.place(to, start, self.b.let("position", record.cast(u32)))
            return
        bits = self.b.let("record", flipped(record))
        if self.spec.carry == "none":
            self.b.store(self.operands.out[0], to, element_bits(self.source, bits))
            return
        self.place(to, start, self.b.let("position", bits.cast(u32)))

    def place(self, to: Expr, start: Expr, position: Expr) -> None:
        self.operands.gather(to, start + position.cast(i64))
        if self.spec.top:
            self.b.store(self.operands.out[1], to, position)


class _LaneGroup(_Vectors):
    """Rows that are sorted side by side: record i of each of them makes a vector."""

    def __init__(self, b: KernelBuilder, spec: SortSpec, lanes: int) -> None:
        super().__init__(b, spec, lanes)
        self.rows = b.integer("rows")

    def row(self, p: Expr, lane: Expr | int) -> Expr:
        return self.b.let("row", minimum(p * self.lanes + lane, self.rows - 1))

    @contextmanager
    def each(self, p: Expr) -> Iterator[tuple[Expr, Expr]]:
        """Loops over (lane, row) of group ``p``."""
        with self.b.for_("lane", 0, self.lanes) as lane:
            yield lane, self.row(p, lane)

    def read(self, p: Expr) -> Expr:
        """Makes the records of group ``p``; whether there is anything to restore."""
        b, n, lanes = self.b, self.n, self.lanes
        whole = b.let("whole", n & -lanes)
        starts = [b.let("start", self.row(p, lane) * n) for lane in range(lanes)]
        special = self.nothing_special()
        with b.for_("i", 0, whole, lanes) as i:
            rows = [self.record(start, i, lanes, special) for start in starts]
            for k, v in enumerate(transposed(rows)):
                b.store(self.records, self.base + (i + k) * lanes, v)
                if self.positions is not None:
                    b.store(self.positions, self.base + (i + k) * lanes, (i + k).splat(lanes))
        with self.each(p) as (lane, row):
            start = b.let("start", row * n)
            with b.for_("i", whole, n) as i:
                b.store(self.records, self.base + i * lanes + lane, self.record(start, i, 1, special))
                if self.positions is not None:
                    b.store(self.positions, self.base + i * lanes + lane, i)
        self.pad(n * lanes)
        return self.any_special(special)

    def write(self, p: Expr) -> None:
        """Writes the first ``take`` results of group ``p``."""
        b, take, lanes = self.b, self.take, self.lanes
        whole: Expr = ZERO
        if self.spec.carry == "none":
            whole = b.let("whole", take & -lanes)
            starts = [b.let("result", self.row(p, lane) * take) for lane in range(lanes)]
            with b.for_("i", 0, whole, lanes) as i:
                vectors = [flipped(b.load(self.records, self.base + (i + k) * lanes, lanes)) for k in range(lanes)]
                rows = transposed([element_bits(self.source, v) for v in vectors])
                for start, v in zip(starts, rows):
                    b.store(self.operands.out[0], start + i, v)
        with self.each(p) as (lane, row):
            to, start = b.let("result", row * take), b.let("start", row * self.n)
            with b.for_("i", whole, take) as i:
                self.result(to + i, start, b.load(self.positions or self.records, self.base + i * lanes + lane))


# ------------------------------------------------------------------------------------ a few largest


def places_for(take: int) -> int:
    """The places in the list of ``select_kernel``."""
    return next(places for places in SELECT_PLACES if take <= places)


def select_kernel(spec: SortSpec, places: int) -> Kernel:
    """The first ``take`` of each row in key order, ``take <= places``: values and positions.

    Keeps a sorted list.  A block of elements of which none comes before the list's end costs one comparison.

    The list begins with a limit: of the row's first elements, laid out in lines of twice the places or more, the least key of each column is
    looked for, and ``take`` elements of the row are no larger than the ``take``-th of those.  (Without it most elements of a row's
    beginning came into the list and left it again, which took four times as long as all others of 1000.)
    """
    b = KernelBuilder("top_k_select")
    operands = Operands(b, spec)
    n, take = b.integer("n"), b.integer("take")
    s, width = spec.sources[0], max(_LEAST_WIDTH, 2 * places)
    narrow, ty = Ty("u", s.bits), Ty("u", max(s.bits, 32))  # of keys, and of those in the list
    largest = Const((1 << s.bits) - 1, ty)
    # from place 1 on, behind a key that is below all others
    keys, positions = b.alloc("keys", ty, places + 1), b.alloc("positions", u32, places + 1)
    columns = b.alloc("columns", ty, width)
    lines = b.let("lines", select(n >= 3 * width, minimum(n, _LOOKED_AT) // width, 0))
    b.store(keys, 0, Const(0, ty))
    b.store(positions, 0, Const(0, u32))

    def insert(i: Expr, key: Expr, last: Expr) -> None:
        """Behind its equals.  What is in the last place leaves the list."""
        hole = b.var("hole", last + 0)
        with b.while_(b.load(keys, hole - 1) > key):
            b.store(keys, hole, b.load(keys, hole - 1))
            b.store(positions, hole, b.load(positions, hole - 1))
            b.assign(hole, hole - 1)
        b.store(keys, hole, key)
        b.store(positions, hole, i.cast(u32))

    at_once = places > SELECT_PLACES[0]
    if at_once:
        new_keys, new_positions = b.alloc("new_keys", ty, places), b.alloc("new_positions", u32, places)

    def insert_at_once(i: Expr, key: Expr) -> None:
        position = b.let("position", i.cast(u32))
        with b.for_("j", 0, places, vectorize=True) as j:
            here, before = b.let("here", b.load(keys, j + 1)), b.let("before", b.load(keys, j))
            b.store(new_keys, j, minimum(here, maximum(before, key)))
            moved = select(before > key, b.load(positions, j), position)
            b.store(new_positions, j, select(here > key, moved, b.load(positions, j + 1)))
        for old, new in ((keys, new_keys), (positions, new_positions)):
            with b.for_("j", 0, places, vectorize=True) as j:
                b.store(old, j + 1, b.load(new, j))

    def key_of(i: Expr) -> Ref:
        return b.let("key", operands.key(s, i).cast(ty))

    with b.for_("p", b.lo, b.hi) as p:
        row = b.let("row", p * n)
        limit = b.var("limit", largest)
        with b.if_(lines > 0):
            with b.for_("j", 0, width, vectorize=True) as j:
                b.store(columns, j, key_of(row + j))
            with b.for_("line", 1, lines) as line:
                at = b.let("at", row + line * width)
                with b.for_("j", 0, width, vectorize=True) as j:
                    b.store(columns, j, minimum(b.load(columns, j), key_of(at + j)))
            with b.for_("j", 0, width) as j:
                key, below = b.let("key", b.load(columns, j)), b.var("below", Const(0, ty))
                with b.for_("i", 0, width, vectorize=True) as i:
                    b.assign(below, below + (b.load(columns, i) <= key).cast(ty))
                b.assign(limit, select(below >= take.cast(ty), minimum(limit, key), limit))
        known = b.let("known", limit < largest)
        first = b.let("first", select(known, Const(0, i64), take))  # elements that are in the list to begin with
        with b.for_("i", 0, places) as i:
            b.store(keys, i + 1, largest)
        with b.for_("i", 0, first) as i:
            insert(i, key_of(row + i), i + 1)
        worst = b.var("worst", select(known, limit + 1, b.load(keys, take)))
        with b.for_("block", first, n, SELECT_BLOCK) as block:
            end = b.let("end", minimum(block + SELECT_BLOCK, n))
            least = b.var("least", Const((1 << s.bits) - 1, narrow))
            with b.for_("i", block, end, vectorize=True) as i:
                b.assign(least, minimum(least, operands.key(s, row + i)))
            with b.if_(least.cast(ty) < worst), b.for_("part", block, end, _SELECT_PART) as part:
                count = b.let("count", minimum(end - part, _SELECT_PART))
                lesser = b.var("lesser", largest)
                with b.for_("i", 0, count, vectorize=True) as i:
                    key = key_of(row + part + i)
                    b.store(columns, i, key)
                    b.assign(lesser, minimum(lesser, key))
                with b.if_(lesser < worst), b.for_("i", 0, count) as i:
                    key = b.let("key", b.load(columns, i))
                    with b.if_(key < worst):
                        if at_once:
                            insert_at_once(part + i, key)
                        else:
                            insert(part + i, key, take)
                        b.assign(worst, minimum(worst, b.load(keys, take)))
        with b.for_("i", 0, take) as i:
            position = b.let("position", b.load(positions, i + 1))
            operands.gather(p * take + i, row + position.cast(i64))
            b.store(operands.out[1], p * take + i, position)
    return b.build()
