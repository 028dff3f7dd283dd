"""The text of ``x[i]`` of a known array, with what ``calls.eager_text`` defines: one element of a vector at once, the rest by NumPy."""

from __future__ import annotations

from string import Template

__all__ = ["GETITEM_TEXT"]

_ELEMENT = """
; One element of a vector, copied into an array of no dimensions; null where NumPy is to be asked.
define internal ptr @element(ptr %spec, ptr %buffer, ptr %key) {
entry:
  %overflow = alloca i32
  %ndim.p = getelementptr i8, ptr %buffer, i64 $ndim
  %ndim = load i32, ptr %ndim.p
  %vector = icmp eq i32 %ndim, 1
  br i1 %vector, label %index, label %no
index:
  %as_number = call ptr @word(ptr %spec, i64 $PyLong_AsLongLongAndOverflow)
  %i = call i64 %as_number(ptr %key, ptr %overflow)
  %lost = load i32, ptr %overflow
  %exact = icmp eq i32 %lost, 0
  %dims = call ptr @field(ptr %buffer, i64 $dims)
  %size = load i64, ptr %dims
  %negative = icmp slt i64 %i, 0
  %from_end = add i64 %i, %size
  %at = select i1 %negative, i64 %from_end, i64 %i
  %inside = icmp ult i64 %at, %size
  %good = and i1 %exact, %inside
  br i1 %good, label %type, label %no
type:
  %descr = call ptr @field(ptr %buffer, i64 $descr)
  %n = call i64 @number(ptr %spec, i64 $n_dtypes)
  %place = call i64 @find(ptr %spec, ptr %descr, i64 $dtypes, i64 %n)
  %known = icmp sge i64 %place, 0
  br i1 %known, label %make, label %no
make:
  %behind = add i64 %place, %n
  %bytes.at = add i64 %behind, $dtypes
  %bytes = call i64 @number(ptr %spec, i64 %bytes.at)
  %strides = call ptr @field(ptr %buffer, i64 $strides)
  %stride = load i64, ptr %strides
  %distance = mul i64 %at, %stride
  call void @keep(ptr %spec, ptr %descr)
  %new = call ptr @word(ptr %spec, i64 $new_array)
  %ndarray = call ptr @word(ptr %spec, i64 $ndarray)
  %out = call ptr %new(ptr %ndarray, ptr %descr, i32 0, ptr null, ptr null, ptr null, i32 0, ptr null)
  %failed = icmp eq ptr %out, null
  br i1 %failed, label %clear, label %copy
copy:
  %data = call ptr @field(ptr %buffer, i64 $data)
  %from = getelementptr i8, ptr %data, i64 %distance
  %to = call ptr @field(ptr %out, i64 $data)
  switch i64 %bytes, label %bytes1 [
    i64 2, label %bytes2
    i64 4, label %bytes4
    i64 8, label %bytes8
    i64 16, label %bytes16
  ]
@copies@
clear:
  %forget = call ptr @word(ptr %spec, i64 $PyErr_Clear)
  call void %forget()
  br label %no
no:
  ret ptr null
}
"""

_COPY = """bytes$bytes:
  %value$bytes = load $type, ptr %from, align 1
  store $type %value$bytes, ptr %to, align 1
  ret ptr %out"""

_SLOT = """
; Whether NumPy takes a tuple of indices as it is: of ints, slices, None and Ellipsis.
define internal i1 @static_index(ptr %spec, ptr %key) {
entry:
  %n.p = getelementptr i8, ptr %key, i64 $head
  %n = load i64, ptr %n.p
  %items = getelementptr i8, ptr %key, i64 $items
  %none = call ptr @word(ptr %spec, i64 $none)
  %ellipsis = call ptr @word(ptr %spec, i64 $ellipsis)
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %look ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %look, label %yes
look:
  %item.p = getelementptr ptr, ptr %items, i64 %k
  %item = load ptr, ptr %item.p
  %is_int = call i1 @is_a(ptr %spec, ptr %item, i64 $int)
  %is_slice = call i1 @is_a(ptr %spec, ptr %item, i64 $slice)
  %is_none = icmp eq ptr %item, %none
  %is_ellipsis = icmp eq ptr %item, %ellipsis
  %a = or i1 %is_int, %is_slice
  %b = or i1 %is_none, %is_ellipsis
  %plain = or i1 %a, %b
  %k.next = add i64 %k, 1
  br i1 %plain, label %loop, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

define ptr @fx_getitem(ptr %x, ptr %key) {
entry:
  %args = alloca [2 x ptr]
  %weak.p = alloca i1
  %spec = call ptr @slot(i64 $slot)
  %buffer = call ptr @operand(ptr %spec, ptr %x, ptr %weak.p)
  %gone = icmp eq ptr %buffer, null
  br i1 %gone, label %other, label %kind
kind:
  %is_int = call i1 @is_a(ptr %spec, ptr %key, i64 $int)
  br i1 %is_int, label %integer, label %not_int
not_int:
  %is_slice = call i1 @is_a(ptr %spec, ptr %key, i64 $slice)
  br i1 %is_slice, label %ask, label %not_slice
not_slice:
  %is_tuple = call i1 @is_a(ptr %spec, ptr %key, i64 $tuple)
  %calm = call i1 @calm(ptr %spec)
  %several = and i1 %is_tuple, %calm
  br i1 %several, label %look, label %other
look:
  %static = call i1 @static_index(ptr %spec, ptr %key)
  br i1 %static, label %ask, label %other
integer:
  %element = call ptr @element(ptr %spec, ptr %buffer, ptr %key)
  %unmade = icmp eq ptr %element, null
  br i1 %unmade, label %ask, label %done
ask:
  %get = call ptr @word(ptr %spec, i64 $PyObject_GetItem)
  call void @keep(ptr %spec, ptr %buffer)
  %part = call ptr %get(ptr %buffer, ptr %key)
  call void @drop(ptr %spec, ptr %buffer)
  %refused = icmp eq ptr %part, null
  br i1 %refused, label %clear, label %convert
convert:
  %array = call ptr @as_ndarray(ptr %spec, ptr %part)
  %lost = icmp eq ptr %array, null
  br i1 %lost, label %clear, label %done
done:
  %found = phi ptr [ %element, %integer ], [ %array, %convert ]
  %weak = load i1, ptr %weak.p
  %result = call ptr @wrap(ptr %spec, ptr %found, i1 %weak, i1 false)
  ret ptr %result
clear:
  %forget = call ptr @word(ptr %spec, i64 $PyErr_Clear)
  call void %forget()
  br label %other
other:
  %second = getelementptr ptr, ptr %args, i64 1
  store ptr %x, ptr %args
  store ptr %key, ptr %second
  %answer = call ptr @fall_back(ptr %spec, ptr %args, i64 2)
  ret ptr %answer
}
"""

_COPIES = "\n".join(Template(_COPY).substitute(bytes=n, type=f"i{8 * n}") for n in (1, 2, 4, 8, 16))
GETITEM_TEXT = _ELEMENT.replace("@copies@", _COPIES) + _SLOT
