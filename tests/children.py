"""Forked children that do a piece of work and say with their exit code whether it went well."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable

__all__ = ["exit_code", "forked"]


def forked(work: Callable[[], object]) -> int:
    """The id of a forked child, which runs ``work`` and exits with 0, or with 1 if it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside native threads
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def exit_code(work: Callable[[], object]) -> int:
    """The exit code of ``work`` in a forked child; -99 of one that hangs, which is killed."""
    pid = forked(work)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return -99
