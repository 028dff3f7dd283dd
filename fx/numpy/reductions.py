"""Reductions: sum, product, extremes, logic, and the same ignoring NaN; the ``reduce`` of the ufuncs."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..config import ALERT, config
from ..errors import (
    ArgumentError,
    DTypeError,
    ShapeError,
)
from ..plans import planned, replayed
from ..primitive import Primitive
from ..primitives import elementwise as p
from ..primitives import reductions as r
from ..primitives import shaping
from ..silence import quiet
from ..trace import Tracer, bind
from . import binary
from .axes import canonical_axes
from .core import COMMON, Value, apply, as_type, as_typed, as_value, broadcast_value, filled
from .unary import isnan, truth

__all__ = [
    "all", "amax", "amin", "any", "count_nonzero", "max", "min", "minmax", "nanmax", "nanmin", "nanprod", "nansum", "prod", "ptp", "sum",
]  # fmt: skip


def _at_once(ufunc: np.ufunc, x: Array, axis: Any, keepdims: bool) -> Value | None:
    """The reduction of a known array by NumPy, for the common dtypes and one axis or all; None where the long way has to
    say what is meant, or what is wrong."""
    a = x._buffer
    if (
        ALERT
        or a is None
        or x.weak_type
        or id(a.dtype) not in COMMON
        or not (axis is None or (type(axis) is int and a.ndim))
    ):
        return None
    try:
        out = quiet.run(ufunc.reduce, a, axis, None, None, keepdims)
    except (ValueError, RuntimeError, TypeError):
        return None
    return Array(out if type(out) is np.ndarray else np.asarray(out))


def reduced(prim: Primitive, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
    """One reduction equation over sorted axes; ``keepdims`` leaves them with size 1."""
    if type(x) is not Tracer:
        y = apply(prim, x, axes=axes)
    else:
        y = bind(prim, x, axes=axes) if ALERT else x.builder.record_one(prim, x, axes=axes)
    return shaping.expand_dims(y, axes) if keepdims else y


def masked(x: Value, where: Any, identity: Any) -> Value:
    """``x`` with the identity of the reduction in place of the elements that ``where`` leaves out."""
    if where is None or where is True:
        return x
    w = broadcast_value(as_type(as_value(where), np.bool_), x.shape)
    return p.select(w, x, filled(x.shape, identity, x.dtype))


def sum_dtype(d: np.dtype) -> np.dtype:
    """Sums of small integers and booleans are taken in the default int (as NumPy does with its own)."""
    if d == dtypes.bool_:
        return config.default_int
    if dtypes.is_integer(d) and d.itemsize < config.default_int.itemsize:
        return np.dtype(d.kind + str(config.default_int.itemsize))
    return d


def _accumulating(
    prim: Primitive, ufunc: np.ufunc, identity: int, op: Callable[..., Value], doc: str
) -> Callable[..., Value]:
    @replayed
    def reduce(
        a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None,
        promote_integers: bool = True,
    ) -> Value:  # fmt: skip
        if type(a) is Array and dtype is None and initial is None and where is None:
            y = _at_once(ufunc, a, axis, keepdims)
            if y is not None:
                return y
        x = a if type(a) is Array or type(a) is Tracer else as_value(a)
        t = x.aval
        if dtype is not None or t.weak or t.dtype.kind not in "fcV":
            if dtype is not None:
                x = as_type(x, dtype)
            elif promote_integers or x.dtype == dtypes.bool_:
                x = as_type(x, sum_dtype(x.dtype))
            if x.dtype == dtypes.bool_:  # asked for by dtype: or, and
                return (any if identity == 0 else all)(x, axis, None, keepdims, where=where)
        if where is not None and where is not True:
            x = masked(x, where, identity)
        axes = tuple(range(len(t.shape))) if axis is None else canonical_axes(axis, len(t.shape))
        y = reduced(prim, x, axes, keepdims)
        return y if initial is None else op(y, as_typed(initial, y.dtype))

    reduce.__doc__ = doc
    return reduce


sum = _accumulating(r.reduce_sum_p, np.add, 0, binary.add, "The sum along ``axis`` (over all axes by default).")
prod = _accumulating(
    r.reduce_prod_p, np.multiply, 1, binary.multiply, "The product along ``axis`` (over all axes by default)."
)


def _extreme(
    name: str, prim: Primitive, ufunc: np.ufunc, logical: Primitive, op: Callable[..., Value], largest: bool
) -> Callable[..., Value]:
    @replayed
    def reduce(
        a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
    ) -> Value:
        if type(a) is Array and initial is None and where is None and a.dtype.kind == "f":
            y = _at_once(ufunc, a, axis, keepdims)
            if y is not None:
                return y
        x = as_value(a)
        axes = canonical_axes(axis, x.ndim)
        if initial is None:
            if builtins.any(x.shape[i] == 0 for i in axes):
                raise ShapeError(f"{name} of an empty axis has no value (shape {x.shape}, axis {axis}); pass initial=")
            if where is not None and where is not True:
                raise ArgumentError(f"{name} with where= needs initial=, the value where nothing is left")
        x = masked(x, where, r.extreme_identity(x.dtype, largest=not largest))
        y = reduced(logical if x.dtype == dtypes.bool_ else prim, x, axes, keepdims)
        return y if initial is None else op(y, as_typed(initial, y.dtype))

    reduce.__doc__ = f"The {'greatest' if largest else 'least'} element along ``axis``; NaN if there is one."
    return reduce


max = amax = _extreme("max", r.reduce_max_p, np.maximum, r.reduce_or_p, binary.maximum, True)
min = amin = _extreme("min", r.reduce_min_p, np.minimum, r.reduce_and_p, binary.minimum, False)


@planned
def minmax(
    a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> tuple[Value, Value]:
    """The least and the greatest element along ``axis``, read once; NaN if there is one.

    Args:
        initial: where no element is left, or a pair of one for the least and one for the greatest.

    >>> import fx.numpy as np
    >>> np.minmax(np.array([[2, 5, 1], [3, -7, 4]]), axis=1)
    (Array([ 1, -7], dtype=int32), Array([5, 4], dtype=int32))
    """
    first, last = initial if isinstance(initial, tuple) else (initial, initial)
    return min(a, axis, None, keepdims, first, where), max(a, axis, None, keepdims, last, where)


@planned
def all(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = None) -> Value:
    """True where every element along ``axis`` is true (not zero)."""
    x = masked(truth(as_value(a)), where, True)
    return reduced(r.reduce_and_p, x, canonical_axes(axis, x.ndim), keepdims)


@planned
def any(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = None) -> Value:
    """True where some element along ``axis`` is true (not zero)."""
    x = masked(truth(as_value(a)), where, False)
    return reduced(r.reduce_or_p, x, canonical_axes(axis, x.ndim), keepdims)


@planned
def count_nonzero(a: Any, axis: Any = None, keepdims: bool = False) -> Value:
    """How many elements along ``axis`` are not zero."""
    return sum(truth(as_value(a)), axis, keepdims=keepdims)


@planned
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Value:
    """The greatest minus the least element along ``axis``."""
    return binary.subtract(max(a, axis, keepdims=keepdims), min(a, axis, keepdims=keepdims))


# ------------------------------------------------------------------------------------- ignoring NaN


def nan_as(x: Value, number: Any) -> Value:
    """``x`` with a number in place of NaN."""
    return p.select(isnan(x), filled(x.shape, number, x.dtype), x) if dtypes.is_inexact(x.dtype) else x


@planned
def nansum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Value:
    """``sum`` with NaN as 0."""
    return sum(nan_as(as_value(a), 0), axis, dtype, None, keepdims, initial, where)


@planned
def nanprod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Value:
    """``prod`` with NaN as 1."""
    return prod(nan_as(as_value(a), 1), axis, dtype, None, keepdims, initial, where)


def _nan_extreme(
    f: Callable[..., Value], largest: bool, a: Any, axis: Any, keepdims: bool, initial: Any, where: Any
) -> Value:
    x = as_value(a)
    if not dtypes.is_inexact(x.dtype):
        return f(x, axis, None, keepdims, initial, where)
    y = f(nan_as(x, r.extreme_identity(x.dtype, largest=not largest)), axis, None, keepdims, initial, where)
    if initial is not None:
        return y
    return p.select(all(isnan(x), axis, keepdims=keepdims), filled(y.shape, np.nan, y.dtype), y)


@planned
def nanmax(
    a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Value:
    """``max`` ignoring NaN (NaN if there is nothing else)."""
    return _nan_extreme(max, True, a, axis, keepdims, initial, where)


@planned
def nanmin(
    a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Value:
    """``min`` ignoring NaN (NaN if there is nothing else)."""
    return _nan_extreme(min, False, a, axis, keepdims, initial, where)


# ---------------------------------------------------------------------------------- ufunc.reduce


def _bits(prim: Primitive, op: Callable[..., Value], identity: int) -> Callable[..., Value]:
    def reduce(a: Any, axis: Any = None, keepdims: bool = False, initial: Any = None, where: Any = None) -> Value:
        x = as_value(a)
        if dtypes.is_inexact(x.dtype):
            raise DTypeError(f"{op.__name__}.reduce needs integers or booleans; found {x.dtype}")
        every = -1 if x.dtype.kind == "i" else bool(identity) if x.dtype == dtypes.bool_ else ~x.dtype.type(0)
        y = reduced(prim, masked(x, where, every if identity else False), canonical_axes(axis, x.ndim), keepdims)
        return y if initial is None else op(y, as_typed(initial, y.dtype))

    return reduce


_reductions: list[tuple[Any, Callable[..., Value]]] = [
    (binary.add, sum), (binary.multiply, prod), (binary.maximum, max), (binary.minimum, min), (binary.fmax, nanmax), (binary.fmin, nanmin),
    (binary.logical_and, all), (binary.logical_or, any), (binary.bitwise_and, _bits(r.reduce_and_p, binary.bitwise_and, -1)),
    (binary.bitwise_or, _bits(r.reduce_or_p, binary.bitwise_or, 0)),
    (binary.logical_xor, lambda x, **options: binary.bitwise_xor.reduce(truth(x), **options)),
]  # fmt: skip
for _ufunc, _reduction in _reductions:
    _ufunc.def_reduce(_reduction)
