"""Gather and dynamic slices; the scatters stand in ``scatter.py``.

Here are gathers that only copy.  Those beside arithmetic are read inside of its loops (``jit/gathers.py`` says which).

``gather`` writes its result in order.  Where the innermost result dimension is part of the slices, one index serves a
whole row of copies (``_gather_rows``, ``_gather_short_rows``); where it comes from the indices, every element has its own
(``_gather_points``).  Starts are clipped in every mode, so where the promise of ``promise_in_bounds`` is broken a gather
clips, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fx.ir import Eqn

from ..cost import chunk_for
from ..loop_builder import KernelBuilder
from ..loop_ir import Expr, Kernel, Ty, i64, maximum, minimum, select
from .copies import (
    NS_PER_BYTE,
    Axes,
    Dims,
    clipped_start,
    copy_row,
    copy_slice,
    copy_strided,
    fill_dense,
    fill_words,
    frame_axes,
    offset_type,
)  # fmt: skip
from .loops import coalesce, const, same_memory, spans, word_type
from .registry import LowerContext, Operand, lowers
from .scatter import SCATTERS, scatter
from .types import ty_of

_NS_PER_INDEX = 3.0
_NARROW = 16  # rows of at most so many elements are written out
_POINTS = 512  # elements whose offsets are computed ahead of reading them
_AT_ONCE = 4  # elements that are read in an iteration

# ------------------------------------------------------------------------------------ dynamic slices


def _moving_axes(operand: Operand, sizes: Sequence[int], starts: Sequence[Operand]) -> tuple[list[Operand], Axes]:
    """The starts that can be other than 0, with what they move along."""
    moving = [d for d, (n, size) in enumerate(zip(operand.shape, sizes)) if size < n]
    limits = tuple(operand.shape[d] - sizes[d] for d in moving)
    return [starts[d] for d in moving], Axes(limits, tuple(operand.strides[d] for d in moving))


@lowers("dynamic_slice")
def _dynamic_slice(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
    operand, *starts = ins
    (out,) = outs
    moving, axes = _moving_axes(operand, out.shape, starts)
    copy_slice(ctx, "dynamic_slice", out, operand, list(zip(out.shape, out.strides, operand.strides)), moving, axes)


@lowers("dynamic_update_slice")
def _dynamic_update_slice(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
    operand, update, *starts = ins
    (out,) = outs
    if not same_memory(operand, out):
        copy_strided(ctx, operand, out, "dynamic_update_slice (copy)")
    moving, axes = _moving_axes(out, update.shape, starts)
    dims: Dims = list(zip(update.shape, out.strides, update.strides))
    copy_slice(ctx, "dynamic_update_slice", out, update, dims, moving, axes, into=True)


# ------------------------------------------------------------------------------------ gather


@dataclass(frozen=True)
class _GatherShape:
    """What a gather kernel is specialised on."""

    word: Ty
    words: int
    index: Ty
    k: int  # components of an index
    rank: int  # result dimensions outside of the innermost
    unit_step: (
        bool  # neighbours in a result row are neighbours in the operand (rows) or have neighbouring indices (points)
    )
    fill: bool
    along: bool  # (points) a position in a result row is one in the operand, too
    offset: Ty  # what offsets are computed in
    wraps: bool  # negative indices count from the end
    lanes: int

    @property
    def key(self) -> tuple:
        return (
            str(self.word), self.words, str(self.index), self.k, self.rank, self.unit_step, self.fill, self.along, str(self.offset), self.wraps, self.lanes
        )  # fmt: skip


class _GatherFrame:
    """The parameters of a gather kernel."""

    def __init__(self, b: KernelBuilder, s: _GatherShape) -> None:
        self.b, self.s = b, s
        self.out, self.x = b.pointer("out", s.word), b.pointer("x", s.word)
        self.indices = b.pointer("indices", s.index)
        self.fill = [b.integer(f"fill{w}").cast(s.word) for w in range(s.words)]
        self.limits, self.steps = ([v.cast(s.offset) for v in column] for column in frame_axes(b, s.k))
        self.component = b.integer("component_step")
        self.n, self.x_step, self.index_step = b.integer("n"), b.integer("x_step"), b.integer("index_step")
        sizes = [b.integer(f"size{d}") for d in range(s.rank)]
        x_strides, index_strides = (
            [b.integer(f"{name}{d}") for d in range(s.rank)] for name in ("x_stride", "index_stride")
        )
        self.sizes = sizes
        self.offsets = {"x_row": (const(0), x_strides), "index_row": (const(0), index_strides)}

    def start(self, at: Expr) -> tuple[Expr, Expr]:
        components = [self.b.load(self.indices, at + self.component * j if j else at) for j in range(self.s.k)]
        offset, inside = clipped_start(self.b, components, self.limits, self.steps, self.s.offset, self.s.wraps)
        return offset, inside

    def filling(self, c: Expr) -> Expr:
        """The fill value's word at position ``c`` of a row."""
        return self.fill[0] if self.s.words == 1 else select((c % 2).eq(0), *self.fill)


