"""Sums of exponentials without overflow: logsumexp, softmax, log_softmax."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ... import dtypes
from ... import numpy as fnp
from ...api import stop_gradient
from ...numpy.axes import canonical_axes
from ...numpy.core import as_value, promote_inexact
from ...plans import planned
from ...primitives.reductions import reduce_max
from ...primitives.shaping import expand_dims, squeeze
from ...transforms.custom_jvp import custom_jvp
from .core import Value, floats

__all__ = ["log_softmax", "logsumexp", "softmax"]


def _greatest(x: Value, axis: Any) -> Value:
    """The maximum along axes, which stay with size 1; -inf along empty ones.  No derivative goes through it."""
    axes = canonical_axes(axis, x.ndim)
    return stop_gradient(expand_dims(reduce_max(x, axes), axes))


@planned
def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False, where: Any = None
) -> Any:
    """log(sum(b * exp(a))), without overflow.

    Args:
        a: exponents.
        axis: int, tuple of ints, or None for all.
        b: factors, broadcast against ``a``; negative ones may give NaN, or a sign with ``return_sign``.
        keepdims: keep reduced axes with size 1.
        return_sign: return ``(log of the absolute value, sign)``.
        where: which elements count; broadcast against ``a``.

    >>> import fx.numpy as fnp
    >>> logsumexp(fnp.array([1000.0, 1000.0]))
    Array(1000.6932, dtype=float32)
    """
    a = as_value(a, "a of logsumexp")
    a, b = promote_inexact(a, as_value(b, "b of logsumexp")) if b is not None else (*promote_inexact(a), None)
    if where is not None:
        a = fnp.where(where, a, -np.inf)
    if b is not None:
        a = fnp.where(b == 0, -np.inf, a)
    axes = canonical_axes(axis, a.ndim)
    top = _greatest(a.real if dtypes.is_complex(a.dtype) else a, axes)
    top = fnp.where(fnp.isfinite(top), top, 0)
    terms = fnp.exp(a - top)
    total = fnp.sum(terms if b is None else b * terms, axis=axes, keepdims=True)
    sign = fnp.sign(total)
    out = fnp.log(fnp.abs(total) if return_sign or (b is not None and not dtypes.is_complex(a.dtype)) else total) + top
    if b is not None and not return_sign and not dtypes.is_complex(a.dtype):
        out = fnp.where(sign < 0, np.nan, out)
    out, sign = (out, sign) if keepdims else (squeeze(out, axes), squeeze(sign, axes))
    return (out, sign) if return_sign else out


@functools.partial(custom_jvp, nondiff_argnums=(1,))
def _softmax(x: Value, axis: Any, where: Any) -> Value:
    masked = x if where is None else fnp.where(where, x, -np.inf)
    unnormalised = fnp.exp(masked - _greatest(masked, axis))
    out = unnormalised / fnp.sum(unnormalised, axis=axis, keepdims=True)
    return out if where is None else fnp.where(where, out, 0)


def _softmax_jvp(axis: Any, primals: Any, tangents: Any) -> tuple[Value, Value]:
    """y * (t - sum(y * t)): the result alone is kept for the backward pass."""
    y, t = _softmax(primals[0], axis, primals[1]), tangents[0]
    return y, y * (t - fnp.sum(y * t, axis=axis, keepdims=True))


_softmax.defjvp(_softmax_jvp, symbolic_zeros=True)  # ``where`` is boolean: it has no tangent, not even a zero


@planned
def softmax(x: Any, /, *, axis: Any = None, where: Any = None) -> Value:
    """exp(x) divided by its sum along ``axis``, without overflow.

    Args:
        axis: int, tuple of ints, or None for all.
        where: which elements take part; the others become 0. Broadcast against ``x``.
    """
    (x,) = floats("softmax", x)
    return _softmax(x, axis, None if where is None else fnp.broadcast_to(where, x.shape))


@planned
def log_softmax(x: Any, /, *, axis: Any = None, where: Any = None) -> Value:
    """log(softmax(x)), computed as x - logsumexp(x); the elements not in ``where`` become -inf."""
    (x,) = floats("log_softmax", x)
    x = x if where is None else fnp.where(where, x, -np.inf)
    shifted = x - _greatest(x, axis)
    out = shifted - fnp.log(fnp.sum(fnp.exp(shifted), axis=axis, keepdims=True))
    return out if where is None else fnp.where(where, out, -np.inf)
