"""Metrics of numbers, and of what a language model expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import numpy as fnp
from ..errors import ShapeError
from ..nn.losses import cross_entropy
from .classification import integer_labels
from .protocol import Averaged, Metric, same_shape, spread, wide

__all__ = ["MAE", "MSE", "R2", "RMSE", "Perplexity"]

Value = Any
State = Any


@dataclass(frozen=True)
class MAE(Averaged):
    """The mean of |prediction - target|, over all elements.

    >>> import numpy as np
    >>> MAE()(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    Array(1., dtype=float64)
    """

    def update(self, state: State, predictions: Any, targets: Any, *, weights: Any = None) -> State:
        predictions, targets = wide(predictions), wide(targets)
        same_shape(type(self).__name__, predictions, targets)
        return self._add(state, self._error(predictions - targets), weights)

    def _error(self, difference: Value) -> Value:
        return fnp.abs(difference)


@dataclass(frozen=True)
class MSE(MAE):
    """The mean of (prediction - target)**2, over all elements.

    >>> import numpy as np
    >>> from fx import metrics
    >>> mse = metrics.MSE()
    >>> mse.compute(mse.update(mse.init(), np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    Array(2., dtype=float64)
    """

    def _error(self, difference: Value) -> Value:
        return fnp.square(difference)


@dataclass(frozen=True)
class RMSE(MSE):
    """The square root of the mean of (prediction - target)**2.

    >>> import numpy as np
    >>> from fx import metrics
    >>> float(metrics.RMSE()(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 4.0, 3.0, 4.0])))
    1.0
    """

    def compute(self, state: State) -> Value:
        return fnp.sqrt(super().compute(state))


@dataclass(frozen=True)
class R2(Metric):
    """1 - sum((target - prediction)**2) / sum((target - mean target)**2): the share of the variance that is explained.

    Args:
        outputs: None: all elements are examples of one quantity; a number: predictions and targets are (batch, outputs), and the
            result is the mean over outputs.

    Constant targets that are predicted exactly give 1, otherwise 0 (as scikit-learn's).

    >>> import numpy as np
    >>> R2()(np.array([2.5, 0.0, 2.0, 8.0]), np.array([3.0, -0.5, 2.0, 7.0])).round(3)
    Array(0.949, dtype=float64)
    """

    outputs: int | None = None

    def init(self) -> State:
        shape = () if self.outputs is None else (self.outputs,)
        return {n: fnp.zeros(shape, "float64") for n in ("weight", "mean", "scatter", "residual")}

    def update(self, state: State, predictions: Any, targets: Any, *, weights: Any = None) -> State:
        predictions, targets = wide(predictions), wide(targets)
        same_shape("R2", predictions, targets)
        w = spread(weights, targets.shape, "R2")
        if self.outputs is None:
            predictions, targets, w = predictions.ravel(), targets.ravel(), w.ravel()
        elif targets.ndim != 2 or targets.shape[1] != self.outputs:
            raise ShapeError(
                f"R2(outputs={self.outputs}) takes shape (batch, {self.outputs}); found {tuple(targets.shape)}"
            )
        # the pairwise update of mean and scatter, which does not cancel (Chan, Golub, LeVeque, 1979)
        # what has no weight may be anything
        predictions, targets = fnp.where(w == 0, 0, predictions), fnp.where(w == 0, 0, targets)
        weight = fnp.sum(w, 0)
        mean = fnp.sum(w * targets, 0) / fnp.where(weight == 0, 1, weight)
        scatter = fnp.sum(w * fnp.square(targets - mean), 0)
        total = state["weight"] + weight
        share = weight / fnp.where(total == 0, 1, total)
        apart = mean - state["mean"]
        return {
            "weight": total,
            "mean": state["mean"] + apart * share,
            "scatter": state["scatter"] + scatter + fnp.square(apart) * state["weight"] * share,
            "residual": state["residual"] + fnp.sum(w * fnp.square(targets - predictions), 0),
        }

    def compute(self, state: State) -> Value:
        scatter, residual = state["scatter"], state["residual"]
        constant = (residual == 0).astype(residual.dtype)
        value = fnp.where(scatter == 0, constant, 1 - residual / fnp.where(scatter == 0, 1, scatter))
        return fnp.mean(fnp.where(state["weight"] == 0, fnp.nan, value))


@dataclass(frozen=True)
class Perplexity(Averaged):
    """exp of the mean cross-entropy of labels: among how many equally likely words a model hesitates.

    Args:
        ignore_index: labels that do not count.

    ``update(state, logits, labels)`` takes logits (..., classes) and integer labels (...).

    >>> import numpy as np
    >>> from fx import metrics
    >>> round(float(metrics.Perplexity()(np.zeros((3, 7)), np.array([0, 3, 6]))), 4)
    7.0
    """

    ignore_index: int | None = None

    def update(self, state: State, logits: Any, labels: Any, *, weights: Any = None) -> State:
        logits, labels = fnp.asarray(logits), integer_labels("Perplexity", labels)
        if not logits.ndim or logits.shape[:-1] != labels.shape:
            raise ShapeError(
                f"Perplexity takes logits (..., classes), labels (...); found {logits.shape}, {labels.shape}"
            )
        w = spread(weights, labels.shape, "Perplexity")
        w = w if self.ignore_index is None else fnp.where(labels == self.ignore_index, 0, w)
        counted = fnp.where(w == 0, 0, 1)
        losses = cross_entropy(logits, labels, ignore_index=self.ignore_index, weights=counted, reduction="none")
        return self._add(state, losses, w)

    def compute(self, state: State) -> Value:
        return fnp.exp(super().compute(state))
