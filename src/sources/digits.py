"""scikit-learn's 1,797 handwritten digits of 8x8 pixels, which come with the package."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from src.decoding import Content
from src.downloads import file_md5
from src.errors import MnistryError
from src.sources.base import RawDataset, Split
from src.sources.descriptions import copy_description
from src.splits import stratified_split
from src.yaml_files import Number, Section, read_yaml


class DigitsDescription(Section):
    """A source.yaml for scikit-learn's digits."""

    scikit_learn: Literal["digits"]
    md5: str
    test_fraction: Annotated[Number, Field(gt=0, lt=1)]
    split_seed: Annotated[int, Field(ge=0)]
    content: Content | None = None


@dataclass(frozen=True)
class DigitsSource:
    """The file in the installed package, split into train and test by class."""

    folder: Path
    description: DigitsDescription

    @classmethod
    def open(cls, path: Path) -> "DigitsSource":
        """The source that the source.yaml at this path describes."""
        return cls(path.parent, read_yaml(path, DigitsDescription))

    def download(self, raw: Path) -> None:
        """Copy the file out of the installed package, and source.yaml."""
        # Located without importing scikit-learn, which takes two seconds.
        package_file = Path(str(distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")))
        found = file_md5(package_file)
        if found != self.description.md5:
            raise MnistryError(f"{package_file}: MD5 {found}, expected {self.description.md5}; reinstall scikit-learn")
        shutil.copyfile(package_file, raw / package_file.name)
        copy_description(self.folder, raw)

    @contextmanager
    def read(self, _: Path) -> Iterator[RawDataset]:
        """The digits; their 17 grey levels are spread over [0, 255]."""
        table = np.loadtxt(self.folder / "digits.csv.gz", delimiter=",", dtype=np.int64)
        images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
        labels = table[:, -1]
        generator = np.random.default_rng(self.description.split_seed)
        class_names = tuple("0123456789")
        train, test = stratified_split(labels, self.description.test_fraction, generator, class_names)
        yield RawDataset(
            class_names=class_names,
            shape=(1, 8, 8),
            splits={
                "train": Split(labels[train], [images[train]], [f"digits/{i}" for i in train]),
                "test": Split(labels[test], [images[test]], [f"digits/{i}" for i in test]),
            },
            content=self.description.content,
        )
