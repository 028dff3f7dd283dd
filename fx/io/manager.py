"""``CheckpointManager``: a folder of checkpoints that keeps the last few and the best."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, CorruptFileError
from .atomic import remove_leftovers
from .saving import load, read_metadata, save

__all__ = ["CheckpointManager"]

Tree = Any
_NAME = re.compile(r"step-(\d+)\.safetensors")


class CheckpointManager:
    """A folder with one file for each step that was saved.

    Args:
        folder: made if it is missing.
        keep_last: how many of the newest to keep; None for all.
        best: the metric that tells which are best, such as ``"val_loss"``; None to keep none for that.
        mode: ``"min"`` or ``"max"``: which values of the metric are good.
        keep_best: how many of the best to keep besides.

    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manager = CheckpointManager(folder, keep_last=2, best="loss")
    ...     for step, loss in enumerate([0.9, 0.2, 0.5, 0.4]):
    ...         manager.save(step, {"w": np.full(2, step)}, metrics={"loss": loss})
    ...     manager.steps(), manager.best_step(), manager.restore()["w"]
    ([1, 2, 3], 1, array([3, 3]))
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, keep_last: int | None = 3, best: str | None = None, mode: str = "min",
        keep_best: int = 1,
    ) -> None:  # fmt: skip
        if mode not in ("min", "max"):
            raise CheckpointError(f"CheckpointManager: mode is 'min' or 'max'; found {mode!r}")
        if keep_last is not None and not (isinstance(keep_last, int) and keep_last >= 1):
            raise CheckpointError(
                f"CheckpointManager keeps at least the newest checkpoint; found keep_last={keep_last!r}"
            )
        self.folder = Path(folder)
        self._keep_last, self._best, self._sign, self._keep_best = (
            keep_last,
            best,
            1 if mode == "min" else -1,
            keep_best,
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise CheckpointError(f"{self.folder} is a file; checkpoints go into a folder of their own") from None
        except OSError as e:
            raise CheckpointError(f"the folder {self.folder} cannot be made: {e.strerror}. Choose another one.") from e

    def path(self, step: int) -> Path:
        """The file of a step."""
        return self.folder / f"step-{step:010d}.safetensors"

    def steps(self) -> list[int]:
        """The steps that are there, in order; none if the folder is gone."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.folder) as files:
            return sorted(int(m[1]) for f in files if (m := _NAME.fullmatch(f.name)) and f.is_file())
        return []

    def latest_step(self) -> int | None:
        """The newest step; None if there is none."""
        return max(self.steps(), default=None)

    def best_step(self) -> int | None:
        """The step whose metric is best (of equals the newest); None if none has it."""
        return next(iter(self._ranked(self.steps())), None)

    def metrics(self, step: int) -> dict[str, Any]:
        """The metrics that were saved with a step."""
        return dict((read_metadata(self.path(step)) or {}).get("metrics", {}))

    def save(self, step: int, values: Tree, *, metrics: Mapping[str, float] | None = None, sync: bool = True) -> None:
        """Writes a checkpoint, whole or not at all, and then removes those that need not be kept.

        Args:
            step: not negative; one that is there is replaced.
            values, sync: see ``fx.io.save``.
            metrics: numbers by name.

        Raises:
            SaveError: the disk is full ...; all older checkpoints are unharmed.
        """
        if step < 0:
            raise CheckpointError(f"a step is not negative; found {step}")
        numbers = {name: float(value) for name, value in (metrics or {}).items()}
        if self._best is not None and metrics is not None and self._best not in numbers:
            raise CheckpointError(f"the best are told by {self._best!r}; the metrics are {sorted(numbers)}")
        save(self.path(step), values, metadata={"step": step, "metrics": numbers}, sync=sync)
        self._remove_others(step)

    def restore(self, like: Tree = None, *, step: int | None = None, best: bool = False, cast: bool = False) -> Tree:
        """Loads the newest checkpoint, the best, or that of a step.

        Args:
            like, cast: see ``fx.io.load``.

        Raises:
            CheckpointError: there is none (of that step), or it is damaged; the message names those that are there.
        """
        if step is None:
            step = self.best_step() if best else self.latest_step()
        if step is None or not self.path(step).exists():
            wanted = "checkpoint" if step is None else f"checkpoint of step {step}"
            raise CheckpointError(f"{self.folder} has no {wanted}; its steps are {self.steps()}")
        try:
            return load(self.path(step), like, cast=cast)
        except CheckpointError as e:
            others = [s for s in self.steps() if s != step]
            if not others:
                raise
            way_out = "restore(step=...) takes one of them"
            if isinstance(e, CorruptFileError):
                way_out += "; without the damaged file a run goes on from the newest of them"
            e.add_note(f"Other steps in {self.folder}: {others}; {way_out}.")
            raise

    def _ranked(self, steps: list[int]) -> list[int]:
        """Steps that have the metric, the best first."""
        found: dict[int, float] = {}
        best = self._best
        if best is None:
            return []
        for s in steps:
            try:
                value = self.metrics(s).get(best, math.nan)
            except (CheckpointError, OSError):  # an older file that is damaged, gone or of another version ends no run
                continue
            if not math.isnan(value):
                found[s] = self._sign * value
        return sorted(found, key=lambda s: (found[s], -s))

    def _remove_others(self, saved: int) -> None:
        remove_leftovers(self.folder)
        steps = self.steps()
        if self._keep_last is None:
            return
        keep = {saved, *steps[-self._keep_last :], *self._ranked(steps)[: self._keep_best]}
        for s in steps:
            if s not in keep:
                with contextlib.suppress(OSError):  # somebody else removed it, or will have to
                    self.path(s).unlink()
