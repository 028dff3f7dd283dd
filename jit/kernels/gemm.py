"""Kernels around the strided contraction: packing, adding up, and the shapes that memory bounds.

    C[g, r, j] = sum_k  A[g, r, k] * B[g, k, j]

Every index may be a nest of several dimensions with a stride of its own in each array.  ``lower/contraction.py``
plans; ``kernels/contract.py`` is the blocked product; the kernels here take every size and stride from the frame:

    dot_kernel        few columns, k contiguous in both operands (matrix times vector): bound by memory
    window_dot_kernel the same where rows and k are nests of dimensions (convolutions)
    axpy_kernel       few rows times a large B with contiguous columns (vector times matrix): bound by memory
    turn_kernel       A that lies along its rows, so that it lies along k
    pack_rows_kernel  A into blocks of rows [g][rows of a register block][k][row]
    pack_kernel       B into panels [g][column panel][k][columns of the register block]
    combine_kernel    adds partial products in order, converts the type, moves to any strides
"""

from __future__ import annotations

from collections.abc import Sequence

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Load, Op, Ref, Ty, i64, minimum, op_, select
from ..lower.loops import Odometer, spans, vector_for
from .microkernel import LinearRows, Tile, WalkedRows, divide, dot, multiply_add

__all__ = [
    "axpy_kernel",
    "combine_kernel",
    "dot_kernel",
    "pack_kernel",
    "pack_rows_kernel",
    "strip_kernel",
    "transposed",
    "turn_kernel",
    "window_dot_kernel",
]


def integers(b: KernelBuilder, *names: str) -> dict[str, Ref]:
    """Integer parameters by name."""
    return {n: b.integer(n) for n in names}


def numbered(name: str, stop: int, start: int = 0) -> list[str]:
    return [f"{name}{i}" for i in range(start, stop)]


def digits(b: KernelBuilder, position: Expr, sizes: Sequence[Expr]) -> list[Expr]:
    """The multi-index of a row-major position; ``sizes`` are the extents of all dimensions but the outermost."""
    found: list[Expr] = []
    for n in reversed(sizes):
        position, digit = divide(b, position, n)
        found.append(digit)
    return [position, *reversed(found)]


def opaque(b: KernelBuilder, i: Expr, stop: Expr) -> Ref:
    """``i``, below ``stop``, as a value that LLVM's strength reduction does not see through.

    For loops that are not hot but hold many addresses: there, it takes longer than the rest of the code generator.
    """
    return b.let("i", minimum(i, stop))


# -------------------------------------------------------------------------------------------- packing


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
        g0, g1, row_block, k_block = digits(b, piece, [p[n] for n in ("g1_size", "row_blocks", "k_blocks")])
        first, begin = b.let("first", row_block * p["mc"]), b.let("begin", k_block * p["kc"])
        stop = b.let("stop", minimum(first + p["mc"], p["m"]))
        end = b.let("end", minimum(begin + p["kc"], p["k"]))
        at, to = (b.let(x, g0 * p[f"{x}_g0"] + g1 * p[f"{x}_g1"]) for x in "sd")
        with b.for_("k", begin, end, lanes) as step:
            k = b.let("k_at", minimum(step, p["k"] - lanes))
            here, there = b.let("here", at + k * p["s_k"]), b.let("there", to + k)
            with b.for_("r", first, stop, lanes) as row:
                r = b.let("r_at", minimum(row, p["m"] - lanes))
                columns = [b.load(src, here + r + p["s_k"] * i, lanes) for i in range(lanes)]
                for i, values in enumerate(transposed(b, columns)):
                    b.store(dst, there + (r + i) * p["d_row"], values)
    return b.build()


