"""The scatters: updates applied to slices of an array at computed starts.

Updates are applied in row-major order of the updates, so repeated indices are deterministic (very many updates of few
elements by pieces, see ``scatter_tables.py``).  They run in parallel
over dimensions in which slices cannot collide: those that the indices do not move along, batching dimensions, and
all of them where the indices are promised to be unique.  Of many single elements, each thread takes those that go into its
share of the result, in their order, so that the bits are those of one thread.  Starts are clipped before they address anything; modes other
than "clip" drop slices that do not lie in the array.  Sums and products of float16 and bfloat16 accumulate in a
float32 copy, rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace

from fx import dtypes
from fx.ir import Eqn

from ..cost import chunk_for
from ..kernels.sort_partition import in_vectors
from ..loop_builder import KernelBuilder
from ..loop_ir import Expr, Kernel, Op, Ref, Ty, f32, i64, minimum, op_, select
from ..runtime_ir import MOST_SHARES, SHARES
from .copies import Axes, Dims, clipped_start, convert, copy_strided, frame_axes, offset_type
from .loops import Span, coalesce, const, same_memory, spans, vector_for, word_type
from .reductions import COMBINE
from .registry import Address, LowerContext, Operand
from .scatter_tables import PIECES, join_tables, new_tables, worth_tables
from .types import compute_type, ty_of

__all__ = ["SCATTERS", "scatter"]

_NS_PER_INDEX = 3.0
# Of a slice, a piece has at least so many bytes: it is found by every index anew, and single cache lines of rows far apart take two
# to three times as long to fetch as a few in a row (measured on Zen 5, where threads gained nothing by pieces of one line).
_PIECE_BYTES = 256
_POINTS_FROM = 16  # updates of single elements in a row, so many at least, have their offsets computed ahead, ...
_POINTS = 512  # ... at most so many at a time
_AT_ONCE = 4  # updates in an iteration
# So many updates of single elements at least are shared between threads by the elements that they are for.
_SHARED_FROM = 1 << 16

# name of the primitive -> operation of ``reductions.COMBINE`` (None: the update replaces the element)
SCATTERS = {"scatter": None, "scatter_add": "sum", "scatter_mul": "prod", "scatter_min": "min", "scatter_max": "max"}


@dataclass(frozen=True)
class _ScatterShape:
    """What a scatter kernel is specialised on."""

    op: str | None
    memory: Ty  # of one real number of the result, or the word that is moved
    update: Ty  # the same of the updates
    parts: int  # real numbers (words) that make an element and are combined at once
    index: Ty
    k: int
    safe: int  # dimensions in which slices do not collide, outside of the innermost
    serial: int  # dimensions of the indices that are walked in order
    within: int  # dimensions of the slice that are walked in order
    vector: bool  # the innermost safe dimension is contiguous in result and updates, and has one index
    drop: bool  # updates out of bounds are dropped
    points: Ty | None  # slices are single elements, many in a row: their offsets, in this type, are computed ahead
    wraps: bool  # negative indices count from the end
    unit_step: bool  # in the innermost serial dimension, indices and updates of neighbours are neighbours
    direct: bool  # the offsets are the indices, a vector's beside each other, and those out of bounds are dropped
    shares: int  # if not 0, the range is that of the result's elements; points in it are picked out by so many lanes
    lanes: int

    @property
    def key(self) -> tuple:
        return (
            self.op, str(self.memory), str(self.update), self.parts, str(self.index), self.k, self.safe, self.serial, self.within, self.vector,
            self.drop, str(self.points), self.wraps, self.unit_step, self.direct, self.shares, self.lanes,
        )  # fmt: skip


@contextmanager
def _nested(
    b: KernelBuilder, name: str, sizes: Sequence[Expr], offsets: Sequence[tuple[Expr, Sequence[Expr]]]
) -> Iterator[list[Expr]]:
    """Loops over all of ``sizes``, outermost first; yields the offsets there."""
    at = [first for first, _ in offsets]
    with ExitStack() as stack:
        for d, size in enumerate(sizes):
            i = stack.enter_context(b.for_(name, 0, size))
            at = [b.let("offset", o + i * strides[d]) for o, (_, strides) in zip(at, offsets)]
        yield at


class _Scatter:
    """The scatter kernel.

    For every span of safe positions: walk the indices in order, clip, walk the serial part of the slice, combine.
    """

    def __init__(self, s: _ScatterShape) -> None:
        self.s = s
        b = self.b = KernelBuilder("scatter" if s.op is None else f"scatter_{s.op}")
        self.out, self.indices = b.pointer("out", s.memory), b.pointer("indices", s.index)
        self.updates = b.pointer("updates", s.update)
        self.limits, self.steps = frame_axes(b, s.k)
        self.component, self.n = b.integer("component_step"), b.integer("n")
        self.safe, self.serial, self.within = (
            self._dims(name, rank) for name, rank in (("safe", s.safe), ("serial", s.serial), ("within", s.within))
        )

    def _dims(self, name: str, rank: int) -> list[list[Ref]]:
        """[sizes, result strides, index strides, update strides]."""
        return [
            [self.b.integer(f"{name}_{what}{d}") for d in range(rank)] for what in ("size", "out", "index", "update")
        ]

    def build(self) -> Kernel:
        b, s = self.b, self.s
        if s.shares:
            self._shares()
            return b.build()
        sizes, *strides = self.safe
        names = ("out_row", "index_row", "update_row")
        with spans(b, self.n, sizes, {name: (const(0), st) for name, st in zip(names, strides)}) as span:
            rows = [b.let(name, span.rows.offset[name]) for name in names]
            with self._walked(rows) as (to, at, of):
                if s.points:
                    self._points(to, at, of)
                else:
                    self._update(to, at, of, span)
        return b.build()

    def _walked(self, rows: Sequence[Expr]) -> AbstractContextManager[list[Expr]]:
        """The loops along the indices; of points, but the innermost."""
        walked = [column[:-1] if self.s.points else column for column in self.serial]
        return _nested(self.b, "g", walked[0], list(zip(rows, walked[1:])))

    def _shares(self) -> None:
        """Points in shares: who has all elements applies all, who has some looks for those in them first."""
        b, none = self.b, const(0)
        whole = b.let("whole", b.lo.eq(0) & b.hi.eq(self.n))
        for case, mine in ((whole, False), (~whole, True)):
            with b.if_(case), self._walked([none] * 3) as (to, at, of):
                self._points(to, at, of, mine)

    def _components(self, at: Expr) -> list[Expr]:
        """The index that lies at ``at``."""
        return [self.b.load(self.indices, at + self.component * j if j else at) for j in range(self.s.k)]

    def _update(self, to: Expr, at: Expr, of: Expr, span: Span) -> None:
        """Applies the update at ``of`` to the slice whose index is at ``at``."""
        b, s = self.b, self.s
        offset, inside = clipped_start(b, self._components(at), self.limits, self.steps, wraps=s.wraps)
        to = b.let("to", to + offset)
        if s.drop:
            with b.if_(inside):
                self._slice(to, of, span)
        else:
            self._slice(to, of, span)

    def _points(self, to: Expr, at: Expr, of: Expr, mine: bool = False) -> None:
        """Updates of single elements along the innermost serial dimension.

        The offsets of a block are computed first, by vectors (-1: the update is dropped); then the updates are applied in
        order, some to an iteration.  ``mine``: those in the range only, which are moved together before.
        """
        b, s = self.b, self.s
        assert s.points is not None
        size, _, index_step, update_step = (column[-1] for column in self.serial)
        lanes = self.s.shares if mine else 1
        offsets = b.alloc("offsets", s.points, _POINTS + lanes)
        places = b.alloc("places", s.points, _POINTS + lanes) if mine else offsets
        limits = [b.let("limit", v.cast(s.points)) for v in self.limits]
        steps = [b.let("step", v.cast(s.points)) for v in self.steps]

        def apply(first: Expr, j: Expr) -> None:
            offset = b.let("offset", b.load(offsets, j))
            place = b.load(places, j).cast(i64) if mine else j
            source = first + place if s.unit_step else of + (first + place) * update_step
            if s.drop and not mine:
                with b.if_(offset >= 0):
                    self._combine(b.let("element", to + offset.cast(i64)), source, 1)
            else:
                self._combine(b.let("element", to + offset.cast(i64)), source, 1)

        with b.for_("first", 0, size, _POINTS) as first:
            count: Expr = b.let("count", minimum(size - first, _POINTS))
            if mine and s.direct:
                count = self._kept(offsets, places, count, b.let("at", at + first))
            else:
                with b.for_("j", 0, count, vectorize=True) as j:
                    index = at + (first + j if s.unit_step else (first + j) * index_step)
                    offset, inside = clipped_start(b, self._components(index), limits, steps, s.points, s.wraps)
                    b.store(offsets, j, select(inside, offset, -1) if s.drop else offset)
                if mine:
                    count = self._kept(offsets, places, count)
            whole = b.let("whole", count & -_AT_ONCE)
            source = b.let("source", of + first) if s.unit_step else first
            with b.for_("j", 0, whole, _AT_ONCE) as j:
                for u in range(_AT_ONCE):
                    apply(source, j + u)
            with b.for_("j", whole, count) as j:
                apply(source, j)

    def _kept(self, offsets: str, places: str, count: Expr, at: Expr | None = None) -> Expr:
        """Moves the offsets in the range to the front, beside where they stood; how many they are.

        ``at``: they are the indices from there on, and those out of bounds are in nobody's range.
        """
        b, s, lanes = self.b, self.s, self.s.shares
        ty = b.types[offsets].vector(lanes)

        def splat(name: str, v: Expr) -> Expr:
            return b.let(name, v.cast(ty.scalar).splat(lanes))

        lo, size, n = (
            splat("mine", b.lo),
            splat("mine_size", b.hi - b.lo).bitcast(Ty("u", ty.bits, lanes)),
            splat("size", self.n),
        )
        lane = b.let("lane", Op("iota", (), ty))
        kept = b.var("kept", const(0))

        def keep(j: Expr, valid: Expr | None) -> None:
            if at is None:
                offset = b.let("offset", b.load(offsets, j, lanes))
            else:
                offset = b.let("offset", b.load(self.indices, at + j, lanes, valid).cast(ty))
                offset = b.let("wrapped", select(offset < 0, offset + n, offset)) if s.wraps else offset
            here = (offset - lo).bitcast(Ty("u", ty.bits, lanes)) < size
            here = b.let("here", here if valid is None else here & valid)
            b.store(offsets, kept, op_("compress", offset, here))
            b.store(places, kept, op_("compress", lane + j.cast(ty.scalar).splat(lanes), here))
            b.assign(kept, kept + op_("count", here))

        in_vectors(b, count, ty, keep)
        return b.let("kept", kept)

    def _slice(self, to: Expr, of: Expr, span: Span) -> None:
        sizes, out, _, update = self.within
        with _nested(self.b, "w", sizes, [(to, out), (of, update)]) as (element, source):
            if self.s.vector:
                vector_for(
                    self.b, span.begin, span.end, self.s.lanes,
                    lambda c, lanes, _: self._combine(element + c, source + c, lanes),
                )  # fmt: skip
            else:
                self._combine(element, source, 1)

    def _combine(self, to: Expr, of: Expr, lanes: int) -> None:
        b, s = self.b, self.s
        at = [(to, of)] if s.parts == 1 else [(to * s.parts + p, of * s.parts + p) for p in range(s.parts)]
        values: list[Expr] = [b.let("update", b.load(self.updates, u, lanes)) for _, u in at]
        if s.op is not None:
            old: list[Expr] = [b.let("old", b.load(self.out, o, lanes)) for o, _ in at]
            values = self._combined(s.op, old, values)
        for (o, _), v in zip(at, values):
            b.store(self.out, o, v)

    def _combined(self, op: str, old: list[Expr], values: list[Expr]) -> list[Expr]:
        combine = COMBINE[op]
        if self.s.parts == 2:
            return [self.b.let("new", v) for v in combine(self.b, tuple(old), tuple(values))]
        memory = old[0].ty
        wide = compute_type(memory)
        return [combine(self.b, old[0].cast(wide), values[0].cast(wide)).cast(memory)]


@dataclass(frozen=True)
class _ScatterDims:
    """(size, result stride, index stride, update stride) of the updates' dimensions, sorted by how they may run."""

    safe: Dims
    serial: Dims  # along the indices
    within: Dims  # along the slices


