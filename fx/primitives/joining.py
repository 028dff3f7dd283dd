"""Primitives that cut arrays and put them together: slices, padding, concatenation.  All are linear; each one's transpose stands
with it, made of the others.

Axes in parameters count from the front.  The functions below the primitives accept negative axes where JAX's do.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import ShapeError
from ..ir import Aval
from ..primitive import Block, Linear, Primitive
from ..sizes import as_int, as_size
from ..trace import aval_of, bind, is_python_scalar
from .checks import canonical_axis, check_axes, check_length, check_same_dtypes
from .helpers import (
    Value,
    align_batch,
    bind_named,
    broadcast_batch,
    def_linear,
    instantiate,
    is_fx_value,
    move_batch,
    scalar_of,
    unchanged,
    zeros_like,
)
from .shaping import Shape, broadcast_in_dim, full, sum_over
from .special_cases import for_types

__all__ = ["concatenate", "concatenate_p", "pad", "pad_p", "slice", "slice_in_dim", "slice_p"]

PaddingConfig = tuple[tuple[int, int, int], ...]


# ------------------------------------------------------------------------------------- concatenate

concatenate_p = Primitive("concatenate")
concatenate_p.def_impl(lambda *xs, dimension: np.concatenate(xs, dimension))


@concatenate_p.def_abstract
def _concatenate_abstract(*xs: Aval, dimension: int) -> Aval:
    if not xs:
        raise ShapeError("concatenate takes at least one array; it got none.")
    check_same_dtypes("concatenate", xs)
    check_axes("concatenate", "dimension", (dimension,), xs[0].ndim)
    rests = [(*x.shape[:dimension], *x.shape[dimension + 1 :]) for x in xs]
    if any(x.ndim != xs[0].ndim for x in xs) or any(r != rests[0] for r in rests):
        raise ShapeError(
            f"concatenate: the shapes {', '.join(str(x.shape) for x in xs)} must be equal except along"
            f" dimension {dimension}."
        )
    shape = (*xs[0].shape[:dimension], sum(x.shape[dimension] for x in xs), *xs[0].shape[dimension + 1 :])
    return Aval(shape, xs[0].dtype)


@concatenate_p.def_jvp
def _concatenate_jvp(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, *, dimension: int
) -> Value:
    return concatenate([instantiate(t, x) for t, x in zip(tangents, primals)], dimension)


@concatenate_p.def_transpose
def _concatenate_transpose(ct: Value, inputs: Sequence[Any], *, dimension: int) -> tuple[Value | None, ...]:
    cts: list[Value | None] = []
    start = 0
    for x in inputs:
        aval = x.aval if isinstance(x, Linear) else aval_of(x)
        stop = start + aval.shape[dimension]
        cts.append(slice_in_dim(ct, start, stop, axis=dimension) if isinstance(x, Linear) else None)
        start = stop
    return tuple(cts)


@concatenate_p.def_batch
def _concatenate_batch(
    size: int, args: Sequence[Value], dims: Sequence[int | None], *, dimension: int
) -> tuple[Value, int]:
    return concatenate(align_batch(size, args, dims), dimension + 1), 0


def concatenate(operands: Sequence[Value], dimension: int) -> Value:
    """Joins arrays of one dtype along an existing dimension."""
    operands = tuple(operands)
    if len(operands) == 1 and is_fx_value(operands[0]):
        canonical_axis("concatenate", dimension, operands[0].ndim)
        return unchanged(operands[0])
    ndim = len(aval_of(operands[0]).shape) if operands else 0
    axis = canonical_axis("concatenate", dimension, ndim) if operands else dimension
    return bind(concatenate_p, *operands, dimension=axis)


# --------------------------------------------------------------------------------------------- pad

pad_p = Primitive("pad")


@pad_p.def_abstract
def _pad_abstract(x: Aval, value: Aval, *, padding_config: PaddingConfig) -> Aval:
    check_length("pad", "padding_config", padding_config, x.ndim)
    check_same_dtypes("pad", (x, value))
    if value.shape:
        raise ShapeError(f"pad: the padding value must be a scalar; it has shape {value.shape}.")
    shape = []
    for n, (low, high, interior) in zip(x.shape, padding_config):
        size = low + n + max(n - 1, 0) * interior + high
        if interior < 0 or size < 0:
            raise ShapeError(
                f"pad: (low, high, interior) = {(low, high, interior)} on a dimension of size {n} would give size"
                f" {size}. Interior padding must be at least 0, and negative edge padding at most the size."
            )
        shape.append(size)
    return Aval(tuple(shape), x.dtype)


def _landing(n: int, size: int, low: int, interior: int) -> tuple[builtins.slice, builtins.slice]:
    """Which elements of a dimension of size ``n`` stay inside the padded ``size``, and where they land."""
    step = interior + 1
    first = -(low // step) if low < 0 else 0  # ceil(-low / step)
    last = min(n, (size - 1 - low) // step + 1)
    if last <= first:
        return builtins.slice(0, 0), builtins.slice(0, 0)
    start = low + first * step
    return builtins.slice(first, last), builtins.slice(start, start + (last - first - 1) * step + 1, step)


@pad_p.def_impl
def _pad_impl(x: np.ndarray, value: np.ndarray, *, padding_config: PaddingConfig) -> np.ndarray:
    shape = [low + n + max(n - 1, 0) * interior + high for n, (low, high, interior) in zip(x.shape, padding_config)]
    out = np.empty(shape, x.dtype)
    out[...] = value
    landings = [_landing(n, s, low, interior) for n, s, (low, _, interior) in zip(x.shape, shape, padding_config)]
    out[tuple([to for _, to in landings])] = x[tuple([source for source, _ in landings])]
    return out


@pad_p.def_jvp
def _pad_jvp(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, *, padding_config: PaddingConfig
) -> Value:
    t, t_value = [instantiate(t, x) for t, x in zip(tangents, primals)]
    return pad(t, t_value, padding_config)


def _padding_mask(shape: Shape, padding_config: PaddingConfig) -> Value:
    """True where the padded array holds the padding value."""
    return pad(full(shape, False, dtypes.bool_), True, padding_config)


@pad_p.def_transpose
def _pad_transpose(
    ct: Value, inputs: Sequence[Any], *, padding_config: PaddingConfig
) -> tuple[Value | None, Value | None]:
    """To the operand: undo the edges with the opposite padding, then skip the interior.  To the value: the sum of
    ct over the padding, selected by a mask, so that infinities elsewhere do not reach it."""
    x, value = inputs
    aval = x.aval if isinstance(x, Linear) else aval_of(x)
    ct_x = ct_value = None
    if isinstance(x, Linear):
        edges = tuple((-low, -high, 0) for low, high, _ in padding_config)
        steps = tuple(interior + 1 for _, _, interior in padding_config)
        whole = pad(ct, 0, edges)
        ct_x = slice(whole, (0,) * aval.ndim, aval_of(whole).shape, steps)
    if isinstance(value, Linear):
        masked = bind_named("select_n", _padding_mask(aval.shape, padding_config), zeros_like(ct), ct)
        ct_value = sum_over(masked, tuple(range(aval.ndim)))
    return ct_x, ct_value


@pad_p.def_batch
def _pad_batch(
    size: int, args: Sequence[Value], dims: Sequence[int | None], *, padding_config: PaddingConfig
) -> tuple[Value, int]:
    """A batched padding value is broadcast and selected where a mask says padding."""
    (x, value), (dx, dvalue) = args, dims
    if dvalue is None and dx is not None:
        config = (*padding_config[:dx], (0, 0, 0), *padding_config[dx:])
        return pad(x, value, config), dx
    x = broadcast_batch(x, size, 0) if dx is None else move_batch(x, dx, 0)
    config = ((0, 0, 0), *padding_config)
    padded = pad(x, 0, config)
    shape = aval_of(padded).shape
    values = broadcast_in_dim(value, shape, (0,))
    return bind_named("select_n", _padding_mask(aval_of(x).shape, config), padded, values), 0


def pad(operand: Value, padding_value: Value, padding_config: Sequence[tuple[int, int, int]]) -> Value:
    """Pads each dimension by (low, high, interior): at the edges, and between neighbouring elements.

    Negative low or high crop.  ``padding_value`` is a scalar of the operand's dtype, or a Python number.
    """
    config = tuple([tuple([as_int(p) for p in triple]) for triple in padding_config])
    if is_python_scalar(padding_value):
        padding_value = scalar_of(padding_value, aval_of(operand).dtype)
    if config and is_fx_value(operand) and not any(map(any, config)) and len(config) == operand.ndim:
        return unchanged(operand)
    return bind(pad_p, operand, padding_value, padding_config=config)


# ------------------------------------------------------------------------------------------- slice

slice_p = Primitive("slice")


@slice_p.def_abstract
def _slice_abstract(x: Aval, *, start_indices: Shape, limit_indices: Shape, strides: Shape) -> Aval:
    for param, value in (("start_indices", start_indices), ("limit_indices", limit_indices), ("strides", strides)):
        check_length("slice", param, value, x.ndim)
    shape = []
    for n, start, limit, stride in zip(x.shape, start_indices, limit_indices, strides):
        if not 0 <= start <= limit <= n or stride < 1:
            raise ShapeError(
                f"slice: start {start}, limit {limit}, stride {stride} do not fit a dimension of size {n} of {x.shape}."
                " It must be 0 <= start <= limit <= size and stride >= 1."
            )
        shape.append(-(-(limit - start) // stride))
    return Aval(tuple(shape), x.dtype)


def _slices(start_indices: Shape, limit_indices: Shape, strides: Shape) -> tuple[builtins.slice, ...]:
    return tuple([builtins.slice(*bounds) for bounds in zip(start_indices, limit_indices, strides)])


@slice_p.def_impl
@for_types(lambda operands, **bounds: itemgetter(_slices(**bounds)))
def _slice_impl(x: np.ndarray, **bounds: Shape) -> np.ndarray:
    return x[_slices(**bounds)]


def _slice_transpose(ct: Value, aval: Aval, *, start_indices: Shape, limit_indices: Shape, strides: Shape) -> Value:
    """Zeros around and between."""
    if all(s == 1 for s in strides):
        return Block(ct, start_indices, aval.shape)
    config = []
    for n, k, start, stride in zip(aval.shape, aval_of(ct).shape, start_indices, strides):
        covered = (k - 1) * stride + 1 if k else 0
        config.append((start, n - start - covered, stride - 1))
    return pad(ct, 0, config)


def_linear(slice_p, _slice_transpose)


@slice_p.def_batch
def _slice_batch(
    size: int, args: Sequence[Value], dims: Sequence[int], *,
    start_indices: Shape, limit_indices: Shape, strides: Shape,
) -> tuple[Value, int]:  # fmt: skip
    d = dims[0]
    starts, limits, steps = (
        (*p[:d], whole, *p[d:]) for p, whole in ((start_indices, 0), (limit_indices, size), (strides, 1))
    )
    return slice(args[0], starts, limits, steps), d


def slice(
    operand: Value, start_indices: Sequence[int], limit_indices: Sequence[int], strides: Sequence[int] | None = None
) -> Value:
    """operand[start:limit:stride] in every dimension, with bounds inside the array."""
    starts, limits = tuple(start_indices), tuple(limit_indices)
    steps = (1,) * len(starts) if strides is None else tuple(strides)
    if is_fx_value(operand) and not any(starts) and limits == operand.shape and all(s == 1 for s in steps):
        return unchanged(operand)
    return bind(slice_p, operand, start_indices=starts, limit_indices=limits, strides=steps)


def slice_in_dim(
    operand: Value, start_index: int | None, limit_index: int | None, stride: int = 1, axis: int = 0
) -> Value:
    """operand[..., start:limit:stride, ...] along one axis; negative indices count from the end."""
    shape = aval_of(operand).shape
    axis = canonical_axis("slice_in_dim", axis, len(shape))
    n = shape[axis]
    start = 0 if start_index is None else start_index + n if start_index < 0 else start_index
    limit = n if limit_index is None else limit_index + n if limit_index < 0 else limit_index
    starts, limits, steps = [0] * len(shape), list(shape), [1] * len(shape)
    starts[axis], limits[axis], steps[axis] = as_size(start), as_size(limit), int(stride)
    return slice(operand, starts, limits, steps)
