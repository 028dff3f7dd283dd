"""Twins of the programs about sequences: ``lstm`` and ``transformer``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fx import data, random
from fx.examples import lstm, transformer

from . import twin
from .twin import Side, Start

SIZE: dict[str, Any] = {
    "characters": 200_000,
    "held_out": 20_000,
    "width": 128,
    "layers": 2,
    "context": 64,
    "batch_size": 16,
    "steps": 1000,
}
"""The transformer that is compared: smaller than the program's own."""


def start(name: str, seed: int = 0) -> Start:
    for_params, for_order = random.split(random.key(seed))
    order = lambda epoch: random.fold_in(for_order, epoch)
    if name == "lstm":
        given = lstm.pieces(np.sqrt(data.sunspots().targets).astype(np.float32))
        batches = lambda epoch: data.batches(given, 16, key=order(epoch))
        return Start(lstm.Forecaster(for_params), batches, options={"name": name})
    codes, alphabet = transformer.text()
    cut, context = [transformer.pieces(codes[: SIZE["characters"]], SIZE["context"], SIZE["context"])], SIZE["context"]
    held_out = transformer.pieces(
        codes[SIZE["characters"] : SIZE["characters"] + SIZE["held_out"]], context, context // 2
    )
    model = transformer.Transformer(len(alphabet), SIZE["width"], SIZE["layers"], for_params)
    batches = lambda epoch: data.batches(cut, SIZE["batch_size"], key=order(epoch), drop_last=True)
    return Start(model, batches, options={"name": name, "held_out": held_out})


def fx_side(start: Start) -> Side:
    if start.options["name"] == "lstm":
        return twin.fx_side(start, lstm.trainer())
    held_out = data.batches([start.options["held_out"]], 100)
    return twin.fx_side(start, transformer.trainer(SIZE["steps"]), held_out, "bits")


def torch_side(start: Start) -> Side:
    if start.options["name"] == "lstm":
        return Side(_torch_lstm(start.model), start.batches)
    step, score = _torch_transformer(start.model, start.options["held_out"])
    return Side(step, start.batches, score)


def jax_side(start: Start) -> Side:
    of = {"lstm": _jax_lstm, "transformer": _jax_transformer}[start.options["name"]]
    return Side(of(start.model), start.batches)


def _torch_lstm(model: lstm.Forecaster) -> Callable[[Any], Any]:
    import torch

    ((cell,),) = model.memory.cells
    memory = torch.nn.LSTM(1, cell.hidden_features, batch_first=True)
    out = torch.nn.Linear(cell.hidden_features, 1)
    given = [
        (memory.weight_ih_l0, cell.weight_ih.T), (memory.weight_hh_l0, cell.weight_hh.T), (memory.bias_ih_l0, cell.bias_ih),
        (memory.bias_hh_l0, cell.bias_hh), (out.weight, model.out.weight.T), (out.bias, model.out.bias),
    ]  # fmt: skip
    kind = torch.from_numpy(np.array(model.out.bias)).dtype
    memory, out = memory.to(kind), out.to(kind)
    with torch.no_grad():
        for parameter, array in given:
            parameter.copy_(torch.from_numpy(np.array(array)))

    def value(batch: Any) -> Any:
        roots, following, counts = (torch.from_numpy(np.array(x)) for x in batch)
        guessed = roots + out(memory((roots / lstm.SCALE - 1.5)[..., None])[0])[..., 0]
        return (counts * (guessed - following) ** 2).sum() / counts.sum()

    optimizer = torch.optim.Adam([*memory.parameters(), *out.parameters()], lstm.RATE)
    return twin.torch_step(value, optimizer, clip=1.0)


def _torch_transformer(
    model: transformer.Transformer, held_out: np.ndarray
) -> tuple[Callable[[Any], Any], Callable[[], float]]:
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

    def bits(codes: Any) -> Any:
        """Of every character after the first, (batch, length - 1)."""
        x = weights.embedding.weight[codes[:, :-1]]
        for p in weights.blocks:
            x = block(p, x)
        logits = layer(weights.out, norm(weights.norm, x))
        return F.cross_entropy(logits.transpose(1, 2), codes[:, 1:], reduction="none") / np.log(2)

    def score() -> float:
        with torch.no_grad():
            parts = [
                bits(part)[:, part.shape[1] // 2 :] for part in torch.from_numpy(held_out.copy()).long().split(100)
            ]
        return float(torch.cat(parts).mean())

    rate = transformer.schedule(SIZE["steps"])
    optimizer = torch.optim.AdamW(twin.leaves(weights), 1.0, weight_decay=transformer.DECAY)
    value = lambda batch: bits(torch.from_numpy(np.array(batch[0])).long()).mean()
    return twin.torch_step(value, optimizer, clip=1.0, rate=lambda step: float(rate(step))), score


def _jax_lstm(model: lstm.Forecaster) -> Callable[[Any], Any]:
    import jax
    import optax

    jnp = jax.numpy

    def loss(weights: Any, roots: Any, following: Any, counts: Any) -> Any:
        ((p,),) = weights.memory.cells
        inputs = (roots / lstm.SCALE - 1.5)[..., None] @ p.weight_ih + p.bias_ih + p.bias_hh

        def cell(carry: Any, x: Any) -> Any:
            h, c = carry
            i, f, g, o = jnp.split(x + h @ p.weight_hh, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zero = jnp.zeros((len(roots), p.hidden_features), roots.dtype)
        _, hidden = jax.lax.scan(cell, (zero, zero), jnp.swapaxes(inputs, 0, 1))
        guessed = roots + (jnp.swapaxes(hidden, 0, 1) @ weights.out.weight + weights.out.bias)[..., 0]
        return jnp.sum(counts * (guessed - following) ** 2) / jnp.sum(counts)

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(lstm.RATE))
    return twin.jax_step(loss, optimizer, model)


def _jax_transformer(model: transformer.Transformer) -> Callable[[Any], Any]:
    import jax
    import optax

    jnp = jax.numpy
    layer = lambda p, x: x @ p.weight + p.bias

    def norm(p: Any, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p.weight + p.bias

    def turned(x: Any) -> Any:
        """(batch, time, heads, size) turned by the positions."""
        half = x.shape[-1] // 2
        angles = np.arange(x.shape[1])[:, None, None] * np.array([10_000.0 ** (-i / half) for i in range(half)])
        cos, sin = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
        a, b = jnp.split(x, 2, axis=-1)
        return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    def block(p: Any, x: Any) -> Any:
        h = norm(p.norm1, x)
        parts = (p.attention.query, p.attention.keys, p.attention.values)
        q, k, v = (layer(part, h).reshape(*x.shape[:2], p.attention.heads, -1) for part in parts)
        mixed = jax.nn.dot_product_attention(turned(q), turned(k), v, is_causal=True)
        x = x + layer(p.attention.output, mixed.reshape(x.shape))
        return x + layer(p.linear2, jax.nn.gelu(layer(p.linear1, norm(p.norm2, x))))

    def loss(weights: Any, codes: Any) -> Any:
        x = weights.embedding.weight[codes[:, :-1]]
        for p in weights.blocks:
            x = block(p, x)
        logits = layer(weights.out, norm(weights.norm, x))
        return optax.softmax_cross_entropy_with_integer_labels(logits, codes[:, 1:]).mean() / np.log(2)

    steps = SIZE["steps"]
    rate = optax.warmup_cosine_decay_schedule(0.0, 3e-3, min(100, steps // 4), steps, 1e-4)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=transformer.DECAY))
    return twin.jax_step(loss, optimizer, model)
