"""The memory of large results: what a caller lets go of, the next result of that size takes.

A large fresh array costs a page fault for each 4 KiB on first touch, more than the kernel that fills it.  So such results
are views of blocks, arrays of bytes, that wait in a pool when the last view of them has gone.

The pool is native code, as a result of 400 KB may be made in 30 microseconds, of which a lease written in Python takes five: a
capsule is the base of the views, and its destructor gives the block back.  The interpreter's lock guards it.  Where the
layout of objects is not known there is a pool in Python.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum
from string import Template

import numpy as np

from ..memory import ALIAS, POOLED_FROM, clear_arenas
from ..threads import immortal
from .builtins import LAYOUT, address_in_python, compile_text, layout_is_known

__all__ = ["POOL_BYTES", "POOL_TEXT", "allocator", "clear_pool", "native_pool", "pooled_bytes"]

POOL_BYTES = 1 << 29  # what the pool holds at most
_ENTRIES = 256  # how many blocks the native one holds at most


class Word(IntEnum):
    """Words of the native pool.  It begins with the name of its capsules; at ``FIRST`` stand pairs of bytes and block, the one that
    has waited longest first."""

    COUNT = 2
    HELD = 3  # bytes
    LIMIT = 4
    NEW_CAPSULE = 5
    DROP = 6
    FIRST = 8


_NAME = b"fx.result"

POOL_TEXT = Template("""
define internal ptr @fx_pool_word(ptr %pool, i64 %word) alwaysinline {
  %p = getelementptr i64, ptr %pool, i64 %word
  ret ptr %p
}

define internal ptr @fx_pool_entry(ptr %pool, i64 %place) alwaysinline {
  %twice = shl i64 %place, 1
  %word = add i64 %twice, $FIRST
  %p = getelementptr i64, ptr %pool, i64 %word
  ret ptr %p
}

; Takes the block out that waits at a place.
define internal ptr @fx_pool_remove(ptr %pool, i64 %place) {
entry:
  %count.p = call ptr @fx_pool_word(ptr %pool, i64 $COUNT)
  %held.p = call ptr @fx_pool_word(ptr %pool, i64 $HELD)
  %count = load i64, ptr %count.p
  %last = sub i64 %count, 1
  store i64 %last, ptr %count.p
  %entry.p = call ptr @fx_pool_entry(ptr %pool, i64 %place)
  %bytes = load i64, ptr %entry.p
  %block.p = getelementptr i64, ptr %entry.p, i64 1
  %block = load ptr, ptr %block.p
  %held = load i64, ptr %held.p
  %left = sub i64 %held, %bytes
  store i64 %left, ptr %held.p
  br label %loop
loop:
  %k = phi i64 [ %place, %entry ], [ %next, %close ]
  %more = icmp slt i64 %k, %last
  br i1 %more, label %close, label %done
close:
  %next = add i64 %k, 1
  %to = call ptr @fx_pool_entry(ptr %pool, i64 %k)
  %from = call ptr @fx_pool_entry(ptr %pool, i64 %next)
  %pair = load <2 x i64>, ptr %from, align 8
  store <2 x i64> %pair, ptr %to, align 8
  br label %loop
done:
  ret ptr %block
}

; The latest block of so many bytes, or null.
define internal ptr @fx_pool_take(ptr %pool, i64 %bytes) {
entry:
  %count.p = call ptr @fx_pool_word(ptr %pool, i64 $COUNT)
  %count = load i64, ptr %count.p
  br label %loop
loop:
  %k = phi i64 [ %count, %entry ], [ %place, %look ]
  %some = icmp sgt i64 %k, 0
  br i1 %some, label %look, label %none
look:
  %place = sub i64 %k, 1
  %entry.p = call ptr @fx_pool_entry(ptr %pool, i64 %place)
  %size = load i64, ptr %entry.p
  %fits = icmp eq i64 %size, %bytes
  br i1 %fits, label %found, label %loop
found:
  %block = call ptr @fx_pool_remove(ptr %pool, i64 %place)
  ret ptr %block
none:
  ret ptr null
}

; Lets go of those that have waited longest, until there are at most so many bytes and entries.
define internal void @fx_pool_trim(ptr %pool, i64 %limit, i64 %entries) {
entry:
  %count.p = call ptr @fx_pool_word(ptr %pool, i64 $COUNT)
  %held.p = call ptr @fx_pool_word(ptr %pool, i64 $HELD)
  %drop.p = call ptr @fx_pool_word(ptr %pool, i64 $DROP)
  %drop = load ptr, ptr %drop.p
  br label %loop
loop:
  %count = load i64, ptr %count.p
  %held = load i64, ptr %held.p
  %some = icmp sgt i64 %count, 0
  %large = icmp sgt i64 %held, %limit
  %many = icmp sgt i64 %count, %entries
  %over = or i1 %large, %many
  %more = and i1 %some, %over
  br i1 %more, label %one, label %done
one:
  %block = call ptr @fx_pool_remove(ptr %pool, i64 0)
  call void %drop(ptr %block)
  br label %loop
done:
  ret void
}

