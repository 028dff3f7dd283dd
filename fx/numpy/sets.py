"""Distinct elements and sets; results whose shape depends on values, of known arrays or with ``size=``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..array import Array
from ..config import config
from ..errors import ShapeError, UnsupportedFunctionError
from ..primitives import elementwise as p
from ..primitives import shaping, sorting
from ..primitives.cumulative import cumsum
from . import binary
from .axes import canonical_axes
from .core import Value, as_type, as_typed, as_value, broadcast_value, filled, operand, promote_dtype
from .indexing import getitem, setitem
from .manipulation import concatenate, ravel
from .positions import compress, known_value
from .reductions import sum as sum_
from .sorting import argsort, searchsorted
from .unary import constant, isnan, logical_not

__all__ = [
    "intersect1d", "isin", "setdiff1d", "setxor1d", "trim_zeros", "union1d", "unique", "unique_all", "unique_counts", "unique_inverse",
    "unique_values",
]  # fmt: skip


class UniqueAll(NamedTuple):
    """What ``unique_all`` returns."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCounts(NamedTuple):
    """What ``unique_counts`` returns."""

    values: Any
    counts: Any


class UniqueInverse(NamedTuple):
    """What ``unique_inverse`` returns."""

    values: Any
    inverse_indices: Any


def unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False, axis: Any = None, *,
    equal_nan: bool = True, size: int | None = None, fill_value: Any = None, sorted: bool = True,
) -> Any:  # fmt: skip
    """The distinct elements, sorted.

    Args:
        size: how many, needed under jit and vmap: what is too much is cut off, what is missing is ``fill_value`` (by
            default the least element).

    Returns:
        The elements; in a tuple with the position of the first of each, for every element which of them it is, and
        how often each occurs, as asked for.
    """
    x = as_value(ar)
    wanted = (return_index, return_inverse, return_counts)
    if size is None:
        out = np.unique(known_value(x, "unique"), *wanted, axis, equal_nan=equal_nan)
        if not isinstance(out, tuple):
            return Array(out)
        return (Array(out[0]), *[Array(o.astype(config.default_int)) for o in out[1:]])
    if axis is not None and x.ndim != 1:
        raise UnsupportedFunctionError("unique with size= works on the flattened array; axis= is not there")
    return _unique_sized(ravel(x), x.shape, size, fill_value, wanted, equal_nan)


def _first_of_equals(values: Value, equal_nan: bool = True) -> Value:
    """Where a sorted vector has an element for the first time."""
    n = values.shape[0]
    this, before = getitem(values, slice(1, None)), getitem(values, slice(0, max(n - 1, 0)))
    same = binary.equal(this, before)
    if equal_nan:
        same = binary.logical_or(same, p.bitwise_and(isnan(this), isnan(before)))
    return shaping.concatenate([filled((min(n, 1),), True, dtypes.bool_), logical_not(same)], 0)


def _unique_sized(
    x: Value, shape: tuple[int, ...], size: int, fill_value: Any, wanted: tuple[bool, ...], equal_nan: bool
) -> Any:
    d, n = config.default_int, x.shape[0]
    if n == 0 and size and fill_value is None:
        raise ShapeError("unique of an empty array has no element to pad with; pass fill_value=")
    values, order = sorting.sort((x, shaping.iota(d, n)), 0, num_keys=1)
    first = _first_of_equals(values, equal_nan)
    group = binary.subtract(cumsum(as_type(first, d), 0), 1)
    slot = p.select(first, group, constant(group, size))
    pad = getitem(values, 0) if fill_value is None and n else as_typed(0 if fill_value is None else fill_value, x.dtype)
    out: list[Value] = [setitem(broadcast_value(pad, (size,)), slot, values, mode="fill")]
    if wanted[0]:
        base = broadcast_value(getitem(order, 0), (size,)) if n else filled((size,), 0, d)
        out.append(setitem(base, slot, order, mode="fill"))
    if wanted[1]:
        out.append(shaping.reshape(setitem(filled((n,), 0, d), order, group), shape))
    if wanted[2]:
        out.append(setitem(filled((size,), 0, d), group, 1, "add", mode="fill"))
    return out[0] if len(out) == 1 else tuple(out)


