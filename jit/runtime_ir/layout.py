"""What the native runtime and Python share: the words of their records, and what the runtime imports."""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "CPUS",
    "ENTRIES",
    "IMPORTS",
    "POLITE_NS",
    "SIGNALS_NS",
    "STACK_BYTES",
    "MOST_SHARES",
    "SHARES",
    "STEP_WORDS",
    "WAKE_NS",
    "Blocks",
    "Field",
    "Pool",
    "Slot",
    "StepKind",
    "Word",
]


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
    BLOCKS     as CALL, over blocks of rows; the kernel is the runtime's own, which fills in its word.  The frame (``Blocks``) says which
               steps are those of a block: each thread has a copy of them, with words of their own
    MOVE       1 table, 2 rows: for each row (slot, home, step) ``*slot = *home + block * step``
    PART       as CALL, in a block: of the range, the part ``block`` of 4 length (the last may be shorter)
    """

    CALL = 0  # kernel(frame, lo, hi, worker) over range(total)
    ENTER = 1
    REPEAT = 2
    EXIT = 3
    SWITCH = 4
    JUMP = 5
    CALLBACK = 6
    BLOCKS = 7
    MOVE = 8
    PART = 9


class Blocks(IntEnum):
    """Words of the frame of a BLOCKS step."""

    PROGRAM = 0  # filled in by the runtime
    FAILED = 1  # 1 once an exception is set; likewise
    COPY = 2  # steps from a thread's copy to the next one's
    BEGIN = 3  # the first step of a block, and the one behind the last, in the first copy
    END = 4
    LAST_BEGIN = 5  # the same of a block that is one of the last ones
    LAST_END = 6
    WHOLE = 7  # how many blocks are none of those
    BEHIND = 8  # the step to go on with


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
SHARES = -1  # length of pieces that stands for one equal piece a thread, ...
MOST_SHARES = 16  # ... so many at most
POLITE_NS = (
    1_000_000  # longer than the serial steps of most programs: a core that was offered comes back a time slice later
)
WAKE_NS = 40_000
SIGNALS_NS = 50_000_000  # how often a loop looks for Ctrl-C
CPUS = 8192  # of the largest machine that Linux supports
STACK_BYTES = 8 << 20  # of a worker: macOS and musl give 512 kB and 128 kB, too little for a packing buffer
ENTRIES = ("fx_context", "fx_open_pool", "fx_start_worker", "fx_run", "fx_place")

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
