"""Contractions with few values of k over rows that are pixels: all of a panel of B in registers (``kernels/pixels.py``)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from fx.sizes import largest

from ..kernels.pixels import LINE_DIMS, Pixels, pixels_kernel
from .contract_items import items_of
from .contraction import BYTES_PER_NS, FLOPS_PER_NS, Array, Contraction, filled, run, single, size
from .registry import Arg, Items, LowerContext

__all__ = ["pixels", "prefers_pixels"]

WIDEST = 4  # vectors of a panel
SHORT = 4  # pixels of a line: below, what goes around it takes as long


def prefers_pixels(ctx: LowerContext, p: Contraction, a: Array, b: Array, c: Array) -> bool:
    """Whether all of B for some vectors of columns fits the registers, and rows and k are nests that are no single loops.

    A single loop over k, or over rows, is what panels of several rows are good for.
    """
    if p.pairs or not a.ty == b.ty == c.ty == p.compute or size(p.batch) != 1 or not 2 <= len(p.rows) <= LINE_DIMS + 1:
        return False
    if len(p.ks) < 2 or not 0 < size(p.ks) < ctx.host.vector_registers or p.rows[-1][0] < SHORT:
        return False
    _, b_col, c_col = single(p.cols)
    return b_col == c_col == 1 and _vectors(ctx, p) > 0


def _vectors(ctx: LowerContext, p: Contraction) -> int:
    """Of a panel: with their sums, the values of B for all k, one broadcast and one zero they fit the registers."""
    fit = (ctx.host.vector_registers - 2) // (size(p.ks) + 1)
    masked = ctx.host.masked_accesses and p.compute.bits >= 32
    full = single(p.cols)[0] // ctx.host.lanes(p.compute)
    return min(fit, WIDEST, largest(full, 1) if masked else full)


def pixels(ctx: LowerContext, name: str, p: Contraction, a: Array, b: Array, c: Array) -> None:
    """Appends the step.

    It takes no epilogue: relu of 11 MB behind 3x3 windows of one channel, as one, took 114 us less and the pool that reads the result
    174 us more (two threads of Zen 5).
    """
    ty, lanes, nv, taps = p.compute, ctx.host.lanes(p.compute), _vectors(ctx, p), size(p.ks)
    n, cols = single(p.cols)[0], nv * lanes
    *outer, (x, a_x, c_x) = filled(p.rows, LINE_DIMS + 1, 2)
    length, step, b_step = p.ks[-1] if p.ks[-1][1] == 1 else (1, 0, 0)
    runs = list(itertools.product(*(range(d[0]) for d in p.ks[: len(p.ks) - step])))
    variant = Pixels(ty, lanes, nv, len(runs), length, bool(n < lanes))
    kernel = ctx.kernel(("pixels", variant), lambda: pixels_kernel(variant))
    values: dict[str, Arg] = {
        "a": a.at, "b": b.at, "c": c.at, "x": x, "n": n, "panels": -(-n // cols), "last_col": largest(n - cols, 0), "a_x": a_x,
        "c_x": c_x, "b_step": b_step,
    }  # fmt: skip
    for d, (size_r, a_r, c_r) in enumerate(outer):
        values |= {f"r{d}": size_r, f"a_r{d}": a_r, f"c_r{d}": c_r}
    for m, i in (("a", 1), ("b", 2)):
        values |= {f"{m}_k{k}": sum(index * d[i] for index, d in zip(at, p.ks)) for k, at in enumerate(runs)}
    total, rows = size(tuple(outer)), size(p.rows)
    nbytes = (rows * n + rows + taps * n) * ty.itemsize
    ns = largest(p.flops / FLOPS_PER_NS, nbytes / BYTES_PER_NS) / total
    items = _images(p, a, c, total)
    run(ctx, kernel, values, total, ns, name, (a.at, b.at), (c.at,), p.flops, nbytes, items=items)


def _images(p: Contraction, a: Array, c: Array, total: Any) -> Items | None:
    """The images as items: the first dimension of the rows."""
    images, a_r, c_r = p.rows[0]
    batch = ((images, a_r, 0, c_r),)
    return items_of(replace(p, batch=batch, rows=p.rows[1:]), a, None, c, total // images)
