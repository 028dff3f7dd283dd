"""Functions of matrices: exponential, square root, any function by its Schur form, polar factors, Sylvester's equation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import api, dtypes
from ..errors import (
    ArgumentError,
    ShapeError,
)
from ..lax.branching import cond
from ..lax.control_flow import scan
from ..lax.solvers import custom_linear_solve
from ..numpy.core import Value, as_type, as_value, promote_dtype
from ..numpy.factorizations import matrix_operand
from ..numpy.linalg import solve
from ..numpy.reductions import any as any_
from ..primitives import elementwise as p
from ..primitives import helpers, joining, shaping, spectral
from ..primitives.matrices import (
    as_columns,
    as_complex,
    as_rows,
    columns,
    conjugate,
    diagonal,
    embed_diagonal,
    eye_like,
    is_complex,
    largest_of,
    mask,
    mH,
    mm,
    rows,
    safe_reciprocal,
    scaled,
    triu,
)  # fmt: skip
from ..primitives.reductions import reduce_max, reduce_min, reduce_sum
from ..primitives.solves import triangular_solve, triangular_sylvester
from ..transforms.custom_jvp import custom_jvp

__all__ = ["expm", "expm_frechet", "funm", "polar", "solve_sylvester", "sqrtm"]

# ---------------------------------------------------------------------------------------- exponential

# Higham (2005): the coefficients of the [13/13] Pade approximant, and the 1-norm up to which it is exact in float64
_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0, 10559470521600.0,
    670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_THETA = 5.371920351148152


def _pade(x: Value) -> tuple[Value, Value]:
    """The odd and the even part of the numerator; with the other sign of the odd one they are the denominator."""
    x2 = mm(x, x)
    x4 = mm(x2, x2)
    x6 = mm(x4, x2)
    eye = eye_like(x)

    def combined(c6: float, c4: float, c2: float) -> Value:
        return p.add(p.add(scaled(x6, c6), scaled(x4, c4)), scaled(x2, c2))

    b = _PADE
    odd = p.add(mm(x6, combined(b[13], b[11], b[9])), p.add(combined(b[7], b[5], b[3]), scaled(eye, b[1])))
    even = p.add(mm(x6, combined(b[12], b[10], b[8])), p.add(combined(b[6], b[4], b[2]), scaled(eye, b[0])))
    return mm(x, odd), even


def expm(A: Any, *, upper_triangular: bool = False, max_squarings: int = 16) -> Value:
    """The exponential of square matrices, by scaling and squaring of a Pade approximant.

    ``e^A = (e^(A / 2^s))^(2^s)``, s being the least for which the approximant is accurate.

    Args:
        A: ``(..., n, n)``.
        upper_triangular: ``A`` is; a triangular solve serves then.
        max_squarings: an upper bound of s; where it is not enough the result is NaN.

    Source: N. J. Higham, "The scaling and squaring method for the matrix exponential revisited" (2005).
    """
    x = matrix_operand(A, "expm", True)
    if not x.size:
        return x
    size = reduce_max(reduce_sum(p.abs(x), (x.ndim - 2,)), (x.ndim - 2,))
    size = api.stop_gradient(size)
    ratio = p.max(scaled(size, 1 / _THETA), helpers.ones_like(size))  # one that is less needs no squaring
    times = p.ceil(p.div(p.log(ratio), helpers.full_like(size, math.log(2))))
    down = p.exp2(p.neg(times))
    factor = shaping.broadcast_in_dim(down, x.shape, range(x.ndim - 2))
    odd, even = _pade(p.mul(x, as_complex(factor) if is_complex(x) else factor))
    if upper_triangular:
        out = triangular_solve(p.sub(even, odd), p.add(even, odd), left_side=True, lower=False)
    else:
        out = solve(p.sub(even, odd), p.add(even, odd))
    out = _squared(out, times, max_squarings)
    lost = shaping.broadcast_in_dim(p.gt(times, helpers.full_like(times, max_squarings)), x.shape, range(x.ndim - 2))
    return p.select(lost, helpers.full_like(out, math.nan), out)


def _squared(x: Value, times: Value, most: int) -> Value:
    """Each matrix squared so many times; a round in which none is squared costs nothing."""

    def step(x: Value, k: Value) -> tuple[Value, None]:
        more = p.gt(times, helpers.full_like(times, 1) * as_type(k, times.dtype))

        def squared(x: Value) -> Value:
            return p.select(shaping.broadcast_in_dim(more, x.shape, range(x.ndim - 2)), mm(x, x), x)

        return cond(any_(more), squared, lambda x: x, x), None

    return scan(step, x, as_value(np.arange(most, dtype=np.int32)))[0]


def expm_frechet(A: Any, E: Any, *, method: str | None = None, compute_expm: bool = True) -> Any:
    """The exponential of ``A`` and its derivative in the direction ``E``: ``(expm(A), L)``, or L alone.

    Args:
        method: accepted as in SciPy; the derivative is that of ``expm`` itself, by forward differentiation.
        compute_expm: False returns L alone.
    """
    x, e = promote_dtype(matrix_operand(A, "expm_frechet", True), matrix_operand(E, "expm_frechet", True))
    if x.shape != e.shape:
        raise ShapeError(f"expm_frechet: A of shape {x.shape} and E of shape {e.shape} must have one shape")
    out, tangent = api.jvp(expm, (x,), (e,))
    return (out, tangent) if compute_expm else tangent


# ------------------------------------------------------------------------------ Sylvester's equation


Schur = tuple[Value, Value]


def _triangular(a: Value) -> Schur:
    """The complex Schur form T and Z of what counts as a constant."""
    t, z = spectral.schur(as_complex(api.stop_gradient(a)))
    return t, z


def _sylvester(a: Value, b: Value, c: Value, left: Schur, right: Schur) -> Value:
    """``a x + x b = c``, given the Schur forms of a and b.  These have no derivative: the equation has."""
    (r, u), (s, v) = left, right

    def solved(c: Value, adjoint: bool) -> Value:
        x = mm(u, triangular_sylvester(r, s, mm(mH(u), as_complex(c), v), adjoint=adjoint), mH(v))
        return x if is_complex(c) else p.real(x)

    def transposed(c: Value) -> Value:  # a^T x + x b^T = c is the adjoint equation of conjugates
        return conjugate(solved(conjugate(c), True))

    return custom_linear_solve(
        lambda x: p.add(mm(a, x), mm(x, b)), c, lambda _, c: solved(c, False), lambda _, c: transposed(c)
    )


def solve_sylvester(A: Any, B: Any, C: Any, *, method: str = "schur", tol: float = 1e-8) -> Value:
    """The solution x of ``A x + x B = C``, by the Schur forms of A and B (Bartels and Stewart, 1972).

    Args:
        A: ``(m, m)``.
        B: ``(n, n)``.
        C: ``(m, n)``.
        method, tol: accepted as in JAX.

    Returns:
        x ``(m, n)``; NaN if an eigenvalue of A is the negative of one of B.
    """
    a, b, c = promote_dtype(
        matrix_operand(A, "solve_sylvester", True), matrix_operand(B, "solve_sylvester", True), as_value(C)
    )
    if c.ndim != a.ndim or c.shape[-2:] != (a.shape[-1], b.shape[-1]):
        raise ShapeError(
            f"solve_sylvester: A of shape {a.shape} and B of shape {b.shape} need another C than {c.shape}"
        )
    return _sylvester(a, b, c, _triangular(a), _triangular(b))


# ------------------------------------------------------------------------- functions of triangular matrices


def _diagonal_blocks(t: Value, size: int) -> Value:
    """``(n / size, size, size)``"""
    n = t.shape[-1]
    wide = shaping.reshape(t, (n // size, size, n // size, size))
    eye = helpers.full((n // size, n // size), 1, dtypes.int32)
    on = p.eq(shaping.broadcasted_iota(np.int32, eye.shape, 0), shaping.broadcasted_iota(np.int32, eye.shape, 1))
    mask = shaping.broadcast_in_dim(on, wide.shape, (0, 2))
    return reduce_sum(p.select(mask, wide, helpers.zeros_like(wide)), (2,))


def _halves(x: Value, size: int) -> tuple[Value, Value, Value]:
    """The blocks (1, 1), (2, 2) and (1, 2) of matrices of twice that size."""
    top, below = rows(x, size), rows(x, 2 * size, size)
    return columns(top, size), columns(below, 2 * size, size), columns(top, 2 * size, size)


def _by_blocks(t: Value, values: Value, join: Callable[..., Value]) -> Value:
    """A function of an upper triangular matrix from its values on the diagonal.

    The blocks of the diagonal double in size until there is one: ``join(t11, t22, t12, f11, f22)`` gives what stands
    between two of them.  All blocks of a size are one batch, so there are log2(n) rounds.
    """
    n = t.shape[-1]
    full = 1 << max(n - 1, 0).bit_length()
    zero = helpers.zeros_like(values[..., :1]).reshape(())
    if full > n:  # beyond, a diagonal of numbers that the matrix does not have, so that no equation is singular
        largest = p.add(reduce_max(p.abs(t), (0, 1)), helpers.full_like(reduce_max(p.abs(t), (0, 1)), 1))
        more = p.mul(
            shaping.broadcast_in_dim(largest, (full - n,), ()),
            as_type(as_value(np.arange(2, full - n + 2)), largest.dtype),
        )
        corner = joining.pad(embed_diagonal(as_complex(more)), zero, [(n, 0, 0)] * 2)
        t = p.add(joining.pad(t, zero, [(0, full - n, 0)] * 2), corner)
        values = joining.concatenate([values, p.sqrt(as_complex(more))], 0)
    f = shaping.reshape(values, (full, 1, 1))
    size = 1
    while size < full:
        t11, t22, t12 = _halves(_diagonal_blocks(t, 2 * size), size)
        pairs = shaping.reshape(f, (full // (2 * size), 2, size, size))
        f11, f22 = (shaping.squeeze(joining.slice_in_dim(pairs, k, k + 1, axis=1), (1,)) for k in (0, 1))
        between = join(t11, t22, t12, f11, f22)
        f = joining.concatenate(
            [joining.concatenate([f11, between], 2), joining.concatenate([helpers.zeros_like(f22), f22], 2)], 1
        )
        size *= 2
    return columns(rows(shaping.reshape(f, (full, full)), n), n)


def _root_of_triangular(t: Value) -> Value:
    def join(t11: Value, t22: Value, t12: Value, f11: Value, f22: Value) -> Value:
        return triangular_sylvester(f11, f22, t12)

    return _by_blocks(t, p.sqrt(diagonal(t)), join)


@custom_jvp
def _sqrtm(a: Value) -> Value:
    t, z = _triangular(a)
    return mm(z, _root_of_triangular(t), mH(z))


@_sqrtm.defjvp
def _sqrtm_jvp(primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Value, Value]:
    """X dX + dX X = dA: Sylvester's equation, in the same Schur basis."""
    t, z = _triangular(primals[0])
    x, basis = _sqrtm(primals[0]), (_root_of_triangular(t), z)
    return x, _sylvester(x, x, as_complex(tangents[0]), basis, basis)


