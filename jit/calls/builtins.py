"""Built-in functions made of native code: CPython calls them like those written in C.

``define(name, address, doc)`` makes a method definition of code that follows CPython's METH_FASTCALL convention,
``ptr f(ptr self, ptr args, i64 n)``; ``bind(definition, self, keep)`` a function of it.  The code reads objects where CPython
and NumPy keep their fields; ``layout_is_known`` probes that once, and without it (another interpreter, a build that can do
without the global lock, which counts references in another way) callers go a way in Python.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from string import Template
from typing import Any

import numpy as np

from ..cache import default_store, environment_digest, kernel_key
from ..forks import compiling
from ..llvm.linker import load
from ..on_demand import llvm
from ..threads import immortal

__all__ = ["HEAD", "INCREF", "LAYOUT", "address_in_python", "bind", "compile_text", "define", "layout_is_known"]

COUNT = 0  # of an object: how many references there are to it, in 32 bits; above them may stand flags
HEAD = object.__basicsize__  # bytes of an object before its first field; its type comes last in it
DATA, NDIM, DIMS, STRIDES, BASE, DESCR, FLAGS = 0, 8, 16, 24, 32, 40, 48  # of a NumPy array, behind its head
ITEMS = tuple.__basicsize__  # bytes of a tuple before its items; how many they are stands behind its head
LAYOUT = {
    "count": COUNT, "head": HEAD, "type": HEAD - 8, "data": HEAD + DATA, "ndim": HEAD + NDIM, "dims": HEAD + DIMS, "strides": HEAD + STRIDES,
    "base": HEAD + BASE, "descr": HEAD + DESCR, "flags": HEAD + FLAGS, "items": ITEMS, "capsule": HEAD, "capsule_name": HEAD + 8,
}  # fmt: skip
"""Byte offsets, by the names that the texts use.  A list's length and a float's number stand behind its head too."""

# One more reference to True, False or None.  From Python 3.12 on they are immortal, and their counts must not change.
INCREF = Template(
    ""
    if sys.version_info >= (3, 12)
    else """
  %$object.count = load i64, ptr %$object
  %$object.more = add i64 %$object.count, 1
  store i64 %$object.more, ptr %$object"""
)
_METH_FASTCALL = 0x80
_new_function = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.py_object)(
    ("PyCFunction_NewEx", ctypes.pythonapi)
)

_new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_void_p),
    )


def define(name: str, address: int, doc: str) -> int:
    """The address of a method definition.  It is never freed: functions may outlive every module at exit."""
    place = immortal(ctypes.sizeof(_MethodDef))
    definition = _MethodDef.from_address(place)
    definition.name = _immortal_text(name)
    definition.function = address
    definition.flags = _METH_FASTCALL
    definition.doc = _immortal_text(doc)
    return place


def bind(definition: int, itself: Any, keep: Any = None) -> Callable[..., Any]:
    """A built-in function whose ``self`` is an object; it keeps that and ``keep`` alive."""
    function: Callable[..., Any] = _new_function(definition, itself, keep)
    return function


def _immortal_text(text: str) -> int:
    data = text.encode()
    address = immortal(len(data) + 1)
    ctypes.memmove(address, data, len(data))
    return address


@functools.cache
def layout_is_known() -> bool:
    """Probes objects for the fields that native code reads."""
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    whole = np.zeros((3, 5), np.float32)
    probe, pair, number = whole[:], (object(), object()), 2.5
    head = id(probe) + HEAD

    def word(offset: int) -> int:
        return ctypes.c_int64.from_address(head + offset).value

    def references(x: list[Any]) -> int:
        return ctypes.c_int32.from_address(id(x[0]) + COUNT).value

    dims, strides = ((ctypes.c_int64 * 2).from_address(word(field)) for field in (DIMS, STRIDES))
    items = (ctypes.c_int64 * 2).from_address(id(pair) + ITEMS)
    named = ctypes.create_string_buffer(b"fx.probe")
    capsule = _new_capsule(id(whole), ctypes.addressof(named), None)
    inside = (ctypes.c_int64 * 2).from_address(id(capsule) + HEAD)
    lengths = [ctypes.c_int64.from_address(id(x) + HEAD).value for x in (pair, [0] * 3)]
    counts = [references([np.zeros(1)] * n) for n in (1, 2, 5)]
    return (
        word(-8) == id(np.ndarray) and word(DATA) == probe.ctypes.data and word(NDIM) & 0xFFFFFFFF == 2
        and tuple(dims) == (3, 5) and tuple(strides) == (20, 4) and word(DESCR) == id(probe.dtype) and word(BASE) == id(whole)
        and word(FLAGS) & 0xFFFFFFFF == probe.flags.num and tuple(items) == tuple(map(id, pair)) and lengths == [2, 3]
        and counts == [1, 2, 5] and ctypes.c_double.from_address(id(number) + HEAD).value == number
        and tuple(inside) == (id(whole), ctypes.addressof(named))
    )  # fmt: skip


def address_in_python(name: str) -> int:
    """The address of a function of Python's C interface."""
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


def compile_text(text: str, what: str, *entries: str) -> list[int]:
    """The addresses of functions of an LLVM module, compiled or taken from the store.  The code stays for ever."""
    with compiling:
        store, key = default_store(), kernel_key(text, {"kernel": what}, environment_digest())
        data = store.get(key)
        if data is None:
            data = llvm().plain_code(text)
            store.put(key, data)
        found = load(data, entries)
    return [found[name] for name in entries]
