"""Measurements that take longer than tests may."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def clone_of_head() -> Iterator[str]:
    """The path of a temporary clone of HEAD that shares this project's cache."""
    cache = Path(output_of("dvc", "cache", "dir").strip()).resolve()
    with tempfile.TemporaryDirectory() as clone:
        output_of("git", "clone", "--quiet", ".", clone)
        output_of("dvc", "cache", "dir", "--local", str(cache), folder=clone)
        yield clone


def output_of(*command: str, folder: str = ".") -> str:
    """What the command printed; ends the program with that where it fails."""
    result = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if result.returncode:
        sys.exit(f"error: {' '.join(command)} failed:\n{result.stdout}")
    return result.stdout
