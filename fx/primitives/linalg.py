"""Products: ``dot_general``, the one primitive behind dot, matmul, tensordot and einsum.

``out[b, i, j] = sum_k lhs[b, i, k] * rhs[b, k, j]`` where each letter stands for any number of dimensions,
anywhere in their operand.  It is bilinear: its jvp and both transposes are ``dot_general`` again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Aval
from ..primitive import Linear, Primitive
from ..trace import aval_of, bind
from .checks import canonical_axis, check_axes, check_same_dtypes
from .elementwise import convert_element_type
from .helpers import Value, axes_after_batch, def_jvp_each, quiet
from .shaping import transpose

__all__ = [
    "accumulation_dtype",
    "as_dtype",
    "batch_matmul",
    "check_precision",
    "check_preferred_element_type",
    "dot",
    "dot_general",
    "dot_general_p",
]

Dims = tuple[int, ...]
DotNumbers = tuple[tuple[Dims, Dims], tuple[Dims, Dims]]

# -------------------------------------------------------- what products and convolutions have in common


def accumulation_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype in which a reference adds up: float32 for the 16-bit floats, the dtype itself otherwise."""
    return dtypes.float32 if dtypes.is_float(dtype) and dtype.itemsize == 2 else dtype


def check_preferred_element_type(what: str, operand: np.dtype, preferred: np.dtype | None) -> np.dtype:
    """The dtype of a product's result.

    Raises:
        DTypeError: ``preferred`` is narrower than the operands, or of another kind (integers may give floats).
    """
    if preferred is None:
        return operand
    p = dtypes.canonical(preferred)
    integer = dtypes.is_integer(operand)
    same_kind = (
        (integer and (dtypes.is_float(p) or p.kind == operand.kind or (operand.kind == "u" and p.kind == "i")))
        or (dtypes.is_float(operand) and dtypes.is_float(p))
        or (dtypes.is_complex(operand) and dtypes.is_complex(p))
        or p == operand
    )
    if not same_kind or p.itemsize < operand.itemsize:
        raise DTypeError(
            f"{what}: preferred_element_type={p} does not fit operands of dtype {operand}. It must be of the operands'"
            " kind (or a float type for integers) and no narrower than they; convert the result instead."
        )
    return p


def check_precision(what: str, precision: Any) -> None:
    """Accepts what JAX accepts as ``precision``: every product here is computed at full precision already."""
    parts = precision if isinstance(precision, (tuple, list)) else (precision,)
    for p in parts:
        name = getattr(p, "name", p)
        if name is not None and str(name).lower() not in ("default", "high", "highest", "float32", "fastest"):
            raise DTypeError(f"{what}: precision={precision!r} is not known. Use None, 'default', 'high' or 'highest'.")


def as_dtype(x: Value, dtype: np.dtype) -> Value:
    """``x``, converted only if its dtype differs."""
    return x if aval_of(x).dtype == dtype else convert_element_type(x, dtype)


# ------------------------------------------------------------------------------------- dot_general

dot_general_p = Primitive("dot_general")


def _check_pairs(what: str, lhs: Aval, rhs: Aval, lhs_dims: Dims, rhs_dims: Dims) -> None:
    if len(lhs_dims) != len(rhs_dims):
        raise ShapeError(
            f"dot_general: {len(lhs_dims)} {what} dimensions {lhs_dims} of lhs {lhs} stand against"
            f" {len(rhs_dims)}, {rhs_dims}, of rhs {rhs}. They go in pairs."
        )
    for i, j in zip(lhs_dims, rhs_dims):
        if lhs.shape[i] != rhs.shape[j]:
            raise ShapeError(
                f"dot_general: {what} dimension {i} of lhs {lhs} has size {lhs.shape[i]}, but its partner, dimension"
                f" {j} of rhs {rhs}, has size {rhs.shape[j]}. Paired dimensions must have equal sizes;"
                " is an operand transposed?"
            )


@dot_general_p.def_abstract
def _dot_general_abstract(
    lhs: Aval, rhs: Aval, *, dimension_numbers: DotNumbers, preferred_element_type: np.dtype | None
) -> Aval:
    check_same_dtypes("dot_general", (lhs, rhs))
    (lc, rc), (lb, rb) = dimension_numbers
    check_axes("dot_general", "contracting and batch dimensions of lhs", (*lc, *lb), lhs.ndim)
    check_axes("dot_general", "contracting and batch dimensions of rhs", (*rc, *rb), rhs.ndim)
    _check_pairs("contracting", lhs, rhs, lc, rc)
    _check_pairs("batch", lhs, rhs, lb, rb)
    shape = (
        *(lhs.shape[d] for d in lb),
        *(lhs.shape[d] for d in _free(lhs.ndim, lc, lb)),
        *(rhs.shape[d] for d in _free(rhs.ndim, rc, rb)),
    )
    return Aval(shape, check_preferred_element_type("dot_general", lhs.dtype, preferred_element_type))


