"""Operations of ``fx.lax`` that are made of others, and the arithmetic of shapes that goes with them."""

from __future__ import annotations

import enum
import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..array import Array
from ..config import in_full_width
from ..dtypes import canonical, is_float, is_integer
from ..errors import (
    DTypeError,
    OutOfBoundsIndexError,
    ShapeError,
    UnsupportedArgumentError,
)
from ..numpy.core import as_type, as_value, broadcast_value, filled
from ..numpy.folding import fold_halves
from ..numpy.types import finfo
from ..primitives import elementwise as p
from ..primitives import joining, shaping
from ..primitives import reductions as r
from ..primitives.checks import canonical_axes, canonical_axis
from ..primitives.conv import conv_dimension_numbers
from ..primitives.conv_variants import conv_general_dilated_patches
from ..primitives.linalg import dot_general
from ..primitives.sorting import top_k
from ..primitives.window_geometry import plain_sizes, resolve_padding, window_counts
from ..sizes import broadcast_shapes as joint_shape
from ..trace import aval_of
from ..traceback import behind
from ..transforms.custom_jvp import custom_jvp

__all__ = [
    "Precision", "approx_max_k", "approx_min_k", "broadcast_like", "broadcast_shapes", "broadcast_to_rank", "collapse",
    "conv_general_dilated_local", "conv_general_permutations", "conv_general_shape_tuple", "conv_shape_tuple",
    "conv_transpose_shape_tuple", "dtype", "empty", "index_in_dim", "mulhi", "one_minus_square", "optimization_barrier", "padtype_to_pads",
    "platform_dependent", "polynomial", "reciprocal", "reduce", "reduce_precision", "reduce_window_shape_tuple", "reduce_xor", "shape_as_value", "sign", "split", "stack", "tile",
    "unstack",
]  # fmt: skip

Value = Any
Dims = tuple[int, ...]


class Precision(enum.Enum):
    """Accepted wherever JAX accepts it; products are always computed at full precision."""

    DEFAULT = 0
    HIGH = 1
    HIGHEST = 2


def optimization_barrier(operand: Any, /) -> Any:
    """The pytree itself; no pass moves or fuses operations across."""
    leaves, treedef = tree.flatten(operand)
    return tree.unflatten(treedef, p.optimization_barrier(*leaves))


def platform_dependent(
    *args: Any, default: Callable[..., Any] | None = None, **per_platform: Callable[..., Any]
) -> Any:
    """``per_platform["cpu"](*args)``, or ``default(*args)``: fx runs on the CPU."""
    f = per_platform.get("cpu", default)
    if f is None:
        raise UnsupportedArgumentError(
            f"platform_dependent has a case for {', '.join(per_platform) or 'no platform'}; give cpu= or default="
        )
    return f(*args)


# ---------------------------------------------------------------------------------------- elementwise


def sign(x: Any) -> Value:
    """-1, 0 or 1; zeros and NaN stay as they are (``fx.numpy.sign`` of -0.0 is 0.0, as NumPy's); x / |x| for complex numbers."""
    return p.select(p.eq(x, 0), p.stop_gradient(x), p.sign(x))


def reciprocal(x: Value) -> Value:
    """1 / x"""
    return p.integer_pow(x, -1)


@custom_jvp
def one_minus_square(x: Value) -> Value:
    """``1 - x**2`` as ``(1 + x)(1 - x)``, exact to the last digits where |x| is next to 1; its derivative is -2 x."""
    return p.mul(p.add(x, 1), p.sub(1, x))


@one_minus_square.defjvp
def _one_minus_square_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    return one_minus_square(x), p.mul(dx, p.mul(x, -2))


def polynomial(x: Value, coeffs: Sequence[Any], *, unroll: int | None = None) -> Value:
    """``coeffs[0] + coeffs[1] x + coeffs[2] x**2 + ...`` by Horner's rule, in the dtype of ``x``.

    Args:
        coeffs: numbers, or arrays of the rank of ``x`` that broadcast with it; the constant comes first.
        unroll: accepted; all steps stand in one loop over the elements.

    >>> import fx
    >>> float(fx.lax.polynomial(3.0, [1.0, 5.0, 2.0]))
    34.0
    """
    x = as_value(x)
    cs = [as_value(c) for c in coeffs]
    shape = joint_shape(x.shape, *(c.shape for c in cs))
    cs = [broadcast_value(as_type(c, x.dtype), shape) for c in cs] or [filled(shape, 0, x.dtype)]
    wide = broadcast_value(x, shape)
    return functools.reduce(lambda s, c: p.add(p.mul(s, wide), c), cs[-2::-1], cs[-1])


