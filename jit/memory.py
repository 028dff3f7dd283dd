"""Where arrays begin, and the working memory of calls.

The working memory (arena) of a call lies in a block that the call alone has while it runs: programs take turns with one
block, and a program for another batch size finds its pages there.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import os
import threading

import numpy as np

__all__ = [
    "ALIAS",
    "ALIGN",
    "BYTE",
    "PADDED_FROM",
    "POOLED_FROM",
    "Arena",
    "aligned",
    "clear_arenas",
    "give_arena",
    "padded",
    "take_arena",
]

POOLED_FROM = 1 << 18  # bytes; the memory of smaller results and arenas is never kept for others
PADDED_FROM = 1 << 14  # bytes; smaller ones lie where NumPy puts them
ALIGN = 64
ALIAS = 4096  # addresses so far apart look alike to a core that asks whether what it reads has just been written
BYTE = np.dtype(np.uint8)

_arenas: list[Arena] = []  # that no call has, the largest last
_lock = threading.RLock()  # an object may end inside any allocation, also one made here


def padded(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Bytes in which an array of this size, from NumPy, lies at the start of a cache line; 0 for one that need not.

    Where it does not, vectors that are stored take two lines, and threads that compute columns of a matrix write to the same
    ones (a seventh of the time of a product of 128 x 128 on two threads).

    Large ones begin at a multiple of ``ALIAS``.  NumPy's own large arrays begin 16 bytes behind one: a loop that reads such an array and
    writes another is ahead of its stores then.  Where it is 48 bytes behind them, every read waits for a store
    (40 MB to as many on Zen 4: 0.6 of the time).
    """
    nbytes = math.prod(shape) * dtype.itemsize
    return nbytes + (ALIAS if nbytes >= POOLED_FROM else ALIGN) if nbytes >= PADDED_FROM else 0


def aligned(nbytes: int, align: int = ALIGN) -> np.ndarray:
    """Uninitialised bytes at an aligned address."""
    block = np.empty(nbytes + align, np.uint8)
    start = -block.ctypes.data % align
    return block[start : start + nbytes]


class Arena:
    """A block of working memory of its own.  It can grow, and keeps its pages then: those that a larger batch needs beyond
    them are all that the system has to clear and hand out.

    address: of its first byte, on a page; another one after it has grown.
    """

    __slots__ = ("_memory", "address", "nbytes")
    _memory: mmap.mmap
    address: int
    nbytes: int

    def __init__(self, nbytes: int) -> None:
        self._take(_mapped(nbytes))

    def grow(self, nbytes: int) -> None:
        """Makes room for so many bytes; what the block holds means nothing afterwards."""
        try:
            self._memory.resize(-(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE)
        except (OSError, SystemError, ValueError):  # a system that cannot move pages
            self._memory = _mapped(nbytes)
        self._take(self._memory)

    def _take(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self.nbytes = len(memory)


def _mapped(nbytes: int) -> mmap.mmap:
    """Fresh memory of this process alone."""
    nbytes = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return mmap.mmap(-1, nbytes)
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system without huge pages
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def take_arena(nbytes: int) -> Arena:
    """A block of at least so many bytes, which is the caller's until ``give_arena``.  A block that is too small grows, so that
    there are never more blocks than calls at one time."""
    with _lock:
        arena = _arenas.pop() if _arenas else None
    if arena is None:
        return Arena(nbytes)
    if arena.nbytes < nbytes:
        arena.grow(nbytes)
    return arena


def give_arena(arena: Arena) -> None:
    """The end of a call."""
    with _lock:
        _arenas.append(arena)
        if len(_arenas) > 1:
            _arenas.sort(key=lambda a: a.nbytes)


def clear_arenas() -> None:
    """Gives the blocks that no call has back to the system."""
    with _lock:
        _arenas.clear()


def _after_fork() -> None:
    """Another thread of the parent may have been at work on the blocks: the child starts without any."""
    global _lock
    _lock = threading.RLock()
    clear_arenas()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
