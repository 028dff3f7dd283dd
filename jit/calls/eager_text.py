"""The text of ``eager``: LLVM IR that takes operands apart, applies a NumPy function, and wraps the result.

A *specification* is an array of words: ``WORDS`` by their numbers, and behind them dtypes, by the addresses of their objects.
What is not expected goes to the fallback of the specification, a Python callable, with the same arguments.

A function in a slot of a type (``SLOTS``) is not told which one it is in, and finds its specification in ``@slots``.
"""

from __future__ import annotations

import ctypes
from string import Template

from .builtins import INCREF, LAYOUT
from .getitem_text import GETITEM_TEXT

__all__ = [
    "BINARY",
    "COMPARE",
    "C_FUNCTIONS",
    "ENTRIES",
    "NAMES",
    "SLOTS",
    "UNARY",
    "VECTORCALL",
    "WORDS",
    "eager_text",
]

C_FUNCTIONS = (
    "PyContext_Enter", "PyContext_Exit", "PyErr_Clear", "Py_IncRef", "Py_DecRef", "PyType_GenericAlloc", "PyObject_GetItem",
    "PyLong_AsLongLongAndOverflow",
)  # fmt: skip
VECTORCALL = "PyObject_Vectorcall" if hasattr(ctypes.pythonapi, "PyObject_Vectorcall") else "_PyObject_Vectorcall"
WORDS = (
    "array_type", "ndarray", "plain", "buffer", "weak", "owned", "alert", "true", "false", "none", "bool", "as_array", "context",
    "int", "float", "slice", "tuple", "ellipsis", "new_array", "vectorcall", *C_FUNCTIONS,
    "function", "fallback", "n_operands", "n_dtypes", "n_ints", "n_floats",
)  # fmt: skip
"""Words of a specification.  ``buffer``, ``weak`` and ``owned`` are offsets of slots of arrays; ``plain`` is
the type of other operands, or zero.  Behind them stand
``n_dtypes`` dtypes that the function takes, ``n_ints`` and ``n_floats`` beside which a Python number may stand (for
``__getitem__``: the bytes of an element of each dtype)."""

BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "matmul", "and", "or", "xor", "lshift", "rshift")
COMPARE = ("lt", "le", "eq", "ne", "gt", "ge")  # in the order of CPython's numbers of comparisons
UNARY = ("neg", "abs", "invert")
SLOTS = (*BINARY, *COMPARE, *UNARY, "getitem", "call")
ENTRIES = (
    "fx_slots", "fx_wrap_strong", "fx_wrap_weak", *(f"fx_{name}" for name in (*BINARY, *UNARY)), "fx_compare", "fx_getitem", "fx_call",
    "fx_launch",
)  # fmt: skip

