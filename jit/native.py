"""LLVM IR -> object code -> addresses.

Object code is sealed with a digest, so that damaged bytes are refused instead of crashing the linker.  It
has no external symbols: a kernel calls nothing.  Loaded code stays in memory until the process ends.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence

import llvmlite.binding as llvm

from fx.errors import BackendError

from .emit_llvm import emit_module
from .loop_ir import Kernel
from .loop_opt.fold import fold
from .loop_opt.vectorize import vectorize
from .loop_walk import has_vectorizable_loops
from .target import Target

_SEAL = b"fxobj\x01"
_DIGEST_BYTES = 16

_lock = threading.Lock()
_machines: dict[Target, llvm.TargetMachine] = {}
_linker: llvm.LLJIT | None = None
_loaded = 0

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()


def _after_fork() -> None:
    """Another thread of the parent may have held the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def compile_object(kernels: Sequence[Kernel], target: Target) -> bytes:
    """Machine code of all ``kernels``, for ``load_object`` here or in another process on such a machine."""
    with _lock:
        machine = _machine(target)
        code = bytes(machine.emit_object(_optimized(kernels, target, machine)))
    return _SEAL + _digest(code) + code


def compile_text(text: str, target: Target) -> bytes:
    """Machine code of functions written in LLVM IR, for ``load_object``."""
    with _lock:
        machine = _machine(target)
        module = llvm.parse_assembly(text, llvm.create_context())
        module.verify()
        code = bytes(machine.emit_object(module))
    return _SEAL + _digest(code) + code


def assembly(kernels: Sequence[Kernel], target: Target) -> str:
    """The machine code as text, to read."""
    with _lock:
        machine = _machine(target)
        return str(machine.emit_assembly(_optimized(kernels, target, machine)))


def optimized_ir(kernels: Sequence[Kernel], target: Target) -> str:
    """LLVM IR after the optimisation passes, to read.  Checks the IR with LLVM's verifier as well."""
    with _lock:
        module = _optimized(kernels, target, _machine(target), verify=True)
        return str(module)


def load_object(data: bytes, names: Sequence[str]) -> dict[str, int]:
    """Loads what ``compile_object`` made and returns the addresses of the kernels ``names``.

    Raises:
        BackendError: if ``data`` is damaged, is not for this machine, or lacks one of the names.
    """
    global _loaded
    head = len(_SEAL) + _DIGEST_BYTES
    code = data[head:]
    if data[: len(_SEAL)] != _SEAL or data[len(_SEAL) : head] != _digest(code):
        raise BackendError("object code is damaged or was not written by fx; delete it and compile again")
    library = llvm.JITLibraryBuilder().add_object_img(code)
    for name in names:
        library.export_symbol(name)
    with _lock:
        _loaded += 1
        try:
            tracker = library.link(_the_linker(), f"fx{_loaded}")
        except RuntimeError as e:
            raise BackendError(f"object code with {', '.join(names)} does not link: {e}") from e
        addresses = {name: tracker[name] for name in names}
        tracker.detach()  # the code lives as long as the process: threads may be running it at exit
    return addresses


def _digest(code: bytes) -> bytes:
    return hashlib.blake2b(code, digest_size=_DIGEST_BYTES).digest()


def _machine(target: Target) -> llvm.TargetMachine:
    if target not in _machines:
        _machines[target] = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small", jit=True
        )
    return _machines[target]


def _the_linker() -> llvm.LLJIT:
    global _linker
    if _linker is None:
        _linker = llvm.create_lljit_compiler(use_jit_link=True, suppress_errors=True)
    return _linker


def _optimized(
    kernels: Sequence[Kernel], target: Target, machine: llvm.TargetMachine, verify: bool = False
) -> llvm.ModuleRef:
    kernels = [vectorize(fold(k), target) for k in kernels]
    module = llvm.parse_assembly(emit_module(kernels, target), llvm.create_context())
    if verify:
        module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, options)
    if any(has_vectorizable_loops(k.body) for k in kernels) and target.vector_bits > 64:
        options.loop_vectorization = options.slp_vectorization = options.loop_interleaving = True
        passes = builder.getModulePassManager()
    else:
        passes = llvm.create_new_module_pass_manager()
        passes.add_sroa_pass()
        passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    return module
