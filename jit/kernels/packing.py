"""Kernels that lay out the operands of a product: as ``lower/contract_left.py`` and ``lower/contract_right.py`` ask.

turn_kernel       A that lies along its rows, so that it lies along k
pack_rows_kernel  A into blocks of rows [g][rows of a register block][k][row], however it lies
pack_kernel       B into panels [g][column panel][k][columns of the register block]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Load, Op, Ty, i64, minimum, op_, select
from ..lower.loops import Odometer
from .gemm import digits, integers, numbered
from .microkernel import Tile

__all__ = ["gather", "pack_along_rows", "pack_kernel", "pack_rows_kernel", "transposed", "turn_kernel"]


def gather(b: KernelBuilder, src: str, at: Expr, stride: Expr, lanes: int) -> Expr:
    """The vector ``src[at + i * stride]``, i < lanes."""
    if lanes == 1:
        return b.load(src, at)
    v: Expr = Const(0, b.types[src].vector(lanes))
    for i in range(lanes):
        v = Op("insert", (v, Const(i, i64), b.load(src, at + stride * i)), v.ty)
    return v


def transposed(b: KernelBuilder, vectors: Sequence[Expr]) -> list[Expr]:
    """A block, given by its columns, as rows, which lie side by side where they are shorter than a vector: interleaving vector i with
    vector i + n/2, for all i and as often as n, the number of columns, can be halved, ends there."""
    n = len(vectors)
    found = [b.let("column", v) for v in vectors]
    for _ in range(n.bit_length() - 1):
        pairs = [op_("interleave", x, y) for x, y in zip(found[: n // 2], found[n // 2 :])]
        found = [b.let("half", op_("half", pair, Const(i, i64))) for pair in pairs for i in range(2)]
    return list(found)


def _part(b: KernelBuilder, piece: Expr, p: Mapping[str, Expr]) -> tuple[tuple[Expr, Expr], ...]:
    """Of a piece (g0, g1, ``mc`` rows, ``kc`` values of k): its rows, its values of k, and where its g lies in src and dst."""
    g0, g1, row_block, k_block = digits(b, piece, [p[n] for n in ("g1_size", "row_blocks", "k_blocks")])
    first, begin = b.let("first", row_block * p["mc"]), b.let("begin", k_block * p["kc"])
    stop = b.let("stop", minimum(first + p["mc"], p["m"]))
    end = b.let("end", minimum(begin + p["kc"], p["k"]))
    at, to = (b.let(x, g0 * p[f"{x}_g0"] + g1 * p[f"{x}_g1"]) for x in "sd")
    return (first, stop), (begin, end), (at, to)


def turn_kernel(ty: Ty, lanes: int) -> Kernel:
    """dst[g, r, k] = src[g, k, r].  Range: pieces (g0, g1, ``mc`` rows, ``kc`` values of k), row-major.

    Rows have stride 1 in src, k in dst, and there are at least ``lanes`` of both: the last block may overlap the one before.
    """
    b = KernelBuilder(f"turn_{ty}x{lanes}")
    src, dst = b.pointer("src", ty), b.pointer("dst", ty)
    p = integers(
        b, "m", "mc", "k", "kc", "g1_size", "row_blocks", "k_blocks", "s_g0", "s_g1", "s_k", "d_g0", "d_g1", "d_row"
    )
    with b.for_("piece", b.lo, b.hi) as piece:
        (first, stop), (begin, end), (at, to) = _part(b, piece, p)
        with b.for_("k", begin, end, lanes) as step:
            k = b.let("k_at", minimum(step, p["k"] - lanes))
            here, there = b.let("here", at + k * p["s_k"]), b.let("there", to + k)
            with b.for_("r", first, stop, lanes) as row:
                r = b.let("r_at", minimum(row, p["m"] - lanes))
                columns = [b.load(src, here + r + p["s_k"] * i, lanes) for i in range(lanes)]
                for i, values in enumerate(transposed(b, columns)):
                    b.store(dst, there + (r + i) * p["d_row"], values)
    return b.build()


def pack_rows_kernel(ty: Ty, lanes: int, mr: int, along_rows: bool) -> Kernel:
    """``dst + r // mr * mr * d_row + k * mr + r % mr`` takes ``src[g, r, k]``.  Range: pieces (g0, g1, ``mc`` rows, ``kc`` values of k), row-major.

    along_rows: rows have stride 1, and each value of k is read along them.  Else, where k has stride 1 and ``mr`` is a power of two, blocks of as
    many values of k as a vector has lanes are turned in registers.  ``mc`` is whole blocks; what rows past the last would take is undefined.
    """
    b = KernelBuilder(f"pack_rows_{ty}_{mr}x{lanes}{'_along' if along_rows else ''}")
    for name in ("src", "dst"):
        b.pointer(name, ty)
    p = integers(
        b, "m", "mc", "k", "kc", "g1_size", "row_blocks", "k_blocks", "s_g0", "s_g1", "s_row", "s_k", "d_g0", "d_g1", "d_row"
    )  # fmt: skip
    with b.for_("piece", b.lo, b.hi) as piece:
        rows, ks, at = _part(b, piece, p)
        if along_rows:
            pack_along_rows(b, ("src", "dst"), (mr, lanes), rows, ks, at, (p["s_k"], p["d_row"]))
        else:
            _pack_along_k(b, (mr, lanes), rows, ks, at, p)
    return b.build()


def pack_along_rows(
    b: KernelBuilder, names: tuple[str, str], block: tuple[int, int], rows: tuple[Expr, Expr], ks: tuple[Expr, Expr], at: tuple[Expr, Expr],
    strides: tuple[Expr, Expr],
) -> None:  # fmt: skip
    """A piece of what ``pack_rows_kernel`` does, from rows of stride 1.

    Args:
        names: the buffers that are read and written; at: where in them row 0 and k = 0 are.
        strides: of k in the first, ``s_k``; of a row in the second, ``d_row``.
    """
    (source, to), (mr, lanes), (first, stop), (src, dst), (s_k, d_row) = names, block, rows, at, strides
    whole = b.let("whole", first + (stop - first) // mr * mr)
    with b.for_("k", *ks) as k:
        here, there = b.let("here", src + k * s_k), b.let("there", dst + k * mr)
        with b.for_("r", first, whole, mr) as row:
            from_, into = b.let("from_", here + row), b.let("into", there + row * d_row)
            for i, width in _widths(mr, lanes):
                b.store(to, into + i, b.load(source, from_ + i, width))
        with b.for_("r", whole, stop) as row:
            b.store(to, there + whole * d_row + (row - whole), b.load(source, here + row))


def _pack_along_k(
    b: KernelBuilder, block: tuple[int, int], rows: tuple[Expr, Expr], ks: tuple[Expr, Expr], at: tuple[Expr, Expr], p: Mapping[str, Expr],
) -> None:  # fmt: skip
    """A piece of ``pack_rows_kernel``, row block after row block; of the last one, rows past the last repeat it."""
    (mr, lanes), (begin, end), (src, dst) = block, ks, at
    turns = mr & (mr - 1) == 0
    done = b.let("done", select(p["s_k"].eq(1), begin + (end - begin) // lanes * lanes, begin)) if turns else begin
    with b.for_("row", *rows, mr) as row:
        lines = [b.let("line", src + minimum(row + i, p["m"] - 1) * p["s_row"]) for i in range(mr)]
        there = b.let("there", dst + row * p["d_row"])
        if turns:
            with b.for_("k", begin, done, lanes) as k:
                for i, values in enumerate(transposed(b, [b.load("src", line + k, lanes) for line in lines])):
                    b.store("dst", there + k * mr + i * lanes, values)
        with b.for_("k", done, end) as k:
            for i, line in enumerate(lines):
                b.store("dst", there + k * mr + i, b.load("src", line + k * p["s_k"]))


def _widths(n: int, lanes: int) -> list[tuple[int, int]]:
    """Vectors that cover n elements: where each begins, and how many it has."""
    found, at = [], 0
    while at < n:
        width = min(lanes, 1 << ((n - at).bit_length() - 1))
        found.append((at, width))
        at += width
    return found


def pack_kernel(tile: Tile, src_ty: Ty, k_dims: int, layout: str) -> Kernel:
    """B[g, k, j] -> panels[g, panel, k, column].  Range: pieces (g0, g1, chunk of ``chunk`` values of k).

    Panel p begins at column ``min(p * cols, last_col)``.  Layouts:

    * "unit": columns of stride 1, at least ``cols`` of them; "any": any stride;
    * "narrow": fewer than ``cols`` columns; the rest of the panel is zero; "masked": the same, of stride 1, where the machine
      reads some lanes of a vector;
    * "turned": at least a panel, of which k has stride 1: square blocks, of the lanes of a vector, of which there are as many
      values of k; the last block may overlap the one before, or, where k has several dimensions, the innermost is whole blocks.
      The columns of a panel are in the frame (``cols``), so that panels of all widths have one kernel: the tile has ``nv`` 0;
    * "complex": fewer or more columns of (re, im) pairs.  Each becomes the block ``[[re, im], [-im, re]]`` of a real
      matrix of twice the rows and columns, so that a row of pairs times the panel is the complex product; the rest is
      zero.  ``n``, ``k`` and ``chunk`` count pairs, ``s_...`` and ``d_...`` count reals.
    """
    lanes, ty = tile.lanes, tile.ty
    b = KernelBuilder(f"pack_{tile}_{src_ty}_{k_dims}_{layout}")
    src, dst = b.pointer("src", src_ty), b.pointer("dst", ty)
    ks = numbered("k", k_dims)
    p = integers(
        b, "n", "k", "chunk", "chunks", "panels", "g1_size", "last_col", *ks[1:],
        *(f"s_{n}" for n in ("g0", "g1", "col", *ks)), "d_g0", "d_g1", "d_panel", *(("cols",) if layout == "turned" else ()),
    )  # fmt: skip
    cols = p["cols"] if layout == "turned" else tile.cols

    def vectors(from_: Expr, to: Expr, col: Expr) -> None:
        for j in range(tile.nv):
            at = from_ + p["s_col"] * (j * lanes)
            x = b.load(src, at, lanes) if layout == "unit" else gather(b, src, at, p["s_col"], lanes)
            b.store(dst, to + j * lanes, x.cast(tile.vector))

    def singles(from_: Expr, to: Expr, col: Expr) -> None:
        with b.for_("j", 0, p["n"]) as j:
            b.store(dst, to + j, b.load(src, from_ + j * p["s_col"]).cast(ty))
        with b.for_("j", p["n"], tile.cols) as j:
            b.store(dst, to + j, Const(0, ty))

    masks: list[Expr] = []
    if layout == "masked":
        word = Ty("i", src_ty.bits, lanes)
        left = [(p["n"] - j * lanes).cast(word.scalar).splat(lanes) for j in range(tile.nv)]
        masks = [b.let("mask", op_("lt", Op("iota", (), word), n)) for n in left]

    def masked(from_: Expr, to: Expr, col: Expr) -> None:
        for j, mask in enumerate(masks):
            x = Load(src, b.let("at", from_ + j * lanes), src_ty.vector(lanes), mask)
            b.store(dst, to + j * lanes, x.cast(tile.vector))

    def pairs(from_: Expr, to: Expr, col: Expr) -> None:
        with b.for_("j", 0, tile.cols // 2) as j:
            at = from_ + select(col + j < p["n"], j * p["s_col"], 0)
            inside = b.let("inside", select(col + j < p["n"], Const(1, ty), Const(0, ty)))
            re = b.let("re", b.load(src, at).cast(ty) * inside)
            im = b.let("im", b.load(src, at + 1).cast(ty) * inside)
            for place, value in ((0, re), (1, im), (tile.cols, -im), (tile.cols + 1, re)):
                b.store(dst, to + j * 2 + place, value)

    def squares(from_: Expr, to: Expr, first: Expr, stop: Expr) -> None:
        with b.for_("k_at", first, stop, lanes) as step, b.for_("j", 0, cols, lanes) as j:
            k = b.let("k", minimum(step, p["k"] - lanes))
            columns = [b.load(src, from_ + k + (j + i) * p["s_col"], lanes) for i in range(lanes)]
            for i, values in enumerate(transposed(b, columns)):
                b.store(dst, to + (k + i) * cols + j, values)

    def whole_squares(from_: Expr, to: Expr, first: Expr, stop: Expr) -> None:
        sizes: list[Expr] = [p["k"], *(p[n] for n in ks[1:-1]), p[ks[-1]] // lanes]
        strides: list[Expr] = [*(p[f"s_{n}"] for n in ks[:-1]), Const(lanes, i64)]
        walk = Odometer(b, first // lanes, sizes, {"from_": (from_, strides)})
        with b.for_("k_at", first, stop, lanes) as k:
            with b.for_("j", 0, cols, lanes) as j:
                columns = [b.load(src, walk.offset["from_"] + (j + i) * p["s_col"], lanes) for i in range(lanes)]
                for i, values in enumerate(transposed(b, columns)):
                    b.store(dst, to + (k + i) * cols + j, values)
            walk.advance()

    bodies = {"unit": vectors, "any": vectors, "narrow": singles, "masked": masked, "complex": pairs}
    row, step = (2 * tile.cols, tile.cols // 2) if layout == "complex" else (cols, cols)
    with b.for_("piece", b.lo, b.hi) as piece:
        g0, g1, chunk = digits(b, piece, [p["g1_size"], p["chunks"]])
        first = b.let("first", chunk * p["chunk"])
        stop = b.let("stop", minimum(first + p["chunk"], p["k"]))
        at = b.let("at", g0 * p["s_g0"] + g1 * p["s_g1"])
        to = b.let("to", g0 * p["d_g0"] + g1 * p["d_g1"])
        with b.for_("panel", 0, p["panels"]) as panel:
            col = b.let("col", minimum(panel * step, p["last_col"]))
            to_panel = b.let("to_panel", to + panel * p["d_panel"])
            if layout == "turned":
                (squares if k_dims == 1 else whole_squares)(
                    b.let("from_", at + col * p["s_col"]), to_panel, first, stop
                )
            else:
                strides = {"from_": (at + col * p["s_col"], [p[f"s_{n}"] for n in ks])}
                walk = Odometer(b, first, [p["k"], *(p[n] for n in ks[1:])], strides)
                with b.for_("k_at", first, stop) as k:
                    bodies[layout](walk.offset["from_"], b.let("to_row", to_panel + k * row), col)
                    walk.advance()
    return b.build()
