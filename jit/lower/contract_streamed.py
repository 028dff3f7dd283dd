"""Contractions with few rows or columns, bound by memory: the large operand is read once and along its memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fx.sizes import is_sized

from ..kernels.gemm import axpy_kernel, dot_kernel, thin_kernel, window_dot_kernel
from ..loop_ir import Ty
from .contraction import (
    BYTES_PER_NS,
    FLOPS_PER_NS,
    Array,
    Contraction,
    filled,
    move,
    normal,
    row_major,
    run,
    scratch,
    single,
    size,
)  # fmt: skip
from .loops import coalesce
from .registry import Arg, KernelHandle, LowerContext

__all__ = ["axpy", "dots", "prefers_axpy", "prefers_dots", "prefers_thin", "prefers_window_dots", "thin", "window_dots"]

DOT_ROWS, BLOCK = 8, 96  # rows whose sums along k are in registers, and of a piece
SHORTEST = 4  # values of k of a matrix that meets a vector
FEW = 4  # rows (or columns) up to which an operand is read at the speed of memory
THIN = 24  # rows of ``thin_kernel``, which reads B once for every eight
SLICE = 1 << 10  # values of k that are worth a partial product of their own
SLICE_BYTES = 1 << 19  # the same, as bytes of a large B that a slice reads
COPIED = 32  # multiply-adds, as ``prefers_window_dots`` counts them, that copying an element of B takes as long as
LONG_ROW = 16  # vectors of a row from which six rows at once are worth it
WHOLE = 12  # rows: blocks of four and of six
LONGEST = 1 << 15  # values of k that one piece adds up


def prefers_dots(ctx: LowerContext, p: Contraction, a: Array, b: Array) -> bool:
    """Few rows or columns, and k contiguous in both operands: each operand is read once, along its memory.  A matrix and a vector
    may be short: vectors of their length at most."""
    unit = _unit(p)
    if a.ty != b.ty or len(p.rows) > 1 or len(p.ks) != 1 or p.ks[0][1:] != (unit, unit) or len(p.batch) > 2:
        return False
    few, k = min(size(p.rows), size(p.cols)), unit * p.ks[0][0]
    return few <= FEW and k >= (SHORTEST if few == 1 else 2 * _lanes(ctx, p))


def dots(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array) -> None:
    if size(p.rows) < size(p.cols):
        p, a, b = p.transposed(), b, a
    m, n, k, unit = size(p.rows), size(p.cols), p.ks[0][0], _unit(p)
    lanes = _lanes(ctx, p)
    while lanes > unit * k:
        lanes //= 2
    rows = min(_rows_at_once(m, unit * k, lanes, ctx.host.l1_ways), 4 if p.pairs else WHOLE)
    mc = min(m, max(WHOLE, (1 << 15) // max(unit * k * n, 1) // WHOLE * WHOLE))
    k_slice, slices = _slices(k, size(p.batch) * -(-m // mc))

    def kernel(c_ty: Ty) -> KernelHandle:
        key = ("dot", p.compute, lanes, a.ty, c_ty, rows, p.pairs)
        return ctx.kernel(key, lambda: dot_kernel(p.compute, lanes, a.ty, c_ty, rows, p.pairs))

    blocks: dict[str, Arg] = {"mc": mc, "row_blocks": -(-m // mc), "k": unit * k, "k_slice": unit * k_slice}
    _streamed(ctx, name, p, a, b, c, kernel, blocks, -(-m // mc), (k_slice, slices), slices == 1)


def _unit(p: Contraction) -> int:
    """Reals of an element."""
    return 2 if p.pairs else 1


def _lanes(ctx: LowerContext, p: Contraction) -> int:
    """Of the vectors: at least one pair."""
    return max(ctx.host.lanes(p.compute), _unit(p))


def _rows_at_once(m: int, k: int, lanes: int, l1_ways: int) -> int:
    """Rows of A that a block of ``dot_kernel`` walks along; a sum is the same for four and for six, so sizes that vary need no guard.

    The more, the more lines are under way from memory.  But rows a large power of two apart share a set of the first-level
    cache, which has to hold a line of each and of B (1024 x 1024 on Zen 4, of 8 ways: 61 us for 8 rows, 54 for 6, 56 for 4,
    62 for 2).  The sums of four short rows are added up together.
    """
    if m == 1:
        return 1
    if is_sized(k) or k < LONG_ROW * lanes or l1_ways < 8:
        return 4
    filled = lambda rows: -(-m // rows) * rows  # those of whole blocks
    return 6 if is_sized(m) or 20 * filled(6) <= 21 * filled(4) else 4


def prefers_window_dots(ctx: LowerContext, p: Contraction, a: Array, b: Array) -> bool:
    """Whether vectors along k, in nests of rows and of k whose innermost dimension is contiguous in A, are fuller than vectors
    of the columns.

    Counts multiply-adds of a row.  Eight of them need nine loads where each has another row, so loads are what counts; the
    lanes of a sum are added up by about as many instructions.  B is copied once for all rows.
    """
    if p.pairs or not a.ty == b.ty == p.compute or size(p.batch) != 1 or len(p.rows) > 4 or not 1 <= len(p.ks) <= 4:
        return False
    lanes, n = ctx.host.lanes(p.compute), size(p.cols)
    *outer, (depth, step) = coalesce(tuple(d[:2] for d in p.ks))  # as it will be with a B that fits
    if (len(p.rows) <= 1 and len(p.ks) == 1) or step != 1 or depth < lanes:
        return False
    vectors = depth // lanes + (4 if depth % lanes else 0)  # the last, masked one takes as long as four
    along_k = n * (size(tuple(outer)) * vectors * 9 + 64)
    across = size(p.ks) * (9 if n <= lanes else 16 * -(-n // (2 * lanes)))
    copied = COPIED * n * size(p.ks)
    return 10 * (along_k * size(p.rows) + copied) < 9 * across * size(p.rows)


def window_dots(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array) -> None:
    n, b_col, c_col = single(p.cols)
    strides = row_major(p.ks, 1)
    elements = size(p.ks)
    copy = Array(scratch(ctx, b.ty, n * elements), b.ty)  # of B, with k innermost
    move(ctx, f"{name} (copy)", ((n, b_col, elements), *((d[0], d[2], s) for d, s in zip(p.ks, strides))), b, copy)
    p = normal(replace(p, cols=((n, elements, c_col),), ks=tuple((*d[:2], s) for d, s in zip(p.ks, strides))))
    dims = 3 if len(p.rows) <= 3 and len(p.ks) <= 3 else 4
    rows, ks = filled(p.rows, dims, 2), filled(p.ks, dims, 2)
    lanes, m = ctx.host.lanes(p.compute), size(rows)
    key = ("window dot", p.compute, lanes, c.ty, dims)
    kernel = ctx.kernel(key, lambda: window_dot_kernel(p.compute, lanes, c.ty, DOT_ROWS, dims, dims))
    values: dict[str, Arg] = {
        "a": a.at, "b": copy.at, "c": c.at, "m": m, "mc": BLOCK, "n": n, "b_col": elements, "c_col": c_col,
    }  # fmt: skip
    for i, (n_r, a_r, c_r) in enumerate(rows):
        values |= {f"r{i}": n_r, f"a_r{i}": a_r, f"c_r{i}": c_r}
    for i, (n_k, a_k, b_k) in enumerate(ks):
        values |= {f"k{i}": n_k, f"a_k{i}": a_k, f"b_k{i}": b_k}
    total = -(-m // BLOCK)
    nbytes = (m * n * c.ty.itemsize) + m * p.compute.itemsize
    run(ctx, kernel, values, total, p.flops / FLOPS_PER_NS / total, name, (a.at, copy.at), (c.at,), p.flops, nbytes)


def _thin_rows(p: Contraction) -> int:
    """Rows at a time of ``thin_kernel``."""
    m = size(p.rows)
    return 1 if m == 1 else FEW if m <= FEW else 2 * FEW


def _thin_vectors(ctx: LowerContext, p: Contraction) -> tuple[int, int] | None:
    """Lanes of the vectors of the columns, and how many there are, if the sums of all are to be in registers."""
    n, lanes = _unit(p) * size(p.cols), _lanes(ctx, p)
    while lanes > n:
        lanes //= 2
    most = min(6, 3 * ctx.host.vector_registers // 4 // _thin_rows(p))
    return next(((lanes, v) for v in (1, 2, 3, 4, 6) if v <= most and n <= v * lanes), None)


def prefers_thin(ctx: LowerContext, p: Contraction, a: Array, b: Array) -> bool:
    """Few rows, and a B with few, contiguous columns, of which a block would need a copy."""
    if a.ty != b.ty or len(p.rows) > 1 or len(p.ks) != 1 or len(p.cols) != 1 or len(p.batch) > 2 or size(p.rows) > THIN:
        return False
    return (
        p.cols[0][1] == _unit(p) and p.cols[0][0] > 1 and p.ks[0][0] >= SHORTEST and _thin_vectors(ctx, p) is not None
    )


def thin(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array) -> None:
    n, _, c_col = single(p.cols)
    lanes, vectors = _thin_vectors(ctx, p) or (1, 1)
    rows = _thin_rows(p)
    k_slice, slices = _slices(p.ks[0][0], size(p.batch), max(SLICE, SLICE_BYTES // (_unit(p) * n * b.ty.itemsize)))
    key = ("thin", p.compute, lanes, vectors, b.ty, rows, p.pairs)

    def kernel(_: Ty) -> KernelHandle:
        return ctx.kernel(key, lambda: thin_kernel(p.compute, lanes, vectors, b.ty, rows, p.pairs))

    direct = slices == 1 and c.ty == p.compute and c_col == _unit(p)
    _streamed(ctx, name, p, a, b, c, kernel, {"n": _unit(p) * n}, 1, (k_slice, slices), direct)


def prefers_axpy(ctx: LowerContext, p: Contraction, a: Array, b: Array) -> bool:
    """Few rows, and a B with contiguous columns that the second-level cache does not hold; or any one of pairs (of some values of k),
    which a block reads from a copy that is twice as large."""
    if a.ty != b.ty or len(p.rows) > 1 or len(p.ks) != 1 or len(p.batch) > 2 or size(p.rows) > FEW:
        return False
    (n, b_col, _), k = single(p.cols), p.ks[0][0]
    large = k > 0 if p.pairs else n * k * b.ty.itemsize > ctx.host.l2_bytes // 2
    return b_col == _unit(p) and n >= 8 * ctx.host.lanes(p.compute) and large


def axpy(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array) -> None:
    n, _, c_col = single(p.cols)
    n, lanes = _unit(p) * n, _lanes(ctx, p)
    nc = min(n, ctx.host.l1_bytes // 2 // p.compute.itemsize)
    col_blocks = (n - lanes) // nc + 1
    k_slice, slices = _slices(p.ks[0][0], size(p.batch) * col_blocks, max(1, SLICE_BYTES // (n * b.ty.itemsize)))
    key = ("axpy", p.compute, lanes, b.ty, p.pairs)
    blocks: dict[str, Arg] = {"n": n, "nc": nc, "col_blocks": col_blocks, "last_col": (col_blocks - 1) * nc}
    direct = slices == 1 and c.ty == p.compute and c_col == _unit(p)
    _streamed(
        ctx, name, p, a, b, c, lambda _: ctx.kernel(key, lambda: axpy_kernel(p.compute, lanes, b.ty, p.pairs)), blocks, col_blocks,
        (k_slice, slices), direct,
    )  # fmt: skip


def _streamed(
    ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array, kernel: Callable[[Ty], KernelHandle],
    blocks: dict[str, Arg], n_blocks: int, slicing: tuple[int, int], direct: bool,
) -> None:  # fmt: skip
    """A step of ``dot_kernel`` or ``axpy_kernel``; partial products, if any, are dense and added by a second step."""
    (m, a_r, c_r), (n, b_col, c_col), (k, a_k, b_k) = single(p.rows), single(p.cols), p.ks[0]
    k_slice, slices = slicing
    batch = filled(p.batch, 2, 3)
    groups, unit = size(batch), _unit(p)
    line = unit * n
    out, c_g = c, [d[3] for d in batch]
    if not direct:
        out, c_g = (
            Array(scratch(ctx, p.compute, slices * groups * m * line), p.compute),
            [batch[1][0] * m * line, m * line],
        )
    values: dict[str, Arg] = {
        "a": a.at, "b": b.at, "c": out.at, "m": m, "n": n, "k": k, "g1_size": batch[1][0], "slices": slices, "k_slice": k_slice,
        "a_slice": k_slice * a_k, "b_slice": k_slice * b_k, "c_slice": groups * m * line, "a_r0": a_r, "a_k0": a_k, "b_k0": b_k,
        "b_col": b_col, "c_r0": c_r if direct else line, "c_col": c_col if direct else unit,
    }  # fmt: skip
    for g, (_, a_g, b_g, _) in enumerate(batch):
        values |= {f"a_g{g}": a_g, f"b_g{g}": b_g, f"c_g{g}": c_g[g]}
    nbytes = groups * k * (m + n) * a.ty.itemsize * unit
    total = groups * slices * n_blocks
    ns = max(nbytes / BYTES_PER_NS, 4 * p.flops / FLOPS_PER_NS) / total
    run(ctx, kernel(out.ty), values | blocks, total, ns, name, (a.at, b.at), (out.at,), flops=p.flops, nbytes=nbytes)
    if not direct:
        dims = (*((d[0], s, d[3]) for d, s in zip(batch, c_g)), (m, line, c_r), (n, unit, c_col), (unit, 1, 1))
        move(ctx, f"{name} (sum)", dims, out, c, slices, groups * m * line)


def _slices(k: int, pieces: int, least: int = SLICE) -> tuple[int, int]:
    """Cuts k: ``(length of a slice, slices)``; up to 16 of ``least`` where ``pieces`` alone are too few to share among threads."""
    want = max(-(-k // LONGEST), min(16 // pieces, k // least), 1)
    length = -(-k // want)
    return length, -(-k // length)
