"""Twins of ``linear`` and ``logistic``."""

from __future__ import annotations

from typing import Any

from fx.examples import linear, logistic
from fx.train import Trainer

from . import twin
from .twin import Side

PROGRAMS: dict[str, Any] = {"linear": linear, "logistic": logistic}


def _setup(name: str) -> tuple[Any, Any, Any, Any]:
    """(program, initial model, optimizer, batches)."""
    program = PROGRAMS[name]
    x, y, _ = program.table()
    return program, program.init(x.shape[1]), program.optimizer(x), lambda epoch: [(x, y)] * program.STEPS


def fx_side(name: str) -> Side:
    program, model, optimizer, batches = _setup(name)
    return twin.fx_side(Trainer(program.loss, optimizer), model, batches)


def torch_side(name: str) -> Side:
    import torch

    program, model, _, batches = _setup(name)
    weights = twin.tensors(model)
    x, y, _ = program.table()
    inputs, targets = torch.tensor(x), torch.tensor(y)
    rate, momentum = program.rates(x)

    def value(batch: Any) -> Any:
        out = inputs @ weights["coefficients"] + weights["intercept"]
        if name == "linear":
            return torch.nn.functional.mse_loss(out, targets) / 2
        penalty = (weights["coefficients"] ** 2).sum() / (2 * len(x))
        return torch.nn.functional.binary_cross_entropy_with_logits(out, targets.double()) + penalty

    optimizer = torch.optim.SGD(list(weights.values()), rate, momentum=momentum, nesterov=name == "logistic")
    return Side(twin.torch_step(value, optimizer), batches)
