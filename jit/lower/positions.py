"""Positions of what is true: vectors of positions are compressed by vectors of truth values.

A few long rows are cut into blocks of a fixed size: how many are true in each block is counted, and each then knows where
its positions go.  What is left of the results behind all positions is shared among the blocks.
"""

from __future__ import annotations

import numpy as np

from fx.ir import Eqn

from ..cost import chunk_for
from ..kernels.sort_partition import first_lanes
from ..loop_builder import KernelBuilder
from ..loop_ir import Expr, Kernel, Op, b1, i64, minimum, op_
from .loops import const, vector_for
from .registry import LowerContext, Operand, lowers
from .types import ty_of

__all__: list[str] = []

_BLOCKS_FROM = 1 << 16  # rows from this length on are cut into blocks, if there are few of them
_BLOCK = 1 << 14  # elements of a block, at least
_MOST_BLOCKS = 64
_FEW_ROWS = 16
_NS_PER_ELEMENT = 0.15


class _Blocks:
    """The parameters of both kernels, of which an index of the range is a block."""

    def __init__(self, b: KernelBuilder) -> None:
        self.b = b
        self.mask, self.counts = b.pointer("mask", b1), b.pointer("counts", i64)
        self.n, self.blocks, self.block = b.integer("n"), b.integer("blocks"), b.integer("block_size")

    def at(self, p: Expr) -> tuple[Expr, Expr, Expr, Expr]:
        """Of block ``p``: its row, its number there, and the elements of the row where it begins and ends."""
        b = self.b
        row = b.let("row", p // self.blocks)
        k = b.let("k", p - row * self.blocks)
        begin = b.let("begin", minimum(self.n, k * self.block))
        return row, k, begin, b.let("end", minimum(self.n, begin + self.block))


def _counted(mask: Expr) -> Expr:
    return op_("count", mask) if mask.ty.lanes > 1 else mask.cast(i64)


def _count_kernel(lanes: int) -> Kernel:
    b = KernelBuilder("nonzero_count")
    f = _Blocks(b)
    with b.for_("p", b.lo, b.hi) as p:
        row, _, begin, end = f.at(p)
        first, number = b.let("first", row * f.n), b.var("number", const(0))

        def body(i: Expr, lanes: int, vectors: int) -> None:
            b.assign(number, number + _counted(b.load(f.mask, first + i, lanes)))

        vector_for(b, begin, end, lanes, body)
        b.store(f.counts, p, number)
    return b.build()


def _write_kernel(dtype: np.dtype, lanes: int) -> Kernel:
    """``lanes``: 1 where the machine does not compress vectors."""
    b = KernelBuilder("nonzero_write")
    f = _Blocks(b)
    ty = ty_of(dtype, lanes)
    out, size = b.pointer("out", ty.scalar), b.integer("size")
    with b.for_("p", b.lo, b.hi) as p:
        row, k, begin, end = f.at(p)
        start, first = b.let("start", row * size), b.let("first", row * f.n)
        before, total, here = b.var("before", const(0)), b.var("total", const(0)), b.var("here", size + 0)
        with b.if_(f.blocks > 1):
            with b.for_("other", 0, f.blocks) as other:
                number = b.let("number", b.load(f.counts, row * f.blocks + other))
                b.assign(before, before + op_("select", other < k, number, const(0)))
                b.assign(total, total + number)
            b.assign(here, b.load(f.counts, p))
        place = b.var("place", start + minimum(before, size))
        stop = b.let("stop", minimum(place + here, start + size))  # of the results that this block may write
        i = b.var("i", begin + 0)
        if lanes > 1:
            positions = b.var("positions", Op("iota", (), ty) + begin.cast(ty.scalar).splat(lanes))

            def step(whole: bool) -> None:
                mask = b.let("mask_here", b.load(f.mask, first + i, lanes))
                number = b.let("number", op_("count", mask))
                packed = op_("compress", positions, mask)
                b.store(out, place, packed, None if whole else first_lanes(ty, minimum(number, stop - place)))
                b.assign(place, place + number)
                b.assign(positions, positions + lanes)
                b.assign(i, i + lanes)

            with b.while_((i + lanes <= end) & (place + lanes <= stop)):
                step(True)
            with b.while_((i + lanes <= end) & (place < stop)):
                step(False)
        with b.while_((i < end) & (place < stop)):
            b.store(out, place, i.cast(ty.scalar))
            b.assign(place, place + b.load(f.mask, first + i).cast(i64))
            b.assign(i, i + 1)
        with b.if_(f.blocks.eq(1)):
            b.assign(total, minimum(place, stop) - start)
        filled = b.let("filled", minimum(total, size))
        left, share = b.let("left", size - filled), start + filled
        none = f.n.cast(ty.scalar)

        def fill(at: Expr, lanes: int, vectors: int) -> None:
            b.store(out, at, none.splat(lanes))

        vector_for(b, b.let("fill", share + left * k // f.blocks), share + left * (k + 1) // f.blocks, lanes, fill)
    return b.build()


@lowers("nonzero")
def _nonzero(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
    (out,) = outs
    if not out.size:
        return
    x = ctx.contiguous(ins[0])
    n, size = x.shape[-1], out.shape[-1]
    rows = out.size // size
    cut = n >= _BLOCKS_FROM and rows <= _FEW_ROWS
    blocks = min(_MOST_BLOCKS, n // _BLOCK) if cut else 1
    each, total = -(-n // blocks), rows * blocks
    counts = ctx.scratch(-(-8 * total // 64) * 64)
    geometry = (n, blocks, each)
    if cut:
        lanes = ctx.host.lanes(b1)
        kernel = ctx.kernel(("nonzero_count", lanes), lambda: _count_kernel(lanes))
        chunk = chunk_for(total, each * _NS_PER_ELEMENT / 4)
        ctx.step(kernel, (x, counts, *geometry), total, chunk, "nonzero (count)", reads=(x,), writes=(counts,))
    lanes = ctx.host.lanes(ty_of(out.dtype)) if ctx.host.arithmetic.compress else 1
    kernel = ctx.kernel(("nonzero_write", out.dtype.name, lanes), lambda: _write_kernel(out.dtype, lanes))
    chunk = chunk_for(total, each * _NS_PER_ELEMENT * (1 if lanes > 1 else 6))
    ctx.step(
        kernel, (x, counts, *geometry, out, size), total, chunk, "nonzero", nbytes=x.size + out.size * out.dtype.itemsize,
        reads=(x, counts), writes=(out,),
    )  # fmt: skip
