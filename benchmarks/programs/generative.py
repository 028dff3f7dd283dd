"""Twins of the programs that make images: ``vae`` and ``gan``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fx
from fx import data, optim, random
from fx.examples import gan, mnist, vae

from . import twin
from .twin import Side, Start


def start(name: str) -> Start:
    digits = data.mnist().train
    if name == "vae":
        for_params, for_order, noise, _ = random.split(random.key(0), 4)
        model = vae.VAE(for_params)
        batches = lambda epoch: data.batches([digits.images], 128, key=random.fold_in(for_order, epoch))
    else:
        for_params, for_order = random.split(random.key(0))
        state = gan.start(for_params)
        model, noise = (state.generator, state.discriminator), state.key
        batches = lambda epoch: data.batches(digits, 32, key=random.fold_in(for_order, epoch), drop_last=True)
    return Start(model, batches, noise, {"name": name})


def fx_side(start: Start) -> Side:
    if start.options["name"] == "vae":
        return twin.fx_side(start, vae.trainer())
    state = gan.started(*start.model, start.key)

    def step(batch: Any) -> Any:
        nonlocal state
        state, info = gan.step(state, batch)
        return info["discriminator"]

    return Side(step, start.batches, lambda: _recognised(optim.averaged_weights(state.making)))


def torch_side(start: Start) -> Side:
    return _torch_vae(start) if start.options["name"] == "vae" else _torch_gan(start)


def jax_side(start: Start) -> Side:
    return _jax_vae(start) if start.options["name"] == "vae" else _jax_gan(start)


# ----------------------------------------------------------------------------------------------- vae


def _torch_vae(start: Start) -> Side:
    import torch

    F, weights = torch.nn.functional, twin.tensors(start.model)
    draw = _noise(start.key, vae.LATENT)

    def perceptron(part: Any, x: Any) -> Any:
        first, _, last = part.layers
        return torch.relu(x @ first.weight + first.bias) @ last.weight + last.bias

    def value(batch: Any) -> Any:
        x = torch.from_numpy(batch[0].reshape(-1, 784))
        mean, log_variance = perceptron(weights.encoder, x).chunk(2, dim=1)
        logits = perceptron(weights.decoder, mean + torch.exp(log_variance / 2) * torch.from_numpy(draw(len(x))))
        likelihood = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
        divergence = (mean**2 + torch.exp(log_variance) - 1 - log_variance).sum(1) / 2
        return (divergence - likelihood).mean()

    return Side(twin.torch_step(value, torch.optim.Adam(twin.leaves(weights), 1e-3)), start.batches)


def _noise(key: Any, size: int) -> Callable[[int], np.ndarray]:
    """The numbers that the program draws in its steps, one step after the other; to the same bits, as they are compiled too."""
    steps = iter(range(1 << 30))
    drawn = fx.jit(lambda step, count: random.normal(random.fold_in(key, step), (count, size)), static_argnums=1)
    return lambda count: np.array(drawn(np.int32(next(steps)), count))


def _jax_vae(start: Start) -> Side:
    import jax
    import optax

    jnp, draw = jax.numpy, _noise(start.key, vae.LATENT)

    def perceptron(part: Any, x: Any) -> Any:
        first, _, last = part.layers
        return jax.nn.relu(x @ first.weight + first.bias) @ last.weight + last.bias

    def loss(weights: Any, images: Any, noise: Any) -> Any:
        x = images.reshape(len(images), 784)
        mean, log_variance = jnp.split(perceptron(weights.encoder, x), 2, axis=1)
        logits = perceptron(weights.decoder, mean + jnp.exp(log_variance / 2) * noise)
        likelihood = -optax.sigmoid_binary_cross_entropy(logits, x).sum(1)
        divergence = (mean**2 + jnp.exp(log_variance) - 1 - log_variance).sum(1) / 2
        return (divergence - likelihood).mean()

    update = twin.jax_step(loss, optax.adam(1e-3), start.model)
    return Side(lambda batch: update((*batch, draw(len(batch[0])))), start.batches)


# ----------------------------------------------------------------------------------------------- gan


def _recognised(generator: Any) -> float:
    """The share of a generator's digits that the network of ``mnist`` recognises."""
    judge = mnist.train().model
    generator, moments = gan.ready(generator, random.key(1))
    labels = np.repeat(np.arange(10, dtype=np.int32), gan.MADE)
    images, _ = gan.make(generator, random.normal(random.key(2), (len(labels), gan.LATENT)), labels, moments)
    return gan.recognised(judge, images, labels)["recognised"]


