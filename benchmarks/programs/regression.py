"""Twins of ``linear`` and ``logistic``."""

from __future__ import annotations

from typing import Any

from fx.examples import linear, logistic
from fx.train import Trainer

from . import twin
from .twin import Side, Start

PROGRAMS: dict[str, Any] = {"linear": linear, "logistic": logistic}


def start(name: str) -> Start:
    program = PROGRAMS[name]
    x, y, _ = program.table()
    return Start(linear.init(x.shape[1]), lambda epoch: [(x, y)] * program.STEPS, options={"name": name, "x": x})


def fx_side(start: Start) -> Side:
    program = PROGRAMS[start.options["name"]]
    return twin.fx_side(start, Trainer(program.loss, program.optimizer(start.options["x"])))


def torch_side(start: Start) -> Side:
    import torch

    name, x = start.options["name"], start.options["x"]
    weights, (rate, momentum) = twin.tensors(start.model), PROGRAMS[name].rates(x)

    def value(batch: Any) -> Any:
        inputs, targets = (torch.from_numpy(part) for part in batch)
        out = inputs @ weights["coefficients"] + weights["intercept"]
        if name == "linear":
            return torch.nn.functional.mse_loss(out, targets) / 2
        penalty = (weights["coefficients"] ** 2).sum() / (2 * len(x))
        return torch.nn.functional.binary_cross_entropy_with_logits(out, targets.double()) + penalty

    optimizer = torch.optim.SGD(list(weights.values()), rate, momentum=momentum, nesterov=name == "logistic")
    return Side(twin.torch_step(value, optimizer), start.batches)


def jax_side(start: Start) -> Side:
    import jax
    import optax

    jax.config.update("jax_enable_x64", True)  # the programs are in float64
    name, x = start.options["name"], start.options["x"]
    rate, momentum = PROGRAMS[name].rates(x)

    def loss(weights: Any, inputs: Any, targets: Any) -> Any:
        out = inputs @ weights["coefficients"] + weights["intercept"]
        if name == "linear":
            return jax.numpy.mean((out - targets) ** 2) / 2
        penalty = jax.numpy.sum(weights["coefficients"] ** 2) / (2 * len(x))
        return optax.sigmoid_binary_cross_entropy(out, targets).mean() + penalty

    optimizer = optax.sgd(rate, momentum=momentum, nesterov=name == "logistic")
    return Side(twin.jax_step(loss, optimizer, start.model), start.batches)
