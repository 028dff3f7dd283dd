"""The trainer: a loop over the step, with callbacks beside it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .. import nn, random, tree
from .. import numpy as fnp
from ..config import config
from ..errors import MissingStateError, NaNError, TrainingError, TrainingWarning
from ..metrics import Metric
from ..staging import jit
from ..traceback import user_frames
from . import elsewhere
from .checks import (
    checked_batches,
    checked_callbacks,
    checked_clip,
    checked_epochs,
    checked_metrics,
    strings_way_out,
    told,
    warn_of_wide,
)
from .guard import explain_forward, explain_not_finite
from .precision import Precision, precision_of
from .run import Callback, Data, Means, Run, batches_from, interruption_deferred
from .state import Trainable, TrainState, copied, init_state, trained_part
from .step import Loss, make_step, with_state

__all__ = ["Fit", "Trainer"]

Tree = Any


class Fit(NamedTuple):
    """What ``Trainer.fit`` returns: the state to go on from, and the means of every epoch."""

    state: TrainState
    history: list[dict[str, float]]

    @property
    def model(self) -> Tree:
        """The trained model, as it computes in training; ``fx.nn.inference(fit.model)`` for use."""
        return self.state.model

    def __repr__(self) -> str:
        last = ", ".join(f"{k}={v:.5g}" for k, v in (self.history[-1] if self.history else {}).items())
        return f"Fit({int(self.state.step)} steps, {len(self.history)} epochs{'; the last: ' if last else ''}{last})"


@elsewhere.trainer
@dataclass(frozen=True)
class Trainer:
    """A loss, an optimizer, and a loop.  In ten lines by hand, ``fit`` is::

        step, state = make_step(loss, optimizer), init_state(model, optimizer, key)
        for epoch in range(epochs):
            means = Means()
            for batch in data:
                state, info = step(state, batch)
                means.add(info, batch_size(batch))
            print(epoch + 1, means.result(), trainer.evaluate(state.model, validation))

    and everything that it is made of is public: take the lines above and change them when the loop is not the one you want.

    Args:
        loss: ``loss(model, batch, key) -> scalar`` or ``(scalar, {name: scalar})``, a mean over the examples of the batch. In
            evaluation the key is None and the model ``fx.nn.inference(model)``.
        optimizer: optax's protocol (``fx.optim``); clipping by other rules and schedules are part of it.
        metrics: for ``evaluate`` and validation, by name: metrics of ``fx.metrics``, which are given the outputs and the second
            part of the batch; or functions ``f(model, batch) -> scalar``, means over the examples of a batch.
        forward: ``forward(model, batch) -> outputs``, for metrics and ``predict``; None calls the model with the batch, or
            the first part of it if it is a tuple.
        trainable, accumulate, clip, precision, stateful: see ``make_step``.
        targets: ``targets(batch)``, what the metrics compare the outputs with; None takes the second part of a pair.
        not_finite: "raise" stops at a loss or gradient that is not finite, and names the layer; "skip" leaves out that
            step; "ignore" does not look.

    >>> import numpy as np, fx.numpy as fnp
    >>> from fx import optim
    >>> x = np.linspace(-1, 1, 8, dtype=np.float32)
    >>> loss = lambda model, batch, key: fnp.mean((model["a"] * batch[0] + model["b"] - batch[1]) ** 2)
    >>> trainer = Trainer(loss, optim.sgd(0.3))
    >>> fit = trainer.fit({"a": np.float32(0), "b": np.float32(0)}, [(x, 2 * x + 1)], epochs=60)
    >>> {name: round(float(value), 3) for name, value in fit.model.items()}
    {'a': 2.0, 'b': 1.0}
    """

    loss: Loss
    optimizer: Any
    metrics: Mapping[str, Any] = field(default_factory=dict)
    forward: Callable[[Tree, Tree], Any] | None = None
    trainable: Trainable = None
    accumulate: int = 1
    clip: float | None = None
    precision: str | Precision | None = None
    stateful: bool = False
    not_finite: str = "raise"
    targets: Callable[[Tree], Any] | None = None

    def __post_init__(self) -> None:
        if self.not_finite not in ("raise", "skip", "ignore"):
            raise TrainingError(f"not_finite is 'raise', 'skip' or 'ignore'; found {self.not_finite!r}")
        checked_metrics(self.metrics)
        checked_clip(self.clip)

    # ------------------------------------------------------------------------------ what is compiled

    @functools.cached_property
    def step(self) -> Callable[[TrainState, Tree], tuple[TrainState, dict[str, Any]]]:
        """The compiled step; see ``make_step``."""
        return make_step(
            self.loss, self.optimizer, trainable=self.trainable, accumulate=self.accumulate, clip=self.clip,
            precision=self.precision, guard=self.not_finite != "ignore", stateful=self.stateful,
        )  # fmt: skip

    @functools.cached_property
    def scores(self) -> Callable[[Tree, Tree, dict[str, Any], Tree], tuple[dict[str, Any], dict[str, Any], Any]]:
        """Of one batch: the loss, what it reports and the metrics that are functions; the totals of the others; and whether the
        loss is finite and the metrics could be taken of everything."""
        return jit(self._scores)

    def _scores(
        self, model: Tree, model_state: Tree, totals: dict[str, Any], batch: Tree
    ) -> tuple[dict[str, Any], dict[str, Any], Any]:
        functions = {name: f for name, f in self.metrics.items() if not _accumulates(f)}
        value, _, aux = with_state(self.loss, self.stateful)(model, model_state, batch, None)
        if totals:
            targets, outputs = (self.targets or _targets)(batch), self._outputs(model, model_state, batch)
            totals = {name: self.metrics[name].update(t, outputs, targets) for name, t in totals.items()}
        sound = fnp.isfinite(value)
        for name, total in totals.items():
            if isinstance(self.metrics[name], Metric):
                sound &= ~self.metrics[name].spoilt(total)
        return {"loss": value, **aux, **{name: f(model, batch) for name, f in functions.items()}}, totals, sound

    def _outputs(self, model: Tree, model_state: Tree, batch: Tree) -> Any:
        if self.forward is not None:
            return self.forward(model, batch)
        return nn.apply(model, batch[0] if isinstance(batch, (tuple, list)) else batch, state=model_state)[0]

    @functools.cached_property
    def outputs(self) -> Callable[[Tree, Tree, Tree], Any]:
        """What ``forward``, or the model, makes of a batch: ``outputs(model, model_state, batch)``."""
        return jit(self._outputs)

    # --------------------------------------------------------------------------------------- the loop

    def init(self, model: Tree, key: Any = 0, model_state: Tree = None) -> TrainState:
        """The state before the first step; see ``init_state``."""
        if self.stateful and model_state is None:
            model_state = nn.init_state(model)
        return init_state(
            model, self.optimizer, key, trainable=self.trainable, model_state=model_state,
            precision=precision_of(self.precision),
        )  # fmt: skip

    @user_frames
    @elsewhere.fit
    def fit(
        self, model: Tree | TrainState | Fit, data: Data, *, epochs: int, validation: Data | None = None, key: Any = 0,
        callbacks: Sequence[Callback] = (),
    ) -> Fit:  # fmt: skip
        """Trains.

        Args:
            model: a pytree with float leaves; or an earlier fit, or its state, to go on from. It stays as it is.
            data: a ``Dataset`` of batches (which is resumed without reading what was done), an iterable of batches that can be
                gone through again (a list), or a function from the number of the epoch to the batches:
                ``lambda n: data.batches(train, 32, key=random.fold_in(key, n))``.
            epochs: passes over the data.
            validation: batches to evaluate on after every epoch.
            key: a key or a seed: of dropout and the like.
            callbacks: called in order; see ``Callback``.

        Returns:
            A ``Fit``: state and history.

        Raises:
            TrainingError: no batches, a batch that does not fit, an iterator that is used up.
            NaNError: the loss or a gradient was not finite.
            KeyboardInterrupt: Ctrl-C was pressed; the run ends after the step, or the epoch's evaluation.

        Whatever is raised, ``error.state`` is the state after the last step that was sound: ``error.state.model`` is the
        model, ``fit(error.state, ...)`` goes on from there.
        """
        epochs, callbacks = checked_epochs(epochs), checked_callbacks(callbacks)
        earlier = model.state if isinstance(model, Fit) else model
        state = copied(earlier) if isinstance(earlier, TrainState) else self.init(earlier, key)
        run = Run(state, epochs, callbacks=callbacks)
        try:
            with interruption_deferred() as interrupted:
                run.call("start")
                while run.epoch < epochs and not run.stop:
                    if self._pass(run, data, interrupted):
                        self._end_pass(run, validation)
                    if interrupted():
                        raise KeyboardInterrupt
                run.call("finish")
        except BaseException as error:
            if run.lost:
                error.add_note(
                    "It ended the step in the middle, and the state before that had given its memory to the step: neither is left. A checkpoint"
                    " is (train.Checkpoint(folder, every=...)), and the model that fit was given."
                )
            run.abort(error)
            _hand_over(run, error)
            raise
        return Fit(run.state, run.history)

    def _pass(self, run: Run, data: Data, interrupted: Callable[[], bool]) -> bool:
        """The batches of an epoch that are still to be done; whether it got to the end."""
        first: Tree = None
        run.started, run.entered = time.perf_counter(), run.batch
        with contextlib.closing(batches_from(data, run)) as batches:
            for batch, place in batches:
                first = batch if first is None else first
                self._one(run, batch, first)
                run.place = place
                run.call("step")
                if run.stop or interrupted():
                    return False
        if run.batch == 0:
            raise TrainingError(
                "the data gave no batch: it is empty, or has fewer examples than one batch and drop_last leaves those out."
                " Check len(data), the path it is read from, and the filter."
            )
        return True

    def _one(self, run: Run, batch: Tree, first: Tree) -> None:
        """One step, and what came of it."""
        _refuse_empty(batch, f"batch {run.batch + 1} of epoch {run.epoch + 1}")
        if run.epoch == run.batch == 0 and self.precision is None:
            warn_of_wide(batch, run.state.model)
        try:
            state, run.info = self.step(run.state, batch)
        except Exception as error:
            self._misfit(error, run, batch, first)
            raise
        run.state, n = state, _examples(batch)
        if self.not_finite == "ignore" or bool(run.info["finite"]):
            run.means.add({k: v for k, v in run.info.items() if k not in ("finite", "loss_scale")}, n)
        else:
            self._not_finite(run, batch)
            run.skipped += 1
        run.batch += 1
        run.examples += n

    def _end_pass(self, run: Run, validation: Data | None) -> None:
        seconds = max(time.perf_counter() - run.started, 1e-9)
        means, share = run.means.result(), (run.batch - run.entered) / run.batch
        if run.skipped == run.batch:
            warnings.warn(
                f"every step of epoch {run.epoch + 1} was left out, as its loss or gradient was not finite: nothing was learned."
                + (
                    " not_finite='raise' names where that comes from."
                    if self.not_finite == "skip"
                    else " The loss scale falls."
                ),
                TrainingWarning,
                stacklevel=4,
            )
        done = {"loss": means.get("loss", math.nan), **means}
        if validation is not None:
            source = validation(run.epoch) if callable(validation) else validation
            scores = self.evaluate(run.state.model, source, model_state=run.state.model_state)
            done.update({f"validation_{name}": x for name, x in scores.items() if isinstance(x, float)})
        done.update(
            {
                "seconds": seconds,
                "rate": share * run.examples / seconds,
                **({"skipped": run.skipped} if run.skipped else {}),
            }
        )
        run.history.append(done)
        run.epoch, run.batch, run.place, run.examples, run.skipped, run.means = run.epoch + 1, 0, {}, 0, 0, Means()
        run.call("epoch")

    def _misfit(self, error: Exception, run: Run, batch: Tree, first: Tree) -> None:
        """Says which batch an error came from, and how it differs from the first."""
        place = f"batch {run.batch + 1} of epoch {run.epoch + 1}"
        now, before = told(batch), told(first)
        if now != before and told(first, whole=False) == told(batch, whole=False):
            error.add_note(
                f"in {place}, which holds {now}; the first of this run held {before}. drop_last=True leaves out a last batch"
                " that is smaller."
            )
        elif now != before:
            raise TrainingError(
                f"{place} does not fit the model ({type(error).__name__}: {error}). It holds {now}; the first of this"
                f" run held {before}. Make the examples alike (crop, pad, stack) before they are batched."
            ) from error
        else:
            error.add_note(f"in {place}, which holds {now}.{strings_way_out(batch)}")
        if nn.stateful(run.state.model) and not self.stateful:
            error.add_note(
                "The model keeps running statistics: Trainer(..., stateful=True), and loss(model, model_state, batch, key)"
                " -> (scalar, model_state)."
            )

    def _not_finite(self, run: Run, batch: Tree) -> None:
        """Raises NaNError that names the layer, unless such a step is to be left out."""
        scale, mode = run.state.scale, precision_of(self.precision)
        adapts = scale is not None and mode is not None and mode.dynamic and float(scale.scale) > 1
        adapts = adapts and math.isfinite(
            run.info["loss"]
        )  # the loss itself is not scaled: a smaller scale mends nothing
        if self.not_finite == "skip" or adapts:
            return
        before = dataclasses.replace(run.state, step=run.state.step - 1)
        run.state = before
        key, evaluate = random.fold_in(before.key, before.step), with_state(self.loss, self.stateful)
        cast = (lambda x: x) if mode is None else mode.cast
        model = cast(before.model)
        why = explain_not_finite(
            lambda m, b: evaluate(m, before.model_state, b, key)[0],
            model,
            cast(batch),
            trained_part(model, self.trainable),
        )
        found = NaNError(
            f"the loss or its gradient is not finite at step {int(before.step)} (batch {run.batch + 1} of epoch"
            f" {run.epoch + 1}): {why}\nThe state before this step is error.state."
        )
        found.state = before  # type: ignore[attr-defined]
        raise found

    # ------------------------------------------------------------------------- what the model is worth

    @user_frames
    def evaluate(
        self, model: Tree | TrainState | Fit, data: Iterable[Any], *, model_state: Tree = None
    ) -> dict[str, Any]:
        """The loss, what it reports and the metrics: means over the examples of all batches.

        Args:
            model: is used as ``fx.nn.inference(model)``; a fit, or a state, brings its running statistics along.
            data: batches.
            model_state: running statistics.

        Raises:
            TrainingError: there are no batches.
            LabelError: a label is none of the classes (unless ``not_finite`` is "ignore").
            NaNError: the loss is not finite, and ``not_finite`` is "raise".
        """
        (used, model_state), means, sound, count = _used(model, model_state), Means(), True, 0
        start = {name: metric.init() for name, metric in self.metrics.items() if _accumulates(metric)}
        totals = start
        for count, batch in enumerate(checked_batches(data, "evaluate"), 1):
            _refuse_empty(batch, f"batch {count} of evaluate")
            with _noting("evaluate", batch):
                values, totals, still = self.scores(used, model_state, totals, batch)
                if sound and not bool(still) and self.not_finite != "ignore":
                    self._unsound(used, model_state, start, batch, f"batch {count} of evaluate")
                sound = sound and bool(still)
            means.add(values, _examples(batch))
        if not count:
            raise TrainingError("evaluate was given no batch: the data is empty. Check len(data) and the filter.")
        computed = {name: np.asarray(self.metrics[name].compute(t)) for name, t in totals.items()}
        return means.result() | {name: x if x.ndim else float(x) for name, x in computed.items()}

    def _unsound(self, model: Tree, model_state: Tree, totals: dict[str, Any], batch: Tree, where: str) -> None:
        """Raises what can be known about a batch whose scores are no numbers, by computing them again op by op."""
        model, batch = tree.map(fnp.asarray, (model, batch))
        with config.using(disable_jit=True), np.errstate(all="ignore"):
            values, *_ = self._scores(model, model_state, totals, batch)  # raises where a label is out of range
        if self.not_finite == "raise" and not bool(fnp.isfinite(values["loss"])):
            evaluate = with_state(self.loss, self.stateful)
            why = explain_forward(lambda m, b: evaluate(m, model_state, b, None)[0], model, batch)
            raise NaNError(
                f"the loss of {where} is not finite: {why or 'compiled, but not op by op'}\nTrainer(not_finite='skip')"
                " evaluates all the same."
            )

    @user_frames
    def predict(self, model: Tree | TrainState | Fit, data: Iterable[Any], *, model_state: Tree = None) -> Any:
        """The outputs for all batches, one after the other along the first axis, as NumPy arrays.

        Args:
            model: as for ``evaluate``.
            data: batches, which ``forward`` takes; without it the model takes them, of a tuple its first part.
            model_state: running statistics.

        Raises:
            TrainingError: there are no batches.

        >>> double = Trainer(None, None, forward=lambda model, x: 2 * x)
        >>> double.predict({}, [np.ones(2), np.ones(1)])
        array([2., 2., 2.])
        """
        used, model_state = _used(model, model_state)
        parts = []
        for batch in checked_batches(data, "predict"):
            with _noting(
                "predict", batch, "" if self.forward else " Trainer(forward=...) says how the model is called."
            ):
                parts.append(self.outputs(used, model_state, batch))
        if not parts:
            raise TrainingError("predict was given no batch: the data is empty. Check len(data) and the filter.")
        return tree.map(lambda *xs: np.concatenate([np.asarray(x) for x in xs]), *parts)


@contextlib.contextmanager
def _noting(who: str, batch: Tree, more: str = "") -> Iterator[None]:
    """Errors say which batch they came from."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in {who}, of a batch that holds {told(batch)}.{strings_way_out(batch)}{more}")
        raise


