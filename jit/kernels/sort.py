"""Radix sorts: stable, independent of the data's order, and the same for every dtype.

An element's bits become an unsigned *key* in the order wanted (``order_key``): NaN is the largest key, -0.0 and 0.0
have the same.  A *record* is a key with what travels along: nothing, the bits of one payload of at most 32 bits, or
the element's position.  Keys of at most 32 bits share a 64-bit word with their passenger; 64-bit keys have their
passengers in an array of their own.  Records are sorted from the least significant digit to the most significant one
(LSD radix sort; Knuth, TAOCP vol. 3, 5.2.5), ping-pong between two halves of scratch memory; digits in which all keys
agree cost nothing.  A sort by several keys runs once for each, the last key first.

* ``lanes_kernel`` sorts short rows side by side in the lanes of vectors, by a sorting network.
* ``rows_kernel`` sorts whole rows, one index of the range each; short rows by insertion.
* ``build``, ``count``, ``scan``, ``scatter`` and ``finish`` kernels sort long rows by blocks, in parallel: each block
  counts its digits, a scan over (digit, block) gives every block its places, each block moves its records there.
* ``select_kernel`` keeps the few largest elements of each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..loop_ir import Const, Expr, Kernel, KernelBuilder, Ref, Ty, i64, maximum, minimum, select, u32, u64

__all__ = [
    "SELECT_MOST", "SortSpec", "Source", "build_kernel", "count_kernel", "finish_kernel", "lanes_kernel", "order_key",
    "restore_kernel", "rows_kernel", "scan_kernel", "scatter_kernel", "select_kernel",
]  # fmt: skip

INSERTION = 40  # rows up to this length are sorted by insertion
SELECT_MOST = 64  # elements that select_kernel can keep
SELECT_BLOCK = 64  # elements that select_kernel looks at at once

_ZERO, _ONE = Const(0, i64), Const(1, i64)

# ------------------------------------------------------------------------------------ keys


@dataclass(frozen=True)
class Source:
    """One component of the sort key.

    Attributes:
        operand: which operand it comes from.
        part: "all" of a real number; "re", "im" of a complex one; or "nan": 2 if re is NaN, plus 1 if im is.
        kind: "u", "i" or "f": how the bits are to be read.
        bits: of the key.
        infinity: the bits of floating-point infinity.
        descending: the largest element has the smallest key.
    """

    operand: int
    part: str
    kind: str
    bits: int
    infinity: int = 0
    descending: bool = False


def order_key(s: Source, v: Expr) -> Expr:
    """Bits of an element -> its key, an unsigned integer of the same size."""
    top = 1 << s.bits - 1
    if s.kind == "u":
        key = v
    elif s.kind == "i":
        key = v ^ top
    else:
        magnitude = v & (top - 1)
        key = select(v >= top, ~v, v | top)
        key = select(magnitude.eq(0), Const(top, v.ty), key)
        key = select(magnitude > s.infinity, Const(2 * top - 1, v.ty), key)
    return ~key if s.descending else key


def _element_bits(s: Source, key: Expr) -> Expr:
    """The bits that have this key; of -0.0 and 0.0 the latter, of all NaNs one."""
    top = 1 << s.bits - 1
    if s.kind == "u":
        return key
    return key ^ top if s.kind == "i" else select(key >= top, key ^ top, ~key)


def _is_unordered(s: Source, v: Expr) -> tuple[Expr, Expr]:
    """Whether floating-point bits are a zero, and whether they are NaN: equal keys for different bits."""
    magnitude = v & ((1 << s.bits - 1) - 1)
    return magnitude.eq(0), magnitude > s.infinity


@dataclass(frozen=True)
class SortSpec:
    """What a sorting kernel is specialised on.

    Attributes:
        words: for each operand, the bits of a word of memory and the words of an element.
        sources: components of the key, the most significant first.
        carry: "none" (one operand, its key says all), "payload" (a second operand of at most 32 bits travels with
            the key), "index" (positions travel; results are gathered at the end).
        digit: bits that one pass sorts by.
        top: results are elements of operand 0 and int32 positions (top_k), not all operands.
    """

    words: tuple[tuple[int, int], ...]
    sources: tuple[Source, ...]
    carry: str
    digit: int
    top: bool = False

    @property
    def split(self) -> bool:
        """Passengers have an array of their own."""
        return self.carry != "none" and max(s.bits for s in self.sources) == 64

    @property
    def record(self) -> Ty:
        return u64 if self.carry != "none" else Ty("u", self.sources[0].bits)

    @property
    def field(self) -> int:
        """Where the key begins in a record."""
        return 32 if self.carry != "none" and not self.split else 0

    @property
    def restore(self) -> bool:
        """Zeros and NaNs have to be copied from the input, because their keys do not tell them apart."""
        return self.carry != "index" and self.sources[0].kind == "f"

    def passes(self, source: Source) -> int:
        return -(-source.bits // self.digit)


# ------------------------------------------------------------------------------------ memory


class _Operands:
    """The operands and results of a sort, as words."""

    def __init__(self, b: KernelBuilder, spec: SortSpec, outs: bool = True) -> None:
        self.b, self.spec = b, spec
        self.x = [b.pointer(f"x{j}", Ty("u", bits)) for j, (bits, _) in enumerate(spec.words)]
        words = ((spec.words[0]), (32, 1)) if spec.top else spec.words
        self.out = [b.pointer(f"out{j}", Ty("u", bits)) for j, (bits, _) in enumerate(words)] if outs else []

    def bits(self, s: Source, i: Expr) -> Expr:
        """The bits of component ``s`` of element ``i``."""
        load, buf = self.b.load, self.x[s.operand]
        if s.part == "all":
            return load(buf, i)
        if self.spec.words[s.operand][1] == 2:
            re, im = load(buf, i * 2), load(buf, i * 2 + 1)
        else:
            word = self.b.let("word", load(buf, i))
            re, im = word.cast(u32), (word >> 32).cast(u32)
        return re if s.part == "re" else im

    def key(self, s: Source, i: Expr) -> Expr:
        if s.part != "nan":
            return order_key(s, self.b.let("bits", self.bits(s, i)))
        flags: list[Expr] = []
        bits = self.spec.words[s.operand][0] * self.spec.words[s.operand][1] // 2
        for part, weight in (("re", 2), ("im", 1)):
            component = Source(s.operand, part, "f", bits, s.infinity)
            _, nan = _is_unordered(component, self.bits(component, i))
            flags.append(select(nan, Const(weight, Ty("u", s.bits)), Const(0, Ty("u", s.bits))))
        return flags[0] | flags[1]

    def gather(self, to: Expr, at: Expr) -> None:
        """Results ``to`` become the elements ``at`` of all operands."""
        for (_, words), x, out in zip(self.spec.words, self.x, self.out):
            for w in range(words):
                self.b.store(out, to * words + w, self.b.load(x, at * words + w))


class _Records:
    """The records in scratch memory."""

    def __init__(self, b: KernelBuilder, spec: SortSpec) -> None:
        self.b, self.spec = b, spec
        self.main = b.pointer("records", spec.record)
        self.side = b.pointer("passengers", u32) if spec.split else None

    def make(self, key: Expr, passenger: Expr | None) -> tuple[Expr, ...]:
        if passenger is None:
            return (key,)
        if self.spec.split:
            return key.cast(u64), passenger.cast(u32)
        return ((key.cast(u64) << 32) | passenger.cast(u32).cast(u64),)

    def load(self, i: Expr) -> tuple[Expr, ...]:
        main = self.b.let("record", self.b.load(self.main, i))
        return (main, self.b.let("passenger", self.b.load(self.side, i))) if self.side else (main,)

    def store(self, i: Expr, record: Sequence[Expr]) -> None:
        for buf, v in zip((self.main, self.side), record):
            self.b.store(buf, i, v)

    def key(self, record: Sequence[Expr]) -> Expr:
        return record[0] >> 32 if self.spec.field else record[0]

    def passenger(self, record: Sequence[Expr]) -> Expr:
        return record[1] if self.spec.split else record[0].cast(u32)

    def digit(self, record: Sequence[Expr], shift: Expr | int) -> Expr:
        """The digit that begins at bit ``shift`` of the record's first word."""
        v = record[0]
        shift = Const(shift, v.ty) if isinstance(shift, int) else shift.cast(v.ty)
        mask = min((1 << self.spec.digit) - 1, (1 << v.ty.bits) - 1)
        return ((v >> shift) & mask).cast(i64)


