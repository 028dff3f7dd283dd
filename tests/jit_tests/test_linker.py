"""The linker of our own: code with constants, jump tables, calls and memory of its own, beside what LLVM's linker makes of it."""

from __future__ import annotations

import ctypes
import re
import struct
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import llvmlite.binding as llvm
import numpy as np
import pytest
from loop_harness import axpy, level

from fx.errors import BackendError
from jit.llvm import library, linker, objects
from jit.llvm.linker import NotLinked, link
from jit.llvm.native import compile_object, compile_text
from jit.llvm.objects import load_objects
from jit.target import host

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="links ELF; elsewhere LLVM links")
SEALED = len(objects._SEAL) + objects._DIGEST_BYTES

TEXTS = {
    "constants": """
define i64 @f(i64 %x) {
  %d = sitofp i64 %x to double
  %y = fmul double %d, 2.5
  %z = fadd double %y, 1.25e2
  %r = fptosi double %z to i64
  ret i64 %r
}""",
    "jump table": """
define i64 @f(i64 %x) {
entry:
  switch i64 %x, label %other [
    i64 0, label %a  i64 1, label %b  i64 2, label %c  i64 3, label %d  i64 4, label %e  i64 6, label %b  i64 7, label %c
    i64 8, label %a  i64 9, label %e  i64 10, label %d  i64 11, label %a  i64 12, label %c  i64 13, label %b  i64 14, label %e
  ]
a:
  ret i64 17
b:
  ret i64 -3
c:
  %two = call i64 @g(i64 %x)
  ret i64 %two
d:
  ret i64 1000000007
e:
  ret i64 5
other:
  ret i64 %x
}
define internal i64 @g(i64 %x) noinline {
  %y = mul i64 %x, 11
  ret i64 %y
}""",
    "table": """
@table = internal constant [4 x i64] [i64 7, i64 11, i64 13, i64 17]
define i64 @f(i64 %x) {
  %k = and i64 %x, 3
  %p = getelementptr [4 x i64], ptr @table, i64 0, i64 %k
  %v = load i64, ptr %p
  ret i64 %v
}""",
    "memory of its own": """
@count = internal global i64 0
@start = internal global i64 40
define i64 @f(i64 %x) {
  %n = load i64, ptr @count
  %m = add i64 %n, %x
  store i64 %m, ptr @count
  %s = load i64, ptr @start
  %r = add i64 %m, %s
  ret i64 %r
}""",
    "pointers in constants": """
@one = internal constant i64 1
@two = internal constant i64 2
@both = internal constant [2 x ptr] [ptr @one, ptr @two]
define i64 @f(i64 %x) {
  %k = and i64 %x, 1
  %p = getelementptr [2 x ptr], ptr @both, i64 0, i64 %k
  %q = load ptr, ptr %p
  %v = load i64, ptr %q
  ret i64 %v
}""",
}  # fmt: skip


def code(text: str) -> bytes:
    return compile_text(text, host())[SEALED:]


def called(address: int) -> list[int]:
    return [ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)(k) for k in range(6)]


@pytest.mark.parametrize("name", TEXTS)
def test_code_does_what_llvms_linker_makes_it_do(name: str) -> None:
    data = code(TEXTS[name])
    (mine,) = link([data])
    assert called(mine["f"]) == called(library.link(data, ["f"])["f"])


def test_objects_with_the_same_names_lie_side_by_side() -> None:
    datas = [code(text) for text in TEXTS.values()]
    found = link([*datas, *datas])
    places = [symbols["f"] for symbols in found]
    assert len(set(places)) == 2 * len(TEXTS) and max(places) - min(places) < 64 * 1024
    assert all(place % 16 == 0 for place in places)
    alone = [called(link([data])[0]["f"]) for data in datas]
    assert [called(place) for place in places] == alone * 2  # what one adds up the other does not see


def kernel(make: Callable[[], object], target: str) -> bytes:
    return compile_object([make()], level(target))  # type: ignore[list-item]


