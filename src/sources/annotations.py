"""Listing images by tables of file names and labels."""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from src.errors import MnistryError
from src.sources.file_names import Names
from src.sources.findings import Findings
from src.sources.listing import NO_LABEL, SUFFIXES, Ignored, ImageFile, image_files, is_ignored
from src.sources.paths import is_link_outside, is_name_outside
from src.sources.split_names import split_of
from src.sources.tables import INDEX_COLUMNS, SPLIT_COLUMNS, Table, read_table

COLUMNS = {
    "path": (
        "file", "filename", "file_name", "file name", "filepath", "file_path", "path", "image", "image_path",
        "image path", "image_id", "image_name", "image name", "img", "img_name", "img_path", "image_file", "files",
    ),
    "label": ("label", "labels", "class", "class_name", "classname", "category", "target", "label_name"),
    "split": SPLIT_COLUMNS,
}  # fmt: skip
"""The names that a header may give each column, in small letters."""
SEVERAL = re.compile(r"\s*[|;,/+]\s*|\s+")
"""What is between several labels in a cell, or in the name of one class."""
YES_OR_NO = re.compile(r"is[_ ]?(train|training|val|valid|validation|test|testing)", re.IGNORECASE)
"""Columns that say whether an image is of a split."""
HOT, COLD = {"1", "1.0", "true"}, {"0", "0.0", "false", "-1"}
"""What columns of one class each have, in small letters."""
BRACKETS = re.compile(r"\[.*[,;|].*\]|\{.*[,;|].*\}")
"""A list of labels, as Python writes it."""


@dataclass(frozen=True)
class Columns:
    """The index of each column and how many there are; no split column where the files say the split.

    header: whether the first row names the columns.
    """

    path: int
    label: int
    split: int | None
    count: int
    header: bool


def list_annotations(
    folder: Path,
    tables: Sequence[tuple[str, Path]],
    encoding: str,
    findings: Findings,
    label_column: str = "",
    ignored: Ignored = is_ignored,
    class_names: Set[str] = frozenset(),
) -> list[ImageFile]:
    """The images that the tables name, in the order of the rows.

    tables: the split of each, or empty where a column says it or nothing does, and its file; what it names is next to
    it, below, or, where nothing is, anywhere in the folder. encoding: of the tables; by default, UTF-8. label_column:
    the one that holds the class, in small letters or not; empty where it is to be found. ignored: what is no
    part of the dataset. class_names: those that the user lists, which are one label each whatever is in them.
    """
    files: dict[str, ImageFile] = {}
    problems: dict[str, list[str]] = {}
    twice: dict[str, list[str]] = {}
    for split, path in tables:
        for where, file in _read(folder, path, split, encoding, label_column, findings, ignored, class_names):
            earlier = files.setdefault(file.path, file)
            if earlier is file:
                continue
            if (earlier.label, earlier.split) == (file.label, file.split):
                line = f"{where}: {file.path} is listed twice; its second row is left out"
                twice.setdefault("a file listed before", []).append(line)
            elif earlier.split != file.split:
                line = f"{where}: {file.path} is listed for both {earlier.split} and {file.split}; remove one row"
                problems.setdefault("a file of another split", []).append(line)
            else:
                labels = f"as {earlier.label!r} and as {file.label!r}"
                line = f"{where}: {file.path} is listed {labels}; remove one row"
                problems.setdefault("a file listed with another label", []).append(line)
    for line in _one_per_kind(problems):
        findings.problem(line)
    for line in _one_per_kind(twice):
        findings.warn(line)
    return list(files.values())


def _one_per_kind(lines: dict[str, list[str]]) -> Iterator[str]:
    """The first line of each kind, with the number of rows of that kind where there are several."""
    for kind, found in lines.items():
        yield found[0] + (f" ({len(found)} rows with {kind})" if len(found) > 1 else "")


def _read(
    folder: Path,
    path: Path,
    split: str,
    encoding: str,
    label_column: str,
    findings: Findings,
    ignored: Ignored,
    class_names: Set[str],
) -> list[tuple[str, ImageFile]]:
    """Each row's place and image. split: that of the whole table, or empty."""
    if is_link_outside(path, folder):
        findings.problem(f"{path.name}: a link out of the dataset's folder; put the file itself there")
        return []
    try:
        table = _with_all_columns(read_table(path, encoding))
        base = path.parent if next(image_files(path.parent, ignored), None) else folder
        names = Names(folder, base, split or split_of(path.stem), ignored)
        columns = find_columns(table, split, names, label_column)
    except MnistryError as error:
        findings.problem(str(error))
        return []
    if columns is None:
        findings.note(f"{table.name}: file names without labels; passed over")
        return []
    rows = table.rows[1:] if columns.header else table.rows
    if not rows:
        findings.problem(f"{table.name}: a header without rows; expected one row per image")
        return []
    names.learn([row[columns.path] for _, row in rows if len(row) == columns.count])
    chosen = table.rows[0][1][columns.label]
    if columns.header and not label_column and chosen.lower() not in COLUMNS["label"]:
        cells = [row[columns.label] for _, row in rows if len(row) == columns.count]
        if len(cells) > 2 and len(set(cells)) == len(cells):
            findings.problem(
                f"{table.name}: column {chosen!r} is different in all rows, so it is no class; name the label in "
                "source.yaml, label_column, or leave the table out, exclude"
            )
            return []
        findings.note(f"{table.name}: column {chosen!r} is taken as the label")
    if names.note:
        findings.note(f"{table.name}: {names.note}")
    return _Rows(table, columns, split, names, findings, class_names).images(rows)


