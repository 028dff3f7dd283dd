"""Gaussian process regression: hyperparameters by maximum marginal likelihood, predictions with error bars.

``python -m fx.examples.gaussian_process``

With the kernel k(x, x') = a^2 exp(-|x - x'|^2 / 2 l^2) and noise s^2, K = k(X, X) + s^2 I = L L^T and

    log p(y) = -1/2 |L^-1 y|^2 - sum(log diag L) - n/2 log 2 pi.

Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), algorithm 2.1.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import fx
import fx.numpy as jnp
from fx import random
from fx.scipy.linalg import solve_triangular

JITTER = 1e-6  # keeps K positive definite in floating point


class Fit(NamedTuple):
    """Hyperparameters by name, log p(y) after each step, and the prediction at the test points."""

    scales: dict[str, float]
    history: list[float]
    mean: Any
    deviation: Any


def kernel(scales: Any, x: Any, y: Any) -> Any:
    """k(x_i, y_j) for scalars x_i, y_j; vmap makes the matrix out of the function of two numbers."""
    k = lambda a, b: scales["amplitude"] ** 2 * jnp.exp(-0.5 * ((a - b) / scales["length"]) ** 2)
    return fx.vmap(lambda a: fx.vmap(lambda b: k(a, b))(y))(x)


def factor(scales: Any, x: Any) -> Any:
    """The Cholesky factor of the covariance of the observations."""
    return jnp.linalg.cholesky(kernel(scales, x, x) + (scales["noise"] ** 2 + JITTER) * jnp.eye(len(x), dtype=x.dtype))


def log_likelihood(logs: Any, x: Any, y: Any) -> Any:
    """log p(y); ``logs`` holds the logarithms of the scales, which keeps them positive."""
    chol = factor(fx.tree.map(jnp.exp, logs), x)
    white = solve_triangular(chol, y, lower=True)
    return -0.5 * white @ white - jnp.sum(jnp.log(jnp.diag(chol))) - 0.5 * len(x) * math.log(2 * math.pi)


@fx.jit
def predict(scales: Any, x: Any, y: Any, new: Any) -> tuple[Any, Any]:
    """Mean and standard deviation of the function at ``new``, given the observations."""
    chol = factor(scales, x)
    white = solve_triangular(chol, kernel(scales, x, new), lower=True)
    mean = white.T @ solve_triangular(chol, y, lower=True)
    return mean, jnp.sqrt(scales["amplitude"] ** 2 - jnp.sum(white**2, axis=0))


def data(n: int = 40, noise: float = 0.2, seed: int = 0) -> tuple[Any, Any]:
    """Noisy values of sin at random points of [-3, 3]."""
    for_x, for_y = random.split(random.key(seed))
    x = random.uniform(for_x, (n,), jnp.float64, -3.0, 3.0)
    return x, jnp.sin(2 * x) + noise * random.normal(for_y, (n,), jnp.float64)


def run(steps: int = 200, rate: float = 0.05, seed: int = 0) -> Fit:
    """Fits the three scales by gradient ascent with momentum and predicts on a grid."""
    x, y = data(seed=seed)
    ascend = fx.jit(fx.value_and_grad(log_likelihood))
    logs = {name: jnp.float64(0.0) for name in ("amplitude", "length", "noise")}
    speed = fx.tree.map(jnp.zeros_like, logs)
    history = []
    for _ in range(steps):
        value, gradient = ascend(logs, x, y)
        speed = fx.tree.map(lambda s, g: 0.8 * s + rate * g / len(x), speed, gradient)
        logs = fx.tree.map(jnp.add, logs, speed)
        history.append(float(value))
    scales = fx.tree.map(jnp.exp, logs)
    mean, deviation = predict(scales, x, y, jnp.linspace(-3.0, 3.0, 61, dtype=jnp.float64))
    return Fit({k: float(v) for k, v in scales.items()}, history, np.asarray(mean), np.asarray(deviation))


def main() -> None:
    fit = run()
    print(f"log p(y): {fit.history[0]:.2f} -> {fit.history[-1]:.2f}")
    print("scales: " + ", ".join(f"{name} {value:.3f}" for name, value in fit.scales.items()))
    truth = np.sin(2 * np.linspace(-3, 3, 61))
    print(f"root mean square error on the grid: {np.sqrt(np.mean((fit.mean - truth) ** 2)):.3f}")
    print(f"within two deviations: {np.mean(np.abs(fit.mean - truth) < 2 * fit.deviation):.0%}")


if __name__ == "__main__":
    main()
