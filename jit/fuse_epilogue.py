"""Maps over the result of a product become its epilogue: bias, activation, residual and scale without another pass.

The fuser keeps products and convolutions in groups of their own, because they have loops of their own.  Here the map
that first reads such a result joins it, if it needs each element only where it is computed.  What else reads the result
finds it in memory, as before.

Only results that the caches do not hold are worth it.  A map over one that they do hold costs a few percent of the
product (measured on Zen 3, one thread: from 8 MB on an epilogue saves 10 %, at 4 MB it loses as much), while a product with
an epilogue is a kernel of its own to compile.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from fx.ir import Eqn, Var

from .lower.registry import PRODUCTS, Host
from .nest_epilogue import reads_in_place
from .plan import Group

__all__ = ["epilogue_bytes", "join_epilogues", "product_columns"]


def epilogue_bytes(host: Host) -> int:
    """The bytes of a result from which an epilogue is worth a kernel."""
    return host.l3_bytes // 4


def join_epilogues(
    groups: Sequence[Group], outputs: frozenset[Var], decisions: dict[Var, str], least: int
) -> tuple[Group, ...]:
    """The groups with epilogues joined to products of at least ``least`` bytes; ``decisions`` is brought up to date."""
    left = list(groups)
    k = 0
    while k < len(left):
        g = left[k]
        columns = product_columns(g.eqns[0]) if g.kind == "library" and g.nest is None else 0
        if columns and g.eqns[0].outputs[0].aval.nbytes >= least:
            product = left[k].eqns[0].outputs[0]
            readers = [j for j in range(k + 1, len(left)) if product in left[j].reads]
            if readers and _takes(left[readers[0]], product, columns):
                kept = len(readers) > 1 or product in outputs
                left[readers[0]] = _joined(left[k], left[readers[0]], product, kept)
                if not kept:
                    decisions[product] = "never in memory where the product's kernel has the epilogue"
                del left[k]
                continue
        k += 1
    return tuple(left)


def product_columns(eqn: Eqn) -> int:
    """The columns of the dense matrix that a product's result is; 0 if it takes no epilogue."""
    if eqn.prim.name not in PRODUCTS or eqn.outputs[0].aval.dtype.name not in ("float32", "float64"):
        return 0
    if any(a.aval.dtype != eqn.outputs[0].aval.dtype for a in eqn.inputs) or "permutation" in eqn.params:
        return 0
    shape = eqn.outputs[0].aval.shape
    if eqn.prim.name == "dot_general":
        (_, contracting), (_, batch) = eqn.params["dimension_numbers"]
        free = eqn.inputs[1].aval.ndim - len(contracting) - len(batch)
        return math.prod(shape[len(shape) - free :])
    return shape[-1] if _channels_last(eqn) else 0


def _channels_last(eqn: Eqn) -> bool:
    n, c, *spatial = eqn.params["out_spec"]
    one = eqn.params["feature_group_count"] == 1 == eqn.params["batch_group_count"]
    return one and (n, *spatial, c) == tuple(range(len(spatial) + 2))


def _takes(g: Group, product: Var, columns: int) -> bool:
    if (
        g.kind != "nest"
        or g.nest is None
        or g.reduced
        or any(r.dest is not r.var for r in g.roots if r.dest is not None)
    ):
        return False
    return product not in g.writes and reads_in_place(g.nest, product, columns)


def _joined(g: Group, h: Group, product: Var, kept: bool) -> Group:
    reads = tuple(dict.fromkeys((*g.reads, *(v for v in h.reads if v is not product))))
    names = "+".join(e.prim.name for e in h.eqns[-3:])
    reason = f"{names} joins {g.eqns[0].prim.name} as its epilogue: the result, read where it is computed, is too large for the caches"
    return dataclasses.replace(
        h, kind="library", eqns=(*g.eqns, *h.eqns), reads=reads, writes=(*((product,) if kept else ()), *h.writes),
        reasons=(*g.reasons, *h.reasons, reason),
    )  # fmt: skip
