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
from string import Template

from .arena import PLACE
from .layout import (
    CPUS,
    ENTRIES,
    IMPORTS,
    MOST_SHARES,
    POLITE_NS,
    SHARES,
    SIGNALS_NS,
    STACK_BYTES,
    STEP_WORDS,
    WAKE_NS,
    Blocks,
    Field,
    Pool,
    Slot,
    StepKind,
    Word,
)
from .machine import LINUX_CPUS, MACHINES, OTHER_MACHINE, POSIX_CLOCK, UNKNOWN_CPUS, WINDOWS_CLOCK
from .pool import POOL, REGION, WORKER
from .program import EXECUTE, RUN
from .steer import STEER

__all__ = [
    "ENTRIES",
    "IMPORTS",
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
    "runtime_text",
]


def runtime_text(machine: str = platform.machine(), system: str = sys.platform) -> str:
    """The module for an architecture (a name as ``platform.machine()`` gives it) and an operating system."""
    head = object.__basicsize__  # bytes of a Python object before its first field; its type comes last in it
    names = {f"{e.__name__.upper()}_{m.name}": m.value for e in (Word, Field, Pool, Slot, Blocks) for m in e}
    names.update(HEAD=head, TYPE=head - 8, STACK=STACK_BYTES, STEP=STEP_WORDS, SIGNALS_NS=SIGNALS_NS)
    names.update({kind.name: kind.value for kind in StepKind})
    names.update(
        CONTEXT=Word.IMPORTS + len(IMPORTS), WAKE_NS=WAKE_NS, POLITE_NS=POLITE_NS, CLOCK=6 if system == "darwin" else 1
    )  # CLOCK_MONOTONIC
    names.update(CPUS=CPUS, CPU_WORDS=CPUS // 64, CPU_BYTES=CPUS // 8)
    kind = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine.lower(), machine.lower())
    clock = WINDOWS_CLOCK if system == "win32" else POSIX_CLOCK
    machine_text = MACHINES.get(kind, OTHER_MACHINE)
    cpus = LINUX_CPUS if system == "linux" else UNKNOWN_CPUS
    parts = (_imports(), _messages(), machine_text, clock, cpus, POOL, WORKER, REGION, STEER, EXECUTE, RUN, PLACE)
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
