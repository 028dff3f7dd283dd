"""Other ways to call ``conv_general_dilated``: plain, transposed, and the patches alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..trace import aval_of
from .conv import conv_dimension_numbers, conv_general_dilated
from .helpers import Value
from .shaping import rev, transpose
from .window_geometry import dilated_size, plain_pads, plain_sizes

__all__ = ["conv", "conv_general_dilated_patches", "conv_transpose", "conv_with_general_padding"]


def conv(
    lhs: Value, rhs: Value, window_strides: Sequence[int], padding: str, precision: Any = None,
    preferred_element_type: Any = None,
) -> Value:  # fmt: skip
    """``conv_general_dilated`` of (N, C, ...) by (O, I, ...)."""
    return conv_general_dilated(
        lhs, rhs, window_strides, padding, precision=precision, preferred_element_type=preferred_element_type
    )


def conv_with_general_padding(
    lhs: Value, rhs: Value, window_strides: Sequence[int], padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None, rhs_dilation: Sequence[int] | None, precision: Any = None,
    preferred_element_type: Any = None,
) -> Value:  # fmt: skip
    """``conv_general_dilated`` of (N, C, ...) by (O, I, ...) with dilations."""
    return conv_general_dilated(
        lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation,
        precision=precision, preferred_element_type=preferred_element_type,
    )  # fmt: skip


_CHANNELS_LAST = {
    2: ("NC", "IO", "NC"),
    3: ("NHC", "HIO", "NHC"),
    4: ("NHWC", "HWIO", "NHWC"),
    5: ("NHWDC", "HWDIO", "NHWDC"),
}


def _forward_to_transposed(k: int, s: int, padding: str | tuple[int, int]) -> tuple[int, int]:
    """Padding of the transposed convolution, from the padding of the forward one; ``k`` is the dilated kernel size."""
    if isinstance(padding, str):
        if padding.upper() == "VALID":
            return k - 1, s - 1 + max(k - s, 0)
        total = k + s - 2
        before = k - 1 if s > k - 1 else -(-total // 2)
        return before, total - before
    before, after = padding
    return k - 1 - before, k - 1 - after


def conv_transpose(
    lhs: Value, rhs: Value, strides: Sequence[int], padding: str | Sequence[tuple[int, int]],
    rhs_dilation: Sequence[int] | None = None, dimension_numbers: Any = None, transpose_kernel: bool = False,
    precision: Any = None, preferred_element_type: Any = None, use_consistent_padding: bool = False,
) -> Value:  # fmt: skip
    """A convolution that enlarges: ``strides`` is the distance between neighbours of the dilated input.

    Args:
        padding: ``'SAME'`` / ``'VALID'`` name the padding of the forward convolution of which this is the transpose.
            Pairs pad the dilated input itself, or with ``use_consistent_padding`` they too are the forward padding.
        dimension_numbers: None means channels last, ``('NHWC', 'HWIO', 'NHWC')`` in two dimensions.
        transpose_kernel: reverse the kernel and exchange its features, so that the result is the gradient of the
            forward convolution with the same kernel.
    """
    lhs_shape, rhs_shape = aval_of(lhs).shape, aval_of(rhs).shape
    if dimension_numbers is None:
        if len(lhs_shape) not in _CHANNELS_LAST:
            raise ShapeError(
                f"conv_transpose: lhs {aval_of(lhs)} needs dimension_numbers: there is no default for its rank"
            )
        dimension_numbers = _CHANNELS_LAST[len(lhs_shape)]
    numbers = conv_dimension_numbers(lhs_shape, rhs_shape, dimension_numbers)
    o, i, *spatial = numbers.rhs_spec
    strides = plain_sizes("conv_transpose", "strides", strides, len(spatial))
    dilation = plain_sizes("conv_transpose", "rhs_dilation", rhs_dilation, len(spatial))
    windows = [dilated_size(rhs_shape[d], k) for d, k in zip(spatial, dilation)]
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "VALID"):
            raise ShapeError(f"conv_transpose: padding={padding!r} is not known. Use 'SAME', 'VALID' or pairs.")
        pads: Any = [_forward_to_transposed(k, s, padding) for k, s in zip(windows, strides)]
    else:
        pads = plain_pads("conv_transpose", padding, len(spatial))
        if use_consistent_padding:
            pads = [_forward_to_transposed(k, s, p) for k, s, p in zip(windows, strides, pads)]
    if transpose_kernel:
        order = list(range(len(rhs_shape)))
        order[o], order[i] = i, o
        rhs = transpose(rev(rhs, tuple(spatial)), tuple(order))
    return conv_general_dilated(
        lhs, rhs, (1,) * len(spatial), pads, strides, dilation, numbers,
        precision=precision, preferred_element_type=preferred_element_type,
    )  # fmt: skip


def conv_general_dilated_patches(
    lhs: Value, filter_shape: Sequence[int], window_strides: Sequence[int], padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None, rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None, precision: Any = None, preferred_element_type: Any = None,
) -> Value:  # fmt: skip
    """The patches that a convolution multiplies with its kernel, flattened into the feature dimension.

    Returns:
        As ``conv_general_dilated`` with ``features * prod(filter_shape)`` output features, input feature major.
    """
    aval = aval_of(lhs)
    taps = math.prod(filter_shape)
    numbers = conv_dimension_numbers(aval.shape, (1, 1, *filter_shape), dimension_numbers)
    channels = aval.shape[numbers.lhs_spec[1]]
    kernel = np.tile(np.eye(taps, dtype=aval.dtype), (channels, 1)).reshape(channels * taps, 1, *filter_shape)
    kernel = kernel.transpose(np.argsort(numbers.rhs_spec))
    return conv_general_dilated(
        lhs, kernel, window_strides, padding, lhs_dilation, rhs_dilation, numbers,
        feature_group_count=channels, precision=precision, preferred_element_type=preferred_element_type,
    )  # fmt: skip
