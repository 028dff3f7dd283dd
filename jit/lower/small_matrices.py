"""Many small matrices: products, factors and solutions written out, with one matrix in each lane of a vector.

A call of LAPACK for a 3 x 3 matrix takes longer than its arithmetic by an order of magnitude, and a product of such matrices fills
no vector.  Where there are many of them, element (i, j) of as many matrices as a vector has lanes is one value here, and the whole
computation stands in one loop over the batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from fx import dtypes
from fx.sizes import is_sized

from ..cost import chunk_for
from ..kernels.microkernel import multiply_add
from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Ref, Ty, b1, i32, op_, select
from .contraction import FLOPS_PER_NS, Array, Contraction, Dims, run, size
from .registry import LowerContext, Operand
from .types import ty_of

__all__ = ["factor_cholesky", "factor_lu", "is_batchwise", "multiply", "solve_triangular", "suits"]

LARGEST = 4  # rows and columns
MOST_PRODUCTS = 64  # of an element of the batch
VECTORS = 2  # of matrices, at least
Matrix = list[list[Ref]]


def _enough(ctx: LowerContext, count: int, ty: Ty) -> bool:
    return count >= VECTORS * ctx.host.lanes(ty)


# ----------------------------------------------------------------------------------------- products


def is_batchwise(ctx: LowerContext, p: Contraction, a: Array, b: Array) -> bool:
    """Whether ``p``, in normal form, is a batch of products that are small enough to be written out."""
    if p.pairs or not a.ty == b.ty == p.compute or len(p.batch) != 1:
        return False
    dims = (*p.rows, *p.cols, *p.ks)
    strides = p.batch[0][1:]
    if any(is_sized(x) for d in dims for x in d) or any(is_sized(s) for s in strides):
        return False
    products = math.prod(d[0] for d in dims)
    return 0 < products <= MOST_PRODUCTS and _enough(ctx, size(p.batch), p.compute)


def multiply(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array) -> None:
    (count, a_g, b_g, c_g) = p.batch[0]
    rows, cols, ks = _places(p.rows, 2), _places(p.cols, 2), _places(p.ks, 2)
    key = ("batchwise", p.compute, c.ty, (a_g, b_g, c_g), tuple(rows), tuple(cols), tuple(ks))
    kernel = ctx.kernel(key, lambda: _product_kernel(p.compute, c.ty, (a_g, b_g, c_g), rows, cols, ks))
    products = len(rows) * len(cols) * len(ks)
    nbytes = count * (len(rows) * len(ks) + len(ks) * len(cols) + len(rows) * len(cols)) * p.compute.itemsize
    run(
        ctx, kernel, {"a": a.at, "b": b.at, "c": c.at}, count, 8 * products / FLOPS_PER_NS, name, (a.at, b.at), (c.at,), p.flops,
        nbytes, 64,
    )  # fmt: skip


def _places(dims: Dims, arrays: int) -> list[tuple[int, ...]]:
    """The offsets, in each array, of every index of a nest of dimensions."""
    return [
        tuple(sum(i * d[1 + k] for i, d in zip(index, dims)) for k in range(arrays))
        for index in itertools.product(*(range(d[0]) for d in dims))
    ]


def _product_kernel(
    ty: Ty, c_ty: Ty, strides: tuple[int, ...], rows: Sequence[tuple[int, ...]], cols: Sequence[tuple[int, ...]],
    ks: Sequence[tuple[int, ...]],
) -> Kernel:  # fmt: skip
    b = KernelBuilder(f"batchwise_{ty}_{len(rows)}x{len(ks)}x{len(cols)}")
    x, y, out = b.pointer("a", ty), b.pointer("b", ty), b.pointer("c", c_ty)
    with b.for_("g", b.lo, b.hi, vectorize=True) as g:
        at_x, at_y, at_out = (b.let("at", g * s) for s in strides)
        left = [[b.let("x", b.load(x, at_x + (r[0] + k[0]))) for k in ks] for r in rows]
        right = [[b.let("y", b.load(y, at_y + (k[1] + j[0]))) for j in cols] for k in ks]
        for r, of_row in zip(rows, left):
            for j, column in enumerate(cols):
                total: Expr = of_row[0] * right[0][j]
                for factor, of_k in zip(of_row[1:], right[1:]):
                    total = multiply_add(factor, of_k[j], total)
                b.store(out, at_out + (r[1] + column[1]), total.cast(c_ty))
    return b.build()


# ------------------------------------------------------------------------------ factors and solutions


def suits(ctx: LowerContext, x: Operand, *sides: int) -> bool:
    """Whether there are many matrices of ``x``, real and with sides as short as these."""
    if x.dtype not in (dtypes.float32, dtypes.float64) or any(is_sized(n) for n in sides):
        return False
    return all(0 < n <= LARGEST for n in sides) and _enough(ctx, math.prod(x.shape[:-2]), ty_of(x.dtype))


def factor_lu(ctx: LowerContext, a: Operand, out: Operand, pivots: Operand) -> None:
    """LU with partial pivoting, as LAPACK's getrf: the first of the largest is the pivot, and a column of zeros stays."""
    m, n = a.shape[-2:]
    a, ty = ctx.contiguous(a), ty_of(a.dtype)
    kernel = ctx.kernel(("small lu", ty, m, n), lambda: _lu_kernel(ty, m, n))
    count = a.size // (m * n)
    flops = 2 * m * n * min(m, n)
    ctx.step(
        kernel, (a, out, pivots), count, chunk_for(count, 8 * flops / FLOPS_PER_NS, 64), "lu", flops=count * flops,
        nbytes=2 * a.size * a.dtype.itemsize, reads=(a,), writes=(out, pivots),
    )  # fmt: skip


