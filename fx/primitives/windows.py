"""Reductions over sliding windows, and the two linear operations that are their derivatives.

    reduce_window_sum / _max / _min         one number for each window; holes (padding, dilation) take no part
    reduce_window_argmax / _argmin          where in the window its first extreme element is: a tap number
    window_select(x, taps)                  the element of x at that tap of each window; 0 where the tap is a hole
    window_scatter_add(ct, taps)            its transpose: adds each window's number to that element

A tap number is an int32, row-major over ``window_dimensions``.  The derivative of ``reduce_window_max`` is
``window_select`` of the tangent at the argmax; ``reduce_window_sum`` is linear, and its transpose is a window sum
over the dilated cotangent.  The parameters are those of XLA's ReduceWindow, one entry for each dimension of the
operand, batch and feature dimensions included; padding may be negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Aval
from ..primitive import Linear, Primitive
from ..trace import aval_of, bind, concrete_value, is_python_scalar, trace_flat
from .checks import ANY, NUMBER, ORDERED, DTypeClass, check_dtype
from .helpers import Value, align_batch, bind_named, def_jvp_each, quiet, scalar_of
from .linalg import accumulation_dtype
from .reductions import extreme_identity
from .shaping import broadcast_in_dim
from .window_geometry import (
    Pads,
    dilated_size,
    pad_and_dilate,
    plain_pads,
    plain_sizes,
    resolve_padding,
    transposed_pads,
    window_counts,
)
from .window_taps import Values, reduce_taps

__all__ = [
    "reduce_window",
    "reduce_window_argmax",
    "reduce_window_argmax_p",
    "reduce_window_argmin",
    "reduce_window_argmin_p",
    "reduce_window_max",
    "reduce_window_max_p",
    "reduce_window_min",
    "reduce_window_min_p",
    "reduce_window_sum",
    "reduce_window_sum_p",
    "window_scatter_add",
    "window_scatter_add_p",
    "window_select",
    "window_select_p",
]

Dims = tuple[int, ...]

reduce_window_sum_p = Primitive("reduce_window_sum")
reduce_window_max_p = Primitive("reduce_window_max")
reduce_window_min_p = Primitive("reduce_window_min")
reduce_window_argmax_p = Primitive("reduce_window_argmax", typed_by=())
reduce_window_argmin_p = Primitive("reduce_window_argmin", typed_by=())
window_select_p = Primitive("window_select")
window_scatter_add_p = Primitive("window_scatter_add")

# ----------------------------------------------------------------------------------------- shapes


def _counts(
    what: str, shape: Dims, *, window_dimensions: Dims, window_strides: Dims, padding: Pads, base_dilation: Dims,
    window_dilation: Dims,
) -> Dims:  # fmt: skip
    """The shape of the result: how many windows there are in each dimension."""
    for name, values in (
        ("window_dimensions", window_dimensions),
        ("window_strides", window_strides),
        ("base_dilation", base_dilation),
        ("window_dilation", window_dilation),
    ):
        plain_sizes(what, name, values, len(shape))
    plain_pads(what, padding, len(shape))
    return window_counts(shape, window_dimensions, window_strides, padding, base_dilation, window_dilation)


def _def_abstract(prim: Primitive, allowed: DTypeClass, result: np.dtype | None) -> None:
    @prim.def_abstract
    def abstract(x: Aval, **window: Any) -> Aval:
        check_dtype(prim.name, x, allowed)
        return Aval(_counts(prim.name, x.shape, **window), result or x.dtype)


for _prim in (reduce_window_max_p, reduce_window_min_p):
    _def_abstract(_prim, ORDERED, None)
for _prim in (reduce_window_argmax_p, reduce_window_argmin_p):
    _def_abstract(_prim, ORDERED, dtypes.int32)
_def_abstract(reduce_window_sum_p, NUMBER, None)


def _check_taps(what: str, taps: Aval, counts: Dims) -> None:
    if taps.dtype != dtypes.int32:
        raise DTypeError(f"{what}: taps are {taps}; they must be int32, as reduce_window_argmax gives them")
    if taps.shape != counts:
        raise ShapeError(f"{what}: taps {taps} have shape {taps.shape}, but these windows give {counts}")


@window_select_p.def_abstract
def _window_select_abstract(x: Aval, taps: Aval, **window: Any) -> Aval:
    check_dtype("window_select", x, ANY)
    counts = _counts("window_select", x.shape, **window)
    _check_taps("window_select", taps, counts)
    return Aval(counts, x.dtype)


@window_scatter_add_p.def_abstract
def _window_scatter_add_abstract(ct: Aval, taps: Aval, *, operand_shape: Dims, **window: Any) -> Aval:
    check_dtype("window_scatter_add", ct, NUMBER)
    _check_taps("window_scatter_add", taps, _counts("window_scatter_add", operand_shape, **window))
    if ct.shape != taps.shape:
        raise ShapeError(f"window_scatter_add: ct {ct} and taps {taps} must have one shape")
    return Aval(operand_shape, ct.dtype)


# ------------------------------------------------------------------------------- NumPy references

_least = partial(extreme_identity, largest=False)  # the identity of max
_greatest = partial(extreme_identity, largest=True)  # the identity of min


def _zero(dtype: np.dtype) -> int:
    return 0


def _tap(x: np.ndarray, dim: int, start: int, count: int, stride: int) -> np.ndarray:
    """What one tap sees: ``count`` elements along ``dim``, ``stride`` apart, from ``start``."""
    return x[(slice(None),) * dim + (slice(start, start + dilated_size(count, stride), stride),)]


def _fold(
    x: np.ndarray, op: Callable[..., np.ndarray], identity: Any, *, window_dimensions: Dims, window_strides: Dims,
    padding: Pads, base_dilation: Dims, window_dilation: Dims,
) -> np.ndarray:  # fmt: skip
    """Reduces each window, one dimension after another: a window is a product of ranges."""
    counts = window_counts(x.shape, window_dimensions, window_strides, padding, base_dilation, window_dilation)
    out = pad_and_dilate(x, padding, base_dilation, identity)
    for d in reversed(range(x.ndim)):
        n, s, wd = counts[d], window_strides[d], window_dilation[d]
        total = _tap(out, d, 0, n, s)
        if window_dimensions[d] > 1:
            total = total.copy()
        for i in range(1, window_dimensions[d]):
            op(total, _tap(out, d, i * wd, n, s), out=total)
        out = total
    return out


def _reduction_impl(op: Callable[..., np.ndarray], identity: Callable[[np.dtype], Any]) -> Callable[..., np.ndarray]:
    @quiet
    def impl(x: np.ndarray, **window: Any) -> np.ndarray:
        wide = accumulation_dtype(x.dtype)
        return np.array(_fold(x.astype(wide, copy=False), op, identity(wide), **window), x.dtype, order="C")

    return impl


reduce_window_sum_p.def_impl(_reduction_impl(np.add, _zero))
reduce_window_max_p.def_impl(_reduction_impl(np.maximum, _least))
reduce_window_min_p.def_impl(_reduction_impl(np.minimum, _greatest))


def _extreme_impl(better: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Folds (value, tap, is an element) from the innermost dimension outwards; the first of equals stays."""

    def impl(
        x: np.ndarray, *, window_dimensions: Dims, window_strides: Dims, padding: Pads, base_dilation: Dims,
        window_dilation: Dims,
    ) -> np.ndarray:  # fmt: skip
        counts = window_counts(x.shape, window_dimensions, window_strides, padding, base_dilation, window_dilation)
        x = x.astype(accumulation_dtype(x.dtype), copy=False)
        value = pad_and_dilate(x, padding, base_dilation, 0)
        real = pad_and_dilate(np.ones(x.shape, np.bool_), padding, base_dilation, False)
        tap = np.zeros(value.shape, np.int32)
        inner = 1
        for d in reversed(range(x.ndim)):
            n, s, wd, k = counts[d], window_strides[d], window_dilation[d], window_dimensions[d]
            best, at, any_real = (_tap(a, d, 0, n, s).copy() for a in (value, tap, real))
            for i in range(1, k):
                v, t, r = (_tap(a, d, i * wd, n, s) for a in (value, tap, real))
                take = r & (~any_real | better(v, best) | ((v != v) & (best == best)))
                np.copyto(best, v, where=take)
                np.copyto(at, t + np.int32(i * inner), where=take)
                any_real |= r
            value, tap, real = best, at, any_real
            inner *= k
        return tap

    return impl