def _scatter_dims(eqn: Eqn, out: Operand, indices: Operand, updates: Operand, limits: dict[int, int]) -> _ScatterDims:
    window, inserted, moved, out_batch, index_batch = eqn.params["dimension_numbers"]
    unique = eqn.params["unique_indices"]
    slice_axes = iter([d for d in range(len(out.shape)) if d not in inserted and d not in out_batch])
    index_axes = iter(range(len(indices.shape) - 1))
    dims = _ScatterDims([], [], [])
    for d, (size, stride) in enumerate(zip(updates.shape, updates.strides)):
        if d in window:
            a = next(slice_axes)
            stays = unique or a not in moved or limits[a] == 0
            (dims.safe if stays else dims.within).append((size, out.strides[a], 0, stride))
        else:
            a = next(index_axes)
            along = out.strides[out_batch[index_batch.index(a)]] if a in index_batch else 0
            if unique or along:
                dims.safe.append((size, along, indices.strides[a], stride))
            else:  # row-major order: what the slices hold further out comes first
                dims.serial.extend([*dims.within, (size, along, indices.strides[a], stride)])
                dims.within.clear()
    dims.safe.sort(key=lambda d: -d[1])
    return dims


def scatter(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
    operand, indices, updates = ins
    (out,) = outs
    name, op = eqn.prim.name, SCATTERS[eqn.prim.name]
    if not out.size:
        return
    ty = ty_of(out.dtype)
    collide = not eqn.params["unique_indices"] and updates.size
    if collide and op in ("sum", "prod") and compute_type(ty) != ty:
        wide = ctx.scratch(-(-out.size * 4 // 64) * 64)
        convert(ctx, ctx.contiguous(operand), ty, wide, f32, out.size, f"{name} (widen)")
        _apply_updates(ctx, eqn, indices, updates, out, wide, f32)
        convert(ctx, wide, f32, out, ty, out.size, f"{name} (round)")
        return
    if not same_memory(operand, out):
        copy_strided(ctx, operand, out, f"{name} (copy)")
    if updates.size:
        _apply_updates(ctx, eqn, indices, updates, out, out, ty if op else word_type(out.dtype)[0])


def _apply_updates(
    ctx: LowerContext, eqn: Eqn, indices: Operand, updates: Operand, out: Operand, into: Operand | Address, memory: Ty
) -> None:
    """Appends the steps that apply the updates to ``into``, dense memory of the shape of ``out``."""
    name = eqn.prim.name
    op = SCATTERS[name]
    window, inserted, moved, out_batch, _ = eqn.params["dimension_numbers"]
    sizes = iter([updates.shape[d] for d in window])
    extent = [1 if d in inserted or d in out_batch else next(sizes) for d in range(len(out.shape))]
    limits = {d: out.shape[d] - extent[d] for d in moved}
    parts = word_type(out.dtype)[1] if op is None else 1 + dtypes.is_complex(out.dtype)
    update = memory if op is None else ty_of(updates.dtype)
    dims = _scatter_dims(eqn, out, indices, updates, limits)
    safe, serial, within = (coalesce(d) for d in (dims.safe, dims.serial, dims.within))
    vector = bool(safe) and safe[-1][1:] == (1, 0, 1)
    n = safe[-1][0] if vector else 1
    outer = safe[:-1] if vector else safe
    lanes = ctx.host.lanes(compute_type(memory)) if parts == 1 else 1
    drop, index = eqn.params["mode"] != "clip", ty_of(indices.dtype)
    axes = Axes(tuple(limits[d] for d in moved), tuple(out.strides[d] for d in moved))

    single = bool(moved) and not (vector or within)  # slices are single elements

    def apply(
        into: Operand | Address, indices: Operand, updates: Operand, outer: Dims, serial: Dims, points: bool, shares: bool = False
    ) -> None:  # fmt: skip
        offset = offset_type(index, out.size)
        unit_step = points and serial[-1][2:] == (1, 1)
        direct = (
            shares
            and unit_step
            and drop
            and axes.strides == (1,)
            and axes.limits == (out.size - 1,)
            and index == offset
        )
        shape = _ScatterShape(
            op, memory, update, parts, index, len(moved), len(outer), len(serial), len(within), vector, drop,
            offset if points else None, "wraps" in eqn.params, unit_step, direct, ctx.host.lanes(offset) if shares else 0, lanes,
        )  # fmt: skip
        kernel = ctx.kernel(("scatter", *shape.key), lambda: _Scatter(shape).build())
        table = tuple(d[k] for dims in (outer, serial, within) for k in range(4) for d in dims)
        total = n * math.prod(d[0] for d in outer)
        cost = math.prod(d[0] for d in serial) * (
            math.prod(d[0] for d in within) * (0.3 if vector else 1.5) + _NS_PER_INDEX * max(1, len(moved)) / n
        )
        span, total, chunk = (
            (out.size, out.size, SHARES) if shares else (n, total, chunk_for(total, cost, _PIECE_BYTES // memory.itemsize if vector else 1))
        )  # fmt: skip
        ctx.step(
            kernel, (into, indices, updates, *axes.integers, indices.strides[-1], span, *table), total, chunk, name, flops=updates.size,
            nbytes=3 * updates.size * out.dtype.itemsize, reads=(indices, updates), writes=(into,),
        )  # fmt: skip

    def apply_pieces(into: Operand | Address, room: int, outer: Dims, walked: tuple[int, ...]) -> None:
        """Equal pieces of the updates along ``walked``, each into elements that lie ``room`` further on."""
        count, _, index_step, update_step = walked
        each = count // PIECES
        pieces = (PIECES, room, each * index_step, each * update_step)
        apply(into, indices, updates, [*outer, pieces], [(each, 0, index_step, update_step)], True)

    def apply_rest(outer: Dims, walked: tuple[int, ...]) -> None:
        """The few updates along ``walked`` that make no whole piece."""
        count, _, index_step, update_step = walked
        done = count // PIECES * PIECES
        left = _from(indices, done * index_step), _from(updates, done * update_step)
        apply(into, *left, [*outer, (1, 0, 0, 0)], [(count - done, 0, index_step, update_step)], True)

    if single and not serial and outer and outer[-1][1] == 0 and outer[-1][0] >= PIECES * _POINTS_FROM:
        apply_pieces(into, 0, outer[:-1], outer[-1])
        apply_rest(outer[:-1], outer[-1])
    elif (
        single and op is not None and parts == 1 and not outer and len(serial) == 1 and serial[0][1] == 0
        and worth_tables(serial[0][0], out.size)
    ):  # fmt: skip
        tables = new_tables(ctx, name, op, out, memory)
        apply_pieces(tables, out.size, [], serial[0])
        join_tables(ctx, name, op, into, out.size, tables, memory)
        apply_rest([], serial[0])
    else:
        points = single and bool(serial) and serial[-1][1] == 0 and serial[-1][0] >= _POINTS_FROM
        alone = points and not outer and not any(d[1] for d in serial)
        shares = alone and ctx.host.arithmetic.compress and updates.size >= _SHARED_FROM and out.size >= MOST_SHARES
        apply(into, indices, updates, outer, serial, points, shares)


def _from(x: Operand, elements: int) -> Operand:
    return replace(x, offset=x.offset + elements)
