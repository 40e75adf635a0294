"""Datasets that torchvision knows, through its own classes."""

import inspect
import lzma
import os
import pickle
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from tqdm import tqdm

from src.decoding import Content
from src.downloads import Downloads, NotFetchedError, file_md5
from src.errors import MnistryError, suggest
from src.sources.archives import is_archive
from src.sources.base import RawDataset, Split, SplitName
from src.sources.descriptions import copy_description
from src.sources.listing import is_ignored
from src.yaml_files import Section, Tuple, read_yaml

CHUNK_IMAGES = 4096
NOT_DATASETS = ("VisionDataset", "DatasetFolder", "ImageFolder", "wrap_dataset_for_transforms_v2")
"""The rest of what torchvision.datasets offers."""
REFUSALS = (
    ImportError, OSError, EOFError, RuntimeError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError,
    AssertionError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, pickle.UnpicklingError,
)  # fmt: skip
"""What torchvision's classes raise for arguments and archives that aren't theirs."""


class TorchvisionDescription(Section):
    """A source.yaml for a class of torchvision.datasets."""

    torchvision: str
    """The class."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Those of all splits; lists become tuples."""
    train: dict[str, Any]
    validation: dict[str, Any] | None = None
    """None where the class has no validation split of its own."""
    test: dict[str, Any]
    class_names: Annotated[tuple[str, ...], Tuple] = ()
    """Instead of torchvision's own, or of the labels where it has none."""
    first_label: Annotated[int, Field(ge=-(10**9), le=10**9)] = 0
    """The smallest label: 1 where labels start at 1."""
    transpose: bool = False
    """Whether the source stores images mirrored on their diagonal."""
    content: Content | None = None
    """What the images show, by which `auto` in a recipe goes."""
    mirrors: Annotated[tuple[str, ...], Tuple] = ()
    """Folders or URLs that hold the archives under their names; they are tried before torchvision's."""

    @property
    def splits(self) -> dict[SplitName, dict[str, Any]]:
        """The arguments of each split that the source has."""
        given: dict[SplitName, dict[str, Any] | None] = {
            "train": self.train, "validation": self.validation, "test": self.test
        }  # fmt: skip
        return {split: arguments for split, arguments in given.items() if arguments is not None}


