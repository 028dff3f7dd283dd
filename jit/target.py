"""The machine that kernels are compiled for: instruction set, vector width, cache sizes.

``host()`` reads the machine we run on; ``restricted`` narrows it, so that tests can build and run what a
smaller machine would get, and ``FX_ISA`` does so for a whole process.  A ``Target`` is the ``Host`` that lowerings see (``lower/registry.py``) and part
of every cache key (``digest``).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import sys
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fx.errors import BackendError

from .arithmetic import Arithmetic
from .cache import default_store, environment_digest, kernel_key
from .on_demand import llvm
from .processor import account

if TYPE_CHECKING:
    from .loop_ir import Ty

# What a core has at least where the operating system does not tell: L1 data, L2, L3 in bytes.
DEFAULT_CACHES = (32 << 10, 512 << 10, 4 << 20)
DEFAULT_WAYS = 8  # of the first-level cache
_SYSFS_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_SYSCTL_CACHES = ("hw.perflevel0.l1dcachesize", "hw.perflevel0.l2cachesize", "hw.l3cachesize")

# The x86-64 levels are LLVM's names for them, so the feature list may stay empty.
_X86_LEVELS = {"sse2": "x86-64", "sse4": "x86-64-v2", "avx2": "x86-64-v3", "avx512": "x86-64-v4"}
_X86_NEEDS = {
    "sse2": (),
    "sse4": ("sse4.2", "popcnt"),
    "avx2": ("avx2", "fma", "f16c", "bmi2"),
    "avx512": ("avx512f", "avx512vl", "avx512bw", "avx512dq"),
}


@dataclass(frozen=True)
class Target:
    """An instruction set and the sizes that blocking depends on.

    Attributes:
        triple, cpu, features: as LLVM spells them (``features``: ``"+avx2,-avx512f,..."``).
        vector_bits: width of a SIMD register; 64 means that kernels stay scalar.
        vector_registers: how many SIMD registers there are.
        fma: a fused multiply-add instruction exists (otherwise ``fma`` is a product and a sum, rounded twice).
        f16c: instructions convert between float16 and float32.
        rounding: instructions round to an integer in every mode (SSE 4.1 and later).
        l1_bytes, l2_bytes, l3_bytes: data caches as one core sees them.
        l1_ways: how many lines of one set the first-level cache holds.
    """

    triple: str
    cpu: str
    features: str
    vector_bits: int
    vector_registers: int
    fma: bool
    f16c: bool
    rounding: bool
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    l1_ways: int

    @property
    def arch(self) -> str:
        """``"x86_64"`` or ``"aarch64"``."""
        return _arch(self.triple)

    @property
    def masked_accesses(self) -> bool:
        """Instructions read and write some lanes of a vector of 32 or 64 bits an element, and leave the others alone."""
        return self.arch == "x86_64" and self.vector_bits >= 256

    @property
    def masked_bytes(self) -> bool:
        """The same for elements of eight bits."""
        return self.arch == "x86_64" and self.vector_bits >= 512

    @property
    def arithmetic(self) -> Arithmetic:
        """What formulas may choose by."""
        avx2, avx512 = (self.arch == "x86_64" and self.vector_bits >= bits for bits in (256, 512))
        return Arithmetic(fused=self.fma, scale=avx512, tables=avx512, compress=avx2)

    @property
    def unit_bits(self) -> int:
        """Width of the units that multiply and add: a longer vector takes as long as its parts."""
        return 256 if self.cpu == "znver4" and self.vector_bits == 512 else self.vector_bits

    def lanes(self, ty: Ty) -> int:
        """Elements of ``ty`` in a vector register; 1 on a scalar target."""
        return 1 if self.vector_bits <= 64 else self.vector_bits // (8 * ty.itemsize)

    def digest(self) -> str:
        """A name for everything here, for cache keys."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:32]

    def restricted(self, level: str) -> Target:
        """This machine with fewer features.

        Args:
            level: "scalar" keeps the instruction set and gives up SIMD; "sse2", "sse4", "avx2" and "avx512"
                are levels of x86-64, "neon" is plain ARMv8.

        Raises:
            BackendError: if this machine could not run the code of that level.
        """
        if level == "scalar":
            return replace(self, vector_bits=64)
        if level == "neon" and self.arch == "aarch64":
            return replace(self, cpu="generic", features="+neon", vector_bits=128)
        if level not in _X86_LEVELS or self.arch != "x86_64":
            known = ", ".join(["scalar", *(_X86_LEVELS if self.arch == "x86_64" else ["neon"])])
            raise BackendError(f"target level {level!r} does not exist on {self.arch}; there are {known}")
        missing = [f for f in _X86_NEEDS[level] if f not in _enabled(self.features)]
        if missing:
            raise BackendError(f"this machine has no {', '.join(missing)}: it cannot run code of level {level!r}")
        rank = list(_X86_LEVELS).index(level)
        return replace(
            self,
            cpu=_X86_LEVELS[level],
            features="",
            vector_bits=(128, 128, 256, 512)[rank],
            vector_registers=32 if level == "avx512" else 16,
            fma=rank >= 2,
            f16c=rank >= 2,
            rounding=rank >= 1,
        )


