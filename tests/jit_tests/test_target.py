"""The target: what it says of this machine is consistent, and what it restricts can be run."""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from loop_harness import LEVELS, axpy, call, level
from machines import arm, x86

from fx.errors import BackendError
from jit import target
from jit.cache import KernelStore
from jit.llvm import library, native, objects
from jit.loop_ir import b1, bf16, f16, f32, f64, i8, i64
from jit.processor import account
from jit.target import Target, host


def test_the_host_is_consistent() -> None:
    h = host()
    assert h is host()
    assert h.arch in ("x86_64", "aarch64")
    assert h.vector_bits in (128, 256, 512)
    assert h.vector_registers in (16, 32)
    assert 8 << 10 <= h.l1_bytes <= h.l2_bytes <= h.l3_bytes
    if h.arch == "x86_64":
        features = set(h.features.split(","))
        assert (h.vector_bits >= 256) == ("+avx2" in features)
        assert h.fma == ("+fma" in features) and h.f16c == ("+f16c" in features)
    else:
        assert (h.vector_bits, h.fma, h.f16c) == (128, True, True)


@pytest.mark.parametrize("name", LEVELS)
def test_lanes(name: str) -> None:
    t = level(name)
    if name == "scalar":
        assert {t.lanes(ty) for ty in (f16, f32, f64, i8, b1)} == {1}
    else:
        assert t.lanes(f32) == t.vector_bits // 32 == 2 * t.lanes(f64) == 2 * t.lanes(i64)
        assert t.lanes(f16) == t.lanes(bf16) == t.vector_bits // 16
        assert t.lanes(b1) == t.lanes(i8) == t.vector_bits // 8


def test_levels_grow() -> None:
    levels = [level(name) for name in ("sse2", "sse4", "avx2")]
    assert [t.vector_bits for t in levels] == [128, 128, 256]
    assert [t.rounding for t in levels] == [False, True, True]
    assert [t.fma for t in levels] == [t.f16c for t in levels] == [False, False, True]


@pytest.mark.parametrize("name", LEVELS)
def test_every_level_runs(name: str) -> None:
    t = level(name)
    x, y = np.arange(40, dtype=np.float32), np.ones(40, np.float32)
    call(objects.load_object(native.compile_object([axpy()], t), ["axpy"])["axpy"], [x, y, 0], 0, 40)
    np.testing.assert_array_equal(y, 2 * x + 1)


def test_registers_are_as_wide_as_the_target_says() -> None:
    scalar = x86("avx2").restricted("scalar")
    for machine, used, unused in ((x86("sse2"), "xmm", "ymm"), (x86("avx2"), "ymm", "zmm"), (scalar, "xmm", "ymm")):
        text = native.assembly([axpy()], machine)
        assert re.search(f"%{used}[0-9]", text) and not re.search(f"%{unused}[0-9]", text)
    assert "%zmm0" in native.assembly([axpy()], x86("avx512"))
    assert re.search(r"fadd\s+v[0-9]+\.4s", native.assembly([axpy()], arm()))


def test_a_level_that_the_machine_lacks() -> None:
    small = dataclasses.replace(host(), triple="x86_64-unknown-linux-gnu", features="+sse4.2,+popcnt")
    with pytest.raises(BackendError, match="has no avx2, fma, f16c, bmi2: it cannot run code of level 'avx2'"):
        small.restricted("avx2")
    assert small.restricted("sse4").cpu == "x86-64-v2"
    with pytest.raises(BackendError, match="'neon' does not exist on x86_64"):
        small.restricted("neon")
    arm = dataclasses.replace(host(), triple="arm64-apple-darwin23.0")
    assert arm.restricted("neon").arch == "aarch64"


def test_a_process_held_to_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FX_ISA", raising=False)
    whole, lowest = host.__wrapped__(), "sse2" if host().arch == "x86_64" else "neon"
    for name in ("scalar", lowest):
        monkeypatch.setenv("FX_ISA", f" {name}\n")
        assert host.__wrapped__() == whole.restricted(name) != whole
    monkeypatch.setenv("FX_ISA", "mmx")
    with pytest.raises(BackendError, match="FX_ISA='mmx': target level 'mmx' does not exist"):
        host.__wrapped__()


