"""Operations on operands that need no promotion: a known one goes through NumPy at once, a traced one becomes an equation.

``quick_unary`` and ``quick_binary`` are the ways in Python, which native code replaces (``when_native``, ``go_native``).
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from .. import dtypes
from ..array import Array
from ..backend import eager
from ..config import ALERT, config
from ..primitive import Primitive
from ..silence import quiet
from ..trace import Tracer, bind, reference_of

__all__ = [
    "FLOATS", "INEXACT", "INTEGERS", "LOGIC", "NUMBERS", "ORDERED", "REALS", "SINGLE_AND_DOUBLE", "Becomes", "Quick", "count_call", "function_of", "go_native",
    "quick_binary", "quick_unary", "scalar_operand", "when_native",
]  # fmt: skip

FLOATS = frozenset(dtypes.FLOATS)
INEXACT = FLOATS | frozenset(dtypes.COMPLEXES)
INTEGERS = frozenset(dtypes.INTEGERS)
REALS = INTEGERS | FLOATS
NUMBERS = INTEGERS | INEXACT
LOGIC = INTEGERS | {dtypes.bool_}
ORDERED = REALS | {dtypes.bool_}

SINGLE_AND_DOUBLE = frozenset((dtypes.float32, dtypes.float64))

Becomes = tuple[Primitive | np.ufunc, frozenset[np.dtype]]
"""The primitive that a ufunc becomes for operands of one dtype out of a set; or, for known operands, the ufunc of NumPy that
gives what its primitives do together."""
Quick = Callable[..., Any]
_calls = itertools.count(1)  # of the functions below: they are what operations go through before native ones take over
_WORTH_LOADING = 65536  # calls that cost as much more than native ones as loading the compiler does


def count_call() -> None:
    """One more operation that went through Python; every now and then, whether native code should take over."""
    n = next(_calls)
    if not n & 1023 and (n == _WORTH_LOADING or "jit" in sys.modules) and config.backend == "native":
        go_native()


_takers: list[Callable[[Any], None]] = []
_served: list[Any] = []


def when_native(take: Callable[[Any], None]) -> Callable[[Any], None]:
    """Decorator: ``take(eager)`` is called when there is native code for operations on known operands (``jit.calls.eager``)."""
    _takers.append(take)
    return take


def go_native() -> None:
    """Lets operations take native code for known operands, where there is some."""
    native = eager()
    if native is not None and native not in _served:
        _served.append(native)
        for take in _takers:
            take(native)


def function_of(becomes: Becomes, nin: int) -> Callable[..., Any]:
    """The function of NumPy arrays for operands of any of the dtypes."""
    what, takes = becomes
    if not isinstance(what, Primitive):
        return what
    found = {reference_of(what, (d,) * nin) for d in takes}
    return found.pop() if len(found) == 1 else what.rule("impl").loud  # type: ignore[attr-defined, no-any-return]


def quick_unary(prim: Primitive | np.ufunc, takes: frozenset[np.dtype]) -> Quick:
    """What a ufunc does for an operand that needs no promotion; None for others.

    A known one goes through the NumPy reference at once, a traced one becomes an equation of the primitive.

    Args:
        prim: what the ufunc becomes.
        takes: the dtypes for which operands of one dtype reach that primitive as they are.
    """
    f, is_one = function_of((prim, takes), 1), isinstance(prim, Primitive)
    known, prim = _identities(takes), cast(Primitive, prim)  # traced values reach it if it is one

    def quick(x: Any) -> Any:
        kind = type(x)
        if kind is Tracer:
            if not is_one or id(x.variable.aval.dtype) not in known:
                return None
            return bind(prim, x) if ALERT else x.builder.record_one(prim, x)
        if kind is Array:
            a, weak = x._buffer, x.weak_type
        elif kind is np.ndarray:
            a, weak = x, False
        else:
            return None
        if ALERT or a is None or id(a.dtype) not in known:
            return None
        count_call()
        try:
            out = quiet.run(f, a)
        except RuntimeError:  # called in the middle of another call
            return None
        if type(out) is not np.ndarray:
            out = np.asarray(out)
        return Array(out, weak and out.dtype != dtypes.bool_)

    return quick


def quick_binary(prim: Primitive | np.ufunc, takes: frozenset[np.dtype]) -> Quick:
    """As ``quick_unary``, for two operands of one dtype (traced ones also of one shape)."""
    f, is_one = function_of((prim, takes), 2), isinstance(prim, Primitive)
    known, prim = _identities(takes), cast(Primitive, prim)  # traced values reach it if it is one

    def quick(x: Any, y: Any) -> Any:
        kind, other = type(x), type(y)
        if not is_one and (kind is Tracer or other is Tracer):
            return None
        if kind is Tracer and other is Tracer:
            one, two = x.variable.aval, y.variable.aval
            if id(one.dtype) not in known or (
                one is not two and (one.dtype is not two.dtype or one.shape != two.shape)
            ):
                return None
            builder = x.builder
            return bind(prim, x, y) if ALERT or builder is not y.builder else builder.record_two(prim, x, y)
        if kind is Tracer or other is Tracer:
            if kind in _ARRAYS and other in _ARRAYS and x.dtype == y.dtype and x.dtype in takes and x.shape == y.shape:
                return bind(prim, x, y)
            return None
        a, weak = (x._buffer, x.weak_type) if kind is Array else (x if kind is np.ndarray else None, False)
        b, weak_b = (y._buffer, y.weak_type) if other is Array else (y if other is np.ndarray else None, False)
        if ALERT:
            return None
        if a is None or b is None:
            d = a.dtype if a is not None else b.dtype if b is not None else None
            if d is None or id(d) not in known or weak or weak_b:
                return None
            if a is None:
                a = scalar_operand(x, d)
            else:
                b = scalar_operand(y, d)
            if a is None or b is None:
                return None
        elif a.dtype is not b.dtype or id(a.dtype) not in known:
            return None
        count_call()
        try:
            out = quiet.run(f, a, b)
        except (
            ValueError,
            RuntimeError,
        ):  # the shapes do not fit: the long way says so; or in the middle of another call
            return None
        if type(out) is not np.ndarray:
            out = np.asarray(out)
        return Array(out, weak and weak_b and out.dtype != dtypes.bool_)

    return quick


_ARRAYS = frozenset((Array, Tracer, np.ndarray))


def _identities(takes: frozenset[np.dtype]) -> set[int]:
    """Of the dtypes' objects: NumPy has one of each; others are equal to it and take the long way, and so do those that
    ``fx.config.wide_dtypes`` does not keep.  (The hash of a dtype costs as much as a small operation.)"""
    known: set[int] = set()

    def note(keep_wide: bool) -> None:
        known.clear()
        known.update([id(d) for d in takes if d in dtypes.SUPPORTED])

    dtypes.tell_of_wide(note)
    return known


def scalar_operand(number: Any, d: np.dtype) -> np.ndarray | None:
    """A number beside an array of dtype ``d``, where ``d`` holds it without a thought; else None."""
    kind = type(number)
    if isinstance(number, np.generic):
        return np.asarray(number) if number.dtype is d else None
    if kind is float:
        limit = 6e4 if d == dtypes.float16 else 3e38  # beyond it, the conversion to a narrow dtype would warn
        if d in INEXACT and (-limit < number < limit or d in (dtypes.float64, dtypes.complex128)):
            return np.asarray(number, d)
    elif kind is int and d in NUMBERS:
        if d.kind == "u":
            return np.asarray(number, d) if 0 <= number < 256 else None
        if -128 <= number < 128 or (d.itemsize >= 4 and -(2**31) <= number < 2**31):
            return np.asarray(number, d)
    return None
