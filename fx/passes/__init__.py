"""Rewrites of a closed graph before it is compiled, each named, verified after, and in its place for a reason.

The order (``PIPELINE``; every pass goes into the graphs that loops and conditionals hold, to any depth):

1. ``inline``   first, so that every later pass sees one flat graph: calls to jitted functions, checkpoints and
                custom-rule functions disappear.
2. ``dce``      before the others, so that they do not work on what nobody reads.
3. ``fold``     arithmetic on literals and on arrays that repeat one; makes literals that ``simplify`` and ``cse`` recognise, and
                takes the branch of a ``cond``, the case of a ``select_n``, that is decided.
4. ``simplify`` removes identities (a copy, a transpose of a transpose); exposes equal equations.
5. ``cse``      one computation for equal equations.  Before ``prune``, while a body that stands in two loops is one graph.
6. ``masks``    takes the masks of gradients to where less is read.  After ``cse``, as it looks for the same operand.
7. ``narrow``   leaves out what nobody reads of products, convolutions and windows.  After ``masks``, which has taken masks away from
                what a pool leaves unread.
8. ``zeros``    makes zeros around the operands of convolutions their padding.  After ``masks``, too, which stood between.
9. ``prune``    last: the previous ones leave dead equations behind.  It is ``dce`` that also thins out loops and
                conditionals, to the results that somebody reads.

Graphs with loops go through ``LOOPS`` as well:

10. ``hoist``   moves what is the same in every iteration in front of the loop.  After ``prune``, which finds the carries
                that never change.
11. ``sink``    moves sums of products that a loop only collects behind it: the gradients of weights.  After ``hoist``,
                whose products are not to be collected.
12. ``fold``, ``simplify``, ``cse``, ``prune`` again, as literals have moved into the bodies, equations out of them.

No pass changes a bit of any result: ``x + 0`` stays (it turns -0.0 into 0.0), floating point is not reassociated.  One
exception: ``hoist`` and ``sink`` make one large matrix product of those that a loop does one by one, ``narrow`` makes a product
smaller, and ``masks`` leaves zeros out of a sum; the last bits of a product depend on the shape of its operands, those of a sum on the order of its additions.
"""

from __future__ import annotations

from collections.abc import Callable

from ..config import config
from ..ir import Graph, subgraphs
from ..trace import evaluate
from ..verify import verify_graph
from .cse import cse
from .dce import dce
from .fold import fold
from .hoist import hoist
from .inline import inline
from .masks import masks
from .narrow import narrow
from .prune import prune
from .rewrite import in_subgraphs
from .simplify import simplify
from .sink import sink
from .zeros import zeros

__all__ = [
    "LOOPS",
    "PIPELINE",
    "cse",
    "dce",
    "fold",
    "hoist",
    "inline",
    "masks",
    "narrow",
    "optimize",
    "prune",
    "simplify",
    "sink",
    "zeros",
]

Pass = Callable[[Graph], Graph]

PIPELINE: tuple[Pass, ...] = (
    inline,
    *(in_subgraphs(p) for p in (dce, fold, simplify, cse, masks, narrow, zeros)),
    prune,
)
LOOPS: tuple[Pass, ...] = (
    hoist,
    sink,
    *(in_subgraphs(p) for p in (fold, simplify, cse)),
    prune,
)


def optimize(graph: Graph) -> Graph:
    """Runs the pipeline; with ``fx.config.verify`` the graph is verified after each pass."""
    graph = _run(PIPELINE, graph)
    if any(e.prim.name in ("scan", "while", "cond") for e in graph.eqns):
        graph = _run(LOOPS, graph)
    _refuse_forward_mode(graph)
    return graph


def _refuse_forward_mode(graph: Graph) -> None:
    """Raises where a function that has a backward rule only was differentiated in forward mode."""
    for e in graph.eqns:
        if e.prim.name == "custom_vjp_linear":
            evaluate(e.prim, (), e.params)  # type: ignore[arg-type]  # raises, and says so
        for _, inner in subgraphs(e.params):
            _refuse_forward_mode(inner)


def _run(passes: tuple[Pass, ...], graph: Graph) -> Graph:
    for p in passes:
        graph = p(graph)
        if config.verify:
            verify_graph(graph)
    return graph
