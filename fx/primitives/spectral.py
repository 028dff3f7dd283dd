"""Singular values, eigenvalues and Schur forms: factorisations by iteration.

Each acts on the last two dimensions; dimensions in front are a batch.  A matrix that holds NaN or an infinity, or for
which the iteration does not converge, gives NaN for that matrix alone.

Derivatives are those of first-order perturbation theory (Giles, 2008; Wan and Zhang, 2019):

* Singular values and eigenvalues alone (``compute_uv=False``, a loss of them only) have safe derivatives wherever these
  exist for a function of them that is symmetric: the gradient of their sum is finite also where they coincide.
* Vectors are normalised; what their normalisation leaves open (a phase, for complex vectors) does not move: the tangent of
  a vector is orthogonal to it.
* Vectors that belong to one repeated value are an arbitrary basis of their subspace.  Their tangents have no component
  inside the subspace (``1 / (w_j - w_i)`` counts as 0 there): right for functions of the subspace, such as projections;
  for functions that weigh the vectors of one subspace differently there is no derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from .. import dtypes
from ..ir import Aval
from ..primitive import Primitive
from ..trace import aval_of, bind
from .decompositions import lu, lu_solve, reflector, symmetrize
from .elementwise import add, mul, sub
from .helpers import Value
from .matrices import (
    as_columns,
    as_complex,
    as_rows,
    check_matrix,
    columns,
    conjugate,
    diagonal,
    embed_diagonal,
    flat_batch,
    hermitian,
    inverse_gaps,
    is_complex,
    largest_of,
    leading_batch,
    mH,
    mm,
    real_part,
    rows,
    safe_reciprocal,
    scaled,
    with_rest,
)  # fmt: skip
from .reductions import reduce_max, reduce_sum
from .shaping import broadcast_in_dim

__all__ = [
    "eig", "eig_p", "eigh", "eigh_p", "hessenberg", "hessenberg_p", "schur", "schur_p", "svd", "svd_p",
]  # fmt: skip

svd_p = Primitive("svd", multiple_results=True)
eigh_p = Primitive("eigh", multiple_results=True)
eig_p = Primitive("eig", multiple_results=True)
schur_p = Primitive("schur", multiple_results=True)
hessenberg_p = Primitive("hessenberg", multiple_results=True)


def _each(a: np.ndarray, avals: Sequence[Aval], f: Callable[[np.ndarray], Sequence[np.ndarray]]) -> list[np.ndarray]:
    """``f`` of every matrix; NaN where it is not finite, or ``f`` does not converge."""
    outs = [np.empty(v.shape, v.dtype) for v in avals]
    flat = [flat_batch(o, o.ndim - a.ndim + 2) for o in outs]
    with np.errstate(all="ignore"):
        for i, x in enumerate(flat_batch(a)):
            try:
                found: Sequence[Any] = f(x) if np.isfinite(x).all() else [np.nan] * len(flat)
            except np.linalg.LinAlgError:
                found = [np.nan] * len(flat)
            for o, y in zip(flat, found):
                o[i] = y
    return outs


def _of_all(
    prim: Primitive, f: Callable[[np.ndarray], Sequence[np.ndarray]], a: np.ndarray, **params: Any
) -> list[np.ndarray]:
    """``f`` of the whole batch at once, or of every matrix alone where one of them has no factors."""
    avals = prim.rule("abstract")(Aval(a.shape, a.dtype), **params)
    if not a.size:
        return [_without_elements(v) for v in avals]
    if np.isfinite(a).all():
        try:
            with np.errstate(all="ignore"):
                return [np.asarray(y, v.dtype) for y, v in zip(f(a), avals)]
        except np.linalg.LinAlgError:
            pass
    return _each(a, avals, f)


def _without_elements(v: Aval) -> np.ndarray:
    """A result for matrices without elements: an orthonormal basis, if it has any."""
    return np.zeros(v.shape, v.dtype) + (np.eye(*v.shape[-2:], dtype=v.dtype) if v.size else v.dtype.type(0))


# ---------------------------------------------------------------------------------------------- svd


@svd_p.def_abstract
def _svd_abstract(a: Aval, *, full_matrices: bool, compute_uv: bool) -> tuple[Aval, ...]:
    m, n = check_matrix("svd", a)
    batch, k = a.shape[:-2], min(m, n)
    s = Aval((*batch, k), dtypes.real_dtype(a.dtype))
    if not compute_uv:
        return (s,)
    left, right = (m, n) if full_matrices else (k, k)
    return s, Aval((*batch, m, left), a.dtype), Aval((*batch, right, n), a.dtype)


@svd_p.def_impl
def _svd_impl(a: np.ndarray, *, full_matrices: bool, compute_uv: bool) -> list[np.ndarray]:
    def f(x: np.ndarray) -> Sequence[np.ndarray]:
        if not compute_uv:
            return [np.linalg.svd(x, compute_uv=False)]
        u, s, vh = np.linalg.svd(x, full_matrices)
        return s, u, vh

    return _of_all(svd_p, f, a, full_matrices=full_matrices, compute_uv=compute_uv)


@svd_p.def_jvp
def _svd_jvp(
    primals: Sequence[Value], tangents: Sequence[Value], out: Sequence[Value], *, full_matrices: bool, compute_uv: bool
) -> list[Value | None]:
    """With P = U^H dA V:  ds = real(diag P),  dU = U (F o (P S + S P^H)) + (I - U U^H) dA V S^-1, dV alike.

    ``F[i, j] = 1 / (s_j^2 - s_i^2)``.  The phases of a pair of complex vectors share the imaginary part of P's diagonal.
    """
    (a,), (da,) = primals, tangents
    m, n = aval_of(a).shape[-2:]
    k = min(m, n)
    if not k:
        return [None] * len(out)
    s, u, vh = out if compute_uv else bind(svd_p, a, full_matrices=False, compute_uv=True)
    thin_u, thin_vh = columns(u, k), rows(vh, k)
    v = mH(thin_vh)
    da_v, uh_da = mm(da, v), mm(mH(thin_u), da)
    p = mm(mH(thin_u), da_v)
    ds = real_part(diagonal(p))
    if not compute_uv:
        return [ds]
    sums = add(as_columns(s), as_rows(s))
    f = mul(inverse_gaps(s), safe_reciprocal(sums, largest_of(s, sums)))
    inverse = safe_reciprocal(s, largest_of(s, s))
    wide = as_complex if is_complex(p) else (lambda x: x)
    by_column, by_row, f = wide(as_columns(s)), wide(as_rows(s)), wide(f)
    ph = mH(p)
    wu = mul(f, add(mul(p, by_column), mul(by_row, ph)))
    wv = mul(f, add(mul(by_row, p), mul(ph, by_column)))
    if is_complex(p):
        phases = embed_diagonal(mul(scaled(sub(diagonal(p), as_complex(ds)), 0.5), as_complex(inverse)))
        wu, wv = add(wu, phases), sub(wv, phases)
    du, dv = mm(thin_u, wu), mm(v, wv)
    if m > k:
        du = add(du, mul(sub(da_v, mm(thin_u, p)), wide(as_columns(inverse, m))))
    if n > k:
        dv = add(dv, mul(sub(mH(uh_da), mm(v, ph)), wide(as_columns(inverse, n))))
    if full_matrices:
        du, dv = with_rest(du, thin_u, u), with_rest(dv, v, mH(vh))
    return [ds, du, mH(dv)]


svd_p.no_transpose("it is not linear; its jvp is made of products, which have transposes")
svd_p.def_batch(leading_batch(svd_p))


# --------------------------------------------------------------------------------------------- eigh


@eigh_p.def_abstract
def _eigh_abstract(a: Aval, *, lower: bool, compute_vectors: bool) -> tuple[Aval, ...]:
    check_matrix("eigh", a, square=True)
    w = Aval(a.shape[:-1], dtypes.real_dtype(a.dtype))
    return (w, a.strong()) if compute_vectors else (w,)


@eigh_p.def_impl
def _eigh_impl(a: np.ndarray, *, lower: bool, compute_vectors: bool) -> list[np.ndarray]:
    triangle: Literal["L", "U"] = "L" if lower else "U"

    def f(x: np.ndarray) -> Sequence[np.ndarray]:
        return tuple(np.linalg.eigh(x, triangle)) if compute_vectors else [np.linalg.eigvalsh(x, triangle)]

    return _of_all(eigh_p, f, a, lower=lower, compute_vectors=compute_vectors)


@eigh_p.def_jvp
def _eigh_jvp(
    primals: Sequence[Value], tangents: Sequence[Value], out: Sequence[Value], *, lower: bool, compute_vectors: bool
) -> list[Value]:
    """With M = V^H dA V:  dw = real(diag M)  and  dV = V (F o M),  ``F[i, j] = 1 / (w_j - w_i)``."""
    w, v = out if compute_vectors else bind(eigh_p, primals[0], lower=lower, compute_vectors=True)
    inner = mm(mH(v), hermitian(tangents[0], lower), v)
    dw = real_part(diagonal(inner))
    if not compute_vectors:
        return [dw]
    f = inverse_gaps(w)
    return [dw, mm(v, mul(as_complex(f) if is_complex(v) else f, inner))]


eigh_p.no_transpose("it is not linear; its jvp is made of products, which have transposes")
eigh_p.def_batch(leading_batch(eigh_p))


# ---------------------------------------------------------------------------------------------- eig


@eig_p.def_abstract
def _eig_abstract(a: Aval, *, left: bool, right: bool) -> tuple[Aval, ...]:
    check_matrix("eig", a, square=True)
    dtype = dtypes.complex_dtype(a.dtype)
    return (Aval(a.shape[:-1], dtype), *[Aval(a.shape, dtype)] * (left + right))


def _left_vectors(a: np.ndarray, w: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The left eigenvectors that belong to ``w`` and the columns of ``v``, normalised, the largest element real.

    They are the columns of the inverse.  Where ``a`` is defective, or almost, these are all rounding error (their length is
    the condition of the eigenvalue); there each is the direction that ``a - w[i]`` reaches least.
    """
    try:
        u = np.swapaxes(np.linalg.inv(v).conj(), -1, -2)
    except np.linalg.LinAlgError:
        u = np.full(v.shape, np.inf, w.dtype)
    length = np.linalg.norm(u, axis=-2, keepdims=True)
    u = u / length
    lost = ~(length < np.finfo(length.dtype).eps ** -0.5)
    if lost.any():
        shifted = a[..., None, :, :] - w[..., None, None] * np.eye(a.shape[-1], dtype=w.dtype)
        u = np.where(lost, np.swapaxes(np.linalg.svd(shifted)[0][..., -1], -1, -2), u)
    top = np.take_along_axis(u, np.argmax(np.abs(u), axis=-2)[..., None, :], -2)
    return np.asarray(u * (top.conj() / np.abs(top)))