def _build(operands: _Operands, records: _Records, s: Source, row: Expr, i: Expr) -> tuple[Expr, ...]:
    """The record of element ``i`` of the row."""
    b, spec = operands.b, operands.spec
    if spec.carry == "none":
        passenger = None
    elif spec.carry == "payload":
        passenger = b.load(operands.x[1], row + i)
    else:
        passenger = i
    return tuple(b.let("record", v) for v in records.make(operands.key(s, row + i), passenger))


# ------------------------------------------------------------------------------------ whole rows


def rows_kernel(spec: SortSpec) -> Kernel:
    """Sorts row ``p`` of ``n`` elements for each p of the range; writes its first ``take`` results.

    Scratch: ``2 * n`` records from ``worker * worker_step + p * row_step`` on.
    """
    b = KernelBuilder("top_k_rows" if spec.top else "sort_rows")
    operands, records = _Operands(b, spec), _Records(b, spec)
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
        _finish(operands, records, sorter.src, row, p * take, _ZERO, take)
        if spec.restore:
            found = b.var("found", _ZERO)
            with b.for_("i", 0, n, vectorize=True) as i:
                b.assign(found, found + _special(spec.sources[0], b.load(operands.x[0], row + i)))
            with b.if_(found > 0):
                _restore(operands, row, n)
    return b.build()


