"""Constant folding of scalars."""

from __future__ import annotations

import numpy as np

from ..ir import Atom, Eqn, Graph, Literal, Var, subgraphs
from ..sizes import is_sized
from ..trace import evaluate
from .rewrite import Substitution, copied

__all__ = ["fold"]

_STAY = ("pure_callback", "optimization_barrier")


def fold(g: Graph) -> Graph:
    """Evaluates equations whose operands are all literals and whose results are all scalars; takes the branch of a
    ``cond`` whose index is a literal.

    Arrays are never folded: a constant of any size beyond a scalar is computed where it is used.  Loops are not run.
    """
    sub, out = Substitution(), []
    todo: list[Eqn | tuple[tuple[Var, ...], list[Atom]]] = list(reversed(g.eqns))
    while todo:
        e = todo.pop()
        if not isinstance(e, Eqn):  # the end of a branch: its results stand for those of the cond
            sub.map.update(zip(e[0], sub.atoms(e[1])))
            continue
        e = sub.apply(e)
        if e.prim.name == "cond" and type(e.inputs[0]) is Literal and not is_sized(e.inputs[0].value):
            branches = e.params["branches"]
            eqns, results = copied(branches[min(max(int(e.inputs[0].value), 0), len(branches) - 1)], e.inputs[1:])
            todo += [(e.outputs, results), *reversed(eqns)]
            continue
        if not _foldable(e):
            out.append(e)
            continue
        values = evaluate(e.prim, [np.asarray(a.value) for a in e.inputs], e.params)  # type: ignore[union-attr,arg-type]
        sub.map.update((v, Literal(x, v.aval)) for v, x in zip(e.outputs, values))
    return sub.finish(g, out)


def _foldable(e: Eqn) -> bool:
    if e.effect or not e.inputs or e.prim.name in _STAY or subgraphs(e.params):
        return False
    return all(type(a) is Literal and not is_sized(a.value) for a in e.inputs) and all(
        v.aval.shape == () for v in e.outputs
    )
