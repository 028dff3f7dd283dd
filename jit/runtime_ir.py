"""The native runtime: worker pool and program loop, as LLVM IR text.

Three layouts are shared between this text and Python, all in 8-byte words, so that Python reads and writes
them through plain integer arrays:

* the *context* (``Word``), one per process: thread counts, the pool, Python objects, imported functions;
* a *program record* (``Field``), one per ``tape.Program``: what one call from Python runs;
* a *step*, ``STEP_WORDS`` words: kind, kernel, frame, total, chunk, pieces, workers, nanoseconds.

The text imports nothing by symbol: C and Python functions are called through the context's import table,
which Python fills.  So the object code can be stored on disk, and loads wherever kernels load.

The pool
--------
A parallel step is a *region*.  ``STATE`` holds ``generation << 32 | threads inside``; an odd generation is
open.  The caller publishes the step, opens the region, takes pieces like everyone else until none is
left, closes the region and waits for whoever is still inside.  A worker enters by adding one to
``STATE`` and leaves by subtracting one; if the value it got back was of a closed generation it leaves at
once.  So a worker that wakes late, or that the operating system has taken off its core before it entered,
never delays the caller.

An idle worker polls for ``SPIN`` nanoseconds and then sleeps on its own condition variable; after the first
``POLITE_NS`` it offers its core to others between two looks.  Going to sleep is a Dekker handshake on
sequentially consistent accesses: the worker stores ``SLEEPING`` and then reads ``STATE``, the caller changes
``STATE`` and then reads ``SLEEPING``; at least one of them sees the other.
Sleepers are woken along a tree of fan-out 4, because a wake-up costs the waking thread 1 to 20 microseconds.
For the same reason a short step does not wake anybody by itself: the caller wakes sleepers once the work it
has done without them, with no pause of ``WAKE_NS`` in between, comes to ``WAKE_NS``.

A worker that finds itself on its caller's core moves to another.  The operating system puts it there when the
other cores are busy, be it with work of the lowest priority, and may take tens of milliseconds to reconsider.
"""

from __future__ import annotations

import platform
import sys
from enum import IntEnum
from string import Template

__all__ = ["ENTRIES", "Field", "IMPORTS", "Pool", "STEP_WORDS", "Slot", "StepKind", "Word", "runtime_text"]


class Word(IntEnum):
    """Words of the context."""

    THREADS = 0  # threads wanted, the caller included
    RUNNING = 1  # threads there are, the caller included: 1 without a pool
    POOL = 2  # address of the pool
    GROW = 3  # Python callable without arguments that starts the missing workers
    NDARRAY = 4  # the type objects of numpy.ndarray and int
    INT = 5
    NONE = 6
    TYPE_ERROR = 7
    BUSY_ERROR = 8
    IMPORTS = 16  # addresses of IMPORTS, in their order


class Field(IntEnum):
    """Words of a program record."""

    BUSY = 0  # 1 while the program runs
    POINTERS = 1  # address of the array of data addresses
    N_POINTERS = 2
    PATCHES = 3  # address of triples (slot address, pointer number, byte offset)
    N_PATCHES = 4
    STEPS = 5
    N_STEPS = 6
    WORKERS = 7  # largest number of workers any of the steps may use
    RELEASE_GIL = 8
    TIMES = 9  # address of one uint64 a step for elapsed nanoseconds, or 0


