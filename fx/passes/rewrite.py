"""What every pass does: put atoms in the place of variables, go into the graphs that equations hold, copy a graph's equations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..ir import Atom, Eqn, Graph, Var, subgraphs

__all__ = ["Substitution", "are_plain", "copied", "in_subgraphs", "split", "with_subgraphs"]

Pass = Callable[[Graph], Graph]


def split(xs: Sequence[Any], n_first: int, n_second: int) -> tuple[list[Any], list[Any], list[Any]]:
    """A list in three parts: so many, so many, and the rest."""
    n = n_first + n_second
    return list(xs[:n_first]), list(xs[n_first:n]), list(xs[n:])


def are_plain(*numbers: Any) -> bool:
    """Whether none of some numbers is one of sizes that vary: to compare such a one would be a guard."""
    return all(type(n) is int for n in numbers)


class Substitution:
    """Maps variables to the atoms that replace them."""

    def __init__(self) -> None:
        self.map: dict[Var, Atom] = {}

    def __call__(self, a: Atom) -> Atom:
        return self.map.get(a, a) if type(a) is Var else a

    def atoms(self, xs: Sequence[Atom]) -> tuple[Atom, ...]:
        return tuple([self(a) for a in xs])

    def apply(self, e: Eqn) -> Eqn:
        inputs = self.atoms(e.inputs)
        return e if all(a is b for a, b in zip(inputs, e.inputs)) else e.replace(inputs=inputs)

    def finish(self, g: Graph, eqns: Sequence[Eqn]) -> Graph:
        return g.replace(eqns=tuple(eqns), outputs=self.atoms(g.outputs))


def with_subgraphs(e: Eqn, f: Pass) -> Eqn:
    """The equation with ``f`` applied to each graph that it holds."""
    if not subgraphs(e.params):
        return e
    params = dict(e.params)
    for key, value in params.items():
        if isinstance(value, Graph):
            params[key] = f(value)
        elif isinstance(value, tuple) and any(isinstance(v, Graph) for v in value):
            params[key] = tuple([f(v) if isinstance(v, Graph) else v for v in value])
    return e.replace(params=params)


def in_subgraphs(f: Pass) -> Pass:
    """The pass ``f`` on a graph, and then on every graph that its equations hold, to any depth.

    A graph that several equations hold is rewritten once, and stays one graph.
    """

    def everywhere(g: Graph) -> Graph:
        g = f(g)
        if not any(subgraphs(e.params) for e in g.eqns):
            return g
        return g.replace(eqns=tuple([with_subgraphs(e, once) for e in g.eqns]))

    def once(g: Graph) -> Graph:
        done: Graph = g.memo(("pass", f), lambda: everywhere(g))
        return done

    everywhere.__name__, everywhere.__doc__ = f.__name__, f.__doc__
    return everywhere


def copied(g: Graph, inputs: Sequence[Atom]) -> tuple[list[Eqn], list[Atom]]:
    """The equations of ``g`` on other inputs, with variables of their own, and its outputs."""
    sub = Substitution()
    sub.map.update(zip(g.inputs, inputs, strict=True))
    eqns = list(_copies(g.eqns, sub))
    return eqns, list(sub.atoms(g.outputs))


def _copies(eqns: Sequence[Eqn], sub: Substitution) -> Iterator[Eqn]:
    for e in eqns:
        outputs = tuple([Var(v.aval) for v in e.outputs])
        yield e.replace(inputs=sub.atoms(e.inputs), outputs=outputs)
        sub.map.update(zip(e.outputs, outputs))