def _with_all_columns(table: Table) -> Table:
    """The table with a column more in its header where only that lacks one: R gives row names no header."""
    (line, head), *rows = table.rows
    known = any(cell.lower() in accepted for cell in head for accepted in COLUMNS.values())
    if known and rows and all(len(row) == len(head) + 1 for _, row in rows):
        return replace(table, rows=[(line, ["", *head]), *rows])
    return table


class _Rows:
    """The rows of a table, as images or as problems, of which there is one line per kind."""

    def __init__(
        self,
        table: Table,
        columns: Columns,
        split: str,
        names: Names,
        findings: Findings,
        class_names: Set[str],
    ):
        self.table, self.columns, self.split, self.names, self.findings = table, columns, split, names, findings
        self.class_names = class_names
        self.problems: dict[str, list[str]] = {}

    def images(self, rows: Sequence[tuple[int, list[str]]]) -> list[tuple[str, ImageFile]]:
        """Each row's place and image; what is wrong is added to the findings."""
        cells = {row[self.columns.label] for _, row in rows if len(row) == self.columns.count}
        several = _several(cells) - self.class_names
        found = []
        for line, row in rows:
            place = f"{self.table.name}:{line}"
            image = self._image(row, several)
            if isinstance(image, ImageFile):
                found.append((place, image))
            else:
                kind, detail = image
                self.problems.setdefault(kind, []).append(f"{place}: {detail}")
        for problem in _one_per_kind(self.problems):
            self.findings.problem(problem)
        return found

    def _image(self, row: list[str], several: set[str]) -> ImageFile | tuple[str, str]:
        """The row's image, or the kind of what is wrong with the row, and what it is.

        several: the cells that hold more than one label.
        """
        columns = self.columns
        if len(row) != columns.count:
            count = f"{len(row)} column{'' if len(row) == 1 else 's'}"
            return "another number of columns", f"{count}; expected {columns.count}"
        name, label, split = row[columns.path], row[columns.label], self.split
        if not name:
            return "no file name", "no file name"
        if not label or label.lower() in NO_LABEL:
            written = f" ({label})" if label else ""
            return "no label", f"no label{written}; fill it in or remove the row"
        if label in several:
            return "several labels", f"several labels in one cell, {label!r}; expected one class per image" + (
                "; if it is one class, list all of them under class_names in source.yaml"
            )
        if columns.split is not None:
            meant = split_of(row[columns.split])
            if meant is None:
                return "an unknown split", f"split {row[columns.split]!r}; expected train, validation or test"
            split = meant
        path = self.names.find(name)
        if path is None and is_name_outside(name):
            return "a path that leads out", f"{name} leads out of the dataset's folder; expected a path inside it"
        if path is None:
            return "no such file", f"{name}: no such file in the dataset's folder{self.names.hint(name)}"
        # A label is the same for many rows: kept once.
        return ImageFile(sys.intern(split), sys.intern(label), path)


def _several(labels: set[str]) -> set[str]:
    """Those of the cells that hold several labels: each is a label elsewhere, or they are in brackets.

    Where bars or semicolons are between them, which no name has, one that is in another cell, too, is enough; where
    commas or pluses are, all have to be in another cell.
    """
    parts = {label: {part for part in SEVERAL.split(label) if part} for label in labels}
    several = {label: found for label, found in parts.items() if len(found) > 1}
    cells = Counter(part for found in parts.values() for part in found)
    return {
        label
        for label, found in several.items()
        if found <= labels
        or BRACKETS.fullmatch(label)
        or (re.search("[|;]", label) and any(cells[part] > 1 for part in found))
        or (re.search("[,+]", label) and all(cells[part] > 1 for part in found))
    }


