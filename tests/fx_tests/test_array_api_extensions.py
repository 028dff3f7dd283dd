"""The extensions ``linalg`` and ``fft`` of the array API standard: forms, shapes and dtypes, against NumPy and the definitions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from array_api_standard import COMPLEX, FLOATING, KINDS

import fx
import fx.numpy as fnp

inf = math.inf
INEXACT = FLOATING + COMPLEX


def _matrices(shape: tuple[int, ...], d: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if d in COMPLEX else x).astype(d)


def _both(call: Callable[..., Any], *operands: np.ndarray) -> list[list[Any]]:
    """The results, eager and traced, each as a list."""
    with fx.config.using(backend="reference"):
        traced = fx.jit(lambda *xs: call(fnp, *xs))(*operands)
    both = (call(fnp, *map(fnp.asarray, operands)), traced)
    return [list(v) if isinstance(v, (tuple, list)) else [v] for v in both]


def _check(call: Callable[..., Any], *operands: np.ndarray, tol: float) -> None:
    """A call of ``xp`` on arrays gives NumPy's values, shapes and dtypes."""
    want = call(np, *operands)
    want = [np.asarray(w) for w in (want if isinstance(want, (tuple, list)) else [want])]
    for results in _both(call, *operands):
        assert len(results) == len(want)
        for k, (g, w) in enumerate(zip(results, want)):
            assert (g.shape, g.dtype) == (w.shape, w.dtype), k
            np.testing.assert_allclose(g, w, rtol=tol, atol=tol, err_msg=str(k))


def _tolerance(d: str) -> float:
    return 2e-4 if d in ("float32", "complex64") else 1e-10


# on an array of two matrices of 3 x 2, a vector of 3 and one of 2
FORMS: dict[str, Callable[..., Any]] = {
    "vector_norm": lambda xp, a, u, v: [xp.linalg.vector_norm(u, ord=o) for o in (0, 1, -1, 2, -2, inf, -inf, 3, 0.5, 2.5)],
    "vector_norm axes": lambda xp, a, u, v: (xp.linalg.vector_norm(a), xp.linalg.vector_norm(a, axis=(0, 2)), xp.linalg.vector_norm(a, axis=-1, ord=1),
                                             xp.linalg.vector_norm(a, keepdims=True), xp.linalg.vector_norm(a, axis=(1, 2), ord=inf, keepdims=True)),
    "matrix_norm": lambda xp, a, u, v: [xp.linalg.matrix_norm(a, ord=o) for o in ("fro", "nuc", 1, -1, 2, -2, inf, -inf)],
    "matrix_norm dims": lambda xp, a, u, v: (xp.linalg.matrix_norm(a), xp.linalg.matrix_norm(a, keepdims=True, ord=1), xp.linalg.matrix_norm(a[0])),
    "diagonal": lambda xp, a, u, v: [xp.linalg.diagonal(a, offset=k) for k in (-2, -1, 0, 1)],
    "trace": lambda xp, a, u, v: (*[xp.linalg.trace(a, offset=k) for k in (-2, -1, 0, 1, 5)], xp.linalg.trace(a, dtype=a.dtype)),
    "outer": lambda xp, a, u, v: (xp.linalg.outer(u, v), xp.linalg.outer(v, v)),
    "cross": lambda xp, a, u, v: (xp.linalg.cross(u, u[::-1]), xp.linalg.cross(xp.matrix_transpose(a), u), xp.linalg.cross(a, u[:, None], axis=-2),
                                  xp.linalg.cross(a[:1], a[0, :, :1], axis=-2)),
    "matmul": lambda xp, a, u, v: (xp.linalg.matmul(a, v), xp.linalg.matmul(u, a), xp.linalg.matmul(a, a.mT), xp.linalg.matmul(a[:1], a.mT), u @ u),
    "matrix_transpose": lambda xp, a, u, v: (xp.linalg.matrix_transpose(a), a.mT, a[0].T),
    "vecdot": lambda xp, a, u, v: (xp.linalg.vecdot(u, u), xp.linalg.vecdot(a, v), xp.linalg.vecdot(a, u[:, None], axis=-2), xp.linalg.vecdot(a[0], a)),
    "tensordot": lambda xp, a, u, v: (xp.linalg.tensordot(a, a, axes=((0, 1), (0, 1))), xp.linalg.tensordot(a, v, axes=1), xp.linalg.tensordot(u, v, axes=0),
                                      xp.linalg.tensordot(a, a, axes=([-1], [2])), xp.linalg.tensordot(a[0], a[1])),
    "svdvals": lambda xp, a, u, v: (xp.linalg.svdvals(a), xp.linalg.svdvals(a.mT)),
    "pinv": lambda xp, a, u, v: (xp.linalg.pinv(a), xp.linalg.pinv(a, rtol=0.5), xp.linalg.pinv(a[0])),
}  # fmt: skip


