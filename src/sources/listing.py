"""The pictures of a dataset: which files, in which order, with which labels, in which split."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from src.splits import stratified_split

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A file of a dataset.

    split: train, test, or empty where it is still to be drawn. path: from the dataset's folder, with slashes.
    """

    split: str
    label: str
    path: str


def is_ignored(path: Path) -> bool:
    """Whether a file or folder is the system's or DVC's own and no part of a dataset."""
    name = path.name
    return name.startswith(".") or name.lower() in IGNORED or (name.endswith(".dvc") and not path.is_dir())


def picture_files(folder: Path) -> Iterator[Path]:
    """The files below the folder that are pictures by their names."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_ignored(Path(parent, name))]
        for path in (Path(parent, name) for name in files if name.lower().endswith(SUFFIXES)):
            if not is_ignored(path):
                yield path


def natural_key(text: str) -> str:
    """A key that sorts numbers within names by their value: 2.png before 10.png.

    One string, for a list of parts would take several times the memory of the names.
    """

    def sortable(number: re.Match[str]) -> str:
        digits = number[0].lstrip("0")
        return f"\0{len(digits):03}{digits}"

    return re.sub("[0-9]+", sortable, text)


def sorted_classes(labels: set[str]) -> tuple[str, ...]:
    """The labels in the classes' order: by value where all are numbers, else as strings."""
    numbers = all(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", label) for label in labels)
    return tuple(sorted(labels, key=lambda label: (float(label) if numbers else 0.0, label)))


def name_labels(pictures: Sequence[Picture], class_names: Sequence[str]) -> list[Picture]:
    """The pictures with class names for labels, where the labels are numbers that count the names from 0."""
    names = {str(i): name for i, name in enumerate(class_names)}
    labels = {picture.label for picture in pictures}
    if labels & set(class_names) or not all(re.fullmatch("[0-9]+", label) for label in labels):
        return list(pictures)
    return [replace(picture, label=names.get(picture.label, picture.label)) for picture in pictures]


def draw_split(pictures: Sequence[Picture], class_names: Sequence[str], fraction: float, seed: int) -> list[Picture]:
    """The pictures with their split, of which `fraction` of each class is the test's, drawn from the seed."""
    index = {name: i for i, name in enumerate(class_names)}
    labels = np.array([index[picture.label] for picture in pictures])
    _, held_out = stratified_split(labels, fraction, np.random.default_rng(seed), class_names)
    test = set(held_out.tolist())
    return [replace(picture, split="test" if i in test else "train") for i, picture in enumerate(pictures)]


def class_problems(pictures: Sequence[Picture], class_names: Sequence[str]) -> list[str]:
    """What is wrong with labels and classes: unknown, too few, too small to split, in one split alone."""
    if not pictures:
        return []
    known, expected = set(class_names), ", ".join(class_names[:10]) + (", ..." if len(class_names) > 10 else "")
    problems = [
        f"{picture.path}: label {picture.label!r} is no class; expected one of {expected}"
        for picture in pictures
        if picture.label not in known
    ]
    if len(class_names) < 2:
        problems.append(f"1 class ({class_names[0]}); expected two or more")
    counts = Counter((picture.split, picture.label) for picture in pictures)
    if not pictures[0].split:
        problems += [
            f"class {name!r} has {counts['', name]} image{'' if counts['', name] == 1 else 's'}: "
            "too few to split; expected 2 or more"
            for name in class_names
            if counts["", name] < 2
        ]
        return problems
    problems += [f"class {name!r} has no training images" for name in class_names if not counts["train", name]]
    if not any(counts["test", name] for name in class_names):
        problems.append("no test images; mark some, or leave the split column out to have them drawn")
    return problems
