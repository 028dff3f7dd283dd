"""Functions of ``jax.lax.linalg`` that are made of the factorisations."""

from __future__ import annotations

import enum
from typing import Any

from ..errors import ShapeError, UnsupportedFunctionError
from ..primitives import decompositions, spectral
from ..primitives.decompositions import householder_product
from ..primitives.elementwise import add, gt, mul, neg, select
from ..primitives.helpers import Value, full_like, ones_like, zeros_like
from ..primitives.joining import concatenate, pad
from ..primitives.joining import slice as slice_
from ..primitives.matrices import (
    as_complex,
    as_rows,
    check_matrix,
    columns,
    diagonal,
    hermitian,
    is_complex,
    mH,
    mm,
    mT,
    real_part,
    rows,
    scaled,
    tril,
)  # fmt: skip
from ..primitives.shaping import expand_dims, rev
from ..trace import aval_of

__all__ = [
    "EigImplementation", "EighImplementation", "SvdAlgorithm", "cholesky_update", "eig", "eigh", "ormqr", "schur", "svd",
    "symmetric_product", "tridiagonal",
]  # fmt: skip


class SvdAlgorithm(enum.Enum):
    """Accepted as in JAX: LAPACK's divide and conquer computes all of them."""

    DEFAULT = "default"
    QR = "QR"
    JACOBI = "Jacobi"
    POLAR = "polar"


class EighImplementation(enum.Enum):
    """Accepted as in JAX: LAPACK computes all of them."""

    QR = "qr"
    JACOBI = "jacobi"
    QDWH = "qdwh"


class EigImplementation(enum.Enum):
    """Accepted as in JAX: LAPACK computes all of them."""

    CUSOLVER = "cusolver"
    MAGMA = "magma"
    LAPACK = "lapack"


def _part(x: Value, subset: tuple[int, int] | None, axis: int) -> Value:
    """The entries ``subset[0]:subset[1]`` along an axis that is counted from the end."""
    if subset is None:
        return x
    shape = aval_of(x).shape
    start, stop, _ = slice(*subset).indices(shape[axis])
    starts, stops = [0] * len(shape), list(shape)
    starts[axis], stops[axis] = start, max(start, stop)
    return slice_(x, starts, stops, None)


def svd(
    x: Value, *, full_matrices: bool = True, compute_uv: bool = True, subset_by_index: tuple[int, int] | None = None,
    algorithm: SvdAlgorithm | None = None,
) -> Any:  # fmt: skip
    """The singular value decomposition ``x = U diag(s) V^H``, s falling.

    Args:
        x: matrices ``(..., m, n)``; k is the smaller of m and n.
        full_matrices: U is ``(..., m, m)`` and V^H ``(..., n, n)``; otherwise ``(..., m, k)`` and ``(..., k, n)``.
        compute_uv: False returns s alone.
        subset_by_index: ``(start, end)``: only those singular values, and their vectors.
        algorithm: accepted as in JAX.
    """
    if not compute_uv:
        return _part(spectral.svd(x, compute_uv=False), subset_by_index, -1)
    u, s, vh = spectral.svd(x, full_matrices=full_matrices and subset_by_index is None)
    return _part(u, subset_by_index, -1), _part(s, subset_by_index, -1), _part(vh, subset_by_index, -2)


def eigh(
    x: Value, *, lower: bool = True, symmetrize_input: bool = True, sort_eigenvalues: bool = True,
    subset_by_index: tuple[int, int] | None = None, implementation: EighImplementation | None = None,
) -> tuple[Value, Value]:  # fmt: skip
    """The eigenvectors (columns) and the eigenvalues of Hermitian matrices, rising.

    Args:
        x: ``(..., n, n)``.
        lower: which triangle is read, without ``symmetrize_input``.
        symmetrize_input: take the Hermitian part of ``x`` first.
        sort_eigenvalues: they are sorted in any case.
        subset_by_index: ``(start, end)``: only those eigenvalues, and their vectors.
        implementation: accepted as in JAX.
    """
    v, w = spectral.eigh(x, lower=lower, symmetrize_input=symmetrize_input)
    return _part(v, subset_by_index, -1), _part(w, subset_by_index, -1)


def eig(
    x: Value, *, compute_left_eigenvectors: bool = True, compute_right_eigenvectors: bool = True,
    enable_eigvec_derivs: bool = True, implementation: EigImplementation | None = None, use_magma: bool | None = None,
) -> list[Value]:  # fmt: skip
    """The eigenvalues of square matrices and, as asked for, left and right eigenvectors of length 1, all complex.

    ``x V = V diag(w)`` and ``U^H x = diag(w) U^H`` for the result ``[w, U, V]``.  Eigenvectors have derivatives in any case.
    """
    return spectral.eig(
        x, compute_left_eigenvectors=compute_left_eigenvectors, compute_right_eigenvectors=compute_right_eigenvectors
    )


