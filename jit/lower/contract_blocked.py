"""Contractions on the register-blocked kernel: packing, blocks, slices of k, and what C cannot take directly."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..kernels.gemm import Contract, contract_kernel, pack_kernel
from ..kernels.microkernel import Epilogue, Tile, tile_for
from .contraction import (
    BYTES_PER_NS,
    FLOPS_PER_NS,
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
)  # fmt: skip
from .registry import Arg, LowerContext

__all__ = ["blocked", "lanewise"]

PACK_CHUNK = 32  # values of k that a piece of the packing covers: the rows it reads and the panels it writes fit L1
ROWS = 48  # of a block: enough to use a panel of B several times, few enough for the first-level translation buffer
PIECES = 16  # fewer pieces than this are not enough to share among threads
UNROLL = (
    16  # values of k up to which the loops over a window are unrolled: three rounds of one cost as much as its body
)
MIN_SLICE = 1 << 10  # values of k that are worth a partial product of their own


def blocked(
    ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array, epilogue: Epilogue | None = None
) -> None:
    """Packs what is worth packing and runs the product."""
    unit = 2 if p.pairs else 1
    tile = tile_for(ctx.host, p.compute, size(p.rows), size(p.cols) * unit)
    if a.ty != p.compute:
        p, a = _converted(ctx, name, p, a)
    p, a, a_step = _packed_rows(ctx, name, p, a, tile)
    in_place = b.ty == p.compute and not p.pairs and single(p.cols)[1] == 1 and _keeps_b(ctx, tile, p)
    panel = 0
    if not in_place:
        p, b, panel = _packed(ctx, name, p, b, tile)
    _product(ctx, name, p, a, b, c, _Layout(tile, a_step, panel, unit), epilogue)


def lanewise(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array, lane: int) -> None:
    """C[r, j] = sum_k A[r, k, j] * B[k, j], vectorised over j: batch dimension ``lane``, contiguous in A."""
    n, _, b_col, c_col = p.batch[lane]
    p = replace(p, batch=(*p.batch[:lane], *p.batch[lane + 1 :]), cols=((n, b_col, c_col),))
    if b_col != 1:
        p, b = _columns_together(ctx, name, p, b)
    lanes, m = ctx.host.lanes(p.compute), size(p.rows)
    tile = Tile(p.compute, lanes, min((4, 5), key=lambda r: -(-m // r) * r), 2 if n >= 2 * lanes else 1)
    _product(ctx, name, p, a, b, c, _Layout(tile, 0, 0, 1, lanewise=True), None)


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
    """How the operands lie: ``a_step`` of packed A (0: in place), distance of B's panels (0: in place), and reals in
    an element of C (2 for complex pairs)."""

    tile: Tile
    a_step: int
    b_panel: int
    unit: int
    lanewise: bool = False


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Pieces: ``mc`` rows by one panel by ``part_slices`` slices of k, which are added up in C (chained).  All rows
    pass over a ``group`` of panels, which the caches hold, before the next group.

    Slices: each index of the ``outer`` loop over k times ``level`` stretches of ``k_slice`` indices of the next loop.
    ``slab``: elements of A that a slice copies to the worker's memory, beyond ``k_slice`` steps of k; 0 for none.
    """

    mc: int
    row_blocks: int
    groups: int
    group: int
    outer: tuple[int, ...]
    ks: Dims
    level: int
    k_slice: int
    part_slices: int
    direct: bool
    slab: int

    @property
    def slices(self) -> int:
        return self.outer[0] * self.level

    @property
    def parts(self) -> int:
        return -(-self.slices // self.part_slices)


def _slices(ks: Dims, count: int) -> tuple[tuple[int, ...], Dims, int, int]:
    """Cuts k into about ``count`` slices: the outer loop, the others, stretches of the first of them, their length."""
    outer: tuple[int, ...] = (1, 0, 0)
    if len(ks) > 1 and 0 < ks[0][0] < count:
        outer, ks = ks[0], ks[1:]
    k0 = ks[0][0] if ks else 1
    k_slice = max(1, -(-k0 * outer[0] // count))
    return outer, ks, max(1, -(-k0 // k_slice)), k_slice


def _blocks(ctx: LowerContext, p: Contraction, layout: _Layout, c: Array, fused: bool) -> _Blocks:
    """Blocks that fit the caches, and at least ``PIECES`` pieces where there is work for them.

    Slices of k are worth while where the operands of a whole k would not stay in the second-level cache.  They are
    added up in C if it takes whole vectors, and else are partial products.
    """
    tile, half_l2 = layout.tile, ctx.host.l2_bytes // 2 // p.compute.itemsize
    m, width, k = size(p.rows), single(p.cols)[0] * layout.unit, size(p.ks)
    panels, groups = -(-width // tile.cols), size(p.batch)
    slab = _slab_slices(half_l2 // 2, p, tile) if not layout.lanewise and not layout.a_step else None
    mc = ROWS if slab is None else -(-m // tile.mr) * tile.mr
    # Where the rows are closer together in memory than k, the lines that they touch are several times as many.
    scattered = not layout.a_step and p.rows and p.ks and abs(p.rows[-1][1]) < abs(p.ks[-1][1])
    count = slab or -(-k // (half_l2 // tile.cols // (8 if scattered else 3)))
    pieces = -(-m // mc) * panels * groups
    for_threads = max(1, min(PIECES // max(pieces, 1), k // MIN_SLICE))
    whole = width >= tile.cols and single(p.cols)[2] == layout.unit  # C takes vectors
    exact = width % tile.cols == 0 or width < tile.cols
    chains = exact and not fused  # no element may be computed twice if it is added to
    if not chains:  # partial products beyond the last-level cache cost more than they save
        affordable = ctx.host.l3_bytes // max(groups * m * max(width, tile.cols) * p.compute.itemsize, 1)
        count, slab = max(1, min(max(count, for_threads), affordable)), None
    else:
        count = max(count, for_threads)
    outer, ks, level, k_slice = _slices(p.ks, count)
    slices = outer[0] * level
    part_slices = -(-slices // min(for_threads, slices)) if chains else 1
    if slab is None and len(p.rows) <= 1:
        mc = max(1, min(ROWS, half_l2 // max(k_slice * size(ks[1:]), 1)) // tile.mr) * tile.mr
    direct = whole and part_slices >= slices and (part_slices == 1 or c.ty == p.compute)
    spread = 0 if slab is None else 1 + sum((d[0] - 1) * d[1] for d in (*p.rows, *ks[1:])) - ks[0][1]
    group = _group(panels, 4 * ctx.host.l2_bytes // max(k * tile.cols * p.compute.itemsize, 1))
    return _Blocks(mc, -(-m // mc), panels // group, group, outer, ks, level, k_slice, part_slices, direct, spread)


def _group(panels: int, most: int) -> int:
    """The panels of a group: a divisor of all of them."""
    if panels <= most:
        return panels
    divisor = max(d for d in range(1, max(most, 1) + 1) if panels % d == 0)
    return divisor if divisor >= 4 else panels


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
) -> None:  # fmt: skip
    """Runs ``contract_kernel``; C goes through scratch memory where it cannot take whole vectors or there are parts."""
    tile, ty = layout.tile, p.compute
    blocks = _blocks(ctx, p, layout, c, epilogue is not None)
    batch, rows, ks = _loops(p, blocks)
    m, width, groups = size(p.rows), single(p.cols)[0] * layout.unit, size(p.batch)
    line = max(width, tile.cols)
    out, c_batch, c_rows, fused = c, [d[3] for d in batch], [d[2] for d in rows], epilogue
    if not blocks.direct:
        out = Array(scratch(ctx, ty, blocks.parts * groups * m * line), ty)
        c_batch, c_rows, fused = [batch[1][0] * m * line, m * line], list(row_major(rows, line)), None
    unrolled = len(rows) > 1 and len(p.ks) > 1 and 0 < size(ks) <= UNROLL and blocks.slices == 1
    window = tuple(d[0] for d in ks) if unrolled else ()
    # Convolutions share one kernel, whether or not they have slices: compiling it costs more than a branch per block.
    chained = blocks.part_slices > 1 or (len(rows) > 1 and not unrolled and out.ty == ty and fused is None)
    variant = Contract(tile, out.ty, len(rows), len(ks), window, layout.lanewise, chained, blocks.slab > 0)
    kernel = ctx.kernel(("contract", variant, fused and fused.key), lambda: contract_kernel(variant, fused))
    values = _frame(blocks, layout, batch, rows, ks)
    values |= {
        "a": a.at,
        "b": b.at,
        "c": out.at,
        "m": m,
        "c_part": groups * m * line,
        "last_col": max(width - tile.cols, 0),
    }
    values |= {f"c_g{g}": stride for g, stride in enumerate(c_batch)} | {
        f"c_r{r}": stride for r, stride in enumerate(c_rows)
    }
    if blocks.slab:
        elements = -(-(blocks.slab + blocks.k_slice * ks[0][1]) * ty.itemsize // 64) * 64 // ty.itemsize
        values |= {"work_size": elements, "work": ctx.scratch(elements * ty.itemsize, per_worker=True)}
    total = groups * blocks.row_blocks * blocks.groups * blocks.group * blocks.parts
    nbytes = groups * m * width * c.ty.itemsize + groups * (m + width) * size(p.ks) * ty.itemsize
    ns = max(p.flops / FLOPS_PER_NS, nbytes / BYTES_PER_NS) / total
    reads = (a.at, b.at, *(fused.reads if fused else ()))
    run(ctx, kernel, values | (fused.args if fused else {}), total, ns, name, reads, (out.at,), p.flops, nbytes)
    if not blocks.direct:
        dims = [(d[0], s, d[3]) for d, s in zip(batch, c_batch)] + [(d[0], s, d[2]) for d, s in zip(rows, c_rows)]
        dims += [(single(p.cols)[0], layout.unit, single(p.cols)[2]), (layout.unit, 1, 1)]
        move(ctx, f"{name} (store)", tuple(dims), out, c, blocks.parts, groups * m * line, epilogue)


def _loops(p: Contraction, blocks: _Blocks) -> tuple[Dims, Dims, Dims]:
    """Batch, rows and k with as many dimensions as the kernel has loops: few different numbers, so few kernels."""
    n_rows = 1 if len(p.rows) <= 1 else 3 if len(p.rows) <= 3 and len(blocks.ks) <= 3 else 4
    flat = len(blocks.ks) <= 1 and (n_rows == 1 or blocks.slices > 1)
    n_ks = 1 if flat else n_rows if n_rows > 1 else 3 if len(blocks.ks) <= 3 else 4
    if blocks.slices == 1 or not blocks.ks:
        ks = filled(blocks.ks, n_ks, 2)
    else:  # the loop that is cut stays the outermost
        ks = (blocks.ks[0], *filled(blocks.ks[1:], n_ks - 1, 2))
    return filled(p.batch, 2, 3), filled(p.rows, n_rows, 2), ks


def _frame(blocks: _Blocks, layout: _Layout, batch: Dims, rows: Dims, ks: Dims) -> dict[str, Arg]:
    """The counts and the strides in A and B, by the names of ``contract_kernel``."""
    values: dict[str, Arg] = {
        "mc": blocks.mc, "g1_size": batch[1][0], "parts": blocks.parts, "groups": blocks.groups, "group": blocks.group,
        "row_blocks": blocks.row_blocks, "level": blocks.level, "k_slice": blocks.k_slice, "slices": blocks.slices,
        "part_slices": blocks.part_slices, "slab_length": blocks.slab, "a_step": layout.a_step or rows[0][1],
        "b_panel": layout.b_panel, "b_col": 0 if layout.b_panel else 1, "a_outer": blocks.outer[1], "b_outer": blocks.outer[2],
        "a_slice": blocks.k_slice * ks[0][1], "b_slice": blocks.k_slice * ks[0][2],
    }  # fmt: skip
    for g, (_, a_g, b_g, _) in enumerate(batch):
        values |= {f"a_g{g}": a_g, f"b_g{g}": b_g}
    for r, (n_r, a_r, _) in enumerate(rows):
        values |= {f"r{r}": n_r, f"a_r{r}": a_r}
    for i, (n_k, a_k, b_k) in enumerate(ks):
        values |= {f"k{i}": n_k, f"a_k{i}": a_k, f"b_k{i}": b_k}
    return values


# ---------------------------------------------------------------------------------------------- operands


def _keeps_b(ctx: LowerContext, tile: Tile, p: Contraction) -> bool:
    """Packing B costs a pass over it: too much for few rows, needless where B fits half the first-level cache."""
    n = size(p.cols)
    small = n * size(p.ks) * tile.ty.itemsize <= ctx.host.l1_bytes // 2
    return n >= tile.cols and (size(p.rows) <= 2 * tile.mr or small)


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


def _packed_rows(ctx: LowerContext, name: str, p: Contraction, a: Array, tile: Tile) -> tuple[Contraction, Array, int]:
    """Packs A in register blocks of rows, [block][k][row]; returns the distance of two rows of blocks, 0 if in place.

    Worth it where the rows are close together and k is far apart: in place, every step of k would touch another
    cache line, another page, and where the stride is a power of two the same few sets of the caches.
    """
    if len(p.rows) != 1 or len(p.ks) != 1 or p.pairs or size(p.cols) < 4 * tile.cols:
        return p, a, 0
    (m, row, _), (k, stride, _) = p.rows[0], p.ks[0]
    step = abs(stride) * tile.ty.itemsize
    large = k * m * tile.ty.itemsize >= ctx.host.l2_bytes // 2 and (k >= 256 or step % 2048 == 0)
    # Steps of less than a quarter of a page are dear as well where many columns walk through them again and again.
    far = step >= 1024 or (step >= 256 and size(p.cols) >= 16 * tile.cols)
    if abs(row) > abs(stride) or not far or not large:
        return p, a, 0
    q = p.transposed()
    packed, array, _ = _packed(ctx, name, replace(q, rows=(), cols=tuple(p.rows)), a, tile, rows=True)
    batch = tuple((n, x, b, c) for (n, _, b, c), (_, _, x, _) in zip(filled(p.batch, 2, 3), packed.batch))
    return replace(p, batch=batch, rows=((m, 1, p.rows[0][2]),), ks=((k, tile.mr, p.ks[0][2]),)), array, k


def _packed(
    ctx: LowerContext, name: str, p: Contraction, b: Array, tile: Tile, rows: bool = False
) -> tuple[Contraction, Array, int]:
    """B in panels, the contraction on them, and the distance of two panels.  Ends complex pairs: what is left is real.

    rows: B is the transposed A, and the panels are register blocks of its rows.
    """
    n, s_col, _ = single(p.cols)
    k, unit = size(p.ks), 2 if p.pairs else 1
    width = tile.mr if rows else tile.cols
    cols = width // unit  # of a panel, before pairs become 2 x 2 blocks
    panels, d_panel = -(-n // cols), max(k * unit * width, 1)
    layout = "rows" if rows else "complex" if p.pairs else "narrow" if n < cols else "unit" if s_col == 1 else "any"
    k_dims = 1 if len(p.ks) <= 1 else 4
    batch, ks = filled(p.batch, 2, 3), filled(p.ks, k_dims, 2)
    once = [d[0] if d[2] != 0 else 1 for d in batch]  # a B that the batch shares is packed once
    strides = (once[1] * panels * d_panel if once[0] > 1 else 0, panels * d_panel if once[1] > 1 else 0)
    elements = math.prod(once) * panels * d_panel
    packed = Array(scratch(ctx, tile.ty, elements), tile.ty)
    if not rows:  # the panels do not depend on the height of the register block
        tile = replace(tile, mr=0)
    kernel = ctx.kernel(("pack", tile, b.ty, k_dims, layout), lambda: pack_kernel(tile, b.ty, k_dims, layout))
    chunks = -(-k // PACK_CHUNK)
    values: dict[str, Arg] = {
        "src": b.at, "dst": packed.at, "n": n, "k": k, "chunk": PACK_CHUNK, "chunks": chunks, "panels": panels,
        "g1_size": once[1], "last_col": n if rows else max(n - cols, 0), "s_col": s_col, "s_g0": batch[0][2], "s_g1": batch[1][2],
        "d_g0": strides[0], "d_g1": strides[1], "d_panel": d_panel,
    }  # fmt: skip
    for i, (n_k, _, s_k) in enumerate(ks):
        values |= {f"k{i}": n_k, f"s_k{i}": s_k}
    nbytes = math.prod(once) * k * n * unit * b.ty.itemsize + elements * tile.ty.itemsize
    total = math.prod(once) * chunks
    ns = max(nbytes / BYTES_PER_NS, 0.0 if layout == "unit" else elements * 0.4) / max(total, 1)
    run(ctx, kernel, values, total, ns, f"{name} (pack)", (b.at,), (packed.at,), nbytes=nbytes)
    new_ks = [(n_k, a_k, s) for (n_k, a_k, _), s in zip(p.ks, row_major(p.ks, width * unit))]
    if p.pairs:
        last = new_ks.pop() if new_ks else (1, 2, 0)
        new_ks.append((2 * last[0], 1, tile.cols))
    new_batch = tuple((*d[:2], s, d[3]) for d, s in zip(batch, strides))
    return replace(p, batch=new_batch, ks=tuple(new_ks)), packed, d_panel
