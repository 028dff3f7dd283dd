"""Learning: training steps and inference of networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import float32

from .program import Task, generator, normal, program, uniform


@program
def gpt_training_step(lib: Any) -> Task:
    """A training step, Adam's moments included, of a GPT with two layers of width 128 on 8 x 64 tokens."""
    jnp, nn, tree = lib.numpy, lib.nn, lib.tree
    rng = generator()
    width, heads, layers, vocabulary, length, batch = 128, 4, 2, 100, 64, 8

    def weights(*shape: int) -> Any:
        return normal(rng, *shape, scale=0.05)

    def layer() -> dict[str, Any]:
        return {
            "qkv": weights(width, 3 * width),
            "output": weights(width, width),
            "up": weights(width, 4 * width),
            "down": weights(4 * width, width),
            "gain1": np.ones(width, float32),
            "gain2": np.ones(width, float32),
        }

    params = {
        "embedding": weights(vocabulary, width),
        "position": weights(length, width),
        "layers": [layer() for _ in range(layers)],
        "output": weights(width, vocabulary),
    }
    first, second = tree.map(np.zeros_like, params), tree.map(np.ones_like, params)
    tokens = rng.integers(0, vocabulary, (batch, length)).astype(np.int32)
    targets = rng.integers(0, vocabulary, (batch, length)).astype(np.int32)

    def normalized(x: Any, gain: Any) -> Any:
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) / jnp.sqrt(variance + 1e-5) * gain

    def by_head(a: Any) -> Any:
        return a.reshape(batch, length, heads, width // heads).transpose(0, 2, 1, 3)

    def loss(p: Any, x: Any, y: Any) -> Any:
        h = p["embedding"][x] + p["position"]
        mask = jnp.tril(jnp.ones((length, length), bool))
        for layer in p["layers"]:
            q, k, v = map(by_head, jnp.split(normalized(h, layer["gain1"]) @ layer["qkv"], 3, -1))
            scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(width // heads).astype(float32)
            mixed = nn.softmax(jnp.where(mask, scores, -1e9), -1) @ v
            h = h + mixed.transpose(0, 2, 1, 3).reshape(batch, length, width) @ layer["output"]
            h = h + nn.gelu(normalized(h, layer["gain2"]) @ layer["up"]) @ layer["down"]
        log_probabilities = nn.log_softmax(h @ p["output"], -1)
        return -jnp.mean(jnp.take_along_axis(log_probabilities, y[..., None], -1))

    def step(p: Any, m: Any, v: Any, x: Any, y: Any) -> Any:
        value, g = lib.value_and_grad(loss)(p, x, y)
        m = tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, v, g)
        p = tree.map(lambda p, m, v: p - 1e-3 * m / (jnp.sqrt(v) + 1e-8), p, m, v)
        return p, m, v, value

    return step, (params, first, second, tokens, targets)


@program
def greedy_decoding(lib: Any) -> Task:
    """64 tokens from one attention layer of width 128, each the likeliest, with a cache of keys and values."""
    jnp, lax, nn = lib.numpy, lib.lax, lib.nn
    rng = generator()
    width, length, vocabulary = 128, 64, 100
    shapes = {
        "embedding": (vocabulary, width),
        "query": (width, width),
        "key": (width, width),
        "value": (width, width),
        "mix": (width, width),
        "output": (width, vocabulary),
    }
    params = {name: normal(rng, *shape, scale=0.1) for name, shape in shapes.items()}

    def run(p: Any, first: Any) -> Any:
        def step(carry: Any, i: Any) -> Any:
            token, keys, values = carry
            h = p["embedding"][token]
            keys = lax.dynamic_update_slice(keys, (h @ p["key"])[None], (i, 0))
            values = lax.dynamic_update_slice(values, (h @ p["value"])[None], (i, 0))
            scores = keys @ (h @ p["query"]) / 11.3
            scores = jnp.where(jnp.arange(length) <= i, scores, -jnp.inf)
            h = h + (nn.softmax(scores) @ values) @ p["mix"]
            token = jnp.argmax(jnp.tanh(h) @ p["output"]).astype(jnp.int32)
            return (token, keys, values), token

        start = first, jnp.zeros((length, width), float32), jnp.zeros((length, width), float32)
        return lax.scan(step, start, jnp.arange(length))[1]

    return run, (params, np.int32(3))


@program
def attention_decoding(lib: Any) -> Task:
    """One query of 8 heads for each of 8 sequences, against 512 keys and values."""
    jnp, nn = lib.numpy, lib.nn
    rng = generator()
    batch, heads, length, width = 8, 8, 512, 32
    query = normal(rng, batch, heads, width)
    keys = normal(rng, batch, heads, length, width)
    values = normal(rng, batch, heads, length, width)

    def run(q: Any, k: Any, v: Any) -> Any:
        scores = jnp.einsum("bhd,bhtd->bht", q, k) / np.sqrt(width).astype(float32)
        return jnp.einsum("bht,bhtd->bhd", nn.softmax(scores, -1), v)

    return run, (query, keys, values)


@program
def normalizing_flow(lib: Any) -> Task:
    """A gradient step of a RealNVP with six coupling layers on 512 points of eight dimensions."""
    jnp = lib.numpy
    rng = generator()
    width, hidden = 8, 64

    def coupling() -> dict[str, Any]:
        return {
            "w1": normal(rng, width // 2, hidden, scale=0.1),
            "b1": np.zeros(hidden, float32),
            "w2": normal(rng, hidden, width, scale=0.1),
            "b2": np.zeros(width, float32),
        }

    params = [coupling() for _ in range(6)]
    points = normal(rng, 512, width)

    def loss(params: Any, x: Any) -> Any:
        log_determinant = 0.0
        for i, p in enumerate(params):
            a, b = jnp.split(x, 2, 1)
            if i % 2:
                a, b = b, a
            h = jnp.tanh(a @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]
            s, t = jnp.split(h, 2, 1)
            s = jnp.tanh(s)
            b = b * jnp.exp(s) + t
            log_determinant = log_determinant + s.sum(1)
            x = jnp.concatenate([b, a] if i % 2 else [a, b], 1)
        return jnp.mean(0.5 * (x * x).sum(1) - log_determinant)

    def step(params: Any, x: Any) -> Any:
        value, g = lib.value_and_grad(loss)(params, x)
        return lib.tree.map(lambda p, g: p - 0.01 * g, params, g), value

    return step, (params, points)


@program
def per_example_gradients(lib: Any) -> Task:
    """The gradients of 128 examples, each clipped to length one, and their sum (as for differential privacy)."""
    jnp, nn = lib.numpy, lib.nn
    rng = generator()
    w1, b1 = normal(rng, 64, 128, scale=0.1), np.zeros(128, float32)
    w2, b2 = normal(rng, 128, 10, scale=0.1), np.zeros(10, float32)
    inputs = normal(rng, 128, 64, scale=0.1)
    labels = rng.integers(0, 10, 128).astype(np.int32)

    def loss(p: Any, x: Any, y: Any) -> Any:
        h = nn.relu(x @ p[0] + p[1])
        return -nn.log_softmax(h @ p[2] + p[3])[y]

    def clipped(p: Any, x: Any, y: Any) -> Any:
        gradients = lib.vmap(lib.grad(loss), (None, 0, 0))(p, x, y)
        length = jnp.sqrt(sum(jnp.sum(a * a, axis=tuple(range(1, a.ndim))) for a in gradients))
        factor = jnp.minimum(1.0, 1.0 / length)
        return [jnp.tensordot(factor, a, 1) for a in gradients]

    return clipped, ([w1, b1, w2, b2], inputs, labels)


@program
def policy_gradient(lib: Any) -> Task:
    """REINFORCE: the gradient over 64 episodes, of 100 steps at most, of balancing a pole on a cart."""
    jnp, lax, nn, random = lib.numpy, lib.lax, lib.nn, lib.random
    rng = generator()
    params = {"w1": normal(rng, 4, 32, scale=0.3), "w2": normal(rng, 32, 2, scale=0.3)}
    starts = normal(rng, 64, 4, scale=0.02)

    def moved(state: Any, action: Any) -> Any:
        x, dx, angle, turn = state
        push = jnp.where(action == 1, 10.0, -10.0)
        c, s = jnp.cos(angle), jnp.sin(angle)
        t = (push + 0.05 * turn**2 * s) / 1.1
        turning = (9.8 * s - c * t) / (0.5 * (4 / 3 - 0.1 * c * c / 1.1))
        ahead = t - 0.05 * turning * c / 1.1
        return jnp.stack([x + 0.02 * dx, dx + 0.02 * ahead, angle + 0.02 * turn, turn + 0.02 * turning])

    def objective(w: Any, keys: Any, starts: Any) -> Any:
        def episode(key: Any, start: Any) -> Any:
            def step(carry: Any, k: Any) -> Any:
                state, alive = carry
                log_policy = nn.log_softmax(jnp.tanh(state @ w["w1"]) @ w["w2"])
                action = random.categorical(k, log_policy)
                new = moved(state, action)
                alive = alive & (jnp.abs(new[0]) < 2.4) & (jnp.abs(new[2]) < 0.2)
                return (jnp.where(alive, new, state), alive), (log_policy[action], alive.astype(float32))

            _, (chosen, rewards) = lax.scan(step, (start, True), random.split(key, 100))
            returns = jnp.cumsum(rewards[::-1])[::-1]
            return jnp.sum(chosen * lax.stop_gradient(returns) * rewards)

        return -jnp.mean(lib.vmap(episode)(keys, starts))

    return lib.value_and_grad(objective), (params, random.split(random.PRNGKey(0), 64), starts)


@program
def graph_network(lib: Any) -> Task:
    """Loss and gradient of three rounds of messages in a graph of 2000 nodes and 10000 edges."""
    jnp, nn = lib.numpy, lib.nn
    rng = generator()
    nodes, edges, width = 2000, 10000, 32

    def weights(*shape: int) -> Any:
        return normal(rng, *shape, scale=0.2)

    params = [{"message": weights(2 * width, width), "update": weights(2 * width, width)} for _ in range(3)]
    features = weights(nodes, width)
    senders = rng.integers(0, nodes, edges).astype(np.int32)
    receivers = rng.integers(0, nodes, edges).astype(np.int32)
    targets = weights(nodes)

    def loss(params: Any, x: Any, senders: Any, receivers: Any, y: Any) -> Any:
        for p in params:
            messages = nn.relu(jnp.concatenate([x[senders], x[receivers]], -1) @ p["message"])
            received = lib.ops.segment_sum(messages, receivers, nodes)
            x = x + jnp.tanh(jnp.concatenate([x, received], -1) @ p["update"])
        return jnp.mean((x.sum(-1) - y) ** 2)

    return lib.value_and_grad(loss), (params, features, senders, receivers, targets)


@program
def denoising_unet(lib: Any) -> Task:
    """Loss and gradient of a small U-Net that predicts the noise in eight images of 32 x 32 (diffusion)."""
    jnp, lax, nn = lib.numpy, lib.lax, lib.nn
    rng = generator()

    def weights(*shape: int) -> Any:
        return normal(rng, *shape, scale=0.1)

    params = {
        "enter": weights(3, 3, 3, 32),
        "down": weights(3, 3, 32, 64),
        "up": weights(3, 3, 64, 32),
        "leave": weights(3, 3, 64, 3),
        "time": weights(16, 64),
    }
    images, times, noise = weights(8, 32, 32, 3), weights(8, 16), weights(8, 32, 32, 3)

    def conv(x: Any, kernel: Any, stride: int = 1) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=layout)

    def group_norm(x: Any) -> Any:
        groups = x.reshape(*x.shape[:3], 8, -1)
        mean = groups.mean((1, 2, 4), keepdims=True)
        variance = groups.var((1, 2, 4), keepdims=True)
        return ((groups - mean) / jnp.sqrt(variance + 1e-5)).reshape(x.shape)

    def loss(p: Any, x: Any, t: Any, noise: Any) -> Any:
        fine = nn.silu(group_norm(conv(x, p["enter"])))
        coarse = nn.silu(group_norm(conv(fine, p["down"], 2)) + (t @ p["time"])[:, None, None])
        doubled = jnp.repeat(jnp.repeat(coarse, 2, 1), 2, 2)
        risen = nn.silu(group_norm(conv(doubled, p["up"])))
        return jnp.mean((conv(jnp.concatenate([fine, risen], -1), p["leave"]) - noise) ** 2)

    return lib.value_and_grad(loss), (params, images, times, noise)


@program
def bayesian_network(lib: Any) -> Task:
    """The variational bound (ELBO) of a Bayesian network from eight samples of its weights, and its gradient."""
    jnp, random = lib.numpy, lib.random
    rng = generator()
    x, y = normal(rng, 256, 20), normal(rng, 256)
    params = {
        "mean1": np.zeros((20, 50), float32),
        "scale1": np.full((20, 50), -3, float32),
        "mean2": np.zeros(50, float32),
        "scale2": np.full(50, -3, float32),
    }

    def bound(p: Any, key: Any) -> Any:
        sampling, _ = random.split(key)

        def error(k: Any) -> Any:
            k1, k2 = random.split(k)
            w1 = p["mean1"] + jnp.exp(p["scale1"]) * random.normal(k1, (20, 50), float32)
            w2 = p["mean2"] + jnp.exp(p["scale2"]) * random.normal(k2, (50,), float32)
            return jnp.sum((jnp.tanh(x @ w1) @ w2 - y) ** 2)

        def divergence(mean: Any, scale: Any) -> Any:
            return jnp.sum(0.5 * (jnp.exp(2 * scale) + mean * mean) - scale)

        prior = sum([divergence(p["mean1"], p["scale1"]), divergence(p["mean2"], p["scale2"])])
        return jnp.mean(lib.vmap(error)(random.split(sampling, 8))) + prior

    return lib.value_and_grad(bound), (params, random.PRNGKey(0))


@program
def physics_informed_network(lib: Any) -> Task:
    """The squared residual of Poisson's equation at 512 points of a network, by its Hessian, and the gradient."""
    jnp = lib.numpy
    rng = generator()
    params = [
        (normal(rng, 2, 32), np.zeros(32, float32)),
        (normal(rng, 32, 32, scale=0.2), np.zeros(32, float32)),
        (normal(rng, 32, 1, scale=0.2), np.zeros(1, float32)),
    ]
    points = uniform(rng, 512, 2)

    def network(p: Any, z: Any) -> Any:
        for w, b in p[:-1]:
            z = jnp.tanh(z @ w + b)
        return (z @ p[-1][0] + p[-1][1])[0]

    def residual(p: Any, z: Any) -> Any:
        h = lib.hessian(lambda z: network(p, z))(z)
        return h[0, 0] + h[1, 1] - jnp.sin(z[0])

    def loss(p: Any, points: Any) -> Any:
        return jnp.mean(lib.vmap(lambda z: residual(p, z))(points) ** 2)

    return lib.value_and_grad(loss), (params, points)


@program
def neural_ode(lib: Any) -> Task:
    """A network as the slope of 64 paths, 40 Runge-Kutta steps of fourth order, and the gradient through them."""
    jnp, lax = lib.numpy, lib.lax
    rng = generator()
    weights = normal(rng, 4, 50, scale=0.3), normal(rng, 50, 4, scale=0.3)
    start = normal(rng, 64, 4)

    def loss(w: Any, x: Any) -> Any:
        def slope(x: Any) -> Any:
            return jnp.tanh(x @ w[0]) @ w[1]

        def step(x: Any, _: Any) -> Any:
            k1 = slope(x)
            k2 = slope(x + 0.05 * k1)
            k3 = slope(x + 0.05 * k2)
            k4 = slope(x + 0.1 * k3)
            x = x + 0.1 / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            return x, x

        return jnp.mean(lax.scan(step, x, None, length=40)[1] ** 2)

    return lib.value_and_grad(loss), (weights, start)
