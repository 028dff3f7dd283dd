"""Kernels of the strided contraction: matrix products, and convolutions seen as matrix products on the image.

    C[g, r, j] = sum_k  A[g, r, k] * B[g, k, j]

Every index may be a nest of several dimensions with a stride of its own in each array.  ``lower/contraction.py``
plans; the kernels here take every size and stride from the frame:

    contract_kernel   the register-blocked product, cut into blocks of rows, columns and k
    pack_kernel       B into zero-padded panels [column panel][k][columns of the register block]
    combine_kernel    adds the partial products of a split k, in order, and converts the type
    dot_kernel        few columns whose k is contiguous (matrix times vector): bound by memory
    axpy_kernel       few rows times a B with contiguous columns (vector times matrix): bound by memory
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..loop_ir import Const, Expr, Kernel, KernelBuilder, Op, Ref, Ty, i64, minimum, op_, select
from ..lower.loops import Odometer, vector_for
from .microkernel import Epilogue, LinearRows, Tile, WalkedRows, accumulate, multiply_add, store_tile

__all__ = [
    "BATCH_DIMS", "PACK_DIMS", "Contract", "axpy_kernel", "combine_kernel", "contract_kernel", "dot_kernel", "pack_kernel",
]  # fmt: skip

BATCH_DIMS = 3  # of every kernel here; unused ones have size 1
PACK_DIMS = 4  # of k in ``pack_kernel``
UNIT = 1 << 62  # "no limit" for a frame integer


def numbered(name: str, count: int, first: int = 0) -> list[str]:
    return [f"{name}{i}" for i in range(first, count)]


def integers(b: KernelBuilder, *names: str) -> dict[str, Ref]:
    return {n: b.integer(n) for n in names}


def digits(b: KernelBuilder, position: Expr, sizes: Sequence[tuple[str, Expr]]) -> list[Expr]:
    """The multi-index of a row-major position; ``sizes``: name and extent, outermost first (its extent is not read)."""
    found: list[Expr] = []
    rest = position
    for name, n in reversed(sizes[1:]):
        found.append(b.let(name, rest % n))
        rest = b.let("rest", rest // n)
    return [rest, *reversed(found)]


def offset(indices: Sequence[Expr], strides: Sequence[Expr]) -> Expr:
    total = indices[0] * strides[0]
    for i, s in zip(indices[1:], strides[1:]):
        total = total + i * s
    return total


# ---------------------------------------------------------------------------------- the blocked product


@dataclass(frozen=True, slots=True)
class Contract:
    """Which ``contract_kernel``; together with the epilogue's key this is the kernel's key.

    Attributes:
        a_ty, c_ty: element types of A and C in memory.  B and the sums have the tile's type.
        row_dims: dimensions of the rows: 1 to 4.
        k_dims: loops over k inside the register block; two more stand outside it.
        copy: how a block of A goes to the worker's scratch memory first, there to lie dense and to get the tile's
            type: "" not at all, "k" rows with contiguous k, "row" contiguous rows for each k, "any" any strides.
    """

    tile: Tile
    a_ty: Ty
    c_ty: Ty
    row_dims: int = 1
    k_dims: int = 1
    copy: str = ""

    @property
    def name(self) -> str:
        dims = f"{self.row_dims}{self.k_dims}"
        return f"contract_{self.tile}_{self.a_ty}_{self.c_ty}_{dims}{'_' + self.copy if self.copy else ''}"


def contract_kernel(v: Contract, epilogue: Epilogue | None = None) -> Kernel:
    """Range: pieces (batch, k slice, column block, row block), row-major.

    Frame: sizes ``m n``; block sizes ``mc nc kb``; counts ``row_blocks col_blocks slices batch1 batch2 level_blocks q1``;
    K-blocks ``blocks`` in all and ``slice_blocks`` in a slice; a K-block is one index (q0, q1) of the two outer loops
    and ``kb`` indices of the first of the ``k0 k1 ...`` inner ones; strides as ``a_... b_... c_...``; ``last_col`` is
    where the last panel of B may start; ``direct_width`` is the number of columns that allows vector stores.
    """
    tile = v.tile
    b = KernelBuilder(v.name)
    a, bp, c = b.pointer("a", v.a_ty), b.pointer("b", tile.ty), b.pointer("c", v.c_ty)
    work = b.pointer("work", tile.ty) if v.copy else a
    p = integers(
        b, "m", "n", "mc", "nc", "row_blocks", "col_blocks", "slices", *numbered("batch", BATCH_DIMS, 1),
        "blocks", "slice_blocks", "level_blocks", "kb", "q1", *numbered("k", v.k_dims), *numbered("r", v.row_dims, 1),
        *(f"{x}_{n}" for x in "abc" for n in numbered("g", BATCH_DIMS)), "c_slice",
        *(f"{x}_{n}" for x in "ab" for n in ("q0", "q1", *numbered("k", v.k_dims))),
        *(f"{x}_{n}" for x in "ac" for n in numbered("r", v.row_dims)), "b_col", "c_col", "last_col", "direct_width",
        *(("work_size", "work_ld") if v.copy else ()),
    )  # fmt: skip
    stack = (b.alloc("block", tile.ty, tile.mr * tile.cols), b.alloc("block_rows", i64, tile.mr))

    def strides(prefix: str, names: Sequence[str]) -> list[Ref]:
        return [p[f"{prefix}_{n}"] for n in names]

    group_dims = numbered("g", BATCH_DIMS)
    pieces = [("g0", p["batch1"]), *((f"g{d}", p[f"batch{d}"]) for d in range(1, BATCH_DIMS))]
    pieces += [("slice", p["slices"]), ("col_block", p["col_blocks"]), ("row_block", p["row_blocks"])]
    with b.for_("piece", b.lo, b.hi) as piece:
        *g, slice_, col_block, row_block = digits(b, piece, pieces)
        m0 = b.let("m0", row_block * p["mc"])
        m1 = b.let("m1", minimum(m0 + p["mc"], p["m"]))
        n0 = b.let("n0", col_block * p["nc"])
        n1 = b.let("n1", minimum(n0 + p["nc"], p["n"]))
        at_a = b.let("at_a", offset(g, strides("a", group_dims)))
        at_b = b.let("at_b", offset(g, strides("b", group_dims)))
        at_c = b.let("at_c", offset(g, strides("c", group_dims)) + slice_ * p["c_slice"])
        batch_row = b.let("batch_row", offset(g, (p["batch1"] * p["batch2"], p["batch2"], Const(1, i64))) * p["m"])
        full, half = _split_rows(b, tile, m1 - m0)
        first_block = b.let("first_block", slice_ * p["slice_blocks"])
        last_block = b.let("last_block", minimum(first_block + p["slice_blocks"], p["blocks"]))
        row_strides = [strides(x, numbered("r", v.row_dims)) for x in "ac"]
        rows: LinearRows | WalkedRows
        if v.copy:
            row_step = Const(1, i64) if v.copy == "row" else p["work_ld"]
            rows = LinearRows(b, m0, m1, row_step, p["c_r0"])
        elif v.row_dims == 1:
            rows = LinearRows(b, Const(0, i64), m1, p["a_r0"], p["c_r0"])
        else:
            rows = WalkedRows(b, m0, m1, [p[f"r{d}"] for d in range(1, v.row_dims)], *row_strides)
        with b.for_("block", first_block, last_block) as block:
            level = b.let("level", block % p["level_blocks"] * p["kb"])
            outer = b.let("outer", block // p["level_blocks"])
            q = (b.let("q0", outer // p["q1"]), b.let("q1", outer % p["q1"]), level)
            depth = b.let("depth", minimum(p["kb"], p["k0"] - level))
            block_a = b.let("block_a", at_a + offset(q, strides("a", ("q0", "q1", "k0"))))
            block_b = b.let("block_b", at_b + offset(q, strides("b", ("q0", "q1", "k0"))))
            ks = [(depth if d == 0 else p[f"k{d}"], p[f"a_k{d}"], p[f"b_k{d}"]) for d in range(v.k_dims)]
            source = a
            if v.copy:
                source, block_a = work, _copy_block(b, v, p, (a, work), block_a, (m0, m1), depth)
                ks = [(depth, p["work_ld"] if v.copy == "row" else Const(1, i64), p["b_k0"])]
            first = b.let("first", block.eq(first_block))
            finish = None if epilogue is None else (epilogue, batch_row, (block + 1).eq(last_block))
            with b.for_("col", n0, n1, tile.cols) as col:
                j = b.let("j", minimum(col, p["last_col"]))
                width = b.let("width", minimum(p["n"] - j, tile.cols))
                direct = b.let("direct", width >= p["direct_width"])
                start_b = b.let("start_b", block_b + j * p["b_col"])
                at = (b.let("start_c", at_c + j * p["c_col"]), p["c_col"], j)
                rows.restart()

                def run_block(row: Expr, count: int) -> None:
                    here = rows.take(row, count)
                    acc = accumulate(b, tile, (source, bp), (block_a, start_b), here.a, ks)
                    store_tile(b, tile, acc, here, c, at, first, width, direct, stack, finish)

                with b.for_("t", 0, full) as t:
                    run_block(m0 + t * tile.mr, tile.mr)
                with b.for_("t", 0, half) as t:
                    run_block(m0 + full * tile.mr + t * tile.half, tile.half)
    return b.build()


def _split_rows(b: KernelBuilder, tile: Tile, rows: Expr) -> tuple[Expr, Expr]:
    """How many blocks of ``mr`` and of ``half`` rows cover ``rows`` with the fewest repeated rows."""
    mr, half = tile.mr, tile.half
    rest, full = b.let("rest", rows % mr), b.let("full", rows // mr)
    one, zero = Const(1, i64), Const(0, i64)
    borrow = b.let("borrow", (rest > 0) & (rest <= 2 * half - mr) & (full > 0))  # mr + rest rows as two halves
    some = b.let("some", (rest > 0) & (rest <= half))
    n_half = select(borrow, Const(2, i64), select(some, one, zero))
    n_full = full + select(borrow, Const(-1, i64), select(rest > half, one, zero))
    return b.let("full_blocks", n_full), b.let("half_blocks", n_half)


def _copy_block(
    b: KernelBuilder, v: Contract, p: dict[str, Ref], buffers: tuple[str, str], at: Expr, rows: tuple[Expr, Expr], depth: Expr
) -> Expr:
    """Copies a block of A to the worker's memory; returns where it begins there."""
    (src, dst), ty, lanes = buffers, v.tile.ty, v.tile.lanes
    start = b.let("work_at", b.worker * p["work_size"])
    row_stride, k_stride, ld = p["a_r0"], p["a_k0"], p["work_ld"]
    first = b.let("copy_at", at + rows[0] * row_stride)
    by_row = v.copy != "row"
    outer, outer_stride, inner = (rows[1] - rows[0], row_stride, depth) if by_row else (depth, k_stride, rows[1] - rows[0])
    inner_stride = k_stride if v.copy == "any" else Const(1, i64)
    with b.for_("line", 0, outer) as line:
        from_, to = b.let("from_", first + line * outer_stride), b.let("to", start + line * ld)

        def body(i: Expr, width: int, vectors: int) -> None:
            value = b.load(src, from_ + i * inner_stride, width)
            b.store(dst, to + i, value.cast(ty.vector(width)))

        vector_for(b, Const(0, i64), inner, 1 if v.copy == "any" else lanes, body)
    return start


