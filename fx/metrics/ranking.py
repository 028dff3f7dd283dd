"""Areas under curves: exact, from all scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import numpy as fnp
from ..api import vmap
from ..errors import ShapeError
from ..nn.losses.reducing import check_labels
from ..trace import concrete_value
from .classification import integer_labels
from .protocol import Metric, spread, wide

__all__ = ["AUCROC", "PRAUC"]

Value = Any
State = Any


@dataclass(frozen=True)
class _Area(Metric):
    """Keeps all scores, labels and weights; an exact area needs them. Arguments as for ``AUCROC``."""

    capacity: int | None = None
    classes: int | None = None

    def init(self) -> State:
        n = self.capacity or 0
        tail = () if self.classes is None else (self.classes,)
        return {
            "scores": fnp.zeros((n, *tail), "float64"),
            "labels": fnp.zeros(n, "int32"),
            "weights": fnp.zeros(n, "float64"),
            "count": fnp.zeros((), "int64"),
        }

    def update(self, state: State, scores: Any, labels: Any, *, weights: Any = None) -> State:
        name = type(self).__name__
        scores, labels = wide(scores), integer_labels(name, labels)
        tail = () if self.classes is None else (self.classes,)
        if labels.ndim != 1 or tuple(scores.shape) != (*labels.shape, *tail):
            wanted = "(batch,)" if self.classes is None else f"(batch, {self.classes})"
            hint = " Of one column: scores[:, 0]." if scores.ndim == 2 and scores.shape[1] == 1 else ""
            hint = hint or (" Of two: scores[:, 1], or classes=2." if scores.ndim == 2 and self.classes is None else "")
            raise ShapeError(
                f"{name} takes scores {wanted} and labels (batch,); found {tuple(scores.shape)}, {tuple(labels.shape)}.{hint}"
            )
        check_labels(name, labels, self.classes or 2, weights=weights)
        new = {"scores": scores, "labels": labels.astype("int32"), "weights": spread(weights, labels.shape, name)}
        count = state["count"] + len(labels)
        if self.capacity is None:
            return {**{k: fnp.concatenate([state[k], v]) for k, v in new.items()}, "count": count}
        places = state["count"] + fnp.arange(len(labels))
        return {**{k: state[k].at[places].set(v, mode="drop") for k, v in new.items()}, "count": count}

    def spoilt(self, state: State) -> Value:
        scores, labels, weights = state["scores"], state["labels"], state["weights"]
        wrong = (labels < 0) | (labels >= (self.classes or 2))
        unknown = fnp.any(fnp.isnan(scores), axis=tuple(range(1, scores.ndim)))
        return fnp.any((weights != 0) & (wrong | unknown))

    def compute(self, state: State) -> Value:
        count = concrete_value(state["count"])
        if self.capacity is not None and count is not None and count > self.capacity:
            raise ShapeError(
                f"{type(self).__name__} has room for capacity={self.capacity} examples; {int(count)} were given. Raise the capacity."
            )
        scores, labels, weights = state["scores"], state["labels"], state["weights"]
        if self.classes is None:
            value = self._binary(scores, labels, weights, 1)
        else:
            each = vmap(lambda s, c: self._binary(s, labels, weights, c), in_axes=(1, 0))(
                scores, fnp.arange(self.classes)
            )
            value = fnp.mean(each)
        full = fnp.asarray(False) if self.capacity is None else state["count"] > self.capacity
        return fnp.where(self.spoilt(state) | full, fnp.nan, value)

    def _binary(self, scores: Value, labels: Value, weights: Value, positive: Any) -> Value:
        """The area for one class against the rest; NaN if it, or the rest, does not occur."""
        order = fnp.argsort(scores)
        scores, weights = scores[order], weights[order]
        hits = fnp.where(labels[order] == positive, weights, 0)
        zero = fnp.zeros(1, "float64")
        below = lambda w, side: fnp.concatenate([zero, fnp.cumsum(w)])[fnp.searchsorted(scores, scores, side=side)]
        return self._area(hits, weights - hits, below)

    def _area(self, positives: Value, negatives: Value, below: Any) -> Value:
        raise NotImplementedError


class AUCROC(_Area):
    """The area under the receiver operating characteristic: the probability that a positive scores higher than a negative.

    Args:
        capacity: how many examples there is room for; None means that the state grows with every batch, which is for use outside
            of compiled loops. Beyond it ``compute`` raises, or gives NaN in compiled code.
        classes: None: one score for each example, labels 0 and 1; a number: scores (batch, classes), and the result is the
            mean over classes of each against the rest.

    Equal scores count half. A score that is NaN makes the area NaN.

    >>> import numpy as np
    >>> AUCROC()(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    Array(0.75, dtype=float64)
    """

    def _area(self, positives: Value, negatives: Value, below: Any) -> Value:
        less, up_to = below(positives, "left"), below(positives, "right")
        total = fnp.sum(positives)
        pairs = total * fnp.sum(negatives)
        won = fnp.sum(negatives * (total - up_to + 0.5 * (up_to - less)))
        return fnp.where(pairs == 0, fnp.nan, won / fnp.where(pairs == 0, 1, pairs))


class PRAUC(_Area):
    """The area under the precision-recall curve, as steps: average precision; arguments as for ``AUCROC``.

    >>> import numpy as np
    >>> PRAUC()(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])).round(4)
    Array(0.8333, dtype=float64)
    """

    def _area(self, positives: Value, negatives: Value, below: Any) -> Value:
        total, everything = fnp.sum(positives), positives + negatives
        hits = total - below(positives, "left")  # at the threshold of each example
        chosen = fnp.sum(everything) - below(everything, "left")
        area = fnp.sum(fnp.where(positives > 0, positives * hits / fnp.where(chosen > 0, chosen, 1), 0))
        return fnp.where(total == 0, fnp.nan, area / fnp.where(total == 0, 1, total))
