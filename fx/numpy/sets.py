"""Distinct elements and sets; results whose shape depends on values, of known arrays or with ``size=``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..array import Array
from ..config import config
from ..errors import ShapeError
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives import joining, shaping, sorting
from ..primitives.cumulative import cumsum
from . import binary
from .axes import canonical_axes, canonical_axis
from .core import Value, as_type, as_typed, as_value, broadcast_value, filled, operand, promote_dtype
from .indexing import getitem, setitem
from .manipulation import concatenate, moveaxis, ravel
from .positions import chosen, known_value
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

    >>> import fx
    >>> import fx.numpy as fnp
    >>> fnp.unique(fnp.array([3, 1, 3, 2]))
    Array([1, 2, 3], dtype=int32)
    >>> fx.jit(lambda x: fnp.unique(x, size=2))(fnp.array([3, 1, 3, 2]))
    Array([1, 2], dtype=int32)
    """
    return _unique(
        as_value(ar), (return_index, return_inverse, return_counts), axis, equal_nan, size, fill_value, "unique"
    )


def _unique(
    x: Value, wanted: tuple[bool, ...], axis: Any, equal_nan: bool, size: int | None, fill_value: Any, what: str
) -> Any:
    """``unique``, called as ``what``; slices along an axis are compared as rows."""
    if axis is None and size is None:
        unique_of: Any = np.unique  # its overloads tell flags by position apart one by one
        out = unique_of(known_value(x, what), *wanted, equal_nan=equal_nan)
        if not isinstance(out, tuple):
            return Array(out)
        return (Array(out[0]), *[Array(o.astype(config.default_int)) for o in out[1:]])
    if axis is None:
        out = _unique_rows(shaping.reshape(x, (x.size, 1)), size, fill_value, wanted, equal_nan, what)
        out[0] = ravel(out[0])
        if wanted[1]:
            out[1 + wanted[0]] = shaping.reshape(out[1 + wanted[0]], x.shape)
    else:
        i = canonical_axis(axis, x.ndim)
        first = moveaxis(x, i, 0)
        n, rest = first.shape[0], first.shape[1:]
        out = _unique_rows(shaping.reshape(first, (n, math.prod(rest))), size, fill_value, wanted, equal_nan, what)
        out[0] = moveaxis(shaping.reshape(out[0], (out[0].shape[0], *rest)), 0, i)
    return out[0] if len(out) == 1 else tuple(out)


def _first_of_equals(columns: Sequence[Value], equal_nan: bool = True) -> Value:
    """Where the rows of a sorted matrix, given by its columns, have a row for the first time."""
    n = columns[0].shape[0]
    differs = filled((max(n - 1, 0),), False, dtypes.bool_)
    for column in columns:
        this, before = getitem(column, slice(1, None)), getitem(column, slice(0, max(n - 1, 0)))
        same = binary.equal(this, before)
        if equal_nan:
            same = binary.logical_or(same, p.bitwise_and(isnan(this), isnan(before)))
        differs = p.bitwise_or(differs, logical_not(same))
    return joining.concatenate([filled((min(n, 1),), True, dtypes.bool_), differs], 0)


def _unique_rows(
    rows: Value, size: int | None, fill_value: Any, wanted: tuple[bool, ...], equal_nan: bool, what: str
) -> list[Value]:
    """The distinct rows of a matrix in lexicographic order, and what else is wanted of them."""
    d, (n, m) = config.default_int, rows.shape
    if n == 0 and size and fill_value is None:
        raise ShapeError(f"{what} of an empty array has no element to pad with; pass fill_value=")
    columns = [getitem(rows, (slice(None), j)) for j in range(m)]
    *columns, order = sorting.sort((*columns, shaping.iota(d, n)), 0, num_keys=max(m, 1))
    first = _first_of_equals(columns or [filled((n,), False, dtypes.bool_)], equal_nan)
    group = binary.subtract(cumsum(as_type(first, d), 0), 1)
    size = int(np.count_nonzero(known_value(first, what))) if size is None else size
    slot = p.select(first, group, constant(group, size))
    values = getitem(rows, order)
    pad = (
        getitem(values, 0)
        if fill_value is None and n
        else as_typed(0 if fill_value is None else fill_value, rows.dtype)
    )
    out: list[Value] = [setitem(broadcast_value(pad, (size, m)), slot, values, mode="fill")]
    if wanted[0]:
        base = broadcast_value(getitem(order, 0), (size,)) if n else filled((size,), 0, d)
        out.append(setitem(base, slot, order, mode="fill"))
    if wanted[1]:
        out.append(setitem(filled((n,), 0, d), order, group))
    if wanted[2]:
        out.append(setitem(filled((size,), 0, d), group, 1, "add", mode="fill"))
    return out


