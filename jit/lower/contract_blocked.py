"""Contractions on the register-blocked kernel: packing, blocks, slices of k, and what C cannot take directly."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, cast

from fx.sizes import is_sized, largest, late, plain, smallest

from ..kernels.contract import Contract, contract_kernel
from ..kernels.gemm import pack_kernel, turn_kernel
from ..kernels.microkernel import BLOCK_WORDS, LINE, Epilogue, Tile, tile_for
from ..loop_ir import Ty
from .contract_pieces import (
    FINISHED_ROWS,
    GROUP,
    HALF_NS,
    MIN_SLICE,
    MORE_PIECES,
    RANGE_BLOCKS,
    ROWS,
    SLAB_SLICE,
    k_parts,
    k_slices,
    neighbours,
    packed_groups,
    packed_ranges,
    parts_first,
    row_ranges,
    rows_ahead,
    walks_by_rows,
    wanted_pieces,
)
from .contraction import (
    BYTES_PER_NS,
    FLOPS_PER_NS,
    Array,
    Contraction,
    Dims,
    filled,
    move,
    normal,
    row_major,
    run,
    scratch,
    single,
    size,
    with_a_strides,
)  # fmt: skip
from .registry import Address, Arg, LowerContext
from .window_rows import WindowRows

__all__ = ["blocked", "gains_exchanged", "lanewise"]

PACK_CHUNK = 32  # values of k that a piece of the packing covers: the rows it reads and the panels it writes fit L1
FEW_ROWS = (
    192  # up to which packing B takes time; in the graph of a loop, it is a step that can move in front of the loop
)
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
# Cycles of a core for an element of an operand that a piece reads anew: B packed along its columns or across, A in place.
PACK_ALONG, PACK_ACROSS, READ_A = 0.4, 3.0, 0.05
# Panels of B from which A is turned where a step of k for each line of the first-level cache is not enough for k, and
# where it is: turning takes a pass, and what one core wrote the others fetch from its caches.
TURN_PANELS, TURN_PANELS_SHORT = 4, 64
TURN_ROWS, TURN_K = 128, 64  # of a piece of the turning
FOLLOWED = 1 << 11  # bytes between accesses up to which the hardware's prefetching follows
UNROLL = 16  # values of k up to which the loops over a window are unrolled: rounds of one cost as much as their body
NEVER = 1 << 40  # rows
WALK = ("g0", "g1", "outer", "slice")  # what moves both operands from piece to piece and from slice to slice


def blocked(
    ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array, epilogue: Epilogue | None = None,
    window: WindowRows | None = None,
) -> bool:  # fmt: skip
    """Decides where the operands are read from and runs the product.  Returns whether the epilogue is part of it.

    window: what the rows are where some see a part of k only; the loops over k are (y, x, channels) or (y, x and channels).
    """
    unit = 2 if p.pairs else 1
    tile = _tile(ctx, p)
    if a.ty != p.compute:
        p, a = _converted(ctx, name, p, a)
    if _gains_turned(ctx, tile, p):
        p, a = _turned(ctx, name, p, a)
    as_is = b.ty == p.compute and not p.pairs
    slab = _slab_slices(ctx.host.l2_bytes // 4 // p.compute.itemsize, p, tile)
    panel, packs = 0, False
    if not (as_is and single(p.cols)[1] == 1 and _keeps_b(ctx, tile, p)):
        reused = _shares_b(p) or (ctx.depth > 0 and size(p.rows) <= FEW_ROWS)
        packs = as_is and (slab is not None or len(p.rows) <= 1) and not reused
        if not packs:
            p, b, panel = _packed(ctx, name, p, b, tile)
    return _product(ctx, name, p, a, b, c, _Layout(tile, panel, unit, slab, packs=packs, window=window), epilogue)


def gains_exchanged(ctx: LowerContext, p: Contraction) -> bool:
    """Whether the product is faster with A and B exchanged: A lies along its rows, far apart, and is worth no turning for so few
    columns, but B is for the many rows, and is the smaller one.  (A gradient of weights is such a product.)"""
    q = normal(p.transposed())
    if p.pairs or not (_along_rows(p) and _along_rows(q) and _is_long(ctx, p)):
        return False
    if abs(p.ks[0][1]) * p.compute.itemsize <= FOLLOWED:
        return False
    return _is_worth_turning(ctx, _tile(ctx, q), q) and not _is_worth_turning(ctx, _tile(ctx, p), p)


def lanewise(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array, lane: int) -> None:
    """C[r, j] = sum_k A[r, k, j] * B[k, j], vectorised over j: batch dimension ``lane``, contiguous in A."""
    n, _, b_col, c_col = p.batch[lane]
    p = replace(p, batch=(*p.batch[:lane], *p.batch[lane + 1 :]), cols=((n, b_col, c_col),))
    if b_col != 1:
        p, b = _columns_together(ctx, name, p, b)
    lanes, m = ctx.host.lanes(p.compute), size(p.rows)
    tile = Tile(p.compute, lanes, min((4, 5), key=lambda r: -(-m // r) * r), 2 if n >= 2 * lanes else 1)
    _product(ctx, name, p, a, b, c, _Layout(tile, 0, 1, None, lanewise=True), None)


def _columns_together(ctx: LowerContext, name: str, p: Contraction, b: Array) -> tuple[Contraction, Array]:
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


# ------------------------------------------------------------------------------------------- the product


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the operands lie.

    Attributes:
        b_panel: distance of B's panels; 0: in place.
        unit: reals in an element of C (2 for complex pairs).
        slab: into how many slices to cut k so that the run of A that one reads is worth copying.
        packs: each piece packs the B that it needs.
        window: what the rows are where some see a part of k only.
    """

    tile: Tile
    b_panel: int
    unit: int
    slab: int | None
    lanewise: bool = False
    packs: bool = False
    window: WindowRows | None = None


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Pieces: ``piece_rows`` rows, in blocks of ``mc``, by a ``group`` of panels by ``part_slices`` slices of k, which are
    added up in order.

    Slices: each index of the ``outer`` loop over k times ``level`` stretches of ``k_slice`` indices of the next loop.
    """

    piece_rows: int
    mc: int
    row_blocks: int
    panels: int
    group: int
    outer: tuple[int, ...]
    ks: Dims
    level: int
    k_slice: int
    part_slices: int

    @property
    def groups(self) -> int:
        return -(-self.panels // self.group)

    @property
    def slices(self) -> int:
        return self.outer[0] * self.level

    @property
    def parts(self) -> int:
        return -(-self.slices // self.part_slices)


def _blocks(ctx: LowerContext, p: Contraction, layout: _Layout, most_rows: int) -> _Blocks:
    """Blocks that fit the caches, and at least ``PIECES`` pieces where there is work for them.

    A slice of k is as long as a panel of B may be that the second-level cache holds beside the rows of A: from there it
    streams at nearly the speed of the first level, and short slices would read and write the sums too often.

    most_rows: of a block.
    """
    tile, itemsize = layout.tile, p.compute.itemsize
    m, k = size(p.rows), size(p.ks)
    panels, batches = -(-single(p.cols)[0] * layout.unit // tile.cols), size(p.batch)

    def even(rows: int, most: int) -> int:
        """Cut into equal parts of at most that many rows, whole register blocks."""
        return -(-rows // -(-rows // most) // tile.mr) * tile.mr

    wanted = 1 if ctx.serial else late(wanted_pieces, p.flops)
    # Blocks of pixels come back to a narrow panel so soon that it had better stay in the first-level cache (9 to 17 % on Zen 3; for
    # plain matrices, it is the same).
    most = ctx.host.l2_bytes // 8
    if _is_narrow(tile) and len(p.rows) > 1:
        most = min(most, ctx.host.l1_bytes)
    count = layout.slab or largest(1, -(-k * tile.cols * itemsize // most))
    if _along_rows(p):  # each step of k brings a line of A, which the row blocks beside it read as well
        count = largest(count, -(-2 * k * LINE // ctx.host.l1_bytes))
    if layout.lanewise and k > m:  # what a slice reads passes through the first-level cache once
        count = largest(1, -(-4 * k * single(p.cols)[0] * itemsize // ctx.host.l1_bytes))
    # In A, the columns of such a batch lie together: k is cut first.
    parts = largest(1, k // MIN_SLICE) if layout.lanewise else late(parts_first, m, size(p.cols), k)
    if layout.packs:
        least = m if layout.slab else RANGE_BLOCKS * tile.mr
        piece_rows, group = _grid(
            p, panels, -(-wanted // (batches * parts)), 1 if layout.slab else largest(1, m // most_rows), least
        )
        piece_rows = even(m, piece_rows)
    else:
        if layout.slab or layout.lanewise:
            piece_rows = even(m, m if layout.slab else most_rows)
        else:
            share = size(p.cols) * k * itemsize / ctx.host.l2_bytes
            ranges = late(row_ranges, m, tile.mr, batches, panels, wanted, share, most_rows)
            piece_rows = even(m, -(-m // ranges))
        group = smallest(GROUP, panels, batches * -(-m // piece_rows) * parts * panels // wanted)
    row_blocks, group = -(-m // piece_rows), largest(1, group)
    groups = -(-panels // group)
    if layout.packs and _is_narrow(tile):  # all panels of a slice are packed before the first is used
        count = largest(count, -(-2 * group * k * tile.cols * itemsize // ctx.host.l2_bytes))
    worth = SLAB_SLICE if layout.slab else MIN_SLICE
    for_threads = 1 if layout.window else late(k_parts, batches * row_blocks * groups, wanted, k, worth)
    outer, ks, level, k_slice = k_slices(p.ks, largest(count, for_threads))
    slices = outer[0] * level
    return _Blocks(
        piece_rows, piece_rows if layout.slab else even(piece_rows, most_rows), row_blocks, panels, -(-panels // groups),
        outer, ks, level, k_slice, -(-slices // smallest(for_threads, slices)),
    )  # fmt: skip


def _grid(p: Contraction, panels: int, wanted: int, most: int, least: int) -> tuple[int, int]:
    """The rows and the panels of a piece that packs its B: about ``wanted`` pieces, with as little read anew as can be.

    ``most``: into how many ranges the rows may be cut, if there is another way; ``least``: rows of a range that is one of two
    because there is none.
    """
    m, n = size(p.rows), single(p.cols)
    per_range = n[0] * (PACK_ALONG if n[1] == 1 else PACK_ACROSS)
    numbers = (panels, wanted, most, m // least, per_range, m * READ_A)
    return -(-m // late(packed_ranges, *numbers)), -(-panels // late(packed_groups, *numbers))


def _tile(ctx: LowerContext, p: Contraction) -> Tile:
    return tile_for(ctx.host, p.compute, size(p.rows), size(p.cols) * (2 if p.pairs else 1), size(p.ks), ctx.serial)


def _shares_b(p: Contraction) -> bool:
    """Whether a batch of products has one B: it is packed once."""
    return any(d[0] > 1 and d[2] == 0 for d in p.batch)


def _along_rows(p: Contraction) -> bool:
    """Whether A lies along its rows: the steps of k are the larger ones."""
    return len(p.rows) == 1 and len(p.ks) == 1 and abs(p.rows[0][1]) < abs(p.ks[0][1])


def _slab_slices(budget: int, p: Contraction, tile: Tile) -> int | None:
    """Into how many slices to cut k so that the run of A that one reads takes ``budget`` elements; None where copying
    such a run is no gain."""
    if len(p.rows) < 2 or len(p.ks) < 2 or any(d[1] <= 0 for d in (*p.rows, *p.ks)) or p.rows[-1][1] >= p.ks[-1][1]:
        return None
    around = 1 + sum((d[0] - 1) * d[1] for d in (*p.rows, *p.ks[2:]))
    step = p.ks[1][1]  # a slice is some indices of the second loop over k
    steps = min((budget - around) // step, p.ks[1][0])
    depth = steps * size(p.ks[2:])
    if steps < 1 or depth < 4 * tile.mr or around + step * steps > 4 * size(p.rows) * depth:
        return None
    return p.ks[0][0] * -(-p.ks[1][0] // steps)


def _product(
    ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array, layout: _Layout, epilogue: Epilogue | None
) -> bool:  # fmt: skip
    """Runs ``contract_kernel``; C goes through scratch memory where there are parts to add up, without the epilogue."""
    tile, ty = layout.tile, p.compute
    blocks = _blocks(ctx, p, layout, ROWS if epilogue is None else FINISHED_ROWS)
    window_rows = layout.window
    if window_rows is not None:
        blocks = replace(blocks, row_blocks=window_rows.ranges(blocks.piece_rows)["row_blocks"])
    batch, rows, ks = _loops(p, blocks)
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
    copies = not layout.lanewise and (len(rows) == 1 or layout.packs or copy is not None)  # products share one kernel
    loops: tuple[str, ...] = ()
    if window_rows is not None:
        loops = window_rows.loops(blocks.ks, len(ks), len(blocks.ks) < len(p.ks), blocks.slices > 1)
    variant = Contract(tile, out.ty, len(rows), len(ks), window, layout.lanewise, copies, loops, masked)
    kernel = ctx.kernel(("contract", variant), lambda: contract_kernel(variant))
    values = _frame(blocks, layout, p, batch, rows, ks)
    if window_rows is not None:
        values |= window_rows.frame(blocks.piece_rows, p.ks)
    values |= {
        "a": a.at, "b": b.at, "a_source": a.at, "b_source": b.at, "c": out.at, "m": m, "n": width, "c_part": groups * m * line,
        "last_col": largest(width - tile.cols, 0), "c_col": 1 if p.pairs else c_col, "reach": reach, "sums": a.at, "sums_size": 0, "then": a.at, "told": a.at, "calling": 0,
    }  # fmt: skip
    values |= {f"c_g{g}": stride for g, stride in enumerate(c_batch)} | {
        f"c_r{r}": stride for r, stride in enumerate(c_rows)
    }
    values |= (copy or {}) | _own_sums(ctx, blocks, tile, bool(reach))
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
    run(ctx, kernel, values, total, ns, name, (a.at, b.at), () if fused else (out.at,), p.flops, nbytes, least=HALF_NS)
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


def _own_sums(ctx: LowerContext, blocks: _Blocks, tile: Tile, scattered: bool) -> dict[str, Arg]:
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


def _own_panels(ctx: LowerContext, blocks: _Blocks, tile: Tile, ks: Dims, filling: bool) -> dict[str, Arg]:
    """Panels of a slice of B that a piece packs, [panel][k][column]; ``filling``: while its first rows are computed."""
    steps = row_major(ks, tile.cols)
    panel = blocks.k_slice * steps[0] + LINE // tile.ty.itemsize  # panels a power of two apart would share cache sets
    memory, elements = _own(ctx, tile.ty, blocks.group * panel)
    values: dict[str, Any] = {f"b_k{i}": s for i, s in enumerate(steps)} | {f"b_{n}": 0 for n in WALK}
    values |= {"packing": 0 if filling else 1, "filling": 1 if filling else 0}
    return values | {"b": memory, "panels_size": elements, "b_panel": panel, "b_group": 0, "b_col": 0}


def _copy_of_a(
    ctx: LowerContext, p: Contraction, layout: _Layout, blocks: _Blocks, rows: Dims, ks: Dims
) -> dict[str, Arg] | None:
    """The frame for copies of the slab of A that all rows read in a slice, or None where A is read in place."""
    if not layout.slab:
        return None
    spread = 1 + sum((d[0] - 1) * d[1] for d in (*p.rows, *blocks.ks[1:])) - ks[0][1]
    values: dict[str, Arg] = {f"a_{n}": 0 for n in WALK}
    values |= {"copying": 1, "slab_length": spread, "slab_step": ks[0][1]}
    values["a"], values["copy_size"] = _own(ctx, layout.tile.ty, spread + blocks.k_slice * ks[0][1])
    return values


def _loops(p: Contraction, blocks: _Blocks) -> tuple[Dims, Dims, Dims]:
    """Batch, rows and k with as many dimensions as the kernel has loops: few different numbers, so few kernels."""
    n_rows = 1 if len(p.rows) <= 1 else 3 if len(p.rows) <= 3 and len(blocks.ks) <= 3 else 4
    flat = len(blocks.ks) <= 1 and (n_rows == 1 or blocks.slices > 1)
    n_ks = 1 if flat else n_rows if n_rows > 1 else 3 if len(blocks.ks) <= 3 else 4
    if len(blocks.ks) in (0, n_ks) or blocks.slices == 1:
        ks = filled(blocks.ks, n_ks, 2)
    else:  # the loop that is cut stays the outermost
        ks = (blocks.ks[0], *filled(blocks.ks[1:], n_ks - 1, 2))
    return filled(p.batch, 2, 3), filled(p.rows, n_rows, 2), ks


def _frame(blocks: _Blocks, layout: _Layout, p: Contraction, batch: Dims, rows: Dims, ks: Dims) -> dict[str, Arg]:
    """The counts and the strides in A and B, by the names of ``contract_kernel``, where both are read in place."""
    panel = layout.b_panel
    values: dict[str, Arg] = {
        "piece_rows": blocks.piece_rows, "blocks": -(-blocks.piece_rows // blocks.mc), "mc": blocks.mc, "g1_size": batch[1][0],
        "parts": blocks.parts, "pieces": blocks.groups * blocks.row_blocks, "group": blocks.group, "panels": blocks.panels,
        "level": blocks.level, "k_slice": blocks.k_slice, "slices": blocks.slices,
        "part_slices": blocks.part_slices, "a_step": rows[0][1],
        "b_panel": panel, "b_group": panel, "b_col": 0 if panel else 1, "bs_col": single(p.cols)[1],
        "packing": 0, "filling": 0, "ahead": 0, "panels_size": 0, "copying": 0, "copy_size": 0, "slab_length": 0, "slab_step": 0,
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


# ---------------------------------------------------------------------------------------------- operands


def _keeps_b(ctx: LowerContext, tile: Tile, p: Contraction) -> bool:
    """Packing B costs a pass over it: needless where B fits half the first-level cache, where one block has all rows, or
    where some have and the rows of B are so short that the hardware's prefetching follows them (fewer of a large B)."""
    n, m, itemsize = size(p.cols), size(p.rows), tile.ty.itemsize
    if n < tile.cols:
        return False
    short = not p.ks or 0 < p.ks[-1][2] * itemsize <= SHORT_ROW
    some = SOME_ROWS if len(p.ks) <= 1 else SOME_PIXELS
    if _is_narrow(tile) and n > 2 * tile.cols:
        some = NARROW_ROWS
    fits = lambda most: n * size(p.ks) * itemsize <= most // 2
    few = lambda: m <= (some if short else tile.mr) and (fits(ctx.host.l2_bytes) or m <= LARGE_ROWS)
    small = lambda: fits(ctx.host.l1_bytes)
    first, second = (small, few) if is_sized(m) else (few, small)  # what varies is asked last: often it need not be
    return bool(first() or second())


