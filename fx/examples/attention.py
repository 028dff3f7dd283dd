"""Dates as people write them, translated to ISO 8601 by a network with attention.  ``python -m fx train attention --help``.

A bidirectional encoder reads ``Sunday, 29 Feb 2004``; the decoder writes ``2004-02-29``, and for each character looks back at the
places of the text that matter to it. No date that is tested was seen in training, in any form.

Source: Bahdanau, Cho, Bengio, "Neural machine translation by jointly learning to align and translate", 2015.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

import fx.numpy as fnp
from fx import data, lax, nn, optim, random, viz
from fx import train as training
from fx.examples import programs

QUICK = {"epochs": 2, "batch_size": 32, "examples": 2000, "hidden": 32}
FORMS = (
    "%A, %d %b %Y", "%B %d, %Y", "%d %B %Y", "%a %d %B %y", "%d.%m.%Y", "%m/%d/%Y", "%b %d %y", "%d-%b-%y", "%Y%m%d", "%Y, %d. %B",
)  # fmt: skip
FIRST, LAST = datetime.date(1950, 1, 1).toordinal(), datetime.date(2049, 12, 31).toordinal()
ALPHABET = "\0" + "".join(sorted(set("0123456789 ,.-/JanuaryFebruaryMarchAprilMayJuneJulyAugustSeptemberOctoberNovemberDecember"
                                     "MondayTuesdayWednesdayThursdayFridaySaturdaySunday")))  # fmt: skip
WIDTH, OUT = 28, "0123456789-"


class Translator(nn.Module):
    """Encoder, attention and decoder; all that the decoder knows of the text it gets through the attention."""

    source: nn.Embedding
    encoder: nn.GRU
    attention: nn.AdditiveAttention
    target: nn.Embedding
    decoder: nn.GRUCell
    out: nn.Linear

    def __init__(self, hidden: int, key: Any) -> None:
        a, b, c, d, e, f = random.split(key, 6)
        self.source, self.target = nn.Embedding(len(ALPHABET), hidden, key=a), nn.Embedding(len(OUT), hidden, key=b)
        self.encoder = nn.GRU(hidden, hidden, bidirectional=True, key=c)
        self.attention = nn.AdditiveAttention(hidden, 2 * hidden, hidden, key=d)
        self.decoder = nn.GRUCell(3 * hidden, hidden, key=e)
        self.out = nn.Linear(3 * hidden, len(OUT), key=f)

    def read(self, texts: Any) -> tuple[Any, Any]:
        """The encoder's outputs, (batch, WIDTH, 2 * hidden), and where there is text."""
        there = texts > 0
        return self.encoder(self.source(texts), lengths=fnp.sum(there, axis=1)), there

    def step(self, memory: tuple[Any, Any], h: Any, previous: Any) -> tuple[Any, tuple[Any, Any]]:
        """One character: the decoder's new state, the logits of the character, and where it looked."""
        outputs, there = memory
        weights = self.attention.weights(h[:, None], outputs, mask=there)
        seen = fnp.matmul(weights, outputs)[:, 0]
        h, _ = self.decoder(h, fnp.concatenate([self.target(previous), seen], axis=1))
        return h, (self.out(fnp.concatenate([h, seen], axis=1)), weights[:, 0])


def shifted(dates: Any) -> Any:
    """What the decoder is given when it is to write ``dates``: the character before; at first a dash."""
    return fnp.concatenate([fnp.full_like(dates[:, :1], OUT.index("-")), dates[:, :-1]], axis=1)


def loss(model: Translator, batch: Any, key: Any = None) -> Any:
    """Cross-entropy of the characters, the true ones before being given."""
    texts, dates = batch
    memory = model.read(texts)
    start = model.decoder.initial((len(texts),))
    _, (logits, _) = lax.scan(lambda h, previous: model.step(memory, h, previous), start, shifted(dates).T)
    return nn.cross_entropy(logits, dates.T)


