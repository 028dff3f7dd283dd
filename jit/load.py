"""Kernels -> addresses: from this process, or from the kernel store.

Each kernel is an object of its own in the store, so that programs share them.  Here kernels are known by their keys alone, so
programs that are not planned in this process need nothing else; ``build`` compiles what is nowhere yet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from fx.errors import BackendError

from .cache import default_store
from .forks import compiling
from .llvm.objects import load_objects

__all__ = ["ADDRESSES", "Loaded", "Stored", "forget", "load", "load_from_store", "load_stored", "loaded"]

Stored = tuple[str, str]  # a kernel's key in the store, and its name

ADDRESSES: dict[str, int] = {}  # of the kernels that this process has loaded, by key


@dataclass(frozen=True)
class Loaded:
    """kernels, addresses: of each kernel that was asked for.  compiled, cached: how many were compiled now and how many came
    from the store; the rest was in this process already."""

    kernels: tuple[Stored, ...]
    addresses: tuple[int, ...]
    compiled: int
    cached: int
    seconds: float


def load_stored(kernels: Sequence[Stored]) -> Loaded | None:
    """The addresses of kernels that this process or the store has; None if one of them is in neither."""
    start = time.perf_counter()
    missing = [k for k in dict.fromkeys(kernels) if k[0] not in ADDRESSES]
    found = load_from_store(missing)
    return loaded(tuple(kernels), 0, len(found), start) if len(found) == len(missing) else None


def loaded(kernels: tuple[Stored, ...], compiled: int, cached: int, start: float) -> Loaded:
    """Kernels that are all in this process now."""
    addresses = tuple([ADDRESSES[key] for key, _ in kernels])
    return Loaded(kernels, addresses, compiled, cached, time.perf_counter() - start)


def load_from_store(kernels: Sequence[Stored]) -> list[Stored]:
    """Loads the kernels that the store has, together and on this thread: that takes less time than to hand them to others."""
    store = default_store()
    found = [(kernel, data) for kernel in kernels if (data := store.get(kernel[0])) is not None]
    with compiling:
        try:
            load([kernel for kernel, _ in found], [data for _, data in found])
            return [kernel for kernel, _ in found]
        except BackendError:  # one was written by a machine that only looked like this one
            return [kernel for kernel, data in found if _loads(kernel, data)]


def _loads(kernel: Stored, data: bytes) -> bool:
    try:
        load([kernel], [data])
    except BackendError:
        return False
    return True


def load(kernels: Sequence[Stored], objects: Sequence[bytes]) -> None:
    """Loads kernels from their object code."""
    for (key, name), found in zip(kernels, load_objects([(data, [name]) for (_, name), data in zip(kernels, objects)])):
        ADDRESSES[key] = found[name]


def forget() -> None:
    """Forgets which kernels are loaded; their code stays in memory, as programs may be using it."""
    ADDRESSES.clear()
