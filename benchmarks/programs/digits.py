"""Twins of ``mlp`` and ``mnist``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import fx
from fx import data, random
from fx.examples import mlp, mnist

from . import twin
from .twin import Side


def _setup(model: str, batch_size: int, seed: int = 0) -> tuple[Any, Callable[[int], Iterable[Any]]]:
    """The initial model, and the batches of an epoch."""
    for_params, for_order = random.split(random.key(seed))
    digits = data.mnist().train
    start = mlp.MLP(for_params) if model == "mlp" else mnist.init(for_params, model)
    return start, lambda epoch: data.batches(digits, batch_size, key=random.fold_in(for_order, epoch))


def fx_side(model: str, batch_size: int) -> Side:
    start, batches = _setup(model, batch_size)
    trainer = mlp.trainer() if model == "mlp" else mnist.trainer(model)
    return twin.fx_side(trainer, start, batches, held_out=data.batches(data.mnist().test, 500))


# ------------------------------------------------------------------------------------------- PyTorch


def torch_side(model: str, batch_size: int) -> Side:
    import torch

    start, batches = _setup(model, batch_size)
    F = torch.nn.functional
    if model == "mlp":
        network = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
        )
        layers = [(start.hidden.weight, start.hidden.bias), (start.out.weight, start.out.bias)]
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
    else:
        network, layers = _torch_network(start)
        adam = model == "small"
        optimizer = (
            torch.optim.Adam(network.parameters(), 1e-3)
            if adam
            else torch.optim.SGD(network.parameters(), 0.02, momentum=0.9)
        )
    _give(network, layers)

    def value(batch: Any) -> Any:
        images, labels = batch
        return F.cross_entropy(network(torch.from_numpy(images.transpose(0, 3, 1, 2))), torch.from_numpy(labels).long())

    def score() -> float:
        images, labels = data.mnist().test
        with torch.no_grad():
            found = network(torch.from_numpy(images.transpose(0, 3, 1, 2))).argmax(1).numpy()
        return float(np.mean(found == labels))

    return Side(twin.torch_step(value, optimizer), batches, score)


def _torch_network(params: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    """A convolutional network of PyTorch's modules, and the weights it is to have, in order."""
    import torch

    parts: list[Any] = []
    for layer in params["conv"]:
        height, width, into, out = layer["w"].shape
        parts += [torch.nn.Conv2d(into, out, (height, width)), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    hidden, last = params["dense"]
    parts += [
        torch.nn.Flatten(),
        torch.nn.Linear(*hidden["w"].shape),
        torch.nn.ReLU(),
        torch.nn.Linear(*last["w"].shape),
    ]
    channels = params["conv"][-1]["w"].shape[-1]
    side = round((hidden["w"].shape[0] / channels) ** 0.5)
    rows = (
        np.asarray(hidden["w"]).reshape(side, side, channels, -1).transpose(2, 0, 1, 3)
    )  # channels first, as it flattens
    layers = [(layer["w"], layer["b"]) for layer in params["conv"]]
    return torch.nn.Sequential(*parts), [
        *layers,
        (rows.reshape(hidden["w"].shape), hidden["b"]),
        (last["w"], last["b"]),
    ]


def _give(network: Any, layers: list[tuple[Any, Any]]) -> None:
    """Sets weights, from fx's layouts to PyTorch's."""
    import torch

    with torch.no_grad():
        for module, (weight, bias) in zip([m for m in network if hasattr(m, "weight")], layers):
            w = np.asarray(weight)
            module.weight.copy_(torch.from_numpy((w.T if w.ndim == 2 else w.transpose(3, 2, 0, 1)).copy()))
            module.bias.copy_(torch.from_numpy(np.array(bias)))


# ----------------------------------------------------------------------------------------------- JAX


def jax_side(model: str, batch_size: int) -> Side:
    import jax
    import jax.numpy as jnp
    import optax

    start, batches = _setup(model, batch_size)
    if model == "mlp":
        start = {"conv": [], "dense": [{"w": p.weight, "b": p.bias} for p in (start.hidden, start.out)]}
    params = jax.tree.map(jnp.asarray, fx.tree.map(np.asarray, start))
    optimizer = {"mlp": optax.sgd(0.1), "small": optax.adam(1e-3), "five": optax.sgd(0.02, momentum=0.9)}[model]

    def loss(params: Any, images: Any, labels: Any) -> Any:
        x = images
        for layer in params["conv"]:
            x = jax.lax.conv_general_dilated(x, layer["w"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = jax.nn.relu(x + layer["b"])
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        hidden, last = params["dense"]
        out = jax.nn.relu(x.reshape(len(x), -1) @ hidden["w"] + hidden["b"]) @ last["w"] + last["b"]
        return optax.softmax_cross_entropy_with_integer_labels(out, labels).mean()

    @jax.jit
    def update(params: Any, state: Any, images: Any, labels: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(params, images, labels)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    held = [params, optimizer.init(params)]

    def step(batch: Any) -> Any:
        held[0], held[1], value = update(*held, *batch)
        return value

    return Side(step, batches)
