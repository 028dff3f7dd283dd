"""``linear_call``: a linear function of some operands whose transpose is a function of the user's.

The equation holds both as graphs.  Transposing it swaps them; its derivative along the linear operands is itself, along all
else that of its graph.  Where nobody transposes, the graph is inlined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..interpret import run_graph
from ..ir import Aval, Graph
from ..primitive import Linear, Primitive
from ..primitives.elementwise import add
from ..primitives.helpers import align_batch, instantiate
from ..trace import bind, state
from .calls import batch_closed
from .cond import side_by_side
from .jvp import jvp_graph

__all__ = ["linear_call_p"]

linear_call_p = Primitive("linear_call", multiple_results=True)
"""Operands: those that it is linear in (``n`` of them), then what the graphs close over.

graph: of all operands.  transposed: of the cotangents of the results in place of the first ``n``, to theirs.
"""

Values = Sequence[Any]


@linear_call_p.def_abstract
def _abstract(*avals: Aval, graph: Graph, **_: Any) -> tuple[Aval, ...]:
    return tuple([a.strong() for a in graph.out_avals])


linear_call_p.def_impl(lambda *args, graph, **_: run_graph(graph, [np.asarray(a) for a in args]))


@linear_call_p.def_jvp_call
def _jvp(primals: Values, tangents: Values, *, n: int, graph: Graph, **params: Any) -> tuple[list[Any], list[Any]]:
    outs = bind(linear_call_p, *primals, n=n, graph=graph, **params)
    moved: list[Any] = [None] * len(outs)
    if any(t is not None for t in tangents[n:]):
        _, moved = jvp_graph(graph, primals, [*[None] * n, *tangents[n:]])
    if all(t is None for t in tangents[:n]):
        return outs, moved
    along = [instantiate(t, v.aval.strong()) for t, v in zip(tangents[:n], graph.inputs)]
    t_outs = bind(linear_call_p, *along, *primals[n:], n=n, graph=graph, **params)
    return outs, [t if m is None else add(t, m) for t, m in zip(t_outs, moved)]


@linear_call_p.def_transpose
def _transpose(cts: Values, inputs: Values, *, n: int, graph: Graph, transposed: Graph) -> list[Any]:
    ct = [instantiate(c, a.strong()) for c, a in zip(cts, graph.out_avals)]
    outs = bind(linear_call_p, *ct, *inputs[n:], n=len(ct), graph=transposed, transposed=graph)
    return [o if isinstance(x, Linear) else None for o, x in zip(outs, inputs[:n])] + [None] * (len(inputs) - n)


@linear_call_p.def_batch
def _batch(
    size: int, args: Values, dims: Sequence[int | None], *, n: int, graph: Graph, transposed: Graph
) -> tuple[list[Any], list[int | None]]:
    of_linear = ((graph, n), (transposed, len(graph.outputs)))
    forms = [batch_closed(g, [*[0] * k, *dims[n:]], state.mapped[-1], True) for g, k in of_linear]
    batched, captures = side_by_side([f[0] for f in forms], [f[1] for f in forms])
    outs = bind(
        linear_call_p, *align_batch(size, args[:n], dims[:n]), *args[n:], *captures, n=n, graph=batched[0], transposed=batched[1]
    )  # fmt: skip
    return outs, [0] * len(outs)
