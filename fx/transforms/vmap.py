"""vmap: a closed graph in which every operation acts on a batch.

``batch_graph`` walks the equations with each value's batch axis (or None).  What is not batched stays
unbatched.  The rules of calls find the axis that is being pushed through in ``state.mapped[-1]``.  Collectives over the mapped axis (``psum`` ...) become reductions over the batch axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import Graph, Var
from ..trace import NamedAxis, bind, named_axes, read, state

__all__ = ["NamedAxis", "batch_graph"]


def batch_graph(
    graph: Graph, args: Sequence[Any], dims: Sequence[int | None], axis: NamedAxis
) -> tuple[list[Any], list[int | None]]:
    """Outputs of the batched graph and the batch axis of each (None: not batched).

    Args:
        args: values of the graph's inputs; ``dims[i]`` is the batch axis of ``args[i]`` or None.
        axis: size and name of the mapped axis.
    """
    env: dict[Var, tuple[Any, int | None]] = {v: (a, d) for v, a, d in zip(graph.inputs, args, dims, strict=True)}

    def get(a: Any) -> tuple[Any, int | None]:
        return env[a] if type(a) is Var else (read({}, a), None)

    old = state.source, state.scope
    state.mapped.append(axis)
    try:
        for e in graph.eqns:
            state.source, state.scope = e.source or old[0], e.scope or old[1]
            xs, bd = zip(*map(get, e.inputs)) if e.inputs else ((), ())
            prim, multiple = e.prim, e.prim.multiple_results  # type: ignore[attr-defined]
            if axis.name is not None and e.params.get("axis_name", ...) == axis.name:
                out, od = prim.rule("batch_named")(axis, xs, bd, **e.params)  # type: ignore[attr-defined]
            elif all(d is None for d in bd) and (axis.name is None or axis.name not in named_axes(e.params)):
                out = bind(prim, *xs, **e.params)  # type: ignore[arg-type]
                od = [None] * len(e.outputs) if multiple else None
            else:
                out, od = prim.rule("batch")(axis.size, xs, bd, **e.params)  # type: ignore[attr-defined]
            for v, o, d in zip(e.outputs, out if multiple else (out,), od if multiple else (od,)):
                env[v] = (o, d)
    finally:
        state.mapped.pop()
        state.source, state.scope = old
    outs = [get(a) for a in graph.outputs]
    return [o for o, _ in outs], [d for _, d in outs]