class StepKind(IntEnum):
    """What a step does, counted from 0.  A new kind is a number here and a label in ``@execute``'s ``switch``.

    Words 1 to 7 of the kinds that steer, where a *slot* is the address of a word that holds an address:

    ENTER      1 table, 2 rows, 3 counter: for each row (slot, home) ``*slot = *home``; then ``*counter = 0``
    REPEAT     1 table, 2 rows that add, 3 rows that swap, 4 counter, 5 limit, 6 target, 7 mask: for each row (slot,
               delta) ``*slot += delta``; for each row (slot, a, b) ``*slot ^= *a ^ *b``; ``*counter += 1``; if that is
               less than the limit, on to step ``target``.  If ``*counter & mask`` is 0 it looks for Ctrl-C now and then.
    EXIT       1 slot, 2 target: if the byte ``**slot`` is 0, on to step ``target``
    SWITCH     1 slot, 2 n, 3 table: on to step ``table[min(max(**slot, 0), n - 1)]``; ``**slot`` is an int32
    JUMP       1 target
    CALLBACK   1 a Python callable without arguments; an exception ends the program
    """

    CALL = 0  # kernel(frame, lo, hi, worker) over range(total)
    ENTER = 1
    REPEAT = 2
    EXIT = 3
    SWITCH = 4
    JUMP = 5
    CALLBACK = 6


class Pool(IntEnum):
    """Byte offsets in the pool.  Lines that different threads write stand 128 bytes apart."""

    STATE = 0
    STEP = 8  # address of the open region's step
    ACTIVE = 16  # threads that may take part in it
    WAKE = 24  # 1 if it is worth waking sleepers for
    CPU = 32  # where the caller was when it opened the region; -1 if nobody knows
    NEXT = 128  # pieces taken: from the front, and from the back << 32
    OWNER = 256  # 1 while some caller uses the pool
    WAITING = 264  # 1 while that caller sleeps until the last worker has left
    DEBT = 272  # nanoseconds of work done while workers slept
    DEBT_UNTIL = 280  # about when that work ended
    SPIN = 384  # nanoseconds
    SLOTS = 512  # one slot a thread; slot 0 is the caller's


class Slot(IntEnum):
    """Byte offsets in a thread's slot."""

    SLEEPING = 0
    POOL = 8
    WORKER = 16
    MUTEX = 64  # pthread_mutex_t takes at most 64 bytes (macOS), pthread_cond_t at most 48
    COND = 128
    BYTES = 256


STEP_WORDS = 8
POLITE_NS = (
    1_000_000  # longer than the serial steps of most programs: a core that was offered comes back a time slice later
)
WAKE_NS = 40_000
SIGNALS_NS = 50_000_000  # how often a loop looks for Ctrl-C
CPUS = 8192  # of the largest machine that Linux supports
STACK_BYTES = 8 << 20  # of a worker: macOS and musl give 512 kB and 128 kB, too little for a packing buffer
ENTRIES = ("fx_context", "fx_open_pool", "fx_start_worker", "fx_run")

# name -> result and argument types; those the operating system lacks stay null and are not called
IMPORTS = {
    "PyEval_SaveThread": ("ptr", ()),
    "PyEval_RestoreThread": ("void", ("ptr",)),
    "PyObject_CallNoArgs": ("ptr", ("ptr",)),
    "PyErr_Format": ("ptr", ("ptr", "ptr", "i64", "i64")),  # variadic: see _imports
    "PyErr_Occurred": ("ptr", ()),
    "PyErr_CheckSignals": ("i32", ()),
    "PyGILState_Ensure": ("i32", ()),
    "PyGILState_Release": ("void", ("i32",)),
    "PyLong_AsVoidPtr": ("ptr", ("ptr",)),
    "PyType_IsSubtype": ("i32", ("ptr", "ptr")),
    "Py_IncRef": ("void", ("ptr",)),
    "Py_DecRef": ("void", ("ptr",)),
    "pthread_mutex_init": ("i32", ("ptr", "ptr")),
    "pthread_mutex_lock": ("i32", ("ptr",)),
    "pthread_mutex_unlock": ("i32", ("ptr",)),
    "pthread_cond_init": ("i32", ("ptr", "ptr")),
    "pthread_cond_wait": ("i32", ("ptr", "ptr")),
    "pthread_cond_signal": ("i32", ("ptr",)),
    "pthread_attr_init": ("i32", ("ptr",)),
    "pthread_attr_setstacksize": ("i32", ("ptr", "i64")),
    "pthread_attr_destroy": ("i32", ("ptr",)),
    "pthread_create": ("i32", ("ptr", "ptr", "ptr", "ptr")),
    "pthread_detach": ("i32", ("ptr",)),
    "sched_yield": ("i32", ()),
    "sched_getcpu": ("i32", ()),
    "sched_getaffinity": ("i32", ("i32", "i64", "ptr")),
    "sched_setaffinity": ("i32", ("i32", "i64", "ptr")),
    "clock_gettime": ("i32", ("i32", "ptr")),
    "GetSystemTimePreciseAsFileTime": ("void", ("ptr",)),
}


