"""The image files of a dataset: which ones, in which order, with which labels, in which split."""

import codecs
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from src.sources.findings import Findings
from src.splits import stratified_split

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
TABLE_SUFFIXES = (".csv", ".tsv")
CORRECTIONS = "corrected_labels.csv"
"""Not a table of the dataset's: what it says is applied to the images afterwards."""
IGNORED = {"thumbs.db", "desktop.ini", "__macosx", CORRECTIONS}
OTHER_SUFFIXES = {
    ".txt", ".md", ".rst", ".html", ".htm", ".pdf", ".doc", ".docx", ".rtf", ".json", ".jsonl", ".xml", ".yaml", ".yml",
    ".csv", ".tsv", ".xlsx", ".xls", ".ods", ".ipynb", ".py", ".sh", ".m", ".r", ".js", ".log", ".cfg", ".toml", ".ini",
    ".mat", ".pkl", ".h5", ".hdf5", ".pt", ".pth", ".onnx", ".ckpt", ".sqlite", ".db", ".bib", ".tex", ".cff", ".names",
}  # fmt: skip
OTHER_NAMES = {"readme", "license", "licence", "copying", "authors", "changelog", "citation", "makefile", "notice"}
"""Files that come with many datasets and are no images."""
NO_LABEL = {"nan", "<na>", "n/a", "#n/a", "null"}
"""What programs write into a table where there is nothing, in small letters."""
LONGEST_NAME = 1000
"""Characters of a class's name."""
MOST_FRACTIONS = 10
"""Classes whose names are numbers with fractions; more of them are taken for measurements."""
MAYBE_NO_LABEL = {"na", "none", "-", "?", "nan", "null"}
"""What is written where there is no label, in small letters, unless it is a class's name."""


Ignored = Callable[[Path], bool]
"""Whether a file or folder is no part of the dataset."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a dataset.

    split: train, validation, test, or empty where it is still to be drawn. path: relative to the dataset's folder, with
    slashes.
    """

    split: str
    label: str
    path: str


def is_ignored(path: Path) -> bool:
    """Whether a file or folder belongs to the system, to DVC or to mnistry, and not to the dataset."""
    name = path.name
    return name.startswith(".") or name.lower() in IGNORED or (name.endswith(".dvc") and not path.is_dir())


def ignored_in(folder: Path, exclude: Sequence[str]) -> Ignored:
    """`is_ignored`, and what the patterns match: names at any depth, or paths from the folder on; * is for anything."""

    def is_excluded(path: Path) -> bool:
        return is_ignored(path) or any(_matches(path, folder, pattern) for pattern in exclude)

    return is_excluded if exclude else is_ignored


def matching_nothing(folder: Path, exclude: Sequence[str]) -> list[str]:
    """The patterns that match no file and no folder below the folder."""
    left = list(exclude)
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in folders + files) if left else ():
            left = [pattern for pattern in left if not _matches(path, folder, pattern)]
    return left


def _matches(path: Path, folder: Path, pattern: str) -> bool:
    pattern = unicodedata.normalize("NFC", pattern).rstrip("/")
    names = [unicodedata.normalize("NFC", name) for name in (path.name, path.relative_to(folder).as_posix())]
    # A name with brackets, which a pattern would read, is itself.
    return any(name == pattern or fnmatchcase(name, pattern) for name in names)


def is_not_image(path: Path) -> bool:
    """Whether the file is no image: by its name, as a README is, or, where that says nothing, because it is text."""
    suffix = path.suffix.lower()
    if suffix in OTHER_SUFFIXES or path.name.lower() in OTHER_NAMES:
        return True
    return suffix not in SUFFIXES and suffix != ".svg" and path.is_file() and _is_text(path)


def _is_text(path: Path) -> bool:
    """Whether the file begins with text, other than the pixels of portable bitmaps."""
    try:
        with path.open("rb") as file:
            start = file.read(1024)
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except (OSError, UnicodeDecodeError):
        return False
    return bool(text) and "\0" not in text and not text.startswith(("P1", "P2", "P3"))


def is_table(path: Path) -> bool:
    """Whether it is a file of the dataset whose name is that of a table."""
    return path.suffix.lower() in TABLE_SUFFIXES and not is_ignored(path) and path.is_file()


