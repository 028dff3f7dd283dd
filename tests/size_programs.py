"""Random programs over sizes: straight lines of operations that compute with the lengths of their arrays.

A program is drawn once and runs at every length: which operations it holds depends on nothing but the draw, what they do with
lengths (bounds of slices, quotients, branches, loops in Python) is part of the program.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import fx
import fx.numpy as fnp
from fx import lax

__all__ = ["OPERATIONS", "Program", "draw_lengths", "draw_program"]

MOST = 60_000  # elements of a value; larger ones are cut, which is a decision by their size
Operation = Callable[[Any, Any, int], Any]  # of two values (the second may be ignored) and a small number
OPERATIONS: dict[str, Operation] = {}

_RNG = np.random.default_rng(5)
_W = _RNG.standard_normal((64, 6))
_K = _RNG.standard_normal((3, 3, 1, 2))


def _operation(f: Operation) -> Operation:
    OPERATIONS[f.__name__.lstrip("_")] = f
    return f


def _fit(x: Any) -> Any:
    """As it is, or a part of it that is not large."""
    while x.size > MOST:
        x = x[: max(x.shape[0] // 3, 1)] if x.shape[0] > 2 else x[..., : max(x.shape[-1] // 3, 1)]
    return x


def _vector(x: Any) -> Any:
    return x.reshape(-1)


def _matrix(x: Any) -> Any:
    """Two axes, the first as it is."""
    return x.reshape(x.shape[0], -1) if x.ndim > 1 else x[:, None] * np.asarray([1.0, -0.5, 2.0], x.dtype)


def _short(x: Any) -> Any:
    """At most forty rows: for what is quadratic, or goes on for one row after another."""
    return x[: min(x.shape[0], 40)]


# ------------------------------------------------------------------------------ parts and joints


@_operation
def _part(x: Any, y: Any, k: int) -> Any:
    n = x.shape[0]
    return x[n // (k + 2) : n - n // (k + 3)]


@_operation
def _ends(x: Any, y: Any, k: int) -> Any:
    return x[: min(k + 1, x.shape[0])], x[-(k + 1) :], x[k:], x[:-k] if k else x


@_operation
def _strided(x: Any, y: Any, k: int) -> Any:
    return x[:: k + 1], x[:: -(k + 1)], x[x.shape[0] // 2 :: 2]


@_operation
def _middle(x: Any, y: Any, k: int) -> Any:
    return x[x.shape[0] // 2] if x.shape[0] else x.sum(0)


@_operation
def _halves(x: Any, y: Any, k: int) -> Any:
    n = x.shape[0]
    return x.reshape(2, n // 2, -1).sum(-1) if n % 2 == 0 and n else x + 1


@_operation
def _folded(x: Any, y: Any, k: int) -> Any:
    v = _vector(x)
    m = v.shape[0] // (k + 1)
    return v[: m * (k + 1)].reshape(-1, k + 1) if m else v


@_operation
def _columns(x: Any, y: Any, k: int) -> Any:
    v = _vector(x)
    n = v.shape[0]
    return v.reshape(-1, max(n // 2, 1)) if n % max(n // 2, 1) == 0 else v[: n - 1].reshape(-1, n // 2)


@_operation
def _padded(x: Any, y: Any, k: int) -> Any:
    return fnp.pad(
        x,
        [(k, x.shape[0] % 3)] + [(0, 0)] * (x.ndim - 1),
        mode=("constant", "constant", "edge")[k % 3] if x.shape[0] else "constant",
    )


@_operation
def _joined(x: Any, y: Any, k: int) -> Any:
    return fnp.concatenate([_vector(x), _vector(y)[:5], _vector(x)[::-1]])


@_operation
def _joined_rows(x: Any, y: Any, k: int) -> Any:
    m = _matrix(x)
    return fnp.concatenate([m, m[: m.shape[0] // 2] * 2, -m], axis=0)


@_operation
def _rolled(x: Any, y: Any, k: int) -> Any:
    return fnp.roll(x, k - 1, 0) + x[::-1]


@_operation
def _repeated(x: Any, y: Any, k: int) -> Any:
    return fnp.repeat(x, k + 1, axis=0), fnp.tile(_vector(x), 2)


@_operation
def _turned(x: Any, y: Any, k: int) -> Any:
    return fnp.moveaxis(x, 0, -1) * 2 if x.ndim > 1 else x[None, :]


@_operation
def _flat(x: Any, y: Any, k: int) -> Any:
    return _vector(fnp.swapaxes(x, 0, -1))


@_operation
def _split(x: Any, y: Any, k: int) -> Any:
    return fnp.array_split(x, k + 1, axis=0)[k // 2]


# ------------------------------------------------------------------------------ sizes as numbers


@_operation
def _counted(x: Any, y: Any, k: int) -> Any:
    n = x.shape[0]
    return x * fnp.arange(n, dtype=x.dtype).reshape((n,) + (1,) * (x.ndim - 1)) / (n + 1)


@_operation
def _spaced(x: Any, y: Any, k: int) -> Any:
    return x + fnp.linspace(-1, 1, x.shape[-1]).astype(x.dtype)


@_operation
def _number(x: Any, y: Any, k: int) -> Any:
    n = x.shape[0]
    return x * (n // 3) - n / 7 + n**0.5 + min(n, 8)


@_operation
def _mean(x: Any, y: Any, k: int) -> Any:
    return x - x.sum(0) / max(x.shape[0], 1), x.sum() / x.size if x.size else x


@_operation
def _even(x: Any, y: Any, k: int) -> Any:
    return x * 2 if x.shape[0] % (k + 2) == 0 else x[1:]


@_operation
def _threshold(x: Any, y: Any, k: int) -> Any:
    return fnp.sin(x) if x.shape[0] > 7 * (k + 1) else fnp.cos(x)


@_operation
def _a_few(x: Any, y: Any, k: int) -> Any:
    total = x.sum(0)
    for i in range(min(x.shape[0], 4)):
        total = total + x[i] * i
    return total


@_operation
def _limited(x: Any, y: Any, k: int) -> Any:
    return fnp.clip(x, -x.shape[0] / 4, x.shape[0] // 2), fnp.minimum(x, x.shape[0])


@_operation
def _below(x: Any, y: Any, k: int) -> Any:
    return fnp.where(x * 10 < x.shape[0], x, x.shape[0])


@_operation
def _filled(x: Any, y: Any, k: int) -> Any:
    return fnp.full_like(x, x.shape[0]) + fnp.full((x.shape[0],), 0.5, x.dtype).sum(), fnp.eye(min(x.shape[0], 50)) * 2


@_operation
def _lengths_in_an_array(x: Any, y: Any, k: int) -> Any:
    return fnp.array([x.shape[0], y.shape[0], 3.0]), fnp.asarray(x.shape[0], np.float32)


@_operation
def _same_length(x: Any, y: Any, k: int) -> Any:
    a, b = _vector(x), _vector(y)
    return a * b if a.shape == b.shape else a[: min(a.shape[0], b.shape[0])] - b[: min(a.shape[0], b.shape[0])]


@_operation
def _longer(x: Any, y: Any, k: int) -> Any:
    return x * 3 if x.shape[0] > y.shape[0] else x - y.shape[0]


@_operation
def _as_list(x: Any, y: Any, k: int) -> Any:
    return sum((row for row in _short(x)), x.sum(0) * 0)


# ------------------------------------------------------------------------------ arithmetic and reductions


@_operation
def _wave(x: Any, y: Any, k: int) -> Any:
    return fnp.sin(x) * 2 + fnp.tanh(x * x) - x / (1 + abs(x))


@_operation
def _outer(x: Any, y: Any, k: int) -> Any:
    return _vector(x)[: 200 + k, None] * _vector(y)[None, :90]


@_operation
def _sums(x: Any, y: Any, k: int) -> Any:
    return x.sum(0), x.sum(-1), x.sum()


@_operation
def _extremes(x: Any, y: Any, k: int) -> Any:
    return (x.max(0), x.min(-1), x.argmax(0)) if x.size else x


@_operation
def _spread(x: Any, y: Any, k: int) -> Any:
    return (x - x.mean(0)) / (1 + x.std(0)) if x.shape[0] else x


@_operation
def _products(x: Any, y: Any, k: int) -> Any:
    return fnp.prod(fnp.tanh(x), axis=0), fnp.any(x > 0, axis=0), fnp.all(x > -1, axis=-1)


@_operation
def _scanned_sums(x: Any, y: Any, k: int) -> Any:
    return fnp.cumsum(x, 0), fnp.cumprod(fnp.tanh(x), -1), lax.cummax(x, axis=0)


@_operation
def _smooth(x: Any, y: Any, k: int) -> Any:
    return fx.nn.softmax(x, axis=0) if x.shape[0] else x, fnp.linalg.norm(x)


@_operation
def _quantiles(x: Any, y: Any, k: int) -> Any:
    return (fnp.median(x, axis=0), fnp.quantile(x, 0.3, axis=0)) if x.shape[0] else x


# ------------------------------------------------------------------------------ indexing and sorting


@_operation
def _sorted(x: Any, y: Any, k: int) -> Any:
    return fnp.sort(x, axis=0), fnp.argsort(x, axis=-1), fnp.sort(_vector(x))[::-1]


@_operation
def _gathered(x: Any, y: Any, k: int) -> Any:
    return x[fnp.clip(fnp.arange(5) * (k + 1), 0, x.shape[0] - 1)] if x.shape[0] else x


@_operation
def _taken(x: Any, y: Any, k: int) -> Any:
    return fnp.take(x, np.asarray([0, 3, -1, 7 * k]), axis=0, mode=("clip", "wrap")[k % 2]) if x.shape[0] else x


@_operation
def _mixed_up(x: Any, y: Any, k: int) -> Any:
    return x[fnp.argsort(_vector(x).reshape(x.shape)[(slice(None),) + (0,) * (x.ndim - 1)])] if x.size else x


@_operation
def _scattered(x: Any, y: Any, k: int) -> Any:
    n = x.shape[0]
    i = fnp.arange(n) * (k + 1) % max(n // 2, 1)
    return fnp.zeros((max(n // 2, 1), *x.shape[1:]), x.dtype).at[i].add(x)


@_operation
def _written(x: Any, y: Any, k: int) -> Any:
    return x.at[: x.shape[0] // 2].set(0).at[-1:].multiply(3)


@_operation
def _moved_window(x: Any, y: Any, k: int) -> Any:
    v = _vector(x)
    m = (v.shape[0] + 1) // 2
    at = fnp.argmax(v) % (k + 2) if v.shape[0] else 0
    return lax.dynamic_slice(v, (at,), (m,)), lax.dynamic_update_slice(v, v[:m] * 2, (at,))


@_operation
def _found(x: Any, y: Any, k: int) -> Any:
    return fnp.searchsorted(fnp.sort(_vector(x)), _vector(y)[:20])


@_operation
def _segments(x: Any, y: Any, k: int) -> Any:
    return fx.ops.segment_sum(x, fnp.arange(x.shape[0]) % (k + 2), num_segments=k + 2)


@_operation
def _one_hot(x: Any, y: Any, k: int) -> Any:
    n = min(x.shape[0], 30)
    return fx.nn.one_hot(fnp.arange(n) % 7, n) + fnp.tril(fnp.ones((n, n)), k - 1)


# ------------------------------------------------------------------------------ products and windows


@_operation
def _squared(x: Any, y: Any, k: int) -> Any:
    m = _matrix(x)
    return m.T @ m


@_operation
def _gram(x: Any, y: Any, k: int) -> Any:
    m = _matrix(x)[:150]
    return m @ m.T


@_operation
def _projected(x: Any, y: Any, k: int) -> Any:
    m = _matrix(x)[:, :64]
    return fx.nn.relu(m @ _W[: m.shape[1]].astype(x.dtype) + 1)


@_operation
def _einsum(x: Any, y: Any, k: int) -> Any:
    m = _matrix(x)
    return fnp.einsum("ij,ij->i", m, m), fnp.einsum("ij,ik->jk", m[:, :9], m[:, :5])


@_operation
def _convolved(x: Any, y: Any, k: int) -> Any:
    v = _vector(x)
    return (
        fnp.convolve(v, np.asarray([1.0, -2.0, 0.5][: k + 1], x.dtype), mode=("full", "same", "valid")[k % 3])
        if v.shape[0] > 3
        else v
    )


@_operation
def _image(x: Any, y: Any, k: int) -> Any:
    m = _matrix(x)[:40, :40]
    if min(m.shape) < 4:
        return m
    z = lax.conv_general_dilated(
        m[None, :, :, None],
        _K.astype(m.dtype),
        (1 + k % 2, 1),
        ("SAME", "VALID")[k // 2 % 2],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return z[0].sum(-1)


@_operation
def _pooled(x: Any, y: Any, k: int) -> Any:
    v = _vector(x)
    return lax.reduce_window(v, -np.inf, lax.max, (2,), (2,), ("VALID", "SAME")[k % 2]) if v.shape[0] > 1 else v


@_operation
def _transformed(x: Any, y: Any, k: int) -> Any:
    v = _vector(x)[:300]
    return fnp.fft.rfft(v).real if v.shape[0] else v


@_operation
def _solved(x: Any, y: Any, k: int) -> Any:
    m = _matrix(x)[:, :4]
    a = m.T @ m + (m.shape[0] + 1) * fnp.eye(m.shape[1], dtype=m.dtype)
    return fnp.linalg.solve(a, m.sum(0))


# ------------------------------------------------------------------------------ control flow


@_operation
def _scan(x: Any, y: Any, k: int) -> Any:
    carry, out = lax.scan(lambda c, r: (fnp.tanh(c + r), c * r), x.sum(0) * 0, x)
    return carry, out


@_operation
def _fori(x: Any, y: Any, k: int) -> Any:
    return lax.fori_loop(0, x.shape[0] // 2, lambda i, c: c * 0.5 + x[i].sum(), fnp.zeros((), x.dtype))


@_operation
def _fixed_loop(x: Any, y: Any, k: int) -> Any:
    return lax.fori_loop(0, 5 + k, lambda i, c: fnp.sin(c) + i, x)


@_operation
def _while(x: Any, y: Any, k: int) -> Any:
    return lax.while_loop(lambda c: c[0] < x.shape[0] % 5 + 1, lambda c: (c[0] + 1, c[1] * 0.5 + 1), (0, x))[1]


@_operation
def _cond(x: Any, y: Any, k: int) -> Any:
    return lax.cond(x.sum() > k - 1, lambda v: v * 2, lambda v: v - v.shape[0], x)


@_operation
def _map(x: Any, y: Any, k: int) -> Any:
    return lax.map(lambda r: fnp.sum(r) * r, _short(x))


@_operation
def _associative(x: Any, y: Any, k: int) -> Any:
    return lax.associative_scan(lambda a, b: a * 0.9 + b, x[:50], axis=0) if x.shape[0] else x


# ------------------------------------------------------------------------------ transforms


def _loss(v: Any) -> Any:
    return fnp.sum(fnp.tanh(v) * v) / max(v.size, 1) + fnp.sum(fnp.cumsum(v, 0)[::2])


@_operation
def _gradient(x: Any, y: Any, k: int) -> Any:
    return fx.grad(_loss)(x)


@_operation
def _hessian_product(x: Any, y: Any, k: int) -> Any:
    return fx.jvp(fx.grad(_loss), (x,), (fnp.ones_like(x),))[1]


@_operation
def _checkpointed(x: Any, y: Any, k: int) -> Any:
    return fx.grad(fx.checkpoint(_loss))(x)


@_operation
def _batched(x: Any, y: Any, k: int) -> Any:
    return fx.vmap(lambda r: fnp.sort(r.reshape(-1))[: k + 1] * r.size)(_matrix(x))


_inner = fx.jit(lambda v: fnp.cos(v) * v.shape[0] + v.sum())


@_operation
def _nested(x: Any, y: Any, k: int) -> Any:
    return _inner(x) + fx.jit(lambda v: v * (v.shape[0] // 2))(x)


@_operation
def _gradient_of_a_scan(x: Any, y: Any, k: int) -> Any:
    return fx.grad(lambda v: fnp.sum(lax.scan(lambda c, r: (fnp.sin(c) + r, None), v.sum(0), v)[0]))(_short(x))


@_operation
def _random(x: Any, y: Any, k: int) -> Any:
    return x + fx.random.uniform(fx.random.fold_in(fx.random.key(0), k), x.shape, x.dtype)


@_operation
def _rounded(x: Any, y: Any, k: int) -> Any:
    return fnp.round(x * 4).astype(np.int32) % 7


@_operation
def _numpy(x: Any, y: Any, k: int) -> Any:
    return np.mean(np.exp(-(x**2)), axis=0) + math.prod(x.shape) / 100 if x.shape[0] else x


# ------------------------------------------------------------------------------ programs


@dataclass(frozen=True)
class Program:
    """lines: (operation, which value, which other, a small number).  axes: of each argument, numbers of variables or lengths
    ("3" for a length of three).  donate: whether the first argument is given away."""

    lines: tuple[tuple[str, int, int, int], ...]
    axes: tuple[tuple[int | str, ...], ...]
    dtype: str
    donate: bool

    def __call__(self, *args: Any) -> list[Any]:
        values = [_fit(a) for a in args]
        for name, i, j, k in self.lines:
            x, y = values[i % len(values)], values[j % len(values)]
            out = OPERATIONS[name](x, y, k)
            for o in out if isinstance(out, tuple) else (out,):
                o = o if o.ndim else o[None]
                values.append(_fit(o.astype(self.dtype)))
        return values[len(args) :]

    def arguments(self, lengths: Sequence[int], seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        most = [270 if sum(isinstance(a, int) for a in axes) > 1 else MOST for axes in self.axes]
        shapes = [
            [min(lengths[a], m) if isinstance(a, int) else int(a) for a in axes] for axes, m in zip(self.axes, most)
        ]
        return [rng.standard_normal(s).astype(self.dtype) for s in shapes]


_AXES: tuple[tuple[tuple[int | str, ...], ...], ...] = (
    ((0,), (1,)), ((0, "3"), (0,)), ((0, 1), (1,)), ((0, "4"), (1, "4")), ((0,), (1,), (2,)), ((0, 0), (1,)), (("2", 0), (0, "1")), ((0, 1, "2"),),
)  # fmt: skip


def draw_program(rng: np.random.Generator, most_lines: int = 6) -> Program:
    names = list(OPERATIONS)
    lines = tuple([
        (names[rng.integers(len(names))], int(rng.integers(50)), int(rng.integers(50)), int(rng.integers(4)))
        for _ in range(rng.integers(1, most_lines + 1))
    ])  # fmt: skip
    return Program(
        lines, _AXES[rng.integers(len(_AXES))], ("float32", "float64")[rng.integers(2)], bool(rng.random() < 0.2)
    )


_SMALL = (0, 1, 2, 3, 4, 5, 6, 7, 8)
_USUAL = (9, 10, 12, 15, 16, 17, 20, 31, 32, 33, 48, 63, 64, 65, 100)
_LARGE = (127, 128, 129, 255, 256, 257, 500, 1000, 2049, 5000, 20000)


def draw_lengths(rng: np.random.Generator, count: int) -> list[tuple[int, int, int]]:
    """Lengths of three variables for each of so many calls: some equal, some small, some far from each other."""
    found = []
    largest = (_USUAL, _USUAL + _LARGE)[rng.integers(2)]
    for _ in range(count):
        pools = [(_SMALL, _USUAL, largest, largest)[rng.integers(4)] for _ in range(3)]
        a, b, c = (int(p[rng.integers(len(p))]) for p in pools)
        if rng.random() < 0.3:
            b = a
        found.append((a, b, c))
    return found
