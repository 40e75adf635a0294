"""Listing images by CSV files of file names and labels."""

import csv
import io
import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from src.sources.findings import Findings
from src.sources.listing import ImageFile
from src.sources.paths import is_link_outside, is_name_outside

COLUMNS = {
    "path": ("file", "filename", "file_name", "file name", "filepath", "file_path", "path", "image", "image_path"),
    "label": ("label", "labels", "class", "class_name", "category", "target"),
    "split": ("split", "set", "subset"),
}
"""The names that a header may give each column."""


@dataclass(frozen=True)
class Columns:
    """The index of each column and how many there are; no split column where the files say the split."""

    path: int
    label: int
    split: int | None
    count: int


def list_annotations(folder: Path, csvs: list[Path], findings: Findings) -> list[ImageFile]:
    """The images that the CSV files name, in the order of the rows.

    csvs: one file, with or without a split column, or train.csv and test.csv.
    """
    files: dict[str, ImageFile] = {}
    for path in csvs:
        for where, file in _read(folder, path, path.stem.lower() if len(csvs) == 2 else "", findings):
            earlier = files.setdefault(file.path, file)
            if earlier is file:
                continue
            if (earlier.label, earlier.split) == (file.label, file.split):
                findings.warn(f"{where}: {file.path} is listed twice; its second row is left out")
            elif earlier.split != file.split:
                findings.problem(f"{where}: {file.path} is listed for both train and test; remove one row")
            else:
                labels = f"as {earlier.label!r} and as {file.label!r}"
                findings.problem(f"{where}: {file.path} is listed {labels}; remove one row")
    return list(files.values())


def _read(folder: Path, file: Path, split: str, findings: Findings) -> Iterator[tuple[str, ImageFile]]:
    """Each row's place and image.

    split: that of the whole file, or empty.
    """
    if is_link_outside(file, folder):
        findings.problem(f"{file.name}: a link out of the dataset's folder; put the file itself there")
        return
    rows = _rows(file, findings)
    first = next(rows, None)
    if first is None:
        return
    header = _header(first[1], split)
    if isinstance(header, str):
        findings.problem(f"{file.name}:{first[0]}: {header}")
        return
    columns = header or _headless(first[1], split)
    count = 0
    for number, row in rows if header else chain([first], rows):
        count += 1
        image = _image(folder, row, columns, split)
        if isinstance(image, ImageFile):
            yield f"{file.name}:{number}", image
        else:
            # A header with names that aren't known looks like a first image that doesn't exist.
            hint = "" if header or count > 1 else "; a header has to name a column file and one label"
            findings.problem(f"{file.name}:{number}: {image}{hint}")
    if not count:
        findings.problem(f"{file.name}: a header without rows; expected one row per image")


def _rows(file: Path, findings: Findings) -> Iterator[tuple[int, list[str]]]:
    """The rows that aren't empty, each with its line."""
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        findings.problem(f"{file.name}: not UTF-8 text (byte {error.start}); save it as UTF-8")
        return
    if "\0" in text:
        # UTF-16 and UTF-32 without a byte-order mark.
        findings.problem(f"{file.name}: not UTF-8 text (it has zero bytes); save it as UTF-8")
        return
    if not text.strip():
        findings.problem(f"{file.name}: empty; expected one row per image: file name, label")
        return
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        findings.problem(f"{file.name}:{reader.line_num}: not a row of a CSV file ({error})")


def _header(row: list[str], split: str) -> Columns | str | None:
    """Which columns the row names, what is wrong with that, or None where it is not a header."""
    names = [cell.strip().lower() for cell in row]
    found = {column: [i for i, name in enumerate(names) if name in known] for column, known in COLUMNS.items()}
    if not found["path"] or not found["label"]:
        return None
    if split:
        found["split"] = []
    for column, places in found.items():
        if len(places) > 1:
            return f"columns {' and '.join(names[i] for i in places)} may each be the {column}; rename all but one"
    return Columns(found["path"][0], found["label"][0], found["split"][0] if found["split"] else None, len(row))


def _headless(row: list[str], split: str) -> Columns:
    return Columns(0, 1, 2, 3) if len(row) == 3 and not split else Columns(0, 1, None, 2)


def _image(folder: Path, row: list[str], columns: Columns, split: str) -> ImageFile | str:
    """The row's image, or what is wrong with the row."""
    if len(row) != columns.count:
        commas = ", with commas between them" if len(row) == 1 and re.search("[;\t]", row[0]) else ""
        return f"{len(row)} column{'' if len(row) == 1 else 's'}; expected {columns.count}{commas}"
    name, label = row[columns.path].strip(), row[columns.label].strip()
    if not name or not label:
        return f"no {'label' if name else 'file name'}"
    if columns.split is not None:
        split = row[columns.split].strip().lower()
        if split not in ("train", "test"):
            return f"split {split!r}; expected train or test"
    if is_name_outside(name):
        return f"{name} leads out of the dataset's folder; expected a path inside it"
    path = _find(folder, name)
    if path is None:
        slashes = "; expected slashes in paths" if "\\" in name else ""
        return f"{name}: no such file in the dataset's folder{slashes}"
    # A label is the same for many rows: kept once.
    return ImageFile(sys.intern(split), sys.intern(label), path)


def _find(folder: Path, name: str) -> str | None:
    """The path under which the file exists: in the file system, its letters may be composed or decomposed."""
    for form in dict.fromkeys((name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))):
        try:
            if (folder / form).is_file():
                return Path(form).as_posix()
        except OSError:
            # A name that is too long, or a folder without the permission to look into it.
            continue
    return None
