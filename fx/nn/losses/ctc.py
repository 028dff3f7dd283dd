"""Connectionist temporal classification."""

from __future__ import annotations

import math
from typing import Any

from ... import dtypes
from ... import numpy as fnp
from ...errors import ArgumentError, DTypeError, LabelError, ShapeError
from ...lax import scan
from ...numpy.core import as_type, as_value
from ...trace import concrete_value
from ..normalization import log_softmax
from .reducing import check_labels, counted, floats, labels_of, reduced, spread

__all__ = ["ctc"]

Value = Any
_NEVER = -1e30  # the logarithm of a probability of 0 that differences of it do not turn into NaN


def _lengths(x: Any, batch: int, longest: int, name: str) -> Value:
    """Lengths as int32; one that is out of range and not known is -1."""
    x = fnp.full((batch,), longest, "int32") if x is None else as_value(x, f"{name} of ctc")
    if tuple(x.shape) != (batch,) or not dtypes.is_integer(x.dtype):
        raise ShapeError(f"ctc: {name} must be integers of shape ({batch},); found {x.dtype} of shape {tuple(x.shape)}")
    known = concrete_value(x)
    if known is not None and known.size and not (0 <= known.min() and known.max() <= longest):
        raise ShapeError(f"ctc: {name} must lie between 0 and {longest}; found {known.tolist()}")
    # a label is at twice its place: 2 * 100 is none in int8
    return fnp.where((x >= 0) & (x <= longest), as_type(x, dtypes.int32), -1)


def _log_add(*terms: Value) -> Value:
    """log(sum(exp(terms))) of numbers that are finite."""
    top = terms[0]
    for t in terms[1:]:
        top = fnp.maximum(top, t)
    return top + fnp.log(sum(fnp.exp(t - top) for t in terms))


def ctc(
    logits: Any, labels: Any, logit_lengths: Any = None, label_lengths: Any = None, *, blank: int = 0, zero_infinity: bool = False,
    weights: Any = None, reduction: str = "mean",
) -> Value:  # fmt: skip
    """The mean of -log P(labels | logits), summed over all alignments of the labels with the time steps.

    Args:
        logits: (batch, time, classes).
        labels: integers (batch, length), none of them ``blank``; what stands behind a sequence's end does not matter.
        logit_lengths, label_lengths: (batch,) integers; None means all of them.
        blank: the class that stands for no label.
        zero_infinity: labels that do not fit into the time steps have a loss of 0, and no gradient, in place of infinity.
        weights, reduction: see ``fx.nn.losses``; losses are not divided by lengths. Labels that do not fit into the time
            steps have an infinite loss, without ``zero_infinity``.

    Raises:
        LabelError: a label is known to be out of range, or to be the blank. Where it is not known, under jit, the loss is NaN; so
            is that of a length that is out of range.

    Source: Graves et al., "Connectionist temporal classification", 2006.

    >>> ctc(fnp.zeros((1, 2, 2)), fnp.array([[1]]))
    Array(0.2876821, dtype=float32)
    """
    x, labels = floats(logits, "logits of ctc"), labels_of(labels, "labels of ctc")
    if x.ndim != 3 or labels.ndim != 2 or labels.shape[0] != x.shape[0]:
        raise ShapeError(
            f"ctc takes logits (batch, time, classes) and labels (batch, length); found {tuple(x.shape)}, {tuple(labels.shape)}"
        )
    if not dtypes.is_integer(labels.dtype):
        raise DTypeError(f"ctc takes integer labels; found {labels.dtype}")
    (batch, time, classes), length = x.shape, labels.shape[1]
    times, lengths = (
        _lengths(logit_lengths, batch, time, "logit_lengths"),
        _lengths(label_lengths, batch, length, "label_lengths"),
    )
    if not 0 <= blank < classes:
        raise ArgumentError(f"ctc: the blank is one of the classes, 0 to {classes - 1}; found {blank}")
    (x,) = counted("ctc", weights, x, axes=(1, 2))
    inside = fnp.arange(length) < lengths[:, None]
    if weights is not None:
        inside &= spread(weights, (batch,), x.dtype, "ctc")[:, None] != 0
    blanks = inside & (labels == blank)
    labels = fnp.where(inside, labels, blank)
    check_labels("ctc", labels, classes)
    known = concrete_value(blanks)
    if known is not None and known.any():
        raise LabelError(f"ctc: {blank} is the blank, and no label; count labels from 1, or give blank=")
    losses = _log_likelihood(log_softmax(x), labels, times, lengths, blank)
    losses = fnp.where(fnp.isinf(losses), 0, losses) if zero_infinity else losses
    wrong = fnp.any(blanks | (labels < 0) | (labels >= classes), 1) | (times < 0) | (lengths < 0)
    return reduced(fnp.where(wrong, fnp.asarray(math.nan, losses.dtype), losses), weights, reduction)


def _log_likelihood(log_p: Value, labels: Value, times: Value, lengths: Value, blank: int) -> Value:
    """-log P for each sequence: the forward algorithm over the states blank, label, blank, label ... blank."""
    batch, length = labels.shape
    states = 2 * length + 1
    symbols = fnp.full((batch, states), blank, labels.dtype).at[:, 1::2].set(labels)
    earlier = fnp.concatenate([fnp.full((batch, min(2, states)), -1, labels.dtype), symbols[:, :-2]], 1)[:, :states]
    skips = (symbols != blank) & (symbols != earlier)  # a blank between equal labels cannot be left out
    emitted = fnp.take_along_axis(log_p, fnp.broadcast_to(symbols[:, None], (batch, log_p.shape[1], states)), 2)
    never = fnp.full((batch, states + 2), _NEVER, log_p.dtype)
    start = never[:, 2:].at[:, 0].set(0.0)  # no step: no label
    enter = fnp.where(fnp.arange(states) < 2, 0.0, _NEVER)  # the first step is the first blank or the first label

    def step(alpha: Value, inputs: tuple[Value, Value]) -> tuple[Value, None]:
        here, t = inputs
        padded = never.at[:, 2:].set(alpha)
        stay, one, two = alpha, padded[:, 1:-1], fnp.where(skips, padded[:, :-2], _NEVER)
        moved = fnp.where(t == 0, enter, _log_add(stay, one, two))
        return fnp.where((t < times)[:, None], fnp.maximum(moved + here, _NEVER), alpha), None

    alpha, _ = scan(step, start, (fnp.moveaxis(emitted, 1, 0), fnp.arange(log_p.shape[1])))
    last = fnp.arange(states) == 2 * lengths[:, None]
    before = fnp.arange(states) == 2 * lengths[:, None] - 1
    total = _log_add(
        fnp.sum(fnp.where(last, alpha, 0), 1), fnp.where(lengths > 0, fnp.sum(fnp.where(before, alpha, 0), 1), _NEVER)
    )
    return fnp.where(total > _NEVER / 2, -total, fnp.inf)
