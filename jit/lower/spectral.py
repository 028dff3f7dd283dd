"""Singular values, eigenvalues and Schur forms by LAPACK; see ``decompositions`` for what failures become."""

from __future__ import annotations

from fx import dtypes
from fx.ir import Eqn

from ..lapack import Routine, workspace
from ..loop_ir import Const, Expr, i64, select
from .decompositions import Operands, compute_dtype, elements, flops_of, lowers_to, matrix_of, real_type, write_identity
from .lapack_kernel import Job, Matrices, Writer, as_rows, run
from .loops import const
from .registry import LowerContext

__all__: list[str] = []

# ---------------------------------------------------------------------------------------------- svd


@lowers_to("svd", "gesdd")
def _svd(ctx: LowerContext, eqn: Eqn, ins: Operands, outs: Operands, routines: tuple[Routine, ...]) -> None:
    (a,), (s, *uv) = ins, outs
    m, n = matrix_of(a)
    dtype = compute_dtype(eqn)
    k, vectors, complex_ = min(m, n), eqn.params["compute_uv"], dtypes.is_complex(a.dtype)
    if not k:
        for out in uv:
            write_identity(ctx, out)
        return
    left, right = (uv[0].shape[-1], uv[1].shape[-2]) if vectors else (1, 1)
    job = "N" if not vectors else "A" if eqn.params["full_matrices"] else "S"
    head = (job, m, n, None, m, None, None, m, None, right)
    lwork = workspace(routines[0], *head, ..., -1, *([None] * (3 if complex_ else 2)))
    sizes = {"m": m, "n": n, "left": left, "right": right, "lwork": lwork}
    space = {"a": m * n, "u": m * left if vectors else 1, "vt": right * n if vectors else 1, "work": lwork}
    works = {name: elements(dtype, count) for name, count in space.items()}
    works |= {"s": (real_type(dtype), k), "iwork": (i64, 8 * k)}
    if complex_:
        works["rwork"] = (real_type(dtype), k * max(5 * k + 7, 2 * max(m, n) + 2 * k + 1) if vectors else 7 * k)

    def body(w: Writer) -> None:
        m, n, left, right = (w.size(x) for x in ("m", "n", "left", "right"))
        shapes = [(1, select(m < n, m, n)), *([(m, left), (right, n)] if vectors else [])]
        nothing = [(out, *shape) for out, shape in zip(w.outs, shapes)]
        with w.otherwise_nan(w.pack("a", w.ins[0], m, n, check=True), *nothing):
            real = ("rwork",) if complex_ else ()
            info = w.call(0, job, m, n, "a", m, "s", "u", m, "vt", right, "work", w.size("lwork"), *real, "iwork", None)
            with w.otherwise_nan(info.eq(0), *nothing):
                w.unpack_vector(w.outs[0], "s", shapes[0][1])
                if vectors:
                    w.unpack(w.outs[1], "u", m, left, m)
                    w.unpack(w.outs[2], "vt", right, n, right)

    flops = (20.0 if vectors else 4.0) * max(m, n) * k * k * flops_of(dtype)
    run(ctx, Job("svd", (job,), dtype, routines, ins, (as_rows(s), *uv), works, sizes, flops), body)


# --------------------------------------------------------------------------------------------- eigh


@lowers_to("eigh", "syevd")
def _eigh(ctx: LowerContext, eqn: Eqn, ins: Operands, outs: Operands, routines: tuple[Routine, ...]) -> None:
    (a,), (values, *vectors) = ins, outs
    n, complex_, dtype = a.shape[-1], dtypes.is_complex(a.dtype), compute_dtype(eqn)
    job, uplo = "V" if vectors else "N", "L" if eqn.params["lower"] else "U"
    lrwork, liwork = 1 + 5 * n + 2 * n * n, 3 + 5 * n
    real = (None, lrwork) if complex_ else ()
    lwork = workspace(routines[0], job, uplo, n, None, n, None, ..., -1, *real, None, liwork, None)
    sizes = {"n": n, "lwork": lwork, "lrwork": lrwork, "liwork": liwork}
    works = {"a": elements(dtype, n * n), "work": elements(dtype, lwork), "w": (real_type(dtype), n)}
    works |= {"iwork": (i64, liwork), **({"rwork": (real_type(dtype), lrwork)} if complex_ else {})}

    def body(w: Writer) -> None:
        n = w.size("n")
        nothing = [(out, *shape) for out, shape in zip(w.outs, ((1, n), (n, n)))]
        keep = "lower" if uplo == "L" else "upper"
        with w.otherwise_nan(w.pack("a", w.ins[0], n, n, keep, check=True), *nothing):
            real = ("rwork", w.size("lrwork")) if complex_ else ()
            sized = (w.size("lwork"), *real, "iwork", w.size("liwork"), None)
            info = w.call(0, job, uplo, n, "a", n, "w", "work", *sized)
            with w.otherwise_nan(info.eq(0), *nothing):
                w.unpack_vector(w.outs[0], "w", n)
                if vectors:
                    w.unpack(w.outs[1], "a", n, n, n)

    flops = (9.0 if vectors else 4 / 3) * n**3 * flops_of(dtype)
    run(ctx, Job("eigh", (job, uplo), dtype, routines, ins, (as_rows(values), *vectors), works, sizes, flops), body)


# ---------------------------------------------------------------------------------------------- eig


