"""What ``fx.scipy`` builds on Fourier transforms, beside SciPy: spectra, convolution, cosine transforms."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.signal

import fx
import fx.numpy as fnp
from fx.errors import DTypeError, ShapeError
from fx.scipy import fft, signal

RNG = np.random.default_rng(8)
SHAPES = [((8,), (3,)), ((3,), (8,)), ((6, 5), (3, 4)), ((4, 5, 3), (2, 2, 3)), ((5,), (5,))]


@pytest.fixture(autouse=True)
def numpy_runs_the_graphs() -> Iterator[None]:
    with fx.config.using(backend="reference"):
        yield


def near(got: Any, want: Any, rtol: float = 1e-12, atol: float = 1e-12) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolution_by_fourier_transforms(mode: str) -> None:
    for shapes in SHAPES:
        x, y = (RNG.normal(size=s) for s in shapes)
        for a, b in ((x, y), (x + 1j, y - 2j)):
            near(signal.fftconvolve(a, b, mode), scipy.signal.fftconvolve(a, b, mode), 1e-10, 1e-11)
        near(signal.convolve(x, y, mode, method="fft"), scipy.signal.convolve(x, y, mode), 1e-10, 1e-11)
    x, y = RNG.normal(size=(4, 9)), RNG.normal(size=(1, 3))
    near(signal.fftconvolve(x, y, mode, axes=1), scipy.signal.fftconvolve(x, y, mode, axes=1), 1e-10, 1e-11)
    with pytest.raises(ShapeError):
        signal.fftconvolve(x, np.ones((3, 3)), axes=1)


SIGNAL, OTHER = RNG.normal(size=(2, 90)), RNG.normal(size=(2, 90))
SPECTRA: list[dict[str, Any]] = [
    {}, {"nperseg": 16}, {"nperseg": 15, "noverlap": 4, "nfft": 21, "fs": 3.0}, {"nperseg": 16, "window": ("kaiser", 3.0), "detrend": "linear"},
    {"nperseg": 16, "window": np.hanning(16), "detrend": False, "return_onesided": False}, {"nperseg": 20, "window": "hamming", "axis": 0},
]  # fmt: skip


@pytest.mark.parametrize("how", SPECTRA, ids=str)
def test_power_spectra(how: dict[str, Any]) -> None:
    x, y = (SIGNAL.T, OTHER.T) if how.get("axis") == 0 else (SIGNAL, OTHER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for extra in ({}, {"scaling": "spectrum", "average": "median"}):
            for got, want in zip(signal.welch(x, **how, **extra), scipy.signal.welch(x, **how, **extra)):
                near(got, want, 1e-9, 1e-11)
            for got, want in zip(signal.csd(x, y, **how, **extra), scipy.signal.csd(x, y, **how, **extra)):
                near(got, want, 1e-9, 1e-11)
        for got, want in zip(
            signal.csd(x[:40, :40], y[:40], nperseg=8), scipy.signal.csd(x[:40, :40], y[:40], nperseg=8)
        ):
            near(got, want, 1e-9, 1e-11)


@pytest.mark.parametrize("how", SPECTRA, ids=str)
@pytest.mark.parametrize("boundary", ["zeros", "even", "odd", "constant", None])
def test_short_time_transforms(how: dict[str, Any], boundary: str | None) -> None:
    x = SIGNAL.T if how.get("axis") == 0 else SIGNAL
    how = {"nperseg": 32, **how, "boundary": boundary}
    ours, theirs = signal.stft(x, **how), scipy.signal.stft(x, **how)
    for got, want in zip(ours, theirs):
        near(got, want, 1e-9, 1e-11)
    if boundary == "zeros" and how.get("axis") != 0:
        back = {k: v for k, v in how.items() if k in ("nperseg", "noverlap", "nfft", "window", "fs")}
        back["input_onesided"] = how.get("return_onesided", True)
        times, again = signal.istft(ours[2], **back)
        near(again, scipy.signal.istft(theirs[2], **back)[1], 1e-8, 1e-9)
        near(times, np.arange(again.shape[-1]) / how.get("fs", 1.0))
        turned = signal.istft(np.moveaxis(np.asarray(ours[2]), -1, 0), **back, time_axis=0, freq_axis=-1)[1]
        near(turned, np.asarray(again).T)


def test_spectra_of_complex_signals_and_errors() -> None:
    z = SIGNAL + 1j * OTHER
    for got, want in zip(
        signal.welch(z, nperseg=16, return_onesided=False), scipy.signal.welch(z, nperseg=16, return_onesided=False)
    ):
        near(got, want, 1e-9, 1e-11)
    for call in (
        lambda: signal.welch(SIGNAL, window="rain"), lambda: signal.welch(SIGNAL, nperseg=8, noverlap=8), lambda: signal.welch(SIGNAL, scaling="x"),
        lambda: signal.stft(SIGNAL, boundary="x"),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            call()
    with pytest.raises(ShapeError, match="axes of time"):
        signal.istft(z, time_axis=1, freq_axis=1)


@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
@pytest.mark.parametrize("n", [1, 2, 5, 8, 9])
def test_cosine_transforms(norm: str | None, n: int) -> None:
    x = RNG.normal(size=(3, n))
    for f, truth in ((fft.dct, scipy.fft.dct), (fft.idct, scipy.fft.idct)):
        near(f(x, norm=norm), truth(x, norm=norm))
        near(f(x, axis=0, norm=norm), truth(x, axis=0, norm=norm))
        for m in (4, 12):
            near(f(x, n=m, norm=norm), truth(x, n=m, norm=norm))
    for f, truth in ((fft.dctn, scipy.fft.dctn), (fft.idctn, scipy.fft.idctn)):
        near(f(x, norm=norm), truth(x, norm=norm))
        near(f(x, s=(2, 7), norm=norm), truth(x, s=(2, 7), norm=norm))
        near(f(x, axes=(1,), norm=norm), truth(x, axes=(1,), norm=norm))


def test_cosine_transforms_have_derivatives_and_limits() -> None:
    x, w = RNG.normal(size=7), RNG.normal(size=7)
    near(fx.grad(lambda x: fnp.sum(fft.dct(x, norm="ortho") * w))(x), scipy.fft.idct(w, norm="ortho"))
    with pytest.raises(NotImplementedError, match="type 2"):
        fft.dct(x, type=3)
    with pytest.raises(ValueError, match="norm"):
        fft.dct(x, norm="small")
    with pytest.raises(DTypeError, match="real"):
        fft.dct(x + 1j)


def test_compiled_code_gives_the_same() -> None:
    x, y = RNG.normal(size=(2, 48)), RNG.normal(size=(2, 7))

    def f(x: Any, y: Any) -> Any:
        _, _, z = signal.stft(x, nperseg=12)
        return (
            signal.welch(x, nperseg=16)[1],
            z,
            signal.istft(z, nperseg=12)[1],
            signal.fftconvolve(x, y, axes=1),
            fft.idctn(fft.dctn(x)),
        )

    want, got = f(x, y), fx.jit(f, backend="native")(x, y)
    for a, b in zip(got, want, strict=True):
        near(a, b, 1e-11, 1e-12)
    near(want[-1], x)
    near(want[2][:, :48], x)
    gradient = fx.grad(lambda x: fnp.sum(signal.fftconvolve(x, y, "same", axes=1) * x))(x)
    near(
        gradient,
        signal.fftconvolve(x, y, "same", axes=1)
        + np.flip(np.asarray(signal.fftconvolve(np.flip(x, 1), y, "same", axes=1)), 1),
    )
