"""Matrix factorisations of ``numpy.linalg``: cholesky, qr, svd, eig and eigh, over any batch in front."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..errors import (
    ArgumentError,
    ShapeError,
)
from ..plans import planned
from ..primitives import decompositions, elementwise, spectral
from ..primitives.matrices import as_columns, as_complex, mH, mT, triu
from .core import Value, as_type, as_value, inexact
from .indexing import getitem
from .selection import take_along_axis
from .sorting import argsort
from .unary import absolute, negative, sign

__all__ = [
    "EigResult", "EighResult", "QRResult", "SVDResult", "cholesky", "eig", "eigh", "eigvals", "eigvalsh", "qr", "svd",
    "svdvals",
]  # fmt: skip


class QRResult(NamedTuple):
    """What ``qr`` gives: ``a = Q R``."""

    Q: Value
    R: Value


class SVDResult(NamedTuple):
    """What ``svd`` gives: ``a = U diag(S) Vh``."""

    U: Value
    S: Value
    Vh: Value


class EigResult(NamedTuple):
    """What ``eig`` gives: column k of ``eigenvectors`` belongs to number k of ``eigenvalues``."""

    eigenvalues: Value
    eigenvectors: Value


class EighResult(NamedTuple):
    """What ``eigh`` gives, ``eigenvalues`` rising: column k of ``eigenvectors`` belongs to number k of them."""

    eigenvalues: Value
    eigenvectors: Value


def matrix_operand(a: Any, name: str, square: bool = False) -> Value:
    """An operand of matrices, integers as floats.

    Raises:
        ShapeError: it has no matrices, or they must be square and are not.
    """
    x = as_value(a)
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        kind = "square matrices" if square else "matrices"
        raise ShapeError(f"{name} takes {kind}, the last two axes of an array; found shape {x.shape}")
    return as_type(x, inexact(x.dtype))


def _is_lower(UPLO: str | None, name: str) -> bool:
    if UPLO not in (None, "L", "U"):
        raise ArgumentError(f"{name}: UPLO is 'L' or 'U'; found {UPLO!r}")
    return UPLO != "U"


@planned
def cholesky(a: Any, *, upper: bool = False, symmetrize_input: bool = True) -> Value:
    """The triangular L with ``a = L L^H``, or with ``upper`` the U with ``a = U^H U``.

    Args:
        a: Hermitian positive definite matrices ``(..., n, n)``.
        symmetrize_input: take the Hermitian part of ``a``; without, its lower triangle alone is read (with ``upper`` its
            upper one), and derivatives are by that triangle.

    Returns:
        The factor; NaN where there is none.

    >>> import fx.numpy as fnp
    >>> fnp.linalg.cholesky(fnp.array([[4.0, 2.0], [2.0, 2.0]]))
    Array([[2., 0.],
           [1., 1.]], dtype=float32)
    """
    x = matrix_operand(a, "cholesky", True)
    out = decompositions.cholesky(mH(x) if upper and not symmetrize_input else x, symmetrize_input=symmetrize_input)
    return mH(out) if upper else out


@planned
def qr(a: Any, mode: str = "reduced") -> Any:
    """The factorisation ``a = Q R``: orthonormal columns and an upper triangle.

    Args:
        mode: 'reduced' or 'complete' (as many columns of Q as rows); 'r': R alone; 'raw': the Householder reflectors,
            transposed, and their factors.

    >>> import numpy as np
    >>> import fx.numpy as fnp
    >>> a = np.arange(6.0).reshape(3, 2)
    >>> q, r = fnp.linalg.qr(a)
    >>> q.shape, r.shape, np.allclose(q @ r, a)
    ((3, 2), (2, 2), Array(True, dtype=bool))
    """
    x = matrix_operand(a, "qr")
    if mode == "raw":
        packed, taus = decompositions.geqrf(x)
        return mT(packed), taus
    if mode not in ("reduced", "complete", "r"):
        raise ArgumentError(f"qr: mode is 'reduced', 'complete', 'r' or 'raw'; found {mode!r}")
    if mode == "r":
        k = min(x.shape[-2:])
        return decompositions.qr(x, full_matrices=False)[1] if k else triu(x)
    return QRResult(*decompositions.qr(x, full_matrices=mode == "complete"))


def _hermitian_svd(x: Value, compute_uv: bool) -> Any:
    """By the eigenvalues: singular values are their sizes."""
    if not compute_uv:
        sizes = absolute(spectral.eigh(x, compute_vectors=False))
        return take_along_axis(sizes, argsort(negative(sizes)), -1)
    v, w = spectral.eigh(x)
    order = argsort(negative(absolute(w)))
    w = take_along_axis(w, order, -1)
    v = take_along_axis(v, as_columns(order), -1)
    flips = as_columns(sign(w))
    return SVDResult(v, absolute(w), mH(elementwise.mul(v, as_complex(flips) if dtypes.is_complex(v.dtype) else flips)))


@planned
def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False,
    subset_by_index: tuple[int, int] | None = None,
) -> Any:  # fmt: skip
    """The singular value decomposition ``a = U diag(S) Vh``, S falling.

    Args:
        full_matrices: U and Vh are square.
        compute_uv: False returns S alone.
        hermitian: ``a`` is Hermitian, so its eigenvectors serve.
        subset_by_index: ``(start, end)``: only those singular values, and their vectors.

    Where singular values coincide or are 0, derivatives are as those of ``eigh`` are at equal eigenvalues.

    >>> import numpy as np
    >>> import fx.numpy as fnp
    >>> a = np.arange(6.0).reshape(3, 2)
    >>> u, s, vh = fnp.linalg.svd(a, full_matrices=False)
    >>> u.shape, s.shape, np.allclose(u * s @ vh, a)
    ((3, 2), (2,), Array(True, dtype=bool))
    """
    x = matrix_operand(a, "svd", hermitian)
    if hermitian:
        out = _hermitian_svd(x, compute_uv)
    else:
        out = spectral.svd(x, full_matrices=full_matrices and subset_by_index is None, compute_uv=compute_uv)
        out = SVDResult(*out) if compute_uv else out
    if subset_by_index is None:
        return out
    part = slice(*subset_by_index)
    if not compute_uv:
        return getitem(out, (..., part))
    return SVDResult(
        getitem(out.U, (..., part)), getitem(out.S, (..., part)), getitem(out.Vh, (..., part, slice(None)))
    )


def svdvals(x: Any, /) -> Value:
    """The singular values, falling."""
    return svd(x, compute_uv=False)


@planned
def eigh(a: Any, UPLO: str | None = None, symmetrize_input: bool = True) -> EighResult:
    """The eigenvalues, rising, and orthonormal eigenvectors (columns) of Hermitian matrices.

    Args:
        UPLO: the triangle that is read without ``symmetrize_input``: 'L' (default) or 'U'.
        symmetrize_input: take the Hermitian part of ``a`` first.

    Vectors of equal eigenvalues are some basis of their subspace, and their derivatives have no part inside it.  So a
    function of the subspace (a projection), or a symmetric one of the eigenvalues, has its derivative there too; one that
    tells the vectors of a subspace apart has none.

    >>> import fx, fx.numpy as fnp
    >>> fx.grad(lambda a: fnp.sum(fnp.linalg.eigh(a).eigenvalues ** 3))(fnp.eye(2))
    Array([[3., 0.],
           [0., 3.]], dtype=float32)
    """
    lower = _is_lower(UPLO, "eigh")
    v, w = spectral.eigh(matrix_operand(a, "eigh", True), lower=lower, symmetrize_input=symmetrize_input)
    return EighResult(w, v)


@planned
def eigvalsh(a: Any, UPLO: str | None = "L", *, symmetrize_input: bool = True) -> Value:
    """The eigenvalues of Hermitian matrices, rising."""
    lower = _is_lower(UPLO, "eigvalsh")
    x = matrix_operand(a, "eigvalsh", True)
    return spectral.eigh(x, lower=lower, symmetrize_input=symmetrize_input, compute_vectors=False)


def eig(a: Any) -> EigResult:
    """The eigenvalues and the eigenvectors of length 1 (columns) of square matrices, both complex."""
    return EigResult(*spectral.eig(matrix_operand(a, "eig", True), compute_left_eigenvectors=False))


def eigvals(a: Any) -> Value:
    """The eigenvalues of square matrices, complex."""
    x = matrix_operand(a, "eigvals", True)
    return spectral.eig(x, compute_left_eigenvectors=False, compute_right_eigenvectors=False)[0]


def machine_epsilon(x: Value) -> float:
    return float(np.finfo(x.dtype).eps)
