"""The discrete Fourier transform along one dimension: fft, ifft, rfft and irfft.

``fft``: ``y[k] = sum_j x[j] exp(-2 pi i j k / n)``; ``ifft`` is its inverse.  ``rfft`` is the first ``n // 2 + 1`` numbers of the
``fft`` of real ones, ``irfft`` its inverse; it looks at the real part alone of the first number and, for even n, the last.

All four are linear.  The matrices of ``fft`` and ``ifft`` are symmetric, so these are their own transposes; those of ``rfft``
and ``irfft`` are each other's up to weights.
"""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable, Sequence

import numpy as np

from .. import dtypes
from ..errors import AxisError, DTypeError, ShapeError
from ..ir import Aval
from ..primitive import Primitive
from ..trace import aval_of, bind
from .checks import check_axes
from .elementwise import conj, convert_element_type, eq, mul, select
from .helpers import Value, def_linear, full_like, quiet
from .shaping import broadcasted_iota

__all__ = ["FftType", "fft", "fft_p"]

fft_p = Primitive("fft")


class FftType(enum.IntEnum):
    """The kinds of transform: complex to complex, its inverse, real to complex, its inverse."""

    FFT = 0
    IFFT = 1
    RFFT = 2
    IRFFT = 3


_FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "fft": np.fft.fft,
    "ifft": np.fft.ifft,
    "rfft": np.fft.rfft,
    "irfft": np.fft.irfft,
}
_WIDE = (dtypes.float32, dtypes.float64)


@fft_p.def_abstract
def _fft_abstract(x: Aval, *, kind: str, length: int, axis: int) -> Aval:
    check_axes("fft", "axis", (axis,), x.ndim)
    real_input = kind == "rfft"
    if x.dtype not in (_WIDE if real_input else dtypes.COMPLEXES):
        wanted = "float32 or float64" if real_input else "complex64 or complex128"
        raise DTypeError(f"{kind} takes {wanted}; its operand has dtype {x.dtype}. Convert it first.")
    if length < 1:
        raise ShapeError(f"fft: a transform has at least one point; found length {length}")
    half = length // 2 + 1
    expected, size = {"rfft": (length, half), "irfft": (half, length)}.get(kind, (length, length))
    if x.shape[axis] != expected:
        raise ShapeError(f"{kind} and length {length} needs {expected} numbers along axis {axis} of {x}")
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    if kind == "rfft":
        return Aval(shape, dtypes.complex_dtype(x.dtype))
    return Aval(shape, dtypes.real_dtype(x.dtype) if kind == "irfft" else x.dtype)


@fft_p.def_impl
@quiet
def _fft_impl(x: np.ndarray, *, kind: str, length: int, axis: int) -> np.ndarray:
    return _FUNCTIONS[kind](x, length, axis)


def _weighted(x: Value, axis: int, length: int, ends: float, between: float) -> Value:
    """``x`` times ``ends`` where a frequency is its own mirror image (0, and length / 2), and times ``between`` elsewhere."""
    k = broadcasted_iota(dtypes.int32, aval_of(x).shape, axis)
    twice = mul(k, full_like(k, 2))
    own = eq(twice, full_like(k, length))
    own = select(own, own, eq(k, full_like(k, 0)))
    return mul(x, select(own, full_like(x, ends), full_like(x, between)))


def _fft_transpose(ct: Value, aval: Aval, *, kind: str, length: int, axis: int) -> Value:
    if kind == "rfft":
        halved = _weighted(conj(ct), axis, length, float(length), length / 2)
        return bind(fft_p, halved, kind="irfft", length=length, axis=axis)
    if kind == "irfft":
        out = conj(bind(fft_p, ct, kind="rfft", length=length, axis=axis))
        return _weighted(out, axis, length, 1 / length, 2 / length)
    return bind(fft_p, ct, kind=kind, length=length, axis=axis)


def_linear(fft_p, _fft_transpose)


@fft_p.def_batch
def _fft_batch(
    size: int, args: Sequence[Value], dims: Sequence[int], *, kind: str, length: int, axis: int
) -> tuple[Value, int]:
    return bind(fft_p, args[0], kind=kind, length=length, axis=axis + (dims[0] <= axis)), dims[0]


def fft(x: Value, fft_type: FftType | str, fft_lengths: Sequence[int]) -> Value:
    """The discrete Fourier transform over the last dimensions.

    Args:
        x: as many numbers along each of the last dimensions as ``fft_lengths`` says; along the last one half as many,
            ``n // 2 + 1``, for IRFFT.  float32 or float64 for RFFT, else complex64 or complex128 (real numbers become that).
        fft_type: an ``FftType`` or its name.
        fft_lengths: the lengths of the transforms.

    Returns:
        The transform; the inverse ones are divided by the product of the lengths.

    Example:
        >>> import numpy as np, fx
        >>> fx.lax.fft(np.array([1.0, 0.0, 0.0, 0.0]), "RFFT", (4,))
        Array([1.+0.j, 1.+0.j, 1.+0.j], dtype=complex128)
    """
    kind = (FftType[fft_type.upper()] if isinstance(fft_type, str) else FftType(fft_type)).name.lower()
    lengths = tuple(operator.index(n) for n in fft_lengths)
    ndim = aval_of(x).ndim
    if len(lengths) > ndim:
        raise AxisError(f"fft: {len(lengths)} lengths {lengths} are more than the operand {aval_of(x)} has dimensions")
    if kind != "rfft" and dtypes.is_float(aval_of(x).dtype):
        x = convert_element_type(x, dtypes.complex_dtype(aval_of(x).dtype))
    axes = range(ndim - len(lengths), ndim)
    pairs = list(zip(axes, lengths))
    if not pairs:
        return x
    if kind in ("fft", "ifft"):
        return _along(x, kind, pairs)
    if kind == "rfft":
        return _along(_along(x, kind, pairs[-1:]), "fft", pairs[:-1])
    return _along(_along(x, "ifft", pairs[:-1]), kind, pairs[-1:])


def _along(x: Value, kind: str, pairs: Sequence[tuple[int, int]]) -> Value:
    for axis, length in pairs:
        x = bind(fft_p, x, kind=kind, length=length, axis=axis)
    return x
