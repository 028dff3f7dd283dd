"""Initial value problems: ``odeint``, with steps that adapt to a tolerance, and the adjoint method for its derivative."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes, lax, tree
from .. import numpy as fnp
from ..api import vjp, vmap
from ..errors import DTypeError, ShapeError, TreeError
from ..flatten_util import ravel_pytree
from ..numpy.core import as_type, as_value
from ..transforms.custom_vjp import closure_convert, custom_vjp

__all__ = ["odeint"]

Value = Any

# the Runge-Kutta method of Dormand and Prince, of order 5 with an error estimate of order 4, and its middle
_NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_SOLUTION = np.array([*_STAGES[-1], 0.0])
_ERROR = _SOLUTION - [1951 / 21600, 0, 22642 / 50085, 451 / 720, -12231 / 42400, 649 / 6300, 1 / 60]
_MIDDLE = np.array(
    [
        6025192743 / 30085553152, 0, 51252292925 / 65400821598, -2691868925 / 45128329728, 187940372067 / 1594534317056,
        -1776094331 / 19743644256, 11237099 / 235043384,
    ]
) / 2  # fmt: skip
_ORDER = 5


class _Options(NamedTuple):
    rtol: float
    atol: float
    mxstep: float
    hmax: float


class _State(NamedTuple):
    """Where a solution stands: at time t with value y and slope f, the next step being dt; and the polynomial through
    the last step, which began at ``last``."""

    y: Value
    f: Value
    t: Value
    dt: Value
    last: Value
    polynomial: tuple[Value, ...]


def _combined(weights: Iterable[float], slopes: Sequence[Value]) -> Value:
    """The sum of the slopes with their weights, element by element: small systems are one kernel a step."""
    return functools.reduce(operator.add, [k * float(w) for w, k in zip(weights, slopes) if w])


def _step(func: Callable[..., Value], s: _State) -> tuple[Value, Value, Value, tuple[Value, ...]]:
    """One step: the new value, its slope, an estimate of its error, and the polynomial of degree 4 through the step, the
    highest coefficient first."""
    dt = as_type(s.dt, s.y.dtype)
    slopes = [s.f]
    for node, weights in zip(_NODES, _STAGES):
        slopes.append(func(s.y + dt * _combined(weights, slopes), s.t + s.dt * node))
    y = s.y + dt * _combined(_SOLUTION, slopes)
    error = dt * _combined(_ERROR, slopes)
    middle, f = s.y + dt * _combined(_MIDDLE, slopes), slopes[-1]
    start, end = dt * s.f, dt * f
    polynomial = (
        2 * (end - start) - 8 * (s.y + y) + 16 * middle, 5 * start - 3 * end + 18 * s.y + 14 * y - 32 * middle,
        end - 4 * start - 11 * s.y - 5 * y + 16 * middle, start, s.y,
    )  # fmt: skip
    return y, f, error, polynomial


def _error_ratio(error: Value, y0: Value, y1: Value, options: _Options) -> Value:
    """The root mean square of the error in units of what is tolerated."""
    tolerated = options.atol + options.rtol * fnp.maximum(fnp.abs(y0), fnp.abs(y1))
    return fnp.sqrt(fnp.mean(fnp.square(fnp.abs(error / as_type(tolerated, dtypes.real_dtype(error.dtype))))))


def _next_step(dt: Value, ratio: Value, hmax: float) -> Value:
    """The step that should just meet the tolerance, at most 10 times and at least a fifth of the last one."""
    least = fnp.where(ratio < 1, 1.0, 0.2)
    safe = fnp.where(ratio == 0, 1, ratio)
    factor = fnp.minimum(10.0, fnp.maximum(0.9 * safe ** (-1 / _ORDER), least))
    return fnp.clip(dt * fnp.where(ratio == 0, 10.0, factor), 0, hmax)


def _first_step(func: Callable[..., Value], t: Value, y: Value, f: Value, options: _Options) -> Value:
    """A step to begin with (Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", II.4)."""
    scale = as_type(options.atol + fnp.abs(y) * options.rtol, dtypes.real_dtype(y.dtype))
    d0, d1 = fnp.linalg.norm(y / scale), fnp.linalg.norm(f / scale)
    h0 = fnp.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / fnp.where(d1 == 0, 1, d1))
    f1 = func(y + as_type(h0, y.dtype) * f, t + as_type(h0, t.dtype))
    d2 = fnp.linalg.norm((f1 - f) / scale) / h0
    steepest = fnp.maximum(d1, d2)
    flat = (d1 <= 1e-15) & (d2 <= 1e-15)
    h1 = fnp.where(flat, fnp.maximum(1e-6, h0 * 1e-3), (0.01 / fnp.where(flat, 1, steepest)) ** (1 / _ORDER))
    return fnp.clip(as_type(fnp.minimum(100 * h0, h1), t.dtype), 0, options.hmax)


