"""A normalized dataset's folder: per split, .npy files of images and labels, and their names; dataset.json."""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from src.array_files import ARRAY_ERRORS, array_reason, read_npy
from src.decoding import Content, Decoding, check_shape
from src.errors import MnistryError
from src.normalization import Normalization
from src.outputs import require_room

CHUNK_BYTES = 1 << 20
"""That are read of a file at a time."""
AGAIN = "run `dvc repro --force normalize`"


@dataclass(frozen=True)
class DatasetInfo:
    """What dataset.json holds.

    shape: (C, H, W). sha256: for each split, the digest of its images' codes followed by its labels. decoding: how
    image files are brought to that shape. content: what the images show, if it is known.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    normalization: Normalization
    sha256: dict[str, str]
    decoding: Decoding = field(default_factory=Decoding)
    content: Content | None = None


def save_info(folder: Path, info: DatasetInfo) -> None:
    """Write dataset.json."""
    (folder / "dataset.json").write_text(json.dumps(asdict(info), indent=2, ensure_ascii=False) + "\n", "utf-8")


def load_info(folder: Path) -> DatasetInfo:
    """Read dataset.json; raises MnistryError where it is damaged or an older mnistry wrote it."""
    path = folder / "dataset.json"
    try:
        info = TypeAdapter(DatasetInfo).validate_json(path.read_bytes())
        check_info(info)
    except ValueError as error:
        raise MnistryError(
            f"{path}: of another version of mnistry, or damaged ({first_reason(error)}); run `dvc repro`"
        ) from None
    return info


def check_info(info: DatasetInfo) -> None:
    """Raise ValueError where no dataset can be like that, although each value is of the right type."""
    channels = check_shape(info.shape)[0]
    if not info.class_names or len(set(info.class_names)) < len(info.class_names):
        raise ValueError("no class, or a class that appears twice")
    numbers = [getattr(info.normalization, name) for name in ("mean", "std", "scale", "offset")]
    if any(len(each) != channels for each in numbers):
        raise ValueError(f"a normalization that isn't of {channels} channels")
    if min(*info.normalization.std, *info.normalization.scale) <= 0:
        raise ValueError("a normalization that divides by 0")
    if not {"train"} <= set(info.sha256) <= {"train", "validation", "test"}:
        raise ValueError(f"splits {', '.join(info.sha256)}")


def first_reason(error: ValueError) -> str:
    """What a validation found first, and where."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return ": ".join(part for part in (".".join(map(str, first["loc"])), first["msg"]) if part)


def load_split(folder: Path, split: str, info: DatasetInfo) -> tuple[np.ndarray, np.ndarray]:
    """Memory-mapped images, the codes: uint8 of shape (N, C, H, W); and labels: int64 of shape (N,).

    split: `train`, `test`, or `validation` where the source has one. info: what dataset.json says. Raises MnistryError
    where the files don't hold what normalize has written.
    """
    # Copy on write: nothing reaches the file, and torch takes the map without a warning that it is read-only.
    path = folder / f"{split}_images.npy"
    images, labels = _load_array(path, "c"), load_labels(folder, split, info)
    _expect(path, images, np.dtype(np.uint8), (len(labels), *info.shape))
    # The digest is of the bytes alone, whose order the header could say to be another.
    if not images.flags.c_contiguous or _sha256(_read_chunks(path, images), labels) != info.sha256.get(split):
        raise MnistryError(f"{path}: damaged, by its and its labels' SHA-256; {AGAIN}")
    return images, labels


def load_labels(folder: Path, split: str, info: DatasetInfo) -> np.ndarray:
    """The labels alone, as `load_split` gives them; their SHA-256, which is that of the images as well, is not checked.

    Raises MnistryError where they are not labels of the dataset's classes.
    """
    path = folder / f"{split}_labels.npy"
    labels = _load_array(path)
    _expect(path, labels, np.dtype(np.int64), (labels.size,))
    if not labels.size or labels.min() < 0 or labels.max() >= len(info.class_names):
        found = f"labels from {labels.min()} to {labels.max()}" if labels.size else "no labels"
        raise MnistryError(f"{path}: {found}; expected 0 to {len(info.class_names) - 1}; {AGAIN}")
    return labels


def map_images(folder: Path, split: str) -> np.ndarray:
    """The images that `write_split` has just written, memory-mapped."""
    return _load_array(folder / f"{split}_images.npy", "c")


def _load_array(path: Path, mmap_mode: Literal["c"] | None = None) -> np.ndarray:
    try:
        return read_npy(path, mmap_mode)
    except FileNotFoundError:
        raise MnistryError(f"{path}: no such file; run `dvc repro` or `dvc checkout`") from None
    except ARRAY_ERRORS as error:
        raise MnistryError(f"{path}: damaged ({array_reason(error)}); {AGAIN}") from None


