"""Reading NumPy's .npy files, whose headers may say anything; nothing is ever unpickled."""

import tokenize
from pathlib import Path
from typing import IO, Literal

import numpy as np

ARRAY_ERRORS = (
    ValueError, OSError, EOFError, TypeError, LookupError, ArithmeticError, SyntaxError, RecursionError, MemoryError,
    tokenize.TokenError,
)  # fmt: skip
"""What NumPy raises for headers that make no sense; it reads them as Python's literals."""


def read_npy(path: Path, mmap_mode: Literal["r", "c"] | None = None) -> np.ndarray:
    """The array in the file, memory-mapped or not; raises one of ARRAY_ERRORS.

    Before anything is allocated, the array that the header announces is compared with the file's size.
    """
    with path.open("rb") as file:
        check_size(file, path.stat().st_size)
    array: np.ndarray = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    return array


def check_size(file: IO[bytes], size: int) -> None:
    """Read the header; ValueError where it announces another number of bytes than the `size` of the file has left."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the format")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError("Python objects, for which it would be unpickled")
    announced = dtype.itemsize
    for side in shape:
        announced *= side
    if any(side < 0 for side in shape) or announced != size - file.tell():
        raise ValueError(f"its header announces {announced:,} bytes, and {size - file.tell():,} are there")


def array_reason(error: BaseException) -> str:
    """What a person can make of one of ARRAY_ERRORS."""
    if "pickle" in str(error):
        return "it holds Python objects, which could run code; save numbers alone"
    return str(error).partition("\n")[0] or type(error).__name__
