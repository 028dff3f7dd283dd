"""Many products of small matrices, written out with one in each lane, against NumPy."""

from __future__ import annotations

from typing import Any

import ml_dtypes  # noqa: F401  (which gives NumPy bfloat16)
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
TOLERANCE = {
    "float32": 2e-5, "float64": 1e-12, "int32": 0.0, "complex64": 2e-5, "complex128": 1e-12, "uint8": 0.0, "int8": 0.0, "float16": 2e-3,
    "bfloat16": 2e-2,
}  # fmt: skip
EXACT = {"c": "complex128", "i": "int64", "u": "int64"}


def drawn(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = 3 * rng.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        x = x + 2j * rng.normal(size=shape)
    return x.astype(EXACT.get(np.dtype(dtype).kind, "float64")).astype(dtype)


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
            exact = EXACT.get(u.dtype.kind, "float64")
            want = np.einsum(spec, u.astype(exact), v.astype(exact)).astype(dtype)
            found, wanted = (np.asarray(z).astype(exact) for z in (f(u, v), want))
            np.testing.assert_allclose(found, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * 20)


def test_which_products_are_written_out() -> None:
    of = lambda count, side, dtype="f4": kernels(lambda x: x @ x, np.ones((count, side, side), dtype))
    assert all("batchwise" in of(200, 3, t) for t in ("c8", "c16", "f2", "u1"))
    assert "batchwise" in of(200, 3) and "batchwise" not in of(1, 3) and "batchwise" not in of(200, 5)


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