reduce_window_argmax_p.def_impl(_extreme_impl(np.greater))
reduce_window_argmin_p.def_impl(_extreme_impl(np.less))


def _sources(
    taps: np.ndarray, shape: Dims, *, window_dimensions: Dims, window_strides: Dims, padding: Pads, base_dilation: Dims,
    window_dilation: Dims,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """For each window the flat index of the element under its tap, and whether there is one (0 where not)."""
    real = (taps >= 0) & (taps < math.prod(window_dimensions))
    flat = np.zeros(taps.shape, np.int64)
    rest, step = taps.astype(np.int64), 1
    for d in reversed(range(taps.ndim)):
        rest, tap = np.divmod(rest, window_dimensions[d])
        start = np.arange(taps.shape[d], dtype=np.int64) * window_strides[d] - padding[d][0]
        position = tap * window_dilation[d] + start.reshape(-1, *(1,) * (taps.ndim - d - 1))
        element, hole = np.divmod(position, base_dilation[d])
        real &= (hole == 0) & (element >= 0) & (element < shape[d])
        flat += element * step
        step *= shape[d]
    return np.where(real, flat, 0), real


@window_select_p.def_impl
def _window_select_impl(x: np.ndarray, taps: np.ndarray, **window: Any) -> np.ndarray:
    flat, real = _sources(taps, x.shape, **window)
    out = np.zeros(taps.shape, x.dtype)
    out[real] = x.reshape(-1)[flat[real]]
    return out


@window_scatter_add_p.def_impl
@quiet
def _window_scatter_add_impl(ct: np.ndarray, taps: np.ndarray, *, operand_shape: Dims, **window: Any) -> np.ndarray:
    flat, real = _sources(taps, operand_shape, **window)
    wide = accumulation_dtype(ct.dtype)
    out = np.zeros(math.prod(operand_shape), wide)
    np.add.at(out, flat[real], ct[real].astype(wide, copy=False))
    return out.reshape(operand_shape).astype(ct.dtype, copy=False)


# ------------------------------------------------------------------------------------ derivatives


for _prim in (reduce_window_sum_p, window_select_p, window_scatter_add_p):  # linear in their first operand
    def_jvp_each(_prim, lambda t, out, x, *taps, prim=_prim, **params: bind(prim, t, *taps, **params), None)


@reduce_window_sum_p.def_transpose
def _reduce_window_sum_transpose(
    ct: Value, inputs: Sequence[Linear], *, window_dimensions: Dims, window_strides: Dims, padding: Pads,
    base_dilation: Dims, window_dilation: Dims,
) -> tuple[Value]:  # fmt: skip
    shape = inputs[0].aval.shape
    pads = transposed_pads(shape, window_dimensions, window_strides, padding, base_dilation, window_dilation)
    grad = bind(
        reduce_window_sum_p,
        ct,
        window_dimensions=window_dimensions,
        window_strides=base_dilation,
        padding=pads,
        base_dilation=window_strides,
        window_dilation=window_dilation,
    )
    return (grad,)


@window_select_p.def_transpose
def _window_select_transpose(ct: Value, inputs: Sequence[Any], **window: Any) -> tuple[Value, None]:
    x, taps = inputs
    return bind(window_scatter_add_p, ct, taps, operand_shape=x.aval.shape, **window), None


@window_scatter_add_p.def_transpose
def _window_scatter_add_transpose(
    ct: Value, inputs: Sequence[Any], *, operand_shape: Dims, **window: Any
) -> tuple[Value, None]:
    return bind(window_select_p, ct, inputs[1], **window), None


def _def_extreme_jvp(prim: Primitive, arg: Primitive) -> None:
    prim.def_jvp(
        lambda primals, tangents, out, **window: bind(
            window_select_p, tangents[0], bind(arg, *primals, **window), **window
        )
    )
    prim.no_transpose("it is not linear; its jvp is window_select, which has a transpose")
    arg.no_gradient("a position is an integer")


_def_extreme_jvp(reduce_window_max_p, reduce_window_argmax_p)
_def_extreme_jvp(reduce_window_min_p, reduce_window_argmin_p)

# -------------------------------------------------------------------------------------------- vmap


def _with_batch(
    at: int, *, window_dimensions: Dims, window_strides: Dims, padding: Pads, base_dilation: Dims,
    window_dilation: Dims, **others: Any,
) -> dict[str, Any]:  # fmt: skip
    """The parameters with a window of 1 along a new dimension ``at``; tap numbers stay what they are."""
    return {
        "window_dimensions": (*window_dimensions[:at], 1, *window_dimensions[at:]),
        "window_strides": (*window_strides[:at], 1, *window_strides[at:]),
        "padding": (*padding[:at], (0, 0), *padding[at:]),
        "base_dilation": (*base_dilation[:at], 1, *base_dilation[at:]),
        "window_dilation": (*window_dilation[:at], 1, *window_dilation[at:]),
        **others,
    }


def _def_batch(prim: Primitive) -> None:
    @prim.def_batch
    def batch(size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any) -> tuple[Value, int]:
        at = next(d for d in dims if d is not None)
        if "operand_shape" in params:
            shape = params["operand_shape"]
            params["operand_shape"] = (*shape[:at], size, *shape[at:])
        return bind(prim, *align_batch(size, args, dims, at), **_with_batch(at, **params)), at


for _prim in (
    reduce_window_sum_p,
    reduce_window_max_p,
    reduce_window_min_p,
    reduce_window_argmax_p,
    reduce_window_argmin_p,
    window_select_p,
    window_scatter_add_p,
):
    _def_batch(_prim)

# -------------------------------------------------------------------------------- public functions


def _window(
    what: str, shape: Dims, window_dimensions: Sequence[int], window_strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID", base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The parameters of every window primitive, from what the public functions take."""
    ndim = len(shape)
    windows = plain_sizes(what, "window_dimensions", window_dimensions, ndim)
    strides = plain_sizes(what, "window_strides", window_strides, ndim)
    dilation = plain_sizes(what, "window_dilation", window_dilation, ndim)
    reach = [dilated_size(k, d) for k, d in zip(windows, dilation)]
    return {
        "window_dimensions": windows,
        "window_strides": strides,
        "padding": resolve_padding(what, padding, shape, reach, strides),
        "base_dilation": plain_sizes(what, "base_dilation", base_dilation, ndim),
        "window_dilation": dilation,
    }


def _named(prim: Primitive) -> Callable[..., Value]:
    def call(
        operand: Value, window_dimensions: Sequence[int], window_strides: Sequence[int] | None = None,
        padding: str | Sequence[tuple[int, int]] = "VALID", base_dilation: Sequence[int] | None = None,
        window_dilation: Sequence[int] | None = None,
    ) -> Value:  # fmt: skip
        shape = aval_of(operand).shape
        args = (window_dimensions, window_strides, padding, base_dilation, window_dilation)
        return bind(prim, operand, **_window(prim.name, shape, *args))

    call.__name__ = call.__qualname__ = prim.name
    call.__doc__ = f"``{prim.name}`` of each window; see ``reduce_window`` for the arguments."
    return call


reduce_window_sum = _named(reduce_window_sum_p)
reduce_window_max = _named(reduce_window_max_p)
reduce_window_min = _named(reduce_window_min_p)
reduce_window_argmax = _named(reduce_window_argmax_p)
reduce_window_argmin = _named(reduce_window_argmin_p)


def window_select(x: Value, taps: Value, window_dimensions: Sequence[int], *args: Any, **kwargs: Any) -> Value:
    """The element of ``x`` under the given tap of each window, 0 in a hole; windows as in ``reduce_window_max``."""
    window = _window("window_select", aval_of(x).shape, window_dimensions, *args, **kwargs)
    return bind(window_select_p, x, taps, **window)


def window_scatter_add(
    ct: Value, taps: Value, operand_shape: Sequence[int], window_dimensions: Sequence[int], *args: Any, **kwargs: Any
) -> Value:
    """The transpose of ``window_select``: an array of ``operand_shape`` to which each window adds at its tap."""
    shape = tuple(operand_shape)
    window = _window("window_scatter_add", shape, window_dimensions, *args, **kwargs)
    return bind(window_scatter_add_p, ct, taps, operand_shape=shape, **window)


# the computations that are one primitive, and their identities
_MONOIDS: dict[str, tuple[Primitive, Callable[[np.dtype], Any]]] = {
    "add": (reduce_window_sum_p, _zero),
    "max": (reduce_window_max_p, _least),
    "min": (reduce_window_min_p, _greatest),
}
_BUILTINS = {max: "max", min: "min"}


def _name_of(computation: Callable[[Value, Value], Value], dtype: np.dtype) -> str:
    """The name of the primitive that ``computation`` applies to its two arguments, or "" if it does something else."""
    scalar = Aval((), dtype)
    graph, captures = trace_flat(lambda x, y: [computation(x, y)], [scalar, scalar], kind="reduce_window")
    if captures or len(graph.eqns) != 1 or graph.outputs != graph.eqns[0].outputs:
        return ""
    eqn = graph.eqns[0]
    return eqn.prim.name if set(eqn.inputs) == set(graph.inputs) else ""


def reduce_window(
    operand: Any, init_value: Any, computation: Callable[[Any, Any], Any] | str,
    window_dimensions: Sequence[int], window_strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID", base_dilation: Sequence[int] | None = None,
    window_dilation: Sequence[int] | None = None,
) -> Any:  # fmt: skip
    """Reduces every window of ``operand``, or of several arrays at once.

    ``add``, ``max`` and ``min`` are one operation, and another for an ``init_value`` that is not their identity.
    Any other associative ``computation`` is applied once for each tap of the window, to whole arrays; so it must be
    elementwise, and the window small.

    Args:
        operand: an array, or a tuple of arrays of one shape; then ``init_value`` is a tuple too, and ``computation`` takes and
            returns tuples (the largest value of each window and its position, say).
        init_value: scalar with which each reduction starts.
        computation: an associative function of two values, or the name of a primitive (``'add'``, ``'max'`` ...).
        window_dimensions: size of the window, 1 along dimensions that it does not cover.
        window_strides: None means 1 everywhere.
        padding: ``'SAME'``, ``'SAME_LOWER'``, ``'VALID'`` or a pair (before, after) for each dimension.
        base_dilation: distance between neighbours of the operand.
        window_dilation: distance between taps of the window.

    Raises:
        DTypeError: the operand's dtype has no such reduction.
        ShapeError: an argument does not have one entry for each dimension of the operand.

    >>> import fx, numpy as np
    >>> fx.lax.reduce_window(np.array([1.0, 5.0, 2.0, 3.0]), -np.inf, fx.lax.max, (2,), (2,), "VALID")
    Array([5., 3.], dtype=float64)
    """
    args = (window_dimensions, window_strides, padding, base_dilation, window_dilation)
    if isinstance(operand, (tuple, list)):
        return _reduce_together(tuple(operand), tuple(init_value), computation, args)
    aval = aval_of(operand)
    window = _window("reduce_window", aval.shape, *args)
    if isinstance(computation, str) or computation in _BUILTINS:
        name: Any = cast(dict[Any, str], _BUILTINS).get(computation, computation)
        computation = partial(bind_named, name)
    else:
        name = _name_of(computation, aval.dtype)
    if is_python_scalar(init_value):
        init_value = scalar_of(init_value, aval.dtype)
    if name not in _MONOIDS:
        merge = computation
        return reduce_taps((operand,), (init_value,), lambda a, b: (merge(*a, *b),), **window)[0]
    prim, identity = _MONOIDS[name]
    out = bind(prim, operand, **window)
    init = concrete_value(init_value)
    if init is not None and init.shape == () and init == identity(aval.dtype):
        return out
    return computation(broadcast_in_dim(init_value, out.shape, ()), out)


def _reduce_together(operands: Values, inits: Values, computation: Any, args: tuple[Any, ...]) -> Values:
    """The reduction of several arrays by a function of two tuples."""
    avals = [aval_of(x) for x in operands]
    if len(inits) != len(avals) or len({a.shape for a in avals}) != 1:
        raise ShapeError(
            f"reduce_window of several arrays takes arrays of one shape, and one init_value for each; found arrays of shapes"
            f" {[a.shape for a in avals]} and {len(inits)} init_values"
        )
    starts = tuple(scalar_of(x, a.dtype) if is_python_scalar(x) else x for x, a in zip(inits, avals))
    return reduce_taps(operands, starts, computation, **_window("reduce_window", avals[0].shape, *args))
