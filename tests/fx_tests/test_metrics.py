"""Metrics against scikit-learn: over batches as over everything at once, with weights, inside compiled loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from narrowing import narrow_steps
from sklearn import metrics as sk

import fx
from fx import lax, metrics
from fx.errors import DTypeError, LabelError, ShapeError

RNG = np.random.default_rng(0)
N, C = 60, 4
LABELS = RNG.integers(0, C - 1, N)  # class 3 has no label, and is predicted
SCORES = RNG.normal(size=(N, C)) + 1.5 * np.eye(C)[LABELS]
PREDICTED = SCORES.argmax(1)
BITS = RNG.integers(0, 2, N)
ONE = np.round(RNG.normal(size=N) + BITS, 1)  # with ties
WEIGHTS = RNG.uniform(0.1, 2, N)
X, Y = RNG.normal(size=N), RNG.normal(size=N) + 1e4
MANY = RNG.normal(size=(N, 3))
SOFT = np.exp(SCORES) / np.exp(SCORES).sum(1, keepdims=True)
ALL = list(range(C))

# name -> (metric, predictions, targets, scikit-learn's value given sample_weight)
CASES: dict[str, tuple[metrics.Metric, np.ndarray, np.ndarray, Any]] = {
    "accuracy": (metrics.Accuracy(), SCORES, LABELS, lambda w: sk.accuracy_score(LABELS, PREDICTED, sample_weight=w)),
    "accuracy of classes": (metrics.Accuracy(), PREDICTED, LABELS, lambda w: sk.accuracy_score(LABELS, PREDICTED, sample_weight=w)),
    "accuracy of bits": (metrics.Accuracy(0.2), ONE, BITS, lambda w: sk.accuracy_score(BITS, ONE > 0.2, sample_weight=w)),
    "top 2": (metrics.TopKAccuracy(2), SCORES, LABELS, lambda w: sk.top_k_accuracy_score(LABELS, SCORES, k=2, labels=ALL, sample_weight=w)),
    "confusion": (metrics.ConfusionMatrix(C), SCORES, LABELS, lambda w: sk.confusion_matrix(LABELS, PREDICTED, labels=ALL, sample_weight=w)),
    "confusion of rows": (
        metrics.ConfusionMatrix(C, normalize="true"), SCORES, LABELS,
        lambda w: sk.confusion_matrix(LABELS, PREDICTED, labels=ALL, sample_weight=w, normalize="true"),
    ),
    **{
        f"{f.__name__} {average}": (
            f(C, average=average), SCORES, LABELS,
            lambda w, theirs=theirs, average=average: theirs(
                LABELS, PREDICTED, average=None if average == "none" else average, sample_weight=w, zero_division=0,
                labels=ALL if average == "none" else None,
            ),
        )
        for f, theirs in ((metrics.Precision, sk.precision_score), (metrics.Recall, sk.recall_score), (metrics.F1, sk.f1_score))
        for average in ("macro", "micro", "weighted", "none")
    },
    "f1 binary": (metrics.F1(2, threshold=0.2, average="binary"), ONE, BITS, lambda w: sk.f1_score(BITS, ONE > 0.2, sample_weight=w)),
    "auc": (metrics.AUCROC(), ONE, BITS, lambda w: sk.roc_auc_score(BITS, ONE, sample_weight=w)),
    "auc in a buffer": (metrics.AUCROC(capacity=100), ONE, BITS, lambda w: sk.roc_auc_score(BITS, ONE, sample_weight=w)),
    "auc of classes": (
        metrics.AUCROC(capacity=N, classes=3), SOFT[:, :3] / SOFT[:, :3].sum(1, keepdims=True), LABELS,
        lambda w: sk.roc_auc_score(LABELS, SOFT[:, :3] / SOFT[:, :3].sum(1, keepdims=True), multi_class="ovr", sample_weight=w),
    ),
    "average precision": (metrics.PRAUC(), ONE, BITS, lambda w: sk.average_precision_score(BITS, ONE, sample_weight=w)),
    "average precision in a buffer": (metrics.PRAUC(capacity=100), ONE, BITS, lambda w: sk.average_precision_score(BITS, ONE, sample_weight=w)),
    "mae": (metrics.MAE(), X, Y, lambda w: sk.mean_absolute_error(Y, X, sample_weight=w)),
    "mse": (metrics.MSE(), X, Y, lambda w: sk.mean_squared_error(Y, X, sample_weight=w)),
    "rmse": (metrics.RMSE(), X, Y, lambda w: sk.root_mean_squared_error(Y, X, sample_weight=w)),
    "r2": (metrics.R2(), X + 1e4, Y, lambda w: sk.r2_score(Y, X + 1e4, sample_weight=w)),
    "r2 of outputs": (metrics.R2(3), MANY, MANY**2, lambda w: sk.r2_score(MANY**2, MANY, sample_weight=w)),
    "perplexity": (
        metrics.Perplexity(), np.log(SOFT), LABELS, lambda w: np.exp(sk.log_loss(LABELS, SOFT, labels=ALL, sample_weight=w)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_metrics_are_scikit_learn_s(name: str) -> None:
    metric, predictions, targets, want = CASES[name]
    np.testing.assert_allclose(metric(predictions, targets), want(None), rtol=1e-9)
    state = metric.init()
    for start, end in ((0, 7), (7, 7), (7, 40), (40, N)):  # one of them is empty
        part = slice(start, end)
        state = metric.update(state, predictions[part], targets[part], weights=WEIGHTS[part])
    np.testing.assert_allclose(metric.compute(state), want(WEIGHTS), rtol=1e-9)


GROWING = {"auc", "average precision"}


@pytest.mark.parametrize("name", sorted(set(CASES) - GROWING))
def test_metrics_work_in_compiled_loops(name: str) -> None:
    """In a scan over batches; a weight of 0 takes an example out, be it NaN."""
    metric, predictions, targets, want = CASES[name]
    weights = np.where(np.arange(N) < 50, 1.0, 0.0)
    batches = [x.reshape(6, 10, *x.shape[1:]) for x in (predictions, targets, weights)]

    def run(p: Any, t: Any, w: Any) -> Any:
        state, _ = lax.scan(lambda s, b: (metric.update(s, b[0], b[1], weights=b[2]), None), metric.init(), (p, t, w))
        return metric.compute(state)

    np.testing.assert_allclose(fx.jit(run)(*batches), want(weights), rtol=1e-9)


@pytest.mark.parametrize("name", sorted(set(CASES) - GROWING))
def test_metrics_are_computed_in_64_bits(name: str) -> None:
    metric, predictions, targets, _ = CASES[name]
    assert narrow_steps(lambda p, t: metric(p, t, weights=WEIGHTS), predictions, targets) == []


def test_collections_and_means() -> None:
    both = metrics.Collection(accuracy=metrics.Accuracy(), f1=metrics.F1(C))
    values = both(SCORES, LABELS)
    assert values["accuracy"] == sk.accuracy_score(LABELS, PREDICTED) and set(values) == {"accuracy", "f1"}
    assert np.isnan(metrics.Mean().compute(metrics.Mean().init()))
    assert metrics.Mean()(np.array([np.nan, 2.0]), weights=np.array([0, 1])) == 2
    assert np.isnan(metrics.AUCROC()(ONE[:3], np.zeros(3, int)))
    assert metrics.R2()(np.ones(3), np.ones(3)) == 1
    ignoring = metrics.Perplexity(ignore_index=-1)(np.log(SOFT), np.where(np.arange(N) < 5, -1, LABELS))
    np.testing.assert_allclose(ignoring, metrics.Perplexity()(np.log(SOFT[5:]), LABELS[5:]), rtol=1e-12)


@pytest.mark.parametrize(
    "metric",
    [
        metrics.AUCROC(),
        metrics.AUCROC(8, classes=3),
        metrics.PRAUC(classes=3),
        metrics.R2(),
        metrics.Perplexity(),
        metrics.Accuracy(),
    ],
    ids=repr,
)
def test_of_nothing_it_is_nan(metric: Any) -> None:
    assert np.isnan(np.asarray(metric.compute(metric.init()))) and not np.asarray(metric.spoilt(metric.init()))


def test_float16_is_summed_in_float64() -> None:
    values = np.full(70_000, 0.1, np.float16)
    np.testing.assert_allclose(metrics.Mean()(values), np.float64(np.float16(0.1)), rtol=1e-12)


def test_what_cannot_be_known_is_nan_in_compiled_code() -> None:
    labels = LABELS.copy()
    labels[3] = C
    for metric in (
        metrics.ConfusionMatrix(C),
        metrics.F1(C, average="none"),
        metrics.AUCROC(N, classes=C),
        metrics.TopKAccuracy(2),
    ):
        assert np.isnan(np.asarray(fx.jit(metric)(SCORES, labels))).all()
        with pytest.raises(LabelError, match="found 4"):
            metric(SCORES, labels)
    counted = metrics.TopKAccuracy(2)(SCORES, labels, weights=labels < C)
    assert counted == metrics.TopKAccuracy(2)(SCORES[labels < C], labels[labels < C])
    small = metrics.AUCROC(capacity=10)
    assert np.isnan(fx.jit(small)(ONE, BITS))
    with pytest.raises(ShapeError, match="capacity=10"):
        small(ONE, BITS)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: metrics.Accuracy()(SCORES, LABELS[:5]), ShapeError, "classes"),
        (lambda: metrics.Accuracy()(SCORES, LABELS.astype(float)), DTypeError, "argmax"),
        (lambda: metrics.Accuracy()(SCORES, LABELS, weights=np.ones(3)), ShapeError, "weights"),
        (lambda: metrics.TopKAccuracy()(LABELS, LABELS), ShapeError, "scores"),
        (
            lambda: metrics.TopKAccuracy()(np.float32(1), np.int32(0)),
            ShapeError,
            r"scores \(..., classes\).* found \(\)",
        ),
        (lambda: metrics.Perplexity()(LABELS, LABELS), ShapeError, r"Perplexity takes logits \(..., classes\)"),
        (lambda: metrics.Perplexity()(np.float32(1), np.int32(0)), ShapeError, "Perplexity takes logits"),
        (lambda: metrics.Perplexity()(SCORES, SCORES), DTypeError, "Perplexity takes integer labels"),
        (lambda: metrics.F1(C, average="mean"), ShapeError, "macro"),
        (lambda: metrics.F1(C, average="binary"), ShapeError, "2 classes"),
        (lambda: metrics.AUCROC()(SCORES, LABELS), ShapeError, "batch"),
        (lambda: metrics.MAE()(X, X[:, None]), ShapeError, "equal shape"),
        (lambda: metrics.R2(2)(MANY, MANY), ShapeError, r"\(batch, 2\)"),
    ],
)
def test_errors_say_what_to_do(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        call()


def test_states_are_trees_of_arrays() -> None:
    for metric, *_ in CASES.values():
        assert all(isinstance(x, fx.Array) for x in fx.tree.leaves(metric.init()))


def test_accuracy_leaves_out_what_is_padding() -> None:
    scores, labels = RNG.normal(size=(3, 4, C)), RNG.integers(0, C, (3, 4))
    padded = np.arange(4) >= np.array([4, 1, 2])[:, None]
    want = (scores.argmax(-1) == labels)[~padded].mean()
    holed = np.where(padded, -100, labels)
    metric = metrics.Accuracy(ignore_index=-100)
    assert float(metric(scores, holed)) == pytest.approx(want)
    assert float(fx.jit(lambda s, t: metric(s, t))(scores, holed)) == pytest.approx(want)
    assert float(metrics.Accuracy()(scores, holed, weights=~padded)) == pytest.approx(want)
    weights = RNG.uniform(size=3)
    spread = np.broadcast_to(weights[:, None], (3, 4))[~padded]
    assert float(metric(scores, holed, weights=weights)) == pytest.approx(
        ((scores.argmax(-1) == labels)[~padded] * spread).sum() / spread.sum()
    )
    with pytest.raises(LabelError, match="Accuracy: labels are 0 to 3.*found -100"):
        metrics.Accuracy()(scores, holed)
    assert np.isnan(float(fx.jit(lambda s, t: metrics.Accuracy()(s, t))(scores, holed)))


METRICS_OF_CLASSES = (metrics.Accuracy(), metrics.TopKAccuracy(2), metrics.ConfusionMatrix(C), metrics.F1(C), metrics.Perplexity(),
                      metrics.AUCROC(N, classes=C), metrics.PRAUC(N, classes=C))  # fmt: skip


@pytest.mark.parametrize("metric", METRICS_OF_CLASSES, ids=lambda m: type(m).__name__)
def test_what_has_no_weight_may_be_anything(metric: Any) -> None:
    kept = np.arange(N) % 3 > 0
    padded = np.where(kept, LABELS, -1)
    want = metric(SCORES[kept], LABELS[kept])
    for run in (metric, fx.jit(lambda s, t, w: metric(s, t, weights=w))):
        given = {"weights": kept} if run is metric else {"w": kept}
        np.testing.assert_allclose(run(SCORES, padded, **given), want, rtol=1e-12)
    with pytest.raises(LabelError, match="found -1"):
        metric(SCORES, padded, weights=np.ones(N))


def test_r2_leaves_out_what_has_no_weight() -> None:
    kept = np.arange(N) % 3 > 0
    holed = np.where(kept[:, None], MANY, np.nan)
    np.testing.assert_allclose(
        metrics.R2()(holed, MANY[::-1], weights=kept), metrics.R2()(MANY[kept], MANY[::-1][kept])
    )


def test_labels_of_a_few_bits_name_classes_of_many() -> None:
    labels = np.array([0, 100, 127], np.int8)
    assert float(metrics.ConfusionMatrix(300)(labels, labels)[100, 100]) == 1
    assert float(metrics.Accuracy()(np.eye(300)[labels], labels)) == 1


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: metrics.F1(2)(SCORES, LABELS), ShapeError, r"F1\(classes=2\) takes scores of 2 classes; found shape \(60, 4\)"),
        (lambda: fx.jit(lambda s, t: metrics.ConfusionMatrix(5)(s, t))(SCORES, LABELS), ShapeError, "5 classes"),
        (lambda: metrics.ConfusionMatrix(2, normalize="rows"), ShapeError, "normalize is None, 'true'.*found 'rows'"),
        (lambda: metrics.AUCROC()(ONE[:, None], BITS), ShapeError, r"scores \(batch,\) and labels \(batch,\); found \(60, 1\).*scores\[:, 0\]"),
        (lambda: metrics.PRAUC()(SOFT[:, :2], BITS), ShapeError, r"scores\[:, 1\], or classes=2"),
        (lambda: metrics.Accuracy()(SCORES, np.array(list("ab"))), DTypeError, r"labels of Accuracy are <U1.*np\.unique"),
    ],
)  # fmt: skip
def test_scores_and_labels_that_do_not_fit_say_what_does(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        call()


@pytest.mark.parametrize("metric", [metrics.AUCROC, metrics.PRAUC])
def test_an_area_with_a_score_that_is_nan_is_nan(metric: Any) -> None:
    scores = np.where(np.arange(N) == 7, np.nan, ONE)
    assert np.isnan(float(metric()(scores, BITS)))
    kept = (np.arange(N) != 7).astype(float)
    assert float(metric()(scores, BITS, weights=kept)) == pytest.approx(float(metric()(ONE, BITS, weights=kept)))
    assert np.isnan(float(metric(classes=C)(np.where(np.arange(N)[:, None] == 7, np.nan, SOFT), RNG.integers(0, C, N))))
