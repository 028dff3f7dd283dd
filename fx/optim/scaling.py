"""Transformations that scale: by numbers, schedules, signs and norms; momentum and decayed weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .. import numpy as fnp
from .. import random, tree
from ..errors import ArgumentError
from .base import (
    EmptyState,
    GradientTransformation,
    Schedule,
    exact,
    identity,
    incremented,
    new_count,
    required,
    scheduled,
    stateless,
    stateless_with_tree_map,
)
from .moments import cast, global_norm, moment, safe_norm, safe_root_mean_squares, unbiased, zeros_like
from .selecting import masked

__all__ = [
    "AddNoiseState", "EmaState", "ScaleByScheduleState", "TraceState", "WeightDecaySchedule", "add_decayed_weights",
    "add_l1_penalty", "add_l2_penalty", "add_noise", "centralize", "ema", "keep_params_nonnegative",
    "normalize_by_update_norm", "scale", "scale_by_learning_rate", "scale_by_param_block_norm", "scale_by_param_block_rms",
    "scale_by_schedule", "scale_by_sign", "scale_by_trust_ratio", "trace",
]  # fmt: skip

Tree = Any
Mask = Tree | Callable[[Tree], Tree] | None


class TraceState(NamedTuple):
    """The decaying sum of past updates."""

    trace: Tree


class EmaState(NamedTuple):
    """Updates seen, and their running mean."""

    count: Any
    ema: Tree


class ScaleByScheduleState(NamedTuple):
    """Steps taken."""

    count: Any


class WeightDecaySchedule(NamedTuple):
    """Steps taken."""

    count: Any


class AddNoiseState(NamedTuple):
    """Steps taken, and the key of the next noise."""

    count: Any
    rng_key: Any


def scale(step_size: Any) -> GradientTransformation:
    """Multiplies the updates by a number."""
    return stateless(lambda updates, params: tree.map(lambda u: step_size * u, updates))


def scale_by_schedule(step_size_fn: Schedule) -> GradientTransformation:
    """Multiplies the updates by ``step_size_fn(steps taken before)``."""

    def update(updates: Tree, state: ScaleByScheduleState, params: Tree = None) -> tuple[Tree, Tree]:
        factor = scheduled(step_size_fn, state.count, updates)
        scaled = tree.map(lambda u: fnp.asarray(factor, u.dtype) * u, updates)
        return scaled, ScaleByScheduleState(incremented(state.count))

    return GradientTransformation(lambda params: ScaleByScheduleState(new_count()), update)


def scale_by_learning_rate(
    learning_rate: Any | Schedule | None = None, *, flip_sign: bool = True
) -> GradientTransformation:
    """Multiplies the updates by minus the learning rate: a number, or a schedule; None leaves them as they are.

    Args:
        flip_sign: False for plus the learning rate.
    """
    if learning_rate is None:
        return identity()
    if isinstance(learning_rate, (str, bytes)) or tree.is_tree_node(type(learning_rate)):
        hint = (
            ""
            if isinstance(learning_rate, (str, bytes))
            else ". Parameters are given to init: optim.adam(1e-3).init(params)"
        )
        raise ArgumentError(
            f"a learning rate is a number, or a schedule (a function of the step); found {learning_rate!r}{hint}"
        )
    sign = -1 if flip_sign else 1
    if callable(learning_rate):
        return scale_by_schedule(lambda count: sign * learning_rate(count))
    return scale(sign * learning_rate)


def trace(decay: Any, nesterov: bool = False, accumulator_dtype: Any = None) -> GradientTransformation:
    """Momentum: m <- g + decay m; the update is m, or g + decay m with ``nesterov``.

    Args:
        accumulator_dtype: dtype of m; None for that of the parameters.
    """

    def update(updates: Tree, state: TraceState, params: Tree = None) -> tuple[Tree, Tree]:
        step = lambda g, m: g + decay * m
        m = tree.map(step, updates, state.trace)
        return (tree.map(step, updates, m) if nesterov else m), TraceState(cast(m, accumulator_dtype))

    return GradientTransformation(lambda params: TraceState(zeros_like(params, accumulator_dtype)), update)


def ema(decay: Any, debias: bool = True, accumulator_dtype: Any = None) -> GradientTransformation:
    """The updates' running mean: m <- (1 - decay) g + decay m, over 1 - decay**t with ``debias``."""

    def update(updates: Tree, state: EmaState, params: Tree = None) -> tuple[Tree, Tree]:
        mean, count = moment(updates, state.ema, decay), incremented(state.count)
        return (unbiased(mean, decay, count) if debias else mean), EmaState(count, cast(mean, accumulator_dtype))

    return GradientTransformation(lambda params: EmaState(new_count(), zeros_like(params, accumulator_dtype)), update)


# ------------------------------------------------------------------------------------------ penalties


