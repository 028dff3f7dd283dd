"""scan, while and cond: loops and branches of the tape around the steps of the graphs they hold.

The slices of a scan's xs and ys are views that move by one slice an iteration.  A carry whose old values are stacked, as those
that a derivative needs, lies in its stack, which has room for one more.  Another one lies in one buffer if the body can write
its new value over the old one; else in two, and which of them holds the old value alternates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fx.ir import Atom, Aval, Eqn, Graph, Var
from fx.sizes import alike

from ..cost import flops_per_element
from ..loop_builder import KernelBuilder
from ..nest.index_map import dense_strides
from .by_rows import ByRows, block_rows, by_rows
from .context import Builder, LogicalBuffer, Region
from .registry import Operand, lowers
from .steering import BlocksBegin, BlocksEnd, Case, LastBlock, LoopBegin, LoopEnd, LoopExit, Switch, SwitchEnd
from .types import ty_of
from .unrolled import Elements, Unrolled, is_small, number_key, numbers

__all__: list[str] = []

AT_ONCE = 1 << 16  # iterations of a small while loop between two looks for Ctrl-C


def _buffer(ctx: Builder, x: Operand) -> int:
    """A buffer that holds ``x``, dense, from its first byte on."""
    x = ctx.contiguous(x)
    return ctx.view(x, Aval(x.shape, x.dtype))


@dataclass(frozen=True)
class _Stack:
    """Memory for all values of a carry; whether the result of the loop lies in it."""

    at: Operand
    holds_result: bool


class _Carry:
    """The buffers of carried values: ``old`` is read by an iteration, ``new`` written."""

    def __init__(
        self, ctx: Builder, loop: int, body: Region, init: Sequence[Operand], outs: Sequence[Operand], trip: int | None,
        stacks: Mapping[int, _Stack] = {}, reverse: bool = False, own: frozenset[int] = frozenset(),
    ) -> None:  # fmt: skip
        self.ctx = ctx
        self.outs = outs
        self.old: list[int] = []
        self.new: list[int] = []
        self.last: list[int] = []  # what holds the final value
        self.keeps: set[int] = set()
        for k, (x, out) in enumerate(zip(init, outs)):
            if k in stacks:
                assert trip is not None
                self._place_in_stack(loop, x, out, stacks[k], trip, reverse)
            else:
                self._place(loop, x, out, body.in_place(k), trip, k in own)

    def _place(self, loop: int, x: Operand, out: Operand, in_place: bool, trip: int | None, own: bool) -> None:
        """own: not where the result belongs, as others are computing the same."""
        ctx, aval = self.ctx, Aval(out.shape, out.dtype)
        first = ctx.add_buffer(LogicalBuffer("arena", aval.nbytes, aval=aval)) if own else out.buffer
        home = first
        self.keeps.add(first)
        if in_place or aval.size == 0:
            self.old.append(first)
            self.new.append(first)
            self.last.append(first)
        else:
            second = ctx.add_buffer(LogicalBuffer("arena", aval.nbytes, aval=aval))
            self.keeps.add(second)
            if trip is not None and trip % 2:  # so that the last new value is written where the result belongs
                first, second = second, first
            self.old.append(ctx.view(first, aval, loop=loop, other=second))
            self.new.append(ctx.view(second, aval, loop=loop, other=first))
            self.last.append(home if trip is not None else self.old[-1])
        ctx.copy(x, first)

    def _place_in_stack(self, loop: int, x: Operand, out: Operand, stack: _Stack, trip: int, reverse: bool) -> None:
        """The values are the slices of ``stack``, from its end with ``reverse``."""
        ctx, aval, place = self.ctx, Aval(out.shape, out.dtype), stack.at
        nbytes = place.strides[0] * place.dtype.itemsize
        first, step = (trip * nbytes, -nbytes) if reverse else (0, nbytes)
        self.keeps.add(place.buffer)
        self.old.append(ctx.view(place, aval, byte_offset=first, loop=loop, step=step))
        self.new.append(ctx.view(place, aval, byte_offset=first + step, loop=loop, step=step))
        self.last.append(out.buffer if stack.holds_result else ctx.view(place, aval, byte_offset=first + trip * step))
        ctx.copy(x, ctx.view(place, aval, byte_offset=first))

    def finish(self) -> None:
        """Behind the loop: puts the final values where they belong."""
        for buffer, out in zip(self.last, self.outs):
            if buffer != out.buffer:
                self.ctx.copy(Operand(buffer, out.shape, dense_strides(out.shape), 0, out.dtype), out.buffer)


def _with_dense_slices(ctx: Builder, x: Operand) -> Operand:
    return x if Operand(x.buffer, x.shape[1:], x.strides[1:], x.offset, x.dtype).dense else ctx.contiguous(x)


def _slice(ctx: Builder, loop: int, x: Operand, length: int, reverse: bool) -> int:
    """A view that is ``x[0]``, which is dense, in the first iteration, ``x[1]`` in the next; from the end with ``reverse``."""
    aval = Aval(x.shape[1:], x.dtype)
    step = x.strides[0] * x.dtype.itemsize
    start, step = ((length - 1) * step, -step) if reverse else (0, step)
    return ctx.view(x, aval, byte_offset=start, loop=loop, step=step)


@lowers("scan")
def scan(ctx: Any, eqn: Eqn, ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
    p = eqn.params
    n_consts, n_carry, length, reverse = p["n_consts"], p["n_carry"], p["length"], p["reverse"]
    consts, init, xs = ins[:n_consts], ins[n_consts : n_consts + n_carry], ins[n_consts + n_carry :]
    if length == 0:
        for x, out in zip(init, outs):
            ctx.copy(x, out.buffer)
        return
    if is_small(p["graph"]):
        _small_scan(ctx, eqn, ins, outs)
        return
    graph, stacks = _own_stacks(ctx, p["graph"], n_consts, n_carry, outs)
    ys = [y for y in outs[n_carry:] if y not in stacks.values()]
    stacked = {k: _stack_of(ctx, outs[k], y, length, reverse) for k, y in stacks.items()}
    xs = [_with_dense_slices(ctx, x) for x in xs]
    whole = _Scan(graph, consts, init, xs, outs[:n_carry], ys, stacked, length, reverse)
    loop = by_rows(graph, n_consts, n_carry)
    if loop is None or ctx.serial or not all(loop.outputs[k] for k in stacks):
        whole.emit(ctx)
        return
    block = block_rows(ctx.host, loop, length)
    if block is None:
        whole.emit(ctx)
        return
    whole = replace(whole, consts=[x if cut else ctx.contiguous(x) for x, cut in zip(consts, loop.inputs)])
    for rows in _blocks(ctx, loop.n, block):
        whole.on(rows, loop).emit(ctx)


@dataclass(frozen=True)
class _Scan:
    """A scan's body and what it works on.

    stacks: by carry.  own: the carries that others compute as well, which therefore do not lie where the result belongs.
    """

    graph: Graph
    consts: Sequence[Operand]
    init: Sequence[Operand]
    xs: Sequence[Operand]
    carry: Sequence[Operand]
    ys: Sequence[Operand]
    stacks: Mapping[int, _Stack]
    length: int
    reverse: bool
    own: frozenset[int] = frozenset()

    def on(self, rows: _Rows, loop: ByRows) -> _Scan:
        """The part on some rows."""
        ins, results = iter(loop.inputs), iter(loop.outputs)
        return replace(
            self,
            graph=loop.of(rows.rows),
            consts=[rows(x, 0, next(ins)) for x in self.consts],
            init=[rows(x, 0, next(ins)) for x in self.init],
            xs=[rows(x, 1, next(ins)) for x in self.xs],
            carry=[rows(x, 0, next(results)) for x in self.carry],
            ys=[rows(y, 1, next(results)) for y in self.ys],
            stacks={k: replace(x, at=rows(x.at, 1, True)) for k, x in self.stacks.items()},
            own=frozenset(k for k, cut in enumerate(loop.outputs[: len(self.carry)]) if not cut),
        )

    def emit(self, ctx: Builder) -> None:
        n_consts, length = len(self.consts), self.length
        body = ctx.plan_region(
            self.graph, {k: n_consts + k for k in range(len(self.carry)) if k not in self.stacks}
        )  # fmt: skip
        loop = ctx.number()
        fixed = [_buffer(ctx, x) for x in self.consts]
        carry = _Carry(ctx, loop, body, self.init, self.carry, length, self.stacks, self.reverse, self.own)
        slices = [_slice(ctx, loop, x, length, self.reverse) for x in self.xs]
        ys = [_slice(ctx, loop, y, length, self.reverse) for y in self.ys]
        ctx.steer(LoopBegin(loop, frozenset(carry.keeps)))
        body.emit([*fixed, *carry.old, *slices], [*carry.new, *ys])
        ctx.steer(LoopEnd(loop, length))
        carry.finish()


@dataclass(frozen=True)
class _Rows:
    """Cuts operands to the rows of a block.

    rows: of a block.  blocks: the number of the loop over them, or None: the rows begin at ``first``.
    """

    ctx: Builder
    rows: int
    blocks: int | None
    first: int

    def __call__(self, x: Operand, axis: int, cut: bool) -> Operand:
        """The rows of a block of ``x``, whose dimension ``axis`` they are, if it is to be ``cut``."""
        if not cut:
            return x
        shape = (*x.shape[:axis], self.rows, *x.shape[axis + 1 :])
        step = x.strides[axis] * x.dtype.itemsize
        how: dict[str, Any] = {"byte_offset": self.first * step}
        if self.blocks is not None:
            how = {"loop": self.blocks, "step": self.rows * step, "by_blocks": True}
        return Operand(self.ctx.view(x.buffer, Aval(shape, x.dtype), **how), shape, x.strides, x.offset, x.dtype)


def _blocks(ctx: Builder, n: int, block: int) -> Iterator[_Rows]:
    """Puts what is lowered for each in blocks of rows: those of whole blocks, and of a last one that has fewer, or may have."""
    count, number = -(-n // block), ctx.number()
    last = n - (count - 1) * block
    ctx.steer(BlocksBegin(number, n, block))
    ctx.serial = True
    yield _Rows(ctx, block, number, 0)
    if not alike(last, block):
        ctx.steer(LastBlock(number, last))
        yield _Rows(ctx, last, None, (count - 1) * block)
    ctx.serial = False
    ctx.steer(BlocksEnd(number, count))


def _own_stacks(
    ctx: Builder, graph: Graph, n_consts: int, n_carry: int, outs: Sequence[Operand]
) -> tuple[Graph, dict[int, Operand]]:
    """The carries whose old values are stacked where the program may choose their place, and those stacks; and the body without
    these outputs."""
    stacks: dict[int, Operand] = {}
    kept: list[Atom] = list(graph.outputs[:n_carry])
    numbers = {v: k for k, v in enumerate(graph.inputs[n_consts : n_consts + n_carry])}
    for a, y in zip(graph.outputs[n_carry:], outs[n_carry:]):
        k = numbers.get(a) if isinstance(a, Var) else None
        if k is not None and k not in stacks and graph.outputs[k] is not a and _is_free(ctx, y):
            stacks[k] = y
        else:
            kept.append(a)
    return (graph.replace(outputs=tuple(kept)) if stacks else graph), stacks


def _stack_of(ctx: Builder, out: Operand, y: Operand, length: int, reverse: bool) -> _Stack:
    """Memory for the slices of ``y``, and behind them, or with ``reverse`` in front, for the value after the last iteration, which may
    be the result itself."""
    nbytes = out.size * out.dtype.itemsize
    base = ctx.add_buffer(LogicalBuffer("arena", (length + 1) * nbytes))
    ctx.relocate(y.buffer, base, nbytes if reverse else 0)
    holds_result = _is_free(ctx, out)
    if holds_result:
        ctx.relocate(out.buffer, base, 0 if reverse else length * nbytes)
    shape = (length + 1, *out.shape)
    return _Stack(Operand(base, shape, dense_strides(shape), 0, out.dtype), holds_result)


def _is_free(ctx: Builder, x: Operand) -> bool:
    """Whether a result is in memory of the program's own, which can lie anywhere."""
    return x.size > 0 and ctx.buffers[x.buffer].kind == "arena"


