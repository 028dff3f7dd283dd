"""What every function of ``fx.numpy`` does first: accept array-likes, promote dtypes, broadcast shapes.

Promotion and broadcasting become explicit equations here, so no primitive ever has to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array, to_numpy
from ..config import config
from ..errors import AxisError, DTypeError, ShapeError, TreeError
from ..ir import Aval
from ..primitives import shaping
from ..primitives.elementwise import convert_element_type
from ..trace import Tracer, aval_of, is_python_scalar

__all__ = [
    "as_value", "as_type", "astype_result", "broadcast_value", "canonical_axes", "canonical_axis", "default_dtype",
    "inexact", "promote", "promote_inexact", "result_dtype", "shape_of",
]  # fmt: skip

Value = Any


def as_value(x: Any, name: str = "argument") -> Value:
    """An array-like as an Array or Tracer (Python scalars stay weak); lists may hold traced values.

    Raises:
        TreeError: for anything that is no array (a string, a dict, None).
    """
    t = type(x)
    if t is Array or t is Tracer:
        return x
    if is_python_scalar(x):
        a = aval_of(x)
        return Array(np.asarray(x, a.dtype), a.weak)
    if t is np.ndarray or isinstance(x, np.generic):
        return Array(to_numpy(x))
    if isinstance(x, (list, tuple)):
        return _from_sequence(x, name)
    if hasattr(x, "__fx_array__"):
        return x.__fx_array__()
    if hasattr(x, "__array__") or hasattr(x, "__array_interface__"):
        return Array(to_numpy(np.asarray(x)))
    raise TreeError(
        f"{name} is a {t.__name__} ({x!r}), not an array. fx.numpy functions take arrays, numbers and nested lists of them."
    )


def _from_sequence(x: Sequence[Any], name: str) -> Value:
    leaves: list[Any] = []
    _leaves(x, leaves)
    if not any(type(v) in (Tracer, Array) for v in leaves):
        try:
            a = np.asarray(x)
        except ValueError as e:
            raise ShapeError(f"{name} is a nested list whose rows have different lengths: {e}") from None
        if a.size == 0 and not leaves:
            return Array(a.astype(config.default_float))
        weak = all(is_python_scalar(v) for v in leaves)
        return Array(a.astype(default_dtype(a.dtype)) if weak else to_numpy(a))
    rows = [as_value(v, name) for v in x]
    shapes = {r.shape for r in rows}
    if len(shapes) > 1:
        raise ShapeError(f"{name} is a list of arrays of different shapes {sorted(shapes)}; they must be equal to be stacked")
    rows = promote(*rows)
    return shaping.concatenate([shaping.expand_dims(r, (0,)) for r in rows], 0)


def _leaves(x: Any, out: list[Any]) -> None:
    for v in x:
        if isinstance(v, (list, tuple)):
            _leaves(v, out)
        else:
            out.append(v)


def default_dtype(d: np.dtype) -> np.dtype:
    """The dtype of a new array made from Python numbers that NumPy would make a ``d``."""
    d = dtypes.canonical(d)
    if dtypes.is_integer(d):
        return config.default_int if d == dtypes.int64 else d
    if dtypes.is_float(d):
        return config.default_float
    if dtypes.is_complex(d):
        return dtypes.complex_dtype(config.default_float)
    return d


def shape_of(x: Any) -> tuple[int, ...]:
    return aval_of(x).shape


# -------------------------------------------------------------------------------------- promotion


def as_type(x: Value, dtype: Any) -> Value:
    """``x`` converted to ``dtype``, unless it is that already and strong."""
    d = dtypes.canonical(dtype)
    a = aval_of(x)
    if a.dtype == d and not a.weak:
        return x
    return convert_element_type(x, d)


def result_dtype(*xs: Any) -> np.dtype:
    """The dtype that an operation on these arrays has."""
    return dtypes.promote(*[(a.dtype, a.weak) for a in map(aval_of, xs)])[0]


def inexact(d: np.dtype) -> np.dtype:
    """The dtype itself if float or complex; float64 for 64-bit integers, else the default float."""
    if dtypes.is_inexact(d):
        return d
    return dtypes.float64 if d.itemsize == 8 else config.default_float


def _convert(x: Value, a: Aval, d: np.dtype) -> Value:
    if a.dtype == d:
        return x
    if a.weak and not a.shape and type(x) is Array:  # a Python number takes the dtype without an equation
        return x._data.astype(d)[()]
    return convert_element_type(x, d)


def promote(*xs: Value) -> list[Value]:
    """Operands of one dtype and one shape."""
    avals = [aval_of(x) for x in xs]
    d, _ = dtypes.promote(*[(a.dtype, a.weak) for a in avals])
    return _broadcast_all([_convert(x, a, d) for x, a in zip(xs, avals)], [a.shape for a in avals])


def promote_inexact(*xs: Value) -> list[Value]:
    """As ``promote``, and integers and booleans become floats."""
    avals = [aval_of(x) for x in xs]
    d = inexact(dtypes.promote(*[(a.dtype, a.weak) for a in avals])[0])
    return _broadcast_all([_convert(x, a, d) for x, a in zip(xs, avals)], [a.shape for a in avals])


def _broadcast_all(xs: list[Value], shapes: list[tuple[int, ...]]) -> list[Value]:
    first = shapes[0]
    if all(s == first for s in shapes):
        return xs
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        listed = ", ".join(map(str, shapes))
        raise ShapeError(
            f"operands of shapes {listed} cannot be broadcast together: counted from the right, sizes must be equal or 1"
        ) from None
    return [broadcast_value(x, shape) for x in xs]


def broadcast_value(x: Value, shape: tuple[int, ...]) -> Value:
    """``x`` broadcast to ``shape`` by NumPy's rules."""
    have = shape_of(x)
    if have == shape:
        return x
    lead = len(shape) - len(have)
    kept = [i for i, n in enumerate(have) if n == shape[lead + i] and (n != 1 or shape[lead + i] == 1)]
    if any(have[i] != 1 for i in range(len(have)) if i not in kept) or lead < 0:
        raise ShapeError(f"an array of shape {have} cannot be broadcast to shape {shape}")
    dropped = tuple(i for i in range(len(have)) if i not in kept)
    x = shaping.squeeze(x, dropped) if dropped else x
    return shaping.broadcast_in_dim(x, shape, tuple(lead + i for i in kept))


def astype_result(x: Value, dtype: Any) -> Value:
    """For functions with a ``dtype=`` argument."""
    return x if dtype is None else as_type(x, dtype)


# ------------------------------------------------------------------------------------------- axes


def canonical_axis(axis: Any, ndim: int, name: str = "axis") -> int:
    """A non-negative axis.

    Raises:
        AxisError: if it is out of range; DTypeError if it is not an integer.
    """
    try:
        i = int(axis.__index__())
    except (AttributeError, TypeError) as e:
        if type(axis) is Tracer:
            raise
        raise DTypeError(f"{name} must be an int; found {axis!r}") from e
    if not -ndim <= i < ndim:
        raise AxisError(f"{name} {i} is out of range for an array with {ndim} dimension{'s' * (ndim != 1)}")
    return i % ndim


def canonical_axes(axis: Any, ndim: int, name: str = "axis") -> tuple[int, ...]:
    """Sorted non-negative axes; None means all.

    Raises:
        AxisError: out of range, or given twice.
    """
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(canonical_axis(a, ndim, name) for a in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    if len(set(axes)) != len(axes):
        raise AxisError(f"{name}={axis!r} names an axis twice (the array has {ndim} dimensions)")
    return tuple(sorted(axes))
