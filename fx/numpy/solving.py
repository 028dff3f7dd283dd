"""Linear equations and determinants of ``numpy.linalg``.

Each function has a derivative of its own, that uses the factors it has: ``A x = b`` gives ``dx = A^-1 (db - dA x)``, so a
gradient costs one more pair of triangular solves and no differentiated factorisation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..array import Array
from ..config import config
from ..errors import (
    ArgumentError,
    ShapeError,
)
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives import helpers, shaping
from ..primitives.decompositions import lu, lu_solve
from ..primitives.matrices import (
    as_columns,
    as_complex,
    diagonal,
    eye_of,
    is_complex,
    mH,
    mm,
    norm_columns,
)  # fmt: skip
from ..primitives.reductions import reduce_max, reduce_prod, reduce_sum
from ..primitives.spectral import eigh, svd
from ..transforms.custom_call import present
from ..transforms.custom_jvp import custom_jvp
from .contraction import matmul
from .core import Value, as_type, as_value, broadcast_shapes, broadcast_value, buffers_of, filled, promote_dtype
from .factorizations import machine_epsilon, matrix_operand
from .indexing import getitem
from .manipulation import moveaxis
from .reductions import sum as sum_

__all__ = [
    "SlogdetResult", "det", "inv", "lstsq", "matrix_rank", "pinv", "slogdet", "solve", "tensorinv", "tensorsolve",
]  # fmt: skip


class SlogdetResult(NamedTuple):
    """What ``slogdet`` gives: the determinant is ``sign * exp(logabsdet)``."""

    sign: Value
    logabsdet: Value


# ------------------------------------------------------------------------------------------- solve

Solver = Callable[[Value], Value]


def solution(factor: Callable[[Value], Callable[[Value], Value]]) -> custom_jvp:
    """The function ``(a, b) -> x`` with ``a x = b``, given ``factor(a)``, a function from right-hand sides to solutions."""

    @custom_jvp
    def solved(a: Value, b: Value) -> Value:
        return factor(a)(b)

    def rule(primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Value, Value]:
        (a, b), (da, db) = primals, map(present, tangents)
        inverse = factor(a)
        x = inverse(b)
        if da is not None:
            moved = matmul(da, x)
            db = p.neg(moved) if db is None else p.sub(broadcast_value(db, moved.shape), moved)
        return x, inverse(db)

    solved.defjvp(rule, symbolic_zeros=True)
    return solved


def over_batch(x: Value, batch: Sequence[int], last: int) -> Value:
    """``x`` with its last dimensions repeated over a batch."""
    return broadcast_value(x, (*batch, *x.shape[x.ndim - last :]))


def _by_lu(a: Value) -> Solver:
    """The factors are computed once for each matrix, however many right-hand sides there are."""
    packed, _, permutation = lu(a)

    def solved(b: Value) -> Value:
        batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return lu_solve(over_batch(packed, batch, 2), over_batch(permutation, batch, 1), over_batch(b, batch, 2))

    return solved


_solution = solution(_by_lu)


def solve(a: Any, b: Any) -> Value:
    """The solution x of ``a x = b``.

    Args:
        a: square matrices ``(..., n, n)``.
        b: a vector ``(n,)``, or matrices ``(..., n, k)``; batch dimensions are broadcast.

    Returns:
        x in the shape of ``b``, broadcast; infinities or NaN where ``a`` is singular.

    Example:
        >>> import numpy as np, fx.numpy as fnp
        >>> fnp.linalg.solve(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([3.0, 5.0]))
        Array([0.8, 1.4], dtype=float64)
    """
    found = _by_numpy(np.linalg.solve, a, b)
    return solve_with(_solution, a, b, "solve") if found is None else found


def _by_numpy(f: Callable[..., np.ndarray], *xs: Any) -> Value | None:
    """What NumPy's LAPACK gives for known matrices; None where they are singular, or the long way says what is wrong."""
    buffers = buffers_of(*xs)
    try:
        return None if buffers is None else Array(f(*buffers))
    except (np.linalg.LinAlgError, ValueError):
        return None