# -------------------------------------------------------------------------------------------- packing


def gather(b: KernelBuilder, src: str, at: Expr, stride: Expr, lanes: int) -> Expr:
    """The vector ``src[at + i * stride]``, i < lanes."""
    v: Expr = Const(0, b.types[src].vector(lanes))
    for i in range(lanes):
        x = b.load(src, at + stride * i)
        v = op_("insert", v, Const(i, i64), x) if lanes > 1 else x
    return v


def pack_kernel(tile: Tile, src_ty: Ty, k_dims: int, unit: bool, complex_: bool) -> Kernel:
    """B[g, k, j] -> panels[g, j // cols, k, j % cols], zero in the columns past the last.

    Range: pieces (batch, chunk of ``chunk`` values of k).  ``unit``: the columns have stride 1.

    complex_: B has (re, im) pairs; each becomes the block ``[[re, im], [-im, re]]`` of a real matrix of twice the rows
    and columns, so that a row of (re, im) pairs times the panel is the complex product.  ``n``, ``k`` and ``panel``
    count complex elements, ``s_...`` counts reals.
    """
    cols, lanes, ty = tile.cols, tile.lanes, tile.ty
    step = cols // 2 if complex_ else cols
    b = KernelBuilder(f"pack_{tile}_{src_ty}_{k_dims}{'_unit' if unit else ''}{'_complex' if complex_ else ''}")
    src, dst = b.pointer("src", src_ty), b.pointer("dst", ty)
    p = integers(
        b, "n", "k", "chunk", "chunks", *numbered("batch", BATCH_DIMS, 1), *numbered("k", k_dims, 1),
        *numbered("s_g", BATCH_DIMS), *numbered("s_k", k_dims), "s_col", "d_batch", "panel",
    )  # fmt: skip
    s_k = [p[n] for n in numbered("s_k", k_dims)]
    with b.for_("piece", b.lo, b.hi) as piece:
        batch, chunk = digits(b, piece, [("batch", p["chunks"]), ("part", p["chunks"])])
        g = digits(b, batch, [("g0", p["batch1"]), *((f"g{d}", p[f"batch{d}"]) for d in range(1, BATCH_DIMS))])
        at = b.let("at", offset(g, [p[n] for n in numbered("s_g", BATCH_DIMS)]))
        to = b.let("to", batch * p["d_batch"])
        first = b.let("first", chunk * p["chunk"])
        stop = b.let("stop", minimum(first + p["chunk"], p["k"]))
        with b.for_("col", 0, p["n"], step) as col:
            width = b.let("width", p["n"] - col)
            panel = b.let("to_panel", to + col // step * p["panel"] * (cols * (2 if complex_ else 1)))
            walk = Odometer(
                b, first, [p["k"], *(p[n] for n in numbered("k", k_dims, 1))], {"from_": (at + col * p["s_col"], s_k)}
            )
            from_ = walk.offset["from_"]

            def vectors(k: Expr) -> None:
                for j in range(tile.nv):
                    if unit:
                        x = b.load(src, from_ + j * lanes, lanes)
                    else:
                        x = gather(b, src, from_ + p["s_col"] * (j * lanes), p["s_col"], lanes)
                    b.store(dst, panel + k * cols + j * lanes, x.cast(tile.vector))

            def singles(k: Expr) -> None:
                with b.for_("j", 0, width) as j:
                    b.store(dst, panel + k * cols + j, b.load(src, from_ + j * p["s_col"]).cast(ty))
                with b.for_("j", width, cols) as j:
                    b.store(dst, panel + k * cols + j, Const(0, ty))

            def pairs(k: Expr) -> None:
                row = b.let("row", panel + k * (2 * cols))
                with b.for_("j", 0, minimum(width, step)) as j:
                    re = b.let("re", b.load(src, from_ + j * p["s_col"]).cast(ty))
                    im = b.let("im", b.load(src, from_ + j * p["s_col"] + 1).cast(ty))
                    for place, value in ((0, re), (1, im), (cols, -im), (cols + 1, re)):
                        b.store(dst, row + j * 2 + place, value)
                with b.for_("j", minimum(width, step) * 2, cols) as j:
                    b.store(dst, row + j, Const(0, ty))
                    b.store(dst, row + cols + j, Const(0, ty))

            if complex_:
                with b.for_("k_at", first, stop) as k:
                    pairs(k)
                    walk.advance()
            else:
                with b.if_(width >= cols):
                    with b.for_("k_at", first, stop) as k:
                        vectors(k)
                        walk.advance()
                with b.else_():
                    with b.for_("k_at", first, stop) as k:
                        singles(k)
                        walk.advance()
    return b.build()


def combine_kernel(ty: Ty, lanes: int, c_ty: Ty) -> Kernel:
    """``c[i] = sum_s parts[s * size + i]``, summed in the order of s, then converted.  Range: elements i."""
    b = KernelBuilder(f"combine_{ty}x{lanes}_{c_ty}")
    parts, c = b.pointer("parts", ty), b.pointer("c", c_ty)
    p = integers(b, "slices", "size")

    def body(i: Expr, width: int, vectors: int) -> None:
        total = b.var("total", b.load(parts, i, width))
        with b.for_("s", 1, p["slices"]) as s:
            b.assign(total, total + b.load(parts, s * p["size"] + i, width))
        b.store(c, i, total.cast(c_ty.vector(width)))

    vector_for(b, b.lo, b.hi, lanes, body)
    return b.build()


# ----------------------------------------------------------------------------------- memory-bound shapes


def dot_kernel(ty: Ty, lanes: int, in_ty: Ty, c_ty: Ty, rows: int) -> Kernel:
    """``C[g, r, j] = sum_k A[g, r, k] * B[g, j, k]``, k contiguous in both, vectorised along k.

    Range: pieces (batch, k slice, block of ``mc`` rows).  Meant for few j: A is read from memory once.
    """
    b = KernelBuilder(f"dot_{ty}x{lanes}_{in_ty}_{c_ty}_{rows}")
    a, x, c = b.pointer("a", in_ty), b.pointer("b", in_ty), b.pointer("c", c_ty)
    group_dims = numbered("g", BATCH_DIMS)
    p = integers(
        b, "m", "n", "k", "mc", "row_blocks", "slices", "k_slice", *numbered("batch", BATCH_DIMS, 1),
        *(f"{w}_{n}" for w in "abc" for n in group_dims), "c_slice", "a_r0", "c_r0", "b_col", "c_col",
    )  # fmt: skip
    pieces = [("g0", p["batch1"]), *((f"g{d}", p[f"batch{d}"]) for d in range(1, BATCH_DIMS))]
    pieces += [("slice", p["slices"]), ("row_block", p["row_blocks"])]
    unroll = max(1, 8 // rows)
    with b.for_("piece", b.lo, b.hi) as piece:
        *g, slice_, row_block = digits(b, piece, pieces)
        at_a, at_b, at_c = (
            b.let(f"at_{w}", offset(g, [p[f"{w}_{n}"] for n in group_dims])) for w in "abc"
        )
        k0 = b.let("k0", slice_ * p["k_slice"])
        k1 = b.let("k1", minimum(k0 + p["k_slice"], p["k"]))
        m0 = b.let("m0", row_block * p["mc"])
        walk = LinearRows(b, Const(0, i64), b.let("m1", minimum(m0 + p["mc"], p["m"])), p["a_r0"], p["c_r0"])
        with b.for_("r", m0, walk.stop, rows) as r, b.for_("j", 0, p["n"]) as j:
            here = walk.take(r, rows)
            from_ = b.let("from_", at_b + j * p["b_col"])
            sums = _dots(b, (a, x), (at_a, from_), here.a, (k0, k1), ty, (lanes, unroll))
            for row, total in zip(here.c, sums):
                b.store(c, at_c + slice_ * p["c_slice"] + row + j * p["c_col"], total.cast(c_ty))
    return b.build()


def _dots(
    b: KernelBuilder, buffers: tuple[str, str], starts: tuple[Expr, Expr], rows: Sequence[Expr], ks: tuple[Expr, Expr],
    ty: Ty, width: tuple[int, int],
) -> list[Expr]:  # fmt: skip
    """The dot product of each row of A with one vector: ``unroll`` partial vectors a row, added in a fixed tree."""
    lanes, unroll = width
    vector = ty.vector(lanes)
    acc = [[b.var(f"v{i}_{u}", Const(0, vector)) for u in range(unroll)] for i in range(len(rows))]
    step = lanes * unroll
    k0, k1 = ks
    stop = b.let("vector_stop", k0 + (k1 - k0) // step * step)
    with b.for_("k", k0, stop, step) as k:
        for u in range(unroll):
            y = b.let("y", b.load(buffers[1], starts[1] + k + u * lanes, lanes).cast(vector))
            for row, totals in zip(rows, acc):
                z = b.load(buffers[0], starts[0] + row + k + u * lanes, lanes).cast(vector)
                b.assign(totals[u], multiply_add(z, y, totals[u]))
    sums = []
    for totals in acc:
        parts: list[Expr] = list(totals)
        while len(parts) > 1:
            parts = [x + y for x, y in zip(parts[::2], parts[1::2])]
        sums.append(b.var("sum", op_("hadd", parts[0]) if lanes > 1 else parts[0]))
    with b.for_("k", stop, k1) as k:
        y = b.let("y", b.load(buffers[1], starts[1] + k).cast(ty))
        for row, total in zip(rows, sums):
            b.assign(total, multiply_add(b.load(buffers[0], starts[0] + row + k).cast(ty), y, total))
    return list(sums)


def axpy_kernel(ty: Ty, lanes: int, in_ty: Ty, unroll: int = 4) -> Kernel:
    """``C[g, r, :] = sum_k A[g, r, k] * B[g, k, :]`` for few rows, ``unroll`` rows of B at a time.

    Range: pieces (batch, k slice, block of ``nc`` columns).  Columns have stride 1 in B and C; C has the type of the sums.
    The block of C and the rows of B in use stay in the first-level cache, so B is read from memory once.
    """
    b = KernelBuilder(f"axpy_{ty}x{lanes}_{in_ty}_{unroll}")
    a, bp, c = b.pointer("a", in_ty), b.pointer("b", in_ty), b.pointer("c", ty)
    group_dims = numbered("g", BATCH_DIMS)
    p = integers(
        b, "m", "n", "k", "nc", "col_blocks", "slices", "k_slice", *numbered("batch", BATCH_DIMS, 1),
        *(f"{w}_{n}" for w in "abc" for n in group_dims), "c_slice", "a_r0", "c_r0", "a_k0", "b_k0",
    )  # fmt: skip
    pieces = [("g0", p["batch1"]), *((f"g{d}", p[f"batch{d}"]) for d in range(1, BATCH_DIMS))]
    pieces += [("slice", p["slices"]), ("col_block", p["col_blocks"])]
    with b.for_("piece", b.lo, b.hi) as piece:
        *g, slice_, col_block = digits(b, piece, pieces)
        at_a, at_b, at_c = (
            b.let(f"at_{w}", offset(g, [p[f"{w}_{n}"] for n in group_dims])) for w in "abc"
        )
        k0 = b.let("k0", slice_ * p["k_slice"])
        k1 = b.let("k1", minimum(k0 + p["k_slice"], p["k"]))
        n0 = b.let("n0", col_block * p["nc"])
        n1 = b.let("n1", minimum(n0 + p["nc"], p["n"]))
        start_c = b.let("start_c", at_c + slice_ * p["c_slice"])
        with b.for_("r", 0, p["m"]) as r:
            row = b.let("row", start_c + r * p["c_r0"])
            vector_for(b, n0, n1, lanes, lambda j, w, _: b.store(c, row + j, Const(0, ty.vector(w))))
        grouped = b.let("grouped", k0 + (k1 - k0) // unroll * unroll)
        for start, stop, count in ((k0, grouped, unroll), (grouped, k1, 1)):
            with b.for_("k", start, stop, count) as k, b.for_("r", 0, p["m"]) as r:
                row_a = b.let("row_a", at_a + r * p["a_r0"] + k * p["a_k0"])
                row_b = b.let("row_b", at_b + k * p["b_k0"])
                row_c = b.let("row_c", start_c + r * p["c_r0"])
                xs = [b.let("x", b.load(a, row_a + p["a_k0"] * i).cast(ty)) for i in range(count)]
                lines = [b.let("line", row_b + p["b_k0"] * i) for i in range(count)]

                def body(j: Expr, width: int, vectors: int) -> None:
                    total: Expr = b.load(c, row_c + j, width)
                    for x, line in zip(xs, lines):
                        total = multiply_add(x.splat(width), b.load(bp, line + j, width).cast(ty.vector(width)), total)
                    b.store(c, row_c + j, total)

                vector_for(b, n0, n1, lanes, body)
    return b.build()
