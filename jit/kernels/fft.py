"""Fourier transforms in vectors: every lane holds a transform of its own, so no pass moves anything between lanes.

``Lanes`` is Stockham's form of the mixed-radix transform (Van Loan, Computational Frameworks for the FFT, 1.7): passes of
radix 2, 3, 4 and 5 go between two halves of scratch memory and leave the results in order.

* ``lanes_kernel`` transforms along a dimension beside which another one is contiguous, ``rows_kernel`` short rows.
* Another row of ``n = n1 * n2`` numbers is cut in four steps (Bailey 1990), of which two are such transforms:
  with ``j = j1 * n2 + j2`` and ``k = k2 * n1 + k1``::

      X[k] = sum_j2 w_n2^(j2 k2) w_n^(j2 k1) sum_j1 w_n1^(j1 k1) x[j]

  ``columns_kernel`` has the inner sums, with neighbouring j2 in the lanes, and turns them by w_n^(j2 k1); ``across_kernel`` the
  outer ones, with neighbouring k1 in the lanes.  ``whole_kernel`` does both for each row, in the memory of a worker.
* ``roots_kernel`` makes what they multiply by: in double precision, from angles that are reduced exactly.  Of the n
  powers of w_n it makes about two square roots of n, of which the others are products.

``w_n = exp(-2 pi i / n)``.  The inverse is the same with real and imaginary parts exchanged on both ends, and scaled: the same
kernels, told which part goes where in their scratch memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Op, Ref, Ty, f64, i64, maximum, minimum, op_, select
from .butterflies import Complex, butterfly
from .sort_network import transposed
from .sort_partition import first_lanes
from .vector_math import cos, sin

__all__ = [
    "POWERS_OF_TWO", "RADICES", "Complex", "FourierSpec", "Lanes", "Powers", "across_kernel", "columns_kernel", "lanes_kernel", "roots_kernel",
    "rows_kernel", "whole_kernel",
]  # fmt: skip

RADICES = (2, 3, 4, 5)
POWERS_OF_TWO = (2, 4)  # the radices of most lengths: their passes alone are half of the code
_ZERO = Const(0, i64)
_EVEN_POWERS = 0x5555555555555555  # bits of the powers of four


@dataclass(frozen=True)
class FourierSpec:
    """real: the type of real and imaginary parts.  lanes: transforms side by side.  radices: what lengths are products of."""

    real: Ty
    lanes: int
    radices: tuple[int, ...] = RADICES


class Lanes:
    """Transforms in lanes.  Number ``e`` of all of them is two vectors from ``work[at + e * 2 * lanes]`` on, the real parts first.

    Scratch: twice so many numbers as the longest transform has.  ``inverse``: 1 for the inverse transform, else 0.
    """

    def __init__(self, b: KernelBuilder, spec: FourierSpec) -> None:
        self.b, self.spec, self.lanes, self.each = b, spec, spec.lanes, 2 * spec.lanes
        self.work = b.pointer("work", spec.real)
        self.tables = b.pointer("tables", spec.real)
        self.at = b.let("at", b.worker * b.integer("work_size"))
        self.inverse = b.integer("inverse")
        self.real_at = b.let("real_at", self.inverse * self.lanes)  # of a number as it comes and goes
        self.imag_at = b.let("imag_at", self.lanes - self.real_at)

    def put(self, at: Expr, x: Complex) -> None:
        self.b.store(self.work, at, x.re)
        self.b.store(self.work, at + self.lanes, x.im)

    def get(self, at: Expr, buf: str | None = None) -> Complex:
        buf = buf or self.work
        parts = (self.b.load(buf, at + k * self.lanes, self.lanes) for k in (0, 1))
        return Complex(*parts).named(self.b)

    def take(self, at: Expr, x: Complex) -> None:
        """``put`` of what a transform begins with: for the inverse with its parts exchanged."""
        self.b.store(self.work, at + self.real_at, x.re)
        self.b.store(self.work, at + self.imag_at, x.im)

    def give(self, at: Expr) -> Complex:
        """``get`` of what a transform ends with."""
        parts = (self.b.load(self.work, at + place, self.lanes) for place in (self.real_at, self.imag_at))
        return Complex(*parts).named(self.b)

    def run(self, m: Expr, table: Expr, room: Expr | None = None) -> Ref:
        """Transforms m numbers of each lane, with the powers of w_m from ``tables[table]`` on; where the results are.

        room: numbers that each half of the scratch memory holds, m unless given.
        """
        b = self.b
        n, stride = b.var("n_left", m + 0), b.var("stride", Const(1, i64))
        src, dst = b.var("src", self.at + 0), b.var("dst", self.at + (m if room is None else room) * self.each)
        with b.while_(n > 1):
            radix = b.let("radix", _next_radix(n, self.spec.radices))
            for r in self.spec.radices:
                with b.if_(radix.eq(r)):
                    with b.if_(n > r):
                        self._pass(r, n // r, stride, src, dst, table)
                    with b.else_():
                        self._pass(r, None, stride, src, dst, table)
            b.assign(n, n // radix)
            b.assign(stride, stride * radix)
            old = b.let("old", src + 0)
            b.assign(src, dst)
            b.assign(dst, old)
        return src

    def _pass(self, r: int, groups: Expr | None, stride: Expr, src: Expr, dst: Expr, table: Expr) -> None:
        """One pass over ``groups`` times r times ``stride`` numbers; the last one has one group, and turns nothing."""
        b = self.b
        step = b.let("step", stride * self.each)
        if groups is None:
            self._groups(r, src, step, dst, step, step, [])
            return
        far = b.let("far", groups * step)
        with b.for_("p", 0, groups) as p:
            turns = []
            for k in range(1, r):
                place = b.let("place", table + p * stride * (2 * k))
                w = Complex(*(b.let("w", b.load(self.tables, place + j).splat(self.lanes)) for j in (0, 1)))
                turns.append(w)
            self._groups(r, src + p * step, far, dst + p * step * r, step, step, turns)

    def _groups(
        self, r: int, src: Expr, far: Expr, dst: Expr, near: Expr, length: Expr, turns: Sequence[Complex]
    ) -> None:
        b = self.b
        first, to = b.let("first", src), b.let("to", dst)
        with b.for_("q", 0, length, self.each) as q:
            x = [self.get(first + far * k + q) for k in range(r)]
            y = butterfly(b, x)
            for k, v in enumerate(y):
                self.put(to + near * k + q, v.named(b) * turns[k - 1] if turns and k else v)

    # ------------------------------------------------------------------------------- from and to arrays of complex numbers

    def read(self, buf: str, at: Expr, valid: Expr | None) -> Complex:
        """As many complex numbers as there are lanes, or ``valid`` ones, from word ``at`` on."""
        return self.parts(self.b.let("v", self.pairs(buf, at, valid)))

    def pairs(self, buf: str, at: Expr, valid: Expr | None) -> Expr:
        """The same as they lie there."""
        mask = None if valid is None else first_lanes(self.spec.real.vector(self.each), valid * 2)
        return self.b.load(buf, at, self.each, mask)

    def parts(self, v: Expr) -> Complex:
        parts = self.b.let("parts", op_("every_other", v, v))
        return Complex(*(op_("half", parts, Const(k, i64)) for k in (0, 1)))

    def write(self, buf: str, at: Expr, x: Complex, scale: Expr, valid: Expr | None) -> None:
        b, n = self.b, self.each
        mask = None if valid is None else first_lanes(self.spec.real.vector(n), valid * 2)
        b.store(buf, at, op_("interleave", x.re * scale, x.im * scale), mask)

    def scale(self, n: Expr) -> Expr:
        """What results of transforms of n numbers are multiplied by."""
        one = Const(1.0, self.spec.real)
        return self.b.let("scale", select(self.inverse.eq(0), one, one / n.cast(self.spec.real)).splat(self.lanes))

    def sweep(self, count: Expr, valid: Expr, body: Callable[[Expr, Expr | None], None]) -> None:
        """``body(k, valid)`` for k below ``count``; with None if all lanes are valid."""
        b = self.b
        with b.if_(valid >= self.lanes):
            with b.for_("k", 0, count) as k:
                body(k, None)
        with b.else_(), b.for_("k", 0, count) as k:
            body(k, valid)


def _next_radix(n: Expr, radices: Sequence[int]) -> Expr:
    """Threes and fives first, then a two or none, then fours."""
    four = (n & _EVEN_POWERS).ne(0)
    if radices == POWERS_OF_TWO:
        return select(four, Const(4, i64), Const(2, i64))
    power_of_two = (n & (n - 1)).eq(0)
    two = select(power_of_two & four, Const(4, i64), Const(2, i64))
    return select((n % 3).eq(0), Const(3, i64), select((n % 5).eq(0), Const(5, i64), two))


# ------------------------------------------------------------------------------------ along a dimension beside another


def lanes_kernel(spec: FourierSpec) -> Kernel:
    """Index p of the range is a block of lanes of the contiguous dimension, which has ``inner`` numbers, in one of the outer ones.

    ``x_step``, ``x_outer``: words from one number of a transform to the next, and from one outer index to the next.
    Scratch: ``4 * lanes * n`` words for each worker.  Tables: the powers of w_n.
    """
    b = KernelBuilder("fft_lanes")
    x, out = b.pointer("x", spec.real), b.pointer("out", spec.real)
    t = Lanes(b, spec)
    n, inner, blocks = b.integer("n"), b.integer("inner"), b.integer("blocks")
    (x_step, x_outer), (out_step, out_outer) = (
        [b.integer(f"{s}_{k}") for k in ("step", "outer")] for s in ("x", "out")
    )
    scale = t.scale(n)
    with b.for_("p", b.lo, b.hi) as p:
        outer = b.let("outer", p // blocks)
        i = b.let("i", p % blocks * t.lanes)
        valid = b.let("valid", inner - i)
        source, target = b.let("source", outer * x_outer + i * 2), b.let("target", outer * out_outer + i * 2)
        t.sweep(n, valid, lambda k, v: t.take(t.at + k * t.each, t.read(x, source + k * x_step, v)))
        found = t.run(n, _ZERO)
        t.sweep(n, valid, lambda k, v: t.write(out, target + k * out_step, t.give(found + k * t.each), scale, v))
    return b.build()


# ------------------------------------------------------------------------------------ short rows, one in each lane


def rows_kernel(spec: FourierSpec) -> Kernel:
    """Index p of the range is a group of rows of n numbers, one in each lane; the last group repeats the last row.

    ``x_row``, ``x_outer``: words from one row to the next, of ``inner`` ones, and from one outer index to the next.
    Scratch: ``4 * lanes * n`` words for each worker, n filled up to a whole number of vectors.  Tables: the powers of w_n.
    """
    b = KernelBuilder("fft_rows")
    x, out = b.pointer("x", spec.real), b.pointer("out", spec.real)
    t = Lanes(b, spec)
    n, rows, inner = b.integer("n"), b.integer("rows"), b.integer("inner")
    strides = {side: [b.integer(f"{side}_{k}") for k in ("row", "outer")] for side in ("x", "out")}
    scale, lanes = t.scale(n), spec.lanes
    padded = b.let("padded", (n + lanes - 1) // lanes * lanes)

    def begins(p: Expr) -> list[list[Ref]]:
        """Where the rows of a group begin in x and in out."""
        numbers = [b.let("row", minimum(p * lanes + k, rows - 1)) for k in range(lanes)]
        places = [(b.let("outer", r // inner), b.let("inner", r % inner)) for r in numbers]
        return [
            [b.let("begin", i * outer + j * row) for i, j in places] for row, outer in (strides["x"], strides["out"])
        ]

    def turned(values: Sequence[Complex]) -> list[Complex]:
        """Element k of all rows for each k, of some elements of each row; and back."""
        parts = (transposed([b.let("part", part) for part in side]) for side in zip(*((v.re, v.im) for v in values)))
        return [Complex(re, im).named(b) for re, im in zip(*parts)]

    def all_or(valid: Expr, body: Callable[[Expr | None], None]) -> None:
        """``body`` for whole vectors, or for what is left."""
        with b.if_(valid >= lanes):
            body(None)
        with b.else_():
            body(valid)

    with b.for_("p", b.lo, b.hi) as p:
        sources, targets = begins(p)
        with b.for_("c", 0, n, lanes) as c:
            word, to = b.let("word", c * 2), b.let("to", t.at + c * t.each)
            pairs = [b.var("pairs", Const(0.0, spec.real.vector(t.each))) for _ in sources]

            def load(valid: Expr | None) -> None:
                for pair, source in zip(pairs, sources):
                    b.assign(pair, t.pairs(x, source + word, valid))

            all_or(b.let("valid", n - c), load)
            for k, v in enumerate(turned([t.parts(pair) for pair in pairs])):
                t.take(to + k * t.each, v)
        found = t.run(n, _ZERO, padded)
        with b.for_("c", 0, n, lanes) as c:
            word, source = b.let("word", c * 2), b.let("source", found + c * t.each)
            numbers = turned([t.give(source + k * t.each) for k in range(lanes)])

            def store(valid: Expr | None) -> None:
                for target, v in zip(targets, numbers):
                    t.write(out, target + word, v, scale, valid)

            all_or(b.let("valid", n - c), store)
    return b.build()


# ------------------------------------------------------------------------------------ rows in four steps


class Powers:
    """Powers of the root of unity of an ``order``, as products of two that ``roots_kernel`` left from ``roots[at]`` on."""

    def __init__(self, b: KernelBuilder, at: Expr | int) -> None:
        self.b, self.roots = b, b.pointer("roots", f64)
        self.order, self.low_bits = b.integer("order"), b.integer("low_bits")
        self.coarse = b.let("coarse", _ZERO + at)  # powers of w^(2^low_bits)
        self.fine = b.let("fine", self.coarse + ((self.order >> self.low_bits) + 1) * 2)

    def __call__(self, e: Expr) -> Complex:
        b = self.b
        low = e & ((Const(1, i64) << self.low_bits) - 1)
        places = (b.let("place", self.coarse + (e >> self.low_bits) * 2), b.let("place", self.fine + low * 2))
        factors = [Complex(*(b.let("w", b.load(self.roots, at + j)) for j in (0, 1))) for at in places]
        return (factors[0] * factors[1]).named(b)


class _Rows(Lanes):
    """The two halves of a transform of ``n1 * n2`` numbers; what is between them is n1 rows of n2 numbers, in vectors."""

    def __init__(self, b: KernelBuilder, spec: FourierSpec) -> None:
        super().__init__(b, spec)
        self.n1, self.n2 = b.integer("n1"), b.integer("n2")
        self.powers = Powers(b, (self.n1 + self.n2) * 2)
        self.times = b.let("times", self.powers.order // (self.n1 * self.n2))
        self.columns = b.let("columns", (self.n2 + spec.lanes - 1) // spec.lanes)
        self.row = b.let("row_words", self.columns * self.each)  # of what is between
        self.second = b.let("second", self.n1 * 2)  # powers of w_n2
        self.turning = b.let("turning", (self.n1 + self.n2) * 2)  # w_n^(k1 l) for lane l

    def first_half(self, x: str, source: Expr, between: str, to: Expr, block: Expr) -> None:
        """The inner sums for a block of columns."""
        b = self.b
        j = b.let("j", block * self.lanes)
        valid = b.let("valid", self.n2 - j)
        first, step = b.let("column", source + j * 2), b.let("next_row", self.n2 * 2)
        self.sweep(self.n1, valid, lambda k, v: self.take(self.at + k * self.each, self.read(x, first + k * step, v)))
        found = self.run(self.n1, _ZERO)
        place = b.let("place", to + block * self.each)
        with b.for_("k", 0, self.n1) as k:
            base = self.powers(b.let("e", j * k * self.times)).cast(self.spec.real).splat(self.lanes).named(b)
            turn = (base * self.get(self.turning + k * self.each, self.tables)).named(b)
            y = self.get(found + k * self.each) * turn
            at = b.let("at_row", place + k * self.row)
            b.store(between, at, y.re)
            b.store(between, at + self.lanes, y.im)

    def second_half(self, between: str, source: Expr, out: str, target: Expr, block: Expr, scale: Expr) -> None:
        """The outer sums for a block of rows."""
        b, lanes = self.b, self.lanes
        k1 = b.let("k1", block * lanes)
        valid = b.let("valid", self.n1 - k1)
        first = b.let("first_row", source + k1 * self.row)
        with b.for_("c", 0, self.columns) as c:
            at = b.let("at_column", first + c * self.each)
            parts = []
            for part in (0, 1):
                rows = [b.load(between, at + self.row * k + part * lanes, lanes) for k in range(lanes)]
                parts.append(transposed([b.let("row", v) for v in rows]))
            for k, (re, im) in enumerate(zip(*parts)):
                self.put(self.at + (c * lanes + k) * self.each, Complex(re, im))
        found = self.run_second()
        to, step = b.let("to_k", target + k1 * 2), b.let("next_k", self.n1 * 2)
        self.sweep(
            self.n2, valid, lambda k, v: self.write(out, to + k * step, self.give(found + k * self.each), scale, v)
        )

    def run_second(self) -> Ref:
        return self.run(self.n2, self.second)


def whole_kernel(spec: FourierSpec) -> Kernel:
    """Transforms row p of a contiguous dimension, rows being ``x_row`` words apart, of ``inner`` ones that are ``x_outer`` apart.

    Scratch for each worker: two halves of ``work``, and n1 rows between, filled up to a whole number of vectors either way.
    """
    b = KernelBuilder("fft_whole")
    x, out = b.pointer("x", spec.real), b.pointer("out", spec.real)
    between = b.pointer("between", spec.real)
    t = _Rows(b, spec)
    between_size, inner = b.integer("between_size"), b.integer("inner")
    (x_row, x_outer), (out_row, out_outer) = ([b.integer(f"{s}_{k}") for k in ("row", "outer")] for s in ("x", "out"))
    scale = t.scale(t.n1 * t.n2)
    mine = b.let("mine", b.worker * between_size)
    with b.for_("p", b.lo, b.hi) as p:
        outer, i = b.let("outer", p // inner), b.let("i", p % inner)
        source, target = b.let("source", outer * x_outer + i * x_row), b.let("target", outer * out_outer + i * out_row)
        with b.for_("block", 0, t.columns) as block:
            t.first_half(x, source, between, mine, block)
        with b.for_("block", 0, (t.n1 + spec.lanes - 1) // spec.lanes) as block:
            t.second_half(between, mine, out, target, block, scale)
    return b.build()


def columns_kernel(spec: FourierSpec) -> Kernel:
    """The first half: index p of the range is a block of columns of a row."""
    b = KernelBuilder("fft_columns")
    x, between = b.pointer("x", spec.real), b.pointer("between", spec.real)
    t = _Rows(b, spec)
    between_size, inner, x_row, x_outer = (b.integer(n) for n in ("between_size", "inner", "x_row", "x_outer"))
    with b.for_("p", b.lo, b.hi) as p:
        row, block = b.let("row", p // t.columns), b.let("block", p % t.columns)
        source = b.let("source", row // inner * x_outer + row % inner * x_row)
        t.first_half(x, source, between, b.let("to_row", row * between_size), block)
    return b.build()


def across_kernel(spec: FourierSpec) -> Kernel:
    """The second half: index p of the range is a block of the rows between."""
    b = KernelBuilder("fft_across")
    between, out = b.pointer("between", spec.real), b.pointer("out", spec.real)
    t = _Rows(b, spec)
    between_size, inner, out_row, out_outer = (b.integer(n) for n in ("between_size", "inner", "out_row", "out_outer"))
    scale = t.scale(t.n1 * t.n2)
    blocks = b.let("blocks", (t.n1 + spec.lanes - 1) // spec.lanes)
    with b.for_("p", b.lo, b.hi) as p:
        row, block = b.let("row", p // blocks), b.let("block", p % blocks)
        target = b.let("target", row // inner * out_outer + row % inner * out_row)
        t.second_half(between, b.let("of_row", row * between_size), out, target, block, scale)
    return b.build()


# ------------------------------------------------------------------------------------ roots of unity


def roots_kernel(real: Ty, lanes: int, vector: int) -> Kernel:
    """Powers of roots of unity, in double precision in ``roots``: all n1 of w_n1, all n2 of w_n2, and what ``Powers`` takes.

    The first two go into ``tables`` as well, and behind them, for ``turned`` rows k and each lane l, w_n^(k l), n = n1 * n2;
    the order is a multiple of n, or 0, which leaves out the third.  ``vector``: numbers of double precision in a register.
    """
    b = KernelBuilder("fft_roots")
    roots, tables = b.pointer("roots", f64), b.pointer("tables", real)
    n1, n2, turned, n, low_bits = (b.integer(name) for name in ("n1", "n2", "turned", "order", "low_bits"))
    times = b.let("times", n // maximum(n1 * n2, 1))
    fine = b.let("n_fine", select(n > 0, Const(1, i64) << low_bits, _ZERO))
    coarse = b.let("n_coarse", select(n > 0, (n >> low_bits) + 1, _ZERO))
    sections = (
        (n1, n1, Const(1, i64)),
        (n2, n2, Const(1, i64)),
        (coarse, n, Const(1, i64) << low_bits),
        (fine, n, Const(1, i64)),
    )
    with b.for_("p", b.lo, b.hi):
        at = b.var("at", _ZERO)
        with b.for_("section", 0, 4) as section:
            count, order, step = (
                b.let(name, _chosen(section, [s[k] for s in sections]))
                for k, name in enumerate(("count", "order", "step"))
            )
            with b.for_("i", 0, count, vector) as i:
                lane = Op("iota", (), Ty("i", 64, vector)) if vector > 1 else _ZERO
                power = ((i.splat(vector) + lane) * step.splat(vector)).cast(f64.vector(vector))
                re, im = _root(b, power, order.cast(f64).splat(vector))
                pairs = op_("interleave", re, im) if vector > 1 else None
                left = b.let("left", count - i)
                mask = first_lanes(f64.vector(2 * vector), minimum(left, vector) * 2)
                b.store(roots, at + i * 2, pairs, mask)
            b.assign(at, at + count * 2)
        both = b.let("both", (n1 + n2) * 2)
        with b.for_("i", 0, both, vectorize=True) as i:
            b.store(tables, i, b.load(roots, i).cast(real))
        low = b.let("low", (Const(1, i64) << low_bits) - 1)
        second = b.let("second", both + coarse * 2)
        with b.for_("k", 0, turned) as k, b.for_("l", 0, lanes) as lane_:
            e = b.let("e", k * lane_ * times)
            places = (b.let("place", both + (e >> low_bits) * 2), b.let("place", second + (e & low) * 2))
            a, c = (Complex(*(b.let("w", b.load(roots, place + j)) for j in (0, 1))) for place in places)
            w = a * c
            to = b.let("to", both + k * (2 * lanes) + lane_)
            b.store(tables, to, w.re.cast(real))
            b.store(tables, to + lanes, w.im.cast(real))
    return b.build()


def _chosen(k: Expr, values: Sequence[Expr]) -> Expr:
    found = values[-1]
    for j in range(len(values) - 2, -1, -1):
        found = select(k.eq(j), values[j], found)
    return found


def _root(b: KernelBuilder, power: Expr, order: Expr) -> tuple[Expr, Expr]:
    """exp(-2 pi i power / order): of whole numbers, whose quarters are told exactly."""
    quarters = b.let("quarters", op_("rint", power * 4.0 / order))
    rest = b.let("rest", power * 4.0 - quarters * order)
    angle = b.ranges.state(b.let("angle", rest * (math.pi / 2) / order), -1.0, 1.0)  # an eighth of a turn at most
    c, s = b.let("c", cos(b, angle)), b.let("s", sin(b, angle))
    odd = b.let("odd", quarters - op_("floor", quarters * 0.5) * 2.0)
    half = b.let("half", op_("floor", quarters * 0.5))
    sign = b.let("sign", 1.0 - (half - op_("floor", half * 0.5) * 2.0) * 2.0)
    turned = b.let("turned", odd > 0.5)
    re = select(turned, -s, c) * sign
    im = select(turned, c, s) * sign
    return re, -im
