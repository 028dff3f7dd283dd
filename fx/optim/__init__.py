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

Optimizers are chains of parts, and so is what you make of them: ``optim.chain(optim.clip_by_global_norm(1.0),
optim.adamw(optim.warmup_cosine_decay_schedule(0.0, 1e-3, 100, 10_000)), optim.weight_ema(0.999))``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..misnamed import no_attribute
from ..traceback import user_frames
from . import (
    accumulation,
    base,
    clipping,
    conditions,
    differences,
    elsewhere,
    factored,
    hyperparams,
    linesearch,
    moments,
    optimizers,
    preconditioners,
    quasi_newton,
    scaling,
    schedules,
    selecting,
)
from . import (
    muon as _muon,
)
from .accumulation import *
from .base import *
from .clipping import *
from .conditions import *
from .differences import *
from .factored import *
from .hyperparams import *
from .linesearch import *
from .moments import *
from .muon import *
from .optimizers import *
from .preconditioners import *
from .quasi_newton import *
from .scaling import *
from .schedules import *
from .selecting import *

_PARTS = (
    accumulation, base, clipping, conditions, differences, factored, hyperparams, linesearch, moments, _muon, optimizers, preconditioners,
    quasi_newton, scaling, schedules, selecting,
)  # fmt: skip
__all__ = sorted(name for part in _PARTS for name in part.__all__)

if not TYPE_CHECKING:  # a type checker says itself what is not there

    @user_frames
    def __getattr__(name: str) -> None:
        raise no_attribute("fx.optim", name, __all__, elsewhere.NAMES)
