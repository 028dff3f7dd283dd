"""A of a product on the register-blocked kernel: read as it lies, or from a copy that is converted, turned or packed in blocks of rows.

Rows for narrow panels, of not too many columns, are packed by the pieces that read them (``Contract.packs_rows``).
"""

from __future__ import annotations

import math
from typing import Any

from fx.sizes import is_sized

from ..kernels.microkernel import LINE, Tile
from ..kernels.packing import pack_rows_kernel, turn_kernel
from .contract_pieces import GROUP, at_most, may_cut
from .contract_right import LARGE_ROWS
from .contraction import BYTES_PER_NS, Array, Contraction, filled, move, row_major, run, scratch, size, with_a_strides
from .registry import Arg, KernelHandle, LowerContext

__all__ = ["along_rows", "arranged", "gains_wide_blocks", "is_long", "is_worth_turning"]

# Panels of B from which A is turned where a step of k for each line of the first-level cache is not enough for k, and
# where it is: turning takes a pass, and what one core wrote the others fetch from its caches.
TURN_PANELS, TURN_PANELS_SHORT = 4, 64
SHORT_ROW = 1 << 10  # bytes of a row of A that the hardware's prefetching follows
PACK_PANELS, PACK_K = 8, 32  # panels of B and values of k from which an A that lies along its rows is packed
PACK_OWN_K = 1 << 8  # values of k up to which pieces pack their own rows
# Rows and values of k of a piece of the turning; of the packing of rows, where each value of k is read along them, and where each row is
# read along k.
TURN, PACK_ALONG_ROWS, PACK_ALONG_K = (128, 64), (1 << 10, 32), (16, 1 << 10)
# Vectors of columns, and how many second-level caches full of A, from which blocks of three vectors gain; how much wider their panels may cover
# the columns than those of two vectors do (Zen 3, one thread: 1024 x 1024 by 1024 x 1024 float64 takes 8 to 15 % less time, 2048 x 2048 by
# 2048 x 1024 float32 12 %, 512 x 512 by 512 x 512 float64 1 to 6 % more, 128 x 512 by 512 x 512 7 to 10 % more).
WIDE_COLUMNS, WIDE_CACHES, WIDE_WASTE = 64, 8, 1.05


def arranged(
    ctx: LowerContext, name: str, p: Contraction, a: Array, tile: Tile, pack: bool
) -> tuple[Contraction, Array, Any, bool]:
    """A as the kernel reads it, and the contraction on it; where its rows are packed (always where ``pack``), what ``packed_rows`` says of
    them, else None; and whether it lies as it did because pieces pack their rows themselves."""
    if a.ty != p.compute:
        p, a = converted(ctx, name, p, a)
    if pack or gains_packed_rows(tile, p):
        if not pack and packs_own_rows(ctx, tile, p):
            return p, a, None, True
        return *packed_rows(ctx, name, p, a, tile), False
    if gains_turned(ctx, tile, p):
        p, a = turned(ctx, name, p, a)
    return p, a, None, False


