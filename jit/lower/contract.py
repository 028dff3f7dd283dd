"""Chooses how a strided contraction (``contraction.py``) is computed, and appends its steps."""

from __future__ import annotations

from ..kernels.microkernel import Epilogue
from ..loop_ir import Ty
from .contract_blocked import blocked, gains_exchanged, lanewise
from .contract_pixels import pixels, prefers_pixels
from .contract_streamed import (
    axpy,
    dots,
    prefers_axpy,
    prefers_dots,
    prefers_thin,
    prefers_window_dots,
    thin,
    window_dots,
)
from .contraction import Array, Contraction, move, normal, row_major, scratch, size, with_a_strides
from .conv_geometry import ImageSource
from .registry import LowerContext
from .small_products import is_batchwise, multiply

__all__ = ["contract", "fits", "is_blocked"]

_PACKED_BELOW = 256  # values of k: packing fewer takes less time than a step that reads a thin C again does


def contract(
    ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array, epilogue: Epilogue | None = None,
    image: ImageSource | None = None,
) -> bool:  # fmt: skip
    """Appends the steps that compute C.  A and B must not overlap C.

    Args:
        name: what the steps are called in profiles.
        epilogue: what to do with C instead of storing it, where the product is computed in blocks.
        image: what A is, where it is blocked and copies slabs (``copies_slabs``).

    Returns:
        Whether the epilogue was taken; otherwise C is in memory.
    """
    if size(p.batch) * size(p.rows) * size(p.cols) == 0:
        return False
    a, b, c = (Array(x.at, _arithmetic(x.ty, p.compute)) for x in (a, b, c))
    ordered = normal(p, keep_rows=True)
    p = normal(p)
    if is_batchwise(ctx, p):
        multiply(ctx, name, p, a, b, c)
        return False
    if p.pairs:
        _of_pairs(ctx, name, p, a, b, c)
        return False
    lane = _lane(ctx, p, a, b)
    if lane is not None:
        lanewise(ctx, name, p, a, b, c, lane)
    elif prefers_dots(ctx, p, a, b):
        dots(ctx, name, p, a, b, c)
    elif prefers_window_dots(ctx, p, a, b):
        window_dots(ctx, name, p, a, b, c)
    elif prefers_pixels(ctx, p, a, b, c):
        pixels(ctx, name, p, a, b, c)
    else:
        if not p.cols and len(p.rows) == 1 and p.rows[0][1] == 1:
            p, a, b = normal(p.transposed()), b, a  # a vector times a matrix whose rows are contiguous
        joins = epilogue is not None and c.ty == p.compute and _is_dense(ordered)
        if not (joins and size(p.ks) < _PACKED_BELOW) and _is_thin(ctx, name, p, a, b, c):
            return False
        if not prefers_axpy(ctx, p, a, b):
            if gains_exchanged(ctx, p):
                p, a, b = normal(p.transposed()), b, a
            elif joins:
                return blocked(ctx, name, ordered, a, b, c, epilogue, image=image)
            return blocked(ctx, name, p, a, b, c, image=image)
        axpy(ctx, name, p, a, b, c)
    return False


def _is_thin(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array) -> bool:
    """Computes C by ``thin``, if the product is that thin: the fewer of its rows and columns as rows, if both may be."""
    ways = [way for way in ((p, a, b), (normal(p.transposed()), b, a)) if prefers_thin(ctx, *way)]
    if not ways:
        return False
    thin(ctx, name, *(ways[0] if len(ways) == 1 or size(p.rows) <= size(p.cols) else ways[1]), c)
    return True


def _of_pairs(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array) -> None:
    """A product of complex numbers."""
    if prefers_dots(ctx, p, a, b):
        return dots(ctx, name, p, a, b, c)
    if _is_thin(ctx, name, p, a, b, c):
        return None
    if prefers_axpy(ctx, p, a, b):
        return axpy(ctx, name, p, a, b, c)
    exchanged = normal(p.transposed())
    if prefers_axpy(ctx, exchanged, b, a):
        return axpy(ctx, name, exchanged, b, a, c)
    p, a = _pairs_innermost(ctx, name, p, a)
    blocked(ctx, name, p, a, b, c)
    return None


def is_blocked(ctx: LowerContext, p: Contraction, a: Array, b: Array) -> bool:
    """Whether the register-blocked kernel would compute ``p``, with A as the rows."""
    p, a, b = normal(p), Array(a.at, _arithmetic(a.ty, p.compute)), Array(b.at, _arithmetic(b.ty, p.compute))
    others = prefers_dots(ctx, p, a, b) or prefers_window_dots(ctx, p, a, b) or prefers_axpy(ctx, p, a, b)
    others = others or prefers_thin(ctx, p, a, b) or prefers_thin(ctx, normal(p.transposed()), b, a)
    turned = not p.cols and len(p.rows) == 1 and p.rows[0][1] == 1
    others = others or is_batchwise(ctx, p) or prefers_pixels(ctx, p, a, b, Array(a.at, p.compute))
    return not (others or turned or p.pairs or _lane(ctx, p, a, b) is not None)


def _is_dense(p: Contraction) -> bool:
    """Whether C is a dense matrix of (batch, rows) by columns, in that order."""
    dims = [(d[0], d[-1]) for d in (*p.batch, *p.rows, *p.cols)]
    return len(p.cols) == 1 and [s for _, s in dims] == list(row_major(tuple((n,) for n, _ in dims), 1))


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
