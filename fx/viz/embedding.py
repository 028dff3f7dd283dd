"""Points of many dimensions in two: principal components, t-SNE."""

from __future__ import annotations

from typing import Any

from .. import lax, random
from .. import numpy as fnp
from ..api import grad
from ..errors import ShapeError
from ..staging import jit

__all__ = ["pca", "tsne"]


def pca(x: Any, dimensions: int = 2) -> Any:
    """The coordinates along the directions in which the points vary most.

    Args:
        x: (points, features).
        dimensions: how many directions.

    Returns:
        (points, dimensions), of mean 0; each direction is turned so that its largest weight is positive.

    >>> fnp.abs(pca(fnp.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]), 1)).round(4).ravel()
    Array([1.4142, 0.    , 1.4142], dtype=float32)
    """
    x = fnp.asarray(x)
    if x.ndim != 2 or not 1 <= dimensions <= min(x.shape):
        raise ShapeError(
            f"pca takes (points, features) and at most min(points, features) dimensions; found {x.shape}, {dimensions}"
        )
    centred = x - fnp.mean(x, axis=0)
    _, _, directions = fnp.linalg.svd(centred, full_matrices=False)
    chosen = directions[:dimensions]
    largest = fnp.take_along_axis(chosen, fnp.argmax(fnp.abs(chosen), axis=1)[:, None], axis=1)
    return centred @ (chosen * fnp.sign(largest)).T


def neighbour_probabilities(x: Any, perplexity: float) -> Any:
    """The symmetric joint probabilities of t-SNE: p_ij = (p_j|i + p_i|j) / 2n, every row of p_j|i with one perplexity.

    The width of each Gaussian is found by bisection of its logarithm.
    """
    n = x.shape[0]
    squares = fnp.sum(x * x, axis=1)
    distances = fnp.maximum(squares[:, None] + squares - 2 * (x @ x.T), 0)
    others = ~fnp.eye(n, dtype=bool)
    distances = distances / fnp.mean(fnp.where(others, distances, 0))

    def conditional(log_precision: Any) -> Any:
        logits = fnp.where(others, -distances * fnp.exp(log_precision)[:, None], -fnp.inf)
        p = fnp.exp(logits - fnp.max(logits, axis=1, keepdims=True))
        return p / fnp.sum(p, axis=1, keepdims=True)

    def halve(_: Any, bounds: Any) -> Any:
        low, high = bounds
        middle = (low + high) / 2
        p = conditional(middle)
        entropy = -fnp.sum(p * fnp.log(fnp.maximum(p, 1e-37)), axis=1)
        wide = entropy > fnp.log(perplexity)
        return fnp.where(wide, middle, low), fnp.where(wide, high, middle)

    low, high = lax.fori_loop(0, 40, halve, (fnp.full(n, -15.0, x.dtype), fnp.full(n, 15.0, x.dtype)))
    p = conditional((low + high) / 2)
    return (p + p.T) / (2 * n)


def divergence(y: Any, p: Any, attraction: Any = 1.0) -> Any:
    """KL(P || Q) of an embedding, q_ij = w_ij / sum(w), w_ij = 1 / (1 + |y_i - y_j|^2)::

        sum p log p - attraction * sum p log w + log(sum(w)),          sum p = 1

    Args:
        attraction: 1 for the divergence; more pulls neighbours together.
    """
    squares = fnp.sum(y * y, axis=1)
    apart = fnp.maximum(squares[:, None] + squares - 2 * (y @ y.T), 0) * (1 - fnp.eye(len(y), dtype=y.dtype))
    entropy = fnp.sum(p * fnp.log(fnp.maximum(p, 1e-30)))
    return entropy + attraction * fnp.sum(p * fnp.log1p(apart)) + fnp.log(fnp.sum(1 / (1 + apart)) - len(y))


def tsne(x: Any, key: Any, *, perplexity: float = 30.0, steps: int = 500, learning_rate: float | None = None) -> Any:
    """t-SNE: points near each other stay neighbours; distances between groups mean little.

    Exact (all pairs), for up to a few thousand points; the whole descent is one compiled loop.

    Args:
        x: (points, features).
        key: a key of ``fx.random``: points start at their first two principal components, a little off each.
        perplexity: about how many neighbours each point has.
        steps: of gradient descent with momentum; in the first quarter the attraction is 12 times as strong.
        learning_rate: None is points / 12 (Belkina et al., 2019), at least 10: steps of 50 throw single points of a few dozen
            out of their groups.

    Returns:
        (points, 2).

    Source: van der Maaten, Hinton, "Visualizing data using t-SNE", 2008; the start: Kobak, Berens, "The art of using t-SNE for
    single-cell transcriptomics", 2019.

    >>> import numpy as np
    >>> tsne(np.eye(6, dtype=np.float32), random.key(0), perplexity=2, steps=20).shape
    (6, 2)
    """
    x = fnp.asarray(x)
    if x.ndim != 2 or not 1 <= perplexity < x.shape[0]:
        raise ShapeError(
            f"tsne takes (points, features) and a perplexity below the number of points; found {x.shape}, {perplexity}"
        )
    rate = max(x.shape[0] / 12, 10.0) if learning_rate is None else learning_rate

    def run(x: Any, key: Any) -> Any:
        p = neighbour_probabilities(x, perplexity)

        def step(i: Any, carry: Any) -> Any:
            y, velocity, gains = carry
            early = i < steps // 4
            gradient = grad(divergence)(y, p, fnp.where(early, 12.0, 1.0).astype(x.dtype))
            same = fnp.sign(gradient) == fnp.sign(velocity)
            gains = fnp.maximum(fnp.where(same, gains * 0.8, gains + 0.2), 0.01)
            velocity = fnp.where(early, 0.5, 0.8).astype(x.dtype) * velocity - rate * gains * gradient
            y = y + velocity
            return y - fnp.mean(y, axis=0), velocity, gains

        spread = pca(x, min(2, *x.shape))
        start = 1e-4 * spread / fnp.maximum(fnp.std(spread[:, 0]), 1e-30)
        start = fnp.pad(start, ((0, 0), (0, 2 - start.shape[1]))) + 1e-6 * random.normal(key, (x.shape[0], 2), x.dtype)
        return lax.fori_loop(0, steps, step, (start, fnp.zeros_like(start), fnp.ones_like(start)))[0]

    return jit(run)(x, key)
