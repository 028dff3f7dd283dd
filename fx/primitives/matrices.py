"""What the rules of matrix factorisations share: products, triangles and diagonals of the last two dimensions.

A factorisation acts on the last two dimensions (a matrix); the dimensions in front of them are a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import ShapeError
from ..ir import Aval
from ..primitive import Primitive
from ..trace import aval_of, bind
from .checks import DTypeClass, check_dtype
from .elementwise import abs as abs_
from .elementwise import add, conj, convert_element_type, div, eq, ge, le, mul, real, select, sub
from .helpers import Value, align_batch, full_like, zeros_like
from .joining import concatenate, pad
from .joining import slice as slice_
from .linalg import batch_matmul
from .reductions import reduce_max, reduce_sum
from .shaping import broadcast_in_dim, broadcasted_iota, expand_dims, reshape, transpose

__all__: list[str] = []

MATRIX = DTypeClass(
    "float32, float64, complex64 or complex128",
    frozenset({dtypes.float32, dtypes.float64, *dtypes.COMPLEXES}),
    "Convert it first: convert_element_type(x, 'float32').",
)

# ------------------------------------------------------------------------------------------- checks


def check_matrix(name: str, a: Aval, square: bool = False) -> tuple[int, int]:
    """Rows and columns of an operand of matrices.

    Raises:
        ShapeError: it has no matrices, or they must be square and are not.
        DTypeError: there is no factorisation in this dtype.
    """
    check_dtype(name, a, MATRIX)
    if a.ndim < 2 or (square and a.shape[-1] != a.shape[-2]):
        kind = "square matrices" if square else "matrices"
        raise ShapeError(f"{name} takes {kind}, the last two dimensions of its operand; the operand is {a}")
    return a.shape[-2], a.shape[-1]


def leading_batch(prim: Primitive) -> Callable[..., Any]:
    """The batch rule of a primitive whose operands and results have any number of batch dimensions in front."""

    def batch(size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any) -> Any:
        out = bind(prim, *align_batch(size, args, dims), **params)
        return (out, [0] * len(out)) if prim.multiple_results else (out, 0)

    return batch


def flat_batch(x: np.ndarray, last: int = 2) -> np.ndarray:
    """``x`` with one batch dimension in front of its last ones."""
    outer = x.shape[: x.ndim - last]
    return x.reshape(math.prod(outer), *x.shape[x.ndim - last :])


# ------------------------------------------------------------------------------------------ algebra


def is_complex(x: Value) -> bool:
    return dtypes.is_complex(aval_of(x).dtype)


def mT(x: Value) -> Value:
    """The transposes."""
    n = aval_of(x).ndim
    return transpose(x, (*range(n - 2), n - 1, n - 2))


def conjugate(x: Value) -> Value:
    return conj(x) if is_complex(x) else x


def mH(x: Value) -> Value:
    """The conjugate transposes."""
    return conjugate(mT(x))


def mm(*xs: Value) -> Value:
    """The product of matrices with equal batch dimensions, from the left."""
    out = xs[0]
    for x in xs[1:]:
        out = batch_matmul(out, x)
    return out


def real_part(x: Value) -> Value:
    return real(x) if is_complex(x) else x


def as_complex(x: Value) -> Value:
    """``x`` in the complex dtype of its precision."""
    return convert_element_type(x, dtypes.complex_dtype(aval_of(x).dtype))


def scaled(x: Value, by: float) -> Value:
    return mul(x, full_like(x, by))


# ------------------------------------------------------------------------------------ parts of matrices


def columns(x: Value, stop: int, start: int = 0) -> Value:
    """``x[..., :, start:stop]``"""
    shape = aval_of(x).shape
    return slice_(x, (*[0] * (len(shape) - 1), start), (*shape[:-1], stop), None)


def rows(x: Value, stop: int, start: int = 0) -> Value:
    """``x[..., start:stop, :]``"""
    shape = aval_of(x).shape
    return slice_(x, (*[0] * (len(shape) - 2), start, 0), (*shape[:-2], stop, shape[-1]), None)


def pad_rows(x: Value, count: int) -> Value:
    """``x`` with rows of zeros below it, until there are so many."""
    a = aval_of(x)
    edges = [*[(0, 0, 0)] * (a.ndim - 2), (0, count - a.shape[-2], 0), (0, 0, 0)]
    return pad(x, full_like(a, 0, shape=()), edges)


def mask(x: Value, compare: Callable[[Value, Value], Value], k: int = 0) -> Value:
    """Where ``compare(row + k, column)`` holds, in the shape of ``x``."""
    shape = aval_of(x).shape
    row = broadcasted_iota(dtypes.int32, shape, len(shape) - 2)
    return compare(add(row, full_like(row, k)), broadcasted_iota(dtypes.int32, shape, len(shape) - 1))


def tril(x: Value, k: int = 0) -> Value:
    """At and below the k-th diagonal; zeros above it."""
    return select(mask(x, ge, k), x, zeros_like(x))


def triu(x: Value, k: int = 0) -> Value:
    """At and above the k-th diagonal; zeros below it."""
    return select(mask(x, le, k), x, zeros_like(x))


def triangle(x: Value, lower: bool, strict: bool = False) -> Value:
    return tril(x, -int(strict)) if lower else triu(x, int(strict))


def eye_like(x: Value | Aval) -> Value:
    """Identity matrices in the shape and dtype of ``x``."""
    ones = full_like(x, 1)
    return select(mask(ones, eq), ones, zeros_like(ones))


def eye_of(batch: Sequence[int], m: int, n: int, dtype: np.dtype) -> Value:
    """Identity matrices ``(*batch, m, n)``."""
    return eye_like(Aval((*batch, m, n), dtype))


def diagonal(x: Value) -> Value:
    """The diagonals of square matrices: of the elements in a row, every (n + 1)-th."""
    *batch, n, _ = aval_of(x).shape
    flat = reshape(x, (*batch, n * n))
    return slice_(flat, (0,) * (len(batch) + 1), (*batch, n * n), (*(1 for _ in batch), n + 1))


def embed_diagonal(d: Value) -> Value:
    """Diagonal matrices."""
    x = as_columns(d)
    return select(mask(x, eq), x, zeros_like(x))


def as_columns(d: Value, n: int | None = None) -> Value:
    """``x[..., i, j] = d[..., j]``: multiplied elementwise it scales columns."""
    shape = aval_of(d).shape
    return broadcast_in_dim(
        d, (*shape[:-1], shape[-1] if n is None else n, shape[-1]), (*range(len(shape) - 1), len(shape))
    )


def as_rows(d: Value, n: int | None = None) -> Value:
    """``x[..., i, j] = d[..., i]``: multiplied elementwise it scales rows."""
    shape = aval_of(d).shape
    return broadcast_in_dim(d, (*shape, shape[-1] if n is None else n), range(len(shape)))


def with_rest(d_thin: Value, thin: Value, full: Value) -> Value:
    """The tangent of an orthonormal basis, the first columns being given; the others move as little as they can."""
    k, n = aval_of(thin).shape[-1], aval_of(full).shape[-1]
    if n == k:
        return d_thin
    d_rest = scaled(mm(thin, mm(mH(d_thin), columns(full, n, k))), -1.0)
    return concatenate([d_thin, d_rest], aval_of(full).ndim - 1)


def hermitian(x: Value, lower: bool) -> Value:
    """The Hermitian matrix that has this triangle; the diagonal's imaginary part counts as zero."""
    strict = triangle(x, lower, strict=True)
    middle = select(mask(x, eq), x, zeros_like(x))
    if is_complex(x):
        middle = as_complex(real(middle))
    return add(add(strict, mH(strict)), middle)


