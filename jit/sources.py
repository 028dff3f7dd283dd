"""The digest of sources: part of every key of the store, so that other sources find nothing that these have made.

Reading and digesting a hundred files takes milliseconds in every process, which the system's account of them does not: where no
file's size, number, or time of its last change (by the system's clock, which nobody sets by hand) is another, its contents are not
either.  So the digest is kept in the store under that account; not while a file is so young that a further change could bear the
same time (what Git calls racily clean).
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["sources_digest"]

SETTLED_NS = 3_000_000_000  # older than the coarsest clock of a file system, twice over


class _Store(Protocol):
    def read(self, key: str) -> bytes | None: ...

    def put(self, key: str, data: bytes) -> None: ...


def sources_digest(folder: str, within: Sequence[str] = ("",), store: _Store | None = None) -> bytes:
    """Digest of the names and contents of all Python files under ``folder``, or of those of its files and folders ``within``.

    Args:
        store: where the digest is kept.
    """
    if store is None or os.name == "nt":  # Windows tells when a file was made, not when it was changed
        return _digest(folder, within)
    key, settled = _account(folder, within)
    kept = store.read(key)
    if kept is not None and len(kept) == hashlib.sha256().digest_size:
        return kept
    found = _digest(folder, within)
    if settled and _account(folder, within)[0] == key:
        store.put(key, found)
    return found


def _digest(folder: str, within: Sequence[str]) -> bytes:
    digest = hashlib.sha256()
    for entry, _ in _files(folder, within):
        data = Path(entry).read_bytes()
        digest.update(f"{os.path.relpath(entry, folder)}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.digest()


def _account(folder: str, within: Sequence[str]) -> tuple[str, bool]:
    """A key of what the system says of the files, and whether all are of some age."""
    files = [(path, s.st_size, s.st_dev, s.st_ino, s.st_mtime_ns, s.st_ctime_ns) for path, s in _files(folder, within)]
    settled = time.time_ns() - max([ctime for *_, ctime in files], default=0) > SETTLED_NS
    return hashlib.sha256(repr(("sources", folder, files)).encode()).hexdigest(), settled


def _files(folder: str, within: Sequence[str]) -> list[tuple[str, os.stat_result]]:
    """The Python files in order, each with what the system says of it; of a package without sources its compiled ones.

    Of a package in an archive the archive: a zip file on the module path, or the program that holds it (as PyInstaller makes).
    """
    found = [file for part in within for file in _part(os.path.join(folder, part))]
    if found:
        return found
    archive = next((p for p in map(str, Path(folder).parents) if os.path.isfile(p)), sys.executable)
    return [(archive, os.stat(archive))]


def _part(path: str) -> Iterator[tuple[str, os.stat_result]]:
    if os.path.isdir(path):
        yield from _under(path)
        return
    for file in (path, f"{path}c"):
        if os.path.exists(file):
            yield file, os.stat(file)
            return


def _under(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda e: e.name)
    for e in entries:
        if e.name.endswith((".py", ".pyc")):
            yield e.path, e.stat()
        elif e.name != "__pycache__" and e.is_dir():
            yield from _under(e.path)
