"""One operation at once, in native code: from arrays of the library to an array of the library.

A NumPy function on three elements takes a third of a microsecond; looking at operands in Python, turning warnings off and
wrapping the result take three times as long again.  ``Eager`` gives built-in functions that do that in a tenth:

* ``quick(function, fallback, n, dtypes)`` applies a NumPy function to ``n`` arrays of one dtype out of a set;
* ``wrapper(weak, owned)`` makes an array object of a result.

The class of the arrays is told, as this package knows nothing of it: its slots are found by putting an object in and looking
where it lies.  Whatever is not expected - another type, a dtype, an open trace, shapes that do not fit - is handed to the
fallback with the same arguments.
"""

from __future__ import annotations

import contextvars
import ctypes
from collections.abc import Callable, Iterable, Sequence
from string import Template
from typing import Any

import numpy as np

from fx.errors import BackendError

from .builtins import HEAD, INCREF, LAYOUT, address_in_python, bind, compile_text, define, layout_is_known

__all__ = ["Eager"]

_C_FUNCTIONS = ("PyContext_Enter", "PyContext_Exit", "PyErr_Clear", "Py_IncRef", "Py_DecRef", "PyType_GenericAlloc")
_VECTORCALL = "PyObject_Vectorcall" if hasattr(ctypes.pythonapi, "PyObject_Vectorcall") else "_PyObject_Vectorcall"
_WORDS = (
    "array_type", "ndarray", "buffer", "weak", "owned", "alert", "true", "false", "bool", "as_array", "context", "vectorcall",
    *_C_FUNCTIONS, "function", "fallback", "n_dtypes",
)  # fmt: skip
"""Words of a specification, behind which the dtypes follow; ``buffer``, ``weak`` and ``owned`` are offsets of slots."""

