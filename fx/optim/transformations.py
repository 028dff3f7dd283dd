"""Gradient transformations: the parts that optimizers are chained from.

``init(params) -> state`` and ``update(updates, state, params=None) -> (updates, state)``, where ``updates`` has the
structure of the parameters and is at first their gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .. import dtypes, tree
from .. import numpy as fnp
from ..errors import TreeError

__all__ = [
    "EmptyState", "GradientTransformation", "ScaleByAdamState", "ScaleByScheduleState", "Schedule", "TraceState",
    "add_decayed_weights", "apply_updates", "chain", "identity", "scale", "scale_by_adam", "scale_by_learning_rate",
    "scale_by_schedule", "trace",
]  # fmt: skip

Tree = Any
Schedule = Callable[[Any], Any]
"""From the number of steps taken to a factor."""


class GradientTransformation(NamedTuple):
    """``init(params) -> state``; ``update(updates, state, params=None) -> (updates, state)``."""

    init: Callable[[Tree], Tree]
    update: Callable[..., tuple[Tree, Tree]]


class EmptyState(NamedTuple):
    """The state of a transformation that keeps none."""


class TraceState(NamedTuple):
    """The decaying sum of past updates."""

    trace: Tree


class ScaleByAdamState(NamedTuple):
    """Steps taken, and the running means of the gradient and of its square."""

    count: Any
    mu: Tree
    nu: Tree


class ScaleByScheduleState(NamedTuple):
    """Steps taken."""

    count: Any


def apply_updates(params: Tree, updates: Tree) -> Tree:
    """``params + updates``, each in the dtype of its parameter."""
    return tree.map(lambda p, u: (p + u).astype(fnp.asarray(p).dtype), params, updates)


def chain(*transformations: GradientTransformation) -> GradientTransformation:
    """One transformation after the other; the state is the tuple of their states."""

    def init(params: Tree) -> Tree:
        return tuple(t.init(params) for t in transformations)

    def update(updates: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        if not isinstance(state, tuple) or len(state) != len(transformations):
            raise TreeError(
                f"chain of {len(transformations)} transformations: update takes the state that its init or update returned,"
                f" a tuple of that length; found {type(state).__name__}"
            )
        new_state = []
        for t, s in zip(transformations, state):
            updates, s = t.update(updates, s, params)
            new_state.append(s)
        return updates, tuple(new_state)

    return GradientTransformation(init, update)


def _stateless(f: Callable[[Tree, Tree], Tree]) -> GradientTransformation:
    """A transformation without state: ``f(updates, params) -> updates``."""
    return GradientTransformation(
        lambda params: EmptyState(), lambda updates, state, params=None: (f(updates, params), state)
    )


def identity() -> GradientTransformation:
    """Leaves the updates as they are."""
    return _stateless(lambda updates, params: updates)


def scale(step_size: Any) -> GradientTransformation:
    """Multiplies the updates by a number."""
    return _stateless(lambda updates, params: tree.map(lambda u: step_size * u, updates))


def scale_by_schedule(step_size_fn: Schedule) -> GradientTransformation:
    """Multiplies the updates by ``step_size_fn(steps taken before)``."""

    def update(updates: Tree, state: ScaleByScheduleState, params: Tree = None) -> tuple[Tree, Tree]:
        factor = step_size_fn(state.count)
        scaled = tree.map(lambda u: fnp.asarray(factor, u.dtype) * u, updates)
        return scaled, ScaleByScheduleState(state.count + 1)

    return GradientTransformation(lambda params: ScaleByScheduleState(fnp.zeros((), "int32")), update)


def scale_by_learning_rate(learning_rate: float | Schedule) -> GradientTransformation:
    """Multiplies the updates by minus the learning rate: a number, or a schedule."""
    if callable(learning_rate):
        return scale_by_schedule(lambda count: -learning_rate(count))
    return scale(-learning_rate)


def trace(decay: float, nesterov: bool = False) -> GradientTransformation:
    """Momentum: m <- g + decay m; the update is m, or g + decay m with ``nesterov``."""

    def update(updates: Tree, state: TraceState, params: Tree = None) -> tuple[Tree, Tree]:
        step = lambda g, m: g + decay * m
        m = tree.map(step, updates, state.trace)
        return (tree.map(step, updates, m) if nesterov else m), TraceState(m)

    return GradientTransformation(lambda params: TraceState(tree.map(fnp.zeros_like, params)), update)


def scale_by_adam(
    b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8, eps_root: float = 0.0, *, nesterov: bool = False
) -> GradientTransformation:
    """Adam without its learning rate::

        mu <- b1 mu + (1 - b1) g          mu' = mu / (1 - b1**t)
        nu <- b2 nu + (1 - b2) g**2       nu' = nu / (1 - b2**t)
        update = mu' / (sqrt(nu' + eps_root) + eps)

    Args:
        nesterov: use the running mean as it will be after the next step (Dozat, 2016).

    Source: Kingma, Ba, "Adam: a method for stochastic optimization", 2015.
    """

    def init(params: Tree) -> ScaleByAdamState:
        zeros = tree.map(fnp.zeros_like, params)
        return ScaleByAdamState(fnp.zeros((), "int32"), zeros, zeros)

    def update(updates: Tree, state: ScaleByAdamState, params: Tree = None) -> tuple[Tree, Tree]:
        count = state.count + 1
        mu = tree.map(lambda g, m: (1 - b1) * g + b1 * m, updates, state.mu)
        nu = tree.map(lambda g, v: (1 - b2) * _norm(g) + b2 * v, updates, state.nu)
        mean = _unbiased(mu, b1, count)
        if nesterov:
            ahead, now = _unbiased(mu, b1, count + 1), _unbiased(updates, b1, count)
            mean = tree.map(lambda m, g: b1 * m + (1 - b1) * g, ahead, now)
        square = _unbiased(nu, b2, count)
        step = tree.map(lambda m, v: m / (fnp.sqrt(v + eps_root) + eps), mean, square)
        return step, ScaleByAdamState(count, mu, nu)

    return GradientTransformation(init, update)


def _norm(g: Any) -> Any:
    return fnp.square(fnp.abs(g)) if dtypes.is_complex(g.dtype) else fnp.square(g)


def _unbiased(moment: Tree, decay: float, count: Any) -> Tree:
    """The running mean without the pull of its start at 0; the correction in float32 even for half precision."""
    correction = 1 - decay ** count.astype("float32")
    return tree.map(lambda m: m / correction.astype(m.dtype), moment)


def add_decayed_weights(
    weight_decay: float, mask: Tree | Callable[[Tree], Tree] | None = None
) -> GradientTransformation:
    """Adds ``weight_decay`` times the parameters to the updates.

    Args:
        mask: tree of bools in the structure of the parameters (or a function from them to it): which ones decay.

    Raises:
        TreeError: ``update`` was called without the parameters.
    """

    def update(updates: Tree, params: Tree) -> Tree:
        if params is None:
            raise TreeError("weight decay needs the parameters: call optimizer.update(gradient, state, params)")
        if mask is None:
            return tree.map(lambda g, p: g + weight_decay * p, updates, params)
        chosen = mask(params) if callable(mask) else mask
        return tree.map(lambda g, p, m: g + weight_decay * p if m else g, updates, params, chosen)

    return _stateless(update)
