"""Image files and folders of them, as the tests of sources need them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.errors import MnistryError
from src.sources import open_source

Splits = dict[str, tuple[np.ndarray, list[int]]]


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    """The image as a file of that format."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def png(value: int | tuple[int, ...] = 0, size: tuple[int, int] = (4, 3), mode: str = "L") -> bytes:
    """A PNG file's bytes: an image of `size` (width, height) in one value."""
    return encoded(Image.new(mode, size, value)).getvalue()


def put(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file below the folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def put_images(folder: Path, count: int, prefix: str = "") -> None:
    """Images 0.png, 1.png, ..., each in the grey of its number, after the prefix."""
    for i in range(count):
        put(folder, f"{prefix}{i}.png", png(i))


def put_classes(folder: Path, *classes: str, split: str = "", count: int = 5) -> None:
    """A folder of `count` images per class, numbered through all classes, each in the grey of its number."""
    for i in range(count * len(classes)):
        put(folder, f"{split}{classes[i % len(classes)]}/{i}.png", png(i))


def load(folder: Path, name: str = "raw") -> tuple[tuple[str, ...], tuple[int, int, int], Splits]:
    """Download and read a dataset; class names, shape, and each split's images and labels."""
    raw = folder.parent.parent / name / folder.name
    raw.mkdir(parents=True, exist_ok=True)
    open_source(folder).download(raw)
    with open_source(raw).read(raw.parent) as dataset:
        splits: Splits = {
            split: (np.concatenate(list(images.chunks)), images.labels.tolist())
            for split, images in dataset.splits.items()
        }
    return dataset.class_names, dataset.shape, splits


def problems_of(folder: Path) -> str:
    """The error with which the download is refused; nothing is left in the raw folder."""
    with pytest.raises(MnistryError) as error:
        load(folder)
    assert not any((folder.parent.parent / "raw" / folder.name).iterdir())
    return str(error.value)


def greys(images: np.ndarray) -> list[int]:
    """The value of each image's first pixel."""
    values: list[int] = images[:, 0, 0, 0].tolist()
    return values
