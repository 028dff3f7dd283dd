"""Stores that go past the caches.

A store into a line that no cache holds reads the line from memory first.  What goes past the caches does not: of the three times that a
loop over large arrays would move their bytes, one is left out.

Such stores keep no order with later ones.  What another thread must see them before is an atomic read-modify-write, which waits for them:
the one by which a worker leaves a loop (``runtime_ir/pool.py``), and the locks of Python behind that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fx import dtypes

from ..loop_ir import LINE_BYTES, Expr, minimum
from ..lower.context import Builder
from .emitter import Emitter, Work
from .index_map import Affine
from .nodes import Fetch, Leaf, Nest, NestStore, walk

__all__ = ["goes_past", "innermost"]


def innermost(
    e: Emitter, start: Expr, stop: Expr, stores: Sequence[NestStore], body: Callable[[], None], amid: bool = False
) -> None:
    """The innermost loop of a kernel, vectorised.  Where ``stores`` in it go past the caches, up to the first cache line by itself.

    amid: it may start anywhere in a row.
    """
    nest, k = e.nest, max(len(e.nest.sizes) - 1, 0)
    past = [s for s in stores if goes_past(e.ctx, nest, s)]
    past = [s for s in past if nest.at(s.at) == nest.at(past[0].at)]
    rows = tuple(t for t in nest.at(past[0].at).terms if t[0] != k) if past else ()
    line = LINE_BYTES // min((s.var.aval.dtype.itemsize for s in past), default=1)  # elements
    if (past and amid) or (rows and any(step % line != 0 for step in (nest.sizes[k], *(step for _, step in rows)))):
        row = e.affine(Affine(0, rows), False)
        lead = e.b.let("lead", minimum(start + (-(row + start) & (line - 1)), stop))
        with e.loop(k, start, lead, vectorize=True):
            body()
        start = lead
    e.past = past
    with e.loop(k, start, stop, vectorize=True):
        body()
    e.past = ()


def goes_past(ctx: Builder, nest: Nest, s: NestStore) -> bool:
    """Whether what a store writes does not stay in the caches until it is read: a whole result, beside which the caches hold
    nothing else, in memory that is not read here and begins with a cache line.

    (40 MB to as many more on Zen 4: 0.65 of the time of a store that reads the line first.)
    """
    if not Work(nest).nbytes > 2 * ctx.host.l3_bytes:
        return False
    buffer, at = ctx.buffer_of(s.var), nest.at(s.at)
    if not s.full or dtypes.is_complex(s.var.aval.dtype) or not ctx.is_fresh(buffer):
        return False
    if at.const != 0 or at.den != 1 or at.coef(len(nest.sizes) - 1) != 1:
        return False
    return all(ctx.buffer_of(n.var) != buffer for n in walk(list(nest.targets())) if isinstance(n, (Leaf, Fetch)))
