"""A function traced with its values, and what the derivatives share: arguments, names, results."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import tree
from ..array import Array
from ..config import config
from ..dtypes import is_inexact
from ..errors import (
    GradientError,
    TreeError,
)
from ..ir import Atom, Aval, Graph, Literal, Var
from ..primitives.elementwise import weakened
from ..primitives.helpers import full_like
from ..trace import (
    Builder,
    Tracer,
    aval_of,
    concrete_value,
    state,
)
from ..transforms.eager import pull_back
from ..transforms.flat import (
    FlatFunction,
    argument_names,
    check_leaf,
    function_name,
)
from ..transforms.jvp import Linearized, linearize_graph
from ..transforms.transpose import transpose_graph

__all__ = ["ArgnumsError", "Traced", "as_array", "chosen_names", "names_of", "partial_of", "trace_with_values"]


class ArgnumsError(GradientError, ValueError):
    """argnums do not fit the call."""


@dataclass
class Traced:
    """A function traced with values: the graph's inputs are ``args`` (the leaves, then the captures)."""

    graph: Graph
    args: list[Any]
    known: dict[Var, np.ndarray]
    out_tree: tree.TreeDef
    n: int
    n_leaves: int
    forwards: Mapping[Any, Any]
    aux: Any = None

    @property
    def wrt(self) -> list[bool]:
        """For each input of the graph, whether it is an argument that has a derivative."""
        return [i < self.n_leaves and is_inexact(v.aval.dtype) for i, v in enumerate(self.graph.inputs)]

    def gradient(self) -> tuple[list[Any], list[Any], list[Aval]]:
        """The outputs, and for the inputs where ``wrt`` the cotangents (None: zero) of the first output, and their types."""
        wrt = self.wrt
        avals = [v.aval.strong() for v, w in zip(self.graph.inputs, wrt) if w]
        straight = not state.absorbing and not any(type(x) is Tracer for x in self.args)
        if straight and not config.watching:  # NaNs are looked for operation by operation
            outs = [_evaluated(a, self.known) for a in self.graph.outputs]
            if all(o is not None for o in outs):
                seed = np.ones((), self.graph.outputs[0].aval.dtype)
                found = pull_back(self.graph, wrt, self.known, seed)
                if found is not None:
                    return outs, [None if c is None else Array(c) for c in found], avals
        lin = self.linearize()
        grads: list[Any] = [None] * len(avals)
        if lin.nonzero[0]:
            linear = [i < len(avals) for i in range(len(lin.linear.inputs))]
            cts = [full_like(aval_of(lin.outs[0]).strong(), 1)] + [None] * (len(lin.linear.outputs) - 1)
            grads = transpose_graph(lin.linear, linear, lin.residuals, cts)
        return lin.outs, grads, avals

    def linearize(self) -> Linearized:
        """Called once: afterwards the intermediate values are let go, only the residuals stay."""
        lin = linearize_graph(self.graph, self.args, self.wrt, self.known, self.forwards)
        self.known, self.forwards, self.args = {}, {}, []
        return lin


def _evaluated(a: Atom, known: Mapping[Var, np.ndarray]) -> Any:
    """An output of a graph as an array, or None if its value is not known."""
    if isinstance(a, Literal):
        return a
    return Array(known[a], a.aval.weak) if a in known else None


def trace_with_values(
    kind: str, f: Callable[..., Any], args: Sequence[Any], names: Sequence[str], has_aux: bool = False
) -> Traced:
    """Traces ``f(*args)`` (pytrees), evaluating where values are known."""
    leaves, in_tree = tree.flatten((tuple(args), {}))
    leaves = [check_leaf(x, f"{n} of {function_name(f)}") for x, n in zip(leaves, names)]
    aux_box: list[Any] = []

    def main(*xs: Any) -> Any:
        out = f(*xs)
        if not has_aux:
            return out
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise TreeError(
                f"with has_aux=True {function_name(f)} must return a pair (output, aux); it returned a {type(out).__name__}"
            )
        aux_leaves, aux_tree = tree.flatten(out[1])
        aux_box.append((aux_leaves, aux_tree))
        return out[0]

    flat = FlatFunction(main, in_tree)
    b = Builder(kind, function_name(f), evaluate=True)
    with b:
        ins = [b.input(aval_of(x), concrete_value(x), n) for x, n in zip(leaves, names)]
        b.active, b.resumes = {t.variable for t in ins if is_inexact(t.dtype)}, True
        outs = flat(*ins)
    n_out = len(outs)
    aux_leaves, aux_tree = aux_box[0] if aux_box else ([], None)
    traced_aux = [i for i, x in enumerate(aux_leaves) if type(x) is Tracer]
    graph, captures = b.close([*outs, *(aux_leaves[i] for i in traced_aux)])
    for i in traced_aux:
        aux_leaves[i] = None
    del ins, outs
    b.check_leaks()
    assert flat.out_tree is not None
    traced = Traced(graph, [*leaves, *captures], b.values, flat.out_tree, n_out, len(leaves), b.forwards)
    if aux_tree is not None:

        def aux(values: Sequence[Any]) -> Any:
            filled = list(aux_leaves)
            for i, v in zip(traced_aux, values):
                filled[i] = v
            return tree.unflatten(aux_tree, filled)

        traced.aux = aux
    return traced


def names_of(f: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    return argument_names(f, args, {})


def partial_of(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], argnums: tuple[int, ...]
) -> Callable[..., Any]:
    """``f`` as a function of the arguments at ``argnums`` alone."""

    @functools.wraps(f)
    def g(*chosen: Any) -> Any:
        rest, kw = args, kwargs
        if state.current is not None and state.current.around is not None:
            rest, kw = tree.map(_own, (list(args), kwargs))
        full = list(rest)
        for i, x in zip(argnums, chosen):
            full[i] = x
        return f(*full, **kw)

    return g


def _own(x: Any) -> Any:
    """A traced argument as an array of the function's own: writing to it leaves the caller's alone."""
    return x.alias() if type(x) is Tracer else x


def chosen_names(f: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int]) -> list[str]:
    names = iter(names_of(f, args))
    per_arg = [[next(names) for _ in tree.leaves(a)] for a in args]
    return [n for i in argnums for n in per_arg[i]]


def as_array(x: Any, weak: bool = False) -> Any:
    """A NumPy scalar (a literal of the graph) as an Array; weak where the argument it belongs to is weak."""
    if type(x) is Tracer:  # an in-place update of the result must not change what it was made from
        return weakened(x) if weak and not x.weak_type else x.alias()
    if type(x) is Array:
        return Array(x._data, True) if weak and not x.weak_type else x
    return Array(np.asarray(concrete_value(x)), weak)