@pytest.mark.parametrize("d", INEXACT)
@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str, d: str) -> None:
    operands = (_matrices((2, 3, 2), d), _matrices((3,), d, 1), _matrices((2,), d, 2))
    _check(FORMS[name], *operands, tol=_tolerance(d))


# of square matrices: two of them, a right side for both, one vector
SQUARE: dict[str, Callable[..., Any]] = {
    "det": lambda xp, a, b, v: (xp.linalg.det(a), xp.linalg.det(a[0])),
    "inv": lambda xp, a, b, v: (xp.linalg.inv(a), xp.linalg.inv(a[0])),
    "matrix_power": lambda xp, a, b, v: [xp.linalg.matrix_power(a, n) for n in (0, 1, 2, 3, -1, -2)],
    "slogdet": lambda xp, a, b, v: (*xp.linalg.slogdet(a), *xp.linalg.slogdet(a[0] * 0)),
    "solve": lambda xp, a, b, v: (xp.linalg.solve(a, b), xp.linalg.solve(a, v), xp.linalg.solve(a[0], b), xp.linalg.solve(a[:1], b), xp.linalg.solve(a, b[0]), xp.linalg.solve(a[0], v)),
    "eigvalsh": lambda xp, a, b, v: xp.linalg.eigvalsh(a + xp.conj(a).mT),
}  # fmt: skip


@pytest.mark.parametrize("d", INEXACT)
@pytest.mark.parametrize("name", SQUARE)
def test_square_matrices(name: str, d: str) -> None:
    a = _matrices((2, 3, 3), d) + 3 * np.eye(3, dtype=d)
    _check(SQUARE[name], a, _matrices((2, 3, 2), d, 1), _matrices((3,), d, 2), tol=_tolerance(d))


