"""Maps: nests without reductions, over all elements or tile by tile."""

from __future__ import annotations

import math

from fx import dtypes

from ..cost import chunk_for
from ..loop_ir import maximum, minimum
from ..lower.types import ty_of
from .bypass import innermost
from .emitter import Emitter
from .nodes import ROW, Leaf, walk

__all__ = ["MapKernel"]

TILE = 32  # rows and columns of a transposing tile, at most
TILES_ASIDE = 8  # tiles along each side of a block of tiles
TILE_BYTES = 12 << 10  # of all tiles of a kernel together


class MapKernel(Emitter):
    """Runs over all elements; rows are cut where the pieces of the range are."""

    def write(self) -> tuple[int, int]:
        b, n = self.b, len(self.nest.sizes)
        total, stores = self.work.total, self.nest.stores
        if n <= 1:
            with self.scope(frozenset([ROW])):
                innermost(self, b.lo, b.hi, stores, lambda: self.store_all(stores))
            return total, chunk_for(total, self.work.per(total), 64)
        inner = n - 1
        if (across := self.across(inner)) is not None:
            return self.tiles(*across, inner)
        size = self.size(inner)
        first, end = b.let("first", b.lo // size), b.let("end", (b.hi + size - 1) // size)
        with b.for_("row", first, end) as row, self.scope(frozenset([ROW])):
            with self.rows_of(row, list(range(inner))):
                base = b.let("base", row * size)
                start, stop = b.let("start", maximum(b.lo - base, 0)), b.let("stop", minimum(b.hi - base, size))
                innermost(self, start, stop, stores, lambda: self.store_all(stores))
        return total, chunk_for(total, self.work.per(total), 64)

    def across(self, inner: int) -> tuple[int, list[Leaf]] | None:
        """A loop, not the innermost one, along which arrays that are read lie in memory; and those reads."""
        found: dict[int, list[Leaf]] = {}
        for n in walk(list(self.nest.targets())):
            if isinstance(n, Leaf) and not n.conds and (at := self.nest.at(n.at)).coef(inner) and at.den == 1:
                for k, c in at.terms:
                    if c == 1 and k != inner and min(self.nest.sizes[k], self.nest.sizes[inner]) >= 8:
                        found.setdefault(k, []).append(n)
        return max(found.items(), key=lambda item: len(item[1])) if found else None

    def tiles(self, across: int, leaves: list[Leaf], inner: int) -> tuple[int, int]:
        """A map that transposes.  Tile by tile, what lies across is read along its memory into an array on the
        stack, so that every cache line is read and written once, whatever the strides.  Tiles are taken block by
        block: the pages of a block of rows and columns fit the address translation cache."""
        b, nest = self.b, self.nest
        others = [k for k in range(inner) if k != across]
        side = max(8, min(TILE, math.isqrt(TILE_BYTES // sum(leaf.dtype.itemsize for leaf in leaves))))
        blocks_down, blocks_right = (math.ceil(nest.sizes[k] / (side * TILES_ASIDE)) for k in (across, inner))
        tiles = {leaf: self.tile_room(leaf, side) for leaf in leaves}
        down, right = self.integer("blocks_down", blocks_down), self.integer("blocks_right", blocks_right)
        with b.for_("tile", b.lo, b.hi) as tile, self.scope(frozenset([ROW])):
            block, within = b.let("block", tile // TILES_ASIDE**2), b.let("within", tile % TILES_ASIDE**2)
            j = b.let("j", (block % right * TILES_ASIDE + within % TILES_ASIDE) * side)
            rest = b.let("rest", block // right)
            i = b.let("i", (rest % down * TILES_ASIDE + within // TILES_ASIDE) * side)
            i_end = b.let("i_end", minimum(i + side, self.size(across)))
            j_end = b.let("j_end", minimum(j + side, self.size(inner)))
            with self.rows_of(b.let("row", rest // down), others):
                with self.loop(inner, j, j_end) as jj, self.loop(across, i, i_end, vectorize=True) as ii:
                    for leaf, room in tiles.items():
                        v = self.value(leaf)
                        for name, part in zip(room, v if isinstance(v, tuple) else (v,)):
                            b.store(name, (jj - j) * (side + 1) + (ii - i), part)
                with self.loop(across, i, i_end) as ii, self.loop(inner, j, j_end, vectorize=True) as jj:
                    for leaf, room in tiles.items():
                        parts = [b.let("v", b.load(name, (jj - j) * (side + 1) + (ii - i))) for name in room]
                        self.scopes[-1].values[leaf] = tuple(parts) if len(parts) > 1 else parts[0]
                    self.store_all(nest.stores)
        total = math.prod(nest.sizes[k] for k in others) * blocks_down * blocks_right * TILES_ASIDE**2
        return total, chunk_for(total, 3 * self.work.per(total))

    def tile_room(self, leaf: Leaf, side: int) -> list[str]:
        ty = ty_of(leaf.dtype)
        return [self.b.alloc("tile", ty, side * (side + 1)) for _ in range(2 if dtypes.is_complex(leaf.dtype) else 1)]
