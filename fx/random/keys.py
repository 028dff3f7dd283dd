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
from ..dtypes import KeyDType
from ..dtypes import key_dtype as key_type
from ..errors import ArgumentError, DTypeError, ShapeError
from ..numpy.axes import static_shape
from ..numpy.core import as_type, as_value, broadcast_value, filled
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives import joining, shaping
from ..primitives.random_bits import threefry2x32
from ..trace import Tracer
from .key_arrays import KeyArray

__all__ = [
    "PRNGKey", "bits", "clone", "fold_in", "key", "key_data", "key_dtype", "key_impl", "split", "wrap_key_data",
]  # fmt: skip

Value = Any
_WORD = 0xFFFFFFFF
IMPLEMENTATION = "threefry2x32"


# ------------------------------------------------------------------------------------------- checks


def check_key(name: str, key: Any) -> Value:
    """The words of one key.

    Raises:
        DTypeError: it is no uint32 array.
        ShapeError: its shape is not (2,).
    """
    key = check_keys(name, key)
    if key.shape != (2,):
        raise ShapeError(
            f"{name} takes one key; found keys of shape {key.shape[:-1]} (words of shape {key.shape})."
            f" Map over a batch of keys: fx.vmap(lambda key: {name}(key, ...))(keys)."
        )
    return key


def check_keys(name: str, keys: Any) -> Value:
    """The words of a key or an array of keys, typed or raw."""
    if isinstance(keys, KeyArray):
        keys = keys._words
    if not isinstance(keys, (Array, Tracer, np.ndarray)):
        raise DTypeError(
            f"{name} takes a key (or its words, a uint32 array of shape (2,)); found {type(keys).__name__}: {keys!r}."
            " Make one with fx.random.key(seed)."
        )
    keys = as_value(keys)
    if keys.dtype != dtypes.uint32:
        raise DTypeError(
            f"{name} takes a key (or its words, a uint32 array of shape (2,)); found {keys.dtype} of shape {keys.shape}."
            " Make one with fx.random.key(seed)."
        )
    if not keys.shape or keys.shape[-1] != 2:
        raise ShapeError(
            f"{name} takes a key (or its words, a uint32 array of shape (2,), (..., 2) for a batch); found shape {keys.shape}."
            " Make one with fx.random.key(seed)."
        )
    return keys


def _check_implementation(name: str, impl: Any) -> None:
    if impl not in (None, IMPLEMENTATION, key_type):
        raise DTypeError(f"{name}: the random bits of fx are '{IMPLEMENTATION}'; found impl={impl!r}. Leave impl out.")


def _like(given: Any, words: Value) -> Any:
    """Keys of the sort that was given: typed or raw."""
    return KeyArray(words) if isinstance(given, KeyArray) else words


# -------------------------------------------------------------------------------------- making keys


def key(seed: Any, *, impl: Any = None, dtype: Any = None) -> KeyArray:
    """A key from an integer seed.

    Args:
        seed: an int from -2**63 to 2**64 - 1, or an integer scalar array. Its high and low 32 bits are the two words.
        impl, dtype: None, "threefry2x32" or ``key_dtype()``.

    Returns:
        A key array of shape ().

    Raises:
        DTypeError: the seed is no integer. ShapeError: it is an array; or an int out of range.

    >>> from fx import random
    >>> random.key_data(random.key(42))
    Array([ 0, 42], dtype=uint32)
    """
    _check_implementation("key", impl if dtype is None else dtype)
    return KeyArray(_seeded("key", seed))


def PRNGKey(seed: Any, *, impl: Any = None) -> Value:
    """A raw key, a uint32 array of shape (2,), from an integer seed; every function takes it in place of a ``key``.

    >>> from fx import random
    >>> random.PRNGKey(42)
    Array([ 0, 42], dtype=uint32)
    """
    _check_implementation("PRNGKey", impl)
    return _seeded("PRNGKey", seed)


def _seeded(name: str, seed: Any) -> Value:
    if isinstance(seed, KeyArray):
        raise DTypeError(f"{name} takes an integer seed; found a key. It can be used as it is.")
    if type(seed) is int:
        if not -(2**63) <= seed < 2**64:
            raise ShapeError(f"{name} takes a seed of at most 64 bits; found {seed}. Take it modulo 2**64.")
        return Array(np.array([seed >> 32 & _WORD, seed & _WORD], np.uint32))
    seed = as_value(seed, f"the seed given to {name}()")
    if seed.ndim:
        raise ShapeError(
            f"{name} takes one seed; found an array of shape {seed.shape}."
            f" For many keys: fx.vmap(fx.random.{name})(seeds)."
        )
    return joining.concatenate([shaping.expand_dims(w, (0,)) for w in _words(name, "seed", seed)], 0)


def key_dtype(impl_spec: Any = None) -> KeyDType:
    """The dtype of keys."""
    _check_implementation("key_dtype", impl_spec)
    return key_type


def key_impl(keys: Any) -> str:
    """The name of the algorithm that the keys are for: "threefry2x32"."""
    check_keys("key_impl", keys)
    return IMPLEMENTATION


