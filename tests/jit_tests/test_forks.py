"""A fork waits until no other thread is inside LLVM, and the child's gate is open."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings

import pytest

from jit.forks import _Gate, compiling
from jit.llvm.native import compile_object
from jit.loop_builder import KernelBuilder
from jit.loop_ir import f32
from jit.target import host


def test_a_fork_waits_for_other_threads_and_not_for_its_own() -> None:
    gate = _Gate()
    inside, leave, order = threading.Event(), threading.Event(), []

    def work() -> None:
        with gate:
            inside.set()
            leave.wait(10)
            order.append("left")

    t = threading.Thread(target=work)
    t.start()
    inside.wait(10)
    threading.Timer(0.05, leave.set).start()
    with gate:  # a signal handler forks while its own thread is inside
        gate.before_fork()
        order.append("forked")
        gate.in_parent()
    t.join()
    assert order == ["left", "forked"]


def test_nobody_enters_while_a_fork_is_under_way() -> None:
    gate = _Gate()
    entered = threading.Event()

    def work() -> None:
        with gate:
            entered.set()

    gate.before_fork()
    t = threading.Thread(target=work)
    t.start()
    time.sleep(0.02)
    assert not entered.is_set()
    gate.in_parent()
    t.join()
    assert entered.is_set()


def test_the_child_begins_anew() -> None:
    gate = _Gate()
    with gate:
        gate.before_fork()
        gate.in_child()
    gate.before_fork()
    gate.in_parent()
    with gate:
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_children_compile() -> None:
    """Fork again and again while another thread compiles; each child compiles too."""

    b = KernelBuilder("twice")
    x = b.pointer("x", f32)
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        b.store(x, i, b.load(x, i) * 2.0)
    kernel, stop = b.build(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            with compiling:
                compile_object([kernel], host())

    t = threading.Thread(target=work)
    t.start()
    codes = []
    for _ in range(5):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside other threads
            pid = os.fork()
        if pid == 0:
            with compiling:
                os._exit(0 if compile_object([kernel], host()) else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    stop.set()
    t.join()
    assert codes == [0] * 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_waits_for_the_import_of_the_compiler() -> None:
    """A child whose parent was importing a module on another thread would wait for it for ever."""
    program = """
import os, signal, sys, threading, time
import fx, jit
from jit.on_demand import compiler
assert "jit.fuse" not in sys.modules
t = threading.Thread(target=compiler)
t.start()
while "jit.fuse" not in sys.modules:
    time.sleep(1e-4)
pid = os.fork()
if pid == 0:
    signal.alarm(60)
    compiler().drafted
    os._exit(0)
t.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", program], check=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_does_not_wait_for_a_thread_that_waits_for_the_forking_one() -> None:
    """A signal handler forks while its thread emits code, and another thread wants instructions in another order."""
    program = """
import os, signal, threading
from jit.forks import compiling
from jit.llvm.emission import _scheduling, scheduled
signal.alarm(60)
waits = threading.Event()
agrees = _scheduling._agrees
def seen(*args):
    if (answer := agrees(*args)) is False:
        waits.set()
    return answer
_scheduling._agrees = seen
def emit():
    with compiling, scheduled(True):
        pass
other = threading.Thread(target=emit)
with compiling, scheduled(False):
    other.start()
    waits.wait()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        emit()
if pid == 0:
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
other.join()
assert not compiling._inside and not _scheduling.emitting and not _scheduling.downwards
"""
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", program], check=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_handlers_compile_and_fork_at_any_moment() -> None:
    """Handlers that interrupt what waits, for another order of instructions or for others to leave before a fork."""
    program = """
import os, random, signal, threading, time
from jit.forks import compiling
from jit.llvm.emission import _scheduling, scheduled
signal.alarm(60)
stop, children = time.time() + 1.5, []
def one():
    try:
        with compiling, scheduled(random.random() < 0.5):
            time.sleep(random.random() * 2e-3)
            if random.random() < 0.1:
                raise ValueError
    except ValueError:
        pass
def work():
    while time.time() < stop:
        one()
def handler(*_):
    one()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.alarm(60)
        for _ in range(4):
            one()
        os._exit(0)
    children.append(pid)
def kick():
    while time.time() < stop - 0.3:
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR1)
signal.signal(signal.SIGUSR1, handler)
threads = [threading.Thread(target=f) for f in (work, work, work, kick)]
for t in threads:
    t.start()
work()
for t in threads:
    t.join()
assert len(children) > 3
assert {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children} == {0}
assert not compiling._inside and not _scheduling.emitting and not _scheduling.downwards
"""
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", program], check=True)
