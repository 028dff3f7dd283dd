"""Inlining of calls, and of operations that are made of others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..ir import Atom, Eqn, Graph, Var, subgraphs
from ..primitive import primitive
from ..trace import source_override
from .rewrite import with_subgraphs

__all__ = ["inline"]

CALLS = ("jit", "checkpoint", "custom_jvp_call", "custom_vjp_call", "custom_vmap_call", "linear_call", "linear_solve")


def inline(g: Graph) -> Graph:
    """Replaces every call (jit, checkpoint, custom rules) by the equations of the graph it holds, and every primitive that has
    an ``expand`` rule by those of its expansion.

    The inputs of a checkpoint that recomputes for a backward pass go through ``optimization_barrier``, so that
    ``cse`` does not merge the recomputation with the forward pass.
    """
    if not any(e.prim.name in CALLS or _expands(e) or subgraphs(e.params) for e in g.eqns):
        return g
    env: dict[Var, Atom] = {}
    eqns = tuple(_inlined(g, env, "", rename=False))
    return g.replace(eqns=eqns, outputs=tuple(_look(env, a) for a in g.outputs))


def _expands(e: Eqn) -> bool:
    return e.prim.has("expand")  # type: ignore[attr-defined, no-any-return]


def _inner(e: Eqn) -> Graph:
    """The graph whose equations take the place of ``e``."""
    if e.prim.name in CALLS:
        return e.params["graph"]  # type: ignore[no-any-return]
    with source_override(e.source):
        return e.prim.rule("expand")(*[a.aval for a in e.inputs], **e.params)  # type: ignore[attr-defined, no-any-return]


def _look(env: dict[Var, Atom], a: Atom) -> Atom:
    return env.get(a, a) if type(a) is Var else a


def _inlined(g: Graph, env: dict[Var, Atom], scope: str, rename: bool) -> Iterator[Eqn]:
    """The flat equations of ``g``; a graph may be inlined several times, so inner variables are renamed."""
    for e in g.eqns:
        inputs = tuple([_look(env, a) for a in e.inputs])
        where = f"{scope}/{e.scope}" if scope and e.scope else scope or e.scope
        if e.prim.name in CALLS or _expands(e):
            inner = _inner(e)
            if e.prim.name == "checkpoint" and e.params["prevent_cse"]:
                inputs, barrier = _barrier(e, inputs)
                yield from barrier
            inner_env: dict[Var, Atom] = dict(zip(inner.inputs, inputs))
            yield from _inlined(inner, inner_env, where, rename=True)
            env.update((v, _look(inner_env, a)) for v, a in zip(e.outputs, inner.outputs))
            continue
        outputs = e.outputs
        if rename:
            outputs = tuple(Var(v.aval) for v in e.outputs)
            env.update(zip(e.outputs, outputs))
        yield with_subgraphs(e.replace(inputs=inputs, outputs=outputs, scope=where), _once)


def _once(g: Graph) -> Graph:
    """A graph that several equations hold stays one graph."""
    done: Graph = g.memo("inline", lambda: inline(g))
    return done


def _barrier(e: Eqn, inputs: tuple[Atom, ...]) -> tuple[tuple[Atom, ...], list[Eqn]]:
    variables = [a for a in inputs if type(a) is Var]
    if not variables:
        return inputs, []
    fresh: dict[Any, Var] = {v: Var(v.aval) for v in variables}
    outs = tuple(fresh[v] for v in variables)
    eqn = Eqn(primitive("optimization_barrier"), tuple(variables), {}, outs, e.source, e.scope)
    return tuple(fresh[a] if type(a) is Var else a for a in inputs), [eqn]
