"""Callbacks that tell: CSV, JSON lines, TensorBoard, progress on the terminal, curves."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from ..errors import SaveError, SaveWarning
from . import elsewhere
from .checks import checked_interval
from .run import Callback, Run
from .tensorboard import EventWriter

__all__ = ["CSVLog", "JSONLog", "Plot", "Progress", "TensorBoardLog", "told"]


@contextlib.contextmanager
def _going_on(path: Path) -> Iterator[None]:
    """A log that cannot be written (a full disk ...) is a warning: the run is worth more than its log."""
    try:
        yield
    except OSError as error:
        warnings.warn(
            f"{path} was not written: {error.strerror or error}. The run goes on, and tries again.",
            SaveWarning,
            stacklevel=2,
        )


def _check_folder(path: Path) -> None:
    """Raises SaveError if there is no folder for a file: before the run, not behind its first epoch."""
    if not path.parent.is_dir():
        raise SaveError(f"{path} cannot be written: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise SaveError(f"{path} cannot be written: it is a folder. Name a file.")


@elsewhere.callback
class CSVLog(Callback):
    """One row for every epoch, in a file of comma-separated values.

    The file is written anew at every epoch, whole and at once, so that it has a column for everything that came up, and
    a resumed run continues it.  Where it cannot be written (a full disk) that is a ``SaveWarning``; the run goes on.

    Args:
        path: the file.

    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from fx import optim, train
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.csv"
    >>> trainer = train.Trainer(lambda w, batch, key: ((batch - w) ** 2).mean(), optim.sgd(0.1))
    >>> fit = trainer.fit(np.zeros(2, np.float32), [np.ones((3, 2), np.float32)], epochs=2, callbacks=[train.CSVLog(path)])
    >>> path.read_text().split(",")[:2], len(path.read_text().splitlines())
    (['epoch', 'loss'], 3)
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def start(self, run: Run) -> None:
        _check_folder(self.path)

    def epoch(self, run: Run) -> None:
        names = list(dict.fromkeys(name for row in run.history for name in row))
        part = self.path.with_name(self.path.name + ".part")
        with _going_on(self.path):
            try:
                with part.open("w", newline="") as file:
                    table = csv.DictWriter(file, ["epoch", *names])
                    table.writeheader()
                    table.writerows({"epoch": n, **row} for n, row in enumerate(run.history, 1))
                part.replace(self.path)
            finally:
                part.unlink(missing_ok=True)


@elsewhere.callback
class JSONLog(Callback):
    """One line of JSON for every epoch, and if wanted for every so many steps, added to the end of a file.

    Args:
        path: the file; what is in it stays.
        every: steps between two lines; None for epochs only.
    """

    def __init__(self, path: str | Path, every: int | None = None) -> None:
        self.path, self.every = Path(path), checked_interval("JSONLog", "every", every)

    def _write(self, values: Mapping[str, Any]) -> None:
        plain = {k: v if not isinstance(v, float) or math.isfinite(v) else str(v) for k, v in values.items()}
        with _going_on(self.path), self.path.open("ab+") as file:
            if file.tell():  # what a kill, or a full disk, cut off stays a line of its own
                file.seek(-1, os.SEEK_END)
            file.write(b"\n" * (file.read(1) not in (b"", b"\n")) + json.dumps(plain).encode() + b"\n")

    def start(self, run: Run) -> None:
        _check_folder(self.path)

    def step(self, run: Run) -> None:
        if self.every is not None and run.batch % self.every == 0:
            self._write({"epoch": run.epoch + 1, "step": int(run.state.step), **_numbers(run.info)})

    def epoch(self, run: Run) -> None:
        self._write({"epoch": run.epoch, "step": int(run.state.step), **run.history[-1]})


@elsewhere.callback
class TensorBoardLog(Callback):
    """Curves for TensorBoard (``tensorboard --logdir FOLDER``): every epoch, and every so many steps.

    Args:
        folder: where the event files are written.
        every: steps between two points; None for epochs only.
    """

    def __init__(self, folder: str | Path, every: int | None = 50) -> None:
        self.folder, self.every = Path(folder), checked_interval("TensorBoardLog", "every", every)
        self._writer: EventWriter | None = None

    def start(self, run: Run) -> None:
        try:
            self._writer = EventWriter(self.folder)
        except OSError as error:
            raise SaveError(
                f"no events can be written into {self.folder}: {error.strerror}. Choose another folder, or leave TensorBoardLog out."
            ) from error

    def step(self, run: Run) -> None:
        if self._writer is not None and self.every is not None and run.batch % self.every == 0:
            step = int(run.state.step)
            with _going_on(self._writer.path):
                self._writer.scalars(step, {f"step/{name}": v for name, v in _numbers(run.info).items()})

    def epoch(self, run: Run) -> None:
        if self._writer is not None:
            with _going_on(self._writer.path):
                self._writer.scalars(run.epoch, {f"epoch/{name}": v for name, v in run.history[-1].items()})
                self._writer.flush()

    def finish(self, run: Run) -> None:
        if self._writer is not None:
            with _going_on(self._writer.path):
                self._writer.close()

    def abort(self, run: Run, error: BaseException) -> None:
        self.finish(run)


def _numbers(info: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in info.items() if name != "finite"}


