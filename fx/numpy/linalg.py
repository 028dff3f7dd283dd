"""``fx.numpy.linalg``: linear algebra under NumPy's names; norms and products stand here."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..errors import (
    ArgumentError,
    AxisError,
    DTypeError,
    ShapeError,
)
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives.helpers import unchanged
from ..trace import is_python_scalar
from ..traceback import hide_frames
from . import contraction, rearranging
from .axes import axis_tuple, canonical_axes, canonical_axis
from .binary import divide, multiply, not_equal, power
from .contraction import matmul, tensordot, vecdot
from .core import Value, as_type, as_value, inexact
from .factorizations import (
    EighResult,
    EigResult,
    QRResult,
    SVDResult,
    cholesky,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    matrix_operand,
    qr,
    svd,
    svdvals,
)  # fmt: skip
from .manipulation import broadcast_to, expand_dims, matrix_transpose, moveaxis, squeeze
from .matrices import eye
from .reductions import max as max_
from .reductions import min as min_
from .reductions import sum as sum_
from .solving import (
    SlogdetResult,
    det,
    inv,
    lstsq,
    matrix_rank,
    pinv,
    slogdet,
    solve,
    tensorinv,
    tensorsolve,
)  # fmt: skip
from .summation import einsum
from .unary import absolute

__all__ = [
    "EigResult", "EighResult", "QRResult", "SVDResult", "SlogdetResult", "cholesky", "cond", "cross", "det", "diagonal", "eig",
    "eigh", "eigvals", "eigvalsh", "inv", "lstsq", "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose",
    "multi_dot", "norm", "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve",
    "trace", "vecdot", "vector_norm",
]  # fmt: skip


def _inexact(x: Any) -> Value:
    v = as_value(x)
    return as_type(v, inexact(v.dtype))


def _square(v: Value) -> Value:
    return p.add(p.square(p.real(v)), p.square(p.imag(v))) if dtypes.is_complex(v.dtype) else p.square(v)


def _greatest(x: Value, axes: Any, keepdims: bool = False) -> Value:
    """The maximum of numbers that are not negative: 0 where there are none."""
    return max_(x, axes, keepdims=keepdims, initial=None if x.size else 0)


def _vector_norm(v: Value, ord: Any, axes: tuple[int, ...] | None, keepdims: bool) -> Value:
    if ord == 2:
        return p.sqrt(sum_(_square(v), axes, keepdims=keepdims))
    a = absolute(v)
    if ord == np.inf:
        return _greatest(a, axes, keepdims)
    if ord == -np.inf:
        return min_(a, axes, keepdims=keepdims)
    if ord == 0:
        return sum_(as_type(not_equal(v, 0), a.dtype), axes, keepdims=keepdims)
    if ord == 1:
        return sum_(a, axes, keepdims=keepdims)
    if isinstance(ord, str):
        raise ArgumentError(f"norm: vectors have no norm ord={ord!r}; give a number")
    return power(sum_(power(a, ord), axes, keepdims=keepdims), 1.0 / ord if is_python_scalar(ord) else divide(1.0, ord))


def _matrix_norm(v: Value, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Value:
    row, column = axes
    if ord in (None, "fro", "f"):
        return p.sqrt(sum_(_square(v), axes, keepdims=keepdims))
    if ord in (1, -1, np.inf, -np.inf):
        over, then = (row, column) if abs(ord) == 1 else (column, row)
        f = _greatest if ord > 0 else min_
        out = f(sum_(absolute(v), over, keepdims=True), then, keepdims=True)
        return out if keepdims else squeeze(out, axes)
    if ord in (2, -2, "nuc"):
        s = svdvals(moveaxis(v, axes, (-2, -1)))
        out = sum_(s, -1) if ord == "nuc" else (_greatest if ord == 2 else min_)(s, -1)
        return expand_dims(out, sorted(axes)) if keepdims else out
    raise ArgumentError(f"norm: matrices have no norm ord={ord!r}")


@planned
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Value:
    """The norm of vectors, or of matrices ('fro', 'nuc', 1, 2, inf and the least of these); without ``ord`` and ``axis`` that of all elements.

    >>> import fx.numpy as fnp
    >>> x = fnp.array([[3.0, 4.0], [6.0, 8.0]])
    >>> fnp.linalg.norm(x, axis=1), fnp.linalg.norm(x, "fro")
    (Array([ 5., 10.], dtype=float32), Array(11.18034, dtype=float32))
    """
    v = _inexact(x)
    if axis is None and ord is None:
        return _vector_norm(v, 2, None, keepdims)
    axes = tuple(range(v.ndim)) if axis is None else tuple([canonical_axis(a, v.ndim) for a in axis_tuple(axis)])
    if len(axes) == 1:
        return _vector_norm(v, 2 if ord is None else ord, axes, keepdims)
    if len(axes) != 2 or axes[0] == axes[1]:
        raise AxisError(f"norm with ord={ord!r} is over one axis or two different ones; found {axes} (shape {v.shape})")
    return _matrix_norm(v, ord, axes, keepdims)


@planned
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Value:
    """The p-norm of vectors along axes (of all elements by default)."""
    v = _inexact(x)
    return _vector_norm(v, ord, canonical_axes(axis, v.ndim), keepdims)


@planned
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Value:
    """The norm of matrices, which are the last two axes."""
    v = _inexact(x)
    if v.ndim < 2:
        raise ShapeError(f"matrix_norm needs matrices; found shape {v.shape}")
    return _matrix_norm(v, ord, (v.ndim - 2, v.ndim - 1), keepdims)


def cond(x: Any, p: Any = None) -> Value:
    """The condition numbers of matrices: ``norm(x) * norm(inv(x))`` in the norm ``p``.

    For ``p`` None or 2 it is the ratio of the greatest and the least singular value (for -2 the other way round), and
    the matrices need not be square.
    """
    v = matrix_operand(x, "cond", p not in (None, 2, -2))
    if p in (None, 2, -2):
        s = svdvals(v)
        first, last = (-1, 0) if p == -2 else (0, -1)
        return divide(s[..., first], s[..., last])
    axes = (v.ndim - 2, v.ndim - 1)
    return multiply(_matrix_norm(v, p, axes, False), _matrix_norm(inv(v), p, axes, False))


def matrix_power(a: Any, n: int) -> Value:
    """A square matrix to an integer power, by repeated squaring; of its inverse if that is negative."""
    x = as_value(a)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"matrix_power needs square matrices; found shape {x.shape}")
    if not hasattr(n, "__index__"):
        raise DTypeError(f"matrix_power needs an integer exponent; found {n!r}")
    if n < 0:
        x, n = inv(x), -n
    if n == 0:
        return broadcast_to(eye(x.shape[-1], dtype=x.dtype), x.shape)
    out = None
    while n:
        if n & 1:
            out = x if out is None else matmul(out, x)
        n >>= 1
        x = matmul(x, x) if n else x
    return unchanged(out)


def multi_dot(arrays: Any, *, precision: Any = None) -> Value:
    """The product of several matrices (the first and last may be vectors) in the order that costs least."""
    xs = [as_value(a) for a in arrays]
    if len(xs) < 2:
        raise ArgumentError(f"multi_dot takes at least two arrays; found {len(xs)}")
    if any(x.ndim != 2 for x in xs[1:-1]) or any(x.ndim not in (1, 2) for x in (xs[0], xs[-1])):
        raise ShapeError(
            f"multi_dot takes matrices, and vectors at the ends; found shapes {', '.join(str(x.shape) for x in xs)}"
        )
    operands: list[Any] = []
    for i, x in enumerate(xs):  # matrix i joins axis i with axis i + 1
        operands += [x, [i, i + 1] if x.ndim == 2 else [i + 1] if i == 0 else [i]]
    ends = ([0] if xs[0].ndim == 2 else []) + ([len(xs)] if xs[-1].ndim == 2 else [])
    return einsum(*operands, ends, optimize="optimal", precision=precision)


def diagonal(x: Any, /, *, offset: int = 0) -> Value:
    """The diagonals of matrices, which are the last two axes."""
    return rearranging.diagonal(x, offset, -2, -1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Value:
    """The traces of matrices, which are the last two axes."""
    return contraction.trace(x, offset, -2, -1, dtype)


@planned
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Value:
    """The cross product of vectors of size 3."""
    a, b = as_value(x1), as_value(x2)
    if a.shape[axis] != 3 or b.shape[axis] != 3:
        raise ShapeError(
            f"linalg.cross takes vectors of size 3; found shapes {a.shape} and {b.shape} along axis {axis}"
        )
    return contraction.cross(a, b, axis=axis)


def outer(x1: Any, x2: Any, /) -> Value:
    """All products of an element of one vector and one of another."""
    a, b = as_value(x1), as_value(x2)
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError(f"linalg.outer takes vectors; found shapes {a.shape} and {b.shape}")
    return contraction.outer(a, b)


hide_frames(globals())
