"""Twins of ``mlp``, ``mnist`` and ``transfer``."""

from __future__ import annotations

from typing import Any

import numpy as np

import fx
from fx import data, random
from fx.examples import mlp, mnist, transfer
from fx.train import Trainer

from . import twin
from .twin import Side, Start


def start(model: str, batch_size: int, seed: int = 0) -> Start:
    for_params, for_order = random.split(random.key(seed))
    digits, options = data.mnist().train, {"model": model}
    if model == "mlp":
        params = mlp.MLP(for_params)
    elif model == "transfer":  # layers that were never trained do here: what is compared is the training of the last
        few, _ = transfer.split(data.digits()[1], 3, for_order)
        images, labels = data.digits()
        digits = data.Split(transfer.enlarged(images[few]), labels[few])
        params = mnist.init(for_params, transfer.MODEL)
    else:
        params = mnist.init(for_params, model)
    return Start(
        params,
        lambda epoch: data.batches(digits, batch_size, key=random.fold_in(for_order, epoch)),
        options=options,
    )


def _held_out(model: str) -> Any:
    return None if model == "transfer" else data.batches(data.mnist().test, 500)


def fx_side(start: Start) -> Side:
    model = start.options["model"]
    trainer: Trainer = {"mlp": mlp.trainer, "transfer": lambda: transfer.frozen}.get(
        model, lambda: mnist.trainer(model)
    )()
    return twin.fx_side(start, trainer, held_out=_held_out(model))


# ------------------------------------------------------------------------------------------- PyTorch


def torch_side(start: Start) -> Side:
    import torch

    model, params = start.options["model"], start.model
    F = torch.nn.functional
    if model == "mlp":
        network = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
        )
        layers = [(params.hidden.weight, params.hidden.bias), (params.out.weight, params.out.bias)]
    else:
        network, layers = _torch_network(params)
    _give(network, layers)
    if model == "transfer":
        network.requires_grad_(False)
        network[-1].requires_grad_(True)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = {
        "mlp": lambda: torch.optim.SGD(trained, 0.1),
        "small": lambda: torch.optim.Adam(trained, 1e-3),
        "five": lambda: torch.optim.SGD(trained, 0.02, momentum=0.9),
        "transfer": lambda: torch.optim.Adam(trained, 3e-3),
    }[model]()

    def value(batch: Any) -> Any:
        images, labels = batch
        return F.cross_entropy(network(torch.from_numpy(images.transpose(0, 3, 1, 2))), torch.from_numpy(labels).long())

    def score() -> float:
        images, labels = data.mnist().test
        with torch.no_grad():
            found = network(torch.from_numpy(images.transpose(0, 3, 1, 2))).argmax(1).numpy()
        return float(np.mean(found == labels))

    return Side(twin.torch_step(value, optimizer), start.batches, None if model == "transfer" else score)


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
        network.to(torch.float64 if np.asarray(layers[0][0]).dtype == np.float64 else torch.float32)
        for module, (weight, bias) in zip([m for m in network if hasattr(m, "weight")], layers):
            w = np.asarray(weight)
            module.weight.copy_(torch.from_numpy((w.T if w.ndim == 2 else w.transpose(3, 2, 0, 1)).copy()))
            module.bias.copy_(torch.from_numpy(np.array(bias)))


# ----------------------------------------------------------------------------------------------- JAX


def jax_side(start: Start) -> Side:
    import jax
    import optax

    model, params = start.options["model"], start.model
    if model == "mlp":
        params = {"conv": [], "dense": [{"w": p.weight, "b": p.bias} for p in (params.hidden, params.out)]}
    optimizer = {
        "mlp": optax.sgd(0.1),
        "small": optax.adam(1e-3),
        "five": optax.sgd(0.02, momentum=0.9),
        "transfer": optax.adam(3e-3),
    }[model]

    def loss(params: Any, images: Any, labels: Any) -> Any:
        x = images
        for layer in params["conv"]:
            x = jax.lax.conv_general_dilated(x, layer["w"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = jax.nn.relu(x + layer["b"])
            x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        hidden, last = params["dense"]
        x = jax.nn.relu(x.reshape(len(x), -1) @ hidden["w"] + hidden["b"])
        return optax.softmax_cross_entropy_with_integer_labels(x @ last["w"] + last["b"], labels).mean()

    if model == "transfer":
        *kept, last = params["dense"]
        frozen = fx.tree.map(lambda x: jax.numpy.asarray(np.asarray(x)), {"conv": params["conv"], "dense": kept})
        with_last = lambda last, rest: {"conv": rest["conv"], "dense": [*rest["dense"], last]}
        of_last = lambda last, images, labels, rest: loss(with_last(last, rest), images, labels)
        step = twin.jax_step(of_last, optimizer, last)
        return Side(lambda batch: step((*batch, frozen)), start.batches)
    return Side(twin.jax_step(loss, optimizer, params), start.batches)
