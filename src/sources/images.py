"""Somebody's own images: folders a class or CSV files of labels, as they are or in one archive."""

import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from tqdm import tqdm

from src.decoding import decode_picture, measure_picture
from src.errors import MnistryError
from src.parallel import ordered_map
from src.sources.annotations import list_annotations
from src.sources.archives import is_archive, unpack
from src.sources.base import RawDataset, Split
from src.sources.listing import (
    Picture,
    class_problems,
    draw_split,
    is_ignored,
    load_listing,
    save_listing,
    sorted_classes,
)
from src.sources.problems import refuse
from src.sources.trees import list_tree
from src.yaml_files import Number, Section, Tuple, read_yaml

PACKED, LISTING, RESOLVED = "images.zip", "listing.csv", "images.yaml"
CHUNK_BYTES = 1 << 20
"""Of pixels that a worker decodes at a time."""


class ImagesDescription(Section):
    """What can't be guessed of somebody's images: an optional source.yaml beside them."""

    image_size: Annotated[tuple[int, int] | None, Tuple] = None
    """Height and width, in pixels; by default, those that all pictures share."""
    color: Literal["auto", "grey", "rgb"] = "auto"
    """auto is grey where all pictures are."""
    class_names: Annotated[tuple[str, ...], Tuple] = ()
    """The classes in their order; by default, all labels, sorted."""
    test_fraction: Annotated[Number, Field(gt=0, lt=1)] = 0.2
    """Of each class, held out for the test where the images aren't split."""
    split_seed: Annotated[int, Field(ge=0)] = 0


class ResolvedImages(Section):
    """What `download` found out of the images, beside them in data/raw/."""

    class_names: Annotated[tuple[str, ...], Tuple]
    shape: Annotated[tuple[int, int, int], Tuple]


@dataclass(frozen=True)
class ImagesSource:
    """A folder of somebody's images, or what `download` made of it."""

    folder: Path

    def download(self, raw: Path) -> None:
        """Check all pictures and pack them, in order, into one archive: DVC is slow at many small files.

        Raises MnistryError with all that is wrong with them.
        """
        name = self.folder.name
        with tempfile.TemporaryDirectory(dir=raw) as scratch:
            folder = self._unpacked(Path(scratch))
            description = self._description(folder)
            pictures, problems, warnings = list_pictures(folder)
            class_names = description.class_names or sorted_classes({picture.label for picture in pictures})
            unknown = [picture for picture in pictures if picture.label not in class_names]
            problems += [
                f"{picture.path}: label {picture.label!r} is no class; expected one of {', '.join(class_names)}"
                for picture in unknown
            ]
            problems += class_problems(pictures, class_names)
            measures = measure_all(folder, pictures, problems)
            refuse(name, problems)
            for warning in warnings:
                print(f"warning: {warning}", flush=True)
            if not pictures[0].split:
                pictures = draw_split(pictures, class_names, description.test_fraction, description.split_seed)
            shape = resolve_shape(name, description, measures)
            pack(folder, pictures, raw)
        resolved = ResolvedImages(class_names=class_names, shape=shape)
        (raw / RESOLVED).write_text(resolved.model_dump_json(), "utf-8")

    @contextmanager
    def read(self, raw: Path, _: Path) -> Iterator[RawDataset]:
        """The pictures that `download` packed, decoded on all cores."""
        resolved = read_yaml(raw / RESOLVED, ResolvedImages)
        pictures = load_listing(raw / LISTING)
        members = {
            split: [i for i, picture in enumerate(pictures) if picture.split == split] for split in ("train", "test")
        }
        yield RawDataset(
            class_names=resolved.class_names,
            shape=resolved.shape,
            splits={
                "train": _packed_split(raw, pictures, members["train"], resolved),
                "test": _packed_split(raw, pictures, members["test"], resolved),
            },
        )

    def _unpacked(self, scratch: Path) -> Path:
        archives = [path for path in sorted(self.folder.iterdir()) if is_archive(path)]
        if not archives:
            return self.folder
        others = [
            path.name for path in self.folder.iterdir()
            if not is_ignored(path.name) and path.name != "source.yaml" and path != archives[0]
        ]  # fmt: skip
        if others:
            raise MnistryError(
                f"{self.folder}: two layouts at once: {archives[0].name}, and beside it {', '.join(sorted(others)[:5])}"
            )
        return unpack(archives[0], scratch)

    def _description(self, unpacked: Path) -> ImagesDescription:
        for folder in (self.folder, unpacked):
            if (folder / "source.yaml").exists():
                return read_yaml(folder / "source.yaml", ImagesDescription)
        return ImagesDescription()


