"""benchmarks/gpu.py, as far as it goes without a GPU."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.memory import run_measured
from stages import download, normalize
from tests.conftest import PROJECT, copy_project


@pytest.fixture
def project(tmp_path, monkeypatch, write_params):
    """A copy of the project, for one epoch of linear on the digits, normalized."""
    copy_project(tmp_path)
    write_params(device="cpu", models__linear__epochs=1)
    monkeypatch.chdir(tmp_path)
    download.main(PROJECT / "data/sources/digits", Path("raw"))
    normalize.main(Path("raw"), Path("data/normalized/digits"), Path("dataset.json"), Path("figures"))


@pytest.mark.usefixtures("project")
def test_row_is_of_whole_stages():
    """Epochs and accuracy are what the stages write; the seconds of the epochs are part of train's."""
    cells = [cell.strip() for cell in gpu.recipe_row("digits", "linear").strip("|").split("|")]
    assert cells[:3] == ["digits", "linear", "1"]
    accuracy, train, epochs, evaluate = map(float, cells[3:])
    assert 50 < accuracy < 100
    assert 0 <= epochs < train
    assert evaluate > 0


@pytest.mark.usefixtures("project")
def test_training_that_differs_ends_the_benchmark(monkeypatch):
    """With a line that names it: here each one is from another seed."""
    seeds = iter("01")

    def other_seed(command, folder, environment):
        text = (folder / "params.yaml").read_text()
        (folder / "params.yaml").write_text(re.sub(r"^seed: \d+", f"seed: {next(seeds)}", text, flags=re.MULTILINE))
        return run_measured(command, folder, environment)

    monkeypatch.setattr(gpu, "run_measured", other_seed)
    with pytest.raises(SystemExit, match="error: linear on digits: the second training came out different"):
        gpu.recipe_row("digits", "linear")


def test_without_a_gpu_it_says_so():
    """In a line, before anything is measured."""
    command = [sys.executable, "-c", "import torch; torch.accelerator.current_accelerator = lambda **_: None\n"
               "import sys; sys.argv[1:] = []\nfrom benchmarks import gpu; gpu.main()"]  # fmt: skip
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert re.fullmatch(
        r"error: a GPU for CUDA is needed, and params.yaml's device is cpu \(\d+ threads\)\n", result.stderr
    )
