"""Contractions on the register-blocked kernel: which operands are packed, blocks, slices of k, and what C cannot take directly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from fx.sizes import is_sized, largest, late, plain, smallest

from ..kernels.contract import Contract, contract_kernel
from ..kernels.microkernel import BLOCK_WORDS, LINE, Epilogue, Tile, packed_rows_tile, tile_for
from ..loop_ir import Ty
from .contract_blocks import Blocks, Layout, blocks_for, loops_for, slab_slices
from .contract_items import items_of
from .contract_left import along_rows, arranged, gains_wide_blocks, is_long, is_worth_turning
from .contract_pieces import (
    FINISHED_LINES,
    FINISHED_ROWS,
    HALF_NS,
    MIN_SLICE,
    MORE_PIECES,
    ROWS,
    asked_ahead,
    may_cut,
    neighbours,
    rows_ahead,
    walks_by_rows,
)
from .contract_right import columns_together, keeps_b, packed
from .contraction import (
    BYTES_PER_NS,
    FLOPS_PER_NS,
    Array,
    Contraction,
    Dims,
    move,
    normal,
    row_major,
    run,
    scratch,
    single,
    size,
)  # fmt: skip
from .conv_geometry import ImageSource
from .loops import coalesce
from .registry import Address, Arg, LowerContext
from .window_rows import WindowRows

__all__ = ["blocked", "copies_slabs", "gains_exchanged", "lanewise"]

# Rows up to which packing B takes time; in the graph of a loop, it is a step that can move in front of the loop.
FEW_ROWS = 192
FOLLOWED = 1 << 11  # bytes between accesses up to which the hardware's prefetching follows
UNROLL = 16  # values of k up to which the loops over a window are unrolled: rounds of one cost as much as their body
NEVER = 1 << 40  # rows
WIDE_ROWS = 256  # of a block of rows that are packed for blocks of three vectors
WALK = ("g0", "g1", "outer", "slice")  # what moves both operands from piece to piece and from slice to slice


def blocked(
    ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array, epilogue: Epilogue | None = None,
    window: WindowRows | None = None, image: ImageSource | None = None,
) -> bool:  # fmt: skip
    """Decides where the operands are read from and runs the product.  Returns whether the epilogue is part of it.

    image: what A is where ``p`` has its strides as slabs of it are copied (``copies_slabs``).
    window: what the rows are where some see a part of k only; the loops over k are (y, x, channels) or (y, x and channels).
    """
    unit = 2 if p.pairs else 1
    wide = gains_wide_blocks(ctx, p)
    tile = packed_rows_tile(ctx.host, p.compute) if wide else _tile(ctx, p)
    p, a, a_step, own_rows = arranged(ctx, name, p, a, tile, wide)
    as_is = b.ty == p.compute and not p.pairs
    slab = _slabs(ctx, p, tile)
    panel, packs = 0, False
    if not (as_is and single(p.cols)[1] == 1 and keeps_b(ctx, tile, p)):
        reused = _shares_b(p) or (ctx.depth > 0 and size(p.rows) <= FEW_ROWS)
        packs = as_is and (slab is not None or len(p.rows) <= 1) and not reused and not wide and not own_rows
        if not packs:
            p, b, panel = packed(ctx, name, p, b, tile)
            if slab is None:
                p, window = _joined(p, window)
    layout = Layout(
        tile, panel, unit, slab, packs=packs, window=window, a_step=a_step, wide=wide, packs_rows=own_rows, image=image
    )
    return _product(ctx, name, p, a, b, c, layout, epilogue)


def copies_slabs(ctx: LowerContext, p: Contraction, keep_rows: bool) -> bool:
    """Whether ``blocked`` copies of A what each slice reads of it, also with the rows as they are, if it may have to keep them so."""
    found = [normal(p), *([normal(p, keep_rows=True)] if keep_rows else [])]
    return not gains_exchanged(ctx, found[0]) and all(_slabs(ctx, q, _tile(ctx, q)) is not None for q in found)


def _slabs(ctx: LowerContext, p: Contraction, tile: Tile) -> int | None:
    return slab_slices(ctx.host.l2_bytes // 4 // p.compute.itemsize, p, tile)


def _joined(p: Contraction, window: WindowRows | None) -> tuple[Contraction, WindowRows | None]:
    """Loops over k that are one in A are one in a B that is packed, however it lay: a window that is turned, as in the gradient with
    respect to an image, is one over its columns and the channels."""
    if window is None:
        return replace(p, ks=tuple(coalesce(p.ks))), None
    inner = tuple(coalesce(p.ks[1:]))
    if window.merged or len(inner) != 1:
        return p, window
    return replace(p, ks=(p.ks[0], *inner)), replace(window, merged=True)


def gains_exchanged(ctx: LowerContext, p: Contraction) -> bool:
    """Whether the product is faster with A and B exchanged: A lies along its rows, far apart, and is worth no turning for so few
    columns, but B is for the many rows, and is the smaller one.  (A gradient of weights is such a product.)"""
    q = normal(p.transposed())
    if p.pairs or not (along_rows(p) and along_rows(q) and is_long(ctx, p)):
        return False
    if abs(p.ks[0][1]) * p.compute.itemsize <= FOLLOWED:
        return False
    return is_worth_turning(ctx, _tile(ctx, q), q) and not is_worth_turning(ctx, _tile(ctx, p), p)


def lanewise(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array, lane: int) -> None:
    """C[r, j] = sum_k A[r, k, j] * B[k, j], vectorised over j: batch dimension ``lane``, contiguous in A."""
    n, _, b_col, c_col = p.batch[lane]
    p = replace(p, batch=(*p.batch[:lane], *p.batch[lane + 1 :]), cols=((n, b_col, c_col),))
    if b_col != 1:
        p, b = columns_together(ctx, name, p, b)
    lanes, m = ctx.host.lanes(p.compute), size(p.rows)
    tile = Tile(p.compute, lanes, min((4, 5), key=lambda r: -(-m // r) * r), 2 if n >= 2 * lanes else 1)
    _product(ctx, name, p, a, b, c, Layout(tile, 0, 1, None, lanewise=True), None)


# ------------------------------------------------------------------------------------------- the product


def _tile(ctx: LowerContext, p: Contraction) -> Tile:
    return tile_for(
        ctx.host,
        p.compute,
        size(p.rows),
        size(p.cols) * (2 if p.pairs else 1),
        size(p.ks),
        ctx.serial,
        lambda: may_cut(ctx, p),
    )


def _shares_b(p: Contraction) -> bool:
    """Whether a batch of products has one B: it is packed once."""
    return any(d[0] > 1 and d[2] == 0 for d in p.batch)


def _product(
    ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array, layout: Layout, epilogue: Epilogue | None
) -> bool:  # fmt: skip
    """Runs ``contract_kernel``; C goes through scratch memory where there are parts to add up, without the epilogue."""
    tile, ty = layout.tile, p.compute
    finished = FINISHED_LINES if tile.is_narrow else FINISHED_ROWS
    most_rows = WIDE_ROWS if layout.wide else ROWS if epilogue is None else finished
    blocks = blocks_for(ctx, p, layout, most_rows)
    window_rows = layout.window
    if window_rows is not None:
        blocks = replace(blocks, row_blocks=window_rows.ranges(blocks.piece_rows)["row_blocks"])
    batch, rows, ks = loops_for(p, blocks)
    columns, _, c_col = single(p.cols)
    m, width, groups = size(p.rows), columns * layout.unit, size(p.batch)
    line = largest(width, tile.cols)
    # Where the number of parts varies and a usual change of the sizes may bring it from or to one, one is added up too: that takes
    # a thirtieth of the time at most, two programs a plan each.
    few = plain(size(p.batch) * blocks.row_blocks * blocks.groups) <= 2 * MORE_PIECES
    varies = is_sized(blocks.parts) and few and plain(size(p.ks)) >= 2 * MIN_SLICE
    direct = not varies and blocks.parts == 1 and (not p.pairs or c_col == layout.unit)
    fused = epilogue if direct else None
    out, c_batch, c_rows = c, [d[3] for d in batch], [d[2] for d in rows]
    if not direct:
        out = Array(scratch(ctx, ty, blocks.parts * groups * m * line), ty)
        c_batch, c_rows = [batch[1][0] * m * line, m * line], list(row_major(rows, line))
    reach = 0  # rows before the end of a piece from where on C takes whole vectors of columns
    masked = window_rows is not None and ctx.host.masked_accesses and out.ty.bits >= 32 and 0 < width < tile.cols
    if fused is not None or (direct and c_col != layout.unit):
        reach, masked = NEVER, False
    elif masked:
        pass
    elif window_rows is not None and width < tile.cols:
        reach = NEVER
    elif direct and width < tile.cols:
        dense = all(n == 1 or c_row == step for (n, *_), c_row, step in zip(rows, c_rows, row_major(rows, width)))
        reach = tile.mr + -(-(tile.cols - width) // width) if dense else NEVER
    unrolled = (
        len(rows) > 1
        and len(p.ks) > 1
        and 0 < size(ks) <= UNROLL
        and blocks.slices == 1
        and reach == 0
        and window_rows is None
    )
    window = tuple(d[0] for d in ks) if unrolled else ()
    copy = _copy_of_a(ctx, p, layout, blocks, rows, ks)
    copies = not (layout.lanewise or layout.wide or layout.packs_rows) and (
        len(rows) == 1 or layout.packs or copy is not None
    )  # products share one kernel
    variant = Contract(
        tile,
        out.ty,
        len(rows),
        len(ks),
        window,
        layout.lanewise,
        copies,
        window_rows is not None,
        masked,
        layout.a_step is not None,
        layout.packs_rows,
        layout.image is not None,
    )
    kernel = ctx.kernel(("contract", variant), lambda: contract_kernel(variant))
    values = _frame(blocks, layout, p, batch, rows, ks)
    if window_rows is not None:
        values |= window_rows.frame(blocks.piece_rows, p.ks)
        values |= window_rows.loops(blocks.ks, len(ks), len(blocks.ks) < len(p.ks), blocks.slices > 1)
    values |= {
        "a": a.at, "b": b.at, "a_source": a.at, "b_source": b.at, "c": out.at, "m": m, "n": width, "c_part": groups * m * line,
        "last_col": largest(width - tile.cols, 0), "c_col": 1 if p.pairs else c_col, "reach": reach, "sums": a.at, "sums_size": 0, "then": a.at, "told": a.at, "calling": 0,
    }  # fmt: skip
    values |= {f"c_g{g}": stride for g, stride in enumerate(c_batch)} | {
        f"c_r{r}": stride for r, stride in enumerate(c_rows)
    }
    values |= (_own_rows(ctx, tile, blocks, ks) if layout.packs_rows else copy or {}) | _own_sums(
        ctx, blocks, tile, bool(reach)
    )
    if fused is not None:
        told = ctx.scratch(BLOCK_WORDS * 8, per_worker=True)
        values |= {"c": a.at, "told": told, "then": fused.called(cast(Address, values["sums"]), told), "calling": 1}
    if layout.packs:
        filling = variant.fills and columns >= tile.cols and single(p.cols)[1] == 1
        values |= _own_panels(ctx, blocks, tile, ks, filling)
        line_bytes, width_bytes = ks[-1][2] * ty.itemsize, tile.cols * ty.itemsize
        values["ahead"] = ks[-1][2] * late(rows_ahead, line_bytes, width_bytes, ctx.host.l1_bytes, ctx.host.l1_ways)
    values |= {"by_rows": 0, "inner": blocks.row_blocks}
    if window_rows is None:
        shape = (m, width, size(p.ks), blocks.row_blocks, 2 * ctx.host.l2_bytes // ty.itemsize)
        values |= {"by_rows": late(walks_by_rows, *shape, at_least=0), "inner": late(neighbours, *shape, blocks.groups)}
    total = groups * blocks.row_blocks * blocks.groups * blocks.parts
    nbytes = groups * m * width * c.ty.itemsize + groups * (m + width) * size(p.ks) * ty.itemsize
    ns = largest(p.flops / FLOPS_PER_NS, nbytes / BYTES_PER_NS) / total
    items = None
    if direct and fused is None and window_rows is None and not layout.lanewise:
        in_rows, in_panels = layout.a_step is not None or layout.image is not None, bool(layout.b_panel)
        items = items_of(p, None if in_rows else a, None if in_panels else b, c, blocks.row_blocks * blocks.groups)
    run(
        ctx,
        kernel,
        values,
        total,
        ns,
        name,
        (a.at, b.at),
        () if fused else (out.at,),
        p.flops,
        nbytes,
        least=HALF_NS,
        items=items,
    )
    if not direct:
        dims = [(d[0], s, d[3]) for d, s in zip(batch, c_batch)] + [(d[0], s, d[2]) for d, s in zip(rows, c_rows)]
        dims += [(columns, layout.unit, c_col), (layout.unit, 1, 1)]
        move(ctx, f"{name} (store)", tuple(dims), out, c, blocks.parts, groups * m * line)
    return fused is not None


def _own(ctx: LowerContext, ty: Ty, elements: int) -> tuple[Address, int]:
    """Memory of each worker, and how many elements it has: whole cache lines."""
    line = LINE // ty.itemsize
    elements = -(-largest(elements, 1) // line) * line
    return ctx.scratch(elements * ty.itemsize, per_worker=True), elements


def _own_sums(ctx: LowerContext, blocks: Blocks, tile: Tile, scattered: bool) -> dict[str, Arg]:
    """Where sums wait, if they have to: for the next slice, or, if they are ``scattered``, for what takes them on.  Without
    another slice, panels take turns with the memory of one."""
    sliced = smallest(blocks.part_slices - 1, 1)
    panels = 1 + sliced * (blocks.group - 1)
    values: dict[str, Arg] = {"sums_line": panels * tile.cols, "sums_panel": sliced * tile.cols}
    waits = 1 if scattered else sliced  # 0: sums are stored once, in C
    if is_sized(waits) or waits:
        held = waits * (blocks.piece_rows + tile.mr) * panels * tile.cols
        values["sums"], values["sums_size"] = _own(ctx, tile.ty, held)
    return values


def _own_panels(ctx: LowerContext, blocks: Blocks, tile: Tile, ks: Dims, filling: bool) -> dict[str, Arg]:
    """Panels of a slice of B that a piece packs, [panel][k][column]; ``filling``: while its first rows are computed."""
    steps = row_major(ks, tile.cols)
    panel = blocks.k_slice * steps[0] + LINE // tile.ty.itemsize  # panels a power of two apart would share cache sets
    memory, elements = _own(ctx, tile.ty, blocks.group * panel)
    values: dict[str, Any] = {f"b_k{i}": s for i, s in enumerate(steps)} | {f"b_{n}": 0 for n in WALK}
    values |= {"packing": 0 if filling else 1, "filling": 1 if filling else 0}
    return values | {"b": memory, "panels_size": elements, "b_panel": panel, "b_group": 0, "b_col": 0}


def _copy_of_a(
    ctx: LowerContext, p: Contraction, layout: Layout, blocks: Blocks, rows: Dims, ks: Dims
) -> dict[str, Arg] | None:
    """The frame for copies of the slab of A that all rows read in a slice, or None where A is read in place."""
    if not layout.slab:
        return None
    spread = 1 + sum((d[0] - 1) * d[1] for d in (*p.rows, *blocks.ks[1:])) - ks[0][1]
    values: dict[str, Arg] = {f"a_{n}": 0 for n in WALK}
    values |= {"copying": 1, "slab_length": spread, "slab_step": ks[0][1]}
    if layout.image is not None:
        values |= layout.image.frame()
    length = spread + blocks.k_slice * ks[0][1]
    values["a"], values["copy_size"] = _own(ctx, layout.tile.ty, length)
    rounds = blocks.piece_rows * blocks.group * blocks.k_slice
    of_a = -(-length // rounds)
    of_b = -(-blocks.k_slice * abs(ks[0][2]) // rounds) if layout.packs and blocks.groups == 1 else 0
    held = (blocks.slices * length + size(p.ks) * single(p.cols)[0]) * layout.tile.ty.itemsize
    work = (size(ks[1:]) * layout.tile.nv, held, ctx.host.l2_bytes)
    values["ahead_a"], values["ahead_b"] = (late(asked_ahead, x, of_a + of_b, *work, at_least=0) for x in (of_a, of_b))
    return values


def _own_rows(ctx: LowerContext, tile: Tile, blocks: Blocks, ks: Dims) -> dict[str, Arg]:
    """The frame for packing the rows of a piece and a slice, [rows of a register block][k][row]."""
    d_row = blocks.k_slice + LINE // tile.ty.itemsize  # blocks a power of two apart would share cache sets
    values: dict[str, Arg] = {f"a_{n}": 0 for n in WALK}
    values |= {"a_k0": tile.mr, "a_step": d_row, "as_k0": ks[0][1]}
    values["a"], values["copy_size"] = _own(ctx, tile.ty, -(-blocks.piece_rows // tile.mr) * tile.mr * d_row)
    return values


def _frame(blocks: Blocks, layout: Layout, p: Contraction, batch: Dims, rows: Dims, ks: Dims) -> dict[str, Arg]:
    """The counts and the strides in A and B, by the names of ``contract_kernel``, where both are read in place."""
    panel = layout.b_panel
    values: dict[str, Arg] = {
        "piece_rows": blocks.piece_rows, "blocks": -(-blocks.piece_rows // blocks.mc), "mc": blocks.mc, "g1_size": batch[1][0],
        "parts": blocks.parts, "pieces": blocks.groups * blocks.row_blocks, "group": blocks.group, "panels": blocks.panels,
        "level": blocks.level, "k_slice": blocks.k_slice, "slices": blocks.slices,
        "part_slices": blocks.part_slices, "a_step": rows[0][1] if layout.a_step is None else layout.a_step,
        "b_panel": panel, "b_group": panel, "b_col": 0 if panel else 1, "bs_col": single(p.cols)[1],
        "packing": 0, "filling": 0, "ahead": 0, "panels_size": 0, "copying": 0, "copy_size": 0, "slab_length": 0, "slab_step": 0,
        "ahead_a": 0, "ahead_b": 0,
    }  # fmt: skip
    for x, which in (("a", 1), ("b", 2)):
        strides = {f"g{g}": d[which] for g, d in enumerate(batch)} | {f"k{i}": d[which] for i, d in enumerate(ks)}
        strides |= {"outer": blocks.outer[which], "slice": blocks.k_slice * ks[0][which]}
        values |= {f"{x}_{n}": s for n, s in strides.items()} | {f"{x}s_{n}": s for n, s in strides.items()}
    for r, (n_r, a_r, _) in enumerate(rows):
        values |= {f"r{r}": n_r, f"a_r{r}": a_r}
    for i, (n_k, _, _) in enumerate(ks):
        values[f"k{i}"] = n_k
    return values