def _lu_kernel(ty: Ty, m: int, n: int) -> Kernel:
    """A matrix in which a NaN appears is NaN, and its pivots are in order."""
    b = KernelBuilder(f"small_lu_{ty}_{m}x{n}")
    a, out, pivots = b.pointer("a", ty), b.pointer("out", ty), b.pointer("pivots", i32)
    k = min(m, n)
    with b.for_("g", b.lo, b.hi, vectorize=True) as g:
        at = b.let("at", g * (m * n))
        x = [[b.let("x", b.load(a, at + (i * n + j))) for j in range(n)] for i in range(m)]
        chosen = [_eliminate(b, x, step) for step in range(k)]
        odd = _any_nan(b, x)
        for i in range(m):
            for j in range(n):
                b.store(out, at + (i * n + j), select(odd, Const(math.nan, ty), x[i][j]))
        at_pivots = b.let("at_pivots", g * k)
        for step, pivot in enumerate(chosen):
            b.store(pivots, at_pivots + step, select(odd, Const(step, i32), pivot))
    return b.build()


def _eliminate(b: KernelBuilder, x: Matrix, k: int) -> Expr:
    """One step of Gauss's elimination, in place; returns the row that was exchanged with row k."""
    m, n = len(x), len(x[0])
    pivot: Expr = Const(k, i32)
    most = b.let("most", op_("abs", x[k][k]))
    for i in range(k + 1, m):
        size_ = b.let("size", op_("abs", x[i][k]))
        larger = b.let("larger", size_ > most)
        most = b.let("most", select(larger, size_, most))
        pivot = b.let("pivot", select(larger, Const(i, i32), pivot))
    for i in range(k + 1, m):
        here = b.let("here", pivot.eq(i))
        for j in range(n):
            x[k][j], x[i][j] = (
                b.let("x", select(here, x[i][j], x[k][j])), b.let("x", select(here, x[k][j], x[i][j])),
            )  # fmt: skip
    nothing = b.let("nothing", x[k][k].eq(0.0))
    for i in range(k + 1, m):
        x[i][k] = b.let("x", select(nothing, x[i][k], x[i][k] / x[k][k]))
        for j in range(k + 1, n):
            x[i][j] = b.let("x", multiply_add(-x[i][k], x[k][j], x[i][j]))
    return pivot


def factor_cholesky(ctx: LowerContext, a: Operand, out: Operand) -> None:
    """Of the lower triangle, as LAPACK's potrf; a matrix that is not positive definite gives NaN."""
    n = a.shape[-1]
    a, ty = ctx.contiguous(a), ty_of(a.dtype)
    kernel = ctx.kernel(("small cholesky", ty, n), lambda: _cholesky_kernel(ty, n))
    count, flops = a.size // (n * n), n**3
    ctx.step(
        kernel, (a, out), count, chunk_for(count, 8 * flops / FLOPS_PER_NS, 64), "cholesky", flops=count * flops,
        nbytes=2 * a.size * a.dtype.itemsize, reads=(a,), writes=(out,),
    )  # fmt: skip


