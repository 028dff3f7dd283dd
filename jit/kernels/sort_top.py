"""The first few hundred or thousand elements of a long row in key order: most of the row is only looked at.

The keys of elements spread over the row are sorted, and one of them is taken as a *limit*: so far behind that in all
likelihood as many elements as are wanted have no larger key, yet few more.  The elements up to the limit are collected
in the order of the row, and sorted.  Where there were too few of them after all, the whole row is.  So the limit decides how
long it takes, and nothing else.
"""

from __future__ import annotations

import math

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Ty, i64, minimum, select, u32
from .sort import RowSorter
from .sort_records import ZERO, Operands, Records, SortSpec, write_results

__all__ = ["rank_of", "sampled", "top_rows_kernel"]

_SAMPLES = 1 << 10  # at most
_EACH = 8  # elements of the row for one of the sample, at least
_BLOCK, _PART = 64, 16  # elements that are looked at at once


def sampled(n: int) -> int:
    """How many elements of a row of ``n`` are sorted first."""
    return min(_SAMPLES, n // _EACH)


def rank_of(n: int, take: int) -> int:
    """Which of the sample is the limit: about as many are wanted, and three standard deviations more."""
    wanted = take * sampled(n) / n
    return math.ceil(wanted + 3.0 * math.sqrt(wanted)) + 4


def top_rows_kernel(spec: SortSpec) -> Kernel:
    """Writes the first ``take`` elements of each row, and their positions.

    Scratch: ``2 * n`` records from ``worker * worker_step + p * row_step`` on.
    """
    b = KernelBuilder("top_k_limited")
    operands, records = Operands(b, spec), Records(b, spec)
    n, take, samples, rank = (b.integer(name) for name in ("n", "take", "samples", "rank"))
    worker_step, row_step = b.integer("worker_step"), b.integer("row_step")
    (s,) = spec.sources
    key_type = Ty("u", s.bits)
    largest = Const((1 << s.bits) - 1, key_type)
    counts = b.alloc("counts", u32, spec.passes(s) << spec.digit)
    distance = b.let("distance", n // samples)

    def put(at: Expr, key: Expr, i: Expr) -> None:
        records.store(at, [b.let("record", v) for v in records.make(key, i)])

    with b.for_("p", b.lo, b.hi) as p:
        row, base = b.let("row", p * n), b.let("base", b.worker * worker_step + p * row_step)
        limit, count = b.var("limit", largest), b.var("count", ZERO)
        src, dst = b.var("src", base), b.var("dst", base)

        def collect() -> None:
            """The records of all elements up to the limit."""
            with b.for_("block", 0, n, _BLOCK) as block:
                end = b.let("end", minimum(block + _BLOCK, n))
                least = b.var("least", largest)
                with b.for_("i", block, end, vectorize=True) as i:
                    b.assign(least, minimum(least, operands.key(s, row + i)))
                with b.if_(least <= limit), b.for_("part", block, end, _PART) as part:
                    last = b.let("last", minimum(part + _PART, end))
                    lesser = b.var("lesser", largest)
                    with b.for_("i", part, last, vectorize=True) as i:
                        b.assign(lesser, minimum(lesser, operands.key(s, row + i)))
                    with b.if_(lesser <= limit), b.for_("i", part, last) as i:
                        key = b.let("key", operands.key(s, row + i))
                        put(base + count, key, i)  # the next one takes its place unless it counts
                        b.assign(count, count + (key <= limit).cast(i64))

        with b.for_("stage", 0, 2) as stage:
            b.assign(src, base)
            b.assign(dst, base + n)
            b.assign(count, ZERO)
            with b.if_(stage.eq(0)):
                with b.for_("j", 0, samples) as j:
                    put(base + j, operands.key(s, row + j * distance), j * distance)
                b.assign(count, samples)
            with b.else_(), b.while_(count < take):
                b.assign(count, ZERO)
                collect()
                b.assign(limit, select(count < take, largest, limit))
            RowSorter(b, spec, operands, records, count, row, counts, src, dst).sort(s)
            with b.if_(stage.eq(0)):
                b.assign(limit, records.key(records.load(src + rank)).cast(key_type))
        write_results(operands, records, src, row, p * take, ZERO, take)
    return b.build()