def runtime_text(machine: str = platform.machine(), system: str = sys.platform) -> str:
    """The module for an architecture (a name as ``platform.machine()`` gives it) and an operating system."""
    head = object.__basicsize__  # bytes of a Python object before its first field; its type comes last in it
    names = {f"{e.__name__.upper()}_{m.name}": m.value for e in (Word, Field, Pool, Slot) for m in e}
    names.update(HEAD=head, TYPE=head - 8, STACK=STACK_BYTES, STEP=STEP_WORDS, SIGNALS_NS=SIGNALS_NS)
    names.update({kind.name: kind.value for kind in StepKind})
    names.update(
        CONTEXT=Word.IMPORTS + len(IMPORTS), WAKE_NS=WAKE_NS, POLITE_NS=POLITE_NS, CLOCK=6 if system == "darwin" else 1
    )  # CLOCK_MONOTONIC
    names.update(CPUS=CPUS, CPU_WORDS=CPUS // 64, CPU_BYTES=CPUS // 8)
    kind = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine.lower(), machine.lower())
    clock = _WINDOWS_CLOCK if system == "win32" else _POSIX_CLOCK
    machine_text = _MACHINES.get(kind, _OTHER_MACHINE)
    cpus = _LINUX_CPUS if system == "linux" else _UNKNOWN_CPUS
    parts = (_imports(), _messages(), machine_text, clock, cpus, _POOL, _WORKER, _REGION, _STEER, _EXECUTE, _RUN)
    return Template("\n".join(parts)).substitute(names)


def _imports() -> str:
    """Each import as a function that calls through the context's table."""
    lines = ["@context = internal global [$CONTEXT x i64] zeroinitializer, align 128"]
    for k, (name, (result, types)) in enumerate(IMPORTS.items()):
        args = ", ".join(f"{ty} %{i}" for i, ty in enumerate(types))
        called = "ptr (ptr, ptr, ...)" if name == "PyErr_Format" else result
        lines.append(f"define internal {result} @{name}({args}) alwaysinline {{")
        lines.append(f"  %f = load ptr, ptr getelementptr (i64, ptr @context, i64 {Word.IMPORTS + k})")
        lines.append(f"  {'' if result == 'void' else '%r = '}call {called} %f({args})")
        lines.append("  ret void\n}" if result == "void" else f"  ret {result} %r\n}}")
    return "\n".join(lines)


def _messages() -> str:
    """The formats of exceptions, as C strings."""
    texts = {
        "miscounted": "this program takes %zd data pointers, %zd given",
        "no_array": "argument %zd of a program is a NumPy array or an address, not something else",
        "busy": "this program is already running in another thread; run another instance of it",
    }
    return "\n".join(f'@{name} = internal constant [{len(t) + 1} x i8] c"{t}\\00"' for name, t in texts.items())


# ------------------------------------------------------------------------------------------- machine
# @pause: tells the core that this is a polling loop.
# @fp_load, @fp_store: the floating-point control word without its sticky exception flags.  Threads inherit
# it from their creator, and libraries built with -ffast-math set flush-to-zero in whoever loads them, so a
# program runs every piece under the default word: else subnormals would depend on the thread.

