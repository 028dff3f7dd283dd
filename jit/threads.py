"""Threads: how many the host grants, and the pool that runs parallel steps.

``num_threads()`` is ``FX_NUM_THREADS`` or, without it, the CPUs this process may use: those of the machine,
within its affinity mask, within the CPU quota of its container (rounded up).  Results never depend on it.

The workers are native threads of the runtime (``runtime_ir``); no Python runs on them.  They start when a
program first has a parallel step, again after a fork in the child, and sleep while there is nothing to do.
One caller has the pool at a time; the steps of others run on the threads that called them.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fx.errors import BackendError

from .cache import default_store, environment_digest, kernel_key
from .forks import compiling
from .llvm.linker import load
from .on_demand import llvm
from .runtime_ir import ENTRIES, IMPORTS, Pool, Slot, Word, runtime_text

__all__ = ["Runtime", "host_threads", "num_threads", "runtime", "set_num_threads", "using_threads"]

MAX_THREADS = 1024
HAS_THREADS = sys.platform != "win32"  # POSIX threads; without them every step runs on its caller
# How long an idle thread polls: longer than a tick of the operating system's scheduler (4 ms where it is slow).  A worker
# that sleeps at every pause looks idle to it, and may be left waiting on the core where its caller is busy.
SPIN_NS = 5_000_000
_calloc = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)(("PyMem_RawCalloc", ctypes.pythonapi))
_FAULTS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS")


# ------------------------------------------------------------------------------------- what is granted


@functools.cache
def host_threads() -> int:
    """The CPUs this process may use: machine, affinity mask and container quota (rounded down: threads that wait for
    the next region poll, and would use up what is left of a CPU), at least 1."""
    cpus = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cpus = len(os.sched_getaffinity(0))
    quota = cgroup_quota()
    if quota is not None:
        cpus = min(cpus, int(quota))
    return max(1, min(cpus, MAX_THREADS)) if HAS_THREADS else 1


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """The CPU quota of this process's control groups in CPUs, or None; ``root`` holds ``proc`` and the mounts.

    The smallest quota from the process's own group up to the mount counts, as the kernel applies all of them.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    quotas = []
    for mount in mounts:
        left, _, right = mount.partition(" - ")
        _, _, _, inside, place = left.split()[:5]
        kind, _, options = right.split()[:3]
        if kind == "cgroup2":
            controller, read = "", _quota_v2
        elif kind == "cgroup" and "cpu" in options.split(","):
            controller, read = "cpu", _quota_v1
        else:
            continue
        base = root / place.lstrip("/")
        for group in _groups(groups, controller, inside):
            quotas.append(read(base / group))
    return min((q for q in quotas if q is not None), default=None)


def _groups(lines: list[str], controller: str, inside: str) -> Iterator[str]:
    """Paths, relative to the mount of a hierarchy, of the process's group and of the groups above it.

    ``inside`` is what the mount shows of the hierarchy.  A container may see its own group as the mount
    itself while ``/proc/self/cgroup`` names it as the host does.
    """
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            relative = os.path.relpath(path, inside)
            parts = [] if relative.startswith("..") else [p for p in relative.split("/") if p != "."]
            for n in range(len(parts), -1, -1):
                yield "/".join(parts[:n])


def _quota_v2(group: Path) -> float | None:
    words = _read_words(group / "cpu.max")
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else None


def _quota_v1(group: Path) -> float | None:
    quota, period = _read_words(group / "cpu.cfs_quota_us"), _read_words(group / "cpu.cfs_period_us")
    return int(quota[0]) / int(period[0]) if quota and period and int(quota[0]) > 0 else None


def _read_words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


# --------------------------------------------------------------------------------------- what is used

_wanted: int | None = None  # None until somebody asks
_runtime: Runtime | None = None  # None until a program is built
_lock = threading.RLock()  # held while either changes


def num_threads() -> int:
    """The number of threads that parallel steps use, the calling thread included."""
    global _wanted
    if _wanted is None:
        text = os.environ.get("FX_NUM_THREADS", "").strip()
        if text and not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_THREADS):
            raise ValueError(f"FX_NUM_THREADS={text!r} is no number of threads; write 1 to {MAX_THREADS}, or unset it")
        _wanted = _possible(int(text)) if text else host_threads()
    return _wanted


def set_num_threads(n: int) -> None:
    """Sets the number of threads for the whole process.  Programs use at most what they were built for."""
    global _wanted
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= MAX_THREADS:
        raise ValueError(f"set_num_threads({n!r}): a number of threads is an int from 1 to {MAX_THREADS}")
    n = _possible(n)
    with _lock:
        _wanted = n
        if _runtime is not None:
            _runtime.set_threads(n)


def _possible(n: int) -> int:
    """``n``, or 1 with a warning on a platform without POSIX threads."""
    if n == 1 or HAS_THREADS:
        return n
    warnings.warn(f"fx has no threads on {sys.platform}: it uses 1 instead of {n}", RuntimeWarning, stacklevel=3)
    return 1


@contextlib.contextmanager
def using_threads(n: int) -> Iterator[None]:
    """``n`` threads inside the ``with`` block, for the whole process; then the old number again."""
    old = num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(old)


