"""Where an array is not zero: results whose shape depends on values, of known arrays or with ``size=``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..array import Array
from ..config import config
from ..errors import ConcretizationError, ShapeError
from ..primitives import elementwise as p
from ..primitives import joining, shaping
from ..primitives.positions import nonzero as nonzero_along
from ..trace import concrete_value
from .axes import canonical_axis
from .core import Value, as_type, as_value, broadcast_value, filled, position_dtype
from .indexing import getitem
from .manipulation import ravel
from .reductions import sum as sum_
from .unary import constant, truth

__all__ = ["argwhere", "chosen", "compress", "extract", "flatnonzero", "known_value", "nonzero", "places"]


def known_value(x: Value, what: str, way: str = "Pass size= (and fill_value=) to fix it, or call") -> np.ndarray:
    """The value of an array.

    Args:
        what: the function that the user called.
        way: what to do, up to "it outside the traced function".

    Raises:
        ConcretizationError: it is not known while tracing.
    """
    v = concrete_value(x)
    if v is None:
        raise ConcretizationError(
            f"{what} of a traced array: the result's shape would depend on its values. {way} it outside the traced"
            " function."
        )
    return v


def nonzero(a: Any, *, size: int | None = None, fill_value: Any = None) -> tuple[Value, ...]:
    """The indices of the elements that are not zero, one array for each axis.

    Args:
        size: the length of the result, needed under jit and vmap: what is too much is cut off, what is missing is
            ``fill_value`` (a number, or one for each axis; 0 by default).

    Raises:
        ShapeError: the array has no dimension.

    >>> import fx
    >>> import fx.numpy as fnp
    >>> fnp.nonzero(fnp.array([0, 3, 0, 5]))
    (Array([1, 3], dtype=int32),)
    >>> fx.jit(lambda x: fnp.nonzero(x, size=3, fill_value=-1))(fnp.array([0, 3, 0, 5]))
    (Array([ 1,  3, -1], dtype=int32),)
    """
    return places(as_value(a), size, fill_value, "nonzero")


def places(x: Value, size: int | None, fill_value: Any, what: str) -> tuple[Value, ...]:
    """``nonzero``, called as ``what``."""
    if x.ndim == 0:
        raise ShapeError(
            f"{what} of a 0-d array: an element without a dimension has no index. Make it a vector, with atleast_1d."
        )
    d = position_dtype(x.size)
    if size is None:
        return tuple([Array(i.astype(d)) for i in np.nonzero(known_value(x, what))])
    n = x.size
    flat = nonzero_along(truth(ravel(x)), size, d)
    inside = p.lt(flat, constant(flat, n))
    fills = fill_value if isinstance(fill_value, (tuple, list)) else (0 if fill_value is None else fill_value,) * x.ndim
    if len(fills) != x.ndim:
        raise ShapeError(
            f"{what}: {len(fills)} fill values for an array with {x.ndim} dimensions; give one, or one for each"
        )
    out = []
    for k, (m, fill) in enumerate(zip(x.shape, fills)):
        step = math.prod(x.shape[k + 1 :])
        place = p.div(flat, constant(flat, step)) if step > 1 else flat
        place = p.rem(place, constant(flat, m)) if k else place
        out.append(p.select(inside, place, broadcast_value(as_type(as_value(fill), d), (size,))))
    return tuple(out)


def flatnonzero(a: Any, *, size: int | None = None, fill_value: Any = None) -> Value:
    """``nonzero`` of the flattened array."""
    return places(ravel(a), size, fill_value, "flatnonzero")[0]


def argwhere(a: Any, *, size: int | None = None, fill_value: Any = None) -> Value:
    """The index vectors of the elements that are not zero, as rows."""
    x = as_value(a)
    if x.ndim == 0:
        return filled((int(bool(known_value(x, "argwhere"))) if size is None else size, 0), 0, config.default_int)
    parts = places(x, size, fill_value, "argwhere")
    return joining.concatenate([shaping.expand_dims(c, (1,)) for c in parts], 1)


def compress(
    condition: Any, a: Any, axis: Any = None, *, size: int | None = None, fill_value: Any = 0, out: Any = None
) -> Value:
    """The slices along ``axis`` where the condition holds (``size`` cuts off, or pads with ``fill_value``)."""
    x = as_value(a)
    x, i = (ravel(x), 0) if axis is None else (x, canonical_axis(axis, x.ndim))
    return chosen(x, truth(as_value(condition)), i, size, fill_value, "compress")


def chosen(x: Value, c: Value, i: int, size: int | None, fill_value: Any, what: str) -> Value:
    """``compress`` along axis i, called as ``what``."""
    if c.ndim != 1:
        raise ShapeError(f"{what}: the condition must be a vector; found shape {c.shape}")
    n = x.shape[i]
    if c.shape[0] > n:
        extra = getitem(c, slice(n, None))
        known = concrete_value(extra)
        if known is not None and known.any():
            raise ShapeError(f"{what}: the condition of size {c.shape[0]} holds beyond axis {i} of size {n}")
        c = getitem(c, slice(0, n))
    (where,) = places(c, size, n, what)
    index = (*(slice(None),) * i, where)
    if size is None or concrete_value(fill_value) is not None:
        return getitem(x, index, "fill", fill_value)
    out = getitem(x, index, "fill")
    inside = p.lt(
        shaping.iota(config.default_int, size), broadcast_value(sum_(as_type(c, config.default_int)), (size,))
    )
    inside = shaping.broadcast_in_dim(inside, out.shape, (i,))
    return p.select(inside, out, broadcast_value(as_type(fill_value, x.dtype), out.shape))


def extract(condition: Any, arr: Any, *, size: int | None = None, fill_value: Any = 0) -> Value:
    """The elements where the condition holds."""
    return chosen(ravel(arr), truth(ravel(condition)), 0, size, fill_value, "extract")
