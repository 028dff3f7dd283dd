"""Bits in bytes: packbits and unpackbits."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..errors import (
    ArgumentError,
    DTypeError,
)
from ..primitives import elementwise as p
from ..primitives import joining, shaping
from ..primitives.reductions import reduce_sum
from .axes import canonical_axis
from .core import Value, as_type, as_value, broadcast_value
from .manipulation import ravel
from .unary import truth

__all__ = ["packbits", "unpackbits"]


def _axis(a: Any, axis: Any) -> tuple[Value, int]:
    x = as_value(a)
    return (ravel(x), 0) if axis is None else (x, canonical_axis(axis, x.ndim))


def _shifts(bitorder: str, shape: tuple[int, ...], i: int) -> Value:
    """The number of each of the 8 bits along axis i."""
    if bitorder not in ("big", "little"):
        raise ArgumentError(f"bitorder must be 'big' or 'little'; found {bitorder!r}")
    order = np.arange(8, dtype=np.uint8)
    column = (order if bitorder == "little" else order[::-1]).reshape([8 if j == i else 1 for j in range(len(shape))])
    return broadcast_value(as_value(column), shape)


def packbits(a: Any, axis: Any = None, bitorder: str = "big") -> Value:
    """Eight elements along ``axis`` (not zero is a 1) as one byte; zeros fill the last one."""
    x, i = _axis(a, axis)
    if dtypes.is_inexact(x.dtype):
        raise DTypeError(f"packbits takes integers or booleans; found {x.dtype}")
    bits = as_type(truth(x), np.uint8)
    n = x.shape[i]
    bits = joining.pad(bits, np.uint8(0), [(0, -n % 8, 0) if j == i else (0, 0, 0) for j in range(x.ndim)])
    bits = shaping.reshape(bits, (*x.shape[:i], -(-n // 8), 8, *x.shape[i + 1 :]))
    return reduce_sum(p.shift_left(bits, _shifts(bitorder, bits.shape, i + 1)), (i + 1,))


def unpackbits(a: Any, axis: Any = None, count: int | None = None, bitorder: str = "big") -> Value:
    """The bits of bytes along ``axis``, as 0 and 1; ``count`` of them (negative: but for so many at the end)."""
    x, i = _axis(a, axis)
    if x.dtype != dtypes.uint8:
        raise DTypeError(f"unpackbits takes uint8; found {x.dtype}")
    wide = (*x.shape[: i + 1], 8, *x.shape[i + 1 :])
    repeated = shaping.broadcast_in_dim(x, wide, [j + (j > i) for j in range(x.ndim)])
    bits = p.bitwise_and(p.shift_right_logical(repeated, _shifts(bitorder, wide, i + 1)), 1)
    total = 8 * x.shape[i]
    bits = shaping.reshape(bits, (*x.shape[:i], total, *x.shape[i + 1 :]))
    if count is None:
        return bits
    kept = count if count >= 0 else max(total + count, 0)
    config = [(0, kept - total, 0) if j == i else (0, 0, 0) for j in range(x.ndim)]
    return joining.pad(bits, np.uint8(0), config)
