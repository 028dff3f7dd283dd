"""Optimizers as triples of functions: ``init``, ``update``, ``get_params``.

>>> import fx.numpy as fnp
>>> init, update, get_params = sgd(0.1)
>>> state = init({"w": fnp.array([1.0, 2.0])})
>>> state = update(0, {"w": fnp.array([1.0, 1.0])}, state)
>>> get_params(state)
{'w': Array([0.9, 1.9], dtype=float32)}

``update(i, gradients, state)`` takes the number of the step first, of which step sizes may be functions (schedules).
For new programs there is ``fx.optim``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from .. import numpy as fnp
from .. import tree
from ..errors import ShapeError, TreeError
from ..numpy.core import as_value

__all__ = [
    "JoinPoint", "Optimizer", "OptimizerState", "adagrad", "adam", "adamax", "clip_grads", "constant", "exponential_decay",
    "inverse_time_decay", "l2_norm", "make_schedule", "momentum", "nesterov", "optimizer", "pack_optimizer_state",
    "piecewise_constant", "polynomial_decay", "rmsprop", "rmsprop_momentum", "sgd", "sm3", "unpack_optimizer_state",
]  # fmt: skip

Value = Any
Schedule = Callable[[Any], Any]


class OptimizerState(NamedTuple):
    """The states of all parameters: the leaves of each, the structure of the parameters, the structure of each state."""

    packed_state: Any
    tree_def: Any
    subtree_defs: Any


tree.register_pytree_node(
    OptimizerState,
    lambda s: ((s.packed_state,), (s.tree_def, s.subtree_defs)),
    lambda aux, children: OptimizerState(children[0], *aux),
)


class Optimizer(NamedTuple):
    """The triple that an optimizer is."""

    init_fn: Callable[..., Any]
    update_fn: Callable[..., Any]
    params_fn: Callable[..., Any]


def _packed(states: Sequence[Any], treedef: Any) -> OptimizerState:
    pairs = [tree.flatten(s) for s in states]
    return OptimizerState(tuple([tuple(leaves) for leaves, _ in pairs]), treedef, tuple([d for _, d in pairs]))


def _states(state: OptimizerState) -> list[Any]:
    return [tree.unflatten(d, leaves) for d, leaves in zip(state.subtree_defs, state.packed_state)]


def optimizer(opt_maker: Callable[..., Any]) -> Callable[..., Optimizer]:
    """Decorator: makes an optimizer of arrays one of pytrees.

    Args:
        opt_maker: returns ``(init, update, get_params)``, each for one array: ``init(x) -> state``,
            ``update(i, gradient, state) -> state``, ``get_params(state) -> x``.
    """

    @functools.wraps(opt_maker)
    def make(*args: Any, **kwargs: Any) -> Optimizer:
        init, update, get_params = opt_maker(*args, **kwargs)

        def tree_init(params: Any) -> OptimizerState:
            leaves, treedef = tree.flatten(params)
            return _packed([init(x) for x in leaves], treedef)

        def tree_update(i: Any, gradients: Any, state: OptimizerState) -> OptimizerState:
            leaves, treedef = tree.flatten(gradients)
            if treedef != state.tree_def:
                raise TreeError(f"the gradients have the structure {treedef}, the parameters {state.tree_def}")
            new = _packed([update(i, g, s) for g, s in zip(leaves, _states(state))], treedef)
            if new.subtree_defs != state.subtree_defs:
                raise TreeError(f"{opt_maker.__name__}: update returned states of another structure than it was given")
            return new

        def tree_params(state: OptimizerState) -> Any:
            return tree.unflatten(state.tree_def, [get_params(s) for s in _states(state)])

        return Optimizer(tree_init, tree_update, tree_params)

    return make


def _with_zeros(n: int) -> Callable[[Value], tuple[Value, ...]]:
    """``init`` of a state that is the parameter and ``n`` arrays of zeros like it."""
    return lambda x: (x, *[fnp.zeros_like(x) for _ in range(n)])


def _first(state: Sequence[Value]) -> Value:
    return state[0]


# ---------------------------------------------------------------------------------------- optimizers


@optimizer
def sgd(step_size: Any) -> Any:
    """x - step * g.  ``step_size`` is a number, or a function of the number of the step, here and below."""
    step = make_schedule(step_size)
    return lambda x: x, lambda i, g, x: x - step(i) * g, lambda x: x


@optimizer
def momentum(step_size: Any, mass: Any) -> Any:
    """x - step * v, with the velocity v = mass * v + g."""
    step = make_schedule(step_size)

    def update(i: Any, g: Value, state: Any) -> Any:
        x, v = state
        v = mass * v + g
        return x - step(i) * v, v

    return _with_zeros(1), update, _first


@optimizer
def nesterov(step_size: Any, mass: Any) -> Any:
    """Momentum that looks ahead: x - step * (mass * v + g), with v = mass * v + g."""
    step = make_schedule(step_size)

    def update(i: Any, g: Value, state: Any) -> Any:
        x, v = state
        v = mass * v + g
        return x - step(i) * (mass * v + g), v

    return _with_zeros(1), update, _first


def _inverse_root(x: Value) -> Value:
    """1 / sqrt(x), and 0 for 0."""
    return fnp.where(x > 0, 1 / fnp.sqrt(fnp.where(x > 0, x, 1)), 0)


@optimizer
def adagrad(step_size: Any, momentum: Any = 0.9) -> Any:
    """Steps divided by the root of the sum of squared gradients (Duchi, Hazan, Singer, 2011)."""
    step = make_schedule(step_size)

    def update(i: Any, g: Value, state: Any) -> Any:
        x, total, m = state
        total = total + fnp.square(g)
        m = (1 - momentum) * (g * _inverse_root(total)) + momentum * m
        return x - step(i) * m, total, m

    return _with_zeros(2), update, _first


@optimizer
def rmsprop(step_size: Any, gamma: Any = 0.9, eps: Any = 1e-8) -> Any:
    """Steps divided by the root of a moving mean of squared gradients (Tieleman, Hinton, 2012)."""
    step = make_schedule(step_size)

    def update(i: Any, g: Value, state: Any) -> Any:
        x, mean = state
        mean = mean * gamma + fnp.square(g) * (1 - gamma)
        return x - step(i) * g / fnp.sqrt(mean + eps), mean

    return _with_zeros(1), update, _first


@optimizer
def rmsprop_momentum(step_size: Any, gamma: Any = 0.9, eps: Any = 1e-8, momentum: Any = 0.9) -> Any:
    """``rmsprop`` with momentum."""
    step = make_schedule(step_size)

    def update(i: Any, g: Value, state: Any) -> Any:
        x, mean, v = state
        mean = mean * gamma + fnp.square(g) * (1 - gamma)
        v = momentum * v + step(i) * g / fnp.sqrt(mean + eps)
        return x - v, mean, v

    return _with_zeros(2), update, _first


def _unbiased(m: Value, decay: Any, i: Any) -> Value:
    """The factor 1 - decay ** (i + 1) by which a moving mean that began at 0 falls short."""
    return 1 - fnp.asarray(decay, m.dtype) ** (i + 1)


@optimizer
def adam(step_size: Any, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8) -> Any:
    """Moving means of gradients over the root of those of their squares (Kingma, Ba, 2015)."""
    step = make_schedule(step_size)

    def update(i: Any, g: Value, state: Any) -> Any:
        x, m, v = state
        m = (1 - b1) * g + b1 * m
        v = (1 - b2) * fnp.square(g) + b2 * v
        ratio = m / _unbiased(m, b1, i) / (fnp.sqrt(v / _unbiased(m, b2, i)) + eps)
        return x - step(i) * ratio, m, v

    return _with_zeros(2), update, _first


@optimizer
def adamax(step_size: Any, b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8) -> Any:
    """Adam with the greatest of the decayed gradients in place of the root of squares (Kingma, Ba, 2015)."""
    step = make_schedule(step_size)

    def update(i: Any, g: Value, state: Any) -> Any:
        x, m, u = state
        m = (1 - b1) * g + b1 * m
        u = fnp.maximum(b2 * u, fnp.abs(g))
        return x - step(i) / _unbiased(m, b1, i) * m / (u + eps), m, u

    return _with_zeros(2), update, _first


@optimizer
def sm3(step_size: Any, momentum: Any = 0.9) -> Any:
    """Adagrad with one accumulator for each row, column ... in place of one for each element (Anil et al., 2019)."""
    step = make_schedule(step_size)

    def init(x: Any) -> Any:
        x = as_value(x)
        return x, fnp.zeros_like(x), [fnp.zeros(n, x.dtype) for n in x.shape or (1,)]

    def update(i: Any, g: Any, state: Any) -> Any:
        x, m, rows = state
        shape = x.shape or (1,)
        along = [fnp.reshape(v, [n if k == axis else 1 for k, n in enumerate(shape)]) for axis, v in enumerate(rows)]
        total = functools.reduce(fnp.minimum, along) + fnp.reshape(fnp.square(g), shape)
        m = (1 - momentum) * (g * fnp.reshape(_inverse_root(total), x.shape)) + momentum * m
        others = [tuple(k for k in range(len(shape)) if k != axis) for axis in range(len(shape))]
        return x - step(i) * m, m, [fnp.max(total, axes) if axes else total for axes in others]

    return init, update, _first


# ----------------------------------------------------------------------------------------- schedules


def constant(step_size: Any) -> Schedule:
    """The same at every step."""
    return lambda i: step_size


def exponential_decay(step_size: Any, decay_steps: Any, decay_rate: Any) -> Schedule:
    """step_size * decay_rate ** (i / decay_steps)"""
    return lambda i: step_size * decay_rate ** (i / decay_steps)


def inverse_time_decay(step_size: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False) -> Schedule:
    """step_size / (1 + decay_rate * i / decay_steps); ``staircase`` rounds i / decay_steps down."""
    if staircase:
        return lambda i: step_size / (1 + decay_rate * fnp.floor(i / decay_steps))
    return lambda i: step_size / (1 + decay_rate * i / decay_steps)


def polynomial_decay(step_size: Any, decay_steps: Any, final_step_size: Any, power: Any = 1.0) -> Schedule:
    """From ``step_size`` to ``final_step_size`` in ``decay_steps`` steps, as (1 - i / decay_steps) ** power falls."""

    def schedule(i: Any) -> Value:
        left = (1 - fnp.minimum(i, decay_steps) / decay_steps) ** power
        return left * (step_size - final_step_size) + final_step_size

    return schedule


def piecewise_constant(boundaries: Any, values: Any) -> Schedule:
    """``values[k]`` after the step has passed k of the ``boundaries``."""
    boundaries, values = fnp.array(boundaries), fnp.array(values)
    if boundaries.ndim != 1 or values.shape != (boundaries.size + 1,):
        raise ShapeError(
            f"piecewise_constant takes a list of boundaries and one value more; found shapes {boundaries.shape} and {values.shape}"
        )
    return lambda i: values[fnp.sum(i > boundaries)]


def make_schedule(scalar_or_schedule: Any) -> Schedule:
    """A number as a constant schedule; a schedule as it is.

    Raises:
        TypeError: it is neither.
    """
    if callable(scalar_or_schedule):
        return scalar_or_schedule
    if fnp.ndim(scalar_or_schedule):
        raise TypeError(
            f"a step size is a number or a function of the step; found shape {fnp.shape(scalar_or_schedule)}"
        )
    return constant(scalar_or_schedule)


# ------------------------------------------------------------------------------------------- the rest


def l2_norm(tree: Any) -> Value:
    """The root of the sum of the squares of all elements."""
    return fnp.sqrt(sum(fnp.vdot(x, x) for x in _leaves(tree)))


_leaves = tree.leaves


def clip_grads(grad_tree: Any, max_norm: Any) -> Any:
    """Gradients scaled down to a norm of ``max_norm``, if theirs is greater."""
    norm = l2_norm(grad_tree)
    return tree.map(lambda g: fnp.where(norm < max_norm, g, g * (max_norm / norm)), grad_tree)


class JoinPoint:
    """Marks, in an unpacked state, where a parameter stood: ``subtree`` is its state."""

    def __init__(self, subtree: Any) -> None:
        self.subtree = subtree

    def __iter__(self) -> Iterator[Any]:
        yield self.subtree


def unpack_optimizer_state(opt_state: OptimizerState) -> Any:
    """A state as a pytree of the parameters' structure, whose leaves are ``JoinPoint``s: to be stored."""
    return tree.unflatten(opt_state.tree_def, [JoinPoint(s) for s in _states(opt_state)])


def pack_optimizer_state(marked_pytree: Any) -> OptimizerState:
    """The inverse of ``unpack_optimizer_state``."""
    points, treedef = tree.flatten(marked_pytree)
    if not all(isinstance(p, JoinPoint) for p in points):
        raise TreeError("pack_optimizer_state takes what unpack_optimizer_state returned: a pytree of JoinPoints")
    return _packed([p.subtree for p in points], treedef)
