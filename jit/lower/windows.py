"""Sliding windows: sums, extremes, their positions, and the maps that carry cotangents back.

All seven primitives are one loop (``kernels/window.py``).  ``window_scatter_add`` is that loop in gather form: an
element of the operand sums, in a fixed order, over the windows that cover it, so it needs no atomics; where windows do
not overlap, each writes its own elements instead.

Dimensions in which the window is trivial are folded away; what is left is (batch, windowed dimensions, channels).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fx.ir import Eqn
from fx.sizes import is_sized

from ..cost import chunk_for
from ..kernels.window import BLOCK, channels_kernel, disjoint_kernel, rows_kernel
from ..kernels.window_taps import STATIC_STRIDE, Combine, Dim, WindowShape
from ..loop_ir import Ty, i32
from .copies import fill_dense
from .registry import Items, LowerContext, Operand, lowers

_UNROLLED_TAPS = 16  # windows of at most so many taps are written out
_VECTORS = 8  # of channels that go round loops over taps together, if they have no more than ...
_MOST_LANES = 64


@dataclass(frozen=True)
class Geometry:
    batch: int
    dims: tuple[Dim, ...]
    channels: int

    @property
    def taps(self) -> int:
        return math.prod(d.taps for d in self.dims)


def _folded(dims: list[Dim]) -> Geometry:
    """Leading trivial dimensions become the batch, trailing ones the channels."""
    front = list(itertools.takewhile(lambda d: d.trivial, dims))
    back = list(itertools.takewhile(lambda d: d.trivial, reversed(dims[len(front) :])))
    middle = dims[len(front) : len(dims) - len(back)] or [Dim(1, 1, 1, 1, 0, 1, 1)]
    return Geometry(math.prod(d.n for d in front), tuple(middle), math.prod(d.n for d in back))


def _dims(eqn: Eqn, operand: Sequence[int], windows: Sequence[int]) -> list[Dim]:
    p = eqn.params
    rows = zip(
        operand,
        windows,
        p["window_dimensions"],
        p["window_strides"],
        p["padding"],
        p["base_dilation"],
        p["window_dilation"],
    )
    # the distance between the taps of a one-tap window says nothing
    return [Dim(n, o, w, s, lo, bd, wd if w > 1 else 1) for n, o, w, s, (lo, _), bd, wd in rows]


# ------------------------------------------------------------------------------------ lowerings


def _lanes(ctx: LowerContext, combine: Combine, geometry: Geometry, vectors: int = 1) -> int:
    """Channels, or results of a row, in so many vectors: as many as registers hold, but there must be so many."""
    last = geometry.dims[-1]
    if combine.parts > 1 or (geometry.channels == 1 and last.stride > STATIC_STRIDE):
        return 1
    widest = max(combine.work.bits, 32 if combine.positions or combine.out == i32 else 0)
    there = geometry.channels if geometry.channels > 1 else last.count
    return min(ctx.host.lanes(Ty("u", widest)) * vectors, _MOST_LANES, 1 << there.bit_length() - 1)


def _slide(
    ctx: LowerContext, name: str, mode: str, geometry: Geometry, x: Operand, given: Operand | None, *outs: Operand
) -> None:
    """Appends the step that slides windows of ``geometry`` over ``x``; ``outs``: the result, and the extremes beside their positions."""
    out, combine = outs[0], Combine(mode, x.dtype, len(outs) > 1)
    dims, taps = geometry.dims, geometry.taps
    small = taps <= _UNROLLED_TAPS and mode != "scatter" and all(d.plain for d in dims)
    written_out = tuple(d.taps for d in dims) if small else None
    stride = dims[-1].stride if geometry.channels == 1 and dims[-1].stride <= STATIC_STRIDE else None
    shape = WindowShape(dims, written_out, stride)
    by_loops = geometry.channels > 1 and written_out is None
    lanes = _lanes(ctx, combine, geometry, _VECTORS if by_loops else 1)
    key = ("window", mode, len(outs), x.dtype.name, geometry.channels > 1, shape.key, lanes)
    positions = () if given is None else (ctx.contiguous(given),)
    integers = tuple(v for d in dims for v in d.integers())
    x = ctx.contiguous(x)
    meetings = taps / max(1, math.prod(d.base for d in dims))  # taps that are no holes
    if geometry.channels > 1:
        kernel = ctx.kernel(key, lambda: channels_kernel(name, combine, shape, lanes))
        total = geometry.batch * math.prod(d.count for d in dims)
        args = (x, *positions, *outs, geometry.channels, *integers)
        cost = 10 + meetings * (2 + geometry.channels * combine.work.bits / 256)
    else:
        kernel = ctx.kernel(key, lambda: rows_kernel(name, combine, shape, lanes))
        blocks = -(-dims[-1].count // BLOCK)
        total = geometry.batch * math.prod(d.count for d in dims[:-1]) * blocks
        args = (x, *positions, *outs, blocks, *integers)
        cost = 10 + meetings * min(BLOCK, dims[-1].count) * combine.work.bits / 64
    ctx.step(
        kernel, args, total, chunk_for(total, cost), name, flops=out.size * taps,
        nbytes=(x.size + len(outs) * out.size) * x.dtype.itemsize, reads=(x, *positions), writes=outs,
        items=_items(geometry, total, (x, *positions, *outs)),
    )  # fmt: skip


def _items(g: Geometry, total: int, arrays: Sequence[Operand]) -> Items | None:
    """The batch as items: of each of the dense arrays, one after another."""
    found: dict[int, Any] = {}
    for x in arrays:
        nbytes = None if is_sized(x.size // g.batch) or x.offset else x.size // g.batch * x.dtype.itemsize
        found[x.buffer] = nbytes if found.setdefault(x.buffer, nbytes) == nbytes else None
    return Items(g.batch, total // g.batch, tuple([(b, n) for b, n in found.items() if n is not None]))


def _reduce_window(mode: str) -> Callable[[LowerContext, Eqn, tuple[Operand, ...], tuple[Operand, ...]], None]:
    def lower(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
        if outs[0].size:
            dims = _dims(eqn, ins[0].shape, outs[0].shape)
            transposed = _folded([d.transposed() for d in dims])
            if mode == "sum" and any(d.base > 1 for d in dims) and ins[0].size and _are_disjoint(transposed):
                _scatter_disjoint(ctx, eqn.prim.name, transposed, ins[0], None, outs[0])
                return
            geometry = _folded(dims)
            given = ins[1] if mode == "select" else None
            _slide(ctx, eqn.prim.name, mode, geometry, ins[0], given, *outs)

    return lower


for _name, _mode in {
    "reduce_window_sum": "sum", "reduce_window_max": "max", "reduce_window_min": "min",
    "reduce_window_argmax": "argmax", "reduce_window_argmin": "argmin", "window_select": "select",
}.items():  # fmt: skip
    lowers(_name)(_reduce_window(_mode))


@lowers("window_scatter_add")
def _window_scatter_add(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
    if not outs[0].size:
        return
    forward = _dims(eqn, outs[0].shape, ins[0].shape)
    geometry = _folded(forward)
    if ins[0].size and _are_disjoint(geometry):
        ct, positions = ins[0], ins[1] if len(ins) > 1 else None
        _scatter_disjoint(ctx, eqn.prim.name, geometry, ct, positions, outs[0])
    else:
        _slide(ctx, eqn.prim.name, "scatter", _folded([d.transposed() for d in forward]), ins[0], ins[1], outs[0])


def _are_disjoint(g: Geometry) -> bool:
    return g.taps <= _UNROLLED_TAPS and all(d.disjoint for d in g.dims)


def _scatter_disjoint(
    ctx: LowerContext, name: str, g: Geometry, ct: Operand, positions: Operand | None, out: Operand
) -> None:
    """Appends the step that writes the elements of each window: ``ct``, at the position only if there are positions."""
    combine = Combine("scatter" if positions else "sum", ct.dtype)
    if ct.size * g.taps != out.size:  # some elements lie in no window
        fill_dense(ctx, out, 0, f"{name} (zeros)")
    channels_last = g.channels > 1
    stride = g.dims[-1].stride if not channels_last and g.dims[-1].stride <= STATIC_STRIDE else None
    shape = WindowShape(g.dims, tuple(d.taps for d in g.dims), stride)
    lanes = _lanes(ctx, combine, g)
    kernel = ctx.kernel(
        ("window_disjoint", combine.positions, ct.dtype.name, channels_last, shape.key, lanes),
        lambda: disjoint_kernel(combine, shape, channels_last, lanes),
    )
    given = (ctx.contiguous(positions),) if positions else ()
    ct = ctx.contiguous(ct)
    outer = g.dims if channels_last else g.dims[:-1]
    total = g.batch * math.prod(d.count for d in outer)
    cost = 5 + ct.size // total * g.taps * 0.25
    ctx.step(
        kernel, (ct, *given, out, g.channels, *(v for d in g.dims for v in d.integers())), total, chunk_for(total, cost),
        name, nbytes=2 * out.size * out.dtype.itemsize, reads=(ct, *given), writes=(out,), items=_items(g, total, (ct, *given, out)),
    )  # fmt: skip