@functools.cache
def host() -> Target:
    """The machine this process runs on, narrowed to the level that ``FX_ISA`` names, if any (``Target.restricted``)."""
    level = os.environ.get("FX_ISA", "").strip()
    if not level:
        return _machine()
    try:
        return _machine().restricted(level)
    except BackendError as error:
        raise BackendError(f"FX_ISA={level!r}: {error}") from None


def _machine() -> Target:
    triple, cpu, features = _described()
    caches = dict(zip(("l1_bytes", "l2_bytes", "l3_bytes"), _cache_sizes()))
    base: dict[str, Any] = {"triple": triple, "cpu": cpu, "features": features, **caches, "l1_ways": _l1_ways()}
    match _arch(triple):
        case "x86_64":
            on = _enabled(features)
            avx512 = on.issuperset(_X86_NEEDS["avx512"])
            return Target(
                **base,
                vector_bits=512 if avx512 else 256 if "avx2" in on else 128,
                vector_registers=32 if avx512 else 16,
                fma="fma" in on,
                f16c="f16c" in on,
                rounding="sse4.1" in on,
            )
        case "aarch64":
            return Target(**base, vector_bits=128, vector_registers=32, fma=True, f16c=True, rounding=True)
        case arch:
            raise BackendError(f"fx compiles for x86-64 and ARM64, not for {arch} ({triple})")


def _described() -> tuple[str, str, str]:
    """Triple, CPU and features as LLVM spells them, which the store keeps under the processor's own account of itself."""
    said, store = account(), default_store()
    if said is None:
        return llvm().host()  # type: ignore[no-any-return]
    key = kernel_key(said, {"kernel": "host"}, environment_digest())
    data = store.read(key)
    if data is None:
        data = "\n".join(llvm().host()).encode()
        store.put(key, data)
    triple, cpu, features = data.decode().split("\n")
    return triple, cpu, features


def _arch(triple: str) -> str:
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name := triple.split("-")[0], name)


def _enabled(features: str) -> frozenset[str]:
    return frozenset(f[1:] for f in features.split(",") if f.startswith("+"))


def _cache_sizes() -> tuple[int, int, int]:
    """L1 data, L2 and L3 in bytes; a level that does not exist counts as large as the one before it."""
    found = _sysctl_caches() if sys.platform == "darwin" else _sysfs_caches()
    if not found.get(1):
        return DEFAULT_CACHES
    l1 = found[1]
    l2 = found.get(2) or l1
    return l1, l2, max(found.get(3) or l2, l2)


def _sysfs_caches() -> dict[int, int]:
    sizes: dict[int, int] = {}
    for index in sorted(_SYSFS_CACHES.glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
            if kind in ("Data", "Unified"):
                sizes[int(level)] = int(size[:-1]) << {"K": 10, "M": 20, "G": 30}[size[-1]]
        except (OSError, ValueError, KeyError, IndexError):  # containers may hide single files
            continue
    return sizes


def _l1_ways() -> int:
    for index in sorted(_SYSFS_CACHES.glob("index*")):
        try:
            level, kind, ways = ((index / n).read_text().strip() for n in ("level", "type", "ways_of_associativity"))
            if level == "1" and kind in ("Data", "Unified") and int(ways) > 0:
                return int(ways)
        except (OSError, ValueError):
            continue
    return DEFAULT_WAYS


def _sysctl_caches() -> dict[int, int]:
    libc = ctypes.CDLL(None)
    sizes: dict[int, int] = {}
    for level, name in enumerate(_SYSCTL_CACHES, 1):
        for spelling in (name, name.replace("perflevel0.", "")):  # Intel Macs have no performance levels
            value, length = ctypes.c_int64(0), ctypes.c_size_t(8)
            if libc.sysctlbyname(spelling.encode(), ctypes.byref(value), ctypes.byref(length), None, 0) == 0:
                sizes.setdefault(level, value.value)
    return sizes
