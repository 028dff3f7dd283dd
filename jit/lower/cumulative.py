"""Cumulative sums, products, extremes and log-sum-exps, and linear recurrences.

The operand is seen as (batch, n, columns).  A *chain* accumulates along n in order, in float32 for 16-bit floats,
rounding each result once.  With columns, vectors run along them (``_columns_kernel``); without, several chains
advance together, because each waits for its own last addition (``_rows_kernel``).

Where there are few chains and they are long, each is cut into blocks of a fixed size: the total of each block, an
exclusive scan of the totals, then each block again with what came before it.  A result is ``earlier + local`` with
``local`` accumulated within the block, so sums of non-negative numbers never decrease, also across blocks, and the
number of threads changes no bit.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from fx import dtypes
from fx.ir import Eqn

from ..cost import chunk_for
from ..kernels.vector_math_exp import exp, log
from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Ref, Ty, maximum, minimum, op_, select, u8
from .loops import const, spans, vector_for
from .reductions import COMBINE
from .registry import Address, LowerContext, Operand, lowers
from .types import compute_type, ty_of

# Elements of a chain that one block accumulates.  Blocks advance side by side: a power of two would put them all in
# the same sets of the cache.
_BLOCK = 2048 + 16
_BLOCKS_FROM = 4 * _BLOCK  # shorter chains are not cut
_MANY_CHAINS = 64  # nor are so many
_TOGETHER = 8  # chains that advance together
_BUFFER = 256  # elements whose exponentials and logarithms are taken at once

State = list[Expr]

# ------------------------------------------------------------------------------------ what is accumulated


class _Scan:
    """sum, prod, max, min: the state is the result so far."""

    cost = 0.7  # nanoseconds for one element
    operands: tuple[str, ...] = ("x",)
    continues = False  # a block goes on from the state before it; else its results are joined to that

    def __init__(self, b: KernelBuilder, op: str, memory: Ty, parts: int) -> None:
        self.b, self.op, self.memory, self.parts = b, op, memory, parts
        self.work = compute_type(memory)
        self.state = (self.work,) * parts

    def load(self, xs: Sequence[str], i: Expr, lanes: int = 1) -> State:
        work = self.work.vector(lanes)
        at = [i * self.parts + k if self.parts > 1 else i for k in range(self.parts)]
        return [self.b.let("x", self.b.load(x, j, lanes).cast(work)) for x in xs for j in at]

    def first(self, x: State) -> State:
        return x

    def step(self, state: State, x: State) -> State:
        if self.parts == 1:
            return [COMBINE[self.op](self.b, state[0], x[0])]
        return list(COMBINE[self.op](self.b, tuple(state), tuple(x)))

    def join(self, earlier: State, later: State) -> State:
        """The state after two stretches, from the state of each."""
        return self.step(earlier, later)

    def store(self, out: str, i: Expr, state: State) -> None:
        for k, v in enumerate(self.result(state)):
            self.b.store(out, i * self.parts + k if self.parts > 1 else i, v)

    def result(self, state: State) -> State:
        return [v.cast(self.memory.vector(v.ty.lanes)) for v in state]


class _LogSumExp(_Scan):
    """The state is the largest x so far, m, and the sum of exp(x - m): one of its two exponentials is always 1."""

    cost = 8.0
    continues = True

    def __init__(self, b: KernelBuilder, op: str, memory: Ty, parts: int) -> None:
        super().__init__(b, op, memory, parts)
        self.state = (self.work, self.work)

    def first(self, x: State) -> State:
        return [x[0], Const(1, x[0].ty)]

    def distance(self, m: Expr, x: Expr) -> Expr:
        """-|x - m|, and 0 for two infinities."""
        return select(x.eq(m), Const(0, x.ty), -op_("abs", x - m))

    def grow(self, s: Expr, rises: Expr, e: Expr) -> Expr:
        return select(rises, s * e + 1, s + e)

    def step(self, state: State, x: State) -> State:
        m, s = state
        e = self.b.let("e", exp(self.b, self.distance(m, x[0])))
        return [maximum(m, x[0]), self.grow(s, x[0] > m, e)]

    def join(self, earlier: State, later: State) -> State:
        (m, s), (x, t) = earlier, later
        e = self.b.let("e", exp(self.b, self.distance(m, x)))
        return [maximum(m, x), select(x > m, s * e + t, s + t * e)]

    def result(self, state: State) -> State:
        m, s = state
        return [(m + log(self.b, s)).cast(self.memory.vector(m.ty.lanes))]


class _Recurrence(_Scan):
    """s[k] = a[k] s[k-1] + b[k].  The state is the product of the a of a stretch, and the s that it ends with if it begins with 0."""

    operands = ("a", "x")
    continues = True

    def __init__(self, b: KernelBuilder, op: str, memory: Ty, parts: int) -> None:
        super().__init__(b, op, memory, parts)
        self.state = (self.work,) * (2 * parts)

    def step(self, state: State, x: State) -> State:
        p, s, a, y = *self.halves(state), *self.halves(x)
        return [*self.times(p, a), *(u + v for u, v in zip(self.times(s, a), y))]

    def join(self, earlier: State, later: State) -> State:
        """A product of many a may be infinite, and meet a zero that each of them would have left as it was."""
        (_, s), (_, y), joined = self.halves(earlier), self.halves(later), self.step(earlier, later)
        nothing = functools.reduce(operator.and_, [v.eq(0) for v in s])
        return [*joined[: self.parts], *(select(nothing, v, w) for v, w in zip(y, joined[self.parts :]))]

    def halves(self, state: State) -> tuple[State, State]:
        return state[: self.parts], state[self.parts :]

    def times(self, v: State, w: State) -> State:
        return [v[0] * w[0]] if self.parts == 1 else list(COMBINE["prod"](self.b, tuple(v), tuple(w)))

    def result(self, state: State) -> State:
        return super().result(self.halves(state)[1])


_SCANS: dict[str, tuple[str, type[_Scan]]] = {
    "cumsum": ("sum", _Scan),
    "cumprod": ("prod", _Scan),
    "cummax": ("max", _Scan),
    "cummin": ("min", _Scan),
    "cumlogsumexp": ("logsumexp", _LogSumExp),
    "linear_recurrence": ("recurrence", _Recurrence),
}

# ------------------------------------------------------------------------------------ kernels


class _Frame:
    """The parameters of every kernel here.

    ``mode``: "plain" writes results; "totals" only the state after the last element; "resume" writes results with
    ``states`` as what came before each block but the first.
    """

    def __init__(self, name: str, op: str, dtype: np.dtype, reverse: bool, mode: str) -> None:
        b = self.b = KernelBuilder(f"{name}_{mode}")
        self.mode, self.reverse = mode, reverse
        memory, parts = _memory(op, dtype)
        self.scan = _SCANS[name][1](b, op, memory, parts)
        self.x = [b.pointer(name, memory) for name in self.scan.operands]
        self.out = b.pointer("out", memory) if mode != "totals" else None
        self.states = [b.pointer(f"state{k}", ty) for k, ty in enumerate(self.scan.state)] if mode != "plain" else []
        self.n, self.columns = b.integer("n"), b.integer("columns")
        self.blocks, self.size = b.integer("blocks"), b.integer("block_size")

    def chain(self, row: Expr, block: Expr) -> tuple[Expr, Expr]:
        """Where block ``block`` of a row begins (in elements of one column), and how many elements it has."""
        begin = self.b.let("begin_at", block * self.size)
        length = self.b.let("length", minimum(self.n - begin, self.size))
        start = row * self.n + (self.n - 1 - begin if self.reverse else begin)
        return self.b.let("start", start), length

    def element(self, start: Expr, i: Expr) -> Expr:
        return start - i if self.reverse else start + i

    def carried(self, at: Expr, lanes: int) -> State:
        return [self.b.let("earlier", self.b.load(s, at, lanes)) for s in self.states]


def _memory(op: str, dtype: np.dtype) -> tuple[Ty, int]:
    """The type of a real number in memory, and how many of them are accumulated at once: sums of complex numbers are
    sums of their parts."""
    if dtypes.is_bool(dtype):
        return u8, 1
    return ty_of(dtype), 2 if dtypes.is_complex(dtype) and op != "sum" else 1


class _Chain:
    """One chain (of ``lanes`` columns) in a kernel: its registers, and where it reads and writes."""

    def __init__(self, f: _Frame, start: Expr, column: Expr, state_at: Expr, block: Expr, lanes: int) -> None:
        self.f, self.start, self.column, self.state_at, self.lanes = f, start, column, state_at, lanes
        b, scan = f.b, f.scan
        x = scan.load(f.x, self.at(const(0)), lanes)
        first = scan.first(x)
        self.begins = b.let("begins", block.eq(0))
        self.earlier: State = []
        if f.mode == "resume":
            self.earlier = f.carried(state_at, lanes)
            if scan.continues:
                first = self._unless_first(scan.step(self.earlier, x), first)
        self.state = [b.var("acc", v) for v in first]
        self.write(const(0))

    def at(self, i: Expr) -> Expr:
        element = self.f.element(self.start, i)
        return self.f.b.let("at", element * self.f.columns + self.column)

    def _unless_first(self, later: State, first: State) -> State:
        begins = self.begins.splat(self.lanes)
        return [select(begins, v, w) for v, w in zip(first, later)]

    def advance(self, i: Expr) -> None:
        b, scan = self.f.b, self.f.scan
        new = [b.let("new", v) for v in scan.step(list(self.state), scan.load(self.f.x, self.at(i), self.lanes))]
        for register, v in zip(self.state, new):
            b.assign(register, v)
        self.write(i)

    def write(self, i: Expr) -> None:
        f = self.f
        if f.mode == "totals":
            return
        state: State = list(self.state)
        if f.mode == "resume" and not f.scan.continues:
            state = self._unless_first(f.scan.join(self.earlier, state), state)
        f.scan.store(cast(str, f.out), self.at(i), state)

    def end(self) -> None:
        if self.f.mode == "totals":
            for buf, v in zip(self.f.states, self.state):
                self.f.b.store(buf, self.state_at, v)


def _columns_kernel(f: _Frame, lanes: int) -> Kernel:
    """Vectors along the columns; an index of the range is one column of one block."""
    b = f.b
    if f.scan.parts > 1:
        lanes = 1
    with spans(b, f.columns, [const(0), f.blocks], {}) as span:
        row, block = (b.let("i", i) for i in span.rows.index)
        start, length = f.chain(row, block)

        def body(c: Expr, lanes: int, vectors: int) -> None:
            chains = [_Chain(f, start, c + u * lanes, span.base + c + u * lanes, block, lanes) for u in range(vectors)]
            with b.for_("i", 1, length) as i:
                for chain in chains:
                    chain.advance(i)
            for chain in chains:
                chain.end()

        vector_for(b, span.begin, span.end, lanes, body, 1 if isinstance(f.scan, _LogSumExp) else 4)
    return b.build()


def _rows_kernel(f: _Frame) -> Kernel:
    """One column: several chains advance together; an index of the range is one block."""
    b = f.b

    def chains(first: Expr, count: int) -> None:
        found, lengths = [], []
        for k in range(count):
            p = b.let("p", first + k)
            row = b.let("row", p // f.blocks)
            block = b.let("block", p - row * f.blocks)
            start, length = f.chain(row, block)
            found.append(_Chain(f, start, const(0), p, block, 1))
            lengths.append(length)
        common: Expr = lengths[0]
        for length in lengths[1:]:
            common = minimum(common, length)
        common = b.let("common", common)
        with b.for_("i", 1, common) as i:
            for chain in found:
                chain.advance(i)
        for chain, length in zip(found, lengths):
            if count > 1:
                with b.for_("i", common, length) as i:
                    chain.advance(i)
            chain.end()

    together = b.let("together", b.lo + maximum((b.hi - b.lo) // _TOGETHER, 0) * _TOGETHER)
    with b.for_("group", b.lo, together, _TOGETHER) as group:
        chains(group, _TOGETHER)
    with b.for_("single", together, b.hi) as single:
        chains(single, 1)
    return b.build()


def _logsumexp_rows_kernel(f: _Frame) -> Kernel:
    """One column: maxima and sums in order, the exponentials and logarithms of a buffer at a time in vectors."""
    b, work = f.b, f.scan.work
    xs, maxima, sums = (b.alloc(name, work, _BUFFER) for name in ("xs", "maxima", "sums"))
    with b.for_("p", b.lo, b.hi) as p:
        row = b.let("row", p // f.blocks)
        block = b.let("block", p - row * f.blocks)
        start, length = f.chain(row, block)
        state = [b.var("m", Const(-math.inf, work)), b.var("s", Const(0, work))]
        if f.mode == "resume":
            with b.if_(block > 0):
                for register, v in zip(state, f.carried(p, 1)):
                    b.assign(register, v)
        with b.for_("begin", 0, length, _BUFFER) as begin:
            count = b.let("count", minimum(length - begin, _BUFFER))
            _logsumexp_buffer(f, state, b.let("here", f.element(start, begin)), count, (xs, maxima, sums))
        if f.mode == "totals":
            for buf, v in zip(f.states, state):
                b.store(buf, p, v)
    return b.build()


def _logsumexp_buffer(f: Any, state: Sequence[Ref], start: Expr, count: Expr, buffers: tuple[str, str, str]) -> None:
    b, scan = f.b, f.scan
    m, s = state
    xs, maxima, sums = buffers
    with b.for_("i", 0, count) as i:
        x = scan.load(f.x, f.element(start, i))[0]
        b.store(xs, i, x)
        b.store(sums, i, scan.distance(m, x))
        b.assign(m, maximum(m, x))
        b.store(maxima, i, m)
    with b.for_("i", 0, count, vectorize=True) as i:
        b.store(sums, i, exp(b, b.load(sums, i)))
    with b.for_("i", 0, count) as i:
        e = b.let("e", b.load(sums, i))
        rises = b.load(xs, i).eq(b.load(maxima, i))  # or is equal to the old maximum: then e = 1, and both ways agree
        b.assign(s, scan.grow(s, rises, e))
        b.store(sums, i, s)
    if f.mode != "totals":
        with b.for_("i", 0, count, vectorize=True) as i:
            (v,) = scan.result([b.load(maxima, i), b.load(sums, i)])
            b.store(f.out, f.element(start, i), v)


def _scan_totals_kernel(name: str, op: str, dtype: np.dtype) -> Kernel:
    """Replaces the totals of a chain's blocks by what came before each block; an index of the range is one chain."""
    b = KernelBuilder(f"{name}_scan")
    scan = _SCANS[name][1](b, op, *_memory(op, dtype))
    states = [b.pointer(f"state{k}", ty) for k, ty in enumerate(scan.state)]
    columns, blocks = b.integer("columns"), b.integer("blocks")
    with b.for_("p", b.lo, b.hi) as p:
        row = b.let("row", p // columns)
        first = b.let("first", row * blocks * columns + (p - row * columns))
        before = [b.var("before", b.load(s, first)) for s in states]
        with b.for_("k", 1, blocks) as k:
            at = b.let("at", first + k * columns)
            total: State = [b.let("total", b.load(s, at)) for s in states]
            after = [b.let("after", v) for v in scan.join(list(before), total)]
            for s, register, v in zip(states, before, after):
                b.store(s, at, register)
                b.assign(register, v)
    return b.build()


# ------------------------------------------------------------------------------------ the lowering


def _cumulative(ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...]) -> None:
    name, axis, reverse = eqn.prim.name, eqn.params["axis"], eqn.params["reverse"]
    (out,) = outs
    if not out.size:
        return
    op, _ = _SCANS[name]
    batch, n, columns = math.prod(out.shape[:axis]), out.shape[axis], math.prod(out.shape[axis + 1 :])
    if dtypes.is_complex(out.dtype) and op == "sum":
        columns *= 2
    cut = n >= _BLOCKS_FROM and batch * columns <= _MANY_CHAINS
    blocks = -(-n // _BLOCK) if cut else 1
    run = _Run(
        ctx,
        name,
        reverse,
        tuple([ctx.contiguous(x) for x in ins]),
        out,
        batch,
        n,
        columns,
        blocks,
        _BLOCK if cut else n,
    )
    if cut:
        states = run.scratch()
        run.step("totals", states)
        run.scan_totals(states)
        run.step("resume", states)
    else:
        run.step("plain", ())


@dataclass(frozen=True)
class _Run:
    """One lowering: the array as (batch, n, columns), n in ``blocks`` of ``size``."""

    ctx: LowerContext
    name: str
    reverse: bool
    xs: tuple[Operand, ...]
    out: Operand
    batch: int
    n: int
    columns: int
    blocks: int
    size: int

    @property
    def op(self) -> str:
        return _SCANS[self.name][0]

    def frame(self, mode: str) -> _Frame:
        return _Frame(self.name, self.op, self.out.dtype, self.reverse, mode)

    def scratch(self) -> tuple[Address, ...]:
        count = self.batch * self.blocks * self.columns
        types = self.frame("totals").scan.state
        return tuple(self.ctx.scratch(-(-count * ty.itemsize // 64) * 64) for ty in types)

    def step(self, mode: str, states: tuple[Address, ...]) -> None:
        ctx, total = self.ctx, self.batch * self.blocks * self.columns
        along_columns = self.columns > 1
        memory, _ = _memory(self.op, self.out.dtype)
        lanes = ctx.host.lanes(compute_type(memory))

        def make() -> Kernel:
            f = self.frame(mode)
            if along_columns:
                return _columns_kernel(f, lanes)
            return _logsumexp_rows_kernel(f) if self.op == "logsumexp" else _rows_kernel(f)

        kernel = ctx.kernel((self.name, self.out.dtype.name, self.reverse, mode, along_columns, lanes), make)
        results = () if mode == "totals" else (self.out,)
        cost = self.size * _SCANS[self.name][1].cost * (0.5 if along_columns else 1.0)
        chunk = chunk_for(total, cost, 64 // memory.itemsize if along_columns else _TOGETHER)
        ctx.step(
            kernel, (*self.xs, *results, *states, self.n, self.columns, self.blocks, self.size), total, chunk,
            f"{self.name} ({mode})" if states else self.name, flops=self.out.size,
            nbytes=(1 + len(self.xs)) * self.out.size * self.out.dtype.itemsize, reads=(*self.xs, *states),
            writes=states if mode == "totals" else results,
        )  # fmt: skip

    def scan_totals(self, states: tuple[Address, ...]) -> None:
        kernel = self.ctx.kernel(
            (self.name, self.out.dtype.name, "scan"), lambda: _scan_totals_kernel(self.name, self.op, self.out.dtype)
        )
        chains = self.batch * self.columns
        chunk = chunk_for(chains, self.blocks * 3.0)
        self.ctx.step(kernel, (*states, self.columns, self.blocks), chains, chunk, f"{self.name} (scan)", writes=states)


for _name in _SCANS:
    lowers(_name)(_cumulative)
