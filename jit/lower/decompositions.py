"""Matrix factorisations and solves: which LAPACK routines compute what, and what their INFO means.

A routine that finds no factor (INFO > 0), and a matrix with NaN or infinities where a routine might iterate for ever, give
NaN for that matrix.  Without a LAPACK in reach the NumPy reference is called back, and ``explain()`` says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fx import dtypes
from fx.ir import Eqn

from ..cost import chunk_for
from ..lapack import Routine, workspace
from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Kernel, Ty, i32, i64, maximum, minimum, select
from .copies import copy_strided
from .lapack_kernel import Job, Writer, as_rows, find, run, uniform
from .loops import const
from .registry import LowerContext, Operand, lowers
from .small_matrices import cholesky_in_lanes, lu_in_lanes, triangular_solve_in_lanes
from .types import ty_of

__all__ = ["Operands", "compute_dtype", "elements", "flops_of", "lowers_to", "matrix_of", "real_type", "write_identity"]

Operands = tuple[Operand, ...]
Rule = Callable[[LowerContext, Eqn, Operands, Operands, tuple[Routine, ...]], None]


def compute_dtype(eqn: Eqn) -> np.dtype:
    """The dtype in which an equation is computed: that of its operand, but double precision where it gives vectors.

    NumPy computes in double precision always.  Vectors have a sign that hangs on rounding errors, as does the order of the
    eigenvalues of a general matrix; in single precision they would differ from those of the uncompiled program.
    """
    dtype = eqn.inputs[0].aval.dtype
    if eqn.prim.name not in ("svd", "eigh", "eig") or (len(eqn.outputs) == 1 and eqn.prim.name != "eig"):
        return dtype
    return dtypes.complex128 if dtypes.is_complex(dtype) else dtypes.float64


def lowers_to(name: str, *routines: str) -> Callable[[Rule], Rule]:
    """Registers a lowering that calls these LAPACK routines; the reference, called back, stands in for missing ones."""

    def give(rule: Rule) -> Rule:
        @lowers(name)
        def lowering(ctx: LowerContext, eqn: Eqn, ins: Operands, outs: Operands) -> None:
            found = find(compute_dtype(eqn), *routines)
            if found is None:
                ctx.call_reference(eqn, ins, outs, f"no LAPACK with {' and '.join(routines)} was found")
            else:
                rule(ctx, eqn, ins, outs, found)

        return rule

    return give


def real_type(dtype: np.dtype) -> Ty:
    return ty_of(dtypes.real_dtype(dtype))


def _words(dtype: np.dtype) -> int:
    return 2 if dtypes.is_complex(dtype) else 1


def flops_of(dtype: np.dtype) -> float:
    """Real flops of a multiply-add."""
    return 4.0 if dtypes.is_complex(dtype) else 1.0


def matrix_of(x: Operand) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]


def elements(dtype: np.dtype, count: int) -> tuple[Ty, int]:
    """A work array of so many elements of a dtype."""
    return real_type(dtype), count * _words(dtype)


def _identity_kernel(real: Ty, words: int) -> Kernel:
    b = KernelBuilder("identity")
    out, m, n = b.pointer("out", real), b.integer("m"), b.integer("n")
    with b.for_("k", b.lo, b.hi) as k, b.for_("i", const(0), m) as i, b.for_("j", const(0), n) as j:
        for part in range(words):
            b.store(
                out, ((k * m + i) * n + j) * words + part, select(i.eq(j), Const(1.0 - part, real), Const(0.0, real))
            )
    return b.build()


def write_identity(ctx: LowerContext, out: Operand) -> None:
    """What an orthonormal basis of matrices without elements is."""
    if not out.size:
        return
    (m, n), key = matrix_of(out), (real_type(out.dtype), 2 if dtypes.is_complex(out.dtype) else 1)
    kernel = ctx.kernel(("identity", *key), lambda: _identity_kernel(*key))
    total = out.size // (m * n)
    ctx.step(kernel, (out, m, n), total, chunk_for(total, 1.0 * m * n), "identity", nbytes=out.size, writes=(out,))


# ----------------------------------------------------------------------------------------- cholesky


@lowers_to("cholesky", "potrf")
def _cholesky(ctx: LowerContext, eqn: Eqn, ins: Operands, outs: Operands, routines: tuple[Routine, ...]) -> None:
    """In place: row by row, L is what Fortran sees as the upper triangle of the transposed matrix."""
    a, n = ins[0], ins[0].shape[-1]
    if cholesky_in_lanes(ctx, a, outs[0]):
        return

    def body(w: Writer) -> None:
        b, size, target = w.b, w.size("n"), w.outs[0]
        with b.for_("i", const(0), size) as i, b.for_("j", const(0), size) as j:
            start, to = b.let("from_", w.ins[0].at(w.k, i, j)), b.let("to", target.at(w.k, i, j))
            for part in range(w.words):
                v = b.load(w.ins[0].pointer, start + part)
                b.store(target.pointer, to + part, select(j > i, Const(0.0, w.real), v))
        info = w.call(0, "U", size, b.place(target.pointer, target.at(w.k)), size, None)
        odd = b.var("nan", Const(0.0, w.real))
        with b.for_("i", const(0), size) as i:
            v = b.load(target.pointer, target.at(w.k, i, i))
            b.assign(odd, select(v.ne(v), v, odd))
        with b.if_(info.ne(0) | odd.ne(odd)), b.for_("i", const(0), size) as i, b.for_("j", const(0), i + 1) as j:
            for part in range(w.words):
                b.store(target.pointer, target.at(w.k, i, j) + part, Const(math.nan, w.real))

    run(ctx, Job("cholesky", (), a.dtype, routines, ins, outs, {}, {"n": n}, n**3 / 3 * flops_of(a.dtype)), body)


# ----------------------------------------------------------------------------------------------- lu


@lowers_to("lu", "getrf")
def _lu(ctx: LowerContext, eqn: Eqn, ins: Operands, outs: Operands, routines: tuple[Routine, ...]) -> None:
    (a,), (out, pivots) = ins, outs
    m, n = matrix_of(a)
    if lu_in_lanes(ctx, a, out, pivots):
        return
    k = min(m, n)
    position = i64 if routines[0].bits == 64 else i32

    def body(w: Writer) -> None:
        m, n, b = w.size("m"), w.size("n"), w.b
        w.pack("a", w.ins[0], m, n)
        w.call(0, m, n, "a", m, "ipiv", None)
        odd = b.var("nan", Const(0.0, w.real))
        with b.for_("i", const(0), m * n * w.words) as i:
            v = b.let("v", w.load("a", i))
            b.assign(odd, select(v.ne(v), v, odd))
        good = b.let("good", odd.eq(odd))
        with b.for_("i", const(0), minimum(m, n)) as i:
            row = minimum(maximum(w.load("ipiv", i).cast(i64) - 1, i), m - 1)
            b.store(w.outs[1].pointer, w.outs[1].at(w.k, 0, i), select(good, row, i).cast(i32))
        with w.otherwise_nan(good, (w.outs[0], m, n)):
            w.unpack(w.outs[0], "a", m, n, m)

    works = {"a": elements(a.dtype, m * n), "ipiv": (position, k)}
    flops = (m * n * k - (m + n) * k * k / 2 + k**3 / 3) * 2 * flops_of(a.dtype)
    run(ctx, Job("lu", (), a.dtype, routines, ins, (out, as_rows(pivots)), works, {"m": m, "n": n}, flops), body)


def _permutation_kernel() -> Kernel:
    b = KernelBuilder("lu_pivots_to_permutation")
    pivots, out = b.pointer("pivots", i32), b.pointer("out", i32)
    k, n = b.integer("k"), b.integer("n")
    with b.for_("row", b.lo, b.hi) as row:
        with b.for_("i", const(0), n) as i:
            b.store(out, row * n + i, i.cast(i32))
        with b.for_("i", const(0), k) as i:
            p = b.let("p", minimum(maximum(b.load(pivots, row * k + i).cast(i64), 0), n - 1))
            here, there = b.let("here", b.load(out, row * n + i)), b.let("there", b.load(out, row * n + p))
            b.store(out, row * n + i, there)
            b.store(out, row * n + p, here)
    return b.build()


@lowers("lu_pivots_to_permutation")
def _permutation(ctx: LowerContext, eqn: Eqn, ins: Operands, outs: Operands) -> None:
    (pivots,), (out,) = (ctx.contiguous(x) for x in ins), outs
    k, n = pivots.shape[-1], out.shape[-1]
    kernel = ctx.kernel(("lu_pivots_to_permutation",), _permutation_kernel)
    total = out.size // n
    ctx.step(
        kernel, (pivots, out, k, n), total, chunk_for(total, 2.0 * n), eqn.prim.name, nbytes=4 * out.size, reads=(pivots,),
        writes=outs,
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------- qr


def _qr_works(a: Operand, columns: int, routines: tuple[Routine, ...]) -> tuple[dict[str, tuple[Ty, int]], int]:
    """Work arrays of ``geqrf`` and ``orgqr`` for Q of so many columns, and the length of the last one."""
    m, n = matrix_of(a)
    k = min(m, n)
    lwork = max(1, workspace(routines[0], m, n, None, max(m, 1), None, ..., -1, None))
    if len(routines) > 1:
        lwork = max(lwork, workspace(routines[1], m, columns, k, None, max(m, 1), None, ..., -1, None))
    space = {"a": m * max(n, columns), "tau": max(k, 1), "work": lwork}
    return {name: elements(a.dtype, count) for name, count in space.items()}, lwork


@lowers_to("qr", "geqrf", "orgqr", "geqp3")
def _qr(ctx: LowerContext, eqn: Eqn, ins: Operands, outs: Operands, routines: tuple[Routine, ...]) -> None:
    a, columns, pivoting = ins[0], outs[0].shape[-1], eqn.params["pivoting"]
    m, n = matrix_of(a)
    works, lwork = _qr_works(a, columns, routines[:2])
    used, position, complex_ = routines[:2], i64 if routines[0].bits == 64 else i32, dtypes.is_complex(a.dtype)
    if pivoting:
        used = (routines[2], routines[1])
        real = (None,) if complex_ else ()
        lwork = max(lwork, workspace(routines[2], m, n, None, max(m, 1), None, None, ..., -1, *real, None))
        works |= {"work": elements(a.dtype, lwork), "jpvt": (position, n)}
        works |= {"rwork": (real_type(a.dtype), 2 * n)} if complex_ else {}
        outs = (*outs[:2], as_rows(outs[2]))

    def body(w: Writer) -> None:
        (m, n, columns, lwork), b = (w.size(s) for s in ("m", "n", "columns", "lwork")), w.b
        ld = maximum(m, 1)
        w.pack("a", w.ins[0], m, n)
        if pivoting:
            with b.for_("j", const(0), n) as j:
                w.store("jpvt", j, Const(0, position))
            real = ("rwork",) if complex_ else ()
            w.call(0, m, n, "a", ld, "jpvt", "tau", "work", lwork, *real, None)
            with b.for_("j", const(0), n) as j:
                column = w.load("jpvt", j).cast(i64) - 1
                column = select(column < 0, j, minimum(column, n - 1))  # without rows LAPACK writes nothing
                b.store(w.outs[2].pointer, w.outs[2].at(w.k, 0, j), column.cast(i32))
        else:
            w.call(0, m, n, "a", ld, "tau", "work", lwork, None)
        w.unpack(w.outs[1], "a", columns, n, m, keep="triu")
        w.call(1, m, columns, minimum(m, n), "a", ld, "tau", "work", lwork, None)
        w.unpack(w.outs[0], "a", m, columns, m)

    sizes = {"m": m, "n": n, "columns": columns, "lwork": lwork}
    flops = (4.0 * m * n * min(m, n) + 4.0 * m * columns * min(m, n)) / 1.5 * flops_of(a.dtype)
    run(ctx, Job("qr", (pivoting,), a.dtype, used, ins, outs, works, sizes, flops), body)


@lowers_to("geqrf", "geqrf")
def _geqrf(ctx: LowerContext, eqn: Eqn, ins: Operands, outs: Operands, routines: tuple[Routine, ...]) -> None:
    (a,), (out, taus) = ins, outs
    m, n = matrix_of(a)
    works, lwork = _qr_works(a, 0, routines)

    def body(w: Writer) -> None:
        m, n = w.size("m"), w.size("n")
        w.pack("a", w.ins[0], m, n)
        w.call(0, m, n, "a", m, "tau", "work", w.size("lwork"), None)
        w.unpack(w.outs[0], "a", m, n, m)
        w.unpack_vector(w.outs[1], "tau", minimum(m, n))

    sizes = {"m": m, "n": n, "lwork": lwork}
    flops = 2.0 * m * n * min(m, n) * flops_of(a.dtype)
    run(ctx, Job("geqrf", (), a.dtype, routines, ins, (out, as_rows(taus)), works, sizes, flops), body)


@lowers_to("hessenberg", "gehrd")
def _hessenberg(ctx: LowerContext, eqn: Eqn, ins: Operands, outs: Operands, routines: tuple[Routine, ...]) -> None:
    (a,), (out, taus) = ins, outs
    n = a.shape[-1]
    lwork = max(1, workspace(routines[0], n, 1, n, None, n, None, ..., -1, None))
    works = {name: elements(a.dtype, size) for name, size in (("a", n * n), ("tau", n), ("work", lwork))}

    def body(w: Writer) -> None:
        n = w.size("n")
        good = w.pack("a", w.ins[0], n, n, check=True)
        with w.otherwise_nan(good, (w.outs[0], n, n), (w.outs[1], 1, n - 1)):
            w.call(0, n, const(1), n, "a", n, "tau", "work", w.size("lwork"), None)
            w.unpack(w.outs[0], "a", n, n, n)
            w.unpack_vector(w.outs[1], "tau", n - 1)

    flops = 10 / 3 * n**3 * flops_of(a.dtype)
    run(
        ctx,
        Job("hessenberg", (), a.dtype, routines, ins, (out, as_rows(taus)), works, {"n": n, "lwork": lwork}, flops),
        body,
    )


# ------------------------------------------------------------------------------------------- solves


@lowers_to("triangular_solve", "trsm")
def _triangular_solve(
    ctx: LowerContext, eqn: Eqn, ins: Operands, outs: Operands, routines: tuple[Routine, ...]
) -> None:
    """In place in the result: row by row, ``op(A) X = B`` is ``X^T op(A)^T = B^T`` to Fortran, and A its transpose."""
    (a, rhs), (out,) = ins, outs
    n, p = a.shape[-1], eqn.params
    if triangular_solve_in_lanes(ctx, a, rhs, out, p["left_side"], p["lower"], p["transpose_a"], p["unit_diagonal"]):
        return
    a = uniform(ctx, a)[0] if _row_by_row(a) else ctx.contiguous(a)
    side, other = ("R", rhs.shape[-1]) if p["left_side"] else ("L", rhs.shape[-2])
    uplo = "U" if p["lower"] else "L"
    trans = ("C" if p["conjugate_a"] else "T") if p["transpose_a"] else "N"
    flags = (side, uplo, trans, "U" if p["unit_diagonal"] else "N")
    copy_strided(ctx, rhs, out, "triangular_solve (right-hand side)")

    def body(w: Writer) -> None:
        b, rows, columns = w.b, w.size("rows"), w.size("columns")
        one = b.alloc("one", w.real, 2)
        b.store(one, 0, 1.0)
        b.store(one, 1, 0.0)
        a, x = w.ins[0], w.outs[0]
        w.call(
            0, *flags, columns, rows, b.place(one), b.place(a.pointer, a.at(w.k)), w.size("ld"), b.place(x.pointer, x.at(w.k)),
            columns,
        )  # fmt: skip

    rows, columns = matrix_of(out)
    sizes = {"rows": rows, "columns": columns, "ld": max(a.strides[-2], n)}  # of one row, the stride may be anything
    flops = 1.0 * n * n * other * flops_of(a.dtype)
    run(ctx, Job("triangular_solve", flags, a.dtype, routines, (a,), outs, {}, sizes, flops), body)


def _row_by_row(a: Operand) -> bool:
    """Whether the matrices' rows are contiguous and apart, as BLAS takes them."""
    n = a.shape[-1]
    return (a.strides[-1] == 1 or n == 1) and a.strides[-2] >= max(n, 1)