def add_decayed_weights(weight_decay: Any | Schedule = 0.0, mask: Mask = None) -> GradientTransformation:
    """Adds ``weight_decay`` times the parameters to the updates.

    Before the preconditioner this is the gradient of an L2 penalty; behind it, weight decay proper (Loshchilov, Hutter, 2019).

    Args:
        weight_decay: a number, or a function of the number of steps taken.
        mask: tree of bools in the structure of the parameters, a prefix of one, or a function from the parameters to it:
            which ones decay.

    Raises:
        TreeError: ``update`` was called without the parameters.

    >>> import fx.numpy as fnp
    >>> from fx import optim
    >>> optimizer, w = optim.chain(optim.add_decayed_weights(0.1), optim.sgd(1.0)), fnp.array([1.0, 2.0])
    >>> updates, state = optimizer.update(fnp.zeros(2), optimizer.init(w), w)
    >>> updates
    Array([-0.1, -0.2], dtype=float32)
    """

    def init(params: Tree) -> Tree:
        return WeightDecaySchedule(new_count()) if callable(weight_decay) else EmptyState()

    def update(updates: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        required(params, "weight decay")
        if not callable(weight_decay):
            return tree.map(lambda g, p: g + weight_decay * p, updates, params), state
        factor = scheduled(weight_decay, state.count, updates)
        decayed = tree.map(lambda g, p: g + fnp.asarray(factor, g.dtype) * p, updates, params)
        return decayed, WeightDecaySchedule(incremented(state.count))

    transformation = GradientTransformation(init, update)
    return transformation if mask is None else masked(transformation, mask)


def add_l2_penalty(strength: Any, mask: Mask = None) -> GradientTransformation:
    """Adds the gradient of ``strength / 2 * sum(|p|**2)`` to the updates: put it first in a chain."""
    return add_decayed_weights(strength, mask)


def add_l1_penalty(strength: Any, mask: Mask = None) -> GradientTransformation:
    """Adds the gradient of ``strength * sum(|p|)`` (0 where p = 0) to the updates: put it first in a chain.

    >>> penalty = add_l1_penalty(0.5)
    >>> penalty.update(fnp.zeros(3), penalty.init(None), fnp.asarray([2.0, 0.0, -3.0]))[0]
    Array([ 0.5,  0. , -0.5], dtype=float32)
    """
    penalty = stateless(
        lambda updates, params: tree.map(
            lambda g, p: g + strength * fnp.sign(p), updates, required(params, "an L1 penalty")
        )
    )
    return penalty if mask is None else masked(penalty, mask)


def add_noise(eta: Any, gamma: Any, key: Any) -> GradientTransformation:
    """Adds normal noise of variance ``eta / t**gamma`` (Neelakantan et al., 2015).

    Args:
        key: a key of ``fx.random``, or a number that seeds one.
    """

    def init(params: Tree) -> AddNoiseState:
        return AddNoiseState(new_count(), random.key(key) if isinstance(key, int) else key)

    def update(updates: Tree, state: AddNoiseState, params: Tree = None) -> tuple[Tree, Tree]:
        count = incremented(state.count)
        deviation = fnp.sqrt(eta / exact(count) ** gamma)
        following, now = random.split(state.rng_key)
        leaves, structure = tree.flatten(updates)
        keys = random.split(now, len(leaves))
        noisy = [
            g + deviation.astype(g.real.dtype) * random.normal(keys[i], g.shape, g.dtype) for i, g in enumerate(leaves)
        ]
        return structure.unflatten(noisy), AddNoiseState(count, following)

    return GradientTransformation(init, update)


# ------------------------------------------------------------------------------------- signs and norms


def scale_by_sign() -> GradientTransformation:
    """The signs of the updates."""
    return stateless(lambda updates, params: tree.map(fnp.sign, updates))


def scale_by_param_block_norm(min_scale: Any = 1e-3) -> GradientTransformation:
    """Multiplies each leaf by the norm of its parameter, at least ``min_scale``."""
    return _by_param(lambda u, p: u * safe_norm(p, min_scale), "scale_by_param_block_norm")


def scale_by_param_block_rms(min_scale: Any = 1e-3) -> GradientTransformation:
    """Multiplies each leaf by the root mean square of its parameter, at least ``min_scale``."""
    return _by_param(lambda u, p: u * safe_root_mean_squares(p, min_scale), "scale_by_param_block_rms")


def scale_by_trust_ratio(min_norm: Any = 0.0, trust_coefficient: Any = 1.0, eps: Any = 0.0) -> GradientTransformation:
    """Multiplies each leaf by ``trust_coefficient |p| / (|u| + eps)``; by 1 if either norm is 0 (You et al., 2017)."""

    def leaf(u: Any, p: Any) -> Any:
        size, step = safe_norm(p, min_norm), safe_norm(u, min_norm)
        ratio = trust_coefficient * size / (step + eps)
        return u * fnp.where((size == 0) | (step == 0), fnp.ones_like(ratio), ratio)

    return _by_param(leaf, "scale_by_trust_ratio")


def keep_params_nonnegative() -> GradientTransformation:
    """Updates that end at 0 where they would make a parameter negative; the last of a chain."""
    return _by_param(lambda u, p: fnp.where(p + u < 0, -p, u), "keep_params_nonnegative")


def _by_param(f: Callable[[Any, Any], Any], who: str) -> GradientTransformation:
    return stateless(lambda updates, params: tree.map(f, updates, required(params, who)))


def normalize_by_update_norm(scale_factor: Any = 1.0, eps: Any = 1e-6) -> GradientTransformation:
    """``scale_factor * u / (|u| + eps)``, the norm over all leaves together."""

    def whole(updates: Tree, params: Tree) -> Tree:
        norm = (global_norm(updates) + eps) / scale_factor
        return tree.map(lambda u: u / norm.astype(u.real.dtype), updates)

    return stateless(whole)


def centralize() -> GradientTransformation:
    """Subtracts from each leaf of more than one axis its mean over all axes but the first (Yong et al., 2020)."""
    return stateless_with_tree_map(
        lambda u, p: u - fnp.mean(u, axis=tuple(range(1, u.ndim)), keepdims=True) if u.ndim > 1 else u
    )
