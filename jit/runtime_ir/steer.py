"""Steps that steer: loops and branches among the steps of a program."""

from __future__ import annotations

__all__ = ["STEER"]

# The kinds of step that steer; see StepKind for their words.
STEER = """
define internal void @enter_step(ptr %step) {
entry:
  %table.p = getelementptr i64, ptr %step, i64 1
  %rows.p = getelementptr i64, ptr %step, i64 2
  %counter.p = getelementptr i64, ptr %step, i64 3
  %table = load ptr, ptr %table.p
  %rows = load i64, ptr %rows.p
  %counter = load ptr, ptr %counter.p
  store i64 0, ptr %counter
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %body ]
  %more = icmp slt i64 %k, %rows
  br i1 %more, label %body, label %done
body:
  %at = shl i64 %k, 1
  %row = getelementptr i64, ptr %table, i64 %at
  %home.p = getelementptr i64, ptr %row, i64 1
  %slot = load ptr, ptr %row
  %home = load ptr, ptr %home.p
  %value = load i64, ptr %home
  store i64 %value, ptr %slot
  %k.next = add i64 %k, 1
  br label %loop
done:
  ret void
}

; Whether the loop goes on.
define internal i1 @repeat_step(ptr %step) {
entry:
  %table.p = getelementptr i64, ptr %step, i64 1
  %adds.p = getelementptr i64, ptr %step, i64 2
  %swaps.p = getelementptr i64, ptr %step, i64 3
  %table = load ptr, ptr %table.p
  %adds = load i64, ptr %adds.p
  %swaps = load i64, ptr %swaps.p
  %past = shl i64 %adds, 1
  %second = getelementptr i64, ptr %table, i64 %past
  br label %adding
adding:
  %j = phi i64 [ 0, %entry ], [ %j.next, %add ]
  %more.adds = icmp slt i64 %j, %adds
  br i1 %more.adds, label %add, label %swapping
add:
  %at.add = shl i64 %j, 1
  %row.add = getelementptr i64, ptr %table, i64 %at.add
  %delta.p = getelementptr i64, ptr %row.add, i64 1
  %slot.add = load ptr, ptr %row.add
  %delta = load i64, ptr %delta.p
  %old.add = load i64, ptr %slot.add
  %new.add = add i64 %old.add, %delta
  store i64 %new.add, ptr %slot.add
  %j.next = add i64 %j, 1
  br label %adding
swapping:
  %k = phi i64 [ 0, %adding ], [ %k.next, %swap ]
  %more.swaps = icmp slt i64 %k, %swaps
  br i1 %more.swaps, label %swap, label %count
swap:
  %at.swap = mul i64 %k, 3
  %row.swap = getelementptr i64, ptr %second, i64 %at.swap
  %a.p = getelementptr i64, ptr %row.swap, i64 1
  %b.p = getelementptr i64, ptr %row.swap, i64 2
  %slot.swap = load ptr, ptr %row.swap
  %a.home = load ptr, ptr %a.p
  %b.home = load ptr, ptr %b.p
  %a = load i64, ptr %a.home
  %b = load i64, ptr %b.home
  %difference = xor i64 %a, %b
  %old.swap = load i64, ptr %slot.swap
  %new.swap = xor i64 %old.swap, %difference
  store i64 %new.swap, ptr %slot.swap
  %k.next = add i64 %k, 1
  br label %swapping
count:
  %counter.p = getelementptr i64, ptr %step, i64 4
  %limit.p = getelementptr i64, ptr %step, i64 5
  %counter = load ptr, ptr %counter.p
  %limit = load i64, ptr %limit.p
  %n = load i64, ptr %counter
  %n.next = add i64 %n, 1
  store i64 %n.next, ptr %counter
  %again = icmp slt i64 %n.next, %limit
  ret i1 %again
}

; Ctrl-C: looks whether Python has signals to handle if the loop's counter says so and SIGNALS_NS have passed since it
; last did.  False if a handler raised an exception.
define internal i1 @look_for_signals(ptr %step, ptr %looked) alwaysinline {
entry:
  %counter.p = getelementptr i64, ptr %step, i64 4
  %mask.p = getelementptr i64, ptr %step, i64 7
  %counter = load ptr, ptr %counter.p
  %mask = load i64, ptr %mask.p
  %n = load i64, ptr %counter
  %masked = and i64 %n, %mask
  %due = icmp eq i64 %masked, 0
  br i1 %due, label %time, label %done
time:
  %now = call i64 @now()
  %before = load i64, ptr %looked
  %first = icmp eq i64 %before, 0
  br i1 %first, label %begin, label %compare
begin:
  store i64 %now, ptr %looked
  br label %done
compare:
  %passed = sub i64 %now, %before
  %long = icmp sgt i64 %passed, $SIGNALS_NS
  br i1 %long, label %look, label %done
look:
  store i64 %now, ptr %looked
  %state = call i32 @PyGILState_Ensure()
  %found = call i32 @PyErr_CheckSignals()
  call void @PyGILState_Release(i32 %state)
  %none = icmp eq i32 %found, 0
  ret i1 %none
done:
  ret i1 true
}

; The step to go on with.
define internal i64 @switch_step(ptr %step) {
  %slot.p = getelementptr i64, ptr %step, i64 1
  %n.p = getelementptr i64, ptr %step, i64 2
  %table.p = getelementptr i64, ptr %step, i64 3
  %slot = load ptr, ptr %slot.p
  %n = load i64, ptr %n.p
  %table = load ptr, ptr %table.p
  %index.p = load ptr, ptr %slot
  %index = load i32, ptr %index.p
  %wide = sext i32 %index to i64
  %last = sub i64 %n, 1
  %high = icmp sgt i64 %wide, %last
  %capped = select i1 %high, i64 %last, i64 %wide
  %low = icmp slt i64 %capped, 0
  %clamped = select i1 %low, i64 0, i64 %capped
  %target.p = getelementptr i64, ptr %table, i64 %clamped
  %target = load i64, ptr %target.p
  ret i64 %target
}

; False if the callable raised.
define internal i1 @callback_step(ptr %step) {
entry:
  %callable.p = getelementptr i64, ptr %step, i64 1
  %callable = load ptr, ptr %callable.p
  %state = call i32 @PyGILState_Ensure()
  %result = call ptr @PyObject_CallNoArgs(ptr %callable)
  %failed = icmp eq ptr %result, null
  br i1 %failed, label %leave, label %drop
drop:
  call void @Py_DecRef(ptr %result)
  br label %leave
leave:
  call void @PyGILState_Release(i32 %state)
  %well = xor i1 %failed, true
  ret i1 %well
}
"""
