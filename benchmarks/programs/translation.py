"""Twins of ``attention``."""

from __future__ import annotations

from typing import Any

import numpy as np

from fx import data, random
from fx.examples import attention

from . import twin
from .twin import Side, Start

STEPS = 3130  # of the program's run of ten epochs


def start() -> Start:
    for_params, for_days, for_forms, for_order = random.split(random.key(0), 4)
    given, tested = attention.drawn(for_days, for_forms, 20_000)
    batches = lambda epoch: data.batches(given, 64, key=random.fold_in(for_order, epoch))
    return Start(attention.Translator(64, for_params), batches, options={"tested": tested})


def fx_side(start: Start) -> Side:
    held_out = data.batches(start.options["tested"], 500)
    return twin.fx_side(start, attention.trainer(STEPS), held_out, "exact")


def torch_side(start: Start) -> Side:
    import torch

    F, weights, hidden = torch.nn.functional, twin.tensors(start.model), start.model.encoder.cells[0][0].hidden_features
    encoder = torch.nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
    cell = torch.nn.GRUCell(3 * hidden, hidden)
    kind = weights.out.bias.dtype
    with torch.no_grad():
        for module, p, end in (
            (encoder, start.model.encoder.cells[0][0], "_l0"),
            (encoder, start.model.encoder.cells[0][1], "_l0_reverse"),
            (cell, start.model.decoder, ""),
        ):
            module.to(kind)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(module, name + end).copy_(torch.from_numpy(np.array(getattr(p, name)).T.copy()))
    layer = lambda p, x: x @ p.weight + p.bias
    rest = [weights.source, weights.attention, weights.target, weights.out]
    trained = [*encoder.parameters(), *cell.parameters(), *[x for part in rest for x in twin.leaves(part)]]

    def read(texts: Any) -> tuple[Any, Any, Any]:
        there = texts > 0
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            weights.source.weight[texts], there.sum(1), batch_first=True, enforce_sorted=False
        )
        outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(
            encoder(packed)[0], batch_first=True, total_length=texts.shape[1]
        )
        return outputs, outputs @ weights.attention.keys.weight, there

    def write(memory: Any, h: Any, previous: Any) -> tuple[Any, Any]:
        outputs, keys, there = memory
        scores = torch.tanh(layer(weights.attention.query, h)[:, None] + keys) @ weights.attention.vector
        seen = (torch.softmax(scores.masked_fill(~there, -torch.inf), 1)[:, None] @ outputs)[:, 0]
        h = cell(torch.cat([weights.target.weight[previous], seen], 1), h)
        return h, layer(weights.out, torch.cat([h, seen], 1))

    def value(batch: Any) -> Any:
        texts, dates = (torch.from_numpy(x).long() for x in batch)
        memory, h, logits = read(texts), torch.zeros(len(texts), hidden, dtype=kind), []
        previous = torch.full((len(texts),), attention.OUT.index("-"))
        for place in range(dates.shape[1]):
            h, found = write(memory, h, previous)
            logits.append(found)
            previous = dates[:, place]
        return F.cross_entropy(torch.stack(logits, 1).flatten(0, 1), dates.flatten())

    def score() -> float:
        texts, dates = (torch.from_numpy(x).long() for x in start.options["tested"])
        with torch.no_grad():
            memory, h, right = (
                read(texts),
                torch.zeros(len(texts), hidden, dtype=kind),
                torch.ones(len(texts), dtype=torch.bool),
            )
            previous = torch.full((len(texts),), attention.OUT.index("-"))
            for place in range(dates.shape[1]):
                h, found = write(memory, h, previous)
                previous = found.argmax(1)
                right &= previous == dates[:, place]
        return float(right.float().mean())

    optimizer = torch.optim.Adam(trained, 1.0)
    rate = attention.schedule(STEPS)
    update = twin.torch_step(value, optimizer, clip=1.0, rate=lambda step: float(rate(step)))
    return Side(update, start.batches, score)


def jax_side(start: Start) -> Side:
    import jax
    import optax

    jnp = jax.numpy
    layer = lambda p, x: x @ p.weight + p.bias

    def recurrent(p: Any, h: Any, x: Any) -> Any:
        """One step of a gated recurrent unit; ``x`` is projected already."""
        (xr, xz, xn), (hr, hz, hn) = (jnp.split(part, 3, -1) for part in (x, h @ p.weight_hh + p.bias_hh))
        z = jax.nn.sigmoid(xz + hz)
        return (1 - z) * jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * hn) + z * h

    def along(p: Any, x: Any, there: Any, reverse: bool) -> Any:
        def one(h: Any, inputs: Any) -> Any:
            projected, inside = inputs
            new = recurrent(p, h, projected)
            return jnp.where(inside[:, None], new, h), jnp.where(inside[:, None], new, 0)

        projected = jnp.swapaxes(x @ p.weight_ih + p.bias_ih, 0, 1)
        zero = jnp.zeros((len(x), p.hidden_features), x.dtype)
        return jnp.swapaxes(jax.lax.scan(one, zero, (projected, there.T), reverse=reverse)[1], 0, 1)

    def loss(weights: Any, texts: Any, dates: Any) -> Any:
        there, x = texts > 0, weights.source.weight[texts]
        ((forward, backward),) = weights.encoder.cells
        outputs = jnp.concatenate([along(forward, x, there, False), along(backward, x, there, True)], -1)
        keys = outputs @ weights.attention.keys.weight

        def write(h: Any, previous: Any) -> Any:
            scores = jnp.tanh(layer(weights.attention.query, h)[:, None] + keys) @ weights.attention.vector
            looks = jax.nn.softmax(jnp.where(there, scores, -jnp.inf), axis=1)
            seen = jnp.einsum("bs,bsf->bf", looks, outputs)
            p = weights.decoder
            given = jnp.concatenate([weights.target.weight[previous], seen], 1)
            h = recurrent(p, h, given @ p.weight_ih + p.bias_ih)
            return h, layer(weights.out, jnp.concatenate([h, seen], 1))

        dashes = jnp.full_like(dates[:, :1], attention.OUT.index("-"))
        zero = jnp.zeros((len(texts), weights.decoder.hidden_features), x.dtype)
        _, logits = jax.lax.scan(write, zero, jnp.concatenate([dashes, dates[:, :-1]], 1).T)
        return optax.softmax_cross_entropy_with_integer_labels(logits, dates.T).mean()

    rate = optax.cosine_decay_schedule(4e-3, STEPS)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    return Side(twin.jax_step(loss, optimizer, start.model), start.batches)
