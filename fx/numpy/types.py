"""Questions about dtypes: limits, promotion, kinds."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from .. import dtypes
from ..config import config
from ..errors import (
    ArgumentError,
    DTypeError,
)
from ..trace import aval_of
from .core import as_value, default_dtype, inexact
from .inspection import of_kind

__all__ = [
    "can_cast", "common_type", "finfo", "isdtype", "iscomplexobj", "isrealobj", "isscalar", "issubdtype", "iterable", "min_scalar_type", "promote_types", "result_type",
]  # fmt: skip


class finfo:
    """The limits of a float dtype (``eps``, ``max``, ``tiny`` ...), numbers of that dtype; of the parts, for a complex one.

    With ``fx.config.array_api`` they are Python floats, as the standard has them.

    >>> import fx.numpy as fnp
    >>> fnp.finfo(fnp.float32).eps
    np.float32(1.1920929e-07)
    """

    def __init__(self, dtype: Any) -> None:
        d, _ = _typed(dtype)
        self._limits: Any = dtypes.limits(d)
        self.dtype: np.dtype = np.dtype(self._limits.dtype)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._limits, name)
        is_float = dtypes.is_float(getattr(value, "dtype", dtypes.bool_))
        return float(value) if is_float and config.array_api else value

    def __repr__(self) -> str:
        return f"finfo(min={self.min}, max={self.max}, eps={self.eps}, dtype={self.dtype})"


def promote_types(a: Any, b: Any) -> np.dtype:
    """The dtype of an operation on arrays of two dtypes; ``int``, ``float`` and ``complex`` stand for Python numbers."""
    return result_type(*[np.dtype(d) if isinstance(d, str) else d for d in (a, b)])


def result_type(*args: Any) -> np.dtype:
    """The dtype of an operation on the arguments (arrays, numbers, dtypes)."""
    if not args:
        raise ArgumentError("result_type takes at least one array, number or dtype")
    if all(isinstance(getattr(a, "dtype", None), dtypes.KeyDType) for a in args):
        return args[0].dtype  # type: ignore[no-any-return]
    return dtypes.canonical(dtypes.promote(*[_typed(a) for a in args])[0])


def _typed(a: Any) -> tuple[np.dtype, bool]:
    """(dtype, weak) of an array, number or dtype."""
    if isinstance(a, (type, np.dtype, str)) or a is None:
        if a is int or a is float or a is complex:  # not ==, which also holds for the dtypes they become
            return default_dtype(np.dtype(a)), True
        return dtypes.canonical(a), False
    if hasattr(a, "dtype"):  # also of what stands for an array, or describes one
        return dtypes.canonical(a.dtype), bool(getattr(a, "weak_type", False))
    v = aval_of(as_value(a))
    return v.dtype, v.weak


def isdtype(dtype: Any, kind: Any) -> builtins.bool:
    """Whether a dtype is one, or of a kind, as the array API names them ("bool", "integral", "real floating" ...)."""
    return of_kind(dtypes.canonical(dtype), kind)


def issubdtype(arg1: Any, arg2: Any) -> builtins.bool:
    """Whether a dtype is of a kind (``issubdtype(float32, floating)``); bfloat16 is floating."""
    return dtypes.issubdtype(arg1, arg2)


def can_cast(from_: Any, to: Any, casting: str = "safe") -> builtins.bool:
    """Whether a cast is allowed."""
    source, target = _typed(from_)[0], dtypes.canonical(to)
    if dtypes.is_bfloat16(source) or dtypes.is_bfloat16(target):
        return casting == "unsafe" or dtypes.promote_types(source, target) == target
    return np.can_cast(source, target, casting)  # type: ignore[arg-type]


def min_scalar_type(a: Any) -> np.dtype:
    """The smallest dtype that holds a number; the dtype of an array.

    >>> import fx.numpy as fnp
    >>> fnp.min_scalar_type(300)
    dtype('uint16')
    """
    return dtypes.canonical(np.min_scalar_type(a)) if np.isscalar(a) else aval_of(as_value(a)).dtype


def common_type(*arrays: Any) -> np.dtype:
    """The inexact dtype that holds all arrays: that of their sum, as a float.

    Raises:
        DTypeError: one is boolean.
    """
    found = [aval_of(as_value(a)) for a in arrays]
    if any(dtypes.is_bool(a.dtype) for a in found):
        raise DTypeError("common_type: there is no float type of boolean arrays; convert them with astype")
    return inexact(result_type(*[a.dtype for a in found]))


def iterable(y: Any) -> builtins.bool:
    """Whether ``y`` can be iterated."""
    return np.iterable(y)


def iscomplexobj(x: Any) -> builtins.bool:
    """The dtype is complex."""
    return dtypes.is_complex(_typed(x)[0])


def isrealobj(x: Any) -> builtins.bool:
    """The dtype is not complex."""
    return not iscomplexobj(x)


def isscalar(element: Any) -> builtins.bool:
    """A Python or NumPy number, or a 0-d array."""
    return np.isscalar(element) or (hasattr(element, "ndim") and element.ndim == 0)
