"""Constant folding of scalars."""

from __future__ import annotations

import numpy as np

from ..ir import Graph, Literal
from ..trace import evaluate
from .rewrite import Substitution

__all__ = ["fold"]


def fold(g: Graph) -> Graph:
    """Evaluates equations whose operands are all literals and whose results are all scalars.

    Arrays are never folded: a constant of any size beyond a scalar is computed where it is used.
    """
    sub, out = Substitution(), []
    for e in g.eqns:
        e = sub.apply(e)
        scalars = all(v.aval.shape == () for v in e.outputs)
        if not scalars or e.effect or not e.inputs or not all(type(a) is Literal for a in e.inputs):
            out.append(e)
            continue
        if e.prim.name in ("pure_callback", "optimization_barrier"):
            out.append(e)
            continue
        values = evaluate(e.prim, [np.asarray(a.value) for a in e.inputs], e.params)  # type: ignore[union-attr,arg-type]
        sub.map.update((v, Literal(x, v.aval)) for v, x in zip(e.outputs, values))
    return sub.finish(g, out)
