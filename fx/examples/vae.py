"""A variational autoencoder on handwritten digits.  ``python -m fx train vae --help``.

The encoder gives mean and log-variance of q(z | x), the decoder the logits of p(x | z); training maximises

    ELBO = E_q[log p(x | z)] - KL(q(z | x) || N(0, 1)).

Source: Kingma, Welling, "Auto-Encoding Variational Bayes", 2014.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fx.numpy as fnp
from fx import data, nn, optim, random, viz
from fx import train as training
from fx.examples import programs

QUICK = {"epochs": 2, "batch_size": 32, "examples": 4000}
LATENT, HIDDEN = 10, 256


class VAE(nn.Module):
    """Two perceptrons with one hidden layer: 784-256-(10, 10) and 10-256-784."""

    encoder: nn.Sequential
    decoder: nn.Sequential

    def __init__(self, key: Any) -> None:
        keys = random.split(key, 4)
        perceptron = lambda into, out, a, b: nn.Sequential(
            nn.Linear(into, HIDDEN, key=a), nn.relu, nn.Linear(HIDDEN, out, key=b)
        )
        self.encoder = perceptron(784, 2 * LATENT, keys[0], keys[1])
        self.decoder = perceptron(LATENT, 784, keys[2], keys[3])


def posterior(model: VAE, images: Any) -> tuple[Any, Any]:
    """Mean and log-variance of q(z | x)."""
    return tuple(fnp.split(model.encoder(images.reshape(len(images), 784)), 2, axis=1))


def elbo(model: VAE, images: Any, noise: Any) -> tuple[Any, Any]:
    """For each image the two terms, log p(x | z) for one z = mean + deviation * noise, and the divergence."""
    mean, log_variance = posterior(model, images)
    logits = model.decoder(mean + fnp.exp(log_variance / 2) * noise)
    x = images.reshape(len(images), 784)
    likelihood = fnp.sum(x * nn.log_sigmoid(logits) + (1 - x) * nn.log_sigmoid(-logits), axis=1)
    return likelihood, fnp.sum(mean**2 + fnp.exp(log_variance) - 1 - log_variance, axis=1) / 2


def loss(model: VAE, batch: Any, key: Any) -> Any:
    """-ELBO, the mean over the batch; in evaluation (no key) the noise is always the same."""
    (images,) = batch
    noise = random.normal(random.key(0) if key is None else key, (len(images), LATENT))
    likelihood, divergence = elbo(model, images, noise)
    return fnp.mean(divergence - likelihood), {"divergence": fnp.mean(divergence)}


def trainer() -> training.Trainer:
    """Loss and optimizer."""
    return training.Trainer(loss, optim.adam(1e-3))


def tell(run: training.Run) -> str:
    """The line of an epoch."""
    latest = run.history[-1]
    return (
        f"held-out ELBO {-latest['validation_loss']:.2f} nats an image, of which divergence"
        f" {latest['validation_divergence']:.2f}  {latest['rate']:,.0f} images/s"
    )


def train(*, epochs: int = 20, batch_size: int = 128, seed: int = 0, examples: int = 8000) -> programs.Result:
    """Trains on 8,000 digits (or the given number of them); the ELBO is that of 2,000 others."""
    digits = data.mnist()
    chosen = digits.train.images[:: max(len(digits.train.images) // examples, 1)]
    for_params, for_order, noise, for_samples = random.split(random.key(seed), 4)
    loop, held_out = trainer(), data.batches([digits.test.images], 500)
    clock = programs.Clock([loop.step, loop.scores])
    fit = loop.fit(
        VAE(for_params),
        lambda epoch: data.batches([chosen], batch_size, key=random.fold_in(for_order, epoch)),
        epochs=epochs, validation=held_out, key=noise,
        callbacks=[training.Progress("variational autoencoder", tell=tell, unit="images"), clock],
    )  # fmt: skip
    decode = lambda z: np.asarray(nn.sigmoid(fit.model.decoder(z))).reshape(-1, 28, 28)
    some = digits.test.images[:: len(digits.test.images) // 24][:24]
    shown = {
        "digits": some,
        "reconstructions": decode(posterior(fit.model, some)[0]),
        "samples": decode(random.normal(for_samples, (48, LATENT))),
    }
    found = -fit.history[-1]["validation_loss"]
    print(f"held-out ELBO {found:.2f}; {clock.compiling:.1f} s compiling, {clock.running:.1f} s training")
    return programs.Result(fit.model, fit.history, {"elbo": found}, shown)


def figure(result: programs.Result) -> Any:
    """Held-out digits above what is decoded from their codes, and digits decoded from noise."""
    drawn = viz.figure(13, 6)
    left, right = drawn.subfigures(1, 2)
    left.suptitle("held-out digits, and their reconstructions")
    pairs = [result.shown[name].reshape(-1, 8, 28, 28) for name in ("digits", "reconstructions")]
    viz.images(np.stack(pairs, axis=1).reshape(-1, 28, 28), on=left)
    right.suptitle("samples")
    viz.images(result.shown["samples"], on=right)
    return drawn


if __name__ == "__main__":
    programs.main(train)
