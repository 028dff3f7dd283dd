"""LAPACK in compiled graphs: found, called by address, on one thread, and what happens without it."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from laws import graph_of
from loop_harness import call, run_native

import fx
import fx.lax.linalg as flax
import fx.numpy as fnp
import jit
from fx.errors import GraphError
from fx.passes import inline
from jit import lapack, loop_runtime
from jit.build import kernel_text
from jit.emit_numba import compile_numba
from jit.loop_builder import KernelBuilder
from jit.loop_ir import Kernel, Place, f64
from jit.loop_print import print_kernel
from jit.loop_verify import verify_kernel
from jit.lower.context import structure
from jit.lower.loops import const
from jit.threads import using_threads

RNG = np.random.default_rng(0)
A = RNG.normal(size=(6, 5, 5)) + 3 * np.eye(5)
P = A @ np.swapaxes(A, -1, -2)
LARGE = RNG.normal(size=(3, 20, 20)) + 8 * np.eye(20)  # more than fits into lanes
LARGE_P = LARGE @ np.swapaxes(LARGE, -1, -2)

PROGRAMS: dict[str, tuple[Callable[..., Any], np.ndarray, str]] = {
    "cholesky": (flax.cholesky, LARGE_P, "potrf"), "lu": (flax.lu, LARGE, "getrf"), "qr": (flax.qr, A, "geqrf"),
    "svd": (flax.svd, A, "gesdd"), "eigh": (flax.eigh, P, "syevd"), "eig": (fnp.linalg.eig, A, "geev"),
    "schur": (lambda a: abs(fnp.asarray(flax.schur(a)[0]).sum()), P, "gees"), "hessenberg": (flax.hessenberg, A, "gehrd"),
    "solve": (lambda a: fnp.linalg.solve(a, a[0]), LARGE, "trsm"),
    "sylvester": (lambda a: flax.triangular_sylvester(a, a, a), A, "trsyl"),
    "tridiagonal": (lambda a: flax.tridiagonal_solve(a[:, 0], a[:, 1], a[:, 2], a[..., :2]), A, "gtsv"),
}  # fmt: skip


def compiled(f: Callable[..., Any], *xs: np.ndarray, **options: Any) -> jit.Executable:
    return jit.compile(inline(graph_of(f, *xs)), jit.Options(verify=True, **options))


def close(got: list[np.ndarray], want: list[np.ndarray]) -> None:
    for g, w in zip(got, want, strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-9)


# -------------------------------------------------------------------------------------- the loop language


@pytest.fixture(scope="module")
def adder() -> Iterator[int]:
    """A C function ``(double *to, const double *from, int64 n)`` that adds n to what it copies."""

    def add(to: int, of: int, n: int) -> None:
        ctypes.c_double.from_address(to).value = ctypes.c_double.from_address(of).value + n

    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    function = kind(add)
    yield ctypes.cast(function, ctypes.c_void_p).value or 0


def calling_kernel() -> Kernel:
    """``x[i] = (x[i] + i) + 10``, by two calls; the second reads what the first has written."""
    b = KernelBuilder("calling")
    x, f = b.pointer("x", f64), b.integer("f")
    between = b.alloc("between", f64, 2)
    with b.for_("i", b.lo, b.hi) as i:
        before = b.load(between, 1)
        b.store(between, 1, before * 0.0)
        b.call(f, b.place(between, 1), b.place(x, i), i)
        b.call(f, b.place(x, i), b.place(between, 1), 10)
        b.store(x, i, b.load(x, i) + b.load(between, 1) * 0.0)
    return b.build()


def test_calls_natively_in_numba_and_in_python(adder: int) -> None:
    kernel = calling_kernel()
    verify_kernel(kernel)
    want = np.arange(5.0) * 2 + 10
    native = np.arange(5.0)
    run_native(kernel, [native, adder], 0, 5)
    python = np.arange(5.0)
    loop_runtime.run(print_kernel(kernel), [python, adder], 0, 5)
    numba = np.arange(5.0)
    call(compile_numba(kernel).address, [numba, adder], 0, 5)
    for x in (native, python, numba):
        np.testing.assert_array_equal(x, want)


def test_the_verifier_and_the_structure_see_calls() -> None:
    def kernel(*args: Any) -> Kernel:
        b = KernelBuilder("k")
        b.pointer("x", f64)
        b.call(b.integer("f"), *args)
        return b.build()

    with pytest.raises(GraphError, match="no buffer 'y'"):
        verify_kernel(kernel(Place("y", const(0))))
    texts = {structure(kernel(*args)) for args in ((1,), (2,), (Place("x", const(1)),), (Place("x", const(2)),))}
    assert len(texts) == 4


# ------------------------------------------------------------------------------------------- routines


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_return_to_python(name: str) -> None:
    f, x, routine = PROGRAMS[name]
    run = compiled(f, x)
    assert run.cost_analysis()["callbacks"] == 0 and f"d{routine} of" in run.explain()
    close(run(x), [np.asarray(o) for o in fx.tree.leaves(f(x))])


def test_object_code_holds_no_address() -> None:
    run = compiled(flax.cholesky, LARGE_P)
    handle = next(h for h in run.program.kernels if h.key[:2] == ("lapack", "cholesky"))
    addresses = [lapack.routine("dpotrf").address, lapack.guard().enter]  # type: ignore[union-attr]
    assert not any(str(a) in kernel_text(handle) or hex(a) in kernel_text(handle) for a in addresses)


@pytest.fixture
def forget_routines() -> Iterator[None]:
    """The library is looked for anew, before and after."""
    caches = (lapack._library, lapack.guard)
    for c in caches:
        c.cache_clear()
    yield
    for c in caches:
        c.cache_clear()


def test_without_lapack_the_reference_is_called_and_explain_says_so(
    monkeypatch: pytest.MonkeyPatch, forget_routines: None
) -> None:
    monkeypatch.setattr(lapack, "_of_numpy", lambda: None)
    monkeypatch.setattr(lapack, "_of_scipy", lambda: None)
    for name in ("qr", "solve"):
        f, x, _ = PROGRAMS[name]
        run = compiled(f, x)
        assert run.cost_analysis()["callbacks"] > 0 and "no LAPACK with" in run.explain()
        close(run(x), [np.asarray(o) for o in fx.tree.leaves(f(x))])


def test_scipys_routines_with_32_bit_integers(monkeypatch: pytest.MonkeyPatch, forget_routines: None) -> None:
    pytest.importorskip("scipy.linalg.cython_lapack")
    monkeypatch.setattr(lapack, "_of_numpy", lambda: None)
    found = lapack.routine("dpotrf")
    assert found is not None and found.bits == 32 and "SciPy" in str(found)
    for name in ("lu", "svd", "eigh", "solve", "sylvester"):
        f, x, _ = PROGRAMS[name]
        run = compiled(f, x)
        assert "SciPy's LAPACK" in run.explain()
        close(run(x), [np.asarray(o) for o in fx.tree.leaves(f(x))])


@pytest.mark.parametrize("name", ["eig", "solve"])
def test_the_numba_engine_calls_the_same_routines(name: str) -> None:
    f, x, _ = PROGRAMS[name]
    close(compiled(f, x, engine="numba")(x), compiled(f, x)(x))


# -------------------------------------------------------------------------------------------- threads


def blas_threads() -> int:
    get, _ = lapack._library().threads  # type: ignore[union-attr]
    return ctypes.CFUNCTYPE(ctypes.c_int)(get)() if get else 1


def test_the_same_bits_on_any_number_of_threads() -> None:
    many = RNG.normal(size=(64, 40, 40)) + 5 * np.eye(40)
    f = fx.tree.leaves

    def program(a: Any) -> Any:
        return [*f(flax.svd(a)), *f(flax.lu(a)), fnp.linalg.solve(a, a[0])]

    found = []
    for threads in (1, 2, 3):
        with using_threads(threads):
            found.append([o.tobytes() for o in compiled(program, many, num_threads=threads)(many)])
    assert found[0] == found[1] == found[2]


def test_the_users_number_of_blas_threads_stays() -> None:
    before = blas_threads()
    run = compiled(flax.cholesky, LARGE_P)
    run(LARGE_P)
    assert blas_threads() == before
    threads = [threading.Thread(target=lambda: [run(LARGE_P) for _ in range(50)]) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert blas_threads() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_after_a_fork() -> None:
    run = compiled(flax.cholesky, LARGE_P)
    want = run(LARGE_P)[0]
    child = os.fork()
    if child == 0:
        os._exit(0 if (run(LARGE_P)[0] == want).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


# --------------------------------------------------------------------------------------------- layouts


def test_operands_of_any_strides_are_read_in_place() -> None:
    """Transposed, reversed and broadcast matrices, batches in any order."""
    base = RNG.normal(size=(3, 2, 4, 4)) + 4 * np.eye(4)

    def program(x: Any) -> Any:
        views = [
            fnp.swapaxes(x, -1, -2),
            fnp.swapaxes(x, 0, 1),
            x[:, ::-1],
            fnp.broadcast_to(x[0, 0], x.shape),
            x[..., ::-1, ::-1],
        ]
        return [fnp.linalg.inv(v) for v in views]

    close(compiled(program, base)(base), [np.asarray(o) for o in program(base)])


def test_matrices_of_one_number() -> None:
    """Their row stride may be 0: no leading dimension that BLAS would take."""
    a, b = np.array([[[2.0]], [[4.0]], [[8.0]]]), np.arange(6.0).reshape(3, 1, 2)

    def program(a: Any, b: Any) -> Any:
        wide = fnp.broadcast_to(fnp.reshape(a, (3, 1, 1, 1)), (3, 2, 1, 1))
        x = flax.triangular_solve(a, b, left_side=True, lower=True)
        return x, flax.triangular_solve(wide, fnp.ones((3, 2, 1, 2)).astype(a.dtype), left_side=True)

    close(compiled(program, a, b)(a, b), [b / a, np.broadcast_to(1 / a[:, None], (3, 2, 1, 2))])


def test_factors_inside_a_loop() -> None:
    """A factorisation is a step of the loop's body."""

    def program(a: Any) -> Any:
        return fx.lax.fori_loop(0, 5, lambda k, x: fnp.linalg.solve(x + 5 * fnp.eye(5, dtype=x.dtype), a), a)

    run = compiled(program, A[0])
    assert run.cost_analysis()["callbacks"] == 0
    close(run(A[0]), [np.asarray(program(A[0]))])
