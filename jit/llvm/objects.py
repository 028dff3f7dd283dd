"""Object code -> addresses.

Object code is sealed with a digest, so that damaged bytes are refused instead of crashing the linker.  It
has no external symbols: what a kernel calls, it calls by an address in its frame.  Loaded code stays in memory
until the process ends.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence

import llvmlite.binding as llvm

from fx.errors import BackendError

from .linker import NotLinked, link

__all__ = ["load_object", "load_objects", "sealed"]

_SEAL = b"fxobj\x01"
_DIGEST_BYTES = 16

_lock = threading.Lock()
_linker: llvm.LLJIT | None = None
_loaded = 0


def _after_fork() -> None:
    """Another thread of the parent may have held the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def sealed(code: bytes) -> bytes:
    """Object code as it is stored, and as ``load_objects`` takes it."""
    return _SEAL + _digest(code) + code


def load_object(data: bytes, names: Sequence[str]) -> dict[str, int]:
    """Loads what ``compile_object`` made and returns the addresses of the kernels ``names``.

    Raises:
        BackendError: if ``data`` is damaged, is not for this machine, or lacks one of the names.
    """
    return load_objects([(data, names)])[0]


def load_objects(objects: Sequence[tuple[bytes, Sequence[str]]]) -> list[dict[str, int]]:
    """``load_object`` for several at a time, which takes less time and memory."""
    if not objects:
        return []
    codes = [_unsealed(data) for data, _ in objects]
    try:
        found = link(codes)
    except NotLinked:
        return [_link_by_llvm(code, names) for code, (_, names) in zip(codes, objects)]
    for symbols, (_, names) in zip(found, objects):
        for name in names:
            if name not in symbols:
                raise BackendError(f"object code without {name} does not link")
    return [{name: symbols[name] for name in names} for symbols, (_, names) in zip(found, objects)]


def _unsealed(data: bytes) -> bytes:
    head = len(_SEAL) + _DIGEST_BYTES
    code = data[head:]
    if data[: len(_SEAL)] != _SEAL or data[len(_SEAL) : head] != _digest(code):
        raise BackendError("object code is damaged or was not written by fx; delete it and compile again")
    return code


def _link_by_llvm(code: bytes, names: Sequence[str]) -> dict[str, int]:
    global _loaded
    library = llvm.JITLibraryBuilder().add_object_img(code)
    for name in names:
        library.export_symbol(name)
    with _lock:
        _loaded += 1
        try:
            tracker = library.link(_the_linker(), f"fx{_loaded}")
        except RuntimeError as e:
            raise BackendError(f"object code with {', '.join(names)} does not link: {e}") from e
        addresses = {name: tracker[name] for name in names}
        tracker.detach()  # the code lives as long as the process: threads may be running it at exit
    return addresses


def _digest(code: bytes) -> bytes:
    return hashlib.blake2b(code, digest_size=_DIGEST_BYTES).digest()


def _the_linker() -> llvm.LLJIT:
    global _linker
    if _linker is None:
        _linker = llvm.create_lljit_compiler(use_jit_link=True, suppress_errors=True)
    return _linker
