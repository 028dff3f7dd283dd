"""The register-blocked micro-kernel that every matrix product and convolution runs on.

    C[row_i, j] = sum_k  A[row_i + k] * B[k, j]        i < mr, j < nv * lanes

A block of ``mr x nv`` vector accumulators stays in registers while k runs over its whole length.  Each step of k
loads ``nv`` vectors of B (consecutive columns) and broadcasts one element of A for each row.  Neither operand needs
a layout beyond that: every row has an offset of its own, and k is a nest of loops with a stride of A and a stride
of B each, so the same code runs on packed panels, on matrices in place, on transposed ones and on the pixels of an
image.

Edges need no code of their own.  Rows past the last are *clamped*: they repeat the last row in A and in C, compute
the same values and store them to the same place.  Columns past the last are avoided by shifting the last block to
the left, over columns that a neighbour computes as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fx.sizes import about_at_most, is_sized, near, plain

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Ref, Store, Ty, fma, i64, maximum, minimum, select
from ..lower.registry import Address, Called, Host

__all__ = [
    "BLOCK_WORDS",
    "Coming",
    "FAR",
    "LINE",
    "Epilogue",
    "Fill",
    "LinearRows",
    "Rows",
    "Tile",
    "WalkedRows",
    "accumulate",
    "multiply_add",
    "packed_rows_tile",
    "store_block",
    "tile_for",
    "unroll_of",
]

B_AHEAD = 8  # rows of B by which a single row of A asks for it ahead
UNROLL = 2  # values of k in a round of the loop over k, if there is one
UNROLL_PACKED = 4  # the same where both operands are packed: their addresses are two
UNROLL_WINDOW = 4  # the same of the innermost of several, as over a window, which begin anew for each of its lines
FAR = -(1 << 62)  # before any offset
LINE = 64  # bytes of a line of the caches
FEW_ROWS_COLUMNS = 4  # vectors of columns from which one row, or two, have a register block of their own
FOURS_COLUMNS, FOURS_WORK = 24, 1 << 20  # vectors of columns, and multiply-adds, that are worth blocks of four rows
WASTE = 0.03  # of the columns, computed twice, that is worth a kernel of its own


BLOCK_WORDS = LINE // 8  # words of each worker that tell an epilogue where its block lies; it reads the first five


class Epilogue(Protocol):
    """What happens to the elements of C while they are in the first-level cache: bias, activation, residual, the update of
    a weight by its gradient.

    It is a kernel of its own, which the product's kernel calls for one block after another: so one kernel of a product does for
    all epilogues.  C is a dense matrix here, whose rows count through the batch, and each element comes once.
    """

    def called(self, sums: Address, block: Address) -> Called:
        """The kernel, whose range is rows of C.

        Args:
            sums: where blocks lie.
            block: ``BLOCK_WORDS`` integers of each worker: where in ``sums`` the block begins, the length of a row there, its
                first column, how many it has, and whether it is still to be computed: then its operands are asked for.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tile:
    """A register block: ``mr`` rows of ``nv`` vectors of ``lanes`` elements."""

    ty: Ty
    lanes: int
    mr: int
    nv: int

    @property
    def cols(self) -> int:
        return self.nv * self.lanes

    @property
    def vector(self) -> Ty:
        return self.ty.vector(self.lanes)

    @property
    def is_narrow(self) -> bool:
        """Whether a row of a panel is one line of the caches."""
        return self.cols * self.ty.itemsize <= LINE

    def __str__(self) -> str:
        return f"{self.ty}_{self.mr}x{self.nv}x{self.lanes}"


