"""Cholesky, LU and QR: factorisations in a fixed number of steps.

Each acts on the last two dimensions; dimensions in front are a batch.  What has no factorisation in this dtype (a matrix
that is not positive definite, or holds NaN) gives NaN, for that matrix alone; nothing raises on values.

The derivatives are those of Murray (2016), "Differentiation of the Cholesky decomposition", and of the perturbations
``d(Q R)``, ``d(L U)``: products and triangular solves with the factors, at the cost of the factorisation itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import dtypes
from ..errors import (
    ArgumentError,
    DTypeError,
    ShapeError,
)
from ..ir import Aval
from ..primitive import Primitive
from ..trace import aval_of, bind
from .checks import check_dtype
from .elementwise import add, eq, mul, select, sub
from .gather_scatter import GatherDimensionNumbers, gather
from .helpers import Value, full_like, quiet, zeros_like
from .joining import concatenate, pad
from .matrices import (
    MATRIX,
    as_complex,
    as_rows,
    check_matrix,
    columns,
    diagonal,
    embed_diagonal,
    eye_like,
    eye_of,
    flat_batch,
    hermitian,
    is_complex,
    leading_batch,
    mask,
    mH,
    mm,
    mT,
    pad_rows,
    real_part,
    rows,
    scaled,
    tril,
    triu,
    with_rest,
)  # fmt: skip
from .shaping import expand_dims
from .solves import solve_triangle, triangular_solve
from .sorting import argsort

__all__ = [
    "cholesky", "cholesky_p", "geqrf", "geqrf_p", "householder_product", "lu", "lu_p", "lu_pivots_to_permutation",
    "lu_pivots_to_permutation_p", "lu_solve", "qr", "qr_p", "symmetrize", "take_rows",
]  # fmt: skip

cholesky_p = Primitive("cholesky")
lu_p = Primitive("lu", multiple_results=True)
lu_pivots_to_permutation_p = Primitive("lu_pivots_to_permutation")
qr_p = Primitive("qr", multiple_results=True)
geqrf_p = Primitive("geqrf", multiple_results=True)

_PANEL = 32  # columns that the reference of lu factorises one by one


def symmetrize(x: Value) -> Value:
    """The Hermitian part, ``(x + x^H) / 2``."""
    return scaled(add(x, mH(x)), 0.5)


# ----------------------------------------------------------------------------------------- cholesky


@cholesky_p.def_abstract
def _cholesky_abstract(a: Aval) -> Aval:
    check_matrix("cholesky", a, square=True)
    return a.strong()


def _cholesky_of(a: np.ndarray) -> np.ndarray:
    """Of one matrix; NaN in the lower triangle if it has no factor."""
    try:
        out = np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        out = np.full_like(a, np.nan)
    return np.tril(np.full_like(a, np.nan)) if np.isnan(np.diagonal(out)).any() else out


@cholesky_p.def_impl
@quiet
def _cholesky_impl(a: np.ndarray) -> np.ndarray:
    try:
        out = np.linalg.cholesky(a)
        if not np.isnan(np.diagonal(out, axis1=-2, axis2=-1)).any():
            return out
    except np.linalg.LinAlgError:
        pass
    return np.reshape([_cholesky_of(x) for x in flat_batch(a)], a.shape)


@cholesky_p.def_jvp
def _cholesky_jvp(primals: Sequence[Value], tangents: Sequence[Value], out: Value) -> Value:
    """dL = L phi(L^-1 dA L^-H), where phi takes the lower triangle and half of the diagonal."""
    da = hermitian(tangents[0], lower=True)
    right = triangular_solve(out, da, left_side=False, lower=True, transpose_a=True, conjugate_a=is_complex(out))
    inner = triangular_solve(out, right, left_side=True, lower=True)
    return mm(out, sub(tril(inner), scaled(select(mask(inner, eq), inner, zeros_like(inner)), 0.5)))


cholesky_p.no_transpose("it is not linear; its jvp is made of triangular solves, which have transposes")
cholesky_p.def_batch(leading_batch(cholesky_p))


# ----------------------------------------------------------------------------------------------- lu


@lu_p.def_abstract
def _lu_abstract(a: Aval) -> tuple[Aval, Aval]:
    m, n = check_matrix("lu", a)
    return a.strong(), Aval((*a.shape[:-2], min(m, n)), dtypes.int32)


def _size_of_pivot(x: np.ndarray) -> np.ndarray:
    """What LAPACK compares pivots by."""
    return np.abs(x.real) + np.abs(x.imag) if dtypes.is_complex(x.dtype) else np.abs(x)


def _factor_panel(x: np.ndarray, pivots: np.ndarray, start: int, stop: int) -> None:
    """Columns ``start:stop`` of a batch, one by one; whole rows are exchanged."""
    each = np.arange(len(x))
    for j in range(start, stop):
        size = _size_of_pivot(x[:, j:, j])
        p = j + np.argmax(np.where(np.isnan(size), -1, size), axis=1)
        pivots[:, j] = p
        x[each, j], x[each, p] = x[each, p], x[each, j].copy()
        pivot = x[:, j, j, None]
        x[:, j + 1 :, j] /= np.where(pivot == 0, 1, pivot)  # below a zero pivot there are only zeros
        x[:, j + 1 :, j + 1 : stop] -= x[:, j + 1 :, j, None] * x[:, None, j, j + 1 : stop]


@lu_p.def_impl
def _lu_impl(a: np.ndarray) -> list[np.ndarray]:
    """By panels of columns, over the whole batch: most of the work is in the products."""
    *batch, m, n = a.shape
    x, k = flat_batch(a).copy(), min(m, n)
    pivots = np.zeros((len(x), k), np.int32)
    with np.errstate(all="ignore"):
        for start in range(0, k, _PANEL):
            stop = min(start + _PANEL, k)
            _factor_panel(x, pivots, start, stop)
            if stop < n:
                x[:, start:stop, stop:] = solve_triangle(
                    x[:, start:stop, start:stop], x[:, start:stop, stop:], True, True
                )
                x[:, stop:, stop:] -= x[:, stop:, start:stop] @ x[:, start:stop, stop:]
    lost = np.isnan(x).any(axis=(1, 2))  # which rows LAPACK exchanges from the first NaN on, nothing says
    x[lost], pivots[lost] = np.nan, np.arange(k)
    return [x.reshape(a.shape), pivots.reshape(*batch, k)]


def _square_lower(lu: Value) -> Value:
    """L as m x m: unit lower triangular, the identity behind column k."""
    *batch, m, n = aval_of(lu).shape
    k = min(m, n)
    strict = tril(columns(lu, k), -1)
    if m > k:
        strict = pad(strict, full_like(aval_of(lu), 0, shape=()), [*[(0, 0, 0)] * (len(batch) + 1), (0, m - k, 0)])
    return add(strict, eye_like(strict))


def _square_upper(lu: Value) -> Value:
    """U as n x n: upper triangular, the identity below row k."""
    *batch, m, n = aval_of(lu).shape
    k = min(m, n)
    upper = triu(rows(lu, k))
    if n == k:
        return upper
    below = eye_of(batch, n, n, aval_of(lu).dtype)
    return concatenate([upper, rows(below, n, k)], len(batch))


@lu_p.def_jvp
def _lu_jvp(primals: Sequence[Value], tangents: Sequence[Value], out: Sequence[Value]) -> list[Value | None]:
    """With M = L^-1 P dA U^-1:  dL = L tril(M, -1)  and  dU = triu(M) U."""
    packed, pivots = out
    lower, upper = _square_lower(packed), _square_upper(packed)
    da = take_rows(tangents[0], lu_pivots_to_permutation(pivots, aval_of(packed).shape[-2]))
    inner = triangular_solve(lower, da, left_side=True, lower=True, unit_diagonal=True)
    inner = triangular_solve(upper, inner, left_side=False, lower=False)
    return [add(mm(lower, tril(inner, -1)), mm(triu(inner), upper)), None]


lu_p.no_transpose("it is not linear; its jvp is made of triangular solves, which have transposes")
lu_p.def_batch(leading_batch(lu_p))


# ---------------------------------------------------------------------------------------- permutation


@lu_pivots_to_permutation_p.def_abstract
def _permutation_abstract(pivots: Aval, *, permutation_size: int) -> Aval:
    if pivots.dtype != dtypes.int32:
        raise DTypeError(f"lu_pivots_to_permutation takes int32 pivots, as lu returns them; found {pivots}")
    if pivots.ndim < 1 or pivots.shape[-1] > permutation_size:
        raise ShapeError(
            f"lu_pivots_to_permutation: pivots {pivots} exchange more rows than permutation_size={permutation_size}"
        )
    return Aval((*pivots.shape[:-1], permutation_size), dtypes.int32)


@lu_pivots_to_permutation_p.def_impl
def _permutation_impl(pivots: np.ndarray, *, permutation_size: int) -> np.ndarray:
    *batch, k = pivots.shape
    flat = np.clip(flat_batch(pivots, 1), 0, max(permutation_size - 1, 0))
    out, each = np.tile(np.arange(permutation_size, dtype=np.int32), (len(flat), 1)), np.arange(len(flat))
    for i in range(k):
        p = flat[:, i]
        out[each, i], out[each, p] = out[each, p], out[each, i].copy()
    return out.reshape(*batch, permutation_size)


lu_pivots_to_permutation_p.no_gradient("it computes positions")
lu_pivots_to_permutation_p.def_batch(leading_batch(lu_pivots_to_permutation_p))


def take_rows(x: Value, rows: Value) -> Value:
    """``out[..., i, :] = x[..., rows[..., i], :]``"""
    shape = aval_of(x).shape
    b = len(shape) - 2
    numbers = GatherDimensionNumbers((b + 1,), (b,), (b,), tuple(range(b)), tuple(range(b)))
    sizes = (*[min(1, n) for n in shape[:-1]], shape[-1])
    return gather(x, expand_dims(rows, (b + 1,)), numbers, sizes, mode="promise_in_bounds")


# ----------------------------------------------------------------------------------------------- qr


def _qr_shapes(a: Aval, full_matrices: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    *batch, m, n = a.shape
    k = m if full_matrices else min(m, n)
    return (*batch, m, k), (*batch, k, n)


@qr_p.def_abstract
def _qr_abstract(a: Aval, *, full_matrices: bool, pivoting: bool) -> tuple[Aval, ...]:
    check_matrix("qr", a)
    order = (Aval((*a.shape[:-2], a.shape[-1]), dtypes.int32),) if pivoting else ()
    return (*[Aval(s, a.dtype) for s in _qr_shapes(a, full_matrices)], *order)


def _column_order(a: np.ndarray) -> np.ndarray:
    """The columns of one matrix in the order in which they are the longest, once those before have been taken out."""
    rest, order = a.astype(np.result_type(a.dtype, np.float64)), np.arange(a.shape[1], dtype=np.int32)
    for j in range(min(a.shape)):
        sizes = np.linalg.norm(rest[:, j:], axis=0)
        k = j + int(np.argmax(np.where(np.isnan(sizes), -1, sizes)))
        rest[:, [j, k]], order[[j, k]] = rest[:, [k, j]], order[[k, j]]
        size = np.linalg.norm(rest[:, j])
        if size > 0:
            unit = rest[:, j, None] / size
            rest[:, j + 1 :] -= unit @ (unit.conj().T @ rest[:, j + 1 :])
    return order


@qr_p.def_impl
def _qr_impl(a: np.ndarray, *, full_matrices: bool, pivoting: bool) -> list[np.ndarray]:
    q_shape, r_shape = _qr_shapes(Aval(a.shape, a.dtype), full_matrices)
    with np.errstate(all="ignore"):
        n = a.shape[-1]
        orders = np.array([_column_order(x) for x in flat_batch(a)] if pivoting else [], np.int32)
        order = [orders.reshape(*a.shape[:-2], n)] if pivoting else []
        if not a.size:
            eye = np.broadcast_to(np.eye(*q_shape[-2:], dtype=a.dtype), q_shape)
            return [np.array(eye), np.zeros(r_shape, a.dtype), *order]
        a = np.take_along_axis(a, order[0][..., None, :], -1) if pivoting else a
        return [*np.linalg.qr(a, "complete" if full_matrices else "reduced"), *order]


@qr_p.def_jvp
def _qr_jvp(
    primals: Sequence[Value], tangents: Sequence[Value], out: Sequence[Value], *, full_matrices: bool, pivoting: bool
) -> list[Value | None]:
    """With X = Q^H dA R^-1 on the leading square:  dQ = Q W + (I - Q Q^H) dA R^-1  and  dR = Q^H dA - W R.

    W is skew-Hermitian: its strictly lower part is that of X, its diagonal the imaginary part of X's, as the diagonal
    of R is real.  Columns of Q beyond the rank of the factor move as little as they can.
    """
    (q, r, *order), (da,) = out, tangents
    if pivoting:
        da = mT(take_rows(mT(da), order[0]))
    m, n = aval_of(da).shape[-2:]
    k = min(m, n)
    thin, top = columns(q, k), rows(columns(r, k), k)
    front = triangular_solve(top, columns(da, k), left_side=False, lower=False)  # dA R^-1
    x = mm(mH(thin), front)
    strict = tril(x, -1)
    w = sub(strict, mH(strict))
    if is_complex(x):
        w = add(w, embed_diagonal(sub(diagonal(x), as_complex(real_part(diagonal(x))))))
    beyond = sub(front, mm(thin, x))
    d_thin = add(mm(thin, w), beyond) if m > k else mm(thin, w)
    dr = sub(mm(mH(thin), da), mm(w, rows(r, k)))
    dr = triu(dr)
    if not full_matrices or m == k:
        return [d_thin, dr, *[None] * pivoting]
    return [with_rest(d_thin, thin, q), pad_rows(dr, m), *[None] * pivoting]


qr_p.no_transpose("it is not linear; its jvp is made of products and triangular solves, which have transposes")
qr_p.def_batch(leading_batch(qr_p))


# -------------------------------------------------------------------------------------------- geqrf


@geqrf_p.def_abstract
def _geqrf_abstract(a: Aval) -> tuple[Aval, Aval]:
    m, n = check_matrix("geqrf", a)
    return a.strong(), Aval((*a.shape[:-2], min(m, n)), a.dtype)


def reflector(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Householder reflectors ``H = I - tau v v^H`` with ``H^H x = beta e_1``, beta real and v[0] = 1; x is (batch, n).

    Returns:
        v, tau, beta.
    """
    alpha, rest = x[:, 0], x[:, 1:]
    size = np.sqrt(np.sum(np.abs(x) ** 2, axis=1))
    idle = (np.sum(np.abs(rest), axis=1) == 0) & (np.imag(alpha) == 0)
    beta = np.where(idle, alpha.real, -np.copysign(size, alpha.real))
    safe = np.where(idle, 1, beta)
    tau = np.where(idle, 0, (safe - alpha) / safe)
    v = rest / np.where(idle, 1, alpha - safe)[:, None]
    return np.concatenate([np.ones_like(x[:, :1]), v.astype(x.dtype)], 1), tau.astype(x.dtype), beta.astype(x.dtype)


