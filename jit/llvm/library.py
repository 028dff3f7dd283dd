"""LLVM itself, for those who do without it where they can: ``on_demand.llvm`` imports this module.

Loading LLVM takes longer than all that a process does otherwise to run a program from the store.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import llvmlite.binding as llvm

from fx.errors import BackendError

from .emission import plain_code

__all__ = ["host", "link", "load", "plain_code"]

_lock = threading.Lock()
_linker: llvm.LLJIT | None = None
_loaded = 0


def _after_fork() -> None:
    """Another thread of the parent may have held the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def host() -> tuple[str, str, str]:
    """Triple, CPU and features of this machine, as LLVM spells them."""
    return llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def link(code: bytes, names: Sequence[str]) -> dict[str, int]:
    """The addresses of kernels of an object file, by LLVM's linker.

    Raises:
        BackendError: if it is not for this machine, or lacks one of the names.
    """
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


def load(data: bytes, names: Sequence[str]) -> dict[str, int]:
    """The addresses of functions of an object file, which may call those of the C library."""
    module = llvm.parse_assembly("")  # of the global context, which like the engine is never disposed of
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    addresses = {name: int(engine.get_function_address(name)) for name in names}
    engine.detach()  # functions may be called until the process ends
    return addresses


def _the_linker() -> llvm.LLJIT:
    global _linker
    if _linker is None:
        _linker = llvm.create_lljit_compiler(use_jit_link=True, suppress_errors=True)
    return _linker
