"""Kernels -> addresses: from this process, from the kernel store, or compiled now.

Each kernel is an object of its own in the store, so that programs share them.  A kernel is looked up by its text
(``print_kernel`` is faithful), the engine and the target; no sizes are in it.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fx.errors import BackendError

from .cache import default_store, environment_digest, kernel_key
from .forks import compiling
from .loop_print import print_kernel
from .lower.registry import KernelHandle
from .native import compile_object, compile_text, load_object
from .target import Target, host

__all__ = ["Loaded", "forget", "kernel_text", "load_kernels", "load_text", "loaded_count"]

_addresses: dict[tuple[Any, ...], int] = {}
_texts: dict[tuple[Any, ...], str] = {}
_keep_alive: list[Any] = []  # compiled Numba functions own their code


@dataclass(frozen=True)
class Loaded:
    """addresses: of each kernel by its key.  compiled, cached: how many were compiled now and how many came from the
    store; the rest was in this process already."""

    addresses: dict[tuple[Any, ...], int]
    compiled: int
    cached: int
    seconds: float


def kernel_text(handle: KernelHandle) -> str:
    """The kernel as Python."""
    text = _texts.get(handle.key)
    if text is None:
        text = _texts[handle.key] = print_kernel(handle.kernel)
    return text


def load_kernels(handles: Sequence[KernelHandle], engine: str, target: Target) -> Loaded:
    """The addresses of ``handles``, compiling those that neither this process nor the store has."""
    start = time.perf_counter()
    found: dict[tuple[Any, ...], int] = {}
    compiled = cached = 0
    for handle in handles:
        key = (engine, target, handle.key)
        address = _addresses.get(key)
        if address is None:
            with compiling:
                address, how = _load(handle, engine, target)
            _addresses[key] = address
            compiled += how == "compiled"
            cached += how == "cached"
        found[handle.key] = address
    return Loaded(found, compiled, cached, time.perf_counter() - start)


def _load(handle: KernelHandle, engine: str, target: Target) -> tuple[int, str]:
    if engine == "numba":
        # loaded on demand: importing Numba takes a third of a second, and the default engine needs none of it
        compile_numba = importlib.import_module(".emit_numba", __package__).compile_numba
        function = compile_numba(handle.kernel, target.fma)
        _keep_alive.append(function)
        return int(function.address), "compiled"
    name = handle.kernel.name
    store = default_store()
    key = kernel_key(kernel_text(handle), {"engine": engine}, environment_digest(target.digest()))
    data = store.get(key)
    if data is not None:
        try:
            return load_object(data, [name])[name], "cached"
        except BackendError:
            pass  # written by a machine that only looked like this one: compile it anew
    data = compile_object([handle.kernel], target)
    store.put(key, data)
    return load_object(data, [name])[name], "compiled"


def load_text(text: str, names: Sequence[str]) -> dict[str, int]:
    """The addresses of functions that are written in LLVM IR."""
    target, store = host(), default_store()
    key = kernel_key(text, {"engine": "text"}, environment_digest(target.digest()))
    data = store.get(key)
    if data is None:
        with compiling:
            data = compile_text(text, target)
        store.put(key, data)
    return load_object(data, names)


def loaded_count() -> int:
    return len(_addresses)


def forget() -> None:
    """Forgets which kernels are loaded; their code stays in memory, as programs may be using it."""
    _addresses.clear()
