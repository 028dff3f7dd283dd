"""Objects of ARM64, laid out and relocated on any machine: each instruction names the address that its symbol has.

What the linker wrote is read back by a decoder that follows the manual's encodings of the instructions, not the linker's table.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

import llvmlite.binding as llvm
import pytest
from loop_harness import axpy
from test_linker import SEALED, TEXTS

from jit.llvm import linker
from jit.llvm.native import compile_object
from jit.llvm.relocations import MACHINES, NotLinked
from jit.runtime_ir import runtime_text
from jit.target import host

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()

TRIPLE = "aarch64-unknown-linux-gnu"
KINDS = {
    "functions": {},
    "kernels": {"reloc": "pic", "codemodel": "small", "jit": True},
}  # as emission and native have them
BASES = [0x10000, 0x7FFF_1234_5000, 0xFFFF_0000_F000]
ALL = TEXTS | {
    "runtime": runtime_text("aarch64", "linux"),
    "memory of every width": "\n".join(
        f"""@m{n} = internal global {ty} zeroinitializer, align {n}
define void @f{n}({ty} %x) {{
  store {ty} %x, ptr @m{n}
  ret void
}}"""
        for n, ty in ((1, "i8"), (2, "i16"), (4, "float"), (8, "double"), (16, "<4 x float>"))
    ),
    "a call, and one at the end": """
