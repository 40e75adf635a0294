"""The pictures of a dataset: which files, in which order, with which labels, in which split."""

import csv
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.splits import stratified_split

IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True)
class Picture:
    """A file of a dataset.

    split: train, test, or empty where it is still to be drawn. path: from the dataset's folder, with slashes.
    """

    split: str
    label: str
    path: str


def is_ignored(name: str) -> bool:
    """Whether a file or folder is the system's own and no part of a dataset."""
    return name.startswith(".") or name.lower() in IGNORED


def natural_key(text: str) -> list[Any]:
    """A key that sorts numbers within names by their value: 2.png before 10.png."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"([0-9]+)", text) if part]


def sorted_classes(labels: set[str]) -> tuple[str, ...]:
    """The labels in the classes' order: by value where all are whole numbers, else as strings."""
    numbers = all(re.fullmatch(r"[0-9]+", label) for label in labels)
    return tuple(sorted(labels, key=(lambda label: (int(label), label)) if numbers else (lambda label: (0, label))))


def draw_split(pictures: Sequence[Picture], class_names: Sequence[str], fraction: float, seed: int) -> list[Picture]:
    """The pictures with their split, of which `fraction` of each class is the test's, drawn from the seed."""
    labels = np.array([class_names.index(picture.label) for picture in pictures])
    _, held_out = stratified_split(labels, fraction, np.random.default_rng(seed))
    test = set(held_out.tolist())
    return [
        Picture("test" if i in test else "train", picture.label, picture.path) for i, picture in enumerate(pictures)
    ]


def class_problems(pictures: Sequence[Picture], class_names: Sequence[str]) -> list[str]:
    """What is wrong with the classes as a whole: too few, too small to split, in one split alone."""
    problems = []
    if len(class_names) < 2:
        problems.append(f"{len(class_names)} class ({', '.join(class_names)}); expected two or more")
    by_split = {split: dict.fromkeys(class_names, 0) for split in sorted({picture.split for picture in pictures})}
    for picture in pictures:
        if picture.label in by_split[picture.split]:
            by_split[picture.split][picture.label] += 1
    for name in class_names:
        if "" in by_split and by_split[""][name] < 2:
            count = by_split[""][name]
            problems.append(
                f"class {name!r} has {count} image{'' if count == 1 else 's'}: too few to split; expected 2"
            )
        if "" not in by_split and by_split.get("train", {}).get(name, 0) == 0:
            problems.append(f"class {name!r} has no training images")
    if "" not in by_split and not by_split.get("test"):
        problems.append("no test images; mark some, or leave the split column out to have them drawn")
    return problems


def save_listing(path: Path, pictures: Sequence[Picture]) -> None:
    """Write the listing as a CSV with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("split", "label", "path"))
        writer.writerows(astuple(picture) for picture in pictures)


def load_listing(path: Path) -> list[Picture]:
    """Read what `save_listing` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return [Picture(*row) for row in rows]
