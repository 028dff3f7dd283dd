"""Handwritten digits: convolutional networks, their loss, their training.  ``python -m fx train mnist --help``.

``small`` (conv 3x3x32, dense 128) and ``deep`` (conv 3x3x32, conv 3x3x64, dense 128; shifted images and dropout) with Adam;
``five`` (conv 5x5x10, conv 5x5x20, dense 50) with momentum, the network of PyTorch's first example.

Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import fx.numpy as fnp
from fx import data, nn, optim, random, viz
from fx.examples import programs
from fx.train import Trainer


class Architecture(NamedTuple):
    """Kernels of the convolutions, shapes of the dense layers, what trains them, and whether with noise."""

    conv: list[tuple[int, ...]]
    dense: list[tuple[int, int]]
    optimizer: Any = optim.adam(1e-3)
    noisy: bool = False


MODELS = {
    "small": Architecture([(3, 3, 1, 32)], [(13 * 13 * 32, 128), (128, 10)]),
    "deep": Architecture([(3, 3, 1, 32), (3, 3, 32, 64)], [(5 * 5 * 64, 128), (128, 10)], noisy=True),
    "five": Architecture([(5, 5, 1, 10), (5, 5, 10, 20)], [(4 * 4 * 20, 50), (50, 10)], optim.sgd(0.02, momentum=0.9)),
}
QUICK = {"epochs": 1, "batch_size": 256, "examples": 1000}


def init(key: Any, model: str) -> dict[str, Any]:
    """The parameters, a pytree: weights normal with variance 2 / fan in (He et al., 2015), biases zero."""
    keys = iter(random.split(key, 8))
    normal = nn.initializers.he_normal()
    layer = lambda shape: {"w": normal(next(keys), shape), "b": fnp.zeros(shape[-1])}
    chosen = MODELS[model]
    return {"conv": [layer(shape) for shape in chosen.conv], "dense": [layer(shape) for shape in chosen.dense]}


def features(params: Any, x: Any) -> Any:
    """The last convolution's channels, after pooling."""
    for conv in params["conv"]:
        x = nn.max_pool(nn.relu(nn.conv(x, conv["w"]) + conv["b"]), 2)
    return x


def head(params: Any, x: Any, key: Any = None) -> Any:
    """Logits of features; ``key`` drops out a quarter of them, as in training."""
    x = nn.dropout(key, x.reshape(len(x), -1), 0.25)
    hidden, last = params["dense"]
    return nn.relu(x @ hidden["w"] + hidden["b"]) @ last["w"] + last["b"]


def loss(params: Any, images: Any, labels: Any, key: Any = None) -> Any:
    """Cross-entropy: the mean of -log p(label)."""
    log_p = nn.log_softmax(head(params, features(params, images), key))
    return -fnp.mean(fnp.sum(nn.one_hot(labels, 10) * log_p, axis=1))


def noisy_loss(params: Any, batch: Any, key: Any) -> Any:
    """The loss of images shifted by up to two pixels, with dropout; without either if there is no key."""
    images, labels = batch
    if key is not None:
        shift, key = random.split(key)
        images = data.random_shift(shift, images)
    return loss(params, images, labels, key)


def plain_loss(params: Any, batch: Any, key: Any) -> Any:
    """The loss of a batch."""
    return loss(params, *batch)


def predict(params: Any, images: Any) -> Any:
    """The most likely digits."""
    return fnp.argmax(head(params, features(params, images)), axis=1)


def accuracy(params: Any, batch: Any) -> Any:
    """The share of digits that are recognised."""
    images, labels = batch
    return fnp.mean(predict(params, images) == labels)


def trainer(model: str) -> Trainer:
    """Loss and optimizer of a model."""
    chosen = MODELS[model]
    forward = lambda params, batch: predict(params, batch[0])
    return Trainer(noisy_loss if chosen.noisy else plain_loss, chosen.optimizer, {"accuracy": accuracy}, forward)


def train(
    *,
    model: str = "small",
    epochs: int = 10,
    batch_size: int = 128,
    seed: int = 0,
    examples: int = 60_000,
    full: bool = False,
) -> programs.Result:
    """Trains on 8,000 digits (of the full data set on 60,000), or ``examples`` of them; the accuracy is that on the 2,000
    (10,000) others."""
    digits = data.mnist(full=full)
    chosen = slice(None, None, max(len(digits.train.labels) // examples, 1))
    training, held_out = data.Split(*[x[chosen] for x in digits.train]), data.batches(digits.test, 500)
    for_params, for_order, noise = random.split(random.key(seed), 3)
    loop = trainer(model)
    clock = programs.Clock([loop.step, loop.scores])
    fit = loop.fit(
        init(for_params, model),
        lambda epoch: data.batches(training, batch_size, key=random.fold_in(for_order, epoch)),
        epochs=epochs, validation=held_out, key=noise,
        callbacks=[programs.progress(f"mnist, {model} model"), clock],
    )  # fmt: skip
    found = loop.predict(fit.model, held_out)
    return programs.Result(
        fit.model, fit.history, programs.summary(fit, clock), {"digits": digits.test, "predictions": found}
    )


def figure(result: programs.Result) -> Any:
    """The curves, and digits that were taken for others: some of each, since the examples are sorted by digit."""
    (images, labels), predictions = result.shown["digits"], result.shown["predictions"]
    wrong = np.flatnonzero(predictions != labels)
    some = wrong[np.linspace(0, len(wrong) - 1, min(len(wrong), 48)).astype(int)]
    drawn = viz.figure(13, 6)
    left, right = drawn.subfigures(1, 2, width_ratios=(1, 1.2))
    viz.curves(result.history, ["loss", "validation_accuracy"], on=left)
    right.suptitle(f"{len(some)} of {len(wrong)} misclassified digits: true, predicted")
    viz.images(images[some], [f"{labels[i]}, {predictions[i]}" for i in some], on=right)
    return drawn


if __name__ == "__main__":
    programs.main(train)
