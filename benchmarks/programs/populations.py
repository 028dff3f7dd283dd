"""Twins of ``tune``: the step of sixteen networks."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import fx
from fx import data, random
from fx.examples import tune

from . import twin
from .twin import Side, Start


def start() -> Start:
    for_settings, for_params, for_order = random.split(random.key(0), 3)
    settings = tune.draw(for_settings, tune.SIZE)
    models, _ = tune.start_all(random.split(for_params, tune.SIZE), settings)
    batches = lambda epoch: data.batches(data.mnist().train, 64, key=random.fold_in(for_order, epoch), drop_last=True)
    return Start(models, batches, options={"settings": settings})


def _loss(settings: tune.Settings, values: Any) -> float:
    """The mean loss of the networks whose learning rate is below 1; above, they leap about, and a rounding becomes a whole."""
    return float(np.mean(np.asarray(values)[np.asarray(settings.rate) < 1]))


def fx_side(start: Start) -> Side:
    settings = start.options["settings"]
    models = fx.tree.map(lambda x: fx.numpy.array(np.array(x)), start.model)
    states = fx.vmap(lambda setting, model: tune.optimizer(setting).init(model))(settings, models)

    def step(batch: Any) -> Any:
        nonlocal models, states
        models, states, values = tune.step_all(models, states, settings, *batch)
        return _loss(settings, values)

    return Side(step, start.batches)


def torch_side(start: Start) -> Side:
    import torch

    settings = tune.Settings(*[torch.tensor(np.array(x)) for x in start.options["settings"]])
    weights = twin.leaves(twin.tensors(start.model))
    traces = [torch.zeros_like(w) for w in weights]
    by_network = lambda setting, w: setting.reshape(-1, *[1] * (w.ndim - 1)).to(w.dtype)

    def step(batch: Any) -> Any:
        images, labels = torch.from_numpy(batch[0].reshape(len(batch[0]), -1)), torch.from_numpy(batch[1]).long()
        (w1, b1), (w2, b2) = ((layer.weight, layer.bias) for layer in (tree.layers[1], tree.layers[3]))
        logits = torch.relu(images @ w1 + b1[:, None]) @ w2 + b2[:, None]
        values = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), labels.expand(len(logits), -1), reduction="none"
        ).mean(1)
        gradients = torch.autograd.grad(values.sum(), weights)
        with torch.no_grad():
            for w, trace, gradient in zip(weights, traces, gradients):
                decayed = gradient + by_network(settings.decay, w) * w
                trace.mul_(1 - by_network(settings.friction, w)).add_(decayed)
                w -= by_network(settings.rate, w) * trace
        return _loss(settings, values.detach())

    tree = fx.tree.unflatten(fx.tree.structure(start.model), weights)
    return Side(step, start.batches)


def jax_side(start: Start) -> Side:
    import jax
    import optax

    flat, structure = fx.tree.flatten(start.model)
    settings = tune.Settings(*map(np.asarray, start.options["settings"]))

    def optimizer(setting: Any) -> Any:
        return optax.chain(
            optax.add_decayed_weights(setting.decay), optax.trace(1 - setting.friction), optax.scale(-setting.rate)
        )

    def loss(weights: Any, images: Any, labels: Any) -> Any:
        layers = fx.tree.unflatten(structure, weights).layers
        x = jax.nn.relu(images.reshape(len(images), -1) @ layers[1].weight + layers[1].bias)
        logits = x @ layers[3].weight + layers[3].bias
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    @partial(jax.vmap, in_axes=(0, 0, 0, None, None))
    def update(weights: Any, state: Any, setting: Any, images: Any, labels: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(weights, images, labels)
        updates, state = optimizer(setting).update(gradient, state, weights)
        return optax.apply_updates(weights, updates), state, value

    weights = [jax.numpy.asarray(np.asarray(x)) for x in flat]
    held = [weights, jax.vmap(lambda setting, w: optimizer(setting).init(w))(settings, weights)]

    def step(batch: Any) -> Any:
        *held[:], values = update(*held, settings, *batch)
        return _loss(settings, values)

    return Side(step, start.batches)
