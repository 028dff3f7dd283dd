"""What makes a transform of 2 m real numbers of one of m complex numbers, z[j] = x[2 j] + i x[2 j + 1].

With Z the transform of z, X that of x, w = exp(-2 pi i / 2 m) and Z[m] = Z[0]::

    E[k] = (Z[k] + conj Z[m - k]) / 2        X[k] = E[k] + w^k O[k]
    O[k] = (Z[k] - conj Z[m - k]) / 2 i      X[m - k] = conj(E[k] - w^k O[k])

``real_kernel`` makes X of Z in place, or, for the inverse, Z of X: from both ends of a row towards its middle.
"""

from __future__ import annotations

from dataclasses import replace

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, i64, minimum, op_
from .butterflies import Complex
from .fft import FourierSpec, Powers

__all__ = ["real_kernel"]

_ZERO = Const(0, i64)


def real_kernel(spec: FourierSpec, inverse: bool) -> Kernel:
    """Index p of the range is a piece of ``size`` numbers k of a row: ``pieces`` of them are a row's 0 <= k <= m / 2.

    ``x_row``, ``x_outer``: words from one row to the next, of ``inner`` ones, and from one outer index to the next.
    """
    b = KernelBuilder("fft_real")
    x, out = b.pointer("x", spec.real), b.pointer("out", spec.real)
    at = b.integer("at")
    powers = Powers(b, at)
    m, inner, pieces, size = (b.integer(name) for name in ("m", "inner", "pieces", "size"))
    (x_row, x_outer), (out_row, out_outer) = ([b.integer(f"{s}_{k}") for k in ("row", "outer")] for s in ("x", "out"))
    ends = _Ends(b, spec, inverse, x, out, powers)
    with b.for_("p", b.lo, b.hi) as p:
        row, piece = b.let("row", p // pieces), b.let("piece", p % pieces)
        outer, i = b.let("outer", row // inner), b.let("i", row % inner)
        source, target = b.let("source", outer * x_outer + i * x_row), b.let("target", outer * out_outer + i * out_row)
        half = b.let("half", m // 2 + 1)
        start = b.let("start", piece * size)
        stop = b.let("stop", minimum(start + size, half))
        with b.if_(start.eq(0)):
            ends.first(source, target, m)
        begin = b.let("begin", start + (start.eq(0)).cast(i64))
        whole = b.let("whole", begin + (minimum(stop, (m + 1) // 2) - begin) // spec.lanes * spec.lanes)
        with b.for_("k", begin, whole, spec.lanes) as k:  # neither end reaches the middle
            ends.pair(source, target, m, k, spec.lanes)
        with b.for_("k", whole, stop) as k:
            ends.pair(source, target, m, k, 1)
    return b.build()


class _Ends:
    """Pairs of numbers k and m - k."""

    def __init__(self, b: KernelBuilder, spec: FourierSpec, inverse: bool, x: str, out: str, powers: Powers) -> None:
        self.b, self.spec, self.inverse, self.x, self.out, self.powers = b, spec, inverse, x, out, powers
        self.steps = self._lane_powers(spec.lanes)

    def _lane_powers(self, lanes: int) -> Complex:
        """w^l in lane l: the first of the fine powers."""
        b = self.b
        v = b.let("v", b.load(self.powers.roots, self.powers.fine, 2 * lanes))
        parts = b.let("parts", op_("every_other", v, v))
        return Complex(*(op_("half", parts, Const(k, i64)) for k in (0, 1))).cast(self.spec.real).named(b)

    def first(self, source: Expr, target: Expr, m: Expr) -> None:
        """k = 0 and k = m, which are real."""
        b = self.b
        last = m * 2
        if self.inverse:
            x, y = b.let("x0", b.load(self.x, source)), b.let("x1", b.load(self.x, source + last))
            b.store(self.out, target, (x + y) * 0.5)
            b.store(self.out, target + 1, (x - y) * 0.5)
            return
        x, y = b.let("x0", b.load(self.x, source)), b.let("x1", b.load(self.x, source + 1))
        zero = Const(0.0, self.spec.real)
        for place, v in ((0, x + y), (1, zero), (last, x - y), (last + 1, zero)):
            b.store(self.out, target + place, v)

    def pair(self, source: Expr, target: Expr, m: Expr, k: Expr, lanes: int) -> None:
        """k and the next ones, as many as ``lanes``; and m - k and the ones before it."""
        b = self.b
        near, far = k * 2, b.let("far", (m - k - (lanes - 1)) * 2)
        w = self.powers(k).cast(self.spec.real)
        if lanes > 1:
            w = (w.splat(lanes).named(b) * self.steps).named(b)
        a, c = self._read(source + near, lanes, False), self._read(source + far, lanes, True)
        c = replace(c, im=-c.im)
        even, odd = (a + c).scaled(0.5).named(b), (a - c).scaled(0.5).named(b)
        if self.inverse:  # Z[k] = E + i conj(w) O'
            turned = (odd * replace(w, im=-w.im)).named(b)
            one = even - turned.turned()
            two = even + turned.turned()
        else:  # X[k] = E - i w O'
            turned = (odd * w).named(b)
            one = even + turned.turned()
            two = even - turned.turned()
        one, two = one.named(b), two.named(b)
        self._write(target + near, one, lanes, False)
        self._write(target + far, replace(two, im=-two.im), lanes, True)

    def _read(self, at: Expr, lanes: int, backwards: bool) -> Complex:
        b = self.b
        if lanes == 1:
            return Complex(*(b.let("v", b.load(self.x, at + j)) for j in (0, 1)))
        v = b.let("v", b.load(self.x, at, 2 * lanes))
        parts = b.let("parts", op_("every_other", v, v))
        halves = [b.let("part", op_("half", parts, Const(j, i64))) for j in (0, 1)]
        return Complex(*(b.let("part", op_("reverse", h)) if backwards else h for h in halves))

    def _write(self, at: Expr, v: Complex, lanes: int, backwards: bool) -> None:
        b = self.b
        if lanes == 1:
            b.store(self.out, at, v.re)
            b.store(self.out, at + 1, v.im)
            return
        parts = [op_("reverse", part) if backwards else part for part in (v.re, v.im)]
        b.store(self.out, at, op_("interleave", *parts))
