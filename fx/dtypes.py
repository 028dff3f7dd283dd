"""Dtypes and the promotion lattice.

The lattice is JAX's (with 64-bit types always there), so that a program gets the same dtypes in both::

    b1 -> i* -> u8 -> u16 -> u32 -> u64 -> f* -> bf16 | f16 -> f32 -> f64 -> c* -> c64 -> c128
           \\-> i8 -> i16 -> i32 -> i64 ->/

Starred nodes are the *weak* types of Python scalars.  An integer array with a float array gives the
float array's dtype.  Source: "Design of Type Promotion Semantics for JAX".
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import DTypeError

try:  # bfloat16 comes from ml_dtypes (an optional extra): the core works without it
    import ml_dtypes

    bfloat16: np.dtype | None = np.dtype(ml_dtypes.bfloat16)
except ImportError:  # pragma: no cover - depends on the installation
    bfloat16 = None

bool_ = np.dtype(np.bool_)
int8, int16, int32, int64 = (np.dtype(t) for t in (np.int8, np.int16, np.int32, np.int64))
uint8, uint16, uint32, uint64 = (np.dtype(t) for t in (np.uint8, np.uint16, np.uint32, np.uint64))
float16, float32, float64 = (np.dtype(t) for t in (np.float16, np.float32, np.float64))
complex64, complex128 = (np.dtype(t) for t in (np.complex64, np.complex128))

SIGNED = (int8, int16, int32, int64)
UNSIGNED = (uint8, uint16, uint32, uint64)
INTEGERS = SIGNED + UNSIGNED
FLOATS = (float16, *((bfloat16,) if bfloat16 is not None else ()), float32, float64)
COMPLEXES = (complex64, complex128)
ALL = (bool_, *INTEGERS, *FLOATS, *COMPLEXES)
SUPPORTED = set(ALL)
"""The dtypes that arrays of NumPy are taken in as they are; ``fx.config.wide_dtypes`` says whether those of 64 bits are."""


TypePromotionError = DTypeError  # JAX's name

float0 = np.dtype([("float0", np.void, 0)])
"""The dtype of the gradient with respect to an integer: it holds nothing."""


class extended(np.generic):
    """The kind of dtypes that NumPy does not have."""


class prng_key(extended):
    """The kind of key dtypes: ``issubdtype(key.dtype, prng_key)``."""


class KeyDType:
    """The dtype of arrays of keys (``fx.random.key``): two uint32 words of threefry-2x32 each."""

    name = "key<fry>"
    type = prng_key
    itemsize = 8

    def __repr__(self) -> str:
        return self.name


key_dtype = KeyDType()


def issubdtype(a: Any, b: Any) -> bool:
    """Whether a dtype is of a kind, or is a dtype: NumPy's rule, for bfloat16 and the dtype of keys too.

    >>> issubdtype(bfloat16, np.floating), issubdtype(key_dtype, prng_key), issubdtype("int8", np.floating)
    (True, True, False)
    """
    if isinstance(a, KeyDType) or isinstance(b, KeyDType) or (isinstance(a, type) and issubclass(a, extended)):
        kind = a.type if isinstance(a, KeyDType) else a
        wanted = b.type if isinstance(b, KeyDType) else b
        return isinstance(kind, type) and isinstance(wanted, type) and issubclass(kind, wanted)
    if bfloat16 is not None and a in (bfloat16, bfloat16.type):
        return b in (np.floating, np.inexact, np.number, np.generic, bfloat16, bfloat16.type)
    return bool(np.issubdtype(a, b))


def itemsize_bits(dtype: Any) -> int:
    """The number of bits that an element takes in memory."""
    return 8 * canonical(dtype).itemsize


def scalar_type_of(x: Any) -> type:
    """The Python type of the numbers of an array or dtype: bool, int, float or complex."""
    d = canonical(getattr(x, "dtype", type(x) if type(x) in (bool, int, float, complex) else x))
    return bool if is_bool(d) else int if is_integer(d) else float if is_float(d) else complex


def is_bool(d: np.dtype) -> bool:
    return d == bool_


def is_integer(d: np.dtype) -> bool:
    return d.kind in "iu"


def is_bfloat16(d: np.dtype) -> bool:
    """Never without ml_dtypes: NumPy takes None for float64 where it is compared with a dtype."""
    return bfloat16 is not None and d == bfloat16


def is_float(d: np.dtype) -> bool:
    return d.kind == "f" or is_bfloat16(d)


def is_complex(d: np.dtype) -> bool:
    return d.kind == "c"


def is_inexact(d: np.dtype) -> bool:
    """True for the dtypes that carry derivatives: floats and complexes."""
    return is_float(d) or is_complex(d)


def canonical(dtype: Any) -> np.dtype:
    """The numpy dtype behind a spelling; ``int``, ``float`` and ``complex`` mean what ``fx.config.python_dtypes`` says, and
    those of 64 bits what ``fx.config.wide_dtypes`` says.

    Raises:
        DTypeError: for strings, objects, datetimes, long doubles and structured dtypes.
    """
    try:
        return _spelled[dtype]
    except (KeyError, TypeError):
        pass
    if dtype is float or dtype is int or dtype is complex:
        meant: np.dtype = of_python(dtype)
        return meant if meant in SUPPORTED else of_wide(meant)
    try:
        d: np.dtype = np.dtype(dtype)
    except TypeError:
        sizes = (
            " Several sizes are one argument, a tuple: zeros((2, 3))." if isinstance(dtype, (int, np.integer)) else ""
        )
        raise DTypeError(f"{dtype!r} is not a dtype. Write e.g. fx.numpy.float32 or 'float32'.{sizes}") from None
    if not d.isnative:
        raise DTypeError(
            f"dtype {d.str!r} has the bytes of each number in the order of other machines. Convert it:"
            f" x.astype({d.newbyteorder('=').name!r})."
        )
    if d not in SUPPORTED:
        if d in ALL:
            return of_wide(d)
        raise DTypeError(
            f"dtype {d} is not supported. fx computes with bool, int8..int64, uint8..uint64, float16, bfloat16"
            " (with ml_dtypes installed), float32, float64, complex64 and complex128."
        )
    if isinstance(dtype, (type, str, np.dtype)) and len(_spelled) < 256:
        _spelled[dtype] = d
    return d


of_python: Any = np.dtype
"""The dtype that ``int``, ``float`` or ``complex`` means where one is asked for; ``config`` puts its own here."""

of_wide: Any = np.dtype
"""What a dtype of 64 bits means that is not in ``SUPPORTED``; ``config`` puts its own here."""


def keep_wide(keep: bool) -> None:
    """Whether arrays and dtypes of 64 bits are what they are; else ``of_wide`` says what they mean."""
    wide = (int64, uint64, float64, complex128)
    SUPPORTED.update(wide) if keep else SUPPORTED.difference_update(wide)
    _spelled.clear()
    for tell in _told_of_wide:
        tell(keep)


def tell_of_wide(tell: Callable[[bool], Any]) -> None:
    """Calls ``tell(keep)`` now and whenever it changes whether arrays of 64 bits are taken in as they are."""
    _told_of_wide.append(tell)
    tell(float64 in SUPPORTED)


_told_of_wide: list[Callable[[bool], Any]] = []


_spelled: dict[Any, np.dtype] = {}  # spellings that were met before


def limits(dtype: np.dtype) -> Any:
    """``np.finfo`` of a dtype of floats or complex numbers; of bfloat16 too."""
    return ml_dtypes.finfo(dtype) if dtype.kind == "V" else np.finfo(real_dtype(dtype))


def real_dtype(d: np.dtype) -> np.dtype:
    """float32 for complex64, float64 for complex128, the dtype itself otherwise."""
    return float32 if d == complex64 else float64 if d == complex128 else d


def complex_dtype(d: np.dtype) -> np.dtype:
    """complex128 for float64 and complex128, complex64 for every other dtype."""
    return complex128 if d in (float64, complex128) else complex64


# ----------------------------------------------------------------------------- the lattice

_WEAK = ("i*", "f*", "c*")


def _edges() -> dict[Any, list[Any]]:
    half: list[Any] = [float16] + ([bfloat16] if bfloat16 is not None else [])
    e: dict[Any, list[Any]] = {
        bool_: ["i*"],
        "i*": [uint8, int8],
        uint8: [int16, uint16],
        uint16: [int32, uint32],
        uint32: [int64, uint64],
        int8: [int16],
        int16: [int32],
        int32: [int64],
        int64: ["f*"],
        uint64: ["f*"],
        "f*": [*half, "c*"],
        float32: [float64, complex64],
        float64: [complex128],
        "c*": [complex64],
        complex64: [complex128],
        complex128: [],
    }
    for h in half:
        e[h] = [float32]
    return e


_EDGES = _edges()


@functools.cache
def _above(node: Any) -> frozenset:
    return frozenset([node]).union(*(_above(n) for n in _EDGES[node]))


@functools.cache
def _join(a: Any, b: Any) -> Any:
    common = _above(a) & _above(b)
    (least,) = [n for n in common if common <= _above(n)]
    return least


def _node(d: np.dtype, weak: bool) -> Any:
    if not weak or d == bool_:
        return d
    return "i*" if is_integer(d) else "f*" if is_float(d) else "c*"


@functools.cache
def promote(*operands: tuple[np.dtype, bool]) -> tuple[np.dtype, bool]:
    """Joins ``(dtype, weak)`` pairs in the lattice; returns the joint ``(dtype, weak)``.

    >>> import numpy as np
    >>> promote((np.dtype('int32'), False), (np.dtype('float32'), True))
    (dtype('float32'), True)
    >>> promote((np.dtype('float16'), False), (np.dtype('float64'), True))
    (dtype('float16'), False)
    """
    node = functools.reduce(_join, [_node(d, w) for d, w in operands])
    if node in _WEAK:  # every operand is weak, or a strong integer met a weak float
        kinds = [d for d, w in operands if _node(d, w) == node]
        if not kinds:  # uint64 with int64: no integer type holds both
            return float64, False
        return functools.reduce(lambda p, q: p if p.itemsize >= q.itemsize else q, kinds), True
    return node, False


def promote_types(a: Any, b: Any) -> np.dtype:
    """The dtype of an operation on arrays of dtypes ``a`` and ``b``.

    >>> promote_types('int64', 'float32')
    dtype('float32')
    >>> promote_types('int8', 'uint8')
    dtype('int16')
    """
    return canonical(promote((canonical(a), False), (canonical(b), False))[0])


def canonicalize_dtype(dtype: Any, allow_extended_dtype: bool = False) -> Any:
    """``canonical``; with ``allow_extended_dtype`` the dtype of keys is let through."""
    return dtype if allow_extended_dtype and isinstance(dtype, KeyDType) else canonical(dtype)


_ABOVE = ("finfo", "iinfo", "result_type")


def __getattr__(name: str) -> Any:
    """JAX's names here for what stands above this module, in ``fx.numpy``; loaded when they are used."""
    if name not in _ABOVE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("fx.numpy"), name)
