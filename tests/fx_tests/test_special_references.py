"""The NumPy references of the special primitives against mpmath, to the ends of float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
from fx.primitives import special_math

mpmath = pytest.importorskip("mpmath")

TINY = np.array([5e-324, 1e-320, 2.2e-308, 1e-300, 1e-30, 1e-20, 1e-16, 1e-10, 1e-5])
BOTH = np.concatenate([TINY, -TINY])
RANDOM = np.random.default_rng(0)
LOG_GAMMA = lambda x: mpmath.re(mpmath.loggamma(x))  # noqa: E731

# (reference, truth, arguments, relative error allowed, absolute error allowed where the function has a zero)
CASES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], np.ndarray, float, float]] = {
    "lgamma near 0": (special_math.lgamma, LOG_GAMMA, BOTH, 1e-15, 0),
    "lgamma": (special_math.lgamma, LOG_GAMMA, RANDOM.uniform(1e-3, 30, 60), 1e-15, 0),
    "lgamma at its zeros": (special_math.lgamma, LOG_GAMMA, np.array([1, 2])[:, None].repeat(5, 1).ravel() + np.tile([4e-16, -4e-16, 1e-10, 1e-5, -0.1], 2), 1e-15, 0),
    "lgamma far": (special_math.lgamma, LOG_GAMMA, np.array([1e2, 1e10, 1e100, 1e300, 2.5e305]), 1e-15, 0),
    "lgamma left": (special_math.lgamma, LOG_GAMMA, RANDOM.uniform(-30, 0, 60), 1e-14, 1e-14),
    "digamma near 0": (special_math.digamma, mpmath.digamma, BOTH[np.abs(BOTH) > 1e-300], 1e-15, 0),
    "digamma": (special_math.digamma, mpmath.digamma, RANDOM.uniform(0.01, 30, 60), 1e-15, 1e-15),
    "digamma far": (special_math.digamma, mpmath.digamma, np.array([1e2, 1e10, 1e100, 1.7e308]), 1e-15, 0),
    "digamma left": (special_math.digamma, mpmath.digamma, RANDOM.uniform(-30, 0, 60), 1e-14, 1e-13),
    "erf_inv": (special_math.erf_inv, mpmath.erfinv, RANDOM.uniform(-1, 1, 40), 1e-15, 0),
    "erf_inv at 1": (special_math.erf_inv, mpmath.erfinv, 1 - 2.0 ** -np.arange(1, 54), 1e-15, 0),
    "erf_inv near 0": (special_math.erf_inv, mpmath.erfinv, BOTH, 1e-15, 5e-324),
    "erf": (special_math.erf, mpmath.erf, np.concatenate([BOTH, RANDOM.uniform(-7, 7, 40)]), 1e-15, 5e-324),
    "erfc": (special_math.erfc, mpmath.erfc, RANDOM.uniform(-7, 26.5, 60), 3e-15, 0),
    "erfc underflows": (special_math.erfc, mpmath.erfc, np.array([26.6, 27.0, 27.2, 28.0, 1e5]), 1e-15, 1e-323),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_accuracy(name: str) -> None:
    f, truth, xs, rtol, atol = CASES[name]
    with np.errstate(all="ignore"), mpmath.workdps(50):
        found = f(xs)
        for x, y in zip(xs, found):
            want = truth(mpmath.mpf(float(x)))
            assert abs(mpmath.mpf(float(y)) - want) <= rtol * abs(want) + mpmath.mpf(atol), (x, y, want)


def test_poles_and_infinities() -> None:
    x = np.array([0.0, -0.0, -1.0, -7.0, np.inf, -np.inf, np.nan])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(special_math.lgamma(x), [np.inf] * 6 + [np.nan])
        np.testing.assert_array_equal(
            special_math.digamma(x), [-np.inf, np.inf, np.nan, np.nan, np.inf, np.nan, np.nan]
        )
        np.testing.assert_array_equal(fx.jit(fx.lax.digamma)(x), special_math.digamma(x))
        np.testing.assert_array_equal(
            special_math.erf_inv(np.array([1.0, -1.0, 1.1, np.nan])), [np.inf, -np.inf, np.nan, np.nan]
        )
