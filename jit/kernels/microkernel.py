"""The register-blocked micro-kernel that every matrix product and convolution runs on.

    C[row_i, j] (+)= sum_k  A[row_i + k] * B[k, j]        i < rows, j < nv * lanes

A block of ``rows x nv`` vector accumulators stays in registers while k runs.  Each step of k loads ``nv`` vectors
of B (consecutive columns) and broadcasts one element of A for each row.  Neither operand needs a layout beyond
that: every row has an offset of its own, and k is a nest of loops with a stride of A and a stride of B each, so
the same code runs on packed panels, on matrices in place, on transposed ones and on the pixels of an image.

Rows past the end of the matrix are *clamped*: they repeat the last valid row in A and in C, compute the same
values and store them to the same place, so an edge needs no code of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..loop_ir import Const, Expr, KernelBuilder, Ref, Ty, fma, i64, lift, minimum, select
from ..lower.registry import Host

__all__ = ["Epilogue", "LinearRows", "Rows", "Tile", "WalkedRows", "accumulate", "multiply_add", "store_tile", "tile_for"]

# epilogue(b, value, row, col) -> value: applied to every result before it is stored.  ``value`` is a vector of
# consecutive columns or a scalar; row counts through the batch, so row * N + col is the index in a dense C.
Epilogue = Callable[[KernelBuilder, Expr, Expr, Expr], Expr]


@dataclass(frozen=True, slots=True)
class Tile:
    """``mr`` rows of ``nv`` vectors; ``half`` is the row count of the smaller block that fills up the edge."""

    ty: Ty
    lanes: int
    mr: int
    nv: int
    half: int

    @property
    def cols(self) -> int:
        return self.nv * self.lanes

    @property
    def vector(self) -> Ty:
        return self.ty.vector(self.lanes)

    def __str__(self) -> str:
        return f"{self.ty}_{self.mr}x{self.nv}x{self.lanes}"


def tile_for(host: Host, ty: Ty, columns: int) -> Tile:
    """The register block for products with that many columns.

    The accumulators, a row of B and one broadcast must fit the vector registers, and there must be at least 8
    accumulators (two multiply-adds a cycle of latency four).  More than 8 rows would spill their offsets: x86 has
    16 general registers.
    """
    lanes = host.lanes(ty)
    if columns <= lanes:
        return Tile(ty, lanes, 8, 1, 4)
    if host.vector_registers >= 32 and columns > 2 * lanes:
        return Tile(ty, lanes, 6, 4, 4)
    return Tile(ty, lanes, 6, 2, 4)


def multiply_add(x: Expr, y: Expr, acc: Expr) -> Expr:
    """``x * y + acc``, rounded once where floats allow it."""
    return fma(x, y, acc) if x.ty.is_float else x * y + acc


# ------------------------------------------------------------------------------------------------ rows


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one register block: offsets in A and in C, and how many of them are not repetitions."""

    a: tuple[Expr, ...]
    c: tuple[Expr, ...]
    first: Expr
    valid: Expr


class LinearRows:
    """Row r of A starts at ``r * a_stride`` (counted from ``origin``), row r of C at ``r * c_stride``."""

    def __init__(self, b: KernelBuilder, origin: Expr, stop: Expr, a_stride: Expr, c_stride: Expr) -> None:
        self.b, self.origin, self.stop, self.a_stride, self.c_stride = b, origin, stop, a_stride, c_stride

    def restart(self) -> None:
        """Back to the first row of the block."""

    def take(self, row: Expr, count: int) -> Rows:
        b = self.b
        row = b.let("row", row)
        valid = b.let("valid", self.stop - row)
        a0 = b.let("row_a", (row - self.origin) * self.a_stride)
        c0 = b.let("row_c", row * self.c_stride)
        a, c = [a0], [c0]
        for i in range(1, count):
            step = b.let("step", minimum(valid - 1, i))
            a.append(b.let("row_a", a0 + step * self.a_stride))
            c.append(b.let("row_c", c0 + step * self.c_stride))
        return Rows(tuple(a), tuple(c), row, valid)


class WalkedRows:
    """Rows in up to four nested dimensions (image, output row, output column ...), walked without a division.

    Args:
        start, stop: the rows of this block, as positions in row-major order.
        sizes: extents of all dimensions but the outermost.
        a, c: strides of every dimension, outermost first.
    """

    def __init__(
        self, b: KernelBuilder, start: Expr, stop: Expr, sizes: Sequence[Expr], a: Sequence[Expr], c: Sequence[Expr]
    ) -> None:
        self.b, self.stop, self.sizes = b, stop, list(sizes)
        self.strides = (list(a), list(c))
        digits: list[Ref] = []
        rest: Expr = start
        for n in reversed(self.sizes):
            rest = b.let("rest", rest)
            digits.append(b.let("digit", rest % n))
            rest = rest // n
        digits.append(b.let("digit", rest))
        digits.reverse()
        self.first = digits[1:]
        self.origin = [b.let("origin", _dot(digits, strides)) for strides in self.strides]
        self.back = [[b.let("back", n * s) for n, s in zip(self.sizes, strides[1:])] for strides in self.strides]
        self.index = [b.var("index", d) for d in self.first]
        self.offset = [b.var("offset", o) for o in self.origin]

    def restart(self) -> None:
        for ref, value in zip((*self.index, *self.offset), (*self.first, *self.origin)):
            self.b.assign(ref, value)

    def take(self, row: Expr, count: int) -> Rows:
        b = self.b
        row = b.let("row", row)
        valid = b.let("valid", self.stop - row)
        index, offset = list(self.index), list(self.offset)
        rows: list[list[Expr]] = [[], []]
        for i in range(count):
            for found, o in zip(rows, offset):
                found.append(o if i else b.let("row_o", o))
            carry: Expr = valid > i + 1
            for d in reversed(range(len(self.strides[0]))):
                inner = d - 1  # dimension d has its index and its size at d - 1: the outermost has none
                for which, strides in enumerate(self.strides):
                    offset[which] = b.let("row_o", offset[which] + select(carry, strides[d], 0))
                if d == 0:
                    break
                moved = b.let("moved", index[inner] + carry.cast(i64))
                carry = b.let("carry", moved >= self.sizes[inner])
                index[inner] = b.let("i", select(carry, 0, moved))
                for which in range(2):
                    offset[which] = offset[which] - select(carry, self.back[which][inner], 0)
        for ref, value in zip((*self.index, *self.offset), (*index, *offset)):
            b.assign(ref, value)
        return Rows(tuple(rows[0]), tuple(rows[1]), row, valid)


