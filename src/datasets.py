"""A normalized dataset's folder: per split, .npy files of images and labels, and their names; dataset.json."""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from src.decoding import Decoding
from src.errors import MnistryError
from src.normalization import Normalization
from src.outputs import require_room


@dataclass(frozen=True)
class DatasetInfo:
    """What dataset.json holds.

    shape: (C, H, W). sha256: for each split, the digest of its images' codes followed by its labels. decoding: how
    image files are brought to that shape.
    """

    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    normalization: Normalization
    sha256: dict[str, str]
    decoding: Decoding = field(default_factory=Decoding)


def save_info(folder: Path, info: DatasetInfo) -> None:
    """Write dataset.json."""
    (folder / "dataset.json").write_text(json.dumps(asdict(info), indent=2, ensure_ascii=False) + "\n", "utf-8")


def load_info(folder: Path) -> DatasetInfo:
    """Read dataset.json; raises MnistryError where an older mnistry wrote it."""
    path = folder / "dataset.json"
    try:
        return info_from_dict(json.loads(path.read_text("utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise MnistryError(f"{path}: of another version of mnistry, or damaged ({error}); run `dvc repro`") from None


def info_from_dict(content: dict) -> DatasetInfo:
    """Undo `dataclasses.asdict` after a trip through JSON; raises KeyError or TypeError where that isn't its form."""
    normalization = content["normalization"]
    numbers = (tuple(normalization[name]) for name in ("mean", "std", "scale", "offset"))
    channels, height, width = content["shape"]
    return DatasetInfo(
        class_names=tuple(content["class_names"]),
        shape=(channels, height, width),
        normalization=Normalization(normalization["method"], *numbers),
        sha256=dict(content["sha256"]),
        decoding=Decoding(**content["decoding"]),
    )


def load_split(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Memory-mapped images, the codes: uint8 of shape (N, C, H, W); and labels: int64 of shape (N,).

    split: `train`, `test`, or `validation` where the source has one.
    """
    # Copy on write: nothing reaches the file, and torch takes the map without a warning that it is read-only.
    return np.load(folder / f"{split}_images.npy", mmap_mode="c"), np.load(folder / f"{split}_labels.npy")


def load_files(folder: Path, split: str) -> list[str]:
    """What each image of the split is called: its file's path, or its split and index in the source."""
    names: list[str] = json.loads((folder / f"{split}_files.json").read_text("utf-8"))
    return names


def save_files(folder: Path, split: str, names: Sequence[str]) -> None:
    """Write what each image of the split is called."""
    (folder / f"{split}_files.json").write_text(json.dumps(list(names), ensure_ascii=False, indent=0), "utf-8")


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
