"""Losses of classes, from logits or scores."""

from __future__ import annotations

import math
from typing import Any

from ... import dtypes
from ... import numpy as fnp
from ...errors import ArgumentError, DTypeError, ShapeError
from ...numpy.axes import canonical_axis
from ...numpy.core import as_type, as_value
from ..activations import log_sigmoid, relu, sigmoid, softplus
from ..normalization import log_softmax
from .reducing import check_labels, counted, floats, indicator, labels_of, range_checked, reduced, same_shape, spread

__all__ = ["bce_with_logits", "cross_entropy", "focal", "hinge", "kl_divergence", "multiclass_hinge"]

Value = Any


def _integers(loss: str, logits: Value, labels: Value) -> Value:
    if not dtypes.is_integer(labels.dtype):
        raise DTypeError(
            f"{loss}: labels of shape {tuple(labels.shape)} beside logits of shape {tuple(logits.shape)} are the numbers of classes,"
            f" and must be integers; found {labels.dtype}. Convert: labels.astype('int32')."
        )
    return labels


def _known_class(losses: Value, labels: Value, classes: int) -> Value:
    """The losses, NaN where a label is out of range: compiled code cannot raise."""
    return fnp.where((labels >= 0) & (labels < classes), losses, fnp.asarray(math.nan, losses.dtype))


def cross_entropy(
    logits: Any, labels: Any, *, label_smoothing: float = 0.0, class_weights: Any = None, ignore_index: int | None = None,
    weights: Any = None, axis: int = -1, reduction: str = "mean",
) -> Value:  # fmt: skip
    """The mean of -sum_c q_c log softmax(logits)_c, where q is 1 at the label, or the soft labels.

    Args:
        logits: floats with the classes along ``axis``.
        labels: integers, of the shape of ``logits`` without ``axis``; or probabilities (soft labels) of its shape.
        label_smoothing: s; q becomes (1 - s) q + s / classes.
        class_weights: (classes,), multiplies the terms of each class; with integer labels the mean divides by the sum of
            the weights of the labels, with soft ones by the number of examples (both as PyTorch does).
        ignore_index: examples with this label do not count.
        weights, reduction: see ``fx.nn.losses``.

    Raises:
        LabelError: a label is known to be out of range. Where it is not known, under jit, its loss is NaN.
        ShapeError, DTypeError: the labels do not fit.

    >>> cross_entropy(fnp.array([[2.0, 0.0, 0.0]]), fnp.array([0]))
    Array(0.23954484, dtype=float32)

    Source: label smoothing: Szegedy et al., "Rethinking the Inception architecture", 2016.
    """
    logits, labels = floats(logits, "logits of cross_entropy"), labels_of(labels, "labels of cross_entropy")
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"cross_entropy: label_smoothing lies between 0 and 1; found {label_smoothing}")
    logits = fnp.moveaxis(logits, canonical_axis(axis, logits.ndim), -1)
    classes = logits.shape[-1]
    log_p = log_softmax(*counted("cross_entropy", weights, logits, axes=(-1,)))
    if class_weights is not None:
        class_weights = as_type(as_value(class_weights, "class_weights"), log_p.dtype)
        if class_weights.shape != (classes,):
            raise ShapeError(f"class_weights must have shape ({classes},); found {tuple(class_weights.shape)}")
    if labels.ndim == logits.ndim:
        soft = fnp.moveaxis(floats(labels, "labels of cross_entropy"), canonical_axis(axis, labels.ndim), -1)
        same_shape("cross_entropy with soft labels", logits=logits, labels=soft)
        soft = (1 - label_smoothing) * soft + label_smoothing / classes if label_smoothing else soft
        terms = fnp.where(soft == 0, 0, soft * log_p)  # 0 * -inf = 0
        return reduced(-fnp.sum(terms if class_weights is None else terms * class_weights, -1), weights, reduction)
    if tuple(labels.shape) != tuple(logits.shape[:-1]):
        raise ShapeError(
            f"cross_entropy: logits with classes last, of shape {tuple(logits.shape)}, take integer labels of shape"
            f" {tuple(logits.shape[:-1])}, or soft ones of their own shape; found {tuple(labels.shape)}"
        )
    labels = _integers("cross_entropy", logits, labels)
    check_labels("cross_entropy", labels, classes, ignore_index, weights)
    hot = indicator(labels, classes)
    weighted = log_p if class_weights is None else log_p * class_weights
    losses = -fnp.sum(fnp.where(hot, weighted, 0), -1)
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing / classes * fnp.sum(weighted, -1)
    ignored = None if ignore_index is None else labels == ignore_index
    losses = _known_class(losses, labels if ignored is None else fnp.where(ignored, 0, labels), classes)
    if class_weights is None and ignored is None:
        return reduced(losses, weights, reduction)
    counts = (
        fnp.ones(losses.shape, losses.dtype) if class_weights is None else fnp.sum(fnp.where(hot, class_weights, 0), -1)
    )
    if ignored is not None:
        losses, counts = fnp.where(ignored, 0, losses), fnp.where(ignored, 0, counts)
    if weights is not None:
        counts = counts * spread(weights, counts.shape, counts.dtype, "cross_entropy")
    total = fnp.sum(counts)
    return reduced(losses, weights, reduction, total)


