"""Small matrices of a batch, factorised and solved side by side, beside NumPy and LAPACK."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from loop_harness import level
from lower_harness import lower

import fx
import fx.lax.linalg as flax
import fx.numpy as fnp
import jit
import jit.lower.decompositions  # noqa: F401 - registers the lowerings
from jit.target import host

SIZES = (1, 2, 3, 5, 8, 16)
BATCHES: tuple[tuple[int, ...], ...] = ((16,), (37,), (5, 7))


def draw(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def transposed(a: np.ndarray) -> np.ndarray:
    return np.swapaxes(a, -1, -2)


def tolerance(dtype: Any) -> float:
    return 100 * float(np.finfo(dtype).eps)


def run_lu(a: np.ndarray, target: Any = None) -> tuple[np.ndarray, np.ndarray]:
    return tuple(lower("lu", [a], {}, [(a.shape, a.dtype), (a.shape[:-1], np.int32)], target))  # type: ignore[return-value]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lu(dtype: str) -> None:
    """P A = L U with multipliers of at most 1, and the rows that LAPACK chooses."""
    for n, batch in itertools.product(SIZES, BATCHES):
        a = draw((*batch, n, n), dtype, n)
        packed, pivots = run_lu(a)
        low, up = np.tril(packed, -1) + np.eye(n), np.triu(packed)
        assert np.abs(np.tril(packed, -1)).max() <= 1
        for k in np.ndindex(*batch):
            assert (pivots[k] == scipy.linalg.lu_factor(a[k])[1]).all()
            rows = np.arange(n)
            for i, p in enumerate(pivots[k]):
                rows[[i, p]] = rows[[p, i]]
            np.testing.assert_allclose(low[k] @ up[k], a[k][rows], rtol=0, atol=n * tolerance(dtype))


def test_lu_of_what_is_singular_or_not_finite() -> None:
    a = draw((16, 3, 3), "float64")
    a[2, 1, 1], a[4], a[7] = np.nan, 0.0, np.diag([1.0, 0.0, 2.0])
    a[5, :, 1] = a[5, :, 0]
    packed, pivots = run_lu(a)
    assert np.isnan(packed[2]).all() and (pivots[2] == [0, 1, 2]).all()
    assert (packed[4] == 0).all() and (packed[7] == a[7]).all()
    assert np.isfinite(np.delete(packed, 2, 0)).all()
    assert (pivots[0] == scipy.linalg.lu_factor(a[0])[1]).all()
    ties = np.tile([[1.0, 2.0], [-1.0, 3.0]], (16, 1, 1))
    assert (run_lu(ties)[1] == [0, 1]).all()  # the first of equals


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cholesky(dtype: str) -> None:
    for n, batch in itertools.product(SIZES, BATCHES):
        a = draw((*batch, n, n), dtype, n)
        p = (a @ transposed(a) + n * np.eye(n)).astype(dtype)
        upper = np.triu(np.full((n, n), np.nan), 1).astype(dtype)  # must not be read
        (found,) = lower("cholesky", [p + upper], {}, [(p.shape, p.dtype)])
        np.testing.assert_allclose(found, np.linalg.cholesky(p.astype(float)), rtol=0, atol=n * tolerance(dtype))
        assert (np.triu(found, 1) == 0).all()


def test_cholesky_of_what_has_no_factor() -> None:
    p = np.tile(4.0 * np.eye(3), (16, 1, 1))
    p[1, 2, 2], p[2, 1, 0], p[3, 0, 0], p[4] = -1.0, np.nan, 0.0, -p[4]
    (found,) = lower("cholesky", [p], {}, [(p.shape, p.dtype)])
    for k in (1, 2, 3, 4):
        np.testing.assert_array_equal(found[k], np.tril(np.full((3, 3), np.nan)))
    np.testing.assert_array_equal(np.delete(found, (1, 2, 3, 4), 0), np.tile(2 * np.eye(3), (12, 1, 1)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("lower_", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_triangular_solve(dtype: str, left: bool, lower_: bool, transpose: bool, unit: bool) -> None:
    params = {
        "left_side": left, "lower": lower_, "transpose_a": transpose, "conjugate_a": False, "unit_diagonal": unit,
    }  # fmt: skip
    for n, columns in ((1, 1), (3, 1), (4, 5), (9, 16)):
        a = draw((18, n, n), dtype, n) * 0.3 + 2 * np.eye(n, dtype=dtype)
        b = draw((18, n, columns) if left else (18, columns, n), dtype, 1)
        other = np.tril if lower_ else np.triu
        read = other(a, 0 if not unit else (-1 if lower_ else 1)) + (np.eye(n) if unit else 0)
        rest = np.where(other(np.ones((n, n)), 0 if not unit else (-1 if lower_ else 1)) > 0, 0, np.nan)  # not read
        (x,) = lower("triangular_solve", [a + rest.astype(dtype), b], params, [(b.shape, b.dtype)])
        op = transposed(read) if transpose else read
        np.testing.assert_allclose(op @ x if left else x @ op, b, rtol=0, atol=20 * n * tolerance(dtype))


@pytest.mark.parametrize("name", ["scalar", "sse2", "avx2", "avx512"])
def test_other_machines(name: str) -> None:
    """With lanes of their own the same bits, and without lanes LAPACK's."""
    target = level(name)
    a = draw((16, 6, 6), "float64")
    packed, pivots = run_lu(a, target)
    want, chosen = run_lu(a)
    np.testing.assert_array_equal(pivots, chosen)
    np.testing.assert_allclose(packed, want, rtol=1e-11, atol=1e-13)


