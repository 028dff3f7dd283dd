"""The verifier of graphs: scopes, single assignment, types."""

from __future__ import annotations

from .errors import GraphError
from .ir import Graph, Literal, Var, subgraphs

__all__ = ["verify_graph"]


def verify_graph(g: Graph, *, types: bool = True) -> Graph:
    """Checks that ``g`` is closed and well typed; returns it.

    Raises:
        GraphError: naming the equation: a variable read before it is defined, defined twice, or an output type
            that differs from what the primitive's abstract rule says.
    """
    defined: set[Var] = set()
    for v in g.inputs:
        if v in defined:
            raise GraphError(f"graph {g.name!r}: an input variable stands twice in its inputs")
        defined.add(v)
    for i, e in enumerate(g.eqns):
        where = f"graph {g.name!r}, equation {i} ({e.prim.name}{f' from {e.source}' if e.source else ''})"
        for a in e.inputs:
            if not isinstance(a, (Var, Literal)):
                raise GraphError(f"{where}: operand {a!r} is neither a Var nor a Literal")
            if isinstance(a, Var) and a not in defined:
                raise GraphError(f"{where}: reads a variable ({a.aval}) that nothing before it defines")
        for _, sub in subgraphs(e.params):
            verify_graph(sub, types=types)
        if types:
            out = e.prim.rule("abstract")(*[a.aval for a in e.inputs], **e.params)  # type: ignore[attr-defined]
            avals = tuple(out) if e.prim.multiple_results else (out,)  # type: ignore[attr-defined]
            if len(avals) != len(e.outputs) or not all(a.same_type(v.aval) for a, v in zip(avals, e.outputs)):
                found = ", ".join(str(v.aval) for v in e.outputs)
                raise GraphError(f"{where}: has outputs ({found}), its rule says ({', '.join(map(str, avals))})")
        for v in e.outputs:
            if v in defined:
                raise GraphError(f"{where}: defines a variable ({v.aval}) a second time")
            defined.add(v)
    for i, a in enumerate(g.outputs):
        if isinstance(a, Var) and a not in defined:
            raise GraphError(f"graph {g.name!r}: output {i} ({a.aval}) is never defined")
    return g
