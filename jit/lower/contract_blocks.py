"""Into which blocks, slices of k and pieces a product on the register-blocked kernel is cut, and the loops over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fx.sizes import largest, late, smallest

from ..kernels.microkernel import LINE, Tile
from .contract_left import along_rows
from .contract_pieces import (
    GROUP,
    MIN_SLICE,
    RANGE_BLOCKS,
    SLAB_SLICE,
    k_parts,
    k_slices,
    packed_groups,
    packed_ranges,
    packing_ranges,
    parts_first,
    row_ranges,
    wanted_pieces,
)
from .contraction import Contraction, Dims, filled, single, size
from .conv_geometry import ImageSource
from .registry import LowerContext
from .window_rows import WindowRows

__all__ = ["Blocks", "Layout", "blocks_for", "loops_for", "slab_slices"]

# Cycles of a core for an element of an operand that a piece reads anew: B packed along its columns or across, A in place.
PACK_ALONG, PACK_ACROSS, READ_A = 0.4, 3.0, 0.05


@dataclass(frozen=True, slots=True)
class Layout:
    """How the operands lie.

    Attributes:
        b_panel: distance of B's panels; 0: in place.
        unit: reals in an element of C (2 for complex pairs).
        slab: into how many slices to cut k so that the run of A that one reads is worth copying.
        packs: each piece packs the B that it needs.
        window: what the rows are where some see a part of k only.
        a_step: where the rows of A are packed, the distance of two blocks of them for each row (``packed_rows``); else None.
        wide: they are packed for blocks of three vectors (``gains_wide_blocks``).
        packs_rows: each piece packs the rows of A that it reads.
        image: what A is where only copies of its slabs lie as the contraction says.
    """

    tile: Tile
    b_panel: int
    unit: int
    slab: int | None
    lanewise: bool = False
    packs: bool = False
    window: WindowRows | None = None
    a_step: Any = None
    wide: bool = False
    packs_rows: bool = False
    image: ImageSource | None = None


@dataclass(frozen=True, slots=True)
class Blocks:
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


def blocks_for(ctx: LowerContext, p: Contraction, layout: Layout, most_rows: int) -> Blocks:
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
    if layout.wide:  # rows that come in order hide where a panel comes from: long slices read and write fewer sums
        most = ctx.host.l2_bytes // 4
    elif tile.is_narrow and len(p.rows) > 1:
        most = min(most, ctx.host.l1_bytes)
    count = layout.slab or largest(1, -(-k * tile.cols * itemsize // most))
    # In place, a step of k brings a line of A, which the row blocks beside it read as well.
    if along_rows(p) and layout.a_step is None and not layout.packs_rows:
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
        if layout.packs_rows:
            piece_rows = even(m, -(-m // late(packing_ranges, m, tile.mr, batches, wanted, most_rows)))
            group = panels
        elif layout.slab or layout.lanewise:
            piece_rows = even(m, m if layout.slab else most_rows)
        else:
            share = size(p.cols) * k * itemsize / ctx.host.l2_bytes
            ranges = late(row_ranges, m, tile.mr, batches, panels, wanted, share, most_rows)
            piece_rows = even(m, -(-m // ranges))
        if not layout.packs_rows:
            group = smallest(GROUP, panels, batches * -(-m // piece_rows) * parts * panels // wanted)
    row_blocks, group = -(-m // piece_rows), largest(1, group)
    groups = -(-panels // group)
    if layout.packs and tile.is_narrow:  # all panels of a slice are packed before the first is used
        count = largest(count, -(-2 * group * k * tile.cols * itemsize // ctx.host.l2_bytes))
    if layout.packs_rows:
        count = largest(count, -(-4 * piece_rows * k * itemsize // ctx.host.l2_bytes))
    worth = SLAB_SLICE if layout.slab else MIN_SLICE
    for_threads = 1 if layout.window else late(k_parts, batches * row_blocks * groups, wanted, k, worth)
    outer, ks, level, k_slice = k_slices(p.ks, largest(count, for_threads))
    slices = outer[0] * level
    return Blocks(
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


def slab_slices(budget: int, p: Contraction, tile: Tile) -> int | None:
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


def loops_for(p: Contraction, blocks: Blocks) -> tuple[Dims, Dims, Dims]:
    """Batch, rows and k with as many dimensions as the kernel has loops: few different numbers, so few kernels."""
    n_rows = 1 if len(p.rows) <= 1 else 3 if len(p.rows) <= 3 and len(blocks.ks) <= 3 else 4
    flat = len(blocks.ks) <= 1 and (n_rows == 1 or blocks.slices > 1)
    n_ks = 1 if flat else n_rows if n_rows > 1 else 3 if len(blocks.ks) <= 3 else 4
    if len(blocks.ks) in (0, n_ks) or blocks.slices == 1:
        ks = filled(blocks.ks, n_ks, 2)
    else:  # the loop that is cut stays the outermost
        ks = (blocks.ks[0], *filled(blocks.ks[1:], n_ks - 1, 2))
    return filled(p.batch, 2, 3), filled(p.rows, n_rows, 2), ks
