"""Gather, scatter, dynamic slices, and the strided copy that they share.

Every index is clipped into the operand before an address is made of it, in every mode, so no input can reach
outside of an array.  Where the promise of ``promise_in_bounds`` is broken, a gather clips and a scatter drops.

* ``gather`` writes its result in order.  Where the innermost result dimension is part of the slices, one index
  serves a whole row of copies (``_gather_rows``); where it comes from the indices, every element has its own
  (``_gather_points``).
* ``scatter`` applies the updates in row-major order of the updates.  It runs in parallel only over dimensions in
  which slices cannot collide: those that the indices do not move along, batching dimensions, and all of them where
  the indices are promised to be unique.  float16 and bfloat16 accumulate in a float32 copy, rounded once.

Code that only moves data works on unsigned words of the element's size, two for complex128.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from fx import dtypes
from fx.ir import Eqn

from ..cost import chunk_for
from ..loop_ir import Const, Expr, Kernel, KernelBuilder, Ref, Ty, b1, f32, i64, maximum, minimum, select
from .loops import Span, coalesce, const, same_memory, spans, vector_for, word_type
from .reductions import COMBINE
from .registry import Address, LowerContext, Operand, lowers
from .types import compute_type, ty_of

Dims = list[tuple[int, ...]]  # (size, stride, stride, ...), outermost first

_UNROLL = 4  # vectors in flight when a row is copied
_NS_PER_BYTE = 0.15  # copying out of cache on one core
_NS_PER_INDEX = 3.0

# ------------------------------------------------------------------------------------ clipped starts


@dataclass(frozen=True)
class _Axes:
    """The operand axes that an index vector moves along: how far a slice may start, and how far apart elements lie."""

    limits: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def integers(self) -> tuple[int, ...]:
        return (*self.limits, *self.strides)


def _frame_axes(b: KernelBuilder, k: int) -> tuple[list[Ref], list[Ref]]:
    return [b.integer(f"limit{j}") for j in range(k)], [b.integer(f"step{j}") for j in range(k)]


def _as_i64(v: Expr) -> Expr:
    """An index as i64; unsigned ones too large for that become the largest."""
    if v.ty.kind == "u" and v.ty.bits == 64:
        v = minimum(v, (1 << 63) - 1)
    return v.cast(i64)


def _start(
    b: KernelBuilder, components: Sequence[Expr], limits: Sequence[Expr], strides: Sequence[Expr]
) -> tuple[Expr, Expr]:
    """Offset of the slice that starts at the clipped index, and whether the index needed no clipping."""
    offset: Expr = const(0)
    inside: Expr = Const(True, b1)
    for v, limit, stride in zip(components, limits, strides):
        v = b.let("start", _as_i64(v))
        clipped = b.let("clipped", minimum(maximum(v, 0), limit))
        inside = inside & v.eq(clipped)
        offset = offset + clipped * stride
    return b.let("slice_offset", offset), inside


# ------------------------------------------------------------------------------------ strided copies


def _scaled(dims: Sequence[tuple[int, ...]], words: int) -> Dims:
    """Dimensions of elements as dimensions of words, with strides in words."""
    scaled = [(d[0], *(s * words for s in d[1:])) for d in dims]
    return [*scaled, (words, *(1,) * (len(dims[0]) - 1))] if words > 1 and scaled else scaled


def _copy_row(
    b: KernelBuilder, dst: str, to: Expr, src: str, start: Expr, span: Span, step: Expr | None, lanes: int
) -> None:
    """``dst[to + c] = src[start + c*step]`` along the span; ``step`` None means 1."""
    if step is not None:
        with b.for_("c", span.begin, span.end, vectorize=True) as c:
            b.store(dst, to + c, b.load(src, start + c * step))
        return

    def body(c: Expr, lanes: int, vectors: int) -> None:
        values = [b.let("v", b.load(src, start + c + u * lanes, lanes)) for u in range(vectors)]
        for u, v in enumerate(values):
            b.store(dst, to + c + u * lanes, v)

    vector_for(b, span.begin, span.end, lanes, body, _UNROLL)


def _copy_kernel(word: Ty, rank: int, strided: tuple[bool, bool], lanes: int, index: Ty | None, k: int, into: bool) -> Kernel:
    """Copies a block, row by row; with ``k`` starts, at a clipped offset into the source or (``into``) the target."""
    b = KernelBuilder("copy_slice")
    dst, src = b.pointer("dst", word), b.pointer("src", word)
    starts = [b.pointer(f"start{j}", index) for j in range(k)]
    limits, steps = _frame_axes(b, k)
    n = b.integer("n")
    dst_step, src_step = b.integer("dst_step"), b.integer("src_step")
    sizes = [b.integer(f"size{d}") for d in range(rank)]
    to, of = ([b.integer(f"{name}{d}") for d in range(rank)] for name in ("dst_stride", "src_stride"))
    offset, _ = _start(b, [b.load(s, 0) for s in starts], limits, steps)
    begin_at = {"dst_row": (offset if into else const(0), to), "src_row": (const(0) if into else offset, of)}
    with spans(b, n, sizes, begin_at) as span:
        dst_row, src_row = span.rows.offset["dst_row"], span.rows.offset["src_row"]
        if strided[0]:
            with b.for_("c", span.begin, span.end, vectorize=True) as c:
                b.store(dst, dst_row + c * dst_step, b.load(src, src_row + c * (src_step if strided[1] else 1)))
        else:
            _copy_row(b, dst, dst_row, src, src_row, span, src_step if strided[1] else None, lanes)
    return b.build()


def _copy(
    ctx: LowerContext, name: str, dst: Operand, src: Operand, dims: Dims, starts: Sequence[Operand] = (),
    axes: _Axes = _Axes((), ()), into: bool = False,
) -> None:  # fmt: skip
    """Appends the step that copies ``dims`` (size, target stride, source stride), both strides in elements."""
    if math.prod(d[0] for d in dims) == 0:
        return
    word, words = word_type(dst.dtype)
    dims = coalesce(_scaled(dims or [(1, 1, 1)], words)) or [(1, 1, 1)]
    *outer, (n, dst_step, src_step) = dims
    strided = (dst_step != 1, src_step != 1)
    lanes = ctx.host.lanes(word)
    index = ty_of(starts[0].dtype) if starts else None
    kernel = ctx.kernel(
        ("copy_slice", str(word), len(outer), strided, lanes, str(index), len(starts), into),
        lambda: _copy_kernel(word, len(outer), strided, lanes, index, len(starts), into),
    )
    axes = _Axes(axes.limits, tuple(s * words for s in axes.strides))
    flat = (n, dst_step, src_step, *(d[0] for d in outer), *(d[1] for d in outer), *(d[2] for d in outer))
    total = n * math.prod(d[0] for d in outer)
    cost = _NS_PER_BYTE * word.itemsize * (2 if any(strided) else 1) + 5.0 / n
    ctx.step(
        kernel, (dst, src, *starts, *axes.integers, *flat), total, chunk_for(total, cost, 64 // word.itemsize), name,
        nbytes=2 * total * word.itemsize, reads=(src, *starts), writes=(dst,),
    )  # fmt: skip


def copy_strided(ctx: LowerContext, src: Operand, dst: Operand, name: str = "copy") -> None:
    """Copies ``src`` into ``dst``; equal shapes, any strides."""
    _copy(ctx, name, dst, src, list(zip(dst.shape, dst.strides, src.strides)))


def _fill_kernel(word: Ty, words: int) -> Kernel:
    b = KernelBuilder("fill")
    out = b.pointer("out", word)
    values = [b.integer(f"value{w}").cast(word) for w in range(words)]
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        b.store(out, i, values[0] if words == 1 else select((i % 2).eq(0), *values))
    return b.build()


def fill_dense(ctx: LowerContext, out: Operand, value: float | None, name: str) -> None:
    """Sets every element of a dense array; ``value`` as for ``fill_words``."""
    word, words = word_type(out.dtype)
    kernel = ctx.kernel(("fill", str(word), words), lambda: _fill_kernel(word, words))
    total = out.size * words
    chunk = chunk_for(total, _NS_PER_BYTE * word.itemsize, 64 // word.itemsize)
    ctx.step(kernel, (out, *fill_words(value, out.dtype)), total, chunk, name, nbytes=total * word.itemsize, writes=(out,))


def _convert_kernel(src: Ty, dst: Ty) -> Kernel:
    b = KernelBuilder("convert")
    to, of = b.pointer("to", dst), b.pointer("of", src)
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        b.store(to, i, b.load(of, i).cast(dst))
    return b.build()


def _convert(ctx: LowerContext, src: Operand | Address, of: Ty, dst: Operand | Address, to: Ty, size: int, name: str) -> None:
    """Converts dense memory from one type to another."""
    kernel = ctx.kernel(("convert", str(of), str(to)), lambda: _convert_kernel(of, to))
    chunk = chunk_for(size, 2 * _NS_PER_BYTE * max(of.itemsize, to.itemsize), 64)
    ctx.step(kernel, (dst, src), size, chunk, name, nbytes=size * (of.itemsize + to.itemsize), reads=(src,), writes=(dst,))


# ------------------------------------------------------------------------------------ dynamic slices


def _moving_axes(operand: Operand, sizes: Sequence[int], starts: Sequence[Operand]) -> tuple[list[Operand], _Axes]:
    """The starts that can be other than 0, with what they move along."""
    moving = [d for d, (n, size) in enumerate(zip(operand.shape, sizes)) if size < n]
    limits = tuple(operand.shape[d] - sizes[d] for d in moving)
    return [starts[d] for d in moving], _Axes(limits, tuple(operand.strides[d] for d in moving))


@lowers("dynamic_slice")
def _dynamic_slice(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
    operand, *starts = ins
    (out,) = outs
    moving, axes = _moving_axes(operand, out.shape, starts)
    _copy(ctx, "dynamic_slice", out, operand, list(zip(out.shape, out.strides, operand.strides)), moving, axes)


@lowers("dynamic_update_slice")
def _dynamic_update_slice(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
    operand, update, *starts = ins
    (out,) = outs
    if not same_memory(operand, out):
        copy_strided(ctx, operand, out, "dynamic_update_slice (copy)")
    moving, axes = _moving_axes(out, update.shape, starts)
    dims = list(zip(update.shape, out.strides, update.strides))
    _copy(ctx, "dynamic_update_slice", out, update, dims, moving, axes, into=True)


# ------------------------------------------------------------------------------------ gather


@dataclass(frozen=True)
class _GatherShape:
    """What a gather kernel is specialised on."""

    word: Ty
    words: int
    index: Ty
    k: int  # components of an index
    rank: int  # result dimensions outside of the innermost
    unit_step: bool  # neighbours in a result row are neighbours in the operand (rows) or have neighbouring indices (points)
    fill: bool
    lanes: int

    @property
    def key(self) -> tuple:
        return (str(self.word), self.words, str(self.index), self.k, self.rank, self.unit_step, self.fill, self.lanes)


class _GatherFrame:
    """The parameters of a gather kernel."""

    def __init__(self, b: KernelBuilder, s: _GatherShape) -> None:
        self.b, self.s = b, s
        self.out, self.x = b.pointer("out", s.word), b.pointer("x", s.word)
        self.indices = b.pointer("indices", s.index)
        self.fill = [b.integer(f"fill{w}").cast(s.word) for w in range(s.words)]
        self.limits, self.steps = _frame_axes(b, s.k)
        self.component = b.integer("component_step")
        self.n, self.x_step, self.index_step = b.integer("n"), b.integer("x_step"), b.integer("index_step")
        sizes = [b.integer(f"size{d}") for d in range(s.rank)]
        x_strides, index_strides = ([b.integer(f"{name}{d}") for d in range(s.rank)] for name in ("x_stride", "index_stride"))
        self.sizes = sizes
        self.offsets = {"x_row": (const(0), x_strides), "index_row": (const(0), index_strides)}

    def start(self, at: Expr) -> tuple[Expr, Expr]:
        components = [self.b.load(self.indices, at + self.component * j if j else at) for j in range(self.s.k)]
        return _start(self.b, components, self.limits, self.steps)

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
            _copy_row(b, f.out, span.base, f.x, start, span, step, s.lanes)
        else:
            with b.if_(inside):
                _copy_row(b, f.out, span.base, f.x, start, span, step, s.lanes)
            with b.else_(), b.for_("c", span.begin, span.end, vectorize=True) as c:
                b.store(f.out, span.base + c, f.filling(c))
    return b.build()


def _gather_points(s: _GatherShape) -> Kernel:
    """Neighbours in the result have indices of their own."""
    b = KernelBuilder("gather_points")
    f = _GatherFrame(b, s)
    with spans(b, f.n, f.sizes, f.offsets) as span, b.for_("c", span.begin, span.end, vectorize=True) as c:
        at = span.rows.offset["index_row"] + (c if s.unit_step else c * f.index_step)
        offset, inside = f.start(b.let("at", at))
        v = b.load(f.x, span.rows.offset["x_row"] + c * f.x_step + offset)
        b.store(f.out, span.base + c, select(inside, v, f.filling(c)) if s.fill else v)
    return b.build()


def fill_words(value: float | None, dtype: np.dtype) -> tuple[int, ...]:
    """The words of what a gather puts in place of slices out of bounds; None: NaN, or the integer furthest from 0."""
    if value is None:
        if dtypes.is_bool(dtype):
            value = True
        elif dtypes.is_integer(dtype):
            value = np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max
        else:
            value = np.nan
    word, _ = word_type(dtype)
    return tuple(int(w) for w in np.array([value]).astype(dtype).view(f"i{word.itemsize}"))


def _gather_dims(eqn: Eqn, x: Operand, indices: Operand, out: Operand) -> Dims:
    """(size, operand stride, index stride) of every result dimension, in the result's order."""
    offset_dims, collapsed, _, x_batch, index_batch = eqn.params["dimension_numbers"]
    slice_axes = iter([d for d in range(len(x.shape)) if d not in collapsed and d not in x_batch])
    index_axes = iter(range(len(indices.shape) - 1))
    dims = []
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
    shape = _GatherShape(
        word, words, ty_of(indices.dtype), len(index_map), len(outer), unit_step, fill, ctx.host.lanes(word)
    )
    kernel = ctx.kernel(
        ("gather", points, *shape.key), lambda: _gather_points(shape) if points else _gather_rows(shape)
    )
    limits = tuple(x.shape[d] - slice_sizes[d] for d in index_map)
    axes = _Axes(limits, tuple(x.strides[d] * words for d in index_map))
    fills = fill_words(eqn.params["fill_value"] if fill else 0, x.dtype)
    transposed = tuple(zip(*outer)) if outer else ((), (), ())
    args = (
        out, x, indices, *fills, *axes.integers, indices.strides[-1], n, x_step, index_step,
        *(v for column in transposed for v in column),
    )  # fmt: skip
    total = out.size * words
    per_index = 1.0 if points else 1.0 / n
    cost = _NS_PER_BYTE * word.itemsize + _NS_PER_INDEX * len(index_map) * per_index
    ctx.step(
        kernel, args, total, chunk_for(total, cost, 64 // word.itemsize), "gather",
        nbytes=2 * total * word.itemsize, reads=(x, indices), writes=(out,),
    )  # fmt: skip


# ------------------------------------------------------------------------------------ scatter

# name of the primitive -> operation of ``reductions.COMBINE`` (None: the update replaces the element)
_SCATTERS = {"scatter": None, "scatter_add": "sum", "scatter_mul": "prod", "scatter_min": "min", "scatter_max": "max"}


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
    lanes: int

    @property
    def key(self) -> tuple:
        return (
            self.op, str(self.memory), str(self.update), self.parts, str(self.index), self.k, self.safe, self.serial, self.within, self.vector,
            self.drop, self.lanes,
        )  # fmt: skip


@contextmanager
def _nested(b: KernelBuilder, name: str, sizes: Sequence[Expr], offsets: Sequence[tuple[Expr, Sequence[Expr]]]) -> Iterator[list[Expr]]:
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
        self.limits, self.steps = _frame_axes(b, s.k)
        self.component, self.n = b.integer("component_step"), b.integer("n")
        self.safe, self.serial, self.within = (
            self._dims(name, rank) for name, rank in (("safe", s.safe), ("serial", s.serial), ("within", s.within))
        )

    def _dims(self, name: str, rank: int) -> list[list[Ref]]:
        """[sizes, result strides, index strides, update strides]."""
        return [[self.b.integer(f"{name}_{what}{d}") for d in range(rank)] for what in ("size", "out", "index", "update")]

    def build(self) -> Kernel:
        b, s = self.b, self.s
        sizes, *strides = self.safe
        names = ("out_row", "index_row", "update_row")
        with spans(b, self.n, sizes, {name: (const(0), st) for name, st in zip(names, strides)}) as span:
            rows = [b.let(name, span.rows.offset[name]) for name in names]
            with _nested(b, "g", self.serial[0], list(zip(rows, self.serial[1:]))) as (to, at, of):
                components = [b.load(self.indices, at + self.component * j if j else at) for j in range(s.k)]
                offset, inside = _start(b, components, self.limits, self.steps)
                to = b.let("to", to + offset)
                if s.drop:
                    with b.if_(inside):
                        self._slice(to, of, span)
                else:
                    self._slice(to, of, span)
        return b.build()

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
        values = [b.let("update", b.load(self.updates, u, lanes)) for _, u in at]
        if s.op is not None:
            old = [b.let("old", b.load(self.out, o, lanes)) for o, _ in at]
            values = self._combined(old, values)
        for (o, _), v in zip(at, values):
            b.store(self.out, o, v)

    def _combined(self, old: list[Expr], values: list[Expr]) -> list[Expr]:
        combine = COMBINE[self.s.op]
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


def _scatter(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
    operand, indices, updates = ins
    (out,) = outs
    name, op = eqn.prim.name, _SCATTERS[eqn.prim.name]
    if not out.size:
        return
    ty = ty_of(out.dtype)
    collide = not eqn.params["unique_indices"] and updates.size
    if collide and op in ("sum", "prod") and compute_type(ty) != ty:
        wide = ctx.scratch(-(-out.size * 4 // 64) * 64)
        _convert(ctx, ctx.contiguous(operand), ty, wide, f32, out.size, f"{name} (widen)")
        _apply_updates(ctx, eqn, indices, updates, out, wide, f32)
        _convert(ctx, wide, f32, out, ty, out.size, f"{name} (round)")
        return
    if not same_memory(operand, out):
        copy_strided(ctx, operand, out, f"{name} (copy)")
    if updates.size:
        _apply_updates(ctx, eqn, indices, updates, out, out, ty if op else word_type(out.dtype)[0])


def _apply_updates(
    ctx: LowerContext, eqn: Eqn, indices: Operand, updates: Operand, out: Operand, into: Operand | Address, memory: Ty
) -> None:
    """Appends the step that applies the updates to ``into``, dense memory of the shape of ``out``."""
    name = eqn.prim.name
    op = _SCATTERS[name]
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
    shape = _ScatterShape(
        op, memory, update, parts, ty_of(indices.dtype), len(moved), len(outer), len(serial), len(within), vector,
        eqn.params["mode"] != "clip", lanes,
    )  # fmt: skip
    kernel = ctx.kernel(("scatter", *shape.key), lambda: _Scatter(shape).build())
    axes = _Axes(tuple(limits[d] for d in moved), tuple(out.strides[d] for d in moved))
    table = tuple(d[k] for dims in (outer, serial, within) for k in range(4) for d in dims)
    args = (into, indices, updates, *axes.integers, indices.strides[-1], n, *table)
    total = n * math.prod(d[0] for d in outer)
    walked = math.prod(d[0] for d in serial)
    cost = walked * (math.prod(d[0] for d in within) * (0.3 if vector else 1.5) + _NS_PER_INDEX * max(1, len(moved)) / n)
    ctx.step(
        kernel, args, total, chunk_for(total, cost, 64 // memory.itemsize if vector else 1), name, flops=updates.size,
        nbytes=3 * updates.size * out.dtype.itemsize, reads=(indices, updates), writes=(into,),
    )  # fmt: skip


for _name in _SCATTERS:
    lowers(_name)(_scatter)