@in_full_width
def mulhi(x: Value, y: Value, /) -> Value:
    """The upper half of the product of two integers of twice their width.

    Raises:
        DTypeError: the operands are not integers of at most 32 bits.
    """
    d = aval_of(x).dtype
    if not is_integer(d) or d.itemsize > 4:
        raise DTypeError(f"mulhi takes integers of at most 32 bits; found {d}")
    bits = 8 * d.itemsize
    wide = np.dtype(f"{d.kind}{2 * d.itemsize}")
    product = p.mul(p.convert_element_type(x, wide), p.convert_element_type(y, wide))
    return p.convert_element_type(
        p.shift_right_arithmetic(product, bits) if d.kind == "i" else p.shift_right_logical(product, bits), d
    )


@functools.partial(custom_jvp, nondiff_argnums=(1, 2))
def reduce_precision(operand: Value, exponent_bits: int, mantissa_bits: int) -> Value:
    """A float rounded to a format with fewer bits (ties to even), in its own dtype.

    What is too large for the format becomes infinite, what is smaller than its normal numbers 0.  The derivative is
    that of the identity (JAX rounds the derivative as well).

    Args:
        operand: float array.
        exponent_bits: at least 1.
        mantissa_bits: at least 0.

    Raises:
        DTypeError: the operand is no float, or a number of bits is out of range.
    """
    d = aval_of(operand).dtype
    if not is_float(d) or exponent_bits < 1 or mantissa_bits < 0:
        raise DTypeError(
            f"reduce_precision takes floats, exponent_bits >= 1 and mantissa_bits >= 0; found {d},"
            f" exponent_bits={exponent_bits}, mantissa_bits={mantissa_bits}"
        )
    limits = finfo(d)
    unsigned = np.dtype(f"uint{8 * d.itemsize}")
    bits = p.bitcast_convert_type(operand, unsigned)
    dropped = limits.nmant - mantissa_bits
    if dropped > 0:
        last = p.bitwise_and(p.shift_right_logical(bits, dropped), 1)
        bits = p.add(bits, p.add(last, (1 << (dropped - 1)) - 1))
        bits = p.shift_left(p.shift_right_logical(bits, dropped), dropped)
    out = p.bitcast_convert_type(bits, d)
    own = 8 * d.itemsize - 1 - limits.nmant
    if exponent_bits < own:
        size, top = p.abs(out), 2 ** (exponent_bits - 1)
        zero = p.mul(sign(operand), 0.0)
        infinite = p.mul(sign(operand), np.inf)
        out = p.select(p.ge(size, 2.0**top), infinite, p.select(p.lt(size, 2.0 ** (2 - top)), zero, out))
    return p.select(p.is_finite(operand), out, operand)


@reduce_precision.defjvp
def _reduce_precision_jvp(exponent_bits: int, mantissa_bits: int, primals: Any, tangents: Any) -> tuple[Value, Value]:
    f = functools.partial(reduce_precision, exponent_bits=exponent_bits, mantissa_bits=mantissa_bits)
    return f(*primals), tangents[0]


# --------------------------------------------------------------------------------------------- shapes


def dtype(x: Any) -> np.dtype:
    """The dtype of an array or number; of a dtype itself."""
    return canonical(x) if isinstance(x, (np.dtype, type)) else aval_of(x).dtype


def empty(shape: Sequence[int], dtype: Any, *, out_sharding: Any = None) -> Value:
    """An array whose values are not specified (they are zero)."""
    return shaping.full(shape, 0, dtype)


def shape_as_value(shape: Sequence[int]) -> Array:
    """A shape as an int32 vector."""
    return Array(np.asarray(tuple(shape), np.int32))


def broadcast_shapes(*shapes: Sequence[int]) -> Dims:
    """The shape that arrays of these shapes broadcast to.

    Raises:
        ShapeError: there is none.
    """
    try:
        return joint_shape(*shapes)
    except ValueError:
        raise ShapeError(f"Incompatible shapes for broadcasting: {', '.join(str(tuple(s)) for s in shapes)}") from None


