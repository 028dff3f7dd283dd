"""FusionPlan -> LoopProgram: the steps of every group, over logical buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fx.errors import GraphError, LoweringError
from fx.ir import Atom, Literal

from .buffers import Sharing, plan_buffers, share_in_place
from .index_map import dense_strides
from .loop_verify import verify_kernel
from .lower.context import Builder, CallbackStep, LogicalBuffer, touched
from .lower.registry import LOWERINGS, Host, KernelHandle, Operand, Step
from .nest_kernel import emit_nest
from .plan import BufferPlan, FusionPlan, Group
from .storage import view_of

__all__ = ["LoopProgram", "lower_plan", "output_arrays"]


@dataclass(frozen=True)
class LoopProgram:
    """Steps in execution order and where their buffers lie.

    group_of: for each step the group of the plan that it belongs to.
    consts: the bytes of the constant buffer.
    outputs: for each graph output ('buffer', index of the output buffer), ('donated', index of the input whose memory
        it took over) or ('literal', the Literal).
    overwritten: the donated inputs that are written to.
    """

    plan: FusionPlan
    steps: tuple[Step | CallbackStep, ...]
    group_of: tuple[int, ...]
    buffers: BufferPlan
    consts: bytes
    outputs: tuple[tuple[str, object], ...]
    workers: int
    overwritten: tuple[int, ...] = ()

    @property
    def kernels(self) -> tuple[KernelHandle, ...]:
        """The distinct kernels in the order in which they first run."""
        return tuple({s.kernel.key: s.kernel for s in self.steps if isinstance(s, Step)}.values())

    def verify(self) -> LoopProgram:
        """Kernels are well formed, frames fit them, buffers that live at one time do not overlap.

        Raises:
            GraphError: naming the first thing that is wrong.
        """
        for handle in self.kernels:
            verify_kernel(handle.kernel)
        for k, s in enumerate(self.steps):
            if any(b >= len(self.buffers.buffers) for b in touched(s)):
                raise GraphError(f"step {k} ({s.name}) touches a buffer that does not exist")
            if isinstance(s, Step) and any(
                isinstance(a, int) == p.pointer for a, p in zip(s.args, s.kernel.kernel.params)
            ):
                raise GraphError(f"step {k} ({s.name}): an integer stands for a pointer or the other way round")
        self.buffers.verify()
        return self

    def __str__(self) -> str:
        lines = [f"program of {len(self.steps)} steps"]
        for k, s in enumerate(self.steps):
            if isinstance(s, CallbackStep):
                lines.append(f"{k:3d} python callback {s.name}")
            else:
                args = ", ".join(str(a) if isinstance(a, int) else f"b{a.buffer}+{_byte_offset(a)}" for a in s.args)
                lines.append(f"{k:3d} {s.name}({args}) over {s.total} in pieces of {s.chunk}")
        return "\n".join([*lines, str(self.buffers)])


def _byte_offset(arg: object) -> int:
    return arg.offset * arg.dtype.itemsize if isinstance(arg, Operand) else arg.byte_offset  # type: ignore[attr-defined]


def lower_plan(
    plan: FusionPlan, host: Host, workers: int, donate: Sequence[int] = (), in_place: bool = True
) -> LoopProgram:
    """Lowers every group of a plan.

    Args:
        workers: how many threads may run a step; scratch memory exists once for each.
        donate: inputs whose memory may be overwritten.
    """
    sharing = share_in_place(plan, donate, in_place)
    ctx = Builder(host, emit_nest)
    outputs = _declare_buffers(ctx, plan, sharing)
    producers = {v: (e, k) for e in plan.graph.eqns for k, v in enumerate(e.outputs)}
    for k, group in enumerate(plan.groups):
        ctx.group = k
        if group.nest is not None:
            emit_nest(ctx, group.nest)
        else:
            _lower_whole(ctx, plan, group, producers)
    reasons = {ctx.buffer_of(w): why for w, why in sharing.reasons.items()}
    buffers = plan_buffers(ctx.buffers, ctx.steps, workers, reasons)
    roots = {sharing.root(w) for w in sharing.memory}
    overwritten = tuple(i for i, v in enumerate(plan.graph.inputs) if v in roots)
    consts = bytes(ctx.consts)
    return LoopProgram(plan, tuple(ctx.steps), tuple(ctx.groups), buffers, consts, outputs, workers, overwritten)


def _declare_buffers(ctx: Builder, plan: FusionPlan, sharing: Sharing) -> tuple[tuple[str, object], ...]:
    """Inputs, outputs and arena buffers; owners that share memory get one buffer.  Returns ``LoopProgram.outputs``."""
    for i, v in enumerate(plan.graph.inputs):
        ctx.add_buffer(LogicalBuffer("input", v.aval.nbytes, i, aval=v.aval), v)
    outputs: list[tuple[str, object]] = []
    for o in plan.outputs:
        if isinstance(o, Literal):
            outputs.append(("literal", o))
            continue
        root = sharing.root(o)
        if root in plan.graph.inputs:
            ctx.share_buffer(o, ctx.buffer_of(root))
            outputs.append(("donated", plan.graph.inputs.index(root)))
            continue
        index = sum(kind == "buffer" for kind, _ in outputs)
        buffer = ctx.add_buffer(LogicalBuffer("output", o.aval.nbytes, index, aval=o.aval), o)
        ctx.share_buffer(root, buffer)
        outputs.append(("buffer", index))
    for g in plan.groups:
        for w in g.writes:
            root = sharing.root(w)
            if root not in ctx.buffers_by_owner:
                ctx.add_buffer(LogicalBuffer("arena", root.aval.nbytes, aval=root.aval), root)
            if w not in ctx.buffers_by_owner:
                ctx.share_buffer(w, ctx.buffer_of(root))
    for v in dict.fromkeys(
        plan.owners.values()
    ):  # values without elements are never written, yet operands may name them
        if v not in ctx.buffers_by_owner and v.aval.size == 0:
            ctx.add_buffer(LogicalBuffer("arena", 0, aval=v.aval), v)
    return tuple(outputs)


def _lower_whole(ctx: Builder, plan: FusionPlan, group: Group, producers: dict) -> None:
    """A library operation or a callback."""
    eqn = group.eqns[0]

    def operand(a: Atom) -> Operand:
        return ctx.literal(a) if isinstance(a, Literal) else view_of(plan.owners, producers, a, ctx.buffers_by_owner)

    outs = tuple(
        Operand(ctx.buffer_of(v), v.aval.shape, dense_strides(v.aval.shape), 0, v.aval.dtype) for v in eqn.outputs
    )
    ins = tuple(operand(a) for a in eqn.inputs)
    if group.kind == "callback":
        ctx.callback(eqn, ins, outs)
    elif any(v.aval.size for v in eqn.outputs):
        try:
            LOWERINGS[eqn.prim.name](ctx, eqn, ins, outs)
        except LoweringError as e:
            raise LoweringError(f"{e} ({eqn.prim.name} at {eqn.source})" if eqn.source else str(e)) from e


def output_arrays(program: LoopProgram) -> list[tuple[tuple[int, ...], np.dtype]]:
    """Shape and dtype of each array that a call allocates for its results."""
    graph = program.plan.graph
    return [(a.aval.shape, a.aval.dtype) for a, (kind, _) in zip(graph.outputs, program.outputs) if kind == "buffer"]
