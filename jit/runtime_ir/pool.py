"""The pool: workers that sleep, poll and take part in regions."""

from __future__ import annotations

__all__ = ["POOL", "REGION", "WORKER"]

POOL = """
define ptr @fx_context() {
  ret ptr @context
}

define internal ptr @slot_of(ptr %pool, i64 %worker) alwaysinline {
  %distance = mul i64 %worker, $SLOT_BYTES
  %offset = add i64 %distance, $POOL_SLOTS
  %slot = getelementptr i8, ptr %pool, i64 %offset
  ret ptr %slot
}

define internal void @init_slot(ptr %slot, ptr %pool, i64 %worker) {
  %pool.p = getelementptr i8, ptr %slot, i64 $SLOT_POOL
  store ptr %pool, ptr %pool.p
  %worker.p = getelementptr i8, ptr %slot, i64 $SLOT_WORKER
  store i64 %worker, ptr %worker.p
  %mutex = getelementptr i8, ptr %slot, i64 $SLOT_MUTEX
  %rc1 = call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  %cond = getelementptr i8, ptr %slot, i64 $SLOT_COND
  %rc2 = call i32 @pthread_cond_init(ptr %cond, ptr null)
  ret void
}

; Zeroed memory becomes a pool without workers.
define void @fx_open_pool(ptr %pool) {
  %slot = call ptr @slot_of(ptr %pool, i64 0)
  call void @init_slot(ptr %slot, ptr %pool, i64 0)
  ret void
}

; Starts the thread of one slot; returns 0 or an errno.
define i32 @fx_start_worker(ptr %pool, i64 %worker) {
  %thread = alloca i64, align 8
  %attr = alloca [32 x i64], align 16
  %slot = call ptr @slot_of(ptr %pool, i64 %worker)
  call void @init_slot(ptr %slot, ptr %pool, i64 %worker)
  %rc1 = call i32 @pthread_attr_init(ptr %attr)
  %rc2 = call i32 @pthread_attr_setstacksize(ptr %attr, i64 $STACK)
  %rc = call i32 @pthread_create(ptr %thread, ptr %attr, ptr @worker, ptr %slot)
  %rc3 = call i32 @pthread_attr_destroy(ptr %attr)
  %started = icmp eq i32 %rc, 0
  br i1 %started, label %detach, label %done
detach:
  %id = load ptr, ptr %thread
  %rc4 = call i32 @pthread_detach(ptr %id)
  br label %done
done:
  ret i32 %rc
}

; Wakes the sleepers among a thread's children in the tree, 4w+1 ... 4w+4, below %active, if it is worth it.
define internal void @wake(ptr %pool, i64 %worker, i64 %active) {
entry:
  %worth.p = getelementptr i8, ptr %pool, i64 $POOL_WAKE
  %worth = load atomic i64, ptr %worth.p monotonic, align 8
  %idle = icmp eq i64 %worth, 0
  br i1 %idle, label %done, label %begin
begin:
  %left = shl i64 %worker, 2
  %first = add i64 %left, 1
  %past = add i64 %left, 5
  %fewer = icmp slt i64 %active, %past
  %end = select i1 %fewer, i64 %active, i64 %past
  br label %loop
loop:
  %child = phi i64 [ %first, %begin ], [ %next, %step ]
  %inside = icmp slt i64 %child, %end
  br i1 %inside, label %look, label %done
look:
  %slot = call ptr @slot_of(ptr %pool, i64 %child)
  %sleeping = load atomic i64, ptr %slot seq_cst, align 8
  %asleep = icmp ne i64 %sleeping, 0
  br i1 %asleep, label %rouse, label %step
rouse:
  %mutex = getelementptr i8, ptr %slot, i64 $SLOT_MUTEX
  %cond = getelementptr i8, ptr %slot, i64 $SLOT_COND
  %rc1 = call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 0, ptr %slot monotonic, align 8
  %rc2 = call i32 @pthread_mutex_unlock(ptr %mutex)
  %rc3 = call i32 @pthread_cond_signal(ptr %cond)
  br label %step
step:
  %next = add i64 %child, 1
  br label %loop
done:
  ret void
}

; Takes pieces of the open region until none is left.  Threads of even number take them from the front, those of odd
; number from the back, so that of two threads each meets in the next step what it has in its own caches.  A negative
; length stands for shares: as many equal pieces as there are threads.
define internal void @work(ptr %pool, i64 %worker) {
entry:
  %next.p = getelementptr i8, ptr %pool, i64 $POOL_NEXT
  %step.p = getelementptr i8, ptr %pool, i64 $POOL_STEP
  %step = load ptr, ptr %step.p
  %kernel.p = getelementptr i64, ptr %step, i64 1
  %frame.p = getelementptr i64, ptr %step, i64 2
  %total.p = getelementptr i64, ptr %step, i64 3
  %chunk.p = getelementptr i64, ptr %step, i64 4
  %pieces.p = getelementptr i64, ptr %step, i64 5
  %kernel = load ptr, ptr %kernel.p
  %frame = load ptr, ptr %frame.p
  %total = load i64, ptr %total.p
  %length = load i64, ptr %chunk.p
  %number = load i64, ptr %pieces.p
  %shared = icmp slt i64 %length, 0
  br i1 %shared, label %share, label %begin
share:
  %active.p = getelementptr i8, ptr %pool, i64 $POOL_ACTIVE
  %active = load atomic i64, ptr %active.p monotonic, align 8
  %past = add i64 %total, %active
  %most = sub i64 %past, 1
  %even = udiv i64 %most, %active
  br label %begin
begin:
  %chunk = phi i64 [ %length, %entry ], [ %even, %share ]
  %pieces = phi i64 [ %number, %entry ], [ %active, %share ]
  %end = sub i64 %pieces, 1
  %parity = and i64 %worker, 1
  %odd = icmp ne i64 %parity, 0
  %one = select i1 %odd, i64 4294967296, i64 1
  br label %fetch
fetch:
  %taken = atomicrmw add ptr %next.p, i64 %one monotonic
  %front = and i64 %taken, 4294967295
  %back = lshr i64 %taken, 32
  %all = add i64 %front, %back
  %some = icmp slt i64 %all, %pieces
  br i1 %some, label %run, label %done
run:
  %last = sub i64 %end, %back
  %piece = select i1 %odd, i64 %last, i64 %front
  %from = mul i64 %piece, %chunk
  %inside = icmp slt i64 %from, %total
  %lo = select i1 %inside, i64 %from, i64 %total
  %rest = sub i64 %total, %lo
  %short = icmp slt i64 %rest, %chunk
  %size = select i1 %short, i64 %rest, i64 %chunk
  %hi = add i64 %lo, %size
  call void %kernel(ptr %frame, i64 %lo, i64 %hi, i64 %worker)
  br label %fetch
done:
  ret void
}

; Leaves the region; the last one out wakes a caller that sleeps.
define internal void @leave(ptr %pool) {
  %state = atomicrmw sub ptr %pool, i64 1 seq_cst
  %inside = and i64 %state, 4294967295
  %last = icmp eq i64 %inside, 1
  br i1 %last, label %look, label %done
look:
  %waiting.p = getelementptr i8, ptr %pool, i64 $POOL_WAITING
  %waiting = load atomic i64, ptr %waiting.p seq_cst, align 8
  %asleep = icmp ne i64 %waiting, 0
  br i1 %asleep, label %rouse, label %done
rouse:
  %slot = call ptr @slot_of(ptr %pool, i64 0)
  %mutex = getelementptr i8, ptr %slot, i64 $SLOT_MUTEX
  %cond = getelementptr i8, ptr %slot, i64 $SLOT_COND
  %rc1 = call i32 @pthread_mutex_lock(ptr %mutex)
  %rc2 = call i32 @pthread_mutex_unlock(ptr %mutex)
  %rc3 = call i32 @pthread_cond_signal(ptr %cond)
  br label %done
done:
  ret void
}
"""

