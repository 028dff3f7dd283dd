"""Forks while other threads compile.

A child has only the thread that forked.  Were another one inside LLVM at that moment, its locks would stay taken in the
child for ever; so all that runs in LLVM does so ``with compiling``, and a fork waits until nobody does.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["compiling"]


class _Gate:
    """Many threads may be inside at a time; a fork closes the gate and waits until they have left.

    The forking thread itself may be inside: a signal handler forks between two calls into LLVM.
    """

    def __init__(self) -> None:
        # reentrant: a handler may interrupt what is below.  What threads inside wait for one another with is the same lock: a fork that
        # held it would wait for those that want it
        self.changed = threading.Condition(threading.RLock())
        self._inside: dict[int, int] = {}  # thread -> how often it has entered
        self._forking: dict[int, int] = {}  # thread -> its forks under way: a handler may fork while its thread does

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self.changed:
            while self._forking.keys() - {me} and me not in self._inside:
                self.changed.wait()
            self._inside[me] = self._inside.get(me, 0) + 1

    def __exit__(self, *exc: object) -> None:
        me = threading.get_ident()
        with self.changed:
            self._inside[me] -= 1
            if not self._inside[me]:
                del self._inside[me]
            self.changed.notify_all()

    @contextmanager
    def outside(self) -> Iterator[None]:
        """A thread that is inside waits for another one in here: a handler of that one's may fork, which would wait for the first."""
        me = threading.get_ident()
        with self.changed:
            entries = self._inside.pop(me, 0)
            self.changed.notify_all()
        try:
            yield
        finally:
            with self.changed:
                while self._forking.keys() - {me} and entries:
                    self.changed.wait()
                if entries:
                    self._inside[me] = entries

    def before_fork(self) -> None:
        me = threading.get_ident()
        with self.changed:
            self._forking[me] = self._forking.get(me, 0) + 1
            while self._inside.keys() - {me}:
                self.changed.wait()
            self.changed.acquire()

    def in_parent(self) -> None:
        me = threading.get_ident()
        self._forking[me] -= 1
        if not self._forking[me]:
            del self._forking[me]
        self.changed.notify_all()
        self.changed.release()

    def in_child(self) -> None:
        """There, the forking thread alone is left, which has the lock."""
        me = threading.get_ident()
        self._inside = {t: n for t, n in self._inside.items() if t == me}
        self._forking = {me: self._forking[me]}
        self.in_parent()


compiling = _Gate()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=compiling.before_fork, after_in_parent=compiling.in_parent, after_in_child=compiling.in_child
    )
