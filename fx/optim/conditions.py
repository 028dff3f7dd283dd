"""Transformations that depend on what happens: skipped steps, NaNs, plateaus of the loss."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import lax, tree
from .. import numpy as fnp
from ..errors import TreeError
from .base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    chosen,
    incremented,
    new_count,
    own_state,
    with_extra_args_support,
)
from .moments import zeros_like

__all__ = [
    "ApplyIfFiniteState", "ConditionallyMaskState", "ConditionallyTransformState", "ReduceLROnPlateauState",
    "ZeroNansState", "apply_if_finite", "conditionally_mask", "conditionally_transform", "reduce_on_plateau", "zero_nans",
]  # fmt: skip

Tree = Any


class ApplyIfFiniteState(NamedTuple):
    """Steps in a row that were not finite, whether the last was, all that were not, and the inner state."""

    notfinite_count: Any
    last_finite: Any
    total_notfinite: Any
    inner_state: Tree


class ConditionallyTransformState(NamedTuple):
    """The inner state, and steps taken."""

    inner_state: Tree
    step: Any


class ConditionallyMaskState(NamedTuple):
    """Steps taken, and the inner state."""

    step: Any
    inner_state: Tree


class ZeroNansState(NamedTuple):
    """For every leaf, whether the last update had a NaN."""

    found_nan: Tree


class ReduceLROnPlateauState(NamedTuple):
    """The factor now, the best value, and the counts of the plateau, of the cool-down and of the running mean."""

    scale: Any
    best_value: Any
    plateau_count: Any
    cooldown_count: Any
    count: Any
    avg_value: Any


def all_finite(values: Tree) -> Any:
    """Whether every number of a tree is finite."""
    return functools.reduce(fnp.logical_and, [fnp.all(fnp.isfinite(x)) for x in tree.leaves(values)], fnp.asarray(True))


def _update_if(
    condition: Any, inner: GradientTransformation, otherwise: Callable[[Tree], Tree],
    updates: Tree, state: Tree, params: Tree, extra: dict[str, Any],
) -> tuple[Tree, Tree]:  # fmt: skip
    """``inner``'s step if the condition holds; otherwise what ``otherwise`` makes of the updates, and the old state."""
    new = lambda: inner.update(updates, state, params, **extra)
    return lax.cond(condition, new, lambda: (otherwise(updates), state))


def apply_if_finite(inner: GradientTransformation, max_consecutive_errors: int) -> GradientTransformationExtraArgs:
    """Skips steps whose gradient has a NaN or an infinity: the parameters and the state stay as they are.

    Args:
        max_consecutive_errors: after that many in a row the step is taken all the same, so that the fault shows.

    >>> from fx import optim
    >>> optimizer = apply_if_finite(optim.sgd(1.0), 5)
    >>> optimizer.update(fnp.asarray([fnp.nan, 1.0]), optimizer.init(fnp.zeros(2)))[0]
    Array([0., 0.], dtype=float32)
    """
    inner = with_extra_args_support(inner)

    def init(params: Tree) -> ApplyIfFiniteState:
        return ApplyIfFiniteState(new_count(), fnp.asarray(True), new_count(), inner.init(params))

    def update(updates: Tree, state: ApplyIfFiniteState, params: Tree = None, **extra: Any) -> tuple[Tree, Tree]:
        own_state(state, ApplyIfFiniteState, "apply_if_finite")
        finite = all_finite(updates)
        row = fnp.where(finite, 0, incremented(state.notfinite_count)).astype("int32")
        take = finite | (row > max_consecutive_errors)
        new, inner_state = _update_if(take, inner, zeros_like, updates, state.inner_state, params, extra)
        total = fnp.where(finite, state.total_notfinite, incremented(state.total_notfinite))
        return new, ApplyIfFiniteState(row, finite, total, inner_state)

    return GradientTransformationExtraArgs(init, update)


def conditionally_transform(
    inner: GradientTransformation, should_transform_fn: Callable[..., Any], forward_extra_args: bool = False
) -> GradientTransformationExtraArgs:
    """``inner`` at the steps where ``should_transform_fn(step)`` is true; at the others the updates pass as they are.

    Args:
        forward_extra_args: hand the named arguments of ``update`` to the function too.
    """
    inner = with_extra_args_support(inner)

    def update(
        updates: Tree, state: ConditionallyTransformState, params: Tree = None, **extra: Any
    ) -> tuple[Tree, Tree]:
        take = should_transform_fn(state.step, **(extra if forward_extra_args else {}))
        new, inner_state = _update_if(take, inner, lambda u: u, updates, state.inner_state, params, extra)
        return new, ConditionallyTransformState(inner_state, incremented(state.step))

    return GradientTransformationExtraArgs(
        lambda params: ConditionallyTransformState(inner.init(params), new_count()), update
    )


