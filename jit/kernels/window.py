"""Sliding-window kernels: for each result, walk the window's taps in row-major order and combine what they meet.

* ``channels_kernel``: vectors run along channels that the window does not cover.
* ``rows_kernel``: vectors run along the last windowed dimension.
* ``disjoint_kernel``: ``scatter`` for windows that do not overlap; each writes its own elements.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Ref, i32, maximum, minimum, op_, select
from ..lower.loops import Odometer, ceil_div, const, floor_div
from .window_taps import Buffers, Combine, FrameDim, Walk, WindowShape, flat_tap, interior, nest

__all__ = ["BLOCK", "channels_kernel", "disjoint_kernel", "rows_kernel"]

BLOCK = 512  # results of one row that rows_kernel keeps on the stack


def channels_kernel(name: str, combine: Combine, shape: WindowShape, lanes: int) -> Kernel:
    """One index of the range is one window position; vectors run along the channels."""
    b = KernelBuilder(name)
    buffers = Buffers(b, combine)
    channels = b.integer("channels")
    dims = [FrameDim(b, d, like, False) for d, like in enumerate(shape.dims)]
    at = Odometer(b, b.lo, [const(1), *(d.count for d in dims)], {})
    with b.for_("p", b.lo, b.hi) as p:
        walks = [d.walk(b, o) for d, o in zip(dims, at.index[1:])]

        def along_channels(visit: Callable[[Expr, Expr | None], Sequence[Expr]]) -> None:
            """Whole vectors only: the last one overlaps the one before it and writes the same numbers again."""
            with b.for_("c", 0, channels, lanes) as group:
                c = b.let("channel", minimum(group, channels - lanes))
                result = b.let("result", p * channels + c)
                given = buffers.given(result, lanes) if combine.mode == "select" else None
                buffers.store(result, visit(c, given))

        def by_loops(c: Expr, given: Expr | None) -> Sequence[Expr]:
            state = [b.var("state", s) for s in combine.start(lanes)]

            def leaf(offset: Expr, taps: list[Expr]) -> None:
                flat = b.let("flat", flat_tap(combine, dims, taps))
                element = b.let("element", offset * channels + c)
                for register, v in zip(
                    state, [b.let("new", v) for v in buffers.step(state, element, flat, given, lanes)]
                ):
                    b.assign(register, v)

            nest(b, combine, walks, at.index[0], leaf)
            return state

        def written_out(c: Expr, given: Expr | None) -> Sequence[Expr]:
            state: list[Ref] | None = None
            for flat, taps in enumerate(itertools.product(*(range(t) for t in shape.written_out or ()))):
                offset: Expr = at.index[0]
                for w, t in zip(walks, taps):
                    offset = offset * w.dim.n + w.first + t
                element = b.let("element", offset * channels + c)
                state = [b.let("new", v) for v in buffers.step(state, element, const(flat), given, lanes, True)]
            return state if state is not None else combine.start(lanes)

        if shape.written_out:
            with b.if_(interior(walks)):
                along_channels(written_out)
            with b.else_():
                along_channels(by_loops)
        else:
            along_channels(by_loops)
        at.advance()
    return b.build()


def rows_kernel(name: str, combine: Combine, shape: WindowShape, lanes: int) -> Kernel:
    """One index of the range is one block of a row of results; vectors run along the row."""
    b = KernelBuilder(name)
    buffers = Buffers(b, combine)
    blocks = b.integer("blocks")
    dims = [
        FrameDim(b, d, like, d == len(shape.dims) - 1 and shape.static_stride is not None)
        for d, like in enumerate(shape.dims)
    ]
    outer, last = dims[:-1], dims[-1]
    states = [b.alloc("state", ty, BLOCK) for ty in combine.state]
    at = Odometer(b, b.lo, [const(1), *(d.count for d in outer), blocks], {})
    with b.for_("p", b.lo, b.hi):
        row: Expr = at.index[0]
        for dim, o in zip(outer, at.index[1:]):
            row = row * dim.count + o
        row = b.let("row", row * last.count)
        begin = b.let("begin", at.index[-1] * BLOCK)
        end = b.let("end", minimum(begin + BLOCK, last.count))
        walks = [d.walk(b, o) for d, o in zip(outer, at.index[1:])]
        block = RowBlock(b, combine, buffers, states, walks, last, at.index[0], row)
        if shape.written_out:
            first, stop = block.inside(begin, end)
            block.write_out(shape.written_out, first, stop, lanes)
            with b.for_("side", 0, 2) as side:
                left = side.eq(0)
                a, e = b.let("a", select(left, begin, stop)), b.let("e", select(left, first, end))
                with b.if_(a < e):
                    block.by_loops(a, e)
        else:
            block.by_loops(begin, end)
        at.advance()
    return b.build()


@dataclass(frozen=True)
class RowBlock:
    """A block of one row of results."""

    b: KernelBuilder
    combine: Combine
    buffers: Buffers
    states: list[str]
    walks: list[Walk]
    last: FrameDim
    batch: Expr
    row: Expr  # index of the row's first result

    def inside(self, begin: Expr, end: Expr) -> tuple[Expr, Expr]:
        """The results in [begin, end) all of whose taps lie inside the operand (of an undilated window)."""
        b, last = self.b, self.last
        first = maximum(begin, ceil_div(last.low, last.stride))
        stop = minimum(end, floor_div(last.n + last.low - last.taps, last.stride) + 1)
        inside = interior(self.walks) if self.walks else Const(True, (begin < end).ty)
        first = b.let("inside_first", minimum(select(inside, first, begin), end))
        return first, b.let("inside_stop", maximum(select(inside, stop, begin), first))

    def write_out(self, window: tuple[int, ...], first: Expr, stop: Expr, lanes: int) -> None:
        """Results whose window lies inside: no tests, no state in memory.

        Whole vectors where there are enough results, the last one overlapping the one before it.
        """
        b, last = self.b, self.last
        starts = []  # of every row of taps
        for taps in itertools.product(*(range(t) for t in window[:-1])):
            offset = self.batch
            for w, t in zip(self.walks, taps):
                offset = offset * w.dim.n + w.first + t
            starts.append(b.let("start", offset * last.n - last.low))

        def results(o: Expr, lanes: int) -> None:
            result = b.let("result", self.row + o)
            given = self.buffers.given(result, lanes) if self.combine.mode == "select" else None
            state: list[Expr] | None = None
            for r, start in enumerate(starts):
                at = b.let("at", start + o * last.stride)
                for t, values in enumerate(self._row_of_taps(at, window[-1], lanes)):
                    state = self.buffers.meet(state, values, const(r * window[-1] + t), given, lanes, True)
            self.buffers.store(result, self.combine.start(lanes) if state is None else state)

        if lanes > 1:
            with b.if_(stop - first >= lanes), b.for_("group", first, stop, lanes) as group:
                results(b.let("o", minimum(group, stop - lanes)), lanes)
            with b.else_(), b.for_("o", first, stop) as o:
                results(o, 1)
        else:
            with b.for_("o", first, stop, vectorize=True) as o:
                results(o, 1)

    def _row_of_taps(self, at: Expr, taps: int, lanes: int) -> list[list[Expr]]:
        """For each tap of a row what ``lanes`` neighbouring results meet; ``at``: tap 0 of the first of them."""
        if lanes == 1 or self.last.like.stride == 1:
            return [self.buffers.load(at + t, lanes) for t in range(taps)]
        stride = self.last.like.stride
        reach = (lanes - 1) * stride + taps  # vectors cover exactly this: nothing beyond the operand is read
        begins = [min(k, reach - lanes) for k in range(0, reach, lanes)]
        pieces = [self.b.let("piece", self.buffers.load(at + k, lanes)[0]) for k in begins]

        def element(i: int) -> Expr:
            return op_("extract", pieces[i // lanes], const(i - begins[i // lanes]))

        rows: list[list[Expr]] = []
        for t in range(taps):
            v = element(t).splat(lanes)
            for lane in range(1, lanes):
                v = op_("insert", v, const(lane), element(t + lane * stride))
            rows.append([self.b.let("strided", v)])
        return rows

    def by_loops(self, begin: Expr, end: Expr) -> None:
        b = self.b
        with b.for_("j", 0, end - begin, vectorize=True) as j:
            for name, value in zip(self.states, self.combine.start(1)):
                b.store(name, j, value)

        def leaf(offset: Expr, taps: list[Expr]) -> None:
            with b.for_("t", 0, self.last.taps) as t:
                flat = b.let(
                    "flat", flat_tap(self.combine, [*(w.dim for w in self.walks), self.last], [*taps, t]).cast(i32)
                )
                self._along_row(begin, end, b.let("operand_row", offset * self.last.n), t, flat)

        nest(b, self.combine, self.walks, self.batch, leaf)
        with b.for_("j", 0, end - begin, vectorize=True) as j:
            self.buffers.store(self.row + begin + j, [b.load(name, j) for name in self.states])

    def _along_row(self, begin: Expr, end: Expr, operand_row: Expr, t: Expr, flat: Expr) -> None:
        """Tap ``t`` of every result in [begin, end)."""
        b, last = self.b, self.last
        shift = b.let("shift", t * last.dilation - last.low)

        def meet(o: Expr, i: Expr) -> None:
            j = b.let("j", o - begin)
            given = self.buffers.given(self.row + o, 1) if self.combine.mode == "select" else None
            new = self.buffers.step([b.load(s, j) for s in self.states], operand_row + i, flat, given, 1)
            for name, v in zip(self.states, [b.let("new", v) for v in new]):
                b.store(name, j, v)

        if last.like.base == 1:
            first, stop = (
                maximum(begin, ceil_div(-shift, last.stride)),
                minimum(end, ceil_div(last.n - shift, last.stride)),
            )
            with b.for_("o", first, stop, vectorize=True) as o:
                meet(o, o * last.stride + shift)
        elif last.like.stride == 1:
            first, stop = (
                maximum(ceil_div(begin + shift, last.base), 0),
                minimum(ceil_div(end + shift, last.base), last.n),
            )
            with b.for_("i", first, stop, vectorize=True) as i:
                meet(i * last.base - shift, i)
        else:
            with b.for_("o", begin, end) as o:
                position = b.let("position", o * last.stride + shift)
                i = b.let("i", position // last.base)
                with b.if_((position >= 0) & (i * last.base).eq(position) & (i < last.n)):
                    meet(o, i)


def disjoint_kernel(combine: Combine, shape: WindowShape, channels_last: bool, lanes: int) -> Kernel:
    """``scatter`` where windows neither overlap nor leave the operand: each window writes its own elements, once.

    Without positions, every element of a window gets the window's number: the transpose of a ``sum``.  One index of the range is one window position (channels last) or one row of them.
    """
    b = KernelBuilder("window_scatter_disjoint")
    ct = b.pointer("ct", combine.memory)
    positions = b.pointer("positions", i32) if combine.positions else None
    out = b.pointer("out", combine.memory)
    channels = b.integer("channels")
    last = len(shape.dims) - 1
    dims = [FrameDim(b, d, like, d == last and shape.static_stride is not None) for d, like in enumerate(shape.dims)]
    outer = dims if channels_last else dims[:-1]
    at = Odometer(b, b.lo, [const(1), *(d.count for d in outer)], {})

    def write(i: Expr, firsts: list[Expr], lanes: int) -> None:
        given = b.let("given", b.load(positions, i, lanes)) if positions else None
        parts = [b.let("ct", b.load(ct, i * combine.parts + k, lanes)) for k in range(combine.parts)]
        for tap, first in enumerate(firsts):
            here = given.eq(Const(tap, given.ty)) if given else None
            for k, v in enumerate(parts):
                b.store(out, first * combine.parts + k, select(here, v, Const(0, v.ty)) if here else v)

    with b.for_("p", b.lo, b.hi) as p:
        starts = []
        for taps in itertools.product(*(range(t) for t in shape.written_out or ())):
            offset: Expr = at.index[0]
            for dim, o, t in zip(outer, at.index[1:], taps):
                offset = offset * dim.n + o * dim.stride + t
            starts.append(b.let("start", offset * channels if channels_last else offset * dims[-1].n + taps[-1]))
        if channels_last:
            with b.for_("c", 0, channels, lanes) as group:
                c = b.let("channel", minimum(group, channels - lanes))
                write(p * channels + c, [s + c for s in starts], lanes)
        else:
            with b.for_("o", 0, dims[-1].count, vectorize=True) as o:
                write(p * dims[-1].count + o, [s + o * dims[-1].stride for s in starts], 1)
        at.advance()
    return b.build()
