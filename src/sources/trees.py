"""Listing folders of images by class: which level of the folders is the class, and which folders are splits."""

import os
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from src.sources.archives import SUFFIXES
from src.sources.descriptions import NAMES
from src.sources.findings import Findings, more_than
from src.sources.listing import ImageFile, image_files, is_ignored, is_not_image, natural_key
from src.sources.split_names import is_unlabelled, split_of


def list_tree(folder: Path, findings: Findings, root: str = ".", class_level: int = 0) -> list[ImageFile]:
    """The images of `train/<class>/` and `test/<class>/`, or of `<class>/`, with whatever names splits may have.

    root: the folder inside that holds them, where the user says so. class_level: on which level below it, or below a
    split's folder, the classes are; 0 where the user doesn't say, and then what isn't certain is a problem. They are
    sorted by their file names, numbers by value, then by their paths: files that are numbered through all classes keep
    that order.
    """
    start = folder / root
    if not start.is_dir():
        findings.problem(f"root: {root!r} in source.yaml is not a folder of the dataset")
        return []
    tree = _Tree(folder, class_level, findings)
    files = [file for split, top in tree.splits(tree.descend(start)).items() for file in tree.images(split, top)]
    if tree.other_files:
        _note_other_files(tree.other_files, findings)
    return sorted(files, key=_order)


class _Tree:
    """A dataset's folders, as they are read."""

    def __init__(self, folder: Path, class_level: int, findings: Findings):
        self.folder, self.class_level, self.findings = folder, class_level, findings
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
        if not found or set(found.values()) == {"validation"}:
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
        self._pass_over([folder for folder in folders if folder not in found], list(found))
        self._refuse_images(top, "next to the splits' folders")
        return splits

    def _pass_over(self, others: Sequence[Path], splits: Sequence[Path]) -> None:
        """Folders next to those of splits: of images without classes, which can't be used, or a problem."""
        for folder in others:
            if is_unlabelled(folder.name) or (split_of(folder.name) and not self.folders(folder)):
                self.findings.note(f"{self.name(folder)}/: images without folders of classes; passed over")
            else:
                listed = ", ".join(f"{self.name(split)}/" for split in splits)
                self.findings.problem(
                    f"two layouts at once: {listed}, and next to them {self.name(folder)}/; move it away or into them"
                )

    def images(self, split: str, top: Path) -> list[ImageFile]:
        """The images in the class folders of `top`."""
        for hidden in sorted(top.glob(".*/")):
            if next(image_files(hidden), None):
                self.findings.problem(
                    f"{self.name(hidden)}/: a hidden folder with images; rename it without the dot, or remove it"
                )
        self._refuse_images(top, "outside of the class folders" if split else "next to the folders")
        classes = self.folders(top)
        if not split and not self.class_level and (inner := self._inner_splits(classes)):
            self.findings.note(f"split by folders inside of the classes: {', '.join(sorted(inner))}")
            return [
                ImageFile(split_of(part.name) or "", sys.intern(folder.name), self.name(file))
                for folder in classes for part in self.folders(folder) for file in self.all_files(part)
            ]  # fmt: skip
        if not self.class_level and not self._level_is_certain(classes):
            return []
        if self.class_level == 2:
            classes = [inner for folder in classes for inner in self.folders(folder)]
        files: list[ImageFile] = []
        for folder in classes:
            found = self.all_files(folder)
            if not found:
                self.findings.problem(f"{self.name(folder)}/: no images; add some or remove the folder")
            files += [ImageFile(split, sys.intern(folder.name), self.name(file)) for file in found]
        return files

    def _inner_splits(self, classes: Sequence[Path]) -> set[str]:
        """The names of the folders in all classes, where all of them are splits, and images are nowhere else."""
        names = {folder.name for top in classes for folder in self.folders(top)}
        nested = all(self.folders(top) and not self.direct_images(top) for top in classes)
        certain = nested and all(map(split_of, names)) and "train" in set(map(split_of, names))
        return names if certain else set()

    def _level_is_certain(self, classes: Sequence[Path]) -> bool:
        """Whether all images are right in the folders; otherwise, a problem says how the folders may be read."""
        deep = [top for top in classes if any(next(image_files(inner), None) for inner in self.folders(top))]
        if not deep:
            return True
        inner = [folder for top in deep for folder in self.folders(top)]
        flat = [top for top in classes if self.direct_images(top)]
        if flat:
            self.findings.problem(
                f"{self.name(deep[0])}/ holds folders, {self.name(flat[0])}/ holds images: which level are the classes?"
                f" In source.yaml, root: {self.name(deep[0])} takes {_listed(self.folders(deep[0]))}, "
                f"class_level: 1 takes {_listed(classes)}"
            )
        else:
            self.findings.problem(
                f"images are two folders deep: which level are the classes? In source.yaml, "
                f"class_level: 1 takes {_listed(classes)}, class_level: 2 takes {_listed(inner)}"
            )
        return False

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
                    if is_ignored(path):
                        continue
                    if _is_folder(entry):
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


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads in a circle.
        return False


def _listed(folders: Sequence[Path]) -> str:
    names = sorted({folder.name for folder in folders})
    return ", ".join(names[:3]) + (f", ... ({len(names)} classes)" if len(names) > 3 else "")


def _note_other_files(names: Sequence[str], findings: Findings) -> None:
    """One line about all files that are no images."""
    names = [name for name in names if Path(name).name not in NAMES]
    if names:
        findings.note(f"not images, passed over: {', '.join(names[:3])}{more_than(names, 3)}")


def _order(file: ImageFile) -> tuple[str, str]:
    """The same whether letters are composed or decomposed."""
    path = unicodedata.normalize("NFC", file.path)
    return natural_key(path.rpartition("/")[2]), path