def solve_with(solved: Callable[[Value, Value], Value], a: Any, b: Any, name: str) -> Value:
    """``solved`` on operands of one dtype; a vector ``b`` is one column."""
    x, y = promote_dtype(matrix_operand(a, name, True), as_value(b))
    n = x.shape[-1]
    column = y.ndim == 1
    if y.ndim == 0 or y.shape[-1 if column else -2] != n:
        raise ShapeError(f"{name}: a of shape {x.shape} needs b with {n} rows; found shape {y.shape}")
    out = solved(x, shaping.expand_dims(y, (1,)) if column else y)
    return shaping.squeeze(out, (out.ndim - 1,)) if column else out


def inv(a: Any) -> Value:
    """The inverses of square matrices; infinities or NaN where there is none.

    >>> import fx.numpy as fnp
    >>> fnp.linalg.inv(fnp.array([[2.0, 0.0], [0.0, 4.0]]))
    Array([[0.5 , 0.  ],
           [0.  , 0.25]], dtype=float32)
    """
    found = _by_numpy(np.linalg.inv, a)
    if found is not None:
        return found
    x = matrix_operand(a, "inv", True)
    return _solution(x, eye_of((), x.shape[-2], x.shape[-1], x.dtype))


# ------------------------------------------------------------------------------------- determinants


def _odd_exchanges(pivots: Value) -> Value:
    """Whether the permutation of the rows is odd."""
    here = shaping.broadcasted_iota(pivots.dtype, pivots.shape, pivots.ndim - 1)
    moved = as_type(p.ne(pivots, here), np.int32)
    count = reduce_sum(moved, (pivots.ndim - 1,))
    return p.eq(p.rem(count, helpers.full_like(count, 2)), helpers.full_like(count, 1))


def _of_diagonal(d: Value, odd: Value) -> Value:
    out = reduce_prod(d, (d.ndim - 1,))
    return p.select(odd, p.neg(out), out)


def _trace_of_solution(packed: Value, permutation: Value, da: Value) -> Value:
    """trace(A^-1 dA)"""
    return reduce_sum(diagonal(lu_solve(packed, permutation, da)), (da.ndim - 2,))


@custom_jvp
def _det(a: Value) -> Value:
    packed, pivots, _ = lu(a)
    return _of_diagonal(diagonal(packed), _odd_exchanges(pivots))


@_det.defjvp
def _det_jvp(primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Value, Value]:
    """d det = det tr(A^-1 dA), also where A is singular.

    A zero pivot stands in for a tiny one: for one of them the product with the inverse is the adjugate of A to full
    precision, for several it is as good as zero, which is right for rank n - 2.
    """
    (a,), (da,) = primals, tangents
    packed, pivots, permutation = lu(a)
    d, odd = diagonal(packed), _odd_exchanges(pivots)
    tiny = float(np.finfo(a.dtype).tiny) ** 0.4
    on = as_columns(p.eq(d, helpers.zeros_like(d)))
    eye = p.eq(*[shaping.broadcasted_iota(np.int32, a.shape, a.ndim - k) for k in (2, 1)])
    regular = p.select(p.bitwise_and(on, eye), helpers.full_like(packed, tiny), packed)
    size = _of_diagonal(diagonal(regular), odd)
    return _of_diagonal(d, odd), p.mul(size, _trace_of_solution(regular, permutation, da))


def _det_of_few(a: Value) -> Value:
    """Of two or three rows, by products of elements: batches of them are one map."""
    n = a.shape[-1]
    x = [[getitem(a, (Ellipsis, i, j)) for j in range(n)] for i in range(n)]

    def minor(r: Sequence[Value], s: Sequence[Value], i: int, j: int) -> Value:
        return p.sub(p.mul(r[i], s[j]), p.mul(r[j], s[i]))

    if n == 2:
        return minor(x[0], x[1], 0, 1)
    terms = [p.mul(x[0][k], minor(x[1], x[2], i, j)) for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1)))]
    return p.add(p.add(terms[0], terms[1]), terms[2])


