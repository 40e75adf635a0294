"""Unpacking an archive that comes from anywhere."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from src.errors import MnistryError
from src.signatures import describe_start
from src.sources.findings import Findings
from src.sources.listing import is_ignored
from src.sources.paths import is_name_outside

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MOST_GROWTH = 100
"""Times that an archive may grow. Images don't, tables grow tenfold; bombs grow a thousandfold and more."""
MUCH = 256 << 20
"""Bytes up to which an archive may grow as it likes."""
LARGEST_READ = 1 << 20


ARCHIVE_ERRORS = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, LookupError,
    ValueError, OverflowError,
)  # fmt: skip
"""What Python's modules raise for damaged archives."""


def is_archive(path: Path) -> bool:
    """Whether it is a file whose name is that of an archive which can be unpacked."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def stem(archive: Path) -> str:
    """The archive's name without the ending that says what kind it is."""
    ending = max((suffix for suffix in SUFFIXES if archive.name.lower().endswith(suffix)), key=len)
    return archive.name[: -len(ending)]


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack into `folder`; returns the archive's only top folder, or `folder` where there are several entries.

    Raises MnistryError where the archive is damaged or cut off, or where members would be outside of `folder`.
    """
    findings = Findings()
    try:
        if archive.name.lower().endswith(".zip"):
            _unzip(archive, folder, findings)
        else:
            _untar(archive, folder, findings)
    except UnicodeDecodeError as error:
        raise MnistryError(
            f"{archive}: member {error.object!r}: a name that isn't UTF-8; pack it again with UTF-8 names"
        ) from None
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        name = _inside(error.filename, folder)
        raise MnistryError(
            f"{archive}: member {name}: a file and a folder of the same name; rename one of them"
        ) from None
    except ARCHIVE_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            # Not the archive's fault, such as a full disk, or a name that is too long for this system.
            name = _inside(error.filename, folder) if error.filename else str(folder)
            raise MnistryError(f"{archive}: {name}: {(error.strerror or '').lower()}") from None
        with archive.open("rb") as file:
            looks = describe_start(file.read(140))
        if looks:
            raise MnistryError(f"{archive}: not an archive that can be read; it is {looks}") from None
        reason = str(error).partition("\n")[0]
        raise MnistryError(f"{archive}: damaged or cut off ({reason}); get it again") from None
    except NotImplementedError as error:
        raise MnistryError(f"{archive}: {error}; pack it with the common compression, deflate") from None
    except RuntimeError as error:
        raise MnistryError(f"{archive}: {error}; pack it without a password") from None
    findings.refuse(str(archive))
    entries = [entry for entry in folder.iterdir() if not is_ignored(entry)]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _unzip(archive: Path, folder: Path, findings: Findings) -> None:
    # Names without the flag of UTF-8 are mostly UTF-8 all the same; the format's old default is CP437.
    with zipfile.ZipFile(archive, metadata_encoding="utf-8") as file:
        for member in file.infolist():
            # Some programs on Windows write them, contrary to the format.
            member.filename = member.filename.replace("\\", "/")
        members = Counter(PurePosixPath(member.filename) for member in file.infolist())
        for name, count in members.items():
            if count > 1:
                findings.problem(f"member {name} appears {count} times; expected once")
        for member in file.infolist():
            if not PurePosixPath(member.filename).name or "\0" in member.filename:
                findings.problem(f"member {member.filename!r} has no name; leave it out")
            elif is_name_outside(member.filename) or stat.S_ISLNK(member.external_attr >> 16):
                findings.problem(f"member {member.filename} leads out of the archive or is a link; leave it out")
        size = sum(member.file_size for member in file.infolist())
        check_growth(archive, size)
        _check_room(archive, folder, size)
        if not findings.problems:
            file.extractall(folder, file.infolist())


def _untar(archive: Path, folder: Path, findings: Findings) -> None:
    with _decompressed(archive) as content, tarfile.open(fileobj=_Bounded(archive, content), mode="r:") as file:
        total = 0
        for member in file:
            total += member.size
            check_growth(archive, total)
            _check_room(archive, folder, member.size)
            _extract(file, member, folder / member.name, folder, findings)
            # Kept, each member would take a kilobyte.
            file.members.clear()  # type: ignore[attr-defined]
        # tarfile takes the end of the file, or anything that isn't a header, for the end of the archive.
        assert file.fileobj is not None, "it was opened for reading"
        file.fileobj.seek(file.offset)
        if file.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end marker")
        # Read on: a compressed file ends with its checksum.
        while block := file.fileobj.read(1 << 20):
            if block.strip(b"\0"):
                raise tarfile.ReadError("more data after the end marker")


def check_growth(path: Path, size: int) -> None:
    """Raise MnistryError where the file, of a few bytes, unpacks to `size` of them, enough to fill memory or disk."""
    packed = path.stat().st_size
    if size > MUCH and size > MOST_GROWTH * packed:
        raise MnistryError(
            f"{path}: {packed:,} bytes that unpack to {size:,} or more; expected at most {MOST_GROWTH} times as many: "
            "if that is right, unpack it yourself"
        )


@contextmanager
def _decompressed(archive: Path) -> Iterator[BinaryIO]:
    """The archive's content, whichever of the compressions it has."""
    with archive.open("rb") as file:
        start = file.read(6)
    kinds: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
    opener = next((opener for magic, opener in kinds.items() if start.startswith(magic)), None)
    with opener(archive) if opener else archive.open("rb") as content:
        yield content


