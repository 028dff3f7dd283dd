"""Transforms of a closed graph into closed graphs: what the rules of jit, checkpoint and control flow share.

Each result is made once per graph and kept with it (``Graph.memo``), so that a jitted function that is
differentiated in every training step is linearized and transposed once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..ir import Aval, Graph
from ..passes.dce import dce
from ..primitives.helpers import align_batch, zeros_like
from ..trace import Builder, NamedAxis, Tracer, eval_graph, trace_flat
from .jvp import jvp_graph, linearize_graph
from .transpose import transpose_graph
from .vmap import batch_graph

__all__ = ["ClosedLinear", "batch_closed", "jvp_closed", "linearize_closed", "transpose_closed", "with_zeros"]

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


def linearize_closed(graph: Graph, wrt: Sequence[bool], force: Sequence[bool] | None = None) -> ClosedLinear:
    """The primal and the linear graph of ``graph`` with respect to the inputs where ``wrt`` is True.

    ``force``: outputs that have a tangent even if it is zero.
    """

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
        linear = with_zeros(dce(lin.linear), lin.nonzero, graph.out_avals, force)
        nonzero = _either(lin.nonzero, force)
        result = ClosedLinear(primal, tuple(captures), linear, tuple(spec), nonzero)
        return result, [*captures, *(at for kind, at in spec if kind == "const")]

    return memoised(graph, ("linearize", tuple(wrt), _mask(force)), make)


def _mask(force: Sequence[bool] | None) -> tuple[bool, ...] | None:
    return tuple(force) if force is not None and any(force) else None


def _either(nonzero: Sequence[bool], force: Sequence[bool] | None) -> tuple[bool, ...]:
    return tuple(nonzero) if force is None else tuple([z or f for z, f in zip(nonzero, force)])


def with_zeros(graph: Graph, nonzero: Sequence[bool], avals: Sequence[Aval], force: Sequence[bool] | None) -> Graph:
    """The graph, whose outputs are those of ``nonzero``, with zeros of type ``avals`` for others that are forced."""
    want = _either(nonzero, force)
    if want == tuple(nonzero):
        return graph

    def f(*args: Any) -> list[Any]:
        outs = iter(eval_graph(graph, args))
        values = [next(outs) if z else zeros_like(a.strong()) if w else None for z, w, a in zip(nonzero, want, avals)]
        return [v for v, w in zip(values, want) if w]

    return trace_flat(f, graph.in_avals, kind="linearize", name=graph.name)[0]


def jvp_closed(
    graph: Graph, wrt: Sequence[bool], force: Sequence[bool] | None = None
) -> tuple[Graph, tuple[Any, ...], tuple[bool, ...]]:
    """Forward mode as a closed graph: (inputs, tangents of those where ``wrt``, captures) -> (outputs, their tangents
    that are not zero).  Returns it, its captures, and which tangents are not zero.

    ``force``: outputs that have a tangent even if it is zero.
    """

    def make() -> tuple[Any, Sequence[Any]]:
        n = len(graph.inputs)
        avals = [v.aval for v in graph.inputs] + [v.aval.strong() for v, w in zip(graph.inputs, wrt) if w]
        nonzero: list[bool] = []

        def f(*args: Any) -> list[Any]:
            ts = iter(args[n:])
            outs, t_outs = jvp_graph(graph, args[:n], [next(ts) if w else None for w in wrt])
            if force is not None:
                t_outs = [
                    zeros_like(o.strong()) if t is None and w else t for t, w, o in zip(t_outs, force, graph.out_avals)
                ]
            nonzero.extend(t is not None for t in t_outs)
            return [*outs, *(t for t in t_outs if t is not None)]

        joint, captures = trace_flat(f, avals, kind="jvp", name=graph.name)
        return (joint, tuple(captures), tuple(nonzero)), captures

    return memoised(graph, ("jvp", tuple(wrt), _mask(force)), make)


def transpose_closed(
    graph: Graph, linear: Sequence[bool], given: Sequence[bool], force: Sequence[bool] | None = None
) -> tuple[Graph, tuple[Any, ...], tuple[bool, ...]]:
    """The transpose of a linear graph as a closed graph: (other inputs, cotangents that are given, captures) ->
    cotangents of the linear inputs that are not zero.  Returns it, its captures, and which are not zero.

    ``force``: linear inputs that have a cotangent even if it is zero.
    """

    def make() -> tuple[Any, Sequence[Any]]:
        n_other = len(graph.inputs) - sum(linear)
        avals = [v.aval for v, is_lin in zip(graph.inputs, linear) if not is_lin]
        avals += [a.aval.strong() for a, g in zip(graph.outputs, given) if g]
        lin_avals = [v.aval.strong() for v, is_lin in zip(graph.inputs, linear) if is_lin]
        nonzero: list[bool] = []

        def f(*args: Any) -> list[Any]:
            cts = iter(args[n_other:])
            out = transpose_graph(graph, linear, args[:n_other], [next(cts) if g else None for g in given])
            if force is not None:
                out = [zeros_like(a) if o is None and w else o for o, w, a in zip(out, force, lin_avals)]
            nonzero.extend(o is not None for o in out)
            return [o for o in out if o is not None]

        transposed, captures = trace_flat(f, avals, kind="transpose", name=graph.name)
        return (dce(transposed), tuple(captures), tuple(nonzero)), captures

    return memoised(graph, ("transpose", tuple(linear), tuple(given), _mask(force)), make)


def batch_closed(
    graph: Graph, dims: Sequence[int | None], axis: NamedAxis, force: bool | Sequence[bool] = False
) -> tuple[Graph, tuple[Any, ...], tuple[int | None, ...]]:
    """The batched graph: inputs carry a batch axis of ``axis.size`` at ``dims``.  Returns it, its captures and the
    batch axis of each output; ``force``: which outputs are batched in any case, at axis 0 (True: all)."""
    forced = (force,) * len(graph.outputs) if isinstance(force, bool) else tuple(force)

    def make() -> tuple[Any, Sequence[Any]]:
        avals = [
            v.aval if d is None else v.aval.with_(shape=(*v.aval.shape[:d], axis.size, *v.aval.shape[d:]))
            for v, d in zip(graph.inputs, dims)
        ]
        out_dims: list[int | None] = []

        def f(*args: Any) -> list[Any]:
            outs, od = batch_graph(graph, args, dims, axis)
            outs = [align_batch(axis.size, [o], [d])[0] if w else o for o, d, w in zip(outs, od, forced)]
            od = [0 if w else d for d, w in zip(od, forced)]
            out_dims.extend(od)
            return outs

        batched, captures = trace_flat(f, avals, kind="vmap", name=graph.name)
        return (batched, tuple(captures), tuple(out_dims)), captures

    return memoised(graph, ("vmap", tuple(dims), axis.size, axis.name, forced), make)
