"""Linear equations whose matrix has zeros in known places: triangular, tridiagonal, and triangular Sylvester equations.

They are linear in the right-hand side; with respect to the matrix the tangent solves the same equation once more:
``A x = b`` gives ``A dx = db - dA x``.  A singular matrix gives infinities or NaN for its own equation, and raises nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ir import Aval
from ..primitive import Primitive
from ..trace import aval_of, bind
from .checks import check_same_dtypes
from .elementwise import add, mul, neg, sub
from .helpers import Value, full_like, move_batch
from .joining import pad
from .matrices import as_rows, check_matrix, conjugate, flat_batch, is_complex, leading_batch, mH, mm, mT, triangle
from .shaping import expand_dims, reshape

__all__ = [
    "triangular_solve", "triangular_solve_p", "triangular_sylvester", "triangular_sylvester_p", "tridiagonal_solve",
    "tridiagonal_solve_p",
]  # fmt: skip

triangular_solve_p = Primitive("triangular_solve")
tridiagonal_solve_p = Primitive("tridiagonal_solve")
triangular_sylvester_p = Primitive("triangular_sylvester")

_SMALL = 16  # a reference block that is solved row by row

# --------------------------------------------------------------------------------- triangular_solve


@triangular_solve_p.def_abstract
def _triangular_solve_abstract(
    a: Aval, b: Aval, *, left_side: bool, lower: bool, transpose_a: bool, conjugate_a: bool, unit_diagonal: bool
) -> Aval:
    n, _ = check_matrix("triangular_solve", a, square=True)
    check_matrix("triangular_solve", b)
    check_same_dtypes("triangular_solve", (a, b))
    side = -2 if left_side else -1
    if a.shape[:-2] != b.shape[:-2] or b.shape[side] != n:
        raise ShapeError(
            f"triangular_solve: a {a} does not fit b {b}: batch dimensions must be equal, and"
            f" {'rows' if left_side else 'columns'} of b must be as many as a has"
        )
    return b.strong()


def solve_triangle(a: np.ndarray, b: np.ndarray, lower: bool, unit: bool) -> np.ndarray:
    """``a x = b`` by halves: the second is solved after the first has been taken from it."""
    n = a.shape[-1]
    if n > _SMALL:
        h = n // 2
        one, two = (slice(0, h), slice(h, n)) if lower else (slice(h, n), slice(0, h))
        first = solve_triangle(a[..., one, one], b[..., one, :], lower, unit)
        second = solve_triangle(a[..., two, two], b[..., two, :] - a[..., two, one] @ first, lower, unit)
        return np.concatenate([first, second] if lower else [second, first], axis=-2)
    x = np.array(b)
    for i in range(n) if lower else range(n - 1, -1, -1):
        known = slice(0, i) if lower else slice(i + 1, n)
        x[..., i, :] -= (a[..., i, None, known] @ x[..., known, :])[..., 0, :]
        if not unit:
            x[..., i, :] /= a[..., i, i, None]
    return x


@triangular_solve_p.def_impl
def _triangular_solve_impl(
    a: np.ndarray, b: np.ndarray, *, left_side: bool, lower: bool, transpose_a: bool, conjugate_a: bool,
    unit_diagonal: bool,
) -> np.ndarray:  # fmt: skip
    if transpose_a:
        a, lower = np.swapaxes(a.conj() if conjugate_a else a, -1, -2), not lower
    with np.errstate(all="ignore"):
        if left_side:
            return solve_triangle(a, b, lower, unit_diagonal)
        solved = solve_triangle(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2), not lower, unit_diagonal)
        return np.ascontiguousarray(np.swapaxes(solved, -1, -2))


def _operator(a: Value, transpose_a: bool, conjugate_a: bool) -> Value:
    return (mH(a) if conjugate_a else mT(a)) if transpose_a else a


@triangular_solve_p.def_jvp
def _triangular_solve_jvp(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, **params: Any
) -> Value:
    (a, _), (da, db) = primals, tangents
    if da is not None:
        da = _operator(
            triangle(da, params["lower"], params["unit_diagonal"]), params["transpose_a"], params["conjugate_a"]
        )
        moved = mm(da, out) if params["left_side"] else mm(out, da)
        db = neg(moved) if db is None else sub(db, moved)
    return bind(triangular_solve_p, a, db, **params)


@triangular_solve_p.def_transpose
def _triangular_solve_transpose(ct: Value, inputs: Sequence[Any], **params: Any) -> tuple[None, Value]:
    a = inputs[0]
    if params["transpose_a"] and params["conjugate_a"]:
        a = conjugate(a)
    flags = {**params, "transpose_a": not params["transpose_a"], "conjugate_a": False}
    return None, bind(triangular_solve_p, a, ct, **flags)


@triangular_solve_p.def_batch
def _triangular_solve_batch(
    size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any
) -> tuple[Value, int]:
    """One matrix for all examples: they become columns (or rows) of one right-hand side."""
    (a, b), (a_dim, b_dim) = args, dims
    if a_dim is None and aval_of(a).ndim == 2 and b_dim is not None:
        at = 1 if params["left_side"] else 0
        wide = move_batch(b, b_dim, at)  # (n, batch, k) or (batch, k, n)
        shape = aval_of(wide).shape
        flat = (shape[0], shape[1] * shape[2]) if at else (shape[0] * shape[1], shape[2])
        return reshape(bind(triangular_solve_p, a, reshape(wide, flat), **params), shape), at
    return leading_batch(triangular_solve_p)(size, args, dims, **params)  # type: ignore[no-any-return]


def triangular_solve(
    a: Value, b: Value, *, left_side: bool = False, lower: bool = False, transpose_a: bool = False,
    conjugate_a: bool = False, unit_diagonal: bool = False,
) -> Value:  # fmt: skip
    """Solves ``op(a) x = b``, or ``x op(a) = b``, where ``a`` is triangular.

    Args:
        a: ``(..., n, n)``; only one triangle is read.
        b: ``(..., n, k)`` with ``left_side``, else ``(..., k, n)``; or without the last dimension: one right-hand side.
        left_side: the matrix stands on the left of x.
        lower: the lower triangle is read, else the upper one.
        transpose_a, conjugate_a: op(a) is the transpose, the conjugate, or both.
        unit_diagonal: the diagonal counts as ones and is not read.

    Example:
        >>> import numpy as np, fx
        >>> fx.lax.linalg.triangular_solve(np.array([[2.0, 0], [1, 4]]), np.array([[2.0], [9.0]]), left_side=True, lower=True)
        Array([[1.],
               [2.]], dtype=float64)
    """
    conjugate_a = conjugate_a and is_complex(a)
    if conjugate_a and not transpose_a:
        a, conjugate_a = conjugate(a), False
    one = aval_of(b).ndim == aval_of(a).ndim - 1
    b = expand_dims(b, (aval_of(b).ndim if left_side else aval_of(b).ndim - 1,)) if one else b
    out = bind(
        triangular_solve_p, a, b, left_side=bool(left_side), lower=bool(lower), transpose_a=bool(transpose_a),
        conjugate_a=conjugate_a, unit_diagonal=bool(unit_diagonal),
    )  # fmt: skip
    return (
        reshape(out, aval_of(b).shape[:-1] if left_side else (*aval_of(b).shape[:-2], aval_of(b).shape[-1]))
        if one
        else out
    )


# -------------------------------------------------------------------------------- tridiagonal_solve


@tridiagonal_solve_p.def_abstract
def _tridiagonal_solve_abstract(dl: Aval, d: Aval, du: Aval, b: Aval) -> Aval:
    check_matrix("tridiagonal_solve", b)
    check_same_dtypes("tridiagonal_solve", (dl, d, du, b))
    if not dl.shape == d.shape == du.shape == b.shape[:-1]:
        raise ShapeError(
            f"tridiagonal_solve: the diagonals {dl}, {d} and {du} must have the shape of b {b} without its last dimension"
        )
    return b.strong()


@tridiagonal_solve_p.def_impl
def _tridiagonal_solve_impl(dl: np.ndarray, d: np.ndarray, du: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Elimination with exchanges of neighbouring rows, over the whole batch; a zero pivot makes the example NaN."""
    n = b.shape[-2]
    low, mid, up = (np.array(flat_batch(x, 1)) for x in (dl, d, du))
    x, up2 = np.array(flat_batch(b)), np.zeros_like(mid)
    with np.errstate(all="ignore"):
        for i in range(n - 1):
            swap = _magnitude(mid[:, i]) < _magnitude(low[:, i + 1])
            top = [mid[:, i].copy(), up[:, i].copy(), np.zeros_like(up2[:, i])]
            next_up = up[:, i + 1].copy() if i + 2 < n else np.zeros_like(up[:, i])
            bottom = [low[:, i + 1].copy(), mid[:, i + 1].copy(), next_up]
            first, second = ([np.where(swap, p, q) for p, q in zip(*pair)] for pair in ((bottom, top), (top, bottom)))
            rows = x[:, i].copy(), x[:, i + 1].copy()
            x[:, i], x[:, i + 1] = (np.where(swap[:, None], *pair) for pair in (rows[::-1], rows))
            factor = second[0] / first[0]
            mid[:, i], up[:, i], up2[:, i] = first
            mid[:, i + 1] = second[1] - factor * first[1]
            if i + 2 < n:
                up[:, i + 1] = second[2] - factor * first[2]
            x[:, i + 1] -= factor[:, None] * x[:, i]
        for i in range(n - 1, -1, -1):
            if i + 1 < n:
                x[:, i] -= up[:, i, None] * x[:, i + 1]
            if i + 2 < n:
                x[:, i] -= up2[:, i, None] * x[:, i + 2]
            x[:, i] /= mid[:, i, None]
    x[(mid == 0).any(axis=1)] = np.nan
    return x.reshape(b.shape)


