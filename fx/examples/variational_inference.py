"""Black-box variational inference: a Gaussian fitted to a posterior through reparametrised samples.

``python -m fx.examples.variational_inference``

The posterior is that of Bayesian logistic regression; q(w) = Normal(mean, diag(exp(log_scale))^2) maximises

    ELBO = E_q[log p(y, w)] + entropy of q,

estimated with samples w = mean + exp(log_scale) * noise, so that the gradient flows through them.

Source: Kucukelbir et al., "Automatic Differentiation Variational Inference" (JMLR 2017).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import fx
import fx.numpy as jnp
from fx import lax, nn, random

SAMPLES = 16  # of the noise in each estimate of the ELBO


class Posterior(NamedTuple):
    mean: Any
    scale: Any
    elbo: Any


def log_joint(w: Any, x: Any, y: Any) -> Any:
    """log p(w) + log p(y | x, w), with a standard normal prior and labels 0 and 1."""
    prior = -0.5 * jnp.sum(w**2 + math.log(2 * math.pi))
    return prior - jnp.sum(nn.softplus(jnp.where(y == 1, -1.0, 1.0) * (x @ w)))


def elbo(params: Any, key: Any, x: Any, y: Any) -> Any:
    """A Monte Carlo estimate; the entropy of a Gaussian is known."""
    mean, log_scale = params
    noise = random.normal(key, (SAMPLES, len(mean)), mean.dtype)
    energy = fx.vmap(lambda e: log_joint(mean + jnp.exp(log_scale) * e, x, y))(noise)
    return jnp.mean(energy) + jnp.sum(log_scale) + 0.5 * len(mean) * math.log(2 * math.pi * math.e)


@fx.jit
def fit(key: Any, x: Any, y: Any) -> Posterior:
    """The whole optimisation as one compiled scan over the steps."""
    start = (jnp.zeros(x.shape[1], x.dtype), jnp.full(x.shape[1], -1.0, x.dtype))

    def step(carry: Any, inputs: Any) -> Any:
        params, speed = carry
        t, key = inputs
        value, gradient = fx.value_and_grad(elbo)(params, key, x, y)
        rate = 0.01 / (1.0 + t / 200.0)
        speed = fx.tree.map(lambda s, g: 0.9 * s + g / jnp.sqrt(1.0 + jnp.sum(g * g)), speed, gradient)
        return (fx.tree.map(lambda p, s: p + rate * s, params, speed), speed), value

    steps = 1500
    inputs = (jnp.arange(steps, dtype=x.dtype), random.split(key, steps))
    ((mean, log_scale), _), values = lax.scan(step, (start, fx.tree.map(jnp.zeros_like, start)), inputs)
    return Posterior(mean, jnp.exp(log_scale), values)


def data(n: int = 200, seed: int = 0) -> tuple[Any, Any, Any]:
    """Points with three features, labels drawn from the model with known weights."""
    for_x, for_y = random.split(random.key(seed))
    weights = jnp.asarray([1.5, -2.0, 0.5])
    x = random.normal(for_x, (n, 3))
    return x, random.bernoulli(for_y, nn.sigmoid(x @ weights)).astype(jnp.int32), weights


def importance_sampled(posterior: Posterior, x: Any, y: Any, n: int = 20_000, seed: int = 1) -> tuple[Any, Any]:
    """Mean and deviation of the true posterior, by weighting wide samples: what the fit is held against."""
    noise = random.normal(random.key(seed), (n, len(posterior.mean)))
    w = posterior.mean + 1.5 * posterior.scale * noise
    log_weight = fx.vmap(lambda w: log_joint(w, x, y))(w) + 0.5 * jnp.sum(noise**2, axis=1)
    weight = nn.softmax(log_weight)[:, None]
    mean = jnp.sum(weight * w, axis=0)
    return mean, jnp.sqrt(jnp.sum(weight * (w - mean) ** 2, axis=0))


def main() -> None:
    x, y, weights = data()
    posterior = fit(random.key(2), x, y)
    mean, deviation = importance_sampled(posterior, x, y)
    for name, values in (
        ("weights that made the labels", weights),
        ("variational mean", posterior.mean),
        ("posterior mean", mean),
        ("variational deviation", posterior.scale),
        ("posterior deviation", deviation),
    ):
        print(f"{name:<30}", np.array2string(np.asarray(values), precision=3))
    print(f"ELBO: {float(posterior.elbo[0]):.1f} -> {float(posterior.elbo[-100:].mean()):.1f}")


if __name__ == "__main__":
    main()
