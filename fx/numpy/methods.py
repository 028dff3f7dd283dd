"""Operators and methods of arrays and tracers: the same table for both."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..array import Array, SingleDeviceSharding, check_device
from ..callsite import drops_the_result
from ..config import ALERT, config
from ..dtypes import ALL, tell_of_wide
from ..errors import ItemAssignmentError, ShapeError, UnsupportedFunctionError
from ..signatures import position_of
from ..sizes import Real, Size
from ..storage import strided, write
from ..trace import Tracer, is_library, state
from ..traceback import shorten, user_frames
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
    views,
)
from .at import At
from .core import COMMON, Value, as_type, as_value
from .indexing import getitem
from .inspection import DEVICE
from .ufunc_class import Ufunc
from .ufunc_quick import count_call, when_native

__all__ = ["install"]

_OPERANDS = (Array, Tracer, np.ndarray, np.generic, bool, int, float, complex, list, tuple, Size, Real)


def _is_operand(x: Any) -> bool:
    return isinstance(x, _OPERANDS) or hasattr(x, "__fx_array__")


def _binary(f: Any) -> Any:
    """``x + y`` for a known or traced ``x``; native code also calls it with ``y`` known and ``x`` anything."""

    def operator(self: Any, other: Any) -> Value:
        try:
            if quick is not None and (result := quick(self, other)) is not None:
                return result
            return f(self, other) if _is_operand(other) and _is_operand(self) else NotImplemented
        except BaseException as e:
            shorten(e)
            raise

    quick = f.quick if isinstance(f, Ufunc) else None

    return operator


def _reflected(f: Any) -> Any:
    def operator(self: Value, other: Any) -> Value:
        try:
            if quick is not None and (result := quick(other, self)) is not None:
                return result
            return f(other, self) if _is_operand(other) else NotImplemented
        except BaseException as e:
            shorten(e)
            raise

    quick = f.quick if isinstance(f, Ufunc) else None

    return operator


def _unary(f: Any) -> Any:
    return lambda self: f(self)


def _in_place(name: str, f: Any) -> Any:
    """``x += y`` on a traced array: in place as in NumPy, so that views and other names of ``x`` see it.

    A scalar gets a new value, and so does a result that the array cannot hold (another shape, floats among integers),
    which NumPy refuses and JAX allows.  With ``fx.config.in_place = "rebind"`` the name always does.
    """

    def update(self: Tracer, other: Any) -> Value:
        if not _is_operand(other):
            return NotImplemented
        result = f(self, other)
        rebound = (not self.shape and self.view_of is None) or config.in_place == "rebind"
        if rebound or result.shape != self.shape or not np.can_cast(result.dtype, self.dtype, "same_kind"):
            return result
        if is_library(sys._getframe(1).f_code.co_filename):  # the library's own functions treat arrays as values
            return result
        write(self, as_type(result, self.dtype))
        return self

    update.__name__ = name
    return update


_BINARY = {
    "add": binary.add, "sub": binary.subtract, "mul": binary.multiply, "truediv": binary.divide, "floordiv": binary.floor_divide,
    "mod": binary.remainder, "divmod": binary.divmod, "pow": binary.power, "matmul": contraction.matmul, "and": binary.bitwise_and,
    "or": binary.bitwise_or, "xor": binary.bitwise_xor, "lshift": binary.left_shift, "rshift": binary.right_shift,
}  # fmt: skip
_COMPARE = {
    "eq": binary.equal, "ne": binary.not_equal, "lt": binary.less, "le": binary.less_equal, "gt": binary.greater, "ge": binary.greater_equal,
}  # fmt: skip
_UNARY = {"neg": unary.negative, "pos": unary.positive, "abs": unary.absolute, "invert": unary.invert}


def _pow(self: Any, other: Any, mod: Any = None) -> Value:
    if (
        type(other) is int
        and other == 2
        and type(self) is Array
        and mod is None
        and not ALERT
        and id(self.dtype) in COMMON
    ):
        return self * self
    try:
        if type(other) is float and mod is None:
            return Ufunc.__call__(binary.power, self, other)  # which takes ints apart first
        return binary.power(self, other) if mod is None and _is_operand(other) else NotImplemented
    except BaseException as e:
        shorten(e)
        raise


def _array_getitem(self: Array, index: Any) -> Value:
    if type(index) is int or type(index) is slice:  # the common cases
        try:
            part = self._buffer[index]  # type: ignore[index]  # of a deleted array: a TypeError
        except (IndexError, TypeError):
            pass
        else:
            count_call()
            return Array(part if type(part) is np.ndarray else np.asarray(part), self.weak_type)
    try:
        return getitem(self, index)
    except BaseException as e:
        shorten(e)
        raise


def _array_setitem(self: Array, index: Any, value: Any) -> None:
    """With ``fx.config.array_api``: the array gets new contents; ``value`` is cast to its dtype, as NumPy does.

    Raises:
        ItemAssignmentError: without that option. With it: a traced value or index, or a function is being compiled: the
            array, which is not traced, would not be what it says.
    """
    try:
        if not config.array_api:
            raise ItemAssignmentError(
                "fx arrays are immutable: x[index] = value is not possible here."
                " Write x = x.at[index].set(value) (or .add, .multiply, .min, .max)."
                " Code for the array API standard may assign: with fx.config.using(array_api=True)."
            )
        items = index if isinstance(index, tuple) else (index,)
        known = [as_value(i) if isinstance(i, list) else i for i in (*items, value)]
        if state.absorbing or any(type(v) is Tracer for v in known):
            raise ItemAssignmentError(
                f"x[index] = value inside of a traced function, where x ({self.aval}) is not traced. Write"
                " x = x.at[index].set(value) (or .add, .multiply, .min, .max), or make the buffer from a traced array (zeros_like)."
            )
        *places, new = [v._data if type(v) is Array else v for v in known]
        self._write(tuple(places), new)
    except BaseException as e:
        shorten(e)
        raise


def _round(self: Value, n: int | None = None) -> Value:
    """``round(x)``: integers, as of Python's numbers; with a number of places, of the array's own dtype."""
    return rounding.round(self, n) if n is not None else as_type(rounding.round(self), config.default_int)


def _contains(self: Value, value: Any) -> bool:
    return bool(reductions.any(binary.equal(self, value)))


def _reshape(self: Value, *shape: Any, **options: Any) -> Value:
    """The same elements in another shape, given as a tuple or as several ints; one size may be -1."""
    if type(self) is Array and shape and type(shape[0]) in (int, tuple) and not options and not ALERT:
        try:
            return Array(self._data.reshape(*shape), self.weak_type)
        except (TypeError, ValueError):
            pass  # the long way says what is wrong
    f = functools.partial(views.view_method, "reshape") if type(self) is Tracer else manipulation.reshape
    try:
        return f(self, shape[0] if len(shape) == 1 else shape, **options)
    except BaseException as e:
        shorten(e)
        raise


def _transpose(self: Value, *axes: Any) -> Value:
    """The axes permuted; reversed by default."""
    given = axes[0] if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))) else axes
    f = functools.partial(views.view_method, "transpose") if type(self) is Tracer else manipulation.transpose
    return f(self, given or None if self.ndim else None)


def _transposed(self: Array) -> Value:
    d = self._buffer
    return manipulation.transpose(self) if ALERT or d is None else Array(d.T, self.weak_type)


def _reversed_axes(transpose: Callable[[Any], Value]) -> property:
    """``x.T``, from what reverses the axes."""

    def transposed(self: Value) -> Value:
        try:
            if self.ndim != 2 and config.array_api:
                raise ShapeError(
                    f"x.T of {self.aval}: the array API standard transposes arrays of two axes only (fx.config.array_api is set)."
                    " Write x.mT to swap the last two, or permute_dims(x, axes)."
                )
            return transpose(self)
        except BaseException as e:
            shorten(e)
            raise

    return property(transposed, doc="The axes reversed; with ``fx.config.array_api``, of arrays of two axes only.")


def _fill(self: Value, value: Any) -> None:
    """Every element replaced by a value (each array by itself: views of it stay as they were, unless they are traced)."""
    self[...] = value


def _sort(self: Tracer, axis: int = -1, **options: Any) -> Value:
    """``sorting.sort``; in place where the caller drops the result: NumPy's method sorts the array and returns None,
    JAX's returns a sorted copy, and a program that drops the result means the one, a program that uses it the other."""
    out = sorting.sort(self, axis, **options)
    if drops_the_result(sys._getframe(1)):
        write(self, out)
    return out


