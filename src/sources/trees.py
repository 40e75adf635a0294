"""Listing folders of images by class."""

import sys
import unicodedata
from pathlib import Path

from src.sources.listing import Picture, is_ignored, natural_key, picture_files

SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}
"""Names of folders that hold folders of classes."""


def list_tree(folder: Path) -> tuple[list[Picture], list[str]]:
    """The pictures of `train/<class>/...` and `test/<class>/...`, or of `<class>/...`, and what is wrong.

    They are in the order of their file names, numbers by value, then of their paths: files that are numbered through
    all classes stand in that order.
    """
    folders = [entry for entry in _entries(folder) if entry.is_dir()]
    names = {entry.name for entry in folders}
    problems = [
        f"{entry.name}: beside the folders; expected pictures in a folder a class, or a CSV, or one archive "
        "(.zip, .tar, .tar.gz or .tgz)"
        for entry in _entries(folder)
        if not entry.is_dir()
    ]
    if {"train", "test"} <= names:
        others = sorted(names - {"train", "test"})
        if others:
            problems.append(f"two layouts at once: train/ and test/, and beside them {', '.join(others)}")
        splits = {name: folder / name for name in ("train", "test")}
    else:
        named = [
            entry for entry in folders if entry.name.lower() in SPLITS and any(e.is_dir() for e in _entries(entry))
        ]
        if named:
            return [], [
                f"{entry.name}/: named like a split; expected both train/ and test/, in small letters, or neither"
                for entry in named
            ]
        if len(folders) == 1 and any(entry.is_dir() for entry in _entries(folders[0])):
            return [], [*problems, f"{folders[0].name}/: the only folder; move what is in it up, beside source.yaml"]
        splits = {"": folder}
    pictures = []
    for split, root in splits.items():
        problems += [
            f"{hidden.relative_to(folder)}/: a hidden folder with pictures; rename it without the dot, or remove it"
            for hidden in sorted(root.glob(".*/"))
            if next(picture_files(hidden), None)
        ]
        for class_folder in (entry for entry in _entries(root) if entry.is_dir() or split):
            if not class_folder.is_dir():
                problems.append(f"{class_folder.relative_to(folder)}: outside of the class folders")
                continue
            found = _files(class_folder)
            if not found:
                problems.append(f"{class_folder.relative_to(folder)}/: no pictures; add some or remove the folder")
            label = sys.intern(class_folder.name)
            pictures += [Picture(split, label, file.relative_to(folder).as_posix()) for file in found]
    return sorted(pictures, key=_order), problems


def _order(picture: Picture) -> tuple[str, str]:
    """The same whether letters are composed or decomposed."""
    path = unicodedata.normalize("NFC", picture.path)
    return natural_key(path.rpartition("/")[2]), path


def _entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not is_ignored(entry) and entry.name != "source.yaml")


def _files(folder: Path) -> list[Path]:
    files: list[Path] = []
    for entry in _entries(folder):
        files += _files(entry) if entry.is_dir() and not entry.is_symlink() else [entry]
    return files
