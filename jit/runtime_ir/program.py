"""The program loop, and what Python calls."""

from __future__ import annotations

__all__ = ["EXECUTE", "RUN"]

EXECUTE = """
declare void @llvm.trap() noreturn

; Writes the patches: slot <- pointers[number] + offset.
define internal void @patch(ptr %program) {
entry:
  %pointers.p = getelementptr i64, ptr %program, i64 $FIELD_POINTERS
  %patches.p = getelementptr i64, ptr %program, i64 $FIELD_PATCHES
  %count.p = getelementptr i64, ptr %program, i64 $FIELD_N_PATCHES
  %pointers = load ptr, ptr %pointers.p
  %patches = load ptr, ptr %patches.p
  %count = load i64, ptr %count.p
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %body ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %body, label %done
body:
  %at = mul i64 %k, 3
  %slot.p = getelementptr i64, ptr %patches, i64 %at
  %number.p = getelementptr i64, ptr %slot.p, i64 1
  %offset.p = getelementptr i64, ptr %slot.p, i64 2
  %slot = load ptr, ptr %slot.p
  %number = load i64, ptr %number.p
  %offset = load i64, ptr %offset.p
  %pointer.p = getelementptr i64, ptr %pointers, i64 %number
  %pointer = load i64, ptr %pointer.p
  %value = add i64 %pointer, %offset
  store i64 %value, ptr %slot
  %k.next = add i64 %k, 1
  br label %loop
done:
  ret void
}

; Writes the places of one block: slot <- home + block * step.
define internal void @move_step(ptr %step, i64 %block) {
entry:
  %table.p = getelementptr i64, ptr %step, i64 1
  %rows.p = getelementptr i64, ptr %step, i64 2
  %table = load ptr, ptr %table.p
  %rows = load i64, ptr %rows.p
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %body ]
  %more = icmp slt i64 %k, %rows
  br i1 %more, label %body, label %done
body:
  %at = mul i64 %k, 3
  %row = getelementptr i64, ptr %table, i64 %at
  %home.p = getelementptr i64, ptr %row, i64 1
  %delta.p = getelementptr i64, ptr %row, i64 2
  %slot = load ptr, ptr %row
  %home = load ptr, ptr %home.p
  %delta = load i64, ptr %delta.p
  %first = load i64, ptr %home
  %moved = mul i64 %block, %delta
  %value = add i64 %first, %moved
  store i64 %value, ptr %slot
  %k.next = add i64 %k, 1
  br label %loop
done:
  ret void
}

; Runs the part of a range that belongs to one block.
define internal void @part_step(ptr %step, i64 %block, i64 %worker) {
entry:
  %kernel.p = getelementptr i64, ptr %step, i64 1
  %frame.p = getelementptr i64, ptr %step, i64 2
  %total.p = getelementptr i64, ptr %step, i64 3
  %length.p = getelementptr i64, ptr %step, i64 4
  %kernel = load ptr, ptr %kernel.p
  %frame = load ptr, ptr %frame.p
  %total = load i64, ptr %total.p
  %length = load i64, ptr %length.p
  %lo = mul i64 %block, %length
  %end = add i64 %lo, %length
  %whole = icmp sle i64 %end, %total
  %hi = select i1 %whole, i64 %end, i64 %total
  %some = icmp slt i64 %lo, %hi
  br i1 %some, label %run, label %done
run:
  call void %kernel(ptr %frame, i64 %lo, i64 %hi, i64 %worker)
  br label %done
done:
  ret void
}

; The kernel of a step of kind BLOCKS: each block runs through the steps of the worker's own copy.
define internal void @run_blocks(ptr %frame, i64 %lo, i64 %hi, i64 %worker) {
entry:
  %program.p = getelementptr i64, ptr %frame, i64 $BLOCKS_PROGRAM
  %failed.p = getelementptr i64, ptr %frame, i64 $BLOCKS_FAILED
  %copy.p = getelementptr i64, ptr %frame, i64 $BLOCKS_COPY
  %whole.p = getelementptr i64, ptr %frame, i64 $BLOCKS_WHOLE
  %program = load ptr, ptr %program.p
  %copy = load i64, ptr %copy.p
  %whole = load i64, ptr %whole.p
  %shift = mul i64 %copy, %worker
  br label %loop
loop:
  %block = phi i64 [ %lo, %entry ], [ %block.next, %run ]
  %some = icmp slt i64 %block, %hi
  br i1 %some, label %look, label %done
look:
  %failed = load atomic i64, ptr %failed.p monotonic, align 8
  %well = icmp eq i64 %failed, 0
  br i1 %well, label %run, label %done
run:
  %is.whole = icmp slt i64 %block, %whole
  %first = select i1 %is.whole, i64 $BLOCKS_BEGIN, i64 $BLOCKS_LAST_BEGIN
  %behind = select i1 %is.whole, i64 $BLOCKS_END, i64 $BLOCKS_LAST_END
  %first.p = getelementptr i64, ptr %frame, i64 %first
  %behind.p = getelementptr i64, ptr %frame, i64 %behind
  %begin.0 = load i64, ptr %first.p
  %end.0 = load i64, ptr %behind.p
  %begin = add i64 %begin.0, %shift
  %end = add i64 %end.0, %shift
  %block.next = add i64 %block, 1
  %ended = call i1 @run_steps(ptr %program, i64 %begin, i64 %end, i64 1, i64 %worker, i64 %block, ptr %failed.p)
  br i1 %ended, label %loop, label %fail
fail:
  store atomic i64 1, ptr %failed.p monotonic, align 8
  br label %done
done:
  ret void
}

; One step of kind BLOCKS; false if an exception is set.
define internal i1 @blocks_step(ptr %program, ptr %pool, ptr %step, i64 %workers, i64 %worker) {
  %kernel.p = getelementptr i64, ptr %step, i64 1
  %frame.p = getelementptr i64, ptr %step, i64 2
  %frame = load ptr, ptr %frame.p
  %program.p = getelementptr i64, ptr %frame, i64 $BLOCKS_PROGRAM
  %failed.p = getelementptr i64, ptr %frame, i64 $BLOCKS_FAILED
  store ptr @run_blocks, ptr %kernel.p
  store ptr %program, ptr %program.p
  store atomic i64 0, ptr %failed.p monotonic, align 8
  call void @call_step(ptr %pool, ptr %step, i64 %workers, i64 %worker)
  %failed = load atomic i64, ptr %failed.p monotonic, align 8
  %well = icmp eq i64 %failed, 0
  ret i1 %well
}

; Ctrl-C inside of blocks: the calling thread looks for it, the others whether it has found any.
define internal i1 @goes_on(ptr %step, ptr %looked, i64 %worker, ptr %failed.p) alwaysinline {
entry:
  %caller = icmp eq i64 %worker, 0
  br i1 %caller, label %look, label %ask
look:
  %good = call i1 @look_for_signals(ptr %step, ptr %looked)
  ret i1 %good
ask:
  %failed = load atomic i64, ptr %failed.p monotonic, align 8
  %well = icmp eq i64 %failed, 0
  ret i1 %well
}

; One step of kind CALL.
define internal void @call_step(ptr %pool, ptr %step, i64 %workers, i64 %worker) alwaysinline {
  %limit.p = getelementptr i64, ptr %step, i64 6
  %limit = load i64, ptr %limit.p
  %fewer = icmp slt i64 %limit, %workers
  %active = select i1 %fewer, i64 %limit, i64 %workers
  %parallel = icmp sgt i64 %active, 1
  br i1 %parallel, label %cut, label %whole
cut:
  %ran = call i1 @region(ptr %pool, ptr %step, i64 %active)
  br i1 %ran, label %done, label %whole
whole:
  %kernel.p = getelementptr i64, ptr %step, i64 1
  %frame.p = getelementptr i64, ptr %step, i64 2
  %total.p = getelementptr i64, ptr %step, i64 3
  %kernel = load ptr, ptr %kernel.p
  %frame = load ptr, ptr %frame.p
  %total = load i64, ptr %total.p
  %some = icmp sgt i64 %total, 0
  br i1 %some, label %run, label %done
run:
  call void %kernel(ptr %frame, i64 0, i64 %total, i64 %worker)
  br label %done
done:
  ret void
}

; Runs a range of steps; false if an exception is set.  Inside of a block: its number, and where failures are noted.
define internal i1 @run_steps(ptr %program, i64 %from, i64 %count, i64 %workers, i64 %worker, i64 %block, ptr %failed.p) {
entry:
  %looked = alloca i64
  store i64 0, ptr %looked
  %pool = load ptr, ptr getelementptr (i64, ptr @context, i64 $WORD_POOL)
  %steps.p = getelementptr i64, ptr %program, i64 $FIELD_STEPS
  %times.p = getelementptr i64, ptr %program, i64 $FIELD_TIMES
  %steps = load ptr, ptr %steps.p
  %times = load ptr, ptr %times.p
  %timed = icmp ne ptr %times, null
  br label %loop
loop:
  %pc = phi i64 [ %from, %entry ], [ %pc.next, %next ]
  %more = icmp slt i64 %pc, %count
  br i1 %more, label %body, label %end
body:
  %at = mul i64 %pc, $STEP
  %step = getelementptr i64, ptr %steps, i64 %at
  br i1 %timed, label %start, label %dispatch
start:
  %begun = call i64 @now()
  br label %dispatch
dispatch:
  %since = phi i64 [ 0, %body ], [ %begun, %start ]
  %kind = load i64, ptr %step
  %following = add i64 %pc, 1
  switch i64 %kind, label %unknown [
    i64 $CALL, label %call
    i64 $ENTER, label %enter
    i64 $REPEAT, label %repeat
    i64 $EXIT, label %exit
    i64 $SWITCH, label %choose
    i64 $JUMP, label %jump
    i64 $CALLBACK, label %callback
    i64 $BLOCKS, label %blocks
    i64 $MOVE, label %move
    i64 $PART, label %part
  ]
call:
  call void @call_step(ptr %pool, ptr %step, i64 %workers, i64 %worker)
  br label %ran
enter:
  call void @enter_step(ptr %step)
  br label %ran
repeat:
  %again = call i1 @repeat_step(ptr %step)
  %target.repeat.p = getelementptr i64, ptr %step, i64 6
  %target.repeat = load i64, ptr %target.repeat.p
  %after.repeat = select i1 %again, i64 %target.repeat, i64 %following
  %good = call i1 @goes_on(ptr %step, ptr %looked, i64 %worker, ptr %failed.p)
  br i1 %good, label %ran, label %end
exit:
  %slot.p = getelementptr i64, ptr %step, i64 1
  %slot = load ptr, ptr %slot.p
  %flag.p = load ptr, ptr %slot
  %flag = load i8, ptr %flag.p
  %goes.on = icmp ne i8 %flag, 0
  %target.exit.p = getelementptr i64, ptr %step, i64 2
  %target.exit = load i64, ptr %target.exit.p
  %after.exit = select i1 %goes.on, i64 %following, i64 %target.exit
  br label %ran
choose:
  %after.choose = call i64 @switch_step(ptr %step)
  br label %ran
jump:
  %target.jump.p = getelementptr i64, ptr %step, i64 1
  %target.jump = load i64, ptr %target.jump.p
  br label %ran
callback:
  %well = call i1 @callback_step(ptr %step)
  br i1 %well, label %ran, label %end
blocks:
  %all.well = call i1 @blocks_step(ptr %program, ptr %pool, ptr %step, i64 %workers, i64 %worker)
  %frame.p = getelementptr i64, ptr %step, i64 2
  %frame = load ptr, ptr %frame.p
  %behind.p = getelementptr i64, ptr %frame, i64 $BLOCKS_BEHIND
  %behind = load i64, ptr %behind.p
  br i1 %all.well, label %ran, label %end
move:
  call void @move_step(ptr %step, i64 %block)
  br label %ran
part:
  call void @part_step(ptr %step, i64 %block, i64 %worker)
  br label %ran
ran:
  %pc.next = phi i64 [ %following, %call ], [ %following, %enter ], [ %after.repeat, %repeat ], [ %after.exit, %exit ],
                     [ %after.choose, %choose ], [ %target.jump, %jump ], [ %following, %callback ],
                     [ %behind, %blocks ], [ %following, %move ], [ %following, %part ]
  br i1 %timed, label %stop, label %next
stop:
  %time = call i64 @now()
  %spent = sub i64 %time, %since
  %total.p = getelementptr i64, ptr %times, i64 %pc
  %total = load i64, ptr %total.p
  %total.next = add i64 %total, %spent
  store i64 %total.next, ptr %total.p
  br label %next
next:
  br label %loop
unknown:
  call void @llvm.trap()
  unreachable
end:
  %success = phi i1 [ true, %loop ], [ false, %repeat ], [ false, %callback ], [ false, %blocks ]
  ret i1 %success
}

; False if an exception is set.
define internal i1 @execute(ptr %program, i64 %workers) {
entry:
  %count.p = getelementptr i64, ptr %program, i64 $FIELD_N_STEPS
  %count = load i64, ptr %count.p
  %default = load i64, ptr @fp_default
  %control = call i64 @fp_load()
  %plain = icmp eq i64 %control, %default
  br i1 %plain, label %begin, label %switch
switch:
  call void @fp_store(i64 %default)
  br label %begin
begin:
  call void @patch(ptr %program)
  %success = call i1 @run_steps(ptr %program, i64 0, i64 %count, i64 %workers, i64 0, i64 0, ptr null)
  br i1 %plain, label %done, label %restore
restore:
  call void @fp_store(i64 %control)
  br label %done
done:
  ret i1 %success
}
"""

