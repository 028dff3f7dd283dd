"""Statistics: inference, filters, sampling, fits, time series."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy import float32

from .program import Task, generator, normal, program


@program
def gaussian_process(lib: Any) -> Task:
    """The marginal likelihood of a Gaussian process over 300 points, and its gradient by the hyperparameters."""
    jnp = lib.numpy
    rng = generator()
    points, values = normal(rng, 300, 4), normal(rng, 300)
    start = {"scale": np.zeros(4, float32), "signal": float32(0), "noise": float32(-1)}

    def loss(p: Any, x: Any, y: Any) -> Any:
        scale, signal, noise = jnp.exp(p["scale"]), jnp.exp(p["signal"]), jnp.exp(p["noise"])
        a = x / scale
        d = jnp.sum((a[:, None] - a[None]) ** 2, -1)
        covariance = signal * jnp.exp(-0.5 * d) + (noise + 1e-4) * jnp.eye(len(x), dtype=x.dtype)
        factor = jnp.linalg.cholesky(covariance)
        white = lib.scipy.linalg.solve_triangular(factor, y, lower=True)
        return 0.5 * jnp.sum(white * white) + jnp.sum(jnp.log(jnp.diag(factor)))

    return lib.value_and_grad(loss), (start, points, values)


@program
def hamiltonian_monte_carlo(lib: Any) -> Task:
    """Eight chains of 50 Hamiltonian proposals, ten leapfrog steps each, for a logistic regression."""
    jnp, lax, random = lib.numpy, lib.lax, lib.random
    rng = generator()
    x = normal(rng, 500, 10)
    y = (rng.uniform(size=500) < 0.5).astype(float32)

    def log_density(w: Any) -> Any:
        z = x @ w
        return jnp.sum(y * z - jnp.logaddexp(0.0, z)) - 0.5 * jnp.sum(w * w)

    gradient = lib.grad(log_density)

    def leapfrog(i: Any, state: Any) -> Any:
        q, p = state
        p = p + 0.01 * gradient(q)
        q = q + 0.02 * p
        p = p + 0.01 * gradient(q)
        return q, p

    def chain(key: Any, w: Any) -> Any:
        def one(carry: Any, key: Any) -> Any:
            (w,) = carry
            k1, k2 = random.split(key)
            p = random.normal(k1, w.shape, w.dtype)
            q, moved = lax.fori_loop(0, 10, leapfrog, (w, p))
            kinetic = 0.5 * jnp.sum(p * p)
            a = log_density(q) - log_density(w) + kinetic - 0.5 * jnp.sum(moved * moved)
            accepted = jnp.log(random.uniform(k2)) < a
            w = jnp.where(accepted, q, w)
            return (w,), (w, accepted)

        return lax.scan(one, (w,), random.split(key, 50))[1]

    return lib.vmap(chain), (random.split(random.PRNGKey(0), 8), np.zeros((8, 10), float32))


@program
def kalman_filter(lib: Any) -> Task:
    """The likelihood of 500 observations under a linear model with four states, and its gradient by the noise."""
    jnp, lax = lib.numpy, lib.lax
    observed = normal(generator(), 500, 2)
    transition = (np.eye(4) + 0.1 * np.eye(4, k=2)).astype(float32)
    observation = np.eye(2, 4).astype(float32)

    def loss(log_noise: Any, ys: Any) -> Any:
        process_noise = jnp.exp(log_noise) * jnp.eye(4, dtype=float32)
        observation_noise = 0.5 * jnp.eye(2, dtype=float32)

        def step(carry: Any, y: Any) -> Any:
            m, p = carry
            m = transition @ m
            p = transition @ p @ transition.T + process_noise
            s = observation @ p @ observation.T + observation_noise
            e = y - observation @ m
            gain = jnp.linalg.solve(s, observation @ p).T
            _, log_determinant = jnp.linalg.slogdet(s)
            new = m + gain @ e, p - gain @ s @ gain.T
            return new, 0.5 * (log_determinant + e @ jnp.linalg.solve(s, e))

        start = jnp.zeros(4, float32), jnp.eye(4, dtype=float32)
        return jnp.sum(lax.scan(step, start, ys)[1])

    return lib.value_and_grad(loss), (float32(-2), observed)


@program
def hidden_markov_model(lib: Any) -> Task:
    """The forward algorithm over 200 symbols with 50 states, and its gradient by both matrices."""
    lax, nn, logsumexp = lib.lax, lib.nn, lib.scipy.special.logsumexp
    rng = generator()
    transitions, emissions = normal(rng, 50, 50), normal(rng, 50, 30)
    symbols = rng.integers(0, 30, 200).astype(np.int32)

    def loss(transitions: Any, emissions: Any, ys: Any) -> Any:
        moves = nn.log_softmax(transitions, -1)
        shows = nn.log_softmax(emissions, -1)

        def step(a: Any, y: Any) -> Any:
            return logsumexp(a[:, None] + moves, axis=0) + shows[:, y], None

        a, _ = lax.scan(step, shows[:, ys[0]], ys[1:])
        return -logsumexp(a)

    return lib.value_and_grad(loss, argnums=(0, 1)), (transitions, emissions, symbols)


# Resampling asks where a number lies among running sums: a last bit of a sum moves whole particles, and all after it.
@partial(program, tolerance=0.25)
def particle_filter(lib: Any) -> Task:
    """A bootstrap filter of 1000 particles over 100 observations, resampled at each."""
    jnp, lax, random = lib.numpy, lib.lax, lib.random
    observed = normal(generator(), 100)

    def run(key: Any, ys: Any) -> Any:
        def step(carry: Any, now: Any) -> Any:
            (x,) = carry
            k, y = now
            k1, k2 = random.split(k)
            x = 0.9 * x + random.normal(k1, x.shape, float32)
            log_weights = -0.5 * (y - x) ** 2
            w = jnp.exp(log_weights - jnp.max(log_weights))
            sums = jnp.cumsum(w / jnp.sum(w))
            u = (jnp.arange(1000) + random.uniform(k2, dtype=float32)) / 1000
            i = jnp.searchsorted(sums, u)
            return (x[jnp.clip(i, 0, 999)],), jnp.mean(x)

        return lax.scan(step, (jnp.zeros(1000, float32),), (random.split(key, 100), ys))[1]

    return run, (random.PRNGKey(0), observed)


@program
def k_means(lib: Any) -> Task:
    """Lloyd's algorithm: 10000 points of eight dimensions, 16 clusters, until they stand or 20 iterations."""
    jnp, lax, segment_sum = lib.numpy, lib.lax, lib.ops.segment_sum
    points = normal(generator(), 10000, 8)

    def run(x: Any, centres: Any) -> Any:
        def goes_on(carry: Any) -> Any:
            i, centres, old = carry
            return (i < 20) & jnp.any(jnp.abs(centres - old) > 1e-6)

        def step(carry: Any) -> Any:
            i, centres, _ = carry
            d = jnp.sum(x * x, 1)[:, None] - 2 * x @ centres.T + jnp.sum(centres * centres, 1)
            k = jnp.argmin(d, 1)
            s = segment_sum(x, k, 16)
            n = segment_sum(jnp.ones(len(x), x.dtype), k, 16)
            return i + 1, s / jnp.maximum(n, 1)[:, None], centres

        return lax.while_loop(goes_on, step, (0, centres, centres + 1))

    return run, (points, points[:16].copy())


