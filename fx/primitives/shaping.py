"""Shaping primitives: they move or repeat elements and compute nothing.  All are linear; each one's transpose stands with it.
Those that cut arrays and put them together: ``joining.py``.

Axes in parameters count from the front.  The functions below the primitives accept negative axes where JAX's do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..errors import AxisError, DTypeError, ShapeError
from ..ir import Aval
from ..primitive import Primitive
from ..sizes import as_size
from ..trace import aval_of, bind, is_python_scalar
from . import helpers
from .checks import canonical_axes, canonical_axis, check_axes, check_length
from .helpers import (
    Value,
    axes_after_batch,
    bind_named,
    def_linear,
    is_fx_value,
    move_batch,
    repeat_scalar,
    unchanged,
)
from .special_cases import for_types

__all__ = [
    "broadcast",
    "broadcast_in_dim",
    "broadcast_in_dim_p",
    "broadcasted_iota",
    "expand_dims",
    "expand_dims_p",
    "full",
    "full_like",
    "iota",
    "iota_p",
    "reshape",
    "reshape_p",
    "rev",
    "rev_p",
    "squeeze",
    "squeeze_p",
    "transpose",
    "transpose_p",
]

Shape = tuple[int, ...]


def _sizes(name: str, shape: Sequence[Any]) -> Shape:
    """A shape as plain ints."""
    try:
        sizes = tuple([as_size(s) for s in shape])
    except (AttributeError, TypeError):
        raise ShapeError(f"{name}: the shape {tuple(shape)} must consist of Python integers.") from None
    if any(s < 0 for s in sizes):
        raise ShapeError(f"{name}: the shape {sizes} has a negative size.")
    return sizes


def _method(name: str, impl: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """A reference that is a method of NumPy's arrays, of one parameter."""
    return for_types(lambda operands, **params: methodcaller(name, *params.values()))(impl)


# ----------------------------------------------------------------------------------------- reshape

reshape_p = Primitive("reshape")
reshape_p.def_impl(_method("reshape", lambda x, *, new_sizes: x.reshape(new_sizes)))
def_linear(reshape_p, lambda ct, aval, *, new_sizes: reshape(ct, aval.shape))


@reshape_p.def_abstract
def _reshape_abstract(x: Aval, *, new_sizes: Shape) -> Aval:
    out = Aval(new_sizes, x.dtype)
    if out.size != x.size:
        raise ShapeError(
            f"reshape: shape {x.shape} holds {x.size} elements, {new_sizes} holds {out.size}. The sizes must multiply"
            " to the same number."
        )
    return out


@reshape_p.def_batch
def _reshape_batch(size: int, args: Sequence[Value], dims: Sequence[int], *, new_sizes: Shape) -> tuple[Value, int]:
    return reshape(move_batch(args[0], dims[0], 0), (size, *new_sizes)), 0


def reshape(
    operand: Value, new_sizes: Sequence[int], dimensions: Sequence[int] | None = None, *, out_sharding: Any = None
) -> Value:
    """The elements in row-major order as another shape.

    Args:
        new_sizes: the shape; every size is given (-1 is for fx.numpy.reshape).
        dimensions: read the operand's axes in this order first.
    """
    if dimensions is not None:
        operand = transpose(operand, dimensions)
    sizes = _sizes("reshape", new_sizes)
    if is_fx_value(operand) and operand.shape == sizes:
        return unchanged(operand)
    return bind(reshape_p, operand, new_sizes=sizes)


# --------------------------------------------------------------------------------------- transpose

transpose_p = Primitive("transpose")
transpose_p.def_impl(_method("transpose", lambda x, *, permutation: x.transpose(permutation)))
def_linear(transpose_p, lambda ct, aval, *, permutation: transpose(ct, _inverse(permutation)))


def _inverse(permutation: Shape) -> Shape:
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


@transpose_p.def_abstract
def _transpose_abstract(x: Aval, *, permutation: Shape) -> Aval:
    check_length("transpose", "permutation", permutation, x.ndim)
    check_axes("transpose", "permutation", permutation, x.ndim)
    return Aval(tuple([x.shape[p] for p in permutation]), x.dtype)


