"""Kernels for ARM64, run by an emulator in this process: the machine code, the memory and the runtime around them are real.

``Emulator.load`` stands in the place of the linker's last step.  The address that a program gets for a kernel is that of a C function
which emulates the kernel's code over this process's memory: pages are mapped to where they lie as the code touches them.  A
kernel that calls another one by the address in its frame stays inside; functions of C that it calls run as they are.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from jit.llvm import linker
from jit.llvm.objects import _unsealed

_KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_STACK = 9 << 20
_PAGE = 4096


class Emulator:
    """Loads object files of ARM64, and runs what they define.

    Attributes:
        functions: the C functions that emulate kernels, by their addresses.
        calls: how many kernels were run.
    """

    def __init__(self) -> None:
        import unicorn
        from unicorn import arm64_const

        self._unicorn, self._registers = unicorn, arm64_const
        self._machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self._machine.hook_add(unicorn.UC_HOOK_MEM_READ_UNMAPPED | unicorn.UC_HOOK_MEM_WRITE_UNMAPPED, self._map)
        self._kept: list[tuple[int, int]] = []  # spans that stay mapped: code
        self._mapped: list[tuple[int, int]] = []  # spans of data, until ``check``
        self._stack = ctypes.create_string_buffer(_STACK)
        self._stop = linker._map(_PAGE)  # where kernels return to
        self._place(self._stop, bytes(_PAGE))
        self._code: dict[int, int] = {}  # address of a C function -> that of a kernel's code
        self.functions: dict[int, Any] = {}  # by address
        self.calls = 0
        self._error: BaseException | None = None

    def load(self, objects: Sequence[tuple[bytes, Sequence[str]]]) -> list[dict[str, int]]:
        """In the place of ``native.load_objects``."""
        return [self._load(linker._Object(_unsealed(data), "aarch64"), names) for data, names in objects]

    def _load(self, parsed: linker._Object, names: Sequence[str]) -> dict[str, int]:
        _, size = linker._lay([parsed])
        base = linker._map(size)
        block, (symbols,) = linker._image([parsed], base, size)
        self._place(base, bytes(block))
        return {name: self._function(symbols[name]) for name in names}

    def _place(self, base: int, block: bytes) -> None:
        """Puts code, and constants and memory of its own, into fresh memory of whole pages."""
        ctypes.memmove(base, block, len(block))
        self._machine.mem_map_ptr(base, len(block), self._unicorn.UC_PROT_ALL, base)
        self._kept.append((base, base + len(block)))

    def _function(self, code: int) -> int:
        function = _KERNEL(lambda *args: self._run(code, args))
        address = ctypes.cast(function, ctypes.c_void_p).value
        assert address is not None
        self.functions[address], self._code[address] = function, code
        return address

    def _run(self, code: int, args: tuple[int, ...]) -> None:
        try:
            self._emulate(code, args)
            self.calls += 1
        except BaseException as e:  # nothing passes through C
            self._error = self._error or e

    def check(self) -> None:
        """At the end of a test: raises what a kernel could not, and forgets the memory that kernels touched.

        It may be given back to the system then. Forgetting it after every call took most of the time.
        """
        for start, end in self._mapped:
            self._machine.mem_unmap(start, end - start)
        self._mapped.clear()
        error, self._error = self._error, None
        if error:
            raise error

    def _emulate(self, code: int, args: tuple[int, ...]) -> None:
        machine, names = self._machine, self._registers
        for k, x in enumerate(args):
            machine.reg_write(getattr(names, f"UC_ARM64_REG_X{k}"), x & (1 << 64) - 1)
        machine.reg_write(names.UC_ARM64_REG_SP, ctypes.addressof(self._stack) + _STACK - 64 & ~63)
        machine.reg_write(names.UC_ARM64_REG_LR, self._stop)
        while True:
            try:
                machine.emu_start(code, self._stop)
                return
            except self._unicorn.UcError:
                called = machine.reg_read(names.UC_ARM64_REG_PC)
                if called not in self._code and not self._is_code(called):
                    raise
                code = self._code.get(called) or self._call(called)

    def _call(self, function: int) -> int:
        """Calls a function of C (of LAPACK, of pocketfft), and returns where it was called from.

        Both conventions count arguments in registers of integers and of floating point apart; x86-64 has six of the
        former where ARM64 has eight, and what has no register lies on the stack, eight bytes each.
        """
        read, names = self._machine.reg_read, self._registers
        integers = [read(getattr(names, f"UC_ARM64_REG_X{k}")) for k in range(8)]
        bits = [read(getattr(names, f"UC_ARM64_REG_D{k}")) for k in range(8)]
        numbers = struct.unpack("8d", struct.pack("8Q", *bits))
        stack = struct.unpack("16Q", ctypes.string_at(read(names.UC_ARM64_REG_SP), 128))
        kinds = [ctypes.c_uint64] * 6 + [ctypes.c_double] * 8 + [ctypes.c_uint64] * 18
        result = ctypes.CFUNCTYPE(ctypes.c_uint64, *kinds)(function)(*integers[:6], *numbers, *integers[6:], *stack)
        self._machine.reg_write(names.UC_ARM64_REG_X0, result)
        return int(read(names.UC_ARM64_REG_LR))

    def _is_code(self, address: int) -> bool:
        return any(start <= address < end and "x" in rights for start, end, rights in _regions())

    def _map(self, machine: Any, access: int, address: int, size: int, value: int, data: Any) -> bool:
        """Maps the pages that the system has mapped around an address; what it has not is an error of the code."""
        for start, end, rights in _regions():
            if start <= address < end and "r" in rights:
                taken = [*self._kept, *self._mapped]
                start = max([start, *(e for _, e in taken if e <= address)])
                end = min([end, *(s for s, _ in taken if s > address)])
                machine.mem_map_ptr(start, end - start, self._unicorn.UC_PROT_READ | self._unicorn.UC_PROT_WRITE, start)
                self._mapped.append((start, end))
                return True
        return False


def _regions() -> Iterator[tuple[int, int, str]]:
    """The regions of this process's memory: first byte, the one behind the last, rights."""
    with open("/proc/self/maps") as lines:
        for line in lines:
            span, rights = line.split()[:2]
            start, end = (int(x, 16) for x in span.split("-"))
            yield start, end, rights
