"""A function traced with its values, and what the derivatives share: arguments, names, results."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..array import Array
from ..config import config
from ..dtypes import is_inexact
from ..errors import TreeError
from ..ir import Atom, Graph, Literal, Var
from ..primitives.elementwise import weakened
from ..primitives.helpers import full_like
from ..signatures import wraps
from ..trace import (
    Builder,
    Tracer,
    aval_of,
    concrete_value,
    is_weak,
    state,
)
from ..transforms.eager import pull_back
from ..transforms.flat import (
    FlatFunction,
    argument_names,
    check_leaf,
    flat_result,
    function_name,
)
from ..transforms.jvp import Linearized, linearize_graph
from ..transforms.transpose import transpose_graph

__all__ = [
    "Traced", "as_array", "call_with", "chosen_names", "names_of", "partial_of", "trace_with_values",
]  # fmt: skip

_VALUES = frozenset((Tracer, Array, np.ndarray, float, int))  # leaves that need no second look


class Traced:
    """A function traced with values: the inputs of its graph are ``args`` (the leaves, then the captures).

    n: the number of its outputs, behind which those of aux follow.
    differentiable: for each leaf, whether it can have a derivative.
    """

    def __init__(
        self, builder: Builder, leaves: Sequence[Any], differentiable: list[bool], outputs: Sequence[Any],
        out_tree: tree.TreeDef, n: int,
    ) -> None:  # fmt: skip
        self.builder = builder
        self.outputs = builder.finish(outputs)
        captured = [value for value, _ in builder.captures.values()] if builder.captures else []
        self.args: list[Any] = [*leaves, *captured]
        self.known, self.forwards, self.tape = builder.values, builder.forwards, builder.tape
        self.out_tree = out_tree
        self.n = n
        self.differentiable = differentiable
        self.aux: Any = None

    @functools.cached_property
    def graph(self) -> Graph:
        return self.builder.graph(self.outputs)

    @property
    def wrt(self) -> list[bool]:
        """For each input of the graph, whether it is an argument that has a derivative."""
        return [*self.differentiable, *[False] * (len(self.args) - len(self.differentiable))]

    def gradient(self) -> tuple[list[Any], list[Any], list[Var]]:
        """The outputs, and for the differentiable leaves the cotangents (None: zero) of the first output, and their variables."""
        wrt = list(itertools.compress(self.builder.inputs, self.differentiable))
        straight = self.tape is not None and not state.absorbing and Tracer not in map(type, self.args)
        if straight and not config.watching:  # NaNs are looked for operation by operation
            outs = _evaluated(self.outputs, self.known)
            if outs is not None:
                found = pull_back(self.tape, self.known, wrt, self.outputs[0], _one(self.outputs[0].aval.dtype))
                if found is not None:
                    return outs, [None if c is None else Array(c) for c in found], wrt
        lin = self.linearize()
        grads: list[Any] = [None] * len(wrt)
        if lin.nonzero[0]:
            linear = [i < len(wrt) for i in range(len(lin.linear.inputs))]
            cts = [full_like(aval_of(lin.outs[0]).strong(), 1)] + [None] * (len(lin.linear.outputs) - 1)
            grads = transpose_graph(lin.linear, linear, lin.residuals, cts)
        return lin.outs, grads, wrt

    def linearize(self) -> Linearized:
        """Called once: afterwards the intermediate values are let go, only the residuals stay."""
        graph, known, forwards = self.graph, self.known, self.forwards
        self.tape, self.known, self.forwards = None, {}, {}
        del self.builder
        lin = linearize_graph(graph, self.args, self.wrt, known, forwards)
        self.args = []
        return lin


@functools.cache
def _one(dtype: np.dtype) -> np.ndarray:
    one = np.ones((), dtype)
    one.flags.writeable = False
    return one


def _evaluated(outputs: Sequence[Atom], known: Mapping[Var, np.ndarray]) -> list[Any] | None:
    """The outputs of a graph as arrays, or None if the value of one is not known."""
    found: list[Any] = []
    for a in outputs:
        if type(a) is Literal:
            found.append(a)
        elif a in known:
            found.append(Array(known[a], a.aval.weak))  # type: ignore[index]
        else:
            return None
    return found


def trace_with_values(
    kind: str, f: Callable[..., Any], arguments: tuple[list[Any], tree.TreeDef], names: Callable[[], Sequence[str]],
    has_aux: bool = False, name: str = "",
) -> Traced:  # fmt: skip
    """Traces a function, evaluating where values are known.

    Args:
        arguments: the leaves of ``(args, {})`` and their structure.
        names: gives the names of the leaves.
        name: that of the function.
    """
    name = name or function_name(f)
    leaves, in_tree = arguments
    if not _VALUES.issuperset(map(type, leaves)):
        called = names()
        leaves = [x if type(x) in _VALUES else check_leaf(x, f"{called[i]} of {name}") for i, x in enumerate(leaves)]
    aux_box: list[Any] = []
    main = _without_aux(f, name, aux_box) if has_aux else f
    b = Builder(kind, name, evaluate=True, names=names)
    with b:
        ins = b.inputs_of(leaves)
        differentiable = [v.aval.dtype.kind in "fc" or is_inexact(v.aval.dtype) for v in b.inputs]
        b.active, b.resumes = set(itertools.compress(b.inputs, differentiable)), True
        b.tape = [] if kind == "grad" else None
        if in_tree is tree.ONE_ARGUMENT:
            outs, out_tree = flat_result(main(ins[0]), name)
        else:
            flat = FlatFunction(main, in_tree, name)
            outs = flat(*ins)
            assert flat.out_tree is not None
            out_tree = flat.out_tree
    n_out = len(outs)
    aux_leaves, aux_tree = aux_box[0] if aux_box else ([], None)
    traced_aux = [i for i, x in enumerate(aux_leaves) if type(x) is Tracer] if aux_leaves else []
    results = [*outs, *[aux_leaves[i] for i in traced_aux]] if traced_aux else outs
    traced = Traced(b, leaves, differentiable, results, out_tree, n_out)
    for i in traced_aux:
        aux_leaves[i] = None
    del ins, outs, results
    if b.made:
        b.check_leaks()
    if aux_tree is not None:

        def aux(values: Sequence[Any]) -> Any:
            filled = list(aux_leaves)
            for i, v in zip(traced_aux, values):
                filled[i] = v
            return tree.unflatten(aux_tree, filled)

        traced.aux = aux
    return traced


def _without_aux(f: Callable[..., Any], name: str, box: list[Any]) -> Callable[..., Any]:
    """A function that returns a pair as one that returns the first; the leaves and the structure of the other go into a box."""

    def main(*xs: Any) -> Any:
        out = f(*xs)
        if not isinstance(out, (tuple, list)) or len(out) != 2:
            raise TreeError(
                f"with has_aux=True {name} must return a pair (output, aux); it returned a {type(out).__name__}"
            )
        box.append(tree.flatten(out[1]))
        return out[0]

    return main


def names_of(f: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    return argument_names(f, args, {})


def call_with(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], argnums: tuple[int, ...], *chosen: Any
) -> Any:
    """``f(*args, **kwargs)`` with ``chosen`` at the positions ``argnums``."""
    rest, kw = args, kwargs
    if state.current is not None and state.current.around is not None:
        rest, kw = tree.map(_own, (list(args), kwargs))
    full = list(rest)
    for i, x in zip(argnums, chosen):
        full[i] = x
    return f(*full, **kw)


def partial_of(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], argnums: tuple[int, ...]
) -> Callable[..., Any]:
    """``f`` as a function of the arguments at ``argnums`` alone."""

    @wraps(f)
    def g(*chosen: Any) -> Any:
        return call_with(f, args, kwargs, argnums, *chosen)

    return g


def _own(x: Any) -> Any:
    """A traced argument as an array of the function's own: writing to it leaves the caller's alone."""
    return x.alias() if type(x) is Tracer else x


def chosen_names(f: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int]) -> list[str]:
    names = iter(names_of(f, args))
    per_arg = [[next(names) for _ in tree.leaves(a)] for a in args]
    return [n for i in argnums for n in per_arg[i]]


def as_array(x: Any, weak: bool = False) -> Any:
    """A scalar, such as a literal of the graph, as an Array; weak as it is, or where the argument it belongs to is weak."""
    if type(x) is Tracer:  # an in-place update of the result must not change what it was made from
        return weakened(x) if weak and not x.weak_type else x.alias()
    if type(x) is Array:
        return Array(x._data, True) if weak and not x.weak_type else x
    return Array(np.asarray(concrete_value(x)), weak or is_weak(x))