def _gather_rows(s: _GatherShape) -> Kernel:
    """The innermost result dimension runs inside the slices: one index for each row."""
    b = KernelBuilder("gather_rows")
    f = _GatherFrame(b, s)
    with spans(b, f.n, f.sizes, f.offsets) as span:
        offset, inside = f.start(span.rows.offset["index_row"])
        start = b.let("x_start", span.rows.offset["x_row"] + offset)
        step = None if s.unit_step else f.x_step
        if not s.fill:
            copy_row(b, f.out, span.base, f.x, start, span, step, s.lanes)
        else:
            with b.if_(inside):
                copy_row(b, f.out, span.base, f.x, start, span, step, s.lanes)
            with b.else_(), b.for_("c", span.begin, span.end, vectorize=True) as c:
                b.store(f.out, span.base + c, f.filling(c))
    return b.build()


def _gather_short_rows(s: _GatherShape, n: int) -> Kernel:
    """Rows of a few elements, such as points in space: each is written out, as a loop over it costs more than they do.

    The frame is that of the rows, of which each is ``n`` elements ``column_step`` apart."""
    b = KernelBuilder("gather_short_rows")
    f = _GatherFrame(b, s)
    step = b.integer("column_step")
    with spans(b, f.n, f.sizes, f.offsets) as span, b.for_("row", span.begin, span.end) as row:
        offset, inside = f.start(span.rows.offset["index_row"] + row * f.index_step)
        start = b.let(
            "x_start", span.rows.offset["x_row"] + row * f.x_step + offset
        )  # clipped: can be read in any case
        to = b.let("to", (span.base + row) * n)
        values = [b.let("v", b.load(f.x, start + (c if s.unit_step else step * c))) for c in range(n)]
        for c, v in enumerate(values):
            b.store(f.out, to + c, select(inside, v, f.filling(const(c))) if s.fill else v)
    return b.build()


def _gather_points(s: _GatherShape) -> Kernel:
    """Neighbours in the result have indices of their own: vectors of offsets first, a block of them, then the elements."""
    b = KernelBuilder("gather_points")
    f = _GatherFrame(b, s)
    offsets = b.alloc("offsets", s.offset, _POINTS)
    with spans(b, f.n, f.sizes, f.offsets) as span, b.for_("first", span.begin, span.end, _POINTS) as first:
        count = b.let("count", minimum(span.end - first, _POINTS))
        index_row, x_row = span.rows.offset["index_row"], span.rows.offset["x_row"]
        with b.for_("j", 0, count, vectorize=True) as j:
            c = first + j
            offset, inside = f.start(index_row + (c if s.unit_step else c * f.index_step))
            b.store(offsets, j, select(inside, offset, -1) if s.fill else offset)

        def element(j: Expr) -> Expr:
            offset = b.let("offset", b.load(offsets, j))
            here = x_row + (first + j) * f.x_step if s.along else x_row
            v = b.load(f.x, here + (maximum(offset, 0) if s.fill else offset).cast(i64))
            return b.let("v", select(offset >= 0, v, f.filling(first + j)) if s.fill else v)

        to = b.let("to", span.base + first)
        whole = b.let("whole", count & -_AT_ONCE)
        with b.for_("j", 0, whole, _AT_ONCE) as j:
            for u, v in enumerate([element(j + u) for u in range(_AT_ONCE)]):
                b.store(f.out, to + j + u, v)
        with b.for_("j", whole, count) as j:
            b.store(f.out, to + j, element(j))
    return b.build()


