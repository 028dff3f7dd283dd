"""Callbacks that steer: early stopping, learning rates by the epoch or by what came of it, functions of your own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import numpy as fnp
from .. import optim, tree
from ..errors import TrainingError
from . import elsewhere
from .run import Callback, Run
from .state import copied

__all__ = ["Call", "EarlyStopping", "LearningRate", "ReduceOnPlateau", "direction", "monitored"]

_HIGHER = ("acc", "accuracy", "auc", "aucroc", "f1", "prauc", "precision", "r2", "recall")


def monitored(run: Run, name: str) -> float:
    """A number of the latest epoch.

    Raises:
        TrainingError: there is none of that name; names those there are.
    """
    latest = run.history[-1]
    if name not in latest:
        raise TrainingError(
            f"the epochs report no {name!r}, only {', '.join(sorted(latest))}."
            + (" validation_... needs fit(validation=...)." if name.startswith("validation_") else "")
            + (f" Here it is called validation_{name[4:]}." if name.startswith("val_") else "")
        )
    return latest[name]


def direction(name: str, mode: str | None, who: str) -> str:
    """``mode``, "min" or "max"; None: what is better of a number of that name.

    >>> direction("validation_accuracy", None, "EarlyStopping"), direction("validation_loss", None, "EarlyStopping")
    ('max', 'min')
    """
    if not isinstance(name, str):
        raise TrainingError(
            f"{who}: a number of the history is given by its name, such as 'validation_loss'; found {name!r}"
        )
    if mode not in ("min", "max", None):
        raise TrainingError(f"{who}: mode is 'min', 'max' or None; found {mode!r}")
    return mode or ("max" if name.lower().rpartition("_")[2] in _HIGHER else "min")


def _patience(who: str, patience: Any) -> None:
    """Raises TrainingError for what is no number of epochs."""
    if not isinstance(patience, (int, np.integer)) or patience < 0:
        raise TrainingError(f"{who}: patience is a number of epochs, an int of at least 0; found {patience!r}")


@elsewhere.callback
class EarlyStopping(Callback):
    """Ends the run when a number has not improved for some epochs.

    Args:
        monitor: which number of the history.
        patience: epochs without improvement that are borne.
        mode: "min" or "max": what is better; None: "max" for accuracies, F1, areas and the like, else "min".
        least: how much better counts.
        restore: end with the state that was best, not the last.

    >>> EarlyStopping("validation_accuracy", patience=3).mode
    'max'
    """

    def __init__(
        self, monitor: str = "validation_loss", *, patience: int = 5, mode: str | None = None, least: float = 0.0,
        restore: bool = True,
    ) -> None:  # fmt: skip
        _patience("EarlyStopping", patience)
        self.mode = direction(monitor, mode, "EarlyStopping")
        self.monitor, self.patience, self.least, self.restore = monitor, patience, least, restore
        self.best, self.waited = math.inf, 0
        self._kept: list[Any] = []  # the arrays of the best state
        self._resumed = False

    def start(self, run: Run) -> None:
        """Begins anew, unless a checkpoint has just brought back an earlier run; ends that where it had ended."""
        if not self._resumed:
            self.best, self.waited, self._kept = math.inf, 0, []
        self._resumed = False
        self._judge(run)

    def epoch(self, run: Run) -> None:
        value = monitored(run, self.monitor) * (1 if self.mode == "min" else -1)
        if value < self.best - self.least:
            self.best, self.waited = value, 0
            self._kept = tree.leaves(copied(run.state)) if self.restore else []
        else:
            self.waited += 1
        self._judge(run)

    def _judge(self, run: Run) -> None:
        if self.waited >= max(self.patience, 1):
            run.stop = f"no better {self.monitor} for {self.waited} epochs"

    def finish(self, run: Run) -> None:
        if self._kept:
            run.state = tree.unflatten(tree.structure(run.state), self._kept)

    def save(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "kept": self._kept}

    def load(self, saved: dict[str, Any]) -> None:
        self.best, self.waited, self._kept = saved["best"], saved["waited"], list(saved["kept"])
        self._resumed = True


@elsewhere.callback
class LearningRate(Callback):
    """Sets a number of the optimizer at the beginning of every epoch.

    A schedule over steps belongs into the optimizer (``optim.adam(optim.cosine_decay_schedule(...))``); this is for rules that
    are looked up or changed by hand between epochs.

    Args:
        schedule: from the number of epochs done to the value.
        name: of the number, which the optimizer keeps in its state: ``optim.inject_hyperparams(optim.adam)(1e-3)``.

    >>> import numpy as np
    >>> from fx import optim, train
    >>> trainer = train.Trainer(lambda w, batch, key: ((batch - w) ** 2).mean(), optim.inject_hyperparams(optim.sgd)(0.1))
    >>> halved = train.LearningRate(lambda epoch: 0.1 / 2**epoch)
    >>> fit = trainer.fit(np.zeros(2, np.float32), [np.ones((3, 2), np.float32)], epochs=3, callbacks=[halved])
    >>> float(optim.tree_get(fit.state.optimizer, "learning_rate"))
    0.012500000186264515
    """

    def __init__(self, schedule: Callable[[int], float], name: str = "learning_rate") -> None:
        self.schedule = schedule
        self._number = _Number(name, "LearningRate")

    def start(self, run: Run) -> None:
        self._number.begin()
        self.epoch(run)

    def epoch(self, run: Run) -> None:
        self._number.put(run, lambda old: self.schedule(run.epoch))


@elsewhere.callback
class ReduceOnPlateau(Callback):
    """Multiplies a number of the optimizer by ``factor`` when a number of the history has not improved for some epochs.

    ``optim.reduce_on_plateau`` does the same inside of a step, by the loss of the batches; this goes by validation.

    Args:
        monitor: which number of the history.
        factor: in (0, 1).
        patience: epochs without improvement until then.
        mode, least: as for ``EarlyStopping``.
        cooldown: epochs after a reduction that are not counted.
        minimum: the number is lowered no further.
        name: of the number, which the optimizer keeps in its state: ``optim.inject_hyperparams(optim.adam)(1e-3)``; no
            schedule sets it.

    Raises:
        TrainingError: ``factor`` is out of range; from ``fit``: there is no such number, or something else sets it too.

    >>> import numpy as np
    >>> from fx import optim, train
    >>> trainer = train.Trainer(lambda w, batch, key: (w - batch).mean() ** 2 + 1, optim.inject_hyperparams(optim.sgd)(0.5))
    >>> slower = train.ReduceOnPlateau("loss", factor=0.1, patience=2)
    >>> fit = trainer.fit(np.float32(1), [np.ones(3, np.float32)], epochs=5, callbacks=[slower])  # it cannot improve
    >>> round(float(optim.tree_get(fit.state.optimizer, "learning_rate")), 4)
    0.005
    """

    def __init__(
        self, monitor: str = "validation_loss", *, factor: float = 0.1, patience: int = 5, mode: str | None = None,
        least: float = 0.0, cooldown: int = 0, minimum: float = 0.0, name: str = "learning_rate",
    ) -> None:  # fmt: skip
        if not 0 < factor < 1:
            raise TrainingError(f"ReduceOnPlateau: factor lies between 0 and 1; found {factor}")
        _patience("ReduceOnPlateau", patience)
        self.mode = direction(monitor, mode, "ReduceOnPlateau")
        self.monitor, self.factor, self.patience, self.least = monitor, factor, patience, least
        self.cooldown, self.minimum = cooldown, minimum
        self._number = _Number(name, "ReduceOnPlateau")
        self.best, self.waited, self.cooling = math.inf, 0, 0
        self._resumed = False

    def start(self, run: Run) -> None:
        """Begins anew, unless a checkpoint has just brought back an earlier run."""
        self._number.begin()
        self._number.put(run, lambda old: old)
        if not self._resumed:
            self.best, self.waited, self.cooling = math.inf, 0, 0
        self._resumed = False

    def epoch(self, run: Run) -> None:
        value = monitored(run, self.monitor) * (1 if self.mode == "min" else -1)
        better = value < self.best - self.least
        self.best = value if better else self.best
        self.waited = 0 if better or self.cooling else self.waited + 1
        self.cooling = max(self.cooling - 1, 0)
        reduces = self.waited >= max(self.patience, 1)
        self._number.put(run, self._reduced if reduces else lambda old: old)
        if reduces:
            self.waited, self.cooling = 0, self.cooldown

    def _reduced(self, old: Any) -> Any:
        return fnp.minimum(old, fnp.maximum(old * self.factor, self.minimum))

    def save(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "cooling": self.cooling}

    def load(self, saved: dict[str, Any]) -> None:
        self.best, self.waited, self.cooling = saved["best"], saved["waited"], saved["cooling"]
        self._resumed = True


class _Number:
    """A number that the optimizer keeps in its state, set by a callback (``who``) and by no one else."""

    def __init__(self, name: str, who: str) -> None:
        self.name, self.who = name, who
        self.begin()

    def begin(self) -> None:
        """Whatever the number is now, it was not set here."""
        self._set: list[float] = []

    def put(self, run: Run, value: Callable[[Any], Any]) -> None:
        """Sets it to ``value(old)``.

        Raises:
            TrainingError: the optimizer keeps none of that name; or it is not what it was set to before.
        """
        found: list[float] = []

        def put(state: Any) -> Any:
            if not _injected(state) or self.name not in state.hyperparams:
                return state
            old = state.hyperparams[self.name]
            if len(found) < len(self._set) and float(old) != self._set[len(found)]:
                raise TrainingError(
                    f"{self.who} set {self.name!r} to {self._set[len(found)]:g}, and now it is {float(old):g}: a schedule of"
                    " the optimizer sets it at every step, or another callback does. Give inject_hyperparams a number there."
                )
            new = fnp.asarray(value(old), old.dtype)
            found.append(float(new))
            return state._replace(hyperparams={**state.hyperparams, self.name: new})

        optimizer = tree.map(put, run.state.optimizer, is_leaf=_injected)
        if not found:
            raise TrainingError(
                f"{self.who}: the optimizer keeps no {self.name!r} in its state. Make it with"
                " optim.inject_hyperparams(optim.adam)(learning_rate=...)."
            )
        self._set = found
        run.state = dataclasses.replace(run.state, optimizer=optimizer)


def _injected(state: Any) -> bool:
    return isinstance(state, optim.InjectHyperparamsState)


class Call(Callback):
    """Functions as a callback: ``Call(epoch=lambda run: print(run.history[-1]))``.

    Args:
        hooks: functions of the run, by the name of the hook: start, step, epoch, finish.

    >>> Call(step=print).step("a run")
    a run
    """

    def __init__(self, **hooks: Callable[[Run], Any]) -> None:
        known = ("start", "step", "epoch", "finish")
        if unknown := set(hooks) - set(known):
            raise TrainingError(f"Call takes the hooks {', '.join(known)}; found {', '.join(sorted(unknown))}")
        for name, hook in hooks.items():
            setattr(self, name, hook)
