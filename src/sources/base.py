"""What every source of a dataset can do."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from src.decoding import Content, Decoding

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
"""Not every dataset has validation images of its own."""


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    labels: int64 in [0, K), shape (N,). chunks: the images in the same order, uint8 in [0, 255],
    each chunk of shape (n, C, H, W); they can be iterated over once. files: what each image is called: its file's path
    in the dataset's folder or archive, or its split and index there.
    """

    labels: np.ndarray
    chunks: Iterable[np.ndarray]
    files: Sequence[str]


@dataclass(frozen=True)
class RawDataset:
    """A dataset as its source gives it; shape is (C, H, W).

    decoding: how other images are brought to that shape. content: what the images show, if that is said.
    """

    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    splits: dict[SplitName, Split]
    decoding: Decoding = field(default_factory=Decoding)
    content: Content | None = None


class Source(Protocol):
    """A dataset's origin.

    It is opened either from the dataset's folder of data/sources/, to download, or from the folder of data/raw/ that
    `download` filled, to read.
    """

    @property
    def folder(self) -> Path:
        """What it was opened from; the folder's name is the dataset's."""

    def download(self, raw: Path) -> None:
        """Put the source's own files into the folder `raw`, their checksums verified."""

    def read(self, scratch: Path) -> AbstractContextManager[RawDataset]:
        """The dataset in the files that `download` left in this source's folder, to be used inside the context.

        scratch: a folder for temporary files.
        """
