"""``conv_general_dilated`` as strided contractions (``contract.py``) on the image.

Along one spatial dimension, with output y and window position j,

    out[y] = sum_j  image[stride * y + j * rhs_dilation - lo] * window[j]

so rows (y) and k (j) both step through the image, and every layout, flip or transposition of the operands is a matter
of strides.  In the gradient with respect to the weights the roles are only renamed: the window is large, the output
is the small kernel, and the "channels" are the images of the batch.

Where the channels lie apart and pixels together (NCHW), the columns of a product are pixels, and its rows are channels.

A dilated image (the gradient with respect to the input of a strided convolution) is not expanded: outputs whose
positions agree modulo the dilation see the same window positions, and each such *phase* is a contraction of its own on
the image as it is.  Padding is left out where it can be: outputs at the border see a part of the window (``window_rows.py``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fx import dtypes
from fx.ir import Eqn

from ..kernels.conv import PAD_DIMS, pad_kernel
from ..kernels.microkernel import Epilogue, tile_for
from ..loop_ir import Ty
from .contract import contract, is_blocked
from .contract_blocked import UNROLL, blocked, copies_slabs
from .contraction import BYTES_PER_NS, Array, Contraction, Dims, row_major, run, scratch, size
from .conv_geometry import Axis, ImageSource, Phase, axes_of, phases, shifted, thinned
from .depthwise import depthwise, depthwise_weights
from .linalg import array_of, sum_type
from .loops import coalesce
from .registry import Arg, LowerContext, Operand, lowers_product
from .window_rows import WindowRows, gains_parts

CHANNELS = 64  # of the image that lie together where they are rows of a product over pixels: a pixel of 4 cache lines
MULTIPLIER = 8  # outputs of a channel up to which a depthwise convolution is vectorised over the channels


@dataclass(frozen=True, slots=True)
class _Image:
    """The left operand with strides in reals; ``shift`` is what padding adds to every position of an axis.

    ``block``: how many indices of the batch lie together, and the distance of two such groups.
    ``source``: the image is nowhere, and this is what slabs of it are copied from.
    """

    array: Array
    n: int
    c: int
    spatial: tuple[int, ...]
    shift: tuple[int, ...]
    block: tuple[int, int] | None = None
    source: ImageSource | None = None


@lowers_product("conv_general_dilated")
def conv_general_dilated(
    ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...], epilogue: Epilogue | None
) -> bool:
    """Returns whether it took the epilogue: where it is one contraction."""
    (lhs, rhs), (out,) = ins, outs
    if out.size == 0:
        return False
    pairs = dtypes.is_complex(out.dtype)
    read = axes_of(eqn.params, (lhs, rhs, out), 2 if pairs else 1)
    axes = [thinned(x) for x in read]
    compute = sum_type(lhs.dtype, out.dtype)
    if not pairs and any(f(ctx, eqn.params, axes, (lhs, rhs, out), compute) for f in (depthwise, depthwise_weights)):
        return False
    planes = not pairs and _along_planes(ctx, axes, lhs, rhs, compute, eqn.params)
    conv = _Convolution(ctx, eqn.params, lhs, rhs, out, axes, compute, pairs, planes)
    border = epilogue is None and conv.leaves_out_the_border()
    in_slabs = lambda image: not border and conv.copies_slabs(image, epilogue is not None)
    image = _image(
        ctx, lhs, eqn.params["lhs_spec"], axes, compute, pairs, conv.groups > 1, planes, not border, axes != read, in_slabs
    )  # fmt: skip
    unit = 2 if pairs else 1
    taken = False
    found = [phase for phase in itertools.product(*(phases(x) for x in axes)) if all(f.count for f in phase)]
    for phase in found:
        meet = list(zip(axes, phase, image.spatial, image.shift))
        problem = conv.problem(phase, image)
        b = shifted(array_of(rhs), sum(f.window * x.window_stride for x, f, _, _ in meet), unit)
        c = shifted(array_of(out), sum(f.first * x.out_stride for x, f, _, _ in meet), unit)
        if border and all(f.taps for f in phase):
            problem, window = conv.by_parts(problem, phase, image)
            blocked(ctx, "conv", problem, image.array, b, c, window=window)
            continue
        start, source = sum((f.origin + shift) * s for _, f, s, shift in meet if f.taps), image.source
        a = image.array if source else shifted(image.array, start, unit)
        source = source and replace(source, start=start)
        if planes and problem.cols:
            problem, a, b = problem.transposed(), b, a
        taken = contract(ctx, "conv", problem, a, b, c, epilogue if len(found) == 1 else None, source)
    return taken


@dataclass(frozen=True, slots=True)
class _Convolution:
    """A convolution, and the contractions that compute it."""

    ctx: LowerContext
    params: dict[str, Any]
    lhs: Operand
    rhs: Operand
    out: Operand
    axes: list[Axis]
    compute: Ty
    pairs: bool
    planes: bool

    @property
    def groups(self) -> int:
        return self.params["feature_group_count"] * self.params["batch_group_count"]

    def problem(self, phase: Sequence[Phase], image: _Image) -> Contraction:
        """The contraction of a phase of the outputs."""
        p, unit = self.params, 2 if self.pairs else 1
        groups, batch_groups = p["feature_group_count"], p["batch_group_count"]
        a_n, a_c = (self.lhs.shape[d] for d in p["lhs_spec"][:2])
        rows_n, depth, columns = a_n // batch_groups, a_c // groups, self.rhs.shape[p["rhs_spec"][0]] // self.groups
        b_o, b_i = (self.rhs.strides[d] * unit for d in p["rhs_spec"][:2])
        c_n, c_o = (self.out.strides[d] * unit for d in p["out_spec"][:2])
        batch: Dims = (
            (groups, depth * image.c, columns * b_o, columns * c_o),
            (batch_groups, rows_n * image.n, columns * b_o, columns * c_o),
        )
        cols: Dims = ((columns, b_o, c_o),)
        if image.block is not None:
            rows_n, far = image.block
            batch = (*batch, (a_n // rows_n, far, 0, rows_n * c_n))
        alone = max(groups, batch_groups if rows_n == 1 else 1)  # channels, each convolved on its own
        if depth == 1 and alone >= self.ctx.host.lanes(self.compute) and columns <= MULTIPLIER:
            batch, cols = (*batch, (columns, 0, b_o, c_o)), ()
        meet = list(zip(self.axes, phase, image.spatial))
        rows: Dims = ((rows_n, image.n, c_n), *((f.count, f.y_step * s, f.step * x.out_stride) for x, f, s in meet))
        if self.planes and not cols:  # depthwise: the last axis is a batch of which the kernel makes vectors
            (n_x, a_x, c_x), rows = rows[-1], rows[:-1]
            batch = (*batch, (n_x, a_x, 0, c_x))
        ks = tuple((f.taps, f.j_step * s, f.window_step * x.window_stride) for x, f, s in meet)
        return Contraction(batch, rows, cols, (*ks, (depth, image.c, b_i)), self.compute, self.pairs)

    def leaves_out_the_border(self) -> bool:
        """Whether there is padding, and the contraction is one of those that can leave it out."""
        axes, (n, c) = self.axes, self.params["lhs_spec"][:2]
        together = self.lhs.shape[c] == 1 or self.lhs.strides[c] == 1 or self.lhs.strides[n] != 1
        if self.pairs or self.planes or _is_swapped(axes) or not together or not 1 <= len(axes) <= 2:
            return False
        if not any(max(_margins(x)) for x in axes):
            return False
        extents = [x.size + sum(_margins(x)) for x in axes]
        depth = self.lhs.shape[c]
        spatial = row_major(tuple((extent,) for extent in extents), depth)
        image = _Image(
            array_of(self.lhs), math.prod(extents) * depth, 1, spatial, (0,) * len(axes)
        )  # if it were padded
        for phase in itertools.product(*(phases(x) for x in axes)):
            p = self.problem(phase, image)
            a, b = Array(image.array.at, self.compute), array_of(self.rhs)
            if size(p.ks) <= UNROLL or not p.cols or not is_blocked(self.ctx, p, a, b):
                return False
            mr = tile_for(self.ctx.host, self.compute, size(p.rows), size(p.cols), size(p.ks)).mr
            if not gains_parts(self.lhs.shape[n], phase, [x.size for x in axes], mr):
                return False
        return True

    def copies_slabs(self, image: _Image, keep_rows: bool) -> bool:
        """Whether the contractions copy what they read of an image, so that it need not lie as they say."""
        if self.groups > 1 or not self.lhs.size:
            return False
        a, b = Array(image.array.at, self.compute), array_of(self.rhs)
        problems = [self.problem(phase, image) for phase in itertools.product(*(phases(x) for x in self.axes))]
        return all(is_blocked(self.ctx, p, a, b) and copies_slabs(self.ctx, p, keep_rows) for p in problems)

    def by_parts(self, p: Contraction, phase: Sequence[Phase], image: _Image) -> tuple[Contraction, WindowRows]:
        """``p`` with the rows (image, y, x), which begin where the image does."""
        *ks, channels = p.ks
        rows, lone = list(p.rows), (1, 0, 0)
        phase, sizes, strides = list(phase), [x.size for x in self.axes], list(image.spatial)
        if len(ks) == 1:
            ks, rows, phase = [lone, *ks], [rows[0], lone, rows[1]], [Phase(0, 1, 1, 0, 1, 1, 0, 1, 1), *phase]
            sizes, strides = [1, *sizes], [0, *strides]
        behind = coalesce((ks[1], channels))
        merged = len(behind) <= 1
        loops = tuple(behind) or (lone,) if merged else (ks[1], channels)
        window = WindowRows(
            rows[0][0], (phase[0], phase[1]), (sizes[0], sizes[1]), (strides[0], strides[1]), (rows[1][2], rows[2][2]),
            channels[0], merged,
        )  # fmt: skip
        return replace(p, rows=tuple(rows), ks=(ks[0], *loops)), window


def _along_planes(
    ctx: LowerContext, axes: Sequence[Axis], lhs: Operand, rhs: Operand, compute: Ty, params: dict[str, Any]
) -> bool:  # fmt: skip
    """Whether the image can stay with its pixels together: a step along the last axis is one of the output, and vectors
    of its pixels are nearly full."""
    (n, c), lanes = params["lhs_spec"][:2], ctx.host.lanes(compute)
    if not 1 <= len(axes) <= 2 or lhs.shape[c] == 1 or lhs.strides[c] == 1 or lhs.strides[n] == 1:
        return False
    x = axes[-1]
    steps = (x.image_stride, x.out_stride, x.stride, *(y.dilation for y in axes))
    if any(step != 1 for step in steps) or math.prod(y.window for y in axes) > math.prod(y.out for y in axes):
        return False
    groups, batch_groups = params["feature_group_count"], params["batch_group_count"]
    outputs = rhs.shape[params["rhs_spec"][0]]
    if groups == lhs.shape[c] and batch_groups == 1:
        return array_of(rhs).ty == compute and groups >= lanes and outputs <= groups * MULTIPLIER and x.out >= 2 * lanes
    run = x.out  # of pixels that are together in the image and in the output
    for y in reversed(axes[:-1]):
        if not (y.stride == y.window == x.window == 1 and x.size == x.out and y.image_stride == y.out_stride == run):
            break
        run = run * y.out
    full = -(-run // (2 * lanes)) * (2 * lanes)
    return groups * batch_groups == 1 and full * 10 <= run * 11


def _is_swapped(axes: Sequence[Axis]) -> bool:
    """Whether the window is larger than the output: then the channels are rows and the batch is part of k, or the reverse."""
    return math.prod(x.window for x in axes) > math.prod(x.out for x in axes)


# --------------------------------------------------------------------------------------------- the image


def _image(
    ctx: LowerContext, lhs: Operand, spec: tuple[int, ...], axes: list[Axis], compute: Ty, pairs: bool, grouped: bool,
    planes: bool, margins: bool, thin: bool, in_slabs: Callable[[_Image], bool],
) -> _Image:  # fmt: skip
    """The left operand as the contraction reads it: itself, or a copy with the fitting dimension innermost, which are pixels
    if it has ``planes``, and with the ``margins`` that the windows reach into.

    ``in_slabs``: whether an image that is nowhere will do.  ``thin``: positions in between are not read.  Where k goes through such an
    image, a copy has it in one loop, and in lines that are not a power of two apart."""
    unit = 2 if pairs else 1
    n, c = (lhs.strides[d] * unit for d in spec[:2])
    count_n, count_c = (lhs.shape[d] for d in spec[:2])
    array = array_of(lhs)
    swapped = _is_swapped(axes)
    by_n = not pairs and count_c > 1 and c != unit and (n == unit or swapped) and not planes
    below, above = zip(*(_margins(x) if margins else (0, 0) for x in axes)) if axes else ((), ())
    same = array.ty == compute or (array.ty.kind in "iu" and compute.kind in "iu" and array.ty.bits == compute.bits)
    if same:  # integers with and without a sign have the same products
        array = Array(array.at, compute)
    scattered = count_c > 1 and c != unit and n != unit and not swapped and not planes
    together = count_n
    if by_n and not grouped and count_n > CHANNELS and math.prod(x.out for x in axes) > 1:
        together = max(d for d in range(1, CHANNELS + 1) if count_n % d == 0)
    blocked = CHANNELS // 4 <= together < count_n
    apart = thin and by_n and swapped
    if same and not scattered and not blocked and not apart and not any(below) and not any(above):
        return _Image(array, n, c, tuple(x.image_stride for x in axes), (0,) * len(axes))
    extents = [x.size + lo + hi for x, lo, hi in zip(axes, below, above)]
    if blocked:
        outer, inner = ((count_n // together, together * n), (count_c, c)), (together, n)
    else:
        outer, inner = ((1, 0), (count_c, c)), (count_n, n)
    if planes:
        outer, inner = ((count_n, n), (count_c, c)), (1, 1)
    elif not by_n:
        outer, inner = ((1, 0), (count_n, n)), (count_c, c)
    source = [(x.size, x.image_stride, lo, extent) for x, lo, extent in zip(axes, below, extents)]
    strides = row_major(tuple((extent,) for extent in extents), inner[0] * unit)
    far = math.prod(extents) * inner[0] * unit
    block = (together, count_c * far) if blocked else None
    at_n, at_c = (count_c * far, far) if planes else (unit, far) if by_n else (far, unit)
    image = _Image(array, at_n, at_c, strides, below, block)
    if same and unit == inner[1] == 1 and not planes and len(axes) <= 2 and in_slabs(image):
        lines, pixels = (((1, 0, 0, 1), *source) if len(source) == 1 else source)[-2:]
        return replace(image, source=ImageSource(outer, lines, pixels, inner[0]))
    return replace(image, array=_padded(ctx, array, outer, inner, source, compute, unit))


def _margins(x: Axis) -> tuple[int, int]:
    """How far the outputs read below and above the image."""
    reaches = [f.reach for f in phases(x)]
    return max(0, *(-lo for lo, _ in reaches)), max(0, *(hi + 1 - x.size for _, hi in reaches))


def _padded(
    ctx: LowerContext, src: Array, outer: tuple[tuple[int, int], ...], inner: tuple[int, int],
    axes: list[tuple[int, int, int, int]], ty: Ty, unit: int,
) -> Array:  # fmt: skip
    """A dense copy (outer, spatial, inner); ``axes``: (size, stride, margin below, extent in the copy)."""
    axes = [(1, 0, 0, 1)] * (PAD_DIMS - len(axes)) + axes
    (channels, s_c), count = inner, outer[0][0] * outer[1][0]
    elements = count * channels * unit * math.prod(x[3] for x in axes)
    copy = Array(scratch(ctx, ty, elements), ty)
    contiguous = s_c == unit or channels == 1
    run_along = contiguous and axes[-1][1] == channels * unit
    layout = "line" if run_along else "unit" if contiguous and unit == 1 else "pairs" if unit == 2 else "any"
    lanes = ctx.host.lanes(ty)
    kernel = ctx.kernel(("pad", src.ty, ty, lanes, layout), lambda: pad_kernel(src.ty, ty, lanes, layout))
    values: dict[str, Arg] = {
        "n1": outer[1][0],
        "s_n0": outer[0][1],
        "s_n1": outer[1][1],
        "s_c": s_c,
        "channels": channels * (unit if run_along else 1),
    }
    for d, (h, stride, lo, extent) in enumerate(axes):
        values |= {f"h{d}": h, f"s_h{d}": stride, f"lo{d}": lo, f"y{d}": extent}
    lines = count * axes[0][3] * axes[1][3]
    nbytes = elements * (ty.itemsize + src.ty.itemsize)
    ns = (elements * 1.0 if layout in ("any", "pairs") else nbytes / BYTES_PER_NS) / max(lines, 1)
    values |= {"src": src.at, "dst": copy.at}
    run(ctx, kernel, values, lines if elements else 0, ns, "conv (pad)", (src.at,), (copy.at,), nbytes=nbytes)
    return copy
