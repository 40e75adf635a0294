"""Files of the workspace, of Git revisions and of experiments, checked out or not, by DVC's API."""

import json
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import yaml
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException

from src.errors import MnistryError

WORKSPACE = "workspace"


class Revision:
    """A Git revision, an experiment, or `workspace`: the files as they are now.

    Raises MnistryError where there is no such revision, or no DVC project.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            self._files = DVCFileSystem(rev=None if name == WORKSPACE else name)
            # It opens the project when it is first asked for it.
            self._files.repo  # noqa: B018
        except DvcException as error:
            raise MnistryError(
                f"{name}: {error}; expected a Git revision, the name of an experiment (`dvc exp list`), or {WORKSPACE}"
            ) from None

    @property
    def sha(self) -> str:
        """The commit that the name means; of the workspace, `workspace`."""
        return str(self._files.repo.get_rev())

    def open(self, path: str) -> Any:
        """The file, open for reading bytes; raises MnistryError where the revision or DVC's cache doesn't have it."""
        try:
            return self._files.open(path, "rb")
        except FileNotFoundError:
            raise MnistryError(f"{self.name}: {self._missing(path)}") from None

    def read_text(self, path: str) -> str:
        """The file's text; raises MnistryError as `open` does."""
        with self.open(path) as file:
            content: bytes = file.read()
        return content.decode("utf-8")

    def read_images(self, split: str) -> np.ndarray:
        """The codes of the split of `dataset`, uint8 of shape (N, C, H, W), all in memory; raises as `open` does."""
        with self.open(f"{self.dataset}/{split}_images.npy") as file:
            images: np.ndarray = np.load(file, allow_pickle=False)
        return images

    def _missing(self, path: str) -> str:
        if self.name == WORKSPACE:
            return f"{path}: no such file; run `dvc repro`, or `dvc checkout` for what was there before"
        if self._files.exists(path):
            return (
                f"{path} is not in DVC's cache; run `dvc pull` or `dvc exp pull`, or its params again by `dvc exp run`"
            )
        return f"{path}: no such file in that revision; run the pipeline there and commit dvc.lock"

    @property
    def dataset(self) -> str:
        """The folder of the normalized dataset that its dvc.lock says evaluate read; raises MnistryError."""
        for entry in self._stages().get("evaluate", {}).get("deps", []):
            if PurePosixPath(entry["path"]).parent.name == "normalized":
                return str(entry["path"])
        raise MnistryError(f"{self.name}: its dvc.lock doesn't say what evaluate read; run `dvc repro`")

    def _stages(self) -> dict[str, Any]:
        """What its dvc.lock says of each stage."""
        stages: dict[str, Any] = yaml.safe_load(self.read_text("dvc.lock")).get("stages", {})
        return stages

    @property
    def held_out_of(self) -> str:
        """The split that the images of its validation.csv are of: the source's own validation split, or `train`."""
        params = self._stages().get("train", {}).get("params", {})
        folds = any(section.get("train", {}).get("folds") for section in params.values())
        return "validation" if "validation" in self.sha256() and not folds else "train"

    def sha256(self) -> dict[str, str]:
        """For each split, the digest of its codes and labels; none where dataset.json is not in DVC's cache."""
        try:
            return dict(json.loads(self.read_text(f"{self.dataset}/dataset.json"))["sha256"])
        except (MnistryError, ValueError, KeyError):
            return {}
