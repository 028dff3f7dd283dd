"""A neural ordinary differential equation: a network learns the motion that made the trajectories.

``python -m fx.examples.neural_ode``

The data are a spiral, dx/dt = A x^3, seen at a few times from many starts.  The model is dx/dt = net(x); its solution
is found with steps that adapt, and its gradient by the adjoint method: a second equation, solved backwards in time.

Source: Chen et al., "Neural Ordinary Differential Equations" (NeurIPS 2018), section 3 and its experiment on spirals.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import fx
import fx.numpy as jnp
from fx import nn, optim, random
from fx.experimental.ode import odeint

WHIRL = np.array([[-0.1, 2.0], [-2.0, -0.1]], np.float32)  # A: inwards and round
TIMES = np.linspace(0.0, 0.5, 6, dtype=np.float32)  # of the observations in training
WIDTH = 32


class Result(NamedTuple):
    """The loss after each step, the error of the untrained and of the trained model on new starts and four times the
    time span, and the trajectories: (times, starts, 2)."""

    losses: Any
    error_before: float
    error: float
    truth: Any
    found: Any


def spiral(x: Any, t: Any) -> Any:
    """The motion to be learned, of any number of points: (n, 2)."""
    return x**3 @ WHIRL


def motion(x: Any, t: Any, params: Any) -> Any:
    """The network.  It looks at x^3, as in the paper, and not at the time."""
    (w, b), (v, c) = params
    return nn.tanh(x**3 @ w + b) @ v + c


def init(key: Any) -> Any:
    first, second = random.split(key)
    dense = nn.initializers.normal(0.1)
    return (dense(first, (2, WIDTH)), jnp.zeros(WIDTH)), (dense(second, (WIDTH, 2)), jnp.zeros(2))


def solve(f: Any, starts: Any, times: Any, *args: Any) -> Any:
    """The trajectories from all starts at once: (times, starts, 2)."""
    return odeint(f, starts, times, *args, rtol=1e-4, atol=1e-5)


def loss(params: Any, starts: Any, observed: Any) -> Any:
    """The mean squared distance from what was observed."""
    return jnp.mean((solve(motion, starts, TIMES, params) - observed) ** 2)


def starting_points(key: Any, n: int) -> Any:
    """Points on circles of radius 1 to 2."""
    for_radius, for_angle = random.split(key)
    radius = random.uniform(for_radius, (n,), minval=1.0, maxval=2.0)
    angle = random.uniform(for_angle, (n,), maxval=2 * math.pi)
    return jnp.stack([radius * jnp.cos(angle), radius * jnp.sin(angle)], axis=1)


def run(steps: int = 400, starts: int = 32, rate: float = 2e-2, seed: int = 0) -> Result:
    """Trains on short trajectories and compares with long ones from other starts."""
    for_params, for_starts, for_test = random.split(random.key(seed), 3)
    params, points = init(for_params), starting_points(for_starts, starts)
    observed = solve(spiral, points, TIMES)
    optimizer = optim.adam(rate)

    @fx.jit
    def step(params: Any, state: Any) -> Any:
        value, gradient = fx.value_and_grad(loss)(params, points, observed)
        updates, state = optimizer.update(gradient, state, params)
        return optim.apply_updates(params, updates), state, value

    new, long = starting_points(for_test, 8), jnp.linspace(0.0, 4 * float(TIMES[-1]), 21)
    truth = solve(spiral, new, long)
    forecast = fx.jit(lambda params: solve(motion, new, long, params))

    def error(params: Any) -> float:
        return float(jnp.sqrt(jnp.mean((forecast(params) - truth) ** 2)))

    before, state, losses = error(params), optimizer.init(params), []
    for _ in range(steps):
        params, state, value = step(params, state)
        losses.append(float(value))
    return Result(np.array(losses), before, error(params), np.asarray(truth), np.asarray(forecast(params)))


def main() -> None:
    result = run()
    print(f"loss: {result.losses[0]:.5f} -> {result.losses[-1]:.7f}")
    print(f"root mean square error of forecasts: {result.error_before:.3f} -> {result.error:.4f}")


if __name__ == "__main__":
    main()
