"""Radix sorts: stable, independent of the data's order, and the same for every dtype.

An element's bits become an unsigned *key* in the order wanted (``order_key``): NaN is the largest key, -0.0 and 0.0
have the same.  A *record* is a key with what travels along: nothing, the bits of one payload of at most 32 bits, or
the element's position.  Keys of at most 32 bits share a 64-bit word with their passenger; 64-bit keys have their
passengers in an array of their own.  Records are sorted from the least significant digit to the most significant one
(LSD radix sort; Knuth, TAOCP vol. 3, 5.2.5), ping-pong between two halves of scratch memory; digits in which all keys
agree cost nothing.  A sort by several keys runs once for each, the last key first.

* ``rows_kernel`` sorts whole rows, one index of the range each; short rows by insertion.
* ``build``, ``count``, ``scan``, ``scatter`` and ``finish`` kernels sort long rows by blocks, in parallel: each block
  counts its digits, a scan over (digit, block) gives every block its places, each block moves its records there.
* ``select_kernel`` keeps the few largest elements of each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..loop_ir import Const, Expr, Kernel, KernelBuilder, Ref, Ty, b1, i64, maximum, minimum, select, u32, u64

__all__ = [
    "BLOCK_COUNTS", "INSERTION", "SELECT_BLOCK", "Source", "SortSpec", "build_kernel", "count_kernel", "finish_kernel",
    "order_key", "rows_kernel", "scan_kernel", "scatter_kernel", "select_kernel",
]  # fmt: skip

INSERTION = 40  # rows up to this length are sorted by insertion
SELECT_BLOCK = 64  # elements that select_kernel looks at at once
BLOCK_COUNTS = 64  # blocks in a row, at most

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
                here = lambda i: i * words + w if words > 1 else i  # noqa: B023, E731
                self.b.store(out, here(to), self.b.load(x, here(at)))


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


def _build(operands: _Operands, records: _Records, s: Source, row: Expr, i: Expr, at: Expr) -> tuple[Expr, ...]:
    """The record of element ``i`` of the row; ``at``: where in memory a record of an earlier pass may be."""
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
        _finish(operands, records, sorter.src, row, p * take, const_zero(), take)
        if spec.restore:
            _restore(operands, row, n)
    return b.build()


def const_zero() -> Const:
    return Const(0, i64)


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
            return _build(self.operands, self.records, s, self.row, i, self.src)
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


def _restore(operands: _Operands, row: Expr, n: Expr) -> None:
    """Writes zeros and NaNs again, with the bits and in the order that they have in the input."""
    b = operands.b
    s = operands.spec.sources[0]
    top = 1 << s.bits - 1
    smaller, nans, special = b.var("smaller", const_zero()), b.var("nans", const_zero()), b.var("special", const_zero())
    with b.for_("i", 0, n, vectorize=True) as i:
        v = b.let("v", b.load(operands.x[0], row + i))
        _, nan = _is_unordered(s, v)
        b.assign(smaller, smaller + select(order_key(s, v) < top, Const(1, i64), Const(0, i64)))
        b.assign(nans, nans + select(nan, Const(1, i64), Const(0, i64)))
        b.assign(special, special + select(nan | v.eq(top), Const(1, i64), Const(0, i64)))
    with b.if_(special > 0):
        zero_at, nan_at = b.var("zero_at", row + smaller), b.var("nan_at", row + n - nans)
        with b.for_("i", 0, n) as i:
            v = b.let("v", b.load(operands.x[0], row + i))
            zero, nan = _is_unordered(s, v)
            with b.if_(zero):
                b.store(operands.out[0], zero_at, v)
                b.assign(zero_at, zero_at + 1)
            with b.if_(nan):
                b.store(operands.out[0], nan_at, v)
                b.assign(nan_at, nan_at + 1)
