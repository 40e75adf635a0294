"""A short round of `make fuzz`, the same in every run."""

import pytest

from tests.fuzz import Target, fuzz, targets

TARGETS = targets()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_any_file_is_read_or_refused_in_words(target: Target):
    """Whatever is in it: a valid result or our error, within ten seconds and a gigabyte; both happen."""
    outcomes = fuzz(target, 30, derandomize=True)
    assert outcomes["refused"]
    assert outcomes["read"]
