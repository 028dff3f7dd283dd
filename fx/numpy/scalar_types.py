"""The dtypes by their names, as JAX has them: each is a dtype wherever one is asked for, and makes arrays of it.

``float32(x)`` is ``asarray(x, float32)``, so a traced ``x`` stays traced; NumPy's own class would ask it for its number.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from .. import dtypes
from .core import Value
from .creation import asarray

__all__ = [
    "bool", "bool_", "byte", "cdouble", "complex128", "complex64", "complex_", "csingle", "double", "float16", "float32", "float64",
    "float_", "half", "int16", "int32", "int64", "int8", "int_", "intc", "intp", "long", "longlong", "short", "single", "ubyte",
    "uint", "uint16", "uint32", "uint64", "uint8", "uintc", "uintp", "ulong", "ulonglong", "ushort",
]  # fmt: skip


class ScalarType(type):
    """The class of ``float32`` and its kin; equal to NumPy's class of numbers of this dtype, and found where that is.

    >>> import fx.numpy as fnp
    >>> fnp.float32 == np.float32, np.dtype(fnp.float32), fnp.int32([1.5, 2.5])
    (True, dtype('float32'), Array([1, 2], dtype=int32))
    """

    dtype: np.dtype

    @property
    def __numpy_dtype__(cls) -> np.dtype:  # what NumPy asks a class for from 2.4 on; before, it is ``dtype``
        return cls.dtype

    def __call__(cls, x: Any = 0) -> Value:
        return asarray(x, cls.dtype)

    def __eq__(cls, other: object) -> builtins.bool:
        return cls is other or cls.dtype.type == other

    def __hash__(cls) -> int:
        return hash(cls.dtype.type)

    def __instancecheck__(cls, x: Any) -> builtins.bool:
        return isinstance(x, cls.dtype.type)


def _scalar_type(dtype: np.dtype) -> ScalarType:
    name = "bool_" if dtype == dtypes.bool_ else dtype.name
    doc = f"The dtype {dtype.name}; called, an array of it."
    return ScalarType(name, (), {"dtype": dtype, "__module__": "fx.numpy", "__doc__": doc})


bool_ = _scalar_type(dtypes.bool_)
int8, int16, int32, int64 = map(_scalar_type, dtypes.SIGNED)
uint8, uint16, uint32, uint64 = map(_scalar_type, dtypes.UNSIGNED)
float16, float32, float64 = map(_scalar_type, (dtypes.float16, dtypes.float32, dtypes.float64))
complex64, complex128 = map(_scalar_type, dtypes.COMPLEXES)
if dtypes.bfloat16 is not None:
    bfloat16 = _scalar_type(dtypes.bfloat16)
    __all__.append("bfloat16")

bool, int_, uint, float_, complex_ = bool_, int64, uint64, float64, complex128
single, double, csingle, cdouble = float32, float64, complex64, complex128
half, byte, ubyte, short, ushort = float16, int8, uint8, int16, uint16
intc, uintc, intp, uintp, long, ulong, longlong, ulonglong = int32, uint32, *(int64, uint64) * 3