_MACHINES = {
    "x86_64": """
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
@fp_default = internal constant i64 8064
define internal void @pause() alwaysinline {
  call void @llvm.x86.sse2.pause()
  ret void
}
define internal i64 @fp_load() alwaysinline {
  %place = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %place)
  %raw = load i32, ptr %place
  %word = and i32 %raw, 65472
  %wide = zext i32 %word to i64
  ret i64 %wide
}
define internal void @fp_store(i64 %wide) alwaysinline {
  %place = alloca i32
  %word = trunc i64 %wide to i32
  store i32 %word, ptr %place
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  ret void
}
""",
    "aarch64": """
declare void @llvm.aarch64.isb(i32)
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
@fp_default = internal constant i64 0
define internal void @pause() alwaysinline {
  call void @llvm.aarch64.isb(i32 15)
  ret void
}
define internal i64 @fp_load() alwaysinline {
  %word = call i64 @llvm.aarch64.get.fpcr()
  ret i64 %word
}
define internal void @fp_store(i64 %word) alwaysinline {
  call void @llvm.aarch64.set.fpcr(i64 %word)
  ret void
}
""",
}

_OTHER_MACHINE = """
@fp_default = internal constant i64 0
define internal void @pause() alwaysinline {
  ret void
}
define internal i64 @fp_load() alwaysinline {
  ret i64 0
}
define internal void @fp_store(i64 %word) alwaysinline {
  ret void
}
"""

_POSIX_CLOCK = """
define internal i64 @now() {
  %time = alloca [2 x i64], align 8
  %rc = call i32 @clock_gettime(i32 $CLOCK, ptr %time)
  %s = load i64, ptr %time
  %ns.p = getelementptr i64, ptr %time, i64 1
  %ns = load i64, ptr %ns.p
  %s.ns = mul i64 %s, 1000000000
  %t = add i64 %s.ns, %ns
  ret i64 %t
}
"""

_WINDOWS_CLOCK = """
define internal i64 @now() {
  %time = alloca i64, align 8
  call void @GetSystemTimePreciseAsFileTime(ptr %time)
  %ticks = load i64, ptr %time
  %t = mul i64 %ticks, 100
  ret i64 %t
}
"""

_LINUX_CPUS = """
; The CPU that this thread is on.
define internal i64 @cpu() {
  %n = call i32 @sched_getcpu()
  %wide = sext i32 %n to i64
  ret i64 %wide
}

; Moves a thread that is on the caller's CPU to another one, if it may use another: forbids itself that CPU for a moment.
define internal void @leave_callers_cpu(ptr %pool) {
entry:
  %mask = alloca [$CPU_WORDS x i64], align 8
  %cpu.p = getelementptr i8, ptr %pool, i64 $POOL_CPU
  %theirs = load atomic i64, ptr %cpu.p monotonic, align 8
  %mine = call i64 @cpu()
  %shared = icmp eq i64 %mine, %theirs
  %known = icmp ult i64 %mine, $CPUS
  %both = and i1 %shared, %known
  br i1 %both, label %look, label %done
look:
  %rc1 = call i32 @sched_getaffinity(i32 0, i64 $CPU_BYTES, ptr %mask)
  %failed = icmp slt i32 %rc1, 0
  br i1 %failed, label %done, label %count
count:
  %k = phi i64 [ 0, %look ], [ %k.next, %count ]
  %sum = phi i64 [ 0, %look ], [ %sum.next, %count ]
  %word.p = getelementptr i64, ptr %mask, i64 %k
  %word = load i64, ptr %word.p
  %bits = call i64 @llvm.ctpop.i64(i64 %word)
  %sum.next = add i64 %sum, %bits
  %k.next = add i64 %k, 1
  %more = icmp slt i64 %k.next, $CPU_WORDS
  br i1 %more, label %count, label %choose
choose:
  %others = icmp sgt i64 %sum.next, 1
  br i1 %others, label %move, label %done
move:
  %number = lshr i64 %mine, 6
  %here.p = getelementptr i64, ptr %mask, i64 %number
  %here = load i64, ptr %here.p
  %place = and i64 %mine, 63
  %bit = shl i64 1, %place
  %not = xor i64 %bit, -1
  %without = and i64 %here, %not
  store i64 %without, ptr %here.p
  %rc2 = call i32 @sched_setaffinity(i32 0, i64 $CPU_BYTES, ptr %mask)
  store i64 %here, ptr %here.p
  %rc3 = call i32 @sched_setaffinity(i32 0, i64 $CPU_BYTES, ptr %mask)
  br label %done
done:
  ret void
}
declare i64 @llvm.ctpop.i64(i64)
"""

