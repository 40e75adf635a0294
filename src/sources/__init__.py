"""Where datasets come from: a folder of data/sources/ says how its raw files are got and read."""

from pathlib import Path

from src.errors import MnistryError
from src.sources.base import Source
from src.sources.digits import DigitsSource
from src.sources.torchvision_classes import TorchvisionSource
from src.yaml_files import read_keys


def open_source(folder: Path) -> Source:
    """The source that the folder describes, under the dataset name that is the folder's.

    Raises MnistryError where it describes none.
    """
    description = folder / "source.yaml"
    keys = read_keys(description)
    if "torchvision" in keys:
        return TorchvisionSource.open(folder)
    if "scikit_learn" in keys:
        return DigitsSource.open(folder)
    raise MnistryError(f"{description}: expected a key `torchvision` or `scikit_learn`, which says where images are")
