"""``fx.numpy``: NumPy's functions on arrays and traced values.

Names, signatures and dtype rules are those of ``jax.numpy``.  NumPy's own functions, called on an fx array or a
traced value, arrive at the functions here.
"""

from __future__ import annotations

import builtins as _builtins

import numpy as _np

from .. import dtypes as _dtypes
from ..array import Array
from ..array import Array as ndarray
from ..trace import Tracer as _Tracer
from . import (
    contraction,
    creation,
    linalg,
    manipulation,
    methods,
    reductions,
    searching,
    ufuncs,
)
from .contraction import *  # noqa: F403
from .core import result_dtype as _result_dtype
from .creation import *  # noqa: F403
from .manipulation import *  # noqa: F403
from .reductions import *  # noqa: F403
from .searching import *  # noqa: F403

bool_, int8, int16, int32, int64 = _np.bool_, _np.int8, _np.int16, _np.int32, _np.int64
uint8, uint16, uint32, uint64 = _np.uint8, _np.uint16, _np.uint32, _np.uint64
float16, float32, float64 = _np.float16, _np.float32, _np.float64
complex64, complex128 = _np.complex64, _np.complex128
bool, int_, uint, float_, complex_ = _np.bool_, _np.int64, _np.uint64, _np.float64, _np.complex128
single, double, csingle, cdouble = float32, float64, complex64, complex128
if _dtypes.bfloat16 is not None:
    bfloat16 = _dtypes.bfloat16.type

pi, e, inf, nan, euler_gamma, newaxis = _np.pi, _np.e, _np.inf, _np.nan, _np.euler_gamma, None
generic, number, integer, signedinteger, unsignedinteger = _np.generic, _np.number, _np.integer, _np.signedinteger, _np.unsignedinteger
inexact, floating, complexfloating, object_, character, flexible = (
    _np.inexact, _np.floating, _np.complexfloating, _np.object_, _np.character, _np.flexible,
)  # fmt: skip
dtype, iinfo, s_, r_, c_, ogrid, mgrid, index_exp = _np.dtype, _np.iinfo, _np.s_, _np.r_, _np.c_, _np.ogrid, _np.mgrid, _np.index_exp
set_printoptions, get_printoptions, printoptions = _np.set_printoptions, _np.get_printoptions, _np.printoptions
array_repr, array_str = repr, str
__array_api_version__ = "2024.12"

globals().update(ufuncs.registered)
divmod, modf, frexp = ufuncs.divmod, ufuncs.modf, ufuncs.frexp

methods.install(Array)
methods.install(_Tracer)


def finfo(dtype: object) -> _np.finfo:
    """Machine limits of a float dtype."""
    d = _np.dtype(dtype)  # type: ignore[call-overload]
    if _dtypes.bfloat16 is not None and d == _dtypes.bfloat16:
        import ml_dtypes

        return ml_dtypes.finfo(d)  # type: ignore[return-value]
    return _np.finfo(_dtypes.real_dtype(d))


def promote_types(a: object, b: object) -> _np.dtype:
    """The dtype that two dtypes combine to."""
    return _dtypes.promote_types(a, b)


def result_type(*args: object) -> _np.dtype:
    """The dtype of an operation on the arguments (arrays, numbers, dtypes)."""
    pairs = []
    for a in args:
        if isinstance(a, (type, _np.dtype, str)):
            weak = a in (_builtins.int, _builtins.float, _builtins.complex)
            pairs.append((creation.default_dtype(_np.dtype(a)) if weak else _dtypes.canonical(a), weak))
        else:
            from ..trace import aval_of

            v = aval_of(a)
            pairs.append((v.dtype, v.weak))
    return _dtypes.promote(*pairs)[0]


def issubdtype(a: object, b: object) -> _builtins.bool:
    """Whether a dtype is of a kind (``issubdtype(float32, floating)``); bfloat16 is floating."""
    if _dtypes.bfloat16 is not None and a == _dtypes.bfloat16:
        return b in (floating, inexact, number, generic) or b == _dtypes.bfloat16
    return _np.issubdtype(a, b)  # type: ignore[arg-type]


def isdtype(dtype: object, kind: object) -> _builtins.bool:
    """The array API's ``isdtype``."""
    d = _np.dtype(dtype)  # type: ignore[call-overload]
    if isinstance(kind, tuple):
        return _builtins.any(isdtype(d, k) for k in kind)
    kinds = {
        "bool": d.kind == "b", "signed integer": d.kind == "i", "unsigned integer": d.kind == "u", "integral": d.kind in "iu",
        "real floating": _dtypes.is_float(d), "complex floating": d.kind == "c",
        "numeric": d.kind in "iufc" or _dtypes.is_float(d),
    }  # fmt: skip
    if isinstance(kind, str) and kind in kinds:
        return kinds[kind]
    return d == _np.dtype(kind)  # type: ignore[call-overload]


def can_cast(from_: object, to: object, casting: str = "safe") -> _builtins.bool:
    """Whether a cast is allowed; under "safe", whether promotion leads there."""
    if casting == "safe" and not isinstance(from_, (Array, _Tracer)):
        return _dtypes.promote_types(from_, to) == _np.dtype(to)  # type: ignore[call-overload]
    return _np.can_cast(getattr(from_, "dtype", from_), to, casting)  # type: ignore[arg-type]


def iterable(y: object) -> _builtins.bool:
    """Whether ``y`` can be iterated."""
    return _np.iterable(y)


def get_dtype_of(*xs: object) -> _np.dtype:
    return _result_dtype(*xs)


__all__ = sorted(
    n for n in globals() if not n.startswith("_") and n not in ("annotations", "get_dtype_of", "ufuncs", "methods", "core", "protocol")
)
