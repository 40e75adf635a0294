"""Listing folders of images by class."""

import sys
import unicodedata
from pathlib import Path

from src.sources.findings import Findings
from src.sources.listing import ImageFile, image_files, is_ignored, natural_key

SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}
"""Names of folders that hold folders of classes."""


def list_tree(folder: Path, findings: Findings) -> list[ImageFile]:
    """The images of `train/<class>/...` and `test/<class>/...`, or of `<class>/...`.

    They are sorted by their file names, numbers by value, then by their paths: files that are numbered through all
    classes keep that order.
    """
    splits = _split_folders(folder, findings)
    files = [file for split, root in splits.items() for file in _list_split(folder, split, root, findings)]
    return sorted(files, key=_order)


def _split_folders(folder: Path, findings: Findings) -> dict[str, Path]:
    """Each split's folder of classes; the one folder under an empty name where the images aren't split."""
    for entry in _entries(folder):
        if not entry.is_dir():
            findings.problem(
                f"{entry.name}: next to the folders; expected images in one folder per class, or a CSV, or one archive "
                "(.zip, .tar, .tar.gz or .tgz)"
            )
    folders = [entry for entry in _entries(folder) if entry.is_dir()]
    names = {entry.name for entry in folders}
    if {"train", "test"} <= names:
        if others := sorted(names - {"train", "test"}):
            findings.problem(f"two layouts at once: train/ and test/, and next to them {', '.join(others)}")
        return {name: folder / name for name in ("train", "test")}
    named = [entry for entry in folders if entry.name.lower() in SPLITS and any(e.is_dir() for e in _entries(entry))]
    for entry in named:
        findings.problem(
            f"{entry.name}/: named like a split; expected both train/ and test/, in small letters, or neither"
        )
    if named:
        return {}
    if len(folders) == 1 and any(entry.is_dir() for entry in _entries(folders[0])):
        findings.problem(f"{folders[0].name}/: the only folder; move what is in it up, next to source.yaml")
        return {}
    return {"": folder}


def _list_split(folder: Path, split: str, root: Path, findings: Findings) -> list[ImageFile]:
    """The images in the class folders of `root`."""
    for hidden in sorted(root.glob(".*/")):
        if next(image_files(hidden), None):
            findings.problem(
                f"{hidden.relative_to(folder)}/: a hidden folder with images; rename it without the dot, or remove it"
            )
    files: list[ImageFile] = []
    for class_folder in _entries(root):
        if class_folder.is_dir():
            found = _files(class_folder)
            if not found:
                findings.problem(f"{class_folder.relative_to(folder)}/: no images; add some or remove the folder")
            label = sys.intern(class_folder.name)
            files += [ImageFile(split, label, file.relative_to(folder).as_posix()) for file in found]
        elif split:
            findings.problem(f"{class_folder.relative_to(folder)}: outside of the class folders")
    return files


def _order(file: ImageFile) -> tuple[str, str]:
    """The same whether letters are composed or decomposed."""
    path = unicodedata.normalize("NFC", file.path)
    return natural_key(path.rpartition("/")[2]), path


def _entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not is_ignored(entry) and entry.name != "source.yaml")


def _files(folder: Path) -> list[Path]:
    files: list[Path] = []
    for entry in _entries(folder):
        files += _files(entry) if entry.is_dir() and not entry.is_symlink() else [entry]
    return files
