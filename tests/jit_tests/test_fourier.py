"""Fourier transforms by kernels of vectors, beside sums in extended precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from loop_harness import level
from lower_harness import lower
from thorough import part

import fx
import fx.numpy as fnp
import jit
import jit.lower.fft  # noqa: F401 - registers the lowering
from jit.lower.fft_vectors import _LONGEST_ALONE
from jit.target import host

KINDS = ("fft", "ifft")
LENGTHS = [
    1, 2, 3, 4, 5, 8, 15, 16, 25, 30, 32, 36, 60, 64, 75, 81, 100, 120, 125, 128, 240, 243, 256, 360, 500, 7, 77, 97,
]  # fmt: skip


def draw(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)


def true_transform(x: np.ndarray, axis: int, inverse: bool) -> np.ndarray:
    """The sums as they are written, in extended precision."""
    n = x.shape[axis]
    k = np.arange(n)
    turns = np.outer(k, k) % n / np.longdouble(n) * (2 if inverse else -2)
    pi = np.longdouble("3.14159265358979323846264338327950288")
    matrix = np.cos(turns * pi) + 1j * np.sin(turns * pi)
    y = np.moveaxis(np.moveaxis(x.astype(np.clongdouble), axis, -1) @ matrix, -1, axis)
    return y / n if inverse else y


def check(x: np.ndarray, axis: int = -1, kind: str = "fft", target: Any = None) -> None:
    axis %= x.ndim
    params = {"kind": kind, "length": x.shape[axis], "axis": axis}
    (found,) = lower("fft", [x], params, [(x.shape, x.dtype)], target)
    want = true_transform(x, axis, kind == "ifft")
    scale = np.sqrt(np.mean(np.abs(want) ** 2)) if want.size else 0.0
    eps = np.finfo(x.real.dtype).eps
    assert np.sqrt(np.mean(np.abs(found - want) ** 2)) <= 3 * eps * scale
    assert np.abs(found - want).max() <= 16 * eps * scale


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("kind", KINDS)
def test_rows(dtype: str, kind: str) -> None:
    for n in LENGTHS:
        check(draw((2, n), dtype, n), kind=kind)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("kind", KINDS)
def test_short_rows_one_in_each_lane(dtype: str, kind: str) -> None:
    """As many rows as fill the lanes of any machine, and a few more; of every length in vectors and beside."""
    for n in (1, 2, 3, 5, 8, 9, 15, 16, 20, 27, 60, 125):
        check(draw((16, n), dtype, n), kind=kind)
        check(draw((3, 7, n), dtype, n)[:, ::-1], kind=kind)


def check_real(x: np.ndarray, target: Any = None) -> None:
    """Rows of real numbers there and back; of the first number and the last one the imaginary part does not count."""
    n, m = x.shape[-1], x.shape[-1] // 2
    complex_ = np.result_type(x.dtype, np.complex64)
    eps = np.finfo(x.dtype).eps
    half = (*x.shape[:-1], m + 1)
    (found,) = lower("fft", [x], {"kind": "rfft", "length": n, "axis": x.ndim - 1}, [(half, complex_)], target)
    want = true_transform(x, -1, False)[..., : m + 1]
    scale = np.sqrt(np.mean(np.abs(want) ** 2))
    assert (
        np.sqrt(np.mean(np.abs(found - want) ** 2)) <= 3 * eps * scale
        and np.abs(found - want).max() <= 16 * eps * scale
    )
    spectrum = want.astype(complex_)
    spectrum[..., 0] += 5j
    spectrum[..., -1] += 0 if n % 2 else 7j
    params = {"kind": "irfft", "length": n, "axis": x.ndim - 1}
    (back,) = lower("fft", [spectrum], params, [(x.shape, x.dtype)], target)
    scale = np.sqrt(np.mean(x**2))
    assert np.sqrt(np.mean(np.abs(back - x) ** 2)) <= 4 * eps * scale and np.abs(back - x).max() <= 20 * eps * scale


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_rows(dtype: str) -> None:
    for n in (2, 3, 8, 9, 16, 32, 50, 64, 72, 100, 128, 162, 200, 250, 256, 480, 512, 600, 14, 126):
        check_real(draw((2, n), "complex128", n).real.astype(dtype))
    for n in (2, 6, 16, 50, 72, 100, 128):
        check_real(draw((19, n), "complex128", n).real.astype(dtype))
    x = draw((4, 3, 240), "complex128").real.astype(dtype)
    for view in (
        x[::2, ::-1],
        x.swapaxes(0, 1),
        x[:, :, 1:201],
        x[..., ::-1],
        x[..., ::2],
        np.broadcast_to(x[:1, :1], (3, 2, 240)),
    ):
        check_real(view)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("kind", KINDS)
def test_beside_a_contiguous_dimension(dtype: str, kind: str) -> None:
    for n in (1, 3, 8, 20, 45, 64, 250):
        for inner in (1, 7, 8, 9, 33):
            check(draw((2, n, inner), dtype, n), 1, kind)


MACHINES = ("scalar", "sse2", "sse4", "avx2", "avx512")


@pytest.mark.parametrize("name", MACHINES)
def test_other_machines(name: str) -> None:
    target = level(name)
    for dtype in part(("complex64", "complex128"), MACHINES.index(name), 2):
        for n in (64, 240, 625):
            check(draw((2, n), dtype), target=target)
        check(draw((48, 19), dtype), 0, "ifft", target)
        check_real(draw((3, 300), dtype).real.copy(), target)


def test_strided_rows() -> None:
    x = draw((6, 5, 120), "complex128")
    for view in (
        x[::2, ::-1],
        x.swapaxes(0, 1),
        x[:, :, ::2],
        x[..., ::-1],
        x[:, :0],
        np.broadcast_to(x[:1, :1], (3, 2, 120)),
    ):
        if view.size:
            check(view)
    check(np.asfortranarray(x), 0)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_long_rows_are_cut_in_two_steps(dtype: str) -> None:
    """Against NumPy's in double precision, whose error is as large as ours."""
    for n in (_LONGEST_ALONE * 2, 30_000, 3**10):
        x = draw((2, n), dtype, n)
        for kind in KINDS:
            found = np.asarray(fx.jit(getattr(fnp.fft, kind))(x))
            want = getattr(np.fft, kind)(x.astype(np.complex128))
            error = np.sqrt(np.mean(np.abs(found - want) ** 2) / np.mean(np.abs(want) ** 2))
            assert found.dtype == x.dtype and error <= 4 * np.finfo(dtype).eps
    real = draw((2, 50_000), dtype).real.copy()
    half = np.asarray(fx.jit(fnp.fft.rfft)(real))
    want = np.fft.rfft(real.astype(np.float64))
    assert np.sqrt(np.mean(np.abs(half - want) ** 2) / np.mean(np.abs(want) ** 2)) <= 4 * np.finfo(dtype).eps
    back = np.asarray(fx.jit(fnp.fft.irfft)(half))
    assert half.dtype == dtype and np.sqrt(np.mean((back - real) ** 2)) <= 5 * np.finfo(dtype).eps


