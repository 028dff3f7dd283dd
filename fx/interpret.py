"""The NumPy reference evaluator: the oracle that compiled code is held against.

It walks a graph and calls each primitive's ``impl`` on plain ndarrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .config import config
from .errors import GraphError
from .ir import Aval, Graph, Var
from .trace import evaluate, read, source_override

__all__ = ["run_graph"]


def run_graph(graph: Graph, args: Sequence[np.ndarray], *, check: bool = False) -> list[np.ndarray]:
    """Runs ``graph`` on NumPy arrays.

    Args:
        args: one array for each input.
        check: compare every result's shape and dtype with what the graph says.

    Raises:
        GraphError: with ``check``, if a primitive's reference disagrees with its abstract rule.
    """
    env: dict[Var, np.ndarray] = dict(zip(graph.inputs, args, strict=True))
    last_use: dict[Var, int] = {a: i for i, e in enumerate(graph.eqns) for a in e.inputs if type(a) is Var}
    keep = {a for a in graph.outputs if type(a) is Var}
    for i, e in enumerate(graph.eqns):
        given = [np.asarray(read(env, a)) for a in e.inputs]
        if config.watching:  # an error names the line that the equation comes from
            with source_override(e.source):
                outs = evaluate(e.prim, given, e.params)  # type: ignore[arg-type]
        else:
            outs = evaluate(e.prim, given, e.params)  # type: ignore[arg-type]
        for v, o in zip(e.outputs, outs, strict=True):
            if check and not Aval(o.shape, o.dtype).same_type(v.aval):
                raise GraphError(
                    f"{e.prim.name}: the reference returned {Aval(o.shape, o.dtype)}, the graph says {v.aval}"
                )
            env[v] = o
        for a in e.inputs:
            if type(a) is Var and last_use.get(a) == i and a not in keep:
                env.pop(a, None)
    return [np.asarray(read(env, a)) for a in graph.outputs]
