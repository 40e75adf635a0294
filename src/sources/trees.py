"""Listing folders of images by class: which level of the folders is the class, and which folders are splits."""

import os
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from src.sources.archives import SUFFIXES
from src.sources.descriptions import NAMES
from src.sources.findings import Findings, more_than
from src.sources.listing import (
    Ignored,
    ImageFile,
    all_files,
    image_files,
    is_ignored,
    is_not_image,
    is_table,
    natural_key,
)
from src.sources.split_names import is_unlabelled, says_no_class, split_of

NUMBERS = {2: "two", 3: "three"}


def list_tree(
    folder: Path, findings: Findings, root: str = ".", levels: Sequence[int] = (), ignored: Ignored = is_ignored
) -> list[ImageFile]:
    """The images of `train/<class>/` and `test/<class>/`, or of `<class>/`, with whatever names splits may have.

    root: the folder inside that holds them, where the user says so. levels: the levels of folders below it, or below a
    split's folder, whose names together are the class, from 1; none where the user doesn't say, and then what isn't
    certain is a problem. ignored: what is no part of the dataset. They are sorted by their file names, numbers by
    value, then by their paths: files that are numbered through all classes keep that order.
    """
    start = folder / root
    if not start.is_dir():
        findings.problem(f"root: {root!r} in source.yaml is not a folder of the dataset")
        return []
    tree = _Tree(folder, levels, findings, ignored)
    files = [file for split, top in tree.splits(tree.descend(start)).items() for file in tree.images(split, top)]
    if tree.other_files:
        _note_other_files(tree.other_files, findings)
    return sorted(files, key=_order)


