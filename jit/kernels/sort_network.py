"""A sorting network over vectors: every lane is sorted by itself, with comparisons that do not depend on the data.

Bitonic merge sort (Knuth, TAOCP vol. 3, 5.2.2 and 5.3.4) in its form whose comparisons all put the smaller key first:
the first stage of a merge compares element i with the i-th from the end, the others compare elements at a distance that
halves.  Blocks of eight are sorted in registers, and a pass over memory runs up to three stages on eight vectors at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Op, Ty, i64, maximum, minimum, op_, select

__all__ = ["BLOCK", "EIGHT", "merge_lanes", "padded", "sort_vectors", "transposed"]

_STAGES = 3  # of a pass
BLOCK = 1 << _STAGES  # vectors that are held in registers

_Pairs = Iterable[tuple[int, int]]

# Sorts eight: 19 comparisons in 6 stages.
EIGHT = (
    (0, 2), (1, 3), (4, 6), (5, 7), (0, 4), (1, 5), (2, 6), (3, 7), (0, 1), (2, 3), (4, 5), (6, 7), (2, 4), (3, 5), (1, 4), (3, 6),
    (1, 2), (3, 4), (5, 6),
)  # fmt: skip


def padded(n: int, least: int = BLOCK) -> int:
    """How many vectors the network works on: a power of two, at least ``BLOCK`` and ``least``."""
    return max(BLOCK, least, 1 << (n - 1).bit_length())


def sort_vectors(
    b: KernelBuilder, buf: str, at: Expr, n: Expr, size: Expr, lanes: int, passengers: str | None = None
) -> None:
    """Sorts vectors [at, at + n) of ``buf``; behind them up to ``size`` stand vectors of the largest key.

    passengers: where numbers of the same size lie that move with the keys, and tell equal ones apart.
    """
    network = _Network(b, buf, at, n, lanes, passengers)
    with b.for_("block", 0, n, BLOCK) as block:
        network.exchange([block + k for k in range(BLOCK)], EIGHT)
    p, log_p = b.var("sorted", Const(BLOCK, i64)), b.var("log_sorted", Const(_STAGES, i64))
    with b.while_(p < size):
        first = b.let("first_stages", log_p % _STAGES + 1)  # the other passes take _STAGES each
        for stages in range(1, _STAGES + 1):
            with b.if_(first.eq(stages)):
                network.flip(p, stages)
        distance = b.var("distance", p >> first)
        with b.while_(distance > 0):
            network.halve(distance)
            b.assign(distance, distance >> _STAGES)
        b.assign(p, p * 2)
        b.assign(log_p, log_p + 1)


def merge_lanes(b: KernelBuilder, buf: str, at: Expr, size: Expr, lanes: int) -> None:
    """Makes one sorted sequence of the sorted lanes of ``size`` vectors, a power of two: lane after lane."""
    network = _Network(b, buf, at, size, lanes)
    log_size = b.var("log_size", Const(0, i64))
    with b.while_((Const(1, i64) << log_size) < size):
        b.assign(log_size, log_size + 1)
    rest = b.let("rest_of_stages", log_size % _STAGES)
    group = b.var("group", Const(1, i64))
    with b.while_(group < lanes):
        for width in (1 << k for k in range(lanes.bit_length() - 1)):
            with b.if_(group.eq(width)):
                network.cross(width)
        for stages in range(1, _STAGES):
            with b.if_(rest.eq(stages)):
                network.halve(size >> 1, stages)
        distance = b.var("distance", size >> (rest + 1))
        with b.while_(distance > 0):
            network.halve(distance)
            b.assign(distance, distance >> _STAGES)
        b.assign(group, group * 2)


class _Network:
    """Passes over the vectors of ``buf`` from ``at`` on, of which the first ``n`` matter."""

    def __init__(
        self, b: KernelBuilder, buf: str, at: Expr, n: Expr, lanes: int, passengers: str | None = None
    ) -> None:
        self.b, self.buf, self.at, self.n, self.lanes = b, buf, at, n, lanes
        self.bufs = (buf,) if passengers is None else (buf, passengers)

    def exchange(self, places: Sequence[Expr], pairs: _Pairs) -> None:
        """Holds the vectors at ``places`` in registers and puts the smaller of each pair first, lane by lane."""
        b = self.b
        index = [b.let("index", (self.at + place) * self.lanes) for place in places]
        held: list[tuple[Expr, ...]] = [
            tuple(b.let("held", b.load(buf, i, self.lanes)) for buf in self.bufs) for i in index
        ]
        for low, high in pairs:
            held[low], held[high] = self.ordered(held[low], held[high])
        for i, record in zip(index, held):
            for buf, v in zip(self.bufs, record):
                b.store(buf, i, v)

    def ordered(self, one: tuple[Expr, ...], two: tuple[Expr, ...]) -> tuple[tuple[Expr, ...], tuple[Expr, ...]]:
        b, (x, *_), (y, *_) = self.b, one, two
        low, high = b.let("low", minimum(x, y)), b.let("high", maximum(x, y))
        if len(one) == 1:
            return (low,), (high,)
        i, j = one[1], two[1]
        swapped = b.let("swapped", (x > y) | (x.eq(y) & (i > j)))
        return (low, b.let("first", select(swapped, j, i))), (high, b.let("second", select(swapped, i, j)))

    def flip(self, p: Expr, stages: int) -> None:
        """The first stages of the merges of sorted neighbours of length ``p``."""
        half = 1 << stages - 1
        step = self.b.let("step", p >> stages - 1)
        pairs = [(k, half + k) for k in range(half)]
        distance = half // 2
        while distance:
            pairs += _butterflies(half, distance)
            pairs += [
                (half + high, half + low) for low, high in _butterflies(half, distance)
            ]  # they lie in falling order
            distance //= 2
        with self.b.for_("pair", 0, (self.n + p - 1) // (p * 2)) as pair:  # whose second half has elements
            start = self.b.let("start", pair * p * 2)
            last = self.b.let("last", start + p * 2 - 1)
            with self.b.for_("i", 0, step) as i:
                lows = [start + i + step * k for k in range(half)]
                self.exchange([*lows, *(last - i - step * k for k in range(half))], pairs)

    def halve(self, distance: Expr, stages: int = _STAGES) -> None:
        """So many stages: at ``distance``, half of it, a quarter."""
        step = self.b.let("step", distance >> stages - 1)
        pairs = [pair for s in reversed(range(stages)) for pair in _butterflies(1 << stages, 1 << s)]
        with self.b.for_("group", 0, (self.n + distance * 2 - 1) // (distance * 2)) as group:
            start = self.b.let("start", group * distance * 2)
            with self.b.for_("i", start, start + minimum(step, self.n - start)) as i:
                self.exchange([i + step * k for k in range(1 << stages)], pairs)

    def cross(self, group: int) -> None:
        """The stages between lanes of the merges of neighbours, each of which are ``group`` sorted lanes in a row."""
        b, n, lanes = self.b, self.n, self.lanes
        lane = Op("iota", (), Ty("i", b.types[self.buf].bits, lanes))

        def compare(x: Expr, partner: Expr, distance: int) -> tuple[Expr, Expr]:
            """What stays in the lanes of x, and what goes to their partners."""
            first = b.let("first", op_("eq", lane & distance, Const(0, lane.ty)))
            low, high = b.let("low", minimum(x, partner)), b.let("high", maximum(x, partner))
            return b.let("kept", select(first, low, high)), select(first, high, low)

        def exchanged(x: Expr, k: int) -> Expr:
            return b.let("exchanged", op_("exchange", x, Const(k, i64)))

        with b.for_("i", 0, n >> 1) as i:
            index = [b.let("index", (self.at + place) * lanes) for place in (i, n - 1 - i)]
            one, two = (b.let("held", b.load(self.buf, k, lanes)) for k in index)
            x, y = compare(one, exchanged(two, 2 * group - 1), group)
            held = [x, exchanged(y, 2 * group - 1)]
            distance = group >> 1
            while distance:
                held = [compare(v, exchanged(v, distance), distance)[0] for v in held]
                distance >>= 1
            for k, v in zip(index, held):
                b.store(self.buf, k, v)


def _butterflies(count: int, distance: int) -> list[tuple[int, int]]:
    return [(k, k + distance) for k in range(count) if not k & distance]


def transposed(rows: Sequence[Expr]) -> list[Expr]:
    """The elements of lane 0 of all vectors, then those of lane 1, ..., as vectors: perfect shuffles."""
    vectors, half = list(rows), len(rows) // 2
    for _ in range(half.bit_length()):
        pairs = [op_("interleave", vectors[k], vectors[half + k]) for k in range(half)]
        vectors = [op_("half", pair, Const(side, i64)) for pair in pairs for side in (0, 1)]
    return vectors
