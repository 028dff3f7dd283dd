"""Zeros and NaNs of sorted rows, with the bits and in the order that they have in the input: their keys do not tell them apart.

All zeros stand behind what is smaller, all NaNs at the end.  How many there are of each says where those of a part of the row
belong, so parts are written at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Ref, Ty, i64, minimum, select
from .sort_records import ONE, ZERO, Operands, SortSpec, is_special, is_unordered, order_key

__all__ = ["restore_count_kernel", "restore_kernel", "restore_row"]

_TOGETHER = 512  # elements of a block; a word of 16 bits counts them
_COUNTS = ("smaller", "zeros", "nans")


def restore_row(operands: Operands, row: Expr, n: Expr) -> None:
    """Writes the zeros and NaNs of a row again."""
    smaller, _, nans = _count(operands, row, row + n)
    _write(operands, row, row + n, row + smaller, row + n - nans)


def restore_count_kernel(spec: SortSpec) -> Kernel:
    """Counts, in each part of the rows that ``special`` names, the smaller elements, zeros and NaNs: three numbers of each part,
    which are 0 in other rows."""
    b = KernelBuilder("sort_restore_count")
    operands, special, counts = Operands(b, spec, outs=False), b.pointer("special", i64), b.pointer("counts", i64)
    n, blocks, parts, size = (b.integer(name) for name in ("n", "blocks", "parts", "part_size"))
    with b.for_("p", b.lo, b.hi) as p:
        r, begin, end = _part(b, p, n, parts, size)
        found = b.var("found", ZERO)
        with b.for_("k", r * blocks, (r + 1) * blocks) as k:
            b.assign(found, found + b.load(special, k))
        for c, _ in enumerate(_COUNTS):
            b.store(counts, p * 3 + c, ZERO)
        with b.if_(found > 0):
            for c, number in enumerate(_count(operands, begin, end)):
                b.store(counts, p * 3 + c, number)
    return b.build()


def restore_kernel(spec: SortSpec) -> Kernel:
    """Writes the zeros and NaNs of each part again, where the ``counts`` say that they belong."""
    b = KernelBuilder("sort_restore")
    operands, counts = Operands(b, spec), b.pointer("counts", i64)
    n, parts, size = (b.integer(name) for name in ("n", "parts", "part_size"))
    with b.for_("p", b.lo, b.hi) as p:
        r, begin, end = _part(b, p, n, parts, size)
        total = {name: b.var(name, ZERO) for name in _COUNTS}
        before = {name: b.var(f"{name}_before", ZERO) for name in _COUNTS[1:]}
        with b.for_("k", r * parts, (r + 1) * parts) as k:
            for c, name in enumerate(_COUNTS):
                number = b.let("number", b.load(counts, k * 3 + c))
                b.assign(total[name], total[name] + number)
                if name in before:
                    b.assign(before[name], before[name] + select(k < p, number, ZERO))
        with b.if_(total["zeros"] + total["nans"] > 0):
            row = b.let("row", r * n)
            zero_at = row + total["smaller"] + before["zeros"]
            _write(operands, begin, end, zero_at, row + n - total["nans"] + before["nans"], skips=True)
    return b.build()


def _part(b: KernelBuilder, p: Expr, n: Expr, parts: Expr, size: Expr) -> tuple[Expr, Expr, Expr]:
    """The row of part p, and where its elements begin and end."""
    r = b.let("r", p // parts)
    first = b.let("first", minimum((p - r * parts) * size, n))
    return r, b.let("begin", r * n + first), b.let("end", r * n + minimum(first + size, n))


@contextmanager
def _blocks(b: KernelBuilder, begin: Expr, end: Expr) -> Iterator[tuple[Expr, Expr]]:
    """Blocks of elements: where one begins, and how many it has."""
    with b.for_("block", begin, end, _TOGETHER) as first:
        yield first, b.let("here", minimum(end - first, _TOGETHER))


def _tally(operands: Operands, first: Expr, here: Expr) -> list[Expr]:
    """How many elements of a block are smaller than zero, zeros, NaNs, and what their keys do not give back."""
    b, s = operands.b, operands.spec.sources[0]
    word = Ty("u", s.bits)
    totals = [b.var(name, Const(0, word)) for name in (*_COUNTS, "special")]
    with b.for_("j", 0, here, vectorize=True) as j:
        v = b.let("v", b.load(operands.x[0], first + j))
        tests = (order_key(s, v) < (1 << s.bits - 1), *is_unordered(s, v), is_special(s, v))
        for total, test in zip(totals, tests):
            b.assign(total, total + select(test, Const(1, word), Const(0, word)))
    return [b.let("tally", total.cast(i64)) for total in totals]


def _count(operands: Operands, begin: Expr, end: Expr) -> list[Ref]:
    """Of the elements [begin, end): the smaller ones, the zeros, the NaNs."""
    b = operands.b
    totals = [b.var(name, ZERO) for name in _COUNTS]
    with _blocks(b, begin, end) as (first, here):
        for total, number in zip(totals, _tally(operands, first, here)):
            b.assign(total, total + number)
    return totals


def _write(operands: Operands, begin: Expr, end: Expr, first_zero: Expr, first_nan: Expr, skips: bool = False) -> None:
    """Writes the zeros and the NaNs of the elements [begin, end).

    Those of a block are gathered without branches: each element is put behind those that are there, and stays there if it is one
    of them.

    skips: a block without NaNs and negative zeros, which is as it should be, is looked for first.
    """
    b, s = operands.b, operands.spec.sources[0]
    gathered = [b.alloc(name, Ty("u", s.bits), _TOGETHER) for name in _COUNTS[1:]]
    places = [b.var("zero_at", first_zero), b.var("nan_at", first_nan)]

    def write(first: Expr, here: Expr) -> None:
        behind = [b.var("behind", ZERO) for _ in gathered]
        with b.for_("i", 0, here) as i:
            v = b.let("v", b.load(operands.x[0], first + i))
            for memory, count, test in zip(gathered, behind, is_unordered(s, v)):
                b.store(memory, count, v)
                b.assign(count, count + select(test, ONE, ZERO))
        for memory, count, place in zip(gathered, behind, places):
            with b.for_("k", 0, count, vectorize=True) as k:
                b.store(operands.out[0], place + k, b.load(memory, k))
            b.assign(place, place + count)

    with _blocks(b, begin, end) as (first, here):
        if not skips:
            write(first, here)
            return
        _, zeros, _, special = _tally(operands, first, here)
        with b.if_(special > 0):
            write(first, here)
        with b.else_():
            b.assign(places[0], places[0] + zeros)
