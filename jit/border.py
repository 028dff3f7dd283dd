"""The check at the border of an executable, in native code.

``checker(signature)`` gives a built-in function ``check(*args)``: whether every argument is an ndarray of exactly the
wanted dtype and shape, C-contiguous and aligned, so that its memory can be handed to kernels as it is.  In Python this
costs a third of a microsecond an argument, natively a few nanoseconds.

It reads the array objects where CPython and NumPy keep their fields; ``_layout_is_known`` probes that once, and without
it (another interpreter, a build without the global lock) a Python function does the same.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable, Sequence
from string import Template
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from .cache import default_store, environment_digest, kernel_key
from .forks import compiling
from .threads import immortal

__all__ = ["checker"]

CARRAY = 0x1 | 0x100  # NumPy's flags C_CONTIGUOUS and ALIGNED
Signature = Sequence[tuple[tuple[int, ...], np.dtype]]

# Offsets in a NumPy array object behind its head (reference count and type).
_DATA, _NDIM, _DIMS, _DESCR, _FLAGS = 0, 8, 16, 40, 48
_HEAD = object.__basicsize__

# spec: number of arguments, the type ndarray, True, False; then for each argument: descr, ndim, its dimensions
_TEXT = Template("""
define ptr @fx_check(ptr %self, ptr %args, i64 %n) {
entry:
  %spec_at = getelementptr i8, ptr %self, i64 $data
  %spec = load ptr, ptr %spec_at
  %type_at = getelementptr i64, ptr %spec, i64 1
  %type = load ptr, ptr %type_at
  %yes_at = getelementptr i64, ptr %spec, i64 2
  %no_at = getelementptr i64, ptr %spec, i64 3
  %wanted = load i64, ptr %spec
  %first = getelementptr i64, ptr %spec, i64 4
  %fits = icmp eq i64 %n, %wanted
  br i1 %fits, label %loop, label %no
loop:
  %k = phi i64 [ 0, %entry ], [ %k_next, %next ]
  %at = phi ptr [ %first, %entry ], [ %at_next, %next ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %argument, label %yes
argument:
  %arg_at = getelementptr ptr, ptr %args, i64 %k
  %arg = load ptr, ptr %arg_at
  %its_type_at = getelementptr i8, ptr %arg, i64 $type
  %its_type = load ptr, ptr %its_type_at
  %is_array = icmp eq ptr %its_type, %type
  br i1 %is_array, label %array, label %no
array:
  %descr_at = getelementptr i8, ptr %arg, i64 $descr
  %descr = load i64, ptr %descr_at
  %descr_wanted = load i64, ptr %at
  %same_descr = icmp eq i64 %descr, %descr_wanted
  %flags_at = getelementptr i8, ptr %arg, i64 $flags
  %flags = load i32, ptr %flags_at
  %masked = and i32 %flags, $carray
  %good_flags = icmp eq i32 %masked, $carray
  %ndim_at = getelementptr i8, ptr %arg, i64 $ndim
  %ndim = load i32, ptr %ndim_at
  %ndim_wide = zext i32 %ndim to i64
  %ndim_wanted_at = getelementptr i64, ptr %at, i64 1
  %ndim_wanted = load i64, ptr %ndim_wanted_at
  %same_ndim = icmp eq i64 %ndim_wide, %ndim_wanted
  %good1 = and i1 %same_descr, %good_flags
  %good2 = and i1 %good1, %same_ndim
  %dims_at = getelementptr i8, ptr %arg, i64 $dims
  %dims = load ptr, ptr %dims_at
  %dims_wanted = getelementptr i64, ptr %at, i64 2
  br i1 %good2, label %dim, label %no
dim:
  %d = phi i64 [ 0, %array ], [ %d_next, %size ]
  %more_dims = icmp slt i64 %d, %ndim_wanted
  br i1 %more_dims, label %size, label %next
size:
  %size_at = getelementptr i64, ptr %dims, i64 %d
  %size_found = load i64, ptr %size_at
  %size_wanted_at = getelementptr i64, ptr %dims_wanted, i64 %d
  %size_wanted = load i64, ptr %size_wanted_at
  %d_next = add i64 %d, 1
  %same_size = icmp eq i64 %size_found, %size_wanted
  br i1 %same_size, label %dim, label %no
next:
  %at_next = getelementptr i64, ptr %dims_wanted, i64 %ndim_wanted
  %k_next = add i64 %k, 1
  br label %loop
yes:
  br label %done
no:
  br label %done
done:
  %answer_at = phi ptr [ %yes_at, %yes ], [ %no_at, %no ]
  %answer = load ptr, ptr %answer_at
  $incref
  ret ptr %answer
}
""")
# From Python 3.12 on, True and False are immortal: their counts must not change.
_INCREF = (
    ""
    if sys.version_info >= (3, 12)
    else """
  %count = load i64, ptr %answer
  %count_next = add i64 %count, 1
  store i64 %count_next, ptr %answer"""
)


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_void_p),
    )


_METH_FASTCALL = 0x80


def checker(signature: Signature) -> Callable[..., bool]:
    """``check(*args)``: True if every argument can be handed to kernels as it is."""
    if not _layout_is_known():
        return functools.partial(_check_in_python, tuple(signature))
    words: list[int] = [len(signature), id(np.ndarray), id(True), id(False)]
    for shape, dtype in signature:
        words += [id(_the(dtype)), len(shape), *shape]
    spec = np.array(words, np.int64)
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    function: Callable[..., bool] = new(("PyCFunction_NewEx", ctypes.pythonapi))(_method(), spec, None)
    _keep_dtypes.update(_the(dtype) for _, dtype in signature)
    return function


_keep_dtypes: set[np.dtype] = set()  # a signature knows dtypes by address


def _the(dtype: np.dtype) -> np.dtype:
    """The one object that NumPy's arrays of this dtype refer to."""
    return np.dtype(dtype.type)


def _check_in_python(signature: Signature, *args: Any) -> bool:
    return len(args) == len(signature) and all(
        type(a) is np.ndarray and a.dtype is dtype and a.shape == shape and a.flags.num & CARRAY == CARRAY
        for a, (shape, dtype) in zip(args, signature)
    )


@functools.cache
def _layout_is_known() -> bool:
    """Probes an array for the fields that the native check reads."""
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    probe = np.zeros((3, 5), np.float32)
    head = id(probe) + _HEAD

    def word(offset: int) -> int:
        return ctypes.c_int64.from_address(head + offset).value

    dims = (ctypes.c_int64 * 2).from_address(word(_DIMS))
    return (
        word(-8) == id(np.ndarray) and word(_DATA) == probe.ctypes.data and word(_NDIM) & 0xFFFFFFFF == 2
        and tuple(dims) == (3, 5) and word(_DESCR) == id(probe.dtype) and word(_FLAGS) & 0xFFFFFFFF == probe.flags.num
    )  # fmt: skip


@functools.cache
def _method() -> int:
    """The address of the method definition that all checkers share.  They may outlive this module at exit."""
    address = immortal(ctypes.sizeof(_MethodDef))
    definition = _MethodDef.from_address(address)
    definition.name = _immortal_text(b"check")
    with compiling:
        definition.function = _address()
    definition.flags = _METH_FASTCALL
    definition.doc = _immortal_text(b"check(*args)\n--\n\nWhether kernels can take them as they are.")
    return address


def _immortal_text(text: bytes) -> int:
    address = immortal(len(text) + 1)
    ctypes.memmove(address, text, len(text))
    return address


def _address() -> int:
    text = _TEXT.substitute(
        data=_HEAD + _DATA, type=_HEAD - 8, descr=_HEAD + _DESCR, flags=_HEAD + _FLAGS, ndim=_HEAD + _NDIM,
        dims=_HEAD + _DIMS, carray=CARRAY, incref=_INCREF,
    )  # fmt: skip
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2)
    store, key = default_store(), kernel_key(text, {"kernel": "border"}, environment_digest(llvm.get_default_triple()))
    data = store.get(key)
    if data is None:
        data = machine.emit_object(llvm.parse_assembly(text))
        store.put(key, data)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    address = int(engine.get_function_address("fx_check"))
    engine.detach()  # the code stays: functions may be called until the process ends
    return address
