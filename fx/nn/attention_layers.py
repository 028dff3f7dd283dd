"""Attention as layers: (batch, time, features).  A mask is True where a query (row) looks at a key (column)."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes, tree
from .. import numpy as fnp
from ..errors import DTypeError, ShapeError
from ..lax import dynamic_update_slice
from ..numpy.core import as_type, as_value
from ..trace import concrete_value
from . import initializers
from .attention import dot_product_attention
from .key_use import split_key
from .linear import Linear, check_features, check_sizes, describe, parameter, parameter_dtype
from .module import Module, static_field
from .noise import Dropout
from .normalization import softmax

__all__ = ["AdditiveAttention", "DotProductAttention", "MultiHeadAttention", "rotary", "sinusoidal_positions"]

Value = Any
Cache = dict[str, Value]


# --------------------------------------------------------------------------------------- positions


def rotary(x: Any, positions: Any = None, base: float = 10000.0) -> Value:
    """Rotary position embedding: the two halves of each vector as the parts of complex numbers, turned by position.

    Element i < size / 2 and its partner i + size / 2 turn by the angle position * base**(-2 i / size); the product of two turned
    vectors depends on the difference of their positions alone.

    Args:
        x: (..., time, heads, size), size even.
        positions: (time,) or (..., time); None means 0, 1, 2 ...
        base: of the wave lengths.

    >>> rotary(fnp.ones((2, 1, 2)))[:, 0].round(4)  # at position 1, turned by 1
    Array([[ 1.    ,  1.    ],
           [-0.3012,  1.3818]], dtype=float32)

    Source: Su et al., "RoFormer", 2021.
    """
    x = as_value(x, "x of rotary")
    if x.ndim < 3 or x.shape[-1] % 2:
        raise ShapeError(f"rotary takes x of shape (..., time, heads, size) with an even size; found {tuple(x.shape)}")
    half = x.shape[-1] // 2
    positions = fnp.arange(x.shape[-3]) if positions is None else as_value(positions, "positions of rotary")
    wide = dtypes.promote_types(x.dtype, dtypes.float32)
    waves = fnp.asarray([base ** (-i / half) for i in range(half)], wide)
    angles = (as_type(positions, wide)[..., None] * waves)[..., None, :]
    cos, sin = fnp.cos(angles), fnp.sin(angles)
    a, b = x[..., :half], x[..., half:]
    return as_type(fnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1), x.dtype)


def sinusoidal_positions(length: int, features: int, base: float = 10000.0, dtype: Any = None) -> Value:
    """The fixed table of positions of the first transformer: sines and cosines of wave lengths up to base, alternating.

    In a field of a module it stays as it is where that is declared ``nn.field(trainable=False)``.

    Returns:
        (length, features).

    Source: Vaswani et al., "Attention is all you need", 2017.

    >>> sinusoidal_positions(2, 4)[0]
    Array([0., 1., 0., 1.], dtype=float32)
    """
    pairs = (features + 1) // 2
    waves = fnp.asarray([base ** (-2 * i / features) for i in range(pairs)], "float64")
    angles = fnp.arange(length, dtype="float64")[:, None] * waves
    table = fnp.stack([fnp.sin(angles), fnp.cos(angles)], -1).reshape(length, 2 * pairs)[:, :features]
    return as_type(table, parameter_dtype(dtype))


# ------------------------------------------------------------------------------------- one headed


def _boolean(mask: Any, name: str) -> Value:
    mask = as_value(mask, f"mask of {name}")
    if not dtypes.is_bool(mask.dtype):
        raise DTypeError(f"{name}: a mask is boolean, True where a query looks at a key; found {mask.dtype}")
    return mask


def _with_heads(mask: Any, name: str) -> Value | None:
    """A mask as (batch, heads, targets, sources), sizes of 1 for what is missing."""
    if mask is None:
        return None
    mask = _boolean(mask, name)
    if mask.ndim not in (2, 3, 4):
        raise ShapeError(
            f"{name}: a mask has shape (targets, sources), (batch, targets, sources) or (batch, heads, targets, sources);"
            f" found {tuple(mask.shape)}"
        )
    return mask[:, None] if mask.ndim == 3 else mask.reshape(*[1] * (4 - mask.ndim), *mask.shape)


def _fitting(mask: Value | None, shape: tuple[int, ...], name: str) -> Value | None:
    """A mask that broadcasts to (batch, heads, targets, sources).

    Raises:
        ShapeError: it does not.
    """
    if mask is None or all(m in (1, n) for m, n in zip(mask.shape, shape)):
        return mask
    hint = ""
    if tuple(mask.shape[2:]) == (shape[0], shape[3]):
        hint = " A mask of the keys, (batch, sources), is mask[:, None, :]."
    raise ShapeError(
        f"{name}: of shape (batch, heads, targets, sources) = {shape}, the mask has {tuple(mask.shape)}; each size is that or 1.{hint}"
    )


def _of_keys(mask: Any, shape: tuple[int, ...], name: str) -> Value:
    """A mask (batch, sources), or (batch, targets, sources), that broadcasts to the latter.

    Raises:
        DTypeError, ShapeError: it is no such mask.
    """
    mask = _boolean(mask, name)
    whole = mask[:, None] if mask.ndim == 2 else mask
    if whole.ndim != 3 or any(m not in (1, n) for m, n in zip(whole.shape, shape)):
        hint = " One of (targets, sources) is mask[None]." if tuple(mask.shape) == shape[1:] else ""
        raise ShapeError(
            f"{name}: of shape (batch, targets, sources) = {shape}, a mask is (batch, sources) or all three, and each size that or 1;"
            f" found {tuple(mask.shape)}.{hint}"
        )
    return whole


class _OneHead(Module):
    """Attention whose keys are compared as they are: (batch, sources, features)."""

    dropout: Dropout

    def scores(self, query: Value, keys: Value) -> Value:
        """(batch, targets, sources)."""
        raise NotImplementedError

    def weights(self, query: Value, keys: Value, *, mask: Any = None) -> Value:
        """How much each query looks at each key: (batch, targets, sources), rows sum to 1."""
        scores = self.scores(query, keys)
        if mask is not None:
            mask = _of_keys(mask, tuple(scores.shape), type(self).__name__)
            scores = fnp.where(mask, scores, fnp.finfo(scores.dtype).min)
        return softmax(scores, -1)

    def __call__(
        self, query: Value, keys: Value, values: Value | None = None, *, mask: Any = None, key: Any = None
    ) -> Value:
        query, keys = as_value(query, "query"), as_value(keys, "keys")
        values = keys if values is None else as_value(values, "values")
        name = type(self).__name__
        if (
            keys.ndim != 3
            or values.shape[:2] != keys.shape[:2]
            or query.ndim not in (2, 3)
            or query.shape[0] != keys.shape[0]
        ):
            raise ShapeError(
                f"{name} takes query (batch, targets, features), or (batch, features) for one, and keys and values (batch, sources, ...);"
                f" found {tuple(query.shape)}, {tuple(keys.shape)}, {tuple(values.shape)}"
            )
        weights = self.weights(query[:, None] if query.ndim == 2 else query, keys, mask=mask)
        if self.dropout.rate:
            weights = self.dropout(weights, key=key)
        out = fnp.matmul(weights, values)
        return out[:, 0] if query.ndim == 2 else out


class DotProductAttention(_OneHead):
    """softmax(scale * query keys^T) values.

    Args:
        scale: None means 1 / sqrt(features).
        dropout: rate of dropout of the weights.

    Called ``layer(query, keys, values=keys, mask=, key=)``: query (batch, targets, features), or (batch, features) for one; keys and values
    (batch, sources, ...). mask, True where a query looks at a key, is (batch, sources) or (batch, targets, sources). ``layer.weights(query, keys)`` are the weights.

    >>> from fx import nn
    >>> weights = nn.DotProductAttention().weights(fnp.ones((1, 1, 4)), fnp.ones((1, 3, 4)), mask=fnp.array([[True, True, False]]))
    >>> weights.ravel()
    Array([0.5, 0.5, 0. ], dtype=float32)

    Source: Luong et al., "Effective approaches to attention-based neural machine translation", 2015.
    """

    scale: float | None = static_field(default=None)

    def __init__(self, *, scale: float | None = None, dropout: float = 0.0) -> None:
        self.scale, self.dropout = scale, Dropout(dropout)

    def scores(self, query: Value, keys: Value) -> Value:
        """(batch, targets, sources)."""
        scale = 1 / math.sqrt(keys.shape[-1]) if self.scale is None else self.scale
        return fnp.matmul(query, fnp.swapaxes(keys, -1, -2)) * scale


class AdditiveAttention(_OneHead):
    """softmax(v tanh(query W + keys U)) values.

    Args:
        query_features, key_features: sizes.
        hidden_features: size of v.
        dropout: rate of dropout of the weights.
        dtype, key: as for ``Linear``.

    Called as ``DotProductAttention`` is.

    >>> from fx import nn, random
    >>> layer = nn.AdditiveAttention(8, 6, 16, key=random.key(0))
    >>> layer(fnp.ones((2, 8)), fnp.ones((2, 5, 6))).shape  # one query for each example
    (2, 6)

    Source: Bahdanau, Cho, Bengio, "Neural machine translation by jointly learning to align and translate", 2015.
    """

    query: Linear
    keys: Linear
    vector: Value

    def __init__(
        self, query_features: int, key_features: int, hidden_features: int, *, dropout: float = 0.0, dtype: Any = None, key: Any
    ) -> None:  # fmt: skip
        a, b, c = split_key(key, 3, describe(self, query_features, key_features, hidden_features))
        self.query = Linear(query_features, hidden_features, dtype=dtype, key=a)
        self.keys = Linear(key_features, hidden_features, use_bias=False, dtype=dtype, key=b)
        bound = initializers.uniform_within(1 / math.sqrt(max(hidden_features, 1)))
        self.vector = parameter(None, bound, c, (hidden_features,), dtype)
        self.dropout = Dropout(dropout)

    def scores(self, query: Value, keys: Value) -> Value:
        """(batch, targets, sources)."""
        mixed = fnp.tanh(self.query(query)[..., :, None, :] + self.keys(keys)[..., None, :, :])
        return fnp.matmul(mixed, self.vector)


# ------------------------------------------------------------------------------------ many headed


class MultiHeadAttention(Module):
    """Attention of several heads, each over its own projection of queries, keys and values.

    Args:
        features: size of queries and of the output.
        heads: how many.
        key_features, value_features: sizes of keys and values; None means ``features``.
        key_heads: number of heads of keys and values, which queries share in groups; None means ``heads``.
        head_features: size of a head; None means features / heads.
        use_bias: of the projections.
        dropout: rate of dropout of the weights; calls then take ``key=``.
        rotary_base: turn queries and keys by their positions (``nn.rotary``) with this base; None: do not.
        dtype, key: as for ``Linear``. Projections start as ``glorot_uniform``, biases as 0.

    Called ``y = layer(query, keys=query, values=keys, mask=, causal=, key=)`` with x of shape (batch, time, features); mask (targets, sources),
    (batch, targets, sources) or (batch, heads, targets, sources), True where a query looks. With ``cache=`` it returns (y, cache): the
    keys and values are appended to those of earlier calls, and each query looks at all up to its own. A cache that is full raises
    ``ShapeError``; in compiled code the output is NaN.
    ``layer.weights(query, keys, ...)`` are the weights, (batch, heads, targets, sources). In the place of ``query``, ``keys``, ``values`` and ``output``
    may stand any modules that map as they do (``nn.tree_at``): low-rank adapters, quantised ones.

    >>> from fx import nn, random
    >>> layer = nn.MultiHeadAttention(8, 2, key=random.key(0))
    >>> layer(fnp.ones((3, 5, 8)), causal=True).shape
    (3, 5, 8)
    >>> y, cache = layer(fnp.ones((3, 1, 8)), cache=layer.init_cache(3, 10))
    >>> y.shape, cache["keys"].shape, int(cache["index"])
    ((3, 1, 8), (3, 10, 2, 4), 1)

    Source: Vaswani et al., "Attention is all you need", 2017; grouped: Ainslie et al., "GQA", 2023.
    """

    query: Linear
    keys: Linear
    values: Linear
    output: Linear
    dropout: Dropout
    features: int = static_field(repr=False)
    heads: int = static_field()
    key_heads: int = static_field(repr=False)
    head_features: int = static_field(repr=False)
    rotary_base: float | None = static_field(default=None)

    def __init__(
        self, features: int, heads: int, *, key_features: int | None = None, value_features: int | None = None, key_heads: int | None = None,
        head_features: int | None = None, use_bias: bool = True, dropout: float = 0.0, rotary_base: float | None = None,
        dtype: Any = None, key: Any,
    ) -> None:  # fmt: skip
        check_sizes(self, features=features)
        check_sizes(self, 1, heads=heads, **({} if key_heads is None else {"key_heads": key_heads}))
        if head_features is None and features % heads:
            raise ShapeError(f"{describe(self, features, heads)}: heads must divide features, or give head_features")
        self.features, self.heads, self.key_heads = features, heads, heads if key_heads is None else key_heads
        self.head_features = features // heads if head_features is None else head_features
        if heads % self.key_heads:
            raise ShapeError(f"{describe(self, features, heads)}: key_heads={key_heads} must divide heads")
        self.rotary_base, self.dropout = rotary_base, Dropout(dropout)
        keys = split_key(key, 4, describe(self, features, heads))
        options: Any = {
            "use_bias": use_bias, "weight_init": initializers.glorot_uniform(), "bias_init": initializers.zeros, "dtype": dtype,
        }  # fmt: skip
        wide, narrow = heads * self.head_features, self.key_heads * self.head_features
        self.query = Linear(features, wide, key=keys[0], **options)
        self.keys = Linear(features if key_features is None else key_features, narrow, key=keys[1], **options)
        value_features = value_features if value_features is not None else self.keys.in_features
        self.values = Linear(value_features, narrow, key=keys[2], **options)
        self.output = Linear(wide, features, key=keys[3], **options)

    def init_cache(self, batch: int, length: int, dtype: Any = None) -> Cache:
        """Room for the keys and values of ``length`` steps: none as yet."""
        dtype = tree.leaves(self.keys)[0].dtype if dtype is None else dtype
        shape = (batch, length, self.key_heads, self.head_features)
        return {"keys": fnp.zeros(shape, dtype), "values": fnp.zeros(shape, dtype), "index": fnp.zeros((), "int32")}

    def _cut(self, x: Value) -> Value:
        """The heads of the last axis as one of their own."""
        return fnp.reshape(x, (*x.shape[:-1], x.shape[-1] // self.head_features, self.head_features))

    def _turned(self, q: Value, k: Value, start: Any) -> tuple[Value, Value]:
        """Queries and keys turned by their positions, which count from ``start``."""
        if self.rotary_base is None:
            return q, k
        turn = lambda x: rotary(x, start + fnp.arange(x.shape[1]), self.rotary_base)
        return turn(q), turn(k)

    def weights(self, query: Value, keys: Value | None = None, *, mask: Any = None, causal: bool = False) -> Value:
        """How much each query looks at each key, for every head: (batch, heads, targets, sources), rows sum to 1."""
        query, keys, _ = self._operands(query, keys, None)
        q, k = self._turned(self._cut(self.query(query)), self._cut(self.keys(keys)), 0)
        shape = (q.shape[0], self.heads, q.shape[1], k.shape[1])
        return self._softmax(q, k, _fitting(_with_heads(mask, type(self).__name__), shape, type(self).__name__), causal)

    def _softmax(self, q: Value, k: Value, mask: Value | None, causal: bool) -> Value:
        wide = dtypes.promote_types(q.dtype, dtypes.float32)
        k = fnp.repeat(k, self.heads // self.key_heads, axis=2)
        scores = as_type(fnp.einsum("btnh,bsnh->bnts", q, k), wide) / math.sqrt(self.head_features)
        if causal:
            below = fnp.arange(k.shape[1]) <= fnp.arange(q.shape[1])[:, None]
            mask = below if mask is None else mask & below
        if mask is not None:
            scores = fnp.where(mask, scores, -0.7 * fnp.finfo(wide).max)
        return as_type(softmax(scores, -1), q.dtype)

    def _operands(self, query: Any, keys: Any, values: Any) -> tuple[Value, Value, Value]:
        name = type(self).__name__
        query = check_features(query, self.features, f"{name}'s query")
        keys = query if keys is None else as_value(keys)
        values = keys if values is None else as_value(values)
        if query.ndim != 3 or keys.ndim != 3 or query.shape[0] != keys.shape[0] or values.shape[:2] != keys.shape[:2]:
            raise ShapeError(
                f"{name} takes query (batch, targets, features), keys and values (batch, sources, features); found"
                f" {tuple(query.shape)}, {tuple(keys.shape)}, {tuple(values.shape)}"
            )
        return query, keys, values

    def __call__(
        self, query: Value, keys: Value | None = None, values: Value | None = None, *, mask: Any = None, causal: bool = False,
        cache: Cache | None = None, key: Any = None,
    ) -> Any:  # fmt: skip
        query, keys, values = self._operands(query, keys, values)
        sources = keys.shape[1] if cache is None else cache["keys"].shape[1]
        shape = (query.shape[0], self.heads, query.shape[1], sources)
        mask = _fitting(_with_heads(mask, type(self).__name__), shape, type(self).__name__)
        start = 0 if cache is None else cache["index"]
        v = self._cut(self.values(values))
        q, k = self._turned(self._cut(self.query(query)), self._cut(self.keys(keys)), start)
        if cache is not None:
            cache, k, v = self._append(cache, k, v)
            # compiled code cannot raise where the cache is full: its outputs are NaN
            q = fnp.where(cache["index"] > k.shape[1], fnp.asarray(math.nan, q.dtype), q)
            seen = (fnp.arange(k.shape[1]) <= start + fnp.arange(q.shape[1])[:, None])[None, None]
            mask, causal = seen if mask is None else mask & seen, False
        if self.dropout.rate and not self.dropout.inference:
            weights = self.dropout(self._softmax(q, k, mask, causal), key=key)
            out = fnp.einsum("bnts,bsnh->btnh", weights, fnp.repeat(v, self.heads // self.key_heads, axis=2))
        else:
            out = dot_product_attention(q, k, v, mask=mask, is_causal=causal)
        y = self.output(fnp.reshape(out, (*out.shape[:2], self.heads * self.head_features)))
        return y if cache is None else (y, cache)

    def _append(self, cache: Cache, k: Value, v: Value) -> tuple[Cache, Value, Value]:
        index, length = cache["index"], cache["keys"].shape[1]
        known = concrete_value(index)
        if known is not None and known + k.shape[1] > length:
            raise ShapeError(
                f"the cache of {type(self).__name__} has room for {length} steps; it holds {int(known)}, and {k.shape[1]} more were given."
                " Make a longer one: init_cache(batch, length)."
            )
        zero = fnp.zeros((), "int32")
        at = (zero, index, zero, zero)
        keys = dynamic_update_slice(cache["keys"], as_type(k, cache["keys"].dtype), at)
        values = dynamic_update_slice(cache["values"], as_type(v, cache["values"].dtype), at)
        new = {"keys": keys, "values": values, "index": index + k.shape[1]}
        return new, as_type(keys, k.dtype), as_type(values, v.dtype)
