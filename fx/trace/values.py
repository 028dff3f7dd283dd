"""What values are: their shape, dtype and weakness, and their numbers where they are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import Array, to_numpy
from ..config import config
from ..dtypes import SUPPORTED, bool_, complex64, complex128, float64
from ..errors import DTypeError, NonLinearError
from ..ir import Aval, Literal, Var, aval_of_array
from ..primitive import Linear
from ..sizes import Real, fitting, is_sized
from .tracer import Tracer

__all__ = ["aval_of", "concrete_value", "is_concrete", "is_python_scalar", "is_weak", "scalar_dtype"]


def scalar_dtype(x: Any) -> np.dtype:
    """The dtype of a new array made from the Python scalar ``x``."""
    if isinstance(x, bool):
        return bool_
    if isinstance(x, int):
        d = config.default_int
        if np.iinfo(d).min <= x <= np.iinfo(d).max:
            return d
        if not -(2**63) <= x < 2**64:
            raise DTypeError(f"the Python integer {x} does not fit 64 bits. Convert it: float(x).")
        return np.dtype(np.int64 if x < 2**63 else np.uint64)
    if isinstance(x, float):
        return config.default_float
    return complex128 if config.default_float == float64 else complex64


def is_python_scalar(x: Any) -> bool:
    """True for bool, int, float, complex themselves (``np.float64`` is a subclass of float and not weak)."""
    return type(x) in (float, int, bool, complex)


def aval_of(x: Any) -> Aval:
    """Shape, dtype and weakness of an array, tracer, literal or number."""
    t = type(x)
    if t is Array or t is Tracer or t is Literal or t is Var:
        return x.aval
    if t is np.ndarray and x.dtype in SUPPORTED:
        return aval_of_array(x.shape, x.dtype)
    if is_python_scalar(x):
        return Aval((), scalar_dtype(x), t is not bool)
    if t is Linear:
        raise NonLinearError("it combines two values that both depend on what is transposed")
    if is_sized(x):
        if type(x) is Real:
            return Aval((), config.default_float, True)
        fitting(x, config.default_int)
        return Aval((), config.default_int, True)
    a = to_numpy(x)
    return Aval(a.shape, a.dtype)


def is_weak(x: Any) -> bool:
    """``aval_of(x).weak``."""
    t = type(x)
    if t is np.ndarray:
        return False
    return bool(x.weak_type) if t is Array or t is Tracer else aval_of(x).weak


def is_concrete(x: Any) -> bool:
    """True if ``x`` is not a tracer."""
    return type(x) is not Tracer


def concrete_value(x: Any) -> np.ndarray | None:
    """The NumPy value of ``x``, or None for a tracer whose value is not known while tracing."""
    t = type(x)
    if t is Tracer:
        return x.value
    if t is Array:
        return x._data
    if t is np.ndarray and x.dtype in SUPPORTED:
        return x
    if t is Literal:
        return None if is_sized(x.value) else np.asarray(x.value)
    if is_python_scalar(x):
        return np.asarray(x, scalar_dtype(x))
    return None if is_sized(x) else to_numpy(x)