def _partition(self: Tracer, kth: Any, axis: int = -1, **options: Any) -> Value:
    """``sorting.partition``, and in place where the caller drops the result, as NumPy's method does."""
    out = sorting.partition(self, kth, axis, **options)
    if drops_the_result(sys._getframe(1)):
        write(self, out)
    return out


def _clip(self: Value, min: Any = None, max: Any = None, out: Any = None) -> Value:
    """Limited to the interval [min, max]."""
    return rounding.clip(self, min, max)


def _compress(self: Value, condition: Any, axis: Any = None, out: Any = None) -> Value:
    """The slices along ``axis`` where the condition holds."""
    return positions.compress(condition, self, axis)


def _astype(self: Value, dtype: Any, copy: bool = True, **_: Any) -> Value:
    """The array in another dtype.  Complex to real drops the imaginary part, with NumPy's ``ComplexWarning``."""
    try:
        out = creation.converted(self, dtype, copy)
        if self.dtype.kind == "c" and out.dtype.kind not in "cb":
            text = f"x.astype({out.dtype}) of {self.aval} drops the imaginary part: write x.real.astype({out.dtype})"
            warnings.warn(text, np.exceptions.ComplexWarning, stacklevel=2)
        return out
    except BaseException as e:
        shorten(e)
        raise


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


