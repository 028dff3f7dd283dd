"""The checks at the border of an executable, in native code.

``checker(signature)`` gives a built-in function ``check(*args)``: whether every argument is an ndarray of exactly the
wanted dtype and shape, C-contiguous and aligned, so that its memory can be handed to kernels as it is.  In Python this
costs a third of a microsecond an argument, natively a few nanoseconds.

``separation(sizes, overwritten)`` gives ``apart(*args)``: whether the arguments that will be overwritten may be, and share
no memory with another one.

Where the layout of array objects is not known (``builtins.layout_is_known``) Python functions do the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from string import Template
from typing import Any

import numpy as np

from .builtins import INCREF, LAYOUT, bind, compile_text, define, layout_is_known

__all__ = ["checker", "prepare", "separation"]

CARRAY = 0x1 | 0x100  # NumPy's flags C_CONTIGUOUS and ALIGNED
WRITEABLE = 0x400
Signature = Sequence[tuple[tuple[int, ...], np.dtype]]

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

# spec: True, False, the number of arguments, how many are overwritten, bytes of each argument, numbers of the overwritten
_APART = Template("""
define ptr @fx_apart(ptr %self, ptr %args, i64 %given) {
entry:
  %spec_at = getelementptr i8, ptr %self, i64 $data
  %spec = load ptr, ptr %spec_at
  %no_at = getelementptr i64, ptr %spec, i64 1
  %n_at = getelementptr i64, ptr %spec, i64 2
  %n = load i64, ptr %n_at
  %m_at = getelementptr i64, ptr %spec, i64 3
  %m = load i64, ptr %m_at
  %sizes = getelementptr i64, ptr %spec, i64 4
  %numbers = getelementptr i64, ptr %sizes, i64 %n
  %counted = icmp eq i64 %given, %n
  br i1 %counted, label %outer, label %done
outer:
  %k = phi i64 [ 0, %entry ], [ %k_next, %next ]
  %more = icmp slt i64 %k, %m
  br i1 %more, label %one, label %done
one:
  %number_at = getelementptr i64, ptr %numbers, i64 %k
  %number = load i64, ptr %number_at
  %arg_at = getelementptr ptr, ptr %args, i64 %number
  %arg = load ptr, ptr %arg_at
  %flags_at = getelementptr i8, ptr %arg, i64 $flags
  %flags = load i32, ptr %flags_at
  %writeable = and i32 %flags, $writeable
  %fixed = icmp eq i32 %writeable, 0
  %start_at = getelementptr i8, ptr %arg, i64 $data
  %start = load i64, ptr %start_at
  %size_at = getelementptr i64, ptr %sizes, i64 %number
  %size = load i64, ptr %size_at
  %end = add i64 %start, %size
  br i1 %fixed, label %done, label %inner
inner:
  %j = phi i64 [ 0, %one ], [ %j_next, %passed ]
  %others = icmp slt i64 %j, %n
  br i1 %others, label %other, label %next
other:
  %itself = icmp eq i64 %j, %number
  %other_at = getelementptr ptr, ptr %args, i64 %j
  %other_arg = load ptr, ptr %other_at
  %other_start_at = getelementptr i8, ptr %other_arg, i64 $data
  %other_start = load i64, ptr %other_start_at
  %other_size_at = getelementptr i64, ptr %sizes, i64 %j
  %other_size = load i64, ptr %other_size_at
  %other_end = add i64 %other_start, %other_size
  %before = icmp sle i64 %end, %other_start
  %behind = icmp sle i64 %other_end, %start
  %beside = or i1 %before, %behind
  %fine = or i1 %beside, %itself
  br i1 %fine, label %passed, label %done
passed:
  %j_next = add i64 %j, 1
  br label %inner
next:
  %k_next = add i64 %k, 1
  br label %outer
done:
  %answer_at = phi ptr [ %no_at, %entry ], [ %spec, %outer ], [ %no_at, %one ], [ %no_at, %other ]
  %answer = load ptr, ptr %answer_at
  $incref
  ret ptr %answer
}
""")


def separation(sizes: Sequence[int], overwritten: Sequence[int]) -> Callable[..., bool]:
    """``apart(*args)`` for ndarrays of so many bytes: True if those ``overwritten`` are writeable and overlap no other."""
    if not layout_is_known():
        return functools.partial(_apart_in_python, tuple(overwritten))
    words = [id(True), id(False), len(sizes), len(overwritten), *sizes, *overwritten]
    return bind(_apart_method(), np.array(words, np.int64))


def _apart_in_python(overwritten: Sequence[int], *args: np.ndarray) -> bool:
    spans = [(start := a.__array_interface__["data"][0], start + a.nbytes) for a in args]
    return all(
        args[k].flags.writeable
        and all(j == k or spans[k][1] <= start or end <= spans[k][0] for j, (start, end) in enumerate(spans))
        for k in overwritten
    )


def checker(signature: Signature) -> Callable[..., bool]:
    """``check(*args)``: True if every argument can be handed to kernels as it is."""
    if not layout_is_known():
        return functools.partial(_check_in_python, tuple(signature))
    words: list[int] = [len(signature), id(np.ndarray), id(True), id(False)]
    for shape, dtype in signature:
        words += [id(_the(dtype)), len(shape), *shape]
    _keep_dtypes.update(_the(dtype) for _, dtype in signature)
    return bind(_method(), np.array(words, np.int64))


_keep_dtypes: set[np.dtype] = set()  # a signature knows dtypes by address


def _the(dtype: np.dtype) -> np.dtype:
    """The one object that NumPy's arrays of this dtype refer to."""
    return np.dtype(dtype.type)


def _check_in_python(signature: Signature, *args: Any) -> bool:
    return len(args) == len(signature) and all(
        type(a) is np.ndarray and a.dtype is dtype and a.shape == shape and a.flags.num & CARRAY == CARRAY
        for a, (shape, dtype) in zip(args, signature)
    )


def prepare() -> None:
    """Makes the native functions now, which else are made when a program wants them first."""
    if layout_is_known():
        _method()
        _apart_method()


@functools.cache
def _apart_method() -> int:
    text = _APART.substitute(LAYOUT, writeable=WRITEABLE, incref=INCREF.substitute(object="answer"))
    (address,) = compile_text(text, "border", "fx_apart")
    return define("apart", address, "apart(*args)\n--\n\nWhether what is overwritten shares no memory.")


@functools.cache
def _method() -> int:
    """The method definition that all checkers share."""
    text = _TEXT.substitute(LAYOUT, carray=CARRAY, incref=INCREF.substitute(object="answer"))
    (address,) = compile_text(text, "border", "fx_check")
    return define("check", address, "check(*args)\n--\n\nWhether kernels can take them as they are.")
