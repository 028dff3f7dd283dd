"""When compiled code and its reference are the same: shape, dtype, NaN, infinities, and units in the last place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from op_specs import Tolerance

from fx import dtypes

_MANTISSA = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}
_LEAST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 5e-324}


def wide(x: np.ndarray) -> np.ndarray:
    """The same numbers in float64 or complex128; integers stay."""
    if not dtypes.is_inexact(x.dtype):
        return x
    return x.astype(np.complex128 if dtypes.is_complex(x.dtype) else np.float64)


def _bound(want: np.ndarray, terms: np.ndarray | None, tolerance: Tolerance) -> np.ndarray:
    """How far each element may be off."""
    real = dtypes.real_dtype(want.dtype)
    eps, least = 2.0 ** -_MANTISSA[real.name], _LEAST[real.name]
    size = np.abs(wide(want))
    scale = np.maximum(size, tolerance.floor) if terms is None else np.abs(wide(terms))
    ulps = tolerance.ulps
    if real.itemsize == 2:  # computed in float32, rounded once
        return min(ulps, 1.0) * np.maximum(size * eps, least) + ulps * 2.0**-23 * scale
    return ulps * np.maximum(scale * eps, least)


def _same_bits(got: np.ndarray, want: np.ndarray, zero_sign: bool) -> np.ndarray:
    """Equal numbers (-0.0 and 0.0 only without ``zero_sign``), or both NaN."""
    if not dtypes.is_inexact(want.dtype):
        return got == want
    if dtypes.is_complex(want.dtype):
        parts = [_same_bits(getattr(got, p), getattr(want, p), zero_sign) for p in ("real", "imag")]
        return parts[0] & parts[1]
    same = (got == want) | ((got != got) & (want != want))
    return same & ((wide(want) != 0) | (np.signbit(wide(got)) == np.signbit(wide(want)))) if zero_sign else same


def _within(got: np.ndarray, want: np.ndarray, terms: np.ndarray | None, tolerance: Tolerance) -> np.ndarray:
    if not dtypes.is_inexact(want.dtype) or not tolerance.ulps:
        return _same_bits(got, want, tolerance.zero_sign)
    g, w = wide(got), wide(want)
    with np.errstate(all="ignore"):
        close = np.abs(g - w) <= _bound(want, terms, tolerance)
        alike = ~np.isfinite(g) & ~np.isfinite(w) if dtypes.is_complex(want.dtype) else np.isnan(g) & np.isnan(w)
    return close | alike | (g == w)


def assert_close(
    got: Any, want: Any, tolerance: Tolerance, what: str = "", terms: Any = None, operands: Sequence[np.ndarray] = ()
) -> None:
    """``got`` is ``want``: the same shape and dtype, and values within the tolerance.

    ``operands``: shown at the worst place, where they have the result's shape.
    """
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, the reference has {want.shape}"
    assert got.dtype == want.dtype, f"{what}: dtype {got.dtype}, the reference has {want.dtype}"
    good = _within(got, want, terms, tolerance)
    if good.all():
        return
    bad = np.argwhere(~good)
    lines = [f"{what}: {len(bad)} of {want.size} elements differ ({tolerance})"]
    for place in map(tuple, bad[:6]):
        given = ", ".join(repr(x[place]) for x in operands if x.shape == want.shape)
        lines.append(
            f"  at {place}: got {got[place]!r}, reference {want[place]!r}" + (f"; operands {given}" if given else "")
        )
    raise AssertionError("\n".join(lines))
