"""Along an axis, element after element: cumulative sums, differences, gradient, integral; the ``accumulate`` of the ufuncs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..config import config
from ..errors import (
    ArgumentError,
    AxisError,
    DTypeError,
    ShapeError,
)
from ..plans import planned
from ..primitive import Primitive
from ..primitives import cumulative, helpers, joining, shaping
from ..primitives import elementwise as p
from ..trace import bind
from . import binary
from .axes import axis_tuple, canonical_axis
from .core import (
    Value,
    as_beside,
    as_type,
    as_typed,
    as_value,
    broadcast_value,
    filled,
    inexact,
    operand,
    promote_dtype,
)
from .reductions import nan_as, sum_dtype
from .reductions import sum as sum_
from .selection import where
from .unary import absolute

__all__ = [
    "cumprod", "cumsum", "cumulative_prod", "cumulative_sum", "diff", "ediff1d", "gradient", "nancumprod", "nancumsum", "trapezoid", "unwrap",
]  # fmt: skip


def _scan(prim: Primitive, doc: str) -> Callable[..., Value]:
    @planned
    def scan(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Value:
        x = as_value(a)
        if dtype is not None:
            x = as_type(x, dtype)
        x = as_type(x, config.default_int) if x.dtype == dtypes.bool_ else x
        if axis is None:
            x, axis = shaping.reshape(x, (x.size,)), 0
        return bind(prim, x, axis=canonical_axis(axis, x.ndim), reverse=False)

    scan.__doc__ = doc
    return scan


cumsum = _scan(
    cumulative.cumsum_p,
    "The sums of the first 1, 2, 3 ... elements along ``axis`` (of the flattened array by default).",
)
cumprod = _scan(cumulative.cumprod_p, "The products of the first 1, 2, 3 ... elements along ``axis``.")


def _array_api_scan(f: Callable[..., Value], identity: int, doc: str) -> Callable[..., Value]:
    def scan(x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False) -> Value:
        x = as_value(x)
        if axis is None:
            if x.ndim != 1:
                raise AxisError(f"axis must be given for an array with {x.ndim} dimensions")
            axis = 0
        i = canonical_axis(axis, x.ndim)
        y = f(x, i, sum_dtype(x.dtype) if dtype is None else dtype)
        if include_initial:
            first = filled(tuple([1 if j == i else n for j, n in enumerate(y.shape)]), identity, y.dtype)
            y = joining.concatenate([first, y], i)
        return y

    scan.__doc__ = doc
    return scan


cumulative_sum = _array_api_scan(
    cumsum, 0, "``cumsum`` as the array API has it: small integers become the default int."
)
cumulative_prod = _array_api_scan(
    cumprod, 1, "``cumprod`` as the array API has it: small integers become the default int."
)


@planned
def nancumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Value:
    """``cumsum`` with NaN as 0."""
    return cumsum(nan_as(as_value(a), 0), axis, dtype)


@planned
def nancumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Value:
    """``cumprod`` with NaN as 1."""
    return cumprod(nan_as(as_value(a), 1), axis, dtype)


binary.add.def_accumulate(cumsum)
binary.multiply.def_accumulate(cumprod)
binary.maximum.def_accumulate(lambda x, i: _unless_complex(cumulative.cummax, binary.maximum, x, i))
binary.minimum.def_accumulate(lambda x, i: _unless_complex(cumulative.cummin, binary.minimum, x, i))
binary.logaddexp.def_accumulate(lambda x, i: cumulative.cumlogsumexp(as_type(x, inexact(x.dtype)), i))


def _unless_complex(scan: Callable[..., Value], f: Any, x: Value, i: int) -> Value:
    if dtypes.is_complex(x.dtype):
        raise DTypeError(f"{f.__name__}.accumulate of complex arrays is not there")
    return scan(x, i)


# ------------------------------------------------------------------------------------- differences


def _cut(x: Value, lo: int, hi: int, i: int) -> Value:
    return joining.slice_in_dim(x, lo, hi, axis=i)


def _vector_along(v: Value, i: int, ndim: int) -> Value:
    """A vector laid along axis i of an array with ``ndim`` dimensions."""
    return shaping.reshape(v, tuple([v.shape[0] if j == i else 1 for j in range(ndim)]))


@planned
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Value:
    """The n-th difference of neighbours along ``axis`` (for booleans: whether they differ)."""
    x = as_value(a)
    if x.ndim == 0:
        raise ShapeError("diff needs an array with at least one dimension")
    if n < 0:
        raise ArgumentError(f"diff needs n >= 0; found {n}")
    i = canonical_axis(axis, x.ndim)
    if n == 0:
        return helpers.unchanged(x)
    one = tuple([1 if j == i else s for j, s in enumerate(x.shape)])
    parts = promote_dtype(*[operand(v) for v in (prepend, x, append) if v is not None])
    x = joining.concatenate([v if v.ndim else broadcast_value(v, one) for v in parts], i)
    for _ in range(min(n, x.shape[i])):
        hi, lo = _cut(x, 1, x.shape[i], i), _cut(x, 0, x.shape[i] - 1, i)
        x = p.ne(hi, lo) if x.dtype == dtypes.bool_ else p.sub(hi, lo)
    return x


@planned
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Value:
    """The differences of neighbours of the flattened array, with numbers put before and behind."""
    x = as_value(ary)
    x = diff(shaping.reshape(x, (x.size,)))
    parts = [x if v is x else as_typed(v, x.dtype) for v in (to_begin, x, to_end) if v is not None]
    return joining.concatenate([shaping.reshape(q, (q.size,)) for q in parts], 0)


@planned
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int | None = None) -> Any:
    """Second-order central differences inside, one-sided ones (of order ``edge_order``, 1 or 2) at the edges.

    Args:
        varargs: the spacing: none, one for all axes, or one for each; a number, or the coordinates along the axis.

    >>> import fx.numpy as fnp
    >>> fnp.gradient(fnp.array([0.0, 1.0, 4.0, 9.0]))
    Array([1., 2., 4., 5.], dtype=float32)
    """
    x = as_value(f)
    x = as_type(x, inexact(x.dtype))
    axes = tuple(range(x.ndim)) if axis is None else tuple([canonical_axis(i, x.ndim) for i in axis_tuple(axis)])
    if len(varargs) not in (0, 1, len(axes)):
        raise TypeError(
            f"gradient takes no spacing, one, or one for each of the {len(axes)} axes; {len(varargs)} given"
        )
    if edge_order not in (None, 1, 2):
        raise ArgumentError(f"gradient: edge_order must be 1 or 2; found {edge_order}")
    steps = varargs * len(axes) if len(varargs) == 1 else varargs or (1.0,) * len(axes)
    out = [_gradient_along(x, as_beside(h, x.dtype), i, edge_order or 1) for h, i in zip(steps, axes)]
    return out[0] if len(out) == 1 else out


def _gradient_along(x: Value, h: Value, i: int, order: int) -> Value:
    """Weights from Fornberg (1988) for spacings d1, d2 to the neighbours."""
    n = x.shape[i]
    if n < order + 1:
        raise ShapeError(f"gradient needs at least {order + 1} points along axis {i}; the shape is {x.shape}")
    if h.ndim == 0:
        spacing = broadcast_value(h, (n - 1,))
    elif h.shape == (n,):
        spacing = diff(h)
    else:
        raise ShapeError(f"the coordinates along axis {i} have shape {h.shape}; expected ({n},)")
    d = _vector_along(as_type(spacing, inexact(spacing.dtype)), i, x.ndim)
    add, sub, mul, div = binary.add, binary.subtract, binary.multiply, binary.divide

    def step(lo: int, hi: int) -> Value:
        return _cut(d, lo, hi, i)

    def slope(k: int) -> Value:
        return div(p.sub(_cut(x, k + 1, k + 2, i), _cut(x, k, k + 1, i)), step(k, k + 1))

    if order == 1:
        first, last = slope(0), slope(n - 2)
    else:  # the parabola through three points, at its ends
        d1, d2, e1, e2 = step(0, 1), step(1, 2), step(n - 3, n - 2), step(n - 2, n - 1)
        first = sub(slope(0), mul(div(d1, add(d1, d2)), sub(slope(1), slope(0))))
        last = add(slope(n - 2), mul(div(e2, add(e1, e2)), sub(slope(n - 2), slope(n - 3))))
    parts = [first, last]
    if n > 2:
        d1, d2 = step(0, n - 2), step(1, n - 1)
        left = div(p.sub(_cut(x, 1, n - 1, i), _cut(x, 0, n - 2, i)), d1)
        right = div(p.sub(_cut(x, 2, n, i), _cut(x, 1, n - 1, i)), d2)
        parts.insert(1, div(add(mul(d2, left), mul(d1, right)), add(d1, d2)))
    return joining.concatenate([as_type(q, x.dtype) for q in parts], i)


@planned
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Value:
    """The integral by the trapezoidal rule."""
    v = as_value(y)
    i = canonical_axis(axis, v.ndim)
    v = as_type(v, inexact(v.dtype))
    n = v.shape[i]
    both = p.add(_cut(v, 1, n, i), _cut(v, 0, n - 1, i)) if n else v
    if x is None:
        h = as_beside(dx, v.dtype)
    else:
        w = as_beside(x, v.dtype)
        h = _vector_along(diff(w), i, v.ndim) if w.ndim == 1 else diff(w, axis=i)
    return binary.multiply(sum_(binary.multiply(both, h), i), 0.5)


@planned
def unwrap(p: Any, discont: Any = None, axis: int = -1, period: Any = 2 * np.pi) -> Value:
    """Jumps larger than half a period taken out of a sequence of angles; integers stay so if the period is one."""
    x, _ = promote_dtype(operand(p), operand(period))
    i = canonical_axis(axis, x.ndim)
    if x.shape[i] == 0:
        return x
    step = diff(x, axis=i)
    half, odd = divmod(period, 2) if dtypes.is_integer(x.dtype) else (period / 2, False)
    wrapped = binary.subtract(binary.remainder(binary.add(step, half), period), half)
    if not odd:  # a jump of half a period has two ends that are as near: the one of its sign counts
        at_edge = binary.logical_and(binary.equal(wrapped, -half), binary.greater(step, 0))
        wrapped = where(at_edge, half, wrapped)
    jump = binary.subtract(wrapped, step)
    jump = where(binary.less(absolute(step), half if discont is None else discont), 0, jump)
    total = cumsum(as_type(jump, x.dtype), i)
    return joining.concatenate([_cut(x, 0, 1, i), binary.add(_cut(x, 1, x.shape[i], i), total)], i)
