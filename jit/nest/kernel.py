"""Nest -> kernels: the loops of a fused nest as steps of the program.

The text of a kernel holds no sizes.  Loop sizes, strides other than 0, 1 and -1, and limits of conditions are integers
of its frame; the constant part of an index map is added to the address.  So the same expression over other sizes is
the same kernel.
"""

from __future__ import annotations

import math

from fx.ir import Aval, Var
from fx.sizes import late, near, smallest

from ..cost import FEW_ROWS, SPLIT_NS
from ..lower.context import Builder
from ..lower.reductions import is_arg
from .columns import ColumnsKernel, block_width, strips
from .emitter import Work
from .index_map import Affine, dense_strides
from .maps import MapKernel
from .narrow import NarrowColumns, NarrowRows, narrow_size
from .nodes import ROW, Fetch, Leaf, Nest, NestReduction, Point, walk
from .rows import BLOCK, Reducing, RowsKernel, Split
from .stages import StagedRows, is_staged
from .streams import StreamedRows, is_streamed

__all__ = ["emit_nest", "kernel_name"]

PIECES = 48  # partial results of a reduction of few rows
ENOUGH = 2  # parts of the columns; where each would have more work than SPLIT_NS, which is so from 2 MB on, the rows are cut instead


def emit_nest(ctx: Builder, nest: Nest) -> None:
    """Appends the steps that run a nest."""
    split = _split(nest) if nest.reductions else None
    if split is None:
        _emit(ctx, nest, nest.kind)
        return
    for parts in split.partials.values():
        for var in parts:
            ctx.add_scratch(var, math.prod(var.aval.shape) * var.aval.dtype.itemsize)
    _emit(ctx, nest, "partial", split)
    combine, stands_for = _combining(nest, split)
    _emit(ctx, combine, "combine", None, stands_for)


def _emit(
    ctx: Builder, nest: Nest, prefix: str, split: Split | None = None,
    stands_for: dict[NestReduction, NestReduction] | None = None,
) -> None:  # fmt: skip
    name = kernel_name(nest, prefix)
    combines = stands_for is not None  # some partial results: how many, is a fact of the work, not of the model
    narrow = not combines and narrow_size(nest) and (split is None or nest.kind == "columns")
    if nest.kind == "map" and not narrow:
        MapKernel(ctx, nest, name).emit()
        return
    kinds: dict[str, type[Reducing]] = {"rows": RowsKernel, "columns": ColumnsKernel}
    if narrow:
        kinds = {"map": NarrowRows, "rows": NarrowRows, "columns": NarrowColumns}
    elif not combines and is_streamed(ctx, nest, split):
        kinds = {"rows": StreamedRows}
    elif not combines and is_staged(ctx, nest, split):
        kinds = {"rows": StagedRows}
    kinds[nest.kind](ctx, nest, name, split, stands_for or {}).emit()


def kernel_name(nest: Nest, prefix: str) -> str:
    """A name that says what the kernel computes; the same structure gives the same name."""
    values = list(walk(list(nest.targets())))
    names = [n.name if isinstance(n, Point) else "gather" for n in values if isinstance(n, (Point, Fetch))]
    names += [r.op for r in nest.reductions]
    return "_".join([prefix, *(list(dict.fromkeys(names))[:5] or ["copy"])])


def _split(nest: Nest) -> Split | None:
    """How to cut a reduction that has too few rows (blocks of columns) to share among threads.

    Where sizes vary and may well bring the work to the other side of ``SPLIT_NS``, one part is a split too: a program for both
    sides costs the little that the second step takes, two programs a plan and kernels each.  Columns that can be cut themselves take
    less time so: there the sizes on either side have programs of their own.
    """
    ns, kept = Work(nest).nanoseconds, nest.sizes[: nest.n_kept]
    parts = 1 if nest.kind == "rows" else math.prod(kept[:-1]) * strips(nest)
    share = ns / smallest(ENOUGH, parts)
    varies = near(share, SPLIT_NS) and parts < ENOUGH
    if nest.stages > 1 or not (varies or share >= SPLIT_NS):
        return None
    units = nest.rows if nest.kind == "rows" else math.prod(kept[:-1]) * math.ceil(kept[-1] / block_width(nest))
    if units >= FEW_ROWS:
        return None
    length = nest.sizes[nest.n_kept]
    count = late(_parts, length, units, ns, share)
    if not varies and count < 2:
        return None
    size = math.ceil(length / count)
    if nest.kind == "rows" and nest.n_kept + 1 == len(nest.sizes):
        size = math.ceil(size / BLOCK) * BLOCK
    count = math.ceil(length / size)
    shape = (*kept, count) if nest.kind == "rows" else (count, *kept)
    if not varies and count < 2:
        return None
    dtypes = {r: (r.acc, r.dtype) if is_arg(r.op) else (r.acc,) for r in nest.reductions}
    return Split(count, size, {r: tuple(Var(Aval(shape, d)) for d in parts) for r, parts in dtypes.items()})


def _parts(length: int, units: int, ns: float, share: float) -> int:
    """Into how many parts to cut each of so many units, whose reduced loop is that long."""
    if share < SPLIT_NS:
        return 1
    return max(1, min(length, PIECES // max(1, units), math.floor(ns / 25_000)))


def _combining(nest: Nest, split: Split) -> tuple[Nest, dict[NestReduction, NestReduction]]:
    """The nest that reduces the partial results and stores the rows."""
    new_atom = max(nest.number, default=0) + 1
    kept = [a for a, k in nest.last.items() if k < nest.n_kept]
    sizes = nest.sizes[: nest.n_kept]
    strides = dense_strides((*sizes, split.count) if nest.kind == "rows" else (split.count, *sizes))
    block, outer = (strides[-1], strides[:-1]) if nest.kind == "rows" else (strides[0], strides[1:])
    at = Affine(0, tuple(sorted([(a, outer[nest.last[a]]) for a in kept] + [(new_atom, block)])))
    row_atoms = frozenset(a for a, k in nest.number.items() if k < nest.n_kept) | {ROW}
    stands_for = {
        NestReduction(
            r.op,
            tuple(Leaf(v, at, (), v.aval.dtype, row_atoms | {new_atom}) for v in split.partials[r]),
            r.acc,
            r.dtype,
            0,
        ): r
        for r in nest.reductions
    }
    number = {a: k for a, k in nest.number.items() if k < nest.n_kept} | {new_atom: nest.n_kept}
    last = {a: k for a, k in nest.last.items() if k < nest.n_kept} | {new_atom: nest.n_kept}
    stores = tuple(s for s in nest.stores if not s.full)
    return Nest(nest.kind, (*sizes, split.count), nest.n_kept, stores, tuple(stands_for), number, last), stands_for
