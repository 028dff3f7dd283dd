"""Where a program of float64 computes in fewer bits: nowhere, unless it says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fx
from fx import dtypes
from fx.ir import Graph, subgraphs

__all__ = ["narrow_steps"]


def narrow_steps(f: Callable[..., Any], *args: Any) -> list[str]:
    """The equations of ``f`` at these arguments, of whatever depth, whose results are floats of fewer than 64 bits.

    Values are traced, so weak ones are found too: a Python number that became float32 before it met a float64.
    """
    return _narrow(fx.make_graph(f)(*args))


def _narrow(graph: Graph) -> list[str]:
    found = []
    for eqn in graph.eqns:
        kinds = [v.aval.dtype for v in eqn.outputs]
        if any(dtypes.is_inexact(d) and dtypes.real_dtype(d) != dtypes.float64 for d in kinds):
            found.append(f"{eqn.prim.name} -> {', '.join(map(str, kinds))} in {eqn.source}"[:200])
        for _, inner in subgraphs(eqn.params):
            found += _narrow(inner)
    return found
