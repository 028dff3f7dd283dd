"""Collectives over a named vmap axis: psum, pmax, pmin, pmean, all_gather, axis_index.

Each is an equation that names its axis.  When vmap pushes that axis through the graph the equation becomes a
reduction over (or a view of) the batch axis; other axes pass it by elementwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from .. import tree
from ..array import Array
from ..dtypes import bool_, int32, is_inexact
from ..errors import AxisError, AxisNameError, ShapeError
from ..ir import Aval
from ..primitive import Primitive
from ..trace import NamedAxis, aval_of, bind, find_axis, recording_builder, state
from .elementwise import add, convert_element_type, div, mul
from .helpers import broadcast_batch, full_like, move_batch, unary_batch
from .indexing import dynamic_index_in_dim, index_take
from .reductions import reduce_max, reduce_min, reduce_sum
from .shaping import broadcasted_iota, reshape

__all__ = ["all_gather", "axis_index", "axis_size", "pmax", "pmean", "pmin", "psum"]

psum_p = Primitive("psum")
pmax_p = Primitive("pmax")
pmin_p = Primitive("pmin")
all_gather_p = Primitive("all_gather")
axis_index_p = Primitive("axis_index")


def _unbound(*_: Any, axis_name: Any, **__: Any) -> NoReturn:
    raise AxisNameError(f"the axis {axis_name!r} is not bound by a vmap here: a collective has no value on one example")


for _p in (psum_p, pmax_p, pmin_p):
    _p.def_abstract(lambda x, axis_name: x)
    _p.def_impl(_unbound)
    _p.def_batch(unary_batch(_p))

psum_p.def_jvp(lambda primals, tangents, out, axis_name: bind(psum_p, tangents[0], axis_name=axis_name))
psum_p.def_transpose(lambda ct, inputs, axis_name: (bind(psum_p, ct, axis_name=axis_name),))
for _p in (pmax_p, pmin_p):
    _p.no_jvp("pmax and pmin are not differentiated; use all_gather and reduce_max")
    _p.no_transpose("not linear")


@psum_p.def_batch_named
def _psum_batch(axis: NamedAxis, args: Sequence[Any], dims: Sequence[int | None], axis_name: Any) -> Any:
    (x,), (d,) = args, dims
    return (mul(x, full_like(x, axis.size)) if d is None else reduce_sum(x, (d,))), None


pmax_p.def_batch_named(
    lambda axis, args, dims, axis_name: (args[0] if dims[0] is None else reduce_max(args[0], (dims[0],)), None)
)
pmin_p.def_batch_named(
    lambda axis, args, dims, axis_name: (args[0] if dims[0] is None else reduce_min(args[0], (dims[0],)), None)
)


@all_gather_p.def_abstract
def _all_gather_abstract(x: Aval, axis_name: Any, axis: int, axis_size: int) -> Aval:
    return Aval((*x.shape[:axis], axis_size, *x.shape[axis:]), x.dtype)


all_gather_p.def_impl(_unbound)
all_gather_p.def_jvp(lambda primals, tangents, out, **params: bind(all_gather_p, tangents[0], **params))


@all_gather_p.def_transpose
def _all_gather_transpose(ct: Any, inputs: Sequence[Any], axis_name: Any, axis: int, axis_size: int) -> tuple[Any]:
    total = bind(psum_p, ct, axis_name=axis_name)
    return (dynamic_index_in_dim(total, axis_index(axis_name), axis, keepdims=False),)


@all_gather_p.def_batch
def _all_gather_other(size: int, args: Sequence[Any], dims: Sequence[int | None], axis: int, **params: Any) -> Any:
    (d,) = dims
    assert d is not None
    out = bind(all_gather_p, move_batch(args[0], d, 0), axis=axis + 1, **params)
    return out, 0


@all_gather_p.def_batch_named
def _all_gather_batch(
    mapped: NamedAxis, args: Sequence[Any], dims: Sequence[int | None], axis_name: Any, axis: int, axis_size: int
) -> Any:
    (x,), (d,) = args, dims
    return (broadcast_batch(x, axis_size, axis) if d is None else move_batch(x, d, axis)), None


axis_index_p.def_abstract(lambda axis_name: Aval((), np.dtype(np.int32)))
axis_index_p.def_impl(_unbound)
axis_index_p.no_gradient("an index is an integer")
axis_index_p.no_batch("it has no operand that another vmap could batch")
axis_index_p.def_batch_named(
    lambda axis, args, dims, axis_name: (broadcasted_iota(np.dtype(np.int32), (axis.size,), 0), 0)
)


# -------------------------------------------------------------------------------------- front end


def _names(axis_name: Any) -> tuple[Any, ...]:
    return tuple(axis_name) if isinstance(axis_name, (tuple, list)) else (axis_name,)


def axis_size(axis_name: Any) -> int:
    """The size of a named axis, a Python int."""
    return int(np.prod([find_axis(n).size for n in _names(axis_name)]))


def axis_index(axis_name: Any) -> Any:
    """The position of this example along the named axis (int32 scalar); along several, the last varies fastest."""
    if isinstance(axis_name, (tuple, list)):
        place: Any = full_like(Aval((), np.dtype(np.int32)), 0)
        for name in axis_name:
            place = add(mul(place, full_like(place, axis_size(name))), axis_index(name))
        return place
    axis = find_axis(axis_name)
    builder = axis.builder
    if state.absorbing and (builder is None or state.absorbing[-1].level > builder.level):
        builder = state.absorbing[-1]
    assert builder is not None
    return builder.record(axis_index_p, (), {"axis_name": axis_name})


def _depends(x: Any, axis: NamedAxis) -> bool:
    """True if ``x`` may differ between the examples of the axis: it is recorded at or inside that vmap."""
    builder = recording_builder([x])
    return builder is not None and axis.builder is not None and builder.level >= axis.builder.level


_OVER_AXIS = {psum_p: reduce_sum, pmax_p: reduce_max, pmin_p: reduce_min}


def _reduce(prim: Primitive, x: Any, axis_name: Any, groups: Any = None) -> Any:
    if groups is not None:
        if prim is psum_p and isinstance(x, (int, float, complex)) and not isinstance(x, bool):
            return x * len(groups[0])
        return _OVER_AXIS[prim](own_group(x, axis_name, groups, prim.name), (0,))
    for name in _names(axis_name):
        axis = find_axis(name)
        if _depends(x, axis):
            x = bind(prim, x, axis_name=name)
        elif prim is psum_p:
            x = x * axis.size if isinstance(x, (int, float, complex)) else mul(x, full_like(x, axis.size))
    return x


def psum(x: Any, axis_name: Any, *, axis_index_groups: Any = None) -> Any:
    """Sum over the named axis (or axes) of every leaf of ``x``; of a Python number: the number times the axis size.

    Booleans are counted, as int32.

    Args:
        axis_index_groups: lists of positions along the axis, which hold each once and are of one size: the sum is that of the
            example's own group.

    Raises:
        AxisNameError: if no surrounding vmap has the axis.

    >>> import fx, numpy as np
    >>> fx.vmap(lambda x: x / fx.lax.psum(x, "rows"), axis_name="rows")(np.array([1.0, 3.0]))
    Array([0.25, 0.75], dtype=float64)
    """

    def total(v: Any) -> Any:
        counted = convert_element_type(v, int32) if aval_of(v).dtype == bool_ else v
        return _reduce(psum_p, counted, axis_name, axis_index_groups)

    return tree.map(total, x)


def pmax(x: Any, axis_name: Any, *, axis_index_groups: Any = None) -> Any:
    """Maximum over the named axis of every leaf of ``x``."""
    return tree.map(lambda v: _reduce(pmax_p, v, axis_name, axis_index_groups), x)


def pmin(x: Any, axis_name: Any, *, axis_index_groups: Any = None) -> Any:
    """Minimum over the named axis of every leaf of ``x``."""
    return tree.map(lambda v: _reduce(pmin_p, v, axis_name, axis_index_groups), x)


def pmean(x: Any, axis_name: Any, *, axis_index_groups: Any = None) -> Any:
    """Mean over the named axis of every leaf of ``x`` (integers become float32)."""
    n = axis_size(axis_name) if axis_index_groups is None else len(axis_index_groups[0])

    def mean(v: Any) -> Any:
        v = v if is_inexact(aval_of(v).dtype) else convert_element_type(v, np.dtype(np.float32))
        total = _reduce(psum_p, v, axis_name, axis_index_groups)
        return total / n if isinstance(total, (float, complex)) else div(total, full_like(total, n))

    return tree.map(mean, x)


def own_group(v: Any, axis_name: Any, groups: Sequence[Sequence[int]], what: str) -> Any:
    """The values of the examples of one's own group, stacked in front in the order that the group has.

    Raises:
        ShapeError: the groups are not of one size, or do not hold every example once.
    """
    n = axis_size(axis_name)
    lists = [[int(i) for i in g] for g in groups]
    if sorted(i for g in lists for i in g) != list(range(n)) or len({len(g) for g in lists}) > 1:
        raise ShapeError(
            f"{what}: axis_index_groups={groups!r} must hold each of 0 .. {n - 1}, the positions along {axis_name!r}, once, in"
            " groups of one size"
        )
    members = np.empty((n, len(lists[0])), np.int32)
    for g in lists:
        members[g] = g
    mine = dynamic_index_in_dim(Array(members), axis_index(axis_name), 0, keepdims=False)
    return index_take(all_gather(v, axis_name), (mine,), (0,))


def place_in_group(axis_name: Any, groups: Sequence[Sequence[int]]) -> Any:
    """The position of this example in its group (int32 scalar)."""
    places = np.zeros(axis_size(axis_name), np.int32)
    for g in groups:
        places[list(g)] = np.arange(len(g))
    return dynamic_index_in_dim(Array(places), axis_index(axis_name), 0, keepdims=False)


def all_gather(
    x: Any, axis_name: Any, *, axis_index_groups: Any = None, axis: int = 0, tiled: bool = False, to: Any = None
) -> Any:
    """The values of every example, stacked along ``axis`` (or concatenated, with ``tiled``); of several named axes the last
    varies fastest.

    Args:
        axis_index_groups: see ``psum``: the values of the example's own group.
        to: accepted: a value that is the same at all positions is known as such.
    """
    names = _names(axis_name)
    n = axis_size(axis_name) if axis_index_groups is None else len(axis_index_groups[0])

    def gather(v: Any) -> Any:
        shape = aval_of(v).shape
        if not -len(shape) - (not tiled) <= axis < len(shape) + (not tiled):
            raise AxisError(f"all_gather: axis {axis} is out of range for an array of shape {shape}")
        at = axis % (len(shape) + (not tiled))
        if axis_index_groups is not None:
            out = move_batch(own_group(v, axis_name, axis_index_groups, "all_gather"), 0, at)
        else:
            out = v
            for name in reversed(names):
                named = find_axis(name)
                if _depends(out, named):
                    out = bind(all_gather_p, out, axis_name=name, axis=at, axis_size=named.size)
                else:
                    out = broadcast_batch(out, named.size, at)
        if len(names) > 1 and axis_index_groups is None and not tiled:
            return reshape(out, (*shape[:at], n, *shape[at:]))
        return reshape(out, (*shape[:at], n * shape[at], *shape[at + 1 :])) if tiled else out

    return tree.map(gather, x)
