"""The image that a convolution reads: padded, channels last, in the type of the sums.

The convolution itself is a strided contraction on that image (``lower/conv.py``) and runs on ``gemm.contract_kernel``.
"""

from __future__ import annotations

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Ref, Ty, i64, maximum, minimum
from ..lower.loops import vector_for
from .gemm import digits, integers, numbered
from .packing import gather

__all__ = ["PAD_DIMS", "pad_kernel"]

PAD_DIMS = 3  # spatial dimensions


def pad_kernel(src_ty: Ty, ty: Ty, lanes: int, layout: str) -> Kernel:
    """dst[n0, n1, y0, y1, y2, c] = src[n0, n1, y - lo, c], zero where that is outside of src.

    Range: lines (n0, n1, y0, y1) of dst, which is dense.  ``y_d`` and ``h_d`` are the extents of dst and src; a
    negative ``lo`` crops.  Layouts of src:

    * "line": (y2, c) is one contiguous run;  "unit": c has stride 1;  "any": any strides;
    * "pairs": c counts (re, im) pairs, ``s_c`` reals.
    """
    b = KernelBuilder(f"pad_{src_ty}_{ty}x{lanes}_{layout}")
    src, dst = b.pointer("src", src_ty), b.pointer("dst", ty)
    p = integers(
        b, "n1", *numbered("y", PAD_DIMS), *numbered("h", PAD_DIMS), *numbered("lo", PAD_DIMS), "channels",
        *(f"s_{n}" for n in ("n0", "n1", *numbered("h", PAD_DIMS), "c")),
    )  # fmt: skip
    width = b.let("width", p["channels"] * (2 if layout == "pairs" else 1))  # reals in a pixel

    def clear(start: Expr, stop: Expr) -> None:
        vector_for(b, start, stop, lanes, lambda i, w, _: b.store(dst, i, Const(0, ty.vector(w))))

    with b.for_("line", b.lo, b.hi) as line:
        n0, n1, *ys = digits(b, line, (p["n1"], p["y0"], p["y1"]))
        to, end = b.let("to", line * p["y2"] * width), b.let("end", (line + 1) * p["y2"] * width)
        from_ = n0 * p["s_n0"] + n1 * p["s_n1"]
        inside: Expr = Const(True, Ty("b", 1))
        for d, y in enumerate(ys):
            h: Expr = b.let("h", y - p[f"lo{d}"])
            inside = inside & (h >= 0) & (h < p[f"h{d}"])
            from_ = from_ + h * p[f"s_h{d}"]
        with b.if_(inside):
            first = b.let("first", maximum(-p["lo2"], 0))
            last = b.let("last", maximum(minimum(p["h2"], p["y2"] - p["lo2"]), first))
            source = b.let("source", from_)
            clear(to, b.let("left", to + (first + p["lo2"]) * width))
            clear(b.let("right", to + (last + p["lo2"]) * width), end)
            _copy_pixels(b, p, (src, dst), layout, lanes, (source, to + p["lo2"] * width, width), (first, last))
        with b.else_():
            clear(to, end)
    return b.build()


def _copy_pixels(
    b: KernelBuilder, p: dict[str, Ref], buffers: tuple[str, str], layout: str, lanes: int,
    at: tuple[Expr, Expr, Expr], pixels: tuple[Expr, Expr],
) -> None:  # fmt: skip
    """Pixels [first, last) of a line.  ``at``: offsets of pixel 0 in src and dst, reals in a pixel."""
    src, dst = buffers
    ty = b.types[dst]
    from_, to, width = at
    first, last = pixels
    if layout == "line":
        start = b.let("start", to)

        def along(i: Expr, w: int, vectors: int) -> None:
            b.store(dst, start + i, b.load(src, from_ + i, w).cast(ty.vector(w)))

        vector_for(b, first * width, last * width, lanes, along)
        return
    with b.for_("pixel", first, last) as pixel:
        s, d = b.let("s", from_ + pixel * p["s_h2"]), b.let("d", to + pixel * width)
        if layout == "pairs":
            with b.for_("c", 0, p["channels"]) as c:
                for i in range(2):
                    b.store(dst, d + c * 2 + i, b.load(src, s + c * p["s_c"] + i).cast(ty))
            return

        def channels(c: Expr, w: int, vectors: int) -> None:
            x = b.load(src, s + c, w) if layout == "unit" else gather(b, src, s + c * p["s_c"], p["s_c"], w)
            b.store(dst, d + c, x.cast(ty.vector(w)))

        vector_for(b, Const(0, i64), p["channels"], lanes, channels)