def translate(model: Translator, texts: Any) -> tuple[Any, Any]:
    """Dates, each character the most likely one after those written so far, and the map of attention, (batch, 10, WIDTH)."""
    memory = model.read(texts)

    def step(carry: Any, _: Any) -> Any:
        h, (logits, weights) = model.step(memory, *carry)
        written = fnp.argmax(logits, axis=1)
        return (h, written), (written, weights)

    dash = fnp.full(len(texts), OUT.index("-"), "int32")
    _, (dates, weights) = lax.scan(step, (model.decoder.initial((len(texts),)), dash), None, length=10)
    return dates.T, fnp.swapaxes(weights, 0, 1)


def exact(model: Translator, batch: Any) -> Any:
    """The share of texts whose whole date is right."""
    return fnp.mean(fnp.all(translate(model, batch[0])[0] == batch[1], axis=1))


def schedule(steps: int) -> Any:
    """The learning rate at every step."""
    return optim.cosine_decay_schedule(4e-3, steps)


def trainer(steps: int) -> training.Trainer:
    """Loss and optimizer, what is measured and what is predicted."""
    forward = lambda model, batch: translate(model, batch[0])
    return training.Trainer(loss, optim.adam(schedule(steps)), {"exact": exact}, forward, clip=1.0)


def examples_of(days: np.ndarray, forms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Texts, (n, WIDTH) codes with 0 behind their ends, and dates, (n, 10) codes."""
    dates = [datetime.date.fromordinal(int(day)) for day in days]
    texts = np.zeros((len(days), WIDTH), np.int32)
    for row, date, form in zip(texts, dates, forms):
        written = date.strftime(FORMS[form])
        row[: len(written)] = [ALPHABET.index(c) for c in written]
    return texts, np.array([[OUT.index(c) for c in date.isoformat()] for date in dates], np.int32)


def drawn(for_days: Any, for_forms: Any, examples: int) -> tuple[Any, Any]:
    """So many examples to train on, and 1,000 of other dates; two keys."""
    days = FIRST + np.asarray(random.permutation(for_days, LAST + 1 - FIRST))
    forms = np.asarray(random.randint(for_forms, (examples + 1000,), 0, len(FORMS)))
    return examples_of(np.resize(days[1000:], examples), forms[1000:]), examples_of(days[:1000], forms[:1000])


def train(
    *, epochs: int = 10, batch_size: int = 64, seed: int = 0, examples: int = 20_000, hidden: int = 64
) -> programs.Result:
    """Trains on 20,000 texts (or the given number of them); tells how many of 1,000 others are translated exactly."""
    for_params, for_days, for_forms, for_order = random.split(random.key(seed), 4)
    given, tested = drawn(for_days, for_forms, examples)
    loop = trainer(epochs * -(-examples // batch_size))
    fit = loop.fit(
        Translator(hidden, for_params),
        lambda epoch: data.batches(given, batch_size, key=random.fold_in(for_order, epoch)),
        epochs=epochs, validation=data.batches(tested, 500), callbacks=[training.Progress("date translation", unit="dates")],
    )  # fmt: skip
    dates, weights = loop.predict(fit.model, data.batches(tested, 500))
    spelled = ["".join(ALPHABET[c] for c in row if c) for row in tested[0]]
    written = ["".join(OUT[c] for c in row) for row in dates]
    for text, date, right in list(zip(spelled, written, np.all(dates == tested[1], axis=1)))[:8]:
        print(f"{text:>28} -> {date}{'' if right else '  wrong'}")
    right = float(np.mean(np.all(dates == tested[1], axis=1)))
    print(f"{right:.2%} of {len(dates)} dates that were never seen are exact")
    measures = {
        "exact": right,
        "characters": float(np.mean(dates == tested[1])),
        "loss": fit.history[-1]["validation_loss"],
    }
    return programs.Result(fit.model, fit.history, measures, {"texts": spelled, "dates": written, "attention": weights})


def figure(result: programs.Result) -> Any:
    """Where the decoder looked while it wrote, for three texts."""
    drawn = viz.figure(15, 4)
    longest = np.argsort([-len(text) for text in result.shown["texts"]], kind="stable")[[0, 300, 600]]
    for part, i in zip(drawn.subfigures(1, 3), longest):
        text = result.shown["texts"][i]
        viz.attention(result.shown["attention"][i][:, : len(text)], result.shown["dates"][i], text, on=part)
    return drawn


if __name__ == "__main__":
    programs.main(train)