def _is_narrow(tile: Tile) -> bool:
    """Whether a row of a panel is one line of the caches."""
    return tile.cols * tile.ty.itemsize <= LINE


def _converted(ctx: LowerContext, name: str, p: Contraction, a: Array) -> tuple[Contraction, Array]:
    """A as a dense array of the compute type, in the order of its memory."""
    dims = tuple(d[:2] for d in (*p.batch, *p.rows, *p.ks))
    order = sorted((i for i, d in enumerate(dims) if d[1] != 0), key=lambda i: -abs(dims[i][1]))
    strides = [0] * len(dims)
    for i, s in zip(order, row_major(tuple(dims[i] for i in order), 1)):
        strides[i] = s
    copy = Array(scratch(ctx, p.compute, math.prod(dims[i][0] for i in order)), p.compute)
    move(ctx, f"{name} (convert)", tuple((*dims[i], strides[i]) for i in order), a, copy)
    return with_a_strides(p, strides), copy


def _gains_turned(ctx: LowerContext, tile: Tile, p: Contraction) -> bool:
    """Whether A is turned: not where short rows are read for narrow panels, as slices of k are short then (see ``_blocks``), and the
    hardware's prefetching follows (up to a third of the time on Zen 3; rows of 2 KiB are better turned)."""
    if p.ks and _is_narrow(tile) and abs(p.ks[0][1]) * tile.ty.itemsize <= SHORT_ROW:
        return False
    return _is_worth_turning(ctx, tile, p)


