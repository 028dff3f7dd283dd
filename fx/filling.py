"""Filling sizes in: what holds ``Size``s, for other values of them.

``filler(x, numbers)`` looks through ``x`` once and gives a function that makes ``x`` anew from a list of numbers, touching only
the parts that hold sizes.  A dataclass may name the fields that can hold some: ``may_vary``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .ir import Aval, Eqn, Graph, Literal, Var
from .sizes import Sizes, is_sized

__all__ = ["Fill", "filler", "graph_filler"]

Fill = Callable[[Sequence[Any]], Any]
_PLAIN = frozenset((int, str, float, bool, complex, type(None), np.dtype))


def filler(x: Any, numbers: dict[Any, int]) -> Fill | None:
    """A function of the numbers that gives ``x`` with its sizes filled in; None if it holds none.

    Args:
        numbers: the sizes found so far, with their positions; new ones are added.
    """
    if type(x) in _PLAIN:
        return None
    if is_sized(x):
        k = numbers.setdefault(x, len(numbers))
        return lambda values: values[k]
    if type(x) is tuple or type(x) is list:
        return _of_parts(x, type(x), numbers)
    if isinstance(x, dict):
        return _of_parts(list(x.values()), lambda parts: dict(zip(x, parts)), numbers)
    if type(x) is Aval:
        shape = filler(x.shape, numbers)
        return None if shape is None else lambda values: Aval(shape(values), x.dtype, x.weak)
    if type(x) is Literal:
        value = filler(x.value, numbers)
        return None if value is None else lambda values: Literal(value(values), x.aval)
    if type(x) is Graph:
        return _graph(x, numbers)
    if isinstance(x, tuple):  # a named one
        kind: Any = type(x)
        return _of_parts(x, lambda parts: kind(*parts), numbers)
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        names = getattr(x, "may_vary", None) or [f.name for f in dataclasses.fields(x) if f.init]
        changed = lambda parts: dataclasses.replace(x, **dict(zip(names, parts)))
        return _of_parts([getattr(x, n) for n in names], changed, numbers)
    return None


def _of_parts(parts: Sequence[Any], make: Callable[[list[Any]], Any], numbers: dict[Any, int]) -> Fill | None:
    fills = [(k, f) for k, p in enumerate(parts) if (f := filler(p, numbers)) is not None]
    if not fills:
        return None
    known = list(parts)

    def fill(values: Sequence[Any]) -> Any:
        filled = known.copy()
        for k, f in fills:
            filled[k] = f(values)
        return make(filled)

    return fill


def _graph(graph: Graph, numbers: dict[Any, int]) -> Fill | None:
    """Of a graph whose shapes or parameters hold sizes; the new one has variables of its own."""
    before = len(numbers)
    variables = [*graph.inputs, *(v for e in graph.eqns for v in e.outputs)]
    avals = [filler(v.aval, numbers) for v in variables]
    params = [filler(e.params, numbers) for e in graph.eqns]
    literals = {a for e in graph.eqns for a in e.inputs if type(a) is Literal} | {
        a for a in graph.outputs if type(a) is Literal
    }
    filled_literals = {a: f for a in literals if (f := filler(a, numbers)) is not None}
    if len(numbers) == before and not any(avals) and not any(params) and not filled_literals:
        return None

    def fill(values: Sequence[Any]) -> Graph:
        new: dict[Any, Any] = {v: Var(f(values) if f else v.aval) for v, f in zip(variables, avals)}
        new.update((a, f(values)) for a, f in filled_literals.items())
        eqns = []
        for e, f in zip(graph.eqns, params):
            inputs, outputs = tuple([new.get(a, a) for a in e.inputs]), tuple([new[v] for v in e.outputs])
            eqns.append(Eqn(e.prim, inputs, f(values) if f else e.params, outputs, e.source, e.scope, e.effect))
        inputs, outputs = tuple([new[v] for v in graph.inputs]), tuple([new.get(a, a) for a in graph.outputs])
        return Graph(inputs, tuple(eqns), outputs, graph.name, graph.input_names)

    return fill


def graph_filler(graph: Graph, sizes: Sizes) -> Callable[[Sequence[int]], Graph]:
    """The graph as a function of the values of the variables."""
    numbers: dict[Any, int] = {}
    fill = filler(graph, numbers)
    if fill is None:
        return lambda values: graph
    formulas = sizes.formulas(list(numbers))
    return lambda values: fill(formulas(values))