def broadcast_to_rank(x: Value, rank: int) -> Value:
    """``x`` with axes of size 1 in front until it has ``rank`` axes."""
    new = rank - aval_of(x).ndim
    if new < 0:
        raise ShapeError(f"broadcast_to_rank: the operand of shape {aval_of(x).shape} has more than {rank} dimensions")
    return shaping.expand_dims(x, tuple(range(new)))


def broadcast_like(arr: Value, like_arr: Value) -> Value:
    """``arr`` repeated to the shape of ``like_arr`` by NumPy's rules."""
    shape, have = aval_of(like_arr).shape, aval_of(arr).shape
    if broadcast_shapes(shape, have) != shape:
        raise ShapeError(f"broadcast_like: shape {have} does not broadcast to {shape}")
    return shaping.broadcast_in_dim(arr, shape, range(len(shape) - len(have), len(shape)))


def collapse(operand: Value, start_dimension: int, stop_dimension: int | None = None) -> Value:
    """The dimensions ``start_dimension:stop_dimension`` as one."""
    shape = aval_of(operand).shape
    lo, hi, _ = slice(start_dimension, stop_dimension).indices(len(shape))
    if hi < lo:
        raise ShapeError(
            f"collapse: the dimensions {start_dimension}:{stop_dimension} of shape {shape} are not a range"
        )
    return shaping.reshape(operand, (*shape[:lo], math.prod(shape[lo:hi]), *shape[hi:]))


def index_in_dim(operand: Value, index: int, axis: int = 0, keepdims: bool = True) -> Value:
    """operand[..., index, ...] along one axis, the index known; ``keepdims`` leaves the axis with size 1."""
    shape = aval_of(operand).shape
    axis = canonical_axis("index_in_dim", axis, len(shape))
    i = operator.index(index)
    if not -shape[axis] <= i < shape[axis]:
        raise OutOfBoundsIndexError(f"index_in_dim: index {i} is out of bounds for axis {axis} of size {shape[axis]}")
    out = joining.slice_in_dim(operand, i % shape[axis], i % shape[axis] + 1, axis=axis)
    return out if keepdims else shaping.squeeze(out, (axis,))


def split(operand: Value, sizes: Sequence[int], axis: int = 0) -> list[Value]:
    """Consecutive pieces of the given sizes along an axis."""
    shape = aval_of(operand).shape
    axis = canonical_axis("split", axis, len(shape))
    if sum(sizes) != shape[axis] or any(s < 0 for s in sizes):
        raise ShapeError(
            f"split: the sizes {tuple(sizes)} do not add up to {shape[axis]}, axis {axis} of shape {shape}"
        )
    stops = np.cumsum(sizes).tolist()
    return [joining.slice_in_dim(operand, stop - n, stop, axis=axis) for n, stop in zip(sizes, stops)]


def stack(operands: Sequence[Value], axis: int = 0) -> Value:
    """Arrays of one shape and dtype along a new axis."""
    if not operands:
        raise ShapeError("stack takes at least one array; it got none")
    axis = canonical_axis("stack", axis, aval_of(operands[0]).ndim + 1)
    return joining.concatenate([shaping.expand_dims(x, (axis,)) for x in operands], axis)


def unstack(x: Value, axis: int = 0) -> tuple[Value, ...]:
    """The slices along an axis."""
    axis = canonical_axis("unstack", axis, aval_of(x).ndim)
    return tuple([index_in_dim(x, i, axis, keepdims=False) for i in range(aval_of(x).shape[axis])])


def tile(operand: Value, reps: Sequence[int]) -> Value:
    """The array repeated as a whole along each axis; one number of repetitions for each."""
    shape = aval_of(operand).shape
    reps = plain_sizes("tile", "reps", reps, len(shape), 0)
    wide = shaping.broadcast_in_dim(
        operand, [v for k, n in zip(reps, shape) for v in (k, n)], range(1, 2 * len(shape), 2)
    )
    return shaping.reshape(wide, [k * n for k, n in zip(reps, shape)])


# ----------------------------------------------------------------------------------------- reductions

_MONOIDS: dict[Any, tuple[Callable[..., Value], Callable[..., Value]]] = {
    f: (combine, reduction)
    for combine, reduction, same in [
        (p.add, r.reduce_sum, (operator.add, np.add)),
        (p.mul, r.reduce_prod, (operator.mul, np.multiply)),
        (p.max, r.reduce_max, (max, np.maximum)),
        (p.min, r.reduce_min, (min, np.minimum)),
        (p.bitwise_and, r.reduce_and, (operator.and_, np.bitwise_and)),
        (p.bitwise_or, r.reduce_or, (operator.or_, np.bitwise_or)),
    ]
    for f in (combine, *same)
}


