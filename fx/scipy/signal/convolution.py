"""Convolution and correlation in any number of dimensions, directly or by Fourier transforms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import dtypes
from ... import numpy as fnp
from ...errors import (
    ArgumentError,
    AxisError,
    ShapeError,
    UnsupportedArgumentError,
)
from ...numpy.axes import canonical_axes
from ...numpy.core import operand, promote_dtype
from ...primitives.conv import conv_general_dilated
from ..special.core import Value

__all__ = ["convolve", "convolve2d", "correlate", "correlate2d", "fftconvolve"]

_MODES = ("full", "same", "valid")


def _operands(name: str, in1: Any, in2: Any, mode: str, ndim: int | None = None) -> tuple[Value, Value]:
    if mode not in _MODES:
        raise ArgumentError(f"{name}: mode {mode!r} is not one of {', '.join(_MODES)}")
    x, y = promote_dtype(operand(in1, f"in1 of {name}"), operand(in2, f"in2 of {name}"), to_float=True)
    if x.ndim != y.ndim or (ndim is not None and x.ndim != ndim):
        wanted = f"{ndim} dimensions" if ndim is not None else "equally many dimensions"
        raise ShapeError(f"{name}: in1 and in2 must have {wanted}; found shapes {x.shape} and {y.shape}")
    return x, y


def _larger_first(name: str, x: Value, y: Value, axes: Sequence[int]) -> tuple[Value, Value]:
    """For mode 'valid', which is symmetric: the operand that contains the other in front."""
    sizes = [(x.shape[a], y.shape[a]) for a in axes]
    if all(m >= n for m, n in sizes):
        return x, y
    if all(m <= n for m, n in sizes):
        return y, x
    raise ShapeError(
        f"{name}: with mode='valid' one operand must be at least as large as the other in every dimension;"
        f" found shapes {x.shape} and {y.shape}"
    )


def _padding(size: int, mode: str) -> tuple[int, int]:
    """Zeros before and behind, for a kernel of that size."""
    if mode == "valid":
        return 0, 0
    cut = (size - 1) // 2 if mode == "same" else 0
    return size - 1 - cut, cut if mode == "same" else size - 1


def _direct(x: Value, y: Value, mode: str, precision: Any) -> Value:
    if x.ndim == 0:
        return x * y
    if x.size == 0 or y.size == 0:
        raise ShapeError(f"a convolution takes arrays that are not empty; found shapes {x.shape} and {y.shape}")
    pads = [_padding(n, mode) for n in y.shape]
    out = conv_general_dilated(x[None, None], fnp.flip(y)[None, None], (1,) * x.ndim, pads, precision=precision)
    return out[0, 0]


def _convolved(name: str, x: Value, y: Value, mode: str, method: str, precision: Any) -> Value:
    if method not in ("auto", "direct", "fft"):
        raise ArgumentError(f"{name}: method {method!r} is not one of auto, direct, fft")
    if method == "fft":
        return fftconvolve(x, y, mode)
    if mode == "valid":
        x, y = _larger_first(name, x, y, range(x.ndim))
    return _direct(x, y, mode, precision)


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto", precision: Any = None) -> Value:
    """The convolution of two arrays of equally many dimensions, out[k] = sum_i in1[i] in2[k - i].

    Args:
        in1, in2: arrays.
        mode: 'full': every k where they overlap; 'same': the middle of it, in the shape of in1; 'valid': where one lies
            wholly inside the other.
        method: 'direct' (which 'auto' is), or 'fft' for ``fftconvolve``.
        precision: accepted for compatibility.

    Raises:
        ShapeError: the shapes do not fit.
        ValueError: an unknown mode or method.

    >>> import fx.numpy as fnp
    >>> convolve(fnp.array([1.0, 2.0, 3.0]), fnp.array([0.0, 1.0, 0.5]))
    Array([0. , 1. , 2.5, 4. , 1.5], dtype=float32)
    """
    x, y = _operands("convolve", in1, in2, mode)
    return _convolved("convolve", x, y, mode, method, precision)


def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto", precision: Any = None) -> Value:
    """The cross-correlation: the convolution of in1 with in2 reversed and conjugated; arguments as for ``convolve``."""
    x, y = _operands("correlate", in1, in2, mode)
    return _convolved("correlate", x, fnp.conj(fnp.flip(y)), mode, method, precision)


def _no_boundary(name: str, boundary: str, fillvalue: Any) -> None:
    if boundary != "fill" or fillvalue != 0:
        raise UnsupportedArgumentError(
            f"{name} has boundary='fill' with fillvalue=0; found boundary={boundary!r}, fillvalue={fillvalue!r}."
            " Pad in1 first (fx.numpy.pad)."
        )


def convolve2d(
    in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: float = 0, precision: Any = None
) -> Value:
    """``convolve`` of two matrices; only boundary 'fill' with 0."""
    _no_boundary("convolve2d", boundary, fillvalue)
    x, y = _operands("convolve2d", in1, in2, mode, 2)
    return _convolved("convolve2d", x, y, mode, "direct", precision)


def correlate2d(
    in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: float = 0, precision: Any = None
) -> Value:
    """``correlate`` of two matrices; only boundary 'fill' with 0.

    With mode 'same' and in2 of even size the middle is, as in SciPy, the other one of the two.
    """
    _no_boundary("correlate2d", boundary, fillvalue)
    x, y = _operands("correlate2d", in1, in2, mode, 2)
    return fnp.flip(_convolved("correlate2d", fnp.flip(x), fnp.conj(y), mode, "direct", precision))


def _fast_length(n: int) -> int:
    """The least length of at least n without prime factors above 5."""
    while True:
        m = n
        for prime in (2, 3, 5):
            while m % prime == 0:
                m //= prime
        if m == 1:
            return n
        n += 1


def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Sequence[int] | int | None = None) -> Value:
    """The convolution as the product of Fourier transforms: faster for long operands, with an error relative to the greatest result.

    Args:
        in1, in2: arrays of equally many dimensions.
        mode: as for ``convolve``.
        axes: along which it convolves, all by default; along the others the operands are broadcast.

    Raises:
        ShapeError: the shapes do not fit.
    """
    x, y = _operands("fftconvolve", in1, in2, mode)
    along = canonical_axes(axes, x.ndim)
    if axes is not None and not along:
        raise AxisError("fftconvolve: axes must name at least one axis")
    if x.ndim == 0:
        return x * y
    if any(m != n and 1 not in (m, n) for i, (m, n) in enumerate(zip(x.shape, y.shape)) if i not in along):
        raise ShapeError(
            f"fftconvolve: shapes {x.shape} and {y.shape} must be equal, or 1, along axes other than {along}"
        )
    if mode == "valid":
        x, y = _larger_first("fftconvolve", x, y, along)
    full = [x.shape[a] + y.shape[a] - 1 for a in along]
    lengths = [_fast_length(n) for n in full]
    if dtypes.is_complex(x.dtype):
        product = fnp.fft.ifftn(fnp.fft.fftn(x, lengths, along) * fnp.fft.fftn(y, lengths, along), lengths, along)
    else:
        product = fnp.fft.irfftn(fnp.fft.rfftn(x, lengths, along) * fnp.fft.rfftn(y, lengths, along), lengths, along)
    keep = [slice(None)] * x.ndim
    for a, n in zip(along, full):
        size = {"full": n, "same": x.shape[a], "valid": x.shape[a] - y.shape[a] + 1}[mode]
        start = (n - size) // 2
        keep[a] = slice(start, start + size)
    return product[tuple(keep)].astype(x.dtype)