@eig_p.def_impl
def _eig_impl(a: np.ndarray, *, left: bool, right: bool) -> list[np.ndarray]:
    def f(x: np.ndarray) -> Sequence[np.ndarray]:
        if not (left or right):
            return [np.linalg.eigvals(x)]
        w, v = np.linalg.eig(x)
        return (w, *([_left_vectors(x, w, v)] if left else []), *([v] if right else []))

    return _of_all(eig_p, f, a, left=left, right=right)


def _vector_tangents(v: Value, da: Value, gaps: Value) -> tuple[Value, Value]:
    """The tangents of the eigenvalues of ``dA``'s matrix, and of the normalised eigenvectors ``v``."""
    packed, _, permutation = lu(v)
    inner = lu_solve(packed, permutation, mm(da, v))
    dv = mm(v, mul(gaps, inner))
    along = reduce_sum(mul(conjugate(v), dv), (aval_of(v).ndim - 2,))
    return diagonal(inner), sub(dv, mul(v, as_columns(along)))


def _complex_gaps(w: Value) -> Value:
    """``1 / (w[j] - w[i])``, and 0 where the two are equal up to rounding error."""
    gaps = sub(as_columns(w), as_rows(w))
    size = real_part(mul(gaps, conjugate(gaps)))
    largest = reduce_max(real_part(mul(w, conjugate(w))), (aval_of(w).ndim - 1,))
    batch = aval_of(w).ndim - 1
    # |gap| below eps |w| means |gap|^2 below eps^2 |w|^2
    eps = float(np.finfo(aval_of(size).dtype).eps)
    scale = scaled(broadcast_in_dim(largest, aval_of(size).shape, range(batch)), 16.0 * eps)
    return mul(conjugate(gaps), as_complex(safe_reciprocal(size, scale)))


