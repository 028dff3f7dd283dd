"""The protocol of metrics, the mean of anything, and several metrics as one."""

from __future__ import annotations

import abc
import functools
from dataclasses import dataclass
from typing import Any

from .. import numpy as fnp
from ..errors import ShapeError
from ..nn.losses.reducing import spread as of_losses

__all__ = ["Collection", "Mean", "Metric"]

Value = Any
State = Any


class Metric(abc.ABC):
    """Three pure functions; subclasses are frozen dataclasses of their options."""

    @abc.abstractmethod
    def init(self) -> State:
        """The state before the first batch: a pytree of arrays."""

    @abc.abstractmethod
    def update(self, state: State, *args: Any, **kwargs: Any) -> State:
        """The state after another batch: what a metric takes, and ``weights=`` of the examples."""

    @abc.abstractmethod
    def compute(self, state: State) -> Any:
        """The value over all batches; NaN over none."""

    def spoilt(self, state: State) -> Any:
        """Whether something was seen that is none of what the metric takes (a label out of range, a NaN)."""
        return fnp.asarray(False)

    def __call__(self, *args: Any, weights: Any = None) -> Any:
        """The value over one batch."""
        return self.compute(self.update(self.init(), *args, weights=weights))


def wide(x: Any) -> Value:
    """``x`` in float64."""
    return fnp.asarray(x).astype("float64")


def spread(weights: Any, shape: tuple[int, ...], name: str) -> Value:
    """Weights in float64 for every element: 1 if there are none; weights of examples stand for all of their elements.

    Raises:
        ShapeError: they fit neither.
    """
    return fnp.ones(shape, "float64") if weights is None else of_losses(weights, shape, "float64", name)


def same_shape(name: str, predictions: Value, targets: Value) -> None:
    """Raises ShapeError unless the shapes are equal."""
    if tuple(predictions.shape) != tuple(targets.shape):
        raise ShapeError(
            f"{name} takes predictions and targets of equal shape; found {tuple(predictions.shape)} and {tuple(targets.shape)}."
            " Reshape one of them, x.reshape(...) or x[:, 0]; of train.Trainer, forward= gives what metrics are given."
        )


@dataclass(frozen=True)
class Averaged(Metric):
    """A metric that is a mean over what was seen; ``update`` hands values on to ``_add``."""

    def init(self) -> State:
        return {"sum": fnp.zeros((), "float64"), "weight": fnp.zeros((), "float64")}

    def _add(self, state: State, values: Any, weights: Any) -> State:
        values = wide(values)
        w = spread(weights, values.shape, type(self).__name__)
        # a weight of 0 takes an example out, whatever its value
        return {
            "sum": state["sum"] + fnp.sum(fnp.where(w == 0, 0, values * w)),
            "weight": state["weight"] + fnp.sum(w),
        }

    def spoilt(self, state: State) -> Value:
        return fnp.isnan(state["sum"])

    def compute(self, state: State) -> Value:
        empty = state["weight"] == 0
        return fnp.where(empty, fnp.nan, state["sum"] / fnp.where(empty, 1, state["weight"]))


@dataclass(frozen=True)
class Mean(Averaged):
    """The mean of given values: losses, times.

    >>> import numpy as np
    >>> Mean()(np.array([1.0, 3.0]), weights=np.array([3, 1]))
    Array(1.5, dtype=float64)
    """

    def update(self, state: State, values: Any, *, weights: Any = None) -> State:
        """The state with more values, of any shape."""
        return self._add(state, values, weights)


class Collection(Metric):
    """Several metrics of the same predictions, by name; the value is a dict.

    >>> import numpy as np
    >>> from fx import metrics
    >>> both = metrics.Collection(mae=metrics.MAE(), mse=metrics.MSE())
    >>> {name: float(v) for name, v in both(np.array([1.0, 2.0]), np.array([1.0, 4.0])).items()}
    {'mae': 1.0, 'mse': 2.0}
    """

    def __init__(self, **metrics: Metric) -> None:
        self.metrics = metrics

    def init(self) -> State:
        return {n: m.init() for n, m in self.metrics.items()}

    def update(self, state: State, *args: Any, weights: Any = None) -> State:
        return {n: m.update(state[n], *args, weights=weights) for n, m in self.metrics.items()}

    def spoilt(self, state: State) -> Value:
        return functools.reduce(
            fnp.logical_or, [m.spoilt(state[n]) for n, m in self.metrics.items()], fnp.asarray(False)
        )

    def compute(self, state: State) -> dict[str, Any]:
        return {n: m.compute(state[n]) for n, m in self.metrics.items()}
