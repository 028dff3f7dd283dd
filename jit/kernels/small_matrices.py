"""Factorisations and solves of many small matrices: one in each lane, so that every step of the textbook is a vector's.

Element (i, j) of all matrices of a group is a vector of scratch memory.  A lane knows nothing of the others: what it finds
does not depend on where a batch was cut.  The last group repeats the last matrix, and writes it once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Ref, Ty, fma, i32, i64, minimum, op_, select

__all__ = ["cholesky_kernel", "lu_kernel", "triangular_solve_kernel"]

_ZERO = Const(0, i64)


@dataclass(frozen=True)
class _Array:
    """A batch of matrices in memory; strides count elements."""

    pointer: str
    batch: Ref
    row: Ref
    column: Ref

    def at(self, k: Expr, i: Expr, j: Expr) -> Expr:
        return k * self.batch + i * self.row + j * self.column


class _Group:
    """Matrices side by side in scratch memory: those of each argument behind the others."""

    def __init__(self, name: str, real: Ty, lanes: int) -> None:
        self.b = b = KernelBuilder(name)
        self.real, self.lanes = real, lanes
        self.scratch = b.pointer("scratch", real)
        self.each, self.total = b.integer("each"), b.integer("total")
        self.base = b.let("base", b.worker * self.each)
        self.first: Expr = _ZERO

    def array(self, name: str, ty: Ty | None = None) -> _Array:
        b = self.b
        return _Array(b.pointer(name, ty or self.real), *(b.integer(f"{name}_{k}") for k in ("batch", "row", "column")))

    def at(self, start: Expr, width: Expr, i: Expr, j: Expr) -> Expr:
        return start + (i * width + j) * self.lanes

    def get(self, at: Expr) -> Ref:
        return self.b.let("v", self.b.load(self.scratch, at, self.lanes))

    def put(self, at: Expr, v: Expr) -> None:
        self.b.store(self.scratch, at, v)

    def read(self, x: _Array, start: Expr, rows: Expr, columns: Expr) -> None:
        b = self.b
        with b.for_("lane", 0, self.lanes) as lane:
            k = b.let("k", minimum(self.first + lane, self.total - 1))
            with b.for_("i", 0, rows) as i, b.for_("j", 0, columns) as j:
                b.store(self.scratch, self.at(start, columns, i, j) + lane, b.load(x.pointer, x.at(k, i, j)))

    def write(self, x: _Array, start: Expr, rows: Expr, columns: Expr, as_: Ty | None = None) -> None:
        b = self.b
        with b.for_("lane", 0, minimum(self.total - self.first, self.lanes)) as lane:
            k = b.let("k", self.first + lane)
            with b.for_("i", 0, rows) as i, b.for_("j", 0, columns) as j:
                v = b.load(self.scratch, self.at(start, columns, i, j) + lane)
                b.store(x.pointer, x.at(k, i, j), v.cast(as_) if as_ else v)

    def each_group(self, body: Callable[[], None]) -> Kernel:
        """A kernel whose range counts groups."""
        b = self.b
        with b.for_("group", b.lo, b.hi) as group:
            self.first = b.let("first", group * self.lanes)
            body()
        return b.build()

    def splat(self, value: float) -> Const:
        return Const(value, self.real.vector(self.lanes))


def lu_kernel(real: Ty, lanes: int) -> Kernel:
    """P A = L U by partial pivoting, the first of equals; a matrix whose factors hold a NaN becomes NaN, with no exchanges.

    Scratch: n * n + n vectors.
    """
    g = _Group("lu_lanes", real, lanes)
    b = g.b
    a, out, pivots = g.array("a"), g.array("out"), g.array("pivots", i32)
    n = b.integer("n")

    def body() -> None:
        start = g.base
        chosen = b.let("chosen", g.base + n * n * lanes)
        g.read(a, start, n, n)
        with b.for_("k", 0, n) as k:
            place = _largest_below(g, start, n, k)
            g.put(chosen + k * lanes, place)
            with b.for_("j", 0, n) as j:
                _exchange(g, start, n, k, j, place)
            pivot = b.let("pivot", g.get(g.at(start, n, k, k)))
            divisor = b.let("divisor", select(pivot.eq(0.0), 1.0, pivot))
            with b.for_("i", k + 1, n) as i:
                below = g.at(start, n, i, k)
                f = b.let("f", g.get(below) / divisor)
                g.put(below, f)
                minus = b.let("minus", -f)
                with b.for_("j", k + 1, n) as j:
                    at = g.at(start, n, i, j)
                    g.put(at, fma(minus, g.get(g.at(start, n, k, j)), g.get(at)))
        odd = b.var("odd", g.splat(0.0))  # becomes NaN where any element is
        with b.for_("e", 0, n * n) as e:
            v = g.get(start + e * lanes)
            b.assign(odd, select(v.ne(v), v, odd))
        with b.for_("e", 0, n * n) as e:
            v = g.get(start + e * lanes)
            g.put(start + e * lanes, select(odd.ne(odd), odd, v))
        with b.for_("k", 0, n) as k:
            at = chosen + k * lanes
            g.put(at, select(odd.ne(odd), k.cast(real).splat(lanes), g.get(at)))
        g.write(out, start, n, n)
        g.write(pivots, chosen, Const(1, i64), n, i32)

    return g.each_group(body)


def _largest_below(g: _Group, start: Expr, n: Expr, k: Expr) -> Ref:
    """Which row from k on has the first of the largest numbers in column k, in each lane."""
    b = g.b
    best = b.var("best", op_("abs", g.get(g.at(start, n, k, k))))
    place = b.var("place", k.cast(g.real).splat(g.lanes))
    with b.for_("i", k + 1, n) as i:
        v = b.let("size", op_("abs", g.get(g.at(start, n, i, k))))
        larger = b.let("larger", v > best)
        b.assign(best, select(larger, v, best))
        b.assign(place, select(larger, i.cast(g.real).splat(g.lanes), place))
    return place


def _exchange(g: _Group, start: Expr, n: Expr, k: Expr, j: Expr, place: Expr) -> None:
    """Exchanges the numbers of rows k and ``place`` in column j."""
    b = g.b
    top = g.at(start, n, k, j)
    old = g.get(top)
    new = b.var("new", old)
    with b.for_("i", k + 1, n) as i:
        at = g.at(start, n, i, j)
        v = g.get(at)
        here = b.let("here", place.eq(i.cast(g.real).splat(g.lanes)))
        b.assign(new, select(here, v, new))
        g.put(at, select(here, old, v))
    g.put(top, new)


def cholesky_kernel(real: Ty, lanes: int) -> Kernel:
    """A = L L^T from the lower triangle, zeros above; NaN below where there is none.  Scratch: n * n vectors."""
    g = _Group("cholesky_lanes", real, lanes)
    b = g.b
    a, out = g.array("a"), g.array("out")
    n = b.integer("n")

    def body() -> None:
        start = g.base
        g.read(a, start, n, n)
        odd = b.var("odd", g.splat(0.0))  # becomes NaN
        with b.for_("j", 0, n) as j:
            rest = b.let("rest", _minus_products(g, start, n, j, j))
            b.assign(odd, select(rest > 0.0, odd, g.splat(math.nan)))
            pivot = b.let("pivot", op_("sqrt", rest))
            g.put(g.at(start, n, j, j), pivot)
            with b.for_("i", j + 1, n) as i:
                g.put(g.at(start, n, i, j), _minus_products(g, start, n, i, j) / pivot)
                g.put(g.at(start, n, j, i), g.splat(0.0))
        with b.for_("i", 0, n) as i, b.for_("j", 0, i + 1) as j:
            at = g.at(start, n, i, j)
            g.put(at, select(odd.ne(odd), odd, g.get(at)))
        g.write(out, start, n, n)

    return g.each_group(body)


def _minus_products(g: _Group, start: Expr, n: Expr, i: Expr, j: Expr) -> Ref:
    """a[i, j] less the products of what is left of it and of a[j, j]."""
    b = g.b
    rest = b.var("rest", g.get(g.at(start, n, i, j)))
    with b.for_("k", 0, j) as k:
        b.assign(rest, fma(-g.get(g.at(start, n, i, k)), g.get(g.at(start, n, j, k)), rest))
    return rest


def triangular_solve_kernel(real: Ty, lanes: int, left: bool, lower: bool, transpose: bool, unit: bool) -> Kernel:
    """op(A) X = B, or X op(A) = B if not ``left``; of A one triangle is read.  Scratch: n * n + rows * columns vectors."""
    g = _Group("triangular_solve_lanes", real, lanes)
    b = g.b
    a, rhs, out = g.array("a"), g.array("rhs"), g.array("out")
    n, rows, columns = (b.integer(name) for name in ("n", "rows", "columns"))
    turned = transpose == left  # X op(A) = B is op(A)^T X^T = B^T
    forward = lower != turned

    def element(i: Expr, j: Expr) -> Ref:
        return g.get(g.at(g.base, n, *((j, i) if turned else (i, j))))

    def body() -> None:
        x = b.let("x_start", g.base + n * n * lanes)
        g.read(a, g.base, n, n)
        g.read(rhs, x, rows, columns)

        def place(i: Expr, c: Expr) -> Expr:
            return g.at(x, columns, *((i, c) if left else (c, i)))

        with b.for_("c", 0, columns if left else rows) as c, b.for_("step", 0, n) as step:
            i = b.let("i", step if forward else n - 1 - step)
            rest = b.var("rest", g.get(place(i, c)))
            with b.for_("done", 0, step) as done:
                j = b.let("j", done if forward else n - 1 - done)
                b.assign(rest, fma(-element(i, j), g.get(place(j, c)), rest))
            g.put(place(i, c), rest if unit else rest / element(i, i))
        g.write(out, x, rows, columns)

    return g.each_group(body)
