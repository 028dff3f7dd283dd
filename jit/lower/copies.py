"""Copies between strided arrays, whole or sliced at computed starts; fills and conversions of dense memory.

Every start is clipped into the array before an address is made of it, so no input can reach outside.  Code that only
moves data works on unsigned words of the element's size, two for complex128.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from fx import dtypes

from ..cost import chunk_for
from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Ref, Ty, b1, i32, i64, maximum, minimum, select
from .loops import Span, coalesce, const, spans, vector_for, whole_vectors, word_type
from .registry import Address, LowerContext, Operand
from .types import ty_of

__all__ = [
    "MANY_LANES", "NS_PER_BYTE", "Axes", "Dims", "clipped_start", "convert", "copy_row", "copy_slice", "copy_strided", "fill_dense",
    "fill_words", "filling", "frame_axes", "offset_type",
]  # fmt: skip

Dims = list[tuple[int, ...]]  # (size, stride, stride, ...), outermost first

_UNROLL = 4  # vectors in flight when a row is copied
MANY_LANES = (
    16  # from so many on, the elements that are left take longer one by one than a vector that crosses cache lines
)
NS_PER_BYTE = 0.15  # copying out of cache on one core

# ------------------------------------------------------------------------------------ clipped starts


@dataclass(frozen=True)
class Axes:
    """The operand axes that an index vector moves along: how far a slice may start, and how far apart elements lie."""

    limits: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def integers(self) -> tuple[int, ...]:
        return (*self.limits, *self.strides)


def frame_axes(b: KernelBuilder, k: int) -> tuple[list[Ref], list[Ref]]:
    return [b.integer(f"limit{j}") for j in range(k)], [b.integer(f"step{j}") for j in range(k)]


def offset_type(index: Ty, span: int) -> Ty:
    """The type to compute offsets in, into an array of ``span`` elements: vectors hold more of the narrow ones."""
    small = index.bits < 32 or index == i32
    return i32 if small and span < 1 << 31 else i64


def _as_signed(v: Expr, ty: Ty) -> Expr:
    """An index as ``ty``; unsigned ones too large for that become the largest."""
    if v.ty.kind == "u" and v.ty.bits == 64:
        v = minimum(v, (1 << 63) - 1)
    return v.cast(ty)


def clipped_start(
    b: KernelBuilder, components: Sequence[Expr], limits: Sequence[Expr], strides: Sequence[Expr], ty: Ty = i64,
    wraps: bool = False,
) -> tuple[Expr, Expr]:  # fmt: skip
    """Offset of the slice that starts at the clipped index, and whether the index needed no clipping.

    limits, strides: of the type ``ty`` (see ``offset_type``), like the offset.  wraps: negative indices count from the end of
    the axis, along which slices are one element.
    """
    offset: Expr = Const(0, ty)
    inside: Expr = Const(True, b1)
    for v, limit, stride in zip(components, limits, strides):
        v = b.let("start", _as_signed(v, ty))
        if wraps:
            v = b.let("wrapped", select(v < 0, v + limit + 1, v))
        clipped = b.let("clipped", minimum(maximum(v, 0), limit))
        inside = inside & v.eq(clipped)
        offset = offset + (clipped if isinstance(stride, Const) and stride.value == 1 else clipped * stride)
    return b.let("slice_offset", offset), inside


# ------------------------------------------------------------------------------------ strided copies


def _scaled(dims: Sequence[tuple[int, ...]], words: int) -> Dims:
    """Dimensions of elements as dimensions of words, with strides in words."""
    scaled = [(d[0], *(s * words for s in d[1:])) for d in dims]
    return [*scaled, (words, *(1,) * (len(dims[0]) - 1))] if words > 1 and scaled else scaled


def copy_row(
    b: KernelBuilder, dst: str, to: Expr, src: str, start: Expr, span: Span, step: Expr | None, lanes: int
) -> None:
    """``dst[to + c] = src[start + c*step]`` along the span; ``step`` None means 1.

    What is left behind the last whole vector of many lanes is copied by one that ends with the span, of a short span by two that
    begin and end with it: they overlap.
    """
    if step is not None:
        with b.for_("c", span.begin, span.end, vectorize=True) as c:
            b.store(dst, to + c, b.load(src, start + c * step))
        return

    def body(c: Expr, lanes: int, vectors: int) -> None:
        values = [b.let("v", b.load(src, start + c + u * lanes, lanes)) for u in range(vectors)]
        for u, v in enumerate(values):
            b.store(dst, to + c + u * lanes, v)

    def ends(width: int) -> None:
        """A span of less than twice the width."""
        if width == 1:
            with b.if_(span.begin < span.end):
                body(span.begin, 1, 1)
            return
        with b.if_(span.begin + width <= span.end):
            body(span.begin, width, 1)
            body(span.end - width, width, 1)
        with b.else_():
            ends(width // 2)

    if lanes < MANY_LANES:
        vector_for(b, span.begin, span.end, lanes, body, _UNROLL)
        return
    with b.if_(span.begin + lanes <= span.end):
        here = whole_vectors(b, span.begin, span.end, lanes, body, _UNROLL)
        with b.if_(here < span.end):
            body(span.end - lanes, lanes, 1)
    with b.else_():
        ends(lanes // 2)


def _copy_kernel(
    word: Ty, rank: int, strided: tuple[bool, bool], lanes: int, index: Ty | None, k: int, into: bool
) -> Kernel:
    """Copies a block, row by row; with ``k`` starts, at a clipped offset into the source or (``into``) the target."""
    b = KernelBuilder("copy_slice")
    dst, src = b.pointer("dst", word), b.pointer("src", word)
    starts = [b.pointer(f"start{j}", cast(Ty, index)) for j in range(k)]
    limits, steps = frame_axes(b, k)
    n = b.integer("n")
    dst_step, src_step = b.integer("dst_step"), b.integer("src_step")
    sizes = [b.integer(f"size{d}") for d in range(rank)]
    to, of = ([b.integer(f"{name}{d}") for d in range(rank)] for name in ("dst_stride", "src_stride"))
    offset, _ = clipped_start(b, [b.load(s, 0) for s in starts], limits, steps)
    begin_at = {"dst_row": (offset if into else const(0), to), "src_row": (const(0) if into else offset, of)}
    with spans(b, n, sizes, begin_at) as span:
        dst_row, src_row = span.rows.offset["dst_row"], span.rows.offset["src_row"]
        if strided[0]:
            with b.for_("c", span.begin, span.end, vectorize=True) as c:
                b.store(dst, dst_row + c * dst_step, b.load(src, src_row + c * (src_step if strided[1] else 1)))
        else:
            copy_row(b, dst, dst_row, src, src_row, span, src_step if strided[1] else None, lanes)
    return b.build()


def copy_slice(
    ctx: LowerContext, name: str, dst: Operand, src: Operand, dims: Dims, starts: Sequence[Operand] = (),
    axes: Axes = Axes((), ()), into: bool = False,
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
    axes = Axes(axes.limits, tuple(s * words for s in axes.strides))
    flat = (n, dst_step, src_step, *(d[0] for d in outer), *(d[1] for d in outer), *(d[2] for d in outer))
    total = n * math.prod(d[0] for d in outer)
    cost = NS_PER_BYTE * word.itemsize * (2 if any(strided) else 1) + 5.0 / n
    ctx.step(
        kernel, (dst, src, *starts, *axes.integers, *flat), total, chunk_for(total, cost, 64 // word.itemsize), name,
        nbytes=2 * total * word.itemsize, reads=(src, *starts), writes=(dst,),
    )  # fmt: skip


def copy_strided(ctx: LowerContext, src: Operand, dst: Operand, name: str = "copy") -> None:
    """Copies ``src`` into ``dst``; equal shapes, any strides."""
    copy_slice(ctx, name, dst, src, list(zip(dst.shape, dst.strides, src.strides)))


def _fill_kernel(word: Ty, words: int) -> Kernel:
    b = KernelBuilder("fill")
    out = b.pointer("out", word)
    values = [b.integer(f"value{w}").cast(word) for w in range(words)]
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        b.store(out, i, values[0] if words == 1 else select((i % 2).eq(0), *values))
    return b.build()


def filling(value: float | None, dtype: np.dtype) -> Any:
    """What a gather puts in place of slices out of bounds, as a number of ``dtype``; None: NaN, or the integer furthest from 0."""
    if value is None:
        if dtypes.is_bool(dtype):
            value = True
        elif dtypes.is_integer(dtype):
            value = np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max
        else:
            value = np.nan
    return np.array([value]).astype(dtype)[0]


def fill_words(value: float | None, dtype: np.dtype) -> tuple[int, ...]:
    """The words of ``filling``."""
    word, _ = word_type(dtype)
    return tuple(int(w) for w in np.array([filling(value, dtype)]).view(f"i{word.itemsize}"))


def fill_dense(ctx: LowerContext, out: Operand, value: float | None, name: str) -> None:
    """Sets every element of a dense array; ``value`` as for ``fill_words``."""
    word, words = word_type(out.dtype)
    kernel = ctx.kernel(("fill", str(word), words), lambda: _fill_kernel(word, words))
    total = out.size * words
    chunk = chunk_for(total, NS_PER_BYTE * word.itemsize, 64 // word.itemsize)
    ctx.step(
        kernel, (out, *fill_words(value, out.dtype)), total, chunk, name, nbytes=total * word.itemsize, writes=(out,)
    )


def _convert_kernel(src: Ty, dst: Ty) -> Kernel:
    b = KernelBuilder("convert")
    to, of = b.pointer("to", dst), b.pointer("of", src)
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        b.store(to, i, b.load(of, i).cast(dst))
    return b.build()


def convert(
    ctx: LowerContext, src: Operand | Address, of: Ty, dst: Operand | Address, to: Ty, size: int, name: str
) -> None:
    """Converts dense memory from one type to another."""
    kernel = ctx.kernel(("convert", str(of), str(to)), lambda: _convert_kernel(of, to))
    chunk = chunk_for(size, 2 * NS_PER_BYTE * max(of.itemsize, to.itemsize), 64)
    ctx.step(
        kernel, (dst, src), size, chunk, name, nbytes=size * (of.itemsize + to.itemsize), reads=(src,), writes=(dst,)
    )
