"""The kernel store: object code on disk, found by the content it was compiled from.

An entry is a file ``<directory>/<first two digits>/<key>.fxk``: a header (magic, version, length, SHA-256 of the
key and the payload) and the payload.  It is written under a temporary name and moved into place by ``os.replace``, so a process
killed at any moment leaves an entry whole or not at all; what a crash of the machine or a bad disk leaves
is caught by the checksum, deleted and compiled again, and so is a file that came under another one's name.  No locks:
processes may read, write and evict at once.

The key holds everything that object code depends on (``kernel_key``), so entries never go stale.  They go
when the store outgrows its limit, the longest unused first.

Loading an entry runs it.  A directory that other users can write to is therefore refused.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import platform
import re
import stat as stat_bits
import struct
import sys
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import llvmlite
import numpy as np

from fx import ir
from fx.errors import CacheError

from .sources import sources_digest

__all__ = ["CacheStats", "KernelStore", "default_directory", "default_store", "environment_digest", "kernel_key"]

DEFAULT_LIMIT = 512 << 20
MEMORY_ENTRIES = 4096  # about 40 MB of typical kernels, where they cannot be written to disk
_HEADER = struct.Struct("<4sIQ32s")  # magic, version, payload length, SHA-256 of the key and the payload
_MAGIC, _VERSION = b"FXKO", 2
_SUFFIX = ".fxk"
_KEY = re.compile(r"[0-9a-f]{16,128}")
_SHARD = re.compile(r"[0-9a-f]{2}")
_NEW_FILE = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOINHERIT", 0)
)
_TOUCH_SECONDS = 60.0  # how far an entry's time of last use may lag
_STALE_SECONDS = 3600.0  # a temporary file this old belongs to a process that was killed
GRAPH_SOURCES = ("ir.py", "dtypes.py", "errors.py", "filling.py", "sizes")  # what ``jit`` imports of fx
_EFFECTIVE_USER: Callable[[], int] | None = getattr(os, "geteuid", None)  # Windows has none


# ---------------------------------------------------------------------------------------------- keys


@functools.cache
def environment_digest(target: str = "", of_graphs: bool = False) -> str:
    """Digest of what turns kernel text into object code.

    The versions of Python, NumPy and llvmlite, the sources of ``jit``, and ``target``: a name for
    architecture, CPU and features (``Target.digest()``).

    Args:
        of_graphs: with the sources of what graphs are made of, for what turns graphs into kernels.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    digest = hashlib.sha256(_kept_digest(here))
    if of_graphs:
        digest.update(_kept_digest(os.path.dirname(os.path.abspath(ir.__file__)), GRAPH_SOURCES))
    for part in (sys.version, platform.machine(), sys.platform, np.__version__, llvmlite.__version__, target):
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()


@functools.cache
def _kept_digest(folder: str, within: tuple[str, ...] = ("",)) -> bytes:
    store = default_store()
    return sources_digest(folder, within, None if store.directory is None else store)


def kernel_key(text: str, options: Mapping[str, object], environment: str) -> str:
    """The key of a kernel: SHA-256 of its canonical text, its options and ``environment_digest(...)``.

    Args:
        text: canonical text of the kernel; equal text must mean equal semantics.
        options: what else the code depends on; the values' ``repr`` must be stable (numbers, strings, tuples).
        environment: a digest from ``environment_digest``.
    """
    digest = hashlib.sha256()
    parts = [environment, text, *(f"{name}={options[name]!r}" for name in sorted(options))]
    for part in parts:
        data = part.encode()
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


# ----------------------------------------------------------------------------------------- directory


def default_directory() -> Path | None:
    """``FX_CACHE_DIR``, else the platform's place for caches; None if ``FX_CACHE_DIR`` is empty or ``off``.

    Raises:
        CacheError: it begins with a home folder that is not known.
    """
    chosen = os.environ.get("FX_CACHE_DIR")
    if chosen is not None:
        return None if chosen.strip().lower() in ("", "off") else Path(_at_home(chosen))
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or _at_home(r"~\AppData\Local")
    elif sys.platform == "darwin":
        base = _at_home("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):  # the XDG specification says to ignore relative paths
            base = _at_home("~/.cache")
    return Path(base) / "fx" / "kernels"


def _at_home(path: str) -> str:
    """``path`` with the home folder in the place of ``~`` or ``~user``."""
    found = os.path.expanduser(path)
    if found.startswith("~"):  # no such user, or no HOME and a user without an entry, as containers have
        raise CacheError(
            f"the kernel cache {path} has no place, as the home folder that it begins with is not known: set FX_CACHE_DIR to a"
            " directory of your own, or to 'off'"
        )
    return found


def default_limit() -> int:
    """``FX_CACHE_LIMIT`` in bytes (``K``, ``M`` or ``G`` behind the number multiplies), else 512 MiB."""
    text = os.environ.get("FX_CACHE_LIMIT", "").strip()
    if not text:
        return DEFAULT_LIMIT
    match = re.fullmatch(r"(\d+)\s*([KMG]?)(I?B)?", text.upper())
    if match is None:
        raise CacheError(f"FX_CACHE_LIMIT={text!r} is no size; write bytes, or a number with K, M or G behind it")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]]


