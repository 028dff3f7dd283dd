"""Schedules: functions from the number of steps taken to a number, most often a learning rate.

They compute in float64, and what they return takes the dtype of the arrays beside it, as a Python number does.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .. import numpy as fnp
from ..errors import TreeError
from . import elsewhere
from .base import Schedule, exact

__all__ = [
    "constant_schedule", "cosine_decay_schedule", "cosine_onecycle_schedule",
    "exponential_decay", "join_schedules", "linear_onecycle_schedule", "linear_schedule",
    "piecewise_constant_schedule", "piecewise_interpolate_schedule", "polynomial_schedule", "sgdr_schedule",
    "warmup_constant_schedule", "warmup_cosine_decay_schedule", "warmup_exponential_decay_schedule",
]  # fmt: skip


@elsewhere.schedule
def constant_schedule(value: Any) -> Schedule:
    """Always ``value``."""
    return lambda count: value


@elsewhere.schedule
def polynomial_schedule(
    init_value: Any, end_value: Any, power: Any, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    """From ``init_value`` to ``end_value``: (init - end) (1 - t / transition_steps)**power + end.

    Args:
        transition_steps: length of the way; if not positive, the value stays ``init_value``.
        transition_begin: steps before it starts.

    >>> schedule = polynomial_schedule(1.0, 0.0, 2, 10)
    >>> [float(schedule(t)) for t in (0, 5, 10, 20)]
    [1.0, 0.25, 0.0, 0.0]
    """
    if transition_steps <= 0:
        return constant_schedule(init_value)
    begin = max(transition_begin, 0)

    def schedule(count: Any) -> Any:
        left = 1 - fnp.clip(exact(count) - begin, 0, transition_steps) / transition_steps
        return (init_value - end_value) * left**power + end_value

    return schedule


@elsewhere.schedule
def linear_schedule(init_value: Any, end_value: Any, transition_steps: int, transition_begin: int = 0) -> Schedule:
    """From ``init_value`` to ``end_value`` on a straight line.

    >>> from fx import optim
    >>> rate = optim.linear_schedule(1.0, 0.0, transition_steps=10)
    >>> [float(rate(step)) for step in (0, 5, 10, 20)]
    [1.0, 0.5, 0.0, 0.0]
    """
    return polynomial_schedule(init_value, end_value, 1, transition_steps, transition_begin)


def _check_scales(scales: Iterable[float], who: str) -> None:
    if negative := [s for s in scales if s < 0]:
        raise TreeError(f"{who} takes scale factors that are not negative; found {negative}")


@elsewhere.schedule
def piecewise_constant_schedule(init_value: Any, boundaries_and_scales: dict[int, float] | None = None) -> Schedule:
    """``init_value``, multiplied by a scale as each boundary is reached (step decay).

    >>> schedule = piecewise_constant_schedule(1.0, {10: 0.5, 20: 0.5})
    >>> [float(schedule(t)) for t in (9, 10, 20)]
    [1.0, 0.5, 0.25]
    """
    steps = sorted((boundaries_and_scales or {}).items())
    _check_scales([s for _, s in steps], "piecewise_constant_schedule")

    def schedule(count: Any) -> Any:
        value = exact(init_value)
        for boundary, factor in steps:
            value = fnp.where(count < boundary, value, value * factor)
        return value

    return schedule


@elsewhere.schedule
def exponential_decay(
    init_value: Any, transition_steps: int, decay_rate: float, transition_begin: int = 0, staircase: bool = False,
    end_value: Any = None,
) -> Schedule:  # fmt: skip
    """``init_value * decay_rate ** (t / transition_steps)``.

    Args:
        transition_begin: steps before it starts.
        staircase: decay only after every whole ``transition_steps``.
        end_value: bound of the values (a lower one if they fall).
    """
    if transition_steps <= 0 or decay_rate == 0:
        return constant_schedule(init_value)
    begin = max(transition_begin, 0)

    def schedule(count: Any) -> Any:
        t = exact(count) - begin
        periods = fnp.floor(t / transition_steps) if staircase else t / transition_steps
        value = fnp.where(t <= 0, init_value, init_value * fnp.power(decay_rate, periods))
        if end_value is None:
            return value
        return fnp.maximum(value, end_value) if decay_rate < 1 else fnp.minimum(value, end_value)

    return schedule


@elsewhere.schedule
def cosine_decay_schedule(init_value: Any, decay_steps: int, alpha: Any = 0.0, exponent: Any = 1.0) -> Schedule:
    """Half a cosine from ``init_value`` to ``alpha * init_value`` (Loshchilov, Hutter, "SGDR", 2017).

    Raises:
        TreeError: ``decay_steps`` is not positive.
    """
    if decay_steps <= 0:
        raise TreeError(f"cosine_decay_schedule takes a positive number of steps; found {decay_steps}")

    def schedule(count: Any) -> Any:
        t = fnp.minimum(exact(count), decay_steps)
        fallen = 0.5 * (1 + fnp.cos(np.pi * t / decay_steps))
        return init_value * ((1 - alpha) * fallen**exponent + alpha)

    return schedule


_BETWEEN: dict[str, Callable[[Any, Any, Any], Any]] = {
    "linear": lambda start, end, part: (end - start) * part + start,
    "cosine": lambda start, end, part: end + (start - end) / 2.0 * (fnp.cos(np.pi * part) + 1),
}


@elsewhere.schedule
def piecewise_interpolate_schedule(
    interpolate_type: str, init_value: Any, boundaries_and_scales: dict[int, float] | None = None
) -> Schedule:
    """``init_value``, multiplied by each scale in turn, with a way between boundaries that has no jumps.

    Args:
        interpolate_type: ``"linear"`` or ``"cosine"``.
    """
    if interpolate_type not in _BETWEEN:
        raise TreeError(f"piecewise_interpolate_schedule: one of {sorted(_BETWEEN)}; found {interpolate_type!r}")
    between, steps = _BETWEEN[interpolate_type], sorted((boundaries_and_scales or {}).items())
    _check_scales([s for _, s in steps], "piecewise_interpolate_schedule")
    bounds = [0, *[b for b, _ in steps]]
    factors = list(itertools.accumulate([s for _, s in steps], lambda a, b: a * b, initial=1.0))

    def schedule(count: Any) -> Any:
        value = exact(init_value * factors[-1])
        for i in reversed(range(len(steps))):
            part = (exact(count) - bounds[i]) / max(bounds[i + 1] - bounds[i], 1)
            here = between(init_value * factors[i], init_value * factors[i + 1], part)
            value = fnp.where(count < bounds[i + 1], here, value)
        return value

    return schedule


def _check_cycle(transition_steps: int, who: str) -> None:
    if transition_steps <= 0:
        raise TreeError(f"{who} takes a positive number of steps; found {transition_steps}")


@elsewhere.schedule
def linear_onecycle_schedule(
    transition_steps: int, peak_value: Any, pct_start: float = 0.3, pct_final: float = 0.85, div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:  # fmt: skip
    """Up to the peak, down again, and down to almost nothing, on straight lines (Smith, Topin, "Super-convergence", 2018).

    Args:
        transition_steps: steps of the cycle.
        peak_value: reached after ``pct_start`` of them.
        pct_final: part of the steps after which the last descent begins.
        div_factor: the start is peak / div_factor.
        final_div_factor: the end is the start / final_div_factor.
    """
    _check_cycle(transition_steps, "linear_onecycle_schedule")
    boundaries = {
        int(pct_start * transition_steps): div_factor,
        int(pct_final * transition_steps): 1.0 / div_factor,
        transition_steps: 1.0 / final_div_factor,
    }
    return piecewise_interpolate_schedule("linear", peak_value / div_factor, boundaries)


@elsewhere.schedule
def cosine_onecycle_schedule(
    transition_steps: int, peak_value: Any, pct_start: float = 0.3, div_factor: float = 25.0, final_div_factor: float = 1e4
) -> Schedule:  # fmt: skip
    """Up to the peak and down to almost nothing, on half cosines; see ``linear_onecycle_schedule``."""
    _check_cycle(transition_steps, "cosine_onecycle_schedule")
    boundaries = {
        int(pct_start * transition_steps): div_factor,
        int(transition_steps): 1.0 / (div_factor * final_div_factor),
    }
    return piecewise_interpolate_schedule("cosine", peak_value / div_factor, boundaries)


# ------------------------------------------------------------------------------------------- joined


@elsewhere.schedule
def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """One schedule after the other; each counts its steps from its own boundary.

    Args:
        boundaries: the step at which each schedule but the first takes over.
    """

    def schedule(count: Any) -> Any:
        value = exact(schedules[0](count))
        for boundary, following in zip(boundaries, schedules[1:]):
            value = fnp.where(count < boundary, value, following(count - boundary))
        return value

    return schedule


@elsewhere.schedule
def warmup_constant_schedule(init_value: Any, peak_value: Any, warmup_steps: int) -> Schedule:
    """From ``init_value`` to the peak on a straight line; there it stays."""
    return linear_schedule(init_value, peak_value, warmup_steps)


@elsewhere.schedule
def warmup_cosine_decay_schedule(
    init_value: Any, peak_value: Any, warmup_steps: int, decay_steps: int, end_value: Any = 0.0, exponent: Any = 1.0
) -> Schedule:
    """Up to the peak on a straight line, then down on half a cosine.

    Args:
        warmup_steps: steps up.
        decay_steps: all steps, those up among them.

    >>> schedule = warmup_cosine_decay_schedule(0.0, 1.0, 10, 110)
    >>> [round(float(schedule(t)), 3) for t in (0, 5, 10, 60, 110)]
    [0.0, 0.5, 1.0, 0.5, 0.0]

    Raises:
        TreeError: no step is left for the way down.
    """
    if decay_steps <= warmup_steps:
        raise TreeError(
            "warmup_cosine_decay_schedule: decay_steps counts the steps up too, so it is larger than warmup_steps; found"
            f" {decay_steps=}, {warmup_steps=}"
        )
    alpha = 0.0 if peak_value == 0.0 else end_value / peak_value
    rise = linear_schedule(init_value, peak_value, warmup_steps)
    fall = cosine_decay_schedule(peak_value, decay_steps - warmup_steps, alpha, exponent)
    return join_schedules([rise, fall], [warmup_steps])


@elsewhere.schedule
def warmup_exponential_decay_schedule(
    init_value: Any, peak_value: Any, warmup_steps: int, transition_steps: int, decay_rate: Any,
    transition_begin: int = 0, staircase: bool = False, end_value: Any = None,
) -> Schedule:  # fmt: skip
    """Up to the peak on a straight line, then ``exponential_decay``."""
    rise = linear_schedule(init_value, peak_value, warmup_steps)
    fall = exponential_decay(peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
    return join_schedules([rise, fall], [warmup_steps])


@elsewhere.schedule
def sgdr_schedule(cosine_kwargs: Iterable[dict[str, Any]]) -> Schedule:
    """Cosine decays with warm-up, one after the other: warm restarts (Loshchilov, Hutter, "SGDR", 2017).

    Args:
        cosine_kwargs: for every period, the arguments of ``warmup_cosine_decay_schedule``.
    """
    periods = list(cosine_kwargs)
    ends = list(itertools.accumulate(p["decay_steps"] for p in periods))
    return join_schedules([warmup_cosine_decay_schedule(**p) for p in periods], ends[:-1])