def gains_wide_blocks(ctx: LowerContext, p: Contraction) -> bool:
    """Whether A is packed for ``packed_rows_tile``: it is large, and the columns are so many that its packing is little beside them, and are
    covered by such panels about as well as by others."""
    host, n, lanes = ctx.host, size(p.cols), ctx.host.lanes(p.compute)
    if p.pairs or not p.compute.is_float or len(p.rows) != 1 or len(p.ks) != 1 or lanes == 1:
        return False
    if host.vector_registers >= 32 or not host.fma or (is_sized(n) and not may_cut(ctx, p)) or n < WIDE_COLUMNS * lanes:
        return False
    vectors = -(-n // lanes)
    if -(-vectors // 3) * 3 > WIDE_WASTE * (-(-vectors // 2) * 2) or at_most(ctx, p, size(p.rows), LARGE_ROWS):
        return False
    return not at_most(ctx, p, size(p.rows) * size(p.ks) * p.compute.itemsize, WIDE_CACHES * host.l2_bytes - 1)


def gains_packed_rows(tile: Tile, p: Contraction) -> bool:
    """Whether A, which lies along its rows, is packed for register blocks of narrow panels.

    In place, each step of k touches another line, from which a block takes a few rows, and lines a power of two apart share a few sets of the
    first-level cache.  Gradients of weights are such products (on Zen 3, 784 x 256 by 256 x 512 takes 25 % less time, 256 x 1024 by 1024 x 1024
    and 512 x 128 by 128 x 512 15 %; k = 32 up to 14 % less and 5 % more).
    """
    if p.pairs or not tile.is_narrow or not along_rows(p) or p.rows[0][1] != 1:
        return False
    m, k, n = size(p.rows), size(p.ks), size(p.cols)
    if n < PACK_PANELS * tile.cols or m < tile.mr:
        return False
    return is_sized(k) or bool(k >= PACK_K)


def packs_own_rows(ctx: LowerContext, tile: Tile, p: Contraction) -> bool:
    """Whether pieces pack their rows of an A themselves that gains by it: they are few, and used for all columns.

    No copy of all of A is made then, for which a small network's step took twice the memory; the time is 0.92 to 1.03 of what it takes with
    the copy (Zen 3, 100 x 60 by 60 x 100 float64 to 784 x 128 by 128 x 256 float32). Where several groups of columns pack the same rows, and
    for longer k, it is more (256 x 512 by 512 x 256 float32 1.05, 300 x 300 by 300 x 200 in two groups 1.1).  Where k varies, one program is
    for all that are not cut.
    """
    k = size(p.ks)
    return bool(size(p.cols) <= GROUP * tile.cols) and (not may_cut(ctx, p) if is_sized(k) else bool(k <= PACK_OWN_K))


def gains_turned(ctx: LowerContext, tile: Tile, p: Contraction) -> bool:
    """Whether A is turned: not where short rows are read for narrow panels, as slices of k are short then (see ``contract_blocks``), and the
    hardware's prefetching follows (up to a third of the time on Zen 3; rows of 2 KiB are better turned)."""
    if p.ks and tile.is_narrow and abs(p.ks[0][1]) * tile.ty.itemsize <= SHORT_ROW:
        return False
    return is_worth_turning(ctx, tile, p)


def is_worth_turning(ctx: LowerContext, tile: Tile, p: Contraction) -> bool:
    """Whether A, which lies along its rows, is worth turning.

    Each step of k touches another cache line of it, which no row block uses whole and the first-level cache keeps only of a
    small A; where the stride is a power of two, the lines share a few sets of the caches.
    """
    if p.pairs or not along_rows(p) or p.rows[0][1] != 1:
        return False
    m, k, n = size(p.rows), size(p.ks), size(p.cols)
    if n < TURN_PANELS * tile.cols or m < tile.lanes:  # first, as of a gradient of weights k alone may vary
        return False
    if n < TURN_PANELS_SHORT * tile.cols and not is_long(ctx, p):
        return False
    return bool(k >= tile.lanes and m * k * tile.ty.itemsize > ctx.host.l1_bytes)


def is_long(ctx: LowerContext, p: Contraction) -> bool:
    """Whether the first-level cache has no line for each step of k, where each touches another one."""
    return size(p.ks) * LINE > ctx.host.l1_bytes // 2


def packed_rows(ctx: LowerContext, name: str, p: Contraction, a: Array, tile: Tile) -> tuple[Contraction, Array, Any]:
    """A in blocks of as many rows as a register block has, [rows][k][row], the contraction on it, and the distance of two blocks for each of
    their rows; the rows of a block are one apart.

    Rows a multiple of a cache line apart have each element in the same bank of the first-level cache, which reads one of them a cycle; rows
    side by side it reads two at a time (12 to 20 % of the time of the innermost loop on Zen 3).
    """
    mr, lanes, along = tile.mr, ctx.host.lanes(a.ty), along_rows(p) and p.rows[0][1] == 1
    key = ("pack rows", a.ty, lanes, mr, along)
    kernel = ctx.kernel(key, lambda: pack_rows_kernel(a.ty, lanes, mr, along))
    d_row = size(p.ks) + LINE // a.ty.itemsize  # blocks a power of two apart would share cache sets
    rows = -(-size(p.rows) // mr) * mr
    piece = PACK_ALONG_ROWS if along else PACK_ALONG_K
    batch, copy = _rearranged(ctx, f"{name} (pack rows)", p, a, kernel, (rows, d_row), (piece[0] // mr * mr, piece[1]))
    return with_a_strides(p, (*batch, 1, mr)), copy, d_row


def turned(ctx: LowerContext, name: str, p: Contraction, a: Array) -> tuple[Contraction, Array]:
    """A with k innermost, and the contraction on it."""
    k, lanes, line = size(p.ks), ctx.host.lanes(a.ty), LINE // a.ty.itemsize
    kernel = ctx.kernel(("turn", a.ty, lanes), lambda: turn_kernel(a.ty, lanes))
    d_row = -(-k // line) * line + line  # rows a power of two apart would share cache sets
    batch, copy = _rearranged(ctx, f"{name} (turn)", p, a, kernel, (size(p.rows), d_row), TURN)
    return with_a_strides(p, (*batch, d_row, 1)), copy


def _rearranged(
    ctx: LowerContext, name: str, p: Contraction, a: Array, kernel: KernelHandle, to: tuple[Any, Any], piece: tuple[int, int]
) -> tuple[tuple[Any, ...], Array]:  # fmt: skip
    """Runs a kernel over A; returns the strides of the batch in the copy, and the copy.

    to: rows of the copy, and their distance; piece: rows and values of k of a piece.
    """
    (m, k), (rows, d_row), (mc, kc), batch = (size(p.rows), size(p.ks)), to, piece, filled(p.batch, 2, 3)
    once = [d[0] if d[1] != 0 else 1 for d in batch]
    strides = (once[1] * rows * d_row if once[0] > 1 else 0, rows * d_row if once[1] > 1 else 0)
    copy = Array(scratch(ctx, a.ty, math.prod(once) * rows * d_row), a.ty)
    row_blocks, k_blocks = -(-m // mc), -(-k // kc)
    values: dict[str, Arg] = {
        "src": a.at, "dst": copy.at, "m": m, "mc": mc, "k": k, "kc": kc, "g1_size": once[1],
        "row_blocks": row_blocks, "k_blocks": k_blocks, "s_g0": batch[0][1], "s_g1": batch[1][1], "s_row": p.rows[0][1], "s_k": p.ks[0][1],
        "d_g0": strides[0], "d_g1": strides[1], "d_row": d_row,
    }  # fmt: skip
    total = math.prod(once) * row_blocks * k_blocks
    nbytes = 2 * math.prod(once) * m * k * a.ty.itemsize
    run(ctx, kernel, values, total, 4 * nbytes / BYTES_PER_NS / total, name, (a.at,), (copy.at,), nbytes=nbytes)
    return strides[2 - len(p.batch) :], copy


def converted(ctx: LowerContext, name: str, p: Contraction, a: Array) -> tuple[Contraction, Array]:
    """A as a dense array of the compute type, in the order of its memory."""
    dims = tuple(d[:2] for d in (*p.batch, *p.rows, *p.ks))
    order = sorted((i for i, d in enumerate(dims) if d[1] != 0), key=lambda i: -abs(dims[i][1]))
    strides = [0] * len(dims)
    for i, s in zip(order, row_major(tuple(dims[i] for i in order), 1)):
        strides[i] = s
    copy = Array(scratch(ctx, p.compute, math.prod(dims[i][0] for i in order)), p.compute)
    move(ctx, f"{name} (convert)", tuple((*dims[i], strides[i]) for i in order), a, copy)
    return with_a_strides(p, strides), copy


def along_rows(p: Contraction) -> bool:
    """Whether A lies along its rows: the steps of k are the larger ones."""
    return len(p.rows) == 1 and len(p.ks) == 1 and abs(p.rows[0][1]) < abs(p.ks[0][1])