def sqrtm(A: Any, blocksize: int = 1) -> Value:
    """The principal square root of a square matrix, complex (Bjorck and Hammarling, 1983).

    Args:
        A: ``(n, n)``.
        blocksize: accepted as in SciPy.
    """
    x = matrix_operand(A, "sqrtm", True)
    if x.ndim != 2:
        raise ShapeError(f"sqrtm takes one square matrix; found shape {x.shape}.  Use vmap for several.")
    return _sqrtm(x) if x.size else as_complex(x)


def funm(A: Any, func: Callable[[Value], Value], disp: bool = True) -> Any:
    """A function of a square matrix, by its Schur form and Parlett's recurrence; complex.

    Accurate where the eigenvalues are apart; NaN where two of them are equal.

    Args:
        A: ``(n, n)``.
        func: a function of a vector of eigenvalues, element by element.
        disp: False returns an estimate of the error, the 1-norm relative to that of the result, too.
    """
    x = matrix_operand(A, "funm", True)
    if x.ndim != 2:
        raise ShapeError(f"funm takes one square matrix; found shape {x.shape}.  Use vmap for several.")
    t, z = _triangular(x)

    def join(t11: Value, t22: Value, t12: Value, f11: Value, f22: Value) -> Value:
        return triangular_sylvester(t11, p.neg(t22), p.sub(mm(f11, t12), mm(t12, f22)))

    out = mm(z, _by_blocks(t, as_complex(as_value(func(diagonal(t)))), join), mH(z)) if x.size else as_complex(x)
    if disp:
        return out
    gaps = p.abs(p.sub(as_columns(diagonal(t)), as_rows(diagonal(t))))
    least = reduce_min(p.select(mask(gaps, p.le, 1), gaps, helpers.full_like(gaps, np.inf)), (0, 1))
    eps = helpers.full_like(least, float(np.finfo(least.dtype).eps))
    size = reduce_sum(p.abs(triu(t, 1)), (0, 1))
    return out, p.min(helpers.ones_like(least), p.max(eps, p.mul(eps, p.div(size, least))))