def bce_with_logits(
    logits: Any, targets: Any, *, pos_weight: Any = None, weights: Any = None, reduction: str = "mean"
) -> Value:
    """Binary cross-entropy: the mean of -t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)), without overflow.

    Args:
        logits: x, floats.
        targets: t, of the same shape, from 0 to 1 (bools and integers too).
        pos_weight: multiplies the first term; broadcasts.
        weights, reduction: see ``fx.nn.losses``.

    >>> bce_with_logits(fnp.array([0.0, 1000.0]), fnp.array([1.0, 1.0]), reduction="none")
    Array([0.6931472, 0.       ], dtype=float32)
    """
    x, t = floats(logits, "logits of bce_with_logits"), floats(targets, "targets of bce_with_logits")
    same_shape("bce_with_logits", logits=x, targets=t)
    range_checked("bce_with_logits", "targets", t, "from 0 to 1", lambda v: (v < 0) | (v > 1), weights)
    x, t = counted("bce_with_logits", weights, x, t)
    factor = 1 if pos_weight is None else 1 + (as_type(as_value(pos_weight), x.dtype) - 1) * t
    return reduced((1 - t) * x + factor * softplus(-x), weights, reduction)


def _missed(share: Value, gamma: Any) -> Value:
    """share**gamma; at 0, where the power has no derivative for gamma below 1, the loss is 0 and so is its gradient."""
    return fnp.maximum(share, fnp.finfo(share.dtype).tiny) ** gamma


def focal(
    logits: Any, labels: Any, *, gamma: float = 2.0, alpha: Any = None, weights: Any = None, reduction: str = "mean"
) -> Value:
    """Cross-entropy times (1 - p)**gamma, where p is the probability of the truth: easy examples count less.

    Args:
        logits: floats.
        labels: of the same shape, from 0 to 1: each element is a question of its own (sigmoid); or integers of the shape
            of ``logits`` without the last axis: one of several classes (softmax).
        gamma: 0 is cross-entropy.
        alpha: factor of the positives (1 - alpha of the negatives); with classes, one factor for each, or None.
        weights, reduction: see ``fx.nn.losses``.

    Source: Lin et al., "Focal loss for dense object detection", 2017.

    >>> focal(fnp.array([0.0]), fnp.array([1.0]))
    Array(0.1732868, dtype=float32)
    """
    x, labels = floats(logits, "logits of focal"), labels_of(labels, "labels of focal")
    if labels.ndim == x.ndim:
        t = floats(labels, "labels of focal")
        same_shape("focal", logits=x, labels=t)
        range_checked("focal", "labels", t, "from 0 to 1", lambda v: (v < 0) | (v > 1), weights)
        x, t = counted("focal", weights, x, t)
        p = sigmoid(x)
        losses = -(t * log_sigmoid(x) + (1 - t) * log_sigmoid(-x)) * _missed(1 - (p * t + (1 - p) * (1 - t)), gamma)
        return reduced(losses if alpha is None else losses * (alpha * t + (1 - alpha) * (1 - t)), weights, reduction)
    if tuple(labels.shape) != tuple(x.shape[:-1]):
        raise ShapeError(
            f"focal: logits of shape {tuple(x.shape)} take labels of that shape, or integers of shape {tuple(x.shape[:-1])};"
            f" found {tuple(labels.shape)}"
        )
    classes = x.shape[-1]
    labels = _integers("focal", x, labels)
    check_labels("focal", labels, classes, weights=weights)
    (x,) = counted("focal", weights, x, axes=(-1,))
    hot = indicator(labels, classes)
    log_p = fnp.sum(fnp.where(hot, log_softmax(x), 0), -1)
    losses = -log_p * _missed(-fnp.expm1(log_p), gamma)
    if alpha is not None:
        losses = losses * fnp.sum(fnp.where(hot, as_type(as_value(alpha), x.dtype), 0), -1)
    return reduced(_known_class(losses, labels, classes), weights, reduction)


