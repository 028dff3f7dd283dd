"""Convolutions, channels last: x of shape (..., *spatial, channels), with any number of leading axes.

Kernels have shape (*window, in / groups, out).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .. import numpy as fnp
from .. import tree
from ..errors import ShapeError
from ..numpy.core import as_value
from . import initializers
from .key_use import split_key
from .layers import conv, padding_pairs, per_axis
from .linear import describe, parameter
from .module import Module, static_field

__all__ = [
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "DepthwiseConv1d", "DepthwiseConv2d",
    "DepthwiseConv3d", "SeparableConv1d", "SeparableConv2d", "SeparableConv3d",
]  # fmt: skip

Value = Any
Sizes = int | Sequence[int]
Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]

PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
_AXES = ("time", "height, width", "depth, height, width")


def over_batch(layer: Callable[[Value], Any], x: Any, spatial: int, channels: int | None, name: str) -> Any:
    """``layer`` of x with its leading axes made one, which the result, or each of several, is given back.

    Raises:
        ShapeError: there are too few axes, another number of channels, or fewer places than a window has.
    """
    x = as_value(x, f"x of {name}")
    if x.ndim < spatial + 1 or (channels is not None and x.shape[-1] != channels):
        want = f"(..., {_AXES[spatial - 1]}, {'channels' if channels is None else channels})"
        hint = ""
        if channels is not None and x.ndim > spatial and x.shape[-spatial - 1] == channels:
            hint = " Channels come last here: fx.numpy.moveaxis(x, 1, -1)."
        elif channels == 1 and x.ndim == spatial + 1:
            hint = " For one channel: x[..., None]."
        raise ShapeError(f"{name} takes x of shape {want}; found {tuple(x.shape)}.{hint}")
    lead = tuple(x.shape[: x.ndim - spatial - 1])
    out = layer(x if len(lead) == 1 else fnp.reshape(x, (math.prod(lead), *x.shape[len(lead) :])))
    y = out[0] if isinstance(out, tuple) else out
    if any(after == 0 and before != 0 for before, after in zip(x.shape[len(lead) : -1], y.shape[1:-1])):
        raise ShapeError(
            f"{name}: a window is larger than x of shape {tuple(x.shape)}, so nothing is left of it. Pad it (padding='SAME'), or"
            " take smaller windows, or fewer strides before."
        )
    return out if len(lead) == 1 else tree.map(lambda y: fnp.reshape(y, (*lead, *y.shape[1:])), out)


class _Convolution(Module):
    """What convolutions share; subclasses say how many spatial axes there are."""

    weight: Value
    bias: Value
    in_channels: int = static_field(repr=False)
    out_channels: int = static_field(repr=False)
    kernel_size: tuple[int, ...] = static_field(repr=False)
    strides: tuple[int, ...] = static_field()
    padding: Any = static_field(default="VALID", init=False)
    dilation: tuple[int, ...] = static_field()
    groups: int = static_field(default=1, init=False)

    _spatial = 0

    def _make(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, strides: Sizes, padding: Padding, dilation: Sizes, groups: int,
        use_bias: bool, weight_init: Any, bias_init: Any, dtype: Any, key: Any,
    ) -> None:  # fmt: skip
        name, n = type(self).__name__, self._spatial
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"{name}: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = per_axis(name, "kernel_size", kernel_size, n)
        self.strides = per_axis(name, "strides", strides, n)
        self.dilation = per_axis(name, "dilation", dilation, n)
        self.padding = padding_pairs(name, padding, n)
        if isinstance(self.padding, str) and self.padding not in ("SAME", "VALID"):
            raise ShapeError(f"{name}: padding is 'SAME', 'VALID', an int or pairs of ints; found {padding!r}")
        for_weight, for_bias = split_key(key, 2, describe(self, in_channels, out_channels, kernel_size))
        bound = initializers.uniform_within(1 / math.sqrt(max(in_channels // groups * math.prod(self.kernel_size), 1)))
        shape = (*self.kernel_size, in_channels // groups, out_channels)
        self.weight = parameter(weight_init, bound, for_weight, shape, dtype)
        self.bias = parameter(bias_init, bound, for_bias, (out_channels,), dtype) if use_bias else None

    def __call__(self, x: Value) -> Value:
        name = describe(self, self.in_channels, self.out_channels)
        return over_batch(self._biased, x, self._spatial, self.in_channels, name)

    def _biased(self, x: Value) -> Value:
        y = self._convolve(x)
        return y if self.bias is None else y + self.bias

    def _convolve(self, x: Value) -> Value:
        raise NotImplementedError


class _Conv(_Convolution):
    padding_mode: str = static_field(default="zeros", init=False)

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, *, strides: Sizes = 1, padding: Padding = "VALID",
        dilation: Sizes = 1, groups: int = 1, padding_mode: str = "zeros", use_bias: bool = True, weight_init: Any = None,
        bias_init: Any = None, dtype: Any = None, key: Any,
    ) -> None:  # fmt: skip
        if padding_mode not in PADDING_MODES:
            raise ShapeError(
                f"{type(self).__name__}: padding_mode is one of {', '.join(PADDING_MODES)}; found {padding_mode!r}"
            )
        self.padding_mode = padding_mode
        self._make(
            in_channels, out_channels, kernel_size, strides, padding, dilation, groups, use_bias, weight_init, bias_init, dtype, key
        )  # fmt: skip

    def _convolve(self, x: Value) -> Value:
        padding = self.padding
        if self.padding_mode != "zeros" and padding != "VALID":
            pads = self._same(x.shape[1:-1]) if padding == "SAME" else padding
            x = fnp.pad(x, [(0, 0), *pads, (0, 0)], mode=PADDING_MODES[self.padding_mode])
            padding = "VALID"
        return conv(
            x, self.weight, self.strides, padding,
            kernel_dilation=self.dilation, feature_group_count=self.groups,
        )  # fmt: skip

    def _same(self, shape: tuple[int, ...]) -> list[tuple[int, int]]:
        """What "SAME" pads."""
        out = []
        for n, k, s, d in zip(shape, self.kernel_size, self.strides, self.dilation):
            total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            out.append((total // 2, total - total // 2))
        return out


class Conv1d(_Conv, init=False):
    """Convolution (cross-correlation) along one axis: (..., time, in) to (..., time', out).

    Args:
        in_channels, out_channels: sizes of the last axis.
        kernel_size: an int, or one for each spatial axis.
        strides: distance between windows.
        padding: "VALID", "SAME", an int, or for each spatial axis an int or a pair (before, after).
        dilation: distance between taps of the kernel.
        groups: of channels that do not mix.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        use_bias: whether there is a bias.
        weight_init, bias_init: initializers; default: uniform within 1 / sqrt(fan in), as in PyTorch.
        dtype: of the parameters; None means ``fx.config.default_float``.
        key: a key (``fx.random``).

    >>> from fx import nn, random
    >>> nn.Conv1d(2, 3, 5, padding="SAME", key=random.key(0))(fnp.ones((4, 20, 2))).shape
    (4, 20, 3)
    """

    _spatial = 1


class Conv2d(_Conv, init=False):
    """Convolution of images: (..., height, width, in) to (..., height', width', out); arguments as for ``Conv1d``.

    >>> from fx import nn, random
    >>> nn.Conv2d(1, 32, 3, key=random.key(0))(fnp.ones((4, 28, 28, 1))).shape
    (4, 26, 26, 32)
    """

    _spatial = 2


class Conv3d(_Conv, init=False):
    """Convolution of volumes: (..., depth, height, width, in); arguments as for ``Conv1d``.

    >>> from fx import nn, random
    >>> nn.Conv3d(1, 4, (1, 3, 3), key=random.key(0))(fnp.ones((2, 5, 8, 8, 1))).shape
    (2, 5, 6, 6, 4)
    """

    _spatial = 3


# -------------------------------------------------------------------------------------- transposed


class _ConvTranspose(_Convolution):
    output_padding: tuple[int, ...] = static_field()

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, *, strides: Sizes = 1, padding: Padding = "VALID",
        dilation: Sizes = 1, groups: int = 1, output_padding: Sizes = 0, use_bias: bool = True, weight_init: Any = None,
        bias_init: Any = None, dtype: Any = None, key: Any,
    ) -> None:  # fmt: skip
        self.output_padding = per_axis(type(self).__name__, "output_padding", output_padding, self._spatial, least=0)
        self._make(
            in_channels, out_channels, kernel_size, strides, padding, dilation, groups, use_bias, weight_init, bias_init, dtype, key
        )  # fmt: skip

    def _convolve(self, x: Value) -> Value:
        flipped = fnp.flip(self.weight, tuple(range(self._spatial)))
        return conv(
            x,
            flipped,
            1,
            self._pads(),
            input_dilation=self.strides,
            kernel_dilation=self.dilation,
            feature_group_count=self.groups,
        )

    def _pads(self) -> list[tuple[int, int]]:
        """What the dilated input is padded with: reach is how far a kernel reaches."""
        out = []
        for i, (k, s, d, extra) in enumerate(zip(self.kernel_size, self.strides, self.dilation, self.output_padding)):
            reach = d * (k - 1)
            if self.padding == "VALID":
                before = after = 0
            elif self.padding == "SAME":
                before = max(reach + 1 - s, 0) // 2
                after = reach + 1 - s - before
            else:
                before, after = self.padding[i]
            out.append((reach - before, reach - after + extra))
        return out


class ConvTranspose1d(_ConvTranspose, init=False):
    """The transpose of a convolution: (..., time, in) to (..., time', out), time' about ``strides`` times time.

    Args:
        in_channels, out_channels, kernel_size, strides, dilation, groups, use_bias, weight_init, bias_init, dtype, key: as for
            ``Conv1d``; the fan in is that of in_channels (PyTorch counts out_channels here: its weights start smaller or
            larger, by the root of the ratio).
        padding: of the convolution that this is the transpose of; time' = (time - 1) * strides + dilation * (kernel_size - 1) + 1
            + output_padding - (before + after); with "SAME" it is time * strides.
        output_padding: what is appended at the end of each axis.

    >>> from fx import nn, random
    >>> nn.ConvTranspose1d(2, 3, 4, strides=2, padding=1, key=random.key(0))(fnp.ones((4, 10, 2))).shape
    (4, 20, 3)
    """

    _spatial = 1


class ConvTranspose2d(_ConvTranspose, init=False):
    """The transpose of a convolution of images; arguments as for ``ConvTranspose1d``.

    >>> from fx import nn, random
    >>> nn.ConvTranspose2d(8, 1, 3, strides=2, padding="SAME", key=random.key(0))(fnp.ones((2, 7, 7, 8))).shape
    (2, 14, 14, 1)
    """

    _spatial = 2


class ConvTranspose3d(_ConvTranspose, init=False):
    """The transpose of a convolution of volumes; arguments as for ``ConvTranspose1d``."""

    _spatial = 3


# ----------------------------------------------------------------------------- depthwise, separable


class _Depthwise(_Conv):
    def __init__(
        self, channels: int, kernel_size: Sizes, *, multiplier: int = 1, strides: Sizes = 1, padding: Padding = "VALID",
        dilation: Sizes = 1, padding_mode: str = "zeros", use_bias: bool = True, weight_init: Any = None, bias_init: Any = None,
        dtype: Any = None, key: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            channels, channels * multiplier, kernel_size, strides=strides, padding=padding, dilation=dilation, groups=channels,
            padding_mode=padding_mode, use_bias=use_bias, weight_init=weight_init, bias_init=bias_init, dtype=dtype, key=key,
        )  # fmt: skip


class DepthwiseConv1d(_Depthwise, init=False):
    """A convolution of each channel by itself: (..., time, channels) to (..., time', channels * multiplier).

    Args:
        channels: size of the last axis.
        kernel_size: as for ``Conv1d``, and so are all other arguments.
        multiplier: how many kernels each channel has.

    >>> from fx import nn, random
    >>> nn.DepthwiseConv1d(3, 5, multiplier=2, key=random.key(0))(fnp.ones((4, 20, 3))).shape
    (4, 16, 6)
    """

    _spatial = 1


class DepthwiseConv2d(_Depthwise, init=False):
    """A convolution of each channel of images by itself; arguments as for ``DepthwiseConv1d``."""

    _spatial = 2


class DepthwiseConv3d(_Depthwise, init=False):
    """A convolution of each channel of volumes by itself; arguments as for ``DepthwiseConv1d``."""

    _spatial = 3


class _Separable(Module):
    depthwise: Any
    pointwise: Any

    _spatial = 0

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sizes, *, multiplier: int = 1, strides: Sizes = 1,
        padding: Padding = "VALID", dilation: Sizes = 1, padding_mode: str = "zeros", use_bias: bool = True,
        weight_init: Any = None, dtype: Any = None, key: Any,
    ) -> None:  # fmt: skip
        first, second = split_key(key, 2, describe(self, in_channels, out_channels, kernel_size))
        deep: type[_Depthwise] = (DepthwiseConv1d, DepthwiseConv2d, DepthwiseConv3d)[self._spatial - 1]
        point: type[_Conv] = (Conv1d, Conv2d, Conv3d)[self._spatial - 1]
        self.depthwise = deep(
            in_channels, kernel_size, multiplier=multiplier, strides=strides, padding=padding, dilation=dilation,
            padding_mode=padding_mode, use_bias=False, weight_init=weight_init, dtype=dtype, key=first,
        )  # fmt: skip
        self.pointwise = point(in_channels * multiplier, out_channels, 1, use_bias=use_bias, dtype=dtype, key=second)

    def __call__(self, x: Value) -> Value:
        return self.pointwise(self.depthwise(x))


class SeparableConv1d(_Separable, init=False):
    """A depthwise convolution, then one of size 1 that mixes the channels.

    Args:
        in_channels, out_channels: sizes of the last axis.
        kernel_size, strides, padding, dilation, padding_mode, weight_init: of the depthwise convolution, as for ``Conv1d``.
        multiplier: how many kernels each channel has.
        use_bias: whether the second convolution has a bias.

    >>> from fx import nn, random
    >>> layer = nn.SeparableConv1d(3, 8, 5, key=random.key(0))
    >>> layer(fnp.ones((4, 20, 3))).shape, layer.depthwise.weight.shape, layer.pointwise.weight.shape
    ((4, 16, 8), (5, 1, 3), (1, 3, 8))

    Source: Chollet, "Xception", 2017.
    """

    _spatial = 1


class SeparableConv2d(_Separable, init=False):
    """A depthwise convolution of images, then one of size 1; arguments as for ``SeparableConv1d``."""

    _spatial = 2


class SeparableConv3d(_Separable, init=False):
    """A depthwise convolution of volumes, then one of size 1; arguments as for ``SeparableConv1d``."""

    _spatial = 3
