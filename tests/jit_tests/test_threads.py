"""Thread counts of hosts and containers, and the workers: their start, environment, sleep and end."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
from children import exit_code

from jit import runtime_ir, threads
from jit.llvm import emission, linker
from jit.runtime_ir import Pool, Slot, Word, machine, runtime_text
from jit.tape import Patch, Program, TapeStep

# halves x[i] into y[i]: the smallest normal number becomes a subnormal, or zero under flush-to-zero
HALVE = """
define void @halve(ptr %frame, i64 %lo, i64 %hi, i64 %worker) {
entry:
  %x = load ptr, ptr %frame
  %second = getelementptr i64, ptr %frame, i64 1
  %y = load ptr, ptr %second
  br label %loop
loop:
  %i = phi i64 [ %lo, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %hi
  br i1 %more, label %body, label %done
body:
  %from = getelementptr double, ptr %x, i64 %i
  %to = getelementptr double, ptr %y, i64 %i
  %v = load double, ptr %from
  %h = fmul double %v, 5.0e-01
  store double %h, ptr %to
  %next = add i64 %i, 1
  br label %loop
done:
  ret void
}
"""
SYSTEMS = {
    "x86_64-unknown-linux-gnu": ("x86_64", "linux"),
    "aarch64-unknown-linux-gnu": ("aarch64", "linux"),
    "arm64-apple-macosx13.0": ("arm64", "darwin"),
    "x86_64-pc-windows-msvc": ("AMD64", "win32"),
    "riscv64-unknown-linux-gnu": ("riscv64", "linux"),
}


@pytest.fixture(autouse=True)
def _threads_restored() -> Iterator[None]:
    with threads.using_threads(threads.num_threads()):
        yield


def halver(total: int, chunk: int, nanoseconds: int = 0, repeat: int = 1) -> Program:
    kernel = linker.load(emission.plain_code(HALVE), ("halve",))["halve"]
    frame = np.zeros(2, np.int64)
    address = frame.ctypes.data
    step = TapeStep(kernel, address, total, chunk, nanoseconds=nanoseconds)
    return Program([step] * repeat, [Patch(address, 0), Patch(address + 8, 1)], 2, keep=(frame,))


def run_parallel(n_threads: int) -> None:
    threads.set_num_threads(n_threads)
    x, y = np.ones(1000), np.zeros(1000)
    halver(1000, 10).run(x, y)
    assert (y == 0.5).all()


# ------------------------------------------------------------------------------------------ the host


def tree(root: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """A file system with ``/proc/self/cgroup``, ``/proc/self/mountinfo`` and control group files."""
    for name, text in {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


V2 = "30 23 0:26 {inside} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1 = "34 31 0:32 {inside} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
G = "sys/fs/cgroup/"
C = "sys/fs/cgroup/cpu,cpuacct/"
# groups, mounts, files -> quota
QUOTAS: dict[str, tuple[str, str, dict[str, str], float | None]] = {
    "v2": ("0::/a", V2.format(inside="/"), {G + "a/cpu.max": "150000 100000"}, 1.5),
    "v2 unlimited": ("0::/a", V2.format(inside="/"), {G + "a/cpu.max": "max 100000"}, None),
    "v2 at the root of a container": ("0::/", V2.format(inside="/"), {G + "cpu.max": "400000 100000"}, 4.0),
    "v2 above": (
        "0::/a/b/c",
        V2.format(inside="/"),
        {G + "a/cpu.max": "200000 100000", G + "a/b/cpu.max": "max 100000", G + "a/b/c/cpu.max": "300000 100000"},
        2.0,
    ),
    "v2 seen from inside": ("0::/pod/a", V2.format(inside="/pod"), {G + "a/cpu.max": "50000 100000"}, 0.5),
    "v2 named from outside": ("0::/../b", V2.format(inside="/"), {G + "cpu.max": "700000 100000"}, 7.0),
    "v1": (
        "4:memory:/x\n3:cpu,cpuacct:/a",
        V1.format(inside="/"),
        {C + "a/cpu.cfs_quota_us": "250000", C + "a/cpu.cfs_period_us": "100000"},
        2.5,
    ),
    "v1 unlimited": (
        "3:cpu,cpuacct:/a",
        V1.format(inside="/"),
        {C + "a/cpu.cfs_quota_us": "-1", C + "a/cpu.cfs_period_us": "100000"},
        None,
    ),
    "v1 in docker": (
        "3:cpu,cpuacct:/docker/1234",
        V1.format(inside="/docker/1234"),
        {C + "cpu.cfs_quota_us": "300000", C + "cpu.cfs_period_us": "100000"},
        3.0,
    ),
    "both": (
        "3:cpu,cpuacct:/a\n0::/",
        V1.format(inside="/") + "\n38 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
        {C + "a/cpu.cfs_quota_us": "300000", C + "a/cpu.cfs_period_us": "100000"},
        3.0,
    ),
    "no controller": ("4:memory:/x", "22 27 0:21 / /proc rw - proc proc rw", {}, None),
}


@pytest.mark.parametrize("name", QUOTAS)
def test_cgroup_quota(tmp_path: Path, name: str) -> None:
    groups, mounts, contents, quota = QUOTAS[name]
    assert threads.cgroup_quota(tree(tmp_path, groups, mounts, contents)) == quota


def test_a_host_without_control_groups(tmp_path: Path) -> None:
    assert threads.cgroup_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("machine", "affinity", "quota", "expected"),
    [
        (8, 8, None, 8),
        (8, 3, None, 3),
        (8, 8, 1.5, 1),
        (8, 8, 2.5, 2),
        (8, 8, 0.2, 1),
        (8, 2, 6.0, 2),
        (None, 4, None, 4),
    ],
)
def test_host_threads(
    monkeypatch: pytest.MonkeyPatch, machine: int | None, affinity: int, quota: float | None, expected: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: machine)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
    monkeypatch.setattr(threads, "cgroup_quota", lambda: quota)
    assert threads.host_threads.__wrapped__() == expected


@pytest.mark.parametrize(("text", "expected"), [("3", 3), (" 12 ", 12), ("", None), ("1", 1)])
def test_environment_variable(monkeypatch: pytest.MonkeyPatch, text: str, expected: int | None) -> None:
    monkeypatch.setenv("FX_NUM_THREADS", text)
    monkeypatch.setattr(threads, "_wanted", None)
    assert threads.num_threads() == (expected or threads.host_threads())


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "100000"])
def test_environment_variable_malformed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FX_NUM_THREADS", text)
    monkeypatch.setattr(threads, "_wanted", None)
    with pytest.raises(ValueError, match="FX_NUM_THREADS"):
        threads.num_threads()
    monkeypatch.undo()


@pytest.mark.parametrize("n", [0, -1, 2.0, "2", True, None, 10**6])
def test_malformed_thread_counts_are_refused(n: object) -> None:
    with pytest.raises(ValueError, match="number of threads"):
        threads.set_num_threads(n)  # type: ignore[arg-type]


def test_using_threads_restores() -> None:
    threads.set_num_threads(2)
    with pytest.raises(KeyError), threads.using_threads(5):
        assert threads.num_threads() == 5
        raise KeyError
    assert threads.num_threads() == 2


def test_a_platform_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "HAS_THREADS", False)
    assert threads.host_threads.__wrapped__() == 1
    with pytest.warns(RuntimeWarning, match="uses 1 instead of 4"):
        threads.set_num_threads(4)
    assert threads.num_threads() == 1
    monkeypatch.undo()


# --------------------------------------------------------------------------------------- the runtime


@pytest.mark.parametrize("triple", SYSTEMS)
def test_the_runtime_compiles_for_other_systems(triple: str) -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine, system = SYSTEMS[triple]
    module = llvm.parse_assembly(runtime_text(machine, system), llvm.create_context())
    module.triple = triple
    module.verify()
    target = llvm.Target.from_triple(triple).create_target_machine(opt=0, jit=True)
    assert len(target.emit_object(module)) > 1000


def test_the_runtime_imports_nothing_by_symbol() -> None:
    module = llvm.parse_assembly(runtime_text(), llvm.create_context())
    declared = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    assert declared == []


def test_imports_are_resolved() -> None:
    words = threads.runtime().words
    missing = [name for k, name in enumerate(runtime_ir.IMPORTS) if not words[Word.IMPORTS + k]]
    of_linux = [name for name in runtime_ir.IMPORTS if name.startswith("sched_") and name != "sched_yield"]
    of_windows = ["GetSystemTimePreciseAsFileTime"]
    assert missing == {"linux": of_windows, "darwin": of_linux + of_windows, "win32": []}[sys.platform]


def test_layouts_do_not_overlap() -> None:
    for layout, length in ((Word, Word.IMPORTS + 1), (Pool, Pool.SLOTS + 8), (Slot, Slot.BYTES + 1)):
        values = [m.value for m in layout]
        assert len(set(values)) == len(layout.__members__) and max(values) < length
    assert Slot.COND - Slot.MUTEX >= 64 and Slot.BYTES - Slot.COND >= 64


# --------------------------------------------------------------------------------------- the workers


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def slot_word(worker: int, field: Slot) -> int:
    address = threads.runtime().words[Word.POOL] + Pool.SLOTS + worker * Slot.BYTES + field
    return ctypes.c_int64.from_address(address).value


def test_workers_start_when_needed_and_stay() -> None:
    def work() -> None:
        words = threads.runtime().words
        assert (words[Word.RUNNING], words[Word.POOL]) == (1, 0)
        for wanted, running in ((1, 1), (3, 3), (2, 3), (5, 5)):
            run_parallel(wanted)
            assert words[Word.RUNNING] == running

    threads.runtime()
    assert exit_code(work) == 0


def test_idle_workers_sleep() -> None:
    run_parallel(3)
    until(lambda: all(slot_word(w, Slot.SLEEPING) for w in (1, 2)))
    run_parallel(3)


def woke(program: Program) -> bool:
    """Whether the last step of a program would wake sleepers, after a pause in which all fall asleep."""
    until(lambda: bool(slot_word(1, Slot.SLEEPING)))
    time.sleep(0.001)
    x, y = np.ones(100), np.zeros(100)
    program.run(x, y)
    assert (y == 0.5).all()
    return bool(ctypes.c_int64.from_address(threads.runtime().words[Word.POOL] + Pool.WAKE).value)


def test_short_steps_wake_nobody_until_they_add_up() -> None:
    threads.set_num_threads(2)
    run_parallel(2)
    short, long = runtime_ir.WAKE_NS * 3 // 5, runtime_ir.WAKE_NS
    for _ in range(20):
        assert not woke(halver(100, 10, nanoseconds=short))
        assert slot_word(1, Slot.SLEEPING)
    assert woke(halver(100, 10, nanoseconds=long))
    assert woke(halver(100, 10))
    until(lambda: woke(halver(100, 10, nanoseconds=short, repeat=2)))  # unless a pause comes in between


def test_workers_poll_only_if_there_are_cpus_for_all() -> None:
    for n, spin in ((threads.host_threads(), threads.SPIN_NS), (threads.host_threads() + 1, 0)):
        run_parallel(max(n, 2))
        pool = threads.runtime().words[Word.POOL]
        expected = spin if n >= 2 else 0
        assert ctypes.c_int64.from_address(pool + Pool.SPIN).value == expected


def blocked(task: str, number: int) -> bool:
    mask = Path(f"/proc/self/task/{task}/status").read_text().split("SigBlk:")[1].split()[0]
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_leave_signals_to_python() -> None:
    def work() -> None:
        before = set(os.listdir("/proc/self/task"))
        run_parallel(3)
        new = set(os.listdir("/proc/self/task")) - before
        assert len(new) == 2
        for task in new:
            until(lambda task=task: not blocked(task, signal.SIGSEGV))  # a thread that starts blocks all of them
            assert blocked(task, signal.SIGINT) and blocked(task, signal.SIGTERM)

    threads.runtime()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert exit_code(work) == 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask


def test_threads_that_cannot_be_started_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        runtime = threads.runtime()
        start = runtime._start
        runtime._start = lambda pool, worker: errno.EAGAIN if worker >= 2 else start(pool, worker)  # type: ignore[assignment]
        with pytest.warns(RuntimeWarning, match="only 2 of 6 threads"):
            run_parallel(6)
        assert threads.num_threads() == 2
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run_parallel(2)

    threads.runtime()
    assert exit_code(work) == 0


FLUSH = {"x86_64": 0x8000, "aarch64": 1 << 24}
KIND = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())


@pytest.mark.skipif(KIND not in FLUSH, reason="the runtime leaves the control word of this architecture alone")
def test_every_thread_computes_with_subnormals() -> None:
    """A caller under flush-to-zero: it and the workers it starts compute as ever; it keeps its mode."""

    def work() -> None:
        text = machine.MACHINES[KIND] + (
            "define i64 @get() {\n  %w = call i64 @fp_load()\n  ret i64 %w\n}\n"
            "define void @set(i64 %w) {\n  call void @fp_store(i64 %w)\n  ret void\n}\n"
        )
        entries = linker.load(emission.plain_code(text), ("get", "set"))
        get = ctypes.CFUNCTYPE(ctypes.c_int64)(entries["get"])
        set_ = ctypes.CFUNCTYPE(None, ctypes.c_int64)(entries["set"])
        tiny = np.finfo(np.float64).tiny
        x = np.full(1000, tiny)
        program = halver(1000, 1)
        flushing = get() | FLUSH[KIND]
        set_(flushing)
        assert (x * 0.5 == 0).all()
        for n in (1, 3):
            threads.set_num_threads(n)
            for _ in range(50):
                y = np.zeros(1000)
                program.run(x, y)
                assert np.array_equal(y.view(np.int64), np.full(1000, 1 << 51))
        assert get() == flushing

    assert exit_code(work) == 0


# -------------------------------------------------------------------------------------------- the end

EXIT = """
import ctypes, sys, threading
import numpy as np
from jit import threads
from jit.llvm import emission, linker
from jit.tape import Patch, Program, TapeStep
threads.set_num_threads(3)
kernel = linker.load(emission.plain_code({text!r}), ("halve",))["halve"]
frame = np.zeros(2, np.int64)
x, y = np.ones(100_000), np.zeros(100_000)
a = frame.ctypes.data
program = Program([TapeStep(kernel, a, 100_000, 1000)] * 50, [Patch(a, 0), Patch(a + 8, 1)], 2, keep=(frame,))
program.run(x, y)
def forever():
    while True:
        program.run(x, y)
if {daemon}:
    threading.Thread(target=forever, daemon=True).start()
    import time
    time.sleep(0.05)
print("done", flush=True)
"""


@pytest.mark.parametrize("daemon", [False, True])
def test_the_interpreter_ends(daemon: bool, tmp_path: Path) -> None:
    """Neither sleeping workers nor a thread inside a program hinder the exit."""
    code = EXIT.format(text=HALVE, daemon=daemon)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(2):
        command = [sys.executable, "-X", "faulthandler", "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        assert done.stderr == ""
        assert (done.returncode, done.stdout) == (0, "done\n")
