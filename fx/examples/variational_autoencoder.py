"""A variational autoencoder on handwritten digits.

``python -m fx.examples.variational_autoencoder``

The encoder gives mean and log-variance of q(z | x), the decoder the logits of p(x | z); training maximises

    ELBO = E_q[log p(x | z)] - KL(q(z | x) || N(0, 1)).

An epoch is one compiled call: a scan over its batches, with parameters and optimizer state as carry.

Source: Kingma and Welling, "Auto-Encoding Variational Bayes" (2014).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

import fx
import fx.numpy as jnp
from fx import data, lax, nn, optim, random

LATENT = 10


class Result(NamedTuple):
    """Parameters, the ELBO per held-out image after each epoch, decoded samples."""

    params: Any
    elbos: list[float]
    samples: Any


def init(key: Any, hidden: int = 256) -> Any:
    sizes = {"encode": [784, hidden, 2 * LATENT], "decode": [LATENT, hidden, 784]}
    normal, keys = nn.initializers.lecun_normal(), iter(random.split(key, 4))
    return {name: [(normal(next(keys), (m, n)), jnp.zeros(n)) for m, n in pairwise(s)] for name, s in sizes.items()}


def mlp(layers: Any, x: Any) -> Any:
    (w1, b1), (w2, b2) = layers
    return nn.relu(x @ w1 + b1) @ w2 + b2


def elbo(params: Any, key: Any, x: Any) -> Any:
    """A one-sample estimate for one image of pixels in [0, 1]."""
    mean, log_variance = jnp.split(mlp(params["encode"], x), 2)
    z = mean + jnp.exp(0.5 * log_variance) * random.normal(key, mean.shape)
    logits = mlp(params["decode"], z)
    log_likelihood = jnp.sum(x * nn.log_sigmoid(logits) + (1 - x) * nn.log_sigmoid(-logits))
    divergence = 0.5 * jnp.sum(mean**2 + jnp.exp(log_variance) - 1 - log_variance)
    return log_likelihood - divergence


def mean_elbo(params: Any, key: Any, images: Any) -> Any:
    return jnp.mean(fx.vmap(elbo, (None, 0, 0))(params, random.split(key, len(images)), images))


def run(epochs: int = 5, batch_size: int = 128, seed: int = 0) -> Result:
    digits = data.mnist()
    train, test = (jnp.asarray(split.images.reshape(-1, 784)) for split in (digits.train, digits.test))
    for_params, for_epochs, for_test, for_samples = random.split(random.key(seed), 4)
    params, optimizer = init(for_params), optim.adam(1e-3)

    @fx.jit
    def epoch(params: Any, state: Any, key: Any) -> Any:
        for_order, noise = random.split(key)
        count = len(train) // batch_size
        order = random.permutation(for_order, len(train))[: count * batch_size].reshape(count, batch_size)

        def step(carry: Any, inputs: Any) -> Any:
            params, state = carry
            rows, key = inputs
            gradient = fx.grad(lambda p: -mean_elbo(p, key, train[rows]))(params)
            updates, state = optimizer.update(gradient, state, params)
            return (optim.apply_updates(params, updates), state), None

        return lax.scan(step, (params, state), (order, random.split(noise, count)))[0]

    evaluate = fx.jit(mean_elbo)
    state, elbos = optimizer.init(params), []
    for n in range(epochs):
        params, state = epoch(params, state, random.fold_in(for_epochs, n))
        elbos.append(float(evaluate(params, for_test, test)))
    z = random.normal(for_samples, (16, LATENT))
    samples = nn.sigmoid(mlp(params["decode"], z)).reshape(16, 28, 28)
    return Result(params, elbos, np.asarray(samples))


def main() -> None:
    result = run()
    for n, value in enumerate(result.elbos, 1):
        print(f"epoch {n}: ELBO per held-out image {value:.1f}")
    for row in result.samples[0, ::2]:  # one sample, every other line
        print("".join(" .:-=+*#%@"[int(v * 9.99)] for v in row))


if __name__ == "__main__":
    main()
