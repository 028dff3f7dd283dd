"""Layers that multiply by a matrix, look rows up in one, or only change the shape."""

from __future__ import annotations

import math
import operator
from typing import Any

from .. import dtypes
from .. import numpy as fnp
from ..config import config
from ..errors import ArgumentError, DTypeError, LabelError, ShapeError
from ..numpy.core import as_type, as_value
from ..trace import concrete_value
from . import initializers
from .key_use import split_key
from .module import Module, static_field

__all__ = ["Bilinear", "Embedding", "EmbeddingBag", "Flatten", "Linear"]

Value = Any


def parameter_dtype(dtype: Any) -> Any:
    """The dtype of a layer's parameters: as given, or ``fx.config.default_float``."""
    return config.default_float if dtype is None else dtypes.canonical(dtype)


def describe(layer: Module, *sizes: Any) -> str:
    """How error messages name a layer."""
    return f"{type(layer).__name__}({', '.join(map(str, sizes))})"


def check_sizes(layer: Module, least: int = 0, **sizes: Any) -> None:
    """Raises ShapeError for what is no size of a layer, by its name."""
    for name, n in sizes.items():
        try:
            fits = operator.index(n) >= least
        except TypeError:
            fits = False
        if not fits:
            raise ShapeError(f"{type(layer).__name__}: {name} is a size, an int of at least {least}; found {n!r}")


def check_features(x: Value, features: int, name: str, way_out: str = "") -> Value:
    """``x`` as an array whose last axis has the given size.

    Raises:
        ShapeError: it has another.
    """
    x = as_value(x, f"x of {name}")
    if not x.ndim or x.shape[-1] != features:
        found = f"{x.shape[-1]} in the last axis of x, of shape {x.shape}" if x.ndim else "x of shape ()"
        raise ShapeError(f"{name} takes {features} features; found {found}.{way_out}")
    return x


def parameter(init: Any, default: Any, key: Any, shape: tuple[int, ...], dtype: Any) -> Value:
    """An array of parameters from an initializer."""
    value = (default if init is None else init)(key, shape, parameter_dtype(dtype))
    if tuple(value.shape) != shape:
        raise ShapeError(f"an initializer was asked for shape {shape} and gave {tuple(value.shape)}")
    return value


class Linear(Module):
    """x weight + bias, along the last axis.

    Args:
        in_features, out_features: sizes.
        use_bias: whether there is a bias.
        weight_init, bias_init: initializers ``(key, shape, dtype)``; default: uniform within 1 / sqrt(in_features), as in
            PyTorch.
        dtype: of the parameters; None means ``fx.config.default_float``.
        key: a key (``fx.random``).

    Called with x of shape (..., in_features); returns (..., out_features). ``weight`` has shape (in, out): the transpose
    of PyTorch's.

    >>> from fx import nn, random
    >>> nn.Linear(784, 128, key=random.key(0))(fnp.ones((32, 784))).shape
    (32, 128)
    """

    weight: Value
    bias: Value
    in_features: int = static_field(repr=False)
    out_features: int = static_field(repr=False)

    def __init__(
        self, in_features: int, out_features: int, *, use_bias: bool = True, weight_init: Any = None, bias_init: Any = None,
        dtype: Any = None, key: Any,
    ) -> None:  # fmt: skip
        check_sizes(self, in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        for_weight, for_bias = split_key(key, 2, describe(self, in_features, out_features))
        bound = initializers.uniform_within(1 / math.sqrt(max(in_features, 1)))
        self.weight = parameter(weight_init, bound, for_weight, (in_features, out_features), dtype)
        self.bias = parameter(bias_init, bound, for_bias, (out_features,), dtype) if use_bias else None

    def __call__(self, x: Value) -> Value:
        name = describe(self, self.in_features, self.out_features)
        x = check_features(x, self.in_features, name, " Images are flattened first: nn.Flatten()." * (fnp.ndim(x) > 2))
        y = fnp.matmul(x, self.weight)
        return y if self.bias is None else y + self.bias


class Bilinear(Module):
    """y_k = x1 weight_k x2 + bias_k, for every output k.

    Args:
        in1_features, in2_features, out_features: sizes.
        use_bias, weight_init, bias_init, dtype, key: as for ``Linear``; the default bound is 1 / sqrt(in1_features).

    Called with x1 (..., in1) and x2 (..., in2), which broadcast; ``weight`` has PyTorch's shape (out, in1, in2).

    >>> from fx import nn, random
    >>> nn.Bilinear(3, 4, 5, key=random.key(0))(fnp.ones((2, 3)), fnp.ones((2, 4))).shape
    (2, 5)
    """

    weight: Value
    bias: Value

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, *, use_bias: bool = True, weight_init: Any = None,
        bias_init: Any = None, dtype: Any = None, key: Any,
    ) -> None:  # fmt: skip
        for_weight, for_bias = split_key(key, 2, describe(self, in1_features, in2_features, out_features))
        bound = initializers.uniform_within(1 / math.sqrt(max(in1_features, 1)))
        self.weight = parameter(weight_init, bound, for_weight, (out_features, in1_features, in2_features), dtype)
        self.bias = parameter(bias_init, bound, for_bias, (out_features,), dtype) if use_bias else None

    def __call__(self, x1: Value, x2: Value) -> Value:
        out, first, second = self.weight.shape
        name = describe(self, first, second, out)
        x1, x2 = check_features(x1, first, name), check_features(x2, second, name)
        y = fnp.einsum("...i,oij,...j->...o", x1, self.weight, x2)
        return y if self.bias is None else y + self.bias