def _magnitude(x: np.ndarray) -> np.ndarray:
    return np.abs(x.real) + np.abs(x.imag)


def _shifted(x: Value, by: int) -> Value:
    """``out[..., i] = x[..., i - by]``, zero where there is none."""
    a = aval_of(x)
    edges = [*[(0, 0, 0)] * (a.ndim - 1), (by, -by, 0)]
    return pad(x, full_like(a, 0, shape=()), edges)


def tridiagonal_product(dl: Value, d: Value, du: Value, x: Value) -> Value:
    """The product of tridiagonal matrices and matrices ``(..., n, k)``."""
    a = aval_of(x)

    def times(diagonal: Value, rows: Value) -> Value:
        return mul(as_rows(diagonal, a.shape[-1]), rows)

    def moved(by: int) -> Value:
        return pad(x, full_like(a, 0, shape=()), [*[(0, 0, 0)] * (a.ndim - 2), (by, -by, 0), (0, 0, 0)])

    return add(add(times(dl, moved(1)), times(d, x)), times(du, moved(-1)))


@tridiagonal_solve_p.def_jvp
def _tridiagonal_solve_jvp(primals: Sequence[Value], tangents: Sequence[Value | None], out: Value) -> Value:
    dl, d, du, _ = primals
    *moved, db = tangents
    if any(t is not None for t in moved):
        below, at, above = [full_like(aval_of(d), 0) if t is None else t for t in moved]
        product = tridiagonal_product(below, at, above, out)
        db = neg(product) if db is None else sub(db, product)
    return bind(tridiagonal_solve_p, dl, d, du, db)


