"""Strided contractions: what they are, and the small steps that all of them share.

    C[g, r, j] = sum_k  A[g, r, k] * B[g, k, j]

Each of g, r, j and k is a nest of dimensions with one stride in each array that it indexes.  ``dot_general`` is one
contraction.  So is a convolution: the rows are the output pixels, k is the window and the channels, and since both
move through the image by strides, A is the image itself.

``contract.py`` chooses how to compute one; the plan is a function of shapes and the host only, and every element of C
is computed by one piece with one order of k, so the result has the same bits on any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Union

from fx.errors import GraphError
from fx.sizes import is_sized

from ..cost import PIECE_NS, chunk_for
from ..kernels.gemm import combine_kernel
from ..loop_ir import Ty
from .loops import coalesce
from .registry import Address, Arg, Items, KernelHandle, LowerContext, Operand

__all__ = [
    "Array", "BYTES_PER_NS", "Contraction", "Dims", "FLOPS_PER_NS", "filled", "move", "normal", "row_major", "run", "scratch",
    "single", "size", "with_a_strides",
]  # fmt: skip

Dims = tuple[tuple[int, ...], ...]
Place = Union[Operand, Address]

FLOPS_PER_NS = 60.0  # of one core, for the sizes of pieces
BYTES_PER_NS = 10.0


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


def normal(p: Contraction, keep_rows: bool = False) -> Contraction:
    """Merges dimensions, orders rows and k by their stride in A, and leaves at most one dimension of columns."""

    def by_a(dims: Dims) -> list[tuple[int, ...]]:
        return sorted((d for d in dims if d[0] != 1), key=lambda d: -abs(d[1]))

    cols = coalesce(p.cols)
    outer = tuple((n, 0, b, c) for n, b, c in cols[:-1])
    rows = coalesce(p.rows if keep_rows else by_a(p.rows))
    empty = any(not is_sized(d[0]) and d[0] == 0 for d in p.ks)  # loops around one of no rounds would go round in vain
    ks = ((0, 0, 0),) if empty else tuple(coalesce(by_a(p.ks)))
    return replace(p, batch=tuple(coalesce(p.batch + outer)), rows=tuple(rows), cols=tuple(cols[-1:]), ks=ks)


def single(dims: Dims) -> tuple[int, ...]:
    """The only dimension, or one of size 1."""
    if len(dims) > 1:
        raise GraphError(f"{dims} should have been merged")
    return dims[0] if dims else (1, 0, 0)


# --------------------------------------------------------------------------------------------- helpers


def run(
    ctx: LowerContext, kernel: KernelHandle, values: dict[str, Arg], total: int, ns: float, name: str, reads: tuple[Place, ...],
    writes: tuple[Place, ...], flops: int = 0, nbytes: int = 0, align: int = 1, least: float = PIECE_NS,
    items: Items | None = None,
) -> None:  # fmt: skip
    """A step with the arguments by parameter name, unless it has nothing to do; ``ns`` is the estimated time of one index."""
    if total == 0:
        return
    args = tuple(values[param.name] for param in kernel.kernel.params)
    ctx.step(
        kernel,
        args,
        total,
        chunk_for(total, ns, align, least),
        name,
        flops=flops,
        nbytes=nbytes,
        reads=reads,
        writes=writes,
        items=items,
    )


def filled(dims: Dims, count: int, arrays: int) -> Dims:
    """``dims`` (strides in that many arrays) with dimensions of size 1 in front."""
    if len(dims) > count:
        raise GraphError(f"{len(dims)} dimensions where the kernel has loops for {count}")
    return ((1,) + (0,) * arrays,) * (count - len(dims)) + dims


def row_major(dims: Dims, step: int) -> tuple[int, ...]:
    """Strides of a dense array of these dimensions, of which an element takes ``step`` places."""
    strides = []
    for d in reversed(dims):
        strides.append(step)
        step *= d[0]
    return tuple(reversed(strides))


def with_a_strides(p: Contraction, strides: Sequence[int]) -> Contraction:
    new = iter(strides)
    return replace(
        p,
        batch=tuple((n, next(new), b, c) for n, _, b, c in p.batch),
        rows=tuple((n, next(new), c) for n, _, c in p.rows),
        ks=tuple((n, next(new), b) for n, _, b in p.ks),
    )


def scratch(ctx: LowerContext, ty: Ty, elements: int) -> Address:
    return ctx.scratch(-(-max(elements, 1) * ty.itemsize // 64) * 64)


def move(
    ctx: LowerContext, name: str, dims: Dims, src: Array, dst: Array, slices: int = 1, slice_stride: int = 0,
) -> None:  # fmt: skip
    """``dst[i] = sum_s src[s, i]`` over any strides; ``dims``: (size, stride in src, stride in dst), outermost first."""
    merged = tuple(coalesce(dims)) or ((1, 1, 1),)
    inner = merged[-1]
    unit = inner[1:] == (1, 1)
    count = 2 if len(merged) <= 3 else 9
    outer = filled(merged[:-1], count, 2)
    lanes = ctx.host.lanes(src.ty)
    sums = is_sized(slices) or slices > 1
    kernel = ctx.kernel(
        ("combine", src.ty, lanes, dst.ty, count, unit, sums),
        lambda: combine_kernel(src.ty, lanes, dst.ty, count, unit, sums),
    )
    values: dict[str, Arg] = {
        "parts": src.at, "c": dst.at, "n": inner[0], "slices": slices, "s_slice": slice_stride, "s_col": inner[1], "c_col": inner[2],
    }  # fmt: skip
    for d, (n, s, c) in enumerate(outer):
        values |= {f"i{d}": n, f"s_i{d}": s, f"c_i{d}": c}
    total = size(merged)
    width = src.ty.itemsize * slices + dst.ty.itemsize
    ns = width / BYTES_PER_NS if unit else 1.0 + 0.3 * slices
    run(ctx, kernel, values, total, ns, name, (src.at,), (dst.at,), flops=total * (slices - 1), nbytes=total * width)
