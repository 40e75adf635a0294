"""Which of the layouts a folder of images has, and the pictures in it."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from src.sources.annotations import list_annotations
from src.sources.links import leaves
from src.sources.listing import Picture, is_ignored, picture_files
from src.sources.trees import list_tree


def list_pictures(folder: Path) -> tuple[list[Picture], list[str], list[str]]:
    """The pictures in the folder's own order, what is wrong, and what is only odd."""
    files = sorted(path for path in folder.iterdir() if _is_csv(path))
    names = sorted(path.name.lower() for path in files)
    warnings: list[str] = []
    if not files:
        pictures, problems = list_tree(folder)
    elif len(files) == 1 or names == ["test.csv", "train.csv"]:
        pictures, problems, warnings = list_annotations(folder, sorted(files, reverse=True))
        wrong, odd = _unlisted(folder, pictures, " and ".join(names))
        # Where rows are wrong, their pictures are unlisted for that.
        if not problems:
            problems, warnings = wrong, warnings + odd
    else:
        found = ", ".join(path.name for path in files)
        return [], [f"two layouts at once: {found}; expected one CSV, or train.csv and test.csv"], []
    inside, outside = _separate(folder, pictures)
    problems += outside
    if not inside and not problems:
        problems.append("no pictures; expected folders a class, or a CSV of file names and labels")
    # The same letters may be stored composed or decomposed, as the system that made the files does.
    return [replace(each, label=unicodedata.normalize("NFC", each.label)) for each in inside], problems, warnings


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and not is_ignored(path) and path.is_file()


def _separate(folder: Path, pictures: Sequence[Picture]) -> tuple[list[Picture], list[str]]:
    """The pictures that can be read without leaving the folder; what is wrong with the others."""
    top = folder.resolve()
    parents: dict[Path, bool] = {}
    inside, problems = [], []
    for picture in pictures:
        path = folder / picture.path
        if path.parent not in parents:
            parents[path.parent] = path.parent.resolve().is_relative_to(top)
        if not parents[path.parent] or leaves(path, folder):
            problems.append(f"{picture.path}: a link out of the dataset's folder; put the file itself there")
        elif path.exists() and not path.is_file():
            problems.append(f"{picture.path}: not a file; remove it")
        elif not _is_text(picture.path):
            problems.append(f"{os.fsencode(picture.path)!r}: a name that isn't UTF-8; rename it")
        else:
            inside.append(picture)
    return inside, problems


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unlisted(folder: Path, pictures: Sequence[Picture], csvs: str) -> tuple[list[str], list[str]]:
    """Folders of which the CSV files list no picture, which are problems, and other pictures left out, a warning."""
    listed = {picture.path for picture in pictures}
    used = {path.partition("/")[0] for path in listed}
    found = (path.relative_to(folder).as_posix() for path in picture_files(folder))
    unlisted = sorted(path for path in found if path not in listed)
    other = sorted({path.partition("/")[0] for path in unlisted if "/" in path} - used)
    if other:
        return [f"two layouts at once: {csvs}, and pictures in {other[0]}/ that no row lists"], []
    if not unlisted:
        return [], []
    return [], [f"{csvs}: pictures without a row are left out: {len(unlisted)}, such as {unlisted[0]}"]