class Plot(Callback):
    """The curves of the run so far, drawn into a file after every epoch; see ``fx.viz.curves``.

    Args:
        path: a name that ends in .png, .pdf or .svg.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def epoch(self, run: Run) -> None:
        from .. import viz  # matplotlib is an optional extra

        viz.save(viz.curves(run.history), self.path)


# ------------------------------------------------------------------------------------------- progress


def told(values: Mapping[str, float], names: Iterable[str] = ()) -> str:
    """Numbers as a line shows them.

    >>> told({"loss": 0.12345, "validation_accuracy": 0.981, "seconds": 2.0})
    'loss 0.1235  validation accuracy 98.10%'
    """
    chosen = list(names) or [n for n in values if n not in ("seconds", "rate", "gradient_norm")]
    shown = lambda n: (
        f"{values[n]:.2%}" if n.endswith("accuracy") else f"{values[n]:{'d' if isinstance(values[n], int) else '.4f'}}"
    )
    return "  ".join(f"{n.replace('_', ' ')} {shown(n)}" for n in chosen)


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours if there are any.

    >>> clock(75.2), clock(3725)
    ('1:15', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@elsewhere.callback
class Progress(Callback):
    """A line for every epoch; on a terminal also a bar with the loss, the rate and the time that is left.

    The bar is rich's where that is installed (``pip install rich``), else plain text.

    Args:
        title: printed first.
        stream: where to; None is standard output.
        tell: from the run to the line of an epoch, without its number; None shows the history's numbers.
        unit: what an example is called.
        rich: None uses it where it is installed and the stream is a terminal.

    >>> import numpy as np
    >>> from fx import optim, train
    >>> trainer = train.Trainer(lambda w, batch, key: ((batch - w) ** 2).mean(), optim.sgd(0.1))
    >>> progress = train.Progress(tell=lambda run: f"loss {run.history[-1]['loss']:.2f}", rich=False)
    >>> fit = trainer.fit(np.zeros(2, np.float32), [np.ones((3, 2), np.float32)], epochs=2, callbacks=[progress])
    epoch 1/2  loss 1.00
    epoch 2/2  loss 0.81
    """

    REDRAW = 0.1  # seconds between two states of the bar
    WIDTH = 24

    def __init__(
        self, title: str = "", stream: TextIO | None = None, *, tell: Callable[[Run], str] | None = None,
        unit: str = "examples", rich: bool | None = None,
    ) -> None:  # fmt: skip
        self.title, self.unit, self.tell = title, unit, tell
        self._stream = sys.stdout if stream is None else stream
        self._live = self._stream.isatty()
        self._rich: Any = None
        self._wants_rich = (self._live and importlib.util.find_spec("rich") is not None) if rich is None else rich
        self._drawn = 0.0

    def _print(self, text: str) -> None:
        if self._rich is not None:
            self._rich.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            print(f"\r\x1b[K{text}" if self._live else text, file=self._stream, flush=True)

    def start(self, run: Run) -> None:
        if self._wants_rich:
            self._rich = _rich_bar(self._stream)
            self._task = self._rich.add_task("", total=run.length, told="")
        if self.title:
            self._print(self.title)
        if run.epoch or run.batch:
            at = f"batch {run.batch + 1} of epoch {run.epoch + 1}" if run.batch else f"epoch {run.epoch + 1}"
            self._print(f"going on from {at}")

    def step(self, run: Run) -> None:
        now = time.perf_counter()
        if not (self._live or self._rich) or now - self._drawn < self.REDRAW:
            return
        self._drawn = now
        a_batch = max(now - run.started, 1e-9) / (run.batch - run.entered)
        rate = run.examples / run.batch / a_batch
        left = "" if run.length is None else f"  {clock(a_batch * (run.length - run.batch))} left"
        loss = run.means.result().get("loss", math.nan)
        text = f"loss {loss:.4f}  {rate:,.0f} {self.unit}/s{left}"
        head = f"epoch {run.epoch + 1}/{run.epochs}"
        if self._rich is not None:
            self._rich.update(self._task, completed=run.batch, total=run.length, description=head, told=text)
            return
        done, todo = "━─" if "utf" in (self._stream.encoding or "").lower() else "#-"
        filled = self.WIDTH * run.batch // run.length if run.length else 0
        bar = done * filled + todo * (self.WIDTH - filled)
        print(f"\r\x1b[K{head} {bar} {text}", end="", file=self._stream, flush=True)

    def epoch(self, run: Run) -> None:
        latest = run.history[-1]
        text = f"{told(latest)}  {latest['seconds']:.1f} s" if self.tell is None else self.tell(run)
        self._print(f"epoch {run.epoch:>{len(str(run.epochs))}}/{run.epochs}  {text}")

    def finish(self, run: Run) -> None:
        if run.stop:
            self._print(f"stopped: {run.stop}")
        self._close()

    def abort(self, run: Run, error: BaseException) -> None:
        self._print(f"ended by {type(error).__name__} at batch {run.batch + 1} of epoch {run.epoch + 1}")
        self._close()

    def _close(self) -> None:
        if self._rich is not None:
            self._rich.stop()
            self._rich = None


def _rich_bar(stream: TextIO) -> Any:
    """A started bar of rich's."""
    from rich.console import Console  # an optional extra
    from rich.progress import BarColumn, Progress, TextColumn

    columns = [TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[told]}")]
    bar = Progress(*columns, console=Console(file=stream), transient=True)
    bar.start()
    return bar
