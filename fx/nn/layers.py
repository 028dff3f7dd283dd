"""Convolution, pooling and dropout.  Images are channels-last: (batch, height, width, channels), and so for any number of spatial axes."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .. import dtypes, random
from .. import numpy as fnp
from ..errors import DTypeError, ShapeError
from ..numpy.core import as_value, filled, promote_dtype
from ..primitives.conv import ConvDimensionNumbers, conv_general_dilated
from ..primitives.windows import reduce_window_max, reduce_window_sum

__all__ = ["avg_pool", "conv", "dropout", "max_pool"]

Value = Any
Sizes = int | Sequence[int]
Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]


def per_axis(name: str, what: str, value: Sizes, spatial: int, least: int = 1) -> tuple[int, ...]:
    """One number for each spatial axis.

    Raises:
        ShapeError: there are more or fewer, or one is less than ``least``.
    """
    alone = not isinstance(value, Iterable) or isinstance(value, str)
    try:
        sizes = tuple([operator.index(v) for v in ([value] * spatial if alone else value)])  # type: ignore[union-attr, arg-type]
    except TypeError:
        sizes = ()
    if len(sizes) != spatial:
        raise ShapeError(
            f"{name}: {what}={value!r} must be an int or have one entry for each of the {spatial} spatial axes"
        )
    if sizes and min(sizes) < least:
        raise ShapeError(f"{name}: {what} is at least {least} along every axis; found {value!r}")
    return sizes


def padding_pairs(name: str, padding: Padding, spatial: int) -> str | tuple[tuple[int, int], ...]:
    """A name, or a pair (before, after) for each spatial axis."""
    if isinstance(padding, str):
        return padding.upper()
    if isinstance(padding, (int, np.integer)):
        return ((int(padding),) * 2,) * spatial
    if len(padding) != spatial:
        raise ShapeError(
            f"{name}: padding={padding!r} must be 'SAME', 'VALID', an int, or have an entry for each of the {spatial} spatial axes"
        )
    return tuple([(int(q),) * 2 if isinstance(q, (int, np.integer)) else (int(q[0]), int(q[1])) for q in padding])


def conv(
    x: Any, kernel: Any, strides: Sizes = 1, padding: Padding = "VALID", *, input_dilation: Sizes = 1,
    kernel_dilation: Sizes = 1, feature_group_count: int = 1,
) -> Value:  # fmt: skip
    """Convolution (cross-correlation, as everywhere in this field) of a batch of channels-last arrays.

    Args:
        x: (batch, *spatial, in_channels).
        kernel: (*window, in_channels / feature_group_count, out_channels).
        strides: distance between windows.
        padding: "VALID", "SAME", an int, or for each spatial axis an int or a pair (before, after).
        input_dilation: distance between neighbours of ``x`` (a transposed convolution).
        kernel_dilation: distance between taps of the kernel (an atrous convolution).
        feature_group_count: number of groups of channels that do not mix.

    Returns:
        (batch, *spatial', out_channels).

    >>> conv(fnp.ones((1, 5, 5, 2)), fnp.ones((3, 3, 2, 4))).shape
    (1, 3, 3, 4)
    """
    x, kernel = promote_dtype(as_value(x, "x of conv"), as_value(kernel, "kernel of conv"))
    if x.ndim < 2 or kernel.ndim != x.ndim:
        raise ShapeError(
            f"conv takes x of shape (batch, *spatial, channels) and a kernel of shape (*window, in, out);"
            f" found {x.shape} and {kernel.shape}"
        )
    n, spatial = x.ndim, x.ndim - 2
    channels_last = (0, n - 1, *range(1, n - 1))
    return conv_general_dilated(
        x, kernel, per_axis("conv", "strides", strides, spatial), padding_pairs("conv", padding, spatial),
        per_axis("conv", "input_dilation", input_dilation, spatial), per_axis("conv", "kernel_dilation", kernel_dilation, spatial),
        ConvDimensionNumbers(channels_last, (n - 1, n - 2, *range(n - 2)), channels_last), feature_group_count,
    )  # fmt: skip


def pool_window(name: str, x: Value, window: Sizes, strides: Sizes | None, padding: Padding) -> tuple[Any, ...]:
    """(window, strides, padding) over all axes of a batch of channels-last arrays."""
    spatial = x.ndim - 2
    if spatial < 1:
        raise ShapeError(f"{name} takes x of shape (batch, *spatial, channels); found {x.shape}")
    sizes = per_axis(name, "window_shape", window, spatial)
    steps = sizes if strides is None else per_axis(name, "strides", strides, spatial)
    pads = padding_pairs(name, padding, spatial)
    return (1, *sizes, 1), (1, *steps, 1), pads if isinstance(pads, str) else [(0, 0), *pads, (0, 0)]


def max_pool(
    x: Any, window_shape: Sizes, strides: Sizes | None = None, padding: Padding = "VALID", *, dilation: Sizes = 1
) -> Value:
    """The greatest element of every window; the gradient goes to the first of equals.

    Args:
        x: (batch, *spatial, channels).
        window_shape: an int or one for each spatial axis.
        strides: distance between windows; None means ``window_shape``, so that they do not overlap.
        padding: as for ``conv``; padded elements never win.
        dilation: distance between the elements of a window.

    >>> max_pool(fnp.arange(16.0).reshape(1, 4, 4, 1), 2).ravel()
    Array([ 5.,  7., 13., 15.], dtype=float32)
    """
    x = as_value(x, "x of max_pool")
    window = pool_window("max_pool", x, window_shape, strides, padding)
    apart = per_axis("max_pool", "dilation", dilation, x.ndim - 2)
    return reduce_window_max(x, *window, window_dilation=(1, *apart, 1))


def avg_pool(
    x: Any,
    window_shape: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    count_include_pad: bool = True,
) -> Value:
    """The mean of every window; arguments as for ``max_pool``.

    Args:
        count_include_pad: count padded elements, which are 0; otherwise the mean is over the elements of ``x`` alone.
    """
    x = as_value(x, "x of avg_pool")
    window = pool_window("avg_pool", x, window_shape, strides, padding)
    total = reduce_window_sum(x, *window)
    if count_include_pad or window[2] == "VALID":
        return total / math.prod(window[0])
    ones = fnp.ones((1, *x.shape[1:-1], 1), x.dtype)
    return total / reduce_window_sum(ones, *window)


def dropout(key: Any, x: Any, rate: float) -> Value:
    """Elements of ``x`` set to 0 with probability ``rate``, the others divided by ``1 - rate``, so that the mean stays.

    Args:
        key: a key (``fx.random``), used up by the call; None leaves ``x`` as it is (outside training).
        x: float array.
        rate: a Python number, 0 <= rate < 1.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.

    >>> import fx, numpy as np
    >>> from fx import nn
    >>> y = nn.dropout(fx.random.key(0), np.ones(1000, np.float32), 0.5)
    >>> np.unique(y), round(float(y.mean()), 1)
    (Array([0., 2.], dtype=float32), 1.0)
    """
    x = as_value(x, "x of dropout")
    if not 0 <= rate < 1:
        raise ShapeError(f"dropout takes a rate with 0 <= rate < 1, the share of elements to drop; found {rate}")
    if not dtypes.is_inexact(x.dtype):
        raise DTypeError(f"dropout scales its argument, so it needs floats; found {x.dtype}")
    if key is None or rate == 0:
        return x
    kept = random.bernoulli(key, 1.0 - rate, x.shape)
    return fnp.where(kept, x / (1 - rate), filled((), 0, x.dtype))
