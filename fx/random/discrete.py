"""Samplers of integers, truth values, permutations and choices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from .. import numpy as fnp
from ..config import config
from ..errors import DTypeError, ShapeError
from ..numpy.axes import canonical_axis, static_shape
from ..numpy.core import as_beside, as_type, as_value, promote, promote_inexact
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives.joining import slice_in_dim
from ..primitives.shaping import expand_dims
from ..primitives.sorting import sort_key_val, top_k
from .continuous import float_dtype, gumbel, maxwell, sample_shape, uniform_in
from .keys import check_key, random_bits, split_key

__all__ = [
    "bernoulli",
    "categorical",
    "choice",
    "double_sided_maxwell",
    "geometric",
    "permutation",
    "rademacher",
    "randint",
]

Value = Any
Shape = tuple[int, ...]


def integer_dtype(name: str, dtype: Any) -> np.dtype:
    d = config.default_int if dtype is None else dtypes.canonical(dtype)
    if not dtypes.is_integer(d):
        raise DTypeError(f"{name} makes integers; found dtype {d}. Take e.g. dtype='int32'.")
    return d


# ----------------------------------------------------------------------------------------- integers


def _clip_to(x: Value, d: np.dtype) -> Value:
    """An integer array in dtype ``d``, clipped to its range."""
    have, want = np.iinfo(x.dtype), np.iinfo(d)
    low, high = max(have.min, want.min), min(have.max, want.max)
    return as_type(fnp.clip(x, low, high), d)


def _bound(name: str, x: Any) -> Value:
    x = as_value(x, f"{name} of randint")
    if not dtypes.is_integer(x.dtype):
        raise DTypeError(f"{name} of randint must be an integer; found {x.dtype}. Convert it, or draw from uniform.")
    return x


def _remainder(x: Value, y: Value) -> Value:
    """x modulo y of unsigned integers; x itself where y is 0."""
    return p.rem(*promote(x, y))


@planned
def randint(key: Any, shape: Any, minval: Any, maxval: Any, dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Random integers in [minval, maxval).

    Twice the bits of the result are drawn and reduced modulo the span, so the bias is at most span / 2**64 for
    32 bit integers; 8 and 16 bit ones are drawn as 32 bit ones.  Where maxval <= minval the result is minval.

    Args:
        minval, maxval: ints, or integer arrays that broadcast to ``shape``.
        dtype: an integer dtype. ``maxval`` may be one more than its greatest value.

    >>> from fx import random
    >>> bool((random.randint(random.key(0), (100,), 0, 6) < 6).all())
    True
    """
    key, wanted = check_key("randint", key), integer_dtype("randint", dtype)
    minval, maxval = _bound("minval", minval), _bound("maxval", maxval)
    shape = sample_shape("randint", shape, minval, maxval)
    d = wanted
    if wanted.itemsize < 4:
        d, info = dtypes.int32, np.iinfo(wanted)
        minval = fnp.clip(as_type(minval, d), int(info.min), int(info.max))
        maxval = fnp.clip(as_type(maxval, d), int(info.min), int(info.max) + 1)
    return as_type(_randint(key, shape, minval, maxval, d), wanted)


def _randint(key: Value, shape: Shape, minval: Value, maxval: Value, d: np.dtype) -> Value:
    unsigned = np.dtype(f"uint{8 * d.itemsize}")
    greatest = min(np.iinfo(d).max, np.iinfo(maxval.dtype).max)
    beyond = maxval > greatest
    minval, maxval = _clip_to(minval, d), _clip_to(maxval, d)
    span = fnp.where(maxval <= minval, 1, as_type(maxval - minval, unsigned))
    span = span + as_type(beyond & (maxval > minval), unsigned)  # 0 for the whole range: a remainder by 0 is the number
    multiplier = _remainder(unsigned.type(1 << 4 * d.itemsize), span)
    multiplier = _remainder(multiplier * multiplier, span)
    keys = split_key(key)
    high, low = (random_bits(keys[i], 8 * d.itemsize, shape) for i in (0, 1))
    offset = _remainder(_remainder(high, span) * multiplier + _remainder(low, span), span)
    return minval + as_type(offset, d)


