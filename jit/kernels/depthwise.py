"""Depthwise convolution and its gradient with respect to the weights, vectors along the channels.

Channels may come in groups, small ones of 2, 4 or 8: output c of the group sees its inputs c, c ^ 1, c ^ 2 ..., which are exchanged
lanes of one vector of the image.  The weights of exchange ``e`` lie together for all channels, and so do their gradients.

Positions outside of the image are left out, so there is no padded copy.  Along an axis, output y meets tap t at image position

    step * y + dilation * t + origin
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Ref, Ty, maximum, minimum, op_, select
from ..lower.loops import ceil_div, const, floor_div
from .gemm import digits, integers
from .microkernel import FAR, LINE, multiply_add

__all__ = ["EDGE_VECTORS", "Depthwise", "depthwise_kernel", "depthwise_weights_kernel"]

EDGE_VECTORS = (
    4  # of channels that go round the taps of an output at the border together: sums that do not wait for each other
)
AXES = ("y", "x")


@dataclass(frozen=True, slots=True)
class Depthwise:
    """Which kernel: this is its key.

    Attributes:
        taps: along x; they are written out.
        rows: of taps, if they are written out as well, where an output sees all of them; else 0.
        block: outputs along x that share what they load (forward), or that go round the loop together (weights).
        vectors: of channels that go together.
        step: along x, of neighbouring outputs, where neighbouring taps are neighbours in the image; 0: any step, any dilation.
        group: channels that see each other.
    """

    ty: Ty
    lanes: int
    taps: int
    block: int
    vectors: int
    step: int
    group: int = 1
    rows: int = 0

    def __str__(self) -> str:
        flags = {"rows": self.rows, "step": self.step, "group": self.group if self.group > 1 else 0}
        return f"{self.ty}x{self.lanes}_{self.taps}_{self.block}x{self.vectors}" + "".join(
            f"_{name}{n}" for name, n in flags.items() if n
        )

    def exchanged(self, b: KernelBuilder, value: Expr) -> Iterator[Expr]:
        """A vector of the image as its channels see it, one exchange after another."""
        yield value
        for e in range(1, self.group):
            yield b.let("exchanged", op_("exchange", value, const(e)))


class _Geometry:
    """The integers of the frame that both kernels have: strides of image (``s_``) and outputs (``o_``), per axis the sizes."""

    def __init__(self, b: KernelBuilder, v: Depthwise) -> None:
        self.b, self.v = b, v
        axes = [
            f"{name}_{x}" for name in ("size", "count", "taps", "step", "dilation", "origin", "s", "o") for x in AXES
        ]
        self.p = integers(b, "channels", *axes, "s_n", "o_n")

    def rows(self, y: Expr) -> tuple[Expr, Ref, Ref]:
        """Of outputs ``y``: the image row at tap 0, and the taps ``[begin, end)`` that lie inside."""
        b, p = self.b, self.p
        at = b.let("at_y", y * p["step_y"] + p["origin_y"])
        begin = b.let("begin_y", minimum(maximum(ceil_div(-at, p["dilation_y"]), 0), p["taps_y"]))
        end = b.let("end_y", maximum(minimum(ceil_div(p["size_y"] - at, p["dilation_y"]), p["taps_y"]), begin))
        return at, begin, end

    def inside(self) -> tuple[Ref, Ref]:
        """The outputs ``[first, stop)`` of a row of which all taps lie inside."""
        b, p = self.b, self.p
        first = b.let("first", minimum(maximum(ceil_div(-p["origin_x"], p["step_x"]), 0), p["count_x"]))
        reach = p["origin_x"] + p["dilation_x"] * (self.v.taps - 1)
        stop = minimum(floor_div(p["size_x"] - 1 - reach, p["step_x"]) + 1, p["count_x"])
        return first, b.let("stop", maximum(stop, first))

    @contextmanager
    def border(self, first: Expr, stop: Expr) -> Iterator[tuple[Ref, Expr, Ref, Ref]]:
        """Loops over the other outputs of a row: x, the image column at tap 0, and the taps that lie inside."""
        b, p = self.b, self.p
        with b.for_("other", 0, p["count_x"] - (stop - first)) as other:
            x = b.let("x", select(other < first, other, other + (stop - first)))
            at = b.let("at_x", x * p["step_x"] + p["origin_x"])
            begin = b.let("begin_x", minimum(maximum(ceil_div(-at, p["dilation_x"]), 0), p["taps_x"]))
            end = b.let("end_x", maximum(minimum(ceil_div(p["size_x"] - at, p["dilation_x"]), p["taps_x"]), begin))
            yield x, at, begin, end

    def ask(self, buffer: str, first: Expr, stride: Expr, pixels: int, channel: Expr) -> None:
        """Asks for a vector of channels, the first of which is ``channel``, of neighbouring pixels.  Vectors that share a cache line
        ask for some of the pixels each."""
        b, v = self.b, self.v
        shared = max(1, LINE // (v.lanes * v.ty.itemsize))
        at = b.let("ahead", first + channel // v.lanes % shared * stride)
        for k in range(0, pixels, shared):
            b.prefetch(buffer, at + stride * k, level=2)

    def ask_below(self, image: str, corner: Expr, channel: Expr) -> None:
        """Asks for what the next line of outputs sees beyond what this one does, at the taps of a block whose first has its ``corner``
        there: vectors of channels go by in such small steps of each pixel that no hardware follows."""
        p, v, step = self.p, self.v, max(1, self.v.step)  # along y as well, as a rule
        last = self.b.let("last", (p["taps_y"] - 1) * p["dilation_y"] * p["s_y"] + p["s_x"] * (v.taps - 1))
        for new in range(1, step + 1):
            self.ask(image, corner + last + p["s_y"] * new, p["s_x"], v.block * step, channel)

    def met(self, row: Expr, outputs: int) -> Iterator[tuple[Expr, list[tuple[int, int]]]]:
        """What ``outputs`` neighbouring outputs meet in a row of the image, whose tap 0 of the first is at ``row``: each place
        with its pairs of an output and a tap.  An output meets its taps in their order."""
        b, p, taps, step = self.b, self.p, self.v.taps, self.v.step
        pairs = [(x, t) for x in range(outputs) for t in range(taps)]
        if step:
            for k in range((outputs - 1) * step + taps):
                if found := [(x, t) for x, t in pairs if x * step + t == k]:
                    yield row + p["s_x"] * k, found
            return
        along, across = b.let("along", p["s_x"] * p["step_x"]), b.let("across", p["s_x"] * p["dilation_x"])
        for x, t in pairs:
            yield row + along * x + across * t, [(x, t)]


def depthwise_kernel(v: Depthwise) -> Kernel:
    """out[n, y, x, c] = sum over taps image[n, (y, x) at the tap, c] * weights[tap, c].  Range: lines (n, y).

    Channels have stride 1 everywhere, and there are at least ``lanes``: the last vector may overlap the one before it.
    ``w_y``, ``w_x`` and, of the exchanges of a group, ``w_e`` are strides of the weights.
    """
    b = KernelBuilder(f"depthwise_{v}")
    image, weights, out = (b.pointer(n, v.ty) for n in ("image", "weights", "out"))
    g = _Geometry(b, v)
    p = g.p | integers(b, "w_y", "w_x", *(["w_e"] if v.group > 1 else []))
    of_exchange = [p["w_e"] * e if e else const(0) for e in range(v.group)]
    first, stop = g.inside()
    zero = Const(0, v.ty.vector(v.lanes))

    def taps_of(here: Expr, c: Expr, t: Expr | int, sums: Sequence[Ref]) -> None:
        """Row ``t`` of the taps of neighbouring outputs, the first of which has its corner at ``here``."""
        row, at_w = b.let("row", here + p["dilation_y"] * p["s_y"] * t), b.let("at_w", p["w_y"] * t + c)
        ws = [
            [b.let("w", b.load(weights, at_w + p["w_x"] * k + e, v.lanes)) for e in of_exchange] for k in range(v.taps)
        ]
        for at, pairs in g.met(row, len(sums)):
            for e, value in enumerate(v.exchanged(b, b.let("met", b.load(image, at, v.lanes)))):
                for i, k in pairs:
                    b.assign(sums[i], multiply_add(value, ws[k][e], sums[i]))

    def block(x: Expr, n: Expr, to: Expr, rows: tuple[Expr, Ref, Ref]) -> None:
        at_y, begin, end = rows
        all_rows = b.let("all_rows", (end - begin).eq(v.rows)) if v.rows else None
        corner = b.let("corner", n * p["s_n"] + at_y * p["s_y"] + (x * p["step_x"] + p["origin_x"]) * p["s_x"])
        with b.for_("group", 0, p["channels"], v.lanes) as group:
            c = b.let("c", minimum(group, p["channels"] - v.lanes))
            sums = [b.var("sum", zero) for _ in range(v.block)]
            here = b.let("here", maximum(corner + c, FAR))
            g.ask_below(image, here, group)
            g.ask(out, b.let("next", to + (x + v.block) * p["o_x"] + c), p["o_x"], v.block, group)
            if all_rows is not None:
                with b.if_(all_rows):
                    for row in range(v.rows):
                        taps_of(here, c, row, sums)
            with b.else_() if v.rows else nullcontext(), b.for_("t", begin, end) as t:
                taps_of(here, c, t, sums)
            for i, total in enumerate(sums):
                b.store(out, to + (x + i) * p["o_x"] + c, total)

    def single(
        x: Expr, at_x: Expr, begin_x: Ref, end_x: Ref, vectors: int, n: Expr, to: Expr, rows: tuple[Expr, Ref, Ref]
    ) -> None:
        at_y, begin, end = rows
        width = vectors * v.lanes
        corner = b.let("corner", n * p["s_n"] + at_y * p["s_y"] + at_x * p["s_x"])
        with b.for_("group", 0, p["channels"], width) as group:
            c = b.let("c", minimum(group, p["channels"] - width))
            sums = [b.var("sum", zero) for _ in range(vectors)]
            with b.for_("t", begin, end) as t, b.for_("k", begin_x, end_x) as k:
                here = b.let("here", corner + t * p["dilation_y"] * p["s_y"] + k * p["dilation_x"] * p["s_x"] + c)
                at_w = b.let("at_w", t * p["w_y"] + k * p["w_x"] + c)
                for j, total in enumerate(sums):
                    values = v.exchanged(b, b.let("met", b.load(image, here + j * v.lanes, v.lanes)))
                    for value, e in zip(values, of_exchange):
                        w = b.load(weights, at_w + j * v.lanes + e, v.lanes)
                        b.assign(total, multiply_add(value, w, total))
            for j, total in enumerate(sums):
                b.store(out, to + x * p["o_x"] + c + j * v.lanes, total)

    with b.for_("line", b.lo, b.hi) as line:
        n, y = digits(b, line, [p["count_y"]])
        rows = g.rows(y)
        to = b.let("to", n * p["o_n"] + y * p["o_y"])
        enough = b.let("enough", stop - first >= v.block)
        with b.if_(enough), b.for_("step", first, stop, v.block) as step:
            block(b.let("x", minimum(step, stop - v.block)), n, to, rows)
        last = b.let("last", select(enough, stop, first))
        with g.border(first, last) as (x, at_x, begin_x, end_x):
            with b.if_(p["channels"] >= EDGE_VECTORS * v.lanes):
                single(x, at_x, begin_x, end_x, EDGE_VECTORS, n, to, rows)
            with b.else_():
                single(x, at_x, begin_x, end_x, 1, n, to, rows)
    return b.build()


def depthwise_weights_kernel(v: Depthwise) -> Kernel:
    """sums[part, tap, exchange, slot] = sum over the lines of the part of image[n, (y, x) at the tap, c] * ct[n, y, x, c].  Range: parts.

    A part is ``part_lines`` of all ``lines`` (n, y).  Groups of ``vectors`` vectors of channels have slots of their own: the last
    group begins so far to the left that there are channels for all of it, and its sums are not the ones of its neighbour.
    """
    b = KernelBuilder(f"depthwise_weights_{v}")
    image, ct, sums = (b.pointer(n, v.ty) for n in ("image", "ct", "sums"))
    g = _Geometry(b, v)
    p = g.p | integers(b, "lines", "part_lines", "slots")
    first, stop = g.inside()
    width = v.vectors * v.lanes
    zero = Const(0, v.ty.vector(v.lanes))

    def along(row: Expr, of_ct: Expr, to: Expr, c: Expr) -> None:
        """The outputs of which all taps lie inside: all sums of a row of taps are in registers."""
        places = [b.let("to", to + p["slots"] * t) for t in range(v.taps * v.group)]
        totals = [[b.var("total", b.load(sums, at + j * v.lanes, v.lanes)) for j in range(v.vectors)] for at in places]

        def outputs(x: Expr, count: int) -> None:
            here = b.let("here", row + (x * p["step_x"] + p["origin_x"]) * p["s_x"] + c)
            there = b.let("there", of_ct + x * p["o_x"] + c)
            met = [(b.let("at", at), pairs) for at, pairs in g.met(here, count)]  # once for all vectors
            of_cts = [b.let("of_ct", there + p["o_x"] * i) for i in range(count)]
            for j in range(v.vectors):
                cts = [b.let("ct", b.load(ct, at + j * v.lanes, v.lanes)) for at in of_cts]
                for at, pairs in met:
                    for e, value in enumerate(v.exchanged(b, b.let("met", b.load(image, at + j * v.lanes, v.lanes)))):
                        for i, t in pairs:
                            total = totals[t * v.group + e][j]
                            b.assign(total, multiply_add(value, cts[i], total))

        whole = b.let("whole", first + (stop - first) // v.block * v.block)
        with b.for_("x", first, whole, v.block) as x:
            outputs(x, v.block)
        with b.for_("x", whole, stop) as x:
            outputs(x, 1)
        for at, vectors in zip(places, totals):
            for j, total in enumerate(vectors):
                b.store(sums, at + j * v.lanes, total)

    def at_border(here: Expr, there: Expr, to: Expr) -> None:
        for j in range(v.vectors):
            weight = b.let("weight", b.load(ct, there + j * v.lanes, v.lanes))
            for e, value in enumerate(v.exchanged(b, b.let("met", b.load(image, here + j * v.lanes, v.lanes)))):
                at = to + p["slots"] * e + j * v.lanes
                b.store(sums, at, multiply_add(value, weight, b.load(sums, at, v.lanes)))

    @contextmanager
    def slots() -> Iterator[tuple[Ref, Ref]]:
        with b.for_("slot", 0, p["slots"], width) as slot:
            yield slot, b.let("c", minimum(slot, p["channels"] - width))

    with b.for_("part", b.lo, b.hi) as part:
        taps = v.taps * v.group
        own = b.let("own", part * p["taps_y"] * p["slots"] * taps)
        with b.for_("i", own, own + p["taps_y"] * p["slots"] * taps, v.lanes) as i:
            b.store(sums, i, zero)
        begin = b.let("begin", part * p["part_lines"])
        with b.for_("line", begin, minimum(begin + p["part_lines"], p["lines"])) as line:
            n, y = digits(b, line, [p["count_y"]])
            at_y, begin_y, end_y = g.rows(y)
            of_ct = b.let("of_ct", n * p["o_n"] + y * p["o_y"])

            def row_of(t: Expr) -> tuple[Expr, Expr]:
                """Of row ``t`` of the taps: the row of the image, and the sums."""
                row = b.let("row", n * p["s_n"] + (at_y + t * p["dilation_y"]) * p["s_y"])
                return row, b.let("to", own + t * p["slots"] * taps)

            with g.border(first, stop) as (x, at_x, begin_x, end_x), b.for_("t", begin_y, end_y) as t:
                row, to = row_of(t)
                with b.for_("k", begin_x, end_x) as k, slots() as (slot, c):
                    here = b.let("here", row + (at_x + k * p["dilation_x"]) * p["s_x"] + c)
                    there = b.let("there", of_ct + x * p["o_x"] + c)
                    at_border(here, there, b.let("place", to + k * p["slots"] * v.group + slot))
            with b.for_("t", begin_y, end_y) as t:
                row, to = row_of(t)
                with slots() as (slot, c):
                    along(row, of_ct, to + slot, c)
    return b.build()
