"""`make deps`: dvc.yaml's deps rewritten from the imports."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT, copy_project
from tests.imports import project_imports, with_real_deps

PIPELINE = (PROJECT / "dvc.yaml").read_text("utf-8")


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    """Imports are looked up from the working directory."""
    monkeypatch.chdir(PROJECT)


def test_the_committed_file_stays_as_it_is():
    """All of it, comments and the order of its keys too."""
    assert with_real_deps(PIPELINE) == PIPELINE


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        (r"    - src/.+\.py\n", ""),
        (r"    - src/params\.py\n", ""),
        (r"    - src/params\.py\n", "    - src/training.py\n    - src/gone.py\n"),
        (r"    - src/models/\$\{model\}\.py\n", "    - src/models/linear.py\n"),
        (r"    - src/errors\.py\n((?:    - .+\n)+)", r"\1    - src/errors.py\n"),
    ],
)
def test_damaged_deps_are_repaired(pattern, damage):
    """Entries that are missing, too many, or out of order."""
    damaged = re.sub(pattern, damage, PIPELINE)
    assert damaged != PIPELINE
    assert with_real_deps(damaged) == PIPELINE


def test_everything_else_is_left_alone():
    """Data among the deps, comments above and behind an entry, and other sections."""
    commented = PIPELINE.replace("    - src/params.py\n", "    # Why.\n    - src/params.py  # every knob\n").replace(
        "    deps:\n", "    deps:  # of all kinds\n    # The user's.\n    - data/extra.txt\n"
    )
    commented = commented.replace("    params:\n", "    # Knobs.\n    params:\n")
    assert with_real_deps(commented.replace("    - src/errors.py\n", "")) == commented


def test_the_command_rewrites_the_file(tmp_path):
    """In a copy of the project, after a stage has been given one more import."""
    copy_project(tmp_path)
    stage = tmp_path / "stages" / "check.py"
    stage.write_text(stage.read_text("utf-8").replace("\nfrom ", "\nimport src.splits\nfrom ", 1), "utf-8")
    subprocess.run([sys.executable, "-m", "tests.imports"], cwd=tmp_path, check=True)
    # Its deps are the file's first.
    expected = PIPELINE.replace("    - src/start.py\n", "    - src/splits.py\n    - src/start.py\n", 1)
    assert (tmp_path / "dvc.yaml").read_text("utf-8") == expected


def test_all_that_an_import_runs_is_found(tmp_path, monkeypatch):
    """Packages, modules named as such or out of their package, inside functions, by way of others, in circles."""
    for name, content in {
        "stages/__init__.py": "import numpy",
        "stages/go.py": "from src import alone\n\ndef main():\n    from src.deep.inner import VALUE",
        "src/__init__.py": "",
        "src/alone.py": "import src.circle",
        "src/circle.py": "import src.alone",
        "src/deep/__init__.py": "import src.deep.more",
        "src/deep/more.py": "",
        "src/deep/inner.py": "VALUE = 1",
        "src/other.py": "import stages.go",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    assert project_imports(Path("stages/go.py")) == {
        "stages/__init__.py", "stages/go.py", "src/__init__.py", "src/alone.py", "src/circle.py",
        "src/deep/__init__.py", "src/deep/more.py", "src/deep/inner.py",
    }  # fmt: skip
