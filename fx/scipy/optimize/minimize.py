"""minimize: BFGS and L-BFGS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ... import numpy as fnp
from ...api import eval_shape, value_and_grad
from ...errors import (
    ArgumentError,
    ShapeError,
)
from ...lax.control_flow import fori_loop, while_loop
from ...numpy.core import as_value, promote_inexact
from ..special.core import Value
from .line_search import Search, line_search

__all__ = ["OptimizeResults", "minimize"]


class OptimizeResults(NamedTuple):
    """What a minimisation found.

    x: the point.                           fun, jac: value and gradient there.
    success: whether it converged.          status: 0 converged, 1 too many iterations, 3 no further descent along a line,
                                            4 (L-BFGS) the value no longer changes, 5 too many evaluations.
    hess_inv: approximate inverse Hessian matrix, None for L-BFGS.
    nfev, njev, nit: how many evaluations, gradients, iterations.
    """

    x: Any
    success: Any
    status: Any
    fun: Any
    jac: Any
    hess_inv: Any
    nfev: Any
    njev: Any
    nit: Any


class _State(NamedTuple):
    """memory: what the method knows of the curvature."""

    x: Any
    value: Any
    gradient: Any
    memory: Any
    status: Any
    nit: Any
    nfev: Any


_RUNNING, _CONVERGED, _TOO_LONG, _NO_DESCENT, _UNCHANGED, _TOO_MANY = -1, 0, 1, 3, 4, 5
LBFGS = "l-bfgs-experimental-do-not-rely-on-this"


def _descend(
    f: Callable[[Value], tuple[Value, Value]], x: Value, memory: Any, direction: Callable[[Any, Value], Value],
    update: Callable[[Any, Value, Value], Any], converged: Callable[[_State, _State], Value], maxiter: int, maxls: int,
    gtol: float, norm: Any, maxfun: float,
) -> _State:  # fmt: skip
    """Iterations of a quasi-Newton method: a direction from the memory, a step along it, what the step teaches."""

    def small(g: Value) -> Value:
        return fnp.linalg.norm(g, ord=norm) < gtol

    def step(s: _State) -> _State:
        p = direction(s.memory, s.gradient)
        downhill = fnp.vdot(p, s.gradient) < 0
        p = fnp.where(downhill, p, -s.gradient)
        first = fnp.where(s.nit > 0, 1, fnp.minimum(1, 1 / fnp.maximum(fnp.linalg.norm(s.gradient), 1e-30)))
        found: Search = line_search(f, s.x, p, s.value, s.gradient, maxls, first.astype(s.value.dtype))
        moved = found.best.a > 0
        change = fnp.where(moved, found.best.a, 0) * p
        gradient = found.best.gradient
        new = _State(
            s.x + change, found.best.value, gradient, update(s.memory, change, gradient - s.gradient), s.status,
            s.nit + 1, s.nfev + found.evaluations,
        )  # fmt: skip
        status = fnp.where(new.nit >= maxiter, _TOO_LONG, _RUNNING)
        status = fnp.where(new.nfev >= maxfun, _TOO_MANY, status)
        status = fnp.where(converged(s, new), _UNCHANGED, status)
        status = fnp.where(moved, status, _NO_DESCENT)
        status = fnp.where(small(gradient), _CONVERGED, status)
        return new._replace(status=status.astype("int32"))

    value, gradient = f(x)
    status = fnp.where(small(gradient), _CONVERGED, _RUNNING if maxiter > 0 else _TOO_LONG).astype("int32")
    zero = fnp.array(0, "int32")
    start = _State(x, value, gradient, memory, status, zero, zero + 1)
    return while_loop(lambda s: s.status == _RUNNING, step, start)


def _curvature(s: Value, y: Value) -> tuple[Value, Value]:
    """Whether a step and the change of the gradient show positive curvature, and 1 / (y s)."""
    product = fnp.vdot(y, s)
    positive = product > 1e-10 * fnp.sqrt(fnp.vdot(s, s) * fnp.vdot(y, y))
    return positive, 1 / fnp.where(positive, product, 1)


def _bfgs_update(inverse: Value, s: Value, y: Value) -> Value:
    """(1 - rho s y^T) H (1 - rho y s^T) + rho s s^T"""
    positive, rho = _curvature(s, y)
    image = inverse @ y
    outer = fnp.outer(s, image)
    new = inverse + rho * ((1 + rho * fnp.vdot(y, image)) * fnp.outer(s, s) - outer - outer.T)
    return fnp.where(positive, new, inverse)


def _bfgs(
    f: Callable[[Value], tuple[Value, Value]], x: Value, maxiter: int | None = None, norm: Any = fnp.inf, gtol: float = 1e-5,
    line_search_maxiter: int = 10,
) -> tuple[_State, Any]:  # fmt: skip
    n = x.shape[0]
    end = _descend(
        f, x, fnp.eye(n, dtype=x.dtype), lambda h, g: -(h @ g), _bfgs_update, lambda before, after: fnp.array(False),
        200 * n if maxiter is None else maxiter, line_search_maxiter, gtol, norm, fnp.inf,
    )  # fmt: skip
    return end, end.memory


def _two_loops(memory: tuple[Value, ...], gradient: Value) -> Value:
    """-H g from the last steps, by the recursion of Nocedal (algorithm 7.4); the latest stands last."""
    steps, changes, rhos, scale = memory
    m = rhos.shape[0]

    def down(j: Value, carry: tuple[Value, Value]) -> tuple[Value, Value]:
        i = m - 1 - j
        q, alphas = carry
        alpha = rhos[i] * fnp.vdot(steps[i], q)
        return q - alpha * changes[i], alphas.at[i].set(alpha)

    q, alphas = fori_loop(0, m, down, (gradient, fnp.zeros_like(rhos)))

    def up(i: Value, r: Value) -> Value:
        return r + (alphas[i] - rhos[i] * fnp.vdot(changes[i], r)) * steps[i]

    return -fori_loop(0, m, up, scale * q)


def _lbfgs_update(memory: tuple[Value, ...], s: Value, y: Value) -> tuple[Value, ...]:
    positive, rho = _curvature(s, y)
    shifted = [fnp.concatenate([rows[1:], row[None]]) for rows, row in zip(memory, (s, y, rho))]
    scale = fnp.vdot(s, y) / fnp.where(positive, fnp.vdot(y, y), 1)
    return tuple(fnp.where(positive, new, old) for new, old in zip((*shifted, scale), memory))


def _lbfgs(
    f: Callable[[Value], tuple[Value, Value]], x: Value, maxiter: int | None = None, norm: Any = fnp.inf, maxcor: int = 10,
    ftol: float = 2.220446049250313e-09, gtol: float = 1e-05, maxfun: float | None = None, maxgrad: float | None = None,
    maxls: int = 20,
) -> tuple[_State, None]:  # fmt: skip
    n, d = x.shape[0], x.dtype
    if maxiter is None and maxfun is None and maxgrad is None:
        maxiter = 1000 * n
    limits = [v for v in (maxfun, maxgrad) if v is not None]
    memory = (fnp.zeros((maxcor, n), d), fnp.zeros((maxcor, n), d), fnp.zeros((maxcor,), d), fnp.ones((), d))

    def unchanged(before: _State, after: _State) -> Value:
        size = fnp.maximum(fnp.maximum(fnp.abs(before.value), fnp.abs(after.value)), 1)
        return before.value - after.value <= ftol * size

    most = 2**31 - 1 if maxiter is None else maxiter
    end = _descend(
        f, x, memory, _two_loops, _lbfgs_update, unchanged, most, maxls, gtol, norm, min(limits, default=fnp.inf)
    )
    return end, None


_METHODS: dict[str, Callable[..., Any]] = {"bfgs": _bfgs, LBFGS: _lbfgs}


def minimize(
    fun: Callable[..., Any], x0: Any, args: tuple[Any, ...] = (), *, method: str, tol: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> OptimizeResults:  # fmt: skip
    """A minimum of a function of a vector, by its gradient, which is taken automatically.

    Args:
        fun: ``fun(x, *args)``, a real number; differentiable.
        x0: where to begin, shape (n,).
        args: further arguments of ``fun``.
        method: 'BFGS', or 'l-bfgs-experimental-do-not-rely-on-this' for its form with limited memory.
        tol: bound for the gradient, instead of the option ``gtol``.
        options: of BFGS: ``maxiter`` (200 n), ``norm`` (inf: order of the norm of the gradient), ``gtol`` (1e-5),
            ``line_search_maxiter`` (10).  Of L-BFGS: ``maxiter``, ``norm``, ``maxcor`` (10: how many steps are remembered),
            ``ftol`` (relative change of the value), ``gtol``, ``maxfun``, ``maxgrad``, ``maxls`` (20).

    Returns:
        ``OptimizeResults``.

    Raises:
        ShapeError: ``x0`` is no vector.
        ValueError: an unknown method.
        TypeError: ``args`` is no tuple, or an option is unknown.

    Source: Nocedal and Wright, "Numerical optimization" (2006), chapters 6 and 7.

    >>> import fx, numpy as np
    >>> from fx.scipy.optimize import minimize
    >>> found = minimize(lambda x: (x[0] - 1) ** 2 + 10 * (x[1] - x[0]) ** 2, np.zeros(2), method="BFGS")
    >>> found.x.round(3), bool(found.success)
    (Array([1., 1.], dtype=float64), True)
    """
    if not isinstance(args, tuple):
        raise TypeError(f"minimize: args must be a tuple of further arguments of fun; found {args!r}")
    if method.lower() not in _METHODS:
        raise ArgumentError(f"minimize: method {method!r} is not one of {', '.join(_METHODS)}")
    (x,) = promote_inexact(as_value(x0, "x0 of minimize"))
    if x.ndim != 1:
        raise ShapeError(f"minimize: x0 must be a vector; found shape {x.shape}. Ravel it, and reshape in fun.")
    known = dict(options or {})
    if tol is not None:
        known["gtol"] = tol

    def objective(v: Value) -> Value:
        return fun(v, *args)

    x = x.astype(fnp.promote_types(x.dtype, eval_shape(objective, x).dtype))  # data may be of more bits than x0
    state, inverse = _METHODS[method.lower()](value_and_grad(objective), x, **known)
    return OptimizeResults(
        state.x, state.status == _CONVERGED if inverse is not None else (state.status == _CONVERGED) | (state.status == _UNCHANGED),
        state.status, state.value, state.gradient, inverse, state.nfev, state.nfev, state.nit,
    )  # fmt: skip
