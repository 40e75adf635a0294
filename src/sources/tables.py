"""Reading a CSV or JSON-lines file as a table, whatever program wrote it."""

import codecs
import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from src.errors import MnistryError
from src.signatures import describe_start

SEPARATORS = ",;\t|"
SPLIT_COLUMNS = ("split", "set", "subset", "usage", "partition", "data set", "dataset")
"""The names that a header may give the column of the split, in small letters."""
INDEX_COLUMNS = ("", "unnamed: 0", "index", "id", "no", "no.")
"""The names of columns that only count the rows."""
JSON_OBJECT = TypeAdapter(dict[str, Any])
"""Read by pydantic, which bounds its depth and takes numbers of any length."""
SCRIPTS = {"cp932": "[぀-ヿ]", "cp949": "[가-힣]"}
"""Encodings of Korean and Japanese Windows, with characters that their texts have; wrongly decoded ones have few."""


@dataclass(frozen=True)
class Table:
    """name: of the file. rows: the cells of each row that isn't empty, with its line, stripped of spaces."""

    name: str
    rows: list[tuple[int, list[str]]]


def read_table(path: Path, encoding: str = "") -> Table:
    """The file's rows, without those that are empty or separators alone, and without empty columns at the end.

    encoding: what the text is in; by default, UTF-8, or what the file's first bytes say. Raises MnistryError.
    """
    text = _text(path, encoding)
    rows = _json_rows(path, text) if path.suffix.lower() == ".jsonl" else _csv_rows(path, text)
    rows = [(line, cells) for line, cells in rows if any(cells)]
    if not rows:
        raise MnistryError(f"{path.name}: empty; expected one row per image: file name, label")
    # Behind the last column, some programs write one more separator, in all rows or in those after the header.
    width = max(i + 1 for _, cells in rows for i, cell in enumerate(cells) if cell)
    return Table(path.name, [(line, cells[:width]) for line, cells in rows])


def _text(path: Path, encoding: str) -> str:
    content = path.read_bytes()
    if looks := describe_start(content[:140]):
        raise MnistryError(f"{path.name}: not a table; it is {looks}")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = encoding or "utf-16"
    try:
        text = content.decode(encoding or "utf-8-sig")
    except UnicodeError as error:
        place = f"byte {error.start}" if isinstance(error, UnicodeDecodeError) else str(error)
        if encoding:
            raise MnistryError(f"{path.name}: not {encoding} text ({place})") from None
        guess = _guess(content)
        looks = f"it looks like {guess}: say encoding: {guess} in source.yaml, or " if guess else ""
        raise MnistryError(f"{path.name}: not UTF-8 text ({place}); {looks}save it as UTF-8") from None
    if "\0" in text:
        # UTF-16 and UTF-32 without a byte-order mark.
        raise MnistryError(
            f"{path.name}: not UTF-8 text (it has zero bytes); it looks like UTF-16: say encoding: utf-16-le in "
            "source.yaml, or save it as UTF-8"
        )
    return text


def _guess(content: bytes) -> str:
    """The encoding of Windows that the bytes look like, or nothing."""
    shares = {}
    for encoding, characters in SCRIPTS.items():
        try:
            foreign = re.sub(r"[\x00-\x7f]", "", content.decode(encoding))
        except UnicodeDecodeError:
            continue
        shares[encoding] = len(re.findall(characters, foreign)) / len(foreign)
    if shares and max(shares.values()) > 0.5:
        return max(shares, key=lambda encoding: shares[encoding])
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    return "cp1252"


def _csv_rows(path: Path, text: str) -> list[tuple[int, list[str]]]:
    stated = re.match(r"sep=(.)\r?\n", text)
    separator = stated[1] if stated else _separator(text)
    skipped = 1 if stated else 0
    if stated:
        text = text[stated.end() :]
    # Some programs write a space after each separator, before the quotes.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        return [(reader.line_num + skipped, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        line = reader.line_num + skipped
        raise MnistryError(f"{path.name}:{line}: not a row of a CSV file ({error})") from None


def _separator(text: str) -> str:
    """The first of `SEPARATORS` that is there equally often in all of the first lines; a comma if none is."""
    lines = [re.sub('"[^"]*"', "", line) for line in text.splitlines()[:20] if line.strip(SEPARATORS + " ")]
    counts = {separator: {line.count(separator) for line in lines} for separator in SEPARATORS}
    even = [separator for separator, found in counts.items() if len(found) == 1 and found != {0}]
    return even[0] if even else ","


def _json_rows(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """A header of all keys, then the values of each line's object."""
    objects = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            content = JSON_OBJECT.validate_json(line)
        except ValidationError:
            raise MnistryError(f"{path.name}:{number}: not a JSON object; expected one per line") from None
        objects.append((number, content))
    keys = list(dict.fromkeys(key for _, content in objects for key in content))
    values = [
        (number, ["" if content.get(key) is None else _cell(content[key]) for key in keys])
        for number, content in objects
    ]
    return [(0, keys), *values]


def _cell(value: Any) -> str:
    """The value as text, cut where no label or file name is that long: Python writes no number of 5,000 digits."""
    return f"{value:#x}" if isinstance(value, int) and abs(value) >= 10**100 else str(value).strip()
