"""Keys and raw bits: what every sampler is built on.

Bits for a shape are threefry-2x32 of the elements' row-major positions (64 bit counters, as two words), so an
element's bits depend on its position and the key alone.  Source: Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..config import config
from ..errors import DTypeError, ShapeError
from ..numpy.axes import static_shape
from ..numpy.core import as_type, as_value, broadcast_value, filled
from ..primitives import elementwise as p
from ..primitives import shaping
from ..primitives.random_bits import threefry2x32
from ..trace import Tracer

__all__ = ["PRNGKey", "bits", "clone", "fold_in", "key", "key_data", "split", "wrap_key_data"]

Value = Any
_WORD = 0xFFFFFFFF


# ------------------------------------------------------------------------------------------- checks


def check_key(name: str, key: Any) -> Value:
    """``key`` if it is one key.

    Raises:
        DTypeError: it is no uint32 array.
        ShapeError: its shape is not (2,).
    """
    key = check_keys(name, key)
    if key.shape != (2,):
        raise ShapeError(
            f"{name} takes one key, of shape (2,); found keys of shape {key.shape}."
            f" Map over a batch of keys: fx.vmap(lambda key: {name}(key, ...))(keys)."
        )
    return key


def check_keys(name: str, keys: Any) -> Value:
    """``keys`` if it is a key or an array of keys."""
    if not isinstance(keys, (Array, Tracer, np.ndarray)):
        raise DTypeError(
            f"{name} takes a key, a uint32 array of shape (2,); found {type(keys).__name__}: {keys!r}."
            " Make one with fx.random.key(seed)."
        )
    keys = as_value(keys)
    if keys.dtype != dtypes.uint32:
        raise DTypeError(
            f"{name} takes a key, a uint32 array of shape (2,); found {keys.dtype} of shape {keys.shape}."
            " Make one with fx.random.key(seed)."
        )
    if not keys.shape or keys.shape[-1] != 2:
        raise ShapeError(
            f"{name} takes a key, a uint32 array of shape (2,), or (..., 2) for a batch; found shape {keys.shape}."
            " Make one with fx.random.key(seed)."
        )
    return keys


def _check_implementation(name: str, impl: Any) -> None:
    if impl not in (None, "threefry2x32"):
        raise DTypeError(f"{name}: the random bits of fx are 'threefry2x32'; found impl={impl!r}. Leave impl out.")


# -------------------------------------------------------------------------------------- making keys


def key(seed: Any, *, impl: str | None = None) -> Value:
    """A key from an integer seed.

    Args:
        seed: an int from -2**63 to 2**64 - 1, or an integer scalar array. Its high and low 32 bits are the two words.
        impl: None or "threefry2x32".

    Returns:
        uint32 array of shape (2,).

    Raises:
        DTypeError: the seed is no integer. ShapeError: it is an array; or an int out of range.

    >>> from fx import random
    >>> random.key(42)
    Array([ 0, 42], dtype=uint32)
    """
    _check_implementation("key", impl)
    if type(seed) is int:
        if not -(2**63) <= seed < 2**64:
            raise ShapeError(f"key takes a seed of at most 64 bits; found {seed}. Take it modulo 2**64.")
        return Array(np.array([seed >> 32 & _WORD, seed & _WORD], np.uint32))
    seed = as_value(seed, "the seed given to key()")
    if seed.ndim:
        raise ShapeError(
            f"key takes one seed; found an array of shape {seed.shape}. For many keys: fx.vmap(fx.random.key)(seeds)."
        )
    return shaping.concatenate([shaping.expand_dims(w, (0,)) for w in _words("key", "seed", seed)], 0)


PRNGKey = key


def _words(name: str, what: str, x: Value) -> tuple[Value, Value]:
    """The high and low 32 bits of an integer array."""
    if not dtypes.is_integer(x.dtype):
        raise DTypeError(f"{name} takes an integer {what}; found {x.dtype}. Convert it: int({what}).")
    if x.dtype.itemsize < 8:
        return filled(x.shape, 0, dtypes.uint32), as_type(x, dtypes.uint32)
    return as_type(p.shift_right_logical(x, 32), dtypes.uint32), as_type(x, dtypes.uint32)


def key_data(keys: Any) -> Value:
    """The uint32 words of a key: the key itself, since keys are raw arrays."""
    return check_keys("key_data", keys)


def wrap_key_data(key_bits_array: Any, *, impl: str | None = None) -> Value:
    """A key from its uint32 words: the array itself, after a check."""
    _check_implementation("wrap_key_data", impl)
    return check_keys("wrap_key_data", key_bits_array)


def clone(key: Any) -> Value:
    """The same key again; says that using it twice is meant."""
    return check_keys("clone", key)


# ------------------------------------------------------------------------------------ bits from keys


def _counters(shape: tuple[int, ...]) -> tuple[Value, Value]:
    """The row-major position of every element as two uint32 words."""
    size = math.prod(shape)
    if size <= 2**32:
        return filled(shape, 0, dtypes.uint32), shaping.reshape(shaping.iota(dtypes.uint32, size), shape)
    return _words("bits", "position", shaping.reshape(shaping.iota(dtypes.uint64, size), shape))


def _random_words(key: Value, shape: tuple[int, ...]) -> tuple[Value, Value]:
    """Two words of random bits for every element."""
    k0, k1 = (broadcast_value(key[i], shape) for i in (0, 1))
    first, second = threefry2x32(k0, k1, *_counters(shape))
    return first, second


def random_bits(key: Value, width: int, shape: tuple[int, ...]) -> Value:
    """Random unsigned integers of ``width`` bits, for a checked key."""
    first, second = _random_words(key, shape)
    if width == 64:
        high, low = as_type(first, dtypes.uint64), as_type(second, dtypes.uint64)
        return p.bitwise_or(p.shift_left(high, 32), low)
    return as_type(p.bitwise_xor(first, second), np.dtype(f"uint{width}"))


def split_key(key: Value, shape: tuple[int, ...] = (2,)) -> Value:
    """``split`` for a checked key and shape."""
    words = _random_words(key, shape)
    return shaping.concatenate([shaping.expand_dims(w, (len(shape),)) for w in words], len(shape))


def split(key: Any, num: int | Sequence[int] = 2) -> Value:
    """New keys from a key, which is not to be used again.

    Args:
        key: a key.
        num: how many, or the shape of an array of keys.

    Returns:
        uint32 array of shape (num, 2), or (*num, 2); ``a, b = split(key)`` unpacks it.

    >>> from fx import random
    >>> random.split(random.key(0), 3).shape
    (3, 2)
    """
    return split_key(check_key("split", key), static_shape(num))


def fold_in(key: Any, data: Any) -> Value:
    """A new key that is a function of a key and an integer, such as the number of a step.

    Args:
        data: an int from 0 to 2**32 - 1, or an integer scalar array (taken modulo 2**32).

    >>> from fx import random
    >>> random.fold_in(random.key(0), 1).shape
    (2,)
    """
    key = check_key("fold_in", key)
    if type(data) is int:
        if not 0 <= data <= _WORD:
            raise ShapeError(f"fold_in takes an integer from 0 to 2**32 - 1; found {data}. Take it modulo 2**32.")
        data = Array(np.asarray(data, np.uint32))
    data = as_value(data, "the data given to fold_in()")
    if data.ndim:
        raise ShapeError(f"fold_in takes one integer; found an array of shape {data.shape}. Map over it with fx.vmap.")
    _, low = _words("fold_in", "data", data)
    words = threefry2x32(key[0], key[1], filled((), 0, dtypes.uint32), low)
    return shaping.concatenate([shaping.expand_dims(w, (0,)) for w in words], 0)


def bits(key: Any, shape: Any = (), dtype: Any = None) -> Value:
    """Uniformly random unsigned integers over the whole range of their dtype.

    Args:
        dtype: uint8, uint16, uint32 or uint64; None means uint32 (uint64 if ``fx.config.default_int`` is int64).
    """
    key, shape = check_key("bits", key), static_shape(shape)
    d = dtypes.canonical(dtype) if dtype is not None else np.dtype(f"uint{8 * config.default_int.itemsize}")
    if d not in dtypes.UNSIGNED:
        raise DTypeError(f"bits are unsigned integers; found dtype {d}. Take uint8, uint16, uint32 or uint64.")
    return random_bits(key, 8 * d.itemsize, shape)
