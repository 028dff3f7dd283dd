"""``fx.metrics``: how good predictions are, accumulated exactly over batches.

A metric is a small frozen object with three pure functions, so it works inside ``jit`` and ``scan``:

* ``state = metric.init()``: a pytree of arrays;
* ``state = metric.update(state, predictions, targets, weights=None)``;
* ``metric.compute(state)``: the value over everything seen, the same as over one batch of it all.

``metric(predictions, targets)`` is all three for one batch.  Sums are kept in float64.  ``weights`` (of examples, 0 for padding) multiply
what an example counts.  Labels that are known to be out of range raise ``LabelError``; in compiled code the result is NaN.

>>> import numpy as np
>>> from fx import metrics
>>> accuracy = metrics.Accuracy()
>>> state = accuracy.init()
>>> for scores, labels in [(np.eye(3), np.array([0, 1, 0])), (np.eye(3)[:1], np.array([0]))]:
...     state = accuracy.update(state, scores, labels)
>>> accuracy.compute(state)
Array(0.75, dtype=float64)
"""

from __future__ import annotations

from .classification import F1, Accuracy, ConfusionMatrix, Precision, Recall, TopKAccuracy
from .protocol import Collection, Mean, Metric
from .ranking import AUCROC, PRAUC
from .regression import MAE, MSE, R2, RMSE, Perplexity

__all__ = [
    "AUCROC", "Accuracy", "Collection", "ConfusionMatrix", "F1", "MAE", "MSE", "Mean", "Metric", "PRAUC", "Perplexity", "Precision",
    "R2", "RMSE", "Recall", "TopKAccuracy",
]  # fmt: skip
