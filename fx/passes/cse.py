"""Common subexpression elimination."""

from __future__ import annotations

from typing import Any

from ..ir import Eqn, Graph, Literal
from .rewrite import Substitution

__all__ = ["cse"]


def _operand_key(a: Any) -> Any:
    # by bits, so that 0.0 and -0.0, or two NaNs, are told apart or together as they should be
    return (a.aval.dtype.str, a.bits) if type(a) is Literal else a


def _params_key(params: dict[str, Any]) -> Any:
    # Python calls 0.0 and -0.0, and 1, 1.0 and True, equal; as the fill value of a gather they are not
    return tuple([(k, type(v), repr(v) if isinstance(v, (float, complex)) else v) for k, v in sorted(params.items())])


def cse(g: Graph) -> Graph:
    """Equal equations (same primitive, operands, parameters) are computed once.

    Equations with an effect and ``optimization_barrier``, whose purpose is to stay apart, are left alone.
    """
    sub = Substitution()
    seen: dict[Any, Any] = {}
    out = []
    for e in g.eqns:
        e = sub.apply(e)
        key = _key(e)
        first: Eqn | None = seen.get(key) if key is not None else None
        if first is None:
            out.append(e)
            if key is not None:
                seen[key] = e
        else:
            sub.map.update(zip(e.outputs, first.outputs))
    return sub.finish(g, out)


def _key(e: Eqn) -> Any:
    if e.effect or e.prim.name == "optimization_barrier":
        return None
    try:
        key = (e.prim.name, tuple([_operand_key(a) for a in e.inputs]), _params_key(e.params))
        hash(key)
    except TypeError:
        return None
    return key