@program
def option_price(lib: Any) -> Task:
    """The price of an option over 20000 random paths of 50 steps, with delta and vega."""
    jnp, lax, random = lib.numpy, lib.lax, lib.random

    def price(spot: Any, volatility: Any, key: Any) -> Any:
        def step(s: Any, k: Any) -> Any:
            z = random.normal(k, (20000,), float32)
            drift = (0.01 - 0.5 * volatility * volatility) * 0.02
            return s * jnp.exp(drift + volatility * np.sqrt(0.02).astype(float32) * z), None

        s, _ = lax.scan(step, jnp.full((20000,), spot), random.split(key, 50))
        return jnp.mean(jnp.maximum(s - 100.0, 0.0))

    return lib.value_and_grad(price, argnums=(0, 1)), (float32(100), float32(0.2), random.PRNGKey(1))


@program
def levenberg_marquardt(lib: Any) -> Task:
    """The fit of an exponential decay to 200 points, 30 damped Gauss-Newton steps."""
    jnp, lax = lib.numpy, lib.lax
    t = np.linspace(0, 4, 200).astype(float32)
    y = (2 * np.exp(-0.7 * t) + 0.3 + 0.05 * generator().normal(size=200)).astype(float32)

    def residual(p: Any) -> Any:
        return p[0] * jnp.exp(-p[1] * t) + p[2] - y

    def run(p: Any) -> Any:
        def step(i: Any, state: Any) -> Any:
            p, damping = state
            jacobian, e = lib.jacfwd(residual)(p), residual(p)
            normal_matrix = jacobian.T @ jacobian + damping * jnp.eye(3, dtype=float32)
            d = jnp.linalg.solve(normal_matrix, jacobian.T @ e)
            better = jnp.sum(residual(p - d) ** 2) < jnp.sum(e**2)
            return jnp.where(better, p - d, p), jnp.where(better, damping * 0.5, damping * 2)

        return lax.fori_loop(0, 30, step, (p, float32(1)))[0]

    return run, (np.ones(3, float32),)


