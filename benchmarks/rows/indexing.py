"""Gathers, scatters, sorts, scans over an axis, one-hot vectors and random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..libraries import numpy, torch, traced
from ..row import Data, Goal, Prepared, Row, f32

_GOALS = (Goal(0.9),)
_N = 10**6
_WORDS, _WIDTH, _TOKENS = 10_000, 128, 8192


def _indices(rng: np.random.Generator, high: int, n: int) -> np.ndarray:
    return rng.integers(0, high, n).astype(np.int32)


def gather() -> Row:
    return Row(
        "gather 1e6 of 1e6",
        lambda rng: {"x": f32(rng, _N), "i": _indices(rng, _N, _N)},
        traced(lambda lib: lambda x, i: x[i])
        | numpy(lambda x, i: x[i])
        | torch(lambda t: lambda x, i: t.index_select(x, 0, i)),
        goals=_GOALS,
        nbytes=12.0 * _N,
    )


def lookup() -> Row:
    return Row(
        f"embedding, {_TOKENS} of {_WORDS}x{_WIDTH}",
        lambda rng: {"table": f32(rng, _WORDS, _WIDTH), "i": _indices(rng, _WORDS, _TOKENS)},
        traced(lambda lib: lambda table, i: table[i])
        | numpy(lambda table, i: table[i])
        | torch(lambda t: lambda table, i: t.nn.functional.embedding(i, table)),
        goals=_GOALS,
        nbytes=8.0 * _TOKENS * _WIDTH,
    )


def lookup_gradient(words: int, width: int, tokens: int) -> Row:
    def data(rng: np.random.Generator) -> Data:
        return {"table": f32(rng, words, width), "i": _indices(rng, words, tokens), "g": f32(rng, tokens, width)}

    return Row(
        f"embedding gradient, {tokens} of {words}x{width}",
        data,
        traced(lambda lib: lambda table, i, g: lib.vjp(lambda t: t[i], table)[1](g)[0])
        | torch(lambda t: lambda table, i, g: t.ops.aten.embedding_dense_backward(g, i, words, -1, False)),
        goals=_GOALS,
        nbytes=4.0 * (tokens + words) * width,
    )


def scatter_add(n: int, buckets: int) -> Row:
    def in_numpy(v: Any, i: Any) -> Any:
        out = np.zeros(buckets, np.float32)
        np.add.at(out, i, v)
        return out

    return Row(
        f"scatter-add {n} into {buckets}",
        lambda rng: {"v": f32(rng, n), "i": _indices(rng, buckets, n)},
        traced(lambda lib: lambda v, i: lib.numpy.zeros(buckets, np.float32).at[i].add(v))
        | numpy(in_numpy)
        | torch(lambda t: lambda v, i: t.zeros(buckets).index_add_(0, i, v)),
        goals=_GOALS,
        nbytes=8.0 * n,
    )


def _sorted_along(name: str, shape: tuple[int, ...], pick: Callable[[Any], Any]) -> Row:
    size = "x".join(map(str, shape)) if len(shape) > 1 else "1e6"
    return Row(
        f"{name} {size}",
        lambda rng: {"x": f32(rng, *shape)},
        traced(lambda lib: lambda x: getattr(lib.numpy, name)(x))
        | numpy(lambda x: getattr(np, name)(x))
        | torch(lambda t: lambda x: pick(t)(x)),
        goals=_GOALS,
        # which of two equal numbers comes first is each library's own
        compare="values" if name == "sort" else "nothing",
        nbytes=8.0 * float(np.prod(shape)),
    )


def top_k(shape: tuple[int, ...], k: int) -> Row:
    def in_numpy(x: Any) -> Any:
        part = np.partition(x, x.shape[-1] - k, axis=-1)[..., -k:]
        return np.sort(part, axis=-1)[..., ::-1]

    return Row(
        f"top_k {k} of {'x'.join(map(str, shape)) if len(shape) > 1 else '1e6'}",
        lambda rng: {"x": f32(rng, *shape)},
        traced(lambda lib: lambda x: lib.lax.top_k(x, k)[0])
        | numpy(in_numpy)
        | torch(lambda t: lambda x: t.topk(x, k)[0]),
        goals=_GOALS,
        nbytes=4.0 * float(np.prod(shape)),
    )


def cumsum(shape: tuple[int, ...], axis: int) -> Row:
    where = f"axis {axis} of 1000x1000" if len(shape) > 1 else "1e6"
    return Row(
        f"cumsum {where}",
        lambda rng: {"x": rng.random(shape, dtype=np.float32)},
        traced(lambda lib: lambda x: lib.numpy.cumsum(x, axis=axis))
        | numpy(lambda x: np.cumsum(x, axis=axis))
        | torch(lambda t: lambda x: t.cumsum(x, axis)),
        goals=_GOALS,
        nbytes=8.0 * float(np.prod(shape)),
    )


def one_hot(n: int, classes: int) -> Row:
    def in_numpy(i: Any) -> Any:
        out = np.zeros((n, classes), np.float32)
        out[np.arange(n), i] = 1
        return out

    def in_torch(t: Any) -> Callable[..., Any]:
        rows = t.arange(n)

        def f(i: Any) -> Any:
            out = t.zeros(n, classes)
            out[rows, i] = 1
            return out

        return f

    return Row(
        f"one-hot {n}x{classes}",
        lambda rng: {"i": _indices(rng, classes, n)},
        traced(lambda lib: lambda i: lib.nn.one_hot(i, classes)) | numpy(in_numpy) | torch(in_torch),
        goals=_GOALS,
        nbytes=4.0 * n * classes,
    )


def draws(name: str) -> Row:
    def in_numpy(data: Data) -> Prepared:
        rng = np.random.default_rng(0)
        f = rng.standard_normal if name == "normal" else rng.random
        return Prepared(lambda: f(_N, dtype=np.float32))

    return Row(
        f"random {name} 1e6",
        lambda rng: {"key": np.array([0, 7], np.uint32)},
        traced(lambda lib: lambda key: getattr(lib.random, name)(key, (_N,)))
        | {"numpy": in_numpy}
        | torch(lambda t: lambda key: (t.randn if name == "normal" else t.rand)(_N)),
        goals=_GOALS,
        compare="moments",
        tolerance=1e-2,
        nbytes=4.0 * _N,
    )


ROWS = [
    gather(), lookup(), lookup_gradient(_WORDS, _WIDTH, _TOKENS), scatter_add(_N, 1000), scatter_add(_N, _N),
    _sorted_along("sort", (_N,), lambda t: lambda x: t.sort(x)[0]),
    _sorted_along("sort", (1000, 1000), lambda t: lambda x: t.sort(x)[0]),
    _sorted_along("argsort", (_N,), lambda t: t.argsort),
    _sorted_along("argsort", (1000, 1000), lambda t: t.argsort),
    top_k((_N,), 10), top_k((1000, 1000), 10),
    cumsum((_N,), 0), cumsum((1000, 1000), 0), cumsum((1000, 1000), 1),
    one_hot(10_000, 100), one_hot(100_000, 10),
    draws("uniform"), draws("normal"),
]  # fmt: skip
