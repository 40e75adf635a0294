"""Help another host to train: run the train stage here as well, writing nothing, until the training there ends."""

import argparse
import os
import shlex
import sys
from pathlib import Path
from string import Template

import yaml

from commands import run_command
from src.errors import MnistryError
from src.params import read_params
from src.signals import HELPER

VARIABLES = {
    "PET_NNODES": "the number of hosts",
    "PET_RDZV_ENDPOINT": "the address of the host that leads, as HOST:29400",
}
"""What has to be set, as on the host that leads, and what to."""


def main() -> int:
    """Become the train stage; see the module's docstring."""
    argparse.ArgumentParser(prog="python -m commands.worker", description=__doc__).parse_args()
    for variable, expected in VARIABLES.items():
        if variable not in os.environ:
            raise MnistryError(f"{variable}: not set; expected {expected}, as where `dvc repro` or `dvc exp run` runs")
    os.environ[HELPER] = "1"
    # When the leading host ends, c10d's C++ would print a stack trace.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.execv(sys.executable, [sys.executable, *train_command(Path("dvc.yaml"))])


def train_command(pipeline: Path) -> list[str]:
    """The arguments of Python in the train stage's command, as dvc.yaml has it and params.yaml completes it."""
    params = read_params()
    command = yaml.safe_load(pipeline.read_text("utf-8"))["stages"]["train"]["cmd"]
    return shlex.split(Template(command).substitute(dataset=params.dataset, model=params.model))[1:]


if __name__ == "__main__":
    run_command(main)
