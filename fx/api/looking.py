"""``eval_shape`` and ``make_graph``: what a function is, without computing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import tree
from ..dtypes import canonical
from ..errors import ArgnumsError, RefError
from ..mutable import Carried, carrying
from ..primitives.helpers import full
from ..signatures import wraps
from ..staging import ShapeDtypeStruct, TracedGraph
from ..trace import NamedAxis, state, trace_flat
from ..traceback import user_frames
from ..transforms.flat import (
    FlatFunction,
    argument_names,
    check_function,
    example_aval,
    function_name,
    resolve_argnums,
)
from .traced import partial_of

__all__ = ["ShapeDtypeStruct", "TracedGraph", "eval_shape", "make_graph", "make_jaxpr"]


@user_frames
def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The shapes and dtypes of ``fun(*args, **kwargs)`` without computing it.

    Args may be arrays or anything with ``shape`` and ``dtype``.

    >>> import fx, numpy as np
    >>> fx.eval_shape(lambda x, w: x @ w, fx.ShapeDtypeStruct((10**6, 300), "float32"), np.ones((300, 4), np.float32))
    ShapeDtypeStruct(shape=(1000000, 4), dtype=float32)
    """
    return make_graph(_with_arrays(fun))(*args, **kwargs).out_info


def _with_arrays(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with arrays for the types that it returns (nobody computes them)."""
    check_function(fun, "eval_shape", "Write eval_shape(f, x).")

    @wraps(fun)
    def called(*args: Any, **kwargs: Any) -> Any:
        return tree.map(_array_of, fun(*args, **kwargs))

    return called


def _array_of(x: Any) -> Any:
    return full(x.shape, 0, canonical(x.dtype), x.weak_type) if isinstance(x, ShapeDtypeStruct) else x


@user_frames
def make_graph(
    fun: Callable[..., Any],
    static_argnums: int | Sequence[int] = (),
    axis_env: Sequence[tuple[Any, int]] | None = None,
    return_shape: bool = False,
) -> Callable[..., Any]:
    """A function that returns the graph of ``fun`` for its arguments, to be printed and explored.

    With ``return_shape`` it returns a pair: the graph, and what ``eval_shape`` would give.  ``axis_env`` names axes, with
    their sizes, that collectives in ``fun`` may name as under a ``vmap``.

    >>> import fx, numpy as np
    >>> print(fx.make_graph(lambda x: np.sin(x) * 2)(np.float32(1)))
    { <lambda>(x: f32[])
      a: f32[] = sin x
      b: f32[] = mul a 2.0:f32
      return b }
    """

    check_function(fun, "make_graph", "Write make_graph(f)(x).")

    @user_frames
    @wraps(fun)
    def traced(*args: Any, **kwargs: Any) -> Any:
        try:
            return once(fun, *args, **kwargs)
        except RefError as e:  # of what the refs hold, and nobody writes them

            def run(refs: Carried, given: Any) -> Any:
                call = refs.closed(fun)
                return once(wraps(fun)(lambda *args, **kwargs: call(*args, **kwargs)[0]), *given[0], **given[1])

            return carrying(e, run, (args, kwargs))

    def once(fun: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        static = set(resolve_argnums(static_argnums, len(args), "static_argnums", ArgnumsError))
        chosen = tuple(i for i in range(len(args)) if i not in static)
        call = partial_of(fun, args, {}, chosen) if static else fun
        dynamic = tuple(args[i] for i in chosen)
        leaves, in_tree = tree.flatten((dynamic, kwargs))
        names = argument_names(fun, tuple(None if i in static else a for i, a in enumerate(args)), kwargs)
        avals = [example_aval(x, n) for x, n in zip(leaves, names)]
        flat = FlatFunction(call, in_tree)
        traceable = _under_axes(flat, axis_env) if axis_env else flat
        graph, captures = trace_flat(traceable, avals, kind="make_graph", name=function_name(fun), names=names)
        assert flat.out_tree is not None
        found = TracedGraph(graph, captures, in_tree, flat.out_tree)
        return (found, found.out_info) if return_shape else found

    return traced


make_jaxpr = make_graph


def _under_axes(f: Callable[..., Any], axes: Sequence[tuple[Any, int]]) -> Callable[..., Any]:
    """``f`` as the innermost trace calls it, with named axes around it."""

    def called(*xs: Any) -> Any:
        around = len(state.axes)
        state.axes += [NamedAxis(name, size, state.absorbing[-1]) for name, size in axes]
        try:
            return f(*xs)
        finally:
            del state.axes[around:]

    return called