def make_private(directory: Path) -> None:
    """Makes ``directory`` and the folders above it that do not exist, for this user only."""
    if not directory.is_dir():
        make_private(directory.parent)
        with contextlib.suppress(FileExistsError):  # another process was faster
            directory.mkdir(mode=0o700)


def refuse_if_exposed(
    directory: Path,
    stat: Callable[[Path], os.stat_result] = os.stat,
    effective_user: Callable[[], int] | None = _EFFECTIVE_USER,
) -> None:
    """Raises CacheError if somebody else could put code into ``directory``.

    It must belong to the effective user and be writable by nobody else, and no folder above it may be writable
    by everybody unless its sticky bit protects what it holds (``/tmp``).  Windows, which has no
    ``effective_user``, protects a user's folders with access lists.
    """
    if effective_user is None:
        return
    info, user = stat(directory), effective_user()
    advice = "; loading a kernel runs it, so set FX_CACHE_DIR to a directory of your own, or to 'off'"
    if info.st_uid != user:
        raise CacheError(f"the kernel cache {directory} belongs to user {info.st_uid}, not to you ({user}){advice}")
    if info.st_mode & (stat_bits.S_IWGRP | stat_bits.S_IWOTH):
        mode = stat_bits.filemode(info.st_mode)
        raise CacheError(f"others can write to the kernel cache {directory} ({mode}): chmod go-w it{advice}")
    for above in directory.parents:
        mode_bits = stat(above).st_mode
        if mode_bits & stat_bits.S_IWOTH and not mode_bits & stat_bits.S_ISVTX:
            raise CacheError(f"everybody can replace the kernel cache {directory}, through {above}{advice}")


