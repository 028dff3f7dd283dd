"""A line search for the strong Wolfe conditions.

With phi(a) = f(x + a p) it looks for a step a with

    phi(a) <= phi(0) + c1 a phi'(0)      and      |phi'(a)| <= c2 |phi'(0)|

doubling a until it has passed such a point, then narrowing the interval down by cubic interpolation.

Source: Nocedal and Wright, "Numerical optimization" (2006), algorithms 3.5 and 3.6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ... import numpy as fnp
from ...lax.control_flow import while_loop
from ..special.core import Value

__all__ = ["Search", "line_search"]

C1, C2 = 1e-4, 0.9


class Trial(NamedTuple):
    """A step and what the function is there: its value, slope along the line, gradient."""

    a: Any
    value: Any
    slope: Any
    gradient: Any


class Search(NamedTuple):
    """best: the step that was found, or the best seen.      low, high: ends of the interval.      next: to be tried."""

    low: Trial
    high: Trial
    best: Trial
    next: Any
    bracketed: Any
    done: Any
    evaluations: Any


def _pick(condition: Value, x: Trial, y: Trial) -> Trial:
    return Trial(*[fnp.where(condition, u, v) for u, v in zip(x, y)])


def _between(low: Trial, high: Trial) -> Value:
    """The minimum of the cubic through values and slopes at both ends; the middle where that lies close to an end."""
    width = high.a - low.a
    safe = fnp.where(width == 0, 1, width)
    d1 = low.slope + high.slope - 3 * (high.value - low.value) / safe
    root = d1 * d1 - low.slope * high.slope
    d2 = fnp.sign(width) * fnp.sqrt(fnp.maximum(root, 0))
    below = high.slope - low.slope + 2 * d2
    share = 1 - (high.slope + d2 - d1) / fnp.where(below == 0, 1, below)
    good = (root >= 0) & (below != 0) & (share > 0.1) & (share < 0.9)
    return low.a + width * fnp.where(good, share, 0.5)


def line_search(
    f: Callable[[Value], tuple[Value, Value]],
    x: Value,
    p: Value,
    value: Value,
    gradient: Value,
    maxiter: int,
    first: Any = 1.0,
) -> Search:
    """The search from x in the direction p.

    Args:
        f: value and gradient of the function.
        value, gradient: of the function at x.
        maxiter: how many points are tried at most.
        first: step that is tried first.
    """
    slope = fnp.vdot(gradient, p)
    origin = Trial(fnp.zeros_like(value), value, slope, gradient)

    def more(s: Search) -> Value:
        return ~s.done & (s.evaluations < maxiter)

    def step(s: Search) -> Search:
        at, g = f(x + s.next * p)
        new = Trial(s.next, at, fnp.vdot(g, p), g)
        falls = (at <= value + C1 * new.a * slope) & (at < fnp.where(s.evaluations > 0, s.low.value, fnp.inf))
        flat = fnp.abs(new.slope) <= -C2 * slope
        done = falls & flat
        # not bracketed: the last point is low; bracketed: low has the least value of the interval
        turned = falls & (new.slope * fnp.where(s.bracketed, s.high.a - s.low.a, 1) >= 0)
        high = _pick(falls & ~turned, s.high, _pick(turned, s.low, new))
        low = _pick(falls, new, s.low)
        bracketed = s.bracketed | ~falls | turned
        following = fnp.where(bracketed, _between(low, high), 2 * new.a)
        return Search(low, high, _pick(falls, new, s.best), following, bracketed, done, s.evaluations + 1)

    start = Search(
        origin, origin, origin, fnp.zeros_like(value) + first, fnp.array(False), fnp.array(False), fnp.array(0, "int32")
    )
    return while_loop(more, step, start)
