"""Spectra of signals cut into windowed segments: csd, welch, stft, istft."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ... import dtypes
from ... import numpy as fnp
from ...errors import (
    ArgumentError,
    ShapeError,
)
from ...numpy.axes import canonical_axis
from ...numpy.core import as_value, operand, promote_dtype, promote_inexact
from ..special.core import Value
from .detrending import detrend as _detrended

__all__ = ["csd", "istft", "stft", "welch"]

# -------------------------------------------------------------------------------------------- windows

_WINDOWS: dict[str, Callable[..., np.ndarray]] = {
    "boxcar": np.ones, "rectangular": np.ones, "ones": np.ones, "hann": np.hanning, "hanning": np.hanning, "hamming": np.hamming,
    "blackman": np.blackman, "bartlett": np.bartlett, "kaiser": np.kaiser,
    "cosine": lambda n: np.sin(np.pi / n * (np.arange(n) + 0.5)),
    "gaussian": lambda n, std: np.exp(-0.5 * ((np.arange(n) - 0.5 * (n - 1)) / std) ** 2),
}  # fmt: skip


def _named_window(window: Any, n: int) -> np.ndarray:
    """The periodic window of n points: the symmetric one of n + 1 without its last."""
    name, *parameters = window if isinstance(window, tuple) else (window,)
    if name not in _WINDOWS:
        raise ArgumentError(
            f"window {window!r} is not known here; give it as an array, or one of {', '.join(_WINDOWS)}"
        )
    return np.ones(1) if n == 1 else _WINDOWS[name](n + 1, *parameters)[:-1]


class _Plan(NamedTuple):
    """How a signal is cut: the window, the length of a segment, of the overlap and of the transform."""

    window: Any
    nperseg: int
    noverlap: int
    nfft: int

    @property
    def hop(self) -> int:
        return self.nperseg - self.noverlap


def _plan(window: Any, nperseg: int | None, noverlap: int | None, nfft: int | None, n: int, d: np.dtype) -> _Plan:
    """Checks the sizes.

    Raises:
        ShapeError, ValueError: they do not fit.
    """
    if isinstance(window, (str, tuple)):
        size = min(256 if nperseg is None else int(nperseg), n)
        if size < 1:
            raise ArgumentError(f"nperseg={nperseg} must be positive, and the signal not empty (it has {n} elements)")
        values: Any = fnp.asarray(_named_window(window, size).astype(d))
    else:
        values = as_value(window, "window").astype(d)
        size = values.shape[0] if values.ndim == 1 else 0
        if not 0 < size <= n or nperseg not in (None, size):
            raise ShapeError(
                f"window must be a vector of nperseg={nperseg} elements, no longer than the signal ({n}); found {values.shape}"
            )
    overlap = size // 2 if noverlap is None else int(noverlap)
    length = size if nfft is None else int(nfft)
    if overlap >= size or length < size:
        raise ArgumentError(f"noverlap={overlap} must be less than nperseg={size}, and nfft={length} not")
    return _Plan(values, size, overlap, length)


# ------------------------------------------------------------------------------------------- segments


def _segments(x: Value, plan: _Plan) -> Value:
    """Along the last axis, overlapping segments: shape (..., segments, nperseg)."""
    count = (x.shape[-1] - plan.noverlap) // plan.hop
    places = np.arange(count)[:, None] * plan.hop + np.arange(plan.nperseg)
    return fnp.take(x, places.astype(np.int32), axis=-1)


def _trend_removed(x: Value, how: Any) -> Value:
    if not how:
        return x
    return how(x) if callable(how) else _detrended(x, axis=-1, type=how)


def _spectra(x: Value, plan: _Plan, how: Any, onesided: bool) -> Value:
    """Fourier transforms of the windowed segments, shape (..., segments, frequencies)."""
    parts = _trend_removed(_segments(x, plan), how) * plan.window
    return fnp.fft.rfft(parts, plan.nfft) if onesided else fnp.fft.fft(parts, plan.nfft)


def _frequencies(n: int, fs: Any, onesided: bool, d: np.dtype) -> Value:
    f = np.fft.rfftfreq(n) if onesided else np.fft.fftfreq(n)
    return fnp.asarray(f.astype(d)) * fs


def _check_axis(x: Value, axis: int) -> Value:
    return fnp.moveaxis(x, canonical_axis(axis, x.ndim), -1)


def csd(
    x: Any, y: Any, fs: Any = 1.0, window: Any = "hann", nperseg: int | None = None, noverlap: int | None = None,
    nfft: int | None = None, detrend: Any = "constant", return_onesided: bool = True, scaling: str = "density", axis: int = -1,
    average: str = "mean",
) -> tuple[Value, Value]:  # fmt: skip
    """Cross power spectral density by Welch's method: the mean of conj(X) Y over segments.

    Args:
        x, y: signals; the shorter is continued by zeros.  y None: x again.
        fs: sampling frequency.
        window: name, tuple of a name and its parameters, or array.
        nperseg: length of a segment; 256, or what there is.
        noverlap: overlap of segments; half by default.
        nfft: length of the transform; nperseg by default.
        detrend: 'constant', 'linear', a function, or False; of each segment.
        return_onesided: of real signals only the frequencies from 0.
        scaling: 'density' (per frequency) or 'spectrum'.
        axis: of time.
        average: 'mean', or the 'median', corrected for its bias.

    Returns:
        ``(frequencies, density)``; the frequencies stand along ``axis``.

    Raises:
        ValueError: an unknown name, or sizes that do not fit.

    Source: Welch, "The use of the fast Fourier transform for the estimation of power spectra" (1967).
    """
    if scaling not in ("density", "spectrum") or average not in ("mean", "median"):
        raise ArgumentError(
            f"csd: scaling={scaling!r} is 'density' or 'spectrum', average={average!r} 'mean' or 'median'"
        )
    own = y is None or y is x
    a, b = promote_dtype(operand(x, "x of csd"), operand(x if own else y, "y of csd"), to_float=True)
    a, b = _check_axis(a, axis), _check_axis(b, axis)
    n = max(a.shape[-1], b.shape[-1])
    a, b = (fnp.pad(v, [(0, 0)] * (v.ndim - 1) + [(0, n - v.shape[-1])]) for v in (a, b))
    real = dtypes.real_dtype(a.dtype)
    onesided = return_onesided and not dtypes.is_complex(a.dtype)
    plan = _plan(window, nperseg, noverlap, nfft, n, real)
    first = _spectra(a, plan, detrend, onesided)
    second = first if own else _spectra(b, plan, detrend, onesided)
    power = fs * fnp.sum(plan.window**2) if scaling == "density" else fnp.sum(plan.window) ** 2
    product = fnp.conj(first) * second / power
    if onesided:
        twice = np.full(product.shape[-1], 2, real)
        twice[0] = 1
        if plan.nfft % 2 == 0:
            twice[-1] = 1
        product = product * twice
    density = _averaged(product, average)
    density = density.real if own else density
    return _frequencies(plan.nfft, fs, onesided, real), fnp.moveaxis(density, -1, canonical_axis(axis, density.ndim))


def _averaged(spectra: Value, average: str) -> Value:
    if average == "mean":
        return fnp.mean(spectra, axis=-2)
    k = np.arange(2, spectra.shape[-2] - (spectra.shape[-2] + 1) % 2 + 1, 2)
    bias = 1 + float(np.sum(1.0 / (k + 1) - 1.0 / k))
    middle = fnp.median(spectra.real, axis=-2)
    if dtypes.is_complex(spectra.dtype):
        middle = middle + 1j * fnp.median(spectra.imag, axis=-2)
    return middle / bias


def welch(
    x: Any, fs: Any = 1.0, window: Any = "hann", nperseg: int | None = None, noverlap: int | None = None, nfft: int | None = None,
    detrend: Any = "constant", return_onesided: bool = True, scaling: str = "density", axis: int = -1, average: str = "mean",
) -> tuple[Value, Value]:  # fmt: skip
    """Power spectral density by Welch's method: ``csd`` of a signal with itself, with the same arguments."""
    return csd(x, None, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling, axis, average)


