"""Matrices of a known pattern: Toeplitz, Hankel, companion, Hilbert and the like."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..config import config
from ..errors import (
    ArgumentError,
    ShapeError,
)
from ..numpy.core import Value, as_type, as_value, filled, inexact, promote_dtype
from ..numpy.indexing import getitem
from ..numpy.manipulation import atleast_2d, concatenate
from ..numpy.matrices import diag
from ..primitives import elementwise as p
from ..primitives import joining, shaping

__all__ = [
    "block_diag", "circulant", "companion", "convolution_matrix", "dft", "fiedler", "fiedler_companion", "hadamard",
    "hankel", "helmert", "hilbert", "invhilbert", "invpascal", "leslie", "pascal", "toeplitz",
]  # fmt: skip


def _vector(x: Any, name: str, least: int = 0) -> Value:
    v = as_value(x)
    if v.ndim != 1 or v.shape[0] < least:
        raise ShapeError(f"{name} takes a vector of at least {least} elements; found shape {v.shape}")
    return v


def _known(values: Any, dtype: Any = None) -> Array:
    return Array(np.asarray(values).astype(dtypes.canonical(dtype or config.default_float)))


def block_diag(*arrs: Any) -> Value:
    """The arrays, each of at most two dimensions, along the diagonal of a matrix of zeros."""
    blocks = promote_dtype(*[atleast_2d(a) for a in arrs]) if arrs else [filled((1, 0), 0, config.default_float)]
    if any(b.ndim > 2 for b in blocks):
        raise ShapeError(f"block_diag takes matrices; found shapes {', '.join(str(b.shape) for b in blocks)}")
    width, left, lines = sum(b.shape[1] for b in blocks), 0, []
    for b in blocks:
        zero = filled((), 0, b.dtype)
        lines.append(joining.pad(b, zero, [(0, 0, 0), (left, width - left - b.shape[1], 0)]))
        left += b.shape[1]
    return concatenate(lines, 0)


def toeplitz(c: Any, r: Any = None) -> Value:
    """``T[..., i, j] = c[..., i - j]`` at and below the diagonal, ``r[..., j - i]`` above it.

    Args:
        c: the first column ``(..., m)``.
        r: the first row ``(..., n)``, whose first element is not used (default: the conjugate of c).
    """
    x = as_value(c)
    x = shaping.reshape(x, (1,)) if x.ndim == 0 else x
    y = (p.conj(x) if dtypes.is_complex(x.dtype) else x) if r is None else as_value(r)
    y = shaping.reshape(y, (1,)) if y.ndim == 0 else y
    x, y = promote_dtype(x, y)
    m, n = x.shape[-1], y.shape[-1]
    values = concatenate([shaping.rev(y[..., 1:], (y.ndim - 1,)), x], -1)  # r[n-1] .. r[1] c[0] .. c[m-1]
    places = np.arange(m)[:, None] - np.arange(n) + n - 1
    return getitem(values, (..., places)) if m and n else filled((*x.shape[:-1], m, n), 0, x.dtype)


def hankel(c: Any, r: Any = None) -> Value:
    """``H[i, j] = c[i + j]`` as far as c goes, then ``r[i + j - m + 1]`` (zeros without ``r``)."""
    x = _vector(c, "hankel", 1)
    y = filled(x.shape, 0, x.dtype) if r is None else _vector(r, "hankel", 1)
    x, y = promote_dtype(x, y)
    return getitem(concatenate([x, y[1:]]), np.arange(x.shape[0])[:, None] + np.arange(y.shape[0]))


def circulant(c: Any) -> Value:
    """``C[..., i, j] = c[..., (i - j) mod n]``"""
    x = as_value(c)
    if x.ndim == 0 or not x.shape[-1]:
        raise ShapeError(f"circulant takes vectors with elements; found shape {x.shape}")
    n = x.shape[-1]
    return getitem(x, (..., (np.arange(n)[:, None] - np.arange(n)) % n))


def companion(a: Any) -> Value:
    """The companion matrix of a polynomial, whose eigenvalues are its roots; the highest power stands first in ``a``."""
    x = _vector(a, "companion", 2)
    x = as_type(x, inexact(x.dtype))
    first = p.neg(p.div(x[1:], shaping.broadcast_in_dim(x[0], (x.shape[0] - 1,), ())))
    n = first.shape[0]
    below = _known(np.eye(n - 1, n), x.dtype)
    return concatenate([shaping.reshape(first, (1, n)), below], 0)


def convolution_matrix(a: Any, n: int, mode: str = "full") -> Value:
    """The matrix A with ``A v = convolve(a, v, mode)`` for vectors v of n elements."""
    x = _vector(a, "convolution_matrix", 1)
    if n <= 0 or mode not in ("full", "same", "valid"):
        raise ArgumentError(
            f"convolution_matrix: n must be positive and mode 'full', 'same' or 'valid'; found {n}, {mode!r}"
        )
    zero = filled((n - 1,), 0, x.dtype)
    full = toeplitz(concatenate([x, zero]), concatenate([x[:1], zero]))
    m = x.shape[0]
    if mode == "full":
        return full
    if mode == "same":
        start = (min(m, n) - 1) // 2
        return full[start : start + max(m, n)]
    return full[min(m, n) - 1 : max(m, n)]


def dft(n: int, scale: str | None = None, *, dtype: Any = None) -> Array:
    """The matrix of the discrete Fourier transform, ``exp(-2 pi i j k / n)``.

    Args:
        scale: None, 'sqrtn' (divided by sqrt(n)) or 'n'.
    """
    if scale not in (None, "sqrtn", "n"):
        raise ArgumentError(f"dft: scale is None, 'sqrtn' or 'n'; found {scale!r}")
    angles = -2 * np.pi * (np.outer(np.arange(n), np.arange(n)) % max(n, 1)) / max(n, 1)
    by = {None: 1.0, "sqrtn": math.sqrt(n), "n": float(n)}[scale]
    return _known(np.exp(1j * angles) / by, dtype or dtypes.complex_dtype(config.default_float))


def fiedler(a: Any) -> Value:
    """``F[..., i, j] = |a[..., i] - a[..., j]|``"""
    x = as_value(a)
    if x.ndim == 0:
        raise ShapeError("fiedler takes vectors; found a scalar")
    return p.abs(x[..., :, None] - x[..., None, :])


def fiedler_companion(a: Any) -> Value:
    """The pentadiagonal companion matrix of a polynomial (Fiedler, 2003): its eigenvalues are the roots."""
    x = _vector(a, "fiedler_companion")
    x = as_type(x, inexact(x.dtype))
    if x.shape[0] <= 2:
        return p.neg(p.div(x[1:], x[:1]))[:, None] if x.shape[0] == 2 else filled((0, 0), 0, x.dtype)
    monic = p.div(x, shaping.broadcast_in_dim(x[0], x.shape, ()))
    n = x.shape[0] - 1
    c = filled((n, n), 0, x.dtype)
    even, odd = np.arange(0, n - 2, 2), np.arange(1, n - 2, 2)
    c = c.at[even, even + 2].set(1.0).at[odd + 2, odd].set(1.0)
    c = c.at[0, 0].set(-monic[1]).at[1, 0].set(1.0)
    up, down = np.arange(0, n - 1, 2), np.arange(1, n - 1, 2)
    c = c.at[up, up + 1].set(-monic[2 : n + 1 : 2][: len(up)])
    return c.at[down + 1, down].set(-monic[3 : n + 1 : 2][: len(down)])


def hadamard(n: int, dtype: Any = int) -> Array:
    """The Hadamard matrix of order n, a power of 2: entries 1 and -1, orthogonal rows (Sylvester's construction)."""
    if n < 1 or n & (n - 1):
        raise ArgumentError(f"hadamard: n must be a power of 2; found {n}")
    places = np.arange(n)
    odd = np.bitwise_count(places[:, None] & places) % 2
    return _known(1 - 2 * odd.astype(np.int8), dtype)


def helmert(n: int, full: bool = False) -> Array:
    """The Helmert matrix of order n: orthonormal rows that sum to zero; with ``full`` a constant row in front of them."""
    h = np.tril(np.ones((n, n)), -1) - np.diag(np.arange(n))
    h[0] = 1.0
    places = np.arange(n)
    size = places * (places + 1)
    size[:1] = n
    h = h / np.sqrt(np.maximum(size, 1))[:, None]
    return _known(h if full else h[1:])


def hilbert(n: int) -> Array:
    """``H[i, j] = 1 / (i + j + 1)``"""
    return _known(1.0 / (np.arange(n)[:, None] + np.arange(n) + 1))


def invhilbert(n: int) -> Array:
    """The inverse of ``hilbert(n)``, whose entries are integers."""
    c = math.comb
    exact = [
        [(-1) ** (i + j) * (i + j + 1) * c(n + i, n - j - 1) * c(n + j, n - i - 1) * c(i + j, i) ** 2 for j in range(n)]
        for i in range(n)
    ]
    return _known(np.array(exact, np.float64).reshape(n, n))


def pascal(n: int, kind: str | None = None) -> Array:
    """Pascal's triangle as a matrix: 'lower' (``binomial(i, j)``), 'upper', or 'symmetric' (``binomial(i + j, i)``)."""
    kind = kind or "symmetric"
    if kind not in ("symmetric", "lower", "upper"):
        raise ArgumentError(f"pascal: kind is 'symmetric', 'lower' or 'upper'; found {kind!r}")
    low = np.array([[math.comb(i, j) for j in range(n)] for i in range(n)], np.float64).reshape(n, n)
    both = np.array([[math.comb(i + j, i) for j in range(n)] for i in range(n)], np.float64).reshape(n, n)
    return _known({"lower": low, "upper": low.T, "symmetric": both}[kind])


def invpascal(n: int, kind: str | None = None) -> Array:
    """The inverse of ``pascal(n, kind)``."""
    kind = kind or "symmetric"
    signs = (-1.0) ** (np.arange(n)[:, None] + np.arange(n))
    low = np.asarray(pascal(n, "lower"), np.float64) * signs
    if kind == "symmetric":
        return _known(low.T @ low)
    if kind not in ("lower", "upper"):
        raise ArgumentError(f"invpascal: kind is 'symmetric', 'lower' or 'upper'; found {kind!r}")
    return _known(low if kind == "lower" else low.T)


def leslie(f: Any, s: Any) -> Value:
    """The matrix of a population: fertilities ``f`` in the first row, survival rates ``s`` below the diagonal."""
    x, y = promote_dtype(_vector(f, "leslie", 1), _vector(s, "leslie"))
    if y.shape[0] != x.shape[0] - 1:
        raise ShapeError(f"leslie: {x.shape[0]} fertilities need {x.shape[0] - 1} survival rates; found {y.shape[0]}")
    first = joining.pad(
        shaping.reshape(x, (1, x.shape[0])), filled((), 0, x.dtype), [(0, x.shape[0] - 1, 0), (0, 0, 0)]
    )
    return p.add(first, diag(y, -1)) if y.shape[0] else first
