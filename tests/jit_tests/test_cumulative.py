"""Cumulative operations against NumPy's accumulate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lower_harness import lower, prepare
from ml_dtypes import bfloat16

import jit.lower.cumulative  # noqa: F401 - registers the lowerings
from jit.target import host

FLOATS = ["float32", "float64", "float16", bfloat16]
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
COMPLEX = ["complex64", "complex128"]
UFUNCS = {
    "cumsum": np.add, "cumprod": np.multiply, "cummax": np.maximum, "cummin": np.minimum, "cumlogsumexp": np.logaddexp
}  # fmt: skip
DTYPES = {
    "cumsum": [*FLOATS, *INTEGERS, *COMPLEX],
    "cumprod": [*FLOATS, *INTEGERS, *COMPLEX],
    "cummax": [*FLOATS, *INTEGERS],
    "cummin": [*FLOATS, *INTEGERS],
    "cumlogsumexp": FLOATS,
}
EPS = {
    "float16": 1e-3,
    "bfloat16": 8e-3,
    "float32": 1.2e-7,
    "float64": 2.3e-16,
    "complex64": 1.2e-7,
    "complex128": 2.3e-16,
}
SHAPES = [
    ((7,), 0),
    ((1,), 0),
    ((3, 50), 1),
    ((50, 3), 0),
    ((2, 33, 41), 1),
    ((5, 4, 3), 0),
    ((19, 5), 1),
    ((2, 0), 1),
    ((0, 2), 1),
]


def sample(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, name: str) -> np.ndarray:
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        return rng.integers(0 if dtype.kind == "u" else -5, 6, shape).astype(dtype)
    if dtype.kind == "c":
        x = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        return np.asarray(x / np.abs(x) if name == "cumprod" else x).astype(dtype)
    x = rng.normal(size=shape)
    return np.asarray(np.exp(x / 5) if name == "cumprod" else x).astype(dtype)


def truth(name: str, x: np.ndarray, axis: int, reverse: bool) -> np.ndarray:
    """In double precision, but for the integers, which wrap."""
    wide = x if x.dtype.kind in "iu" else x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)
    y = np.flip(wide, axis) if reverse else wide
    with np.errstate(all="ignore"):
        out = UFUNCS[name].accumulate(y, axis=axis, dtype=y.dtype)
    return np.flip(out, axis) if reverse else out


def check(name: str, x: np.ndarray, axis: int, reverse: bool, target: Any = None) -> np.ndarray:
    (found,) = lower(name, [x], {"axis": axis, "reverse": reverse}, [(x.shape, x.dtype)], target)
    true = truth(name, x, axis, reverse)
    if x.dtype.kind in "iu" or name in ("cummax", "cummin"):
        np.testing.assert_array_equal(found.astype(true.dtype), true)
        return found
    finite = np.where(np.isfinite(true), np.abs(true), 0)
    scale = 1 + finite.max(initial=0) if name in ("cumsum", "cumlogsumexp") else 1 + finite
    steps = np.sqrt(x.shape[axis]) + 4
    if x.dtype.itemsize == 2:  # accumulated in float32, rounded once
        steps = 1
    wide = found.astype(true.dtype)
    same = (wide == true) | (np.isnan(wide) & np.isnan(true))
    error = np.where(same, 0, np.abs(np.where(same, 0, wide) - np.where(same, 0, true)))
    assert (error <= 4 * steps * EPS[x.dtype.name] * scale).all(), (name, x.dtype, (error / scale).max())
    return found


@pytest.mark.parametrize("name", UFUNCS)
@pytest.mark.parametrize("case", range(len(SHAPES)))
def test_shapes_and_dtypes(name: str, case: int) -> None:
    shape, axis = SHAPES[case]
    rng = np.random.default_rng(case)
    every = DTYPES[name]
    for k in (0, case + 1, case + 6):
        dtype = every[k % len(every)]
        check(name, sample(rng, shape, dtype, name), axis, bool((case + k) % 2))


@pytest.mark.parametrize("name", UFUNCS)
def test_strided_operands(name: str) -> None:
    rng = np.random.default_rng(1)
    x = sample(rng, (4, 6, 10), "float32", name)
    check(name, x.transpose(2, 0, 1)[::-1], 1, False)
    check(name, x[:, ::2, ::-3], 2, True)


@pytest.mark.parametrize("name", UFUNCS)
@pytest.mark.parametrize("shape, axis", [((20_001,), 0), ((3, 9_000), 1), ((9_000, 5), 0)])
@pytest.mark.parametrize("reverse", [False, True])
def test_long_rows(name: str, shape: tuple[int, ...], axis: int, reverse: bool) -> None:
    rng = np.random.default_rng(2)
    dtype = "float32" if len(shape) == 1 else "float16" if shape[0] == 3 and name != "cumprod" else "float64"
    x = sample(rng, shape, dtype, name)
    if name == "cumprod":
        x = np.sign(x) * np.abs(x).astype(dtype) ** np.asarray(1e-3, dtype)
    check(name, x, axis, reverse)


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_long_complex_rows(name: str) -> None:
    check(name, sample(np.random.default_rng(3), (12_000,), "complex64", name), 0, False)


def test_sums_of_positive_numbers_never_decrease() -> None:
    x = np.random.default_rng(4).random(100_000).astype(np.float32)
    found = check("cumsum", x, 0, False)
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("name", UFUNCS)
@pytest.mark.parametrize("n", [12, 9_000])
def test_special_values(name: str, n: int) -> None:
    """NaN from a NaN on; infinities as NumPy has them."""
    rng = np.random.default_rng(5)
    for value in (np.nan, np.inf, -np.inf):
        for at in (0, n // 2, n - 1):
            x = sample(rng, (2, n), "float64", name)
            x[0, at] = value
            x[1, at // 2] = -np.inf
            check(name, x, 1, False)
            check(name, np.ascontiguousarray(x.T), 0, True)
    x = np.full((3, n), -np.inf)
    check(name, x, 1, False)


def test_negative_zero_stays() -> None:
    (found,) = lower("cumsum", [np.array([-0.0, -0.0, 1.0])], {"axis": 0, "reverse": False}, [((3,), np.float64)])
    assert np.signbit(found[:2]).all()


def test_logsumexp_keeps_what_is_far_below_later_elements() -> None:
    x = np.array([-1000.0, -1000.0, 0.0, 700.0, -5.0])
    (found,) = lower("cumlogsumexp", [x], {"axis": 0, "reverse": False}, [((5,), np.float64)])
    np.testing.assert_allclose(found, np.logaddexp.accumulate(x), rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "complex128"])
@pytest.mark.parametrize(
    "shape, axis, reverse",
    [((7,), 0, False), ((19, 5), 1, True), ((40, 21), 0, False), ((17_000,), 0, True), ((9_000, 3), 0, False)],
)
def test_linear_recurrences(dtype: Any, shape: tuple[int, ...], axis: int, reverse: bool) -> None:
    rng = np.random.default_rng(8)
    a, x = (sample(rng, shape, dtype, name) for name in ("cumprod", "cumsum"))
    a = a if a.dtype.kind == "i" else np.asarray(a * 0.5, a.dtype)
    (found,) = lower("linear_recurrence", [a, x], {"axis": axis, "reverse": reverse}, [(shape, x.dtype)])
    wide = x.dtype if x.dtype.kind == "i" else np.complex128 if x.dtype.kind == "c" else np.float64
    factors, true = (np.moveaxis(np.flip(v, axis) if reverse else v, axis, 0) for v in (a.astype(wide), x.astype(wide)))
    true = true.copy()
    with np.errstate(over="ignore"):
        for k in range(1, len(true)):
            true[k] += factors[k] * true[k - 1]
    found = np.moveaxis(np.flip(found, axis) if reverse else found, axis, 0)
    np.testing.assert_allclose(
        found.astype(wide), true, rtol=0, atol=0 if x.dtype.kind == "i" else 20 * EPS[x.dtype.name] * np.abs(true).max()
    )


def test_an_infinite_product_of_factors_leaves_a_zero_alone() -> None:
    a, x = np.full(20_000, 1.5, np.float32), np.zeros(20_000, np.float32)
    x[-10:] = 1
    (found,) = lower("linear_recurrence", [a, x], {"axis": 0, "reverse": False}, [(x.shape, x.dtype)])
    np.testing.assert_allclose(found[:-10], 0)
    np.testing.assert_allclose(found[-10:], 2 * (1.5 ** np.arange(1, 11) - 1), rtol=1e-6)


def test_blocks_depend_on_shapes_only() -> None:
    x = np.zeros((40_000,), np.float32)
    h, _ = prepare("cumsum", [x], {"axis": 0, "reverse": False}, [(x.shape, x.dtype)])
    assert [s.name for s in h.steps] == ["cumsum (totals)", "cumsum (scan)", "cumsum (resume)"]


@pytest.mark.parametrize("level", ["scalar", "sse2"])
def test_other_machines(level: str) -> None:
    if level == "sse2" and host().arch != "x86_64":
        pytest.skip("sse2 is a level of x86-64")
    rng = np.random.default_rng(6)
    for name in ("cumsum", "cumlogsumexp"):
        check(name, sample(rng, (30, 21), "float32", name), 0, False, host().restricted(level))
