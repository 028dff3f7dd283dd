"""Kernels around the strided contraction: adding up, and the shapes that memory bounds.

    C[g, r, j] = sum_k  A[g, r, k] * B[g, k, j]

Every index may be a nest of several dimensions with a stride of its own in each array.  ``lower/contraction.py``
plans; ``kernels/contract.py`` is the blocked product; the kernels here take every size and stride from the frame:

    dot_kernel        few columns, k contiguous in both operands (matrix times vector): bound by memory
    window_dot_kernel the same where rows and k are nests of dimensions (convolutions)
    thin_kernel       few rows times a B with few, contiguous columns: all sums in registers, bound by memory
    axpy_kernel       few rows times a large B with contiguous columns (vector times matrix): bound by memory
    combine_kernel    adds partial products in order, converts the type, moves to any strides
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Op, Ref, Ty, i64, minimum, op_, select
from ..lower.loops import spans, vector_for
from .microkernel import LinearRows, WalkedRows, divide, dot, multiply_add

__all__ = [
    "axpy_kernel",
    "combine_kernel",
    "dot_kernel",
    "thin_kernel",
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


def dot_kernel(ty: Ty, lanes: int, in_ty: Ty, c_ty: Ty, rows: int, pairs: bool) -> Kernel:
    """``C[g, r, j] = sum_k A[g, r, k] * B[g, k, j]``, k contiguous in both, vectorised along k.

    Range: pieces (g0, g1, slice of k, block of ``mc`` rows), row-major.  Meant for few j: A comes from memory once.
    A slice of k must have at least ``lanes`` elements.  ``pairs``: they are the reals of (re, im) pairs.
    """
    b = KernelBuilder(f"dot_{ty}x{lanes}_{in_ty}_{c_ty}_{rows}{'_pairs' if pairs else ''}")
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
            sums = _dots(b, (a, x), [at_a + r for r in here.a], start, depth, ty.vector(lanes), pairs)
            for offset, parts in zip(here.c, sums):
                for i, total in enumerate(parts):
                    b.store(c, at_c + offset + j * p["c_col"] + i, total.cast(c_ty))
    return b.build()


def _dots(
    b: KernelBuilder, buffers: tuple[str, str], rows: Sequence[Expr], start: Expr, depth: Expr, vector: Ty, pairs: bool
) -> list[list[Expr]]:
    """The dot product of each row of A with one vector; the last, partial vector overlaps the one before and is masked.

    Of ``pairs``, two sums: the products of like parts, of which those of the imaginary ones are subtracted at the end, and those of
    unlike parts.
    """
    lanes = vector.lanes
    unroll = max(1, 4 // len(rows))
    acc = [[[b.var("sum", Const(0, vector)) for _ in range(unroll)] for _ in range(1 + pairs)] for _ in rows]
    rows = [b.let("row_at", r) for r in rows]

    def add(k: Expr, u: int, mask: Expr | None) -> None:
        y: Expr = b.let("y", b.load(buffers[1], start + k, lanes).cast(vector))
        factors = [y, b.let("exchanged", op_("exchange", y, Const(1, i64)))] if pairs else [y]
        for row, sums in zip(rows, acc):
            x = b.let("x", b.load(buffers[0], row + k, lanes).cast(vector))
            for factor, totals in zip(factors, sums):
                total = multiply_add(x, factor, totals[u])
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

    def total(totals: Sequence[Expr], signed: bool) -> Expr:
        while len(totals) > 1:
            totals = [x + y for x, y in zip(totals[::2], totals[1::2])]
        whole = totals[0] * alternating(vector) if signed else totals[0]
        return b.let("total", op_("hadd", whole) if lanes > 1 else whole)

    return [[total(totals, pairs and i == 0) for i, totals in enumerate(sums)] for sums in acc]


def alternating(vector: Ty) -> Expr:
    """``(1, -1, 1, -1, ...)``: the signs of the squares of the parts of (re, im) pairs."""
    odd = op_("and", Op("iota", (), Ty("i", vector.bits, vector.lanes)), Const(1, Ty("i", vector.bits, vector.lanes)))
    return (1 - 2 * odd).cast(vector)


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


def thin_kernel(ty: Ty, lanes: int, vectors: int, in_ty: Ty, rows: int, pairs: bool) -> Kernel:
    """``C[g, r, :] = sum_k A[g, r, k] * B[g, k, :]``, whose columns, contiguous in B and C, are ``vectors`` vectors at most and no less
    than one; the last ones overlap.  ``rows`` rows at a time have their sums in registers.

    Range: pieces (g0, g1, slice of k), row-major.  ``pairs``: columns are the reals of (re, im) pairs, of which A has one for each k.
    """
    b = KernelBuilder(f"thin_{ty}x{lanes}_{in_ty}_{rows}x{vectors}{'_pairs' if pairs else ''}")
    a, bp, c = b.pointer("a", in_ty), b.pointer("b", in_ty), b.pointer("c", ty)
    p = integers(
        b, "m", "n", "k", "g1_size", "slices", "k_slice", *(f"{w}_{n}" for w in "abc" for n in ("g0", "g1", "slice")), "a_r0", "c_r0",
        "a_k0", "b_k0",
    )  # fmt: skip
    vector, unroll = ty.vector(lanes), max(1, 8 // (rows * vectors))
    with b.for_("piece", b.lo, b.hi) as piece:
        g0, g1, slice_ = digits(b, piece, [p[n] for n in ("g1_size", "slices")])
        at_a, at_b, at_c = (
            b.let(f"at_{w}", dot((g0, g1, slice_), [p[f"{w}_{n}"] for n in ("g0", "g1", "slice")])) for w in "abc"
        )
        depth = b.let("depth", minimum(p["k_slice"], p["k"] - slice_ * p["k_slice"]))
        columns = [b.let("column", minimum(Const(v * lanes, i64), p["n"] - lanes)) for v in range(vectors)]
        walk = LinearRows(b, p["m"], p["a_r0"], p["a_r0"], p["c_r0"])
        with b.for_("row", 0, p["m"], rows) as row:
            here = walk.take(row, rows)
            sums = [[[b.var("sum", Const(0, vector)) for _ in columns] for _ in here.a] for _ in range(unroll)]

            def add(k: Expr, sums: list[list[Ref]]) -> None:
                line, x_at = b.let("line", at_b + k * p["b_k0"]), b.let("x_at", at_a + k * p["a_k0"])
                ys = [b.let("y", b.load(bp, line + j, lanes).cast(vector)) for j in columns]
                for start, totals in zip(here.a, sums):
                    x = b.let("x", b.load(a, x_at + start).cast(ty).splat(lanes))
                    for total, y in zip(totals, ys):
                        b.assign(total, multiply_add(x, y, total))
                    if pairs:
                        x = b.let("turned", b.load(a, x_at + start + 1).cast(ty).splat(lanes) * -alternating(vector))
                        for total, y in zip(totals, ys):
                            b.assign(total, multiply_add(x, op_("exchange", y, Const(1, i64)), total))

            whole = b.let("whole", depth // unroll * unroll)
            with b.for_("k", 0, whole, unroll) as k:
                for u in range(unroll):
                    add(k + u, sums[u])
            with b.for_("k", whole, depth) as k:
                add(k, sums[0])
            for r, out in enumerate(here.c):
                for v, j in enumerate(columns):
                    parts: list[Expr] = [sums[u][r][v] for u in range(unroll)]
                    while len(parts) > 1:
                        parts = [functools.reduce(operator.add, parts[i : i + 2]) for i in range(0, len(parts), 2)]
                    b.store(c, at_c + out + j, parts[0])
    return b.build()


def axpy_kernel(ty: Ty, lanes: int, in_ty: Ty, pairs: bool) -> Kernel:
    """``C[g, r, :] = sum_k A[g, r, k] * B[g, k, :]`` for few rows, four rows of B at a time.

    Range: pieces (g0, g1, slice of k, block of ``nc`` columns), row-major.  Columns have stride 1 in B and C; a block
    has at least ``lanes`` of them: the last one, which begins at ``last_col``, takes up to ``lanes - 1`` more than nc.  No
    column is in two blocks, as C is added to in memory, by several threads.  The block of C and the rows of B in use stay
    in the first-level cache, so that B is read once and along its memory; a register block would read it in strips, one
    page for each k.  ``pairs``: columns are the reals of (re, im) pairs, of which A has one for each k.
    """
    b = KernelBuilder(f"axpy_{ty}x{lanes}_{in_ty}{'_pairs' if pairs else ''}")
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
                turned = [
                    b.let("turned", b.load(a, x_at + p["a_k0"] * i + 1).cast(ty).splat(lanes) * -alternating(vector))
                    for i in range(count if pairs else 0)
                ]
                lines = [b.let("line", line + p["b_k0"] * i) for i in range(count)]

                def update(j: Expr, mask: Expr | None) -> None:
                    old = b.let("old", b.load(c, out + j, lanes))
                    total: Expr = old
                    for i, (x, row) in enumerate(zip(xs, lines)):
                        y = b.let("y", b.load(bp, row + j, lanes).cast(vector))
                        total = multiply_add(x, y, total)
                        if pairs:
                            total = multiply_add(turned[i], op_("exchange", y, Const(1, i64)), total)
                    b.store(c, out + j, total if mask is None else select(mask, total, old))

                with b.for_("j", 0, whole, lanes) as j:
                    update(j, None)
                if lanes > 1:
                    with b.if_(whole < n):
                        j = b.let("j", n - lanes)
                        update(j, op_("ge", Op("iota", (), Ty("i", 64, lanes)), (whole - j).splat(lanes)))
    return b.build()
