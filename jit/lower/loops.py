"""Loop-nest pieces that the window, indexing, sorting and cumulative lowerings share.

``Odometer`` walks a row-major index space and keeps running offsets, so that a kernel divides once when it
starts and then only adds.  ``spans`` cuts a range of elements into the parts of rows that it covers, which makes
one kernel fit both a few long rows and many short ones.  ``vector_for`` is a loop over vectors with a scalar tail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Ref, Ty, i64, maximum, minimum, select, u8, u16, u32, u64
from .registry import Operand

__all__ = [
    "Odometer", "Span", "ceil_div", "coalesce", "const", "dense_strides", "floor_div", "same_memory", "spans",
    "vector_for", "whole_vectors", "word_type",
]  # fmt: skip


def const(value: int) -> Const:
    """An integer constant."""
    return Const(value, i64)


def word_type(dtype: np.dtype) -> tuple[Ty, int]:
    """The unsigned type, and how many of them, that hold the bits of one element: for code that only moves data."""
    words = {1: u8, 2: u16, 4: u32, 8: u64}
    return (u64, 2) if dtype.itemsize == 16 else (words[dtype.itemsize], 1)


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of a C-contiguous array."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def same_memory(a: Operand, b: Operand) -> bool:
    """Whether element i of ``a`` and of ``b`` are one and the same memory (an update in place)."""
    return a.buffer == b.buffer and a.offset == b.offset and a.dense and b.dense


def coalesce(dims: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Merges neighbouring dimensions ``(size, stride, stride, ...)`` that are one dimension in every stride.

    Dimensions of size 1 vanish.

    >>> coalesce([(2, 12, 3), (1, 7, 7), (3, 4, 1), (4, 1, 5)])
    [(6, 4, 1), (4, 1, 5)]
    """
    merged: list[tuple[int, ...]] = []
    for dim in dims:
        if dim[0] == 1:
            continue
        if merged and all(o == i * dim[0] for o, i in zip(merged[-1][1:], dim[1:])):
            merged[-1] = (merged[-1][0] * dim[0], *dim[1:])
        else:
            merged.append(dim)
    return merged


def floor_div(a: Expr, b: Expr) -> Expr:
    """``a // b`` rounded down, for b > 0."""
    return a // b - select(a % b < 0, const(1), const(0))


def ceil_div(a: Expr, b: Expr) -> Expr:
    """``a / b`` rounded up, for b > 0."""
    return a // b + select(a % b > 0, const(1), const(0))


class Odometer:
    """The multi-index of a row-major position that counts up, with offsets that follow it.

    Args:
        start: the first position; must be below the product of the sizes wherever an offset is used.
        sizes: extent of each dimension, outermost first.
        offsets: for each named offset its first value and its stride in each dimension.
    """

    def __init__(
        self, b: KernelBuilder, start: Expr, sizes: Sequence[Expr], offsets: Mapping[str, tuple[Expr, Sequence[Expr]]]
    ) -> None:
        self.b = b
        self.sizes = list(sizes)
        self.strides = {name: list(strides) for name, (_, strides) in offsets.items()}
        self.index: list[Ref] = []
        rest = start
        digits: list[Expr] = []
        for d in reversed(range(len(self.sizes))):
            if d:
                rest = b.let("rest", rest)
                digits.append(rest % self.sizes[d])
                rest = rest // self.sizes[d]
            else:
                digits.append(rest)
        self.index = [b.var(f"i{d}", digit) for d, digit in enumerate(reversed(digits))]
        self.offset: dict[str, Ref] = {}
        for name, (first, strides) in offsets.items():
            value = first
            for i, stride in zip(self.index, strides):
                value = value + i * stride
            self.offset[name] = b.var(name, value)

    def advance(self) -> None:
        """To the next position; after the last one the outermost index runs over its size."""
        self._advance(len(self.sizes) - 1)

    def _advance(self, d: int) -> None:
        if d < 0:
            return
        b = self.b
        b.assign(self.index[d], self.index[d] + 1)
        for name, strides in self.strides.items():
            b.assign(self.offset[name], self.offset[name] + strides[d])
        if d == 0:
            return
        with b.if_(self.index[d] >= self.sizes[d]):
            b.assign(self.index[d], const(0))
            for name, strides in self.strides.items():
                b.assign(self.offset[name], self.offset[name] - strides[d] * self.sizes[d])
            self._advance(d - 1)


@dataclass(frozen=True)
class Span:
    """Elements [begin, end) of the row of which element 0 has the flat position ``base``."""

    rows: Odometer
    base: Expr
    begin: Expr
    end: Expr


@contextmanager
def spans(
    b: KernelBuilder, n: Expr, sizes: Sequence[Expr], offsets: Mapping[str, tuple[Expr, Sequence[Expr]]]
) -> Iterator[Span]:
    """Loops over the parts of rows of ``n`` elements that the kernel's range of elements [lo, hi) covers."""
    with b.if_(b.lo < b.hi):
        row = b.let("row", b.lo // n)
        rows = Odometer(b, row, sizes, offsets)
        begin = b.var("begin", b.lo - row * n)
        left = b.var("left", b.hi - b.lo)
        with b.while_(left > 0):
            end = b.let("end", minimum(n, begin + left))
            base = b.let("base", b.hi - left - begin)
            yield Span(rows, base, b.let("first", begin), end)
            b.assign(left, left - (end - begin))
            b.assign(begin, const(0))
            rows.advance()


def vector_for(
    b: KernelBuilder, start: Expr, stop: Expr, lanes: int, body: Callable[[Expr, int, int], None], unroll: int = 1
) -> None:
    """``body(index, lanes, vectors)`` over [start, stop): ``unroll`` vectors at a time, then one, then single elements."""
    here = whole_vectors(b, start, stop, lanes, body, unroll)
    with b.for_("c", here, stop) as c:
        body(c, 1, 1)


def whole_vectors(
    b: KernelBuilder, start: Expr, stop: Expr, lanes: int, body: Callable[[Expr, int, int], None], unroll: int = 1
) -> Expr:
    """The same as far as vectors go; returns where the elements begin that are left."""
    here: Expr = start
    widths = [(lanes, unroll)] if unroll > 1 and lanes > 1 else []
    widths += [(lanes, 1)] if lanes > 1 else []
    for width, count in widths:
        step = width * count
        end = b.let("vector_end", here + maximum((stop - here) // const(step), 0) * step)
        with b.for_("c", here, end, step) as c:
            body(c, width, count)
        here = end
    return here