@lowers_to("tridiagonal_solve", "gtsv")
def _tridiagonal_solve(
    ctx: LowerContext, eqn: Eqn, ins: Operands, outs: Operands, routines: tuple[Routine, ...]
) -> None:
    *diagonals, rhs = ins
    n, k = matrix_of(rhs)
    works = {**{f"d{i}": elements(rhs.dtype, n) for i in range(3)}, "b": elements(rhs.dtype, n * k)}

    def body(w: Writer) -> None:
        n, k, b = w.size("n"), w.size("k"), w.b
        for d, source in enumerate(w.ins[:3]):
            with b.for_("i", const(0), n) as i:
                for part in range(w.words):
                    w.store(f"d{d}", i * w.words + part, b.load(source.pointer, source.at(w.k, 0, i) + part))
        w.pack("b", w.ins[3], n, k)
        info = w.call(0, n, k, w.place("d0", w.words), "d1", "d2", "b", n, None)
        with w.otherwise_nan(info.eq(0), (w.outs[0], n, k)):
            w.unpack(w.outs[0], "b", n, k, n)

    operands = (*map(as_rows, diagonals), rhs)
    flops = 10.0 * n * k * flops_of(rhs.dtype)
    run(ctx, Job("tridiagonal_solve", (), rhs.dtype, routines, operands, outs, works, {"n": n, "k": k}, flops), body)


