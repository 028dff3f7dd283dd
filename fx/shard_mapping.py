"""``shard_map``: a function of the parts of arrays that are cut over a mesh.

Each axis of the mesh is a named axis of ``vmap``, over which the parts lie one beside the other; so collectives, derivatives
and compilation are those of vmap.  A result that is not cut along an axis must be the same at all its positions, and vmap
knows whether it is: what ``psum`` or ``all_gather`` give has no batch axis.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from . import numpy as fnp
from . import tree
from .api.mapping import batched_flat
from .errors import ArgumentError, ShapeError, VmapAxisError
from .numpy.core import as_value
from .sharding import AbstractMesh, PartitionSpec, get_mesh, names_of, parts
from .trace import NamedAxis
from .traceback import user_frames
from .transforms.custom_call import to_front
from .transforms.flat import function_name

__all__ = ["shard_map", "smap"]

Value = Any


def _is_spec(x: Any) -> bool:
    return x is None or isinstance(x, PartitionSpec)


def _specs(specs: Any, values: Any, what: str, name: str) -> list[PartitionSpec]:
    """A spec for each leaf of ``values``."""
    found = tree.broadcast_prefix(specs, values, is_leaf=_is_spec, what=what)
    for s in found:
        if not _is_spec(s):
            raise ArgumentError(f"shard_map of {name}: {what} is made of PartitionSpecs (fx.P); found {s!r}")
    return [PartitionSpec() if s is None else s for s in found]


def _own_names(spec: PartitionSpec, mesh: AbstractMesh, axes: Sequence[Hashable], name: str) -> list[Any]:
    """The axes along which a value is cut, in the order of ``axes``."""
    named = [n for p in spec for n in names_of(p)]
    for n in named:
        if n not in mesh.axis_names or n not in axes:
            raise ArgumentError(
                f"shard_map of {name}: {spec} names the axis {n!r}; those that are mapped are {tuple(axes)}"
            )
    return [n for n in axes if n in named]


def _cut(x: Value, spec: PartitionSpec, own: Sequence[Any], mesh: AbstractMesh, what: str) -> Value:
    """The parts of an array, stacked along new axes in front: one for each of ``own``."""
    x = as_value(x)
    counts = parts(spec, x.shape, mesh, what)
    shape: list[int] = []
    place: dict[Any, int] = {}
    rest: list[int] = []
    entries = [*spec, *[None] * (x.ndim - len(spec))]
    for n, k, entry in zip(x.shape, counts, entries):
        for name in names_of(entry):
            place[name] = len(shape)
            shape.append(mesh.shape[name])
        rest.append(len(shape))
        shape.append(n // k)
    return fnp.transpose(fnp.reshape(x, shape), [*(place[n] for n in own), *rest])


def _joined(x: Value, spec: PartitionSpec, own: Sequence[Any], mesh: AbstractMesh, name: str) -> Value:
    """The array of which ``x`` holds the parts, stacked along the axes ``own`` in front."""
    local = x.shape[len(own) :]
    if len(spec) > len(local):
        raise ShapeError(f"shard_map of {name}: out_specs has {spec} for an output whose parts have the shape {local}")
    order: list[int] = []
    shape: list[int] = []
    for d, n in enumerate(local):
        names = names_of(spec[d]) if d < len(spec) else ()
        order += [*(own.index(m) for m in names), len(own) + d]
        shape.append(n * math.prod([mesh.shape[m] for m in names]))
    return fnp.reshape(fnp.transpose(x, order), shape)


@user_frames
def shard_map(
    f: Callable[..., Any] | None = None, /, mesh: AbstractMesh | None = None, in_specs: Any = None, out_specs: Any = None, *,
    axis_names: Any = frozenset(), check_vma: bool = True, check_rep: bool = True, auto: Any = frozenset(),
) -> Callable[..., Any]:  # fmt: skip
    """A function that applies ``f`` to the parts of its arguments at each position of a mesh, and joins what it returns.

    Inside of ``f`` the axes of the mesh are bound: ``lax.psum``, ``all_gather``, ``ppermute`` and the rest talk between
    the positions.  There is one device, which computes all of them together; the mesh may have any size.

    Args:
        f: gets, for each argument, the part at its position (without it, a decorator is returned).
        mesh: the mesh; None: the one that is set (``fx.set_mesh``).
        in_specs: a ``PartitionSpec`` for all, or a tree prefix of the tuple of arguments.
        out_specs: the same, of what ``f`` returns.  An axis that is not named must not matter for the result.
        axis_names: the axes that are mapped; none given: all.  (``auto``: those that are not.)
        check_vma, check_rep: False: a result that differs along an axis that its spec does not name is taken from the first
            position.  True: it raises.

    Raises:
        ShapeError: a dimension is not divisible by the number of its parts.
        VmapAxisError: a result differs along an axis that its spec does not name.
        ArgumentError: a spec names an axis that the mesh has not, or there is no mesh.

    >>> import fx, fx.numpy as fnp
    >>> mesh = fx.make_mesh((4,), ("i",))
    >>> total = fx.shard_map(lambda x: fx.lax.psum(x.sum(), "i"), mesh=mesh, in_specs=fx.P("i"), out_specs=fx.P())
    >>> fx.jit(total)(fnp.arange(8.0))
    Array(28., dtype=float32)
    """
    if f is None:
        return functools.partial(
            shard_map, mesh=mesh, in_specs=in_specs, out_specs=out_specs, axis_names=axis_names,
            check_vma=check_vma, check_rep=check_rep, auto=auto,
        )  # type: ignore[return-value]  # fmt: skip
    name = function_name(f)

    @user_frames
    @functools.wraps(f)
    def mapped(*args: Any) -> Any:
        over = get_mesh() if mesh is None else mesh
        if over.empty:
            raise ArgumentError(
                f"shard_map of {name} has no mesh: pass mesh=fx.make_mesh(...), or set one with fx.set_mesh"
            )
        axes = [n for n in over.axis_names if n not in auto and (not axis_names or n in axis_names)]
        leaves, structure = tree.flatten(args)
        given = _specs(in_specs if type(in_specs) is not list else tuple(in_specs), args, "in_specs", name)
        own = [_own_names(s, over, axes, name) for s in given]
        cut = [
            _cut(x, s, o, over, f"argument leaf {i} of {name}") for i, (x, s, o) in enumerate(zip(leaves, given, own))
        ]
        out_own: list[list[Any]] = []
        kept: list[Any] = []

        def body(*values: Value) -> list[Value]:
            out = f(*tree.unflatten(structure, values))
            found, out_tree = tree.flatten(out)
            wanted = _specs(out_specs, out, "out_specs", name)
            out_own[:] = [_own_names(s, over, axes, name) for s in wanted]
            kept[:] = [out_tree, wanted]
            return found

        run: Callable[..., list[Value]] = body
        for axis in reversed(axes):
            dims = [0 if axis in o else None for o in own]
            run = functools.partial(
                _over, run, NamedAxis(axis, over.shape[axis]), dims, out_own, check_vma and check_rep, name
            )
        outs = run(*cut)
        out_tree, wanted = kept
        return tree.unflatten(out_tree, [_joined(x, s, o, over, name) for x, s, o in zip(outs, wanted, out_own)])

    return mapped


def _over(
    f: Callable[..., list[Value]], axis: NamedAxis, dims: list[int | None], out_own: list[list[Any]], check: bool, name: str,
    *values: Value,
) -> list[Value]:  # fmt: skip
    """``f`` on the parts along one axis of the mesh; in its results the axis is in front where they are cut along it."""
    labels = [f"argument leaf {i}" for i in range(len(values))]
    outs, out_dims = batched_flat(f, values, dims, labels, NamedAxis(axis.name, axis.size), name)
    found = []
    for i, (x, d, own) in enumerate(zip(outs, out_dims, out_own)):
        if axis.name in own:
            found.append(to_front(x, d, axis.size))
        elif d is None:
            found.append(x)
        elif check:
            raise VmapAxisError(
                f"shard_map of {name}: output {i} may differ along {axis.name!r}, which its spec in out_specs does not name."
                f" Name it there, reduce over it (fx.lax.psum(x, {axis.name!r})), or pass check_vma=False to take the first."
            )
        else:
            found.append(fnp.take(x, 0, d))
    return found


def smap(
    f: Callable[..., Any] | None = None, /, *, in_axes: Any = 0, out_axes: Any = 0, axis_name: Hashable
) -> Callable[..., Any]:  # fmt: skip
    """``shard_map`` along one axis of the mesh that is set: arguments are cut along ``in_axes``, results joined along
    ``out_axes`` (a dimension, or None: not cut; a tree prefix of them).

    >>> import fx, fx.numpy as fnp
    >>> with fx.set_mesh(fx.make_mesh((2,), ("i",))):
    ...     fx.smap(lambda x: x - fx.lax.pmean(x, "i"), axis_name="i")(fnp.arange(4.0))
    Array([-1., -1.,  1.,  1.], dtype=float32)
    """
    if f is None:
        return functools.partial(smap, in_axes=in_axes, out_axes=out_axes, axis_name=axis_name)

    def spec(d: int | None) -> PartitionSpec:
        return PartitionSpec() if d is None else PartitionSpec(*[None] * d, axis_name)

    specs = [tree.map(spec, a, is_leaf=lambda d: d is None) for a in (in_axes, out_axes)]
    return shard_map(f, in_specs=specs[0], out_specs=specs[1], axis_names={axis_name})
