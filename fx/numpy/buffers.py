"""Traced buffers: what NumPy's creation functions make inside a traced program, so that traced values can be written to them.

Values and dtypes are NumPy's (``zeros(3)`` is float64).  The buffer belongs to the function that is being traced; integers
and truth values stay known while they depend on nothing traced, so that loops and indices made from them work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..array import Array
from ..dtypes import canonical
from ..errors import DTypeError
from ..primitives.elementwise import copy_p
from ..primitives.shaping import broadcast_in_dim_p
from ..trace import Builder, Tracer
from . import creation
from .axes import static_shape
from .core import Value, as_type

__all__ = ["CREATORS", "constant", "create"]


def _has_values(x: Any) -> bool:
    return type(x) in (Tracer, Array) or (isinstance(x, (list, tuple)) and any(map(_has_values, x)))


def _filled(builder: Builder, shape: Any, value: Any, dtype: Any) -> Tracer:
    d = canonical(np.asarray(value).dtype if dtype is None else dtype)
    params = {"shape": static_shape(shape), "broadcast_dimensions": ()}
    return builder.record(broadcast_in_dim_p, (np.asarray(value).astype(d)[()],), params)


def constant(builder: Builder, data: Any) -> Any:
    """A NumPy array as a traced buffer; what fx has no dtype for stays as it is."""
    try:
        d = canonical(data.dtype)
    except DTypeError:
        return data
    return builder.record(copy_p, (Array(np.asarray(data, d)),), {})


def _zeros(b: Builder, shape: Any, dtype: Any = float, order: Any = "C", **_: Any) -> Tracer:
    return _filled(b, shape, 0, float if dtype is None else dtype)


def _ones(b: Builder, shape: Any, dtype: Any = float, order: Any = "C", **_: Any) -> Tracer:
    return _filled(b, shape, 1, float if dtype is None else dtype)


def _full(b: Builder, shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", **_: Any) -> Any:
    if _has_values(fill_value):
        return creation.copy(creation.full(shape, fill_value, dtype))
    if np.ndim(fill_value):
        return constant(b, np.full(shape, fill_value, dtype))
    return _filled(b, shape, fill_value, dtype)


def _like(name: str) -> Callable[..., Any]:
    whole, numpy = getattr(creation, name), getattr(np, name)

    def make(b: Builder, a: Any, *args: Any, subok: bool = True, **kwargs: Any) -> Any:
        traced = _has_values(a) or any(map(_has_values, (*args, *kwargs.values())))
        return whole(a, *args, **kwargs) if traced else constant(b, numpy(a, *args, **kwargs))

    return make


def _array(b: Builder, object: Any, dtype: Any = None, *, copy: Any = True, order: Any = "K", subok: bool = False, ndmin: int = 0) -> Any:  # fmt: skip
    if not _has_values(object):
        return constant(b, np.array(object, dtype, ndmin=ndmin))
    return creation.array(object, dtype, copy=bool(copy), ndmin=ndmin)


def _asarray(b: Builder, a: Any, dtype: Any = None, *_: Any, copy: Any = None, **__: Any) -> Any:
    if type(a) is Tracer:
        out = a if dtype is None else as_type(a, dtype)
        return out.alias() if copy and out is a else out
    if isinstance(a, np.ndarray) and not copy:
        return np.asarray(a, dtype)
    return _array(b, a, dtype)


def _known(name: str) -> Callable[..., Any]:
    numpy = getattr(np, name)
    return lambda b, *args, **kwargs: constant(b, numpy(*args, **kwargs))


CREATORS: dict[str, Callable[..., Value]] = {
    "zeros": _zeros, "empty": _zeros, "ones": _ones, "full": _full, "array": _array, "asarray": _asarray, "asanyarray": _asarray,
    "ascontiguousarray": _asarray, "asfortranarray": _asarray, "asarray_chkfinite": _asarray, "require": _asarray,
    **{name: _like(name) for name in ("zeros_like", "ones_like", "empty_like", "full_like")},
    **{name: _known(name) for name in ("arange", "eye", "identity", "tri", "indices")},
}  # fmt: skip
"""NumPy's creation functions by name: ``f(builder, *args, **kwargs)``."""


def create(name: str, builder: Builder, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What ``np.name(*args, **kwargs)`` makes, as a buffer of ``builder``."""
    kwargs = {k: v for k, v in kwargs.items() if k not in ("like", "device") and v is not np._NoValue}
    return CREATORS[name](builder, *args, **kwargs)
