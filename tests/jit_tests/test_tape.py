"""Programs: results under any cut and thread count, pointers, errors, concurrency, forks, lifetimes."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from children import exit_code

from fx.errors import GraphError
from jit import threads
from jit.llvm import emission, linker
from jit.llvm.native import compile_object
from jit.llvm.objects import load_object
from jit.loop_builder import KernelBuilder
from jit.loop_ir import f64, i64
from jit.runtime_ir import MOST_SHARES, SHARES, StepKind
from jit.tape import Patch, Program, ProgramBusyError, SteerStep, TapeStep
from jit.target import host

# Raises flag[1] and flag[2 + worker], then waits until somebody sets flag[0].
WAIT = """
define void @wait(ptr %frame, i64 %lo, i64 %hi, i64 %worker) {
entry:
  %flag = load ptr, ptr %frame
  %here = getelementptr i64, ptr %flag, i64 1
  store atomic i64 1, ptr %here seq_cst, align 8
  %mine = getelementptr i64, ptr %here, i64 1
  %place = getelementptr i64, ptr %mine, i64 %worker
  store atomic i64 1, ptr %place seq_cst, align 8
  br label %look
look:
  %go = load atomic i64, ptr %flag seq_cst, align 8
  %set = icmp ne i64 %go, 0
  br i1 %set, label %done, label %look
done:
  ret void
}
"""


@functools.cache
def kernels() -> dict[str, int]:
    """axpy: y[i] += 2 x[i].  mark: count[i] += 1, who[i] = worker, first[i] = lo."""
    a = KernelBuilder("axpy")
    x, y = a.pointer("x", f64), a.pointer("y", f64)
    with a.for_("i", a.lo, a.hi) as i:
        a.store(y, i, a.load(x, i) * 2.0 + a.load(y, i))
    m = KernelBuilder("mark")
    count, who, first = m.pointer("count", i64), m.pointer("who", i64), m.pointer("first", i64)
    with m.for_("i", m.lo, m.hi) as i:
        m.store(count, i, m.load(count, i) + 1)
        m.store(who, i, m.worker)
        m.store(first, i, m.lo)
    own = load_object(compile_object([a.build(), m.build()], host()), ("axpy", "mark"))
    return {**own, **linker.load(emission.plain_code(WAIT), ("wait",))}


@pytest.fixture(autouse=True)
def _threads_restored() -> Iterator[None]:
    with threads.using_threads(threads.num_threads()):
        yield


class Frame:
    """A frame of n pointers that patches fill."""

    def __init__(self, n: int) -> None:
        self.words = np.zeros(n, np.int64)
        self.address = self.words.ctypes.data
        self.patches = [Patch(self.address + 8 * k, k) for k in range(n)]


def axpy(total: int, chunk: int, repeat: int = 1, **options: object) -> Program:
    """Runs y += 2 x ``repeat`` times."""
    frame = Frame(2)
    step = TapeStep(kernels()["axpy"], frame.address, total, chunk)
    return Program([step] * repeat, frame.patches, 2, keep=(frame.words,), **options)  # type: ignore[arg-type]


def marks(total: int, chunk: int, serial: bool = False, **options: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """count, who and first after one run."""
    frame = Frame(3)
    step = TapeStep(kernels()["mark"], frame.address, total, chunk, serial)
    count, who, first = np.zeros(total, np.int64), np.full(total, -1), np.full(total, -1)
    Program([step], frame.patches, 3, keep=(frame.words,), **options).run(count, who, first)  # type: ignore[arg-type]
    return count, who, first


# -------------------------------------------------------------------------------------------- results


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
@pytest.mark.parametrize(
    ("total", "chunk"), [(1, 1), (7, 1), (1000, 1), (1000, 7), (1000, 999), (1000, 1000), (5, 100)]
)
def test_every_index_runs_once_under_any_cut(n_threads: int, total: int, chunk: int) -> None:
    threads.set_num_threads(n_threads)
    for _ in range(10):
        count, who, first = marks(total, chunk)
        np.testing.assert_array_equal(count, 1)
        assert who.min() >= 0 and who.max() < n_threads
        cuts = np.zeros(total) if n_threads == 1 else np.arange(total) // chunk * chunk
        np.testing.assert_array_equal(first, cuts)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("total", [1, 5, 7, 20, 21, 1000])
def test_shares_are_equal_and_as_many_as_threads(n_threads: int, total: int) -> None:
    threads.set_num_threads(n_threads)
    number = min(n_threads, total, MOST_SHARES)
    for _ in range(10):
        count, who, first = marks(total, SHARES)
        np.testing.assert_array_equal(count, 1)
        assert who.min() >= 0 and who.max() < number
        np.testing.assert_array_equal(first, np.arange(total) // -(-total // number) * -(-total // number))


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7])
def test_results_do_not_depend_on_threads(n_threads: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=5000), rng.normal(size=5000)
    expected = y.copy()
    for _ in range(20):
        expected += 2 * x
    threads.set_num_threads(n_threads)
    axpy(5000, 100, repeat=20).run(x, y)
    np.testing.assert_array_equal(y, expected)


def test_workers_take_part() -> None:
    """A worker comes inside while the first pieces wait, however late it wakes."""
    threads.set_num_threads(2)
    flag = np.zeros(10, np.int64)
    runner, _ = start_waiting(flag, pieces=2)
    _until(lambda: _inside() == 1)
    flag[0] = 1
    runner.join(60)
    assert not runner.is_alive() and _inside() == 0


def start_waiting(flag: np.ndarray, pieces: int, workers: int | None = None) -> tuple[threading.Thread, Program]:
    """A thread inside a program that ends when ``flag[0]`` is set."""
    frame = Frame(1)
    step = TapeStep(kernels()["wait"], frame.address, pieces, 1)
    program = Program([step], frame.patches, 1, workers=workers, keep=(frame.words,))
    runner = threading.Thread(target=program.run, args=(flag,))
    runner.start()
    _until(lambda: flag[1] == 1)
    return runner, program


def _inside() -> int:
    """Workers inside the region that is open."""
    state = ctypes.c_int64.from_address(threads.runtime().words[threads.Word.POOL] + threads.Pool.STATE).value
    return state & 0xFFFFFFFF


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_no_step_uses_more_workers_than_the_program_was_built_for() -> None:
    threads.set_num_threads(2)
    frame = Frame(3)
    program = Program([TapeStep(kernels()["mark"], frame.address, 500, 1)], frame.patches, 3)
    threads.set_num_threads(7)
    for _ in range(50):
        arrays = np.zeros(500, np.int64), np.full(500, -1), np.zeros(500, np.int64)
        program.run(*arrays)
        assert arrays[1].max() < 2
    assert marks(500, 1, workers=1)[1].max() == 0


def test_workers_that_are_awake_but_not_asked_stay_out() -> None:
    threads.set_num_threads(4)
    marks(500, 1)
    spin = ctypes.c_int64.from_address(threads.runtime().words[threads.Word.POOL] + threads.Pool.SPIN)
    spin.value = 2_000_000_000
    marks(500, 1)  # wakes them: now all poll
    flag = np.zeros(10, np.int64)
    runner, _ = start_waiting(flag, pieces=6, workers=2)
    _until(lambda: flag[3] == 1)
    time.sleep(0.05)
    flag[0] = 1
    runner.join(60)
    spin.value = 0
    np.testing.assert_array_equal(flag[2:6], [1, 1, 0, 0])


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux tells where a thread may run")
def test_workers_that_leave_their_callers_core_may_come_back() -> None:
    def work() -> None:
        allowed = os.sched_getaffinity(0)
        core = min(allowed)
        threads.set_num_threads(3)
        marks(500, 1)
        workers = {int(t) for t in os.listdir("/proc/self/task")} - {os.getpid()}
        assert len(workers) >= 2
        os.sched_setaffinity(0, {core})
        for others in ({core}, allowed):  # on the caller's core for want of another, then there by chance
            for t in workers:
                os.sched_setaffinity(t, others)
            for _ in range(20):
                count, _, _ = marks(100, 1)
                np.testing.assert_array_equal(count, 1)
            time.sleep(0.02)
            assert all(os.sched_getaffinity(t) == others for t in workers)

    assert exit_code(work) == 0


def test_serial_steps_run_whole_on_the_caller() -> None:
    threads.set_num_threads(3)
    count, who, first = marks(1000, 10, serial=True)
    assert (count == 1).all() and (who == 0).all() and (first == 0).all()


def test_steps_run_in_order_and_see_each_other() -> None:
    threads.set_num_threads(3)
    a, b = Frame(2), Frame(2)
    patches = [*a.patches, Patch(b.address, 1), Patch(b.address + 8, 2)]
    k = kernels()["axpy"]
    program = Program([TapeStep(k, a.address, 3000, 50), TapeStep(k, b.address, 3000, 70)] * 5, patches, 3)
    x, y, z = np.ones(3000), np.zeros(3000), np.zeros(3000)
    program.run(x, y, z)
    np.testing.assert_array_equal(y, 10.0)
    np.testing.assert_array_equal(z, 2 * (2 + 4 + 6 + 8 + 10.0))


def test_empty_programs_and_empty_steps() -> None:
    Program([], [], 0).run()
    Program([], [], 2).run(np.zeros(3), np.zeros(0))
    Program([TapeStep(0, 0, 0, 1)], [], 0).run()
    count, _, _ = marks(0, 5)
    assert count.shape == (0,)


# ------------------------------------------------------------------------------------------- pointers


def test_pointers_are_arrays_or_addresses() -> None:
    class Derived(np.ndarray):
        pass

    program = axpy(4, 4)
    for x in (np.ones(4), np.ones(4).view(Derived), np.ones((2, 2)), np.ones(9)[3:7]):
        y = np.zeros(4)
        program.run(x, y)
        program.run(x.ctypes.data, y)
        program.run(x, y.ctypes.data)
        np.testing.assert_array_equal(y, 6.0)


def test_offsets_and_pointers_used_twice() -> None:
    frame = Frame(2)
    patches = [Patch(frame.address, 1, 16), Patch(frame.address + 8, 1, 0)]
    program = Program([TapeStep(kernels()["axpy"], frame.address, 2, 2)], patches, 2)
    data = np.array([1.0, 2.0, 10.0, 20.0])
    program.run(np.zeros(0), data)
    np.testing.assert_array_equal(data, [21.0, 42.0, 10.0, 20.0])


def test_zero_dimensional_arrays() -> None:
    x, y = np.array(3.0), np.array(1.0)
    axpy(1, 1).run(x, y)
    assert y == 7.0


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((), TypeError, "takes 2 data pointers, 0 given"),
        ((np.ones(4),), TypeError, "takes 2 data pointers, 1 given"),
        ((np.ones(4), np.ones(4), np.ones(4)), TypeError, "takes 2 data pointers, 3 given"),
        ((np.ones(4), [0.0] * 4), TypeError, "argument 1"),
        ((None, np.ones(4)), TypeError, "argument 0"),
        ((np.ones(4), 1.5), TypeError, "argument 1"),
        ((np.ones(4), True), TypeError, "argument 1"),
        ((np.ones(4), np.float64(1)), TypeError, "argument 1"),
        ((np.ones(4), 1 << 80), OverflowError, "too large"),
    ],
)
def test_bad_arguments_raise_and_leave_the_program_usable(
    arguments: tuple[object, ...], error: type[Exception], text: str
) -> None:
    program = axpy(4, 4)
    for _ in range(3):
        with pytest.raises(error, match=text):
            program.run(*arguments)
    x, y = np.ones(4), np.zeros(4)
    program.run(x, y)
    np.testing.assert_array_equal(y, 2.0)


# ------------------------------------------------------------------------------------------- building


@pytest.mark.parametrize(
    "step",
    [
        TapeStep(1, 1, -1, 1),
        TapeStep(1, 1, 1, 0),
        TapeStep(1, 1, 1, -5),
        TapeStep(0, 1, 1, 1),
        SteerStep(StepKind.JUMP, (7,), (0,)),
    ],
)
def test_malformed_steps_are_refused(step: TapeStep | SteerStep) -> None:
    with pytest.raises(GraphError, match=r"step 1 is (TapeStep|SteerStep).*(total >= 0|jumps out)"):
        Program([TapeStep(1, 1, 1, 1), step], [], 0)


@pytest.mark.parametrize("patch", [Patch(8, 2), Patch(8, -1), Patch(0, 0)])
def test_malformed_patches_are_refused(patch: Patch) -> None:
    with pytest.raises(GraphError, match="patch 1 is Patch"):
        Program([], [Patch(8, 0), patch], 2)


def test_a_program_needs_a_worker() -> None:
    with pytest.raises(GraphError, match="at least one worker"):
        Program([], [], 0, workers=0)


def test_run_describes_itself() -> None:
    run = axpy(4, 4).run
    assert run.__name__ == "run" and "addresses" in (run.__doc__ or "")
    assert run.__text_signature__ == "($self, /, *arrays)"  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------ profiling


@pytest.mark.parametrize("n_threads", [1, 3])
def test_profile_gives_nanoseconds_of_each_step(n_threads: int) -> None:
    threads.set_num_threads(n_threads)
    program = axpy(20_000, 1000, repeat=4)
    x, y = np.ones(20_000), np.zeros(20_000)
    start = time.perf_counter_ns()
    spent = program.profile(x, y)
    wall = time.perf_counter_ns() - start
    assert spent.shape == (4,) and spent.dtype == np.uint64
    assert (spent > 0).all() and spent.sum() <= wall
    np.testing.assert_array_equal(y, 8.0)
    kept = spent.copy()
    program.run(x, y)
    np.testing.assert_array_equal(spent, kept)


# ---------------------------------------------------------------------------------------- concurrency


def test_a_program_runs_in_one_thread_at_a_time() -> None:
    flag = np.zeros(10, np.int64)
    runner, program = start_waiting(flag, pieces=1)
    with pytest.raises(ProgramBusyError, match="another thread"):
        program.run(flag)
    flag[0] = 1
    runner.join(60)
    assert not runner.is_alive()
    program.run(flag)


@pytest.mark.parametrize("n_threads", [2, 5])
def test_many_callers_share_the_pool(n_threads: int) -> None:
    threads.set_num_threads(n_threads)
    wrong: list[int] = []

    def work(number: int) -> None:
        program = axpy(600, 50, repeat=10)
        x = np.full(600, float(number))
        for _ in range(60):
            y = np.zeros(600)
            program.run(x, y)
            if not (y == 20.0 * number).all():
                wrong.append(number)

    callers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert not any(c.is_alive() for c in callers) and not wrong


def test_many_callers_share_one_program() -> None:
    threads.set_num_threads(2)
    program = axpy(600, 50, repeat=3)
    runs, wrong = [0] * 8, []

    def work(number: int) -> None:
        x = np.full(600, float(number))
        while runs[number] < 40:
            y = np.zeros(600)
            try:
                program.run(x, y)
            except ProgramBusyError:
                time.sleep(0)
                continue
            runs[number] += 1
            if not (y == 6.0 * number).all():
                wrong.append(number)

    callers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert runs == [40] * 8 and not wrong


@pytest.mark.parametrize("n_threads", [2, 3, 7])
@pytest.mark.parametrize("release_gil", [False, True])
def test_thousands_of_small_parallel_steps(n_threads: int, release_gil: bool) -> None:
    threads.set_num_threads(n_threads)
    program = axpy(64, 4, repeat=3, release_gil=release_gil)
    x, y = np.ones(64), np.zeros(64)
    for _ in range(2000):
        program.run(x, y)
    np.testing.assert_array_equal(y, 2.0 * 3 * 2000)


def test_pauses_between_runs() -> None:
    """Workers fall asleep at every moment of the next call."""
    threads.set_num_threads(2)
    program = axpy(64, 4, repeat=2)
    x, y = np.ones(64), np.zeros(64)
    for n in range(300):
        program.run(x, y)
        end = time.perf_counter_ns() + n * 400
        while time.perf_counter_ns() < end:
            pass
    np.testing.assert_array_equal(y, 2.0 * 2 * 300)


def test_thread_counts_that_change_all_the_time() -> None:
    program = axpy(640, 10, repeat=2, workers=7)
    x, y = np.ones(640), np.zeros(640)
    for n in range(300):
        threads.set_num_threads(1 + n % 7)
        program.run(x, y)
    np.testing.assert_array_equal(y, 2.0 * 2 * 300)


# ---------------------------------------------------------------------------------------------- forks


def run_once(n_threads: int) -> None:
    threads.set_num_threads(n_threads)
    x, y = np.ones(1000), np.zeros(1000)
    axpy(1000, 10, repeat=5).run(x, y)
    assert (y == 10.0).all()


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_a_forked_child_runs_programs(n_threads: int) -> None:
    run_once(n_threads)
    for _ in range(3):
        assert exit_code(lambda: run_once(n_threads)) == 0
        run_once(n_threads)


def test_a_forked_child_runs_the_programs_of_its_parent() -> None:
    threads.set_num_threads(3)
    program = axpy(1000, 10)
    x, y = np.ones(1000), np.zeros(1000)
    program.run(x, y)

    def work() -> None:
        program.run(x, y)
        assert (y == 4.0).all()
        assert exit_code(lambda: run_once(2)) == 0  # a fork in the fork

    assert exit_code(work) == 0
    program.run(x, y)
    np.testing.assert_array_equal(y, 4.0)


def test_a_fork_while_another_thread_is_in_a_parallel_step() -> None:
    threads.set_num_threads(2)
    flag = np.zeros(10, np.int64)
    runner, _ = start_waiting(flag, pieces=4)
    try:
        assert exit_code(lambda: run_once(2)) == 0
    finally:
        flag[0] = 1
        runner.join(60)
    run_once(2)


# ------------------------------------------------------------------------------------------ lifetimes


def test_run_keeps_what_it_needs_and_no_longer() -> None:
    program = axpy(4, 4)
    frame = Frame(2)
    held = np.zeros(8, np.int64)
    gone = weakref.ref(held)
    program = Program([TapeStep(kernels()["axpy"], frame.address, 4, 4)], frame.patches, 2, keep=(held, frame))
    run, dead = program.run, weakref.ref(program)
    del held, frame, program
    gc.collect()
    assert dead() is None and gone() is not None
    x, y = np.ones(4), np.zeros(4)
    run(x, y)
    np.testing.assert_array_equal(y, 2.0)
    del run
    gc.collect()
    assert gone() is None


def test_building_and_dropping_many_programs() -> None:
    x, y = np.ones(4), np.zeros(4)
    for _ in range(500):
        axpy(4, 1).run(x, y)
    np.testing.assert_array_equal(y, 1000.0)
