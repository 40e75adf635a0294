"""The image files of a dataset in one file, one after the other: DVC is slow with many small files.

`images.bin` holds their bytes unchanged; `listing.csv` lists them in the same order, with their sizes.
"""

import csv
import io
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import IO

import numpy as np
from tqdm import tqdm

from src.decoding import Decoding, decode_image, decoding_bytes
from src.errors import MnistryError
from src.parallel import available_cores, ordered_map
from src.resources import free_memory, in_words
from src.sources.base import SPLITS, SplitName
from src.sources.listing import ImageFile

IMAGES, LISTING = "images.bin", "listing.csv"
AGAIN = "run `dvc repro --force download`"
CHUNK_BYTES = 1 << 20
"""Of pixels that a worker process decodes at a time, at most."""


@dataclass(frozen=True)
class PackedSplit:
    """Where a split's images are in `images.bin`, by first byte and size, int64; their labels and their paths."""

    starts: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    paths: list[str]


def pack(files: Sequence[ImageFile], contents: Iterable[bytes], raw: Path) -> None:
    """Write the images' bytes and their listing; the same files with the same contents give the same bytes."""
    with (raw / IMAGES).open("wb") as images, (raw / LISTING).open("w", encoding="utf-8", newline="") as listing:
        writer = csv.writer(listing, lineterminator="\n")
        writer.writerow(("split", "label", "path", "bytes"))
        bar = tqdm(files, desc="packing", unit="image", disable=None)
        for file, content in zip(bar, contents, strict=True):
            size = images.write(content)
            writer.writerow((file.split, file.label, file.path, size))


def read_packed(raw: Path, class_names: Sequence[str]) -> dict[SplitName, PackedSplit]:
    """The splits that have images, each in the listing's order; 24 bytes of memory per image and its path."""
    index = {name: i for i, name in enumerate(class_names)}
    numbers: dict[str, tuple[array[int], ...]] = {split: (array("q"), array("q"), array("q")) for split in SPLITS}
    paths: dict[str, list[str]] = {split: [] for split in SPLITS}
    start = 0
    try:
        with (raw / LISTING).open(encoding="utf-8", newline="") as file:
            for split, label, path, size in csv.reader(file):
                if split == "split":
                    continue
                values = (start, int(size), index[label])
                for column, value in zip(numbers[split], values, strict=True):
                    column.append(value)
                paths[split].append(path)
                start += int(size)
        available = (raw / IMAGES).stat().st_size
    except (OSError, ValueError, KeyError, OverflowError, csv.Error):
        raise MnistryError(f"{raw / LISTING}: missing or damaged; {AGAIN}") from None
    if start != available or any(min(numbers[name][1], default=0) < 0 for name in SPLITS):
        raise MnistryError(f"{raw / IMAGES}: {available:,} bytes; expected {start:,}; {AGAIN}")
    if not paths["train"] or not paths["test"]:
        raise MnistryError(f"{raw / LISTING}: no images to train on, or none to test; {AGAIN}")
    return {split: _packed_split(numbers[split], paths[split]) for split in SPLITS if paths[split]}


def _packed_split(numbers: "tuple[array[int], ...]", paths: list[str]) -> PackedSplit:
    starts, sizes, labels = (np.array(column) for column in numbers)
    return PackedSplit(starts, sizes, labels, paths)


def decode_packed(
    raw: Path, split: PackedSplit, shape: tuple[int, int, int], decoding: Decoding, description: str
) -> Iterator[np.ndarray]:
    """The images in chunks of uint8, shape (n, C, H, W), decoded on all cores, with a progress bar."""
    count = len(split.labels)
    # Enough chunks to keep all cores at work until the end.
    size = max(min(CHUNK_BYTES // int(np.prod(shape)), count // (4 * available_cores())), 1)
    places = np.stack([split.starts, split.sizes], axis=1)
    chunks = [places[start : start + size] for start in range(0, count, size)]
    workers = decoding_workers(_largest(raw, split), 2 * max(shape[1:]))
    with tqdm(total=count, desc=description, unit="image", disable=None) as bar:
        for images in ordered_map(partial(_decode_places, raw / IMAGES, shape, decoding), chunks, workers):
            yield images
            bar.update(len(images))


def _largest(raw: Path, split: PackedSplit) -> Iterator[tuple[str, io.BytesIO]]:
    """The largest files, and what they are called."""
    with (raw / IMAGES).open("rb") as file:
        for i in np.argsort(split.sizes, kind="stable")[-headers_read() :]:
            file.seek(int(split.starts[i]))
            yield split.paths[i], io.BytesIO(file.read(int(split.sizes[i])))


def headers_read() -> int:
    """Of how many of the largest files the headers say what decoding takes: file sizes alone say too little."""
    return 4 * available_cores()


def decoding_workers(files: Iterable[tuple[str, Path | IO[bytes]]], side: int = 1) -> int:
    """How many processes can decode at once in the memory that is free, at most one per core.

    files: the largest ones, with their names. side: as for `decoding_bytes`. Raises MnistryError where one of them
    takes more than there is.
    """
    cores, free = available_cores(), free_memory()
    if free is None:
        return cores
    sizes = sorted(((decoding_bytes(file, side), name) for name, file in files), reverse=True)
    if sizes and sizes[0][0] > free:
        raise MnistryError(
            f"{sizes[0][1]}: takes about {in_words(sizes[0][0])} of memory to decode, but {in_words(free)} is free; "
            "shrink it, close other programs, or raise the limit"
        )
    together = accumulate(size for size, _ in sizes[:cores])
    return cores - sum(size > free for size in together)


def _decode_places(path: Path, shape: tuple[int, int, int], decoding: Decoding, places: np.ndarray) -> np.ndarray:
    images = np.empty((len(places), *shape), dtype=np.uint8)
    with path.open("rb") as file:
        for image, (start, size) in zip(images, places.tolist(), strict=True):
            file.seek(start)
            image[:] = decode_image(io.BytesIO(file.read(size)), shape, f"{path}, byte {start}", decoding)
    return images
