"""Unpacking an archive that somebody else made."""

import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from src.errors import MnistryError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")


def is_archive(path: Path) -> bool:
    """Whether the file's name is that of an archive that can be unpacked."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack into `folder`; the top folder inside the archive, or `folder` where there are several entries.

    Raises MnistryError where the archive is damaged or a member would lie outside of `folder`.
    """
    try:
        if archive.name.lower().endswith(".zip"):
            _unzip(archive, folder)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        raise MnistryError(f"{archive}: {error}; expected members inside the archive's own folder") from None
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise MnistryError(f"{archive}: damaged or cut off ({error}); get it again") from None
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            path = PurePosixPath(member.filename)
            if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(member.external_attr >> 16):
                raise MnistryError(f"{archive}: member {member.filename} leads out of the archive; leave it out")
        file.extractall(folder)
