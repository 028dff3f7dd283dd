"""What a processor says of itself, so that what LLVM says of it need not be asked again (``target``).

On x86-64 LLVM knows a processor by the answers of CPUID, and by which registers the system saves (XCR0); on ARM64 Linux by what
the system tells of it.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path

from .calls.builtins import compile_text

__all__ = ["account"]

_CPUID = """
define void @fx_cpuid(i32 %leaf, i32 %part, ptr %out) {
  %r = call { i32, i32, i32, i32 } asm sideeffect "cpuid", "={ax},={bx},={cx},={dx},{ax},{cx}"(i32 %leaf, i32 %part)
  store { i32, i32, i32, i32 } %r, ptr %out
  ret void
}
define i32 @fx_saved_registers() {
  %r = call { i32, i32 } asm sideeffect "xgetbv", "={ax},={dx},{cx}"(i32 0)
  %word = extractvalue { i32, i32 } %r, 0
  ret i32 %word
}
"""
_EAX, _EBX, _ECX, _EDX = 1, 2, 4, 8
_ALL = _EAX | _EBX | _ECX | _EDX
# (leaf, part): the registers that say the same on every core.  The others number cores, or count what is switched on just now.
_LEAVES = {
    (0x1, 0): _EAX | _ECX | _EDX, (0x7, 0): _ALL, (0x7, 1): _ALL, (0x7, 2): _ALL, (0xD, 1): _EAX, (0x14, 0): _ALL, (0x19, 0): _ALL,
    (0x1E, 1): _ALL, (0x24, 0): _ALL, (0x80000001, 0): _ALL, (0x80000008, 0): _EBX, (0x80000021, 0): _EAX,
}  # fmt: skip
_EXTENDED = 0x80000000
_SAVES_REGISTERS = 1 << 27  # of leaf 1, ECX: XCR0 can be read


def account() -> str | None:
    """A text that differs between processors that LLVM tells apart; None where none is known."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        return _cpuid()
    if machine == "aarch64" and sys.platform == "linux":
        return _cpuinfo(Path("/proc/cpuinfo"))
    return None


def _cpuid() -> str:
    addresses = compile_text(_CPUID, "cpuid", "fx_cpuid", "fx_saved_registers")
    number, answer = ctypes.c_uint32, (ctypes.c_uint32 * 4)()
    ask = ctypes.CFUNCTYPE(None, number, number, ctypes.c_void_p)(addresses[0])

    def registers(leaf: int, part: int = 0) -> list[int]:
        ask(leaf, part, ctypes.addressof(answer))
        return list(answer)

    last, *vendor = registers(0)
    last_extended = registers(_EXTENDED)[0]
    said = [
        (leaf, part, [r if which >> k & 1 else 0 for k, r in enumerate(registers(leaf, part))])
        for (leaf, part), which in _LEAVES.items()
        if leaf <= (last_extended if leaf >= _EXTENDED else last)
    ]
    saved = ctypes.CFUNCTYPE(number)(addresses[1])() if registers(1)[2] & _SAVES_REGISTERS else 0
    return repr((last, vendor, said, saved))


def _cpuinfo(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
