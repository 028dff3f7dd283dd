"""Transformations that hold each gradient against the one before."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import numpy as fnp
from .. import tree
from .base import GradientTransformation, incremented, new_count
from .moments import full_like, moment, squared, unbiased, zeros_like

__all__ = [
    "ScaleByAdanState", "ScaleByOptimisticGradientState", "ScaleByRpropState", "scale_by_adan", "scale_by_optimistic_gradient",
    "scale_by_rprop",
]  # fmt: skip

Tree = Any


class ScaleByAdanState(NamedTuple):
    """The running means of the gradient, of its change and of the square of both; the last gradient, and steps taken."""

    m: Tree
    v: Tree
    n: Tree
    g: Tree
    t: Any


class ScaleByOptimisticGradientState(NamedTuple):
    """Whether no step was taken, and the last gradient."""

    is_initial_step: Any
    previous_gradient: Tree


class ScaleByRpropState(NamedTuple):
    """The size of the steps of each number, and the steps last taken."""

    step_sizes: Tree
    prev_updates: Tree


def scale_by_adan(
    b1: Any = 0.98, b2: Any = 0.92, b3: Any = 0.99, eps: Any = 1e-8, eps_root: Any = 0.0
) -> GradientTransformation:
    """Adan without its learning rate, where d = g - g before, 0 at first::

        m <- b1 m + (1 - b1) g       v <- b2 v + (1 - b2) d       n <- b3 n + (1 - b3) |g + (1 - b2) d|**2
        update = (m' + (1 - b2) v') / (sqrt(n' + eps_root) + eps)       ' without the pull of the start at 0

    Source: Xie et al., "Adan: adaptive Nesterov momentum algorithm for faster optimizing deep models", 2022.
    """

    def init(params: Tree) -> ScaleByAdanState:
        zeros = zeros_like(params)
        return ScaleByAdanState(zeros, zeros, zeros, zeros, new_count())

    def update(updates: Tree, state: ScaleByAdanState, params: Tree = None) -> tuple[Tree, Tree]:
        change = tree.map(lambda g, old: fnp.where(state.t == 0, 0, g - old), updates, state.g)
        ahead = tree.map(lambda g, d: g + (1 - b2) * d, updates, change)
        m, v, n = moment(updates, state.m, b1), moment(change, state.v, b2), moment(ahead, state.n, b3, squared)
        t = incremented(state.t)
        step = lambda m, v, n: (m + (1 - b2) * v) / (fnp.sqrt(n + eps_root) + eps)
        steps = tree.map(step, unbiased(m, b1, t), unbiased(v, b2, t), unbiased(n, b3, t))
        return steps, ScaleByAdanState(m, v, n, updates, t)

    return GradientTransformation(init, update)


def scale_by_optimistic_gradient(alpha: Any = 1.0, beta: Any = 1.0) -> GradientTransformation:
    """(alpha + beta) g - beta (g before); see ``optimistic_gradient_descent``."""

    def init(params: Tree) -> ScaleByOptimisticGradientState:
        return ScaleByOptimisticGradientState(fnp.asarray(True), zeros_like(params))

    def update(updates: Tree, state: ScaleByOptimisticGradientState, params: Tree = None) -> tuple[Tree, Tree]:
        before = tree.map(lambda g, old: fnp.where(state.is_initial_step, g, old), updates, state.previous_gradient)
        ahead = tree.map(lambda g, old: (alpha + beta) * g - beta * old, updates, before)
        return ahead, ScaleByOptimisticGradientState(fnp.asarray(False), updates)

    return GradientTransformation(init, update)


def scale_by_rprop(
    learning_rate: Any, eta_minus: Any = 0.5, eta_plus: Any = 1.2, min_step_size: Any = 1e-6, max_step_size: Any = 50.0
) -> GradientTransformation:
    """The signs of the gradient times steps that grow and shrink; see ``rprop``."""

    def init(params: Tree) -> ScaleByRpropState:
        return ScaleByRpropState(full_like(params, learning_rate), zeros_like(params))

    def size(agree: Any, old: Any) -> Any:
        new = fnp.clip(fnp.where(agree > 0, old * eta_plus, old * eta_minus), min_step_size, max_step_size)
        return fnp.where(agree == 0, old, new)

    def update(updates: Tree, state: ScaleByRpropState, params: Tree = None) -> tuple[Tree, Tree]:
        agree = tree.map(lambda g, old: g * old, updates, state.prev_updates)
        sizes = tree.map(size, agree, state.step_sizes)
        steps = tree.map(lambda a, g, s: fnp.where(a < 0, 0, s * fnp.sign(g)), agree, updates, sizes)
        return steps, ScaleByRpropState(sizes, steps)

    return GradientTransformation(init, update)
