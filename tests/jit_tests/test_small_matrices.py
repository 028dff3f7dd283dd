"""Many small matrices, written out with one in each lane: products, factors and solutions against NumPy and the reference."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
import jit
from fx import lax

PRODUCTS = [
    "nij,njk->nik", "nij,nj->ni", "nij,nkj->nik", "nji,njk->nik", "ni,nj->nij", "ni,ni->n", "ij,nj->ni", "nmij,nmjk->nmik",
    "nij,jk->nik", "ijn,njk->nik",
]  # fmt: skip
TOLERANCE = {"float32": 2e-5, "float64": 1e-12, "int32": 0.0, "complex64": 2e-5}


def drawn(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    return (3 * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def kernels(f: Any, *args: Any) -> str:
    return fx.jit(f).lower(*args).loops()


@pytest.mark.parametrize("spec", PRODUCTS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_products(spec: str, dtype: str) -> None:
    given = spec.split("->")[0].split(",")
    f = fx.jit(lambda x, y: fnp.einsum(spec, x, y))
    for side, count in ((1, 33), (2, 17), (3, 100), (4, 16), (3, 7), (3, 1), (3, 0)):
        x, y = (drawn(tuple({"n": count, "m": 2}.get(c, side) for c in axes), dtype, k) for k, axes in enumerate(given))
        for u, v in ((x, y), (x[..., ::-1], np.asfortranarray(y))):
            exact = "complex128" if dtype == "complex64" else "float64"
            want = np.einsum(spec, u.astype(exact), v.astype(exact)).astype(dtype)
            np.testing.assert_allclose(f(u, v), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * 20)


def test_which_products_are_written_out() -> None:
    of = lambda count, side: kernels(lambda x: x @ x, np.ones((count, side, side), "f4"))
    assert "batchwise" in of(200, 3) and "batchwise" not in of(1, 3) and "batchwise" not in of(200, 5)


@pytest.fixture(params=["float32", "float64"])
def odd_matrices(request: Any) -> Any:
    """Many matrices; among them singular ones, zeros, NaN and infinities."""

    def of(rows: int, columns: int, count: int = 41) -> np.ndarray:
        a = drawn((count, rows, columns), request.param, rows)
        a[0], a[1, 0, 0], a[2, 0, 0], a[3, -1], a[4, :, 0], a[5, 0] = 0, np.nan, np.inf, a[3, 0], 0, -a[5, -1]
        return a

    return of


def agree(found: Any, wanted: Any) -> None:
    for g, w in zip(fx.tree.leaves(found), fx.tree.leaves(wanted), strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_allclose(
            g, w, rtol=2e-3 if g.dtype == np.float32 else 1e-9, atol=2e-3 if g.dtype == np.float32 else 1e-9
        )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 2), (3, 3), (4, 4), (4, 2), (2, 4), (3, 1), (1, 3)])
def test_lu(rows: int, columns: int, odd_matrices: Any) -> None:
    a = odd_matrices(rows, columns)
    assert "small_lu" in kernels(lax.linalg.lu, a)
    agree(fx.jit(lax.linalg.lu)(a), lax.linalg.lu(fnp.asarray(a)))
    agree(fx.jit(lax.linalg.lu)(a[::-1, ::-1]), lax.linalg.lu(fnp.asarray(a[::-1, ::-1])))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_cholesky(side: int, odd_matrices: Any) -> None:
    """Of positive definite ones, and of ones that are not.  (What becomes of infinities differs between LAPACKs.)"""
    a = odd_matrices(side, side)[3:]
    a[0, 0, 0] = np.nan
    for x in (a, a @ np.swapaxes(a, 1, 2) + np.eye(side, dtype=a.dtype)):
        f = lambda x: lax.linalg.cholesky(x, symmetrize_input=False)
        assert "small_cholesky" in kernels(f, x)
        agree(fx.jit(f)(x), f(fnp.asarray(x)))


@pytest.mark.parametrize("side", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_triangular_solve(side: int, dtype: str) -> None:
    a = drawn((21, side, side), dtype) + 9 * np.eye(side, dtype=dtype)
    for left, lower, transposed, unit in itertools.product((False, True), repeat=4):
        rhs = drawn((21, side, 2) if left else (21, 2, side), dtype, 1)
        f = lambda a, b: lax.linalg.triangular_solve(
            a, b, left_side=left, lower=lower, transpose_a=transposed, unit_diagonal=unit
        )
        assert "small_triangular_solve" in kernels(f, a, rhs)
        for x in (a, np.swapaxes(a, 1, 2)):
            agree(fx.jit(f)(x, rhs), f(fnp.asarray(x), fnp.asarray(rhs)))


def test_inverse_determinant_and_their_gradients() -> None:
    a = drawn((60, 3, 3), "float64") + 4 * np.eye(3)
    f = lambda a: (
        fnp.sum(fnp.linalg.inv(a) ** 2) + fnp.sum(fnp.linalg.det(a)) + fnp.sum(fnp.linalg.solve(a, a[:, :, :1]))
    )
    np.testing.assert_allclose(fx.jit(fx.grad(f))(a), fx.grad(f)(fnp.asarray(a)), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(fx.jit(fnp.linalg.inv)(a), np.linalg.inv(a), rtol=1e-10)


def test_the_same_bits_whatever_the_threads_and_in_a_loop_of_sizes() -> None:
    a = drawn((1000, 3, 3), "float32")
    f = fx.jit(lambda a: (lax.linalg.lu(a), a @ a, fnp.linalg.inv(a)))
    runs = []
    for n in (1, 2, 3, 7):
        with jit.using_threads(n):
            runs.append([np.asarray(x).tobytes() for x in fx.tree.leaves(f(a))])
    assert all(r == runs[0] for r in runs)
    whole = [np.asarray(x) for x in fx.tree.leaves(f(a))]
    for count in (500, 333, 64, 20):
        for x, w in zip(fx.tree.leaves(f(a[:count])), whole):
            np.testing.assert_array_equal(x, w[:count])