class _Bounded(io.RawIOBase):
    """A file for tarfile to read from, which unpacks no more than an archive of that size may, and that piecewise."""

    def __init__(self, archive: Path, content: BinaryIO):
        super().__init__()
        self.archive, self.content, self.position = archive, content, 0

    def read(self, size: int = -1) -> bytes:
        """As of any file; tarfile asks for a header's whole text at once, however long it says that is."""
        if not 0 <= size <= LARGEST_READ:
            raise tarfile.ReadError("a header that is too large")
        found = self.content.read(size)
        self._move(self.position + len(found))
        return found

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """From the start alone, as tarfile does."""
        assert whence == io.SEEK_SET, "tarfile seeks from the start"
        self._move(position)
        return self.content.seek(position)

    def tell(self) -> int:
        """The number of bytes before."""
        return self.position

    def _move(self, position: int) -> None:
        check_growth(self.archive, position)
        self.position = position


def _check_room(archive: Path, folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise MnistryError(f"{archive}: takes {size:,} bytes unpacked, and {free:,} are free on the disk; make room")


def _inside(path: str, folder: Path) -> str:
    """The path relative to `folder`, a temporary one, where it is in there."""
    name = os.path.relpath(path, folder)
    return path if name.startswith("..") else name


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path, folder: Path, findings: Findings) -> None:
    """Write the member to `path`. Python's own filters exist only since 3.11.4."""
    if is_name_outside(member.name):
        findings.problem(f"member {member.name} leads out of the archive; leave it out")
    elif member.isdir():
        path.mkdir(parents=True, exist_ok=True)
    elif os.path.lexists(path):
        findings.problem(f"member {member.name} appears twice; expected once")
    elif member.isreg():
        path.parent.mkdir(parents=True, exist_ok=True)
        source = archive.extractfile(member)
        assert source is not None, "a regular file"
        with source, path.open("xb") as target:
            shutil.copyfileobj(source, target)
    elif member.islnk() and not is_name_outside(member.linkname):
        # This is how tar stores the second name of a file.
        if not (folder / member.linkname).is_file():
            raise tarfile.ReadError(f"{member.name} is a link to {member.linkname}, which does not precede it")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(folder / member.linkname)
    else:
        findings.problem(f"member {member.name} leads out of the archive or is not a file; leave it out")
