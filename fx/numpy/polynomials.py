"""Convolutions of vectors, and polynomials as vectors of coefficients, the highest power first."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..errors import (
    ArgumentError,
    ShapeError,
)
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives import joining, shaping
from ..primitives.conv import conv_general_dilated
from ..trace import concrete_value
from . import binary
from .contraction import matmul, outer
from .core import (
    Value,
    as_type,
    as_typed,
    as_value,
    broadcast_shapes,
    broadcast_value,
    filled,
    inexact,
    operand,
    promote_dtype,
    zero_of,
)
from .indexing import getitem
from .linalg import eigvals, inv, lstsq
from .manipulation import concatenate, matrix_transpose
from .matrices import eye, vander
from .reductions import sum as sum_
from .scans import cumprod
from .selection import where
from .sorting import argsort
from .unary import absolute, conjugate, negative, sqrt, square

__all__ = [
    "convolve", "correlate", "poly", "polyadd", "polyder", "polydiv", "polyfit", "polyint", "polymul", "polysub", "polyval",
    "roots",
]  # fmt: skip


def _convolve(a: Value, v: Value, mode: str, name: str) -> Value:
    if a.ndim != 1 or v.ndim != 1 or 0 in (a.shape[0], v.shape[0]):
        raise ShapeError(f"{name} takes non-empty vectors; found shapes {a.shape} and {v.shape}")
    if mode not in ("full", "same", "valid"):
        raise ArgumentError(f"mode must be full, same or valid; found {mode!r}")
    a, v = (v, a) if a.shape[0] < v.shape[0] else (a, v)
    n = v.shape[0]
    pads = {"full": (n - 1, n - 1), "same": (n // 2, n - 1 - n // 2), "valid": (0, 0)}[mode]
    kernel = shaping.reshape(shaping.rev(v, (0,)), (1, 1, n))
    out = conv_general_dilated(shaping.reshape(a, (1, 1, a.shape[0])), kernel, (1,), [pads])
    return shaping.reshape(out, (out.shape[-1],))


@planned
def convolve(a: Any, v: Any, mode: str = "full", *, precision: Any = None, preferred_element_type: Any = None) -> Value:
    """The discrete convolution of two vectors: ``out[k] = sum_i a[i] v[k - i]``."""
    x, y = promote_dtype(operand(a), operand(v), to_float=True)
    return _convolve(x, y, mode, "convolve")


@planned
def correlate(
    a: Any, v: Any, mode: str = "valid", *, precision: Any = None, preferred_element_type: Any = None
) -> Value:
    """The cross-correlation of two vectors, the second conjugated: ``out[k] = sum_i a[i + k] conj(v[i])``."""
    x, y = promote_dtype(operand(a), operand(v), to_float=True)
    if x.ndim != 1 or y.ndim != 1 or mode != "same" or x.shape[0] >= y.shape[0]:
        return _convolve(x, shaping.rev(conjugate(y), (0,)) if y.ndim else y, mode, "correlate")
    # the centre of an even window lies on its other side when the shorter vector comes first
    return conjugate(shaping.rev(correlate(y, x, mode), (0,)))


# ------------------------------------------------------------------------------------- polynomials


def _coefficients(*polynomials: Any) -> list[Value]:
    out = promote_dtype(*[operand(c) for c in polynomials])
    out = [shaping.reshape(c, (1,)) if c.ndim == 0 else c for c in out]
    for c in out:
        if c.ndim != 1:
            raise ShapeError(f"a polynomial is a vector of coefficients; found shape {c.shape}")
    return out


@planned
def polyval(p: Any, x: Any, *, unroll: int = 16) -> Value:
    """A polynomial at ``x``, by Horner's rule: ``sum_k p[k] x^(n-1-k)``.

    Args:
        p: (n, *s). Several polynomials at once, where the coefficients are arrays: ``s`` is broadcast with the shape of ``x``.

    Example:
        >>> import fx.numpy as fnp
        >>> fnp.polyval(fnp.array([[1, 2], [3, 4], [5, 6]]), 10).tolist()
        [135, 246]
    """
    c, v = promote_dtype(operand(p), operand(x))
    c = shaping.reshape(c, (1,)) if c.ndim == 0 else c
    out = filled(broadcast_shapes(c.shape[1:], v.shape), False, v.dtype)
    for k in range(c.shape[0]):
        out = binary.add(binary.multiply(out, v), getitem(c, k))
    return out


def polyadd(a1: Any, a2: Any) -> Value:
    """The sum of two polynomials; of several at once, whose coefficients may be arrays, along axis 0."""
    a, b = [shaping.reshape(c, (1,)) if c.ndim == 0 else c for c in promote_dtype(operand(a1), operand(a2))]
    n = max(a.shape[0], b.shape[0])
    return binary.add(
        *[joining.pad(v, zero_of(v), ((n - v.shape[0], 0, 0), *[(0, 0, 0)] * (v.ndim - 1))) for v in (a, b)]
    )


def polysub(a1: Any, a2: Any) -> Value:
    """The difference of two polynomials; of several at once, as in ``polyadd``."""
    a, b = promote_dtype(operand(a1), operand(a2))
    return polyadd(a, negative(b))


def _trimmed(c: Value) -> Value:
    """Without the leading zeros that are known."""
    known = concrete_value(c)
    if known is None or not known.size or known[0] != 0:
        return c
    first = int(np.argmax(known != 0)) if known.any() else known.size - 1
    return getitem(c, slice(first, None))


def polymul(a1: Any, a2: Any, *, trim_leading_zeros: bool = False) -> Value:
    """The product of two polynomials (``trim_leading_zeros``: of known coefficients)."""
    a, b = _coefficients(a1, a2)
    if trim_leading_zeros:
        a, b = _trimmed(a), _trimmed(b)
    return convolve(as_type(a, inexact(a.dtype)), as_type(b, inexact(b.dtype)))


def polydiv(u: Any, v: Any, *, trim_leading_zeros: bool = False) -> tuple[Value, Value]:
    """Quotient and remainder of two polynomials, by long division.

    The remainder is as long as ``u``, with zeros in front, unless they are trimmed (of known coefficients).
    """
    a, b = _coefficients(u, v)
    d = inexact(a.dtype)
    a, b = as_type(a, d), as_type(b, d)
    m, n = a.shape[0] - 1, b.shape[0] - 1
    lead = getitem(b, 0)
    quotient = []
    for k in range(max(m - n + 1, 0)):
        factor = p.div(getitem(a, k), lead)
        quotient.append(shaping.reshape(factor, (1,)))
        a = a.at[k : k + n + 1].add(negative(binary.multiply(factor, b)))
    q = concatenate(quotient) if quotient else filled((1,), 0, d)
    rest = a.at[: len(quotient)].set(0)
    return q, _trimmed(rest) if trim_leading_zeros else rest


def polyder(p: Any, m: int = 1) -> Value:
    """The m-th derivative of a polynomial."""
    (c,) = _coefficients(p)
    if m < 0:
        raise ArgumentError(f"polyder needs an order m >= 0; found {m}")
    c = as_type(c, inexact(c.dtype))
    for _ in range(m):
        n = c.shape[0]
        c = binary.multiply(getitem(c, slice(0, max(n - 1, 0))), Array(np.arange(n - 1, 0, -1).astype(c.dtype)))
    return c


def polyint(p: Any, m: int = 1, k: Any = None) -> Value:
    """The m-th antiderivative of a polynomial; ``k`` holds the constants of integration, 0 by default."""
    (c,) = _coefficients(p)
    if m < 0:
        raise ArgumentError(f"polyint needs an order m >= 0; found {m}")
    c = as_type(c, inexact(c.dtype))
    constants = broadcast_value(as_typed(0 if k is None else k, c.dtype), (m,))
    for j in range(m):
        n = c.shape[0]
        c = binary.divide(c, Array(np.arange(n, 0, -1).astype(c.dtype)))
        c = concatenate([c, getitem(constants, slice(j, j + 1))])
    return c


def poly(seq_of_zeros: Any) -> Value:
    """The polynomial with the given roots, the leading coefficient 1; that of a square matrix has its eigenvalues."""
    z = as_value(seq_of_zeros)
    z = eigvals(z) if z.ndim == 2 else shaping.reshape(z, (1,)) if z.ndim == 0 else z
    if z.ndim != 1:
        raise ShapeError(f"poly takes a vector of roots, or a square matrix; found shape {z.shape}")
    z = as_type(z, inexact(z.dtype))
    out = filled((1,), 1, z.dtype)
    for i in range(z.shape[0]):
        out = polysub(concatenate([out, filled((1,), 0, z.dtype)]), binary.multiply(getitem(z, i), out))
    return out


def roots(p: Any, *, strip_zeros: bool = True) -> Value:
    """The roots of a polynomial, the highest power first: eigenvalues of its companion matrix.

    Args:
        strip_zeros: drop leading zeros, and make trailing ones roots at 0; the coefficients must be known for that.
            Without, there is a NaN, at the end, for each leading zero.
    """
    c = _coefficients(p)[0]
    c = as_type(c, inexact(c.dtype))
    if not strip_zeros:
        return _as_many_roots(c)
    known = concrete_value(c)
    if known is None:
        c.tolist()  # raises, naming the traced value
        raise AssertionError
    places = np.flatnonzero(known)
    if not len(places):
        return filled((0,), 0, dtypes.complex_dtype(c.dtype))
    zeros = c.shape[0] - 1 - int(places[-1])
    nothing = filled((zeros,), 0, dtypes.complex_dtype(c.dtype))
    return concatenate([_eigenvalues(c[int(places[0]) : int(places[-1]) + 1]), nothing])


def _eigenvalues(c: Value) -> Value:
    """Of the companion matrix of coefficients of which the first is not zero."""
    n = max(c.shape[0] - 1, 0)
    if not n:
        return filled((0,), 0, dtypes.complex_dtype(c.dtype))
    first = negative(binary.divide(c[1:], c[0]))
    return eigvals(concatenate([shaping.reshape(first, (1, n)), eye(n, dtype=c.dtype)[: n - 1]], 0))


def _as_many_roots(c: Value) -> Value:
    """One for each coefficient but the first, whichever are zero.  Leading zeros are moved to the end, where they make roots
    at 0; as many of those are NaN."""
    n = c.shape[0] - 1
    if n < 1:
        return _eigenvalues(c)
    leading = sum_(cumprod(binary.equal(c, 0), 0, np.int32))
    moved = getitem(c, binary.remainder(binary.add(np.arange(n + 1, dtype=np.int32), leading), np.int32(n + 1)))
    found = _eigenvalues(where(binary.equal(leading, n + 1), 1, moved))
    found = getitem(found, argsort(binary.equal(found, 0), stable=True))
    return where(binary.less(np.arange(n, dtype=np.int32), binary.subtract(n, leading)), found, complex(np.nan, np.nan))


def polyfit(
    x: Any, y: Any, deg: int, rcond: float | None = None, full: bool = False, w: Any = None, cov: Any = False
) -> Any:
    """The polynomial of degree ``deg`` that fits points best: least squares of ``w * (p(x) - y)``.

    Args:
        x: ``(m,)``.
        y: ``(m,)``, or ``(m, k)`` for several polynomials.
        rcond: singular values below ``rcond`` times the largest count as zero (default: m machine epsilons).
        full: return residuals, rank, singular values and ``rcond``, too.
        w: weights ``(m,)``.
        cov: return the covariance of the coefficients, too; 'unscaled' takes the weights for the inverse deviations.

    Returns:
        Coefficients ``(deg + 1,)`` or ``(deg + 1, k)``, the highest power first.
    """
    if deg < 0:
        raise ArgumentError(f"polyfit: deg must not be negative; found {deg}")
    t, v = promote_dtype(operand(x), operand(y), to_float=True)
    if t.ndim != 1 or v.ndim not in (1, 2) or t.shape[0] != v.shape[0] or not t.shape[0]:
        raise ShapeError(
            f"polyfit takes points x (m,) and y (m,) or (m, k), m > 0; found shapes {t.shape} and {v.shape}"
        )
    m = t.shape[0]
    rcond = m * float(np.finfo(t.dtype).eps) if rcond is None else rcond
    matrix = vander(t, deg + 1)
    if w is not None:
        weights = as_type(as_value(w), t.dtype)
        if weights.shape != t.shape:
            raise ShapeError(f"polyfit: weights of shape {weights.shape} do not fit {m} points")
        matrix = binary.multiply(matrix, weights[:, None])
        v = binary.multiply(v, weights[:, None] if v.ndim == 2 else weights)
    scale = binary.add(summed := sqrt(sum_(square(absolute(matrix)), 0)), binary.equal(summed, 0))
    c, residuals, rank, s = lstsq(binary.divide(matrix, scale), v, rcond)
    c = binary.divide(c, scale[:, None] if c.ndim == 2 else scale)
    if full:
        return c, residuals, rank, s, as_value(np.asarray(rcond, s.dtype))
    if not cov:
        return c
    base = binary.divide(
        inv(matmul(matrix_transpose(binary.divide(matrix, scale)), binary.divide(matrix, scale))), outer(scale, scale)
    )
    if cov == "unscaled":
        factor: Any = 1.0
    elif m <= deg + 1:
        raise ArgumentError(f"polyfit: a covariance needs more than {deg + 1} points; found {m}")
    else:
        factor = binary.divide(residuals, m - deg - 1)
        factor = factor if v.ndim == 2 else factor[0]
    return c, binary.multiply(base[:, :, None], factor) if v.ndim == 2 else binary.multiply(base, factor)
