"""Kernels -> LLVM IR -> object code, which ``objects`` loads."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import llvmlite.binding as llvm

from ..loop_ir import Kernel
from ..loop_opt.fold import fold
from ..loop_opt.side_by_side import carries_vectors
from ..loop_opt.vectorize import vectorize
from ..loop_walk import has_vectorizable_loops
from ..target import Target
from .emission import object_code, run_passes, scheduled
from .emit import emit_module, spills
from .objects import sealed

_local = threading.local()


def compile_object(kernels: Sequence[Kernel], target: Target, quick: bool = False) -> bytes:
    """Machine code of all ``kernels``, for ``load_object`` here or in another process on such a machine.

    quick: code that is made in a fraction of the time and runs several times slower.
    """
    machine, kernels = _machine(target, quick), _vectorized(kernels, target)
    code = object_code(machine, _optimized(kernels, target, machine, quick), _is_in_order(kernels, target))
    return sealed(code)


def compile_text(text: str, target: Target) -> bytes:
    """Machine code of functions written in LLVM IR, for ``load_object``."""
    module = llvm.parse_assembly(text, llvm.create_context())
    module.verify()
    code = object_code(_machine(target), module)
    return sealed(code)


def assembly(kernels: Sequence[Kernel], target: Target) -> str:
    """The machine code as text, to read."""
    machine = _machine(target)
    kernels = _vectorized(kernels, target)
    with scheduled(_is_in_order(kernels, target)):
        return str(machine.emit_assembly(_optimized(kernels, target, machine)))


def optimized_ir(kernels: Sequence[Kernel], target: Target) -> str:
    """LLVM IR after the optimisation passes, to read.  Checks the IR with LLVM's verifier as well."""
    return str(_optimized(_vectorized(kernels, target), target, _machine(target), verify=True))


def _machine(target: Target, quick: bool = False) -> llvm.TargetMachine:
    """A thread's own: a target machine keeps state while it works."""
    machines: dict[tuple[Target, bool], llvm.TargetMachine] = _local.__dict__.setdefault("machines", {})
    if (target, quick) not in machines:
        machines[target, quick] = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu, features=target.features, opt=0 if quick else 2, reloc="pic", codemodel="small", jit=True
        )
    return machines[target, quick]


def _vectorized(kernels: Sequence[Kernel], target: Target) -> list[Kernel]:
    return [vectorize(fold(k), target) for k in kernels]


def _is_in_order(kernels: Sequence[Kernel], target: Target) -> bool:
    """Whether LLVM keeps the order in which ``interleave`` lists a body over several vectors, where few registers, or what rounds pass
    on, would make it undo that: a chain of vector functions takes up to a fifth less time.  A micro-kernel of products would spill
    accumulators."""
    mixed = spills if target.vector_registers <= 16 else carries_vectors
    return any(mixed(k, target) for k in kernels)


def _optimized(
    kernels: Sequence[Kernel], target: Target, machine: llvm.TargetMachine, quick: bool = False, verify: bool = False
) -> llvm.ModuleRef:
    module = llvm.parse_assembly(emit_module(kernels, target), llvm.create_context())
    if verify:
        module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, options)
    if not quick and any(has_vectorizable_loops(k.body) for k in kernels) and target.vector_bits > 64:
        options.loop_vectorization = options.slp_vectorization = options.loop_interleaving = True
        passes = builder.getModulePassManager()
    else:
        passes = llvm.create_new_module_pass_manager()
        passes.add_sroa_pass()
        passes.add_simplify_cfg_pass()
    run_passes(passes, module, builder)
    return module
