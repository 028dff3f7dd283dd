"""Loops: scan and its gradient, while_loop, fori_loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..libraries import traced
from ..row import Data, Goal, Row, f32


def _loop(name: str, write: Callable[[Any], Callable[..., Any]], data: Callable[[np.random.Generator], Data]) -> Row:
    return Row(name, data, traced(write), goals=(Goal(1.0),), scales=False)


def _number(rng: np.random.Generator) -> Data:
    return {"x": np.ones((), np.float32)}


def tiny_scan(steps: int) -> Row:
    def write(lib: Any) -> Callable[..., Any]:
        return lambda x: lib.lax.scan(lambda c, _: (c * 0.99 + 1.0, c), x, None, length=steps)

    return _loop(f"scan of a tiny body, {steps} steps", write, _number)


def tiny_scan_gradient(steps: int) -> Row:
    def write(lib: Any) -> Callable[..., Any]:
        def total(x: Any) -> Any:
            c, ys = lib.lax.scan(lambda c, _: (lib.numpy.sin(c) + 0.1, c), x, None, length=steps)
            return c + lib.numpy.sum(ys)

        return lambda x: lib.grad(total)(x)

    return _loop(f"gradient of a tiny scan, {steps} steps", write, _number)


def recurrence(steps: int, gradient: bool = False) -> Row:
    def write(lib: Any) -> Callable[..., Any]:
        def last(c: Any, w: Any) -> Any:
            return lib.lax.scan(lambda c, _: (lib.numpy.tanh(c @ w), None), c, None, length=steps)[0]

        return lib.grad(lambda c, w: lib.numpy.sum(last(c, w)), argnums=(0, 1)) if gradient else last

    return _loop(
        f"{'gradient of ' * gradient}tanh(c @ w), 8x32 by 32x32, {steps} steps",
        write,
        lambda rng: {"c": f32(rng, 8, 32), "w": f32(rng, 32, 32) / 6},
    )


def while_loop(steps: int) -> Row:
    def write(lib: Any) -> Callable[..., Any]:
        return lambda x: lib.lax.while_loop(
            lambda s: s[0] < steps, lambda s: (s[0] + 1, s[1] * 0.99 + 1), (0, x)
        )  # fmt: skip

    return _loop(f"while_loop, {steps} iterations", write, _number)


def fori_loop(steps: int) -> Row:
    def write(lib: Any) -> Callable[..., Any]:
        return lambda x: lib.lax.fori_loop(0, steps, lambda i, v: v * 0.99 + i, x)

    return _loop(f"fori_loop, {steps} iterations", write, _number)


ROWS = [
    tiny_scan(1000),
    tiny_scan_gradient(1000),
    recurrence(200),
    recurrence(200, gradient=True),
    while_loop(1000),
    fori_loop(1000),
]
