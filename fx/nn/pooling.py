"""Pooling as layers, channels last: x of shape (..., *spatial, channels), with any number of leading axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from .. import numpy as fnp
from ..errors import ArgumentError, ShapeError
from ..numpy.core import as_value
from ..primitives.window_geometry import dilated_size, resolve_padding
from ..primitives.windows import reduce_window_argmax, reduce_window_sum
from .convolution import Padding, Sizes, over_batch
from .distances import root
from .layers import avg_pool, max_pool, padding_pairs, per_axis, pool_window
from .linear import check_range
from .module import Module, static_field

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d",
    "AvgPool1d", "AvgPool2d", "AvgPool3d", "GlobalAvgPool", "GlobalMaxPool", "LPPool1d", "LPPool2d", "LPPool3d", "MaxPool1d", "MaxPool2d",
    "MaxPool3d", "max_unpool",
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

    def __call__(self, x: Value) -> Any:
        return over_batch(self._pooled, x, self._spatial, None, type(self).__name__)

    def _pooled(self, x: Value) -> Any:
        raise NotImplementedError

    def _pads(self, x: Value) -> Any:
        """The padding, as far as the last window reaches."""
        return [(a, b + more) for (a, b), more in self._reaching(x)] if self.ceil_mode else self.padding

    def _reach(self) -> tuple[int, ...]:
        """How far a window reaches along each spatial axis."""
        return self.window

    def _reaching(self, x: Value) -> list[tuple[tuple[int, int], int]]:
        """For each spatial axis what it is padded with, and how much further the last window reaches that begins before the end."""
        pads = ((0, 0),) * self._spatial if self.padding == "VALID" else self.padding
        out = []
        for n, k, s, (before, after) in zip(x.shape[1:-1], self._reach(), self.strides, pads):
            over = (n + before + after - k) % s
            begins = n + before + after - k - over + s  # of the window that the elements left over would be in
            out.append(((before, after), s - over if over and begins < n + before else 0))
        return out


class _Greatest(_Windows):
    dilation: tuple[int, ...] = static_field(default=(1,))
    return_indices: bool = static_field(default=False)

    def __init__(
        self, window: Sizes, strides: Sizes | None = None, padding: Padding = "VALID", *, dilation: Sizes = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(window, strides, padding, ceil_mode=ceil_mode)
        self.dilation = per_axis(type(self).__name__, "dilation", dilation, self._spatial)
        self.return_indices = return_indices

    def _reach(self) -> tuple[int, ...]:
        return tuple([dilated_size(k, d) for k, d in zip(self.window, self.dilation)])

    def _pooled(self, x: Value) -> Any:
        pads = self._pads(x)
        y = max_pool(x, self.window, self.strides, pads, dilation=self.dilation)
        return (y, self._places(x, pads)) if self.return_indices else y

    def _places(self, x: Value, pads: Any) -> Value:
        """Where the greatest elements are, from their numbers in their windows: row-major, as the places are."""
        shape = x.shape[1:-1]
        pads = resolve_padding(type(self).__name__, pads, shape, self._reach(), self.strides)
        taps = reduce_window_argmax(
            x, (1, *self.window, 1), (1, *self.strides, 1), [(0, 0), *pads, (0, 0)], window_dilation=(1, *self.dilation, 1)
        )  # fmt: skip
        place, step = fnp.zeros((), taps.dtype), 1
        for i in reversed(range(self._spatial)):
            taps, tap = fnp.divmod(taps, self.window[i])
            starts = fnp.arange(taps.shape[i + 1], dtype=taps.dtype) * self.strides[i] - pads[i][0]
            along = fnp.expand_dims(starts, tuple(range(1, self._spatial - i + 1))) + tap * self.dilation[i]
            place, step = place + along * step, step * shape[i]
        return place


class MaxPool1d(_Greatest, init=False):
    """The greatest element of every window of (..., time, channels).

    Args:
        window: an int, or one for each spatial axis.
        strides: distance between windows; None means ``window``.
        padding: "VALID", "SAME", an int, or for each spatial axis an int or a pair; padded elements never win.
        dilation: distance between the elements of a window.
        ceil_mode: take what is left over at the end as a window too, which reaches beyond it.
        return_indices: return a pair, with the place of each element (int32, row-major over the spatial axes), the first of
            equals, for ``nn.max_unpool``.

    >>> from fx import nn
    >>> nn.MaxPool1d(2)(fnp.arange(4.0).reshape(1, 4, 1)).ravel()
    Array([1., 3.], dtype=float32)
    """

    _spatial = 1


class MaxPool2d(_Greatest, init=False):
    """The greatest element of every window of (..., height, width, channels); arguments as for ``MaxPool1d``.

    >>> import numpy as np
    >>> from fx import nn
    >>> nn.MaxPool2d(2)(np.ones((2, 28, 28, 3))).shape
    (2, 14, 14, 3)
    """

    _spatial = 2


class MaxPool3d(_Greatest, init=False):
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


class _Norms(_Windows):
    p: float = static_field(default=2.0)

    def __init__(
        self, window: Sizes, strides: Sizes | None = None, padding: Padding = "VALID", *, p: float = 2.0,
        ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        if not 1 <= p < math.inf:
            raise ArgumentError(
                f"{type(self).__name__}: p is a number from 1 on (nn.MaxPool2d for infinity); found {p}"
            )
        super().__init__(window, strides, padding, ceil_mode=ceil_mode)
        self.p = p

    def _pooled(self, x: Value) -> Value:
        powers = fnp.square(x) if self.p == 2 else fnp.abs(x) ** self.p
        total = reduce_window_sum(powers, *pool_window("LPPool", x, self.window, self.strides, self._pads(x)))
        return root(total, self.p)


class LPPool1d(_Norms, init=False):
    """The p-norm of every window of (..., time, channels): (sum |x|**p)**(1 / p), with derivative 0 where it is 0.

    Args:
        window, strides, padding, ceil_mode: as for ``MaxPool1d``; padded elements are 0 (PyTorch scales up the norm of a window that
            reaches beyond the end).
        p: from 1, a sum, towards infinity, the greatest.

    >>> from fx import nn
    >>> nn.LPPool1d(2)(fnp.array([[3.0], [4.0], [0.0], [-1.0]])).ravel()
    Array([5., 1.], dtype=float32)
    """

    _spatial = 1


class LPPool2d(_Norms, init=False):
    """The p-norm of every window of (..., height, width, channels); arguments as for ``LPPool1d``."""

    _spatial = 2


class LPPool3d(_Norms, init=False):
    """The p-norm of every window of (..., depth, height, width, channels); arguments as for ``LPPool1d``."""

    _spatial = 3


# --------------------------------------------------------------------------------------- unpooling


def max_unpool(x: Any, indices: Any, shape: Sequence[int]) -> Value:
    """What was pooled put back where it came from: zeros, but y[b, indices[b, w, c], c] = x[b, w, c].

    Args:
        x: (..., *spatial', channels).
        indices: of its shape, the places that ``MaxPool2d(..., return_indices=True)`` gives; of windows that share one,
            which hold the same number there, one writes it.
        shape: the spatial sizes of what was pooled.

    Returns:
        (..., *shape, channels).

    Raises:
        LabelError: an index is known to be no place.

    >>> from fx import nn
    >>> x = fnp.array([[[1.0], [5.0], [2.0], [3.0]]])
    >>> y, places = nn.MaxPool1d(2, return_indices=True)(x)
    >>> nn.max_unpool(y, places, (4,)).ravel()
    Array([0., 5., 0., 3.], dtype=float32)
    """
    x, indices, shape = as_value(x, "x of max_unpool"), as_value(indices, "indices of max_unpool"), tuple(shape)
    if x.ndim <= len(shape) or tuple(x.shape) != tuple(indices.shape):
        raise ShapeError(
            f"max_unpool takes x and indices of one shape, (..., *spatial, channels), and a size for each spatial axis; found"
            f" {tuple(x.shape)}, {tuple(indices.shape)} and shape={shape}"
        )
    places = math.prod(shape)
    check_range(indices, places, "max_unpool")
    lead, channels = tuple(x.shape[: -len(shape) - 1]), x.shape[-1]
    rows = (math.prod(lead), math.prod(x.shape[len(lead) : -1]), channels)
    at = (fnp.arange(rows[0])[:, None, None], fnp.reshape(indices, rows), fnp.arange(channels))
    out = fnp.zeros((rows[0], places, channels), x.dtype).at[at].set(fnp.reshape(x, rows))
    return fnp.reshape(out, (*lead, *shape, channels))


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
