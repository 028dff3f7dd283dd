"""Where elements are true: ``nonzero``, whose number of results is given, as the values alone would tell it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import AxisError, DTypeError, ShapeError
from ..ir import Aval
from ..primitive import Primitive
from ..trace import bind
from .checks import BOOL, check_dtype
from .helpers import Value, move_batch

__all__ = ["nonzero", "nonzero_p"]

nonzero_p = Primitive("nonzero", typed_by=())
nonzero_p.no_gradient("positions are integers")


@nonzero_p.def_abstract
def _nonzero_abstract(x: Aval, *, length: int, index_dtype: np.dtype) -> Aval:
    check_dtype("nonzero", x, BOOL)
    if x.ndim == 0:
        raise AxisError(f"nonzero: operand {x} has no last dimension to look along")
    if length < 0:
        raise ShapeError(f"nonzero: length={length} must not be negative")
    if index_dtype not in (dtypes.int32, dtypes.int64):
        raise DTypeError(f"nonzero: index_dtype must be int32 or int64, not {index_dtype}.")
    return Aval((*x.shape[:-1], length), index_dtype)


@nonzero_p.def_impl
def _nonzero_impl(x: np.ndarray, *, length: int, index_dtype: np.dtype) -> np.ndarray:
    n = x.shape[-1]
    out = np.full((*x.shape[:-1], length), n, index_dtype)
    for at in np.ndindex(*x.shape[:-1]):
        found = np.flatnonzero(x[at])[:length]
        out[at][: found.size] = found
    return out


@nonzero_p.def_batch
def _nonzero_batch(size: int, args: Sequence[Value], dims: Sequence[int], **params: Any) -> tuple[Value, int]:
    return bind(nonzero_p, move_batch(args[0], dims[0], 0), **params), 0


def nonzero(operand: Value, length: int, index_dtype: Any = dtypes.int32) -> Value:
    """The positions of the first ``length`` true elements along the last axis, rising; behind them the axis' size."""
    return bind(nonzero_p, operand, length=length, index_dtype=dtypes.canonical(index_dtype))