@tridiagonal_solve_p.def_transpose
def _tridiagonal_solve_transpose(ct: Value, inputs: Sequence[Any]) -> tuple[None, None, None, Value]:
    dl, d, du, _ = inputs
    return None, None, None, bind(tridiagonal_solve_p, _shifted(du, 1), d, _shifted(dl, -1), ct)


tridiagonal_solve_p.def_batch(leading_batch(tridiagonal_solve_p))


def tridiagonal_solve(dl: Value, d: Value, du: Value, b: Value) -> Value:
    """Solves ``A x = b`` where A is tridiagonal, by elimination with partial pivoting.

    Args:
        dl: ``(..., n)``: ``A[i, i-1]``; the first is not used.
        d: ``(..., n)``: ``A[i, i]``.
        du: ``(..., n)``: ``A[i, i+1]``; the last is not used.
        b: ``(..., n, k)``.

    Returns:
        x ``(..., n, k)``; NaN where A is singular.
    """
    return bind(tridiagonal_solve_p, dl, d, du, b)


# ---------------------------------------------------------------------------- triangular_sylvester


@triangular_sylvester_p.def_abstract
def _triangular_sylvester_abstract(r: Aval, s: Aval, f: Aval, *, adjoint: bool) -> Aval:
    (m, _), (n, _) = (check_matrix("triangular_sylvester", x, square=True) for x in (r, s))
    check_same_dtypes("triangular_sylvester", (r, s, f))
    if f.shape != (*r.shape[:-2], m, n) or r.shape[:-2] != s.shape[:-2]:
        raise ShapeError(
            f"triangular_sylvester: with r {r} and s {s} the right-hand side has shape (*batch, {m}, {n}), not {f}"
        )
    return f.strong()


