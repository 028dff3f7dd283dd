"""The callback that saves a run, and goes on from what was saved."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any

from .. import io
from ..errors import CheckpointMismatchError, SaveError, SaveWarning, TrainingWarning
from ..io.claim import FolderClaim
from . import elsewhere
from .callbacks import direction, monitored
from .checks import checked_interval
from .run import Callback, Run

__all__ = ["Checkpoint"]


@elsewhere.callback
class Checkpoint(Callback):
    """Saves the run, and goes on from the latest save when the same program is started again.

    A checkpoint holds the ``TrainState`` (model, optimizer, key, step), the place in the data (epoch and batch), the means so far, the history, and
    what the other callbacks need: so a run that was killed at any moment and started again ends with the bits of one that
    was not, if the data are (``fx.data``, or a function from the number of the epoch).  Files are written beside and
    renamed: a kill while saving leaves the older one.  Ctrl-C and errors save too.  A full disk is a ``SaveWarning``, and so is a
    folder that goes away.  While a run lasts the folder is its own: another process that begins to train into it is told so.
    Callbacks find what they saved by their kind, in their order.

    Args:
        folder: where; see ``fx.io.CheckpointManager``.
        every: steps between two saves; None for the ends of epochs only.
        epochs: epochs between two saves.
        keep: how many of the newest stay.
        best: a number of the history whose best checkpoint stays besides.
        mode: "min" or "max": what is best; None: as for ``EarlyStopping``.
        resume: False begins anew, and overwrites.
        sync: False not to wait for the disk.

    >>> import tempfile
    >>> import numpy as np
    >>> from fx import optim, train
    >>> trainer = train.Trainer(lambda w, batch, key: ((batch[0] @ w - batch[1]) ** 2).mean(), optim.sgd(0.1))
    >>> batches, w = [(np.eye(2, dtype=np.float32), np.ones(2, np.float32))], np.zeros(2, np.float32)
    >>> folder = tempfile.mkdtemp()
    >>> fit = trainer.fit(w, batches, epochs=2, callbacks=[train.Checkpoint(folder)])
    >>> fit = trainer.fit(w, batches, epochs=5, callbacks=[train.Checkpoint(folder)])  # goes on: three more
    >>> int(fit.state.step), len(fit.history)
    (5, 5)
    """

    last = True

    def __init__(
        self, folder: str | os.PathLike[str], *, every: int | None = None, epochs: int = 1, keep: int = 3,
        best: str | None = None, mode: str | None = None, resume: bool = True, sync: bool = True,
    ) -> None:  # fmt: skip
        for name, interval in (("every", every), ("epochs", epochs)):
            checked_interval("Checkpoint", name, interval)
        self.best, self.mode = best, direction("" if best is None else best, mode, "Checkpoint")
        self.manager = io.CheckpointManager(folder, keep_last=keep, best=best, mode=self.mode)
        self.every, self.epochs, self.resume, self.sync = every, epochs, resume, sync
        self._ready = False
        self._claim: FolderClaim | None = None

    def start(self, run: Run) -> None:
        """Goes on from the latest checkpoint, if there is one.

        Raises:
            CheckpointError: another process trains into the folder.
            CheckpointMismatchError: it is one of another model or optimizer.
        """
        self._ready, self._claim = False, FolderClaim(self.manager.folder)
        latest = self.manager.latest_step()
        if self.resume and latest is not None:
            self._restore(run, latest)
        self._ready = True

    def _restore(self, run: Run, step: int) -> None:
        whole = self.manager.restore(step=step)
        others = whole.get("callbacks", []) if isinstance(whole, dict) else []
        try:
            found = self.manager.restore({"state": run.state, "run": "", "callbacks": others}, step=step)
        except CheckpointMismatchError as error:
            error.add_note(
                f"{self.manager.folder} holds a run of another model, optimizer or precision. Choose another folder, or begin"
                " anew with Checkpoint(..., resume=False)."
            )
            raise
        run.state = found["state"]
        position = json.loads(found["run"])
        self._load_others(run, others, position.pop("callbacks", None))
        run.goto(position)

    def _load_others(self, run: Run, saved: list[Any], kinds: list[str] | None) -> None:
        """Gives the other callbacks what they saved: to those of a kind in their order, wherever they stand now."""
        if kinds is None:  # a checkpoint that does not name them
            kinds = [_kind(c) for c in self._others(run)]
        waiting = self._others(run)
        for kind, what in zip(kinds, saved):
            callback = next((c for c in waiting if _kind(c) == kind), None)
            if callback is not None:
                waiting.remove(callback)
                callback.load(what)
            elif what:
                warnings.warn(
                    f"the checkpoint in {self.manager.folder} holds what a callback {kind} had come to; this run has none, and goes on without."
                    f" Its callbacks are {', '.join(map(_kind, run.callbacks))}.",
                    TrainingWarning,
                    stacklevel=2,
                )

    def _others(self, run: Run) -> list[Callback]:
        return [c for c in run.callbacks if c is not self]

    def _save(self, run: Run, metrics: dict[str, float] | None = None) -> None:
        values = {
            "state": run.state,
            "run": json.dumps({**run.position(), "callbacks": [_kind(c) for c in self._others(run)]}),
            "callbacks": [c.save() for c in self._others(run)],
        }
        try:
            self.manager.save(int(run.state.step), values, metrics=metrics, sync=self.sync)
        except SaveError as error:
            warnings.warn(
                f"no checkpoint at step {int(run.state.step)}: {error} The run goes on and tries again at the next one; the"
                f" latest in {self.manager.folder} is that of step {self.manager.latest_step()}.",
                SaveWarning,
                stacklevel=2,
            )

    def step(self, run: Run) -> None:
        if self.every is not None and int(run.state.step) % self.every == 0:
            self._save(run)

    def epoch(self, run: Run) -> None:
        if self.best is not None:
            monitored(run, self.best)  # says what there is, if it is none
        if run.epoch % self.epochs == 0:
            self._save(run, run.history[-1])

    def finish(self, run: Run) -> None:
        self._release()

    def abort(self, run: Run, error: BaseException) -> None:
        try:
            if self._ready and not run.lost:  # not when the checkpoint that was found is another model's
                self._save(run)
        finally:
            self._release()

    def _release(self) -> None:
        if self._claim is not None:
            self._claim.release()
            self._claim = None


def _kind(callback: Callback) -> str:
    return type(callback).__qualname__
