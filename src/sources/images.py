"""Somebody's own images: folders a class or CSV files of labels, as they are or in one archive."""

import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from tqdm import tqdm

from src.decoding import measure_picture
from src.errors import MnistryError
from src.explanations import Expected
from src.parallel import ordered_map
from src.sources.archives import is_archive, unpack
from src.sources.base import RawDataset, Split
from src.sources.layouts import list_pictures
from src.sources.links import leaves
from src.sources.listing import Picture, class_problems, draw_split, is_ignored, name_labels, sorted_classes
from src.sources.packed import decode_packed, pack, read_packed
from src.sources.problems import refuse, warn
from src.yaml_files import Number, Section, Tuple, read_yaml

RESOLVED = "images.json"
Shape = tuple[int, int, int]
Pixels = Annotated[int, Field(ge=1, le=10_000)]


def _composed(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names with composed letters, as the pictures' labels; an error where one stands twice."""
    names = tuple(unicodedata.normalize("NFC", name) for name in names)
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ValueError(f"{twice[0]!r} stands twice; expected each class once")
    return names


class ImagesDescription(Section):
    """What can't be guessed of somebody's images: an optional source.yaml beside them."""

    image_size: Annotated[tuple[Pixels, Pixels] | None, Tuple, Expected("height and width, such as [32, 32]")] = None
    """Height and width, in pixels; by default, those that all pictures share."""
    color: Literal["auto", "grey", "rgb"] = "auto"
    """auto is grey where all pictures are."""
    class_names: Annotated[tuple[str, ...], Tuple, AfterValidator(_composed)] = ()
    """The classes in their order; by default, all labels, sorted. Labels may be numbers that count them from 0."""
    test_fraction: Annotated[Number, Field(gt=0, lt=1)] = 0.2
    """Of each class, held out for the test where the images aren't split."""
    split_seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="before")
    @classmethod
    def _nothing(cls, content: Any) -> Any:
        """An empty file says as little as none."""
        return {} if content is None else content


class ResolvedImages(Section):
    """What `download` found out of the images, beside them in data/raw/."""

    class_names: Annotated[tuple[str, ...], Tuple]
    shape: Annotated[Shape, Tuple]


@dataclass(frozen=True)
class ImagesSource:
    """A folder of somebody's images, or what `download` made of it."""

    folder: Path

    def download(self, raw: Path) -> None:
        """Check all pictures and pack them, in order, into one file.

        Raises MnistryError with all that is wrong with them.
        """
        with tempfile.TemporaryDirectory(dir=raw) as scratch:
            folder = self._unpacked(Path(scratch))
            description = self._description(folder)
            pictures, problems, warnings = list_pictures(folder)
            pictures = name_labels(pictures, description.class_names)
            class_names = description.class_names or sorted_classes({picture.label for picture in pictures})
            problems += class_problems(pictures, class_names)
            measures = measure_all(folder, pictures, problems)
            shape = resolve_shape(description, measures, problems)
            refuse(self.folder.name, problems)
            warn(warnings)
            if not pictures[0].split:
                pictures = draw_split(pictures, class_names, description.test_fraction, description.split_seed)
            pack(folder, pictures, raw)
        resolved = ResolvedImages(class_names=class_names, shape=shape)
        (raw / RESOLVED).write_text(resolved.model_dump_json(), "utf-8")

    @contextmanager
    def read(self, raw: Path, _: Path) -> Iterator[RawDataset]:
        """The pictures that `download` packed, decoded on all cores."""
        try:
            # Not as YAML, which lacks some of JSON's characters.
            resolved = ResolvedImages.model_validate_json((raw / RESOLVED).read_bytes())
        except (FileNotFoundError, ValidationError):
            raise MnistryError(f"{raw / RESOLVED}: missing or damaged; run `dvc repro --force download`") from None
        packed = read_packed(raw, resolved.class_names)
        splits: tuple[Literal["train", "test"], ...] = ("train", "test")
        yield RawDataset(
            resolved.class_names,
            resolved.shape,
            {
                name: Split(
                    packed[name].labels, decode_packed(raw, packed[name], resolved.shape, f"{self.folder.name} {name}")
                )
                for name in splits
            },
        )

    def _unpacked(self, scratch: Path) -> Path:
        archives = [path for path in sorted(self.folder.iterdir()) if is_archive(path)]
        if not archives:
            return self.folder
        others = sorted(
            path.name
            for path in self.folder.iterdir()
            if not is_ignored(path) and path.name != "source.yaml" and path != archives[0]
        )
        if others:
            raise MnistryError(
                f"{self.folder}: two layouts at once: {archives[0].name}, and beside it {', '.join(others[:5])}; "
                "expected one archive alone, or none"
            )
        if leaves(archives[0], self.folder):
            raise MnistryError(f"{archives[0]}: a link out of the dataset's folder; put the file itself there")
        return unpack(archives[0], scratch)

    def _description(self, unpacked: Path) -> ImagesDescription:
        found = [path for folder in {self.folder, unpacked} if (path := folder / "source.yaml").exists()]
        if len(found) == 2:
            raise MnistryError(f"{self.folder}: two source.yaml, beside the archive and in it; keep one of them")
        return read_yaml(found[0], ImagesDescription) if found else ImagesDescription()


def measure_all(folder: Path, pictures: Sequence[Picture], problems: list[str]) -> Counter[Shape]:
    """Decode every picture once; how many have which (C, H, W). Those that can't be decoded are added to `problems`."""
    chunks = [pictures[start : start + 64] for start in range(0, len(pictures), 64)]
    measures: Counter[Shape] = Counter()
    with tqdm(total=len(pictures), desc="checking pictures", unit="image", disable=None) as bar:
        for found, wrong in ordered_map(partial(_measure_chunk, folder), chunks):
            measures.update(found)
            problems += wrong
            bar.update(sum(found.values()) + len(wrong))
    return measures


def _measure_chunk(folder: Path, pictures: Sequence[Picture]) -> tuple[Counter[Shape], list[str]]:
    measures: Counter[Shape] = Counter()
    problems = []
    for picture in pictures:
        try:
            measures[measure_picture(folder / picture.path, picture.path)] += 1
        except MnistryError as error:
            problems.append(str(error))
    return measures, problems


def resolve_shape(description: ImagesDescription, measures: Counter[Shape], problems: list[str]) -> Shape:
    """The (C, H, W) that all pictures are brought to; a problem where they differ in size and none is stated."""
    color = "rgb" if any(channels == 3 for channels, _, _ in measures) else "grey"
    channels = {"grey": 1, "rgb": 3}[color if description.color == "auto" else description.color]
    if description.image_size:
        return channels, *description.image_size
    sizes: Counter[tuple[int, int]] = Counter()
    for (_, height, width), count in measures.items():
        sizes[height, width] += count
    # Of sizes that are as common, the smallest first: not that of the picture that happened to be first.
    commonest = sorted(sizes, key=lambda size: (-sizes[size], size))
    if len(commonest) > 1:
        (height, width), second = commonest[:2]
        problems.append(
            f"pictures of {len(sizes)} sizes: {sizes[height, width]} of {height}x{width} pixels (height x width), "
            f"{sizes[second]} of {second[0]}x{second[1]}{', ...' if len(sizes) > 2 else ''}; "
            f"state one in source.yaml, such as image_size: [{height}, {width}]"
        )
    return channels, *(commonest[0] if commonest else (1, 1))
