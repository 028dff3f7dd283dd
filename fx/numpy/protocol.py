"""NumPy as the front end: NumPy's own functions called on our arrays and tracers arrive here.

``np.sin(x)`` of a tracer calls ``x.__array_ufunc__``, ``np.sum(x)`` calls ``x.__array_function__``; both look up
the function of the same name in ``fx.numpy``.  A function that is not there raises, naming itself and the
way out; nothing is computed behind the tracer's back.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

from ..array import Array
from ..errors import SideEffectError, UnsupportedFunctionError
from ..primitives.elementwise import select
from ..trace import Tracer
from .core import as_type, as_value, broadcast_value, promote
from .ufuncs import Ufunc, registered

__all__ = ["array_function", "array_ufunc"]

_NAMES = {"matmul": "matmul", "vecdot": "vecdot", "matvec": "matvec", "vecmat": "vecmat", "divmod": "divmod", "modf": "modf", "frexp": "frexp"}
_METHODS = ("__call__", "reduce", "accumulate", "outer", "at", "reduceat")

# creation functions that reach us through like=, and functions whose name differs in fx.numpy
_ALIASES = {"amax": "max", "amin": "min", "round_": "round", "product": "prod", "row_stack": "vstack", "in1d": "isin"}


def _namespace() -> ModuleType:
    return sys.modules["fx.numpy"]


def _unsupported(what: str) -> UnsupportedFunctionError:
    return UnsupportedFunctionError(
        f"{what} cannot be traced: fx.numpy has no function of that name. Compose it from functions that fx.numpy has"
        " (dir(fx.numpy)), call it on concrete arrays outside the traced function, or wrap it with fx.pure_callback."
    )


def _write_out(out: Any, result: Any, what: str) -> Any:
    """``out=``: a traced array is rebound to the result; a plain NumPy array cannot hold a traced value."""
    if out is None:
        return result
    if isinstance(out, tuple):
        if len(out) == 1:
            return _write_out(out[0], result, what)
        return tuple(_write_out(o, r, what) for o, r in zip(out, result))
    if type(out) is Tracer:
        new = as_value(result)
        new = broadcast_value(as_type(new, out.dtype), out.shape)
        if type(new) is Tracer:
            out.rebind(new)
        else:  # a concrete result written into a traced array
            out[...] = new
        return out
    if isinstance(out, np.ndarray) and type(result) is Array:
        np.copyto(out, result._data, casting="same_kind")
        return out
    raise SideEffectError(
        f"{what} was called with out= a {type(out).__name__} and a traced operand: the write would be lost. Use the"
        " returned array; or make the buffer from a traced array (np.zeros_like(x), np.empty_like(x))."
    )


def array_ufunc(self: Any, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """``__array_ufunc__`` of arrays and tracers."""
    name = ufunc.__name__
    what = f"np.{name}" + ("" if method == "__call__" else f".{method}")
    out = kwargs.pop("out", None)
    if method not in _METHODS or kwargs.pop("casting", "same_kind") is None:
        raise _unsupported(what)
    for ignored in ("order", "subok"):
        kwargs.pop(ignored, None)
    f = registered.get(name)
    if f is None:
        f = getattr(_namespace(), name, None) if name in _NAMES or hasattr(_namespace(), name) else None
        special = sys.modules.get("fx.scipy.special")
        if f is None and special is not None:
            f = getattr(special, name, None)
    if f is None:
        raise _unsupported(what)
    if method == "at":
        target, *rest = inputs
        if type(target) is not Tracer:
            raise SideEffectError(
                f"{what} writes into a {type(target).__name__} in place, which a traced value cannot do."
                " Use x = x.at[indices].add(values) (or multiply, min, max)."
            )
        target.rebind(f.at(target, *rest))
        return None
    if method != "__call__":
        if not isinstance(f, Ufunc) or not hasattr(f, method):
            raise _unsupported(what)
        where = kwargs.pop("where", True)
        if where is not True:
            if f.identity is None:
                raise _unsupported(f"{what} with where= (it has no identity)")
            x, w = promote(as_value(inputs[0]), as_value(inputs[0]))[0], as_value(where)
            inputs = (select(broadcast_value(w, x.shape), x, as_type(broadcast_value(as_value(f.identity), x.shape), x.dtype)), *inputs[1:])
        return _write_out(out, getattr(f, method)(*inputs, **{k: v for k, v in kwargs.items() if v is not None}), what)
    where = kwargs.pop("where", True)
    result = f(*inputs, **{k: v for k, v in kwargs.items() if v is not None})
    if where is not True:
        base = out[0] if out is not None else result * 0
        result, base = promote(result, as_value(base))
        result = select(broadcast_value(as_value(where), result.shape), result, base)
    return _write_out(out, result, what)


def array_function(self: Any, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """``__array_function__`` of arrays and tracers."""
    module = func.__module__ or "numpy"
    name = func.__name__
    space: Any = _namespace()
    for part in module.split(".")[1:]:
        if part in ("linalg", "fft"):
            space = getattr(space, part, None)
    f = getattr(space, _ALIASES.get(name, name), None) if space is not None else None
    if f is None or isinstance(f, ModuleType):
        raise _unsupported(f"{module}.{name}")
    out = kwargs.pop("out", None) if "out" in kwargs else None
    kwargs = {k: v for k, v in kwargs.items() if v is not np._NoValue and k not in ("subok", "like")}
    return _write_out(out, f(*args, **kwargs), f"np.{name}")
