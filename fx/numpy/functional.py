"""Functions made of functions: vectorize, apply_along_axis, frompyfunc; and pad, one of whose modes is a function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..api import vmap
from ..config import config
from ..errors import (
    ArgumentError,
    ShapeError,
)
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives import helpers, joining, shaping
from ..sizes import as_int
from ..trace import is_python_scalar
from ..traceback import user_frames
from ..transforms.flat import check_function
from . import binary
from .axes import axis_tuple, canonical_axis, static_shape
from .core import Value, as_type, as_typed, as_value, broadcast_shapes, broadcast_value, inexact, promote
from .creation import linspace
from .indexing import getitem
from .manipulation import moveaxis
from .quantiles import median
from .reductions import max as max_
from .reductions import min as min_
from .rounding import round as round_
from .statistics import mean
from .ufunc_class import Ufunc

__all__ = ["apply_along_axis", "apply_over_axes", "fromfunction", "frompyfunc", "pad", "vectorize"]


def fromfunction(function: Callable[..., Any], shape: Any, *, dtype: Any = None, **kwargs: Any) -> Value:
    """``function`` of the indices of each element; they are single numbers for it, as it is batched.

    >>> import fx.numpy as fnp
    >>> fnp.fromfunction(lambda i, j: i + 10 * j, (2, 3), dtype="int32").tolist()
    [[0, 10, 20], [1, 11, 21]]
    """
    sizes = static_shape(shape)
    d = dtypes.canonical(dtype or config.default_float)
    f: Callable[..., Any] = functools.partial(function, **kwargs)
    for i in reversed(range(len(sizes))):
        f = vmap(f, in_axes=tuple([0 if j == i else None for j in range(len(sizes))]))
    return f(*[shaping.iota(d, n) for n in sizes])


def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> Value:
    """A function of a vector applied to every line along ``axis``; the axes of its result take the place of that axis."""
    x = as_value(arr)
    i = canonical_axis(axis, x.ndim)

    def f(v: Value) -> Value:
        return as_value(func1d(v, *args, **kwargs))

    for _ in range(x.ndim - 1):
        f = vmap(f)
    out = f(moveaxis(x, i, -1))
    lead = x.ndim - 1
    return moveaxis(out, tuple(range(lead, out.ndim)), tuple(range(i, i + out.ndim - lead)))


def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Value:
    """``func(a, axis)`` for one axis after the other; an axis that it removes is kept with size 1."""
    x = as_value(a)
    for axis in axis_tuple(axes):
        i = canonical_axis(axis, x.ndim)
        y = as_value(func(x, i))
        y = shaping.expand_dims(y, (i,)) if y.ndim == x.ndim - 1 else y
        if y.ndim != x.ndim:
            raise ShapeError(
                f"apply_over_axes: the function made {y.ndim} dimensions of {x.ndim}; it must remove none, or the axis"
            )
        x = y
    return x


def _core_dimensions(signature: str) -> tuple[list[list[str]], list[list[str]]]:
    """The names of the core dimensions of the inputs and outputs in '(n),(m,n)->(m)'."""
    left, arrow, right = signature.replace(" ", "").partition("->")
    sides = [[[d for d in part.split(",") if d] for part in side[1:-1].split("),(")] for side in (left, right)]
    ok = arrow and all(side.startswith("(") and side.endswith(")") for side in (left, right))
    if not ok or any(not d.isidentifier() for side in sides for part in side for d in part):
        raise ArgumentError(f"the signature must look like '(n),(m,n)->(m)'; found {signature!r}")
    return sides[0], sides[1]


def vectorize(
    pyfunc: Callable[..., Any], *, excluded: Any = frozenset(), signature: str | None = None
) -> Callable[..., Any]:
    """A function of scalars (or of the core dimensions of ``signature``) that broadcasts over arrays, by vmap.

    Args:
        excluded: positions of arguments that are passed on as they are.

    >>> import fx.numpy as fnp
    >>> fnp.vectorize(fnp.dot, signature="(n),(n)->()")(fnp.ones((2, 3)), fnp.ones(3))
    Array([3., 3.], dtype=float32)
    """
    check_function(pyfunc, "vectorize")
    inputs = None if signature is None else _core_dimensions(signature)[0]

    @user_frames
    @functools.wraps(pyfunc)
    def vectorized(*args: Any, **kwargs: Any) -> Any:
        chosen = [i for i in range(len(args)) if i not in excluded]
        xs = [as_value(args[i], f"argument {i + 1}") for i in chosen]
        cores = inputs or [[]] * len(xs)
        if len(cores) != len(xs):
            raise ArgumentError(f"the signature {signature!r} has {len(cores)} inputs; {len(xs)} were given")
        _check_cores(xs, cores, signature)
        leads = [x.shape[: x.ndim - len(c)] for x, c in zip(xs, cores)]
        lead = broadcast_shapes(*leads) if leads else ()

        def call(*values: Any) -> Any:
            full = list(args)
            for i, v in zip(chosen, values):
                full[i] = v
            return pyfunc(*full, **kwargs)

        f = call
        for k in reversed(
            range(len(lead))
        ):  # an axis that an argument does not have, or has with size 1, is not mapped
            own = [len(shape) - len(lead) + k for shape in leads]
            mapped = [(j >= 0 and shape[j] != 1) or (j >= 0 and lead[k] == 1) for j, shape in zip(own, leads)]
            f = vmap(f, in_axes=tuple([0 if m else None for m in mapped]), axis_size=lead[k])
        ones = [
            tuple([j for j, n in enumerate(shape) if n == 1 and lead[len(lead) - len(shape) + j] != 1])
            for shape in leads
        ]
        return f(*[shaping.squeeze(x, o) for x, o in zip(xs, ones)])

    return vectorized


def _check_cores(xs: Sequence[Value], cores: Sequence[Sequence[str]], signature: str | None) -> None:
    sizes: dict[str, int] = {}
    for x, names in zip(xs, cores):
        if x.ndim < len(names):
            raise ShapeError(
                f"an argument of shape {x.shape} has fewer dimensions than ({','.join(names)}) in the signature {signature!r}"
            )
        for name, n in zip(names, x.shape[x.ndim - len(names) :]):
            if sizes.setdefault(name, n) != n:
                raise ShapeError(
                    f"the dimension {name!r} of the signature {signature!r} has sizes {sizes[name]} and {n}"
                )


def frompyfunc(func: Callable[..., Any], /, nin: int, nout: int = 1, *, identity: Any = None) -> Ufunc:
    """A function of ``nin`` scalars as a ufunc: it broadcasts, and has ``reduce``, ``accumulate``, ``outer``.

    ``identity``, if given, also says that the function is associative.
    """
    if nout != 1:
        raise ArgumentError(f"frompyfunc makes functions with one result; nout={nout}")
    return Ufunc(getattr(func, "__name__", "function"), nin, vectorize(func), func.__doc__ or "", identity)


# ------------------------------------------------------------------------------------------------ pad


def _pairs(value: Any, n: int, what: str) -> list[tuple[Any, Any]]:
    """(before, after) for each axis, from a number, a pair, or pairs."""
    if isinstance(value, dict):
        return [_pairs(value.get(i, value.get(i - n, 0)), 1, what)[0] for i in range(n)]
    rows: Any = value
    if not isinstance(value, (list, tuple)):
        known = getattr(value, "ndim", 0)
        rows = value if not known else [[v[0], v[-1]] if known == 2 else v for v in value]
    if not isinstance(rows, (list, tuple)):
        return [(rows, rows)] * n
    if not any(isinstance(v, (list, tuple)) or getattr(v, "ndim", 0) for v in rows) and len(rows) in (1, 2):
        return [(rows[0], rows[-1])] * n
    if len(rows) in (1, n) and all(isinstance(v, (list, tuple)) or getattr(v, "ndim", 0) for v in rows):
        pairs = [(v[0], v[len(v) - 1]) for v in rows if len(v) in (1, 2)]
        if len(pairs) == len(rows):
            return pairs * n if len(pairs) == 1 else pairs
    raise ShapeError(
        f"{what}={value!r} does not fit an array with {n} dimensions; give a number, a pair, or a pair for each axis"
    )


_OPTIONS = {
    "constant": {"constant_values"}, "linear_ramp": {"end_values"}, "reflect": {"reflect_type"}, "symmetric": {"reflect_type"},
    **{m: {"stat_length"} for m in ("maximum", "minimum", "mean", "median")}, "edge": set(), "wrap": set(), "empty": set(),
}  # fmt: skip


@planned
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Value:
    """The array with a border.

    Args:
        pad_width: ``(before, after)`` for each axis, one pair for all, a number, or a dict from axes to them.
        mode: "constant" (``constant_values``), "edge", "reflect" and "symmetric" (``reflect_type``: "even" or "odd"),
            "wrap", "linear_ramp" (``end_values``), "maximum", "minimum", "mean", "median" (``stat_length``), "empty",
            or a function ``(vector, (before, after), axis, kwargs) -> vector`` of the lines padded with zeros.
    """
    x = as_value(array)
    widths = [(as_int(a), as_int(b)) for a, b in _pairs(pad_width, x.ndim, "pad_width")]
    if any(a < 0 or b < 0 for a, b in widths):
        raise ShapeError(f"pad widths cannot be negative; found {widths}")
    if callable(mode):
        return _pad_by_function(x, widths, mode, kwargs)
    if mode not in _OPTIONS:
        raise ArgumentError(f"pad has no mode {mode!r}; it has {', '.join(_OPTIONS)}")
    if unknown := set(kwargs) - _OPTIONS[mode]:
        raise ArgumentError(f"pad with mode {mode!r} has no option {', '.join(sorted(unknown))}")
    if not any(a or b for a, b in widths):
        return helpers.unchanged(x)
    if mode in ("constant", "empty"):
        return _pad_constant(x, widths, kwargs.get("constant_values", 0))
    for i, (a, b) in enumerate(widths):
        if a or b:
            if x.shape[i] == 0:
                raise ShapeError(f"pad with mode {mode!r} cannot extend the empty axis {i}")
            x = _pad_axis(x, a, b, i, mode, kwargs)
    return x


def _pad_constant(x: Value, widths: list[tuple[int, int]], values: Any) -> Value:
    if is_python_scalar(values):
        number = np.asarray(values).astype(x.dtype)[()]
        return joining.pad(x, helpers.full_like(x, number, shape=()), [(a, b, 0) for a, b in widths])
    for i, ((a, b), (u, v)) in enumerate(zip(widths, _pairs(values, x.ndim, "constant_values"))):
        same = u is v or (type(u) is type(v) and isinstance(u, (int, float, complex)) and u == v)
        for lo, hi, c in [(a, b, u)] if same else [(a, 0, u), (0, b, v)]:
            if lo or hi:
                config = [(lo, hi, 0) if j == i else (0, 0, 0) for j in range(x.ndim)]
                x = joining.pad(
                    x, np.asarray(c).astype(x.dtype)[()] if is_python_scalar(c) else as_typed(c, x.dtype), config
                )
    return x


def _pad_by_function(x: Value, widths: list[tuple[int, int]], f: Callable[..., Any], kwargs: dict[str, Any]) -> Value:
    x = _pad_constant(x, widths, 0)
    for i, width in enumerate(widths):

        def line(v: Value, width: tuple[int, int] = width, i: int = i) -> Value:
            out = f(v, width, i, kwargs)
            return v if out is None else out  # NumPy's functions write into the vector

        x = apply_along_axis(line, i, x)
    return x


def _pad_axis(x: Value, a: int, b: int, i: int, mode: str, kwargs: dict[str, Any]) -> Value:
    n = x.shape[i]
    if mode in ("maximum", "minimum", "mean", "median"):
        return _pad_statistic(x, a, b, i, mode, kwargs.get("stat_length"))
    if mode == "linear_ramp":
        return _pad_ramp(x, a, b, i, _pairs(kwargs.get("end_values", 0), x.ndim, "end_values")[i])
    kind = kwargs.get("reflect_type") or "even"
    if kind not in ("even", "odd"):
        raise ArgumentError(f"reflect_type must be 'even' or 'odd'; found {kind!r}")
    if mode == "edge" or (mode == "reflect" and n == 1):  # there is nothing to reflect but the element itself
        return _beside(x, i, _edge(x, i, 0, a), _edge(x, i, n - 1, b))
    skipped = 1 if mode == "reflect" else 0  # the edge, which is no part of what is mirrored in it
    if kind == "even" and a + skipped <= n and b + skipped <= n:
        if mode == "wrap":
            return _beside(x, i, _part(x, i, n - a, a), _part(x, i, 0, b))
        before, after = _part(x, i, skipped, a), _part(x, i, n - skipped - b, b)
        return _beside(x, i, shaping.rev(before, (i,)), shaping.rev(after, (i,)))
    place = np.arange(-a, n + b)
    if mode == "wrap":
        return _read(x, i, place % n)
    period = 2 * n if mode == "symmetric" else 2 * (n - 1)
    times, q = np.divmod(place, period)
    back = q >= n
    out = _read(x, i, np.where(back, period - q - (mode == "symmetric"), q))
    if kind == "even":
        return out
    # odd: mirrored in the point at the edge, so each period rises by twice the difference of the ends
    first, last = _part(x, i, 0, 1), _part(x, i, n - 1, 1)
    column = tuple([-1 if j == i else 1 for j in range(x.ndim)])
    sign, shift, turn = (np.reshape(v, column).astype(x.dtype) for v in (np.where(back, -1, 1), 2 * times, 2 * back))
    rise = binary.multiply(binary.subtract(last, first), shift)
    return binary.add(binary.add(binary.multiply(out, sign), binary.multiply(last, turn)), rise)


def _part(x: Value, i: int, start: int, size: int) -> Value:
    return joining.slice_in_dim(x, start, start + size, axis=i)


def _edge(x: Value, i: int, k: int, width: int) -> Value:
    return broadcast_value(_part(x, i, k, 1), tuple([width if j == i else s for j, s in enumerate(x.shape)]))


def _beside(x: Value, i: int, before: Value, after: Value) -> Value:
    return joining.concatenate([v for v in (before, x, after) if v.shape[i]], i)


def _read(x: Value, i: int, source: np.ndarray) -> Value:
    return getitem(x, (*(slice(None),) * i, source.astype(np.int32)))


def _pad_statistic(x: Value, a: int, b: int, i: int, mode: str, length: Any) -> Value:
    n = x.shape[i]
    lengths = (n, n) if length is None else _pairs(length, x.ndim, "stat_length")[i]
    statistics: dict[str, Any] = {"maximum": max_, "minimum": min_, "mean": mean, "median": median}
    f = statistics[mode]
    parts = []
    for width, count, at_start in ((a, lengths[0], True), (b, lengths[1], False)):
        count = min(int(count), n)
        if count < 1:
            raise ArgumentError(f"stat_length of mode {mode!r} must be at least 1")
        y = f(
            joining.slice_in_dim(x, 0, count, axis=i) if at_start else joining.slice_in_dim(x, n - count, n, axis=i),
            axis=i,
            keepdims=True,
        )
        y = as_type(round_(y) if x.dtype.kind in "iu" else y, x.dtype)
        parts.append(broadcast_value(y, tuple([width if j == i else s for j, s in enumerate(x.shape)])))
    return joining.concatenate([parts[0], x, parts[1]], i)


def _pad_ramp(x: Value, a: int, b: int, i: int, ends: tuple[Any, Any]) -> Value:
    def side(end: Any, k: int, width: int) -> Value:
        edge = shaping.squeeze(joining.slice_in_dim(x, k, k + 1, axis=i), (i,))
        start, stop = promote(as_typed(end, inexact(x.dtype)), as_type(edge, inexact(x.dtype)))
        line = linspace(start, stop, width, endpoint=False, axis=i)
        return as_type(p.floor(line) if x.dtype.kind in "iu" else line, x.dtype)

    return joining.concatenate([side(ends[0], 0, a), x, shaping.rev(side(ends[1], x.shape[i] - 1, b), (i,))], i)
