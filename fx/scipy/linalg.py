"""``fx.scipy.linalg``: linear algebra under SciPy's names, with the signatures of ``jax.scipy.linalg``.

Options about memory and checks (``overwrite_a``, ``check_finite``, ``lapack_driver``) are accepted and mean nothing here:
arrays do not change, and a matrix with NaN gives NaN.
"""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..errors import (
    ArgumentError,
    ShapeError,
)
from ..lax import linalg as lax_linalg
from ..numpy import linalg as np_linalg
from ..numpy.core import Value, as_type, as_value, broadcast_shapes, promote_dtype
from ..numpy.factorizations import matrix_operand
from ..numpy.matrices import diag
from ..numpy.solving import over_batch, solution, solve_with
from ..primitives import decompositions, joining, shaping, solves, spectral
from ..primitives import elementwise as p
from ..primitives.matrices import as_complex, columns, eye_like, eye_of, hermitian, mH, mm, mT, rows, tril, triu
from ..primitives.sorting import argsort
from ..traceback import hide_frames
from .matrix_functions import expm, expm_frechet, funm, polar, solve_sylvester, sqrtm
from .special_matrices import (
    block_diag,
    circulant,
    companion,
    convolution_matrix,
    dft,
    fiedler,
    fiedler_companion,
    hadamard,
    hankel,
    helmert,
    hilbert,
    invhilbert,
    invpascal,
    leslie,
    pascal,
    toeplitz,
)  # fmt: skip

__all__ = [
    "block_diag", "cho_factor", "cho_solve", "cholesky", "circulant", "companion", "convolution_matrix", "det", "dft", "eigh",
    "eigh_tridiagonal", "expm", "expm_frechet", "fiedler", "fiedler_companion", "funm", "hadamard", "hankel", "helmert",
    "hessenberg", "hilbert", "inv", "invhilbert", "invpascal", "leslie", "lu", "lu_factor", "lu_solve", "pascal", "polar",
    "qr", "qr_multiply", "rsf2csf", "schur", "solve", "solve_sylvester", "solve_triangular", "sqrtm", "svd", "toeplitz",
]  # fmt: skip


def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Value:
    """The triangular factor of Hermitian positive definite matrices: U with ``a = U^H U``, or L with ``a = L L^H``."""
    return np_linalg.cholesky(a, upper=not lower, symmetrize_input=False)


def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Value, bool]:
    """``cholesky`` and which triangle it is, for ``cho_solve``."""
    return cholesky(a, lower), lower


def _columns_of(c: Value, b: Any, name: str) -> tuple[Value, Value, bool]:
    """Operands of one dtype and one batch; whether ``b`` was a vector."""
    x, y = promote_dtype(matrix_operand(c, name, True), as_value(b))
    vector = y.ndim == 1
    y = shaping.expand_dims(y, (1,)) if vector else y
    if y.ndim < 2 or y.shape[-2] != x.shape[-1]:
        raise ShapeError(f"{name}: a of shape {x.shape} needs right-hand sides with {x.shape[-1]} rows, not {y.shape}")
    batch = broadcast_shapes(x.shape[:-2], y.shape[:-2])
    return over_batch(x, batch, 2), over_batch(y, batch, 2), vector


def _as_given(x: Value, vector: bool) -> Value:
    return shaping.squeeze(x, (x.ndim - 1,)) if vector else x


