"""The bits of numbers as numbers of another dtype, whatever the sizes of the two."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import ShapeError
from ..trace import aval_of
from . import elementwise as p
from . import joining, shaping
from .helpers import Value

__all__ = ["bitcast_convert_type"]


def bitcast_convert_type(x: Value, new_dtype: Any) -> Value:
    """The same bits read as another dtype.

    A smaller dtype adds a last axis, with the parts of each number, the lowest first; a greater one takes the last axis,
    which must have as many numbers as make one.

    >>> import numpy as np
    >>> bitcast_convert_type(np.float32([1.0]), "uint8").tolist()
    [[0, 0, 128, 63]]
    """
    old, new = aval_of(x).dtype, dtypes.canonical(new_dtype)
    if old.itemsize == new.itemsize or {old.kind, new.kind} & set("bc"):  # bool and complex: the primitive says why not
        return p.bitcast_convert_type(x, new)
    return _parts(x, old, new) if old.itemsize > new.itemsize else _joined(x, old, new)


def _unsigned(d: np.dtype) -> np.dtype:
    return np.dtype(f"uint{8 * d.itemsize}")


def _parts(x: Value, old: np.dtype, new: np.dtype) -> Value:
    bits, axis = p.bitcast_convert_type(x, _unsigned(old)), aval_of(x).ndim
    moved = [p.shift_right_logical(bits, 8 * k) for k in range(0, old.itemsize, new.itemsize)]
    parts = [shaping.expand_dims(p.convert_element_type(m, _unsigned(new)), (axis,)) for m in moved]
    return p.bitcast_convert_type(joining.concatenate(parts, axis), new)


def _joined(x: Value, old: np.dtype, new: np.dtype) -> Value:
    shape, count = aval_of(x).shape, new.itemsize // old.itemsize
    if not shape or shape[-1] != count:
        raise ShapeError(
            f"{count} numbers of dtype {old} make one of {new}: the last axis must have that size; the shape is {shape}"
        )
    bits = p.convert_element_type(p.bitcast_convert_type(x, _unsigned(old)), _unsigned(new))
    last = len(shape) - 1
    parts = [
        p.shift_left(shaping.squeeze(joining.slice_in_dim(bits, k, k + 1, axis=last), (last,)), 8 * old.itemsize * k)
        for k in range(count)
    ]
    return p.bitcast_convert_type(functools.reduce(p.bitwise_or, parts), new)