@geqrf_p.def_impl
def _geqrf_impl(a: np.ndarray) -> list[np.ndarray]:
    *batch, m, n = a.shape
    x, k = flat_batch(a).copy(), min(m, n)
    taus = np.zeros((len(x), k), a.dtype)
    with np.errstate(all="ignore"):
        for j in range(k):
            v, tau, beta = reflector(x[:, j:, j])
            row = np.einsum("bi,bij->bj", v.conj(), x[:, j:, j + 1 :])
            x[:, j:, j + 1 :] -= (tau.conj()[:, None] * row)[:, None] * v[:, :, None]
            x[:, j, j], x[:, j + 1 :, j], taus[:, j] = beta, v[:, 1:], tau
    return [x.reshape(a.shape), taus.reshape(*batch, k)]


_PACKED = "the reflectors of a factorisation are its inner form; differentiate qr, or the product of the reflectors"
geqrf_p.no_jvp(_PACKED)
geqrf_p.no_transpose("it is not linear")
geqrf_p.def_batch(leading_batch(geqrf_p))

# -------------------------------------------------------------------------------- public functions


def cholesky(x: Value, *, symmetrize_input: bool = True) -> Value:
    """The lower triangular L with ``x = L L^H``.

    Args:
        x: Hermitian positive definite matrices ``(..., n, n)``.
        symmetrize_input: take the Hermitian part of ``x`` first; without, only the lower triangle is read.

    Returns:
        L, zero above the diagonal; NaN at and below it where ``x`` is not positive definite.

    Example:
        >>> import numpy as np, fx
        >>> fx.lax.linalg.cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))
        Array([[2., 0.],
               [1., 2.]], dtype=float64)
    """
    return bind(cholesky_p, symmetrize(x) if symmetrize_input else x)


