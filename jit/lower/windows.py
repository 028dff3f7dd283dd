"""Sliding windows: sums, extremes, their positions, and the maps that carry cotangents back.

All seven primitives are one loop: for each result element, walk the window's taps in row-major order, skip the
holes of padding and dilation, and combine what is met.  ``window_scatter_add`` is the same loop in gather form: an
element of the operand sums, in a fixed order, over the windows that cover it, so it needs no atomics.

Dimensions in which the window is trivial are folded away; what is left is (batch, windowed dimensions, channels).

* channels > 1: vectors run along the channels (``_channels_kernel``).
* channels = 1: vectors run along the last windowed dimension (``_rows_kernel``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from fx import dtypes
from fx.errors import LoweringError
from fx.ir import Eqn

from ..cost import chunk_for
from ..loop_ir import Const, Expr, Kernel, KernelBuilder, Ref, Ty, i32, maximum, minimum, op_, select, u8
from .indexing import fill_dense
from .loops import Odometer, ceil_div, const, floor_div, word_type
from .registry import LowerContext, Operand, lowers
from .types import compute_type, ty_of

_BLOCK = 512  # results of one row that a rows kernel keeps on the stack
_UNROLLED_TAPS = 16  # windows of at most so many taps are written out
_STATIC_STRIDE = 4  # strides up to this are constants of the kernel, so that LLVM sees the access pattern

# ------------------------------------------------------------------------------------ geometry


@dataclass(frozen=True)
class _Dim:
    """One windowed dimension: result o meets operand element i as tap t where o*stride - low + t*dilation = i*base."""

    n: int  # operand elements
    count: int  # results
    taps: int
    stride: int
    low: int
    base: int
    dilation: int

    @property
    def trivial(self) -> bool:
        return (self.taps, self.stride, self.low, self.base) == (1, 1, 0, 1) and self.n == self.count

    @property
    def plain(self) -> bool:
        """Nothing is dilated: the taps of a window are neighbours."""
        return self.base == 1 and self.dilation == 1

    @property
    def disjoint(self) -> bool:
        """Windows do not overlap, and all of them lie inside the operand."""
        return self.plain and self.stride >= self.taps and self.low == 0 and (self.count - 1) * self.stride + self.taps <= self.n

    def transposed(self) -> _Dim:
        """Operand elements as results and windows as operand; tap t becomes tap ``taps - 1 - t``."""
        low = (self.taps - 1) * self.dilation - self.low
        return _Dim(self.count, self.n, self.taps, self.base, low, self.stride, self.dilation)

    def integers(self) -> tuple[int, ...]:
        return (self.n, self.count, self.taps, self.stride, self.low, self.base, self.dilation)


@dataclass(frozen=True)
class _Geometry:
    batch: int
    dims: tuple[_Dim, ...]
    channels: int

    @property
    def taps(self) -> int:
        return math.prod(d.taps for d in self.dims)


def _folded(dims: list[_Dim]) -> _Geometry:
    """Leading trivial dimensions become the batch, trailing ones the channels."""
    front = list(itertools.takewhile(lambda d: d.trivial, dims))
    back = list(itertools.takewhile(lambda d: d.trivial, reversed(dims[len(front) :])))
    middle = dims[len(front) : len(dims) - len(back)] or [_Dim(1, 1, 1, 1, 0, 1, 1)]
    return _Geometry(math.prod(d.n for d in front), tuple(middle), math.prod(d.n for d in back))


def _dims(eqn: Eqn, operand: Sequence[int], windows: Sequence[int]) -> list[_Dim]:
    p = eqn.params
    rows = zip(
        operand, windows, p["window_dimensions"], p["window_strides"], p["padding"], p["base_dilation"], p["window_dilation"]
    )
    # the distance between the taps of a one-tap window says nothing
    return [_Dim(n, o, w, s, lo, bd, wd if w > 1 else 1) for n, o, w, s, (lo, _), bd, wd in rows]


class _FrameDim:
    """A windowed dimension inside a kernel: its integers, constants where the kernel's key fixes them."""

    def __init__(self, b: KernelBuilder, d: int, like: _Dim, static_stride: bool) -> None:
        names = ("n", "count", "taps", "stride", "low", "base", "dilation")
        frame = [b.integer(f"{name}{d}") for name in names]
        self.n, self.count, self.taps, self.low = frame[0], frame[1], frame[2], frame[4]
        self.stride: Expr = const(like.stride) if static_stride else frame[3]
        self.base: Expr = const(1) if like.base == 1 else frame[5]
        self.dilation: Expr = const(1) if like.dilation == 1 else frame[6]
        self.like = like

    def walk(self, b: KernelBuilder, o: Expr) -> _Walk:
        """The taps of result ``o``."""
        first = b.let("first", o * self.stride - self.low)
        if self.like.plain:
            begin, end = maximum(first, 0), minimum(first + self.taps, self.n)
        elif self.like.dilation == 1:
            begin = maximum(ceil_div(first, self.base), 0)
            end = minimum(floor_div(first + self.taps - 1, self.base) + 1, self.n)
        elif self.like.base == 1:
            begin = maximum(ceil_div(-first, self.dilation), 0)
            end = minimum(ceil_div(self.n - first, self.dilation), self.taps)
        else:
            begin, end = const(0), self.taps
        return _Walk(self, first, b.let("begin", begin), b.let("end", end))