def _cholesky_kernel(ty: Ty, n: int) -> Kernel:
    b = KernelBuilder(f"small_cholesky_{ty}_{n}")
    a, out = b.pointer("a", ty), b.pointer("out", ty)
    with b.for_("g", b.lo, b.hi, vectorize=True) as g:
        at = b.let("at", g * (n * n))
        factor: dict[tuple[int, int], Ref] = {}
        good: Expr = Const(True, b1)
        for j in range(n):
            for i in range(j, n):
                total: Expr = b.load(a, at + (i * n + j))
                for k in range(j):
                    total = multiply_add(-factor[i, k], factor[j, k], total)
                total = b.let("total", total)
                if i == j:
                    good = total > 0.0 if j == 0 else good & (total > 0.0)
                    factor[j, j] = b.let("root", op_("sqrt", total))
                else:
                    factor[i, j] = b.let("factor", total / factor[j, j])
        good = b.let("good", good)
        for i in range(n):
            for j in range(n):
                value = Const(0.0, ty) if j > i else select(good, factor[i, j], Const(math.nan, ty))
                b.store(out, at + (i * n + j), value)
    return b.build()


def _any_nan(b: KernelBuilder, x: Matrix) -> Expr:
    found = [v.ne(v) for row in x for v in row]
    total: Expr = found[0]
    for one in found[1:]:
        total = total | one
    return b.let("odd", total)


def solve_triangular(
    ctx: LowerContext, a: Operand, rhs: Operand, out: Operand, left: bool, lower: bool, transposed: bool, unit: bool
) -> None:
    """``op(A) X = B`` or ``X op(A) = B`` by substitution, as LAPACK's trsm."""
    n, (m, k) = a.shape[-1], rhs.shape[-2:]
    a, rhs, ty = ctx.contiguous(a), ctx.contiguous(rhs), ty_of(a.dtype)
    key = (ty, n, m, k, left, lower, transposed, unit)
    kernel = ctx.kernel(("small triangular solve", *key), lambda: _solve_kernel(*key))
    count = a.size // (n * n)
    flops = n * m * k
    ctx.step(
        kernel, (a, rhs, out), count, chunk_for(count, 8 * flops / FLOPS_PER_NS, 64), "triangular_solve", flops=count * flops,
        nbytes=(a.size + 2 * rhs.size) * a.dtype.itemsize, reads=(a, rhs), writes=(out,),
    )  # fmt: skip


def _solve_kernel(ty: Ty, n: int, m: int, k: int, left: bool, lower: bool, transposed: bool, unit: bool) -> Kernel:
    """X op(A) = B is op(A)^T X^T = B^T."""
    b = KernelBuilder(f"small_triangular_solve_{ty}_{m}x{k}")
    a, rhs, out = b.pointer("a", ty), b.pointer("b", ty), b.pointer("out", ty)
    turned = transposed if left else not transposed
    forward = lower is not turned  # the triangle of the matrix that stands on the left
    with b.for_("g", b.lo, b.hi, vectorize=True) as g:
        at_a, at = b.let("at_a", g * (n * n)), b.let("at", g * (m * k))
        read = [(i, j) for i in range(n) for j in range(n) if (i > j if lower else i < j) or (i == j and not unit)]
        x = {(i, j): b.let("x", b.load(a, at_a + (i * n + j))) for i, j in read}
        element = lambda i, j: x[(j, i) if turned else (i, j)]
        order = range(n) if forward else range(n - 1, -1, -1)
        for column in range(k if left else m):
            found: dict[int, Ref] = {}
            for i in order:
                place = i * k + column if left else column * k + i
                total: Expr = b.load(rhs, at + place)
                for j, known in found.items():
                    total = multiply_add(-element(i, j), known, total)
                found[i] = b.let("found", total if unit else total / element(i, i))
                b.store(out, at + place, found[i])
    return b.build()