def unique_values(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> Value:
    """Distinct elements (every NaN is distinct)."""
    return unique(x, size=size, fill_value=fill_value, equal_nan=False)


def unique_counts(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueCounts:
    """Distinct elements and how often each occurs."""
    return UniqueCounts(*unique(x, return_counts=True, size=size, fill_value=fill_value, equal_nan=False))


def unique_inverse(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueInverse:
    """Distinct elements and, for each element, which of them it is."""
    return UniqueInverse(*unique(x, return_inverse=True, size=size, fill_value=fill_value, equal_nan=False))


def unique_all(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueAll:
    """Distinct elements, first positions, inverse and counts."""
    return UniqueAll(*unique(x, True, True, True, size=size, fill_value=fill_value, equal_nan=False))


def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, method: Any = None
) -> Value:
    """Which elements occur in ``test_elements``."""
    x, t = promote_dtype(operand(element), operand(test_elements))
    t = ravel(t)
    if t.shape[0] == 0:
        return filled(x.shape, invert, dtypes.bool_)
    s = sorting.sort(t, 0)
    at = searchsorted(s, x)
    found = binary.logical_and(binary.equal(getitem(s, at), x), binary.less(at, t.shape[0]))
    return logical_not(found) if invert else found


# --------------------------------------------------------------------------------------------- sets


def _chosen(values: Value, keep: Value, size: int | None, fill_value: Any) -> Value:
    """The elements of a sorted vector where ``keep`` holds; padded with the least of them, or ``fill_value``."""
    if size is None:
        return compress(keep, values)
    out = compress(keep, values, size=size, fill_value=0 if fill_value is None else fill_value)
    if fill_value is not None or not size:
        return out
    inside = binary.less(shaping.iota(config.default_int, size), sum_(keep))
    return p.select(inside, out, broadcast_value(getitem(out, 0), (size,)))


def _two(ar1: Any, ar2: Any) -> list[Value]:
    return [ravel(x) for x in promote_dtype(operand(ar1), operand(ar2))]


def union1d(ar1: Any, ar2: Any, *, size: int | None = None, fill_value: Any = None) -> Value:
    """The distinct elements of both arrays."""
    s = sorting.sort(concatenate(_two(ar1, ar2)), 0)
    return _chosen(s, _first_of_equals(s), size, fill_value)


def setdiff1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None
) -> Value:
    """The distinct elements of ``ar1`` that are not in ``ar2``; in their own order, if they are said to be unique.  0 pads."""
    a, b = _two(ar1, ar2)
    s = a if assume_unique else sorting.sort(a, 0)
    keep = isin(s, b, invert=True)
    keep = keep if assume_unique else p.bitwise_and(_first_of_equals(s), keep)
    return _chosen(s, keep, size, 0 if fill_value is None else fill_value)


def setxor1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None
) -> Value:
    """The distinct elements of which one array has them and the other does not."""
    a, b = _two(ar1, ar2)
    s = sorting.sort(concatenate([a, b]), 0)
    return _chosen(s, p.bitwise_and(_first_of_equals(s), binary.not_equal(isin(s, a), isin(s, b))), size, fill_value)


def intersect1d(
    ar1: Any,
    ar2: Any,
    assume_unique: bool = False,
    return_indices: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The distinct elements of both arrays; with ``return_indices`` also where they stand first in each."""
    a, b = _two(ar1, ar2)
    order_a = argsort(a)
    s = getitem(a, order_a)
    keep = p.bitwise_and(_first_of_equals(s), isin(s, b))
    values = _chosen(s, keep, size, fill_value)
    if not return_indices:
        return values
    order_b = argsort(b)
    places_b = getitem(order_b, searchsorted(getitem(b, order_b), values))
    inside = binary.less(shaping.iota(config.default_int, values.shape[0]), sum_(keep))
    places_b = p.select(inside, places_b, constant(places_b, b.shape[0]))
    return values, compress(keep, order_a, size=size, fill_value=a.shape[0]), places_b


def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Value:
    """An array without leading ("f") and trailing ("b") slices of zeros along each axis; of a known array."""
    x = as_value(filt)
    filled_in = known_value(x, "trim_zeros") != 0
    cut = [slice(None)] * x.ndim
    for i in canonical_axes(axis, x.ndim):
        places = np.flatnonzero(filled_in.any(axis=tuple([j for j in range(x.ndim) if j != i])))
        if not places.size:
            cut[i] = slice(0, 0)
            continue
        cut[i] = slice(
            int(places[0]) if "f" in trim.lower() else 0, int(places[-1]) + 1 if "b" in trim.lower() else None
        )
    return getitem(x, tuple(cut))