@triangular_sylvester_p.def_impl
def _triangular_sylvester_impl(r: np.ndarray, s: np.ndarray, f: np.ndarray, *, adjoint: bool) -> np.ndarray:
    """Column by column: ``(r + s_kk) y_k = f_k - sum_j y_j s_jk``."""
    m, n = f.shape[-2:]
    if adjoint:
        r, s = (np.swapaxes(x.conj(), -1, -2) for x in (r, s))
    y, eye = np.zeros_like(f), np.eye(m, dtype=f.dtype)
    with np.errstate(all="ignore"):
        for k in range(n - 1, -1, -1) if adjoint else range(n):
            known = slice(k + 1, n) if adjoint else slice(0, k)
            rhs = f[..., k] - (y[..., known] @ s[..., known, k, None])[..., 0]
            shifted = r + s[..., k, None, k, None] * eye
            y[..., k] = solve_triangle(shifted, rhs[..., None], adjoint, False)[..., 0]
    y[_is_singular(r, s)] = np.nan
    return y


def _is_singular(r: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Whether some eigenvalue of r is, up to rounding error, the negative of one of s: LAPACK's criterion."""
    info = np.finfo(r.dtype)
    largest = [np.max(np.abs(x), axis=(-2, -1), initial=0.0) for x in (r, s)]
    least = np.maximum(float(info.eps) / 2 * np.maximum(*largest), float(info.tiny) * max(1, r.shape[-1] * s.shape[-1]))
    sums = np.diagonal(r, axis1=-2, axis2=-1)[..., :, None] + np.diagonal(s, axis1=-2, axis2=-1)[..., None, :]
    return np.asarray((_magnitude(sums) <= least[..., None, None]).any(axis=(-2, -1)))


@triangular_sylvester_p.def_jvp
def _triangular_sylvester_jvp(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, *, adjoint: bool
) -> Value:
    (r, s, _), (dr, ds, df) = primals, tangents
    terms = []
    if dr is not None:
        terms.append(mm(_operator(triangle(dr, False), adjoint, adjoint), out))
    if ds is not None:
        terms.append(mm(out, _operator(triangle(ds, False), adjoint, adjoint)))
    for term in terms:
        df = neg(term) if df is None else sub(df, term)
    return bind(triangular_sylvester_p, r, s, df, adjoint=adjoint)


@triangular_sylvester_p.def_transpose
def _triangular_sylvester_transpose(ct: Value, inputs: Sequence[Any], *, adjoint: bool) -> tuple[None, None, Value]:
    r, s, _ = inputs
    return None, None, conjugate(bind(triangular_sylvester_p, r, s, conjugate(ct), adjoint=not adjoint))


triangular_sylvester_p.def_batch(leading_batch(triangular_sylvester_p))


def triangular_sylvester(r: Value, s: Value, f: Value, *, adjoint: bool = False) -> Value:
    """Solves ``r y + y s = f``, or ``r^H y + y s^H = f`` with ``adjoint``, for upper triangular ``r`` and ``s``.

    Args:
        r: ``(..., m, m)``.
        s: ``(..., n, n)``.
        f: ``(..., m, n)``.

    Returns:
        y ``(..., m, n)``; NaN where an eigenvalue of ``r`` is the negative of one of ``s``.
    """
    return bind(triangular_sylvester_p, r, s, f, adjoint=bool(adjoint))
