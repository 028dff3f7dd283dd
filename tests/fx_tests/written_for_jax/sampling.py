"""Models as functions under handlers, and a Hamiltonian chain of their log density."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax, random
from jax.scipy import stats
from jax.scipy.special import expit, logsumexp

STACK = []


class handler:
    def __init__(self, values=None, key=None):
        self.values, self.key, self.log_density, self.seen = values or {}, key, 0.0, {}

    def __enter__(self):
        STACK.append(self)
        return self

    def __exit__(self, *_):
        STACK.remove(self)

    def sample(self, name, loc, scale, observed=None):
        if observed is not None:
            value = observed
        elif name in self.values:
            value = self.values[name]
        else:
            self.key, key = random.split(self.key)
            value = loc + scale * random.normal(key, jnp.shape(loc))
        self.seen[name] = value
        self.log_density += jnp.sum(stats.norm.logpdf(value, loc, scale))
        return value


def model(y):
    mean = STACK[-1].sample("mean", 0.0, 2.0)
    effects = STACK[-1].sample("effects", mean * jnp.ones(3), 1.0)
    STACK[-1].sample("y", effects, 0.5, observed=y)


def potential(values, y):
    with handler(values) as h:
        model(y)
    return -h.log_density


def chain(key, values, y, steps):
    gradient = jax.grad(potential)

    def leapfrog(i, state):
        q, p = state
        p = jax.tree.map(lambda p, g: p - 0.05 * g, p, gradient(q, y))
        q = jax.tree.map(lambda q, p: q + 0.1 * p, q, p)
        return q, jax.tree.map(lambda p, g: p - 0.05 * g, p, gradient(q, y))

    def step(q, key):
        k1, k2 = random.split(key)
        leaves, tree = jax.tree.flatten(q)
        keys = random.split(k1, len(leaves))
        p = jax.tree.unflatten(tree, [random.normal(k, jnp.shape(l)) for k, l in zip(keys, leaves)])
        energy = lambda q, p: potential(q, y) + 0.5 * sum(jnp.sum(x**2) for x in jax.tree.leaves(p))
        new, momentum = lax.fori_loop(0, 4, leapfrog, (q, p))
        accepted = jnp.log(random.uniform(k2)) < energy(q, p) - energy(new, momentum)
        q = lax.cond(accepted, lambda: new, lambda: q)
        return q, (q, accepted)

    return lax.scan(step, values, random.split(key, steps))[1]


def results():
    y = jnp.array([1.0, -0.5, 2.0])
    with handler(key=random.key(3)) as h:
        model(y)
    first = {name: h.seen[name] for name in ("mean", "effects")}
    samples, accepted = jax.jit(chain, static_argnums=3)(random.key(4), first, y, 10)
    halvings = lax.while_loop(lambda s: s[0] > 1, lambda s: (s[0] / 2, s[1] + 1), (jnp.float32(100.0), 0))
    return {
        "prior": [first["mean"], first["effects"], h.log_density],
        "chain": [samples["mean"], samples["effects"], accepted],
        "halvings": halvings,
        "special": [expit(y), logsumexp(y), random.categorical(random.key(5), y, shape=(6,))],
    }