def _gather_dims(eqn: Eqn, x: Operand, indices: Operand, out: Operand) -> Dims:
    """(size, operand stride, index stride) of every result dimension, in the result's order."""
    offset_dims, collapsed, _, x_batch, index_batch = eqn.params["dimension_numbers"]
    slice_axes = iter([d for d in range(len(x.shape)) if d not in collapsed and d not in x_batch])
    index_axes = iter(range(len(indices.shape) - 1))
    dims: Dims = []
    for d, size in enumerate(out.shape):
        if d in offset_dims:
            dims.append((size, x.strides[next(slice_axes)], 0))
        else:
            a = next(index_axes)
            along = x.strides[x_batch[index_batch.index(a)]] if a in index_batch else 0
            dims.append((size, along, indices.strides[a]))
    return dims


@lowers("gather")
def _gather(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
    x, indices = ins
    (out,) = outs
    if not out.size:
        return
    if not x.size:
        fill_dense(ctx, out, eqn.params["fill_value"], "gather (nothing to read)")
        return
    index_map, slice_sizes = eqn.params["dimension_numbers"][2], eqn.params["slice_sizes"]
    word, words = word_type(x.dtype)
    dims = coalesce([(n, s * words, i) for n, s, i in _gather_dims(eqn, x, indices, out)] + [(words, 1, 0)])
    *outer, (n, x_step, index_step) = dims or [(1, 0, 0)]
    fill = eqn.params["mode"] == "fill" and len(index_map) > 0
    points = index_step != 0
    unit_step = index_step == 1 if points else x_step == 1
    limits = tuple(x.shape[d] - slice_sizes[d] for d in index_map)
    axes = Axes(limits, tuple(x.strides[d] * words for d in index_map))
    index = ty_of(indices.dtype)
    reach = sum(limit * abs(stride) for limit, stride in zip(axes.limits, axes.strides)) + 1
    offset = offset_type(index, reach) if points else i64
    shape = _GatherShape(
        word,
        words,
        index,
        len(index_map),
        len(outer),
        unit_step,
        fill,
        points and x_step != 0,
        offset,
        "wraps" in eqn.params,
        ctx.host.lanes(word),
    )
    total = out.size * words
    per_index = 1.0 if points else 1.0 / n
    cost = NS_PER_BYTE * word.itemsize + _NS_PER_INDEX * len(index_map) * per_index
    column: tuple[int, ...] = ()
    if not points and outer and n <= _NARROW:
        shape = replace(shape, rank=len(outer) - 1)
        count, column, cost = n, (x_step,), cost * n
        kernel = ctx.kernel(("gather", count, *shape.key), lambda: _gather_short_rows(shape, count))
        *outer, (n, x_step, index_step) = outer
        total //= count
    else:
        kernel = ctx.kernel(
            ("gather", points, *shape.key), lambda: _gather_points(shape) if points else _gather_rows(shape)
        )
    fills = fill_words(eqn.params["fill_value"] if fill else 0, x.dtype)
    transposed = tuple(zip(*outer)) if outer else ((), (), ())
    args = (
        out, x, indices, *fills, *axes.integers, indices.strides[-1], n, x_step, index_step,
        *(v for row in transposed for v in row), *column,
    )  # fmt: skip
    ctx.step(
        kernel, args, total, chunk_for(total, cost, 64 // word.itemsize), "gather",
        nbytes=2 * out.size * words * word.itemsize, reads=(x, indices), writes=(out,),
    )  # fmt: skip


for _name in SCATTERS:
    lowers(_name)(scatter)
