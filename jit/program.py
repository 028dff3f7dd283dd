"""FusionPlan -> LoopProgram: the steps of every group, over logical buffers."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from fx.errors import GraphError, LoweringError
from fx.ir import Atom, Eqn, Graph, Literal, Var

from .assembly import ArrayType, made
from .buffers import Sharing, plan_buffers, share_in_place, without_copies_in_place
from .canonical import canonical
from .fuse import fuse
from .fuse_epilogue import Worth, product_columns
from .hoist import hoist
from .item_blocks import in_blocks
from .loop_verify import verify_kernel
from .lower.context import AnyStep, Builder, CallbackStep, Listed, LogicalBuffer, touched
from .lower.registry import LOWERINGS, PRODUCTS, Arg, Called, Host, KernelHandle, Operand, Step
from .nest.epilogue import ProductEpilogue
from .nest.index_map import dense_strides
from .nest.kernel import emit_nest, kernel_name
from .nest.nodes import Nest
from .own_memory import made_once, own_memory
from .plan import BufferPlan, FusionPlan, Group
from .runtime_ir import SHARES
from .storage import view_of

__all__ = ["Draft", "LoopProgram", "draft_plan", "lower_plan", "with_values"]


@dataclass(frozen=True)
class Draft:
    """A program whose buffers have no places yet; where its graph has sizes that vary, its numbers are formulas.

    reasons: why a buffer's memory is what it is.  sized_consts: (byte, dtype, value) of constants that follow from sizes.
    The other attributes are those of ``LoopProgram``.
    """

    plan: FusionPlan
    steps: tuple[AnyStep, ...]
    listing: tuple[Listed, ...]
    group_of: tuple[int, ...]
    logical: tuple[LogicalBuffer, ...]
    reasons: dict[int, str]
    consts: bytes
    sized_consts: tuple[tuple[int, np.dtype, Any], ...]
    outputs: tuple[tuple[str, object], ...]
    workers: int
    overwritten: tuple[int, ...]
    takes: tuple[ArrayType, ...]
    makes: tuple[ArrayType, ...]

    @property
    def kernels(self) -> tuple[KernelHandle, ...]:
        """The distinct kernels in the order in which they first run."""
        return _kernels(self.steps)

    def finished(self) -> LoopProgram:
        """The program, with a place for every buffer; all numbers must be known."""
        buffers = plan_buffers(self.logical, self.steps, self.workers, self.reasons)
        return LoopProgram(
            self.plan, self.steps, self.listing, self.group_of, buffers, with_values(self.consts, self.sized_consts), self.outputs,
            self.workers, self.overwritten, self.takes, self.makes,
        )  # fmt: skip


def with_values(consts: bytes, values: Sequence[tuple[int, np.dtype, Any]]) -> bytes:
    """The constant buffer with values (byte, dtype, value) put in."""
    if not values:
        return consts
    data = bytearray(consts)
    with np.errstate(all="ignore"):
        for at, dtype, value in values:
            bits = np.asarray(value, dtype).tobytes()
            data[at : at + len(bits)] = bits
    return bytes(data)


@dataclass(frozen=True)
class LoopProgram:
    """Steps in execution order and where their buffers lie.

    listing: the groups of the plan, and behind an operation that holds graphs those of their plans.
    group_of: for each step the number in ``listing`` of the group that it belongs to.
    consts: the bytes of the constant buffer.
    outputs: for each graph output ('buffer', index of the output buffer), ('donated', index of the input whose memory
        it took over) or ('literal', the Literal).
    overwritten: the donated inputs that are written to.
    takes, makes: shape and dtype of each input, and of each array that a call allocates for its results.
    """

    plan: FusionPlan
    steps: tuple[AnyStep, ...]
    listing: tuple[Listed, ...]
    group_of: tuple[int, ...]
    buffers: BufferPlan
    consts: bytes
    outputs: tuple[tuple[str, object], ...]
    workers: int
    overwritten: tuple[int, ...] = ()
    takes: tuple[ArrayType, ...] = ()
    makes: tuple[ArrayType, ...] = ()

    @property
    def kernels(self) -> tuple[KernelHandle, ...]:
        """The distinct kernels in the order in which they first run."""
        return _kernels(self.steps)

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
            calls: tuple[Any, ...] = (s, *s.calls) if isinstance(s, Step) else ()
            for call in calls:
                if any(isinstance(a, int) == p.pointer for a, p in zip(call.args, call.kernel.kernel.params)):
                    raise GraphError(f"step {k} ({s.name}): an integer stands for a pointer or the other way round")
        self.buffers.verify()
        return self

    def __str__(self) -> str:
        lines = [f"program of {len(self.steps)} steps"]
        for k, s in enumerate(self.steps):
            if isinstance(s, CallbackStep):
                lines.append(f"{k:3d} python callback {s.name}")
            elif isinstance(s, Step):
                lines.append(f"{k:3d} {s.name}({_arguments(s.args)}) over {s.total} in {_pieces(s)}")
            else:
                lines.append(f"{k:3d} {s.name}")
        return "\n".join([*lines, str(self.buffers)])


def _pieces(s: Step) -> str:
    return "shares" if s.chunk == SHARES else f"pieces of {s.chunk}"


def _arguments(args: Sequence[Arg]) -> str:
    return ", ".join(map(_argument, args))


def _argument(arg: Arg) -> str:
    if isinstance(arg, int):
        return str(arg)
    if isinstance(arg, Called):
        return f"{arg.kernel.kernel.name}({_arguments(arg.args)})"
    offset = arg.offset * arg.dtype.itemsize if isinstance(arg, Operand) else arg.byte_offset
    return f"b{arg.buffer}+{offset}"


def _kernels(steps: Sequence[AnyStep]) -> tuple[KernelHandle, ...]:
    found = [h for s in steps if isinstance(s, Step) for h in (s.kernel, *(c.kernel for c in s.calls))]
    return tuple({h.key: h for h in found}.values())


def lower_plan(
    plan: FusionPlan, host: Host, workers: int, donate: Sequence[int] = (), in_place: bool = True
) -> LoopProgram:
    """Lowers every group of a plan.

    Args:
        workers: how many threads may run a step; scratch memory exists once for each.
        donate: inputs whose memory may be overwritten.
    """
    return draft_plan(plan, host, workers, donate, in_place).finished()


def draft_plan(plan: FusionPlan, host: Host, workers: int, donate: Sequence[int] = (), in_place: bool = True) -> Draft:
    """``lower_plan`` as far as it goes without knowing every number."""
    sharing = share_in_place(plan, donate, in_place)
    ctx = Builder(host, emit_nest, functools.partial(_Region, in_place=in_place))
    outputs = _declare_ends(ctx, plan, sharing)
    _lower_groups(ctx, plan, sharing)
    reasons = {ctx.buffer_of(w): why for w, why in sharing.reasons.items()}
    steps, groups = made_once(*hoist(ctx.steps, ctx.groups, ctx.buffers), ctx.buffers)
    own_memory(steps, ctx.buffers)
    steps, groups = in_blocks(steps, groups, ctx.buffers, host.l2_bytes, ctx.number)
    roots = {sharing.root(w) for w in sharing.memory}
    overwritten = tuple(i for i, v in enumerate(plan.graph.inputs) if v in roots)
    return Draft(
        plan, tuple(steps), tuple(ctx.listing), tuple(groups), tuple(ctx.buffers), reasons, bytes(ctx.consts),
        tuple(ctx.sized_consts), outputs, workers, overwritten, tuple([(v.aval.shape, v.aval.dtype) for v in plan.graph.inputs]),
        made(plan.graph, outputs),
    )  # fmt: skip


def _declare_ends(ctx: Builder, plan: FusionPlan, sharing: Sharing) -> tuple[tuple[str, object], ...]:
    """The buffers of inputs and outputs; owners that share memory get one buffer.  Returns ``LoopProgram.outputs``."""
    for i, v in enumerate(plan.graph.inputs):
        ctx.add_buffer(LogicalBuffer("input", v.aval.nbytes, i, aval=v.aval), v)
    outputs: list[tuple[str, object]] = []
    positions = {v: i for i, v in enumerate(plan.graph.inputs)}
    computed = 0
    for o in plan.outputs:
        if isinstance(o, Literal):
            outputs.append(("literal", o))
            continue
        root = sharing.root(o)
        if root in positions:
            ctx.share_buffer(o, ctx.buffer_of(root))
            outputs.append(("donated", positions[root]))
            continue
        buffer = ctx.add_buffer(LogicalBuffer("output", o.aval.nbytes, computed, aval=o.aval), o)
        ctx.share_buffer(root, buffer)
        outputs.append(("buffer", computed))
        computed += 1
    return tuple(outputs)


def _lower_groups(ctx: Builder, plan: FusionPlan, sharing: Sharing) -> None:
    """Declares the other buffers of a plan and appends the steps of its groups."""
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
    for group in plan.groups:
        with ctx.listed(plan, group):
            if group.kind == "library" and group.nest is not None:
                _lower_product(ctx, plan, group, group.nest)
            elif group.nest is not None:
                nest = without_copies_in_place(group.nest, sharing)
                if nest.stores:
                    emit_nest(ctx, nest)
            else:
                _lower_whole(ctx, plan, group)


class _Region:
    """A graph that an operation holds, planned; see ``lower.context.Region``."""

    def __init__(self, ctx: Builder, graph: Graph, carried: Mapping[int, int], in_place: bool) -> None:
        self.ctx = ctx
        graph = _literals_as_values(graph)
        graph = canonical(graph) if in_place else graph
        self.plan = fuse(graph, in_place, Worth.on(ctx.host, [graph.inputs[i] for i in carried.values()]))
        self.sharing = share_in_place(self.plan, (), in_place, carried)

    def in_place(self, output: int) -> bool:
        owner = self.plan.outputs[output]
        return isinstance(owner, Var) and self.sharing.root(owner) in self.plan.graph.inputs

    def emit(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        ctx = self.ctx
        with ctx.own_variables():
            for v, buffer in zip(self.plan.graph.inputs, inputs, strict=True):
                ctx.share_buffer(v, buffer)
            for k, (o, buffer) in enumerate(zip(self.plan.outputs, outputs, strict=True)):
                assert isinstance(o, Var)
                root = self.sharing.root(o)
                if self.in_place(k):
                    ctx.share_buffer(o, ctx.buffer_of(root))
                else:
                    ctx.share_buffer(o, buffer)
                    ctx.share_buffer(root, buffer)
            _lower_groups(ctx, self.plan, self.sharing)


def _literals_as_values(graph: Graph) -> Graph:
    """Every output is computed, so that it can be written where the operation wants it."""
    eqns, outputs = list(graph.eqns), list(graph.outputs)
    for k, a in enumerate(outputs):
        if isinstance(a, Literal):
            outputs[k] = v = Var(a.aval)
            eqns.append(Eqn(BROADCAST, (a,), {"shape": (), "broadcast_dimensions": ()}, (v,)))
    return graph.replace(eqns=tuple(eqns), outputs=tuple(outputs))


@dataclass(frozen=True)
class _Named:
    """A primitive as a graph made here names it."""

    name: str


BROADCAST: Any = _Named("broadcast_in_dim")


def _lower_product(ctx: Builder, plan: FusionPlan, group: Group, nest: Nest) -> None:
    """A product with an epilogue.  Where the way in which it is computed takes none, the nest follows it."""
    eqn = group.eqns[0]
    product = eqn.outputs[0]
    kept = product in group.writes
    if not kept:
        ctx.add_scratch(product, product.aval.nbytes)
    columns = product_columns(eqn)
    ins = tuple(view_of(plan.owners, plan.producers, cast(Var, a), ctx.buffers_by_owner) for a in eqn.inputs)
    out = Operand(ctx.buffer_of(product), product.aval.shape, dense_strides(product.aval.shape), 0, product.aval.dtype)
    epilogue = ProductEpilogue(ctx, nest, product, columns, kept, kernel_name(nest, "epilogue"))
    if not PRODUCTS[eqn.prim.name](ctx, eqn, ins, (out,), epilogue):
        emit_nest(ctx, nest)


def _lower_whole(ctx: Builder, plan: FusionPlan, group: Group) -> None:
    """A library operation or a callback."""
    eqn = group.eqns[0]

    def operand(a: Atom) -> Operand:
        if isinstance(a, Literal):
            return ctx.literal(a)
        return view_of(plan.owners, plan.producers, a, ctx.buffers_by_owner)

    outs = tuple(
        Operand(ctx.buffer_of(v), v.aval.shape, dense_strides(v.aval.shape), 0, v.aval.dtype) for v in eqn.outputs
    )
    ins = tuple(operand(a) for a in eqn.inputs)
    if group.kind == "callback":
        ctx.callback(eqn, ins, outs)
    elif eqn.effect or any(v.aval.size for v in eqn.outputs):
        try:
            LOWERINGS[eqn.prim.name](ctx, eqn, ins, outs)
        except LoweringError as e:
            raise LoweringError(f"{e} ({eqn.prim.name} at {eqn.source})" if eqn.source else str(e)) from e
