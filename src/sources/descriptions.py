"""The file that describes a source: source.yaml, which may also be called source.yml."""

import shutil
from pathlib import Path

from src.errors import MnistryError
from src.sources.paths import is_link_outside

NAMES = ("source.yaml", "source.yml")


def find_description(folder: Path) -> Path | None:
    """The folder's source.yaml, or None where it has none.

    Raises MnistryError where there are two, and where it is a link out of the folder or to nothing.
    """
    # Also Source.yaml, which is the same file on the systems where capitals don't matter.
    found = sorted(path for path in folder.iterdir() if path.name.lower() in NAMES)
    if len(found) > 1:
        raise MnistryError(f"{folder}: both {found[0].name} and {found[1].name}; keep one of them")
    for path in found:
        if is_link_outside(path, folder) or not path.exists():
            raise MnistryError(f"{path}: a link out of its folder or to nothing; put the file itself there")
    return found[0] if found else None


def copy_description(folder: Path, raw: Path) -> None:
    """Copy the folder's source.yaml to the folder `raw`, under that name."""
    if path := find_description(folder):
        shutil.copyfile(path, raw / NAMES[0])
