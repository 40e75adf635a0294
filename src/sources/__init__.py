"""Where datasets come from: a folder of data/sources/ says how its raw files are obtained and read."""

from difflib import get_close_matches
from pathlib import Path

from src.errors import MnistryError
from src.sources.base import Source
from src.sources.descriptions import find_description
from src.sources.digits import DigitsSource
from src.sources.images import ImagesSource
from src.sources.torchvision_classes import TorchvisionSource
from src.yaml_files import read_keys


def open_source(folder: Path) -> Source:
    """The source that the folder's source.yaml describes, or else the images in it.

    folder: of data/sources/, or of data/raw/ once `download` has filled it; its name is the dataset's.
    Raises MnistryError where source.yaml is wrong.
    """
    if not folder.is_dir():
        raise MnistryError(f"{folder}: not a folder; expected one with a source.yaml or with images")
    description = find_description(folder)
    if description is None:
        return ImagesSource(folder)
    keys = read_keys(description)
    if "torchvision" in keys:
        return TorchvisionSource.open(description)
    if "scikit_learn" in keys:
        return DigitsSource.open(description)
    for key in sorted(map(str, keys)):
        if near := get_close_matches(key, ("torchvision", "scikit_learn"), cutoff=0.8):
            raise MnistryError(f"{description}: {key} is not a known key; did you mean {near[0]}?")
    return ImagesSource(folder)
