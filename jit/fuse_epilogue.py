"""Maps over the result of a product become its epilogue: bias, activation, residual and scale, and the update of a weight by
its gradient, without another pass.

The fuser keeps products and convolutions in groups of their own, because they have loops of their own.  Here the map
that first reads such a result joins it, if it needs each element only where it is computed.  What else reads the result
finds it in memory, as before.

It gains where all that the map makes lies in the memory of its other operands, as new weights do in that of the old ones: then
the result takes no memory at all.  Otherwise the map would have written over the result, and in the caches that is faster
(measured on Zen 4, relu(x @ w + b) with 64 to 256 values of k: results of 8 to 32 MB, which the third level holds, take 5 to 20 %
more time on one thread with an epilogue and up to 13 % on two; from 64 MB on, twice the third level, there is no difference
beyond 5 %).

What does not depend on the element is computed anew for each block of the product: an update by Adam, with two powers, takes 2.3 times
as long joined as apart for 32 x 784 by 32 x 128 values, and 0.8 to 1.1 of it for larger ones (two threads of Zen 3).  It stays apart.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fx.ir import Eqn, Var
from fx.sizes import is_sized, largest, near, plain

from .cost import flops_per_element
from .lower.contract_pieces import HALF_SLICE
from .lower.registry import PRODUCTS, Host
from .nest.epilogue import reads_in_place
from .plan import Group

__all__ = ["Worth", "join_epilogues", "product_columns"]


EACH_BLOCK = 32  # flops, at most, of what an epilogue computes once a block


@dataclass(frozen=True)
class Worth:
    """The bytes of a result from which an epilogue is worth it: of any, and of one that takes no memory then.

    free: inputs of the graph whose memory results may take over.
    """

    any: int
    gone: int
    free: frozenset[Var] = frozenset()

    @staticmethod
    def on(host: Host, free: Iterable[Var] = ()) -> Worth:
        return Worth(2 * host.l3_bytes, min(host.l1_bytes, 2 * host.l3_bytes), frozenset(free))

    def least(self, nbytes: int) -> int:
        """The bytes from which a result of so many is looked at.

        A program for sizes that vary does what the one for the first size did, whose kernels are there.  But those of a result that
        is small, or a usual change away from it, would be divided in two programs: they have no epilogue.
        """
        small = is_sized(nbytes) and (plain(nbytes) < self.gone or near(nbytes, self.gone))
        return self.any if small else self.gone


def join_epilogues(
    groups: Sequence[Group], inputs: Sequence[Var], outputs: frozenset[Var], decisions: dict[Var, str], worth: Worth
) -> tuple[Group, ...]:
    """The groups with epilogues joined to products; ``decisions`` is brought up to date."""
    left = list(groups)
    keep = outputs.union(inputs) - worth.free
    k = 0
    while k < len(left):
        g = left[k]
        columns = product_columns(g.eqns[0]) if g.kind == "library" and g.nest is None else 0
        product = g.eqns[0].outputs[0] if columns else None
        nbytes = product.aval.nbytes if product is not None else 0
        least = worth.least(nbytes)
        # Of sums that may be cut into parts there may be others with an epilogue: then such a program has one where that for the sizes alone has.
        exact = product is not None and least > worth.gone and bool(_depth(g.eqns[0]) >= 2 * HALF_SLICE)
        if product is None or (nbytes < least and not exact):
            k += 1
            continue
        readers = [j for j in range(k + 1, len(left)) if product in left[j].reads]
        if not readers or not _takes(left[readers[0]], product, columns):
            k += 1
            continue
        j, kept = readers[0], len(readers) > 1 or product in outputs
        old = () if kept else _taken_over(left, k, j, product, keep)
        if nbytes < worth.any and (not old or _once(left[j]) > EACH_BLOCK):
            k += 1
            continue
        if exact and nbytes < worth.gone:
            k += 1
            continue
        h = left.pop(j)
        left.insert(_place(left, k, j, h, old), _joined(g, h, product, kept))
        del left[k]
        if not kept:
            decisions[product] = "never in memory where the product's kernel has the epilogue"
    return tuple(left)


def _once(h: Group) -> int:
    """The flops of what is the same for all elements."""
    return sum(flops_per_element(e) for e in h.eqns if not e.outputs[0].aval.shape)


def _taken_over(groups: Sequence[Group], k: int, j: int, product: Var, keep: frozenset[Var]) -> tuple[Var, ...]:
    """The operands of group ``j``, others than ``product`` of group ``k``, that all its results can be written over; () if there is
    none for one of them."""
    h = groups[j]
    later = {v for g in groups[j + 1 :] for v in g.reads}
    free = [v for v in h.reads if v is not product and v not in keep and v not in later and v not in groups[k].reads]
    found = []
    for w in h.writes:
        match = next((v for v in free if v.aval.same_type(w.aval)), None)
        if match is None:
            return ()
        free.remove(match)
        found.append(match)
    return tuple(found)


def _place(groups: Sequence[Group], k: int, end: int, h: Group, old: Sequence[Var]) -> int:
    """Where behind group ``k`` and not behind ``end`` the product and ``h``, which reads it, run together: as soon as all that
    ``h`` reads is there, because the product's operands are kept until then, and what it writes over is not read any more."""
    reads, before = set(h.reads), set(old)
    waits = (
        j for j in range(k + 1, end) if not reads.isdisjoint(groups[j].writes) or not before.isdisjoint(groups[j].reads)
    )
    return max(waits, default=k) + 1


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


def _depth(eqn: Eqn) -> int:
    """The products that an element of a product's result is the sum of."""
    if eqn.prim.name == "dot_general":
        return math.prod(eqn.inputs[1].aval.shape[d] for d in eqn.params["dimension_numbers"][0][1])
    return eqn.inputs[1].aval.size // largest(eqn.outputs[0].aval.shape[-1], 1)


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
    why = "and it is in memory as well" if kept else "so that it takes no memory"
    reason = f"{names} joins {g.eqns[0].prim.name} as its epilogue: the result is read where it is computed, {why}"
    return dataclasses.replace(
        h, kind="library", eqns=(*g.eqns, *h.eqns), reads=reads, writes=(*((product,) if kept else ()), *h.writes),
        reasons=(*g.reasons, *h.reasons, reason),
    )  # fmt: skip
