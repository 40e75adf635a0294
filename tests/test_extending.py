"""Adding a model or an optimizer takes what CONTRIBUTING.md says and no more: done in a copy of the project."""

import json
import os
import subprocess
import sys
from pathlib import Path
from string import Template
from typing import get_args

import pytest
import yaml

from src.params import Recipe
from src.training import OPTIMIZERS
from tests.conftest import copy_project

MODULE = '''"""Softmax regression on images shrunk to a few pixels."""

from torch import nn

from src.params import Shrunk


def build(recipe: Shrunk, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """The mean of each of `side` times `side` areas of the image, then a linear layer."""
    features = shape[0] * recipe.side**2
    return nn.Sequential(nn.AdaptiveAvgPool2d(recipe.side), nn.Flatten(), nn.Linear(features, num_classes))
'''

HYPERPARAMETERS = '''class Shrunk(Recipe):
    """Softmax regression on images shrunk to a few pixels."""

    side: Count


'''


@pytest.fixture
def project(tmp_path):
    """A copy of the project to change."""
    copy_project(tmp_path)
    return tmp_path


def run(project, *command):
    """What the command prints, run in the project with this environment's Python."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def run_pipeline(project):
    """Run the stages one after the other by dvc.yaml's own commands; what they print."""
    params = yaml.safe_load((project / "params.yaml").read_text("utf-8"))
    stages = yaml.safe_load((project / "dvc.yaml").read_text("utf-8"))["stages"]
    commands = [Template(stage["cmd"]).substitute(dataset=params["dataset"]) for stage in stages.values()]
    return "".join(run(project, "sh", "-c", command) for command in commands)


def insert(path, before, text):
    """Insert the text in front of what the file has once."""
    content = path.read_text("utf-8")
    assert content.count(before) == 1
    path.write_text(content.replace(before, text + before), "utf-8")


def change_params(project, change):
    """Rewrite params.yaml as `change` leaves its content."""
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text("utf-8"))
    change(params)
    path.write_text(yaml.safe_dump(params, sort_keys=False), "utf-8")


def test_a_model_is_a_module_its_hyperparameters_and_a_recipe(project):
    """With these three, the pipeline trains and evaluates it, and the tests take it up."""
    (project / "src" / "models" / "shrunk.py").write_text(MODULE, "utf-8")
    insert(project / "src" / "params.py", "class Models(Section):", HYPERPARAMETERS)
    insert(project / "src" / "params.py", "    linear: Linear\n", "    shrunk: Shrunk\n")

    def add_recipe(params):
        params["model"] = "shrunk"
        params["models"]["shrunk"] = params["models"]["linear"] | {"epochs": 1, "learning_rate": 0.01, "side": 2}

    change_params(project, add_recipe)
    assert "shrunk: 50 parameters" in run_pipeline(project)
    assert json.loads((project / "metrics" / "train.json").read_text())["parameters"] == 2 * 2 * 10 + 10
    assert 0 < json.loads((project / "metrics" / "test.json").read_text())["accuracy"] < 1
    tests = ("tests/test_models.py", "tests/test_pipeline.py")
    passed = run(project, "python", "-m", "pytest", "-rp", "-k", "shrunk", *tests)
    assert "PASSED tests/test_models.py::test_untrained_loss_is_about_ln_k[shrunk]" in passed
    assert "PASSED tests/test_pipeline.py::test_deps_are_the_real_imports[train-shrunk]" in passed


def test_an_optimizer_is_a_name_and_an_entry_of_a_table(project):
    """RAdam, which has neither SGD's momentum nor one kernel for all of a step."""
    insert(project / "src" / "params.py", '"sgd", "adam"', '"radam", ')
    insert(project / "src" / "training.py", '    "sgd": (', '    "radam": (torch.optim.RAdam, ("weight_decay",)),\n')

    def choose(params):
        params["model"] = "linear"
        params["models"]["linear"] |= {"epochs": 1, "optimizer": "radam"}

    change_params(project, choose)
    assert "epoch 1/1" in run_pipeline(project)
    assert "1 passed" in run(project, "python", "-m", "pytest", "tests/test_extending.py", "-k", "every_optimizer")


def test_every_optimizer_that_may_be_chosen_is_in_the_table():
    """And the other way round: params.py has the names alone, since importing torch takes seconds."""
    assert get_args(Recipe.model_fields["optimizer"].annotation) == tuple(OPTIMIZERS)
