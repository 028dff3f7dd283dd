"""Layers that move, repeat, cut out or put together places, channels last: x of shape (..., *spatial, channels)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import image
from .. import numpy as fnp
from ..api import linear_transpose
from ..errors import ArgumentError, ShapeError
from ..ir import Aval
from ..numpy.core import as_value
from ..primitives.window_geometry import dilated_size, resolve_padding, window_counts
from .convolution import PADDING_MODES, Padding, Sizes, over_batch
from .layers import padding_pairs, per_axis
from .linear import check_sizes
from .module import Module, static_field

__all__ = [
    "ChannelShuffle", "Fold", "Pad1d", "Pad2d", "Pad3d", "PixelShuffle", "PixelUnshuffle", "Unfold", "Upsample", "fold", "unfold",
]  # fmt: skip

Value = Any


# ------------------------------------------------------------------------------------------ patches


class _Patches:
    """The windows over spatial axes of given sizes."""

    def __init__(
        self, who: str, shape: Sequence[int], window: Sizes, strides: Sizes, padding: Padding, dilation: Sizes
    ) -> None:
        n = len(shape)
        self.window = per_axis(who, "window", window, n)
        self.strides, self.dilation = per_axis(who, "strides", strides, n), per_axis(who, "dilation", dilation, n)
        reach = [dilated_size(k, d) for k, d in zip(self.window, self.dilation)]
        self.pads = resolve_padding(who, padding_pairs(who, padding, n), shape, reach, self.strides)
        self.counts = window_counts(shape, self.window, self.strides, self.pads, (1,) * n, self.dilation)

    def cut(self, x: Value) -> Value:
        """(batch, *spatial, channels) to (batch, windows, taps * channels): a gather of rows of channels."""
        n = len(self.window)
        at = []
        for axis, (count, k, s, d) in enumerate(zip(self.counts, self.window, self.strides, self.dilation)):
            places = np.arange(count)[:, None] * s + np.arange(k) * d
            at.append(places.reshape([count if i == axis else k if i == n + axis else 1 for i in range(2 * n)]))
        if any(pair != (0, 0) for pair in self.pads):
            x = fnp.pad(x, [(0, 0), *self.pads, (0, 0)])
        features = math.prod(self.window) * x.shape[-1]
        return fnp.reshape(x[(slice(None), *at)], (x.shape[0], math.prod(self.counts), features))


def unfold(x: Any, window: Sizes, strides: Sizes = 1, padding: Padding = "VALID", *, dilation: Sizes = 1) -> Value:
    """All windows of a batch of channels-last arrays, each as a row: what a convolution multiplies with its kernel.

    y[b, w, (tap, channel)] = x[b, start(w) + dilation * tap, channel], so that ``unfold(x, window) @ kernel.reshape(-1, out)``
    is ``conv(x, kernel)`` with its places in one axis.

    Args:
        x: (batch, *spatial, channels).
        window, strides, padding, dilation: as for ``nn.Conv2d``; windows need not overlap, or cover everything.

    Returns:
        (batch, windows, taps * channels); PyTorch's has the channels before the taps, and the windows last.

    >>> from fx import nn
    >>> nn.unfold(fnp.arange(4.0).reshape(1, 4, 1), 2)[0]
    Array([[0., 1.],
           [1., 2.],
           [2., 3.]], dtype=float32)
    """
    x = as_value(x, "x of unfold")
    if x.ndim < 3:
        raise ShapeError(f"unfold takes x of shape (batch, *spatial, channels); found {tuple(x.shape)}")
    return _Patches("unfold", x.shape[1:-1], window, strides, padding, dilation).cut(x)


def fold(
    patches: Any, shape: Sequence[int], window: Sizes, strides: Sizes = 1, padding: Padding = "VALID", *, dilation: Sizes = 1
) -> Value:  # fmt: skip
    """The transpose of ``unfold``: every place is the sum of what the windows that cover it hold for it.

    ``fold(unfold(x))`` is x times the number of windows over each place.

    Args:
        patches: (batch, windows, taps * channels).
        shape: the spatial sizes of the result.
        window, strides, padding, dilation: as for ``unfold``.

    Returns:
        (batch, *shape, channels).

    >>> from fx import nn
    >>> nn.fold(fnp.ones((1, 3, 2)), (4,), 2).ravel()
    Array([1., 2., 2., 1.], dtype=float32)
    """
    patches, shape = as_value(patches, "patches of fold"), tuple(shape)
    windows = _Patches("fold", shape, window, strides, padding, dilation)
    taps, count = math.prod(windows.window), math.prod(windows.counts)
    if patches.ndim != 3 or patches.shape[1] != count or patches.shape[2] % taps:
        raise ShapeError(
            f"fold: {count} windows ({' by '.join(map(str, windows.counts))}) of {taps} taps give an array of shape {shape}, so patches"
            f" have shape (batch, {count}, {taps} * channels); found {tuple(patches.shape)}"
        )
    operand = Aval((patches.shape[0], *shape, patches.shape[2] // taps), patches.dtype)
    return linear_transpose(windows.cut, operand)(patches)[0]


class Unfold(Module):
    """``unfold`` as a layer: (..., height, width, channels) to (..., windows, taps * channels).

    Args:
        window: an int, or one for each spatial axis (of which there are as many; two for an int).
        strides, padding, dilation: as for ``nn.unfold``.

    >>> from fx import nn
    >>> nn.Unfold(8, 8)(fnp.ones((2, 32, 32, 3))).shape
    (2, 16, 192)
    """

    window: tuple[int, ...] = static_field()
    strides: tuple[int, ...] = static_field()
    padding: Any = static_field()
    dilation: tuple[int, ...] = static_field()

    def __init__(self, window: Sizes, strides: Sizes = 1, padding: Padding = "VALID", *, dilation: Sizes = 1) -> None:
        name, n = type(self).__name__, len(window) if isinstance(window, Sequence) else 2
        self.window = per_axis(name, "window", window, n)
        self.strides, self.dilation = per_axis(name, "strides", strides, n), per_axis(name, "dilation", dilation, n)
        self.padding = padding_pairs(name, padding, n)

    def __call__(self, x: Value) -> Value:
        cut = lambda x: unfold(x, self.window, self.strides, self.padding, dilation=self.dilation)
        return over_batch(cut, x, len(self.window), None, "Unfold")


class Fold(Unfold):
    """``fold`` as a layer: (..., windows, taps * channels) to (..., height, width, channels).

    Args:
        shape: the spatial sizes of the result.
        window, strides, padding, dilation: as for ``nn.unfold``.

    >>> from fx import nn
    >>> nn.Fold((32, 32), 8, 8)(fnp.ones((2, 16, 192))).shape
    (2, 32, 32, 3)
    """

    shape: tuple[int, ...] = static_field()

    def __init__(
        self, shape: Sizes, window: Sizes, strides: Sizes = 1, padding: Padding = "VALID", *, dilation: Sizes = 1
    ) -> None:
        n = next((len(v) for v in (shape, window) if isinstance(v, Sequence)), 2)
        self.shape = per_axis("Fold", "shape", shape, n, least=0)
        super().__init__(per_axis("Fold", "window", window, n), strides, padding, dilation=dilation)

    def __call__(self, x: Value) -> Value:
        x = as_value(x, "x of Fold")
        if x.ndim < 2:
            raise ShapeError(f"Fold takes patches of shape (..., windows, taps * channels); found {tuple(x.shape)}")
        lead = tuple(x.shape[:-2])
        whole = fold(
            fnp.reshape(x, (math.prod(lead), *x.shape[-2:])), self.shape, self.window, self.strides, self.padding,
            dilation=self.dilation,
        )  # fmt: skip
        return fnp.reshape(whole, (*lead, *whole.shape[1:]))


# ------------------------------------------------------------------------------------ places, channels


def _cut_channels(x: Value, pieces: int, least: int, name: str) -> Value:
    x = as_value(x, f"x of {name}")
    if x.ndim < least or x.shape[-1] % pieces:
        want = "(..., height, width, channels)" if least == 3 else "(..., channels)"
        raise ShapeError(f"{name} takes x of shape {want}, channels a multiple of {pieces}; found {tuple(x.shape)}")
    return x


class _Squares(Module):
    """Squares of pixels, ``factor`` wide and high."""

    factor: int = static_field()

    def __init__(self, factor: int) -> None:
        check_sizes(self, 1, factor=factor)
        self.factor = factor


class PixelShuffle(_Squares, init=False):
    """factor**2 channels become a square of pixels: (..., h, w, c * factor**2) to (..., h * factor, w * factor, c).

    y[factor i + a, factor j + b, c] = x[i, j, (c, a, b)], the order of PyTorch's channels.

    Args:
        factor: by how much height and width grow.

    Source: Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional network", 2016.

    >>> from fx import nn
    >>> nn.PixelShuffle(2)(fnp.arange(4.0).reshape(1, 1, 4))[..., 0]
    Array([[0., 1.],
           [2., 3.]], dtype=float32)
    """

    def __call__(self, x: Value) -> Value:
        r = self.factor
        x = _cut_channels(x, r * r, 3, f"PixelShuffle({r})")
        *lead, h, w, c = x.shape
        n = len(lead)
        x = fnp.reshape(x, (*lead, h, w, c // (r * r), r, r))
        x = fnp.transpose(x, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
        return fnp.reshape(x, (*lead, h * r, w * r, c // (r * r)))


class PixelUnshuffle(_Squares, init=False):
    """What ``PixelShuffle`` does, undone: (..., h * factor, w * factor, c) to (..., h, w, c * factor**2).

    >>> from fx import nn
    >>> nn.PixelUnshuffle(2)(fnp.arange(4.0).reshape(2, 2, 1)).ravel()
    Array([0., 1., 2., 3.], dtype=float32)
    """

    def __call__(self, x: Value) -> Value:
        r = self.factor
        x = _cut_channels(x, 1, 3, f"PixelUnshuffle({r})")
        *lead, h, w, c = x.shape
        if h % r or w % r:
            raise ShapeError(f"PixelUnshuffle({r}): height and width are multiples of {r}; found {tuple(x.shape)}")
        n = len(lead)
        x = fnp.reshape(x, (*lead, h // r, r, w // r, r, c))
        x = fnp.transpose(x, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
        return fnp.reshape(x, (*lead, h // r, w // r, c * r * r))


class ChannelShuffle(Module):
    """Channels dealt out among groups: of (groups, n) they become (n, groups), so that a grouped convolution mixes all.

    Args:
        groups: divides the number of channels.

    Source: Zhang et al., "ShuffleNet", 2018.

    >>> from fx import nn
    >>> nn.ChannelShuffle(2)(fnp.arange(6.0))
    Array([0., 3., 1., 4., 2., 5.], dtype=float32)
    """

    groups: int = static_field()

    def __init__(self, groups: int) -> None:
        check_sizes(self, 1, groups=groups)
        self.groups = groups

    def __call__(self, x: Value) -> Value:
        x = _cut_channels(x, self.groups, 1, f"ChannelShuffle({self.groups})")
        grouped = fnp.reshape(x, (*x.shape[:-1], self.groups, x.shape[-1] // self.groups))
        return fnp.reshape(fnp.swapaxes(grouped, -1, -2), x.shape)


# ------------------------------------------------------------------------------------------- borders


class _Pad(Module):
    """Spatial axes made longer, or shorter, at both ends."""

    padding: tuple[tuple[int, int], ...] = static_field()
    mode: str = static_field(default="zeros")
    value: float = static_field(default=0.0)

    _spatial = 0

    def __init__(self, padding: Padding, *, mode: str = "zeros", value: float = 0.0) -> None:
        name = type(self).__name__
        if mode not in PADDING_MODES:
            raise ArgumentError(f"{name}: mode is one of {', '.join(PADDING_MODES)}; found {mode!r}")
        if value and mode != "zeros":
            raise ArgumentError(f"{name}: mode={mode!r} repeats what is there; value= is for mode='zeros'")
        pairs = padding_pairs(name, padding, self._spatial)
        if isinstance(pairs, str):
            raise ShapeError(f"{name}: padding is an int, or for each spatial axis an int or a pair; found {padding!r}")
        self.padding, self.mode, self.value = pairs, mode, value

    def __call__(self, x: Value) -> Value:
        return over_batch(self._padded, x, self._spatial, None, type(self).__name__)

    def _padded(self, x: Value) -> Value:
        crops = [slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape[1:-1], self.padding)]
        if any(a < 0 or b < 0 for a, b in self.padding):
            x = x[(slice(None), *crops)]
        pads = [(0, 0), *[(max(a, 0), max(b, 0)) for a, b in self.padding], (0, 0)]
        given = {"constant_values": self.value} if self.mode == "zeros" else {}
        return fnp.pad(x, pads, mode=PADDING_MODES[self.mode], **given)


class Pad1d(_Pad, init=False):
    """(..., time, channels) with more steps before and after.

    Args:
        padding: an int, or for each spatial axis an int or a pair (before, after); a negative number takes away.
        mode: "zeros", "reflect" (without the border itself), "replicate" or "circular".
        value: what stands there with mode "zeros".

    >>> from fx import nn
    >>> nn.Pad1d([(2, 1)], mode="reflect")(fnp.arange(4.0)[:, None]).ravel()
    Array([2., 1., 0., 1., 2., 3., 2.], dtype=float32)
    """

    _spatial = 1


class Pad2d(_Pad, init=False):
    """(..., height, width, channels) with a border; arguments as for ``Pad1d``: ``Pad2d(3, mode="reflect")``."""

    _spatial = 2


class Pad3d(_Pad, init=False):
    """(..., depth, height, width, channels) with a border; arguments as for ``Pad1d``."""

    _spatial = 3


# -------------------------------------------------------------------------------------------- sizes

_MODES = {
    "nearest": "nearest", "linear": "linear", "bilinear": "linear", "trilinear": "linear", "cubic": "cubic-pytorch",
    "bicubic": "cubic-pytorch",
}  # fmt: skip


class Upsample(Module):
    """Images (series, volumes) in another size: (batch, *spatial, channels) to (batch, *spatial', channels).

    Every output pixel is a weighted mean of input pixels, as of ``fx.image.resize`` without antialiasing: what PyTorch's
    ``interpolate`` gives ("nearest" of a size that is no multiple: its "nearest-exact"), with pixels as large as the sizes say.

    Args:
        scale: by how much the axes grow, a number or one for each; sizes are floor(scale * n).
        size: the sizes themselves, an int or one for each axis, in place of ``scale``.
        mode: "nearest", "linear" (or "bilinear", "trilinear") or "cubic" (or "bicubic").
        align_corners: the centres of the first and last pixels stay where they are; pixel i lies at i (m - 1) / (n - 1).

    >>> from fx import nn
    >>> nn.Upsample(2)(fnp.array([[[1.0], [2.0]]])).ravel()
    Array([1., 1., 2., 2.], dtype=float32)
    >>> nn.Upsample(size=3, mode="linear", align_corners=True)(fnp.array([[[1.0], [2.0]]])).ravel()
    Array([1. , 1.5, 2. ], dtype=float32)
    """

    scale: Any = static_field(default=None)
    size: Any = static_field(default=None)
    mode: str = static_field(default="nearest")
    align_corners: bool = static_field(default=False)

    def __init__(
        self, scale: float | Sequence[float] | None = None, *, size: Sizes | None = None, mode: str = "nearest",
        align_corners: bool = False,
    ) -> None:  # fmt: skip
        if (scale is None) == (size is None):
            raise ArgumentError(
                "Upsample takes scale=, by how much the axes grow, or size=, their sizes: one of the two"
            )
        if mode not in _MODES:
            raise ArgumentError(f"Upsample: mode is one of {', '.join(_MODES)}; found {mode!r}")
        if align_corners and mode == "nearest":
            raise ArgumentError("Upsample: align_corners is for 'linear' and 'cubic'; the nearest pixel has no corners")
        self.scale = tuple(scale) if isinstance(scale, Sequence) else scale
        self.size = tuple(size) if isinstance(size, Sequence) else size
        self.mode, self.align_corners = mode, align_corners

    def _sizes(self, shape: Sequence[int]) -> tuple[int, ...]:
        given = self.size if self.scale is None else self.scale
        each = given if isinstance(given, tuple) else (given,) * len(shape)
        if len(each) != len(shape):
            raise ShapeError(f"Upsample: {each} has {len(each)} numbers for {len(shape)} spatial axes")
        return tuple(each if self.scale is None else [math.floor(n * s) for n, s in zip(shape, each)])

    def __call__(self, x: Value) -> Value:
        x = as_value(x, "x of Upsample")
        if x.ndim < 3:
            raise ShapeError(f"Upsample takes x of shape (batch, *spatial, channels); found {tuple(x.shape)}")
        shape = (x.shape[0], *self._sizes(x.shape[1:-1]), x.shape[-1])
        if not self.align_corners:
            return image.resize(x, shape, _MODES[self.mode], antialias=False)
        axes = [i for i in range(1, x.ndim - 1) if shape[i] != x.shape[i]]
        ratios = np.array([(shape[i] - 1) / (x.shape[i] - 1) if min(shape[i], x.shape[i]) > 1 else 1.0 for i in axes])
        return image.scale_and_translate(
            x, shape, axes, ratios, (1 - ratios) / 2, _MODES[self.mode], antialias=False
        )  # pixel centres, at i + 1/2, go to r i + 1/2
