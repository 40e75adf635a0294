import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.errors import MnistryError
from src.parallel import ordered_map
from tests.conftest import PROJECT


def slow_double(number):
    """Twice the number; 0 takes longer than the others."""
    time.sleep(0.02 if number == 0 else 0)
    return 2 * number


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order(workers):
    """Whichever process is done first."""
    assert list(ordered_map(slow_double, range(40), workers)) == list(range(0, 80, 2))


def test_nothing_to_do():
    """No items, no processes."""
    assert list(ordered_map(slow_double, [])) == []


def die(number):
    """End the process, as a kill does."""
    os._exit(number)


def test_killed_worker_is_an_error_of_one_line():
    """As the system does when memory runs out."""
    with pytest.raises(MnistryError, match=r"one of 2 worker processes was killed, .* memory ran out .*; close"):
        list(ordered_map(die, [9] * 4, 2))


def test_fault_in_a_worker_ends_the_work():
    """What is still waiting isn't begun."""
    with pytest.raises(ZeroDivisionError):
        list(ordered_map(invert, [1, 0, *[1] * 100], 2))


def invert(number):
    """One divided by the number."""
    return 1 / number


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks processes up in /proc")
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    """They don't go on waiting for work."""
    script = "from src.parallel import ordered_map; from tests.test_parallel import stay; "
    script += f"list(ordered_map(stay, [{str(tmp_path / 'a')!r}, {str(tmp_path / 'b')!r}], 2))"
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT)
    pids = [int(eventually(lambda path=tmp_path / name: path.exists() and path.read_text())) for name in "ab"]
    parent.kill()
    parent.wait()
    eventually(lambda: not any(runs(pid) for pid in pids))


def stay(path):
    """Write this process's number, then stay for a minute."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def eventually(condition):
    """What the condition gives once it holds, within 10 s."""
    deadline = time.monotonic() + 10
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return result


def runs(pid):
    """Whether there is such a process, and not only what is left of one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
