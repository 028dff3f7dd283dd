"""Making arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array, to_numpy
from ..config import config
from ..errors import ShapeError
from ..primitives import elementwise as p
from ..primitives import helpers, shaping
from ..trace import Tracer, aval_of, is_python_scalar
from .core import as_type, as_value, broadcast_value, canonical_axis, default_dtype, inexact, promote, promote_inexact

Value = Any

__all__ = [
    "arange", "array", "asarray", "astype", "copy_of", "diag", "diagflat", "empty", "empty_like", "eye", "from_dlpack",
    "frombuffer", "fromfunction", "fromiter", "fromstring", "full", "full_like", "geomspace", "identity", "indices", "linspace", "logspace",
    "meshgrid", "ones", "ones_like", "tri", "tril", "tril_indices", "tril_indices_from", "triu", "triu_indices", "triu_indices_from",
    "vander", "zeros", "zeros_like", "ascontiguousarray", "asfortranarray",
]  # fmt: skip


def _shape(shape: Any) -> tuple[int, ...]:
    try:
        sizes = (int(shape.__index__()),) if hasattr(shape, "__index__") and not isinstance(shape, (tuple, list)) and not np.ndim(shape) else tuple(
            int(s.__index__()) for s in shape
        )
    except (AttributeError, TypeError) as e:
        if any(type(s) is Tracer for s in (shape if isinstance(shape, (tuple, list)) else (shape,))):
            raise
        raise ShapeError(f"a shape must be an int or a sequence of ints; found {shape!r}") from e
    if any(s < 0 for s in sizes):
        raise ShapeError(f"a shape cannot have negative sizes; found {sizes}")
    return sizes


def array(object: Any, dtype: Any = None, copy: bool = True, order: Any = None, ndmin: int = 0, **_: Any) -> Value:
    """An array from numbers, nested lists or arrays.

    Python floats become ``fx.config.default_float`` (float32), ints ``default_int`` (int32); arrays keep their dtype.
    """
    if is_python_scalar(object):
        d = dtypes.canonical(dtype) if dtype is not None else default_dtype(np.asarray(object).dtype)
        x: Value = Array(np.asarray(object, d))
    elif dtype is not None and isinstance(object, (list, tuple)) and not _has_values(object):
        x = Array(np.asarray(object, dtypes.canonical(dtype)))
    else:
        x = as_value(object, "the object given to array()")
        if copy and type(x) is Array:
            x = Array(np.array(x._data), False if dtype is None else x.weak_type)
        if dtype is not None:
            x = as_type(x, dtype)
    if x.ndim < ndmin:
        x = shaping.expand_dims(x, tuple(range(ndmin - x.ndim)))
    return x


def _has_values(x: Any) -> bool:
    return any(_has_values(v) if isinstance(v, (list, tuple)) else type(v) in (Tracer, Array) for v in x)


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: bool | None = None, **_: Any) -> Value:
    """``array`` without a copy where none is needed."""
    if copy:
        return array(a, dtype)
    if isinstance(a, (list, tuple)) or is_python_scalar(a):
        return array(a, dtype)
    x = as_value(a, "the object given to asarray()")
    return x if dtype is None else as_type(x, dtype)


ascontiguousarray = asfortranarray = asarray


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Value:
    """``x`` in another dtype."""
    return as_type(as_value(x), dtype)


def copy_of(x: Any) -> Value:
    return array(x, copy=True)


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Array:
    """An array that shares memory with any object that speaks DLPack (PyTorch, JAX, CuPy on the CPU)."""
    return Array(to_numpy(np.from_dlpack(x)))


def frombuffer(buffer: Any, dtype: Any = float, count: int = -1, offset: int = 0) -> Array:
    """An array over the bytes of a buffer."""
    return Array(np.frombuffer(buffer, dtypes.canonical(dtype), count, offset))


def fromiter(iterable: Any, dtype: Any, count: int = -1) -> Array:
    """A 1-d array from an iterator of numbers."""
    return Array(np.fromiter(iterable, dtypes.canonical(dtype), count))


def fromstring(string: str, dtype: Any = float, count: int = -1, *, sep: str) -> Array:
    """A 1-d array from text."""
    return Array(np.fromstring(string, dtypes.canonical(dtype), count, sep=sep))


def fromfunction(function: Callable[..., Any], shape: Any, *, dtype: Any = float, **kwargs: Any) -> Value:
    """``function`` called on the index grids."""
    return function(*indices(_shape(shape), dtype=dtype), **kwargs)


def full(shape: Any, fill_value: Any, dtype: Any = None, *, device: Any = None, order: Any = None) -> Value:
    """An array filled with a value (broadcast to the shape)."""
    v = as_value(fill_value)
    d = dtypes.canonical(dtype) if dtype is not None else aval_of(v).dtype
    shape = _shape(shape)
    if is_python_scalar(fill_value):
        return _as_array(helpers.full(shape, np.asarray(fill_value).astype(d)[()], d))
    return broadcast_value(as_type(v, d), shape)


def _as_array(x: Any) -> Value:
    return x if type(x) in (Array, Tracer) else Array(np.asarray(x))


def zeros(shape: Any, dtype: Any = None, *, device: Any = None, order: Any = None) -> Value:
    """An array of zeros; float32 by default."""
    return _as_array(helpers.full(_shape(shape), 0, dtypes.canonical(dtype or config.default_float)))


def ones(shape: Any, dtype: Any = None, *, device: Any = None, order: Any = None) -> Value:
    """An array of ones; float32 by default."""
    d = dtypes.canonical(dtype or config.default_float)
    return _as_array(helpers.full(_shape(shape), np.ones((), d)[()], d))


empty = zeros


def _like(x: Any, dtype: Any, shape: Any) -> tuple[tuple[int, ...], np.dtype]:
    a = aval_of(as_value(x))
    return (a.shape if shape is None else _shape(shape)), (a.dtype if dtype is None else dtypes.canonical(dtype))


def zeros_like(a: Any, dtype: Any = None, shape: Any = None, *, device: Any = None, order: Any = None) -> Value:
    """Zeros of the shape and dtype of ``a``."""
    return _filled_like(a, 0, dtype, shape)


def ones_like(a: Any, dtype: Any = None, shape: Any = None, *, device: Any = None, order: Any = None) -> Value:
    """Ones of the shape and dtype of ``a``."""
    return _filled_like(a, 1, dtype, shape)


empty_like = zeros_like


def full_like(a: Any, fill_value: Any, dtype: Any = None, shape: Any = None, *, device: Any = None, order: Any = None) -> Value:
    """An array of the shape and dtype of ``a``, filled with a value."""
    if not is_python_scalar(fill_value):
        s, d = _like(a, dtype, shape)
        return broadcast_value(as_type(as_value(fill_value), d), s)
    return _filled_like(a, fill_value, dtype, shape)


def _filled_like(a: Any, value: Any, dtype: Any, shape: Any) -> Value:
    """Recorded with the array it is like, so that ``np.zeros_like(x)`` is a buffer that traced code may fill."""
    s, d = _like(a, dtype, shape)
    out = helpers.full(s, np.asarray(value).astype(d)[()], d)
    if type(a) is Tracer and type(out) is not Tracer:
        atom = out if not s else np.asarray(value).astype(d)[()]
        return a.builder.record(shaping.broadcast_in_dim_p, (atom,), {"shape": s, "broadcast_dimensions": ()})
    return _as_array(out)


def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None, *, device: Any = None) -> Value:
    """Evenly spaced values in ``[start, stop)``; ints make ``default_int``, floats ``default_float``.

    The bounds must be known while tracing.
    """
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    values = [v if is_python_scalar(v) else np.asarray(v)[()] if type(v) is not Tracer else v.item() for v in (start, stop, step)]
    if dtype is None:
        typed = [np.asarray(v).dtype for v in values if not is_python_scalar(v)]
        d = default_dtype(np.result_type(*map(np.asarray, values))) if not typed else dtypes.canonical(np.result_type(*typed))
        if typed and dtypes.is_integer(d) and any(isinstance(v, float) for v in values):
            d = inexact(d)
    else:
        d = dtypes.canonical(dtype)
    a, b, c = values
    if dtypes.is_integer(d) and a == 0 and c == 1 and not any(isinstance(v, (float, np.floating)) for v in values):
        return _as_array(shaping.iota(d, max(int(b), 0)))
    return Array(np.arange(a, b, c).astype(d))


def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None, axis: int = 0, *, device: Any = None
) -> Any:
    """``num`` evenly spaced values from ``start`` to ``stop`` (with it, if ``endpoint``), exact at both ends."""
    num = int(num.__index__()) if not isinstance(num, (float, np.floating)) else int(num)
    if num < 0:
        raise ShapeError(f"linspace needs a non-negative number of samples; found {num}")
    a, b = promote_inexact(as_value(start), as_value(stop))
    d = aval_of(a).dtype
    div = num - 1 if endpoint else num
    t = shaping.reshape(shaping.iota(d, num), (num,) + (1,) * a.ndim)
    shape = (num, *a.shape)
    if div > 0:
        w = p.div(t, helpers.full_like(t, div))
        w, lo, hi = (broadcast_value(v, shape) for v in (w, a, b))
        out = p.add(p.mul(lo, p.sub(helpers.ones_like(w), w)), p.mul(hi, w))
    else:
        out = broadcast_value(a, shape)
    step = p.div(p.sub(b, a), helpers.full_like(a, div)) if div > 0 else helpers.full_like(a, np.nan)
    if axis % (a.ndim + 1):
        out = helpers.move_batch(out, 0, canonical_axis(axis, a.ndim + 1))
    if dtype is not None:
        want = dtypes.canonical(dtype)
        out = p.floor(out) if dtypes.is_integer(want) else out
        out = as_type(out, want)
    return (out, step) if retstep else out


def logspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0) -> Value:
    """``base ** linspace(start, stop)``."""
    x, b = promote_inexact(linspace(start, stop, num, endpoint, axis=axis), as_value(base))
    out = p.pow(b, x)
    return out if dtype is None else as_type(out, dtype)


def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Value:
    """Values evenly spaced on a logarithmic scale from ``start`` to ``stop``."""
    a, b = promote_inexact(as_value(start), as_value(stop))
    sign = p.sign(a)
    logs = linspace(p.log(p.mul(a, sign)), p.log(p.mul(b, sign)), num, endpoint, axis=axis)
    out, s = promote(p.exp(logs), sign)
    out = p.mul(out, s)
    return out if dtype is None else as_type(out, dtype)


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None, *, device: Any = None, order: Any = None) -> Value:
    """Ones on the k-th diagonal, zeros elsewhere."""
    shape = _shape((N, N if M is None else M))
    rows, cols = (shaping.broadcasted_iota(dtypes.int32, shape, i) for i in (0, 1))
    on = p.eq(p.add(rows, helpers.full_like(rows, int(k))), cols)
    return _as_array(as_type(on, dtype or config.default_float))


def identity(n: int, dtype: Any = None) -> Value:
    """The n by n identity matrix."""
    return eye(n, dtype=dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Value:
    """Ones at and below the k-th diagonal."""
    shape = _shape((N, N if M is None else M))
    return _as_array(as_type(_lower(shape, k), dtype or config.default_float))


def _lower(shape: tuple[int, ...], k: int) -> Value:
    n = len(shape)
    rows, cols = (shaping.broadcasted_iota(dtypes.int32, shape, i) for i in (n - 2, n - 1))
    return p.ge(p.add(rows, helpers.full_like(rows, int(k))), cols)


def _triangle(m: Any, k: int, name: str) -> tuple[Value, Value]:
    x = as_value(m)
    if x.ndim < 1:
        raise ShapeError(f"{name} needs an array with at least one dimension; found a scalar")
    if x.ndim == 1:
        x = broadcast_value(x, (x.shape[0], x.shape[0]))
    return x, _lower(x.shape, k)


def tril(m: Any, k: int = 0) -> Value:
    """The lower triangle; zeros above the k-th diagonal."""
    x, mask = _triangle(m, k, "tril")
    return p.select(mask, x, helpers.zeros_like(x))


def triu(m: Any, k: int = 0) -> Value:
    """The upper triangle; zeros below the k-th diagonal."""
    x, mask = _triangle(m, k - 1, "triu")
    return p.select(mask, helpers.zeros_like(x), x)


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Array, Array]:
    """Indices of the lower triangle."""
    i, j = np.tril_indices(n, k, m)
    return Array(i.astype(np.int32)), Array(j.astype(np.int32))


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Array, Array]:
    """Indices of the upper triangle."""
    i, j = np.triu_indices(n, k, m)
    return Array(i.astype(np.int32)), Array(j.astype(np.int32))


def tril_indices_from(arr: Any, k: int = 0) -> tuple[Array, Array]:
    """``tril_indices`` for the shape of an array."""
    return tril_indices(arr.shape[-2], k, arr.shape[-1])


def triu_indices_from(arr: Any, k: int = 0) -> tuple[Array, Array]:
    """``triu_indices`` for the shape of an array."""
    return triu_indices(arr.shape[-2], k, arr.shape[-1])


def diag(v: Any, k: int = 0) -> Value:
    """The k-th diagonal of a matrix, or a matrix with ``v`` on its k-th diagonal."""
    from .manipulation import diagonal  # the two functions are each other's inverse

    x = as_value(v)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag takes a vector or a matrix; found shape {x.shape}")
    n = x.shape[0] + abs(k)
    padded = shaping.pad(x, np.zeros((), x.dtype)[()], ((max(k, 0), max(-k, 0), 0),))
    on = as_type(eye(n, k=k), np.bool_)
    source = broadcast_value(padded, (n, n)) if k >= 0 else broadcast_value(shaping.reshape(shaping.pad(x, np.zeros((), x.dtype)[()], ((-k, 0, 0),)), (n, 1)), (n, n))
    return p.select(on, source, helpers.zeros_like(source))


def diagflat(v: Any, k: int = 0) -> Value:
    """``diag`` of the flattened input."""
    x = as_value(v)
    return diag(shaping.reshape(x, (x.size,)), k)


def indices(dimensions: Sequence[int], dtype: Any = None, sparse: bool = False) -> Any:
    """One array of indices per dimension, stacked (a tuple with ``sparse``)."""
    shape = _shape(dimensions)
    d = dtypes.canonical(dtype or config.default_int)
    grids = [shaping.broadcasted_iota(d, shape, i) for i in range(len(shape))]
    if sparse:
        return tuple(
            shaping.reshape(shaping.iota(d, n), tuple(n if j == i else 1 for j in range(len(shape)))) for i, n in enumerate(shape)
        )
    if not grids:
        return zeros((0,), d)
    return shaping.concatenate([shaping.expand_dims(g, (0,)) for g in grids], 0)


def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> list[Value]:
    """Coordinate matrices from coordinate vectors."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing must be 'xy' or 'ij'; found {indexing!r}")
    xs = [as_value(x) for x in xi]
    if any(x.ndim > 1 for x in xs):
        raise ShapeError(f"meshgrid takes vectors; found shapes {', '.join(str(x.shape) for x in xs)}")
    xs = [shaping.reshape(x, (x.size,)) for x in xs]
    order = list(range(len(xs)))
    if indexing == "xy" and len(xs) > 1:
        order[:2] = [1, 0]
    shape = tuple(xs[i].shape[0] for i in order)
    out = []
    for i, x in enumerate(xs):
        place = order.index(i)
        thin = shaping.reshape(x, tuple(x.shape[0] if j == place else 1 for j in range(len(xs))))
        out.append(thin if sparse else broadcast_value(thin, shape))
    return out


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Value:
    """The Vandermonde matrix: columns are powers of ``x``."""
    v = as_value(x)
    if v.ndim != 1:
        raise ShapeError(f"vander takes a vector; found shape {v.shape}")
    n = v.shape[0] if N is None else int(N)
    if n == 0:
        return zeros((v.shape[0], 0), v.dtype)
    powers = range(n) if increasing else range(n - 1, -1, -1)
    return shaping.concatenate([shaping.expand_dims(p.integer_pow(v, k), (1,)) for k in powers], 1)


