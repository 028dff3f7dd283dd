"""Twins of the programs about sequences: ``lstm`` and ``transformer``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from fx import data, random
from fx.examples import lstm, transformer

from . import twin
from .twin import Side

SIZE: dict[str, Any] = {
    "characters": 200_000,
    "width": 128,
    "layers": 2,
    "context": 64,
    "batch_size": 16,
    "steps": 1000,
}
"""The transformer that is compared: smaller than the program's own."""


def _setup(name: str, seed: int = 0) -> tuple[Any, Callable[[int], Iterable[Any]]]:
    """The initial model, and the batches of an epoch."""
    for_params, for_order = random.split(random.key(seed))
    order = lambda epoch: random.fold_in(for_order, epoch)
    if name == "lstm":
        given = lstm.pieces(np.sqrt(data.sunspots().targets).astype(np.float32))
        return lstm.Forecaster(for_params), lambda epoch: data.batches(given, 16, key=order(epoch))
    codes, alphabet = transformer.text()
    cut = [transformer.pieces(codes[: SIZE["characters"]], SIZE["context"], SIZE["context"])]
    model = transformer.Transformer(len(alphabet), SIZE["width"], SIZE["layers"], for_params)
    return model, lambda epoch: data.batches(cut, SIZE["batch_size"], key=order(epoch), drop_last=True)


def fx_side(name: str) -> Side:
    model, batches = _setup(name)
    return twin.fx_side(lstm.trainer() if name == "lstm" else transformer.trainer(SIZE["steps"]), model, batches)


def torch_side(name: str) -> Side:
    model, batches = _setup(name)
    return Side(_torch_lstm(model) if name == "lstm" else _torch_transformer(model), batches)


def _torch_lstm(model: lstm.Forecaster) -> Callable[[Any], Any]:
    import torch

    ((cell,),) = model.memory.cells
    memory = torch.nn.LSTM(1, cell.hidden_features, batch_first=True)
    out = torch.nn.Linear(cell.hidden_features, 1)
    given = [
        (memory.weight_ih_l0, cell.weight_ih.T), (memory.weight_hh_l0, cell.weight_hh.T), (memory.bias_ih_l0, cell.bias_ih),
        (memory.bias_hh_l0, cell.bias_hh), (out.weight, model.out.weight.T), (out.bias, model.out.bias),
    ]  # fmt: skip
    with torch.no_grad():
        for parameter, array in given:
            parameter.copy_(torch.from_numpy(np.array(array)))

    def value(batch: Any) -> Any:
        roots, following, counts = (torch.from_numpy(np.array(x)) for x in batch)
        guessed = roots + out(memory((roots / lstm.SCALE - 1.5)[..., None])[0])[..., 0]
        return (counts * (guessed - following) ** 2).sum() / counts.sum()

    optimizer = torch.optim.Adam([*memory.parameters(), *out.parameters()], lstm.RATE)
    return twin.torch_step(value, optimizer, clip=1.0)


def _torch_transformer(model: transformer.Transformer) -> Callable[[Any], Any]:
    import torch

    F, weights = torch.nn.functional, twin.tensors(model)
    layer = lambda p, x: x @ p.weight + p.bias
    norm = lambda p, x: F.layer_norm(x, x.shape[-1:], p.weight, p.bias, 1e-5)

    def turned(x: Any) -> Any:
        """(batch, heads, time, size) turned by the positions."""
        half = x.shape[-1] // 2
        waves = torch.tensor([10_000.0 ** (-i / half) for i in range(half)])
        angles = torch.arange(x.shape[2])[:, None] * waves
        a, b = x.split(half, dim=-1)
        return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], dim=-1)

    def block(p: Any, x: Any) -> Any:
        h, heads = norm(p.norm1, x), p.attention.heads
        q, k, v = (
            layer(part, h).unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in (p.attention.query, p.attention.keys, p.attention.values)
        )
        mixed = F.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True)
        x = x + layer(p.attention.output, mixed.transpose(1, 2).flatten(2))
        return x + layer(p.linear2, F.gelu(layer(p.linear1, norm(p.norm2, x)), approximate="tanh"))

    def value(batch: Any) -> Any:
        codes = torch.from_numpy(np.array(batch[0])).long()
        x = weights.embedding.weight[codes[:, :-1]]
        for p in weights.blocks:
            x = block(p, x)
        logits = layer(weights.out, norm(weights.norm, x))
        return F.cross_entropy(logits.flatten(0, 1), codes[:, 1:].flatten()) / np.log(2)

    rate = transformer.schedule(SIZE["steps"])
    optimizer = torch.optim.AdamW(twin.leaves(weights), 1.0, weight_decay=transformer.DECAY)
    follows = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(rate(step)))
    update = twin.torch_step(value, optimizer, clip=1.0)

    def step(batch: Any) -> Any:
        found = update(batch)
        follows.step()
        return found

    return step