class Embedding(Module):
    """A vector for each of a number of integers: rows of a table.

    Args:
        num: how many there are: 0 to num - 1.
        features: length of the vectors.
        weight_init: default: standard normal numbers.
        padding: an integer whose vector is 0 and stays 0 (its gradient is 0); None for none.

    Called with integers of any shape; adds an axis of size ``features``.  An index out of range raises ``LabelError`` where
    it is known, and gives NaN in compiled code.  ``attend(x)`` multiplies by the transposed table, for weights that
    the input and the output of a language model share.

    >>> import fx, numpy as np
    >>> from fx import nn
    >>> table = nn.Embedding(1000, 16, key=fx.random.key(0))
    >>> table(np.array([[1, 2, 3], [4, 5, 6]])).shape
    (2, 3, 16)
    """

    weight: Value
    padding: int | None = static_field(default=None)

    def __init__(
        self,
        num: int,
        features: int,
        *,
        weight_init: Any = None,
        padding: int | None = None,
        dtype: Any = None,
        key: Any,
    ) -> None:
        (key,) = split_key(key, 1, describe(self, num, features))
        self.weight = parameter(weight_init, initializers.normal(1.0), key, (num, features), dtype)
        self.padding = padding if padding is None else padding % num
        if padding is not None:
            self.weight = self.weight.at[self.padding].set(0)

    def __call__(self, x: Value) -> Value:
        x = as_value(x, "x of Embedding")
        num, features = self.weight.shape
        if not dtypes.is_integer(x.dtype):
            raise DTypeError(
                f"{describe(self, num, features)} takes integers; found {x.dtype}. Convert: x.astype('int32')."
            )
        check_range(x, num, describe(self, num, features))
        rows = as_type(x, dtypes.promote_types(x.dtype, dtypes.int32))
        rows = fnp.where(rows < 0, num, rows)  # -1 is no row, and not the last one
        out = fnp.take(self.weight, rows, axis=0, mode="fill", fill_value=math.nan)
        return out if self.padding is None else fnp.where((x == self.padding)[..., None], 0, out)

    def attend(self, x: Value) -> Value:
        """Scores of the vectors for x of shape (..., features): (..., num)."""
        return fnp.matmul(check_features(x, self.weight.shape[1], "Embedding.attend"), self.weight.T)


def check_range(x: Value, num: int, name: str) -> None:
    """Raises LabelError if an integer is known to lie outside of 0 to num - 1."""
    known = concrete_value(x)
    if known is not None and known.size and not (0 <= known.min() and known.max() < num):
        bad = known[(known < 0) | (known >= num)].ravel()[0]
        raise LabelError(f"{name} takes integers from 0 to {num - 1}; found {bad}")


class EmbeddingBag(Embedding):
    """One vector for each bag of integers: the mean, the sum or the greatest elements of their rows of a table.

    Args:
        num, features, weight_init, padding, dtype, key: as for ``Embedding``; what is ``padding`` is in no bag (bags of several
            lengths are filled up with it).
        mode: "mean", "sum" or "max"; of an empty bag all give 0.

    Called with integers of shape (..., bag); with mode "sum" also ``weights=`` of that shape, which multiply the rows.
    Returns (..., features).

    >>> import fx, numpy as np
    >>> from fx import nn
    >>> layer = nn.EmbeddingBag(1000, 16, padding=0, key=fx.random.key(0))
    >>> layer(np.array([[1, 2, 3], [4, 0, 0]])).shape
    (2, 16)
    """

    mode: str = static_field(default="mean")

    def __init__(
        self, num: int, features: int, *, mode: str = "mean", weight_init: Any = None, padding: int | None = None, dtype: Any = None,
        key: Any,
    ) -> None:  # fmt: skip
        if mode not in ("mean", "sum", "max"):
            raise ArgumentError(f"EmbeddingBag: mode is 'mean', 'sum' or 'max'; found {mode!r}")
        super().__init__(num, features, weight_init=weight_init, padding=padding, dtype=dtype, key=key)
        self.mode = mode

    def __call__(self, x: Value, weights: Any = None) -> Value:
        x = as_value(x, "x of EmbeddingBag")
        if not x.ndim:
            raise ShapeError("EmbeddingBag takes integers of shape (..., bag); found ()")
        rows = super().__call__(x)
        if weights is not None:
            weights = as_value(weights, "weights of EmbeddingBag")
            if self.mode != "sum" or tuple(weights.shape) != tuple(x.shape):
                raise ShapeError(
                    f"EmbeddingBag: weights, of the shape of x, are for mode='sum'; found shapes {tuple(weights.shape)} and"
                    f" {tuple(x.shape)}, and mode={self.mode!r}"
                )
            rows = rows * as_type(weights, rows.dtype)[..., None]
        if self.mode == "sum":
            return fnp.sum(rows, -2)
        inside = fnp.broadcast_to(True if self.padding is None else x != self.padding, x.shape)
        count = fnp.sum(inside, -1, keepdims=True)
        if self.mode == "mean":
            return fnp.sum(rows, -2) / as_type(fnp.maximum(count, 1), rows.dtype)
        greatest = fnp.max(rows, -2, where=inside[..., None], initial=-math.inf)
        return fnp.where(count > 0, greatest, 0)


class Flatten(Module):
    """The axes from ``start`` on made one: (batch, height, width, channels) to (batch, features).

    Args:
        start: the first axis that is flattened.

    >>> import numpy as np
    >>> from fx import nn
    >>> nn.Flatten()(np.ones((2, 28, 28, 1))).shape
    (2, 784)
    """

    start: int = static_field(default=1)

    def __call__(self, x: Value) -> Value:
        x = as_value(x, "x of Flatten")
        start = self.start % max(x.ndim, 1)
        return fnp.reshape(x, (*x.shape[:start], math.prod(x.shape[start:])))