@dataclass(frozen=True)
class _Walk:
    """The taps of one result in one dimension: a loop over operand elements, or over taps where those are dilated."""

    dim: _FrameDim
    first: Expr  # the position of tap 0 in the dilated operand
    begin: Expr
    end: Expr

    @contextmanager
    def taps(self, b: KernelBuilder) -> Iterator[tuple[Expr, Expr]]:
        """Loops over (operand element, tap)."""
        dim = self.dim
        if dim.like.dilation == 1:
            with b.for_("i", self.begin, self.end) as i:
                yield i, i * dim.base - self.first
            return
        with b.for_("t", self.begin, self.end) as t:
            position = b.let("position", self.first + t * dim.dilation)
            if dim.like.base == 1:
                yield position, t
                return
            i = b.let("i", position // dim.base)
            with b.if_((position >= 0) & (i * dim.base).eq(position) & (i < dim.n)):
                yield i, t


# ------------------------------------------------------------------------------------ combining


class _Combine:
    """What a result does with the operand elements that it meets: a state of registers, and one step.

    ``sum max min``; ``argmax argmin`` (keeps the tap of the first extreme, NaN wins); ``select`` (keeps the element
    at a given tap); ``scatter`` (adds the elements whose given tap is the one at which they are met).
    """

    def __init__(self, mode: str, dtype: np.dtype) -> None:
        if dtypes.is_complex(dtype) and mode not in ("sum", "select", "scatter"):
            raise LoweringError(f"window {mode} of dtype {dtype}: complex numbers have no order")
        self.parts = 2 if dtypes.is_complex(dtype) else 1
        self.memory = u8 if dtypes.is_bool(dtype) else ty_of(dtype)
        self.mode = "max" if mode == "sum" and dtypes.is_bool(dtype) else mode
        if mode == "select":
            self.memory, self.parts = word_type(dtype)
        self.work = self.memory if mode == "select" else compute_type(self.memory)
        self.out = i32 if mode.startswith("arg") else self.memory
        self.positions = mode in ("select", "scatter")
        self.top = 1 if dtypes.is_bool(dtype) else None

    @property
    def state(self) -> tuple[Ty, ...]:
        return (self.work, i32) if self.mode.startswith("arg") else (self.work,) * self.parts

    def _identity(self) -> float | int:
        lowest = self.mode.endswith("max")
        if self.work.is_float:
            return -math.inf if lowest else math.inf
        if lowest:
            return -(1 << self.work.bits - 1) if self.work.kind == "i" else 0
        return self.top or (1 << self.work.bits - (self.work.kind == "i")) - 1

    def start(self, lanes: int) -> list[Expr]:
        if self.mode in ("sum", "select", "scatter"):
            return [Const(0, ty.vector(lanes)) for ty in self.state]
        values: list[Expr] = [Const(self._identity(), self.work.vector(lanes))]
        return values + [Const(-1, i32.vector(lanes))] * (len(self.state) - 1)

    def step(self, state: Sequence[Expr], values: Sequence[Expr], tap: Expr, position: Expr | None) -> list[Expr]:
        """The state after meeting ``values`` at ``tap`` (an i32); ``position`` is the given tap."""
        if self.mode == "sum":
            return [s + v for s, v in zip(state, values)]
        if self.mode in ("max", "min"):
            return [op_(self.mode, state[0], values[0])]
        if self.mode == "select":
            return [select(position.eq(tap), v, s) for s, v in zip(state, values)]
        if self.mode == "scatter":
            return [s + select(position.eq(tap), v, Const(0, v.ty)) for s, v in zip(state, values)]
        best, at = state
        (v,) = values
        if self.work.is_float:
            better = ~(v <= best if self.mode == "argmax" else v >= best) & best.eq(best)
        else:
            better = v > best if self.mode == "argmax" else v < best
        better = better | (at < 0)
        return [select(better, v, best), select(better, tap, at)]

    def finish(self, state: Sequence[Expr]) -> list[Expr]:
        if self.mode.startswith("arg"):
            return [maximum(state[1], 0)]
        return [s.cast(self.memory.vector(s.ty.lanes)) for s in state]


class _Buffers:
    """The kernel's arrays, and how a combination reads and writes them."""

    def __init__(self, b: KernelBuilder, combine: _Combine) -> None:
        self.b, self.combine = b, combine
        self.x = b.pointer("x", combine.memory)
        self.taps = b.pointer("positions", i32) if combine.positions else None
        self.out = b.pointer("out", combine.out)

    def given(self, index: Expr, lanes: int) -> Expr | None:
        return self.b.load(self.taps, index, lanes) if self.taps else None

    def load(self, i: Expr, lanes: int) -> list[Expr]:
        """The parts of operand element ``i``, as they are combined."""
        parts, work = self.combine.parts, self.combine.work.vector(lanes)
        return [self.b.load(self.x, i * parts + k if parts > 1 else i, lanes).cast(work) for k in range(parts)]

    def meet(
        self, state: Sequence[Expr], values: Sequence[Expr], tap: Expr, given: Expr | None, lanes: int
    ) -> list[Expr]:
        """The state after meeting ``values``; ``given`` is the tap that a ``select`` or ``scatter`` looks for."""
        return self.combine.step(state, values, tap.cast(i32).splat(lanes), given)

    def step(self, state: Sequence[Expr], i: Expr, tap: Expr, given: Expr | None, lanes: int) -> list[Expr]:
        """The state after meeting operand element ``i``."""
        given = self.given(i, lanes) if self.combine.mode == "scatter" else given
        return self.meet(state, self.load(i, lanes), tap, given, lanes)

    def store(self, index: Expr, state: Sequence[Expr]) -> None:
        values = self.combine.finish(state)
        for k, v in enumerate(values):
            self.b.store(self.out, index * len(values) + k if len(values) > 1 else index, v)


def _flat_tap(combine: _Combine, dims: Sequence[_FrameDim], taps: Sequence[Expr]) -> Expr:
    """The row-major position in the window; transposed loops count each dimension's taps from the other end."""
    flat: Expr = const(0)
    for dim, t in zip(dims, taps):
        flat = flat * dim.taps + (dim.taps - 1 - t if combine.mode == "scatter" else t)
    return flat


def _nest(
    b: KernelBuilder, combine: _Combine, walks: Sequence[_Walk], offset: Expr, leaf: Callable[[Expr, list[Expr]], None]
) -> None:
    """Loops over the taps of all ``walks``; ``leaf(operand row-major index, taps)``."""

    def level(d: int, offset: Expr, taps: list[Expr]) -> None:
        if d == len(walks):
            leaf(offset, taps)
            return
        with walks[d].taps(b) as (i, t):
            level(d + 1, b.let("at", offset * walks[d].dim.n + i), [*taps, b.let("tap", t)])

    level(0, offset, [])


def _interior(walks: Sequence[_Walk]) -> Expr:
    """Whether every tap lies inside the operand."""
    inside: Expr | None = None
    for w in walks:
        test = (w.first >= 0) & (w.first + w.dim.taps <= w.dim.n)
        inside = test if inside is None else inside & test
    return inside


# ------------------------------------------------------------------------------------ kernels


@dataclass(frozen=True)
class _Shape:
    """What a kernel is specialised on besides the combination."""

    dims: tuple[_Dim, ...]  # only which of base, dilation are 1 counts, and taps where the window is written out
    written_out: tuple[int, ...] | None
    static_stride: int | None

    @property
    def key(self) -> tuple:
        return (tuple((d.base == 1, d.dilation == 1) for d in self.dims), self.written_out, self.static_stride)


def _channels_kernel(name: str, combine: _Combine, shape: _Shape, lanes: int) -> Kernel:
    """One index of the range is one window position; vectors run along the channels."""
    b = KernelBuilder(name)
    buffers = _Buffers(b, combine)
    channels = b.integer("channels")
    dims = [_FrameDim(b, d, like, False) for d, like in enumerate(shape.dims)]
    at = Odometer(b, b.lo, [const(1), *(d.count for d in dims)], {})
    with b.for_("p", b.lo, b.hi) as p:
        walks = [d.walk(b, o) for d, o in zip(dims, at.index[1:])]

        def along_channels(visit: Callable[[list[Ref], Expr, Expr | None], None]) -> None:
            """Whole vectors only: the last one overlaps the one before it and writes the same numbers again."""
            with b.for_("c", 0, channels, lanes) as group:
                c = b.let("channel", minimum(group, channels - lanes))
                result = b.let("result", p * channels + c)
                given = b.let("given", buffers.given(result, lanes)) if combine.mode == "select" else None
                state = [b.var("state", s) for s in combine.start(lanes)]
                visit(state, c, given)
                buffers.store(result, state)

        def meet(state: list[Ref], element: Expr, tap: Expr, given: Expr | None) -> None:
            new = [b.let("new", v) for v in buffers.step(state, element, tap, given, lanes)]
            for register, v in zip(state, new):
                b.assign(register, v)

        def by_loops(state: list[Ref], c: Expr, given: Expr | None) -> None:
            def leaf(offset: Expr, taps: list[Expr]) -> None:
                flat = b.let("flat", _flat_tap(combine, dims, taps))
                meet(state, b.let("element", offset * channels + c), flat, given)

            _nest(b, combine, walks, at.index[0], leaf)

        def written_out(state: list[Ref], c: Expr, given: Expr | None) -> None:
            for flat, taps in enumerate(itertools.product(*(range(t) for t in shape.written_out))):
                offset: Expr = at.index[0]
                for w, t in zip(walks, taps):
                    offset = offset * w.dim.n + w.first + t
                meet(state, b.let("element", offset * channels + c), const(flat), given)

        if shape.written_out:
            with b.if_(_interior(walks)):
                along_channels(written_out)
            with b.else_():
                along_channels(by_loops)
        else:
            along_channels(by_loops)
        at.advance()
    return b.build()


def _rows_kernel(name: str, combine: _Combine, shape: _Shape, lanes: int) -> Kernel:
    """One index of the range is one block of a row of results; vectors run along the row."""
    b = KernelBuilder(name)
    buffers = _Buffers(b, combine)
    blocks = b.integer("blocks")
    dims = [_FrameDim(b, d, like, d == len(shape.dims) - 1 and shape.static_stride is not None) for d, like in enumerate(shape.dims)]
    outer, last = dims[:-1], dims[-1]
    states = [b.alloc("state", ty, _BLOCK) for ty in combine.state]
    at = Odometer(b, b.lo, [const(1), *(d.count for d in outer), blocks], {})
    with b.for_("p", b.lo, b.hi):
        row: Expr = at.index[0]
        for dim, o in zip(outer, at.index[1:]):
            row = row * dim.count + o
        row = b.let("row", row * last.count)
        begin = b.let("begin", at.index[-1] * _BLOCK)
        end = b.let("end", minimum(begin + _BLOCK, last.count))
        walks = [d.walk(b, o) for d, o in zip(outer, at.index[1:])]
        block = _RowBlock(b, combine, buffers, states, walks, last, at.index[0], row)
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
class _RowBlock:
    """A block of one row of results."""

    b: KernelBuilder
    combine: _Combine
    buffers: _Buffers
    states: list[str]
    walks: list[_Walk]
    last: _FrameDim
    batch: Expr
    row: Expr  # index of the row's first result

    def inside(self, begin: Expr, end: Expr) -> tuple[Expr, Expr]:
        """The results in [begin, end) all of whose taps lie inside the operand (of an undilated window)."""
        b, last = self.b, self.last
        first = maximum(begin, ceil_div(last.low, last.stride))
        stop = minimum(end, floor_div(last.n + last.low - last.taps, last.stride) + 1)
        inside = _interior(self.walks) if self.walks else Const(True, (begin < end).ty)
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
            given = b.let("given", self.buffers.given(result, lanes)) if self.combine.mode == "select" else None
            state = self.combine.start(lanes)
            for r, start in enumerate(starts):
                at = b.let("at", start + o * last.stride)
                for t, values in enumerate(self._row_of_taps(at, window[-1], lanes)):
                    state = self.buffers.meet(state, values, const(r * window[-1] + t), given, lanes)
            self.buffers.store(result, state)

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

        rows = []
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
                flat = b.let("flat", _flat_tap(self.combine, [*(w.dim for w in self.walks), self.last], [*taps, t]).cast(i32))
                self._along_row(begin, end, b.let("operand_row", offset * self.last.n), t, flat)

        _nest(b, self.combine, self.walks, self.batch, leaf)
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
            first, stop = maximum(begin, ceil_div(-shift, last.stride)), minimum(end, ceil_div(last.n - shift, last.stride))
            with b.for_("o", first, stop, vectorize=True) as o:
                meet(o, o * last.stride + shift)
        elif last.like.stride == 1:
            first, stop = maximum(ceil_div(begin + shift, last.base), 0), minimum(ceil_div(end + shift, last.base), last.n)
            with b.for_("i", first, stop, vectorize=True) as i:
                meet(i * last.base - shift, i)
        else:
            with b.for_("o", begin, end) as o:
                position = b.let("position", o * last.stride + shift)
                i = b.let("i", position // last.base)
                with b.if_((position >= 0) & (i * last.base).eq(position) & (i < last.n)):
                    meet(o, i)


def _disjoint_kernel(combine: _Combine, shape: _Shape, channels_last: bool, lanes: int) -> Kernel:
    """``scatter`` where windows neither overlap nor leave the operand: each window writes its own elements, once.

    One index of the range is one window position (channels last) or one row of them.
    """
    b = KernelBuilder("window_scatter_disjoint")
    ct, positions, out = b.pointer("ct", combine.memory), b.pointer("positions", i32), b.pointer("out", combine.memory)
    channels = b.integer("channels")
    last = len(shape.dims) - 1
    dims = [_FrameDim(b, d, like, d == last and shape.static_stride is not None) for d, like in enumerate(shape.dims)]
    outer = dims if channels_last else dims[:-1]
    at = Odometer(b, b.lo, [const(1), *(d.count for d in outer)], {})

    def write(i: Expr, firsts: list[Expr], lanes: int) -> None:
        given = b.let("given", b.load(positions, i, lanes))
        parts = [b.let("ct", b.load(ct, i * combine.parts + k, lanes)) for k in range(combine.parts)]
        for tap, first in enumerate(firsts):
            here = given.eq(Const(tap, given.ty))
            for k, v in enumerate(parts):
                b.store(out, first * combine.parts + k, select(here, v, Const(0, v.ty)))

    with b.for_("p", b.lo, b.hi) as p:
        starts = []
        for taps in itertools.product(*(range(t) for t in shape.written_out)):
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


# ------------------------------------------------------------------------------------ lowerings


def _lanes(ctx: LowerContext, combine: _Combine, geometry: _Geometry) -> int:
    """Channels, or results of a row, in a vector: as many as registers hold, but there must be so many."""
    last = geometry.dims[-1]
    if combine.parts > 1 or (geometry.channels == 1 and last.stride > _STATIC_STRIDE):
        return 1
    widest = max(combine.work.bits, 32 if combine.positions or combine.out == i32 else 0)
    there = geometry.channels if geometry.channels > 1 else last.count
    return min(ctx.host.lanes(Ty("u", widest)), 1 << there.bit_length() - 1)


def _slide(ctx: LowerContext, name: str, mode: str, geometry: _Geometry, x: Operand, given: Operand | None, out: Operand) -> None:
    """Appends the step that slides windows of ``geometry`` over ``x``."""
    combine = _Combine(mode, x.dtype)
    dims, taps = geometry.dims, geometry.taps
    small = taps <= _UNROLLED_TAPS and mode != "scatter" and all(d.plain for d in dims)
    written_out = tuple(d.taps for d in dims) if small else None
    stride = dims[-1].stride if geometry.channels == 1 and dims[-1].stride <= _STATIC_STRIDE else None
    shape = _Shape(dims, written_out, stride)
    lanes = _lanes(ctx, combine, geometry)
    key = ("window", mode, x.dtype.name, geometry.channels > 1, shape.key, lanes)
    positions = () if given is None else (ctx.contiguous(given),)
    integers = tuple(v for d in dims for v in d.integers())
    x = ctx.contiguous(x)
    meetings = taps / max(1, math.prod(d.base for d in dims))  # taps that are no holes
    if geometry.channels > 1:
        kernel = ctx.kernel(key, lambda: _channels_kernel(name, combine, shape, lanes))
        total = geometry.batch * math.prod(d.count for d in dims)
        args = (x, *positions, out, geometry.channels, *integers)
        cost = 10 + meetings * (2 + geometry.channels * combine.work.bits / 256)
    else:
        kernel = ctx.kernel(key, lambda: _rows_kernel(name, combine, shape, lanes))
        blocks = -(-dims[-1].count // _BLOCK)
        total = geometry.batch * math.prod(d.count for d in dims[:-1]) * blocks
        args = (x, *positions, out, blocks, *integers)
        cost = 10 + meetings * min(_BLOCK, dims[-1].count) * combine.work.bits / 64
    ctx.step(
        kernel, args, total, chunk_for(total, cost), name, flops=out.size * taps,
        nbytes=(x.size + out.size) * x.dtype.itemsize, reads=(x, *positions), writes=(out,),
    )  # fmt: skip


def _reduce_window(mode: str) -> Callable[[LowerContext, Eqn, tuple[Operand, ...], tuple[Operand, ...]], None]:
    def lower(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
        if outs[0].size:
            geometry = _folded(_dims(eqn, ins[0].shape, outs[0].shape))
            given = ins[1] if mode == "select" else None
            _slide(ctx, eqn.prim.name, mode, geometry, ins[0], given, outs[0])

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
    if geometry.taps <= _UNROLLED_TAPS and ins[0].size and all(d.disjoint for d in geometry.dims):
        _scatter_disjoint(ctx, geometry, *ins, outs[0])
    else:
        _slide(ctx, eqn.prim.name, "scatter", _folded([d.transposed() for d in forward]), ins[0], ins[1], outs[0])


def _scatter_disjoint(ctx: LowerContext, g: _Geometry, ct: Operand, positions: Operand, out: Operand) -> None:
    combine = _Combine("scatter", ct.dtype)
    if ct.size * g.taps != out.size:  # some elements lie in no window
        fill_dense(ctx, out, 0, "window_scatter_add (zeros)")
    channels_last = g.channels > 1
    stride = g.dims[-1].stride if not channels_last and g.dims[-1].stride <= _STATIC_STRIDE else None
    shape = _Shape(g.dims, tuple(d.taps for d in g.dims), stride)
    lanes = _lanes(ctx, combine, g)
    kernel = ctx.kernel(
        ("window_scatter_disjoint", ct.dtype.name, channels_last, shape.key, lanes),
        lambda: _disjoint_kernel(combine, shape, channels_last, lanes),
    )
    ct, positions = ctx.contiguous(ct), ctx.contiguous(positions)
    outer = g.dims if channels_last else g.dims[:-1]
    total = g.batch * math.prod(d.count for d in outer)
    cost = 5 + ct.size // total * g.taps * 0.25
    ctx.step(
        kernel, (ct, positions, out, g.channels, *(v for d in g.dims for v in d.integers())), total, chunk_for(total, cost),
        "window_scatter_add", nbytes=2 * out.size * out.dtype.itemsize, reads=(ct, positions), writes=(out,),
    )  # fmt: skip