def lu(x: Value) -> tuple[Value, Value, Value]:
    """The factorisation ``P A = L U`` with partial pivoting.

    Args:
        x: matrices ``(..., m, n)``; k is the smaller of m and n.

    Returns:
        L and U in one array (the unit diagonal of L is not stored); pivots ``(..., k)``: row i was exchanged with row
        ``pivots[i]``; the permutation ``(..., m)`` with ``A[permutation] = L U``.
    """
    packed, pivots = bind(lu_p, x)
    return packed, pivots, lu_pivots_to_permutation(pivots, aval_of(x).shape[-2])


def lu_pivots_to_permutation(pivots: Value, permutation_size: int) -> Value:
    """The permutation that row exchanges amount to: row i with ``pivots[i]``, in order."""
    return bind(lu_pivots_to_permutation_p, pivots, permutation_size=int(permutation_size))


def lu_solve(packed: Value, permutation: Value, b: Value, trans: int = 0) -> Value:
    """Solves ``A x = b`` (``trans`` 0), ``A^T x = b`` (1) or ``A^H x = b`` (2) with A's factors from ``lu``.

    Args:
        packed: ``(..., n, n)``.
        permutation: ``(..., n)``.
        b: ``(..., n, k)``.
    """
    if trans not in (0, 1, 2):
        raise ArgumentError(f"lu_solve: trans={trans!r} is none of 0 (A), 1 (A^T) and 2 (A^H)")
    if trans == 0:
        y = triangular_solve(packed, take_rows(b, permutation), left_side=True, lower=True, unit_diagonal=True)
        return triangular_solve(packed, y, left_side=True, lower=False)
    flags = {"left_side": True, "transpose_a": True, "conjugate_a": trans == 2}
    y = triangular_solve(packed, b, lower=False, **flags)
    y = triangular_solve(packed, y, lower=True, unit_diagonal=True, **flags)
    return take_rows(y, argsort(permutation))


