"""What works around the libraries, each with its reason and its figure; docs/log.md has the measurements."""

import ctypes
import inspect
import os
import platform

import torch
from torch.optim import Optimizer
from torch.utils import deterministic


def prepare_process() -> None:
    """All that a process which trains or evaluates sets up before its work."""
    make_deterministic()
    keep_float32()
    keep_freed_memory()


def make_deterministic() -> None:
    """Make torch choose algorithms that give the same bits in every run on the same machine."""
    # What use_deterministic_algorithms(True) does to torch itself; that one also imports its compiler, for 3.4 s.
    torch.set_deterministic_debug_mode("error")
    # That setting also fills new tensors with NaN, to show reads of what was never written; it takes a tenth longer.
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # missing in its stubs
    # Without it, CUDA's matrix products refuse to run under deterministic algorithms.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def keep_float32() -> None:
    """Make CUDA compute float32 convolutions in float32.

    By default, cuDNN rounds their factors to ten bits after the point (TensorFloat-32); matrix products are exact.
    """
    torch.backends.cudnn.allow_tf32 = False


def keep_freed_memory() -> None:
    """Make the C library keep freed memory for the next tensors, where it is glibc.

    By default it gives the feature maps of each step back to the system, which fills new ones with zeros, page by
    page. That took half of a small convolutional network's first epoch: 8.0 s, and 4.1 s without. See mallopt(3).
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc, m_trim_threshold, m_mmap_threshold = ctypes.CDLL(None), -1, -3
    # Older versions refuse more than 32 MiB; either call without the other would make things worse.
    if any(libc.mallopt(m_mmap_threshold, size) for size in (1 << 30, 32 << 20)):
        libc.mallopt(m_trim_threshold, -1)


def without_compiler(kind: type[Optimizer]) -> type[Optimizer]:
    """The optimizer without the wrappers that import torch's compiler, for 3.4 s, to keep it out of training."""
    wrapped = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in wrapped}
    return type(kind.__name__, (kind,), {**methods, "step": torch.no_grad()(inspect.unwrap(kind.step))})
