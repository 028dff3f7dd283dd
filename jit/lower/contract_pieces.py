"""How the work of a blocked contraction is cut into pieces for threads: by its sizes alone, so that its bits are the same on any number of them."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

from fx.sizes import about_at_most, largest, late, near, smallest

from ..kernels.microkernel import LINE
from .contraction import FLOPS_PER_NS, Contraction, Dims, size
from .registry import LowerContext

__all__ = [
    "FINISHED_LINES",
    "FINISHED_ROWS",
    "GROUP",
    "HALF_NS",
    "MIN_SLICE",
    "MORE_PIECES",
    "RANGE_BLOCKS",
    "ROWS",
    "SLAB_SLICE",
    "asked_ahead",
    "at_most",
    "k_parts",
    "k_slices",
    "may_cut",
    "neighbours",
    "packed_groups",
    "packed_ranges",
    "packing_ranges",
    "parts_first",
    "row_ranges",
    "rows_ahead",
    "walks_by_rows",
    "wanted_pieces",
]

# Rows of a block: a panel of B, once in the first-level cache, serves them all; of one whose sums an epilogue finds there, beside
# what it reads and writes; the same where that is one line of each row, and lines of rows a power of two apart share sets of that cache
# (24 rows take 0.93 to 0.97 of the time of 48 for updates of weights and a relu's gradient on Zen 3).
ROWS, FINISHED_ROWS, FINISHED_LINES = 96, 48, 24
GROUP = 16  # panels of a piece, at most
PIECE_NS, HALF_NS = 25_000.0, 5_000.0  # the work of a piece at least; of one of the two of a small product
PIECES = 16  # fewer pieces than this are not enough to share among a few threads
FEW_PIECES = 8  # of fewer, an odd number leaves threads without work
LONG_PIECE_NS, MORE_PIECES = 500_000.0, 32  # what pieces of a large product take, so that many threads have some
# Values of k that are worth a partial product of their own; where slices of k copy what they read of A, there are no other pieces.
MIN_SLICE, SLAB_SLICE = 1 << 10, 1 << 8
HALF_SLICE = 1 << 9  # the same where two partial products make an even number of pieces
AHEAD = 16  # rows of B, at most, by which a panel of it is asked for before it is packed
RANGE_BLOCKS = 4  # register blocks of a range of rows, at least, where the rows are cut for the sake of threads
# Multiply-adds of vectors between which an element is asked for in advance, at most; elements that asking at all is worth.
ASKED, ASKING = 5, 16
LONG = 4  # times as many values of k as rows and as columns, from which on k is cut before these are
HELD_BLOCKS = 2  # the same where every piece has all columns
MOST_ROWS, MOST_VECTORS = 6, 5  # of the register blocks of more than two rows and columns of more than a vector


def wanted_pieces(flops: int) -> int:
    """How many pieces a product of so many flops should have."""
    ns = flops / FLOPS_PER_NS
    few = max(min(ns // HALF_NS, 2), min(ns // PIECE_NS, PIECES))
    even = few - few % 2 if few < FEW_PIECES else few
    return int(max(1, even, min(ns // LONG_PIECE_NS, MORE_PIECES)))


def row_ranges(m: int, mr: int, batches: int, panels: int, wanted: int, share: float, most: int = ROWS) -> int:
    """Into how many ranges to cut the rows of a product whose B lies ready, in so many panels: blocks of at most ``most`` rows, or
    twice as many where there would be too few pieces for threads, or an odd number of a few.

    share: of the second-level cache, that B takes.  Where it is held there beside the rest, a few rows are cut before the
    columns are: what a thread has computed of A, and what it computes of C, stays in its own caches from step to step of a
    loop (a tenth of the time of an LSTM's gradient).
    """
    ranges = -(-m // most)
    pieces = ranges * batches * panels
    grouped = ranges * batches * -(-panels // max(1, min(GROUP, panels, pieces // wanted)))
    lacking = pieces < wanted or (wanted > 1 and grouped % 2 and grouped < FEW_PIECES)
    if lacking and m >= 2 * ranges * RANGE_BLOCKS * mr:
        return 2 * ranges
    blocks = -(-m // mr)
    few = min(-(-wanted // batches), blocks // HELD_BLOCKS)
    even = few > 1 and 6 * few * -(-blocks // few) <= 7 * blocks  # no thread has much more of them than another
    return few if ranges == 1 and share <= 0.5 and even else ranges


def packing_ranges(m: int, mr: int, batches: int, wanted: int, most: int) -> int:
    """Into how many ranges of at most ``most`` rows to cut those of a product whose pieces have all columns and pack their own rows: as
    many as there should be pieces, of a few an even number."""
    ranges = max(1, -(-m // most), min(-(-wanted // batches), m // (RANGE_BLOCKS * mr)))
    odd = wanted > 1 and ranges * batches % 2 and ranges * batches < FEW_PIECES
    return ranges + 1 if odd and m >= (ranges + 1) * RANGE_BLOCKS * mr else ranges


def walks_by_rows(m: int, n: int, k: int, ranges: int, held: int) -> int:
    """Whether neighbouring pieces (of which a thread takes some) have rows in common rather than columns.

    Then each thread reads all of B, else all of A; and C, of which the caches of two threads keep ``held`` elements, lies in them in
    stripes, else in rows: a map over it, or an epilogue that writes over an operand, has pieces that are rows.
    """
    return int(ranges > 1 and m * n <= held and n * k <= m * k + m * n)


def neighbours(m: int, n: int, k: int, ranges: int, held: int, groups: int) -> int:
    """How many pieces lie side by side, of ``ranges`` of rows by ``groups`` of panels."""
    return groups if walks_by_rows(m, n, k, ranges, held) else ranges


def k_parts(pieces: int, wanted: int, k: int, worth: int) -> int:
    """Into how many partial products, of at least ``worth`` values of k, to cut k, so that there are enough pieces, and of a few an
    even number.  More than enough for a few threads only of ``MIN_SLICE``."""
    most = wanted // pieces
    parts = min(most, max(min(k // worth, PIECES), k // MIN_SLICE))
    if pieces % 2 and pieces * parts < FEW_PIECES:
        parts = max(parts - parts % 2, min(2, most, k // HALF_SLICE))
    return max(1, parts)


def parts_first(m: int, n: int, k: int) -> int:
    """Into how many partial products to cut k before the rows and the columns are cut.

    Where columns are cut, each piece reads all of A anew, and where rows are, all of B; partial sums are as many as C has elements.  Of
    a k that is much longer than both, as in a gradient of weights, the operands are more.
    """
    return max(1, k // MIN_SLICE) if k >= LONG * max(m, n) else 1


def may_cut(ctx: LowerContext, p: Contraction) -> bool:
    """Whether k may be cut into partial products: it is long, and rows and columns may be too few for threads.

    How many there are, and where they end, follows from how rows, columns and k are cut.  So what decides about that is asked for exactly
    then, of sizes that vary as of others: a program for them has the bits of one for the sizes alone.
    """
    m, n, k, ty = size(p.rows), size(p.cols) * (2 if p.pairs else 1), size(p.ks) * (2 if p.pairs else 1), p.compute
    if ctx.serial:
        return False
    ranges = smallest(
        m // (RANGE_BLOCKS * MOST_ROWS), largest(m // ROWS, 1) * -(-n // (MOST_VECTORS * ctx.host.lanes(ty)))
    )
    if size(p.batch) * ranges >= late(wanted_pieces, p.flops) and k < LONG * largest(m, n):
        return False
    slabs = len(p.rows) > 1 and len(p.ks) > 1
    return bool(k >= 2 * (SLAB_SLICE if slabs else HALF_SLICE))


def at_most(ctx: LowerContext, p: Contraction, x: Any, limit: float) -> bool:
    """``about_at_most``, of what decides how a product is cut."""
    return about_at_most(x, limit) if near(x, limit) and not may_cut(ctx, p) else bool(x <= limit)


def k_slices(ks: Dims, count: int) -> tuple[tuple[int, ...], Dims, int, int]:
    """Cuts k into about ``count`` slices: the outer loop, the others, stretches of the first of them, their length."""
    outer: tuple[int, ...] = (1, 0, 0)
    if len(ks) > 1 and 0 < ks[0][0] < count:
        outer, ks = ks[0], ks[1:]
    k0 = ks[0][0] if ks else 1
    k_slice = largest(1, -(-k0 * outer[0] // count))
    return outer, ks, largest(1, -(-k0 // k_slice)), k_slice


def rows_ahead(stride: int, width: int, l1_bytes: int, l1_ways: int) -> int:
    """By how many rows of B, which lie ``stride`` bytes apart, a panel of it, ``width`` bytes wide, is asked for ahead.

    As many as half the ways of the first-level cache hold.  Rows a large power of two apart share a few sets, and what is asked for
    too early is gone again when it is needed (a seventh of the time of 96 x 1024 by 1024 x 1024).
    """
    sets = max(1, l1_bytes // l1_ways // LINE)
    lines: Counter[int] = Counter()
    for row in range(AHEAD):
        lines.update((row * stride + at) // LINE % sets for at in range(0, width, LINE))
        if max(lines.values()) > l1_ways // 2:
            return max(1, row)
    return AHEAD


def asked_ahead(each: int, all_: int, work: int, held: int, cache: int) -> int:
    """How many elements of an operand each row asks for in advance in ``work`` multiply-adds, where it is to ask for so many, and for
    ``all_`` of both operands: none if that would take as long as it saves (lines of 14 pixels: 4 % more on Zen 5), or if what all
    slices read, ``held`` bytes, is in the second-level cache anyway."""
    return each if ASKED * (all_ + ASKING) <= work and held > cache else 0


def packed_ranges(*numbers: Any) -> int:
    return _cut(*numbers)[0]


def packed_groups(*numbers: Any) -> int:
    return _cut(*numbers)[1]


@functools.lru_cache(1 << 10)  # asked for rows and for panels, and of each product alike
def _cut(panels: int, wanted: int, most: int, thin: int, per_range: float, per_group: float) -> tuple[int, int]:
    if panels == 1:
        most = max(most, min(thin, 2))
    cuts = [(r, max(-(-panels // GROUP), min(panels, -(-wanted // r)))) for r in range(1, min(most, wanted) + 1)]
    enough = max(min(r * g, wanted) for r, g in cuts)
    return min((x for x in cuts if x[0] * x[1] >= enough), key=lambda x: x[0] * per_range + x[1] * per_group)
