"""Dead code elimination."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir import Atom, Eqn, Graph, Var

__all__ = ["dce", "needed"]


def needed(eqns: Sequence[Eqn], outputs: Iterable[Atom]) -> tuple[list[Eqn], set[Var]]:
    """The equations that the outputs need (and those with an effect), and the variables that are read."""
    live = {a for a in outputs if type(a) is Var}
    kept: list[Eqn] = []
    for e in reversed(eqns):
        if e.effect or any(v in live for v in e.outputs):
            kept.append(e)
            live.update(a for a in e.inputs if type(a) is Var)
    return kept[::-1], live


def dce(g: Graph) -> Graph:
    """Drops equations that no output needs; those with an effect stay."""
    kept, _ = needed(g.eqns, g.outputs)
    return g if len(kept) == len(g.eqns) else g.replace(eqns=tuple(kept))
