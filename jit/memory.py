"""Arrays for results.

A large fresh array costs a page fault for each 4 KiB on first touch, more than the kernel that fills it.  So the
memory of large results goes back to a pool when the caller lets go of the array, and the next result of that size
takes it from there.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

__all__ = ["POOL_BYTES", "allocator", "clear_pool", "pooled_bytes"]

POOLED_FROM = 1 << 18  # bytes; smaller arrays come from NumPy
POOL_BYTES = 1 << 29  # what the pool holds at most
ALIGN = 64

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


def _after_fork() -> None:
    """Another thread of the parent may have been at work on the pool: the child starts with an empty one."""
    global _lock
    _lock = threading.RLock()
    clear_pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def pooled_bytes() -> int:
    """Bytes that wait for reuse."""
    return _held


def clear_pool() -> None:
    """Gives the waiting memory back to the system."""
    global _held
    with _lock:
        _free.clear()
        _held = 0
