import time

import pytest

from src.parallel import ordered_map


def slow_double(number):
    time.sleep(0.02 if number == 0 else 0)
    return 2 * number


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order(workers):
    """Whichever process is done first."""
    assert list(ordered_map(slow_double, range(40), workers)) == list(range(0, 80, 2))


def test_nothing_to_do():
    """No items, no processes."""
    assert list(ordered_map(slow_double, [])) == []