def test_strided_matrices_and_their_functions() -> None:
    base = draw((3, 12, 4, 4), "float64") + 4 * np.eye(4)

    def program(x: Any) -> Any:
        views = (
            fnp.swapaxes(x, -1, -2),
            fnp.swapaxes(x, 0, 1),
            x[:, ::-1],
            x[..., ::-1, ::-1],
            fnp.broadcast_to(x[0, 0], x.shape),
        )
        return [
            (fnp.linalg.inv(v), fnp.linalg.det(v), fnp.linalg.solve(v, x[..., :1] if v.shape == x.shape else v))
            for v in views
        ]

    for got, want in zip(fx.tree.leaves(fx.jit(program)(base)), fx.tree.leaves(program(base)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_a_matrix_gives_the_same_wherever_it_stands() -> None:
    """In any lane, with any neighbours, on any number of threads."""
    a = draw((101, 5, 5), "float64")
    f = fx.jit(lambda a: (flax.lu(a), fnp.linalg.inv(a)))
    whole = [np.asarray(x) for x in fx.tree.leaves(f(a))]
    for got, want in zip(fx.tree.leaves(f(a[3:60])), whole, strict=True):
        assert np.asarray(got).tobytes() == want[3:60].tobytes()
    many = draw((4000, 5, 5), "float64")
    results = []
    for threads in (1, 2, 3, 7):
        with jit.using_threads(threads):
            results.append([np.asarray(x).tobytes() for x in fx.tree.leaves(f(many))])
    assert all(r == results[0] for r in results)


def test_gradients_through_lanes() -> None:
    a = draw((16, 3, 3), "float64") + 3 * np.eye(3)
    slope = np.asarray(fx.jit(fx.grad(lambda a: fnp.log(abs(fnp.linalg.det(a))).sum()))(a))
    np.testing.assert_allclose(slope, transposed(np.linalg.inv(a)), rtol=1e-9)


def test_which_kernels_run() -> None:
    def text(shape: tuple[int, ...]) -> str:
        return str(fx.jit(fnp.linalg.inv).lower(np.zeros(shape, np.float32)).explain())

    lanes = host().lanes(jit.loop_ir.f32)
    assert "in lanes" not in text((lanes, 17, 17)) and "in lanes" not in text((4, 4))
    assert ("in lanes" in text((lanes, 4, 4))) == (lanes > 1)
