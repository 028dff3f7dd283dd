"""Kernels -> addresses: from this process, from the kernel store, or compiled now.

Each kernel is an object of its own in the store, so that programs share them.  A kernel is known by its structure, the engine
and the target; no sizes are in it.  ``load_kernels`` compiles what is nowhere yet; ``load_stored`` takes kernels by their keys
alone, for programs that are not planned in this process.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fx.errors import BackendError

from .cache import default_store, environment_digest, kernel_key
from .forks import compiling
from .llvm.native import compile_object, load_objects
from .loop_print import print_kernel
from .lower.context import structure
from .lower.registry import KernelHandle
from .target import Target
from .threads import num_threads

__all__ = ["Loaded", "Stored", "forget", "kernel_text", "load_kernels", "load_stored"]

Stored = tuple[str, str]  # a kernel's key in the store, and its name

_addresses: dict[str, int] = {}  # by key
_keys: dict[tuple[Any, ...], tuple[str, int]] = {}  # by engine, target and a handle's key; and how long the kernel is
_texts: dict[tuple[Any, ...], str] = {}
_keep_alive: list[Any] = []  # compiled Numba functions own their code


@dataclass(frozen=True)
class Loaded:
    """kernels, addresses: of each kernel that was asked for.  compiled, cached: how many were compiled now and how many came
    from the store; the rest was in this process already."""

    kernels: tuple[Stored, ...]
    addresses: tuple[int, ...]
    compiled: int
    cached: int
    seconds: float


def kernel_text(handle: KernelHandle) -> str:
    """The kernel as Python."""
    text = _texts.get(handle.key)
    if text is None:
        text = _texts[handle.key] = print_kernel(handle.kernel)
    return text


def load_kernels(
    handles: Sequence[KernelHandle], engine: str, target: Target, beside: Sequence[Callable[[], object]] = ()
) -> Loaded:
    """The addresses of ``handles``, compiling those that neither this process nor the store has.

    Args:
        beside: what else is to be compiled, if several threads do.
    """
    start = time.perf_counter()
    keys = _keys_of(handles, engine, target)
    missing = {key: (h, length) for (key, length), h in zip(keys, handles) if key not in _addresses}
    cached = [] if engine == "numba" else _from_store([(key, h.kernel.name) for key, (h, _) in missing.items()])
    for key, _ in cached:
        del missing[key]
    longest_first = sorted(missing.items(), key=lambda item: -item[1][1])
    _compile_all([(key, h) for key, (h, _) in longest_first], engine, target, beside)
    kernels = tuple([(key, h.kernel.name) for (key, _), h in zip(keys, handles)])
    return _loaded(kernels, len(missing), len(cached), start)


def load_stored(kernels: Sequence[Stored]) -> Loaded | None:
    """The addresses of kernels that this process or the store has; None if one of them is in neither."""
    start = time.perf_counter()
    missing = [k for k in dict.fromkeys(kernels) if k[0] not in _addresses]
    found = _from_store(missing)
    return _loaded(tuple(kernels), 0, len(found), start) if len(found) == len(missing) else None


def _loaded(kernels: tuple[Stored, ...], compiled: int, cached: int, start: float) -> Loaded:
    addresses = tuple([_addresses[key] for key, _ in kernels])
    return Loaded(kernels, addresses, compiled, cached, time.perf_counter() - start)


def _keys_of(handles: Sequence[KernelHandle], engine: str, target: Target) -> list[tuple[str, int]]:
    """What the store knows the kernels by, which is their structure, as printing them would take longer than reading their
    code; and how long that is."""
    unknown = {h.key: h for h in handles if (engine, target, h.key) not in _keys}
    if unknown:
        environment = environment_digest(target.digest())
        for key, h in unknown.items():
            text = structure(h.kernel)
            _keys[engine, target, key] = kernel_key(text, {"engine": engine}, environment), len(text)
    return [_keys[engine, target, h.key] for h in handles]


def _from_store(kernels: Sequence[Stored]) -> list[Stored]:
    """Loads the kernels that the store has, together and on this thread: that takes less time than to hand them to others."""
    store = default_store()
    found = [(kernel, data) for kernel in kernels if (data := store.get(kernel[0])) is not None]
    with compiling:
        try:
            _load([kernel for kernel, _ in found], [data for _, data in found])
            return [kernel for kernel, _ in found]
        except BackendError:  # one was written by a machine that only looked like this one
            return [kernel for kernel, data in found if _loads(kernel, data)]


def _loads(kernel: Stored, data: bytes) -> bool:
    try:
        _load([kernel], [data])
    except BackendError:
        return False
    return True


def _load(kernels: Sequence[Stored], objects: Sequence[bytes]) -> None:
    loaded = load_objects([(data, [name]) for (_, name), data in zip(kernels, objects)])
    for (key, name), addresses in zip(kernels, loaded):
        _addresses[key] = addresses[name]


def _compile_all(
    kernels: Sequence[tuple[str, KernelHandle]], engine: str, target: Target, beside: Sequence[Callable[[], object]]
) -> None:
    """Compiles kernels in this order, several at a time: LLVM works outside the interpreter's lock."""
    if engine == "numba":
        for key, handle in kernels:
            with compiling:
                _addresses[key] = _by_numba(handle, target)
        return

    def by_llvm(item: tuple[str, KernelHandle]) -> bytes:
        key, handle = item
        with compiling:
            data = compile_object([handle.kernel], target, quick=engine == "quick")
        default_store().put(key, data)
        return data

    workers = min(len(kernels) + len(beside), num_threads()) if kernels else 0
    if workers < 2:
        objects = [by_llvm(item) for item in kernels]
    else:
        with ThreadPoolExecutor(workers) as pool:
            others = [pool.submit(other) for other in beside]
            objects = list(pool.map(by_llvm, kernels))
            for other in others:
                other.result()
    with compiling:
        _load([(key, h.kernel.name) for key, h in kernels], objects)


def _by_numba(handle: KernelHandle, target: Target) -> int:
    # loaded on demand: importing Numba takes a third of a second, and the default engine needs none of it
    compile_numba = importlib.import_module(".emit_numba", __package__).compile_numba
    function = compile_numba(handle.kernel, target.fma)
    _keep_alive.append(function)
    return int(function.address)


def forget() -> None:
    """Forgets which kernels are loaded; their code stays in memory, as programs may be using it."""
    _addresses.clear()
