"""Object code -> addresses.

Object code is sealed with a digest, so that damaged bytes are refused instead of crashing the linker.  It
has no external symbols: what a kernel calls, it calls by an address in its frame.  Loaded code stays in memory
until the process ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fx.errors import BackendError

from ..on_demand import llvm
from .linker import NotLinked, link

__all__ = ["load_object", "load_objects", "sealed"]

_SEAL = b"fxobj\x01"
_DIGEST_BYTES = 16


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
        return [llvm().link(code, names) for code, (_, names) in zip(codes, objects)]
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


def _digest(code: bytes) -> bytes:
    return hashlib.blake2b(code, digest_size=_DIGEST_BYTES).digest()