@eig_p.def_jvp
def _eig_jvp(
    primals: Sequence[Value], tangents: Sequence[Value], out: Sequence[Value], *, left: bool, right: bool
) -> list[Value | None]:
    """With M = V^-1 dA V:  dw = diag M  and  dV = V (F o M), made orthogonal to V column by column.

    The left eigenvectors are the right ones of A^H, whose eigenvalues are the conjugates.
    """
    if not aval_of(primals[0]).size:
        return [None] * len(out)
    w, *vectors = out
    da = as_complex(tangents[0])
    gaps = _complex_gaps(w)
    if not (left or right):
        vectors = bind(eig_p, primals[0], left=False, right=True)[1:]
    dw, dv = _vector_tangents(vectors[-1], da, gaps) if right or not left else (None, None)
    result: list[Value | None] = []
    if left:
        dw_left, du = _vector_tangents(vectors[0], mH(da), conjugate(gaps))
        dw = conjugate(dw_left) if dw is None else dw
        result.append(du)
    if right:
        result.append(dv)
    return [dw, *result]


eig_p.no_transpose("it is not linear; its jvp is made of products and solves, which have transposes")
eig_p.def_batch(leading_batch(eig_p))


# -------------------------------------------------------------------------------------------- schur


@schur_p.def_abstract
def _schur_abstract(a: Aval, *, compute_schur_vectors: bool) -> tuple[Aval, ...]:
    check_matrix("schur", a, square=True)
    return (a.strong(),) * (1 + compute_schur_vectors)


