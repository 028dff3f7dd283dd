"""Plans strided contractions: which kernels of ``kernels/gemm.py`` run, on what blocks, in which memory.

    C[g, r, j] = sum_k  A[g, r, k] * B[g, k, j]

Each of g, r, j and k is a nest of dimensions with one stride in each array that it indexes.  ``dot_general`` is one
contraction.  So is a convolution: the rows are the output pixels, k is the window and the channels, and since both
move through the image by strides, A is the image itself.

The plan is a function of shapes and the host only, and every element of C is computed by one piece with one order of
k, so the result has the same bits on any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Union

from fx.errors import GraphError

from ..cost import chunk_for
from ..kernels.gemm import Contract, axpy_kernel, combine_kernel, contract_kernel, dot_kernel, pack_kernel
from ..kernels.microkernel import Epilogue, Tile, tile_for
from ..loop_ir import Ty
from .loops import coalesce
from .registry import Address, Arg, KernelHandle, LowerContext, Operand

__all__ = ["Array", "Contraction", "contract", "fits", "move"]

Dims = tuple[tuple[int, ...], ...]
Place = Union[Operand, Address]

FLOPS_PER_NS = 60.0  # of one core, for the sizes of pieces
BYTES_PER_NS = 10.0
PACK_CHUNK = 32  # values of k that a piece of the packing covers: both the rows it reads and the panels it writes fit L1
MIN_SLICE = 256  # values of k that are worth a partial product of their own


@dataclass(frozen=True, slots=True)
class Array:
    """Where an array begins, and the type of its (real) elements in memory."""

    at: Place
    ty: Ty


@dataclass(frozen=True, slots=True)
class Contraction:
    """Dimensions, outermost first: batch ``(size, a, b, c)``, rows ``(size, a, c)``, cols ``(size, b, c)``, ks ``(size, a, b)``.

    Strides count reals.  ``compute`` is the type of products and sums.  ``pairs``: A, B and C hold complex (re, im)
    pairs; sizes count them.
    """

    batch: Dims
    rows: Dims
    cols: Dims
    ks: Dims
    compute: Ty
    pairs: bool = False

    def transposed(self) -> Contraction:
        """The same with A and B, rows and columns, exchanged."""
        return replace(
            self,
            batch=tuple((n, b, a, c) for n, a, b, c in self.batch),
            rows=self.cols,
            cols=self.rows,
            ks=tuple((n, b, a) for n, a, b in self.ks),
        )

    @property
    def flops(self) -> int:
        return 2 * (4 if self.pairs else 1) * math.prod(size(d) for d in (self.batch, self.rows, self.cols, self.ks))


def size(dims: Dims) -> int:
    return math.prod(d[0] for d in dims)


def contract(
    ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array, epilogue: Epilogue | None = None
) -> None:
    """Appends the steps that compute C.  A and B must not overlap C.

    Args:
        name: what the steps are called in profiles.
        epilogue: applied to each element before it is stored; C must be dense in the order (batch, rows, cols), with
            one dimension of columns, and the epilogue must not read the memory of C.
    """
    if size(p.batch) * size(p.rows) * size(p.cols) == 0:
        return
    a, b, c = (Array(x.at, _arithmetic(x.ty, p.compute)) for x in (a, b, c))
    p = normal(p, keep_rows=epilogue is not None)
    if p.pairs:
        p, a = _pairs_innermost(ctx, name, p, a)
    elif epilogue is None and _prefers_dots(ctx, p, a, b):
        return _dots(ctx, name, p, a, b, c)
    elif epilogue is None and not p.cols and len(p.rows) == 1 and p.rows[0][1] == 1:
        p, a, b = normal(p.transposed()), b, a  # a vector times a matrix whose rows are contiguous
    if epilogue is None and _prefers_axpy(ctx, p, a, b):
        return _axpy(ctx, name, p, a, b, c)
    _blocked(ctx, name, p, a, b, c, epilogue)


def fits(p: Contraction) -> bool:
    """Whether the kernels have enough loops for ``p`` without a copy of an operand."""
    p = normal(p)
    return len(p.batch) <= 2 and len(p.rows) <= 4 and len(p.ks) <= 4


def normal(p: Contraction, keep_rows: bool = False) -> Contraction:
    """Merges dimensions, orders rows and k by their stride in A, and leaves at most one dimension of columns."""

    def by_a(dims: Dims) -> list[tuple[int, ...]]:
        return sorted((d for d in dims if d[0] != 1), key=lambda d: -abs(d[1]))

    cols = coalesce(p.cols)
    outer = tuple((n, 0, b, c) for n, b, c in cols[:-1])
    rows = coalesce(p.rows if keep_rows else by_a(p.rows))
    return replace(
        p, batch=tuple(coalesce(p.batch + outer)), rows=tuple(rows), cols=tuple(cols[-1:]), ks=tuple(coalesce(by_a(p.ks)))
    )


def _arithmetic(ty: Ty, compute: Ty) -> Ty:
    """``ty``, or the compute type where the bits mean the same: sums and products of integers wrap."""
    return compute if ty.kind in "iu" and compute.kind in "iu" and ty.bits == compute.bits else ty


def _single(dims: Dims) -> tuple[int, ...]:
    """The only dimension, or one of size 1."""
    if len(dims) > 1:
        raise GraphError(f"{dims} should have been merged")
    return dims[0] if dims else (1, 0, 0)


# --------------------------------------------------------------------------------------------- helpers


def _run(
    ctx: LowerContext, kernel: KernelHandle, values: dict[str, Arg], total: int, ns: float, name: str, reads: tuple[Place, ...],
    writes: tuple[Place, ...], flops: int = 0, nbytes: int = 0, align: int = 1,
) -> None:  # fmt: skip
    """A step with the arguments by parameter name; ``ns`` is the estimated time of one index."""
    args = tuple(values[param.name] for param in kernel.kernel.params)
    ctx.step(
        kernel, args, total, chunk_for(total, ns, align), name, flops=flops, nbytes=nbytes, reads=reads, writes=writes
    )


def _filled(dims: Dims, count: int, arrays: int) -> Dims:
    """``dims`` (strides in that many arrays) with dimensions of size 1 in front."""
    if len(dims) > count:
        raise GraphError(f"{len(dims)} dimensions where the kernel has loops for {count}")
    return ((1,) + (0,) * arrays,) * (count - len(dims)) + dims


def _scratch(ctx: LowerContext, ty: Ty, elements: int) -> Address:
    return ctx.scratch(-(-max(elements, 1) * ty.itemsize // 64) * 64)


def move(
    ctx: LowerContext, name: str, dims: Dims, src: Array, dst: Array, slices: int = 1, slice_stride: int = 0,
    epilogue: Epilogue | None = None,
) -> None:  # fmt: skip
    """``dst[i] = sum_s src[s, i]`` over any strides; ``dims``: (size, stride in src, stride in dst), outermost first."""
    merged = tuple(coalesce(dims)) or ((1, 1, 1),)
    if epilogue is not None:  # its rows and columns are those of ``dims``
        merged = (*coalesce(dims[:-2]), dims[-2])
    inner = merged[-1]
    unit = inner[1:] == (1, 1)
    count = 2 if len(merged) <= 3 else 9
    outer = _filled(merged[:-1], count, 2)
    lanes = ctx.host.lanes(src.ty)
    kernel = ctx.kernel(
        ("combine", src.ty, lanes, dst.ty, count, unit, slices > 1, epilogue and epilogue.key),
        lambda: combine_kernel(src.ty, lanes, dst.ty, count, unit, slices > 1, epilogue),
    )
    values: dict[str, Arg] = {
        "parts": src.at, "c": dst.at, "n": inner[0], "slices": slices, "s_slice": slice_stride, "s_col": inner[1], "c_col": inner[2],
    }  # fmt: skip
    for d, (n, s, c) in enumerate(outer):
        values |= {f"i{d}": n, f"s_i{d}": s, f"c_i{d}": c}
    total = size(merged)
    width = src.ty.itemsize * slices + dst.ty.itemsize
    ns = width / BYTES_PER_NS if unit else 1.0 + 0.3 * slices
    reads = (src.at, *(epilogue.reads if epilogue else ()))
    values |= epilogue.args if epilogue else {}
    _run(ctx, kernel, values, total, ns, name, reads, (dst.at,), flops=total * (slices - 1), nbytes=total * width)


def _pairs_innermost(ctx: LowerContext, name: str, p: Contraction, a: Array) -> tuple[Contraction, Array]:
    """Copies A, with k innermost, unless the (re, im) pairs of consecutive k lie side by side."""
    if a.ty == p.compute and (not p.ks or p.ks[-1][1] == 2):
        return p, a
    dims = tuple(d[:2] for d in (*p.batch, *p.rows, *p.ks))
    kept = tuple(d for d in dims if d[1] != 0)
    dense = iter(_row_major(kept, 2))
    strides = [next(dense) if d[1] != 0 else 0 for d in dims]
    copy = Array(_scratch(ctx, p.compute, 2 * size(kept)), p.compute)
    moved = tuple((*d, s) for d, s in zip(dims, strides) if d[1] != 0)
    move(ctx, f"{name} (copy)", (*moved, (2, 1, 1)), a, copy)
    return _with_a_strides(p, strides), copy


# ---------------------------------------------------------------------------------- memory-bound products


def _prefers_dots(ctx: LowerContext, p: Contraction, a: Array, b: Array) -> bool:
    """Few rows or columns, and k contiguous in both operands: each operand is read once, along its memory."""
    if a.ty != b.ty or len(p.rows) > 1 or len(p.ks) != 1 or p.ks[0][1:] != (1, 1) or len(p.batch) > 2:
        return False
    return p.ks[0][0] >= 2 * ctx.host.lanes(p.compute) and min(size(p.rows), size(p.cols)) <= 4


def _dots(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array) -> None:
    if size(p.rows) < size(p.cols):
        p, a, b = p.transposed(), b, a
    m, n, k = size(p.rows), size(p.cols), p.ks[0][0]
    lanes, rows = ctx.host.lanes(p.compute), 4 if m > 1 else 1
    mc = min(m, max(rows, (1 << 15) // max(k * n, 1) // rows * rows))
    k_slice, slices = _slices(k, size(p.batch) * -(-m // mc), 1, 1 << 15)

    def kernel(c_ty: Ty) -> KernelHandle:
        key = ("dot", p.compute, lanes, a.ty, c_ty, rows)
        return ctx.kernel(key, lambda: dot_kernel(p.compute, lanes, a.ty, c_ty, rows))

    blocks: dict[str, Arg] = {"mc": mc, "row_blocks": -(-m // mc)}
    _streamed(ctx, name, p, a, b, c, kernel, blocks, -(-m // mc), (k_slice, slices), slices == 1)


def _prefers_axpy(ctx: LowerContext, p: Contraction, a: Array, b: Array) -> bool:
    """Few rows, and a B with contiguous columns that the second-level cache does not hold."""
    if a.ty != b.ty or p.pairs or len(p.rows) > 1 or len(p.ks) != 1 or len(p.batch) > 2 or size(p.rows) > 4:
        return False
    n, b_col, _ = _single(p.cols)
    large = n * p.ks[0][0] * b.ty.itemsize > ctx.host.l2_bytes // 2
    return b_col == 1 and n >= 8 * ctx.host.lanes(p.compute) and large


def _axpy(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array) -> None:
    n, _, c_col = _single(p.cols)
    lanes = ctx.host.lanes(p.compute)
    nc = min(n, ctx.host.l1_bytes // 16 // p.compute.itemsize)
    col_blocks = -(-n // nc)
    k_slice, slices = _slices(p.ks[0][0], size(p.batch) * col_blocks, 1, 1 << 15)
    key = ("axpy", p.compute, lanes, b.ty)
    blocks: dict[str, Arg] = {"nc": nc, "col_blocks": col_blocks, "last_col": n - nc}
    direct = slices == 1 and c.ty == p.compute and c_col == 1
    _streamed(
        ctx, name, p, a, b, c, lambda _: ctx.kernel(key, lambda: axpy_kernel(p.compute, lanes, b.ty)), blocks, col_blocks,
        (k_slice, slices), direct,
    )  # fmt: skip


def _streamed(
    ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array, kernel: Callable[[Ty], KernelHandle],
    blocks: dict[str, Arg], n_blocks: int, slicing: tuple[int, int], direct: bool,
) -> None:  # fmt: skip
    """A step of ``dot_kernel`` or ``axpy_kernel``; partial products, if any, are dense and added by a second step."""
    (m, a_r, c_r), (n, b_col, c_col), (k, a_k, b_k) = _single(p.rows), _single(p.cols), p.ks[0]
    k_slice, slices = slicing
    batch = _filled(p.batch, 2, 3)
    groups = size(batch)
    out, c_g = c, [d[3] for d in batch]
    if not direct:
        out, c_g = Array(_scratch(ctx, p.compute, slices * groups * m * n), p.compute), [batch[1][0] * m * n, m * n]
    values: dict[str, Arg] = {
        "a": a.at, "b": b.at, "c": out.at, "m": m, "n": n, "k": k, "g1_size": batch[1][0], "slices": slices, "k_slice": k_slice,
        "a_slice": k_slice * a_k, "b_slice": k_slice * b_k, "c_slice": groups * m * n, "a_r0": a_r, "a_k0": a_k, "b_k0": b_k,
        "b_col": b_col, "c_r0": c_r if direct else n, "c_col": c_col if direct else 1,
    }  # fmt: skip
    for g, (_, a_g, b_g, _) in enumerate(batch):
        values |= {f"a_g{g}": a_g, f"b_g{g}": b_g, f"c_g{g}": c_g[g]}
    nbytes = groups * k * (m + n) * a.ty.itemsize
    total = groups * slices * n_blocks
    ns = max(nbytes / BYTES_PER_NS, 4 * p.flops / FLOPS_PER_NS) / total
    _run(ctx, kernel(out.ty), values | blocks, total, ns, name, (a.at, b.at), (out.at,), flops=p.flops, nbytes=nbytes)
    if not direct:
        dims = (*((d[0], s, d[3]) for d, s in zip(batch, c_g)), (m, n, c_r), (n, 1, c_col))
        move(ctx, f"{name} (sum)", dims, out, c, slices, groups * m * n)


def _slices(k0: int, pieces: int, inner: int, longest: int) -> tuple[int, int]:
    """Cuts the outermost loop over k: ``(indices in a slice, slices)``.

    A slice is at most ``longest`` values of k (``inner`` for each index); there are up to 16 of them where the
    ``pieces`` of the result alone are too few to share among threads.
    """
    want = max(-(-k0 * inner // longest), min(16 // pieces, k0 * inner // (4 * MIN_SLICE)), 1)
    k_slice = max(1, -(-k0 // want))
    return k_slice, max(1, -(-k0 // k_slice))


# ---------------------------------------------------------------------------------------- blocked product


def _blocked(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array, epilogue: Epilogue | None) -> None:
    """Packs what is worth packing, runs ``contract_kernel``, and moves the result if C cannot take it directly."""
    ty, host = p.compute, ctx.host
    m, n, k = size(p.rows), size(p.cols), size(p.ks)
    b_col, c_col = _single(p.cols)[1:]
    unit = 2 if p.pairs else 1
    tile = tile_for(host, ty, m, n * unit)
    if a.ty != ty:
        p, a = _converted(ctx, name, p, a)
    p, a, a_block = _panels_of_a(ctx, name, p, a, tile)
    in_place = b.ty == ty and not p.pairs and n >= tile.cols and b_col == 1 and _keeps_b(ctx, tile, m, n * k)
    b_panel = 0
    if not in_place:
        p, b, b_panel = _packed(ctx, name, p, b, tile)
    row_class = 1 if len(p.rows) <= 1 else 3 if len(p.rows) <= 3 else 4
    k_class = 1 if len(p.ks) <= 1 else 3 if len(p.ks) <= 3 and row_class <= 3 else 4
    batch, rows, ks = _filled(p.batch, 2, 3), _filled(p.rows, row_class, 2), _filled(p.ks, k_class, 2)
    mc = 6 * tile.lanes if a_block else max(tile.mr, min(48, host.l2_bytes // 2 // max(k * ty.itemsize, 1)) // tile.mr * tile.mr)
    row_blocks, panels, groups = -(-m // mc), -(-n * unit // tile.cols), size(batch)
    longest = _longest(ctx, tile, p)
    k_slice, slices = _slices(ks[0][0], groups * row_blocks * panels, k // max(ks[0][0], 1), longest)
    line = max(n * unit, tile.cols)
    direct = slices == 1 and n * unit >= tile.cols and c_col == unit
    out, c_batch, c_rows = c, tuple(d[3] for d in batch), tuple(d[2] for d in rows)
    if not direct:
        out = Array(_scratch(ctx, ty, slices * groups * m * line), ty)
        c_batch, c_rows = (batch[1][0] * m * line, m * line), _row_major(rows, line)
    variant = Contract(tile, out.ty, row_class, k_class)
    fused = epilogue if direct else None
    kernel = ctx.kernel(("contract", variant, fused and fused.key), lambda: contract_kernel(variant, fused))
    values: dict[str, Arg] = {
        "a": a.at, "b": b.at, "c": out.at, "m": m, "mc": mc, "g1_size": batch[1][0], "slices": slices, "row_blocks": row_blocks,
        "panels": panels, "k_slice": k_slice, "last_row": m - mc if a_block else m,
        "last_col": max(n * unit - tile.cols, 0), "a_block": a_block, "a_first": 0 if a_block or row_class > 1 else rows[0][1], "b_panel": b_panel, "b_col": int(in_place),
        "a_slice": k_slice * ks[0][1], "b_slice": k_slice * ks[0][2], "c_slice": groups * m * line,
    }  # fmt: skip
    for g, ((_, a_g, b_g, _), c_g) in enumerate(zip(batch, c_batch)):
        values |= {f"a_g{g}": a_g, f"b_g{g}": b_g, f"c_g{g}": c_g}
    for r, ((n_r, a_r, _), c_r) in enumerate(zip(rows, c_rows)):
        values |= {f"r{r}": n_r, f"a_r{r}": a_r, f"c_r{r}": c_r}
    for i, (n_k, a_k, b_k) in enumerate(ks):
        values |= {f"k{i}": n_k, f"a_k{i}": a_k, f"b_k{i}": b_k}
    total = groups * slices * row_blocks * panels
    nbytes = (groups * m * n * unit) * c.ty.itemsize + groups * (m + n) * k * ty.itemsize
    ns = max(p.flops / FLOPS_PER_NS, nbytes / BYTES_PER_NS) / total
    reads = (a.at, b.at, *(fused.reads if fused else ()))
    _run(ctx, kernel, values | (fused.args if fused else {}), total, ns, name, reads, (out.at,), p.flops, nbytes)
    if not direct:
        dims = [(d[0], s, d[3]) for d, s in zip(batch, c_batch)] + [(d[0], s, d[2]) for d, s in zip(rows, c_rows)]
        dims += [(n, unit, c_col), (unit, 1, 1)]
        move(ctx, f"{name} (store)", tuple(dims), out, c, slices, groups * m * line, epilogue)


def _panels_of_a(ctx: LowerContext, name: str, p: Contraction, a: Array, tile: Tile) -> tuple[Contraction, Array, int]:
    """Packs an A that is stored with k outermost, in blocks of rows; returns their distance, or 0 where A stays in place.

    In place, every step of k would touch another page.
    """
    block = 6 * tile.lanes  # rows; a multiple of every ``mr``
    if len(p.rows) != 1 or len(p.ks) != 1 or p.rows[0][1] != 1 or p.rows[0][0] < block or p.pairs:
        return p, a, 0
    span = p.ks[0][0] * abs(p.ks[0][1]) * tile.ty.itemsize
    if span < ctx.host.l2_bytes // 2 or size(p.cols) < 4 * tile.cols:
        return p, a, 0
    as_b = replace(p, rows=(), cols=tuple((n, s, c) for n, s, c in p.rows), batch=p.transposed().batch, ks=p.transposed().ks)
    packed, array, distance = _packed(ctx, name, as_b, a, Tile(tile.ty, tile.lanes, tile.mr, 6))
    batch = tuple((n, x, b, c) for (n, _, b, c), (_, _, x, _) in zip(_filled(p.batch, 2, 3), packed.batch))
    ks = tuple((n, x, b) for (n, _, b), (_, _, x) in zip(p.ks, packed.ks))
    return replace(p, batch=batch, ks=ks), array, distance


def _longest(ctx: LowerContext, tile: Tile, p: Contraction) -> int:
    """The largest number of k in one slice.

    A panel of B should fit half the second-level cache; a block of rows of A as well, but slices that short are worth
    their partial products only where those are smaller than the operands.
    """
    m, n, k = size(p.rows), size(p.cols), size(p.ks)
    panel = ctx.host.l2_bytes // 2 // (tile.cols * tile.ty.itemsize)
    block = ctx.host.l2_bytes // 2 // (6 * tile.lanes * tile.ty.itemsize)
    return block if m * n <= block * (m + n) and k > block else panel


def _row_major(dims: Dims, step: int) -> tuple[int, ...]:
    """Strides of a dense array of these dimensions, of which an element takes ``step`` places."""
    strides = []
    for d in reversed(dims):
        strides.append(step)
        step *= d[0]
    return tuple(reversed(strides))


def _keeps_b(ctx: LowerContext, tile: Tile, m: int, elements: int) -> bool:
    """Packing B costs a pass over it: too much for few rows, needless where B fits half the first-level cache."""
    return m <= 2 * tile.mr or elements * tile.ty.itemsize <= ctx.host.l1_bytes // 2


def _converted(ctx: LowerContext, name: str, p: Contraction, a: Array) -> tuple[Contraction, Array]:
    """A as a dense array of the compute type, in the order of its memory."""
    dims = tuple(d[:2] for d in (*p.batch, *p.rows, *p.ks))
    order = sorted((i for i, d in enumerate(dims) if d[1] != 0), key=lambda i: -abs(dims[i][1]))
    strides = [0] * len(dims)
    for i, s in zip(order, _row_major(tuple(dims[i] for i in order), 1)):
        strides[i] = s
    copy = Array(_scratch(ctx, p.compute, math.prod(dims[i][0] for i in order)), p.compute)
    move(ctx, f"{name} (convert)", tuple((*dims[i], strides[i]) for i in order), a, copy)
    return _with_a_strides(p, strides), copy


def _with_a_strides(p: Contraction, strides: Sequence[int]) -> Contraction:
    new = iter(strides)
    return replace(
        p,
        batch=tuple((n, next(new), b, c) for n, _, b, c in p.batch),
        rows=tuple((n, next(new), c) for n, _, c in p.rows),
        ks=tuple((n, next(new), b) for n, _, b in p.ks),
    )


def _packed(ctx: LowerContext, name: str, p: Contraction, b: Array, tile: Tile) -> tuple[Contraction, Array, int]:
    """B in panels, the contraction on them, and the distance of two panels.  Ends complex pairs: what is left is real."""
    n, s_col, c_col = _single(p.cols)
    k, unit = size(p.ks), 2 if p.pairs else 1
    cols = tile.cols // unit  # of a panel, before pairs become 2 x 2 blocks
    panels, d_panel = -(-n // cols), k * unit * tile.cols
    layout = "complex" if p.pairs else "narrow" if n < cols else "unit" if s_col == 1 else "any"
    k_dims = 1 if len(p.ks) <= 1 else 4
    batch, ks = _filled(p.batch, 2, 3), _filled(p.ks, k_dims, 2)
    once = tuple(g if d[2] != 0 else 1 for g, d in zip((d[0] for d in batch), batch))  # a B shared by the batch is packed once
    strides = (once[1] * panels * d_panel if once[0] > 1 else 0, panels * d_panel if once[1] > 1 else 0)
    packed = Array(_scratch(ctx, tile.ty, math.prod(once) * panels * d_panel), tile.ty)
    kernel = ctx.kernel(("pack", tile, b.ty, k_dims, layout), lambda: pack_kernel(tile, b.ty, k_dims, layout))
    chunks = -(-k // PACK_CHUNK)
    values: dict[str, Arg] = {
        "src": b.at, "dst": packed.at, "n": n, "k": k, "chunk": PACK_CHUNK, "chunks": chunks, "panels": panels,
        "g1_size": once[1], "last_col": max(n - cols, 0), "s_col": s_col,
        "s_g0": batch[0][2], "s_g1": batch[1][2], "d_g0": strides[0], "d_g1": strides[1], "d_panel": d_panel,
    }  # fmt: skip
    for i, (n_k, _, s_k) in enumerate(ks):
        values |= {f"k{i}": n_k, f"s_k{i}": s_k}
    elements = math.prod(once) * panels * d_panel
    nbytes = math.prod(once) * k * n * unit * b.ty.itemsize + elements * tile.ty.itemsize
    total = once[0] * once[1] * chunks
    ns = max(nbytes / BYTES_PER_NS, 0.0 if layout == "unit" else elements * 0.4) / max(total, 1)
    if total:
        _run(ctx, kernel, values, total, ns, f"{name} (pack)", (b.at,), (packed.at,), nbytes=nbytes)
    inner = _row_major(p.ks, tile.cols * unit)
    new_ks = [(n_k, a_k, s) for (n_k, a_k, _), s in zip(p.ks, inner)]
    if p.pairs:
        last = new_ks.pop() if new_ks else (1, 2, 0)
        new_ks.append((2 * last[0], 1, tile.cols))
    new_batch = tuple((*d[:2], s, d[3]) for d, s in zip(batch, strides))
    return replace(p, batch=new_batch, ks=tuple(new_ks)), packed, d_panel