@lowers("while")
def while_loop(ctx: Any, eqn: Eqn, ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
    p = eqn.params
    n_cond, n_body = p["n_cond_consts"], p["n_body_consts"]
    if is_small(p["cond"]) and is_small(p["body"]):
        _small_while(ctx, eqn, ins, outs)
        return
    init = ins[n_cond + n_body :]
    cond = ctx.plan_region(p["cond"], {})
    body = ctx.plan_region(p["body"], {k: n_body + k for k in range(len(init))})
    loop = ctx.number()
    fixed = [_buffer(ctx, x) for x in ins[: n_cond + n_body]]
    carry = _Carry(ctx, loop, body, init, outs, None)
    flag = _result(ctx, p["cond"].outputs[0].aval)
    ctx.steer(LoopBegin(loop, frozenset(carry.keeps)))
    cond.emit([*fixed[:n_cond], *carry.old], [flag.buffer])
    ctx.steer(LoopExit(loop, flag))
    body.emit([*fixed[n_cond:], *carry.old], carry.new)
    ctx.steer(LoopEnd(loop, None))
    carry.finish()


def _result(ctx: Builder, aval: Aval) -> Operand:
    """A new buffer for a scalar."""
    return Operand(ctx.add_buffer(LogicalBuffer("arena", aval.nbytes, aval=aval)), (), (), 0, aval.dtype)


@lowers("cond")
def cond(ctx: Any, eqn: Eqn, ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
    branches = eqn.params["branches"]
    number = ctx.number()
    operands = [_buffer(ctx, x) for x in ins[1:]]
    ctx.steer(Switch(number, ins[0], len(branches)))
    for k, graph in enumerate(branches):
        ctx.steer(Case(number, k))
        ctx.plan_region(graph, {}).emit(operands, [x.buffer for x in outs])
    ctx.steer(SwitchEnd(number))


# ---------------------------------------------------------------------------------- loops in one kernel


class _SmallLoop:
    """The kernel of a loop whose body is written out, and its frame."""

    def __init__(self, ctx: Builder, name: str) -> None:
        self.ctx = ctx
        self.b = KernelBuilder(name, ctx.host.arithmetic)
        self.code = Unrolled(self.b)
        self.args: list[Operand | int] = []

    def pointer(self, name: str, x: Operand) -> str:
        self.args.append(x)
        return self.b.pointer(name, ty_of(x.dtype))

    def read_numbers(self, *graphs: Graph) -> None:
        """Reads the numbers that stand in the graphs, ahead of the loop: those of other values run the same kernel."""
        for a in [a for g in graphs for a in numbers(g)]:
            if number_key(a) not in self.code.numbers:
                at = self.ctx.literal(a)
                self.code.numbers[number_key(a)] = self.code.load(self.pointer("number", at), at.dtype, 0)

    def values(self, name: str, x: Operand) -> Elements:
        """The elements of a small operand."""
        x = self.ctx.contiguous(x)
        buffer = self.pointer(name, x)
        return [self.code.load(buffer, x.dtype, k) for k in range(x.size)]

    def slice(self, name: str, x: Operand, at: object) -> tuple[str, list[object]]:
        """A stacked operand, and where the elements of its slice ``at`` lie."""
        rest = x.shape[1:]
        if not Operand(x.buffer, rest, x.strides[1:], x.offset, x.dtype).dense:
            x = self.ctx.contiguous(x)
        buffer = self.pointer(name, x)
        self.args.append(x.strides[0])
        first = self.b.let("at", at * self.b.integer("stride"))  # type: ignore[operator]
        return buffer, [first + k for k in range(int(np.prod(rest)))]

    def emit(self, trip: int, flops: int, reads: Sequence[Operand], writes: Sequence[Operand]) -> None:
        nbytes = sum(x.size * x.dtype.itemsize for x in (*reads, *writes))
        kernel = self.b.build()
        self.ctx.step(
            self.ctx.fused_kernel(kernel), tuple(self.args), 1, 1, kernel.name, flops * trip, nbytes,
            tuple(reads), tuple(writes),
        )  # fmt: skip


def _flops(graph: Graph) -> int:
    return sum(flops_per_element(e) * e.outputs[0].aval.size for e in graph.eqns if e.outputs)


def _small_scan(ctx: Builder, eqn: Eqn, ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
    p = eqn.params
    n_consts, n_carry, length = p["n_consts"], p["n_carry"], p["length"]
    k = _SmallLoop(ctx, "scan_of_small_values")
    b, code = k.b, k.code
    k.read_numbers(p["graph"])
    consts = [k.values("c", x) for x in ins[:n_consts]]
    carry = [code.variables("s", k.values("s0", x)) for x in ins[n_consts : n_consts + n_carry]]
    trip = b.integer("length")
    k.args.append(length)
    with b.for_("i", 0, trip) as i:
        at = trip - 1 - i if p["reverse"] else i
        xs = []
        for x in ins[n_consts + n_carry :]:
            buffer, places = k.slice("x", x, at)
            xs.append([code.load(buffer, x.dtype, place) for place in places])
        results = code(p["graph"], [*consts, *carry, *xs])
        for y, elements in zip(outs[n_carry:], results[n_carry:]):
            buffer, places = k.slice("y", y, at)
            for place, value in zip(places, elements):
                code.store(buffer, place, value)
        code.update(carry, results[:n_carry])
    for out, elements in zip(outs, carry):
        buffer = k.pointer("out", out)
        for j, value in enumerate(elements):
            code.store(buffer, j, value)
    k.emit(length, _flops(p["graph"]), ins, outs)


def _small_while(ctx: Builder, eqn: Eqn, ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
    p = eqn.params
    n_cond, n_body = p["n_cond_consts"], p["n_body_consts"]
    for x, out in zip(ins[n_cond + n_body :], outs):
        ctx.copy(x, out.buffer)
    k = _SmallLoop(ctx, "while_of_small_values")
    b, code = k.b, k.code
    k.read_numbers(p["cond"], p["body"])
    consts = [k.values("c", x) for x in ins[: n_cond + n_body]]
    buffers = [k.pointer("s", out) for out in outs]
    carry = [
        code.variables("s", [code.load(buffer, out.dtype, j) for j in range(out.size)])
        for buffer, out in zip(buffers, outs)
    ]
    flag = _result(ctx, p["cond"].outputs[0].aval)

    def goes_on() -> Any:
        return code(p["cond"], [*consts[:n_cond], *carry])[0][0]

    again = b.var("again", goes_on())
    count = b.var("count", b.lo * 0)
    with b.while_(again & (count < AT_ONCE)):
        code.update(carry, code(p["body"], [*consts[n_cond:], *carry]))
        b.assign(count, count + 1)
        b.assign(again, goes_on())
    b.store(k.pointer("flag", flag), 0, again)
    for buffer, elements in zip(buffers, carry):
        for j, value in enumerate(elements):
            code.store(buffer, j, value)
    loop = ctx.number()
    ctx.steer(LoopBegin(loop, frozenset(x.buffer for x in outs)))
    k.emit(1, _flops(p["body"]), [*ins[: n_cond + n_body], *outs], [*outs, flag])
    ctx.steer(LoopExit(loop, flag))
    ctx.steer(LoopEnd(loop, None))
