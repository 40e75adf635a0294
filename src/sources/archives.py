"""Unpacking an archive that somebody else made."""

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath

from src.errors import MnistryError
from src.sources.listing import is_ignored
from src.sources.problems import refuse

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")


def is_archive(path: Path) -> bool:
    """Whether the file's name is that of an archive that can be unpacked."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack into `folder`; the top folder inside the archive, or `folder` where there are several entries.

    Raises MnistryError where the archive is damaged or cut off, or where members would lie outside of `folder`.
    """
    problems: list[str] = []
    try:
        if archive.name.lower().endswith(".zip"):
            _unzip(archive, folder, problems)
        else:
            _untar(archive, folder, problems)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, KeyError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            # Not the archive's fault, such as a full disk, or a name that is too long for this system.
            raise MnistryError(f"{archive}: {error.filename or folder}: {(error.strerror or '').lower()}") from None
        reason = str(error).partition("\n")[0]
        raise MnistryError(f"{archive}: damaged or cut off ({reason}); get it again") from None
    except RuntimeError as error:
        # Encrypted, or compressed in a way that zipfile doesn't know.
        raise MnistryError(f"{archive}: {error}; pack it without a password, in the common way") from None
    refuse(str(archive), problems)
    entries = [entry for entry in folder.iterdir() if not is_ignored(entry.name)]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _unzip(archive: Path, folder: Path, problems: list[str]) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            # Some programs of Windows write them, against the format.
            member.filename = member.filename.replace("\\", "/")
        members = Counter(PurePosixPath(member.filename) for member in file.infolist())
        problems += [f"member {name} stands {n} times; expected once" for name, n in members.items() if n > 1]
        problems += [
            f"member {member.filename} leads out of the archive or is a link; leave it out"
            for member in file.infolist()
            if _leaves(member.filename) or stat.S_ISLNK(member.external_attr >> 16)
        ]
        if not problems:
            file.extractall(folder, file.infolist())


def _untar(archive: Path, folder: Path, problems: list[str]) -> None:
    with tarfile.open(archive) as file:
        for member in file:
            _extract(file, member, folder / member.name, folder, problems)
            # All members would take a kilobyte each.
            file.members.clear()  # type: ignore[attr-defined]
        # tarfile takes the end of the file, or what isn't a header, for the end of the archive.
        assert file.fileobj is not None, "it was opened for reading"
        file.fileobj.seek(file.offset)
        if file.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end of the archive")
        # At the end of a compressed file stands its checksum.
        while file.fileobj.read(1 << 20):
            pass


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path, folder: Path, problems: list[str]) -> None:
    """Write the member to `path`. Python's own filters came with 3.11.4."""
    if _leaves(member.name):
        problems.append(f"member {member.name} leads out of the archive; leave it out")
    elif member.isdir():
        path.mkdir(parents=True, exist_ok=True)
    elif os.path.lexists(path):
        problems.append(f"member {member.name} stands twice; expected once")
    elif member.isreg():
        path.parent.mkdir(parents=True, exist_ok=True)
        source = archive.extractfile(member)
        assert source is not None, "a regular file"
        with source, path.open("xb") as target:
            shutil.copyfileobj(source, target)
    elif member.islnk() and not _leaves(member.linkname):
        # tar stores the second name of a file so.
        if not (folder / member.linkname).is_file():
            raise tarfile.ReadError(f"{member.name} is a link to {member.linkname}, which doesn't stand before it")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(folder / member.linkname)
    else:
        problems.append(f"member {member.name} leads out of the archive or is no file; leave it out")


def _leaves(member: str) -> bool:
    return PurePosixPath(member).is_absolute() or ".." in PurePosixPath(member).parts
