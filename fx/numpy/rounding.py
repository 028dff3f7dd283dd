"""Elementwise functions with options: clip, round, nan_to_num, isclose and their kin."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .. import dtypes
from ..config import in_full_width
from ..errors import DTypeError
from ..plans import planned, replayed
from ..primitives import elementwise as p
from ..primitives import helpers
from ..trace import is_python_scalar
from . import binary, unary
from .core import (
    Value,
    as_type,
    as_value,
    broadcast_shapes,
    broadcast_value,
    filled,
    inexact,
    operand,
    promote,
    promote_inexact,
)
from .positions import known_value
from .reductions import all as all_
from .types import finfo

__all__ = [
    "allclose", "angle", "around", "array_equal", "array_equiv", "clip", "iscomplex", "isclose", "isneginf", "isposinf", "isreal",
    "nan_to_num", "real_if_close", "round",
]  # fmt: skip


@replayed
def clip(
    arr: Any = None, /, min: Any = None, max: Any = None, *, a: Any = None, a_min: Any = None, a_max: Any = None
) -> Value:
    """``arr`` limited to the interval [min, max]; None leaves a side open."""
    x = as_value(arr if a is None else a)
    lo, hi = min if a_min is None else a_min, max if a_max is None else a_max
    for v in (x, lo, hi):
        if v is not None and type(v) not in (int, float) and dtypes.is_complex(as_value(v).dtype):
            raise DTypeError("clip of complex arrays is not defined; clip the real and imaginary parts")
    if lo is None and hi is None:
        return helpers.unchanged(x)
    x = x if lo is None else binary.maximum(lo, x)
    return x if hi is None else binary.minimum(hi, x)


@in_full_width
def _in_floats(x: Value, n: int) -> Value:
    """Integers rounded to 10^-n as float64."""
    return as_type(round(as_type(x, np.float64), n), x.dtype)


def round(a: Any, decimals: int = 0, out: Any = None) -> Value:
    """To ``decimals`` places after the point (before it, if negative), halves to even."""
    x = as_value(a)
    n = operator.index(decimals)
    d = x.dtype
    if not dtypes.is_inexact(d):
        return helpers.unchanged(x) if n >= 0 else _in_floats(x, n)
    if n == 0:
        return unary.rint(x)
    return _round_to(x, n)


@planned
def _round_to(x: Value, n: int) -> Value:
    d = x.dtype
    x = as_type(x, np.float32) if d.itemsize == 2 else x
    if abs(n) > math.log10(
        finfo(x.dtype).max
    ):  # no such place has a digit, or every number is less than one unit of it
        return as_type(x if n > 0 else p.mul(x, helpers.zeros_like(x)), d)
    scale = helpers.full_like(x, 10.0 ** abs(n))
    up, down = (p.mul, p.div) if n > 0 else (p.div, p.mul)
    return as_type(down(unary.rint(up(x, scale)), scale), d)


around = round


@planned
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Value:
    """NaN and infinities replaced by numbers (by default 0 and the greatest and least finite ones)."""
    v = as_value(x)
    if dtypes.is_complex(v.dtype):
        return p.complex(*[nan_to_num(part(v), copy, nan, posinf, neginf) for part in (p.real, p.imag)])
    if not dtypes.is_inexact(v.dtype):
        return helpers.unchanged(v)
    limits = finfo(v.dtype)

    def put(mask: Value, number: Any, y: Value) -> Value:
        new = (
            unary.constant(v, number)
            if is_python_scalar(number)
            else broadcast_value(as_type(as_value(number), v.dtype), v.shape)
        )
        return p.select(mask, new, y)

    y = put(unary.isnan(v), nan, v)
    y = put(p.eq(v, unary.constant(v, np.inf)), float(limits.max) if posinf is None else posinf, y)
    return put(p.eq(v, unary.constant(v, -np.inf)), float(limits.min) if neginf is None else neginf, y)


@planned
def angle(z: Any, deg: bool = False) -> Value:
    """The argument of complex numbers, in radians."""
    v = as_value(z)
    v = as_type(v, inexact(v.dtype))
    if not dtypes.is_complex(v.dtype):
        v = p.stop_gradient(v)  # constant on either side of 0, where the formula for complex numbers underflows
    out = binary.arctan2(unary.imag(v), unary.real(v))
    return unary.rad2deg(out) if deg else out


def real_if_close(a: Any, tol: float = 100) -> Value:
    """The real part of a known complex array whose imaginary parts are all nearly 0; else the array.

    tol: how many units in the last place of 1 the imaginary parts may be off; below 1, how much.
    """
    x = as_value(a)
    if not dtypes.is_complex(x.dtype):
        return x
    parts = known_value(unary.imag(x), "real_if_close", "Take the real part, or call")
    limit = tol * finfo(x.dtype).eps if tol > 1 else tol
    return unary.real(x) if (np.abs(parts) < limit).all() else x


# -------------------------------------------------------------------------------------- comparing


@planned
def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Value:
    """``|a - b| <= atol + rtol |b|``; infinities are close to themselves."""
    x, y = promote_inexact(operand(a), operand(b))
    bound = binary.add(atol, binary.multiply(rtol, unary.absolute(y)))
    near = binary.less_equal(unary.absolute(p.sub(x, y)), bound)
    finite = p.bitwise_and(unary.isfinite(x), unary.isfinite(y))
    finite, near, same = promote(finite, near, p.eq(x, y))
    out = p.select(finite, near, same)
    if not equal_nan:
        return out
    return binary.logical_or(out, p.bitwise_and(unary.isnan(x), unary.isnan(y)))


@planned
def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Value:
    """Whether ``isclose`` holds everywhere."""
    return all_(isclose(a, b, rtol, atol, equal_nan))


@planned
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Value:
    """Whether shapes and all elements are equal."""
    a, b = as_value(a1), as_value(a2)
    if a.shape != b.shape:
        return filled((), False, dtypes.bool_)
    same = binary.equal(a, b)
    if equal_nan:
        same = p.bitwise_or(same, p.bitwise_and(unary.isnan(a), unary.isnan(b)))
    return all_(same)


@planned
def array_equiv(a1: Any, a2: Any) -> Value:
    """Whether the arrays are equal once broadcast."""
    a, b = as_value(a1), as_value(a2)
    try:
        broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return filled((), False, dtypes.bool_)
    return all_(binary.equal(a, b))


def _is_infinity(x: Any, sign: int) -> Value:
    v = as_value(x)
    if dtypes.is_complex(v.dtype):
        raise DTypeError("isposinf and isneginf are not defined for complex arrays; use isinf, or the real part")
    return binary.equal(v, sign * np.inf) if dtypes.is_float(v.dtype) else filled(v.shape, False, dtypes.bool_)


@planned
def isneginf(x: Any, /, out: Any = None) -> Value:
    """Is -inf."""
    return _is_infinity(x, -1)


@planned
def isposinf(x: Any, /, out: Any = None) -> Value:
    """Is inf."""
    return _is_infinity(x, 1)


@planned
def isreal(x: Any) -> Value:
    """The imaginary part is zero."""
    return unary.logical_not(iscomplex(x))


@planned
def iscomplex(x: Any) -> Value:
    """The imaginary part is not zero."""
    v = as_value(x)
    if not dtypes.is_complex(v.dtype):
        return filled(v.shape, False, dtypes.bool_)
    return unary.truth(p.imag(v))
