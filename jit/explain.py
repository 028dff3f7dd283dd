"""What was compiled, for people: kernels, the reasons behind them, and what a call costs."""

from __future__ import annotations

from typing import Any

from fx.ir import Literal

from .cost import nanoseconds
from .lower.context import AnyStep, CallbackStep
from .lower.registry import Step
from .lower.steering import repetitions
from .plan import Names
from .program import LoopProgram
from .runtime_ir import SHARES

__all__ = ["cost_analysis", "explain"]


def explain(program: LoopProgram) -> str:
    """Each group with its equations, decisions, kernels, flops, bytes and buffers."""
    plan = program.plan
    name = Names()
    for v in plan.graph.inputs:
        name(v)
    cost = cost_analysis(program)
    lines = [
        f"{plan.graph.name}: {len(plan.graph.eqns)} equations -> {len(program.listing)} groups -> {len(program.steps)} steps,"
        f" {len(program.kernels)} kernels; {cost['flops']:.3g} flops, {cost['bytes']:.3g} bytes, arena {cost['arena_bytes']} bytes"
    ]
    if cost["callbacks"]:
        lines.append(f"returns to Python {cost['callbacks']} times; the steps say why")
    for k, listed in enumerate(program.listing):
        g, indent = listed.group, "    " * listed.depth
        lines.append(f"\n{indent}[{k}] {g.title()}")
        for e in g.eqns:
            ins = ", ".join(str(a.value) if isinstance(a, Literal) else name(a) for a in e.inputs)
            outs = ", ".join(f"{name(v)}:{v.aval}" for v in e.outputs)
            where = f"   {e.source}" if e.source else ""
            lines.append(f"{indent}      {outs} = {e.prim.name} {ins}{where}")
            known = listed.plan.decisions
            lines += [f"{indent}          {known[v]}" for v in e.outputs if v in known]
        lines += [f"{indent}    * {r}" for r in g.reasons]
        lines += [indent + _step_line(step) for step, group in zip(program.steps, program.group_of) if group == k]
    return "\n".join([*lines, "", str(program.buffers)])


def _step_line(step: AnyStep) -> str:
    if isinstance(step, CallbackStep):
        return f"    -> Python: {step.name} ({step.reason})"
    if not isinstance(step, Step):
        return f"    -> {step.name}"
    pieces = "as many pieces as threads" if step.chunk == SHARES else f"{-(-step.total // step.chunk)} pieces"
    ns = nanoseconds(step.flops, step.nbytes)
    return f"    -> {step.name}: {step.total} iterations in {pieces}, {step.flops} flops, {step.nbytes} bytes, about {ns / 1e3:.1f} us"


def cost_analysis(program: LoopProgram) -> dict[str, Any]:
    """flops, bytes (as the kernels touch them), steps, kernels, callbacks, arena_bytes, a guess at the seconds.

    The steps of a loop count as often as it runs (once where that is not known), those of a branch once.
    """
    native = [(s, n) for s, n in zip(program.steps, repetitions(program.steps)) if isinstance(s, Step)]
    return {
        "flops": sum(s.flops * n for s, n in native),
        "bytes": sum(s.nbytes * n for s, n in native),
        "groups": len(program.listing),
        "steps": len(program.steps),
        "kernels": len(program.kernels),
        "callbacks": sum(isinstance(s, CallbackStep) for s in program.steps),
        "arena_bytes": program.buffers.arena_bytes,
        "seconds": sum(nanoseconds(s.flops, s.nbytes) * n for s, n in native) * 1e-9,
    }
