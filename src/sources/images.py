"""A user's own images: one folder per class or CSV files of labels, as they are or in archives."""

import codecs
import heapq
import shutil
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, PlainValidator, ValidationError, model_validator
from tqdm import tqdm

from src.decoding import Content, Decoding, check_shape, measure_image
from src.errors import MnistryError, one_line, printable
from src.explanations import Expected
from src.parallel import ordered_map
from src.signatures import describe_unread
from src.sources.archives import is_archive, stem, unpack
from src.sources.arrays import find_array_files, read_arrays
from src.sources.base import RawDataset, Split
from src.sources.descriptions import NAMES, find_description
from src.sources.findings import Findings, flow_list, more_than
from src.sources.layouts import Reading, list_images
from src.sources.listing import (
    Ignored,
    ImageFile,
    all_files,
    check_classes,
    complete_splits,
    ignored_in,
    image_files,
    is_ignored,
    is_not_image,
    is_table,
    matching_nothing,
    name_labels,
    sorted_classes,
)
from src.sources.packed import decode_packed, decoding_workers, headers_read, pack, read_packed
from src.sources.paths import is_link_outside, is_name_outside
from src.sources.split_names import split_of
from src.yaml_files import Number, Section, Tuple, read_yaml

RESOLVED = "images.json"
MOST_LISTED = 20
"""Classes that are listed by name with their numbers of images."""
DEEPEST = 50
"""Level of folders that may be the class."""
Shape = tuple[int, int, int]
Pixels = Annotated[int, Field(ge=1, le=10_000)]


