"""Twins of the programs that make images: ``vae``."""

from __future__ import annotations

from typing import Any

import numpy as np

from fx import data, random
from fx.examples import vae

from . import twin
from .twin import Side


def _setup(batch_size: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """The initial model, the batches of an epoch, and the key of the noise."""
    for_params, for_order, noise, _ = random.split(random.key(seed), 4)
    batches = lambda epoch: data.batches([data.mnist().train.images], batch_size, key=random.fold_in(for_order, epoch))
    return vae.VAE(for_params), batches, noise


def fx_side(batch_size: int) -> Side:
    model, batches, noise = _setup(batch_size)
    return twin.fx_side(vae.trainer(), model, batches, noise)


def torch_side(batch_size: int) -> Side:
    import torch

    model, batches, key = _setup(batch_size)
    F, weights = torch.nn.functional, twin.tensors(model)
    steps = iter(range(1 << 30))

    def perceptron(part: Any, x: Any) -> Any:
        first, _, last = part.layers
        return torch.relu(x @ first.weight + first.bias) @ last.weight + last.bias

    def value(batch: Any) -> Any:
        x = torch.from_numpy(batch[0].reshape(-1, 784))
        noise = np.array(random.normal(random.fold_in(key, next(steps)), (len(x), vae.LATENT)))  # the same numbers
        mean, log_variance = perceptron(weights.encoder, x).chunk(2, dim=1)
        logits = perceptron(weights.decoder, mean + torch.exp(log_variance / 2) * torch.from_numpy(noise))
        likelihood = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
        divergence = (mean**2 + torch.exp(log_variance) - 1 - log_variance).sum(1) / 2
        return (divergence - likelihood).mean()

    return Side(twin.torch_step(value, torch.optim.Adam(twin.leaves(weights), 1e-3)), batches)