def test_every_field_counts_in_the_digest() -> None:
    h = host()
    digests = {h.digest()}
    for f in dataclasses.fields(Target):
        value = getattr(h, f.name)
        other = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value + "x"
        digests.add(dataclasses.replace(h, **{f.name: other}).digest())
    assert len(digests) == 1 + len(dataclasses.fields(Target))
    assert pickle.loads(pickle.dumps(h)) == h


def test_cache_sizes_from_sysfs(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    for n, (lvl, kind, size) in enumerate([("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2M")]):
        folder = tmp_path / f"index{n}"
        folder.mkdir()
        ways = "12" if kind == "Data" else "8"
        for name, text in (("level", lvl), ("type", kind), ("size", size), ("ways_of_associativity", ways)):
            (folder / name).write_text(text + "\n")
    (tmp_path / "index3").mkdir()  # hidden by a container
    monkeypatch.setattr(target.sys, "platform", "linux")
    monkeypatch.setattr(target, "_SYSFS_CACHES", tmp_path)
    assert target._cache_sizes() == (48 << 10, 2 << 20, 2 << 20)
    assert target._l1_ways() == 12
    monkeypatch.setattr(target, "_SYSFS_CACHES", tmp_path / "nothing")
    assert target._l1_ways() == target.DEFAULT_WAYS
    assert target._cache_sizes() == target.DEFAULT_CACHES


def test_cache_sizes_from_sysctl(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS: the performance cores' level where there is one, else the plain name (Intel)."""

    class Libc:
        def __init__(self, known: dict[str, int]) -> None:
            self.known = known

        def sysctlbyname(self, name: bytes, value: Any, length: Any, *_: Any) -> int:
            if name.decode() not in self.known:
                return -1
            value._obj.value = self.known[name.decode()]
            return 0

    names = target._SYSCTL_CACHES
    monkeypatch.setattr(target.sys, "platform", "darwin")
    monkeypatch.setattr(target.ctypes, "CDLL", lambda _: Libc({names[0]: 128 << 10, names[1]: 16 << 20}))
    assert target._cache_sizes() == (128 << 10, 16 << 20, 16 << 20)
    plain = [n.replace("perflevel0.", "") for n in names]
    monkeypatch.setattr(target.ctypes, "CDLL", lambda _: Libc({plain[0]: 32 << 10, plain[1]: 256 << 10}))
    assert target._cache_sizes()[:2] == (32 << 10, 256 << 10)
    monkeypatch.setattr(target.ctypes, "CDLL", lambda _: Libc({}))
    assert target._cache_sizes() == target.DEFAULT_CACHES


@pytest.mark.parametrize(
    "triple, arch",
    [("arm64-apple-darwin", "aarch64"), ("aarch64-unknown-linux-gnu", "aarch64"), ("riscv64-unknown-linux", None)],
)
def test_other_machines(monkeypatch: pytest.MonkeyPatch, triple: str, arch: str | None) -> None:
    monkeypatch.setattr(target, "_described", lambda: (triple, "generic", "+neon"))
    if arch is None:
        with pytest.raises(BackendError, match="not for riscv64"):
            host.__wrapped__()
        return
    found = host.__wrapped__()
    assert (found.arch, found.vector_bits, found.vector_registers, found.fma) == (arch, 128, 32, True)


# ------------------------------------------------------------------------------------------ the processor


def test_every_core_gives_the_same_account() -> None:
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
    accounts = {account()}
    try:
        for core in allowed:
            os.sched_setaffinity(0, {core})
            accounts.add(account())
    finally:
        if allowed:
            os.sched_setaffinity(0, allowed)
    assert len(accounts) == 1


def test_the_store_keeps_what_llvm_says_of_a_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = KernelStore(tmp_path / "store")
    asked: list[int] = []

    def ask() -> Any:
        asked.append(1)
        return SimpleNamespace(host=lambda: ("arch-os", f"cpu{len(asked)}", "+a,-b"))

    monkeypatch.setattr(target, "default_store", lambda: store)
    monkeypatch.setattr(target, "llvm", ask)
    monkeypatch.setattr(target, "account", lambda: "one")
    assert [target._described() for _ in range(2)] == [("arch-os", "cpu1", "+a,-b")] * 2
    monkeypatch.setattr(target, "account", lambda: "another")
    assert target._described()[1] == "cpu2"
    monkeypatch.setattr(target, "account", lambda: None)
    assert [target._described()[1] for _ in range(2)] == ["cpu3", "cpu4"]


def test_the_processor_is_what_llvm_says_it_is() -> None:
    assert target._described() == library.host()
