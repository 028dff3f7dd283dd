"""Files that are there whole or not at all: written beside, flushed to the disk, then renamed."""

from __future__ import annotations

import contextlib
import glob
import os
import platform
import secrets
from collections.abc import Iterable
from pathlib import Path

from ..errors import SaveError

__all__ = ["write_atomically"]


def write_atomically(path: str | os.PathLike[str], parts: Iterable[bytes | memoryview], *, sync: bool = True) -> None:
    """Writes a file so that at every moment, whatever happens, ``path`` is the old file or the new one.

    A temporary file in the same folder is written and flushed to the disk (``fsync``), takes the name of ``path`` in one
    step (``rename``), and the folder is flushed. What a killed process left behind goes at the next write.

    Args:
        path: the file; its folder exists.
        parts: the contents.
        sync: False to leave flushing to the system: quicker, and safe against kills but not against power cuts.

    Raises:
        SaveError: the disk is full, the folder is missing or cannot be written, or ``path`` is no file but a folder or a
            device, whose place a rename would take. What was there is as it was.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise SaveError(f"{path} was not written: it is {'a folder' if path.is_dir() else 'a device'}. Name a file.")
    temporary = path.with_name(f".{path.name}.{_owner()}-{secrets.token_hex(4)}.tmp")
    try:
        remove_leftovers(path.parent, glob.escape(path.name))
        with open(temporary, "xb", buffering=0) as file:
            for part in parts:
                _write_all(file.fileno(), part)
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if sync:
            _sync_folder(path.parent)
    except OSError as e:
        raise SaveError(e.errno, _explain(path, e)) from e
    finally:
        _remove(temporary)


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):  # it is not there, its folder is gone, or it is another user's
        file.unlink()


def _write_all(descriptor: int, part: bytes | memoryview) -> None:
    view = memoryview(part)
    view = view.cast("B") if view.nbytes else memoryview(b"")
    while view:
        view = view[os.write(descriptor, view[: 1 << 30]) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(path: Path, e: OSError) -> str:
    kept = "The file that was there is unharmed." if path.exists() else "No file was left there."
    if not path.parent.is_dir():
        return f"{path} was not written: the folder {path.parent} does not exist; make it first. {kept}"
    return f"{path} was not written: {e.strerror}. {kept} Make room, or save to another disk."


def _owner() -> str:
    return f"{platform.node()}-{os.getpid()}"


def remove_leftovers(folder: Path, names: str = "*") -> None:
    """Removes temporary files that processes of this machine, dead by now, left beside files of such names."""
    for file in folder.glob(f".{names}.{glob.escape(platform.node())}-*.tmp"):
        pid = file.name.removesuffix(".tmp").split("-")[-2]
        if pid.isdecimal() and not _alive(int(pid)):
            _remove(file)


def _alive(pid: int) -> bool:
    with contextlib.suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
