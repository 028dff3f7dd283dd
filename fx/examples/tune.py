"""Hyperparameter search: sixteen networks at once in one compiled step.  ``python -m fx train tune --help``.

A population is one model whose arrays have a leading axis, and ``vmap`` of the step trains it; the learning rate, the momentum, the
weight decay and the scale of the initial weights are arrays of the same length. At the same cost, counted in steps of one network,

* random search trains all sixteen equally long and keeps the best;
* successive halving drops the worse half five times, and trains those that are left twice as long;
* with ``--sampler optuna``, Optuna proposes the settings, four networks at a time, from how those before them did.

Source: Bergstra, Bengio, "Random search for hyper-parameter optimization", 2012; Jamieson, Talwalkar, "Non-stochastic best arm
identification and hyperparameter optimization", 2016; Bergstra, Bardenet, Bengio, Kegl, "Algorithms for hyper-parameter
optimization", 2011 (Optuna's sampler).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import fx
import fx.numpy as fnp
from fx import data, nn, optim, random, viz
from fx.errors import TrainingError
from fx.examples import programs

QUICK = {"epochs": 1, "examples": 1600}
SIZE = 16  # of the population
HIDDEN = 64
SAMPLERS = ("random", "optuna")


class Settings(NamedTuple):
    """What is searched, each an array with one number for each network; the limits of it, drawn uniformly in the logarithm."""

    rate: Any
    friction: Any  # 1 - momentum
    decay: Any
    scale: Any


LIMITS = Settings((1e-4, 3.0), (1e-2, 1.0), (1e-6, 3e-2), (0.1, 3.0))


class Population(NamedTuple):
    """Networks, the states of their optimizers, and their settings."""

    models: Any
    states: Any
    settings: Settings


def draw(key: Any, size: int) -> Settings:
    """Random settings."""
    keys = random.split(key, len(LIMITS))
    return Settings(
        *[
            fnp.exp(random.uniform(k, size, minval=math.log(low), maxval=math.log(high)))
            for k, (low, high) in zip(keys, LIMITS)
        ]
    )


def start(key: Any, setting: Settings) -> tuple[Any, Any]:
    """One network, and the state of its optimizer."""
    first, second = random.split(key)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, HIDDEN, key=first), nn.relu, nn.Linear(HIDDEN, 10, key=second))
    model = fx.tree.map(lambda w: setting.scale * w, model)
    return model, optimizer(setting).init(model)


def optimizer(setting: Settings) -> Any:
    """Gradient descent with momentum and weight decay; the numbers may be traced."""
    return optim.chain(
        optim.add_decayed_weights(setting.decay), optim.trace(1 - setting.friction), optim.scale(-setting.rate)
    )


def step(model: Any, state: Any, setting: Settings, images: Any, labels: Any) -> tuple[Any, Any, Any]:
    """One step of one network; with the loss before it."""
    value, gradient = fx.value_and_grad(lambda m: nn.cross_entropy(m(images), labels))(model)
    updates, state = optimizer(setting).update(gradient, state, model)
    return optim.apply_updates(model, updates), state, value


def accuracy(model: Any, images: Any, labels: Any) -> Any:
    """The share of digits that are recognised."""
    return fnp.mean(fnp.argmax(model(images), axis=1) == labels)


start_all = fx.jit(fx.vmap(start))

step_all = fx.jit(fx.vmap(step, in_axes=(0, 0, 0, None, None)), donate_argnums=(0, 1))
accuracy_all = fx.jit(fx.vmap(accuracy, in_axes=(0, None, None)))


def begin_all(keys: Any, settings: Settings) -> Population:
    """Networks before their first step, one for each key."""
    models, states = start_all(keys, settings)
    return Population(models, states, settings)


def advance(population: Population, stream: Iterator[Any], steps: int) -> Population:
    """Trains all networks, on the same batches."""
    models, states, settings = population
    for _ in range(steps):
        models, states, _ = step_all(models, states, settings, *next(stream))
    return Population(models, states, settings)


def random_search(population: Population, stream: Iterator[Any], steps: int, held: Any) -> tuple[Population, Any]:
    """All networks for so many steps, and their accuracies on held-out digits."""
    population = advance(population, stream, steps)
    return population, np.asarray(accuracy_all(population.models, *held))


def optuna_search(key: Any, stream: Iterator[Any], steps: int, held: Any, at_once: int = 4) -> tuple[Population, Any]:
    """As many networks as in ``random_search`` for so many steps, a few at once, with the settings that Optuna proposes.

    Raises:
        TrainingError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise TrainingError(
            "--sampler optuna searches with Optuna, which is not installed: pip install 'fxjit[tune]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=int(random.randint(key, (), 0, 1 << 30)), n_startup_trials=at_once)
    study, parts, found = optuna.create_study(direction="maximize", sampler=sampler), [], []
    for keys in random.split(key, SIZE).reshape(-1, at_once):
        trials = [study.ask() for _ in keys]
        proposed = {
            name: np.array([trial.suggest_float(name, *limits, log=True) for trial in trials], np.float32)
            for name, limits in LIMITS._asdict().items()
        }
        settings = Settings(**proposed)
        population, scores = random_search(begin_all(keys, settings), stream, steps, held)
        for trial, score in zip(trials, scores):
            study.tell(trial, float(score))
        parts.append(population)
        found.append(scores)
    return fx.tree.map(lambda *xs: fnp.concatenate(xs), *parts), np.concatenate(found)


def successive_halving(
    population: Population, stream: Iterator[Any], steps: int, held: Any
) -> tuple[Population, list[Any]]:
    """The network that is left, and the accuracies of all in every round; as many steps in all as ``random_search`` takes."""
    rounds, count, found = int(math.log2(SIZE)) + 1, SIZE, []
    while True:
        population = advance(population, stream, steps * SIZE // (rounds * count))
        found.append(np.asarray(accuracy_all(population.models, *held)))
        if count == 1:
            return population, found
        count //= 2
        best = np.argsort(-found[-1], kind="stable")[:count]
        population = fx.tree.map(lambda x: x[best], population)


def train(
    *, epochs: int = 5, batch_size: int = 64, seed: int = 0, examples: int = 8000, sampler: str = "random"
) -> programs.Result:
    """Searches with 3/4 of 8,000 digits (or the given number), chooses with the rest, and tells the accuracy on 2,000 others."""
    digits = data.mnist()
    every = slice(None, None, max(len(digits.train.labels) // examples, 1))
    images, labels = digits.train.images[every], digits.train.labels[every]
    chooses = np.arange(len(labels)) % 4 == 0
    held, training = (images[chooses], labels[chooses]), (images[~chooses], labels[~chooses])
    for_settings, for_params, for_order = random.split(random.key(seed), 3)
    settings = draw(for_settings, SIZE)

    def stream() -> Iterator[Any]:
        epoch = 0
        while True:
            yield from data.batches(training, batch_size, key=random.fold_in(for_order, epoch), drop_last=True)
            epoch += 1

    begin = lambda: begin_all(random.split(for_params, SIZE), settings)
    steps = epochs * (len(training[1]) // batch_size)
    if not steps:
        raise TrainingError(
            f"{len(training[1])} training examples are less than one batch of {batch_size}: take a smaller batch"
        )
    if sampler == "optuna":
        everyone, scores = optuna_search(for_params, stream(), steps, held)
    else:
        everyone, scores = random_search(begin(), stream(), steps, held)
    winner, rounds = successive_halving(begin(), stream(), steps, held)
    best = fx.tree.map(lambda x: x[[int(scores.argmax())]], everyone)
    measures = {}
    for name, (models, _, chosen), score in ((sampler, best, scores.max()), ("halving", winner, rounds[-1][0])):
        measures[name] = float(accuracy_all(models, *digits.test)[0])
        told = ", ".join(f"{what} {float(value[0]):.2g}" for what, value in zip(Settings._fields, chosen))
        print(f"{name:>8}: {told}; chosen at {score:.2%}, test accuracy {measures[name]:.2%}")
    print(
        f"{SIZE} networks, {SIZE * steps} steps of one network for either; median of the {sampler} ones {np.median(scores):.2%}"
    )
    history = [{"best": float(r.max()), "median": float(np.median(r))} for r in rounds]
    shown = {"settings": everyone.settings, "scores": scores, "rounds": rounds, "sampler": sampler}
    return programs.Result(winner.models, history, {**measures, "median": float(np.median(scores))}, shown)


def figure(result: programs.Result) -> Any:
    """What the search found at each learning rate and momentum, and how many networks halving left at what accuracy."""
    drawn = viz.figure(12, 5)
    left, right = drawn.subplots(1, 2)
    settings, scores, rounds = result.shown["settings"], result.shown["scores"], result.shown["rounds"]
    dots = left.scatter(settings.rate, settings.friction, c=scores, s=120, vmin=0, vmax=1)
    left.set(
        xscale="log",
        yscale="log",
        xlabel="learning rate",
        ylabel="1 - momentum",
        title=f"{result.shown['sampler']} search",
    )
    drawn.colorbar(dots, ax=left, label="accuracy")
    for i, found in enumerate(rounds, 1):
        right.plot([i] * len(found), found, "o", alpha=0.6)
    names = [f"{len(found)}" for found in rounds]
    right.set(
        xticks=range(1, len(rounds) + 1),
        xticklabels=names,
        xlabel="networks",
        ylabel="accuracy",
        title="successive halving",
    )
    return drawn


if __name__ == "__main__":
    programs.main(train)
