"""Operators and methods of arrays and tracers: the same table for both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..errors import ConcretizationError
from ..trace import Tracer, aval_of, is_python_scalar
from . import contraction, manipulation, protocol, reductions, searching
from .core import as_type, as_value
from .indexing import At, getitem, setitem
from .ufuncs import divmod as _divmod
from .ufuncs import registered as u

__all__ = ["install"]

Value = Any

_OPERANDS = (Array, Tracer, np.ndarray, np.generic, bool, int, float, complex)


def _binary(name: str) -> Any:
    f = u[name]

    def method(self: Value, other: Any) -> Value:
        return f(self, other) if isinstance(other, _OPERANDS) or hasattr(other, "__fx_array__") else NotImplemented

    return method


def _reflected(name: str) -> Any:
    f = u[name]

    def method(self: Value, other: Any) -> Value:
        return f(other, self) if isinstance(other, _OPERANDS) or hasattr(other, "__fx_array__") else NotImplemented

    return method


def _unary(name: str) -> Any:
    f = u[name]
    return lambda self: f(self)


_BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip
_COMPARE = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}
_UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}


def _matmul(self: Value, other: Any) -> Value:
    return contraction.matmul(self, other) if isinstance(other, _OPERANDS) else NotImplemented


def _rmatmul(self: Value, other: Any) -> Value:
    return contraction.matmul(other, self) if isinstance(other, _OPERANDS) else NotImplemented


def _pow(self: Value, other: Any, mod: Any = None) -> Value:
    return u["power"](self, other) if mod is None and isinstance(other, _OPERANDS) else NotImplemented


def _array_getitem(self: Array, index: Any) -> Value:
    data = self._data
    if type(index) is int or type(index) is slice:  # the common cases need no equations
        try:
            return Array(np.asarray(data[index]), self.weak_type)
        except IndexError:
            pass
    return getitem(self, index)


def _iterate(self: Tracer) -> Iterator[Value]:
    if not self.shape:
        raise TypeError("a 0-d array cannot be iterated")
    return (getitem(self, i) for i in range(self.shape[0]))


def _tracer_setitem(self: Tracer, index: Any, value: Any) -> None:
    """``x[i] = v`` inside a traced function: the name x stands for the changed array from here on."""
    new = setitem(self, index, _number_as(value, self.dtype))
    if type(new) is not Tracer:
        raise ConcretizationError("an in-place update of a traced array gave an untraced result")
    self.rebind(new)


def _number_as(value: Any, d: np.dtype) -> Any:
    """As NumPy's item assignment, which casts to the array's dtype."""
    if is_python_scalar(value):
        return value if dtypes.is_inexact(d) or not isinstance(value, (float, complex)) else np.asarray(value).astype(d)[()]
    v = as_value(value)
    return as_type(v, d) if aval_of(v).dtype != d else v


def _astype(self: Value, dtype: Any, copy: bool = True, **_: Any) -> Value:
    """The array in another dtype (complex to real drops the imaginary part)."""
    return as_type(self, dtype)


def _reshape(self: Value, *shape: Any, order: str = "C") -> Value:
    return manipulation.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)


def _transpose(self: Value, *axes: Any) -> Value:
    axes = axes[0] if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))) else axes
    return manipulation.transpose(self, None if axes is None or len(axes) == 0 else axes)


def _fill(self: Value, value: Any) -> None:
    if type(self) is Array:
        self[...] = value
    self[...] = value


def _view(self: Value, dtype: Any = None) -> Value:
    return self if dtype is None else manipulation.view(self, dtype)


_FUNCTIONS = {
    "all": reductions.all, "any": reductions.any, "argmax": searching.argmax, "argmin": searching.argmin,
    "argsort": searching.argsort, "argpartition": searching.argpartition, "choose": searching.choose,
    "compress": lambda self, condition, axis=None: searching.compress(condition, self, axis),
    "clip": lambda self, min=None, max=None: reductions.clip(self, min, max),
    "conj": u["conjugate"], "conjugate": u["conjugate"], "copy": manipulation.copy, "cumprod": reductions.cumprod,
    "cumsum": reductions.cumsum, "diagonal": manipulation.diagonal, "dot": contraction.dot, "flatten": manipulation.ravel,
    "max": reductions.max, "mean": reductions.mean, "min": reductions.min, "nonzero": searching.nonzero,
    "partition": searching.partition, "prod": reductions.prod, "ptp": reductions.ptp, "ravel": manipulation.ravel,
    "repeat": manipulation.repeat, "round": reductions.round,
    "searchsorted": searching.searchsorted, "sort": searching.sort, "squeeze": manipulation.squeeze,
    "std": reductions.std, "sum": reductions.sum, "swapaxes": manipulation.swapaxes, "take": searching.take,
    "trace": reductions.trace, "var": reductions.var,
}  # fmt: skip


def install(cls: type) -> None:
    """Gives a class (Array, Tracer) its operators and methods."""
    methods: dict[str, Any] = {}
    for short, name in _BINARY.items():
        methods[f"__{short}__"], methods[f"__r{short}__"] = _binary(name), _reflected(name)
    for short, name in _COMPARE.items():
        methods[f"__{short}__"] = _binary(name)
    for short, name in _UNARY.items():
        methods[f"__{short}__"] = _unary(name)
    methods |= {"__matmul__": _matmul, "__rmatmul__": _rmatmul, "__pow__": _pow}
    methods["__divmod__"] = lambda self, other: _divmod(self, other)
    methods["__rdivmod__"] = lambda self, other: _divmod(other, self)
    methods["__round__"] = lambda self, n=0: reductions.round(self, n)
    methods["__getitem__"] = _array_getitem if cls is Array else getitem
    methods["__array_ufunc__"] = protocol.array_ufunc
    methods["__array_function__"] = protocol.array_function
    methods |= {"astype": _astype, "reshape": _reshape, "transpose": _transpose, "view": _view, "fill": _fill}
    methods |= {"at": property(At), "T": property(lambda self: manipulation.transpose(self))}
    methods["mT"] = property(manipulation.matrix_transpose)
    methods["real"], methods["imag"] = property(u["real"]._f), property(u["imag"]._f)
    methods["flat"] = property(manipulation.ravel)
    if cls is Tracer:
        methods |= {"__iter__": _iterate, "__setitem__": _tracer_setitem}
    for name, f in _FUNCTIONS.items():
        methods[name] = _method(f)
    for name, f in methods.items():
        setattr(cls, name, f)


def _method(f: Any) -> Any:
    """A function as a method (Ufunc objects do not bind by themselves)."""

    def method(self: Value, *args: Any, **kwargs: Any) -> Value:
        return f(self, *args, **kwargs)

    method.__doc__ = f.__doc__
    return method
