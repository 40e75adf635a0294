"""Memory and room that are left, and what is said where memory runs out."""

import resource
import subprocess
import sys

import numpy as np
import pytest
import torch

from src import resources
from src.errors import describe_error
from src.resources import free_memory, in_words
from tests.conftest import PROJECT


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 bytes"), (999, "999 bytes"), (999.6, "1 kB"), (1_234_567, "1.23 MB"), (256e9, "256 GB")]
)
def test_sizes_in_words(size, words):
    """Three digits and the unit that fits."""
    assert in_words(size) == words


@pytest.mark.parametrize(
    "files",
    [
        {"memory.max": 5000, "memory.current": 3000, "memory.stat": "anon 1\ninactive_file 200\nactive_file 300"},
        {
            "memory/memory.limit_in_bytes": 5000,
            "memory/memory.usage_in_bytes": 3000,
            "memory/memory.stat": "total_inactive_file 200\ntotal_active_file 300",
        },
    ],
)
def test_the_limit_of_a_container_counts(tmp_path, monkeypatch, files):
    """Of either version of control groups; what only caches files is as good as free."""
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n")
    monkeypatch.setattr(resources, "CGROUPS", tmp_path)
    assert free_memory() == 2500


def test_the_limit_of_the_shell_counts():
    """That of `ulimit -v`, less what is in use."""
    program = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30));"
    program += "from src.resources import free_memory; print(free_memory())"
    free = int(subprocess.check_output([sys.executable, "-c", program], cwd=PROJECT))
    assert 0.8 * 2**30 < free < 2**30


@pytest.mark.parametrize(
    ("allocate", "asked"),
    [
        (lambda: np.empty(1 << 50), "8.00 PiB was asked for at once"),
        (lambda: torch.empty(1 << 50), "4.5 PB was asked for at once"),
        (lambda: bytearray(1 << 60), ""),
    ],
)
def test_memory_that_runs_out_is_said_with_what_is_free(allocate, asked):
    """By numpy, torch and Python."""
    with pytest.raises((MemoryError, RuntimeError)) as error:
        allocate()
    line = describe_error(error.value)
    assert line is not None
    assert line.startswith(f"not enough memory: {asked}")
    assert "is free; close other programs, raise the limit" in line


def test_what_is_free_on_an_accelerator_is_said_where_that_ran_out():
    """Not what the machine's own memory has left."""
    message = (
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.18 GiB of which 12.34 GiB "
        "is free. Including non-PyTorch memory, this process has 66.84 GiB memory in use."
    )
    line = describe_error(torch.OutOfMemoryError(message))
    assert line is not None
    assert line.startswith(
        "not enough memory: 20.00 GiB was asked for at once, and 12.34 GiB is free on the accelerator;"
    )
    for message in (
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUBLAS_STATUS_ALLOC_FAILED",
    ):
        line = describe_error(RuntimeError(message))
        assert line is not None
        assert line.startswith("not enough memory: it is all in use; close other programs")


def test_faults_of_ours_keep_their_traceback():
    """Also where torch raises the same class."""
    assert describe_error(RuntimeError("shapes differ")) is None


def test_libraries_that_memory_lacks_for_end_a_stage_with_a_line():
    """It happens while torch is loaded, before the stage begins."""
    result = subprocess.run(
        [sys.executable, "-m", "stages.train", *"abcde"], cwd=PROJECT, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20)),
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.startswith("error: not enough memory: ")
    assert "Traceback" not in result.stderr
