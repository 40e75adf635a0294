"""Lists of images next to folders of classes, such as train.txt and test.txt, which say how the source splits them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from src.errors import MnistryError
from src.sources.file_names import Names
from src.sources.findings import Findings, more_than
from src.sources.listing import Ignored, ImageFile, all_files, is_ignored, is_table
from src.sources.split_names import split_of
from src.sources.tables import read_table

LARGEST = 64 << 20
"""Bytes of a list."""
MOST = 100
"""Files named like splits; of more, each is about one image."""
NUMBERED = "train_test_split.txt"
"""As CUB-200-2011 has it."""
INSTEAD = "to use it, write a CSV of file, label and split"


def split_by_lists(
    folder: Path, files: Sequence[ImageFile], findings: Findings, ignored: Ignored = is_ignored
) -> list[ImageFile]:
    """The files in the splits that lists of them say, where that is certain; otherwise a note, and no splits.

    files: in no split yet. It is certain where there is one list per split, of images alone, and no image is in two of
    them or, where there is a list for train, in none. Images in no list are for train where no list is.
    """
    lists = _find_lists(folder, ignored)
    if not lists:
        return list(files)
    used: dict[str, str] = {}
    twice = len({split for split, _, _ in lists}) < len(lists)
    unknown = sum(path is None for _, _, paths in lists for path in paths)
    for split, _, paths in lists:
        for path in paths:
            twice = twice or (path is not None and path in used)
            used[path or ""] = split
    splits = {split for split, _, _ in lists}
    left = sum(file.path not in used for file in files)
    names = [name for _, name, _ in lists]
    reason = (
        "there are several for one split, or an image is in two: keep one per split, by exclude in source.yaml" if twice
        else f"{unknown} of their lines name no image" if unknown
        else f"they leave {left} images out" if left and "train" in splits
        else "no image is left to train on" if not left and "train" not in splits
        else ""
    )  # fmt: skip
    if reason:
        findings.note(f"{', '.join(names[:3])}{more_than(names, 3)}: lists of images whose split isn't used: {reason}; "
                      f"or {INSTEAD}")  # fmt: skip
        return list(files)
    findings.note(f"split by the lists of images in {', '.join(dict.fromkeys(names))}")
    return [replace(file, split=used.get(file.path, "train")) for file in files]


def _find_lists(folder: Path, ignored: Ignored) -> list[tuple[str, str, list[str | None]]]:
    """The split, the name and the images of each list, None for what is no image; in the order of their names."""
    found: list[tuple[str, str, list[str | None]]] = []
    paths = sorted(all_files(folder, ignored))
    names = Names(folder, folder, None, ignored)
    named = [path for path in paths if _is_named_like_a_list(path)]
    lists: list[tuple[str, Path, list[str]]] = [
        (split_of(path.stem) or "", path, _listed(path, names)) for path in named if len(named) <= MOST
    ]
    lists += [each for path in paths if path.name == NUMBERED for each in _numbered(path)]
    for split, path, listed in lists:
        if 2 * sum(map(names.exists, listed)) > len(listed):
            names.learn(listed)
            found.append((split, path.relative_to(folder).as_posix(), [*map(names.find, listed)]))
    return found


def _listed(path: Path, names: Names) -> list[str]:
    """What the file lists: its cells, or parts of its lines, of which the most are images, without a header."""
    listed = max(_readings(path), key=lambda cells: sum(map(names.exists, cells[1:200])), default=[])
    return listed[1:] if listed and is_table(path) and not names.exists(listed[0]) else listed


def _numbered(path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """The lists in a file that has 1 for each image to train on, else 0, by the numbers that images.txt gives them."""
    images, flags = (_pairs(each) for each in (path.with_name("images.txt"), path))
    if images.keys() == flags.keys() and set(flags.values()) == {"0", "1"}:
        for split, flag in (("train", "1"), ("test", "0")):
            yield split, path, [name for number, name in images.items() if flags[number] == flag]


def _pairs(path: Path) -> dict[str, str]:
    """The first word of each line and what follows it; nothing where the file can't be read so."""
    try:
        rows = [line.split(None, 1) for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        return {}
    return {row[0]: row[1].strip() for row in rows if len(row) == 2}


def _is_named_like_a_list(path: Path) -> bool:
    named = (path.suffix.lower() == ".txt" or is_table(path)) and split_of(path.stem) is not None
    return named and path.is_file() and path.stat().st_size <= LARGEST


def _readings(path: Path) -> Iterator[list[str]]:
    """What may be the file's list of images: a table's columns; of a text, its lines without what is after the name."""
    try:
        if is_table(path):
            rows = [cells for _, cells in read_table(path).rows]
            yield from map(list, zip(*rows, strict=False))
            return
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (MnistryError, OSError, UnicodeDecodeError):
        return
    yield lines
    for separator in (None, ","):
        yield [line.rsplit(separator, 1)[0].strip() for line in lines]
        yield [line.split(separator, 1)[0].strip() for line in lines]