@pytest.mark.parametrize("d", INEXACT)
def test_ranks_with_a_tolerance_for_each_matrix(d: str) -> None:
    """rtol against the largest singular value: none, a number, or an array of one for each."""
    real = np.finfo(d).dtype
    values = np.array([[4.0, 2.0, 1e-9 if real == np.float64 else 1e-4], [1.0, 1e-3, 0.0]], real)
    q = np.linalg.qr(_matrices((2, 3, 3), d))[0]
    a = (q * values[:, None]).astype(d)
    for rtol, ranks in (
        (None, [3, 2]),
        (0.25, [2, 1]),
        (np.array([0.75, 1e-5], real), [1, 2]),
        (np.array(1e-2, real), [2, 1]),
    ):
        for (got,) in _both(lambda xp, x: xp.linalg.matrix_rank(x, rtol=rtol), a):
            assert got.dtype == fnp.__array_namespace_info__().default_dtypes()["integral"]
            np.testing.assert_array_equal(got, ranks)
        if rtol is not None:
            _check(lambda xp, x: xp.linalg.pinv(x, rtol=rtol), a, tol=30 * _tolerance(d))


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (3, 3), (2, 4, 3), (2, 0, 3), (0, 3, 2)])
@pytest.mark.parametrize("d", INEXACT)
def test_factorizations(d: str, shape: tuple[int, ...]) -> None:
    """The factors have the shapes and dtypes of the standard, orthonormal columns, and make the matrix again."""
    a = _matrices(shape, d)
    *batch, m, n = shape
    k, real, tol = min(m, n), np.finfo(d).dtype, _tolerance(d)
    close = functools.partial(np.testing.assert_allclose, rtol=tol, atol=tol)

    def orthonormal(u: np.ndarray) -> None:
        close(np.conj(u).mT @ u, np.broadcast_to(np.eye(u.shape[-1]), (*batch, u.shape[-1], u.shape[-1])))

    for mode, size in (("reduced", k), ("complete", m)):
        for q, r in _both(lambda xp, x: xp.linalg.qr(x, mode=mode), a):
            q, r = np.asarray(q), np.asarray(r)
            assert (q.shape, r.shape) == ((*batch, m, size), (*batch, size, n)) and q.dtype == r.dtype == d
            close(q @ r, a)
            orthonormal(q)
            close(r, np.triu(r))
    for full in (True, False):
        for u, s, vh in _both(lambda xp, x: xp.linalg.svd(x, full_matrices=full), a):
            u, s, vh = np.asarray(u), np.asarray(s), np.asarray(vh)
            assert u.shape == (*batch, m, m if full else k) and vh.shape == (*batch, n if full else k, n)
            assert s.shape == (*batch, k) and (u.dtype, s.dtype, vh.dtype) == (d, real, d)
            close((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], a)
            orthonormal(u)
            orthonormal(np.conj(vh).mT)
            assert (np.diff(s) <= 0).all() and (s >= 0).all()
    h = np.conj(a).mT @ a + np.eye(n, dtype=d)
    for upper in (False, True):
        for (factor,) in _both(lambda xp, x: xp.linalg.cholesky(x, upper=upper), h):
            factor = np.asarray(factor)
            assert factor.dtype == d and factor.shape == h.shape
            close(factor, np.triu(factor) if upper else np.tril(factor))
            close(np.conj(factor).mT @ factor if upper else factor @ np.conj(factor).mT, h)
    for values, vectors in _both(lambda xp, x: xp.linalg.eigh(x), h):
        values, vectors = np.asarray(values), np.asarray(vectors)
        assert (values.dtype, vectors.dtype) == (real, d) and (values.shape, vectors.shape) == (h.shape[:-1], h.shape)
        close((vectors * values[..., None, :]) @ np.conj(vectors).mT, h)
        orthonormal(vectors)


def test_norms_of_nothing() -> None:
    """0, but for the least of nothing."""
    x = fnp.zeros((2, 0, 3))
    for ord in ("fro", "nuc", 1, 2, inf):
        for m in (x, x.mT):
            got = fnp.linalg.matrix_norm(m, ord=ord)
            assert got.shape == (2,) and got.tolist() == [0, 0]
    for ord in (0, 1, 2, 3, inf):
        assert (
            fnp.linalg.vector_norm(x, ord=ord) == 0
            and fnp.linalg.vector_norm(x, ord=ord, axis=1).tolist() == [[0, 0, 0]] * 2
        )


def test_names_of_results() -> None:
    x = fnp.eye(2)
    for result, fields in (
        (fnp.linalg.eigh(x), ("eigenvalues", "eigenvectors")), (fnp.linalg.qr(x), ("Q", "R")), (fnp.linalg.slogdet(x), ("sign", "logabsdet")),
        (fnp.linalg.svd(x), ("U", "S", "Vh")),
    ):  # fmt: skip
        assert result._fields == fields


def test_what_linalg_refuses() -> None:
    x, v = fnp.ones((2, 3)), fnp.ones(3)
    for call in (
        lambda: fnp.linalg.cross(fnp.ones(2), fnp.ones(2)), lambda: fnp.linalg.cross(fnp.ones((3, 1)), fnp.ones((3, 3)), axis=-1),
        lambda: fnp.linalg.outer(x, v), lambda: fnp.linalg.solve(x, v), lambda: fnp.linalg.inv(x), lambda: fnp.linalg.det(v),
        lambda: fnp.linalg.matrix_norm(v), lambda: fnp.linalg.matrix_transpose(v), lambda: fnp.linalg.vecdot(x, fnp.ones((2, 1))),
        lambda: fnp.linalg.matrix_power(x, 2),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            call()


@pytest.mark.parametrize("d", KINDS["integral"])
def test_products_of_integers(d: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 5, s).astype(d) for s in ((2, 3), (3,)))
    calls = lambda xp, x, v: (
        x @ v, xp.linalg.outer(v, v), xp.linalg.cross(x, v), xp.linalg.vecdot(x, v), xp.linalg.tensordot(x, v, axes=1),
        xp.linalg.diagonal(x), x.mT,
    )  # fmt: skip
    _check(calls, a, b, tol=0)


