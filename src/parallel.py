"""Work on all cores, with its results in order."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import TypeVar

from src.errors import MnistryError
from src.resources import free_memory, in_words

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(
    function: Callable[[ItemT], ResultT], items: Iterable[ItemT], workers: int | None = None
) -> Iterator[ResultT]:
    """function(item) for each item in order, computed by `workers` processes.

    workers: by default, one per core. However many items there are and however slowly the results are consumed, only a
    few per worker wait at any time.
    Raises MnistryError where a process is killed.
    """
    workers = workers or available_cores()
    if isinstance(items, Sized):
        workers = min(workers, len(items))
    if workers <= 1:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(workers, initializer=_follow_parent) as pool:
        waiting: deque[Future[ResultT]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 3 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            free = free_memory()
            raise MnistryError(
                f"one of {workers} worker processes was killed, most likely because memory ran out"
                + (f" ({in_words(free)} is free now)" if free is not None else "")
                + "; close other programs or raise the limit, and run again"
            ) from None
        finally:
            for future in waiting:
                future.cancel()


def _follow_parent() -> None:
    """Leave Ctrl+C and a closed terminal to the parent, and end when it ends: the pool would wait for work forever."""
    for name, action in (("SIGINT", signal.SIG_IGN), ("SIGHUP", signal.SIG_IGN), ("SIGTERM", signal.SIG_DFL)):
        if number := getattr(signal, name, None):
            signal.signal(number, action)
    parent = parent_process()
    assert parent is not None, "a worker has a parent"

    def end() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
