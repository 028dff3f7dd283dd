"""Maps: nests without reductions, over all elements or tile by tile."""

from __future__ import annotations

import math
from dataclasses import replace

from fx import dtypes
from fx.sizes import smallest

from ..cost import chunk_for
from ..kernels.sort_network import transposed
from ..loop_ir import Const, Expr, i64, maximum, minimum, select
from ..lower.registry import Items, Value
from ..lower.types import ty_of
from .bypass import innermost
from .emitter import Emitter
from .index_map import Affine, Cond
from .items import touched_by_rows
from .nodes import ROW, Choose, Fetch, Leaf, Node, Point, walk

__all__ = ["MapKernel"]

TILE = 32  # rows and columns of a transposing tile, at most; twice as many of elements of a byte or two, which fill a vector
TILES_ASIDE = 8  # tiles along each side of a block of tiles
PARTED_FLOPS = (
    8  # of the values in a row up to which it is written in parts: the text of the loop stands there three times
)
TILE_BYTES = 12 << 10  # of all tiles of a kernel together


class MapKernel(Emitter):
    """Runs over all elements; rows are cut where the pieces of the range are.

    side: of the only choice, that which is taken in the part of a row that is being written.
    """

    side: bool | None = None

    def write(self) -> tuple[int, int]:
        b, n = self.b, len(self.nest.sizes)
        total = self.work.total
        if n <= 1:
            with self.scope(frozenset([ROW])):
                self.innermost(0, b.lo, b.hi)
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
                self.innermost(inner, start, stop)
        return total, chunk_for(total, self.work.per(total), 64)

    def items(self, total: int) -> Items | None:
        n = len(self.nest.sizes)
        return None if n > 1 and self.across(n - 1) is not None else touched_by_rows(self.ctx, self.nest, n)

    def innermost(self, k: int, start: Expr, stop: Expr) -> None:
        """The innermost loop; in parts where one choice is made along it, so that nothing in a part asks which it is."""
        stores = self.nest.stores
        conds = self.choice(k)
        if not conds:
            return innermost(self, start, stop, stores, lambda: self.store_all(stores))
        begin, end = self.chosen_range(k, conds, start, stop)
        for side, first, last in ((False, start, begin), (True, begin, end), (False, end, stop)):
            self.side = side
            innermost(self, first, last, stores, lambda: self.store_all(stores), amid=True)
        self.side = None
        return None

    def choice(self, k: int) -> tuple[Cond, ...]:
        """The conditions of the only choice of the nest, if they hold for a range of loop ``k``; else none."""
        nodes = list(walk(list(self.nest.targets())))
        found = {n.conds for n in nodes if isinstance(n, Choose)}
        if len(found) != 1 or sum(n.flops for n in nodes if isinstance(n, (Point, Fetch))) > PARTED_FLOPS:
            return ()
        (conds,) = found
        along = [self.nest.at(c.at).coef(k) for c in conds]
        return conds if set(along) <= {0, 1} and 1 in along and all(c.modulus == 1 for c in conds) else ()

    def chosen_range(self, k: int, conds: tuple[Cond, ...], start: Expr, stop: Expr) -> tuple[Expr, Expr]:
        """The part of ``[start, stop)`` of loop ``k`` where all conditions hold."""
        b, begin, end = self.b, start, stop
        for cond in sorted(conds, key=lambda c: self.nest.at(c.at).coef(k)):  # those of the whole row first
            at = self.nest.at(cond.at)
            if at.coef(k) == 0:
                end = select(self.one_condition(cond), end, start)
                continue
            rest = self.affine(Affine(0, tuple(t for t in at.terms if t[0] != k)), False)
            first = b.let("first", -(rest + self.integer("from", at.const, ("from", cond))))
            begin = maximum(begin, first)
            end = minimum(end, first + self.integer("limit", cond.limit, ("limit", cond)))
        begin = b.let("begin", minimum(begin, stop))
        return begin, b.let("end", maximum(end, begin))

    def below(self, node: Node) -> tuple[Node, ...]:
        if self.side is not None and isinstance(node, Choose):
            return (node.yes if self.side else node.no,)
        return super().below(node)

    def compute(self, node: Node, args: list[Value]) -> Value:
        if self.side is not None and isinstance(node, Choose):
            return args[0]
        if self.side and isinstance(node, (Leaf, Fetch)) and self.scope_of(self.nest.loops(node)) is self.scopes[-1]:
            node = replace(node, conds=())  # they hold; but not around the loop, which may have no rounds
        return super().compute(node, args)

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
        most = TILE if any(leaf.dtype.itemsize > 2 for leaf in leaves) else 2 * TILE
        side = max(8, min(most, math.isqrt(TILE_BYTES // sum(leaf.dtype.itemsize for leaf in leaves))))
        aside = [smallest(TILES_ASIDE, math.ceil(nest.sizes[k] / side)) for k in (across, inner)]
        blocks_down, blocks_right = (math.ceil(nest.sizes[k] / (side * n)) for k, n in zip((across, inner), aside))
        tiles = {leaf: self.tile_room(leaf, side) for leaf in leaves}
        down, right = self.integer("blocks_down", blocks_down), self.integer("blocks_right", blocks_right)
        many, tall, wide = (
            self.integer(n, v) for n, v in (("tiles", aside[0] * aside[1]), ("tall", aside[0]), ("wide", aside[1]))
        )
        with b.for_("tile", b.lo, b.hi) as tile, self.scope(frozenset([ROW])):
            block, within = b.let("block", tile // many), b.let("within", tile % many)
            j = b.let("j", (block % right * wide + within % wide) * side)
            rest = b.let("rest", block // right)
            i = b.let("i", (rest % down * tall + within // wide) * side)
            i_end = b.let("i_end", minimum(i + side, self.size(across)))
            j_end = b.let("j_end", minimum(j + side, self.size(inner)))
            with self.rows_of(b.let("row", rest // down), others):
                turned = {leaf: n for leaf in leaves if (n := self.square(leaf, side, across, inner)) > 1}
                plain = {leaf: room for leaf, room in tiles.items() if leaf not in turned}
                for leaf, n in turned.items():
                    self.turn(leaf, tiles[leaf][0], n, (inner, j, j_end), (across, i, i_end), side)
                if plain:
                    with self.loop(inner, j, j_end) as jj, self.loop(across, i, i_end, vectorize=True) as ii:
                        for leaf, room in plain.items():
                            v = self.value(leaf)
                            for name, part in zip(room, v if isinstance(v, tuple) else (v,)):
                                b.store(name, (jj - j) * (side + 1) + (ii - i), part)
                with self.loop(across, i, i_end) as ii, self.loop(inner, j, j_end, vectorize=True) as jj:
                    for leaf, room in tiles.items():
                        at = (ii - i) * side + (jj - j) if leaf in turned else (jj - j) * (side + 1) + (ii - i)
                        parts = [b.let("v", b.load(name, at)) for name in room]
                        self.scopes[-1].values[leaf] = tuple(parts) if len(parts) > 1 else parts[0]
                    self.store_all(nest.stores)
        total = math.prod(nest.sizes[k] for k in others) * blocks_down * blocks_right * aside[0] * aside[1]
        return total, chunk_for(total, 3 * self.work.per(total))

    def square(self, leaf: Leaf, side: int, *loops: int) -> int:
        """Lanes of the vectors that a tile is transposed in, as many as there are vectors; 1 for element by element."""
        lanes = min(self.ctx.host.lanes(ty_of(leaf.dtype)), 16)
        fits = leaf.dtype.kind in "fiu" and 4 <= lanes <= side
        # ... of which few are left over
        return (
            lanes
            if fits and all(n % lanes == 0 or n >= 3 * lanes for n in map(self.nest.sizes.__getitem__, loops))
            else 1
        )

    def turn(
        self, leaf: Leaf, room: str, n: int, rows: tuple[int, Expr, Expr], columns: tuple[int, Expr, Expr], side: int
    ) -> None:  # fmt: skip
        """Reads a tile along its memory, the columns, and puts it in ``room`` transposed: squares of ``n`` vectors in registers."""
        b, at = self.b, self.nest.at(leaf.at)
        (inner, j, j_end), (across, i, i_end) = rows, columns
        # the last block has tiles that lie outside of the array, where there is nothing
        j_whole, i_whole = (b.let("whole", a + (maximum(end - a, 0) & -n)) for a, end in ((j, j_end), (i, i_end)))
        buf, coef = self.pointer(leaf.var, at.const, "x"), at.coef(inner)
        with b.for_(f"i{inner}", j, j_whole, n) as jj, b.for_(f"i{across}", i, i_whole, n) as ii:
            self.counters |= {inner: jj, across: ii}
            with self.scope(frozenset([inner, across])):
                first = b.let("at", self.affine(at, False))
                steps = [self.times(Const(u, i64), inner, coef) if u else Const(0, i64) for u in range(n)]
                vectors = [b.let("row", b.load(buf, first + step, n)) for step in steps]
                for w, vector in enumerate(transposed(vectors)):
                    b.store(room, (ii - i + w) * side + (jj - j), vector)
        for bounds in (((j, j_whole), (i_whole, i_end)), ((j_whole, j_end), (i, i_end))):
            with self.loop(inner, *bounds[0]) as jj, self.loop(across, *bounds[1]) as ii:
                b.store(room, (ii - i) * side + (jj - j), self.value(leaf))

    def tile_room(self, leaf: Leaf, side: int) -> list[str]:
        ty = ty_of(leaf.dtype)
        return [self.b.alloc("tile", ty, side * (side + 1)) for _ in range(2 if dtypes.is_complex(leaf.dtype) else 1)]