def key_data(keys: Any) -> Value:
    """The uint32 words of keys: an array of shape ``(*keys.shape, 2)``."""
    return check_keys("key_data", keys)


def wrap_key_data(key_bits_array: Any, *, impl: Any = None, dtype: Any = None) -> KeyArray:
    """Keys from their uint32 words, an array of shape (..., 2).

    >>> from fx import random
    >>> random.wrap_key_data(random.PRNGKey(7)) == random.key(7)
    Array(True, dtype=bool)
    """
    _check_implementation("wrap_key_data", impl if dtype is None else dtype)
    return KeyArray(check_keys("wrap_key_data", key_bits_array))


def clone(key: Any) -> Any:
    """The same key again; says that using it twice is meant.

    >>> import fx
    >>> key = fx.random.key(0)
    >>> a, b = fx.random.normal(key), fx.random.normal(fx.random.clone(key))
    >>> bool(a == b)
    True
    """
    return _like(key, check_keys("clone", key))


def _words(name: str, what: str, x: Value) -> tuple[Value, Value]:
    """The high and low 32 bits of an integer array."""
    if not dtypes.is_integer(x.dtype):
        raise DTypeError(f"{name} takes an integer {what}; found {x.dtype}. Convert it: int({what}).")
    if x.dtype.itemsize < 8:
        return filled(x.shape, 0, dtypes.uint32), as_type(x, dtypes.uint32)
    return as_type(p.shift_right_logical(x, 32), dtypes.uint32), as_type(x, dtypes.uint32)


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
    return bits_of(_random_words(key, shape), width)


def bits_of(words: tuple[Value, Value], width: int) -> Value:
    """Unsigned integers of ``width`` bits, each made of two words of random bits."""
    first, second = words
    if width == 64:
        high, low = as_type(first, dtypes.uint64), as_type(second, dtypes.uint64)
        return p.bitwise_or(p.shift_left(high, 32), low)
    return as_type(p.bitwise_xor(first, second), np.dtype(f"uint{width}"))


def split_key(key: Value, shape: tuple[int, ...] = (2,)) -> Value:
    """``split`` for a checked key and shape."""
    words = _random_words(key, shape)
    return joining.concatenate([shaping.expand_dims(w, (len(shape),)) for w in words], len(shape))


@planned
def split(key: Any, num: int | Sequence[int] = 2) -> Any:
    """New keys from a key, which is not to be used again.

    Args:
        key: a key.
        num: how many, or the shape of an array of keys.

    Returns:
        Keys of shape (num,) or ``num``; ``a, b = split(key)`` unpacks them. Of a raw key: a uint32 array with an axis
        of size 2 more.

    >>> from fx import random
    >>> random.split(random.key(0), 3).shape, random.split(random.PRNGKey(0), 3).shape
    ((3,), (3, 2))
    """
    return _like(key, split_key(check_key("split", key), static_shape(num)))


def fold_in(key: Any, data: Any) -> Any:
    """A new key that is a function of a key and an integer, such as the number of a step.

    Args:
        data: an int from 0 to 2**32 - 1, or an integer scalar array (taken modulo 2**32).

    >>> from fx import random
    >>> random.fold_in(random.key(0), 1).shape
    ()
    """
    given, key = key, check_key("fold_in", key)
    if type(data) is int:
        if not 0 <= data <= _WORD:
            raise ShapeError(f"fold_in takes an integer from 0 to 2**32 - 1; found {data}. Take it modulo 2**32.")
        data = Array(np.asarray(data, np.uint32))
    data = as_value(data, "the data given to fold_in()")
    if data.ndim:
        raise ShapeError(f"fold_in takes one integer; found an array of shape {data.shape}. Map over it with fx.vmap.")
    return _like(given, _folded(key, data))


@planned
def _folded(key: Value, data: Value) -> Value:
    _, low = _words("fold_in", "data", data)
    words = threefry2x32(key[0], key[1], filled((), 0, dtypes.uint32), low)
    return joining.concatenate([shaping.expand_dims(w, (0,)) for w in words], 0)


@planned
def bits(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Uniformly random unsigned integers over the whole range of their dtype.

    Args:
        dtype: uint8, uint16, uint32 or uint64; None means uint32 (uint64 if ``fx.config.default_int`` is int64).
    """
    key, shape = check_key("bits", key), static_shape(shape)
    d = dtypes.canonical(dtype) if dtype is not None else np.dtype(f"uint{8 * config.default_int.itemsize}")
    if d not in dtypes.UNSIGNED:
        raise DTypeError(f"bits are unsigned integers; found dtype {d}. Take uint8, uint16, uint32 or uint64.")
    return random_bits(key, 8 * d.itemsize, shape)


def check_method(name: str, method: str) -> None:
    """Samplers of which JAX has a biased and faster form beside the exact one: here the exact one does for both."""
    if method not in ("exact", "approximate"):
        raise ArgumentError(f"{name}: method is 'exact' or 'approximate'; found {method!r}")
