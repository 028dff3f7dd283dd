"""Reverse mode: the transpose of a linear graph.

The equations are walked backwards; each linear equation's transpose rule maps the cotangent of its output to
cotangents of its linear inputs.  A cotangent of None is a symbolic zero and is never materialised.  Where a
variable is used several times its cotangents are added in the order of the walk (last use first), those that are
zero outside a block (``primitives.blocks``) behind the others, which is the stated order of accumulation: the same program
gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import NonLinearError
from ..ir import Eqn, Graph, Var
from ..passes.dependence import dependent_outputs
from ..passes.prune import restrict
from ..primitive import Block, Linear
from ..primitives.blocks import add_blocks
from ..primitives.elementwise import add
from ..trace import bind, locate, read, state

__all__ = ["transpose_graph"]


def transpose_graph(graph: Graph, linear: Sequence[bool], values: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
    """Cotangents of the linear inputs, in order (None is a symbolic zero).

    Args:
        linear: for each input, whether the graph is transposed with respect to it.
        values: the values of the other inputs, in order.
        cts: a cotangent (or None) for each output.
    """
    others = iter(values)
    env: dict[Var, Any] = {v: next(others) for v, is_lin in zip(graph.inputs, linear, strict=True) if not is_lin}
    lin: set[Var] = {v for v, is_lin in zip(graph.inputs, linear) if is_lin}
    old = state.source, state.scope
    try:
        for e in graph.eqns:  # what does not depend on a linear input is computed first
            state.source = e.source or old[0]
            reads = [type(a) is Var and a in lin for a in e.inputs]
            if not any(reads):
                _evaluate(e, env)
                continue
            depend = dependent_outputs(e, reads)
            lin.update(v for v, d in zip(e.outputs, depend) if d)
            if not all(depend):  # a loop that carries a counter beside its linear values
                eqns, elsewhere = restrict(e, [not d for d in depend])
                for part in eqns:
                    _evaluate(part, env)
                env.update((v, read(env, a)) for v, a in elsewhere.items())
        ct: dict[Var, list[Any]] = {}
        for a, c in zip(graph.outputs, cts, strict=True):
            _accumulate(ct, lin, a, c)
        for e in reversed(graph.eqns):
            if not any(v in lin for v in e.outputs):
                continue
            state.source, state.scope = e.source or old[0], e.scope or old[1]
            c_out = [_total(ct.pop(v, ())) for v in e.outputs]
            if all(c is None for c in c_out):
                continue
            ins = tuple([Linear(a.aval) if type(a) is Var and a in lin else read(env, a) for a in e.inputs])
            multiple = e.prim.multiple_results  # type: ignore[attr-defined]
            try:
                c_in = e.prim.rule("transpose")(c_out if multiple else c_out[0], ins, **e.params)  # type: ignore[attr-defined]
            except NonLinearError as error:
                raise locate(_not_linear(graph, e, str(error)), e.source) from None
            for a, c in zip(e.inputs, c_in, strict=True):
                _accumulate(ct, lin, a, c)
        return [_total(ct.get(v, ())) for v, is_lin in zip(graph.inputs, linear) if is_lin]
    finally:
        state.source, state.scope = old


def _not_linear(graph: Graph, e: Eqn, reason: str) -> NonLinearError:
    if "\n" in reason:  # it comes from a graph inside
        return NonLinearError(reason)
    return NonLinearError(
        f"the transpose of {graph.name!r}: its {e.prim} is not linear: {reason}. linear_transpose takes a function that is"
        " linear in its arguments, and a custom jvp rule must return a tangent that is linear in the tangents."
    )


def _evaluate(e: Eqn, env: dict[Var, Any]) -> None:
    out = bind(e.prim, *[read(env, a) for a in e.inputs], **e.params)  # type: ignore[arg-type]
    for v, o in zip(e.outputs, out if e.prim.multiple_results else (out,)):  # type: ignore[attr-defined]
        env[v] = o


def _accumulate(ct: dict[Var, list[Any]], lin: set[Var], a: Any, c: Any) -> None:
    if c is not None and type(a) is Var and a in lin:
        found = ct.setdefault(a, [])
        if found and type(c) is not Block and type(found[0]) is not Block:
            found[0] = add(found[0], c)
        elif type(c) is Block:
            found.append(c)
        else:
            found.insert(0, c)


def _total(cts: Sequence[Any]) -> Any:
    """The sum of what ``_accumulate`` has kept: at most one array, and then blocks."""
    blocks = [c for c in cts if type(c) is Block]
    rest = [c for c in cts if type(c) is not Block]
    if blocks:
        rest.append(add_blocks(blocks))
    return None if not rest else rest[0] if len(rest) == 1 else add(*rest)