def _dot(xs: Sequence[Expr], ys: Sequence[Expr]) -> Expr:
    total = xs[0] * ys[0]
    for x, y in zip(xs[1:], ys[1:]):
        total = total + x * y
    return total


# ------------------------------------------------------------------------------------------- the block


def accumulate(
    b: KernelBuilder,
    tile: Tile,
    buffers: tuple[str, str],
    starts: tuple[Expr, Expr],
    rows: Sequence[Expr],
    levels: Sequence[tuple[Expr, Expr, Expr]],
) -> list[list[Ref]]:
    """Emits the loops over k; returns the accumulators, one list of ``nv`` vectors for each row.

    Args:
        starts: offsets of A (to which each of ``rows`` is added) and of B (its first column).
        levels: ``(size, stride in A, stride in B)`` of each loop over k, outermost first.
    """
    acc = [[b.var(f"c{i}_{j}", Const(0, tile.vector)) for j in range(tile.nv)] for i in range(len(rows))]

    def nest(depth: int, at_a: Expr, at_b: Expr) -> None:
        if depth < len(levels):
            size, stride_a, stride_b = levels[depth]
            with b.for_("k", 0, size) as k:
                nest(depth + 1, b.let("at_a", at_a + k * stride_a), b.let("at_b", at_b + k * stride_b))
            return
        bs = [b.let("b", b.load(buffers[1], at_b + j * tile.lanes, tile.lanes)) for j in range(tile.nv)]
        for row, sums in zip(rows, acc):
            a = b.let("x", b.load(buffers[0], at_a + row).splat(tile.lanes))
            for column, total in zip(bs, sums):
                b.assign(total, multiply_add(a, column, total))

    nest(0, *starts)
    return acc


def store_tile(
    b: KernelBuilder,
    tile: Tile,
    acc: Sequence[Sequence[Ref]],
    rows: Rows,
    c: str,
    at: tuple[Expr, Expr, Expr],
    first: Expr,
    width: Expr,
    direct: Expr,
    stack: tuple[str, str],
    epilogue: tuple[Epilogue, Expr, Expr] | None,
) -> None:
    """Writes a block of C, adding to what is there unless ``first``.

    Args:
        at: offset of the block's first column in C, column stride of C, number of the block's first column.
        width: columns inside the matrix.
        direct: true if all columns are inside and have unit stride in C; otherwise the block goes through ``stack``.
        stack: a stack array of ``mr * cols`` values, and one of ``mr`` row offsets.
        epilogue: the function, the number of batch rows before row 0, and the condition to apply it.

    C of a type other than the tile's is never added to: its partial sums would be rounded.
    """
    start, col_stride, col = at
    c_ty = b.types[c]
    adds = c_ty == tile.ty

    def write(finished: bool, index: Expr, value: Expr, row: Expr, column: Expr) -> None:
        if finished and epilogue is not None:
            value = epilogue[0](b, value, epilogue[1] + row, column)
        b.store(c, index, value.cast(c_ty.vector(value.ty.lanes)))

    def write_direct(finished: bool) -> None:
        for i, (offset, sums) in enumerate(zip(rows.c, acc)):
            row = minimum(lift(i, i64), rows.valid - 1) + rows.first
            for j, total in enumerate(sums):
                write(finished, start + offset + j * tile.lanes, total, row, col + j * tile.lanes)

    def write_stacked(finished: bool) -> None:
        with b.for_("i", 0, minimum(rows.valid, len(acc))) as i:
            c_row = b.let("c_row", start + b.load(stack[1], i))
            with b.for_("j", 0, width) as j:
                index = b.let("index", c_row + j * col_stride)
                value = b.load(stack[0], i * tile.cols + j)
                if adds:
                    value = value + select(first, Const(0, tile.ty), b.load(c, index))
                write(finished, index, b.let("value", value), rows.first + i, col + j)

    def write_either(how: Callable[[bool], None]) -> None:
        if epilogue is None:
            how(False)
            return
        with b.if_(epilogue[2]):
            how(True)
        with b.else_():
            how(False)

    with b.if_(direct):
        if adds:
            with b.if_(~first):
                for offset, sums in zip(rows.c, acc):
                    for j, total in enumerate(sums):
                        b.assign(total, total + b.load(c, start + offset + j * tile.lanes, tile.lanes))
        write_either(write_direct)
    with b.else_():
        for i, (offset, sums) in enumerate(zip(rows.c, acc)):
            b.store(stack[1], i, offset)
            for j, total in enumerate(sums):
                b.store(stack[0], i * tile.cols + j * tile.lanes, total)
        write_either(write_stacked)