# --------------------------------------------------------------------------------------------- store


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a store has done in this process, and what lies on disk now."""

    directory: str | None
    limit_bytes: int
    entries: int
    nbytes: int
    memory_hits: int
    disk_hits: int
    misses: int
    writes: int
    corrupt: int
    evicted: int

    def __str__(self) -> str:
        place = self.directory or "memory only"
        disk = f"{self.entries} entries, {self.nbytes / 2**20:.1f} of {self.limit_bytes / 2**20:.0f} MiB"
        asked = f"{self.memory_hits} memory hits, {self.disk_hits} disk hits, {self.misses} misses"
        return f"{place}: {disk}; {asked}, {self.writes} writes, {self.corrupt} corrupt, {self.evicted} evicted"


class KernelStore:
    """A store in ``directory``; with ``directory=None``, or for what the disk does not take, in memory.

    Args:
        directory: created, for this user only, if it does not exist.
        limit_bytes: what the files may take together.
        check: raises CacheError if the directory must not be trusted.

    Raises:
        CacheError: the directory cannot be made, or ``check`` refuses it.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None,
        limit_bytes: int | None = None,
        check: Callable[[Path], None] = refuse_if_exposed,
    ) -> None:
        self.directory = None if directory is None else Path(directory)
        self.limit_bytes = default_limit() if limit_bytes is None else limit_bytes
        self._memory: OrderedDict[str, bytes] = OrderedDict()
        self._counts = dict.fromkeys(("memory_hits", "disk_hits", "misses", "writes", "corrupt", "evicted"), 0)
        self._writable = self.directory is not None
        self._known_bytes: int | None = None  # on disk at the last scan, plus what this process has written since
        self._written_bytes = 0  # since the last scan
        if self.directory is not None:
            try:
                self.directory = Path(os.path.realpath(self.directory))
                make_private(self.directory)
                if not stat_bits.S_ISDIR(os.stat(self.directory).st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                check(self.directory)
            except CacheError:
                raise
            except OSError as e:
                raise CacheError(f"the kernel cache {self.directory} cannot be made: {e.strerror}") from e

    def get(self, key: str) -> bytes | None:
        """The payload stored under ``key``, or None.  What is damaged counts as absent and is deleted."""
        in_memory = key in self._memory
        data = self.read(key)
        self._counts["misses" if data is None else "memory_hits" if in_memory else "disk_hits"] += 1
        return data

    def read(self, key: str) -> bytes | None:
        """``get`` for what is no kernel: the counts of kernels stay as they are."""
        data = self._memory.get(key)
        return self._read(key) if data is None else data

    def put(self, key: str, data: bytes) -> None:
        """Stores ``data`` under ``key``: on disk or, where there is none, in memory.  A disk that does not take it is warned of
        once and used no more."""
        path = self._path(key)
        if path is None or not self._writable or len(data) + _HEADER.size > self.limit_bytes:
            self._remember(key, data)
            return
        try:
            self._write(path, key, data)
        except OSError as e:
            self._writable = False
            self._remember(key, data)
            warnings.warn(
                f"the kernel cache {self.directory} cannot be written ({e.strerror}); kernels compiled from "
                "now on are not kept for the next process.  FX_CACHE_DIR chooses another directory, or 'off'.",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        self._counts["writes"] += 1
        self._evict_if_needed(len(data) + _HEADER.size)

    def stats(self) -> CacheStats:
        """Counters of this process, and the entries on disk."""
        sizes = [size for _, size, path in self._files() if path.endswith(_SUFFIX)]
        place = None if self.directory is None else str(self.directory)
        return CacheStats(place, self.limit_bytes, len(sizes), sum(sizes), **self._counts)

    def clear(self) -> None:
        """Removes every entry, from memory and from disk.  Other files in the directory stay."""
        self._memory.clear()
        for _, _, path in self._files():
            _unlink(path)
        self._known_bytes = None

    # ---- memory

    def _remember(self, key: str, data: bytes) -> None:
        self._memory[key] = data
        while len(self._memory) > MEMORY_ENTRIES:
            self._memory.popitem(last=False)

    # ---- files

    def _path(self, key: str) -> str | None:
        if not _KEY.fullmatch(key):
            raise CacheError(f"{key!r} is no cache key; keys come from kernel_key()")
        if self.directory is None:
            return None
        return os.path.join(self.directory, key[:2], key + _SUFFIX)

    def _read(self, key: str) -> bytes | None:
        path = self._path(key)
        if path is None:
            return None
        try:
            with open(path, "rb") as f:
                content = f.read()
                used = os.fstat(f.fileno()).st_mtime
        except OSError:
            return None
        data = _payload(content, key)
        if data is None:
            self._counts["corrupt"] += 1
            _unlink(path)
            return None
        away = abs(time.time() - used)  # a clock that was set back leaves times in the future
        if self._writable and away > _TOUCH_SECONDS:
            with contextlib.suppress(OSError):  # evicted by another process: the payload is good all the same
                os.utime(path)
        return data

    def _write(self, path: str, key: str, data: bytes) -> None:
        shard = os.path.dirname(path)
        with contextlib.suppress(FileExistsError):
            os.mkdir(shard, mode=0o700)
        temporary = os.path.join(shard, f".{os.urandom(12).hex()}.tmp")
        handle = os.open(temporary, _NEW_FILE, 0o600)
        try:
            with open(handle, "wb") as f:
                f.write(_HEADER.pack(_MAGIC, _VERSION, len(data), _checksum(key, data)))
                f.write(data)
            os.replace(temporary, path)
        except PermissionError:
            _unlink(temporary)
            if not (os.name == "nt" and os.path.exists(path)):  # Windows keeps a file in place while it is read
                raise
        except BaseException:
            _unlink(temporary)
            raise

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """(time of last use, size, path) of entries and of temporary files."""
        for shard in () if self.directory is None else _entries(self.directory):
            if not _SHARD.fullmatch(shard.name):
                continue
            for entry in _entries(shard.path):
                if entry.name.endswith((_SUFFIX, ".tmp")):
                    try:
                        info = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue  # evicted or renamed by another process
                    yield info.st_mtime, info.st_size, entry.path

    # ---- eviction

    def _evict_if_needed(self, size: int) -> None:
        """Scans the disk when this process cannot know that the store is within its limit.

        Processes that write at once see each other's entries at their next scan, after a sixteenth of the
        limit at most.
        """
        self._written_bytes += size
        if self._known_bytes is not None:
            self._known_bytes += size
            if self._known_bytes <= self.limit_bytes and self._written_bytes <= self.limit_bytes // 16:
                return
        self._known_bytes, self._written_bytes = self._evict(), 0

    def _evict(self) -> int:
        """Deletes stale temporary files, and the longest unused entries until a tenth is free; the bytes left."""
        now = time.time()
        entries = []
        for used, size, path in self._files():
            if path.endswith(_SUFFIX):
                entries.append((used, size, path))
            elif now - used > _STALE_SECONDS:
                _unlink(path)
        total = sum(size for _, size, _ in entries)
        if total <= self.limit_bytes:
            return total
        for _, size, path in sorted(entries):
            if total <= self.limit_bytes - self.limit_bytes // 10:
                break
            _unlink(path)
            total -= size
            self._counts["evicted"] += 1
        return total


def _checksum(key: str, data: bytes) -> bytes:
    digest = hashlib.sha256(key.encode())
    digest.update(data)
    return digest.digest()


def _payload(content: bytes, key: str) -> bytes | None:
    """The payload of a file's content, or None if it is not whole, or was written under another key."""
    if len(content) < _HEADER.size:
        return None
    magic, version, length, checksum = _HEADER.unpack_from(content)
    data = content[_HEADER.size :]
    if (magic, version, length) != (_MAGIC, _VERSION, len(data)) or _checksum(key, data) != checksum:
        return None
    return data


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as scan:
            return list(scan)
    except OSError:
        return []


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):  # another process was first, or the disk is read-only
        os.unlink(path)


# -------------------------------------------------------------------------------------- the default


@functools.cache
def default_store() -> KernelStore:
    """The store of this process.  A directory that cannot be used is warned of once, and memory used instead."""
    try:
        return KernelStore(default_directory())
    except CacheError as e:
        warnings.warn(f"{e}.  Kernels are not kept for the next process.", RuntimeWarning, stacklevel=2)
        return KernelStore(None, DEFAULT_LIMIT)
