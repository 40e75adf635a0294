"""Labels corrected by hand, and images left out: corrected_labels.csv next to a dataset's source."""

import shutil
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from src.errors import MnistryError, suggest
from src.sources.base import RawDataset, Split, SplitName
from src.sources.findings import Findings
from src.sources.listing import CORRECTIONS
from src.sources.paths import is_link_outside
from src.sources.tables import read_table

COLUMNS = ("file", "label")


@dataclass(frozen=True)
class Corrected:
    """A dataset with its corrections, and how many labels they changed and how many images they left out."""

    dataset: RawDataset
    labels: int
    removed: int


def copy_corrections(folder: Path, raw: Path) -> None:
    """Copy the folder's corrected_labels.csv, if it has one, to the folder `raw`; MnistryError where it leads out."""
    path = folder / CORRECTIONS
    if not path.is_symlink() and not path.exists():
        return
    if is_link_outside(path, folder) or not path.is_file():
        raise MnistryError(f"{path}: not a file of its folder; put the table itself there")
    shutil.copyfile(path, raw / CORRECTIONS)


def correct(dataset: RawDataset, raw: Path) -> Corrected:
    """The dataset with the labels that the folder's corrected_labels.csv has; without it, as it is.

    They are applied to splits that are already drawn, so the other images stay in theirs. Raises MnistryError with all
    that is wrong with the table.
    """
    path, findings = raw / CORRECTIONS, Findings()
    if not path.exists():
        return Corrected(dataset, 0, 0)
    wanted = read_corrections(path, findings)
    labels = {name: split.labels.copy() for name, split in dataset.splits.items()}
    kept = {name: np.ones(len(split.labels), dtype=bool) for name, split in dataset.splits.items()}
    numbers = {_composed(name): number for number, name in enumerate(dataset.class_names)}
    for file, (split, i) in find_images(dataset, wanted, findings).items():
        label = wanted[file]
        if not label:
            kept[split][i] = False
        elif label in numbers:
            labels[split][i] = numbers[label]
        else:
            findings.problem(f"{file}: label {label!r} is not a class; {suggest(label, list(dataset.class_names))}")
    for name, each in kept.items():
        if not each.any():
            findings.problem(f"no {name} image would be left")
    findings.refuse(CORRECTIONS)
    changed = sum(int((labels[name] != split.labels).sum()) for name, split in dataset.splits.items())
    removed = sum(int((~each).sum()) for each in kept.values())
    splits = {name: _split(split, labels[name], kept[name]) for name, split in dataset.splits.items()}
    return Corrected(replace(dataset, splits=splits), changed, removed)


def read_corrections(path: Path, findings: Findings) -> dict[str, str]:
    """For each file its label, empty where the image is to be left out; raises MnistryError where it is no such table.

    Other columns than `file` and `label` say nothing. Files with two labels are problems.
    """
    table = read_table(path)
    (_, head), *rows = table.rows
    columns = [cell.lower() for cell in head]
    if any(columns.count(name) != 1 for name in COLUMNS):
        raise MnistryError(f"{CORRECTIONS}: the columns are {', '.join(head)}; expected one file and one label")
    file, label = (columns.index(name) for name in COLUMNS)
    wanted: dict[str, str] = {}
    for line, cells in rows:
        # Empty cells at the end of all rows are not there.
        cells = [*cells, *[""] * (len(head) - len(cells))]
        if not cells[file]:
            findings.problem(f"{CORRECTIONS}:{line}: no file name")
        elif wanted.setdefault(_composed(cells[file]), _composed(cells[label])) != _composed(cells[label]):
            findings.problem(f"{CORRECTIONS}:{line}: {cells[file]} has another label in an earlier row")
    return wanted


def find_images(dataset: RawDataset, wanted: Iterable[str], findings: Findings) -> dict[str, tuple[SplitName, int]]:
    """Where the wanted files are, by split and index; those that aren't there, or in two splits, are problems."""
    missing, found = set(wanted), dict[str, tuple[SplitName, int]]()
    for name, split in dataset.splits.items():
        for i, file in enumerate(map(_composed, split.files)):
            if file in missing:
                missing.remove(file)
                found[file] = (name, i)
            elif file in found:
                findings.problem(f"{file}: two images are called so")
    for file in sorted(missing):
        findings.problem(f"{file}: no such image; files are called as in data/predictions.csv and data/validation.csv")
    return found


def _composed(text: str) -> str:
    """The same letters may be composed or decomposed, depending on the system that wrote them."""
    return unicodedata.normalize("NFC", text).strip()


def _split(split: Split, labels: np.ndarray, kept: np.ndarray) -> Split:
    files = [file for file, stays in zip(split.files, kept, strict=True) if stays]
    return Split(labels[kept], _kept_chunks(split.chunks, kept), files)


def _kept_chunks(chunks: Iterable[np.ndarray], kept: np.ndarray) -> Iterator[np.ndarray]:
    """The chunks without the images that are left out. kept: bool, one per image."""
    start = 0
    for chunk in chunks:
        part = kept[start : start + len(chunk)]
        yield chunk if part.all() else chunk[part]
        start += len(chunk)