def _composed(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names with composed letters, as labels have them; ValueError where one appears twice."""
    names = tuple(unicodedata.normalize("NFC", name) for name in names)
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ValueError(f"{twice[0]!r} appears twice; expected each class once")
    return names


def _levels(value: object) -> tuple[int, ...]:
    """The level, or the levels in their order; ValueError where they are something else."""
    levels = value if isinstance(value, list) else [value]
    if (
        not levels
        or any(type(level) is not int or not 1 <= level <= DEEPEST for level in levels)
        or levels != sorted(set(levels))
    ):
        raise ValueError("expected a level of folders, 1 or more, or several in their order, such as [1, 2]")
    return tuple(levels)


def _text_encoding(name: str) -> str:
    """The encoding; ValueError where Python has none of that name that tables are written in."""
    # These decode Python's literals and host names, one of them in quadratic time.
    unusual = ("unicode_escape", "raw_unicode_escape", "undefined", "idna", "punycode", "utf_7")
    try:
        known = codecs.lookup(name).name.replace("-", "_") if name else ""
        b"".decode(name or "utf-8")
    except (LookupError, ValueError):
        known = unusual[0]
    if known in unusual:
        raise ValueError("expected an encoding that Python knows, such as cp949")
    return name


def _inside(root: str) -> str:
    """The folder; ValueError where it is none of the dataset's, or no name at all."""
    if is_name_outside(root) or not printable(root) == root:
        raise ValueError("expected a folder inside of the dataset's")
    return root


class ImagesDescription(Section):
    """What can't be guessed about a user's images: an optional source.yaml next to them."""

    image_size: Annotated[tuple[Pixels, Pixels] | None, Tuple, Expected("height and width, such as [32, 32]")] = None
    """Height and width, in pixels; by default, those that all images share."""
    color: Literal["auto", "grey", "rgb"] = "auto"
    """auto is grey where all images are."""
    class_names: Annotated[tuple[str, ...], Tuple, AfterValidator(_composed)] = ()
    """The classes in their order; by default, all labels, sorted. Labels may be their numbers, from 0."""
    test_fraction: Annotated[Number, Field(gt=0, lt=1)] = 0.2
    """The part of each class that is held out for the test where the images aren't split."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    root: Annotated[str, AfterValidator(_inside)] = "."
    """The folder inside that holds the images; the others are left out."""
    class_level: Annotated[tuple[int, ...], PlainValidator(_levels)] = ()
    """The levels of folders that name the classes, below root or a split's folder; none where that is certain."""
    encoding: Annotated[str, AfterValidator(_text_encoding)] = ""
    """Of the tables; by default, UTF-8."""
    table: str = ""
    """The one that lists the images, where it isn't next to them; by default, it is found."""
    label_column: str = ""
    """The column of the tables that holds the class; by default, it is found by its name."""
    exclude: Annotated[tuple[str, ...], Tuple] = ()
    """Files and folders that are left out: names, or paths from the dataset's folder on; * is for anything."""
    fit: Literal["pad", "crop", "stretch"] = "pad"
    """What is done with images of other proportions than image_size."""
    content: Content | None = None
    """What the images show, by which `auto` in a recipe goes; unset, nothing is done that would change characters."""
    transparent: Literal["auto", "black", "white"] = "auto"
    """What is behind transparent parts; auto is black, or white where more images would be of one colour on black."""

    @property
    def reading(self) -> Reading:
        """How the folder is to be read."""
        return Reading(
            self.root,
            self.class_level,
            self.encoding,
            self.table,
            self.label_column,
            self.exclude,
            self.class_names,
        )

    @model_validator(mode="before")
    @classmethod
    def _nothing(cls, content: Any) -> Any:
        """An empty file is as good as none."""
        return {} if content is None else content


class ResolvedImages(Section):
    """What `download` found out about the images, next to them in data/raw/."""

    class_names: Annotated[tuple[str, ...], Tuple]
    shape: Annotated[Shape, Tuple, AfterValidator(check_shape)]
    fit: Literal["pad", "crop", "stretch"]
    transparent: Literal["black", "white"]
    content: Content | None = None


@dataclass(frozen=True)
class ImagesSource:
    """A folder of a user's images, or what `download` made of it."""

    folder: Path

    def download(self, raw: Path) -> None:
        """Check all images and pack them, in order, into one file.

        Raises MnistryError with everything that is wrong with them.
        """
        findings = Findings()
        with tempfile.TemporaryDirectory(dir=raw) as scratch:
            folder = self._unpacked(Path(scratch), findings)
            description = self._description(folder)
            images = list_all(folder, description, Path(scratch), findings)
            files = name_labels(images.files, description.class_names)
            class_names = description.class_names or sorted_classes({file.label for file in files})
            check_classes(files, class_names, findings, stated=bool(description.class_names))
            measured = images.measure(findings)
            shape = resolve_shape(description, measured.shapes, findings)
            transparent = resolve_ground(description, measured, findings)
            findings.refuse(self.folder.name)
            findings.print_warnings()
            files = complete_splits(files, class_names, description.test_fraction, description.split_seed)
            print(describe_classes(files, class_names), flush=True)
            pack(files, images.contents, raw)
        resolved = ResolvedImages(
            class_names=class_names,
            shape=shape,
            fit=description.fit,
            transparent=transparent,
            content=description.content,
        )
        (raw / RESOLVED).write_text(resolved.model_dump_json(), "utf-8")

    @contextmanager
    def read(self, _: Path) -> Iterator[RawDataset]:
        """The images that `download` packed, decoded on all cores."""
        try:
            # Not as YAML, which lacks some of JSON's characters.
            resolved = ResolvedImages.model_validate_json((self.folder / RESOLVED).read_bytes())
        except (FileNotFoundError, ValidationError):
            raise MnistryError(
                f"{self.folder / RESOLVED}: missing or damaged; run `dvc repro --force download`"
            ) from None
        packed = read_packed(self.folder, resolved.class_names)
        decoding = Decoding(resolved.fit, resolved.transparent)
        yield RawDataset(
            resolved.class_names,
            resolved.shape,
            {
                name: Split(
                    split.labels,
                    decode_packed(self.folder, split, resolved.shape, decoding, f"{self.folder.name} {name}"),
                    split.paths,
                )
                for name, split in packed.items()
            },
            decoding,
            resolved.content,
        )

    def _unpacked(self, scratch: Path, findings: Findings) -> Path:
        """The folder of the images: the source's own, or what its archives and the tables next to them hold."""
        archives = [path for path in sorted(self.folder.iterdir()) if is_archive(path)]
        if not archives:
            return self.folder
        tables = self._next_to(archives, findings)
        for path in (*archives, *tables):
            if is_link_outside(path, self.folder):
                raise MnistryError(f"{path}: a link out of the dataset's folder; put the file itself there")
        if len(archives) == 1 and not tables:
            return unpack(archives[0], scratch)
        for archive in archives:
            (scratch / stem(archive)).mkdir()
            unpack(archive, scratch / stem(archive))
        for table in tables:
            shutil.copyfile(table, scratch / table.name)
        return scratch

    def _next_to(self, archives: Sequence[Path], findings: Findings) -> list[Path]:
        """The tables next to the archives, of which there is one, or one per split; raises MnistryError."""
        splits = [split_of(stem(archive)) for archive in archives]
        if len(archives) > 1 and (None in splits or "train" not in splits or len(set(splits)) < len(splits)):
            raise MnistryError(
                f"{self.folder}: two layouts at once: {', '.join(path.name for path in archives[:5])}; expected one "
                "archive, or one per split, such as train.zip and test.zip"
            )
        others = [
            path
            for path in sorted(self.folder.iterdir())
            if not is_ignored(path) and path.name.lower() not in NAMES and path not in archives
        ]
        tables = [path for path in others if is_table(path)]
        wrong = [path.name for path in others if path.is_dir() or not is_not_image(path)]
        if wrong:
            raise MnistryError(
                f"{self.folder}: two layouts at once: {archives[0].name}, and next to it {', '.join(wrong[:5])}; "
                "expected archives without images next to them, or images alone"
            )
        passed_over = [path.name for path in others if path not in tables]
        if passed_over:
            findings.note(f"not images, passed over: {', '.join(passed_over[:3])}{more_than(passed_over, 3)}")
        return tables

    def _description(self, unpacked: Path) -> ImagesDescription:
        found = [path for folder in {self.folder, unpacked} if (path := find_description(folder))]
        if len(found) == 2:
            raise MnistryError(f"{self.folder}: two source.yaml, next to the archive and in it; keep one of them")
        return read_yaml(found[0], ImagesDescription) if found else ImagesDescription()


@dataclass(frozen=True)
class ListedImages:
    """All images of a dataset: their files, whether they exist or are made of arrays; contents, in the same order.

    measure: looks at all of them, and adds to the findings what can't be decoded.
    """

    files: list[ImageFile]
    contents: Iterable[bytes]
    measure: Callable[[Findings], "Measured"]


def list_all(folder: Path, description: ImagesDescription, scratch: Path, findings: Findings) -> ListedImages:
    """The images in the folder, in whichever form: image files, or arrays and tables of pixels."""
    ignored = ignored_in(folder, description.exclude)
    if left := matching_nothing(folder, description.exclude):
        findings.problem(
            f"exclude: {flow_list(left)} in source.yaml matches nothing; expected names, or paths from the folder on"
        )
    if problems := unread_problems(folder, ignored):
        for problem in problems:
            findings.problem(problem)
        return ListedImages([], (), lambda _: Measured())
    paths = find_array_files(folder, ignored)
    if not paths:
        files = list_images(folder, findings, description.reading)
        contents = ((folder / file.path).read_bytes() for file in files)
        return ListedImages(files, contents, partial(measure_all, folder, files))
    images = [path.relative_to(folder).as_posix() for path in image_files(folder, ignored)]
    if any("/" in name for name in images):
        tops = sorted({name.partition("/")[0] for name in images})
        findings.problem(
            f"two layouts at once: {paths[0].name} with pixels, and image files; in source.yaml, exclude: "
            f"{flow_list([path.name for path in paths])} takes the images, exclude: {flow_list(tops[:5])} the pixels"
        )
        return ListedImages([], (), lambda _: Measured())
    if images:
        findings.note(
            f"{', '.join(sorted(images)[:3])}{more_than(images, 3)}: no labels, next to "
            f"{', '.join(path.name for path in paths[:3])}, with labels and pixels; passed over"
        )
    arrays = read_arrays(folder, paths, description.image_size, scratch, findings, description.label_column)
    measured = Measured()
    for each in arrays:
        measured.shapes[each.shape] += len(each.labels)
    files = [file for each in arrays for file in each.files()]
    return ListedImages(files, chain.from_iterable(each.contents() for each in arrays), lambda _: measured)


def unread_problems(folder: Path, ignored: Ignored) -> list[str]:
    """What files of other formats are and what to do, a line per kind, where nothing else in the folder can be read."""
    if next(image_files(folder, ignored), None) or find_array_files(folder, ignored):
        return []
    kinds: dict[str, list[str]] = {}
    for path in sorted(all_files(folder, ignored)):
        if path.is_file() and (what := describe_unread(path)):
            kinds.setdefault(what, []).append(path.relative_to(folder).as_posix())
    return [f"{names[0]}{more_than(names, 1)}: {what}" for what, names in kinds.items()]


def describe_classes(files: Sequence[ImageFile], class_names: Sequence[str]) -> str:
    """A line with the classes and their numbers of images; of more than twenty, their number and range."""
    counts = Counter(file.label for file in files)
    if len(class_names) <= MOST_LISTED:
        return one_line(f"{len(class_names)} classes: " + ", ".join(f"{name} {counts[name]}" for name in class_names))
    sizes = sorted(counts[name] for name in class_names)
    shown = ", ".join((*class_names[:3], "...", class_names[-1]))
    size = f"{sizes[0]} to {sizes[-1]}" if sizes[0] < sizes[-1] else str(sizes[0])
    return one_line(f"{len(class_names)} classes of {size} images: {shown}")


@dataclass
class Measured:
    """What was found by decoding all images.

    shapes: how many have which (C, H, W). plain: how many are of one colour with this ground behind transparent parts.
    """

    shapes: Counter[Shape] = field(default_factory=Counter)
    plain: Counter[str] = field(default_factory=Counter)


def measure_all(folder: Path, files: Sequence[ImageFile], findings: Findings) -> Measured:
    """Decode every image once; those that can't be decoded are problems."""
    chunks = [files[start : start + 64] for start in range(0, len(files), 64)]
    measured = Measured()
    largest = heapq.nlargest(headers_read(), (folder / file.path for file in files), key=_size)
    workers = decoding_workers((path.relative_to(folder).as_posix(), path) for path in largest)
    with tqdm(total=len(files), desc="checking images", unit="image", disable=None) as bar:
        for found, failures in ordered_map(partial(_measure_chunk, folder), chunks, workers):
            measured.shapes.update(found.shapes)
            measured.plain.update(found.plain)
            for failure in failures:
                findings.problem(failure)
            bar.update(found.shapes.total() + len(failures))
    return measured


def _size(path: Path) -> int:
    """Bytes of the file; 0 where it can't be looked at, which decoding it will say."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _measure_chunk(folder: Path, files: Sequence[ImageFile]) -> tuple[Measured, list[str]]:
    """What the images are like, and what is wrong with those that can't be decoded."""
    measured = Measured()
    failures = []
    for file in files:
        try:
            image = measure_image(folder / file.path, file.path)
        except MnistryError as error:
            failures.append(str(error))
        else:
            measured.shapes[image.shape] += 1
            measured.plain.update(image.plain)
    return measured, failures


def resolve_shape(description: ImagesDescription, shapes: Counter[Shape], findings: Findings) -> Shape:
    """The (C, H, W) that all images are brought to; a problem where their sizes differ and none is stated."""
    color = "rgb" if any(channels == 3 for channels, _, _ in shapes) else "grey"
    channels = {"grey": 1, "rgb": 3}[color if description.color == "auto" else description.color]
    if description.image_size:
        return channels, *description.image_size
    sizes: Counter[tuple[int, int]] = Counter()
    for (_, height, width), count in shapes.items():
        sizes[height, width] += count
    if len(sizes) > 1:
        height, width = suggested_size(sizes)
        megabytes = sizes.total() * channels * height * width / 1e6
        (low, high), (flat, wide) = ((min(sides), max(sides)) for sides in zip(*sizes, strict=True))
        findings.problem(
            f"images of {len(sizes)} sizes, {low} to {high} pixels high and {flat} to {wide} wide; state one in "
            f"source.yaml, such as image_size: [{height}, {width}] (height and width), which takes {megabytes:,.1f} "
            "MB; images keep their proportions, unless fit says otherwise"
        )
    return channels, *(next(iter(sizes)) if sizes else (1, 1))


def suggested_size(sizes: Counter[tuple[int, int]]) -> tuple[int, int]:
    """A height and width that train: 64, or 32 for small images; square unless nearly all are long in one direction."""
    heights, widths = (np.repeat([size[axis] for size in sizes], list(sizes.values())) for axis in (0, 1))
    side = 64 if np.median(np.minimum(heights, widths)) >= 64 else 32
    flat, tall = (np.quantile(ratio, 0.1) for ratio in (widths / heights, heights / widths))
    return (side, 2 * side) if flat >= 1.5 else (2 * side, side) if tall >= 1.5 else (side, side)


def resolve_ground(description: ImagesDescription, measured: Measured, findings: Findings) -> Literal["black", "white"]:
    """What is put behind transparent parts: what the user says, else black, unless more images vanish on it."""
    black, white = measured.plain["black"], measured.plain["white"]
    if description.transparent != "auto":
        if count := measured.plain[description.transparent]:
            findings.warn(
                f"{count} of {measured.shapes.total()} images are of one colour with {description.transparent} behind "
                "their transparent parts"
            )
        return description.transparent
    if black <= white:
        return "black"
    findings.note(
        f"{black} of {measured.shapes.total()} images are of one colour with black behind their transparent parts, "
        f"{white} with white: white is taken; transparent: black in source.yaml would change that"
    )
    return "white"
