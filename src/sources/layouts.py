"""Which of the layouts a folder of images has, and the images in it."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from src.sources.annotations import list_annotations
from src.sources.findings import Findings
from src.sources.listing import ImageFile, image_files, is_ignored
from src.sources.paths import is_link_outside
from src.sources.trees import list_tree


def list_images(folder: Path, findings: Findings, root: str = ".", class_level: int = 0) -> list[ImageFile]:
    """The image files of the folder, in its own order: that of the CSV's rows or of the files' names.

    root, class_level: as for `list_tree`.
    """
    csvs = sorted((path for path in folder.iterdir() if _is_csv(path)), reverse=True)
    names = " and ".join(sorted(path.name.lower() for path in csvs))
    if not csvs:
        files = list_tree(folder, findings, root, class_level)
    elif len(csvs) == 1 or names == "test.csv and train.csv":
        files = list_annotations(folder, csvs, findings)
        # Where rows are wrong, their images are unlisted because of that.
        if not findings.problems:
            _check_unlisted(folder, files, names, findings)
    else:
        found = ", ".join(sorted(path.name for path in csvs))
        findings.problem(f"two layouts at once: {found}; expected one CSV, or train.csv and test.csv")
        return []
    inside = _readable(folder, files, findings)
    if not inside and not findings.problems:
        findings.problem("no images; expected one folder per class, or a CSV of file names and labels")
    # The same letters may be stored composed or decomposed, depending on the system that made the files.
    return [replace(file, label=unicodedata.normalize("NFC", file.label)) for file in inside]


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and not is_ignored(path) and path.is_file()


def _readable(folder: Path, files: Sequence[ImageFile], findings: Findings) -> list[ImageFile]:
    """The files that can be read without leaving the folder; the others are problems."""
    top = folder.resolve()
    parents: dict[Path, bool] = {}
    readable = []
    for file in files:
        path = folder / file.path
        if path.parent not in parents:
            parents[path.parent] = path.parent.resolve().is_relative_to(top)
        if not parents[path.parent] or is_link_outside(path, folder):
            findings.problem(f"{file.path}: a link out of the dataset's folder; put the file itself there")
        elif path.exists() and not path.is_file():
            findings.problem(f"{file.path}: not a file; remove it")
        elif not _is_text(file.path):
            findings.problem(f"{os.fsencode(file.path)!r}: a name that isn't UTF-8; rename it")
        else:
            readable.append(file)
    return readable


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_unlisted(folder: Path, files: Sequence[ImageFile], csvs: str, findings: Findings) -> None:
    """A folder from which the CSV files list no image is a problem; other images that they leave out, a warning."""
    listed = {file.path for file in files}
    used = {path.partition("/")[0] for path in listed}
    found = (path.relative_to(folder).as_posix() for path in image_files(folder))
    unlisted = sorted(path for path in found if path not in listed)
    other = sorted({path.partition("/")[0] for path in unlisted if "/" in path} - used)
    if other:
        findings.problem(f"two layouts at once: {csvs}, and images in {other[0]}/ that no row lists")
    elif unlisted:
        findings.warn(f"{csvs}: images without a row are left out: {len(unlisted)}, such as {unlisted[0]}")
