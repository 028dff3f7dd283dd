"""``fx.scipy.fft``: discrete cosine transforms of type 2, and their inverses (type 3).

Source: Makhoul, "A fast cosine transform in one and two dimensions", IEEE Trans. ASSP 28 (1980).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from .. import numpy as fnp
from ..errors import (
    ArgumentError,
    DTypeError,
    ShapeError,
    UnsupportedArgumentError,
)
from ..numpy.axes import canonical_axes, canonical_axis
from ..numpy.core import as_value, promote_inexact
from ..traceback import hide_frames
from .special.core import Value

__all__ = ["dct", "dctn", "idct", "idctn"]

_NORMS = (None, "backward", "ortho", "forward")


def _checked(name: str, x: Any, type: int, norm: str | None) -> Value:
    if type != 2:
        raise UnsupportedArgumentError(f"{name} has type 2; found type={type}")
    if norm not in _NORMS:
        raise ArgumentError(f"{name}: norm {norm!r} is not one of {', '.join(map(repr, _NORMS))}")
    (v,) = promote_inexact(as_value(x, f"x of {name}"))
    if dtypes.is_complex(v.dtype):
        raise DTypeError(f"{name} takes real arrays; found {v.dtype}. Transform real and imaginary part.")
    return v


def _resized(x: Value, n: int | None) -> Value:
    """The last axis cut, or continued by zeros, to n elements."""
    if n is None or n == x.shape[-1]:
        return x
    if n < 1:
        raise ShapeError(f"a cosine transform has at least one element; found n={n}")
    return x[..., :n] if n < x.shape[-1] else fnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, n - x.shape[-1])])


def _turns(n: int, d: np.dtype, sign: int) -> np.ndarray:
    """exp(sign i pi k / (2 n))"""
    return np.exp(sign * 0.5j * np.pi / n * np.arange(n)).astype(dtypes.complex_dtype(d))


def _scales(n: int, norm: str | None, d: np.dtype) -> np.ndarray:
    """Factors of the transform 2 sum_j x_j cos(pi k (2 j + 1) / (2 n))."""
    scale = np.full(n, {None: 1.0, "backward": 1.0, "forward": 0.5 / n, "ortho": math.sqrt(0.5 / n)}[norm])
    if norm == "ortho":
        scale[0] = math.sqrt(0.25 / n)
    return scale.astype(d)


def _forward(x: Value, norm: str | None) -> Value:
    """Along the last axis: one transform of the even elements followed by the odd ones backwards."""
    n = x.shape[-1]
    order = np.concatenate([np.arange(0, n, 2), np.arange(n - 1 - n % 2, 0, -2)]).astype(np.int32)
    spectrum = fnp.fft.fft(fnp.take(x, order, axis=-1))
    return 2 * (spectrum * _turns(n, x.dtype, -1)).real * _scales(n, norm, x.dtype)


def _backward(x: Value, norm: str | None) -> Value:
    n = x.shape[-1]
    order = np.concatenate([np.arange(0, n, 2), np.arange(n - 1 - n % 2, 0, -2)])
    x = 0.5 * x / _scales(n, norm, x.dtype)
    mirrored = fnp.concatenate([fnp.zeros_like(x[..., :1]), fnp.flip(x[..., 1:], -1)], axis=-1)
    spectrum = (x - 1j * mirrored) * _turns(n, x.dtype, 1)
    return fnp.take(fnp.fft.ifft(spectrum).real, np.argsort(order).astype(np.int32), axis=-1)


def _along(f: Any, x: Value, n: int | None, axis: int, norm: str | None) -> Value:
    axis = canonical_axis(axis, x.ndim)
    return fnp.moveaxis(f(_resized(fnp.moveaxis(x, axis, -1), n), norm), -1, axis)


def _along_all(
    name: str, f: Any, x: Value, s: Sequence[int] | None, axes: Sequence[int] | None, norm: str | None
) -> Value:
    if axes is not None:
        along = canonical_axes(tuple(axes), x.ndim)
    else:
        along = tuple(range(x.ndim if s is None else len(s)))
        along = tuple(i + x.ndim - len(along) for i in along)
    if s is not None and len(s) != len(along):
        raise ShapeError(f"{name}: s={tuple(s)} must have one size for each of the axes {along}")
    for axis, n in zip(along, s or (None,) * len(along)):
        x = _along(f, x, n, axis, norm)
    return x


def dct(x: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None) -> Value:
    """Discrete cosine transform y_k = 2 sum_j x_j cos(pi k (2 j + 1) / (2 n)).

    Args:
        x: real array.
        type: must be 2.
        n: length of the transform; x is cut, or continued by zeros.
        axis: along which.
        norm: None or 'backward': as above; 'forward': divided by 2 n; 'ortho': as an orthogonal matrix.

    Raises:
        DTypeError: a complex array.
        NotImplementedError: another type.
    """
    return _along(_forward, _checked("dct", x, type, norm), n, axis, norm)


def idct(x: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None) -> Value:
    """The inverse of ``dct``, with the same arguments."""
    return _along(_backward, _checked("idct", x, type, norm), n, axis, norm)


def dctn(
    x: Any, type: int = 2, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None
) -> Value:
    """``dct`` along several axes.

    Args:
        x: real array.
        type: must be 2.
        s: lengths, one for each axis.
        axes: along which; all by default, or the last ones if there is ``s``.
        norm: as for ``dct``.
    """
    return _along_all("dctn", _forward, _checked("dctn", x, type, norm), s, axes, norm)


def idctn(
    x: Any, type: int = 2, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None
) -> Value:
    """The inverse of ``dctn``, with the same arguments."""
    return _along_all("idctn", _backward, _checked("idctn", x, type, norm), s, axes, norm)


hide_frames(globals())