def _used(model: Tree, model_state: Tree) -> tuple[Tree, Tree]:
    """A model as it is evaluated, and its running statistics.

    Raises:
        MissingStateError: it keeps some, and none were given.
    """
    state = model.state if isinstance(model, Fit) else model
    if isinstance(state, TrainState):
        model, model_state = state.model, state.model_state if model_state is None else model_state
    if model_state is None and nn.stateful(model):
        raise MissingStateError(
            "the model keeps running statistics, and none were given: pass the fit itself, or"
            " model_state=fit.state.model_state."
        )
    return nn.inference(model), model_state


def _accumulates(metric: Any) -> bool:
    """Whether a metric keeps totals (those of ``fx.metrics``), rather than being a function of a batch."""
    return all(hasattr(metric, name) for name in ("init", "update", "compute"))


def _targets(batch: Tree) -> Any:
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[1]
    raise TrainingError(
        f"the metrics of fx.metrics compare outputs with targets, so a batch is (inputs, targets); found a {type(batch).__name__}."
        " Say where they are, Trainer(targets=lambda batch: batch['labels']), or write the metric as a function of (model, batch)."
    )


def _hand_over(run: Run, error: BaseException) -> None:
    """Gives an error the state that the run had come to, unless it has one."""
    if hasattr(error, "state") or run.lost:
        return
    with contextlib.suppress(AttributeError):  # a class with slots
        error.state = run.state  # type: ignore[attr-defined]
        if isinstance(error, KeyboardInterrupt):
            error.add_note(
                f"The state after {int(run.state.step)} steps is the error's: import sys; sys.last_value.state.model is the model,"
                " trainer.fit(sys.last_value.state, ...) goes on."
            )


def _refuse_empty(batch: Tree, where: str) -> None:
    """Raises TrainingError if a batch has no examples, of which there is no mean."""
    if _examples(batch) == 0:
        raise TrainingError(
            f"{where} has no examples: it holds {told(batch)}, and the mean loss of nothing is no number. Leave empty batches out:"
            " dataset.filter, or an if where they are made."
        )


def _examples(batch: Tree) -> int:
    """Examples in a batch: the length of its first array."""
    return next((x.shape[0] for x in tree.leaves(batch) if getattr(x, "shape", ())), 1)