# --------------------------------------------------------------------------------------------- polar


@custom_jvp
def _polar_unitary(a: Value) -> Value:
    u, _, vh = spectral.svd(a, full_matrices=False)
    return mm(u, vh)


@_polar_unitary.defjvp
def _polar_jvp(primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Value, Value]:
    """With P = U^H dA V:  dW = U ((P - P^H) / (s_i + s_j)) V^H, and what leaves the range of U or V divided by s.

    Sums of singular values, so that equal ones are no exception.
    """
    (a,), (da,) = primals, tangents
    m, n = a.shape[-2:]
    u, s, vh = spectral.svd(a, full_matrices=False)
    k = s.shape[-1]
    inner = mm(mH(u), da, mH(vh))
    wide = as_complex if is_complex(a) else (lambda x: x)
    sums = wide(safe_reciprocal(p.add(as_columns(s), as_rows(s)), largest_of(s, inner)))
    out = mm(u, p.mul(sums, p.sub(inner, mH(inner))), vh)
    inverse = wide(safe_reciprocal(s, largest_of(s, s)))
    if m > k:
        beyond = p.sub(mm(da, mH(vh)), mm(u, inner))
        out = p.add(out, mm(p.mul(beyond, as_columns(inverse, m)), vh))
    if n > k:
        beyond = p.sub(mm(mH(u), da), mm(inner, vh))
        out = p.add(out, mm(u, p.mul(as_rows(inverse, n), beyond)))
    return mm(u, vh), out


def polar(
    a: Any, side: str = "right", *, method: str = "svd", eps: float | None = None, max_iterations: int | None = None
) -> tuple[Value, Value]:
    """The polar factors: ``a = u p`` with ``side='right'``, ``a = p u`` with 'left'; u is unitary, p semidefinite.

    Args:
        a: ``(m, n)``.
        side: where the semidefinite factor stands.
        method, eps, max_iterations: accepted as in JAX; the factors are those of the singular value decomposition.

    Returns:
        u ``(m, n)`` and p, ``(n, n)`` or ``(m, m)``.
    """
    if side not in ("right", "left"):
        raise ArgumentError(f"polar: side is 'right' or 'left'; found {side!r}")
    x = matrix_operand(a, "polar")
    u = _polar_unitary(x)
    inner = mm(mH(u), x) if side == "right" else mm(x, mH(u))
    return u, scaled(p.add(inner, mH(inner)), 0.5)
