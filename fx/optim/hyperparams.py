"""Hyperparameters that live in the state of an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from .. import numpy as fnp
from .. import tree
from ..array import Array
from ..errors import TreeError
from ..signatures import signature_of
from .base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    Schedule,
    incremented,
    new_count,
    own_state,
    scheduled,
    with_extra_args_support,
)

__all__ = ["InjectHyperparamsState", "inject_hyperparams"]

Tree = Any


class InjectHyperparamsState(NamedTuple):
    """Steps taken, the hyperparameters of the last step by name, and the inner state."""

    count: Any
    hyperparams: dict[str, Any]
    inner_state: Tree


def inject_hyperparams(
    inner_factory: Callable[..., GradientTransformation],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: Any = None,
) -> Callable[..., GradientTransformationExtraArgs]:
    """An optimizer whose numbers live in its state: ``state.hyperparams["learning_rate"]`` can be read and replaced while
    it runs, and every argument can be a schedule.

    Args:
        inner_factory: such as ``optim.adam``.
        static_args: names of arguments that stay Python values.
        hyperparam_dtype: dtype of the numbers; by default that of the widest parameter.

    >>> from fx import optim
    >>> optimizer = inject_hyperparams(optim.sgd)(learning_rate=optim.linear_schedule(1.0, 0.0, 4))
    >>> state = optimizer.init(fnp.zeros(1))
    >>> for _ in range(3):
    ...     updates, state = optimizer.update(fnp.ones(1), state, fnp.zeros(1))
    >>> state.hyperparams["learning_rate"]
    Array(0.5, dtype=float32)
    """
    signature = signature_of(inner_factory)
    static = {static_args} if isinstance(static_args, str) else set(static_args)
    if unknown := static - set(signature.parameters):
        raise TreeError(f"inject_hyperparams: static_args {sorted(unknown)} are none of {list(signature.parameters)}")

    def make(*args: Any, **kwargs: Any) -> GradientTransformationExtraArgs:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            inner_factory(*args, **kwargs)  # says which argument, and what it is called here
            raise
        bound.apply_defaults()
        free = {n: v for n, v in bound.arguments.items() if n not in static and not isinstance(v, bool)}
        schedules = {n: v for n, v in free.items() if callable(v)}
        numbers = {n: v for n, v in free.items() if isinstance(v, (int, float, Array, np.ndarray))}
        others = {n: v for n, v in bound.arguments.items() if n not in schedules and n not in numbers}
        return _injected(inner_factory, others, numbers, schedules, hyperparam_dtype)

    return make


def _injected(
    factory: Callable[..., GradientTransformation], others: dict[str, Any], numbers: dict[str, Any],
    schedules: dict[str, Schedule], dtype: Any,
) -> GradientTransformationExtraArgs:  # fmt: skip
    def kind(values: Tree) -> Any:
        found = [fnp.asarray(v).real.dtype for v in tree.leaves(values)]
        return dtype or max(found, key=lambda d: fnp.finfo(d).bits, default=fnp.asarray(0.0).dtype)

    def as_array(value: Any, wanted: Any) -> Any:
        return fnp.asarray(value, dtype=wanted) if isinstance(value, float) else fnp.asarray(value)

    def now(count: Any, wanted: Any) -> dict[str, Any]:
        like = fnp.zeros((), wanted)
        return {n: fnp.asarray(scheduled(f, count, like)).astype(wanted) for n, f in schedules.items()}

    def init(params: Tree) -> InjectHyperparamsState:
        wanted, count = kind(params), new_count()
        hyperparams = {**{n: as_array(v, wanted) for n, v in numbers.items()}, **now(count, wanted)}
        return InjectHyperparamsState(count, hyperparams, factory(**others, **hyperparams).init(params))

    def update(updates: Tree, state: InjectHyperparamsState, params: Tree = None, **extra: Any) -> tuple[Tree, Tree]:
        own_state(state, InjectHyperparamsState, "inject_hyperparams")
        wanted = kind(updates if params is None else params)
        hyperparams = {n: as_array(v, wanted) for n, v in state.hyperparams.items()} | now(state.count, wanted)
        inner = with_extra_args_support(factory(**others, **hyperparams))
        updates, inner_state = inner.update(updates, state.inner_state, params, **extra)
        return updates, InjectHyperparamsState(incremented(state.count), hyperparams, inner_state)

    return GradientTransformationExtraArgs(init, update)