_UNKNOWN_CPUS = """
define internal i64 @cpu() {
  ret i64 -1
}
define internal void @leave_callers_cpu(ptr %pool) {
  ret void
}
"""

# ---------------------------------------------------------------------------------------------- pool

_POOL = """
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
; number from the back, so that of two threads each meets in the next step what it has in its own caches.
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
  %chunk = load i64, ptr %chunk.p
  %pieces = load i64, ptr %pieces.p
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
  %lo = mul i64 %piece, %chunk
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

_WORKER = """
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

_REGION = """
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

# ------------------------------------------------------------------------------------------- program

# The kinds of step that steer; see StepKind for their words.
_STEER = """
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

_EXECUTE = """
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

; One step of kind CALL.
define internal void @call_step(ptr %pool, ptr %step, i64 %workers) alwaysinline {
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
  call void %kernel(ptr %frame, i64 0, i64 %total, i64 0)
  br label %done
done:
  ret void
}

; False if an exception is set.
define internal i1 @execute(ptr %program, i64 %workers) {
entry:
  %looked = alloca i64
  store i64 0, ptr %looked
  %pool = load ptr, ptr getelementptr (i64, ptr @context, i64 $WORD_POOL)
  %steps.p = getelementptr i64, ptr %program, i64 $FIELD_STEPS
  %count.p = getelementptr i64, ptr %program, i64 $FIELD_N_STEPS
  %times.p = getelementptr i64, ptr %program, i64 $FIELD_TIMES
  %steps = load ptr, ptr %steps.p
  %count = load i64, ptr %count.p
  %times = load ptr, ptr %times.p
  %timed = icmp ne ptr %times, null
  %default = load i64, ptr @fp_default
  %control = call i64 @fp_load()
  %plain = icmp eq i64 %control, %default
  br i1 %plain, label %begin, label %switch
switch:
  call void @fp_store(i64 %default)
  br label %begin
begin:
  call void @patch(ptr %program)
  br label %loop
loop:
  %pc = phi i64 [ 0, %begin ], [ %pc.next, %next ]
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
  ]
call:
  call void @call_step(ptr %pool, ptr %step, i64 %workers)
  br label %ran
enter:
  call void @enter_step(ptr %step)
  br label %ran
repeat:
  %again = call i1 @repeat_step(ptr %step)
  %target.repeat.p = getelementptr i64, ptr %step, i64 6
  %target.repeat = load i64, ptr %target.repeat.p
  %after.repeat = select i1 %again, i64 %target.repeat, i64 %following
  %good = call i1 @look_for_signals(ptr %step, ptr %looked)
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
ran:
  %pc.next = phi i64 [ %following, %call ], [ %following, %enter ], [ %after.repeat, %repeat ], [ %after.exit, %exit ],
                     [ %after.choose, %choose ], [ %target.jump, %jump ], [ %following, %callback ]
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
  %success = phi i1 [ true, %loop ], [ false, %repeat ], [ false, %callback ]
  br i1 %plain, label %done, label %restore
restore:
  call void @fp_store(i64 %control)
  br label %done
done:
  ret i1 %success
}
"""

_RUN = """
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