def reduce(
    operands: Any,
    init_values: Any,
    computation: Callable[[Any, Any], Any],
    dimensions: Sequence[int],
    out_sharding: Any = None,
) -> Any:
    """Combines the elements along ``dimensions``, and ``init_values`` with them.

    ``fx.lax.add``, ``mul``, ``max``, ``min``, ``bitwise_and`` and ``bitwise_or`` are one operation.  Any other
    computation must be associative, commutative and elementwise: it is applied to halves of the arrays,
    log2(n) times.

    Args:
        operands: an array, or a pytree of arrays of one shape.
        init_values: a scalar for each operand, in the same structure.
        computation: ``(accumulator, value) -> accumulator``, each in the structure of the operands.
        dimensions: the axes that are reduced.

    >>> import fx, numpy as np
    >>> fx.lax.reduce(np.array([[1.0, 2.0], [3.0, 4.0]]), 1.0, fx.lax.mul, (1,))
    Array([ 2., 12.], dtype=float64)
    """
    xs, treedef = tree.flatten(operands)
    inits = tree.flatten_up_to(treedef, init_values, "init_values of reduce")
    shape = aval_of(xs[0]).shape
    if any(aval_of(x).shape != shape for x in xs):
        raise ShapeError(f"reduce: the operands {', '.join(str(aval_of(x)) for x in xs)} must have one shape")
    axes = canonical_axes("reduce", dimensions, len(shape))
    known = _MONOIDS.get(behind(computation)) if len(xs) == 1 else None
    if known is not None:
        combine, reduction = known
        x = reduction(xs[0], axes)
        return tree.unflatten(treedef, [combine(x, _filled(inits[0], x))])
    rest = tuple(i for i in range(len(shape)) if i not in axes)
    kept, n = tuple(shape[i] for i in rest), math.prod(shape[i] for i in axes)
    rows = [shaping.reshape(shaping.transpose(x, (*axes, *rest)), (n, *kept)) for x in xs]

    def both(a: Sequence[Value], b: Sequence[Value]) -> list[Value]:
        return tree.leaves(computation(tree.unflatten(treedef, a), tree.unflatten(treedef, b)))

    rows = fold_halves(rows, both) if n else rows
    start = [_filled(i, shaping.squeeze(x, (0,)) if n else aval_of(x).with_(shape=kept)) for i, x in zip(inits, rows)]
    return tree.unflatten(treedef, both(start, [shaping.squeeze(x, (0,)) for x in rows]) if n else start)


def _filled(init: Value, like: Any) -> Value:
    """A scalar as an array of the type of ``like`` (a value or an Aval)."""
    a = like if not hasattr(like, "aval") else like.aval
    return shaping.full(a.shape, init, a.dtype)


def reduce_xor(operand: Value, axes: Sequence[int]) -> Value:
    """Bitwise exclusive or over the axes: for bool, whether an odd number of elements is true."""
    d = aval_of(operand).dtype
    return reduce(operand, np.zeros((), d)[()], p.bitwise_xor, axes)


def approx_max_k(
    operand: Value, k: int, reduction_dimension: int = -1, recall_target: float = 0.95, reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
) -> tuple[Value, Value]:  # fmt: skip
    """The ``k`` largest elements and their positions: exact here, whatever ``recall_target`` would allow."""
    return top_k(operand, k, axis=reduction_dimension)


def approx_min_k(
    operand: Value, k: int, reduction_dimension: int = -1, recall_target: float = 0.95, reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
) -> tuple[Value, Value]:  # fmt: skip
    """The ``k`` smallest elements and their positions: exact."""
    values, positions = top_k(p.neg(operand), k, axis=reduction_dimension)
    return p.neg(values), positions


# ------------------------------------------------------------------------------- windows, convolutions


def padtype_to_pads(
    in_shape: Sequence[int], window_shape: Sequence[int], window_strides: Sequence[int], padding: Any
) -> list[tuple[int, int]]:
    """A padding by name ('SAME', 'SAME_LOWER', 'VALID') as pairs, one for each dimension."""
    return list(resolve_padding("padtype_to_pads", padding, in_shape, window_shape, tuple(window_strides)))


