"""Normalisations and reductions, 10^4 to 10^7 elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..libraries import numpy, torch, traced
from ..row import Goal, Row

_GOALS = (Goal(0.9),)
_SHAPES = ((100, 100), (128, 1000), (1000, 1000), (10000, 1000))
_EPS = 1e-5


def _softmax(xp: Any) -> Callable[..., Any]:
    def f(x: Any) -> Any:
        e = xp.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    return f


def _log_softmax(xp: Any) -> Callable[..., Any]:
    def f(x: Any) -> Any:
        x = x - x.max(axis=-1, keepdims=True)
        return x - xp.log(xp.exp(x).sum(axis=-1, keepdims=True))

    return f


def _logsumexp(xp: Any) -> Callable[..., Any]:
    def f(x: Any) -> Any:
        m = x.max(axis=-1, keepdims=True)
        return (m + xp.log(xp.exp(x - m).sum(axis=-1, keepdims=True)))[..., 0]

    return f


def _normalised(axis: int) -> Callable[[Any], Callable[..., Any]]:
    def write(xp: Any) -> Callable[..., Any]:
        def f(x: Any) -> Any:
            x = x - x.mean(axis=axis, keepdims=True)
            return x / xp.sqrt((x * x).mean(axis=axis, keepdims=True) + _EPS)

        return f

    return write


# name -> (as arrays, as PyTorch has it)
NORMS: dict[str, tuple[Callable[[Any], Callable[..., Any]], Callable[[Any], Callable[..., Any]]]] = {
    "softmax": (_softmax, lambda t: lambda x: t.softmax(x, -1)),
    "log_softmax": (_log_softmax, lambda t: lambda x: t.log_softmax(x, -1)),
    "layer norm": (_normalised(-1), lambda t: lambda x: t.nn.functional.layer_norm(x, x.shape[-1:])),
    "batch norm": (
        _normalised(0),
        lambda t: lambda x: t.nn.functional.batch_norm(x, None, None, training=True, eps=_EPS),
    ),
    "logsumexp": (_logsumexp, lambda t: lambda x: t.logsumexp(x, -1)),
    "var": (lambda xp: lambda x: xp.var(x, axis=-1), lambda t: lambda x: t.var(x, -1, correction=0)),
}


def norm(name: str, shape: tuple[int, int]) -> Row:
    arrays, in_torch = NORMS[name]
    out = 2.0 if name not in ("logsumexp", "var") else 1.0
    return Row(
        f"{name} {shape[0]}x{shape[1]}",
        lambda rng: {"x": rng.standard_normal(shape, dtype=np.float32)},
        traced(lambda lib: arrays(lib.numpy)) | numpy(arrays(np)) | torch(in_torch, compiled=True),
        goals=_GOALS,
        nbytes=4.0 * shape[0] * shape[1] * out,
    )


def reduction(name: str, axis: int | None, shape: tuple[int, int], compiled: bool) -> Row:
    def write(xp: Any) -> Callable[..., Any]:
        return lambda x: getattr(xp, name)(x, axis=axis)

    def in_torch(t: Any) -> Callable[..., Any]:
        f = getattr(t, {"max": "amax"}.get(name, name))
        return (lambda x: f(x)) if axis is None else (lambda x: f(x, dim=axis))

    along = "all" if axis is None else f"axis {axis}"
    return Row(
        f"{name} of {along}, {shape[0]}x{shape[1]}",
        lambda rng: {"x": rng.random(shape, dtype=np.float32)},
        traced(lambda lib: write(lib.numpy)) | numpy(write(np)) | torch(in_torch, compiled=compiled),
        goals=_GOALS,
        nbytes=4.0 * shape[0] * shape[1],
    )


ROWS = [
    *(norm(name, shape) for name in NORMS for shape in _SHAPES),
    *(
        reduction(name, axis, shape, compiled=shape == (1000, 1000))
        for name in ("sum", "max", "argmax")
        for axis in (None, 0, 1)
        for shape in _SHAPES
    ),
]
