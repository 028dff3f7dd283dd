"""Matrix products: sizes, shapes, transposed operands, batches, and the epilogue of a dense layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..libraries import numpy, torch, traced
from ..row import Goal, Row

_PRODUCT, _LAYER = (Goal(1.0),), (Goal(0.9),)


def matmul(name: str, a: tuple[int, ...], b: tuple[int, ...], dtype: type = np.float32, form: str = "ab") -> Row:
    """``form``: "ab", "tb" (the first operand transposed), "at" (the second)."""
    shapes = (a[:-2] + (a[-1], a[-2]) if form == "tb" else a), (b[:-2] + (b[-1], b[-2]) if form == "at" else b)

    def f(a: Any, b: Any) -> Any:
        return (a.swapaxes(-1, -2) if form == "tb" else a) @ (b.swapaxes(-1, -2) if form == "at" else b)

    outer = int(np.prod(a[:-2], dtype=np.int64))
    size = np.dtype(dtype).itemsize
    return Row(
        f"matmul {name} f{8 * size}",
        lambda rng: {k: rng.standard_normal(s).astype(dtype) for k, s in zip("ab", shapes)},
        traced(lambda lib: f) | numpy(f) | torch(lambda t: f),
        goals=_PRODUCT,
        flops=2.0 * outer * a[-2] * a[-1] * b[-1],
        nbytes=size * outer * (a[-2] * a[-1] + b[-2] * b[-1] + a[-2] * b[-1]),
    )


def square(n: int, dtype: type = np.float32) -> Row:
    return matmul(str(n), (n, n), (n, n), dtype)


def shaped(m: int, k: int, n: int, dtype: type = np.float32, form: str = "ab") -> Row:
    left, right = ("a.T" if form == "tb" else "a"), ("b.T" if form == "at" else "b")
    mark = "" if form == "ab" else f" {left} @ {right}"
    return matmul(f"{m}x{k} by {k}x{n}{mark}", (m, k), (k, n), dtype, form)


def batched(batch: int, n: int) -> Row:
    return matmul(f"{batch} of {n}x{n}", (batch, n, n), (batch, n, n))


def dense(batch: int, inputs: int, outputs: int, activation: str) -> Row:
    """``activation(x @ w + b)``."""

    def layer(xp: Any) -> Callable[..., Any]:
        act = (lambda z: xp.maximum(z, np.float32(0))) if activation == "relu" else xp.tanh
        return lambda x, w, b: act(x @ w + b)

    def in_torch(t: Any) -> Callable[..., Any]:
        act = t.relu if activation == "relu" else t.tanh
        return lambda x, w, b: act(t.addmm(b, x, w))

    return Row(
        f"{activation}(x @ w + b) {batch}x{inputs} by {inputs}x{outputs}",
        lambda rng: {
            "x": rng.standard_normal((batch, inputs), dtype=np.float32),
            "w": rng.standard_normal((inputs, outputs), dtype=np.float32),
            "b": rng.standard_normal(outputs, dtype=np.float32),
        },
        traced(lambda lib: layer(lib.numpy)) | numpy(layer(np)) | torch(in_torch, compiled=True),
        goals=_LAYER,
        flops=2.0 * batch * inputs * outputs,
        nbytes=4.0 * (batch * inputs + inputs * outputs + batch * outputs),
    )


ROWS = [
    *(square(2**k, t) for t in (np.float32, np.float64) for k in range(4, 12)),
    shaped(8192, 64, 64), shaped(64, 64, 8192), shaped(64, 8192, 64), shaped(100000, 10, 10), shaped(10, 100000, 10),
    shaped(1, 1024, 1024), shaped(1024, 1024, 1),
    shaped(4096, 64, 64, np.float64), shaped(64, 4096, 64, np.float64),
    *(shaped(n, n, n, form=form) for form in ("tb", "at") for n in (64, 256, 1024)),
    batched(256, 16), batched(64, 64), batched(8, 256),
    *(dense(batch, n, n, act) for act in ("relu", "tanh") for batch, n in ((32, 128), (128, 512), (1024, 1024))),
]  # fmt: skip
