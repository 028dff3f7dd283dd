"""Cumulative sum, product, extremes and log-sum-exp along one axis, from either end; and linear recurrences.

The derivative of a product is a linear recurrence, whose derivatives are linear recurrences.  Those of extremes and log-sum-exps are a scan of (value, tangent) pairs under an associative combination, in
log2(n) steps of whole-array primitives (Hillis and Steele, 1986).  They divide by nothing, so zeros and ties are
safe, and they are differentiable again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..ir import Aval
from ..primitive import Primitive
from ..trace import aval_of, bind
from .checks import FLOAT, NUMBER, REAL, DTypeClass, canonical_axis, check_axes, check_dtype, check_same_types
from .elementwise import (
    abs as abs_,
)
from .elementwise import (
    add,
    div,
    exp,
    gt,
    is_finite,
    log1p,
    lt,
    mul,
    neg,
    select,
    sub,
)
from .elementwise import (
    max as max_,
)
from .elementwise import (
    min as min_,
)
from .elementwise_tables import NOT_LINEAR
from .helpers import Value, align_batch, axes_after_batch, def_jvp_each, def_linear, ones_like, quiet, zeros_like
from .joining import pad

__all__ = [
    "cumlogsumexp",
    "cumlogsumexp_p",
    "cummax",
    "cummax_p",
    "cummin",
    "cummin_p",
    "cumprod",
    "cumprod_p",
    "cumsum",
    "cumsum_p",
    "linear_recurrence",
    "linear_recurrence_p",
]


def _accumulate(ufunc: np.ufunc) -> Callable[..., np.ndarray]:
    """``ufunc.accumulate`` from either end; 16-bit floats in float32, each element rounded once."""

    def impl(x: np.ndarray, *, axis: int, reverse: bool) -> np.ndarray:
        half = dtypes.is_float(x.dtype) and x.dtype.itemsize == 2
        y = np.flip(x, axis) if reverse else x
        out = ufunc.accumulate(y, axis=axis, dtype=dtypes.float32 if half else x.dtype).astype(x.dtype, copy=False)
        return np.flip(out, axis) if reverse else out

    return impl


def _cumulative(name: str, allowed: DTypeClass, ufunc: np.ufunc) -> Primitive:
    prim = Primitive(name, typed_by=())

    def abstract(x: Aval, *, axis: int, reverse: bool) -> Aval:
        check_axes(name, "axis", (axis,), x.ndim)
        check_dtype(name, x, allowed)
        return x

    def batch(size: int, args: Sequence[Value], dims: Sequence[int], *, axis: int, reverse: bool) -> tuple[Value, int]:
        (after,) = axes_after_batch((axis,), dims[0])
        return bind(prim, args[0], axis=after, reverse=reverse), dims[0]

    prim.def_abstract(abstract)
    prim.def_impl(quiet(_accumulate(ufunc)))
    prim.def_batch(batch)
    return prim


def _function(prim: Primitive, doc: str) -> Callable[..., Value]:
    """The public function of a cumulative primitive."""

    def f(operand: Value, axis: int = 0, reverse: bool = False) -> Value:
        axis = canonical_axis(prim.name, axis, len(aval_of(operand).shape))
        return bind(prim, operand, axis=axis, reverse=bool(reverse))

    f.__name__ = f.__qualname__ = prim.name
    f.__doc__ = doc
    return f


cumsum_p = _cumulative("cumsum", NUMBER, np.add)
cumprod_p = _cumulative("cumprod", NUMBER, np.multiply)
cummax_p = _cumulative("cummax", REAL, np.maximum)
cummin_p = _cumulative("cummin", REAL, np.minimum)
cumlogsumexp_p = _cumulative("cumlogsumexp", FLOAT, np.logaddexp)

cumsum = _function(
    cumsum_p, "The sums of the first 1, 2, 3 ... elements along the axis (of the last ones if ``reverse``)."
)
cumprod = _function(cumprod_p, "The products of the first 1, 2, 3 ... elements along the axis.")
cummax = _function(cummax_p, "The greatest of the first 1, 2, 3 ... elements along the axis; NaN from a NaN on.")
cummin = _function(cummin_p, "The least of the first 1, 2, 3 ... elements along the axis; NaN from a NaN on.")
cumlogsumexp = _function(cumlogsumexp_p, "log(sum(exp(x))) of the first 1, 2, 3 ... elements, without overflow.")

def_linear(cumsum_p, lambda ct, aval, *, axis, reverse: cumsum(ct, axis, not reverse))

# ------------------------------------------------------------------------------- linear recurrences

linear_recurrence_p = Primitive("linear_recurrence")


@linear_recurrence_p.def_abstract
def _linear_recurrence_abstract(a: Aval, b: Aval, *, axis: int, reverse: bool) -> Aval:
    check_axes("linear_recurrence", "axis", (axis,), a.ndim)
    check_dtype("linear_recurrence", a, NUMBER)
    check_same_types("linear_recurrence", (a, b))
    return b


@linear_recurrence_p.def_impl
@quiet
def _linear_recurrence_impl(a: np.ndarray, b: np.ndarray, *, axis: int, reverse: bool) -> np.ndarray:
    half = dtypes.is_float(b.dtype) and b.dtype.itemsize == 2
    out = b.astype(dtypes.float32) if half else b.copy()
    factors, sums = (
        np.moveaxis(np.flip(v, axis) if reverse else v, axis, 0) for v in (a.astype(out.dtype, copy=False), out)
    )
    for k in range(1, len(sums)):
        sums[k] += factors[k] * sums[k - 1]
    return out.astype(b.dtype, copy=False)


def _shifted(x: Value, axis: int, by: int, first: float) -> Value:
    """``x`` moved along the axis by one, towards the end (``by`` = 1) or the beginning (-1), with ``first`` behind it."""
    edges = [(by, -by, 0) if i == axis else (0, 0, 0) for i in range(len(aval_of(x).shape))]
    return pad(x, first, edges)


def _cumprod_jvp(t: Value, out: Value, x: Value, *, axis: int, reverse: bool) -> Value:
    """Of y[k] = x[k] y[k-1]: dy[k] = x[k] dy[k-1] + y[k-1] dx[k]."""
    before = _shifted(out, axis, -1 if reverse else 1, 1)
    return linear_recurrence(x, mul(before, t), axis, reverse)


@linear_recurrence_p.def_jvp
def _linear_recurrence_jvp(
    primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, *, axis: int, reverse: bool
) -> Value:
    """ds[k] = a[k] ds[k-1] + (s[k-1] da[k] + db[k])."""
    (a, _), (ta, tb) = primals, tangents
    added = tb
    if ta is not None:
        added = mul(_shifted(out, axis, -1 if reverse else 1, 0), ta)
        added = added if tb is None else add(added, tb)
    return linear_recurrence(a, added, axis, reverse)


@linear_recurrence_p.def_transpose
def _linear_recurrence_transpose(
    ct: Value, inputs: Sequence[Any], *, axis: int, reverse: bool
) -> tuple[Value | None, ...]:
    """Of the terms: c[k] = ct[k] + a[k+1] c[k+1], a recurrence from the other end."""
    a, _ = inputs
    return None, linear_recurrence(_shifted(a, axis, 1 if reverse else -1, 0), ct, axis, not reverse)


@linear_recurrence_p.def_batch
def _linear_recurrence_batch(
    size: int, args: Sequence[Value], dims: Sequence[int | None], *, axis: int, reverse: bool
) -> tuple[Value, int]:
    return bind(linear_recurrence_p, *align_batch(size, args, dims), axis=axis + 1, reverse=reverse), 0


def linear_recurrence(a: Value, b: Value, axis: int = 0, reverse: bool = False) -> Value:
    """s[k] = a[k] s[k-1] + b[k] along the axis, s[0] = b[0] (from the other end if ``reverse``)."""
    axis = canonical_axis("linear_recurrence", axis, len(aval_of(b).shape))
    return bind(linear_recurrence_p, a, b, axis=axis, reverse=bool(reverse))


def_jvp_each(cumprod_p, _cumprod_jvp)

# ------------------------------------------------------------------------- derivatives by pair scan

Pair = tuple[Value, ...]


def _scan(
    combine: Callable[[Pair, Pair], Pair], pair: Pair, identity: Sequence[float], axis: int, reverse: bool
) -> Pair:
    """Inclusive scan of tuples of arrays: after step k each element combines the 2^k elements that end there.

    ``identity`` is what moves in at the edge: combining with it must change nothing.
    """
    shape = aval_of(pair[0]).shape
    shift = 1
    while shift < shape[axis]:
        edges = (-shift, shift, 0) if reverse else (shift, -shift, 0)
        config = [edges if i == axis else (0, 0, 0) for i in range(len(shape))]
        earlier = tuple([pad(v, e, config) for v, e in zip(pair, identity)])
        pair = combine(earlier, pair)
        shift *= 2
    return pair


def _log_add(a: Pair, b: Pair) -> Pair:
    """(log(e^p + e^q), the mean of s and r weighted with e^p and e^q); the weights of two -inf are 0."""
    (p, s), (q, r) = a, b
    apart = neg(abs_(sub(p, q)))
    largest = max_(p, q)
    total = select(is_finite(largest), add(largest, log1p(exp(apart))), largest)
    safe = select(is_finite(total), total, zeros_like(total))
    return total, add(mul(s, exp(sub(p, safe))), mul(r, exp(sub(q, safe))))


def _extreme(
    extreme: Callable[[Value, Value], Value], beats: Callable[[Value, Value], Value]
) -> Callable[[Pair, Pair], Pair]:
    """(value, sum of the tangents at that value, their number): the winner's, or both of a tie."""

    def combine(a: Pair, b: Pair) -> Pair:
        (p, s, m), (q, r, n) = a, b
        first, second = beats(p, q), beats(q, p)

        def merge(u: Value, v: Value) -> Value:
            return add(select(second, zeros_like(u), u), select(first, zeros_like(v), v))

        return extreme(p, q), merge(s, r), merge(m, n)

    return combine


def _cumlogsumexp_jvp(t: Value, out: Value, x: Value, *, axis: int, reverse: bool) -> Value:
    return _scan(_log_add, (x, t), (-np.inf, 0), axis, reverse)[1]


def _cumextreme_jvp(
    extreme: Callable[[Value, Value], Value], beats: Callable[[Value, Value], Value], identity: float
) -> Callable[..., Value]:
    """The mean of the tangents at the extreme elements so far: ties share, as in reduce_max."""

    def jvp(t: Value, out: Value, x: Value, *, axis: int, reverse: bool) -> Value:
        triple = (x, t, ones_like(x))
        _, total, count = _scan(_extreme(extreme, beats), triple, (identity, 0, 0), axis, reverse)
        return div(total, count)

    return jvp


def_jvp_each(cummax_p, _cumextreme_jvp(max_, gt, -np.inf))
def_jvp_each(cummin_p, _cumextreme_jvp(min_, lt, np.inf))
def_jvp_each(cumlogsumexp_p, _cumlogsumexp_jvp)
for _prim in (cumprod_p, cummax_p, cummin_p, cumlogsumexp_p):
    _prim.no_transpose(NOT_LINEAR)
