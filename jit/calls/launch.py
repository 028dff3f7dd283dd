"""A compiled program called with arrays of the library, in one native function from its arguments to its results.

``launch(*leaves)`` looks at every leaf - an array object of the wanted weakness, or an ndarray, of exactly the wanted dtype and
shape, whose memory kernels can take as it is - makes the arrays for the results, runs the program and wraps what it made:
an array object, or a tuple of them where they are several.  Where a leaf is not what is wanted, or the program runs in another
thread, it does nothing and returns None.

An array that is *given*, for the program to overwrite, loses its buffer.  Nobody else may see that memory: the array owns it, and
the only references to the buffer, and to the base of that, are the array's.  So it overlaps no other argument either.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from enum import IntEnum
from string import Template
from typing import Any

import numpy as np

from ..assembly import Assembly
from ..executable import Executable
from ..memory import BYTE, give_arena, padded, take_arena
from ..threads import runtime
from .border import CARRAY, WRITEABLE
from .builtins import address_in_python, bind, define
from .eager_text import NAMES, WORDS
from .result_pool import native_pool
from .results import FRESH_TEXT

__all__ = ["LAUNCH_TEXT", "Leaf", "launcher"]


class Leaf(IntEnum):
    """What an input of a program is given as."""

    STRONG = 0  # array objects
    WEAK = 1
    NDARRAY = 2
    FIXED = 3  # no argument: always the same array


_FUNCTIONS = ("PyTuple_New", "PyTuple_SetItem")
_OWN = (
    "run", "program", "byte", "pool", *_FUNCTIONS, "n_arguments", "n_inputs", "n_makes", "n_outputs", "n_given", "n_pointers", "outputs_at", "given_at",
)  # fmt: skip
# behind them for each input: Leaf, the fixed array, dtype, ndim, its dimensions; for each array that is made: dtype, ndim, ``memory.padded``,
# its dimensions; for each result: weak, its place among inputs and arrays made; then the numbers of the arguments that are given

_TEXT = """
; Whether an ndarray can be handed to kernels as it is: a row of a specification tells dtype, ndim and dimensions.
define internal i1 @suits(ptr %array, ptr %row) alwaysinline {
entry:
  %descr = call ptr @field(ptr %array, i64 $descr)
  %descr.wanted = load ptr, ptr %row
  %same = icmp eq ptr %descr, %descr.wanted
  %flags.p = getelementptr i8, ptr %array, i64 $flags
  %flags = load i32, ptr %flags.p
  %masked = and i32 %flags, $carray
  %dense = icmp eq i32 %masked, $carray
  %ndim.p = getelementptr i8, ptr %array, i64 $ndim
  %ndim = load i32, ptr %ndim.p
  %rank = zext i32 %ndim to i64
  %rank.wanted = call i64 @number(ptr %row, i64 1)
  %ranked = icmp eq i64 %rank, %rank.wanted
  %a = and i1 %same, %dense
  %b = and i1 %a, %ranked
  %dims = call ptr @field(ptr %array, i64 $dims)
  %dims.wanted = getelementptr i64, ptr %row, i64 2
  br i1 %b, label %loop, label %no
loop:
  %d = phi i64 [ 0, %entry ], [ %d.next, %size ]
  %more = icmp slt i64 %d, %rank
  br i1 %more, label %size, label %yes
size:
  %found = call i64 @number(ptr %dims, i64 %d)
  %wanted = call i64 @number(ptr %dims.wanted, i64 %d)
  %equal = icmp eq i64 %found, %wanted
  %d.next = add i64 %d, 1
  br i1 %equal, label %loop, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

define internal void @drop_all(ptr %spec, ptr %arrays, i64 %n) {
entry:
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %one ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %one, label %done
one:
  %array = call ptr @word(ptr %arrays, i64 %k)
  call void @drop(ptr %spec, ptr %array)
  %k.next = add i64 %k, 1
  br label %loop
done:
  ret void
}

; Takes the arguments apart into %arrays, and holds them; the row behind the inputs, or null where one is not what is wanted.
define internal ptr @take(ptr %spec, ptr %args, ptr %arrays) {
entry:
  %n = call i64 @number(ptr %spec, i64 $n_inputs)
  %first = getelementptr ptr, ptr %spec, i64 $rows
  %array_type = call ptr @word(ptr %spec, i64 $array_type)
  %ndarray = call ptr @word(ptr %spec, i64 $ndarray)
  %buffer_at = call i64 @number(ptr %spec, i64 $buffer)
  %weak_at = call i64 @number(ptr %spec, i64 $weak)
  %true = call ptr @word(ptr %spec, i64 $true)
  %false = call ptr @word(ptr %spec, i64 $false)
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %put ]
  %row = phi ptr [ %first, %entry ], [ %row.next, %put ]
  %arg.p = phi ptr [ %args, %entry ], [ %arg.next, %put ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %one, label %done
one:
  %kind = load i64, ptr %row
  %type.row = getelementptr ptr, ptr %row, i64 2
  switch i64 %kind, label %object [
    i64 $ndarray_leaf, label %plain
    i64 $fixed_leaf, label %fixed
  ]
fixed:
  %given = call ptr @word(ptr %row, i64 1)
  br label %put
plain:
  %itself = load ptr, ptr %arg.p
  br label %check
object:
  %x = load ptr, ptr %arg.p
  %its_type = call ptr @field(ptr %x, i64 $type)
  %ours = icmp eq ptr %its_type, %array_type
  br i1 %ours, label %open, label %no
open:
  %its_weak = call ptr @field(ptr %x, i64 %weak_at)
  %is_weak = icmp eq i64 %kind, $weak_leaf
  %weak.wanted = select i1 %is_weak, ptr %true, ptr %false
  %as_weak = icmp eq ptr %its_weak, %weak.wanted
  %inner = call ptr @field(ptr %x, i64 %buffer_at)
  %there = icmp ne ptr %inner, null
  %good = and i1 %as_weak, %there
  br i1 %good, label %check, label %no
check:
  %array = phi ptr [ %itself, %plain ], [ %inner, %open ]
  %array.type = call ptr @field(ptr %array, i64 $type)
  %is_array = icmp eq ptr %array.type, %ndarray
  br i1 %is_array, label %look, label %no
look:
  %fits = call i1 @suits(ptr %array, ptr %type.row)
  br i1 %fits, label %taken, label %no
taken:
  br label %put
put:
  %found = phi ptr [ %given, %fixed ], [ %array, %taken ]
  %used = phi i64 [ 0, %fixed ], [ 1, %taken ]
  %place = getelementptr ptr, ptr %arrays, i64 %k
  store ptr %found, ptr %place
  call void @keep(ptr %spec, ptr %found)
  %arg.next = getelementptr ptr, ptr %arg.p, i64 %used
  %ndim = call i64 @number(ptr %type.row, i64 1)
  %length = add i64 %ndim, 4
  %row.next = getelementptr ptr, ptr %row, i64 %length
  %k.next = add i64 %k, 1
  br label %loop
no:
  call void @drop_all(ptr %spec, ptr %arrays, i64 %k)
  ret ptr null
done:
  ret ptr %row
}

; Whether the arguments that are given may be overwritten: each is held by its array object and by %arrays alone.
define internal i1 @free(ptr %spec, ptr %args, ptr %arrays) {
entry:
  %n = call i64 @number(ptr %spec, i64 $n_given)
  %at = call i64 @number(ptr %spec, i64 $given_at)
  %owned_at = call i64 @number(ptr %spec, i64 $owned)
  %true = call ptr @word(ptr %spec, i64 $true)
  %given = getelementptr i64, ptr %spec, i64 %at
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %next ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %one, label %yes
one:
  %number = call i64 @number(ptr %given, i64 %k)
  %x = call ptr @word(ptr %args, i64 %number)
  %array = call ptr @word(ptr %arrays, i64 %number)
  %its_owned = call ptr @field(ptr %x, i64 %owned_at)
  %is_owned = icmp eq ptr %its_owned, %true
  %references.p = getelementptr i8, ptr %array, i64 $count
  %references = load i32, ptr %references.p
  %alone = icmp eq i32 %references, 2
  %flags.p = getelementptr i8, ptr %array, i64 $flags
  %flags = load i32, ptr %flags.p
  %writeable = and i32 %flags, $writeable
  %may_write = icmp ne i32 %writeable, 0
  %a = and i1 %is_owned, %alone
  %b = and i1 %a, %may_write
  br i1 %b, label %below, label %no
below:
  %base = call ptr @field(ptr %array, i64 $base)
  %itself = icmp eq ptr %base, null
  br i1 %itself, label %next, label %held
held:
  %base.references.p = getelementptr i8, ptr %base, i64 $count
  %base.references = load i32, ptr %base.references.p
  %base.alone = icmp eq i32 %base.references, 1
  br i1 %base.alone, label %next, label %no
next:
  %k.next = add i64 %k, 1
  br label %loop
yes:
  ret i1 true
no:
  ret i1 false
}

; Takes their buffers away from the arguments that are given.
define internal void @give_up(ptr %spec, ptr %args, ptr %arrays) {
entry:
  %n = call i64 @number(ptr %spec, i64 $n_given)
  %at = call i64 @number(ptr %spec, i64 $given_at)
  %buffer_at = call i64 @number(ptr %spec, i64 $buffer)
  %none = call ptr @word(ptr %spec, i64 $none)
  %given = getelementptr i64, ptr %spec, i64 %at
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %one ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %one, label %done
one:
  %number = call i64 @number(ptr %given, i64 %k)
  %x = call ptr @word(ptr %args, i64 %number)
  %array = call ptr @word(ptr %arrays, i64 %number)
  %place = getelementptr i8, ptr %x, i64 %buffer_at
  call void @keep(ptr %spec, ptr %none)
  store ptr %none, ptr %place
  call void @drop(ptr %spec, ptr %array)
  %k.next = add i64 %k, 1
  br label %loop
done:
  ret void
}

; Fresh arrays for the results; false with an exception.
define internal i1 @make(ptr %spec, ptr %first, ptr %arrays, i64 %n) {
entry:
  %new = call ptr @word(ptr %spec, i64 $new_array)
  %ndarray = call ptr @word(ptr %spec, i64 $ndarray)
  %byte = call ptr @word(ptr %spec, i64 $byte)
  %pool = call ptr @word(ptr %spec, i64 $pool)
  %keep = call ptr @word(ptr %spec, i64 $Py_IncRef)
  %drop = call ptr @word(ptr %spec, i64 $Py_DecRef)
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %put ]
  %row = phi ptr [ %first, %entry ], [ %row.next, %put ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %one, label %done
one:
  %descr = call ptr @word(ptr %row, i64 0)
  %ndim = call i64 @number(ptr %row, i64 1)
  %bytes.p = getelementptr i64, ptr %row, i64 2
  %dims = getelementptr i64, ptr %row, i64 3
  %array = call ptr @fx_fresh(
    ptr %new, ptr %ndarray, ptr %keep, ptr %drop, ptr %byte, ptr %pool, ptr %descr, i64 %ndim,
    ptr %bytes.p)
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %lost, label %put
put:
  %place = getelementptr ptr, ptr %arrays, i64 %k
  store ptr %array, ptr %place
  %row.next = getelementptr i64, ptr %dims, i64 %ndim
  %k.next = add i64 %k, 1
  br label %loop
lost:
  call void @drop_all(ptr %spec, ptr %arrays, i64 %k)
  ret i1 false
done:
  ret i1 true
}

; A result as an array object; null with an exception.  %row: weak, its place.
define internal ptr @result(ptr %spec, ptr %row, ptr %arrays) {
entry:
  %word = load i64, ptr %row
  %weak = icmp ne i64 %word, 0
  %place = call i64 @number(ptr %row, i64 1)
  %array = call ptr @word(ptr %arrays, i64 %place)
  call void @keep(ptr %spec, ptr %array)
  %object = call ptr @wrap(ptr %spec, ptr %array, i1 %weak, i1 true)
  ret ptr %object
}

; The results as array objects: one, or a tuple.  Null with an exception.
define internal ptr @results(ptr %spec, ptr %arrays) {
entry:
  %n = call i64 @number(ptr %spec, i64 $n_outputs)
  %at = call i64 @number(ptr %spec, i64 $outputs_at)
  %rows = getelementptr i64, ptr %spec, i64 %at
  %single = icmp eq i64 %n, 1
  br i1 %single, label %only, label %several
only:
  %object0 = call ptr @result(ptr %spec, ptr %rows, ptr %arrays)
  ret ptr %object0
several:
  %new = call ptr @word(ptr %spec, i64 $PyTuple_New)
  %set = call ptr @word(ptr %spec, i64 $PyTuple_SetItem)
  %tuple = call ptr %new(i64 %n)
  %none = icmp eq ptr %tuple, null
  br i1 %none, label %lost, label %loop
loop:
  %k = phi i64 [ 0, %several ], [ %k.next, %put ]
  %more = icmp slt i64 %k, %n
  br i1 %more, label %one, label %done
one:
  %row.at = shl i64 %k, 1
  %row = getelementptr i64, ptr %rows, i64 %row.at
  %k.next = add i64 %k, 1
  %object = call ptr @result(ptr %spec, ptr %row, ptr %arrays)
  %failed = icmp eq ptr %object, null
  br i1 %failed, label %broken, label %put
put:
  %rc = call i32 %set(ptr %tuple, i64 %k, ptr %object)
  br label %loop
broken:
  call void @drop(ptr %spec, ptr %tuple)
  br label %lost
lost:
  ret ptr null
done:
  ret ptr %tuple
}

define ptr @fx_launch(ptr %self, ptr %args, i64 %given) {
entry:
  %spec = call ptr @spec_of(ptr %self)
  %wanted = call i64 @number(ptr %spec, i64 $n_arguments)
  %counted = icmp eq i64 %given, %wanted
  %program = call ptr @word(ptr %spec, i64 $program)
  %record = call ptr @field(ptr %program, i64 $data)
  %busy = load atomic i64, ptr %record monotonic, align 8
  %free = icmp eq i64 %busy, 0
  %ready = and i1 %counted, %free
  %n_inputs = call i64 @number(ptr %spec, i64 $n_inputs)
  %n_makes = call i64 @number(ptr %spec, i64 $n_makes)
  %n_arrays = add i64 %n_inputs, %n_makes
  %n_pointers = call i64 @number(ptr %spec, i64 $n_pointers)
  %arrays = alloca ptr, i64 %n_pointers
  %made = getelementptr ptr, ptr %arrays, i64 %n_inputs
  br i1 %ready, label %inputs, label %miss
inputs:
  %rows = call ptr @take(ptr %spec, ptr %args, ptr %arrays)
  %unfit = icmp eq ptr %rows, null
  br i1 %unfit, label %miss, label %gifts
gifts:
  %may = call i1 @free(ptr %spec, ptr %args, ptr %arrays)
  br i1 %may, label %outputs, label %leave
leave:
  call void @drop_all(ptr %spec, ptr %arrays, i64 %n_inputs)
  br label %miss
outputs:
  %done = call i1 @make(ptr %spec, ptr %rows, ptr %made, i64 %n_makes)
  br i1 %done, label %go, label %fail
go:
  call void @give_up(ptr %spec, ptr %args, ptr %arrays)
  %shared = icmp sgt i64 %n_pointers, %n_arrays
  br i1 %shared, label %arena, label %start
arena:  ; the address of the arena is the last argument
  %last = sub i64 %wanted, 1
  %address = call ptr @word(ptr %args, i64 %last)
  %arena.p = getelementptr ptr, ptr %arrays, i64 %n_arrays
  store ptr %address, ptr %arena.p
  br label %start
start:
  %run = call ptr @word(ptr %spec, i64 $run)
  %ran = call ptr %run(ptr %program, ptr %arrays, i64 %n_pointers)
  %raised = icmp eq ptr %ran, null
  br i1 %raised, label %undo, label %well
undo:
  call void @drop_all(ptr %spec, ptr %made, i64 %n_makes)
  br label %fail
fail:
  call void @drop_all(ptr %spec, ptr %arrays, i64 %n_inputs)
  ret ptr null
well:
  call void @drop(ptr %spec, ptr %ran)
  %out = call ptr @results(ptr %spec, ptr %arrays)
  call void @drop_all(ptr %spec, ptr %arrays, i64 %n_arrays)
  ret ptr %out
miss:
  %none = call ptr @word(ptr %spec, i64 $none)
  call void @keep(ptr %spec, ptr %none)
  ret ptr %none
}
"""

LAUNCH_TEXT = FRESH_TEXT + Template(_TEXT).substitute(
    NAMES, **{name: len(WORDS) + k for k, name in enumerate(_OWN)}, rows=len(WORDS) + len(_OWN), carray=CARRAY,
    writeable=WRITEABLE,
    weak_leaf=Leaf.WEAK.value, ndarray_leaf=Leaf.NDARRAY.value, fixed_leaf=Leaf.FIXED.value,
)  # fmt: skip


def launcher(
    words: Sequence[int], entry: int, executable: Executable, leaves: Sequence[Leaf], fixed: Sequence[np.ndarray],
    weak: Sequence[bool], given: Sequence[int], keep: Any,
) -> Callable[..., Any] | None:  # fmt: skip
    """``launch(*arguments)``; None where the program has to be called in another way.

    Args:
        words: the first of a specification (``calls.eager_text.WORDS``).
        entry: the address of ``fx_launch``.
        leaves: of every input that is an argument, in order.
        fixed: the inputs behind them.
        weak: for each result, whether it is weak.
        given: the arguments, array objects, that may be overwritten.
        keep: objects that ``words`` names.
    """
    assembly = executable.assembly
    takes, makes = assembly.takes, assembly.makes
    places = _places(assembly, given)
    if places is None or any(leaves[k] not in (Leaf.STRONG, Leaf.WEAK) for k in given):
        return None
    dtypes = [np.dtype(d.type) for _, d in (*takes, *makes)]  # the objects that NumPy's arrays refer to
    rows: list[int] = []
    kinds, arrays = [*leaves, *[Leaf.FIXED] * len(fixed)], [*[None] * len(leaves), *fixed]
    for kind, array, (shape, _), dtype in zip(kinds, arrays, takes, dtypes[: len(takes)], strict=True):
        if array is not None and not (
            array.dtype is dtype and array.shape == shape and array.flags.num & CARRAY == CARRAY
        ):
            return None
        rows += [kind, id(array), id(dtype), len(shape), *shape]
    for (shape, _), dtype in zip(makes, dtypes[len(takes) :]):
        rows += [id(dtype), len(shape), padded(shape, dtype), *shape]
    outputs_at = len(words) + len(_OWN) + len(rows)
    rows += [x for row in zip(map(int, weak), places, strict=True) for x in row]
    program = executable.launched()
    own = {
        "run": runtime().run_address, "program": id(program.record), "byte": id(BYTE), "pool": native_pool(), **{f: address_in_python(f) for f in _FUNCTIONS},
        "n_arguments": len(leaves) + assembly.shared_arena, "n_inputs": len(takes), "n_makes": len(makes), "n_outputs": len(weak),
        "n_given": len(given), "n_pointers": assembly.n_arrays, "outputs_at": outputs_at, "given_at": outputs_at + 2 * len(weak),
    }  # fmt: skip
    spec = np.array([*words, *[own[name] for name in _OWN], *rows, *given], np.int64)
    launch = bind(_method(entry), spec, (keep, program, arrays, dtypes))
    return functools.partial(_in_arena, launch, assembly.arena_bytes) if assembly.shared_arena else launch


def _places(assembly: Assembly, given: Sequence[int]) -> list[int] | None:
    """For each result its place among the inputs and the arrays that are made; None where a call is more than a run on these."""
    kinds = {kind for kind, _ in assembly.outputs}
    if not kinds <= {"buffer", "donated"} or not set(assembly.overwritten) <= set(given):
        return None
    return [index + len(assembly.takes) * (kind == "buffer") for kind, index in assembly.outputs]  # type: ignore[operator]


def _in_arena(launch: Callable[..., Any], nbytes: int, *leaves: Any) -> Any:
    """``launch`` with a block for its working memory."""
    arena = take_arena(nbytes)
    try:
        return launch(*leaves, arena.address)
    finally:
        give_arena(arena)


@functools.cache
def _method(entry: int) -> int:
    return define("launch", entry, "launch(*leaves)\n--\n\nThe program's results for these arguments, or None.")