RUN = """
; The data address of an ndarray, or the value of an int.  Null is an error only if an exception is set.
define internal ptr @address_of(ptr %object, i64 %position) alwaysinline {
entry:
  %type.p = getelementptr i8, ptr %object, i64 $TYPE
  %type = load ptr, ptr %type.p
  %ndarray = load ptr, ptr getelementptr (i64, ptr @context, i64 $WORD_NDARRAY)
  %exact = icmp eq ptr %type, %ndarray
  br i1 %exact, label %array, label %number
array:
  %data.p = getelementptr i8, ptr %object, i64 $HEAD
  %data = load ptr, ptr %data.p
  ret ptr %data
number:
  %int = load ptr, ptr getelementptr (i64, ptr @context, i64 $WORD_INT)
  %is.int = icmp eq ptr %type, %int
  br i1 %is.int, label %convert, label %subclass
convert:
  %value = call ptr @PyLong_AsVoidPtr(ptr %object)
  ret ptr %value
subclass:
  %derived = call i32 @PyType_IsSubtype(ptr %type, ptr %ndarray)
  %is.array = icmp ne i32 %derived, 0
  br i1 %is.array, label %array, label %refuse
refuse:
  %error = load ptr, ptr getelementptr (i64, ptr @context, i64 $WORD_TYPE_ERROR)
  %null = call ptr @PyErr_Format(ptr %error, ptr @no_array, i64 %position, i64 0)
  ret ptr null
}

; Starts missing workers, drops the GIL if the program says so, runs; false if an exception is set.
define internal i1 @run_claimed(ptr %program) alwaysinline {
entry:
  %limit.p = getelementptr i64, ptr %program, i64 $FIELD_WORKERS
  %limit = load i64, ptr %limit.p
  %threads = load i64, ptr getelementptr (i64, ptr @context, i64 $WORD_THREADS)
  %fewer = icmp slt i64 %limit, %threads
  %wanted = select i1 %fewer, i64 %limit, i64 %threads
  %before = load i64, ptr getelementptr (i64, ptr @context, i64 $WORD_RUNNING)
  %enough = icmp sle i64 %wanted, %before
  br i1 %enough, label %go, label %grow
grow:
  %callable = load ptr, ptr getelementptr (i64, ptr @context, i64 $WORD_GROW)
  %none = call ptr @PyObject_CallNoArgs(ptr %callable)
  %failed = icmp eq ptr %none, null
  br i1 %failed, label %fail, label %grown
fail:
  ret i1 false
grown:
  call void @Py_DecRef(ptr %none)
  br label %go
go:
  %running = load i64, ptr getelementptr (i64, ptr @context, i64 $WORD_RUNNING)
  %lacking = icmp slt i64 %running, %wanted
  %workers = select i1 %lacking, i64 %running, i64 %wanted
  %release.p = getelementptr i64, ptr %program, i64 $FIELD_RELEASE_GIL
  %release = load i64, ptr %release.p
  %keep = icmp eq i64 %release, 0
  br i1 %keep, label %held, label %released
held:
  %ended.held = call i1 @execute(ptr %program, i64 %workers)
  ret i1 %ended.held
released:
  %thread = call ptr @PyEval_SaveThread()
  %ended = call i1 @execute(ptr %program, i64 %workers)
  call void @PyEval_RestoreThread(ptr %thread)
  ret i1 %ended
}

; Python's entry, METH_FASTCALL: %self is the ndarray that holds the program record.
define ptr @fx_run(ptr %self, ptr %args, i64 %given) {
entry:
  %record.p = getelementptr i8, ptr %self, i64 $HEAD
  %program = load ptr, ptr %record.p
  %wanted.p = getelementptr i64, ptr %program, i64 $FIELD_N_POINTERS
  %wanted = load i64, ptr %wanted.p
  %fits = icmp eq i64 %given, %wanted
  br i1 %fits, label %claim, label %miscount
miscount:
  %type.error = load ptr, ptr getelementptr (i64, ptr @context, i64 $WORD_TYPE_ERROR)
  %null1 = call ptr @PyErr_Format(ptr %type.error, ptr @miscounted, i64 %wanted, i64 %given)
  ret ptr null
claim:
  %was.busy = atomicrmw xchg ptr %program, i64 1 acquire
  %free = icmp eq i64 %was.busy, 0
  br i1 %free, label %begin, label %refuse
refuse:
  %busy.error = load ptr, ptr getelementptr (i64, ptr @context, i64 $WORD_BUSY_ERROR)
  %null2 = call ptr @PyErr_Format(ptr %busy.error, ptr @busy, i64 0, i64 0)
  ret ptr null
begin:
  %pointers.p = getelementptr i64, ptr %program, i64 $FIELD_POINTERS
  %pointers = load ptr, ptr %pointers.p
  br label %loop
loop:
  %k = phi i64 [ 0, %begin ], [ %k.next, %take ]
  %more = icmp slt i64 %k, %given
  br i1 %more, label %argument, label %run
argument:
  %object.p = getelementptr ptr, ptr %args, i64 %k
  %object = load ptr, ptr %object.p
  %address = call ptr @address_of(ptr %object, i64 %k)
  %zero = icmp eq ptr %address, null
  br i1 %zero, label %doubt, label %take
doubt:
  %exception = call ptr @PyErr_Occurred()
  %well = icmp eq ptr %exception, null
  br i1 %well, label %take, label %fail
take:
  %pointer.p = getelementptr ptr, ptr %pointers, i64 %k
  store ptr %address, ptr %pointer.p
  %k.next = add i64 %k, 1
  br label %loop
run:
  %ran = call i1 @run_claimed(ptr %program)
  store atomic i64 0, ptr %program release, align 8
  br i1 %ran, label %done, label %error
fail:
  store atomic i64 0, ptr %program release, align 8
  br label %error
error:
  ret ptr null
done:
  %none = load ptr, ptr getelementptr (i64, ptr @context, i64 $WORD_NONE)
  call void @Py_IncRef(ptr %none)
  ret ptr %none
}
"""