def reduce_window_shape_tuple(
    operand_shape: Sequence[int], window_dimensions: Sequence[int], window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]], base_dilation: Sequence[int] | None = None, window_dilation: Sequence[int] | None = None,
) -> Dims:  # fmt: skip
    """The shape of a ``reduce_window``."""
    ones = (1,) * len(operand_shape)
    return window_counts(
        operand_shape,
        window_dimensions,
        tuple(window_strides),
        tuple(padding),
        tuple(base_dilation or ones),
        tuple(window_dilation or ones),
    )


def conv_shape_tuple(
    lhs_shape: Sequence[int], rhs_shape: Sequence[int], strides: Sequence[int], pads: Any, batch_group_count: int = 1
) -> Dims:
    """The shape of a convolution of (N, C, ...) by (O, I, ...)."""
    sizes, windows, steps = tuple(lhs_shape[2:]), tuple(rhs_shape[2:]), tuple(strides)
    pads = resolve_padding("conv_shape_tuple", pads, sizes, windows, steps)
    ones = (1,) * len(sizes)
    return (lhs_shape[0] // batch_group_count, rhs_shape[0], *window_counts(sizes, windows, steps, pads, ones, ones))


def conv_general_permutations(dimension_numbers: Sequence[str]) -> list[Dims]:
    """The axes of lhs, rhs and result in the order (N, C, ...), (O, I, ...), (N, C, ...), the spatial ones as in rhs."""
    n = len(dimension_numbers[0])
    return list(conv_dimension_numbers((1,) * n, (1,) * n, tuple(dimension_numbers)))


def _through(
    permutations: Sequence[Dims], lhs_shape: Sequence[int], rhs_shape: Sequence[int], f: Callable[[Dims, Dims], Dims]
) -> Dims:
    lhs, rhs, out = permutations
    plain = f(tuple(lhs_shape[i] for i in lhs), tuple(rhs_shape[i] for i in rhs))
    return tuple(plain[i] for i in np.argsort(out))


def conv_general_shape_tuple(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: Any,
    dimension_numbers: Sequence[str],
) -> Dims:
    """The shape of a convolution with any dimension numbers."""
    perms = conv_general_permutations(dimension_numbers)
    return _through(perms, lhs_shape, rhs_shape, lambda a, b: conv_shape_tuple(a, b, window_strides, padding))


def conv_transpose_shape_tuple(
    lhs_shape: Sequence[int],
    rhs_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: Any,
    dimension_numbers: Sequence[str],
) -> Dims:
    """The shape of a transposed convolution."""

    def shape(a: Dims, b: Dims) -> Dims:
        pads = [(0, 0)] * len(a[2:]) if padding == "VALID" else padding
        if isinstance(pads, str):
            pads = resolve_padding("conv_transpose_shape_tuple", pads, a[2:], b[2:], tuple(window_strides))
        spatial = [(n - 1) * s + k - lo - hi for n, k, s, (lo, hi) in zip(a[2:], b[2:], window_strides, pads)]
        return (a[0], b[0], *spatial)

    return _through(conv_general_permutations(dimension_numbers), lhs_shape, rhs_shape, shape)


def conv_general_dilated_local(
    lhs: Value, rhs: Value, window_strides: Sequence[int], padding: Any, filter_shape: Sequence[int],
    lhs_dilation: Sequence[int] | None = None, rhs_dilation: Sequence[int] | None = None, dimension_numbers: Any = None, precision: Any = None,
) -> Value:  # fmt: skip
    """A convolution with another kernel at every output position.

    Args:
        rhs: ``(O, C * prod(filter_shape), *output positions)`` in the order that ``dimension_numbers`` gives.
    """
    lhs_shape, rhs_shape = aval_of(lhs).shape, aval_of(rhs).shape
    numbers = conv_dimension_numbers(lhs_shape, rhs_shape, dimension_numbers)
    patches = conv_general_dilated_patches(
        lhs, filter_shape, window_strides, padding, lhs_dilation, rhs_dilation, numbers, precision
    )
    (_o, i, *at_rhs), (n, c, *at_out) = numbers.rhs_spec, numbers.out_spec
    product = dot_general(rhs, patches, (((i,), (c,)), (tuple(at_rhs), tuple(at_out))), precision)  # (*spatial, O, N)
    k = len(at_out)
    where = {n: k + 1, c: k, **{d: j for j, d in enumerate(at_out)}}
    return shaping.transpose(product, [where[d] for d in range(k + 2)])
