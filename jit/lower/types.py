"""numpy dtypes and the loop language's types.

In registers a value of an array has the type of the array: what a load gives and a store takes.  That holds
for float16 and bfloat16 too: a pointwise rule *widens* such operands to float32, computes, and casts its
result back, so a chain of primitives rounds after each one whether it is fused or not.  A complex array is
an array of consecutive (re, im) pairs of its real type, and a complex value is a pair of expressions.
"""

from __future__ import annotations

import numpy as np

from fx import dtypes
from fx.errors import LoweringError

from ..loop_ir import Ty, b1, bf16, f32

__all__ = ["compute_type", "np_dtype", "ty_of"]


def ty_of(dtype: np.dtype, lanes: int = 1) -> Ty:
    """The loop type of one real number of an array: for complex dtypes that of the real and imaginary parts.

    Raises:
        LoweringError: for a dtype that fx does not compute with.

    >>> str(ty_of(np.dtype("complex64"))), str(ty_of(np.dtype("uint8"), 4))
    ('f32', 'u8x4')
    """
    if dtype not in dtypes.ALL:
        raise LoweringError(f"arrays of dtype {dtype} have no native loops")
    if dtypes.is_bool(dtype):
        ty = b1
    elif dtype.kind in "iu":
        ty = Ty(dtype.kind, 8 * dtype.itemsize)
    elif dtypes.is_complex(dtype):
        ty = Ty("f", 4 * dtype.itemsize)
    else:
        ty = bf16 if dtypes.is_bfloat16(dtype) else Ty("f", 8 * dtype.itemsize)
    return ty.vector(lanes)


def np_dtype(ty: Ty) -> np.dtype:
    """The numpy dtype of one lane.

    >>> np_dtype(Ty("u", 16, 8))
    dtype('uint16')
    """
    if ty.kind == "b":
        return dtypes.bool_
    if ty.kind == "bf":
        if dtypes.bfloat16 is None:
            raise LoweringError("bfloat16 needs the ml_dtypes package")
        return dtypes.bfloat16
    return np.dtype({"f": "float", "i": "int", "u": "uint"}[ty.kind] + str(ty.bits))


def compute_type(ty: Ty) -> Ty:
    """The type that arithmetic on ``ty`` runs in: float32 for the 16-bit floats, ``ty`` itself otherwise."""
    return f32.vector(ty.lanes) if ty.is_float and ty.bits == 16 else ty