def find_columns(table: Table, split: str, names: Names, label_column: str = "") -> Columns | None:
    """Which column holds what; None where there are file names, but no label. Raises MnistryError.

    split: that of the whole table, or empty. label_column: as for `list_annotations`.
    """
    head = [cell.lower() for cell in table.rows[0][1]]
    body = [row for _, row in table.rows[1:200] if len(row) == len(head)]
    known = {column: [i for i, name in enumerate(head) if name in accepted] for column, accepted in COLUMNS.items()}
    if label_column:
        known["label"] = [i for i, name in enumerate(head) if name == label_column.lower()]
        if not known["label"]:
            listed = ", ".join(map(repr, table.rows[0][1][:10]))
            raise MnistryError(f"{table.name}: label_column is {label_column!r}; the columns are {listed}")
    holds_files = [i for i in range(len(head)) if body and _share(names, [row[i] for row in body]) > 0.5]
    if not (known["path"] or known["label"]) and not (
        holds_files and _names_columns(head, body, holds_files[0], names)
    ):
        # A table of data frames has a column that counts the rows, before the one that holds the files.
        return _headless(table, split, 1 if 1 in holds_files and _is_index(head[0], body, 0) else 0)
    if split:
        known["split"] = []
    for column, places in known.items():
        if len(places) > 1:
            listed = " and ".join(head[i] for i in places)
            advice = "name one in source.yaml, label_column" if column == "label" else "rename all but one"
            raise MnistryError(f"{table.name}:1: columns {listed} may each be the {column}; {advice}")
    path = known["path"] or holds_files
    if len(path) != 1:
        raise MnistryError(_unknown(table, "path", "holds the files' names"))
    others = [i for i in range(len(head)) if i not in (*path, *known["split"]) and not _is_index(head[i], body, i)]
    label = known["label"] or (others if len(others) == 1 else [])
    if not label:
        if not others:
            return None
        hot = [i for i in others if {row[i].lower() for row in body} <= HOT | COLD]
        if len(hot) > 1:
            one = all(sum(row[i].lower() in HOT for i in hot) == 1 for row in body)
            ones = "one 1 or True per row" if one else "0 and 1, or True and False, alone"
            raise MnistryError(
                f"{table.name}: columns {', '.join(head[i] for i in hot[:5])} have {ones}; expected one column, label, "
                "with the one class of each image"
            )
        raise MnistryError(_unknown(table, "label", "holds the class"))
    if not split and not known["split"]:
        known["split"] = _splits_by_content(table, [i for i in others if i not in label])
    place = known["split"][0] if known["split"] else None
    return Columns(path[0], label[0], place, len(head), header=True)


def _splits_by_content(table: Table, columns: Sequence[int]) -> list[int]:
    """The column all of whose cells name splits, if any; MnistryError where one says it by yes and no."""
    rows = [row for _, row in table.rows[1:] if len(row) == len(table.rows[0][1])]
    for i in columns:
        cells = {row[i] for row in rows}
        name = table.rows[0][1][i]
        if YES_OR_NO.fullmatch(name) and len(cells) == 2:
            raise MnistryError(
                f"{table.name}: column {name!r} says which images are of a split; expected a column split with train, "
                "validation or test"
            )
        if len(cells) > 1 and len(set(map(split_of, cells))) > 1 and all(map(split_of, cells)):
            return [i]
    return []


def _names_columns(head: Sequence[str], body: Sequence[list[str]], files: int, names: Names) -> bool:
    """Whether a first row of unknown words is a header, and not an image whose file is missing.

    files: the column in which the other rows name files.
    """
    like_others = any(row[i].lower() == cell for row in body for i, cell in enumerate(head) if cell)
    return not (like_others or names.exists(head[files]) or head[files].endswith(SUFFIXES))


def _headless(table: Table, split: str, first: int) -> Columns:
    """File, label and, where there are three columns, the split. first: the column of the files."""
    width = len(table.rows[0][1])
    count = width - first
    if count == 3 and not split and any(split_of(row[-1]) for _, row in table.rows if len(row) == width):
        return Columns(first, first + 1, first + 2, width, header=False)
    if count == 2 or (count == 3 and split):
        return Columns(first, first + 1, None, width, header=False)
    raise MnistryError(_unknown(table, "path", "holds the files' names"))


def _unknown(table: Table, column: str, what: str) -> str:
    head = ", ".join(repr(cell) for cell in table.rows[0][1][:10])
    return (
        f"{table.name}: the columns are {head}; none is called {', '.join(COLUMNS[column])}: rename the one that {what}"
        + (", or name it in source.yaml, label_column" if column == "label" else "")
    )


def _share(names: Names, cells: Sequence[str]) -> float:
    """The part of the cells that name an existing file; none where they repeat, as labels do and files' names don't."""
    return sum(map(names.exists, cells)) / len(cells) if len(set(cells)) > 0.9 * len(cells) else 0.0


def _is_index(name: str, body: Sequence[list[str]], column: int) -> bool:
    """Whether the column only counts the rows, as spreadsheets and data frames add one."""
    if name in INDEX_COLUMNS:
        return True
    cells = [row[column] for row in body]
    return len(cells) > 2 and any(cells == [str(start + i) for i in range(len(cells))] for start in (0, 1))
