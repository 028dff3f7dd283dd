"""Handwritten digits: a convolutional network, its loss, its training.  ``python -m fx train mnist --help``."""

from __future__ import annotations

from typing import Any

import numpy as np

import fx
import fx.numpy as fnp
from fx import data, nn, optim, random
from fx.examples import _support

MODELS = {
    "small": {"conv": [(3, 3, 1, 32)], "dense": [(13 * 13 * 32, 128), (128, 10)]},
    "deep": {"conv": [(3, 3, 1, 32), (3, 3, 32, 64)], "dense": [(5 * 5 * 64, 128), (128, 10)]},
}


def init(key: Any, model: str) -> dict[str, Any]:
    """The parameters, a pytree: weights normal with variance 2 / fan in (He et al., 2015), biases zero."""
    keys = iter(random.split(key, 8))
    normal = nn.initializers.he_normal()
    layer = lambda shape: {"w": normal(next(keys), shape), "b": fnp.zeros(shape[-1])}
    return {kind: [layer(shape) for shape in shapes] for kind, shapes in MODELS[model].items()}


def network(params: Any, x: Any, key: Any = None) -> Any:
    """Logits of images; ``key`` drops out a quarter of the features, as in training."""
    for conv in params["conv"]:
        x = nn.max_pool(nn.relu(nn.conv(x, conv["w"]) + conv["b"]), 2)
    x = nn.dropout(key, x.reshape(len(x), -1), 0.25)
    hidden, last = params["dense"]
    return nn.relu(x @ hidden["w"] + hidden["b"]) @ last["w"] + last["b"]


def loss(params: Any, images: Any, labels: Any, key: Any = None) -> Any:
    """Cross-entropy: the mean of -log p(label)."""
    log_p = nn.log_softmax(network(params, images, key))
    return -fnp.mean(fnp.sum(nn.one_hot(labels, 10) * log_p, axis=1))


def train(model: str = "small", epochs: int = 10, batch_size: int = 128, seed: int = 0, plot: str | None = None) -> Any:
    """Trains on 8,000 digits and returns (parameters, report), with the accuracy on 2,000 others."""
    digits = data.mnist()
    for_params, for_order, noise = random.split(random.key(seed), 3)
    params, optimizer = init(for_params, model), optim.adam(1e-3)
    state = optimizer.init(params)

    @fx.jit
    def step(params: Any, state: Any, noise: Any, images: Any, labels: Any) -> Any:
        key = None
        if model == "deep":  # augmentation and dropout
            noise, shift, key = random.split(noise, 3)
            images = data.random_shift(shift, images)
        value, gradient = fx.value_and_grad(loss)(params, images, labels, key)
        updates, state = optimizer.update(gradient, state, params)
        return optim.apply_updates(params, updates), state, noise, value

    @fx.jit
    def predict(params: Any, images: Any) -> Any:
        return fnp.argmax(network(params, images), axis=1)

    report = _support.Report(f"mnist, {model} model", epochs, [step, predict], plot)
    for epoch in range(epochs):
        order = random.fold_in(for_order, epoch)
        for images, labels in report.epoch(data.batches(digits.train, batch_size, key=order)):
            params, state, noise, value = step(params, state, noise, images, labels)
            report.step(value, len(labels))
        predictions = [predict(params, images) for images, _ in data.batches(digits.test, 500)]
        report.end_epoch(np.concatenate(predictions), digits.test)
    report.finish()
    return params, report


if __name__ == "__main__":
    _support.main(train, MODELS)