def hinge(scores: Any, targets: Any, *, margin: float = 1.0, weights: Any = None, reduction: str = "mean") -> Value:
    """The mean of max(0, margin - target * score).

    Args:
        scores, targets: of equal shape; targets are -1 or 1.
        weights, reduction: see ``fx.nn.losses``.

    >>> hinge(fnp.array([0.5, -2.0]), fnp.array([1, -1]), reduction="none")
    Array([0.5, 0. ], dtype=float32)
    """
    s, t = floats(scores, "scores of hinge"), floats(targets, "targets of hinge")
    same_shape("hinge", scores=s, targets=t)
    range_checked("hinge", "targets", t, "-1 or 1 (of 0 and 1: 2 * t - 1)", lambda v: abs(v) != 1, weights)
    s, t = counted("hinge", weights, s, t)
    return reduced(relu(margin - t * s), weights, reduction)


def multiclass_hinge(
    scores: Any, labels: Any, *, margin: float = 1.0, weights: Any = None, reduction: str = "mean"
) -> Value:
    """The mean over examples of the mean over classes c of max(0, margin - score[label] + score[c]), c not the label.

    Args:
        scores: (..., classes).
        labels: integers (...).
        weights, reduction: see ``fx.nn.losses``.

    >>> multiclass_hinge(fnp.array([[2.0, 1.5, 0.0]]), fnp.array([0]))
    Array(0.16666667, dtype=float32)

    Source: Crammer, Singer, "On the algorithmic implementation of multiclass kernel-based vector machines", 2001.
    """
    s, labels = floats(scores, "scores of multiclass_hinge"), labels_of(labels, "labels of multiclass_hinge")
    if tuple(labels.shape) != tuple(s.shape[:-1]):
        raise ShapeError(
            f"multiclass_hinge: scores {tuple(s.shape)} take labels {tuple(s.shape[:-1])}; found {tuple(labels.shape)}"
        )
    classes = s.shape[-1]
    labels = _integers("multiclass_hinge", s, labels)
    check_labels("multiclass_hinge", labels, classes, weights=weights)
    hot = indicator(labels, classes)
    true = fnp.sum(fnp.where(hot, s, 0), -1, keepdims=True)
    losses = fnp.sum(fnp.where(hot, 0, relu(margin - true + s)), -1) / classes
    return reduced(_known_class(losses, labels, classes), weights, reduction)


def kl_divergence(
    log_predictions: Any, targets: Any, *, log_targets: bool = False, axis: int = -1, weights: Any = None, reduction: str = "mean"
) -> Value:  # fmt: skip
    """The mean of sum_c t_c (log t_c - log p_c): how far the targets t are from the predictions p.

    Args:
        log_predictions: log p, such as ``log_softmax(logits)``.
        targets: t, of the same shape: probabilities along ``axis``, 0 allowed.
        log_targets: ``targets`` are log t.
        weights, reduction: see ``fx.nn.losses``; the sum along ``axis`` is one loss (PyTorch's "batchmean").

    >>> kl_divergence(fnp.log(fnp.array([0.5, 0.5])), fnp.array([1.0, 0.0]))
    Array(0.6931472, dtype=float32)
    """
    q, t = floats(log_predictions, "log_predictions of kl_divergence"), floats(targets, "targets of kl_divergence")
    same_shape("kl_divergence", log_predictions=q, targets=t)
    q, t = counted("kl_divergence", weights, q, t, axes=(axis,))
    if log_targets:
        p, log_p = fnp.exp(t), t
    else:
        range_checked(
            "kl_divergence", "targets", t, "at least 0 (give logarithms with log_targets=True)", lambda v: v < 0
        )
        p, log_p = t, fnp.log(fnp.where(t > 0, t, 1))
    return reduced(fnp.sum(fnp.where(p == 0, 0, p * (log_p - q)), axis), weights, reduction)