class _Tree:
    """A dataset's folders, as they are read."""

    def __init__(self, folder: Path, levels: Sequence[int], findings: Findings, ignored: Ignored):
        self.folder, self.levels, self.findings, self.ignored = folder, levels, findings, ignored
        self.other_files: list[str] = []
        self.scanned: dict[Path, tuple[list[Path], list[Path]]] = {}

    def name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def descend(self, folder: Path, split: str = "") -> Path:
        """The folder, or the only one in it, and so on: archives are often packed with a folder around, or doubled."""
        folders = self.folders(folder)
        if len(folders) != 1 or self.direct_images(folder) or not self.folders(folders[0]):
            return folder
        if not split and split_of(folders[0].name):
            return folder
        self.findings.note(f"{self.name(folders[0])}/ is the only folder there; what is in it is read")
        return self.descend(folders[0], split)

    def splits(self, top: Path) -> dict[str, Path]:
        """Each split's folder of classes; the one folder under an empty name where the images aren't split."""
        folders = self.folders(top)
        # A split's folder holds folders: a folder of images called train may be one of vehicles.
        named = {folder: split_of(folder.name) for folder in folders if self.folders(folder)}
        found = {folder: split for folder, split in named.items() if split}
        others = [folder for folder in folders if folder not in found]
        stray = [folder for folder in others if not self._has_no_classes(folder)]
        if not found or set(found.values()) == {"validation"} or (self.levels and stray):
            return {"": top}
        splits: dict[str, Path] = {}
        for folder, split in found.items():
            if split in splits:
                both = f"{self.name(splits[split])}/ and {self.name(folder)}/"
                self.findings.problem(f"{both}: both are named like a {split} split; keep one, or merge them")
            splits[split] = self.descend(folder, split)
        if "train" not in splits:
            listed = ", ".join(f"{self.name(folder)}/" for folder in found)
            self.findings.problem(f"{listed}: named like a split, and no folder is named like train; add train/")
        listed = ", ".join(f"{self.name(split)}/" for split in found)
        for folder in others:
            if folder not in stray:
                self.findings.note(f"{self.name(folder)}/: images without folders of classes; passed over")
                continue
            advice = "move it away or into them"
            if len(found) == 1:
                only = next(iter(found))
                advice = f"in source.yaml, root: {self.name(only)} takes {_listed(self.folders(only))}"
            self.findings.problem(
                f"two layouts at once: {listed}, and next to them {self.name(folder)}/; {advice}, or say "
                "class_level: 1 in source.yaml if all of them are classes"
            )
        self._refuse_images(top, "next to the splits' folders")
        self._refuse_hidden(top)
        return self._with_classes(splits)

    def _refuse_hidden(self, top: Path) -> None:
        """A problem per hidden folder with images: a class, or a split."""
        for hidden in sorted(top.glob(".*/")):
            if next(image_files(hidden), None):
                self.findings.problem(
                    f"{self.name(hidden)}/: a hidden folder with images; rename it without the dot, or remove it"
                )

    def _has_no_classes(self, folder: Path) -> bool:
        """Whether the folder, next to those of splits, holds images that nobody has put into classes."""
        return is_unlabelled(folder.name) or (split_of(folder.name) is not None and not self.folders(folder))

    def _with_classes(self, splits: dict[str, Path]) -> dict[str, Path]:
        """The splits without those whose only folder says that its images have no classes, such as test/unknown/."""
        classes = {folder.name for folder in self.folders(splits["train"])} if "train" in splits else set()
        kept = {}
        for split, top in splits.items():
            names = {folder.name for folder in self.folders(top)}
            if split != "train" and classes and not names & classes and all(map(says_no_class, names)):
                self.findings.note(f"{self.name(top)}/: images without folders of classes; passed over")
            else:
                kept[split] = top
        return kept

    def images(self, split: str, top: Path) -> list[ImageFile]:
        """The images in the class folders of `top`."""
        self._refuse_hidden(top)
        self._refuse_images(top, "outside of the class folders" if split else "next to the folders")
        classes = self.folders(top)
        if not split and not self.levels and (inner := self._inner_splits(classes)):
            self.findings.note(f"split by folders inside of the classes: {', '.join(sorted(inner))}")
            return [
                ImageFile(split_of(part.name) or "", sys.intern(folder.name), self.name(file))
                for folder in classes for part in self.folders(folder) for file in self.all_files(part)
            ]  # fmt: skip
        if not self.levels and not self._level_is_certain(classes):
            return []
        files: list[ImageFile] = []
        for label, folder in self._class_folders(top, self.levels or (1,)):
            found = self.all_files(folder)
            if not found:
                self.findings.problem(f"{self.name(folder)}/: no images; add some or remove the folder")
            files += [ImageFile(split, sys.intern(label), self.name(file)) for file in found]
        return files

    def _class_folders(self, top: Path, levels: Sequence[int]) -> list[tuple[str, Path]]:
        """Each folder on the deepest of the levels, with the class that the folders on all of them name."""
        folders = self.folders(top)
        for _ in range(max(levels) - 1):
            for folder in folders:
                self._refuse_images(folder, "above the level of the classes")
            folders = [inner for folder in folders for inner in self.folders(folder)]
        start = len(top.parts) - 1
        return [("/".join(folder.parts[start + level] for level in levels), folder) for folder in folders]

    def _inner_splits(self, classes: Sequence[Path]) -> set[str]:
        """The names of the folders in all classes, where all of them are splits, and images are nowhere else."""
        names = {folder.name for top in classes for folder in self.folders(top)}
        nested = all(self.folders(top) and not self.direct_images(top) for top in classes)
        certain = nested and all(map(split_of, names)) and "train" in set(map(split_of, names))
        return names if certain else set()

    def _level_is_certain(self, classes: Sequence[Path]) -> bool:
        """Whether the folders can be read in one way only; otherwise, a problem says in which ways."""
        deep = [
            top for top in classes if any(next(image_files(inner, self.ignored), None) for inner in self.folders(top))
        ]
        flat = [top for top in classes if self.direct_images(top)]
        both = [top for top in deep if top in flat]
        if not deep:
            return self._are_classes(classes)
        if both:
            inner = self.folders(both[0])[0]
            self.findings.problem(
                f"{self.name(both[0])}/ holds images and folders, such as {self.name(inner)}/: if they are all of "
                f"one class, say class_level: 1 in source.yaml, which takes {_listed(classes)}; else move {inner.name}/"
            )
            return False
        if flat:
            self.findings.problem(
                f"{self.name(deep[0])}/ holds folders, {self.name(flat[0])}/ holds images: which level are the classes?"
                f" In source.yaml, root: {self.name(deep[0])} takes {_listed(self.folders(deep[0]))}, "
                f"class_level: 1 takes {_listed(classes)}"
            )
            return False
        if any(split_of(inner.name) and self.folders(inner) for top in classes for inner in self.folders(top)):
            roots = "; ".join(f"root: {self.name(top)} takes {_listed(self.folders(top))}" for top in classes[:3])
            self.findings.problem(
                f"{_listed(classes)}: each holds folders, and some are named like splits: which is the dataset? "
                f"In source.yaml, {roots}"
            )
            return False
        leaves = [path for top in classes for path in self._leaves(top, (top.name,))]
        readings = _readings(leaves)
        if len(readings) > 1:
            depth = min(map(len, leaves))
            self.findings.problem(
                f"images are {NUMBERS.get(depth, depth)} folders deep: which level are the classes? In source.yaml, "
                + ", ".join(f"class_level: {level} takes {names}" for level, names in readings.items())
            )
            return False
        return self._are_classes(classes)

    def _are_classes(self, folders: Sequence[Path]) -> bool:
        """Whether any of the folders of images may be named after its class."""
        names = [folder.name for folder in folders]
        splits = {split_of(name) for name in names} - {None}
        # An odd folder next to train/ and test/ doesn't make classes of them.
        if len(splits) < 2 and (len(names) < 2 or not all(split_of(name) or says_no_class(name) for name in names)):
            return True
        table = next((self.name(path) for path in sorted(all_files(self.folder, self.ignored)) if is_table(path)), None)
        labels = (
            f"; if {table} has the labels, say table: {table} in source.yaml" if table else ", or a table of labels"
        )
        self.findings.problem(
            f"{_listed(folders)}: folders of images, none of them named like a class; expected a folder per class in "
            f"them{labels}; if they are the classes, say class_level: 1 in source.yaml"
        )
        return False

    def _leaves(self, folder: Path, names: tuple[str, ...]) -> list[tuple[str, ...]]:
        """The folders with images in or below the folder, each by its names from the class folder on."""
        own = [names] if self.direct_images(folder) else []
        inner = [each for each in self.folders(folder) if not each.is_symlink()]
        return own + [leaf for each in inner for leaf in self._leaves(each, (*names, each.name))]

    def _refuse_images(self, folder: Path, where: str) -> None:
        if direct := self.direct_images(folder):
            self.findings.problem(
                f"{self.name(direct[0])}{more_than(direct, 1)}: {where}; expected images in one folder per class, or a "
                f"CSV, or archives alone ({', '.join(SUFFIXES)})"
            )

    def folders(self, folder: Path) -> list[Path]:
        """The folders in the folder, sorted."""
        return self._scan(folder)[0]

    def direct_images(self, folder: Path) -> list[Path]:
        """The files in the folder itself, sorted, without those that are no images by their names."""
        return self._scan(folder)[1]

    def _scan(self, folder: Path) -> tuple[list[Path], list[Path]]:
        if folder not in self.scanned:
            folders: list[Path] = []
            files: list[Path] = []
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    path = folder / entry.name
                    if self.ignored(path):
                        continue
                    if _is_folder(entry):
                        if _is_other_folder(path, self.ignored):
                            self.other_files.append(f"{self.name(path)}/")
                        else:
                            folders.append(path)
                    elif is_not_image(path):
                        self.other_files.append(self.name(path))
                    else:
                        files.append(path)
            self.scanned[folder] = folders, files
        return self.scanned[folder]

    def all_files(self, folder: Path) -> list[Path]:
        """All image files of the folder and of those in it."""
        files = self.direct_images(folder)
        for inner in self.folders(folder):
            files += [inner] if inner.is_symlink() else self.all_files(inner)
        return files


