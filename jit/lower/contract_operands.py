"""The operands of a product on the register-blocked kernel: read as they lie, or from a copy that is converted, turned or packed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from fx.sizes import about_at_most, is_sized, largest

from ..kernels.gemm import pack_kernel, pack_rows_kernel, strip_kernel, turn_kernel
from ..kernels.microkernel import LINE, Tile
from .contraction import (
    BYTES_PER_NS,
    Array,
    Contraction,
    Dims,
    filled,
    move,
    row_major,
    run,
    scratch,
    single,
    size,
    with_a_strides,
)
from .registry import Arg, KernelHandle, LowerContext

__all__ = [
    "LARGE_ROWS", "along_rows", "columns_together", "converted", "gains_strips", "gains_turned", "in_strips", "is_long", "is_narrow", "is_worth_turning", "keeps_b", "packed", "packed_rows", "turned",
]  # fmt: skip

PACK_ROWS = 16  # rows of A that a piece of its packing covers
PACK_CHUNK = 32  # values of k that a piece of the packing covers: the rows it reads and the panels it writes fit L1
# Rows of A, and bytes of a row of B, for which packing B is no gain (measured on Zen 4: in place takes 3 to 22 % less time for 8 to
# 32 rows, 8 % less to 3 % more for 128, as much for 1000, and up to 3 % more for 4096); of the pixels of an image, few ones, as those
# sizes vary widely and there is one kernel for them.
SOME_ROWS, SOME_PIXELS, SHORT_ROW = 1 << 10, 64, 1 << 10
# The same where a row of a panel is one line of the caches: the lines that the hardware fetches beside it are those of other panels, and
# rows of B a power of two apart share a few sets (on Zen 3, in place takes 5 to 30 % less time for 8 to 16 rows, 10 to 40 % more from 64 on).
NARROW_ROWS = 32
# The same where B takes more than half of the second-level cache, so that ranges of rows read it from further away (784 x 256 float32 on
# Zen 5: in place takes 12 % less for 16 rows, 3 % less for 64, up to 4 % more for 128, 3 to 7 % more for 256 to 1000).
LARGE_ROWS = 64
# Panels of B from which A is turned where a step of k for each line of the first-level cache is not enough for k, and
# where it is: turning takes a pass, and what one core wrote the others fetch from its caches.
TURN_PANELS, TURN_PANELS_SHORT = 4, 64
STRIP_PANELS = 8  # the same for strips
TURN_ROWS, TURN_K = 128, 64  # of a piece of the turning
STRIP_ROWS, STRIP_K = 1 << 10, 32  # of strips: each value of k is read along its whole length


def keeps_b(ctx: LowerContext, tile: Tile, p: Contraction) -> bool:
    """Packing B costs a pass over it: needless where B fits half the first-level cache, where one block has all rows, or
    where some have and the rows of B are so short that the hardware's prefetching follows them (fewer of a large B)."""
    n, m, itemsize = size(p.cols), size(p.rows), tile.ty.itemsize
    if n < tile.cols:
        return False
    short = not p.ks or 0 < p.ks[-1][2] * itemsize <= SHORT_ROW
    some = SOME_ROWS if len(p.ks) <= 1 else SOME_PIXELS
    if is_narrow(tile) and n > 2 * tile.cols:
        some = NARROW_ROWS
    fits = lambda most: about_at_most(n * size(p.ks) * itemsize, most // 2)
    few = lambda: m <= (some if short else tile.mr) and (fits(ctx.host.l2_bytes) or m <= LARGE_ROWS)
    small = lambda: fits(ctx.host.l1_bytes)
    first, second = (small, few) if is_sized(m) else (few, small)  # what varies is asked last: often it need not be
    return bool(first() or second())


def is_narrow(tile: Tile) -> bool:
    """Whether a row of a panel is one line of the caches."""
    return tile.cols * tile.ty.itemsize <= LINE


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


def gains_turned(ctx: LowerContext, tile: Tile, p: Contraction) -> bool:
    """Whether A is turned: not where short rows are read for narrow panels, as slices of k are short then (see ``contract_blocked``), and the
    hardware's prefetching follows (up to a third of the time on Zen 3; rows of 2 KiB are better turned)."""
    if p.ks and is_narrow(tile) and abs(p.ks[0][1]) * tile.ty.itemsize <= SHORT_ROW:
        return False
    return is_worth_turning(ctx, tile, p)


def gains_strips(ctx: LowerContext, tile: Tile, p: Contraction) -> bool:
    """Whether A, which lies along its rows, is copied in the order in which register blocks of narrow panels read it.

    In place, each step of k touches another line, and lines a power of two apart share a few sets of the first-level cache: where that
    does not hold half a line of each step, they come from further away for each block of rows again.  Gradients of weights are such
    products (on Zen 3, 256 x 1024 by 1024 x 1024 takes 13 % less time, 512 x 128 by 128 x 512 10 to 20 %).
    """
    if p.pairs or not is_narrow(tile) or not along_rows(p) or p.rows[0][1] != 1:
        return False
    m, k, n, a_k = size(p.rows), size(p.ks), size(p.cols), abs(p.ks[0][1])
    if n < STRIP_PANELS * tile.cols or m < tile.mr:
        return False
    if is_sized(k) or is_sized(a_k):
        return True
    sets = max(1, ctx.host.l1_bytes // ctx.host.l1_ways // LINE)
    apart = max(1, a_k * tile.ty.itemsize // LINE)
    return bool(2 * k > sets // math.gcd(sets, apart) * ctx.host.l1_ways)


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


def turned(ctx: LowerContext, name: str, p: Contraction, a: Array) -> tuple[Contraction, Array]:
    """A with k innermost, and the contraction on it."""
    k, lanes, line = size(p.ks), ctx.host.lanes(a.ty), LINE // a.ty.itemsize
    kernel = ctx.kernel(("turn", a.ty, lanes), lambda: turn_kernel(a.ty, lanes))
    d_row = -(-k // line) * line + line  # rows a power of two apart would share cache sets
    batch, copy = _rearranged(ctx, f"{name} (turn)", p, a, kernel, (size(p.rows), TURN_ROWS, TURN_K, d_row))
    return with_a_strides(p, (*batch, d_row, 1)), copy


def in_strips(ctx: LowerContext, name: str, p: Contraction, a: Array, tile: Tile) -> tuple[Contraction, Array, int]:
    """A as the register blocks read it, those of their rows side by side for each k, the contraction on it, and the distance between rows
    of two strips, for each row."""
    mr, lanes = tile.mr, ctx.host.lanes(a.ty)
    kernel = ctx.kernel(("strip", a.ty, mr, lanes), lambda: strip_kernel(a.ty, mr, lanes))
    d_row = size(p.ks) + LINE // a.ty.itemsize  # strips a power of two apart would share cache sets
    rows = -(-size(p.rows) // mr) * mr
    batch, copy = _rearranged(ctx, f"{name} (strips)", p, a, kernel, (rows, STRIP_ROWS // mr * mr, STRIP_K, d_row))
    return with_a_strides(p, (*batch, 1, mr)), copy, d_row


def _rearranged(
    ctx: LowerContext, name: str, p: Contraction, a: Array, kernel: KernelHandle, to: tuple[Any, int, int, Any]
) -> tuple[tuple[Any, ...], Array]:
    """Runs a kernel over A, which lies along its rows; returns the strides of the batch in the copy, and the copy.

    to: rows of the copy, those of a piece and its values of k, and the distance of rows.
    """
    (m, k), (a_k, batch), (rows, mc, kc, d_row) = (size(p.rows), size(p.ks)), (p.ks[0][1], filled(p.batch, 2, 3)), to
    once = [d[0] if d[1] != 0 else 1 for d in batch]
    strides = (once[1] * rows * d_row if once[0] > 1 else 0, rows * d_row if once[1] > 1 else 0)
    copy = Array(scratch(ctx, a.ty, math.prod(once) * rows * d_row), a.ty)
    row_blocks, k_blocks = -(-m // mc), -(-k // kc)
    values: dict[str, Arg] = {
        "src": a.at, "dst": copy.at, "m": m, "mc": mc, "k": k, "kc": kc, "g1_size": once[1],
        "row_blocks": row_blocks, "k_blocks": k_blocks, "s_g0": batch[0][1], "s_g1": batch[1][1], "s_k": a_k,
        "d_g0": strides[0], "d_g1": strides[1], "d_row": d_row,
    }  # fmt: skip
    total = math.prod(once) * row_blocks * k_blocks
    nbytes = 2 * math.prod(once) * m * k * a.ty.itemsize
    run(ctx, kernel, values, total, 4 * nbytes / BYTES_PER_NS / total, name, (a.at,), (copy.at,), nbytes=nbytes)
    return strides[2 - len(p.batch) :], copy


def packed_rows(ctx: LowerContext, name: str, p: Contraction, a: Array, tile: Tile) -> tuple[Contraction, Array]:
    """A in blocks of as many rows as a register block has, [rows][k][row], and the contraction on it: the rows of a block are one apart, and
    blocks as many elements as they have.

    Rows a multiple of a cache line apart have each element in the same bank of the first-level cache, which reads one of them a cycle; rows
    side by side it reads two at a time (12 to 20 % of the time of the innermost loop on Zen 3).
    """
    m, k, batch, mr = size(p.rows), size(p.ks), filled(p.batch, 2, 3), tile.mr
    once = [d[0] if d[1] != 0 else 1 for d in batch]
    d_batch = -(-m // mr) * mr * k
    strides = (once[1] * d_batch if once[0] > 1 else 0, d_batch if once[1] > 1 else 0)
    copy = Array(scratch(ctx, a.ty, math.prod(once) * d_batch), a.ty)
    kernel = ctx.kernel(("pack rows", a.ty, tile.lanes, mr), lambda: pack_rows_kernel(a.ty, tile.lanes, mr))
    row_blocks = -(-m // PACK_ROWS)
    values: dict[str, Arg] = {
        "src": a.at, "dst": copy.at, "m": m, "mc": PACK_ROWS, "k": k, "g1_size": once[1], "row_blocks": row_blocks,
        "s_g0": batch[0][1], "s_g1": batch[1][1], "s_row": p.rows[0][1], "s_k": p.ks[0][1], "d_g0": strides[0], "d_g1": strides[1],
    }  # fmt: skip
    total, nbytes = math.prod(once) * row_blocks, 2 * math.prod(once) * m * k * a.ty.itemsize
    run(
        ctx,
        kernel,
        values,
        total,
        nbytes / BYTES_PER_NS / total,
        f"{name} (pack rows)",
        (a.at,),
        (copy.at,),
        nbytes=nbytes,
    )
    return with_a_strides(p, (*strides[2 - len(p.batch) :], 1, mr)), copy


def _in_squares(lanes: int, ks: Dims) -> bool:
    """Whether the packing can go along k, of which as many values as a vector has lanes lie together."""
    depth = ks[-1][0]
    return bool(lanes > 1 and (depth >= lanes if len(ks) == 1 else depth % lanes == 0 and PACK_CHUNK % lanes == 0))


def packed(ctx: LowerContext, name: str, p: Contraction, b: Array, tile: Tile) -> tuple[Contraction, Array, int]:
    """B in panels, the contraction on them, and the distance of two panels.  Ends complex pairs: what is left is real."""
    n, s_col, _ = single(p.cols)
    k, unit = size(p.ks), 2 if p.pairs else 1
    cols = tile.cols // unit  # of a panel, before pairs become 2 x 2 blocks
    panels, d_panel = -(-n // cols), largest(k * unit * tile.cols, 1)
    layout = "complex" if p.pairs else "narrow" if n < cols else "unit" if s_col == 1 else "any"
    if layout == "narrow" and s_col == 1 and b.ty.bits >= 32 and ctx.host.masked_accesses:
        layout = "masked"
    if layout == "any" and b.ty == tile.ty and p.ks and p.ks[-1][2] == 1 and _in_squares(tile.lanes, p.ks):
        layout = "turned"
    k_dims = 1 if len(p.ks) <= 1 else 4
    batch, ks = filled(p.batch, 2, 3), filled(p.ks, k_dims, 2)
    once = [d[0] if d[2] != 0 else 1 for d in batch]  # a B that the batch shares is packed once
    strides = (once[1] * panels * d_panel if once[0] > 1 else 0, panels * d_panel if once[1] > 1 else 0)
    elements = math.prod(once) * panels * d_panel
    copy = Array(scratch(ctx, tile.ty, elements), tile.ty)
    width = 0 if layout == "turned" else tile.nv
    block = replace(tile, mr=0, nv=width)  # the panels do not depend on the height of the register block
    kernel = ctx.kernel(("pack", block, b.ty, k_dims, layout), lambda: pack_kernel(block, b.ty, k_dims, layout))
    chunks = -(-k // PACK_CHUNK)
    values: dict[str, Arg] = {
        "src": b.at, "dst": copy.at, "n": n, "k": k, "chunk": PACK_CHUNK, "chunks": chunks, "panels": panels,
        "g1_size": once[1], "last_col": largest(n - cols, 0), "s_col": s_col, "s_g0": batch[0][2], "s_g1": batch[1][2],
        "d_g0": strides[0], "d_g1": strides[1], "d_panel": d_panel,
    }  # fmt: skip
    if layout == "turned":
        values["cols"] = tile.cols
    for i, (n_k, _, s_k) in enumerate(ks):
        values |= {f"k{i}": n_k, f"s_k{i}": s_k}
    nbytes = math.prod(once) * k * n * unit * b.ty.itemsize + elements * tile.ty.itemsize
    total = math.prod(once) * chunks
    ns = largest(nbytes / BYTES_PER_NS, elements * {"unit": 0.0, "turned": 0.2}.get(layout, 0.4)) / largest(total, 1)
    run(ctx, kernel, values, total, ns, f"{name} (pack)", (b.at,), (copy.at,), nbytes=nbytes)
    new_ks = [(n_k, a_k, s) for (n_k, a_k, _), s in zip(p.ks, row_major(p.ks, tile.cols * unit))]
    if p.pairs:
        last = new_ks.pop() if new_ks else (1, 2, 0)
        new_ks.append((2 * last[0], 1, tile.cols))
    new_batch = tuple((*d[:2], s, d[3]) for d, s in zip(batch, strides))
    return replace(p, batch=new_batch, ks=tuple(new_ks)), copy, d_panel


def along_rows(p: Contraction) -> bool:
    """Whether A lies along its rows: the steps of k are the larger ones."""
    return len(p.rows) == 1 and len(p.ks) == 1 and abs(p.rows[0][1]) < abs(p.ks[0][1])


def columns_together(ctx: LowerContext, name: str, p: Contraction, b: Array) -> tuple[Contraction, Array]:
    """A dense copy of B with the columns innermost."""
    ((n, b_col, c_col),) = p.cols
    dims = tuple((d[0], d[2]) for d in (*p.batch, *p.ks))
    kept = (*(d for d in dims if d[1] != 0), (n, b_col))
    dense = row_major(kept, 1)
    copy = Array(scratch(ctx, b.ty, size(kept)), b.ty)
    move(ctx, f"{name} (copy)", tuple((*d, s) for d, s in zip(kept, dense)), b, copy)
    new = iter(dense)
    strides = [next(new) if d[1] != 0 else 0 for d in dims]
    batch = tuple((*d[:2], s, d[3]) for d, s in zip(p.batch, strides))
    ks = tuple((*d[:2], s) for d, s in zip(p.ks, strides[len(batch) :]))
    return replace(p, batch=batch, ks=ks, cols=((n, 1, c_col),)), copy
