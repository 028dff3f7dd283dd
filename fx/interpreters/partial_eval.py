"""``fx.interpreters.partial_eval``: parts of functions, in JAX's form: what follows from the arguments that are known, and what
the results that are used need."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..core import Jaxpr
from ..extend.linear_util import WrappedFun
from ..ir import Aval
from ..passes.dce import needed
from ..passes.prune import prune
from ..trace import Builder, Tracer

__all__ = ["PartialVal", "dce_jaxpr", "trace_to_jaxpr_nounits"]


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


def dce_jaxpr(
    jaxpr: Jaxpr, used_outputs: bool | Sequence[bool], instantiate: bool | Sequence[bool] = False
) -> tuple[Jaxpr, list[bool]]:
    """A graph without what the outputs that are used do not need, in loops and branches too; effects stay.

    Args:
        used_outputs: which outputs are used.
        instantiate: which inputs stay in any case.

    Returns:
        The smaller graph, and for each input whether it is one of its inputs.

    >>> import fx
    >>> whole = fx.make_jaxpr(lambda x, y: (x * 2, fx.numpy.sin(y)))(1.0, 1.0).jaxpr
    >>> dce_jaxpr(whole, [True, False])
    ({ <lambda>(x: f32[]*)
      a: f32[]* = mul x 2.0:f32
      return a }, [True, False])
    """
    g, n = jaxpr.graph, len(jaxpr.invars)
    use = [used_outputs] * len(g.outputs) if isinstance(used_outputs, bool) else used_outputs
    stay = [instantiate] * n if isinstance(instantiate, bool) else list(instantiate)
    small = prune(g.replace(outputs=tuple([o for o, u in zip(g.outputs, use, strict=True) if u])))
    _, read = needed(small.eqns, small.outputs)
    used = [v in read or s for v, s in zip(g.inputs, stay, strict=False)]
    keep = [*used, *[True] * jaxpr.n_consts]
    names = tuple(itertools.compress(g.input_names, keep)) if g.input_names else g.input_names
    small = small.replace(inputs=tuple(itertools.compress(g.inputs, keep)), input_names=names)
    return Jaxpr(small, jaxpr.n_consts), used