@lowers_to("triangular_sylvester", "trsyl")
def _triangular_sylvester(
    ctx: LowerContext, eqn: Eqn, ins: Operands, outs: Operands, routines: tuple[Routine, ...]
) -> None:
    f = ins[2]
    m, n = matrix_of(f)
    complex_, adjoint = dtypes.is_complex(f.dtype), eqn.params["adjoint"]
    trans = ("C" if complex_ else "T") if adjoint else "N"
    space = {"r": m * m, "s": n * n, "f": m * n}
    works = {**{name: elements(f.dtype, count) for name, count in space.items()}, "scale": (real_type(f.dtype), 1)}

    def body(w: Writer) -> None:
        m, n, b = w.size("m"), w.size("n"), w.b
        w.pack("r", w.ins[0], m, m, keep="triu")
        w.pack("s", w.ins[1], n, n, keep="triu")
        w.pack("f", w.ins[2], m, n)
        info = w.call(0, trans, trans, const(1), m, n, "r", m, "s", n, "f", m, "scale", None)
        with w.otherwise_nan(info.eq(0), (w.outs[0], m, n)):
            scale = b.let("by", w.load("scale", 0))
            with b.for_("i", const(0), m * n * w.words) as i:
                w.store("f", i, w.load("f", i) / scale)
            w.unpack(w.outs[0], "f", m, n, m)

    flops = 1.0 * (m * m * n + m * n * n) * flops_of(f.dtype)
    sizes = {"m": m, "n": n}
    run(ctx, Job("triangular_sylvester", (adjoint,), f.dtype, routines, ins, outs, works, sizes, flops), body)
