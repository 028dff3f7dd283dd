"""scan, while and cond: loops and branches of the tape around the steps of the graphs they hold.

The slices of a scan's xs and ys are views that move by one slice an iteration.  A carry whose old values are stacked, as those
that a derivative needs, lies in its stack, which has room for one more.  Another one lies in one buffer if the body can write
its new value over the old one; else in two, and which of them holds the old value alternates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fx.ir import Atom, Aval, Eqn, Graph, Var

from ..cost import flops_per_element
from ..index_map import dense_strides
from ..loop_builder import KernelBuilder
from .context import Builder, LogicalBuffer, Region
from .registry import Operand, lowers
from .steering import Case, LoopBegin, LoopEnd, LoopExit, Switch, SwitchEnd
from .types import ty_of
from .unrolled import Elements, Unrolled, is_small

__all__: list[str] = []

AT_ONCE = 1 << 16  # iterations of a small while loop between two looks for Ctrl-C


def _buffer(ctx: Builder, x: Operand) -> int:
    """A buffer that holds ``x``, dense, from its first byte on."""
    x = ctx.contiguous(x)
    return ctx.view(x, Aval(x.shape, x.dtype))


class _Carry:
    """The buffers of carried values: ``old`` is read by an iteration, ``new`` written."""

    def __init__(
        self, ctx: Builder, loop: int, body: Region, init: Sequence[Operand], outs: Sequence[Operand], trip: int | None,
        stacks: Mapping[int, Operand] = {}, reverse: bool = False,
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
                self._place(loop, x, out, body.in_place(k), trip)

    def _place(self, loop: int, x: Operand, out: Operand, in_place: bool, trip: int | None) -> None:
        ctx, aval = self.ctx, Aval(out.shape, out.dtype)
        first = out.buffer
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
            self.last.append(out.buffer if trip is not None else self.old[-1])
        ctx.copy(x, first)

    def _place_in_stack(self, loop: int, x: Operand, out: Operand, y: Operand, trip: int, reverse: bool) -> None:
        """The old values are the slices of ``y``; the last one lies behind them, or with ``reverse`` in front."""
        ctx, aval = self.ctx, Aval(out.shape, out.dtype)
        nbytes = aval.nbytes
        base = ctx.add_buffer(LogicalBuffer("arena", (trip + 1) * nbytes))
        first, step = (trip * nbytes, -nbytes) if reverse else (0, nbytes)
        ctx.relocate(y.buffer, base, nbytes if reverse else 0)
        self.keeps.add(base)
        self.old.append(ctx.view(base, aval, byte_offset=first, loop=loop, step=step))
        self.new.append(ctx.view(base, aval, byte_offset=first + step, loop=loop, step=step))
        last = first + trip * step
        if _is_free(ctx, out):
            ctx.relocate(out.buffer, base, last)
            self.last.append(out.buffer)
        else:
            self.last.append(ctx.view(base, aval, byte_offset=last))
        ctx.copy(x, ctx.view(base, aval, byte_offset=first))

    def finish(self) -> None:
        """Behind the loop: puts the final values where they belong."""
        for buffer, out in zip(self.last, self.outs):
            if buffer != out.buffer:
                self.ctx.copy(Operand(buffer, out.shape, dense_strides(out.shape), 0, out.dtype), out.buffer)


def _slice(ctx: Builder, loop: int, x: Operand, length: int, reverse: bool) -> int:
    """A view that is ``x[0]`` in the first iteration, ``x[1]`` in the next; from the end with ``reverse``."""
    aval = Aval(x.shape[1:], x.dtype)
    if not Operand(x.buffer, x.shape[1:], x.strides[1:], x.offset, x.dtype).dense:
        x = ctx.contiguous(x)
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
    body = ctx.plan_region(graph, {k: n_consts + k for k in range(n_carry) if k not in stacks})
    loop = ctx.number()
    fixed = [_buffer(ctx, x) for x in consts]
    carry = _Carry(ctx, loop, body, init, outs[:n_carry], length, stacks, reverse)
    slices = [_slice(ctx, loop, x, length, reverse) for x in xs]
    ys = [y for y in outs[n_carry:] if y not in stacks.values()]
    stacked = [_slice(ctx, loop, y, length, reverse) for y in ys]
    ctx.steer(LoopBegin(loop, frozenset(carry.keeps)))
    body.emit([*fixed, *carry.old, *slices], [*carry.new, *stacked])
    ctx.steer(LoopEnd(loop, length))
    carry.finish()


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