def _torch_gan(start: Start) -> Side:
    import torch

    F = torch.nn.functional
    softplus = lambda x: F.softplus(x, threshold=50)  # beyond its own threshold of 20 it is 1e-11 off
    (making, telling), draw = twin.tensors(start.model), _noise(start.key, gan.LATENT)
    # channels first, which is what PyTorch is fast with: kernels (in, out, height, width) and (out, in, height, width)
    kernel = lambda p: p.weight.permute(2, 3, 0, 1)
    turned = lambda p: p.weight.permute(3, 2, 0, 1)
    averages = [torch.tensor(np.array(w)) for w in fx.tree.leaves(start.model[0])]
    optimizers = [
        torch.optim.Adam(twin.leaves(part), gan.RATE, betas=(gan.MOMENTUM, 0.999)) for part in (making, telling)
    ]
    steps = 0

    def norm(p: Any, x: Any) -> Any:
        return F.batch_norm(x, None, None, p.weight, p.bias, training=True, eps=1e-5)

    def make(z: Any, labels: Any) -> Any:
        x = torch.cat([z, F.one_hot(labels, 10).to(z.dtype)], dim=1) @ making.dense.weight + making.dense.bias
        x = norm(making.norm1, x.reshape(len(z), 7, 7, -1).permute(0, 3, 1, 2))
        x = norm(making.norm2, F.conv_transpose2d(torch.relu(x), kernel(making.conv1), making.conv1.bias, 2, 1))
        return torch.sigmoid(F.conv_transpose2d(torch.relu(x), kernel(making.conv2), making.conv2.bias, 2, 1))

    def tell(images: Any, labels: Any) -> Any:
        x = F.leaky_relu(F.conv2d(images, turned(telling.conv1), telling.conv1.bias, 2, 1), 0.2)
        x = F.leaky_relu(F.conv2d(x, turned(telling.conv2), telling.conv2.bias, 2, 1), 0.2)
        parts = x.permute(0, 2, 3, 1).flatten(1) @ telling.dense.weight + telling.dense.bias
        return parts[:, 10] + parts.gather(1, labels[:, None])[:, 0]

    def step(batch: Any) -> Any:
        nonlocal steps
        images, labels = torch.from_numpy(batch[0].transpose(0, 3, 1, 2)), torch.from_numpy(batch[1]).long()
        z = torch.from_numpy(draw(len(labels))).to(images.dtype)
        made = make(z, labels)
        fooling = softplus(-tell(made, labels)).mean()
        gradients = torch.autograd.grad(fooling, twin.leaves(making))
        made = made.detach()
        found = (softplus(-tell(images, labels)) + softplus(tell(made, labels))).mean()
        optimizers[1].zero_grad()
        found.backward()
        for weight, gradient in zip(twin.leaves(making), gradients):
            weight.grad = gradient
        for optimizer in optimizers:
            optimizer.step()
        steps += 1
        rate = (1 - gan.AVERAGING) / (1 - gan.AVERAGING**steps)
        with torch.no_grad():
            for mean, weight in zip(averages, twin.leaves(making)):
                mean += rate * (weight - mean)
        return found.detach()

    def score() -> float:
        structure = fx.tree.structure(start.model[0])
        generator = fx.tree.unflatten(structure, [mean.numpy() for mean in averages])
        return _recognised(generator)

    return Side(step, start.batches, score)


