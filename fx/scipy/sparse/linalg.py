"""``fx.scipy.sparse.linalg``: iterative solution of linear systems that are given as functions.

Unknowns and right-hand sides are any pytree.  The solutions are differentiated as solutions (``fx.lax.custom_linear_solve``),
not through the iterations.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import numpy as fnp
from ... import tree
from ...api import linear_transpose
from ...errors import (
    ArgumentError,
    ShapeError,
)
from ...lax.control_flow import fori_loop, while_loop
from ...lax.solvers import custom_linear_solve
from ...numpy.core import as_value, promote_inexact
from ...trace import aval_of
from ...traceback import hide_frames
from ..special.core import Value

__all__ = ["bicgstab", "cg", "gmres"]

Operator = Callable[[Any], Any]


# --------------------------------------------------------------------------------------- vectors of pytrees


def _dot(x: Any, y: Any) -> Value:
    """The inner product, the first argument conjugated."""
    return functools.reduce(operator.add, [fnp.vdot(a, b) for a, b in zip(tree.leaves(x), tree.leaves(y))])


def _norm(x: Any) -> Value:
    return fnp.sqrt(_dot(x, x).real)


def _plus(x: Any, scale: Any, y: Any) -> Any:
    """x + scale y"""
    return tree.map(lambda a, b: a + scale * b, x, y)


def _minus(x: Any, y: Any) -> Any:
    return tree.map(operator.sub, x, y)


def _ratio(a: Value, b: Value) -> Value:
    """a / b, and 0 for b = 0: an iteration that has arrived stays where it is."""
    zero = b == 0
    return fnp.where(zero, 0, a / fnp.where(zero, 1, b))


def _operator(name: str, a: Any) -> Operator:
    """A matrix, or a function of a pytree."""
    if callable(a) and not hasattr(a, "shape"):
        return a
    matrix = as_value(a, name)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(f"{name} must be a function or a square matrix; found shape {matrix.shape}")
    return lambda x: fnp.matmul(matrix, x)


Solver = Callable[..., Any]


def _solved(
    name: str, solver: Solver, A: Any, b: Any, x0: Any, maxiter: int | None, M: Any, symmetric: bool, **how: Any
) -> tuple[Any, None]:
    """Checks the arguments, and solves; the transposed system with the transposed preconditioner."""
    b = tree.map(lambda v: promote_inexact(as_value(v, f"b of {name}"))[0], b)
    start = tree.map(fnp.zeros_like, b) if x0 is None else tree.map(lambda v, w: fnp.asarray(v, w.dtype), x0, b)
    for x, y in zip(tree.leaves(start), tree.leaves(b)):
        if x.shape != y.shape:
            raise ShapeError(f"{name}: x0 has a part of shape {x.shape} where b has {y.shape}; they must be equal")
    size = sum(int(np.prod(aval_of(v).shape)) for v in tree.leaves(b))
    limit = 10 * size if maxiter is None else maxiter
    matvec = _operator(f"A of {name}", A)
    precondition = (lambda v: v) if M is None else _operator(f"M of {name}", M)

    def solve(f: Operator, rhs: Any) -> Any:
        return solver(f, rhs, start, precondition, limit, **how)

    def solve_transposed(f: Operator, rhs: Any) -> Any:
        back = (lambda v: v) if M is None else (lambda v: linear_transpose(precondition, rhs)(v)[0])
        return solver(f, rhs, tree.map(fnp.zeros_like, rhs), back, limit, **how)

    return custom_linear_solve(matvec, b, solve, solve_transposed, symmetric=symmetric), None


def _threshold(b: Any, tol: Any, atol: Any) -> Value:
    return fnp.maximum(tol * _norm(b), atol)


# ----------------------------------------------------------------------------------------- the methods


def _cg(f: Operator, b: Any, x: Any, precondition: Operator, limit: int, tol: Any, atol: Any) -> Any:
    enough = _threshold(b, tol, atol)
    r = _minus(b, f(x))
    z = precondition(r)

    def more(state: Any) -> Value:
        _, r, _, _, k = state
        return (_norm(r) > enough) & (k < limit)

    def step(state: Any) -> Any:
        x, r, direction, gamma, k = state
        image = f(direction)
        alpha = _ratio(gamma, _dot(direction, image))
        x, r = _plus(x, alpha, direction), _plus(r, -alpha, image)
        z = precondition(r)
        new = _dot(r, z)
        return x, r, _plus(z, _ratio(new, gamma), direction), new, k + 1

    return while_loop(more, step, (x, r, z, _dot(r, z), 0))[0]


def cg(
    A: Any, b: Any, x0: Any = None, *, tol: float = 1e-5, atol: float = 0.0, maxiter: int | None = None, M: Any = None
) -> tuple[Any, None]:
    """Solves A x = b by conjugate gradients, for a Hermitian positive definite A.

    Args:
        A: square matrix, or linear function of a pytree like b.
        b: array, or pytree of arrays.
        x0: where to begin, like b; zero by default.
        tol, atol: it ends with |b - A x| <= max(tol |b|, atol).
        maxiter: how many steps at most; 10 times the number of unknowns by default.
        M: preconditioner, an approximation of the inverse of A: matrix or function.

    Returns:
        ``(x, None)``.

    Raises:
        ShapeError: the shapes do not fit.

    Source: Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems" (1952).

    >>> cg(fnp.array([[4.0, 1.0], [1.0, 3.0]]), fnp.array([1.0, 2.0]))[0].round(4)
    Array([0.0909, 0.6364], dtype=float32)
    """
    return _solved("cg", _cg, A, b, x0, maxiter, M, True, tol=tol, atol=atol)


def _bicgstab(f: Operator, b: Any, x: Any, precondition: Operator, limit: int, tol: Any, atol: Any) -> Any:
    enough = _threshold(b, tol, atol)
    r = _minus(b, f(x))
    shadow = r
    nothing = tree.map(fnp.zeros_like, r)
    one = fnp.ones_like(_dot(r, r))

    def more(state: Any) -> Value:
        _, r, *_, k, alive = state
        return (_norm(r) > enough) & (k < limit) & alive

    def step(state: Any) -> Any:
        x, r, p, q, alpha, omega, rho, k, _ = state
        new = _dot(shadow, r)
        beta = _ratio(new, rho) * _ratio(alpha, omega)
        p = _plus(r, beta, _plus(p, -omega, q))
        p_hat = precondition(p)
        q = f(p_hat)
        alpha = _ratio(new, _dot(shadow, q))
        s = _plus(r, -alpha, q)
        s_hat = precondition(s)
        t = f(s_hat)
        omega = _ratio(_dot(t, s), _dot(t, t))
        x = _plus(_plus(x, alpha, p_hat), omega, s_hat)
        return x, _plus(s, -omega, t), p, q, alpha, omega, new, k + 1, (new != 0) & (alpha != 0)

    return while_loop(more, step, (x, r, nothing, nothing, one, one, one, 0, fnp.array(True)))[0]


def bicgstab(
    A: Any, b: Any, x0: Any = None, *, tol: float = 1e-5, atol: float = 0.0, maxiter: int | None = None, M: Any = None
) -> tuple[Any, None]:
    """Solves A x = b by stabilised biconjugate gradients, for any square A.

    Args:
        A: square matrix, or linear function of a pytree like b.
        b: array, or pytree of arrays.
        x0: where to begin, like b; zero by default.
        tol, atol: it ends with |b - A x| <= max(tol |b|, atol).
        maxiter: how many steps at most; 10 times the number of unknowns by default.
        M: preconditioner, an approximation of the inverse of A: matrix or function.

    Returns:
        ``(x, None)``.

    Raises:
        ShapeError: the shapes do not fit.

    Source: van der Vorst, "Bi-CGSTAB", SIAM J. Sci. Stat. Comput. 13 (1992).
    """
    return _solved("bicgstab", _bicgstab, A, b, x0, maxiter, M, False, tol=tol, atol=atol)


# -------------------------------------------------------------------------------------------------- gmres


def _as_vector(like: Any) -> tuple[Callable[[Any], Value], Callable[[Value], Any]]:
    """Functions from a pytree to one vector, and back."""
    leaves, structure = tree.flatten(like)
    shapes = [v.shape for v in leaves]
    sizes = [int(np.prod(s)) for s in shapes]
    stops = np.cumsum(sizes).tolist()
    kinds = [v.dtype for v in leaves]
    joint = functools.reduce(fnp.promote_types, kinds)

    def pack(x: Any) -> Value:
        return fnp.concatenate([v.reshape(-1).astype(joint) for v in tree.leaves(x)])

    def unpack(v: Value) -> Any:
        parts = [v[e - n : e].reshape(s).astype(d) for e, n, s, d in zip(stops, sizes, shapes, kinds)]
        return tree.unflatten(structure, parts)

    return pack, unpack


def _rotation(a: Value, b: Value) -> tuple[Value, Value]:
    """c and s with conj(c) a + conj(s) b = sqrt(|a|^2 + |b|^2), b real."""
    size = fnp.sqrt(fnp.abs(a) ** 2 + fnp.abs(b) ** 2)
    zero = size == 0
    safe = fnp.where(zero, 1, size)
    return fnp.where(zero, 1, a / safe), fnp.where(zero, 0, b / safe)


def _orthogonal(basis: Value, w: Value) -> tuple[Value, Value]:
    """w less its part in the span of the rows of the basis, and the coefficients; twice, because once cancels."""
    first = fnp.conj(basis) @ w
    w = w - first @ basis
    second = fnp.conj(basis) @ w
    return w - second @ basis, first + second


def _arnoldi_cycle(f: Callable[[Value], Value], r: Value, restart: int, enough: Value) -> Value:
    """The correction to x from a Krylov space of at most ``restart`` dimensions.

    R is the triangular factor of the Hessenberg matrix, kept up by Givens rotations as it grows; its columns that were
    not reached have a unit diagonal and a zero right-hand side.
    """
    d, n = r.dtype, r.shape[0]
    length = fnp.sqrt(fnp.vdot(r, r).real)
    basis = fnp.zeros((restart + 1, n), d).at[0].set(r * _ratio(fnp.ones_like(length), length).astype(d))
    triangle = fnp.eye(restart, dtype=d)
    rhs = fnp.zeros((restart + 1,), d).at[0].set(length.astype(d))
    turns = fnp.zeros((restart, 2), d)

    def more(state: Any) -> Value:
        k, _, _, _rhs, _, residual = state
        return (k < restart) & (residual > enough)

    def step(state: Any) -> Any:
        k, basis, triangle, rhs, turns, _ = state
        w, h = _orthogonal(basis, f(basis[k]))
        size = fnp.sqrt(fnp.vdot(w, w).real)
        basis = basis.at[k + 1].set(w * _ratio(fnp.ones_like(size), size).astype(d))

        def turn(i: Value, h: Value) -> Value:
            c, s = turns[i, 0], turns[i, 1]
            a, b = h[i], h[i + 1]
            return h.at[i].set(fnp.conj(c) * a + fnp.conj(s) * b).at[i + 1].set(c * b - s * a)

        h = fori_loop(0, k, turn, h.at[k + 1].set(size.astype(d)))
        c, s = _rotation(h[k], h[k + 1])
        column = h.at[k].set(fnp.conj(c) * h[k] + fnp.conj(s) * h[k + 1])[:restart]
        column = fnp.where(fnp.arange(restart) <= k, column, 0)
        below = -s * rhs[k]
        rhs = rhs.at[k + 1].set(below).at[k].set(fnp.conj(c) * rhs[k])
        turns = turns.at[k].set(fnp.stack([c, s]))
        return k + 1, basis, triangle.at[:, k].set(column), rhs, turns, fnp.abs(below)

    k, basis, triangle, rhs, _, _ = while_loop(more, step, (0, basis, triangle, rhs, turns, length))
    used = fnp.arange(restart) < k
    rhs = fnp.where(used, rhs[:restart], 0)

    def back(j: Value, y: Value) -> Value:
        i = restart - 1 - j
        return y.at[i].set(_ratio(rhs[i] - triangle[i] @ y, triangle[i, i]))

    y = fori_loop(0, restart, back, fnp.zeros((restart,), d))
    return y @ basis[:restart]


def _gmres(f: Operator, b: Any, x: Any, precondition: Operator, limit: int, tol: Any, atol: Any, restart: int) -> Any:
    pack, unpack = _as_vector(b)
    rhs = precondition(b)
    enough = fnp.maximum(_threshold(b, tol, atol) * _ratio(_norm(rhs), _norm(b)), 0)
    image = lambda v: pack(precondition(f(unpack(v))))
    target = pack(rhs)
    depth = min(restart, target.shape[0])

    def more(state: Any) -> Value:
        _, residual, k = state
        return (fnp.sqrt(fnp.vdot(residual, residual).real) > enough) & (k < limit)

    def step(state: Any) -> Any:
        x, residual, k = state
        x = x + _arnoldi_cycle(image, residual, depth, enough)
        return x, target - image(x), k + 1

    start = pack(x)
    return unpack(while_loop(more, step, (start, target - image(start), 0))[0])


def gmres(
    A: Any, b: Any, x0: Any = None, *, tol: float = 1e-5, atol: float = 0.0, restart: int = 20, maxiter: int | None = None,
    M: Any = None, solve_method: str = "batched",
) -> tuple[Any, None]:  # fmt: skip
    """Solves A x = b by minimal residuals over Krylov spaces, for any square A.

    Args:
        A: square matrix, or linear function of a pytree like b.
        b: array, or pytree of arrays.
        x0: where to begin, like b; zero by default.
        tol, atol: it ends with |M (b - A x)| <= max(tol |b|, atol) |M b| / |b|.
        restart: the greatest dimension of a Krylov space; then the next is begun.
        maxiter: how many spaces at most; 10 times the number of unknowns by default.
        M: preconditioner, an approximation of the inverse of A: matrix or function.
        solve_method: 'batched' or 'incremental'; both end as soon as the residual is small enough.

    Returns:
        ``(x, None)``.

    Raises:
        ShapeError: the shapes do not fit.
        ValueError: an unknown method.

    Source: Saad and Schultz, "GMRES", SIAM J. Sci. Stat. Comput. 7 (1986).
    """
    if solve_method not in ("batched", "incremental"):
        raise ArgumentError(f"gmres: solve_method {solve_method!r} is not 'batched' or 'incremental'")
    return _solved("gmres", _gmres, A, b, x0, maxiter, M, False, tol=tol, atol=atol, restart=restart)


hide_frames(globals())
