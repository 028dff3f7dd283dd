"""What a linearized scan keeps of its iterations: the residuals, with as little as possible stacked.

Residuals that depend on consts alone are computed once, in front of the loops; an x or y is not stacked a second time; what a
few additions and products make of other residuals is computed again.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir import Atom, Eqn, Graph, Literal, Var
from ..passes.dce import dce
from ..passes.rewrite import split
from .calls import ClosedLinear

__all__ = ["Residuals", "place_residuals"]


@dataclass(frozen=True)
class Residuals:
    """forward: the primal body with the values that must be stacked as further ys.
    invariant: (consts, captures) -> values that are the same in every iteration.
    inputs: the inputs of the linear body besides the tangents.
    places: for each of these where its value is: ("const" | "x" | "y", position), ("value", value), or ("once", None),
        the next output of ``invariant``.
    rebuilt: equations that make the residuals of the linear body of these inputs.
    """

    forward: Graph
    invariant: Graph
    inputs: tuple[Var, ...]
    places: tuple[tuple[str, Any], ...]
    rebuilt: tuple[Eqn, ...]


def place_residuals(lin: ClosedLinear, n_inputs: int, n_consts: int, n_carry: int) -> Residuals:
    return _Placing(lin, n_inputs, n_consts, n_carry).result()


_SHAPING = frozenset(("broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose"))
_CHEAP = frozenset(
    "add sub mul neg square integer_pow max min abs sign select_n eq ne lt le gt ge and or not convert_element_type".split()
)
_MOST_CHEAP = 4  # operations by which a residual is computed again from others, rather than stacked


class _Placing:
    """Where the residuals of a linearized body come from, with as little as possible stacked."""

    def __init__(self, lin: ClosedLinear, n_inputs: int, n_consts: int, n_carry: int) -> None:
        self.lin, self.graph = lin, lin.primal
        self.consts, self.carry, rest = split(self.graph.inputs, n_consts, n_carry)
        n_xs = n_inputs - n_consts - n_carry
        self.xs, self.captured = rest[:n_xs], rest[n_xs:]
        self.fixed, self.fixed_eqns = _invariant(self.graph, [*self.consts, *self.captured])
        self.outputs: list[Atom] = list(self.graph.outputs[: len(lin.nonzero)])  # what is stacked besides follows
        self.position = {
            v: i - n_carry for i, v in reversed(list(enumerate(self.outputs))) if i >= n_carry and type(v) is Var
        }
        self.producers = {v: e for e in self.graph.eqns for v in e.outputs}
        self.there = {*self.consts, *self.xs}
        self.once: list[Atom] = []
        self.inputs: list[Var] = []
        self.places: list[tuple[str, Any]] = []
        self.rebuilt: list[Eqn] = []
        self.again: dict[Var, Var] = {}  # what is computed again, or read for that, in the linear body

    def result(self) -> Residuals:
        g, lin = self.graph, self.lin
        found: list[tuple[Var, Atom, list[Eqn]]] = []
        for r, (kind, at) in zip(lin.linear.inputs[len(lin.linear.inputs) - len(lin.residuals) :], lin.residuals):
            if kind == "const":
                self.inputs.append(r)
                self.places.append(("value", at))
            else:
                a = g.inputs[at] if kind == "in" else g.outputs[at]
                found.append((r, *_made_of(a, self.producers, self.there | self.position.keys())))
        self.kept = {v for _, v, _ in found if type(v) is Var}
        for e in reversed(g.eqns):  # those that come last are made of others
            for v in e.outputs:
                if v in self.kept and v not in self.position and self._cost(v, itself=True) <= _MOST_CHEAP:
                    self.kept.remove(v)
        for r, v, shaping in found:
            self._place(r, v, shaping)
        inputs = (*self.consts, *self.captured, *self.carry, *self.xs)
        forward = dce(g.replace(inputs=inputs, outputs=tuple(self.outputs), input_names=None))
        invariant = dce(Graph((*self.consts, *self.captured), tuple(self.fixed_eqns), tuple(self.once), g.name))
        return Residuals(forward, invariant, tuple(self.inputs), tuple(self.places), tuple(self.rebuilt))

    def _has(self, v: Var) -> bool:
        """Whether the linear body can read the value without anything more being stacked."""
        return v in self.there or v in self.fixed or v in self.position or v in self.kept

    def _cost(self, a: Atom, itself: bool = False) -> int:
        """Cheap operations that compute a value from what the linear body can read; many if it cannot be done.

        itself: the value itself cannot be read.
        """
        if isinstance(a, Literal) or (not itself and self._has(a)):
            return 0
        e = self.producers.get(a)
        if e is None or e.effect or e.prim.name not in _CHEAP | _SHAPING:
            return _MOST_CHEAP + 1
        total = int(e.prim.name in _CHEAP)
        for x in e.inputs:
            total += self._cost(x)
            if total > _MOST_CHEAP:
                break
        return total

    def _place(self, r: Var, v: Atom, shaping: Sequence[Eqn]) -> None:
        """Makes the residual ``r`` of the linear body: the value ``v``, shaped."""
        start: Atom = v if isinstance(v, Literal) else r if not shaping else Var(v.aval)
        if isinstance(v, Var):
            assert isinstance(start, Var)
            if self._has(v):
                self._read(v, start)
            else:
                e = self.producers[v]
                self.rebuilt.append(e.replace(inputs=tuple([self._again(a) for a in e.inputs]), outputs=(start,)))
        self.rebuilt += _replayed(shaping, start, r)

    def _again(self, a: Atom) -> Atom:
        """A value of the primal body as one of the linear body, computed again if it cannot be read."""
        if isinstance(a, Literal) or a in self.again:
            return a if isinstance(a, Literal) else self.again[a]
        new = self.again[a] = Var(a.aval)
        if self._has(a):
            self._read(a, new)
        else:
            e = self.producers[a]
            self.rebuilt.append(e.replace(inputs=tuple([self._again(x) for x in e.inputs]), outputs=(new,)))
        return new

    def _read(self, v: Var, new: Var) -> None:
        """Makes ``new`` an input of the linear body that has the value of ``v``."""
        self.inputs.append(new)
        if v in self.there:
            self.places.append(("const", self.consts.index(v)) if v in self.consts else ("x", self.xs.index(v)))
        elif v in self.fixed:
            self.once.append(v)
            self.places.append(("once", None))
        else:
            if v not in self.position:
                self.position[v] = len(self.outputs) - len(self.carry)
                self.outputs.append(v)
            self.places.append(("y", self.position[v]))


def _made_of(a: Atom, producers: Mapping[Var, Eqn], there: Container[Var]) -> tuple[Atom, list[Eqn]]:
    """What to keep in place of a residual that is a value in another shape: the smallest form of it, or one that is there;
    and the equations that shape it."""
    shaping: list[Eqn] = []
    best, n = a, 0
    while type(a) is Var and a in producers and producers[a].prim.name in _SHAPING:
        shaping.append(producers[a])
        a = producers[a].inputs[0]
        if isinstance(a, Literal) or a in there or a.aval.nbytes < best.aval.nbytes:
            best, n = a, len(shaping)
    return best, shaping[:n][::-1]


def _replayed(shaping: Sequence[Eqn], start: Atom, end: Var) -> list[Eqn]:
    """The equations once more, from ``start`` to ``end``."""
    out = []
    for k, e in enumerate(shaping):
        v = end if k == len(shaping) - 1 else Var(e.outputs[0].aval)
        out.append(e.replace(inputs=(start,), outputs=(v,)))
        start = v
    return out


def _invariant(graph: Graph, fixed_inputs: Sequence[Var]) -> tuple[set[Var], list[Eqn]]:
    """The variables that depend on those inputs alone, and the equations that compute them."""
    fixed, eqns = set(fixed_inputs), []
    for e in graph.eqns:
        if e.effect is None and all(type(a) is not Var or a in fixed for a in e.inputs):
            fixed.update(e.outputs)
            eqns.append(e)
    return fixed, eqns