def qr(
    x: Value, *, pivoting: bool = False, full_matrices: bool = True, use_magma: bool | None = None
) -> tuple[Value, ...]:
    """The factorisation ``x = Q R``: Q has orthonormal columns, R is upper triangular with a real diagonal.

    Args:
        x: matrices ``(..., m, n)``; k is the smaller of m and n.
        pivoting: factorise ``x[:, P]``, the columns in an order that makes the diagonal of R fall in size.
        full_matrices: Q is ``(..., m, m)`` and R ``(..., m, n)``; otherwise ``(..., m, k)`` and ``(..., k, n)``.
        use_magma: accepted as in JAX.

    Returns:
        Q, R, and P (int32) with ``pivoting``.
    """
    return tuple(bind(qr_p, x, full_matrices=bool(full_matrices), pivoting=bool(pivoting)))


def geqrf(a: Value) -> tuple[Value, Value]:
    """The QR factorisation by Householder reflectors, packed.

    Returns:
        R at and above the diagonal and the reflectors below it ``(..., m, n)``, and their factors ``(..., k)``.
    """
    packed, taus = bind(geqrf_p, a)
    return packed, taus


def householder_product(a: Value, taus: Value) -> Value:
    """The first n columns of ``H_1 H_2 ... H_k`` with ``H_i = I - taus[i] v_i v_i^H``.

    ``v_i`` stands in column i of ``a`` below the diagonal, where it has a 1.  With V all of them and the upper triangular
    ``T^-1 = diag(1 / taus) + triu(V^H V, 1)`` the product is ``I - V T V^H`` (Joffrain et al., 2006).

    Args:
        a: ``(..., m, n)``, m >= n.
        taus: ``(..., k)``, k <= n.

    Returns:
        ``(..., m, n)``.
    """
    m, n = check_matrix("householder_product", aval_of(a))
    check_dtype("householder_product", aval_of(taus), MATRIX)
    k = aval_of(taus).shape[-1]
    if m < n or k > n:
        raise ShapeError(
            f"householder_product takes at least as many rows as columns and at most as many factors as columns;"
            f" found {aval_of(a)} and taus {aval_of(taus)}"
        )
    v = tril(columns(a, k), -1)
    v = add(v, eye_like(v))
    block = eye_of(aval_of(a).shape[:-2], m, n, aval_of(a).dtype)
    # T = (I + D triu(V^H V, 1))^-1 D with D = diag(taus), so that factors of zero divide nothing
    inner = mul(as_rows(taus), triu(mm(mH(v), v), 1))
    w = mul(as_rows(taus, n), mm(mH(v), block))
    w = triangular_solve(add(inner, eye_like(inner)), w, left_side=True, lower=False, unit_diagonal=True)
    return sub(block, mm(v, w))