WORKER = """
; Is a region open that is not the one of generation %seen?
define internal i1 @is_news(i64 %state, i64 %seen) alwaysinline {
  %generation = lshr i64 %state, 32
  %bit = and i64 %generation, 1
  %open = icmp ne i64 %bit, 0
  %new = icmp ne i64 %generation, %seen
  %news = and i1 %open, %new
  ret i1 %news
}

; Has a thread polled for long enough?  If not, whoever else wants its core may have it for a while.
define internal i1 @is_tired(i64 %waited, i64 %spin) {
entry:
  %tired = icmp sge i64 %waited, %spin
  %fresh = icmp slt i64 %waited, $POLITE_NS
  %stays = or i1 %tired, %fresh
  br i1 %stays, label %done, label %offer
offer:
  %rc = call i32 @sched_yield()
  br label %done
done:
  ret i1 %tired
}

define internal void @sleep(ptr %pool, ptr %slot, i64 %seen) {
entry:
  %mutex = getelementptr i8, ptr %slot, i64 $SLOT_MUTEX
  %cond = getelementptr i8, ptr %slot, i64 $SLOT_COND
  %rc1 = call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 1, ptr %slot seq_cst, align 8
  %state = load atomic i64, ptr %pool seq_cst, align 8
  %news = call i1 @is_news(i64 %state, i64 %seen)
  br i1 %news, label %awake, label %look
look:
  %sleeping = load atomic i64, ptr %slot monotonic, align 8
  %asleep = icmp ne i64 %sleeping, 0
  br i1 %asleep, label %wait, label %awake
wait:
  %rc2 = call i32 @pthread_cond_wait(ptr %cond, ptr %mutex)
  br label %look
awake:
  store atomic i64 0, ptr %slot monotonic, align 8
  %rc3 = call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}

; A worker's life: poll, take part, poll, sleep.
define internal ptr @worker(ptr %slot) {
entry:
  %default = load i64, ptr @fp_default
  call void @fp_store(i64 %default)
  %pool.p = getelementptr i8, ptr %slot, i64 $SLOT_POOL
  %pool = load ptr, ptr %pool.p
  %worker.p = getelementptr i8, ptr %slot, i64 $SLOT_WORKER
  %worker = load i64, ptr %worker.p
  %active.p = getelementptr i8, ptr %pool, i64 $POOL_ACTIVE
  %spin.p = getelementptr i8, ptr %pool, i64 $POOL_SPIN
  br label %idle
idle:
  %seen = phi i64 [ 0, %entry ], [ %entered, %run ], [ %last, %doze ]
  %since = call i64 @now()
  br label %poll
poll:
  %last = phi i64 [ %seen, %idle ], [ %last, %rest ], [ %last, %clock ], [ %last, %late ], [ %entered, %pass ]
  %polls = phi i64 [ 0, %idle ], [ %polled, %rest ], [ %polled, %clock ], [ %polls, %late ], [ %polls, %pass ]
  %state = load atomic i64, ptr %pool acquire, align 8
  %news = call i1 @is_news(i64 %state, i64 %last)
  br i1 %news, label %enter, label %rest
rest:
  call void @pause()
  %polled = add i64 %polls, 1
  %low = and i64 %polled, 63
  %check = icmp eq i64 %low, 0
  br i1 %check, label %clock, label %poll
clock:
  %time = call i64 @now()
  %idled = sub i64 %time, %since
  %spin = load atomic i64, ptr %spin.p monotonic, align 8
  %tired = call i1 @is_tired(i64 %idled, i64 %spin)
  br i1 %tired, label %doze, label %poll
doze:
  call void @sleep(ptr %pool, ptr %slot, i64 %last)
  br label %idle
enter:
  %before = atomicrmw add ptr %pool, i64 1 seq_cst
  %entered = lshr i64 %before, 32
  %bit = and i64 %entered, 1
  %open = icmp ne i64 %bit, 0
  br i1 %open, label %inside, label %late
late:
  call void @leave(ptr %pool)
  call void @leave_callers_cpu(ptr %pool)
  br label %poll
inside:
  %active = load atomic i64, ptr %active.p monotonic, align 8
  %invited = icmp slt i64 %worker, %active
  br i1 %invited, label %run, label %pass
pass:
  call void @leave(ptr %pool)
  br label %poll
run:
  call void @leave_callers_cpu(ptr %pool)
  call void @wake(ptr %pool, i64 %worker, i64 %active)
  call void @work(ptr %pool, i64 %worker)
  call void @leave(ptr %pool)
  br label %idle
}
"""

