"""``fx.ad_checkpoint``: ``checkpoint``, its policies, and what a function keeps for its backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .api.looking import make_graph
from .dtypes import is_inexact
from .ir import Literal, Var
from .passes.inline import inline
from .trace import aval_of
from .transforms.calls import linearize_closed
from .transforms.checkpoint import checkpoint, checkpoint_name, checkpoint_policies, remat

__all__ = ["checkpoint", "checkpoint_name", "checkpoint_policies", "print_saved_residuals", "remat"]


def print_saved_residuals(f: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Prints what ``f`` keeps for its backward pass, one array a line: its type, and what computed it where.

    >>> import fx, fx.numpy as fnp
    >>> f = lambda x: fnp.sum(fnp.sin(fnp.exp(x)))
    >>> print_saved_residuals(f, fnp.ones(3))  # doctest: +ELLIPSIS
    f32[3] output of exp from ...
    f32[3] output of cos from ...
    >>> print_saved_residuals(fx.checkpoint(f), fnp.ones(3))
    f32[3] from the argument x
    """
    traced = make_graph(f)(*args, **kwargs)
    graph = traced.graph
    n = len(graph.inputs) - len(traced.consts)
    wrt = [i < n and is_inexact(v.aval.dtype) for i, v in enumerate(graph.inputs)]
    lin = linearize_closed(graph, wrt)
    primal = inline(lin.primal)
    made = {v: e for e in primal.eqns for v in e.outputs}
    names = dict(zip(primal.inputs, graph.input_names))
    for kind, at in lin.residuals:
        if kind == "const":
            print(f"{aval_of(at)} from a constant")
            continue
        atom: Var | Literal = (primal.inputs if kind == "in" else primal.outputs)[at]
        if isinstance(atom, Literal):
            print(f"{atom.aval} from a literal")
        elif atom in made:
            e = made[atom]
            what = f"named {e.params['name']!r}" if e.prim.name == "name" else f"output of {e.prim.name}"  # type: ignore[attr-defined]
            print(f"{atom.aval} {what}{f' from {e.source}' if e.source else ''}")
        else:
            print(f"{atom.aval} from the argument {names.get(atom) or '(closed over)'}")
