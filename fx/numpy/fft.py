"""``fx.numpy.fft``: Fourier transforms under NumPy's names, on ``fx.lax.fft``'s primitive.

``norm`` is None or 'backward' (the inverse transforms are divided by the number of points), 'forward' (the others are) or
'ortho' (all are, by its root).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..config import config
from ..errors import (
    ArgumentError,
    AxisError,
    ShapeError,
)
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives import helpers, joining, shaping
from ..primitives.fft import fft_p
from ..sizes import as_size
from ..trace import bind
from ..traceback import hide_frames
from .axes import canonical_axes, canonical_axis, plain_ints
from .core import Value, as_type, as_value, inexact, zero_of
from .rearranging import roll

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft", "irfft2",
    "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip

_INVERSE = ("ifft", "irfft")


def _scale(kind: str, norm: str | None, points: int, name: str) -> float:
    """What the transform is multiplied by, beyond the division that the inverse ones do anyway."""
    if norm not in (None, "backward", "ortho", "forward"):
        raise ArgumentError(f"{name}: norm is None, 'backward', 'ortho' or 'forward'; found {norm!r}")
    if norm in (None, "backward"):
        return 1.0
    exponent = 0.5 if norm == "ortho" else 1.0
    return float(points) ** (exponent if kind in _INVERSE else -exponent)


def _sized(x: Value, axis: int, n: int) -> Value:
    """``x`` cut, or filled up with zeros, to n numbers along an axis."""
    have = x.shape[axis]
    if have == n:
        return x
    if have > n:
        return joining.slice_in_dim(x, 0, n, axis=axis)
    return joining.pad(x, zero_of(x), [(0, n - have if d == axis else 0, 0) for d in range(x.ndim)])


def _operand(a: Any, kind: str, name: str) -> Value:
    x = as_value(a)
    d = inexact(x.dtype)
    if kind != "rfft" and d.itemsize > 2:  # the primitive refuses the 16-bit floats
        d = dtypes.complex_dtype(d)
    elif dtypes.is_complex(d):
        raise ArgumentError(f"{name} takes real numbers; found {x.dtype}.  Use fft, or the real part.")
    return as_type(x, d)


def _along(x: Value, kind: str, n: int | None, axis: int, name: str) -> Value:
    """One transform of n points (by default as many as there are)."""
    real = kind == "irfft"
    points = (2 * (x.shape[axis] - 1) if real else x.shape[axis]) if n is None else as_size(n)
    if points < 1:
        raise ShapeError(f"{name}: a transform has at least one point; found {points} along axis {axis} of {x.shape}")
    x = _sized(x, axis, points // 2 + 1 if real else points)
    return bind(fft_p, x, kind=kind, length=points, axis=axis)


def _times(x: Value, factor: float) -> Value:
    return x if factor == 1.0 else p.mul(x, helpers.full_like(x, factor))


def _transform(a: Any, kind: str, n: int | None, axis: int, norm: str | None, name: str) -> Value:
    x = _operand(a, kind, name)
    axis = canonical_axis(axis, x.ndim)
    out = _along(x, kind, n, axis, name)
    points = out.shape[axis] if kind != "rfft" else (x.shape[axis] if n is None else as_size(n))
    return _times(out, _scale(kind, norm, points, name))


@planned
def fft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Value:
    """The discrete Fourier transform, ``out[k] = sum_j a[j] exp(-2 pi i j k / n)``.

    Args:
        a: numbers.
        n: how many of them along the axis; more are zeros, others are not used.
        axis: of the transform.
        norm: see the module.

    Example:
        >>> import numpy as np, fx.numpy as fnp
        >>> fnp.fft.fft(np.array([1.0, 2.0, 3.0, 4.0])).tolist()
        [(10+0j), (-2+2j), (-2+0j), (-2-2j)]
    """
    return _transform(a, "fft", n, axis, norm, "fft")


@planned
def ifft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Value:
    """The inverse of ``fft``."""
    return _transform(a, "ifft", n, axis, norm, "ifft")


@planned
def rfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Value:
    """The first ``n // 2 + 1`` numbers of the ``fft`` of real ones; the others are their conjugates."""
    return _transform(a, "rfft", n, axis, norm, "rfft")


@planned
def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Value:
    """The inverse of ``rfft``: n real numbers (default: twice as many as there are, less two)."""
    return _transform(a, "irfft", n, axis, norm, "irfft")


_OTHER = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}


@planned
def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Value:
    """The ``fft``, real, of numbers of which the second half are the conjugates of the first, which is ``a``."""
    x = _operand(a, "irfft", "hfft")
    return _transform(p.conj(x), "irfft", n, axis, _OTHER.get(norm, norm), "hfft")


@planned
def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Value:
    """The inverse of ``hfft``."""
    return p.conj(_transform(a, "rfft", n, axis, _OTHER.get(norm, norm), "ihfft"))


# ------------------------------------------------------------------------------- several dimensions