_COMMON = """
define internal ptr @word(ptr %spec, i64 %k) alwaysinline {
  %at = getelementptr ptr, ptr %spec, i64 %k
  %value = load ptr, ptr %at
  ret ptr %value
}

define internal i64 @number(ptr %spec, i64 %k) alwaysinline {
  %at = getelementptr i64, ptr %spec, i64 %k
  %value = load i64, ptr %at
  ret i64 %value
}

define internal ptr @field(ptr %object, i64 %offset) alwaysinline {
  %at = getelementptr i8, ptr %object, i64 %offset
  %value = load ptr, ptr %at
  ret ptr %value
}

define internal ptr @spec_of(ptr %self) alwaysinline {
  %spec = call ptr @field(ptr %self, i64 $data)
  ret ptr %spec
}

; The buffer of an operand, or null; whether it is weak.
define internal ptr @operand(ptr %spec, ptr %x, ptr %weak) alwaysinline {
entry:
  %type = call ptr @field(ptr %x, i64 $type)
  %ndarray = call ptr @word(ptr %spec, i64 $ndarray)
  %array_type = call ptr @word(ptr %spec, i64 $array_type)
  %ours = icmp eq ptr %type, %array_type
  br i1 %ours, label %wrapped, label %other
other:
  store i1 false, ptr %weak
  %plain = icmp eq ptr %type, %ndarray
  %found = select i1 %plain, ptr %x, ptr null
  ret ptr %found
wrapped:
  %weak_at = call i64 @number(ptr %spec, i64 $weak)
  %its_weak = call ptr @field(ptr %x, i64 %weak_at)
  %true = call ptr @word(ptr %spec, i64 $true)
  %false = call ptr @word(ptr %spec, i64 $false)
  %is_weak = icmp eq ptr %its_weak, %true
  %is_strong = icmp eq ptr %its_weak, %false
  store i1 %is_weak, ptr %weak
  %said = or i1 %is_weak, %is_strong
  %buffer_at = call i64 @number(ptr %spec, i64 $buffer)
  %buffer = call ptr @field(ptr %x, i64 %buffer_at)
  %empty = icmp eq ptr %buffer, null
  br i1 %empty, label %no, label %look
look:
  %its_type = call ptr @field(ptr %buffer, i64 $type)
  %is_ndarray = icmp eq ptr %its_type, %ndarray
  %good = and i1 %said, %is_ndarray
  %answer = select i1 %good, ptr %buffer, ptr null
  ret ptr %answer
no:
  ret ptr null
}

; Whether a dtype is one of those that the function takes.
define internal i1 @takes(ptr %spec, ptr %descr) {
entry:
  %n = call i64 @number(ptr %spec, i64 $n_dtypes)
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %next ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %look, label %no
look:
  %at = add i64 %k, $dtypes
  %one = call ptr @word(ptr %spec, i64 %at)
  %same = icmp eq ptr %one, %descr
  br i1 %same, label %yes, label %next
next:
  %k.next = add i64 %k, 1
  br label %loop
yes:
  ret i1 true
no:
  ret i1 false
}

define internal void @keep(ptr %spec, ptr %x) alwaysinline {
  %f = call ptr @word(ptr %spec, i64 $Py_IncRef)
  call void %f(ptr %x)
  ret void
}

define internal void @drop(ptr %spec, ptr %x) alwaysinline {
  %f = call ptr @word(ptr %spec, i64 $Py_DecRef)
  call void %f(ptr %x)
  ret void
}

; An array object around a buffer, whose reference it takes over; null with an exception.
define internal ptr @wrap(ptr %spec, ptr %buffer, i1 %is_weak, i1 %is_owned) {
entry:
  %alloc = call ptr @word(ptr %spec, i64 $PyType_GenericAlloc)
  %array_type = call ptr @word(ptr %spec, i64 $array_type)
  %object = call ptr %alloc(ptr %array_type, i64 0)
  %failed = icmp eq ptr %object, null
  br i1 %failed, label %lost, label %fill
lost:
  call void @drop(ptr %spec, ptr %buffer)
  ret ptr null
fill:
  %true = call ptr @word(ptr %spec, i64 $true)
  %false = call ptr @word(ptr %spec, i64 $false)
  %weak = select i1 %is_weak, ptr %true, ptr %false$incref_weak
  %owned = select i1 %is_owned, ptr %true, ptr %false$incref_owned
  %buffer_at = call i64 @number(ptr %spec, i64 $buffer)
  %weak_at = call i64 @number(ptr %spec, i64 $weak)
  %owned_at = call i64 @number(ptr %spec, i64 $owned)
  %buffer.p = getelementptr i8, ptr %object, i64 %buffer_at
  %weak.p = getelementptr i8, ptr %object, i64 %weak_at
  %owned.p = getelementptr i8, ptr %object, i64 %owned_at
  store ptr %buffer, ptr %buffer.p
  store ptr %weak, ptr %weak.p
  store ptr %owned, ptr %owned.p
  ret ptr %object
}

define internal ptr @fall_back(ptr %spec, ptr %args, i64 %n) {
  %call = call ptr @word(ptr %spec, i64 $vectorcall)
  %f = call ptr @word(ptr %spec, i64 $fallback)
  %result = call ptr %call(ptr %f, ptr %args, i64 %n, ptr null)
  ret ptr %result
}

; The function on buffers; null, and no exception, where that did not work.
define internal ptr @apply(ptr %spec, ptr %buffers, i64 %n) {
entry:
  %enter = call ptr @word(ptr %spec, i64 $PyContext_Enter)
  %leave = call ptr @word(ptr %spec, i64 $PyContext_Exit)
  %clear = call ptr @word(ptr %spec, i64 $PyErr_Clear)
  %call = call ptr @word(ptr %spec, i64 $vectorcall)
  %context = call ptr @word(ptr %spec, i64 $context)
  %rc = call i32 %enter(ptr %context)
  %entered = icmp eq i32 %rc, 0
  br i1 %entered, label %inside, label %fail
inside:
  %f = call ptr @word(ptr %spec, i64 $function)
  %out = call ptr %call(ptr %f, ptr %buffers, i64 %n, ptr null)
  %rc2 = call i32 %leave(ptr %context)
  %raised = icmp eq ptr %out, null
  br i1 %raised, label %fail, label %look
look:
  %ndarray = call ptr @word(ptr %spec, i64 $ndarray)
  %type = call ptr @field(ptr %out, i64 $type)
  %is_array = icmp eq ptr %type, %ndarray
  br i1 %is_array, label %done, label %scalar
done:
  ret ptr %out
scalar:
  %place = alloca ptr
  store ptr %out, ptr %place
  %as_array = call ptr @word(ptr %spec, i64 $as_array)
  %made = call ptr %call(ptr %as_array, ptr %place, i64 1, ptr null)
  call void @drop(ptr %spec, ptr %out)
  %unmade = icmp eq ptr %made, null
  br i1 %unmade, label %fail, label %converted
converted:
  ret ptr %made
fail:
  call void %clear()
  ret ptr null
}

define ptr @fx_wrap_strong(ptr %self, ptr %args, i64 %n) {
  %spec = call ptr @spec_of(ptr %self)
  %buffer = load ptr, ptr %args
  call void @keep(ptr %spec, ptr %buffer)
  %out = call ptr @wrap(ptr %spec, ptr %buffer, i1 false, i1 true)
  ret ptr %out
}

define ptr @fx_wrap_weak(ptr %self, ptr %args, i64 %n) {
  %spec = call ptr @spec_of(ptr %self)
  %buffer = load ptr, ptr %args
  call void @keep(ptr %spec, ptr %buffer)
  %out = call ptr @wrap(ptr %spec, ptr %buffer, i1 true, i1 true)
  ret ptr %out
}
"""