def _solve(func: Callable[..., Value], options: _Options, y0: Value, ts: Value) -> Value:
    """The values at the times ``ts`` of the solution that begins as the vector ``y0``."""

    def advance(state: _State) -> _State:
        y, f, error, polynomial = _step(func, state)
        ratio = _error_ratio(error, state.y, y, options)
        dt = as_type(_next_step(state.dt, ratio, options.hmax), ts.dtype)
        new = _State(y, f, state.t + state.dt, dt, state.t, polynomial)
        good = ratio <= 1
        return tree.map(lambda a, b: fnp.where(good, a, b), new, state._replace(dt=dt))

    def reach(state: _State, target: Value) -> tuple[_State, Value]:
        def going(counted: Any) -> Value:
            i, s = counted
            more = (s.t < target) & (s.dt > 0)
            return more if math.isinf(options.mxstep) else more & (i < options.mxstep)

        _, state = lax.while_loop(going, lambda counted: (counted[0] + 1, advance(counted[1])), (np.int32(0), state))
        share = as_type((target - state.last) / (state.t - state.last), state.y.dtype)
        return state, functools.reduce(lambda total, c: total * share + c, state.polynomial)

    f0 = func(y0, ts[0])
    start = _State(y0, f0, ts[0], _first_step(func, ts[0], y0, f0, options), ts[0], (y0,) * 5)
    _, ys = lax.scan(reach, start, ts[1:])
    return fnp.concatenate([y0[None], ys])


# ----------------------------------------------------------------------------------- the adjoint method


@functools.partial(custom_vjp, nondiff_argnums=(0, 1))
def _odeint(func: Callable[..., Value], options: _Options, y0: Value, ts: Value, args: Any, static: Any) -> Value:
    return _solve(lambda y, t: func(y, t, args, static), options, y0, ts)


def _forward(func: Any, options: _Options, y0: Value, ts: Value, args: Any, static: Any) -> Any:
    ys = _odeint(func, options, y0, ts, args, static)
    return ys, (ys, ts, args, static)


def _backward(func: Any, options: _Options, residuals: Any, cts: Value) -> Any:
    """Cotangents by solving, from one time back to the one before, for the solution together with its adjoint."""
    ys, ts, args, static = residuals

    def augmented(state: Any, minus_t: Value, args: Any, static: Any) -> Any:
        y, y_bar, _, _ = state
        slope, pull = vjp(lambda y, t, args: func(y, t, args, static), y, -minus_t, args)
        return (-slope, *pull(y_bar))

    def back(carry: Any, i: Value) -> tuple[Any, Value]:
        y_bar, t0_bar, args_bar = carry
        t_bar = fnp.real(fnp.vdot(fnp.conj(func(ys[i], ts[i], args, static)), cts[i]))
        times = fnp.stack([-ts[i], -ts[i - 1]])
        state = _integrate(augmented, options, (ys[i], y_bar, t0_bar - t_bar, args_bar), times, args, static)
        _, y_bar, t0_bar, args_bar = tree.map(lambda x: x[1], state)
        return (y_bar + cts[i - 1], t0_bar, args_bar), t_bar

    start = cts[-1], fnp.zeros((), ts.dtype), tree.map(fnp.zeros_like, args)
    (y_bar, t0_bar, args_bar), t_bars = lax.scan(back, start, fnp.arange(ts.shape[0] - 1, 0, -1))
    return y_bar, fnp.concatenate([t0_bar[None], t_bars[::-1]]), args_bar, None


