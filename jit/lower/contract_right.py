"""B of a product on the register-blocked kernel: read as it lies, or from panels."""

from __future__ import annotations

import math
from dataclasses import replace

from fx.sizes import is_sized, largest

from ..kernels.microkernel import Tile
from ..kernels.packing import pack_kernel
from .contract_pieces import at_most
from .contraction import BYTES_PER_NS, Array, Contraction, Dims, filled, move, row_major, run, scratch, single, size
from .registry import Arg, LowerContext

__all__ = ["LARGE_ROWS", "columns_together", "keeps_b", "packed"]

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


def keeps_b(ctx: LowerContext, tile: Tile, p: Contraction) -> bool:
    """Packing B costs a pass over it: needless where B fits half the first-level cache, where one block has all rows, or
    where some have and the rows of B are so short that the hardware's prefetching follows them (fewer of a large B)."""
    n, m, itemsize = size(p.cols), size(p.rows), tile.ty.itemsize
    if n < tile.cols:
        return False
    short = not p.ks or 0 < p.ks[-1][2] * itemsize <= SHORT_ROW
    some = SOME_ROWS if len(p.ks) <= 1 else SOME_PIXELS
    if tile.is_narrow and n > 2 * tile.cols:
        some = NARROW_ROWS
    fits = lambda most: at_most(ctx, p, n * size(p.ks) * itemsize, most // 2)
    few = lambda: m <= (some if short else tile.mr) and (fits(ctx.host.l2_bytes) or m <= LARGE_ROWS)
    small = lambda: fits(ctx.host.l1_bytes)
    first, second = (small, few) if is_sized(m) else (few, small)  # what varies is asked last: often it need not be
    return bool(first() or second())


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
