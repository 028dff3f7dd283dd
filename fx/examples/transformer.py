"""A character model of Python's documentation by a transformer.  ``python -m fx train transformer --help``.

The text is that of ``pydoc_data.topics``, which comes with Python: nine tenths are trained on, the last tenth is held out. What is
measured is the bits that a held-out character costs, as printed for three other models: a 5-gram (each order mixed with the
shorter one, Witten and Bell), and xz on the held-out text alone and after the training text.

Source: Vaswani et al., "Attention is all you need", 2017; Al-Rfou et al., "Character-level language modeling with deeper
self-attention", 2019.
"""

from __future__ import annotations

import lzma
import math
from functools import partial
from pydoc_data.topics import topics
from typing import Any

import numpy as np

import fx
import fx.numpy as fnp
from fx import data, lax, nn, optim, random
from fx import train as training
from fx.errors import TrainingError
from fx.examples import programs

QUICK = {"epochs": 1, "batch_size": 16, "width": 32, "layers": 1, "context": 32, "characters": 80_000}
DECAY = 0.01


class Transformer(nn.Module):
    """Embedding, causal blocks with rotary positions, and the logits of the next character."""

    embedding: nn.Embedding
    blocks: tuple[nn.TransformerEncoderBlock, ...]
    norm: nn.LayerNorm
    out: nn.Linear

    def __init__(self, characters: int, width: int, layers: int, key: Any) -> None:
        first, last, *keys = random.split(key, layers + 2)
        self.embedding = nn.Embedding(characters, width, key=first)
        block = partial(nn.TransformerEncoderBlock, width, max(width // 32, 1), causal=True, rotary_base=10_000.0)
        self.blocks = tuple([block(activation=nn.gelu, key=k) for k in keys])
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, characters, key=last)

    def __call__(self, codes: Any, caches: Any = None) -> Any:
        x, kept = self.embedding(codes), []
        for i, block in enumerate(self.blocks):
            if caches is None:
                x = block(x)
            else:
                x, cache = block(x, cache=caches[i])
                kept.append(cache)
        logits = self.out(self.norm(x))
        return logits if caches is None else (logits, tuple(kept))


def losses(model: Transformer, codes: Any) -> Any:
    """Bits for every character after the first: (batch, length) codes to (batch, length - 1)."""
    return nn.cross_entropy(model(codes[:, :-1]), codes[:, 1:], reduction="none") / math.log(2)


def loss(model: Transformer, batch: Any, key: Any = None) -> Any:
    """Bits a character, over the whole pieces."""
    return fnp.mean(losses(model, batch[0]))


def informed(model: Transformer, batch: Any) -> Any:
    """Bits a character, over the second half of each piece: with at least half a piece to look back at."""
    codes = batch[0]
    return fnp.mean(losses(model, codes)[:, codes.shape[1] // 2 :])


def schedule(steps: int) -> Any:
    """The learning rate at every step: up to 0.003 in a hundred, then down."""
    return optim.warmup_cosine_decay_schedule(0.0, 3e-3, min(100, steps // 4), steps, 1e-4)


def trainer(steps: int) -> training.Trainer:
    """Loss and optimizer."""
    optimizer = optim.adamw(schedule(steps), weight_decay=DECAY)
    return training.Trainer(loss, optimizer, {"bits": informed}, clip=1.0)


def text() -> tuple[np.ndarray, str]:
    """The documentation as codes, and the alphabet."""
    whole = "\n\n".join(topics[name] for name in sorted(topics))
    alphabet, codes = np.unique(np.frombuffer(whole.encode("utf-32-le"), np.uint32), return_inverse=True)
    return codes.astype(np.int32), "".join(map(chr, alphabet))


def pieces(codes: np.ndarray, length: int, stride: int, start: int = 0) -> np.ndarray:
    """Pieces of ``length`` characters and the one after them, (pieces, length + 1)."""
    return np.lib.stride_tricks.sliding_window_view(codes, length + 1)[start::stride]


# ------------------------------------------------------------------------------------------ what it is compared with


def found(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The values at the wanted keys; 0 for those that are missing. The keys are sorted."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)


def ngram_bits(codes: np.ndarray, held_out: int, order: int = 5) -> float:
    """Bits for each of the last characters by n-grams of all before, p = (count + kinds * p of the shorter) / (total + kinds)."""
    size, cut = int(codes.max()) + 1, len(codes) - held_out
    p, grams = np.full(held_out, 1 / size), np.zeros(len(codes), np.int64)
    for n in range(order):
        grams[n:] += codes[: len(codes) - n].astype(np.int64) * size**n  # the character n places before
        seen, counts = np.unique(grams[n:cut], return_counts=True)
        contexts, first, kinds = np.unique(seen // size, return_index=True, return_counts=True)
        count = found(seen, counts, grams[cut:])
        total, kind = (found(contexts, x, grams[cut:] // size) for x in (np.add.reduceat(counts, first), kinds))
        p = np.where(total > 0, (count + kind * p) / np.maximum(total + kind, 1), p)
    return float(-np.log2(p).mean())


def xz_bits(codes: np.ndarray, alphabet: str, held_out: int) -> tuple[float, float]:
    """Bits a character that xz takes for the held-out text: alone, and after the rest."""
    size = lambda part: len(lzma.compress("".join(alphabet[c] for c in part).encode(), preset=9 | lzma.PRESET_EXTREME))
    after = size(codes) - size(codes[:-held_out])
    return 8 * size(codes[-held_out:]) / held_out, 8 * after / held_out


# ------------------------------------------------------------------------------------------ samples


@partial(fx.jit, static_argnums=2)
def written(model: Transformer, key: Any, length: int, first: Any) -> Any:
    """Texts that go on from their first characters, each character drawn from what the model gives: (batch, length) codes."""

    def one(carry: Any, key: Any) -> Any:
        codes, caches = carry
        logits, caches = model(codes[:, None], caches)
        drawn = random.categorical(key, logits[:, 0]).astype(codes.dtype)
        return (drawn, caches), drawn

    start = tuple([block.init_cache(len(first), length) for block in model.blocks])
    return lax.scan(one, (first, start), random.split(key, length))[1].T


# ------------------------------------------------------------------------------------------ the program


def train(
    *, epochs: int = 6, batch_size: int = 32, seed: int = 0, width: int = 128, layers: int = 3, context: int = 128,
    characters: int = 1_000_000,
) -> programs.Result:  # fmt: skip
    """Trains on the documentation, or the given number of its first characters; prints the bits of a held-out one, and samples."""
    codes, alphabet = text()
    codes = codes[:characters]
    held_out = len(codes) // 10
    training_codes, rest = codes[:-held_out], codes[-held_out - context // 2 :]
    for_params, for_order, for_samples = random.split(random.key(seed), 3)
    steps = epochs * (len(training_codes) // context // batch_size)
    if min(steps, held_out // context) == 0:
        raise TrainingError(
            f"{len(codes)} characters are less than one batch of {batch_size} pieces of {context}, and one held out: take more characters,"
            " a smaller batch or a shorter context"
        )

    def batches(epoch: int) -> Any:
        key = random.fold_in(for_order, epoch)
        start = int(random.randint(key, (), 0, context))  # other pieces in every epoch
        return data.batches([pieces(training_codes, context, context, start)], batch_size, key=key, drop_last=True)

    loop = trainer(max(steps, 1))
    fit = loop.fit(
        Transformer(len(alphabet), width, layers, for_params), batches, epochs=epochs,
        validation=data.batches([pieces(rest, context, context // 2)], batch_size),
        callbacks=[training.Progress("transformer on pydoc_data.topics", unit="pieces")],
    )  # fmt: skip
    alone, after = xz_bits(codes, alphabet, held_out)
    measures = {
        "transformer": fit.history[-1]["validation_bits"],
        "5-gram": ngram_bits(codes, held_out),
        "xz": alone,
        "xz after the training text": after,
    }
    for name, bits in measures.items():
        print(f"{name:>27}: {bits:.3f} bits for a held-out character")
    newline = np.full(2, alphabet.index("\n"), np.int32)
    samples = [
        "".join(alphabet[c] for c in row) for row in np.asarray(written(fit.model, for_samples, context, newline))
    ]
    print("\nsamples:", *samples, sep="\n---\n")
    return programs.Result(fit.model, fit.history, measures, {"samples": samples})


if __name__ == "__main__":
    programs.main(train)
