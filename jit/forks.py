"""Forks while other threads compile.

A child has only the thread that forked.  Were another one inside LLVM at that moment, its locks would stay taken in the
child for ever; so all that runs in LLVM holds ``compiling``, and a fork waits for it.
"""

from __future__ import annotations

import os
import threading

__all__ = ["compiling"]

compiling = threading.RLock()  # reentrant: a signal handler may fork while its own thread compiles

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=compiling.acquire, after_in_parent=compiling.release, after_in_child=compiling.release)
