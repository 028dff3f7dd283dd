"""Products of arrays: dot, matmul, tensordot, outer and their kin, all on ``dot_general``."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..errors import ShapeError
from ..plans import planned, replayed
from ..primitives import joining, shaping
from ..primitives.linalg import dot_general, dot_general_p
from ..silence import quiet
from ..trace import Tracer
from . import binary
from .axes import axis_tuple, canonical_axis
from .core import Value, apply, broadcast_shapes, buffers_of, operand, promote_dtype, zero_of
from .indexing import getitem
from .manipulation import moveaxis, ravel
from .rearranging import diagonal
from .reductions import sum as sum_
from .unary import conjugate

__all__ = [
    "cross",
    "dot",
    "inner",
    "kron",
    "matmul",
    "matvec",
    "outer",
    "tensordot",
    "trace",
    "vdot",
    "vecdot",
    "vecmat",
]


def _operands(name: str, a: Any, b: Any, least: int = 0) -> list[Value]:
    """Two operands of one dtype (shapes untouched), each with at least so many dimensions."""
    if type(a) is type(b) is Tracer and a.dtype == b.dtype:  # the common case while tracing
        x, y = a, b
    else:
        x, y = promote_dtype(operand(a, f"argument 1 of {name}"), operand(b, f"argument 2 of {name}"))
    if x.ndim < least or y.ndim < least:
        hint = " Use * for scalars." if name == "matmul" else ""
        raise ShapeError(
            f"{name} takes arrays with at least {least} dimension{'s' * (least > 1)}; found shapes {x.shape} and {y.shape}.{hint}"
        )
    return [x, y]


def _check_sizes(name: str, x: Value, y: Value, i: int, j: int) -> None:
    if x.shape[i] != y.shape[j]:
        raise ShapeError(
            f"{name} of shapes {x.shape} and {y.shape}: axis {i} of the first has size {x.shape[i]}, axis {j} of the second"
            f" {y.shape[j]}; they must be equal"
        )


def _product(x: Value, y: Value, contract: Any, batch: Any, precision: Any, preferred: Any) -> Value:
    numbers = (contract, batch)
    if precision is None and preferred is None:  # the dimensions are plain ints and have been checked
        return apply(dot_general_p, x, y, dimension_numbers=numbers, preferred_element_type=None)
    return dot_general(x, y, numbers, precision, preferred)


COMMON_DTYPES = (dtypes.float32, dtypes.float64, dtypes.complex64, dtypes.complex128)


def _product_at_once(f: Any, a: Any, b: Any, precision: Any, preferred: Any) -> Value | None:
    """The product of known vectors or matrices by NumPy; None where the long way is needed."""
    buffers = buffers_of(a, b) if precision is None and preferred is None else None
    if buffers is None or not (1 <= buffers[0].ndim <= 2 and 1 <= buffers[1].ndim <= 2):
        return None
    try:
        out = quiet.run(f, *buffers)
    except (ValueError, RuntimeError):
        return None
    return Array(out if type(out) is np.ndarray else np.asarray(out))


def dot(
    a: Any,
    b: Any,
    *,
    precision: Any = None,
    preferred_element_type: Any = None,
    out: Any = None,
    out_sharding: Any = None,
) -> Value:
    """The product over the last axis of ``a`` and the second-last (or only) axis of ``b``."""
    found = _product_at_once(np.dot, a, b, precision, preferred_element_type)
    return _dot(a, b, precision, preferred_element_type) if found is None else found


@planned
def _dot(a: Any, b: Any, precision: Any, preferred_element_type: Any) -> Value:
    x, y = _operands("dot", a, b)
    if x.ndim == 0 or y.ndim == 0:
        return binary.multiply(x, y)
    i, j = x.ndim - 1, max(y.ndim - 2, 0)
    _check_sizes("dot", x, y, i, j)
    return _product(x, y, ((i,), (j,)), ((), ()), precision, preferred_element_type)


def matmul(
    a: Any,
    b: Any,
    *,
    precision: Any = None,
    preferred_element_type: Any = None,
    out: Any = None,
    out_sharding: Any = None,
) -> Value:
    """The matrix product; leading axes are batches and broadcast, vectors are rows or columns as needed.

    Only the batch axes that both have are batch dimensions of the product; an axis that one of them lacks, or has
    with size 1, is free: nothing is copied to fit.
    """
    found = _product_at_once(np.matmul, a, b, precision, preferred_element_type)
    return _matmul(a, b, precision, preferred_element_type) if found is None else found


@planned
def _matmul(a: Any, b: Any, precision: Any, preferred_element_type: Any) -> Value:
    x, y = _operands("matmul", a, b, 1)
    i, j = x.ndim - 1, max(y.ndim - 2, 0)
    _check_sizes("matmul", x, y, i, j)
    lead_x, lead_y = x.shape[:-2], y.shape[:-2]
    if not lead_y:
        return _product(x, y, ((i,), (j,)), ((), ()), precision, preferred_element_type)
    try:
        lead = broadcast_shapes(lead_x, lead_y)
    except ShapeError:
        raise ShapeError(f"matmul: the batch shapes {lead_x} and {lead_y} cannot be broadcast together") from None
    n = len(lead)
    x, has_x = _without_stretched(x, lead_x, lead)
    y, has_y = _without_stretched(y, lead_y, lead)
    both = [k for k in range(n) if k in has_x and k in has_y]
    batch = tuple([has_x.index(k) for k in both]), tuple([has_y.index(k) for k in both])
    out = _product(x, y, ((x.ndim - 1,), (y.ndim - 2,)), batch, precision, preferred_element_type)
    # now: the common batch axes, those of x alone, the rows of x, those of y alone, the columns of y
    rows = [n] if x.ndim > len(has_x) + 1 else []
    order = [*both, *[k for k in has_x if k not in both], *rows, *[k for k in has_y if k not in both], n + 1]
    return shaping.transpose(out, [order.index(k) for k in sorted(order)])


def _without_stretched(x: Value, have: tuple[int, ...], lead: tuple[int, ...]) -> tuple[Value, list[int]]:
    """``x`` without the batch axes of size 1 that would be stretched, and the axes of ``lead`` that are left."""
    first = len(lead) - len(have)
    drop = tuple([k for k, m in enumerate(have) if m != lead[first + k]])
    return shaping.squeeze(x, drop), [first + k for k in range(len(have)) if k not in drop]


@planned
def vdot(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Value:
    """The inner product of the flattened arrays, the first conjugated."""
    x, y = _operands("vdot", a, b)
    return dot(conjugate(ravel(x)), ravel(y), precision=precision, preferred_element_type=preferred_element_type)


@planned
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1, precision: Any = None, preferred_element_type: Any = None) -> Value:
    """Inner products along ``axis``, the first operand conjugated; the other axes broadcast."""
    x, y = _operands("vecdot", x1, x2, 1)
    x, y = moveaxis(x, axis, -1), moveaxis(y, axis, -1)
    _check_sizes("vecdot", x, y, x.ndim - 1, y.ndim - 1)
    x, y = shaping.expand_dims(conjugate(x), (x.ndim - 1,)), shaping.expand_dims(y, (y.ndim,))
    out = matmul(x, y, precision=precision, preferred_element_type=preferred_element_type)
    return shaping.squeeze(out, (out.ndim - 2, out.ndim - 1))


@planned
def matvec(x1: Any, x2: Any, /) -> Value:
    """Matrix times vector, batched."""
    x, y = _operands("matvec", x1, x2)
    if x.ndim < 2 or y.ndim < 1:
        raise ShapeError(f"matvec takes matrices and vectors; found shapes {x.shape} and {y.shape}")
    out = matmul(x, shaping.expand_dims(y, (y.ndim,)))
    return shaping.squeeze(out, (out.ndim - 1,))


@planned
def vecmat(x1: Any, x2: Any, /) -> Value:
    """Conjugated vector times matrix, batched."""
    x, y = _operands("vecmat", x1, x2)
    if x.ndim < 1 or y.ndim < 2:
        raise ShapeError(f"vecmat takes vectors and matrices; found shapes {x.shape} and {y.shape}")
    out = matmul(shaping.expand_dims(conjugate(x), (x.ndim - 1,)), y)
    return shaping.squeeze(out, (out.ndim - 2,))


@planned
def inner(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Value:
    """The product over the last axes."""
    x, y = _operands("inner", a, b)
    if x.ndim == 0 or y.ndim == 0:
        return binary.multiply(x, y)
    _check_sizes("inner", x, y, x.ndim - 1, y.ndim - 1)
    return _product(x, y, ((x.ndim - 1,), (y.ndim - 1,)), ((), ()), precision, preferred_element_type)


@planned
def outer(a: Any, b: Any, out: Any = None) -> Value:
    """All products of an element of ``a`` and one of ``b``, both flattened."""
    x, y = map(ravel, _operands("outer", a, b))
    return binary.multiply(shaping.expand_dims(x, (1,)), shaping.expand_dims(y, (0,)))


@planned
def tensordot(
    a: Any,
    b: Any,
    axes: Any = 2,
    *,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Value:
    """The product summed over pairs of axes: a number (last of ``a`` with first of ``b``), or two lists."""
    x, y = _operands("tensordot", a, b)
    if np.ndim(axes) == 0:
        n = int(axes)
        if n < 0 or n > min(x.ndim, y.ndim):
            raise ShapeError(f"tensordot over {n} axes of arrays with {x.ndim} and {y.ndim} dimensions")
        i, j = tuple(range(x.ndim - n, x.ndim)), tuple(range(n))
    else:
        first, second = axes
        i = tuple([canonical_axis(q, x.ndim) for q in axis_tuple(first)])
        j = tuple([canonical_axis(q, y.ndim) for q in axis_tuple(second)])
    if len(i) != len(j) or any(x.shape[s] != y.shape[t] for s, t in zip(i, j)):
        raise ShapeError(f"tensordot of shapes {x.shape} and {y.shape} over axes {i} and {j}: the sizes must be equal")
    return _product(x, y, (i, j), ((), ()), precision, preferred_element_type)


@planned
def kron(a: Any, b: Any) -> Value:
    """The Kronecker product."""
    x, y = _operands("kron", a, b)
    n = max(x.ndim, y.ndim)
    x, y = (shaping.expand_dims(v, tuple(range(n - v.ndim))) for v in (x, y))
    xs = shaping.reshape(x, tuple(itertools.chain.from_iterable((s, 1) for s in x.shape)))
    ys = shaping.reshape(y, tuple(itertools.chain.from_iterable((1, t) for t in y.shape)))
    return shaping.reshape(binary.multiply(xs, ys), tuple([s * t for s, t in zip(x.shape, y.shape)]))


@planned
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Value:
    """The cross product of vectors of size 2 or 3 (of two of size 2: its third component)."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = _operands("cross", a, b, 1)
    x, y = moveaxis(x, axisa, -1), moveaxis(y, axisb, -1)
    if x.shape[-1] not in (2, 3) or y.shape[-1] not in (2, 3):
        raise ShapeError(f"cross takes vectors of size 2 or 3; found sizes {x.shape[-1]} and {y.shape[-1]}")

    def component(i: int, j: int) -> Value:
        p, q = (binary.multiply(getitem(x, (..., s)), getitem(y, (..., t))) for s, t in ((i, j), (j, i)))
        return binary.subtract(p, q)

    if x.shape[-1] == 2 and y.shape[-1] == 2:
        return component(0, 1)
    x, y = (
        v if v.shape[-1] == 3 else joining.pad(v, zero_of(v), ((0, 0, 0),) * (v.ndim - 1) + ((0, 1, 0),))
        for v in (x, y)
    )
    parts = [component((k + 1) % 3, (k + 2) % 3) for k in range(3)]
    return moveaxis(joining.concatenate([shaping.expand_dims(q, (q.ndim,)) for q in parts], parts[0].ndim), -1, axisc)


@replayed
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Value:
    """The sum of a diagonal."""
    return sum_(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)
