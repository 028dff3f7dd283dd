"""``conv_general_dilated`` as strided contractions (``contract.py``) on a padded image.

Along one spatial dimension, with output y and window position j,

    out[y] = sum_j  image[stride * y + j * rhs_dilation - lo] * window[j]

so rows (y) and k (j) both step through the image, and every layout, flip or transposition of the operands is a matter
of strides.  In the gradient with respect to the weights the roles are only renamed: the window is large, the output
is the small kernel, and the "channels" are the images of the batch.

A dilated image (the gradient with respect to the input of a strided convolution) is not expanded: outputs whose
positions agree modulo the dilation see the same window positions, and each such *phase* is a contraction of its own on
the image as it is.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from fx import dtypes
from fx.errors import LoweringError
from fx.ir import Eqn

from ..kernels.conv import PAD_DIMS, pad_kernel
from ..loop_ir import Ty
from .contract import contract
from .contraction import BYTES_PER_NS, Array, Contraction, Dims, move, run, scratch, size
from .linalg import array_of, sum_type
from .loops import coalesce
from .registry import Arg, LowerContext, Operand, lowers


@dataclass(frozen=True, slots=True)
class _Axis:
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
class _Phase:
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
        ends = [self.origin + y * self.y_step + j * self.j_step for y in (0, self.count - 1) for j in (0, self.taps - 1)]
        return (min(ends), max(ends)) if self.taps and self.count else (0, 0)


def _phases(x: _Axis) -> list[_Phase]:
    if x.dilation == 1:
        return [_Phase(0, 1, x.out, 0, 1, x.window, -x.lo, x.stride, x.window_dilation)]
    step = x.dilation // math.gcd(x.dilation, x.window_dilation)
    found = []
    for first in range(min(x.dilation, x.out)):
        count = -(-(x.out - first) // x.dilation)
        taps = [j for j in range(min(step, x.window)) if (first + j * x.window_dilation - x.lo) % x.dilation == 0]
        if not taps:
            found.append(_Phase(first, x.dilation, count, 0, 1, 0, 0, 1, 0))
            continue
        origin = (first + taps[0] * x.window_dilation - x.lo) // x.dilation
        n = -(-(x.window - taps[0]) // step)
        found.append(_Phase(first, x.dilation, count, taps[0], step, n, origin, 1, step * x.window_dilation // x.dilation))
    return found
