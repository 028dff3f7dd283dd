"""Operators and methods of arrays and tracers: the same table for both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..primitives.elementwise import copy_p
from ..trace import Tracer, is_python_scalar, recording_builder
from . import (
    binary,
    contraction,
    creation,
    manipulation,
    positions,
    protocol,
    rearranging,
    reductions,
    rounding,
    scans,
    selection,
    sorting,
    statistics,
    unary,
)
from .at import At
from .core import Value, as_type, as_typed
from .indexing import getitem, setitem
from .inspection import DEVICE, check_device

__all__ = ["install"]

_OPERANDS = (Array, Tracer, np.ndarray, np.generic, bool, int, float, complex, list, tuple)


def _is_operand(x: Any) -> bool:
    return isinstance(x, _OPERANDS) or hasattr(x, "__fx_array__")


def _binary(f: Any) -> Any:
    return lambda self, other: f(self, other) if _is_operand(other) else NotImplemented


def _reflected(f: Any) -> Any:
    return lambda self, other: f(other, self) if _is_operand(other) else NotImplemented


def _unary(f: Any) -> Any:
    return lambda self: f(self)


_BINARY = {
    "add": binary.add, "sub": binary.subtract, "mul": binary.multiply, "truediv": binary.divide, "floordiv": binary.floor_divide,
    "mod": binary.remainder, "divmod": binary.divmod, "pow": binary.power, "matmul": contraction.matmul, "and": binary.bitwise_and,
    "or": binary.bitwise_or, "xor": binary.bitwise_xor, "lshift": binary.left_shift, "rshift": binary.right_shift,
}  # fmt: skip
_COMPARE = {
    "eq": binary.equal, "ne": binary.not_equal, "lt": binary.less, "le": binary.less_equal, "gt": binary.greater, "ge": binary.greater_equal,
}  # fmt: skip
_UNARY = {"neg": unary.negative, "pos": unary.positive, "abs": unary.absolute, "invert": unary.invert}


def _pow(self: Value, other: Any, mod: Any = None) -> Value:
    return binary.power(self, other) if mod is None and _is_operand(other) else NotImplemented


def _array_getitem(self: Array, index: Any) -> Value:
    if type(index) is int or type(index) is slice:  # the common cases
        try:
            return Array(np.asarray(self._data[index]), self.weak_type)
        except (IndexError, TypeError):
            pass
    return getitem(self, index)


def _iterate(self: Tracer) -> Iterator[Value]:
    if not self.shape:
        raise TypeError("a 0-d array cannot be iterated")
    return iter(manipulation.unstack(self))


def _contains(self: Value, value: Any) -> bool:
    return bool(reductions.any(binary.equal(self, value)))


def _tracer_setitem(self: Tracer, index: Any, value: Any) -> None:
    """``x[i] = v`` inside a traced function: the name x stands for the changed array from here on."""
    new = setitem(self, index, _cast(value, self.dtype))
    if type(new) is not Tracer:  # all of it was overwritten with known values
        new = recording_builder((self,)).record(copy_p, (new,), {})
    self.rebind(new)


def _cast(value: Any, d: np.dtype) -> Any:
    """As NumPy's item assignment, which casts to the array's dtype."""
    if is_python_scalar(value):
        return (
            value
            if dtypes.is_inexact(d) or not isinstance(value, (float, complex))
            else np.asarray(value).astype(d)[()]
        )
    return as_typed(value, d, "the value to be written")


def _reshape(self: Value, *shape: Any, order: str = "C") -> Value:
    """The same elements in another shape, given as a tuple or as several ints; one size may be -1."""
    return manipulation.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)


def _transpose(self: Value, *axes: Any) -> Value:
    """The axes permuted; reversed by default."""
    given = axes[0] if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))) else axes
    return manipulation.transpose(self, given or None if self.ndim else None)


def _fill(self: Value, value: Any) -> None:
    """Every element replaced by a value (of a traced array: the name stands for the new array; an Array raises)."""
    self[...] = value


def _view(self: Value, dtype: Any = None) -> Value:
    """The same memory read as another dtype."""
    return self if dtype is None else rearranging.view(self, dtype)


def _clip(self: Value, min: Any = None, max: Any = None) -> Value:
    """Limited to the interval [min, max]."""
    return rounding.clip(self, min, max)


def _compress(self: Value, condition: Any, axis: Any = None) -> Value:
    """The slices along ``axis`` where the condition holds."""
    return positions.compress(condition, self, axis)


def _astype(self: Value, dtype: Any, copy: bool = True, **_: Any) -> Value:
    """The array in another dtype (complex to real drops the imaginary part)."""
    out = as_type(self, dtype)
    return out.alias() if out is self and type(out) is Tracer else out


def _to_device(self: Value, device: Any, /, *, stream: Any = None) -> Value:
    """The array itself: there is one device, "cpu" (ValueError for any other)."""
    check_device(device)
    return self


_FUNCTIONS = {
    "all": reductions.all, "any": reductions.any, "argmax": sorting.argmax, "argmin": sorting.argmin, "argpartition": sorting.argpartition,
    "argsort": sorting.argsort, "choose": selection.choose, "conj": unary.conjugate, "conjugate": unary.conjugate, "copy": creation.copy,
    "cumprod": scans.cumprod, "cumsum": scans.cumsum, "diagonal": rearranging.diagonal, "dot": contraction.dot, "flatten": manipulation.ravel,
    "max": reductions.max, "mean": statistics.mean, "min": reductions.min, "nonzero": positions.nonzero, "partition": sorting.partition,
    "prod": reductions.prod, "ptp": reductions.ptp, "ravel": manipulation.ravel, "repeat": rearranging.repeat, "round": rounding.round,
    "searchsorted": sorting.searchsorted, "sort": sorting.sort, "squeeze": manipulation.squeeze, "std": statistics.std,
    "sum": reductions.sum, "swapaxes": manipulation.swapaxes, "take": selection.take, "trace": contraction.trace, "var": statistics.var,
}  # fmt: skip

_METHODS: dict[str, Any] = {
    "astype": _astype, "reshape": _reshape, "transpose": _transpose, "view": _view, "fill": _fill, "clip": _clip, "compress": _compress,
    "to_device": _to_device, "__pow__": _pow, "__contains__": _contains, "__round__": lambda self, n=0: rounding.round(self, n),
    "__array_ufunc__": protocol.array_ufunc, "__array_function__": protocol.array_function, "__array_namespace__": protocol.namespace,
    "at": property(At, doc=At.__doc__), "T": property(manipulation.transpose, doc="The axes reversed."),
    "mT": property(manipulation.matrix_transpose, doc="The last two axes swapped."), "flat": property(manipulation.ravel),
    "real": property(_unary(unary.real), doc="The real part."), "imag": property(_unary(unary.imag), doc="The imaginary part."),
    "device": property(lambda self: DEVICE, doc='"cpu": there is one device.'),
}  # fmt: skip


def install(cls: type) -> None:
    """Gives a class (Array, Tracer) its operators and methods."""
    table: dict[str, Any] = {}
    for name, f in _BINARY.items():
        table[f"__{name}__"], table[f"__r{name}__"] = _binary(f), _reflected(f)
    table |= {f"__{name}__": _binary(f) for name, f in _COMPARE.items()}
    table |= {f"__{name}__": _unary(f) for name, f in _UNARY.items()}
    table |= {name: _method(f) for name, f in _FUNCTIONS.items()}
    table |= _METHODS
    table["__getitem__"] = _array_getitem if cls is Array else getitem
    if cls is Tracer:
        table |= {"__iter__": _iterate, "__setitem__": _tracer_setitem}
    for name, f in table.items():
        setattr(cls, name, f)


def _method(f: Any) -> Any:
    """A function as a method (Ufunc objects do not bind by themselves)."""

    def method(self: Value, *args: Any, **kwargs: Any) -> Value:
        return f(self, *args, **kwargs)

    method.__doc__ = f.__doc__
    return method
