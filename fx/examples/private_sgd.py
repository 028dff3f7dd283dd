"""Differentially private SGD on handwritten digits: every example's gradient is clipped, and noise is added.

``python -m fx.examples.private_sgd``

    g = (sum over the batch of clip(gradient of one example, C) + C * sigma * noise) / batch size

``vmap(grad(loss))`` gives the gradient of each example alone.  The privacy spent after T steps with sampling rate q is
bounded through Renyi divergences of the Gaussian mechanism without amplification by sampling: a simple bound, and a
loose one.

Source: Abadi et al., "Deep Learning with Differential Privacy" (2016); Mironov, "Renyi Differential Privacy" (2017).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import fx
import fx.numpy as jnp
from fx import data, nn, random


class Result(NamedTuple):
    """accuracy on the held-out digits; epsilon for ``delta`` = 1e-5; the largest norm of a clipped gradient."""

    accuracy: float
    epsilon: float
    largest_norm: float


def init(key: Any, hidden: int = 64) -> Any:
    first, second = random.split(key)
    normal = nn.initializers.he_normal()
    return [
        (normal(first, (784, hidden)), jnp.zeros(hidden)),
        (normal(second, (hidden, 10)), jnp.zeros(10)),
    ]


def logits(params: Any, image: Any) -> Any:
    (w1, b1), (w2, b2) = params
    return jnp.tanh(image.reshape(-1) @ w1 + b1) @ w2 + b2


def loss(params: Any, image: Any, label: Any) -> Any:
    """Cross-entropy of one example."""
    return -nn.log_softmax(logits(params, image))[label]


def clipped(params: Any, image: Any, label: Any, bound: float) -> tuple[Any, Any]:
    """The gradient of one example, scaled so that its norm is at most ``bound``; and that norm."""
    gradient = fx.grad(loss)(params, image, label)
    norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in fx.tree.leaves(gradient)))
    scale = jnp.minimum(1.0, bound / norm)
    return fx.tree.map(lambda g: g * scale, gradient), norm * scale


def private_gradient(params: Any, key: Any, images: Any, labels: Any, bound: float, sigma: float) -> tuple[Any, Any]:
    each, norms = fx.vmap(clipped, (None, 0, 0, None))(params, images, labels, bound)
    leaves, structure = fx.tree.flatten(each)
    noisy = [
        (jnp.sum(g, axis=0) + bound * sigma * random.normal(k, g.shape[1:])) / len(images)
        for g, k in zip(leaves, random.split(key, len(leaves)))
    ]
    return fx.tree.unflatten(structure, noisy), jnp.max(norms)


def epsilon(steps: int, sigma: float, delta: float = 1e-5) -> float:
    """(epsilon, delta) from Renyi orders alpha: min over alpha of steps * alpha / (2 sigma^2) + log(1 / delta) / (alpha - 1)."""
    return min(steps * a / (2 * sigma**2) + math.log(1 / delta) / (a - 1) for a in (1 + k / 10 for k in range(1, 1000)))


def run(
    epochs: int = 4, batch_size: int = 200, rate: float = 0.5, bound: float = 1.0, sigma: float = 1.1, seed: int = 0
) -> Result:
    digits = data.mnist()
    for_params, for_order, noise = random.split(random.key(seed), 3)
    params = init(for_params)

    @fx.jit
    def step(params: Any, key: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        gradient, norm = private_gradient(params, key, images, labels, bound, sigma)
        return fx.tree.map(lambda p, g: p - rate * g, params, gradient), norm

    steps, largest = 0, 0.0
    for epoch in range(epochs):
        for images, labels in data.batches(digits.train, batch_size, key=random.fold_in(for_order, epoch)):
            noise, key = random.split(noise)
            params, norm = step(params, key, images, labels)
            steps, largest = steps + 1, max(largest, float(norm))
    predict = fx.jit(fx.vmap(lambda params, image: jnp.argmax(logits(params, image)), (None, 0)))
    accuracy = float(np.mean(np.asarray(predict(params, digits.test.images)) == digits.test.labels))
    return Result(accuracy, epsilon(steps, sigma), largest)


def main() -> None:
    result = run()
    print(f"held-out accuracy {result.accuracy:.2%}, epsilon at most {result.epsilon:.1f} at delta 1e-5")
    print(f"largest norm of a clipped gradient: {result.largest_norm:.4f}")


if __name__ == "__main__":
    main()
