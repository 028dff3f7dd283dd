"""Calls of the functions of ``jax.numpy.linalg``, ``jax.numpy.fft`` and the smaller namespaces of ``jax.scipy``: see ``jax_calls``.

Factors whose signs or phases are free are compared by their squares.  Accuracy, degenerate matrices and the other dtypes:
``test_linalg.py``, ``test_fft.py``, ``test_scipy_rest.py``, ``test_scipy_spectra.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jax_calls import POSITIVE, UNIT, A, Case, M, V, X

EYE = np.eye(3, dtype="float32")
WITH_COMPLEX = ("float32", "complex64")
TALL, FOUR, LONG, COUNT = A((4, 3)), A((4,)), A((12,)), A((5,), 0, 2, "int32")


def _spd(m: Any) -> Any:
    """A positive definite matrix."""
    return m @ m.conj().T + 2 * EYE


def _far(m: Any) -> Any:
    """A matrix with distinct eigenvalues, far from singular."""
    return m + np.diag(np.float32([6, 12, 18]))


def _sizes(*factors: Any) -> list[Any]:
    """Squares of what has a free sign or phase."""
    return [(x * x.conj()).real for x in factors]


def _sorted(values: Any) -> np.ndarray:
    return np.sort_complex(np.asarray(values))


LINALG = [
    Case("cholesky", (M,), lambda f, m: (f(_spd(m)), f(_spd(m), upper=True)), dtypes=WITH_COMPLEX, tol=1e-4),
    Case("inv det", (M,), lambda f, m: f(_far(m)), dtypes=WITH_COMPLEX, tol=1e-4),
    Case("slogdet", (M,), lambda f, m: list(f(_far(m))), tol=1e-4),
    Case("eigh", (M,), lambda f, m: [f(_spd(m))[0], *_sizes(f(_spd(m))[1])], dtypes=WITH_COMPLEX, tol=5e-4),
    Case("eigvalsh", (M,), lambda f, m: f(_spd(m)), tol=1e-4),
    Case("eigvals", (M,), lambda f, m: _sorted(f(m)), traced=False, tol=1e-4),
    Case("eig", (M,), lambda f, m: [_sorted(f(m)[0]), np.abs(np.asarray(m @ f(m)[1] - f(m)[1] * f(m)[0])) < 1e-4], traced=False, tol=1e-4),
    Case("svd", (X,), lambda f, x: [f(x, full_matrices=False)[1], *_sizes(f(x, full_matrices=False)[0], f(x, full_matrices=False)[2])], dtypes=WITH_COMPLEX, tol=5e-4),
    Case("svd", (X,), lambda f, x: f(x, compute_uv=False), tol=1e-4),
    Case("svdvals", (X,), tol=1e-4),
    Case("qr", (TALL,), lambda f, x: [*_sizes(*f(x)), *_sizes(f(x, mode="r"))], tol=5e-4),
    Case("solve", (M, V), lambda f, m, v: (f(_far(m), v), f(_far(m), m)), dtypes=WITH_COMPLEX, tol=1e-4),
    Case("lstsq", (TALL, FOUR), lambda f, a, b: list(f(a, b)), grad=False, tol=5e-4),
    Case("pinv", (TALL,), tol=5e-4),
    Case("matrix_power", (M,), lambda f, m: (f(m, 3), f(_far(m), -2), f(m, 0)), tol=1e-4),
    Case("matrix_rank", (M,), lambda f, m: (f(m), f(_spd(m)))),
    Case("norm", (X,), lambda f, x: (f(x), f(x, axis=1), f(x, 1, axis=0), f(x, np.inf), f(x, "nuc"), f(x, 2, keepdims=True), f(x, -np.inf, axis=1)), tol=2e-4),
    Case("vector_norm", (X,), lambda f, x: (f(x), f(x, axis=1, ord=3), f(x, axis=0, keepdims=True, ord=np.inf), f(x, ord=0)), dtypes=WITH_COMPLEX, tol=1e-4),
    Case("matrix_norm", (X,), lambda f, x: (f(x), f(x, ord=1), f(x, ord=2, keepdims=True)), tol=1e-4),
    Case("cond", (M,), lambda f, m: (f(_far(m)), f(_far(m), 1)), tol=1e-3),
    Case("multi_dot", (X, M, V), lambda f, x, m, v: (f([x, m, v]), f([x, m])), tol=1e-4),
    Case("tensorinv", (A((4, 4)),), lambda f, x: f((x + 6 * np.eye(4, dtype="float32")).reshape(2, 2, 4), ind=2), tol=1e-4),
    Case("tensorsolve", (A((4, 4)), A((2, 2))), lambda f, x, b: f((x + 6 * np.eye(4, dtype="float32")).reshape(2, 2, 2, 2), b), tol=1e-4),
    Case("matmul vecdot outer", (V, V), dtypes=("float32", "int32", "complex64"), tol=1e-4),
    Case("cross", (X, V), dtypes=("float32", "int32"), tol=1e-4),
    Case("tensordot", (X, X), lambda f, x, y: f(x, y, axes=2), tol=1e-4),
    Case("trace diagonal", (M,), lambda f, m: (f(m), f(m, offset=1)), dtypes=("float32", "int32")),
    Case("matrix_transpose", (X,), dtypes=("float32", "int32")),
]  # fmt: skip

TRANSFORMED = A((3, 4))
FFT = [
    Case("fft ifft", (TRANSFORMED,), lambda f, x: (f(x), f(x, n=6, axis=0), f(x, norm="ortho"), f(x, n=3)), dtypes=("complex64", "float32", "int32"), grad=False, tol=1e-4),
    Case("rfft ihfft", (TRANSFORMED,), lambda f, x: (f(x), f(x, n=5), f(x, axis=0, norm="forward")), dtypes=("float32", "int32"), tol=1e-4),
    Case("irfft hfft", (TRANSFORMED,), lambda f, x: (f(x), f(x, n=5), f(x, axis=0, norm="ortho")), dtypes=("complex64", "float32"), grad=False, tol=1e-4),
    Case("fft2 ifft2 fftn ifftn", (TRANSFORMED,), lambda f, x: (f(x), f(x, s=(2, 5)), f(x, axes=(1, 0), norm="ortho")), dtypes=("complex64", "float32"), grad=False, tol=1e-4),
    Case("rfft2 rfftn", (TRANSFORMED,), lambda f, x: (f(x), f(x, s=(2, 5))), tol=1e-4),
    Case("irfft2 irfftn", (TRANSFORMED,), lambda f, x: (f(x), f(x, s=(2, 5))), dtypes=("complex64",), grad=False, tol=1e-4),
    Case("fft rfft", (TRANSFORMED,), lambda f, x: abs(f(x * np.float32([1, 2, -1, 3])) + 1) ** 2, tol=1e-4),
    Case("irfft irfftn", (TRANSFORMED,), lambda f, x: f(x + 1j * x[:, ::-1]), tol=1e-4),
    Case("fftshift ifftshift", (TRANSFORMED,), lambda f, x: (f(x), f(x, axes=1)), dtypes=("float32", "int32")),
    Case("fftfreq rfftfreq", (), lambda f: (f(5), f(6, d=0.5))),
]  # fmt: skip

_UPPER = np.triu(np.ones((3, 3), "float32"))
SCIPY_LINALG = [
    Case("block_diag", (X, V), lambda f, x, v: f(x, v, x.T), dtypes=("float32", "int32")),
    Case("cho_factor", (M,), lambda f, m: f(_spd(m))[0] * _UPPER, tol=1e-4),
    Case("cholesky", (M,), lambda f, m: (f(_spd(m)), f(_spd(m), lower=True)), dtypes=WITH_COMPLEX, tol=1e-4),
    Case("cho_solve", (M, V), lambda f, m, v: f((m * _UPPER + 4 * EYE, False), v), tol=1e-4),
    Case("circulant", (V,), dtypes=("float32", "int32")),
    Case("companion leslie", (A((4,), 0.5, 2), A((3,), 0.5, 1)), lambda f, c, v: f(c) if f.__name__ == "companion" else f(c, v), tol=1e-4),
    Case("fiedler", (V,), dtypes=("float32",)),
    Case("fiedler_companion", (A((5,), 0.5, 2),), tol=1e-4),
    Case("convolution_matrix", (V,), lambda f, v: (f(v, 4), f(v, 4, mode="same"), f(v, 4, "valid"))),
    Case("hankel toeplitz", (V, FOUR), lambda f, c, r: (f(c), f(c, r)), dtypes=("float32", "int32")),
    Case("dft", (), lambda f: (f(4), f(3, scale="sqrtn")), tol=1e-4),
    Case("hadamard hilbert pascal", (), lambda f: f(4), tol=1e-4),
    Case("helmert", (), lambda f: (f(4), f(3, full=True)), tol=1e-4),
    Case("invhilbert invpascal", (), lambda f: f(4), tol=1e-4),
    Case("det inv", (M,), lambda f, m: f(_far(m)), dtypes=WITH_COMPLEX, tol=1e-4),
    Case("eigh", (M,), lambda f, m: [f(_spd(m))[0], *_sizes(f(_spd(m))[1]), f(_spd(m), eigvals_only=True)], tol=5e-4),
    Case("eigh_tridiagonal", (A((4,)), POSITIVE), lambda f, d, e: f(d, e.reshape(-1)[:3], eigvals_only=True), grad=False, vmap=False, tol=5e-4),
    Case("expm", (M,), lambda f, m: f(m * 0.3), dtypes=WITH_COMPLEX, tol=1e-4),
    Case("expm_frechet", (M, M), lambda f, m, e: list(f(m * 0.3, e)), tol=5e-4),
    Case("funm sqrtm", (M,), lambda f, m: f(_spd(m), lambda v: v * v) if f.__name__ == "funm" else f(_spd(m)), grad=False, vmap=False, tol=1e-3),
    Case("hessenberg", (M,), lambda f, m: _sizes(f(m)), grad=False, tol=5e-4),
    Case("lu", (M,), lambda f, m: list(f(_far(m))), tol=1e-4),
    Case("lu_factor", (M,), lambda f, m: list(f(_far(m))), tol=1e-4),
    Case("lu_solve", (M, V), lambda f, m, v: (f((_far(m), np.int32([0, 2, 2])), v), f((_far(m), np.int32([1, 1, 2])), v, trans=1)), tol=1e-4),
    Case("polar", (M,), lambda f, m: list(f(_far(m))), grad=False, vmap=False, tol=1e-3),
    Case("qr", (TALL,), lambda f, x: _sizes(*f(x, mode="economic")), tol=5e-4),
    Case("qr_multiply", (M, X, TALL), lambda f, m, x, t: [*_sizes(*f(m, x)), *_sizes(*f(m, x.T, "left")), *_sizes(*f(t, x.T, "left"))], grad=False, tol=5e-4),
    Case("schur", (M,), lambda f, m: _sizes(*f(_spd(m))), grad=False, vmap=False, tol=2e-3),
    Case("rsf2csf", (M,), lambda f, m: _sizes(*f(m * _UPPER, EYE)), grad=False, vmap=False, tol=1e-3),
    Case("solve", (M, V), lambda f, m, v: (f(_far(m), v), f(_spd(m), v, assume_a="pos")), dtypes=WITH_COMPLEX, tol=1e-4),
    Case("solve_sylvester", (M, M, M), lambda f, a, b, q: f(_spd(a), _spd(b), q), grad=False, vmap=False, tol=1e-3),
    Case("solve_triangular", (M, V), lambda f, m, v: (f(_far(m), v), f(_far(m), v, trans=1, lower=True), f(m, v, unit_diagonal=True)), dtypes=WITH_COMPLEX, tol=1e-4),
    Case("svd", (X,), lambda f, x: (f(x, compute_uv=False), *_sizes(*f(x, full_matrices=False)[::2])), tol=5e-4),
]  # fmt: skip

SCIPY_FFT = [
    Case("dct idct", (TRANSFORMED,), lambda f, x: (f(x), f(x, n=3, axis=0), f(x, norm="ortho")), tol=1e-4),
    Case("dctn idctn", (TRANSFORMED,), lambda f, x: (f(x), f(x, axes=(0,)), f(x, norm="ortho")), tol=1e-4),
]  # fmt: skip

_IMAGE, _KERNEL = A((5, 6)), A((3, 2))
SCIPY_SIGNAL = [
    Case("convolve correlate fftconvolve", (LONG, V), lambda f, x, y: (f(x, y), f(x, y, mode="same"), f(x, y, mode="valid")), tol=2e-4),
    Case("convolve correlate", (_IMAGE, _KERNEL), lambda f, x, y: f(x, y, mode="same"), tol=2e-4),
    Case("convolve2d correlate2d", (_IMAGE, _KERNEL), lambda f, x, y: (f(x, y), f(x, y, mode="valid"), f(x, y, mode="same")), tol=2e-4),
    Case("detrend", (LONG,), lambda f, x: (f(x), f(x, type="constant"), f(x, bp=[6])), tol=2e-4),
    Case("welch", (A((24,)),), lambda f, x: list(f(x, fs=2.0, nperseg=8)), tol=2e-4),
    Case("csd", (A((24,)), A((24,))), lambda f, x, y: list(f(x, y, nperseg=8)), grad=False, tol=2e-4),
    Case("stft", (A((24,)),), lambda f, x: list(f(x, nperseg=8)), grad=False, tol=2e-4),
    Case("istft", (A((5, 7)),), lambda f, z: list(f(z + 0j, nperseg=8)), grad=False, tol=2e-4),
]  # fmt: skip

_PLACES = A((2, 4), 0.2, 2.8)
SCIPY_SMALL = {
    "ndimage": [Case("map_coordinates", (A((4, 4)), _PLACES), lambda f, x, c: (f(x, list(c), 1), f(x, list(c + 2), 1, mode="nearest"), f(x, list(c), 0, cval=2.0)), tol=1e-4)],
    "integrate": [Case("trapezoid", (X,), lambda f, y: (f(y), f(y, dx=0.5, axis=0), f(y, np.float32([0, 1, 3]))))],
    "interpolate": [Case("RegularGridInterpolator", (TRANSFORMED, UNIT), lambda f, v, p: f((np.float32([0, 1, 2]), np.float32([0, 1, 2, 4])), v)(p.reshape(3, 2)), tol=1e-4)],
    "cluster.vq": [Case("vq", (A((6, 2)), A((3, 2))), lambda f, x, c: list(f(x, c)), tol=1e-4)],
    "sparse.linalg": [
        Case("cg", (M, V), lambda f, m, v: f(lambda x: _spd(m) @ x, v)[0], tol=1e-3),
        Case("bicgstab gmres", (M, V), lambda f, m, v: f(lambda x: _far(m) @ x, v)[0], tol=1e-3),
    ],
    "optimize": [Case("minimize", (V,), lambda f, c: f(lambda x: ((x - c) ** 2).sum() + ((x - c) ** 4).sum(), 0 * c, method="BFGS").x, grad=False, tol=1e-2)],
}  # fmt: skip

_TURN, _OTHER = A((4,), 0.2, 1.0), A((3,), -0.9, 0.9)
ROTATIONS = [
    Case("Rotation", (_TURN, V), lambda f, q, v: (f.from_quat(q).apply(v), f.from_quat(q).as_matrix(), f.from_quat(q).as_rotvec(), f.from_quat(q).inv().as_quat(), f.from_quat(q).magnitude()), tol=1e-4),
    Case("Rotation", (_OTHER, V), lambda f, r, v: (f.from_rotvec(r).apply(v, inverse=True), f.from_rotvec(r).as_mrp(), f.from_mrp(r * 0.5).as_matrix(), (f.from_rotvec(r) * f.from_rotvec(v * 0.3)).as_quat()), tol=2e-4),
    Case("Rotation", (_OTHER,), lambda f, r: (f.from_euler("xyz", r).as_matrix(), f.from_euler("zx", r[:2]).as_euler("xyz")), tol=2e-4),
    Case("Slerp", (A((2, 4), 0.2, 1.0), UNIT), lambda lib, f, q, t: f.init(np.float32([0, 1]), lib.scipy.spatial.transform.Rotation.from_quat(q))(t[0]).as_quat(), lib=True, vmap=False, tol=2e-4),
]  # fmt: skip

_SEGMENTS = A((5, 2))
OPS = [
    Case("segment_prod", (_SEGMENTS, COUNT), lambda f, x, i: f(x, i, num_segments=3), dtypes=("float32", "int32"), grad=False),
    Case("segment_sum segment_max segment_min", (_SEGMENTS, COUNT), lambda f, x, i: (f(x, i, num_segments=3), f(x, i, 3, mode="drop"), f(x[:, 0], i, num_segments=4)), dtypes=("float32", "int32")),
    Case("segment_sum", (_SEGMENTS,), lambda f, x: f(x, np.int32([0, 0, 1, 2, 2]), 3, indices_are_sorted=True)),
]  # fmt: skip

TABLES = {
    "numpy.linalg": LINALG,
    "numpy.fft": FFT,
    "scipy.linalg": SCIPY_LINALG,
    "scipy.fft": SCIPY_FFT,
    "scipy.signal": SCIPY_SIGNAL,
    **{f"scipy.{name}": cases for name, cases in SCIPY_SMALL.items()},
    "scipy.spatial.transform": ROTATIONS,
    "ops": OPS,
}
NOT_CALLED = {
    "scipy.optimize": {"OptimizeResults": "what minimize returns"},
}

# (name, dtype) -> why the dtype of the result differs from JAX's
DTYPE_RULES = {("hadamard", "float32"): "its dtype is int, which means 64 bits here"}
