"""A contraction with few values of k, row by row: small windows over few channels.

    C[r, j] = sum_k  A[r + k] * B[k, j]

All of B's panel stays in vector registers while rows pass by: a row broadcasts its elements of A, and nothing else is read.  A block
of several rows (``kernels/microkernel.py``) would hold sums instead; written out for all k it is one long run of instructions, to
the front of which LLVM moves the broadcasts, and from there to the stack (3x3 windows of one channel, 32 columns, on Zen 5: 163
cycles for six rows, 54 of them multiply-adds).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Kernel, Op, Ty, minimum, op_
from ..lower.loops import Odometer, const
from .gemm import integers, numbered
from .microkernel import multiply_add

__all__ = ["LINE_DIMS", "Pixels", "pixels_kernel"]

LINE_DIMS = 3


@dataclass(frozen=True, slots=True)
class Pixels:
    """Which ``pixels_kernel``: this is the kernel's key.

    Attributes:
        nv: vectors of a panel.
        runs, length: k is so many runs, in each of which A's elements lie together.
        masked: there are fewer columns than a vector has.
    """

    ty: Ty
    lanes: int
    nv: int
    runs: int
    length: int
    masked: bool

    @property
    def name(self) -> str:
        return f"pixels_{self.ty}_{self.nv}x{self.lanes}_k{self.runs}x{self.length}{'_masked' * self.masked}"


def pixels_kernel(v: Pixels) -> Kernel:
    """Range: lines of ``x`` rows, in ``LINE_DIMS`` dimensions ``r0 r1 ...``.

    Frame: strides ``a_... c_...`` of the rows' dimensions, where each run of k begins (``a_k...`` in A, ``b_k...`` in B), and the
    distance ``b_step`` of its elements in B, whose columns lie together.  ``n`` columns are ``panels`` of ``nv`` vectors; the last
    one begins at ``last_col``.
    """
    ty, lanes, nv, cols = v.ty, v.lanes, v.nv, v.nv * v.lanes
    b = KernelBuilder(v.name)
    a, weights, c = (b.pointer(name, ty) for name in "abc")
    rows = numbered("r", LINE_DIMS)
    p = integers(
        b, "x", *rows[1:], "n", "panels", "last_col", *(f"{m}_{r}" for m in "ac" for r in (*rows, "x")),
        *(f"{m}_{k}" for m in "ab" for k in numbered("k", v.runs)), "b_step",
    )  # fmt: skip
    mask = None
    if v.masked:
        words = Ty("i", ty.bits, lanes)
        mask = b.let("mask", op_("lt", Op("iota", (), words), p["n"].cast(words.scalar).splat(lanes)))
    taps = [(run, i) for run in range(v.runs) for i in range(v.length)]
    with b.for_("panel", 0, p["panels"]) as panel:
        col = b.let("col", minimum(panel * cols, p["last_col"]))
        held = [
            [
                b.let("b", b.load(weights, p[f"b_k{run}"] + p["b_step"] * i + col + j * lanes, lanes, mask))
                for j in range(nv)
            ]
            for run, i in taps
        ]
        strides = {m: (const(0), [p[f"{m}_{r}"] for r in rows]) for m in "ac"}
        at = Odometer(b, b.lo, [const(1), *(p[r] for r in rows[1:])], strides)
        with b.for_("line", b.lo, b.hi):
            at_c = b.let("at_c", at.offset["c"] + col)
            with b.for_("pixel", 0, p["x"]) as x:
                here = b.let("here", at.offset["a"] + x * p["a_x"])
                sums = [b.var("sum", Const(0, ty.vector(lanes))) for _ in range(nv)]
                for (run, i), columns in zip(taps, held):
                    spread = b.let("spread", b.load(a, here + p[f"a_k{run}"] + i).splat(lanes))
                    for total, column in zip(sums, columns):
                        b.assign(total, multiply_add(spread, column, total))
                for j, total in enumerate(sums):
                    b.store(c, at_c + x * p["c_x"] + j * lanes, total, mask)
            at.advance()
    return b.build()