@pytest.mark.parametrize("target", ["host", "avx2", "sse2", "scalar"])
def test_kernels_of_every_machine(target: str) -> None:
    """The same bits as by way of LLVM's linker."""
    data = kernel(axpy, target)
    x = np.arange(40, dtype=np.float32)
    results = []
    for load in (lambda: load_objects([(data, ["axpy"])])[0], lambda: library.link(data[SEALED:], ["axpy"])):
        y = np.ones(40, np.float32)
        frame = np.array([x.ctypes.data, y.ctypes.data, *np.float32([2.5, 0]).view(np.int64)], np.int64)
        ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(load()["axpy"])(frame.ctypes.data, 0, 40, 0)
        results.append(y.tobytes())
    assert results[0] == results[1]


def test_code_cannot_be_written_and_data_cannot_be_run() -> None:
    (symbols,) = link([code(TEXTS["memory of its own"])])
    assert _rights(symbols["f"]) == "r-xp" and _rights(symbols["count"]) == "rw-p"


def _rights(address: int) -> str:
    with open("/proc/self/maps") as lines:
        for line in lines:
            first, last, rights = re.match(r"(\w+)-(\w+) (\S+)", line).groups()  # type: ignore[union-attr]
            if int(first, 16) <= address < int(last, 16):
                return rights
    raise AssertionError("not mapped")


def test_threads_link_at_once() -> None:
    data = code(TEXTS["constants"])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: called(link([data])[0]["f"]), range(32)))
    assert found == [found[0]] * 32


# ----------------------------------------------------------------------------------- what is refused

OUTSIDE = """
declare i64 @somewhere(i64)
define i64 @f(i64 %x) {
  %y = call i64 @somewhere(i64 %x)
  ret i64 %y
}"""


def test_symbols_from_elsewhere_are_refused() -> None:
    data = code(OUTSIDE)
    with pytest.raises(NotLinked, match="somewhere"):
        link([data])
    with pytest.raises(BackendError, match="does not link"):
        load_objects([(compile_text(OUTSIDE, host()), ["f"])])


def test_unknown_relocations_are_refused() -> None:
    data = bytearray(code(TEXTS["pointers in constants"]))
    sections = linker._Object(bytes(data), host().arch).sections
    section = next(s for s in sections if s.kind == linker._RELA and sections[s.target].loaded)
    info = struct.unpack_from("<Q", data, section.start + 8)[0]
    struct.pack_into("<Q", data, section.start + 8, info & ~0xFFFFFFFF | 42)
    with pytest.raises(NotLinked, match="kind 42"):
        link([bytes(data)])


@pytest.mark.parametrize("cut", [0, 10, 63, 64, 200, -1])
def test_other_files_are_refused(cut: int) -> None:
    whole = code(TEXTS["jump table"])
    for data in (whole[:cut], b"MZ" + whole[2:], whole[:18] + b"\x08" + whole[19:]):
        with pytest.raises(NotLinked):
            link([data])


def test_where_memory_cannot_be_made_executable_llvm_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(base: int, size: int) -> None:
        raise NotLinked("no")

    monkeypatch.setattr(linker, "_make_executable", refused)
    data = compile_text(TEXTS["constants"], host())
    assert called(load_objects([(data, ["f"])])[0]["f"]) == [125, 127, 130, 132, 135, 137]


def test_on_another_system_llvm_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linker, "_machine", lambda: "")
    with pytest.raises(NotLinked, match="Linux"):
        link([code(TEXTS["table"])])
    data = compile_text(TEXTS["table"], host())
    assert called(load_objects([(data, ["f"])])[0]["f"]) == [7, 11, 13, 17, 7, 11]


def test_llvm_writes_the_format_that_is_known_here() -> None:
    assert llvm.get_object_format() == "ELF"


def test_no_objects_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose kernels this process has links none: it took a page, for ever, for each jitted function."""
    monkeypatch.setattr(linker, "_map", lambda size: pytest.fail(f"{size} bytes for nothing"))
    assert load_objects([]) == []
