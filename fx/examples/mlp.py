"""Handwritten digits: a network with one hidden layer, by gradient descent.  ``python -m fx train mlp --help``.

784 pixels, 128 hidden units, 10 digits.

Source: Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", 1986.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fx import data, metrics, nn, optim, random, viz
from fx.examples import programs
from fx.train import Trainer

QUICK = {"epochs": 1, "examples": 1000}


class MLP(nn.Module):
    """Logits = W2 relu(W1 x)."""

    hidden: nn.Linear
    out: nn.Linear

    def __init__(self, key: Any) -> None:
        first, second = random.split(key)
        self.hidden, self.out = nn.Linear(784, 128, key=first), nn.Linear(128, 10, key=second)

    def __call__(self, images: Any) -> Any:
        return self.out(nn.relu(self.hidden(images.reshape(len(images), 784))))


def loss(model: MLP, batch: Any, key: Any = None) -> Any:
    """Cross-entropy: the mean of -log p(label)."""
    images, labels = batch
    return nn.cross_entropy(model(images), labels)


def trainer() -> Trainer:
    """Loss and optimizer."""
    return Trainer(loss, optim.sgd(0.1), {"accuracy": metrics.Accuracy()})


def train(
    *, epochs: int = 10, batch_size: int = 32, seed: int = 0, examples: int = 60_000, full: bool = False
) -> programs.Result:
    """Trains on 8,000 digits (of the full data set on 60,000), or ``examples`` of them; the accuracy is that on the 2,000
    (10,000) others."""
    digits = data.mnist(full=full)
    chosen = slice(None, None, max(len(digits.train.labels) // examples, 1))
    training, held_out = data.Split(*[x[chosen] for x in digits.train]), data.batches(digits.test, 500)
    for_params, for_order = random.split(random.key(seed))
    loop = trainer()
    clock = programs.Clock([loop.step, loop.scores])
    fit = loop.fit(
        MLP(for_params),
        lambda epoch: data.batches(training, batch_size, key=random.fold_in(for_order, epoch)),
        epochs=epochs, validation=held_out, callbacks=[programs.progress("mlp 784-128-10"), clock],
    )  # fmt: skip
    return programs.Result(fit.model, fit.history, programs.summary(fit, clock))


def figure(result: programs.Result) -> Any:
    """The curves, and the weights of the hidden units as images."""
    drawn = viz.figure(13, 6)
    left, right = drawn.subfigures(1, 2, width_ratios=(1, 1.2))
    viz.curves(result.history, ["loss", "validation_accuracy"], on=left)
    viz.images(np.asarray(result.model.hidden.weight).T.reshape(-1, 28, 28)[:48], cmap="bwr", on=right)
    return drawn


if __name__ == "__main__":
    programs.main(train)
