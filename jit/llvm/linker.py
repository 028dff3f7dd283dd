"""Object code -> memory, without LLVM's linker: for ELF of x86-64 and ARM64, which is what LLVM writes on Linux.

The objects that a program needs are laid side by side in one block of memory, and their relocations are applied; LLVM would give
each of their sections pages of its own, and take a quarter of a millisecond for each object.  Code and constants are made
executable and lose the right to be written; sections that are written stay in pages of their own.  The block is never freed:
threads may be running in it when the interpreter ends.

An object with anything unknown in it (another format, a relocation or a symbol from elsewhere) is refused with ``NotLinked``, and
left to LLVM: that of kernels by ``objects``, that of functions for Python and of the runtime in ``load``.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..on_demand import llvm
from .relocations import MACHINES, NotLinked

__all__ = ["NotLinked", "link", "load"]

_HEAD = struct.Struct("<16sHHIQQQIHHHHHH")
_IDENT = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian
_RELOCATABLE = 1
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_SYMTAB, _RELA, _NOBITS = 2, 4, 8  # kinds of sections
_WRITE, _ALLOC = 1, 2  # flags of sections
_UNWIND = ".eh_frame"  # no exception passes through this code
_RESERVED = 0xFF00  # section numbers from here on mean something else
_LINE = 64  # an object begins on a cache line, as it would on a page of its own
_PAGE = mmap.PAGESIZE


@dataclass
class _Section:
    name: str
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
        return bool(self.flags & _ALLOC) and self.name != _UNWIND and self.size > 0


class _Object:
    """An object file of a machine: its sections, and its symbols as (name, section, value)."""

    def __init__(self, data: bytes, machine: str) -> None:
        self.data = data
        number, self.relocate = MACHINES[machine]
        try:
            head = _HEAD.unpack_from(data)
            if not data.startswith(_IDENT) or head[1:3] != (_RELOCATABLE, number):
                raise NotLinked(f"no object code of {machine} in ELF")
            table, width, count, named = head[6], head[11], head[12], head[13]
            rows = [_SECTION.unpack_from(data, table + k * width) for k in range(count)]
            names = [self._text(rows[named][4] + r[0]) for r in rows]
        except (struct.error, IndexError, ValueError) as e:
            raise NotLinked(f"a part is missing: {e}") from None
        self.sections = [
            _Section(name, r[1], r[2], r[4], r[5], r[6], r[7], max(r[8], 1)) for name, r in zip(names, rows)
        ]
        if any(s.start + s.size > len(data) for s in self.sections if s.kind != _NOBITS):
            raise NotLinked("a section reaches beyond the end")
        self.symbols: list[tuple[str, int, int]] = []
        for s in self.sections:
            if s.kind == _SYMTAB:
                texts = self.sections[s.link].start
                for at in range(s.start, s.start + s.size, _SYMBOL.size):
                    name, _, _, section, value, _ = _SYMBOL.unpack_from(data, at)
                    self.symbols.append((self._text(texts + name), section, value))

    def _text(self, at: int) -> str:
        return self.data[at : self.data.index(b"\0", at)].decode()

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
        self.relocate(block, at, base + at, info & 0xFFFFFFFF, self.address(info >> 32, base) + addend)

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
    machine = _machine()
    if not machine:
        raise NotLinked("not Linux on x86-64 or ARM64")
    parsed = [_Object(data, machine) for data in objects]
    fixed, size = _lay(parsed)
    base = _map(size)
    try:
        block, found = _image(parsed, base, size)
        ctypes.memmove(base, (ctypes.c_char * size).from_buffer(block), size)
        _make_executable(base, fixed)
    except NotLinked:
        _libc().munmap(base, size)
        raise
    return found


def _lay(objects: Sequence[_Object]) -> tuple[int, int]:
    """Gives all sections places in one block; the bytes of it that are not written to, and all of them, in whole pages."""
    fixed = 0
    for o in objects:
        fixed = o.lay(fixed, False)
    written = fixed = -(-fixed // _PAGE) * _PAGE
    for o in objects:
        written = o.lay(written, True)
    return fixed, max(-(-written // _PAGE) * _PAGE, _PAGE)


def _image(objects: Sequence[_Object], base: int, size: int) -> tuple[bytearray, list[dict[str, int]]]:
    """What the block is to hold at the address ``base``, and each object's symbols."""
    block = bytearray(size)
    try:
        for o in objects:
            o.write(block, base)
    except struct.error as e:
        raise NotLinked(str(e)) from None
    return block, [o.exported(base) for o in objects]


def load(data: bytes, names: Sequence[str]) -> dict[str, int]:
    """The addresses of the functions ``names`` of an object file, which may call those of the C library."""
    try:
        (found,) = link([data])
        return {name: found[name] for name in names}
    except NotLinked:
        return llvm().load(data, names)  # type: ignore[no-any-return]


@functools.cache
def _machine() -> str:
    """A name of ``MACHINES``, or "" where objects are of another kind or code cannot be made ready to run."""
    machine = platform.machine()
    known = sys.platform == "linux" and machine in MACHINES and struct.calcsize("P") == 8
    return machine if known and (machine == "x86_64" or _clear_cache() is not None) else ""


@functools.cache
def _clear_cache() -> Callable[[int, int], None] | None:
    """``clear(start, end)`` of the compiler's library: instructions fetched there from now on are those that were written.
    Processors of ARM keep them in a cache that does not see writes."""
    try:
        clear = getattr(ctypes.CDLL("libgcc_s.so.1"), "__clear_cache")
    except (OSError, AttributeError):
        return None
    clear.argtypes, clear.restype = (ctypes.c_void_p, ctypes.c_void_p), None
    return clear  # type: ignore[no-any-return]


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
    if _machine() != "x86_64":
        clear = _clear_cache()
        assert clear is not None  # else the machine is not known
        clear(base, base + size)
