"""Outputs of a convolution that see the same part of the window, as one kernel meets them one after another.

Along an axis, output y meets window position j at image position ``step * y + dilation * j + origin``.  Most outputs see all
of the window, the *whole* ones; the others, ``before`` of them in front of these, lie at the border, where some positions of the
window are outside of the image.  There, each output along the axis is a part of its own, with a row for every image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Ref, i64, maximum, minimum, select
from ..lower.loops import ceil_div
from .microkernel import divide

__all__ = ["AXES", "OUTER", "WINDOW_FRAME", "WindowPart", "window_part"]

AXES = ("y", "x")
OUTER = -1  # the loop over k that a slice is one step of
# ``k_loop``: which loop over k goes along the axis, 0 for ``k0``, or ``OUTER``; so one kernel does for all layouts of the window.
# ``k_unit``: steps of k for a position of the window; ``a_at``, ``b_at``, ``c_at``: what a position is in the image and in B, and
# an output in C.
_AXIS = (
    "size", "window", "whole", "before", "others", "step", "dilation", "origin", "k_loop", "k_unit", "a_at", "b_at", "c_at"
)  # fmt: skip
# ``images``, and the ranges of rows of a part: of the whole outputs, of others along one axis, and along both.
WINDOW_FRAME = (*(f"{n}_{x}" for x in AXES for n in _AXIS), "images", "at_whole", "at_y", "at_x", "at_corner")


@dataclass(frozen=True, slots=True)
class WindowPart:
    """Outputs (images, ``counts``) that see ``steps`` of k along each axis; offsets of all three arrays; the range of rows."""

    counts: tuple[Expr, ...]
    steps: tuple[Expr, ...]
    offsets: Mapping[str, Expr]
    range: Expr


def window_part(b: KernelBuilder, p: Mapping[str, Ref], number: Expr) -> WindowPart:
    """The part that row range ``number`` belongs to; the whole outputs come first, then others along x, along y, along both."""
    range_, other = b.var("range", number), {x: b.var(f"other_{x}", Const(-1, i64)) for x in AXES}
    with b.if_(number >= p["at_whole"]):
        rest = b.let("rest", number - p["at_whole"])
        along_x = b.let("along_x", p["others_x"] * p["at_x"])
        with b.if_(rest < along_x):
            found, digit = divide(b, rest, p["at_x"])
            b.assign(other["x"], found)
            b.assign(range_, digit)
        with b.else_():
            rest = b.let("rest", rest - along_x)
            along_y = b.let("along_y", p["others_y"] * p["at_y"])
            with b.if_(rest < along_y):
                found, digit = divide(b, rest, p["at_y"])
                b.assign(other["y"], found)
                b.assign(range_, digit)
            with b.else_():
                corner, digit = divide(b, b.let("rest", rest - along_y), p["at_corner"])
                b.assign(range_, digit)
                found, corner = divide(b, corner, p["others_x"])
                b.assign(other["y"], found)
                b.assign(other["x"], corner)
    counts, steps = [], []
    offsets: dict[str, Expr] = {x: Const(0, i64) for x in "abc"}
    for x in AXES:
        whole = b.let("whole", other[x] < 0)
        beyond = other[x] + select(other[x] >= p[f"before_{x}"], p[f"whole_{x}"], 0)
        first = b.let("first", select(whole, p[f"before_{x}"], beyond))
        counts.append(b.let("count", select(whole, p[f"whole_{x}"], 1)))
        at = b.let("at", first * p[f"step_{x}"] + p[f"origin_{x}"])
        dilation, window = p[f"dilation_{x}"], p[f"window_{x}"]
        begin = b.let("begin", minimum(maximum(ceil_div(-at, dilation), 0), window))
        end = b.let("end", maximum(minimum(ceil_div(p[f"size_{x}"] - at, dilation), window), begin))
        steps.append(b.let("steps", (end - begin) * p[f"k_unit_{x}"]))
        places = {"a": at + begin * dilation, "b": begin, "c": first}
        offsets = {k: offsets[k] + place * p[f"{k}_at_{x}"] for k, place in places.items()}
    y, x_ = steps
    blind = b.let("blind", minimum(y, x_).eq(0))  # one round over nothing makes zeros
    steps = [b.let("steps_y", select(blind, 1, y)), b.let("steps_x", select(blind, 0, x_))]
    return WindowPart(tuple(counts), tuple(steps), offsets, b.let("range", range_))
