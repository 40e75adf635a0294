"""Outputs that are either complete or absent."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from src.errors import MnistryError


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill; it becomes `path` when the block ends, and is removed when the block fails.

    It is next to `path`, so a run that is killed leaves nothing under that name, and the next run removes it.
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def whole_file(path: Path, mark: str = "") -> Iterator[BinaryIO]:
    """A file to fill; it becomes `path` when the block ends, and is removed when the block fails.

    mark: a part of its name until then, for several processes that write the same file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}{mark}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def check_room(path: Path, size: int) -> None:
    """Raise MnistryError where a file of `size` bytes can't be written to `path`, found out by writing as many."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(bytes(size))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise MnistryError(
            f"{path}: can't be written ({reason}); expected a folder that can be written to, with room for "
            f"{size:,} bytes"
        ) from None