define void @f(i64 %x) {
  call void @g(i64 1)
  tail call void @g(i64 %x)
  ret void
}
define void @g(i64 %x) noinline {
  ret void
}""",
}


def arm_code(text: str, kind: str) -> bytes:
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(opt=2, **KINDS[kind])
    return machine.emit_object(llvm.parse_assembly(text, llvm.create_context()))


def signed(x: int, bits: int) -> int:
    return x - (x >> bits - 1 << bits)


def named(word: int, place: int) -> tuple[str, int]:
    """What an instruction says of an address, by the encodings of the ARM Architecture Reference Manual."""
    if word & 0x9F000000 == 0x90000000:  # ADRP
        return "page", (place & ~0xFFF) + (signed((word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3, 21) << 12)
    if word & 0xFFC00000 == 0x91000000:  # ADD (immediate), 64 bits
        return "low", word >> 10 & 0xFFF
    if word & 0x3B000000 == 0x39000000:  # loads and stores at an unsigned offset; 128 bits have size 0 and opc 1x
        return "low", (word >> 10 & 0xFFF) << (4 if word & 0x04800000 == 0x04800000 else word >> 30)
    if word & 0x7C000000 == 0x14000000:  # B, BL
        return "all", place + 4 * signed(word & 0x3FFFFFF, 26)
    if word & 0x9F800000 == 0x92800000:  # MOVZ, MOVK, 64 bits
        return f"quarter {word >> 21 & 3}", word >> 5 & 0xFFFF
    raise AssertionError(f"{word:#010x} is an instruction of another kind")


def expected(what: str, value: int) -> int:
    if what.startswith("quarter"):
        return value >> 16 * int(what[-1]) & 0xFFFF
    return {"page": value & ~0xFFF, "low": value & 0xFFF, "all": value}[what]


def relocations(o: linker._Object) -> Iterator[tuple[int, int, int, int]]:
    """Place in the block, kind, symbol and addend of each."""
    for s in o.sections:
        if s.kind == linker._RELA and o.sections[s.target].place >= 0:
            for offset, info, addend in struct.iter_unpack("<QQq", o.data[s.start : s.start + s.size]):
                yield o.sections[s.target].place + offset, info & 0xFFFFFFFF, info >> 32, addend


def check(data: bytes, base: int) -> set[int]:
    """The kinds of relocations there were."""
    objects = [linker._Object(data, "aarch64") for _ in range(2)]  # the second lies where nothing is aligned to a page
    _, size = linker._lay(objects)
    block, _ = linker._image(objects, base, size)
    seen = set()
    for o in objects:
        before = bytearray(size)
        for s in o.sections:
            if s.place >= 0 and s.kind != linker._NOBITS:
                before[s.place : s.place + s.size] = data[s.start : s.start + s.size]
        for at, kind, symbol, addend in relocations(o):
            seen.add(kind)
            place, value = base + at, o.address(symbol, base) + addend
            if kind in (257, 260, 261):  # words and distances in tables
                width = 4 if kind == 261 else 8
                found = int.from_bytes(block[at : at + width], "little", signed=kind != 257)
                assert found == value - (0 if kind == 257 else place)
                before[at : at + width] = block[at : at + width]
                continue
            word = int.from_bytes(block[at : at + 4], "little")
            what, found = named(word, place)
            assert found == expected(what, value), (kind, hex(word))
            old, fields = (
                int.from_bytes(before[at : at + 4], "little"),
                {"p": 0x60FFFFE0, "l": 0x3FFC00, "a": 0x3FFFFFF},
            )
            assert (word ^ old) & ~fields.get(what[0], 0x1FFFE0) == 0  # registers and operation are as they were
            before[at : at + 4] = block[at : at + 4]
        for s in o.sections:
            if s.place >= 0:
                assert block[s.place : s.place + s.size] == before[s.place : s.place + s.size]
    return seen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL)
def test_instructions_name_the_addresses_of_their_symbols(name: str, kind: str) -> None:
    for base in BASES:
        check(arm_code(ALL[name], kind), base)


def test_every_kind_that_is_known_occurs() -> None:
    seen = set().union(*(check(arm_code(text, kind), BASES[1]) for text in ALL.values() for kind in KINDS))
    assert seen >= {257, 264, 266, 268, 269, 275, 277, 278, 282, 283, 284, 285, 286, 299}


def test_kernels() -> None:
    arm = dataclasses.replace(
        host(),
        triple=TRIPLE,
        cpu="generic",
        features="+neon",
        vector_bits=128,
        vector_registers=32,
        fma=True,
        f16c=True,
    )
    check(compile_object([axpy()], arm)[SEALED:], BASES[1])


def relocate(kind: int, place: int, value: int, word: int = 0) -> int:
    block = bytearray(struct.pack("<I", word) + bytes(4))
    MACHINES["aarch64"][1](block, 0, place, kind, value)
    return int.from_bytes(block[:4], "little")


PLACE = 0x7F00_0000_0000


@pytest.mark.parametrize("kind, word", [(282, 0x14000000), (283, 0x94000000)])
@pytest.mark.parametrize("distance", [0, 4, -4, (1 << 27) - 4, -(1 << 27)])
def test_calls_in_reach(kind: int, word: int, distance: int) -> None:
    assert named(relocate(kind, PLACE, PLACE + distance, word), PLACE) == ("all", PLACE + distance)


@pytest.mark.parametrize("distance", [0, 4096, -4096, (1 << 32) - 4096, -(1 << 32)])
def test_pages_in_reach(distance: int) -> None:
    assert named(relocate(275, PLACE, PLACE + distance + 0xABC, 0x90000000), PLACE) == ("page", PLACE + distance)


@pytest.mark.parametrize(
    "kind, value, why",
    [
        (283, PLACE + (1 << 27), "too far"), (283, PLACE - (1 << 27) - 4, "too far"), (283, PLACE + 2, "no instruction"),
        (275, PLACE + (1 << 32), "too far"), (275, PLACE - (1 << 32) - 1, "too far"), (286, PLACE + 4, "multiple of 8"),
        (299, PLACE + 8, "multiple of 16"), (311, PLACE, "kind 311"), (0, PLACE, "kind 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused(kind: int, value: int, why: str) -> None:
    with pytest.raises(NotLinked, match=why):
        relocate(kind, PLACE, value)


def test_code_of_another_machine_is_refused() -> None:
    with pytest.raises(NotLinked, match="no object code of x86_64"):
        linker._Object(arm_code(TEXTS["table"], "kernels"), "x86_64")
