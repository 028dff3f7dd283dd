"""Kernels -> addresses: from this process, from the kernel store, or compiled now.

Each kernel is an object of its own in the store, so that programs share them.  A kernel is looked up by its text
(``print_kernel`` is faithful), the engine and the target; no sizes are in it.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from fx.errors import BackendError

from .cache import default_store, environment_digest, kernel_key
from .forks import compiling
from .loop_print import print_kernel
from .lower.context import structure
from .lower.registry import KernelHandle
from .native import compile_object, load_object
from .target import Target
from .threads import num_threads

__all__ = ["Loaded", "forget", "kernel_text", "load_kernels", "loaded_count"]

_addresses: dict[tuple[Any, ...], int] = {}
_texts: dict[tuple[Any, ...], str] = {}
_identities: dict[tuple[Any, ...], str] = {}
_keep_alive: list[Any] = []  # compiled Numba functions own their code


@dataclass(frozen=True)
class Loaded:
    """addresses: of each kernel that was asked for.  compiled, cached: how many were compiled now and how many came from the
    store; the rest was in this process already."""

    addresses: np.ndarray
    compiled: int
    cached: int
    seconds: float


def kernel_text(handle: KernelHandle) -> str:
    """The kernel as Python."""
    text = _texts.get(handle.key)
    if text is None:
        text = _texts[handle.key] = print_kernel(handle.kernel)
    return text


def _identity(handle: KernelHandle) -> str:
    """What the store knows a kernel by: printing it would take longer than reading its code."""
    text = _identities.get(handle.key)
    if text is None:
        text = _identities[handle.key] = structure(handle.kernel)
    return text


def load_kernels(handles: Sequence[KernelHandle], engine: str, target: Target) -> Loaded:
    """The addresses of ``handles``, compiling those that neither this process nor the store has."""
    start = time.perf_counter()
    missing = {h.key: h for h in handles if (engine, target, h.key) not in _addresses}
    counts = {"compiled": 0, "cached": 0}
    for handle, (address, how) in zip(missing.values(), _load_all(list(missing.values()), engine, target)):
        _addresses[engine, target, handle.key] = address
        counts[how] += 1
    found = np.array([_addresses[engine, target, h.key] for h in handles], np.int64)
    return Loaded(found, counts["compiled"], counts["cached"], time.perf_counter() - start)


def _load_all(handles: list[KernelHandle], engine: str, target: Target) -> list[tuple[int, str]]:
    """Loads kernels, several at a time: LLVM works outside the interpreter's lock.  The long ones begin first."""

    def load(handle: KernelHandle) -> tuple[int, str]:
        with compiling:
            return _load(handle, engine, target)

    workers = min(len(handles), 1 if engine == "numba" else num_threads())
    if workers < 2:
        return [load(h) for h in handles]
    order = sorted(range(len(handles)), key=lambda k: -len(_identity(handles[k])))
    with ThreadPoolExecutor(workers) as pool:
        futures = {k: pool.submit(load, handles[k]) for k in order}
        return [futures[k].result() for k in range(len(handles))]


def _load(handle: KernelHandle, engine: str, target: Target) -> tuple[int, str]:
    if engine == "numba":
        # loaded on demand: importing Numba takes a third of a second, and the default engine needs none of it
        compile_numba = importlib.import_module(".emit_numba", __package__).compile_numba
        function = compile_numba(handle.kernel, target.fma)
        _keep_alive.append(function)
        return int(function.address), "compiled"
    name = handle.kernel.name
    store = default_store()
    key = kernel_key(_identity(handle), {"engine": engine}, environment_digest(target.digest()))
    data = store.get(key)
    if data is not None:
        try:
            return load_object(data, [name])[name], "cached"
        except BackendError:
            pass  # written by a machine that only looked like this one: compile it anew
    data = compile_object([handle.kernel], target, quick=engine == "quick")
    store.put(key, data)
    return load_object(data, [name])[name], "compiled"


def loaded_count() -> int:
    return len(_addresses)


def forget() -> None:
    """Forgets which kernels are loaded; their code stays in memory, as programs may be using it."""
    _addresses.clear()
