"""Depthwise convolutions whose channels lie together, those in small groups, and their gradients, on ``kernels/depthwise.py``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from fx.sizes import is_sized, largest, smallest

from ..kernels.depthwise import Depthwise, depthwise_kernel, depthwise_weights_kernel
from ..loop_ir import Ty
from .contraction import BYTES_PER_NS, FLOPS_PER_NS, Array, move, run, scratch
from .conv_geometry import Axis, Phase, phases, shifted
from .linalg import array_of
from .registry import Arg, LowerContext, Operand

__all__ = ["depthwise", "depthwise_weights"]

MOST_TAPS = 8  # along the last axis; they are written out
OUTPUTS = (4, 8)  # of a row that share what they load: of a short row, of others (sums for two multiply-adds a cycle)
VECTORS = 4  # of channels whose sums over a row are in registers
WRITTEN = (
    256  # multiply-adds of outputs a step apart that are written out, at most (with steps of two, it takes as long)
)
TOGETHER = 2  # outputs that go round the loop together
SPARE = 2  # registers beside those of sums and of these outputs
STEPS = 2  # of neighbouring outputs that are written out, at most
GROUPS = (1, 2, 4, 8)  # channels that see each other
PIECES, PIECE_BYTES = 16, 1 << 17  # of the gradient with respect to the weights: at most, and what one reads at least


def depthwise(
    ctx: LowerContext, params: dict[str, Any], axes: Sequence[Axis], operands: tuple[Operand, Operand, Operand], compute: Ty
) -> bool:  # fmt: skip
    """Appends the steps, if every channel, or small group of them, is convolved on its own and the channels lie together; returns
    whether they do."""
    (lhs, rhs, out), lanes = operands, ctx.host.lanes(compute)
    (n, c), (w_o, w_i), (o_n, o_c) = (params[k][:2] for k in ("lhs_spec", "rhs_spec", "out_spec"))
    channels = lhs.shape[c]
    group = _group(channels, rhs.shape[w_o], params["feature_group_count"], lanes)
    if not (group and params["batch_group_count"] == 1 and _fits(axes, operands, compute)):
        return False
    if lhs.strides[c] != 1 or out.strides[o_c] != 1:
        return False
    found = list(itertools.product(*(phases(x) for x in axes)))
    if any(f[-1].taps > MOST_TAPS for f in found):
        return False
    weights, strides = array_of(rhs), [x.window_stride for x in axes]
    if rhs.strides[w_o] != 1 or group > 1:
        weights, strides = _together(ctx, weights, (rhs.strides[w_o], rhs.strides[w_i]), axes, channels, group)
    for phase in found:
        if not all(f.count for f in phase):
            continue
        values: dict[str, Arg] = {
            "image": lhs,
            "weights": shifted(weights, sum(f.window * s for f, s in zip(phase, strides)), 1).at,
            "out": shifted(array_of(out), sum(f.first * x.out_stride for f, x in zip(phase, axes)), 1).at,
            "channels": channels, "s_n": lhs.strides[n], "o_n": out.strides[o_n], "w_y": 0,
            "w_e": channels,
        }  # fmt: skip
        values |= {f"w_{d}": f.window_step * s for d, f, s in zip("yx"[2 - len(axes) :], phase, strides)}
        for d, f, x in zip("yx"[2 - len(axes) :], phase, axes):
            values |= _axis(d, x.size, f, x.image_stride, f.step * x.out_stride, f.taps)
        _step(ctx, values, lhs.shape[n], (weights.at, lhs), out, compute, _outputs(ctx, phase[-1]), group)
    return True


def depthwise_weights(
    ctx: LowerContext, params: dict[str, Any], axes: Sequence[Axis], operands: tuple[Operand, Operand, Operand], compute: Ty
) -> bool:  # fmt: skip
    """The same where the window is large and the output is the small kernel: the gradient with respect to the weights."""
    (lhs, rhs, out), lanes = operands, ctx.host.lanes(compute)
    (c, n), (w_c, w_n), (o_i, o_c) = (params[k][:2] for k in ("lhs_spec", "rhs_spec", "out_spec"))
    channels = lhs.shape[c]
    group = _group(channels, rhs.shape[w_c], params["batch_group_count"], lanes)
    if not (group and params["feature_group_count"] == 1 and _fits(axes, operands, compute)):
        return False
    if lhs.strides[c] != 1 or rhs.strides[w_c] != 1 or axes[-1].out > MOST_TAPS or any(x.dilation != 1 for x in axes):
        return False
    batch, taps = lhs.shape[n], axes[-1].out
    lines, taps_y = batch, 1
    values: dict[str, Arg] = {
        "image": lhs,
        "ct": rhs,
        "channels": channels,
        "s_n": lhs.strides[n],
        "o_n": rhs.strides[w_n],
    }
    for d, x in zip("yx"[2 - len(axes) :], axes):
        met = Phase(0, 1, x.window, 0, 1, x.out, -x.lo, x.window_dilation, x.stride)
        values |= _axis(d, x.size, met, x.image_stride, x.window_stride, x.out)
    if len(axes) == 2:
        lines, taps_y = batch * axes[0].window, axes[0].out
    else:
        values |= _no_axis()
    in_registers = (ctx.host.vector_registers - TOGETHER - SPARE) // taps
    vectors = min(max(1, min(VECTORS, in_registers) // group), channels // lanes)
    v = Depthwise(compute, lanes, taps, TOGETHER, vectors, _static_step(values), group)
    width = vectors * lanes
    slots = -(-channels // width) * width
    flops, nbytes = 2 * rhs.size * taps * taps_y * group, (lhs.size + rhs.size) * compute.itemsize
    ns = largest(flops / FLOPS_PER_NS, nbytes / BYTES_PER_NS)
    part_lines = -(-lines // smallest(PIECES, lines, largest(1, nbytes // PIECE_BYTES)))
    parts = -(-lines // part_lines)
    part = taps_y * taps * group * slots
    sums = Array(scratch(ctx, compute, parts * part), compute)
    values |= {"sums": sums.at, "lines": lines, "part_lines": part_lines, "slots": slots}
    kernel = ctx.kernel(("depthwise weights", v), lambda: depthwise_weights_kernel(v))
    run(ctx, kernel, values, parts, ns / parts, "conv (depthwise weights)", (lhs, rhs), (sums.at,), flops, nbytes)
    result, o_c, o_i = array_of(out), out.strides[o_c], out.strides[o_i]
    dims = [(x.out, x.out_stride) for x in axes]
    steps = [taps * group * slots, group * slots][2 - len(axes) :]
    for begin, first, count in ((0, 0, channels // width * width), (slots - width, channels - width, width)):
        if not count or (begin and slots == channels):
            continue
        for e in range(group):
            inner, at = _exchanged(e, count, group, o_c, o_i)
            moved = (*((m, s, o) for (m, o), s in zip(dims, steps)), *((m, step, o) for m, o, step in inner))
            source, target = shifted(sums, e * slots + begin, 1), shifted(result, first * o_c + at, 1)
            move(ctx, "conv (store)", moved, source, target, parts, part)
    return True


def _group(channels: int, outputs: int, groups: int, lanes: int) -> int:
    """The size of the groups of channels, if it is one of ``GROUPS``, there are as many outputs, and they fill a vector; else 0."""
    if groups < 1 or channels != outputs or channels < lanes:
        return 0
    return next((g for g in GROUPS if g * groups == channels and lanes % g == 0), 0)


def _exchanged(e: int, channels: int, group: int, s_o: int, s_i: int) -> tuple[list[tuple[int, int, int]], int]:
    """Dimensions (size, stride in an array, stride in the channels) that walk all outputs o of weights whose outputs are ``s_o`` apart
    and the inputs of a group ``s_i``, at input ``o ^ e`` of the group; and where they begin."""
    dims, at, bit = [(channels // group, group * s_o, group)], 0, group // 2
    while bit:
        dims.append((2, bit * (s_o - s_i if e & bit else s_o + s_i), bit))
        at += bit * s_i if e & bit else 0
        bit //= 2
    return dims, at


def _fits(axes: Sequence[Axis], operands: tuple[Operand, ...], compute: Ty) -> bool:
    return 1 <= len(axes) <= 2 and all(array_of(x).ty == compute for x in operands)


def _axis(d: str, size: int, f: Phase, s: int, o: int, taps: int) -> dict[str, Arg]:
    return {
        f"size_{d}": size, f"count_{d}": f.count, f"taps_{d}": taps, f"step_{d}": f.y_step, f"origin_{d}": f.origin,
        f"dilation_{d}": f.j_step if f.taps > 1 else 1, f"s_{d}": s, f"o_{d}": o,
    }  # fmt: skip


def _no_axis() -> dict[str, Arg]:
    return _axis("y", 1, Phase(0, 1, 1, 0, 1, 1, 0, 1, 1), 0, 0, 1)


def _outputs(ctx: LowerContext, x: Phase) -> int:
    few, many = OUTPUTS
    return many if x.count >= 2 * many + x.taps else few


def _step(
    ctx: LowerContext, values: dict[str, Any], batch: int, reads: tuple[Any, ...], out: Operand, ty: Ty, outputs: int, group: int
) -> None:  # fmt: skip
    """A step of ``depthwise_kernel``: a phase of the outputs."""
    if "size_y" not in values:
        values = values | _no_axis()
    if values["taps_x"] == 0:  # the sums are empty
        values = values | {"taps_x": 1, "taps_y": 0}
    taps = values["taps_x"]
    step, rows = _static_step(values), values["taps_y"]
    written = step == 1 and not is_sized(rows) and taps * rows * outputs * group <= WRITTEN
    v = Depthwise(ty, ctx.host.lanes(ty), taps, outputs, 1, step, group, rows if written else 0)
    kernel = ctx.kernel(("depthwise", v), lambda: depthwise_kernel(v))
    lines = batch * values["count_y"]
    elements = lines * values["count_x"] * values["channels"]
    flops, nbytes = 2 * elements * taps * values["taps_y"] * group, 2 * elements * ty.itemsize
    ns = largest(flops / FLOPS_PER_NS, nbytes / BYTES_PER_NS) / lines
    run(ctx, kernel, values, lines, ns, "conv (depthwise)", reads, (out,), flops, nbytes)


def _static_step(values: dict[str, Any]) -> int:
    """The step of neighbouring outputs, where it is written out: such outputs share what they load."""
    return values["step_x"] if values["dilation_x"] == 1 and values["step_x"] <= STEPS else 0


def _together(
    ctx: LowerContext, weights: Array, strides: tuple[int, int], axes: Sequence[Axis], channels: int, group: int
) -> tuple[Array, list[int]]:  # fmt: skip
    """A copy of the weights whose channels lie together, [y][x][exchange][channel], and its strides; ``strides`` of the weights are
    those of outputs and of the inputs of a group."""
    steps = [group * channels * n for n in ((axes[1].window, 1) if len(axes) == 2 else (1,))]
    copy = Array(scratch(ctx, weights.ty, steps[0] * axes[0].window), weights.ty)
    taps = tuple((x.window, x.window_stride, s) for x, s in zip(axes, steps))
    for e in range(group):
        inner, at = _exchanged(e, channels, group, *strides)
        move(ctx, "conv (copy)", (*taps, *inner), shifted(weights, at, 1), shifted(copy, e * channels, 1))
    return copy, steps
