"""The jit primitive: an equation that holds a graph, and how it is run, differentiated, transposed and batched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..array import to_numpy
from ..backend import Executable, compile_graph
from ..config import config
from ..ir import Graph
from ..primitive import Linear, Primitive
from ..primitives.helpers import instantiate
from ..replay import checked
from ..trace import aval_of, bind, bind_known, state
from ..transforms.calls import batch_closed, jvp_closed, linearize_closed, transpose_closed
from ..transforms.jvp import are_linear

__all__ = ["executable_of", "jit_p"]

jit_p = Primitive("jit", multiple_results=True)
jit_p.def_abstract(lambda *avals, graph: graph.out_avals)


def executable_of(graph: Graph, backend: str | None = None, donate: tuple[int, ...] = ()) -> Executable:
    """The compiled graph, made once per graph, backend and engine."""
    key = ("executable", backend or config.backend, config.engine, donate)
    return graph.memo(key, lambda: compile_graph(graph, backend=backend, donate=donate))


@jit_p.def_impl
def _jit_impl(*args: Any, graph: Graph) -> Sequence[np.ndarray]:
    return checked(executable_of(graph), graph)(*[np.asarray(a) for a in args])  # of the dtypes that they have


@jit_p.def_forward
def _jit_forward(arrays: Sequence[Any], wrt: tuple[bool, ...], *, graph: Graph) -> tuple[Sequence[Any], Any]:
    """Runs the primal graph with its residuals, so that the derivative need not run it again."""
    lin = linearize_closed(graph, wrt)
    run = checked(executable_of(lin.primal), lin.primal)
    results = run(*map(np.asarray, arrays), *map(to_numpy, lin.captures))
    return results[: len(graph.outputs)], (wrt, lin, results)


@jit_p.def_jvp_call
def _jit_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, graph: Graph, resume: Any = None
) -> tuple[list[Any], list[Any]]:
    wrt = tuple(t is not None for t in tangents)
    if resume is None and not are_linear(tangents):  # forward mode: one program, and no residuals to keep
        joint, captures, nonzero = jvp_closed(graph, wrt)
        given = [t for t in tangents if t is not None]
        outs = bind(jit_p, *primals, *given, *captures, graph=joint)
        n = len(graph.outputs)
        t_outs = iter(outs[n:])
        return outs[:n], [next(t_outs) if nz else None for nz in nonzero]
    if resume is not None and all(r or not w for w, r in zip(wrt, resume[0])):
        wrt, lin, results = resume  # what was guessed to have a tangent while tracing, and may have a zero one
        outs = bind_known(jit_p, [*primals, *lin.captures], {"graph": lin.primal}, results, lin.primal.out_avals)
    else:
        lin = linearize_closed(graph, wrt)
        outs = bind(jit_p, *primals, *lin.captures, graph=lin.primal)
    ts = [instantiate(t, aval_of(x).strong()) for t, x, w in zip(tangents, primals, wrt) if w]
    t_out = iter(bind(jit_p, *ts, *lin.residual_values(primals, outs), graph=lin.linear))
    return outs[: len(graph.outputs)], [next(t_out) if nz else None for nz in lin.nonzero]


@jit_p.def_transpose
def _jit_transpose(cts: Sequence[Any], inputs: Sequence[Any], *, graph: Graph) -> list[Any]:
    linear = [isinstance(x, Linear) for x in inputs]
    transposed, captures, nonzero = transpose_closed(graph, linear, [c is not None for c in cts])
    others = [x for x in inputs if not isinstance(x, Linear)]
    out = iter(bind(jit_p, *others, *(c for c in cts if c is not None), *captures, graph=transposed))
    per_linear = iter([next(out) if nz else None for nz in nonzero])
    return [next(per_linear) if is_lin else None for is_lin in linear]


@jit_p.def_batch
def _jit_batch(size: int, args: Sequence[Any], dims: Sequence[int | None], *, graph: Graph) -> Any:
    batched, captures, out_dims = batch_closed(graph, dims, state.mapped[-1])
    return bind(jit_p, *args, *captures, graph=batched), list(out_dims)