@planned
def rademacher(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """-1 or 1 with equal probability."""
    d = config.default_int if dtype is None else dtypes.canonical(dtype)
    return as_type(2 * as_type(bernoulli(key, 0.5, shape), d) - 1, d)


@planned
def double_sided_maxwell(key: Any, loc: Any, scale: Any, shape: Any = (), dtype: Any = None) -> Value:
    """Samples with density proportional to z**2 exp(-z**2 / 2) for z = (x - loc) / scale: a Maxwell number with a sign.

    Args:
        loc, scale: of one broadcast shape s.
        shape: the result has shape ``(*shape, *s)``; () stands for s itself, as in JAX.
    """
    key, d = check_key("double_sided_maxwell", key), float_dtype("double_sided_maxwell", dtype)
    each = sample_shape("double_sided_maxwell", None, loc, scale)
    shape, keys = (static_shape(shape) or each) + each, split_key(key)
    signed = rademacher(keys[1], shape, d) * maxwell(keys[0], shape, d)
    return signed * as_beside(scale, d) + as_beside(loc, d)


@planned
def geometric(key: Any, p: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """The number of trials up to the first success, each with probability ``p``: at least 1."""
    key, d = check_key("geometric", key), integer_dtype("geometric", dtype)
    (p,) = promote_inexact(as_value(p, "p of geometric"))
    u = uniform_in(key, sample_shape("geometric", shape, p), p.dtype, 0, 1)
    u = fnp.where(u == 0, 1, u)
    return as_type(fnp.floor(fnp.log(u) / fnp.log1p(-p)) + 1, d)


# ------------------------------------------------------------------------------- events and categories


@planned
def bernoulli(key: Any, p: Any = 0.5, shape: Any = None, mode: str = "low", *, out_sharding: Any = None) -> Value:
    """True with probability ``p``.

    Args:
        p: a float, or an array of floats that broadcasts to ``shape``.
        shape: of the result; None means that of ``p``.
        mode: "low", or "high", which draws twice the bits and so resolves tiny probabilities.

    >>> from fx import random
    >>> random.bernoulli(random.key(0), 0.3, (2,)).dtype
    dtype('bool')
    """
    key, p = check_key("bernoulli", key), as_value(p, "p of bernoulli")
    if not dtypes.is_float(p.dtype):
        raise DTypeError(f"p of bernoulli must be a float (a probability from 0 to 1); found {p.dtype}")
    shape = sample_shape("bernoulli", shape, p)
    if mode == "low":
        return uniform_in(key, shape, p.dtype, 0, 1) < p
    if mode != "high":
        raise ShapeError(f"bernoulli has the modes 'low' and 'high'; found mode={mode!r}")
    coarse, fine = uniform_in(key, (2, *shape), p.dtype, 0, 1)
    return fine * 2.0 ** -int(fnp.finfo(p.dtype).nmant) < p - coarse


@planned
def categorical(
    key: Any,
    logits: Any,
    axis: int = -1,
    shape: Any = None,
    replace: bool = True,
    mode: str | None = None,
    *,
    out_sharding: Any = None,
) -> Value:
    """Indices drawn with probabilities softmax(logits), by the Gumbel-max trick.

    Args:
        logits: unnormalised log probabilities.
        axis: of the categories.
        shape: of the result; it ends with the shape of ``logits`` without ``axis``. None means just that.
        replace: False draws different indices along the leading axes of ``shape`` (Gumbel top-k).
        mode: as for ``gumbel``.

    Returns:
        Integers from 0 to the number of categories - 1, of dtype ``fx.config.default_int`` (int32 without replacement).

    >>> import fx, numpy as np
    >>> draws = fx.random.categorical(fx.random.key(0), np.log([0.1, 0.9]), shape=(10_000,))
    >>> round(float(draws.mean()), 1)
    0.9
    """
    key, logits = check_key("categorical", key), as_value(logits, "logits of categorical")
    if not dtypes.is_float(logits.dtype):
        raise DTypeError(
            f"logits of categorical must be floats (log probabilities); found {logits.dtype}. Convert them."
        )
    axis = canonical_axis(axis, logits.ndim)
    batch = logits.shape[:axis] + logits.shape[axis + 1 :]
    shape = batch if shape is None else static_shape(shape)
    prefix = shape[: max(len(shape) - len(batch), 0)]
    if shape != prefix + batch:
        raise ShapeError(
            f"categorical: shape={shape} must end with {batch}, the shape of the logits without axis {axis}"
        )
    if replace:
        noise = gumbel(key, prefix + logits.shape, logits.dtype, mode)
        return fnp.argmax(noise + expand_dims(logits, tuple(range(len(prefix)))), axis=axis + len(prefix))
    draws = math.prod(prefix)
    if draws > logits.shape[axis]:
        raise ShapeError(
            f"categorical cannot draw {draws} different categories out of {logits.shape[axis]}; pass replace=True"
        )
    noisy = logits + gumbel(key, logits.shape, logits.dtype, mode)
    chosen = top_k(fnp.moveaxis(noisy, axis, -1), draws)[1]
    return fnp.reshape(fnp.moveaxis(chosen, -1, 0), shape)


# ------------------------------------------------------------------------------ permutations and choices


def _shuffle(key: Value, x: Value, axis: int) -> Value:
    """``x`` with every vector along ``axis`` shuffled on its own, by sorting under random 32 bit keys.

    Keys may collide; enough rounds make every order equally likely up to 1 / size**2 (the reason for the 3).
    """
    rounds = math.ceil(3 * math.log(max(1, x.size)) / math.log(2**32 - 1))
    for _ in range(rounds):
        keys = split_key(key)
        key = keys[0]
        x = sort_key_val(random_bits(keys[1], 32, x.shape), x, axis)[1]
    return x


@planned
def permutation(key: Any, x: Any, axis: int = 0, independent: bool = False, *, out_sharding: Any = None) -> Value:
    """A random permutation of ``range(x)``, or of the slices of an array along ``axis``.

    Args:
        x: an int, or an array.
        independent: shuffle every vector along ``axis`` on its own.

    >>> from fx import random
    >>> sorted(random.permutation(random.key(0), 4).tolist())
    [0, 1, 2, 3]
    """
    key, x = check_key("permutation", key), as_value(x, "x of permutation")
    if not x.ndim:
        if not dtypes.is_integer(x.dtype):
            raise DTypeError(
                f"permutation takes an int or an array of at least one dimension; found a scalar of {x.dtype}"
            )
        canonical_axis(axis, 1)
        return _shuffle(key, fnp.arange(int(x)), 0)
    axis = canonical_axis(axis, x.ndim)
    if independent or x.ndim == 1:
        return _shuffle(key, x, axis)
    return fnp.take(x, _shuffle(key, fnp.arange(x.shape[axis]), 0), axis, unique_indices=True)


@planned
def choice(
    key: Any, a: Any, shape: Any = (), replace: bool = True, p: Any = None, axis: int = 0, mode: str | None = None
) -> Value:
    """Random elements of an array, or of ``range(a)``.

    Args:
        a: an int, or an array whose slices along ``axis`` are drawn.
        shape: of the draws; they stand in the result where ``axis`` was.
        replace: False draws every slice at most once.
        p: probability of each slice; None means all are equal.
        mode: as for ``gumbel``, which draws without replacement where ``p`` is given.

    Raises:
        ShapeError: nothing to draw from, too many draws without replacement, or ``p`` of another length.

    >>> import fx
    >>> cards = fx.random.choice(fx.random.key(0), 52, (5,), replace=False)
    >>> cards.shape, len(set(cards.tolist()))
    ((5,), 5)
    """
    key, a, shape = check_key("choice", key), as_value(a, "a of choice"), static_shape(shape)
    if not a.ndim and not dtypes.is_integer(a.dtype):
        raise DTypeError(f"choice takes an int or an array of at least one dimension; found a scalar of {a.dtype}")
    axis = canonical_axis(axis, a.ndim) if a.ndim else 0
    count, draws = a.shape[axis] if a.ndim else int(a), math.prod(shape)
    if draws and count <= 0:
        raise ShapeError(
            f"choice: there is nothing to draw {draws} samples from (a has {count} elements along axis {axis})"
        )
    if draws > count and not replace:
        raise ShapeError(f"choice cannot draw {draws} different samples out of {count}; pass replace=True")
    if p is None and not replace:
        shuffled = permutation(key, a if a.ndim else count, axis)
        picked = slice_in_dim(shuffled, 0, draws, axis=axis)
    else:
        index = randint(key, shape, 0, count) if p is None else _weighted(key, count, shape, replace, p, mode)
        picked = fnp.take(a, index, axis) if a.ndim else index
    return fnp.reshape(picked, a.shape[:axis] + shape + a.shape[axis + 1 :])


def _weighted(key: Value, count: int, shape: Shape, replace: bool, p: Any, mode: str | None) -> Value:
    """Indices drawn with probabilities ``p``."""
    (p,) = promote_inexact(as_value(p, "p of choice"))
    if p.shape != (count,):
        raise ShapeError(f"choice: p must have one probability for each of the {count} elements; found shape {p.shape}")
    if replace:
        total = fnp.cumsum(p)
        return fnp.searchsorted(total, total[-1] * (1 - uniform_in(key, shape, p.dtype, 0, 1)))
    noisy = gumbel(key, (count,), p.dtype, mode) + fnp.log(p)
    return as_type(top_k(noisy, math.prod(shape))[1], config.default_int)