_OBJECTS = """
@slots = internal global [$n_slots x ptr] zeroinitializer

define ptr @fx_slots() {
  ret ptr @slots
}

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

define internal i1 @is_a(ptr %spec, ptr %object, i64 %k) alwaysinline {
  %its = call ptr @field(ptr %object, i64 $type)
  %wanted = call ptr @word(ptr %spec, i64 %k)
  %same = icmp eq ptr %its, %wanted
  ret i1 %same
}

define internal ptr @spec_of(ptr %holder) alwaysinline {
  %spec = call ptr @field(ptr %holder, i64 $data)
  ret ptr %spec
}

define internal ptr @slot(i64 %k) alwaysinline {
  %at = getelementptr ptr, ptr @slots, i64 %k
  %spec = load ptr, ptr %at
  ret ptr %spec
}

; Whether nothing keeps operations from being evaluated at once.
define internal i1 @calm(ptr %spec) alwaysinline {
  %alert = call ptr @word(ptr %spec, i64 $alert)
  %length = call ptr @field(ptr %alert, i64 $head)
  %empty = icmp eq ptr %length, null
  ret i1 %empty
}

; The place of a word among n of a specification, or -1.
define internal i64 @find(ptr %spec, ptr %what, i64 %first, i64 %n) {
entry:
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %next ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %look, label %no
look:
  %at = add i64 %k, %first
  %one = call ptr @word(ptr %spec, i64 %at)
  %same = icmp eq ptr %one, %what
  br i1 %same, label %yes, label %next
next:
  %k.next = add i64 %k, 1
  br label %loop
yes:
  ret i64 %k
no:
  ret i64 -1
}

; The buffer of an operand, or null; whether it is weak.
define internal ptr @operand(ptr %spec, ptr %x, ptr %weak) alwaysinline {
entry:
  %ours = call i1 @is_a(ptr %spec, ptr %x, i64 $array_type)
  br i1 %ours, label %wrapped, label %other
other:
  store i1 false, ptr %weak
  %plain = call i1 @is_a(ptr %spec, ptr %x, i64 $plain)
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
  %is_ndarray = call i1 @is_a(ptr %spec, ptr %buffer, i64 $ndarray)
  %good = and i1 %said, %is_ndarray
  %answer = select i1 %good, ptr %buffer, ptr null
  ret ptr %answer
no:
  ret ptr null
}

; Whether a Python number may stand beside an array of a dtype as it is: NumPy makes it one of that dtype.
define internal i1 @stands_beside(ptr %spec, ptr %x, ptr %descr) {
entry:
  %overflow = alloca i32
  %first = call i64 @number(ptr %spec, i64 $n_dtypes)
  %ints.at = add i64 %first, $dtypes
  %ints = call i64 @number(ptr %spec, i64 $n_ints)
  %is_float = call i1 @is_a(ptr %spec, ptr %x, i64 $float)
  br i1 %is_float, label %real, label %whole
real:
  %value.p = getelementptr i8, ptr %x, i64 $head
  %value = load double, ptr %value.p
  %below = fcmp olt double %value, 3.0e38
  %above = fcmp ogt double %value, -3.0e38
  %moderate = and i1 %below, %above
  %floats.at = add i64 %ints.at, %ints
  %floats = call i64 @number(ptr %spec, i64 $n_floats)
  br i1 %moderate, label %look, label %no
whole:
  %is_int = call i1 @is_a(ptr %spec, ptr %x, i64 $int)
  br i1 %is_int, label %convert, label %no
convert:
  %as_number = call ptr @word(ptr %spec, i64 $PyLong_AsLongLongAndOverflow)
  %n = call i64 %as_number(ptr %x, ptr %overflow)
  %lost = load i32, ptr %overflow
  %exact = icmp eq i32 %lost, 0
  %narrow = trunc i64 %n to i32
  %wide = sext i32 %narrow to i64
  %small = icmp eq i64 %wide, %n
  %good = and i1 %exact, %small
  br i1 %good, label %look, label %no
look:
  %at = phi i64 [ %floats.at, %real ], [ %ints.at, %convert ]
  %count = phi i64 [ %floats, %real ], [ %ints, %convert ]
  %place = call i64 @find(ptr %spec, ptr %descr, i64 %at, i64 %count)
  %found = icmp sge i64 %place, 0
  ret i1 %found
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

define internal ptr @call(ptr %spec, ptr %f, ptr %args, i64 %n) alwaysinline {
  %vectorcall = call ptr @word(ptr %spec, i64 $vectorcall)
  %result = call ptr %vectorcall(ptr %f, ptr %args, i64 %n, ptr null)
  ret ptr %result
}

define internal ptr @fall_back(ptr %spec, ptr %args, i64 %n) {
  %f = call ptr @word(ptr %spec, i64 $fallback)
  %result = call ptr @call(ptr %spec, ptr %f, ptr %args, i64 %n)
  ret ptr %result
}

; A result of NumPy, whose reference it takes over, as an ndarray; null with an exception.
define internal ptr @as_ndarray(ptr %spec, ptr %out) {
entry:
  %is_array = call i1 @is_a(ptr %spec, ptr %out, i64 $ndarray)
  br i1 %is_array, label %done, label %scalar
done:
  ret ptr %out
scalar:
  %place = alloca ptr
  store ptr %out, ptr %place
  %as_array = call ptr @word(ptr %spec, i64 $as_array)
  %made = call ptr @call(ptr %spec, ptr %as_array, ptr %place, i64 1)
  call void @drop(ptr %spec, ptr %out)
  ret ptr %made
}

; The function on operands, with NumPy's warnings off; null, and no exception, where that did not work.
define internal ptr @apply(ptr %spec, ptr %operands, i64 %n) {
entry:
  %enter = call ptr @word(ptr %spec, i64 $PyContext_Enter)
  %leave = call ptr @word(ptr %spec, i64 $PyContext_Exit)
  %clear = call ptr @word(ptr %spec, i64 $PyErr_Clear)
  %context = call ptr @word(ptr %spec, i64 $context)
  %rc = call i32 %enter(ptr %context)
  %entered = icmp eq i32 %rc, 0
  br i1 %entered, label %inside, label %fail
inside:
  %f = call ptr @word(ptr %spec, i64 $function)
  %out = call ptr @call(ptr %spec, ptr %f, ptr %operands, i64 %n)
  %rc2 = call i32 %leave(ptr %context)
  %raised = icmp eq ptr %out, null
  br i1 %raised, label %fail, label %look
look:
  %array = call ptr @as_ndarray(ptr %spec, ptr %out)
  %unmade = icmp eq ptr %array, null
  br i1 %unmade, label %fail, label %done
done:
  ret ptr %array
fail:
  call void %clear()
  ret ptr null
}

; The result as an array object: weak if the operands are, and it is no boolean.
define internal ptr @wrap_result(ptr %spec, ptr %out, i1 %weak) alwaysinline {
  %descr = call ptr @field(ptr %out, i64 $descr)
  %bool = call ptr @word(ptr %spec, i64 $bool)
  %is_number = icmp ne ptr %descr, %bool
  %is_weak = and i1 %is_number, %weak
  %array = call ptr @wrap(ptr %spec, ptr %out, i1 %is_weak, i1 false)
  ret ptr %array
}

define internal i1 @takes(ptr %spec, ptr %descr) alwaysinline {
  %n = call i64 @number(ptr %spec, i64 $n_dtypes)
  %place = call i64 @find(ptr %spec, ptr %descr, i64 $dtypes, i64 %n)
  %found = icmp sge i64 %place, 0
  ret i1 %found
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

_OPERATIONS = """
define internal ptr @unary(ptr %spec, ptr %args) {
entry:
  %weak.p = alloca i1
  %place = alloca ptr
  %calm = call i1 @calm(ptr %spec)
  br i1 %calm, label %operand, label %other
operand:
  %x = load ptr, ptr %args
  %b = call ptr @operand(ptr %spec, ptr %x, ptr %weak.p)
  %none = icmp eq ptr %b, null
  br i1 %none, label %other, label %array
array:
  %descr = call ptr @field(ptr %b, i64 $descr)
  %known = call i1 @takes(ptr %spec, ptr %descr)
  br i1 %known, label %run, label %other
run:
  store ptr %b, ptr %place
  call void @keep(ptr %spec, ptr %b)
  %out = call ptr @apply(ptr %spec, ptr %place, i64 1)
  call void @drop(ptr %spec, ptr %b)
  %failed = icmp eq ptr %out, null
  br i1 %failed, label %other, label %done
done:
  %weak = load i1, ptr %weak.p
  %array.out = call ptr @wrap_result(ptr %spec, ptr %out, i1 %weak)
  ret ptr %array.out
other:
  %answer = call ptr @fall_back(ptr %spec, ptr %args, i64 1)
  ret ptr %answer
}

