"""Steps that compute the same in every iteration of a loop move in front of it.

The passes over graphs have taken out what is an equation of its own; what is left are parts of operations, above all the
packing of a matrix that does not change: a recurrent network multiplies by the same weights in every iteration.

A step moves if nothing in the loop writes what it reads, nothing it touches moves with the loop, and what it writes is
written by no other step of the loop and not read by itself.  What a step reads and writes is read off its kernel; but a
step that says of a buffer that it reads it, and not that it writes it, does not, though its kernel could (the product's
packs operands that other steps have packed already).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from .loop_ir import Expr, Load, Stmt
from .loop_walk import operands, statements, stored
from .lower.context import AnyStep, CallbackStep, LogicalBuffer
from .lower.registry import Address, Called, KernelHandle, Operand, Step
from .lower.steering import BlocksBegin, BlocksEnd, LoopBegin, LoopEnd, Switch, SwitchEnd

__all__ = ["hoist", "written"]

Line = tuple[AnyStep, int]
_BEGINS, _ENDS = (LoopBegin, BlocksBegin), (LoopEnd, BlocksEnd)


def hoist(
    steps: Sequence[AnyStep], groups: Sequence[int], buffers: Sequence[LogicalBuffer]
) -> tuple[list[AnyStep], list[int]]:
    """The steps, and the group of each, in their new order; inner loops first."""
    lines = _block(list(zip(steps, groups)), buffers)
    return [s for s, _ in lines], [g for _, g in lines]


def _block(lines: list[Line], buffers: Sequence[LogicalBuffer]) -> list[Line]:
    out: list[Line] = []
    k = 0
    while k < len(lines):
        step = lines[k][0]
        if not isinstance(step, _BEGINS):
            out.append(lines[k])
            k += 1
            continue
        end = next(j for j in range(k, len(lines)) if isinstance(s := lines[j][0], _ENDS) and s.number == step.number)
        body = _block(lines[k + 1 : end], buffers)
        before, rest = _invariant(body, step, buffers)
        out += [*before, lines[k], *rest, lines[end]]
        k = end + 1
    return out


def _invariant(
    body: list[Line], loop: LoopBegin | BlocksBegin, buffers: Sequence[LogicalBuffer]
) -> tuple[list[Line], list[Line]]:
    """The lines that can stand in front of the loop, and the others."""
    writers: dict[int, int] = {}  # buffer -> how many steps of the loop write it
    for step, _ in body:
        for b in _memory(written(step), buffers):
            writers[b] = writers.get(b, 0) + 1
    fixed, rest = [], []
    depth = 0
    keeps = set() if isinstance(loop, BlocksBegin) else _memory(set(loop.keeps), buffers)
    for line in body:
        step = line[0]
        depth += isinstance(step, (Switch, *_BEGINS)) - isinstance(step, (SwitchEnd, *_ENDS))
        if depth or not isinstance(step, Step) or not _stays(step, loop, buffers):
            rest.append(line)
            continue
        reads, writes = _memory(_reads(step), buffers), _memory(written(step), buffers)
        alone = all(writers[b] == 1 for b in writes) and not writes & keeps
        if alone and not reads & writes and not any(writers.get(b) for b in reads):
            fixed.append(line)
            for b in writes:
                del writers[b]  # so that what reads only this can follow
        else:
            rest.append(line)
    return fixed, rest


def _stays(step: Step, loop: LoopBegin | BlocksBegin, buffers: Sequence[LogicalBuffer]) -> bool:
    """Whether nothing that the step touches moves with the loop."""
    todo = list(_reads(step) | written(step))
    while todo:
        view = buffers[todo.pop()].view
        if view is not None:
            if view.loop == loop.number:
                return False
            todo += [view.base, *([] if view.other is None else [view.other])]
    return all(buffers[b].kind == "arena" for b in written(step))


def _memory(found: set[int], buffers: Sequence[LogicalBuffer]) -> set[int]:
    """The buffers, other than views, that these lie in."""
    memory: set[int] = set()
    todo = list(found)
    while todo:
        b = todo.pop()
        view = buffers[b].view
        if view is None:
            memory.add(b)
        else:
            todo += [view.base, *([] if view.other is None else [view.other])]
    return memory


def _reads(step: AnyStep) -> set[int]:
    return _touched(step, 0)


def written(step: AnyStep) -> set[int]:
    """The buffers that a step writes."""
    return _touched(step, 1)


def _touched(step: AnyStep, which: int) -> set[int]:
    """The buffers that a step reads (0) or writes (1)."""
    if isinstance(step, CallbackStep):
        return {x.buffer for x in (step.ins, step.outs)[which]}
    if not isinstance(step, Step):
        return set()
    found = _by_kernel(step, which).difference(step.reads) if which else _by_kernel(step, which).union(step.reads)
    return found.union(step.writes if which else (), *(_by_kernel(c, which) for c in step.calls))


def _by_kernel(call: Step | Called, which: int) -> set[int]:
    """The buffers that a kernel itself reads (0) or writes (1)."""
    names, params = _parameters(call.kernel)[which], call.kernel.kernel.params
    return {a.buffer for p, a in zip(params, call.args) if isinstance(a, (Address, Operand)) and p.name in names}


_known: dict[tuple[Hashable, ...], tuple[frozenset[str], frozenset[str]]] = {}


def _parameters(handle: KernelHandle) -> tuple[frozenset[str], frozenset[str]]:
    """The names of the pointers that a kernel loads from, and stores to."""
    if handle.key not in _known:
        body = handle.kernel.body
        loads: set[str] = set()
        seen: set[int] = set()
        todo: list[Stmt | Expr] = list(statements(body))
        while todo:  # expressions share their parts
            node = todo.pop()
            if id(node) not in seen:
                seen.add(id(node))
                todo += operands(node)
                if isinstance(node, Load):
                    loads.add(node.buf)
        _known[handle.key] = frozenset(loads), frozenset(stored(body))
    return _known[handle.key]
