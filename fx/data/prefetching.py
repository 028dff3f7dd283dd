"""Elements computed ahead, in threads, in their order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

__all__: list[str] = []

_END = object()
_NAME = "fx-prefetch"
_ending: list[threading.Thread] = []  # told to end, and not waited for yet

Tasks = Iterator[tuple[Callable[[], Any], Any]]


def known(element: Any) -> Any:
    """The task of an element that is there already, in a ``partial``."""
    return element


def wait_for_ends() -> None:
    """Waits for all threads that have been told to end; one of them does not wait for the others."""
    if not threading.current_thread().name.startswith(_NAME):
        while _ending:
            _ending.pop().join()


class Prefetched:
    """The same tasks, begun before they are asked for.

    One thread goes through ``tasks`` and hands each to others; at most ``buffer`` of them are begun and not taken. What
    is raised, by a task or between tasks, is raised where the element would have been taken.

    Garbage is collected in any thread, whatever locks that holds: so what ends the threads takes no lock and waits for nobody.
    """

    def __init__(self, tasks: Tasks, buffer: int, threads: int) -> None:
        self._stopped: list[bool] = []  # not empty: they shall end
        self._threads: list[threading.Thread] = []
        self._ready: SimpleQueue[Any] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        self._next: Any = None  # begun, and waited for when Ctrl-C came
        jobs: SimpleQueue[Any] = SimpleQueue()
        for _ in range(buffer):
            self._room.put(None)
        self._start("feeder", _feed, tasks, jobs, self._ready, self._room, self._stopped, threads)
        for k in range(threads):
            self._start(str(k), _work, jobs, self._stopped)

    def _start(self, name: str, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, name=f"{_NAME}-{name}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def __iter__(self) -> Prefetched:
        return self

    def __next__(self) -> tuple[Callable[[], Any], Any]:
        if self._stopped:
            raise StopIteration
        if self._next is None:
            self._next = self._ready.get()
        future, state = self._next
        if future is _END:
            self.close()
            raise StopIteration if state is None else state
        future.exception()  # waits
        self._next = None
        self._room.put(None)
        return future.result, state  # raises, if it does, where the task would: what is behind it can be had

    def close(self) -> None:
        """Ends the threads, and waits until they have."""
        self.__del__()
        wait_for_ends()

    def __del__(self) -> None:
        if not self._stopped:
            self._stopped.append(True)
            self._room.put(None)
            _ending.extend(self._threads)


def _feed(tasks: Any, jobs: Any, ready: Any, room: Any, stopped: list[bool], threads: int) -> None:
    error: BaseException | None = None
    try:
        while True:
            room.get()
            if stopped:
                break
            task, state = next(tasks)
            future: Future[Any] = Future()
            jobs.put((future, task))
            ready.put((future, state))
    except StopIteration:
        pass
    except BaseException as e:
        error = e
    finally:
        tasks.close()
        for _ in range(threads):
            jobs.put(None)
        ready.put((_END, error))


def _work(jobs: Any, stopped: list[bool]) -> None:
    while (job := jobs.get()) is not None:
        future, task = job
        if stopped:
            continue
        try:
            future.set_result(task())
        except BaseException as e:
            future.set_exception(e)
        del job, future, task  # the last element shall not live until the next
