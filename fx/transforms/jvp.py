"""Forward mode: jvp and linearize of a closed graph.

Both are one walk over the equations.  For each equation the primal is computed with ``bind`` (evaluated, or
recorded wherever the primal values live), then the primitive's jvp rule is called with the tangents:

* ``jvp``: tangents are ordinary values, so they are computed along;
* ``linearize``: tangents are tracers of a fresh builder T.  Whatever touches a tangent is recorded in T,
  everything else outside it; what T captures are the residuals.  No partial evaluator is needed.

Source: Radul, Paszke, Frostig, Johnson, Maclaurin, "You Only Linearize Once" (POPL 2023), on closed graphs.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ..dtypes import is_inexact
from ..errors import MissingRuleError
from ..ir import Aval, Eqn, Graph, Var, subgraphs
from ..trace import Builder, Tracer, aval_of, bind, bind_known, read, state

__all__ = ["Linearized", "are_linear", "jvp_graph", "linearize_graph", "quiet_graph"]


def jvp_graph(
    graph: Graph,
    primals: Sequence[Any],
    tangents: Sequence[Any],
    known: dict[Var, Any] | None = None,
    given: Mapping[Var, Any] | None = None,
    forwards: Mapping[Eqn, Any] | None = None,
) -> tuple[list[Any], list[Any]]:
    """Primal outputs and their tangents (None is a symbolic zero).

    Args:
        primals: a value for each input of the graph.
        tangents: a value for each input, or None.
        known: NumPy values of variables that were computed while tracing; they are recorded, not computed again.
            Each is let go once the last equation that reads it is past: most are no residuals.
        forwards: what the ``forward`` rules of calls left behind while tracing.
        given: values (arrays or tracers) of variables that stand for their equation (a checkpoint's saved ones).
    """
    env: dict[Var, Any] = dict(zip(graph.inputs, primals, strict=True))
    tan: dict[Var, Any] = {v: t for v, t in zip(graph.inputs, tangents, strict=True) if t is not None}
    unread = _last_reads(graph) if known is not None else {}
    old = state.source, state.scope
    try:
        for e in graph.eqns:
            state.source = e.source or old[0]
            state.scope = e.scope or old[1]
            prim, multiple = e.prim, e.prim.multiple_results  # type: ignore[attr-defined]
            p = tuple([read(env, a) for a in e.inputs])
            t = tuple([tan.get(a) if type(a) is Var else None for a in e.inputs])
            active = any(x is not None for x in t)
            if active and prim.has("jvp_call"):  # type: ignore[attr-defined]
                resume = forwards.get(e) if forwards else None
                more = {"resume": resume} if resume is not None else {}
                params = quiet(e.params) if e.effect and known is not None and _is_known(e, known) else e.params
                outs, t_out = prim.rule("jvp_call")(p, t, **params, **more)  # type: ignore[attr-defined]
            else:
                if given and e.outputs and e.outputs[0] in given:
                    outs = [given[v] for v in e.outputs]
                elif known is not None and _is_known(e, known):
                    values, avals = [known[v] for v in e.outputs], [v.aval for v in e.outputs]
                    outs = bind_known(prim, p, e.params, values, avals)  # type: ignore[arg-type]
                else:
                    out = bind(prim, *p, **e.params)  # type: ignore[arg-type]
                    outs = out if multiple else [out]
                t_out = None
                if active:
                    out = outs if multiple else outs[0]
                    t_out = prim.rule("jvp")(p, t, out, **e.params)  # type: ignore[attr-defined]
                    t_out = t_out if multiple else (t_out,)
            for v, o in zip(e.outputs, outs, strict=True):
                env[v] = o
            if t_out is not None:
                for v, x in zip(e.outputs, t_out, strict=True):
                    if x is not None and is_inexact(v.aval.dtype):
                        tan[v] = x
            for a in unread.get(e, ()):
                for table in (env, tan, known):
                    table.pop(a, None)  # type: ignore[union-attr]
    finally:
        state.source, state.scope = old
    return [read(env, a) for a in graph.outputs], [tan.get(a) if type(a) is Var else None for a in graph.outputs]


def _last_reads(graph: Graph) -> dict[Eqn, list[Var]]:
    """For each equation, the variables that neither a later one nor an output reads."""
    last = {a: e for e in graph.eqns for a in e.inputs if type(a) is Var}
    kept = {a for a in graph.outputs if type(a) is Var}
    out: dict[Eqn, list[Var]] = {}
    for a, e in last.items():
        if a not in kept:
            out.setdefault(e, []).append(a)
    return out


def quiet(params: dict[str, Any]) -> dict[str, Any]:
    """An equation's parameters with the effects taken out of its graphs: for computing again what has been computed."""
    out = dict(params)
    for key, value in params.items():
        if isinstance(value, Graph):
            out[key] = quiet_graph(value)
        elif isinstance(value, tuple) and any(isinstance(g, Graph) for g in value):
            out[key] = tuple([quiet_graph(g) if isinstance(g, Graph) else g for g in value])
    return out


def quiet_graph(graph: Graph) -> Graph:
    """The graph without its side effects (an effect happens once, however often the graph is computed again)."""
    if not graph.effects:
        return graph

    def make() -> Graph:
        kept = []
        for e in graph.eqns:
            if e.effect is None:
                kept.append(e)
            elif subgraphs(e.params):
                kept.append(e.replace(params=quiet(e.params), effect=None))
            elif e.outputs:  # nobody may need them: then there is nothing to refuse
                kept.append(e.replace(params={**e.params, "callback": functools.partial(_refuse, e, graph.name)}))
        return graph.replace(eqns=tuple(kept))

    return graph.memo("quiet", make)


def _refuse(e: Eqn, name: str, *_: Any) -> NoReturn:
    raise MissingRuleError(
        f"{e.prim.name} happens once, and its results would be needed again when a derivative computes {name!r} a second time"  # type: ignore[attr-defined]
        " (nested derivatives, loops). Under fx.jit it is computed once; or call it outside, and pass its results in."
    )


def _is_known(e: Eqn, known: Mapping[Var, Any]) -> bool:
    """True if the equation has been evaluated: its outputs have values (or, without outputs, its inputs do)."""
    if e.outputs:
        return all(v in known for v in e.outputs)
    return all(type(a) is not Var or a in known for a in e.inputs)


@dataclass(frozen=True)
class Linearized:
    """What ``linearize_graph`` returns.

    outs: primal outputs.  linear: the tangent graph; its inputs are the tangents of the inputs that were asked
    for, then the residuals; its outputs are the tangents of those outputs where ``nonzero`` is True.
    """

    outs: list[Any]
    linear: Graph
    residuals: list[Any]
    nonzero: list[bool]
    in_avals: list[Aval]


def are_linear(tangents: Sequence[Any]) -> bool:
    """True if the tangents belong to a linear graph that is being built; else they are values, of forward mode."""
    return any(type(t) is Tracer and t.builder.kind == "linearize" and not t.builder.absorb for t in tangents)


def linearize_graph(
    graph: Graph,
    args: Sequence[Any],
    wrt: Sequence[bool],
    known: dict[Var, Any] | None = None,
    forwards: Mapping[Eqn, Any] | None = None,
    given: Mapping[Var, Any] | None = None,
) -> Linearized:
    """Splits the jvp of ``graph`` at ``args`` into computed primals and a linear graph on tangents.

    ``known``, ``forwards``, ``given``: as for ``jvp_graph``.
    """
    t_builder = Builder("linearize", graph.name, snapshots=False)  # what it captures nobody changes meanwhile
    in_avals = [aval_of(a).strong() for a, w in zip(args, wrt) if w]
    tracers = iter([t_builder.input(a) for a in in_avals])
    tangents = [next(tracers) if w else None for w in wrt]
    outs, t_outs = jvp_graph(graph, args, tangents, known, given, forwards)
    linear, residuals = t_builder.close([t for t in t_outs if t is not None])
    return Linearized(outs, linear, residuals, [t is not None for t in t_outs], in_avals)
