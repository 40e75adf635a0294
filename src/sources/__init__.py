"""Where datasets come from: a folder of data/sources/ says how its raw files are obtained and read."""

from difflib import get_close_matches
from pathlib import Path

from src.errors import MnistryError
from src.sources.base import Source
from src.sources.digits import DigitsSource
from src.sources.images import ImagesSource
from src.sources.paths import is_link_outside
from src.sources.torchvision_classes import TorchvisionSource
from src.yaml_files import read_keys


def open_source(folder: Path) -> Source:
    """The source that the folder's source.yaml describes, or else the images in it.

    folder: of data/sources/, or of data/raw/ once `download` has filled it; its name is the dataset's.
    Raises MnistryError where source.yaml is wrong.
    """
    if not folder.is_dir():
        raise MnistryError(f"{folder}: not a folder; expected one with a source.yaml or with images")
    description = folder / "source.yaml"
    if is_link_outside(description, folder) or (description.is_symlink() and not description.exists()):
        raise MnistryError(f"{description}: a link out of its folder or to nothing; put the file itself there")
    keys = read_keys(description) if description.exists() else set()
    if "torchvision" in keys:
        return TorchvisionSource.open(folder)
    if "scikit_learn" in keys:
        return DigitsSource.open(folder)
    for key in sorted(map(str, keys)):
        if near := get_close_matches(key, ("torchvision", "scikit_learn"), cutoff=0.8):
            raise MnistryError(f"{description}: {key} is not a known key; did you mean {near[0]}?")
    return ImagesSource(folder)