# ------------------------------------------------------------------------------------------- Fourier


@pytest.mark.parametrize("d", COMPLEX)
def test_transforms_and_their_inverses(d: str) -> None:
    real, tol = np.finfo(d).dtype, _tolerance(d)
    z, x = _matrices((4, 5), d), _matrices((4, 5), d).real.copy()
    close = functools.partial(np.testing.assert_allclose, rtol=tol, atol=tol)
    fft = fnp.fft
    for norm in ("backward", "ortho", "forward"):
        for there, back in ((fft.fft, fft.ifft), (fft.fftn, fft.ifftn)):
            for f, g in ((there, back), (back, there)):
                assert f(fnp.asarray(z), norm=norm).dtype == d
                close(g(f(fnp.asarray(z), norm=norm), norm=norm), z)
        for axis in (0, -1):
            n = x.shape[axis]
            spectrum = fft.rfft(fnp.asarray(x), axis=axis, norm=norm)
            assert spectrum.dtype == d and spectrum.shape[axis] == n // 2 + 1
            close(fft.irfft(spectrum, n=n, axis=axis, norm=norm), x)
            half = fft.ihfft(fnp.asarray(x), axis=axis, norm=norm)
            assert half.dtype == d
            whole = fft.hfft(half, n=n, axis=axis, norm=norm)
            assert whole.dtype == real
            close(whole, x)
        spectrum = fft.rfftn(fnp.asarray(x), s=(4, 5), axes=(0, 1), norm=norm)
        assert spectrum.dtype == d and spectrum.shape == (4, 3)
        back = fft.irfftn(spectrum, s=(4, 5), axes=(0, 1), norm=norm)
        assert back.dtype == real
        close(back, x)


@pytest.mark.parametrize("d", COMPLEX)
def test_padding_and_trimming(d: str) -> None:
    z = _matrices((3, 4), d)
    x = z.real.copy()
    calls: list[tuple[np.ndarray, Callable[..., Any]]] = [
        *[(z, lambda xp, v, n=n, f=f: getattr(xp.fft, f)(v, n=n, axis=0)) for n in (1, 3, 6) for f in ("fft", "ifft", "irfft", "hfft")],
        *[(x, lambda xp, v, n=n, f=f: getattr(xp.fft, f)(v, n=n)) for n in (1, 4, 7) for f in ("rfft", "ihfft")],
        *[(z, lambda xp, v, s=s, f=f: getattr(xp.fft, f)(v, s=s, axes=(0, 1))) for s in ((2, 6), (5, 4)) for f in ("fftn", "ifftn", "irfftn")],
        (x, lambda xp, v: xp.fft.rfftn(v, s=(5, 3), axes=(1, 0))), (z, lambda xp, v: xp.fft.fftn(v, s=(-1, 2), axes=(0, 1))),
        (z, lambda xp, v: (xp.fft.fftshift(v), xp.fft.ifftshift(v), xp.fft.fftshift(v, axes=0), xp.fft.ifftshift(v, axes=(1,)))),
    ]  # fmt: skip
    for operand, call in calls:
        _check(call, operand, tol=_tolerance(d))


@pytest.mark.parametrize("d", FLOATING)
def test_frequencies(d: str) -> None:
    for n in (1, 4, 5):
        for name in ("fftfreq", "rfftfreq"):
            got = getattr(fnp.fft, name)(n, d=0.25, dtype=getattr(fnp, d), device="cpu")
            assert got.dtype == d
            np.testing.assert_allclose(got, getattr(np.fft, name)(n, 0.25), rtol=1e-6)