@dataclass(frozen=True)
class TorchvisionSource:
    """The archives that a torchvision class downloads, read by that class."""

    folder: Path
    description: TorchvisionDescription

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self.folder.name

    @classmethod
    def open(cls, path: Path) -> "TorchvisionSource":
        """The source that the source.yaml at this path describes."""
        return cls(path.parent, read_yaml(path, TorchvisionDescription))

    def download(self, raw: Path) -> None:
        """Fetch the archives from MNISTRY_MIRROR, its mirrors or where torchvision finds them; copy source.yaml."""
        others = sorted(path.name for path in self.folder.iterdir() if _is_data(path))
        if others:
            raise MnistryError(
                f"{self.folder}: two layouts at once: source.yaml names a class of torchvision, and next to it "
                f"{'is' if len(others) == 1 else 'are'} {', '.join(others[:5])}; keep one of them"
            )
        everywhere = os.environ.get("MNISTRY_MIRROR", "").rstrip("/")
        mirrors = [f"{everywhere}/{self.dataset}"] if everywhere else []
        downloads = Downloads(self.dataset, mirrors + list(self.description.mirrors))

        def fetch(url: str, archive: Path, md5: str | None) -> None:
            if not archive.exists():
                archive.parent.mkdir(parents=True, exist_ok=True)
                downloads.fetch(url, archive, md5)

        with self._unpacked(raw, raw, fetch) as root:
            for split in self.description.splits:
                try:
                    self._open(split, root)
                except MnistryError:
                    # Classes with mirrors of their own try those, then raise an error of their own.
                    if downloads.unavailable is None:
                        raise
                    raise NotFetchedError(*downloads.report()) from None
        if not any(raw.iterdir()) and "download" in inspect.signature(self._class()).parameters:
            raise MnistryError(f"{self.dataset}: torchvision's {self.description.torchvision} has no plain download")
        copy_description(self.folder, raw)

    @contextmanager
    def read(self, scratch: Path) -> Iterator[RawDataset]:
        """The dataset as its class reads the archives, which are verified again."""

        def verify(_: str, archive: Path, md5: str | None) -> None:
            if not archive.exists() or (md5 is not None and file_md5(archive) != md5):
                raise MnistryError(f"{archive}: missing or damaged; run `dvc repro --force download`")

        with self._unpacked(self.folder, scratch, verify) as root:
            datasets = {split: self._open(split, root) for split in self.description.splits}
            all_labels = {split: self._labels(dataset) for split, dataset in datasets.items()}
            for split, labels in all_labels.items():
                if not labels.size:
                    raise MnistryError(f"{self.dataset}: no images in the {split} split; fix {split} in source.yaml")
            class_names = self.description.class_names or tuple(getattr(datasets["train"], "classes", ()))
            if not class_names:
                class_names = tuple(str(label) for label in range(int(all_labels["train"].max()) + 1))
            for split, labels in all_labels.items():
                if labels.min() < 0 or labels.max() >= len(class_names):
                    raise MnistryError(
                        f"{self.dataset}: labels of the {split} split are {labels.min()} to {labels.max()}, but there "
                        f"are {len(class_names)} class names; set first_label or class_names in its source.yaml"
                    )
            height, width, channels = size = _pixels(datasets["train"][0][0]).shape
            yield RawDataset(
                class_names=class_names,
                shape=(channels, width, height) if self.description.transpose else (channels, height, width),
                splits={
                    split: Split(labels, self._chunks(datasets[split], split, size), _names(split, labels))
                    for split, labels in all_labels.items()
                },
                content=self.description.content,
            )

    def _class(self) -> Callable[..., Any]:
        from torchvision import datasets

        name = self.description.torchvision
        known = [name for name in datasets.__all__ if name not in NOT_DATASETS]
        if name not in known:
            raise MnistryError(f"{self.dataset}: torchvision has no dataset {name!r}; {suggest(name, known)}")
        cls: Callable[..., Any] = getattr(datasets, name)
        return cls

    @contextmanager
    def _unpacked(self, raw: Path, scratch: Path, obtain: Callable[[str, Path, str | None], None]) -> Iterator[Path]:
        """A temporary folder inside `scratch`, where torchvision unpacks the archives that stay in `raw`.

        obtain: called with an archive's URL, its place in `raw` and its checksum; it has to put the archive there.
        """
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            root = Path(folder)

            def link(url: str, target: str, filename: str | None = None, md5: str | None = None, **_: Any) -> None:
                path = Path(target) / (filename or url.rpartition("/")[2])
                archive = raw / path.relative_to(root)
                obtain(url, archive, md5)
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.symlink_to(archive.resolve())

            with _downloads_replaced(self._class(), link):
                yield root

    def _open(self, split: SplitName, root: Path) -> Any:
        """An instance of the class for a split, its archives unpacked under `root`."""
        cls = self._class()
        arguments = self.description.arguments | self.description.splits[split]
        arguments = {name: tuple(v) if isinstance(v, list) else v for name, v in arguments.items()}
        given = {"root": str(root), "download": True}
        known = inspect.signature(cls).parameters
        accepts_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
        arguments |= {name: value for name, value in given.items() if name in known or accepts_all}
        try:
            with redirect_stdout(StringIO()):
                return cls(**arguments)
        except MnistryError:
            raise
        except REFUSALS as error:
            reason = " ".join(str(error).split()).replace(str(root), "its root folder") or type(error).__name__
            raise MnistryError(f"{self.dataset}: torchvision's {self.description.torchvision}: {reason}") from None

    def _labels(self, dataset: Any) -> np.ndarray:
        labels = getattr(dataset, "targets", getattr(dataset, "labels", None))
        try:
            if labels is None:
                labels = [int(label) for _, label in dataset]
            array = np.asarray(labels, dtype=np.int64)
        except (TypeError, ValueError, RuntimeError) as error:
            raise MnistryError(
                f"{self.dataset}: torchvision's {self.description.torchvision} gives no class number "
                f"for each image ({error}); it isn't for classification"
            ) from None
        return array - self.description.first_label

    def _chunks(self, dataset: Any, split: str, size: tuple[int, ...]) -> Iterator[np.ndarray]:
        for start in tqdm(range(0, len(dataset), CHUNK_IMAGES), desc=f"{self.dataset} {split}", disable=None):
            images = [_pixels(dataset[i][0]) for i in range(start, min(start + CHUNK_IMAGES, len(dataset)))]
            sizes = {size, *(image.shape for image in images)}
            if len(sizes) > 1:
                raise MnistryError(
                    f"{self.dataset}: images of several sizes (height, width, channels): {sorted(sizes)}"
                )
            yield np.stack(images).transpose((0, 3, 2, 1) if self.description.transpose else (0, 3, 1, 2))


@contextmanager
def _downloads_replaced(cls: Callable[..., Any], download: Callable[..., None]) -> Iterator[None]:
    """Let the class download its archives through `download`, called as torchvision's `download_url` is.

    torchvision's classes have no argument for this, and only they know which archives they need. All of them call
    `download_url`: that of torchvision.datasets.utils, or the same function imported into the class's own module. To
    exchange the function in these two places reaches every class; to put the archives where they look for them would
    need each one's file names, and would leave mirrors and retries to torchvision.
    """
    from torchvision.datasets import utils

    places: tuple[Any, ...] = (utils, sys.modules[cls.__module__])
    modules = [module for module in places if hasattr(module, "download_url")]
    original = utils.download_url
    for module in modules:
        module.download_url = download
    try:
        yield
    finally:
        for module in modules:
            module.download_url = original


def _names(split: str, labels: np.ndarray) -> list[str]:
    return [f"{split}/{i}" for i in range(len(labels))]


def _is_data(path: Path) -> bool:
    return (path.is_dir() or is_archive(path) or path.suffix.lower() == ".csv") and not is_ignored(path)


def _pixels(image: Any) -> np.ndarray:
    """uint8, shape (H, W, C), of a PIL image in grey or colour."""
    array = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    return array if array.ndim == 3 else array[:, :, None]
