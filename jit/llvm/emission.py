"""LLVM's modules -> object code, beside llvmlite's lock.

llvmlite takes one lock around every call, for users that share a context.  Here each module has a context of its own and each
thread a target machine of its own, which is what LLVM asks of threads; so the two calls that take time run beside the lock, and
threads compile in parallel.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from fx.errors import BackendError

from ..forks import compiling

__all__ = ["object_code", "plain_code", "run_passes", "scheduled"]

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
llvm.initialize_native_asmparser()


def run_passes(passes: llvm.ModulePassManager, module: llvm.ModuleRef, builder: llvm.PassBuilder) -> None:
    """Runs passes over a module that no other thread sees."""
    _free_of_lock("LLVMPY_RunNewModulePassManager")(passes, module, builder)


class _Scheduling:
    """The direction in which LLVM orders instructions before it gives them registers: an option of the process.

    Threads that want the same direction emit code side by side; one that wants the other waits until they are through.  It does
    not wait for itself: a signal handler may compile, too.
    """

    def __init__(self) -> None:
        self.downwards = False  # from the bottom up is LLVM's own
        self.emitting: list[int] = []  # threads

    @contextmanager
    def towards(self, downwards: bool) -> Iterator[None]:
        me = threading.get_ident()
        held, before = self.emitting.count(me), None
        try:
            while (before := self._begin(downwards, me)) is None:
                with compiling.outside(), compiling.changed:
                    compiling.changed.wait_for(lambda: self._agrees(downwards, me))
            yield
        finally:
            with compiling.changed:
                if self.emitting.count(me) > held:
                    self.emitting.remove(me)
                    self._turn(bool(before) and bool(self.emitting))  # other users of LLVM find it as it was
                    compiling.changed.notify_all()

    def _agrees(self, downwards: bool, me: int) -> bool:
        return self.downwards == downwards or set(self.emitting) <= {me}

    def _begin(self, downwards: bool, me: int) -> bool | None:
        """The direction before, unless another thread holds to it."""
        with compiling.changed:
            if not self._agrees(downwards, me):
                return None
            before = self.downwards if self.emitting else downwards
            self._turn(downwards)
            self.emitting.append(me)
            return before

    def in_child(self) -> None:
        self.emitting = [t for t in self.emitting if t == threading.get_ident()]

    def _turn(self, downwards: bool) -> None:
        if self.downwards != downwards:
            llvm.set_option("fx", f"-misched-prera-direction={'topdown' if downwards else 'bottomup'}")
            self.downwards = downwards


_scheduling = _Scheduling()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_scheduling.in_child)
_HAS_DIRECTION = llvm.llvm_version_info >= (20, 0, 0)  # an option that it does not know ends the process


@contextmanager
def scheduled(in_order: bool) -> Iterator[None]:
    """Code that is emitted inside has its instructions about as they are listed, or, not ``in_order``, as LLVM moves them."""
    with _scheduling.towards(in_order and _HAS_DIRECTION):
        yield


def object_code(machine: llvm.TargetMachine, module: llvm.ModuleRef, in_order: bool = False) -> bytes:
    """The object code of a module that no other thread sees, for a machine that no other thread uses.

    in_order: instructions stay about as they are listed; otherwise LLVM moves them together to need fewer registers.
    """
    with scheduled(in_order), ffi.OutputString() as error:
        buffer = _free_of_lock("LLVMPY_TargetMachineEmitToMemory")(machine, module, 1, error)
        if not buffer:
            raise BackendError(f"LLVM emits no code: {error}")
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


def plain_code(text: str) -> bytes:
    """Object code, for any CPU of this architecture, of a text that is optimised by hand already.  The small functions that it is
    written with are put in their places: less code, which is also made sooner."""
    module = llvm.parse_assembly(text, llvm.create_context())
    module.verify()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2)
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    run_passes(passes, module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2)))
    return object_code(machine, module)


def _free_of_lock(name: str) -> Any:
    wrapper = getattr(ffi.lib, name)
    return getattr(wrapper, "_cfn", wrapper)
