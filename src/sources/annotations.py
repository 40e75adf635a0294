"""Listing images by CSV files of file names and labels."""

import csv
import io
from pathlib import Path

from src.sources.listing import Picture

COLUMNS = {
    "path": ("file", "filename", "file_name", "file name", "filepath", "file_path", "path", "image", "image_path"),
    "label": ("label", "labels", "class", "class_name", "category", "target"),
    "split": ("split", "set", "subset"),
}
"""What a header may call each column."""


def list_annotations(folder: Path, files: list[Path]) -> tuple[list[Picture], list[str], list[str]]:
    """The pictures that the CSV files name, in the rows' order; what is wrong; and what is only odd.

    files: one CSV, with or without a split column, or train.csv and test.csv.
    """
    pictures: dict[str, Picture] = {}
    problems: list[str] = []
    warnings: list[str] = []
    for file in files:
        split = file.stem if len(files) == 2 else ""
        for where, picture in _read(folder, file, split, problems):
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


def _read(folder: Path, file: Path, split: str, problems: list[str]) -> list[tuple[str, Picture]]:
    """Each row's place and picture; what is wrong is added to `problems`."""
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.append(f"{file.name}: not UTF-8 text (byte {error.start}); save it as UTF-8")
        return []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        problems.append(f"{file.name}: not a CSV file ({error})")
        return []
    if not rows:
        problems.append(f"{file.name}: empty; expected a row a picture: file name, label")
        return []
    columns = _header(rows[0][1])
    if columns:
        rows = rows[1:]
        if not rows:
            problems.append(f"{file.name}: a header without rows; expected a row a picture")
    else:
        columns = {"path": 0, "label": 1, "split": 2} if len(rows[0][1]) == 3 else {"path": 0, "label": 1}
        columns["count"] = len(columns)
    listed = []
    for number, row in rows:
        where = f"{file.name}:{number}"
        if len(row) != columns["count"]:
            problems.append(f"{where}: {len(row)} columns; expected {columns['count']}")
            continue
        name, label = row[columns["path"]].strip(), row[columns["label"]].strip()
        chosen = row[columns["split"]].strip().lower() if "split" in columns else split
        wrong = _problem(folder, name, label, chosen, "split" in columns)
        if wrong:
            problems.append(f"{where}: {wrong}")
        else:
            listed.append((where, Picture(chosen, label, Path(name).as_posix())))
    return listed


def _header(row: list[str]) -> dict[str, int] | None:
    """The index of each known column and their count, or None where the row is no header."""
    names = [cell.strip().lower() for cell in row]
    found = {
        column: next((i for i, name in enumerate(names) if name in known), -1) for column, known in COLUMNS.items()
    }
    if found["path"] < 0 or found["label"] < 0:
        return None
    return {column: i for column, i in found.items() if i >= 0} | {"count": len(row)}


def _problem(folder: Path, name: str, label: str, split: str, has_split: bool) -> str | None:
    if not name or not label:
        return f"no {'label' if name else 'file name'}"
    if has_split and split not in ("train", "test"):
        return f"split {split!r}; expected train or test"
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return f"{name} leads out of the dataset's folder; expected a path inside it"
    if not (folder / name).is_file():
        return f"{name}: no such file in the dataset's folder"
    return None