@transpose_p.def_batch
def _transpose_batch(size: int, args: Sequence[Value], dims: Sequence[int], *, permutation: Shape) -> tuple[Value, int]:
    return transpose(args[0], (dims[0], *axes_after_batch(permutation, dims[0]))), 0


def transpose(operand: Value, permutation: Sequence[int]) -> Value:
    """Axis i of the result is axis permutation[i] of the operand."""
    permutation = tuple(permutation)
    if is_fx_value(operand) and permutation == tuple(range(operand.ndim)):
        return unchanged(operand)
    return bind(transpose_p, operand, permutation=permutation)


# --------------------------------------------------------------------------------- broadcast_in_dim

broadcast_in_dim_p = Primitive("broadcast_in_dim")


@broadcast_in_dim_p.def_abstract
def _broadcast_in_dim_abstract(x: Aval, *, shape: Shape, broadcast_dimensions: Shape) -> Aval:
    check_length("broadcast_in_dim", "broadcast_dimensions", broadcast_dimensions, x.ndim)
    check_axes("broadcast_in_dim", "broadcast_dimensions", broadcast_dimensions, len(shape))
    if any(a >= b for a, b in itertools.pairwise(broadcast_dimensions)):
        raise AxisError(
            f"broadcast_in_dim: broadcast_dimensions={broadcast_dimensions} must increase. Transpose the operand first."
        )
    for size, d in zip(x.shape, broadcast_dimensions):
        if size not in (1, shape[d]):
            raise ShapeError(
                f"broadcast_in_dim: an operand of shape {x.shape} does not fit dimensions {broadcast_dimensions} of"
                f" {shape}: size {size} is neither 1 nor {shape[d]}."
            )
    return Aval(shape, x.dtype)


def _broadcast_special(operands: Sequence[Any], *, shape: Shape, broadcast_dimensions: Shape) -> Any:
    have = getattr(operands[0], "shape", None)
    if have == ():
        return partial(repeat_scalar, shape=shape)
    if have is None or any(type(n) is not int for n in (*have, *shape)) or 0 in shape:
        return None
    strides, step = [0] * len(shape), operands[0].dtype.itemsize
    for size, d in zip(reversed(have), reversed(broadcast_dimensions)):
        strides[d] = 0 if size == 1 else step
        step *= size
    general = partial(_broadcast_in_dim_impl, shape=shape, broadcast_dimensions=broadcast_dimensions)
    return partial(_repeated, shape=shape, strides=tuple(strides), general=general)


def _repeated(x: np.ndarray, shape: Shape, strides: Shape, general: Callable[..., np.ndarray]) -> np.ndarray:
    """``general``, at a quarter of its cost where the operand lies in one piece."""
    if not x.flags.c_contiguous:
        return general(x)
    view: np.ndarray = np.ndarray(shape, x.dtype, x, 0, strides)
    view.setflags(write=False)
    return view


@broadcast_in_dim_p.def_impl
@for_types(_broadcast_special)
def _broadcast_in_dim_impl(x: np.ndarray, *, shape: Shape, broadcast_dimensions: Shape) -> np.ndarray:
    """A read-only view with stride 0 along the new dimensions."""
    if not x.shape:
        return repeat_scalar(x, shape)
    aligned = [1] * len(shape)
    for size, d in zip(x.shape, broadcast_dimensions):
        aligned[d] = size
    return np.broadcast_to(x.reshape(aligned), shape)


def _broadcast_in_dim_transpose(ct: Value, aval: Aval, *, shape: Shape, broadcast_dimensions: Shape) -> Value:
    """Sums over what was repeated."""
    kept = {d for size, d in zip(aval.shape, broadcast_dimensions) if size == shape[d]}
    return reshape(sum_over(ct, tuple([d for d in range(len(shape)) if d not in kept])), aval.shape)


def sum_over(x: Value, axes: Shape) -> Value:
    """The sum over axes, which may be none."""
    return bind_named("reduce_sum", x, axes=axes) if axes else x


def_linear(broadcast_in_dim_p, _broadcast_in_dim_transpose)


@broadcast_in_dim_p.def_batch
def _broadcast_in_dim_batch(
    size: int, args: Sequence[Value], dims: Sequence[int], *, shape: Shape, broadcast_dimensions: Shape
) -> tuple[Value, int]:
    x = move_batch(args[0], dims[0], 0)
    return broadcast_in_dim(x, (size, *shape), (0, *axes_after_batch(broadcast_dimensions, 0))), 0


