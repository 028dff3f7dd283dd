"""Quicksort whose partitions move whole vectors: for machines that compress the lanes of a vector in few instructions.

A partition reads vectors in order and writes their lanes below a bound to one place and the others to another.  Vectors are
stored whole: what stands behind the lanes that count is overwritten by the next one.  Few keys are sorted in registers.

Every range knows its *floor* and *ceiling*, the least and the largest key that may stand in it.  The bound is the median
of a sample, and above the floor, so that a key of which there are many is split off and done.  A range that was cut
often enough for its length is from then on cut halfway between floor and ceiling: whatever the keys are, there are no
more levels than the keys have bits and twice their number has halvings.

Keys are signed: more machines compare signed numbers, and have their minimum and maximum.

Ranges are sorted from the first to the last.  All that wait then stand away, what is behind the one at hand is free at
home, and a block of results may be written whole over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Op, Ty, i64, maximum, minimum, op_, select
from .sort_network import BLOCK, EIGHT, transposed

__all__ = ["Partitions", "QuickSort", "Range", "first_lanes", "in_vectors", "largest_key", "least_key"]

_STACK = 192  # ranges that wait: one for each level


def first_lanes(ty: Ty, count: Expr) -> Expr:
    """A mask of the first ``count`` lanes, a number below 2**31."""
    lane = Ty("i", 32, ty.lanes)
    return Op("iota", (), lane) < count.cast(lane.scalar).splat(ty.lanes)


def in_vectors(b: KernelBuilder, n: Expr, ty: Ty, body: Callable[[Expr, Expr | None], None]) -> None:
    """``body(i, mask)`` for the first of every ``ty.lanes`` elements of n; with a mask where fewer are left."""
    whole = b.let("whole", n & -ty.lanes)
    with b.for_("i", 0, whole, ty.lanes) as i:
        body(i, None)
    with b.if_(whole < n):
        body(whole, b.let("valid", first_lanes(ty, n - whole)))


@dataclass(frozen=True)
class Range:
    """Keys that are to stand in ``home[start : start + n]``.

    They are there, or, where ``gone`` is 1, in ``away[place : place + n]``; the other of both is free.
    """

    start: Expr
    place: Expr
    n: Expr
    gone: Expr


class Partitions:
    """Cuts ranges of signed keys in two."""

    def __init__(self, b: KernelBuilder, home: str, away: str, lanes: int) -> None:
        self.b, self.home, self.away, self.lanes = b, home, away, lanes
        self.ty = b.types[home].vector(lanes)

    def read(self, r: Range, i: Expr, count: Expr) -> Expr:
        """So many keys, at most a vector of them, from number ``i`` on; behind them zeros."""
        b, none, here = self.b, Const(0, i64), r.gone.eq(0)
        at_home, gone = (first_lanes(self.ty, select(here, *n)) for n in ((count, none), (none, count)))
        keys = b.load(self.home, r.start + i, self.lanes, at_home)
        return b.let("v", keys | b.load(self.away, r.place + i, self.lanes, gone))

    def cut(self, r: Range, bound: Expr) -> tuple[Range, Range]:
        """The keys below ``bound``, at home, and the others, away; both in order."""
        b, lanes = self.b, self.lanes
        limit = b.let("limit", bound.splat(lanes))
        below, above = b.var("below", r.start + 0), b.var("above", r.place + 0)
        every = b.let("every", first_lanes(self.ty, minimum(r.n, lanes)))  # unknown, else LLVM compares twice

        def move(v: Expr, valid: Expr, whole: bool) -> None:
            less = b.let("less", v < limit if whole else valid & (v < limit))
            more = b.let("more", valid & ~less)
            number = b.let("number", op_("count", less))
            b.store(self.home, below, op_("compress", v, less), None if whole else first_lanes(self.ty, number))
            b.store(
                self.away, above, op_("compress", v, more), None if whole else first_lanes(self.ty, op_("count", more))
            )
            b.assign(below, below + number)
            b.assign(above, above + lanes - number)

        whole = b.let("whole", r.n & -lanes)
        for buf, first, gone in ((self.home, r.start, 0), (self.away, r.place, 1)):
            with b.if_(r.gone.eq(gone)), b.for_("i", first, first + whole, lanes) as i:
                move(b.let("v", b.load(buf, i, lanes)), every, True)
        with b.if_(whole < r.n):
            rest = b.let("rest", r.n - whole)
            move(self.read(r, whole, rest), b.let("valid", first_lanes(self.ty, rest)), False)
        n = b.let("n_below", below - r.start)
        n_above = b.let("n_above", r.n - n)
        left = Range(r.start, b.let("free", r.place + n_above), n, Const(0, i64))
        return left, Range(below, r.place, n_above, Const(1, i64))


def least_key(ty: Ty) -> int:
    return -1 << ty.bits - 1


def largest_key(ty: Ty) -> int:
    return (1 << ty.bits - 1) - 1


def halfway(low: Expr, high: Expr) -> Expr:
    """Between two signed numbers, whose difference may have a bit more."""
    unsigned = Ty("u", low.ty.bits)
    return low + ((high - low).bitcast(unsigned) >> 1).bitcast(low.ty)


def _median(b: KernelBuilder, x: Expr, y: Expr, z: Expr) -> Expr:
    low, high = b.let("low", minimum(x, y)), b.let("high", maximum(x, y))
    return b.let("median", maximum(low, minimum(high, z)))


def _sorted_lanes(b: KernelBuilder, v: Expr) -> Expr:
    """The lanes of one vector in order."""
    group = 1
    while group < v.ty.lanes:
        v = _compare(b, v, _exchanged(b, v, 2 * group - 1), group)
        distance = group >> 1
        while distance:
            v = _compare(b, v, _exchanged(b, v, distance), distance)
            distance >>= 1
        group *= 2
    return v


def _exchanged(b: KernelBuilder, v: Expr, k: int) -> Expr:
    return b.let("exchanged", op_("exchange", v, Const(k, i64)))


def _first(ty: Ty, distance: int) -> Expr:
    lane = Ty("i", ty.bits, ty.lanes)
    return op_("eq", Op("iota", (), lane) & distance, Const(0, lane))


def _compare(b: KernelBuilder, x: Expr, partner: Expr, distance: int) -> Expr:
    """The smaller of both in the first lanes of every 2 * ``distance``, the larger in the others."""
    low, high = b.let("low", minimum(x, partner)), b.let("high", maximum(x, partner))
    return b.let("kept", select(_first(x.ty, distance), low, high))


def _sorted_block(b: KernelBuilder, rows: Sequence[Expr]) -> list[Expr]:
    """All lanes of ``BLOCK`` vectors in one order: each lane by itself, then merges of neighbouring lanes."""
    v, n, lanes = list(rows), len(rows), rows[0].ty.lanes

    def exchange(pairs: Iterable[tuple[int, int]]) -> None:
        for i, j in pairs:
            v[i], v[j] = b.let("low", minimum(v[i], v[j])), b.let("high", maximum(v[i], v[j]))

    exchange(EIGHT)
    group = 1
    while group < lanes:
        first = _first(v[0].ty, group)
        for i in range(n // 2):
            x, y = v[i], _exchanged(b, v[n - 1 - i], 2 * group - 1)
            low, high = b.let("low", minimum(x, y)), b.let("high", maximum(x, y))
            v[i] = b.let("kept", select(first, low, high))
            v[n - 1 - i] = _exchanged(b, b.let("sent", select(first, high, low)), 2 * group - 1)
        distance = group >> 1
        while distance:
            v = [_compare(b, x, _exchanged(b, x, distance), distance) for x in v]
            distance >>= 1
        distance = n >> 1
        while distance:
            exchange([(k, k + distance) for k in range(n) if not k & distance])
            distance >>= 1
        group *= 2
    return transposed(v)


class QuickSort(Partitions):
    """Sorts ranges of signed keys.

    emit: ``emit(place, keys, mask)`` stores a vector of results at home.
    """

    def __init__(
        self, b: KernelBuilder, home: str, away: str, lanes: int, emit: Callable[[Expr, Expr, Expr | None], None]
    ) -> None:
        super().__init__(b, home, away, lanes)
        self.emit = emit
        names = ("starts", "places", "counts", "gone", "levels_left")
        self.stacks = [b.alloc(n, i64, _STACK) for n in names]
        self.stacks += [b.alloc(n, self.ty.scalar, _STACK) for n in ("floors", "ceilings")]
        self.waiting = b.var("waiting", Const(0, i64))

    def sort(self, r: Range, floor: Expr, ceiling: Expr, levels: Expr) -> None:
        """Sorts a range of keys between ``floor`` and ``ceiling``, which after so many levels is cut halfway between them."""
        b = self.b
        end = b.let("end_of_all", r.start + r.n)
        self._push(r, levels, floor, ceiling)
        with b.while_(self.waiting > 0):
            b.assign(self.waiting, self.waiting - 1)
            *where, levels, floor, ceiling = (b.let("top", b.load(stack, self.waiting)) for stack in self.stacks)
            r = Range(*where)
            with b.if_(r.n <= BLOCK * self.lanes):
                self._block(r, end)
            with b.else_():
                self._divide(r, levels, floor, ceiling)

    def wanted(self, r: Range) -> Expr:
        """Whether a range is to be sorted at all."""
        return r.n > 0

    def _push(self, r: Range, *more: Expr) -> None:
        for stack, v in zip(self.stacks, (r.start, r.place, r.n, r.gone, *more)):
            self.b.store(stack, self.waiting, v)
        self.b.assign(self.waiting, self.waiting + 1)

    def _block(self, r: Range, end: Expr) -> None:
        b, lanes = self.b, self.lanes
        largest = Const(largest_key(self.ty), self.ty)
        places = [Const(k * lanes, i64) for k in range(BLOCK)]
        counts = [b.let("count", minimum(maximum(r.n - k, 0), lanes)) for k in places]
        masks = [b.let("valid", first_lanes(self.ty, n)) for n in counts]
        rows = [b.let("held", select(m, self.read(r, k, n), largest)) for m, k, n in zip(masks, places, counts)]
        ordered = list(zip(places, masks, _sorted_block(b, rows)))
        with b.if_(r.start + BLOCK * lanes <= end):
            for k, _, v in ordered:
                self.emit(r.start + k, v, None)
        with b.else_():
            for k, m, v in ordered:
                self.emit(r.start + k, v, m)

    def _divide(self, r: Range, levels: Expr, floor: Expr, ceiling: Expr) -> None:
        b = self.b
        with b.if_(floor.eq(ceiling)):
            self.fill(r, floor)
        with b.else_():
            bound = b.var("bound", halfway(floor, ceiling) + 1)
            with b.if_(levels > 0):
                b.assign(bound, maximum(self._sampled(r), floor + 1))
            below, above = self.cut(r, bound)
            with b.if_(self.wanted(above)):
                self._push(above, levels - 1, bound, ceiling)
            with b.if_(self.wanted(below)):
                self._push(below, levels - 1, floor, b.let("last", bound - 1))

    def fill(self, r: Range, key: Expr) -> None:
        """All keys of the range are this one."""
        in_vectors(self.b, r.n, self.ty, lambda i, mask: self.emit(r.start + i, key.splat(self.lanes), mask))

    def _sampled(self, r: Range) -> Expr:
        b, lanes = self.b, self.lanes
        step = b.let("step", (r.n - lanes) >> 3)
        v = [self.read(r, step * k, Const(lanes, i64)) for k in range(9)]
        medians = [_median(b, *v[k : k + 3]) for k in range(0, 9, 3)]
        return op_("extract", _sorted_lanes(b, _median(b, *medians)), Const(lanes // 2, i64))
