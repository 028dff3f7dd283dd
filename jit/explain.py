"""What was compiled, for people: kernels, the reasons behind them, and what a call costs."""

from __future__ import annotations

from typing import Any

from fx.ir import Literal

from .cost import nanoseconds
from .lower.context import CallbackStep
from .plan import Names
from .program import LoopProgram

__all__ = ["cost_analysis", "explain"]


def explain(program: LoopProgram) -> str:
    """Each group with its equations, decisions, kernels, flops, bytes and buffers."""
    plan = program.plan
    name = Names()
    for v in plan.graph.inputs:
        name(v)
    cost = cost_analysis(program)
    lines = [
        f"{plan.graph.name}: {len(plan.graph.eqns)} equations -> {len(plan.groups)} groups -> {len(program.steps)} steps,"
        f" {len(program.kernels)} kernels; {cost['flops']:.3g} flops, {cost['bytes']:.3g} bytes, arena {cost['arena_bytes']} bytes"
    ]
    if cost["callbacks"]:
        lines.append(f"returns to Python {cost['callbacks']} times; the steps say why")
    for k, g in enumerate(plan.groups):
        lines.append(f"\n[{k}] {g.title()}")
        for e in g.eqns:
            ins = ", ".join(str(a.value) if isinstance(a, Literal) else name(a) for a in e.inputs)
            outs = ", ".join(f"{name(v)}:{v.aval}" for v in e.outputs)
            where = f"   {e.source}" if e.source else ""
            lines.append(f"      {outs} = {e.prim.name} {ins}{where}")
            lines += [f"          {plan.decisions[v]}" for v in e.outputs if v in plan.decisions]
        lines += [f"    * {r}" for r in g.reasons]
        for step, group in zip(program.steps, program.group_of):
            if group == k:
                lines.append(_step_line(program, step))
    return "\n".join([*lines, "", str(program.buffers)])


def _step_line(program: LoopProgram, step: Any) -> str:
    if isinstance(step, CallbackStep):
        return f"    -> Python: {step.name} ({step.reason})"
    pieces = -(-step.total // step.chunk)
    ns = nanoseconds(step.flops, step.nbytes)
    return f"    -> {step.name}: {step.total} iterations in {pieces} pieces, {step.flops} flops, {step.nbytes} bytes, about {ns / 1e3:.1f} us"


def cost_analysis(program: LoopProgram) -> dict[str, Any]:
    """flops, bytes (as the kernels touch them), steps, kernels, callbacks, arena_bytes, a guess at the seconds."""
    native = [s for s in program.steps if not isinstance(s, CallbackStep)]
    return {
        "flops": sum(s.flops for s in native),
        "bytes": sum(s.nbytes for s in native),
        "groups": len(program.plan.groups),
        "steps": len(program.steps),
        "kernels": len(program.kernels),
        "callbacks": len(program.steps) - len(native),
        "arena_bytes": program.buffers.arena_bytes,
        "seconds": sum(nanoseconds(s.flops, s.nbytes) for s in native) * 1e-9,
    }
