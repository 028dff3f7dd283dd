"""Elements computed ahead, in threads, in their order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

__all__: list[str] = []

_END = object()
_NAME = "fx-prefetch"


def known(element: Any) -> Any:
    """The task of an element that is there already, in a ``partial``."""
    return element


def prefetched(
    tasks: Iterator[tuple[Callable[[], Any], Any]], buffer: int, threads: int
) -> Iterator[tuple[Callable[[], Any], Any]]:
    """The same tasks, begun before they are asked for.

    One thread goes through ``tasks`` and hands each to a pool; at most ``buffer`` of them are begun and not taken. What
    is raised, by a task or between tasks, is raised where the element would have been taken.
    """
    ready: queue.Queue[Any] = queue.Queue()
    room, stop = threading.Semaphore(buffer), threading.Event()
    pool = ThreadPoolExecutor(threads, thread_name_prefix=_NAME)
    feeder = threading.Thread(target=_feed, args=(tasks, pool, ready, room, stop), name=f"{_NAME}-feeder", daemon=True)
    feeder.start()
    try:
        while True:
            future, state = ready.get()
            if future is _END:
                if state is not None:
                    raise state
                return
            future.exception()  # waits
            room.release()
            yield future.result, state  # raises, if it does, where the task would: what is behind it can be had
    finally:
        stop.set()
        room.release()
        waits = not threading.current_thread().name.startswith(
            _NAME
        )  # garbage is collected in any thread, in these too
        if waits:
            feeder.join()
        pool.shutdown(wait=waits, cancel_futures=True)


def _feed(tasks: Any, pool: ThreadPoolExecutor, ready: Any, room: threading.Semaphore, stop: threading.Event) -> None:
    error: BaseException | None = None
    try:
        while True:
            room.acquire()
            if stop.is_set():
                break
            task, state = next(tasks)
            future: Future[Any] = pool.submit(task)
            ready.put((future, state))
    except StopIteration:
        pass
    except BaseException as e:
        error = e
    finally:
        tasks.close()
        ready.put((_END, error))
