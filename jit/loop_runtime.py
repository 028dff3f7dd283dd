"""The names that a printed kernel uses, on NumPy scalars and vectors.

``run`` executes a kernel's printed text in plain Python.  It is slow, checks every index, and is the
reference that machine code is compared with.  ``emit_numba`` defines the same names for Numba.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

Value = Any  # a NumPy scalar, or a one-dimensional array of lanes

_INTS = {f"{k[0]}{b}": np.dtype(f"{k}{b}").type for k in ("int", "uint") for b in (8, 16, 32, 64)}


class Pointer:
    """A native pointer: element ``i`` is ``array[origin + i]``, and nothing outside the array exists."""

    def __init__(self, array: np.ndarray, origin: int = 0) -> None:
        self.array = array.view(np.uint16) if array.dtype.name == "bfloat16" else array
        self.origin = origin

    def _slot(self, index: Any) -> Any:
        if isinstance(index, slice):
            first, last = self.origin + int(index.start), self.origin + int(index.stop)
            inside = 0 <= first and last <= self.array.size
            slot: Any = slice(first, last)
        else:
            slot = self.origin + int(index)
            inside = 0 <= slot < self.array.size
        if not inside:
            raise IndexError(f"index {index} is outside an array of {self.array.size} (origin {self.origin})")
        return slot

    def address(self, index: int) -> int:
        """Of an element, or of the place behind the last one."""
        if not 0 <= self.origin + index <= self.array.size:
            raise IndexError(f"index {index} is outside an array of {self.array.size} (origin {self.origin})")
        return int(self.array.ctypes.data) + (self.origin + index) * self.array.itemsize

    def __getitem__(self, index: Any) -> Value:
        return self.array[self._slot(index)].copy()

    def __setitem__(self, index: Any, value: Value) -> None:
        self.array[self._slot(index)] = value


def _call(function: Any, args: Sequence[Any]) -> None:
    """Calls the C function at an address."""
    values = [a if isinstance(a, ctypes.c_void_p) else ctypes.c_int64(int(a)) for a in args]
    ctypes.CFUNCTYPE(None, *[type(v) for v in values])(int(function))(*values)


def _index_range(start: int, stop: int, step: int = 1) -> Iterator[np.int64]:
    """``range`` of 64-bit integers, so that index arithmetic wraps as it does in machine code."""
    return (np.int64(i) for i in range(int(start), int(stop), step))


def _caster(dtype: Any) -> Callable[[Value], Value]:
    return lambda x: np.asarray(x).astype(dtype)[()]


def _saturating(dtype: Any) -> Callable[[Value], Value]:
    info = np.iinfo(dtype)

    def cast(x: Value) -> Value:
        x = np.asarray(x, np.float64)
        top = x >= float(info.max)  # float(max) may be max + 1
        low = x <= float(info.min)
        inner = np.where(top | low | np.isnan(x), 0.0, x).astype(dtype)
        return np.where(top, dtype(info.max), np.where(low, dtype(info.min), inner))[()]

    return cast


def _bfloat16_from_f32(x: Value) -> Value:
    """Bit patterns, rounded to the nearest even."""
    u = np.asarray(x, np.float32).view(np.uint32)
    rounded = (u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    nan = (u >> np.uint32(16)) | np.uint32(64)
    return np.where(np.isnan(x), nan, rounded).astype(np.uint16)[()]


def _f32_from_bfloat16(bits: Value) -> Value:
    return (np.asarray(bits).view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)[()]


def _bitcast(x: Value, dtype: Any) -> Value:
    bits = np.atleast_1d(np.asarray(x)).view(dtype)
    return bits if bits.size > 1 else bits[0]


def _div(a: Value, b: Value) -> Value:
    """Integer division, truncating."""
    q, r = np.divmod(a, b)
    return q + ((r != 0) & ((r < 0) != (np.asarray(a) < 0))).astype(q.dtype)


def _scale(x: Value, n: Value) -> Value:
    whole = np.floor(np.where(np.isnan(n), 0, n)).astype(np.int32)
    return np.where(np.isnan(n), n, np.ldexp(x, whole)).astype(x.dtype)[()]


def _lookup(i: Value, *table: Value) -> Value:
    return np.array([np.ravel(c)[0] for c in table])[i & i.dtype.type(15)][()]


def _select(c: Value, a: Value, b: Value) -> Value:
    return np.asarray(np.where(c, a, b))[()]


def _popcount(x: Value) -> Value:
    x = np.asarray(x)
    return np.bitwise_count(x.view(f"u{x.itemsize}")).astype(x.dtype)[()]


def _clz(x: Value) -> Value:
    x = np.asarray(x)
    unsigned = x.view(f"u{x.itemsize}")
    lengths = [int(v).bit_length() for v in unsigned.reshape(-1)]
    return (8 * x.itemsize - np.array(lengths).reshape(x.shape)).astype(x.dtype)[()]


def _ipow(x: Value, n: Value) -> Value:
    x, bits = np.asarray(x), np.asarray(n).view(f"u{np.asarray(n).itemsize}")
    one = bits.dtype.type(1)
    result = np.ones_like(x)
    while bits.any():
        result = np.where(bits & one, result * x, result)
        x, bits = x * x, bits >> one
    return result[()]


def _fused(a: Value, b: Value, c: Value) -> Value:
    """``a*b + c``, rounded once."""
    if np.ndim(a) == 0:
        return _fused_scalar(a, b, c)
    return np.array([_fused_scalar(*lane) for lane in zip(a, b, c)])


def _fused_scalar(a: Any, b: Any, c: Any) -> Any:
    plain = a * b + c
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return plain
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    return _rounded(exact, type(a)) if exact else plain  # plain has the right sign of zero


def _rounded(x: Fraction, dtype: Any) -> Any:
    """The nearest number of type ``dtype``, ties to even."""
    info = np.finfo(dtype)
    exponent = abs(x.numerator).bit_length() - x.denominator.bit_length()
    if abs(x) < Fraction(2) ** exponent:
        exponent -= 1
    lowest = max(exponent, int(info.minexp)) - int(info.nmant)
    mantissa = round(x / Fraction(2) ** lowest)  # to even
    try:
        return dtype(math.ldexp(mantissa, lowest))
    except OverflowError:
        return dtype(math.copysign(math.inf, mantissa))


def _halves(combine: Callable[[Value, Value], Value]) -> Callable[[Value], Value]:
    """Reduces a vector: lower half with upper half, until one element is left."""

    def reduce(v: Value) -> Value:
        while len(v) > 1:
            half = len(v) // 2
            v = combine(v[:half], v[half:])
        return v[0]

    return reduce


def _insert(v: Value, lane: int, x: Value) -> Value:
    v = v.copy()
    v[lane] = x
    return v


def _masked(buffer: Any, index: int, mask: np.ndarray) -> Value:
    """The elements of a buffer behind ``index`` where the mask is true; zero elsewhere, where nothing is read."""
    found = [buffer[index + k] if here else None for k, here in enumerate(mask)]
    one = next((x for x in found if x is not None), 0)
    return np.array([0 if x is None else x for x in found], np.asarray(one).dtype)


def _store_masked(buffer: Any, index: int, mask: np.ndarray, v: Value) -> None:
    for k in np.flatnonzero(mask):
        buffer[index + k] = v[k]


def round_f16(x: Value) -> Value:
    return np.asarray(x).astype(np.float16).astype(np.float32)[()]


def round_bf16(x: Value) -> Value:
    return _f32_from_bfloat16(_bfloat16_from_f32(x))


# Types used as arguments (``alloc(f32, 64)``) and as conversions (``f32(x)``) are one and the same callable.
class _Type:
    def __init__(self, dtype: Any, convert: Callable[[Value], Value] | None = None) -> None:
        self.dtype = np.dtype(dtype)
        self.convert = convert or _caster(dtype)

    def __call__(self, x: Value) -> Value:
        return self.convert(x)


_TYPES = {
    **{name: _Type(t) for name, t in _INTS.items()},
    "f16": _Type(np.float16),
    "bf16": _Type(np.uint16),
    "f32": _Type(np.float32),
    "f64": _Type(np.float64),
    "b1": _Type(np.bool_, lambda x: np.not_equal(x, 0)[()]),
}

# What only kernels with vectors use.
VECTOR_NAMES: dict[str, Any] = {
    "splat": lambda x, lanes: np.full(lanes, x, np.asarray(x).dtype),
    "iota": lambda t, lanes: np.arange(lanes).astype(t.dtype),
    "insert": _insert,
    "hadd": _halves(np.add),
    "hadd_f16": _halves(lambda a, b: round_f16(a + b)),
    "hmax": _halves(np.maximum),
    "hmin": _halves(np.minimum),
    "any_lane": np.any,
    "reverse": lambda v: v[::-1].copy(),
    "every_other": lambda a, b: np.concatenate([a[::2], b[1::2]]),
    "interleave": lambda a, b: np.stack([a, b], axis=1).ravel(),
    "half": lambda v, k: v[k * (len(v) // 2) :][: len(v) // 2].copy(),
    "exchange": lambda v, k: v[np.arange(len(v)) ^ k],
    "compress": lambda v, mask: np.concatenate([v[mask], np.zeros(np.count_nonzero(~mask), v.dtype)]),
    "count": lambda mask: np.int64(np.count_nonzero(mask)),
    "masked": _masked,
    "store_masked": _store_masked,
}

NAMES: dict[str, Any] = {
    **_TYPES,
    **VECTOR_NAMES,
    **{f"sat_{name}": _saturating(t) for name, t in _INTS.items()},
    "inf": math.inf,
    "nan": math.nan,
    "f32_from_f16": _caster(np.float32),
    "f16_from_f32": _caster(np.float16),
    "f32_from_bf16": _f32_from_bfloat16,
    "bf16_from_f32": _bfloat16_from_f32,
    "round_f16": round_f16,
    "round_bf16": round_bf16,
    "bitcast": lambda x, t: _bitcast(x, t.dtype),
    "div": _div,
    "rem": np.fmod,
    "fma": _fused,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "minnum": lambda a, b: _select(np.less(a, b), a, b),
    "maxnum": lambda a, b: _select(np.greater(a, b), a, b),
    "sqrt": np.sqrt,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "rint": np.rint,
    "copysign": np.copysign,
    "scale": _scale,
    "lookup": _lookup,
    "popcount": _popcount,
    "clz": _clz,
    "ipow": _ipow,
    "gcd": np.gcd,
    "select": _select,
    "alloc": lambda t, size: Pointer(np.zeros(size, t.dtype)),
    "address": lambda pointer, index: ctypes.c_void_p(pointer.address(int(index))),
    "call": _call,
}


def run(
    text: str, args: Sequence[np.ndarray | Pointer | int], lo: int, hi: int, worker: int = 0, fma: bool = True
) -> None:
    """Executes a printed kernel in plain Python.

    Args:
        text: what ``print_kernel`` returned.
        args: one-dimensional arrays (or ``Pointer``) and integers, in the order of the parameters.
        fma: False where the target has no such instruction: a product and a sum, rounded twice.
    """
    names = dict(NAMES, range=_index_range)
    if not fma:
        names["fma"] = lambda a, b, c: a * b + c
    defined: dict[str, Any] = {}  # apart, so that a kernel may be called like one of the names
    exec(compile(text, "<kernel>", "exec"), names, defined)
    (kernel,) = defined.values()
    pointers = (Pointer(a) if isinstance(a, np.ndarray) else a for a in args)
    values = [p if isinstance(p, Pointer) else np.int64(p) for p in pointers]
    with np.errstate(all="ignore"):
        kernel(*values, np.int64(lo), np.int64(hi), np.int64(worker))