def _free(ndim: int, contracting: Dims, batch: Dims) -> Dims:
    """The dimensions that are neither contracted nor batched, in order."""
    return tuple(d for d in range(ndim) if d not in contracting and d not in batch)


@dot_general_p.def_impl
@quiet
def _dot_general_impl(
    lhs: np.ndarray, rhs: np.ndarray, *, dimension_numbers: DotNumbers, preferred_element_type: np.dtype | None
) -> np.ndarray:
    dtype = lhs.dtype if preferred_element_type is None else preferred_element_type
    compute = accumulation_dtype(dtype)
    lhs_order, lhs_shape, rhs_order, rhs_shape, shape = _as_matrices(dimension_numbers, lhs.shape, rhs.shape)
    a = lhs.astype(compute, copy=False).transpose(lhs_order).reshape(lhs_shape)
    b = rhs.astype(compute, copy=False).transpose(rhs_order).reshape(rhs_shape)
    return np.matmul(a, b).reshape(shape).astype(dtype, copy=False)


@functools.lru_cache(1024)
def _as_matrices(numbers: DotNumbers, lhs: Dims, rhs: Dims) -> tuple[Dims, Dims, Dims, Dims, Dims]:
    """The orders of the dimensions and the shapes that make operands of these shapes matrices, and the result's shape."""
    (lc, rc), (lb, rb) = numbers
    lf, rf = _free(len(lhs), lc, lb), _free(len(rhs), rc, rb)
    batch, rows, cols = ([a[d] for d in dims] for a, dims in ((lhs, lb), (lhs, lf), (rhs, rf)))
    depth = math.prod(lhs[d] for d in lc)
    as_lhs, as_rhs = (*batch, math.prod(rows), depth), (*batch, depth, math.prod(cols))
    return (*lb, *lf, *lc), as_lhs, (*rb, *rc, *rf), as_rhs, (*batch, *rows, *cols)


def_jvp_each(
    dot_general_p,
    lambda t, out, lhs, rhs, **params: bind(dot_general_p, t, rhs, **params),
    lambda t, out, lhs, rhs, **params: bind(dot_general_p, lhs, t, **params),
)


def _transpose_side(
    ct: Value, linear: Aval, other: Value, own: tuple[Dims, Dims], others: tuple[Dims, Dims], first: bool
) -> Value:
    """The cotangent of the operand of type ``linear``, whose partner is ``other``.

    The cotangent's dimensions are (batch, lhs free, rhs free).  Contracted with the free dimensions of ``other`` it
    gives (batch, own free, ``other``'s contracting dimensions in ascending order), which are put back in place.
    """
    (own_c, own_b), (other_c, other_b) = own, others
    own_free = _free(linear.ndim, own_c, own_b)
    other_free = _free(len(other.shape), other_c, other_b)
    n_batch = len(own_b)
    start = n_batch + (len(own_free) if first else 0)
    numbers = (
        (tuple(range(start, start + len(other_free))), other_free),
        (tuple(range(n_batch)), other_b),
    )
    wide = aval_of(ct).dtype
    grad = bind(dot_general_p, ct, as_dtype(other, wide), dimension_numbers=numbers, preferred_element_type=None)
    by_other = sorted(range(len(own_c)), key=other_c.__getitem__)
    order = (*own_b, *own_free, *(own_c[i] for i in by_other))
    return transpose(as_dtype(grad, linear.dtype), tuple(order.index(d) for d in range(linear.ndim)))


@dot_general_p.def_transpose
def _dot_general_transpose(
    ct: Value, inputs: Sequence[Any], *, dimension_numbers: DotNumbers, preferred_element_type: np.dtype | None
) -> tuple[Value | None, Value | None]:
    lhs, rhs = inputs
    (lc, rc), (lb, rb) = dimension_numbers
    if isinstance(lhs, Linear):
        return _transpose_side(ct, lhs.aval, rhs, (lc, lb), (rc, rb), first=True), None
    return None, _transpose_side(ct, rhs.aval, lhs, (rc, rb), (lc, lb), first=False)


