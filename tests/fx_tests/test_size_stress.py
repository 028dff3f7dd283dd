"""Families of programs under stress: threads, forks, calls inside calls, interrupts, errors, many sizes."""

from __future__ import annotations

import gc
import inspect
import os
import signal
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import interning, lax
from fx.staging import programs as programs_module
from jit.calls.result_pool import clear_pool
from jit.memory import POOLED_FROM

W = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)


def step(x: Any) -> Any:
    """Several kernels, a branch on the size, and the size as a number."""
    h = fnp.tanh(x @ W)
    return (h - h.mean(0)) / x.shape[0] if x.shape[0] > 20 else fnp.sort(h, axis=0)


def array(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def truth() -> Callable[[int], bytes]:
    """The bytes of ``step`` of n rows, from a trace for these alone."""
    known: dict[int, bytes] = {}

    def of(n: int) -> bytes:
        if n not in known:
            known[n] = np.asarray(fx.jit(lambda x: step(x))(array(n))).tobytes()
        return known[n]

    return of


# ---------------------------------------------------------------------------------------------- threads and forks


def test_many_threads_call_at_new_sizes_at_once(truth: Callable[[int], bytes]) -> None:
    sizes = [3, 4, 7, 21, 22, 30, 33, 64, 100, 5]
    expect = {n: truth(n) for n in sizes}
    f = fx.jit(lambda x: step(x))
    barrier, wrong = threading.Barrier(6), []

    def work(k: int) -> None:
        barrier.wait()
        for n in sizes[k:] + sizes[:k]:
            if np.asarray(f(array(n))).tobytes() != expect[n]:
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert f.cache_info().size == len(sizes)


def test_threads_take_turns_with_working_memory_that_grows() -> None:
    """Programs whose values lie in blocks that calls share, at sizes that each need more than the one before."""

    def wide(x: Any) -> Any:
        h = fnp.cumsum(fnp.tanh(x @ W), axis=0)
        return (h - h.mean(0)) @ h.T[:, :3]

    sizes = [20_000, 21_000, 26_000, 34_000, 45_000]
    expect = {n: np.asarray(fx.jit(lambda x: wide(x))(array(n))).tobytes() for n in sizes}
    f = fx.jit(wide)
    clear_pool()
    wrong = []

    def work(k: int) -> None:
        for n in sizes[k:] + sizes[:k]:
            wrong.extend([n] * (np.asarray(f(array(n))).tobytes() != expect[n]))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert all(e.run.arena_bytes > POOLED_FROM for e in f._programs.entries.values())


def test_a_child_of_a_fork_fills_in_too(truth: Callable[[int], bytes]) -> None:
    """Forks while another thread traces and fills in: no lock stays taken, and the child's results are right."""
    f = fx.jit(lambda x: step(x))
    f(array(30)), f(array(40))
    expect = {n: truth(n) for n in (50, 60, 8, 9, 10)}
    stop = threading.Event()

    def work() -> None:
        n = 70
        while not stop.is_set():
            g = fx.jit(lambda x: step(x))
            for m in (n, n + 1, n + 2, n + 3):
                f(array(m)), g(array(m))
            n += 4

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(4):
            child = os.fork()
            if not child:
                right = all(np.asarray(f(array(n))).tobytes() == e for n, e in expect.items())
                os._exit(0 if right else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()


def test_a_child_of_a_fork_waits_for_no_thread_of_its_parent() -> None:
    held, done = threading.Event(), threading.Event()
    f = fx.jit(lambda x: lax.scan(lambda c, r: (c + r, c), 0.0, x)[0])

    def hold() -> None:
        with interning._lock, fx.config._lock, f._programs.lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        child = os.fork()
        if not child:
            signal.alarm(30)  # what waits for a lock never ends
            with fx.config.using(default_float=np.float64):
                found = float(f(np.ones(5))) + float(lax.scan(lambda c, r: (c * r, None), 1.0, np.full(3, 2.0))[0])
            os._exit(0 if found == 13.0 else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        done.set()
        thread.join()


def test_clearing_while_others_fill_in(truth: Callable[[int], bytes]) -> None:
    f = fx.jit(lambda x: step(x))
    expect = {n: truth(n) for n in (30, 31, 33, 36, 40)}
    wrong, done = [], threading.Event()

    def work() -> None:
        for _ in range(3):
            wrong.extend(n for n, e in expect.items() if np.asarray(f(array(n))).tobytes() != e)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.wait(0.005):
        f.clear_cache()
    thread.join()
    fx.clear_caches()
    assert not wrong and f.cache_info().size == 0
    assert np.asarray(f(array(40))).tobytes() == expect[40] and f.cache_info().size == 1


# ---------------------------------------------------------------------------------------------- calls inside calls


def test_a_function_that_calls_itself_at_another_size() -> None:
    @fx.jit
    def folded(x: Any) -> Any:
        n = x.shape[0]
        return x if n == 1 else folded(x[: n // 2] + x[n - n // 2 :]) * n

    def expect(x: np.ndarray) -> np.ndarray:
        n = x.shape[0]
        return x if n == 1 else expect(x[: n // 2] + x[n - n // 2 :]) * n

    for n in (5, 6, 9, 12, 16, 3, 2, 40, 33):
        x = np.arange(n, dtype=np.float64)
        np.testing.assert_allclose(folded(x), expect(x), rtol=1e-12)


def test_a_callback_that_calls_the_same_function_at_another_size() -> None:
    seen = []

    def host(a: np.ndarray) -> np.ndarray:
        seen.append(a.shape)
        return np.asarray(smaller(a[1:])) if len(a) > 4 else np.full(1, a.sum(), a.dtype)

    @fx.jit
    def smaller(x: Any) -> Any:
        return fx.pure_callback(host, fx.ShapeDtypeStruct((1,), x.dtype), x * 2)

    for n in (5, 7, 6, 9, 4):
        x = np.arange(n, dtype=np.float64)
        found = smaller(x)
        while len(x) > 4:
            x = (x * 2)[1:]
        assert float(found[0]) == (x * 2).sum()
    assert len(set(seen)) > 3


def test_a_trace_that_calls_the_function_at_known_sizes() -> None:
    """What is filled in is called again while another function is traced with sizes."""
    inner = fx.jit(lambda x: fnp.cumsum(x) * x.shape[0])
    ones = np.ones
    for n in (3, 5, 8):
        inner(ones(n))
    outer = fx.jit(lambda x: inner(x) + inner(x[1:]).sum() + inner(ones(8)).sum())
    for n in (6, 8, 9, 5, 30):
        x = np.linspace(0, 1, n)
        want = np.cumsum(x) * n + (np.cumsum(x[1:]) * (n - 1)).sum() + 36.0 * 8
        np.testing.assert_allclose(outer(x), want, rtol=1e-12)


# ---------------------------------------------------------------------------------------------- interrupts and errors


@contextmanager
def interrupted_at(event: int) -> Iterator[list[int]]:
    """Raises KeyboardInterrupt at so many calls of Python functions inside; gives the number of calls."""
    count = [0]

    def watch(frame: types.FrameType, what: str, arg: Any) -> None:
        resumed = frame.f_code.co_flags & inspect.CO_GENERATOR  # what ends a generator cannot raise
        if what == "call" and not resumed and frame.f_code.co_filename.endswith(".py"):
            count[0] += 1
            if count[0] == event:
                raise KeyboardInterrupt

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield count
    finally:
        sys.setprofile(before)


@pytest.mark.parametrize("warm", [1, 2, 4])
def test_an_interrupt_leaves_the_programs_sound(warm: int, truth: Callable[[int], bytes]) -> None:
    """Wherever it comes, while a family is traced and planned (warm = 1), proved (2) or filled in (4)."""
    sizes = (30, 36, 40, 47, 50)
    expect = {n: truth(n) for n in (*sizes, 28)}
    step_by = {1: 3001, 2: 997, 4: 53}[warm]
    event, interrupted = 7, 0
    while True:
        f = fx.jit(lambda x: step(x))
        for n in sizes[:warm]:
            f(array(n))
        x = array(sizes[warm])
        try:
            with interrupted_at(event) as count:
                f(x)
        except KeyboardInterrupt:
            interrupted += 1
        else:
            if count[0] < event:
                break  # it came too late; else NumPy has swallowed it, as it does when it asks for an attribute
        for n in (sizes[warm], 28, *sizes):
            assert np.asarray(f(array(n))).tobytes() == expect[n], (event, n)
        assert f.cache_info().traced <= 9, f.explain_misses()
        event += step_by
    assert interrupted


def test_errors_in_the_second_trace_leave_the_programs_sound() -> None:
    trouble = []

    @fx.jit
    def f(x: Any) -> Any:
        if trouble:
            raise trouble.pop()
        return x * x.shape[0]

    check = lambda n: np.testing.assert_array_equal(f(np.ones(n)), np.full(n, float(n)))
    check(4)
    trouble[:] = [ValueError("in the trace for these sizes"), ValueError("in the one with sizes")]
    with pytest.raises(ValueError, match="for these sizes"):
        f(np.ones(6))
    trouble[:] = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        f(np.ones(7))
    for n in (6, 7, 9, 4, 12):
        check(n)
    assert "filled in" in f.explain_misses()


def test_a_size_that_the_function_refuses() -> None:
    @fx.jit
    def f(x: Any) -> Any:
        if x.shape[0] % 4 == 3:
            raise ValueError(f"{x.shape[0]} rows")
        return x + 1

    for n in (4, 7, 8, 11, 12, 13, 15, 16, 19):
        if n % 4 == 3:
            with pytest.raises(ValueError, match=f"^{n} rows"):
                f(np.ones(n))
        else:
            assert np.array_equal(f(np.ones(n)), np.full(n, 2.0))


# ---------------------------------------------------------------------------------------------- what cannot be seen


def test_a_number_that_no_size_can_see_is_noticed_where_it_shows() -> None:
    """``type(n) is int`` hides what happens beyond 100, or at multiples of three."""
    far = fx.jit(lambda x: x * 2 if type(x.shape[0]) is int and x.shape[0] > 100 else x)
    for n in (10, 12, 14, 40, 180, 300, 11, 90, 250):
        assert np.array_equal(far(np.ones(n)), np.full(n, 2.0 if n > 100 else 1.0)), n
    assert "something else" in far.explain_misses()
    third = fx.jit(lambda x: x * 2 if type(x.shape[0]) is int and x.shape[0] % 3 == 0 else x)
    for n in (10, 11, 12, 13, 15, 18):
        assert np.array_equal(third(np.ones(n)), np.full(n, 2.0 if n % 3 == 0 else 1.0)), n


def test_what_was_filled_in_from_a_family_that_is_wrong_is_forgotten() -> None:
    seen = fx.jit(lambda x: x * 2 if type(x.shape[0]) is int and x.shape[0] in (15, 60) else x)
    for n in (10, 12, 14, 15):  # close to those that it was proved on: it is believed
        seen(np.ones(n))
    assert np.array_equal(seen(np.ones(60)), np.full(60, 2.0))
    assert np.array_equal(seen(np.ones(15)), np.full(15, 2.0))


def test_a_family_is_proved_on_few_sizes() -> None:
    traces = []

    def f(x: Any) -> Any:
        traces.append(x.shape)
        return x * 2

    jitted = fx.jit(f)
    for n in range(40, 140):
        jitted(np.ones(n))
    assert len(traces) == 4  # for itself, with sizes, at the first that is filled in, at the first beyond twice that


def test_attempts_are_counted_by_structure() -> None:
    f = fx.jit(lambda x, scale=None: x * np.zeros(x.shape[0]) if scale is None else x * scale)
    for n in range(3, 9):
        f(np.ones(n))
    for n in range(3, 9):
        assert np.array_equal(f(np.ones(n), 2.0), np.full(n, 2.0))
    assert "filled in" in f.explain_misses()


# ---------------------------------------------------------------------------------------------- many sizes


def test_many_sizes_take_little_memory_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs_module, "MOST_PROGRAMS", 64)
    f = fx.jit(lambda x: fnp.cumsum(fnp.tanh(x)) * x.shape[0])
    f(np.ones(100)), f(np.ones(101))
    gc.freeze()
    for n in range(102, 182):
        f(np.ones(n))
    gc.collect()
    before = len(gc.get_objects())
    for n in range(182, 342):
        f(np.ones(n))
    gc.collect()
    assert f.cache_info().size <= 64
    assert len(gc.get_objects()) - before < 64 * 40
    for n in (100, 150, 341):
        np.testing.assert_allclose(f(np.ones(n)), np.cumsum(np.tanh(np.ones(n))) * n, rtol=1e-12)


def test_nothing_of_a_trace_with_sizes_stays_behind() -> None:
    """No table holds the types and formulas of a family that is gone."""
    f = fx.jit(lambda x: lax.scan(lambda c, r: (c + r, None), step(x).sum(0), fnp.cumsum(x, 0)[:, :5])[0])
    for n in (30, 40, 50):
        f(array(n))
    (grown,) = f._programs.families.values()
    traces = [weakref.ref(family.sizes) for family in grown._all]
    assert traces
    del grown
    f.clear_cache()
    gc.collect()
    assert not any(trace() for trace in traces)
