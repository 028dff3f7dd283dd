"""How image, window and output of a convolution meet along each axis."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fx.errors import LoweringError

from ..kernels.conv import PAD_DIMS
from .contraction import Array
from .registry import Operand

__all__ = ["Axis", "Phase", "axes_of", "phases", "shifted"]


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
    cut: bool = False  # outputs that see different parts of the window are phases of their own

    @property
    def span(self) -> int:
        """Positions of the image from the first to the last that an output sees."""
        return (self.window - 1) * self.window_dilation + 1

    def parts(self) -> list[tuple[int, int, int, int]]:
        """Runs of outputs ``(first, count)`` of an image that is not dilated that see the same window positions ``(from, to)``."""
        below = [-(-(self.lo - y * self.stride) // self.window_dilation) for y in range(_ceil(self.lo, self.stride))]
        beyond = (self.out - 1) * self.stride + self.span - self.lo - self.size  # the image, of the last output
        above = [-(-(beyond - y * self.stride) // self.window_dilation) for y in range(_ceil(beyond, self.stride))]
        if len(below) + len(above) > self.out:  # outputs that see padding on both sides
            n = int(self.out)
            below, above = below[:n] + [0] * (n - len(below)), above[:n] + [0] * (n - len(above))
            seen = [(min(b, self.window), self.window - a) for b, a in zip(below, reversed(above))]
            runs = [(1, b, max(a, b)) for b, a in seen]
        else:
            inner = self.out - len(below) - len(above)
            runs = [(1, min(b, self.window), self.window) for b in below]
            runs += [(inner, 0, self.window)] if inner > 0 else []
            runs += [(1, 0, max(self.window - a, 0)) for a in reversed(above)]
        found, first = [], 0
        for (begin, end), same in itertools.groupby(runs, lambda run: run[1:]):
            count = sum(run[0] for run in same)
            found.append((first, count, begin, end))
            first = first + count
        return found


def _ceil(x: int, n: int) -> int:
    """``x / n``, rounded up, at least 0."""
    return -(-x // n) if x > 0 else 0


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
    if x.cut:
        return [
            Phase(
                first, 1, count, begin, 1, end - begin,
                first * x.stride - x.lo + begin * x.window_dilation if end > begin else 0, x.stride, x.window_dilation,
            )
            for first, count, begin, end in x.parts()
        ]  # fmt: skip
    if x.dilation == 1:
        return [Phase(0, 1, x.out, 0, 1, x.window, -x.lo, x.stride, x.window_dilation)]
    step = x.dilation // math.gcd(x.dilation, x.window_dilation)
    found = []
    for first in range(min(x.dilation, x.out)):
        count = -(-(x.out - first) // x.dilation)
        taps = [j for j in range(min(step, x.window)) if (first + j * x.window_dilation - x.lo) % x.dilation == 0]
        if not taps:
            found.append(Phase(first, x.dilation, count, 0, 1, 0, 0, 1, 0))
            continue
        origin = (first + taps[0] * x.window_dilation - x.lo) // x.dilation
        n = -(-(x.window - taps[0]) // step)
        found.append(
            Phase(first, x.dilation, count, taps[0], step, n, origin, 1, step * x.window_dilation // x.dilation)
        )
    return found


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
