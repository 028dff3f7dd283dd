"""Many products of small matrices, written out with one in each lane of a vector.

A product of 3 x 3 matrices fills no vector.  Where there are many of them, element (i, j) of as many matrices as a vector has lanes is
one value here, and the whole product stands in one loop over the batch.  (Factors and solutions: ``small_matrices.py``.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from ..kernels.microkernel import multiply_add
from ..loop_builder import KernelBuilder
from ..loop_ir import Expr, Kernel, Ty
from .contraction import FLOPS_PER_NS, Array, Contraction, Dims, run, size
from .registry import LowerContext

__all__ = ["is_batchwise", "multiply"]

MOST_PRODUCTS = 64  # of an element of the batch
VECTORS = 2  # of matrices, at least


def is_batchwise(ctx: LowerContext, p: Contraction) -> bool:
    """Whether ``p``, in normal form, is a batch of products that are small enough to be written out.

    It has sums of its own, so sizes that vary must not decide otherwise than the same ones that do not: they are asked.
    """
    if len(p.batch) != 1:
        return False
    products = math.prod(d[0] for d in (*p.rows, *p.cols, *p.ks))
    return 0 < products <= MOST_PRODUCTS and bool(size(p.batch) >= VECTORS * ctx.host.lanes(p.compute))


def multiply(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array) -> None:
    count = p.batch[0][0]
    a_g, b_g, c_g = map(int, p.batch[0][1:])  # they stand in the kernel: sizes that they follow from vary no longer
    rows, cols, ks = (_places(dims) for dims in (p.rows, p.cols, p.ks))
    types, strides = (a.ty, b.ty, p.compute, c.ty), (a_g, b_g, c_g)
    key = ("batchwise", p.pairs, types, strides, tuple(rows), tuple(cols), tuple(ks))
    make = _complex_kernel if p.pairs else _product_kernel
    kernel = ctx.kernel(key, lambda: make(types, strides, rows, cols, ks))
    products = len(rows) * len(cols) * len(ks) * (4 if p.pairs else 1)
    elements = len(rows) * len(ks), len(ks) * len(cols), len(rows) * len(cols)
    nbytes = count * sum(n * x.ty.itemsize for n, x in zip(elements, (a, b, c))) * (2 if p.pairs else 1)
    run(
        ctx, kernel, {"a": a.at, "b": b.at, "c": c.at}, count, 8 * products / FLOPS_PER_NS, name, (a.at, b.at), (c.at,), p.flops,
        nbytes, 64,
    )  # fmt: skip


def _places(dims: Dims) -> list[tuple[int, ...]]:
    """The offsets, in each of the two arrays, of every index of a nest of dimensions."""
    return [
        tuple(int(sum(i * d[1 + k] for i, d in zip(index, dims))) for k in range(2))
        for index in itertools.product(*(range(d[0]) for d in dims))
    ]


Types = tuple[Ty, Ty, Ty, Ty]  # of A, of B, of products and sums, of C
Places = Sequence[tuple[int, ...]]


def _product_kernel(types: Types, strides: tuple[int, ...], rows: Places, cols: Places, ks: Places) -> Kernel:
    x_ty, y_ty, ty, c_ty = types
    b = KernelBuilder(f"batchwise_{ty}_{len(rows)}x{len(ks)}x{len(cols)}")
    x, y, out = b.pointer("a", x_ty), b.pointer("b", y_ty), b.pointer("c", c_ty)
    with b.for_("g", b.lo, b.hi, vectorize=True) as g:
        at_x, at_y, at_out = (b.let("at", g * s) for s in strides)
        left = [[b.let("x", b.load(x, at_x + (r[0] + k[0])).cast(ty)) for k in ks] for r in rows]
        right = [[b.let("y", b.load(y, at_y + (k[1] + j[0])).cast(ty)) for j in cols] for k in ks]
        for r, of_row in zip(rows, left):
            for j, column in enumerate(cols):
                total: Expr = of_row[0] * right[0][j]
                for factor, of_k in zip(of_row[1:], right[1:]):
                    total = multiply_add(factor, of_k[j], total)
                b.store(out, at_out + (r[1] + column[1]), total.cast(c_ty))
    return b.build()


def _complex_kernel(types: Types, strides: tuple[int, ...], rows: Places, cols: Places, ks: Places) -> Kernel:
    x_ty, y_ty, ty, c_ty = types
    b = KernelBuilder(f"batchwise_complex_{ty}_{len(rows)}x{len(ks)}x{len(cols)}")
    x, y, out = b.pointer("a", x_ty), b.pointer("b", y_ty), b.pointer("c", c_ty)

    def pair(name: str, buf: str, at: Expr) -> tuple[Expr, Expr]:
        return b.let(name, b.load(buf, at).cast(ty)), b.let(name, b.load(buf, at + 1).cast(ty))

    with b.for_("g", b.lo, b.hi, vectorize=True) as g:
        at_x, at_y, at_out = (b.let("at", g * s) for s in strides)
        left = [[pair("x", x, at_x + (r[0] + k[0])) for k in ks] for r in rows]
        right = [[pair("y", y, at_y + (k[1] + j[0])) for j in cols] for k in ks]
        for r, of_row in zip(rows, left):
            for j, column in enumerate(cols):
                re: Expr | None = None
                im: Expr | None = None
                for (u, v), of_k in zip(of_row, right):
                    s, t = of_k[j]
                    re = multiply_add(-v, t, u * s if re is None else multiply_add(u, s, re))
                    im = multiply_add(v, s, u * t if im is None else multiply_add(u, t, im))
                for k, part in enumerate((re, im)):
                    assert part is not None
                    b.store(out, at_out + (r[1] + column[1] + k), part.cast(c_ty))
    return b.build()
