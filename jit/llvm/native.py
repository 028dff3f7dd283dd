"""LLVM IR -> object code -> addresses.

Object code is sealed with a digest, so that damaged bytes are refused instead of crashing the linker.  It
has no external symbols: what a kernel calls, it calls by an address in its frame.  Loaded code stays in memory
until the process ends.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence

import llvmlite.binding as llvm

from fx.errors import BackendError

from ..loop_ir import Kernel
from ..loop_opt.fold import fold
from ..loop_opt.vectorize import vectorize
from ..loop_walk import has_vectorizable_loops
from ..target import Target
from .emission import object_code, run_passes
from .emit import emit_module
from .linker import NotLinked, link

_SEAL = b"fxobj\x01"
_DIGEST_BYTES = 16

_lock = threading.Lock()
_local = threading.local()
_linker: llvm.LLJIT | None = None
_loaded = 0


def _after_fork() -> None:
    """Another thread of the parent may have held the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def compile_object(kernels: Sequence[Kernel], target: Target, quick: bool = False) -> bytes:
    """Machine code of all ``kernels``, for ``load_object`` here or in another process on such a machine.

    quick: code that is made in a fraction of the time and runs several times slower.
    """
    machine = _machine(target, quick)
    code = object_code(machine, _optimized(kernels, target, machine, quick))
    return _SEAL + _digest(code) + code


def compile_text(text: str, target: Target) -> bytes:
    """Machine code of functions written in LLVM IR, for ``load_object``."""
    module = llvm.parse_assembly(text, llvm.create_context())
    module.verify()
    code = object_code(_machine(target), module)
    return _SEAL + _digest(code) + code


def assembly(kernels: Sequence[Kernel], target: Target) -> str:
    """The machine code as text, to read."""
    machine = _machine(target)
    return str(machine.emit_assembly(_optimized(kernels, target, machine)))


def optimized_ir(kernels: Sequence[Kernel], target: Target) -> str:
    """LLVM IR after the optimisation passes, to read.  Checks the IR with LLVM's verifier as well."""
    return str(_optimized(kernels, target, _machine(target), verify=True))


def load_object(data: bytes, names: Sequence[str]) -> dict[str, int]:
    """Loads what ``compile_object`` made and returns the addresses of the kernels ``names``.

    Raises:
        BackendError: if ``data`` is damaged, is not for this machine, or lacks one of the names.
    """
    return load_objects([(data, names)])[0]


def load_objects(objects: Sequence[tuple[bytes, Sequence[str]]]) -> list[dict[str, int]]:
    """``load_object`` for several at a time, which takes less time and memory."""
    if not objects:
        return []
    codes = [_unsealed(data) for data, _ in objects]
    try:
        found = link(codes)
    except NotLinked:
        return [_link_by_llvm(code, names) for code, (_, names) in zip(codes, objects)]
    for symbols, (_, names) in zip(found, objects):
        for name in names:
            if name not in symbols:
                raise BackendError(f"object code without {name} does not link")
    return [{name: symbols[name] for name in names} for symbols, (_, names) in zip(found, objects)]


def _unsealed(data: bytes) -> bytes:
    head = len(_SEAL) + _DIGEST_BYTES
    code = data[head:]
    if data[: len(_SEAL)] != _SEAL or data[len(_SEAL) : head] != _digest(code):
        raise BackendError("object code is damaged or was not written by fx; delete it and compile again")
    return code


def _link_by_llvm(code: bytes, names: Sequence[str]) -> dict[str, int]:
    global _loaded
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


def _machine(target: Target, quick: bool = False) -> llvm.TargetMachine:
    """A thread's own: a target machine keeps state while it works."""
    machines: dict[tuple[Target, bool], llvm.TargetMachine] = _local.__dict__.setdefault("machines", {})
    if (target, quick) not in machines:
        machines[target, quick] = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu, features=target.features, opt=0 if quick else 2, reloc="pic", codemodel="small", jit=True
        )
    return machines[target, quick]


def _the_linker() -> llvm.LLJIT:
    global _linker
    if _linker is None:
        _linker = llvm.create_lljit_compiler(use_jit_link=True, suppress_errors=True)
    return _linker


def _optimized(
    kernels: Sequence[Kernel], target: Target, machine: llvm.TargetMachine, quick: bool = False, verify: bool = False
) -> llvm.ModuleRef:
    kernels = [vectorize(fold(k), target) for k in kernels]
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