REGION = """
; The caller sleeps until nobody is inside.
define internal void @wait_outside(ptr %pool) {
entry:
  %slot = call ptr @slot_of(ptr %pool, i64 0)
  %mutex = getelementptr i8, ptr %slot, i64 $SLOT_MUTEX
  %cond = getelementptr i8, ptr %slot, i64 $SLOT_COND
  %waiting.p = getelementptr i8, ptr %pool, i64 $POOL_WAITING
  %rc1 = call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 1, ptr %waiting.p seq_cst, align 8
  br label %look
look:
  %state = load atomic i64, ptr %pool seq_cst, align 8
  %inside = and i64 %state, 4294967295
  %empty = icmp eq i64 %inside, 0
  br i1 %empty, label %done, label %wait
wait:
  %rc2 = call i32 @pthread_cond_wait(ptr %cond, ptr %mutex)
  br label %look
done:
  store atomic i64 0, ptr %waiting.p monotonic, align 8
  %rc3 = call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}

; Does one of the threads that the caller itself would wake sleep?
define internal i1 @some_sleep(ptr %pool, i64 %active) {
entry:
  %few = icmp slt i64 %active, 5
  %end = select i1 %few, i64 %active, i64 5
  br label %loop
loop:
  %child = phi i64 [ 1, %entry ], [ %next, %look ]
  %inside = icmp slt i64 %child, %end
  br i1 %inside, label %look, label %none
look:
  %slot = call ptr @slot_of(ptr %pool, i64 %child)
  %sleeping = load atomic i64, ptr %slot monotonic, align 8
  %asleep = icmp ne i64 %sleeping, 0
  %next = add i64 %child, 1
  br i1 %asleep, label %some, label %loop
some:
  ret i1 true
none:
  ret i1 false
}

; Is a step worth waking sleepers for?  Keeps the account of what was done without them.
define internal i1 @worth_waking(ptr %pool, ptr %step, i64 %active) {
entry:
  %cost.p = getelementptr i64, ptr %step, i64 7
  %cost = load i64, ptr %cost.p
  %known = icmp sgt i64 %cost, 0
  br i1 %known, label %look, label %yes
look:
  %sleep = call i1 @some_sleep(ptr %pool, i64 %active)
  br i1 %sleep, label %count, label %yes
count:
  %debt.p = getelementptr i8, ptr %pool, i64 $POOL_DEBT
  %until.p = getelementptr i8, ptr %pool, i64 $POOL_DEBT_UNTIL
  %time = call i64 @now()
  %until = load i64, ptr %until.p
  %pause = sub i64 %time, %until
  %stale = icmp sgt i64 %pause, $WAKE_NS
  %old = load i64, ptr %debt.p
  %kept = select i1 %stale, i64 0, i64 %old
  %debt = add i64 %kept, %cost
  %enough = icmp sge i64 %debt, $WAKE_NS
  %left = select i1 %enough, i64 0, i64 %debt
  store i64 %left, ptr %debt.p
  %end = add i64 %time, %cost
  store i64 %end, ptr %until.p
  ret i1 %enough
yes:
  ret i1 true
}

; Runs a step on up to %active threads; false if another caller has the pool.
define internal i1 @region(ptr %pool, ptr %step, i64 %active) {
entry:
  %owner.p = getelementptr i8, ptr %pool, i64 $POOL_OWNER
  %owner = atomicrmw xchg ptr %owner.p, i64 1 acquire
  %mine = icmp eq i64 %owner, 0
  br i1 %mine, label %publish, label %taken
taken:
  ret i1 false
publish:
  %step.p = getelementptr i8, ptr %pool, i64 $POOL_STEP
  store ptr %step, ptr %step.p
  %active.p = getelementptr i8, ptr %pool, i64 $POOL_ACTIVE
  store atomic i64 %active, ptr %active.p monotonic, align 8
  %worth = call i1 @worth_waking(ptr %pool, ptr %step, i64 %active)
  %wake = zext i1 %worth to i64
  %wake.p = getelementptr i8, ptr %pool, i64 $POOL_WAKE
  store atomic i64 %wake, ptr %wake.p monotonic, align 8
  %next.p = getelementptr i8, ptr %pool, i64 $POOL_NEXT
  store atomic i64 0, ptr %next.p monotonic, align 8
  %cpu = call i64 @cpu()
  %cpu.p = getelementptr i8, ptr %pool, i64 $POOL_CPU
  store atomic i64 %cpu, ptr %cpu.p monotonic, align 8
  %opened = atomicrmw add ptr %pool, i64 4294967296 seq_cst
  call void @wake(ptr %pool, i64 0, i64 %active)
  call void @work(ptr %pool, i64 0)
  %closed = atomicrmw add ptr %pool, i64 4294967296 seq_cst
  %some = and i64 %closed, 4294967295
  %nobody = icmp eq i64 %some, 0
  br i1 %nobody, label %done, label %begin
begin:
  %since = call i64 @now()
  br label %poll
poll:
  %polls = phi i64 [ 0, %begin ], [ %polled, %rest ], [ %polled, %clock ]
  %state = load atomic i64, ptr %pool acquire, align 8
  %inside = and i64 %state, 4294967295
  %empty = icmp eq i64 %inside, 0
  br i1 %empty, label %done, label %rest
rest:
  call void @pause()
  %polled = add i64 %polls, 1
  %low = and i64 %polled, 63
  %check = icmp eq i64 %low, 0
  br i1 %check, label %clock, label %poll
clock:
  %time = call i64 @now()
  %waited = sub i64 %time, %since
  %spin.p = getelementptr i8, ptr %pool, i64 $POOL_SPIN
  %spin = load atomic i64, ptr %spin.p monotonic, align 8
  %tired = call i1 @is_tired(i64 %waited, i64 %spin)
  br i1 %tired, label %sleep, label %poll
sleep:
  call void @wait_outside(ptr %pool)
  br label %done
done:
  store atomic i64 0, ptr %owner.p release, align 8
  ret i1 true
}
"""
