"""Making arrays: from numbers and lists, filled, and evenly spaced."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from .. import dtypes
from ..array import Array, aligned_copy, check_device, to_numpy
from ..config import config
from ..errors import (
    ArgumentError,
    ConcretizationError,
    DTypeError,
    ShapeError,
)
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives import helpers, joining, shaping
from ..sizes import Size, as_size, is_sized, slice_length
from ..trace import Tracer, aval_of, concrete_value, is_python_scalar, recording_builder, state
from .axes import canonical_axis, static_shape
from .core import (
    SEQUENCES,
    Value,
    as_type,
    as_typed,
    as_value,
    astype_result,
    broadcast_value,
    default_dtype,
    filled,
    fitting_number,
    inexact,
    is_eager,
    operand,
    promote,
    promote_inexact,
    result_dtype,
)

__all__ = [
    "arange", "array", "asanyarray", "asarray", "asarray_chkfinite", "ascontiguousarray", "asfortranarray", "astype", "copy", "empty", "empty_like", "from_dlpack",
    "frombuffer", "fromfile", "fromiter", "fromstring", "full", "full_like", "geomspace", "linspace", "load", "logspace",
    "ones", "ones_like", "save", "savez", "savez_compressed", "zeros", "zeros_like",
]  # fmt: skip


# ------------------------------------------------------------------------------- from what there is


def array(
    object: Any, dtype: Any = None, copy: bool = True, order: Any = None, ndmin: int = 0, *, device: Any = None,
    out_sharding: Any = None,
) -> Value:  # fmt: skip
    """An array from numbers, nested lists or arrays.

    Python floats become ``fx.config.default_float`` (float32), ints ``default_int`` (int32), a single number weak;
    arrays keep their dtype.

    >>> import numpy as np
    >>> import fx.numpy as fnp
    >>> fnp.array([1.0, 2.0]).dtype, fnp.array([1, 2]).dtype, fnp.array(np.ones(2)).dtype
    (dtype('float32'), dtype('int32'), dtype('float64'))
    """
    check_device(device)
    if type(object) is list and dtype is None and not ndmin and set(map(type, object)) == {float}:  # the common case
        return Array(np.array(object).astype(config.default_float))
    if is_python_scalar(object):
        x: Value = as_value(object) if dtype is None else as_typed(fitting_number(object, dtype), dtype)
    elif dtype is not None and isinstance(object, SEQUENCES) and not _has_values(object):
        x = Array(np.asarray(object, dtypes.canonical(dtype)))
    else:
        x = as_value(object, "the object given to array()")
        if copy and type(x) is Array:
            x = Array(aligned_copy(x._data), x.weak_type)
            x._owned = True  # a program that it is donated to may write here
        elif copy and type(x) is Tracer:
            x = x.alias()
        x = astype_result(x, dtype)
    x = _standard(x)
    return shaping.expand_dims(x, tuple(range(ndmin - x.ndim))) if x.ndim < ndmin else x


def _standard(x: Value) -> Value:
    """Of the default dtype to all purposes, where the array API standard is followed: it knows no weak arrays."""
    return as_type(x, x.dtype) if config.array_api and x.weak_type else x


def _has_values(x: Any) -> bool:
    return any(_has_values(v) if isinstance(v, SEQUENCES) else type(v) in (Tracer, Array) for v in x)


def asarray(
    a: Any,
    dtype: Any = None,
    order: Any = None,
    *,
    copy: bool | None = None,
    device: Any = None,
    out_sharding: Any = None,
) -> Value:
    """``array`` without a copy where none is needed."""
    if type(a) is Array and dtype is None and copy is None and device is None:  # the common case
        return a
    check_device(device)
    if copy or isinstance(a, SEQUENCES) or is_python_scalar(a):
        if copy is False:
            raise ArgumentError("numbers and lists of them cannot become an array without a copy; drop copy=False")
        return array(a, dtype)
    x = as_value(a, "the object given to asarray()")
    if copy is False and dtype is not None and dtypes.canonical(dtype) != x.dtype:
        raise ArgumentError(
            f"an array of {x.dtype} cannot become {dtypes.canonical(dtype)} without a copy; drop copy=False"
        )
    return astype_result(x, dtype)


asanyarray = ascontiguousarray = asfortranarray = asarray


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Value:
    """``x`` in another dtype; with ``copy`` (the default) in memory of its own, else ``x`` itself where it has that dtype.

    Raises:
        DTypeError: complex numbers to real ones, which leaves open what becomes of the imaginary part.
    """
    check_device(device)
    v = as_value(x)
    d = default_dtype(np.dtype(np.float64)) if dtype is None else dtypes.canonical(dtype)
    if dtypes.is_complex(v.dtype) and not (dtypes.is_complex(d) or dtypes.is_bool(d)):
        raise DTypeError(
            f"astype of a complex array ({aval_of(v)}) to {d}: take real(x) or imag(x), whichever is meant, and convert that"
        )
    return converted(v, d, copy)


def converted(x: Value, dtype: Any, copy: bool) -> Value:
    """``x`` in a dtype, another array than ``x`` if ``copy``; complex to real drops the imaginary part."""
    out = as_type(x, dtype)
    if copy and type(out) is Tracer:
        return out.alias() if out is x else out
    if copy and type(x) is Array and type(out) is Array and out._data is x._data:
        return Array(aligned_copy(out._data))
    return out


def copy(a: Any, order: Any = None) -> Value:
    """A copy."""
    x = as_value(a)
    return Array(aligned_copy(x._data), x.weak_type) if is_eager(x) else p.copy(x)


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Value:
    """An array that shares memory with any object that speaks DLPack (PyTorch, JAX, CuPy on the CPU).

    Args:
        copy: True: memory of its own; False: that of ``x``, or the error of ``x`` where it could only export a copy.
    """
    check_device(device)
    if type(x) is Array or type(x) is Tracer:
        return array(x, copy=bool(copy))
    a = np.from_dlpack(x, copy=False) if copy is False else np.from_dlpack(x)
    return Array(to_numpy(a.copy() if copy else a))


def frombuffer(buffer: Any, dtype: Any = None, count: int = -1, offset: int = 0) -> Array:
    """An array over the bytes of a buffer."""
    return Array(np.frombuffer(buffer, dtypes.canonical(dtype or config.default_float), count, offset))


def fromiter(iter: Any, dtype: Any, count: int = -1) -> Array:
    """A vector of the numbers that an iterator gives."""
    return Array(np.fromiter(iter, dtypes.canonical(dtype), count))


def fromstring(string: str, dtype: Any = None, count: int = -1, *, sep: str) -> Array:
    """A vector of the numbers in a text."""
    return Array(np.fromstring(string, dtypes.canonical(dtype or config.default_float), count, sep=sep))


def fromfile(file: Any, dtype: Any = None, count: int = -1, sep: str = "", offset: int = 0) -> Array:
    """A vector of the numbers in a file."""
    return Array(np.fromfile(file, dtypes.canonical(dtype or config.default_float), count, sep, offset))


def load(file: Any, *args: Any, **kwargs: Any) -> Any:
    """An array written with ``save``; of an ``.npz`` file the mapping of NumPy arrays that ``numpy.load`` gives."""
    out = np.load(file, *args, **kwargs)
    if isinstance(out, np.ndarray) and out.dtype == "V2":  # what an .npy file knows of bfloat16
        out = out.view(dtypes.canonical("bfloat16"))
    return Array(to_numpy(out)) if isinstance(out, np.ndarray) else out


def save(file: Any, arr: Any, allow_pickle: bool = False) -> None:
    """Writes an array to an ``.npy`` file."""
    np.save(file, np.asarray(arr), allow_pickle)


def savez(file: Any, *args: Any, allow_pickle: bool = False, **kwds: Any) -> None:
    """Writes arrays to an ``.npz`` file."""
    np.savez(
        file, *[np.asarray(a) for a in args], allow_pickle=allow_pickle, **{k: np.asarray(a) for k, a in kwds.items()}
    )


def savez_compressed(file: Any, *args: Any, allow_pickle: bool = False, **kwds: Any) -> None:
    """``savez`` with compression."""
    np.savez_compressed(
        file, *[np.asarray(a) for a in args], allow_pickle=allow_pickle, **{k: np.asarray(a) for k, a in kwds.items()}
    )


def asarray_chkfinite(a: Any, dtype: Any = None, order: Any = None) -> Value:
    """``asarray`` of a known array without NaN and infinities.

    Raises:
        ValueError: there is one.
    """
    x = asarray(a, dtype, order)
    known = concrete_value(x)
    if known is None:
        raise ConcretizationError(
            "asarray_chkfinite of a traced array: its values are not known; use isfinite and where inside the traced function"
        )
    if dtypes.is_inexact(x.dtype) and not np.isfinite(known).all():
        raise ArgumentError("asarray_chkfinite: the array has NaN or infinite elements")
    return x


# ------------------------------------------------------------------------------------------ filled


def _plain_number(value: Any, d: np.dtype) -> Any:
    """A Python number as a NumPy scalar of dtype ``d``, cast as NumPy casts (2.7 as int is 2)."""
    with np.errstate(all="ignore"):
        return np.asarray(value).astype(d)[()]


@planned
def full(
    shape: Any, fill_value: Any, dtype: Any = None, *, device: Any = None, order: Any = None, out_sharding: Any = None
) -> Value:
    """An array filled with a value (or an array, broadcast to the shape).

    Without a dtype it is weak where the value is: beside float16 arrays ``full(3, 0.5)`` is float16.
    """
    check_device(device)
    sizes = static_shape(shape)
    if dtype is None and not is_sized(fill_value):
        return broadcast_value(_standard(as_value(fill_value)), sizes)
    d = dtypes.canonical(dtype) if dtype is not None else aval_of(as_value(fill_value)).dtype
    if is_python_scalar(fill_value):
        return filled(sizes, _plain_number(fill_value, d), d)
    return broadcast_value(as_typed(fill_value, d), sizes)


@planned
def zeros(shape: Any, dtype: Any = None, *, device: Any = None, order: Any = None, out_sharding: Any = None) -> Value:
    """An array of zeros; float32 by default."""
    check_device(device)
    sizes, d = static_shape(shape), dtypes.canonical(dtype or config.default_float)
    return filled(sizes, False, d) if state.absorbing else Array(np.zeros(sizes, d))


@planned
def ones(shape: Any, dtype: Any = None, *, device: Any = None, order: Any = None, out_sharding: Any = None) -> Value:
    """An array of ones; float32 by default."""
    check_device(device)
    return filled(static_shape(shape), True, dtypes.canonical(dtype or config.default_float))


empty = zeros


def _like(x: Any, dtype: Any, shape: Any) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Shape, dtype and weakness of what is made like ``x``: with a dtype that is given it is not weak."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):  # also a ShapeDtypeStruct
        have, weak = tuple(x.shape), getattr(x, "weak_type", False)
        d = np.dtype(x.dtype) if isinstance(x, (Array, Tracer)) else dtypes.canonical(x.dtype)
    else:
        a = aval_of(as_value(x))
        have, d, weak = a.shape, a.dtype, a.weak
    sizes = have if shape is None else static_shape(shape)
    return (sizes, d, bool(weak)) if dtype is None else (sizes, dtypes.canonical(dtype), False)


def _filled_like(a: Any, value: Any, dtype: Any, shape: Any, device: Any) -> Value:
    """Recorded with the array it is like, so that ``np.zeros_like(x)`` is a buffer that traced code may fill."""
    check_device(device)
    s, d, weak = _like(a, dtype, shape)
    number = _plain_number(value, d)
    if type(a) is not Tracer:
        return helpers.full(s, number, d, True) if weak else filled(s, number, d)
    builder = recording_builder((a,))
    assert builder is not None  # a tracer has one
    number = Array(np.asarray(number), True) if weak else number
    return builder.record(shaping.broadcast_in_dim_p, (number,), {"shape": s, "broadcast_dimensions": ()})


def zeros_like(
    a: Any, dtype: Any = None, shape: Any = None, *, device: Any = None, order: Any = None, out_sharding: Any = None
) -> Value:
    """Zeros of the shape and dtype of ``a``, weak as it is."""
    return _filled_like(a, 0, dtype, shape, device)


def ones_like(
    a: Any, dtype: Any = None, shape: Any = None, *, device: Any = None, order: Any = None, out_sharding: Any = None
) -> Value:
    """Ones of the shape and dtype of ``a``."""
    return _filled_like(a, 1, dtype, shape, device)


def empty_like(prototype: Any, dtype: Any = None, shape: Any = None, *, device: Any = None, order: Any = None) -> Value:
    """An array of the shape and dtype of another, its values not specified (they are zero)."""
    return zeros_like(prototype, dtype, shape, device=device)


def full_like(
    a: Any, fill_value: Any, dtype: Any = None, shape: Any = None, *, device: Any = None, order: Any = None, out_sharding: Any = None
) -> Value:  # fmt: skip
    """An array of the shape and dtype of ``a``, filled with a value."""
    if is_python_scalar(fill_value):
        return _filled_like(a, fill_value, dtype, shape, device)
    check_device(device)
    s, d, _ = _like(a, dtype, shape)
    return broadcast_value(as_typed(fill_value, d), s)


# ----------------------------------------------------------------------------------- evenly spaced


def _known_number(v: Any) -> Any:
    """A bound of ``arange``: a Python number as it is, any other as a NumPy scalar."""
    if is_python_scalar(v) or is_sized(v):
        return v
    if type(v) is Tracer:
        return np.asarray(v.item(), v.dtype)[()]  # raises unless the value is known while tracing
    known = concrete_value(as_value(v))
    if known is None or known.shape:
        raise ShapeError(f"the bounds of arange must be scalars; found {v!r}")
    return known[()]


def arange(
    start: Any, stop: Any = None, step: Any = None, dtype: Any = None, *, device: Any = None, out_sharding: Any = None
) -> Value:
    """Evenly spaced values in ``[start, stop)``; ints make ``default_int``, floats ``default_float``.

    The bounds must be known while tracing.
    """
    check_device(device)
    if stop is None:
        start, stop = 0, start
    if dtype is step is None and type(start) is type(stop) is int and not state.absorbing:  # the common case
        d = config.default_int
        if max(abs(start), abs(stop)) < 2**31:
            return Array(cast(Any, np.arange)(start, stop, 1, d))
    a, b, c = (_known_number(v) for v in (start, stop, 1 if step is None else step))
    if c == 0:
        raise ArgumentError("arange needs a step that is not 0")
    if dtype is not None:
        d = dtypes.canonical(dtype)
    else:
        avals = [aval_of(v) for v in (a, b, c)]
        d = dtypes.canonical(dtypes.promote(*[(v.dtype, v.weak) for v in avals])[0])
        d = config.default_int if d == dtypes.bool_ else d
    if state.absorbing and all(isinstance(v, (int, np.integer, Size)) for v in (a, b, c)) and dtypes.is_integer(d):
        a, b, c = (as_size(v) for v in (a, b, c))
        count = shaping.iota(d, slice_length(a, b, c))
        scaled = count if c == 1 else p.mul(count, helpers.full_like(count, c))
        return scaled if a == 0 else p.add(scaled, helpers.full_like(count, a))
    return Array(np.arange(a, b, c).astype(d))


@planned
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """``num`` evenly spaced values from ``start`` to ``stop`` (with it, if ``endpoint``), exact at both ends."""
    check_device(device)
    num = _number_of(num, "linspace")
    d, wide = _spaced_in(dtype, start, stop)
    a, b = promote_inexact(as_typed(start, wide), as_typed(stop, wide))
    steps = num - 1 if endpoint else num
    shape = (num, *a.shape)
    if steps > 0:
        t = shaping.reshape(shaping.iota(wide, num), (num,) + (1,) * a.ndim)
        w = p.div(t, helpers.full_like(t, steps))
        w, lo, hi = (broadcast_value(v, shape) for v in (w, a, b))
        out = p.add(p.mul(lo, p.sub(helpers.ones_like(w), w)), p.mul(hi, w))
        step = p.div(p.sub(b, a), helpers.full_like(a, steps))
    else:
        out, step = broadcast_value(a, shape), filled(a.shape, np.nan, wide)
    out = helpers.move_batch(out, 0, canonical_axis(axis, a.ndim + 1))
    want = d if dtype is None else dtypes.canonical(dtype)
    out = as_type(p.floor(p.real(out) if dtypes.is_complex(wide) else out) if dtypes.is_integer(want) else out, want)
    return (out, as_type(step, inexact(want))) if retstep else out


def _spaced_in(dtype: Any, *ends: Any) -> tuple[np.dtype, np.dtype]:
    """The dtype of spaced values where none is asked for, and the one to compute in.

    That one has 64 bits a part: the third of five edges from 0 to 25 is 15, not the float32 above it.
    """
    d = inexact(result_dtype(*[operand(v) for v in ends]))
    wanted = d if dtype is None else dtypes.canonical(dtype)
    if not dtypes.is_inexact(wanted):
        wanted = dtypes.float32 if wanted.itemsize < 4 else dtypes.float64
    return d, dtypes.complex128 if dtypes.is_complex(dtypes.promote((d, False), (wanted, False))[0]) else dtypes.float64


def _number_of(num: Any, what: str) -> int:
    try:
        n = as_size(num)
    except TypeError:
        way_out = (
            " A traced number has no value yet; name the argument in jit's static_argnums."
            if type(num) is Tracer
            else ""
        )
        raise DTypeError(f"{what} needs an integer number of samples; found {num!r}.{way_out}") from None
    if n < 0:
        raise ShapeError(f"{what} needs a non-negative number of samples; found {n}")
    return n


@planned
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Value:
    """``base ** linspace(start, stop)``."""
    d, wide = _spaced_in(dtype, start, stop, base)
    x, b = promote_inexact(linspace(start, stop, num, endpoint, dtype=wide, axis=axis), as_typed(base, wide))
    return as_type(p.pow(b, x), d if dtype is None else dtype)


@planned
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Value:
    """``num`` values from ``start`` to ``stop`` with a constant ratio, exact at both ends."""
    num = _number_of(num, "geomspace")
    d, wide = _spaced_in(dtype, start, stop)
    a, b = promote_inexact(as_typed(start, wide), as_typed(stop, wide))
    sign = p.sign(a)
    logs = linspace(p.log(p.div(a, sign)), p.log(p.div(b, sign)), num, endpoint)
    values, s = promote(p.exp(logs), sign)
    out = p.mul(values, s)
    first, last = (shaping.expand_dims(v, (0,)) for v in (a, b))
    if num > 1 and endpoint:
        out = joining.concatenate([first, joining.slice_in_dim(out, 1, num - 1), last], 0)
    elif num > 0:
        out = joining.concatenate([first, joining.slice_in_dim(out, 1, num)], 0)
    return as_type(helpers.move_batch(out, 0, canonical_axis(axis, a.ndim + 1)), d if dtype is None else dtype)