@planned
def det(a: Any) -> Value:
    """The determinants of square matrices: by their LU factors, of two or three rows by products of elements."""
    x = matrix_operand(a, "det", True)
    return _det_of_few(x) if x.shape[-1] in (2, 3) and x.dtype.itemsize > 2 else _det(x)


@custom_jvp
def _slogdet(a: Value) -> tuple[Value, Value]:
    packed, pivots, _ = lu(a)
    d = diagonal(packed)
    size = p.abs(d)
    sign = _of_diagonal(p.sign(d), _odd_exchanges(pivots))
    return sign, reduce_sum(p.log(size), (d.ndim - 1,))


@_slogdet.defjvp
def _slogdet_jvp(primals: Sequence[Value], tangents: Sequence[Value]) -> Any:
    """d log|det| is the real part of tr(A^-1 dA); the imaginary part turns the sign of a complex determinant."""
    (a,), (da,) = primals, tangents
    packed, _, permutation = lu(a)
    sign, size = _slogdet(a)
    change = _trace_of_solution(packed, permutation, da)
    if not is_complex(a):
        return (sign, size), (helpers.zeros_like(sign), change)
    turn = p.mul(sign, p.sub(change, as_complex(p.real(change))))
    return (sign, size), (turn, p.real(change))


@planned
def slogdet(a: Any, *, method: str | None = None) -> SlogdetResult:
    """The sign and the logarithm of the size of determinants: they do not overflow.

    Args:
        a: square matrices ``(..., n, n)``.
        method: None or 'lu' or 'qr'; all are computed by LU.

    Returns:
        sign (of size 1; 0 where ``a`` is singular) and log|det| (-inf there).

    >>> import fx.numpy as fnp
    >>> sign, size = fnp.linalg.slogdet(1e-3 * fnp.eye(100))
    >>> float(sign), round(float(size), 1)  # det itself would be 0 in float32
    (1.0, -690.8)
    """
    if method not in (None, "lu", "qr"):
        raise ArgumentError(f"slogdet: method is None, 'lu' or 'qr'; found {method!r}")
    return SlogdetResult(*_slogdet(matrix_operand(a, "slogdet", True)))


# --------------------------------------------------------------------------------- least squares


def _cut(s: Value, rtol: Any, shape: Sequence[int]) -> Value:
    """1 / s, and 0 where s is below ``rtol`` times the largest."""
    if not s.shape[-1]:
        return s
    limit = _threshold(s, rtol, shape)
    one = helpers.ones_like(s)
    keep = p.gt(s, limit)
    return p.select(keep, p.div(one, p.select(keep, s, one)), helpers.zeros_like(s))


def _threshold(s: Value, rtol: Any, shape: Sequence[int]) -> Value:
    """``rtol`` times the largest singular value of each matrix, in the shape of ``s``."""
    largest = shaping.broadcast_in_dim(reduce_max(s, (s.ndim - 1,)), s.shape, range(s.ndim - 1))
    if rtol is None:
        rtol = max(*shape[-2:], 1) * machine_epsilon(s)
    r = as_type(as_value(rtol), s.dtype)
    r = shaping.expand_dims(r, (r.ndim,)) if r.ndim else r
    return p.mul(broadcast_value(r, s.shape), largest)


def _scaled_columns(x: Value, by: Value) -> Value:
    factors = as_columns(by, x.shape[-2])
    return p.mul(x, as_complex(factors) if is_complex(x) else factors)


@custom_jvp
def _pinv(a: Value, rtol: Value) -> Value:
    u, s, vh = svd(a, full_matrices=False)
    return mm(_scaled_columns(mH(vh), _cut(s, rtol, a.shape)), mH(u))


