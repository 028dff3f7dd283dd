"""Chooses how a strided contraction (``contraction.py``) is computed, and appends its steps."""

from __future__ import annotations

from ..kernels.microkernel import Epilogue
from ..loop_ir import Ty
from .contract_blocked import blocked, lanewise
from .contract_streamed import axpy, dots, prefers_axpy, prefers_dots
from .contraction import Array, Contraction, move, normal, row_major, scratch, size, with_a_strides
from .registry import LowerContext

__all__ = ["contract", "fits"]


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
    if epilogue is not None:
        return blocked(ctx, name, p, a, b, c, epilogue)
    if p.pairs:
        p, a = _pairs_innermost(ctx, name, p, a)
        return blocked(ctx, name, p, a, b, c)
    lane = _lane(ctx, p, a, b)
    if lane is not None:
        return lanewise(ctx, name, p, a, b, c, lane)
    if prefers_dots(ctx, p, a, b):
        return dots(ctx, name, p, a, b, c)
    if not p.cols and len(p.rows) == 1 and p.rows[0][1] == 1:
        p, a, b = normal(p.transposed()), b, a  # a vector times a matrix whose rows are contiguous
    if prefers_axpy(ctx, p, a, b):
        return axpy(ctx, name, p, a, b, c)
    return blocked(ctx, name, p, a, b, c)


def fits(p: Contraction) -> bool:
    """Whether the kernels have enough loops for ``p`` without a copy of an operand."""
    p = normal(p)
    return len(p.batch) <= 2 and len(p.rows) <= 4 and len(p.ks) <= 4


def _lane(ctx: LowerContext, p: Contraction, a: Array, b: Array) -> int | None:
    """The batch dimension to vectorise over, where there are no columns: it is contiguous in A."""
    if p.cols or len(p.batch) > 3 or not a.ty == b.ty == p.compute:
        return None
    wide = [i for i, (n, a_stride, _, _) in enumerate(p.batch) if a_stride == 1 and n >= ctx.host.lanes(p.compute)]
    return wide[0] if wide else None


def _arithmetic(ty: Ty, compute: Ty) -> Ty:
    """``ty``, or the compute type where the bits mean the same: sums and products of integers wrap."""
    return compute if ty.kind in "iu" and compute.kind in "iu" and ty.bits == compute.bits else ty


def _pairs_innermost(ctx: LowerContext, name: str, p: Contraction, a: Array) -> tuple[Contraction, Array]:
    """Copies A, with k innermost, unless the (re, im) pairs of consecutive k lie side by side."""
    if a.ty == p.compute and (not p.ks or p.ks[-1][1] == 2):
        return p, a
    dims = tuple(d[:2] for d in (*p.batch, *p.rows, *p.ks))
    kept = tuple(d for d in dims if d[1] != 0)
    dense = iter(row_major(kept, 2))
    strides = [next(dense) if d[1] != 0 else 0 for d in dims]
    copy = Array(scratch(ctx, p.compute, 2 * size(kept)), p.compute)
    moved = tuple((*d, s) for d, s in zip(dims, strides) if d[1] != 0)
    move(ctx, f"{name} (copy)", (*moved, (2, 1, 1)), a, copy)
    return with_a_strides(p, strides), copy
