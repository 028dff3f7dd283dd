"""A run: where training stands, what came of it so far, and the hooks that callbacks have."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..data import Dataset
from ..errors import DeletedArrayError, TrainingError
from .checks import checked_batches, checked_element
from .state import TrainState

__all__ = ["Callback", "Means", "Run", "batches_from", "interruption_deferred"]

Tree = Any
Data = Iterable[Any] | Callable[[int], Iterable[Any]]


class Means:
    """Means of scalars over steps, weighted by examples.

    The arrays are kept and turned into numbers later, so that a step is not waited for.
    """

    PENDING = 512

    def __init__(self) -> None:
        self._pending: list[tuple[dict[str, Any], int]] = []
        self._sums: dict[str, float] = {}
        self._weights: dict[str, float] = {}

    def add(self, values: dict[str, Any], weight: int) -> None:
        """Takes the scalars of one step."""
        self._pending.append((values, weight))
        if len(self._pending) >= self.PENDING:
            self._fetch()

    def _fetch(self) -> None:
        for values, weight in self._pending:
            for name, value in values.items():
                self._sums[name] = self._sums.get(name, 0.0) + float(value) * weight
                self._weights[name] = self._weights.get(name, 0.0) + weight
        self._pending = []

    def result(self) -> dict[str, float]:
        """The means so far."""
        self._fetch()
        return {name: total / self._weights[name] for name, total in self._sums.items()}

    def save(self) -> dict[str, Any]:
        """What ``load`` takes: numbers only."""
        self._fetch()
        return {"sums": dict(self._sums), "weights": dict(self._weights)}

    def load(self, saved: dict[str, Any]) -> None:
        """Goes on from what ``save`` returned."""
        self._pending, self._sums, self._weights = [], dict(saved["sums"]), dict(saved["weights"])


class Callback:
    """What happens beside the steps.  Every method may be left as it is.

    ``last``: called after all others (at the start before them), to save what they did.
    """

    last = False

    def start(self, run: Run) -> None:
        """Before the first step."""

    def step(self, run: Run) -> None:
        """After a step; ``run.info`` is what it returned."""

    def epoch(self, run: Run) -> None:
        """After an epoch; ``run.history[-1]`` is what came of it."""

    def finish(self, run: Run) -> None:
        """After the last epoch, or when ``run.stop`` was set."""

    def abort(self, run: Run, error: BaseException) -> None:
        """When Ctrl-C or an error ends the run; ``run.state`` is the state after the last step that was sound."""

    def save(self) -> dict[str, Any]:
        """What the callback needs to go on: numbers, strings and arrays in lists and dicts; part of every checkpoint."""
        return {}

    def load(self, saved: dict[str, Any]) -> None:
        """Goes on from what ``save`` returned."""


@dataclass
class Run:
    """Where a run stands.  Callbacks read it, and may set ``state`` and ``stop``.

    Args:
        state: the ``TrainState``; the next step takes its memory, so keep copies of what you want to keep.
        epochs: how many there will be.
        epoch: how many are done.
        batch: how many batches of the current epoch are done.
        place: the state of a ``Dataset`` after them.
        history: for every epoch that is done, its means, validation and seconds.
        info: what the latest step returned.
        examples: examples seen in this epoch.
        length: batches in an epoch, where the data says so or an epoch has passed.
        skipped: steps whose gradient was not finite, which changed nothing.
        stop: set to a reason to end after the current step.
        callbacks: in the order in which they are called.
        started, entered: ``time.perf_counter()`` and the value of ``batch`` when this pass began or was resumed.
    """

    state: TrainState
    epochs: int
    epoch: int = 0
    batch: int = 0
    place: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    examples: int = 0
    length: int | None = None
    skipped: int = 0
    stop: str = ""
    callbacks: Sequence[Callback] = ()
    started: float = 0.0
    entered: int = 0
    means: Means = field(default_factory=Means)

    @property
    def model(self) -> Tree:
        """The model as it is now."""
        return self.state.model

    def call(self, hook: str, *args: Any) -> None:
        """Calls a method of every callback; at the start what is last otherwise comes first, and brings back what was saved."""
        for c in sorted(self.callbacks, key=lambda c: c.last != (hook == "start")):
            getattr(c, hook)(self, *args)

    def abort(self, error: BaseException) -> None:
        """Calls ``abort`` of every callback, of those behind one that fails too: they may have a state to save."""
        for c in sorted(self.callbacks, key=lambda c: c.last):
            try:
                c.abort(self, error)
            except Exception as further:
                error.add_note(f"{type(c).__name__} could not end as it should: {type(further).__name__}: {further}")

    @property
    def lost(self) -> bool:
        """Whether the state is gone: a step that ended in the middle had been given its memory."""
        try:
            np.asarray(self.state.step)
        except DeletedArrayError:
            return True
        return False

    def position(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON: what a checkpoint holds beside the state."""
        names = ("epoch", "batch", "place", "history", "examples", "skipped")
        return {**{n: getattr(self, n) for n in names}, "means": self.means.save()}

    def goto(self, position: dict[str, Any]) -> None:
        """Goes on from what ``position`` returned."""
        for name, value in position.items():
            if name != "means":
                setattr(self, name, value)
        self.means.load(position["means"])


def batches_from(data: Data, run: Run) -> Generator[tuple[Any, dict[str, Any]], None, None]:
    """The batches of an epoch that are still to come, each with the state of a ``Dataset`` after it; sets ``run.length``.

    Args:
        data: a ``Dataset``, an iterable of batches that can be gone through again, or a function from the number of the
            epoch to one of these.
    """
    source = data(run.epoch) if callable(data) else data
    checked_batches(source, "fit")
    run.length = _length(source)
    if isinstance(source, Dataset):  # goes on where its state says, and differs from epoch to epoch
        iterator = source.iterator(run.place, epoch=run.epoch)
        try:
            for batch in iterator:
                checked_element(batch)
                yield batch, iterator.state
        finally:
            iterator.close()
        return
    if isinstance(source, Iterator) and run.epoch > 0 and not callable(data):
        raise TrainingError(
            f"the data is an iterator ({type(source).__name__}), which can be gone through once; epoch {run.epoch + 1} needs it"
            " again. Pass a list, a Dataset, or a function from the number of the epoch to its batches."
        )
    if run.length is not None and run.batch > run.length and not isinstance(source, Dataset):
        raise TrainingError(
            f"the run that was saved had done {run.batch} batches of epoch {run.epoch + 1}; the data has {run.length} now. Go on with the"
            " data that it began with, or begin anew: Checkpoint(..., resume=False)."
        )
    if isinstance(source, Sequence):
        rest: Iterable[Any] = (source[i] for i in range(run.batch, len(source)))
    else:
        rest = itertools.islice(source, run.batch, None)
    for batch in rest:
        yield batch, {}


def _length(source: Any) -> int | None:
    """How many batches there are, if the source knows."""
    try:
        return len(source)
    except TypeError:
        return None


@contextmanager
def interruption_deferred() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C is noted rather than raised; the function yielded says whether it was pressed.

    A step gives the memory of the old state away: raised in the middle of it, an interruption would lose both states.
    The second Ctrl-C raises at once.  Only the main thread receives signals; in others nothing changes.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return

    def note(number: int, frame: Any) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