def _put(self: Tracer, indices: Any, values: Any, mode: str = "raise") -> None:
    """``x.flat[indices] = values``."""
    write(self, selection.put(self, indices, values))


def _refusal(name: str, way_out: str) -> Any:
    """A method of NumPy's arrays that a traced one cannot have."""

    def method(self: Tracer, *args: Any, **kwargs: Any) -> NoReturn:
        raise UnsupportedFunctionError(f"{name} of a traced {self.aval} cannot be traced: {way_out}")

    method.__doc__ = f"Not possible while tracing: {way_out}"
    return method


_OUTSIDE = "its bytes are not known while tracing; call it on the function's result."
_REFUSED: dict[str, Any] = {
    "resize": "its memory cannot grow; use np.resize, np.pad or np.concatenate.",
    "setflags": "a traced array has no memory of its own; np.broadcast_to gives a read-only view.",
    "byteswap": "use fx.lax.bitcast_convert_type.", "getfield": "use x.view(dtype).", "setfield": "use x.view(dtype)[...] = value.",
    **dict.fromkeys(("tobytes", "tofile", "dump", "dumps", "__dlpack__", "__dlpack_device__"), _OUTSIDE),
}  # fmt: skip


def _fixed(name: str, way_out: str) -> property:
    """An attribute that NumPy's arrays let one set, and a traced one does not."""

    def refuse(self: Tracer, value: Any) -> NoReturn:
        raise UnsupportedFunctionError(f"x.{name} = ... of a traced {self.aval} cannot be traced: write {way_out}")

    known = getattr(Tracer, name)
    return property(known.fget, refuse, doc=known.__doc__)


