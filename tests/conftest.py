"""What several tests need."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import yaml

from src.datasets import DatasetInfo
from src.normalization import Method, normalization_of
from src.params import Params
from src.recipes import Facts, complete

PROJECT = Path(__file__).parent.parent


def dataset_info(
    class_names: Iterable[str] = "0123456789",
    shape: tuple[int, int, int] = (1, 8, 8),
    mean: float = 0.2,
    std: float = 0.5,
    method: Method = "standard",
) -> DatasetInfo:
    """What a dataset.json may hold, with the same mean and standard deviation in all channels."""
    normalization = normalization_of(method, (mean,) * shape[0], (std,) * shape[0])
    return DatasetInfo(tuple(class_names), shape, normalization, {"train": "0" * 64, "test": "f" * 64})


def words_printed(program: str) -> list[str]:
    """What Python prints that runs the program in a process of its own."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def copy_project(folder: Path) -> None:
    """Copy the project's files into the folder: those that Git tracks or would, as they are now."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    for name in listed:
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)


def completed_params(content: dict | None = None) -> Params:
    """The params in `content`, by default params.yaml's, each recipe completed as for MNIST."""
    params = Params.model_validate(content or yaml.safe_load((PROJECT / "params.yaml").read_text("utf-8")))
    recipes = {name: complete(name, recipe, Facts(57_000, "characters")) for name, recipe in params.models}
    return params.model_copy(update={"models": params.models.model_copy(update=recipes)})


@pytest.fixture(scope="session", autouse=True)
def _checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes into the user's cache directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNISTRY_CHECKPOINTS", str(tmp_path_factory.mktemp("checkpoints")))
        yield


@pytest.fixture
def default_params() -> dict:
    """params.yaml's content."""
    content: dict = yaml.safe_load((PROJECT / "params.yaml").read_text("utf-8"))
    return content


@pytest.fixture
def params(default_params: dict) -> Params:
    """params.yaml's, each recipe completed as for MNIST; the pretrained model gets small images."""
    default_params["models"]["pretrained"]["image_size"] = 32
    return completed_params(default_params)


@pytest.fixture
def write_params(default_params: dict, tmp_path: Path) -> Callable[..., Path]:
    """Write a params.yaml with values changed, each named by its dotted key."""

    def write(**changes: object) -> Path:
        for dotted, value in changes.items():
            section = default_params
            *parents, key = dotted.split("__")
            for parent in parents:
                section = section[parent]
            section[key] = value
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(default_params))
        return path

    return write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The empty folder of a dataset called mine."""
    path = tmp_path / "sources" / "mine"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def mnist_mirror() -> str:
    """The folder or URL with the original archives of MNIST; skips where there is none."""
    mirror = os.environ.get("MNISTRY_MIRROR", "")
    if not (Path(mirror) / "mnist" / "train-images-idx3-ubyte.gz").exists():
        pytest.skip("needs MNIST's archives in the folder that MNISTRY_MIRROR names")
    return mirror
