"""What surrounds a training program: its options, its progress on the terminal, its clock, its plot."""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

__all__ = ["Clock", "Epoch", "Report", "add_options", "main", "run"]

BAR_WIDTH = 24
REDRAW_SECONDS = 0.1


# ------------------------------------------------------------------------------------------- options


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; found {value}")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 2**32 - 1; found {value}")
    return value


def add_options(parser: argparse.ArgumentParser, models: Iterable[str]) -> None:
    """The options of a training program."""
    models = list(models)
    parser.add_argument("--model", choices=models, default=models[0], help="network (default: %(default)s)")
    parser.add_argument(
        "--epochs", type=_positive, default=10, help="passes over the training data (default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=_positive, default=128, help="examples in a step (default: %(default)s)")
    parser.add_argument("--seed", type=_seed, default=0, help="of parameters, order and noise (default: %(default)s)")
    parser.add_argument(
        "--plot", metavar="FILE.png", help="draw the curves of loss and accuracy, and misclassified digits"
    )


def run(train: Callable[..., Any], options: dict[str, Any], parser: argparse.ArgumentParser) -> None:
    """Runs a training program; what the options got wrong, and Ctrl-C, end it without a traceback."""
    try:
        train(**options)
    except PlotError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        sys.exit("\ninterrupted")


def main(train: Callable[..., Any], models: Iterable[str], argv: Sequence[str] | None = None) -> None:
    """Runs a training program with the options of the command line."""
    parser = argparse.ArgumentParser(description=sys.modules[train.__module__].__doc__)
    add_options(parser, models)
    run(train, vars(parser.parse_args(argv)), parser)


# --------------------------------------------------------------------------------------------- clock


class Clock:
    """Wall-clock time, split into compiling and everything else.

    The time since the last lap counts as compiling if one of the jitted functions traced during it, less the median of
    the laps of that kind that compiled nothing.
    """

    def __init__(self, functions: Sequence[Any]) -> None:
        self._functions = list(functions)
        self._traced = self._count()
        self._last = time.perf_counter()
        self._laps: dict[str, list[float]] = {}
        self._compiling: dict[str, list[float]] = {}

    def _count(self) -> int:
        return sum(f.cache_info().traced for f in self._functions)

    def lap(self, kind: str) -> None:
        """Ends a lap that did ``kind`` of work."""
        now, traced = time.perf_counter(), self._count()
        laps = self._laps if traced == self._traced else self._compiling
        laps.setdefault(kind, []).append(now - self._last)
        self._last, self._traced = now, traced

    @property
    def total(self) -> float:
        return sum(sum(laps) for group in (self._laps, self._compiling) for laps in group.values())

    @property
    def compiling(self) -> float:
        """Seconds spent tracing and compiling."""
        usual = {kind: statistics.median(laps) for kind, laps in self._laps.items()}
        return sum(max(lap - usual.get(kind, 0.0), 0.0) for kind, laps in self._compiling.items() for lap in laps)

    @property
    def running(self) -> float:
        return self.total - self.compiling


# -------------------------------------------------------------------------------------------- report


@dataclass(frozen=True)
class Epoch:
    """What came of one pass: mean training loss, accuracy on the held-out examples, training images a second."""

    loss: float
    accuracy: float
    rate: float


class Report:
    """Progress of a training run: a live bar on a terminal, one line for each epoch, and a last line.

    Args:
        title: printed first.
        epochs: how many there will be.
        functions: the jitted functions, whose compiling is timed.
        plot: file to draw into at the end, or None.
        stream: where to print; None means standard output.
    """

    def __init__(
        self, title: str, epochs: int, functions: Sequence[Any], plot: str | None = None, stream: TextIO | None = None
    ) -> None:
        if plot is not None:
            _check_plot(plot)
        self.history: list[Epoch] = []
        self.epochs, self.plot = epochs, plot
        self._stream = sys.stdout if stream is None else stream
        self._live = self._stream.isatty()
        self._wrong: tuple[np.ndarray, ...] = ()
        self._loss = 0.0
        self._seen = self._done = self._batches = 0
        self._start = self._now = self._drawn = 0.0
        self._print(title)
        self.clock = Clock(functions)

    def _print(self, text: str) -> None:
        print(f"\r\x1b[K{text}" if self._live else text, file=self._stream, flush=True)

    def epoch(self, batches: Sequence[Any]) -> Iterator[Any]:
        """The batches of a pass, one by one."""
        self._loss, self._seen, self._done, self._batches = 0.0, 0, 0, len(batches)
        self._start = time.perf_counter()
        yield from batches

    def step(self, loss: Any, size: int) -> None:
        """After each step: its mean loss over ``size`` examples."""
        self._loss += float(loss) * size
        self._seen += size
        self._done += 1
        self.clock.lap("step")
        self._now = time.perf_counter()
        if self._live and self._now - self._drawn > REDRAW_SECONDS:
            self._drawn = self._now
            self._draw()

    @property
    def _rate(self) -> float:
        """Training images a second in this pass, up to the last step."""
        return self._seen / max(self._now - self._start, 1e-9)

    def _draw(self) -> None:
        filled = BAR_WIDTH * self._done // self._batches
        done, todo = "━─" if "utf" in (self._stream.encoding or "").lower() else "#-"
        bar = done * filled + todo * (BAR_WIDTH - filled)
        text = f"epoch {len(self.history) + 1}/{self.epochs} {bar} loss {self._loss / self._seen:.4f}  {self._rate:,.0f} images/s"
        print(f"\r\x1b[K{text}", end="", file=self._stream, flush=True)

    def end_epoch(self, predictions: np.ndarray, held_out: Any) -> None:
        """After each pass: what is predicted for the held-out examples (``images``, ``labels``)."""
        self.clock.lap("evaluation")
        right = np.asarray(predictions) == held_out.labels
        done = Epoch(self._loss / self._seen, float(right.mean()), self._rate)
        self.history.append(done)
        self._wrong = (held_out.images[~right], held_out.labels[~right], np.asarray(predictions)[~right])
        self._print(
            f"epoch {len(self.history):>{len(str(self.epochs))}}/{self.epochs}  training loss {done.loss:.4f}"
            f"  held-out accuracy {done.accuracy:.2%}  {done.rate:,.0f} images/s"
        )

    def finish(self) -> None:
        """The last line, and the plot."""
        self._print(
            f"held-out accuracy {self.history[-1].accuracy:.2%} after {len(self.history)} epochs;"
            f" {self.clock.compiling:.1f} s compiling, {self.clock.running:.1f} s training"
        )
        if self.plot is not None:
            _draw_plot(self.plot, self.history, *self._wrong)
            self._print(f"plotted to {self.plot}")


# ---------------------------------------------------------------------------------------------- plot


class PlotError(RuntimeError):
    """The plot that was asked for cannot be drawn."""


def _check_plot(file: str) -> None:
    """Finds out before the training, not after it, that the plot cannot be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise PlotError("--plot draws with matplotlib, which is not installed: pip install matplotlib")
    folder = Path(file).resolve().parent
    if not folder.is_dir():
        raise PlotError(f"--plot {file}: there is no folder {folder}")
    if Path(file).suffix.lower() not in (".png", ".pdf", ".svg", ".jpg"):
        raise PlotError(f"--plot {file}: the name must end in .png, .pdf, .svg or .jpg")


def _draw_plot(
    file: str, history: Sequence[Epoch], images: np.ndarray, labels: np.ndarray, predictions: np.ndarray
) -> None:
    """Curves of loss and accuracy on the left, misclassified digits on the right."""
    from matplotlib.figure import Figure  # an optional extra, and slow to import

    rows, columns = 6, 8
    figure = Figure(figsize=(13, 6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.2))
    top, bottom = left.subplots(2, 1, sharex=True)
    epochs = range(1, len(history) + 1)
    top.plot(epochs, [e.loss for e in history], marker="o")
    top.set(ylabel="training loss", yscale="log")
    bottom.plot(epochs, [100 * e.accuracy for e in history], marker="o", color="tab:green")
    bottom.set(xlabel="epoch", ylabel="held-out accuracy / %")
    for axes in (top, bottom):
        axes.grid(alpha=0.3)
    shown = min(len(images), rows * columns)
    spread = np.linspace(0, len(images) - 1, shown).astype(int)  # the examples are sorted by digit: show some of each
    right.suptitle(f"{shown} of {len(images)} misclassified digits: true, predicted")
    for i, axes in enumerate(right.subplots(rows, columns).flat):
        axes.axis("off")
        if i < shown:
            axes.imshow(images[spread[i], :, :, 0], cmap="gray_r")
            axes.set_title(f"{labels[spread[i]]}, {predictions[spread[i]]}", fontsize=8)
    figure.savefig(file, dpi=110)
