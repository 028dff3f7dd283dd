"""Sorting by partitions (``sort_partition.py``): whole rows, and long rows in parallel.

A long row is cut into blocks, and its keys into buckets at bounds that a sample gives.  ``sample`` finds the bounds,
``split`` brings the keys of every block into the order of the buckets, and ``bucket`` collects a bucket's keys from all
blocks and sorts them.  Equal keys are the same, so there is one result, however the work is shared out.
"""

from __future__ import annotations

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Ref, Ty, i64, maximum, minimum, op_, select, u32
from .sort_partition import Partitions, QuickSort, Range, in_vectors, largest_key, least_key
from .sort_records import ONE, ZERO, Operands, SortSpec, element_bits, flipped, is_special, order_key

__all__ = [
    "MOST_BUCKETS", "MOST_SAMPLES", "bucket_kernel", "levels_for", "make_keys", "quick_rows_kernel", "sample_kernel", "split_kernel",
]  # fmt: skip

MOST_BUCKETS = 64
MOST_SAMPLES = 8 * MOST_BUCKETS
_LEVELS = 2  # for each halving of a range; after that, bounds are taken halfway


def make_keys(
    b: KernelBuilder, spec: SortSpec, operands: Operands, row: Expr, to: str, place: Expr, n: Expr, lanes: int
) -> Ref:
    """Writes the keys of n elements behind ``row``; returns how many elements the key does not tell."""
    s = spec.sources[0]
    special = b.var("found", ZERO)

    def make(i: Expr, mask: Expr | None) -> None:
        v = b.let("v", b.load(operands.x[0], row + i, lanes, mask))
        b.store(to, place + i, flipped(order_key(s, v)), mask)
        if spec.restore:
            b.assign(special, special + op_("count", is_special(s, v)))

    in_vectors(b, n, Ty("u", s.bits, lanes), make)
    return special


def _copy(b: KernelBuilder, n: Expr, lanes: int, source: str, first: Expr, to: str, place: Expr) -> None:
    def move(i: Expr, mask: Expr | None) -> None:
        b.store(to, place + i, b.load(source, first + i, lanes, mask), mask)

    in_vectors(b, n, b.types[to].vector(lanes), move)


def _quick_sort(b: KernelBuilder, spec: SortSpec, home: str, away: str, lanes: int) -> QuickSort:
    """Sorts keys that are in the memory of the results, and leaves results there."""
    source = spec.sources[0]

    def emit(place: Expr, keys: Expr, mask: Expr | None) -> None:
        b.store(home, place, element_bits(source, flipped(keys)).bitcast(keys.ty), mask)

    return QuickSort(b, home, away, lanes, emit)


def _key_type(spec: SortSpec) -> Ty:
    return Ty("i", spec.sources[0].bits)


def levels_for(n: Expr) -> Expr:
    return (64 - op_("clz", n)) * _LEVELS


def quick_rows_kernel(spec: SortSpec, lanes: int) -> Kernel:
    """Sorts row ``p`` of ``n`` elements for each p of the range.  Scratch: ``each`` keys for each worker."""
    b = KernelBuilder("sort_quick")
    operands, key = Operands(b, spec, signed=True), _key_type(spec)
    away, special = b.pointer("away", key), b.pointer("special", i64)
    n, each = b.integer("n"), b.integer("each")
    sorter = _quick_sort(b, spec, operands.out[0], away, lanes)
    with b.for_("p", b.lo, b.hi) as p:
        row = b.let("row", p * n)
        b.store(special, p, make_keys(b, spec, operands, row, operands.out[0], row, n, lanes))
        least, largest = Const(least_key(key), key), Const(largest_key(key), key)
        sorter.sort(Range(row, b.worker * each, n, ZERO), least, largest, levels_for(n))
    return b.build()


# ------------------------------------------------------------------------------------ long rows