def broadcast_in_dim(
    operand: Value, shape: Sequence[int], broadcast_dimensions: Sequence[int], *, out_sharding: Any = None
) -> Value:
    """Repeats the operand: its axis i becomes axis broadcast_dimensions[i] of ``shape`` (a size 1 is stretched)."""
    shape, dims = _sizes("broadcast_in_dim", shape), tuple(broadcast_dimensions)
    order = sorted(range(len(dims)), key=dims.__getitem__)
    if order != list(range(len(dims))) and len(set(dims)) == len(dims) == len(aval_of(operand).shape):
        operand, dims = transpose(operand, order), tuple(sorted(dims))
    if is_fx_value(operand) and operand.shape == shape and dims == tuple(range(len(shape))):
        return unchanged(operand)
    return bind(broadcast_in_dim_p, operand, shape=shape, broadcast_dimensions=dims)


def broadcast(operand: Value, sizes: Sequence[int], *, out_sharding: Any = None) -> Value:
    """The operand repeated along new leading axes of those sizes."""
    shape = aval_of(operand).shape
    return broadcast_in_dim(operand, (*sizes, *shape), range(len(sizes), len(sizes) + len(shape)))


# ----------------------------------------------------------------------- rev, squeeze, expand_dims

rev_p = Primitive("rev")
rev_p.def_impl(lambda x, *, dimensions: np.flip(x, dimensions))
def_linear(rev_p, lambda ct, aval, *, dimensions: rev(ct, dimensions))


@rev_p.def_abstract
def _rev_abstract(x: Aval, *, dimensions: Shape) -> Aval:
    check_axes("rev", "dimensions", dimensions, x.ndim)
    return x


@rev_p.def_batch
def _rev_batch(size: int, args: Sequence[Value], dims: Sequence[int], *, dimensions: Shape) -> tuple[Value, int]:
    return rev(args[0], axes_after_batch(dimensions, dims[0])), dims[0]


def rev(operand: Value, dimensions: Sequence[int]) -> Value:
    """Reverses the order of the elements along the dimensions."""
    dims = canonical_axes("rev", dimensions, len(aval_of(operand).shape))
    return unchanged(operand) if is_fx_value(operand) and not dims else bind(rev_p, operand, dimensions=dims)


squeeze_p = Primitive("squeeze")
squeeze_p.def_impl(_method("squeeze", lambda x, *, dimensions: x.squeeze(dimensions)))
def_linear(squeeze_p, lambda ct, aval, *, dimensions: expand_dims(ct, dimensions))


@squeeze_p.def_abstract
def _squeeze_abstract(x: Aval, *, dimensions: Shape) -> Aval:
    check_axes("squeeze", "dimensions", dimensions, x.ndim)
    for d in dimensions:
        if x.shape[d] != 1:
            raise ShapeError(f"squeeze: dimension {d} of {x.shape} has size {x.shape[d]}; only size 1 can be removed.")
    return Aval(tuple([s for i, s in enumerate(x.shape) if i not in dimensions]), x.dtype)


@squeeze_p.def_batch
def _squeeze_batch(size: int, args: Sequence[Value], dims: Sequence[int], *, dimensions: Shape) -> tuple[Value, int]:
    out = squeeze(args[0], axes_after_batch(dimensions, dims[0]))
    return out, helpers.batch_dim_after_reduction(dimensions, dims[0])


def squeeze(array: Value, dimensions: Sequence[int]) -> Value:
    """Removes dimensions of size 1."""
    dims = canonical_axes("squeeze", dimensions, len(aval_of(array).shape))
    return unchanged(array) if is_fx_value(array) and not dims else bind(squeeze_p, array, dimensions=dims)


expand_dims_p = Primitive("expand_dims")
def_linear(expand_dims_p, lambda ct, aval, *, dimensions: squeeze(ct, dimensions))


def _expanded(operands: Sequence[Any], *, dimensions: Shape) -> Any:
    if not isinstance(operands[0], Aval):
        return None
    return methodcaller("reshape", _expand_dims_abstract(operands[0], dimensions=dimensions).shape)


