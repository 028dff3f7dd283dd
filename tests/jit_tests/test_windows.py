"""Window lowerings against a walk over every window in Python."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from lower_harness import lower
from ml_dtypes import bfloat16

import jit.lower.windows  # noqa: F401 - registers the lowerings
from jit.target import host

DTYPES = [
    "float32",
    "float64",
    "float16",
    bfloat16,
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
]
TOLERANCE = {
    "float16": 2e-3,
    "bfloat16": 2e-2,
    "float32": 2e-6,
    "float64": 1e-14,
    "complex64": 2e-6,
    "complex128": 1e-14,
}


def params(window: tuple, stride: tuple, pads: tuple, base: tuple, dilation: tuple) -> dict[str, Any]:
    return {
        "window_dimensions": window,
        "window_strides": stride,
        "padding": pads,
        "base_dilation": base,
        "window_dilation": dilation,
    }


def counts(shape: tuple[int, ...], p: dict[str, Any]) -> tuple[int, ...]:
    found = []
    for n, k, s, (lo, hi), bd, wd in zip(shape, *p.values()):
        room = max(0, ((n - 1) * bd + 1 if n else 0) + lo + hi) - ((k - 1) * wd + 1)
        found.append(room // s + 1 if room >= 0 else 0)
    return tuple(found)


def meetings(shape: tuple[int, ...], p: dict[str, Any]) -> dict[tuple, list[tuple[int, tuple]]]:
    """For each window the (tap number, element index) pairs that are no holes."""
    window, stride, pads, base, dilation = p.values()
    found = {}
    for o in itertools.product(*map(range, counts(shape, p))):
        found[o] = []
        for number, tap in enumerate(itertools.product(*map(range, window))):
            at = [oo * s - lo + t * wd for oo, s, (lo, _), t, wd in zip(o, stride, pads, tap, dilation)]
            if all(a >= 0 and a % bd == 0 and a // bd < n for a, bd, n in zip(at, base, shape)):
                found[o].append((number, tuple(a // bd for a, bd in zip(at, base))))
    return found


def sample(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, special: bool = True) -> np.ndarray:
    """Small numbers with many ties; NaN and infinities among floats."""
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    x = rng.integers(0, 6, shape) - (0 if dtype.kind == "u" else 3)
    x = x.astype(dtype)
    if special and dtype.kind not in "iu":
        x = np.where(rng.random(shape) < 0.07, np.array([np.nan, np.inf, -np.inf], dtype)[rng.integers(0, 3, shape)], x)
    return x


def strided(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """The same array in another layout."""
    if x.ndim < 2 or rng.random() < 0.5:
        return np.repeat(x[..., None], 2, -1)[..., 1] if x.ndim and rng.random() < 0.3 else x
    order = rng.permutation(x.ndim)
    return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


def configuration(rng: np.random.Generator) -> tuple[tuple[int, ...], dict[str, Any]]:
    rank = int(rng.integers(1, 5))
    shape = tuple(int(n) for n in rng.integers(1, (13, 9, 7, 5)[rank - 1] + 1, rank))
    if rng.random() < 0.08:
        shape = (*shape[:-1], 0)
    rows = []
    for n in shape:
        if rng.random() < 0.35:
            rows.append((1, 1, (0, 0), 1, 1))
            continue
        dilated = rng.random() < 0.35
        bd, wd = (int(d) for d in rng.integers(1, 4, 2)) if dilated else (1, 1)
        lo, hi = (int(v) for v in rng.integers(-1, 4, 2)) if rng.random() < 0.6 else (0, 0)
        rows.append((int(rng.integers(1, 4)), int(rng.integers(1, 4)), (lo, hi), bd, wd))
    p = params(*(tuple(r[k] for r in rows) for k in range(5)))
    if rng.random() < 0.3:  # channels
        shape = (*shape, int(rng.choice([2, 3, 8, 19, 40])))
        p = params(*((*v, e) for v, e in zip(p.values(), (1, 1, (0, 0), 1, 1))))
    return shape, p


CASES = [configuration(np.random.default_rng(k)) for k in range(36)]
CASES += [
    ((2, 6, 6, 32), params((1, 2, 2, 1), (1, 2, 2, 1), ((0, 0),) * 4, (1,) * 4, (1,) * 4)),
    ((2, 3, 9, 9), params((1, 1, 3, 3), (1, 1, 2, 2), ((0, 0), (0, 0), (1, 1), (1, 1)), (1,) * 4, (1,) * 4)),
    ((1, 1300), params((1, 3), (1, 1), ((0, 0), (2, 2)), (1, 1), (1, 1))),
    ((1, 1300), params((1, 3), (1, 2), ((0, 0), (-1, -1)), (1, 1), (1, 1))),
    ((700,), params((40,), (1,), ((39, 0),), (1,), (1,))),
    ((300, 1), params((5, 1), (1, 1), ((2, 2), (0, 0)), (2, 1), (1, 1))),
    # transposes of sums over windows that do not overlap; in the last two, some elements lie in no window
    ((2, 3, 4, 19), params((1, 2, 2, 1), (1,) * 4, ((0, 0), (1, 1), (1, 1), (0, 0)), (1, 2, 2, 1), (1,) * 4)),
    ((2, 3, 37), params((1, 2, 2), (1,) * 3, ((0, 0), (1, 1), (1, 1)), (1, 2, 2), (1,) * 3)),
    ((3, 5, 8), params((1, 2, 1), (1,) * 3, ((0, 0), (1, 4), (0, 0)), (1, 3, 1), (1,) * 3)),
    ((3, 40), params((1, 2), (1, 1), ((0, 0), (1, 2)), (1, 3), (1, 1))),
    ((), params((), (), (), (), ())),
    ((5, 4), params((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1))),
]  # fmt: skip


def some_dtypes(case: int, *others: str) -> list[Any]:
    """float32, and every so often another: kernels take a tenth of a second to compile."""
    rare = [*DTYPES[1:], *others]
    return ["float32", rare[case // 3 % len(rare)]] if case % 3 == 0 else ["float32"]


def close(found: np.ndarray, true: np.ndarray) -> None:
    name = found.dtype.name
    if name in TOLERANCE:
        wide = complex if found.dtype.kind == "c" else float
        np.testing.assert_allclose(
            found.astype(wide), true.astype(wide), rtol=TOLERANCE[name], atol=4 * TOLERANCE[name]
        )
    else:
        np.testing.assert_array_equal(found, true)


def wide_type(dtype: np.dtype) -> Any:
    return dtype if dtype.kind in "iubc" else np.float64


@pytest.mark.parametrize("case", range(len(CASES)))
def test_sum_and_extremes(case: int) -> None:
    shape, p = CASES[case]
    rng = np.random.default_rng(case)
    windows = meetings(shape, p)
    for dtype in some_dtypes(case, "complex64", "bool"):
        x = sample(rng, shape, dtype)
        mode = {"complex64": "sum", "bool": ("max", "min")[case % 2]}.get(x.dtype.name, ("sum", "max", "min")[case % 3])
        true = np.zeros(counts(shape, p), wide_type(x.dtype))
        for o, met in windows.items():
            values = np.array([x[i] for _, i in met]).astype(true.dtype)
            with np.errstate(invalid="ignore"):
                true[o] = reduced(mode, values, x.dtype)
        (found,) = lower(f"reduce_window_{mode}", [strided(rng, x)], p, [(true.shape, x.dtype)])
        close(found, true.astype(x.dtype))


def reduced(mode: str, values: np.ndarray, dtype: np.dtype) -> Any:
    if mode == "sum":
        return values.sum(dtype=values.dtype)
    if values.size:
        return values.max() if mode == "max" else values.min()
    if dtype.kind == "b":
        return mode == "min"
    if dtype.kind in "iu":
        return np.iinfo(dtype).min if mode == "max" else np.iinfo(dtype).max
    return -np.inf if mode == "max" else np.inf


def first_extreme(mode: str, met: list[tuple[int, tuple]], x: np.ndarray) -> int:
    best, at = None, 0
    for tap, i in met:
        v = x[i].astype(wide_type(x.dtype))
        if best is None or (v > best if mode == "argmax" else v < best) or (v != v and best == best):
            best, at = v, tap
    return at


@pytest.mark.parametrize("case", range(0, len(CASES), 2))
def test_positions(case: int) -> None:
    shape, p = CASES[case]
    rng = np.random.default_rng(case)
    windows = meetings(shape, p)
    for dtype in some_dtypes(case, "bool"):
        x = sample(rng, shape, dtype)
        mode = ("argmax", "argmin")[case // 2 % 2]
        true = np.zeros(counts(shape, p), np.int32)
        for o, met in windows.items():
            true[o] = first_extreme(mode, met, x)
        (found,) = lower(f"reduce_window_{mode}", [strided(rng, x)], p, [(true.shape, np.int32)])
        np.testing.assert_array_equal(found, true)
        results = [(true.shape, np.int32), (true.shape, x.dtype)]  # in one pass: the positions and the extremes
        positions, extremes = lower(f"reduce_window_{mode}", [strided(rng, x)], p, results)
        (alone,) = lower(f"reduce_window_{mode[3:]}", [strided(rng, x)], p, results[1:])
        np.testing.assert_array_equal(positions, true)
        assert extremes.tobytes() == alone.tobytes()


@pytest.mark.parametrize("case", range(len(CASES)))
def test_select_and_scatter_add(case: int) -> None:
    shape, p = CASES[case]
    rng = np.random.default_rng(case)
    windows = meetings(shape, p)
    shape_out = counts(shape, p)
    size = int(np.prod(p["window_dimensions"]))
    for dtype in some_dtypes(case, "complex128", "complex64"):
        x = sample(rng, shape, dtype)
        taps = rng.integers(-1, size + 1, shape_out).astype(np.int32)
        true = np.zeros(shape_out, x.dtype)
        ct = sample(rng, shape_out, dtype, special=False)
        scattered = np.zeros(shape, wide_type(x.dtype))
        for o, met in windows.items():
            for tap, i in met:
                if tap == taps[o]:
                    true[o] = x[i]
                    scattered[i] += ct[o].astype(scattered.dtype)
        (found,) = lower("window_select", [strided(rng, x), strided(rng, taps)], p, [(shape_out, x.dtype)])
        # as bits: NumPy's comparison knows no NaN of bfloat16
        np.testing.assert_array_equal(found.view(f"V{x.itemsize}").tolist(), true.view(f"V{x.itemsize}").tolist())
        (back,) = lower(
            "window_scatter_add", [strided(rng, ct), taps], {**p, "operand_shape": shape}, [(shape, x.dtype)]
        )
        close(back, scattered.astype(x.dtype))


@pytest.mark.parametrize("level", ["scalar", "sse2"])
def test_other_machines(level: str) -> None:
    if level == "sse2" and host().arch != "x86_64":
        pytest.skip("sse2 is a level of x86-64")
    rng = np.random.default_rng(1)
    p = params((1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0)), (1,) * 4, (1,) * 4)
    x = rng.normal(size=(2, 9, 9, 21)).astype(np.float32)
    out = counts(x.shape, p)
    here = lower("reduce_window_max", [x], p, [(out, np.float32)])
    there = lower("reduce_window_max", [x], p, [(out, np.float32)], target=host().restricted(level))
    np.testing.assert_array_equal(here, there)
