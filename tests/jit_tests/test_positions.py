"""Positions of what is true against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from lower_harness import lower, prepare

import jit.lower.positions  # noqa: F401 - registers the lowering
from jit.target import host


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("level", ["native", "avx2", "scalar"])
@pytest.mark.parametrize("density", [0.0, 0.03, 0.5, 1.0])
def test_positions(index: str, level: str, density: float) -> None:
    """Fewer, as many and more places than are true, in short rows and in rows that are cut into blocks."""
    if level == "avx2" and host().arch != "x86_64":
        pytest.skip("avx2 is a level of x86-64")
    target = host() if level == "native" else host().restricted(level)
    rng = np.random.default_rng(0)
    for rows, n in ((1, 0), (3, 1), (5, 67), (2, 1000), (20, 70_001), (2, 70_001)):
        x = rng.random((rows, n)) < density
        for length in (1, max(n // 3, 2), n + 40):
            true = np.full((rows, length), n, index)
            for row, places in zip(x, true):
                found = np.flatnonzero(row)[:length]
                places[: found.size] = found
            (got,) = lower(
                "nonzero", [x], {"length": length, "index_dtype": np.dtype(index)}, [(true.shape, true.dtype)], target
            )
            np.testing.assert_array_equal(got, true)


def test_blocks_depend_on_shapes_only() -> None:
    for shape, steps in (((1, 1 << 16), 2), ((20, 1 << 16), 1), ((1, (1 << 16) - 1), 1)):
        x = np.zeros(shape, bool)
        h, _ = prepare("nonzero", [x], {"length": 9, "index_dtype": np.dtype("int32")}, [((shape[0], 9), np.int32)])
        assert len(h.steps) == steps
