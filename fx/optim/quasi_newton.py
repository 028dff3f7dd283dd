"""Curvature from differences of gradients: L-BFGS."""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import lax, tree
from .. import numpy as fnp
from ..errors import TreeError
from . import elsewhere
from .base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    Schedule,
    chain,
    identity,
    incremented,
    new_count,
    required,
)
from .linesearch import scale_by_zoom_linesearch
from .moments import add_scaled, dot, squared_norm, zeros_like
from .scaling import scale, scale_by_learning_rate

__all__ = ["ScaleByLBFGSState", "lbfgs", "scale_by_lbfgs"]

Tree = Any


class ScaleByLBFGSState(NamedTuple):
    """Steps taken, the last parameters and gradient, and the last differences of both with the inverse of their inner
    products, in rings of ``memory_size`` places."""

    count: Any
    params: Tree
    updates: Tree
    diff_params_memory: Tree
    diff_updates_memory: Tree
    weights_memory: Any


def _preconditioned(updates: Tree, steps: Tree, changes: Tree, weights: Any, scaling: Any, oldest: Any) -> Tree:
    """The two-loop recursion (Nocedal, Wright, algorithm 7.4): the inverse Hessian times the gradient."""
    order = (oldest + fnp.arange(weights.shape[0])) % weights.shape[0]
    at = lambda memory, i: tree.map(lambda m: m[i], memory)

    def back(vector: Tree, i: Any) -> tuple[Tree, Any]:
        alpha = weights[i] * dot(at(steps, i), vector)
        return add_scaled(vector, -alpha, at(changes, i)), alpha

    def forth(vector: Tree, pair: tuple[Any, Any]) -> tuple[Tree, None]:
        i, alpha = pair
        beta = weights[i] * dot(at(changes, i), vector)
        return add_scaled(vector, alpha - beta, at(steps, i)), None

    vector, alphas = lax.scan(back, updates, order, reverse=True)
    vector = tree.map(lambda v: (scaling * v).astype(v.dtype), vector)
    return lax.scan(forth, vector, (order, alphas))[0]


def scale_by_lbfgs(memory_size: int = 10, scale_init_precond: bool = True) -> GradientTransformation:
    """The gradient times an estimate of the inverse Hessian, from the last ``memory_size`` steps.

    Args:
        scale_init_precond: start the estimate from the identity times <dg, dp> / <dg, dg> of the last step (at the
            first step: divided by the gradient's norm if that is above 1).

    Source: Nocedal, Wright, "Numerical optimization", chapter 7.2.
    """
    if memory_size < 1:
        raise TreeError(f"scale_by_lbfgs: memory_size is at least 1; found {memory_size}")

    def init(params: Tree) -> ScaleByLBFGSState:
        ring = tree.map(lambda p: fnp.zeros((memory_size, *p.shape), p.dtype), params)
        zeros = zeros_like(params)
        return ScaleByLBFGSState(new_count(), zeros, zeros, ring, ring, fnp.zeros(memory_size, dot(zeros, zeros).dtype))

    def update(updates: Tree, state: ScaleByLBFGSState, params: Tree = None) -> tuple[Tree, Tree]:
        begun = state.count > 0
        step, change = [
            tree.map(lambda new, old: fnp.where(begun, new - old, fnp.zeros_like(old)).astype(old.dtype), new, old)
            for new, old in ((required(params, "scale_by_lbfgs"), state.params), (updates, state.updates))
        ]
        product, size = dot(change, step), squared_norm(change)
        weight = fnp.where(product == 0.0, 0.0, 1.0 / fnp.where(product == 0.0, 1.0, product))
        put = lambda ring, x: ring.at[(state.count - 1) % memory_size].set(x)
        steps = tree.map(put, state.diff_params_memory, step)
        changes = tree.map(put, state.diff_updates_memory, change)
        weights = put(state.weights_memory, weight.astype(state.weights_memory.dtype))
        scaling = fnp.asarray(1.0)
        if scale_init_precond:
            scaling = fnp.where(size > 0.0, product / fnp.where(size > 0.0, size, 1.0), 1.0)
            first = fnp.minimum(1.0, 1.0 / fnp.sqrt(squared_norm(updates)))
            scaling = fnp.where(begun, scaling, first)
        new = _preconditioned(updates, steps, changes, weights, scaling, state.count % memory_size)
        return new, ScaleByLBFGSState(incremented(state.count), params, updates, steps, changes, weights)

    return GradientTransformation(init, update)


_ZOOM = scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")


@elsewhere.optimizer
def lbfgs(
    learning_rate: Any | Schedule | None = None, memory_size: int = 10, scale_init_precond: bool = True,
    linesearch: GradientTransformation | None = _ZOOM,
) -> GradientTransformationExtraArgs:  # fmt: skip
    """L-BFGS: for smooth objectives without noise. ``update`` takes ``value=``, ``grad=`` and ``value_fn=``; see
    ``value_and_grad_from_state`` for the loop.

    Args:
        learning_rate: the step before the line search; None for 1.
        memory_size: past steps that the curvature is taken from.
        scale_init_precond: see ``scale_by_lbfgs``.
        linesearch: last part of the chain; None for steps of the learning rate alone.
    """
    step = scale(-1.0) if learning_rate is None else scale_by_learning_rate(learning_rate)
    return chain(
        scale_by_lbfgs(memory_size, scale_init_precond), step, identity() if linesearch is None else linesearch
    )
