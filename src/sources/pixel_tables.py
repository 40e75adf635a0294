"""CSV tables with the pixels of an image in each row."""

import csv
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np

from src.errors import MnistryError
from src.sources.listing import NO_LABEL
from src.sources.split_names import split_of
from src.sources.tables import INDEX_COLUMNS, SEPARATORS, SPLIT_COLUMNS

LABEL_NAMES = ("label", "labels", "class", "target", "y", "digit", "letter", "emotion", "character")
PIXELS_COLUMN = "pixels"
"""A column with all pixels of the image, between spaces."""
FEWEST = 16
"""Numbers in a row from which on a table may be one of pixels: 4x4."""
PIXEL_NAME = re.compile(r"(pixel|pix|px|p|x|col|column|feature|v|f)?[_ .-]?(\d+)(?:[x_](\d+))?")


@dataclass(frozen=True)
class Columns:
    """The columns of the label (None where there is none), of the pixels and of the split, if any.

    header: whether the first row is one.
    """

    label: int | None
    pixels: list[int]
    header: bool
    split: int | None = None


def _separator(file: TextIO) -> str:
    """The one of `SEPARATORS` that is most often in the first line of the file, which is then read from its start."""
    line = file.readline()
    file.seek(0)
    return max(SEPARATORS, key=line.count)


