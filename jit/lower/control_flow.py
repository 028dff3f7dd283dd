"""scan, while and cond: loops and branches of the tape around the steps of the graphs they hold.

The slices of a scan's xs and ys are views that move by one slice an iteration.  A carry lies in one buffer if the body
can write its new value over the old one; else in two, and which of them holds the old value alternates.
"""

from __future__ import annotations

from collections.abc import Sequence

from fx.ir import Aval, Eqn

from ..index_map import dense_strides
from .context import Builder, LogicalBuffer, Region
from .registry import Operand, lowers
from .steering import Case, LoopBegin, LoopEnd, LoopExit, Switch, SwitchEnd

__all__: list[str] = []


def _buffer(ctx: Builder, x: Operand) -> int:
    """A buffer that holds ``x``, dense, from its first byte on."""
    x = ctx.contiguous(x)
    return ctx.view(x, Aval(x.shape, x.dtype))


class _Carry:
    """The buffers of carried values: ``old`` is read by an iteration, ``new`` written."""

    def __init__(
        self, ctx: Builder, loop: int, body: Region, init: Sequence[Operand], outs: Sequence[Operand], trip: int | None
    ) -> None:
        self.ctx = ctx
        self.outs = outs
        self.old: list[int] = []
        self.new: list[int] = []
        self.last: list[int] = []  # what holds the final value
        self.keeps: set[int] = set()
        for k, (x, out) in enumerate(zip(init, outs)):
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
def scan(ctx: Builder, eqn: Eqn, ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
    p = eqn.params
    n_consts, n_carry, length, reverse = p["n_consts"], p["n_carry"], p["length"], p["reverse"]
    consts, init, xs = ins[:n_consts], ins[n_consts : n_consts + n_carry], ins[n_consts + n_carry :]
    if length == 0:
        for x, out in zip(init, outs):
            ctx.copy(x, out.buffer)
        return
    body = ctx.plan_region(p["graph"], {k: n_consts + k for k in range(n_carry)})
    loop = ctx.number()
    fixed = [_buffer(ctx, x) for x in consts]
    carry = _Carry(ctx, loop, body, init, outs[:n_carry], length)
    slices = [_slice(ctx, loop, x, length, reverse) for x in xs]
    stacked = [_slice(ctx, loop, y, length, reverse) for y in outs[n_carry:]]
    ctx.steer(LoopBegin(loop, frozenset(carry.keeps)))
    body.emit([*fixed, *carry.old, *slices], [*carry.new, *stacked])
    ctx.steer(LoopEnd(loop, length))
    carry.finish()


@lowers("while")
def while_loop(ctx: Builder, eqn: Eqn, ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
    p = eqn.params
    n_cond, n_body = p["n_cond_consts"], p["n_body_consts"]
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
def cond(ctx: Builder, eqn: Eqn, ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
    branches = eqn.params["branches"]
    number = ctx.number()
    operands = [_buffer(ctx, x) for x in ins[1:]]
    ctx.steer(Switch(number, ins[0], len(branches)))
    for k, graph in enumerate(branches):
        ctx.steer(Case(number, k))
        ctx.plan_region(graph, {}).emit(operands, [x.buffer for x in outs])
    ctx.steer(SwitchEnd(number))
