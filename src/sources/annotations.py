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

from src.sources.links import leaves
from src.sources.listing import Picture

COLUMNS = {
    "path": ("file", "filename", "file_name", "file name", "filepath", "file_path", "path", "image", "image_path"),
    "label": ("label", "labels", "class", "class_name", "category", "target"),
    "split": ("split", "set", "subset"),
}
"""What a header may call each column."""


@dataclass(frozen=True)
class Columns:
    """The index of each column and how many there are; no split column where the files say the split."""

    path: int
    label: int
    split: int | None
    count: int


def list_annotations(folder: Path, files: list[Path]) -> tuple[list[Picture], list[str], list[str]]:
    """The pictures that the CSV files name, in the rows' order; what is wrong; and what is only odd.

    files: one CSV, with or without a split column, or train.csv and test.csv.
    """
    pictures: dict[str, Picture] = {}
    problems: list[str] = []
    warnings: list[str] = []
    for file in files:
        for where, picture in _read(folder, file, file.stem.lower() if len(files) == 2 else "", problems):
            earlier = pictures.setdefault(picture.path, picture)
            if earlier is picture:
                continue
            if (earlier.label, earlier.split) == (picture.label, picture.split):
                warnings.append(f"{where}: {picture.path} is listed twice; its second row is left out")
            elif earlier.split != picture.split:
                problems.append(f"{where}: {picture.path} is listed for both train and test; remove one row")
            else:
                problems.append(
                    f"{where}: {picture.path} is listed as {earlier.label!r} and as {picture.label!r}; remove one row"
                )
    return list(pictures.values()), problems, warnings


def _read(folder: Path, file: Path, split: str, problems: list[str]) -> Iterator[tuple[str, Picture]]:
    """Each row's place and picture; what is wrong is added to `problems`.

    split: that of the whole file, or empty.
    """
    if leaves(file, folder):
        problems.append(f"{file.name}: a link out of the dataset's folder; put the file itself there")
        return
    rows = _rows(file, problems)
    first = next(rows, None)
    if first is None:
        return
    header = _header(first[1], split)
    if isinstance(header, str):
        problems.append(f"{file.name}:{first[0]}: {header}")
        return
    columns = header or _headless(first[1], split)
    count = 0
    for number, row in rows if header else chain([first], rows):
        count += 1
        picture = _picture(folder, row, columns, split)
        if isinstance(picture, Picture):
            yield f"{file.name}:{number}", picture
        else:
            # Without its columns' names, a header looks like a first picture that isn't there.
            hint = "" if header or count > 1 else "; a header has to name a column file and one label"
            problems.append(f"{file.name}:{number}: {picture}{hint}")
    if not count:
        problems.append(f"{file.name}: a header without rows; expected a row a picture")


def _rows(file: Path, problems: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The rows that aren't empty, each with its line."""
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.append(f"{file.name}: not UTF-8 text (byte {error.start}); save it as UTF-8")
        return
    if "\0" in text:
        # UTF-16 and UTF-32 without a byte-order mark.
        problems.append(f"{file.name}: not UTF-8 text (it has zero bytes); save it as UTF-8")
        return
    if not text.strip():
        problems.append(f"{file.name}: empty; expected a row a picture: file name, label")
        return
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        problems.append(f"{file.name}:{reader.line_num}: not a row of a CSV file ({error})")


def _header(row: list[str], split: str) -> Columns | str | None:
    """Which columns the row names, what is wrong with that, or None where it is no header."""
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


def _picture(folder: Path, row: list[str], columns: Columns, split: str) -> Picture | str:
    """The row's picture, or what is wrong with the row."""
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
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return f"{name} leads out of the dataset's folder; expected a path inside it"
    path = _find(folder, name)
    if path is None:
        slashes = "; expected slashes in paths" if "\\" in name else ""
        return f"{name}: no such file in the dataset's folder{slashes}"
    # A label is the same for many rows: kept once.
    return Picture(sys.intern(split), sys.intern(label), path)


def _find(folder: Path, name: str) -> str | None:
    """The file's path as the file system has it: its letters may be composed or decomposed."""
    for form in dict.fromkeys((name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))):
        try:
            if (folder / form).is_file():
                return Path(form).as_posix()
        except OSError:
            # Longer than a name can be, or a folder that nobody may look into.
            continue
    return None
