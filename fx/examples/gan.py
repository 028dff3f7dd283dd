"""A generative adversarial network on handwritten digits.  ``python -m fx train gan --help``.

Of 64 normal numbers and a digit that is asked for, the generator makes a 28 x 28 image; the discriminator tells such images from
those of MNIST, and the generator learns from what gave it away. With the logit D(x, label) one step lowers

    mean softplus(-D(x, label)) + mean softplus(D(G(z, label), label))    by the discriminator,
    mean softplus(-D(G(z, label), label))                                 by the generator,

each with an optimizer of its own: a step written by hand, as the ``Trainer`` has one loss. What is shown, saved and judged is the
generator with the running mean of its weights. The judge is the network of the program ``mnist``: a digit counts as recognised if it
is sure of one with more than 0.9. It has no part in training; the labels have, to both networks (a conditional GAN).

Source: Goodfellow et al., "Generative adversarial nets", 2014; Mirza, Osindero, "Conditional generative adversarial nets", 2014; Radford,
Metz, Chintala, "Unsupervised representation learning with deep convolutional generative adversarial networks", 2016; Miyato,
Koyama, "cGANs with projection discriminator", 2018; Yazici et al., "The unusual effectiveness of averaging in GAN training", 2019.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

import fx
import fx.numpy as fnp
from fx import data, nn, optim, random, viz
from fx import train as training
from fx.examples import mnist, programs

QUICK = {"epochs": 2, "batch_size": 16, "examples": 400, "judge_epochs": 1}
LATENT, WIDTH = 64, 32
MADE = 200  # images of each digit that are judged
SURE = 0.9


class Generator(nn.Module):
    """74 numbers to 7 x 7 x 64, then by two transposed convolutions to 14 x 14 x 32 and 28 x 28 x 1."""

    dense: nn.Linear
    norm1: nn.BatchNorm
    conv1: nn.ConvTranspose2d
    norm2: nn.BatchNorm
    conv2: nn.ConvTranspose2d

    def __init__(self, key: Any) -> None:
        a, b, c = random.split(key, 3)
        up = partial(nn.ConvTranspose2d, kernel_size=4, strides=2, padding=1)
        self.dense, self.norm1 = nn.Linear(LATENT + 10, 49 * 2 * WIDTH, key=a), nn.BatchNorm(2 * WIDTH)
        self.conv1, self.norm2 = up(2 * WIDTH, WIDTH, key=b), nn.BatchNorm(WIDTH)
        self.conv2 = up(WIDTH, 1, key=c)

    def __call__(self, z: Any, labels: Any, moments: Any) -> tuple[Any, Any]:
        x = self.dense(fnp.concatenate([z, nn.one_hot(labels, 10)], axis=1))
        x, norm1 = self.norm1(x.reshape(len(z), 7, 7, 2 * WIDTH), moments["norm1"])
        x, norm2 = self.norm2(self.conv1(nn.relu(x)), moments["norm2"])
        return nn.sigmoid(self.conv2(nn.relu(x))), {"norm1": norm1, "norm2": norm2}


class Discriminator(nn.Module):
    """Two convolutions with stride 2 to 7 x 7 x 64, and the logit: a part for any digit, and one for the digit of the label."""

    conv1: nn.Conv2d
    conv2: nn.Conv2d
    dense: nn.Linear

    def __init__(self, key: Any) -> None:
        a, b, c = random.split(key, 3)
        down = partial(nn.Conv2d, kernel_size=4, strides=2, padding=1)
        self.conv1, self.conv2 = down(1, WIDTH, key=a), down(WIDTH, 2 * WIDTH, key=b)
        self.dense = nn.Linear(49 * 2 * WIDTH, 11, key=c)

    def __call__(self, images: Any, labels: Any) -> Any:
        x = nn.leaky_relu(self.conv2(nn.leaky_relu(self.conv1(images), 0.2)), 0.2)
        parts = self.dense(x.reshape(len(x), -1))
        return parts[:, 10] + fnp.sum(parts[:, :10] * nn.one_hot(labels, 10), axis=1)


# ------------------------------------------------------------------------------------------- the step


class State(NamedTuple):
    """Both networks and their optimizers, the running moments of the generator's norms, the key of the noise, and the steps so far."""

    generator: Generator
    discriminator: Discriminator
    moments: Any
    making: Any
    telling: Any
    key: Any
    step: Any


RATE, MOMENTUM, AVERAGING = 5e-4, 0.5, 0.995
making = optim.chain(optim.adam(RATE, b1=MOMENTUM), optim.weight_ema(AVERAGING))
telling = optim.adam(RATE, b1=MOMENTUM)


def start(key: Any) -> State:
    """Networks that know nothing."""
    for_generator, for_discriminator, noise = random.split(key, 3)
    return started(Generator(for_generator), Discriminator(for_discriminator), noise)


def started(generator: Generator, discriminator: Discriminator, key: Any) -> State:
    """The state before the first step."""
    optimizers = making.init(generator), telling.init(discriminator)
    return training.copied(State(generator, discriminator, nn.init_state(generator), *optimizers, key, np.int32(0)))


