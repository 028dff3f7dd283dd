"""Matrices by their shape: identities, triangles, diagonals, grids, and the indices that go with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array, check_device
from ..config import config
from ..errors import (
    ArgumentError,
    ShapeError,
)
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives import helpers, joining, shaping
from ..trace import concrete_value
from .axes import static_shape
from .core import Value, as_type, as_value, broadcast_value, filled, zero_of
from .rearranging import diagonal, diagonal_number
from .unary import as_number

__all__ = [
    "diag", "diag_indices", "diag_indices_from", "diagflat", "eye", "identity", "indices", "ix_", "mask_indices", "meshgrid", "tri", "tril",
    "tril_indices", "tril_indices_from", "triu", "triu_indices", "triu_indices_from", "vander",
]  # fmt: skip


def _two(N: int, M: int | None) -> tuple[int, int]:
    rows, columns = static_shape((N, N if M is None else M))
    return rows, columns


def _grid(shape: tuple[int, int]) -> tuple[Value, Value]:
    """The row and the column number of each element."""
    return shaping.broadcasted_iota(dtypes.int32, shape, 0), shaping.broadcasted_iota(dtypes.int32, shape, 1)


@planned
def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None, *, device: Any = None, order: Any = None) -> Value:
    """Ones on the k-th diagonal, zeros elsewhere."""
    check_device(device)
    rows, columns = _grid(_two(N, M))
    on = p.eq(p.add(rows, helpers.full_like(rows, diagonal_number(k))), columns)
    return as_type(on, dtype or config.default_float)


def identity(n: int, dtype: Any = None) -> Value:
    """The n by n identity matrix."""
    return eye(n, dtype=dtype)


def _lower(shape: tuple[int, int], k: int) -> Value:
    rows, columns = _grid(shape)
    return p.ge(p.add(rows, helpers.full_like(rows, diagonal_number(k))), columns)


@planned
def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Value:
    """Ones at and below the k-th diagonal."""
    return as_type(_lower(_two(N, M), k), dtype or config.default_float)


def _with_mask(m: Any, k: int, name: str) -> tuple[Value, Value]:
    """An array and, in its shape, where its matrices are at or below the k-th diagonal."""
    x = as_value(m)
    if x.ndim == 0:
        raise ShapeError(f"{name} needs an array with at least one dimension; found a scalar")
    x = broadcast_value(x, x.shape * 2) if x.ndim == 1 else x
    return x, broadcast_value(_lower(x.shape[-2:], k), x.shape)


@planned
def tril(m: Any, k: int = 0) -> Value:
    """The lower triangle; zeros above the k-th diagonal."""
    x, mask = _with_mask(m, k, "tril")
    return p.select(mask, x, helpers.zeros_like(x))


@planned
def triu(m: Any, k: int = 0) -> Value:
    """The upper triangle; zeros below the k-th diagonal."""
    x, mask = _with_mask(m, k - 1, "triu")
    return p.select(mask, helpers.zeros_like(x), x)


def diag(v: Any, k: int = 0) -> Value:
    """The k-th diagonal of a matrix, or a matrix with ``v`` on its k-th diagonal."""
    x = as_value(v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag takes a vector or a matrix; found shape {x.shape}")
    return _with_diagonal(x, k)


@planned
def _with_diagonal(x: Value, k: int) -> Value:
    n = x.shape[0] + abs(k)
    padded = joining.pad(x, zero_of(x), ((0, abs(k), 0),))
    source = shaping.broadcast_in_dim(padded, (n, n), (0 if k >= 0 else 1,))
    return p.select(eye(n, k=k, dtype=np.bool_), source, helpers.zeros_like(source))


@planned
def diagflat(v: Any, k: int = 0) -> Value:
    """``diag`` of the flattened input."""
    x = as_value(v)
    return diag(shaping.reshape(x, (x.size,)), k)


@planned
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Value:
    """The Vandermonde matrix: column j holds the power N - 1 - j of ``x``, or j if ``increasing``."""
    v = as_number(as_value(x))
    if v.ndim != 1:
        raise ShapeError(f"vander takes a vector; found shape {v.shape}")
    (n,) = static_shape(v.shape[0] if N is None else N)
    if n == 0:
        return filled((v.shape[0], 0), 0, v.dtype)
    powers = range(n) if increasing else range(n - 1, -1, -1)
    return joining.concatenate([shaping.expand_dims(p.integer_pow(v, k), (1,)) for k in powers], 1)


# ------------------------------------------------------------------------------------------- grids


def indices(dimensions: Sequence[int], dtype: Any = None, sparse: bool = False) -> Any:
    """One array of indices for each dimension, stacked (a tuple with ``sparse``)."""
    shape = static_shape(dimensions)
    d, n = dtypes.canonical(dtype or config.default_int), len(shape)
    if sparse:
        return tuple(
            [shaping.broadcasted_iota(d, tuple([s if j == i else 1 for j in range(n)]), i) for i, s in enumerate(shape)]
        )
    if not shape:
        return filled((0,), 0, d)
    return joining.concatenate([shaping.broadcasted_iota(d, (1, *shape), i + 1) for i in range(n)], 0)


@planned
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> list[Value]:
    """Coordinate matrices from coordinate vectors."""
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f"indexing must be 'xy' or 'ij'; found {indexing!r}")
    xs = [as_value(x) for x in xi]
    if any(x.ndim > 1 for x in xs):
        raise ShapeError(f"meshgrid takes vectors; found shapes {', '.join(str(x.shape) for x in xs)}")
    order = list(range(len(xs)))
    if indexing == "xy" and len(xs) > 1:
        order[:2] = [1, 0]
    shape = tuple([xs[i].size for i in order])
    thin = [shaping.reshape(x, tuple([x.size if j == i else 1 for j in order])) for i, x in enumerate(xs)]
    return thin if sparse else [broadcast_value(x, shape) for x in thin]


def ix_(*args: Any) -> tuple[Value, ...]:
    """Vectors as index arrays that select the cross product; booleans (known while tracing) stand for where they are true."""
    out = []
    for k, arg in enumerate(args):
        x = as_value(np.asarray(arg, np.int32) if np.size(arg) == 0 else arg)
        if x.ndim != 1:
            raise ShapeError(f"ix_ takes vectors; argument {k + 1} has shape {x.shape}")
        if x.dtype == dtypes.bool_:
            known = concrete_value(x)
            if known is None:
                x.tolist()  # raises, naming the traced value
                raise AssertionError
            x = Array(np.flatnonzero(known).astype(config.default_int))
        out.append(shaping.reshape(x, tuple([x.size if j == k else 1 for j in range(len(args))])))
    return tuple(out)


# ------------------------------------------------------------------------------ indices of parts


def _index_arrays(found: Sequence[np.ndarray]) -> tuple[Array, ...]:
    return tuple([Array(i.astype(config.default_int)) for i in found])


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Array, ...]:
    """Indices of the lower triangle."""
    return _index_arrays(np.tril_indices(n, k, m))


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Array, ...]:
    """Indices of the upper triangle."""
    return _index_arrays(np.triu_indices(n, k, m))


def tril_indices_from(arr: Any, k: int = 0) -> tuple[Array, ...]:
    """``tril_indices`` for the shape of an array."""
    return tril_indices(arr.shape[-2], k, arr.shape[-1])


def triu_indices_from(arr: Any, k: int = 0) -> tuple[Array, ...]:
    """``triu_indices`` for the shape of an array."""
    return triu_indices(arr.shape[-2], k, arr.shape[-1])


def diag_indices(n: int, ndim: int = 2) -> tuple[Array, ...]:
    """Indices of the diagonal of an array with ``ndim`` dimensions of size n."""
    return _index_arrays(np.diag_indices(n, ndim))


def diag_indices_from(arr: Any) -> tuple[Array, ...]:
    """``diag_indices`` for the shape of an array."""
    shape = tuple(arr.shape)
    if len(shape) < 2 or len(set(shape)) > 1:
        raise ShapeError(f"diag_indices_from needs at least two dimensions of one size; found shape {shape}")
    return diag_indices(shape[0], len(shape))


def mask_indices(n: int, mask_func: Callable[..., Any], k: int = 0, *, size: int | None = None) -> tuple[Array, ...]:
    """Where ``mask_func(ones((n, n)), k)`` is not zero (``size`` pads with zeros, or cuts off)."""
    found = np.nonzero(np.asarray(mask_func(Array(np.ones((n, n), np.int32)), k)))
    if size is not None:
        found = tuple(np.pad(i[:size], (0, max(size - i.size, 0))) for i in found)
    return _index_arrays(found)