@_pinv.defjvp
def _pinv_jvp(primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Value, Value]:
    """dP = -P dA P + P P^H dA^H (I - A P) + (I - P A) dA^H P^H P  (Golub and Pereyra, 1973)."""
    (a, rtol), (da, _) = primals, tangents
    inverse = _pinv(a, rtol)
    dah, ph = mH(da), mH(inverse)
    left, right = mm(inverse, mm(ph, dah)), mm(mm(dah, ph), inverse)
    out = p.sub(left, p.add(mm(inverse, da, inverse), mm(mm(left, a), inverse)))
    return inverse, p.add(out, p.sub(right, mm(inverse, mm(a, right))))


@planned
def pinv(a: Any, rtol: Any = None, hermitian: bool = False, *, rcond: Any = None) -> Value:
    """The Moore-Penrose inverses ``(..., n, m)`` of matrices ``(..., m, n)``.

    Args:
        rtol: singular values below ``rtol`` times the largest count as zero (default: max(m, n) machine epsilons).
        hermitian: a promise, which is not needed.
        rcond: an older name of ``rtol``.
    """
    x = matrix_operand(a, "pinv")
    if not x.size:
        return filled((*x.shape[:-2], x.shape[-1], x.shape[-2]), 0, x.dtype)
    return _pinv(x, _rtol_value(x, rcond if rtol is None else rtol))


def _rtol_value(x: Value, rtol: Any) -> Value:
    real = dtypes.real_dtype(x.dtype)
    if rtol is None:
        rtol = max(*x.shape[-2:]) * float(np.finfo(real).eps)
    return as_type(as_value(rtol), real)


@custom_jvp
def _least_squares(a: Value, b: Value, rtol: Value) -> Value:
    u, s, vh = svd(a, full_matrices=False)
    return mm(_scaled_columns(mH(vh), _cut(s, rtol, a.shape)), mm(mH(u), b))


def _least_squares_jvp(primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Value, Value]:
    """dx = P (db - dA x) + P P^H dA^H r + (I - P A) dA^H P^H x  with  r = b - A x."""
    (a, b, rtol), (da, db, _) = primals, map(present, tangents)
    u, s, vh = svd(a, full_matrices=False)
    inverse = mm(_scaled_columns(mH(vh), _cut(s, rtol, a.shape)), mH(u))
    x = mm(inverse, b)
    out = None if db is None else mm(inverse, db)
    if da is None:
        return x, out  # type: ignore[return-value]
    residual, dah, ph = p.sub(b, mm(a, x)), mH(da), mH(inverse)
    terms = [p.neg(mm(inverse, mm(da, x))), mm(inverse, mm(ph, mm(dah, residual)))]
    side = mm(dah, mm(ph, x))
    terms.append(p.sub(side, mm(inverse, mm(a, side))))
    for term in terms:
        out = term if out is None else p.add(out, term)
    return x, out


_least_squares.defjvp(_least_squares_jvp, symbolic_zeros=True)


