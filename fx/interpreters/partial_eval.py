"""``fx.interpreters.partial_eval``: what of a function follows from those arguments that are known, in JAX's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..core import Jaxpr
from ..extend.linear_util import WrappedFun
from ..ir import Aval
from ..trace import Builder, Tracer

__all__ = ["PartialVal", "trace_to_jaxpr_nounits"]


class PartialVal(NamedTuple):
    """A value that is known (``aval`` is None), or the type of one that is not (``const`` is None)."""

    aval: Aval | None
    const: Any

    @classmethod
    def known(cls, const: Any) -> PartialVal:
        return cls(None, const)

    @classmethod
    def unknown(cls, aval: Aval) -> PartialVal:
        return cls(aval, None)

    def is_known(self) -> bool:
        return self.aval is None


def trace_to_jaxpr_nounits(
    fun: WrappedFun, pvals: Sequence[PartialVal], instantiate: bool | Sequence[bool] = False
) -> tuple[Jaxpr, list[PartialVal], list[Any]]:
    """Calls ``fun``: what depends on arguments that are known alone is computed.

    Returns:
        The graph of the rest, from the unknown arguments to the unknown results; the results, known or not; and the values
        that the graph closes over.
    """
    b = Builder("partial_eval", fun.__name__)
    with b:
        args = [p.const if p.aval is None else b.input(p.aval) for p in map(PartialVal._make, pvals)]
        outs = list(fun.call_wrapped(*args))
        wanted = [instantiate] * len(outs) if isinstance(instantiate, bool) else instantiate
        unknown = [w or (type(o) is Tracer and o.builder is b) for o, w in zip(outs, wanted)]
        graph, consts = b.close([o for o, u in zip(outs, unknown) if u])
    avals = iter(graph.out_avals)
    found = [PartialVal.unknown(next(avals)) if u else PartialVal.known(o) for o, u in zip(outs, unknown)]
    return Jaxpr(graph, len(consts)), found, consts
