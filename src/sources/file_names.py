"""Finding the files that a table means by its names: in a folder, without their extension, behind a prefix."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from src.sources.listing import Ignored, image_files, is_ignored
from src.sources.paths import is_name_outside
from src.sources.split_names import split_of


class Names:
    """The files of a dataset, by what a table may call them.

    folder: the dataset's. base: the folder that the table is in. split: the table's, if it says one. ignored: what is
    no part of the dataset.
    """

    def __init__(self, folder: Path, base: Path, split: str | None = None, ignored: Ignored = is_ignored):
        self.folder, self.base, self.split, self.ignored = folder, base, split, ignored
        self.note = ""
        """How the names are read, where they are not the files' paths."""
        self._by_name: dict[str, list[str]] | None = None
        self._indirect = False
        self._folders: set[str] = set()

    def learn(self, names: Sequence[str]) -> None:
        """Decide how all of the names are read: as paths where any of them is one, else by the files' own names.

        That takes half of the names to be found: others are then files that are missing.
        """
        if any(self._direct(name) for name in names):
            return
        folders = {tuple(_parts(name)[:-1]) for name in names}
        self._folders = {folder for each in folders for folder in each} if len(folders) > 1 else set()
        found = [(name, path) for name in names if (path := self._candidate(name))]
        if not found or 2 * len(found) < len(names):
            return
        self._indirect = True
        name, path = found[0]
        self.note = f"{len(found)} of {len(names)} names are found by the files' own names: {name} is {path}"

    def find(self, name: str) -> str | None:
        """The file's path from the dataset's folder, or None."""
        return self._candidate(name) if self._indirect else self._direct(name)

    def exists(self, name: str) -> bool:
        """Whether the name is that of a file, read in any way."""
        return bool(name) and (self._direct(name) is not None or self._candidate(name) is not None)

    def hint(self, name: str) -> str:
        """What may help where the file isn't found."""
        found = self._candidates(name)
        if len(found) == 1:
            return f"; did you mean {found[0]}?"
        if found:
            return f"; it may be {' or '.join(sorted(found)[:2])}: write the folder, too"
        return "; expected slashes in paths" if "\\" in name else ""

    def _direct(self, name: str) -> str | None:
        """The path under which the file exists: in the file system, its letters may be composed or decomposed."""
        if is_name_outside(name):
            return None
        for form in dict.fromkeys((name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))):
            try:
                if (self.base / form).is_file():
                    return (self.base / form).relative_to(self.folder).as_posix()
            except (OSError, ValueError):
                # A name that is too long or holds a zero byte, or a folder without the permission to look into it.
                continue
        return None

    def _candidate(self, name: str) -> str | None:
        """The only file that may be meant by its own name, in whatever folder."""
        found = self._candidates(name)
        return found[0] if len(found) == 1 else None

    def _candidates(self, name: str) -> list[str]:
        """The files that have this name, with or without their extension; in the table's split, or in no other."""
        if self._by_name is None:
            self._by_name = {}
            for path in image_files(self.base, self.ignored):
                place = path.relative_to(self.folder).as_posix()
                for key in {_key(path.name), _key(path.stem)}:
                    self._by_name.setdefault(key, []).append(place)
        *folders, last = _parts(name) or [""]
        found = self._by_name.get(last, [])
        if folders and (self._folders or len(found) > 1):
            # What repeats in several folders is known by them, whatever is before those. A sole file is not meant where
            # the table has other names for its folder.
            elsewhere = [] if len(found) > 1 else [path for path in found if not self._folders & {*_parts(path)[:-1]}]
            found = _with_most_folders(found, folders) or elsewhere
        if self.split is None:
            return found
        splits = {path: set(map(split_of, path.split("/")[:-1])) - {None} for path in found}
        return [path for path in found if self.split in splits[path]] or [path for path in found if not splits[path]]


def _with_most_folders(paths: Sequence[str], folders: Sequence[str]) -> list[str]:
    """Those of the paths whose folders agree with most of the given ones, from the last on; with one at least.

    folders: as `_parts` gives them.
    """
    agreeing: dict[int, list[str]] = {}
    for path in paths:
        pairs = zip(reversed(_parts(path)[:-1]), reversed(folders), strict=False)
        agreeing.setdefault(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)), []).append(path)
    most = max(agreeing, default=0)
    return agreeing[most] if most else []


def _parts(name: str) -> list[str]:
    """The folders in the name and the file's own, each as `_key` gives it, whatever slashes are between them."""
    return [_key(part) for part in re.split(r"[\\/]+", name) if part not in ("", ".", "..")]


def _key(name: str) -> str:
    """The same however letters are composed, and in capitals or not, as on the systems where most tables are made."""
    return unicodedata.normalize("NFC", name).casefold()
