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

from typing import TYPE_CHECKING

from ..misnamed import no_attribute
from .classification import F1, Accuracy, ConfusionMatrix, Precision, Recall, TopKAccuracy
from .protocol import Collection, Mean, Metric
from .ranking import AUCROC, PRAUC
from .regression import MAE, MSE, R2, RMSE, Perplexity

__all__ = [
    "AUCROC", "Accuracy", "Collection", "ConfusionMatrix", "F1", "MAE", "MSE", "Mean", "Metric", "PRAUC", "Perplexity", "Precision",
    "R2", "RMSE", "Recall", "TopKAccuracy",
]  # fmt: skip

_ELSEWHERE = {
    "AUC": "AUCROC", "AUROC": "AUCROC", "AveragePrecision": "PRAUC", "BinaryAccuracy": "Accuracy", "F1Score": "F1", "MeanAbsoluteError": "MAE",
    "MeanMetric": "Mean", "MeanSquaredError": "MSE", "MetricCollection": "Collection", "R2Score": "R2", "RootMeanSquaredError": "RMSE",
    "SparseCategoricalAccuracy": "Accuracy", "SparseTopKCategoricalAccuracy": "TopKAccuracy", "accuracy_score": "Accuracy", "average_precision_score": "PRAUC",
    "confusion_matrix": "ConfusionMatrix", "f1_score": "F1", "mean_absolute_error": "MAE", "mean_squared_error": "MSE", "precision_score": "Precision",
    "r2_score": "R2", "recall_score": "Recall", "roc_auc_score": "AUCROC", "top_k_accuracy_score": "TopKAccuracy",
}  # fmt: skip

if not TYPE_CHECKING:  # a type checker says itself what is not there

    def __getattr__(name: str) -> None:
        raise no_attribute("fx.metrics", name, __all__, _ELSEWHERE)
