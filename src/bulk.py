"""Classifying more images than memory holds: a line of JSON per image, going on after an interruption."""

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from src.checkpoints import Classifier
from src.classification import best_classes, looks_inverted, looks_unfamiliar
from src.csv_files import significant
from src.datasets import DatasetInfo
from src.decoding import FORMATS, decode_padded
from src.errors import MnistryError
from src.inference import class_probabilities
from src.outputs import writing
from src.parallel import ordered_map

CHUNK = 200
"""Images that a process decodes at a time, and that are classified at once."""

Decoded = tuple[str, tuple[np.ndarray, bool] | str]
"""A file's name; its codes, uint8 of shape (C, H, W), and whether it looks inverted, or what is wrong with it."""


@dataclass
class Counts:
    """How many images the file has lines of, and of how many of them something is to be said.

    resumed: those that were there before.
    """

    images: int = 0
    resumed: int = 0
    failed: int = 0
    unfamiliar: int = 0
    inverted: int = 0

    def add(self, line: dict) -> None:
        """Count a line's image."""
        self.images += 1
        self.failed += "error" in line
        self.unfamiliar += line.get("unfamiliar", False)
        self.inverted += line.get("inverted", False)


def image_files(folder: Path) -> Iterator[Path]:
    """All image files in the folder and the folders in it, hidden ones left out, sorted; it holds a folder's names."""
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    with os.scandir(folder) as entries:
        kept = sorted(
            (entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if not entry.name.startswith(".")
        )
    for name, is_folder in kept:
        path = folder / name
        if is_folder:
            yield from image_files(path)
        elif path.suffix.lower() in suffixes and path.is_file():
            yield path


def in_part(name: str, part: int, parts: int) -> bool:
    """Whether the image is of that part, from 1 on: by its name alone, so the others' don't matter."""
    return zlib.crc32(os.fsencode(name)) % parts == part - 1


def classify_into(
    path: Path, classifier: Classifier, files: Iterable[Path], key: str, top: int, invert: bool = False
) -> Counts:
    """Write a line of JSON per image to `path`, which appears when all are written; its counts.

    files: in the same order each time; no more than a few hundred are held at once. key: of all else that the lines
    depend on; an unfinished file of the same key is gone on with. Raises MnistryError where that is not of the files,
    and where `path` is a folder.
    """
    if path.is_dir():
        raise MnistryError(f"{path}: a folder; expected a file to write, such as {path / 'predictions.jsonl'}")
    unfinished = path.with_name(f".{path.name}.{key}.partial")
    counts = Counts()
    with writing(path, unfinished):
        path.parent.mkdir(parents=True, exist_ok=True)
        cut_unfinished_line(unfinished)
        names = iter(map(str, files))
        skip_recorded(names, unfinished, counts)
        with unfinished.open("a", encoding="utf-8") as output:
            for chunk in decoded_chunks(names, classifier, invert):
                for line in classify(classifier, chunk, top):
                    counts.add(line)
                    output.write(json.dumps(line) + "\n")
                output.flush()
        unfinished.replace(path)
    return counts


def cut_unfinished_line(path: Path) -> None:
    """Leave an empty file where there is none, and none of a last line without its end."""
    with path.open("ab+") as file:
        end = size = file.tell()
        while end:
            start = max(end - 65536, 0)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)


def skip_recorded(names: Iterator[str], path: Path, counts: Counts) -> None:
    """Go past the names that the file has lines of, and count these; raises MnistryError where others come first."""
    with path.open("rb") as file:
        for number, content in enumerate(file, 1):
            line, name = _recorded(content, f"{path}: line {number}"), next(names, None)
            if line["file"] != name:
                raise MnistryError(
                    f"{path}: goes on after {line['file']}, but files were added or removed since; remove it to "
                    "start afresh"
                )
            counts.add(line)
    counts.resumed = counts.images


def _recorded(content: bytes, where: str) -> dict:
    try:
        line = json.loads(content)
    except ValueError:
        line = None
    if not isinstance(line, dict) or "file" not in line:
        # A computer that lost its power may leave anything.
        raise MnistryError(f"{where} is damaged; remove the file to start afresh")
    return line


def decoded_chunks(names: Iterator[str], classifier: Classifier, invert: bool) -> Iterator[list[Decoded]]:
    """The images in order, decoded on all cores."""
    chunks = iter(lambda: list(islice(names, CHUNK)), [])
    return ordered_map(partial(_decode, classifier.dataset, invert), chunks)


def _decode(dataset: DatasetInfo, invert: bool, names: list[str]) -> list[Decoded]:
    found: list[Decoded] = []
    for name in names:
        try:
            codes, unpadded = decode_padded(Path(name), dataset.shape, None, dataset.decoding, invert)
            found.append((name, (codes, looks_inverted(dataset, unpadded))))
        except MnistryError as error:
            found.append((name, str(error)))
    return found


def classify(classifier: Classifier, chunk: list[Decoded], top: int) -> Iterator[dict]:
    """What the line of each image says."""
    images = [found[0] for _, found in chunk if not isinstance(found, str)]
    codes = np.stack(images) if images else np.empty((0, *classifier.dataset.shape), np.uint8)
    rows = class_probabilities(classifier.model, [torch.from_numpy(codes)] if images else [], len(codes))
    answers = zip(rows, looks_unfamiliar(classifier, codes) if images else [], strict=True)
    for name, found in chunk:
        if isinstance(found, str):
            yield {"file": name, "error": found}
            continue
        row, unfamiliar = next(answers)
        best = best_classes(row, classifier.dataset.class_names, top)
        yield {
            "file": name,
            "predictions": [{"class": label, "probability": significant(value)} for label, value in best],
            "unfamiliar": unfamiliar,
            "inverted": found[1],
        }