@planned
def lstsq(
    a: Any, b: Any, rcond: float | None = None, *, numpy_resid: bool = False
) -> tuple[Value, Value, Value, Value]:
    """The x of least size that minimises ``|b - a x|``.

    Args:
        a: a matrix ``(m, n)``.
        b: ``(m,)`` or ``(m, k)``.
        rcond: singular values below ``rcond`` times the largest count as zero.
        numpy_resid: residuals are empty if the rank is less than n or m <= n, as NumPy's (the rank must be known).

    Returns:
        x, the sums of squared residuals, the rank, the singular values.

    >>> import numpy as np
    >>> import fx.numpy as fnp
    >>> t = np.array([0.0, 1.0, 2.0])
    >>> line = fnp.linalg.lstsq(np.stack([t, np.ones(3)], axis=1), 2 * t + 1)[0]
    >>> np.allclose(line, [2.0, 1.0])
    Array(True, dtype=bool)
    """
    x, y = promote_dtype(matrix_operand(a, "lstsq"), as_value(b))
    if x.ndim != 2 or y.ndim not in (1, 2) or y.shape[0] != x.shape[0]:
        raise ShapeError(f"lstsq takes a matrix and as many right-hand rows; found shapes {x.shape} and {y.shape}")
    column = y.ndim == 1
    y = shaping.expand_dims(y, (1,)) if column else y
    m, n = x.shape
    real = dtypes.real_dtype(x.dtype)
    if not x.size:
        nothing = filled((n, y.shape[1]), 0, x.dtype), filled((0,), 0, real), filled((), 0, dtypes.int32)
        return (shaping.squeeze(nothing[0], (1,)) if column else nothing[0], *nothing[1:], filled((0,), 0, real))
    rtol = _rtol_value(x, None if rcond is not None and is_negative(rcond) else rcond)
    s = svd(x, compute_uv=False)
    rank = sum_(as_type(p.gt(s, _threshold(s, rtol, x.shape)), np.int32))
    out = _least_squares(x, y, rtol)
    residual = p.sub(y, mm(x, out))
    resid = shaping.squeeze(norm_columns(residual), (0,))
    if numpy_resid and (m <= n or int(rank) < n):
        resid = filled((0,), 0, real)
    return shaping.squeeze(out, (1,)) if column else out, resid, rank, s


def is_negative(x: Any) -> bool:
    """Whether a number that is known is below zero: how NumPy says 'machine precision'."""
    return isinstance(x, (int, float)) and x < 0


def matrix_rank(M: Any, rtol: Any = None, *, hermitian: bool = False, tol: Any = None) -> Value:
    """The number of singular values above ``rtol`` times the largest, or above ``tol``."""
    x = as_value(M)
    if x.ndim < 2:
        return as_type(sum_(as_type(p.ne(x, helpers.zeros_like(x)), config.default_int)) > 0, config.default_int)
    x = matrix_operand(x, "matrix_rank")
    if not x.size:
        return filled(x.shape[:-2], 0, config.default_int)
    s = p.abs(eigh(x, compute_vectors=False)) if hermitian else svd(x, compute_uv=False)
    if tol is not None:
        t = as_type(as_value(tol), s.dtype)
        limit = broadcast_value(shaping.expand_dims(t, (t.ndim,)) if t.ndim else t, s.shape)
    else:
        limit = _threshold(s, rtol, x.shape)
    return sum_(as_type(p.gt(s, limit), config.default_int), axis=-1)


# ------------------------------------------------------------------------------------------ tensors


def tensorsolve(a: Any, b: Any, axes: Sequence[int] | None = None) -> Value:
    """The x with ``tensordot(a, x, x.ndim) = b``.

    Args:
        a: ``(*b.shape, *x.shape)``, both of one size.
        axes: axes of ``a`` that are moved to the end first.
    """
    x, y = as_value(a), as_value(b)
    for axis in axes or ():
        x = moveaxis(x, axis, -1)
    shape = x.shape[y.ndim :]
    n = math.prod(shape)
    if y.size != n or x.size != n * n:
        raise ShapeError(f"tensorsolve: a of shape {x.shape} is not square for b of shape {y.shape}")
    return shaping.reshape(solve(shaping.reshape(x, (n, n)), shaping.reshape(y, (n,))), shape)


def tensorinv(a: Any, ind: int = 2) -> Value:
    """The inverse of ``a`` as the operator ``tensordot(a, ., ind)``."""
    x = as_value(a)
    if ind <= 0:
        raise ArgumentError(f"tensorinv: ind must be positive; found {ind}")
    first, second = x.shape[:ind], x.shape[ind:]
    n = math.prod(first)
    if n != math.prod(second):
        raise ShapeError(f"tensorinv: an array of shape {x.shape} is not square with ind={ind}")
    return shaping.reshape(inv(shaping.reshape(x, (n, n))), (*second, *first))
