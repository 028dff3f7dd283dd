"""How image, window and output of a convolution meet along each axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fx.errors import LoweringError

from ..kernels.conv import PAD_DIMS
from .contraction import Array
from .registry import Operand

__all__ = ["Axis", "ImageSource", "Phase", "axes_of", "phases", "shifted", "thinned"]


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial dimension: extents and strides of image, window and output, and how they meet."""

    size: int
    window: int
    out: int
    stride: int
    lo: int
    dilation: int  # of the image
    window_dilation: int
    image_stride: int
    window_stride: int
    out_stride: int


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A dense image, (planes, planes, lines, pixels, channels), which is nowhere, and where its planes, lines and pixels lie.

    Attributes:
        planes: how many, and how far apart, of both kinds.
        lines, pixels: how many lie, how far apart, behind how many of the margin, and how many the image has.
        start: the first element that is read.
    """

    planes: tuple[tuple[int, int], tuple[int, int]]
    lines: tuple[int, int, int, int]
    pixels: tuple[int, int, int, int]
    channels: int
    start: int = 0

    def frame(self) -> dict[str, Any]:
        """By the names of ``kernels/slab.py``."""
        (_, s_plane0), (planes, s_plane1) = self.planes
        found = {"image_start": self.start, "image_planes": planes, "image_channels": self.channels}
        found |= {"s_plane0": s_plane0, "s_plane1": s_plane1}
        for name, (size, step, below, extent) in (("line", self.lines), ("pixel", self.pixels)):
            found |= {f"{name}s": size, f"s_{name}": step, f"{name}s_below": below, f"image_{name}s": extent}
        return found


@dataclass(frozen=True, slots=True)
class Phase:
    """Outputs ``first + step * y``, y < count, use window positions ``window + window_step * j``, j < taps, at image
    positions ``origin + y_step * y + j_step * j``."""

    first: int
    step: int
    count: int
    window: int
    window_step: int
    taps: int
    origin: int
    y_step: int
    j_step: int

    @property
    def reach(self) -> tuple[int, int]:
        """The lowest and the highest image position that is read."""
        ends = [
            self.origin + y * self.y_step + j * self.j_step for y in (0, self.count - 1) for j in (0, self.taps - 1)
        ]
        return (min(ends), max(ends)) if self.taps and self.count else (0, 0)


def phases(x: Axis) -> list[Phase]:
    """The outputs, by which elements of the window meet elements of the image and not the gaps between them."""
    step = x.dilation // math.gcd(x.dilation, x.window_dilation)
    period = x.dilation // math.gcd(x.dilation, x.stride)
    found = []
    for first in range(min(period, x.out)):
        count = -(-(x.out - first) // period)
        low = first * x.stride - x.lo
        taps = [j for j in range(min(step, x.window)) if (low + j * x.window_dilation) % x.dilation == 0]
        if not taps:
            found.append(Phase(first, period, count, 0, 1, 0, 0, 1, 0))
            continue
        found.append(Phase(
            first, period, count, taps[0], step, -(-(x.window - taps[0]) // step), (low + taps[0] * x.window_dilation) // x.dilation,
            period * x.stride // x.dilation, step * x.window_dilation // x.dilation,
        ))  # fmt: skip
    return found


def thinned(x: Axis) -> Axis:
    """The same without the positions of the image between those that are read, where these lie in even steps: where the window is one
    position or the output is."""
    inside = x.lo == 0 and (x.out - 1) * x.stride + (x.window - 1) * x.window_dilation < x.size
    if x.dilation != 1 or not inside or x.window == 0:
        return x
    if x.window == 1 and x.stride > 1:
        return replace(x, size=x.out, stride=1, window_dilation=1, image_stride=x.image_stride * x.stride)
    if x.out == 1 and x.window_dilation > 1:
        return replace(x, size=x.window, stride=1, window_dilation=1, image_stride=x.image_stride * x.window_dilation)
    return x


def axes_of(params: dict[str, Any], operands: Sequence[Operand], unit: int) -> list[Axis]:
    """``unit``: reals in an element, as strides count reals."""
    (lhs, rhs, out), specs = operands, [params[k][2:] for k in ("lhs_spec", "rhs_spec", "out_spec")]
    if len(specs[0]) > PAD_DIMS:
        raise LoweringError(
            f"a convolution over {len(specs[0])} spatial dimensions has no native loops; at most {PAD_DIMS}"
        )
    axes = []
    for i, (a, b, c) in enumerate(zip(*specs)):
        axes.append(Axis(
            size=lhs.shape[a], window=rhs.shape[b], out=out.shape[c], stride=params["window_strides"][i],
            lo=params["padding"][i][0], dilation=params["lhs_dilation"][i], window_dilation=params["rhs_dilation"][i],
            image_stride=lhs.strides[a] * unit, window_stride=rhs.strides[b] * unit, out_stride=out.strides[c] * unit,
        ))  # fmt: skip
    return axes


def shifted(x: Array, reals: int, unit: int) -> Array:
    """``x`` from that many reals on."""
    if isinstance(x.at, Operand):
        return replace(x, at=replace(x.at, offset=x.at.offset + reals // unit))
    return replace(x, at=replace(x.at, byte_offset=x.at.byte_offset + reals * x.ty.itemsize))