# ------------------------------------------------------------------------------- short-time transforms

_BOUNDARIES = {"even": "reflect", "odd": "reflect", "constant": "edge", "zeros": "constant"}


def _extended(x: Value, boundary: str | None, count: int) -> Value:
    """The signal continued by ``count`` elements on both sides."""
    if boundary is None:
        return x
    if boundary not in _BOUNDARIES:
        raise ArgumentError(f"stft: boundary {boundary!r} is not None or one of {', '.join(_BOUNDARIES)}")
    widths = [(0, 0)] * (x.ndim - 1) + [(count, count)]
    if boundary == "odd":
        return fnp.pad(x, widths, mode="reflect", reflect_type="odd")
    return fnp.pad(x, widths, mode=_BOUNDARIES[boundary])


def stft(
    x: Any, fs: Any = 1.0, window: Any = "hann", nperseg: int = 256, noverlap: int | None = None, nfft: int | None = None,
    detrend: Any = False, return_onesided: bool = True, boundary: str | None = "zeros", padded: bool = True, axis: int = -1,
) -> tuple[Value, Value, Value]:  # fmt: skip
    """Short-time Fourier transform: the spectrum of each windowed segment.

    Args:
        x: signal.
        fs: sampling frequency.
        window: name, tuple of a name and its parameters, or array.
        nperseg: length of a segment.
        noverlap: overlap of segments; half by default.
        nfft: length of the transform; nperseg by default.
        detrend: 'constant', 'linear', a function, or False; of each segment.
        return_onesided: of real signals only the frequencies from 0.
        boundary: how half a segment is added at both ends: 'zeros', 'even', 'odd', 'constant', or None for nothing.
        padded: zeros behind, so that the last segment is complete.
        axis: of time.

    Returns:
        ``(frequencies, times, spectra)``: frequencies along ``axis`` of the spectra, times along the last axis.

    Raises:
        ValueError: an unknown name, or sizes that do not fit.
    """
    (signal,) = promote_inexact(as_value(x, "x of stft"))
    signal = _check_axis(signal, axis)
    real = dtypes.real_dtype(signal.dtype)
    onesided = return_onesided and not dtypes.is_complex(signal.dtype)
    plan = _plan(window, nperseg, noverlap, nfft, signal.shape[-1], real)
    signal = _extended(signal, boundary, plan.nperseg // 2)
    if padded:
        missing = (-(signal.shape[-1] - plan.nperseg) % plan.hop) % plan.nperseg
        signal = fnp.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, missing)])
    spectra = _spectra(signal, plan, detrend, onesided) / fnp.sum(plan.window)
    middle = 0.0 if boundary is not None else plan.nperseg / 2
    times = fnp.asarray((middle + plan.hop * np.arange(spectra.shape[-2])).astype(real)) / fs
    spectra = fnp.swapaxes(spectra, -1, -2)
    place = canonical_axis(axis, spectra.ndim - 1)
    return _frequencies(plan.nfft, fs, onesided, real), times, fnp.moveaxis(spectra, -2, place)


