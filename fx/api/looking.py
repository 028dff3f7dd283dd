"""``eval_shape`` and ``make_graph``: what a function is, without computing it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import tree
from ..dtypes import canonical
from ..errors import ArgnumsError
from ..ir import Graph
from ..primitives.helpers import full
from ..trace import (
    trace_flat,
)
from ..traceback import user_frames
from ..transforms.flat import (
    FlatFunction,
    argument_names,
    check_function,
    example_aval,
    function_name,
    resolve_argnums,
)
from .jaxprs import Jaxpr
from .traced import partial_of

__all__ = ["ShapeDtypeStruct", "TracedGraph", "eval_shape", "make_graph", "make_jaxpr"]


@dataclass(frozen=True)
class ShapeDtypeStruct:
    """Shape and dtype of an array that need not exist; ``weak_type`` as that of a Python number.

    >>> import fx
    >>> fx.ShapeDtypeStruct((2, 3), "float32")
    ShapeDtypeStruct(shape=(2, 3), dtype=dtype('float32'), weak_type=False)
    """

    shape: tuple[int, ...]
    dtype: Any
    sharding: Any = field(default=None, kw_only=True, compare=False, repr=False)
    weak_type: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        if isinstance(self.dtype, (str, type, np.dtype)):  # one spelling, so that equal ones are equal
            object.__setattr__(self, "dtype", np.dtype(self.dtype))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without a dimension")
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


@user_frames
def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The shapes and dtypes of ``fun(*args, **kwargs)`` without computing it.

    Args may be arrays or anything with ``shape`` and ``dtype``.

    >>> import fx, numpy as np
    >>> fx.eval_shape(lambda x, w: x @ w, fx.ShapeDtypeStruct((10**6, 300), "float32"), np.ones((300, 4), np.float32))
    ShapeDtypeStruct(shape=(1000000, 4), dtype=dtype('float32'), weak_type=False)
    """
    return _shapes(make_graph(_with_arrays(fun))(*args, **kwargs))


def _with_arrays(fun: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with arrays for the types that it returns (nobody computes them)."""
    check_function(fun, "eval_shape", "Write eval_shape(f, x).")

    @functools.wraps(fun)
    def called(*args: Any, **kwargs: Any) -> Any:
        return tree.map(_array_of, fun(*args, **kwargs))

    return called


def _array_of(x: Any) -> Any:
    return full(x.shape, 0, canonical(x.dtype), x.weak_type) if isinstance(x, ShapeDtypeStruct) else x


def _shapes(traced: TracedGraph) -> Any:
    return tree.unflatten(
        traced.out_tree, [ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak) for a in traced.graph.out_avals]
    )


@dataclass(frozen=True)
class TracedGraph:
    """A graph with the values that its function closes over (its last inputs) and its structure."""

    graph: Graph
    consts: list[Any]
    in_tree: tree.TreeDef
    out_tree: tree.TreeDef

    @property
    def jaxpr(self) -> Jaxpr:
        """The graph under JAX's names."""
        return Jaxpr(self.graph, len(self.consts))

    @property
    def literals(self) -> list[Any]:
        """JAX's other name of ``consts``."""
        return self.consts

    @property
    def eqns(self) -> Any:
        return self.graph.eqns

    @property
    def in_avals(self) -> Any:
        return self.graph.in_avals

    @property
    def out_avals(self) -> Any:
        return self.graph.out_avals

    def __str__(self) -> str:
        return str(self.graph)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.graph._repr_html_()  # type: ignore[attr-defined]


@user_frames
def make_graph(
    fun: Callable[..., Any], static_argnums: int | Sequence[int] = (), *, return_shape: bool = False
) -> Callable[..., Any]:
    """A function that returns the graph of ``fun`` for its arguments, to be printed and explored.

    With ``return_shape`` it returns a pair: the graph, and what ``eval_shape`` would give.

    >>> import fx, numpy as np
    >>> print(fx.make_graph(lambda x: np.sin(x) * 2)(np.float32(1)))
    { <lambda>(x: f32[])
      a: f32[] = sin x
      b: f32[] = mul a 2.0:f32
      return b }
    """

    check_function(fun, "make_graph", "Write make_graph(f)(x).")

    @user_frames
    @functools.wraps(fun)
    def traced(*args: Any, **kwargs: Any) -> Any:
        static = set(resolve_argnums(static_argnums, len(args), "static_argnums", ArgnumsError))
        chosen = tuple(i for i in range(len(args)) if i not in static)
        call = partial_of(fun, args, {}, chosen) if static else fun
        dynamic = tuple(args[i] for i in chosen)
        leaves, in_tree = tree.flatten((dynamic, kwargs))
        names = argument_names(fun, tuple(None if i in static else a for i, a in enumerate(args)), kwargs)
        avals = [example_aval(x, n) for x, n in zip(leaves, names)]
        flat = FlatFunction(call, in_tree)
        graph, captures = trace_flat(flat, avals, kind="make_graph", name=function_name(fun), names=names)
        assert flat.out_tree is not None
        found = TracedGraph(graph, captures, in_tree, flat.out_tree)
        return (found, _shapes(found)) if return_shape else found

    return traced


make_jaxpr = make_graph
