"""What the losses share: operands, labels that are checked, and the reduction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import dtypes
from ... import numpy as fnp
from ...errors import DTypeError, LabelError, ShapeError
from ...numpy.axes import canonical_axis
from ...numpy.core import as_type, as_value
from ...trace import concrete_value

__all__ = [
    "check_labels",
    "counted",
    "floats",
    "indicator",
    "labels_of",
    "range_checked",
    "reduced",
    "same_shape",
    "spread",
]

Value = Any


def floats(x: Any, name: str) -> Value:
    """``x`` as an array of floats of at least 32 bits."""
    x = as_value(x, name)
    if not dtypes.is_float(x.dtype):
        if dtypes.is_inexact(x.dtype):
            raise DTypeError(f"{name} must be real; found {x.dtype}")
        return as_type(x, dtypes.promote_types(x.dtype, dtypes.float32))
    return as_type(x, dtypes.promote_types(x.dtype, dtypes.float32))


def labels_of(x: Any, name: str) -> Value:
    """Labels as an array; integers of less than 32 bits in int32, which holds every class and what is ignored.

    Raises:
        DTypeError: they are text, or objects.
    """
    if getattr(getattr(x, "dtype", None), "kind", "") in ("O", "S", "U", "T"):
        raise DTypeError(
            f"{name} are {x.dtype}, no numbers. Number them: classes, labels = np.unique(labels, return_inverse=True)."
        )
    labels = as_value(x, name)
    narrow = dtypes.is_integer(labels.dtype) and labels.dtype.itemsize < 4
    return as_type(labels, dtypes.int32) if narrow else labels


def same_shape(loss: str, **operands: Value) -> None:
    """Raises ShapeError unless all operands have the same shape."""
    shapes = {n: tuple(x.shape) for n, x in operands.items()}
    if len(set(shapes.values())) > 1:
        text = ", ".join(f"{n} {s}" for n, s in shapes.items())
        raise ShapeError(
            f"{loss} takes operands of equal shape; found {text}. Reshape one of them, x.reshape(...) or x[:, 0]."
        )


def spread(weights: Any, shape: tuple[int, ...], dtype: Any, who: str) -> Value:
    """Weights for every element: those of examples, with fewer axes, stand for all elements of theirs.

    Raises:
        ShapeError: they fit neither.
    """
    w, shape = as_type(as_value(weights, f"weights of {who}"), dtype), tuple(shape)
    found = tuple(w.shape)
    if w.ndim < len(shape) and found == shape[: w.ndim]:
        w = fnp.reshape(w, (*found, *[1] * (len(shape) - w.ndim)))
    if w.ndim != len(shape) or any(m not in (1, n) for m, n in zip(w.shape, shape)):
        ways = f"of examples have shape {shape[:1]}, of elements {shape}" if len(shape) > 1 else f"have shape {shape}"
        raise ShapeError(
            f"{who}: weights of shape {found} do not fit; weights {ways}, with 1 for an axis that shares them"
        )
    return fnp.broadcast_to(w, shape)


def counted(who: str, weights: Any, *operands: Value, axes: Sequence[int] = ()) -> tuple[Value, ...]:
    """Operands of equal shape, with 0 where the weight is 0: what stands there, NaN too, reaches neither loss nor gradient.

    Args:
        axes: along which a loss takes its operands as one: they are none of the losses' own, which have the weights.
    """
    if weights is None:
        return operands
    axes = [canonical_axis(a, operands[0].ndim) for a in axes]
    shape = tuple([n for i, n in enumerate(operands[0].shape) if i not in axes])
    out = fnp.expand_dims(spread(weights, shape, operands[0].dtype, who) == 0, tuple(axes))
    return tuple([fnp.where(out, 0, x) for x in operands])


def _has_weight(weights: Any, shape: tuple[int, ...], who: str) -> Any:
    """Which elements are known to have a weight other than 0."""
    known = True if weights is None else concrete_value(spread(weights, shape, dtypes.float64, who))
    return known is not None and known != 0


def check_labels(loss: str, labels: Value, classes: int, ignored: int | None = None, weights: Any = None) -> None:
    """Raises LabelError if a label is known to be none of 0 ... classes - 1, and not the one that is ignored; where its weight
    is 0, it may be anything."""
    known = concrete_value(labels)
    if known is None:
        return
    wrong = (known < 0) | (known >= classes)
    if ignored is not None:
        wrong &= known != ignored
    wrong &= _has_weight(weights, known.shape, loss)
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        place = f" at {list(where)}" if where else ""
        raise LabelError(
            f"{loss}: labels are 0 to {classes - 1}, as the logits have {classes} classes; found {known[where]}{place}"
            f" ({int(wrong.sum())} of {known.size} are out of range)."
            + (" Labels that count from 1: subtract 1." if known.min() >= 1 and known.max() <= classes else "")
        )


def indicator(labels: Value, classes: int) -> Value:
    """True where the class (a new last axis) is the label."""
    return labels[..., None] == fnp.arange(classes, dtype=labels.dtype)


def reduced(losses: Value, weights: Any, reduction: str, total: Value | None = None) -> Value:
    """``losses`` weighted and reduced.

    Args:
        total: what the mean divides by; None means the number of losses, or the sum of their weights.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ShapeError(f"reduction is 'mean', 'sum' or 'none'; found {reduction!r}")
    if weights is not None:
        weights = spread(weights, losses.shape, losses.dtype, "the loss")
        losses = fnp.where(weights == 0, 0, losses * weights)  # takes an example out, whatever its loss
        total = fnp.sum(weights) if total is None else total
    if reduction == "none":
        return losses
    if reduction == "sum":
        return fnp.sum(losses)
    if not losses.size:
        return fnp.sum(losses) + fnp.asarray(math.nan, losses.dtype)  # the mean of nothing
    return fnp.sum(losses) / (losses.size if total is None else total)


def range_checked(loss: str, what: str, x: Value, allowed: str, wrong: Any, weights: Any = None) -> None:
    """Raises LabelError if a target is known to be outside of what the loss takes, and not to have a weight of 0."""
    known = concrete_value(x)
    if known is not None and known.size:
        bad = wrong(np.asarray(known, np.float64)) & _has_weight(weights, known.shape, loss)
        if bad.any():
            raise LabelError(f"{loss}: {what} must be {allowed}; found {np.asarray(known)[bad].ravel()[0]}")