# of n operands; $$operands reads them into %b0, %b1 and %good, %all_weak; $$keep and $$drop hold them meanwhile
_QUICK = """
define ptr @fx_quick_$n(ptr %self, ptr %args, i64 %given) {
entry:
  %buffers = alloca [$n x ptr]
  %weak.p = alloca i1
  %spec = call ptr @spec_of(ptr %self)
  %alert = call ptr @word(ptr %spec, i64 $alert)
  %length = call ptr @field(ptr %alert, i64 $head)
  %calm = icmp eq ptr %length, null
  %counted = icmp eq i64 %given, $n
  %plain = and i1 %calm, %counted
  br i1 %plain, label %operands, label %other
operands:
$operands
ready:
  %known = call i1 @takes(ptr %spec, ptr %descr0)
  br i1 %known, label %run, label %other
run:
$keep
  %out = call ptr @apply(ptr %spec, ptr %buffers, i64 $n)
$drop
  %failed = icmp eq ptr %out, null
  br i1 %failed, label %other, label %done
done:
  %out.descr = call ptr @field(ptr %out, i64 $descr)
  %bool = call ptr @word(ptr %spec, i64 $bool)
  %is_number = icmp ne ptr %out.descr, %bool
  %is_weak = and i1 %is_number, %weak$last
  %array = call ptr @wrap(ptr %spec, ptr %out, i1 %is_weak, i1 false)
  ret ptr %array
other:
  %answer = call ptr @fall_back(ptr %spec, ptr %args, i64 %given)
  ret ptr %answer
}
"""
_OPERAND = """  %x$k.p = getelementptr ptr, ptr %args, i64 $k
  %x$k = load ptr, ptr %x$k.p
  %b$k = call ptr @operand(ptr %spec, ptr %x$k, ptr %weak.p)
  %own_weak$k = load i1, ptr %weak.p
  %weak$k = and i1 %own_weak$k, $before
  %none$k = icmp eq ptr %b$k, null
  br i1 %none$k, label %other, label %array$k
array$k:
  %b$k.p = getelementptr ptr, ptr %buffers, i64 $k
  store ptr %b$k, ptr %b$k.p
  %descr$k = call ptr @field(ptr %b$k, i64 $descr)
  %same$k = icmp eq ptr %descr$k, %descr0
  br i1 %same$k, label %$next, label %other"""


