"""Outputs that are either complete or absent, and what is said where there is no room for them."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from src.errors import MnistryError, reason
from src.resources import free_room, in_words

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""A full disk, a quota, a limit on the size of files, and a disk that can only be read."""
PROBE_BYTES = 64 << 20
"""That are written to find out whether they can be: more than most classifiers take."""


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill; it becomes `path` when the block ends, and is removed when the block fails.

    It is next to `path`, so a run that is killed leaves nothing under that name, and the next run removes it. Raises
    MnistryError as `writing` does.
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with writing(path, partial):
            partial.mkdir(parents=True)
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


def require_room(path: Path, size: int) -> None:
    """Raises MnistryError where a file of `size` bytes can't be written to `path`, before anything is.

    That is found out by the room on the disk, and by writing as many bytes, though no more than `PROBE_BYTES`: quotas,
    limits and permissions aren't known otherwise.
    """
    free = free_room(path.parent)
    if free < size:
        raise MnistryError(
            f"{path}: takes {in_words(size)}, but only {in_words(free)} are free there. Make room and run again"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(bytes(min(size, PROBE_BYTES)))
    except OSError as error:
        raise MnistryError(
            f"{path}: can't be written ({reason(error)}); expected a folder that can be written to, with room for "
            f"{in_words(size)}"
        ) from None


@contextmanager
def writing(path: Path, written: Path | None = None) -> Iterator[None]:
    """Raises MnistryError, with the room that there is, where what the block writes can't be written.

    path: what is named; the system often names no file, or the one that is copied from. written: what to measure
    instead of `path`.
    """
    try:
        yield
    except OSError as error:
        if not is_unwritable(error):
            raise
        raise no_room(path, error, size_of(written or path)) from None


def is_unwritable(error: OSError) -> bool:
    """Whether the disk, not the name or the permissions, is why something can't be written."""
    # numpy says how much of an array it wrote, and no number.
    return error.errno in UNWRITABLE or (error.errno is None and " requested and " in str(error))


def no_room(path: Path, error: OSError, written: int) -> MnistryError:
    """Names what can't be written, how much of it was, and how much room there is."""
    return MnistryError(
        f"{path}: {reason(error)} after {in_words(written)} were written; {in_words(free_room(path.parent))} are free "
        "there. Make room, or raise the quota or limit, and run again"
    )


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 where there is none."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())