def _expect(path: Path, array: np.ndarray, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise MnistryError(f"{path}: {array.dtype} of shape {array.shape}; expected {dtype} of {shape}; {AGAIN}")


def split_sha256(images: np.ndarray, labels: np.ndarray) -> str:
    """The digest of a split's codes followed by its labels, in hexadecimal."""
    return _sha256([images.data], labels)


def _sha256(codes: Iterable[memoryview], labels: np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in codes:
        digest.update(part)
    digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return digest.hexdigest()


def _read_chunks(path: Path, images: np.ndarray) -> Iterator[memoryview]:
    """The bytes of a memory-mapped array, read from its file: the map's pages would stay in this process's memory."""
    content = memoryview(bytearray(CHUNK_BYTES))
    with path.open("rb") as file:
        file.seek(images.offset if isinstance(images, np.memmap) else 0)
        while size := file.readinto(content):
            yield content[:size]


@dataclass(frozen=True)
class FileNames:
    """What the images of a split are called: each one's file, or its split and index in the source.

    They are read from their file whenever they are gone through, and never all held.
    """

    path: Path

    def __iter__(self) -> Iterator[str]:
        """The names in order; raises ValueError where the file is not what `save_files` writes."""
        with self.path.open(encoding="utf-8", newline="\n") as file:
            if file.readline() != "[\n":
                raise ValueError("its first line is not [")
            for line in file:
                if line == "]":
                    return
                name = json.loads(line.removesuffix(",\n"))
                if not isinstance(name, str):
                    raise ValueError(f"expected a name, not {line.strip()}")
                # Raises ValueError where it couldn't be written again.
                name.encode()
                yield name

    def at(self, indices: Iterable[int]) -> Iterator[str]:
        """The names of the images at the indices, which are ascending."""
        names, before = iter(self), -1
        for i in indices:
            yield next(islice(names, i - before - 1, None))
            before = i


def load_files(folder: Path, split: str, count: int) -> FileNames:
    """What the images of a split are called.

    count: the number of images. Raises MnistryError where there are others than as many names.
    """
    names = FileNames(folder / f"{split}_files.json")
    try:
        found = sum(1 for _ in names)
    except FileNotFoundError:
        raise MnistryError(f"{names.path}: no such file; run `dvc repro` or `dvc checkout`") from None
    except (ValueError, RecursionError) as error:
        raise MnistryError(f"{names.path}: damaged ({error}); {AGAIN}") from None
    if found != count:
        raise MnistryError(f"{names.path}: {found} names; expected {count}, one per image; {AGAIN}")
    return names


def save_files(folder: Path, split: str, names: Iterable[str]) -> None:
    """Write what each image of the split is called, as a list in JSON with a line per name."""
    with (folder / f"{split}_files.json").open("w", encoding="utf-8", newline="\n") as file:
        file.write("[")
        for number, name in enumerate(names):
            file.write((",\n" if number else "\n") + json.dumps(name, ensure_ascii=False))
        file.write("\n]")


def write_split(
    folder: Path, split: str, chunks: Iterable[np.ndarray], labels: np.ndarray, shape: tuple[int, int, int]
) -> str:
    """Write a split's images and labels; the SHA-256 of both, in hexadecimal.

    chunks: the images in order, uint8, each of shape (n, C, H, W); never all of them are held. labels: int64, shape
    (N,). shape: (C, H, W). Raises MnistryError where the chunks together are not N images of that shape.
    """
    digest = hashlib.sha256()

    def hashed() -> Iterable[np.ndarray]:
        for chunk in chunks:
            whole = np.ascontiguousarray(chunk)
            digest.update(whole.data)
            yield whole

    write_array(folder / f"{split}_images.npy", hashed(), (len(labels), *shape), np.uint8)
    np.save(folder / f"{split}_labels.npy", labels)
    digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return digest.hexdigest()


def write_array(path: Path, chunks: Iterable[np.ndarray], shape: tuple[int, ...], dtype: type) -> None:
    """Write an array to a .npy file chunk by chunk along its first axis, never holding all of it.

    Raises MnistryError where the chunks together are not of that shape, or the disk has no room for it.
    """
    count = 0
    require_room(path, math.prod(shape) * np.dtype(dtype).itemsize)
    with path.open("wb") as file:
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            if chunk.shape[1:] != shape[1:]:
                raise MnistryError(f"{path.name}: images of shape {chunk.shape[1:]}; expected {shape[1:]}")
            file.write(np.ascontiguousarray(chunk, dtype=dtype).data)
            count += len(chunk)
    if count != shape[0]:
        raise MnistryError(f"{path.name}: {count} images; expected {shape[0]}, one per label")
