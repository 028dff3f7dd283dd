"""``fx.numpy.linalg``: what needs no matrix factorisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..errors import AxisError, ShapeError
from ..primitives import elementwise as p
from ..primitives import shaping
from .contraction import cross, matmul, outer, tensordot, vecdot
from .core import as_type, as_value, canonical_axes, inexact
from .creation import eye
from .manipulation import diagonal, matrix_transpose
from .reductions import max as max_
from .reductions import min as min_
from .reductions import sum as sum_
from .reductions import trace
from .ufuncs import registered as u

Value = Any

__all__ = ["cross", "diagonal", "matmul", "matrix_power", "matrix_transpose", "multi_dot", "norm", "outer", "tensordot", "trace", "vecdot", "vector_norm"]


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Value:
    """The norm of vectors or (Frobenius, 1, inf) of matrices."""
    v = as_value(x)
    v = as_type(v, inexact(v.dtype))
    if axis is None:
        if ord is None:
            axes = tuple(range(v.ndim))
            out = p.sqrt(sum_(_square(v), axes))
            return shaping.reshape(out, (1,) * v.ndim) if keepdims else out
        axes = tuple(range(v.ndim))
    else:
        axes = canonical_axes(axis, v.ndim) if not isinstance(axis, (tuple, list)) else tuple(a % v.ndim for a in axis)
    if len(axes) == 1:
        return _vector_norm(v, 2 if ord is None else ord, axes, keepdims)
    if len(axes) != 2:
        raise AxisError(f"norm over {len(axes)} axes is not defined; give one or two")
    return _matrix_norm(v, ord, axes, keepdims)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Value:
    """The p-norm of vectors along axes."""
    v = as_value(x)
    v = as_type(v, inexact(v.dtype))
    return _vector_norm(v, ord, canonical_axes(axis, v.ndim), keepdims)


def _square(v: Value) -> Value:
    return p.add(p.square(p.real(v)), p.square(p.imag(v))) if dtypes.is_complex(v.dtype) else p.square(v)


def _vector_norm(v: Value, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Value:
    a = u["absolute"](v)
    if ord == 2:
        return p.sqrt(sum_(_square(v), axes, keepdims=keepdims))
    if ord == np.inf:
        return max_(a, axes, keepdims=keepdims)
    if ord == -np.inf:
        return min_(a, axes, keepdims=keepdims)
    if ord == 0:
        return sum_(as_type(u["not_equal"](v, 0), a.dtype), axes, keepdims=keepdims)
    if ord == 1:
        return sum_(a, axes, keepdims=keepdims)
    return u["power"](sum_(u["power"](a, ord), axes, keepdims=keepdims), 1.0 / ord)


def _matrix_norm(v: Value, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Value:
    row, col = axes
    if ord in (None, "fro"):
        return p.sqrt(sum_(_square(v), axes, keepdims=keepdims))
    if ord in (1, -1, np.inf, -np.inf):
        over, then = (row, col) if abs(ord) == 1 else (col, row)
        f = max_ if ord > 0 else min_
        out = f(sum_(u["absolute"](v), over, keepdims=True), then, keepdims=True)
        return out if keepdims else shaping.squeeze(out, tuple(sorted(axes)))
    raise ShapeError(f"norm with ord={ord!r} needs singular values, which are not there yet; use 'fro', 1, -1, inf or -inf")


def matrix_power(a: Any, n: int) -> Value:
    """A square matrix to a non-negative integer power, by repeated squaring."""
    x = as_value(a)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"matrix_power needs square matrices; found shape {x.shape}")
    if n < 0:
        raise ShapeError("matrix_power with a negative exponent needs the inverse, which is not there yet")
    if n == 0:
        return u["add"](u["multiply"](x, 0), eye(x.shape[-1], dtype=x.dtype))
    out = None
    while n:
        if n & 1:
            out = x if out is None else matmul(out, x)
        n >>= 1
        x = matmul(x, x) if n else x
    return out


def multi_dot(arrays: Any, *, precision: Any = None) -> Value:
    """The product of several matrices in the order that costs least."""
    from .contraction import einsum

    xs = [as_value(a) for a in arrays]
    letters = "abcdefghijklmnopqrstuvwxyz"
    terms, at = [], 0
    for i, x in enumerate(xs):
        if x.ndim == 1:
            terms.append(letters[at] if i else letters[at])
        else:
            terms.append(letters[at : at + 2])
            at += 1
    first = "" if xs[0].ndim == 1 else terms[0][0]
    last = "" if xs[-1].ndim == 1 else terms[-1][-1]
    return einsum(",".join(terms) + "->" + first + last, *xs, optimize="optimal")
