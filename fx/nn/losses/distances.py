"""Losses of vectors that should be near each other, or far."""

from __future__ import annotations

from typing import Any

from ... import numpy as fnp
from ..activations import relu
from ..distances import cosine_similarity, pairwise_distance
from .reducing import counted, floats, range_checked, reduced, same_shape

__all__ = ["cosine", "hinge_embedding", "margin_ranking", "triplet"]

Value = Any


def cosine(
    x1: Any, x2: Any, targets: Any = None, *, margin: float = 0.0, axis: int = -1, epsilon: float = 1e-8, weights: Any = None,
    reduction: str = "mean",
) -> Value:  # fmt: skip
    """The mean of 1 - cos(x1, x2); of pairs that are unlike, of max(0, cos(x1, x2) - margin).

    Args:
        x1, x2: vectors along ``axis``, of equal shape.
        targets: 1 for pairs that are alike, -1 for those that are not; None means all alike.
        epsilon: least length that is divided by.
        weights, reduction: see ``fx.nn.losses``.

    >>> cosine(fnp.array([[1.0, 0.0]]), fnp.array([[1.0, 1.0]])).round(4)
    Array(0.2929, dtype=float32)
    """
    a, b = floats(x1, "x1 of cosine"), floats(x2, "x2 of cosine")
    same_shape("cosine", x1=a, x2=b)
    a, b = counted("cosine", weights, a, b, axes=(axis,))
    similarity = cosine_similarity(a, b, axis, epsilon)
    if targets is None:
        return reduced(1 - similarity, weights, reduction)
    t = floats(targets, "targets of cosine")
    same_shape("cosine", similarities=similarity, targets=t)
    range_checked("cosine", "targets", t, "1 or -1", lambda v: abs(v) != 1, weights)
    return reduced(fnp.where(t > 0, 1 - similarity, relu(similarity - margin)), weights, reduction)


def triplet(
    anchor: Any, positive: Any, negative: Any, *, margin: float = 1.0, p: float = 2.0, swap: bool = False, epsilon: float = 1e-6,
    weights: Any = None, reduction: str = "mean",
) -> Value:  # fmt: skip
    """The mean of max(0, d(anchor, positive) - d(anchor, negative) + margin).

    Args:
        anchor, positive, negative: vectors along the last axis, of equal shape.
        p: d(x, y) is the p-norm of x - y + epsilon, as in PyTorch; infinity for the greatest element.
        swap: take d(positive, negative) where it is less than d(anchor, negative).
        weights, reduction: see ``fx.nn.losses``.

    >>> triplet(fnp.array([[0.0, 0.0]]), fnp.array([[0.0, 1.0]]), fnp.array([[0.0, 1.5]])).round(4)
    Array(0.5, dtype=float32)

    Source: Balntas et al., "Learning local feature descriptors with triplets", 2016.
    """
    a, b, c = (
        floats(x, f"{n} of triplet") for x, n in ((anchor, "anchor"), (positive, "positive"), (negative, "negative"))
    )
    same_shape("triplet", anchor=a, positive=b, negative=c)
    a, b, c = counted("triplet", weights, a, b, c, axes=(-1,))
    distance = lambda x, y: pairwise_distance(x, y, p, epsilon)
    far = distance(a, c)
    far = fnp.minimum(far, distance(b, c)) if swap else far
    return reduced(relu(distance(a, b) - far + margin), weights, reduction)


def _with_signs(loss: str, targets: Any, weights: Any, **operands: Any) -> tuple[Value, ...]:
    """The operands, and targets that are 1 or -1, all of one shape."""
    values = {n: floats(x, f"{n} of {loss}") for n, x in operands.items()}
    t = floats(targets, f"targets of {loss}")
    same_shape(loss, **values, targets=t)
    range_checked(loss, "targets", t, "1 or -1", lambda v: abs(v) != 1, weights)
    return counted(loss, weights, *values.values(), t)


def hinge_embedding(
    distances: Any, targets: Any, *, margin: float = 1.0, weights: Any = None, reduction: str = "mean"
) -> Value:
    """The mean of d where the target is 1, and of max(0, margin - d) where it is -1: like things near, others apart.

    Args:
        distances: d, floats.
        targets: 1 for pairs that are alike, -1 for others; of their shape.
        weights, reduction: see ``fx.nn.losses``.

    >>> hinge_embedding(fnp.array([0.25, 0.25]), fnp.array([1, -1]), reduction="none")
    Array([0.25, 0.75], dtype=float32)
    """
    d, t = _with_signs("hinge_embedding", targets, weights, distances=distances)
    return reduced(fnp.where(t > 0, d, relu(margin - d)), weights, reduction)


def margin_ranking(
    x1: Any, x2: Any, targets: Any, *, margin: float = 0.0, weights: Any = None, reduction: str = "mean"
) -> Value:
    """The mean of max(0, margin - t (x1 - x2)): x1 is to be the greater where t is 1, x2 where it is -1.

    Args:
        x1, x2: scores, floats.
        targets: t, 1 or -1; all of one shape.
        weights, reduction: see ``fx.nn.losses``.

    >>> margin_ranking(fnp.array([2.0, 2.0]), fnp.array([1.0, 1.0]), fnp.array([1, -1]), reduction="none")
    Array([0., 1.], dtype=float32)
    """
    a, b, t = _with_signs("margin_ranking", targets, weights, x1=x1, x2=x2)
    return reduced(relu(margin - t * (a - b)), weights, reduction)
