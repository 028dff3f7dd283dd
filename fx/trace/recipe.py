"""A graph as a recipe: its equations are recorded again on other operands, without looking at types, as they are the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from .. import silence
from ..ir import Atom, Eqn, Graph, Literal, Var
from ..primitive import Primitive
from .applied import Applied, apply_types
from .builder import Builder
from .source import user_source
from .thread_state import state
from .tracer import Tracer

__all__ = ["Recipe", "operands_of"]

_new_tuple: Any = tuple.__new__
_new: Any = object.__new__
Step = tuple[Primitive, Applied, dict[str, Any], Any]  # and what takes its operands


class Recipe:
    """The equations of a graph of known operations with one result each.

    Attributes:
        known: whether it can be followed: no equation holds a function, has an effect or several results.
    """

    def __init__(self, graph: Graph) -> None:
        places: dict[Var, int] = {v: k for k, v in enumerate(graph.inputs)}
        self.literals: list[tuple[Literal, np.ndarray]] = []
        self.steps: list[Step] = []
        n = len(graph.inputs) + sum(isinstance(a, Literal) for e in graph.eqns for a in e.inputs)

        def place(a: Atom) -> int:
            if isinstance(a, Var):
                return places[a]
            self.literals.append((a, np.asarray(a.value, a.aval.dtype)))
            return len(graph.inputs) + len(self.literals) - 1

        self.known = all(isinstance(a, Var) for a in graph.outputs)
        for k, e in enumerate(graph.eqns):
            applied = apply_types(e.prim, tuple([a.aval for a in e.inputs]), e.params)  # type: ignore[arg-type]
            if not (applied.is_simple and e.inputs):
                self.known = False
            if not self.known:
                return
            read = [place(a) for a in e.inputs]
            take = _taker(read)
            places[e.outputs[0]] = n + k
            self.steps.append((e.prim, applied, e.params, take))  # type: ignore[arg-type]
        self.outputs = [places[a] for a in graph.outputs if isinstance(a, Var)]

    def follow(self, builder: Builder, atoms: list[Atom], values: list[Any]) -> list[Tracer]:
        """Records the equations in a builder that evaluates.

        Args:
            atoms, values: what stands for the inputs, and what they are; the lists are filled up.
        """
        here = state.__dict__
        source, scope = here["source"] or user_source(5), here["scope"]
        for literal, value in self.literals:
            atoms.append(literal)
            values.append(value)
        eqns, known, active, tape = builder.eqns, builder.values, builder.active, builder.tape
        token = silence.off()
        try:
            for prim, applied, params, take in self.steps:
                operands = take(values)
                value = applied.run(*operands)
                if type(value) is not np.ndarray:
                    value = np.asarray(value)
                inputs = take(atoms)
                variable = _new(Var)
                variable.aval = applied.out
                eqn = _new_tuple(Eqn, (prim, inputs, params, (variable,), source, scope, None))
                eqns.append(eqn)
                known[variable] = value
                if active is not None and not prim.is_constant and not active.isdisjoint(inputs):
                    if tape is not None:
                        tape.append((eqn, applied, tuple([a in active for a in inputs]), operands, (value,)))
                    if applied.inexact:
                        active.add(variable)
                atoms.append(variable)
                values.append(value)
        finally:
            silence.back(token)
        return [Tracer(builder, atoms[k], values[k]) for k in self.outputs]  # type: ignore[arg-type]


def _taker(places: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    first = places[0] if places else 0
    return lambda values: (values[first],)


def operands_of(builder: Builder, leaves: Sequence[Any]) -> tuple[list[Atom], list[Any]] | None:
    """What stands for values in a builder, and their numbers; None unless all are known."""
    atoms: list[Atom] = []
    values: list[Any] = []
    for x in leaves:
        if type(x) is Tracer:
            if x.builder is not builder or x.value is None:
                return None
            atoms.append(x.variable)
            values.append(x.value)
        else:
            atom = builder.atom(x)
            atoms.append(atom)
            values.append(
                np.asarray(atom.value, atom.aval.dtype) if isinstance(atom, Literal) else builder.values[atom]
            )
    return atoms, values
