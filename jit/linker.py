"""Object code -> memory, without LLVM's linker: for ELF of x86-64, which is what LLVM writes on Linux.

The objects that a program needs are laid side by side in one block of memory, and their relocations are applied; LLVM would give
each of their sections pages of its own, and take a quarter of a millisecond for each object.  Code and constants are made
executable and lose the right to be written; sections that are written stay in pages of their own.  The block is never freed:
threads may be running in it when the interpreter ends.

An object with anything unknown in it (another format, a relocation or a symbol from elsewhere) is refused with ``NotLinked``, and
left to LLVM: that of kernels in ``native``, that of functions for Python and of the runtime in ``load``.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import llvmlite.binding as llvm

__all__ = ["NotLinked", "link", "load"]

_HEAD = struct.Struct("<16sHHIQQQIHHHHHH")
_IDENT = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian
_RELOCATABLE, _X86_64 = 1, 62
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_SYMTAB, _RELA, _NOBITS, _UNWIND = 2, 4, 8, 0x70000001  # kinds of sections
_WRITE, _ALLOC = 1, 2  # flags of sections
_ABSOLUTE_64, _RELATIVE_32, _CALL_32 = 1, 2, 4  # relocations
_RESERVED = 0xFF00  # section numbers from here on mean something else
_LINE = 64  # an object begins on a cache line, as it would on a page of its own
_PAGE = mmap.PAGESIZE

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()


class NotLinked(Exception):
    """The object has to be linked in another way."""


@dataclass
class _Section:
    kind: int
    flags: int
    start: int
    size: int
    link: int
    target: int
    align: int
    place: int = -1  # in the block

    @property
    def loaded(self) -> bool:
        return bool(self.flags & _ALLOC) and self.kind != _UNWIND and self.size > 0


class _Object:
    """An object file: its sections, and its symbols as (name, section, value)."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        try:
            head = _HEAD.unpack_from(data)
            if not data.startswith(_IDENT) or head[1:3] != (_RELOCATABLE, _X86_64):
                raise NotLinked("no object code of x86-64 in ELF")
            table, width, count = head[6], head[11], head[12]
            rows = [_SECTION.unpack_from(data, table + k * width) for k in range(count)]
        except struct.error as e:
            raise NotLinked(f"a part is missing: {e}") from None
        self.sections = [_Section(r[1], r[2], r[4], r[5], r[6], r[7], max(r[8], 1)) for r in rows]
        if any(s.start + s.size > len(data) for s in self.sections if s.kind != _NOBITS):
            raise NotLinked("a section reaches beyond the end")
        self.symbols: list[tuple[str, int, int]] = []
        for s in self.sections:
            if s.kind == _SYMTAB:
                names = self.sections[s.link].start
                for at in range(s.start, s.start + s.size, _SYMBOL.size):
                    name, _, _, section, value, _ = _SYMBOL.unpack_from(data, at)
                    end = data.index(b"\0", names + name)
                    self.symbols.append((data[names + name : end].decode(), section, value))

    def lay(self, at: int, written: bool) -> int:
        """Gives the sections that are written, or the others, places from ``at`` on; the end."""
        for s in self.sections:
            if s.loaded and bool(s.flags & _WRITE) is written:
                s.place = at = -(-at // max(s.align, _LINE)) * max(s.align, _LINE)
                at += s.size
        return at

    def address(self, symbol: int, base: int) -> int:
        name, section, value = self.symbols[symbol]
        if not 0 < section < _RESERVED or self.sections[section].place < 0:
            raise NotLinked(f"the symbol {name!r} is not in the object")
        return base + self.sections[section].place + value

    def write(self, block: bytearray, base: int) -> None:
        """Copies the sections to their places, and applies the relocations."""
        for s in self.sections:
            if s.place >= 0 and s.kind != _NOBITS:
                block[s.place : s.place + s.size] = self.data[s.start : s.start + s.size]
        for s in self.sections:
            if s.kind == _RELA and self.sections[s.target].place >= 0:
                for offset, info, addend in _RELOCATION.iter_unpack(self.data[s.start : s.start + s.size]):
                    self._relocate(block, base, self.sections[s.target].place + offset, info, addend)

    def _relocate(self, block: bytearray, base: int, at: int, info: int, addend: int) -> None:
        value, kind = self.address(info >> 32, base) + addend, info & 0xFFFFFFFF
        if kind == _ABSOLUTE_64:
            struct.pack_into("<Q", block, at, value)
        elif kind in (_RELATIVE_32, _CALL_32):
            struct.pack_into("<i", block, at, value - base - at)
        else:
            raise NotLinked(f"relocations of kind {kind} are not known")

    def exported(self, base: int) -> dict[str, int]:
        """The addresses of named symbols that are loaded."""
        return {
            name: self.address(k, base)
            for k, (name, section, _) in enumerate(self.symbols)
            if name and 0 < section < _RESERVED and self.sections[section].place >= 0
        }


def link(objects: Sequence[bytes]) -> list[dict[str, int]]:
    """Loads object files; for each the addresses of its symbols.

    Raises:
        NotLinked: one of them, or this system, is of another kind; nothing was loaded.
    """
    if not _is_known_system():
        raise NotLinked("not Linux on x86-64")
    parsed = [_Object(data) for data in objects]
    fixed = written = 0
    for o in parsed:
        fixed = o.lay(fixed, False)
    fixed = -(-fixed // _PAGE) * _PAGE
    written = fixed
    for o in parsed:
        written = o.lay(written, True)
    size = max(-(-written // _PAGE) * _PAGE, _PAGE)
    base = _map(size)
    try:
        block = bytearray(size)
        for o in parsed:
            o.write(block, base)
        found = [o.exported(base) for o in parsed]
        ctypes.memmove(base, (ctypes.c_char * size).from_buffer(block), size)
        _make_executable(base, fixed)
    except (NotLinked, struct.error) as e:
        _libc().munmap(base, size)
        raise NotLinked(str(e)) from None
    return found


def load(data: bytes, names: Sequence[str]) -> dict[str, int]:
    """The addresses of the functions ``names`` of an object file, which may call those of the C library."""
    try:
        (found,) = link([data])
        return {name: found[name] for name in names}
    except NotLinked:
        pass
    module = llvm.parse_assembly("")  # of the global context, which like the engine is never disposed of
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    addresses = {name: int(engine.get_function_address(name)) for name in names}
    engine.detach()  # functions may be called until the process ends
    return addresses


@functools.cache
def _is_known_system() -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64" and struct.calcsize("P") == 8


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc


def _map(size: int) -> int:
    """Fresh memory that can be written."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    base = _libc().mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    if base in (None, ctypes.c_void_p(-1).value):
        raise MemoryError(f"{size} bytes for code")
    return int(base)


def _make_executable(base: int, size: int) -> None:
    if size and _libc().mprotect(base, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise NotLinked(f"the system does not let memory be executed (error {ctypes.get_errno()})")