def _quick_text(n: int, names: dict[str, Any]) -> str:
    """The function for ``n`` operands."""
    each = range(n)
    operands = [
        Template(_OPERAND).substitute(
            names, k=k, before=f"%weak{k - 1}" if k else "true", next=f"operand{k + 1}" if k + 1 < n else "ready"
        )
        for k in each
    ]
    joined = operands[0] + "".join(f"\noperand{k}:\n{operands[k]}" for k in each[1:])
    return Template(_QUICK).substitute(
        names, n=n, last=n - 1, operands=joined,
        keep="\n".join(f"  call void @keep(ptr %spec, ptr %b{k})" for k in each),
        drop="\n".join(f"  call void @drop(ptr %spec, ptr %b{k})" for k in each),
    )  # fmt: skip


class Eager:
    """Built-in functions for one class of arrays.

    Args:
        array_type: the class; it has the slots ``buffer`` (an ndarray), ``weak`` and ``owned`` (bools), by these names.
        alert: a list; while it is not empty every call goes to the fallback.
        context: where NumPy's warnings are off.

    Raises:
        BackendError: objects are laid out in another way here.
    """

    def __init__(
        self, array_type: type, slots: Sequence[str], alert: list[Any], context: contextvars.Context
    ) -> None:  # fmt: skip
        if not layout_is_known() or type(alert) is not list:
            raise BackendError("where this interpreter keeps the fields of objects is not known")
        as_array = np.asarray
        self._keep = (array_type, alert, context, as_array)
        offsets = [slot_offset(array_type, name) for name in slots]
        functions = [address_in_python(name) for name in (_VECTORCALL, *_C_FUNCTIONS)]
        self._words = [
            id(array_type), id(np.ndarray), *offsets, id(alert), id(True), id(False), id(np.dtype(bool)), id(as_array),
            id(context), *functions,
        ]  # fmt: skip
        names: dict[str, Any] = {**LAYOUT, **{name: k for k, name in enumerate(_WORDS)}, "dtypes": len(_WORDS)}
        names.update(incref_weak=INCREF.substitute(object="weak"), incref_owned=INCREF.substitute(object="owned"))
        text = Template(_COMMON).substitute(names) + _quick_text(1, names) + _quick_text(2, names)
        entries = ("fx_quick_1", "fx_quick_2", "fx_wrap_strong", "fx_wrap_weak")
        one, two, strong, weak = compile_text(text, "eager", *entries)
        doc = "quick(*arrays)\n--\n\nThe function on known arrays at once."
        self._quick = {1: define("quick", one, doc), 2: define("quick", two, doc)}
        doc = "wrap(ndarray)\n--\n\nAn array object around a result that nobody else has."
        self._wrap = {False: define("wrap", strong, doc), True: define("wrap", weak, doc)}

    def quick(
        self, function: Any, fallback: Callable[..., Any], n: int, dtypes: Iterable[np.dtype]
    ) -> Callable[..., Any]:
        """``function`` of ``n`` arrays of one of the dtypes; everything else goes to ``fallback``."""
        kinds = list(dtypes)
        words = [*self._words, id(function), id(fallback), len(kinds), *map(id, kinds)]
        return bind(self._quick[n], np.array(words, np.int64), (self._keep, function, fallback, kinds))

    def wrapper(self, weak: bool) -> Callable[[np.ndarray], Any]:
        """The function that makes an array object, which owns its memory, of an ndarray."""
        return bind(self._wrap[weak], np.array([*self._words, 0, 0, 0], np.int64), self._keep)


def slot_offset(cls: type, name: str) -> int:
    """Where the instances of a class keep a slot: an object is put there, and looked for.

    Raises:
        BackendError: it cannot be told.
    """
    instance, mark = cls.__new__(cls), object()
    setattr(instance, name, mark)
    words = (ctypes.c_int64 * ((cls.__basicsize__ - HEAD) // 8)).from_address(id(instance) + HEAD)
    found = [HEAD + 8 * k for k, word in enumerate(words) if word == id(mark)]
    if len(found) != 1:
        raise BackendError(f"where instances of {cls.__name__} keep {name!r} is not known")
    return found[0]
