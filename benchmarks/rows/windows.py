"""Pooling, forward and forward with gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..libraries import torch_layouts, traced
from ..row import Goal, Row, f32

_GOALS = (Goal(0.7),)


def _pool(lib: Any, kind: str, k: int, stride: int) -> Callable[[Any], Any]:
    window, strides = (1, k, k, 1), (1, stride, stride, 1)
    if kind == "max":
        return lambda x: lib.lax.reduce_window(x, -np.inf, lib.lax.max, window, strides, "VALID")
    return lambda x: lib.lax.reduce_window(x, 0.0, lib.lax.add, window, strides, "VALID") / (k * k)


def _forward(kind: str, k: int, stride: int) -> Callable[[Any], Callable[..., Any]]:
    return lambda lib: lambda x, g: _pool(lib, kind, k, stride)(x)


def _both(kind: str, k: int, stride: int) -> Callable[[Any], Callable[..., Any]]:
    def write(lib: Any) -> Callable[..., Any]:
        def f(x: Any, g: Any) -> Any:
            y, pull = lib.vjp(_pool(lib, kind, k, stride), x)
            return y, pull(g)[0]

        return f

    return write


def _in_torch(kind: str, k: int, stride: int, both: bool) -> Callable[[Any], Callable[..., Any]]:
    def write(t: Any) -> Callable[..., Any]:
        pool = t.nn.functional.max_pool2d if kind == "max" else t.nn.functional.avg_pool2d

        def f(x: Any, g: Any) -> Any:
            if not both:
                return pool(x, k, stride)
            x = x.detach().requires_grad_()
            y = pool(x, k, stride)
            return y, t.autograd.grad(y, x, g)[0]

        return f

    return write


def pooling(kind: str, batch: int, size: int, channels: int, k: int, stride: int, both: bool) -> Row:
    out = (size - k) // stride + 1
    shapes = {"x": (batch, size, size, channels), "g": (batch, out, out, channels)}
    count = sum(float(np.prod(s)) for s in shapes.values())
    return Row(
        f"{kind} pool {k}x{k} stride {stride} N{batch} C{channels} {size}^2{' and gradient' if both else ''}",
        lambda rng: {n: f32(rng, *s) for n, s in shapes.items()},
        traced((_both if both else _forward)(kind, k, stride))
        | torch_layouts(_in_torch(kind, k, stride, both), gradient=both),
        goals=_GOALS,
        nbytes=4.0 * count * (2 if both else 1),
    )


ROWS = [
    pooling(kind, *shape, both)
    for kind in ("max", "average")
    for shape in ((128, 26, 32, 2, 2), (8, 56, 64, 3, 2), (64, 24, 10, 2, 2))
    for both in (False, True)
]
