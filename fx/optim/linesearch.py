"""Line searches: how far to go along a direction, found by evaluating the objective there.

They stand last in a chain; ``update`` takes ``value=``, ``grad=`` and ``value_fn=`` (with what further named arguments
``value_fn`` takes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .. import debug, lax, tree
from .. import numpy as fnp
from ..api import value_and_grad
from ..errors import TreeError
from .base import GradientTransformationExtraArgs, accepted_by, chosen, required, tree_get
from .moments import add_scaled, cast_like, dot, zeros_like

__all__ = [
    "BacktrackingLinesearchInfo", "ScaleByBacktrackingLinesearchState", "ScaleByZoomLinesearchState", "ZoomLinesearchInfo",
    "scale_by_backtracking_linesearch", "scale_by_zoom_linesearch", "value_and_grad_from_state",
]  # fmt: skip

Tree = Any


class BacktrackingLinesearchInfo(NamedTuple):
    """Evaluations of the last search, and by how much the decrease fell short of what was asked for."""

    num_linesearch_steps: Any
    decrease_error: Any


class ScaleByBacktrackingLinesearchState(NamedTuple):
    """The last step size, the value (and the gradient, if it is kept) where it led, and how the search went."""

    learning_rate: Any
    value: Any
    grad: Tree
    info: BacktrackingLinesearchInfo


class ZoomLinesearchInfo(NamedTuple):
    """Evaluations of the last search, and by how much decrease and slope missed what was asked for."""

    num_linesearch_steps: Any
    decrease_error: Any
    curvature_error: Any


class ScaleByZoomLinesearchState(NamedTuple):
    """The last step size, the value and the gradient where it led, and how the search went."""

    learning_rate: Any
    value: Any
    grad: Tree
    info: ZoomLinesearchInfo


def _kind(params: Tree) -> Any:
    return fnp.asarray(tree.leaves(params)[0]).real.dtype


def _given(params: Tree, value: Any, grad: Tree, value_fn: Any, who: str) -> None:
    required(params, who)
    if value is None or grad is None or value_fn is None:
        raise TreeError(
            f"{who} evaluates the objective: call optimizer.update(grad, state, params, value=value, grad=grad,"
            " value_fn=objective)"
        )


def _miss(error: Any) -> Any:
    """The positive part of an error; infinite where it is not a number."""
    return fnp.where(fnp.isnan(error), fnp.inf, fnp.maximum(error, 0.0))


# ------------------------------------------------------------------------------------- backtracking


class _Back(NamedTuple):
    step: Any
    value: Any
    grad: Tree
    error: Any
    count: Any


def scale_by_backtracking_linesearch(
    max_backtracking_steps: int, slope_rtol: Any = 1e-4, decrease_factor: Any = 0.8, increase_factor: Any = 1.5,
    max_learning_rate: Any = 1.0, atol: Any = 0.0, rtol: Any = 0.0, store_grad: bool = False, verbose: bool = False,
) -> GradientTransformationExtraArgs:  # fmt: skip
    """Shrinks the step until the objective falls enough (Armijo, 1966):
    f(p + s u) <= (1 + rtol) f(p) + slope_rtol s <u, grad f(p)> + atol.

    Args:
        max_backtracking_steps: at most that many evaluations after the first.
        decrease_factor: what the step shrinks by.
        increase_factor: what the last step grows by to be the first guess of the next search.
        max_learning_rate: the largest first guess.
        store_grad: keep the gradient at the new point in the state, for ``value_and_grad_from_state``.
        verbose: print when no step was found.
    """

    def init(params: Tree) -> ScaleByBacktrackingLinesearchState:
        one = fnp.ones((), _kind(params))
        info = BacktrackingLinesearchInfo(fnp.zeros((), "int32"), one * fnp.inf)
        grad = zeros_like(params) if store_grad else None
        return ScaleByBacktrackingLinesearchState(one, one * fnp.inf, grad, info)

    def update(
        updates: Tree, state: ScaleByBacktrackingLinesearchState, params: Tree = None, *, value: Any = None,
        grad: Tree = None, value_fn: Any = None, **extra: Any,
    ) -> tuple[Tree, Tree]:  # fmt: skip
        _given(params, value, grad, value_fn, "scale_by_backtracking_linesearch")
        extra = accepted_by(value_fn, extra, "scale_by_backtracking_linesearch")
        slope = dot(updates, grad)

        def attempt(s: _Back) -> _Back:
            step = fnp.where(s.count > 0, decrease_factor * s.step, s.step)
            there = add_scaled(params, step, updates)
            if store_grad:
                new_value, new_grad = value_and_grad(value_fn)(there, **extra)
            else:
                new_value, new_grad = value_fn(there, **extra), s.grad
            error = _miss(new_value - (1.0 + rtol) * value - step * slope_rtol * slope)
            return cast_like(_Back(step, new_value, new_grad, error, s.count + 1), s)

        guess = fnp.minimum(increase_factor * state.learning_rate, max_learning_rate)
        start = _Back(guess, fnp.asarray(value), state.grad, fnp.asarray(fnp.inf, guess.dtype), fnp.zeros((), "int32"))
        more = lambda s: fnp.logical_not(s.error <= atol) & (s.count <= max_backtracking_steps)
        end = lax.while_loop(more, attempt, cast_like(start, start._replace(value=state.value)))
        rate = fnp.where(fnp.isinf(end.error), 0.0, end.step)
        if verbose:
            _tell(
                end.error > atol,
                "backtracking found no step that decreases the value enough: step {}, error {}",
                end.step,
                end.error,
            )
        new = ScaleByBacktrackingLinesearchState(
            rate, end.value, end.grad, BacktrackingLinesearchInfo(end.count, end.error)
        )
        return tree.map(lambda u: rate.astype(u.real.dtype) * u, updates), cast_like(new, state)

    return GradientTransformationExtraArgs(init, update)


def _tell(condition: Any, message: str, *values: Any) -> None:
    lax.cond(condition, lambda: debug.print("line search: " + message, *values), lambda: None)


# ---------------------------------------------------------------------------------------------- zoom


class _Point(NamedTuple):
    """A step along the direction, the value and the slope there."""

    step: Any
    value: Any
    slope: Any


class _Search(NamedTuple):
    """The state of a search: the last trial, the interval between its ends, the step that gave it its shape before
    (``reference``), and the best step that decreased the value enough (``safe``)."""

    count: Any
    trial: _Point
    grad: Tree
    decrease_error: Any
    curvature_error: Any
    found: Any
    done: Any
    failed: Any
    low: _Point
    high: _Point
    reference: _Point
    safe: _Point
    safe_grad: Tree


def _cubic(low: _Point, high: _Point, ref: _Point) -> Any:
    """The least point of the cubic through three values and the slope at ``low``; NaN if there is none."""
    db, dc = high.step - low.step, ref.step - low.step
    denominator = (db * dc) ** 2 * (db - dc)
    rb, rc = high.value - low.value - low.slope * db, ref.value - low.value - low.slope * dc
    a = (dc**2 * rb - db**2 * rc) / denominator
    b = (-(dc**3) * rb + db**3 * rc) / denominator
    return low.step + (-b + fnp.sqrt(b * b - 3.0 * a * low.slope)) / (3.0 * a)


def _quadratic(low: _Point, high: _Point) -> Any:
    """The least point of the parabola through two values and the slope at ``low``."""
    d = high.step - low.step
    b = (high.value - low.value - low.slope * d) / d**2
    return low.step - low.slope / (2.0 * b)


def _inside(s: _Search) -> Any:
    """The next trial in the interval: the cubic's least point, the parabola's, or the middle."""
    left, right = fnp.minimum(s.low.step, s.high.step), fnp.maximum(s.low.step, s.high.step)
    within = lambda x, part: (x > left + part * (right - left)) & (x < right - part * (right - left))
    cubic, parabola = _cubic(s.low, s.high, s.reference), _quadratic(s.low, s.high)
    middle = (s.low.step + s.high.step) / 2.0
    return fnp.where(within(cubic, 0.2), cubic, fnp.where(within(parabola, 0.1), parabola, middle))


def scale_by_zoom_linesearch(
    max_linesearch_steps: int, max_learning_rate: Any = None, tol: Any = 0.0, increase_factor: Any = 2.0,
    slope_rtol: Any = 1e-4, curv_rtol: Any = 0.9, approx_dec_rtol: Any = 1e-6, stepsize_precision: Any = 1e-5,
    initial_guess_strategy: str = "keep", verbose: bool = False,
) -> GradientTransformationExtraArgs:  # fmt: skip
    """Finds a step that decreases the objective enough and flattens its slope (strong Wolfe conditions): it grows until
    an interval holds such a step, then zooms into it (Nocedal, Wright, "Numerical optimization", algorithms 3.5, 3.6).

    Args:
        max_linesearch_steps: at most that many evaluations.
        max_learning_rate: the largest step; None for any.
        tol: how far the conditions may be missed.
        increase_factor: what the step grows by while there is no interval.
        slope_rtol: f(p + s u) <= f(p) + slope_rtol s slope(0).
        curv_rtol: |slope(s)| <= curv_rtol |slope(0)|.
        approx_dec_rtol: near the minimum, where differences of values drown in rounding, decrease is judged by slopes if
            the value rose by at most this part of |f| (Hager, Zhang, 2006); None for never.
        stepsize_precision: an interval shorter than this ends the search.
        initial_guess_strategy: ``"one"``, or ``"keep"`` for the last step found.
        verbose: print when no step was found.

    Raises:
        TreeError: ``update`` without ``value=``, ``grad=``, ``value_fn=``.
    """
    if initial_guess_strategy not in ("one", "keep"):
        raise TreeError(
            f"scale_by_zoom_linesearch: initial_guess_strategy is 'one' or 'keep'; found {initial_guess_strategy!r}"
        )

    def decrease_error(at: _Point, start: _Point) -> Any:
        error = at.value - start.value - slope_rtol * at.step * start.slope
        if approx_dec_rtol is not None:
            by_slope = at.slope - (2 * slope_rtol - 1.0) * start.slope
            risen = at.value - start.value - approx_dec_rtol * fnp.abs(start.value)
            error = fnp.minimum(fnp.maximum(by_slope, risen), error)
        return _miss(error)

    def grown(s: _Search, new: _Point, start: _Point, at_limit: Any) -> _Search:
        """After a trial of a larger step."""
        error = fnp.maximum(s.decrease_error, s.curvature_error)
        too_far = (s.decrease_error > 0.0) | ((new.value >= s.trial.value) & (s.count > 0))
        behind = (new.slope >= 0.0) & ~too_far
        low, high = chosen(behind, new, s.trial), chosen(behind, s.trial, new)
        found = too_far | behind | (error <= tol)
        done = (error <= tol) | (at_limit & ~found)
        failed = (s.count + 1 >= max_linesearch_steps) & ~done
        return s._replace(low=low, high=high, reference=low, found=found, done=done, failed=failed)

    def zoomed(s: _Search, new: _Point) -> _Search:
        """After a trial inside the interval; ``s.safe`` knows of it already."""
        done = fnp.maximum(s.decrease_error, s.curvature_error) <= tol
        is_high = (s.decrease_error > 0.0) | (new.value >= s.low.value)
        turned = (new.slope * (s.high.step - s.low.step) >= 0.0) & ~is_high
        narrow = fnp.abs(s.high.step - s.low.step) <= stepsize_precision
        failed = ((s.count + 1 >= max_linesearch_steps) | (narrow & (s.safe.step > 0.0))) & ~done
        return s._replace(
            low=chosen(is_high, s.low, new),
            high=chosen(is_high, new, chosen(turned, s.low, s.high)),
            reference=chosen(is_high | turned, s.high, s.low),
            done=done,
            failed=failed,
        )

    def trial(s: _Search, start: _Point, guess: Any, evaluate: Callable[[Any], tuple[_Point, Tree]]) -> _Search:
        larger = fnp.where(s.count == 0, guess, increase_factor * s.trial.step)
        at_limit = fnp.asarray(False) if max_learning_rate is None else larger >= max_learning_rate
        larger = larger if max_learning_rate is None else fnp.minimum(larger, max_learning_rate)
        new, grad = evaluate(lax.cond(s.found, lambda: _inside(s), lambda: larger.astype(s.low.step.dtype)))
        new, grad = cast_like((new, grad), (s.trial, s.grad))
        error = decrease_error(new, start)
        slope_error = _miss(fnp.abs(new.slope) - curv_rtol * fnp.abs(start.slope))
        better = (error <= tol) & (~s.found | (new.value < s.safe.value))
        s = s._replace(
            decrease_error=error,
            curvature_error=slope_error,
            safe=chosen(better, new, s.safe),
            safe_grad=chosen(better, grad, s.safe_grad),
        )
        after = chosen(s.found, zoomed(s, new), grown(s, new, start, at_limit))
        after = after._replace(count=s.count + 1, trial=new, grad=grad)
        retreat = after.failed & ((s.safe.step > 0.0) | fnp.isinf(error))
        return after._replace(
            trial=chosen(retreat, s.safe, new), grad=chosen(retreat, s.safe_grad, grad), found=s.found | after.found
        )

    def init(params: Tree) -> ScaleByZoomLinesearchState:
        one = fnp.ones((), _kind(params))
        info = ZoomLinesearchInfo(fnp.zeros((), "int32"), one * fnp.inf, one * fnp.inf)
        return ScaleByZoomLinesearchState(one, one * fnp.inf, zeros_like(params), info)

    def update(
        updates: Tree, state: ScaleByZoomLinesearchState, params: Tree = None, *, value: Any = None, grad: Tree = None,
        value_fn: Any = None, **extra: Any,
    ) -> tuple[Tree, Tree]:  # fmt: skip
        _given(params, value, grad, value_fn, "scale_by_zoom_linesearch")
        extra = accepted_by(value_fn, extra, "scale_by_zoom_linesearch")
        zero = fnp.zeros_like(state.value)

        def evaluate(step: Any) -> tuple[_Point, Tree]:
            there, gradient = value_and_grad(value_fn)(add_scaled(params, step, updates), **extra)
            return _Point(step, there, dot(gradient, updates)), gradient

        start = cast_like(_Point(zero, value, dot(updates, grad)), _Point(zero, zero, zero))
        guess = fnp.ones_like(zero) if initial_guess_strategy == "one" else state.learning_rate
        no, grad = fnp.asarray(False), cast_like(grad, params)
        s = _Search(
            state.info.num_linesearch_steps * 0, start, grad, zero + fnp.inf, zero + fnp.inf, no, no, no,
            start, start, start, start, grad,
        )  # fmt: skip
        s = lax.while_loop(lambda s: ~(s.done | s.failed), lambda s: trial(s, start, guess, evaluate), s)
        if verbose:
            _tell(
                s.failed,
                "no step meets the Wolfe conditions: step {}, errors {} and {}",
                s.trial.step,
                s.decrease_error,
                s.curvature_error,
            )
        info = ZoomLinesearchInfo(s.count, s.decrease_error, s.curvature_error)
        scaled = tree.map(lambda u: s.trial.step.astype(u.real.dtype) * u, updates)
        return scaled, ScaleByZoomLinesearchState(s.trial.step, s.trial.value, s.grad, info)

    return GradientTransformationExtraArgs(init, update)


def value_and_grad_from_state(value_fn: Callable[..., Any]) -> Callable[..., tuple[Any, Tree]]:
    """``value_and_grad`` that takes both from the state of a line search, which has computed them; at the first step it
    computes them.

    Args:
        value_fn: ``value_fn(params, *args, **kwargs) -> scalar``.

    Returns:
        ``f(params, *args, state=state, **kwargs) -> (value, gradient)``.

    >>> from fx import optim
    >>> optimizer, objective = optim.lbfgs(), lambda p: fnp.sum((p - 1.0) ** 2)
    >>> params = fnp.asarray([3.0, -2.0])
    >>> state = optimizer.init(params)
    >>> for _ in range(3):
    ...     value, grad = value_and_grad_from_state(objective)(params, state=state)
    ...     updates, state = optimizer.update(grad, state, params, value=value, grad=grad, value_fn=objective)
    ...     params = optim.apply_updates(params, updates)
    >>> bool(objective(params) < 1e-9)
    True
    """

    def found(params: Tree, *args: Any, state: Tree, **kwargs: Any) -> tuple[Any, Tree]:
        value, grad = tree_get(state, "value"), tree_get(state, "grad")
        if value is None or grad is None:
            raise TreeError(
                "the state keeps no value and gradient; scale_by_backtracking_linesearch needs store_grad=True"
            )
        compute = lambda: cast_like(value_and_grad(value_fn)(params, *args, **kwargs), (value, grad))
        return lax.cond(fnp.isfinite(value), lambda: (value, grad), compute)

    return found