def unique_values(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> Value:
    """Distinct elements (every NaN is distinct)."""
    return _unique(as_value(x), (False,) * 3, None, False, size, fill_value, "unique_values")


def unique_counts(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueCounts:
    """Distinct elements and how often each occurs."""
    wanted = (False, False, True)
    return UniqueCounts(*_unique(as_value(x), wanted, None, False, size, fill_value, "unique_counts"))


def unique_inverse(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueInverse:
    """Distinct elements and, for each element, which of them it is."""
    wanted = (False, True, False)
    return UniqueInverse(*_unique(as_value(x), wanted, None, False, size, fill_value, "unique_inverse"))


def unique_all(x: Any, /, *, size: int | None = None, fill_value: Any = None) -> UniqueAll:
    """Distinct elements, first positions, inverse and counts."""
    return UniqueAll(*_unique(as_value(x), (True,) * 3, None, False, size, fill_value, "unique_all"))


@planned
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


def _kept(values: Value, keep: Value, size: int | None, fill_value: Any, what: str) -> Value:
    """The elements of a sorted vector where ``keep`` holds; padded with the least of them, or ``fill_value``."""
    out = chosen(values, keep, 0, size, 0 if fill_value is None else fill_value, what)
    if size is None or fill_value is not None or not size:
        return out
    inside = binary.less(shaping.iota(config.default_int, size), sum_(keep))
    return p.select(inside, out, broadcast_value(getitem(out, 0), (size,)))


def _two(ar1: Any, ar2: Any) -> list[Value]:
    return [ravel(x) for x in promote_dtype(operand(ar1), operand(ar2))]


def union1d(ar1: Any, ar2: Any, *, size: int | None = None, fill_value: Any = None) -> Value:
    """The distinct elements of both arrays."""
    s = sorting.sort(concatenate(_two(ar1, ar2)), 0)
    return _kept(s, _first_of_equals([s]), size, fill_value, "union1d")


def setdiff1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None
) -> Value:
    """The distinct elements of ``ar1`` that are not in ``ar2``; in their own order, if they are said to be unique.  0 pads."""
    a, b = _two(ar1, ar2)
    s = a if assume_unique else sorting.sort(a, 0)
    keep = isin(s, b, invert=True)
    keep = keep if assume_unique else p.bitwise_and(_first_of_equals([s]), keep)
    return _kept(s, keep, size, 0 if fill_value is None else fill_value, "setdiff1d")


def setxor1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None
) -> Value:
    """The distinct elements of which one array has them and the other does not."""
    a, b = _two(ar1, ar2)
    s = sorting.sort(concatenate([a, b]), 0)
    keep = p.bitwise_and(_first_of_equals([s]), binary.not_equal(isin(s, a), isin(s, b)))
    return _kept(s, keep, size, fill_value, "setxor1d")


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
    keep = p.bitwise_and(_first_of_equals([s]), isin(s, b))
    values = _kept(s, keep, size, fill_value, "intersect1d")
    if not return_indices:
        return values
    order_b = argsort(b)
    places_b = getitem(order_b, searchsorted(getitem(b, order_b), values))
    inside = binary.less(shaping.iota(config.default_int, values.shape[0]), sum_(keep))
    places_b = p.select(inside, places_b, constant(places_b, b.shape[0]))
    return values, chosen(order_a, keep, 0, size, a.shape[0], "intersect1d"), places_b


def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Value:
    """An array without leading ("f") and trailing ("b") slices of zeros along each axis; of a known array."""
    x = as_value(filt)
    filled_in = known_value(x, "trim_zeros", "Call") != 0
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