def largest_of(s: Value, like: Value) -> Value:
    """The largest element of each vector, repeated to the shape of ``like``."""
    batch = aval_of(s).ndim - 1
    return broadcast_in_dim(reduce_max(s, (batch,)), aval_of(like).shape, range(batch))


def safe_reciprocal(x: Value, scale: Value) -> Value:
    """1 / x, and 0 where ``|x|`` is rounding error beside ``scale``."""
    dtype = dtypes.real_dtype(aval_of(x).dtype)
    small = le(abs_(x), scaled(scale, float(np.finfo(dtype).eps)))
    one = full_like(x, 1)
    return select(small, zeros_like(x), div(one, select(small, one, x)))


def inverse_gaps(w: Value) -> Value:
    """``F[..., i, j] = 1 / (w[j] - w[i])``, and 0 where the two are equal up to rounding error."""
    n = aval_of(w).shape[-1]
    gaps = sub(as_columns(w), as_rows(w))
    return safe_reciprocal(gaps, scaled(largest_of(abs_(w), gaps), float(max(n, 4)))) if n else gaps


def norm_columns(x: Value) -> Value:
    """The 2-norms of the columns, in a row ``(..., 1, n)``."""
    ndim = aval_of(x).ndim
    return expand_dims(reduce_sum(real_part(mul(x, conjugate(x))), (ndim - 2,)), (ndim - 2,))
