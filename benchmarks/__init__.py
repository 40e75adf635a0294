"""Measurements that take longer than tests may."""

import time
from collections.abc import Callable


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
