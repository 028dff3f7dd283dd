"""Graphs under the names that JAX has for their parts, for programs that interpret what they trace."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir import Atom, Eqn, Graph, Var

__all__ = ["Jaxpr", "JaxprEqn"]


class JaxprEqn:
    """An equation under JAX's names."""

    __slots__ = ("eqn",)

    def __init__(self, eqn: Eqn) -> None:
        self.eqn = eqn

    primitive = property(lambda self: self.eqn.prim)
    params = property(lambda self: self.eqn.params)
    source_info = property(lambda self: self.eqn.source)

    @property
    def invars(self) -> list[Atom]:
        return list(self.eqn.inputs)

    @property
    def outvars(self) -> list[Var]:
        return list(self.eqn.outputs)

    @property
    def effects(self) -> frozenset[str]:
        return frozenset() if self.eqn.effect is None else frozenset((self.eqn.effect,))

    def __repr__(self) -> str:
        return f"{self.outvars} = {self.primitive}[{', '.join(self.params)}] {self.invars}"


@dataclass(frozen=True, eq=False)
class Jaxpr:
    """A graph under JAX's names: what it closes over, its last inputs, are ``constvars``."""

    graph: Graph
    n_consts: int

    @property
    def invars(self) -> list[Var]:
        return list(self.graph.inputs[: len(self.graph.inputs) - self.n_consts])

    @property
    def constvars(self) -> list[Var]:
        return list(self.graph.inputs[len(self.graph.inputs) - self.n_consts :])

    @property
    def outvars(self) -> list[Atom]:
        return list(self.graph.outputs)

    @property
    def eqns(self) -> list[JaxprEqn]:
        return [JaxprEqn(e) for e in self.graph.eqns]

    @property
    def effects(self) -> frozenset[str]:
        return self.graph.effects

    def __str__(self) -> str:
        return str(self.graph)

    __repr__ = __str__
