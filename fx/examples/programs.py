"""The training programs: which there are, their options, and what stands around a run.

A program is a module of this folder with

* ``train(*, epochs, batch_size, seed, model, ...) -> Result``: its keyword arguments are the options of the command line;
* ``QUICK``: values of these for a run of seconds (``--quick``);
* ``MODELS``, if there is a choice: the names that ``model`` takes; likewise ``SAMPLERS`` for ``sampler``;
* ``figure(result)``, if there is something to see: what ``--plot`` draws; by default the curves of the history.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from .. import io, train, viz
from ..errors import CorruptFileError, MissingDataError, PlotError, SaveError, TrainingError
from ..signatures import signature_of
from .catalogue import PROGRAMS

__all__ = ["PROGRAMS", "Clock", "Result", "add_options", "load", "main", "progress", "run", "summary"]


class Result(NamedTuple):
    """What a program ends with.

    Args:
        model: the trained model.
        history: the numbers of every epoch.
        measures: what it is judged by, by name.
        shown: arrays for its figure.
    """

    model: Any
    history: list[dict[str, float]]
    measures: dict[str, float]
    shown: dict[str, Any] = {}


def load(name: str) -> Any:
    """The module of a program, imported when it is asked for."""
    return importlib.import_module(f"fx.examples.{name}")


# ------------------------------------------------------------------------------------------ command line


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number; found {text!r}") from None


def _positive(text: str) -> int:
    value = _int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; found {value}")
    return value


def _seed(text: str) -> int:
    value = _int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 2**32 - 1; found {value}")
    return value


_HELP: dict[str, tuple[Any, str]] = {
    "characters": (_positive, "of the text, at most"),
    "context": (_positive, "characters that are seen at once"),
    "draws": (_positive, "times that the labelled digits are drawn"),
    "each": (_positive, "labelled examples of each digit"),
    "examples": (_positive, "training examples, at most"),
    "full": (bool, "all 70,000 images of MNIST, which are downloaded once"),
    "epochs": (_positive, "passes over the training data"),
    "batch_size": (_positive, "examples in a step"),
    "seed": (_seed, "of parameters, order and noise"),
    "hidden": (_positive, "numbers in the state of the recurrent networks"),
    "judge_epochs": (_positive, "passes that the judging classifier is trained for"),
    "layers": (_positive, "blocks, one after the other"),
    "model": (str, "network"),
    "sampler": (str, "what proposes settings"),
    "source_epochs": (_positive, "passes over MNIST before its features are reused"),
    "source_examples": (_positive, "training examples of MNIST, at most"),
    "width": (_positive, "numbers for each character, in each layer"),
}


def add_options(parser: argparse.ArgumentParser, module: Any) -> None:
    """The keyword arguments of ``train`` as options, with ``--quick``, ``--plot`` and ``--save``."""
    for name, parameter in signature_of(module.train).parameters.items():
        kind, text = _HELP[name]
        flag, choices = "--" + name.replace("_", "-"), getattr(module, f"{name.upper()}S", None)
        if kind is bool:
            parser.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
            continue
        shown = module.QUICK.get(name, parameter.default)
        note = f"{text} (default: {parameter.default}" + (f"; --quick: {shown})" if name in module.QUICK else ")")
        parser.add_argument(flag, type=kind, choices=choices and list(choices), default=argparse.SUPPRESS, help=note)
    parser.add_argument("--quick", action="store_true", help="a run of seconds, to see that it works")
    parser.add_argument("--plot", metavar="FILE.png", help="draw what came of it")
    parser.add_argument("--save", metavar="FILE.safetensors", help="write the trained model")


def run(module: Any, options: dict[str, Any], parser: argparse.ArgumentParser) -> Result:
    """Runs a program; what the options got wrong, and Ctrl-C, end it without a traceback."""
    options = dict(options)
    quick, plot, save = options.pop("quick", False), options.pop("plot", None), options.pop("save", None)
    try:
        if plot is not None:
            viz.check_plot(plot)
        if save is not None and not Path(save).resolve().parent.is_dir():
            raise SaveError(f"--save {save}: there is no folder {Path(save).resolve().parent}")
        result = module.train(**({**module.QUICK, **options} if quick else options))
        if plot is not None:
            viz.save(module.figure(result) if hasattr(module, "figure") else viz.curves(result.history), plot)
            print(f"plotted to {plot}")
        if save is not None:
            io.save(save, result.model)
            print(f"saved to {save}")
    except (CorruptFileError, MissingDataError, PlotError, SaveError, TrainingError) as error:
        parser.error(str(error))
    except KeyboardInterrupt as error:
        sys.exit("\ninterrupted" + (f"; {_kept(error, save)}" if save is not None else ""))
    return result


def _kept(error: KeyboardInterrupt, path: str) -> str:
    """Saves the network that was being trained, if there is one; tells what became of it."""
    state = getattr(error, "state", None)
    if state is None:
        return "nothing is saved"
    io.save(path, state.model)
    return f"the network as it was after {int(state.step)} steps is saved to {path}"


def main(train_function: Any, argv: Sequence[str] | None = None) -> None:
    """Runs the program whose ``train`` this is: ``python -m fx.examples.mnist``."""
    module = SimpleNamespace(**train_function.__globals__)  # when run as a script it is no entry of sys.modules
    parser = argparse.ArgumentParser(description=train_function.__globals__["__doc__"])
    add_options(parser, module)
    run(module, vars(parser.parse_args(argv)), parser)


# --------------------------------------------------------------------------------------------- clock


class Clock(train.Callback):
    """Wall-clock time, split into compiling and everything else.

    The time since the last lap counts as compiling if one of the jitted functions traced during it, less the median of
    the laps of that kind that compiled nothing.

    Args:
        functions: jitted functions.
    """

    def __init__(self, functions: Sequence[Any]) -> None:
        self._functions = list(functions)
        self._laps: dict[str, list[float]] = {}
        self._compiling: dict[str, list[float]] = {}
        self.start(None)

    def _count(self) -> int:
        return sum(f.cache_info().traced for f in self._functions)

    def start(self, run: Any) -> None:
        """Begins the first lap."""
        self._traced, self._last = self._count(), time.perf_counter()

    def step(self, run: Any) -> None:
        """Ends the lap of a step."""
        self.lap("step")

    def epoch(self, run: Any) -> None:
        """Ends the lap of an evaluation."""
        self.lap("evaluation")

    def lap(self, kind: str) -> None:
        """Ends a lap that did ``kind`` of work."""
        now, traced = time.perf_counter(), self._count()
        laps = self._laps if traced == self._traced else self._compiling
        laps.setdefault(kind, []).append(now - self._last)
        self._last, self._traced = now, traced

    @property
    def total(self) -> float:
        """Seconds."""
        return sum(sum(laps) for group in (self._laps, self._compiling) for laps in group.values())

    @property
    def compiling(self) -> float:
        """Seconds spent tracing and compiling."""
        usual = {kind: float(np.median(laps)) for kind, laps in self._laps.items()}
        return sum(max(lap - usual.get(kind, 0.0), 0.0) for kind, laps in self._compiling.items() for lap in laps)

    @property
    def running(self) -> float:
        """Seconds spent on everything else."""
        return self.total - self.compiling


# ------------------------------------------------------------------------------------------ what is told


def progress(title: str, unit: str = "images") -> train.Progress:
    """The lines of a program that classifies: training loss, held-out accuracy, examples a second."""

    def tell(run: train.Run) -> str:
        latest = run.history[-1]
        return (
            f"training loss {latest['loss']:.4f}  held-out accuracy {latest['validation_accuracy']:.2%}"
            f"  {latest['rate']:,.0f} {unit}/s"
        )

    return train.Progress(title, tell=tell, unit=unit)


def summary(fit: train.Fit, clock: Clock) -> dict[str, float]:
    """Prints the last line of a program that classifies; returns its measures."""
    accuracy = fit.history[-1]["validation_accuracy"]
    print(
        f"held-out accuracy {accuracy:.2%} after {len(fit.history)} epochs;"
        f" {clock.compiling:.1f} s compiling, {clock.running:.1f} s training"
    )
    return {"accuracy": accuracy, "compiling": clock.compiling, "training": clock.running}
