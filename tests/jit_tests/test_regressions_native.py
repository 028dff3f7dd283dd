"""Faults of native execution that were found by use; each stands here in its smallest form."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest
from graph_harness import check, graph_of, numbers

import jit
from fx.errors import BackendError
from fx.primitives import conv as C
from fx.primitives import elementwise as E
from fx.primitives import joining as J
from fx.primitives import linalg as L
from fx.primitives import reductions as R
from fx.primitives import shaping as S
from jit import memory
from jit.calls import result_pool
from jit.forks import compiling

ODD_LAYOUT = C.ConvDimensionNumbers((3, 1, 0, 2, 4), (4, 3, 1, 2, 0), (0, 2, 3, 1, 4))

# Programs whose plan or buffers were wrong: a function of its arrays, and the arrays' shapes.
PROGRAMS = {
    # what has no elements is never written, yet kernels that read it waited for it
    "two reductions of a reversed empty array": (
        lambda x: (lambda y: [R.reduce_max(y, (0,)), R.reduce_sum(y, (0,))])(S.rev(x, (0,))), [(0, 3)], "float32",
    ),
    "every axis of an empty slice": (
        lambda x: [f(J.slice(x, (0, 1), (0, 3), (1, 2)), (0, 1)) for f in (R.reduce_prod, R.reduce_or)], [(0, 3)], "int16",
    ),
    "a product over computed arrays of no columns": (
        lambda x, y: [L.dot_general(E.add(x, x), E.mul(y, y), (((1,), (0,)), ((), ())))], [(4, 0), (0, 5)], "float32",
    ),
    # the values of k were cut into slices, of none
    "a complex product over no values of k": (
        lambda x, y: [L.dot_general(x, y, (((1,), (0,)), ((), ())))], [(2, 0), (0, 200)], "complex64",
    ),
    # scratch memory that no step touches was planned over memory in use
    "a convolution that needs no scratch after all": (
        lambda x, w: [
            C.conv_general_dilated(
                x, w, (3, 2, 1), ((1, 1), (1, 2), (-2, 2)), (1, 1, 1), (1, 3, 3), dimension_numbers=ODD_LAYOUT
            )
        ],
        [(8, 3, 13, 4, 13), (3, 4, 3, 3, 3)], "float16",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    f, shapes, dtype = PROGRAMS[name]
    check(f, *(numbers(s, dtype, k) for k, s in enumerate(shapes)))


@pytest.mark.parametrize(
    "options",
    [{"engine": "gcc"}, {"num_threads": 0}, {"num_threads": -1}, {"num_threads": 10**6}, {"num_threads": "2"}],
    ids=repr,
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(BackendError, match=repr(next(iter(options.values())))):
        jit.Options(**options)


@pytest.mark.parametrize("text", ["²", "0", "1e3", "-1"])
def test_a_number_of_threads_that_is_none(text, monkeypatch):
    monkeypatch.setattr("jit.threads._wanted", None)  # as in a process that has not asked yet
    monkeypatch.setenv("FX_NUM_THREADS", text)
    with pytest.raises(ValueError, match="FX_NUM_THREADS="):
        jit.threads.num_threads()


# ------------------------------------------------------------------------------------------ forks

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def exit_code_of_child(work):
    """Exit code of ``work`` in a forked child that has 20 seconds."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(20)
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@needs_fork
def test_a_fork_beside_a_compiling_thread_can_compile():
    started, done = threading.Event(), threading.Event()

    def compile_slowly():
        with compiling:
            started.set()
            done.wait()

    def in_child():
        x = numbers((7,), "float32")
        check(lambda x: [E.mul(E.add(x, 0.1875), x)], x)

    thread = threading.Thread(target=compile_slowly)
    thread.start()
    started.wait()
    threading.Timer(0.2, done.set).start()
    assert exit_code_of_child(in_child) == 0
    thread.join()


@needs_fork
def test_a_fork_beside_a_thread_at_the_pool_has_a_pool():
    x = np.zeros(1 << 17, np.float32)
    e = jit.compile(graph_of(lambda x: [E.add(x, 1.0)], x))
    e(x)
    started, done = threading.Event(), threading.Event()

    def hold():
        with memory._lock, result_pool._lock:
            started.set()
            done.wait()

    def in_child():
        assert not result_pool._free
        result_pool.allocator(x.shape, x.dtype)(x.shape, x.dtype)
        (y,) = e(x)
        assert (y == 1).all()

    thread = threading.Thread(target=hold)
    thread.start()
    started.wait()
    code = exit_code_of_child(in_child)
    done.set()
    thread.join()
    assert code == 0