def conditionally_mask(
    inner: GradientTransformation, should_transform_fn: Callable[..., Any], forward_extra_args: bool = False
) -> GradientTransformationExtraArgs:
    """``inner`` at the steps where ``should_transform_fn(step)`` is true; at the others updates of zero.

    Args:
        forward_extra_args: hand the named arguments of ``update`` to the function too.
    """
    inner = with_extra_args_support(inner)

    def update(updates: Tree, state: ConditionallyMaskState, params: Tree = None, **extra: Any) -> tuple[Tree, Tree]:
        take = should_transform_fn(state.step, **(extra if forward_extra_args else {}))
        new, inner_state = _update_if(take, inner, zeros_like, updates, state.inner_state, params, extra)
        return new, ConditionallyMaskState(incremented(state.step), inner_state)

    return GradientTransformationExtraArgs(
        lambda params: ConditionallyMaskState(new_count(), inner.init(params)), update
    )


def zero_nans() -> GradientTransformation:
    """Puts 0 for every NaN of the updates; the state says which leaves had one."""

    def update(updates: Tree, state: ZeroNansState, params: Tree = None) -> tuple[Tree, Tree]:
        found = tree.map(lambda u: fnp.any(fnp.isnan(u)), updates)
        return tree.map(lambda u: fnp.where(fnp.isnan(u), fnp.zeros_like(u), u), updates), ZeroNansState(found)

    return GradientTransformation(lambda params: ZeroNansState(tree.map(lambda p: fnp.asarray(False), params)), update)


def reduce_on_plateau(
    factor: float = 0.1, patience: int = 10, rtol: float = 1e-4, atol: float = 0.0, cooldown: int = 0,
    accumulation_size: int = 1, min_scale: float = 0.0,
) -> GradientTransformationExtraArgs:  # fmt: skip
    """Multiplies the updates by a number that shrinks whenever the loss stops falling; ``update`` takes ``value=loss``.

    Args:
        factor: what the number is multiplied by, in (0, 1).
        patience: means without improvement until then.
        rtol, atol: an improvement is below ``(1 - rtol) * best - atol``.
        cooldown: means to wait after a reduction.
        accumulation_size: losses in a mean.
        min_scale: the number goes no lower.

    >>> from fx import optim
    >>> optimizer = optim.chain(optim.sgd(1.0), optim.reduce_on_plateau(factor=0.5, patience=2))
    >>> state = optimizer.init(fnp.zeros(()))
    >>> for loss in (3.0, 3.0, 3.0):  # two losses that are no better than the first
    ...     update, state = optimizer.update(fnp.ones(()), state, value=loss)
    >>> float(update)
    -0.5

    Raises:
        TreeError: a factor or tolerance outside its range, or ``update`` without ``value=``.
    """
    if not 0 < factor < 1:
        raise TreeError(f"reduce_on_plateau: factor lies between 0 and 1; found {factor}")
    if rtol < 0 or atol < 0 or rtol > 1 or rtol == atol == 0:
        raise TreeError(
            f"reduce_on_plateau: rtol in [0, 1], atol not negative, one of them positive; found {rtol=}, {atol=}"
        )

    def init(params: Tree) -> ReduceLROnPlateauState:
        kinds = [fnp.asarray(p).real.dtype for p in tree.leaves(params)] or [fnp.asarray(0.0).dtype]
        narrow, wide = min(kinds, key=lambda d: fnp.finfo(d).bits), max(kinds, key=lambda d: fnp.finfo(d).bits)
        zero, count = fnp.zeros((), wide), new_count()
        return ReduceLROnPlateauState(fnp.ones((), narrow), zero + fnp.inf, count, count, count, zero)

    def judged(state: ReduceLROnPlateauState) -> ReduceLROnPlateauState:
        better = state.avg_value < (1 - rtol) * state.best_value - atol
        waited = fnp.where(better, 0, incremented(state.plateau_count))
        cooling, reduce = state.cooldown_count > 0, waited == patience
        reduced = fnp.maximum(fnp.where(reduce, state.scale * factor, state.scale), min_scale)
        new = ReduceLROnPlateauState(
            fnp.where(cooling, state.scale, reduced),
            fnp.where(better, state.avg_value, state.best_value),
            fnp.where(cooling | reduce, 0, waited),
            fnp.where(cooling, state.cooldown_count - 1, fnp.where(reduce, cooldown, 0)),
            fnp.zeros_like(state.count),
            fnp.zeros_like(state.avg_value),
        )
        return chosen(True, new, state)

    def update(
        updates: Tree, state: ReduceLROnPlateauState, params: Tree = None, *, value: Any = None, **extra: Any
    ) -> tuple[Tree, Tree]:
        if value is None:
            raise TreeError(
                "reduce_on_plateau needs the loss: call optimizer.update(gradient, state, params, value=loss)"
            )
        count = incremented(state.count)
        mean = (state.count * state.avg_value + fnp.asarray(value).astype(state.avg_value.dtype)) / count
        state = state._replace(count=count, avg_value=mean.astype(state.avg_value.dtype))
        state = chosen(count == accumulation_size, judged(state), state)
        return tree.map(lambda u: state.scale.astype(u.real.dtype) * u, updates), state

    return GradientTransformationExtraArgs(init, update)