def all_files(folder: Path, ignored: Ignored = is_ignored) -> Iterator[Path]:
    """The files below the folder."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not ignored(Path(parent, name))]
        for path in (Path(parent, name) for name in files):
            if not ignored(path):
                yield path


def image_files(folder: Path, ignored: Ignored = is_ignored) -> Iterator[Path]:
    """The files below the folder whose names are those of images."""
    return (path for path in all_files(folder, ignored) if path.name.lower().endswith(SUFFIXES))


def natural_key(text: str) -> str:
    """A key that sorts numbers within names by their value: 2.png before 10.png.

    It is one string, since a list of parts would take several times the memory of the names.
    """

    def sortable(number: re.Match[str]) -> str:
        digits = number[0].lstrip("0")
        return f"\0{len(digits):03}{digits}"

    return re.sub("[0-9]+", sortable, text)


def sorted_classes(labels: set[str]) -> tuple[str, ...]:
    """The labels in the order of the classes: by value where all are numbers, else as strings."""
    numbers = all(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", label) for label in labels)
    return tuple(sorted(labels, key=lambda label: (float(label) if numbers else 0.0, label)))


def name_labels(files: Sequence[ImageFile], class_names: Sequence[str]) -> list[ImageFile]:
    """The files with class names for labels, where all labels are numbers that count the names from 0."""
    names = {str(i): name for i, name in enumerate(class_names)}
    labels = {file.label for file in files}
    if labels & set(class_names) or not all(re.fullmatch("[0-9]+", label) for label in labels):
        return list(files)
    return [replace(file, label=names.get(file.label, file.label)) for file in files]


def complete_splits(
    files: Sequence[ImageFile], class_names: Sequence[str], fraction: float, seed: int
) -> list[ImageFile]:
    """The files, each in a split; where none is for the test, `fraction` of each class is, drawn from the seed.

    Validation images stay what they are.
    """
    if has_test(files):
        return [file if file.split else replace(file, split="train") for file in files]
    drawable = [i for i, file in enumerate(files) if file.split != "validation"]
    index = {name: i for i, name in enumerate(class_names)}
    labels = np.array([index[files[i].label] for i in drawable])
    _, held_out = stratified_split(labels, fraction, np.random.default_rng(seed), class_names)
    test, train = {drawable[i] for i in held_out}, set(drawable)
    return [
        replace(file, split="test") if i in test else replace(file, split="train") if i in train else file
        for i, file in enumerate(files)
    ]


def has_test(files: Sequence[ImageFile]) -> bool:
    """Whether any of the files is for the test; otherwise, a test split is to be drawn."""
    return any(file.split == "test" for file in files)


def check_classes(
    files: Sequence[ImageFile], class_names: Sequence[str], findings: Findings, stated: bool = False
) -> None:
    """Add what is wrong with labels and classes: unknown, alike, too few, too small to split, without training images.

    stated: whether the user has listed the classes, so that those that look alike are meant.
    """
    if not files:
        return
    known, expected = set(class_names), _first_ten(class_names)
    for label in class_names:
        if len(label) > LONGEST_NAME:
            findings.problem(f"label {label!r} has {len(label):,} characters; expected the name of a class")
    for label, path in {file.label: file.path for file in reversed(files) if file.label not in known}.items():
        findings.problem(f"{path}: label {label!r} is not a class; expected one of {expected}")
    for name in () if stated else class_names:
        if name.lower() in MAYBE_NO_LABEL:
            findings.warn(
                f"class {name!r} may mean that there is no label; if so, fill the labels in or remove the rows"
            )
    for names in () if stated else _alike(class_names):
        findings.problem(
            f"classes {' and '.join(map(repr, names))} differ in case, zeros, spaces or invisible characters alone; "
            "use one spelling, or list both under class_names in source.yaml"
        )
    fractions = [name for name in class_names if re.fullmatch(r"-?[0-9]*\.[0-9]*[1-9][0-9]*", name)]
    if len(fractions) > MOST_FRACTIONS and not stated:
        findings.problem(
            f"labels are numbers with fractions, such as {fractions[0]}: measurements, not classes; expected one of a "
            "few classes per image, or all of them under class_names in source.yaml"
        )
    if len(class_names) < 2:
        findings.problem(f"1 class ({class_names[0]}); expected two or more")
    # What isn't marked for validation or the test is to train on.
    counts = Counter((file.split if file.split in ("validation", "test") else "train", file.label) for file in files)
    # One more where a test image is still to be drawn from them.
    fewest = 2 if has_test(files) else 3
    few = [name for name in class_names if fewest > counts["train", name] >= fewest - 1]
    if few and not any(file.split == "validation" for file in files):
        listed = _first_ten([repr(name) for name in few])
        findings.warn(
            f"classes with 1 image to train on: {len(few)}, {listed}; train can't hold one out for validation: add "
            "images, or set train.validation_fraction to 0"
        )
    if has_test(files):
        _check_splits(counts, class_names, findings)
        return
    if any(file.split for file in files):
        findings.warn("no test split: a part of each class of the training images is held out for the test")
    for name in class_names:
        if (count := counts["train", name]) < 2:
            findings.problem(
                f"class {name!r} has {count} image{'' if count == 1 else 's'}: too few to split; expected 2 or more"
            )


def _alike(class_names: Sequence[str]) -> list[list[str]]:
    """Classes whose names differ in what is hard to see, together."""
    groups: dict[str, list[str]] = {}
    for name in class_names:
        groups.setdefault(spelling(name), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def spelling(label: str) -> str:
    """The label without what is hard to see: case, leading zeros, spaces and invisible characters.

    A single letter keeps its case: a and A are two characters.
    """
    visible = "".join(char for char in unicodedata.normalize("NFKC", label) if unicodedata.category(char) != "Cf")
    plain = " ".join(visible.replace("_", " ").split())
    plain = plain if len(plain) == 1 else plain.casefold()
    number = re.fullmatch(r"0*([0-9]+?)(\.0+)?", plain)
    return number[1] if number else plain


def _check_splits(counts: Counter[tuple[str, str]], class_names: Sequence[str], findings: Findings) -> None:
    for name in class_names:
        if not counts["train", name]:
            findings.problem(f"class {name!r} has no training images")
    missing = [name for name in class_names if not counts["test", name]]
    if missing:
        listed = _first_ten([repr(name) for name in missing])
        findings.warn(f"classes without test images: {len(missing)}, {listed}; macro F1 counts them as 0")


def _first_ten(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
