"""A folder that one process writes at a time: a lock that goes with the process, whatever ends it."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

from ..errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["FolderClaim"]

_NAME = ".writer"


class FolderClaim:
    """A folder claimed for this process.

    The claim is a record lock on a file in the folder: a process that is killed gives it up, one that it forks does not have
    it. Where there are no such locks (Windows, some network disks), or nothing can be written, nothing is claimed.

    Raises:
        CheckpointError: another process has claimed the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file: int | None = None
        self._path = folder / _NAME
        while fcntl is not None and self._file is None:
            try:
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
            except OSError:
                return
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file), os.stat(self._path)):  # not one that was just given up
                    self._file = file
            except FileNotFoundError:
                continue
            except (BlockingIOError, PermissionError):
                owner = os.pread(file, 200, 0).decode(errors="replace") or "another process"
                raise CheckpointError(
                    f"{folder} is being written by {owner}: two runs in one folder remove each other's checkpoints. Wait for that"
                    " one or end it, or choose another folder."
                ) from None
            except OSError:  # a disk without locks
                return
            finally:
                if self._file != file:
                    os.close(file)
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, f"process {os.getpid()} on {platform.node()}".encode(), 0)

    def release(self) -> None:
        """Gives the folder up."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            os.close(self._file)
            self._file = None
