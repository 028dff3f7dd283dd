"""What a linker writes into code: the relocations of each machine, as the ELF supplements of their makers define them.

``MACHINES`` gives for each machine, by the name that ``platform.machine()`` has for it, its number in an object's head and the
function that applies one relocation.  Only what LLVM writes for code without symbols from elsewhere is known.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

__all__ = ["MACHINES", "NotLinked", "Relocate"]

Relocate = Callable[[bytearray, int, int, int, int], None]
"""``relocate(block, at, place, kind, value)``: writes ``value`` into ``block`` at offset ``at``, whose address is ``place``."""


class NotLinked(Exception):
    """The object has to be linked in another way."""


def _x86_64(block: bytearray, at: int, place: int, kind: int, value: int) -> None:
    if kind == 1:  # R_X86_64_64
        struct.pack_into("<Q", block, at, value)
    elif kind in (2, 4):  # PC32, PLT32
        struct.pack_into("<i", block, at, value - place)
    else:
        raise NotLinked(f"relocations of kind {kind} are not known")


def _aarch64(block: bytearray, at: int, place: int, kind: int, value: int) -> None:
    if kind == 257:  # R_AARCH64_ABS64
        struct.pack_into("<Q", block, at, value)
    elif kind in (260, 261):  # PREL64, PREL32
        struct.pack_into("<q" if kind == 260 else "<i", block, at, value - place)
    else:
        mask, bits = _aarch64_field(place, kind, value)
        (word,) = struct.unpack_from("<I", block, at)
        struct.pack_into("<I", block, at, word & ~mask | bits)


_PAGE = 12  # bits of an address that ADRP leaves to the instruction behind it, whatever the system's pages are
_QUARTERS = {264: 0, 266: 16, 268: 32, 269: 48}  # MOVW_UABS_G0_NC, _G1_NC, _G2_NC, _G3: which 16 bits
_SCALES = {
    277: 0,
    278: 0,
    284: 1,
    285: 2,
    286: 3,
    299: 4,
}  # ADD_ABS_LO12_NC, LDST8, 16, 32, 64, 128: what counts as one


def _aarch64_field(place: int, kind: int, value: int) -> tuple[int, int]:
    """The bits of an instruction that a relocation sets, and what it sets them to."""
    if kind == 275:  # ADR_PREL_PG_HI21
        pages = (value >> _PAGE) - (place >> _PAGE)
        _in_reach(pages, 21)
        return 0x60FFFFE0, (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
    if kind in _SCALES:
        low, scale = value & ((1 << _PAGE) - 1), _SCALES[kind]
        if low % (1 << scale):
            raise NotLinked(f"the address {value:#x} is no multiple of {1 << scale}")
        return 0xFFF << 10, low >> scale << 10
    if kind in (282, 283):  # JUMP26, CALL26
        words, rest = divmod(value - place, 4)
        _in_reach(words, 26)
        if rest:
            raise NotLinked(f"no instruction begins at {value:#x}")
        return 0x3FFFFFF, words & 0x3FFFFFF
    if kind in _QUARTERS:
        return 0xFFFF << 5, (value >> _QUARTERS[kind] & 0xFFFF) << 5
    raise NotLinked(f"relocations of kind {kind} are not known")


def _in_reach(distance: int, bits: int) -> None:
    if not -(1 << bits - 1) <= distance < 1 << bits - 1:
        raise NotLinked("a symbol is too far away")


MACHINES: dict[str, tuple[int, Relocate]] = {"x86_64": (62, _x86_64), "aarch64": (183, _aarch64)}