; Two arrays of one dtype, or an array and a Python number.
define internal ptr @binary(ptr %spec, ptr %args) {
entry:
  %operands = alloca [2 x ptr]
  %weak0.p = alloca i1
  %weak1.p = alloca i1
  %calm = call i1 @calm(ptr %spec)
  br i1 %calm, label %look, label %other
look:
  %x1.p = getelementptr ptr, ptr %args, i64 1
  %x0 = load ptr, ptr %args
  %x1 = load ptr, ptr %x1.p
  %b0 = call ptr @operand(ptr %spec, ptr %x0, ptr %weak0.p)
  %b1 = call ptr @operand(ptr %spec, ptr %x1, ptr %weak1.p)
  %weak0 = load i1, ptr %weak0.p
  %weak1 = load i1, ptr %weak1.p
  %has0 = icmp ne ptr %b0, null
  %has1 = icmp ne ptr %b1, null
  %both = and i1 %has0, %has1
  br i1 %both, label %arrays, label %one
arrays:
  %descr0 = call ptr @field(ptr %b0, i64 $descr)
  %descr1 = call ptr @field(ptr %b1, i64 $descr)
  %same = icmp eq ptr %descr0, %descr1
  br i1 %same, label %ready, label %other
one:
  %some = or i1 %has0, %has1
  %array_weak = select i1 %has0, i1 %weak0, i1 %weak1
  %strong = xor i1 %array_weak, true
  %usual = and i1 %some, %strong
  br i1 %usual, label %number, label %other
number:
  %array = select i1 %has0, ptr %b0, ptr %b1
  %scalar = select i1 %has0, ptr %x1, ptr %x0
  %descr = call ptr @field(ptr %array, i64 $descr)
  %stands = call i1 @stands_beside(ptr %spec, ptr %scalar, ptr %descr)
  br i1 %stands, label %ready, label %other
ready:
  %joint = phi ptr [ %descr0, %arrays ], [ %descr, %number ]
  %known = call i1 @takes(ptr %spec, ptr %joint)
  br i1 %known, label %run, label %other
run:
  %o0 = select i1 %has0, ptr %b0, ptr %x0
  %o1 = select i1 %has1, ptr %b1, ptr %x1
  %second = getelementptr ptr, ptr %operands, i64 1
  store ptr %o0, ptr %operands
  store ptr %o1, ptr %second
  call void @keep(ptr %spec, ptr %o0)
  call void @keep(ptr %spec, ptr %o1)
  %out = call ptr @apply(ptr %spec, ptr %operands, i64 2)
  call void @drop(ptr %spec, ptr %o0)
  call void @drop(ptr %spec, ptr %o1)
  %failed = icmp eq ptr %out, null
  br i1 %failed, label %other, label %done
done:
  %weak = and i1 %weak0, %weak1
  %result = call ptr @wrap_result(ptr %spec, ptr %out, i1 %weak)
  ret ptr %result
other:
  %answer = call ptr @fall_back(ptr %spec, ptr %args, i64 2)
  ret ptr %answer
}