@dataclass
class _RowSorter:
    b: KernelBuilder
    spec: SortSpec
    operands: _Operands
    records: _Records
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
            return _build(self.operands, self.records, s, self.row, i)
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


def _finish(
    operands: _Operands, records: _Records, src: Expr, row: Expr, out_row: Expr, begin: Expr, end: Expr
) -> None:
    """Writes results [begin, end) of a row from its sorted records, which begin at ``src``."""
    b, spec = operands.b, operands.spec
    s = spec.sources[0]
    with b.for_("i", begin, end, vectorize=True) as i:
        record = records.load(src + i)
        if spec.carry != "index":
            bits = _element_bits(s, records.key(record).cast(Ty("u", s.bits)))
            b.store(operands.out[0], out_row + i, bits)
            if spec.carry == "payload":
                b.store(operands.out[1], out_row + i, records.passenger(record).cast(Ty("u", spec.words[1][0])))
        else:
            position = b.let("position", records.passenger(record))
            operands.gather(out_row + i, row + position.cast(i64))
            if spec.top:
                b.store(operands.out[1], out_row + i, position)


def _special(s: Source, v: Expr) -> Expr:
    """1 for bits that the key does not give back: -0.0 and NaN."""
    _, nan = _is_unordered(s, v)
    return select(nan | v.eq(1 << s.bits - 1), _ONE, _ZERO)


def _restore(operands: _Operands, row: Expr, n: Expr) -> None:
    """Writes zeros and NaNs again, with the bits and in the order that they have in the input."""
    b = operands.b
    s = operands.spec.sources[0]
    smaller, nans = b.var("smaller", _ZERO), b.var("nans", _ZERO)
    with b.for_("i", 0, n, vectorize=True) as i:
        v = b.let("v", b.load(operands.x[0], row + i))
        _, nan = _is_unordered(s, v)
        b.assign(smaller, smaller + select(order_key(s, v) < (1 << s.bits - 1), _ONE, _ZERO))
        b.assign(nans, nans + select(nan, _ONE, _ZERO))
    zero_at, nan_at = b.var("zero_at", row + smaller), b.var("nan_at", row + n - nans)
    with b.for_("i", 0, n) as i:
        v = b.let("v", b.load(operands.x[0], row + i))
        zero, nan = _is_unordered(s, v)
        for test, place in ((zero, zero_at), (nan, nan_at)):
            with b.if_(test):
                b.store(operands.out[0], place, v)
                b.assign(place, place + 1)


# ------------------------------------------------------------------------------------ long rows, by blocks