def is_pixel_table(path: Path) -> bool:
    """Whether the file's first line is that of a table of pixels."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            row = next(csv.reader(file, delimiter=_separator(file)), [])
    except (UnicodeDecodeError, csv.Error):
        return False
    names = [cell.strip().lower() for cell in row]
    if PIXELS_COLUMN in names:
        return True
    named = sum(bool(PIXEL_NAME.fullmatch(name)) for name in names)
    return named >= FEWEST and named >= len(names) - 5


def read_pixel_table(path: Path, scratch: Path, label_column: str = "") -> dict[str, tuple[np.ndarray, list[str]]]:
    """For each split, the rows of pixels, in an array of shape (N, D) that is memory-mapped in `scratch`, and labels.

    The split is empty where no column says it; nothing is returned where the table has no labels. label_column: the one
    that holds them, where the user says so. Raises MnistryError with the line that is wrong.
    """
    labels: dict[str, list[str]] = {}
    width = 0
    with path.open(encoding="utf-8-sig", newline="") as file, ExitStack() as outs:
        columns = _columns(path, file, label_column.lower())
        if columns.label is None:
            return {}
        file.seek(0)
        targets: dict[str, BinaryIO] = {}
        for line, split, label, pixels in _rows(path, file, columns):
            if width not in (0, len(pixels)):
                raise MnistryError(f"{path.name}:{line}: {len(pixels)} pixels; expected {width}, as before")
            width = len(pixels)
            if not label or label.lower() in NO_LABEL:
                raise MnistryError(f"{path.name}:{line}: no label; fill it in or remove the row")
            if split not in targets:
                targets[split] = outs.enter_context(_target(path, scratch, split).open("wb"))
            labels.setdefault(split, []).append(label)
            targets[split].write(pixels.tobytes())
    if not labels:
        raise MnistryError(f"{path.name}: a header without rows; expected one row per image")
    return {
        split: (np.memmap(_target(path, scratch, split), np.float32, "r", shape=(len(each), width)), each)
        for split, each in labels.items()
    }


def _target(path: Path, scratch: Path, split: str) -> Path:
    return scratch / f"{path.stem}.{split}.pixels"


def _columns(path: Path, file: TextIO, label_column: str) -> Columns:
    rows = list(zip(range(200), csv.reader(file, delimiter=_separator(file)), strict=False))
    if not rows:
        raise MnistryError(f"{path.name}: empty; expected one row per image")
    names = [cell.strip().lower() for cell in rows[0][1]]
    if all(re.fullmatch(r"[0-9.]+", name) for name in names):
        return _headless(path, [row for _, row in rows])
    labels = [i for i, name in enumerate(names) if name in ((label_column,) if label_column else LABEL_NAMES)]
    splits = [i for i, name in enumerate(names) if name in SPLIT_COLUMNS and i not in labels]
    if len(labels) > 1:
        listed = ", ".join(names[i] for i in labels)
        raise MnistryError(
            f"{path.name}: columns {listed} may each be the label; name one in source.yaml, label_column"
        )
    if len(splits) > 1:
        listed = " and ".join(names[i] for i in splits)
        raise MnistryError(f"{path.name}:1: columns {listed} may each be the split; rename all but one")
    if PIXELS_COLUMN in names:
        pixels = [names.index(PIXELS_COLUMN)]
    else:
        pixels = [i for i, name in enumerate(names) if PIXEL_NAME.fullmatch(name) and i not in labels]
        pixels = _in_order(path, {i: names[i] for i in pixels})
    others = [i for i, name in enumerate(names) if i not in (*pixels, *splits) and name not in INDEX_COLUMNS]
    if not labels and (others or label_column):
        listed = ", ".join(repr(names[i]) for i in others) or "pixels alone"
        raise MnistryError(
            f"{path.name}: which column is the label? besides pixels, there are {listed}; name it in source.yaml, "
            "label_column"
        )
    return Columns(labels[0] if labels else None, pixels, header=True, split=splits[0] if splits else None)


def _in_order(path: Path, names: dict[int, str]) -> list[int]:
    """The columns of the pixels in the order of their numbers, or of row and column; raises MnistryError for a gap.

    names: of each column. Spreadsheets and data frames may have sorted them as text: pixel0, pixel1, pixel10.
    """
    parts = {i: match.groups() for i, name in names.items() if (match := PIXEL_NAME.fullmatch(name))}
    if len({(prefix, second is None) for prefix, _, second in parts.values()}) > 1:
        return list(names)
    places = {i: (int(first), int(second or 0)) for i, (_, first, second) in parts.items()}
    ordered = sorted(names, key=lambda i: places[i])
    height, width = (max(axis) - min(axis) + 1 for axis in zip(*places.values(), strict=True))
    if not len(names) == len(set(places.values())) == height * width:
        raise MnistryError(
            f"{path.name}: {len(names)} columns of pixels from {names[ordered[0]]} to {names[ordered[-1]]}; expected "
            "each number once, without gaps"
        )
    return ordered


def _headless(path: Path, rows: list[list[str]]) -> Columns:
    """The columns of a table without a header: the label is first or last, whichever is not always the same.

    Corners of images mostly are.
    """
    count = len(rows[0])
    if _is_square(count) and not _is_square(count - 1):
        return Columns(None, list(range(count)), header=False)
    first, last = ({row[i] for row in rows if row} for i in (0, -1))
    if (len(first) > 1) == (len(last) > 1):
        raise MnistryError(
            f"{path.name}: is the label in the first column or in the last? give the table a header: label, pixel0, ..."
        )
    label = 0 if len(first) > 1 else count - 1
    return Columns(label, [i for i in range(count) if i != label], header=False)


def _is_square(count: int) -> bool:
    return isqrt(count) ** 2 == count


def _rows(path: Path, file: TextIO, columns: Columns) -> Iterator[tuple[int, str, str, np.ndarray]]:
    """Each row's line, split, label and pixels, float32."""
    reader = csv.reader(file, delimiter=_separator(file))
    start, width = columns.pixels[0], 0
    adjacent = columns.pixels == list(range(start, start + len(columns.pixels)))
    assert columns.label is not None, "tables without labels are passed over"
    for number, row in enumerate(reader):
        if not any(cell.strip() for cell in row):
            continue
        width = width or len(row)
        if len(row) != width:
            raise MnistryError(f"{path.name}:{reader.line_num}: {len(row)} columns; expected {width}")
        if number == 0 and columns.header:
            continue
        if len(columns.pixels) == 1:
            cells = row[start].split()
        else:
            cells = row[start : start + len(columns.pixels)] if adjacent else [row[i] for i in columns.pixels]
        try:
            with np.errstate(over="ignore"):
                pixels = np.array(cells, dtype=np.float32)
        except ValueError:
            raise MnistryError(f"{path.name}:{reader.line_num}: a pixel that is not a number; fix the row") from None
        split = "" if columns.split is None else split_of(row[columns.split])
        if split is None:
            raise MnistryError(
                f"{path.name}:{reader.line_num}: split {row[columns.split or 0]!r}; expected train, validation or test"
            )
        yield reader.line_num, split, row[columns.label].strip(), pixels
