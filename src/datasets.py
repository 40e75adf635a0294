"""A normalized dataset's folder: one .npy file a split for images, one for labels, and dataset.json."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from src.errors import MnistryError
from src.normalization import Normalization


@dataclass(frozen=True)
class DatasetInfo:
    """What dataset.json holds; shape is (C, H, W)."""

    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    normalization: Normalization


def save_info(folder: Path, info: DatasetInfo) -> None:
    """Write dataset.json."""
    (folder / "dataset.json").write_text(json.dumps(asdict(info), indent=2, ensure_ascii=False) + "\n", "utf-8")


def load_info(folder: Path) -> DatasetInfo:
    """Read dataset.json."""
    return info_from_dict(json.loads((folder / "dataset.json").read_text("utf-8")))


def info_from_dict(content: dict) -> DatasetInfo:
    """Undo `dataclasses.asdict` after a trip through JSON."""
    normalization = content["normalization"]
    channels, height, width = content["shape"]
    return DatasetInfo(
        class_names=tuple(content["class_names"]),
        shape=(channels, height, width),
        normalization=Normalization(normalization["method"], tuple(normalization["mean"]), tuple(normalization["std"])),
    )


def load_split(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Memory-mapped images, float32 of shape (N, C, H, W), and labels, int64 of shape (N,).

    split: `train` or `test`.
    """
    return np.load(folder / f"{split}_images.npy", mmap_mode="r"), np.load(folder / f"{split}_labels.npy")


def write_array(path: Path, chunks: Iterable[np.ndarray], shape: tuple[int, ...], dtype: type) -> None:
    """Write an array to a .npy file chunk by chunk along its first axis, never holding all of it.

    Raises MnistryError where the chunks together aren't of that shape.
    """
    count = 0
    with path.open("wb") as file:
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            if chunk.shape[1:] != shape[1:]:
                raise MnistryError(f"{path.name}: images of shape {chunk.shape[1:]}; expected {shape[1:]}")
            file.write(np.ascontiguousarray(chunk, dtype=dtype).data)
            count += len(chunk)
    if count != shape[0]:
        raise MnistryError(f"{path.name}: {count} images; expected {shape[0]}, one a label")