def _jax_gan(start: Start) -> Side:
    import jax
    import optax

    jnp, draw = jax.numpy, _noise(start.key, gan.LATENT)
    flat, structure = fx.tree.flatten(start.model)
    count = len(fx.tree.leaves(start.model[0]))
    both = lambda making, telling: fx.tree.unflatten(structure, [*making, *telling])
    optimizer = optax.adam(gan.RATE, b1=gan.MOMENTUM)
    convolve = lambda x, w, **how: jax.lax.conv_general_dilated(x, w, dimension_numbers=("NHWC", "HWIO", "NHWC"), **how)

    def norm(p: Any, x: Any) -> Any:
        centred = x - x.mean((0, 1, 2))
        return centred * jax.lax.rsqrt((centred**2).mean((0, 1, 2)) + 1e-5) * p.weight + p.bias

    def up(p: Any, x: Any) -> Any:
        kernel = jnp.flip(p.weight, (0, 1))
        return convolve(x, kernel, window_strides=(1, 1), padding=[(2, 2), (2, 2)], lhs_dilation=(2, 2)) + p.bias

    def down(p: Any, x: Any) -> Any:
        return jax.nn.leaky_relu(convolve(x, p.weight, window_strides=(2, 2), padding=[(1, 1), (1, 1)]) + p.bias, 0.2)

    def make(p: Any, z: Any, labels: Any) -> Any:
        x = jnp.concatenate([z, jax.nn.one_hot(labels, 10)], axis=1) @ p.dense.weight + p.dense.bias
        x = jax.nn.relu(norm(p.norm1, x.reshape(len(z), 7, 7, -1)))
        return jax.nn.sigmoid(up(p.conv2, jax.nn.relu(norm(p.norm2, up(p.conv1, x)))))

    def tell(p: Any, images: Any, labels: Any) -> Any:
        x = down(p.conv2, down(p.conv1, images))
        parts = x.reshape(len(x), -1) @ p.dense.weight + p.dense.bias
        return parts[:, 10] + jnp.take_along_axis(parts, labels[:, None], 1)[:, 0]

    def fooling(making: Any, telling: Any, z: Any, labels: Any) -> Any:
        generator, discriminator = both(making, telling)
        made = make(generator, z, labels)
        return jax.nn.softplus(-tell(discriminator, made, labels)).mean(), made

    def finding(telling: Any, making: Any, images: Any, made: Any, labels: Any) -> Any:
        _, p = both(making, telling)
        return (jax.nn.softplus(-tell(p, images, labels)) + jax.nn.softplus(tell(p, made, labels))).mean()

    @jax.jit
    def update(making: Any, telling: Any, states: Any, means: Any, steps: Any, images: Any, labels: Any, z: Any) -> Any:
        (_, made), gradient = jax.value_and_grad(fooling, has_aux=True)(making, telling, z, labels)
        updates, first = optimizer.update(gradient, states[0])
        found, gradient = jax.value_and_grad(finding)(telling, making, images, made, labels)
        moves, second = optimizer.update(gradient, states[1])
        making, telling = optax.apply_updates(making, updates), optax.apply_updates(telling, moves)
        rate = (1 - gan.AVERAGING) / (1 - gan.AVERAGING ** (steps + 1.0))
        means = jax.tree.map(lambda mean, w: (mean + rate * (w - mean)).astype(w.dtype), means, making)
        return making, telling, (first, second), means, steps + 1, found

    arrays = [jnp.asarray(np.asarray(x)) for x in flat]
    making, telling = arrays[:count], arrays[count:]
    held = [making, telling, (optimizer.init(making), optimizer.init(telling)), making, np.int32(0)]

    def step(batch: Any) -> Any:
        *held[:], found = update(*held, *batch, draw(len(batch[0])))
        return found

    return Side(step, start.batches)
