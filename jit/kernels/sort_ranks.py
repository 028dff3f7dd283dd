"""Order statistics: rows are cut as quicksort cuts them, but of the parts only those are gone on with that hold a wanted position."""

from __future__ import annotations

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Ref, Ty, i64, maximum, minimum, select
from .sort_buckets import levels_for, make_keys
from .sort_partition import QuickSort, Range, largest_key, least_key
from .sort_records import ONE, ZERO, Operands, SortSpec, element_bits, flipped, is_unordered, order_key

__all__ = ["MOST_RANKS", "picked_kernel", "ranks_kernel"]

MOST_RANKS = 16  # of a row that is not sorted altogether


class _Ranks(QuickSort):
    """``places``: a stack array of ``m`` wanted places at home."""

    places: str
    m: Expr

    def wanted(self, r: Range) -> Expr:
        b, hits = self.b, self.b.var("hits", ZERO)
        with b.for_("j", 0, self.m) as j:
            at = b.let("at", b.load(self.places, j))
            b.assign(hits, hits + select((at >= r.start) & (at < r.start + r.n), ONE, ZERO))
        return hits > 0


def _place(b: KernelBuilder, ks: str, at: Expr, n: Expr) -> Expr:
    return b.let("place", maximum(minimum(b.load(ks, at).cast(i64), n - 1), 0))


def ranks_kernel(spec: SortSpec, position: Ty, lanes: int) -> Kernel:
    """Of row ``p`` of ``n`` elements, for each p of the range, those at the ``m`` positions ``ks`` of the sorted row.

    Scratch: ``each`` keys at home and away for each worker.
    """
    b = KernelBuilder("order_statistic")
    operands, s = Operands(b, spec, outs=False), spec.sources[0]
    key, word = Ty("i", s.bits), Ty("u", s.bits)
    ks, out, home, away = (b.pointer(n, t) for n, t in (("ks", position), ("out", word), ("home", key), ("away", key)))
    n, m, each = b.integer("n"), b.integer("m"), b.integer("each")
    places = b.alloc("places", i64, MOST_RANKS)
    sorter = _Ranks(b, home, away, lanes, lambda place, keys, mask: b.store(home, place, keys, mask))
    sorter.places, sorter.m = places, m
    with b.for_("p", b.lo, b.hi) as p:
        row, first = b.let("row", p * n), b.let("first", b.worker * each)
        with b.for_("j", 0, m) as j:
            b.store(places, j, first + _place(b, ks, p * m + j, n))
        special = make_keys(b, spec, operands, row, home, first, n, lanes)
        least, largest = Const(least_key(key), key), Const(largest_key(key), key)
        sorter.sort(Range(first, first, n, ZERO), least, largest, levels_for(n))
        with b.for_("j", 0, m) as j:
            place = b.let("place_at_home", b.load(places, j))
            found = b.var("found_bits", element_bits(s, flipped(b.load(home, place))))
            if spec.restore:
                with b.if_((special > 0) & found.eq(0)):
                    b.assign(found, _zero(operands, row, n, place - first))
            b.store(out, p * m + j, found)
    return b.build()


def _zero(operands: Operands, row: Expr, n: Expr, place: Expr) -> Ref:
    """The bits of the zero that stands at ``place`` of a sorted row: zeros of both signs are in the order of the row."""
    b, s = operands.b, operands.spec.sources[0]
    before, bits = b.var("before_it", ZERO), b.var("zero_bits", Const(0, Ty("u", s.bits)))
    zero = 1 << s.bits - 1
    with b.for_("i", 0, n) as i:
        v = b.let("v", b.load(operands.x[0], row + i))
        b.assign(before, before + select(order_key(s, v) < zero, ONE, ZERO))
    with b.for_("i", 0, n) as i:
        v = b.let("v", b.load(operands.x[0], row + i))
        is_zero, _ = is_unordered(s, v)
        b.assign(bits, select(is_zero & before.eq(place), v, bits))
        b.assign(before, before + select(is_zero, ONE, ZERO))
    return bits


def picked_kernel(word: Ty, position: Ty) -> Kernel:
    """The elements of sorted rows at the positions ``ks``; an index of the range is a row."""
    b = KernelBuilder("order_statistic_pick")
    x, ks, out = (b.pointer(n, t) for n, t in (("x", word), ("ks", position), ("out", word)))
    n, m = b.integer("n"), b.integer("m")
    with b.for_("p", b.lo, b.hi) as p, b.for_("j", p * m, (p + 1) * m) as j:
        b.store(out, j, b.load(x, p * n + _place(b, ks, j, n)))
    return b.build()