def _is_other_folder(folder: Path, ignored: Ignored) -> bool:
    """Whether the folder holds files, none of which is an image, as docs/ and annotations/ do."""
    found = False
    for path in all_files(folder, ignored):
        if not is_not_image(path):
            return False
        found = True
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads in a circle.
        return False


def _readings(leaves: Sequence[tuple[str, ...]]) -> dict[str, str]:
    """The levels that may be the classes, as `class_level` says them, each with its classes.

    leaves: the folders with images, each by its names. A level that names one class alone, such as images/ in every
    folder, or that divides the images as the first level does, such as cats/cats/, is no further reading.
    """
    depth = min(map(len, leaves))
    labels = {str(level + 1): [leaf[level] for leaf in leaves] for level in range(depth)}
    paths = ["/".join(leaf[:depth]) for leaf in leaves]
    if all(len(set(names)) < len(set(paths)) for names in labels.values()):
        labels[str(list(range(1, depth + 1)))] = paths
    tops = labels["1"]
    return {
        level: _shown(set(names))
        for level, names in labels.items()
        if level == "1"
        or (len(set(names)) > 1 and not len(set(zip(tops, names, strict=True))) == len(set(tops)) == len(set(names)))
    }


def _listed(folders: Sequence[Path]) -> str:
    return _shown({folder.name for folder in folders})


def _shown(names: set[str]) -> str:
    first = sorted(names)
    return ", ".join(first[:3]) + (f", ... ({len(names)} classes)" if len(names) > 3 else "")


def _note_other_files(names: Sequence[str], findings: Findings) -> None:
    """One line about all files that are no images."""
    names = [name for name in names if Path(name).name.lower() not in NAMES]
    if names:
        findings.note(f"not images, passed over: {', '.join(names[:3])}{more_than(names, 3)}")


def _order(file: ImageFile) -> tuple[str, str]:
    """The same whether letters are composed or decomposed."""
    path = unicodedata.normalize("NFC", file.path)
    return natural_key(path.rpartition("/")[2]), path
