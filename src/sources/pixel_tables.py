"""CSV tables with the pixels of an image in each row."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import TextIO

import numpy as np

from src.errors import MnistryError
from src.sources.listing import NO_LABEL

LABEL_NAMES = ("label", "labels", "class", "target", "y", "digit", "letter", "emotion", "character")
PIXELS_COLUMN = "pixels"
"""A column with all pixels of the image, between spaces."""
FEWEST = 16
"""Numbers in a row from which on a table may be one of pixels: 4x4."""
PIXEL_NAME = re.compile(r"(?:pixel|pix|px|p|x|col|column|feature|v|f)?[_ .-]?\d+(?:[x_]\d+)?")


@dataclass(frozen=True)
class Columns:
    """The columns of the label (None where there is none) and of the pixels. header: whether the first row is one."""

    label: int | None
    pixels: list[int]
    header: bool


def is_pixel_table(path: Path) -> bool:
    """Whether the file's first line is that of a table of pixels."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            row = next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error):
        return False
    names = [cell.strip().lower() for cell in row]
    if PIXELS_COLUMN in names:
        return True
    named = sum(bool(PIXEL_NAME.fullmatch(name)) for name in names)
    return named >= FEWEST and named >= len(names) - 5


def read_pixel_table(path: Path, scratch: Path) -> tuple[np.ndarray, list[str]] | None:
    """The rows of pixels, in an array of shape (N, D) that is memory-mapped in `scratch`, and their labels.

    None where the table has no labels. Raises MnistryError with the line that is wrong.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        columns = _columns(path, file)
        if columns.label is None:
            return None
        file.seek(0)
        labels: list[str] = []
        target = scratch / f"{path.stem}.pixels"
        width = 0
        with target.open("wb") as out:
            for line, label, pixels in _rows(path, file, columns):
                if width not in (0, len(pixels)):
                    raise MnistryError(f"{path.name}:{line}: {len(pixels)} pixels; expected {width}, as before")
                width = len(pixels)
                if not label or label.lower() in NO_LABEL:
                    raise MnistryError(f"{path.name}:{line}: no label; fill it in or remove the row")
                labels.append(label)
                out.write(pixels.tobytes())
    if not labels:
        raise MnistryError(f"{path.name}: a header without rows; expected one row per image")
    return np.memmap(target, np.float32, "r", shape=(len(labels), width)), labels


def _columns(path: Path, file: TextIO) -> Columns:
    rows = list(zip(range(200), csv.reader(file), strict=False))
    if not rows:
        raise MnistryError(f"{path.name}: empty; expected one row per image")
    names = [cell.strip().lower() for cell in rows[0][1]]
    labels = [i for i, name in enumerate(names) if name in LABEL_NAMES]
    if PIXELS_COLUMN in names:
        return Columns(labels[0] if labels else None, [names.index(PIXELS_COLUMN)], header=True)
    if not all(re.fullmatch(r"[0-9.]+", name) for name in names):
        if len(labels) > 1:
            raise MnistryError(f"{path.name}: columns {', '.join(names[i] for i in labels)} may each be the label")
        pixels = [i for i, name in enumerate(names) if PIXEL_NAME.fullmatch(name) and i not in labels]
        return Columns(labels[0] if labels else None, pixels, header=True)
    return _headless(path, [row for _, row in rows])


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


def _rows(path: Path, file: TextIO, columns: Columns) -> Iterator[tuple[int, str, np.ndarray]]:
    """Each row's line, label and pixels, float32."""
    reader = csv.reader(file)
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
        yield reader.line_num, row[columns.label].strip(), pixels
