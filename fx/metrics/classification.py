"""Metrics of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import dtypes
from .. import numpy as fnp
from ..errors import DTypeError, ShapeError
from ..nn.losses.reducing import check_labels, labels_of
from .protocol import Averaged, Metric, spread

__all__ = ["F1", "Accuracy", "ConfusionMatrix", "Precision", "Recall", "TopKAccuracy"]

Value = Any
State = Any


def integer_labels(name: str, labels: Any) -> Value:
    """Labels as an array of integers."""
    labels = labels_of(labels, f"labels of {name}")
    if dtypes.is_bool(labels.dtype):
        return labels.astype("int32")
    if not dtypes.is_integer(labels.dtype):
        raise DTypeError(f"{name} takes integer labels; found {labels.dtype}. Of one-hot rows: argmax(labels, -1).")
    return labels


def predicted_classes(name: str, predictions: Any, labels: Value, threshold: float) -> Value:
    """The classes that are predicted, from scores of classes, from scores of class 1, or as they are."""
    predictions = fnp.asarray(predictions)
    if predictions.ndim == labels.ndim + 1 and predictions.shape[:-1] == labels.shape:
        return fnp.argmax(predictions, -1)
    if predictions.shape != labels.shape:
        raise ShapeError(
            f"{name}: labels of shape {tuple(labels.shape)} take predictions of shape"
            f" ({', '.join([*map(str, labels.shape), 'classes'])}), or classes (or"
            f" scores of class 1) of their own shape; found {tuple(predictions.shape)}"
        )
    return (
        (predictions > threshold).astype("int32")
        if dtypes.is_float(predictions.dtype)
        else integer_labels(name, predictions)
    )


@dataclass(frozen=True)
class Accuracy(Averaged):
    """The share of examples whose predicted class is the label.

    Args:
        threshold: predictions that are one score per example mean class 1 above it (0 for logits).
        ignore_index: labels that do not count, such as those of padding.

    ``update(state, predictions, labels)`` takes scores (..., classes), scores of class 1 (...), or classes (...); labels (...). A label
    that is none of the classes of the scores raises ``LabelError``, or gives NaN in compiled code, unless its weight is 0.

    >>> import numpy as np
    >>> from fx import metrics
    >>> accuracy = metrics.Accuracy()
    >>> state = accuracy.update(accuracy.init(), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]), np.array([0, 1, 1]))
    >>> accuracy.compute(state)
    Array(0.66666667, dtype=float64)
    """

    threshold: float = 0.5
    ignore_index: int | None = None

    def update(self, state: State, predictions: Any, labels: Any, *, weights: Any = None) -> State:
        labels, predictions = integer_labels("Accuracy", labels), fnp.asarray(predictions)
        right = predicted_classes("Accuracy", predictions, labels, self.threshold) == labels
        ignored = None if self.ignore_index is None else labels == self.ignore_index
        if predictions.ndim > labels.ndim:
            check_labels("Accuracy", labels, predictions.shape[-1], self.ignore_index, weights)
            right = fnp.where((labels >= 0) & (labels < predictions.shape[-1]), right.astype("float64"), fnp.nan)
        if ignored is not None:
            weights = fnp.where(ignored, 0.0, spread(weights, labels.shape, "Accuracy"))
        return self._add(state, right, weights)


@dataclass(frozen=True)
class TopKAccuracy(Averaged):
    """The share of examples whose label is among the k classes of the highest scores (of equal ones, the first count).

    ``update(state, scores, labels)`` takes scores (..., classes) and labels (...), which are checked as those of ``Accuracy``.

    >>> import numpy as np
    >>> from fx import metrics
    >>> top = metrics.TopKAccuracy(2)
    >>> top.compute(top.update(top.init(), np.array([[0.1, 0.2, 0.7], [0.1, 0.3, 0.6]]), np.array([1, 0])))
    Array(0.5, dtype=float64)
    """

    k: int = 5

    def update(self, state: State, scores: Any, labels: Any, *, weights: Any = None) -> State:
        scores, labels = fnp.asarray(scores), integer_labels("TopKAccuracy", labels)
        if not scores.ndim or scores.shape[:-1] != labels.shape:
            raise ShapeError(
                f"TopKAccuracy takes scores (..., classes), labels (...); found {scores.shape}, {labels.shape}"
            )
        classes = fnp.arange(scores.shape[-1])
        check_labels("TopKAccuracy", labels, len(classes), weights=weights)
        known = (labels >= 0) & (labels < len(classes))
        mine = fnp.take_along_axis(scores, fnp.where(known, labels, 0)[..., None], -1)
        before = (scores > mine) | ((scores == mine) & (classes < labels[..., None]))
        among = (fnp.sum(before, -1) < self.k) & (mine[..., 0] == mine[..., 0])  # a score that is NaN is not
        return self._add(state, fnp.where(known, among.astype("float64"), fnp.nan), weights)


@dataclass(frozen=True)
class ConfusionMatrix(Metric):
    """How many examples of each class (row) were predicted as each class (column).

    Args:
        classes: how many there are.
        threshold: as for ``Accuracy``.
        normalize: None, "true" (rows sum to 1), "predicted" (columns do) or "all".

    >>> import numpy as np
    >>> ConfusionMatrix(2)(np.array([0, 1, 1]), np.array([0, 1, 0]))
    Array([[1., 1.],
           [0., 1.]], dtype=float64)
    """

    classes: int
    threshold: float = 0.5
    normalize: str | None = None

    def __post_init__(self) -> None:
        if self.normalize not in (None, "true", "predicted", "all"):
            raise ShapeError(
                f"{type(self).__name__}: normalize is None, 'true', 'predicted' or 'all'; found {self.normalize!r}"
            )

    def init(self) -> State:
        return {"counts": fnp.zeros((self.classes, self.classes), "float64"), "invalid": fnp.zeros((), "float64")}

    def update(self, state: State, predictions: Any, labels: Any, *, weights: Any = None) -> State:
        name = type(self).__name__
        labels = integer_labels(name, labels)
        scores = fnp.asarray(predictions)
        if scores.ndim == labels.ndim + 1 and scores.shape[-1] != self.classes:
            raise ShapeError(
                f"{name}(classes={self.classes}) takes scores of {self.classes} classes; found shape {tuple(scores.shape)}"
            )
        predicted = predicted_classes(name, scores, labels, self.threshold).ravel()
        w = spread(weights, labels.shape, name).ravel()
        labels = labels.ravel()
        for classes in (labels, predicted):
            check_labels(name, classes, self.classes, weights=w)
        valid = (labels >= 0) & (labels < self.classes) & (predicted >= 0) & (predicted < self.classes)
        row, column = fnp.where(valid, labels, 0), fnp.where(valid, predicted, 0)
        counts = state["counts"].at[row, column].add(fnp.where(valid, w, 0))
        return {"counts": counts, "invalid": state["invalid"] + fnp.sum(fnp.where(valid, 0, w))}

    def spoilt(self, state: State) -> Value:
        return state["invalid"] > 0

    def compute(self, state: State) -> Value:
        counts = fnp.where(state["invalid"] > 0, fnp.nan, state["counts"])
        if self.normalize is None:
            return counts
        axis = {"true": 1, "predicted": 0, "all": None}[self.normalize]
        return _ratio(counts, fnp.sum(counts, axis=axis, keepdims=True), 0.0)


def _ratio(a: Value, b: Value, otherwise: float) -> Value:
    return fnp.where(b == 0, otherwise, a / fnp.where(b == 0, 1, b))


AVERAGES = ("macro", "micro", "weighted", "binary", "none")


@dataclass(frozen=True)
class _OfCounts(ConfusionMatrix):
    """A ratio of true positives, computed from the confusion matrix.

    Args:
        classes, threshold: as for ``ConfusionMatrix``.
        average: "macro": the mean over the classes that occur, in labels or predictions; "weighted": by how often they occur in
            labels; "micro": of the summed counts; "binary": of class 1 alone; "none": an array, one for each class.
        zero_division: the value where nothing is divided by nothing.
    """

    average: str = "macro"
    zero_division: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.average not in AVERAGES:
            raise ShapeError(f"{type(self).__name__}: average is one of {', '.join(AVERAGES)}; found {self.average!r}")
        if self.average == "binary" and self.classes != 2:
            raise ShapeError(f"{type(self).__name__}: average='binary' is for 2 classes; found {self.classes}")

    def _parts(self, hit: Value, predicted: Value, true: Value) -> tuple[Value, Value]:
        """Numerator and denominator, from how often a class was hit, predicted, and true."""
        raise NotImplementedError

    def compute(self, state: State) -> Value:
        counts = fnp.where(state["invalid"] > 0, fnp.nan, state["counts"])
        sums = fnp.diagonal(counts), fnp.sum(counts, 0), fnp.sum(counts, 1)
        if self.average == "micro":
            return _ratio(*self._parts(*[fnp.sum(s) for s in sums]), self.zero_division)
        each = _ratio(*self._parts(*sums), self.zero_division)
        if self.average in ("binary", "none"):
            return each[1] if self.average == "binary" else each
        _, predicted, true = sums
        weight = true if self.average == "weighted" else (predicted + true != 0).astype(true.dtype)
        return _ratio(fnp.sum(each * weight), fnp.sum(weight), self.zero_division)


@dataclass(frozen=True)
class Precision(_OfCounts):
    """Of the examples that were predicted as a class, the share that is of it.

    Args:
        classes: how many there are.
        threshold: as for ``Accuracy``.
        average: "macro": the mean over the classes that occur, in labels or predictions; "weighted": by how often they occur in
            labels; "micro": of the summed counts; "binary": of class 1 alone; "none": an array, one for each class.
        zero_division: the value where nothing is divided by nothing.

    >>> import numpy as np
    >>> Precision(2, average="binary")(np.array([1, 1, 0]), np.array([1, 0, 0]))
    Array(0.5, dtype=float64)
    """

    def _parts(self, hit: Value, predicted: Value, true: Value) -> tuple[Value, Value]:
        return hit, predicted


@dataclass(frozen=True)
class Recall(_OfCounts):
    """Of the examples of a class, the share that was predicted as it; arguments as for ``Precision``.

    >>> import numpy as np
    >>> from fx import metrics
    >>> recall = metrics.Recall(2)
    >>> recall.compute(recall.update(recall.init(), np.array([1, 0, 0]), np.array([1, 1, 0])))
    Array(0.75, dtype=float64)
    """

    def _parts(self, hit: Value, predicted: Value, true: Value) -> tuple[Value, Value]:
        return hit, true


@dataclass(frozen=True)
class F1(_OfCounts):
    """The harmonic mean of precision and recall, 2 hits / (predicted + true); arguments as for ``Precision``.

    >>> import numpy as np
    >>> from fx import metrics
    >>> f1 = metrics.F1(2)
    >>> f1.compute(f1.update(f1.init(), np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])))
    Array(0.5, dtype=float64)
    """

    def _parts(self, hit: Value, predicted: Value, true: Value) -> tuple[Value, Value]:
        return 2 * hit, predicted + true
