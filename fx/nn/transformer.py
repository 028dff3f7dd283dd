"""Transformer blocks and stacks of them: (batch, time, features)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from .activations import relu
from .attention_layers import Cache, MultiHeadAttention
from .key_use import split_key
from .linear import Linear, describe
from .module import Module, static_field
from .noise import Dropout
from .norms import LayerNorm

__all__ = ["TransformerDecoder", "TransformerDecoderBlock", "TransformerEncoder", "TransformerEncoderBlock"]

Value = Any


def _keys(key: Any, num: int, layer: Module) -> list[Any]:
    return [None] * num if key is None else split_key(key, num, type(layer).__name__)


class _Block(Module):
    """What blocks share: the feed-forward part, and where normalisation stands."""

    attention: MultiHeadAttention
    norm1: LayerNorm
    linear1: Linear
    linear2: Linear
    norm2: LayerNorm
    dropout: Dropout
    activation: Callable[..., Any] = static_field(default=relu, init=False)
    norm_first: bool = static_field(default=True, init=False)

    def _make(
        self, features: int, heads: int, hidden_features: int | None, dropout: float, activation: Any, norm_first: bool, epsilon: float,
        dtype: Any, keys: list[Any], options: dict[str, Any],
    ) -> None:  # fmt: skip
        hidden = 4 * features if hidden_features is None else hidden_features
        self.attention = MultiHeadAttention(features, heads, dropout=dropout, dtype=dtype, key=keys[0], **options)
        self.norm1, self.norm2 = (LayerNorm(features, epsilon=epsilon, dtype=dtype) for _ in range(2))
        self.linear1 = Linear(features, hidden, dtype=dtype, key=keys[1])
        self.linear2 = Linear(hidden, features, dtype=dtype, key=keys[2])
        self.dropout, self.activation, self.norm_first = Dropout(dropout), activation, norm_first

    def _drop(self, x: Value, key: Any) -> Value:
        return self.dropout(x, key=key) if self.dropout.rate else x

    def _around(
        self, x: Value, norm: LayerNorm, part: Callable[[Value], tuple[Value, Any]], key: Any
    ) -> tuple[Value, Any]:
        """x + part(x), normalised before the part or after the sum."""
        y, extra = part(norm(x) if self.norm_first else x)
        x = x + self._drop(y, key)
        return (x if self.norm_first else norm(x)), extra

    def _feed(self, x: Value, key: Any) -> tuple[Value, None]:
        return self.linear2(self._drop(self.activation(self.linear1(x)), key)), None

    def _attend(
        self, attention: MultiHeadAttention, *args: Any, cache: Cache | None = None, **kwargs: Any
    ) -> tuple[Value, Any]:
        out = attention(*args, cache=cache, **kwargs)
        return out if cache is not None else (out, None)


class TransformerEncoderBlock(_Block):
    """Self-attention, then two linear layers; each is added to what went in, and normalised.

    Args:
        features, heads: as for ``MultiHeadAttention``.
        hidden_features: between the two linear layers; None means 4 * features.
        dropout: rate, of attention weights, hidden features and what is added; calls then take ``key=``.
        activation: between the two linear layers.
        norm_first: normalise what goes into each part (True) or the sums (False, as in the first transformer and PyTorch's default).
        causal: each step looks at those up to itself alone: a decoder without an encoder, as in language models.
        epsilon: of ``LayerNorm``.
        key_heads, rotary_base, use_bias: of the attention.
        dtype, key: as for ``Linear``.

    Called ``y = block(x, mask=, key=)``; with ``cache=`` (``block.init_cache(batch, length)``) it returns (y, cache).

    >>> import fx.numpy as fnp
    >>> from fx import nn, random
    >>> nn.TransformerEncoderBlock(8, 2, key=random.key(0))(fnp.ones((3, 5, 8))).shape
    (3, 5, 8)
    """

    causal: bool = static_field(default=False)

    def __init__(
        self, features: int, heads: int, hidden_features: int | None = None, *, dropout: float = 0.0, activation: Any = relu,
        norm_first: bool = True, causal: bool = False, epsilon: float = 1e-5, dtype: Any = None, key: Any, **attention: Any,
    ) -> None:  # fmt: skip
        keys = split_key(key, 3, describe(self, features, heads))
        self._make(features, heads, hidden_features, dropout, activation, norm_first, epsilon, dtype, keys, attention)
        self.causal = causal

    def init_cache(self, batch: int, length: int, dtype: Any = None) -> Cache:
        """Room for the keys and values of ``length`` steps."""
        return self.attention.init_cache(batch, length, dtype)

    def __call__(self, x: Value, *, mask: Any = None, cache: Cache | None = None, key: Any = None) -> Any:
        a, b, c, d = _keys(key, 4, self)
        attend = lambda h: self._attend(self.attention, h, mask=mask, causal=self.causal, cache=cache, key=a)
        x, cache = self._around(x, self.norm1, attend, b)
        x, _ = self._around(x, self.norm2, lambda h: self._feed(h, c), d)
        return x if cache is None else (x, cache)


class TransformerDecoderBlock(_Block):
    """Causal self-attention, attention to an encoder's output, then two linear layers.

    Args:
        memory_features: size of the encoder's output; None means ``features``. All others as for ``TransformerEncoderBlock``.

    Called ``y = block(x, memory, mask=, memory_mask=, key=)``; with ``cache=`` it returns (y, cache).

    >>> import fx.numpy as fnp
    >>> from fx import nn, random
    >>> block = nn.TransformerDecoderBlock(8, 2, memory_features=6, key=random.key(0))
    >>> block(fnp.ones((3, 5, 8)), fnp.ones((3, 7, 6))).shape
    (3, 5, 8)
    """

    cross_attention: MultiHeadAttention
    norm3: LayerNorm

    def __init__(
        self, features: int, heads: int, hidden_features: int | None = None, *, memory_features: int | None = None, dropout: float = 0.0,
        activation: Any = relu, norm_first: bool = True, epsilon: float = 1e-5, dtype: Any = None, key: Any, **attention: Any,
    ) -> None:  # fmt: skip
        keys = split_key(key, 4, describe(self, features, heads))
        self._make(features, heads, hidden_features, dropout, activation, norm_first, epsilon, dtype, keys, attention)
        cross = {
            k: v for k, v in attention.items() if k != "rotary_base"
        }  # positions of two sequences are not compared
        self.cross_attention = MultiHeadAttention(
            features, heads, key_features=memory_features, dropout=dropout, dtype=dtype, key=keys[3], **cross
        )
        self.norm3 = LayerNorm(features, epsilon=epsilon, dtype=dtype)

    def init_cache(self, batch: int, length: int, dtype: Any = None) -> Cache:
        """Room for the keys and values of ``length`` steps."""
        return self.attention.init_cache(batch, length, dtype)

    def __call__(
        self,
        x: Value,
        memory: Value,
        *,
        mask: Any = None,
        memory_mask: Any = None,
        cache: Cache | None = None,
        key: Any = None,
    ) -> Any:
        keys = _keys(key, 6, self)
        attend = lambda h: self._attend(self.attention, h, mask=mask, causal=True, cache=cache, key=keys[0])
        x, cache = self._around(x, self.norm1, attend, keys[1])
        look = lambda h: self._attend(self.cross_attention, h, memory, mask=memory_mask, key=keys[2])
        x, _ = self._around(x, self.norm2, look, keys[3])
        x, _ = self._around(x, self.norm3, lambda h: self._feed(h, keys[4]), keys[5])
        return x if cache is None else (x, cache)


class _Stack(Module):
    """Blocks one after the other, and a last normalisation."""

    blocks: tuple[Any, ...]
    norm: LayerNorm | None

    _block: ClassVar[Any] = TransformerEncoderBlock

    def __init__(
        self,
        num_layers: int,
        features: int,
        heads: int,
        hidden_features: int | None = None,
        *,
        final_norm: bool | None = None,
        key: Any,
        **options: Any,
    ) -> None:
        keys = split_key(key, num_layers, describe(self, num_layers, features, heads))
        self.blocks = tuple([type(self)._block(features, heads, hidden_features, key=k, **options) for k in keys])
        last = options.get("norm_first", True) if final_norm is None else final_norm
        self.norm = (
            LayerNorm(features, epsilon=options.get("epsilon", 1e-5), dtype=options.get("dtype")) if last else None
        )

    def init_cache(self, batch: int, length: int, dtype: Any = None) -> tuple[Cache, ...]:
        """Room for the keys and values of ``length`` steps, for each block."""
        return tuple([b.init_cache(batch, length, dtype) for b in self.blocks])

    def _run(self, x: Value, args: tuple[Any, ...], options: dict[str, Any], cache: Any, key: Any) -> Any:
        keys, new = _keys(key, len(self.blocks), self), []
        for i, block in enumerate(self.blocks):
            if cache is None:
                x = block(x, *args, key=keys[i], **options)
            else:
                x, after = block(x, *args, cache=cache[i], key=keys[i], **options)
                new.append(after)
        x = x if self.norm is None else self.norm(x)
        return x if cache is None else (x, tuple(new))


class TransformerEncoder(_Stack, init=False):
    """A stack of ``TransformerEncoderBlock``.

    Args:
        num_layers: how many blocks; all others are those of a block.
        final_norm: whether a ``LayerNorm`` follows the last block; None: where blocks normalise first.

    Called ``y = model(x, mask=, key=)``; with ``cache=`` it returns (y, cache).

    >>> import fx.numpy as fnp
    >>> from fx import nn, random
    >>> model = nn.TransformerEncoder(2, 8, 2, causal=True, key=random.key(0))
    >>> model(fnp.ones((3, 5, 8))).shape
    (3, 5, 8)
    """

    def __call__(self, x: Value, *, mask: Any = None, cache: Any = None, key: Any = None) -> Any:
        return self._run(x, (), {"mask": mask}, cache, key)


class TransformerDecoder(_Stack, init=False):
    """A stack of ``TransformerDecoderBlock``.

    Args:
        num_layers: how many blocks; all others are those of a block.
        final_norm: whether a ``LayerNorm`` follows the last block; None: where blocks normalise first.

    Called ``y = model(x, memory, mask=, memory_mask=, key=)``; with ``cache=`` it returns (y, cache).

    >>> import fx.numpy as fnp
    >>> from fx import nn, random
    >>> model = nn.TransformerDecoder(2, 8, 2, key=random.key(0))
    >>> y, cache = model(fnp.ones((3, 1, 8)), fnp.ones((3, 7, 8)), cache=model.init_cache(3, 5))  # the first of five steps
    >>> y.shape, len(cache)
    ((3, 1, 8), 2)
    """

    _block = TransformerDecoderBlock

    def __call__(
        self, x: Value, memory: Value, *, mask: Any = None, memory_mask: Any = None, cache: Any = None, key: Any = None
    ) -> Any:
        return self._run(x, (memory,), {"mask": mask, "memory_mask": memory_mask}, cache, key)