class _Blocks:
    """Index p of the range as a block of a row, and which half of the records holds them before a pass.

    ``varying[p]``: the bits in which the keys of block p differ from the first key of the row.  A pass whose digit
    varies nowhere in the row is skipped, so where the records lie follows from ``varying``.
    """

    def __init__(self, b: KernelBuilder, spec: SortSpec) -> None:
        self.b, self.spec = b, spec
        self.varying = b.pointer("varying", u64)
        self.n, self.half = b.integer("n"), b.integer("half")
        self.blocks, self.size = b.integer("blocks"), b.integer("block_size")

    def locate(self, p: Expr) -> tuple[Expr, Expr, Expr]:
        """Row of block p, and its elements [begin, end)."""
        r = self.b.let("r", p // self.blocks)
        begin = self.b.let("begin", minimum((p - r * self.blocks) * self.size, self.n))
        return r, begin, self.b.let("end", minimum(begin + self.size, self.n))

    def state(self, r: Expr, q: Expr) -> tuple[Expr, Expr, Expr]:
        """Where row r lies before pass q, where the pass puts it, and whether the pass is run."""
        b, digit = self.b, self.spec.digit
        bits = b.var("bits", Const(0, u64))
        with b.for_("k", r * self.blocks, (r + 1) * self.blocks) as k:
            b.assign(bits, bits | b.load(self.varying, k))
        half = b.var("half_now", _ZERO)
        with b.for_("earlier", 0, q) as earlier:
            b.assign(half, half ^ select(self._digit(bits, earlier).ne(0), _ONE, _ZERO))
        row = b.let("row_at", r * self.n)
        runs = self._digit(bits, minimum(q, (63 // digit))).ne(0)
        return b.let("src", row + half * self.half), b.let("dst", row + (1 - half) * self.half), b.let("runs", runs)

    def _digit(self, bits: Expr, q: Expr) -> Expr:
        return (bits >> (q * self.spec.digit).cast(u64)) & ((1 << self.spec.digit) - 1)


def build_kernel(spec: SortSpec) -> Kernel:
    """Makes the records of a block, and finds which bits of the keys vary and whether any key is ``special``."""
    b = KernelBuilder("sort_build")
    operands, records = _Operands(b, spec, outs=False), _Records(b, spec)
    special = b.pointer("special", i64)
    blocks = _Blocks(b, spec)
    s = spec.sources[0]
    with b.for_("p", b.lo, b.hi) as p:
        r, begin, end = blocks.locate(p)
        row = b.let("row", r * blocks.n)
        first = b.let("first", operands.key(s, row))
        bits, found = b.var("bits_here", Const(0, first.ty)), b.var("found", _ZERO)
        with b.for_("i", begin, end, vectorize=True) as i:
            record = _build(operands, records, s, row, i)
            records.store(row + i, record)
            key = records.key(record).cast(first.ty)
            b.assign(bits, bits | (key ^ first))
            if spec.restore:
                b.assign(found, found + _special(s, b.load(operands.x[0], row + i)))
        b.store(blocks.varying, p, bits.cast(u64))
        b.store(special, p, found)
    return b.build()


def count_kernel(spec: SortSpec) -> Kernel:
    """Counts the digits of pass ``q`` in each block."""
    b = KernelBuilder("sort_count")
    records, counts = _Records(b, spec), b.pointer("counts", u32)
    blocks, q = _Blocks(b, spec), b.integer("q")
    radix = 1 << spec.digit
    with b.for_("p", b.lo, b.hi) as p:
        r, begin, end = blocks.locate(p)
        src, _, runs = blocks.state(r, q)
        with b.if_(runs):
            base = b.let("base", p * radix)
            with b.for_("c", base, base + radix, vectorize=True) as c:
                b.store(counts, c, Const(0, u32))
            shift = b.let("shift", q * spec.digit + spec.field)
            with b.for_("i", begin, end) as i:
                d = b.let("d", base + records.digit((b.load(records.main, src + i),), shift))
                b.store(counts, d, b.load(counts, d) + 1)
    return b.build()


def scan_kernel(spec: SortSpec) -> Kernel:
    """Turns the counts of pass ``q`` of a row into the first place of every (digit, block)."""
    b = KernelBuilder("sort_scan")
    counts = b.pointer("counts", u32)
    blocks, q = _Blocks(b, spec), b.integer("q")
    radix = 1 << spec.digit
    with b.for_("r", b.lo, b.hi) as r:
        _, _, runs = blocks.state(r, q)
        with b.if_(runs):
            total = b.var("total", Const(0, u32))
            with b.for_("d", 0, radix) as d, b.for_("k", r * blocks.blocks, (r + 1) * blocks.blocks) as k:
                at = b.let("at", k * radix + d)
                count = b.let("count", b.load(counts, at))
                b.store(counts, at, total)
                b.assign(total, total + count)
    return b.build()


def scatter_kernel(spec: SortSpec) -> Kernel:
    """Moves the records of a block to where their digit of pass ``q`` belongs."""
    b = KernelBuilder("sort_scatter")
    records, counts = _Records(b, spec), b.pointer("counts", u32)
    blocks, q = _Blocks(b, spec), b.integer("q")
    with b.for_("p", b.lo, b.hi) as p:
        r, begin, end = blocks.locate(p)
        src, dst, runs = blocks.state(r, q)
        with b.if_(runs):
            base = b.let("base", p << spec.digit)
            shift = b.let("shift", q * spec.digit + spec.field)
            with b.for_("i", begin, end) as i:
                record = records.load(src + i)
                d = b.let("d", base + records.digit(record, shift))
                place = b.let("place", b.load(counts, d))
                b.store(counts, d, place + 1)
                records.store(dst + place.cast(i64), record)
    return b.build()


def finish_kernel(spec: SortSpec) -> Kernel:
    """Writes a block of the results of sorted rows, of which ``take`` are wanted; ``q``: the number of passes."""
    b = KernelBuilder("sort_finish")
    operands, records = _Operands(b, spec), _Records(b, spec)
    blocks, q, take = _Blocks(b, spec), b.integer("q"), b.integer("take")
    with b.for_("p", b.lo, b.hi) as p:
        r, begin, end = blocks.locate(p)
        src, _, _ = blocks.state(r, q)
        _finish(operands, records, src, r * blocks.n, r * take, begin, b.let("stop", minimum(end, take)))
    return b.build()


def restore_kernel(spec: SortSpec) -> Kernel:
    """Puts zeros and NaNs right in the rows that ``special`` names."""
    b = KernelBuilder("sort_restore")
    operands, special = _Operands(b, spec), b.pointer("special", i64)
    n, blocks = b.integer("n"), b.integer("blocks")
    with b.for_("r", b.lo, b.hi) as r:
        found = b.var("found", _ZERO)
        with b.for_("k", r * blocks, (r + 1) * blocks) as k:
            b.assign(found, found + b.load(special, k))
        with b.if_(found > 0):
            _restore(operands, b.let("row", r * n), n)
    return b.build()


# ------------------------------------------------------------------------------------ short rows, side by side


def lanes_kernel(spec: SortSpec, lanes: int, longest: int) -> Kernel:
    """Sorts ``lanes`` rows of up to ``longest`` elements at once, one in each lane, by merge exchange.

    The comparisons do not depend on the data (Knuth, TAOCP vol. 3, 5.2.2, Algorithm M), so every one of them is a
    minimum and a maximum of whole vectors.  Index p of the range is a group of rows; the last group repeats the last
    row.  Positions break ties, which makes the sort stable.
    """
    b = KernelBuilder("sort_lanes")
    operands = _Operands(b, spec)
    n, take, rows = b.integer("n"), b.integer("take"), b.integer("rows")
    s = spec.sources[0]
    raw = b.alloc("raw", Ty("u", s.bits), longest * lanes)
    records = raw if spec.carry == "none" else b.alloc("records", spec.record, longest * lanes)
    with b.for_("p", b.lo, b.hi) as p:
        with b.for_("lane", 0, lanes) as lane:
            row = b.let("row", minimum(p * lanes + lane, rows - 1) * n)
            with b.for_("i", 0, n) as i:
                b.store(raw, i * lanes + lane, b.load(operands.x[0], row + i))
        found = b.var("found", _ZERO)
        with b.for_("j", 0, n * lanes, vectorize=True) as j:
            v = b.let("v", b.load(raw, j))
            key = order_key(s, v)
            if spec.restore:
                b.assign(found, found + _special(s, v))
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
                    b.store(operands.out[0], r * take + i, _element_bits(s, record))
                else:
                    position = b.let("position", record.cast(u32))
                    operands.gather(r * take + i, r * n + position.cast(i64))
                    if spec.top:
                        b.store(operands.out[1], r * take + i, position)
            if spec.restore:
                with b.if_(found > 0):
                    _restore(operands, b.let("row", r * n), n)
    return b.build()


def _merge_exchange(b: KernelBuilder, buf: str, n: Expr, lanes: int) -> None:
    """Sorts the ``n`` vectors in ``buf`` lane by lane."""
    first = b.var("first_p", _ONE)
    with b.while_(first * 2 < n):
        b.assign(first, first * 2)
    p = b.var("p", first + 0)
    with b.while_(p > 0):
        q, r, d = b.var("q", first + 0), b.var("r", _ZERO), b.var("d", p + 0)
        running = b.var("running", _ONE)
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
            b.assign(running, select(q > p, _ONE, _ZERO))
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
    operands = _Operands(b, spec)
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
