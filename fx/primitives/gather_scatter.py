"""Gather and the scatters: reading and writing windows of an array at computed positions.

They are each other's transposes: gather is linear in its operand and its transpose is ``scatter_add``;
``scatter_add`` is linear in operand and updates together, and the updates' cotangent is a gather.  A gather and a
scatter that touch the same windows have the same dimension numbers (see ``index_numbers``).

Updates are applied in row-major order of the updates array, so a scatter with repeated indices is deterministic,
and its derivative is that of what it did:

* ``scatter`` (set): the last update of an element wins, and alone has a derivative.
* ``scatter_mul``: the derivative with respect to the updates needs ``unique_indices=True``, as in JAX.
* ``scatter_min``, ``scatter_max``: equal winners, the operand's own element among them, share it evenly, as in JAX.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, MissingRuleError
from ..ir import Aval
from ..primitive import Linear, Primitive
from ..trace import Tracer, aval_of, bind, concrete_value
from .checks import ANY, NUMBER, DTypeClass, canonical_axis, check_dtype
from .elementwise import add, convert_element_type, div, eq, mul, neg, select_n
from .helpers import Value, align_batch, full, instantiate, move_batch, quiet, scalar_of, zeros_like
from .index_numbers import (
    GatherDimensionNumbers,
    GatherScatterMode,
    Numbers,
    ScatterDimensionNumbers,
    check_gather,
    check_scatter,
    default_fill_value,
    flat_indices,
    plain_mode,
    plain_numbers,
    window_sizes,
)
from .linalg import accumulation_dtype
from .shaping import expand_dims, iota, reshape
from .special_cases import for_types

__all__ = [
    "GatherDimensionNumbers",
    "GatherScatterMode",
    "ScatterDimensionNumbers",
    "gather",
    "gather_p",
    "scatter",
    "scatter_add",
    "scatter_add_p",
    "scatter_max",
    "scatter_max_p",
    "scatter_min",
    "scatter_min_p",
    "scatter_mul",
    "scatter_mul_p",
    "scatter_p",
    "scatter_sub",
    "take_along",
]

Dims = tuple[int, ...]

# ----------------------------------------------------------------------------------------- gather

gather_p = Primitive("gather", typed_by=(0,))


@gather_p.def_abstract
def _gather_abstract(
    operand: Aval, start_indices: Aval, *, dimension_numbers: Numbers, slice_sizes: Dims, mode: str, fill_value: Any
) -> Aval:
    shape = check_gather(operand, start_indices, dimension_numbers, slice_sizes)
    if fill_value is not None:
        scalar_of(fill_value, operand.dtype)
    return Aval(shape, operand.dtype)


def _gather_special(
    operands: Sequence[Any], *, dimension_numbers: Numbers, slice_sizes: Dims, mode: str, fill_value: Any
) -> Any:
    """Whole slices along one dimension, whose places in the result the indices take: ``np.take``."""
    operand, indices = operands
    offset, collapsed, index_map, batching, _ = dimension_numbers
    shape, outer = getattr(operand, "shape", ()), len(getattr(indices, "shape", ())) - 1
    if any(type(n) is not int for n in (*shape, *slice_sizes)) or 0 in shape:  # sizes are not to be asked
        return None
    if len(index_map) != 1 or collapsed != index_map or batching or indices.dtype == np.uint64:
        return None
    (d,) = index_map
    if slice_sizes != (*shape[:d], 1, *shape[d + 1 :]):
        return None
    if offset != (*range(d), *range(d + outer, len(shape) - 1 + outer)):
        return None
    if mode != "fill":
        return partial(_taken, axis=d)
    fill: Any = scalar_of(default_fill_value(operand.dtype) if fill_value is None else fill_value, operand.dtype)
    trailing = (1,) * (len(shape) - 1 - d)
    return partial(_taken_or_filled, axis=d, trailing=trailing, fill=fill)


def _taken(operand: np.ndarray, start_indices: np.ndarray, axis: int) -> np.ndarray:
    return operand.take(start_indices[..., 0], axis, mode="clip")


def _taken_or_filled(
    operand: np.ndarray, start_indices: np.ndarray, axis: int, trailing: Dims, fill: Any
) -> np.ndarray:
    index = start_indices[..., 0]
    out = operand.take(index, axis, mode="clip")
    inside = np.logical_and(np.greater_equal(index, 0), np.less(index, operand.shape[axis]))
    return out if inside.all() else np.where(inside.reshape((*inside.shape, *trailing)), out, fill)


@gather_p.def_impl
@for_types(_gather_special)
def _gather_impl(
    operand: np.ndarray, start_indices: np.ndarray, *, dimension_numbers: Numbers, slice_sizes: Dims, mode: str,
    fill_value: Any,
) -> np.ndarray:  # fmt: skip
    fill: Any = scalar_of(default_fill_value(operand.dtype) if fill_value is None else fill_value, operand.dtype)
    if operand.size == 0:
        shape = check_gather(_aval(operand), _aval(start_indices), dimension_numbers, slice_sizes)
        return np.full(shape, fill, operand.dtype)
    kept = operand.ndim - _whole_trailing(operand.shape, start_indices.ndim - 1, slice_sizes, dimension_numbers)
    block = operand.shape[kept:]
    offset = dimension_numbers[0]
    numbers = (offset[: len(offset) - len(block)], *dimension_numbers[1:])
    flat, inside = flat_indices(operand.shape[:kept], start_indices, slice_sizes[:kept], numbers, mode != "fill")
    out = operand.reshape(-1, math.prod(block))[flat].reshape((*flat.shape, *block))
    if inside is None or inside.all():
        return out
    return np.where(inside.reshape((*inside.shape, *(1,) * len(block))), out, fill)


def _aval(x: np.ndarray) -> Aval:
    return Aval(x.shape, x.dtype)


def _whole_trailing(shape: Dims, outer: int, slice_sizes: Dims, numbers: Numbers) -> int:
    """How many trailing dimensions of the operand are read whole, and are the trailing ones of the result too.

    They are copied as blocks: a gather of rows computes one index for each row.
    """
    offset, collapsed, index_map, batching, _ = numbers
    count = 0
    for d in reversed(range(len(shape))):
        last = len(offset) + outer - 1 - count
        whole = slice_sizes[d] == shape[d] and d not in (*collapsed, *index_map, *batching)
        if not whole or offset[len(offset) - 1 - count] != last:
            break
        count += 1
    return count


gather_p.def_jvp(
    lambda primals, tangents, out, **params: bind(gather_p, tangents[0], primals[1], **{**params, "fill_value": 0})
)


@gather_p.def_transpose
def _gather_transpose(
    ct: Value, inputs: Sequence[Any], *, dimension_numbers: Numbers, slice_sizes: Dims, mode: str, fill_value: Any
) -> tuple[Value, None]:
    operand, indices = inputs
    return _bind_scatter(scatter_add_p, zeros_like(operand.aval), indices, ct, dimension_numbers, mode), None


def _up(dims: Dims) -> Dims:
    """Dimensions of an array as dimensions of the array with a batch axis in front."""
    return tuple(d + 1 for d in dims)


@gather_p.def_batch
def gather_batch(
    size: int, args: Sequence[Value], dims: Sequence[int | None], *, dimension_numbers: Numbers, slice_sizes: Dims,
    **params: Any,
) -> tuple[Value, int]:  # fmt: skip
    (operand, indices), (operand_dim, indices_dim) = args, dims
    offset, collapsed, index_map, batching, indices_batching = dimension_numbers
    if operand_dim is not None:
        operand = move_batch(operand, operand_dim, 0)
        collapsed, index_map, batching = _up(collapsed), _up(index_map), _up(batching)
    if indices_dim is not None:
        indices = move_batch(indices, indices_dim, 0)
        indices_batching = _up(indices_batching)
    if indices_dim is None:  # every window reaches through the whole batch
        offset, slice_sizes = (0, *_up(offset)), (size, *slice_sizes)
    else:
        offset = _up(offset)
        if operand_dim is not None:
            batching, indices_batching = (0, *batching), (0, *indices_batching)
            slice_sizes = (min(1, size), *slice_sizes)
    numbers = (offset, collapsed, index_map, batching, indices_batching)
    return bind(gather_p, operand, indices, dimension_numbers=numbers, slice_sizes=slice_sizes, **params), 0


# --------------------------------------------------------------------------------------- scatters

scatter_p = Primitive("scatter", typed_by=(0,))
scatter_add_p = Primitive("scatter_add", typed_by=(0,))
scatter_mul_p = Primitive("scatter_mul", typed_by=(0,))
scatter_min_p = Primitive("scatter_min", typed_by=(0,))
scatter_max_p = Primitive("scatter_max", typed_by=(0,))


def _bind_scatter(
    prim: Primitive, operand: Value, indices: Value, updates: Value, numbers: Numbers, mode: str, unique: bool = False,
    is_sorted: bool = False,
) -> Value:  # fmt: skip
    flags = {"mode": mode, "indices_are_sorted": is_sorted, "unique_indices": unique}
    return bind(prim, operand, indices, updates, dimension_numbers=numbers, **flags)


def _assign(out: np.ndarray, flat: np.ndarray, updates: np.ndarray) -> None:
    out[flat] = updates


def _def_type_and_value(prim: Primitive, combine: Callable[..., None], allowed: DTypeClass) -> None:
    """The abstract rule and the reference: ``combine(flat_out, flat_indices, updates)`` in order, in place."""

    @prim.def_abstract
    def abstract(operand: Aval, indices: Aval, updates: Aval, *, dimension_numbers: Numbers, **flags: Any) -> Aval:
        check_dtype(prim.name, operand, allowed)
        check_scatter(prim.name, operand, indices, updates, dimension_numbers)
        return operand

    @prim.def_impl
    @quiet
    def impl(
        operand: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, dimension_numbers: Numbers, mode: str,
        indices_are_sorted: bool, unique_indices: bool,
    ) -> np.ndarray:  # fmt: skip
        if operand.size == 0 or updates.size == 0:
            return operand.copy()
        wide = accumulation_dtype(operand.dtype)
        out = operand.astype(wide, order="C").reshape(-1)
        window = window_sizes(operand.shape, updates.shape, dimension_numbers)
        flat, inside = flat_indices(operand.shape, indices, window, dimension_numbers, mode == "clip")
        if inside is not None and not inside.all():
            keep = np.broadcast_to(inside, updates.shape)
            flat, updates = flat[keep], updates[keep]
        combine(out, flat.reshape(-1), updates.reshape(-1).astype(wide, copy=False))
        return out.reshape(operand.shape).astype(operand.dtype, copy=False)


_def_type_and_value(scatter_p, _assign, ANY)
_def_type_and_value(scatter_add_p, np.add.at, NUMBER)
_def_type_and_value(scatter_mul_p, np.multiply.at, NUMBER)
_def_type_and_value(scatter_min_p, np.minimum.at, ANY)
_def_type_and_value(scatter_max_p, np.maximum.at, ANY)


def _read_back(x: Value, indices: Value, operand: Dims, updates: Dims, numbers: Numbers, mode: str) -> Value:
    """What stands in ``x`` where a scatter writes: the gather with its dimension numbers; 0 for dropped windows."""
    sizes = window_sizes(operand, updates, numbers)
    return bind(gather_p, x, indices, dimension_numbers=numbers, slice_sizes=sizes, mode=mode, fill_value=0)


def _writes_once(indices: Value, numbers: Numbers, unique: bool) -> bool:
    """True if no element is written twice: by promise, or because there is one window in each batch."""
    shape = aval_of(indices).shape[:-1]
    return unique or all(n == 1 for d, n in enumerate(shape) if d not in numbers[4])


@scatter_p.def_jvp
def _scatter_jvp(primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, **params: Any) -> Value:
    (x, indices, u), (tx, _, tu) = primals, tangents
    return bind(scatter_p, instantiate(tx, aval_of(x)), indices, instantiate(tu, aval_of(u)), **params)


@scatter_add_p.def_jvp
def _scatter_add_jvp(primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, **params: Any) -> Value:
    (x, indices, _), (tx, _, tu) = primals, tangents
    return tx if tu is None else bind(scatter_add_p, instantiate(tx, aval_of(x)), indices, tu, **params)


def _type_of(x: Value | Linear) -> Aval:
    return x.aval if isinstance(x, Linear) else aval_of(x)


@scatter_add_p.def_transpose
def _scatter_add_transpose(
    ct: Value, inputs: Sequence[Any], *, dimension_numbers: Numbers, mode: str, indices_are_sorted: bool,
    unique_indices: bool,
) -> tuple[Value | None, None, Value | None]:  # fmt: skip
    x, indices, u = inputs
    shapes = _type_of(x).shape, _type_of(u).shape
    return (
        ct if isinstance(x, Linear) else None,
        None,
        _read_back(ct, indices, *shapes, dimension_numbers, mode) if isinstance(u, Linear) else None,
    )


@scatter_p.def_transpose
def _scatter_transpose(
    ct: Value, inputs: Sequence[Any], *, dimension_numbers: Numbers, mode: str, indices_are_sorted: bool,
    unique_indices: bool,
) -> tuple[Value | None, None, Value | None]:  # fmt: skip
    x, indices, u = inputs
    x_type, u_type = _type_of(x), _type_of(u)
    where = (dimension_numbers, mode)
    to_x = to_u = None
    if isinstance(x, Linear):
        to_x = _bind_scatter(scatter_p, ct, indices, zeros_like(u_type), *where, unique_indices, indices_are_sorted)
    if isinstance(u, Linear):
        to_u = _read_back(ct, indices, x_type.shape, u_type.shape, *where)
        if not _writes_once(indices, dimension_numbers, unique_indices):
            won = _last_writers(indices, x_type.shape, u_type.shape, *where)
            to_u = select_n(won, zeros_like(to_u), to_u)
    return to_x, None, to_u


def _last_writers(indices: Value, x_shape: Dims, u_shape: Dims, numbers: Numbers, mode: str) -> Value:
    """True for the updates that a ``scatter`` leaves in its result: each writes its own number and reads it back."""
    count = math.prod(u_shape)
    dtype = dtypes.int32 if count < 2**31 - 1 else dtypes.int64
    own = reshape(add(iota(dtype, count), full((count,), 1, dtype)), u_shape)
    written = _bind_scatter(scatter_p, full(x_shape, 0, dtype), indices, own, numbers, mode)
    return eq(_read_back(written, indices, x_shape, u_shape, numbers, mode), own)


@scatter_mul_p.def_jvp
def _scatter_mul_jvp(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, *, dimension_numbers: Numbers, mode: str,
    indices_are_sorted: bool, unique_indices: bool,
) -> Value:  # fmt: skip
    (x, indices, u), (tx, _, tu) = primals, tangents
    where = (dimension_numbers, mode, unique_indices, indices_are_sorted)
    tangent = None if tx is None else _bind_scatter(scatter_mul_p, tx, indices, u, *where)
    if tu is None:
        return tangent
    if not _writes_once(indices, dimension_numbers, unique_indices):
        raise MissingRuleError(
            "scatter_mul: its derivative with respect to the updates is known only where no element is written twice."
            " If that is so, pass unique_indices=True."
        )
    factor = _read_back(x, indices, aval_of(x).shape, aval_of(u).shape, dimension_numbers, mode)
    onto = zeros_like(x) if tangent is None else tangent
    return _bind_scatter(scatter_add_p, onto, indices, mul(tu, factor), *where)


@scatter_mul_p.def_transpose
def _scatter_mul_transpose(
    ct: Value, inputs: Sequence[Any], *, dimension_numbers: Numbers, mode: str, indices_are_sorted: bool,
    unique_indices: bool,
) -> tuple[Value, None, None]:  # fmt: skip
    _, indices, u = inputs
    if isinstance(u, Linear):
        raise MissingRuleError(
            "scatter_mul is linear in its operand alone; its jvp never makes another linear use of it"
        )
    where = (dimension_numbers, mode, unique_indices, indices_are_sorted)
    return _bind_scatter(scatter_mul_p, ct, indices, u, *where), None, None


def _def_extreme_jvp(prim: Primitive) -> None:
    @prim.def_jvp
    def jvp(
        primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, *, dimension_numbers: Numbers,
        mode: str, indices_are_sorted: bool, unique_indices: bool,
    ) -> Value:  # fmt: skip
        (x, indices, u), (tx, _, tu) = primals, tangents
        where = (dimension_numbers, mode, unique_indices, indices_are_sorted)
        dtype = aval_of(x).dtype
        left = _read_back(out, indices, aval_of(x).shape, aval_of(u).shape, dimension_numbers, mode)
        x_won, u_won = convert_element_type(eq(x, out), dtype), convert_element_type(eq(u, left), dtype)
        winners = _bind_scatter(scatter_add_p, x_won, indices, u_won, *where)
        from_x = zeros_like(x) if tx is None else mul(tx, x_won)
        tangent = from_x if tu is None else _bind_scatter(scatter_add_p, from_x, indices, mul(tu, u_won), *where)
        return div(tangent, winners)

    prim.no_transpose("it is not linear; its jvp is made of scatter_add, which has a transpose")


_def_extreme_jvp(scatter_min_p)
_def_extreme_jvp(scatter_max_p)


def _def_scatter_batch(prim: Primitive) -> Callable[..., tuple[Value, int]]:
    @prim.def_batch
    def batch(
        size: int, args: Sequence[Value], dims: Sequence[int | None], *, dimension_numbers: Numbers, **flags: Any
    ) -> tuple[Value, int]:
        (operand, indices, updates), (operand_dim, indices_dim, updates_dim) = args, dims
        operand, updates = align_batch(size, (operand, updates), (operand_dim, updates_dim))
        window, inserted, index_map, batching, indices_batching = dimension_numbers
        window, inserted, index_map, batching = _up(window), _up(inserted), _up(index_map), _up(batching)
        if indices_dim is None:  # every window reaches through the whole batch
            window = (0, *window)
        else:
            indices = move_batch(indices, indices_dim, 0)
            batching, indices_batching = (0, *batching), (0, *_up(indices_batching))
        numbers = (window, inserted, index_map, batching, indices_batching)
        return bind(prim, operand, indices, updates, dimension_numbers=numbers, **flags), 0

    return batch


scatter_batch = _def_scatter_batch(scatter_p)
for _prim in (scatter_add_p, scatter_mul_p, scatter_min_p, scatter_max_p):
    _def_scatter_batch(_prim)

# -------------------------------------------------------------------------------- public functions


def gather(
    operand: Value, start_indices: Value, dimension_numbers: GatherDimensionNumbers, slice_sizes: Sequence[int], *,
    unique_indices: bool = False, indices_are_sorted: bool = False, mode: str | GatherScatterMode | None = None,
    fill_value: Any = None,
) -> Value:  # fmt: skip
    """Reads one window of ``operand`` for each index vector, the last dimension of ``start_indices``.

    Args:
        dimension_numbers: which dimension is what.
        slice_sizes: size of the window along each dimension of the operand.
        unique_indices, indices_are_sorted: promises; accepted as in JAX and not needed here.
        mode: None or ``'fill'``, ``'clip'``, ``'promise_in_bounds'``: what a window outside the operand reads.
        fill_value: a number, for ``'fill'``; None means NaN, the least signed or greatest unsigned integer, or True.

    Raises:
        ShapeError, AxisError: the dimension numbers do not fit the operands.
        DTypeError: the indices are not integers, or the fill value does not fit the operand.
    """
    if type(fill_value) is Tracer:
        raise DTypeError(
            f"gather: fill_value must be a number, not a traced value ({fill_value.aval}); use where() instead"
        )
    known = None if fill_value is None else concrete_value(fill_value)
    fill = None if known is None else known.item()
    if fill in (0, 1) and dtypes.is_bool(aval_of(operand).dtype):
        fill = bool(fill)
    return bind(
        gather_p,
        operand,
        start_indices,
        dimension_numbers=plain_numbers(dimension_numbers),
        slice_sizes=tuple(int(s) for s in slice_sizes),
        mode=plain_mode(mode),
        fill_value=fill,
    )


def _named(prim: Primitive, summary: str) -> Callable[..., Value]:
    def call(
        operand: Value, scatter_indices: Value, updates: Value, dimension_numbers: ScatterDimensionNumbers, *,
        indices_are_sorted: bool = False, unique_indices: bool = False, mode: str | GatherScatterMode | None = None,
    ) -> Value:  # fmt: skip
        numbers, plain = plain_numbers(dimension_numbers), plain_mode(mode)
        flags = (bool(unique_indices), bool(indices_are_sorted))
        return _bind_scatter(prim, operand, scatter_indices, updates, numbers, plain, *flags)

    call.__name__ = call.__qualname__ = prim.name
    call.__doc__ = f"""{summary}

    Args:
        operand: the array to start from.
        scatter_indices: integers; the last dimension holds the index vectors.
        updates: one window for each index vector.
        dimension_numbers: which dimension is what.
        indices_are_sorted: a promise that the index vectors rise.
        unique_indices: a promise that no element is written twice.
        mode: None or ``'fill'`` (``'drop'``): a window that is not inside is not written; ``'clip'``: it is moved
            inside; ``'promise_in_bounds'``: there is none.
    """
    return call


scatter = _named(scatter_p, "Writes windows; of several updates of one element the last in row-major order stays.")
scatter_add = _named(scatter_add_p, "Adds windows.")
scatter_mul = _named(scatter_mul_p, "Multiplies by windows.")
scatter_min = _named(scatter_min_p, "The minimum of what is there and the windows.")
scatter_max = _named(scatter_max_p, "The maximum of what is there and the windows.")


def scatter_sub(
    operand: Value, scatter_indices: Value, updates: Value, dimension_numbers: ScatterDimensionNumbers, **flags: Any
) -> Value:
    """Subtracts windows; arguments as ``scatter_add``."""
    return scatter_add(operand, scatter_indices, neg(updates), dimension_numbers, **flags)


def take_along(operand: Value, indices: Value, dimension: int, mode: str | GatherScatterMode | None = None) -> Value:
    """``out[.., i, ..] = operand[.., indices[.., i, ..], ..]`` along ``dimension``; the other dimensions run along.

    Negative indices are out of bounds here; ``mode`` says what they read.
    """
    shape = aval_of(operand).shape
    d = canonical_axis("take_along", dimension, len(shape))
    others = tuple(i for i in range(len(shape)) if i != d)
    numbers = GatherDimensionNumbers((), (d,), (d,), others, others)
    sizes = [min(1, n) for n in shape]
    return gather(operand, expand_dims(indices, (len(shape),)), numbers, sizes, mode=mode)
