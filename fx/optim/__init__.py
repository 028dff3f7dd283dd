"""``fx.optim``: optimizers in optax's protocol, with its names and its numbers.

An optimizer is a ``GradientTransformation``: a pair of pure functions, so its state is a pytree like the parameters.

>>> import fx, fx.numpy as fnp
>>> from fx import optim
>>> params = fnp.array([1.0, 2.0])
>>> optimizer = optim.adam(0.1)
>>> state = optimizer.init(params)
>>> for _ in range(100):
...     gradient = fx.grad(lambda p: fnp.sum(p**2))(params)
...     updates, state = optimizer.update(gradient, state, params)
...     params = optim.apply_updates(params, updates)
>>> bool(fnp.abs(params).max() < 0.1)
True
"""

from __future__ import annotations

from .optimizers import adam, adamw, sgd
from .transformations import (
    EmptyState,
    GradientTransformation,
    ScaleByAdamState,
    ScaleByScheduleState,
    TraceState,
    add_decayed_weights,
    apply_updates,
    chain,
    identity,
    scale,
    scale_by_adam,
    scale_by_learning_rate,
    scale_by_schedule,
    trace,
)

__all__ = [
    "EmptyState", "GradientTransformation", "ScaleByAdamState", "ScaleByScheduleState", "TraceState", "adam", "adamw",
    "add_decayed_weights", "apply_updates", "chain", "identity", "scale", "scale_by_adam", "scale_by_learning_rate",
    "scale_by_schedule", "sgd", "trace",
]  # fmt: skip