def _standard_block(t: np.ndarray) -> np.ndarray:
    """The rotation that makes the diagonal of a real 2 x 2 matrix with complex eigenvalues constant."""
    p, q = (t[0, 0] - t[1, 1]) / 2, (t[0, 1] + t[1, 0]) / 2
    angle = np.arctan2(-p, q) / 2 if p or q else 0.0
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]], t.dtype)


def _invariant_basis(a: np.ndarray) -> np.ndarray:
    """An orthonormal basis whose first vectors, one or two, span an invariant subspace of ``a``."""
    w, v = np.linalg.eig(a)
    x = v[:, :1]
    if not dtypes.is_complex(a.dtype) and np.iscomplexobj(v) and w[0].imag:
        x = np.stack([v[:, 0].real, v[:, 0].imag], 1)
    basis, _ = np.linalg.qr(np.asarray(x if np.iscomplexobj(a) else x.real, a.dtype), "complete")
    return basis


def _turn(t: np.ndarray, z: np.ndarray, start: int, basis: np.ndarray) -> None:
    """Changes to another orthonormal basis of the rows and columns from ``start`` on."""
    part = slice(start, start + len(basis))
    t[part] = basis.conj().T @ t[part]
    t[:, part], z[:, part] = t[:, part] @ basis, z[:, part] @ basis