; The destructor of capsules: their block waits from now on.
define internal void @fx_pool_give(ptr %capsule) {
entry:
  %block.p = getelementptr i8, ptr %capsule, i64 $capsule
  %block = load ptr, ptr %block.p
  %pool.p = getelementptr i8, ptr %capsule, i64 $capsule_name
  %pool = load ptr, ptr %pool.p
  %dims.p = getelementptr i8, ptr %block, i64 $dims
  %dims = load ptr, ptr %dims.p
  %bytes = load i64, ptr %dims
  %limit.p = call ptr @fx_pool_word(ptr %pool, i64 $LIMIT)
  %limit = load i64, ptr %limit.p
  %room = sub i64 %limit, %bytes
  call void @fx_pool_trim(ptr %pool, i64 %room, i64 $others)
  %fits = icmp sge i64 %room, 0
  br i1 %fits, label %wait, label %lose
lose:
  %drop.p = call ptr @fx_pool_word(ptr %pool, i64 $DROP)
  %drop = load ptr, ptr %drop.p
  call void %drop(ptr %block)
  ret void
wait:
  %count.p = call ptr @fx_pool_word(ptr %pool, i64 $COUNT)
  %held.p = call ptr @fx_pool_word(ptr %pool, i64 $HELD)
  %count = load i64, ptr %count.p
  %more = add i64 %count, 1
  store i64 %more, ptr %count.p
  %held = load i64, ptr %held.p
  %all = add i64 %held, %bytes
  store i64 %all, ptr %held.p
  %entry.p = call ptr @fx_pool_entry(ptr %pool, i64 %count)
  store i64 %bytes, ptr %entry.p
  %entry.block = getelementptr i64, ptr %entry.p, i64 1
  store ptr %block, ptr %entry.block
  ret void
}

; A capsule that holds a block, whose reference it takes; null with an exception.
define internal ptr @fx_pool_lease(ptr %pool, ptr %block) {
  %new.p = call ptr @fx_pool_word(ptr %pool, i64 $NEW_CAPSULE)
  %new = load ptr, ptr %new.p
  %capsule = call ptr %new(ptr %block, ptr %pool, ptr @fx_pool_give)
  ret ptr %capsule
}
""").substitute(LAYOUT, others=_ENTRIES - 1, **{w.name: w.value for w in Word})

_TRIM_TEXT = """
define void @fx_trim(ptr %pool, i64 %limit) {
  call void @fx_pool_trim(ptr %pool, i64 %limit, i64 9223372036854775807)
  ret void
}
"""


@functools.cache
def native_pool() -> int:
    """The address of the native pool of this process."""
    address = immortal(8 * (Word.FIRST + 2 * _ENTRIES))
    ctypes.memmove(address, _NAME, len(_NAME))
    words = ctypes.c_int64 * Word.FIRST
    pool = words.from_address(address)
    pool[Word.LIMIT] = POOL_BYTES
    pool[Word.NEW_CAPSULE], pool[Word.DROP] = address_in_python("PyCapsule_New"), address_in_python("Py_DecRef")
    return address


def _word(word: Word) -> ctypes.c_int64:
    return ctypes.c_int64.from_address(native_pool() + 8 * word)


@functools.cache
def _trim() -> Callable[[int, int], None]:
    (address,) = compile_text(POOL_TEXT + _TRIM_TEXT, "result pool", "fx_trim")
    return ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)  # with the interpreter's lock


# -------------------------------------------------------------------------------------------- in Python

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
    """The function in Python that makes uninitialised arrays of this size: ``np.empty``, or from the pool."""
    return np.empty if math.prod(shape) * dtype.itemsize < POOLED_FROM else _pooled


def _pooled(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    memory = _take(math.prod(shape) * dtype.itemsize + ALIAS)
    return np.ndarray(shape, dtype, buffer=np.asarray(_Lease(memory)), offset=-memory.ctypes.data % ALIAS)


# ------------------------------------------------------------------------------------------------- both


def pooled_bytes() -> int:
    """Bytes of results that wait for reuse."""
    return _held + (_word(Word.HELD).value if layout_is_known() else 0)


def clear_pool() -> None:
    """Gives the waiting memory back to the system, that of calls too."""
    global _held
    with _lock:
        _free.clear()
        _held = 0
    if layout_is_known() and _word(Word.COUNT).value:
        _trim()(native_pool(), 0)
    clear_arenas()


def _after_fork() -> None:
    """Another thread of the parent may have been at work on the pool in Python: the child starts with an empty one.  The native
    one is whole whenever a thread that has the interpreter's lock forks."""
    global _held, _lock
    _lock = threading.RLock()
    _free.clear()
    _held = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