# ---------------------------------------------------------------------------------------- the runtime


class Runtime:
    """The loaded runtime: its entry points and its context (``runtime_ir.Word``).

    Nothing here is ever freed: workers may poll or sleep in this code until the process is gone.
    """

    def __init__(self) -> None:
        with compiling:
            entries = load(_object_code(), ENTRIES)
        context = ctypes.CFUNCTYPE(ctypes.c_void_p)(entries["fx_context"])()
        self.words = (ctypes.c_int64 * (Word.IMPORTS + len(IMPORTS))).from_address(context)
        for k, name in enumerate(IMPORTS):
            self.words[Word.IMPORTS + k] = _symbol(name)
        self.run_address = entries["fx_run"]
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self.place = ctypes.PYFUNCTYPE(number, pointer, pointer, number, number, pointer, pointer)(entries["fx_place"])
        self._open_pool = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(entries["fx_open_pool"])
        self._start = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64)(entries["fx_start_worker"])
        self._grow = self.grow
        _check_layout()
        objects = {Word.NDARRAY: np.ndarray, Word.INT: int, Word.NONE: None, Word.TYPE_ERROR: TypeError}
        for word, value in {**objects, Word.GROW: self._grow}.items():
            self.words[word] = id(value)
        self.words[Word.RUNNING] = 1
        self.set_threads(num_threads())

    def set_threads(self, n: int) -> None:
        """Lets parallel steps use ``n`` threads from now on."""
        self.words[Word.THREADS] = n
        self._set_spin()

    def grow(self) -> None:
        """Starts the workers that are missing.  Called by a program that wants more threads than there are."""
        with _lock:
            if not self.words[Word.POOL]:
                self.words[Word.POOL] = immortal(Pool.SLOTS + MAX_THREADS * Slot.BYTES, align=256)
                self._open_pool(self.words[Word.POOL])
            self._set_spin()
            error = 0
            with _signals_blocked():
                while self.words[Word.RUNNING] < self.words[Word.THREADS] and not error:
                    error = self._start(self.words[Word.POOL], self.words[Word.RUNNING])
                    self.words[Word.RUNNING] += not error
            if error:
                self._make_do(error)

    def forget_pool(self) -> None:
        """In a forked child: the workers stayed with the parent, so the next parallel step starts new ones."""
        self.words[Word.POOL] = 0
        self.words[Word.RUNNING] = 1

    def _make_do(self, error: int) -> None:
        wanted, running = self.words[Word.THREADS], self.words[Word.RUNNING]
        set_num_threads(running)
        warnings.warn(
            f"only {running} of {wanted} threads could be started ({os.strerror(error)}); fx goes on with those",
            RuntimeWarning,
            stacklevel=2,
        )

    def _set_spin(self) -> None:
        if self.words[Word.POOL]:
            spin = (
                SPIN_NS if self.words[Word.THREADS] <= host_threads() else 0
            )  # polling would keep others off the CPUs
            ctypes.c_int64.from_address(self.words[Word.POOL] + Pool.SPIN).value = spin


def runtime() -> Runtime:
    """The runtime of this process, loaded when first asked for."""
    global _runtime
    with _lock:
        if _runtime is None:
            _runtime = Runtime()
        return _runtime


def _after_fork() -> None:
    """The child has one thread: whoever held the lock is gone, and so are the workers."""
    global _lock
    _lock = threading.RLock()
    if _runtime is not None:
        _runtime.forget_pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def immortal(nbytes: int, align: int = 16) -> int:
    """The address of zeroed memory that is never freed, not even at the interpreter's exit."""
    address = _calloc(1, nbytes + align)
    if not address:
        raise MemoryError(f"{nbytes} bytes for the native runtime")
    return int(address + -address % align)


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Threads started inside leave signals to the others, but for those that report their own faults."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    faults = {getattr(signal, name) for name in _FAULTS if hasattr(signal, name)}
    old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _symbol(name: str) -> int:
    """The address of a C or Python function in this process; 0 if it has none of that name."""
    system: ctypes.CDLL
    if sys.platform == "win32":
        system = ctypes.WinDLL("kernel32")
    else:
        system = ctypes.CDLL(None)
    for library in (ctypes.pythonapi, system):
        if hasattr(library, name):
            return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
    return 0


def _check_layout() -> None:
    """The runtime reads an array's type and data address from the object, where CPython and NumPy keep them."""
    probe = np.zeros(1, np.int64)
    head = id(probe) + object.__basicsize__
    place, data = ctypes.c_void_p.from_address(head - 8), ctypes.c_void_p.from_address(head)
    if sys.implementation.name != "cpython" or place.value != id(np.ndarray) or data.value != probe.ctypes.data:
        raise BackendError(
            f"{platform.python_implementation()} {platform.python_version()} with NumPy {np.__version__} lays out "
            "arrays in a way that the native runtime does not know; FX_BACKEND=reference does without it"
        )


def _object_code() -> bytes:
    """The runtime as object code for any CPU of this architecture, from the store if it is there."""
    text, store = runtime_text(), default_store()
    key = kernel_key(text, {"kernel": "runtime"}, environment_digest())
    data = store.get(key)
    if data is None:
        data = llvm().plain_code(text)
        store.put(key, data)
    return data
