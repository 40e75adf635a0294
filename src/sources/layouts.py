"""Which of the layouts a folder of images has, and the images in it."""

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from src.errors import is_text
from src.sources.annotations import list_annotations
from src.sources.base import SPLITS
from src.sources.findings import Findings, flow_list, more_than
from src.sources.listing import Ignored, ImageFile, ignored_in, image_files, is_table
from src.sources.paths import is_link_outside, is_name_outside
from src.sources.split_names import is_unlabelled, split_of
from src.sources.trees import list_tree

NOT_TABLES = re.compile("_?classes|class_?(names|list|dict|map)|.*submission.*", re.IGNORECASE)
"""Names of CSV files that list classes or answers, and no images."""


@dataclass(frozen=True)
class Reading:
    """What the user says about how a folder is to be read: as for `list_tree` and `list_annotations`.

    table: the one that lists the images, relative to the folder; empty where it is to be found. exclude: as for
    `ignored_in`. class_names: those that the user lists.
    """

    root: str = "."
    levels: tuple[int, ...] = ()
    encoding: str = ""
    table: str = ""
    label_column: str = ""
    exclude: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()


def list_images(folder: Path, findings: Findings, reading: Reading = Reading()) -> list[ImageFile]:
    """The image files of the folder, in its own order: that of a table's rows or of the files' names."""
    ignored = ignored_in(folder, reading.exclude)
    stated = reading.table
    tables = _stated_table(folder, stated, findings) if stated else find_tables(folder, findings, ignored)
    if tables:
        files = list_annotations(
            folder, tables, reading.encoding, findings, reading.label_column, ignored, {*reading.class_names}
        )
        # Where rows are wrong, their images are unlisted because of that.
        if not findings.problems:
            _check_unlisted(folder, files, " and ".join(sorted(path.name for _, path in tables)), findings, ignored)
    elif not findings.problems:
        files = list_tree(folder, findings, reading.root, reading.levels, ignored)
    else:
        files = []
    if findings.problems and not stated:
        _suggest_folders(folder, findings, reading, ignored)
    inside = _readable(folder, files, findings)
    if not inside and not findings.problems:
        findings.problem("no images; expected one folder per class, or a CSV of file names and labels")
    # The same letters may be stored composed or decomposed, depending on the system that made the files.
    return [replace(file, label=unicodedata.normalize("NFC", file.label)) for file in inside]


def _suggest_folders(folder: Path, findings: Findings, reading: Reading, ignored: Ignored) -> None:
    """A line about how to leave the tables out where folders alone would say it all."""
    tables = [path.name for path in sorted(folder.iterdir()) if is_table(path) and not ignored(path)]
    alone = Findings()
    files = list_tree(folder, alone, reading.root, reading.levels, ignored)
    classes = sorted({file.label for file in files})
    if tables and len(classes) > 1 and not alone.problems:
        findings.problem(
            f"without {', '.join(tables[:3])}, the folders are {len(classes)} classes, {', '.join(classes[:3])}"
            f"{more_than(classes, 3)}: if they are meant, say exclude: {flow_list(tables)} in source.yaml"
        )


def _stated_table(folder: Path, name: str, findings: Findings) -> list[tuple[str, Path]]:
    """The table that the user names; a problem where there is no such file."""
    if is_name_outside(name) or not (folder / name).is_file():
        findings.problem(f"table: {name!r} in source.yaml is not a file of the dataset")
        return []
    return [("", folder / name)]


def find_tables(folder: Path, findings: Findings, ignored: Ignored) -> list[tuple[str, Path]]:
    """The tables that list the images: one, or one per split, each with its split; none where folders say it all."""
    tables = [path for path in sorted(folder.iterdir()) if is_table(path) and not ignored(path)]
    others = [path for path in tables if NOT_TABLES.fullmatch(path.stem)]
    tables = [path for path in tables if path not in others] or sorted(folder.glob("metadata.jsonl"))
    if others:
        findings.note(f"{', '.join(path.name for path in others)}: no list of images by its name; passed over")
    if not tables:
        return _tables_inside(folder, ignored)
    if len(tables) == 1:
        return [("", tables[0])]
    splits = {path: split_of(path.stem) for path in tables}
    if None in splits.values() or len(set(splits.values())) < len(tables):
        found = ", ".join(path.name for path in tables)
        findings.problem(
            f"two layouts at once: {found}; expected one CSV, or one per split, such as train.csv, test.csv"
        )
        return []
    return sorted(((split or "", path) for path, split in splits.items()), key=lambda each: SPLITS.index(each[0]))


def _tables_inside(folder: Path, ignored: Ignored) -> list[tuple[str, Path]]:
    """metadata.csv or metadata.jsonl in the splits' folders."""
    found = []
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not ignored(path)):
        for name in ("metadata.csv", "metadata.jsonl"):
            if (inner / name).is_file() and (split := split_of(inner.name)):
                found.append((split, inner / name))
    return sorted(found, key=lambda each: SPLITS.index(each[0]))


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
        elif not is_text(file.path):
            findings.problem(f"{os.fsencode(file.path)!r}: a name that isn't UTF-8; rename it")
        else:
            readable.append(file)
    return readable


def _check_unlisted(folder: Path, files: Sequence[ImageFile], csvs: str, findings: Findings, ignored: Ignored) -> None:
    """A folder of which the tables list no image is a problem, unless it is the test's; other images are a warning."""
    listed = {file.path for file in files}
    used = {path.partition("/")[0] for path in listed}
    found = (path.relative_to(folder).as_posix() for path in image_files(folder, ignored))
    unlisted = sorted(path for path in found if path not in listed)
    other = sorted({path.partition("/")[0] for path in unlisted if "/" in path} - used)
    unlabelled = [name for name in other if is_unlabelled(name) or split_of(name) in ("validation", "test")]
    for name in unlabelled:
        findings.note(f"{name}/: images that no row of {csvs} lists; passed over")
    if len(unlabelled) < len(other):
        name = next(name for name in other if name not in unlabelled)
        findings.problem(f"two layouts at once: {csvs}, and images in {name}/ that no row lists")
    elif unlisted and not other:
        findings.warn(f"{csvs}: images without a row are left out: {len(unlisted)}, such as {unlisted[0]}")