def cho_solve(c_and_lower: tuple[Any, bool], b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Value:
    """Solves ``a x = b`` with the result of ``cho_factor(a)``."""
    c, lower = c_and_lower
    x, y, vector = _columns_of(c, b, "cho_solve")
    return _as_given(_cholesky_solve(x, y, lower), vector)


def _cholesky_solve(c: Value, b: Value, lower: bool) -> Value:
    for adjoint in (not lower, lower):
        b = solves.triangular_solve(c, b, left_side=True, lower=lower, transpose_a=adjoint, conjugate_a=adjoint)
    return b


def _by_cholesky(a: Value) -> Any:
    c = decompositions.cholesky(a)

    def solved(b: Value) -> Value:
        batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return _cholesky_solve(over_batch(c, batch, 2), over_batch(b, batch, 2), True)

    return solved


_positive_solution = solution(_by_cholesky)


def solve(
    a: Any, b: Any, lower: bool = False, overwrite_a: bool = False, overwrite_b: bool = False, debug: bool = False,
    check_finite: bool = True, assume_a: str = "gen",
) -> Value:  # fmt: skip
    """The solution x of ``a x = b``.

    Args:
        a: square matrices ``(..., n, n)``.
        b: ``(n,)`` or ``(..., n, k)``.
        lower: with ``assume_a='pos'``: accepted; the Hermitian part of ``a`` is taken.
        assume_a: 'gen'; 'pos': Hermitian positive definite, solved by its Cholesky factor at half the cost; 'sym', 'her':
            solved as 'gen'.
    """
    if assume_a not in ("gen", "sym", "her", "pos"):
        raise ArgumentError(f"solve: assume_a is 'gen', 'sym', 'her' or 'pos'; found {assume_a!r}")
    return solve_with(_positive_solution, a, b, "solve") if assume_a == "pos" else np_linalg.solve(a, b)


def solve_triangular(
    a: Any, b: Any, trans: int | str = 0, lower: bool = False, unit_diagonal: bool = False, overwrite_b: bool = False,
    debug: Any = None, check_finite: bool = True,
) -> Value:  # fmt: skip
    """The solution x of ``op(a) x = b`` for triangular ``a``.

    Args:
        trans: 0 or 'N': op(a) is a; 1 or 'T': its transpose; 2 or 'C': the conjugate of that.
        lower: the lower triangle is read.
        unit_diagonal: the diagonal counts as ones.
    """
    kinds = {0: 0, "N": 0, 1: 1, "T": 1, 2: 2, "C": 2}
    if trans not in kinds:
        raise ArgumentError(f"solve_triangular: trans is 0, 1, 2, 'N', 'T' or 'C'; found {trans!r}")
    x, y, vector = _columns_of(a, b, "solve_triangular")
    out = solves.triangular_solve(
        x, y, left_side=True, lower=lower, transpose_a=kinds[trans] > 0, conjugate_a=kinds[trans] == 2,
        unit_diagonal=unit_diagonal,
    )  # fmt: skip
    return _as_given(out, vector)


def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Value:
    """The determinants of square matrices."""
    return np_linalg.det(a)


def inv(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Value:
    """The inverses of square matrices."""
    return np_linalg.inv(a)


def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, overwrite_a: bool = False, check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:  # fmt: skip
    """The singular value decomposition: ``(U, s, V^H)``, or s."""
    out = np_linalg.svd(a, full_matrices, compute_uv)
    return tuple(out) if compute_uv else out


# ----------------------------------------------------------------------------------------------- lu


def lu_factor(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Value, Value]:
    """The factors L and U in one array, and the pivots (row i was exchanged with row ``pivots[i]``)."""
    packed, pivots, _ = decompositions.lu(matrix_operand(a, "lu_factor"))
    return packed, pivots


def lu_solve(
    lu_and_piv: tuple[Any, Any], b: Any, trans: int = 0, overwrite_b: bool = False, check_finite: bool = True
) -> Value:
    """Solves ``a x = b`` (``trans`` 0), ``a^T x = b`` (1) or ``a^H x = b`` (2) with the result of ``lu_factor(a)``."""
    packed, pivots = lu_and_piv
    x, y, vector = _columns_of(packed, b, "lu_solve")
    permutation = decompositions.lu_pivots_to_permutation(as_type(as_value(pivots), dtypes.int32), x.shape[-1])
    return _as_given(decompositions.lu_solve(x, over_batch(permutation, x.shape[:-2], 1), y, trans), vector)


def lu(a: Any, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Value, ...]:
    """The factorisation ``a = P L U``.

    Returns:
        ``(P, L, U)``, or with ``permute_l`` ``(P L, U)``.
    """
    x = matrix_operand(a, "lu")
    packed, _, permutation = decompositions.lu(x)
    *batch, m, n = x.shape
    k = min(m, n)
    lower = tril(columns(packed, k), -1)
    lower = p.add(lower, eye_like(lower))
    upper = triu(rows(packed, k))
    if permute_l:
        return decompositions.take_rows(lower, argsort(permutation)), upper
    eye = eye_of(batch, m, m, dtypes.real_dtype(x.dtype))
    return mT(decompositions.take_rows(eye, permutation)), lower, upper


# ----------------------------------------------------------------------------------------------- qr


def qr(
    a: Any, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", pivoting: bool = False,
    check_finite: bool = True,
) -> tuple[Value, ...]:  # fmt: skip
    """The factorisation ``a = Q R``, or with ``pivoting`` ``a[:, P] = Q R`` with the diagonal of R falling in size.

    Args:
        mode: 'full': Q is square; 'economic': it has as many columns as R has rows; 'r': R alone.

    Returns:
        ``(Q, R)`` (or ``(R,)``), and P with ``pivoting``.
    """
    if mode not in ("full", "economic", "r"):
        raise ArgumentError(f"qr: mode is 'full', 'economic' or 'r'; found {mode!r}")
    q, r, *order = lax_linalg.qr(matrix_operand(a, "qr"), pivoting=pivoting, full_matrices=mode != "economic")
    return (r, *order) if mode == "r" else (q, r, *order)


def qr_multiply(
    a: Any, c: Any, mode: str = "right", pivoting: bool = False, conjugate: bool = False, overwrite_a: bool = False,
    overwrite_c: bool = False,
) -> tuple[Value, ...]:  # fmt: skip
    """``(c Q, R)``, or with ``mode='left'`` ``(Q c, R)``, of the factorisation ``a = Q R``; and P with ``pivoting``.

    Args:
        mode: 'left' or 'right': where Q stands.
        conjugate: of Q's conjugate.
    """
    if mode not in ("left", "right"):
        raise ArgumentError(f"qr_multiply: mode is 'left' or 'right'; found {mode!r}")
    x, y = promote_dtype(matrix_operand(a, "qr_multiply"), as_value(c))
    vector = y.ndim == 1
    m, k = x.shape[-2], min(x.shape[-2:])
    if vector:
        y = shaping.expand_dims(y, (1 if mode == "left" else 0,))
    thin = y.shape[-2] == k if mode == "left" else True
    q, r, *order = lax_linalg.qr(x, pivoting=pivoting, full_matrices=not thin or (mode == "left" and m == k))
    q = p.conj(q) if conjugate and dtypes.is_complex(q.dtype) else q
    out = mm(q, y) if mode == "left" else mm(y, q)
    if vector:
        out = shaping.reshape(out, (out.size,))
    return (out, rows(r, k), *order)


# ------------------------------------------------------------------------------------- eigenvalues


def eigh(
    a: Any, b: Any = None, lower: bool = True, eigvals_only: bool = False, overwrite_a: bool = False,
    overwrite_b: bool = False, turbo: bool = True, eigvals: Any = None, type: int = 1, check_finite: bool = True,
) -> Any:  # fmt: skip
    """The eigenvalues and eigenvectors of Hermitian matrices.

    Args:
        b: positive definite: the problem is ``a v = w b v`` (``type`` 1), ``a b v = w v`` (2) or ``b a v = w v`` (3).
        lower: which triangle of ``a`` is read.
        eigvals_only: return the eigenvalues alone.
    """
    if eigvals is not None:
        raise ArgumentError("eigh: a range of eigenvalues cannot be chosen; slice the result")
    x = matrix_operand(a, "eigh", True)
    if b is None:
        if eigvals_only:
            return spectral.eigh(x, lower=lower, symmetrize_input=False, compute_vectors=False)
        v, w = spectral.eigh(x, lower=lower, symmetrize_input=False)
        return w, v
    if type not in (1, 2, 3):
        raise ArgumentError(f"eigh: type is 1, 2 or 3; found {type!r}")
    x, y = promote_dtype(x, matrix_operand(b, "eigh", True))
    c = decompositions.cholesky(y)
    inner = _between(c, hermitian(x, lower), type)
    if eigvals_only:
        return spectral.eigh(inner, compute_vectors=False)
    v, w = spectral.eigh(inner)
    if type == 3:
        return w, mm(c, v)
    return w, solves.triangular_solve(c, v, left_side=True, lower=True, transpose_a=True, conjugate_a=True)


def _between(c: Value, a: Value, type: int) -> Value:
    """``c^-1 a c^-H``, or ``c^H a c`` for types 2 and 3."""
    if type > 1:
        return mm(mH(c), a, c)
    right = solves.triangular_solve(c, a, left_side=False, lower=True, transpose_a=True, conjugate_a=True)
    return solves.triangular_solve(c, right, left_side=True, lower=True)


def eigh_tridiagonal(
    d: Any, e: Any, *, eigvals_only: bool = False, select: str = "a", select_range: tuple[float, float] | None = None,
    tol: float | None = None, key: Any = None,
) -> Any:  # fmt: skip
    """The eigenvalues, rising, and eigenvectors of a symmetric tridiagonal matrix.

    Args:
        d: the diagonal ``(n,)``.
        e: the diagonal beside it ``(n - 1,)``.
        eigvals_only: return the eigenvalues alone.
        select: 'a': all; 'i': those with the indices ``select_range``, both ends included.
    """
    x, y = promote_dtype(as_value(d), as_value(e), to_float=True)
    n = x.shape[-1]
    if x.ndim != 1 or y.shape != (max(n - 1, 0),):
        raise ShapeError(f"eigh_tridiagonal takes diagonals of n and n - 1 elements; found shapes {x.shape}, {y.shape}")
    if select not in ("a", "i"):
        raise ArgumentError(f"eigh_tridiagonal: select is 'a' or 'i'; found {select!r}")
    low, high = (0, n) if select == "a" else (int(select_range[0]), int(select_range[1]) + 1)  # type: ignore[index]
    from_diagonals = p.add(diag(x), diag(y, -1))
    if eigvals_only:
        return spectral.eigh(from_diagonals, symmetrize_input=False, compute_vectors=False)[low:high]
    v, w = spectral.eigh(from_diagonals, symmetrize_input=False)
    return w[low:high], v[:, low:high]


def hessenberg(a: Any, *, calc_q: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The upper Hessenberg H with ``a = Q H Q^H``; with ``calc_q`` the pair ``(H, Q)``."""
    x = matrix_operand(a, "hessenberg", True)
    n = x.shape[-1]
    packed, taus = spectral.hessenberg(x)
    h = triu(packed, -1)
    if not calc_q:
        return h
    if n < 2:
        return h, eye_like(x)
    inner = decompositions.householder_product(rows(columns(packed, n - 1), n, 1), taus)
    edges = [*[(0, 0, 0)] * (x.ndim - 2), (1, 0, 0), (1, 0, 0)]
    zero = p.convert_element_type(0.0, x.dtype)
    first = p.sub(eye_like(x), joining.pad(eye_like(inner), zero, edges))  # a one in the corner
    return h, p.add(joining.pad(inner, zero, edges), first)


def schur(a: Any, output: str = "real") -> tuple[Value, Value]:
    """The Schur form ``a = Z T Z^H``.

    Args:
        output: 'real': T of a real matrix is real, with 2 x 2 blocks; 'complex': it is triangular.

    Returns:
        ``(T, Z)``.
    """
    if output not in ("real", "complex"):
        raise ArgumentError(f"schur: output is 'real' or 'complex'; found {output!r}")
    x = matrix_operand(a, "schur", True)
    t, z = spectral.schur(as_complex(x) if output == "complex" else x)
    return t, z


def rsf2csf(T: Any, Z: Any, check_finite: bool = True) -> tuple[Value, Value]:
    """The complex Schur form from the real one: ``Z T Z^H`` stays, and T becomes triangular."""
    t, z = promote_dtype(matrix_operand(T, "rsf2csf", True), matrix_operand(Z, "rsf2csf", True))
    triangular, turn = spectral.schur(as_complex(t))
    return triangular, mm(as_complex(z), turn)


hide_frames(globals())
