"""``vmap``: a function on a batch of arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .. import tree
from ..errors import (
    RefError,
    TreeError,
    VmapAxisError,
)
from ..ir import Aval
from ..mutable import Carried, Ref, carrying
from ..primitives.helpers import broadcast_batch, move_batch
from ..signatures import wraps
from ..trace import (
    Builder,
    NamedAxis,
    aval_of,
    is_python_scalar,
    state,
)
from ..traceback import user_frames
from ..transforms.flat import (
    FlatFunction,
    argument_names,
    check_function,
    check_leaf,
    function_name,
    is_float0,
)
from ..transforms.vmap import batch_graph
from .traced import as_array

__all__ = ["vmap"]

P = ParamSpec("P")
R = TypeVar("R")


@user_frames
def vmap(
    fun: Callable[P, R],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable | None = None,
    axis_size: int | None = None,
    spmd_axis_name: Hashable | None = None,
) -> Callable[P, R]:
    """``fun`` on a batch of arguments: a loop over an axis, pushed down into every operation.

    Args:
        in_axes: which axis of each positional argument is the batch (None: none); an int, or a tuple with one entry
            per argument, each of which may be a pytree prefix of the argument.  Keyword arguments are batched at 0.
        out_axes: where the batch axis goes in the outputs; a pytree prefix of the output (None: not batched).
        axis_name: a name by which ``fx.lax.psum`` and its kin refer to the axis.
        axis_size: its size, if no argument is batched.

    Raises:
        VmapAxisError: naming the argument whose axis is missing or of another size.

    >>> import fx, numpy as np
    >>> fx.vmap(lambda x, y: np.dot(x, y), in_axes=(0, None))(np.eye(2), np.array([3.0, 4.0]))
    Array([3., 4.], dtype=float64)
    """
    check_function(fun, "vmap", "Write vmap(f)(x), not vmap(f(x)).")
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if not _is_axis(in_axes) and not isinstance(in_axes, (tuple, dict)):
        raise VmapAxisError(f"in_axes must be an int, None, or a tuple with one entry per argument; found {in_axes!r}")
    if isinstance(in_axes, dict):
        raise VmapAxisError(f"in_axes has one entry per argument; of a single dict, in_axes=({in_axes!r},)")
    if axis_size is not None and (not _is_axis(axis_size) or axis_size < 0):
        raise VmapAxisError(f"axis_size must be a non-negative int, or None; found {axis_size!r}")
    if not isinstance(axis_name, Hashable):
        raise VmapAxisError(f"axis_name must be hashable (a string); found {axis_name!r}")

    @user_frames
    @wraps(fun)
    def batched(*args: Any, **kwargs: Any) -> Any:
        try:
            return once(fun, out_axes, *args, **kwargs)
        except RefError as e:
            return _with_refs(e, once, fun, in_axes, out_axes, args, kwargs)

    def once(fun: Callable[..., Any], out_axes: Any, /, *args: Any, **kwargs: Any) -> Any:
        name = function_name(fun)
        leaves, in_tree = tree.flatten((args, kwargs))
        names = argument_names(fun, args, kwargs)
        dims = _in_dims(in_axes, args, kwargs, leaves, names, name)
        flat = FlatFunction(fun, in_tree)
        call: Callable[..., Sequence[Any]] = flat
        is_given = [d is not None or _is_array(x) for x, d in zip(leaves, dims)]
        if not all(is_given):  # numbers, functions and the like: nobody has to batch them
            call = functools.partial(_with_others, flat, leaves, is_given)
            leaves, dims, names = ([v for v, g in zip(vs, is_given) if g] for vs in (leaves, dims, names))
        leaves = [check_leaf(x, f"{n} of {name}") for x, n in zip(leaves, names)]
        size = _batch_size(leaves, dims, names, axis_size, name)
        outs, out_dims = batched_flat(call, leaves, dims, names, NamedAxis(axis_name, size), name)
        assert flat.out_tree is not None
        want = _out_dims(out_axes, flat.out_tree, outs, name)
        return tree.unflatten(
            flat.out_tree, [as_array(_place(o, d, w, size, name)) for o, d, w in zip(outs, out_dims, want)]
        )

    return batched


def _with_refs(
    refused: RefError,
    batched: Callable[..., Any],
    fun: Callable[..., Any],
    in_axes: Any,
    out_axes: Any,
    args: Any,
    kwargs: Any,
) -> Any:
    """``batched`` of a function that uses refs: those among the arguments are batched as ``in_axes`` says, others are not."""
    leaves, structure = tree.flatten((args, kwargs))
    given = [i for i, x in enumerate(leaves) if type(x) is Ref]
    axes = tree.broadcast_prefix(in_axes, args, is_leaf=_is_axis, what="in_axes") + [0] * len(tree.leaves(kwargs))

    def run(closed: Carried, _: Any) -> Any:
        call = closed.closed(fun)

        def pure(*args: Any, **kwargs: Any) -> Any:
            inner = tree.leaves((args, kwargs))
            refs = Carried([Ref(inner[i]) for i in given])
            for i, r in zip(given, refs.refs):
                inner[i] = r
            args, kwargs = tree.unflatten(structure, inner)
            return *call(*args, **kwargs), refs.read()

        outside = Carried([leaves[i] for i in given])
        values = list(leaves)
        for i, v in zip(given, outside.read()):
            values[i] = v
        args, kwargs = tree.unflatten(structure, values)
        out, held, own = batched(wraps(fun)(pure), (out_axes, None, [axes[i] for i in given]), *args, **kwargs)
        closed.write(held)
        outside.write(own)
        return out

    return carrying(refused, run, [leaves[i] for i in given])


def _is_array(x: Any) -> bool:
    """Whether a leaf is an array; a number that is not batched stays the number that it is."""
    if is_python_scalar(x):
        return False
    try:
        check_leaf(x, "")
    except TreeError:
        return False
    return True


def _with_others(flat: FlatFunction, leaves: Sequence[Any], is_given: Sequence[bool], *given: Any) -> Sequence[Any]:
    """A function of flat values, of which some are always the same."""
    own = iter(given)
    return flat(*[next(own) if g else x for x, g in zip(leaves, is_given)])


def batched_flat(
    flat: Callable[..., Sequence[Any]],
    leaves: Sequence[Any],
    dims: Sequence[int | None],
    names: Sequence[str],
    axis: NamedAxis,
    name: str,
) -> tuple[list[Any], list[int | None]]:
    """A function of flat values on a batch of them: its outputs, and where their batch axes are (None: they have none).

    Args:
        dims, names: the batch axis of each value, and what it is called.
        axis: the name and the size of the batch.
        name: what the function is called.
    """
    b = Builder("vmap", name)
    axis.builder = b
    state.axes.append(axis)
    try:
        with b:
            ins = [b.input(_unbatched(aval_of(x), d), name=n) for x, d, n in zip(leaves, dims, names)]
            graph, captures = b.close(flat(*ins))
            del ins
    finally:
        state.axes.pop()
    b.check_leaks()
    return batch_graph(graph, [*leaves, *captures], [*dims, *[None] * len(captures)], axis)


def _is_axis(x: Any) -> bool:
    return x is None or (isinstance(x, (int, np.integer)) and not isinstance(x, bool))


def _in_dims(
    in_axes: Any, args: Sequence[Any], kwargs: dict[str, Any], leaves: Sequence[Any], names: Sequence[str], fun: str
) -> list[int | None]:
    if isinstance(in_axes, tuple) and len(in_axes) != len(args):
        raise VmapAxisError(
            f"in_axes={in_axes!r} has {len(in_axes)} entr{'y' if len(in_axes) == 1 else 'ies'}, but {fun} was called with"
            f" {len(args)} positional argument{'s' * (len(args) != 1)}"
        )
    try:
        axes = tree.broadcast_prefix(in_axes, tuple(args), is_leaf=_is_axis, what="in_axes")
    except TreeError as e:
        raise VmapAxisError(f"in_axes={in_axes!r} is not a prefix of the arguments of {fun}: {e}") from None
    axes += [0] * len(tree.leaves(kwargs))
    out: list[int | None] = []
    for x, d, n in zip(leaves, axes, names):
        if d is None:
            out.append(None)
            continue
        a = aval_of(check_leaf(x, f"{n} of {fun}"))
        if not _is_axis(d):
            raise VmapAxisError(f"in_axes entries must be ints or None; found {d!r} for {n}")
        if not -a.ndim <= d < a.ndim:
            raise VmapAxisError(
                f"vmap of {fun}: in_axes says that {n} is batched at axis {d}, but its shape is {a.shape}."
                " Use None for arguments that are not batched."
            )
        out.append(int(d) % a.ndim)
    return out


def _batch_size(
    leaves: Sequence[Any], dims: Sequence[int | None], names: Sequence[str], given: int | None, fun: str
) -> int:
    sizes = {n: aval_of(x).shape[d] for x, d, n in zip(leaves, dims, names) if d is not None}
    if given is not None:
        sizes = {**sizes, "axis_size": given}
    if not sizes:
        raise VmapAxisError(
            f"vmap of {fun} needs at least one batched argument (an in_axes that is not None), or axis_size"
        )
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{n}: {s}" for n, s in sizes.items())
        raise VmapAxisError(f"vmap of {fun}: the batch axes have different sizes ({listed}); they must be equal")
    return next(iter(sizes.values()))


def _unbatched(a: Aval, d: int | None) -> Aval:
    return a if d is None else a.with_(shape=a.shape[:d] + a.shape[d + 1 :])


def _out_dims(out_axes: Any, out_tree: tree.TreeDef, outs: Sequence[Any], fun: str) -> list[int | None]:
    example = tree.unflatten(out_tree, list(range(out_tree.num_leaves)))
    try:
        axes = tree.broadcast_prefix(out_axes, example, is_leaf=_is_axis, what="out_axes")
        return [d for d, x in zip(axes, tree.leaves(example)) if not is_float0(x)]
    except TreeError as e:
        raise VmapAxisError(f"out_axes={out_axes!r} is not a prefix of the output of {fun}: {e}") from None


def _place(x: Any, have: int | None, want: int | None, size: int, fun: str) -> Any:
    """An output with its batch axis where out_axes wants it."""
    if want is None:
        if have is not None:
            raise VmapAxisError(
                f"out_axes is None for an output of {fun} that does depend on the batch; give it an axis"
            )
        return x
    ndim = len(aval_of(x).shape) + (have is None)
    if not isinstance(want, (int, np.integer)) or not -ndim <= want < ndim:
        raise VmapAxisError(
            f"out_axes={want!r} does not fit an output of {fun} with {ndim} dimensions (batch included)"
        )
    want = int(want) % ndim
    return broadcast_batch(x, size, want) if have is None else move_batch(x, have, want)
