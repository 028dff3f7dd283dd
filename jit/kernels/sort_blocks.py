"""Radix sort of long rows by blocks, in parallel.

For each digit, ``count`` counts its values in every block, ``scan`` turns the counts into the first place of each
(digit, block), and ``scatter`` moves every block's records there, in order.  Blocks are cut by the length of the row,
so the number of threads changes nothing.
"""

from __future__ import annotations

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, i64, minimum, select, u32, u64
from .sort_records import (
    ONE,
    ZERO,
    Operands,
    Records,
    SortSpec,
    build_record,
    count_special,
    several,
    write_results,
)  # fmt: skip

__all__ = ["build_kernel", "count_kernel", "finish_kernel", "scan_kernel", "scatter_kernel"]


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
        half = b.var("half_now", ZERO)
        with b.for_("earlier", 0, q) as earlier:
            b.assign(half, half ^ select(self._digit(bits, earlier).ne(0), ONE, ZERO))
        row = b.let("row_at", r * self.n)
        runs = self._digit(bits, minimum(q, (63 // digit))).ne(0)
        return b.let("src", row + half * self.half), b.let("dst", row + (1 - half) * self.half), b.let("runs", runs)

    def _digit(self, bits: Expr, q: Expr) -> Expr:
        return (bits >> (q * self.spec.digit).cast(u64)) & ((1 << self.spec.digit) - 1)


def build_kernel(spec: SortSpec) -> Kernel:
    """Makes the records of a block, and finds which bits of the keys vary and whether any key is ``special``."""
    b = KernelBuilder("sort_build")
    operands, records = Operands(b, spec, outs=False), Records(b, spec)
    special = b.pointer("special", i64)
    blocks = _Blocks(b, spec)
    s = spec.sources[0]
    with b.for_("p", b.lo, b.hi) as p:
        r, begin, end = blocks.locate(p)
        row = b.let("row", r * blocks.n)
        first = b.let("first", operands.key(s, row))
        bits, found = b.var("bits_here", Const(0, first.ty)), b.var("found", ZERO)
        with b.for_("i", begin, end, vectorize=True) as i:
            record = build_record(operands, records, s, row, i)
            records.store(row + i, record)
            key = records.key(record).cast(first.ty)
            b.assign(bits, bits | (key ^ first))
            if spec.restore:
                b.assign(found, found + count_special(s, b.load(operands.x[0], row + i)))
        b.store(blocks.varying, p, bits.cast(u64))
        b.store(special, p, found)
    return b.build()


def count_kernel(spec: SortSpec) -> Kernel:
    """Counts the digits of pass ``q`` in each block."""
    b = KernelBuilder("sort_count")
    records, counts = Records(b, spec), b.pointer("counts", u32)
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

            def count(i: Expr) -> None:
                d = b.let("d", base + records.digit((b.load(records.main, src + i),), shift))
                b.store(counts, d, b.load(counts, d) + 1)

            several(b, begin, end, count)
    return b.build()


def scan_kernel(spec: SortSpec) -> Kernel:
    """Turns the counts of pass ``q`` of a row into the first place of every (digit, block)."""
    b = KernelBuilder("sort_scan")
    counts = b.pointer("counts", u32)
    blocks, q = _Blocks(b, spec), b.integer("q")
    radix = 1 << spec.digit
    places = b.alloc("places", u32, radix)
    with b.for_("r", b.lo, b.hi) as r:
        first = b.let("first", r * blocks.blocks)
        _, _, runs = blocks.state(r, q)
        with b.if_(runs):
            with b.for_("d", 0, radix, vectorize=True) as d:
                b.store(places, d, Const(0, u32))
            with b.for_("k", first, first + blocks.blocks) as k, b.for_("d", 0, radix, vectorize=True) as d:
                count = b.let("count", b.load(counts, k * radix + d))
                b.store(counts, k * radix + d, b.load(places, d))
                b.store(places, d, b.load(places, d) + count)
            total = b.var("total", Const(0, u32))
            with b.for_("d", 0, radix) as d:
                count = b.let("count", b.load(places, d))
                b.store(places, d, total)
                b.assign(total, total + count)
            with b.for_("k", first, first + blocks.blocks) as k, b.for_("d", 0, radix, vectorize=True) as d:
                b.store(counts, k * radix + d, b.load(counts, k * radix + d) + b.load(places, d))
    return b.build()


def scatter_kernel(spec: SortSpec) -> Kernel:
    """Moves the records of a block to where their digit of pass ``q`` belongs."""
    b = KernelBuilder("sort_scatter")
    records, counts = Records(b, spec), b.pointer("counts", u32)
    blocks, q = _Blocks(b, spec), b.integer("q")
    with b.for_("p", b.lo, b.hi) as p:
        r, begin, end = blocks.locate(p)
        src, dst, runs = blocks.state(r, q)
        with b.if_(runs):
            base = b.let("base", p << spec.digit)
            shift = b.let("shift", q * spec.digit + spec.field)

            def move(i: Expr) -> None:
                record = records.load(src + i)
                d = b.let("d", base + records.digit(record, shift))
                place = b.let("place", b.load(counts, d))
                b.store(counts, d, place + 1)
                records.store(dst + place.cast(i64), record)

            several(b, begin, end, move)
    return b.build()


def finish_kernel(spec: SortSpec) -> Kernel:
    """Writes a block of the results of sorted rows, of which ``take`` are wanted; ``q``: the number of passes."""
    b = KernelBuilder("sort_finish")
    operands, records = Operands(b, spec), Records(b, spec)
    blocks, q, take = _Blocks(b, spec), b.integer("q"), b.integer("take")
    with b.for_("p", b.lo, b.hi) as p:
        r, begin, end = blocks.locate(p)
        src, _, _ = blocks.state(r, q)
        write_results(operands, records, src, r * blocks.n, r * take, begin, b.let("stop", minimum(end, take)))
    return b.build()