define internal ptr @in_slot(i64 %k, ptr %x, ptr %y) {
  %args = alloca [2 x ptr]
  %second = getelementptr ptr, ptr %args, i64 1
  store ptr %x, ptr %args
  store ptr %y, ptr %second
  %spec = call ptr @slot(i64 %k)
  %result = call ptr @binary(ptr %spec, ptr %args)
  ret ptr %result
}

define ptr @fx_compare(ptr %x, ptr %y, i32 %which) {
  %wide = zext i32 %which to i64
  %k = add i64 %wide, $compare
  %result = call ptr @in_slot(i64 %k, ptr %x, ptr %y)
  ret ptr %result
}

; A ufunc: its specification is in a slot of the object.  With options, or another number of operands, the general way.
define ptr @fx_call(ptr %self, ptr %args, ptr %options) {
entry:
  %given = alloca [3 x ptr]
  %general = call ptr @slot(i64 $call)
  %offset = call i64 @number(ptr %general, i64 $n_operands)
  %holder = call ptr @field(ptr %self, i64 %offset)
  %unset = icmp eq ptr %holder, null
  %optional = icmp ne ptr %options, null
  %unusual = or i1 %unset, %optional
  br i1 %unusual, label %other, label %look
look:
  %spec = call ptr @spec_of(ptr %holder)
  %n.p = getelementptr i8, ptr %args, i64 $head
  %items = getelementptr i8, ptr %args, i64 $items
  %n = load i64, ptr %n.p
  %wanted = call i64 @number(ptr %spec, i64 $n_operands)
  %fits = icmp eq i64 %n, %wanted
  br i1 %fits, label %choose, label %other
choose:
  switch i64 %n, label %other [
    i64 1, label %one
    i64 2, label %two
  ]
one:
  %first = call ptr @unary(ptr %spec, ptr %items)
  ret ptr %first
two:
  %second = call ptr @binary(ptr %spec, ptr %items)
  ret ptr %second
other:
  %none = call ptr @word(ptr %general, i64 $none)
  %with = select i1 %optional, ptr %options, ptr %none
  %given1 = getelementptr ptr, ptr %given, i64 1
  %given2 = getelementptr ptr, ptr %given, i64 2
  store ptr %self, ptr %given
  store ptr %args, ptr %given1
  store ptr %with, ptr %given2
  %answer = call ptr @fall_back(ptr %general, ptr %given, i64 3)
  ret ptr %answer
}
"""

_BINARY_SLOT = """
define ptr @fx_$name(ptr %x, ptr %y) {
  %result = call ptr @in_slot(i64 $slot, ptr %x, ptr %y)
  ret ptr %result
}
"""

_UNARY_SLOT = """
define ptr @fx_$name(ptr %x) {
  %args = alloca ptr
  store ptr %x, ptr %args
  %spec = call ptr @slot(i64 $slot)
  %result = call ptr @unary(ptr %spec, ptr %args)
  ret ptr %result
}
"""

NAMES: dict[str, object] = {**LAYOUT, **{name: k for k, name in enumerate(WORDS)}, "dtypes": len(WORDS)}
"""What the texts know by name: offsets in objects, and places in specifications."""


def eager_text() -> str:
    """The module."""
    names = {**NAMES, "n_slots": len(SLOTS), "compare": SLOTS.index(COMPARE[0]), "call": SLOTS.index("call")}
    names.update(incref_weak=INCREF.substitute(object="weak"), incref_owned=INCREF.substitute(object="owned"))
    parts = [(_OBJECTS, ""), (_OPERATIONS, ""), (GETITEM_TEXT, "getitem")]
    parts += [(_BINARY_SLOT, name) for name in BINARY] + [(_UNARY_SLOT, name) for name in UNARY]
    slots = {name: k for k, name in enumerate(SLOTS)}
    return "".join(Template(text).substitute(names, name=name, slot=slots.get(name, "")) for text, name in parts)
