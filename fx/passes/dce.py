"""Dead code elimination."""

from __future__ import annotations

from ..ir import Eqn, Graph, Var

__all__ = ["dce"]


def dce(g: Graph) -> Graph:
    """Drops equations that no output needs; those with an effect stay."""
    live = {a for a in g.outputs if type(a) is Var}
    kept: list[Eqn] = []
    for e in reversed(g.eqns):
        if e.effect or any(v in live for v in e.outputs):
            kept.append(e)
            live.update(a for a in e.inputs if type(a) is Var)
    return g if len(kept) == len(g.eqns) else g.replace(eqns=tuple(reversed(kept)))
