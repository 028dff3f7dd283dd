"""Transforms of a closed graph into closed graphs: what the rules of jit, checkpoint and control flow share.

Each result is made once per graph and kept with it (``Graph.memo``), so that a jitted function that is
differentiated in every training step is linearized and transposed once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..ir import Graph
from ..passes.dce import dce
from ..primitives.helpers import broadcast_batch, move_batch
from ..trace import Builder, NamedAxis, Tracer, trace_flat
from .jvp import linearize_graph
from .transpose import transpose_graph
from .vmap import batch_graph

__all__ = ["ClosedLinear", "batch_closed", "linearize_closed", "transpose_closed"]

T = TypeVar("T")


def memoised(graph: Graph, key: Hashable, make: Callable[[], tuple[T, Sequence[Any]]]) -> T:
    """``make() -> (result, captures)``; kept with the graph unless a capture belongs to a trace that will end."""
    if key in graph._memo:
        return graph._memo[key]
    result, captures = make()
    if not any(type(c) is Tracer for c in captures):
        graph._memo[key] = result
    return result


@dataclass(frozen=True)
class ClosedLinear:
    """``linearize`` of a closed graph as two closed graphs.

    primal: (inputs, captures) -> (outputs, residuals).
    linear: (tangents of the inputs asked for, residuals) -> tangents of the outputs where ``nonzero``.
    residuals: where each residual of ``linear`` comes from: ("in", i) an input of the graph itself, ("out", j) an
        output of ``primal``, ("const", value).
    """

    primal: Graph
    captures: tuple[Any, ...]
    linear: Graph
    residuals: tuple[tuple[str, Any], ...]
    nonzero: tuple[bool, ...]

    def residual_values(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> list[Any]:
        source = {"in": inputs, "out": outputs}
        return [at if kind == "const" else source[kind][at] for kind, at in self.residuals]


def linearize_closed(graph: Graph, wrt: Sequence[bool]) -> ClosedLinear:
    """The primal and the linear graph of ``graph`` with respect to the inputs where ``wrt`` is True."""

    def make() -> tuple[ClosedLinear, Sequence[Any]]:
        b = Builder("linearize", graph.name, absorb=True)
        with b:
            ins = [b.input(v.aval) for v in graph.inputs]
            lin = linearize_graph(graph, ins, wrt)
            place: dict[Any, tuple[str, Any]] = {t.variable: ("in", i) for i, t in enumerate(ins)}
            outs = list(lin.outs)
            for j, o in enumerate(outs):
                if type(o) is Tracer and o.builder is b:
                    place.setdefault(o.variable, ("out", j))
            spec: list[tuple[str, Any]] = []
            for r in lin.residuals:
                if type(r) is not Tracer or r.builder is not b:
                    spec.append(("const", r))
                    continue
                if r.variable not in place:
                    place[r.variable] = ("out", len(outs))
                    outs.append(r)
                spec.append(place[r.variable])
            primal, captures = b.close(outs)
        result = ClosedLinear(primal, tuple(captures), dce(lin.linear), tuple(spec), tuple(lin.nonzero))
        return result, [*captures, *(at for kind, at in spec if kind == "const")]

    return memoised(graph, ("linearize", tuple(wrt)), make)


def transpose_closed(
    graph: Graph, linear: Sequence[bool], given: Sequence[bool]
) -> tuple[Graph, tuple[Any, ...], tuple[bool, ...]]:
    """The transpose of a linear graph as a closed graph: (other inputs, cotangents that are given, captures) ->
    cotangents of the linear inputs that are not zero.  Returns it, its captures, and which are not zero."""

    def make() -> tuple[Any, Sequence[Any]]:
        n_other = len(graph.inputs) - sum(linear)
        avals = [v.aval for v, is_lin in zip(graph.inputs, linear) if not is_lin]
        avals += [a.aval.strong() for a, g in zip(graph.outputs, given) if g]
        nonzero: list[bool] = []

        def f(*args: Any) -> list[Any]:
            cts = iter(args[n_other:])
            out = transpose_graph(graph, linear, args[:n_other], [next(cts) if g else None for g in given])
            nonzero.extend(o is not None for o in out)
            return [o for o in out if o is not None]

        transposed, captures = trace_flat(f, avals, kind="transpose", name=graph.name)
        return (dce(transposed), tuple(captures), tuple(nonzero)), captures

    return memoised(graph, ("transpose", tuple(linear), tuple(given)), make)


def batch_closed(
    graph: Graph, dims: Sequence[int | None], axis: NamedAxis, force: bool = False
) -> tuple[Graph, tuple[Any, ...], tuple[int | None, ...]]:
    """The batched graph: inputs carry a batch axis of ``axis.size`` at ``dims``.  Returns it, its captures and the
    batch axis of each output; ``force``: every output is batched, at axis 0."""

    def make() -> tuple[Any, Sequence[Any]]:
        avals = [
            v.aval if d is None else v.aval.with_(shape=(*v.aval.shape[:d], axis.size, *v.aval.shape[d:]))
            for v, d in zip(graph.inputs, dims)
        ]
        out_dims: list[int | None] = []

        def f(*args: Any) -> list[Any]:
            outs, od = batch_graph(graph, args, dims, axis)
            if force:
                outs = [
                    broadcast_batch(o, axis.size, 0) if d is None else move_batch(o, d, 0) for o, d in zip(outs, od)
                ]
                od = [0] * len(outs)
            out_dims.extend(od)
            return outs

        batched, captures = trace_flat(f, avals, kind="vmap", name=graph.name)
        return (batched, tuple(captures), tuple(out_dims)), captures

    return memoised(graph, ("vmap", tuple(dims), axis.size, axis.name, force), make)
