"""Graphs -> programs: what ``executable`` asks for when the store does not have one, and to show it.

``on_demand`` imports this module, and with it everything that plans, lowers and compiles.
"""

from __future__ import annotations

from fx.ir import Graph

from .assembling import assemble, wired
from .assembly import Assembly
from .build import kernel_text, load_kernels
from .calls import border, results
from .canonical import canonical
from .executable import Options, check_donate
from .explain import cost_analysis, explain
from .fuse import fuse
from .fuse_epilogue import Worth
from .llvm.native import assembly, optimized_ir
from .load import Loaded
from .program import Draft, LoopProgram, draft_plan
from .target import Target
from .threads import runtime

__all__ = ["assembly_text", "cost_analysis", "drafted", "explain", "kernel_text", "llvm_text", "planned", "wired"]


def drafted(graph: Graph, options: Options) -> Draft:
    """The program of a graph, but for the places of its buffers.  ``options``: resolved."""
    check_donate(graph, options.donate)
    target, workers = options.target, options.num_threads
    assert target is not None and workers is not None
    plan = fuse(
        canonical(graph) if options.fuse else graph,
        options.fuse,
        Worth.on(target, [graph.inputs[i] for i in options.donate]),
    )
    return draft_plan(plan, target, workers, options.donate, options.fuse)


def llvm_text(program: LoopProgram, target: Target) -> str:
    """The LLVM IR of the kernels, optimised."""
    return optimized_ir([h.kernel for h in program.kernels], target)


def assembly_text(program: LoopProgram, target: Target) -> str:
    """The machine code of the kernels, to read."""
    return assembly([h.kernel for h in program.kernels], target)


def planned(graph: Graph, options: Options) -> tuple[Assembly, Loaded]:
    """What a call needs of a graph's program, and its kernels.  ``options``: resolved."""
    draft = drafted(graph, options)
    program = draft.finished().verify() if options.verify else None
    assert options.target is not None
    beside = (runtime, border.prepare, results.prepare)  # what every executable needs
    # Kernels first: buffers are placed by the runtime, whose code is made at the same time.
    loaded = load_kernels(draft.kernels, options.engine, options.target, beside)
    return assemble(program or draft.finished()), loaded
