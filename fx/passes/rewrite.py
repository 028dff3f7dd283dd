"""Substitution: what every pass does to the operands of the equations that it keeps."""

from __future__ import annotations

from ..ir import Atom, Eqn, Graph, Var

__all__ = ["Substitution"]


class Substitution:
    """Maps variables to the atoms that replace them."""

    def __init__(self) -> None:
        self.map: dict[Var, Atom] = {}

    def __call__(self, a: Atom) -> Atom:
        return self.map.get(a, a) if type(a) is Var else a

    def atoms(self, xs: tuple[Atom, ...]) -> tuple[Atom, ...]:
        return tuple([self(a) for a in xs])

    def apply(self, e: Eqn) -> Eqn:
        inputs = self.atoms(e.inputs)
        return e if all(a is b for a, b in zip(inputs, e.inputs)) else e.replace(inputs=inputs)

    def finish(self, g: Graph, eqns: list[Eqn]) -> Graph:
        return g.replace(eqns=tuple(eqns), outputs=self.atoms(g.outputs))