_VIEWS: dict[str, Any] = {
    "ravel": views.method("ravel"), "squeeze": views.method("squeeze"), "swapaxes": views.method("swapaxes"), "diagonal": views.method("diagonal"),
    "view": views.method("view"), "T": _reversed_axes(views.method("transpose")),
    "mT": property(views.method("matrix_transpose"), doc="The last two axes swapped."), "flat": views.flat_property,
    "real": property(views.method("real"), views.setter("real"), doc="The real part."),
    "imag": property(views.method("imag"), views.setter("imag"), doc="The imaginary part."),
    "sort": _sort, "partition": _partition, "put": _put,
    "flags": property(lambda self: strided(self).flags, doc="What NumPy's flags would be."),
    "strides": property(lambda self: strided(self).strides, doc="What NumPy's strides would be."),
    "shape": _fixed("shape", "y = x.reshape(shape)"), "dtype": _fixed("dtype", "y = x.astype(dtype) or x.view(dtype)"),
    "base": property(lambda self: None if self.view_of is None else self.view_of.root, doc="The array that this is a view of."),
    **{name: _refusal(name, way_out) for name, way_out in _REFUSED.items()},
}  # fmt: skip
"""Methods of traced arrays that give views, or work in place."""

_METHODS: dict[str, Any] = {
    "astype": _astype, "reshape": _reshape, "transpose": user_frames(_transpose), "view": user_frames(views.view), "fill": _fill, "clip": protocol.honouring_out(_clip), "compress": protocol.honouring_out(_compress),
    "to_device": _to_device, "__pow__": _pow, "__contains__": _contains, "__round__": _round,
    "__array_ufunc__": protocol.array_ufunc, "__array_function__": protocol.array_function, "__array_namespace__": protocol.namespace,
    "at": property(At, doc=At.__doc__),
    "mT": property(manipulation.matrix_transpose, doc="The last two axes swapped."), "flat": property(manipulation.ravel),
    "real": property(_unary(unary.real), doc="The real part."), "imag": property(_unary(unary.imag), doc="The imaginary part."),
    "device": property(lambda self: DEVICE, doc='"cpu": there is one device.'),
    "sharding": property(lambda self: SingleDeviceSharding(), doc="Whole, on the one device."),
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
    if cls is Array:
        table |= {
            "__getitem__": _array_getitem,
            "__setitem__": _array_setitem,
            "T": _reversed_axes(_transposed),
        }
    if cls is Tracer:
        table |= _VIEWS
        table |= {"__iter__": views.iterate, "__getitem__": views.tracer_getitem, "__setitem__": views.tracer_setitem}
        table |= {f"__i{name}__": _in_place(name, f) for name, f in _BINARY.items() if name != "divmod"}
    for name, f in table.items():
        setattr(cls, name, f)


@when_native
def _operate_natively(native: Any) -> None:
    """Arrays, which are known, have operators of native code."""
    product = native.operation(np.matmul, _binary(contraction.matmul), 2, contraction.COMMON_DTYPES)
    makers: list[tuple[dict[str, Any], Any]] = [(_BINARY, _binary), (_COMPARE, _binary), (_UNARY, _unary)]
    operators = {name: (f, make(f)) for table, make in makers for name, f in table.items()}
    operations = {
        name: f.operation(native, fallback)
        for name, (f, fallback) in operators.items()
        if isinstance(f, Ufunc) and f.becomes and name != "pow"
    }
    native.install(Array, {**operations, "matmul": product})
    native.indexable(Array, _array_getitem, ALL)
    tell_of_wide(native.take_plain)


def _method(f: Any) -> Any:
    """A function as a method (Ufunc objects do not bind by themselves)."""
    if position_of("out", f) is not None:
        f = protocol.honouring_out(f)

    def method(self: Value, *args: Any, **kwargs: Any) -> Value:
        try:
            result = f(self, *args, **kwargs)
            return result.alias() if result is self else result
        except BaseException as e:
            shorten(e)
            raise

    method.__doc__, method.__wrapped__ = f.__doc__, f  # type: ignore[attr-defined]  # inspect and notebooks show f's arguments
    return method
