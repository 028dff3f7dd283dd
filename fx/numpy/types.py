"""Questions about dtypes: limits, promotion, kinds."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from .. import dtypes
from ..dtypes import finfo, issubdtype
from ..trace import aval_of
from .core import as_value, default_dtype

__all__ = [
    "can_cast", "finfo", "isdtype", "iscomplexobj", "isrealobj", "isscalar", "issubdtype", "iterable", "promote_types", "result_type",
]  # fmt: skip


def promote_types(a: Any, b: Any) -> np.dtype:
    """The dtype of an operation on arrays of two dtypes; ``int``, ``float`` and ``complex`` stand for Python numbers."""
    return result_type(*[np.dtype(d) if isinstance(d, str) else d for d in (a, b)])


def result_type(*args: Any) -> np.dtype:
    """The dtype of an operation on the arguments (arrays, numbers, dtypes)."""
    if not args:
        raise ValueError("result_type takes at least one array, number or dtype")
    return dtypes.promote(*[_typed(a) for a in args])[0]


def _typed(a: Any) -> tuple[np.dtype, bool]:
    """(dtype, weak) of an array, number or dtype."""
    if isinstance(a, (type, np.dtype, str)) or a is None:
        if a in (int, float, complex):
            return default_dtype(np.dtype(a)), True
        return dtypes.canonical(a), False
    v = aval_of(as_value(a))
    return v.dtype, v.weak


_KINDS = {
    "bool": dtypes.is_bool,
    "signed integer": lambda d: d.kind == "i",
    "unsigned integer": lambda d: d.kind == "u",
    "integral": dtypes.is_integer,
    "real floating": dtypes.is_float,
    "complex floating": dtypes.is_complex,
    "numeric": lambda d: not dtypes.is_bool(d),
}


def isdtype(dtype: Any, kind: Any) -> builtins.bool:
    """Whether a dtype is one, or of a kind, as the array API names them ("bool", "integral", "real floating" ...)."""
    d = dtypes.canonical(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(d, k) for k in kind)
    if isinstance(kind, str) and kind in _KINDS:
        return _KINDS[kind](d)
    try:
        return d == np.dtype(kind)
    except TypeError:
        raise ValueError(f"isdtype: the kind {kind!r} is none of {', '.join(_KINDS)}, and no dtype") from None


def can_cast(from_: Any, to: Any, casting: str = "safe") -> builtins.bool:
    """Whether a cast is allowed."""
    source = getattr(from_, "dtype", from_)
    if dtypes.bfloat16 is not None and dtypes.bfloat16 in (np.dtype(source), np.dtype(to)):
        return casting == "unsafe" or dtypes.promote_types(source, to) == np.dtype(to)
    return np.can_cast(source, to, casting)  # type: ignore[arg-type]


def iterable(y: Any) -> builtins.bool:
    """Whether ``y`` can be iterated."""
    return np.iterable(y)


def iscomplexobj(x: Any) -> builtins.bool:
    """The dtype is complex."""
    return dtypes.is_complex(aval_of(as_value(x)).dtype)


def isrealobj(x: Any) -> builtins.bool:
    """The dtype is not complex."""
    return not iscomplexobj(x)


def isscalar(element: Any) -> builtins.bool:
    """A Python or NumPy number, or a 0-d array."""
    return np.isscalar(element) or (hasattr(element, "ndim") and element.ndim == 0)
