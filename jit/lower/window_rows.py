"""The rows of a convolution at the border of its image, where they see a part of the window: no padded copy, no products with zeros.

``kernels/window_part.py`` is the kernel's side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fx.errors import GraphError

from ..kernels.window_part import AXES, OUTER
from .contraction import Dims
from .conv_geometry import Phase
from .registry import Arg

__all__ = ["WindowRows", "gains_parts"]

MARGIN = 10  # percent of the multiply-adds of a padded image, that its copy is worth


def _whole(f: Phase, size: int) -> tuple[int, int]:
    before = min(-(-max(-f.origin, 0) // f.y_step), f.count)
    reach = f.origin + (f.taps - 1) * f.j_step
    stop = min((size - 1 - reach) // f.y_step + 1, f.count)
    return max(stop - before, 0), before


def gains_parts(images: int, axes: Sequence[Phase], sizes: Sequence[int], mr: int) -> bool:
    """Whether parts of their own for the outputs at the border take no more multiply-adds than all outputs of a padded image.

    Outputs of one kind and one place at the border, of all images, fill register blocks of ``mr`` rows: of one image, and a window
    so dilated that most outputs are at the border, most rows of the blocks are empty.  Outputs there see half of the window, about.
    """
    parts = [(1, 1)]  # places, and outputs of an image at each; twice along an axis where they see all of the window
    padded, rows = 1, images
    for f, size in zip(axes, sizes):
        whole, _ = _whole(f, size)
        parts = [x for n, m in parts for x in ((2 * n, m * whole), (n * (f.count - whole), m))]
        padded, rows = padded * 2, rows * f.count
    found = sum(n * -(-images * m // mr) for n, m in parts)
    return bool(100 * found <= (100 + MARGIN) * padded * -(-rows // mr))


@dataclass(frozen=True, slots=True)
class WindowRows:
    """Rows (image, y, x), of which the outputs of ``axes`` see windows of an image of these ``sizes``.

    Attributes:
        a, c: strides of a position in the image and of an output in C, along each axis.
        merged: the last loop over k is the window along the last axis and the channels together.
    """

    images: int
    axes: tuple[Phase, Phase]
    sizes: tuple[int, int]
    a: tuple[int, int]
    c: tuple[int, int]
    channels: int
    merged: bool

    def whole(self, d: int) -> tuple[int, int]:
        """How many outputs along axis ``d`` see all of the window, and how many before them do not."""
        return _whole(self.axes[d], self.sizes[d])

    def ranges(self, rows: int) -> dict[str, int]:
        """The ranges of ``rows`` rows of each kind of outputs; ``row_blocks``: all of them."""
        (wy, _), (wx, _) = self.whole(0), self.whole(1)
        others = [f.count - w for f, w in zip(self.axes, (wy, wx))]
        at = {"at_whole": wy * wx, "at_y": wx, "at_x": wy, "at_corner": 1}
        found = {k: -(-self.images * n // rows) for k, n in at.items()}
        total = (
            found["at_whole"]
            + others[0] * found["at_y"]
            + others[1] * found["at_x"]
            + others[0] * others[1] * found["at_corner"]
        )
        return {**found, "row_blocks": total}

    def frame(self, rows: int, ks: Dims) -> dict[str, Arg]:
        """What the frame says of them; ``ks``: the loops over k as they are in B, along y, along x, and over channels if these are not
        together with x."""
        values: dict[str, Arg] = {**self.ranges(rows), "images": self.images}
        units = (1, self.channels if self.merged else 1)
        for d, (x, f, (_, _, b), unit) in enumerate(zip(AXES, self.axes, ks, units)):
            whole, before = self.whole(d)
            values |= {
                f"size_{x}": self.sizes[d], f"window_{x}": f.taps, f"whole_{x}": whole, f"before_{x}": before,
                f"others_{x}": f.count - whole, f"step_{x}": f.y_step, f"dilation_{x}": f.j_step, f"origin_{x}": f.origin,
                f"k_unit_{x}": unit, f"a_at_{x}": self.a[d], f"b_at_{x}": b * unit, f"c_at_{x}": self.c[d],
            }  # fmt: skip
        return values

    def loops(self, found: Dims, kernel_dims: int, outer: bool, cut: bool) -> dict[str, int]:
        """For the frame: the kernel's loops over k along y and x.  ``found``: those that are left where y is the ``outer`` one;
        ``cut``: the first of them goes in slices."""
        behind = kernel_dims - len(found)  # of loops of one round that stand in front
        place = lambda i: i if cut and i == 0 else behind + i
        if not outer and len(found) < 2:
            raise GraphError("a window has two loops over k")
        y, x = (OUTER, place(0)) if outer else (place(0), place(1))
        return {"k_loop_y": y, "k_loop_x": x}