@program
def newton_step(lib: Any) -> Task:
    """A Newton step of a logistic regression with 50 weights over 1000 points, by the Hessian."""
    jnp = lib.numpy
    rng = generator()
    x = normal(rng, 1000, 50)
    y = (rng.uniform(size=1000) < 0.5).astype(float32)

    def loss(w: Any) -> Any:
        z = x @ w
        return jnp.mean(jnp.logaddexp(0.0, z) - y * z) + 1e-2 * jnp.sum(w * w)

    def run(w: Any) -> Any:
        return w - jnp.linalg.solve(lib.hessian(loss)(w), lib.grad(loss)(w))

    return run, (np.zeros(50, float32),)


@program
def summary_statistics(lib: Any) -> Task:
    """Medians, percentiles, deviations, correlations and a histogram of 1000 x 500 numbers."""
    jnp = lib.numpy
    data = normal(generator(), 1000, 500)

    def run(x: Any) -> Any:
        return (
            jnp.median(x, 1),
            jnp.percentile(x, 90.0, axis=1),
            jnp.std(x, 1),
            jnp.corrcoef(x[:50]),
            jnp.histogram(x, 50)[0],
        )

    return run, (data,)


@program
def bootstrap(lib: Any) -> Task:
    """Mean and median of 100 resamples of 2000 numbers."""
    jnp, random = lib.numpy, lib.random
    data = normal(generator(), 2000)

    def one(key: Any, x: Any) -> Any:
        sample = x[random.randint(key, (2000,), 0, 2000)]
        return jnp.mean(sample), jnp.median(sample)

    def run(keys: Any, x: Any) -> Any:
        return lib.vmap(lambda key: one(key, x))(keys)

    return run, (random.split(random.PRNGKey(0), 100), data)


@program
def moving_average_backtest(lib: Any) -> Task:
    """What crossing moving averages would have earned on 100 random walks of 1000 days, less costs."""
    jnp, lax = lib.numpy, lib.lax
    prices = normal(generator(), 1000, 100).cumsum(0)

    def run(x: Any, fast_rate: Any, slow_rate: Any) -> Any:
        def step(carry: Any, price: Any) -> Any:
            fast, slow, position, cost = carry
            fast = fast + fast_rate * (price - fast)
            slow = slow + slow_rate * (price - slow)
            new = jnp.sign(fast - slow)
            return (fast, slow, new, cost - 0.001 * jnp.abs(new - position)), new

        start = x[0], x[0], jnp.zeros(100, float32), jnp.zeros(100, float32)
        (_, _, _, cost), positions = lax.scan(step, start, x)
        return jnp.sum(positions[:-1] * jnp.diff(x, axis=0), 0) + cost

    return run, (prices, float32(0.1), float32(0.02))


@program
def soft_time_warping(lib: Any) -> Task:
    """Soft dynamic time warping of two series of 200 by antidiagonals, and its gradient."""
    jnp, lax, logsumexp = lib.numpy, lib.lax, lib.scipy.special.logsumexp
    rng = generator()
    first, second = normal(rng, 200), normal(rng, 200)

    def shifted(v: Any) -> Any:
        return jnp.concatenate([jnp.full((1,), 1e8, float32), v[:-1]])

    def step(carry: Any, cost: Any) -> Any:
        before, last = carry
        best = -0.1 * logsumexp(jnp.stack([-last, -shifted(last), -shifted(before)]) / 0.1, axis=0)
        return (last, jnp.minimum(best, 1e8) + cost), None

    def distance(a: Any, b: Any) -> Any:
        costs = (a[:, None] - b[None]) ** 2
        n = len(a)
        i = jnp.arange(n)[:, None]
        skewed = jnp.full((2 * n - 1, n), 1e8, float32).at[i + jnp.arange(n)[None], i].set(costs)
        far = jnp.full((n,), 1e8, float32)
        (_, last), _ = lax.scan(step, (far, far.at[0].set(costs[0, 0])), skewed[1:])
        return last[-1]

    return lib.value_and_grad(distance), (first, second)
