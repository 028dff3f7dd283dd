"""The run of an image that the rows of a slice read, copied to where a worker keeps it.

The image that the product reads may have margins of zeros, or blocks of its channels one behind the other, which nobody has written
anywhere: a copy of it is made run by run.  It counts as dense, [plane 0][plane 1][y][x][channel], and its planes, lines and pixels
lie where the frame says.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, i64, maximum, minimum, select
from ..lower.loops import vector_for
from .gemm import digits
from .microkernel import divide

__all__ = ["IMAGE_FRAME", "copy_image", "copy_run", "line_of"]

# Counts of the dense image; of what lies, how many lines and pixels there are, behind how many of the margin; and distances there.
IMAGE_FRAME = (
    "image_start", "image_planes", "image_lines", "image_pixels", "image_channels", "lines", "pixels", "lines_below", "pixels_below",
    "s_plane0", "s_plane1", "s_line", "s_pixel",
)  # fmt: skip


def copy_run(b: KernelBuilder, buffers: tuple[str, str], at: Expr, to: Expr, length: Expr, lanes: int) -> None:
    """``length`` elements from ``at`` on in the first buffer go to ``to`` in the second."""

    def along(i: Expr, w: int, _: int) -> None:
        b.store(buffers[1], to + i, b.load(buffers[0], at + i, w))

    vector_for(b, Const(0, i64), length, lanes, along)


def line_of(b: KernelBuilder, p: Mapping[str, Expr], number: Expr) -> tuple[Expr, Expr]:
    """Where the first pixel of a line of the image lies, and whether it does: otherwise the line is margin, and the place that of the
    nearest one."""
    plane0, plane1, y = digits(b, number, (p["image_planes"], p["image_lines"]))
    line = b.let("y", y - p["lines_below"])
    near = maximum(minimum(line, p["lines"] - 1), 0)
    return plane0 * p["s_plane0"] + plane1 * p["s_plane1"] + near * p["s_line"], near.eq(line)


def copy_image(
    b: KernelBuilder, p: Mapping[str, Expr], buffers: tuple[str, str], start: Expr, to: Expr, length: Expr, lanes: int
) -> None:
    """``length`` elements of the image from ``start`` on, which has whole pixels there, go to ``to``."""
    copy = buffers[1]
    ty, width = b.types[copy], p["image_channels"]
    line = b.let("line", p["image_pixels"] * width)
    first, _ = divide(b, start, line)
    stop, _ = divide(b, start + length + line - 1, line)
    left = b.let("left", p["pixels_below"] * width)
    right = b.let("right", left + p["pixels"] * width)
    together = b.let("together", p["s_pixel"].eq(width))

    def clear(begin: Expr, end: Expr, there: Expr) -> None:
        vector_for(b, begin, end, lanes, lambda i, w, _: b.store(copy, there + i, Const(0, ty.vector(w))))

    with b.for_("number", first, stop) as number:
        at = b.let("at", number * line)
        found, inside = line_of(b, p, number)
        begin, end = b.let("begin", maximum(start - at, 0)), b.let("end", minimum(start + length - at, line))
        there = b.let("there", to + at - start)
        full = b.let("full", maximum(minimum(select(inside, left, line), end), begin))
        empty = b.let("empty", maximum(minimum(select(inside, right, line), end), full))
        clear(begin, full, there)
        with b.if_(together):
            copy_run(b, buffers, b.let("here", found + full - left), b.let("into", there + full), empty - full, lanes)
        with b.else_():
            pixel, last = (divide(b, x - left, width)[0] for x in (full, empty))
            with b.for_("pixel", pixel, select(inside, last, pixel)) as x:
                copy_run(
                    b,
                    buffers,
                    b.let("here", found + x * p["s_pixel"]),
                    b.let("into", there + left + x * width),
                    width,
                    lanes,
                )
        clear(empty, end, there)