def pack_rows_kernel(ty: Ty, lanes: int, mr: int) -> Kernel:
    """dst[g, r // mr, k, r % mr] = src[g, r, k], where rows past the last repeat it.  Range: pieces (g0, g1, ``mc`` rows), row-major.

    ``mr`` is a power of two.  Where k has stride 1, blocks of as many values of it as a vector has lanes are turned in registers.
    """
    b = KernelBuilder(f"pack_rows_{ty}x{lanes}_{mr}")
    src, dst = b.pointer("src", ty), b.pointer("dst", ty)
    p = integers(b, "m", "mc", "k", "g1_size", "row_blocks", "s_g0", "s_g1", "s_row", "s_k", "d_g0", "d_g1")
    with b.for_("piece", b.lo, b.hi) as piece:
        g0, g1, row_block = digits(b, piece, [p["g1_size"], p["row_blocks"]])
        first = b.let("first", row_block * p["mc"])
        at, to = (b.let(x, g0 * p[f"{x}_g0"] + g1 * p[f"{x}_g1"]) for x in "sd")
        done = b.let("done", select(p["s_k"].eq(1), p["k"] // lanes * lanes, 0))
        with b.for_("row", first, minimum(first + p["mc"], p["m"]), mr) as row:
            lines = [b.let("line", at + minimum(row + i, p["m"] - 1) * p["s_row"]) for i in range(mr)]
            there = b.let("there", to + row * p["k"])
            with b.for_("k", 0, done, lanes) as k:
                for i, values in enumerate(transposed(b, [b.load(src, line + k, lanes) for line in lines])):
                    b.store(dst, there + k * mr + i * lanes, values)
            with b.for_("k", done, p["k"]) as k:
                for i, line in enumerate(lines):
                    b.store(dst, there + k * mr + i, b.load(src, line + k * p["s_k"]))
    return b.build()


def strip_kernel(ty: Ty, mr: int, lanes: int) -> Kernel:
    """dst[g, strip, k, r] = src[g, k, strip * mr + r], r < mr.  Range: pieces (g0, g1, ``mc`` rows, ``kc`` values of k), row-major.

    Rows have stride 1 in src; ``mc`` is whole strips.  Of the last strip, rows past the last are not written.
    """
    b = KernelBuilder(f"strip_{ty}_{mr}x{lanes}")
    src, dst = b.pointer("src", ty), b.pointer("dst", ty)
    p = integers(
        b, "m", "mc", "k", "kc", "g1_size", "row_blocks", "k_blocks", "s_g0", "s_g1", "s_k", "d_g0", "d_g1", "d_row"
    )
    with b.for_("piece", b.lo, b.hi) as piece:
        g0, g1, row_block, k_block = digits(b, piece, [p[n] for n in ("g1_size", "row_blocks", "k_blocks")])
        first, begin = b.let("first", row_block * p["mc"]), b.let("begin", k_block * p["kc"])
        stop = b.let("stop", minimum(first + p["mc"], p["m"]))
        end = b.let("end", minimum(begin + p["kc"], p["k"]))
        at, to = (b.let(x, g0 * p[f"{x}_g0"] + g1 * p[f"{x}_g1"]) for x in "sd")
        whole = b.let("whole", first + (stop - first) // mr * mr)
        with b.for_("k", begin, end) as k:
            here, there = b.let("here", at + k * p["s_k"]), b.let("there", to + k * mr)
            with b.for_("r", first, whole, mr) as row:
                from_, into = b.let("from_", here + row), b.let("into", there + row * p["d_row"])
                for i, width in _widths(mr, lanes):
                    b.store(dst, into + i, b.load(src, from_ + i, width))
            with b.for_("r", whole, stop) as row:
                b.store(dst, there + whole * p["d_row"] + (row - whole), b.load(src, here + row))
    return b.build()


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


def combine_kernel(ty: Ty, lanes: int, c_ty: Ty, outer: int, unit: bool, sums: bool) -> Kernel:
    """``c[i, j] = sum_s parts[s, i, j]``, added in the order of s, then converted; i has ``outer`` dimensions.

    Range: elements (i, j), row-major.  ``unit``: j has stride 1 in both.  Without ``sums`` there is one s only.
    """
    b = KernelBuilder(f"{'combine' if sums else 'move'}_{ty}x{lanes}_{c_ty}_{outer}{'_unit' if unit else ''}")
    parts, c = b.pointer("parts", ty), b.pointer("c", c_ty)
    dims = numbered("i", outer)
    p = integers(
        b, "n", *dims[1:], *(f"{x}_{n}" for x in "sc" for n in (*dims, "col")), *(("slices", "s_slice") if sums else ())
    )
    offsets = {x: (Const(0, i64), [p[f"{x}_{n}"] for n in dims]) for x in "sc"}
    with spans(b, p["n"], [Const(1, i64), *(p[n] for n in dims[1:])], offsets) as span:
        offset = span.rows.offset

        def body(j: Expr, width: int, vectors: int) -> None:
            s_col, c_col = (Const(1, i64), Const(1, i64)) if unit else (p["s_col"], p["c_col"])
            at = b.let("at", offset["s"] + j * s_col)
            total = b.var("total", b.load(parts, at, width))
            if sums:
                with b.for_("s", 1, p["slices"]) as s:
                    b.assign(total, total + b.load(parts, at + s * p["s_slice"], width))
            b.store(c, offset["c"] + j * c_col, total.cast(c_ty.vector(width)))

        vector_for(b, span.begin, span.end, lanes if unit else 1, body)
    return b.build()


# ----------------------------------------------------------------------------------- memory-bound shapes


def dot_kernel(ty: Ty, lanes: int, in_ty: Ty, c_ty: Ty, rows: int) -> Kernel:
    """``C[g, r, j] = sum_k A[g, r, k] * B[g, k, j]``, k contiguous in both, vectorised along k.

    Range: pieces (g0, g1, slice of k, block of ``mc`` rows), row-major.  Meant for few j: A comes from memory once.
    A slice of k must have at least ``lanes`` elements.
    """
    b = KernelBuilder(f"dot_{ty}x{lanes}_{in_ty}_{c_ty}_{rows}")
    a, x, c = b.pointer("a", in_ty), b.pointer("b", in_ty), b.pointer("c", c_ty)
    p = integers(
        b, "m", "mc", "n", "k", "g1_size", "slices", "row_blocks", "k_slice",
        *(f"{w}_{n}" for w in "abc" for n in ("g0", "g1", "slice")), "a_r0", "c_r0", "b_col", "c_col",
    )  # fmt: skip
    with b.for_("piece", b.lo, b.hi) as piece:
        g0, g1, slice_, row_block = digits(b, piece, [p[n] for n in ("g1_size", "slices", "row_blocks")])
        at_a, at_b, at_c = (
            b.let(f"at_{w}", dot((g0, g1, slice_), [p[f"{w}_{n}"] for n in ("g0", "g1", "slice")])) for w in "abc"
        )
        depth = b.let("depth", minimum(p["k_slice"], p["k"] - slice_ * p["k_slice"]))
        first = b.let("first", row_block * p["mc"])
        walk = LinearRows(b, b.let("stop", minimum(first + p["mc"], p["m"])), p["a_r0"], p["a_r0"], p["c_r0"])
        with b.for_("row", first, walk.stop, rows) as row, b.for_("j", 0, p["n"]) as j:
            here = walk.take(row, rows)
            start = b.let("start", at_b + j * p["b_col"])
            sums = _dots(b, (a, x), [at_a + r for r in here.a], start, depth, ty.vector(lanes))
            for offset, total in zip(here.c, sums):
                b.store(c, at_c + offset + j * p["c_col"], total.cast(c_ty))
    return b.build()


def _dots(
    b: KernelBuilder, buffers: tuple[str, str], rows: Sequence[Expr], start: Expr, depth: Expr, vector: Ty
) -> list[Expr]:
    """The dot product of each row of A with one vector; the last, partial vector overlaps the one before and is masked."""
    lanes = vector.lanes
    unroll = max(1, 4 // len(rows))
    acc = [[b.var("sum", Const(0, vector)) for _ in range(unroll)] for _ in rows]
    rows = [b.let("row_at", r) for r in rows]

    def add(k: Expr, u: int, mask: Expr | None) -> None:
        y = b.let("y", b.load(buffers[1], start + k, lanes).cast(vector))
        for row, totals in zip(rows, acc):
            x = b.load(buffers[0], row + k, lanes).cast(vector)
            total = multiply_add(x, y, totals[u])
            b.assign(totals[u], total if mask is None else select(mask, total, totals[u]))

    step = lanes * unroll
    whole = b.let("whole", depth // step * step)
    with b.for_("k", 0, whole, step) as k:
        for u in range(unroll):
            add(b.let("k_at", k + u * lanes), u, None)
    with b.for_("k", whole, depth, lanes) as k:
        at = b.let("k_at", minimum(k, depth - lanes))
        if lanes == 1:
            add(at, 0, None)
        else:
            lane = Op("iota", (), Ty("i", 64, lanes))
            add(at, 0, b.let("mask", op_("ge", lane, (k - at).splat(lanes))))
    found: list[Expr] = []
    for totals in acc:
        parts: list[Expr] = list(totals)
        while len(parts) > 1:
            parts = [x + y for x, y in zip(parts[::2], parts[1::2])]
        found.append(b.let("total", op_("hadd", parts[0]) if lanes > 1 else parts[0]))
    return found


def window_dot_kernel(ty: Ty, lanes: int, c_ty: Ty, rows: int, row_dims: int, k_dims: int) -> Kernel:
    """``C[r, j] = sum_k A[r, k] * B[k, j]``, rows and k nests of dimensions, the last one of k contiguous in both.

    Range: blocks of ``mc`` rows.  Meant for few j, as in the gradient of a convolution with respect to an image of few
    channels: vectors of columns would be nearly empty.  The last dimension of k has at least ``lanes`` elements.
    """
    b = KernelBuilder(f"window_dot_{ty}x{lanes}_{c_ty}_{rows}_r{row_dims}k{k_dims}")
    a, x, c = b.pointer("a", ty), b.pointer("b", ty), b.pointer("c", c_ty)
    r, ks = numbered("r", row_dims), numbered("k", k_dims)
    p = integers(
        b, "m", "mc", "n", *r[1:], *ks, *(f"{w}_{i}" for w in "ac" for i in r), *(f"{w}_{i}" for w in "ab" for i in ks[:-1]),
        "b_col", "c_col",
    )  # fmt: skip
    levels = [(p[k], p[f"a_{k}"], p[f"b_{k}"]) for k in ks[:-1]]
    with b.for_("block", b.lo, b.hi) as block:
        first = b.let("first", block * p["mc"])
        stop = b.let("stop", minimum(first + p["mc"], p["m"]))
        walk = WalkedRows(b, first, stop, [p[i] for i in r[1:]], *([p[f"{w}_{i}"] for i in r] for w in "ac"))
        with b.for_("row", first, stop, rows) as row:
            here = walk.take(row, rows)
            with b.for_("j", 0, p["n"]) as j:
                acc = [b.var("sum", Const(0, ty.vector(lanes))) for _ in here.a]

                def nest(depth: int, at_a: Expr, at_b: Expr) -> None:
                    if depth == len(levels):
                        return _add_products(b, (a, x), (at_a, at_b), here.a, acc, p[ks[-1]])
                    size, stride_a, stride_b = levels[depth]
                    with b.for_("k", 0, size) as k:
                        nest(depth + 1, b.let("at_a", at_a + k * stride_a), b.let("at_b", at_b + k * stride_b))
                    return None

                nest(0, Const(0, i64), b.let("column", j * p["b_col"]))
                for offset, total in zip(here.c, acc):
                    found = op_("hadd", total) if lanes > 1 else total
                    b.store(c, offset + j * p["c_col"], found.cast(c_ty))
    return b.build()


def _add_products(
    b: KernelBuilder,
    buffers: tuple[str, str],
    starts: tuple[Expr, Expr],
    rows: Sequence[Expr],
    acc: Sequence[Ref],
    n: Expr,
) -> None:
    """Adds the products of ``n`` contiguous elements, lane by lane; the last vector overlaps the one before and is masked."""
    lanes = acc[0].ty.lanes

    def add(k: Expr, mask: Expr | None) -> None:
        y = b.let("y", b.load(buffers[1], starts[1] + k, lanes))
        for row, total in zip(rows, acc):
            new = multiply_add(b.load(buffers[0], starts[0] + k + row, lanes), y, total)
            b.assign(total, new if mask is None else select(mask, new, total))

    whole = b.let("whole", n // lanes * lanes)
    with b.for_("k", 0, whole, lanes) as k:
        add(k, None)
    if lanes > 1:
        with b.if_(whole < n):
            k = b.let("k", n - lanes)
            add(k, op_("ge", Op("iota", (), Ty("i", 64, lanes)), (whole - k).splat(lanes)))


def axpy_kernel(ty: Ty, lanes: int, in_ty: Ty) -> Kernel:
    """``C[g, r, :] = sum_k A[g, r, k] * B[g, k, :]`` for few rows, four rows of B at a time.

    Range: pieces (g0, g1, slice of k, block of ``nc`` columns), row-major.  Columns have stride 1 in B and C; a block
    has at least ``lanes`` of them: the last one, which begins at ``last_col``, takes up to ``lanes - 1`` more than nc.  No
    column is in two blocks, as C is added to in memory, by several threads.  The block of C and the rows of B in use stay
    in the first-level cache, so that B is read once and along its memory; a register block would read it in strips, one
    page for each k.
    """
    b = KernelBuilder(f"axpy_{ty}x{lanes}_{in_ty}")
    a, bp, c = b.pointer("a", in_ty), b.pointer("b", in_ty), b.pointer("c", ty)
    p = integers(
        b, "m", "n", "nc", "k", "g1_size", "slices", "col_blocks", "k_slice", "last_col",
        *(f"{w}_{n}" for w in "abc" for n in ("g0", "g1", "slice")), "a_r0", "c_r0", "a_k0", "b_k0",
    )  # fmt: skip
    vector = ty.vector(lanes)
    with b.for_("piece", b.lo, b.hi) as piece:
        g0, g1, slice_, col_block = digits(b, piece, [p[n] for n in ("g1_size", "slices", "col_blocks")])
        first = b.let("first", col_block * p["nc"])
        at_a, at_b, at_c = (
            b.let(f"at_{w}", dot((g0, g1, slice_), [p[f"{w}_{n}"] for n in ("g0", "g1", "slice")])) for w in "abc"
        )
        at_b, at_c = b.let("at_b", at_b + first), b.let("at_c", at_c + first)
        depth = b.let("depth", minimum(p["k_slice"], p["k"] - slice_ * p["k_slice"]))
        n = b.let("n_here", select(first < p["last_col"], p["nc"], p["n"] - first))
        with b.for_("r", 0, p["m"]) as r, b.for_("j", 0, n, lanes) as j:
            b.store(c, at_c + r * p["c_r0"] + minimum(j, n - lanes), Const(0, vector))
        fours = b.let("fours", depth // 4 * 4)
        whole = b.let("whole", n // lanes * lanes)
        for begin, end, count in ((Const(0, i64), fours, 4), (fours, depth, 1)):
            with b.for_("k", begin, end, count) as k, b.for_("r", 0, p["m"]) as r:
                x_at, line, out = (
                    b.let("x_at", at_a + r * p["a_r0"] + k * p["a_k0"]),
                    b.let("line", at_b + k * p["b_k0"]),
                    b.let("out", at_c + r * p["c_r0"]),
                )
                xs = [b.let("x", b.load(a, x_at + p["a_k0"] * i).cast(ty).splat(lanes)) for i in range(count)]
                lines = [b.let("line", line + p["b_k0"] * i) for i in range(count)]

                def update(j: Expr, mask: Expr | None) -> None:
                    old = b.let("old", b.load(c, out + j, lanes))
                    total: Expr = old
                    for x, row in zip(xs, lines):
                        total = multiply_add(x, b.load(bp, row + j, lanes).cast(vector), total)
                    b.store(c, out + j, total if mask is None else select(mask, total, old))

                with b.for_("j", 0, whole, lanes) as j:
                    update(j, None)
                if lanes > 1:
                    with b.if_(whole < n):
                        j = b.let("j", n - lanes)
                        update(j, op_("ge", Op("iota", (), Ty("i", 64, lanes)), (whole - j).splat(lanes)))
    return b.build()