def schur(
    x: Value, *, compute_schur_vectors: bool = True, sort_eig_vals: bool = False, select_callable: Any = None
) -> tuple[Value, ...]:
    """The Schur form ``x = Z T Z^H``: Z is unitary and T upper triangular (for real matrices with 2 x 2 blocks).

    Returns:
        ``(T, Z)``, or ``(T,)``.
    """
    if sort_eig_vals or select_callable is not None:
        raise UnsupportedFunctionError("schur: the order of the eigenvalues cannot be chosen; take sort_eig_vals=False")
    return spectral.schur(x, compute_schur_vectors=compute_schur_vectors)


def cholesky_update(r_matrix: Value, w_vector: Value) -> Value:
    """The upper triangular R' with ``R'^T R' = R^T R + w w^T``, by the QR factors of R with w below it.

    Args:
        r_matrix: upper triangular, ``(n, n)``.
        w_vector: ``(n,)``.
    """
    n, _ = check_matrix("cholesky_update", aval_of(r_matrix), square=True)
    if aval_of(w_vector).shape != aval_of(r_matrix).shape[:-1]:
        raise ShapeError(f"cholesky_update: R is {aval_of(r_matrix)}, so w has shape ({n},), not {aval_of(w_vector)}")
    below = expand_dims(w_vector, (aval_of(w_vector).ndim - 1,))
    _, r = decompositions.qr(concatenate([r_matrix, below], aval_of(r_matrix).ndim - 2), full_matrices=False)
    d = real_part(diagonal(r))
    flips = as_rows(select(gt(neg(d), zeros_like(d)), neg(ones_like(d)), ones_like(d)))
    return mul(r, as_complex(flips) if is_complex(r) else flips)


def symmetric_product(
    a_matrix: Value, c_matrix: Value, *, alpha: float = 1.0, beta: float = 0.0, symmetrize_output: bool = False
) -> Value:
    """``alpha * A A^T + beta * C``; the whole matrix is there in any case.

    Args:
        a_matrix: ``(..., n, k)``.
        c_matrix: ``(..., n, n)``.
    """
    n, _ = check_matrix("symmetric_product", aval_of(a_matrix))
    if aval_of(c_matrix).shape != (*aval_of(a_matrix).shape[:-1], n):
        raise ShapeError(
            f"symmetric_product: A {aval_of(a_matrix)} needs C with {n} rows and columns, not {aval_of(c_matrix)}"
        )
    out = add(scaled(mm(a_matrix, mT(a_matrix)), alpha), scaled(c_matrix, beta))
    return add(tril(out), mT(tril(out, -1))) if symmetrize_output else out


def ormqr(a: Value, taus: Value, c: Value, *, left: bool = True, transpose: bool = False) -> Value:
    """The product of a matrix and the square Q of reflectors: ``Q c`` or ``c Q``, with ``transpose`` of Q^H.

    Args:
        a: reflectors as ``geqrf`` packs them ``(..., m, k)``.
        taus: their factors ``(..., k)``.
        c: ``(..., m, n)`` with ``left``, else ``(..., n, m)``.
    """
    m, n = check_matrix("ormqr", aval_of(a))
    edges = [(0, 0, 0)] * (aval_of(a).ndim - 1)
    q = householder_product(pad(a, full_like(aval_of(a), 0, shape=()), [*edges, (0, max(m - n, 0), 0)]), taus)
    q = mH(q) if transpose else q
    return mm(q, c) if left else mm(c, q)


def tridiagonal(a: Value, *, lower: bool = True) -> tuple[Value, Value, Value, Value]:
    """The reduction ``a = Q T Q^H`` of Hermitian matrices to real tridiagonal form.

    Args:
        a: ``(..., n, n)``.
        lower: which triangle is read; with the upper one the reduction begins at the last column.

    Returns:
        The packed reflectors, the diagonal of T, its off-diagonal, and the factors of the reflectors.
    """
    full = hermitian(a, lower)
    n, batch = aval_of(a).shape[-1], aval_of(a).ndim - 2
    if not lower:
        full = rev(full, (batch, batch + 1))
    packed, taus = spectral.hessenberg(full)
    d = real_part(diagonal(packed))
    e = real_part(diagonal(rows(columns(packed, max(n - 1, 0)), n, min(n, 1))))
    if lower:
        return packed, d, e, taus
    return rev(packed, (batch, batch + 1)), rev(d, (batch,)), rev(e, (batch,)), rev(taus, (batch,))