def test_the_same_bits_on_any_number_of_threads() -> None:
    cases = (
        draw((2, 40_000), "complex64"), draw((50, 2000), "complex64"), draw((501, 60), "complex64"), draw((100, 137), "complex128"),
    )  # fmt: skip
    for x, axis in zip(cases, (-1, -1, -1, 0)):
        f = fx.jit(lambda x, axis=axis: fnp.fft.fft(x, axis=axis))
        results = []
        for threads in (1, 2, 3, 7):
            with jit.using_threads(threads):
                results.append(np.asarray(f(x)).tobytes())
        assert len(set(results)) == 1


def test_real_rows_have_the_same_bits_on_any_number_of_threads() -> None:
    x = draw((3, 40_000), "complex64").real.copy()
    f = fx.jit(lambda x: (fnp.fft.rfft(x), fnp.fft.irfft(fnp.fft.rfft(x) * 2)))
    results = []
    for threads in (1, 2, 3, 7):
        with jit.using_threads(threads):
            results.append([np.asarray(y).tobytes() for y in f(x)])
    assert all(r == results[0] for r in results)


def test_an_impulse_gives_the_roots_of_unity() -> None:
    """Where the number 1 stands at place 1, each result is one root, a product of at most three that are rounded."""
    for n in (4096, 40_000):
        x = np.zeros(n, np.complex128)
        x[1] = 1
        turns = np.arange(n) / np.longdouble(n) * 2
        pi = np.longdouble("3.14159265358979323846264338327950288")
        found = np.asarray(fx.jit(fnp.fft.fft)(x))
        assert np.abs(found - (np.cos(turns * pi) - 1j * np.sin(turns * pi))).max() <= 4 * np.finfo(float).eps


def test_what_is_not_finite_reaches_every_result_of_its_row_alone() -> None:
    x = draw((3, 240), "complex64")
    x[1, 7] = np.nan
    x[2, 3] = np.inf
    found = np.asarray(fx.jit(fnp.fft.fft)(x))
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all() and not np.isfinite(found[2]).any()


def test_which_kernels_run() -> None:
    def steps(shape: tuple[int, ...], axis: int = -1) -> str:
        x = np.zeros(shape, np.complex64)
        return str(fx.jit(lambda x: fnp.fft.fft(x, axis=axis)).lower(x).explain())

    lanes = host().lanes(jit.loop_ir.f32)
    assert "pocketfft" in steps((7 * 11 * 13,)) and "pocketfft" in steps((lanes,))
    if lanes > 1:
        assert "fft (whole)" in steps((lanes * lanes,)) and "fft (rows)" in steps((lanes, 12))
        assert "fft (across)" in steps((2 * _LONGEST_ALONE,))
        assert "beside" in steps((12, lanes), 0)


def test_powers_of_two_share_a_kernel_of_their_own() -> None:
    def kernels(n: int) -> set[object]:
        x = np.zeros((host().lanes(jit.loop_ir.f32), n), np.complex64)
        program = fx.jit(fnp.fft.fft).lower(x).compile().executable.program
        return {h.key for h in program.kernels if "fft_rows" in str(h.key)}

    assert kernels(64) == kernels(128) and kernels(96) == kernels(120)
    assert kernels(64).isdisjoint(kernels(96))
    if host().lanes(jit.loop_ir.f32) > 1:
        assert kernels(64) and kernels(96)
