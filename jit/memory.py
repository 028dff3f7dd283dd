"""Arrays for results, and the working memory of calls.

A large fresh array costs a page fault for each 4 KiB on first touch, more than the kernel that fills it.  So the
memory of large results goes back to a pool when the caller lets go of the array, and the next result of that size
takes it from there.  The working memory (arena) of a call lies in a block that the call alone has while it runs: programs
take turns with one block, and a program for another batch size finds its pages there.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

__all__ = [
    "POOLED_FROM",
    "POOL_BYTES",
    "aligned",
    "allocator",
    "clear_pool",
    "give_arena",
    "pooled_bytes",
    "take_arena",
]

POOLED_FROM = 1 << 18  # bytes; smaller arrays come from NumPy
POOL_BYTES = 1 << 29  # what the pool holds at most
ALIGN = 64

_arenas: list[np.ndarray] = []  # that no call has, the largest last
_free: OrderedDict[int, list[np.ndarray]] = OrderedDict()  # by size, least recently used first
_held = 0
_lock = threading.RLock()  # a lease may end inside any allocation, also one made here


class _Lease:
    """The base of a result: when the last view of it goes, its memory goes back to the pool."""

    __slots__ = ("__array_interface__", "memory")

    def __init__(self, memory: np.ndarray) -> None:
        self.memory = memory
        self.__array_interface__ = {
            "data": (memory.ctypes.data, False),
            "shape": memory.shape,
            "typestr": "|u1",
            "version": 3,
        }

    def __del__(self) -> None:
        _give_back(self.memory)


def _give_back(memory: np.ndarray) -> None:
    global _held
    with _lock:
        _free.setdefault(memory.nbytes, []).append(memory)
        _free.move_to_end(memory.nbytes)
        _held += memory.nbytes
        while _held > POOL_BYTES:
            size, blocks = next(iter(_free.items()))
            blocks.pop()
            _held -= size
            if not blocks:
                del _free[size]


def _take(nbytes: int) -> np.ndarray:
    global _held
    with _lock:
        blocks = _free.get(nbytes)
        if blocks:
            memory = blocks.pop()
            _held -= nbytes
            if not blocks:
                del _free[nbytes]
            return memory
    return np.empty(nbytes, np.uint8)


def allocator(shape: tuple[int, ...], dtype: np.dtype) -> Callable[[tuple[int, ...], np.dtype], np.ndarray]:
    """The function that makes uninitialised arrays of this size: ``np.empty``, or from the pool."""
    return np.empty if math.prod(shape) * dtype.itemsize < POOLED_FROM else _pooled


def _pooled(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    memory = _take(math.prod(shape) * dtype.itemsize + ALIGN)
    return np.ndarray(shape, dtype, buffer=np.asarray(_Lease(memory)), offset=-memory.ctypes.data % ALIGN)


def aligned(nbytes: int, align: int = ALIGN) -> np.ndarray:
    """Uninitialised bytes at an aligned address."""
    block = np.empty(nbytes + align, np.uint8)
    start = -block.ctypes.data % align
    return block[start : start + nbytes]


def take_arena(nbytes: int) -> np.ndarray:
    """A block of at least so many bytes, which is the caller's until ``give_arena``.  A block that is too small makes way
    for a larger one, so that there are never more blocks than calls at one time."""
    with _lock:
        memory = _arenas.pop() if _arenas else None
    return memory if memory is not None and memory.nbytes >= nbytes else aligned(nbytes)


def give_arena(memory: np.ndarray) -> None:
    """The end of a call."""
    with _lock:
        _arenas.append(memory)
        if len(_arenas) > 1:
            _arenas.sort(key=len)


def _after_fork() -> None:
    """Another thread of the parent may have been at work on the pool: the child starts with an empty one."""
    global _lock
    _lock = threading.RLock()
    clear_pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def pooled_bytes() -> int:
    """Bytes of results that wait for reuse."""
    return _held


def clear_pool() -> None:
    """Gives the waiting memory back to the system."""
    global _held
    with _lock:
        _free.clear()
        _arenas.clear()
        _held = 0