@expand_dims_p.def_impl
@for_types(_expanded)
def _expand_dims_impl(x: np.ndarray, *, dimensions: Shape) -> np.ndarray:
    sizes = iter(x.shape)
    return x.reshape([1 if i in dimensions else next(sizes) for i in range(x.ndim + len(dimensions))])


@expand_dims_p.def_abstract
def _expand_dims_abstract(x: Aval, *, dimensions: Shape) -> Aval:
    ndim = x.ndim + len(dimensions)
    check_axes("expand_dims", "dimensions", dimensions, ndim)
    sizes = iter(x.shape)
    return Aval(tuple([1 if i in dimensions else next(sizes) for i in range(ndim)]), x.dtype)


@expand_dims_p.def_batch
def _expand_dims_batch(
    size: int, args: Sequence[Value], dims: Sequence[int], *, dimensions: Shape
) -> tuple[Value, int]:
    return expand_dims(move_batch(args[0], dims[0], 0), [d + 1 for d in dimensions]), 0


def expand_dims(array: Value, dimensions: Sequence[int]) -> Value:
    """Adds dimensions of size 1 at those positions of the result."""
    dims = canonical_axes("expand_dims", dimensions, len(aval_of(array).shape) + len(dimensions))
    return unchanged(array) if is_fx_value(array) and not dims else bind(expand_dims_p, array, dimensions=dims)


# ---------------------------------------------------------------------------------- iota, constants

_NO_OPERANDS = "it has no operands"
iota_p = Primitive("iota")
iota_p.no_gradient(_NO_OPERANDS)
iota_p.no_batch(_NO_OPERANDS)


@iota_p.def_abstract
def _iota_abstract(*, dtype: np.dtype, shape: Shape, dimension: int) -> Aval:
    check_axes("iota", "dimension", (dimension,), len(shape))
    if dtypes.is_bool(dtype):
        raise DTypeError("iota counts, so it takes a number dtype, not bool. Compare an integer iota instead.")
    return Aval(shape, dtype)


@iota_p.def_impl
def _iota_impl(*, dtype: np.dtype, shape: Shape, dimension: int) -> np.ndarray:
    count = np.arange(shape[dimension]).astype(dtype)
    return np.broadcast_to(count.reshape([-1 if i == dimension else 1 for i in range(len(shape))]), shape)


def broadcasted_iota(dtype: Any, shape: Sequence[int], dimension: int, *, out_sharding: Any = None) -> Value:
    """0, 1, 2 ... along one dimension, repeated along the others."""
    sizes = _sizes("iota", shape)
    axis = canonical_axis("iota", dimension, len(sizes))
    return bind(iota_p, dtype=dtypes.canonical(dtype), shape=sizes, dimension=axis)


def iota(dtype: Any, size: int) -> Value:
    """0, 1, 2 ... size - 1."""
    return broadcasted_iota(dtype, (size,), 0)


def full(shape: Sequence[int], fill_value: Value, dtype: Any = None, *, sharding: Any = None) -> Value:
    """An array filled with a scalar, of its own dtype, and weak as it is, if none is given."""
    aval = aval_of(fill_value)
    if aval.shape:
        raise ShapeError(f"full: the fill value must be a scalar; it has shape {aval.shape}. Use broadcast_in_dim.")
    new = aval.dtype if dtype is None else dtypes.canonical(dtype)
    if is_python_scalar(fill_value):
        number = np.asarray(fill_value).astype(new)[()]
        fill_value = Array(np.asarray(number), True) if aval.weak and dtype is None else number
    elif aval.dtype != new or (aval.weak and dtype is not None):
        fill_value = bind_named("convert_element_type", fill_value, new_dtype=new)
    return bind(broadcast_in_dim_p, fill_value, shape=_sizes("full", shape), broadcast_dimensions=())


def full_like(
    x: Value, fill_value: Value, dtype: Any = None, shape: Sequence[int] | None = None, sharding: Any = None
) -> Value:
    """``full`` with the shape and dtype of ``x`` where they are not given."""
    aval = aval_of(x)
    if aval.weak and dtype is None and is_python_scalar(fill_value):
        return helpers.full_like(x, fill_value, shape=shape)
    return full(aval.shape if shape is None else shape, fill_value, aval.dtype if dtype is None else dtype)