def list_pictures(folder: Path) -> tuple[list[Picture], list[str], list[str]]:
    """The pictures in the folder's own order, what is wrong, and what is only odd."""
    files = sorted(path for path in folder.glob("*.csv") if not is_ignored(path.name))
    names = {path.name for path in files}
    if not files:
        pictures, problems = list_tree(folder)
        warnings: list[str] = []
    elif len(files) == 1 or names == {"train.csv", "test.csv"}:
        pictures, problems, warnings = list_annotations(folder, sorted(files, reverse=True))
    else:
        return [], [f"two layouts at once: {', '.join(sorted(names))}; expected one CSV, or train.csv and test.csv"], []
    problems += [
        f"{picture.path}: a link out of the dataset's folder" for picture in pictures if _leaves(folder, picture)
    ]
    if not pictures and not problems:
        problems.append("no pictures; expected folders a class, or a CSV of file names and labels")
    return pictures, problems, warnings


def _leaves(folder: Path, picture: Picture) -> bool:
    return not (folder / picture.path).resolve().is_relative_to(folder.resolve())


def measure_all(folder: Path, pictures: list[Picture], problems: list[str]) -> list[tuple[int, int, int]]:
    """Decode every picture once; the (C, H, W) of those that can be, the others added to `problems`."""
    chunks = [pictures[start : start + 64] for start in range(0, len(pictures), 64)]
    measures = []
    with tqdm(total=len(pictures), desc="checking pictures", unit="image", disable=None) as bar:
        for results in ordered_map(partial(_measure_chunk, folder), chunks):
            measures += [result for result in results if not isinstance(result, str)]
            problems += [result for result in results if isinstance(result, str)]
            bar.update(len(results))
    return measures


def _measure_chunk(folder: Path, pictures: list[Picture]) -> list[tuple[int, int, int] | str]:
    results: list[tuple[int, int, int] | str] = []
    for picture in pictures:
        try:
            results.append(measure_picture(folder / picture.path, picture.path))
        except MnistryError as error:
            results.append(str(error))
    return results


def resolve_shape(
    name: str, description: ImagesDescription, measures: list[tuple[int, int, int]]
) -> tuple[int, int, int]:
    """The (C, H, W) that all pictures are brought to.

    Raises MnistryError where they differ in size and the description states none.
    """
    color = "rgb" if any(channels == 3 for channels, _, _ in measures) else "grey"
    channels = {"grey": 1, "rgb": 3}[color if description.color == "auto" else description.color]
    if description.image_size:
        return channels, *description.image_size
    sizes = Counter((height, width) for _, height, width in measures).most_common(2)
    if len(sizes) > 1:
        (first, first_count), (second, second_count) = sizes
        raise MnistryError(
            f"{name}: pictures of several sizes: {first_count} of {first[0]}x{first[1]} pixels (height x width), "
            f"{second_count} of {second[0]}x{second[1]}, ...; "
            f"state one in source.yaml, such as image_size: [{first[0]}, {first[1]}]"
        )
    return channels, *sizes[0][0]


def pack(folder: Path, pictures: list[Picture], raw: Path) -> None:
    """Write the pictures' files into one archive, uncompressed, and their listing.

    The same pictures give the same bytes: members are numbered, without times or owners.
    """
    with zipfile.ZipFile(raw / PACKED, "w", zipfile.ZIP_STORED) as archive:
        for i, picture in enumerate(pictures):
            archive.writestr(zipfile.ZipInfo(str(i)), (folder / picture.path).read_bytes())
    save_listing(raw / LISTING, pictures)


def _packed_split(raw: Path, pictures: list[Picture], members: list[int], resolved: ResolvedImages) -> Split:
    index = {name: i for i, name in enumerate(resolved.class_names)}
    labels = np.array([index[pictures[i].label] for i in members], dtype=np.int64)
    decode = partial(_decode_members, raw / PACKED, resolved.shape)
    return Split(labels, _chunks(decode, members, resolved.shape, pictures[members[0]].split))


def _chunks(
    decode: Callable[[list[int]], np.ndarray], members: list[int], shape: tuple[int, int, int], split: str
) -> Iterator[np.ndarray]:
    size = max(CHUNK_BYTES // int(np.prod(shape)), 1)
    batches = [members[start : start + size] for start in range(0, len(members), size)]
    with tqdm(total=len(members), desc=f"decoding {split}", unit="image", disable=None) as bar:
        for images in ordered_map(decode, batches):
            yield images
            bar.update(len(images))


def _decode_members(archive: Path, shape: tuple[int, int, int], members: list[int]) -> np.ndarray:
    return np.stack([_decode_member(archive, shape, member) for member in members])


def _decode_member(archive: Path, shape: tuple[int, int, int], member: int) -> np.ndarray:
    with _open_archive(archive).open(str(member)) as file:
        return decode_picture(file, shape, f"{archive}:{member}")


@cache
def _open_archive(archive: Path) -> zipfile.ZipFile:
    """One a process: reading its index takes longer than reading a picture."""
    return zipfile.ZipFile(archive)