def sample_kernel(spec: SortSpec, lanes: int) -> Kernel:
    """Bounds of the buckets of row ``p``: ``bounds[p * MOST_BUCKETS + k]`` is the least key of bucket k > 0.

    Of ``samples`` elements to a bucket, it is the one of which so many are smaller as belong to the buckets before.  A key
    that is the bound of several buckets has one of them to itself.
    """
    b = KernelBuilder("sort_sample")
    operands = Operands(b, spec, outs=False)
    s, key = spec.sources[0], _key_type(spec)
    least = Const(least_key(key), key)
    bounds = b.pointer("bounds", key)
    n, buckets, samples = b.integer("n"), b.integer("buckets"), b.integer("samples")
    sample, ordered = (b.alloc(name, key, MOST_SAMPLES) for name in ("sample", "ordered"))
    count = b.let("count", buckets * samples)
    step = b.let("step", n // count)
    with b.for_("p", b.lo, b.hi) as p:
        with b.for_("i", 0, count) as i:
            b.store(sample, i, flipped(operands.key(s, p * n + i * step + (step >> 1))))
            b.store(ordered, i, least)
        with b.for_("i", 0, count) as i:
            one, smaller = b.let("one", b.load(sample, i)), b.var("smaller", ZERO)
            with b.for_("j", 0, count, lanes) as j:
                b.assign(smaller, smaller + op_("count", b.load(sample, j, lanes) < one.splat(lanes)))
            b.store(ordered, smaller, one)
        before = b.var("before", least)
        with b.for_("i", 0, count) as i:  # equal ones left gaps behind the first of them
            b.assign(before, maximum(before, b.load(ordered, i)))
            b.store(ordered, i, before)
        at = b.let("at", p * MOST_BUCKETS)
        with b.for_("k", 0, buckets) as k:
            b.store(bounds, at + k, b.load(ordered, k * samples))
        with b.for_("k", 2, buckets) as k:
            bound = b.let("bound", b.load(bounds, at + k))
            again = bound.eq(b.load(bounds, at + k - 1)) & bound.ne(largest_key(key))
            following = b.load(bounds, at + minimum(k + 1, buckets - 1))
            with b.if_(again & (k.eq(buckets - 1) | bound.ne(following))):
                b.store(bounds, at + k, bound + 1)
    return b.build()


class _Blocks:
    """Index p of the range as a block of a row."""

    def __init__(self, b: KernelBuilder) -> None:
        self.b = b
        self.n, self.blocks, self.size = b.integer("n"), b.integer("blocks"), b.integer("block_size")
        self.depth = b.integer("depth")  # there are 2**depth buckets
        self.buckets = b.let("buckets", ONE << self.depth)

    def places(self, r: Expr, block: Expr) -> Expr:
        """Where the first elements of a block's buckets are noted, and behind them its end."""
        return self.b.let("places", (r * self.blocks + block) * (self.buckets + 1))


def split_kernel(spec: SortSpec, lanes: int) -> Kernel:
    """Brings the keys of block ``p`` into the order of the buckets and notes where each begins, counted from the row's first."""
    b = KernelBuilder("sort_split")
    operands, key = Operands(b, spec, outs=False), _key_type(spec)
    home, away, bounds = b.pointer("home", key), b.pointer("away", key), b.pointer("bounds", key)
    noted, special = b.pointer("noted", u32), b.pointer("special", i64)
    g = _Blocks(b)
    parts = Partitions(b, home, away, lanes)
    stacks = [b.alloc(name, i64, MOST_BUCKETS + 1) for name in ("starts", "places_away", "counts", "gone")]

    def put(k: Expr, r: Range) -> None:
        for stack, v in zip(stacks, (r.start, r.place, r.n, r.gone)):
            b.store(stack, k, v)

    def get(k: Expr) -> Range:
        return Range(*(b.let("part", b.load(stack, k)) for stack in stacks))

    with b.for_("p", b.lo, b.hi) as p:
        r = b.let("r", p // g.blocks)
        row = b.let("row", r * g.n)
        begin = b.let("begin", row + minimum((p - r * g.blocks) * g.size, g.n))
        n = b.let("n_here", minimum(begin + g.size, row + g.n) - begin)
        b.store(special, p, make_keys(b, spec, operands, begin, home, begin, n, lanes))
        put(ZERO, Range(begin, begin, n, ZERO))
        at = b.let("at", r * MOST_BUCKETS)
        width = b.var("width", g.buckets + 0)
        with b.while_(width > 1):
            half = b.let("half", width >> 1)
            with b.for_("node", 0, g.buckets // width) as node:
                k = b.let("k", node * width)
                bound = b.let("bound", b.load(bounds, at + k + half))
                with b.if_((k > 0) & bound.eq(b.load(bounds, at + k))):  # nothing is below
                    whole = get(k)
                    put(k + half, whole)
                    put(k, Range(whole.start, whole.place, ZERO, ZERO))
                with b.else_():
                    low, high = parts.cut(get(k), bound)
                    put(k, low)
                    put(k + half, high)
            b.assign(width, half)
        first = g.places(r, p - r * g.blocks)
        b.store(noted, first + g.buckets, (begin - row + n).cast(u32))
        with b.for_("k", 0, g.buckets) as k:
            part = get(k)
            b.store(noted, first + k, (part.start - row).cast(u32))
            with b.if_(part.gone.ne(0)):
                _copy(b, part.n, lanes, away, part.place, home, part.start)
    return b.build()


def bucket_kernel(spec: SortSpec, lanes: int) -> Kernel:
    """Collects the keys of bucket ``p`` where its results belong, and sorts them."""
    b = KernelBuilder("sort_bucket")
    operands, key = Operands(b, spec, signed=True), _key_type(spec)
    home, away, bounds, noted = (
        b.pointer(n, t) for n, t in (("keys", key), ("away", key), ("bounds", key), ("noted", u32))
    )
    g = _Blocks(b)
    out = operands.out[0]
    sorter = _quick_sort(b, spec, out, away, lanes)
    with b.for_("p", b.lo, b.hi) as p:
        r = b.let("r", p >> g.depth)
        k = b.let("k", p & (g.buckets - 1))
        row = b.let("row", r * g.n)

        def place(block: Expr, k: Expr) -> Expr:
            return b.let("place", b.load(noted, g.places(r, block) + k).cast(i64))

        before = b.var("before", ZERO)
        with b.for_("block", 0, g.blocks) as block:
            b.assign(before, before + place(block, k) - place(block, ZERO))
        start = b.let("start", row + before)
        at = b.let("at", r * MOST_BUCKETS + k)
        floor = b.let("floor", select(k > 0, b.load(bounds, at), Const(least_key(key), key)))
        last = k.eq(g.buckets - 1)
        most = Const(largest_key(key), key)
        ceiling = b.let("ceiling", select(last, most, b.load(bounds, at + select(last, ZERO, ONE)) - 1))
        to = b.var("to", start + 0)
        with b.for_("block", 0, g.blocks) as block:
            first = place(block, k)
            n = b.let("n_piece", place(block, k + 1) - first)
            with b.if_(floor.ne(ceiling)):
                _copy(b, n, lanes, home, row + first, out, to)
            b.assign(to, to + n)
        bucket = Range(start, start, b.let("n_bucket", to - start), ZERO)
        with b.if_(floor.eq(ceiling)):
            sorter.fill(bucket, floor)
        with b.else_(), b.if_(bucket.n > 0):
            sorter.sort(bucket, floor, ceiling, b.let("levels", levels_for(bucket.n)))
    return b.build()
