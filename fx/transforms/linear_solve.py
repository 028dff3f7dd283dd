"""``linear_solve``: the solution x of ``A x = b``, whose derivatives are solutions, too.

The equation holds the solver as a graph, and ``A`` as one.  With dots for tangents,
``A x = b`` gives ``A x' = b' - A' x``: one more solution, whatever the solver does inside.  As the solution is linear in
``b``, its transpose is the solution of ``A^T y = ct``.  Where nobody differentiates, the solver's graph is inlined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import MissingRuleError
from ..interpret import run_graph
from ..ir import Aval, Graph
from ..primitive import Linear, Primitive
from ..primitives.elementwise import neg, sub
from ..primitives.helpers import align_batch, instantiate
from ..trace import bind, state
from .calls import batch_closed
from .cond import side_by_side
from .jvp import jvp_graph

__all__ = ["linear_solve_p"]

linear_solve_p = Primitive("linear_solve", multiple_results=True)
"""Operands: b (``n`` of them), then what the graphs close over.  Each graph takes a vector in place of b, and the rest.

graph: b -> (x, auxiliary results).  matvec: x -> A x.  transposed: the same two for the transpose of A, or None.
"""

Values = Sequence[Any]


@linear_solve_p.def_abstract
def _abstract(*avals: Aval, graph: Graph, **_: Any) -> tuple[Aval, ...]:
    return tuple([a.strong() for a in graph.out_avals])


linear_solve_p.def_impl(lambda *args, graph, **_: run_graph(graph, [np.asarray(a) for a in args]))


@linear_solve_p.def_jvp_call
def _jvp(primals: Values, tangents: Values, *, n: int, matvec: Graph, **params: Any) -> tuple[list[Any], list[Any]]:
    outs = bind(linear_solve_p, *primals, n=n, matvec=matvec, **params)
    _, moved = jvp_graph(matvec, [*outs[:n], *primals[n:]], [*[None] * n, *tangents[n:]])
    rhs = [_difference(t, m) for t, m in zip(tangents[:n], moved)]
    if all(r is None for r in rhs):
        return outs, [None] * len(outs)
    rhs = [instantiate(r, a.strong()) for r, a in zip(rhs, matvec.out_avals)]
    t_outs = bind(linear_solve_p, *rhs, *primals[n:], n=n, matvec=matvec, **params)
    return outs, [*t_outs[:n], *[None] * (len(outs) - n)]


def _difference(a: Any, b: Any) -> Any:
    return a if b is None else neg(b) if a is None else sub(a, b)


@linear_solve_p.def_transpose
def _transpose(
    cts: Values, inputs: Values, *, n: int, graph: Graph, matvec: Graph, transposed: tuple[Graph, Graph] | None
) -> list[Any]:
    if transposed is None:
        raise MissingRuleError(
            "reverse-mode differentiation of custom_linear_solve without a transposed solver."
            " Pass transpose_solve, or symmetric=True if the matrix is symmetric."
        )
    ct = [instantiate(c, a.strong()) for c, a in zip(cts[:n], matvec.out_avals)]
    swapped = {"graph": transposed[0], "matvec": transposed[1], "transposed": (graph, matvec)}
    outs = bind(linear_solve_p, *ct, *inputs[n:], n=n, **swapped)
    return [o if isinstance(x, Linear) else None for o, x in zip(outs, inputs[:n])] + [None] * (len(inputs) - n)


@linear_solve_p.def_batch
def _batch(
    size: int,
    args: Values,
    dims: Sequence[int | None],
    *,
    n: int,
    graph: Graph,
    matvec: Graph,
    transposed: tuple[Graph, Graph] | None,
) -> tuple[list[Any], list[int | None]]:
    graphs = [graph, matvec, *(transposed or ())]
    forms = [batch_closed(g, [*[0] * n, *dims[n:]], state.mapped[-1], True) for g in graphs]
    batched, captures = side_by_side([f[0] for f in forms], [f[1] for f in forms])
    outs = bind(
        linear_solve_p, *align_batch(size, args[:n], dims[:n]), *args[n:], *captures,
        n=n, graph=batched[0], matvec=batched[1], transposed=tuple(batched[2:]) or None,
    )  # fmt: skip
    return outs, [0] * len(outs)