def _is_worth_turning(ctx: LowerContext, tile: Tile, p: Contraction) -> bool:
    """Whether A, which lies along its rows, is worth turning.

    Each step of k touches another cache line of it, which no row block uses whole and the first-level cache keeps only of a
    small A; where the stride is a power of two, the lines share a few sets of the caches.
    """
    if p.pairs or not _along_rows(p) or p.rows[0][1] != 1:
        return False
    m, k, n = size(p.rows), size(p.ks), size(p.cols)
    if n < TURN_PANELS * tile.cols or m < tile.lanes:  # first, as of a gradient of weights k alone may vary
        return False
    if n < TURN_PANELS_SHORT * tile.cols and not _is_long(ctx, p):
        return False
    return bool(k >= tile.lanes and m * k * tile.ty.itemsize > ctx.host.l1_bytes)


def _is_long(ctx: LowerContext, p: Contraction) -> bool:
    """Whether the first-level cache has no line for each step of k, where each touches another one."""
    return size(p.ks) * LINE > ctx.host.l1_bytes // 2


def _turned(ctx: LowerContext, name: str, p: Contraction, a: Array) -> tuple[Contraction, Array]:
    """A with k innermost, and the contraction on it."""
    (m, k), (a_k, batch), lanes = (size(p.rows), size(p.ks)), (p.ks[0][1], filled(p.batch, 2, 3)), ctx.host.lanes(a.ty)
    line = LINE // a.ty.itemsize
    d_row = -(-k // line) * line + line  # rows a power of two apart would share cache sets
    once = [d[0] if d[1] != 0 else 1 for d in batch]
    strides = (once[1] * m * d_row if once[0] > 1 else 0, m * d_row if once[1] > 1 else 0)
    turned = Array(scratch(ctx, a.ty, math.prod(once) * m * d_row), a.ty)
    kernel = ctx.kernel(("turn", a.ty, lanes), lambda: turn_kernel(a.ty, lanes))
    row_blocks, k_blocks = -(-m // TURN_ROWS), -(-k // TURN_K)
    values: dict[str, Arg] = {
        "src": a.at, "dst": turned.at, "m": m, "mc": TURN_ROWS, "k": k, "kc": TURN_K, "g1_size": once[1],
        "row_blocks": row_blocks, "k_blocks": k_blocks, "s_g0": batch[0][1], "s_g1": batch[1][1], "s_k": a_k,
        "d_g0": strides[0], "d_g1": strides[1], "d_row": d_row,
    }  # fmt: skip
    total = math.prod(once) * row_blocks * k_blocks
    nbytes = 2 * math.prod(once) * m * k * a.ty.itemsize
    run(
        ctx,
        kernel,
        values,
        total,
        4 * nbytes / BYTES_PER_NS / total,
        f"{name} (turn)",
        (a.at,),
        (turned.at,),
        nbytes=nbytes,
    )
    return with_a_strides(p, (*strides[2 - len(p.batch) :], d_row, 1)), turned


def _in_squares(lanes: int, ks: Dims) -> bool:
    """Whether the packing can go along k, of which as many values as a vector has lanes lie together."""
    depth = ks[-1][0]
    return bool(lanes > 1 and (depth >= lanes if len(ks) == 1 else depth % lanes == 0 and PACK_CHUNK % lanes == 0))


def _packed(ctx: LowerContext, name: str, p: Contraction, b: Array, tile: Tile) -> tuple[Contraction, Array, int]:
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
    packed = Array(scratch(ctx, tile.ty, elements), tile.ty)
    tile = replace(tile, mr=0)  # the panels do not depend on the height of the register block
    kernel = ctx.kernel(("pack", tile, b.ty, k_dims, layout), lambda: pack_kernel(tile, b.ty, k_dims, layout))
    chunks = -(-k // PACK_CHUNK)
    values: dict[str, Arg] = {
        "src": b.at, "dst": packed.at, "n": n, "k": k, "chunk": PACK_CHUNK, "chunks": chunks, "panels": panels,
        "g1_size": once[1], "last_col": largest(n - cols, 0), "s_col": s_col, "s_g0": batch[0][2], "s_g1": batch[1][2],
        "d_g0": strides[0], "d_g1": strides[1], "d_panel": d_panel,
    }  # fmt: skip
    for i, (n_k, _, s_k) in enumerate(ks):
        values |= {f"k{i}": n_k, f"s_k{i}": s_k}
    nbytes = math.prod(once) * k * n * unit * b.ty.itemsize + elements * tile.ty.itemsize
    total = math.prod(once) * chunks
    ns = largest(nbytes / BYTES_PER_NS, elements * {"unit": 0.0, "turned": 0.2}.get(layout, 0.4)) / largest(total, 1)
    run(ctx, kernel, values, total, ns, f"{name} (pack)", (b.at,), (packed.at,), nbytes=nbytes)
    new_ks = [(n_k, a_k, s) for (n_k, a_k, _), s in zip(p.ks, row_major(p.ks, tile.cols * unit))]
    if p.pairs:
        last = new_ks.pop() if new_ks else (1, 2, 0)
        new_ks.append((2 * last[0], 1, tile.cols))
    new_batch = tuple((*d[:2], s, d[3]) for d, s in zip(batch, strides))
    return replace(p, batch=new_batch, ks=tuple(new_ks)), packed, d_panel