def generator_loss(generator: Generator, state: State, z: Any, labels: Any) -> Any:
    """The mean of -log of the probability that the discriminator gives to its images; with them, and with the moments."""
    images, moments = generator(z, labels, state.moments)
    return fnp.mean(nn.softplus(-state.discriminator(images, labels))), (images, moments)


def discriminator_loss(discriminator: Discriminator, images: Any, made: Any, labels: Any) -> Any:
    """The cross-entropy of telling images from those that were made for the same labels."""
    return fnp.mean(nn.softplus(-discriminator(images, labels)) + nn.softplus(discriminator(made, labels)))


@partial(fx.jit, donate_argnums=0)
def step(state: State, batch: Any) -> tuple[State, dict[str, Any]]:
    """Both networks move, each against the other as it was."""
    images, labels = batch
    z = random.normal(random.fold_in(state.key, state.step), (len(images), LATENT))
    (fooling, (made, moments)), gradient = fx.value_and_grad(generator_loss, has_aux=True)(
        state.generator, state, z, labels
    )
    updates, making_state = making.update(gradient, state.making, state.generator)
    found, gradient = fx.value_and_grad(discriminator_loss)(state.discriminator, images, made, labels)
    moves, telling_state = telling.update(gradient, state.telling, state.discriminator)
    generator, discriminator = (
        optim.apply_updates(state.generator, updates),
        optim.apply_updates(state.discriminator, moves),
    )
    moved = State(generator, discriminator, moments, making_state, telling_state, state.key, state.step + 1)
    return moved, {"discriminator": found, "generator": fooling}


# --------------------------------------------------------------------------------------- what is judged

make = fx.jit(lambda generator, z, labels, moments: generator(z, labels, moments))
probabilities = fx.jit(lambda params, images: nn.softmax(mnist.head(params, mnist.features(params, images))))


def ready(generator: Generator, key: Any) -> tuple[Generator, Any]:
    """A generator for use, and the running moments of its norms: of a hundred batches of 200 images."""
    moments = nn.init_state(generator)
    for k in random.split(key, 100):
        _, moments = make(generator, random.normal(k, (200, LATENT)), fnp.arange(200) % 10, moments)
    return nn.inference(generator), moments


def recognised(judge: Any, images: Any, labels: Any) -> dict[str, float]:
    """Shares of the images: in which the judge is sure of some digit, of the one asked for, and of the digit that it is sure of least."""
    found = np.asarray(probabilities(judge, images))
    sure, digit = found.max(axis=1) > SURE, found.argmax(axis=1)
    each = np.bincount(digit[sure], minlength=10) / len(labels)
    return {
        "recognised": float(sure.mean()),
        "as asked": float((sure & (digit == labels)).mean()),
        "rarest": float(each.min()),
    }


def train(
    *, epochs: int = 20, batch_size: int = 32, seed: int = 0, examples: int = 8000, judge_epochs: int = 10
) -> programs.Result:
    """Trains on 8,000 digits (or the given number), as the network of ``mnist`` that then judges 2,000 that were made, and 2,000 others."""
    digits = data.mnist()
    chosen = slice(None, None, max(len(digits.train.labels) // examples, 1))
    given = data.Split(*[x[chosen] for x in digits.train])
    judge = mnist.train(epochs=judge_epochs, seed=seed, examples=examples).model
    for_networks, for_order, for_moments, for_samples = random.split(random.key(seed), 4)
    state, history, clock = start(for_networks), [], programs.Clock([step])
    print("adversarial networks")
    for epoch in range(epochs):
        means = training.Means()
        for batch in data.batches(given, batch_size, key=random.fold_in(for_order, epoch), drop_last=True):
            state, info = step(state, batch)
            means.add(info, batch_size)
            clock.lap("step")
        history.append(means.result())
        told = "  ".join(f"{name}'s loss {value:.3f}" for name, value in history[-1].items())
        print(f"epoch {epoch + 1:>{len(str(epochs))}}/{epochs}  {told}", flush=True)
    generator, moments = ready(optim.averaged_weights(state.making), for_moments)
    labels = np.repeat(np.arange(10, dtype=np.int32), MADE)
    images, _ = make(generator, random.normal(for_samples, (len(labels), LATENT)), labels, moments)
    measures, of_mnist = recognised(judge, images, labels), recognised(judge, *digits.test)
    print(
        f"recognised with more than {SURE}: {measures['recognised']:.2%} of {len(labels)} digits that were made"
        f" ({measures['as asked']:.2%} as the one asked for; the rarest digit {measures['rarest']:.2%}),"
        f" {of_mnist['recognised']:.2%} of MNIST's; {clock.compiling:.1f} s compiling, {clock.running:.1f} s training"
    )
    shown = {"images": np.asarray(images).reshape(10, MADE, 28, 28)}
    return programs.Result({"generator": generator, "moments": moments}, history, measures, shown)


def figure(result: programs.Result) -> Any:
    """Ten images for each digit, and the losses."""
    drawn = viz.figure(13, 6)
    left, right = drawn.subfigures(1, 2, width_ratios=(1.2, 1))
    viz.images(result.shown["images"][:, :10].reshape(-1, 28, 28), columns=10, on=left)
    viz.curves(result.history, ["generator", "discriminator"], on=right)
    return drawn


if __name__ == "__main__":
    programs.main(train)
