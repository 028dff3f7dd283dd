"""rng_bit_generator: random bits from an explicit state, as XLA's operation of that name."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any

from .. import numpy as fnp
from ..dtypes import canonical, uint32, uint64
from ..errors import ArgumentError, DTypeError
from ..numpy.axes import static_shape
from ..numpy.core import as_value
from ..primitives.random_bits import threefry2x32

__all__ = ["RandomAlgorithm", "rng_bit_generator"]


class RandomAlgorithm(enum.IntEnum):
    """What makes random bits. Whatever JAX takes by default on a platform, here it is threefry."""

    RNG_DEFAULT = 0
    RNG_THREE_FRY = 1
    RNG_PHILOX = 2

    def __str__(self) -> str:
        return self.name


def rng_bit_generator(
    key: Any, shape: Any, dtype: Any = uint32, algorithm: Any = RandomAlgorithm.RNG_DEFAULT, *, out_sharding: Any = None
) -> tuple[Any, Any]:
    """A new state, and random bits: threefry of a counter, with JAX's bits for ``RNG_THREE_FRY``.

    Args:
        key: the state: four words of uint32 (two of a key, two of a counter, the lower ones first), or two of uint64.
        shape: of the bits.
        dtype: unsigned integers of 8 to 64 bits.
        algorithm: ``RNG_THREE_FRY`` or ``RNG_DEFAULT``, which is that.

    >>> import fx
    >>> state, bits = fx.lax.rng_bit_generator(fx.numpy.array([7, 8, 9, 10], "uint32"), (3,))
    >>> state, bits
    (Array([ 7,  8, 11, 10], dtype=uint32), Array([2312292062, 4197300169, 3466003948], dtype=uint32))
    """
    key, shape, dtype = as_value(key, "key of rng_bit_generator"), static_shape(shape), canonical(dtype)
    if (tuple(key.shape), key.dtype) not in (((4,), uint32), ((2,), uint64)):
        raise DTypeError(
            f"rng_bit_generator takes a state of uint32[4] or uint64[2]; found {key.dtype}{list(key.shape)}"
        )
    if dtype.kind != "u":
        raise DTypeError(f"rng_bit_generator makes unsigned integers; found dtype {dtype}")
    if RandomAlgorithm(algorithm) is RandomAlgorithm.RNG_PHILOX:
        raise ArgumentError("rng_bit_generator: fx has no Philox; RNG_THREE_FRY, and RNG_DEFAULT, are threefry")
    words = key if key.dtype == uint64 else _joined(key[0::2], key[1::2])
    split = None if dtype == uint64 else _halved(shape)
    half = shape if split is None else (*shape[:split], -(-shape[split] // 2), *shape[split + 1 :])
    count = max(math.prod(half), 0)
    counters = words[1] + fnp.arange(count, dtype=uint64).reshape(half)
    low, high = threefry2x32(
        *[fnp.broadcast_to(w, half) for w in _parts(words[0])], *_parts(counters)
    )  # fmt: skip
    if split is None:
        bits = _joined(low, high) if dtype == uint64 else low
    else:
        both = fnp.stack([low, high], split + 1)
        bits = both.reshape(*shape[:split], 2 * half[split], *shape[split + 1 :])
        bits = bits[(slice(None),) * split + (slice(shape[split]),)]
    after = fnp.stack([words[0], words[1] + count])
    new = after if key.dtype == uint64 else fnp.stack(_parts(after), 1).reshape(4)
    return new, bits.astype(dtype)


def _halved(shape: Sequence[int]) -> int | None:
    """The dimension along which pairs of words lie: the first even one, or else the largest; of a single number none."""
    even = [i for i, n in enumerate(shape) if n % 2 == 0]
    return even[0] if even else max(range(len(shape)), key=lambda i: shape[i], default=None)


def _joined(low: Any, high: Any) -> Any:
    return low.astype(uint64) | (high.astype(uint64) << 32)


def _parts(wide: Any) -> list[Any]:
    return [wide.astype(uint32), (wide >> 32).astype(uint32)]
