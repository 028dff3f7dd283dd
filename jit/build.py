"""Kernels of a plan -> addresses; those that neither this process nor the store has are compiled.

A kernel is known by its structure, the engine and the target; no sizes are in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .cache import default_store, environment_digest, kernel_key
from .forks import compiling
from .llvm.native import compile_object
from .load import ADDRESSES, Loaded, load, load_from_store, loaded
from .loop_print import print_kernel
from .lower.context import structure
from .lower.registry import KernelHandle
from .on_demand import numba_engine
from .target import Target
from .threads import num_threads

__all__ = ["kernel_text", "load_kernels"]

_keys: dict[tuple[Any, ...], tuple[str, int]] = {}  # by engine, target and a handle's key; and how long the kernel is
_texts: dict[tuple[Any, ...], str] = {}
_keep_alive: list[Any] = []  # compiled Numba functions own their code


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
    missing = {key: (h, length) for (key, length), h in zip(keys, handles) if key not in ADDRESSES}
    cached = [] if engine == "numba" else load_from_store([(key, h.kernel.name) for key, (h, _) in missing.items()])
    for key, _ in cached:
        del missing[key]
    longest_first = sorted(missing.items(), key=lambda item: -item[1][1])
    _compile_all([(key, h) for key, (h, _) in longest_first], engine, target, beside)
    kernels = tuple([(key, h.kernel.name) for (key, _), h in zip(keys, handles)])
    return loaded(kernels, len(missing), len(cached), start)


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


def _compile_all(
    kernels: Sequence[tuple[str, KernelHandle]], engine: str, target: Target, beside: Sequence[Callable[[], object]]
) -> None:
    """Compiles kernels in this order, several at a time: LLVM works outside the interpreter's lock."""
    if engine == "numba":
        for key, handle in kernels:
            with compiling:
                ADDRESSES[key] = _by_numba(handle, target)
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
        load([(key, h.kernel.name) for key, h in kernels], objects)


def _by_numba(handle: KernelHandle, target: Target) -> int:
    function = numba_engine().compile_numba(handle.kernel, target.fma)
    _keep_alive.append(function)
    return int(function.address)
