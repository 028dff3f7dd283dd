"""Images, and volumes, sampled at places that are computed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from .. import numpy as fnp
from ..errors import ArgumentError, ShapeError
from ..numpy.core import as_type, as_value, promote_dtype

__all__ = ["affine_grid", "grid_sample"]

Value = Any

_PADDING = ("zeros", "border", "reflection")


def affine_grid(theta: Any, shape: Sequence[int], *, align_corners: bool = False) -> Value:
    """Where each place of an image lies under an affine map, for ``grid_sample``: theta (x, y, 1).

    Args:
        theta: (batch, n, n + 1); coordinates are x (along the last spatial axis), y, z, from -1 to 1 over the image.
        shape: the n spatial sizes of the result.
        align_corners: -1 and 1 are the centres of the outermost pixels; else their outer edges.

    Returns:
        (batch, *shape, n).

    >>> from fx import nn
    >>> nn.affine_grid(fnp.array([[[2.0, 0.0, 0.0], [0.0, 1.0, 0.5]]]), (1, 2))[0]
    Array([[[-1. ,  0.5],
            [ 1. ,  0.5]]], dtype=float32)
    """
    (theta,), n = promote_dtype(as_value(theta, "theta of affine_grid"), to_float=True), len(shape)
    if theta.ndim != 3 or tuple(theta.shape[1:]) != (n, n + 1):
        raise ShapeError(f"affine_grid: {n} axes take theta of shape (batch, {n}, {n + 1}); found {tuple(theta.shape)}")
    lines = []
    for size in shape:
        step = fnp.arange(size, dtype=theta.dtype)
        lines.append(2 * step / max(size - 1, 1) - (size > 1) if align_corners else (2 * step + 1) / max(size, 1) - 1)
    places = fnp.stack([*fnp.meshgrid(*lines, indexing="ij")[::-1], fnp.ones(tuple(shape), theta.dtype)], -1)
    return fnp.einsum("...j,bij->b...i", places, theta)


def _pixels(g: Value, size: int, padding: str, align_corners: bool) -> Value:
    """Coordinates from -1 to 1 as numbers of pixels."""
    p = (g + 1) * (size - 1) / 2 if align_corners else ((g + 1) * size - 1) / 2
    if padding == "reflection":
        low, span = (0.0, size - 1) if align_corners else (-0.5, size)
        if not span:
            return fnp.zeros_like(p)
        off = fnp.abs(p - low)
        extra, turns = fnp.fmod(off, span), fnp.floor(off / span)
        p = fnp.where(turns % 2 == 0, extra, span - extra) + low
    return p if padding == "zeros" else fnp.clip(p, 0, size - 1)


def grid_sample(
    x: Any, grid: Any, *, mode: str = "linear", padding_mode: str = "zeros", align_corners: bool = False
) -> Value:
    """A batch of images sampled at places of a grid, between pixels too; differentiable in both.

    Args:
        x: (batch, *spatial, channels), of n spatial axes.
        grid: (batch, *out, n): for each place of the result its coordinates x (along the last spatial axis), y, z; -1 and 1 are the
            ends of the image.
        mode: "linear" (of all 2**n pixels around; or "bilinear", "trilinear") or "nearest".
        padding_mode: what is beyond the ends: "zeros", "border" (the outermost pixels) or "reflection".
        align_corners: -1 and 1 are the centres of the outermost pixels; else their outer edges.

    Returns:
        (batch, *out, channels).

    >>> from fx import nn
    >>> nn.grid_sample(fnp.array([[[1.0], [3.0]]]), fnp.array([[[-0.5], [0.0], [1.0]]]))[0, :, 0]
    Array([1. , 2. , 1.5], dtype=float32)

    Source: Jaderberg et al., "Spatial transformer networks", 2015.
    """
    x, grid = promote_dtype(as_value(x, "x of grid_sample"), as_value(grid, "grid of grid_sample"), to_float=True)
    n = x.ndim - 2
    if n < 1 or grid.ndim < 2 or grid.shape[-1] != n or grid.shape[0] != x.shape[0]:
        raise ShapeError(
            f"grid_sample takes x of shape (batch, *spatial, channels) and a grid (batch, *out, {max(n, 1)}), a coordinate for each spatial"
            f" axis; found {tuple(x.shape)} and {tuple(grid.shape)}"
        )
    if mode not in ("linear", "bilinear", "trilinear", "nearest") or padding_mode not in _PADDING:
        raise ArgumentError(
            f"grid_sample: mode is 'linear' or 'nearest', padding_mode one of {', '.join(_PADDING)}; found {mode!r} and"
            f" {padding_mode!r}"
        )
    batch, channels, shape = x.shape[0], x.shape[-1], x.shape[1:-1]
    out = tuple(grid.shape[1:-1])
    grid = fnp.reshape(grid, (batch, math.prod(out), n))
    places = [_pixels(grid[..., n - 1 - i], size, padding_mode, align_corners) for i, size in enumerate(shape)]
    near = [fnp.round(p) if mode == "nearest" else fnp.floor(p) for p in places]
    rows, total = fnp.reshape(x, (batch, math.prod(shape), channels)), fnp.zeros((), x.dtype)
    for corner in itertools.product((0,) if mode == "nearest" else (0, 1), repeat=n):
        weight, flat = fnp.ones((), x.dtype), fnp.zeros((), "int32")
        for p, first, step, size in zip(places, near, corner, shape):
            at = first + step
            if mode != "nearest":
                weight = weight * fnp.abs(1 - step - (p - first))
            weight = fnp.where((at >= 0) & (at <= size - 1), weight, 0)
            flat = flat * size + as_type(fnp.clip(at, 0, size - 1), flat.dtype)
        total = total + weight[..., None] * rows[fnp.arange(batch)[:, None], flat]
    return fnp.reshape(total, (batch, *out, channels))
