"""Linear algebra: fx.numpy.linalg, fx.lax.linalg and fx.scipy.linalg beside NumPy, SciPy and JAX.

The laws of the primitives (derivatives, vmap, jit, damaged and empty matrices) are those of ``op_specs``; here are the
public functions, the derivatives that they have of their own, and what they do where a matrix is degenerate.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
import fx.lax.linalg as flax
import fx.numpy as fnp
import fx.scipy.linalg as fsl
from fx.errors import DTypeError, ShapeError, UnsupportedFunctionError

L = fnp.linalg


def random(*shape: int, complex_: bool = False, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if complex_ else x


def adjoint(x: Any) -> np.ndarray:
    return np.swapaxes(np.conj(np.asarray(x)), -1, -2)


def arrays(out: Any) -> list[np.ndarray]:
    return [np.asarray(o) for o in fx.tree.leaves(out)]


def near(got: Any, want: Any, tolerance: float = 1e-11) -> None:
    """Relative to the largest number."""
    got, want = arrays(got), [np.asarray(w) for w in (want if isinstance(want, (tuple, list)) else [want])]
    assert [g.shape for g in got] == [w.shape for w in want]
    for g, w in zip(got, want):
        bound = tolerance * np.abs(w).max(initial=1.0)
        assert (np.abs(g - w) <= bound).all(), f"largest difference {np.abs(g - w).max()}\n{g}\n{w}"


# ------------------------------------------------------------------------------------- operands

KINDS = (False, True)


def operands(complex_: bool) -> dict[str, np.ndarray]:
    a = random(2, 4, 4, complex_=complex_) + 3 * np.eye(4)
    return {
        "a": a, "b": random(2, 4, 3, complex_=complex_, seed=1), "tall": random(5, 3, complex_=complex_, seed=2),
        "wide": random(3, 5, complex_=complex_, seed=3), "p": a @ adjoint(a) + np.eye(4), "v": random(4, complex_=complex_),
        "h": a + adjoint(a), "y": random(5, 2, complex_=complex_, seed=4), "z": random(3, complex_=complex_, seed=5),
    }  # fmt: skip


# name -> function of a namespace (fx.numpy.linalg, numpy.linalg or jax.numpy.linalg) and the operands
NUMPY: dict[str, Callable[..., Any]] = {
    "solve": lambda m, o: m.solve(o["a"], o["b"]),
    "solve of one matrix": lambda m, o: m.solve(o["a"][0], o["b"]),
    "solve of a vector": lambda m, o: m.solve(o["a"], o["v"]),
    "inv": lambda m, o: m.inv(o["a"]),
    "det": lambda m, o: m.det(o["a"]),
    "slogdet": lambda m, o: tuple(m.slogdet(o["a"])),
    "pinv": lambda m, o: m.pinv(o["tall"]),
    "pinv of wide": lambda m, o: m.pinv(o["wide"]),
    "lstsq": lambda m, o: m.lstsq(o["tall"], o["y"])[0],
    "lstsq of wide": lambda m, o: m.lstsq(o["wide"], o["z"])[0],
    "cond": lambda m, o: m.cond(o["a"]),
    "cond 1": lambda m, o: m.cond(o["a"], 1),
    "cond -2": lambda m, o: m.cond(o["a"], -2),
    "cond fro": lambda m, o: m.cond(o["a"], "fro"),
    "norm nuc": lambda m, o: m.norm(o["a"], "nuc", axis=(1, 2)),
    "norm 2": lambda m, o: m.norm(o["a"], 2, axis=(0, 2), keepdims=True),
    "matrix_norm -2": lambda m, o: m.matrix_norm(o["tall"], ord=-2),
    "matrix_power": lambda m, o: m.matrix_power(o["a"], -3),
    "qr": lambda m, o: tuple(m.qr(o["tall"])),
    "qr of wide": lambda m, o: tuple(m.qr(o["wide"])),
    "qr complete": lambda m, o: m.qr(o["tall"], "complete")[1],
    "qr r": lambda m, o: m.qr(o["tall"], "r"),
    "cholesky": lambda m, o: m.cholesky(o["p"]),
    "cholesky upper": lambda m, o: m.cholesky(o["p"], upper=True),
    "svdvals": lambda m, o: m.svdvals(o["tall"]),
    "svd hermitian": lambda m, o: m.svd(o["h"], hermitian=True)[1],
    "eigvalsh": lambda m, o: m.eigvalsh(o["h"]),
    "tensorinv": lambda m, o: m.tensorinv(o["a"][0].reshape(2, 2, 4), 2),
    "tensorsolve": lambda m, o: m.tensorsolve(o["a"][0].reshape(2, 2, 2, 2), o["v"].reshape(2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("complex_", KINDS, ids=["real", "complex"])
@pytest.mark.parametrize("name", NUMPY)
def test_as_numpy(name: str, complex_: bool) -> None:
    o, f = operands(complex_), NUMPY[name]
    near(f(L, o), f(np.linalg, o))


def weighed(f: Callable[[], Any], m: Any) -> Any:
    """A real number made of all real and imaginary parts."""
    out = f()
    total = 0.0
    for k, x in enumerate(out if isinstance(out, tuple) else (out,)):
        weights = np.cos(np.arange(2.0 * x.size) + k).reshape(2, *x.shape)
        total = total + m.sum(m.real(x) * weights[0]) + m.sum(m.imag(x) * weights[1])
    return total


def test_gradients_of_complex_matrices_as_jax() -> None:
    jax = pytest.importorskip("jax")
    o, f = operands(True), NUMPY["lstsq"]
    with jax.enable_x64(True):
        theirs = jax.grad(lambda o: weighed(lambda: f(jax.numpy.linalg, o), jax.numpy))(o)
        want = {k: np.asarray(v) for k, v in theirs.items()}
    got = fx.grad(lambda o: weighed(lambda: f(L, o), fnp))(o)
    for key, w in want.items():
        near(got[key], w, 1e-9)


@pytest.mark.parametrize("complex_", KINDS, ids=["real", "complex"])
@pytest.mark.parametrize("name", NUMPY)
def test_gradients_are_difference_quotients(name: str, complex_: bool) -> None:
    """With respect to complex matrices as JAX has them: the change along v is Re(sum(g v))."""
    o = operands(complex_)
    v = {k: random(*x.shape, complex_=complex_, seed=9) * 0.1 for k, x in o.items()}
    v = {**v, "h": v["h"] + adjoint(v["h"]), "p": v["p"] + adjoint(v["p"])}
    h = 1e-4

    def f(o: Any) -> Any:
        return weighed(lambda: NUMPY[name](L, o), fnp)

    got = sum(np.sum(np.asarray(g) * v[k]).real for k, g in fx.grad(f)(o).items())
    steps = [float(f({k: x + n * h * v[k] for k, x in o.items()})) for n in (1, -1, 2, -2)]
    quotient = (8 * (steps[0] - steps[1]) - (steps[2] - steps[3])) / (12 * h)
    assert abs(got - quotient) < 1e-8 * max(1.0, abs(quotient))


@pytest.mark.parametrize("name", ["solve", "slogdet", "pinv", "lstsq", "qr", "cholesky", "svdvals", "norm 2"])
def test_gradients_under_jit(name: str) -> None:
    o = {k: v.astype(np.float64) for k, v in operands(False).items()}
    g = fx.grad(lambda o: weighed(lambda: NUMPY[name](L, o), fnp))
    for key, want in g(o).items():
        near(fx.jit(g)(o)[key], want, 1e-11)


def test_numpys_own_functions_are_traced() -> None:
    """``np.linalg.slogdet(tracer)`` is ``fx.numpy.linalg.slogdet``."""
    a, p = operands(False)["a"][0], operands(False)["p"][0]
    near(fx.grad(lambda a: np.linalg.slogdet(a)[1])(a), np.linalg.inv(a).T)
    near(fx.jit(lambda a: np.linalg.eigh(a)[0])(p), np.linalg.eigvalsh(p))
    near(
        fx.grad(lambda a: np.sum(np.linalg.solve(a, np.ones(4))))(a),
        -np.linalg.solve(a.T, np.ones(4))[:, None] * np.linalg.solve(a, np.ones(4)),
    )
    near(fx.vmap(np.linalg.inv)(np.stack([a, p])), np.linalg.inv(np.stack([a, p])))
    u, s, vh = fx.jit(np.linalg.svd)(a)
    near((np.asarray(u) * np.asarray(s)) @ np.asarray(vh), a)
    assert type(fnp.linalg.eigh(a)).__name__ == "EighResult" and fnp.linalg.svd(a).S.shape == (4,)


W = np.outer(np.arange(1.0, 5), np.cos(np.arange(4.0)))
TWICE: dict[str, Callable[[Any], Any]] = {
    "solve": lambda a: fnp.sum(L.solve(a, np.ones(4)) ** 2),
    "slogdet": lambda a: L.slogdet(a)[1],
    "cholesky": lambda a: fnp.sum(L.cholesky(a @ a.T) ** 3),
    "qr": lambda a: fnp.sum(L.qr(a)[0] * W),
    "eigenvectors": lambda a: fnp.sum(L.eigh(a + a.T)[1] ** 2 * W),
    "singular vectors": lambda a: fnp.sum(L.svd(a)[0] ** 2 * W),
    "general eigenvectors": lambda a: fnp.sum(abs(L.eig(a)[1]) ** 2 * W),
    "pinv": lambda a: fnp.sum(L.pinv(a[:, :3]) ** 2),
    "sqrtm": lambda a: fnp.sum(fnp.real(fsl.sqrtm(a @ a.T)) * W),
    "solve_sylvester": lambda a: fnp.sum(fsl.solve_sylvester(a, a.T, W) * W),
}  # fmt: skip


@pytest.mark.parametrize("name", TWICE)
def test_second_derivatives(name: str) -> None:
    a, v, h = operands(False)["a"][0], random(4, 4, seed=7), 1e-4
    g = fx.grad(TWICE[name])
    one, two = ((np.asarray(g(a + k * h * v)) - np.asarray(g(a - k * h * v))) / (2 * k * h) for k in (1, 2))
    near(fx.jvp(g, (a,), (v,))[1], (4 * one - two) / 3, 1e-7)


# --------------------------------------------------------------------------------- degenerate matrices


def test_gradients_of_symmetric_functions_of_equal_values() -> None:
    eye = np.eye(3)
    near(fx.grad(lambda a: fnp.sum(L.eigvalsh(a)))(eye), eye)
    near(fx.grad(lambda a: fnp.sum(fnp.exp(L.eigvalsh(a))))(eye), np.e * eye)
    near(fx.grad(lambda a: L.norm(a, "nuc"))(eye), eye)
    near(fx.grad(lambda a: fnp.sum(L.svdvals(a) ** 2))(np.ones((3, 2))), 2 * np.ones((3, 2)))
    near(fx.grad(lambda a: fnp.sum(fnp.real(L.eigvals(a))))(eye), eye)
    near(fx.jacfwd(L.svdvals)(np.diag([2.0, 1.0]))[0], np.diag([1.0, 0.0]))


def test_the_gradient_of_a_projection_on_equal_eigenvalues() -> None:
    """The subspace of a repeated eigenvalue moves smoothly, although its basis is arbitrary."""
    turn, _ = np.linalg.qr(random(4, 4))
    a, b = turn @ np.diag([1.0, 1.0, 3.0, 3.0]) @ turn.T, random(4, 4, seed=1)

    def f(a: Any) -> Any:
        v = L.eigh(a).eigenvectors[:, :2]
        return fnp.sum((v @ v.T) * b)

    h, d = 1e-5, random(4, 4, seed=2)
    d = d + d.T
    quotient = (float(f(a + h * d)) - float(f(a - h * d))) / (2 * h)
    assert abs(float(fnp.sum(fx.grad(f)(a) * d)) - quotient) < 1e-7


def test_the_gradient_of_det_where_it_is_zero() -> None:
    """That of a matrix of rank n - 1 is its adjugate, of a smaller rank zero."""
    near(fx.grad(L.det)(np.diag([1.0, 2.0, 0.0])), np.diag([0.0, 0.0, 2.0]))
    near(fx.grad(L.det)(np.diag([0.0, 2.0, 3.0])), np.diag([6.0, 0.0, 0.0]))
    near(fx.grad(L.det)(np.diag([1.0, 0.0, 0.0])), np.zeros((3, 3)))
    near(fx.grad(L.det)(np.array([[0.0, 1.0], [2.0, 3.0]])), [[[3.0, -2.0], [-1.0, 0.0]]])
    near(fx.grad(L.det)(np.diag([1.0, 2.0, 0.0]).astype(np.float32)), np.diag([0.0, 0.0, 2.0]))
    near(fx.hessian(L.det)(np.eye(2)).reshape(4, 4), [[[0, 0, 0, 1], [0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0]]])


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_det_of_few_rows_is_a_polynomial(n: int, dtype: str) -> None:
    """It has exact derivatives where there are no factors: a compiled one is one map."""
    x = np.random.default_rng(n).normal(size=(2, 5, n, n))
    x = x.astype(dtype) if dtype == "float64" else x + 1j * x[::-1]
    near(fx.jit(L.det)(x), np.linalg.det(x))
    near(L.det(x), np.linalg.det(x))
    assert len(fx.jit(L.det).lower(x).compile().profile(x)) == 1
    assert not np.asarray(L.det(np.ones((n, n)))).any()
    near(fx.grad(L.det)(np.ones((3, 3)) + np.diag([1.0, 0, 0])), [[[0.0, 0, 0], [0, 1, -1], [0, -1, 1]]])


def test_pinv_of_equal_singular_values() -> None:
    d = random(3, 3)
    near(fx.jvp(L.pinv, (np.eye(3),), (d,))[1], -d)
    rank_one = np.outer([1.0, 2, 3], [1.0, 1, 0])
    near(L.pinv(rank_one), np.linalg.pinv(rank_one))
    assert int(L.matrix_rank(rank_one)) == 1 and int(L.matrix_rank(rank_one + 1e-9 * d, rtol=1e-6)) == 1


def test_matrices_without_factors_give_nan_for_themselves() -> None:
    good = operands(False)["p"][0]
    bad = np.stack([good, -good, np.full((4, 4), np.nan), np.diag([1.0, 1, 1, 0])])
    for f in (L.cholesky, L.svdvals, L.eigvalsh, L.eigvals, L.det, lambda a: L.slogdet(a)[1]):
        for g in (f, fx.jit(f)):
            out = np.asarray(g(bad))
            assert np.isfinite(out[0]).all() and np.isnan(out[2].reshape(-1)[-1])
    assert np.isnan(np.asarray(L.cholesky(bad))[1]).any() and not np.asarray(L.cholesky(bad))[1][0, 1]
    assert float(L.det(bad)[3]) == 0 and float(L.slogdet(bad)[1][3]) == -np.inf and float(L.slogdet(bad)[0][3]) == 0
    with np.errstate(all="ignore"):
        assert not np.isfinite(np.asarray(fx.jit(L.inv)(bad))[3]).all()
    assert np.isfinite(np.asarray(fx.grad(lambda a: L.slogdet(a)[1])(good))).all()


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_left_eigenvectors_of_defective_matrices(compiled: bool) -> None:
    """Matrices without a basis of eigenvectors, or with one that rounding makes singular, have left ones all the same."""
    jordan, rows = np.diag([2.0, 2, 2, 3]) + np.diag([1.0, 1, 0], 1), np.outer(np.ones(4), [3.25, 0.5, -2, 1.25])
    batch = np.stack([jordan, np.diag([1.0, 1], 2), rows, rows.T, operands(False)["p"][0]])
    eig = fx.jit(fx.lax.linalg.eig) if compiled else fx.lax.linalg.eig
    for d, eps in (("float32", 1e-3), ("float64", 1e-6)):
        w, left, right = map(np.asarray, eig(batch.astype(d)))
        near(np.swapaxes(left.conj(), -1, -2) @ batch, w[..., None] * np.swapaxes(left.conj(), -1, -2), eps)
        near(batch @ right, right * w[..., None, :], eps)
        for vectors in (left, right):
            near(np.linalg.norm(vectors, axis=-2), np.ones((5, 4)), eps)
        near(np.sort(w.real), np.sort(np.linalg.eigvals(batch).real), eps * 10)


# ------------------------------------------------------------------------------------ operands of any kind


def test_empty_matrices() -> None:
    for shape in ((0, 0), (2, 0, 0), (0, 3, 3)):
        z = np.zeros(shape)
        assert L.inv(z).shape == L.cholesky(z).shape == shape
        assert np.asarray(L.det(z)).tolist() == np.ones(shape[:-2]).tolist()
        assert L.eigvalsh(z).shape == L.svdvals(z).shape == shape[:-1]
        assert L.solve(z, np.zeros((*shape[:-1], 2))).shape == (*shape[:-1], 2)
        assert fx.grad(lambda a: fnp.sum(L.inv(a)) + fnp.sum(L.eigvalsh(a)))(z).shape == shape
    assert L.pinv(np.zeros((0, 3))).shape == (3, 0) and L.matrix_rank(np.zeros((0, 3))).item() == 0
    q, r = L.qr(np.zeros((3, 0)), "complete")
    near((q, r), (np.eye(3), np.zeros((3, 0))))
    assert [x.shape for x in L.lstsq(np.zeros((3, 0)), np.ones(3))] == [(0,), (0,), (), (0,)]


def test_dtypes() -> None:
    whole = np.array([[2, 1], [1, 3]], np.int32)
    assert L.inv(whole).dtype == np.float32 and L.solve(whole, np.ones(2)).dtype == np.float64
    near(L.solve(whole, np.array([3, 5])), np.array([0.8, 1.4]), 1e-6)
    single = whole.astype(np.complex64)
    assert L.eigvalsh(single).dtype == np.float32 and L.eigvals(whole.astype(np.float32)).dtype == np.complex64
    assert [x.dtype for x in L.slogdet(single)] == [np.complex64, np.float32]
    assert L.solve(whole.astype(np.float32), single).dtype == np.complex64
    with pytest.raises(DTypeError, match="lu takes float32, float64, complex64 or complex128.*float16"):
        L.inv(whole.astype(np.float16))


ERRORS: list[tuple[Any, type[Exception], str]] = [
    (lambda: L.inv(np.ones((2, 3))), ShapeError, "inv takes square matrices"),
    (lambda: L.svd(np.ones(3)), ShapeError, "svd takes matrices"),
    (lambda: L.solve(np.eye(3), np.ones(2)), ShapeError, "b with 3 rows"),
    (lambda: L.qr(np.eye(2), "full"), ValueError, "mode is 'reduced'"),
    (lambda: L.eigh(np.eye(2), "l"), ValueError, "UPLO is 'L' or 'U'"),
    (lambda: L.slogdet(np.eye(2), method="svd"), ValueError, "method is None"),
    (lambda: L.lstsq(np.eye(2), np.ones(3)), ShapeError, "as many right-hand rows"),
    (lambda: L.tensorinv(np.ones((2, 3))), ShapeError, "not square"),
    (lambda: L.tensorinv(np.ones((2, 3)), 0), ValueError, "ind must be positive"),
    (lambda: L.tensorsolve(np.ones((2, 3)), np.ones(2)), ShapeError, "not square"),
    (lambda: flax.triangular_solve(np.eye(2), np.eye(3)), ShapeError, "does not fit"),
    (lambda: flax.tridiagonal_solve(*[np.ones(3)] * 3, np.ones((2, 1))), ShapeError, "the diagonals"),
    (lambda: flax.triangular_sylvester(np.eye(2), np.eye(3), np.eye(2)), ShapeError, "right-hand side has shape"),
    (lambda: flax.householder_product(np.ones((2, 3)), np.ones(2)), ShapeError, "as many rows as columns"),
    (lambda: flax.lu_solve(np.eye(2), np.arange(2, dtype=np.int32), np.eye(2), 3), ValueError, "trans=3"),
    (lambda: flax.lu_pivots_to_permutation(np.zeros(3, np.int64), 3), DTypeError, "int32 pivots"),
    (lambda: flax.lu_pivots_to_permutation(np.zeros(3, np.int32), 2), ShapeError, "more rows"),
    (lambda: flax.cholesky_update(np.eye(2), np.ones(3)), ShapeError, "w has shape"),
    (lambda: flax.symmetric_product(np.ones((2, 3)), np.eye(3)), ShapeError, "needs C with 2 rows"),
    (lambda: flax.schur(np.eye(2), sort_eig_vals=True), UnsupportedFunctionError, "order of the eigenvalues"),
    (lambda: fsl.solve(np.eye(2), np.ones(2), assume_a="diag"), ValueError, "assume_a"),
    (lambda: fsl.solve_triangular(np.eye(2), np.ones(2), trans="X"), ValueError, "trans is"),
    (lambda: fsl.solve_triangular(np.eye(2), np.ones(3)), ShapeError, "with 2 rows"),
    (lambda: fsl.qr(np.eye(2), mode="raw"), ValueError, "mode is 'full'"),
    (lambda: fsl.qr_multiply(np.eye(2), np.eye(2), "both"), ValueError, "mode is 'left'"),
    (lambda: fsl.eigh(np.eye(2), np.eye(2), type=4), ValueError, "type is 1, 2 or 3"),
    (lambda: fsl.eigh(np.eye(2), eigvals=(0, 1)), ValueError, "slice the result"),
    (lambda: fsl.eigh_tridiagonal(np.ones(3), np.ones(3)), ShapeError, "diagonals of n"),
    (lambda: fsl.eigh_tridiagonal(np.ones(3), np.ones(2), select="v"), ValueError, "select is"),
    (lambda: fsl.schur(np.eye(2), "both"), ValueError, "output is"),
    (lambda: fsl.sqrtm(np.ones((2, 2, 2))), ShapeError, "one square matrix"),
    (lambda: fsl.funm(np.ones((2, 2, 2)), np.exp), ShapeError, "one square matrix"),
    (lambda: fsl.polar(np.eye(2), "up"), ValueError, "side is"),
    (lambda: fsl.solve_sylvester(np.eye(2), np.eye(3), np.eye(2)), ShapeError, "another C"),
    (lambda: fsl.expm_frechet(np.eye(2), np.eye(3)), ShapeError, "one shape"),
    (lambda: fsl.hadamard(3), ValueError, "power of 2"),
    (lambda: fsl.companion(np.ones(1)), ShapeError, "at least 2 elements"),
    (lambda: fsl.convolution_matrix(np.ones(2), 0), ValueError, "n must be positive"),
    (lambda: fsl.dft(3, "m"), ValueError, "scale is"),
    (lambda: fsl.pascal(3, "down"), ValueError, "kind is"),
    (lambda: fsl.invpascal(3, "down"), ValueError, "kind is"),
    (lambda: fsl.leslie(np.ones(3), np.ones(3)), ShapeError, "2 survival rates"),
    (lambda: fsl.block_diag(np.ones((1, 1, 1))), ShapeError, "takes matrices"),
    (lambda: fsl.circulant(1.0), ShapeError, "takes vectors"),
    (lambda: fnp.polyfit(np.ones(3), np.ones(2), 1), ShapeError, "polyfit takes points"),
    (lambda: fnp.polyfit(np.ones(3), np.ones(3), -1), ValueError, "must not be negative"),
    (lambda: fnp.polyfit(np.arange(2.0), np.ones(2), 1, cov=True), ValueError, "more than 2 points"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "kind", "words"), ERRORS, ids=[w for _, _, w in ERRORS])
def test_errors(f: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        f()


# ------------------------------------------------------------------------------------------ polynomials


def test_polyfit_and_roots() -> None:
    x, y, w = random(9), random(9, 2, seed=1), np.linspace(1, 2, 9)
    near(fnp.polyfit(x, y[:, 0], 3), np.polyfit(x, y[:, 0], 3))
    near(fnp.polyfit(x, y, 3, w=w), np.polyfit(x, y, 3, w=w))
    for cov in (True, "unscaled"):
        near(fnp.polyfit(x, y[:, 0], 2, cov=cov), np.polyfit(x, y[:, 0], 2, cov=cov))
        near(fnp.polyfit(x, y, 2, cov=cov, w=w), np.polyfit(x, y, 2, cov=cov, w=w))
    near(fnp.polyfit(x, y[:, 0], 2, full=True), np.polyfit(x, y[:, 0], 2, full=True))
    for p in ([1.0, 2, 3], [0.0, 0, 1, 2, 0, 0], [5.0], [0.0, 0], [1.0, -3, 2]):
        near(fnp.roots(np.array(p)), np.roots(p).astype(complex), 1e-12)
    near(fx.jit(lambda p: fnp.roots(p, strip_zeros=False))(np.array([1.0, -3, 2])), np.array([2.0 + 0j, 1]))
    near(fnp.real(fnp.poly(np.diag([1.0, 2, 3]))), np.poly([1, 2, 3]))


# ------------------------------------------------------------------------------- fx.scipy.linalg and SciPy

sl = pytest.importorskip("scipy.linalg")


def scipy_operands(complex_: bool) -> dict[str, np.ndarray]:
    a = random(5, 5, complex_=complex_)
    return {
        "a": a, "p": a @ adjoint(a) + np.eye(5), "b": random(5, 2, complex_=complex_), "s": random(3, 3, complex_=complex_),
        "c": random(5, 3, complex_=complex_), "h": a + adjoint(a), "v": random(5, complex_=complex_),
        "w": random(4, complex_=complex_),
    }  # fmt: skip


SCIPY: dict[str, Callable[..., Any]] = {
    "cho_solve": lambda m, o: m.cho_solve(m.cho_factor(o["p"]), o["b"]),
    "cho_solve lower": lambda m, o: m.cho_solve(m.cho_factor(o["p"], lower=True), o["v"]),
    "cholesky": lambda m, o: m.cholesky(o["p"]),
    "det": lambda m, o: m.det(o["a"]), "inv": lambda m, o: m.inv(o["a"]),
    "solve": lambda m, o: m.solve(o["a"], o["b"]), "solve pos": lambda m, o: m.solve(o["p"], o["v"], assume_a="pos"),
    **{f"solve_triangular {t}": (lambda m, o, t=t: m.solve_triangular(o["a"], o["b"], trans=t, lower=True)) for t in (0, 1, 2)},
    **{f"lu_solve {t}": (lambda m, o, t=t: m.lu_solve(m.lu_factor(o["a"]), o["b"], trans=t)) for t in (0, 1, 2)},
    "lu": lambda m, o: m.lu(o["c"]), "lu of wide": lambda m, o: m.lu(o["c"].T), "lu permuted": lambda m, o: m.lu(o["c"], permute_l=True),
    **{f"qr {k} {p}": (lambda m, o, k=k, p=p: m.qr(o["c"], mode=k, pivoting=p)) for k in ("full", "economic", "r") for p in (False, True)},
    "qr of wide": lambda m, o: m.qr(o["c"].T, pivoting=True),
    "qr_multiply": lambda m, o: m.qr_multiply(o["c"], o["b"].T, "right"),
    "qr_multiply left": lambda m, o: m.qr_multiply(o["c"], o["s"][:, :2], "left", pivoting=True),
    "qr_multiply vector": lambda m, o: m.qr_multiply(o["c"], o["v"], "right", conjugate=True),
    "hessenberg": lambda m, o: m.hessenberg(o["a"], calc_q=True),
    "svd": lambda m, o: m.svd(o["c"], compute_uv=False),
    **{f"eigh {t}": (lambda m, o, t=t: m.eigh(o["h"], o["p"], type=t, eigvals_only=True)) for t in (1, 2, 3)},
    "expm": lambda m, o: m.expm(o["a"]), "expm of large": lambda m, o: m.expm(5 * o["a"] - 20 * np.eye(5)),
    "expm of zero": lambda m, o: m.expm(0 * o["a"]), "expm_frechet": lambda m, o: m.expm_frechet(o["a"], o["p"]),
    "sqrtm": lambda m, o: m.sqrtm(o["p"]) + 0j, "funm": lambda m, o: m.funm(o["a"], np.exp) + 0j,
    "solve_sylvester": lambda m, o: m.solve_sylvester(o["a"], o["s"], o["c"]),
    **{f"polar {s}": (lambda m, o, s=s: m.polar(o["c"], s)) for s in ("left", "right")},
    "polar of wide": lambda m, o: m.polar(o["c"].T), "toeplitz": lambda m, o: m.toeplitz(o["v"], o["w"]),
    "toeplitz of one": lambda m, o: m.toeplitz(o["v"]), "hankel": lambda m, o: m.hankel(o["v"], o["w"]),
    "hankel of one": lambda m, o: m.hankel(o["v"]), "circulant": lambda m, o: m.circulant(o["v"]), "companion": lambda m, o: m.companion(o["v"]),
    **{f"fiedler_companion {n}": (lambda m, o, n=n: m.fiedler_companion(o["v"][:n])) for n in (2, 3, 4, 5)},
    "fiedler": lambda m, o: m.fiedler(o["v"]), "leslie": lambda m, o: m.leslie(o["v"], o["w"]),
    "block_diag": lambda m, o: m.block_diag(o["a"], o["v"], o["c"], 2.0),
    **{f"convolution_matrix {k} {n}": (lambda m, o, k=k, n=n: m.convolution_matrix(o["v"], n, k)) for k in ("full", "same", "valid") for n in (2, 7)},
}  # fmt: skip


def test_the_companion_of_a_constant_is_empty() -> None:
    """(0, 0), as in SciPy from 1.18 on; (0,) before."""
    assert fsl.fiedler_companion(np.ones(1)).shape == (0, 0)


@pytest.mark.parametrize("complex_", KINDS, ids=["real", "complex"])
@pytest.mark.parametrize("name", SCIPY)
def test_as_scipy(name: str, complex_: bool) -> None:
    o, f = scipy_operands(complex_), SCIPY[name]
    near(f(fsl, o), f(sl, o), 1e-9)


CONSTANT: dict[str, Callable[..., Any]] = {
    **{n: (lambda m, n=n: getattr(m, n)(5)) for n in ("hilbert", "invhilbert", "pascal", "invpascal", "helmert", "dft")},
    "helmert full": lambda m: m.helmert(4, full=True), "dft n": lambda m: m.dft(4, scale="n"),
    "dft sqrtn": lambda m: m.dft(3, scale="sqrtn"), "hadamard": lambda m: m.hadamard(8), "hadamard 1": lambda m: m.hadamard(1),
    **{f"{n} {k}": (lambda m, n=n, k=k: getattr(m, n)(4, k)) for n in ("pascal", "invpascal") for k in ("lower", "upper")},
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTANT)
def test_matrices_of_a_pattern(name: str) -> None:
    near(CONSTANT[name](fsl), CONSTANT[name](sl), 1e-6)


def test_schur_forms() -> None:
    for complex_ in KINDS:
        a = random(6, 6, complex_=complex_)
        t, z = map(np.asarray, fsl.schur(a))
        near(z @ t @ adjoint(z), a)
        near(adjoint(z) @ z, np.eye(6))
        assert (np.tril(t, -1 if complex_ else -2) == 0).all()
        for i in np.flatnonzero(
            np.diagonal(t, -1)
        ):  # a block of LAPACK's form: one number on the diagonal, other signs beside
            assert abs(t[i, i] - t[i + 1, i + 1]) < 1e-12 and t[i, i + 1] * t[i + 1, i] < 0
        for triangle, basis in (fsl.schur(a, "complex"), fsl.rsf2csf(t, z)):
            near(np.asarray(basis) @ np.asarray(triangle) @ adjoint(basis), a)
            assert (np.tril(np.asarray(triangle), -1) == 0).all()


def test_schur_forms_without_a_basis_of_eigenvectors() -> None:
    turns = np.kron(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.eye(3)) + np.diag(np.ones(4), 2)
    for a in (
        np.triu(np.ones((5, 5))),
        turns,
        np.zeros((3, 3)),
        np.diag(np.ones(3), -1),
        np.array([[1.0, 2.0], [-3.0, 4.0]]),
    ):
        for f in (fsl.schur, fx.jit(fsl.schur)):
            t, z = map(np.asarray, f(a))
            near(z @ t @ z.T, a, 1e-12)
            near(z.T @ z, np.eye(len(a)))
            assert (np.tril(t, -2) == 0).all()
            for i in np.flatnonzero(np.diagonal(t, -1)):
                assert abs(t[i, i] - t[i + 1, i + 1]) < 1e-9 and t[i, i + 1] * t[i + 1, i] < 0


def test_large_matrices_in_the_reference() -> None:
    """What is computed by blocks: LU in panels, triangular solves by halves."""
    a, b = random(70, 90), random(70, 3)
    lu, _, order = map(np.asarray, flax.lu(a))
    near((np.tril(lu[:, :70], -1) + np.eye(70)) @ np.triu(lu), a[order], 1e-12)
    near(L.solve(a[:, :70], b), np.linalg.solve(a[:, :70], b), 1e-9)
    t, z = map(np.asarray, fsl.schur(a[:40, :40].astype(np.float32)))
    near(z @ t @ z.T, a[:40, :40].astype(np.float32), 1e-5)


def test_generalised_eigenvectors() -> None:
    o = scipy_operands(True)
    h, p = o["h"], o["p"]
    for kind, left, right in ((1, h, p), (2, h @ p, np.eye(5)), (3, p @ h, np.eye(5))):
        w, v = map(np.asarray, fsl.eigh(h, p, type=kind))
        near(left @ v, right @ v * w, 1e-9)
    w, v = map(np.asarray, fsl.eigh_tridiagonal(o["v"].real, o["w"].real))
    near(w, sl.eigh_tridiagonal(o["v"].real, o["w"].real)[0])
    full = np.diag(o["v"].real) + np.diag(o["w"].real, 1) + np.diag(o["w"].real, -1)
    near(full @ v, v * w)
    near(fsl.eigh_tridiagonal(o["v"].real, o["w"].real, eigvals_only=True, select="i", select_range=(1, 2)), w[1:3])


def test_the_error_of_funm() -> None:
    out, error = fsl.funm(random(4, 4), fnp.cos, disp=False)
    near(out, sl.cosm(random(4, 4)) + 0j, 1e-9)
    assert 0 < float(error) < 1e-12


K = np.cos(np.arange(16.0)).reshape(4, 4)
ROTATION, _ = np.linalg.qr(random(4, 4))
POSITIVE = random(4, 4) @ random(4, 4).T + np.eye(4)
SMOOTH: dict[str, tuple[Callable[[Any], Any], np.ndarray]] = {
    "expm": (lambda a: fnp.sum(fsl.expm(a) * K), random(4, 4)),
    "expm of large": (lambda a: fnp.sum(fsl.expm(a) * K), 4 * random(4, 4)),
    "sqrtm": (lambda a: fnp.sum(fnp.real(fsl.sqrtm(a)) * K), POSITIVE),
    "sqrtm of equal eigenvalues": (lambda a: fnp.sum(fnp.real(fsl.sqrtm(a)) * K), np.eye(4)),
    "solve_sylvester": (lambda a: fnp.sum(fsl.solve_sylvester(a, POSITIVE, a @ K) * K), POSITIVE),
    "polar": (lambda a: fnp.sum(fsl.polar(a)[0] * K) + fnp.sum(fsl.polar(a)[1] * K), random(4, 4)),
    "polar of a rotation": (lambda a: fnp.sum(fsl.polar(a)[0] * K), ROTATION),
    "polar of tall": (lambda a: fnp.sum(fsl.polar(a)[0] * K[:, :2]), random(4, 2)),
    "polar of wide": (lambda a: fnp.sum(fsl.polar(a)[0] * K[:2]), random(2, 4)),
    "cho_solve": (lambda a: fnp.sum(fsl.cho_solve(fsl.cho_factor(a), K) * K), POSITIVE),
    "solve pos": (lambda a: fnp.sum(fsl.solve(a + a.T, K, assume_a="pos") * K), POSITIVE),
    "eigh": (lambda a: fnp.sum(fsl.eigh(a @ a.T, POSITIVE, eigvals_only=True) * K[0]), random(4, 4)),
    "toeplitz": (lambda a: fnp.sum(fsl.toeplitz(a[0], a[1]) * K), random(4, 4)),
    "householder_product": (lambda a: fnp.sum(flax.householder_product(a, fnp.sin(a[0])) * K), random(4, 4)),
    "cholesky_update": (lambda a: fnp.sum(flax.cholesky_update(fnp.triu(POSITIVE), a) ** 3), random(4)),
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_of_matrix_functions(name: str) -> None:
    f, x = SMOOTH[name]
    got, h = np.asarray(fx.grad(f)(x)), 1e-5
    v = random(*x.shape, seed=9)
    steps = [float(f(x + k * h * v)) for k in (1, -1, 2, -2)]
    quotient = (8 * (steps[0] - steps[1]) - (steps[2] - steps[3])) / (12 * h)
    assert abs(np.sum(got * v) - quotient) < 1e-8 * max(1.0, abs(quotient))


@pytest.mark.parametrize("name", ["expm", "sqrtm", "solve_sylvester", "polar", "cho_solve"])
def test_matrix_functions_under_jit_and_vmap(name: str) -> None:
    f, x = SMOOTH[name]
    near(fx.jit(fx.value_and_grad(f))(x), arrays(fx.value_and_grad(f)(x)), 1e-11)
    xs = np.stack([x, x + 0.1 * np.eye(4)])
    near(fx.vmap(fx.grad(f))(xs), np.stack([np.asarray(fx.grad(f)(x)) for x in xs]), 1e-11)


def test_expm_of_a_batch_scales_each_matrix() -> None:
    a = random(3, 4, 4) * np.array([0.01, 1, 9])[:, None, None]
    near(fsl.expm(a), sl.expm(a), 1e-9)
    assert np.isnan(np.asarray(fsl.expm(np.full((2, 2), 1e8)))).all()
    near(fsl.expm(np.triu(a[1]), upper_triangular=True), sl.expm(np.triu(a[1])))


# ------------------------------------------------------------------------------------- fx.lax.linalg and JAX


def test_functions_of_lax_as_jax() -> None:
    jax = pytest.importorskip("jax")
    theirs = jax.lax.linalg
    for complex_ in KINDS:
        o = scipy_operands(complex_)
        with jax.enable_x64(True):
            for f in (
                lambda m: m.tridiagonal(o["p"])[1:], lambda m: m.tridiagonal(o["p"], lower=False)[1:],
                lambda m: m.lu(o["c"]),
                lambda m: m.householder_product(*flax.geqrf(o["c"])) if m is flax else
                m.householder_product(*[np.asarray(x) for x in flax.geqrf(o["c"])]),
                lambda m: m.qr(o["c"], pivoting=True, full_matrices=False),
            ):  # fmt: skip
                want = jax.tree_util.tree_leaves(jax.jit(lambda f=f: f(theirs))())
                near(f(flax), tuple(np.asarray(x) for x in want), 1e-9)
        q = np.linalg.qr(o["c"], "complete")[0]
        near(flax.ormqr(*flax.geqrf(o["c"]), o["b"]), q @ o["b"])
        near(flax.ormqr(*flax.geqrf(o["c"]), o["b"].T, left=False, transpose=True), o["b"].T @ adjoint(q))
        c, p = o["c"], o["p"]
        near(flax.symmetric_product(c, p, alpha=2.0, beta=0.5), 2 * c @ c.T + p / 2)
        near(flax.symmetric_product(c, p + p.T, symmetrize_output=True), c @ c.T)
        r, w = adjoint(np.linalg.cholesky(o["p"])), o["v"]
        near(flax.cholesky_update(r, w), adjoint(np.linalg.cholesky(o["p"] + np.outer(w.conj(), w))))


def test_names_and_parameters_as_jax() -> None:
    jax = pytest.importorskip("jax")
    absent = {"qdwh", "ormqr_p", "cholesky_update_p", "symmetric_product_p", "tridiagonal_p", "householder_product_p"}
    for ours, theirs in ((flax, jax.lax.linalg), (fsl, jax.scipy.linalg)):
        names = {n for n in dir(theirs) if not n.startswith("_")}
        assert names - set(ours.__all__) == (absent if ours is flax else set())
        assert all(hasattr(ours, n) for n in ours.__all__)
        for n in names & set(ours.__all__):
            f = getattr(ours, n)
            if inspect.isfunction(f):
                missing = set(inspect.signature(getattr(theirs, n)).parameters) - set(inspect.signature(f).parameters)
                assert missing <= {"use_magma", "perturb_singular"}, f"{n} lacks {missing}"


def test_subsets_by_index() -> None:
    o = operands(True)
    u, s, vh = L.svd(o["tall"], full_matrices=False)
    near(L.svd(o["tall"], subset_by_index=(1, 3)), [np.asarray(x) for x in (u[:, 1:3], s[1:3], vh[1:3])])
    near(L.svd(o["tall"], compute_uv=False, subset_by_index=(0, 1)), np.asarray(s[:1]))
    near(flax.svd(o["tall"], subset_by_index=(1, 3)), [np.asarray(x) for x in (u[:, 1:3], s[1:3], vh[1:3])])
    v, w = flax.eigh(o["h"])
    near(flax.eigh(o["h"], subset_by_index=(0, 2)), [np.asarray(x) for x in (v[..., :2], w[..., :2])])