def _sizes_and_axes(x: Value, s: Any, axes: Any, name: str) -> list[tuple[int, int | None]]:
    """Pairs of an axis and its number of points (None: as many as there are)."""
    sizes = None if s is None else [None if n is None or n == -1 else as_size(n) for n in s]
    if axes is None:
        chosen = tuple(range(x.ndim)) if sizes is None else tuple(range(x.ndim - len(sizes), x.ndim))
    else:
        chosen = tuple(canonical_axis(a, x.ndim) for a in plain_ints(axes, "axes"))
    if sizes is not None and len(sizes) != len(chosen):
        raise ShapeError(f"{name}: {len(sizes)} sizes {tuple(s)} and {len(chosen)} axes {chosen} must be as many")
    if any(a < 0 for a in chosen):
        raise ShapeError(f"{name}: {len(chosen)} sizes for an array of shape {x.shape}")
    return list(zip(chosen, sizes or [None] * len(chosen)))


def _several(a: Any, kind: str, s: Any, axes: Any, norm: str | None, name: str) -> Value:
    """The last axis first for real numbers, last for what becomes real."""
    x = _operand(a, kind, name)
    pairs = _sizes_and_axes(x, s, axes, name)
    if not pairs:
        if kind in ("rfft", "irfft"):
            raise AxisError(f"{name} needs at least one axis")
        return x
    points = 1
    steps = [(axis, n, "ifft" if kind in _INVERSE else "fft") for axis, n in pairs]
    steps[-1] = (*pairs[-1], kind)
    for axis, n, step in reversed(steps) if kind != "irfft" else steps:
        size = x.shape[axis]
        x = _along(x, step, n, axis, name)
        points *= x.shape[axis] if step != "rfft" else (size if n is None else n)
    return _times(x, _scale(kind, norm, points, name))


@planned
def fftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Value:
    """The ``fft`` along several axes (all by default, or the last ones that ``s`` has sizes for)."""
    return _several(a, "fft", s, axes, norm, "fftn")


@planned
def ifftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Value:
    """The inverse of ``fftn``."""
    return _several(a, "ifft", s, axes, norm, "ifftn")


@planned
def rfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Value:
    """The ``rfft`` along the last axis, then the ``fft`` along the others."""
    return _several(a, "rfft", s, axes, norm, "rfftn")


@planned
def irfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Value:
    """The inverse of ``rfftn``."""
    return _several(a, "irfft", s, axes, norm, "irfftn")


def _two(axes: Sequence[int], name: str) -> Sequence[int]:
    if axes is None or len(tuple(axes)) != 2:
        raise ArgumentError(f"{name} is over two axes; found axes={axes!r}")
    return axes


@planned
def fft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Value:
    """``fftn`` along two axes."""
    return _several(a, "fft", s, _two(axes, "fft2"), norm, "fft2")


@planned
def ifft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Value:
    """``ifftn`` along two axes."""
    return _several(a, "ifft", s, _two(axes, "ifft2"), norm, "ifft2")


@planned
def rfft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Value:
    """``rfftn`` along two axes."""
    return _several(a, "rfft", s, _two(axes, "rfft2"), norm, "rfft2")


@planned
def irfft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Value:
    """``irfftn`` along two axes."""
    return _several(a, "irfft", s, _two(axes, "irfft2"), norm, "irfft2")


# ---------------------------------------------------------------------------------------- frequencies


def _frequencies(k: np.ndarray, n: int, d: Any, dtype: Any) -> Value:
    values = Array(k.astype(dtypes.canonical(dtype or config.default_float)))
    spacing = as_type(as_value(d), values.dtype) if not isinstance(d, (int, float)) else None
    if spacing is None:
        return p.div(values, helpers.full_like(values, n * d))
    return p.div(values, shaping.broadcast_in_dim(p.mul(spacing, helpers.full_like(spacing, n)), values.shape, ()))


def fftfreq(n: int, d: Any = 1.0, *, dtype: Any = None, device: Any = None) -> Value:
    """The frequencies of ``fft`` of n samples at a distance of ``d``: ``0, 1, .., -2, -1`` divided by ``n d``."""
    if operator.index(n) < 1:
        raise ArgumentError(f"fftfreq: n must be positive; found {n}")
    return _frequencies(np.fft.ifftshift(np.arange(n) - n // 2), n, d, dtype)


def rfftfreq(n: int, d: Any = 1.0, *, dtype: Any = None, device: Any = None) -> Value:
    """The frequencies of ``rfft``: ``0, 1, .., n // 2`` divided by ``n d``."""
    if operator.index(n) < 1:
        raise ArgumentError(f"rfftfreq: n must be positive; found {n}")
    return _frequencies(np.arange(n // 2 + 1), n, d, dtype)


def _shifted(x: Any, axes: Any, forward: bool) -> Value:
    v = as_value(x)
    chosen = canonical_axes(axes, v.ndim)
    if not chosen:
        return v
    return roll(v, tuple(n // 2 if forward else -(n // 2) for n in (v.shape[a] for a in chosen)), chosen)


@planned
def fftshift(x: Any, axes: Any = None) -> Value:
    """Moves frequency 0 to the middle of the axes (all by default)."""
    return _shifted(x, axes, True)


@planned
def ifftshift(x: Any, axes: Any = None) -> Value:
    """The inverse of ``fftshift``."""
    return _shifted(x, axes, False)


hide_frames(globals())
