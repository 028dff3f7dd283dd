"""What an index of a nest's range touches of each array: its own part, or any."""

from __future__ import annotations

import math
from typing import Any

from fx.ir import Var
from fx.sizes import alike, is_sized

from ..lower.context import Builder
from ..lower.registry import Items
from .bypass import goes_past
from .index_map import Affine, dense_strides
from .nodes import Fetch, Leaf, Nest, walk

__all__ = ["touched_by_rows"]


def touched_by_rows(ctx: Builder, nest: Nest, n_outer: int) -> Items | None:
    """Of a nest whose range are the indices of its first ``n_outer`` loops, row-major.  None where it stores past the caches: such
    loops want pieces that begin with a cache line, which a block of items need not, and leave nothing in a cache for the next step.
    """
    if any(goes_past(ctx, nest, s) for s in nest.stores):
        return None
    found: dict[int, Any] = {}

    def touches(var: Var, nbytes: Any) -> None:
        buffer = ctx.buffer_of(var)
        same = nbytes is not None and alike(found.setdefault(buffer, nbytes), nbytes)
        found[buffer] = nbytes if same else None

    for node in walk(list(nest.targets())):
        if isinstance(node, Leaf):
            touches(node.var, None if node.conds else _bytes_of_index(nest, nest.at(node.at), n_outer, node.var))
        elif isinstance(node, Fetch):
            touches(node.var, None)
    for s in nest.stores:
        touches(s.var, _bytes_of_index(nest, nest.at(s.at), n_outer, s.var))
    known = tuple([(b, n) for b, n in found.items() if n is not None and not is_sized(n)])
    return Items(math.prod(nest.sizes[:n_outer]), 1, known)


def _bytes_of_index(nest: Nest, at: Affine, n_outer: int, var: Var) -> Any:
    """The bytes from one index's elements to the next one's, if they lie in memory like that; else None."""
    if at.den != 1 or is_sized(at.const) or at.const:
        return None
    for sizes in (nest.sizes, nest.sizes[:n_outer]):
        if all(
            alike(n, 1) or alike(at.coef(k), stride)
            for k, (n, stride) in enumerate(zip(nest.sizes, (*dense_strides(sizes), *[0] * len(nest.sizes))))
        ):
            return math.prod(sizes[n_outer:]) * var.aval.dtype.itemsize
    return None
