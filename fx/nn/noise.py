"""Layers that draw noise while a model is trained, and let everything pass under ``nn.inference``.

Each is called with a key; without one it raises ``MissingKeyError``.
"""

from __future__ import annotations

import math
import numbers
from typing import Any

from .. import dtypes, random
from .. import numpy as fnp
from ..errors import DTypeError, ShapeError
from ..numpy.core import as_value
from .key_use import need_key
from .module import Module, static_field

__all__ = [
    "AlphaDropout", "DropPath", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout", "GaussianDropout",
    "GaussianNoise",
]  # fmt: skip

Value = Any


class _Noise(Module):
    """A layer with a rate: from 0 to below 1."""

    rate: float = static_field(default=0.5)
    inference: bool = static_field(default=False)

    def __post_init__(self) -> None:
        if not isinstance(self.rate, numbers.Real) or not 0 <= self.rate < 1:
            raise ShapeError(
                f"{type(self).__name__} takes a rate with 0 <= rate < 1, the share to drop; found {self.rate!r}"
            )

    def __call__(self, x: Value, *, key: Any = None) -> Value:
        x = as_value(x, f"x of {type(self).__name__}")
        if self.inference or self.rate == 0:
            return x
        if not dtypes.is_inexact(x.dtype):
            raise DTypeError(f"{type(self).__name__} scales its argument, so it needs floats; found {x.dtype}")
        return self._noisy(x, need_key(key, self))

    def _noisy(self, x: Value, key: Any) -> Value:
        kept = random.bernoulli(key, 1.0 - self.rate, self._mask_shape(x))
        return fnp.where(kept, x / (1 - self.rate), fnp.zeros((), x.dtype))

    def _mask_shape(self, x: Value) -> tuple[int, ...]:
        return tuple(x.shape)


class Dropout(_Noise):
    """Elements set to 0 with probability ``rate``, the others divided by 1 - rate.

    Called ``layer(x, key=key)``; under ``nn.inference`` ``layer(x)`` is x.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.

    >>> from fx import nn, random
    >>> nn.Dropout(0.5)(fnp.ones(4), key=random.key(0))
    Array([0., 0., 2., 2.], dtype=float32)
    """


class _SpatialDropout(_Noise):
    """Whole channels set to 0: x of shape (..., *spatial, channels)."""

    _spatial = 1

    def _mask_shape(self, x: Value) -> tuple[int, ...]:
        if x.ndim < self._spatial + 1:
            raise ShapeError(
                f"{type(self).__name__} takes x of shape (..., *spatial, channels) with {self._spatial} spatial axes; found {x.shape}"
            )
        batch = x.ndim - self._spatial - 1
        return (*x.shape[:batch], *[1] * self._spatial, x.shape[-1])


class Dropout1d(_SpatialDropout):
    """Whole channels of (..., time, channels) set to 0.  Source: Tompson et al., 2015."""


class Dropout2d(_SpatialDropout):
    """Whole channels of (..., height, width, channels) set to 0.  Source: Tompson et al., 2015.

    >>> from fx import nn, random
    >>> kept = nn.Dropout2d(0.5)(fnp.ones((1, 3, 3, 8)), key=random.key(0))
    >>> bool((kept == kept[:, :1, :1]).all())  # a channel is kept, or not, at all places
    True
    """

    _spatial = 2


class Dropout3d(_SpatialDropout):
    """Whole channels of (..., depth, height, width, channels) set to 0.  Source: Tompson et al., 2015."""

    _spatial = 3


class DropPath(_Noise):
    """Whole examples (first axis) set to 0, the others divided by 1 - rate: stochastic depth, inside of a ``Residual``.

    >>> from fx import nn, random
    >>> nn.DropPath(0.5)(fnp.ones((4, 2)), key=random.key(0))[:, 0]
    Array([0., 0., 2., 2.], dtype=float32)

    Source: Huang et al., "Deep networks with stochastic depth", 2016.
    """

    def _mask_shape(self, x: Value) -> tuple[int, ...]:
        return (*x.shape[:1], *[1] * (x.ndim - 1))


_ALPHA = -1.7580993408473766  # -scale * alpha of selu: its limit at minus infinity


class AlphaDropout(_Noise):
    """Elements set to the limit of ``selu`` with probability ``rate``, then scaled so that mean 0 and variance 1 stay.

    >>> from fx import nn, random
    >>> y = nn.AlphaDropout(0.2)(random.normal(random.key(0), (100_000,)), key=random.key(1))
    >>> abs(round(float(y.mean()), 1)), round(float(y.std()), 1)
    (0.0, 1.0)

    Source: Klambauer et al., "Self-normalizing neural networks", 2017.
    """

    def _noisy(self, x: Value, key: Any) -> Value:
        keep = 1.0 - self.rate
        scale = 1 / math.sqrt(keep * (1 + self.rate * _ALPHA**2))
        kept = random.bernoulli(key, keep, self._mask_shape(x))
        return fnp.where(kept, x, fnp.asarray(_ALPHA, x.dtype)) * scale - scale * _ALPHA * self.rate


class FeatureAlphaDropout(AlphaDropout):
    """``AlphaDropout`` of whole channels of (batch, *spatial, channels)."""

    def _mask_shape(self, x: Value) -> tuple[int, ...]:
        return (*x.shape[:1], *[1] * (x.ndim - 2), *x.shape[1:][-1:])


class GaussianDropout(_Noise):
    """x times normal numbers of mean 1 and standard deviation sqrt(rate / (1 - rate)).  Source: Srivastava et al., 2014."""

    def _noisy(self, x: Value, key: Any) -> Value:
        return x * (1 + math.sqrt(self.rate / (1 - self.rate)) * random.normal(key, x.shape, x.dtype))


class GaussianNoise(Module):
    """x plus normal numbers of mean 0.

    Args:
        stddev: their standard deviation.

    >>> from fx import nn, random
    >>> y = nn.GaussianNoise(0.5)(fnp.ones(100_000), key=random.key(0))
    >>> round(float(y.mean()), 1), round(float(y.std()), 1)
    (1.0, 0.5)
    """

    stddev: float = static_field(default=0.1)
    inference: bool = static_field(default=False)

    def __call__(self, x: Value, *, key: Any = None) -> Value:
        x = as_value(x, "x of GaussianNoise")
        if self.inference or self.stddev == 0:
            return x
        return x + self.stddev * random.normal(need_key(key, self), x.shape, x.dtype)