@dot_general_p.def_batch
def _dot_general_batch(
    size: int,
    args: Sequence[Value],
    dims: Sequence[int | None],
    *,
    dimension_numbers: DotNumbers,
    preferred_element_type: np.dtype | None,
) -> tuple[Value, int]:
    (lhs, rhs), (ld, rd) = args, dims
    (lc, rc), (lb, rb) = dimension_numbers
    if ld is not None:
        lc, lb = axes_after_batch(lc, ld), axes_after_batch(lb, ld)
    if rd is not None:
        rc, rb = axes_after_batch(rc, rd), axes_after_batch(rb, rd)
    if ld is not None and rd is not None:
        lb, rb, at = (ld, *lb), (rd, *rb), 0
    elif ld is not None:  # the batch axis becomes a free dimension of the batched operand
        at = len(lb) + _free(len(lhs.shape), lc, lb).index(ld)
    else:
        lhs_free = len(lhs.shape) - len(lc) - len(lb)
        at = len(lb) + lhs_free + _free(len(rhs.shape), rc, rb).index(rd)
    numbers = ((lc, rc), (lb, rb))
    params = {"dimension_numbers": numbers, "preferred_element_type": preferred_element_type}
    return bind(dot_general_p, lhs, rhs, **params), at


# -------------------------------------------------------------------------------- public functions


def _dims(dims: Sequence[int], ndim: int) -> Dims:
    """Plain ints from any sequence of integers; negative ones count from the end."""
    return tuple(canonical_axis("dot_general", d, ndim) for d in dims)


def dot_general(
    lhs: Value,
    rhs: Value,
    dimension_numbers: Any,
    precision: Any = None,
    preferred_element_type: Any = None,
    *,
    out_sharding: Any = None,
) -> Value:
    """The general product: contracts some dimensions, batches over others.

    Args:
        dimension_numbers: ``((lhs_contracting, rhs_contracting), (lhs_batch, rhs_batch))``.
        precision: accepted as in JAX; products are always computed at full precision.
        preferred_element_type: dtype of the result and of the sums; None means the operands' dtype: of two, the one that
            both have room in (``int8`` by ``bfloat16`` is ``bfloat16``).

    Returns:
        An array of dimensions (batch, lhs free, rhs free).

    Raises:
        DTypeError: neither of the operands' dtypes is the wider one (``float16`` and ``bfloat16``).
        ShapeError: paired dimensions differ in size.
        AxisError: a dimension is out of range or named twice.

    >>> import fx, numpy as np
    >>> x, y = np.ones((8, 2, 3)), np.ones((8, 3, 4))
    >>> fx.lax.dot_general(x, y, (((2,), (1,)), ((0,), (0,)))).shape
    (8, 2, 4)
    """
    check_precision("dot_general", precision)
    (lc, rc), (lb, rb) = dimension_numbers
    lhs_ndim, rhs_ndim = aval_of(lhs).ndim, aval_of(rhs).ndim
    numbers = (
        (_dims(lc, lhs_ndim), _dims(rc, rhs_ndim)),
        (_dims(lb, lhs_ndim), _dims(rb, rhs_ndim)),
    )
    preferred = None if preferred_element_type is None else dtypes.canonical(preferred_element_type)
    of_lhs, of_rhs = aval_of(lhs).dtype, aval_of(rhs).dtype
    wide = dtypes.promote_types(of_lhs, of_rhs)
    if of_lhs != of_rhs and wide in (of_lhs, of_rhs):
        lhs, rhs = as_dtype(lhs, wide), as_dtype(rhs, wide)
    return bind(dot_general_p, lhs, rhs, dimension_numbers=numbers, preferred_element_type=preferred)


def dot(
    lhs: Value,
    rhs: Value,
    precision: Any = None,
    preferred_element_type: Any = None,
    *,
    dimension_numbers: Any = None,
    out_sharding: Any = None,
) -> Value:
    """The product of two vectors or matrices; with ``dimension_numbers`` it is ``dot_general``."""
    if dimension_numbers is None:
        a, b = aval_of(lhs), aval_of(rhs)
        if not (1 <= a.ndim <= 2 and 1 <= b.ndim <= 2):
            raise ShapeError(
                f"dot takes vectors and matrices, not lhs {a} and rhs {b}."
                " Use dot_general or batch_matmul for more dimensions, mul for scalars."
            )
        dimension_numbers = (((a.ndim - 1,), (0,)), ((), ()))
    return dot_general(lhs, rhs, dimension_numbers, precision, preferred_element_type)


def batch_matmul(lhs: Value, rhs: Value, precision: Any = None) -> Value:
    """Matrix products over equal leading batch dimensions: ``(..., n, k)`` by ``(..., k, m)`` is ``(..., n, m)``."""
    a, b = aval_of(lhs), aval_of(rhs)
    if a.ndim < 2 or a.ndim != b.ndim:
        raise ShapeError(f"batch_matmul takes two operands of one rank, at least 2; lhs is {a}, rhs is {b}")
    batch = tuple(range(a.ndim - 2))
    return dot_general(lhs, rhs, (((a.ndim - 1,), (a.ndim - 2,)), (batch, batch)), precision)
