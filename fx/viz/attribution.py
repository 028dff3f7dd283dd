"""Which inputs an output came from: gradients, their integrals, class activation maps, occlusion, permutation.

``forward`` takes a batch and returns (batch, outputs), or (batch,) for a model with one output; ``target`` says which
output is explained: a number, one for each example, or None for the greatest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import image, lax, random
from .. import numpy as fnp
from ..api import grad
from ..errors import ShapeError
from ..staging import jit

__all__ = ["grad_cam", "integrated_gradients", "occlusion", "permutation_importance", "saliency"]

Forward = Callable[[Any], Any]


def _scorer(forward: Forward, x: Any, target: Any) -> Callable[[Any], Any]:
    """``score(x) -> (batch,)``: the output that is explained, for every example.  ``None`` is decided at ``x``, once."""
    outputs = forward(x)
    n = len(x)
    if outputs.ndim == 1:
        return forward
    if outputs.ndim != 2 or len(outputs) != n:
        raise ShapeError(
            f"forward takes a batch to outputs of shape (batch, outputs) or (batch,); for {x.shape} it gave {outputs.shape}."
            " Sum or choose what else there is, inside of forward."
        )
    if target is not None and ((np.asarray(target) >= outputs.shape[1]) | (np.asarray(target) < 0)).any():
        raise ShapeError(f"target {target} is no output: there are {outputs.shape[1]}, counted from 0")
    chosen = fnp.argmax(outputs, axis=1) if target is None else fnp.broadcast_to(fnp.asarray(target), (n,))
    return lambda x: fnp.take_along_axis(forward(x), chosen[:, None], axis=1)[:, 0]


def saliency(forward: Forward, x: Any, target: Any = None) -> Any:
    """The size of the derivative of the output with respect to every input: |d f_target / d x|.

    Args:
        forward: (batch, ...) -> (batch, outputs).
        x: (batch, ...), floats.
        target: which output; see the module.

    Returns:
        The shape of ``x``.

    Source: Simonyan, Vedaldi, Zisserman, "Deep inside convolutional networks", 2014.

    >>> saliency(lambda x: x @ fnp.array([[1.0, -3.0], [2.0, 0.0]]), fnp.ones((1, 2)), target=1)
    Array([[3., 0.]], dtype=float32)
    """
    x = fnp.asarray(x)
    score = _scorer(forward, x, target)
    return fnp.abs(jit(grad(lambda x: fnp.sum(score(x))))(x))


def integrated_gradients(forward: Forward, x: Any, target: Any = None, *, baseline: Any = 0.0, steps: int = 32) -> Any:
    """The difference of the output to that at a baseline, shared out among the inputs::

        a = (x - b) * integral_0^1 (d f_target / d x)(b + t (x - b)) dt,       sum(a) = f(x) - f(b)

    The integral is taken by Gauss's rule, exact where the gradient along the line is a polynomial of degree below 2 steps.

    Args:
        forward, target: see the module.
        x: (batch, ...), floats.
        baseline: an input that means nothing (black, silence, the mean), broadcast to ``x``.
        steps: points of the rule.

    Returns:
        The shape of ``x``; the sum over an example is the difference of its outputs.

    Source: Sundararajan, Taly, Yan, "Axiomatic attribution for deep networks", 2017.

    >>> integrated_gradients(lambda x: x[:, 0] * x[:, 1], fnp.array([[2.0, 3.0]])).round(4)
    Array([[3., 3.]], dtype=float32)
    """
    x = fnp.asarray(x)
    start = fnp.broadcast_to(fnp.asarray(baseline, x.dtype), x.shape)
    score = _scorer(forward, x, target)
    nodes, weights = np.polynomial.legendre.leggauss(steps)

    def run(x: Any, start: Any, nodes: Any, weights: Any) -> Any:
        def add(total: Any, at: Any) -> Any:
            t, weight = at
            return total + weight * grad(lambda x: fnp.sum(score(x)))(start + t * (x - start)), None

        return (x - start) * lax.scan(add, fnp.zeros_like(x), (nodes, weights))[0]

    return jit(run)(x, start, ((nodes + 1) / 2).astype(x.dtype), (weights / 2).astype(x.dtype))


def grad_cam(
    features: Forward, head: Forward, x: Any, target: Any = None, *, size: tuple[int, int] | None = None
) -> Any:
    """Where the features stand that speak for the output: relu(sum_c w_c A_c), w_c the mean derivative of channel c.

    Args:
        features: (batch, height, width, channels) -> (batch, h, w, c): the network up to its last convolution.
        head: (batch, h, w, c) -> (batch, outputs): the rest.
        x: images.
        target: see the module.
        size: (height, width) of the result; None for that of ``x``.

    Returns:
        (batch, height, width), at least 0.

    Source: Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017.

    >>> grad_cam(lambda x: x, lambda a: fnp.mean(a, (1, 2)), fnp.ones((1, 2, 2, 3))).shape
    (1, 2, 2)
    """
    x = fnp.asarray(x)
    maps = features(x)
    if maps.ndim != 4:
        raise ShapeError(f"grad_cam takes features of shape (batch, height, width, channels); found {maps.shape}")
    score = _scorer(head, maps, target)

    def run(maps: Any) -> Any:
        weights = fnp.mean(grad(lambda a: fnp.sum(score(a)))(maps), axis=(1, 2), keepdims=True)
        return fnp.maximum(fnp.sum(weights * maps, axis=3), 0)

    found = jit(run)(maps)
    height, width = x.shape[1:3] if size is None else size
    return image.resize(found, (len(x), height, width), "linear")


def occlusion(
    forward: Forward, x: Any, target: Any = None, *, window: int = 4, stride: int = 2, value: float = 0.0
) -> Any:
    """How much the output falls when a square of the image is painted over.

    Args:
        forward, target: see the module.
        x: (batch, height, width, channels).
        window: side of the square, in pixels.
        stride: distance between squares.
        value: what it is painted with.

    Returns:
        (batch, rows, columns): f(x) - f(x painted over), for every place of the square.

    Source: Zeiler, Fergus, "Visualizing and understanding convolutional networks", 2014.

    >>> occlusion(lambda x: x.sum((1, 2, 3)), fnp.ones((1, 4, 4, 1)), window=2)
    Array([[[4., 4.],
            [4., 4.]]], dtype=float32)
    """
    x = fnp.asarray(x)
    if x.ndim != 4 or min(x.shape[1:3]) < window:
        raise ShapeError(
            f"occlusion takes images (batch, height, width, channels) no smaller than window={window}; found {x.shape}"
        )
    score = _scorer(forward, x, target)
    rows, columns = (np.arange(0, n - window + 1, stride) for n in x.shape[1:3])
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)

    def run(x: Any, places: Any) -> Any:
        down, across = fnp.arange(x.shape[1])[:, None, None], fnp.arange(x.shape[2])[:, None]

        def drop(place: Any) -> Any:
            inside = (
                (down >= place[0]) & (down < place[0] + window) & (across >= place[1]) & (across < place[1] + window)
            )
            return whole - score(fnp.where(inside, fnp.asarray(value, x.dtype), x))

        whole = score(x)
        return lax.map(drop, places)

    return jit(run)(x, places).T.reshape(len(x), len(rows), len(columns))


def permutation_importance(score: Callable[[Any], Any], x: Any, key: Any, *, repeats: int = 5) -> Any:
    """How much a score falls when the values of one column change places among the examples.

    Args:
        score: (examples, columns) -> scalar, higher is better: accuracy, R2, minus the loss.
        x: (examples, columns), or (examples, columns, ...).
        key: a key of ``fx.random``.
        repeats: permutations of each column.

    Returns:
        (columns, repeats): the falls; their mean is the importance of a column.

    Source: Breiman, "Random forests", 2001.

    >>> x = fnp.arange(8.0).reshape(4, 2)
    >>> permutation_importance(lambda x: -fnp.sum((x[:, 0] - fnp.arange(0.0, 8, 2)) ** 2), x, random.key(0)).min(1) >= 0
    Array([ True,  True], dtype=bool)
    """
    x = fnp.asarray(x)
    if x.ndim < 2:
        raise ShapeError(f"permutation_importance takes (examples, columns); found {x.shape}")

    def run(x: Any, keys: Any) -> Any:
        whole = score(x)

        def fall(at: Any) -> Any:
            column, key = at
            changed = random.permutation(key, fnp.take(x, column, axis=1))
            return whole - score(fnp.where(_column(x, column), fnp.expand_dims(changed, 1), x))

        return lax.map(fall, (fnp.repeat(fnp.arange(x.shape[1]), repeats), keys))

    return jit(run)(x, random.split(key, x.shape[1] * repeats)).reshape(x.shape[1], repeats)


def _column(x: Any, column: Any) -> Any:
    """Whether an element stands in the column, broadcast against ``x``."""
    return fnp.expand_dims(fnp.arange(x.shape[1]) == column, (0, *range(2, x.ndim)))
