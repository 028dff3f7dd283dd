"""Reductions and scans: sum, mean, var, max, cumsum and their kin."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..config import config
from ..errors import AxisError, ShapeError, UnsupportedFunctionError
from ..primitives import cumulative as c
from ..primitives import elementwise as p
from ..primitives import helpers, shaping
from ..primitives import reductions as r
from .core import as_type, as_value, broadcast_value, canonical_axes, canonical_axis, inexact, promote, promote_inexact
from .ufuncs import registered as u

Value = Any

__all__ = [
    "all", "amax", "amin", "any", "around", "average", "clip", "corrcoef", "count_nonzero", "cov", "cumprod", "cumsum", "cumulative_prod",
    "cumulative_sum", "diff", "ediff1d", "gradient", "max", "mean", "median", "min", "nan_to_num", "nancumprod",
    "nancumsum", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum", "nanvar", "prod", "ptp", "quantile", "percentile",
    "nanmedian", "nanquantile", "nanpercentile", "round", "std", "sum", "trace", "trapezoid", "var", "ufunc_reduce", "ufunc_accumulate",
]  # fmt: skip


def _restore(x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    return shaping.expand_dims(x, axes) if keepdims and axes else x


def _masked(x: Value, where: Any, identity: Any) -> Value:
    """Elements that ``where`` leaves out are replaced by the identity of the reduction."""
    if where is None or where is True:
        return x
    w = as_value(where)
    shape = np.broadcast_shapes(w.shape, x.shape)
    x = broadcast_value(x, shape)
    return p.select(broadcast_value(as_type(w, np.bool_), shape), x, helpers.full_like(x, identity))


def _sum_dtype(d: np.dtype) -> np.dtype:
    """Sums of small integers and booleans are taken in the default int (as NumPy does with its own)."""
    if d == dtypes.bool_:
        return config.default_int
    if dtypes.is_integer(d) and d.itemsize < config.default_int.itemsize:
        return np.dtype(d.kind + str(config.default_int.itemsize))
    return d


def _accumulating(f: Callable[..., Value], identity: int, op: Callable[[Value, Value], Value], doc: str) -> Callable[..., Value]:
    def reduce(
        a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None,
        promote_integers: bool = True,
    ) -> Value:  # fmt: skip
        x = as_value(a)
        if dtype is not None:
            x = as_type(x, dtype)
        elif promote_integers or x.dtype == dtypes.bool_:
            x = as_type(x, _sum_dtype(x.dtype)) if _sum_dtype(x.dtype) != x.dtype else x
        axes = canonical_axes(axis, x.ndim)
        y = f(_masked(x, where, identity), axes)
        if initial is not None:
            y = op(*promote(y, as_type(as_value(initial), y.dtype)))
        return _restore(y, axes, keepdims)

    reduce.__doc__ = doc
    return reduce


sum = _accumulating(r.reduce_sum, 0, p.add, "The sum along ``axis`` (all axes by default).")
prod = _accumulating(r.reduce_prod, 1, p.mul, "The product along ``axis``.")


def _extreme(name: str, f: Callable[..., Value], logical: Callable[..., Value], largest: bool) -> Callable[..., Value]:
    def reduce(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Value:
        x = as_value(a)
        axes = canonical_axes(axis, x.ndim)
        if initial is None and builtins.any(x.shape[i] == 0 for i in axes):
            raise ShapeError(f"{name} of an empty axis has no value (shape {x.shape}, axis {axis}); pass initial=")
        identity = r.extreme_identity(x.dtype, largest=not largest) if x.dtype != dtypes.bool_ else not largest
        x = _masked(x, where, identity)
        y = (logical if x.dtype == dtypes.bool_ else f)(x, axes)
        if initial is not None:
            y = u["maximum" if largest else "minimum"](y, as_type(as_value(initial), y.dtype))
        return _restore(y, axes, keepdims)

    reduce.__doc__ = f"The {'largest' if largest else 'smallest'} element along ``axis``; NaN if there is one."
    return reduce


max = amax = _extreme("max", r.reduce_max, r.reduce_or, True)
min = amin = _extreme("min", r.reduce_min, r.reduce_and, False)


def all(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = None) -> Value:
    """True where every element along ``axis`` is true (not zero)."""
    x = _masked(_truth(a), where, True)
    axes = canonical_axes(axis, x.ndim)
    return _restore(r.reduce_and(x, axes), axes, keepdims)


def any(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = None) -> Value:
    """True where some element along ``axis`` is true (not zero)."""
    x = _masked(_truth(a), where, False)
    axes = canonical_axes(axis, x.ndim)
    return _restore(r.reduce_or(x, axes), axes, keepdims)


def _truth(a: Any) -> Value:
    x = as_value(a)
    return x if x.dtype == dtypes.bool_ else p.ne(x, helpers.zeros_like(x))


def count_nonzero(a: Any, axis: Any = None, keepdims: bool = False) -> Value:
    """How many elements along ``axis`` are not zero."""
    return sum(_truth(a), axis=axis, keepdims=keepdims)


def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Value:
    """Largest minus smallest."""
    return u["subtract"](max(a, axis, keepdims=keepdims), min(a, axis, keepdims=keepdims))


# ------------------------------------------------------------------------------------------ moments


def _count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    n = 1
    for i in axes:
        n *= shape[i]
    return n


def _wide(d: np.dtype) -> np.dtype:
    """Half-precision moments are computed in float32."""
    return dtypes.float32 if dtypes.is_float(d) and d.itemsize == 2 else d


def mean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = None) -> Value:
    """The arithmetic mean along ``axis``; integers give floats."""
    x = as_value(a)
    d = dtypes.canonical(dtype) if dtype is not None else inexact(x.dtype)
    x = as_type(x, _wide(inexact(d)))
    axes = canonical_axes(axis, x.ndim)
    total = sum(x, axes, keepdims=keepdims, where=where)
    if where is None or where is True:
        n: Any = helpers.full_like(total, _count(x.shape, axes))
    else:
        n = sum(broadcast_value(as_type(as_value(where), x.dtype), x.shape), axes, keepdims=keepdims)
    return as_type(p.div(*promote(total, n)), d)


def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: bool = False) -> Any:
    """The weighted mean (with the sum of weights, if ``returned``)."""
    x = as_value(a)
    if weights is None:
        avg = mean(x, axis, keepdims=keepdims)
        axes = canonical_axes(axis, x.ndim)
        total = helpers.full_like(avg, _count(x.shape, axes))
    else:
        w = as_value(weights)
        x, w0 = promote_inexact(x, x)[0], as_type(w, inexact(w.dtype))
        if w0.shape != x.shape:
            if axis is None or w0.ndim != 1:
                raise ShapeError(f"weights of shape {w0.shape} do not fit an array of shape {x.shape}; give axis and 1-d weights")
            i = canonical_axis(axis, x.ndim)
            w0 = shaping.reshape(w0, tuple(n if j == i else 1 for j, n in enumerate(x.shape)))
        x, w0 = promote(x, w0)
        total = sum(w0, axis, keepdims=keepdims)
        avg = p.div(sum(p.mul(x, w0), axis, keepdims=keepdims), total)
    return (avg, total) if returned else avg


def var(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False, *, where: Any = None,
    correction: float | None = None, mean: Any = None,
) -> Value:  # fmt: skip
    """The variance along ``axis``: mean squared distance from the mean, with ``ddof`` taken off the count."""
    x = as_value(a)
    ddof = ddof if correction is None else correction
    d = dtypes.canonical(dtype) if dtype is not None else dtypes.real_dtype(inexact(x.dtype))
    x = as_type(x, _wide(inexact(x.dtype)))
    axes = canonical_axes(axis, x.ndim)
    centre = globals()["mean"](x, axes, keepdims=True, where=where) if mean is None else as_value(mean)
    x2, centre = promote(x, centre)
    centred = p.sub(x2, centre)
    square = p.real(p.mul(centred, p.conj(centred))) if dtypes.is_complex(x.dtype) else p.square(centred)
    total = sum(square, axes, keepdims=keepdims, where=where)
    if where is None or where is True:
        n: Any = helpers.full_like(total, _count(x.shape, axes) - ddof)
    else:
        n = sum(broadcast_value(as_type(as_value(where), total.dtype), x.shape), axes, keepdims=keepdims)
        n = p.sub(n, helpers.full_like(n, ddof))
    return as_type(p.div(total, n), d)


def std(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False, *, where: Any = None,
    correction: float | None = None, mean: Any = None,
) -> Value:  # fmt: skip
    """The standard deviation: the square root of ``var``."""
    return p.sqrt(var(a, axis, dtype, None, ddof, keepdims, where=where, correction=correction, mean=mean))


def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None, fweights: Any = None, aweights: Any = None) -> Value:
    """The covariance matrix of variables (rows) over observations (columns)."""
    from .contraction import matmul  # contraction stands on reductions

    if fweights is not None or aweights is not None:
        raise UnsupportedFunctionError("cov with fweights or aweights is not there; weight the observations yourself")
    x = as_value(m)
    x = as_type(x, inexact(x.dtype))
    x = shaping.reshape(x, (1, x.size)) if x.ndim < 2 else x
    x = x if rowvar or x.shape[0] == 1 else shaping.transpose(x, (1, 0))
    if y is not None:
        z = as_value(y)
        z = shaping.reshape(z, (1, z.size)) if z.ndim < 2 else z
        z = z if rowvar or z.shape[0] == 1 else shaping.transpose(z, (1, 0))
        d = promote_inexact(helpers.full((), 0, x.dtype), helpers.full((), 0, inexact(z.dtype)))[0].dtype
        x = shaping.concatenate([as_type(x, d), as_type(z, d)], 0)
    n = x.shape[1] - (ddof if ddof is not None else 0 if bias else 1)
    centred = u["subtract"](x, mean(x, 1, keepdims=True))
    out = matmul(centred, shaping.transpose(u["conjugate"](centred), (1, 0)))
    out = p.div(out, helpers.full_like(out, n))
    return shaping.reshape(out, ()) if out.shape == (1, 1) else out


def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Value:
    """The matrix of correlation coefficients."""
    m = cov(x, y, rowvar)
    if m.ndim == 0:
        return p.div(m, m)
    n = m.shape[0]
    on = p.eq(*[shaping.broadcasted_iota(dtypes.int32, (n, n), i) for i in (0, 1)])
    d = p.sqrt(u["real"](r.reduce_sum(p.select(on, m, helpers.zeros_like(m)), (1,))))
    out = u["divide"](u["divide"](m, shaping.reshape(d, (n, 1))), d)
    one = helpers.full_like(u["real"](out), 1.0)
    if dtypes.is_complex(out.dtype):
        return p.complex(p.clamp(p.neg(one), p.real(out), one), p.clamp(p.neg(one), p.imag(out), one))
    return p.clamp(p.neg(one), out, one)


# --------------------------------------------------------------------------------------------- scans


def _scan(f: Callable[..., Value], doc: str) -> Callable[..., Value]:
    def scan(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Value:
        x = as_value(a)
        x = as_type(x, dtype if dtype is not None else _sum_dtype(x.dtype))
        if axis is None:
            x, axis = shaping.reshape(x, (x.size,)), 0
        return f(x, canonical_axis(axis, x.ndim))

    scan.__doc__ = doc
    return scan


cumsum = _scan(c.cumsum, "The cumulative sum along ``axis`` (of the flattened array by default).")
cumprod = _scan(c.cumprod, "The cumulative product along ``axis``.")


def _array_api_scan(f: Callable[..., Value], identity: int) -> Callable[..., Value]:
    def scan(x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False) -> Value:
        x = as_value(x)
        if axis is None:
            if x.ndim != 1:
                raise AxisError(f"axis must be given for an array with {x.ndim} dimensions")
            axis = 0
        i = canonical_axis(axis, x.ndim)
        y = f(x, i, dtype)
        if include_initial:
            first = helpers.full(tuple(1 if j == i else n for j, n in enumerate(y.shape)), identity, y.dtype)
            y = shaping.concatenate([first, y], i)
        return y

    return scan


cumulative_sum = _array_api_scan(cumsum, 0)
cumulative_prod = _array_api_scan(cumprod, 1)


def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Value:
    """The n-th difference of neighbours along ``axis``."""
    x = as_value(a)
    if x.ndim == 0:
        raise ShapeError("diff needs an array with at least one dimension")
    if n < 0:
        raise ValueError(f"diff needs n >= 0; found {n}")
    i = canonical_axis(axis, x.ndim)
    parts = []
    for v in (prepend, None, append):
        if v is None:
            continue
        w = as_value(v)
        parts.append(broadcast_value(w, tuple(1 if j == i else s for j, s in enumerate(x.shape))) if w.ndim == 0 else w)
    if prepend is not None or append is not None:
        pieces = ([parts[0]] if prepend is not None else []) + [x] + ([parts[-1]] if append is not None else [])
        d = dtypes.promote(*[(q.dtype, False) for q in pieces])[0]
        x = shaping.concatenate([as_type(q, d) for q in pieces], i)
    for _ in range(n):
        if x.shape[i] < 1:
            break
        hi, lo = shaping.slice_in_dim(x, 1, x.shape[i], axis=i), shaping.slice_in_dim(x, 0, x.shape[i] - 1, axis=i)
        x = p.ne(hi, lo) if x.dtype == dtypes.bool_ else p.sub(hi, lo)
    return x


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Value:
    """Differences of neighbours of the flattened array."""
    x = as_value(ary)
    x = shaping.reshape(x, (x.size,))
    parts = [as_value(v) for v in (to_begin,) if v is not None] + [diff(x)] + [as_value(v) for v in (to_end,) if v is not None]
    return shaping.concatenate([as_type(shaping.reshape(q, (q.size,)), x.dtype) for q in parts], 0)


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int | None = None) -> Any:
    """Second-order central differences inside, first-order at the edges, along each axis."""
    x = as_value(f)
    x = as_type(x, inexact(x.dtype))
    axes = tuple(range(x.ndim)) if axis is None else tuple(
        canonical_axis(i, x.ndim) for i in (axis if isinstance(axis, (tuple, list)) else (axis,))
    )
    if len(varargs) not in (0, 1, len(axes)):
        raise TypeError(f"gradient takes no spacing, one, or one for each of the {len(axes)} axes; {len(varargs)} given")
    if edge_order not in (None, 1):
        raise UnsupportedFunctionError("gradient with edge_order=2 is not there; use edge_order=1")
    steps = list(varargs) * (len(axes) if len(varargs) == 1 else 1) or [1.0] * len(axes)
    out = [_gradient_along(x, as_value(h), i) for h, i in zip(steps, axes)]
    return out[0] if len(out) == 1 else out


def _gradient_along(x: Value, h: Value, i: int) -> Value:
    n = x.shape[i]
    if n < 2:
        raise ShapeError(f"gradient needs at least 2 points along axis {i}; the shape is {x.shape}")

    def cut(lo: int, hi: int) -> Value:
        return shaping.slice_in_dim(x, lo, hi, axis=i)

    def along(v: Value) -> Value:
        return shaping.reshape(v, tuple(v.shape[0] if j == i else 1 for j in range(x.ndim)))

    div = u["divide"]
    if h.ndim == 0:
        inner = div(p.sub(cut(2, n), cut(0, n - 2)), u["multiply"](h, 2))
        first, last = div(p.sub(cut(1, 2), cut(0, 1)), h), div(p.sub(cut(n - 1, n), cut(n - 2, n - 1)), h)
    else:
        if h.shape != (n,):
            raise ShapeError(f"the coordinates along axis {i} have shape {h.shape}; expected ({n},)")
        dx = as_type(diff(h), x.dtype)
        d1, d2 = along(shaping.slice_in_dim(dx, 0, n - 2)), along(shaping.slice_in_dim(dx, 1, n - 1))
        mul, add, sub = u["multiply"], u["add"], u["subtract"]
        a = div(u["negative"](d2), mul(d1, add(d1, d2)))
        b = div(sub(d2, d1), mul(d1, d2))
        cc = div(d1, mul(d2, add(d1, d2)))
        inner = add(add(mul(a, cut(0, n - 2)), mul(b, cut(1, n - 1))), mul(cc, cut(2, n)))
        first = div(p.sub(cut(1, 2), cut(0, 1)), along(shaping.slice_in_dim(dx, 0, 1)))
        last = div(p.sub(cut(n - 1, n), cut(n - 2, n - 1)), along(shaping.slice_in_dim(dx, n - 2, n - 1)))
    return shaping.concatenate([as_type(q, x.dtype) for q in (first, inner, last)], i)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Value:
    """The integral by the trapezoidal rule."""
    v = as_value(y)
    i = canonical_axis(axis, v.ndim)
    v = as_type(v, inexact(v.dtype))
    n = v.shape[i]
    mid = u["add"](shaping.slice_in_dim(v, 1, n, axis=i), shaping.slice_in_dim(v, 0, n - 1, axis=i))
    if x is None:
        h = as_value(dx)
    else:
        w = as_value(x)
        h = diff(w, axis=0 if w.ndim == 1 else i)
        h = shaping.reshape(h, tuple(h.shape[0] if j == i else 1 for j in range(v.ndim))) if w.ndim == 1 else h
    return u["multiply"](sum(u["multiply"](mid, h), i), 0.5)


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Value:
    """The sum of a diagonal."""
    from .manipulation import diagonal  # manipulation stands on reductions

    return sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


# ---------------------------------------------------------------------------------- limits and rounding


def clip(arr: Any, /, min: Any = None, max: Any = None, *, a_min: Any = None, a_max: Any = None, a: Any = None) -> Value:
    """``arr`` limited to the interval [min, max]; None leaves a side open."""
    x = as_value(arr)
    lo, hi = min if min is not None else a_min, max if max is not None else a_max
    if lo is not None:
        x = u["maximum"](lo, x)
    if hi is not None:
        x = u["minimum"](hi, x)
    return x


def round(a: Any, decimals: int = 0, out: Any = None) -> Value:
    """To ``decimals`` places, halves to even."""
    x = as_value(a)
    decimals = operator.index(decimals)
    if not dtypes.is_inexact(x.dtype):
        if decimals >= 0:
            return x
        f = helpers.full_like(x, 10 ** (-decimals))
        return p.mul(p.div(p.add(x, p.div(f, helpers.full_like(f, 2))), f), f)
    if decimals == 0:
        return u["rint"](x)
    scale = helpers.full_like(x, 10.0 ** abs(decimals))
    return p.div(u["rint"](p.mul(x, scale)), scale) if decimals > 0 else p.mul(u["rint"](p.div(x, scale)), scale)


around = round


def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Value:
    """NaN and infinities replaced by numbers (by default 0 and the largest finite ones)."""
    v = as_value(x)
    if dtypes.is_complex(v.dtype):
        return p.complex(nan_to_num(p.real(v), nan=nan, posinf=posinf, neginf=neginf), nan_to_num(p.imag(v), nan=nan, posinf=posinf, neginf=neginf))
    if not dtypes.is_inexact(v.dtype):
        return v
    info = np.finfo(v.dtype) if v.dtype.kind == "f" else None
    big = float(info.max) if info is not None else float(np.float32(3.3895314e38))

    def put(mask: Value, value: Any, y: Value) -> Value:
        return p.select(mask, broadcast_value(as_type(as_value(value), v.dtype), v.shape), y)

    y = put(u["isnan"](v), nan, v)
    y = put(p.eq(v, helpers.full_like(v, np.inf)), big if posinf is None else posinf, y)
    return put(p.eq(v, helpers.full_like(v, -np.inf)), -big if neginf is None else neginf, y)


# ------------------------------------------------------------------------------------- ignoring NaN


def _nan_as(x: Value, value: Any) -> Value:
    return x if not dtypes.is_inexact(x.dtype) else p.select(u["isnan"](x), helpers.full_like(x, value), x)


def nansum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Value:
    """``sum`` with NaN as 0."""
    return sum(_nan_as(as_value(a), 0), axis, dtype, None, keepdims, initial, where)


def nanprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Value:
    """``prod`` with NaN as 1."""
    return prod(_nan_as(as_value(a), 1), axis, dtype, None, keepdims, initial, where)


def nancumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Value:
    """``cumsum`` with NaN as 0."""
    return cumsum(_nan_as(as_value(a), 0), axis, dtype)


def nancumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Value:
    """``cumprod`` with NaN as 1."""
    return cumprod(_nan_as(as_value(a), 1), axis, dtype)


def _nan_extreme(f: Callable[..., Value], fill: float, a: Any, axis: Any, keepdims: bool, initial: Any, where: Any) -> Value:
    x = as_value(a)
    if not dtypes.is_inexact(x.dtype):
        return f(x, axis, None, keepdims, initial, where)
    out = f(_nan_as(x, fill), axis, None, keepdims, initial, where)
    every = all(u["isnan"](x), axis, keepdims=keepdims)
    return p.select(every, helpers.full_like(out, np.nan), out)


def nanmax(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Value:
    """``max`` ignoring NaN (NaN if there is nothing else)."""
    return _nan_extreme(max, -np.inf, a, axis, keepdims, initial, where)


def nanmin(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Value:
    """``min`` ignoring NaN (NaN if there is nothing else)."""
    return _nan_extreme(min, np.inf, a, axis, keepdims, initial, where)


def _valid(x: Value, where: Any) -> Value:
    ok = u["logical_not"](u["isnan"](x))
    return ok if where is None or where is True else u["logical_and"](ok, where)


def nanmean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, where: Any = None) -> Value:
    """``mean`` ignoring NaN."""
    x = as_value(a)
    return mean(_nan_as(x, 0), axis, dtype, None, keepdims, where=_valid(x, where))


def nanvar(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False, where: Any = None) -> Value:
    """``var`` ignoring NaN."""
    x = as_value(a)
    return var(_nan_as(x, 0), axis, dtype, None, ddof, keepdims, where=_valid(x, where))


def nanstd(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False, where: Any = None) -> Value:
    """``std`` ignoring NaN."""
    return p.sqrt(nanvar(a, axis, dtype, None, ddof, keepdims, where))


# ------------------------------------------------------------------------------------- order statistics


def _quantile(a: Any, q: Any, axis: Any, method: str, keepdims: bool, ignore_nan: bool) -> Value:
    from ..primitives.gather_scatter import take_along
    from ..primitives.sorting import sort

    if method not in ("linear", "lower", "higher", "nearest", "midpoint"):
        raise ValueError(f"method must be linear, lower, higher, nearest or midpoint; found {method!r}")
    x = as_value(a)
    x = as_type(x, inexact(x.dtype))
    q = as_type(as_value(q), x.dtype)
    axes = canonical_axes(axis, x.ndim)
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    n = _count(x.shape, axes)
    if n == 0:
        raise ShapeError(f"a quantile of an empty axis has no value (shape {x.shape})")
    x = shaping.reshape(shaping.transpose(x, (*kept, *axes)), (*(x.shape[i] for i in kept), n))
    nans = u["isnan"](x)
    x = sort(x, -1)
    lead = x.shape[:-1]
    if ignore_nan:
        valid = as_type(r.reduce_sum(as_type(p.bitwise_not(nans), np.int32), (x.ndim - 1,)), x.dtype)
    else:
        valid = helpers.full(lead, n, x.dtype)
    shape = (*q.shape, *lead)
    qq = shaping.broadcast_in_dim(q, shape, tuple(range(q.ndim))) if shape else q
    pos = p.mul(qq, broadcast_value(p.max(p.sub(valid, helpers.full_like(valid, 1)), helpers.zeros_like(valid)), shape))
    low, high = p.floor(pos), p.ceil(pos)
    m = len(q.shape)
    flat = shaping.transpose(shaping.reshape(low, (q.size, *lead)), (*range(1, len(lead) + 1), 0))
    flat_hi = shaping.transpose(shaping.reshape(high, (q.size, *lead)), (*range(1, len(lead) + 1), 0))

    def read(i: Value) -> Value:
        v = take_along(x, as_type(i, np.int32), x.ndim - 1, mode="clip")
        return shaping.reshape(shaping.transpose(v, (len(lead), *range(len(lead)))), shape)

    a0, a1 = read(flat), read(flat_hi)
    w = p.sub(pos, low)
    half = helpers.full_like(w, 0.5)
    out = {
        "linear": lambda: p.add(p.mul(a0, p.sub(helpers.ones_like(w), w)), p.mul(a1, w)),
        "lower": lambda: a0,
        "higher": lambda: a1,
        "midpoint": lambda: p.mul(p.add(a0, a1), half),
        "nearest": lambda: p.select(p.gt(w, half), a1, p.select(p.lt(w, half), a0, p.select(p.eq(p.rem(low, helpers.full_like(low, 2)), helpers.zeros_like(low)), a0, a1))),
    }[method]()
    bad = r.reduce_and(nans, (nans.ndim - 1,)) if ignore_nan else r.reduce_or(nans, (nans.ndim - 1,))
    out = p.select(broadcast_value(bad, shape), helpers.full_like(out, np.nan), out)
    return shaping.expand_dims(out, tuple(m + i for i in axes)) if keepdims else out


def quantile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False) -> Value:
    """The q-th quantile (0 <= q <= 1) along ``axis``; NaN if there is one."""
    return _quantile(a, q, axis, method, keepdims, False)


def percentile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False) -> Value:
    """The q-th percentile (0 <= q <= 100)."""
    return _quantile(a, u["divide"](q, 100), axis, method, keepdims, False)


def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Value:
    """The middle value along ``axis`` (the mean of the two middle ones)."""
    return _quantile(a, 0.5, axis, "midpoint", keepdims, False)


def nanquantile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False) -> Value:
    """``quantile`` ignoring NaN."""
    return _quantile(a, q, axis, method, keepdims, True)


def nanpercentile(a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear", keepdims: bool = False) -> Value:
    """``percentile`` ignoring NaN."""
    return _quantile(a, u["divide"](q, 100), axis, method, keepdims, True)


def nanmedian(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Value:
    """``median`` ignoring NaN."""
    return _quantile(a, 0.5, axis, "midpoint", keepdims, True)


# ---------------------------------------------------------------------------------------- ufunc methods


_REDUCERS = {"add": sum, "multiply": prod, "maximum": max, "minimum": min, "logical_and": all, "logical_or": any, "fmax": nanmax, "fmin": nanmin}


def ufunc_reduce(f: Any, x: Value, axis: Any, dtype: Any, keepdims: bool, initial: Any) -> Value:
    """``ufunc.reduce``: the named reduction where there is one, else a left fold over the axis."""
    if dtype is not None:
        x = as_type(x, dtype)
    kwargs: dict[str, Any] = {} if initial is None else {"initial": initial}
    if f.__name__ in ("logical_and", "logical_or"):
        return _REDUCERS[f.__name__](x, axis, None, keepdims)
    if f.__name__ in _REDUCERS:
        return _REDUCERS[f.__name__](x, axis=axis, keepdims=keepdims, **kwargs)
    if f.nin != 2:
        raise ValueError(f"{f.__name__}.reduce: only functions of two operands can be reduced")
    for i in reversed(canonical_axes(axis, x.ndim)):
        rows = [shaping.squeeze(shaping.slice_in_dim(x, j, j + 1, axis=i), (i,)) for j in range(x.shape[i])]
        start = rows if initial is None else [broadcast_value(as_value(initial), rows[0].shape if rows else ()), *rows]
        if not start:
            raise ShapeError(f"{f.__name__}.reduce of an empty axis has no value; pass initial=")
        acc = start[0]
        for row in start[1:]:
            acc = f(acc, row)
        x = shaping.expand_dims(acc, (i,)) if keepdims else acc
    return x


def ufunc_accumulate(f: Any, x: Value, axis: int, dtype: Any) -> Value:
    """``ufunc.accumulate``."""
    if dtype is not None:
        x = as_type(x, dtype)
    i = canonical_axis(axis, x.ndim)
    named = {"add": cumsum, "multiply": cumprod, "maximum": c.cummax, "minimum": c.cummin, "logaddexp": c.cumlogsumexp}
    if f.__name__ in named and x.dtype != dtypes.bool_:
        return named[f.__name__](x, i)
    if f.nin != 2:
        raise ValueError(f"{f.__name__}.accumulate: only functions of two operands can be accumulated")
    rows = [shaping.slice_in_dim(x, j, j + 1, axis=i) for j in range(x.shape[i])]
    for j in range(1, len(rows)):
        rows[j] = f(rows[j - 1], rows[j])
    return shaping.concatenate(rows, i) if rows else x


