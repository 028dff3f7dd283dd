"""Fresh arrays for the results of a call, all made by one built-in function.

``np.empty`` takes a fifth of a microsecond, most of it for reading its arguments.  A program knows them beforehand: native code
calls the function of NumPy's C interface behind it.  Results of some size lie within a slightly larger array, where a cache
line begins (``memory.padded``); that of large ones comes from a pool (``calls.result_pool``).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from string import Template
from typing import Any

import numpy as np

from ..memory import ALIAS, ALIGN, BYTE, POOLED_FROM, padded
from .border import CARRAY, WRITEABLE
from .builtins import LAYOUT, address_in_python, bind, compile_text, define, layout_is_known
from .result_pool import POOL_TEXT, allocator, native_pool

__all__ = ["FRESH_TEXT", "maker", "new_from_descr", "prepare"]

_NEW_FROM_DESCR = 94  # its place in the table of NumPy's C interface, which never changes
_C_FUNCTIONS = ("PyList_New", "PyList_SetItem", "Py_IncRef", "Py_DecRef")

# One uninitialised array: of ``memory.padded`` bytes, behind which its dimensions stand, and a view in them, or as NumPy makes it.
# Where it is large the bytes may have waited in the pool, and go there again.
_FRESH = Template("""
define internal ptr @fx_fresh(
    ptr %new, ptr %type, ptr %keep, ptr %drop, ptr %byte, ptr %pool, ptr %descr, i64 %ndim, ptr %bytes.p) alwaysinline {
entry:
  %ndim.int = trunc i64 %ndim to i32
  %bytes = load i64, ptr %bytes.p
  %dims = getelementptr i64, ptr %bytes.p, i64 1
  %small = icmp eq i64 %bytes, 0
  br i1 %small, label %plain, label %padded
plain:
  call void %keep(ptr %descr)
  %own = call ptr %new(ptr %type, ptr %descr, i32 %ndim.int, ptr %dims, ptr null, ptr null, i32 0, ptr null)
  ret ptr %own
padded:
  %large = icmp uge i64 %bytes, $pooled_from
  br i1 %large, label %again, label %fresh
again:
  %waiting = call ptr @fx_pool_take(ptr %pool, i64 %bytes)
  %none = icmp eq ptr %waiting, null
  br i1 %none, label %fresh, label %inside
fresh:
  call void %keep(ptr %byte)
  %new_memory = call ptr %new(ptr %type, ptr %byte, i32 1, ptr %bytes.p, ptr null, ptr null, i32 0, ptr null)
  %full = icmp eq ptr %new_memory, null
  br i1 %full, label %lost, label %inside
inside:
  %memory = phi ptr [ %waiting, %again ], [ %new_memory, %fresh ]
  %begin.p = getelementptr i8, ptr %memory, i64 $data
  %begin = load i64, ptr %begin.p
  %mask = select i1 %large, i64 $alias_mask, i64 $align_mask
  %past = add i64 %begin, %mask
  %over = and i64 %past, %mask
  %back = sub i64 %past, %over
  %aligned = inttoptr i64 %back to ptr
  call void %keep(ptr %descr)
  %view = call ptr %new(
    ptr %type, ptr %descr, i32 %ndim.int, ptr %dims, ptr null, ptr %aligned, i32 $fresh, ptr null)
  %viewless = icmp eq ptr %view, null
  br i1 %viewless, label %useless, label %found
found:
  br i1 %large, label %lend, label %based
lend:
  %lease = call ptr @fx_pool_lease(ptr %pool, ptr %memory)
  %leaseless = icmp eq ptr %lease, null
  br i1 %leaseless, label %viewed, label %based
viewed:
  call void %drop(ptr %view)
  br label %useless
useless:
  call void %drop(ptr %memory)
  br label %lost
based:
  %owner = phi ptr [ %memory, %found ], [ %lease, %lend ]
  %base.p = getelementptr i8, ptr %view, i64 $base
  store ptr %owner, ptr %base.p
  ret ptr %view
lost:
  ret ptr null
}
""")
FRESH_TEXT = POOL_TEXT + _FRESH.substitute(
    LAYOUT, fresh=CARRAY | WRITEABLE, align_mask=ALIGN - 1, alias_mask=ALIAS - 1, pooled_from=POOLED_FROM + ALIGN
)

# specification: number of arrays, the type ndarray, PyArray_NewFromDescr, _C_FUNCTIONS, the dtype of bytes, the pool; then for each array:
# descr, ndim, ``memory.padded``, its dimensions
_TEXT = Template("""
define ptr @fx_make(ptr %self, ptr %args, i64 %given) {
entry:
  %spec.p = getelementptr i8, ptr %self, i64 $data
  %spec = load ptr, ptr %spec.p
  %n = load i64, ptr %spec
  %type.p = getelementptr ptr, ptr %spec, i64 1
  %type = load ptr, ptr %type.p
  %new.p = getelementptr ptr, ptr %spec, i64 2
  %new = load ptr, ptr %new.p
  %new_list.p = getelementptr ptr, ptr %spec, i64 3
  %new_list = load ptr, ptr %new_list.p
  %set.p = getelementptr ptr, ptr %spec, i64 4
  %set = load ptr, ptr %set.p
  %keep.p = getelementptr ptr, ptr %spec, i64 5
  %keep = load ptr, ptr %keep.p
  %drop.p = getelementptr ptr, ptr %spec, i64 6
  %drop = load ptr, ptr %drop.p
  %byte.p = getelementptr ptr, ptr %spec, i64 7
  %byte = load ptr, ptr %byte.p
  %pool.p = getelementptr ptr, ptr %spec, i64 8
  %pool = load ptr, ptr %pool.p
  %first = getelementptr ptr, ptr %spec, i64 9
  %list = call ptr %new_list(i64 %n)
  %listless = icmp eq ptr %list, null
  br i1 %listless, label %done, label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %put ]
  %at = phi ptr [ %first, %entry ], [ %at.next, %put ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %one, label %done
one:
  %descr = load ptr, ptr %at
  %ndim.p = getelementptr i64, ptr %at, i64 1
  %ndim = load i64, ptr %ndim.p
  %bytes.p = getelementptr i64, ptr %at, i64 2
  %dims = getelementptr i64, ptr %at, i64 3
  %array = call ptr @fx_fresh(
    ptr %new, ptr %type, ptr %keep, ptr %drop, ptr %byte, ptr %pool, ptr %descr, i64 %ndim,
    ptr %bytes.p)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %lost, label %put
put:
  %rc = call i32 %set(ptr %list, i64 %k, ptr %array)
  %at.next = getelementptr i64, ptr %dims, i64 %ndim
  %k.next = add i64 %k, 1
  br label %loop
lost:
  call void %drop(ptr %list)
  br label %done
done:
  %result = phi ptr [ %list, %entry ], [ %list, %loop ], [ null, %lost ]
  ret ptr %result
}
""")


def maker(results: Sequence[tuple[tuple[int, ...], np.dtype]]) -> Callable[[], list[np.ndarray]]:
    """``make()``: a list of uninitialised arrays of these shapes and dtypes."""
    new = new_from_descr()
    if not new:
        makers = [(allocator(shape, dtype), shape, dtype) for shape, dtype in results]
        return lambda: [make(shape, dtype) for make, shape, dtype in makers]
    words = [len(results), id(np.ndarray), new, *map(address_in_python, _C_FUNCTIONS), id(BYTE), native_pool()]
    for shape, dtype in results:
        words += [id(dtype), len(shape), padded(shape, dtype), *shape]
    return bind(_method(), np.array(words, np.int64), [dtype for _, dtype in results])


@functools.cache
def new_from_descr() -> int:
    """The address of PyArray_NewFromDescr, out of the table of NumPy's C interface; 0 where it cannot be used."""
    capsule = getattr(getattr(getattr(np, "_core", None), "_multiarray_umath", None), "_ARRAY_API", None)
    if capsule is None or not layout_is_known():
        return 0
    pointer: Any = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    table = pointer(capsule, None)
    return ctypes.c_int64.from_address(table + 8 * _NEW_FROM_DESCR).value if table else 0


def prepare() -> None:
    """Makes the native function now, which else is made when a program wants it first."""
    if new_from_descr():
        _method()


@functools.cache
def _method() -> int:
    (address,) = compile_text(FRESH_TEXT + _TEXT.substitute(LAYOUT), "results", "fx_make")
    return define("make", address, "make()\n--\n\nFresh arrays for results.")