def tile_for(
    host: Host, ty: Ty, rows: int, columns: int, depth: int, serial: bool = False, exact: Callable[[], bool] = lambda: False
) -> Tile:  # fmt: skip
    """The register block for a product of that many rows and columns and ``depth`` values of k.

    serial: it stands in the steps of a loop that each thread runs for rows of its own.
    exact: whether sizes that vary have the register block that others would have; asked only where that may be another one.

    The accumulators, a row of B and one broadcast must fit the vector registers; two multiply-adds a cycle of latency
    four want 8 accumulators.  More than 8 rows would spill their offsets: x86 has 16 general registers.  Every block
    is a kernel to compile, so there are few of them.

    Where the units take a vector in two halves, one multiply-add a cycle leaves time for the loads of four rows by four
    vectors: fewer rows are computed in vain, and less stands between two blocks (1 to 10 % faster on Zen 4).  A B that is
    larger than the second-level cache comes from further away, and six rows read it less often.

    Panels are five vectors wide where fewer columns are computed twice then: 784 columns of float32 are 49 vectors with
    AVX-512, of which 13 panels of four compute three twice and 10 panels of five one.  (Panels of complex pairs are even.)

    One or two rows take eight accumulators of their columns alone: a register block of four would compute rows in vain.
    """
    lanes, many = host.lanes(ty), host.vector_registers >= 32
    if columns >= FEW_ROWS_COLUMNS * lanes and lanes > 1 and rows <= 2:
        return Tile(ty, lanes, 1, 8) if rows == 1 and columns >= 8 * lanes else Tile(ty, lanes, plain(rows), 4)
    fours = rows <= 4 or 7 <= rows <= 8 or (many and _gains_fours(host, ty, (rows, columns, depth), serial))
    mr = 4 if fours else 6
    short = lanes * host.unit_bits // host.vector_bits
    vectors = -(-columns // short)
    for odd, height in ((1, 8), (3, mr), (5, 4)):  # the last of the long vectors would be half empty
        if short < lanes and vectors == odd:
            return Tile(ty, short, height, odd)
    if columns <= lanes:
        return Tile(ty, lanes, 8, 1)
    if 2 * lanes < columns <= 3 * lanes and lanes > 1:
        return Tile(ty, lanes, mr if many else 4, 3)
    if not many or columns < 4 * lanes:
        return Tile(ty, lanes, mr, 2)
    halved = host.unit_bits < host.vector_bits
    held, most = columns * depth * ty.itemsize, 2 * host.l2_bytes
    if halved and (about_at_most(held, most) if near(held, most) and not exact() else held <= most):
        mr = 4
    wide = (
        lanes > 1 and columns >= 5 * lanes and (not is_sized(columns) or exact()) and _gains_fives(-(-columns // lanes))
    )
    return Tile(ty, lanes, min(mr, 5), 5) if wide else Tile(ty, lanes, mr, 4)


def packed_rows_tile(host: Host, ty: Ty) -> Tile:
    """The register block of a product whose A is packed, where there are 16 vector registers: seven loads for twelve multiply-adds
    where ``tile_for`` has eight."""
    return Tile(ty, host.lanes(ty), 4, 3)


def _gains_fours(host: Host, ty: Ty, sizes: tuple[int, int, int], serial: bool) -> bool:
    """Whether blocks of four rows, which are a kernel to compile, gain by having clearly fewer rows than blocks of six, where some
    repeat the last one.

    They read a panel of B more often: it had better be near, and not be what threads read that share the rows for lack of columns.
    On Zen 5, 32 x 128 by 128 x 512 takes 6 to 9 % less time with them, 16 x 512 by 512 x 128 in a recurrent cell 12 %; 32 x 784 by
    784 x 128 on two threads takes 10 % more, 32 x 256 by 256 x 256 15 %.  A small product outside loops is no reason for a kernel:
    of 32 x 10 by 10 x 128 they save 0.05 us a step.
    """
    rows, columns, depth = sizes
    if any(map(is_sized, sizes)) or -(-rows // 4) * 4 * 10 > -(-rows // 6) * 6 * 9:
        return False
    lanes = host.lanes(ty)
    if 4 * lanes * depth * ty.itemsize > 3 * host.l1_bytes:
        return False
    return serial or (columns >= FOURS_COLUMNS * lanes and rows * columns * depth >= FOURS_WORK)


def _gains_fives(vectors: int) -> bool:
    """Whether panels of five vectors cover so many with clearly fewer than panels of four do."""
    return -(-vectors // 5) * 5 <= (1 - WASTE) * (-(-vectors // 4) * 4)


def multiply_add(x: Expr, y: Expr, acc: Expr) -> Expr:
    """``x * y + acc``, rounded once where floats allow it."""
    return fma(x, y, acc) if x.ty.is_float else x * y + acc


# ------------------------------------------------------------------------------------------------ rows


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one register block: offsets in A and in C."""

    a: tuple[Expr, ...]
    c: tuple[Expr, ...]


class LinearRows:
    """Row r of C is at ``r * c_stride``; in A a register block of rows begins at ``r * a_step``, and its rows are
    ``a_stride`` apart: the same where A is in place."""

    def __init__(self, b: KernelBuilder, stop: Expr, a_step: Expr, a_stride: Expr, c_stride: Expr) -> None:
        self.b, self.stop, self.a_step, self.a_stride, self.c_stride = b, stop, a_step, a_stride, c_stride

    def take(self, row: Expr, count: int) -> Rows:
        """``count`` rows from ``row`` on.

        The bound on an offset is none: it hides from LLVM's strength reduction what the offsets have in common, for which it
        would move them between registers in the innermost loop."""
        b = self.b
        valid = b.let("valid", self.stop - row)
        a, c = [b.let("row_a", row * self.a_step)], [b.let("row_c", row * self.c_stride)]
        for i in range(1, count):
            more = valid > i
            a.append(b.let("row_a", maximum(a[-1] + select(more, self.a_stride, 0), FAR)))
            c.append(b.let("row_c", c[-1] + select(more, self.c_stride, 0)))
        return Rows(tuple(a), tuple(c))


class WalkedRows:
    """Rows in nested dimensions (image, output row, output column ...), walked without a division.

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
            rest, digit = divide(b, rest, n)
            digits.append(digit)
        digits.append(b.let("digit", rest))
        digits.reverse()
        self.back = [[b.let("back", n * s) for n, s in zip(self.sizes, strides[1:])] for strides in self.strides]
        self.index = [b.var("index", d) for d in digits[1:]]
        self.offset = [b.var("offset", dot(digits, strides)) for strides in self.strides]

    def take(self, row: Expr, count: int) -> Rows:
        """The next ``count`` rows; ``row`` must be their number."""
        b = self.b
        valid = b.let("valid", self.stop - row)
        rows = [[b.var("row_o", o) for _ in range(count)] for o in self.offset]
        inner = self.index[-1]
        with b.if_((inner + count < self.sizes[-1]) & (valid > count)):  # all in one line, and so is the next row
            for found, strides, next_ in zip(rows, self.strides, self.offset):
                for i in range(1, count):
                    b.assign(found[i], next_ + strides[-1] * i)
                b.assign(next_, next_ + strides[-1] * count)
            b.assign(inner, inner + count)
        with b.else_():
            self._walk(valid, rows)
        return Rows(tuple(rows[0]), tuple(rows[1]))

    def _walk(self, valid: Expr, rows: Sequence[Sequence[Ref]]) -> None:
        """Assigns the offsets of the rows one by one, without branches, and moves on to the row behind them."""
        b = self.b
        index: list[Expr] = list(self.index)
        offset: list[Expr] = [b.let("walk", o) for o in self.offset]
        for i in range(len(rows[0])):
            if i:
                for found, o in zip(rows, offset):
                    b.assign(found[i], o)
            carry: Expr = valid > i + 1
            for d in reversed(range(len(self.strides[0]))):
                offset = [o + select(carry, strides[d], 0) for o, strides in zip(offset, self.strides)]
                if d == 0:
                    break
                moved = b.let("moved", index[d - 1] + carry.cast(i64))  # the outermost dimension has no index
                carry = b.let("carry", moved >= self.sizes[d - 1])
                index[d - 1] = b.let("i", select(carry, 0, moved))
                offset = [o - select(carry, back[d - 1], 0) for o, back in zip(offset, self.back)]
            offset = [b.let("walk", o) for o in offset]
        for ref, value in zip((*self.index, *self.offset), (*index, *offset)):
            b.assign(ref, value)


def divide(b: KernelBuilder, x: Expr, n: Expr) -> tuple[Ref, Ref]:
    """``(x // n, x % n)`` of numbers that are not negative.

    A signed division on purpose: LLVM's strength reduction sees through an unsigned one, takes the formulas of the
    offsets apart and then spills the innermost loop (measured: an eighth of the speed).
    """
    return b.let("quotient", x // n), b.let("digit", x % n)


def dot(xs: Sequence[Expr], ys: Sequence[Expr]) -> Expr:
    """``sum_i xs[i] * ys[i]``: an offset from indices and strides."""
    total = xs[0] * ys[0]
    for x, y in zip(xs[1:], ys[1:]):
        total = total + x * y
    return total


# ------------------------------------------------------------------------------------------- the block


@dataclass(frozen=True, slots=True)
class Fill:
    """Where ``now`` is true, columns of stride 1 come from ``source``, at ``start`` and, for each loop over k, with these
    strides, and go into the panel on their way: the stores cost nothing beside the multiply-adds.  They are asked for when those
    ``ahead`` elements before them are read."""

    now: Expr
    source: str
    start: Expr
    strides: tuple[Expr, ...]
    ahead: Expr


@dataclass(frozen=True, slots=True)
class Coming:
    """What is wanted later of an array: ``size`` elements in each round of the outermost of several loops over k, those of round i from
    ``start + i * step`` on, which are asked for into the second-level cache."""

    source: str
    start: Expr
    step: Expr
    size: Expr


def unroll_of(loops: int, packed_rows: bool) -> int:
    """How many values of k a round of the innermost of so many loops over k has."""
    return UNROLL_PACKED if packed_rows else UNROLL if loops == 1 else UNROLL_WINDOW


def accumulate(
    b: KernelBuilder,
    tile: Tile,
    buffers: tuple[str, str],
    starts: tuple[Expr, Expr],
    rows: Sequence[Expr],
    levels: Sequence[tuple[Expr | int, Expr, Expr]],
    lanewise: bool,
    held: tuple[str, Expr, Expr] | None = None,
    later: Expr | None = None,
    fill: Fill | None = None,
    packed_rows: bool = False,
    next_block: Expr | None = None,
    coming: Sequence[Coming] = (),
) -> list[list[Ref]]:
    """Emits the loops over k; returns the accumulators, one list of ``nv`` vectors for each row.

    Args:
        starts: offsets of A (to which each of ``rows`` is added) and of B (its first column).
        levels: ``(size, stride in A, stride in B)`` of each loop over k, outermost first; a number as size unrolls it.
        lanewise: A has the columns, too (``sum_k A[row_i + k, j] * B[k, j]``), and is read in vectors.
        held, later: where ``later`` is true, the sums go on from those in this buffer, at this place, rows at this distance.
        fill: B is elsewhere, and this block is the one that packs it.
        packed_rows: the rows of the block lie side by side in A, for each k.
        next_block: where the next such block lies behind it, if that is to be asked for.
        coming: what is asked for a little at a time: many lines at once would keep the innermost loop from its own.

    One row asks for the rows of B that are ``B_AHEAD`` further on: its strips of B lie too far apart for the hardware to follow
    (256 x 256, in the second-level cache: 3.7 to 4.5 us instead of 5.6).  The innermost loop goes some values of k at a time
    (``unroll_of``) where A lies along k and B in panels: steps known beforehand are part of the addresses, and instructions are scarce
    where the core has another thread to serve (over a window on Zen 3, 21 for twelve multiply-adds instead of 27: up to 9 % of the
    time).  Otherwise a single loop asks for the next line of A behind the rows: where A lies along its rows, that is what the blocks
    after this one read, and no hardware follows.
    """
    unroll, a_step = unroll_of(len(levels), packed_rows), tile.mr if packed_rows else 1
    acc = [[b.var(f"c{i}_{j}", Const(0, tile.vector)) for j in range(tile.nv)] for i in range(len(rows))]
    if held is not None and later is not None:
        with b.if_(later):
            for i, sums in enumerate(acc):
                for j, total in enumerate(sums):
                    b.assign(total, b.load(held[0], held[1] + (held[2] * i + j * tile.lanes), tile.lanes))

    def multiply(at_a: Expr, bs: Sequence[Expr]) -> None:
        for row, sums in zip(rows, acc):
            spread = None if lanewise else b.let("x", b.load(buffers[0], at_a + row).splat(tile.lanes))
            for j, (column, total) in enumerate(zip(bs, sums)):
                a = spread if spread is not None else b.load(buffers[0], at_a + row + j * tile.lanes, tile.lanes)
                b.assign(total, multiply_add(a, column, total))

    def filling(depth: int, at_a: Expr, at_b: Expr, source: Expr) -> None:
        assert fill is not None
        if depth < len(levels):
            size, stride_a, stride_b = levels[depth]
            with b.for_("k", 0, size) as k:
                at_source = b.let("at_source", source + k * fill.strides[depth])
                innermost = depth == len(levels) - 1
                if innermost:
                    later = b.let("later", minimum(at_source + fill.ahead, source + (size - 1) * fill.strides[depth]))
                    for at in range(0, tile.cols, LINE // tile.ty.itemsize):
                        b.prefetch(fill.source, later + at)
                step_b = tile.cols if innermost else stride_b
                filling(depth + 1, b.let("at_a", at_a + k * stride_a), b.let("at_b", at_b + k * step_b), at_source)
            return
        bs = [b.let("b", b.load(fill.source, source + j * tile.lanes, tile.lanes)) for j in range(tile.nv)]
        for j, column in enumerate(bs):
            b.store(buffers[1], at_b + j * tile.lanes, column)
        multiply(at_a, bs)

    def nest(depth: int, at_a: Expr, at_b: Expr) -> None:
        if depth < len(levels):
            size, stride_a, stride_b = levels[depth]
            if isinstance(size, int):
                for i in range(size):
                    nest(depth + 1, b.let("at_a", at_a + stride_a * i), b.let("at_b", at_b + stride_b * i))
                return
            done: Expr = Const(0, i64)
            if depth == len(levels) - 1 and tile.nv > 1 and not lanewise:
                packed = stride_a.eq(a_step) & stride_b.eq(tile.cols)
                done = b.let("done", select(packed, size // unroll * unroll, 0))
                with b.for_("k", 0, done, unroll) as k:
                    in_a, in_b = (
                        b.let("at_a", at_a + (k * a_step if packed_rows else k)),
                        b.let("at_b", at_b + k * tile.cols),
                    )
                    if next_block is not None:
                        for at in range(0, unroll * a_step, LINE // tile.ty.itemsize):
                            b.prefetch(buffers[0], in_a + rows[0] + next_block + at)
                    for i in range(unroll):
                        nest(depth + 1, in_a + i * a_step, in_b + i * tile.cols)
            with b.for_("k", done, size) as k:
                here = b.let("at_a", at_a + k * stride_a)
                if depth == 0 and len(levels) > 1:
                    for x in coming:
                        begin = b.let("begin", x.start + k * x.step)
                        with b.for_("line", begin, begin + x.size, LINE // tile.ty.itemsize) as line:
                            b.prefetch(x.source, line, level=2)
                if len(levels) == 1 and not lanewise:
                    b.prefetch(buffers[0], here + rows[-1] + LINE // tile.ty.itemsize, level=2)
                in_b = b.let("at_b", at_b + k * stride_b)
                if len(levels) == 1 and tile.mr == 1 and tile.nv == 8:
                    ahead = b.let("ahead", in_b + stride_b * B_AHEAD)
                    for at in range(0, tile.cols, LINE // tile.ty.itemsize):
                        b.prefetch(buffers[1], ahead + at)
                nest(depth + 1, here, in_b)
            return
        multiply(at_a, [b.let("b", b.load(buffers[1], at_b + j * tile.lanes, tile.lanes)) for j in range(tile.nv)])

    if fill is None:
        nest(0, *starts)
        return acc
    with b.if_(fill.now):
        filling(0, *starts, fill.start)
    with b.else_():
        nest(0, *starts)
    return acc


def store_block(
    b: KernelBuilder,
    tile: Tile,
    acc: Sequence[Sequence[Ref]],
    rows: Rows,
    c: str,
    start: Expr,
    masks: Sequence[Expr] = (),
) -> None:
    """Writes a block of C, whose columns have stride 1; its first one is at ``start`` in row 0.  ``masks``: of each vector."""
    ty = b.types[c].vector(tile.lanes)
    for offset, sums in zip(rows.c, acc):
        for j, total in enumerate(sums):
            place = start + offset + j * tile.lanes
            b.emit(Store(c, place, total.cast(ty), masks[j] if masks else None))