def _unpack_pairs(w: Writer, target: Matrices, work: str, n: Expr) -> None:
    """Vectors of a real matrix: columns j and j + 1 hold the real and imaginary part of a conjugate pair."""
    b = w.b
    with b.for_("j", const(0), n) as j:
        imaginary = b.let("imaginary", w.load("wi", j))
        first, second = b.let("first", imaginary > 0.0), b.let("second", imaginary < 0.0)
        re, im = b.let("re", select(second, j - 1, j)), b.let("im", select(first, j + 1, j))
        sign = b.let("sign", select(first, Const(1.0, w.real), Const(-1.0, w.real)))
        with b.for_("i", const(0), n) as i:
            to = b.let("to", target.at(w.k, i, j))
            b.store(target.pointer, to, w.load(work, re * n + i).cast(target.ty))
            value = w.load(work, im * n + i) * sign
            b.store(target.pointer, to + 1, select(first | second, value, Const(0.0, w.real)).cast(target.ty))


@lowers_to("eig", "geev")
def _eig(ctx: LowerContext, eqn: Eqn, ins: Operands, outs: Operands, routines: tuple[Routine, ...]) -> None:
    (a,), (values, *vectors) = ins, outs
    n, complex_ = a.shape[-1], dtypes.is_complex(a.dtype)
    dtype = compute_dtype(eqn)
    left, right = eqn.params["left"], eqn.params["right"]
    jobs = tuple("V" if wanted else "N" for wanted in (left, right))
    names = [name for name, wanted in (("vl", left), ("vr", right)) if wanted]
    middle, tail = ((None,), (None, None)) if complex_ else ((None, None), (None,))
    lwork = workspace(routines[0], *jobs, n, None, n, *middle, None, n, None, n, ..., -1, *tail)
    sizes = {"n": n, "lwork": lwork}
    works = {name: elements(dtype, n * n) for name in ("a", *names)} | {"work": elements(dtype, lwork)}
    works |= {"w": elements(dtype, n)}
    works |= {"rwork": (real_type(dtype), 2 * n)} if complex_ else {"wi": (real_type(dtype), n)}

    def body(w: Writer) -> None:
        n, b = w.size("n"), w.b
        nothing = [(out, *shape) for out, shape in zip(w.outs, ((1, n), (n, n), (n, n)))]
        with w.otherwise_nan(w.pack("a", w.ins[0], n, n, check=True), *nothing):
            values = ("w",) if complex_ else ("w", "wi")
            spaces = [x for name in ("vl", "vr") for x in (name if name in names else "w", n)]
            tail = ("rwork", None) if complex_ else (None,)
            info = w.call(0, *jobs, n, "a", n, *values, *spaces, "work", w.size("lwork"), *tail)
            with w.otherwise_nan(info.eq(0), *nothing):
                if complex_:
                    w.unpack_vector(w.outs[0], "w", n)
                    for target, name in zip(w.outs[1:], names):
                        w.unpack(target, name, n, n, n)
                else:
                    with b.for_("i", const(0), n) as i:
                        for part, name in enumerate(values):
                            b.store(
                                w.outs[0].pointer, w.outs[0].at(w.k, 0, i) + part, w.load(name, i).cast(w.outs[0].ty)
                            )
                    for target, name in zip(w.outs[1:], names):
                        _unpack_pairs(w, target, name, n)

    flops = (25.0 if names else 10.0) * n**3 * flops_of(dtype)
    run(ctx, Job("eig", jobs, dtype, routines, ins, (as_rows(values), *vectors), works, sizes, flops), body)


# -------------------------------------------------------------------------------------------- schur


@lowers_to("schur", "gees")
def _schur(ctx: LowerContext, eqn: Eqn, ins: Operands, outs: Operands, routines: tuple[Routine, ...]) -> None:
    (a,), (n, complex_), vectors = ins, (ins[0].shape[-1], dtypes.is_complex(ins[0].dtype)), len(outs) > 1
    job = "V" if vectors else "N"
    middle, tail = ((None,), (None, None, None)) if complex_ else ((None, None), (None, None))
    lwork = workspace(routines[0], job, "N", None, n, None, n, None, *middle, None, n, ..., -1, *tail)
    sizes = {"n": n, "lwork": lwork}
    works = {name: elements(a.dtype, count) for name, count in (("a", n * n), ("z", n * n), ("work", lwork), ("w", n))}
    works |= {"real": (real_type(a.dtype), n), "bwork": (i64, n)}

    def body(w: Writer) -> None:
        n = w.size("n")
        nothing = [(out, n, n) for out in w.outs]
        with w.otherwise_nan(w.pack("a", w.ins[0], n, n, check=True), *nothing):
            sdim = w.b.place(w.ints, 20)
            middle, tail = (("w",), ("real", "bwork", None)) if complex_ else (("w", "real"), ("bwork", None))
            info = w.call(0, job, "N", ..., n, "a", n, sdim, *middle, "z", n, "work", w.size("lwork"), *tail)
            with w.otherwise_nan(info.eq(0), *nothing):
                for out, name in zip(w.outs, ("a", "z")):
                    w.unpack(out, name, n, n, n)

    flops = (25.0 if vectors else 10.0) * n**3 * flops_of(a.dtype)
    run(ctx, Job("schur", (job,), a.dtype, routines, ins, outs, works, sizes, flops), body)