_odeint.defvjp(_forward, _backward)


def _integrate(func: Callable[..., Any], options: _Options, y0: Any, ts: Value, args: Any, static: Any) -> Any:
    """``odeint`` for a function of (y, t, args, static), where ``args`` are floats and ``static`` has no derivative."""
    vector, unravel = ravel_pytree(y0)
    vector = as_type(vector, vector.dtype if dtypes.is_inexact(vector.dtype) else ts.dtype)

    def flat(y: Value, t: Value, args: Any, static: Any) -> Value:
        return as_type(ravel_pytree(func(unravel(y), t, args, static))[0], vector.dtype)

    return vmap(unravel)(_odeint(flat, options, vector, ts, args, static))


# ------------------------------------------------------------------------------------------ front end


def odeint(
    func: Callable[..., Any],
    y0: Any,
    t: Any,
    *args: Any,
    rtol: float = 1.4e-8,
    atol: float = 1.4e-8,
    mxstep: float = math.inf,
    hmax: float = math.inf,
) -> Any:
    """Solves dy/dt = func(y, t, *args), y(t[0]) = y0, by a Runge-Kutta method with steps that adapt to a tolerance.

    The gradient with respect to ``y0``, ``t``, ``args`` and what ``func`` closes over is found by the adjoint method: a
    second differential equation, solved backwards in time, so that memory does not grow with the number of steps.

    Args:
        func: ``(y, t, *args)`` to the slope, a pytree like ``y``.
        y0: the initial value, a pytree of float arrays.
        t: (n,): rising times at which the solution is wanted, floats.
        args: arrays, numbers, or pytrees of them.
        rtol, atol: a step is taken if its error is below atol + rtol * abs(y), in the root mean square.
        mxstep: the greatest number of steps between two of the times.
        hmax: the longest step.

    Returns:
        The values at the times: as ``y0``, with a leading axis of length n.

    >>> ys = odeint(lambda y, t: -y, fnp.asarray(1.0, float), fnp.array([0.0, 1.0], float))
    >>> bool(abs(ys[1] - np.exp(-1)) < 1e-7)
    True

    Source: Dormand, Prince, "A family of embedded Runge-Kutta formulae", 1980; Chen et al., "Neural ordinary differential
    equations", 2018.
    """
    ts = as_value(t, "t of odeint")
    if ts.ndim != 1 or not ts.size:
        raise ShapeError(f"odeint takes a vector of times; found t of shape {ts.shape}")
    if not dtypes.is_float(ts.dtype):
        raise DTypeError(f"odeint takes times that are floats; found {ts.dtype}. Convert them: t.astype(float).")
    if not tree.leaves(y0):
        raise TreeError("odeint takes an initial value of at least one array; y0 has none")
    y0 = tree.map(lambda x: as_value(x, "a leaf of y0 of odeint"), y0)
    leaves, treedef = tree.flatten(args)
    leaves = [as_value(x, "an argument of odeint") for x in leaves]
    smooth = [dtypes.is_inexact(x.dtype) for x in leaves]
    converted, consts = closure_convert(func, y0, ts[0], *tree.unflatten(treedef, leaves))
    moving = [dtypes.is_inexact(c.dtype) for c in consts]
    chosen = [x for x, s in zip([*leaves, *consts], [*smooth, *moving]) if s]
    others = [x for x, s in zip([*leaves, *consts], [*smooth, *moving]) if not s]

    def with_all(y: Any, t: Value, floats: Any, static: Any) -> Any:
        f, o = iter(floats), iter(static)
        every = [next(f) if s else next(o) for s in (*smooth, *moving)]
        own = tree.unflatten(treedef, every[: len(leaves)])
        return converted(y, t, *own, *every[len(leaves) :])

    return _integrate(with_all, _Options(rtol, atol, mxstep, hmax), y0, ts, chosen, others)