def _by_deflation(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An invariant subspace, then what is orthogonal to it: for matrices without a basis of eigenvectors."""
    n, t, z, i = len(a), a.copy(), np.eye(len(a), dtype=a.dtype), 0
    while i < n:
        pair = not np.iscomplexobj(a) and bool(np.iscomplex(np.linalg.eigvals(t[i:, i:])[0]))
        _turn(t, z, i, _invariant_basis(t[i:, i:]))
        i += 1 + pair
        t[i:, i - 1 - pair : i] = 0
    return t, z


def _schur_of(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Schur form in the basis that makes the eigenvectors orthonormal one after another, if that is accurate."""
    real, dtype, a = not np.iscomplexobj(a), a.dtype, a.astype(np.result_type(a.dtype, np.float64))
    w, v = np.linalg.eig(a)
    if real and np.iscomplexobj(v):  # of a conjugate pair the real and the imaginary part span the same space
        v = np.where(w.imag < 0, np.roll(v.imag, 1, axis=1), v.real)
    z, _ = np.linalg.qr(v)
    t = z.conj().T @ a @ z
    first = np.flatnonzero(w.imag > 0) if real else np.zeros(0, np.intp)  # of each 2 x 2 block
    below = np.tril(np.ones(t.shape, bool), -1)
    below[first + 1, first] = False
    if np.abs(t[below]).max(initial=0.0) <= 100 * np.finfo(a.dtype).eps * len(a) * np.abs(a).max(initial=0.0):
        t[below] = 0
    else:
        t, z = _by_deflation(a)
        first = np.flatnonzero(np.diagonal(t, -1)) if real else first
    for i in first.tolist():
        _turn(t, z, i, _standard_block(t[i : i + 2, i : i + 2]))
    return t.astype(dtype), z.astype(dtype)


@schur_p.def_impl
def _schur_impl(a: np.ndarray, *, compute_schur_vectors: bool) -> list[np.ndarray]:
    avals = schur_p.rule("abstract")(Aval(a.shape, a.dtype), compute_schur_vectors=compute_schur_vectors)
    return _each(a, avals, lambda x: _schur_of(x)[: len(avals)])


schur_p.no_jvp(
    "the Schur form of a matrix with several eigenvalues is not unique; differentiate eigh, eig, or a function of the"
    " matrix (expm, sqrtm, solve_sylvester)"
)
schur_p.no_transpose("it is not linear")
schur_p.def_batch(leading_batch(schur_p))


# --------------------------------------------------------------------------------------- hessenberg


@hessenberg_p.def_abstract
def _hessenberg_abstract(a: Aval) -> tuple[Aval, Aval]:
    n, _ = check_matrix("hessenberg", a, square=True)
    return a.strong(), Aval((*a.shape[:-2], max(n - 1, 0)), a.dtype)


@hessenberg_p.def_impl
def _hessenberg_impl(a: np.ndarray) -> list[np.ndarray]:
    *batch, n, _ = a.shape
    x = flat_batch(a).copy()
    taus = np.zeros((len(x), max(n - 1, 0)), a.dtype)
    with np.errstate(all="ignore"):
        for j in range(n - 1):
            v, tau, beta = reflector(x[:, j + 1 :, j])
            row = np.einsum("bi,bij->bj", v.conj(), x[:, j + 1 :, j + 1 :])
            x[:, j + 1 :, j + 1 :] -= (tau.conj()[:, None] * row)[:, None] * v[:, :, None]
            column = np.einsum("bij,bj->bi", x[:, :, j + 1 :], v)
            x[:, :, j + 1 :] -= (tau[:, None] * column)[:, :, None] * v.conj()[:, None]
            x[:, j + 1, j], x[:, j + 2 :, j], taus[:, j] = beta, v[:, 1:], tau
    lost = ~np.isfinite(flat_batch(a)).all(axis=(1, 2))
    x[lost], taus[lost] = np.nan, np.nan
    return [x.reshape(a.shape), taus.reshape(*batch, max(n - 1, 0))]


hessenberg_p.no_jvp(
    "the reflectors of a reduction are its inner form; differentiate eig, eigh or a function of the matrix"
)
hessenberg_p.no_transpose("it is not linear")
hessenberg_p.def_batch(leading_batch(hessenberg_p))

# -------------------------------------------------------------------------------- public functions


def svd(x: Value, *, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """The singular value decomposition ``x = U diag(s) V^H``.

    Args:
        x: matrices ``(..., m, n)``; k is the smaller of m and n.
        full_matrices: U is ``(..., m, m)`` and V^H ``(..., n, n)``; otherwise ``(..., m, k)`` and ``(..., k, n)``.
        compute_uv: False returns s alone.

    Returns:
        ``(U, s, V^H)``, s falling; or s.
    """
    if not compute_uv:
        return bind(svd_p, x, full_matrices=False, compute_uv=False)[0]
    s, u, vh = bind(svd_p, x, full_matrices=bool(full_matrices), compute_uv=True)
    return u, s, vh


def eigh(x: Value, *, lower: bool = True, symmetrize_input: bool = True, compute_vectors: bool = True) -> Any:
    """The eigenvectors and eigenvalues of Hermitian matrices, ``x V = V diag(w)``.

    Args:
        x: ``(..., n, n)``.
        lower: which triangle is read, without ``symmetrize_input``.
        symmetrize_input: take the Hermitian part of ``x`` first.
        compute_vectors: False returns w alone.

    Returns:
        ``(V, w)``: orthonormal columns, and real eigenvalues, rising.
    """
    x = symmetrize(x) if symmetrize_input else x
    w, *v = bind(eigh_p, x, lower=bool(lower), compute_vectors=bool(compute_vectors))
    return (v[0], w) if compute_vectors else w


def eig(x: Value, *, compute_left_eigenvectors: bool = True, compute_right_eigenvectors: bool = True) -> list[Value]:
    """The eigenvalues of square matrices, and their eigenvectors of length 1: ``x V = V diag(w)``, ``U^H x = diag(w) U^H``.

    Returns:
        ``[w, U, V]``, complex; U and V as far as they are asked for.
    """
    return bind(  # type: ignore[no-any-return]
        eig_p, x, left=bool(compute_left_eigenvectors), right=bool(compute_right_eigenvectors)
    )


def schur(x: Value, *, compute_schur_vectors: bool = True) -> tuple[Value, ...]:
    """The Schur form ``x = Z T Z^H``: Z is unitary and T upper triangular.

    T of a real matrix is real, with a 2 x 2 block on the diagonal for each pair of complex eigenvalues.

    Returns:
        ``(T, Z)``, or ``(T,)``.
    """
    return tuple(bind(schur_p, x, compute_schur_vectors=bool(compute_schur_vectors)))


def hessenberg(a: Value) -> tuple[Value, Value]:
    """The reduction ``a = Q H Q^H`` to upper Hessenberg form by Householder reflectors, packed.

    Returns:
        H and, below its first subdiagonal, the reflectors ``(..., n, n)``; their factors ``(..., n - 1)``.
    """
    packed, taus = bind(hessenberg_p, a)
    return packed, taus
