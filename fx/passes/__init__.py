"""Rewrites of a closed graph before it is compiled, each named, verified after, and in its place for a reason.

The order (``PIPELINE``):

1. ``inline``   first, so that every later pass sees one flat graph: calls to jitted functions, checkpoints and
                custom-rule functions disappear.
2. ``dce``      before the others, so that they do not work on what nobody reads.
3. ``fold``     scalar arithmetic on literals; makes literals that ``simplify`` and ``cse`` recognise.
4. ``simplify`` removes identities (a copy, a transpose of a transpose); exposes equal equations.
5. ``cse``      one computation for equal equations.
6. ``dce``      again: the previous three leave dead equations behind.

No pass changes a bit of any result: ``x + 0`` stays (it turns -0.0 into 0.0), floating point is not reassociated.
"""

from __future__ import annotations

from ..config import config
from ..ir import Graph
from ..trace import evaluate
from ..verify import verify_graph
from .cse import cse
from .dce import dce
from .fold import fold
from .inline import inline
from .simplify import simplify

__all__ = ["PIPELINE", "cse", "dce", "fold", "inline", "optimize", "simplify"]

PIPELINE = (inline, dce, fold, simplify, cse, dce)


def optimize(graph: Graph) -> Graph:
    """Runs the pipeline; with ``fx.config.verify`` the graph is verified after each pass."""
    for p in PIPELINE:
        graph = p(graph)
        if config.verify:
            verify_graph(graph)
    for e in graph.eqns:
        if e.prim.name == "custom_vjp_linear":  # forward mode of a function that has a backward rule only
            evaluate(e.prim, (), e.params)  # type: ignore[arg-type]  # raises, and says so
    return graph