def _overlap_added(parts: Value, hop: int, length: int) -> Value:
    """Segments (..., segments, nperseg) summed at their places in a signal of that length."""
    count, size = parts.shape[-2:]
    places = (np.arange(count)[:, None] * hop + np.arange(size)).reshape(-1)
    flat = parts.reshape(*parts.shape[:-2], count * size)
    return fnp.zeros((*parts.shape[:-2], length), parts.dtype).at[..., places].add(flat)


def istft(
    Zxx: Any, fs: Any = 1.0, window: Any = "hann", nperseg: int | None = None, noverlap: int | None = None, nfft: int | None = None,
    input_onesided: bool = True, boundary: bool = True, time_axis: int = -1, freq_axis: int = -2,
) -> tuple[Value, Value]:  # fmt: skip
    """The signal whose short-time Fourier transform comes closest: the segments windowed again, added up, and divided by
    the sum of the squared windows.

    Args:
        Zxx: spectra, as from ``stft``.
        fs, window, nperseg, noverlap, nfft: as given to ``stft``.
        input_onesided: only the frequencies from 0.
        boundary: half a segment was added at both ends.
        time_axis, freq_axis: axes of ``Zxx``.

    Returns:
        ``(times, signal)``.

    Raises:
        ShapeError: ``Zxx`` has no two different axes for time and frequency.
        ValueError: sizes that do not fit.

    Source: Griffin and Lim, "Signal estimation from modified short-time Fourier transform" (1984).
    """
    z = as_value(Zxx, "Zxx of istft")
    z = z if dtypes.is_complex(z.dtype) else z.astype(dtypes.complex_dtype(promote_inexact(z)[0].dtype))
    if z.ndim < 2 or canonical_axis(time_axis, z.ndim) == canonical_axis(freq_axis, z.ndim):
        raise ShapeError(
            f"istft: Zxx of shape {z.shape} needs different axes of time ({time_axis}) and frequency ({freq_axis})"
        )
    z = fnp.moveaxis(z, (time_axis, freq_axis), (-2, -1))
    count, bins = z.shape[-2:]
    default = 2 * (bins - 1) if input_onesided else bins
    size = default if nperseg is None else int(nperseg)
    if nfft is None:
        nfft = size if input_onesided and size == default + 1 else default
    real = dtypes.real_dtype(z.dtype)
    plan = _plan(window, size, noverlap, nfft, size, real)
    parts = fnp.fft.irfft(z, plan.nfft) if input_onesided else fnp.fft.ifft(z, plan.nfft)
    parts = parts[..., : plan.nperseg] * plan.window * fnp.sum(plan.window)
    total = plan.nperseg + (count - 1) * plan.hop
    signal = _overlap_added(parts, plan.hop, total)
    weight = _overlap_added(fnp.broadcast_to(plan.window**2, (count, plan.nperseg)), plan.hop, total)
    signal = signal / fnp.where(weight > 1e-10, weight, 1)
    if boundary:
        half = plan.nperseg // 2
        signal = signal[..., half : total - half]
    times = fnp.asarray(np.arange(signal.shape[-1]).astype(real)) / fs
    if signal.ndim > 1:
        time, frequency = (canonical_axis(v, z.ndim) for v in (time_axis, freq_axis))
        signal = fnp.moveaxis(signal, -1, time - (frequency < time))
    return times, signal
