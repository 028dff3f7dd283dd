"""A nest that reads a product where it is computed, as the product's epilogue.

The product's kernel holds the sums of a register block's columns in the worker's memory.  When they are complete, it calls
the kernel here, whose loops run over the rows and columns of the block, read the sums from the first-level cache, and store
what the nest stores: the product itself goes to memory only if someone else reads it.

It is called before a block is computed as well, and asks for the lines of what it will read and write there: of each row some, as far
apart as rows are, where no hardware follows.  Each would be waited for (a quarter of the time of 1024 x 256 by 256 x 1024 on Zen 3).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from fx.ir import Var

from ..kernels.microkernel import BLOCK_WORDS, LINE
from ..loop_ir import Expr, i64, lift, select
from ..lower.context import Builder
from ..lower.registry import Address, Called, Value
from ..lower.types import ty_of
from .emitter import Emitter
from .nodes import ROW, Fetch, Leaf, Nest, NestStore, walk

__all__ = ["ProductEpilogue", "reads_in_place"]


def reads_in_place(nest: Nest, product: Var, columns: int) -> bool:
    """Whether the nest is a map over the elements of ``product``, which it reads only at the element that it stores, and
    whose innermost loop is made of whole rows of that many columns."""
    if nest.kind != "map" or math.prod(nest.sizes) != product.aval.size or not nest.sizes or nest.sizes[-1] % columns:
        return False
    places = [n.at for n in walk(list(nest.targets())) if isinstance(n, Leaf) and n.var is product and not n.conds]
    reads = [n for n in walk(list(nest.targets())) if isinstance(n, (Leaf, Fetch)) and n.var is product]
    return bool(reads) and len(places) == len(reads) and {*places, *(s.at for s in nest.stores)} == {places[0]}


class ProductEpilogue(Emitter):
    """Writes the loops of a nest as a kernel over blocks of a product (``kernels/microkernel.py``: ``Epilogue``).

    Args:
        product: the variable that the sums are; keeps: it is stored as well.
        columns: of the product, seen as a dense matrix.
    """

    def __init__(self, ctx: Builder, nest: Nest, product: Var, columns: int, keeps: bool, name: str) -> None:
        super().__init__(ctx, nest, name)
        self.product, self.columns = product, columns
        place = next(n for n in walk(list(nest.targets())) if isinstance(n, Leaf) and n.var is product)
        self.stores = (*nest.stores, *([NestStore(product, place.at, place, True)] if keeps else []))
        self.sums: tuple[str, Expr] = ("", lift(0, i64))

    def called(self, sums: Address, block: Address) -> Called:
        b, nest = self.b, self.nest
        buffer, told = b.pointer("sums", ty_of(self.product.aval.dtype)), b.pointer("block", i64)
        self.args += [sums, block]
        at, length, col, width, ahead = (
            b.let(name, b.load(told, b.worker * BLOCK_WORDS + k))
            for k, name in enumerate(("at", "length", "col", "width", "ahead"))
        )
        told_only = b.let("told_only", select(ahead > 0, b.hi, b.lo))
        with self.row_of("r", b.lo, told_only, col) as (first, _):
            self.ask(first, width)
        with self.row_of("r", told_only, b.hi, col) as (first, row):
            line = b.let("line", at + (row - b.lo) * length)
            last = len(nest.sizes) - 1
            with self.loop(last, 0, width, vectorize=True) as j:
                self.counters[last] = first + j
                self.sums = buffer, line + j
                self.store_all(self.stores)
        return Called(self.ctx.fused_kernel(b.build()), tuple(self.args))

    @contextmanager
    def row_of(self, name: str, start: Expr, stop: Expr, col: Expr) -> Iterator[tuple[Expr, Expr]]:
        """A loop over rows of the product: where column ``col`` is in the innermost loop of the nest, and the row."""
        b, sizes = self.b, self.nest.sizes
        last = len(sizes) - 1
        whole = sizes[-1] // self.columns  # rows of the product in one round of the innermost loop
        with b.for_(name, start, stop) as row:
            here: Expr = row
            first: Expr = col
            if last == 0:
                first, here = here * self.integer("columns", self.columns) + col, lift(0, i64)
            elif whole > 1:
                n = self.integer("whole", whole)
                first = here % n * self.integer("columns", self.columns) + col
                here = b.let("row", here // n)
            first = b.let("first", first)
            with self.scope(frozenset([ROW])), self.rows_of(here, list(range(last))):
                yield first, row

    def ask(self, first: Expr, width: Expr) -> None:
        """Asks for the lines of a row of all that is read or written where the product is."""
        last, place = len(self.nest.sizes) - 1, self.stores[0].at
        at = self.nest.at(place)
        leaves = (n for n in walk(list(self.nest.targets())) if isinstance(n, Leaf) and n.at == place)
        operands = [*(n.var for n in leaves if n.var is not self.product), *(s.var for s in self.stores)]
        places = {self.pointer(v, at.const, "x"): v.aval.dtype.itemsize for v in operands}
        for buffer, itemsize in places.items():
            with self.loop(last, 0, width, LINE // itemsize) as j:
                self.counters[last] = first + j
                self.b.prefetch(buffer, self.affine(at, False), level=2)

    def leaf(self, node: Leaf) -> Value:
        if node.var is self.product:
            return self.named("v", self.b.load(*self.sums))
        return super().leaf(node)
