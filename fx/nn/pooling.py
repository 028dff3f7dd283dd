"""Pooling as layers, channels last: x of shape (..., *spatial, channels), with any number of leading axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from .. import numpy as fnp
from ..errors import ShapeError
from ..numpy.core import as_value
from .convolution import Padding, Sizes, over_batch
from .layers import avg_pool, max_pool, padding_pairs, per_axis
from .module import Module, static_field

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d",
    "AvgPool1d", "AvgPool2d", "AvgPool3d", "GlobalAvgPool", "GlobalMaxPool", "MaxPool1d", "MaxPool2d", "MaxPool3d",
]  # fmt: skip

Value = Any


class _Windows(Module):
    """Pooling over windows of one size."""

    window: tuple[int, ...] = static_field()
    strides: tuple[int, ...] = static_field()
    padding: Any = static_field(default="VALID")
    ceil_mode: bool = static_field(default=False)

    _spatial = 0

    def __init__(
        self, window: Sizes, strides: Sizes | None = None, padding: Padding = "VALID", *, ceil_mode: bool = False
    ) -> None:
        name, n = type(self).__name__, self._spatial
        self.window = per_axis(name, "window", window, n)
        self.strides = self.window if strides is None else per_axis(name, "strides", strides, n)
        self.padding, self.ceil_mode = padding_pairs(name, padding, n), ceil_mode
        if ceil_mode and self.padding == "SAME":
            raise ShapeError(f"{name}: padding='SAME' leaves no elements over; ceil_mode is for other paddings")

    def __call__(self, x: Value) -> Value:
        return over_batch(self._pooled, x, self._spatial, None, type(self).__name__)

    def _pooled(self, x: Value) -> Value:
        padding = [(a, b + more) for (a, b), more in self._reaching(x)] if self.ceil_mode else self.padding
        return max_pool(x, self.window, self.strides, padding)

    def _reaching(self, x: Value) -> list[tuple[tuple[int, int], int]]:
        """For each spatial axis what it is padded with, and how much further the last window reaches that begins before the end."""
        pads = ((0, 0),) * self._spatial if self.padding == "VALID" else self.padding
        out = []
        for n, k, s, (before, after) in zip(x.shape[1:-1], self.window, self.strides, pads):
            over = (n + before + after - k) % s
            begins = n + before + after - k - over + s  # of the window that the elements left over would be in
            out.append(((before, after), s - over if over and begins < n + before else 0))
        return out


class MaxPool1d(_Windows, init=False):
    """The greatest element of every window of (..., time, channels).

    Args:
        window: an int, or one for each spatial axis.
        strides: distance between windows; None means ``window``.
        padding: "VALID", "SAME", an int, or for each spatial axis an int or a pair; padded elements never win.
        ceil_mode: take what is left over at the end as a window too, which reaches beyond it.

    >>> from fx import nn
    >>> nn.MaxPool1d(2)(fnp.arange(4.0).reshape(1, 4, 1)).ravel()
    Array([1., 3.], dtype=float32)
    """

    _spatial = 1


class MaxPool2d(_Windows, init=False):
    """The greatest element of every window of (..., height, width, channels); arguments as for ``MaxPool1d``.

    >>> import numpy as np
    >>> from fx import nn
    >>> nn.MaxPool2d(2)(np.ones((2, 28, 28, 3))).shape
    (2, 14, 14, 3)
    """

    _spatial = 2


class MaxPool3d(_Windows, init=False):
    """The greatest element of every window of (..., depth, height, width, channels); arguments as for ``MaxPool1d``."""

    _spatial = 3


class _Means(_Windows):
    count_include_pad: bool = static_field(default=True)

    def __init__(
        self, window: Sizes, strides: Sizes | None = None, padding: Padding = "VALID", *, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(window, strides, padding, ceil_mode=ceil_mode)
        self.count_include_pad = count_include_pad

    def _pooled(self, x: Value) -> Value:
        if not self.ceil_mode:
            return avg_pool(x, self.window, self.strides, self.padding, self.count_include_pad)
        reaching = self._reaching(x)
        if self.count_include_pad:  # what is padded counts, what a window reaches beyond that does not
            x = fnp.pad(x, [(0, 0), *[pads for pads, _ in reaching], (0, 0)])
            reaching = [((0, 0), more) for _, more in reaching]
        return avg_pool(x, self.window, self.strides, [(a, b + more) for (a, b), more in reaching], False)


class AvgPool1d(_Means, init=False):
    """The mean of every window of (..., time, channels).

    Args:
        window, strides, padding, ceil_mode: as for ``MaxPool1d``; what a window reaches beyond the end does not count.
        count_include_pad: count padded elements, which are 0.
    """

    _spatial = 1


class AvgPool2d(_Means, init=False):
    """The mean of every window of (..., height, width, channels); arguments as for ``AvgPool1d``.

    >>> import numpy as np
    >>> from fx import nn
    >>> nn.AvgPool2d(2)(np.ones((2, 28, 28, 3))).shape
    (2, 14, 14, 3)
    """

    _spatial = 2


class AvgPool3d(_Means, init=False):
    """The mean of every window of (..., depth, height, width, channels); arguments as for ``AvgPool1d``."""

    _spatial = 3


# ---------------------------------------------------------------------------------------- adaptive


def _adaptive(x: Value, axis: int, out: int, reduce: Callable[..., Value]) -> Value:
    """An axis cut into ``out`` pieces, from floor(i n / out) to ceil((i + 1) n / out), each reduced to one."""
    n = x.shape[axis]
    if n % out == 0:
        shape = (*x.shape[:axis], out, n // out, *x.shape[axis + 1 :])
        return reduce(fnp.reshape(x, shape), axis=axis + 1)
    pieces = []
    for i in range(out):
        piece = [slice(None)] * x.ndim
        piece[axis] = slice(i * n // out, -(-(i + 1) * n // out))
        pieces.append(reduce(x[tuple(piece)], axis=axis))
    return fnp.stack(pieces, axis)


class _Adaptive(Module):
    """Pooling to an output of a given size: spatial axes are cut into pieces of about equal size."""

    out: tuple[int | None, ...] = static_field()

    _spatial = 0
    _reduce: ClassVar[Any] = staticmethod(fnp.mean)

    def __init__(self, out: int | Sequence[int | None]) -> None:
        self.out = (out,) * self._spatial if isinstance(out, int) else tuple(out)
        if len(self.out) != self._spatial or any(n is not None and n < 1 for n in self.out):
            raise ShapeError(
                f"{type(self).__name__} takes a positive size, or one for each of {self._spatial} spatial axes; found {out!r}"
            )

    def __call__(self, x: Value) -> Value:
        return over_batch(self._pooled, x, self._spatial, None, type(self).__name__)

    def _pooled(self, x: Value) -> Value:
        for axis, n in enumerate(self.out, 1):
            if n is not None and x.shape[axis] < 1:
                raise ShapeError(f"{type(self).__name__} cannot cut an empty axis: x has shape {tuple(x.shape)}")
            x = x if n is None else _adaptive(x, axis, n, type(self)._reduce)
        return x


class AdaptiveAvgPool1d(_Adaptive, init=False):
    """Means of pieces of the time axis.

    Args:
        out: how many pieces; for several axes one for each, where None leaves the axis as it is.

    >>> from fx import nn
    >>> nn.AdaptiveAvgPool1d(2)(fnp.arange(5.0).reshape(1, 5, 1)).ravel()
    Array([1., 3.], dtype=float32)
    """

    _spatial = 1


class AdaptiveAvgPool2d(_Adaptive, init=False):
    """Means of pieces of images; arguments as for ``AdaptiveAvgPool1d``."""

    _spatial = 2


class AdaptiveAvgPool3d(_Adaptive, init=False):
    """Means of pieces of volumes; arguments as for ``AdaptiveAvgPool1d``."""

    _spatial = 3


class AdaptiveMaxPool1d(AdaptiveAvgPool1d):
    """The greatest elements of pieces of the time axis; arguments as for ``AdaptiveAvgPool1d``."""

    _reduce = staticmethod(fnp.max)


class AdaptiveMaxPool2d(AdaptiveAvgPool2d):
    """The greatest elements of pieces of images; arguments as for ``AdaptiveAvgPool1d``."""

    _reduce = staticmethod(fnp.max)


class AdaptiveMaxPool3d(AdaptiveAvgPool3d):
    """The greatest elements of pieces of volumes; arguments as for ``AdaptiveAvgPool1d``."""

    _reduce = staticmethod(fnp.max)


class _Global(Module):
    keepdims: bool = static_field(default=False)

    _reduce: ClassVar[Any] = staticmethod(fnp.mean)

    def __call__(self, x: Value) -> Value:
        x = as_value(x, f"x of {type(self).__name__}")
        if x.ndim < 3:
            raise ShapeError(
                f"{type(self).__name__} takes x of shape (batch, *spatial, channels); found {tuple(x.shape)}"
            )
        return type(self)._reduce(x, axis=tuple(range(1, x.ndim - 1)), keepdims=self.keepdims)


class GlobalAvgPool(_Global):
    """The mean over all spatial axes: (batch, *spatial, channels) to (batch, channels).

    Args:
        keepdims: keep the spatial axes, of size 1.

    >>> import numpy as np
    >>> from fx import nn
    >>> nn.GlobalAvgPool()(np.ones((2, 7, 7, 64))).shape
    (2, 64)
    """


class GlobalMaxPool(_Global):
    """The greatest element over all spatial axes; arguments as for ``GlobalAvgPool``."""

    _reduce = staticmethod(fnp.max)
