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
        self._reset()

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.RLock())  # reentrant: the handler may interrupt what is below
        self._inside: dict[int, int] = {}  # thread -> how often it has entered
        self._forking = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._changed:
            while self._forking and me not in self._inside:
                self._changed.wait()
            self._inside[me] = self._inside.get(me, 0) + 1

    def __exit__(self, *exc: object) -> None:
        me = threading.get_ident()
        with self._changed:
            self._inside[me] -= 1
            if not self._inside[me]:
                del self._inside[me]
            self._changed.notify_all()

    @contextmanager
    def outside(self) -> Iterator[None]:
        """A thread that is inside waits for another one in here: a handler of that one's may fork, which would wait for the first."""
        me = threading.get_ident()
        with self._changed:
            entries = self._inside.pop(me, 0)
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                while self._forking and entries:
                    self._changed.wait()
                if entries:
                    self._inside[me] = entries

    def before_fork(self) -> None:
        me = threading.get_ident()
        with self._changed:
            self._forking += 1
            while self._inside.keys() - {me}:
                self._changed.wait()
        self._changed.acquire()

    def in_parent(self) -> None:
        self._forking -= 1
        self._changed.notify_all()
        self._changed.release()

    def in_child(self) -> None:
        mine = self._inside.get(threading.get_ident(), 0)
        self._reset()
        if mine:
            self._inside[threading.get_ident()] = mine


compiling = _Gate()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=compiling.before_fork, after_in_parent=compiling.in_parent, after_in_child=compiling.in_child
    )
